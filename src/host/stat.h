/*
 * stat.h: what a file is. A newer glibc has a fstat() that older systems lack, and what is prebuilt
 * has to load there, too: so an addon asks the libuv of Node, and a wheel the kernel.
 * [any thread]
 */
#ifndef OA_HOST_STAT_H
#define OA_HOST_STAT_H

#ifndef OA_WITHOUT_UV

#include <uv.h>

typedef uv_stat_t oa_file_stat;

/* Write what an open file is to *out. Returns 0, or an error as errno has it. */
static inline int oa_stat(int fd, oa_file_stat *out) {
    uv_fs_t request;
    const int status = uv_fs_fstat(NULL, &request, fd, NULL);
    if (status == 0)
        *out = request.statbuf;
    uv_fs_req_cleanup(&request);
    return -status;
}

#elif defined(__linux__)

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>

typedef struct oa_file_stat {
    uint64_t st_size;
    uint64_t st_uid;
    uint64_t st_mode;
    uint64_t st_nlink;
} oa_file_stat;

static inline int oa_stat(int fd, oa_file_stat *out) {
    struct statx stat;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stat) != 0)
        return errno != 0 ? errno : EIO; /* a compiler does not know that it never is 0 here */
    *out = (oa_file_stat){stat.stx_size, stat.stx_uid, stat.stx_mode, stat.stx_nlink};
    return 0;
}

#else

#include <errno.h>
#include <sys/stat.h>

typedef struct stat oa_file_stat;

static inline int oa_stat(int fd, oa_file_stat *out) { return fstat(fd, out) == 0 ? 0 : errno; }

#endif

#endif
