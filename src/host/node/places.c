#include "places.h"

#include <stdatomic.h>
#include <stdlib.h>

#include <uv.h>

/* An operation of fs has a few steps, each of which may wait for so long. */
enum { SMALL_POOL = 4, SLICE_MS = 10 };

/* Changed by the loops of all threads; they count, and order nothing else. */
static atomic_int taken;
static atomic_int waiting;
static int count;
static uint64_t slice_ms;
static uv_once_t once = UV_ONCE_INIT;

/* Source: libuv's docs/src/threadpool.rst: 4 threads, or UV_THREADPOOL_SIZE, at most 1024. */
static void count_places(void) {
    char text[16];
    size_t size = sizeof(text);
    long threads = 4;
    if (uv_os_getenv("UV_THREADPOOL_SIZE", text, &size) == 0)
        threads = strtol(text, NULL, 10);
    if (threads > 1024)
        threads = 1024;
    count = threads >= SMALL_POOL ? (int)threads / 2 : 1;
    slice_ms = threads >= SMALL_POOL ? UINT64_MAX : SLICE_MS;
}

static bool take(void) {
    if (atomic_fetch_add(&taken, 1) < count)
        return true;
    atomic_fetch_sub(&taken, 1);
    return false;
}

static void stop_waiting(oa_place *place) {
    if (place->is_waiting)
        atomic_fetch_sub(&waiting, 1);
    place->is_waiting = false;
}

bool oa_place_acquire(oa_place *place) {
    uv_once(&once, count_places);
    if (place->is_taken)
        return atomic_load(&waiting) == 0;
    const bool others_wait = !place->is_waiting && atomic_load(&waiting) > 0;
    if (!others_wait && take()) {
        stop_waiting(place);
        place->is_taken = true;
        return true;
    }
    if (!place->is_waiting)
        atomic_fetch_add(&waiting, 1);
    place->is_waiting = true;
    return false;
}

void oa_place_release(oa_place *place) {
    stop_waiting(place);
    if (place->is_taken)
        atomic_fetch_sub(&taken, 1);
    place->is_taken = false;
}

uint64_t oa_place_slice_ms(void) {
    uv_once(&once, count_places);
    return slice_ms;
}
