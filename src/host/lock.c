#include "lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

enum { MODE = 0600 };

int oa_lock_take(const char *path) {
    const int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, MODE);
    if (lock < 0)
        return -1;
    /* Unlike those of fcntl(), it belongs to this open file: not to all of the process, which may
     * have Workers, and which would free it when it closes the same file anywhere. */
    if (flock(lock, LOCK_EX | LOCK_NB) == 0)
        return lock;
    close(lock);
    return -1;
}

void oa_lock_release(int lock) {
    if (lock >= 0)
        close(lock);
}
