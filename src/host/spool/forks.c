#include "forks.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { FIRST_THINGS = 16 };

/* A file, or a mapping. */
typedef struct thing {
    int fd;
    void *bytes;
    size_t size;
} thing;

/* All below is under the mutex. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static thing *things;
static size_t count;
static size_t cap;

void oa_forks_hold(void) { pthread_mutex_lock(&mutex); }

void oa_forks_release(void) { pthread_mutex_unlock(&mutex); }

bool oa_forks_add(int fd, void *bytes, size_t size) {
    if (count == cap) {
        const size_t more = cap > 0 ? cap * 2 : FIRST_THINGS;
        thing *grown = realloc(things, more * sizeof(*grown));
        if (grown == NULL)
            return false;
        things = grown;
        cap = more;
    }
    things[count++] = (thing){fd, bytes, size};
    return true;
}

void oa_forks_remove(int fd, const void *bytes) {
    size_t at = 0;
    while (at < count && (things[at].fd != fd || things[at].bytes != bytes))
        at++;
    if (at == count)
        return;
    things[at] = things[--count];
    if (count > 0)
        return;
    free(things); /* so that nothing is left when the last journal is gone */
    things = NULL;
    cap = 0;
}

void oa_forks_leave(void) {
    for (size_t i = 0; i < count; i++) {
        if (things[i].fd >= 0)
            close(things[i].fd);
        else
            mmap(things[i].bytes, things[i].size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    }
    count = 0;
    pthread_mutex_init(&mutex, NULL); /* whoever waited for it is no more */
}
