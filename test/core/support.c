#include "support.h"

#include <inttypes.h>

#include "support_gzip.h"

#include "mem.h"
#include "support_spool.h"
#include "support_store.h"

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

/* The room of an array of `count` items: the least power of two that holds them. */
static size_t room_of(size_t count) {
    size_t room = 1;
    while (room < count)
        room *= 2;
    return count == 0 ? 0 : room;
}

/* Return `items` with room for `added` more. */
static void *grown(void *items, size_t count, size_t added, size_t size) {
    const size_t room = room_of(count + added);
    return room == room_of(count) ? items : must(realloc(items, room * size));
}

/* ---- memory ---- */

/* The threads of a host's pool allocate, too. */
static _Atomic size_t allocations;
static _Atomic size_t failing;
static _Atomic size_t refusals;
static _Atomic bool denied;

static bool allow(size_t size) {
    (void)size;
    const bool fails = ++allocations == failing;
    if (!fails && !denied)
        return true;
    refusals++;
    return false;
}

__attribute__((constructor)) static void set_gate(void) { oa_mem_set_gate(allow); }

void memory_fail(size_t nth) {
    allocations = 0;
    refusals = 0;
    failing = nth;
}

void memory_deny(bool deny) { denied = deny; }

size_t memory_refusals(void) { return refusals; }

/* ---- chance ---- */

/* Undo x ^= x >> shift. */
static uint64_t unshift(uint64_t x, int shift) {
    uint64_t y = x;
    for (int known = shift; known < 64; known += shift)
        y = x ^ (y >> shift);
    return y;
}

/* The seed for which oa_chance_next() gives `wanted`: splitmix64 backwards. */
static uint64_t seed_for(uint64_t wanted) {
    uint64_t x = unshift(wanted, 31);
    x *= UINT64_C(0x319642b2d24d8ec3); /* the inverses of its two factors, modulo 2^64 */
    x = unshift(x, 27);
    x *= UINT64_C(0x96de1b173f119089);
    x = unshift(x, 30);
    return x - UINT64_C(0x9e3779b97f4a7c15);
}

/* ---- notices ---- */

static void tell(world *w, void (*handler)(world *w)) {
    w->is_telling = true;
    if (handler != NULL)
        handler(w);
    w->is_telling = false;
}

static void note_log(world *w, const oa_log_notice *log) {
    w->lines = grown(w->lines, w->line_count, 1, sizeof(*w->lines));
    line *added = &w->lines[w->line_count++];
    added->level = log->level;
    snprintf(added->topic, sizeof(added->topic), "%s", log->topic);
    snprintf(added->text, sizeof(added->text), "%.*s", (int)log->message.len, log->message.data);
    tell(w, w->on_log);
}

/* A tracked event as the decision that it looks like. */
static char *text_of_tracked(const oa_dropped *dropped, char insert_id[33]) {
    char *json = must(malloc(dropped->event.len + 3));
    snprintf(json, dropped->event.len + 3, "{%.*s}", (int)dropped->event.len, dropped->event.data);
    cJSON *event = cJSON_Parse(json);
    free(json);
    assert_non_null(event);
    const cJSON *properties = cJSON_GetObjectItem(event, "event_properties");
    char *text = text_new();
    text_add(text, "%.*s", (int)dropped->user_id.len, dropped->user_id.data);
    if (dropped->device_id.data != NULL)
        text_add(text, "@%.*s", (int)dropped->device_id.len, dropped->device_id.data);
    text_add(text, "+%s=%s", text_of(properties, "flag_key"), text_of(properties, "variation_key"));
    snprintf(insert_id, 33, "%s", text_of(event, "insert_id"));
    cJSON_Delete(event);
    return must(strdup(text));
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

static void note_drop(world *w, const oa_drop_notice *notice) {
    w->drops = grown(w->drops, w->drop_count, notice->count, sizeof(*w->drops));
    for (size_t i = 0; i < notice->count; i++) {
        const oa_dropped *decision = &notice->decisions[i];
        drop *added = &w->drops[w->drop_count++];
        added->reason = notice->reason;
        added->status_code = notice->status_code;
        added->time_ms = decision->time_ms;
        snprintf(added->message, sizeof(added->message), "%.*s", (int)notice->message.len,
                 notice->message.data);
        memcpy(added->insert_id, decision->insert_id, sizeof(added->insert_id));
        added->text = decision->event.data == NULL ? text_of_drop(decision)
                                                   : text_of_tracked(decision, added->insert_id);
    }
    if (notice->count > w->largest_report)
        w->largest_report = notice->count;
    tell(w, w->on_drop);
}

static void note_attempt(world *w, const oa_attempt_notice *attempt) {
    assert_int_equal(attempt->number, ++w->attempts);
    assert_true(attempt->decision_count > 0 && attempt->event_count > 0);
    assert_true(attempt->body_bytes > 0);
}

static void note_flush(const oa_flush_notice *flush) {
    ticket *t = flush->ticket;
    assert_false(t->done);
    t->done = true;
    t->report = flush->report;
    /* A decision that is undelivered at the call is in exactly one of the three, or it was none. */
    const uint64_t reported = t->report.delivered + t->report.dropped + t->report.pending;
    if (t->world->disk != NULL) /* and what was found meanwhile */
        assert_in_range(reported, t->undelivered, t->undelivered + stats_of(t->world).spool.found);
    else if (t->world->config.store)
        assert_in_range(reported, 0, t->undelivered);
    else
        assert_int_equal(reported, t->undelivered);
    t->world->is_telling = true;
    if (t->then != NULL)
        t->then(t);
    t->world->is_telling = false;
}

static int32_t answers[OA_BATCH_MAX_RECORDS];

/* Compare the attempt with the store, if there is one. Returns whether anything is to be sent. */
static bool compare(world *w) {
    size_t count = 0;
    size_t answered = 0;
    const oa_store_part *parts =
        w->store == NULL || w->store->is_down ? NULL : oa_attempt_ask(w->attempt, &count);
    if (parts != NULL)
        answered = store_ask(w->store, parts, count, answers);
    return oa_dispatcher_learn(w->dispatcher, w->attempt, answers, answered);
}

static void write_down(world *w) {
    size_t count = 0;
    const oa_store_part *parts = w->store == NULL ? NULL : oa_attempt_write(w->attempt, &count);
    if (parts != NULL && count > 0)
        oa_attempt_confirm(w->attempt, answers, store_write(w->store, parts, count, answers));
}

static void end_attempt(world *w, const oa_answer *given) {
    oa_attempt *attempt = w->attempt;
    if (given != NULL)
        oa_attempt_answer(attempt, given);
    write_down(w);
    w->attempt = NULL;
    if (!w->runs_free)
        w->dispatcher->chance.state = seed_for(w->random);
    oa_dispatcher_give_back(w->dispatcher, w->now, attempt);
}

/* End what is out. */
static void cancel(world *w) {
    assert_true(w->held_count > 0); /* the core asks for it only while one is out */
    w->server.cancels++;
    for (size_t i = 0; i < w->held_count; i++) {
        arrival *seen = &w->server.arrivals[w->held[i].arrival];
        seen->aborted = seen->answered = true;
        w->attempt = w->held[i].attempt;
        const oa_answer none = {.aborted = true,
                                .sent_bytes = oa_attempt_body(w->attempt).len,
                                .duration_ms = w->now.monotonic_ms - seen->at.monotonic_ms};
        end_attempt(w, &none);
        free(w->held[i].body);
    }
    w->held_count = 0;
}

static void collect(world *w) {
    if (w->is_telling)
        return;
    w->untold += w->dispatcher->notices.untold;
    oa_notice notice;
    while (oa_dispatcher_next_notice(w->dispatcher, &notice)) {
        if (notice.kind == OA_NOTICE_CANCEL)
            cancel(w);
        else if (notice.kind == OA_NOTICE_ATTEMPT)
            note_attempt(w, &notice.about.attempt);
        else if (notice.kind == OA_NOTICE_LOG)
            note_log(w, &notice.about.log);
        else if (notice.kind == OA_NOTICE_DROP)
            note_drop(w, &notice.about.drop);
        else
            note_flush(&notice.about.flush);
    }
}

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
    w->now = (oa_now){INT64_C(1800014400000), ONE_DAY_MS};
    w->server.otherwise.status = 200;
    w->config = (oa_config){
        .api_key = str("0123456789abcdef0123456789abcdef"),
        .library = str("optimizely-amplitude/0.0.0"),
        .event_type = str("Experiment Viewed"),
        .sends_identify = true,
        .property_prefix = str(""),
        .report_drops = true,
        .compression = true,
        .min_id_length = 1,
        .flush_queue_size = 200,
        .flush_max_retries = 12,
        .flush_interval_ms = 10000,
        .throttle_ms = 30000,
        .max_age_ms = ONE_DAY_MS,
        .server_name = str("http://server.test/2/httpapi"),
        .max_queue_bytes = 16 << 20,
        .max_body_bytes = 1000000,
        .dedupe_window_ms = ONE_DAY_MS,
        .dedupe_refresh_ms = ONE_DAY_MS,
        .dedupe_max_entries = 1000,
    };
    return w;
}

oa_status world_try_start(world *w) {
    w->config.seed = w->runs_free ? w->random : seed_for(w->random);
    w->config.spool = w->disk != NULL;
    const oa_status status = oa_dispatcher_new(&w->config, &w->dispatcher);
    if (status == OA_OK && w->disk != NULL)
        disk_begin(w->disk, w);
    /* Its server is known to take gzip; tests of coding.c begin without. */
    if (status == OA_OK && w->config.compression)
        w->dispatcher->coding = OA_CODING_PROVEN;
    return status;
}

world *world_start(world *w) {
    assert_int_equal(world_try_start(w), OA_OK);
    return w;
}

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
    for (size_t i = 0; i < w->held_count; i++) {
        w->attempt = w->held[i].attempt;
        end_attempt(w, NULL);
        free(w->held[i].body);
    }
    oa_dispatcher_free(w->dispatcher);
    if (w->disk != NULL)
        disk_end(w->disk);
    for (size_t i = 0; i < w->constant_count; i++) {
        free(w->constants[i].flag);
        free(w->constants[i].variation);
    }
    free_history(w);
    free(w);
}

void forget_constants(world *w) {
    oa_dispatcher_forget_variants(w->dispatcher);
    for (size_t i = 0; i < w->constant_count; i++) {
        free(w->constants[i].flag);
        free(w->constants[i].variation);
    }
    w->constant_count = 0;
}

static bool same(const char *a, const char *b) {
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Find or make the variant of a decision, as lib does it. */
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
    const oa_status status = oa_dispatcher_add_variant(w->dispatcher, str(flag), str(variation),
                                                       str("rule"), enabled, &id);
    if (status != OA_OK)
        return status;
    w->constants = must(realloc(w->constants, (w->constant_count + 1) * sizeof(*w->constants)));
    w->constants[w->constant_count++] = (struct constant){
        must(strdup(flag)), variation == NULL ? NULL : must(strdup(variation)), enabled, id};
    *out = id;
    return OA_OK;
}

oa_lane *lane_of(const world *w, const char *user) {
    const oa_dispatcher *d = w->dispatcher;
    return oa_lanes_find(&d->lanes, oa_hash_identity(&d->hash_key, str(user), str(NULL)));
}

oa_status record(world *w, oa_decision *decision) {
    oa_wake wake = OA_WAKE_NOT;
    if (w->disk != NULL)
        disk_serve(w->disk, w);
    const uint64_t due_before = oa_dispatcher_next_due(w->dispatcher, w->now);
    const oa_status status = oa_dispatcher_record(w->dispatcher, w->now, decision, &wake);
    if (w->disk != NULL)
        disk_save(w);
    /* A host that sleeps is told when it would sleep too long; an attempt that comes back wakes
     * it. */
    if (wake == OA_WAKE_NOT && w->held_count == 0)
        assert_true(oa_dispatcher_next_due(w->dispatcher, w->now) >= due_before);
    if (wake == OA_WAKE_COLLECT)
        collect(w);
    w->accepted +=
        status == OA_OK || status == OA_OPTED_OUT || status == OA_QUEUE_FULL || status == OA_CLOSED;
    w->repeats += status == OA_REPEAT;
    return status;
}

static void account_for_tracked(world *w, oa_status status, oa_wake wake) {
    if (wake == OA_WAKE_COLLECT)
        collect(w);
    w->accepted +=
        status == OA_OK || status == OA_OPTED_OUT || status == OA_QUEUE_FULL || status == OA_CLOSED;
    check_account(w);
}

oa_status try_track(world *w, const char *user, const char *device, const char *flag,
                    const char *variation) {
    char event[512];
    const uint64_t number = ++w->tracked;
    snprintf(event, sizeof(event),
             "\"event_type\":\"Purchase\",\"time\":%" PRId64 ",\"insert_id\":\"%016" PRIx64
             "%016" PRIx64 "\",\"event_properties\":"
             "{\"flag_key\":\"%s\",\"variation_key\":\"%s\",\"enabled\":true}",
             w->now.wall_ms, number * 0x9E3779B97F4A7C15u, number, flag, variation);
    oa_tracked tracked = {.user_id = str(user), .device_id = str(device), .event = str(event)};
    oa_wake wake = OA_WAKE_NOT;
    const uint64_t due_before = oa_dispatcher_next_due(w->dispatcher, w->now);
    const oa_status status = oa_dispatcher_track(w->dispatcher, w->now, &tracked, &wake);
    if (w->disk != NULL)
        disk_save(w);
    if (wake == OA_WAKE_NOT && w->held_count == 0)
        assert_true(oa_dispatcher_next_due(w->dispatcher, w->now) >= due_before);
    account_for_tracked(w, status, wake);
    return status;
}

oa_status try_rendered(world *w, const char *user, const char *flag, const char *variation) {
    char identify[256];
    char event[256];
    snprintf(identify, sizeof(identify),
             "\"event_type\":\"$identify\",\"user_properties\":{\"$set\":{\"%s\":\"%s\"}}", flag,
             variation);
    snprintf(event, sizeof(event),
             "\"event_type\":\"Experiment Viewed\",\"event_properties\":"
             "{\"flag_key\":\"%s\",\"variation_key\":\"%s\",\"enabled\":true}",
             flag, variation);
    const oa_decision made = {
        .user_id = str(user),
        .user_properties = str(identify),
        .event_properties = str(event),
        .rendered = true,
    };
    return decide_with(w, &made, flag, variation, true);
}

oa_status decide_fast(world *w, const oa_decision *decision, const char *flag,
                      const char *variation, bool enabled) {
    oa_decision copy = *decision;
    const oa_status status = constant_of(w, flag, variation, enabled, &copy.variant_id);
    return status == OA_OK ? record(w, &copy) : status;
}

oa_status decide_with(world *w, const oa_decision *decision, const char *flag,
                      const char *variation, bool enabled) {
    const oa_status status = decide_fast(w, decision, flag, variation, enabled);
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
    oa_dispatcher_stats(w->dispatcher, w->now, &stats);
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

/* Where the decisions of a few users are; of others, nothing is checked. */
enum { ORDER_USERS = 256, ORDER_MOST = 2000 };

typedef struct order {
    const oa_dispatcher *d;
    const oa_lane *lane;
    size_t count;
    oa_hash users[ORDER_USERS];
    uint64_t last[ORDER_USERS];
} order;

/* One more record, in the order in which they would be sent. */
static void follow(order *o, const oa_record *record, bool may_be_parked) {
    if (!may_be_parked)
        assert_null(oa_park_find(&o->lane->park, record));
    const oa_hash user = oa_record_identity(record, &o->d->hash_key);
    size_t at = 0;
    while (at < o->count && o->users[at].low != user.low)
        at++;
    if (at == ORDER_USERS)
        return;
    if (at < o->count)
        assert_true(record->seq > o->last[at]);
    o->count += at == o->count;
    o->users[at] = user;
    o->last[at] = record->seq;
}

static void check_order(const oa_dispatcher *d) {
    order o = {.d = d};
    if (d->stats.pending > ORDER_MOST)
        return;
    OA_EACH_LANE (lane, &d->lanes) {
        o.lane = lane;
        const oa_batch *out = lane->attempt.batch;
        for (size_t i = 0; out != NULL && i < out->count; i++)
            follow(&o, out->records[i], false);
        for (const oa_batch *batch = lane->ready.first; batch != NULL; batch = batch->next)
            for (size_t i = 0; i < batch->count; i++)
                follow(&o, batch->records[i], false);
        for (const oa_record *record = oa_queue_peek(&lane->queue); record != NULL;
             record = oa_queue_next(record))
            follow(&o, record, true);
    }
}

void check_account(world *w) {
    const oa_dispatcher *d = w->dispatcher;
    check_order(d);
    const oa_stats stats = stats_of(w);
    const uint64_t dropped = sum_of_drops(&stats);
    assert_int_equal(stats.accepted, stats.delivered + dropped + stats.pending);
    assert_int_equal(stats.deduplicated, w->repeats + stats.late_repeats);
    assert_true(stats.queue_bytes <= stats.queue_high_water_bytes);
    assert_int_equal(stats.accepted + stats.late_repeats, w->accepted + stats.spool.found);
    const oa_counts *tracked = &stats.tracked;
    uint64_t tracked_dropped = 0;
    for (int i = 0; i < OA_DROP_COUNT; i++) {
        assert_true(tracked->dropped[i] <= stats.dropped[i]);
        tracked_dropped += tracked->dropped[i];
    }
    assert_int_equal(tracked->accepted, tracked->delivered + tracked_dropped + tracked->pending);
    assert_true(tracked->accepted <= w->tracked + stats.spool.found &&
                tracked->delivered <= stats.delivered && tracked->pending <= stats.pending);
    size_t pending = 0;
    OA_EACH_LANE (lane, &d->lanes) {
        pending += lane->attempt.batch == NULL ? 0 : lane->attempt.batch->count;
        pending += lane->queue.count + lane->ready.record_count + lane->park.record_count;
        if (lane->queue.count == 0)
            assert_int_equal(lane->queue_events, 0);
    }
    if (d->phase != OA_PHASE_CLOSED || d->spool == NULL) /* or the rest is for the next process */
        assert_int_equal(stats.pending, pending + d->disk_count);
}

/* What is true once all notices are collected. */
static void check_told(const world *w) {
    const oa_stats stats = stats_of(w);
    if (w->config.report_drops)
        assert_int_equal(sum_of_drops(&stats), w->drop_count + w->untold);
    if (stats.pending == 0)
        assert_int_equal(stats.queue_bytes, 0);
    assert_int_equal(stats.requests_sent, w->attempts);
    assert_int_equal(stats.requests_sent + w->held_count, w->server.count);
}

/* Have the attempt rendered and received; answer it, unless the server is silent. */
static void perform(world *w) {
    if (!compare(w) || oa_attempt_render(w->attempt) != OA_OK) {
        end_attempt(w, NULL);
        return;
    }
    const oa_buf *text = &w->attempt->body.text;
    const oa_str plain = {text->data, text->len};
    if (oa_attempt_is_gzip(w->attempt))
        expect_gzip(oa_attempt_body(w->attempt), plain);
    exchange request = {.attempt = w->attempt, .arrival = w->server.count};
    if (server_receive(w, plain, &request.held)) {
        assert_true(w->held_count < OA_MAX_CONCURRENT);
        request.held.body = request.body = must(strdup(request.held.body));
        w->held[w->held_count++] = request;
        w->attempt = NULL;
    } else {
        server_answer(w, &request);
    }
}

void server_answer(world *w, const exchange *request) {
    const answer *said = &request->held;
    arrival *seen = &w->server.arrivals[request->arrival];
    seen->status = said->status;
    seen->answered = true;
    w->attempt = request->attempt;
    const oa_answer given = {
        .status_code = said->status,
        .sent_bytes = oa_attempt_body(w->attempt).len,
        .retry_after_seconds = said->retry_after,
        .body = str(said->body),
        .error = str("server.test: connection refused"),
    };
    end_attempt(w, &given);
    free(request->body);
    collect(w);
}

bool turn(world *w) {
    bool busy = false;
    if (w->disk != NULL)
        disk_serve(w->disk, w);
    if (oa_dispatcher_next_due(w->dispatcher, w->now) <= w->now.monotonic_ms) {
        oa_dispatcher_step(w->dispatcher, w->now);
        collect(w); /* so that a flush is reported before an attempt changes its counts */
        busy = true;
    }
    if (oa_dispatcher_has_attempt(w->dispatcher, w->now)) {
        w->attempt = oa_dispatcher_take_attempt(w->dispatcher, w->now);
        if (w->attempt != NULL)
            perform(w);
        busy = true;
    }
    collect(w);
    if (w->disk != NULL)
        disk_save(w);
    check_account(w);
    check_told(w);
    return busy || oa_dispatcher_next_due(w->dispatcher, w->now) <= w->now.monotonic_ms;
}

void turn_guard(int turns, const char *condition, const char *file, int line_number) {
    if (turns < PATIENCE_TURNS)
        return;
    print_error("never came true: %s\n", condition);
    _fail(file, line_number);
}

void settle(world *w) {
    check_account(w);
    for (int turns = 0; turn(w); turns++)
        assert_true(turns < PATIENCE_TURNS); /* it must settle without time passing */
}

void advance(world *w, uint64_t ms) {
    w->now.wall_ms += (int64_t)ms;
    w->now.monotonic_ms += ms;
    oa_dispatcher_step(w->dispatcher, w->now); /* a step too early, or too many, does no harm */
    settle(w);
}

/* ---- flushes ---- */

static ticket *wait_with(world *w, uint64_t timeout_ms, bool abort_at_deadline, bool closing) {
    ticket *t = must(calloc(1, sizeof(*t)));
    t->world = w;
    t->undelivered = stats_of(w).pending;
    const oa_status status =
        closing ? oa_dispatcher_close(w->dispatcher, w->now, timeout_ms, t)
                : oa_dispatcher_flush(w->dispatcher, w->now, timeout_ms, abort_at_deadline, t);
    if (status != OA_OK) {
        assert_int_equal(status, OA_NOMEM);
        free(t);
        return NULL;
    }
    assert_false(t->done); /* never from inside the call */
    w->tickets = grown(w->tickets, w->ticket_count, 1, sizeof(*w->tickets));
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
