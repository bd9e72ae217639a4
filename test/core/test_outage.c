/*
 * Hours and days of a server that does not take decisions, in simulated time, with the core's own
 * random numbers: nothing is lost but what memory cannot hold, at the price of few requests.
 *
 * OA_SAY=1 prints the numbers that are measured.
 */
#include <inttypes.h>
#include <time.h>

#include "support_crowd.h"

enum { SEEDS = 3 };

/* Start a world of a seed. */
static void begin(crowd *c, uint64_t seed, uint64_t users) {
    crowd_begin(c, world_start(crowd_world(seed)), users);
}

/* ---- nobody answers ---- */

static void an_hour_of_503_costs_few_requests(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        crowd c;
        begin(&c, seed, 50);
        c.judge = crowd_down;
        crowd_live(&c, ONE_HOUR_MS, 1);
        assert_int_equal(stats_of(c.world).pending, 3600);
        assert_int_equal(stats_of(c.world).health, OA_HEALTH_RETRYING);
        const size_t during = crowd_requests(&c);
        c.judge = NULL;
        crowd_live(&c, 2 * ONE_MINUTE_MS, 0);
        crowd_expect_all(&c, 0);
        assert_in_range(crowd_requests(&c), 50, 89);
        assert_int_equal(c.world->line_count, 2); /* it began, it is over */
        crowd_say("  503 for an hour, 1/s: %zu requests, and %zu to deliver\n", during,
                  crowd_requests(&c) - during);
        crowd_end(&c);
    }
}

/* An outage, and what the same process does afterwards. Refused decisions are not described. */
static void live_through(uint64_t ms, uint64_t per_second) {
    world *w = crowd_world(per_second);
    w->config.report_drops = false;
    crowd c;
    crowd_begin(&c, world_start(w), 1000);
    c.judge = crowd_down;
    const uint64_t begun_ms = w->now.monotonic_ms;
    while (w->now.monotonic_ms - begun_ms < ms && dropped_of(w) == 0)
        crowd_live(&c, 10 * ONE_SECOND_MS, per_second);
    const uint64_t passed_ms = w->now.monotonic_ms - begun_ms;
    const uint64_t held = stats_of(w).pending;
    if (passed_ms < ms) /* it is full: the rest is sampled */
        crowd_live(&c, ms - passed_ms, 1);
    const size_t during = crowd_requests(&c);
    assert_int_equal(stats_of(w).delivered, 0);
    assert_int_equal(stats_of(w).dropped[OA_DROP_QUEUE_FULL], dropped_of(w));
    assert_int_equal(stats_of(w).pending, held);
    assert_true(during <= 20 + ms / (40 * ONE_SECOND_MS));
    if (dropped_of(w) > 0) /* of 64 MiB */
        assert_in_range(stats_of(w).queue_bytes, 60 << 20, 64 << 20);
    c.judge = NULL;
    crowd_live(&c, ONE_MINUTE_MS, 0);
    crowd_live(&c, ONE_MINUTE_MS, per_second < 100 ? per_second : 100);
    crowd_live(&c, 15 * ONE_SECOND_MS, 0);
    crowd_expect_all(&c, stats_of(w).dropped[OA_DROP_QUEUE_FULL]);
    crowd_say("  %" PRIu64 " h at %" PRIu64 "/s: %" PRIu64 " decided (%" PRIu64
              " of them before it was full), %" PRIu64 " kept, %" PRIu64
              " dropped; %zu requests, %zu to deliver\n",
              (ms + ONE_MINUTE_MS * 5) / ONE_HOUR_MS, per_second, c.count,
              passed_ms * per_second / ONE_SECOND_MS, held, dropped_of(w), during,
              crowd_requests(&c) - during);
    crowd_end(&c);
}

/*
 * An hour, and five minutes less than a day, since what is a day old expires. Decisions are
 * recorded one by one until the queue is full; from then on there is one a second, which stands for
 * all that are refused, as the queue takes no more until the outage ends. So 5,000 a second are
 * simulated for about three minutes, and 100 a second for about two and a half hours.
 */
static void an_outage_loses_only_what_memory_cannot_hold(void **state) {
    (void)state;
    static const uint64_t rates[] = {1, 100, 5000};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        live_through(ONE_HOUR_MS, rates[i]);
        live_through(ONE_DAY_MS - 5 * ONE_MINUTE_MS, rates[i]);
    }
}

static void a_flush_at_each_request_is_no_flood(void **state) {
    (void)state;
    enum { MINUTES = 5 };
    crowd c;
    begin(&c, 1, 100);
    c.judge = crowd_down;
    for (int n = 0; n < MINUTES * 60 * 100; n++) {
        crowd_decide_many(&c, 1);
        flush(c.world, 500);
        crowd_live(&c, 10, 0);
    }
    assert_int_equal(c.world->drop_count, 0);
    const arrival *at = c.world->server.arrivals;
    for (size_t i = 1; i < crowd_requests(&c); i++) {
        const uint64_t begun_ms = at[i].at.monotonic_ms - at[0].at.monotonic_ms;
        const uint64_t pause_ms = at[i].at.monotonic_ms - at[i - 1].at.monotonic_ms;
        /* The first back-off is shorter than a second; an eighth of a long one is 7.5 s. */
        assert_true(i == 1 || begun_ms >= i * ONE_SECOND_MS);
        assert_in_range(pause_ms, i == 1 ? 0 : ONE_SECOND_MS, 7500 + 10);
    }
    assert_true(crowd_requests(&c) <= MINUTES * 60);
    crowd_say("  flush at each of 100 requests a second, %d minutes: %zu requests\n", MINUTES,
              crowd_requests(&c));
    c.judge = NULL;
    crowd_live(&c, ONE_MINUTE_MS, 0);
    crowd_expect_all(&c, 0);
    crowd_end(&c);
}

/* ---- another server answers ---- */

/* What a server says to everything. */
typedef struct refusal {
    answer says;
    size_t most;  /* requests in an hour */
    size_t slack; /* requests more, for many decisions */
    oa_health_state health;
} refusal;

static const refusal *refusing;

static void refuse_all(crowd *c, const arrival *request, answer *out) {
    (void)c;
    (void)request;
    *out = refusing->says;
}

/* An hour with so many decisions a second; then it is mended. */
static void be_refused(const refusal *r, uint64_t seed, uint64_t per_second) {
    crowd c;
    begin(&c, seed, 100);
    refusing = r;
    c.judge = refuse_all;
    crowd_live(&c, ONE_HOUR_MS, per_second);
    const size_t during = crowd_requests(&c);
    assert_int_equal(dropped_of(c.world), 0);
    assert_int_equal(stats_of(c.world).pending, 3600 * per_second);
    assert_int_equal(stats_of(c.world).health, r->health);
    crowd_say("  %d %.40s for an hour, %" PRIu64 "/s: %zu requests\n", r->says.status,
              r->says.body == NULL ? "" : r->says.body, per_second, during);
    assert_in_range(during, 10, r->most);
    c.judge = NULL;
    crowd_live(&c, 6 * ONE_MINUTE_MS, per_second);
    crowd_live(&c, 15 * ONE_SECOND_MS, 0);
    crowd_expect_all(&c, 0);
    assert_int_equal(stats_of(c.world).health, OA_HEALTH_OK);
    assert_true(was_logged(c.world, "recovered"));
    assert_int_equal(c.world->dispatcher->fit.bytes, c.world->config.max_body_bytes);
    crowd_end(&c);
}

static void a_refusal_of_everything_drops_nothing(void **state) {
    (void)state;
    static const refusal refusals[] = {
        {.says = {.status = 401, .body = "{\"message\":\"Unauthorized\"}"}, .most = 40},
        {.says = {.status = 403, .body = "{\"message\":\"Forbidden\"}"}, .most = 40},
        {.says = {.status = 404, .body = "{\"error\":\"no such path\"}"}, .most = 40},
        {.says = {.status = 405, .body = "{\"error\":\"POST?\"}"}, .most = 40},
        {.says = {.status = 410, .body = "{\"error\":\"gone\"}"}, .most = 40},
        {.says = {.status = 415, .body = "{\"error\":\"JSON?\"}"}, .most = 40},
        {.says = {.status = 413, .body = "{\"code\":413}"}, .most = 60},
        {.says = {.status = 400, .body = "{\"code\":400,\"error\":\"no\"}"}, .most = 60},
    };
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        refusal r = refusals[i];
        r.health = OA_HEALTH_CONFIGURATION;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            be_refused(&r, seed, 1);
            be_refused(&r, seed, 20);
        }
    }
}

static void a_portal_and_an_error_in_a_200_deliver_nothing(void **state) {
    (void)state;
    static const refusal refusals[] = {
        {.says = {.status = 200, .body = " <html>Welcome to the hotel</html>"},
         .most = 89,
         .health = OA_HEALTH_RETRYING},
        {.says = {.status = 200, .body = "{\"code\":500,\"error\":\"oops\"}"},
         .most = 89,
         .health = OA_HEALTH_RETRYING},
        {.says = {.status = 200, .body = "{\"code\":400,\"error\":\"no\"}"},
         .most = 89,
         .health = OA_HEALTH_RETRYING},
    };
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            be_refused(&refusals[i], seed, 1);
            be_refused(&refusals[i], seed, 20);
        }
    }
}

static void a_refusal_without_a_list_is_understood_after_a_bisection(void **state) {
    (void)state;
    static const refusal all = {.says = {.status = 400, .body = "{\"code\":400,\"error\":\"no\"}"}};
    for (uint64_t count = 1; count <= 4096; count *= 8) {
        crowd c;
        begin(&c, count, 100000);
        refusing = &all;
        c.judge = refuse_all;
        crowd_decide_many(&c, count + 1);
        flush(c.world, ONE_SECOND_MS);
        size_t turns = 0;
        while (stats_of(c.world).health == OA_HEALTH_OK && turns++ < 100)
            turn(c.world);
        uint64_t halvings = 0; /* of a request, which has 999 decisions at most */
        for (uint64_t left = count + 1 < 999 ? count + 1 : 999; left > 1; left -= left / 2)
            halvings++;
        crowd_say("  400 without a list for %" PRIu64 ": %zu requests until that is clear\n",
                  count + 1, crowd_requests(&c));
        assert_int_equal(stats_of(c.world).health, OA_HEALTH_CONFIGURATION);
        assert_int_equal(dropped_of(c.world), 0);
        assert_true(crowd_requests(&c) <= halvings + 3);
        crowd_end(&c);
    }
}

/* 1,000 decisions a second of 500 users on one flag. Each user's window begins at a moment of its
 * own, so some begin in these minutes. */
static void a_wrong_api_key_does_not_turn_off_deduplication(void **state) {
    (void)state;
    static const refusal key = {
        .says = {.status = 400, .body = "{\"code\":400,\"error\":\"Invalid API key: 0123\"}"}};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        world *w = crowd_world(seed);
        w->config.dedupe = true;
        w->config.dedupe_max_entries = 100000;
        crowd c;
        crowd_begin(&c, world_start(w), 500);
        refusing = &key;
        c.judge = refuse_all;
        crowd_live(&c, 10 * ONE_MINUTE_MS, 1000);
        assert_int_equal(c.count, 600000);
        assert_in_range(stats_of(w).accepted, 500, 515);
        assert_int_equal(stats_of(w).pending, stats_of(w).accepted);
        assert_int_equal(stats_of(w).health, OA_HEALTH_CONFIGURATION);
        assert_in_range(crowd_requests(&c), 2, 6);
        crowd_say("  a wrong API key, 1,000/s for ten minutes: %zu requests\n", crowd_requests(&c));
        c.judge = NULL;
        crowd_live(&c, 4 * ONE_MINUTE_MS, 1000);
        crowd_live(&c, 15 * ONE_SECOND_MS, 0);
        crowd_expect_all(&c, 0);
        crowd_end(&c);
    }
}

/* ---- a fleet ---- */

enum { FLEET = 100, SLICES = 12 };

/* Whether moments of [from, to) are in every twelfth, and in none too many. */
static void expect_spread(const uint64_t *at_ms, uint64_t from_ms, uint64_t to_ms) {
    size_t in_slice[SLICES] = {0};
    for (size_t i = 0; i < FLEET; i++) {
        assert_in_range(at_ms[i], from_ms, to_ms);
        const uint64_t slice = (at_ms[i] - from_ms) * SLICES / (to_ms - from_ms + 1);
        in_slice[slice]++;
    }
    for (size_t i = 0; i < SLICES; i++)
        assert_in_range(in_slice[i], 1, FLEET / 4);
}

static void ask_for_a_minute(crowd *c, const arrival *request, answer *out) {
    (void)request;
    if (crowd_requests(c) == 1)
        *out = (answer){.status = 503, .retry_after = 60};
}

static void a_fleet_does_not_come_back_at_one_moment(void **state) {
    (void)state;
    uint64_t first_ms[FLEET];
    uint64_t again_ms[FLEET];
    for (uint64_t seed = 0; seed < FLEET; seed++) {
        crowd c;
        begin(&c, seed, 10);
        c.judge = ask_for_a_minute;
        const uint64_t start_ms = c.world->now.monotonic_ms;
        crowd_live(&c, 90 * ONE_SECOND_MS, 1);
        first_ms[seed] = c.world->server.arrivals[0].at.monotonic_ms - start_ms;
        again_ms[seed] = c.world->server.arrivals[1].at.monotonic_ms - start_ms - first_ms[seed];
        crowd_live(&c, 15 * ONE_SECOND_MS, 0);
        crowd_expect_all(&c, 0);
        crowd_end(&c);
    }
    expect_spread(first_ms, 9000, 11000); /* pods that were started together */
    expect_spread(again_ms, 60000, 72000);
}

/* After an hour, pods that were started together are anywhere in the interval. */
static void a_fleet_does_not_stay_in_phase(void **state) {
    (void)state;
    uint64_t phase_ms[FLEET];
    for (uint64_t seed = 0; seed < FLEET; seed++) {
        crowd c;
        begin(&c, seed, 10);
        crowd_live(&c, ONE_HOUR_MS, 5);
        phase_ms[seed] = c.world->server.arrivals[crowd_requests(&c) - 1].at.monotonic_ms -
                         c.world->now.monotonic_ms + 11000;
        crowd_end(&c);
    }
    expect_spread(phase_ms, 0, 11000);
}

/* ---- throttled users ---- */

static void throttle_one(crowd *c, const arrival *request, answer *out) {
    if (crowd_has_user(request, c->bad))
        *out = (answer){.status = 429, .body = "{\"code\":429,\"throttled_users\":{\"u7\":31}}"};
}

static void a_flush_does_not_wait_for_throttled_users(void **state) {
    (void)state;
    crowd c;
    begin(&c, 1, 100);
    c.judge = throttle_one;
    c.bad = 7;
    for (uint64_t n = 1; n <= 20; n++) {
        crowd_decide_many(&c, 100);
        const uint64_t before = stats_of(c.world).pending - 100;
        const ticket *t = flush(c.world, 10 * ONE_SECOND_MS);
        settle(c.world);
        EXPECT_REPORT(t, 99, 0, before + 1); /* at once */
        assert_int_equal(t->report.duration_ms, 0);
        crowd_live(&c, ONE_SECOND_MS, 0);
    }
    c.judge = NULL;
    crowd_live(&c, ONE_MINUTE_MS, 0);
    crowd_expect_all(&c, 0);
    crowd_end(&c);
}

/* ---- the loop is never held ---- */

static void the_close_of_a_full_queue_takes_many_steps(void **state) {
    (void)state;
    enum { COUNT = 200000, AT_ONCE = 5000 };
    crowd c;
    world *w = crowd_world(1);
    w->config.report_drops = false;
    crowd_begin(&c, world_start(w), 1000);
    c.judge = crowd_down;
    crowd_decide_many(&c, COUNT);
    crowd_live(&c, ONE_MINUTE_MS, 0);
    const ticket *t = close_world(w, 0);
    size_t steps = 0;
    for (uint64_t before = 0; !t->done; steps++) {
        turn(w);
        assert_true(dropped_of(w) - before <= AT_ONCE);
        before = dropped_of(w);
    }
    EXPECT_REPORT(t, 0, COUNT, 0);
    assert_true(steps >= COUNT / AT_ONCE);
    assert_int_equal(stats_of(w).queue_bytes, 0);
    crowd_end(&c);
}

/* A batch of a few, which opens a group of its own. */
static void throttle_all(crowd *c, const arrival *request, answer *out) {
    static char text[1 << 16];
    static const char USER[] = "\"user_id\":\"";
    const char *at = request->text.data;
    const char *end = at + request->text.len;
    size_t len = (size_t)snprintf(text, sizeof(text), "{\"code\":429,\"throttled_users\":{\"\":1");
    (void)c;
    while ((at = memmem(at, (size_t)(end - at), USER, sizeof(USER) - 1)) != NULL) {
        at += sizeof(USER) - 1;
        len += (size_t)snprintf(text + len, sizeof(text) - len, ",\"%.*s\":1",
                                (int)strcspn(at, "\""), at);
    }
    snprintf(text + len, sizeof(text) - len, "}}");
    *out = (answer){.status = 429, .body = text};
}

/* They are sent together again: each user once in 30 s, and not one request for each of them. */
static void users_that_are_all_throttled_stay_together(void **state) {
    (void)state;
    enum { USERS = 400, MINUTES = 10 };
    crowd c;
    begin(&c, 1, USERS);
    c.judge = throttle_all;
    crowd_live(&c, 40 * ONE_SECOND_MS, USERS / 40);
    crowd_live(&c, (MINUTES - 1) * ONE_MINUTE_MS, 0);
    const size_t during = crowd_requests(&c);
    assert_int_equal(stats_of(c.world).pending, USERS);
    c.judge = NULL;
    crowd_live(&c, ONE_MINUTE_MS, 0);
    crowd_expect_all(&c, 0);
    crowd_say("  429 for each of %d users, %d minutes: %zu requests, and %zu to deliver\n", USERS,
              MINUTES, during, crowd_requests(&c) - during);
    assert_true(during < MINUTES * 7); /* however many requests they came in */
    assert_true(crowd_requests(&c) - during < 5);
    crowd_end(&c);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* CPU time of the step that releases so many parked groups of ten users each. */
static double release(uint64_t groups) {
    enum { IN_GROUP = 10 };
    crowd c;
    begin(&c, 1, groups * IN_GROUP);
    c.judge = throttle_all;
    for (uint64_t i = 0; i < groups; i++) {
        crowd_decide_many(&c, IN_GROUP);
        flush(c.world, ONE_SECOND_MS);
        settle(c.world);
    }
    assert_int_equal(crowd_requests(&c), groups);
    assert_int_equal(c.world->dispatcher->lanes.first->park.record_count, groups * IN_GROUP);
    c.world->now.monotonic_ms += ONE_MINUTE_MS;
    c.world->now.wall_ms += ONE_MINUTE_MS;
    const double begun = seconds();
    oa_dispatcher_step(c.world->dispatcher, c.world->now);
    const double took = seconds() - begun;
    assert_int_equal(c.world->dispatcher->lanes.first->park.record_count, 0);
    c.judge = NULL;
    settle(c.world);
    crowd_expect_all(&c, 0);
    crowd_end(&c);
    return took;
}

/* The least of a few, since the machine does other things. */
static double least_release(uint64_t groups) {
    double least = release(groups);
    for (int i = 0; i < 4; i++) {
        const double took = release(groups);
        least = took < least ? took : least;
    }
    return least;
}

static void parked_groups_are_released_in_linear_time(void **state) {
    (void)state;
    enum { FEW = 500, MANY = 8000 };
    const double few = least_release(FEW);
    const double many = least_release(MANY);
    crowd_say("  %d groups of 10: %.2f ms; %d: %.2f ms\n", FEW, few * 1e3, MANY, many * 1e3);
    assert_true(many < few * 100); /* 16 if linear, 256 if square; caches and other processes */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_hour_of_503_costs_few_requests),
        cmocka_unit_test(an_outage_loses_only_what_memory_cannot_hold),
        cmocka_unit_test(a_flush_at_each_request_is_no_flood),
        cmocka_unit_test(a_refusal_of_everything_drops_nothing),
        cmocka_unit_test(a_portal_and_an_error_in_a_200_deliver_nothing),
        cmocka_unit_test(a_refusal_without_a_list_is_understood_after_a_bisection),
        cmocka_unit_test(a_wrong_api_key_does_not_turn_off_deduplication),
        cmocka_unit_test(a_fleet_does_not_come_back_at_one_moment),
        cmocka_unit_test(a_fleet_does_not_stay_in_phase),
        cmocka_unit_test(a_flush_does_not_wait_for_throttled_users),
        cmocka_unit_test(the_close_of_a_full_queue_takes_many_steps),
        cmocka_unit_test(users_that_are_all_throttled_stay_together),
        cmocka_unit_test(parked_groups_are_released_in_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
