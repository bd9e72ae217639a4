#include "drop.h"

#include <inttypes.h>
#include <string.h>

#include "intake.h"
#include "state.h"

enum { DROPS_IN_STEP = 4096 }; /* about a millisecond */

/* Whether a decision that is dropped for this reason was never judged, so that its exposure counts
 * as unsent and the next one like it goes out. */
static bool is_unsent(oa_drop_reason reason) {
    return reason != OA_DROP_INVALID_EVENT && reason != OA_DROP_PAYLOAD_TOO_LARGE &&
           reason != OA_DROP_INVALID_API_KEY;
}

void oa_drop(oa_dispatcher *d, oa_record *record, oa_drop_reason reason, int status_code,
             const char *message) {
    const oa_variant *variant = record->variant;
    const oa_sighting seen = {record->occurrence, record->property_only, record->property_only};
    if (record->recheck) {
        oa_drop_repeat(d, record);
        return;
    }
    if (variant != NULL && d->exposure != NULL && is_unsent(reason))
        oa_exposure_forget(d->exposure, oa_record_identity(record, &d->hash_key),
                           variant->flag_hash, (uint32_t)variant->content.low, &seen);
    d->stats.dropped[reason]++;
    d->stats.pending--;
    if (variant == NULL) {
        d->stats.tracked.dropped[reason]++;
        d->stats.tracked.pending--;
    }
    oa_flushes_settle(&d->flushes, record->seq, false);
    oa_intake_settle(d, record);
    oa_notices_drop(&d->notices, &d->arena, record, reason, status_code, message);
}

void oa_drop_repeat(oa_dispatcher *d, oa_record *record) {
    if (d->exposure != NULL)
        oa_exposure_unqueue(d->exposure, oa_record_identity(record, &d->hash_key),
                            record->variant->flag_hash);
    d->stats.accepted--;
    d->stats.deduplicated++;
    d->stats.late_repeats++;
    d->stats.pending--;
    oa_flushes_take_back(&d->flushes, record->seq);
    oa_intake_settle(d, record);
    oa_record_release(&d->arena, record);
}

void oa_drop_log(oa_dispatcher *d, oa_drop_reason reason, uint64_t before, const char *message) {
    const uint64_t count = d->stats.dropped[reason] - before;
    if (count > 0)
        oa_notices_log(&d->notices, reason == OA_DROP_OPTED_OUT ? OA_LOG_INFO : OA_LOG_ERROR,
                       oa_drop_name(reason), "%" PRIu64 " %s dropped (%s): %s", count,
                       oa_name_records(d, count), oa_drop_name(reason), message);
}

void oa_drop_for_memory(oa_dispatcher *d, oa_record *record) {
    const char *message = oa_status_message(OA_QUEUE_FULL);
    const uint64_t before = d->stats.dropped[OA_DROP_QUEUE_FULL];
    oa_drop(d, record, OA_DROP_QUEUE_FULL, 0, message);
    oa_drop_log(d, OA_DROP_QUEUE_FULL, before, message);
}

/* What a taker of oa_batch_filter() is looking for. */
typedef struct search {
    oa_dispatcher *d;
    oa_now now;
    oa_drop_reason reason;
    const char *message;
} search;

static bool drop_any(void *context, oa_record *record, oa_mark mark) {
    const search *s = context;
    (void)mark;
    oa_drop(s->d, record, s->reason, s->d->stats.error_status_code, s->message);
    return true;
}

/* ---- Age ---- */

/*
 * When a decision became pending, by the wall clock, which is all that a record has. It may jump
 * ahead, so none is older than its dispatcher; but for what another process left: of that, nothing
 * else is known.
 */
static int64_t since_ms(const oa_dispatcher *d, oa_now now, const oa_record *record) {
    const bool is_found = d->spool != NULL && record->seq < OA_FIRST_OWN_SEQ;
    const uint64_t lived_ms = d->created_at_ms == 0 ? 0 : now.monotonic_ms - d->created_at_ms;
    const int64_t born_ms = now.wall_ms - (int64_t)lived_ms;
    return is_found || record->time_ms > born_ms ? record->time_ms : born_ms;
}

static uint64_t age_ms(oa_now now, int64_t from_ms) {
    return now.wall_ms <= from_ms ? 0 : (uint64_t)now.wall_ms - (uint64_t)from_ms;
}

static int64_t earlier(int64_t a_ms, int64_t b_ms) { return a_ms < b_ms ? a_ms : b_ms; }

static int64_t since_or_never(const oa_dispatcher *d, oa_now now, const oa_record *record) {
    return record == NULL ? INT64_MAX : since_ms(d, now, record);
}

/* The same for the oldest decision of a lane that waits, but for those in the park until a
 * moment. */
static int64_t waits_since_ms(const oa_dispatcher *d, oa_now now, const oa_lane *lane) {
    int64_t oldest_ms = since_or_never(d, now, oa_queue_peek(&lane->queue));
    for (const oa_batch *batch = lane->ready.first; batch != NULL; batch = batch->next)
        if (batch->count > 0)
            oldest_ms = earlier(oldest_ms, since_ms(d, now, batch->records[0]));
    return earlier(oldest_ms, since_or_never(d, now, oa_park_peek_aside(&lane->park)));
}

uint64_t oa_drop_oldest_ms(const oa_dispatcher *d, oa_now now) {
    int64_t oldest_ms = INT64_MAX;
    OA_EACH_LANE (lane, &d->lanes) {
        const oa_batch *batch = lane->attempt.batch;
        if (batch != NULL && batch->count > 0)
            oldest_ms = earlier(oldest_ms, since_ms(d, now, batch->records[0]));
        oldest_ms = earlier(oldest_ms, waits_since_ms(d, now, lane));
        oldest_ms = earlier(oldest_ms, since_or_never(d, now, oa_park_oldest(&lane->park)));
    }
    return age_ms(now, oldest_ms);
}

uint64_t oa_drop_expiry_ms(const oa_dispatcher *d, oa_now now) {
    int64_t oldest_ms = INT64_MAX;
    OA_EACH_LANE (lane, &d->lanes)
        oldest_ms = earlier(oldest_ms, waits_since_ms(d, now, lane));
    if (oldest_ms == INT64_MAX)
        return UINT64_MAX;
    const uint64_t age = age_ms(now, oldest_ms);
    return oa_moment_after(now.monotonic_ms, age < d->max_age_ms ? d->max_age_ms - age : 0);
}

static bool is_expired(const oa_dispatcher *d, oa_now now, const oa_record *record) {
    return record != NULL && age_ms(now, since_ms(d, now, record)) >= d->max_age_ms;
}

static bool drop_old(void *context, oa_record *record, oa_mark mark) {
    const search *s = context;
    (void)mark;
    if (!is_expired(s->d, s->now, record))
        return false;
    oa_drop(s->d, record, s->reason, s->d->stats.error_status_code, s->message);
    return true;
}

/* Drop what is too old in a lane, with a budget for its queue. Returns what is left of that. */
static size_t drop_expired_in(oa_lane *lane, search *s, size_t budget) {
    while (is_expired(s->d, s->now, oa_park_peek_aside(&lane->park)) &&
           oa_park_release_aside(&lane->park, &lane->ready))
        continue;
    for (oa_batch *batch = lane->ready.first; batch != NULL; batch = batch->next) {
        lane->ready.record_count -= batch->count;
        const size_t count = batch->count;
        if (oa_batch_filter(batch, count, drop_old, s) < count)
            oa_batch_regroup(batch, batch->count);
        lane->ready.record_count += batch->count;
    }
    for (; budget > 0 && is_expired(s->d, s->now, oa_queue_peek(&lane->queue)); budget--) {
        oa_record *record = oa_queue_take(&lane->queue);
        lane->queue_events -= record->events;
        oa_drop(s->d, record, s->reason, s->d->stats.error_status_code, s->message);
    }
    return budget;
}

bool oa_drop_expired(oa_dispatcher *d, oa_now now) {
    if (oa_drop_expiry_ms(d, now) > now.monotonic_ms)
        return true;
    const bool is_key = d->health.trouble == OA_TROUBLE_API_KEY;
    search s = {.d = d,
                .now = now,
                .reason = is_key ? OA_DROP_INVALID_API_KEY : OA_DROP_EXPIRED,
                .message = d->stats.has_error ? d->stats.error_message : "older than maxAgeMillis"};
    const uint64_t before = d->stats.dropped[s.reason];
    size_t budget = DROPS_IN_STEP;
    OA_EACH_LANE (lane, &d->lanes)
        budget = drop_expired_in(lane, &s, budget);
    oa_drop_log(d, s.reason, before, s.message);
    return budget > 0;
}

/* ---- Everything that waits ---- */

/* Take decisions out of the places where they can wait in a lane, in order, and hand them to
 * `takes`, until there were `budget` of them. Returns how many there were. */
static size_t drain_lane(oa_lane *lane, size_t budget, oa_batch_taker *takes, void *context) {
    size_t taken = 0;
    while (taken < budget && lane->ready.first != NULL) {
        oa_batch *batch = oa_batch_list_pop(&lane->ready);
        taken += batch->count;
        memset(batch->marks, OA_MARK_KEEP, batch->count);
        oa_batch_filter(batch, batch->count, takes, context);
        oa_batch_free(batch);
    }
    oa_record *record = NULL;
    for (; taken < budget && (record = oa_park_take_any(&lane->park)) != NULL; taken++)
        takes(context, record, OA_MARK_KEEP);
    for (; taken < budget && (record = oa_queue_take(&lane->queue)) != NULL; taken++) {
        lane->queue_events -= record->events;
        takes(context, record, OA_MARK_KEEP);
    }
    return taken;
}

/* The same for all lanes. Returns whether that was all. */
static bool drain(oa_dispatcher *d, size_t budget, oa_batch_taker *takes, void *context) {
    size_t taken = 0;
    OA_EACH_LANE (lane, &d->lanes)
        if (taken < budget)
            taken += drain_lane(lane, budget - taken, takes, context);
    return taken < budget;
}

bool oa_drop_some(oa_dispatcher *d, oa_drop_reason reason, const char *message) {
    search s = {.d = d, .reason = reason, .message = message};
    const uint64_t before = d->stats.dropped[reason];
    const bool is_all = drain(d, DROPS_IN_STEP, drop_any, &s);
    oa_drop_log(d, reason, before, message);
    return is_all;
}

/* What stands in the journal is for the next process. */
static bool leave_or_drop(void *context, oa_record *record, oa_mark mark) {
    const search *s = context;
    if (oa_record_place(record).segment == NULL)
        return drop_any(context, record, mark);
    oa_record_release(&s->d->arena, record);
    return true;
}

bool oa_drop_rest(oa_dispatcher *d, const char *message) {
    search s = {.d = d, .reason = OA_DROP_CLOSED, .message = message};
    const uint64_t before = d->stats.dropped[OA_DROP_CLOSED];
    const bool is_all = drain(d, DROPS_IN_STEP, leave_or_drop, &s);
    oa_drop_log(d, OA_DROP_CLOSED, before, message);
    return is_all;
}

static bool discard(void *context, oa_record *record, oa_mark mark) {
    oa_dispatcher *d = context;
    (void)mark;
    oa_record_release(&d->arena, record);
    return true;
}

void oa_drop_silently(oa_dispatcher *d) {
    drain(d, SIZE_MAX, discard, d);
    OA_EACH_LANE (lane, &d->lanes)
        oa_park_clear(&lane->park);
}
