/* How much may wait, what it costs, and what is not stored at all. */
#include "support.h"

enum { RECORD_BYTES = 48 }; /* of a decision with a short id, roughly */

static void a_full_queue_drops_the_newest(void **state) {
    (void)state;
    world *w = world_new();
    w->config.max_queue_bytes = 8 * 1024;
    w->config.flush_queue_size = 1000000;
    w->config.dedupe = true;
    world_start(w);
    char user[16];
    uint64_t stored = 0;
    uint64_t refused = 0;
    for (int n = 0; n < 400; n++) {
        snprintf(user, sizeof(user), "u%d", n);
        const oa_status status = try_decide(w, user, NULL, "f", "a", true);
        assert_true(status == OA_OK || status == OA_QUEUE_FULL);
        if (status == OA_OK)
            assert_int_equal(refused, 0); /* nothing is freed meanwhile */
        stored += status == OA_OK;
        refused += status == OA_QUEUE_FULL;
        assert_true(stats_of(w).queue_bytes <= 8 * 1024);
    }
    turn(w); /* refusals are reported in the next step */
    assert_in_range(stored, 8 * 1024 / 100, 8 * 1024 / RECORD_BYTES);
    assert_int_equal(stats_of(w).dropped[OA_DROP_QUEUE_FULL], refused);
    assert_int_equal(w->drop_count, refused);
    EXPECT_DROP(w, refused - 1, OA_DROP_QUEUE_FULL, "u399:f=a");
    assert_int_equal(w->drops[0].time_ms, INT64_C(1800014400000));

    /* A dropped exposure goes out the next time, with the insert_id that the drop reported. */
    flush_now(w, stored, 0, 0);
    assert_int_equal(stats_of(w).queue_bytes, 0);
    assert_int_equal(try_decide(w, "u0", NULL, "f", "a", true), OA_REPEAT);
    decide(w, "u399", "f", "a");
    flush_now(w, 1, 0, 0);
    const arrival *last = &w->server.arrivals[w->server.count - 1];
    assert_string_equal(arrival_text(last), "u399{f=a} u399:f=a");
    assert_string_equal(text_of(arrival_event(last, 1), "insert_id"),
                        w->drops[refused - 1].insert_id);
    world_end(w);
}

/* Not told inside the call that decides, which is where a listener waits, and in the memory of as
 * many decisions. */
static void refusals_of_one_turn_are_told_in_the_next_step(void **state) {
    (void)state;
    enum { COUNT = 3000 };
    for (int told = 0; told < 2; told++) {
        world *w = world_new();
        w->config.opt_out = true;
        world_start(w);
        const oa_notices *notices = &w->dispatcher->notices;
        char user[16];
        for (int n = 0; n < COUNT; n++) {
            snprintf(user, sizeof(user), "u%d", n);
            oa_dispatcher_set_opt_out(w->dispatcher, n % 3 > 0);
            const oa_status status = try_decide(w, user, NULL, "f", "a", true);
            assert_int_equal(status, n % 3 > 0 ? OA_OPTED_OUT : OA_OK);
        }
        assert_int_equal(w->drop_count, 0);
        assert_in_range(notices->refused_arena.bytes, 1, COUNT * 2 * RECORD_BYTES);
        if (told) {
            turn(w);
            assert_int_equal(w->drop_count, COUNT / 3 * 2);
            for (int n = 0; n < COUNT / 3 * 2; n++) {
                snprintf(user, sizeof(user), "u%d:f=a", n / 2 * 3 + 1 + n % 2);
                EXPECT_DROP(w, (size_t)n, OA_DROP_OPTED_OUT, user);
            }
            assert_int_equal(notices->refused_arena.bytes, 0);
        }
        world_end(w); /* what nobody asked for is freed, too */
    }
}

static void memory_is_given_back(void **state) {
    (void)state;
    world *w = world_new();
    w->config.max_queue_bytes = 1 << 20;
    world_start(w);
    for (int round = 0; round < 20; round++) {
        for (int n = 0; n < 3000; n++)
            decide(w, "somebody@example.com", "f", "a");
        flush_now(w, 3000, 0, 0);
        assert_int_equal(stats_of(w).queue_bytes, 0);
    }
    assert_in_range(stats_of(w).queue_high_water_bytes, 3000 * 64, 1 << 20);
    world_end(w);
}

static void a_decision_larger_than_a_chunk_fits(void **state) {
    (void)state;
    world *w = world_new();
    w->config.max_queue_bytes = 1 << 20;
    world_start(w);
    static char text[200000];
    memset(text, 'x', sizeof(text) - 1);
    memcpy(text, "\"long\":\"", 8);
    text[sizeof(text) - 2] = '"';
    for (int n = 0; n < 3; n++) {
        const oa_decision decision = {.user_id = str("ann"), .event_properties = str(text)};
        decide(w, "bob", "f", "a");
        assert_int_equal(decide_with(w, &decision, "f", "a", true), OA_OK);
    }
    flush_now(w, 6, 0, 0);
    assert_int_equal(stats_of(w).queue_bytes, 0);
    world_end(w);
}

static void opted_out_decisions_are_dropped(void **state) {
    (void)state;
    world *w = world_new();
    w->config.opt_out = true;
    world_start(w);
    assert_int_equal(try_decide(w, "ann", NULL, "f", "a", true), OA_OPTED_OUT);
    turn(w);
    EXPECT_DROP(w, 0, OA_DROP_OPTED_OUT, "ann:f=a");
    assert_string_equal(w->drops[0].insert_id, "");
    oa_dispatcher_set_opt_out(w->dispatcher, false);
    decide(w, "ann", "f", "a");
    oa_dispatcher_set_opt_out(w->dispatcher, true);
    assert_int_equal(try_decide(w, "ann", "pc", "f", NULL, false), OA_OPTED_OUT);
    flush_now(w, 1, 0, 0); /* what was decided before is delivered */
    EXPECT_DROP(w, 1, OA_DROP_OPTED_OUT, "ann@pc:f=null!");
    assert_int_equal(stats_of(w).dropped[OA_DROP_OPTED_OUT], 2);
    world_end(w);
}

static void a_hundred_thousand_decisions_arrive_once_and_in_order(void **state) {
    (void)state;
    enum { COUNT = 100000, USERS = 1000 };
    world *w = world_new();
    world_start(w);
    uint32_t id = 0;
    assert_int_equal(
        oa_dispatcher_add_variant(w->dispatcher, str("f"), str("a"), str("r"), true, &id), OA_OK);
    char user[16];
    char properties[16];
    for (int n = 0; n < COUNT; n++) {
        snprintf(user, sizeof(user), "u%d", n % USERS);
        snprintf(properties, sizeof(properties), "\"n\":%d", n);
        oa_decision decision = {
            .variant_id = id, .user_id = str(user), .event_properties = str(properties)};
        assert_int_equal(record(w, &decision), OA_OK);
        if (n % 5000 == 0)
            turn(w);
    }
    const ticket *t = flush(w, 10000);
    settle(w);
    assert_true(t->done);
    assert_int_equal(stats_of(w).delivered, COUNT);
    int next = 0;
    for (size_t i = 0; i < w->server.count; i++) {
        const cJSON *events = cJSON_GetObjectItem(w->server.arrivals[i].body, "events");
        for (const cJSON *event = events->child; event != NULL; event = event->next) {
            if (is_identify(event))
                continue;
            const cJSON *n =
                cJSON_GetObjectItem(cJSON_GetObjectItem(event, "event_properties"), "n");
            assert_int_equal(n->valueint, next);
            next++;
        }
    }
    assert_int_equal(next, COUNT);
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_queue_drops_the_newest),
        cmocka_unit_test(refusals_of_one_turn_are_told_in_the_next_step),
        cmocka_unit_test(memory_is_given_back),
        cmocka_unit_test(a_decision_larger_than_a_chunk_fits),
        cmocka_unit_test(opted_out_decisions_are_dropped),
        cmocka_unit_test(a_hundred_thousand_decisions_arrive_once_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
