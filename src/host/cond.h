/*
 * cond.h: condition variables that wait until a moment on the monotonic clock.  [any thread]
 */
#ifndef OA_HOST_COND_H
#define OA_HOST_COND_H

#include <pthread.h>
#include <time.h>

#include "clock.h"

static inline void oa_cond_init(pthread_cond_t *cond) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
#ifndef __APPLE__
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Wait until `until_ms`, or to be signalled, or for nothing. */
static inline void oa_cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                      uint64_t until_ms) {
#ifdef __APPLE__ /* its condition variables know the wall clock alone */
    const uint64_t now_ms = oa_clock_now().monotonic_ms;
    const uint64_t wait_ms = until_ms > now_ms ? until_ms - now_ms : 0;
    const struct timespec delay = {(time_t)(wait_ms / 1000), (long)(wait_ms % 1000) * 1000000};
    pthread_cond_timedwait_relative_np(cond, mutex, &delay);
#else
    const struct timespec until = {(time_t)(until_ms / 1000), (long)(until_ms % 1000) * 1000000};
    pthread_cond_timedwait(cond, mutex, &until);
#endif
}

#endif
