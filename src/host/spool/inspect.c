#include "inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../stat.h"

int oa_inspect_lock(int fd, bool *is_held) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_GETLK, &whole) != 0)
        return errno;
    *is_held = whole.l_type != F_UNLCK;
    return 0;
}

/*
 * Copy the file: a mapping would end this process if the file was shortened. From the end to the
 * beginning, so that of two entries the earlier one is not older: a process that is writing
 * meanwhile leaves no gap. What is not there any more is zero, and so is a block that cannot be
 * read, which costs what is in it.
 */
static int copy(int fd, char *bytes, size_t size) {
    for (size_t end = size; end > 0;) {
        const size_t at = (end - 1) / OA_SEGMENT_PAGE_BYTES * OA_SEGMENT_PAGE_BYTES;
        if (pread(fd, bytes + at, end - at, (off_t)at) >= 0 || (errno == EIO && at > 0))
            end = at;
        else if (errno != EINTR)
            return errno;
    }
    return 0;
}

static bool is_blank(const char *bytes, size_t size) {
    static const char nothing[OA_SEGMENT_PAGE_BYTES];
    return size <= OA_SEGMENT_HEAD_BYTES || memcmp(bytes, nothing, sizeof(nothing)) == 0;
}

int oa_inspect_file(int fd, oa_survey *survey, oa_inspection *out) {
    oa_file_stat stat;
    int error = oa_stat(fd, &stat);
    if (error != 0)
        return error;
    if (stat.st_size > OA_INSPECT_MOST_BYTES)
        return EFBIG;
    const size_t size = (size_t)stat.st_size;
    char *bytes = calloc(1, size + 1);
    if (bytes == NULL)
        return ENOMEM;
    *out = (oa_inspection){.state = OA_SEGMENT_FOREIGN};
    error = copy(fd, bytes, size);
    if (error == 0 &&
        oa_survey_read(survey, bytes, size, &out->state, &out->head, &out->counts) != OA_OK)
        error = ENOMEM;
    out->is_blank = error == 0 && out->state == OA_SEGMENT_FOREIGN && is_blank(bytes, size);
    free(bytes);
    return error;
}
