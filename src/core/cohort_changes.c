/*
 * cohort_changes.c: what messages have changed, in front of a table.  [externally synchronised]
 *
 *     put --> young --(begin_merge)--> old --(next begin_merge)--> given up
 *
 * `old` is in the table once its merge is over, but for what a list has replaced since: such
 * changes are merged again before it is given up. While both are in front of the table, `young` is
 * asked last, because nothing enters it that is earlier than what `old` has of the same user.
 */
#include <string.h>

#include "cohort.h"
#include "cohort_overlay.h"
#include "mem.h"

enum { MAX_RECOUNTED = 4096 };

/* What is remembered of a cohort when its changes are gone. */
typedef struct cohort_times {
    int64_t newest_ms; /* of all changes that were put */
    int64_t frozen_ms; /* of those that are in `old`, or were put before */
    int64_t gone_ms;   /* of those that are in neither overlay */
    int64_t listed_ms; /* the time of the list */
} cohort_times;

struct oa_cohort_changes {
    oa_cohort_overlay *young;
    oa_cohort_overlay *old;
    bool is_merged; /* all of `old` is in the table */
    size_t max;
    cohort_times times[OA_COHORT_MAX];
};

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

oa_status oa_cohort_changes_new(size_t max_changes, oa_cohort_changes **out) {
    oa_cohort_changes *changes = oa_mem_calloc(1, sizeof(*changes));
    if (changes == NULL)
        return OA_NOMEM;
    changes->max = max_changes;
    changes->is_merged = true;
    for (size_t i = 0; i < OA_COHORT_MAX; i++)
        changes->times[i] = (cohort_times){INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN};
    oa_status status = oa_cohort_overlay_new(max_changes, &changes->young);
    if (status == OA_OK)
        status = oa_cohort_overlay_new(max_changes, &changes->old);
    if (status != OA_OK) {
        oa_cohort_changes_free(changes);
        return status;
    }
    *out = changes;
    return OA_OK;
}

void oa_cohort_changes_free(oa_cohort_changes *changes) {
    if (changes == NULL)
        return;
    oa_cohort_overlay_free(changes->young);
    oa_cohort_overlay_free(changes->old);
    oa_mem_free(changes);
}

size_t oa_cohort_changes_count(const oa_cohort_changes *changes) {
    return oa_cohort_overlay_count(changes->young);
}

void oa_cohort_changes_apply(const oa_cohort_changes *changes, uint64_t print, oa_cohort_set *set) {
    oa_cohort_overlay_apply(changes->old, print, set);
    oa_cohort_overlay_apply(changes->young, print, set);
}

/* ---- A message ---- */

static oa_status put_user(oa_cohort_changes *changes, const oa_cohort_table *table,
                          const oa_cohort_move *move, uint64_t print, oa_cohort_moved *moved) {
    oa_cohort_set set = {{0}};
    if (table != NULL)
        oa_cohort_table_find(table, print, &set);
    oa_cohort_changes_apply(changes, print, &set);
    oa_status status = OA_REPEAT;
    if (move->time_ms >= oa_cohort_overlay_time(changes->old, print, move->cohort))
        status =
            oa_cohort_overlay_put(changes->young, print, move->cohort, move->is_in, move->time_ms);
    if (status == OA_REPEAT) {
        moved->late++;
        return OA_OK;
    }
    if (status != OA_OK)
        return status;
    const bool was_in = oa_cohort_set_has(&set, move->cohort);
    moved->entered += !was_in && move->is_in;
    moved->left += was_in && !move->is_in;
    return OA_OK;
}

oa_status oa_cohort_changes_put(oa_cohort_changes *changes, const oa_cohort_table *table,
                                const oa_cohort_move *move, oa_cohort_moved *moved) {
    *moved = (oa_cohort_moved){0};
    if (move->cohort >= OA_COHORT_MAX)
        return OA_TOO_LARGE;
    cohort_times *times = &changes->times[move->cohort];
    if (move->time_ms <= times->listed_ms || move->time_ms < times->gone_ms) {
        moved->done = move->count;
        moved->late = move->count;
        return OA_OK;
    }
    while (moved->done < move->count) {
        const oa_status status = put_user(changes, table, move, move->prints[moved->done], moved);
        if (status != OA_OK)
            return status;
        times->newest_ms = later(times->newest_ms, move->time_ms);
        moved->done++;
    }
    return OA_OK;
}

static oa_status add_notes(oa_cohort_changes *changes, const oa_cohort_table *table,
                           const oa_cohort_overlay *overlay) {
    size_t at = 0;
    for (const oa_cohort_note *note; (note = oa_cohort_overlay_next(overlay, &at)) != NULL;) {
        const uint64_t print = oa_cohort_note_print(*note);
        const oa_cohort_move move = {.cohort = oa_cohort_note_cohort(*note),
                                     .is_in = oa_cohort_note_is_in(*note),
                                     .time_ms = note->stamp >> 1,
                                     .prints = &print,
                                     .count = 1};
        oa_cohort_moved moved;
        const oa_status status = oa_cohort_changes_put(changes, table, &move, &moved);
        if (status != OA_OK)
            return status;
    }
    return OA_OK;
}

oa_status oa_cohort_changes_add(oa_cohort_changes *changes, const oa_cohort_table *table,
                                const oa_cohort_changes *other) {
    oa_status status = add_notes(changes, table, other->old);
    if (status == OA_OK)
        status = add_notes(changes, table, other->young);
    for (size_t i = 0; i < OA_COHORT_MAX; i++) {
        cohort_times *times = &changes->times[i];
        times->newest_ms = later(times->newest_ms, other->times[i].newest_ms);
        times->gone_ms = later(times->gone_ms, other->times[i].gone_ms);
    }
    return status;
}

/* ---- A list of all members ---- */

bool oa_cohort_changes_allow(const oa_cohort_changes *changes, size_t cohort, int64_t time_ms) {
    return time_ms >= changes->times[cohort].gone_ms;
}

/* Count the changes of a cohort. */
static size_t count_of(const oa_cohort_overlay *overlay, size_t cohort) {
    size_t at = 0, count = 0;
    for (const oa_cohort_note *note; (note = oa_cohort_overlay_next(overlay, &at)) != NULL;)
        count += oa_cohort_note_cohort(*note) == cohort;
    return count;
}

/* Add by how much a change makes its cohort larger, unless `above` knows better. */
static void count_note(const oa_cohort_overlay *above, const oa_cohort_table *table,
                       oa_cohort_note note, int64_t *growth) {
    const uint64_t print = oa_cohort_note_print(note);
    const size_t cohort = oa_cohort_note_cohort(note);
    if (above != NULL && oa_cohort_overlay_time(above, print, cohort) != INT64_MIN)
        return;
    oa_cohort_set set;
    oa_cohort_table_find(table, print, &set);
    growth[cohort] +=
        (int64_t)oa_cohort_note_is_in(note) - (int64_t)oa_cohort_set_has(&set, cohort);
}

/* Return by how much an overlay makes a cohort larger, without what `above` knows better. */
static int64_t growth_by(const oa_cohort_overlay *overlay, const oa_cohort_overlay *above,
                         const oa_cohort_table *table, size_t cohort) {
    size_t at = 0;
    int64_t growth[OA_COHORT_MAX] = {0};
    for (const oa_cohort_note *note; (note = oa_cohort_overlay_next(overlay, &at)) != NULL;) {
        if (oa_cohort_note_cohort(*note) == cohort)
            count_note(above, table, *note, growth);
    }
    return growth[cohort];
}

bool oa_cohort_changes_listed(oa_cohort_changes *changes, const oa_cohort_table *table,
                              size_t cohort, int64_t time_ms, int64_t *growth) {
    cohort_times *times = &changes->times[cohort];
    times->listed_ms = time_ms;
    const int64_t replaced_ms = time_ms < times->newest_ms ? time_ms : times->newest_ms;
    times->gone_ms = later(times->gone_ms, replaced_ms);
    oa_cohort_overlay_forget(changes->old, cohort, time_ms);
    oa_cohort_overlay_forget(changes->young, cohort, time_ms);
    const size_t old_count = count_of(changes->old, cohort);
    if (old_count > 0)
        changes->is_merged = false; /* the list has put them out of the table */
    *growth = 0;
    if (old_count + count_of(changes->young, cohort) > MAX_RECOUNTED)
        return false;
    *growth = growth_by(changes->old, changes->young, table, cohort) +
              growth_by(changes->young, NULL, table, cohort);
    return true;
}

void oa_cohort_changes_growth(const oa_cohort_changes *changes, const oa_cohort_table *table,
                              int64_t growth[OA_COHORT_MAX]) {
    for (size_t i = 0; i < OA_COHORT_MAX; i++)
        growth[i] = 0;
    for (int is_young = 0; is_young < 2; is_young++) {
        const oa_cohort_overlay *overlay = is_young ? changes->young : changes->old;
        size_t at = 0;
        for (const oa_cohort_note *note; (note = oa_cohort_overlay_next(overlay, &at)) != NULL;)
            count_note(is_young ? NULL : changes->young, table, *note, growth);
    }
}

/* ---- A merge ---- */

/* Give up `old`, and have a new `young` take changes. */
static oa_status freeze(oa_cohort_changes *changes) {
    oa_cohort_overlay *fresh = NULL;
    const oa_status status = oa_cohort_overlay_new(changes->max, &fresh);
    if (status != OA_OK)
        return status;
    for (size_t i = 0; i < OA_COHORT_MAX; i++) {
        cohort_times *times = &changes->times[i];
        times->gone_ms = later(times->gone_ms, times->frozen_ms);
        times->frozen_ms = times->newest_ms;
    }
    oa_cohort_overlay_free(changes->old);
    changes->old = changes->young;
    changes->young = fresh;
    changes->is_merged = false;
    return OA_OK;
}

oa_status oa_cohort_changes_begin_merge(oa_cohort_changes *changes, bool *is_all,
                                        const oa_cohort_overlay **out) {
    const bool is_again = !changes->is_merged;
    const oa_status status = is_again ? OA_OK : freeze(changes);
    if (status != OA_OK)
        return status;
    *is_all = !is_again || oa_cohort_overlay_count(changes->young) == 0;
    *out = changes->old;
    return OA_OK;
}

void oa_cohort_changes_end_merge(oa_cohort_changes *changes, bool is_done) {
    changes->is_merged |= is_done;
}

/* ---- As bytes ---- */

/*
 *     magic (8), a keyed checksum of what follows (8), the numbers of cohorts and of changes in
 *     `old` and in `young` (8 each), the times of each cohort (32), the changes (16 each)
 *
 * All are numbers of 64 bits with the least significant byte first.
 */
enum { WORD = 8, HEAD_WORDS = 5, SUMMED_FROM = 2 * WORD, TIME_WORDS = 4, NOTE_WORDS = 2 };

static const uint64_t MAGIC = UINT64_C(0x3167686363616f); /* "oacchg1" */

static uint8_t *put_word(uint8_t *at, uint64_t word) {
    for (int i = 0; i < WORD; i++)
        *at++ = (uint8_t)(word >> 8 * i);
    return at;
}

static uint64_t get_word(const uint8_t **at) {
    uint64_t word = 0;
    for (int i = 0; i < WORD; i++)
        word |= (uint64_t) * (*at)++ << 8 * i;
    return word;
}

static uint64_t sum_of(const oa_hash_key *key, const uint8_t *bytes, size_t len) {
    return oa_hash_bytes(key, bytes + SUMMED_FROM, len - SUMMED_FROM).low;
}

static size_t bytes_of(size_t cohorts, size_t changes) {
    return WORD * (HEAD_WORDS + cohorts * TIME_WORDS + changes * NOTE_WORDS);
}

size_t oa_cohort_changes_bytes(const oa_cohort_changes *changes, size_t cohorts) {
    return bytes_of(cohorts, oa_cohort_overlay_count(changes->old) +
                                 oa_cohort_overlay_count(changes->young));
}

static uint8_t *put_notes(uint8_t *at, const oa_cohort_overlay *overlay) {
    size_t slot = 0;
    for (const oa_cohort_note *note; (note = oa_cohort_overlay_next(overlay, &slot)) != NULL;)
        at = put_word(put_word(at, note->key), (uint64_t)note->stamp);
    return at;
}

void oa_cohort_changes_write(const oa_cohort_changes *changes, const oa_hash_key *key,
                             size_t cohorts, void *out) {
    uint8_t *at = put_word(out, MAGIC);
    at = put_word(at + WORD, cohorts);
    at = put_word(at, oa_cohort_overlay_count(changes->old));
    at = put_word(at, oa_cohort_overlay_count(changes->young));
    for (size_t i = 0; i < cohorts; i++) {
        const cohort_times *times = &changes->times[i];
        at = put_word(put_word(at, (uint64_t)times->newest_ms), (uint64_t)times->frozen_ms);
        at = put_word(put_word(at, (uint64_t)times->gone_ms), (uint64_t)times->listed_ms);
    }
    at = put_notes(put_notes(at, changes->old), changes->young);
    put_word((uint8_t *)out + WORD, sum_of(key, out, (size_t)(at - (uint8_t *)out)));
}

static oa_status get_notes(const uint8_t **at, uint64_t count, size_t cohorts,
                           oa_cohort_overlay *overlay) {
    for (uint64_t i = 0; i < count; i++) {
        oa_cohort_note note = {0};
        note.key = get_word(at);
        note.stamp = (int64_t)get_word(at);
        if (oa_cohort_note_cohort(note) >= cohorts)
            return OA_MALFORMED;
        const oa_status status =
            oa_cohort_overlay_put(overlay, oa_cohort_note_print(note), oa_cohort_note_cohort(note),
                                  oa_cohort_note_is_in(note), note.stamp >> 1);
        if (status != OA_OK)
            return status == OA_NOMEM ? OA_NOMEM : OA_MALFORMED;
    }
    return OA_OK;
}

oa_status oa_cohort_changes_open(const oa_hash_key *key, oa_str bytes, size_t cohorts,
                                 size_t max_changes, oa_cohort_changes **out) {
    const uint8_t *const image = (const uint8_t *)bytes.data;
    const uint8_t *at = image;
    if (bytes.len < bytes_of(cohorts, 0) || cohorts > OA_COHORT_MAX || get_word(&at) != MAGIC ||
        get_word(&at) != sum_of(key, image, bytes.len) || get_word(&at) != cohorts)
        return OA_MALFORMED;
    const uint64_t old_count = get_word(&at);
    const uint64_t young_count = get_word(&at);
    if (old_count > max_changes || young_count > max_changes ||
        bytes.len != bytes_of(cohorts, (size_t)(old_count + young_count)))
        return OA_MALFORMED;
    oa_cohort_changes *changes = NULL;
    oa_status status = oa_cohort_changes_new(max_changes, &changes);
    if (status != OA_OK)
        return status;
    for (size_t i = 0; i < cohorts; i++) {
        cohort_times *times = &changes->times[i];
        times->newest_ms = (int64_t)get_word(&at);
        times->frozen_ms = (int64_t)get_word(&at);
        times->gone_ms = (int64_t)get_word(&at);
        times->listed_ms = (int64_t)get_word(&at);
    }
    status = get_notes(&at, old_count, cohorts, changes->old);
    if (status == OA_OK)
        status = get_notes(&at, young_count, cohorts, changes->young);
    if (status != OA_OK) {
        oa_cohort_changes_free(changes);
        return status;
    }
    changes->is_merged = old_count == 0;
    *out = changes;
    return OA_OK;
}
