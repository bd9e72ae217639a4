/* The numbers of the delivery policy: each is one that a request, or a wait, shows. */
#include "support_strict.h"

/* How many decisions a request carried, of as many users. */
static size_t carried(const world *w, size_t index) {
    assert_true(w->server.count > index);
    return arrival_count(&w->server.arrivals[index]) / 2;
}

/* Let time pass, until so many requests have come. */
static void wait_for_requests(world *w, size_t count) {
    enum { STEP_MS = 500, AN_HOUR_MS = 3600 * 1000 };
    for (int ms = 0; w->server.count < count; ms += STEP_MS) {
        assert_true(ms < AN_HOUR_MS);
        advance(w, STEP_MS);
    }
}

static void a_batch_is_halved_from_its_third_failure_on(void **state) {
    (void)state;
    static const int statuses[] = {0, 403, 503};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        world *w = world_start(world_new());
        w->server.otherwise.status = statuses[i];
        decide_many(w, 4, NULL, 0);
        flush(w, 1);
        wait_for_requests(w, 4);
        assert_int_equal(carried(w, 0), 4);
        assert_int_equal(carried(w, 1), 4);
        assert_int_equal(carried(w, 2), 4);
        assert_int_equal(carried(w, 3), 2);
        world_end(w);
    }
}

/* One bad decision must not look like an outage, so others are tried meanwhile. */
static void eight_batches_step_aside_for_others(void **state) {
    (void)state;
    world *w = world_start(world_new());
    size_t most_aside = 0;
    w->server.otherwise.status = 503;
    for (int n = 0; n < 30; n++) {
        char user[16];
        snprintf(user, sizeof(user), "u%d", n);
        decide(w, user, "f", "a");
        for (int request = 0; request < 4; request++) { /* each gets its turn alone */
            wait_for_requests(w, w->server.count + 1);
            if (w->dispatcher->lanes.first->park.aside_count > most_aside)
                most_aside = w->dispatcher->lanes.first->park.aside_count;
        }
    }
    assert_int_equal(most_aside, 8);
    assert_int_equal(w->drop_count, 0);
    world_end(w);
}

static void refuse_the_first_user(void *data, const arrival *request, answer *out) {
    (void)data;
    out->status = 200;
    for (size_t i = 0; i < arrival_count(request); i++)
        if (strcmp(text_of(arrival_event(request, i), "user_id"), "u0") == 0)
            out->status = 403;
}

/* A function that is frozen between its invocations comes to no moment within a back-off. */
static void a_host_that_is_seldom_awake_tries_others_too(void **state) {
    (void)state;
    enum { INVOCATIONS = 30, STEP_MS = 50 };
    static const uint64_t timeouts_ms[] = {0, 500, 2000};
    for (size_t i = 0; i < sizeof(timeouts_ms) / sizeof(timeouts_ms[0]); i++) {
        world *w = world_start(world_new());
        w->server.respond = refuse_the_first_user;
        for (int n = 0; n < INVOCATIONS; n++) {
            char user[16];
            snprintf(user, sizeof(user), "u%d", n);
            decide(w, user, "f", "a");
            flush_abort(w, timeouts_ms[i]);
            settle(w);
            for (uint64_t ms = 0; ms < timeouts_ms[i]; ms += STEP_MS)
                advance(w, STEP_MS);
            advance(w, 120 * 1000);
        }
        assert_true(stats_of(w).delivered > INVOCATIONS / 2);
        world_end(w);
    }
}

/* Two bad decisions may well be neighbours; three that are refused alone are the request's fault. */
static void the_third_decision_that_is_refused_alone_shows_that_it_is_the_request(void **state) {
    (void)state;
    world *w = world_start(world_new());
    w->server.otherwise = (answer){.status = 400, .body = "{\"code\":400,\"error\":\"no\"}"};
    decide_many(w, 4, NULL, 0);
    flush(w, 1000);
    TURN_UNTIL(w, stats_of(w).health == OA_HEALTH_CONFIGURATION);
    static const size_t expected[] = {4, 2, 1, 1, 1};
    assert_int_equal(w->server.count, sizeof(expected) / sizeof(expected[0]));
    for (size_t i = 0; i < w->server.count; i++)
        assert_int_equal(carried(w, i), expected[i]);
    assert_int_equal(w->drop_count, 0);
    world_end(w);
}

static void list_the_first(void *data, const arrival *request, answer *out) {
    (void)data;
    (void)request;
    *out = (answer){.status = 400,
                    .body = "{\"code\":400,\"events_with_invalid_fields\":{\"x\":[0]}}"};
}

/* A batch of two hundred would be sent two hundred times. */
static void after_three_lists_of_hardly_any_a_batch_is_halved_with_a_pause(void **state) {
    (void)state;
    world *w = world_start(world_new());
    w->server.respond = list_the_first;
    decide_many(w, 200, NULL, 0);
    flush(w, 60000);
    settle(w);
    assert_int_equal(w->server.count, 3); /* the next one comes after the pause */
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(carried(w, i), 200 - i);
    advance(w, 200);
    assert_in_range(carried(w, 3), 197 / 2, 197 / 2 + 1);
    assert_int_equal(w->drop_count, w->server.count);
    world_end(w);
}

/* Drops come before users are throttled, and their marks are no one's then. */
static void only_those_that_are_left_are_throttled(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {
        .throttled = {"bob"}, .throttled_until_ms = {UINT64_MAX}, .over_quota = {"ann"}};
    strict_rule(&rules, w);
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    flush(w, 1000);
    settle(w);
    EXPECT_DROP(w, 0, OA_DROP_QUOTA_EXCEEDED, "ann:f=a");
    assert_int_equal(w->drop_count, 1);
    const line *throttled = NULL;
    for (size_t i = 0; i < w->line_count; i++)
        if (strcmp(w->lines[i].topic, "throttled") == 0)
            throttled = &w->lines[i];
    assert_non_null(throttled);
    assert_memory_equal(throttled->text, "1 decision of throttled users", 29);
    world_end(w);
}

enum { REFUSED = 3000, REFUSED_CHUNK = 4096 };

/* Assert that what is told already holds no memory, but for less than a chunk. */
static void check_refused_bytes(world *w) {
    const oa_notices *notices = &w->dispatcher->notices;
    const size_t record_bytes = (sizeof(oa_record) + strlen("u0000") + 7) / 8 * 8;
    const size_t *begin_bytes = w->data;
    const size_t slack = *begin_bytes - REFUSED * record_bytes; /* the last chunk, and headers */
    const size_t held = REFUSED - w->drop_count + notices->lent_count;
    assert_true(notices->refused_arena.bytes < held * record_bytes + slack + REFUSED_CHUNK);
}

static void refusals_that_are_told_slowly_hold_no_others_memory(void **state) {
    (void)state;
    world *w = world_new();
    size_t begin_bytes = 0;
    w->config.opt_out = true;
    w->on_drop = check_refused_bytes;
    w->data = &begin_bytes;
    world_start(w);
    for (int n = 0; n < REFUSED; n++) {
        char user[16];
        snprintf(user, sizeof(user), "u%04d", n);
        assert_int_equal(try_decide(w, user, NULL, "f", "a", true), OA_OPTED_OUT);
    }
    begin_bytes = w->dispatcher->notices.refused_arena.bytes;
    assert_int_equal(w->drop_count, 0);
    turn(w);
    assert_int_equal(w->drop_count, REFUSED);
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_halved_from_its_third_failure_on),
        cmocka_unit_test(eight_batches_step_aside_for_others),
        cmocka_unit_test(a_host_that_is_seldom_awake_tries_others_too),
        cmocka_unit_test(the_third_decision_that_is_refused_alone_shows_that_it_is_the_request),
        cmocka_unit_test(after_three_lists_of_hardly_any_a_batch_is_halved_with_a_pause),
        cmocka_unit_test(only_those_that_are_left_are_throttled),
        cmocka_unit_test(refusals_that_are_told_slowly_hold_no_others_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
