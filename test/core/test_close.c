/* The ends of a dispatcher: close, abort, free; and hosts that call in while they handle a notice.
 * */
#include "support_strict.h"

/* ---- close ---- */

static void close_delivers_what_is_left(void **state) {
    (void)state;
    world *w = world_start(world_new());
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    const ticket *t = close_world(w, 10000);
    settle(w);
    EXPECT_REPORT(t, 2, 0, 0);
    assert_int_equal(stats_of(w).delivered, 2);
    assert_int_equal(stats_of(w).queue_bytes, 0);
    world_end(w);
}

static void close_of_nothing_is_over_at_once(void **state) {
    (void)state;
    world *w = world_start(world_new());
    const ticket *t = close_world(w, 10000);
    settle(w);
    EXPECT_REPORT(t, 0, 0, 0);
    world_end(w);
}

static void decisions_after_close_are_dropped(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    const ticket *t = close_world(w, 10000);
    settle(w);
    assert_int_equal(try_decide(w, "bob", NULL, "f", "a", true), OA_CLOSED); /* while closing */
    server_speak(w);
    settle(w);
    EXPECT_REPORT(t, 1, 0, 0);
    assert_int_equal(try_decide(w, "eve", NULL, "f", "a", true), OA_CLOSED); /* and afterwards */
    turn(w);
    EXPECT_DROP(w, 0, OA_DROP_CLOSED, "bob:f=a");
    EXPECT_DROP(w, 1, OA_DROP_CLOSED, "eve:f=a");
    assert_string_equal(w->drops[0].insert_id, "");
    flush_now(w, 0, 0, 0);
    world_end(w);
}

static void close_at_its_deadline_drops_the_rest(void **state) {
    (void)state;
    world *w = world_start(world_new());
    strict rules = {.throttled = {"eve"}, .throttled_until_ms = {UINT64_MAX}};
    strict_rule(&rules, w);
    decide(w, "eve", "f", "1");
    flush(w, 1);
    settle(w);
    w->random = 500;
    w->server.respond = NULL;
    w->server.otherwise.status = 503;
    decide(w, "ann", "f", "1"); /* backs off in a batch */
    const ticket *other = flush(w, 3600 * 1000);
    settle(w);
    decide(w, "bob", "f", "1"); /* waits in the queue; eve is parked */
    decide(w, "eve", "f", "2");
    const ticket *t = close_world(w, 4000);
    settle(w);
    advance(w, 3000);
    assert_false(t->done);
    advance(w, 1000); /* or before, once nothing more can happen */
    EXPECT_REPORT(t, 0, 4, 0);
    EXPECT_REPORT(other, 0, 2, 0);
    assert_int_equal(stats_of(w).dropped[OA_DROP_CLOSED], 4);
    size_t eve = 0; /* in their order */
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(w->drops[i].reason, OA_DROP_CLOSED);
        assert_int_equal(strlen(w->drops[i].insert_id), 32);
        if (strncmp(w->drops[i].text, "eve", 3) == 0)
            assert_string_equal(w->drops[i].text, eve++ == 0 ? "eve:f=1" : "eve:f=2");
    }
    assert_int_equal(eve, 2);
    assert_true(was_logged(w, "closed"));
    assert_int_equal(stats_of(w).queue_bytes, 0);
    world_end(w);
}

static void close_at_its_deadline_aborts_a_silent_server(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    const ticket *t = close_world(w, 2000);
    settle(w);
    advance(w, 2000);
    EXPECT_REPORT(t, 0, 1, 0);
    assert_int_equal(w->server.cancels, 1);
    EXPECT_DROP(w, 0, OA_DROP_CLOSED, "ann:f=a");
    assert_string_equal(w->drops[0].insert_id,
                        text_of(arrival_event(&w->server.arrivals[0], 1), "insert_id"));
    world_end(w);
}

static void close_without_time_still_reports(void **state) {
    (void)state;
    world *w = world_start(world_new());
    decide(w, "ann", "f", "a");
    const ticket *t = close_world(w, 0);
    settle(w);
    EXPECT_REPORT(t, 0, 1, 0);
    world_end(w);
}

static void close_with_all_time_waits(void **state) {
    (void)state;
    world *w = world_start(world_new());
    w->random = 500;
    PLAN(w, .status = 503);
    decide(w, "ann", "f", "a");
    const ticket *t = close_world(w, UINT64_MAX);
    settle(w);
    assert_false(t->done);
    advance(w, 500);
    EXPECT_REPORT(t, 1, 0, 0);
    world_end(w);
}

static void close_ends_a_back_off_and_keeps_trying(void **state) {
    (void)state;
    world *w = world_start(world_new());
    w->random = 500;
    PLAN(w, .status = 503);
    PLAN(w, .status = 503);
    decide(w, "ann", "f", "a");
    flush(w, 0);
    advance(w, 11000);
    assert_int_equal(w->server.count, 1);
    const ticket *t = close_world(w, 10000);
    settle(w);
    assert_int_equal(w->server.count, 1); /* it failed just now */
    advance(w, 500);
    assert_int_equal(w->server.count, 2);
    advance(w, 1500); /* an attempt a second, on average */
    EXPECT_REPORT(t, 1, 0, 0);
    world_end(w);
}

/* ---- abort ---- */

static void abort_reports_what_is_lost_and_starts_nothing(void **state) {
    (void)state;
    world *w = world_start(world_new());
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    flush(w, 10000);
    settle(w);
    decide(w, "bob", "f", "a");
    assert_int_equal(oa_dispatcher_abort(w->dispatcher), 2);
    assert_int_equal(oa_dispatcher_abort(w->dispatcher), 2);
    server_speak(w); /* the host cancels it by itself; it comes back with an answer, or without */
    assert_int_equal(w->server.cancels, 0);
    assert_int_equal(try_decide(w, "eve", NULL, "f", "a", true), OA_CLOSED);
    advance(w, 60000);
    assert_int_equal(w->server.count, 1);
    assert_int_equal(stats_of(w).pending, 1);
    world_end(w);
}

/* ---- destroy ---- */

static world *backing_off(void) {
    world *w = world_start(world_new());
    PLAN(w, .status = 503, .retry_after = 60);
    for (int n = 0; n < 10; n++)
        decide(w, "ann", "f", "a");
    flush(w, 3600 * 1000);
    settle(w);
    decide(w, "bob", "f", "a");
    return w;
}

static void free_leaves_nothing_in_any_state(void **state) {
    (void)state;
    /* idle */
    world_end(world_start(world_new()));

    /* queued */
    world *w = world_start(world_new());
    decide(w, "ann", "f", "a");
    world_end(w);

    /* a step was asked for */
    w = world_start(world_new());
    decide(w, "ann", "f", "a");
    const ticket *t = flush(w, 1000);
    assert_false(t->done);
    world_end(w);

    /* in flight, in a silent server, with a waiter and a queue */
    w = world_start(world_new());
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    flush(w, 1000);
    settle(w);
    decide(w, "bob", "f", "a");
    world_end(w);

    /* in flight, perhaps not begun, perhaps answered */
    for (int i = 0; i < 50; i++) {
        w = world_start(world_new());
        decide(w, "ann", "f", "a");
        flush(w, 1000);
        for (int n = 0; n < i % 5; n++)
            turn(w);
        world_end(w);
    }

    /* backing off */
    world_end(backing_off());

    /* parked */
    w = world_start(world_new());
    PLAN(w, .status = 429, .body = "{\"throttled_events\":[0]}");
    for (int n = 0; n < 100; n++)
        decide(w, n % 2 == 0 ? "ann" : "bob", "f", "a");
    flush(w, 1000);
    settle(w);
    assert_true(w->dispatcher->lanes.first->park.record_count > 0);
    world_end(w);

    /* closing, in a silent server */
    w = world_start(world_new());
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    close_world(w, 1000);
    settle(w);
    world_end(w);

    /* closed; aborted */
    w = backing_off();
    close_world(w, 0);
    settle(w);
    world_end(w);
    w = backing_off();
    oa_dispatcher_abort(w->dispatcher);
    world_end(w);
}

static void a_creation_that_fails_leaves_nothing(void **state) {
    (void)state;
    for (size_t n = 1;; n++) {
        world *w = world_new();
        w->config.dedupe = true;
        memory_fail(n);
        const oa_status status = world_try_start(w);
        memory_fail(0);
        if (status == OA_OK) {
            assert_in_range(n, 5, 50);
            world_end(w);
            return;
        }
        assert_int_equal(status, OA_NOMEM);
        assert_null(w->dispatcher);
        world_end(w);
    }
}

/* ---- calls between two notices ---- */

static void record_one(world *w) {
    if (w->accepted < 500)
        (void)try_decide(w, "again", NULL, "f", "a", true);
}

static void flush_once_more(world *w) {
    if (w->ticket_count < 40)
        flush(w, 10000);
}

static void record_and_flush(world *w) {
    record_one(w);
    flush_once_more(w);
}

static void close_once(world *w) {
    if (w->data == NULL)
        w->data = close_world(w, 10000);
}

static void stop_everything(world *w) { (void)oa_dispatcher_abort(w->dispatcher); }

static void (*const CALLS[])(world *w) = {record_one, flush_once_more, record_and_flush,
                                          close_once};
enum { CALL_COUNT = sizeof(CALLS) / sizeof(CALLS[0]) };

/* 150 decisions, half of which are dropped, in several reports for one answer. */
static world *half_bad(strict *rules) {
    world *w = world_start(world_new());
    rules->list = LIST_ALL;
    strict_rule(rules, w);
    char user[16];
    for (int n = 0; n < 300; n++) {
        snprintf(user, sizeof(user), "u%d", n);
        decide(w, user, "f", n % 2 == 0 ? "a" : "bad");
    }
    return w;
}

static void a_host_may_call_in_from_a_drop_notice(void **state) {
    (void)state;
    for (size_t i = 0; i < CALL_COUNT; i++) {
        strict rules = {0};
        world *w = half_bad(&rules);
        w->on_drop = CALLS[i];
        const ticket *t = flush(w, 10000);
        settle(w);
        EXPECT_REPORT(t, 150, 150, 0);
        for (size_t n = 0; n < w->ticket_count; n++) {
            assert_true(w->tickets[n]->done);
            assert_int_equal(w->tickets[n]->report.pending, 0);
        }
        w->on_drop = NULL;
        flush_now(w, stats_of(w).pending, 0, 0);
        world_end(w);
    }
}

static void a_host_may_call_in_from_a_log_notice(void **state) {
    (void)state;
    for (size_t i = 0; i < CALL_COUNT; i++) {
        strict rules = {0};
        world *w = half_bad(&rules);
        w->dispatcher->notices.debug = true;
        w->on_log = CALLS[i];
        const ticket *t = flush(w, 10000);
        settle(w);
        EXPECT_REPORT(t, 150, 150, 0);
        w->on_log = NULL;
        settle(w);
        flush_now(w, stats_of(w).pending, 0, 0);
        for (size_t n = 0; n < w->ticket_count; n++)
            assert_true(w->tickets[n]->done);
        world_end(w);
    }
}

static void call_again(ticket *t) {
    void (*call)(world * w) = *(void (**)(world * w)) t->world->data;
    call(t->world);
}

static void a_host_may_call_in_from_a_flush_notice(void **state) {
    (void)state;
    static void (*calls[])(world * w) = {record_one, flush_once_more, record_and_flush};
    for (size_t i = 0; i < 3; i++) {
        world *w = world_start(world_new());
        w->data = &calls[i];
        decide(w, "ann", "f", "a");
        ticket *t = flush(w, 10000);
        t->then = call_again;
        settle(w);
        EXPECT_REPORT(t, 1, 0, 0);
        settle(w);
        flush_now(w, stats_of(w).pending, 0, 0);
        world_end(w);
    }
}

static void renew(ticket *t) {
    if (++*(int *)t->world->data < 10000)
        flush(t->world, 10000)->then = renew;
}

static void flushes_that_renew_themselves_do_not_hold_a_step_up(void **state) {
    (void)state;
    world *w = world_start(world_new());
    int renewals = 0;
    w->data = &renewals;
    enum { COUNT = 64 }; /* more than are reported at once */
    for (int n = 0; n < COUNT; n++)
        flush(w, 10000)->then = renew;
    turn(w);
    assert_int_equal(renewals, COUNT);
    renewals = 10000;
    settle(w);
    world_end(w);
}

static void close_from_inside_a_flush(ticket *t) { t->world->data = close_world(t->world, 1000); }

static void a_host_may_close_from_a_flush_notice(void **state) {
    (void)state;
    world *w = world_start(world_new());
    decide(w, "ann", "f", "a");
    flush(w, 10000)->then = close_from_inside_a_flush;
    settle(w);
    EXPECT_REPORT((const ticket *)w->data, 0, 0, 0);
    world_end(w);
}

static void a_host_may_call_in_from_the_drops_of_close(void **state) {
    (void)state;
    static void (*const calls[])(world * w) = {record_one, flush_once_more, record_and_flush,
                                               stop_everything};
    for (size_t i = 0; i < 4; i++) {
        world *w = world_start(world_new());
        for (int n = 0; n < 150; n++)
            decide(w, "ann", "f", "a");
        w->on_drop = calls[i];
        const ticket *t = close_world(w, 0);
        settle(w);
        if (calls[i] != stop_everything)
            EXPECT_REPORT(t, 0, 150, 0);
        w->on_drop = NULL;
        settle(w);
        world_end(w);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(close_delivers_what_is_left),
        cmocka_unit_test(close_of_nothing_is_over_at_once),
        cmocka_unit_test(decisions_after_close_are_dropped),
        cmocka_unit_test(close_at_its_deadline_drops_the_rest),
        cmocka_unit_test(close_at_its_deadline_aborts_a_silent_server),
        cmocka_unit_test(close_without_time_still_reports),
        cmocka_unit_test(close_with_all_time_waits),
        cmocka_unit_test(close_ends_a_back_off_and_keeps_trying),
        cmocka_unit_test(abort_reports_what_is_lost_and_starts_nothing),
        cmocka_unit_test(free_leaves_nothing_in_any_state),
        cmocka_unit_test(a_creation_that_fails_leaves_nothing),
        cmocka_unit_test(a_host_may_call_in_from_a_drop_notice),
        cmocka_unit_test(a_host_may_call_in_from_a_log_notice),
        cmocka_unit_test(a_host_may_call_in_from_a_flush_notice),
        cmocka_unit_test(flushes_that_renew_themselves_do_not_hold_a_step_up),
        cmocka_unit_test(a_host_may_close_from_a_flush_notice),
        cmocka_unit_test(a_host_may_call_in_from_the_drops_of_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
