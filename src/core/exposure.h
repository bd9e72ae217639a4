/*
 * exposure.h: which exposure was sent already: the de-duplication of decisions. [externally
 * synchronised]
 *
 * For each (identity, flag) the table keeps the last value that was sent in the current window and
 * how often it changed in it (the turn). A repeat is suppressed; a change is sent, with the next
 * turn, so that a -> off -> a leaves a user at `a`. (window, turn) go into the insert_id, which
 * makes it the same in every process that sees the same history.
 *
 * Another process may have changed the property meanwhile. So a repeat whose property this one last
 * set `refresh_ms` ago, or up to a quarter less, sets it again: the moments at which that is due
 * are spread over the identities, as windows are.
 *
 * Windows start at an offset of each identity's own, so that there is no stampede at midnight: the
 * upper 32 bits of identity.high, as a fraction of a window. A clock that goes back to an earlier
 * window starts that one again, from turn 0.
 *
 * Memory: extendible hashing. A directory of segments, each a small open-addressing table that
 * splits in two when it is full, so that the table grows as it is used and no single call pays for
 * the growth. At `max_entries` an insert evicts instead: entries of past windows first, then by
 * the clock algorithm within the segment. An evicted exposure may be sent again, with the
 * insert_id it had before its first change, so Amplitude does not count it twice.
 */
#ifndef OA_EXPOSURE_H
#define OA_EXPOSURE_H

#include "hash.h"
#include "oa.h"

typedef struct oa_exposure oa_exposure;

/* Which occurrence of a value within which window. */
typedef struct oa_occurrence {
    uint32_t window; /* since the epoch, modulo 2^32 */
    uint32_t turn;   /* stays at 2^16 - 1 from there on; every change is still sent */
} oa_occurrence;

/* What is to be sent of an exposure. */
typedef struct oa_sighting {
    oa_occurrence occurrence;
    bool is_repeat; /* it was sent in this window */
    bool is_stale;  /* and its property is due again */
} oa_sighting;

/*
 * Create an empty table of at most `max_entries` (at least 1) and windows of `window_ms` (at least
 * 1). A `refresh_ms` of `window_ms` or more has no effect: a new window sends everything again.
 * Ownership: returns *out owned. Errors: OA_NOMEM.
 */
oa_status oa_exposure_new(uint64_t window_ms, uint64_t refresh_ms, size_t max_entries,
                          oa_exposure **out) __attribute__((warn_unused_result));

/*
 * Other processes share a store of exposures, so this table alone does not know what was sent last:
 * a repeat is to be compared with the store, too, and counts as one only while its exposure is in
 * the queue already, see oa_exposure_unqueue().
 */
void oa_exposure_share(oa_exposure *exposure);

/* Take the table. NULL is fine. */
void oa_exposure_free(oa_exposure *exposure);

/* Fetch what oa_exposure_note() will need into the cache, while the caller does other work. */
void oa_exposure_prefetch(const oa_exposure *exposure, oa_hash identity, uint64_t flag);

/*
 * Note that `identity` saw `value` of `flag` at `time_ms`.
 *
 * `identity` and `flag` are keyed hashes; `value` is a keyed hash of (variation, rule, enabled), of
 * which 26 bits are kept. Returns OA_OK when there is something to do, as *out says; OA_REPEAT when
 * it was sent in this window, and that is all. Out of memory is no error: the exposure is sent and
 * not remembered. Cost: one cache line or two, whatever the size of the table.
 */
oa_status oa_exposure_note(oa_exposure *exposure, oa_hash identity, uint64_t flag, uint32_t value,
                           int64_t time_ms, oa_sighting *out) __attribute__((warn_unused_result));

/*
 * Mark what was not delivered as unsent, if it is of the last exposure of its (identity, flag): the
 * next decision with this value sends it, under the same occurrence.
 */
void oa_exposure_forget(oa_exposure *exposure, oa_hash identity, uint64_t flag, uint32_t value,
                        const oa_sighting *sighting);

/* Note that what was noted is not in the queue any more. Without effect when nothing is shared. */
void oa_exposure_unqueue(oa_exposure *exposure, oa_hash identity, uint64_t flag);

/* Correct the turn of an exposure, if it is still the last one of its (identity, flag). */
void oa_exposure_set_turn(oa_exposure *exposure, oa_hash identity, uint64_t flag, uint32_t value,
                          oa_occurrence occurrence, uint32_t turn);

/* Return the end of an identity's window, in ms since the epoch. Pure. */
int64_t oa_exposure_window_end(uint64_t window_ms, oa_hash identity, uint32_t window);

typedef struct oa_exposure_stats {
    size_t entries;
    size_t bytes;     /* 1.1 KB at first; 26 an entry when full, up to 53 while it grows */
    uint64_t evicted; /* entries that may have been of the current window */
} oa_exposure_stats;

void oa_exposure_stats_read(const oa_exposure *exposure, oa_exposure_stats *out);

#endif
