/*
 * Batches that are to blame, while others are accepted: what is bad is found and dropped, and
 * nobody else waits for it. In simulated time, with the core's own random numbers.
 *
 * OA_SAY=1 prints the numbers that are measured.
 */
#include <inttypes.h>

#include "support_crowd.h"

enum { SEEDS = 10, PATIENCE_MS = 10 * ONE_SECOND_MS };

static void begin(crowd *c, uint64_t seed, uint64_t users, crowd_judge judge) {
    crowd_begin(c, world_start(crowd_world(seed)), users);
    c->judge = judge;
}

/* Return the number of those that were dropped of a user, and assert that no others were. */
static void expect_drops_of(const crowd *c, uint64_t user, oa_drop_reason reason) {
    char prefix[32];
    snprintf(prefix, sizeof(prefix), "u%" PRIu64 ":", user);
    for (size_t i = 0; i < c->world->drop_count; i++) {
        assert_int_equal(c->world->drops[i].reason, reason);
        assert_int_equal(strncmp(c->world->drops[i].text, prefix, strlen(prefix)), 0);
    }
}

/* ---- lists ---- */

/* Every odd decision is bad; a 400 lists the first of them. */
static void list_one(crowd *c, const arrival *request, answer *out) {
    static char text[128];
    static const char EVENT[] = "\"event_type\":";
    static const char NUMBER[] = "\"number\":";
    const char *at = request->text.data;
    const char *end = at + request->text.len;
    int index = -1;
    (void)c;
    while ((at = memchr(at, '"', (size_t)(end - at))) != NULL) {
        index += strncmp(at, EVENT, sizeof(EVENT) - 1) == 0;
        if (strncmp(at, NUMBER, sizeof(NUMBER) - 1) == 0 &&
            strtoull(at + sizeof(NUMBER) - 1, NULL, 10) % 2 == 1) {
            snprintf(text, sizeof(text),
                     "{\"code\":400,\"events_with_invalid_fields\":{\"x\":[%d]}}", index);
            *out = (answer){.status = 400, .body = text};
            return;
        }
        at++;
    }
}

/* Return the bytes that it takes to deliver `count` decisions, of which every other one is bad. */
static uint64_t bytes_with_lists(uint64_t count) {
    crowd c;
    begin(&c, count, count, list_one);
    crowd_decide_many(&c, count);
    const uint64_t begun_ms = c.world->now.monotonic_ms;
    const ticket *t = flush(c.world, ONE_HOUR_MS);
    for (uint64_t ms = 0; !t->done; ms += 100) {
        assert_true(ms < ONE_HOUR_MS);
        crowd_live(&c, 100, 0);
    }
    crowd_expect_all(&c, count / 2);
    assert_int_equal(stats_of(c.world).dropped[OA_DROP_INVALID_EVENT], count / 2);
    for (uint64_t n = 0; n < count; n++)
        assert_int_equal(c.has_arrived[n], n % 2 == 0);
    const uint64_t bytes = stats_of(c.world).request_bytes;
    const uint64_t took_ms = c.world->now.monotonic_ms - begun_ms;
    crowd_say("  %" PRIu64 " bad of %" PRIu64 ", listed one at a time: %zu requests, %" PRIu64
              " bytes, %" PRIu64 " ms\n",
              count / 2, count, crowd_requests(&c), bytes, took_ms);
    assert_true(took_ms > crowd_requests(&c) * 5); /* there are pauses */
    crowd_end(&c);
    return bytes;
}

static void a_list_of_one_at_a_time_costs_n_log_n(void **state) {
    (void)state;
    const uint64_t few = bytes_with_lists(500);
    const uint64_t many = bytes_with_lists(2000);
    assert_true(many < few * 7); /* 4 to 5; 16 if square */
}

/* ---- size ---- */

static size_t most_bytes;

static void lose_large_bodies(crowd *c, const arrival *request, answer *out) {
    (void)c;
    if (request->body_bytes > most_bytes)
        out->status = 0;
}

static void what_a_link_does_not_carry_is_sent_in_pieces(void **state) {
    (void)state;
    static const size_t limits[] = {3000, 10000, 50000, 200000};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            crowd c;
            most_bytes = limits[i];
            begin(&c, seed + limits[i], 900, lose_large_bodies);
            crowd_decide_many(&c, 900);
            const uint64_t begun_ms = c.world->now.monotonic_ms;
            const ticket *t = flush(c.world, ONE_HOUR_MS);
            for (uint64_t ms = 0; !t->done; ms += 1000) {
                assert_true(ms < ONE_HOUR_MS);
                crowd_live(&c, 1000, 0);
            }
            crowd_say("  900 decisions, no answer beyond %zu bytes: %zu requests, %" PRIu64 " s\n",
                      limits[i], crowd_requests(&c), (c.world->now.monotonic_ms - begun_ms) / 1000);
            crowd_expect_all(&c, 0);
            crowd_end(&c);
        }
    }
}

/* ---- 500 for one ---- */

static void choke_on_one(crowd *c, const arrival *request, answer *out) {
    if (crowd_has_decision(request, c->bad))
        *out = (answer){.status = 500, .body = "{\"code\":500}"};
}

static void one_event_that_breaks_the_server_holds_nobody_up(void **state) {
    (void)state;
    static const uint64_t bads[] = {0, 5000};
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            crowd c;
            begin(&c, seed, 1000, choke_on_one);
            c.bad = bads[i];
            crowd_live(&c, 10 * ONE_MINUTE_MS, 100);
            flush(c.world, ONE_SECOND_MS);
            crowd_live(&c, 10 * ONE_MINUTE_MS, 0);
            crowd_say("  500 for decision %" PRIu64 " at 100/s: others took %" PRIu64
                      " ms at most; %zu requests\n",
                      c.bad, crowd_slowest_ms(&c, c.bad % 1000), crowd_requests(&c));
            crowd_expect_all(&c, 1);
            expect_drops_of(&c, c.bad % 1000, OA_DROP_RETRIES_EXHAUSTED);
            assert_false(c.has_arrived[c.bad]);
            assert_true(crowd_slowest_ms(&c, c.bad % 1000) < PATIENCE_MS);
            crowd_end(&c);
        }
    }
}

static void choke_on_some(crowd *c, const arrival *request, answer *out) {
    for (uint64_t n = 0; n < 5; n++) /* five in a row */
        if (crowd_has_decision(request, c->bad + n))
            *out = (answer){.status = 500, .body = "{\"code\":500}"};
}

static void several_bad_events_are_found(void **state) {
    (void)state;
    static const uint64_t bads[] = {0, 5000};
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            crowd c;
            begin(&c, seed, 1000, choke_on_some);
            c.bad = bads[i];
            crowd_live(&c, 10 * ONE_MINUTE_MS, 100);
            flush(c.world, ONE_SECOND_MS);
            crowd_live(&c, 10 * ONE_MINUTE_MS, 0);
            crowd_expect_all(&c, 5);
            uint64_t slowest_ms = 0;
            for (uint64_t user = 5; user < 1000; user++)
                if (c.slowest_ms[user] > slowest_ms)
                    slowest_ms = c.slowest_ms[user];
            crowd_say("  500 for five from %" PRIu64 " at 100/s: others took %" PRIu64
                      " ms at most; %zu requests\n",
                      c.bad, slowest_ms, crowd_requests(&c));
            for (uint64_t n = 0; n < 5; n++)
                assert_false(c.has_arrived[c.bad + n]);
            assert_int_equal(stats_of(c.world).dropped[OA_DROP_RETRIES_EXHAUSTED], 5);
            assert_true(slowest_ms < PATIENCE_MS);
            crowd_end(&c);
        }
    }
}

/* An outage while five bad decisions are known: each of them is tried a few times as well. */
static void an_outage_is_seen_behind_bad_events(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        crowd c;
        begin(&c, seed, 1000, choke_on_some);
        c.bad = 0;
        crowd_live(&c, 20 * ONE_SECOND_MS, 100);
        const size_t before = crowd_requests(&c);
        c.judge = crowd_down;
        crowd_live(&c, ONE_HOUR_MS, 1);
        const size_t during = crowd_requests(&c) - before;
        assert_int_equal(c.world->drop_count, 0);
        assert_int_equal(stats_of(c.world).health, OA_HEALTH_RETRYING);
        c.judge = choke_on_some;
        crowd_live(&c, 15 * ONE_MINUTE_MS, 1);
        crowd_live(&c, 15 * ONE_SECOND_MS, 0);
        crowd_say("  503 for an hour, and five bad decisions: %zu requests, %zu more\n", during,
                  crowd_requests(&c) - during - before);
        crowd_expect_all(&c, 5);
        assert_in_range(during, 50, 150);
        crowd_end(&c);
    }
}

/* ---- one user ---- */

static void block_a_user(crowd *c, const arrival *request, answer *out) {
    if (crowd_has_user(request, c->bad))
        *out = (answer){.status = 403, .body = "{\"message\":\"Forbidden\"}"};
}

/* Every user decides once in `every_ms`, for half an hour; then the rule is taken back. */
static void live_behind_a_firewall(uint64_t seed, uint64_t users, uint64_t every_ms,
                                   uint64_t patience_ms) {
    crowd c;
    begin(&c, seed, users, block_a_user);
    c.bad = seed % users;
    const uint64_t rounds = 30 * ONE_MINUTE_MS / every_ms;
    for (uint64_t n = 0; n < rounds * users; n++) {
        crowd_decide_many(&c, 1);
        crowd_live(&c, (n + 1) * every_ms / users - n * every_ms / users, 0);
    }
    flush(c.world, ONE_SECOND_MS);
    crowd_live(&c, ONE_SECOND_MS, 0);
    const uint64_t dropped = dropped_of(c.world);
    crowd_say("  403 for one of %" PRIu64 " users, each once in %" PRIu64
              " ms: others took %" PRIu64 " ms at most, %" PRIu64 " dropped, %" PRIu64
              " wait; %zu requests, %zu lines\n",
              users, every_ms, crowd_slowest_ms(&c, c.bad), dropped, stats_of(c.world).pending,
              crowd_requests(&c), c.world->line_count);
    assert_true(crowd_slowest_ms(&c, c.bad) < patience_ms);
    assert_int_equal(stats_of(c.world).delivered, rounds * (users - 1));
    assert_true(dropped > 0);
    expect_drops_of(&c, c.bad, OA_DROP_RETRIES_EXHAUSTED);
    c.judge = NULL;
    crowd_live(&c, 2 * ONE_MINUTE_MS, 0);
    crowd_expect_all(&c, dropped);
    crowd_end(&c);
}

static void a_firewall_against_one_user_holds_nobody_up(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        live_behind_a_firewall(seed * 20, 101, 1000, PATIENCE_MS);
        /* With little traffic it takes an interval, and some tries, until the first is accepted. */
        live_behind_a_firewall(seed, 10, 5000, 3 * PATIENCE_MS);
    }
}

/* Every tenth user's events are blocked, so that hardly any request of twenty is without one. */
static void block_many(crowd *c, const arrival *request, answer *out) {
    (void)c;
    for (uint64_t user = 7; user < 1000; user += 10)
        if (crowd_has_user(request, user)) {
            *out = (answer){.status = 403, .body = "{\"message\":\"Forbidden\"}"};
            return;
        }
}

static void many_blocked_users_do_not_stop_the_others(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        crowd c;
        begin(&c, seed, 1000, block_many);
        crowd_live(&c, 2 * ONE_MINUTE_MS, 50);
        crowd_live(&c, ONE_MINUTE_MS, 0);
        uint64_t slowest_ms = 0;
        for (uint64_t n = 0; n < c.count; n++)
            assert_true(c.has_arrived[n] || n % 10 == 7);
        for (uint64_t user = 0; user < 1000; user++)
            if (user % 10 != 7 && c.slowest_ms[user] > slowest_ms)
                slowest_ms = c.slowest_ms[user];
        crowd_say("  403 for one user in ten at 50/s: others took %" PRIu64
                  " ms at most; %zu requests\n",
                  slowest_ms, crowd_requests(&c));
        assert_true(slowest_ms < ONE_MINUTE_MS);
        crowd_end(&c);
    }
}

static answer blocked;

static void block_others(crowd *c, const arrival *request, answer *out) {
    if (!crowd_has_user(request, c->bad) || crowd_count(request) > 1)
        *out = blocked;
}

/* Nothing but the decision of a blocked user; then another user decides. */
static void wait_behind_a_firewall(uint64_t seed, uint64_t ms) {
    crowd c;
    begin(&c, seed, 2, block_others);
    c.bad = 1; /* who is not blocked */
    const uint64_t interval_ms = c.world->config.flush_interval_ms;
    crowd_decide_many(&c, 1);
    crowd_live(&c, ms, 0);
    assert_int_equal(stats_of(c.world).delivered, 0);
    assert_int_not_equal(stats_of(c.world).health, OA_HEALTH_OK);
    crowd_decide_many(&c, 1);
    crowd_live(&c, interval_ms + interval_ms / 10 + 5 * ONE_SECOND_MS, 0);
    crowd_say("  %d for one user alone for %" PRIu64 " ms: the first other user waits %" PRIu64
              " ms\n",
              blocked.status, ms, c.slowest_ms[1]);
    assert_int_equal(stats_of(c.world).delivered, 1);
    assert_int_equal(c.world->drop_count, 0);
    crowd_end(&c);
}

static void a_firewall_is_seen_through_by_the_first_other_user(void **state) {
    (void)state;
    static const answer answers[] = {{.status = 403, .body = "{\"message\":\"Forbidden\"}"},
                                     {.status = 500, .body = "{\"code\":500}"}};
    static const uint64_t waits_ms[] = {13 * ONE_SECOND_MS, 2 * ONE_MINUTE_MS, 20 * ONE_MINUTE_MS};
    for (size_t k = 0; k < 2; k++) {
        blocked = answers[k];
        for (uint64_t seed = 1; seed <= SEEDS; seed++)
            for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++)
                wait_behind_a_firewall(seed, waits_ms[i]);
    }
}

static void refuse_one(crowd *c, const arrival *request, answer *out) {
    if (crowd_has_decision(request, c->bad))
        *out = (answer){.status = 400, .body = "{\"code\":400,\"error\":\"no\"}"};
}

static void the_bad_decision_of_the_only_user_is_found(void **state) {
    (void)state;
    static const uint64_t bads[] = {0, 1, 150, 299};
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            crowd c;
            begin(&c, seed, 1, refuse_one);
            c.bad = bads[i];
            crowd_live(&c, ONE_MINUTE_MS, 5);
            crowd_live(&c, ONE_MINUTE_MS, 0);
            crowd_expect_all(&c, 1);
            expect_drops_of(&c, 0, OA_DROP_INVALID_EVENT);
            assert_false(c.has_arrived[c.bad]);
            crowd_end(&c);
        }
    }
}

/*
 * The same with a 500, but while decisions before it are accepted: it is to blame. At the very
 * front it cannot be told from an outage, as no decision of the user may overtake it: it is kept
 * until it is too old, and the others are delivered then.
 */
static void the_decision_that_breaks_the_server_for_its_only_user(void **state) {
    (void)state;
    crowd c;
    begin(&c, 1, 1, choke_on_one);
    c.bad = 0;
    crowd_live(&c, ONE_MINUTE_MS, 5);
    crowd_live(&c, ONE_DAY_MS - 2 * ONE_MINUTE_MS, 0);
    assert_int_equal(stats_of(c.world).pending, 300);
    assert_int_equal(stats_of(c.world).health, OA_HEALTH_RETRYING);
    const size_t requests = crowd_requests(&c);
    assert_true(requests < 1800);
    crowd_live(&c, 2 * ONE_MINUTE_MS, 0);
    crowd_say("  500 for the only user's first: %zu requests in a day, %" PRIu64
              " of 300 delivered\n",
              requests, stats_of(c.world).delivered);
    assert_int_equal(stats_of(c.world).pending, 0);
    assert_int_equal(dropped_of(c.world), stats_of(c.world).dropped[OA_DROP_EXPIRED]);
    assert_true(stats_of(c.world).delivered > 0);
    crowd_end(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_one_at_a_time_costs_n_log_n),
        cmocka_unit_test(what_a_link_does_not_carry_is_sent_in_pieces),
        cmocka_unit_test(one_event_that_breaks_the_server_holds_nobody_up),
        cmocka_unit_test(several_bad_events_are_found),
        cmocka_unit_test(an_outage_is_seen_behind_bad_events),
        cmocka_unit_test(a_firewall_against_one_user_holds_nobody_up),
        cmocka_unit_test(many_blocked_users_do_not_stop_the_others),
        cmocka_unit_test(a_firewall_is_seen_through_by_the_first_other_user),
        cmocka_unit_test(the_bad_decision_of_the_only_user_is_found),
        cmocka_unit_test(the_decision_that_breaks_the_server_for_its_only_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
