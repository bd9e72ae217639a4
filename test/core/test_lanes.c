/*
 * Several lanes: requests are out at the same time, of different users each. What one lane does is
 * tested by all the others; here is what lanes have to do with each other.
 *
 * OA_SAY=1 prints the numbers that are measured.
 */
#include <inttypes.h>

#include "support_crowd.h"
#include "support_strict.h"

static const uint32_t LANES[] = {2, 4, 8};
enum { KINDS = sizeof(LANES) / sizeof(LANES[0]), USERS = 64 };

static void say_nothing(world *w) { w->server.otherwise = (answer){.status = 200, .silent = true}; }

/* A world with so many lanes, whose server is silent until it is spoken to. */
static world *begin(uint32_t lanes) {
    world *w = world_new();
    w->config.max_concurrent = lanes;
    say_nothing(w);
    return world_start(w);
}

/* One decision of each of many users: some for every lane. */
static void decide_all(world *w, const char *flag) {
    char user[16];
    for (int n = 0; n < USERS; n++) {
        snprintf(user, sizeof(user), "u%d", n);
        decide(w, user, flag, "a");
    }
}

static void speak_to_all(world *w) {
    while (server_holds(w))
        server_speak(w);
}

static size_t out_count(const world *w) { return w->dispatcher->lanes.out_count; }

/* Have requests out in all lanes, which are to be answered like this. */
static world *out_in_all(uint32_t lanes, answer says) {
    world *w = world_new();
    w->config.max_concurrent = lanes;
    say_nothing(w);
    says.silent = true;
    for (uint32_t i = 0; i < lanes; i++)
        server_plan(w, says);
    world_start(w);
    decide_all(w, "f");
    (void)flush(w, 60000);
    settle(w);
    assert_int_equal(out_count(w), lanes);
    return w;
}

static void requests_are_out_together_of_different_users(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        world *w = begin(LANES[i]);
        decide_all(w, "f");
        const ticket *t = flush(w, 60000);
        settle(w);
        assert_int_equal(w->server.count, LANES[i]);
        decide_all(w, "g"); /* they wait for the ones before */
        settle(w);
        assert_int_equal(w->server.count, LANES[i]);
        for (int user = 0; user < USERS; user++) {
            char text[32];
            size_t carriers = 0;
            snprintf(text, sizeof(text), "u%d:f=a", user);
            for (size_t n = 0; n < w->server.count; n++)
                carriers += strstr(arrival_text(&w->server.arrivals[n]), text) != NULL;
            assert_int_equal(carriers, 1);
        }
        server_speak_to(w, LANES[i] - 1); /* the last one first */
        speak_to_all(w);
        settle(w);
        EXPECT_REPORT(t, USERS, 0, 0);
        world_end(w);
    }
}

static void without_a_number_there_is_one_lane(void **state) {
    (void)state;
    world *w = begin(0);
    decide_all(w, "f");
    (void)flush(w, 60000);
    settle(w);
    assert_int_equal(w->server.count, 1);
    world_end(w);
}

static void tracked_events_go_with_their_users(void **state) {
    (void)state;
    for (int dedupe = 0; dedupe < 2; dedupe++) {
        world *w = world_new();
        w->config.max_concurrent = 8;
        w->config.dedupe = dedupe == 1;
        world_start(w);
        for (int n = 0; n < USERS; n++) {
            char user[16];
            snprintf(user, sizeof(user), "u%d", n);
            decide(w, user, "f", "a");
            assert_int_equal(try_track(w, user, NULL, "f", "b"), OA_OK);
            assert_int_equal(try_decide(w, user, "phone", "f", "c", true), OA_OK);
        }
        flush_now(w, USERS * 3, 0, 0);
        const char *text = delivered_text(w);
        for (int n = 0; n < USERS; n++) {
            char in_order[64];
            snprintf(in_order, sizeof(in_order), "u%d:f=a u%d+f=b u%d@phone:f=c", n, n, n);
            assert_non_null(strstr(text, in_order));
        }
        world_end(w);
    }
}

/* ---- the server's failures ---- */

static void requests_that_fail_together_are_one_failure(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        world *w = out_in_all(LANES[i], (answer){.status = 503});
        w->server.otherwise.status = 503;
        speak_to_all(w);
        settle(w);
        assert_int_equal(stats_of(w).failures_in_a_row, 1);
        assert_int_equal(stats_of(w).requests_failed, LANES[i]);
        assert_int_equal(w->line_count, 1);
        /* While it lasts there is one probe at a time, whichever lane's. */
        for (int minute = 0; minute < 30; minute++) {
            for (int second = 0; second < 60; second++) {
                assert_true(out_count(w) <= 1);
                advance(w, ONE_SECOND_MS);
            }
            if (server_holds(w))
                server_speak(w);
        }
        assert_true(w->server.count <= LANES[i] + 30);
        w->server.otherwise = (answer){.status = 200};
        speak_to_all(w);
        advance(w, 70 * ONE_SECOND_MS);
        advance(w, 10 * ONE_SECOND_MS);
        assert_int_equal(stats_of(w).delivered, USERS);
        assert_int_equal(w->line_count, 2);
        world_end(w);
    }
}

static void a_retry_after_holds_all_lanes(void **state) {
    (void)state;
    world *w = out_in_all(4, (answer){.status = 429, .retry_after = 20});
    speak_to_all(w);
    settle(w);
    (void)flush(w, 60000);
    advance(w, 19000);
    assert_int_equal(w->server.count, 4);
    w->server.otherwise.silent = false;
    advance(w, 5000);
    settle(w);
    assert_int_equal(stats_of(w).delivered, USERS);
    world_end(w);
}

static void what_is_accepted_beside_a_failure_ends_it(void **state) {
    (void)state;
    world *w = out_in_all(2, (answer){.status = 200});
    w->held[0].held.status = 500;
    server_speak_to(w, 0);
    assert_int_equal(stats_of(w).health, OA_HEALTH_RETRYING);
    server_speak_to(w, 0);
    assert_int_equal(stats_of(w).health, OA_HEALTH_OK);
    /* It was sent before the failure came, so it is no sign that the batch is to blame. */
    OA_EACH_LANE (lane, &w->dispatcher->lanes)
        for (const oa_batch *batch = lane->ready.first; batch != NULL; batch = batch->next)
            assert_int_equal(batch->suspicion.accepted_before, 1);
    w->server.otherwise.silent = false;
    settle(w);
    assert_int_equal(stats_of(w).delivered, USERS);
    world_end(w);
}

static void an_hour_of_503_costs_as_few_requests(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        crowd c;
        world *w = crowd_world(i + 1);
        w->config.max_concurrent = LANES[i];
        crowd_begin(&c, world_start(w), 50);
        c.judge = crowd_down;
        crowd_live(&c, ONE_HOUR_MS, 1);
        const size_t during = crowd_requests(&c);
        assert_int_equal(stats_of(w).pending, 3600);
        c.judge = NULL;
        crowd_live(&c, 2 * ONE_MINUTE_MS, 0);
        crowd_expect_all(&c, 0);
        crowd_say("  503 for an hour, %" PRIu32 " lanes: %zu requests, and %zu to deliver\n",
                  LANES[i], during, crowd_requests(&c) - during);
        assert_in_range(during, 50, 89); /* as with one */
        assert_int_equal(w->line_count, 2);
        crowd_end(&c);
    }
}

/* ---- answers about the request ---- */

static void a_size_that_does_not_fit_is_remembered_by_all(void **state) {
    (void)state;
    world *w = world_new();
    w->config.max_concurrent = 4;
    world_start(w);
    PLAN(w, .status = 413);
    decide_all(w, "f");
    flush_now(w, USERS, 0, 0);
    const size_t fits = w->dispatcher->fit.bytes;
    assert_true(fits < w->config.max_body_bytes);
    decide_all(w, "g");
    flush_now(w, USERS, 0, 0);
    OA_EACH_LANE (lane, &w->dispatcher->lanes)
        assert_int_equal(lane->attempt.max_body_bytes, fits);
    world_end(w);
}

static void a_bisection_is_finished_before_the_next(void **state) {
    (void)state;
    static const answer refusals[] = {
        {.status = 400, .body = "{\"code\":400,\"error\":\"no\"}"},
        {.status = 413, .body = "{\"code\":413}"},
    };
    for (size_t i = 0; i < KINDS * 2; i++) {
        enum { DECISIONS = 512 };
        const uint32_t lanes = LANES[i / 2];
        world *w = world_new();
        w->config.max_concurrent = lanes;
        w->server.otherwise = refusals[i % 2];
        world_start(w);
        decide_many(w, DECISIONS, NULL, 0);
        (void)flush(w, 60000);
        TURN_UNTIL(w, stats_of(w).health == OA_HEALTH_CONFIGURATION);
        crowd_say("  %d for all in %" PRIu32 " lanes: %zu requests until that is clear\n",
                  refusals[i % 2].status, lanes, w->server.count);
        assert_true(w->server.count <= lanes + 9 + 3); /* halvings of 512, and three alone */
        w->server.otherwise = (answer){.status = 200};
        advance(w, 6 * ONE_MINUTE_MS);
        advance(w, 30 * ONE_SECOND_MS);
        assert_int_equal(stats_of(w).delivered, DECISIONS);
        assert_int_equal(w->dispatcher->fit.bytes, w->config.max_body_bytes);
        world_end(w);
    }
}

static int refuse_gzip_with;

static void refuse_gzip(void *data, const arrival *request, answer *out) {
    const world *w = data;
    (void)request;
    const int plain = w->server.otherwise.status;
    *out = (answer){.status = oa_attempt_is_gzip(w->attempt) ? refuse_gzip_with : plain,
                    .silent = true};
}

static void compression_is_given_up_once_for_all(void **state) {
    (void)state;
    static const int statuses[] = {400, 415};
    for (size_t i = 0; i < 2; i++) {
        world *w = world_new();
        w->config.max_concurrent = 4;
        w->server.respond = refuse_gzip;
        w->server.data = w;
        refuse_gzip_with = statuses[i];
        world_start(w);
        w->dispatcher->coding = OA_CODING_GZIP;
        decide_all(w, "f");
        const ticket *t = flush(w, 60000);
        settle(w);
        assert_int_equal(w->server.count, 4);
        while (!t->done) {
            server_speak(w);
            settle(w);
        }
        EXPECT_REPORT(t, USERS, 0, 0);
        assert_int_equal(w->server.count, 8); /* each once more */
        assert_int_equal(w->line_count, 1);
        assert_true(was_logged(w, "compression"));
        world_end(w);
    }
}

/* ---- flushes and the end ---- */

static void a_flush_with_abort_ends_what_is_out(void **state) {
    (void)state;
    for (size_t i = 0; i < KINDS; i++) {
        world *w = begin(LANES[i]);
        decide_all(w, "f");
        const ticket *t = flush_abort(w, 500);
        settle(w);
        assert_int_equal(out_count(w), LANES[i]);
        advance(w, 500);
        EXPECT_REPORT(t, 0, 0, USERS);
        assert_int_equal(out_count(w), 0);
        assert_int_equal(w->server.cancels, 1);
        assert_int_equal(w->attempts, LANES[i]);
        assert_int_equal(w->dispatcher->health.silences, 1); /* not one for each lane */
        w->server.otherwise.silent = false;
        flush_now(w, USERS, 0, 0);
        world_end(w);
    }
}

static void a_close_waits_for_all_lanes(void **state) {
    (void)state;
    world *w = out_in_all(4, (answer){.status = 200});
    const ticket *t = close_world(w, 60000);
    for (int n = 0; n < 4; n++) {
        settle(w);
        assert_false(t->done);
        server_speak(w);
    }
    settle(w);
    EXPECT_REPORT(t, USERS, 0, 0);
    world_end(w);
}

static void a_close_at_its_deadline_ends_what_is_out(void **state) {
    (void)state;
    world *w = out_in_all(4, (answer){.status = 200});
    decide_all(w, "g");
    server_speak(w);
    settle(w);
    const uint64_t pending = stats_of(w).pending;
    const ticket *t = close_world(w, 1000);
    advance(w, 1000);
    EXPECT_REPORT(t, 0, pending, 0);
    assert_int_equal(out_count(w), 0);
    world_end(w);
}

/* ---- what it is for ---- */

enum { ROUND_TRIP_MS = 150 };

/* Deliver what is waiting, where each request takes so long. Returns how long that took. */
static uint64_t deliver_slowly(uint32_t lanes, uint64_t count) {
    world *w = world_new();
    w->config.max_concurrent = lanes;
    w->config.report_drops = false;
    w->server.skims = true;
    say_nothing(w);
    world_start(w);
    char user[32];
    for (uint64_t n = 0; n < count; n++) {
        snprintf(user, sizeof(user), "user-%" PRIu64, n);
        const oa_decision decision = {.user_id = str(user)};
        assert_int_equal(decide_fast(w, &decision, "f", "a", true), OA_OK);
    }
    const uint64_t begun_ms = w->now.monotonic_ms;
    const ticket *t = flush(w, 600000);
    settle(w);
    while (!t->done) {
        w->now.monotonic_ms += ROUND_TRIP_MS;
        w->now.wall_ms += ROUND_TRIP_MS;
        speak_to_all(w);
        settle(w);
    }
    assert_int_equal(t->report.delivered, count);
    const uint64_t took_ms = w->now.monotonic_ms - begun_ms;
    world_end(w);
    return took_ms;
}

static void lanes_multiply_what_a_long_round_trip_carries(void **state) {
    (void)state;
    enum { COUNT = 40000 };
    const uint64_t alone_ms = deliver_slowly(1, COUNT);
    for (size_t i = 0; i < KINDS; i++) {
        const uint64_t took_ms = deliver_slowly(LANES[i], COUNT);
        crowd_say("  %" PRIu32 " lanes, a round trip of %d ms: %" PRIu64 " decisions a second\n",
                  LANES[i], ROUND_TRIP_MS, COUNT * UINT64_C(1000) / took_ms);
        assert_true(took_ms * LANES[i] < alone_ms * 3 / 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_out_together_of_different_users),
        cmocka_unit_test(without_a_number_there_is_one_lane),
        cmocka_unit_test(tracked_events_go_with_their_users),
        cmocka_unit_test(requests_that_fail_together_are_one_failure),
        cmocka_unit_test(a_retry_after_holds_all_lanes),
        cmocka_unit_test(what_is_accepted_beside_a_failure_ends_it),
        cmocka_unit_test(an_hour_of_503_costs_as_few_requests),
        cmocka_unit_test(a_size_that_does_not_fit_is_remembered_by_all),
        cmocka_unit_test(a_bisection_is_finished_before_the_next),
        cmocka_unit_test(compression_is_given_up_once_for_all),
        cmocka_unit_test(a_flush_with_abort_ends_what_is_out),
        cmocka_unit_test(a_close_waits_for_all_lanes),
        cmocka_unit_test(a_close_at_its_deadline_ends_what_is_out),
        cmocka_unit_test(lanes_multiply_what_a_long_round_trip_carries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
