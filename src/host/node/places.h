/*
 * places.h: the share of libuv's thread pool that is ours.
 *
 * Half of the pool at most is taken, by however many dispatchers of however many threads: a slow
 * server must not starve fs and dns. What waits for a place goes before what had one just now, so
 * none starves another. In a pool of less than four threads, one is more than a small share of it,
 * so a request holds it in slices, between which others get their turn. [any loop]
 */
#ifndef OA_HOST_PLACES_H
#define OA_HOST_PLACES_H

#include <stdbool.h>
#include <stdint.h>

/* One dispatcher's claim to a place. Starts as all zeroes. */
typedef struct oa_place {
    bool is_waiting;
    bool is_taken;
} oa_place;

/*
 * Take a place, or wait for one and return false: then ask again soon. If it was taken
 * before, return whether it may be used for more: nobody else waits for one.
 */
bool oa_place_acquire(oa_place *place);

/* Give the place back, or wait for one no longer. */
void oa_place_release(oa_place *place);

/* Return for how many ms a thread may be held at a time; UINT64_MAX: for as long as it takes.
 * Thread: any. */
uint64_t oa_place_slice_ms(void);

#endif
