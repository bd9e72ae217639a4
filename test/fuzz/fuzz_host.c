/*
 * fuzz_host.c: a host that does everything in any order.
 *
 * The input is read as calls of the public interface: decisions, flushes, a close, time on both
 * clocks, steps, attempts with any answer, notices that are asked for late or not at all, memory
 * that runs out, and the end at any moment. Whatever the order, the counts add up after each call,
 * a user's decisions are delivered once and in order, every flush is over once and its report adds
 * up, nothing spins at one moment of time, and a close ends everything.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "mem.h"
#include "oa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum {
    USERS = 5,
    FLAGS = 4,
    MOST_DECISIONS = 2000,
    MOST_FLUSHES = 200,
    MOST_SPINS = 200, /* steps at one moment of time that achieve nothing */
    LONG_TEXT = 3000,
};

/* Those whose bodies tell which decisions they carry. */
static const struct format {
    bool identify, event, sets_property, exposure;
} FORMATS[] = {
    {true, true, false, false}, {false, true, true, false}, {false, false, false, true},
    {true, false, false, true}, {true, true, false, true},  {false, true, true, true},
};
enum { FORMAT_COUNT = sizeof(FORMATS) / sizeof(FORMATS[0]) };

typedef struct ticket {
    uint64_t undelivered; /* when the flush began */
    bool is_done;
} ticket;

/* An input, and what the host knows. */
typedef struct host {
    const uint8_t *data;
    size_t size;
    oa_dispatcher *core;
    oa_attempt *attempt;
    bool is_rendered;
    bool is_answered;
    bool is_success; /* the answer that was given */
    bool has_store;  /* then what is delivered may be only a property, which has no number */
    oa_now now;
    uint32_t variants[FLAGS];
    uint64_t accepted;
    uint64_t repeats;
    uint64_t delivered;
    uint64_t told; /* drops */
    uint64_t attempts;
    size_t count;
    uint8_t users[MOST_DECISIONS];
    bool arrived[MOST_DECISIONS];
    size_t last_of_user[USERS]; /* the number of the decision that was delivered last, plus one */
    ticket tickets[MOST_FLUSHES];
    size_t flushes;
    ticket *close;
} host;

static size_t fail_in; /* allocations until one fails, once; 0: none */

static bool allow(size_t size) {
    (void)size;
    return fail_in == 0 || --fail_in > 0;
}

static unsigned next_byte(host *h) {
    if (h->size == 0)
        return 0;
    h->size--;
    return *h->data++;
}

static unsigned below(host *h, unsigned bound) { return next_byte(h) % bound; }

static oa_str str(const char *text) { return (oa_str){text, strlen(text)}; }

static oa_stats stats_of(const host *h) {
    oa_stats stats;
    oa_dispatcher_stats(h->core, h->now, &stats);
    return stats;
}

static void check_account(const host *h) {
    const oa_stats stats = stats_of(h);
    uint64_t dropped = 0;
    for (size_t i = 0; i < OA_DROP_COUNT; i++)
        dropped += stats.dropped[i];
    CHECK(stats.accepted + stats.late_repeats == h->accepted);
    CHECK(stats.deduplicated == h->repeats + stats.late_repeats);
    CHECK(h->has_store || stats.late_repeats + stats.store_conflicts == 0);
    CHECK(stats.accepted == stats.delivered + dropped + stats.pending);
    CHECK(h->has_store || stats.delivered == h->delivered);
    CHECK(h->told <= dropped);
    CHECK(stats.pending == 0 || stats.queue_bytes > 0);
}

/* ---- What the application does ---- */

static void add_variants(host *h) {
    static const char *const flags[FLAGS] = {"f", "g", "h", "bad"};
    static const char *const variations[FLAGS] = {"on", NULL, "off", "on"};
    for (size_t i = 0; i < FLAGS; i++) {
        const oa_str variation = variations[i] == NULL ? (oa_str){NULL, 0} : str(variations[i]);
        while (oa_dispatcher_add_variant(h->core, str(flags[i]), variation, str("rule"), i != 2,
                                         &h->variants[i]) != OA_OK)
            continue; /* memory fails once */
    }
}

static void decide(host *h) {
    static const char *const names[USERS] = {"anna", "bert", "", "eve", "joe"};
    static char text[LONG_TEXT + 32];
    if (h->count == MOST_DECISIONS)
        return;
    const unsigned shape = next_byte(h);
    const unsigned user = shape % USERS;
    const size_t padding = shape > 250 ? LONG_TEXT : shape / 8;
    const int len =
        snprintf(text, sizeof(text), "\"n\":%zu,\"x\":\"%0*d\"", h->count, (int)padding + 1, 0);
    oa_decision decision = {
        .variant_id = h->variants[below(h, FLAGS)],
        .user_id = user == 2 ? (oa_str){NULL, 0} : str(names[user]),
        .device_id =
            user == 2 || shape >= 128 ? str(user % 2 == 0 ? "phone" : "tablet") : (oa_str){NULL, 0},
        .event_properties = {text, (size_t)len},
    };
    if (shape % 16 == 5) /* refused, and left out beside a good one */
        *(user == 2 ? &decision.user_id : &decision.device_id) = str("none");
    if (shape % 8 == 1)
        decision.fields = str("\"session_id\":1");
    if (shape % 16 == 3)
        decision.user_properties = str("\"plan\":\"pro\"");
    oa_wake wake = OA_WAKE_NOT;
    const uint64_t due_ms = oa_dispatcher_next_due(h->core, h->now);
    decision.rendered = shape % 16 == 10;
    oa_tracked tracked = {decision.user_id, decision.device_id, decision.event_properties, OA_OK};
    const oa_status status = shape % 16 == 7
                                 ? oa_dispatcher_track(h->core, h->now, &tracked, &wake)
                                 : oa_dispatcher_record(h->core, h->now, &decision, &wake);
    if (wake == OA_WAKE_NOT && h->attempt == NULL)
        CHECK(oa_dispatcher_next_due(h->core, h->now) >= due_ms);
    if (status == OA_OK) {
        h->users[h->count] = (uint8_t)user;
        h->count++;
    }
    h->accepted +=
        status == OA_OK || status == OA_OPTED_OUT || status == OA_QUEUE_FULL || status == OA_CLOSED;
    h->repeats += status == OA_REPEAT;
}

static ticket *new_ticket(host *h) {
    ticket *t = &h->tickets[h->flushes];
    t->undelivered = stats_of(h).pending;
    return t;
}

static void flush(host *h) {
    static const uint64_t timeouts[] = {0, 1, 900, 5000, 60000, UINT64_MAX};
    if (h->flushes == MOST_FLUSHES)
        return;
    ticket *t = new_ticket(h);
    const unsigned how = next_byte(h);
    h->flushes += oa_dispatcher_flush(h->core, h->now, timeouts[how % 6], how >= 128, t) == OA_OK;
}

static void begin_close(host *h, uint64_t timeout_ms) {
    if (h->close != NULL || h->flushes == MOST_FLUSHES)
        return;
    ticket *t = new_ticket(h);
    if (oa_dispatcher_close(h->core, h->now, timeout_ms, t) != OA_OK)
        return;
    h->close = t;
    h->flushes++;
}

static void let_time_pass(host *h) {
    static const unsigned units[] = {1, 50, 1000, 20000};
    const unsigned how = next_byte(h);
    const uint64_t ms = (uint64_t)units[how % 4] * (how / 4);
    h->now.monotonic_ms += ms;
    h->now.wall_ms += (int64_t)ms;
    if (how % 4 == 3 && how >= 128)
        h->now.wall_ms += ((int64_t)next_byte(h) - 128) * 600000;
}

/* ---- Attempts ---- */

/* Read which decisions a body that was accepted carries; each is in an event, a $exposure or
 * both. */
static void deliver(host *h, oa_str body) {
    const char *end = body.data + body.len;
    size_t before = SIZE_MAX;
    for (const char *at = body.data; (at = memmem(at, (size_t)(end - at), "\"n\":", 4)) != NULL;) {
        const size_t number = strtoul(at += 4, NULL, 10);
        if (number == before)
            continue;
        before = number;
        CHECK(number < h->count);
        /* With a store a $exposure may set its property once more. */
        CHECK(h->has_store || !h->arrived[number]);
        CHECK(h->has_store || number >= h->last_of_user[h->users[number]]);
        h->arrived[number] = true;
        h->last_of_user[h->users[number]] = number + 1;
        h->delivered++;
    }
}

static void end_attempt(host *h) {
    oa_attempt *attempt = h->attempt;
    h->attempt = NULL;
    oa_dispatcher_give_back(h->core, h->now, attempt);
}

/* A store that says whatever the input has, or nothing. */
static size_t read_answers(host *h, const oa_store_part *parts, size_t count, int32_t *answers) {
    size_t pairs = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK(parts[i].pair_count > 0 && parts[i].text.len >= 24 * parts[i].pair_count);
        pairs += parts[i].pair_count;
    }
    CHECK(pairs <= MOST_DECISIONS);
    const size_t answered = next_byte(h) < 64 ? 0 : pairs;
    for (size_t i = 0; i < answered; i++)
        answers[i] = (int32_t)below(h, 12) - 2;
    return answered;
}

static void ask_store(host *h) {
    static int32_t answers[MOST_DECISIONS];
    size_t count = 0;
    size_t answered = 0;
    if (next_byte(h) >= 32) { /* otherwise it is not asked at all */
        const oa_store_part *parts = oa_attempt_ask(h->attempt, &count);
        answered = read_answers(h, parts, count, answers);
    }
    if (!oa_dispatcher_learn(h->core, h->attempt, answers, answered))
        end_attempt(h);
}

static void write_store(host *h) {
    static int32_t answers[MOST_DECISIONS];
    size_t count = 0;
    const oa_store_part *parts = oa_attempt_write(h->attempt, &count);
    CHECK(count == 0 || h->is_success);
    if (count > 0)
        oa_attempt_confirm(h->attempt, answers, read_answers(h, parts, count, answers));
}

static void take(host *h) {
    const bool has_attempt = oa_dispatcher_has_attempt(h->core, h->now);
    oa_attempt *attempt = oa_dispatcher_take_attempt(h->core, h->now);
    CHECK(attempt == NULL || (has_attempt && h->attempt == NULL));
    if (attempt == NULL)
        return;
    h->attempt = attempt;
    h->is_rendered = h->is_answered = h->is_success = false;
    if (h->has_store)
        ask_store(h);
}

static void render(host *h) {
    if (h->attempt == NULL || h->is_rendered)
        return;
    if (oa_attempt_render(h->attempt) != OA_OK) {
        end_attempt(h);
        return;
    }
    h->is_rendered = true;
}

/* The body as the server reads it: compressed ones have to be the gzip of something. */
static oa_str read_body(host *h) {
    static char text[4 << 20];
    const oa_str body = oa_attempt_body(h->attempt);
    if (!oa_attempt_is_gzip(h->attempt))
        return body;
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)body.data,
                    .avail_in = (uInt)body.len,
                    .next_out = (Bytef *)text,
                    .avail_out = sizeof(text)};
    CHECK(inflateInit2(&zip, 15 + 16) == Z_OK);
    CHECK(inflate(&zip, Z_FINISH) == Z_STREAM_END && zip.avail_in == 0);
    inflateEnd(&zip);
    return (oa_str){text, zip.total_out};
}

static void answer(host *h) {
    static const struct {
        int status;
        const char *body;
        uint32_t retry_after;
    } ANSWERS[] = {
        {200, "{\"code\":200}", 0},
        {200, "", 0},
        {200, "<html>log in</html>", 0},
        {0, "", 0},
        {500, "{\"code\":500}", 0},
        {503, "", 3},
        {429, "{\"code\":429,\"error\":\"Too many\"}", 2},
        {403, "<html>Forbidden</html>", 0},
        {400, "{\"code\":400,\"error\":\"Invalid API key: 1\"}", 0},
        {400, "{\"code\":400,\"error\":\"bad\"}", 0},
        {413, "", 0},
        {302, "", 0},
    };
    enum { COUNT = sizeof(ANSWERS) / sizeof(ANSWERS[0]) };
    char list[256];
    if (h->attempt == NULL || !h->is_rendered || h->is_answered)
        return;
    const oa_str body = oa_attempt_body(h->attempt);
    const unsigned which = below(h, COUNT + 5);
    oa_answer given = {.sent_bytes = body.len, .duration_ms = 1, .error = str("timeout")};
    if (which < COUNT) {
        given.status_code = ANSWERS[which].status;
        given.body = str(ANSWERS[which].body);
        given.retry_after_seconds = ANSWERS[which].retry_after;
    } else if (which == COUNT) {
        given.aborted = true;
    } else {
        const unsigned kind = which - COUNT;
        given.status_code = kind >= 3 ? 429 : 400;
        snprintf(list, sizeof(list), "{\"code\":%d,\"%s\":%s%u,%u]%s}", given.status_code,
                 kind == 1   ? "events_with_invalid_fields"
                 : kind == 2 ? "silenced_events"
                             : "throttled_events",
                 kind == 1 ? "{\"time\":[" : "[", below(h, 12), below(h, 12),
                 kind == 1   ? "}"
                 : kind == 4 ? ",\"exceeded_daily_quota_users\":{\"eve\":1}"
                             : "");
        given.body = str(list);
    }
    oa_attempt_answer(h->attempt, &given);
    h->is_answered = true;
    h->is_success = which < 2;
}

static void give_back(host *h) {
    if (h->attempt == NULL)
        return;
    if (h->is_success)
        deliver(h, read_body(h));
    if (h->has_store && h->is_answered && next_byte(h) >= 32)
        write_store(h);
    end_attempt(h);
}

/* ---- Notices ---- */

static void end_flush(host *h, const oa_flush_notice *notice) {
    ticket *t = notice->ticket;
    CHECK(t >= h->tickets && t < h->tickets + h->flushes);
    CHECK(!t->is_done);
    t->is_done = true;
    const oa_flush_report *report = &notice->report;
    const uint64_t reported = report->delivered + report->dropped + report->pending;
    CHECK(h->has_store ? reported <= t->undelivered : reported == t->undelivered);
    CHECK(t != h->close || report->pending == 0);
}

static bool collect_one(host *h) {
    oa_notice notice;
    if (!oa_dispatcher_next_notice(h->core, &notice))
        return false;
    switch (notice.kind) {
    case OA_NOTICE_CANCEL:
        break; /* as it pleases */
    case OA_NOTICE_ATTEMPT:
        CHECK(notice.about.attempt.number > h->attempts);
        h->attempts = notice.about.attempt.number;
        CHECK(notice.about.attempt.decision_count > 0);
        break;
    case OA_NOTICE_LOG:
        CHECK(notice.about.log.message.len > 0);
        break;
    case OA_NOTICE_DROP:
        CHECK(notice.about.drop.count > 0 && notice.about.drop.count <= OA_DROPS_AT_ONCE);
        h->told += notice.about.drop.count;
        for (size_t i = 0; i < notice.about.drop.count; i++)
            CHECK((notice.about.drop.decisions[i].flag_key.len > 0) !=
                  (notice.about.drop.decisions[i].event.len > 0));
        break;
    case OA_NOTICE_FLUSH:
        end_flush(h, &notice.about.flush);
        break;
    }
    return true;
}

static void collect(host *h) {
    while (collect_one(h))
        continue;
}

/* ---- A whole input ---- */

/* Do what is due now as a host does it; it may not go on forever without an attempt. */
static void settle(host *h, unsigned attempts) {
    for (unsigned spins = 0; oa_dispatcher_next_due(h->core, h->now) <= h->now.monotonic_ms ||
                             oa_dispatcher_has_attempt(h->core, h->now);
         spins++) {
        CHECK(spins < MOST_SPINS);
        oa_dispatcher_step(h->core, h->now);
        collect(h);
        take(h);
        if (h->attempt == NULL)
            continue;
        if (attempts-- == 0)
            return;
        render(h);
        answer(h);
        give_back(h);
        spins = 0;
        check_account(h);
    }
}

static void act(host *h) {
    switch (below(h, 16)) {
    case 0:
    case 1:
    case 2:
        for (unsigned n = below(h, 12) + 1; n > 0; n--)
            decide(h);
        break;
    case 3:
        flush(h);
        break;
    case 4:
        let_time_pass(h);
        break;
    case 5:
        oa_dispatcher_step(h->core, h->now);
        break;
    case 6:
        take(h);
        break;
    case 7:
        render(h);
        answer(h);
        break;
    case 8:
        give_back(h);
        break;
    case 9:
        collect(h);
        break;
    case 10:
        collect_one(h);
        break;
    case 11: {
        /* Sleep until something is due. */
        const uint64_t due_ms = oa_dispatcher_next_due(h->core, h->now);
        if (due_ms > h->now.monotonic_ms && due_ms != UINT64_MAX) {
            h->now.wall_ms += (int64_t)(due_ms - h->now.monotonic_ms);
            h->now.monotonic_ms = due_ms;
        }
        oa_dispatcher_step(h->core, h->now);
        break;
    }
    case 12:
        fail_in = below(h, 64);
        break;
    case 13:
        if (below(h, 4) == 0) {
            oa_dispatcher_forget_variants(h->core);
            add_variants(h);
        }
        oa_dispatcher_set_opt_out(h->core, below(h, 8) == 0);
        break;
    case 14:
        if (below(h, 8) == 0)
            begin_close(h, (uint64_t)next_byte(h) * 100);
        break;
    default:
        settle(h, below(h, 32));
    }
    check_account(h);
}

/* Close, and let time pass until that is over. */
static void end_well(host *h) {
    fail_in = 0;
    give_back(h);
    begin_close(h, 20000);
    for (unsigned i = 0; h->close != NULL && !h->close->is_done; i++) {
        CHECK(i < 1000);
        h->size = 0; /* every answer is a success */
        settle(h, UINT32_MAX);
        collect(h);
        h->now.monotonic_ms += 1000;
        h->now.wall_ms += 1000;
    }
    if (h->close == NULL)
        return;
    settle(h, UINT32_MAX);
    collect(h);
    const oa_stats stats = stats_of(h);
    CHECK(stats.pending == 0);
    CHECK(stats.queue_bytes == 0);
    for (size_t i = 0; i < h->flushes; i++)
        CHECK(h->tickets[i].is_done);
    check_account(h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static host h;
    memset(&h, 0, sizeof(h));
    h.data = data;
    h.size = size;
    h.now = (oa_now){INT64_C(1800014400000), 1000000};
    oa_mem_set_gate(allow);
    fail_in = 0;
    const unsigned shape = next_byte(&h);
    h.has_store = shape % 4 == 1;
    const struct format *format = &FORMATS[shape / 3 % FORMAT_COUNT];
    const oa_config config = {
        .api_key = str("0123456789abcdef0123456789abcdef"),
        .library = str("library"),
        .event_type = format->event ? str("Experiment Viewed") : (oa_str){NULL, 0},
        .sends_identify = format->identify,
        .event_sets_property = format->sets_property,
        .sends_exposure = format->exposure,
        .property_prefix = str(""),
        .server_name = str("http://server.test"),
        .debug = shape % 2 == 0,
        .report_drops = shape % 8 != 0,
        .dedupe = shape % 4 < 2,
        .store = h.has_store,
        .min_id_length = 1,
        .flush_queue_size = 2 + shape / 4,
        .flush_max_retries = 1 + shape % 5,
        .flush_interval_ms = 10000,
        .throttle_ms = 30000,
        .max_age_ms = shape % 3 == 0   ? 2000
                      : shape % 3 == 1 ? 600000
                                       : 86400000,
        .compression = shape % 2 == 0,
        .max_queue_bytes = shape % 7 == 0 ? 8192 : 1 << 20,
        .max_body_bytes = shape % 5 == 0 ? 1500 : 1000000,
        .dedupe_window_ms = 86400000,
        .dedupe_refresh_ms = h.has_store ? 3600000 : 86400000,
        .dedupe_max_entries = 100,
        .seed = shape,
    };
    CHECK(oa_dispatcher_new(&config, &h.core) == OA_OK);
    add_variants(&h);
    while (h.size > 0)
        act(&h);
    if (shape >= 64)
        end_well(&h);
    fail_in = 0;
    if (h.attempt != NULL)
        give_back(&h);
    oa_dispatcher_free(h.core);
    return 0;
}
