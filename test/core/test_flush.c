/* Flushes: the list of waiters (flush.c), and what callers get. */
#include "flush.h"
#include "support.h"

static const uint64_t NEVER = UINT64_MAX;

/* ---- the list ---- */

static void add(oa_flushes *flushes, uint64_t upto_seq, uint64_t pending, uint64_t deadline_ms) {
    const oa_waiter waiter = {.upto_seq = upto_seq,
                              .deadline_ms = deadline_ms,
                              .started_ms = 5,
                              .report = {.pending = pending}};
    assert_int_equal(oa_flushes_add(flushes, &waiter), OA_OK);
}

/* Something can happen at once. */
static oa_prospect at(uint64_t now_ms, bool is_out) {
    return (oa_prospect){
        .now_ms = now_ms, .is_out = is_out, .send_at_ms = now_ms, .parked_at_ms = NEVER};
}

/* Finish what is to be finished, and take it, in order. Returns how many there were. */
static size_t finish(oa_flushes *flushes, uint64_t now_ms, bool is_out, oa_waiter *out) {
    size_t count = 0;
    const oa_prospect prospect = at(now_ms, is_out);
    oa_flushes_finish(flushes, &prospect);
    while (oa_flushes_next(flushes, &out[count]))
        count++;
    return count;
}

static void each_waiter_counts_what_it_covers(void **state) {
    (void)state;
    oa_flushes flushes;
    oa_waiter out[4];
    oa_flushes_init(&flushes);
    add(&flushes, 2, 2, NEVER); /* 0 1 */
    add(&flushes, 5, 5, NEVER); /* 0 to 4 */
    oa_flushes_settle(&flushes, 3, true);
    oa_flushes_settle(&flushes, 0, false);
    oa_flushes_settle(&flushes, 9, true); /* covered by no waiter */
    assert_int_equal(finish(&flushes, 10, false, out), 0);
    add(&flushes, 10, 3, NEVER); /* 1 2 4: what settled before is not its own */
    oa_flushes_settle(&flushes, 1, true);
    assert_int_equal(finish(&flushes, 11, false, out), 1);
    assert_int_equal(out[0].report.delivered, 1);
    assert_int_equal(out[0].report.dropped, 1);
    assert_int_equal(out[0].report.pending, 0);
    assert_int_equal(out[0].report.duration_ms, 6);
    oa_flushes_settle(&flushes, 2, true);
    oa_flushes_settle(&flushes, 4, false);
    assert_int_equal(finish(&flushes, 12, false, out), 2);
    assert_int_equal(out[0].report.delivered, 3);
    assert_int_equal(out[0].report.dropped, 2);
    assert_int_equal(out[1].report.delivered, 2);
    assert_int_equal(out[1].report.dropped, 1);
    assert_int_equal(flushes.count, 0);
    oa_flushes_clear(&flushes);
}

static void a_waiter_does_not_count_what_settled_before_it(void **state) {
    (void)state;
    oa_flushes flushes;
    oa_waiter out[4];
    oa_flushes_init(&flushes);
    add(&flushes, 3, 3, NEVER);
    oa_flushes_settle(&flushes, 0, true);
    oa_flushes_settle(&flushes, 1, false);
    add(&flushes, 3, 1, NEVER); /* before the first one gets the news */
    oa_flushes_settle(&flushes, 2, true);
    assert_int_equal(finish(&flushes, 10, false, out), 2);
    assert_int_equal(out[0].report.delivered, 2);
    assert_int_equal(out[0].report.dropped, 1);
    assert_int_equal(out[1].report.delivered, 1);
    assert_int_equal(out[1].report.dropped, 0);
    assert_int_equal(out[1].report.pending, 0);
    oa_flushes_clear(&flushes);
}

static void deadlines_end_waiters(void **state) {
    (void)state;
    oa_flushes flushes;
    oa_waiter out[4];
    oa_flushes_init(&flushes);
    assert_int_equal(oa_flushes_deadline(&flushes), NEVER);
    add(&flushes, 9, 9, 300);
    add(&flushes, 9, 9, 100);
    add(&flushes, 9, 9, 200);
    assert_int_equal(oa_flushes_deadline(&flushes), 100);
    assert_int_equal(finish(&flushes, 99, true, out), 0);
    assert_int_equal(finish(&flushes, 100, true, out), 1);
    assert_int_equal(out[0].report.pending, 9);
    assert_int_equal(oa_flushes_deadline(&flushes), 200);
    assert_int_equal(finish(&flushes, 1000, true, out), 2);
    oa_flushes_clear(&flushes);
}

static void a_waiter_that_aborts_waits_for_the_request(void **state) {
    (void)state;
    oa_flushes flushes;
    oa_waiter out[4];
    oa_flushes_init(&flushes);
    const oa_waiter waiter = {
        .upto_seq = 1, .deadline_ms = 100, .report = {.pending = 1}, .abort = true};
    assert_int_equal(oa_flushes_add(&flushes, &waiter), OA_OK);
    assert_false(oa_flushes_want_abort(&flushes, 99));
    assert_true(oa_flushes_want_abort(&flushes, 100));
    assert_int_equal(finish(&flushes, 100, true, out), 0);
    assert_int_equal(finish(&flushes, 100, false, out), 1);
    oa_flushes_clear(&flushes);
}

static void a_waiter_that_is_over_is_not_touched_again(void **state) {
    (void)state;
    oa_flushes flushes;
    oa_waiter out;
    oa_flushes_init(&flushes);
    for (uint64_t n = 0; n < 10; n++)
        add(&flushes, 10, 10, 100 + n);
    assert_false(oa_flushes_finish(&flushes, &(oa_prospect){.now_ms = 100, .send_at_ms = 100}));
    oa_flushes_settle(&flushes, 0, true);
    for (uint64_t n = 10; n < 40; n++) /* the list grows while one waits to be taken */
        add(&flushes, 10, 9, 100 + n);
    assert_false(oa_flushes_finish(&flushes, &(oa_prospect){.now_ms = 101, .send_at_ms = 101}));
    assert_true(oa_flushes_next(&flushes, &out));
    assert_int_equal(out.report.pending, 10);
    assert_true(oa_flushes_next(&flushes, &out));
    assert_int_equal(out.report.pending, 9);
    assert_int_equal(out.report.delivered, 1);
    assert_false(oa_flushes_next(&flushes, &out));
    assert_int_equal(flushes.count, 38);
    oa_flushes_clear(&flushes);
    oa_flushes_clear(&flushes);
}

static void a_waiter_without_a_prospect_is_over(void **state) {
    (void)state;
    const oa_waiter waiter = {.upto_seq = 5, .deadline_ms = 100, .report = {.pending = 1}};
    static const struct {
        oa_prospect prospect;
        bool over;
    } cases[] = {
        {{10, false, 0, 10, NEVER}, false},       /* it can be sent */
        {{10, false, 0, 99, NEVER}, false},       /* and in time */
        {{10, false, 0, 100, NEVER}, true},       /* a back-off ends too late */
        {{10, false, 0, 100, 99}, false},         /* but for what is parked */
        {{10, false, 5, 10, NEVER}, true},        /* all of its own is parked for good, */
        {{10, false, 5, 10, 100}, true},          /* or for too long, */
        {{10, false, 5, 10, 99}, false},          /* or not */
        {{10, true, NEVER, NEVER, NEVER}, false}, /* an attempt may bring news */
        {{100, true, NEVER, NEVER, NEVER}, true}, /* not after the deadline */
        {{10, false, NEVER, NEVER, NEVER}, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        oa_flushes flushes;
        oa_waiter out;
        oa_flushes_init(&flushes);
        assert_int_equal(oa_flushes_add(&flushes, &waiter), OA_OK);
        assert_false(oa_flushes_finish(&flushes, &cases[i].prospect));
        assert_int_equal(oa_flushes_next(&flushes, &out), cases[i].over);
        oa_flushes_clear(&flushes);
    }
}

static void reports_are_right_against_a_model(void **state) {
    (void)state;
    uint64_t seed = 1;
    for (int round = 0; round < 300; round++) {
        enum { COUNT = 40 };
        oa_flushes flushes;
        oa_flushes_init(&flushes);
        int fate[COUNT] = {0};    /* 1 delivered, 2 dropped */
        uint64_t upto[COUNT * 2]; /* of each waiter */
        int at_start[COUNT * 2][COUNT];
        size_t waiters = 0;
        uint64_t next_seq = 0;
        uint64_t pending = 0;
        size_t finished = 0;
        for (int step = 0; step < 200; step++) {
            const uint64_t choice = draw_below(&seed, 8);
            if (choice < 2 && next_seq < COUNT) {
                next_seq++;
                pending++;
            } else if (choice < 5 && next_seq > 0) {
                const uint64_t seq = draw_below(&seed, next_seq);
                if (fate[seq] != 0)
                    continue;
                fate[seq] = 1 + (int)draw_below(&seed, 2);
                pending--;
                oa_flushes_settle(&flushes, seq, fate[seq] == 1);
            } else if (choice < 6 && waiters < COUNT * 2) {
                upto[waiters] = next_seq;
                memcpy(at_start[waiters], fate, sizeof(fate));
                const oa_waiter waiter = {.upto_seq = next_seq,
                                          .deadline_ms = draw_below(&seed, 400),
                                          .report = {.pending = pending},
                                          .ticket = (void *)waiters++};
                assert_int_equal(oa_flushes_add(&flushes, &waiter), OA_OK);
            } else {
                oa_waiter out[COUNT * 2];
                const size_t count = finish(&flushes, (uint64_t)step, false, out);
                for (size_t i = 0; i < count; i++, finished++) {
                    const size_t n = (size_t)out[i].ticket;
                    uint64_t expected[3] = {0, 0, 0};
                    for (uint64_t seq = 0; seq < upto[n]; seq++)
                        if (at_start[n][seq] == 0)
                            expected[fate[seq]]++;
                    assert_int_equal(out[i].report.pending, expected[0]);
                    assert_int_equal(out[i].report.delivered, expected[1]);
                    assert_int_equal(out[i].report.dropped, expected[2]);
                    assert_true(expected[0] == 0 || out[i].deadline_ms <= (uint64_t)step);
                }
            }
        }
        assert_int_equal(flushes.count + finished, waiters);
        oa_waiter out[COUNT * 2];
        assert_int_equal(finish(&flushes, NEVER, false, out), waiters - finished);
        oa_flushes_clear(&flushes);
    }
}

/* ---- flushes of a dispatcher ---- */

static void a_flush_of_nothing_is_over_at_once(void **state) {
    (void)state;
    world *w = world_start(world_new());
    flush_now(w, 0, 0, 0);
    decide(w, "ann", "f", "a");
    flush_now(w, 1, 0, 0);
    flush_now(w, 0, 0, 0);
    assert_int_equal(w->server.count, 1);
    world_end(w);
}

static void a_flush_covers_what_was_accepted_before_it(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 200, .silent = true);
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    const ticket *first = flush(w, 10000);
    settle(w);
    decide(w, "bob", "f", "a");
    const ticket *second = flush(w, 10000);
    decide(w, "eve", "f", "a"); /* no flush covers it, but it is sent as well */
    settle(w);
    assert_false(first->done);
    server_speak(w);
    settle(w);
    EXPECT_REPORT(first, 1, 0, 0);
    assert_false(second->done);
    server_speak(w);
    settle(w);
    EXPECT_REPORT(second, 2, 0, 0);
    assert_string_equal(delivered_text(w), "ann:f=a bob:f=a eve:f=a");
    world_end(w);
}

static void overlapping_flushes_have_numbers_of_their_own(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 400, .silent = true, .body = "{\"events_with_invalid_fields\":{\"x\":[1]}}");
    PLAN(w, .status = 200, .silent = true);
    PLAN(w, .status = 400, .silent = true, .body = "{\"events_with_invalid_fields\":{\"x\":[3]}}");
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "1");
    decide(w, "bob", "f", "1");
    const ticket *first = flush(w, 5000);
    settle(w);
    decide(w, "ann", "f", "2");
    const ticket *second = flush(w, 6000);
    decide(w, "bob", "f", "2");
    const ticket *third = flush(w, 100);
    settle(w);
    server_speak(w); /* ann's first is dropped */
    settle(w);
    const ticket *fourth = flush(w, 10000); /* three are undelivered: bob, ann, bob */
    settle(w);
    advance(w, 100);
    EXPECT_REPORT(third, 0, 1, 3);
    assert_int_equal(third->report.duration_ms, 100);
    server_speak(w); /* bob's first is delivered */
    settle(w);
    EXPECT_REPORT(first, 1, 1, 0);
    server_speak(w); /* bob's second is dropped */
    settle(w);
    assert_false(second->done);
    server_speak(w);
    settle(w);
    EXPECT_REPORT(second, 2, 1, 0);
    EXPECT_REPORT(fourth, 2, 1, 0);
    world_end(w);
}

static void a_deadline_leaves_the_rest_pending(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    const ticket *first = flush(w, 2000);
    const ticket *forever = flush(w, UINT64_MAX);
    settle(w);
    decide(w, "bob", "f", "a");
    const ticket *second = flush(w, 3000);
    advance(w, 1999);
    assert_false(first->done);
    advance(w, 1);
    EXPECT_REPORT(first, 0, 0, 1);
    assert_int_equal(first->report.duration_ms, 2000);
    advance(w, 1000);
    EXPECT_REPORT(second, 0, 0, 2);
    assert_int_equal(w->server.cancels, 0); /* nothing is aborted */
    assert_false(forever->done);
    server_speak(w);
    settle(w);
    EXPECT_REPORT(forever, 1, 0, 0);
    advance(w, 10000);
    assert_int_equal(stats_of(w).delivered, 2);
    world_end(w);
}

static void a_flush_with_abort_puts_the_request_back(void **state) {
    (void)state;
    world *w = world_new();
    w->config.flush_max_retries = 1; /* so that a counted attempt would drop */
    world_start(w);
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    const ticket *t = flush_abort(w, 2000);
    settle(w);
    decide(w, "ann", "f", "b");
    advance(w, 1999);
    assert_int_equal(w->server.cancels, 0);
    advance(w, 1);
    EXPECT_REPORT(t, 0, 0, 2);
    assert_int_equal(w->server.cancels, 1);
    assert_true(w->server.arrivals[0].aborted);
    assert_false(
        w->dispatcher->lanes.first->is_out); /* nothing is started: the process may be frozen now */
    assert_false(stats_of(w).has_error);
    assert_int_equal(stats_of(w).requests_failed, 0);
    flush_now(w, 3, 0, 0);
    assert_string_equal(delivered_text(w), "ann:f=a bob:f=a ann:f=b");
    world_end(w);
}

/* A function that is frozen after each invocation never sees a request time out. */
static void flushes_that_end_silent_requests_find_an_outage(void **state) {
    (void)state;
    world *w = world_start(world_new());
    w->server.otherwise.silent = true;
    decide(w, "ann", "f", "a");
    for (int invocation = 1; invocation <= 4; invocation++) {
        const ticket *t = flush_abort(w, 500);
        settle(w);
        advance(w, 500);
        EXPECT_REPORT(t, 0, 0, 1);
        assert_int_equal(stats_of(w).failures_in_a_row, invocation < 3 ? 0 : invocation - 2);
        assert_int_equal(stats_of(w).has_error, invocation >= 3);
        assert_int_equal(w->server.count, invocation);
        advance(w, 8000); /* frozen */
    }
    assert_int_equal(w->drop_count, 0);
    assert_int_equal(stats_of(w).health, OA_HEALTH_RETRYING);
    assert_non_null(strstr(stats_of(w).error_message, "no answer within 500 ms"));
    world_end(w);
}

/* A short flush says nothing, and an answer in between ends the count. */
static void flushes_that_wait_little_find_none(void **state) {
    (void)state;
    for (int is_short = 0; is_short < 2; is_short++) {
        world *w = world_start(world_new());
        for (int n = 0; n < 8; n++) {
            PLAN(w, .status = 200, .silent = is_short || n % 3 < 2);
            decide(w, "ann", "f", n % 2 == 0 ? "a" : "b");
            const uint64_t wait_ms = is_short ? 399 : 500;
            flush_abort(w, wait_ms);
            settle(w);
            advance(w, wait_ms);
        }
        assert_int_equal(stats_of(w).health, OA_HEALTH_OK);
        assert_false(stats_of(w).has_error);
        world_end(w);
    }
}

static void without_another_flush_the_interval_sends_what_was_put_back(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    const ticket *t = flush_abort(w, 2000);
    settle(w);
    advance(w, 2000);
    EXPECT_REPORT(t, 0, 0, 1);
    advance(w, 9999);
    assert_int_equal(w->server.count, 1);
    advance(w, 1);
    assert_int_equal(stats_of(w).delivered, 1);
    world_end(w);
}

static void nothing_starts_after_a_flush_with_abort(void **state) {
    (void)state;
    /* An answer that comes at the deadline itself leaves work that is due at once. */
    static const answer answers[] = {
        {.status = 400, .silent = true},
        {.status = 400, .silent = true, .body = "{\"events_with_invalid_fields\":{\"x\":[0]}}"},
        {.status = 413, .silent = true},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        world *w = world_start(world_new());
        server_plan(w, answers[i]);
        for (int n = 0; n < 4; n++)
            decide(w, n % 2 == 0 ? "ann" : "bob", "f", "a");
        const ticket *t = flush_abort(w, 2000);
        settle(w);
        w->now.monotonic_ms += 2000;
        server_speak(w);
        TURN_UNTIL(w, t->done);
        assert_true(t->report.pending > 0);
        settle(w);
        assert_int_equal(w->server.count, 1);
        advance(w, 10000);
        assert_int_equal(stats_of(w).pending, 0);
        world_end(w);
    }
}

static void a_flush_goes_on_when_another_one_aborts(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    const ticket *aborts = flush_abort(w, 1000);
    const ticket *waits = flush(w, 5000);
    settle(w);
    advance(w, 1000);
    EXPECT_REPORT(aborts, 0, 0, 1);
    EXPECT_REPORT(waits, 1, 0, 0);
    world_end(w);
}

static void a_flush_with_abort_that_succeeds_aborts_nothing(void **state) {
    (void)state;
    world *w = world_start(world_new());
    decide(w, "ann", "f", "a");
    const ticket *t = flush_abort(w, 2000);
    settle(w);
    EXPECT_REPORT(t, 1, 0, 0);
    PLAN(w, .status = 200, .silent = true);
    decide(w, "bob", "f", "a");
    advance(w, 10000);
    assert_true(w->dispatcher->lanes.first->is_out);
    assert_int_equal(w->server.cancels, 0);
    world_end(w);
}

static void a_flush_with_abort_while_backing_off_starts_nothing(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 503, .retry_after = 5);
    decide(w, "ann", "f", "a");
    const ticket *t = flush_abort(w, 2000);
    settle(w);
    advance(w, 2000);
    EXPECT_REPORT(t, 0, 0, 1);
    assert_int_equal(w->server.cancels, 0);
    assert_int_equal(w->server.count, 1);
    advance(w, 20000);
    assert_int_equal(stats_of(w).delivered, 1);
    world_end(w);
}

static void many_flushes_end_together(void **state) {
    (void)state;
    world *w = world_start(world_new());
    const ticket *tickets[200];
    decide(w, "ann", "f", "a");
    for (size_t i = 0; i < 200; i++)
        tickets[i] = flush(w, 1000);
    settle(w);
    for (size_t i = 0; i < 200; i++)
        EXPECT_REPORT(tickets[i], 1, 0, 0);
    assert_int_equal(w->server.count, 1);
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_waiter_counts_what_it_covers),
        cmocka_unit_test(a_waiter_does_not_count_what_settled_before_it),
        cmocka_unit_test(deadlines_end_waiters),
        cmocka_unit_test(a_waiter_that_aborts_waits_for_the_request),
        cmocka_unit_test(a_waiter_that_is_over_is_not_touched_again),
        cmocka_unit_test(a_waiter_without_a_prospect_is_over),
        cmocka_unit_test(reports_are_right_against_a_model),
        cmocka_unit_test(a_flush_of_nothing_is_over_at_once),
        cmocka_unit_test(a_flush_covers_what_was_accepted_before_it),
        cmocka_unit_test(overlapping_flushes_have_numbers_of_their_own),
        cmocka_unit_test(a_deadline_leaves_the_rest_pending),
        cmocka_unit_test(a_flush_with_abort_puts_the_request_back),
        cmocka_unit_test(flushes_that_end_silent_requests_find_an_outage),
        cmocka_unit_test(flushes_that_wait_little_find_none),
        cmocka_unit_test(without_another_flush_the_interval_sends_what_was_put_back),
        cmocka_unit_test(nothing_starts_after_a_flush_with_abort),
        cmocka_unit_test(a_flush_goes_on_when_another_one_aborts),
        cmocka_unit_test(a_flush_with_abort_that_succeeds_aborts_nothing),
        cmocka_unit_test(a_flush_with_abort_while_backing_off_starts_nothing),
        cmocka_unit_test(many_flushes_end_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
