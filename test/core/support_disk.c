#include "support_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic int failing = DISK_CALLS; /* disk_call; DISK_CALLS: none */
static _Atomic uint64_t first_fails, last_fails, calls;
static _Atomic int fails_with;
static void (*on_bytes_synced)(const char *bytes, size_t len);
static void (*on_file_synced)(int fd);

void disk_fails(disk_call call, uint64_t first, uint64_t count, int error) {
    atomic_store(&failing, DISK_CALLS);
    atomic_store(&calls, 0);
    atomic_store(&first_fails, first);
    atomic_store(&last_fails, count > UINT64_MAX - first ? UINT64_MAX : first + count - 1);
    atomic_store(&fails_with, error);
    atomic_store(&failing, (int)call);
}

uint64_t disk_works(void) {
    atomic_store(&failing, DISK_CALLS);
    return atomic_load(&calls);
}

void disk_on_sync(void (*bytes_synced)(const char *bytes, size_t len),
                  void (*file_synced)(int fd)) {
    on_bytes_synced = bytes_synced;
    on_file_synced = file_synced;
}

/* Whether this call fails; then errno says why. */
static bool fails(disk_call call) {
    if (atomic_load(&failing) != (int)call)
        return false;
    const uint64_t number = atomic_fetch_add(&calls, 1) + 1;
    if (number < atomic_load(&first_fails) || number > atomic_load(&last_fails))
        return false;
    errno = atomic_load(&fails_with);
    return true;
}

int openat(int directory, const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    const int mode = (flags & O_CREAT) != 0 ? va_arg(more, int) : 0;
    va_end(more);
    return fails(DISK_OPEN) ? -1 : (int)syscall(SYS_openat, directory, name, flags, mode);
}

int fallocate(int fd, int mode, off_t from, off_t len) {
    return fails(DISK_RESERVE) ? -1 : (int)syscall(SYS_fallocate, fd, mode, from, len);
}

int madvise(void *bytes, size_t len, int advice) {
    const bool populates = advice == 22 || advice == 23; /* headers may be older than the kernel */
    return populates && fails(DISK_READY) ? -1 : (int)syscall(SYS_madvise, bytes, len, advice);
}

int msync(void *bytes, size_t len, int flags) {
    if (fails(DISK_SYNC) || syscall(SYS_msync, bytes, len, flags) != 0)
        return -1;
    if (on_bytes_synced != NULL)
        on_bytes_synced(bytes, len);
    return 0;
}

static int sync_file(int fd, long number) {
    if (fails(DISK_SYNC) || syscall(number, fd) != 0)
        return -1;
    if (on_file_synced != NULL)
        on_file_synced(fd);
    return 0;
}

int fsync(int fd) { return sync_file(fd, SYS_fsync); }

int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at) {
    return fails(DISK_WRITE) ? -1 : syscall(SYS_pwrite64, fd, bytes, len, at);
}

int unlinkat(int directory, const char *name, int flags) {
    return fails(DISK_DELETE) ? -1 : (int)syscall(SYS_unlinkat, directory, name, flags);
}
