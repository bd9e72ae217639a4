/*
 * deliver.c: what is due, and when; cutting batches, handing attempts out and taking them back.
 *
 * Nothing sleeps: waits are moments on the monotonic clock, and the host is told the next one. What
 * the application asks for happens in the next step, so all decisions of one turn of an event loop
 * (decideAll) are there when a batch is cut. [externally synchronised]
 */
#include <inttypes.h>
#include <string.h>

#include "backoff.h"
#include "drop.h"
#include "intake.h"
#include "state.h"
#include "verdict.h"

enum {
    HOLD_MS = 1000,   /* after a flush that aborted: time to be frozen, or to exit */
    LOOK_AHEAD = 100, /* records of the queue that may be another user's */
};

static const char OPTED_OUT[] = "the dispatcher is opted out, and what it held is deleted";

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* When the queue of a lane is due, if nothing else prevents sending. */
static uint64_t queue_due_ms(const oa_dispatcher *d, const oa_lane *lane, oa_now now) {
    const oa_record *front = oa_queue_peek(&lane->queue);
    if (front == NULL)
        return UINT64_MAX;
    if (lane->queue_events >= d->flush_queue_size || d->flushes.count > 0)
        return now.monotonic_ms;
    /* By the wall clock, since a record has no other time; it can be set back, so by the other one
     * too. */
    const int64_t waited_ms = now.wall_ms - front->time_ms;
    uint64_t wait_ms = lane->interval_ms;
    if (waited_ms > 0)
        wait_ms -= least((uint64_t)waited_ms, wait_ms);
    const uint64_t latest_ms = oa_moment_after(lane->front_since_at_ms, lane->interval_ms);
    return most(least(oa_moment_after(now.monotonic_ms, wait_ms), latest_ms), now.monotonic_ms);
}

/* Whether what a lane would send next is something that no failed attempt carried. */
static bool has_fresh(const oa_lane *lane) {
    if (lane->ready.record_count > 0)
        return lane->ready.first->suspicion.failures == 0;
    const oa_record *record = oa_queue_peek(&lane->queue);
    for (int n = 0; record != NULL && n < LOOK_AHEAD; n++, record = oa_queue_next(record))
        if (oa_park_find(&lane->park, record) == NULL)
            return true;
    return false;
}

/* When the back-off ends, for what a lane would send next. */
static uint64_t backoff_ends_ms(const oa_dispatcher *d, const oa_lane *lane) {
    const uint64_t ends_ms = d->not_before_ms[OA_WAIT_BACKOFF];
    if (d->health.trouble == OA_TROUBLE_NONE)
        return ends_ms;
    const uint64_t fresh_ms = oa_health_fresh_at_ms(&d->health);
    return fresh_ms < ends_ms && has_fresh(lane) ? fresh_ms : ends_ms;
}

/* When an attempt of a lane may start, as far as the lane is concerned: UINT64_MAX when it has
 * nothing to send, or its last one is out. */
static uint64_t lane_due_ms(const oa_dispatcher *d, const oa_lane *lane, oa_now now) {
    if (lane->is_out)
        return UINT64_MAX;
    /* What stepped aside, in whichever lane, waits for others to be tried, and they are due. */
    const bool is_aside = oa_lanes_aside(&d->lanes) > 0;
    const bool is_ready = lane->ready.record_count > 0 || (is_aside && lane->queue.count > 0) ||
                          (lane->park.aside_count > 0 && d->lanes.out_count == 0);
    const uint64_t due_ms = is_ready ? now.monotonic_ms : queue_due_ms(d, lane, now);
    return due_ms == UINT64_MAX ? due_ms : most(due_ms, backoff_ends_ms(d, lane));
}

/* Whether one attempt is made at a time, whichever lane's: the server is in trouble, or it is being
 * found out whether it refuses decisions or the request. */
static bool is_careful(const oa_dispatcher *d) {
    return d->health.trouble != OA_TROUBLE_NONE || d->refusals > 0;
}

/* When the next attempt may start: now at the earliest, UINT64_MAX when there is nothing to
 * send, or what is out has to come back before. */
static uint64_t send_due_ms(const oa_dispatcher *d, oa_now now) {
    if (d->phase > OA_PHASE_CLOSING || d->is_cancelled || d->purges ||
        (d->lanes.out_count > 0 && is_careful(d)))
        return UINT64_MAX;
    uint64_t due_ms = UINT64_MAX;
    OA_EACH_LANE (lane, &d->lanes)
        due_ms = least(due_ms, lane_due_ms(d, lane, now));
    if (due_ms == UINT64_MAX)
        return due_ms;
    for (size_t reason = 0; reason < OA_WAIT_COUNT; reason++)
        if (reason != OA_WAIT_BACKOFF) /* whose end each lane has for itself */
            due_ms = most(due_ms, d->not_before_ms[reason]);
    return due_ms;
}

uint64_t oa_dispatcher_next_due(const oa_dispatcher *d, oa_now now) {
    if (d->soon)
        return now.monotonic_ms;
    /* A cancel is on its way: what is overdue waits for it, not for the clock. */
    if (d->phase >= OA_PHASE_CLOSED || d->is_cancelled)
        return UINT64_MAX;
    uint64_t due_ms = least(send_due_ms(d, now), oa_flushes_deadline(&d->flushes));
    due_ms = least(due_ms, oa_drop_expiry_ms(d, now));
    due_ms = least(due_ms, oa_intake_due_ms(d, now));
    OA_EACH_LANE (lane, &d->lanes)
        if (!lane->is_out)
            due_ms = least(due_ms, oa_park_due_ms(&lane->park));
    if (d->phase == OA_PHASE_CLOSING)
        due_ms = least(due_ms, d->close_deadline_ms);
    return due_ms;
}

static void cancel(oa_dispatcher *d) {
    if (d->lanes.out_count == 0 || d->is_cancelled)
        return;
    d->is_cancelled = true;
    d->notices.cancel = true;
}

/*
 * Return how many records of the queue go into the next batch: all that fit into the events of a
 * request, and `most`, but no part of a run of one user's decisions where that would cost it a
 * second $identify.
 */
static size_t plan_cut(const oa_dispatcher *d, const oa_lane *lane, size_t most_records) {
    size_t count = 0;
    size_t run_start = 0;
    uint32_t events = 0;
    for (const oa_record *record = oa_queue_peek(&lane->queue);
         record != NULL && count < most_records; record = oa_queue_next(record)) {
        const bool starts_run = record->events == d->event_counts.first;
        if (starts_run)
            run_start = count;
        events += count == 0 ? d->event_counts.first : record->events;
        if (events > OA_REQUEST_MAX_EVENTS)
            return run_start > 0 ? run_start : count;
        count++;
    }
    return count;
}

/* Take `planned` records off a lane's queue; those of parked users join their group. */
static void fill(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch, size_t planned) {
    for (size_t i = 0; i < planned; i++) {
        oa_record *record = oa_queue_take(&lane->queue);
        lane->queue_events -= record->events;
        if (d->has_store && !oa_record_is_tracked(record))
            oa_exposure_unqueue(d->exposure, oa_record_identity(record, &d->hash_key),
                                record->variant->flag_hash);
        oa_park_group *group = oa_park_find(&lane->park, record);
        if (group == NULL)
            oa_batch_add(batch, record);
        else if (oa_park_add(&lane->park, group, record) != OA_OK)
            oa_drop_for_memory(d, record);
    }
    lane->front_since_at_ms = now.monotonic_ms; /* at the latest: what is left was there already */
    lane->interval_ms = oa_backoff_spread_ms(d->flush_interval_ms, oa_chance_next(&d->chance));
}

/* Move the group of a lane that is longest aside to the front of what it sends. */
static void take_aside(oa_dispatcher *d, oa_lane *lane, oa_now now) {
    oa_batch_list turn = {NULL, NULL, 0};
    if (!oa_park_release_aside(&lane->park, &turn)) {
        oa_wait(d, now, OA_WAIT_MEMORY, OA_MEMORY_PAUSE_MS);
        return;
    }
    while (lane->ready.first != NULL)
        oa_batch_list_push_back(&turn, oa_batch_list_pop(&lane->ready));
    lane->ready = turn;
}

/*
 * Return the lane that sends next; one is due. While the server is in trouble, every other probe is
 * one that failed before: were the same tried again and again, one bad decision would look like an
 * outage.
 */
static oa_lane *choose_lane(oa_dispatcher *d, oa_now now) {
    oa_lane *fresh = NULL;
    oa_lane *aside = NULL;
    oa_lane *lane = d->lanes.turn;
    do {
        const bool is_due = lane_due_ms(d, lane, now) <= now.monotonic_ms;
        if (is_due && fresh == NULL && (lane->ready.record_count > 0 || lane->queue.count > 0))
            fresh = lane;
        if (is_due && aside == NULL && lane->park.aside_count > 0)
            aside = lane;
        lane = oa_lanes_next(&d->lanes, lane);
    } while (lane != d->lanes.turn);
    if (d->not_before_ms[OA_WAIT_BACKOFF] > now.monotonic_ms)
        d->probe_aside = true; /* the turn of what did not fail: see backoff_ends_ms() */
    if (d->health.trouble == OA_TROUBLE_NONE && fresh != NULL)
        return fresh; /* they wait for others to be tried alone, see apply_refused() */
    d->probe_aside = !d->probe_aside;
    if (aside == NULL || (fresh != NULL && !d->probe_aside))
        return fresh;
    take_aside(d, aside, now);
    return aside;
}

/* How many records the next attempt may carry. */
static size_t most_records(const oa_dispatcher *d) {
    const size_t probe = oa_health_probe_size(&d->health);
    if (d->refused_alone > 0)
        return 1;
    return probe < OA_BATCH_MAX_RECORDS ? probe : OA_BATCH_MAX_RECORDS;
}

/* Cut a batch down to `most` records; the others go back to the front. Without memory it stays. */
static void cut_down(oa_lane *lane, oa_batch *batch, size_t most) {
    oa_batch *rest = NULL;
    if (batch->count <= most)
        return;
    if (batch->again)
        oa_batch_regroup(batch, batch->count);
    if (oa_batch_split(batch, most, &rest) == OA_OK)
        oa_batch_list_push_front(&lane->ready, rest);
}

/* Return the next batch of a lane owned, or NULL when there is none (or no memory for one). */
static oa_batch *next_batch(oa_dispatcher *d, oa_lane *lane, oa_now now) {
    const size_t most = most_records(d);
    while (lane->ready.first != NULL) {
        oa_batch *batch = oa_batch_list_pop(&lane->ready);
        if (batch->count > 0) {
            cut_down(lane, batch, most);
            return batch;
        }
        oa_batch_free(batch); /* all of its users were parked meanwhile, or all is too old */
    }
    while (lane->queue.count > 0) {
        const size_t planned = plan_cut(d, lane, most);
        oa_batch *batch = NULL;
        if (oa_batch_new(planned, &batch) != OA_OK) {
            oa_wait(d, now, OA_WAIT_MEMORY, OA_MEMORY_PAUSE_MS);
            return NULL;
        }
        fill(d, lane, now, batch, planned);
        if (batch->count > 0)
            return batch;
        oa_batch_free(batch);
    }
    return NULL;
}

bool oa_dispatcher_has_attempt(const oa_dispatcher *d, oa_now now) {
    return send_due_ms(d, now) <= now.monotonic_ms;
}

oa_attempt *oa_dispatcher_take_attempt(oa_dispatcher *d, oa_now now) {
    if (!oa_dispatcher_has_attempt(d, now))
        return NULL;
    oa_lane *lane = choose_lane(d, now);
    oa_batch *batch = next_batch(d, lane, now);
    /* A bisection is finished before another lane begins one. */
    d->lanes.turn = d->refusals > 0 ? lane : oa_lanes_next(&d->lanes, lane);
    if (batch == NULL) {
        d->soon = true; /* all of it went to parked users: a flush need not wait for more */
        return NULL;
    }
    oa_attempt_begin(&lane->attempt, batch, d->fit.bytes, oa_coding_is_gzip(d->coding));
    lane->number = ++d->begun;
    lane->is_out = true;
    d->lanes.out_count++;
    return &lane->attempt;
}

/* Debugging only: which decisions the attempt carried. */
static void log_carried(oa_dispatcher *d, const oa_attempt *attempt) {
    for (size_t i = 0; i < attempt->body.carried; i++) {
        const oa_record *record = attempt->batch->records[i];
        const oa_str user = oa_record_user_id(record);
        const oa_str id = user.data != NULL ? user : oa_record_device_id(record);
        const oa_str flag =
            oa_record_is_tracked(record) ? (oa_str){NULL, 0} : record->variant->flag_key;
        oa_notices_log(&d->notices, OA_LOG_DEBUG, "request",
                       flag.data == NULL ? "request %" PRIu64 " carried an event of %.*s%.*s"
                                         : "request %" PRIu64
                                           " carried the decision of %.*s on %.*s",
                       d->stats.requests_sent, (int)id.len, id.data, (int)flag.len, flag.data);
    }
}

static const char *plural(size_t count) { return count == 1 ? "" : "s"; }

static void log_attempt(oa_dispatcher *d, const oa_attempt *attempt) {
    if (!d->notices.debug)
        return;
    oa_notices_log(&d->notices, OA_LOG_DEBUG, "request",
                   "request %" PRIu64 ": %zu decision%s, %zu event%s, %zu bytes%s -> %d in %" PRIu64
                   " ms %s",
                   d->stats.requests_sent, attempt->body.carried, plural(attempt->body.carried),
                   attempt->body.event_count, plural(attempt->body.event_count),
                   attempt->sent_bytes, oa_attempt_is_gzip(attempt) ? " (gzip)" : "",
                   attempt->status_code, attempt->duration_ms, attempt->message);
    log_carried(d, attempt);
}

static void tell_attempt(const oa_dispatcher *d, oa_lane *lane) {
    const oa_attempt *attempt = &lane->attempt;
    lane->has_notice = true;
    lane->notice = (oa_attempt_notice){
        .number = d->stats.requests_sent,
        .decision_count = attempt->body.carried,
        .event_count = attempt->body.event_count,
        .body_bytes = attempt->sent_bytes,
        .gzip = oa_attempt_is_gzip(attempt),
        .again = attempt->batch->again,
        .status_code = attempt->status_code,
        .duration_ms = attempt->duration_ms,
        .message = {lane->message, strlen(lane->message)},
    };
}

void oa_dispatcher_give_back(oa_dispatcher *d, oa_now now, oa_attempt *attempt) {
    oa_lane *lane = oa_lane_of(attempt);
    lane->is_out = false;
    d->lanes.out_count--;
    if (d->lanes.out_count == 0)
        d->is_cancelled = false;
    d->soon = true;
    memcpy(lane->message, attempt->message, sizeof(lane->message));
    if (attempt->sent) {
        d->stats.requests_sent++;
        d->stats.requests_retried += attempt->batch->again;
        d->stats.request_bytes += attempt->sent_bytes;
        log_attempt(d, attempt);
        tell_attempt(d, lane);
    }
    oa_verdict_apply(d, lane, now);
    if (d->stats.pending == 0) {
        oa_body_trim(&attempt->body);
        if (attempt->store != NULL)
            oa_store_trim(attempt->store);
    }
}

/* When something may be sent, or is at least read back, so that it may be. */
static uint64_t way_out_ms(const oa_dispatcher *d, oa_now now) {
    const bool comes = (d->is_held && d->disk_count > 0) || oa_intake_awaits_load(d);
    return comes ? now.monotonic_ms : least(send_due_ms(d, now), oa_intake_due_ms(d, now));
}

/* When something may happen to what is pending: now at the earliest. */
static uint64_t next_chance_ms(const oa_dispatcher *d, oa_now now) {
    if (d->lanes.out_count > 0 && now.monotonic_ms < d->close_deadline_ms)
        return now.monotonic_ms;
    return most(least(way_out_ms(d, now), oa_lanes_park_due_ms(&d->lanes)), now.monotonic_ms);
}

/* Once all is settled, or the deadline has passed and nothing is out: give everything back. */
static void finish_closing(oa_dispatcher *d, oa_now now) {
    if (d->stats.pending > 0 && next_chance_ms(d, now) < d->close_deadline_ms)
        return;
    if (d->lanes.out_count > 0) {
        cancel(d);
        return;
    }
    if (!oa_drop_rest(d, "the dispatcher was closed before delivery")) {
        d->soon = true; /* a full queue would hold an event loop for a second */
        return;
    }
    OA_EACH_LANE (lane, &d->lanes) {
        oa_park_clear(&lane->park);
        oa_body_clear(&lane->attempt.body);
    }
    d->phase = OA_PHASE_CLOSED;
    oa_flushes_expire(&d->flushes);
    if (d->spool != NULL)
        oa_spool_end(d->spool);
    oa_exposure_free(d->exposure);
    d->exposure = NULL;
    oa_arena_clear(&d->arena);
}

/* The sequence number of what waits longest outside of the park; UINT64_MAX when nothing does. */
static uint64_t first_seq(const oa_dispatcher *d) {
    uint64_t first = oa_intake_first_seq(d);
    OA_EACH_LANE (lane, &d->lanes) {
        const oa_record *front = oa_queue_peek(&lane->queue);
        if (lane->ready.record_count > 0 || lane->park.aside_count > 0)
            return 0;
        if (front != NULL)
            first = least(first, front->seq);
    }
    return first;
}

static void end_flushes(oa_dispatcher *d, oa_now now) {
    const oa_prospect prospect = {
        .now_ms = now.monotonic_ms,
        .is_out = d->lanes.out_count > 0,
        .first_seq = first_seq(d),
        .send_at_ms = way_out_ms(d, now),
        .parked_at_ms = oa_lanes_park_due_ms(&d->lanes),
    };
    const bool freezes = oa_flushes_finish(&d->flushes, &prospect);
    /* The next flush, or the next interval, goes on. */
    if (freezes && d->flushes.count == 0)
        oa_wait(d, now, OA_WAIT_FREEZE, most(d->flush_interval_ms, HOLD_MS));
}

void oa_dispatcher_step(oa_dispatcher *d, oa_now now) {
    d->soon = false;
    if (d->lanes.out_count > 0 && oa_flushes_want_abort(&d->flushes, now.monotonic_ms))
        cancel(d);
    if (d->created_at_ms == 0)
        d->created_at_ms = now.monotonic_ms;
    OA_EACH_LANE (lane, &d->lanes)
        if (!lane->is_out)
            oa_park_release(&lane->park, now.monotonic_ms, &lane->ready);
    oa_intake_read(d, now);
    if (!oa_drop_expired(d, now))
        d->soon = true;
    if (d->purges && d->lanes.out_count == 0 && !oa_drop_some(d, OA_DROP_OPTED_OUT, OPTED_OUT))
        d->soon = true;
    if (d->phase == OA_PHASE_CLOSING)
        finish_closing(d, now);
    end_flushes(d, now);
}
