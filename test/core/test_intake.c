/*
 * A dispatcher with a journal: what survives a kill, what waits on disk only, and in which order
 * all of it arrives.
 */
#include "support_spool.h"

#include <inttypes.h>

enum { FLAGS = 3 };

static const char *const FLAG_KEYS[FLAGS] = {"f", "g", "h"};

/* ---- a server that counts each insert_id once ---- */

enum { MOST = 20000, USERS = 5, ID_SLOTS = 1 << 16 };

static const char *const NAMES[USERS] = {"ann", "bob", "eve", "joe", "kim"};

typedef struct tally {
    uint64_t ids[ID_SLOTS];
    bool arrived[MOST];
    size_t last[USERS]; /* the number of the last event, plus one */
    size_t count;
    size_t repeats;
    size_t worlds;
    bool in_order;
    bool is_down;
    uint64_t seed;
    unsigned fails_percent;
} tally;

static size_t number_of(const char *variation) { return strtoul(variation + 1, NULL, 10); }

static bool is_known(tally *t, const char *insert_id) {
    char half[17];
    snprintf(half, sizeof(half), "%.16s", insert_id);
    const uint64_t id = strtoull(half, NULL, 16);
    size_t at = id % ID_SLOTS;
    while (t->ids[at] != 0 && t->ids[at] != id)
        at = (at + 1) % ID_SLOTS;
    const bool was = t->ids[at] == id;
    t->ids[at] = id;
    return was;
}

static void take(tally *t, const cJSON *event) {
    if (is_identify(event))
        return;
    if (is_known(t, text_of(event, "insert_id"))) {
        t->repeats++;
        return;
    }
    const cJSON *properties = cJSON_GetObjectItem(event, "event_properties");
    const size_t number = number_of(text_of(properties, "variation_key"));
    size_t user = 0;
    while (strcmp(NAMES[user], text_of(event, "user_id")) != 0)
        user++;
    t->in_order = t->in_order && !t->arrived[number] && number + 1 > t->last[user];
    t->arrived[number] = true;
    t->last[user] = number + 1;
    t->count++;
}

static void respond(void *data, const arrival *request, answer *out) {
    tally *t = data;
    *out = (answer){.status = 503};
    if (t->is_down || draw_below(&t->seed, 100) < t->fails_percent)
        return;
    const cJSON *events = cJSON_GetObjectItem(request->body, "events");
    for (const cJSON *event = events->child; event != NULL; event = event->next)
        take(t, event);
    if (draw_below(&t->seed, 100) >= t->fails_percent) /* or it arrived, and nobody knows */
        *out = (answer){.status = 200};
    out->silent = draw_below(&t->seed, 100) < t->fails_percent / 2;
}

static tally *tally_new(void) {
    tally *t = must(calloc(1, sizeof(*t)));
    t->in_order = true;
    return t;
}

static world *world_on(disk *kept, tally *t) {
    world *w = world_new();
    w->disk = kept;
    w->server.respond = respond;
    w->server.data = t;
    w->config.flush_interval_ms = 100;
    w->tracked = t->worlds++ * MOST; /* their insert_ids are made of it */
    return w;
}

static oa_status say(world *w, size_t number) {
    char variation[24];
    snprintf(variation, sizeof(variation), "v%zu", number);
    return number % 5 == 2 ? try_track(w, NAMES[number % USERS], NULL, "f", variation)
                           : try_decide(w, NAMES[number % USERS], NULL, FLAG_KEYS[number % FLAGS],
                                        variation, true);
}

static void say_many(world *w, size_t from, size_t to) {
    for (size_t number = from; number < to; number++)
        assert_int_equal(say(w, number), OA_OK);
}

static void settle_all(world *w) {
    settle(w);
    for (int i = 0; i < 200 && stats_of(w).pending > 0; i++)
        advance(w, 60000);
    assert_int_equal(stats_of(w).pending, 0);
}

/* ---- one at a time ---- */

static void what_is_pending_at_a_kill_is_delivered(void **state) {
    (void)state;
    disk *kept = disk_new(2);
    tally *t = tally_new();
    world *w = world_start(world_on(kept, t));
    say_many(w, 0, 300);
    assert_true(kept->count > 2);
    world_end(w);
    w = world_start(world_on(kept, t));
    settle_all(w);
    assert_int_equal(t->count, 300);
    assert_true(t->in_order);
    assert_int_equal(stats_of(w).spool.found, 300);
    assert_int_equal(stats_of(w).delivered, 300);
    settle(w);
    assert_true(kept->count <= 2); /* spare ones */
    world_end(w);
    assert_true(kept->count <= 1); /* the last one, with nothing that is not settled */
    disk_free(kept);
    free(t);
}

/* What arrived, and was not known to have arrived, is sent again under the same ids, also without
 * de-duplication. */
static void a_repeat_has_the_same_ids(void **state) {
    (void)state;
    for (int dedupe = 0; dedupe < 2; dedupe++) {
        disk *kept = disk_new(2);
        tally *t = tally_new();
        t->fails_percent = 100;
        world *w = world_on(kept, t);
        w->config.dedupe = dedupe;
        w->config.seed = 1;
        w->server.respond = NULL;
        world_start(w);
        say_many(w, 0, 20);
        PLAN(w, .status = 200, .silent = true);
        flush(w, 1000);
        settle(w);
        const arrival *seen = &w->server.arrivals[0];
        const cJSON *events = cJSON_GetObjectItem(seen->body, "events");
        for (const cJSON *event = events->child; event != NULL; event = event->next)
            take(t, event);
        assert_int_equal(t->count, 20);
        world_end(w);
        t->fails_percent = 0;
        w = world_on(kept, t);
        w->config.dedupe = dedupe;
        w->random = 5; /* another process */
        world_start(w);
        settle_all(w);
        assert_int_equal(t->count, 20);
        assert_int_equal(t->repeats, 20);
        /* And what is new has ids of its own. */
        say_many(w, 20, 40);
        settle_all(w);
        assert_int_equal(t->count, 40);
        world_end(w);
        disk_free(kept);
        free(t);
    }
}

static void an_outage_needs_no_memory(void **state) {
    (void)state;
    disk *kept = disk_new(16);
    tally *t = tally_new();
    world *w = world_on(kept, t);
    w->config.max_queue_bytes = 16384;
    world_start(w);
    t->is_down = true;
    for (size_t number = 0; number < 5000; number += 100) {
        say_many(w, number, number + 100);
        advance(w, 1000);
        assert_true(stats_of(w).queue_bytes <= 2 * 16384); /* what is parked may add some */
    }
    assert_int_equal(stats_of(w).pending, 5000);
    assert_true(stats_of(w).spool.disk_only > 4000);
    const ticket *done = flush(w, UINT64_MAX);
    t->is_down = false;
    settle_all(w);
    EXPECT_REPORT(done, 5000, 0, 0);
    assert_int_equal(t->count, 5000);
    assert_true(t->in_order);
    world_end(w);
    assert_true(kept->count <= 1); /* the last one, with nothing that is not settled */
    disk_free(kept);
    free(t);
}

static void what_is_found_goes_first(void **state) {
    (void)state;
    disk *kept = disk_new(2);
    tally *t = tally_new();
    world *w = world_start(world_on(kept, t));
    say_many(w, 0, 100);
    world_end(w);
    kept->finds_late = true;
    w = world_start(world_on(kept, t));
    say_many(w, 100, 200);
    const ticket *done = flush(w, 100000);
    settle(w);
    advance(w, 5000);
    assert_int_equal(t->count, 0);
    assert_false(done->done);
    assert_int_equal(stats_of(w).pending, 100);
    disk_find(kept, w);
    settle_all(w);
    EXPECT_REPORT(done, 200, 0, 0);
    assert_int_equal(t->count, 200);
    assert_true(t->in_order);
    world_end(w);
    disk_free(kept);
    free(t);
}

static void a_close_leaves_the_rest_to_the_next(void **state) {
    (void)state;
    disk *kept = disk_new(2);
    tally *t = tally_new();
    world *w = world_on(kept, t);
    w->config.max_queue_bytes = 8192;
    world_start(w);
    t->is_down = true;
    say_many(w, 0, 400);
    const ticket *done = close_world(w, 500);
    settle(w);
    advance(w, 500);
    EXPECT_REPORT(done, 0, 0, 400);
    assert_int_equal(dropped_of(w), 0);
    assert_int_equal(stats_of(w).pending, 400);
    assert_int_equal(say(w, 400), OA_CLOSED);
    turn(w);
    world_end(w);
    t->is_down = false;
    w = world_start(world_on(kept, t));
    done = close_world(w, 60000);
    settle(w);
    assert_true(done->done);
    assert_int_equal(done->report.delivered + done->report.pending, stats_of(w).spool.found);
    world_end(w);
    w = world_start(world_on(kept, t));
    settle_all(w);
    assert_int_equal(t->count, 400);
    assert_true(t->in_order);
    world_end(w);
    disk_free(kept);
    free(t);
}

static void what_no_segment_has_room_for_is_in_memory(void **state) {
    (void)state;
    disk *kept = disk_new(1);
    tally *t = tally_new();
    world *w = world_on(kept, t);
    w->config.max_queue_bytes = 32768;
    kept->most_segments = 2;
    world_start(w);
    t->is_down = true;
    size_t count = 0;
    while (say(w, count) == OA_OK)
        count++;
    turn(w);
    const oa_stats stats = stats_of(w);
    assert_true(stats.spool.unwritten > 0);
    assert_int_equal(stats.pending, count);
    const uint64_t lost = oa_dispatcher_abort(w->dispatcher);
    assert_int_equal(lost, stats.spool.unwritten);
    world_end(w);
    t->is_down = false;
    w = world_start(world_on(kept, t));
    settle_all(w);
    assert_int_equal(t->count, count - lost);
    world_end(w);
    disk_free(kept);
    free(t);
}

/* Memory that is used again has a place in it: that of what was there before. */
static void what_is_in_memory_only_stands_nowhere(void **state) {
    (void)state;
    disk *kept = disk_new(1);
    tally *t = tally_new();
    world *w = world_on(kept, t);
    w->config.max_queue_bytes = 32768;
    kept->most_segments = 2;
    world_start(w);
    size_t count = 0;
    uint64_t unwritten = 0;
    for (int round = 0; round < 3; round++) {
        t->is_down = true;
        while (say(w, count) == OA_OK)
            count++;
        turn(w);
        assert_true(stats_of(w).spool.unwritten > unwritten);
        unwritten = stats_of(w).spool.unwritten;
        t->is_down = false;
        settle_all(w);
    }
    assert_int_equal(t->count, count);
    assert_true(t->in_order);
    world_end(w);
    disk_free(kept);
    free(t);
}

static void opting_out_deletes_what_is_not_sent(void **state) {
    (void)state;
    disk *kept = disk_new(2);
    tally *t = tally_new();
    world *w = world_start(world_on(kept, t));
    say_many(w, 0, 100);
    world_end(w);
    w = world_on(kept, t);
    w->config.max_queue_bytes = 8192;
    t->is_down = true;
    world_start(w);
    say_many(w, 100, 500);
    const ticket *done = flush(w, UINT64_MAX);
    oa_dispatcher_set_opt_out(w->dispatcher, true);
    oa_dispatcher_purge(w->dispatcher);
    settle(w);
    EXPECT_REPORT(done, 0, 500, 0);
    assert_int_equal(stats_of(w).dropped[OA_DROP_OPTED_OUT], 500);
    settle(w);
    oa_dispatcher_set_opt_out(w->dispatcher, false);
    t->is_down = false;
    say_many(w, 500, 600);
    settle_all(w);
    assert_int_equal(t->count, 100);
    world_end(w);
    assert_true(kept->count <= 1); /* the last one, with nothing that is not settled */
    disk_free(kept);
    free(t);
}

static void a_record_without_a_journal_has_no_place(void **state) {
    (void)state;
    world *w = world_start(world_new());
    decide(w, "ann", "f", "a");
    assert_false(oa_queue_last(&lane_of(w, "ann")->queue)->has_place);
    world_end(w);
}

/* ---- without memory ---- */

static void live_with_failures(size_t nth, size_t *refused) {
    disk *kept = disk_new(1);
    tally *t = tally_new();
    size_t accepted = 0;
    bool was_accepted[120];
    world *w = NULL;
    for (int life = 0; life < 3; life++) {
        w = world_on(kept, t);
        w->config.max_queue_bytes = 4096;
        world_start(w);
        memory_fail(nth);
        t->is_down = life < 2;
        size_t refused_here = 0;
        for (size_t number = (size_t)life * 40; number < (size_t)(life + 1) * 40; number++) {
            const oa_status status = say(w, number);
            was_accepted[number] = status == OA_OK;
            accepted += status == OA_OK;
            refused_here += status == OA_QUEUE_FULL;
            assert_true(status == OA_OK || status == OA_NOMEM || status == OA_QUEUE_FULL);
        }
        advance(w, 1000);
        if (oa_dispatcher_spool(w->dispatcher) != NULL)
            disk_find(kept, w);
        if (life == 2)
            settle_all(w);
        *refused += memory_refusals();
        accepted -= dropped_of(w) - refused_here; /* for lack of memory to go on with them */
        /* What is in memory only is lost in a kill, and is told. */
        const uint64_t lost = oa_dispatcher_abort(w->dispatcher);
        accepted -= life < 2 ? lost : 0;
        memory_fail(0);
        world_end(w);
    }
    w = world_start(world_on(kept, t));
    settle_all(w);
    for (size_t number = 0; number < 120; number++)
        assert_true(was_accepted[number] || !t->arrived[number]);
    assert_int_equal(t->count, accepted);
    assert_true(t->in_order);
    world_end(w);
    disk_free(kept);
    free(t);
}

/* Fail the first allocation, the second, ..., until there are no more. */
static void no_allocation_that_fails_loses_anything(void **state) {
    (void)state;
    for (size_t nth = 1;; nth++) {
        size_t refused = 0;
        live_with_failures(nth, &refused);
        if (refused == 0)
            break;
        assert_true(nth < 2000);
    }
}

/* ---- random lives ---- */

static uint64_t current;

static void live_and_die(uint64_t seed) {
    uint64_t dice = seed;
    disk *kept = disk_new(1 + draw_below(&dice, 4));
    tally *t = tally_new();
    t->seed = ~seed;
    size_t count = 0;
    const uint32_t lanes = 1 + (uint32_t)draw_below(&dice, 3);
    const bool dedupe = draw_below(&dice, 2) == 0;
    for (uint64_t lives = 2 + draw_below(&dice, 5); lives > 0; lives--) {
        world *w = world_on(kept, t);
        w->config.dedupe = dedupe;
        w->config.max_concurrent = lanes;
        w->config.max_queue_bytes = draw_below(&dice, 2) == 0 ? 8192 : 1 << 20;
        w->config.flush_queue_size = 2 + (uint32_t)draw_below(&dice, 60);
        w->random = draw(&dice);
        w->runs_free = true;
        kept->finds_late = draw_below(&dice, 2) == 0;
        world_start(w);
        for (uint64_t steps = draw_below(&dice, 80); steps > 0; steps--) {
            t->fails_percent = (unsigned)draw_below(&dice, 2) * 40;
            t->is_down = draw_below(&dice, 4) == 0;
            switch (draw_below(&dice, 8)) {
            case 0:
            case 1:
            case 2:
                for (uint64_t n = draw_below(&dice, 40); n > 0; n--, count++)
                    assert_int_equal(say(w, count), OA_OK);
                break;
            case 3:
                try_flush(w, draw_below(&dice, 2000), draw_below(&dice, 2) == 0);
                break;
            case 4:
                disk_find(kept, w);
                break;
            case 5:
                advance(w, draw_below(&dice, 20000));
                break;
            case 6:
                if (server_holds(w))
                    server_speak(w);
                break;
            default:
                settle(w);
            }
        }
        if (draw_below(&dice, 3) == 0) {
            close_world(w, draw_below(&dice, 3000));
            settle(w);
            advance(w, 4000);
        }
        world_end(w); /* with what it has: it is killed */
    }
    t->fails_percent = 0;
    t->is_down = false;
    world *w = world_on(kept, t);
    w->config.dedupe = dedupe;
    world_start(w);
    disk_find(kept, w);
    settle_all(w);
    settle(w);
    assert_int_equal(t->count, count);
    assert_true(t->in_order);
    world_end(w);
    assert_int_equal(kept->count, 0);
    disk_free(kept);
    free(t);
}

static void nothing_is_lost_in_any_number_of_lives(void **state) {
    (void)state;
    const char *only = getenv("OA_HISTORY");
    current = only == NULL ? 1 : strtoull(only, NULL, 10);
    for (const uint64_t last = only == NULL ? 400 : current; current <= last; current++)
        live_and_die(current);
}

static int use_copies(void **state) {
    (void)state;
    disks_keep_copies = true;
    return 0;
}

/* Its age is the decision's own, whoever has it: a service that crashes again and again does not
 * keep what is too old. A time to come, of a clock that was wrong, counts as now. */
static void what_was_left_is_as_old_as_it_is(void **state) {
    (void)state;
    disk *kept = disk_new(16);
    tally *t = tally_new();
    t->is_down = true;
    oa_now now = {INT64_C(1800014400000), ONE_DAY_MS};
    enum { LIVES = 4, EACH = 10 };
    for (size_t life = 0; life < LIVES; life++) {
        world *w = world_on(kept, t);
        w->now = now;
        world_start(w);
        say_many(w, life * EACH, (life + 1) * EACH);
        advance(w, UINT64_C(9) * 60 * 60000);
        /* What was decided 27 hours ago, two lives before, is too old. */
        assert_int_equal(stats_of(w).dropped[OA_DROP_EXPIRED], life < 2 ? 0 : EACH);
        now.wall_ms = w->now.wall_ms;
        world_end(w);
    }
    t->is_down = false;
    world *w = world_on(kept, t);
    w->now = now;
    world_start(w);
    settle_all(w);
    assert_int_equal(stats_of(w).spool.found, 2 * EACH);
    assert_int_equal(stats_of(w).dropped[OA_DROP_EXPIRED], 0);
    assert_int_equal(t->count, 2 * EACH);
    say_many(w, LIVES * EACH, (LIVES + 1) * EACH);
    world_end(w);
    w = world_on(kept, t);
    w->now.wall_ms = now.wall_ms - 30 * (int64_t)ONE_DAY_MS;
    world_start(w);
    settle_all(w);
    assert_int_equal(stats_of(w).dropped[OA_DROP_EXPIRED], 0);
    assert_int_equal(t->count, 3 * EACH);
    world_end(w);
    disk_free(kept);
    free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_pending_at_a_kill_is_delivered),
        cmocka_unit_test(what_was_left_is_as_old_as_it_is),
        cmocka_unit_test(a_repeat_has_the_same_ids),
        cmocka_unit_test(an_outage_needs_no_memory),
        cmocka_unit_test(what_is_found_goes_first),
        cmocka_unit_test(a_close_leaves_the_rest_to_the_next),
        cmocka_unit_test(what_no_segment_has_room_for_is_in_memory),
        cmocka_unit_test(what_is_in_memory_only_stands_nowhere),
        cmocka_unit_test(opting_out_deletes_what_is_not_sent),
        cmocka_unit_test(a_record_without_a_journal_has_no_place),
        cmocka_unit_test(no_allocation_that_fails_loses_anything),
        cmocka_unit_test(nothing_is_lost_in_any_number_of_lives),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed == 0)
        failed = cmocka_run_group_tests_name("of copies", tests, use_copies, NULL);
    if (failed != 0)
        print_error("in the history of OA_HISTORY=%" PRIu64 "\n", current);
    return failed;
}
