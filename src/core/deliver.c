/*
 * deliver.c: when a request starts, and what is in it.  [loop]
 *
 * One function decides (oa_deliver_step); it runs from the timer and when the pool gives a job back,
 * never from inside a call of the host. So no callback of ours is sometimes synchronous, and all
 * decisions of one turn of the loop (decideAll) are there when a batch is cut.
 *
 * Nothing sleeps: waits are moments on the monotonic clock, and the timer is set to the next one. The
 * timer keeps the loop alive only while somebody awaits a flush.
 */
#include <inttypes.h>
#include <string.h>

#include "dispatcher.h"

enum {
    FLUSHES_AT_ONCE = 32,
    PLACE_WAIT_MS = 5, /* all of our places in the pool are taken by other dispatchers */
    OOM_PAUSE_MS = 1000,
    HOLD_MS = 1000, /* after a flush that aborted: time to be frozen, or to end, in peace */
    STALE_IDLE_MS = 30 * 1000, /* a connection that was idle for longer is not trusted */
    CLOCK_JUMP_MS = 5 * 1000,  /* the clocks disagree by this much: the machine was frozen */
};

static uint64_t now_of(const oa_dispatcher *d) { return oa_clock_monotonic_ms(&d->clock); }

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

static uint64_t most(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* A moment and a duration; never is the end of all moments. */
static uint64_t add_ms(uint64_t moment_ms, uint64_t duration_ms) {
    return duration_ms < UINT64_MAX - moment_ms ? moment_ms + duration_ms : UINT64_MAX;
}

static void on_timer(uv_timer_t *timer) { oa_deliver_step(timer->data); }

static void set_timer(oa_dispatcher *d, uint64_t delay_ms) {
    uv_timer_start(&d->timer, on_timer, delay_ms, 0);
    if (d->flushes.count > 0)
        uv_ref((uv_handle_t *)&d->timer);
    else
        uv_unref((uv_handle_t *)&d->timer);
}

void oa_deliver_soon(oa_dispatcher *d) {
    d->soon = true;
    set_timer(d, 0);
}

/* When what is in the queue is to be sent, were nothing else in the way. */
static uint64_t queue_due_ms(const oa_dispatcher *d, uint64_t now_ms) {
    const oa_record *front = oa_queue_peek(&d->queue);
    if (front == NULL)
        return UINT64_MAX;
    if (d->queue_events >= d->flush_queue_size || d->flushes.count > 0)
        return now_ms;
    /* By the wall clock, since a record has no other time; it can be set back, so by the other one too. */
    const int64_t waited_ms = oa_clock_wall_ms(&d->clock) - front->time_ms;
    uint64_t wait_ms = d->flush_interval_ms;
    if (waited_ms > 0)
        wait_ms -= least((uint64_t)waited_ms, wait_ms);
    const uint64_t latest_ms = add_ms(d->front_since_ms, d->flush_interval_ms);
    return latest_ms > now_ms ? least(add_ms(now_ms, wait_ms), latest_ms) : now_ms;
}

/* When the next request may start: now_ms at the earliest, UINT64_MAX when there is nothing to send. */
static uint64_t send_due_ms(const oa_dispatcher *d, uint64_t now_ms) {
    if (d->in_flight || d->phase > OA_PHASE_CLOSING)
        return UINT64_MAX;
    uint64_t due_ms = d->ready.record_count > 0 ? now_ms : queue_due_ms(d, now_ms);
    if (due_ms != UINT64_MAX && due_ms < d->retry_at_ms)
        due_ms = d->retry_at_ms;
    return due_ms;
}

void oa_deliver_schedule(oa_dispatcher *d) {
    if (d->soon)
        return; /* asked for from inside a callback of this very step */
    const uint64_t now_ms = now_of(d);
    uint64_t due_ms = least(send_due_ms(d, now_ms), oa_flushes_deadline(&d->flushes));
    if (!d->in_flight)
        due_ms = least(due_ms, oa_park_due_ms(&d->park));
    if (d->phase == OA_PHASE_CLOSING)
        due_ms = least(due_ms, d->close_deadline_ms);
    /* An abort is on its way back: what is overdue waits for it, not for the clock. */
    if (d->phase >= OA_PHASE_CLOSED || d->aborting)
        due_ms = UINT64_MAX;
    if (due_ms == UINT64_MAX)
        uv_timer_stop(&d->timer);
    else
        set_timer(d, due_ms > now_ms ? due_ms - now_ms : 0);
}

void oa_deliver_abort(oa_dispatcher *d) {
    if (!d->in_flight || d->aborting)
        return;
    d->aborting = true;
    d->job.transport->ops->wake(d->job.transport);
    /* Still waiting for a thread: it comes back as UV_ECANCELED. */
    uv_cancel((uv_req_t *)&d->work);
}

/* Return how many records of the queue go into the next batch: all that fit into the events of a request,
 * but no part of a run of one user's decisions, which would cost it a second $identify. */
static size_t plan_cut(const oa_dispatcher *d) {
    size_t count = 0;
    size_t run_start = 0;
    uint32_t events = 0;
    for (const oa_record *record = oa_queue_peek(&d->queue);
         record != NULL && count < OA_BATCH_MAX_RECORDS; record = oa_queue_next(record)) {
        const bool starts_run = record->events == OA_EVENTS_OF_FIRST;
        if (starts_run)
            run_start = count;
        events += count == 0 ? OA_EVENTS_OF_FIRST : record->events;
        if (events > OA_BATCH_MAX_EVENTS)
            return run_start > 0 ? run_start : count;
        count++;
    }
    return count;
}

/* Take `planned` records off the queue; those of parked users join their group. */
static void fill(oa_dispatcher *d, oa_batch *batch, size_t planned) {
    for (size_t i = 0; i < planned; i++) {
        oa_record *record = oa_queue_take(&d->queue);
        d->queue_events -= record->events;
        oa_park_group *group = oa_park_find(&d->park, record);
        if (group == NULL)
            oa_batch_add(batch, record);
        else if (oa_park_add(&d->park, group, record) != OA_OK)
            oa_verdict_drop_record(d, record);
    }
    d->front_since_ms = now_of(d); /* at the latest: what is left was there already */
}

/* Return the next batch to send owned, or NULL when there is none (or no memory for one). */
static oa_batch *next_batch(oa_dispatcher *d) {
    while (d->ready.first != NULL) {
        oa_batch *batch = oa_batch_list_pop(&d->ready);
        if (batch->count > 0)
            return batch;
        oa_batch_free(batch); /* all of its users were parked meanwhile */
    }
    while (d->queue.count > 0) {
        const size_t planned = plan_cut(d);
        oa_batch *batch = NULL;
        if (oa_batch_new(planned, &batch) != OA_OK) {
            d->retry_at_ms = now_of(d) + OOM_PAUSE_MS;
            return NULL;
        }
        fill(d, batch, planned);
        if (batch->count > 0)
            return batch;
        oa_batch_free(batch);
    }
    return NULL;
}

/* Whether the connection of the last exchange cannot be trusted: it was idle for long, or the machine
 * slept (a Lambda between two invocations), which one of the clocks may not have noticed. */
static bool is_stale(const oa_dispatcher *d) {
    const int64_t wall_ms = oa_clock_wall_ms(&d->clock) - d->last_wall_ms;
    const int64_t idle_ms = (int64_t)(now_of(d) - d->last_monotonic_ms);
    const int64_t gap_ms = wall_ms > idle_ms ? wall_ms - idle_ms : idle_ms - wall_ms;
    return d->last_monotonic_ms != 0 && (idle_ms > STALE_IDLE_MS || gap_ms > CLOCK_JUMP_MS);
}

static void on_work(uv_work_t *work) {
    oa_dispatcher *d = work->data;
    oa_job_run(&d->job);
}

/* Debugging only: which decisions the request carried. */
static void log_carried(oa_dispatcher *d) {
    const oa_job *job = &d->job;
    for (size_t i = 0; i < job->rendering.carried; i++) {
        const oa_record *record = job->batch->records[i];
        const oa_str user = oa_record_user_id(record);
        const oa_str id = user.data != NULL ? user : oa_record_device_id(record);
        const oa_str flag = record->template->flag_key;
        oa_dispatcher_log(d, OA_LOG_DEBUG, "request",
                          "request %" PRIu64 " carried the decision of %.*s on %.*s",
                          d->stats.requests_sent, (int)id.len, id.data, (int)flag.len, flag.data);
    }
}

static void tell_attempt(oa_dispatcher *d, bool again) {
    const oa_job *job = &d->job;
    if (d->callbacks.requested == NULL)
        return;
    const oa_attempt request = {
        .number = d->stats.requests_sent,
        .decision_count = job->rendering.carried,
        .event_count = job->rendering.event_count,
        .body_bytes = job->rendering.body.len,
        .gzip = job->rendering.gzip,
        .again = again,
        .status_code = job->status_code,
        .duration_ms = job->duration_ms,
        .message = {job->message, strlen(job->message)},
    };
    d->callbacks.requested(d->callbacks.data, &request);
}

static void log_attempt(oa_dispatcher *d) {
    const oa_job *job = &d->job;
    if (!d->debug || !job->sent)
        return;
    oa_dispatcher_log(d, OA_LOG_DEBUG, "request",
                      "request %" PRIu64
                      ": %zu decisions, %zu events, %zu bytes%s -> %d in %" PRIu64 " ms %s",
                      d->stats.requests_sent, job->rendering.carried, job->rendering.event_count,
                      job->rendering.body.len, job->rendering.gzip ? " (gzip)" : "",
                      job->status_code, job->duration_ms, job->message);
    log_carried(d);
}

static void on_done(uv_work_t *work, int status) {
    oa_dispatcher *d = work->data;
    const bool again = d->job.batch->again;
    oa_job_release_place();
    d->in_flight = false;
    d->aborting = false;
    if (status == UV_ECANCELED) {
        d->job.sent = false;
        d->job.outcome = OA_OUTCOME_ABORTED;
    }
    if (d->job.sent) {
        d->stats.requests_sent++;
        d->stats.requests_retried += again;
        d->stats.request_bytes += d->job.rendering.body.len;
        d->last_wall_ms = oa_clock_wall_ms(&d->clock);
        d->last_monotonic_ms = now_of(d);
        log_attempt(d);
        tell_attempt(d, again);
    }
    oa_verdict_apply(d);
    if (d->stats.pending == 0)
        oa_renderer_trim(d->job.renderer);
    oa_deliver_step(d);
}

static void start(oa_dispatcher *d) {
    if (d->trust_pending && d->callbacks.trust_needed != NULL) {
        d->trust_pending = false;
        d->callbacks.trust_needed(d->callbacks.data);
        if (d->phase > OA_PHASE_CLOSING)
            return;
    }
    if (!oa_job_acquire_place(&d->job)) {
        d->retry_at_ms = now_of(d) + PLACE_WAIT_MS;
        return;
    }
    oa_batch *batch = next_batch(d);
    if (batch == NULL) {
        oa_job_release_place();
        return;
    }
    d->job.batch = batch;
    d->job.max_body_bytes = d->fit.bytes;
    d->job.fresh_connection = is_stale(d);
    d->job.transport->ops->arm(d->job.transport);
    d->work.data = d;
    d->in_flight = true;
    uv_queue_work(d->loop, &d->work, on_work, on_done);
}

/* Tell everybody whose flush is over. Hosts may call back in; what they ask for comes in a later step. */
static void end_flushes(oa_dispatcher *d) {
    oa_waiter finished[FLUSHES_AT_ONCE];
    size_t left = d->flushes.count;
    size_t count = 0;
    bool hold = false;
    do {
        const size_t max = left < FLUSHES_AT_ONCE ? left : FLUSHES_AT_ONCE;
        count = oa_flushes_finish(&d->flushes, now_of(d), d->in_flight, finished, max);
        left -= count;
        /* The process is about to be frozen: the next flush, or the next interval, goes on. */
        for (size_t i = 0; i < count; i++)
            hold |= finished[i].abort && finished[i].report.pending > 0;
        if (hold && d->flushes.count == 0)
            d->retry_at_ms =
                most(d->retry_at_ms, add_ms(now_of(d), most(d->flush_interval_ms, HOLD_MS)));
        for (size_t i = 0; i < count; i++)
            finished[i].done(finished[i].data, &finished[i].report);
    } while (count == FLUSHES_AT_ONCE && left > 0);
}

/* Once all is settled, or the deadline has passed and nothing is in flight: let go of everything. */
static void finish_closing(oa_dispatcher *d) {
    if (d->stats.pending > 0 && now_of(d) < d->close_deadline_ms)
        return;
    if (d->in_flight) {
        oa_deliver_abort(d);
        return;
    }
    oa_verdict_drop_all(d, OA_DROP_CLOSED,
                        "the dispatcher was closed before they could be delivered");
    if (d->phase != OA_PHASE_CLOSING)
        return; /* a host that was told of it aborted, or destroyed */
    d->phase = OA_PHASE_CLOSED;
    oa_job_forgo_place(&d->job);
    d->job.transport->ops->close(d->job.transport);
    d->job.transport = NULL;
    oa_renderer_trim(d->job.renderer);
    oa_exposure_free(d->exposure);
    d->exposure = NULL;
    oa_arena_clear(&d->arena);
}

void oa_deliver_step(oa_dispatcher *d) {
    d->soon = false;
    if (d->phase == OA_PHASE_DESTROYING) {
        if (!d->in_flight && !uv_is_closing((uv_handle_t *)&d->timer))
            oa_dispatcher_free_later(d);
        return;
    }
    if (d->in_flight && oa_flushes_want_abort(&d->flushes, now_of(d)))
        oa_deliver_abort(d);
    if (!d->in_flight)
        oa_park_release(&d->park, now_of(d), &d->ready);
    if (d->phase == OA_PHASE_CLOSING)
        finish_closing(d);
    end_flushes(d);
    if (send_due_ms(d, now_of(d)) <= now_of(d))
        start(d);
    oa_deliver_schedule(d);
}
