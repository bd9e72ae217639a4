#include "support.h"

#include <sched.h>

#include "mem.h"

enum {
    ONE_DAY_MS = 24 * 3600 * 1000,
};

uint64_t draw(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t draw_below(uint64_t *state, uint64_t bound) { return draw(state) % bound; }

void *must(void *pointer) {
    if (pointer == NULL)
        abort();
    return pointer;
}

/* ---- memory ---- */

static _Atomic size_t allocations;
static _Atomic size_t failing;
static _Atomic size_t refusals;
static _Atomic bool denied;
/* The tests parse with cJSON, too, which allocates by the core's functions. */
static _Thread_local bool exempt;

static bool allow(size_t size) {
    (void)size;
    if (exempt)
        return true;
    const bool fails = atomic_fetch_add(&allocations, 1) + 1 == atomic_load(&failing);
    if (!fails && !atomic_load(&denied))
        return true;
    atomic_fetch_add(&refusals, 1);
    return false;
}

/* Before main(), and so before any thread. */
__attribute__((constructor)) static void set_gate(void) { oa_mem_set_gate(allow); }

void memory_fail(size_t nth) {
    atomic_store(&allocations, 0);
    atomic_store(&refusals, 0);
    atomic_store(&failing, nth);
}

void memory_deny(bool deny) { atomic_store(&denied, deny); }

void memory_exempt(bool is_exempt) { exempt = is_exempt; }

size_t memory_refusals(void) { return atomic_load(&refusals); }

/* ---- the dispatcher's callbacks ---- */

static int64_t wall_ms(void *data) { return atomic_load(&((world *)data)->wall_ms); }

static uint64_t monotonic_ms(void *data) { return atomic_load(&((world *)data)->monotonic_ms); }

static uint64_t chance(void *data) { return atomic_load(&((world *)data)->random); }

static void on_log(void *data, oa_log_level level, const char *topic, oa_str message) {
    world *w = data;
    w->lines = must(realloc(w->lines, (w->line_count + 1) * sizeof(*w->lines)));
    line *added = &w->lines[w->line_count++];
    added->level = level;
    snprintf(added->topic, sizeof(added->topic), "%s", topic);
    snprintf(added->text, sizeof(added->text), "%.*s", (int)message.len, message.data);
    w->in_callback++;
    if (w->on_log != NULL)
        w->on_log(w);
    w->in_callback--;
}

static char *text_of_drop(const oa_dropped *dropped) {
    char *text = text_new();
    if (dropped->user_id.data != NULL)
        text_add(text, "%.*s", (int)dropped->user_id.len, dropped->user_id.data);
    if (dropped->device_id.data != NULL)
        text_add(text, "@%.*s", (int)dropped->device_id.len, dropped->device_id.data);
    text_add(text, ":%.*s=", (int)dropped->flag_key.len, dropped->flag_key.data);
    if (dropped->variation_key.data == NULL)
        text_add(text, "null");
    else
        text_add(text, "%.*s", (int)dropped->variation_key.len, dropped->variation_key.data);
    text_add(text, "%s", dropped->enabled ? "" : "!");
    return must(strdup(text));
}

static void on_dropped(void *data, oa_drop_reason reason, int status_code, oa_str message,
                       const oa_dropped *decisions, size_t count) {
    world *w = data;
    w->drops = must(realloc(w->drops, (w->drop_count + count) * sizeof(*w->drops)));
    for (size_t i = 0; i < count; i++) {
        drop *added = &w->drops[w->drop_count++];
        added->reason = reason;
        added->status_code = status_code;
        added->time_ms = decisions[i].time_ms;
        snprintf(added->message, sizeof(added->message), "%.*s", (int)message.len, message.data);
        memcpy(added->insert_id, decisions[i].insert_id, sizeof(added->insert_id));
        added->text = text_of_drop(&decisions[i]);
    }
    if (count > w->largest_report)
        w->largest_report = count;
    w->in_callback++;
    if (w->on_drop != NULL)
        w->on_drop(w);
    w->in_callback--;
}

static void on_requested(void *data, const oa_attempt *request) {
    world *w = data;
    assert_int_equal(request->number, ++w->attempts);
    assert_true(request->decision_count > 0 && request->event_count > 0);
    assert_true(request->body_bytes > 0);
}

static void on_trust_needed(void *data) { ((world *)data)->trust_questions++; }

/* ---- the world ---- */

struct constant {
    char *flag;
    char *variation;
    bool enabled;
    uint32_t id;
};

world *world_new(void) {
    memory_deny(false);
    memory_fail(0);
    world *w = must(calloc(1, sizeof(*w)));
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_async_init(&w->loop, &w->host, NULL), 0);
    atomic_store(&w->wall_ms, INT64_C(1800014400000));
    atomic_store(&w->monotonic_ms, ONE_DAY_MS);
    w->server.base.ops = &server_ops;
    w->server.otherwise.status = 200;
    assert_int_equal(uv_mutex_init(&w->server.lock), 0);
    assert_int_equal(uv_cond_init(&w->server.changed), 0);
    w->config = (oa_config){
        .api_key = str("0123456789abcdef0123456789abcdef"),
        .server_url = str("http://server.test/2/httpapi"),
        .library = str("optimizely-amplitude/0.0.0"),
        .event_type = str("Experiment Viewed"),
        .property_prefix = str(""),
        .min_id_length = 1,
        .flush_queue_size = 200,
        .flush_max_retries = 12,
        .flush_interval_ms = 10000,
        .request_timeout_ms = 10000,
        .throttle_ms = 30000,
        .max_queue_bytes = 16 << 20,
        .max_body_bytes = 1000000,
        .dedupe_window_ms = ONE_DAY_MS,
        .dedupe_max_entries = 1000,
        .callbacks = {.data = w,
                      .log = on_log,
                      .dropped = on_dropped,
                      .requested = on_requested,
                      .trust_needed = on_trust_needed},
        .clock = {w, wall_ms, monotonic_ms, chance},
        .transport = &w->server.base,
    };
    return w;
}

oa_status world_try_start(world *w) {
    return oa_dispatcher_new(&w->loop, &w->config, &w->dispatcher);
}

world *world_start(world *w) {
    assert_int_equal(world_try_start(w), OA_OK);
    return w;
}

static void on_destroyed(void *data) { ((world *)data)->destroyed = true; }

static void free_history(world *w) {
    for (size_t i = 0; i < w->server.count; i++)
        cJSON_Delete(w->server.arrivals[i].body);
    for (size_t i = 0; i < w->drop_count; i++)
        free(w->drops[i].text);
    for (size_t i = 0; i < w->ticket_count; i++)
        free(w->tickets[i]);
    free(w->tickets);
    free(w->server.arrivals);
    free(w->drops);
    free(w->lines);
    free(w->constants);
}

void world_end(world *w) {
    memory_deny(false);
    memory_fail(0);
    if (w->dispatcher != NULL) {
        oa_dispatcher_destroy(w->dispatcher, on_destroyed, w);
        w->dispatcher = NULL;
        uv_close((uv_handle_t *)&w->host, NULL);
        uv_run(&w->loop, UV_RUN_DEFAULT);
        assert_true(w->destroyed);
    } else {
        uv_close((uv_handle_t *)&w->host, NULL);
        uv_run(&w->loop, UV_RUN_DEFAULT);
    }
    if (w->config.transport != NULL)
        assert_true(w->server.closed);
    for (size_t i = 0; i < w->ticket_count; i++)
        assert_true(w->tickets[i]->done);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    uv_mutex_destroy(&w->server.lock);
    uv_cond_destroy(&w->server.changed);
    for (size_t i = 0; i < w->constant_count; i++) {
        free(w->constants[i].flag);
        free(w->constants[i].variation);
    }
    free_history(w);
    free(w);
}

void forget_constants(world *w) {
    oa_dispatcher_forget_templates(w->dispatcher);
    for (size_t i = 0; i < w->constant_count; i++) {
        free(w->constants[i].flag);
        free(w->constants[i].variation);
    }
    w->constant_count = 0;
}

static bool same(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Find or make the template of a decision, as lib does it. */
static oa_status constant_of(world *w, const char *flag, const char *variation, bool enabled,
                             uint32_t *out) {
    for (size_t i = w->constant_count; i-- > 0;) {
        const struct constant *known = &w->constants[i];
        if (known->enabled == enabled && same(known->flag, flag) &&
            same(known->variation, variation)) {
            *out = known->id;
            return OA_OK;
        }
    }
    uint32_t id = 0;
    const oa_status status = oa_dispatcher_add_template(w->dispatcher, str(flag), str(variation),
                                                        str("rule"), enabled, &id);
    if (status != OA_OK)
        return status;
    w->constants = must(realloc(w->constants, (w->constant_count + 1) * sizeof(*w->constants)));
    w->constants[w->constant_count++] = (struct constant){
        must(strdup(flag)), variation == NULL ? NULL : must(strdup(variation)), enabled, id};
    *out = id;
    return OA_OK;
}

oa_status decide_with(world *w, const oa_decision *decision, const char *flag,
                      const char *variation, bool enabled) {
    oa_decision copy = *decision;
    oa_status status = constant_of(w, flag, variation, enabled, &copy.template_id);
    if (status != OA_OK)
        return status;
    status = oa_dispatcher_record(w->dispatcher, &copy);
    w->accepted +=
        status == OA_OK || status == OA_OPTED_OUT || status == OA_QUEUE_FULL || status == OA_CLOSED;
    w->repeats += status == OA_REPEAT;
    check_account(w);
    return status;
}

oa_status try_decide(world *w, const char *user, const char *device, const char *flag,
                     const char *variation, bool enabled) {
    const oa_decision decision = {.user_id = str(user), .device_id = str(device)};
    return decide_with(w, &decision, flag, variation, enabled);
}

void decide(world *w, const char *user, const char *flag, const char *variation) {
    assert_int_equal(try_decide(w, user, NULL, flag, variation, true), OA_OK);
}

oa_stats stats_of(const world *w) {
    oa_stats stats;
    oa_dispatcher_stats(w->dispatcher, &stats);
    return stats;
}

static uint64_t sum_of_drops(const oa_stats *stats) {
    uint64_t sum = 0;
    for (size_t i = 0; i < OA_DROP_COUNT; i++)
        sum += stats->dropped[i];
    return sum;
}

uint64_t dropped_of(const world *w) {
    const oa_stats stats = stats_of(w);
    return sum_of_drops(&stats);
}

void check_account(world *w) {
    const oa_dispatcher *d = w->dispatcher;
    const oa_stats stats = stats_of(w);
    const uint64_t dropped = sum_of_drops(&stats);
    assert_int_equal(stats.accepted, stats.delivered + dropped + stats.pending);
    assert_int_equal(stats.deduplicated, w->repeats);
    assert_true(stats.queue_bytes <= stats.queue_high_water_bytes);
    if (w->in_callback > 0) /* the rest is true between the steps of the machine */
        return;
    assert_int_equal(stats.accepted, w->accepted);
    assert_int_equal(dropped, w->drop_count);
    assert_int_equal(stats.requests_sent, w->attempts);
    const size_t in_job = d->job.batch == NULL ? 0 : d->job.batch->count;
    assert_int_equal(stats.pending,
                     d->queue.count + d->ready.record_count + d->park.record_count + in_job);
    if (d->queue.count == 0)
        assert_int_equal(d->queue_events, 0);
    if (stats.pending == 0)
        assert_int_equal(stats.queue_bytes, 0);
    if (!d->in_flight && w->config.transport != NULL)
        assert_int_equal(stats.requests_sent, w->server.count);
}

void turn(world *w) {
    uv_run(&w->loop, UV_RUN_NOWAIT);
    check_account(w);
    sched_yield();
}

void turn_guard(uint64_t since, const char *condition, const char *file, int line_number) {
    if (uv_hrtime() - since < PATIENCE_SECONDS * UINT64_C(1000000000))
        return;
    print_error("never came true: %s\n", condition);
    _fail(file, line_number);
}

static bool is_idle(world *w) {
    const oa_dispatcher *d = w->dispatcher;
    if (uv_is_active((const uv_handle_t *)&d->timer) && uv_timer_get_due_in(&d->timer) == 0)
        return false;
    return !d->in_flight || (server_holds(w) && !d->aborting);
}

void settle(world *w) {
    check_account(w);
    TURN_UNTIL(w, is_idle(w));
}

void advance(world *w, uint64_t ms) {
    atomic_fetch_add(&w->wall_ms, (int64_t)ms);
    atomic_fetch_add(&w->monotonic_ms, ms);
    oa_deliver_step(w->dispatcher);
    settle(w);
}

/* ---- flushes ---- */

static void on_flushed(void *data, const oa_flush_report *report) {
    ticket *t = data;
    assert_false(t->done);
    t->done = true;
    t->destroyed = report == NULL;
    if (report != NULL)
        t->report = *report;
    t->world->in_callback++;
    if (t->then != NULL)
        t->then(t);
    t->world->in_callback--;
    if (report == NULL)
        return;
    /* A decision that is undelivered at the call is in exactly one of the three. */
    assert_int_equal(report->delivered + report->dropped + report->pending, t->undelivered);
}

static ticket *wait_with(world *w, uint64_t timeout_ms, bool abort_at_deadline, bool closing) {
    ticket *t = must(calloc(1, sizeof(*t)));
    t->world = w;
    t->undelivered = stats_of(w).pending;
    const oa_status status =
        closing ? oa_dispatcher_close(w->dispatcher, timeout_ms, on_flushed, t)
                : oa_dispatcher_flush(w->dispatcher, timeout_ms, abort_at_deadline, on_flushed, t);
    if (status != OA_OK) {
        assert_int_equal(status, OA_NOMEM);
        free(t);
        return NULL;
    }
    assert_false(t->done); /* never from inside the call */
    w->tickets = must(realloc(w->tickets, (w->ticket_count + 1) * sizeof(*w->tickets)));
    w->tickets[w->ticket_count++] = t;
    return t;
}

ticket *try_flush(world *w, uint64_t timeout_ms, bool abort_at_deadline) {
    return wait_with(w, timeout_ms, abort_at_deadline, false);
}

ticket *try_close(world *w, uint64_t timeout_ms) { return wait_with(w, timeout_ms, false, true); }

ticket *flush(world *w, uint64_t timeout_ms) {
    ticket *t = try_flush(w, timeout_ms, false);
    assert_non_null(t);
    return t;
}

ticket *flush_abort(world *w, uint64_t timeout_ms) {
    ticket *t = try_flush(w, timeout_ms, true);
    assert_non_null(t);
    return t;
}

ticket *close_world(world *w, uint64_t timeout_ms) {
    ticket *t = try_close(w, timeout_ms);
    assert_non_null(t);
    return t;
}

void flush_now(world *w, uint64_t delivered, uint64_t dropped, uint64_t pending) {
    const ticket *t = flush(w, 10000);
    settle(w);
    EXPECT_REPORT(t, delivered, dropped, pending);
}

bool was_logged(const world *w, const char *topic) {
    for (size_t i = 0; i < w->line_count; i++)
        if (strcmp(w->lines[i].topic, topic) == 0)
            return true;
    return false;
}
