/*
 * waker.h: what another thread wakes the loop with. It keeps the loop alive only while it is told
 * to.
 *
 * Thread: the loop's; oa_waker_wake() on any.
 */
#ifndef OA_HOST_WAKER_H
#define OA_HOST_WAKER_H

#include <stdbool.h>

#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct oa_waker {
    uv_async_t async; /* its own, until `closed` is called */
    void (*woken)(void *data);
    void (*closed)(void *data);
    void *data;
    bool is_open;
} oa_waker;

/* Have `woken` called on the loop after oa_waker_wake(). Returns false if the system refuses. */
bool oa_waker_open(oa_waker *waker, uv_loop_t *loop, void (*woken)(void *data), void *data);

/* Wake the loop. Takes a waker as void *: the callers know nothing of loops. */
void oa_waker_wake(void *waker);

void oa_waker_keep_alive(oa_waker *waker, bool keeps);

/* `closed` is called later, from the loop, or at once for one that was never opened, which is zero.
 * Nobody may wake it from now on. */
void oa_waker_close(oa_waker *waker, void (*closed)(void *data), void *data);

#ifdef __cplusplus
}
#endif

#endif
