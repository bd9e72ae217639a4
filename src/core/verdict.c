#include "verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backoff.h"
#include "state.h"

/* ---- Dropping ---- */

/* Drop one decision: the exposure is forgotten, so that the next one like it goes out. */
static void drop(oa_dispatcher *d, oa_record *record, oa_drop_reason reason, int status_code,
                 const char *message) {
    const oa_variant *variant = record->variant;
    if (d->exposure != NULL)
        oa_exposure_forget(d->exposure, oa_record_identity(record, &d->hash_key),
                           variant->flag_hash, (uint32_t)variant->content.low, record->occurrence);
    d->stats.dropped[reason]++;
    d->stats.pending--;
    oa_flushes_settle(&d->flushes, record->seq, false);
    oa_notices_drop(&d->notices, &d->arena, record, reason, status_code, message);
}

/* Log how many were dropped since there were `before`. */
static void log_drops(oa_dispatcher *d, oa_drop_reason reason, uint64_t before,
                      const char *message) {
    const uint64_t count = d->stats.dropped[reason] - before;
    if (count > 0)
        oa_notices_log(&d->notices, OA_LOG_ERROR, oa_drop_name(reason),
                       "%" PRIu64 " decision%s dropped (%s): %s", count, count == 1 ? "" : "s",
                       oa_drop_name(reason), message);
}

void oa_verdict_drop_record(oa_dispatcher *d, oa_record *record) {
    const char *message = oa_status_message(OA_QUEUE_FULL);
    drop(d, record, OA_DROP_QUEUE_FULL, 0, message);
    log_drops(d, OA_DROP_QUEUE_FULL, d->stats.dropped[OA_DROP_QUEUE_FULL] - 1, message);
}

/* ---- Going through a batch ---- */

/* What a taker of oa_batch_filter() is looking for. */
typedef struct search {
    oa_dispatcher *d;
    oa_mark mark;
    oa_drop_reason reason;
    const char *message;
    uint64_t until_ms;    /* when those that are parked are due */
    oa_park_group *group; /* NULL until there is one to park */
    size_t parked;
} search;

static bool drop_marked(void *context, oa_record *record, oa_mark mark) {
    search *s = context;
    if (s->mark != mark)
        return false;
    drop(s->d, record, s->reason, s->d->attempt.status_code, s->message);
    return true;
}

/* Count the attempt, and drop a record for which it was the last. */
static bool drop_exhausted(void *context, oa_record *record, oa_mark mark) {
    search *s = context;
    if (s->mark != mark)
        return false;
    if (record->attempts < UINT16_MAX)
        record->attempts++;
    return record->attempts >= s->d->flush_max_retries && drop_marked(context, record, mark);
}

static void park_in(oa_dispatcher *d, oa_park_group *group, oa_record *record) {
    if (oa_park_add(&d->park, group, record) != OA_OK)
        oa_verdict_drop_record(d, record);
}

static bool park_throttled(void *context, oa_record *record, oa_mark mark) {
    search *s = context;
    if (s->mark != mark)
        return false;
    if (s->group == NULL && oa_park_open(&s->d->park, s->until_ms, &s->group) != OA_OK) {
        oa_verdict_drop_record(s->d, record);
        return true;
    }
    park_in(s->d, s->group, record);
    s->parked++;
    return true;
}

static bool park_member(void *context, oa_record *record, oa_mark mark) {
    search *s = context;
    (void)mark;
    oa_park_group *group = oa_park_find(&s->d->park, record);
    if (group == NULL)
        return false;
    park_in(s->d, group, record);
    return true;
}

/* Drop those of the first `carried` that `takes` chooses. Returns how many of them are left. */
static size_t drop_some(oa_dispatcher *d, oa_batch *batch, size_t carried, oa_batch_taker *takes,
                        oa_mark mark, oa_drop_reason reason) {
    search s = {.d = d, .mark = mark, .reason = reason, .message = d->notices.message};
    const uint64_t before = d->stats.dropped[reason];
    const size_t left = oa_batch_filter(batch, carried, takes, &s);
    log_drops(d, reason, before, d->notices.message);
    return left;
}

/* ---- Outcomes ---- */

/* Put what is left of the batch back at the front of `ready`. */
static void put_back(oa_dispatcher *d, oa_batch *batch, bool again) {
    batch->again = again;
    if (batch->count == 0)
        oa_batch_free(batch);
    else
        oa_batch_list_push_front(&d->ready, batch);
}

/* The next attempt will put other records together: see identify_id() in render.c. */
static void regroup(oa_batch *batch, size_t carried) {
    for (size_t i = 0; i < carried; i++)
        batch->records[i]->regrouped++;
}

static void note_error(oa_dispatcher *d, oa_now now) {
    d->stats.requests_failed++;
    d->stats.has_error = true;
    d->stats.error_status_code = d->attempt.status_code;
    d->stats.error_time_ms = now.wall_ms;
    snprintf(d->stats.error_message, sizeof(d->stats.error_message), "%s", d->attempt.message);
}

static bool deliver(void *context, oa_record *record, oa_mark mark) {
    oa_dispatcher *d = context;
    (void)mark;
    oa_flushes_settle(&d->flushes, record->seq, true);
    oa_record_release(&d->arena, record);
    return true;
}

static void apply_accepted(oa_dispatcher *d, oa_batch *batch, size_t carried) {
    oa_fit_accepted(&d->fit, carried < batch->count);
    oa_batch_filter(batch, carried, deliver, d);
    d->stats.delivered += carried;
    d->stats.pending -= carried;
    d->stats.events_sent += d->attempt.body.event_count;
    put_back(d, batch, false);
}

static void drop_carried(oa_dispatcher *d, oa_batch *batch, size_t carried, oa_drop_reason reason) {
    drop_some(d, batch, carried, drop_marked, OA_MARK_KEEP, reason);
    put_back(d, batch, false);
}

/* Park the throttled users with all that they have in this batch and in `ready`; the queue follows
 * when it is cut. */
static void park_users(oa_dispatcher *d, oa_now now, oa_batch *batch, size_t carried) {
    uint64_t pause_ms = d->throttle_ms;
    if (d->attempt.retry_after_ms > pause_ms)
        pause_ms = d->attempt.retry_after_ms;
    search s = {
        .d = d, .mark = OA_MARK_THROTTLED, .until_ms = oa_moment_after(now.monotonic_ms, pause_ms)};
    oa_batch_filter(batch, carried, park_throttled, &s);
    if (s.parked == 0)
        return;
    oa_batch_filter(batch, batch->count, park_member, &s);
    for (oa_batch *other = d->ready.first; other != NULL; other = other->next) {
        d->ready.record_count -= other->count;
        oa_batch_filter(other, other->count, park_member, &s);
        d->ready.record_count += other->count;
    }
    oa_notices_log(&d->notices, OA_LOG_WARN, "throttled",
                   "pausing %zu decision%s of throttled users for %" PRIu64 " s: %s", s.parked,
                   s.parked == 1 ? "" : "s", pause_ms / 1000, d->attempt.message);
}

static void apply_listed(oa_dispatcher *d, oa_now now, oa_batch *batch, size_t carried) {
    carried = drop_some(d, batch, carried, drop_marked, OA_MARK_QUOTA, OA_DROP_QUOTA_EXCEEDED);
    carried = drop_some(d, batch, carried, drop_marked, OA_MARK_INVALID, OA_DROP_INVALID_EVENT);
    carried =
        drop_some(d, batch, carried, drop_exhausted, OA_MARK_THROTTLED, OA_DROP_RETRIES_EXHAUSTED);
    regroup(batch, carried);
    for (size_t i = 0; i < carried; i++)
        if (batch->marks[i] == OA_MARK_ALONE)
            batch->records[i]->alone = true;
    park_users(d, now, batch, carried);
    put_back(d, batch, true);
}

/* Put the batch back as up to three: two halves of what was carried, and what was not. */
static void halve(oa_dispatcher *d, oa_now now, oa_batch *batch, size_t carried) {
    oa_batch *rest = NULL;
    oa_batch *half = NULL;
    regroup(batch, carried);
    if (carried < batch->count && oa_batch_split(batch, carried, &rest) != OA_OK)
        oa_wait(d, now, OA_WAIT_MEMORY, OA_MEMORY_PAUSE_MS);
    if (rest != NULL)
        put_back(d, rest, false);
    if (oa_batch_split(batch, carried / 2, &half) != OA_OK)
        oa_wait(d, now, OA_WAIT_MEMORY, OA_MEMORY_PAUSE_MS);
    if (half != NULL)
        put_back(d, half, true);
    put_back(d, batch, true);
}

static void apply_refused(oa_dispatcher *d, oa_now now, oa_batch *batch, size_t carried,
                          oa_drop_reason reason) {
    if (carried == 1)
        drop_carried(d, batch, carried, reason);
    else
        halve(d, now, batch, carried);
}

static void apply_outage(oa_dispatcher *d, oa_now now, oa_batch *batch, size_t sent) {
    const size_t carried =
        drop_some(d, batch, sent, drop_exhausted, OA_MARK_KEEP, OA_DROP_RETRIES_EXHAUSTED);
    if (carried < sent)
        regroup(batch, carried);
    const uint32_t attempts = carried > 0 ? oa_batch_attempts(batch) : 1;
    const uint64_t backoff_ms = oa_backoff_ms(attempts, oa_chance_next(&d->chance));
    const uint64_t asked_ms = d->attempt.retry_after_ms;
    oa_wait(d, now, OA_WAIT_BACKOFF, backoff_ms);
    if (asked_ms > 0)
        oa_wait(d, now, OA_WAIT_RETRY_AFTER, asked_ms);
    if (carried > 0)
        oa_notices_log(
            &d->notices, OA_LOG_WARN, "retry",
            "retrying %zu decision%s in %" PRIu64 " ms (attempt %" PRIu32 " of %" PRIu32 "): %s",
            carried, carried == 1 ? "" : "s", backoff_ms > asked_ms ? backoff_ms : asked_ms,
            attempts + 1, d->flush_max_retries, d->attempt.message);
    put_back(d, batch, true);
}

void oa_verdict_apply(oa_dispatcher *d, oa_now now) {
    oa_batch *batch = d->attempt.batch;
    const size_t carried = d->attempt.body.carried;
    const oa_outcome outcome = d->attempt.outcome;
    d->attempt.batch = NULL;
    if (outcome != OA_OUTCOME_ACCEPTED && outcome != OA_OUTCOME_ABORTED)
        note_error(d, now);
    switch (outcome) {
    case OA_OUTCOME_ACCEPTED:
        apply_accepted(d, batch, carried);
        break;
    case OA_OUTCOME_LISTED:
        apply_listed(d, now, batch, carried);
        break;
    case OA_OUTCOME_BAD_API_KEY:
        drop_carried(d, batch, carried, OA_DROP_INVALID_API_KEY);
        break;
    case OA_OUTCOME_REFUSED:
        apply_refused(d, now, batch, carried, OA_DROP_INVALID_EVENT);
        break;
    case OA_OUTCOME_TOO_LARGE:
        oa_fit_refused(&d->fit, d->attempt.body.text.len);
        apply_refused(d, now, batch, carried, OA_DROP_PAYLOAD_TOO_LARGE);
        break;
    case OA_OUTCOME_OUTAGE:
        apply_outage(d, now, batch, carried);
        break;
    case OA_OUTCOME_ABORTED:
        put_back(d, batch, d->attempt.sent || batch->again);
        break;
    case OA_OUTCOME_NOMEM:
        oa_wait(d, now, OA_WAIT_MEMORY, OA_MEMORY_PAUSE_MS);
        put_back(d, batch, batch->again);
        break;
    }
}

/* ---- Everything that waits ---- */

typedef void visitor(oa_dispatcher *d, oa_record *record, void *data);

/* Take every decision out of the places where it can wait, in order, and hand it to `visit`. */
static void drain(oa_dispatcher *d, visitor *visit, void *data) {
    oa_batch *batch = NULL;
    while ((batch = oa_batch_list_pop(&d->ready)) != NULL) {
        for (size_t i = 0; i < batch->count; i++)
            visit(d, batch->records[i], data);
        oa_batch_free(batch);
    }
    oa_record *record = NULL;
    while ((record = oa_park_take_any(&d->park)) != NULL)
        visit(d, record, data);
    while ((record = oa_queue_take(&d->queue)) != NULL)
        visit(d, record, data);
    oa_park_clear(&d->park);
    d->queue_events = 0;
}

static void visit_drop(oa_dispatcher *d, oa_record *record, void *data) {
    const search *s = data;
    drop(d, record, s->reason, d->stats.error_status_code, s->message);
}

void oa_verdict_drop_all(oa_dispatcher *d, oa_drop_reason reason, const char *message) {
    search s = {.d = d, .reason = reason, .message = message};
    const uint64_t before = d->stats.dropped[reason];
    drain(d, visit_drop, &s);
    log_drops(d, reason, before, message);
}

static void visit_discard(oa_dispatcher *d, oa_record *record, void *data) {
    (void)data;
    oa_record_release(&d->arena, record);
}

void oa_verdict_discard_all(oa_dispatcher *d) { drain(d, visit_discard, NULL); }
