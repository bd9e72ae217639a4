/*
 * uv.c: the loop's side of attempts, and the pool's.
 *
 * pump() does whatever is due, from the timer or when the pool gives attempts back. Each attempt
 * has a lane, with a connection of its own. One work of the pool carries all that are to be posted:
 * they belong to its thread with their connections, so there is no lock. What crosses is a cancel,
 * of all of them, and a recall (see multi.h): the thread comes back whenever one is over, or when
 * another one is to go with it, and is queued again with the rest. In a small pool it also comes
 * back after each slice, behind what waits (see places.h).
 *
 * With a store of exposures an attempt stays on the loop while the store is asked, before it goes
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
#include "waker.h"

enum {
    PLACE_WAIT_MS = 5,     /* all of our places in the pool are taken by other dispatchers */
    MAX_DROP_NOTICES = 64, /* that are told in one turn of the loop; a million decisions may drop */
    MAX_DROPS_NS = 5 * 1000 * 1000, /* likewise */
    NEXT_TURN_MS = 1, /* a timer of 0 that is started by a timer may run in the same turn */
};

/* Where an attempt is. */
typedef enum stage {
    STAGE_NONE,    /* there is none */
    STAGE_ASKING,  /* on the loop, until oa_uv_answer_store() */
    STAGE_POOL,    /* with the thread of the pool, or to go with it */
    STAGE_WRITING, /* on the loop, until oa_uv_answer_store() */
} stage;

/* How far its POST is. */
typedef enum progress {
    POST_WAITS,
    POST_BEGUN,
    POST_OVER, /* it has its answer, or none will come */
} progress;

/* What has one attempt after another. */
typedef struct lane {
    stage stage;
    bool is_pooled;      /* the thread has it, with what follows: */
    uint32_t store_call; /* that it waits for */
    oa_curl *curl;
    oa_attempt *attempt;
    progress progress;
} lane;

struct oa_uv {
    uv_loop_t *loop; /* borrowed */
    uv_timer_t timer;
    uv_work_t work;
    bool is_working; /* the work is queued, or with a thread */
    oa_dispatcher *core;
    oa_waker waker;        /* of the journal */
    oa_spooling *spooling; /* NULL: there is no journal */
    lane lanes[OA_MAX_CONCURRENT];
    size_t lane_count; /* 0 once it is closed */
    oa_uv_handlers handlers;
    oa_place place;
    bool waits_for_place;
    bool has_store;
    uint32_t store_call; /* the number of the last one */
    bool is_cancelled;   /* what is pooled is */
    bool came_back;      /* an attempt was cancelled on the loop */
    size_t awaited;      /* flushes and closes that are not over */
    void *close_ticket;
    bool needs_trust;
    bool is_busy; /* as the owner was told */
    bool is_collecting;
    bool has_drops; /* to tell, in the next turn */
    bool is_ending;
};

#define EACH_LANE(each, uv)                                                                        \
    for (lane * (each) = (uv)->lanes; (each) != (uv)->lanes + (uv)->lane_count; (each)++)

/* Whether an attempt is out. */
static bool any_out(const oa_uv *uv) {
    for (size_t i = 0; i < uv->lane_count; i++)
        if (uv->lanes[i].stage != STAGE_NONE)
            return true;
    return false;
}

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
    if (uv->waits_for_place && delay_ms < PLACE_WAIT_MS)
        delay_ms = PLACE_WAIT_MS;
    if (uv->has_drops)
        delay_ms = 0;
    if (delay_ms < least_ms)
        delay_ms = least_ms;
    const bool is_due = due_ms != UINT64_MAX || uv->has_drops;
    tell_busy(uv, is_due || any_out(uv));
    if (!is_due)
        uv_timer_stop(&uv->timer);
    else
        uv_timer_start(&uv->timer, on_timer, delay_ms, 0);
    if (uv->awaited > 0 || uv->has_drops)
        uv_ref((uv_handle_t *)&uv->timer);
    else
        uv_unref((uv_handle_t *)&uv->timer);
}

/* ---- On a thread of the pool ---- */

/* Render the body and begin to POST it; without memory it is over. */
static void begin(lane *each) {
    if (oa_attempt_render(each->attempt) != OA_OK) {
        each->progress = POST_OVER;
        return;
    }
    oa_curl_begin(each->curl, oa_clock_now(), oa_attempt_body(each->attempt),
                  oa_attempt_is_gzip(each->attempt));
    each->progress = POST_BEGUN;
}

/* End the POST, and give its answer in. Whoever has the attempt. */
static void finish(lane *each) {
    oa_answer answer;
    oa_curl_end(each->curl, oa_clock_now(), &answer);
    oa_attempt_answer(each->attempt, &answer);
    each->progress = POST_OVER;
}

static void on_work(uv_work_t *work) {
    oa_uv *uv = work->data;
    bool is_any_over = false;
    EACH_LANE (each, uv) {
        if (each->is_pooled && each->progress == POST_WAITS)
            begin(each);
        is_any_over |= each->is_pooled && each->progress == POST_OVER;
    }
    if (is_any_over || !oa_curl_run(uv->lanes[0].curl, oa_place_slice_ms()))
        return;
    EACH_LANE (each, uv)
        if (each->is_pooled && oa_curl_is_over(each->curl))
            finish(each);
}

/* ---- On the loop ---- */

static void close_handles(oa_uv *uv);
static void on_done(uv_work_t *work, int status);

/* Hand what is to be posted to the pool. */
static void work(oa_uv *uv) {
    bool is_any_new = false;
    EACH_LANE (each, uv)
        is_any_new |= each->stage == STAGE_POOL && !each->is_pooled;
    if (!is_any_new)
        return;
    if (uv->is_working) {
        oa_curl_recall(uv->lanes[0].curl);
        return;
    }
    EACH_LANE (each, uv)
        each->is_pooled = each->stage == STAGE_POOL;
    uv->is_working = true;
    uv->is_cancelled = false;
    uv->work.data = uv;
    oa_curl_rearm(uv->lanes[0].curl);
    uv_queue_work(uv->loop, &uv->work, on_work, on_done);
}

/* Give our place in the pool back, once nothing is on its way there. */
static void leave_place(oa_uv *uv) {
    EACH_LANE (each, uv)
        if (each->stage == STAGE_ASKING || each->stage == STAGE_POOL)
            return;
    oa_place_release(&uv->place);
}

/* Give an attempt back to the core. */
static void give_back(oa_uv *uv, lane *each) {
    oa_attempt *attempt = each->attempt;
    each->stage = STAGE_NONE;
    each->attempt = NULL;
    leave_place(uv);
    oa_dispatcher_give_back(uv->core, oa_clock_now(), attempt);
}

/* Begin a call to the store, if it may be called, and there is something to say. Returns whether
 * its answer is to come. */
static bool call_store(oa_uv *uv, lane *each, stage at) {
    each->stage = at;
    if (!uv->has_store || !uv->handlers.store_ready(uv->handlers.data) || uv->is_ending)
        return false;
    oa_uv_store_call call = {.id = ++uv->store_call, .writes = at == STAGE_WRITING};
    each->store_call = call.id;
    call.parts = call.writes ? oa_attempt_write(each->attempt, &call.count)
                             : oa_attempt_ask(each->attempt, &call.count);
    return call.count > 0 && uv->handlers.store(uv->handlers.data, &call);
}

/* Give an attempt back that is over, or have the store hear of it before. */
static void settle(oa_uv *uv, lane *each) {
    if (uv->is_cancelled) {
        give_back(uv, each);
        return;
    }
    /* A handler may destroy the host, and with it the attempt. */
    const bool waits = call_store(uv, each, STAGE_WRITING);
    if (each->attempt == NULL)
        return;
    leave_place(uv);
    if (!waits)
        give_back(uv, each);
}

static void on_done(uv_work_t *done, int status) {
    (void)status; /* UV_ECANCELED: no thread has begun it, or not this slice of it */
    oa_uv *uv = done->data;
    const bool was_ending = uv->is_ending;
    bool is_any_over = false;
    uv->is_working = false;
    EACH_LANE (each, uv) {
        each->is_pooled = false;
        if (each->stage != STAGE_POOL || !uv->is_cancelled)
            continue;
        if (each->progress == POST_BEGUN)
            finish(each);
        each->progress = POST_OVER;
    }
    EACH_LANE (each, uv) {
        if (each->stage != STAGE_POOL || each->progress != POST_OVER)
            continue;
        is_any_over = true;
        settle(uv, each);
    }
    uv->is_cancelled = false;
    if (was_ending)
        close_handles(uv);
    if (uv->is_ending)
        return;
    if (is_any_over)
        pump(uv); /* which may have more to go with the rest */
    if (!uv->is_ending)
        work(uv);
    if (is_any_over)
        arm(uv, 0);
}

/* Send what the store leaves of an attempt. Returns whether anything is left. */
static bool send_rest(oa_uv *uv, lane *each, const int32_t *answers, size_t count) {
    if (!oa_dispatcher_learn(uv->core, each->attempt, answers, count))
        return false;
    each->stage = STAGE_POOL;
    each->progress = POST_WAITS;
    return true;
}

static lane *free_lane(oa_uv *uv) {
    EACH_LANE (each, uv)
        if (each->stage == STAGE_NONE)
            return each;
    return NULL;
}

/* Take the next attempt, if there is one. Returns whether there may be another. */
static bool start_one(oa_uv *uv) {
    lane *each = free_lane(uv);
    if (each == NULL || !oa_dispatcher_has_attempt(uv->core, oa_clock_now()))
        return false;
    if (uv->needs_trust) {
        uv->needs_trust = false;
        uv->handlers.trust_needed(uv->handlers.data);
    }
    if (uv->is_ending)
        return false;
    uv->waits_for_place = !oa_place_acquire(&uv->place);
    if (uv->waits_for_place)
        return false;
    each->attempt = oa_dispatcher_take_attempt(uv->core, oa_clock_now());
    if (each->attempt == NULL)
        return false;
    if (call_store(uv, each, STAGE_ASKING) || each->attempt == NULL)
        return true;
    const bool is_left = send_rest(uv, each, NULL, 0);
    if (!is_left)
        give_back(uv, each); /* the timer goes on with the next one */
    return is_left;
}

static void start(oa_uv *uv) {
    uv->waits_for_place = false;
    while (!uv->is_ending && start_one(uv))
        continue;
    if (uv->is_ending)
        return;
    work(uv);
    if (!uv->waits_for_place)
        leave_place(uv); /* there is nothing to wait for any more */
}

/* End all attempts: those on the loop at once. */
static void cancel(oa_uv *uv) {
    EACH_LANE (each, uv) {
        if (each->stage == STAGE_NONE || each->is_pooled)
            continue;
        if (each->stage == STAGE_POOL && each->progress == POST_BEGUN)
            finish(each);
        uv->came_back = true;
        give_back(uv, each); /* and nothing waits for the store any more */
    }
    if (!uv->is_working)
        return;
    uv->is_cancelled = true;
    oa_curl_cancel(uv->lanes[0].curl);
    uv_cancel((uv_req_t *)&uv->work);
}

/* ---- Notices ---- */

static void free_lanes(oa_uv *uv) {
    EACH_LANE (each, uv)
        oa_curl_free(each->curl);
    uv->lane_count = 0;
}

static void end_wait(oa_uv *uv, const oa_flush_notice *flush) {
    uv->awaited--;
    if (flush->ticket != uv->close_ticket || uv->close_ticket == NULL)
        return;
    uv->close_ticket = NULL;
    free_lanes(uv);
    oa_spooling_end(uv->spooling);
}

static void tell(oa_uv *uv, const oa_notice *notice) {
    if (notice->kind == OA_NOTICE_CANCEL) {
        cancel(uv);
        return;
    }
    if (notice->kind == OA_NOTICE_FLUSH) {
        if (uv->spooling != NULL && oa_spooling_keep_flush(uv->spooling, &notice->about.flush))
            return;
        end_wait(uv, &notice->about.flush);
    }
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

/* Have the journal follow, and tell what it has to say. */
static void tell_spooling(oa_uv *uv) {
    oa_notice notice = {.kind = OA_NOTICE_LOG};
    oa_spooling_turn(uv->spooling);
    while (!uv->is_ending && oa_spooling_next_line(uv->spooling, &notice.about.log))
        uv->handlers.notice(uv->handlers.data, &notice);
    notice.kind = OA_NOTICE_FLUSH;
    while (!uv->is_ending && oa_spooling_next_flush(uv->spooling, &notice.about.flush)) {
        end_wait(uv, &notice.about.flush);
        uv->handlers.notice(uv->handlers.data, &notice);
    }
    oa_waker_keep_alive(&uv->waker, oa_spooling_keeps_flush(uv->spooling));
}

static void pump(oa_uv *uv) {
    oa_spooling_turn(uv->spooling);
    do { /* what was cancelled and is back at once ends what waits for it, before more is started */
        uv->came_back = false;
        oa_dispatcher_step(uv->core, oa_clock_now());
        collect(uv);
    } while (uv->came_back && !uv->is_ending);
    if (uv->spooling != NULL && !uv->is_ending)
        tell_spooling(uv);
    if (!uv->is_ending)
        start(uv);
}

/* ---- What the owner calls ---- */

static oa_status make_lanes(oa_uv *uv, uint32_t count, const oa_curl_config *config) {
    oa_status status = oa_curl_new(config, &uv->lanes[0].curl);
    if (status != OA_OK)
        return status;
    for (uv->lane_count = 1; uv->lane_count < count; uv->lane_count++) {
        if (uv->lane_count == OA_MAX_CONCURRENT)
            break;
        status = oa_curl_join(config, uv->lanes[0].curl, &uv->lanes[uv->lane_count].curl);
        if (status != OA_OK)
            return status;
    }
    return OA_OK;
}

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
        status = make_lanes(uv, config->max_concurrent, curl_config);
    if (status != OA_OK) {
        free_lanes(uv);
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

static void on_woken(void *data) {
    pump(data);
    arm(data, 0);
}

oa_status oa_uv_open_spool(oa_uv *uv, const oa_spooling_config *config,
                           char message[OA_SPOOLING_MESSAGE_BYTES]) {
    if (!oa_waker_open(&uv->waker, uv->loop, on_woken, uv))
        return OA_NOMEM;
    return oa_spooling_open(uv->core, config, oa_waker_wake, &uv->waker, &uv->spooling, message);
}

static void on_timer_closed(uv_handle_t *handle) {
    oa_uv *uv = handle->data;
    const oa_uv_handlers handlers = uv->handlers;
    oa_place_release(&uv->place);
    free_lanes(uv);
    oa_dispatcher_free(uv->core);
    free(uv);
    handlers.destroyed(handlers.data);
}

static void close_timer(void *data) {
    uv_close((uv_handle_t *)&((oa_uv *)data)->timer, on_timer_closed);
}

static void close_handles(oa_uv *uv) {
    oa_spooling_close(uv->spooling);
    uv->spooling = NULL;
    oa_waker_close(&uv->waker, close_timer, uv);
}

void oa_uv_destroy(oa_uv *uv) {
    uv->is_ending = true;
    cancel(uv);
    if (!uv->is_working) /* otherwise it comes back to on_done() */
        close_handles(uv);
}

oa_dispatcher *oa_uv_core(oa_uv *uv) { return uv->core; }

/* What follows when the core was given a decision, or an event. */
static void follow_up(oa_uv *uv, oa_wake wake) {
    oa_spooling_count(uv->spooling);
    if (wake == OA_WAKE_COLLECT)
        collect(uv);
    if (wake != OA_WAKE_NOT)
        arm(uv, 0);
}

oa_status oa_uv_record(oa_uv *uv, oa_decision *decision) {
    oa_wake wake = OA_WAKE_NOT;
    oa_spooling_begin(uv->spooling);
    const oa_status status = oa_dispatcher_record(uv->core, loop_now(uv), decision, &wake);
    follow_up(uv, wake);
    return status;
}

oa_status oa_uv_track(oa_uv *uv, oa_tracked *tracked) {
    oa_wake wake = OA_WAKE_NOT;
    oa_spooling_begin(uv->spooling);
    const oa_status status = oa_dispatcher_track(uv->core, loop_now(uv), tracked, &wake);
    follow_up(uv, wake);
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
    oa_spooling_abort(uv->spooling);
    return oa_dispatcher_abort(uv->core);
}

void oa_uv_stats(const oa_uv *uv, oa_stats *out) {
    oa_dispatcher_stats(uv->core, oa_clock_now(), out);
}

oa_spooling *oa_uv_spooling(const oa_uv *uv) { return uv->spooling; }

void oa_uv_purge(oa_uv *uv) {
    oa_dispatcher_purge(uv->core);
    arm(uv, 0);
}

void oa_uv_answer_store(oa_uv *uv, uint32_t id, const int32_t *answers, size_t count) {
    EACH_LANE (each, uv) {
        const bool is_asked = each->stage == STAGE_ASKING || each->stage == STAGE_WRITING;
        if (!is_asked || each->store_call != id || uv->is_ending)
            continue;
        if (each->stage == STAGE_WRITING)
            oa_attempt_confirm(each->attempt, answers, count);
        else if (send_rest(uv, each, answers, count)) {
            work(uv);
            return;
        }
        give_back(uv, each);
        pump(uv);
        arm(uv, 0);
        return;
    }
}

oa_status oa_uv_set_trust(oa_uv *uv, const oa_trust_source *source) {
    if (uv->lane_count == 0 || any_out(uv))
        return OA_CLOSED;
    oa_status status = OA_OK;
    EACH_LANE (each, uv)
        if (status == OA_OK)
            status = oa_curl_trust(each->curl, source);
    return status;
}
