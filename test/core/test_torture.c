/*
 * Every main scenario again and again, with allocation 1, 2, 3, ... failing, until it passes
 * without a failure. Whatever fails: nothing crashes or leaks, the counts add up after every step,
 * what is accepted is delivered or reported as dropped, and each user's decisions stay in order.
 */
#include "support_strict.h"

enum { USERS = 3, MOST = 600 };

static const char *const NAMES[USERS] = {"ann", "bob", "eve"};

/* What a scenario did. */
typedef struct trial {
    world *w;
    strict rules;
    size_t count;
    bool accepted[MOST];
    bool bad[MOST];
} trial;

static void say(trial *t, size_t user, bool bad) {
    assert_true(t->count < MOST);
    const size_t number = t->count++;
    char flag[8];
    char variation[16];
    snprintf(flag, sizeof(flag), "f%zu", number % 3);
    snprintf(variation, sizeof(variation), "%s%zu", bad ? "bad" : "v", number);
    const oa_status status = number % 7 == 3 ? try_track(t->w, NAMES[user], NULL, flag, variation)
                             : number % 7 == 6
                                 ? try_rendered(t->w, NAMES[user], flag, variation)
                                 : try_decide(t->w, NAMES[user], NULL, flag, variation, true);
    /* One without a $identify is not bad for a server that refuses those. */
    t->bad[number] = bad && !(number % 7 == 3 && t->rules.parts == BAD_IDENTIFY);
    t->accepted[number] = status != OA_NOMEM;
    assert_true(status == OA_OK || status == OA_NOMEM || status == OA_QUEUE_FULL ||
                status == OA_CLOSED);
}

static void say_many(trial *t, int count) {
    for (int n = 0; n < count; n++)
        say(t, (size_t)n % USERS, false);
}

/* Flush if there is memory for it, with all the time it needs. */
static void deliver(trial *t, int rounds) {
    const ticket *flushed = try_flush(t->w, 3600 * 1000, false);
    settle(t->w);
    for (int i = 0; i < rounds; i++)
        advance(t->w, 31000);
    /* No more than a failure and a pause can be in the way. */
    for (int i = 0; i < 10 && stats_of(t->w).pending > 0; i++)
        advance(t->w, 31000);
    assert_int_equal(stats_of(t->w).pending, 0);
    assert_true(flushed == NULL || flushed->done);
}

/* ---- scenarios ---- */

static void deliver_some(trial *t) {
    say_many(t, 10);
    deliver(t, 0);
    say_many(t, 50);
    deliver(t, 0);
}

static void retry_some(trial *t) {
    PLAN(t->w, .status = 503);
    PLAN(t->w, .status = 429, .retry_after = 3, .body = "{\"code\":429,\"error\":\"Too many\"}");
    say_many(t, 10);
    deliver(t, 2);
}

/* An outage takes batches apart, which are put together again. */
static void recover(trial *t) {
    for (int n = 0; n < 8; n++)
        PLAN(t->w, .status = 503);
    say_many(t, 60);
    deliver(t, 1);
}

static void drop_listed(trial *t) {
    for (int n = 0; n < 12; n++)
        say(t, (size_t)n % USERS, n % 5 == 0);
    deliver(t, 0);
}

static void drop_first_listed(trial *t) {
    t->rules.list = LIST_FIRST;
    if (t->w->config.sends_identify)
        t->rules.parts = BAD_IDENTIFY;
    for (int n = 0; n < 12; n++)
        say(t, n < 6 ? 0 : 1, n % 5 == 0);
    deliver(t, 0);
}

static void bisect(trial *t) {
    t->rules.list = LIST_NONE;
    for (int n = 0; n < 12; n++)
        say(t, (size_t)n % USERS, n % 5 == 0);
    deliver(t, 0);
}

static void split_large(trial *t) {
    t->rules.max_body_bytes = 2500;
    say_many(t, 30);
    deliver(t, 0);
}

static void park_and_release(trial *t) {
    t->rules.throttled[0] = "ann";
    t->rules.throttled_until_ms[0] = t->w->now.monotonic_ms + 45000;
    say_many(t, 12);
    (void)try_flush(t->w, 1000, false);
    settle(t->w);
    say_many(t, 12);
    advance(t->w, 20000);
    say_many(t, 12);
    deliver(t, 3);
}

static void park_a_crowd(trial *t) {
    t->rules.throttled[0] = "ann";
    t->rules.throttled[1] = "bob";
    t->rules.throttled_until_ms[0] = t->rules.throttled_until_ms[1] = t->w->now.monotonic_ms + 10;
    t->rules.over_quota[0] = "eve";
    say_many(t, 90);
    deliver(t, 2);
}

static void fill_up(trial *t) {
    say_many(t, 200); /* more than max_queue_bytes */
    deliver(t, 0);
    say_many(t, 5);
    deliver(t, 0);
}

static void abort_and_go_on(trial *t) {
    PLAN(t->w, .status = 200, .silent = true);
    say_many(t, 10);
    const ticket *flushed = try_flush(t->w, 2000, true);
    settle(t->w);
    advance(t->w, 2000);
    server_speak(t->w); /* without memory for the flush, nothing aborts */
    settle(t->w);
    assert_true(flushed == NULL || flushed->done);
    say_many(t, 10);
    deliver(t, 1);
}

static void close_in_time(trial *t) {
    say_many(t, 10);
    const ticket *closed = try_close(t->w, 5000);
    settle(t->w);
    advance(t->w, 5000);
    if (closed == NULL) {
        deliver(t, 0);
        return;
    }
    assert_true(closed->done);
    say(t, 0, false);
    turn(t->w);
}

static void close_too_late(trial *t) {
    t->rules.throttled[0] = "ann";
    t->rules.throttled_until_ms[0] = UINT64_MAX;
    say_many(t, 10);
    (void)try_flush(t->w, 1000, false);
    settle(t->w);
    PLAN(t->w, .status = 503);
    say_many(t, 10);
    const ticket *closed = try_close(t->w, 1);
    settle(t->w);
    advance(t->w, 5000);
    t->rules.throttled_until_ms[0] = 0;
    if (closed == NULL)
        deliver(t, 2);
    assert_true(closed == NULL || closed->done);
}

static void forget(trial *t) {
    say_many(t, 60);
    deliver(t, 0);
    forget_constants(t->w);
    say_many(t, 60);
    deliver(t, 0);
}

/* ---- the checks ---- */

static size_t number_of(const char *variation) {
    return (size_t)strtoul(variation + strcspn(variation, "0123456789"), NULL, 10);
}

static size_t user_of(const char *text) {
    size_t user = 0;
    while (user < USERS && strncmp(text, NAMES[user], 3) != 0)
        user++;
    return user;
}

static void check_trial(const trial *t) {
    bool settled[MOST] = {false};
    size_t next[USERS] = {0};
    for (size_t i = 0; i < t->w->server.count; i++) {
        const arrival *request = &t->w->server.arrivals[i];
        assert_non_null(request->body); /* never half a body */
        for (size_t n = 0; request->status == 200 && n < arrival_count(request); n++) {
            const cJSON *event = arrival_event(request, n);
            if (is_identify(event))
                continue;
            const size_t number =
                number_of(text_of(cJSON_GetObjectItem(event, "event_properties"),
                                  is_exposure(event) ? "variant" : "variation_key"));
            const size_t user = user_of(text_of(event, "user_id"));
            assert_false(settled[number]);
            assert_false(t->bad[number]);
            assert_true(number >= next[user]);
            next[user] = number + 1;
            settled[number] = true;
        }
    }
    for (size_t i = 0; i < t->w->drop_count; i++) {
        const size_t number = number_of(strchr(t->w->drops[i].text, '='));
        assert_false(settled[number]);
        settled[number] = true;
        if (t->w->drops[i].reason == OA_DROP_INVALID_EVENT)
            assert_true(t->bad[number]);
    }
    uint64_t untold = t->w->untold; /* refusals that there was no memory to describe */
    for (size_t i = 0; i < t->count; i++) {
        if (t->accepted[i] && !settled[i] && untold > 0)
            untold--;
        else
            assert_int_equal(settled[i], t->accepted[i]);
    }
}

static const struct {
    const char *name;
    void (*run)(trial *t);
} SCENARIOS[] = {
    {"deliver", deliver_some},    {"retry", retry_some},
    {"drop listed", drop_listed}, {"drop first listed", drop_first_listed},
    {"bisect", bisect},           {"split", split_large},
    {"park", park_and_release},   {"park a crowd", park_a_crowd},
    {"fill up", fill_up},         {"abort", abort_and_go_on},
    {"close", close_in_time},     {"close too late", close_too_late},
    {"forget", forget},           {"recover", recover},
};

typedef enum format { EVENT, MERGED, EXPOSURE, EVENT_IN_LANES, FORMATS } format;

/* Run a scenario with the n-th allocation failing. Returns whether one failed. */
static bool attempt(void (*run)(trial *t), format which, size_t nth) {
    trial *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    t->w = world_new();
    t->w->config.dedupe = true;
    t->w->config.dedupe_max_entries = 64;
    t->w->config.max_queue_bytes = run == fill_up ? 8192 : 1 << 20;
    t->w->config.sends_identify = which == EVENT || which == EVENT_IN_LANES;
    t->w->config.max_concurrent = which == EVENT_IN_LANES ? 3 : 1;
    t->w->config.event_sets_property = which == MERGED;
    t->w->config.sends_exposure = which == EXPOSURE;
    if (which == EXPOSURE)
        t->w->config.event_type = str(NULL);
    memory_fail(nth);
    const oa_status status = world_try_start(t->w);
    if (status == OA_OK) {
        strict_rule(&t->rules, t->w);
        run(t);
        check_trial(t);
    }
    const bool failed = memory_refusals() > 0;
    world_end(t->w);
    free(t);
    return failed;
}

static void any_allocation_may_fail(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof(SCENARIOS) / sizeof(SCENARIOS[0]); i++) {
        for (format which = EVENT; which < FORMATS; which++) {
            size_t nth = 1;
            while (attempt(SCENARIOS[i].run, which, nth))
                nth++;
            if (which == EVENT)
                print_message("%s: %zu allocations\n", SCENARIOS[i].name, nth - 1);
            assert_true(nth > 20);
        }
    }
}

/* ---- no memory at all, for a while ---- */

static void a_lack_of_memory_is_outlived(void **state) {
    (void)state;
    for (int round = 0; round < 4; round++) {
        world *w = world_start(world_new());
        w->random = 450; /* an answer that there is no memory for is an attempt, too */
        decide(w, "ann", "f", "a");
        if (round == 1) { /* something is parked, */
            PLAN(w, .status = 429, .body = "{\"throttled_users\":{\"ann\":31}}");
            flush(w, 1000);
            settle(w);
        } else if (round == 2) { /* backs off, */
            PLAN(w, .status = 503);
            flush(w, 1000);
            settle(w);
        } else if (round == 3) { /* or is in flight */
            PLAN(w, .status = 400, .silent = true);
            decide(w, "bob", "f", "a");
            flush(w, 1000);
            settle(w);
        }
        const uint64_t pending = stats_of(w).pending;
        memory_deny(true);
        w->server.otherwise.status = 503; /* one that needs no memory would go through */
        server_speak(w);
        for (int i = 0; i < 10; i++)
            advance(w, 31000);
        assert_int_equal(stats_of(w).pending, pending);
        if (round == 0)
            assert_null(try_flush(w, 1000, false));
        memory_deny(false);
        w->server.otherwise.status = 200;
        advance(w, 31000);
        flush_now(w, stats_of(w).pending, 0, 0);
        assert_int_equal(stats_of(w).delivered, pending);
        world_end(w);
    }
}

static void a_body_that_does_not_fit_into_memory_is_never_sent_in_part(void **state) {
    (void)state;
    static char text[3000];
    snprintf(text, sizeof(text), "\"x\":\"%02500d\"", 0);
    for (size_t nth = 1; nth < 40; nth++) {
        world *w = world_new();
        w->config.max_body_bytes = 300; /* every decision is larger alone */
        world_start(w);
        const oa_decision large = {.user_id = str("ann"), .event_properties = str(text)};
        assert_int_equal(decide_with(w, &large, "f", "a", true), OA_OK);
        for (int n = 0; n < 5; n++)
            decide(w, "bob", "f", "a");
        memory_fail(nth);
        const ticket *t = try_flush(w, 60000, false);
        settle(w);
        advance(w, 10000);
        advance(w, 10000);
        for (size_t i = 0; i < w->server.count; i++)
            assert_non_null(w->server.arrivals[i].body);
        assert_int_equal(stats_of(w).delivered, 6);
        assert_true(t == NULL || t->done);
        world_end(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(a_lack_of_memory_is_outlived),
        cmocka_unit_test(a_body_that_does_not_fit_into_memory_is_never_sent_in_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
