/* exposure.c against a plain model, and its bounds in number and in bytes. */
#include "exposure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mem.h"

static const uint64_t DAY_MS = UINT64_C(86400000);
static const int64_t NOON_MS = INT64_C(1800014400000);
static const uint64_t FLAG = UINT64_C(0x1234567890abcdef);

/* splitmix64 */
static uint64_t scramble(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static uint64_t random_state;

static uint64_t draw(uint64_t below) { return scramble(random_state++) % below; }

static oa_hash identity_of(uint64_t number) {
    return (oa_hash){scramble(number), scramble(~number)};
}

static oa_exposure *make(uint64_t window_ms, size_t max_entries) {
    oa_exposure *exposure = NULL;
    assert_int_equal(oa_exposure_new(window_ms, window_ms, max_entries, &exposure), OA_OK);
    return exposure;
}

static oa_exposure_stats stats_of(const oa_exposure *exposure) {
    oa_exposure_stats stats;
    oa_exposure_stats_read(exposure, &stats);
    return stats;
}

/* Note; what is to be sent is never only a property. */
static oa_status note(oa_exposure *exposure, oa_hash identity, uint64_t flag, uint32_t value,
                      int64_t time_ms, oa_occurrence *out) {
    oa_sighting seen = {.occurrence = {99, 99}};
    const oa_status status = oa_exposure_note(exposure, identity, flag, value, time_ms, &seen);
    assert_false(seen.is_repeat);
    *out = seen.occurrence;
    return status;
}

static void forget(oa_exposure *exposure, oa_hash identity, uint64_t flag, uint32_t value,
                   oa_occurrence occurrence) {
    oa_exposure_forget(exposure, identity, flag, value, &(oa_sighting){.occurrence = occurrence});
}

/* Note, and expect that it is to be sent. */
static oa_occurrence sent(oa_exposure *exposure, oa_hash identity, uint32_t value,
                          int64_t time_ms) {
    oa_occurrence out = {99, 99};
    assert_int_equal(note(exposure, identity, FLAG, value, time_ms, &out), OA_OK);
    return out;
}

/* Note, and expect that it is suppressed, and that the out-parameter is left alone. */
static void repeated(oa_exposure *exposure, oa_hash identity, uint32_t value, int64_t time_ms) {
    oa_occurrence out = {99, 99};
    assert_int_equal(note(exposure, identity, FLAG, value, time_ms, &out), OA_REPEAT);
    assert_int_equal(out.window, 99);
    assert_int_equal(out.turn, 99);
}

static void a_repeat_is_suppressed_and_a_change_is_sent(void **state) {
    (void)state;
    oa_exposure *exposure = make(DAY_MS, 100);
    const oa_hash ann = identity_of(1);
    const uint32_t window = sent(exposure, ann, 7, NOON_MS).window;
    repeated(exposure, ann, 7, NOON_MS);
    repeated(exposure, ann, 7, NOON_MS + 1);
    static const uint32_t VALUES[] = {8, 7, 8, 0, UINT32_MAX, 7};
    for (uint32_t i = 0; i < 6; i++) {
        const oa_occurrence occurrence = sent(exposure, ann, VALUES[i], NOON_MS);
        assert_int_equal(occurrence.window, window);
        assert_int_equal(occurrence.turn, i + 1);
        repeated(exposure, ann, VALUES[i], NOON_MS);
    }
    /* Another user, another flag: exposures of their own. */
    assert_int_equal(sent(exposure, identity_of(2), 7, NOON_MS).turn, 0);
    oa_occurrence out;
    assert_int_equal(note(exposure, ann, FLAG + 1, 7, NOON_MS, &out), OA_OK);
    assert_int_equal(out.turn, 0);
    repeated(exposure, ann, 7, NOON_MS);
    assert_int_equal(stats_of(exposure).entries, 3);
    oa_exposure_free(exposure);
}

static void each_half_of_an_identity_tells_it_apart(void **state) {
    (void)state;
    oa_exposure *exposure = make(DAY_MS, 1000);
    for (uint64_t i = 0; i < 64; i++) {
        (void)sent(exposure, (oa_hash){UINT64_C(1) << i, 0}, 7, NOON_MS);
        (void)sent(exposure, (oa_hash){0, UINT64_C(1) << i}, 7, NOON_MS);
    }
    for (uint64_t i = 0; i < 64; i++) {
        repeated(exposure, (oa_hash){UINT64_C(1) << i, 0}, 7, NOON_MS);
        repeated(exposure, (oa_hash){0, UINT64_C(1) << i}, 7, NOON_MS);
    }
    oa_exposure_free(exposure);
}

/* These were looked for: two identities each whose fingerprints have a half in common. */
static void each_half_of_a_fingerprint_tells_it_apart(void **state) {
    (void)state;
    static const uint64_t TWINS[][2] = {{52590, 1007155}, {351291, 1003523}, {917672, 1024364}};
    for (int i = 0; i < 3; i++) {
        oa_exposure *exposure = make(DAY_MS, 48);
        (void)sent(exposure, identity_of(TWINS[i][0]), 7, NOON_MS);
        (void)sent(exposure, identity_of(TWINS[i][1]), 7, NOON_MS);
        repeated(exposure, identity_of(TWINS[i][0]), 7, NOON_MS);
        repeated(exposure, identity_of(TWINS[i][1]), 7, NOON_MS);
        assert_int_equal(stats_of(exposure).entries, 2);
        oa_exposure_free(exposure);
    }
}

static void a_new_window_starts_from_turn_0(void **state) {
    (void)state;
    oa_exposure *exposure = make(DAY_MS, 100);
    const oa_hash ann = identity_of(1);
    const int64_t day = (int64_t)DAY_MS;
    const uint32_t window = sent(exposure, ann, 7, NOON_MS).window;
    (void)sent(exposure, ann, 8, NOON_MS);
    for (int64_t days = 1; days < 5; days++) {
        const oa_occurrence occurrence = sent(exposure, ann, 8, NOON_MS + days * day);
        assert_int_equal(occurrence.window, window + days);
        assert_int_equal(occurrence.turn, 0);
        repeated(exposure, ann, 8, NOON_MS + days * day);
    }
    /* A window lasts window_ms to the millisecond. */
    int64_t first_ms = NOON_MS + 5 * day;
    (void)sent(exposure, ann, 8, first_ms);
    while (note(exposure, ann, FLAG, 8, ++first_ms, &(oa_occurrence){0, 0}) != OA_OK)
        continue;
    repeated(exposure, ann, 8, first_ms + day - 1);
    (void)sent(exposure, ann, 8, first_ms + day);
    assert_int_equal(stats_of(exposure).entries, 1);
    oa_exposure_free(exposure);
}

static void windows_of_identities_are_spread(void **state) {
    (void)state;
    enum { USERS = 10000, STEPS = 100 };
    oa_exposure *exposure = make(DAY_MS, USERS);
    for (uint64_t i = 0; i < USERS; i++)
        (void)sent(exposure, identity_of(i), 7, NOON_MS);
    for (int step = 1; step <= STEPS; step++) {
        int again = 0;
        for (uint64_t i = 0; i < USERS; i++) {
            oa_occurrence out;
            const int64_t time_ms = NOON_MS + (int64_t)DAY_MS / STEPS * step;
            again += note(exposure, identity_of(i), FLAG, 7, time_ms, &out) == OA_OK;
        }
        assert_in_range(again, USERS / STEPS / 2, USERS / STEPS * 2);
    }
    oa_exposure_free(exposure);
}

static void a_clock_that_jumps_locks_no_user_out(void **state) {
    (void)state;
    static const uint64_t WINDOWS[] = {1, 2, 1000, UINT32_MAX, 1ULL << 40, INT64_MAX, UINT64_MAX};
    static const int64_t TIMES[] = {
        0, 1, -1, 1800000000000, -1800000000000, INT64_MAX, INT64_MIN, INT64_MAX, 0, INT64_MIN + 1};
    for (size_t w = 0; w < sizeof(WINDOWS) / sizeof(WINDOWS[0]); w++) {
        oa_exposure *exposure = make(WINDOWS[w], 100);
        for (uint64_t user = 0; user < 50; user++) {
            for (size_t t = 0; t < sizeof(TIMES) / sizeof(TIMES[0]); t++) {
                oa_occurrence out;
                (void)!note(exposure, identity_of(user), FLAG, 1, TIMES[t], &out);
                repeated(exposure, identity_of(user), 1, TIMES[t]);
                (void)sent(exposure, identity_of(user), 2, TIMES[t]);
            }
        }
        oa_exposure_free(exposure);
    }
    oa_exposure *exposure = make(DAY_MS, 100);
    const uint32_t window = sent(exposure, identity_of(1), 7, NOON_MS).window;
    assert_int_equal(sent(exposure, identity_of(1), 7, NOON_MS - (int64_t)DAY_MS).window,
                     window - 1);
    assert_int_equal(sent(exposure, identity_of(1), 7, NOON_MS).window, window);
    oa_exposure_free(exposure);
}

static void a_window_of_1_ms_counts_every_millisecond_before_1970_too(void **state) {
    (void)state;
    oa_exposure *exposure = make(1, 10);
    const oa_hash nobody = {0, 0};
    for (int64_t time_ms = -5; time_ms <= 5; time_ms++)
        assert_int_equal(sent(exposure, nobody, 7, time_ms).window, (uint32_t)time_ms);
    oa_exposure_free(exposure);
    exposure = make(4, 10);
    for (int64_t time_ms = -8; time_ms < 8; time_ms++) {
        if (time_ms % 4 == 0)
            assert_int_equal(sent(exposure, nobody, 7, time_ms).window, (uint32_t)(time_ms / 4));
        else
            repeated(exposure, nobody, 7, time_ms);
    }
    oa_exposure_free(exposure);
}

static void what_was_not_delivered_goes_out_again(void **state) {
    (void)state;
    oa_exposure *exposure = make(DAY_MS, 100);
    const oa_hash ann = identity_of(1);
    (void)sent(exposure, ann, 7, NOON_MS);
    const oa_occurrence second = sent(exposure, ann, 8, NOON_MS);
    assert_int_equal(second.turn, 1);
    forget(exposure, ann, FLAG, 8, second);
    /* The same occurrence, and once. */
    const oa_occurrence again = sent(exposure, ann, 8, NOON_MS);
    assert_int_equal(again.turn, 1);
    assert_int_equal(again.window, second.window);
    repeated(exposure, ann, 8, NOON_MS);
    /* Another value goes on counting, and leaves nothing unsent behind. */
    forget(exposure, ann, FLAG, 8, second);
    const oa_occurrence third = sent(exposure, ann, 7, NOON_MS);
    assert_int_equal(third.turn, 2);
    repeated(exposure, ann, 7, NOON_MS);
    /* News of anything but the last one is ignored. */
    forget(exposure, ann, FLAG, 8, second);
    forget(exposure, ann, FLAG, 7, second);
    forget(exposure, ann, FLAG, 8, third);
    forget(exposure, ann, FLAG + 1, 7, third);
    forget(exposure, identity_of(2), FLAG, 7, third);
    forget(exposure, ann, FLAG, 7, (oa_occurrence){third.window + 1, third.turn});
    repeated(exposure, ann, 7, NOON_MS);
    /* A new window starts from turn 0 whatever was forgotten. */
    forget(exposure, ann, FLAG, 7, third);
    assert_int_equal(sent(exposure, ann, 7, NOON_MS + (int64_t)DAY_MS).turn, 0);
    repeated(exposure, ann, 7, NOON_MS + (int64_t)DAY_MS);
    assert_int_equal(stats_of(exposure).entries, 1);
    oa_exposure_free(exposure);
}

static void each_of_65535_changes_is_a_turn(void **state) {
    (void)state;
    oa_exposure *exposure = make(DAY_MS, 1);
    for (uint32_t i = 0; i < 100000; i++)
        assert_int_equal(sent(exposure, identity_of(1), i % 3, NOON_MS).turn,
                         i < 65535 ? i : 65535);
    oa_exposure_free(exposure);
}

/* Note, and expect that only the property is to be sent. */
static oa_occurrence refreshed(oa_exposure *exposure, oa_hash identity, uint32_t value,
                               int64_t time_ms) {
    oa_sighting seen = {.occurrence = {99, 99}};
    assert_int_equal(oa_exposure_note(exposure, identity, FLAG, value, time_ms, &seen), OA_OK);
    assert_true(seen.is_repeat);
    return seen.occurrence;
}

static oa_exposure *make_refreshing(uint64_t window_ms, uint64_t refresh_ms) {
    oa_exposure *exposure = NULL;
    assert_int_equal(oa_exposure_new(window_ms, refresh_ms, 100000, &exposure), OA_OK);
    return exposure;
}

enum { HOUR_MS = 3600 * 1000 };

/* A moment at which the window of an identity begins, so that the next day is in one. */
static int64_t window_start(oa_exposure *exposure, oa_hash identity) {
    int64_t at_ms = NOON_MS;
    const uint32_t first = sent(exposure, identity, 99, at_ms).window;
    for (oa_occurrence seen;; at_ms += 1000) {
        oa_sighting out = {.occurrence = {first, 0}};
        (void)!oa_exposure_note(exposure, identity, FLAG, 99, at_ms, &out);
        seen = out.occurrence;
        if (seen.window != first)
            return at_ms;
    }
}

static void a_repeat_sets_the_property_again_after_refresh_ms(void **state) {
    (void)state;
    oa_exposure *exposure = make_refreshing(DAY_MS, HOUR_MS);
    const oa_hash ann = identity_of(1);
    int64_t at_ms = window_start(exposure, ann);
    const oa_occurrence first = sent(exposure, ann, 7, at_ms);
    for (int hour = 0; hour < 20; hour++) {
        for (int minute = 0; minute < 45; minute += 5)
            repeated(exposure, ann, 7, at_ms + minute * 60000);
        at_ms += HOUR_MS;
        const oa_occurrence again = refreshed(exposure, ann, 7, at_ms);
        assert_int_equal(again.window, first.window);
        assert_int_equal(again.turn, first.turn); /* it is no other occurrence */
        repeated(exposure, ann, 7, at_ms);
    }
    /* A change starts the hour again. */
    (void)sent(exposure, ann, 8, at_ms + HOUR_MS / 2);
    repeated(exposure, ann, 8, at_ms + HOUR_MS);
    (void)refreshed(exposure, ann, 8, at_ms + HOUR_MS / 2 + HOUR_MS);
    oa_exposure_free(exposure);
}

/* However long ago within a window of a day it was, it counts as an hour ago or more. */
static void a_repeat_at_any_time_of_a_day_sets_the_property_again(void **state) {
    (void)state;
    for (int minutes = 60; minutes < 24 * 60; minutes += 7) {
        oa_exposure *exposure = make_refreshing(DAY_MS, HOUR_MS);
        const oa_hash ann = identity_of((uint64_t)minutes);
        const int64_t at_ms = window_start(exposure, ann);
        (void)sent(exposure, ann, 7, at_ms);
        (void)refreshed(exposure, ann, 7, at_ms + (int64_t)minutes * 60000);
        oa_exposure_free(exposure);
    }
}

static void a_refresh_that_was_not_delivered_is_due_again(void **state) {
    (void)state;
    oa_exposure *exposure = make_refreshing(DAY_MS, HOUR_MS);
    const oa_hash ann = identity_of(1);
    const int64_t at_ms = window_start(exposure, ann);
    (void)sent(exposure, ann, 7, at_ms);
    const oa_sighting lost = {refreshed(exposure, ann, 7, at_ms + HOUR_MS), true, true};
    repeated(exposure, ann, 7, at_ms + HOUR_MS);
    oa_exposure_forget(exposure, ann, FLAG, 7, &lost);
    (void)refreshed(exposure, ann, 7, at_ms + HOUR_MS); /* and not the exposure itself */
    repeated(exposure, ann, 7, at_ms + HOUR_MS);
    oa_exposure_free(exposure);
}

static void refreshes_of_identities_are_spread(void **state) {
    (void)state;
    enum { USERS = 5000, STEPS = 8 };
    oa_exposure *exposure = make_refreshing(UINT64_C(1) << 50, HOUR_MS);
    for (uint64_t i = 0; i < USERS; i++)
        (void)sent(exposure, identity_of(i), 7, NOON_MS);
    int total = 0;
    for (int step = 1; step <= STEPS; step++) {
        int again = 0;
        const int64_t time_ms = NOON_MS + HOUR_MS * 3 / 4 + HOUR_MS / 4 * step / STEPS;
        for (uint64_t i = 0; i < USERS; i++) {
            oa_sighting out;
            again += oa_exposure_note(exposure, identity_of(i), FLAG, 7, time_ms, &out) == OA_OK;
        }
        assert_in_range(again, USERS / STEPS / 2, USERS / STEPS * 2);
        total += again;
    }
    assert_int_equal(total, USERS); /* each once, and none after refresh_ms */
    oa_exposure_free(exposure);
}

static void a_refresh_of_a_window_or_more_has_no_effect(void **state) {
    (void)state;
    static const uint64_t REFRESHES[] = {DAY_MS, DAY_MS + 1, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        oa_exposure *exposure = make_refreshing(DAY_MS, REFRESHES[i]);
        const oa_hash ann = identity_of(1);
        const int64_t at_ms = window_start(exposure, ann);
        (void)sent(exposure, ann, 7, at_ms);
        for (int hour = 1; hour < 23; hour++)
            repeated(exposure, ann, 7, at_ms + hour * HOUR_MS);
        oa_exposure_free(exposure);
    }
}

static void a_refresh_of_some_ms_is_due_after_them(void **state) {
    (void)state;
    for (int64_t refresh_ms = 1; refresh_ms < 20; refresh_ms++) {
        oa_exposure *exposure = make_refreshing(DAY_MS, (uint64_t)refresh_ms);
        const oa_hash ann = identity_of(1);
        const int64_t at_ms = window_start(exposure, ann);
        (void)sent(exposure, ann, 7, at_ms);
        repeated(exposure, ann, 7, at_ms);
        (void)refreshed(exposure, ann, 7, at_ms + refresh_ms);
        repeated(exposure, ann, 7, at_ms + refresh_ms);
        (void)refreshed(exposure, ann, 7, at_ms + 2 * refresh_ms);
        oa_exposure_free(exposure);
    }
}

/* The model: an array, and the definition of a window in other words. */
typedef struct expectation {
    bool known;
    bool unsent;
    uint32_t value;
    oa_occurrence last;
} expectation;

static uint32_t window_of(oa_hash identity, uint64_t window_ms, int64_t time_ms) {
    const __int128 offset = ((__int128)(identity.high >> 32) * window_ms) >> 32;
    const __int128 at = time_ms + offset;
    __int128 window = at / (__int128)window_ms;
    if (at % (__int128)window_ms < 0)
        window--;
    return (uint32_t)window;
}

enum { FLAGS = 4, MAX_USERS = 6000 };

static bool gate_open_often(size_t size) {
    (void)size;
    return draw(3) != 0;
}

typedef struct history {
    uint64_t window_ms;
    size_t users;
    size_t max_entries;
    int steps;
    bool steady;    /* the clock never goes back */
    bool forgetful; /* the table has reasons to forget */
    bool (*gate)(size_t size);
} history;

/*
 * Run a random history. The table must agree with the model in everything; where it is forgetful,
 * it may send what the model knows, but must never suppress what is new to the model.
 */
static void run_history(history h) {
    static expectation model[MAX_USERS * FLAGS];
    memset(model, 0, sizeof(model));
    oa_exposure *exposure = make(h.window_ms, h.max_entries);
    oa_mem_set_gate(h.gate);
    int64_t time_ms = (int64_t)draw(1000000) - 500000;
    uint64_t agreed = 0;
    for (int step = 0; step < h.steps; step++) {
        const uint64_t user = draw(h.users);
        const uint64_t flag = draw(FLAGS);
        const oa_hash identity = identity_of(user);
        expectation *want = &model[user * FLAGS + flag];
        if (draw(10) == 0) {
            /* Drop the last one, or something older or younger. */
            oa_occurrence which = want->last;
            uint32_t value = want->value;
            if (draw(3) == 0)
                which.turn += (uint32_t)draw(3) - 1;
            if (draw(3) == 0)
                which.window += (uint32_t)draw(3) - 1;
            if (draw(3) == 0)
                value = (uint32_t)draw(3);
            forget(exposure, identity, FLAG + flag, value, which);
            if (want->known && value == want->value && which.turn == want->last.turn &&
                which.window == want->last.window)
                want->unsent = true;
            continue;
        }
        const uint32_t value = (uint32_t)draw(3);
        const uint32_t window = window_of(identity, h.window_ms, time_ms);
        const bool same_window = want->known && want->last.window == window;
        const bool repeat = same_window && want->value == value && !want->unsent;
        const uint32_t turn = !same_window ? 0 : want->last.turn + (want->value != value);
        oa_occurrence out = {99, 99};
        const oa_status got = note(exposure, identity, FLAG + flag, value, time_ms, &out);
        if (!h.forgetful) {
            assert_int_equal(got, repeat ? OA_REPEAT : OA_OK);
            if (!repeat)
                assert_int_equal(out.turn, turn);
        }
        if (got == OA_OK) {
            assert_int_equal(out.window, window);
            *want = (expectation){true, false, value, out};
        } else {
            assert_int_equal(got, OA_REPEAT);
            assert_true(repeat);
            agreed++;
        }
        const oa_exposure_stats stats = stats_of(exposure);
        assert_true(stats.entries <= h.max_entries);
        /* Mostly forward, by a fraction of a window; at times far, or backward. */
        const uint64_t pace = h.window_ms / 2000 + 1;
        time_ms += (int64_t)draw(pace * 2);
        if (!h.steady && draw(200) == 0)
            time_ms -= (int64_t)draw(h.window_ms * 3);
        if (draw(200) == 0)
            time_ms += (int64_t)draw(h.window_ms * 3);
    }
    if (h.window_ms >= 1000 && h.max_entries > 10)
        assert_true(agreed > 0);
    if (!h.forgetful)
        assert_int_equal(stats_of(exposure).evicted, 0);
    oa_mem_set_gate(NULL);
    oa_exposure_free(exposure);
}

static void random_histories_agree_with_the_model(void **state) {
    (void)state;
    static const uint64_t WINDOWS[] = {1, 2, 7, 1000, 86400000, UINT64_C(10000000000)};
    for (random_state = 0; random_state < UINT64_C(1) << 43; random_state += UINT64_C(1) << 32) {
        /* So few that nothing past is evicted, even if it becomes current again. */
        history h = {.window_ms = WINDOWS[draw(6)], .users = 1 + draw(10), .steps = 1000};
        h.max_entries = 1000;
        run_history(h);
        h.users = 1 + draw(100);
        h.max_entries = h.users * FLAGS;
        h.steady = true;
        run_history(h);
    }
}

static void a_large_random_history_agrees_with_the_model(void **state) {
    (void)state;
    random_state = 17;
    run_history((history){.window_ms = 86400000,
                          .users = MAX_USERS,
                          .max_entries = MAX_USERS * FLAGS,
                          .steps = 300000,
                          .steady = true});
}

static void random_histories_with_eviction_never_suppress_news(void **state) {
    (void)state;
    for (random_state = 0; random_state < UINT64_C(1) << 42; random_state += UINT64_C(1) << 32)
        run_history((history){.window_ms = 1000,
                              .users = 1 + draw(50),
                              .max_entries = 1 + draw(60),
                              .steps = 2000,
                              .forgetful = true});
    random_state = 23;
    run_history((history){.window_ms = 86400000,
                          .users = MAX_USERS,
                          .max_entries = 5000,
                          .steps = 300000,
                          .forgetful = true});
}

static int allowed;

static bool allow_some(size_t size) {
    (void)size;
    return allowed-- > 0;
}

/* Every allocation fails once, and all after it; nothing is suppressed but what was sent. */
static void every_failing_allocation_is_survived(void **state) {
    (void)state;
    enum { USERS = 9000 };
    for (int upto = 0; upto < 40; upto++) {
        allowed = upto;
        oa_mem_set_gate(allow_some);
        oa_exposure *exposure = NULL;
        const oa_status status = oa_exposure_new(DAY_MS, DAY_MS, USERS, &exposure);
        assert_int_equal(status, upto < 3 ? OA_NOMEM : OA_OK);
        if (status != OA_OK) {
            assert_null(exposure);
            continue;
        }
        for (uint64_t i = 0; i < USERS; i++) {
            (void)sent(exposure, identity_of(i), 7, NOON_MS);
            repeated(exposure, identity_of(i), 7, NOON_MS);
        }
        const oa_exposure_stats stats = stats_of(exposure);
        assert_int_equal(stats.entries + stats.evicted, USERS);
        if (upto == 3) /* the first, small segment is all that there is */
            assert_true(stats.entries < 64);
        /* With memory again, it grows again. */
        oa_mem_set_gate(NULL);
        for (uint64_t i = 0; i < USERS; i++)
            (void)!note(exposure, identity_of(i), FLAG, 7, NOON_MS, &(oa_occurrence){0, 0});
        assert_true(stats_of(exposure).entries > USERS * 9 / 10);
        oa_exposure_free(exposure);
    }
    oa_mem_set_gate(NULL);
}

static void random_failures_of_allocations_never_suppress_news(void **state) {
    (void)state;
    for (random_state = 0; random_state < UINT64_C(1) << 36; random_state += UINT64_C(1) << 32)
        run_history((history){.window_ms = 1000000,
                              .users = MAX_USERS / 2,
                              .max_entries = 5000 + draw(9000),
                              .steps = 60000,
                              .forgetful = true,
                              .gate = gate_open_often});
}

static void the_number_of_entries_is_bounded_from_1_on(void **state) {
    (void)state;
    for (size_t max_entries = 1; max_entries < 9000; max_entries += 1 + max_entries / 5) {
        oa_exposure *exposure = make(DAY_MS, max_entries);
        for (uint64_t i = 0; i < 3 * max_entries + 5; i++) {
            (void)sent(exposure, identity_of(i), 7, NOON_MS);
            repeated(exposure, identity_of(i), 7, NOON_MS); /* the last one is remembered */
            const oa_exposure_stats stats = stats_of(exposure);
            assert_true(stats.entries <= max_entries);
            if (i < max_entries)
                assert_int_equal(stats.entries, i + 1);
            assert_int_equal(stats.entries + stats.evicted, i + 1);
        }
        assert_int_equal(stats_of(exposure).entries, max_entries);
        oa_exposure_free(exposure);
    }
}

static int count_repeats(oa_exposure *exposure, uint64_t from, uint64_t upto, int64_t time_ms) {
    int repeats = 0;
    for (uint64_t i = from; i < upto; i++) {
        oa_occurrence out;
        repeats += note(exposure, identity_of(i), FLAG, 7, time_ms, &out) == OA_REPEAT;
    }
    return repeats;
}

static void eviction_spares_what_repeats(void **state) {
    (void)state;
    enum { ENTRIES = 10000 };
    oa_exposure *exposure = make(DAY_MS, ENTRIES);
    assert_int_equal(count_repeats(exposure, 0, ENTRIES, NOON_MS), 0);
    /* The second half of the users comes back all the time; strangers come once. */
    for (uint64_t round = 0; round < 4; round++) {
        assert_in_range(count_repeats(exposure, ENTRIES / 2, ENTRIES, NOON_MS),
                        ENTRIES / 2 * 9 / 10, ENTRIES / 2);
        const uint64_t strangers = ENTRIES + round * ENTRIES / 4;
        assert_int_equal(count_repeats(exposure, strangers, strangers + ENTRIES / 4, NOON_MS), 0);
    }
    assert_in_range(count_repeats(exposure, ENTRIES / 2, ENTRIES, NOON_MS), ENTRIES / 2 * 9 / 10,
                    ENTRIES / 2);
    assert_in_range(stats_of(exposure).evicted, ENTRIES, ENTRIES + ENTRIES / 5);
    oa_exposure_free(exposure);
}

static void past_windows_go_before_anything_else(void **state) {
    (void)state;
    enum { ENTRIES = 20000 };
    oa_exposure *exposure = make(DAY_MS, ENTRIES);
    (void)count_repeats(exposure, 0, ENTRIES, NOON_MS);
    /* Referenced, so that a clock alone would spare them. */
    assert_int_equal(count_repeats(exposure, 0, ENTRIES, NOON_MS), ENTRIES);
    for (uint64_t round = 1; round < 5; round++) {
        const int64_t time_ms = NOON_MS + (int64_t)(2 * round * DAY_MS);
        (void)count_repeats(exposure, round * ENTRIES, (round + 1) * ENTRIES, time_ms);
        assert_int_equal(count_repeats(exposure, round * ENTRIES, (round + 1) * ENTRIES, time_ms),
                         ENTRIES);
        assert_int_equal(stats_of(exposure).evicted, 0);
    }
    oa_exposure_free(exposure);
}

static void a_steady_number_of_users_a_day_needs_steady_memory(void **state) {
    (void)state;
    enum { USERS = 5000, DAYS = 20 };
    oa_exposure *exposure = make(DAY_MS, 1000000);
    for (uint64_t day = 0; day < DAYS; day++) {
        const int64_t time_ms = NOON_MS + (int64_t)(day * DAY_MS);
        (void)count_repeats(exposure, day * USERS, (day + 1) * USERS, time_ms);
    }
    assert_true(stats_of(exposure).entries < 5 * USERS);
    assert_true(stats_of(exposure).bytes < 5 * USERS * 60);
    oa_exposure_free(exposure);
}

static void a_million_entries_stay_within_their_bytes(void **state) {
    (void)state;
    enum { ENTRIES = 1000000 };
    oa_exposure *exposure = make(DAY_MS, ENTRIES);
    assert_true(stats_of(exposure).bytes < 1600);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        (void)sent(exposure, identity_of(i), 7, NOON_MS);
        if (i % 1000 == 0)
            assert_true(stats_of(exposure).bytes <= 4096 + (i + 1) * 53);
    }
    const oa_exposure_stats full = stats_of(exposure);
    assert_int_equal(full.entries, ENTRIES);
    assert_int_equal(full.evicted, 0);
    assert_in_range(full.bytes, (size_t)ENTRIES * 25, (size_t)ENTRIES * 26);
    assert_int_equal(count_repeats(exposure, 0, ENTRIES, NOON_MS), ENTRIES);
    /* Half as many entries again take not a byte more. */
    (void)count_repeats(exposure, ENTRIES, ENTRIES * 3 / 2, NOON_MS);
    assert_int_equal(stats_of(exposure).entries, ENTRIES);
    assert_int_equal(stats_of(exposure).bytes, full.bytes);
    oa_exposure_free(exposure);
}

static size_t counted_bytes;

static bool count_bytes(size_t size) {
    counted_bytes += size;
    return true;
}

static void the_bytes_are_those_that_were_allocated(void **state) {
    (void)state;
    counted_bytes = 0;
    oa_mem_set_gate(count_bytes);
    oa_exposure *exposure = make(DAY_MS, 10);
    oa_mem_set_gate(NULL);
    assert_int_equal(stats_of(exposure).bytes, counted_bytes);
    oa_exposure_free(exposure);
    oa_exposure_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_repeat_is_suppressed_and_a_change_is_sent),
        cmocka_unit_test(each_half_of_an_identity_tells_it_apart),
        cmocka_unit_test(each_half_of_a_fingerprint_tells_it_apart),
        cmocka_unit_test(a_new_window_starts_from_turn_0),
        cmocka_unit_test(windows_of_identities_are_spread),
        cmocka_unit_test(a_clock_that_jumps_locks_no_user_out),
        cmocka_unit_test(a_window_of_1_ms_counts_every_millisecond_before_1970_too),
        cmocka_unit_test(what_was_not_delivered_goes_out_again),
        cmocka_unit_test(each_of_65535_changes_is_a_turn),
        cmocka_unit_test(a_repeat_sets_the_property_again_after_refresh_ms),
        cmocka_unit_test(a_repeat_at_any_time_of_a_day_sets_the_property_again),
        cmocka_unit_test(a_refresh_that_was_not_delivered_is_due_again),
        cmocka_unit_test(refreshes_of_identities_are_spread),
        cmocka_unit_test(a_refresh_of_a_window_or_more_has_no_effect),
        cmocka_unit_test(a_refresh_of_some_ms_is_due_after_them),
        cmocka_unit_test(random_histories_agree_with_the_model),
        cmocka_unit_test(a_large_random_history_agrees_with_the_model),
        cmocka_unit_test(random_histories_with_eviction_never_suppress_news),
        cmocka_unit_test(every_failing_allocation_is_survived),
        cmocka_unit_test(random_failures_of_allocations_never_suppress_news),
        cmocka_unit_test(the_number_of_entries_is_bounded_from_1_on),
        cmocka_unit_test(eviction_spares_what_repeats),
        cmocka_unit_test(past_windows_go_before_anything_else),
        cmocka_unit_test(a_steady_number_of_users_a_day_needs_steady_memory),
        cmocka_unit_test(a_million_entries_stay_within_their_bytes),
        cmocka_unit_test(the_bytes_are_those_that_were_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
