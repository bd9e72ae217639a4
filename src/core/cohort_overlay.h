/*
 * cohort_overlay.h: the changes of an overlay, in the order of a table.  [externally synchronised]
 *
 * The rest of the interface, what a host may use, is in cohort.h.
 */
#ifndef OA_COHORT_OVERLAY_H
#define OA_COHORT_OVERLAY_H

#include "cohort.h"

/* One change, as it is kept: 57 bits of the print, 7 of the cohort; the time, and the direction. */
typedef struct oa_cohort_note {
    uint64_t key;
    int64_t stamp;
} oa_cohort_note;

static inline uint64_t oa_cohort_note_print(oa_cohort_note note) { return note.key >> 7; }
static inline size_t oa_cohort_note_cohort(oa_cohort_note note) { return note.key & 127; }
static inline bool oa_cohort_note_is_in(oa_cohort_note note) { return (note.stamp & 1) != 0; }

/* Return the time of what is known of a user and a cohort; INT64_MIN: nothing is. */
int64_t oa_cohort_overlay_time(const oa_cohort_overlay *overlay, uint64_t print, size_t cohort);

/* Lend the next change from *at on, which begins at 0, in no order; NULL: there are no more. */
const oa_cohort_note *oa_cohort_overlay_next(const oa_cohort_overlay *overlay, size_t *at);

/* Write all changes to `out`, which has room for them, in ascending order of prints. */
void oa_cohort_overlay_sort(const oa_cohort_overlay *overlay, oa_cohort_note *out);

#endif
