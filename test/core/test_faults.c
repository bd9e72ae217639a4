/* Every answer other than 200: what is sent again, when, in which order, and what is dropped. */
#include "drop.h"
#include "support_strict.h"

/* ---- outages ---- */

static bool is_configuration(int status) { return status == 403 || status == 301; }

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
        w->random = 300;
        server_plan(w, outages[i]);
        decide(w, "ann", "f", "a");
        decide(w, "bob", "f", "b");
        const ticket *t = flush(w, 10000);
        settle(w);
        assert_false(t->done);
        assert_int_equal(w->server.count, 1);
        assert_true(stats_of(w).has_error);
        assert_int_equal(stats_of(w).error_status_code, outages[i].status);
        assert_int_equal(stats_of(w).health == OA_HEALTH_CONFIGURATION,
                         is_configuration(outages[i].status));
        assert_true(
            was_logged(w, is_configuration(outages[i].status) ? "configuration" : "outage"));
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
        assert_int_equal(stats_of(w).health, OA_HEALTH_OK);
        assert_true(was_logged(w, "recovered"));
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

static void back_off_doubles_up_to_a_minute_and_drops_nothing(void **state) {
    (void)state;
    world *w = world_start(world_new());
    static const uint64_t waits[] = {500,   1500,  2000,  4000,  8000,
                                     16000, 32000, 60000, 60000, 60000};
    enum { COUNT = sizeof(waits) / sizeof(waits[0]) };
    w->server.otherwise.status = 503;
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    const ticket *t = flush(w, 3600 * 1000);
    for (size_t i = 0; i < COUNT; i++) {
        w->random = waits[i] == 60000 ? 0 : waits[i]; /* the longest wait */
        if (i == 0)
            settle(w);
        assert_int_equal(w->server.count, i + 1);
        assert_int_equal(stats_of(w).failures_in_a_row, i + 1);
        advance(w, waits[i] - 1);
        assert_int_equal(w->server.count, i + 1);
        if (i + 1 < COUNT)
            w->random = waits[i + 1] == 60000 ? 0 : waits[i + 1];
        advance(w, 1);
    }
    assert_false(t->done);
    assert_int_equal(w->drop_count, 0);
    assert_int_equal(stats_of(w).failing_since_ms, INT64_C(1800014400000));
    assert_int_equal(stats_of(w).oldest_pending_ms, 184000 + 60000);

    /* Later decisions start with the shortest back-off again. */
    w->server.otherwise.status = 200;
    advance(w, 60000);
    EXPECT_REPORT(t, 2, 0, 0);
    assert_int_equal(stats_of(w).failures_in_a_row, 0);
    assert_int_equal(stats_of(w).failing_since_ms, 0);
    PLAN(w, .status = 503);
    w->random = 500;
    decide(w, "eve", "f", "a");
    flush(w, 10000);
    settle(w);
    advance(w, 500);
    assert_int_equal(stats_of(w).delivered, 3);
    world_end(w);
}

static void a_decision_that_is_too_old_expires(void **state) {
    (void)state;
    world *w = world_new();
    w->config.max_age_ms = 60000;
    w->config.dedupe = true;
    world_start(w);
    w->server.otherwise.status = 503;
    decide(w, "ann", "f", "a");
    const ticket *t = flush(w, 3600 * 1000);
    settle(w);
    advance(w, 30000);
    decide(w, "bob", "f", "a");
    advance(w, 29999);
    assert_int_equal(w->drop_count, 0);
    advance(w, 1);
    assert_int_equal(w->drop_count, 1);
    EXPECT_DROP(w, 0, OA_DROP_EXPIRED, "ann:f=a");
    assert_int_equal(w->drops[0].status_code, 503);
    EXPECT_REPORT(t, 0, 1, 0);
    decide(w, "ann", "f", "a"); /* it was never sent, so this is no repeat */
    advance(w, 30000);
    EXPECT_DROP(w, 1, OA_DROP_EXPIRED, "bob:f=a");
    w->server.otherwise.status = 200;
    advance(w, 8000);
    flush_now(w, 1, 0, 0);
    assert_int_equal(stats_of(w).dropped[OA_DROP_EXPIRED], 2);
    world_end(w);
}

static void a_clock_that_jumps_ahead_expires_nothing(void **state) {
    (void)state;
    world *w = world_start(world_new());
    w->server.otherwise.status = 503;
    decide(w, "ann", "f", "a");
    flush(w, 1000);
    settle(w);
    w->now.wall_ms += INT64_C(400) * ONE_DAY_MS;
    advance(w, 1000);
    assert_int_equal(w->drop_count, 0);
    advance(w, ONE_DAY_MS - 1001);
    assert_int_equal(w->drop_count, 0);
    advance(w, 1);
    EXPECT_DROP(w, 0, OA_DROP_EXPIRED, "ann:f=a");
    world_end(w);
}

static void a_flush_ends_a_back_off_once_in_a_second(void **state) {
    (void)state;
    world *w = world_start(world_new());
    w->server.otherwise.status = 503;
    w->random = 500;
    decide(w, "ann", "f", "a");
    flush(w, 60000);
    settle(w);
    advance(w, 500);
    assert_int_equal(w->server.count, 2);
    for (size_t count = 3; count < 6; count++) { /* half a second would do; a second is due */
        advance(w, count == 3 ? 1499 : 999);
        assert_int_equal(w->server.count, count - 1);
        advance(w, 1);
        assert_int_equal(w->server.count, count);
    }
    w->random = 8000; /* of at most 16 s and more, after the sixth failure */
    advance(w, 1000);
    assert_int_equal(w->server.count, 6);
    advance(w, 1000);
    for (uint64_t failures = 7; failures < 9; failures++) {
        flush(w, 0);
        settle(w);
        assert_int_equal(w->server.count, failures);
        assert_int_equal(stats_of(w).failures_in_a_row, failures);
        for (int n = 0; n < 99; n++) { /* an application that flushes at each request */
            const ticket *t = flush(w, 990 - (uint64_t)n * 10);
            settle(w);
            EXPECT_REPORT(t, 0, 0, 1); /* at once: nothing can happen in time */
            advance(w, 10);
            assert_int_equal(w->server.count, failures);
        }
        advance(w, 10);
    }
    w->server.otherwise.status = 200;
    advance(w, 5500); /* an eighth of 52 s, by now */
    assert_int_equal(stats_of(w).delivered, 1);
    world_end(w);
}

static void a_flush_waits_for_an_eighth_of_a_long_back_off(void **state) {
    (void)state;
    world *w = world_start(world_new());
    w->server.otherwise.status = 503;
    decide(w, "ann", "f", "a");
    flush(w, 1000);
    settle(w);
    for (int i = 0; i < 12; i++)
        advance(w, 60000); /* a minute each, by now */
    const size_t count = w->server.count;
    advance(w, 7499);
    flush(w, 0);
    settle(w);
    assert_int_equal(w->server.count, count);
    const ticket *t = flush(w, 1000);
    settle(w);
    assert_false(t->done);
    w->server.otherwise.status = 200;
    advance(w, 1);
    EXPECT_REPORT(t, 1, 0, 0);
    world_end(w);
}

static void a_flush_does_not_end_a_retry_after(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 503, .retry_after = 7);
    decide(w, "ann", "f", "a");
    const ticket *first = flush(w, 10000);
    settle(w);
    const ticket *second = flush(w, 1000);
    settle(w);
    EXPECT_REPORT(second, 0, 0, 1); /* nothing can happen in time */
    advance(w, 6999);
    assert_int_equal(w->server.count, 1);
    advance(w, 1);
    assert_int_equal(w->server.count, 2);
    EXPECT_REPORT(first, 1, 0, 0);
    world_end(w);
}

static void a_retry_after_is_spread_over_a_fifth_more(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 503, .retry_after = 60);
    w->random = 12000;
    decide(w, "ann", "f", "a");
    flush(w, 1000);
    settle(w);
    advance(w, 71999);
    assert_int_equal(w->server.count, 1);
    advance(w, 1);
    assert_int_equal(w->server.count, 2);
    world_end(w);
}

static void a_retry_after_is_bounded(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 429, .retry_after = 86400);
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
    w->random = 400;
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

static void a_drop_reports_the_insert_id_of_the_event(void **state) {
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

static void an_exposure_that_was_judged_is_not_sent_again(void **state) {
    (void)state;
    world *w = world_new();
    w->config.dedupe = true;
    world_start(w);
    strict rules = {.list = LIST_ALL};
    strict_rule(&rules, w);
    decide(w, "ann", "f", "bad");
    flush_now(w, 0, 1, 0);
    assert_int_equal(try_decide(w, "ann", NULL, "f", "bad", true), OA_REPEAT);
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
        EXPECT_ARRIVAL(w, 1, /* those of other users stay together */
                       "ann{f=a} ann:f=a ann{g=bad} ann:g=bad ann{h=a} ann:h=a bob{f=a,g=a} "
                       "bob:f=a bob:g=a");
        EXPECT_ARRIVAL(w, 2, "ann{f=a} ann:f=a ann{h=a} ann:h=a bob{f=a,g=a} bob:f=a bob:g=a");
        assert_int_equal(w->server.count, 3);
        world_end(w);
    }
}

static void bad_events_are_found_in_every_format(void **state) {
    (void)state;
    /* i: $identify, e: event, m: event that sets its property, x: $exposure */
    static const char *const formats[] = {"ie", "m", "x", "i", "ix", "iex", "mx"};
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        for (int list = LIST_ALL; list <= LIST_NONE; list++) {
            world *w = world_new();
            w->config.sends_identify = strchr(formats[i], 'i') != NULL;
            w->config.event_sets_property = strchr(formats[i], 'm') != NULL;
            w->config.sends_exposure = strchr(formats[i], 'x') != NULL;
            if (strpbrk(formats[i], "em") == NULL)
                w->config.event_type = str(NULL);
            world_start(w);
            strict rules = {.list = (strict_list)list};
            strict_rule(&rules, w);
            decide(w, "ann", "f", "a");
            decide(w, "ann", "g", "bad");
            decide(w, "ann", "h", "a");
            decide(w, "bob", "f", "bad");
            decide(w, "eve", "f", "a");
            flush_now(w, 3, 2, 0);
            const bool is_bob_first = w->drops[0].text[0] == 'b'; /* ann's $identify was shared */
            EXPECT_DROP(w, is_bob_first, OA_DROP_INVALID_EVENT, "ann:g=bad");
            EXPECT_DROP(w, !is_bob_first, OA_DROP_INVALID_EVENT, "bob:f=bad");
            world_end(w);
        }
    }
}

/* The id of the $identify that sets h to `value` in a request. */
static const char *id_of_h(const arrival *request, const char *value) {
    for (size_t i = 0; i < arrival_count(request); i++) {
        const cJSON *event = arrival_event(request, i);
        if (strcmp(text_of(user_properties_of(event), "h"), value) == 0)
            return text_of(event, "insert_id");
    }
    return "";
}

/* The answer was lost, then a smaller body was refused: what was cut off it gets other ids, too, or
 * the first value would be set again and the second one skipped as a repeat. */
static void what_a_smaller_body_leaves_behind_gets_other_ids(void **state) {
    (void)state;
    world *w = world_start(world_new());
    w->random = UINT64_MAX; /* a back-off */
    PLAN(w, .status = 408);
    PLAN(w, .status = 413);
    decide(w, "ann", "h", "old");
    decide(w, "ann", "g", "a");
    decide(w, "ann", "h", "new");
    const ticket *t = flush(w, 60000);
    settle(w);
    assert_int_equal(w->server.count, 1);
    EXPECT_ARRIVAL(w, 0, "ann{h=old,g=a} ann:h=old ann:g=a ann{h=new} ann:h=new");
    w->dispatcher->fit.bytes = w->server.arrivals[0].body_bytes - 1;
    advance(w, 59000);
    EXPECT_REPORT(t, 3, 0, 0);
    EXPECT_ARRIVAL(w, 1, "ann{h=old,g=a} ann:h=old ann:g=a");
    EXPECT_ARRIVAL(w, 2, "ann{h=old} ann:h=old");
    EXPECT_ARRIVAL(w, 4, "ann{h=new} ann:h=new");
    const arrival *all = w->server.arrivals;
    assert_string_not_equal(id_of_h(&all[2], "old"), id_of_h(&all[0], "old"));
    assert_string_not_equal(id_of_h(&all[4], "new"), id_of_h(&all[0], "new"));
    world_end(w);
}

static void a_refusal_without_a_list_is_bisected(void **state) {
    (void)state;
    static const int statuses[] = {400, 402, 409, 422};
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
            assert_int_equal(w->drop_count, cases[j].count);
            for (size_t k = 0; k < cases[j].count; k++) {
                assert_int_equal(w->drops[k].reason, OA_DROP_INVALID_EVENT);
                assert_int_equal(w->drops[k].status_code, statuses[i]);
                assert_non_null(strstr(w->drops[k].text, "f=bad"));
            }
            assert_true(w->server.count <= 2 + cases[j].count * 2 * 8);
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

static void many_drops_are_reported_in_small_portions(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {.list = LIST_ALL};
    strict_rule(&rules, w);
    for (int n = 0; n < 200; n++) {
        char user[16];
        snprintf(user, sizeof(user), "u%d", n);
        decide(w, user, "f", "bad");
    }
    flush_now(w, 0, 200, 0);
    EXPECT_DROP(w, 0, OA_DROP_INVALID_EVENT, "u0:f=bad");
    EXPECT_DROP(w, 199, OA_DROP_INVALID_EVENT, "u199:f=bad");
    assert_int_equal(w->largest_report, 64);
    assert_true(was_logged(w, "invalid_event"));
    assert_int_equal(w->server.count, 1);
    world_end(w);
}

static void a_wrong_api_key_keeps_decisions_until_it_is_mended(void **state) {
    (void)state;
    world *w = world_new();
    w->config.dedupe = true;
    world_start(w);
    w->server.otherwise =
        (answer){.status = 400, .body = "{\"code\":400,\"error\":\"Invalid API key: 0123\"}"};
    decide_many(w, 200, NULL, 0);
    const ticket *t = flush(w, 10000);
    settle(w);
    EXPECT_REPORT(t, 0, 0, 200); /* at once: the next try is in minutes */
    assert_int_equal(stats_of(w).health, OA_HEALTH_CONFIGURATION);
    assert_true(was_logged(w, "configuration"));
    for (size_t i = 0; i < w->line_count; i++)
        assert_null(strstr(w->lines[i].text, "0123"));
    for (int second = 0; second < 3600; second++) { /* the same users, again and again */
        assert_int_equal(try_decide(w, "u0", NULL, "f", "a", true), OA_REPEAT);
        advance(w, 1000);
    }
    assert_in_range(w->server.count, 10, 24);
    assert_int_equal(arrival_count(&w->server.arrivals[1]), 2); /* one decision */
    w->server.otherwise = (answer){.status = 200};
    advance(w, 240000);
    assert_int_equal(stats_of(w).delivered, 200);
    assert_int_equal(w->drop_count, 0);
    world_end(w);
}

static void what_a_wrong_api_key_lets_expire_is_told_so(void **state) {
    (void)state;
    world *w = world_new();
    w->config.dedupe = true;
    world_start(w);
    w->server.otherwise =
        (answer){.status = 400, .body = "{\"code\":400,\"error\":\"Invalid API key\"}"};
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    flush(w, 1000);
    settle(w);
    for (int hour = 0; hour < 23; hour++)
        advance(w, 3600 * 1000);
    assert_int_equal(w->drop_count, 0);
    decide(w, "eve", "f", "a");
    advance(w, 3600 * 1000);
    assert_int_equal(w->drop_count, 2);
    EXPECT_DROP(w, 0, OA_DROP_INVALID_API_KEY, "ann:f=a");
    assert_int_equal(stats_of(w).pending, 1);
    world_end(w);
}

static void a_missing_api_key_is_a_bad_one(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 400,
         .body = "{\"code\":400,\"error\":\"Request missing required field\","
                 "\"missing_field\":\"api_key\"}");
    decide(w, "ann", "f", "a");
    flush_now(w, 0, 0, 1);
    assert_int_equal(stats_of(w).health, OA_HEALTH_CONFIGURATION);
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

/* An exception in the server, or a rule of a firewall, for what one flag sends. */
static void refuse_bad_flag(void *data, const arrival *request, answer *out) {
    const world *w = data;
    out->status = 200;
    for (size_t i = 0; i < arrival_count(request); i++) {
        const cJSON *properties =
            cJSON_GetObjectItem(arrival_event(request, i), "event_properties");
        if (strcmp(text_of(properties, "flag_key"), "bad") == 0)
            out->status = w->server.otherwise.status;
    }
}

static void bad_decisions_that_wait_keep_no_others_from_being_sent(void **state) {
    (void)state;
    static const int statuses[] = {500, 403};
    enum { SECONDS = 600, A_SECOND = 5, PARTS = 10 };
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        world *w = world_new();
        uint64_t seed = 1;
        uint64_t good = 0;
        w->server.otherwise.status = statuses[i];
        w->server.respond = refuse_bad_flag;
        w->server.data = w;
        world_start(w);
        for (int n = 0; n < SECONDS * A_SECOND; n++) {
            char user[16];
            snprintf(user, sizeof(user), "u%d", n);
            const bool is_bad = n % 50 == 7;
            decide(w, user, is_bad ? "bad" : "f", "a");
            good += !is_bad;
            for (int part = 0; n % A_SECOND == 0 && part < PARTS; part++) {
                w->random = draw(&seed);
                advance(w, 1000 / PARTS);
            }
        }
        for (int part = 0; part < 120 * PARTS; part++) {
            w->random = draw(&seed);
            advance(w, 1000 / PARTS);
        }
        assert_int_equal(stats_of(w).delivered, good);
        world_end(w);
    }
}

static void lose_some(void *data, const arrival *request, answer *out) {
    (void)request;
    out->status = draw_below(data, 100) < 30 ? 0 : 200;
}

static void a_link_that_loses_requests_does_not_make_them_small(void **state) {
    (void)state;
    enum { SECONDS = 600, A_SECOND = 20, PARTS = 10 };
    world *w = world_new();
    uint64_t seed = 1;
    w->server.respond = lose_some;
    w->server.data = &seed;
    world_start(w);
    for (int n = 0; n < SECONDS * A_SECOND; n++) {
        char user[16];
        snprintf(user, sizeof(user), "u%d", n);
        decide(w, user, "f", "a");
        for (int part = 0; n % A_SECOND == 0 && part < PARTS; part++) {
            w->random = draw(&seed);
            advance(w, 1000 / PARTS);
        }
    }
    assert_true(stats_of(w).pending < 60 * A_SECOND);
    assert_true(stats_of(w).requests_sent < SECONDS);
    assert_int_equal(w->drop_count, 0);
    world_end(w);
}

static void decisions_are_tried_before_they_expire(void **state) {
    (void)state;
    world *w = world_new();
    w->config.max_age_ms = 5000; /* half of what is waited for others */
    world_start(w);
    decide(w, "ann", "f", "a");
    settle(w);
    advance(w, 4000);
    assert_int_equal(stats_of(w).delivered, 1);
    world_end(w);
}

static void a_flush_does_not_wait_for_parked_users(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 429,
         .body = "{\"code\":429,\"throttled_users\":{\"ann\":31},\"throttled_events\":[0,1]}");
    decide(w, "ann", "f", "a");
    flush(w, 100);
    settle(w);
    decide(w, "ann", "g", "b"); /* in the queue, until it is cut */
    const ticket *t = flush(w, 5000);
    settle(w);
    assert_true(t->done);
    assert_int_equal(t->report.pending, 2);
    world_end(w);
}

static void a_drop_is_told_with_its_own_message(void **state) {
    (void)state;
    world *w = world_start(world_new());
    char message[] = "the first answer";
    decide(w, "ann", "f", "a");
    oa_record *record = oa_queue_take(&w->dispatcher->lanes.first->queue);
    w->dispatcher->lanes.first->queue_events -= record->events;
    oa_drop(w->dispatcher, record, OA_DROP_INVALID_EVENT, 400, message);
    strcpy(message, "the next one"); /* as the next attempt does, before all is told */
    settle(w);
    assert_int_equal(w->drop_count, 1);
    assert_string_equal(w->drops[0].message, "the first answer");
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_outage_is_retried_with_the_same_ids),
        cmocka_unit_test(any_success_delivers),
        cmocka_unit_test(back_off_doubles_up_to_a_minute_and_drops_nothing),
        cmocka_unit_test(a_decision_that_is_too_old_expires),
        cmocka_unit_test(a_clock_that_jumps_ahead_expires_nothing),
        cmocka_unit_test(a_flush_ends_a_back_off_once_in_a_second),
        cmocka_unit_test(a_flush_waits_for_an_eighth_of_a_long_back_off),
        cmocka_unit_test(a_flush_does_not_end_a_retry_after),
        cmocka_unit_test(a_retry_after_is_spread_over_a_fifth_more),
        cmocka_unit_test(a_retry_after_is_bounded),
        cmocka_unit_test(new_decisions_wait_behind_an_outage),
        cmocka_unit_test(listed_events_are_dropped_and_the_rest_sent),
        cmocka_unit_test(a_drop_reports_the_insert_id_of_the_event),
        cmocka_unit_test(an_exposure_that_was_judged_is_not_sent_again),
        cmocka_unit_test(a_shared_identify_that_is_refused_is_taken_apart),
        cmocka_unit_test(bad_events_are_found_in_every_format),
        cmocka_unit_test(what_a_smaller_body_leaves_behind_gets_other_ids),
        cmocka_unit_test(a_refusal_without_a_list_is_bisected),
        cmocka_unit_test(one_bad_event_of_two_thousand_is_found),
        cmocka_unit_test(many_drops_are_reported_in_small_portions),
        cmocka_unit_test(a_wrong_api_key_keeps_decisions_until_it_is_mended),
        cmocka_unit_test(what_a_wrong_api_key_lets_expire_is_told_so),
        cmocka_unit_test(a_missing_api_key_is_a_bad_one),
        cmocka_unit_test(a_large_body_is_split_and_the_size_remembered),
        cmocka_unit_test(a_decision_too_large_alone_is_dropped),
        cmocka_unit_test(bad_decisions_that_wait_keep_no_others_from_being_sent),
        cmocka_unit_test(a_link_that_loses_requests_does_not_make_them_small),
        cmocka_unit_test(decisions_are_tried_before_they_expire),
        cmocka_unit_test(a_flush_does_not_wait_for_parked_users),
        cmocka_unit_test(a_drop_is_told_with_its_own_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
