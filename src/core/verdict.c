/*
 * verdict.c: what becomes of the decisions of a batch once its attempt is over.  [loop]
 *
 * Every decision ends exactly once: delivered or dropped (settle). Until then it goes back to the
 * front of `ready`, or is parked with its user. Back-off and splitting never lose the order.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dispatcher.h"

enum { DROPS_AT_ONCE = 64, OOM_PAUSE_MS = 1000 };

/* Collects dropped decisions, so that the host hears of many in one call. */
typedef struct oa_drops {
    oa_dispatcher *dispatcher;
    oa_drop_reason reason;
    int status_code;
    const char *message;
    uint64_t total;
    size_t count;
    oa_dropped decisions[DROPS_AT_ONCE];
    oa_record *records[DROPS_AT_ONCE];
} oa_drops;

static void drops_begin(oa_drops *drops, oa_dispatcher *dispatcher, oa_drop_reason reason,
                        int status_code, const char *message) {
    drops->dispatcher = dispatcher;
    drops->reason = reason;
    drops->status_code = status_code;
    drops->message = message;
    drops->total = 0;
    drops->count = 0;
}

static void drops_flush(oa_drops *drops) {
    oa_dispatcher *d = drops->dispatcher;
    const oa_str message = {drops->message, strlen(drops->message)};
    if (drops->count > 0 && d->callbacks.dropped != NULL)
        d->callbacks.dropped(d->callbacks.data, drops->reason, drops->status_code, message,
                             drops->decisions, drops->count);
    for (size_t i = 0; i < drops->count; i++)
        oa_record_release(&d->arena, drops->records[i]);
    drops->count = 0;
}

static void describe(const oa_dispatcher *d, const oa_record *record, oa_hash identity,
                     oa_dropped *out) {
    const oa_template *template = record->template;
    out->user_id = oa_record_user_id(record);
    out->device_id = oa_record_device_id(record);
    out->flag_key = template->flag_key;
    out->variation_key = template->variation_key;
    out->rule_key = template->rule_key;
    out->enabled = template->enabled;
    out->time_ms = record->time_ms;
    oa_render_insert_id(d->job.renderer, identity, template, record->occurrence, out->insert_id);
}

/* Drop one decision: the exposure is forgotten, so that the next one like it goes out. */
static void drops_add(oa_drops *drops, oa_record *record) {
    oa_dispatcher *d = drops->dispatcher;
    const oa_template *template = record->template;
    const oa_hash identity = oa_record_identity(record, &d->hash_key);
    if (d->exposure != NULL)
        oa_exposure_forget(d->exposure, identity, template->flag_hash,
                           (uint32_t) template->content.low, record->occurrence);
    /* At once, and together: a host that is told may flush, and is promised what is pending then. */
    d->stats.dropped[drops->reason]++;
    d->stats.pending--;
    oa_flushes_settle(&d->flushes, record->seq, false);
    drops->total++;
    if (drops->count == DROPS_AT_ONCE)
        drops_flush(drops);
    describe(d, record, identity, &drops->decisions[drops->count]);
    drops->records[drops->count++] = record;
}

/* End the list, and tell the log once. */
static void drops_end(oa_drops *drops) {
    drops_flush(drops);
    if (drops->total == 0)
        return;
    oa_dispatcher_log(drops->dispatcher, OA_LOG_ERROR, oa_drop_name(drops->reason),
                      "%" PRIu64 " decision%s dropped (%s): %s", drops->total,
                      drops->total == 1 ? "" : "s", oa_drop_name(drops->reason), drops->message);
}

/* Put what is left of the batch back to the front of the line. */
static void put_back(oa_dispatcher *d, oa_batch *batch, bool again) {
    batch->again = again;
    if (batch->count == 0)
        oa_batch_free(batch);
    else
        oa_batch_list_push_front(&d->ready, batch);
}

/* Keep records [from, count) only; those before have gone elsewhere. */
static void shift(oa_batch *batch, size_t from) {
    batch->count -= from;
    memmove(batch->records, batch->records + from, batch->count * sizeof(*batch->records));
}

/* The next request will put other records together: see identify_id() in render.c. */
static void regroup(oa_batch *batch, size_t carried) {
    for (size_t i = 0; i < carried; i++)
        batch->records[i]->regrouped++;
}

static void wait_until(oa_dispatcher *d, uint64_t delay_ms) {
    d->retry_at_ms = oa_clock_monotonic_ms(&d->clock) + delay_ms;
}

static void note_error(oa_dispatcher *d) {
    d->stats.requests_failed++;
    d->stats.has_error = true;
    d->stats.error_status_code = d->job.status_code;
    d->stats.error_time_ms = oa_clock_wall_ms(&d->clock);
    snprintf(d->stats.error_message, sizeof(d->stats.error_message), "%s", d->job.message);
}

static void apply_accepted(oa_dispatcher *d, oa_batch *batch, size_t carried) {
    for (size_t i = 0; i < carried; i++) {
        oa_flushes_settle(&d->flushes, batch->records[i]->seq, true);
        oa_record_release(&d->arena, batch->records[i]);
    }
    d->stats.delivered += carried;
    d->stats.pending -= carried;
    d->stats.events_sent += d->job.rendering.event_count;
    oa_fit_accepted(&d->fit, carried < batch->count);
    shift(batch, carried);
    put_back(d, batch, false);
}

static void drop_carried(oa_dispatcher *d, oa_batch *batch, size_t carried, oa_drop_reason reason) {
    oa_drops drops;
    drops_begin(&drops, d, reason, d->job.status_code, d->job.message);
    for (size_t i = 0; i < carried; i++)
        drops_add(&drops, batch->records[i]);
    drops_end(&drops);
    shift(batch, carried);
    put_back(d, batch, false);
}

/* Drop the records with a mark, and close the ranks. Returns how many of `carried` are left. */
static size_t drop_marked(oa_dispatcher *d, oa_batch *batch, size_t carried, oa_mark mark,
                          oa_drop_reason reason) {
    oa_drops drops;
    drops_begin(&drops, d, reason, d->job.status_code, d->job.message);
    size_t kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (i < carried && batch->marks[i] == mark) {
            drops_add(&drops, batch->records[i]);
            continue;
        }
        batch->records[kept] = batch->records[i];
        batch->marks[kept++] = batch->marks[i];
    }
    drops_end(&drops);
    carried -= batch->count - kept;
    batch->count = kept;
    return carried;
}

/* Count the attempt, and drop those for which it was the last. Returns how many are left of `carried`. */
static size_t count_attempt(oa_dispatcher *d, oa_batch *batch, size_t carried, oa_mark mark) {
    oa_drops drops;
    drops_begin(&drops, d, OA_DROP_RETRIES_EXHAUSTED, d->job.status_code, d->job.message);
    size_t kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        oa_record *record = batch->records[i];
        if (i < carried && batch->marks[i] == mark) {
            if (record->attempts < UINT16_MAX)
                record->attempts++;
            if (record->attempts >= d->flush_max_retries) {
                drops_add(&drops, record);
                continue;
            }
        }
        batch->records[kept] = record;
        batch->marks[kept++] = batch->marks[i];
    }
    drops_end(&drops);
    carried -= batch->count - kept;
    batch->count = kept;
    return carried;
}

void oa_verdict_drop_record(oa_dispatcher *d, oa_record *record) {
    oa_drops drops;
    drops_begin(&drops, d, OA_DROP_QUEUE_FULL, 0, "out of memory");
    drops_add(&drops, record);
    drops_end(&drops);
}

/* Move every record of a parked user from the batch to the park, in order. */
static void park_members(oa_dispatcher *d, oa_batch *batch) {
    size_t kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        oa_record *record = batch->records[i];
        oa_park_group *group = oa_park_find(&d->park, record);
        if (group == NULL)
            batch->records[kept++] = record;
        else if (oa_park_add(&d->park, group, record) != OA_OK)
            oa_verdict_drop_record(d, record);
    }
    batch->count = kept;
}

/* Park the throttled users with all that they have in this batch and in `ready`; the queue follows
 * when it is cut. */
static void park_throttled(oa_dispatcher *d, oa_batch *batch, size_t carried) {
    const uint64_t now_ms = oa_clock_monotonic_ms(&d->clock);
    uint64_t pause_ms = d->throttle_ms;
    if (d->job.retry_after_ms > pause_ms)
        pause_ms = d->job.retry_after_ms;
    oa_park_group *group = NULL;
    size_t kept = 0;
    size_t parked = 0;
    for (size_t i = 0; i < batch->count; i++) {
        oa_record *record = batch->records[i];
        if (i >= carried || batch->marks[i] != OA_MARK_THROTTLED) {
            batch->records[kept++] = record;
            continue;
        }
        if (group == NULL && oa_park_open(&d->park, now_ms + pause_ms, &group) != OA_OK) {
            oa_verdict_drop_record(d, record);
            continue;
        }
        if (oa_park_add(&d->park, group, record) != OA_OK)
            oa_verdict_drop_record(d, record);
        else
            parked++;
    }
    batch->count = kept;
    if (parked == 0)
        return;
    park_members(d, batch);
    for (oa_batch *other = d->ready.first; other != NULL; other = other->next) {
        d->ready.record_count -= other->count;
        park_members(d, other);
        d->ready.record_count += other->count;
    }
    oa_dispatcher_log(d, OA_LOG_WARN, "throttled",
                      "%zu decision%s of throttled users wait %" PRIu64 " s: %s", parked,
                      parked == 1 ? "" : "s", pause_ms / 1000, d->job.message);
}

static void apply_listed(oa_dispatcher *d, oa_batch *batch, size_t carried) {
    carried = drop_marked(d, batch, carried, OA_MARK_QUOTA, OA_DROP_QUOTA_EXCEEDED);
    carried = drop_marked(d, batch, carried, OA_MARK_INVALID, OA_DROP_INVALID_EVENT);
    carried = count_attempt(d, batch, carried, OA_MARK_THROTTLED);
    regroup(batch, carried);
    for (size_t i = 0; i < carried; i++)
        if (batch->marks[i] == OA_MARK_ALONE)
            batch->records[i]->alone = true;
    park_throttled(d, batch, carried);
    put_back(d, batch, true);
}

/* Put the batch back as up to three: two halves of what was carried, and what was not. */
static void halve(oa_dispatcher *d, oa_batch *batch, size_t carried) {
    oa_batch *rest = NULL;
    oa_batch *half = NULL;
    regroup(batch, carried);
    if (carried < batch->count && oa_batch_split(batch, carried, &rest) != OA_OK)
        wait_until(d, OOM_PAUSE_MS);
    if (rest != NULL)
        put_back(d, rest, false);
    if (oa_batch_split(batch, carried / 2, &half) != OA_OK)
        wait_until(d, OOM_PAUSE_MS);
    if (half != NULL)
        put_back(d, half, true);
    put_back(d, batch, true);
}

static void apply_refused(oa_dispatcher *d, oa_batch *batch, size_t carried,
                          oa_drop_reason reason) {
    if (carried == 1)
        drop_carried(d, batch, carried, reason);
    else
        halve(d, batch, carried);
}

static void apply_outage(oa_dispatcher *d, oa_batch *batch, size_t carried) {
    const size_t sent = carried;
    carried = count_attempt(d, batch, carried, OA_MARK_KEEP);
    if (carried < sent)
        regroup(batch, carried);
    const uint32_t attempts = carried > 0 ? oa_batch_attempts(batch) : 1;
    const uint64_t now_ms = oa_clock_monotonic_ms(&d->clock);
    uint64_t delay_ms = oa_retry_backoff_ms(attempts, oa_clock_random(&d->clock));
    if (d->job.retry_after_ms > 0)
        d->retry_after_ms = now_ms + d->job.retry_after_ms;
    if (delay_ms < d->job.retry_after_ms)
        delay_ms = d->job.retry_after_ms;
    wait_until(d, delay_ms);
    if (carried > 0)
        oa_dispatcher_log(d, OA_LOG_WARN, "retry",
                          "%zu decision%s to wait %" PRIu64 " ms for attempt %" PRIu32
                          " of %" PRIu32 ": %s",
                          carried, carried == 1 ? "" : "s", delay_ms, attempts + 1,
                          d->flush_max_retries, d->job.message);
    put_back(d, batch, true);
}

void oa_verdict_apply(oa_dispatcher *d) {
    oa_batch *batch = d->job.batch;
    const size_t carried = d->job.rendering.carried;
    d->job.batch = NULL;
    if (d->job.outcome != OA_OUTCOME_ACCEPTED && d->job.outcome != OA_OUTCOME_ABORTED)
        note_error(d);
    switch (d->job.outcome) {
    case OA_OUTCOME_ACCEPTED:
        apply_accepted(d, batch, carried);
        break;
    case OA_OUTCOME_LISTED:
        apply_listed(d, batch, carried);
        break;
    case OA_OUTCOME_BAD_API_KEY:
        drop_carried(d, batch, carried, OA_DROP_INVALID_API_KEY);
        break;
    case OA_OUTCOME_REFUSED:
        apply_refused(d, batch, carried, OA_DROP_INVALID_EVENT);
        break;
    case OA_OUTCOME_TOO_LARGE:
        oa_fit_refused(&d->fit, d->job.rendering.body_bytes);
        apply_refused(d, batch, carried, OA_DROP_PAYLOAD_TOO_LARGE);
        break;
    case OA_OUTCOME_OUTAGE:
        apply_outage(d, batch, carried);
        break;
    case OA_OUTCOME_ABORTED:
        put_back(d, batch, true);
        break;
    case OA_OUTCOME_NOMEM:
        wait_until(d, OOM_PAUSE_MS);
        put_back(d, batch, true);
        break;
    }
}

typedef void (*visitor)(oa_dispatcher *d, oa_record *record, void *data);

/* Take every decision out of the places where it can wait, in order, and hand it to `visit`. */
static void drain(oa_dispatcher *d, visitor visit, void *data) {
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
    (void)d;
    drops_add(data, record);
}

void oa_verdict_drop_all(oa_dispatcher *d, oa_drop_reason reason, const char *message) {
    oa_drops drops;
    drops_begin(&drops, d, reason, d->stats.error_status_code, message);
    drain(d, visit_drop, &drops);
    drops_end(&drops);
}

static void visit_discard(oa_dispatcher *d, oa_record *record, void *data) {
    (void)data;
    oa_record_release(&d->arena, record);
}

void oa_verdict_discard_all(oa_dispatcher *d) { drain(d, visit_discard, NULL); }
