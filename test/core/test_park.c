/* park.c: throttled users against a model. */
#include "park.h"
#include "support.h"

typedef struct fixture {
    oa_hash_key key;
    oa_variant_style style;
    oa_variant *variant;
    oa_arena arena;
    oa_queue queue;
    oa_park park;
    oa_batch_list out;
    uint64_t next_seq;
} fixture;

static int set_up(void **state) {
    memory_deny(false);
    fixture *f = calloc(1, sizeof(*f));
    oa_hash_key_init(&f->key, str("key"));
    f->style = (oa_variant_style){&f->key, str(""), false};
    if (oa_variant_new(&f->style, str("f"), str("a"), str(NULL), true, &f->variant) != OA_OK)
        return 1;
    oa_arena_init(&f->arena, 64 << 20);
    oa_queue_init(&f->queue, &f->arena);
    oa_park_init(&f->park, &f->arena, &f->key);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    memory_deny(false);
    oa_park_clear(&f->park);
    assert_int_equal(f->arena.bytes, 0);
    oa_arena_clear(&f->arena);
    oa_variant_unref(f->variant);
    free(f);
    return 0;
}

/* A record that was taken off its queue. */
static oa_record *record_of(fixture *f, const char *user, const char *device) {
    const oa_decision decision = {.user_id = str(user), .device_id = str(device)};
    oa_record *record = NULL;
    assert_int_equal(oa_queue_append(&f->queue, f->variant, &decision, &record), OA_OK);
    record->seq = f->next_seq++;
    return oa_queue_take(&f->queue);
}

static oa_park_group *open_group(fixture *f, uint64_t until_ms) {
    oa_park_group *group = NULL;
    assert_int_equal(oa_park_open(&f->park, until_ms, &group), OA_OK);
    return group;
}

static void add(fixture *f, oa_park_group *group, const char *user, const char *device) {
    assert_int_equal(oa_park_add(&f->park, group, record_of(f, user, device)), OA_OK);
}

static bool is_parked(fixture *f, const char *user, const char *device) {
    oa_record *record = record_of(f, user, device);
    const bool found = oa_park_find(&f->park, record) != NULL;
    oa_record_release(&f->arena, record);
    f->next_seq--;
    return found;
}

/* Release what is due, expect these sequence numbers, and forget them. */
static void expect_released(fixture *f, uint64_t now_ms, const uint64_t *seqs, size_t count) {
    oa_park_release(&f->park, now_ms, &f->out);
    assert_int_equal(f->out.record_count, count);
    oa_batch *batch = NULL;
    size_t at = 0;
    while ((batch = oa_batch_list_pop(&f->out)) != NULL) {
        assert_in_range(batch->count, 1, OA_BATCH_MAX_RECORDS);
        for (size_t i = 0; i < batch->count; i++) {
            assert_int_equal(batch->records[i]->seq, seqs[at++]);
            oa_record_release(&f->arena, batch->records[i]);
        }
        oa_batch_free(batch);
    }
    assert_int_equal(at, count);
}

static void groups_are_released_when_they_are_due(void **state) {
    fixture *f = *state;
    assert_int_equal(oa_park_due_ms(&f->park), UINT64_MAX);
    oa_park_group *early = open_group(f, 100);
    oa_park_group *late = open_group(f, 200);
    add(f, early, "ann", NULL); /* 0 */
    add(f, late, "bob", NULL);  /* 1 */
    add(f, early, "ann", NULL); /* 2 */
    add(f, early, NULL, "ann"); /* 3: a device of that name */
    assert_int_equal(f->park.record_count, 4);
    assert_int_equal(f->park.user_count, 3);
    assert_int_equal(oa_park_due_ms(&f->park), 100);
    assert_true(is_parked(f, "ann", NULL));
    assert_true(is_parked(f, "ann", "some device"));
    assert_true(is_parked(f, NULL, "ann"));
    assert_false(is_parked(f, NULL, "some device"));
    assert_false(is_parked(f, "eve", NULL));
    expect_released(f, 99, NULL, 0);
    expect_released(f, 100, (const uint64_t[]){0, 2, 3}, 3);
    assert_false(is_parked(f, "ann", NULL));
    assert_true(is_parked(f, "bob", NULL));
    assert_int_equal(oa_park_due_ms(&f->park), 200);
    expect_released(f, 1000, (const uint64_t[]){1}, 1);
    assert_int_equal(f->park.user_count, 0);
    assert_int_equal(f->park.record_count, 0);
}

static void a_large_group_becomes_several_batches(void **state) {
    fixture *f = *state;
    enum { COUNT = 5000 };
    oa_park_group *group = open_group(f, 1);
    uint64_t seqs[COUNT];
    for (uint64_t n = 0; n < COUNT; n++) {
        add(f, group, "ann", NULL);
        seqs[n] = n;
    }
    expect_released(f, 1, seqs, COUNT);
}

static void a_group_is_released_whole_or_not_at_all(void **state) {
    fixture *f = *state;
    enum { COUNT = 5000 };
    oa_park_group *group = open_group(f, 1);
    uint64_t seqs[COUNT];
    for (uint64_t n = 0; n < COUNT; n++) {
        add(f, group, n % 2 == 0 ? "ann" : "bob", NULL);
        seqs[n] = n;
    }
    for (size_t nth = 1; nth <= 9; nth++) { /* three batches of three allocations */
        memory_fail(nth);
        expect_released(f, nth * 2000, NULL, 0);
        assert_int_equal(memory_refusals(), 1);
        memory_fail(0);
        assert_true(is_parked(f, "ann", NULL));
        assert_true(is_parked(f, "bob", NULL));
        assert_int_equal(f->park.record_count, COUNT);
        assert_int_equal(oa_park_due_ms(&f->park),
                         nth * 2000 + 1000); /* tried again a second later */
    }
    expect_released(f, 100000, seqs, COUNT);
}

static void a_lack_of_memory_leaves_the_record_to_the_caller(void **state) {
    fixture *f = *state;
    oa_park_group *group = NULL;
    memory_deny(true);
    assert_int_equal(oa_park_open(&f->park, 1, &group), OA_NOMEM);
    memory_deny(false);
    group = open_group(f, 1);
    for (size_t nth = 1; nth <= 2; nth++) { /* the table of users, and the chunk */
        oa_record *record = record_of(f, "ann", NULL);
        oa_arena_clear(&f->arena); /* no spare chunk */
        memory_fail(nth);
        assert_int_equal(oa_park_add(&f->park, group, record), OA_NOMEM);
        memory_fail(0);
        assert_int_equal(f->park.record_count, 0);
        assert_null(oa_park_find(&f->park, record));
        oa_record_release(&f->arena, record);
        if (nth == 1)
            f->park.slot_cap = 0;
    }
    expect_released(f, 1, NULL, 0);
}

static void records_can_be_taken_one_by_one(void **state) {
    fixture *f = *state;
    oa_park_group *one = open_group(f, 1);
    open_group(f, 2); /* empty */
    oa_park_group *three = open_group(f, 3);
    for (int i = 0; i < 10; i++)
        add(f, i % 2 == 0 ? one : three, i % 2 == 0 ? "ann" : "bob", NULL);
    oa_record *record = NULL;
    uint64_t seen = 0;
    while ((record = oa_park_take_any(&f->park)) != NULL) {
        seen |= UINT64_C(1) << record->seq;
        oa_record_release(&f->arena, record);
    }
    assert_int_equal(seen, 1023);
    assert_int_equal(f->park.record_count, 0);
}

static void many_users_come_and_go(void **state) {
    fixture *f = *state;
    enum { USERS = 300, GROUPS = 200 };
    int64_t until[USERS]; /* -1: free */
    memset(until, -1, sizeof(until));
    uint64_t seed = 9;
    char name[16];
    for (int64_t now = 0; now < GROUPS; now++) {
        oa_park_group *group = open_group(f, (uint64_t)now + 1 + draw_below(&seed, 20));
        const int64_t due = (int64_t)oa_park_due_ms(&f->park);
        assert_true(due >= now);
        bool is_mine[USERS] = {false};
        for (uint64_t n = draw_below(&seed, 60); n > 0; n--) {
            const size_t user = draw_below(&seed, USERS);
            if (until[user] >= 0 && !is_mine[user])
                continue; /* parked elsewhere */
            snprintf(name, sizeof(name), "u%zu", user);
            add(f, group, name, NULL);
            is_mine[user] = true;
            until[user] = 1;
        }
        oa_park_release(&f->park, (uint64_t)now, &f->out);
        oa_batch *batch = NULL;
        while ((batch = oa_batch_list_pop(&f->out)) != NULL) {
            for (size_t i = 0; i < batch->count; i++) {
                const oa_str id = oa_record_user_id(batch->records[i]);
                snprintf(name, sizeof(name), "%.*s", (int)id.len - 1, id.data + 1);
                until[atoi(name)] = -1;
                oa_record_release(&f->arena, batch->records[i]);
            }
            oa_batch_free(batch);
        }
        size_t parked = 0;
        for (size_t user = 0; user < USERS; user++) {
            snprintf(name, sizeof(name), "u%zu", user);
            assert_int_equal(is_parked(f, name, NULL), until[user] >= 0);
            parked += until[user] >= 0;
        }
        assert_int_equal(f->park.user_count, parked);
        assert_true(f->park.slot_cap <= 4096);
    }
    oa_record *record = NULL;
    while ((record = oa_park_take_any(&f->park)) != NULL)
        oa_record_release(&f->arena, record);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(groups_are_released_when_they_are_due),
        TEST(a_large_group_becomes_several_batches),
        TEST(a_group_is_released_whole_or_not_at_all),
        TEST(a_lack_of_memory_leaves_the_record_to_the_caller),
        TEST(records_can_be_taken_one_by_one),
        TEST(many_users_come_and_go),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
