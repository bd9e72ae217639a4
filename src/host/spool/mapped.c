/*
 * mapped.c: a file whose bytes are memory: see storage.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../stat.h"
#include "storage.h"

enum { PAGE_BYTES = 4096 };

/* Linux 5.14 and later; headers may be older. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* Reserve the blocks of a file that is open, and map it. Takes the descriptor. */
static int map(oa_storage *storage, int fd, size_t size) {
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
    storage->bytes = bytes;
    storage->size = size;
    return 0;
}

static int create_file(oa_storage *storage, size_t size) {
    const int fd = openat(storage->directory, storage->name,
                          O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    const int error = map(storage, fd, size);
    if (error != 0)
        unlinkat(storage->directory, storage->name, 0);
    return error;
}

static int open_file(oa_storage *storage) {
    oa_file_stat stat;
    const int fd = openat(storage->directory, storage->name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno;
    const int error = oa_stat(fd, &stat);
    const size_t size = error == 0 ? (size_t)stat.st_size / PAGE_BYTES * PAGE_BYTES : 0;
    if (error == 0 && size > 0)
        return map(storage, fd, size);
    close(fd);
    return error;
}

static void close_file(oa_storage *storage) { munmap(storage->bytes, storage->size); }

static int make_ready(const oa_storage *storage, size_t from, size_t to) {
    if (from >= to || madvise(storage->bytes + from, to - from, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL)
        return errno;
    for (size_t at = from; at < to; at += PAGE_BYTES) /* an older kernel */
        atomic_fetch_or((_Atomic char *)&storage->bytes[at], 0);
    return 0;
}

/* What is stored is the kernel's already. */
static int save(oa_storage *storage, size_t from, size_t to) {
    (void)storage;
    (void)from;
    (void)to;
    return 0;
}

static void rest(oa_storage *storage) { (void)storage; }

static int load(const oa_storage *storage, bool *again) {
    *again = false;
    if (madvise(storage->bytes, storage->size, MADV_POPULATE_READ) == 0)
        return 0;
    if (errno != EINVAL)
        return errno;
    return madvise(storage->bytes, storage->size, MADV_WILLNEED) == 0 ? 0 : errno;
}

static void let_go(const oa_storage *storage) {
    madvise(storage->bytes, storage->size, MADV_DONTNEED);
}

static int sync_file(const oa_storage *storage, size_t from, size_t to) {
    return msync(storage->bytes + from, to - from, MS_SYNC) == 0 ? 0 : errno;
}

const oa_storage_kind oa_storage_mapped = {
    .is_worth_keeping = true,
    .create = create_file,
    .open = open_file,
    .close = close_file,
    .make_ready = make_ready,
    .save = save,
    .rest = rest,
    .load = load,
    .let_go = let_go,
    .sync = sync_file,
};
