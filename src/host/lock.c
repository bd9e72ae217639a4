#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <unistd.h>

enum { MODE = 0600 };

int oa_lock_take(const char *path) {
    const int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, MODE);
    if (lock < 0)
        return OA_LOCK_NONE;
    /* Unlike those of fcntl(), it belongs to this open file: not to all of the process, which may
     * have Workers, and which would free it when it closes the same file anywhere. */
    if (flock(lock, LOCK_EX | LOCK_NB) == 0)
        return lock;
    const bool is_taken = errno == EWOULDBLOCK;
    close(lock);
    return is_taken ? OA_LOCK_TAKEN : OA_LOCK_NONE;
}

void oa_lock_release(int lock) {
    if (lock >= 0)
        close(lock);
}
