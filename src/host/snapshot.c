#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "stat.h"

enum { PIECE_BYTES = 1024 * 1024, SUFFIX_BYTES = 32, MODE = 0600 };

/* Return `path` with a suffix as a string, owned, or NULL. */
static char *path_with(oa_str path, const char *suffix) {
    const size_t size = path.len + strlen(suffix) + 1;
    char *text = malloc(size);
    if (text != NULL)
        snprintf(text, size, "%.*s%s", (int)path.len, path.data, suffix);
    return text;
}

static oa_status map_file(int fd, oa_snapshot *out) {
    oa_file_stat stat;
    if (oa_stat(fd, &stat) != 0 || !S_ISREG(stat.st_mode) || stat.st_size == 0)
        return OA_UNAVAILABLE;
    void *bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return OA_UNAVAILABLE;
    *out = (oa_snapshot){bytes, (size_t)stat.st_size};
    return OA_OK;
}

oa_status oa_snapshot_open(oa_str path, const oa_hash_key *key, oa_snapshot *out,
                           oa_cohort_table **table) {
    oa_snapshot snapshot = {0};
    char *text = path_with(path, "");
    if (text == NULL)
        return OA_NOMEM;
    const int fd = open(text, O_RDONLY | O_CLOEXEC);
    free(text);
    if (fd < 0)
        return OA_UNAVAILABLE;
    oa_status status = map_file(fd, &snapshot);
    close(fd);
    if (status == OA_OK)
        status = oa_cohort_table_open(key, (oa_str){snapshot.bytes, snapshot.size}, table);
    if (status == OA_OK)
        *out = snapshot;
    else
        oa_snapshot_close(&snapshot);
    return status;
}

oa_status oa_snapshot_reserve(size_t size, oa_snapshot *out) {
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return OA_NOMEM;
    *out = (oa_snapshot){bytes, size};
    return OA_OK;
}

void oa_snapshot_close(oa_snapshot *snapshot) {
    if (snapshot->bytes != NULL)
        munmap(snapshot->bytes, snapshot->size);
    *snapshot = (oa_snapshot){0};
}

static bool write_pieces(int fd, oa_str image, const atomic_bool *cancelled) {
    while (image.len > 0) {
        if (atomic_load(cancelled)) {
            errno = ECANCELED;
            return false;
        }
        const ssize_t sent =
            write(fd, image.data, image.len < PIECE_BYTES ? image.len : PIECE_BYTES);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        image = (oa_str){image.data + sent, image.len - (size_t)sent};
    }
    return true;
}

/* Write `image` to a new file, and rename it; the file is gone when that fails. */
static bool write_and_rename(const char *from, const char *to, oa_str image,
                             const atomic_bool *cancelled) {
    const int fd = open(from, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, MODE);
    if (fd < 0)
        return false;
    bool is_written = write_pieces(fd, image, cancelled);
    int code = errno;
    if (close(fd) != 0 && is_written) {
        is_written = false;
        code = errno;
    }
    if (is_written && rename(from, to) == 0)
        return true;
    if (is_written)
        code = errno;
    unlink(from);
    errno = code;
    return false;
}

oa_status oa_snapshot_write(oa_str path, oa_str image, const atomic_bool *cancelled) {
    char suffix[SUFFIX_BYTES];
    uint64_t random = 0;
    if (getentropy(&random, sizeof(random)) != 0)
        random = oa_clock_now().monotonic_ms ^ (uint64_t)getpid() << 32;
    snprintf(suffix, sizeof(suffix), ".%016" PRIx64 ".tmp", random);
    char *from = path_with(path, suffix);
    char *to = path_with(path, "");
    errno = ENOMEM;
    const bool is_written =
        from != NULL && to != NULL && write_and_rename(from, to, image, cancelled);
    const int code = errno;
    free(from);
    free(to);
    errno = code;
    return is_written ? OA_OK : OA_UNAVAILABLE;
}
