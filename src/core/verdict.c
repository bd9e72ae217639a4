#include "verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "backoff.h"
#include "drop.h"
#include "intake.h"
#include "state.h"
#include "trouble.h"

enum {
    HALVE_AT = 3,         /* failures, from which on a batch is halved */
    MOST_ASIDE = 8,       /* batches that failed and let others be tried */
    LOOK_AHEAD = 100,     /* records of the queue that may be another user's */
    ASIDE_RECORDS = 20,   /* of a batch that steps aside: a probe */
    REFUSED_ALONE = 3,    /* decisions refused alone, and nothing accepted: it is the request */
    ROUNDS = 3,           /* in a pause of throttled users, for those that were throttled again */
    SLOW_LISTS = 3,       /* answers in a row that list less than a twentieth */
    LIST_MIN_EVENTS = 32, /* a batch is halved for its lists down to this */
    PACE_MIN_MS = 50,
    PACE_SPAN_MS = 150,
};

static uint64_t draw(oa_dispatcher *d) { return oa_chance_next(&d->chance); }

static uint64_t pace_ms(oa_dispatcher *d) { return PACE_MIN_MS + draw(d) % (PACE_SPAN_MS + 1); }

/* ---- Going through a batch ---- */

/* What a taker of oa_batch_filter() is looking for. */
typedef struct search {
    oa_dispatcher *d;
    oa_lane *lane;
    oa_mark mark;
    oa_drop_reason reason;
    oa_park_group *group; /* for those that are parked */
    size_t parked;
    bool regroups; /* what is parked may come out with others: see identify_id() in render.c */
} search;

static bool drop_marked(void *context, oa_record *record, oa_mark mark) {
    const search *s = context;
    if (s->mark != mark)
        return false;
    oa_drop(s->d, record, s->reason, s->lane->attempt.status_code, s->lane->message);
    return true;
}

/* Park a record of a batch in its user's group, or in `group` where there is none. Returns the
 * group. */
static oa_park_group *park_in(oa_dispatcher *d, oa_lane *lane, oa_park_group *group,
                              oa_record *record) {
    oa_park_group *own = oa_park_find(&lane->park, record);
    if (own != NULL)
        group = own;
    if (oa_park_add(&lane->park, group, record) != OA_OK)
        oa_drop_for_memory(d, record);
    return group;
}

static bool park_marked(void *context, oa_record *record, oa_mark mark) {
    search *s = context;
    if (s->mark != mark)
        return false;
    record->regrouped += s->regroups;
    s->parked += park_in(s->d, s->lane, s->group, record) == s->group;
    return true;
}

static bool park_member(void *context, oa_record *record, oa_mark mark) {
    const search *s = context;
    (void)mark;
    oa_park_group *group = oa_park_find(&s->lane->park, record);
    if (group == NULL)
        return false;
    record->regrouped++;
    park_in(s->d, s->lane, group, record);
    return true;
}

/* Have what users that were just parked have in `ready` join them; the queue follows when it is
 * cut. */
static void park_followers(oa_dispatcher *d, oa_lane *lane) {
    search s = {.d = d, .lane = lane};
    for (oa_batch *other = lane->ready.first; other != NULL; other = other->next) {
        lane->ready.record_count -= other->count;
        oa_batch_filter(other, other->count, park_member, &s);
        lane->ready.record_count += other->count;
    }
}

/* Drop those of the first `carried` that have a mark. Returns how many of them are left. */
static size_t drop_some(oa_dispatcher *d, oa_lane *lane, oa_batch *batch, size_t carried,
                        oa_mark mark, oa_drop_reason reason) {
    search s = {.d = d, .lane = lane, .mark = mark, .reason = reason};
    const uint64_t before = d->stats.dropped[reason];
    const size_t left = oa_batch_filter(batch, carried, drop_marked, &s);
    oa_drop_log(d, reason, before, lane->message);
    return left;
}

/* ---- Where a batch goes ---- */

/* Put what is left of the batch back at the front of `ready`. */
static void put_back(oa_lane *lane, oa_batch *batch, bool again) {
    batch->again = again;
    if (batch->count == 0)
        oa_batch_free(batch);
    else
        oa_batch_list_push_front(&lane->ready, batch);
}

/* Let a batch wait in the park with its users. Returns false without memory; it is untouched
 * then. */
static bool step_aside(oa_dispatcher *d, oa_lane *lane, oa_batch *batch, uint64_t until_ms) {
    search s = {.d = d, .lane = lane, .mark = OA_MARK_KEEP};
    for (size_t i = 0; i < batch->count; i++)
        s.regroups |= oa_park_find(&lane->park, batch->records[i]) != NULL;
    if (oa_park_open(&lane->park, until_ms, &s.group) != OA_OK)
        return false;
    oa_park_past *past = oa_park_past_of(s.group);
    past->suspicion = batch->suspicion;
    past->share = batch->share;
    memset(batch->marks, OA_MARK_KEEP, batch->count);
    oa_batch_filter(batch, batch->count, park_marked, &s);
    past->suspects = s.parked;
    if (s.parked == 0) /* all of them joined the groups of their users */
        oa_park_cancel(&lane->park, s.group);
    oa_batch_free(batch);
    return true;
}

/* Put a batch back, and the half that was cut off it behind. */
static void put_back_both(oa_lane *lane, oa_batch *batch, oa_batch *half) {
    if (half != NULL)
        put_back(lane, half, true);
    put_back(lane, batch, true);
}

/* Let a batch wait, and the half that was cut off it; without memory they go to the front. */
static void step_aside_both(oa_dispatcher *d, oa_lane *lane, oa_batch *batch, oa_batch *half,
                            uint64_t until_ms) {
    if (!step_aside(d, lane, batch, until_ms)) {
        put_back_both(lane, batch, half);
        return;
    }
    if (half != NULL && !step_aside(d, lane, half, until_ms)) {
        search s = {.d = d, .lane = lane};
        oa_batch_filter(half, half->count, park_member, &s);
        put_back(lane, half, true);
    }
    park_followers(d, lane); /* behind both */
}

/* Cut off what an attempt did not carry, and put it back: nothing is known of it. */
static void put_back_rest(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch,
                          size_t carried) {
    oa_batch *rest = NULL;
    if (carried == batch->count)
        return;
    if (oa_batch_split(batch, carried, &rest) != OA_OK) {
        oa_wait(d, now, OA_WAIT_MEMORY, OA_MEMORY_PAUSE_MS);
        return; /* they are taken for carried */
    }
    rest->suspicion = (oa_suspicion){.failures = 0};
    put_back(lane, rest, false);
}

/* Cut the batch in two. Returns the second half, or NULL for one record, or without memory. */
static oa_batch *halve(oa_dispatcher *d, oa_now now, oa_batch *batch) {
    oa_batch *half = NULL;
    if (batch->count < 2)
        return NULL;
    oa_batch_regroup(batch, batch->count);
    if (oa_batch_split(batch, batch->count / 2, &half) != OA_OK) {
        oa_wait(d, now, OA_WAIT_MEMORY, OA_MEMORY_PAUSE_MS);
        return NULL;
    }
    return half;
}

/*
 * Note against a batch that its attempt failed. Returns whether it is to blame: others were
 * accepted since the same records failed before.
 */
static bool suspect(const oa_dispatcher *d, oa_batch *batch) {
    oa_suspicion *s = &batch->suspicion;
    const bool is_blamed = s->failures > 0 && d->health.accepted > s->accepted_before;
    if (s->failures < UINT16_MAX)
        s->failures++;
    if (is_blamed && s->blames < UINT16_MAX)
        s->blames++;
    /* What is out with it may have been taken before it failed: that says nothing against it. */
    s->accepted_before = d->health.accepted + d->lanes.out_count;
    return is_blamed;
}

/* ---- Outcomes ---- */

static bool deliver(void *context, oa_record *record, oa_mark mark) {
    oa_dispatcher *d = context;
    if (mark == OA_MARK_AGAIN) {
        record->resent = record->property_only = true;
        record->regrouped++; /* Amplitude must not take it for a repeat */
        d->stats.store_conflicts++;
        return false;
    }
    oa_flushes_settle(&d->flushes, record->seq, true);
    oa_intake_settle(d, record);
    if (oa_record_is_tracked(record)) {
        d->stats.tracked.delivered++;
        d->stats.tracked.pending--;
    }
    oa_record_release(&d->arena, record);
    return true;
}

static void apply_accepted(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch,
                           size_t carried) {
    oa_fit_accepted(&d->fit, lane->attempt.body.text.len, carried < batch->count);
    const size_t again = oa_batch_filter(batch, carried, deliver, d);
    d->stats.delivered += carried - again;
    d->stats.pending -= carried - again;
    d->stats.events_sent += lane->attempt.body.event_count;
    d->health.accepted++;
    batch->suspicion = (oa_suspicion){.failures = 0};
    put_back(lane, batch, false);
    oa_trouble_end(d, now, carried);
}

/* The first moment at or after `at_ms` that is a multiple of `round_ms`. */
static uint64_t next_round_ms(uint64_t at_ms, uint64_t round_ms) {
    if (round_ms == 0 || at_ms > UINT64_MAX - round_ms)
        return at_ms;
    return (at_ms + round_ms - 1) / round_ms * round_ms;
}

/* Park the throttled users with all that they have in this batch and in `ready`. */
static size_t park_users(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch,
                         size_t carried) {
    uint64_t pause_ms = d->throttle_ms;
    const uint32_t asked_s = lane->attempt.retry_after_seconds;
    if (asked_s > 0 && oa_backoff_retry_after_ms(asked_s, 0) > pause_ms)
        pause_ms = oa_backoff_retry_after_ms(asked_s, draw(d));
    search s = {.d = d, .lane = lane, .mark = OA_MARK_THROTTLED, .regroups = true};
    size_t throttled = 0;
    for (size_t i = 0; i < carried; i++)
        throttled += batch->marks[i] == OA_MARK_THROTTLED;
    if (throttled == 0)
        return carried;
    uint64_t until_ms = oa_moment_after(now.monotonic_ms, pause_ms);
    if (batch->share > 0) /* with others, of earlier and later requests: see park.c */
        until_ms = next_round_ms(until_ms, pause_ms / ROUNDS);
    if (oa_park_open(&lane->park, until_ms, &s.group) != OA_OK) {
        oa_wait(d, now, OA_WAIT_MEMORY, OA_MEMORY_PAUSE_MS);
        return carried;
    }
    const size_t users_before = lane->park.user_count;
    carried = oa_batch_filter(batch, carried, park_marked, &s);
    /* After the first 429 all at once, after each further one half, and one of each user. */
    const size_t users = lane->park.user_count - users_before;
    const size_t half = batch->share / 2;
    oa_park_past_of(s.group)->share = batch->share == 0 ? throttled : half > users ? half : users;
    oa_batch_filter(batch, batch->count, park_member, &s);
    park_followers(d, lane);
    oa_notices_log(&d->notices, OA_LOG_WARN, "throttled",
                   "%zu %s of throttled users wait %" PRIu64 " s: %s", throttled,
                   oa_name_records(d, throttled), pause_ms / 1000, lane->message);
    return carried < batch->count ? carried : batch->count;
}

/*
 * Answers that list hardly any of a large batch would make it be sent once for each bad decision:
 * after some of them it is halved, and the server gets a pause.
 */
static void slow_down(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch, size_t carried,
                      size_t left) {
    const bool is_slow = (carried - left) * 20 < carried;
    batch->slow_lists = is_slow ? (uint8_t)(batch->slow_lists + 1) : 0;
    if (batch->slow_lists < SLOW_LISTS) {
        put_back(lane, batch, true);
        return;
    }
    batch->slow_lists = 0;
    oa_wait(d, now, OA_WAIT_PACE, pace_ms(d));
    oa_batch *half = lane->attempt.body.event_count > LIST_MIN_EVENTS ? halve(d, now, batch) : NULL;
    put_back_both(lane, batch, half);
}

static void apply_listed(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch,
                         size_t carried) {
    size_t left = drop_some(d, lane, batch, carried, OA_MARK_QUOTA, OA_DROP_QUOTA_EXCEEDED);
    left = drop_some(d, lane, batch, left, OA_MARK_INVALID, OA_DROP_INVALID_EVENT);
    oa_batch_regroup(batch, left);
    for (size_t i = 0; i < left; i++)
        if (batch->marks[i] == OA_MARK_ALONE)
            batch->records[i]->alone = true;
    left = park_users(d, lane, now, batch, left);
    batch->suspicion = (oa_suspicion){.failures = 0};
    slow_down(d, lane, now, batch, carried, left);
    oa_trouble_end(d, now, carried);
}

/* How long a batch waits by itself; what is not bad in it should not wait long. */
static uint64_t own_wait_ms(oa_dispatcher *d, const oa_batch *batch, uint32_t failures) {
    static const oa_backoff ALONE = {500, 60 * 1000};
    static const oa_backoff TOGETHER = {500, 4 * 1000};
    return oa_backoff_ms(batch->count == 1 ? ALONE : TOGETHER, failures, draw(d));
}

/* Let a batch that is to blame wait by itself, while all others are sent; halve it from its third
 * failure on. */
static void punish(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch) {
    const oa_suspicion s = batch->suspicion;
    if (lane->attempt.status_code == 0)
        oa_fit_lost(&d->fit, lane->attempt.body.text.len);
    if (batch->count == 1 && s.blames >= d->flush_max_retries) {
        drop_some(d, lane, batch, 1, OA_MARK_KEEP, OA_DROP_RETRIES_EXHAUSTED);
        put_back(lane, batch, false);
        return;
    }
    uint64_t wait_ms = batch->count > 1 ? pace_ms(d) : own_wait_ms(d, batch, s.blames);
    const uint64_t asked_ms = oa_backoff_retry_after_ms(lane->attempt.retry_after_seconds, draw(d));
    if (asked_ms > wait_ms)
        wait_ms = asked_ms;
    oa_batch *half = s.failures >= HALVE_AT ? halve(d, now, batch) : NULL;
    step_aside_both(d, lane, batch, half, oa_moment_after(now.monotonic_ms, wait_ms));
}

static bool has_user(const oa_batch *batch, const oa_record *record) {
    for (size_t i = 0; i < batch->count; i++)
        if (oa_record_same_user(batch->records[i], record))
            return true;
    return false;
}

/* Whether a lane has anything that can be sent instead of `batch`, and was not to blame before. */
static bool has_untried_in(const oa_lane *lane, const oa_batch *batch) {
    for (const oa_batch *other = lane->ready.first; other != NULL; other = other->next)
        if (other->count > 0 && other->suspicion.blames == 0 && !has_user(batch, other->records[0]))
            return true;
    const oa_record *record = oa_queue_peek(&lane->queue);
    for (int n = 0; record != NULL && n < LOOK_AHEAD; n++, record = oa_queue_next(record))
        if (oa_park_find(&lane->park, record) == NULL && !has_user(batch, record))
            return true;
    return false;
}

/* The same of all lanes. */
static bool has_untried(const oa_dispatcher *d, const oa_batch *batch) {
    OA_EACH_LANE (lane, &d->lanes)
        if (has_untried_in(lane, batch))
            return true;
    return false;
}

/*
 * A batch that was to blame before fails again, and nothing was accepted in between: that says
 * little of the server, or some bad decisions that are tried one after another would look like an
 * outage. Others are tried at once, if there are any. If not, it waits by itself; and the server is
 * in trouble when that is so of many users.
 */
static void apply_suspects(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch,
                           oa_trouble trouble) {
    const bool are_others = has_untried(d, batch);
    const bool is_quiet = !are_others && d->health.trouble == OA_TROUBLE_NONE;
    const uint64_t own_ms = own_wait_ms(d, batch, batch->suspicion.failures);
    const size_t users_before = lane->park.user_count;
    oa_batch *half = batch->suspicion.failures >= HALVE_AT ? halve(d, now, batch) : NULL;
    step_aside_both(d, lane, batch, half,
                    is_quiet ? oa_moment_after(now.monotonic_ms, own_ms) : OA_PARK_ASIDE);
    d->probe_aside = true; /* so that the next one is another */
    const bool is_aside = lane->park.user_count > users_before;
    if (!is_aside || (!are_others && (!is_quiet || oa_lanes_parked_users(&d->lanes) > MOST_ASIDE)))
        oa_trouble_fail(d, lane, now, trouble);
}

static void apply_failure(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch,
                          size_t carried, oa_trouble trouble) {
    const bool is_blamed = suspect(d, batch);
    put_back_rest(d, lane, now, batch, carried);
    if (is_blamed) {
        punish(d, lane, now, batch);
        return;
    }
    if (batch->suspicion.blames > 0) {
        apply_suspects(d, lane, now, batch, trouble);
        return;
    }
    oa_trouble_fail(d, lane, now, trouble);
    if (batch->suspicion.failures == 1)
        oa_health_add_witness(&d->health);
    /* The next turn is its own again, where the queue has turns in between: see backoff_ends_ms()
     * in deliver.c. So the oldest is the first to arrive after a short outage. Not for long: a host
     * that is frozen, or has little time, comes to none of the turns in between. */
    if (batch->suspicion.failures < HALVE_AT && lane->ready.record_count == 0 &&
        oa_health_fresh_at_ms(&d->health) != UINT64_MAX)
        d->probe_aside = false;
    oa_batch *half = batch->suspicion.failures >= HALVE_AT ? halve(d, now, batch) : NULL;
    /* It lets others be tried, which shows whether it is the server or the batch. */
    if (batch->count <= ASIDE_RECORDS && oa_lanes_aside(&d->lanes) < MOST_ASIDE)
        step_aside_both(d, lane, batch, half, OA_PARK_ASIDE);
    else
        put_back_both(lane, batch, half);
}

/*
 * A decision was refused on its own. It is to blame if others were accepted since its batch was
 * refused, or if there is no other to compare it with. Otherwise it steps aside, and others are
 * tried on their own: when they are refused, too, it is not the decisions, but the request.
 */
static void apply_refused_alone(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch,
                                bool is_blamed, oa_drop_reason reason) {
    const uint64_t before = batch->suspicion.refused_alone;
    const uint64_t at = d->health.accepted + 1;
    const bool was_refused = before >= at;
    const bool is_only_one = d->stats.pending == 1 || (was_refused && d->refused_alone == 1);
    if (is_blamed || is_only_one || (before > 0 && before < at)) {
        drop_some(d, lane, batch, 1, OA_MARK_KEEP, reason);
        put_back(lane, batch, false);
        d->refused_alone = 0;
        return;
    }
    batch->suspicion.refused_alone = at + d->lanes.out_count; /* see suspect() */
    step_aside_both(d, lane, batch, NULL, OA_PARK_ASIDE);
    if (!was_refused && ++d->refused_alone < REFUSED_ALONE)
        return;
    d->refused_alone = 0;
    oa_fit_init(&d->fit, d->fit.max_bytes); /* it was not the size */
    oa_trouble_fail(d, lane, now, OA_TROUBLE_REQUEST);
}

/* The answer blames something in the batch and does not say what: it is halved until that stands
 * alone. */
static void apply_refused(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_batch *batch,
                          size_t carried, oa_drop_reason reason) {
    if (d->health.trouble > OA_TROUBLE_OUTAGE) {
        apply_failure(d, lane, now, batch, carried, OA_TROUBLE_REQUEST);
        return;
    }
    if (d->health.trouble == OA_TROUBLE_OUTAGE)
        oa_trouble_end(d, now, 0); /* it judges requests again */
    const bool is_blamed = suspect(d, batch);
    d->refusals++;
    put_back_rest(d, lane, now, batch, carried);
    if (reason == OA_DROP_PAYLOAD_TOO_LARGE)
        oa_fit_refused(&d->fit, lane->attempt.body.text.len);
    if (batch->count > 1)
        put_back_both(lane, batch, halve(d, now, batch));
    else
        apply_refused_alone(d, lane, now, batch, is_blamed, reason);
}

/* Whether the answer may be due to the compression alone: the same is sent again without it. */
static bool doubts_gzip(oa_dispatcher *d, oa_lane *lane) {
    const bool is_gzip = oa_attempt_is_gzip(&lane->attempt);
    const oa_outcome outcome = lane->attempt.outcome;
    const bool was_read = outcome == OA_OUTCOME_ACCEPTED || outcome == OA_OUTCOME_LISTED ||
                          outcome == OA_OUTCOME_BAD_API_KEY;
    if (!is_gzip && !lane->compares && d->coding == OA_CODING_DOUBTED)
        return false; /* it is another lane's that is compared */
    const oa_coding_verdict verdict =
        oa_coding_judge(&d->coding, is_gzip, was_read, lane->attempt.status_code);
    lane->compares = verdict == OA_CODING_COMPARE;
    if (verdict == OA_CODING_ENDS)
        oa_notices_log(&d->notices, OA_LOG_WARN, "compression",
                       "%s does not take compressed requests, and takes others; none is compressed "
                       "from now on. Set compression to false to avoid the attempt",
                       d->server_name);
    return verdict == OA_CODING_COMPARE;
}

void oa_verdict_apply(oa_dispatcher *d, oa_lane *lane, oa_now now) {
    oa_batch *batch = lane->attempt.batch;
    const size_t carried = lane->attempt.body.carried;
    const oa_outcome outcome = lane->attempt.outcome;
    lane->attempt.batch = NULL;
    if (outcome != OA_OUTCOME_ACCEPTED && outcome != OA_OUTCOME_ABORTED)
        oa_trouble_note_error(d, lane, now);
    /* Where it is cut, earlier attempts may have grouped other records: see identify_id(). */
    if (carried < batch->count)
        oa_batch_regroup(batch, batch->count);
    if (doubts_gzip(d, lane)) {
        put_back(lane, batch, true);
        return;
    }
    switch (outcome) {
    case OA_OUTCOME_ACCEPTED:
        apply_accepted(d, lane, now, batch, carried);
        break;
    case OA_OUTCOME_LISTED:
        apply_listed(d, lane, now, batch, carried);
        break;
    case OA_OUTCOME_BAD_API_KEY:
        oa_trouble_fail(d, lane, now, OA_TROUBLE_API_KEY);
        put_back(lane, batch, true);
        break;
    case OA_OUTCOME_REFUSED:
        apply_refused(d, lane, now, batch, carried, OA_DROP_INVALID_EVENT);
        break;
    case OA_OUTCOME_TOO_LARGE:
        apply_refused(d, lane, now, batch, carried, OA_DROP_PAYLOAD_TOO_LARGE);
        break;
    case OA_OUTCOME_OUTAGE:
        apply_failure(d, lane, now, batch, carried, OA_TROUBLE_OUTAGE);
        break;
    case OA_OUTCOME_BAD_REQUEST:
        apply_failure(d, lane, now, batch, carried, OA_TROUBLE_REQUEST);
        break;
    case OA_OUTCOME_ABORTED:
        put_back(lane, batch, lane->attempt.sent || batch->again);
        oa_trouble_note_silence(d, lane, now);
        break;
    case OA_OUTCOME_NOMEM:
        oa_wait(d, now, OA_WAIT_MEMORY, OA_MEMORY_PAUSE_MS);
        put_back(lane, batch, batch->again);
        break;
    }
}
