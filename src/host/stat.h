/*
 * stat.h: what a file is, by the libuv of Node. A newer glibc has a fstat() that older systems
 * lack, and a prebuilt addon has to load there, too.  [any thread]
 */
#ifndef OA_HOST_STAT_H
#define OA_HOST_STAT_H

#include <uv.h>

/* Write what an open file is to *out. Returns 0, or an error as errno has it. */
static inline int oa_stat(int fd, uv_stat_t *out) {
    uv_fs_t request;
    const int status = uv_fs_fstat(NULL, &request, fd, NULL);
    if (status == 0)
        *out = request.statbuf;
    uv_fs_req_cleanup(&request);
    return -status;
}

#endif
