/*
 * uv.c: the loop's side of an attempt, and the pool's.
 *
 * pump() does whatever is due, from the timer or when the pool gives an attempt back. While an
 * attempt is in the pool, it belongs to the thread there with the connection, so
 * there is no lock; what crosses is a cancel (see curl.c). In a small pool it comes back after each
 * slice of the POST, and is queued again behind what waits (see places.h).
 *
 * With a store of exposures the attempt stays on the loop while the store is asked, before it goes
 * to the pool, and while it is written to, after it came back: see `stage`.
 *
 * The timer keeps the loop alive only while a flush is awaited or drops are being told; an attempt
 * in the pool always does.
 */
#include "uv.h"

#include <stdlib.h>

#include "../clock.h"
#include "../pages.h"
#include "places.h"

enum {
    PLACE_WAIT_MS = 5,     /* all of our places in the pool are taken by other dispatchers */
    MAX_DROP_NOTICES = 64, /* that are told in one turn of the loop; a million decisions may drop */
    MAX_DROPS_NS = 5 * 1000 * 1000, /* likewise */
    NEXT_TURN_MS = 1, /* a timer of 0 that is started by a timer may run in the same turn */
};

/* Where the attempt is. */
typedef enum stage {
    STAGE_NONE,
    STAGE_ASKING, /* on the loop, until oa_uv_answer_store() */
    STAGE_POOL,
    STAGE_WRITING, /* on the loop, likewise */
} stage;

struct oa_uv {
    uv_loop_t *loop; /* borrowed */
    uv_timer_t timer;
    uv_work_t work;
    oa_dispatcher *core;
    oa_curl *curl; /* NULL once it is closed */
    oa_uv_handlers handlers;
    oa_place place;
    stage stage;
    bool has_store;
    uint32_t store_call; /* the number of the last one */
    oa_attempt *attempt; /* that is out; NULL: none is */
    bool is_posting;     /* its POST has begun, and is not over; goes with the attempt */
    bool is_cancelled;   /* the attempt is */
    bool came_back;      /* an attempt was cancelled on the loop */
    size_t awaited;      /* flushes and closes that are not over */
    void *close_ticket;
    bool needs_trust;
    bool is_busy; /* as the owner was told */
    bool is_collecting;
    bool has_drops; /* to tell, in the next turn */
    bool is_ending;
};

/* ---- Time ---- */

/* Now, as far as a decision needs it: the loop's own time, which may be that of the turn's
 * beginning. */
static oa_now loop_now(const oa_uv *uv) { return (oa_now){oa_clock_wall_ms(), uv_now(uv->loop)}; }

static void pump(oa_uv *uv);
static void arm(oa_uv *uv, uint64_t least_ms);

static void on_timer(uv_timer_t *timer) {
    oa_uv *uv = timer->data;
    pump(uv);
    arm(uv, NEXT_TURN_MS);
}

/* Tell the owner when the last thing to do is done, or the first one comes. */
static void tell_busy(oa_uv *uv, bool is_busy) {
    if (uv->is_busy == is_busy)
        return;
    uv->is_busy = is_busy;
    uv->handlers.busy(uv->handlers.data, is_busy);
}

/* Set the timer to the next moment at which something is due, but no closer than `least_ms`. */
static void arm(oa_uv *uv, uint64_t least_ms) {
    if (uv->is_ending)
        return;
    const oa_now now = oa_clock_now();
    const uint64_t due_ms = oa_dispatcher_next_due(uv->core, now);
    uint64_t delay_ms = due_ms > now.monotonic_ms ? due_ms - now.monotonic_ms : 0;
    if (uv->place.is_waiting && delay_ms < PLACE_WAIT_MS)
        delay_ms = PLACE_WAIT_MS;
    if (uv->has_drops)
        delay_ms = 0;
    if (delay_ms < least_ms)
        delay_ms = least_ms;
    const bool is_due = due_ms != UINT64_MAX || uv->has_drops;
    tell_busy(uv, is_due || uv->attempt != NULL);
    if (!is_due)
        uv_timer_stop(&uv->timer);
    else
        uv_timer_start(&uv->timer, on_timer, delay_ms, 0);
    if (uv->awaited > 0 || uv->has_drops)
        uv_ref((uv_handle_t *)&uv->timer);
    else
        uv_unref((uv_handle_t *)&uv->timer);
}

/* ---- An attempt ---- */

/* Render the body and begin to POST it; false when memory ran out. On a thread of the pool. */
static bool begin(oa_uv *uv) {
    if (oa_attempt_render(uv->attempt) != OA_OK)
        return false;
    oa_curl_begin(uv->curl, oa_clock_now(), oa_attempt_body(uv->attempt),
                  oa_attempt_is_gzip(uv->attempt));
    uv->is_posting = true;
    return true;
}

/* End the POST, and give its answer in. Whoever has the attempt. */
static void finish(oa_uv *uv) {
    oa_answer answer;
    oa_curl_end(uv->curl, oa_clock_now(), &answer);
    oa_attempt_answer(uv->attempt, &answer);
    uv->is_posting = false;
}

/* On a thread of the pool. */
static void on_work(uv_work_t *work) {
    oa_uv *uv = work->data;
    if ((uv->is_posting || begin(uv)) && oa_curl_run(uv->curl, oa_place_slice_ms()))
        finish(uv);
}

static void close_timer(oa_uv *uv);

/* Give the attempt back to the core. */
static void give_back(oa_uv *uv) {
    oa_attempt *attempt = uv->attempt;
    uv->stage = STAGE_NONE;
    uv->attempt = NULL;
    oa_place_release(&uv->place);
    oa_dispatcher_give_back(uv->core, oa_clock_now(), attempt);
}

/* Give the attempt back, and go on with the next one. */
static void end_attempt(oa_uv *uv) {
    give_back(uv);
    if (uv->is_ending) {
        close_timer(uv);
        return;
    }
    pump(uv);
    arm(uv, 0);
}

/* Begin a call to the store, if it may be called, and there is something to say. Returns whether
 * its answer is to come. */
static bool call_store(oa_uv *uv, stage at) {
    uv->stage = at;
    if (!uv->has_store || !uv->handlers.store_ready(uv->handlers.data) || uv->is_ending)
        return false;
    oa_uv_store_call call = {.id = ++uv->store_call, .writes = at == STAGE_WRITING};
    call.parts = call.writes ? oa_attempt_write(uv->attempt, &call.count)
                             : oa_attempt_ask(uv->attempt, &call.count);
    return call.count > 0 && uv->handlers.store(uv->handlers.data, &call);
}

static void on_done(uv_work_t *work, int status) {
    (void)status; /* UV_ECANCELED: no thread has begun it, or not this slice of it */
    oa_uv *uv = work->data;
    if (uv->is_posting && !uv->is_cancelled) {
        uv_queue_work(uv->loop, &uv->work, on_work, on_done); /* the next slice */
        return;
    }
    if (uv->is_posting)
        finish(uv);
    oa_place_release(&uv->place);
    /* A handler may destroy the host, and with it the attempt. */
    if (uv->is_cancelled || (!call_store(uv, STAGE_WRITING) && uv->attempt != NULL))
        end_attempt(uv);
}

/* Send what the store leaves of the attempt. Returns whether anything is left. */
static bool send_rest(oa_uv *uv, const int32_t *answers, size_t count) {
    if (!oa_dispatcher_learn(uv->core, uv->attempt, answers, count))
        return false;
    uv->stage = STAGE_POOL;
    uv->work.data = uv;
    uv_queue_work(uv->loop, &uv->work, on_work, on_done);
    return true;
}

static void start(oa_uv *uv) {
    if (uv->attempt != NULL || !oa_dispatcher_has_attempt(uv->core, oa_clock_now())) {
        if (uv->attempt == NULL)
            oa_place_release(&uv->place); /* there is nothing to wait for any more */
        return;
    }
    if (uv->needs_trust) {
        uv->needs_trust = false;
        uv->handlers.trust_needed(uv->handlers.data);
    }
    if (uv->is_ending)
        return;
    if (!oa_place_acquire(&uv->place))
        return;
    uv->attempt = oa_dispatcher_take_attempt(uv->core, oa_clock_now());
    if (uv->attempt == NULL) {
        oa_place_release(&uv->place);
        return;
    }
    uv->is_cancelled = false;
    oa_curl_rearm(uv->curl);
    if (call_store(uv, STAGE_ASKING) || uv->attempt == NULL)
        return;
    if (!send_rest(uv, NULL, 0))
        give_back(uv); /* the timer goes on with the next one */
}

static void cancel(oa_uv *uv) {
    if (uv->attempt == NULL)
        return;
    if (uv->stage != STAGE_POOL) { /* nothing waits for the store any more */
        uv->store_call++;
        uv->came_back = true;
        give_back(uv);
        return;
    }
    uv->is_cancelled = true;
    oa_curl_cancel(uv->curl);
    uv_cancel((uv_req_t *)&uv->work);
}

/* ---- Notices ---- */

static void end_wait(oa_uv *uv, const oa_flush_notice *flush) {
    uv->awaited--;
    if (flush->ticket != uv->close_ticket || uv->close_ticket == NULL)
        return;
    uv->close_ticket = NULL;
    oa_curl_free(uv->curl);
    uv->curl = NULL;
}

static void tell(oa_uv *uv, const oa_notice *notice) {
    if (notice->kind == OA_NOTICE_CANCEL) {
        cancel(uv);
        return;
    }
    if (notice->kind == OA_NOTICE_FLUSH)
        end_wait(uv, &notice->about.flush);
    uv->handlers.notice(uv->handlers.data, notice);
}

/*
 * Hand notices out: all, or as many drops as fit into a turn. What follows a drop waits with the
 * rest, so the order is kept; what precedes drops is little, and never waits. A handler may call
 * in, and so ask for this once more.
 */
static void collect(oa_uv *uv) {
    if (uv->is_collecting)
        return;
    uv->is_collecting = true;
    uv->has_drops = false;
    const uint64_t until_ns = uv_hrtime() + MAX_DROPS_NS;
    int drops = 0;
    oa_notice notice;
    while (!uv->is_ending && !uv->has_drops && oa_dispatcher_next_notice(uv->core, &notice)) {
        tell(uv, &notice);
        if (notice.kind != OA_NOTICE_DROP)
            continue; /* the last one may end a close: there is no next turn to wait for */
        drops++;
        uv->has_drops = drops == MAX_DROP_NOTICES || uv_hrtime() >= until_ns;
    }
    uv->is_collecting = false;
}

static void pump(oa_uv *uv) {
    do { /* what was cancelled and is back at once ends what waits for it, before more is started */
        uv->came_back = false;
        oa_dispatcher_step(uv->core, oa_clock_now());
        collect(uv);
    } while (uv->came_back && !uv->is_ending);
    if (!uv->is_ending)
        start(uv);
}

/* ---- What the owner calls ---- */

oa_status oa_uv_new(uv_loop_t *loop, const oa_config *config, const oa_curl_config *curl_config,
                    oa_uv_handlers handlers, oa_uv **out) {
    oa_pages_use();
    oa_uv *uv = calloc(1, sizeof(*uv));
    if (uv == NULL)
        return OA_NOMEM;
    uv->loop = loop;
    uv->handlers = handlers;
    uv->needs_trust = oa_curl_needs_trust(curl_config);
    uv->has_store = config->store;
    oa_status status = oa_dispatcher_new(config, &uv->core);
    if (status == OA_OK)
        status = oa_curl_new(curl_config, &uv->curl);
    if (status != OA_OK) {
        oa_curl_free(uv->curl);
        oa_dispatcher_free(uv->core);
        free(uv);
        return status;
    }
    uv_timer_init(loop, &uv->timer);
    uv_unref((uv_handle_t *)&uv->timer);
    uv->timer.data = uv;
    *out = uv;
    return OA_OK;
}

static void on_timer_closed(uv_handle_t *handle) {
    oa_uv *uv = handle->data;
    const oa_uv_handlers handlers = uv->handlers;
    oa_place_release(&uv->place);
    oa_curl_free(uv->curl);
    oa_dispatcher_free(uv->core);
    free(uv);
    handlers.destroyed(handlers.data);
}

static void close_timer(oa_uv *uv) { uv_close((uv_handle_t *)&uv->timer, on_timer_closed); }

void oa_uv_destroy(oa_uv *uv) {
    uv->is_ending = true;
    cancel(uv);
    if (uv->attempt == NULL) /* otherwise it comes back to on_done() */
        close_timer(uv);
}

oa_dispatcher *oa_uv_core(oa_uv *uv) { return uv->core; }

static void wake_up(oa_uv *uv, oa_wake wake) {
    if (wake == OA_WAKE_COLLECT)
        collect(uv);
    if (wake != OA_WAKE_NOT)
        arm(uv, 0);
}

oa_status oa_uv_record(oa_uv *uv, oa_decision *decision) {
    oa_wake wake = OA_WAKE_NOT;
    const oa_status status = oa_dispatcher_record(uv->core, loop_now(uv), decision, &wake);
    wake_up(uv, wake);
    return status;
}

oa_status oa_uv_track(oa_uv *uv, oa_tracked *tracked) {
    oa_wake wake = OA_WAKE_NOT;
    const oa_status status = oa_dispatcher_track(uv->core, loop_now(uv), tracked, &wake);
    wake_up(uv, wake);
    return status;
}

oa_status oa_uv_flush(oa_uv *uv, uint64_t timeout_ms, bool abort, void *ticket) {
    const oa_status status =
        oa_dispatcher_flush(uv->core, oa_clock_now(), timeout_ms, abort, ticket);
    uv->awaited += status == OA_OK;
    arm(uv, 0);
    return status;
}

oa_status oa_uv_close(oa_uv *uv, uint64_t timeout_ms, void *ticket) {
    const oa_status status = oa_dispatcher_close(uv->core, oa_clock_now(), timeout_ms, ticket);
    if (status == OA_OK) {
        uv->awaited++;
        uv->close_ticket = ticket;
    }
    arm(uv, 0);
    return status;
}

uint64_t oa_uv_abort(oa_uv *uv) {
    cancel(uv);
    return oa_dispatcher_abort(uv->core);
}

void oa_uv_stats(const oa_uv *uv, oa_stats *out) {
    oa_dispatcher_stats(uv->core, oa_clock_now(), out);
}

void oa_uv_answer_store(oa_uv *uv, uint32_t id, const int32_t *answers, size_t count) {
    if (id != uv->store_call || uv->attempt == NULL || uv->is_ending)
        return;
    if (uv->stage == STAGE_WRITING)
        oa_attempt_confirm(uv->attempt, answers, count);
    else if (uv->stage != STAGE_ASKING || send_rest(uv, answers, count))
        return;
    end_attempt(uv);
}

oa_status oa_uv_set_trust(oa_uv *uv, const oa_trust_source *source) {
    return uv->curl == NULL || uv->attempt != NULL ? OA_CLOSED : oa_curl_trust(uv->curl, source);
}
