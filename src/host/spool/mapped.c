#include "mapped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../stat.h"

enum { PAGE_BYTES = 4096 };

/* Linux 5.14 and later; headers may be older. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* Reserve the blocks of a file that is open, and map it. Takes the descriptor. */
static int map(int fd, size_t size, oa_mapped *out) {
    void *bytes = MAP_FAILED;
    /* fallocate(2) itself: the library's substitute for it would write to the file. */
    if (fallocate(fd, 0, 0, (off_t)size) == 0)
        bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    const int error = bytes == MAP_FAILED ? errno : 0;
    close(fd);
    if (error != 0)
        return error;
    madvise(bytes, size, MADV_DONTFORK); /* a child is not the owner */
    madvise(bytes, size, MADV_DONTDUMP); /* ids of users */
    *out = (oa_mapped){bytes, size};
    return 0;
}

int oa_mapped_create(int directory, const char *name, size_t size, oa_mapped *out) {
    const int fd =
        openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    const int error = map(fd, size, out);
    if (error != 0)
        unlinkat(directory, name, 0);
    return error;
}

int oa_mapped_open(int directory, const char *name, oa_mapped *out) {
    uv_stat_t stat;
    const int fd = openat(directory, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno;
    const int error = oa_stat(fd, &stat);
    const size_t size = error == 0 ? (size_t)stat.st_size / PAGE_BYTES * PAGE_BYTES : 0;
    if (error == 0 && size > 0)
        return map(fd, size, out);
    close(fd);
    *out = (oa_mapped){NULL, 0};
    return error;
}

void oa_mapped_close(oa_mapped *mapped) {
    if (mapped->bytes != NULL)
        munmap(mapped->bytes, mapped->size);
    *mapped = (oa_mapped){NULL, 0};
}

int oa_mapped_make_ready(const oa_mapped *mapped, size_t from, size_t to) {
    if (from >= to || madvise(mapped->bytes + from, to - from, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return errno;
    for (size_t at = from; at < to; at += PAGE_BYTES) /* an older kernel */
        atomic_fetch_or((_Atomic char *)&mapped->bytes[at], 0);
    return 0;
}

int oa_mapped_load(const oa_mapped *mapped) {
    if (madvise(mapped->bytes, mapped->size, MADV_POPULATE_READ) == 0)
        return 0;
    if (errno != EINVAL)
        return errno;
    return madvise(mapped->bytes, mapped->size, MADV_WILLNEED) == 0 ? 0 : errno;
}

void oa_mapped_let_go(const oa_mapped *mapped) {
    madvise(mapped->bytes, mapped->size, MADV_DONTNEED);
}

int oa_mapped_sync(const oa_mapped *mapped, size_t from, size_t to) {
    return msync(mapped->bytes + from, to - from, MS_SYNC) == 0 ? 0 : errno;
}
