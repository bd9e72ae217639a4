#include "support.h"

#include <sched.h>

#include <zlib.h>

#include "mem.h"
#include "response.h"

enum {
    ONE_DAY_MS = 24 * 3600 * 1000,
    PATIENCE_SECONDS = 30, /* only a test that fails waits for them */
    TEXT_BYTES = 256 * 1024,
    TEXTS = 4,
};

uint64_t draw(uint64_t *state) {
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t draw_below(uint64_t *state, uint64_t bound) { return draw(state) % bound; }

static void *must(void *pointer) {
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

size_t memory_refusals(void) { return atomic_load(&refusals); }

/* ---- reading requests ---- */

size_t arrival_count(const arrival *request) {
    return (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(request->body, "events"));
}

const cJSON *arrival_event(const arrival *request, size_t index) {
    return cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(request->body, "events"),
                              (int)index);
}

const char *text_of(const cJSON *object, const char *name) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text == NULL ? "" : text;
}

bool is_identify(const cJSON *event) {
    return strcmp(text_of(event, "event_type"), "$identify") == 0;
}

/* The next of a few buffers that take turns. */
static char *next_text(void) {
    static char texts[TEXTS][TEXT_BYTES];
    static size_t at;
    char *text = texts[at++ % TEXTS];
    text[0] = '\0';
    return text;
}

__attribute__((format(printf, 2, 3))) static void add_text(char *text, const char *format, ...) {
    const size_t len = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + len, TEXT_BYTES - len, format, arguments);
    va_end(arguments);
}

static void add_identity(char *text, const char *user, const char *device) {
    add_text(text, "%s", user);
    if (device[0] != '\0')
        add_text(text, "@%s", device);
}

static void add_event_text(char *text, const cJSON *event) {
    if (text[0] != '\0')
        add_text(text, " ");
    add_identity(text, text_of(event, "user_id"), text_of(event, "device_id"));
    if (is_identify(event)) {
        const cJSON *set = cJSON_GetObjectItemCaseSensitive(
            cJSON_GetObjectItemCaseSensitive(event, "user_properties"), "$set");
        add_text(text, "{");
        for (const cJSON *item = set == NULL ? NULL : set->child; item != NULL; item = item->next)
            add_text(text, "%s=%s%s", item->string, cJSON_GetStringValue(item),
                     item->next == NULL ? "" : ",");
        add_text(text, "}");
        return;
    }
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(event, "event_properties");
    const char *variation =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(properties, "variation_key"));
    add_text(text, ":%s=%s%s", text_of(properties, "flag_key"),
             variation == NULL ? "null" : variation,
             cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(properties, "enabled")) ? "" : "!");
}

const char *arrival_text(const arrival *request) {
    char *text = next_text();
    const cJSON *events = cJSON_GetObjectItemCaseSensitive(request->body, "events");
    for (const cJSON *event = events == NULL ? NULL : events->child; event != NULL;
         event = event->next)
        add_event_text(text, event);
    return text;
}

const char *delivered_text(const world *w) {
    char *text = next_text();
    for (size_t i = 0; i < w->server.count; i++) {
        const cJSON *events =
            cJSON_GetObjectItemCaseSensitive(w->server.arrivals[i].body, "events");
        if (w->server.arrivals[i].status != 200 || events == NULL)
            continue;
        for (const cJSON *event = events->child; event != NULL; event = event->next)
            if (!is_identify(event))
                add_event_text(text, event);
    }
    return text;
}

/* ---- the server ---- */

static bool is_utf8(const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        const unsigned char byte = (unsigned char)text[i];
        const size_t more = byte < 0x80             ? 0
                            : (byte & 0xE0) == 0xC0 ? 1
                            : (byte & 0xF0) == 0xE0 ? 2
                            : (byte & 0xF8) == 0xF0 ? 3
                                                    : 9;
        if (byte < 0x20 || byte == 0xC0 || byte == 0xC1 || more == 9 || more >= len - i)
            return false;
        for (size_t j = 1; j <= more; j++)
            if ((text[i + j] & 0xC0) != 0x80)
                return false;
        i += more + 1;
    }
    return true;
}

static cJSON *parse(const char *text, size_t len) {
    /* The core bounds what one answer may cost, by allocation; reading one starts the count anew. */
    oa_batch none;
    oa_reply reply;
    memset(&none, 0, sizeof(none));
    oa_response_read(400, str("{}"), &none, 0, NULL, 0, &reply);
    const char *end = NULL;
    cJSON *body = is_utf8(text, len) ? cJSON_ParseWithLengthOpts(text, len, &end, false) : NULL;
    if (body != NULL && end == text + len)
        return body;
    cJSON_Delete(body);
    return NULL;
}

static char *inflate_body(oa_str body, size_t *len) {
    size_t cap = 1 << 20;
    char *text = must(malloc(cap));
    z_stream zip;
    memset(&zip, 0, sizeof(zip));
    if (inflateInit2(&zip, 15 + 16) != Z_OK)
        abort();
    zip.next_in = (Bytef *)(uintptr_t)body.data;
    zip.avail_in = (uInt)body.len;
    int code = Z_OK;
    while (code == Z_OK) {
        if (zip.total_out == cap)
            text = must(realloc(text, cap *= 2));
        zip.next_out = (Bytef *)text + zip.total_out;
        zip.avail_out = (uInt)(cap - zip.total_out);
        code = inflate(&zip, Z_NO_FLUSH);
    }
    *len = code == Z_STREAM_END && zip.avail_in == 0 ? zip.total_out : 0;
    inflateEnd(&zip);
    return text;
}

static arrival *receive(server *s, const oa_request *request) {
    if (s->count == s->cap) {
        s->cap = s->cap > 0 ? s->cap * 2 : 16;
        s->arrivals = must(realloc(s->arrivals, s->cap * sizeof(*s->arrivals)));
    }
    arrival *seen = &s->arrivals[s->count++];
    memset(seen, 0, sizeof(*seen));
    seen->bytes = seen->body_bytes = request->body.len;
    seen->gzip = request->gzip;
    seen->fresh = request->fresh_connection;
    exempt = true;
    if (request->gzip) {
        char *text = inflate_body(request->body, &seen->body_bytes);
        seen->body = parse(text, seen->body_bytes);
        free(text);
    } else {
        seen->body = parse(request->body.data, request->body.len);
    }
    exempt = false;
    return seen;
}

static answer choose(server *s, const arrival *seen) {
    answer chosen = s->otherwise;
    if (s->script_at < s->script_count)
        chosen = s->script[s->script_at++];
    else if (s->respond != NULL)
        s->respond(s->data, seen, &chosen);
    if (chosen.body == NULL && chosen.status == 200)
        chosen.body = "{\"code\":200,\"events_ingested\":50}";
    if (chosen.body == NULL && chosen.status == 400)
        chosen.body = "{\"code\":400,\"error\":\"Invalid event JSON\"}";
    if (chosen.body == NULL)
        chosen.body = "";
    return chosen;
}

static void perform(oa_transport *transport, const oa_request *request, oa_exchange *out) {
    server *s = (server *)transport;
    arrival *seen = receive(s, request);
    const answer chosen = choose(s, seen);
    uv_mutex_lock(&s->lock);
    s->holds = chosen.silent;
    while (chosen.silent && !s->woken && !s->speaking)
        if (uv_cond_timedwait(&s->changed, &s->lock, PATIENCE_SECONDS * UINT64_C(2000000000)) != 0)
            break; /* the test has failed; let the process end */
    s->holds = false;
    s->speaking = false;
    seen->aborted = out->aborted = s->woken;
    uv_mutex_unlock(&s->lock);
    if (out->aborted)
        return;
    seen->status = out->status = chosen.status;
    snprintf(out->error, sizeof(out->error), "server.test: nobody is there");
    if (chosen.retry_after != NULL)
        snprintf(out->retry_after, sizeof(out->retry_after), "%s", chosen.retry_after);
    oa_buf_append(&out->body, chosen.body, strlen(chosen.body));
    if (oa_buf_status(&out->body) != OA_OK) /* what libcurl's transport makes of it */
        seen->status = out->status = 0;
}

static void wake(oa_transport *transport) {
    server *s = (server *)transport;
    uv_mutex_lock(&s->lock);
    s->woken = true;
    s->wakes++;
    uv_cond_signal(&s->changed);
    uv_mutex_unlock(&s->lock);
}

static void arm(oa_transport *transport) {
    server *s = (server *)transport;
    uv_mutex_lock(&s->lock);
    s->woken = false;
    s->arms++;
    uv_mutex_unlock(&s->lock);
}

static oa_status trust(oa_transport *transport, oa_str pem) {
    server *s = (server *)transport;
    snprintf(s->trust, sizeof(s->trust), "%.*s", (int)pem.len, pem.data);
    return OA_OK;
}

static void close_transport(oa_transport *transport) {
    server *s = (server *)transport;
    if (s->closed) /* twice */
        abort();
    s->closed = true;
}

static const oa_transport_ops OPS = {perform, wake, arm, trust, close_transport};

static bool server_holds(world *w) {
    uv_mutex_lock(&w->server.lock);
    const bool holds = w->server.holds && !w->server.woken && !w->server.speaking;
    uv_mutex_unlock(&w->server.lock);
    return holds;
}

void server_plan(world *w, answer next) {
    assert_true(w->server.script_count < sizeof(w->server.script) / sizeof(answer));
    w->server.script[w->server.script_count++] = next;
}

void server_speak(world *w) {
    uv_mutex_lock(&w->server.lock);
    w->server.speaking = true;
    uv_cond_signal(&w->server.changed);
    uv_mutex_unlock(&w->server.lock);
}

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
    char *text = next_text();
    if (dropped->user_id.data != NULL)
        add_text(text, "%.*s", (int)dropped->user_id.len, dropped->user_id.data);
    if (dropped->device_id.data != NULL)
        add_text(text, "@%.*s", (int)dropped->device_id.len, dropped->device_id.data);
    add_text(text, ":%.*s=", (int)dropped->flag_key.len, dropped->flag_key.data);
    if (dropped->variation_key.data == NULL)
        add_text(text, "null");
    else
        add_text(text, "%.*s", (int)dropped->variation_key.len, dropped->variation_key.data);
    add_text(text, "%s", dropped->enabled ? "" : "!");
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
    w->server.base.ops = &OPS;
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
