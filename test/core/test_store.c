/* A store of exposures that several processes share: store.c and fleet.c, with worlds for processes. */
#include "support_store.h"

enum { WORLDS = 3, USERS = 3, FLAGS = 2, MOST_IDS = 4096, MOST_EVENTS = 4096 };

static const char *const NAMES[USERS] = {"ann", "bob", "eve"};
static const char *const FLAG_KEYS[FLAGS] = {"f", "g"};
static const char *const VALUES[] = {"a", "b", "c"};

/* Processes, their store, and what Amplitude has of them. */
typedef struct fleet {
    store *store;
    world *worlds[WORLDS];
    uint64_t seed;
    unsigned lossy;  /* of a hundred answers, how many are lost */
    unsigned silent; /* of a hundred requests, how many wait */
    size_t id_count;
    char ids[MOST_IDS][33];
    char profile[USERS][FLAGS][8];
    size_t events;         /* that Amplitude counts */
    size_t sent;           /* with repeats */
    char log[MOST_EVENTS]; /* the first letters of their variations */
} fleet;

static size_t index_of(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return count;
}

static bool is_known(fleet *f, const char *insert_id) {
    for (size_t i = 0; i < f->id_count; i++)
        if (strcmp(f->ids[i], insert_id) == 0)
            return true;
    assert_true(f->id_count < MOST_IDS);
    snprintf(f->ids[f->id_count++], 33, "%s", insert_id);
    return false;
}

static void take_event(fleet *f, const cJSON *event) {
    f->sent += !is_identify(event);
    if (is_known(f, text_of(event, "insert_id")))
        return;
    if (!is_identify(event)) {
        const cJSON *properties = cJSON_GetObjectItem(event, "event_properties");
        f->log[f->events++] = text_of(properties, "variation_key")[0];
        return;
    }
    const size_t user = index_of(NAMES, USERS, text_of(event, "user_id"));
    const cJSON *set = cJSON_GetObjectItem(cJSON_GetObjectItem(event, "user_properties"), "$set");
    for (const cJSON *item = set->child; item != NULL; item = item->next)
        if (user < USERS && index_of(FLAG_KEYS, FLAGS, item->string) < FLAGS)
            snprintf(f->profile[user][index_of(FLAG_KEYS, FLAGS, item->string)], 8, "%s",
                     cJSON_GetStringValue(item));
}

static void respond(void *data, const arrival *request, answer *out) {
    fleet *f = data;
    const cJSON *events = cJSON_GetObjectItem(request->body, "events");
    for (const cJSON *event = events->child; event != NULL; event = event->next)
        take_event(f, event);
    *out = (answer){.status = draw_below(&f->seed, 100) < f->lossy ? 0 : 200};
    out->silent = draw_below(&f->seed, 100) < f->silent;
}

/* Worlds have nothing in common but the store and the server. */
static fleet *fleet_new(size_t count, void (*edit)(world *w)) {
    fleet *f = must(calloc(1, sizeof(*f)));
    f->store = store_new();
    for (size_t i = 0; i < count; i++) {
        world *w = f->worlds[i] = world_new();
        w->config.dedupe = true;
        w->config.store = true;
        w->store = f->store;
        w->server.respond = respond;
        w->server.data = f;
        if (edit != NULL)
            edit(w);
        world_start(w);
    }
    return f;
}

static void fleet_end(fleet *f) {
    for (size_t i = 0; i < WORLDS; i++)
        if (f->worlds[i] != NULL)
            world_end(f->worlds[i]);
    store_end(f->store);
    free(f);
}

/* Let a user see a value, and deliver what has to be. */
static void see(fleet *f, size_t at, const char *value) {
    (void)!try_decide(f->worlds[at], "ann", NULL, "f", value, true);
    const ticket *t = flush(f->worlds[at], 10000);
    settle(f->worlds[at]);
    assert_true(t->done);
    assert_int_equal(t->report.pending, 0);
}

static const char *ann(const fleet *f) { return f->profile[0][0]; }

static void what_one_process_sent_no_other_sends(void **state) {
    (void)state;
    fleet *f = fleet_new(3, NULL);
    see(f, 0, "a");
    for (size_t i = 1; i < 3; i++) {
        world *w = f->worlds[i];
        decide(w, "ann", "f", "a");
        flush_now(w, 0, 0, 0); /* neither delivered, nor dropped, nor pending */
        const oa_stats stats = stats_of(w);
        assert_int_equal(stats.accepted, 0);
        assert_int_equal(stats.deduplicated, 1);
        assert_int_equal(stats.late_repeats, 1);
        assert_int_equal(stats.requests_sent, 0);
    }
    assert_int_equal(f->sent, 1);
    assert_int_equal(f->store->count, 1);
    fleet_end(f);
}

static void a_change_anywhere_is_a_change_everywhere(void **state) {
    (void)state;
    fleet *f = fleet_new(2, NULL);
    see(f, 0, "a");
    see(f, 1, "b");
    see(f, 0, "a"); /* its own last value, and yet no repeat */
    assert_string_equal(ann(f), "a");
    see(f, 1, "b");
    see(f, 1, "a");
    see(f, 0, "a");
    see(f, 1, "a");
    assert_string_equal(ann(f), "a");
    assert_string_equal(f->log, "ababa");
    assert_int_equal(f->sent, 5);
    assert_int_equal(f->store->entries[0].version, 4);
    fleet_end(f);
}

static void hold_all(world *w) { w->server.otherwise.silent = true; }

static void start_request(world *w, const char *value) {
    decide(w, "ann", "f", value);
    (void)flush(w, 10000);
    TURN_UNTIL(w, server_holds(w));
}

static void end_request(world *w) {
    server_speak(w);
    settle(w);
    assert_int_equal(stats_of(w).pending, 0);
}

static void the_same_exposure_at_once_is_counted_once(void **state) {
    (void)state;
    fleet *f = fleet_new(2, hold_all);
    f->silent = 100;
    start_request(f->worlds[0], "a");
    start_request(f->worlds[1], "a");
    f->silent = 0;
    end_request(f->worlds[1]);
    end_request(f->worlds[0]);
    assert_int_equal(f->sent, 2);
    assert_string_equal(f->log, "a");
    assert_int_equal(stats_of(f->worlds[0]).store_conflicts, 0);
    fleet_end(f);
}

/* Whoever is second at the store sends its property again, whatever Amplitude heard last. */
static void of_two_values_at_once_one_wins_everywhere(void **state) {
    (void)state;
    for (size_t first = 0; first < 2; first++) {
        fleet *f = fleet_new(2, NULL);
        f->silent = 100;
        start_request(f->worlds[0], "a");
        start_request(f->worlds[1], "b"); /* what Amplitude hears last, so far */
        f->silent = 0;
        end_request(f->worlds[first]);
        world *second = f->worlds[1 - first];
        end_request(second);
        assert_string_equal(ann(f), first == 0 ? "b" : "a");
        assert_int_equal(stats_of(second).store_conflicts, 1);
        assert_int_equal(stats_of(second).delivered, 1);
        assert_string_equal(f->log, "ab"); /* no event is sent again */
        assert_int_equal(f->sent, 2);
        assert_int_equal(f->store->entries[0].version, 1);
        /* And the fleet goes on from there. */
        see(f, first, first == 0 ? "b" : "a");
        assert_int_equal(f->sent, 2);
        see(f, first, "c");
        see(f, 1 - first, first == 0 ? "b" : "a");
        assert_string_equal(ann(f), first == 0 ? "b" : "a");
        fleet_end(f);
    }
}

/* A write that was given up may still be carried out: it must not undo a later one. */
static void a_late_write_undoes_nothing(void **state) {
    (void)state;
    fleet *f = fleet_new(3, NULL);
    f->store->is_late = true;
    see(f, 0, "a");
    f->store->is_late = false;
    see(f, 1, "b");
    store_catch_up(f->store);
    see(f, 2, "b");
    assert_string_equal(f->log, "ab");
    see(f, 2, "a");
    assert_string_equal(ann(f), "a");
    fleet_end(f);
}

static void without_its_answers_each_process_is_alone(void **state) {
    (void)state;
    fleet *f = fleet_new(2, NULL);
    f->store->is_down = true;
    see(f, 0, "a");
    see(f, 0, "a");
    see(f, 1, "a"); /* under the same id */
    assert_int_equal(f->sent, 2);
    assert_string_equal(f->log, "a");
    assert_int_equal(stats_of(f->worlds[0]).late_repeats, 1);
    see(f, 0, "b");
    assert_string_equal(ann(f), "b");
    /* It is back, and empty: what each of them knows itself holds, and is sent under one id. */
    f->store->is_down = false;
    see(f, 0, "b");
    assert_int_equal(f->sent, 3);
    see(f, 1, "b");
    assert_int_equal(f->sent, 4);
    assert_string_equal(f->log, "ab");
    assert_int_equal(f->store->entries[0].version, 1);
    see(f, 0, "b");
    see(f, 1, "b");
    assert_int_equal(f->sent, 4);
    assert_string_equal(ann(f), "b");
    fleet_end(f);
}

/* Whatever it has from before: it is empty, or knows `a`, or the `b` of another process. */
static void while_it_refuses_writes_each_process_is_alone(void **state) {
    (void)state;
    static const char *const BEFORE[] = {"", "a", "ab"};
    for (size_t at = 0; at < 3; at++) {
        fleet *f = fleet_new(2, NULL);
        for (const char *value = BEFORE[at]; *value != '\0'; value++)
            see(f, *value == 'b', *value == 'b' ? "b" : "a");
        f->store->is_full = true;
        const size_t sent = f->sent;
        const size_t is_news = at != 1; /* `a` */
        for (int i = 0; i < 5; i++)
            see(f, 0, "a");
        assert_int_equal(f->sent, sent + is_news);
        for (int i = 0; i < 5; i++)
            see(f, 0, "c");
        assert_int_equal(f->sent, sent + is_news + 1);
        for (int i = 0; i < 5; i++) {
            see(f, 0, "a");
            assert_string_equal(ann(f), "a"); /* no change of its own is taken for a repeat */
        }
        assert_int_equal(f->sent, sent + is_news + 2);
        assert_int_equal(f->events, f->sent);
        /* It takes them again, and goes on from there. */
        f->store->is_full = false;
        see(f, 0, "a");
        assert_int_equal(f->sent, sent + is_news + 2);
        see(f, 0, "b");
        see(f, 1, "b");
        assert_int_equal(f->sent, sent + is_news + 3);
        assert_string_equal(ann(f), "b");
        fleet_end(f);
    }
}

static void each_hour(world *w) { w->config.dedupe_refresh_ms = 3600 * 1000; }

static void a_refresh_tells_a_store_again(void **state) {
    (void)state;
    fleet *f = fleet_new(2, each_hour);
    see(f, 0, "a");
    see(f, 0, "b");
    store_forget(f->store);
    see(f, 0, "b");
    assert_int_equal(f->store->count, 0);
    snprintf(f->profile[0][0], 8, "?");
    advance(f->worlds[0], 3600 * 1000);
    see(f, 0, "b");
    assert_string_equal(ann(f), "b");
    assert_string_equal(f->log, "ab"); /* the property, and no event */
    assert_int_equal(f->store->entries[0].version, 1);
    see(f, 1, "b");
    assert_int_equal(f->sent, 2);
    fleet_end(f);
}

static void a_store_that_forgets_costs_a_repeat(void **state) {
    (void)state;
    fleet *f = fleet_new(2, NULL);
    see(f, 0, "a");
    store_forget(f->store);
    see(f, 1, "a");
    see(f, 0, "a");
    assert_int_equal(f->sent, 2);
    assert_string_equal(f->log, "a");
    fleet_end(f);
}

static void nothing_is_written_before_it_is_delivered(void **state) {
    (void)state;
    fleet *f = fleet_new(2, NULL);
    world *w = f->worlds[0];
    w->server.respond = NULL;
    PLAN(w, .status = 503);
    PLAN(w, .status = 400,
         .body = "{\"code\":400,\"error\":\"bad\",\"events_with_invalid_fields\":"
                 "{\"time\":[0]}}");
    decide(w, "ann", "f", "a");
    (void)flush(w, 60000);
    settle(w);
    assert_int_equal(f->store->count, 0);
    advance(w, 60000);
    assert_int_equal(stats_of(w).dropped[OA_DROP_INVALID_EVENT], 1);
    assert_int_equal(f->store->count, 0);
    fleet_end(f);
}

static void changes_in_one_batch_are_one_question_and_one_entry(void **state) {
    (void)state;
    fleet *f = fleet_new(2, NULL);
    see(f, 1, "a");
    see(f, 1, "c");
    world *w = f->worlds[0];
    for (int i = 0; i < 3; i++) {
        decide(w, "ann", "f", VALUES[i]);
        decide(w, "ann", "g", VALUES[i]);
        decide(w, "bob", "f", VALUES[i]);
    }
    const size_t pairs = f->store->pairs;
    flush_now(w, 9, 0, 0);
    assert_int_equal(f->store->pairs - pairs, 3);
    assert_int_equal(f->store->count, 3);
    assert_int_equal(f->store->entries[0].version, 4); /* c, and then a, b, c */
    assert_string_equal(ann(f), "c");
    /* The first of them is a repeat, the last is written. */
    decide(f->worlds[1], "bob", "f", "c");
    decide(f->worlds[1], "bob", "f", "a");
    flush_now(f->worlds[1], 1, 0, 0);
    assert_string_equal(f->profile[1][0], "a");
    fleet_end(f);
}

/* A repeat is compared again once what was noted before it is on its way. */
static void a_repeat_waits_once_however_often_it_comes(void **state) {
    (void)state;
    fleet *f = fleet_new(2, NULL);
    world *w = f->worlds[0];
    for (int user = 0; user < 300; user++) {
        char name[32];
        snprintf(name, sizeof(name), "user %d", user);
        decide(w, name, "f", "a");
    }
    flush_now(w, 300, 0, 0);
    const size_t requests = w->server.count;
    for (int i = 0; i < 5000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "user %d", i % 300);
        const oa_status status = try_decide(w, name, NULL, "f", "a", true);
        assert_int_equal(status, i < 300 ? OA_OK : OA_REPEAT);
    }
    settle(w);
    assert_int_equal(stats_of(w).pending, 300); /* they are no events, so they start no request */
    assert_int_equal(w->dispatcher->lanes.first->queue_events, 0);
    assert_true(stats_of(w).queue_bytes <= 64 * 1024);
    const size_t questions = f->store->questions;
    advance(w, 11000);
    assert_int_equal(stats_of(w).pending, 0);
    assert_int_equal(stats_of(w).late_repeats, 300);
    assert_int_equal(f->store->questions, questions + 1);
    assert_int_equal(w->server.count, requests);
    fleet_end(f);
}

static void small_memory(world *w) { w->config.max_queue_bytes = 4096; }

static void a_repeat_is_never_dropped(void **state) {
    (void)state;
    fleet *f = fleet_new(1, small_memory);
    world *w = f->worlds[0];
    char name[32];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "user %d", i);
        (void)!try_decide(w, name, NULL, "f", "a", true);
        settle(w);
        flush_now(w, 1, 0, 0);
    }
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof(name), "user %d", i);
        (void)!try_decide(w, name, NULL, "f", "a", true);
    }
    assert_int_equal(dropped_of(w), 0);
    assert_in_range(stats_of(w).pending, 1, 299);
    /* Not by age, and not by a close either. */
    f->store->is_down = true;
    w->server.respond = NULL;
    const ticket *closed = close_world(w, 0);
    settle(w);
    assert_true(closed->done);
    assert_int_equal(closed->report.dropped, 0);
    assert_int_equal(dropped_of(w), 0);
    fleet_end(f);
}

static void a_property_is_refreshed_with_a_store_too(void **state) {
    (void)state;
    for (int trouble = 0; trouble < 3; trouble++) {
        fleet *f = fleet_new(1, each_hour);
        f->store->is_full = trouble == 1;
        see(f, 0, "a");
        f->store->is_down = trouble == 2;
        snprintf(f->profile[0][0], 8, "?");
        see(f, 0, "a");
        assert_string_equal(ann(f), "?");
        advance(f->worlds[0], 3600 * 1000);
        see(f, 0, "a");
        assert_string_equal(ann(f), "a");
        assert_string_equal(f->log, "a");
        fleet_end(f);
    }
}

static void half_of_the_bytes(world *w) { w->config.max_body_bytes = 900; }

static void what_did_not_fit_is_asked_and_written_with_the_next_request(void **state) {
    (void)state;
    fleet *f = fleet_new(2, half_of_the_bytes);
    for (int i = 0; i < 3; i++)
        decide(f->worlds[0], "ann", "f", VALUES[i]);
    flush_now(f->worlds[0], 3, 0, 0);
    assert_true(f->worlds[0]->server.count > 1);
    assert_int_equal(f->store->entries[0].version, 2);
    assert_string_equal(f->log, "abc");
    see(f, 1, "c");
    assert_string_equal(f->log, "abc");
    fleet_end(f);
}

static void another_format(world *w) {
    static int made;
    if (made++ % 2 == 1)
        w->config.property_prefix = str("x");
}

static void what_another_configuration_sent_is_news(void **state) {
    (void)state;
    fleet *f = fleet_new(2, another_format);
    see(f, 0, "a");
    see(f, 1, "a");
    assert_int_equal(f->sent, 2);
    assert_int_equal(f->store->count, 2);
    fleet_end(f);
}

static void an_entry_expires_with_its_window(void **state) {
    (void)state;
    fleet *f = fleet_new(2, NULL);
    const int64_t now_ms = f->worlds[0]->now.wall_ms;
    see(f, 0, "a");
    see(f, 0, "b");
    const int64_t expires_ms = f->store->entries[0].expires_ms;
    assert_in_range(expires_ms, now_ms, now_ms + ONE_DAY_MS + 60000);
    /* The next window begins where it ends, with versions of its own. */
    const int64_t left_ms = expires_ms - 60000 - now_ms;
    advance(f->worlds[0], (uint64_t)left_ms - 1);
    see(f, 0, "b");
    assert_int_equal(f->store->count, 1);
    advance(f->worlds[0], 1);
    see(f, 0, "b");
    assert_int_equal(f->store->count, 2);
    assert_int_equal(f->store->entries[1].version, 0);
    assert_int_equal(f->store->entries[1].expires_ms, expires_ms + ONE_DAY_MS);
    fleet_end(f);
}

static void no_name_goes_to_the_store(void **state) {
    (void)state;
    fleet *f = fleet_new(1, NULL);
    see(f, 0, "a");
    const stored *entry = &f->store->entries[0];
    assert_int_equal(strspn(entry->key, "0123456789abcdef"), strlen(entry->key));
    assert_int_equal(strspn(entry->value, "0123456789abcdef"), 12);
    fleet_end(f);
}

/* ---- random histories ---- */

/* Worlds whose clocks differ are in the same window. */
static void steady(world *w) {
    w->config.dedupe_window_ms = UINT64_C(1) << 50;
    w->config.dedupe_refresh_ms = UINT64_C(1) << 50;
}

static uint64_t current;

static char wanted[USERS][FLAGS][8];

static void check_profiles(const fleet *f) {
    for (size_t user = 0; user < USERS; user++)
        for (size_t flag = 0; flag < FLAGS; flag++)
            if (strcmp(f->profile[user][flag], wanted[user][flag]) != 0)
                fail_msg("history %llu: %s's %s is %s, and not %s", (unsigned long long)current,
                         NAMES[user], FLAG_KEYS[flag], f->profile[user][flag], wanted[user][flag]);
}

/*
 * One process after the other decides and delivers; answers get lost. Amplitude has the last value
 * after each flush, and counts each change once.
 */
static void one_after_the_other(uint64_t seed) {
    fleet *f = fleet_new(WORLDS, steady);
    size_t changes = 0;
    f->seed = seed;
    f->lossy = (unsigned)draw_below(&seed, 2) * 20;
    memset(wanted, 0, sizeof(wanted));
    for (int step = 0; step < 40; step++) {
        world *w = f->worlds[draw_below(&seed, WORLDS)];
        for (uint64_t n = 1 + draw_below(&seed, 4); n > 0; n--) {
            const size_t user = draw_below(&seed, USERS);
            const size_t flag = draw_below(&seed, FLAGS);
            const char *value = VALUES[draw_below(&seed, 3)];
            (void)!try_decide(w, NAMES[user], NULL, FLAG_KEYS[flag], value, true);
            changes += strcmp(wanted[user][flag], value) != 0;
            snprintf(wanted[user][flag], 8, "%s", value);
        }
        const ticket *t = flush(w, 3600 * 1000);
        settle(w);
        for (int i = 0; i < 200 && !t->done; i++)
            advance(w, 2000);
        assert_true(t->done);
        assert_int_equal(t->report.pending, 0);
        check_profiles(f);
    }
    assert_int_equal(f->events, changes);
    fleet_end(f);
}

static void histories_one_after_the_other(void **state) {
    (void)state;
    for (current = 0; current < 1500; current++)
        one_after_the_other(current << 32);
}

/* What the store has last: the entry of a user and a flag, by asking for each value. */
static const char *last_value(fleet *f, size_t user, size_t flag) {
    for (int i = 0; i < 3; i++) {
        world *w = world_new();
        w->config.dedupe = w->config.store = true;
        steady(w);
        world_start(w);
        decide(w, NAMES[user], FLAG_KEYS[flag], VALUES[i]);
        (void)flush(w, 10000);
        oa_dispatcher_step(w->dispatcher, w->now);
        oa_attempt *attempt = oa_dispatcher_take_attempt(w->dispatcher, w->now);
        size_t count = 0;
        int32_t said = 0;
        const oa_store_part *parts = oa_attempt_ask(attempt, &count);
        assert_int_equal(store_ask(f->store, parts, count, &said), 1);
        oa_dispatcher_give_back(w->dispatcher, w->now, attempt);
        world_end(w);
        if (said >= 0 && said % 2 == 1)
            return VALUES[i];
    }
    return "?";
}

static void settle_all(fleet *f) {
    f->silent = 0;
    f->lossy = 0;
    for (int round = 0; round < 50; round++) {
        for (size_t i = 0; i < WORLDS; i++) {
            (void)flush(f->worlds[i], 60000);
            if (server_holds(f->worlds[i]))
                server_speak(f->worlds[i]);
            settle(f->worlds[i]);
            advance(f->worlds[i], 2000);
        }
    }
    for (size_t i = 0; i < WORLDS; i++)
        assert_int_equal(stats_of(f->worlds[i]).pending, 0);
}

/* All at once, in any order: at the end the store and Amplitude agree on every value. */
static void all_at_once(uint64_t seed) {
    fleet *f = fleet_new(WORLDS, steady);
    f->seed = seed;
    f->silent = 60;
    f->lossy = (unsigned)draw_below(&seed, 3) * 10;
    for (int step = 0; step < 60; step++) {
        world *w = f->worlds[draw_below(&seed, WORLDS)];
        (void)!try_decide(w, NAMES[draw_below(&seed, USERS)], NULL,
                          FLAG_KEYS[draw_below(&seed, FLAGS)], VALUES[draw_below(&seed, 3)], true);
        if (draw_below(&seed, 2) == 0)
            (void)flush(w, 1000 + draw_below(&seed, 5000));
        if (draw_below(&seed, 6) == 0)
            (void)flush_abort(w, draw_below(&seed, 3000));
        if (draw_below(&seed, 2) == 0 && server_holds(w))
            server_speak(w);
        settle(w);
        if (draw_below(&seed, 4) == 0)
            advance(w, draw_below(&seed, 3000));
    }
    settle_all(f);
    for (size_t user = 0; user < USERS; user++)
        for (size_t flag = 0; flag < FLAGS; flag++)
            if (f->profile[user][flag][0] != '\0' &&
                strcmp(last_value(f, user, flag), f->profile[user][flag]) != 0)
                fail_msg("history %llu: %s's %s is %s, and the store has %s",
                         (unsigned long long)current, NAMES[user], FLAG_KEYS[flag],
                         f->profile[user][flag], last_value(f, user, flag));
    fleet_end(f);
}

static void histories_at_once(void **state) {
    (void)state;
    for (current = 0; current < 1500; current++)
        all_at_once(current << 32 | 1);
}

/* ---- memory ---- */

/* Whatever fails: nothing is lost, and what was not asked is sent. */
static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    for (size_t nth = 1;; nth++) {
        fleet *f = fleet_new(2, NULL);
        memory_fail(nth);
        for (size_t at = 0; at < 2; at++) {
            world *w = f->worlds[at];
            for (int i = 0; i < 40; i++)
                (void)!try_decide(w, NAMES[i % USERS], NULL, FLAG_KEYS[i / 3 % FLAGS],
                                  VALUES[i / 7 % 3], true);
            for (int i = 0; i < 20 && stats_of(w).pending > 0; i++) {
                (void)try_flush(w, 10000, false);
                settle(w);
                advance(w, 2000);
            }
            assert_int_equal(stats_of(w).pending, 0);
        }
        const bool is_over = memory_refusals() == 0;
        memory_fail(0);
        see(f, 0, "b");
        see(f, 1, "a");
        assert_string_equal(ann(f), "a");
        fleet_end(f);
        if (is_over)
            break;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_process_sent_no_other_sends),
        cmocka_unit_test(a_change_anywhere_is_a_change_everywhere),
        cmocka_unit_test(the_same_exposure_at_once_is_counted_once),
        cmocka_unit_test(of_two_values_at_once_one_wins_everywhere),
        cmocka_unit_test(a_late_write_undoes_nothing),
        cmocka_unit_test(without_its_answers_each_process_is_alone),
        cmocka_unit_test(while_it_refuses_writes_each_process_is_alone),
        cmocka_unit_test(a_refresh_tells_a_store_again),
        cmocka_unit_test(a_store_that_forgets_costs_a_repeat),
        cmocka_unit_test(nothing_is_written_before_it_is_delivered),
        cmocka_unit_test(changes_in_one_batch_are_one_question_and_one_entry),
        cmocka_unit_test(a_repeat_waits_once_however_often_it_comes),
        cmocka_unit_test(a_repeat_is_never_dropped),
        cmocka_unit_test(a_property_is_refreshed_with_a_store_too),
        cmocka_unit_test(what_did_not_fit_is_asked_and_written_with_the_next_request),
        cmocka_unit_test(what_another_configuration_sent_is_news),
        cmocka_unit_test(an_entry_expires_with_its_window),
        cmocka_unit_test(no_name_goes_to_the_store),
        cmocka_unit_test(histories_one_after_the_other),
        cmocka_unit_test(histories_at_once),
        cmocka_unit_test(every_failing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
