/*
 * dispatcher.c: what the application does. Checks, counts and stores; what follows happens in
 * deliver.c.  [externally synchronised]
 */
#include <string.h>

#include "amplitude/ids.h"
#include "drop.h"
#include "intake.h"
#include "mem.h"
#include "state.h"

enum { FIRST_VARIANTS = 32 };

static void copy_options(oa_dispatcher *d, const oa_config *config) {
    d->opt_out = config->opt_out;
    d->min_id_length = config->min_id_length;
    d->flush_queue_size = config->flush_queue_size;
    d->flush_max_retries = config->flush_max_retries;
    d->throttle_ms = config->throttle_ms;
    d->max_age_ms = config->max_age_ms;
    /* A decision that expires before it is tried would be lost without a reason. */
    d->flush_interval_ms = config->flush_interval_ms < config->max_age_ms / 2
                               ? config->flush_interval_ms
                               : config->max_age_ms / 2;
    d->chance.state = config->seed;
    oa_hash_key_init(&d->hash_key, config->api_key);
    oa_arena_init(&d->arena, config->max_queue_bytes);
    d->arena.keeps_places = config->spool;
    d->next_seq = config->spool ? OA_FIRST_OWN_SEQ : 0;
    oa_flushes_init(&d->flushes);
    oa_fit_init(&d->fit, config->max_body_bytes);
    oa_notices_init(&d->notices, config);
}

/* Return an owned copy with a NUL at its end, or NULL. */
static char *copy_text(oa_str text) {
    char *copy = oa_mem_alloc(text.len + 1);
    if (copy == NULL)
        return NULL;
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

static oa_status copy_texts(oa_dispatcher *d, const oa_config *config) {
    d->property_prefix = copy_text(config->property_prefix);
    d->server_name = copy_text(config->server_name);
    if (d->property_prefix == NULL || d->server_name == NULL)
        return OA_NOMEM;
    d->style.hash_key = &d->hash_key;
    d->style.property_prefix = (oa_str){d->property_prefix, config->property_prefix.len};
    d->style.disabled_value_is_variation = config->disabled_value_is_variation;
    return OA_OK;
}

/* Create the lanes, with all that an attempt needs. */
static oa_status make_lanes(oa_dispatcher *d, const oa_config *config) {
    oa_status status = oa_lanes_new(&d->lanes, config->max_concurrent, &d->arena, &d->hash_key);
    if (status != OA_OK)
        return status;
    d->has_store = config->dedupe && config->store;
    OA_EACH_LANE (lane, &d->lanes) {
        oa_attempt_init(&lane->attempt, d->frame, config->is_amplitude);
        if (status == OA_OK && d->has_store)
            status = oa_store_new(config, &d->hash_key, &lane->attempt.store);
    }
    return status;
}

/* Create the parts that can fail. */
static oa_status make_parts(oa_dispatcher *d, const oa_config *config) {
    oa_status status = copy_texts(d, config);
    if (status == OA_OK && config->dedupe)
        status = oa_exposure_new(config->dedupe_window_ms, config->dedupe_refresh_ms,
                                 config->dedupe_max_entries, &d->exposure);
    if (status == OA_OK && config->dedupe && config->store)
        oa_exposure_share(d->exposure);
    if (status == OA_OK && config->spool)
        status = oa_spool_new(&d->spool);
    /* Without de-duplication ids must be unique across processes; with it, the same in all of
     * them, and with a journal the same in the process that goes on with it. */
    const uint64_t unique = config->dedupe ? 0 : oa_chance_next(&d->chance);
    const uint64_t nonce = config->spool ? 0 : unique;
    d->first_occurrence = config->spool ? unique : 0;
    if (status == OA_OK)
        status = oa_frame_new(config, &d->hash_key, nonce, &d->frame);
    if (status == OA_OK)
        status = make_lanes(d, config);
    if (status != OA_OK)
        return status;
    d->event_counts = oa_frame_event_counts(d->frame);
    d->coding = config->compression ? OA_CODING_GZIP : OA_CODING_PLAIN;
    return OA_OK;
}

oa_status oa_dispatcher_new(const oa_config *config, oa_dispatcher **out) {
    oa_dispatcher *d = oa_mem_calloc(1, sizeof(*d));
    if (d == NULL)
        return OA_NOMEM;
    copy_options(d, config);
    const oa_status status = make_parts(d, config);
    if (status == OA_OK)
        *out = d;
    else
        oa_dispatcher_free(d);
    return status;
}

void oa_dispatcher_free(oa_dispatcher *d) {
    if (d == NULL)
        return;
    oa_drop_silently(d);
    oa_notices_clear(&d->notices, &d->arena);
    oa_dispatcher_forget_variants(d);
    oa_mem_free(d->variants);
    oa_flushes_clear(&d->flushes);
    oa_exposure_free(d->exposure);
    oa_lanes_free(&d->lanes);
    oa_spool_free(d->spool);
    oa_frame_free(d->frame);
    oa_arena_clear(&d->arena);
    oa_mem_free(d->property_prefix);
    oa_mem_free(d->server_name);
    oa_mem_free(d);
}

oa_status oa_dispatcher_add_variant(oa_dispatcher *d, oa_str flag_key, oa_str variation_key,
                                    oa_str rule_key, bool enabled, uint32_t *out) {
    if (d->variant_count == d->variant_cap) {
        const uint32_t cap = d->variant_cap > 0 ? d->variant_cap * 2 : FIRST_VARIANTS;
        oa_variant **variants = oa_mem_realloc(d->variants, cap * sizeof(*variants));
        if (variants == NULL)
            return OA_NOMEM;
        d->variants = variants;
        d->variant_cap = cap;
    }
    const oa_status status = oa_variant_new(&d->style, flag_key, variation_key, rule_key, enabled,
                                            &d->variants[d->variant_count]);
    if (status == OA_OK)
        *out = d->variant_count++;
    return status;
}

void oa_dispatcher_forget_variants(oa_dispatcher *d) {
    while (d->variant_count > 0)
        oa_variant_unref(d->variants[--d->variant_count]);
}

/* Check both ids. One that is refused beside a good one becomes absent, as Amplitude would have
 * it. */
static oa_status check_ids(const oa_dispatcher *d, oa_str *user_id, oa_str *device_id,
                           oa_status *left_out) {
    const oa_status user = oa_ids_check(*user_id, d->min_id_length);
    const oa_status device = oa_ids_check(*device_id, d->min_id_length);
    *left_out = OA_OK;
    if (user == OA_OK && device == OA_OK)
        return OA_OK;
    if (user != OA_OK && device != OA_OK)
        return user == OA_ID_MISSING ? device : user;
    const oa_status refused = user == OA_OK ? device : user;
    *(user == OA_OK ? device_id : user_id) = (oa_str){NULL, 0};
    if (refused != OA_ID_MISSING)
        *left_out = refused;
    return OA_OK;
}

/* Count what is accepted and dropped at once; the host is notified in the next step. Without a
 * variant it is a tracked event. */
static oa_status refuse(oa_dispatcher *d, oa_now now, oa_variant *variant,
                        const oa_decision *decision, const oa_occurrence *occurrence,
                        oa_status status, oa_drop_reason reason, oa_wake *wake) {
    d->stats.accepted++;
    d->stats.dropped[reason]++;
    if (variant == NULL) {
        d->stats.tracked.accepted++;
        d->stats.tracked.dropped[reason]++;
    }
    if (!d->notices.report_drops)
        return status;
    const bool fills =
        oa_notices_refuse(&d->notices, variant, decision, now.wall_ms, occurrence, status, reason);
    *wake = fills ? OA_WAKE_COLLECT : d->soon ? OA_WAKE_NOT : OA_WAKE_TIMER;
    d->soon = true;
    return status;
}

oa_status oa_dispatcher_record(oa_dispatcher *d, oa_now now, oa_decision *decision, oa_wake *wake) {
    *wake = OA_WAKE_NOT;
    if (decision->variant_id >= d->variant_count ||
        (decision->rendered && !oa_frame_sends_rendered(d->frame, decision)))
        return OA_MALFORMED;
    oa_variant *variant = d->variants[decision->variant_id];
    const bool is_identified = d->exposure != NULL || oa_lanes_are_many(&d->lanes);
    oa_hash identity = {0, 0};
    if (is_identified)
        identity = oa_hash_identity(&d->hash_key, decision->user_id, decision->device_id);
    if (d->exposure != NULL) /* as early as possible: waiting for this memory is the larger cost */
        oa_exposure_prefetch(d->exposure, identity, variant->flag_hash);
    oa_status status = check_ids(d, &decision->user_id, &decision->device_id, &decision->left_out);
    if (status != OA_OK)
        return status;
    if (is_identified && decision->left_out != OA_OK)
        identity = oa_hash_identity(&d->hash_key, decision->user_id, decision->device_id);
    if (d->phase != OA_PHASE_OPEN)
        return refuse(d, now, variant, decision, NULL, OA_CLOSED, OA_DROP_CLOSED, wake);
    if (d->opt_out)
        return refuse(d, now, variant, decision, NULL, OA_OPTED_OUT, OA_DROP_OPTED_OUT, wake);

    const uint32_t value = (uint32_t)variant->content.low;
    const uint64_t number = d->first_occurrence + d->next_seq;
    oa_sighting seen = {{(uint32_t)(number >> 32), (uint32_t)number}, false, false};
    if (d->exposure != NULL) {
        status =
            oa_exposure_note(d->exposure, identity, variant->flag_hash, value, now.wall_ms, &seen);
        if (status == OA_REPEAT) {
            d->stats.deduplicated++;
            return status;
        }
    }
    const oa_arrival arrival = {
        .variant = variant,
        .decision = decision,
        .time_ms = now.wall_ms,
        .occurrence = seen.occurrence,
        .property_only = seen.is_stale,
        .recheck = seen.is_repeat && d->has_store,
    };
    bool comes_closer = false;
    if (oa_intake_accept(d, now, identity, &arrival, &comes_closer) != OA_OK) {
        if (d->exposure != NULL)
            oa_exposure_forget(d->exposure, identity, variant->flag_hash, value, &seen);
        if (seen.is_repeat) { /* nothing that counts is lost, and the next one tries again */
            d->stats.deduplicated++;
            return OA_REPEAT;
        }
        return refuse(d, now, variant, decision, &seen.occurrence, OA_QUEUE_FULL,
                      OA_DROP_QUEUE_FULL, wake);
    }
    *wake = comes_closer ? OA_WAKE_TIMER : OA_WAKE_NOT;
    return OA_OK;
}

oa_status oa_dispatcher_track(oa_dispatcher *d, oa_now now, oa_tracked *tracked, oa_wake *wake) {
    *wake = OA_WAKE_NOT;
    const oa_status status =
        check_ids(d, &tracked->user_id, &tracked->device_id, &tracked->left_out);
    if (status != OA_OK)
        return status;
    const oa_decision event = {
        .user_id = tracked->user_id,
        .device_id = tracked->device_id,
        .event_properties = tracked->event,
        .rendered = true,
    };
    if (d->phase != OA_PHASE_OPEN)
        return refuse(d, now, NULL, &event, NULL, OA_CLOSED, OA_DROP_CLOSED, wake);
    if (d->opt_out)
        return refuse(d, now, NULL, &event, NULL, OA_OPTED_OUT, OA_DROP_OPTED_OUT, wake);
    oa_hash identity = {0, 0};
    if (oa_lanes_are_many(&d->lanes))
        identity = oa_hash_identity(&d->hash_key, event.user_id, event.device_id);
    const oa_arrival arrival = {.decision = &event, .time_ms = now.wall_ms};
    bool comes_closer = false;
    if (oa_intake_accept(d, now, identity, &arrival, &comes_closer) != OA_OK)
        return refuse(d, now, NULL, &event, NULL, OA_QUEUE_FULL, OA_DROP_QUEUE_FULL, wake);
    *wake = comes_closer ? OA_WAKE_TIMER : OA_WAKE_NOT;
    return OA_OK;
}

static oa_status wait_for(oa_dispatcher *d, oa_now now, uint64_t deadline_ms, bool abort,
                          void *ticket) {
    const oa_waiter waiter = {
        .upto_seq = d->next_seq,
        .deadline_ms = deadline_ms,
        .started_ms = now.monotonic_ms,
        .report = {.pending = d->stats.pending},
        .abort = abort,
        .ticket = ticket,
    };
    const oa_status status = oa_flushes_add(&d->flushes, &waiter);
    if (status != OA_OK)
        return status;
    const uint64_t flush_at_ms = oa_health_flush_at_ms(&d->health);
    if (d->not_before_ms[OA_WAIT_BACKOFF] > flush_at_ms)
        d->not_before_ms[OA_WAIT_BACKOFF] = flush_at_ms;
    d->not_before_ms[OA_WAIT_FREEZE] = 0;
    d->soon = true;
    return OA_OK;
}

oa_status oa_dispatcher_flush(oa_dispatcher *d, oa_now now, uint64_t timeout_ms, bool abort,
                              void *ticket) {
    return wait_for(d, now, oa_moment_after(now.monotonic_ms, timeout_ms), abort, ticket);
}

oa_status oa_dispatcher_close(oa_dispatcher *d, oa_now now, uint64_t timeout_ms, void *ticket) {
    /* Its own deadline is that of the phase: there everything is dropped, and the waiter
     * finishes. */
    const oa_status status = wait_for(d, now, UINT64_MAX, false, ticket);
    if (status != OA_OK)
        return status;
    if (d->phase == OA_PHASE_OPEN)
        d->phase = OA_PHASE_CLOSING;
    d->close_deadline_ms = oa_moment_after(now.monotonic_ms, timeout_ms);
    return OA_OK;
}

void oa_dispatcher_trim(oa_dispatcher *d) { oa_arena_clear(&d->arena); }

uint64_t oa_dispatcher_abort(oa_dispatcher *d) {
    d->phase = OA_PHASE_ABORTED;
    return d->spool == NULL ? d->stats.pending : d->unwritten;
}

void oa_dispatcher_set_opt_out(oa_dispatcher *d, bool opt_out) {
    d->opt_out = opt_out;
    d->purges = d->purges && opt_out;
}

void oa_dispatcher_purge(oa_dispatcher *d) {
    d->purges = d->opt_out;
    d->soon = true;
}

oa_spool *oa_dispatcher_spool(oa_dispatcher *d) { return d->spool; }

void oa_dispatcher_hold(oa_dispatcher *d, bool is_held) {
    d->is_held = is_held && d->spool != NULL;
    d->soon = true;
}

void oa_dispatcher_stats(const oa_dispatcher *d, oa_now now, oa_stats *out) {
    const oa_health *health = &d->health;
    *out = d->stats;
    out->health = health->trouble == OA_TROUBLE_NONE     ? OA_HEALTH_OK
                  : health->trouble == OA_TROUBLE_OUTAGE ? OA_HEALTH_RETRYING
                                                         : OA_HEALTH_CONFIGURATION;
    out->failures_in_a_row = health->failures;
    out->failing_since_ms = health->failures > 0 ? health->since_ms : 0;
    out->oldest_pending_ms = oa_drop_oldest_ms(d, now);
    out->queue_bytes = d->arena.bytes;
    out->queue_high_water_bytes = d->arena.high_water_bytes;
    if (d->spool != NULL)
        oa_spool_stats_get(d->spool, &out->spool);
}
