/*
 * places.h: the share of libuv's thread pool that is ours.
 *
 * Half of the pool at most is taken, by however many dispatchers of however many threads: a slow
 * server must not starve fs and dns. A dispatcher that waits for a place goes before one that has
 * just had one, so none starves another. [any loop]
 */
#ifndef OA_HOST_PLACES_H
#define OA_HOST_PLACES_H

#include <stdbool.h>

/* One dispatcher's claim to a place. Starts as all zeroes. */
typedef struct oa_place {
    bool is_waiting;
    bool is_taken;
} oa_place;

/* Take a place, or wait for one and return false: then ask again soon. */
bool oa_place_acquire(oa_place *place);

/* Give the place back, or wait for one no longer. */
void oa_place_release(oa_place *place);

#endif
