/*
 * cohort_merge.c: three sorted sequences become a table.  [any thread, one owner of the runs]
 *
 *   present table   (print, cohorts)          ---+
 *   overlay         (print, cohort, in or out) --+--> for each print, in order: its cohorts now
 *   runs            (print)                   ---+
 *
 * All are read once, from front to back, and the table is written in the same order. So what has
 * been read of the runs is freed while the table grows.
 */
#include "cohort_merge.h"

#include <string.h>

#include "cohort_overlay.h"
#include "cohort_table.h"
#include "mem.h"

enum { NOT_KEPT = OA_COHORT_MAX };

/* The sequences, each at its next print; UINT64_MAX: it is over. */
typedef struct merge {
    const oa_cohort_plan *plan;
    oa_cohort_runs *runs;
    oa_cohort_table *table;
    oa_cohort_delta *delta;
    oa_cohort_cursor present;
    uint8_t places[OA_COHORT_MAX]; /* where the cohorts of the present table are in the next one */
    bool places_differ;
    oa_cohort_note *notes; /* those of the overlay */
    size_t note_count;
    size_t note_at;
    const uint64_t *prints; /* those of a range of the runs, and UINT64_MAX */
} merge;

oa_status oa_cohort_plan_check(const oa_cohort_plan *plan) {
    if (plan->name_count < 1 || plan->name_count > OA_COHORT_MAX ||
        plan->cohort >= plan->name_count)
        return OA_TOO_LARGE;
    for (size_t i = 0; i < plan->name_count; i++) {
        if (plan->names[i].len > OA_COHORT_NAME_BYTES)
            return OA_TOO_LARGE;
    }
    return OA_OK;
}

/* ---- Which cohorts the next table has ---- */

static size_t place_of(const oa_cohort_plan *plan, oa_str name) {
    for (size_t i = 0; i < plan->name_count; i++) {
        if (plan->names[i].len == name.len && memcmp(plan->names[i].data, name.data, name.len) == 0)
            return i;
    }
    return NOT_KEPT;
}

static void describe(merge *m, const oa_cohort_table *present, const oa_cohort_input *input,
                     oa_cohort_info *infos) {
    const oa_cohort_plan *plan = m->plan;
    for (size_t i = 0; i < plan->name_count; i++)
        infos[i] = (oa_cohort_info){.name = plan->names[i]};
    const size_t count = present == NULL ? 0 : oa_cohort_table_cohorts(present);
    for (size_t i = 0; i < count; i++) {
        const oa_cohort_info *info = oa_cohort_table_info(present, i);
        const size_t place = place_of(plan, info->name);
        m->places[i] = (uint8_t)place;
        m->places_differ |= place != i;
        if (place == NOT_KEPT)
            continue;
        infos[place] = *info;
        infos[place].name = plan->names[place]; /* the present table may go before the next one */
    }
    for (size_t i = 0; i < plan->name_count; i++)
        infos[i].is_loaded |= oa_cohort_set_has(&plan->loaded, i);
    if (input->runs == NULL)
        return;
    oa_cohort_info *read = &infos[plan->cohort];
    read->fetched_ms = input->fetched_ms;
    if (plan->change == OA_COHORT_REPLACE) {
        read->is_loaded = true;
        read->modified_ms = input->meta->last_modified;
        read->computed_ms = input->meta->last_computed;
    }
}

static oa_cohort_set moved(const merge *m, const oa_cohort_set *set) {
    if (!m->places_differ)
        return *set;
    oa_cohort_set out = {{0}};
    for (size_t i = 0; i < OA_COHORT_MAX; i++) {
        if (oa_cohort_set_has(set, i) && m->places[i] != NOT_KEPT)
            oa_cohort_set_put(&out, m->places[i], true);
    }
    return out;
}

/* ---- The sequences ---- */

static oa_status read_overlay(merge *m, const oa_cohort_overlay *overlay) {
    m->note_count = overlay == NULL ? 0 : oa_cohort_overlay_count(overlay);
    if (m->note_count == 0)
        return OA_OK;
    m->notes = oa_mem_calloc(m->note_count, sizeof(*m->notes));
    if (m->notes == NULL)
        return OA_NOMEM;
    oa_cohort_overlay_sort(overlay, m->notes);
    return OA_OK;
}

static inline uint64_t next_note(const merge *m) {
    return m->note_at < m->note_count ? oa_cohort_note_print(m->notes[m->note_at]) : UINT64_MAX;
}

/* Read the next range of the runs, if this one is over. */
static inline oa_status fill(merge *m) {
    static const uint64_t none = UINT64_MAX;
    if (*m->prints != UINT64_MAX || m->runs == NULL)
        return OA_OK;
    size_t count = 0;
    const oa_status status = oa_cohort_runs_next(m->runs, &m->prints, &count);
    if (status == OA_OK && count == 0) {
        m->runs = NULL;
        m->prints = &none;
    }
    return status;
}

static inline uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Merge what there is of one print. */
static inline void merge_user(merge *m, uint64_t print, bool is_read) {
    oa_cohort_set set = {{0}};
    if (m->present.print == print) {
        set = moved(m, &m->present.set);
        oa_cohort_cursor_step(&m->present);
    }
    for (; next_note(m) == print; m->note_at++) {
        const size_t cohort = oa_cohort_note_cohort(m->notes[m->note_at]);
        if (cohort < m->plan->name_count)
            oa_cohort_set_put(&set, cohort, oa_cohort_note_is_in(m->notes[m->note_at]));
    }
    if (is_read) {
        const size_t cohort = m->plan->cohort;
        const bool was_in = oa_cohort_set_has(&set, cohort);
        const bool is_listed = *m->prints == print;
        m->prints += is_listed;
        const bool is_in = m->plan->change == OA_COHORT_REPLACE ? is_listed
                           : m->plan->change == OA_COHORT_ENTER ? was_in || is_listed
                                                                : was_in && !is_listed;
        m->delta->before += was_in;
        m->delta->stayed += was_in && is_in;
        m->delta->entered += !was_in && is_in;
        m->delta->left += was_in && !is_in;
        m->delta->members += is_in;
        oa_cohort_set_put(&set, cohort, is_in);
    }
    if ((set.words[0] | set.words[1]) != 0)
        oa_cohort_table_add(m->table, print, &set);
}

static oa_status merge_all(merge *m, bool is_read) {
    for (;;) {
        const oa_status status = fill(m);
        if (status != OA_OK)
            return status;
        const uint64_t print = least(m->present.print, least(next_note(m), *m->prints));
        if (print == UINT64_MAX)
            return OA_OK;
        merge_user(m, print, is_read);
    }
}

oa_status oa_cohort_merge_input(const oa_cohort_plan *plan, const oa_cohort_table *present,
                                const oa_cohort_overlay *overlay, const oa_cohort_input *input,
                                oa_cohort_delta *delta, oa_cohort_table **out) {
    static const uint64_t none = UINT64_MAX;
    oa_cohort_info infos[OA_COHORT_MAX];
    merge m = {.plan = plan, .runs = input->runs, .delta = delta, .prints = &none};
    *delta = (oa_cohort_delta){0};
    describe(&m, present, input, infos);
    oa_status status = read_overlay(&m, overlay);
    if (status != OA_OK)
        return status;
    const uint64_t users = present == NULL ? 0 : oa_cohort_table_users(present);
    const uint64_t read = input->runs == NULL ? 0 : oa_cohort_runs_count(input->runs);
    status = oa_cohort_table_begin(infos, plan->name_count, users + read + m.note_count,
                                   users > read ? users : read, &m.table);
    if (status == OA_OK) {
        oa_cohort_cursor_init(&m.present, present);
        status = merge_all(&m, input->runs != NULL);
    }
    oa_mem_free(m.notes);
    if (status != OA_OK) {
        oa_cohort_table_free(m.table);
        return status;
    }
    oa_cohort_table_seal(m.table, plan->key);
    *out = m.table;
    return OA_OK;
}

oa_status oa_cohort_merge(const oa_cohort_plan *plan, const oa_cohort_table *present,
                          const oa_cohort_overlay *overlay, oa_cohort_table **out) {
    oa_cohort_plan merged = *plan;
    merged.cohort = 0; /* it is not looked at */
    const oa_status status = oa_cohort_plan_check(&merged);
    if (status != OA_OK)
        return status;
    const oa_cohort_input nothing = {0};
    oa_cohort_delta delta;
    return oa_cohort_merge_input(&merged, present, overlay, &nothing, &delta, out);
}
