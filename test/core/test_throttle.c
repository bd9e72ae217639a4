/* 429: users who pause or are over their quota, while all other decisions flow. */
#include "support_strict.h"

static void throttled_users_wait_and_others_flow(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {.throttled = {"ann"}, .throttled_until_ms = {UINT64_MAX}};
    strict_rule(&rules, w);
    decide(w, "ann", "f", "1");
    decide(w, "bob", "f", "a");
    decide(w, "ann", "f", "2");
    decide(w, "eve", "f", "a");
    const ticket *t = flush(w, 60000);
    settle(w);
    assert_int_equal(w->server.count, 2);
    assert_string_equal(delivered_text(w), "bob:f=a eve:f=a");
    assert_true(was_logged(w, "throttled"));
    decide(w, "ann", "f", "3"); /* while she pauses */
    decide(w, "bob", "f", "b");
    settle(w);
    advance(w, 1);
    assert_int_equal(stats_of(w).delivered, 3);
    rules.throttled_until_ms[0] = 0;
    advance(w, 29998);
    assert_int_equal(stats_of(w).delivered, 3);
    assert_false(t->done);
    advance(w, 1);
    EXPECT_REPORT(t, 4, 0, 0);
    decide(w, "ann", "f", "4");
    flush_now(w, 1, 0, 0);
    assert_string_equal(delivered_text(w), "bob:f=a eve:f=a bob:f=b ann:f=1 ann:f=2 ann:f=3 "
                                           "ann:f=4");
    world_end(w);
}

static void what_a_throttled_user_has_in_other_batches_waits_too(void **state) {
    (void)state;
    world *w = world_new();
    world_start(w);
    strict rules = {.throttled = {"ann"}, .throttled_until_ms = {0}};
    strict_rule(&rules, w);
    /* A refusal cuts the batch in two: ann is in both halves, in what comes next, and in the
     * queue. */
    PLAN(w, .status = 400, .silent = true);
    decide(w, "ann", "f", "1");
    decide(w, "bob", "f", "1");
    decide(w, "ann", "f", "2");
    decide(w, "bob", "f", "2");
    const ticket *t = flush(w, 60000);
    rules.throttled_until_ms[0] = UINT64_MAX;
    settle(w);
    decide(w, "ann", "f", "3");
    decide(w, "bob", "f", "3");
    server_speak(w);
    settle(w);
    assert_string_equal(delivered_text(w), "bob:f=1 bob:f=2 bob:f=3");
    assert_int_equal(w->dispatcher->lanes.first->park.record_count, 3);
    assert_int_equal(w->server.count, 5); /* throttled once, then not sent any more */
    rules.throttled_until_ms[0] = 0;
    advance(w, 30000);
    EXPECT_REPORT(t, 4, 0, 0);
    assert_string_equal(delivered_text(w), "bob:f=1 bob:f=2 bob:f=3 ann:f=1 ann:f=2 ann:f=3");
    world_end(w);
}

static void a_user_may_be_throttled_again(void **state) {
    (void)state;
    world *w = world_start(world_new());
    const uint64_t now_ms = w->now.monotonic_ms;
    strict rules = {.throttled = {"ann", "bob"},
                    .throttled_until_ms = {now_ms + 70000, now_ms + 31000}};
    strict_rule(&rules, w);
    decide(w, "ann", "f", "1");
    decide(w, "bob", "f", "1");
    const ticket *t = flush(w, 3600 * 1000);
    settle(w);
    for (int n = 2; n < 12; n++) {
        char variation[16];
        snprintf(variation, sizeof(variation), "%d", n);
        decide(w, "ann", "f", variation);
        decide(w, "bob", "f", variation);
        advance(w, 10000);
    }
    EXPECT_REPORT(t, 2, 0, 0);
    flush_now(w, stats_of(w).pending, 0, 0);
    int next[2] = {1, 1};
    char *save = NULL;
    char *all = strdup(delivered_text(w));
    for (char *at = strtok_r(all, " ", &save); at != NULL; at = strtok_r(NULL, " ", &save)) {
        int *expected = &next[at[0] == 'b'];
        assert_int_equal(atoi(at + 6), *expected);
        ++*expected;
    }
    free(all);
    assert_int_equal(next[0], 12);
    assert_int_equal(next[1], 12);
    world_end(w);
}

static void each_further_429_halves_what_is_sent_at_once(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {.throttled = {"ann"}, .throttled_until_ms = {UINT64_MAX}};
    strict_rule(&rules, w);
    for (int n = 0; n < 8; n++)
        decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    const ticket *t = flush(w, 3600 * 1000);
    settle(w);
    static const size_t sent[] = {8, 4, 2, 1, 1};
    for (size_t i = 0; i < 5; i++) {
        const size_t before = w->server.count;
        advance(w, 30000);
        assert_int_equal(w->server.count, before + 1);
        assert_int_equal(arrival_count(&w->server.arrivals[before]), 2 * sent[i]);
    }
    assert_int_equal(w->drop_count, 0); /* whatever flushMaxRetries is: it is not to blame */
    rules.throttled_until_ms[0] = 0;
    advance(w, 30000);
    EXPECT_REPORT(t, 9, 0, 0);
    world_end(w);
}

static void throttled_devices_wait(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {
        .throttled = {"d1"}, .throttled_until_ms = {UINT64_MAX}, .throttles_devices = true};
    strict_rule(&rules, w);
    assert_int_equal(try_decide(w, NULL, "d1", "f", "1", true), OA_OK);
    assert_int_equal(try_decide(w, NULL, "d2", "f", "1", true), OA_OK);
    assert_int_equal(try_decide(w, "d1", NULL, "f", "1", true), OA_OK); /* a user of that name */
    assert_int_equal(try_decide(w, NULL, "d1", "f", "2", true), OA_OK);
    flush(w, 1000);
    settle(w);
    assert_string_equal(delivered_text(w), "@d2:f=1 d1:f=1");
    rules.throttled_until_ms[0] = 0;
    advance(w, 30000);
    assert_string_equal(delivered_text(w), "@d2:f=1 d1:f=1 @d1:f=1 @d1:f=2");
    world_end(w);
}

static void a_longer_retry_after_lengthens_the_pause(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 429, .retry_after = 40, .body = "{\"throttled_users\":{\"ann\":31}}");
    PLAN(w, .status = 200);
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    flush(w, 1000);
    settle(w);
    assert_string_equal(delivered_text(w), "bob:f=a");
    advance(w, 39999);
    assert_int_equal(stats_of(w).pending, 1);
    advance(w, 1);
    assert_int_equal(stats_of(w).pending, 0);
    world_end(w);
}

static void many_throttled_users_are_parked(void **state) {
    (void)state;
    world *w = world_start(world_new());
    static char body[40000];
    snprintf(body, sizeof(body), "{\"throttled_events\":[");
    for (int n = 0; n < 900; n++)
        snprintf(body + strlen(body), 16, "%s%d", n == 0 ? "" : ",", n * 2);
    strcat(body, "]}");
    server_plan(w, (answer){.status = 429, .body = body});
    decide_many(w, 999, NULL, 0);
    const ticket *t = flush(w, 60000);
    settle(w);
    assert_int_equal(w->dispatcher->lanes.first->park.user_count, 900);
    assert_int_equal(stats_of(w).delivered, 99);
    decide_many(w, 1000, NULL, 0);
    advance(w, 1);
    assert_int_equal(w->dispatcher->lanes.first->park.record_count, 1800);
    advance(w, 29999);
    EXPECT_REPORT(t, 999, 0, 0);
    flush_now(w, stats_of(w).pending, 0, 0);
    assert_int_equal(w->dispatcher->lanes.first->park.user_count, 0);
    world_end(w);
}

static void many_pauses_cost_little_memory(void **state) {
    (void)state;
    enum { COUNT = 200 };
    world *w = world_start(world_new());
    char user[16];
    for (int n = 0; n < COUNT; n++) {
        snprintf(user, sizeof(user), "u%d", n);
        w->server.script_at = w->server.script_count = 0;
        PLAN(w, .status = 429, .body = "{\"throttled_events\":[0]}");
        decide(w, user, "f", "a");
        flush(w, 1);
        settle(w);
        advance(w, 1);
    }
    assert_int_equal(w->dispatcher->lanes.first->park.record_count, COUNT);
    assert_true(stats_of(w).queue_bytes <= COUNT * 1024);
    advance(w, 30000);
    assert_int_equal(stats_of(w).delivered, COUNT);
    world_end(w);
}

static void a_user_over_the_daily_quota_is_dropped(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {
        .throttled = {"ann"}, .throttled_until_ms = {UINT64_MAX}, .over_quota = {"bob", "tom"}};
    strict_rule(&rules, w);
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    decide(w, "eve", "f", "a");
    decide(w, "bob", "g", "a");
    decide(w, "tom", "f", "a");
    const ticket *t = flush(w, 1000);
    settle(w);
    advance(w, 1000);
    EXPECT_REPORT(t, 1, 3, 1);
    EXPECT_DROP(w, 0, OA_DROP_QUOTA_EXCEEDED, "bob:f=a");
    EXPECT_DROP(w, 1, OA_DROP_QUOTA_EXCEEDED, "bob:g=a");
    EXPECT_DROP(w, 2, OA_DROP_QUOTA_EXCEEDED, "tom:f=a");
    world_end(w);
}

static void everything_at_once(void **state) {
    (void)state;
    world *w = world_new();
    w->config.flush_queue_size = 50;
    world_start(w);
    strict rules = {.list = LIST_FIRST,
                    .max_body_bytes = 4000,
                    .throttled = {"u3", "u7"},
                    .over_quota = {"u5"}};
    rules.throttled_until_ms[0] = rules.throttled_until_ms[1] = w->now.monotonic_ms + 45000;
    strict_rule(&rules, w);
    w->random = 450;
    for (int i = 0; i < 5; i++) {
        decide_many(w, 20, (const int[]){2, 11}, 2);
        settle(w);
    }
    const ticket *t = flush(w, 3600 * 1000);
    settle(w);
    for (int i = 0; i < 10; i++)
        advance(w, 30000);
    assert_true(t->done);
    assert_int_equal(t->report.pending, 0);
    assert_int_equal(stats_of(w).delivered, 5 * 17);
    assert_int_equal(stats_of(w).dropped[OA_DROP_INVALID_EVENT], 10);
    assert_int_equal(stats_of(w).dropped[OA_DROP_QUOTA_EXCEEDED], 5);
    world_end(w);
}

/* The world checks after each decision that its host would not sleep too long. */
static void one_who_is_not_parked_is_due_before_the_back_off_ends(void **state) {
    (void)state;
    world *w = world_new();
    w->config.throttle_ms = 10 * 60 * 1000;
    w->config.max_age_ms = 20000;
    w->config.flush_interval_ms = 1000;
    w->random = UINT64_MAX; /* the longest back-off */
    world_start(w);
    PLAN(w, .status = 429, .body = "{\"code\":429,\"throttled_users\":{\"ann\":31}}");
    decide(w, "ann", "f", "1");
    flush(w, 0);
    advance(w, 1);
    w->server.otherwise = (answer){.status = 500};
    decide(w, "bob", "f", "1");
    while (w->drop_count == 0)
        advance(w, 1000);
    EXPECT_DROP(w, 0, OA_DROP_EXPIRED, "bob:f=1");
    assert_int_equal(w->dispatcher->lanes.first->park.aside_count, 0);
    const uint64_t requests = w->server.count;
    decide(w, "ann", "f", "2");
    decide(w, "eve", "f", "1"); /* nothing of hers has failed */
    advance(w, 2000);
    assert_int_equal(w->server.count, requests + 1);
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(throttled_users_wait_and_others_flow),
        cmocka_unit_test(what_a_throttled_user_has_in_other_batches_waits_too),
        cmocka_unit_test(a_user_may_be_throttled_again),
        cmocka_unit_test(each_further_429_halves_what_is_sent_at_once),
        cmocka_unit_test(throttled_devices_wait),
        cmocka_unit_test(a_longer_retry_after_lengthens_the_pause),
        cmocka_unit_test(many_throttled_users_are_parked),
        cmocka_unit_test(many_pauses_cost_little_memory),
        cmocka_unit_test(a_user_over_the_daily_quota_is_dropped),
        cmocka_unit_test(everything_at_once),
        cmocka_unit_test(one_who_is_not_parked_is_due_before_the_back_off_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
