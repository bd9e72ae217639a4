/* The main job: what decisions become, when they are sent, and how they are counted. */
#include "support.h"

/* ---- what is sent ---- */

static void a_run_of_one_user_shares_an_identify(void **state) {
    (void)state;
    world *w = world_start(world_new());
    decide(w, "ann", "f", "a");
    decide(w, "ann", "g", "b");
    decide(w, "ann", "h", "c");
    decide(w, "bob", "f", "a");
    decide(w, "ann", "i", "d");
    flush_now(w, 5, 0, 0);
    assert_int_equal(w->server.count, 1);
    EXPECT_ARRIVAL(w, 0,
                   "ann{f=a,g=b,h=c} ann:f=a ann:g=b ann:h=c bob{f=a} bob:f=a ann{i=d} ann:i=d");
    assert_int_equal(stats_of(w).events_sent, 8);
    world_end(w);
}

static void a_flag_that_changes_is_sent_each_time(void **state) {
    (void)state;
    world *w = world_new();
    w->config.dedupe = true;
    world_start(w);
    decide(w, "ann", "f", "a");
    assert_int_equal(try_decide(w, "ann", NULL, "f", "off", false), OA_OK);
    decide(w, "ann", "f", "a");
    assert_int_equal(try_decide(w, "ann", NULL, "f", "a", true), OA_REPEAT);
    flush_now(w, 3, 0, 0);
    EXPECT_ARRIVAL(w, 0, "ann{f=a} ann:f=a ann{f=off} ann:f=off! ann{f=a} ann:f=a");
    const arrival *request = &w->server.arrivals[0];
    for (size_t i = 0; i < arrival_count(request); i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(text_of(arrival_event(request, i), "insert_id"),
                                    text_of(arrival_event(request, j), "insert_id"));
    assert_int_equal(stats_of(w).deduplicated, 1);
    world_end(w);
}

static void every_field_is_as_the_contract_says(void **state) {
    (void)state;
    world *w = world_new();
    w->config.property_prefix = str("[Optimizely] ");
    w->config.groups_json = str("{\"org\":[\"a\",\"b\"]}");
    w->config.constants_json = str("\"plan\":{\"branch\":\"main\"}");
    w->config.min_id_length = 3;
    world_start(w);
    const oa_decision decision = {
        .user_id = str("ann"),
        .device_id = str("phone"),
        .event_properties = str("\"price\":5,\"tags\":[\"x\"]"),
        .user_properties = str("\"plan\":\"pro\""),
    };
    assert_int_equal(decide_with(w, &decision, "check\"out", "one\npage", true), OA_OK);
    flush_now(w, 1, 0, 0);
    char *body = cJSON_PrintUnformatted(w->server.arrivals[0].body);
    const arrival *request = &w->server.arrivals[0];
    char expected[2048];
    snprintf(expected, sizeof(expected),
             "{\"api_key\":\"0123456789abcdef0123456789abcdef\",\"events\":["
             "{\"event_type\":\"$identify\",\"user_id\":\"ann\",\"device_id\":\"phone\","
             "\"time\":1800014400000,\"insert_id\":\"%s\",\"event_id\":0,"
             "\"library\":\"optimizely-amplitude/0.0.0\",\"plan\":{\"branch\":\"main\"},"
             "\"user_properties\":{\"$set\":"
             "{\"[Optimizely] check\\\"out\":\"one\\npage\",\"plan\":\"pro\"}}},"
             "{\"event_type\":\"Experiment Viewed\",\"user_id\":\"ann\",\"device_id\":\"phone\","
             "\"time\":1800014400000,\"insert_id\":\"%s\",\"event_id\":2,"
             "\"library\":\"optimizely-amplitude/0.0.0\",\"plan\":{\"branch\":\"main\"},"
             "\"groups\":{\"org\":[\"a\",\"b\"]},"
             "\"event_properties\":{\"flag_key\":\"check\\\"out\",\"variation_key\":\"one\\npage\","
             "\"rule_key\":\"rule\",\"enabled\":true,\"price\":5,\"tags\":[\"x\"]}}],"
             "\"options\":{\"min_id_length\":3}}",
             text_of(arrival_event(request, 0), "insert_id"),
             text_of(arrival_event(request, 1), "insert_id"));
    assert_string_equal(body, expected);
    assert_int_equal(strlen(text_of(arrival_event(request, 0), "insert_id")), 32);
    assert_string_not_equal(text_of(arrival_event(request, 0), "insert_id"),
                            text_of(arrival_event(request, 1), "insert_id"));
    cJSON_free(body);
    world_end(w);
}

static void fields_are_in_both_events_and_their_groups_replace_the_others(void **state) {
    (void)state;
    world *w = world_new();
    w->config.groups_json = str("{\"org\":\"a\"}");
    world_start(w);
    static const char *const fields[] = {"\"session_id\":7",
                                         "\"groups\":{\"team\":\"b\"},\"ip\":\"::1\""};
    for (size_t i = 0; i < 2; i++) {
        const oa_decision decision = {.user_id = str("ann"), .fields = str(fields[i])};
        assert_int_equal(decide_with(w, &decision, "f", "a", true), OA_OK);
    }
    flush_now(w, 2, 0, 0);
    const arrival *request = &w->server.arrivals[0];
    assert_int_equal(arrival_count(request), 4);
    for (size_t i = 0; i < 4; i++) {
        const cJSON *event = arrival_event(request, i);
        const cJSON *session = cJSON_GetObjectItem(event, "session_id");
        char *groups = cJSON_PrintUnformatted(cJSON_GetObjectItem(event, "groups"));
        if (i < 2) {
            assert_non_null(session);
            assert_int_equal(session->valueint, 7);
            assert_true(i == 0 ? groups == NULL : strcmp(groups, "{\"org\":\"a\"}") == 0);
        } else {
            assert_null(session);
            assert_string_equal(text_of(event, "ip"), "::1");
            assert_string_equal(groups, "{\"team\":\"b\"}");
        }
        cJSON_free(groups);
        size_t count = 0; /* cJSON would find the first of two */
        for (const cJSON *member = event->child; member != NULL; member = member->next)
            count += strcmp(member->string, "groups") == 0;
        assert_true(count < 2);
    }
    world_end(w);
}

static void a_disabled_flag_is_off(void **state) {
    (void)state;
    for (int variation = 0; variation < 2; variation++) {
        world *w = world_new();
        w->config.disabled_value_is_variation = variation;
        world_start(w);
        assert_int_equal(try_decide(w, "ann", NULL, "f", "a", false), OA_OK);
        assert_int_equal(try_decide(w, "bob", NULL, "f", NULL, false), OA_OK);
        assert_int_equal(try_decide(w, "eve", NULL, "f", NULL, true), OA_OK);
        flush_now(w, 3, 0, 0);
        EXPECT_ARRIVAL(w, 0,
                       variation ? "ann{f=a} ann:f=a! bob{f=off} bob:f=null! eve{f=off} eve:f=null"
                                 : "ann{f=off} ann:f=a! bob{f=off} bob:f=null! eve{f=off} "
                                   "eve:f=null");
        world_end(w);
    }
}

static void without_an_event_type_only_the_property_is_sent(void **state) {
    (void)state;
    world *w = world_new();
    w->config.event_type = str(NULL);
    world_start(w);
    decide(w, "ann", "f", "a");
    decide(w, "ann", "g", "b");
    decide(w, "bob", "f", "a");
    flush_now(w, 3, 0, 0);
    EXPECT_ARRIVAL(w, 0, "ann{f=a,g=b} bob{f=a}");
    assert_int_equal(stats_of(w).events_sent, 2);
    world_end(w);
}

static void an_event_may_carry_its_property(void **state) {
    (void)state;
    world *w = world_new();
    w->config.sends_identify = false;
    w->config.event_sets_property = true;
    w->config.property_prefix = str("[Optimizely] ");
    world_start(w);
    const oa_decision decision = {
        .user_id = str("ann"),
        .event_properties = str("\"price\":5"),
        .user_properties = str("\"plan\":\"pro\""),
    };
    assert_int_equal(decide_with(w, &decision, "f", "a", true), OA_OK);
    decide(w, "ann", "g", "b");
    flush_now(w, 2, 0, 0);
    EXPECT_ARRIVAL(w, 0, "ann:f=a{[Optimizely] f=a,plan=pro} ann:g=b{[Optimizely] g=b}");
    char *event = cJSON_PrintUnformatted(arrival_event(&w->server.arrivals[0], 0));
    char expected[1024];
    snprintf(expected, sizeof(expected),
             "{\"event_type\":\"Experiment Viewed\",\"user_id\":\"ann\",\"time\":1800014400000,"
             "\"insert_id\":\"%s\",\"event_id\":2,\"library\":\"optimizely-amplitude/0.0.0\","
             "\"event_properties\":{\"flag_key\":\"f\",\"variation_key\":\"a\","
             "\"rule_key\":\"rule\",\"enabled\":true,\"price\":5},"
             "\"user_properties\":{\"[Optimizely] f\":\"a\",\"plan\":\"pro\"}}",
             text_of(arrival_event(&w->server.arrivals[0], 0), "insert_id"));
    assert_string_equal(event, expected);
    assert_int_equal(stats_of(w).events_sent, 2);
    cJSON_free(event);
    world_end(w);
}

static void an_exposure_is_amplitudes_own(void **state) {
    (void)state;
    world *w = world_new();
    w->config.sends_identify = false;
    w->config.sends_exposure = true;
    w->config.event_type = str(NULL);
    w->config.groups_json = str("{\"org\":\"a\"}");
    world_start(w);
    const oa_decision decision = {.user_id = str("ann"), .event_properties = str("\"price\":5")};
    assert_int_equal(decide_with(w, &decision, "f", "a", false), OA_OK);
    assert_int_equal(try_decide(w, "ann", NULL, "g", NULL, false), OA_OK);
    flush_now(w, 2, 0, 0);
    EXPECT_ARRIVAL(w, 0, "ann^f=a ann^g=null");
    char *events =
        cJSON_PrintUnformatted(cJSON_GetObjectItem(w->server.arrivals[0].body, "events"));
    char expected[1024];
    snprintf(expected, sizeof(expected),
             "[{\"event_type\":\"$exposure\",\"user_id\":\"ann\",\"time\":1800014400000,"
             "\"insert_id\":\"%s\",\"event_id\":1,\"library\":\"optimizely-amplitude/0.0.0\","
             "\"groups\":{\"org\":\"a\"},\"event_properties\":{\"flag_key\":\"f\","
             "\"variant\":\"a\",\"experiment_key\":\"rule\",\"price\":5}},"
             "{\"event_type\":\"$exposure\",\"user_id\":\"ann\",\"time\":1800014400000,"
             "\"insert_id\":\"%s\",\"event_id\":5,\"library\":\"optimizely-amplitude/0.0.0\","
             "\"groups\":{\"org\":\"a\"},\"event_properties\":{\"flag_key\":\"g\","
             "\"experiment_key\":\"rule\"}}]",
             text_of(arrival_event(&w->server.arrivals[0], 0), "insert_id"),
             text_of(arrival_event(&w->server.arrivals[0], 1), "insert_id"));
    assert_string_equal(events, expected);
    cJSON_free(events);
    world_end(w);
}

static void users_and_devices_are_told_apart(void **state) {
    (void)state;
    world *w = world_new();
    w->config.dedupe = true;
    world_start(w);
    assert_int_equal(try_decide(w, "x", NULL, "f", "a", true), OA_OK);
    assert_int_equal(try_decide(w, NULL, "x", "f", "a", true), OA_OK);
    assert_int_equal(try_decide(w, "x", "x", "g", "a", true), OA_OK);
    assert_int_equal(try_decide(w, "x", "y", "h", "a", true), OA_OK);
    flush_now(w, 4, 0, 0);
    EXPECT_ARRIVAL(w, 0, "x{f=a} x:f=a @x{f=a} @x:f=a x@x{g=a} x@x:g=a x@y{h=a} x@y:h=a");
    world_end(w);
}

static void fields_that_differ_do_not_share(void **state) {
    (void)state;
    world *w = world_start(world_new());
    static const char *const flags[] = {"f", "g", "h", "i"};
    static const char *const fields[] = {"\"session_id\":1", "\"session_id\":1", "\"session_id\":2",
                                         NULL};
    for (size_t i = 0; i < 4; i++) {
        const oa_decision decision = {.user_id = str("ann"), .fields = str(fields[i])};
        assert_int_equal(decide_with(w, &decision, flags[i], "a", true), OA_OK);
    }
    flush_now(w, 4, 0, 0);
    EXPECT_ARRIVAL(w, 0, "ann{f=a,g=a} ann:f=a ann:g=a ann{h=a} ann:h=a ann{i=a} ann:i=a");
    world_end(w);
}

static void enrichments_that_differ_do_not_share(void **state) {
    (void)state;
    world *w = world_start(world_new());
    const char *const plans[] = {"\"plan\":\"pro\"", "\"plan\":\"pro\"", "\"plan\":\"free\"", NULL};
    const char *const flags[] = {"f", "g", "h", "i"};
    for (size_t i = 0; i < 4; i++) {
        const oa_decision decision = {.user_id = str("ann"), .user_properties = str(plans[i])};
        assert_int_equal(decide_with(w, &decision, flags[i], "a", true), OA_OK);
    }
    flush_now(w, 4, 0, 0);
    EXPECT_ARRIVAL(w, 0,
                   "ann{f=a,g=a,plan=pro} ann:f=a ann:g=a ann{h=a,plan=free} ann:h=a ann{i=a} "
                   "ann:i=a");
    world_end(w);
}

static void ids_are_checked(void **state) {
    (void)state;
    world *w = world_new();
    w->config.min_id_length = 5;
    world_start(w);
    assert_int_equal(try_decide(w, NULL, NULL, "f", "a", true), OA_ID_MISSING);
    assert_int_equal(try_decide(w, "anna", NULL, "f", "a", true), OA_ID_TOO_SHORT);
    assert_int_equal(try_decide(w, "", "", "f", "a", true), OA_ID_MISSING);
    assert_int_equal(try_decide(w, "", "dev", "f", "a", true), OA_ID_TOO_SHORT);
    assert_int_equal(try_decide(w, "none", "dev", "f", "a", true), OA_ID_TOO_SHORT);
    assert_int_equal(try_decide(w, "anonymous", NULL, "f", "a", true), OA_ID_FORBIDDEN);
    oa_decision decision = {.variant_id = 1000, .user_id = str("annab")};
    assert_int_equal(record(w, &decision), OA_MALFORMED);
    assert_int_equal(stats_of(w).accepted, 0);
    world_end(w);
}

/* Decide with an id that is refused and one that is good; the decision goes with the good one. */
static void leave_out(world *w, const char *user, const char *device, const char *flag,
                      oa_status reason) {
    oa_decision decision = {.user_id = str(user), .device_id = str(device)};
    assert_int_equal(oa_dispatcher_add_variant(w->dispatcher, str(flag), str("a"), str("rule"),
                                               true, &decision.variant_id),
                     OA_OK);
    assert_int_equal(record(w, &decision), OA_OK);
    assert_int_equal(decision.left_out, reason);
}

static void an_id_that_is_refused_is_left_out_beside_a_good_one(void **state) {
    (void)state;
    world *w = world_new();
    w->config.dedupe = true;
    w->config.min_id_length = 5;
    world_start(w);
    leave_out(w, "anna", "tablet", "f", OA_ID_TOO_SHORT);
    leave_out(w, "anonymous", "tablet", "g", OA_ID_FORBIDDEN);
    leave_out(w, "", "tablet", "h", OA_OK);
    leave_out(w, "annab", "dev", "f", OA_ID_TOO_SHORT);
    leave_out(w, "annab", "", "g", OA_OK);
    leave_out(w, "annab", NULL, "h", OA_OK);
    /* The exposure is that of the id that is sent. */
    assert_int_equal(try_decide(w, NULL, "tablet", "f", "a", true), OA_REPEAT);
    assert_int_equal(try_decide(w, "none", "tablet", "f", "a", true), OA_REPEAT);
    assert_int_equal(try_decide(w, "annab", NULL, "f", "a", true), OA_REPEAT);
    flush_now(w, 6, 0, 0);
    EXPECT_ARRIVAL(w, 0,
                   "@tablet{f=a,g=a,h=a} @tablet:f=a @tablet:g=a @tablet:h=a "
                   "annab{f=a,g=a,h=a} annab:f=a annab:g=a annab:h=a");
    world_end(w);
}

static void events_of_the_application_go_with_decisions_in_order(void **state) {
    (void)state;
    world *w = world_start(world_new());
    decide(w, "ann", "f", "a");
    assert_int_equal(try_track(w, "ann", "phone", "x", "1"), OA_OK);
    decide(w, "ann", "g", "b");
    assert_int_equal(try_track(w, "ann", NULL, "y", "2"), OA_OK);
    assert_int_equal(try_track(w, NULL, "phone", "z", "3"), OA_OK);
    assert_int_equal(stats_of(w).tracked.pending, 3);
    flush_now(w, 5, 0, 0);
    EXPECT_ARRIVAL(w, 0, "ann{f=a} ann:f=a ann@phone+x=1 ann{g=b} ann:g=b ann+y=2 @phone+z=3");
    const cJSON *event = arrival_event(&w->server.arrivals[0], 2);
    assert_string_equal(text_of(event, "insert_id"), "9e3779b97f4a7c150000000000000001");
    const oa_stats stats = stats_of(w);
    assert_int_equal(stats.tracked.delivered, 3);
    assert_int_equal(stats.delivered, 5);
    assert_int_equal(stats.events_sent, 7);
    world_end(w);
}

static void events_of_the_application_are_sent_in_every_format(void **state) {
    (void)state;
    for (int exposure = 0; exposure < 2; exposure++) {
        world *w = world_new();
        w->config.event_type = str(NULL);
        w->config.sends_exposure = exposure;
        w->config.sends_identify = !exposure;
        world_start(w);
        assert_int_equal(try_track(w, "ann", NULL, "x", "1"), OA_OK);
        flush_now(w, 1, 0, 0);
        EXPECT_ARRIVAL(w, 0, "ann+x=1");
        world_end(w);
    }
}

static void events_of_the_application_are_refused_as_decisions_are(void **state) {
    (void)state;
    world *w = world_new();
    w->config.min_id_length = 2;
    world_start(w);
    assert_int_equal(try_track(w, NULL, "", "x", "1"), OA_ID_MISSING);
    assert_int_equal(try_track(w, "a", NULL, "x", "1"), OA_ID_TOO_SHORT);
    assert_int_equal(try_track(w, "ann", "b", "x", "1"), OA_OK); /* goes as ann */
    oa_dispatcher_set_opt_out(w->dispatcher, true);
    assert_int_equal(try_track(w, "ann", NULL, "x", "2"), OA_OPTED_OUT);
    oa_dispatcher_set_opt_out(w->dispatcher, false);
    w->server.otherwise.status = 503;
    const ticket *t = close_world(w, 1000);
    assert_int_equal(try_track(w, "ann", NULL, "x", "3"), OA_CLOSED);
    settle(w);
    advance(w, 1000);
    settle(w);
    EXPECT_REPORT(t, 0, 1, 0);
    assert_int_equal(w->drop_count, 3);
    EXPECT_DROP(w, 0, OA_DROP_OPTED_OUT, "ann+x=2");
    EXPECT_DROP(w, 1, OA_DROP_CLOSED, "ann+x=3");
    EXPECT_DROP(w, 2, OA_DROP_CLOSED, "ann+x=1");
    const oa_counts tracked = stats_of(w).tracked;
    assert_int_equal(tracked.accepted, 3);
    assert_int_equal(tracked.dropped[OA_DROP_OPTED_OUT], 1);
    assert_int_equal(tracked.dropped[OA_DROP_CLOSED], 2);
    world_end(w);
}

/* ---- events that come rendered ---- */

static void rendered_events_are_sent_as_they_are(void **state) {
    (void)state;
    world *w = world_start(world_new());
    decide(w, "ann", "f", "a");
    assert_int_equal(try_rendered(w, "ann", "g", "b"), OA_OK);
    assert_int_equal(try_rendered(w, "ann", "h", "c"), OA_OK);
    flush_now(w, 3, 0, 0);
    EXPECT_ARRIVAL(w, 0, "ann{f=a} ann:f=a ann{g=b} ann:g=b ann{h=c} ann:h=c");
    assert_null(cJSON_GetObjectItem(arrival_event(&w->server.arrivals[0], 2), "library"));
    world_end(w);
}

static void a_rendered_decision_is_one_event_at_least(void **state) {
    (void)state;
    world *w = world_new();
    w->config.sends_identify = false;
    w->config.event_sets_property = true;
    world_start(w);
    oa_decision nothing = {.user_id = str("ann"), .rendered = true};
    assert_int_equal(decide_with(w, &nothing, "f", "a", true), OA_MALFORMED);
    /* Only for setting the property again. */
    nothing.user_properties = str("\"event_type\":\"$identify\"");
    assert_int_equal(decide_with(w, &nothing, "f", "a", true), OA_MALFORMED);
    assert_int_equal(try_rendered(w, "ann", "f", "a"), OA_OK);
    flush_now(w, 1, 0, 0);
    EXPECT_ARRIVAL(w, 0, "ann:f=a");
    world_end(w);
}

static void insert_ids_depend_on_what_they_should(void **state) {
    (void)state;
    char ids[4][64];
    for (int run = 0; run < 4; run++) {
        world *w = world_new();
        w->config.dedupe = run < 2; /* two processes that de-duplicate, and two that do not */
        w->random = (uint64_t)run + 7;
        world_start(w);
        decide(w, "bob", "f", "a"); /* what came before makes no difference */
        decide(w, "ann", "f", "a");
        flush_now(w, 2, 0, 0);
        snprintf(ids[run], sizeof(ids[run]), "%s",
                 text_of(arrival_event(&w->server.arrivals[0], 3), "insert_id"));
        world_end(w);
    }
    assert_string_equal(ids[0], ids[1]);
    assert_string_not_equal(ids[1], ids[2]);
    assert_string_not_equal(ids[2], ids[3]);
}

static void variants_may_be_forgotten_at_any_time(void **state) {
    (void)state;
    world *w = world_start(world_new());
    for (int i = 0; i < 100; i++) { /* more than the first table holds */
        char flag[16];
        snprintf(flag, sizeof(flag), "f%d", i);
        decide(w, "ann", flag, "a");
    }
    forget_constants(w);
    decide(w, "bob", "g", "b");
    forget_constants(w);
    assert_int_equal(record(w, &(oa_decision){.user_id = str("eve")}), OA_MALFORMED);
    flush_now(w, 101, 0, 0);
    assert_string_equal(text_of(arrival_event(&w->server.arrivals[0], 101), "user_id"), "bob");
    world_end(w);
}

/* ---- when it is sent ---- */

static void the_queue_size_starts_a_request(void **state) {
    (void)state;
    world *w = world_new();
    w->config.flush_queue_size = 6;
    world_start(w);
    decide(w, "ann", "f", "a");
    decide(w, "bob", "f", "a");
    settle(w);
    assert_int_equal(w->server.count, 0);
    decide(w, "eve", "f", "a");
    assert_int_equal(w->server.count, 0); /* not from inside the call */
    settle(w);
    assert_int_equal(w->server.count, 1);
    assert_int_equal(stats_of(w).delivered, 3);
    world_end(w);
}

static void all_of_one_turn_goes_into_one_request(void **state) {
    (void)state;
    world *w = world_new();
    w->config.flush_queue_size = 2;
    world_start(w);
    for (int i = 0; i < 30; i++)
        decide(w, "ann", "f", "a");
    settle(w);
    assert_int_equal(w->server.count, 1);
    assert_int_equal(stats_of(w).delivered, 30);
    world_end(w);
}

static void the_interval_starts_a_request(void **state) {
    (void)state;
    world *w = world_start(world_new());
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    uint64_t seed = 7;
    for (size_t i = 0; i < 100; i++) { /* 10 s, and a tenth less or more for each batch */
        w->dispatcher->chance.state = draw(&seed);
        decide(w, "ann", "f", "a");
        const uint64_t wait_ms =
            oa_dispatcher_next_due(w->dispatcher, w->now) - w->now.monotonic_ms;
        assert_in_range(wait_ms, 9000, 11000);
        least = wait_ms < least ? wait_ms : least;
        most = wait_ms > most ? wait_ms : most;
        advance(w, 4000);
        decide(w, "bob", "f", "a");
        advance(w, wait_ms - 4001);
        assert_int_equal(w->server.count, i);
        advance(w, 1);
        EXPECT_ARRIVAL(w, i, "ann{f=a} ann:f=a bob{f=a} bob:f=a");
    }
    assert_true(least < 9200 && most > 10800);
    world_end(w);
}

static void a_wall_clock_that_jumps_does_not_hold_decisions_up(void **state) {
    (void)state;
    static const int64_t jumps[] = {-3600 * 1000, 3600 * 1000};
    for (size_t i = 0; i < 2; i++) {
        world *w = world_start(world_new());
        decide(w, "ann", "f", "a");
        settle(w);
        w->now.wall_ms += jumps[i];
        advance(w, 10000);
        assert_int_equal(stats_of(w).delivered, 1);
        world_end(w);
    }
}

static void what_comes_meanwhile_is_the_next_batch(void **state) {
    (void)state;
    world *w = world_new();
    w->config.flush_queue_size = 2;
    world_start(w);
    PLAN(w, .status = 200, .silent = true);
    decide(w, "ann", "f", "a");
    settle(w);
    assert_true(w->dispatcher->lanes.first->is_out);
    for (int i = 0; i < 10; i++) {
        decide(w, "bob", "f", "a");
        settle(w);
    }
    assert_int_equal(w->server.count, 1);
    server_speak(w);
    settle(w);
    assert_int_equal(w->server.count, 2);
    assert_int_equal(stats_of(w).delivered, 11);
    world_end(w);
}

static void a_batch_holds_1999_events_at_most(void **state) {
    (void)state;
    static const int run_lengths[] = {1, 2, 3, 7, 998, 1998, 1999, 5000};
    for (size_t i = 0; i < sizeof(run_lengths) / sizeof(run_lengths[0]); i++) {
        world *w = world_new();
        w->config.dedupe = false;
        world_start(w);
        char flag[16];
        char user[16];
        for (int n = 0; n < 5000; n++) {
            snprintf(user, sizeof(user), "u%d", n / run_lengths[i]);
            snprintf(flag, sizeof(flag), "f%d", n % run_lengths[i] % 100);
            decide(w, user, flag, "a");
        }
        flush_now(w, 5000, 0, 0);
        size_t events = 0;
        for (size_t at = 0; at < w->server.count; at++) {
            const size_t count = arrival_count(&w->server.arrivals[at]);
            assert_in_range(count, 1, 1999);
            events += count;
            /* Short runs stay together, so every request but the last is almost full. */
            if (run_lengths[i] < 100) {
                assert_true(is_identify(arrival_event(&w->server.arrivals[at], 0)));
                if (at + 1 < w->server.count)
                    assert_true(count > 1999 - 2 * (size_t)run_lengths[i]);
            }
        }
        assert_int_equal(stats_of(w).events_sent, events);
        if (run_lengths[i] < 100)
            assert_int_equal(events, 5000 + (5000 + run_lengths[i] - 1) / run_lengths[i]);
        world_end(w);
    }
}

static void a_run_is_not_torn_by_the_limit_of_events(void **state) {
    (void)state;
    world *w = world_start(world_new());
    char flag[16];
    for (int n = 0; n < 990; n++) { /* 1980 events */
        snprintf(flag, sizeof(flag), "u%d", n);
        decide(w, flag, "f", "a");
    }
    for (int n = 0; n < 30; n++) {
        snprintf(flag, sizeof(flag), "f%d", n);
        decide(w, "ann", flag, "a");
    }
    flush_now(w, 1020, 0, 0);
    assert_int_equal(w->server.count, 2);
    assert_int_equal(arrival_count(&w->server.arrivals[0]), 1980);
    assert_int_equal(arrival_count(&w->server.arrivals[1]), 31);
    world_end(w);
}

static void bodies_keep_to_the_byte_limit(void **state) {
    (void)state;
    static const size_t limits[] = {1, 600, 1000, 1500, 4000, 100000};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        world *w = world_new();
        w->config.max_body_bytes = limits[i];
        world_start(w);
        char name[16];
        for (int n = 0; n < 120; n++) {
            snprintf(name, sizeof(name), "f%d", n);
            decide(w, n < 60 ? "ann" : name, name, "a"); /* one long run, then short ones */
        }
        flush_now(w, 120, 0, 0);
        size_t events = 0;
        for (size_t at = 0; at < w->server.count; at++) {
            const arrival *request = &w->server.arrivals[at];
            assert_non_null(request->body);
            /* One decision alone is sent whatever its size. */
            if (arrival_count(request) > 2)
                assert_true(request->body_bytes <= limits[i]);
            for (size_t n = 0; n < arrival_count(request); n++)
                events += !is_identify(arrival_event(request, n));
        }
        assert_int_equal(events, 120);
        assert_int_equal(w->server.count == 1, limits[i] == 100000);
        world_end(w);
    }
}

/* Every attempt, and each decision that it carried; nothing for a log that wants no debug lines. */
static void a_debug_log_tells_the_way_of_each_decision(void **state) {
    (void)state;
    static const char *const wanted[] = {
        "request 1: 2 decisions, 4 events, ",         "request 1 carried the decision of ann on f",
        "request 1 carried the decision of pc on g",  "request 2: 2 decisions, 4 events, ",
        "request 2 carried the decision of ann on f", "request 2 carried the decision of pc on g",
    };
    enum { COUNT = sizeof(wanted) / sizeof(wanted[0]) };
    for (int debug = 0; debug < 2; debug++) {
        world *w = world_new();
        w->config.debug = debug;
        world_start(w);
        PLAN(w, .status = 503);
        decide(w, "ann", "f", "a");
        assert_int_equal(try_decide(w, NULL, "pc", "g", "b", true), OA_OK);
        flush(w, 100000);
        settle(w);
        advance(w, 60000);
        assert_int_equal(stats_of(w).delivered, 2);
        size_t told = 0;
        for (size_t i = 0; i < w->line_count; i++) {
            const line *l = &w->lines[i];
            assert_true(debug || l->level > OA_LOG_DEBUG);
            if (strcmp(l->topic, "request") != 0)
                continue;
            assert_int_equal(l->level, OA_LOG_DEBUG);
            assert_true(told < COUNT);
            assert_memory_equal(l->text, wanted[told], strlen(wanted[told]));
            if (told % 3 == 0)
                assert_non_null(strstr(l->text, told == 0 ? "-> 503 in " : "-> 200 in "));
            told++;
        }
        assert_int_equal(told, debug ? COUNT : 0);
        world_end(w);
    }
}

static void names_are_stable(void **state) {
    (void)state;
    assert_string_equal(oa_status_name(OA_QUEUE_FULL), "queue_full");
    assert_string_equal(oa_status_name(OA_STATUS_COUNT), "unknown");
    assert_string_equal(oa_status_message(OA_STATUS_COUNT), "unknown status");
    assert_string_equal(oa_drop_name(OA_DROP_RETRIES_EXHAUSTED), "retries_exhausted");
    assert_string_equal(oa_drop_name(OA_DROP_COUNT), "unknown");
    for (int i = 0; i < OA_STATUS_COUNT; i++)
        assert_true(strlen(oa_status_message((oa_status)i)) > 0);
    for (int i = 0; i < OA_DROP_COUNT; i++)
        assert_true(strlen(oa_drop_name((oa_drop_reason)i)) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_of_one_user_shares_an_identify),
        cmocka_unit_test(a_flag_that_changes_is_sent_each_time),
        cmocka_unit_test(every_field_is_as_the_contract_says),
        cmocka_unit_test(fields_are_in_both_events_and_their_groups_replace_the_others),
        cmocka_unit_test(a_disabled_flag_is_off),
        cmocka_unit_test(without_an_event_type_only_the_property_is_sent),
        cmocka_unit_test(an_event_may_carry_its_property),
        cmocka_unit_test(an_exposure_is_amplitudes_own),
        cmocka_unit_test(users_and_devices_are_told_apart),
        cmocka_unit_test(fields_that_differ_do_not_share),
        cmocka_unit_test(enrichments_that_differ_do_not_share),
        cmocka_unit_test(ids_are_checked),
        cmocka_unit_test(an_id_that_is_refused_is_left_out_beside_a_good_one),
        cmocka_unit_test(events_of_the_application_go_with_decisions_in_order),
        cmocka_unit_test(events_of_the_application_are_sent_in_every_format),
        cmocka_unit_test(events_of_the_application_are_refused_as_decisions_are),
        cmocka_unit_test(rendered_events_are_sent_as_they_are),
        cmocka_unit_test(a_rendered_decision_is_one_event_at_least),
        cmocka_unit_test(insert_ids_depend_on_what_they_should),
        cmocka_unit_test(variants_may_be_forgotten_at_any_time),
        cmocka_unit_test(the_queue_size_starts_a_request),
        cmocka_unit_test(all_of_one_turn_goes_into_one_request),
        cmocka_unit_test(the_interval_starts_a_request),
        cmocka_unit_test(a_wall_clock_that_jumps_does_not_hold_decisions_up),
        cmocka_unit_test(what_comes_meanwhile_is_the_next_batch),
        cmocka_unit_test(a_batch_holds_1999_events_at_most),
        cmocka_unit_test(a_run_is_not_torn_by_the_limit_of_events),
        cmocka_unit_test(bodies_keep_to_the_byte_limit),
        cmocka_unit_test(a_debug_log_tells_the_way_of_each_decision),
        cmocka_unit_test(names_are_stable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
