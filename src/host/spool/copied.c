/*
 * copied.c: a file of whose bytes there is a copy in memory: see storage.h.
 *
 * A journal may have a thousand files, and a process as many descriptors: only those that are
 * written to stay open.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../stat.h"
#include "segment.h"
#include "storage.h"

enum { PAGE_BYTES = OA_SEGMENT_PAGE_BYTES, HEAD_BYTES = OA_SEGMENT_HEAD_BYTES };

static int open_named(const oa_storage *storage, int flags) {
    return openat(storage->directory, storage->name, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* Make the memory of a copy, of zeros. */
static int make_copy(oa_storage *storage, size_t size) {
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return errno;
    madvise(bytes, size, MADV_DONTFORK); /* a child is not the owner */
    madvise(bytes, size, MADV_DONTDUMP); /* ids of users */
    storage->bytes = bytes;
    storage->size = size;
    return 0;
}

/* Read from `from` to `to`, as far as the file goes. */
static int read_all(const oa_storage *storage, int fd, size_t from, size_t to) {
    while (from < to) {
        const ssize_t len = pread(fd, storage->bytes + from, to - from, (off_t)from);
        if (len == 0)
            return 0;
        if (len < 0 && errno != EINTR)
            return errno;
        from += len < 0 ? 0 : (size_t)len;
    }
    return 0;
}

static int write_all(const oa_storage *storage, int fd, size_t from, size_t to) {
    while (from < to) {
        const ssize_t len = pwrite(fd, storage->bytes + from, to - from, (off_t)from);
        if (len == 0)
            return EIO;
        if (len < 0 && errno != EINTR)
            return errno;
        from += len < 0 ? 0 : (size_t)len;
    }
    return 0;
}

static int create_file(oa_storage *storage, size_t size) {
    const int fd = open_named(storage, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return errno;
    /* It has its size at once, as a mapped one has: what nobody wrote to is zero. */
    int error = ftruncate(fd, (off_t)size) == 0 ? 0 : errno;
    if (error == 0)
        error = make_copy(storage, size);
    if (error == 0) {
        storage->fd = fd;
        return 0;
    }
    close(fd);
    unlinkat(storage->directory, storage->name, 0);
    return error;
}

static void close_file(oa_storage *storage) {
    munmap(storage->bytes, storage->size);
    if (storage->fd >= 0)
        close(storage->fd);
}

static int open_file(oa_storage *storage) {
    oa_file_stat stat;
    const int fd = open_named(storage, O_RDONLY);
    if (fd < 0)
        return errno;
    int error = oa_stat(fd, &stat);
    const size_t size = error == 0 ? (size_t)stat.st_size / PAGE_BYTES * PAGE_BYTES : 0;
    if (error == 0 && size > 0)
        error = make_copy(storage, size);
    if (error == 0 && size > 0)
        error = read_all(storage, fd, 0, size < HEAD_BYTES ? size : HEAD_BYTES);
    close(fd);
    return error;
}

static int make_ready(const oa_storage *storage, size_t from, size_t to) {
    (void)storage;
    (void)from;
    (void)to;
    return 0;
}

/* Nobody will read a file that was deleted while it was used. */
static int error_unless_deleted(void) { return errno == ENOENT ? 0 : errno; }

static int save(oa_storage *storage, size_t from, size_t to) {
    if (storage->fd >= 0)
        return write_all(storage, storage->fd, from, to);
    const int fd = open_named(storage, O_WRONLY);
    if (fd < 0)
        return error_unless_deleted();
    const int error = write_all(storage, fd, from, to);
    close(fd);
    return error;
}

static void rest(oa_storage *storage) {
    if (storage->fd >= 0)
        close(storage->fd);
    storage->fd = -1;
}

static int load(const oa_storage *storage, bool *again) {
    const int fd = open_named(storage, O_RDONLY);
    *again = fd < 0 && errno != ENOENT;
    if (fd < 0)
        return errno;
    int error = read_all(storage, fd, HEAD_BYTES, storage->size);
    /* A block that cannot be read costs what is in it. */
    for (size_t at = HEAD_BYTES; error != 0 && at < storage->size; at += PAGE_BYTES)
        (void)read_all(storage, fd, at, at + PAGE_BYTES);
    close(fd);
    return error;
}

static void let_go(const oa_storage *storage) {
    if (storage->size > HEAD_BYTES)
        madvise(storage->bytes + HEAD_BYTES, storage->size - HEAD_BYTES, MADV_DONTNEED);
}

static int sync_file(const oa_storage *storage, size_t from, size_t to) {
    (void)from;
    (void)to;
    const int fd = open_named(storage, O_RDONLY);
    if (fd < 0)
        return error_unless_deleted();
    const int error = fdatasync(fd) == 0 ? 0 : errno;
    close(fd);
    return error;
}

const oa_storage_kind oa_storage_copied = {
    .is_copied = true,
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
