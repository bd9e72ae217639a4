/* queue.c and batch.c: records in order, in memory that is counted to the byte. */
#include "batch.h"
#include "queue.h"
#include "support.h"

typedef struct fixture {
    oa_hash_key key;
    oa_variant_style style;
    oa_variant *variant;
    oa_arena arena;
    oa_queue queue;
} fixture;

static int set_up(void **state) {
    memory_deny(false);
    fixture *f = calloc(1, sizeof(*f));
    oa_hash_key_init(&f->key, str("key"));
    f->style = (oa_variant_style){&f->key, str(""), false};
    if (oa_variant_new(&f->style, str("f"), str("a"), str(NULL), true, &f->variant) != OA_OK)
        return 1;
    oa_arena_init(&f->arena, 1 << 20);
    oa_queue_init(&f->queue, &f->arena);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    memory_deny(false);
    assert_int_equal(f->arena.bytes, 0);
    assert_int_equal(f->variant->references, 1);
    oa_arena_clear(&f->arena);
    oa_variant_unref(f->variant);
    free(f);
    return 0;
}

static oa_status append(fixture *f, oa_queue *queue, const char *user, uint64_t seq) {
    const oa_decision decision = {.user_id = str(user)};
    oa_record *record = NULL;
    const oa_status status = oa_queue_append(queue, f->variant, &decision, &record);
    if (status == OA_OK)
        record->seq = seq;
    return status;
}

static void take_and_release(fixture *f, oa_queue *queue, uint64_t seq) {
    oa_record *record = oa_queue_take(queue);
    assert_non_null(record);
    assert_int_equal(record->seq, seq);
    oa_record_release(&f->arena, record);
}

static void an_empty_queue_has_nothing(void **state) {
    fixture *f = *state;
    assert_null(oa_queue_peek(&f->queue));
    assert_null(oa_queue_last(&f->queue));
    assert_null(oa_queue_take(&f->queue));
    assert_int_equal(append(f, &f->queue, "ann", 1), OA_OK);
    assert_true(f->arena.bytes > 0);
    take_and_release(f, &f->queue, 1);
    assert_null(oa_queue_peek(&f->queue));
    assert_null(oa_queue_last(&f->queue));
    assert_int_equal(f->arena.bytes, 0); /* the spare chunk is not counted */
    assert_non_null(f->arena.spare);
}

static void memory_is_kept_for_reuse_but_not_all_of_it(void **state) {
    fixture *f = *state;
    oa_arena_init(&f->arena, 64 * 1024 * 1024);
    const uint64_t count = 64 * f->arena.chunk_bytes / (sizeof(oa_record) + 3);
    for (int round = 0; round < 3; round++) {
        for (uint64_t seq = 0; seq < count; seq++)
            assert_int_equal(append(f, &f->queue, "ann", seq), OA_OK);
        assert_true(f->arena.bytes >= 48 * f->arena.chunk_bytes);
        assert_int_equal(f->arena.spare_count, 0);
        for (uint64_t seq = 0; seq < count; seq++)
            take_and_release(f, &f->queue, seq);
        assert_int_equal(f->arena.bytes, 0);
        assert_int_equal(f->arena.spare_count, 16);
    }
    oa_arena_clear(&f->arena);
    assert_null(f->arena.spare);
    assert_int_equal(f->arena.spare_count, 0);
}

static void all_parts_of_a_record_are_copied(void **state) {
    fixture *f = *state;
    char user[] = "ann";
    char device[] = "pc";
    char fields[] = "\"ip\":\"::1\"";
    char event[] = "\"a\":1";
    char set[] = "\"b\":2";
    const oa_decision decision = {.user_id = str(user),
                                  .device_id = str(device),
                                  .fields = str(fields),
                                  .event_properties = str(event),
                                  .user_properties = str(set)};
    oa_record *record = NULL;
    assert_int_equal(oa_queue_append(&f->queue, f->variant, &decision, &record), OA_OK);
    memset(user, 'x', 3);
    memset(device, 'x', 2);
    memset(fields, 'x', 10);
    memset(event, 'x', 5);
    memset(set, 'x', 5);
    assert_memory_equal(oa_record_user_id(record).data, "ann", 3);
    assert_memory_equal(oa_record_device_id(record).data, "pc", 2);
    assert_int_equal(oa_record_fields(record).len, 10);
    assert_memory_equal(oa_record_fields(record).data, "\"ip\":\"::1\"", 10);
    assert_memory_equal(oa_record_event_properties(record).data, "\"a\":1", 5);
    assert_memory_equal(oa_record_user_properties(record).data, "\"b\":2", 5);
    assert_int_equal(oa_record_user_properties(record).len, 5);
    assert_int_equal((uintptr_t)record % 8, 0);
    assert_int_equal(f->variant->references, 2);

    const oa_decision only_device = {.device_id = str("pc")};
    assert_int_equal(oa_queue_append(&f->queue, f->variant, &only_device, &record), OA_OK);
    assert_null(oa_record_user_id(record).data);
    assert_int_equal(oa_record_device_id(record).len, 2);
    assert_int_equal(oa_record_fields(record).len, 0);
    assert_int_equal(oa_record_event_properties(record).len, 0);
    assert_ptr_equal(oa_queue_last(&f->queue), record);
    assert_ptr_equal(oa_queue_next(oa_queue_peek(&f->queue)), record);
    oa_record_release(&f->arena, oa_queue_take(&f->queue));
    oa_record_release(&f->arena, oa_queue_take(&f->queue));
}

static void records_of_one_user_are_recognized(void **state) {
    fixture *f = *state;
    static const char *const ids[][2] = {{"ann", NULL}, {"ann", "pc"}, {NULL, "ann"},
                                         {"annp", "c"}, {"bob", NULL}, {"ann", "px"}};
    oa_record *records[6];
    for (int twice = 0; twice < 2; twice++) {
        for (size_t i = 0; i < 6; i++) {
            oa_record *record = NULL;
            const oa_decision decision = {.user_id = str(ids[i][0]), .device_id = str(ids[i][1])};
            assert_int_equal(oa_queue_append(&f->queue, f->variant, &decision, &record), OA_OK);
            for (size_t j = 0; twice && j < 6; j++)
                assert_int_equal(oa_record_same_user(record, records[j]), i == j);
            if (!twice)
                records[i] = record;
        }
    }
    for (int i = 0; i < 12; i++)
        oa_record_release(&f->arena, oa_queue_take(&f->queue));
}

static void order_is_kept_against_a_model(void **state) {
    fixture *f = *state;
    f->arena.chunk_bytes = 1024;
    uint64_t seed = 3;
    for (int round = 0; round < 50; round++) {
        enum { MOST = 64 };
        oa_record *taken[MOST];
        size_t taken_count = 0;
        uint64_t appended = 0;
        uint64_t removed = 0;
        for (int step = 0; step < 400; step++) {
            char user[900];
            const size_t len = 1 + draw_below(&seed, draw_below(&seed, 8) == 0 ? 890 : 20);
            memset(user, 'u', len);
            user[len] = '\0';
            switch (draw_below(&seed, 4)) {
            case 0:
            case 1:
                assert_int_equal(append(f, &f->queue, user, appended), OA_OK);
                appended++;
                break;
            case 2:
                if (taken_count < MOST && removed < appended) {
                    oa_record *record = oa_queue_take(&f->queue);
                    assert_int_equal(record->seq, removed);
                    taken[taken_count++] = record;
                    removed++;
                }
                break;
            default:
                if (taken_count > 0) { /* released in any order */
                    const size_t at = draw_below(&seed, taken_count);
                    oa_record_release(&f->arena, taken[at]);
                    taken[at] = taken[--taken_count];
                }
            }
            assert_int_equal(f->queue.count, appended - removed);
            uint64_t seq = removed;
            const oa_record *record = oa_queue_peek(&f->queue);
            for (; record != NULL; record = oa_queue_next(record))
                assert_int_equal(record->seq, seq++);
            assert_int_equal(seq, appended);
            if (appended > removed)
                assert_int_equal(oa_queue_last(&f->queue)->seq, appended - 1);
        }
        while (removed < appended)
            take_and_release(f, &f->queue, removed++);
        while (taken_count > 0)
            oa_record_release(&f->arena, taken[--taken_count]);
        assert_int_equal(f->arena.bytes, 0);
    }
}

static void the_limit_is_never_exceeded(void **state) {
    fixture *f = *state;
    static const size_t limits[] = {1, 1023, 1024, 5000, 16384, 100000};
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        oa_arena_clear(&f->arena);
        oa_arena_init(&f->arena, limits[i]);
        oa_queue_init(&f->queue, &f->arena);
        uint64_t count = 0;
        while (append(f, &f->queue, "somebody", count) == OA_OK) {
            assert_true(f->arena.bytes <= limits[i]);
            count++;
        }
        assert_int_equal(f->variant->references, 1 + count);
        assert_int_equal(f->queue.count, count);
        if (limits[i] < 1024)
            assert_int_equal(count, 0);
        else /* most of it can be used */
            assert_true(count >= limits[i] / 2 / (sizeof(oa_record) + 16));
        /* What is freed can be used again. */
        for (uint64_t n = 0; n < count; n++)
            take_and_release(f, &f->queue, n);
        assert_int_equal(append(f, &f->queue, "somebody", 0), count > 0 ? OA_OK : OA_QUEUE_FULL);
        if (count > 0)
            take_and_release(f, &f->queue, 0);
        assert_int_equal(f->arena.bytes, 0);
    }
}

static void a_refused_record_leaves_no_trace(void **state) {
    fixture *f = *state;
    memory_deny(true);
    assert_int_equal(append(f, &f->queue, "ann", 0), OA_QUEUE_FULL);
    memory_deny(false);
    assert_int_equal(f->variant->references, 1);
    assert_int_equal(f->arena.bytes, 0);
    assert_null(oa_queue_last(&f->queue));
}

static void a_record_moves_to_another_queue(void **state) {
    fixture *f = *state;
    oa_queue other;
    oa_queue_init(&other, &f->arena);
    for (uint64_t n = 0; n < 100; n++)
        assert_int_equal(append(f, &f->queue, "ann", n), OA_OK);
    const size_t before = f->arena.bytes;
    f->arena.max_bytes = before; /* a move is not limited, but begins small */
    assert_int_equal(oa_queue_move(&other, oa_queue_take(&f->queue)), OA_OK);
    assert_true(f->arena.bytes <= before + 1024);
    for (uint64_t n = 1; n < 100; n++)
        assert_int_equal(oa_queue_move(&other, oa_queue_take(&f->queue)), OA_OK);
    assert_true(f->arena.bytes <= before);
    assert_int_equal(f->variant->references, 101);
    for (uint64_t n = 0; n < 100; n++)
        take_and_release(f, &other, n);

    assert_int_equal(append(f, &f->queue, "ann", 7), OA_OK);
    oa_record *record = oa_queue_take(&f->queue);
    memory_deny(true);
    assert_int_equal(oa_queue_move(&other, record), OA_NOMEM);
    memory_deny(false);
    assert_int_equal(record->seq, 7); /* still the caller's */
    oa_record_release(&f->arena, record);
}

static void a_batch_is_split_in_order(void **state) {
    fixture *f = *state;
    oa_batch *batch = NULL;
    oa_batch *rest = NULL;
    assert_int_equal(oa_batch_new(10, &batch), OA_OK);
    for (uint64_t n = 0; n < 10; n++) {
        assert_int_equal(append(f, &f->queue, "ann", n), OA_OK);
        oa_batch_add(batch, oa_queue_take(&f->queue));
    }
    batch->again = true;
    batch->share = 5;
    batch->suspicion = (oa_suspicion){.failures = 3, .blames = 2, .accepted_before = 1};
    memory_deny(true);
    assert_int_equal(oa_batch_split(batch, 4, &rest), OA_NOMEM);
    memory_deny(false);
    assert_int_equal(batch->count, 10);
    assert_int_equal(oa_batch_split(batch, 4, &rest), OA_OK);
    assert_int_equal(batch->count, 4);
    assert_int_equal(rest->count, 6);
    assert_true(rest->again); /* both have the same past */
    assert_int_equal(rest->share, 5);
    assert_memory_equal(&rest->suspicion, &batch->suspicion, sizeof(rest->suspicion));
    for (uint64_t n = 0; n < 10; n++) {
        oa_record *record = n < 4 ? batch->records[n] : rest->records[n - 4];
        assert_int_equal(record->seq, n);
        oa_record_release(&f->arena, record);
    }
    oa_batch_free(batch);
    oa_batch_free(rest);
    oa_batch_free(NULL);
}

typedef struct choice {
    uint64_t odd; /* 1: take the odd ones */
    size_t offered;
    oa_arena *arena;
} choice;

static bool take_some(void *context, oa_record *record, oa_mark mark) {
    choice *c = context;
    c->offered++;
    assert_int_equal(mark, record->seq % 5);
    if (record->seq % 2 != c->odd)
        return false;
    oa_record_release(c->arena, record);
    return true;
}

static void a_filter_closes_the_ranks(void **state) {
    fixture *f = *state;
    for (size_t among = 0; among <= 10; among++) {
        oa_batch *batch = NULL;
        assert_int_equal(oa_batch_new(10, &batch), OA_OK);
        for (uint64_t n = 0; n < 10; n++) {
            assert_int_equal(append(f, &f->queue, "ann", n), OA_OK);
            oa_batch_add(batch, oa_queue_take(&f->queue));
            batch->marks[n] = (uint8_t)(n % 5);
        }
        choice odd = {1, 0, &f->arena};
        assert_int_equal(oa_batch_filter(batch, among, take_some, &odd), (among + 1) / 2);
        assert_int_equal(odd.offered, among); /* and not one behind them */
        assert_int_equal(batch->count, 10 - among / 2);
        for (size_t i = 1; i < batch->count; i++)
            assert_true(batch->records[i]->seq > batch->records[i - 1]->seq);
        for (size_t i = 0; i < batch->count; i++)
            assert_int_equal(batch->marks[i], batch->records[i]->seq % 5);
        choice rest = {0, 0, &f->arena};
        oa_batch_filter(batch, batch->count, take_some, &rest);
        rest.odd = 1;
        oa_batch_filter(batch, batch->count, take_some, &rest);
        assert_int_equal(batch->count, 0);
        oa_batch_free(batch);
    }
}

static void a_list_of_batches_counts_its_records(void **state) {
    (void)state;
    oa_batch_list list = {NULL, NULL, 0};
    oa_batch *batches[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(oa_batch_new(4, &batches[i]), OA_OK);
        batches[i]->count = i + 1;
    }
    oa_batch_list_push_front(&list, batches[1]);
    oa_batch_list_push_back(&list, batches[2]);
    oa_batch_list_push_front(&list, batches[0]);
    oa_batch_list_push_back(&list, batches[3]);
    for (size_t i = 0, left = 10; i < 4; left -= ++i) {
        assert_int_equal(list.record_count, left);
        assert_ptr_equal(oa_batch_list_pop(&list), batches[i]);
        oa_batch_free(batches[i]);
    }
    assert_int_equal(list.record_count, 0);
    assert_null(oa_batch_list_pop(&list));
    assert_null(list.last);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_empty_queue_has_nothing),
        TEST(memory_is_kept_for_reuse_but_not_all_of_it),
        TEST(all_parts_of_a_record_are_copied),
        TEST(records_of_one_user_are_recognized),
        TEST(order_is_kept_against_a_model),
        TEST(the_limit_is_never_exceeded),
        TEST(a_refused_record_leaves_no_trace),
        TEST(a_record_moves_to_another_queue),
        TEST(a_batch_is_split_in_order),
        TEST(a_filter_closes_the_ranks),
        TEST(a_list_of_batches_counts_its_records),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
