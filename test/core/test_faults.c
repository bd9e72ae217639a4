/* Every answer that is no 200: what is sent again, when, in which order, and what is dropped. */
#include "support_strict.h"

static const uint64_t MOST = UINT64_C(0xffffffff); /* a draw that makes no wait the shortest */

/* Record decisions f=a of u0, u1, ... but f=bad of those in `bad`. */
static void decide_many(world *w, int count, const int *bad, size_t bad_count) {
    char user[16];
    for (int n = 0; n < count; n++) {
        const char *variation = "a";
        for (size_t i = 0; i < bad_count; i++)
            if (bad[i] == n)
                variation = "bad";
        snprintf(user, sizeof(user), "u%d", n);
        decide(w, user, "f", variation);
    }
}

/* ---- outages ---- */

static void an_outage_is_retried_with_the_same_ids(void **state) {
    (void)state;
    static const answer outages[] = {
        {.status = 0},
        {.status = 500},
        {.status = 502, .body = "<html>Bad Gateway</html>"},
        {.status = 503},
        {.status = 504},
        {.status = 408},
        {.status = 429},
        {.status = 429, .body = "{\"code\":429,\"error\":\"Too many requests\"}"},
        {.status = 403, .body = "<html>Forbidden</html>"},
        {.status = 400, .body = "no JSON"},
        {.status = 301},
        {.status = 429, .body = "{\"throttled_users\":{\"somebody else\":31}}"},
    };
    for (size_t i = 0; i < sizeof(outages) / sizeof(outages[0]); i++) {
        world *w = world_start(world_new());
        atomic_store(&w->random, 300);
        server_plan(w, outages[i]);
        decide(w, "ann", "f", "a");
        decide(w, "bob", "f", "b");
        const ticket *t = flush(w, 10000);
        settle(w);
        assert_false(t->done);
        assert_int_equal(w->server.count, 1);
        assert_true(stats_of(w).has_error);
        assert_int_equal(stats_of(w).error_status_code, outages[i].status);
        assert_true(was_logged(w, "retry"));
        decide(w, "ann", "f", "c"); /* later than what waits, whatever happens */
        advance(w, 299);
        assert_int_equal(w->server.count, 1);
        advance(w, 1);
        EXPECT_REPORT(t, 2, 0, 0);
        char *first = cJSON_PrintUnformatted(w->server.arrivals[0].body);
        char *second = cJSON_PrintUnformatted(w->server.arrivals[1].body);
        assert_string_equal(first, second);
        cJSON_free(first);
        cJSON_free(second);
        flush_now(w, 1, 0, 0);
        assert_string_equal(delivered_text(w), "ann:f=a bob:f=b ann:f=c");
        assert_int_equal(stats_of(w).requests_sent, 3);
        assert_int_equal(stats_of(w).requests_retried, 1);
        assert_int_equal(stats_of(w).requests_failed, 1);
        world_end(w);
    }
}

static void any_success_delivers(void **state) {
    (void)state;
    static const answer answers[] = {
        {.status = 200}, {.status = 200, .body = "rubbish"}, {.status = 202}, {.status = 204}};
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        world *w = world_start(world_new());
        server_plan(w, answers[i]);
        decide(w, "ann", "f", "a");
        flush_now(w, 1, 0, 0);
        assert_false(stats_of(w).has_error);
        world_end(w);
    }
}

static void back_off_doubles_and_then_gives_up(void **state) {
    (void)state;
    world *w = world_start(world_new());
    static const uint64_t limits[] = {500,   1000,  2000,   4000,   8000,  16000,
                                      32000, 64000, 120000, 120000, 120000};
    w->server.otherwise.status = 503;
    atomic_store(&w->random, limits[0]); /* the longest wait */
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    const ticket *t = flush(w, 3600 * 1000);
    settle(w);
    for (size_t i = 0; i < 11; i++) {
        assert_int_equal(w->server.count, i + 1);
        if (i + 1 < 11)
            atomic_store(&w->random, limits[i + 1]);
        advance(w, limits[i] - 1);
        assert_int_equal(w->server.count, i + 1);
        assert_int_equal(w->drop_count, 0);
        advance(w, 1);
    }
    EXPECT_REPORT(t, 0, 2, 0);
    assert_int_equal(w->server.count, 12); /* flush_max_retries */
    EXPECT_DROP(w, 0, OA_DROP_RETRIES_EXHAUSTED, "ann:f=a");
    EXPECT_DROP(w, 1, OA_DROP_RETRIES_EXHAUSTED, "bob:f=a");
    assert_int_equal(w->drops[0].status_code, 503);
    assert_int_equal(stats_of(w).requests_failed, 12);

    /* What comes afterwards starts from the beginning. */
    w->server.otherwise.status = 200;
    decide(w, "eve", "f", "a");
    advance(w, 120000);
    assert_int_equal(stats_of(w).delivered, 1);
    world_end(w);
}

static void attempts_are_counted_for_each_decision_after_splits(void **state) {
    (void)state;
    world *w = world_new();
    w->config.flush_max_retries = 3;
    world_start(w);
    PLAN(w, .status = 503);
    PLAN(w, .status = 400);
    PLAN(w, .status = 503); /* the first half, its second attempt */
    PLAN(w, .status = 200);
    PLAN(w, .status = 503); /* the other half, its second */
    PLAN(w, .status = 503); /* and its last */
    decide_many(w, 8, NULL, 0);
    flush_now(w, 4, 4, 0);
    assert_int_equal(w->server.count, 6);
    for (size_t i = 0; i < 4; i++) {
        char text[16];
        snprintf(text, sizeof(text), "u%zu:f=a", i + 4);
        EXPECT_DROP(w, i, OA_DROP_RETRIES_EXHAUSTED, text);
    }
    world_end(w);
}

static void one_attempt_means_one(void **state) {
    (void)state;
    world *w = world_new();
    w->config.flush_max_retries = 1;
    world_start(w);
    w->server.otherwise.status = 500;
    decide(w, "ann", "f", "a");
    flush_now(w, 0, 1, 0);
    assert_int_equal(w->server.count, 1);
    world_end(w);
}

static void a_flush_ends_a_back_off(void **state) {
    (void)state;
    world *w = world_start(world_new());
    atomic_store(&w->random, 500);
    PLAN(w, .status = 503);
    decide(w, "ann", "f", "a");
    const ticket *first = flush(w, 10000);
    settle(w);
    assert_int_equal(w->server.count, 1);
    flush_now(w, 1, 0, 0);
    EXPECT_REPORT(first, 1, 0, 0);
    world_end(w);
}

static void a_flush_does_not_end_a_retry_after(void **state) {
    (void)state;
    static const char *const values[] = {"7", "Fri, 15 Jan 2027 12:00:07 GMT"};
    for (size_t i = 0; i < 2; i++) {
        world *w = world_start(world_new());
        PLAN(w, .status = 503, .retry_after = values[i]);
        decide(w, "ann", "f", "a");
        const ticket *first = flush(w, 10000);
        settle(w);
        const ticket *second = flush(w, 1000);
        settle(w);
        advance(w, 1000);
        EXPECT_REPORT(second, 0, 0, 1);
        advance(w, 5999);
        assert_int_equal(w->server.count, 1);
        advance(w, 1);
        assert_int_equal(w->server.count, 2);
        EXPECT_REPORT(first, 1, 0, 0);
        world_end(w);
    }
}

static void a_retry_after_is_bounded(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 429, .retry_after = "86400");
    decide(w, "ann", "f", "a");
    flush(w, 1000);
    settle(w);
    advance(w, 299999);
    assert_int_equal(w->server.count, 1);
    advance(w, 1);
    assert_int_equal(stats_of(w).delivered, 1);
    world_end(w);
}

static void new_decisions_wait_behind_an_outage(void **state) {
    (void)state;
    world *w = world_new();
    w->config.flush_queue_size = 2;
    world_start(w);
    atomic_store(&w->random, 400);
    PLAN(w, .status = 503);
    decide(w, "ann", "f", "a");
    settle(w);
    for (int i = 0; i < 10; i++) {
        decide(w, "bob", "f", "a");
        settle(w);
    }
    assert_int_equal(w->server.count, 1);
    advance(w, 400);
    assert_int_equal(w->server.count, 3);
    EXPECT_ARRIVAL(w, 1, "ann{f=a} ann:f=a");
    assert_int_equal(stats_of(w).delivered, 11);
    world_end(w);
}

/* ---- 400 ---- */

static void listed_events_are_dropped_and_the_rest_sent(void **state) {
    (void)state;
    static const int bad[] = {0, 3, 4, 9};
    for (int list = LIST_ALL; list <= LIST_FIRST; list++) {
        for (int parts = BAD_BOTH; parts <= BAD_EVENT; parts++) {
            world *w = world_start(world_new());
            strict rules = {.list = (strict_list)list, .parts = (strict_parts)parts};
            strict_rule(&rules, w);
            decide_many(w, 10, bad, 4);
            flush_now(w, 6, 4, 0);
            assert_string_equal(delivered_text(w), "u1:f=a u2:f=a u5:f=a u6:f=a u7:f=a u8:f=a");
            EXPECT_DROP(w, 0, OA_DROP_INVALID_EVENT, "u0:f=bad");
            EXPECT_DROP(w, 1, OA_DROP_INVALID_EVENT, "u3:f=bad");
            EXPECT_DROP(w, 2, OA_DROP_INVALID_EVENT, "u4:f=bad");
            EXPECT_DROP(w, 3, OA_DROP_INVALID_EVENT, "u9:f=bad");
            assert_int_equal(w->server.count, list == LIST_ALL ? 2 : 5);
            world_end(w);
        }
    }
}

static void a_drop_tells_the_insert_id_of_the_event(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {.list = LIST_ALL};
    strict_rule(&rules, w);
    decide(w, "ann", "f", "bad");
    flush_now(w, 0, 1, 0);
    assert_string_equal(w->drops[0].insert_id,
                        text_of(arrival_event(&w->server.arrivals[0], 1), "insert_id"));
    assert_int_equal(w->drops[0].time_ms, INT64_C(1800014400000));
    assert_int_equal(w->drops[0].status_code, 400);
    assert_non_null(strstr(w->drops[0].message, "Invalid field values on some events"));
    world_end(w);
}

static void a_dropped_exposure_may_be_sent_again(void **state) {
    (void)state;
    world *w = world_new();
    w->config.dedupe = true;
    world_start(w);
    strict rules = {.list = LIST_ALL};
    strict_rule(&rules, w);
    decide(w, "ann", "f", "bad");
    flush_now(w, 0, 1, 0);
    decide(w, "ann", "f", "bad"); /* no repeat */
    rules.parts = BAD_IDENTIFY;
    flush_now(w, 0, 1, 0);
    assert_string_equal(w->drops[0].insert_id, w->drops[1].insert_id);
    world_end(w);
}

static void a_shared_identify_that_is_refused_is_taken_apart(void **state) {
    (void)state;
    for (int list = LIST_ALL; list <= LIST_FIRST; list++) {
        world *w = world_start(world_new());
        strict rules = {.list = (strict_list)list, .parts = BAD_IDENTIFY};
        strict_rule(&rules, w);
        decide(w, "ann", "f", "a");
        decide(w, "ann", "g", "bad");
        decide(w, "ann", "h", "a");
        decide(w, "bob", "f", "a");
        decide(w, "bob", "g", "a");
        flush_now(w, 4, 1, 0);
        EXPECT_DROP(w, 0, OA_DROP_INVALID_EVENT, "ann:g=bad");
        EXPECT_ARRIVAL(w, 1, /* everybody else's stay together */
                       "ann{f=a} ann:f=a ann{g=bad} ann:g=bad ann{h=a} ann:h=a bob{f=a,g=a} "
                       "bob:f=a bob:g=a");
        EXPECT_ARRIVAL(w, 2, "ann{f=a} ann:f=a ann{h=a} ann:h=a bob{f=a,g=a} bob:f=a bob:g=a");
        assert_int_equal(w->server.count, 3);
        world_end(w);
    }
}

static void a_refusal_without_a_list_is_bisected(void **state) {
    (void)state;
    static const int statuses[] = {400, 403, 404, 422};
    static const struct {
        int bad[6];
        size_t count;
    } cases[] = {{{0}, 1}, {{36}, 1}, {{0, 36}, 2}, {{5, 6, 7, 20}, 4}, {{0}, 0}};
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < sizeof(cases) / sizeof(cases[0]); j++) {
            world *w = world_start(world_new());
            strict rules = {.list = LIST_NONE, .refusal = statuses[i]};
            strict_rule(&rules, w);
            decide_many(w, 37, cases[j].bad, cases[j].count);
            flush_now(w, 37 - cases[j].count, cases[j].count, 0);
            char expected[1024] = "";
            for (int n = 0; n < 37; n++) {
                bool is_bad = false;
                for (size_t k = 0; k < cases[j].count; k++)
                    is_bad |= cases[j].bad[k] == n;
                if (!is_bad)
                    snprintf(expected + strlen(expected), 32, "%su%d:f=a",
                             expected[0] == '\0' ? "" : " ", n);
            }
            assert_string_equal(delivered_text(w), expected);
            for (size_t k = 0; k < cases[j].count; k++) {
                char text[16];
                snprintf(text, sizeof(text), "u%d:f=bad", cases[j].bad[k]);
                EXPECT_DROP(w, k, OA_DROP_INVALID_EVENT, text);
                assert_int_equal(w->drops[k].status_code, statuses[i]);
            }
            assert_true(w->server.count <= 1 + cases[j].count * 2 * 7);
            world_end(w);
        }
    }
}

static void one_bad_event_of_two_thousand_is_found(void **state) {
    (void)state;
    for (int list = LIST_ALL; list <= LIST_NONE; list++) {
        world *w = world_start(world_new());
        strict rules = {.list = (strict_list)list};
        strict_rule(&rules, w);
        decide_many(w, 2000, (const int[]){1234}, 1);
        flush_now(w, 1999, 1, 0);
        EXPECT_DROP(w, 0, OA_DROP_INVALID_EVENT, "u1234:f=bad");
        world_end(w);
    }
}

static void many_drops_are_told_in_small_portions(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 400, .body = "{\"code\":400,\"error\":\"Invalid API key: 0123\"}");
    decide_many(w, 200, NULL, 0);
    flush_now(w, 0, 200, 0);
    EXPECT_DROP(w, 0, OA_DROP_INVALID_API_KEY, "u0:f=a");
    EXPECT_DROP(w, 199, OA_DROP_INVALID_API_KEY, "u199:f=a");
    assert_int_equal(w->largest_report, 64);
    assert_true(was_logged(w, "invalid_api_key"));
    for (size_t i = 0; i < w->line_count; i++)
        assert_null(strstr(w->lines[i].text, "0123"));
    assert_int_equal(w->server.count, 1);
    world_end(w);
}

static void a_missing_api_key_is_a_bad_one(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 400,
         .body = "{\"code\":400,\"error\":\"Request missing required field\","
                 "\"missing_field\":\"api_key\"}");
    decide(w, "ann", "f", "a");
    flush_now(w, 0, 1, 0);
    EXPECT_DROP(w, 0, OA_DROP_INVALID_API_KEY, "ann:f=a");
    world_end(w);
}

/* ---- 413 ---- */

static void a_large_body_is_split_and_the_size_remembered(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {.max_body_bytes = 5000};
    strict_rule(&rules, w);
    decide_many(w, 100, NULL, 0);
    flush_now(w, 100, 0, 0);
    const size_t first = w->server.count;
    uint64_t failed = stats_of(w).requests_failed;
    assert_in_range(failed, 1, 5);
    char expected[4096] = "";
    for (int n = 0; n < 100; n++)
        snprintf(expected + strlen(expected), 32, "%su%d:f=a", n == 0 ? "" : " ", n);
    assert_string_equal(delivered_text(w), expected);

    /* The next batch fits at once. */
    decide_many(w, 40, NULL, 0);
    flush_now(w, 40, 0, 0);
    assert_true(w->server.count > first);
    assert_int_equal(stats_of(w).requests_failed, failed);

    /* After many full bodies a larger one is tried, at the price of one refusal, and it grows. */
    rules.max_body_bytes = 0;
    const size_t before = w->dispatcher->fit.bytes;
    for (int round = 0; round < 300; round++) {
        decide_many(w, 100, NULL, 0);
        flush_now(w, 100, 0, 0);
    }
    assert_int_equal(stats_of(w).requests_failed, failed);
    assert_true(w->dispatcher->fit.bytes > 4 * before);
    world_end(w);
}

static void a_decision_too_large_alone_is_dropped(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {.max_body_bytes = 2000};
    strict_rule(&rules, w);
    static char text[4000];
    snprintf(text, sizeof(text), "\"x\":\"%03000d\"", 0);
    decide(w, "ann", "f", "a");
    const oa_decision decision = {.user_id = str("bob"), .event_properties = str(text)};
    assert_int_equal(decide_with(w, &decision, "f", "a", true), OA_OK);
    decide(w, "eve", "f", "a");
    flush_now(w, 2, 1, 0);
    EXPECT_DROP(w, 0, OA_DROP_PAYLOAD_TOO_LARGE, "bob:f=a");
    assert_int_equal(w->drops[0].status_code, 413);
    assert_string_equal(delivered_text(w), "ann:f=a eve:f=a");
    world_end(w);
}

/* ---- 429 ---- */

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
    /* A refusal cuts the batch in two: ann is in both halves, in what comes next, and in the queue. */
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
    assert_int_equal(w->dispatcher->park.record_count, 3);
    assert_int_equal(w->server.count, 5); /* she is heard of once, then never sent */
    rules.throttled_until_ms[0] = 0;
    advance(w, 30000);
    EXPECT_REPORT(t, 4, 0, 0);
    assert_string_equal(delivered_text(w), "bob:f=1 bob:f=2 bob:f=3 ann:f=1 ann:f=2 ann:f=3");
    world_end(w);
}

static void a_user_may_be_throttled_again(void **state) {
    (void)state;
    world *w = world_start(world_new());
    const uint64_t now_ms = atomic_load(&w->monotonic_ms);
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

static void throttling_counts_as_an_attempt(void **state) {
    (void)state;
    world *w = world_new();
    w->config.flush_max_retries = 3;
    world_start(w);
    strict rules = {.throttled = {"ann"}, .throttled_until_ms = {UINT64_MAX}};
    strict_rule(&rules, w);
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    const ticket *t = flush(w, 3600 * 1000);
    settle(w);
    advance(w, 30000);
    assert_int_equal(w->drop_count, 0);
    advance(w, 30000);
    EXPECT_REPORT(t, 1, 1, 0);
    EXPECT_DROP(w, 0, OA_DROP_RETRIES_EXHAUSTED, "ann:f=a");
    assert_int_equal(w->drops[0].status_code, 429);
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
    PLAN(w, .status = 429, .retry_after = "40", .body = "{\"throttled_users\":{\"ann\":31}}");
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
    assert_int_equal(w->dispatcher->park.user_count, 900);
    assert_int_equal(stats_of(w).delivered, 99);
    decide_many(w, 1000, NULL, 0);
    advance(w, 1);
    assert_int_equal(w->dispatcher->park.record_count, 1800);
    advance(w, 29999);
    EXPECT_REPORT(t, 999, 0, 0);
    flush_now(w, stats_of(w).pending, 0, 0);
    assert_int_equal(w->dispatcher->park.user_count, 0);
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
    assert_int_equal(w->dispatcher->park.record_count, COUNT);
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
    rules.throttled_until_ms[0] = rules.throttled_until_ms[1] =
        atomic_load(&w->monotonic_ms) + 45000;
    strict_rule(&rules, w);
    atomic_store(&w->random, MOST);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outage_is_retried_with_the_same_ids),
        cmocka_unit_test(any_success_delivers),
        cmocka_unit_test(back_off_doubles_and_then_gives_up),
        cmocka_unit_test(attempts_are_counted_for_each_decision_after_splits),
        cmocka_unit_test(one_attempt_means_one),
        cmocka_unit_test(a_flush_ends_a_back_off),
        cmocka_unit_test(a_flush_does_not_end_a_retry_after),
        cmocka_unit_test(a_retry_after_is_bounded),
        cmocka_unit_test(new_decisions_wait_behind_an_outage),
        cmocka_unit_test(listed_events_are_dropped_and_the_rest_sent),
        cmocka_unit_test(a_drop_tells_the_insert_id_of_the_event),
        cmocka_unit_test(a_dropped_exposure_may_be_sent_again),
        cmocka_unit_test(a_shared_identify_that_is_refused_is_taken_apart),
        cmocka_unit_test(a_refusal_without_a_list_is_bisected),
        cmocka_unit_test(one_bad_event_of_two_thousand_is_found),
        cmocka_unit_test(many_drops_are_told_in_small_portions),
        cmocka_unit_test(a_missing_api_key_is_a_bad_one),
        cmocka_unit_test(a_large_body_is_split_and_the_size_remembered),
        cmocka_unit_test(a_decision_too_large_alone_is_dropped),
        cmocka_unit_test(throttled_users_wait_and_others_flow),
        cmocka_unit_test(what_a_throttled_user_has_in_other_batches_waits_too),
        cmocka_unit_test(a_user_may_be_throttled_again),
        cmocka_unit_test(throttling_counts_as_an_attempt),
        cmocka_unit_test(throttled_devices_wait),
        cmocka_unit_test(a_longer_retry_after_lengthens_the_pause),
        cmocka_unit_test(many_throttled_users_are_parked),
        cmocka_unit_test(many_pauses_cost_little_memory),
        cmocka_unit_test(a_user_over_the_daily_quota_is_dropped),
        cmocka_unit_test(everything_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
