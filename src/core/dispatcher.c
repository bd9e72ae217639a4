/*
 * dispatcher.c: what the host calls. Checks, counts and stores; the work is done in deliver.c.  [loop]
 */
#include "dispatcher.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "identity.h"
#include "mem.h"
#include "transport.h"

enum { FIRST_TEMPLATES = 32 };

void oa_dispatcher_log(oa_dispatcher *d, oa_log_level level, const char *topic, const char *format,
                       ...) {
    if (d->callbacks.log == NULL || (level == OA_LOG_DEBUG && !d->debug))
        return;
    char text[640];
    va_list arguments;
    va_start(arguments, format);
    const int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len < 0)
        return;
    const size_t size = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    d->callbacks.log(d->callbacks.data, level, topic, (oa_str){text, size});
}

static bool is_https(oa_str url) { return url.len > 6 && memcmp(url.data, "https:", 6) == 0; }

static void copy_options(oa_dispatcher *d, const oa_config *config) {
    d->callbacks = config->callbacks;
    d->clock = oa_clock_complete(config->clock);
    d->debug = config->debug;
    d->opt_out = config->opt_out;
    d->trust_pending =
        config->ca_file.data == NULL && (is_https(config->server_url) || is_https(config->proxy));
    d->min_id_length = config->min_id_length;
    d->flush_queue_size = config->flush_queue_size;
    d->flush_max_retries = config->flush_max_retries;
    d->flush_interval_ms = config->flush_interval_ms;
    d->throttle_ms = config->throttle_ms;
    oa_hash_key_init(&d->hash_key, config->api_key);
    oa_arena_init(&d->arena, config->max_queue_bytes);
    oa_queue_init(&d->queue, &d->arena);
    oa_park_init(&d->park, &d->arena, &d->hash_key);
    oa_flushes_init(&d->flushes);
    oa_fit_init(&d->fit, config->max_body_bytes);
    d->job.clock = &d->clock;
}

static oa_status copy_prefix(oa_dispatcher *d, const oa_config *config) {
    const oa_str prefix = config->property_prefix;
    d->property_prefix = oa_mem_alloc(prefix.len + 1);
    if (d->property_prefix == NULL)
        return OA_NOMEM;
    if (prefix.len > 0)
        memcpy(d->property_prefix, prefix.data, prefix.len);
    d->style.hash_key = &d->hash_key;
    d->style.property_prefix = (oa_str){d->property_prefix, prefix.len};
    d->style.disabled_value_is_variation = config->disabled_value_is_variation;
    return OA_OK;
}

/* Create the parts that can fail, but for the transport. */
static oa_status make_parts(oa_dispatcher *d, const oa_config *config) {
    oa_status status = copy_prefix(d, config);
    if (status == OA_OK && config->dedupe)
        status =
            oa_exposure_new(config->dedupe_window_ms, config->dedupe_max_entries, &d->exposure);
    /* Without de-duplication ids must be unique across processes; with it, the same in all of them. */
    const uint64_t nonce = config->dedupe ? 0 : oa_clock_random(&d->clock);
    if (status == OA_OK)
        status = oa_renderer_new(config, &d->hash_key, nonce, &d->job.renderer);
    return status;
}

static void free_parts(oa_dispatcher *d) {
    oa_job_forgo_place(&d->job);
    oa_verdict_discard_all(d);
    oa_dispatcher_forget_templates(d);
    oa_mem_free(d->templates);
    oa_flushes_clear(&d->flushes);
    oa_exposure_free(d->exposure);
    oa_renderer_free(d->job.renderer);
    if (d->job.transport != NULL)
        d->job.transport->ops->close(d->job.transport);
    oa_arena_clear(&d->arena);
    oa_mem_free(d->property_prefix);
    oa_mem_free(d);
}

oa_status oa_dispatcher_new(uv_loop_t *loop, const oa_config *config, oa_dispatcher **out) {
    oa_status status = OA_OK;
    oa_transport *transport = config->transport;
    oa_dispatcher *d = oa_mem_calloc(1, sizeof(*d));
    if (d == NULL) {
        status = OA_NOMEM;
        goto out;
    }
    copy_options(d, config);
    if ((status = make_parts(d, config)) != OA_OK)
        goto out;
    if (transport == NULL && (status = oa_transport_curl_new(config, &transport)) != OA_OK)
        goto out;
    d->job.transport = transport;
    d->loop = loop;
    uv_timer_init(loop, &d->timer);
    uv_unref((uv_handle_t *)&d->timer);
    d->timer.data = d;
    *out = d;
    return OA_OK;

out:
    if (d != NULL)
        free_parts(d);
    if (transport != NULL)
        transport->ops->close(transport);
    return status;
}

static void on_timer_closed(uv_handle_t *handle) {
    oa_dispatcher *d = handle->data;
    void (*destroyed)(void *data) = d->destroyed;
    void *data = d->destroyed_data;
    free_parts(d);
    if (destroyed != NULL)
        destroyed(data);
}

void oa_dispatcher_free_later(oa_dispatcher *d) {
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}

void oa_dispatcher_destroy(oa_dispatcher *d, void (*done)(void *data), void *data) {
    memset(&d->callbacks, 0, sizeof(d->callbacks));
    d->phase = OA_PHASE_DESTROYING;
    d->destroyed = done;
    d->destroyed_data = data;
    oa_flushes_clear(&d->flushes);
    if (d->in_flight)
        oa_deliver_abort(d); /* the job comes back to oa_deliver_step() */
    else
        oa_dispatcher_free_later(d);
}

oa_status oa_dispatcher_add_template(oa_dispatcher *d, oa_str flag_key, oa_str variation_key,
                                     oa_str rule_key, bool enabled, uint32_t *out) {
    if (d->template_count == d->template_cap) {
        const uint32_t cap = d->template_cap > 0 ? d->template_cap * 2 : FIRST_TEMPLATES;
        oa_template **templates = oa_mem_realloc(d->templates, cap * sizeof(*templates));
        if (templates == NULL)
            return OA_NOMEM;
        d->templates = templates;
        d->template_cap = cap;
    }
    const oa_status status = oa_template_new(&d->style, flag_key, variation_key, rule_key, enabled,
                                             &d->templates[d->template_count]);
    if (status == OA_OK)
        *out = d->template_count++;
    return status;
}

void oa_dispatcher_forget_templates(oa_dispatcher *d) {
    while (d->template_count > 0)
        oa_template_unref(d->templates[--d->template_count]);
}

static oa_status check_ids(const oa_dispatcher *d, const oa_decision *decision) {
    oa_status status = OA_ID_MISSING;
    if (decision->user_id.data != NULL)
        status = oa_identity_check(decision->user_id, d->min_id_length);
    if (decision->device_id.data != NULL && (status == OA_OK || status == OA_ID_MISSING))
        status = oa_identity_check(decision->device_id, d->min_id_length);
    return status;
}

/* Count a decision that is accepted and dropped at once, and tell the host. */
static oa_status refuse(oa_dispatcher *d, const oa_decision *decision, oa_dropped *dropped,
                        oa_status status, oa_drop_reason reason) {
    const oa_template *template = d->templates[decision->template_id];
    const char *text = oa_status_message(status);
    d->stats.accepted++;
    d->stats.dropped[reason]++;
    if (d->callbacks.dropped == NULL)
        return status;
    dropped->user_id = decision->user_id;
    dropped->device_id = decision->device_id;
    dropped->flag_key = template->flag_key;
    dropped->variation_key = template->variation_key;
    dropped->rule_key = template->rule_key;
    dropped->enabled = template->enabled;
    d->callbacks.dropped(d->callbacks.data, reason, 0, (oa_str){text, strlen(text)}, dropped, 1);
    return status;
}

static uint8_t count_events(const oa_record *before, const oa_record *record) {
    return before != NULL && oa_record_same_user(before, record) ? OA_EVENTS_OF_NEXT
                                                                 : OA_EVENTS_OF_FIRST;
}

static void stored(oa_dispatcher *d, oa_record *record, const oa_record *before) {
    record->seq = d->next_seq++;
    record->events = count_events(before, record);
    d->stats.accepted++;
    d->stats.pending++;
    const bool was_below = d->queue_events < d->flush_queue_size;
    d->queue_events += record->events;
    if (before == NULL)
        d->front_since_ms = oa_clock_monotonic_ms(&d->clock);
    if (d->in_flight)
        return; /* the job's return looks at the queue anyway */
    if (before == NULL)
        oa_deliver_schedule(d);
    else if (was_below && d->queue_events >= d->flush_queue_size)
        oa_deliver_schedule(d);
}

oa_status oa_dispatcher_record(oa_dispatcher *d, const oa_decision *decision) {
    if (decision->template_id >= d->template_count)
        return OA_MALFORMED;
    oa_template *template = d->templates[decision->template_id];
    oa_hash identity = {0, 0};
    if (d->exposure != NULL) {
        /* First of all, since it is there that a decision waits for memory. */
        identity = oa_hash_identity(&d->hash_key, decision->user_id, decision->device_id);
        oa_exposure_prefetch(d->exposure, identity, template->flag_hash);
    }
    oa_status status = check_ids(d, decision);
    if (status != OA_OK)
        return status;
    oa_dropped dropped = {.time_ms = oa_clock_wall_ms(&d->clock)};
    if (d->phase != OA_PHASE_OPEN)
        return refuse(d, decision, &dropped, OA_CLOSED, OA_DROP_CLOSED);
    if (d->opt_out)
        return refuse(d, decision, &dropped, OA_OPTED_OUT, OA_DROP_OPTED_OUT);

    const uint32_t value = (uint32_t) template->content.low;
    oa_occurrence occurrence = {(uint32_t)(d->next_seq >> 32), (uint32_t)d->next_seq};
    if (d->exposure != NULL) {
        status = oa_exposure_note(d->exposure, identity, template->flag_hash, value,
                                  dropped.time_ms, &occurrence);
        if (status == OA_REPEAT) {
            d->stats.deduplicated++;
            return status;
        }
    }
    const oa_record *before = oa_queue_last(&d->queue);
    oa_record *record = NULL;
    if (oa_queue_append(&d->queue, template, decision, &record) != OA_OK) {
        if (d->exposure != NULL)
            oa_exposure_forget(d->exposure, identity, template->flag_hash, value, occurrence);
        oa_render_insert_id(d->job.renderer, identity, template, occurrence, dropped.insert_id);
        return refuse(d, decision, &dropped, OA_QUEUE_FULL, OA_DROP_QUEUE_FULL);
    }
    record->time_ms = dropped.time_ms;
    record->occurrence = occurrence;
    stored(d, record, before);
    return OA_OK;
}

static oa_status wait_for(oa_dispatcher *d, uint64_t deadline_ms, bool abort, oa_flush_done done,
                          void *data) {
    const oa_waiter waiter = {
        .upto_seq = d->next_seq,
        .deadline_ms = deadline_ms,
        .started_ms = oa_clock_monotonic_ms(&d->clock),
        .report = {.pending = d->stats.pending},
        .abort = abort,
        .done = done,
        .data = data,
    };
    const oa_status status = oa_flushes_add(&d->flushes, &waiter);
    if (status != OA_OK)
        return status;
    /* A flush does not sit a back-off out, but a server that said how long gets it. */
    if (d->retry_at_ms > d->retry_after_ms)
        d->retry_at_ms = d->retry_after_ms;
    oa_deliver_soon(d);
    return OA_OK;
}

/* The moment `timeout_ms` from now; never, for what is longer than the clock. */
static uint64_t deadline_in(const oa_dispatcher *d, uint64_t timeout_ms) {
    const uint64_t now_ms = oa_clock_monotonic_ms(&d->clock);
    return timeout_ms < UINT64_MAX - now_ms ? now_ms + timeout_ms : UINT64_MAX;
}

oa_status oa_dispatcher_flush(oa_dispatcher *d, uint64_t timeout_ms, bool abort, oa_flush_done done,
                              void *data) {
    return wait_for(d, deadline_in(d, timeout_ms), abort, done, data);
}

oa_status oa_dispatcher_close(oa_dispatcher *d, uint64_t timeout_ms, oa_flush_done done,
                              void *data) {
    /* Its own deadline is that of the phase: there everything is dropped, and the waiter finishes. */
    const oa_status status = wait_for(d, UINT64_MAX, false, done, data);
    if (status != OA_OK)
        return status;
    if (d->phase == OA_PHASE_OPEN)
        d->phase = OA_PHASE_CLOSING;
    d->close_deadline_ms = deadline_in(d, timeout_ms);
    return OA_OK;
}

uint64_t oa_dispatcher_abort(oa_dispatcher *d) {
    oa_deliver_abort(d);
    if (d->phase < OA_PHASE_ABORTED)
        d->phase = OA_PHASE_ABORTED;
    return d->stats.pending;
}

void oa_dispatcher_set_opt_out(oa_dispatcher *d, bool opt_out) { d->opt_out = opt_out; }

oa_status oa_dispatcher_set_trust(oa_dispatcher *d, oa_str pem) {
    if (d->job.transport == NULL || d->in_flight)
        return OA_CLOSED;
    return d->job.transport->ops->trust(d->job.transport, pem);
}

void oa_dispatcher_stats(const oa_dispatcher *d, oa_stats *out) {
    *out = d->stats;
    out->queue_bytes = d->arena.bytes;
    out->queue_high_water_bytes = d->arena.high_water_bytes;
}
