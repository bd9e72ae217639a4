#include "trouble.h"

#include <inttypes.h>
#include <stdio.h>

#include "backoff.h"
#include "state.h"

enum {
    SILENCE_MS = 400, /* without an answer, until a flush ended the request */
    SILENCES = 3,     /* of these in a row: it is an outage */
};

void oa_trouble_note_error(oa_dispatcher *d, const oa_lane *lane, oa_now now) {
    d->stats.requests_failed += lane->attempt.sent;
    d->stats.has_error = true;
    d->stats.error_status_code = lane->attempt.status_code;
    d->stats.error_time_ms = now.wall_ms;
    snprintf(d->stats.error_message, sizeof(d->stats.error_message), "%s", lane->message);
}

/* Say once what is wrong, what is kept meanwhile, and what to check. */
static void log_trouble(oa_dispatcher *d, const oa_lane *lane, oa_trouble trouble) {
    static const char *const ADVICE[] = {
        [OA_TROUBLE_NONE] = "",
        [OA_TROUBLE_OUTAGE] = "it is tried again until it accepts them",
        [OA_TROUBLE_REQUEST] = "check serverUrl, the proxy, and the firewalls in between",
        [OA_TROUBLE_API_KEY] = "check apiKey and serverZone: a key is of one project and one zone",
    };
    static const char FOREIGN[] = "another program answers in its place, so check DNS, the proxy "
                                  "and login pages; it is tried again until it accepts them";
    const bool is_outage = trouble == OA_TROUBLE_OUTAGE;
    const bool is_foreign = is_outage && lane->attempt.status_code / 100 == 2;
    const bool are_hours = d->max_age_ms >= 2 * 3600000;
    oa_notices_log(
        &d->notices, is_outage ? OA_LOG_WARN : OA_LOG_ERROR, is_outage ? "outage" : "configuration",
        "%s does not take decisions (%s); %s. They are kept for %" PRIu64
        " %s, as far as %s holds them; pending: %" PRIu64,
        d->server_name, lane->message, is_foreign ? FOREIGN : ADVICE[trouble],
        d->max_age_ms / (are_hours ? 3600000 : 1000), are_hours ? "hours" : "seconds",
        d->spool == NULL ? "maxQueueBytes" : "the maxBytes of the spool", d->stats.pending);
}

/* Whether the lane's attempt tells more than one that failed while it was out. Notes it, if so. */
static bool is_new_failure(oa_dispatcher *d, const oa_lane *lane) {
    if (lane->number <= d->begun_at_failure)
        return false;
    d->begun_at_failure = d->begun;
    return true;
}

void oa_trouble_fail(oa_dispatcher *d, const oa_lane *lane, oa_now now, oa_trouble trouble) {
    const bool is_news = d->health.trouble != trouble;
    const uint64_t random = oa_chance_next(&d->chance);
    const uint32_t asked_s = lane->attempt.retry_after_seconds;
    if (asked_s > 0)
        oa_wait(d, now, OA_WAIT_RETRY_AFTER, oa_backoff_retry_after_ms(asked_s, random));
    if (!is_new_failure(d, lane) && d->health.trouble != OA_TROUBLE_NONE)
        return;
    const uint64_t wait_ms = oa_health_failed(&d->health, now, trouble, random);
    oa_wait(d, now, OA_WAIT_BACKOFF, wait_ms);
    if (is_news)
        log_trouble(d, lane, trouble);
    oa_notices_log(&d->notices, OA_LOG_DEBUG, "retry",
                   "failure %" PRIu32 " in a row; the next attempt in %" PRIu64 " ms: %s",
                   d->health.failures, wait_ms, lane->message);
}

/* Whether two batches were probes, or behind them, and are not to blame: they are sent together. */
static bool may_join(const oa_batch *a, const oa_batch *b) {
    const oa_batch *const both[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        const oa_suspicion *s = &both[i]->suspicion;
        if (s->failures == 0 || s->blames > 0 || s->refused_alone > 0 || both[i]->share > 0)
            return false;
    }
    return a->count + b->count <= OA_BATCH_MAX_RECORDS / 2;
}

/* An outage takes batches apart, down to single decisions: put them together again at its end. */
static void join_probes(oa_lane *lane) {
    oa_batch_list joined = {NULL, NULL, 0};
    oa_batch *batch = NULL;
    while ((batch = oa_batch_list_pop(&lane->ready)) != NULL) {
        const size_t before = batch->count;
        while (lane->ready.first != NULL && may_join(batch, lane->ready.first)) {
            oa_batch *other = oa_batch_list_pop(&lane->ready);
            if (oa_batch_join(batch, other) == OA_OK)
                continue;
            oa_batch_list_push_front(&lane->ready, other);
            break;
        }
        if (batch->count > before)
            oa_batch_regroup(batch, batch->count);
        oa_batch_list_push_back(&joined, batch);
    }
    lane->ready = joined;
}

void oa_trouble_end(oa_dispatcher *d, oa_now now, size_t records) {
    const int64_t since_ms = d->health.since_ms;
    const bool is_over = oa_health_recovered(&d->health, records);
    if (is_over) {
        d->not_before_ms[OA_WAIT_BACKOFF] = 0;
        oa_notices_log(&d->notices, OA_LOG_WARN, "recovered",
                       "%s takes decisions again, after %" PRId64 " s; pending: %" PRIu64,
                       d->server_name, (now.wall_ms - since_ms) / 1000, d->stats.pending);
    }
    d->refusals = d->refused_alone = 0;
    OA_EACH_LANE (lane, &d->lanes) {
        while (oa_park_release_aside(&lane->park, &lane->ready))
            continue;
        if (is_over)
            join_probes(lane);
    }
}

void oa_trouble_note_silence(oa_dispatcher *d, const oa_lane *lane, oa_now now) {
    if (d->phase != OA_PHASE_OPEN || lane->attempt.duration_ms < SILENCE_MS)
        return;
    if (lane->number <= d->begun_at_silence) /* it was ended with another one */
        return;
    d->begun_at_silence = d->begun;
    if (++d->health.silences < SILENCES)
        return;
    oa_trouble_note_error(d, lane, now);
    oa_trouble_fail(d, lane, now, OA_TROUBLE_OUTAGE);
}
