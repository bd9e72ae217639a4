/*
 * Random histories: decisions of a few users, flushes and time against a server with random faults.
 * Whatever happened, at the end no decision is lost, none is there twice, each user's are in order,
 * and every report was exact.
 *
 * OA_HISTORY=<seed> runs one history.
 */
#include <inttypes.h>

#include "support_strict.h"

enum {
    HISTORIES = 3000,
    USERS = 6,
    FLAGS = 3,
    MOST_DECISIONS = 400,
    MOST_REQUESTS = 20000,
    ID_SLOTS = 1 << 14,
};

/* What a decision becomes; most histories are of the first. */
typedef struct format {
    bool identify, event, sets_property, exposure;
} format;

static const format FORMATS[] = {
    {true, true, false, false},  {false, true, true, false}, {false, false, false, true},
    {true, false, false, false}, {true, false, false, true}, {true, true, false, true},
    {false, true, true, true},
};
enum { FORMAT_COUNT = sizeof(FORMATS) / sizeof(FORMATS[0]) };

static const char *const NAMES[USERS] = {"ann", "bob", "eve", "joe", "kim", "tom"};
static const char *const FLAG_KEYS[FLAGS] = {"f", "g", "h"};

/* What the server does with a request. */
typedef enum weather {
    FAIR,
    OUTAGE,
    LOSSY,
    STORMY,
    FORBIDDEN, /* 403 for everything, in JSON */
    WRONG_KEY,
    PORTAL,    /* 200, and a page */
    CHOKING,   /* 500 for whatever has something of a certain user */
    TOO_LARGE, /* 413 for everything */
    WEATHERS
} weather;

typedef struct decision {
    size_t user;
    size_t flag;
    bool bad;
    bool property_only;
    bool tracked; /* an event of the application's own */
    bool arrived; /* something of it */
    bool event_arrived;
    bool exposure_arrived;
    bool delivered;
    bool dropped;
    size_t delivered_by; /* the number of the request, plus one */
    char insert_id[33];  /* of its event, or else of its exposure, in any request */
} decision;

/* A flush, and what was undelivered when it began. */
typedef struct promise {
    ticket *ticket;
    bool covers[MOST_DECISIONS];
} promise;

typedef struct history {
    world *w;
    strict rules;
    uint64_t seed;
    const format *format;
    size_t count; /* decisions with a number of their own; all but the refused are `accepted` */
    decision decisions[MOST_DECISIONS];
    bool accepted[MOST_DECISIONS];
    bool was_read[MOST_REQUESTS];
    size_t drops_read;
    bool is_short; /* maxAgeMillis is */

    /* The server's, on its thread. */
    uint64_t server_seed;
    weather weather;
    const char *choking;          /* the user */
    bool was_page[MOST_REQUESTS]; /* the answer was not Amplitude's */
    uint64_t ids[ID_SLOTS];
    size_t last_of_user[USERS]; /* number of the last event, plus one */
    /* The numbers of the value that was set last, and of the newest one that arrived, plus one. */
    size_t profile[USERS][FLAGS];
    size_t experiment[USERS][FLAGS]; /* what $exposure sets */
    size_t last_of_flag[USERS][FLAGS];
    const char *complaint;
} history;

static uint64_t current;

static size_t index_of(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return count;
}

/* The number in "v12" or "bad12". */
static size_t number_of(const char *variation) {
    return (size_t)strtoul(variation + strcspn(variation, "0123456789"), NULL, 10);
}

/* ---- the server ---- */

/* Of an insert_id the second half is looked at: a $identify may have the first of its event. */
static bool is_repeat(history *h, const char *insert_id) {
    const size_t len = strlen(insert_id);
    const uint64_t id = strtoull(insert_id + (len > 16 ? len - 16 : 0), NULL, 16);
    size_t at = id % ID_SLOTS;
    while (h->ids[at] != 0 && h->ids[at] != id)
        at = (at + 1) % ID_SLOTS;
    if (h->ids[at] == id)
        return true;
    h->ids[at] = id;
    return false;
}

/* The number of the decision that an event, or one of its user properties, is about. */
static size_t number_of_event(const cJSON *event) {
    const cJSON *properties = cJSON_GetObjectItem(event, "event_properties");
    return number_of(text_of(properties, is_exposure(event) ? "variant" : "variation_key"));
}

static void note(history *h, size_t user, size_t number, size_t (*values)[FLAGS]) {
    decision *d = &h->decisions[number];
    d->arrived = true;
    if (d->tracked)
        return; /* it sets nothing */
    if (values != NULL)
        values[user][d->flag] = number + 1;
    if (h->last_of_flag[user][d->flag] < number + 1)
        h->last_of_flag[user][d->flag] = number + 1;
}

static void take_event(history *h, const cJSON *event) {
    const size_t user = index_of(NAMES, USERS, text_of(event, "user_id"));
    if (user == USERS || is_repeat(h, text_of(event, "insert_id")))
        return;
    const cJSON *set = user_properties_of(event);
    for (const cJSON *item = set == NULL ? NULL : set->child; item != NULL; item = item->next)
        note(h, user, number_of(cJSON_GetStringValue(item)), h->profile);
    if (is_identify(event))
        return;
    const size_t number = number_of_event(event);
    decision *d = &h->decisions[number];
    note(h, user, number, is_exposure(event) ? h->experiment : NULL);
    bool *arrived = is_exposure(event) ? &d->exposure_arrived : &d->event_arrived;
    if (*arrived)
        h->complaint = "a decision arrived twice";
    if (d->property_only && !is_exposure(event))
        h->complaint = "a property alone came with an event that is counted";
    if (number + 1 < h->last_of_user[user])
        h->complaint = "a user's decisions are out of order";
    *arrived = true;
    h->last_of_user[user] = number + 1;
}

static void take(history *h, const arrival *request) {
    const cJSON *events = cJSON_GetObjectItem(request->body, "events");
    double last[USERS + 1] = {-1, -1, -1, -1, -1, -1, -1}; /* and of anybody else */
    for (const cJSON *event = events->child; event != NULL; event = event->next) {
        const size_t user = index_of(NAMES, USERS, text_of(event, "user_id"));
        const double id = cJSON_GetObjectItem(event, "event_id")->valuedouble;
        if (user < USERS && id <= last[user])
            h->complaint = "event_id does not order the events of a user";
        last[user] = id;
        take_event(h, event);
    }
}

static void fail_somehow(history *h, answer *out) {
    static const answer failures[] = {
        {.status = 0},
        {.status = 500},
        {.status = 502, .body = "<html>Bad Gateway</html>"},
        {.status = 503, .retry_after = 1},
        {.status = 429},
        {.status = 408},
        {.status = 403, .body = "<html>Forbidden</html>"},
    };
    *out = failures[draw_below(&h->server_seed, sizeof(failures) / sizeof(failures[0]))];
}

static bool has_user(const arrival *request, const char *user) {
    const cJSON *events = cJSON_GetObjectItem(request->body, "events");
    for (const cJSON *event = events->child; event != NULL; event = event->next)
        if (strcmp(text_of(event, "user_id"), user) == 0)
            return true;
    return false;
}

/* Answer to what is not judged by its events. Returns whether there was an answer. */
static bool answer_for_all(history *h, const arrival *request, answer *out) {
    static const answer answers[WEATHERS] = {
        [FORBIDDEN] = {.status = 403, .body = "{\"message\":\"Forbidden\"}"},
        [WRONG_KEY] = {.status = 400, .body = "{\"code\":400,\"error\":\"Invalid API key: 0\"}"},
        [PORTAL] = {.status = 200, .body = "<html>Welcome</html>"},
        [CHOKING] = {.status = 500},
        [TOO_LARGE] = {.status = 413, .body = "{\"code\":413}"},
    };
    if (answers[h->weather].status == 0 ||
        (h->weather == CHOKING && !has_user(request, h->choking)))
        return false;
    *out = answers[h->weather];
    h->was_page[h->w->server.count - 1] = h->weather == PORTAL;
    return true;
}

static void respond(void *data, const arrival *request, answer *out) {
    static const unsigned failing[WEATHERS] = {0, 100, 0, 40};
    static const unsigned losing[WEATHERS] = {0, 0, 50, 40};
    static const unsigned silent[WEATHERS] = {2, 10, 5, 10, 2, 2, 2, 2, 2};
    history *h = data;
    if (request->body == NULL)
        h->complaint = "a body that is not JSON";
    if (draw_below(&h->server_seed, 100) < failing[h->weather]) {
        fail_somehow(h, out);
    } else if (!answer_for_all(h, request, out)) {
        strict_respond(&h->rules, request, out);
        if (out->status == 200) {
            take(h, request);
            if (draw_below(&h->server_seed, 100) < losing[h->weather])
                fail_somehow(h, out); /* accepted, but the client does not know */
        }
    }
    const unsigned slow = oa_lanes_are_many(&h->w->dispatcher->lanes) ? 40 : 0;
    out->silent = draw_below(&h->server_seed, 100) < silent[h->weather] + slow;
}

/* ---- what the dispatcher knows ---- */

/* Whether a decision is bad, or waits behind a bad one of its user; where there are no others, that
 * cannot be told from an outage. */
static bool waits_behind_bad(const history *h, const decision *d) {
    for (const decision *before = h->decisions; before <= d; before++)
        if (before->user == d->user && before->bad)
            return true;
    return false;
}

/* Note that something of a decision was in a request that is answered. */
static void read_decision(history *h, size_t request, size_t number, bool is_success) {
    decision *d = &h->decisions[number];
    if (!is_success || d->delivered_by == request + 1)
        return;
    assert_false(d->delivered);
    assert_false(d->dropped);
    d->delivered = true;
    d->delivered_by = request + 1;
}

static void read_insert_id(const history *h, decision *d, const cJSON *event) {
    if (d->property_only || is_exposure(event) == h->format->event)
        return; /* it is not what a drop is reported with */
    const char *id = text_of(event, "insert_id");
    assert_true(d->insert_id[0] == '\0' || strcmp(d->insert_id, id) == 0);
    snprintf(d->insert_id, sizeof(d->insert_id), "%s", id);
}

/* Read the requests that the dispatcher has the answers of, and the drops. */
static void read_news(history *h) {
    assert_true(h->w->server.count < MOST_REQUESTS);
    for (size_t number = 0; number < h->w->server.count; number++) {
        const arrival *request = &h->w->server.arrivals[number];
        if (!request->answered || h->was_read[number])
            continue;
        h->was_read[number] = true;
        const bool is_success = request->status == 200 && !request->aborted && !h->was_page[number];
        const cJSON *events = cJSON_GetObjectItem(request->body, "events");
        for (const cJSON *event = events->child; event != NULL; event = event->next) {
            const cJSON *set = user_properties_of(event);
            for (const cJSON *item = set == NULL ? NULL : set->child; item != NULL;
                 item = item->next)
                read_decision(h, number, number_of(cJSON_GetStringValue(item)), is_success);
            if (is_identify(event))
                continue;
            read_decision(h, number, number_of_event(event), is_success);
            read_insert_id(h, &h->decisions[number_of_event(event)], event);
        }
    }
    for (; h->drops_read < h->w->drop_count; h->drops_read++) {
        const drop *told = &h->w->drops[h->drops_read];
        decision *d = &h->decisions[number_of(strchr(told->text, '='))];
        assert_false(d->delivered);
        assert_false(d->dropped);
        d->dropped = true;
        if (told->reason == OA_DROP_INVALID_EVENT)
            assert_true(d->bad);
        if (told->reason == OA_DROP_EXPIRED || told->reason == OA_DROP_INVALID_API_KEY)
            assert_true(h->is_short || waits_behind_bad(h, d));
        if (d->insert_id[0] != '\0')
            assert_string_equal(told->insert_id, d->insert_id);
    }
}

static bool is_undelivered(const history *h, size_t number) {
    return h->accepted[number] && !h->decisions[number].delivered && !h->decisions[number].dropped;
}

static promise *promised[MOST_DECISIONS];
static size_t promise_count;

static void check_promise(ticket *t) {
    history *h = t->world->data;
    const promise *p = NULL;
    for (size_t i = 0; i < promise_count; i++)
        if (promised[i]->ticket == t)
            p = promised[i];
    read_news(h);
    uint64_t delivered = 0;
    uint64_t dropped = 0;
    uint64_t pending = 0;
    for (size_t i = 0; i < h->count; i++) {
        if (!p->covers[i])
            continue;
        delivered += h->decisions[i].delivered;
        dropped += h->decisions[i].dropped;
        pending += is_undelivered(h, i);
    }
    EXPECT_REPORT(t, delivered, dropped, pending);
}

static void promise_to(history *h, ticket *t) {
    promise *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->ticket = t;
    t->then = check_promise;
    read_news(h);
    uint64_t count = 0;
    for (size_t i = 0; i < h->count; i++)
        count += p->covers[i] = is_undelivered(h, i);
    assert_int_equal(count, t->undelivered);
    assert_true(promise_count < MOST_DECISIONS);
    promised[promise_count++] = p;
}

/* ---- a history ---- */

static void decide_one(history *h, uint64_t bad_percent) {
    if (h->count == MOST_DECISIONS)
        return;
    const size_t number = h->count++;
    decision *d = &h->decisions[number];
    d->user = draw_below(&h->seed, 1 + draw_below(&h->seed, USERS)); /* some more than others */
    d->flag = draw_below(&h->seed, FLAGS);
    const uint64_t kind = draw_below(&h->seed, 8);
    d->tracked = kind < 2;
    /* A server that refuses $identify events has nothing against one that has none. */
    d->bad =
        draw_below(&h->seed, 100) < bad_percent && !(d->tracked && h->rules.parts == BAD_IDENTIFY);
    char variation[16];
    snprintf(variation, sizeof(variation), "%s%zu", d->bad ? "bad" : "v", number);
    h->accepted[number] = true; /* before a refusal reports its drop */
    static const char *const fields[] = {NULL, NULL, "\"session_id\":1", "\"ip\":\"::1\""};
    const oa_decision made = {.user_id = str(NAMES[d->user]),
                              .fields = str(fields[draw_below(&h->seed, 4)])};
    const format *f = h->format;
    const bool is_pair = f->identify && f->event && !f->exposure; /* what try_rendered() makes */
    const oa_status status =
        kind < 2 ? try_track(h->w, NAMES[d->user], NULL, FLAG_KEYS[d->flag], variation)
        : kind == 2 && is_pair ? try_rendered(h->w, NAMES[d->user], FLAG_KEYS[d->flag], variation)
                               : decide_with(h->w, &made, FLAG_KEYS[d->flag], variation, true);
    assert_true(status == OA_OK || status == OA_QUEUE_FULL || status == OA_CLOSED);
    if (status != OA_OK) {
        turn(h->w); /* which reports the drop */
        return;
    }
    d->property_only = !d->bad && !d->tracked && draw_below(&h->seed, 10) == 0;
    oa_queue_last(&lane_of(h->w, NAMES[d->user])->queue)->property_only = d->property_only;
}

static void change_weather(history *h) {
    if (server_holds(h->w))
        return; /* the server is reading it */
    h->weather = (weather)draw_below(&h->seed, WEATHERS);
    h->choking = NAMES[draw_below(&h->seed, USERS)];
    for (size_t i = 0; i < 2; i++) {
        h->rules.throttled[i] =
            draw_below(&h->seed, 2) == 0 ? NULL : NAMES[draw_below(&h->seed, USERS)];
        h->rules.throttled_until_ms[i] = h->w->now.monotonic_ms + draw_below(&h->seed, 60000);
    }
    h->rules.max_body_bytes =
        draw_below(&h->seed, 2) == 0 ? 0 : 900 + (size_t)draw_below(&h->seed, 5000);
}

static void begin_flush(history *h) {
    static const uint64_t timeouts[] = {0, 1, 700, 5000, 60000, UINT64_MAX};
    promise_to(h, try_flush(h->w, timeouts[draw_below(&h->seed, 6)], draw_below(&h->seed, 3) == 0));
}

static void let_time_pass(history *h) {
    static const uint64_t longest[] = {2, 600, 5000, 40000};
    if (draw_below(&h->seed, 20) == 0) /* the wall clock is set */
        h->w->now.wall_ms += (int64_t)draw_below(&h->seed, 7200000) - 3600000;
    advance(h->w, draw_below(&h->seed, longest[draw_below(&h->seed, 4)]));
}

static void step(history *h, uint64_t bad_percent) {
    switch (draw_below(&h->seed, 10)) {
    case 0:
    case 1:
    case 2:
        for (uint64_t n = 1 + draw_below(&h->seed, 8); n > 0; n--)
            decide_one(h, bad_percent);
        break;
    case 3:
        begin_flush(h);
        break;
    case 4:
        change_weather(h);
        break;
    case 5:
    case 6:
        let_time_pass(h);
        break;
    case 7:
        turn(h->w);
        break;
    case 8:
        if (draw_below(&h->seed, 5) == 0)
            forget_constants(h->w);
        if (server_holds(h->w)) /* to any of them */
            server_speak_to(h->w, draw_below(&h->seed, h->w->held_count));
        else if (draw_below(&h->seed, 2) == 0)
            server_speak(h->w);
        break;
    default:
        settle(h->w);
    }
}

/* Let everything be settled without faults. */
static void calm_down(history *h) {
    for (int i = 0; i < 1000 && stats_of(h->w).pending > 0; i++) {
        do
            server_speak(h->w);
        while (server_holds(h->w));
        settle(h->w);
        if (!server_holds(h->w)) {
            h->weather = FAIR;
            memset(h->rules.throttled, 0, sizeof(h->rules.throttled));
        }
        advance(h->w, 130000);
    }
    assert_int_equal(stats_of(h->w).pending, 0);
}

static void check_everything(history *h) {
    read_news(h);
    if (h->complaint != NULL)
        fail_msg("%s", h->complaint);
    uint64_t delivered = 0;
    uint64_t tracked = 0;
    for (size_t i = 0; i < h->count; i++) {
        const decision *d = &h->decisions[i];
        assert_int_equal(d->delivered + d->dropped, h->accepted[i]);
        if (d->delivered) {
            assert_true(d->arrived);
            assert_false(d->bad);
        }
        delivered += d->delivered;
        tracked += d->delivered && d->tracked;
    }
    assert_int_equal(stats_of(h->w).delivered, delivered);
    assert_int_equal(stats_of(h->w).tracked.delivered, tracked);
    for (size_t user = 0; user < USERS; user++) {
        for (size_t flag = 0; flag < FLAGS; flag++) {
            const size_t last = h->last_of_flag[user][flag];
            /* What was dropped may have arrived, and be overwritten by what was sent again before
             * it. */
            if (last == 0 || !h->decisions[last - 1].delivered)
                continue;
            if (h->format->identify || h->format->sets_property)
                assert_int_equal(h->profile[user][flag], last);
            if (h->format->exposure)
                assert_int_equal(h->experiment[user][flag], last);
        }
    }
}

static void live_through(uint64_t seed, uint32_t lanes) {
    history *h = calloc(1, sizeof(*h));
    assert_non_null(h);
    h->seed = seed;
    h->server_seed = ~seed;
    world *w = h->w = world_new();
    w->data = h;
    w->config.flush_queue_size = (uint32_t)(2 + draw_below(&h->seed, 40));
    w->config.flush_max_retries = draw_below(&h->seed, 3) == 0 ? 3 : 12;
    h->is_short = draw_below(&h->seed, 4) == 0;
    if (h->is_short)
        w->config.max_age_ms = 10000 + draw_below(&h->seed, 300000);
    w->config.dedupe = draw_below(&h->seed, 2) == 0;
    w->config.max_concurrent = lanes;
    w->config.max_queue_bytes = draw_below(&h->seed, 4) == 0 ? 4096 : 1 << 20;
    w->config.max_body_bytes =
        draw_below(&h->seed, 4) == 0 ? 600 + (size_t)draw_below(&h->seed, 4000) : 1000000;
    h->format = &FORMATS[draw_below(&h->seed, 2) == 0 ? 0 : draw_below(&h->seed, FORMAT_COUNT)];
    w->config.sends_identify = h->format->identify;
    w->config.event_type = str(h->format->event ? "Experiment Viewed" : NULL);
    w->config.event_sets_property = h->format->sets_property;
    w->config.sends_exposure = h->format->exposure;
    world_start(w);
    h->rules.list = (strict_list)draw_below(&h->seed, 3);
    if (h->format == &FORMATS[0]) /* the others may have only one of the parts */
        h->rules.parts = (strict_parts)draw_below(&h->seed, 3);
    h->rules.refusal = draw_below(&h->seed, 4) == 0 ? 403 : 400;
    if (draw_below(&h->seed, 10) == 0)
        h->rules.over_quota[0] = NAMES[draw_below(&h->seed, USERS)];
    strict_rule(&h->rules, w);
    w->server.respond = respond;
    w->server.data = h;
    w->server.cap = MOST_REQUESTS; /* read_news() looks at it while requests arrive */
    w->server.arrivals = calloc(MOST_REQUESTS, sizeof(arrival));
    assert_non_null(w->server.arrivals);

    const uint64_t bad_percent = draw_below(&h->seed, 2) * draw_below(&h->seed, 15);
    for (uint64_t steps = 20 + draw_below(&h->seed, 100); steps > 0; steps--) {
        w->random = draw(&h->seed);
        step(h, bad_percent);
        read_news(h);
    }
    if (draw_below(&h->seed, 4) == 0) {
        ticket *t = close_world(w, draw_below(&h->seed, 20000));
        promise_to(h, t);
        settle(w);
        advance(w, 20000);
        assert_true(t->done);
    } else {
        calm_down(h);
    }
    settle(w);
    check_everything(h);
    world_end(w);
    for (size_t i = 0; i < promise_count; i++)
        free(promised[i]);
    promise_count = 0;
    free(h);
}

static void live_through_all(uint32_t lanes, uint64_t histories) {
    const char *only = getenv("OA_HISTORY");
    if (only != NULL) {
        live_through(current = strtoull(only, NULL, 10), lanes);
        return;
    }
    for (current = 1; current <= histories; current++)
        live_through(current, lanes);
}

static void nothing_is_lost_whatever_happens(void **state) {
    (void)state;
    live_through_all(1, HISTORIES);
}

static void nothing_is_lost_in_two_lanes(void **state) {
    (void)state;
    live_through_all(2, HISTORIES / 2);
}

static void nothing_is_lost_in_four_lanes(void **state) {
    (void)state;
    live_through_all(4, HISTORIES / 2);
}

static void nothing_is_lost_in_eight_lanes(void **state) {
    (void)state;
    live_through_all(8, HISTORIES / 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_whatever_happens),
        cmocka_unit_test(nothing_is_lost_in_two_lanes),
        cmocka_unit_test(nothing_is_lost_in_four_lanes),
        cmocka_unit_test(nothing_is_lost_in_eight_lanes),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed != 0)
        print_error("in the history of OA_HISTORY=%" PRIu64 "\n", current);
    return failed;
}
