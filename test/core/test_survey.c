/*
 * A survey of segments: what is counted, which users are listed, and what damage does to it.
 */
#include "survey.h"

#include <stdio.h>
#include <stdlib.h>

#include "mem.h"
#include "support.h"

enum { SIZE = OA_SEGMENT_HEAD_BYTES + 64 * OA_SEGMENT_PAGE_BYTES };

static oa_crc32 crc;

/* A segment that is being written. */
typedef struct page {
    char *bytes;
    oa_segment segment;
} page;

static int set_up(void **state) {
    (void)state;
    oa_crc32_init(&crc);
    return 0;
}

static page begin(void) {
    page made = {.bytes = must(aligned_alloc(OA_SEGMENT_PAGE_BYTES, SIZE))};
    memset(made.bytes, 0, SIZE);
    const oa_segment_head head = {.number = 3, .key_mark = 9, .salt = 5, .created_ms = 1000};
    oa_segment_begin(&made.segment, &crc, made.bytes, SIZE, &head);
    return made;
}

static uint32_t add(page *to, oa_entry entry) {
    assert_int_equal(oa_segment_append(&to->segment, &crc, &entry), OA_OK);
    return entry.index;
}

static uint32_t add_variant(page *to, const char *flag, const char *variation, bool enabled) {
    return add(to, (oa_entry){.kind = OA_ENTRY_VARIANT,
                              .enabled = enabled,
                              .strings = {str(flag), str(variation)}});
}

static uint32_t add_decision(page *to, uint32_t variant, const char *user, int64_t time_ms) {
    return add(to, (oa_entry){.kind = OA_ENTRY_DECISION,
                              .variant = variant,
                              .time_ms = time_ms,
                              .strings = {str(user)}});
}

static uint32_t add_tracked(page *to, const char *user, const char *members) {
    return add(to, (oa_entry){.kind = OA_ENTRY_TRACKED,
                              .time_ms = 50,
                              .strings = {str(user), [OA_ENTRY_EVENT_PROPERTIES] = str(members)}});
}

static void settle_entry(page *in, uint32_t index) {
    oa_segment_set_bit((unsigned char *)in->bytes + oa_segment_settled_at(), index);
}

static oa_survey *new_survey(const char *flag, size_t most_users) {
    oa_survey *survey = NULL;
    assert_int_equal(oa_survey_new(str(flag), most_users, &survey), OA_OK);
    return survey;
}

static oa_survey_counts read_bytes(oa_survey *survey, const char *bytes, size_t size) {
    oa_segment_state state;
    oa_segment_head head;
    oa_survey_counts counts = {0};
    assert_int_equal(oa_survey_read(survey, bytes, size, &state, &head, &counts), OA_OK);
    assert_int_equal(state, OA_SEGMENT_READABLE);
    assert_int_equal(head.key_mark, 9);
    return counts;
}

static oa_survey_result result_of(const oa_survey *survey) {
    oa_survey_result result;
    oa_survey_result_get(survey, &result);
    return result;
}

static void assert_text(oa_str text, const char *expected) {
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.data, expected, text.len);
}

static void counts_what_is_pending(void **state) {
    (void)state;
    page one = begin(), two = begin();
    const uint32_t on = add_variant(&one, "checkout", "one_page", true);
    const uint32_t off = add_variant(&one, "checkout", "control", false);
    const uint32_t none = add_variant(&one, "search", NULL, false);
    add_decision(&one, on, "ann", 300);
    add_decision(&one, on, "ben", 100);
    settle_entry(&one, add_decision(&one, on, "cat", 1));
    add_decision(&one, off, "ann", 200);
    add_decision(&one, none, "ann", 200);
    const uint32_t again = add_variant(&two, "checkout", "one_page", true);
    add_decision(&two, again, "ann", 900);
    add_decision(&two, again, "dan", 800);
    oa_survey *survey = new_survey(NULL, 0);
    const oa_survey_counts first = read_bytes(survey, one.bytes, SIZE);
    const oa_survey_counts second = read_bytes(survey, two.bytes, SIZE);
    assert_int_equal(first.decisions, 4);
    assert_int_equal(first.settled, 1);
    assert_int_equal(first.missing, 0);
    assert_int_equal(first.oldest_ms, 100);
    assert_int_equal(first.newest_ms, 300);
    assert_int_equal(second.decisions, 2);
    assert_int_equal(second.oldest_ms, 800);
    const oa_survey_result result = result_of(survey);
    assert_int_equal(result.subject_count, 2);
    assert_text(result.subjects[0].name, "checkout");
    assert_int_equal(result.subjects[0].pending, 5);
    assert_int_equal(result.subjects[0].users, 3);
    assert_int_equal(result.subjects[1].users, 1);
    assert_int_equal(result.variation_count, 3);
    assert_text(result.variations[0].key, "one_page");
    assert_int_equal(result.variations[0].pending, 4);
    assert_false(result.variations[1].enabled);
    assert_null(result.variations[2].key.data);
    assert_int_equal(result.variations[2].subject, 1);
    assert_int_equal(result.user_count, 0);
    assert_int_equal(result.others, 0);
    assert_false(result.is_at_least);
    oa_survey_free(survey);
    free(one.bytes);
    free(two.bytes);
}

static void lists_the_users_of_a_flag(void **state) {
    (void)state;
    page one = begin();
    const uint32_t on = add_variant(&one, "checkout", "on", true);
    const uint32_t off = add_variant(&one, "checkout", "off", false);
    const uint32_t other = add_variant(&one, "search", "on", true);
    add_decision(&one, other, "zoe", 10);
    add_decision(&one, on, "ann", 10);
    add_decision(&one, off, "ann", 30);
    add_decision(&one, on, "ann", 20);
    add(&one, (oa_entry){.kind = OA_ENTRY_DECISION,
                         .variant = on,
                         .time_ms = 40,
                         .strings = {[OA_ENTRY_DEVICE_ID] = str("tablet")}});
    add_decision(&one, on, "ben", 50);
    oa_survey *survey = new_survey("checkout", 2);
    read_bytes(survey, one.bytes, SIZE);
    const oa_survey_result result = result_of(survey);
    assert_int_equal(result.subjects[0].users, 3);
    assert_int_equal(result.user_count, 2); /* as many as were asked for */
    assert_text(result.users[0].user_id, "ann");
    assert_null(result.users[0].device_id.data);
    assert_int_equal(result.users[0].pending, 3);
    assert_int_equal(result.users[0].time_ms, 30);
    assert_text(result.variations[result.users[0].variation].key, "off");
    assert_null(result.users[1].user_id.data);
    assert_text(result.users[1].device_id, "tablet");
    oa_survey_free(survey);
    free(one.bytes);
}

static void tells_events_by_their_type(void **state) {
    (void)state;
    page one = begin();
    add_tracked(&one, "ann", "\"time\":1,\"event_type\":\"$identify\",\"user_properties\":{}");
    add_tracked(&one, "ben", "\"event_type\":\"$identify\"");
    /* Neither a property of that name, nor a value that looks like it. */
    add_tracked(&one, "ann",
                "\"event_properties\":{\"event_type\":\"no\",\"a\":[\"\\\",\\\"event_type\\\":\"]},"
                "\"event_type\":\"a \\\"b\\\"\"");
    add_tracked(&one, "ann", "\"event_type\":\"cut");
    add_tracked(&one, "ann", "\"event_type\\");
    add_tracked(&one, "ann", "\"time\":1");
    add_tracked(&one, "ann", NULL);
    oa_survey *survey = new_survey(NULL, 0);
    const oa_survey_counts counts = read_bytes(survey, one.bytes, SIZE);
    assert_int_equal(counts.tracked, 7);
    assert_int_equal(counts.decisions, 0);
    assert_int_equal(counts.oldest_ms, 50);
    const oa_survey_result result = result_of(survey);
    assert_int_equal(result.subject_count, 5);
    assert_text(result.subjects[0].name, "$identify");
    assert_true(result.subjects[0].is_tracked);
    assert_int_equal(result.subjects[0].pending, 2);
    assert_text(result.subjects[1].name, "a \\\"b\\\"");
    assert_text(result.subjects[2].name, "cut");
    assert_text(result.subjects[3].name, "");
    assert_null(result.subjects[4].name.data);
    oa_survey_free(survey);
    free(one.bytes);
}

static void counts_repeats_apart(void **state) {
    (void)state;
    page one = begin();
    const uint32_t on = add_variant(&one, "checkout", "on", true);
    add(&one, (oa_entry){.kind = OA_ENTRY_DECISION,
                         .variant = on,
                         .recheck = true,
                         .time_ms = 5,
                         .strings = {str("ann")}});
    oa_survey *survey = new_survey(NULL, 0);
    const oa_survey_counts counts = read_bytes(survey, one.bytes, SIZE);
    assert_int_equal(counts.repeats, 1);
    assert_int_equal(counts.decisions, 0);
    assert_int_equal(counts.oldest_ms, 0);
    oa_survey_free(survey);
    free(one.bytes);
}

static void has_bounds(void **state) {
    (void)state;
    oa_survey *survey = new_survey(NULL, 0);
    uint64_t total = 0;
    for (int number = 0; number < 5; number++) {
        page one = begin();
        char flag[40];
        for (int i = 0; i < 1000; i++) {
            snprintf(flag, sizeof(flag), "flag-%d-%d", number, i);
            add_decision(&one, add_variant(&one, flag, "on", true), "ann", 1);
        }
        total += read_bytes(survey, one.bytes, SIZE).decisions;
        free(one.bytes);
    }
    const oa_survey_result result = result_of(survey);
    assert_int_equal(total, 5000);
    assert_int_equal(result.subject_count, OA_SURVEY_MOST_SUBJECTS);
    assert_int_equal(result.others, 5000 - OA_SURVEY_MOST_SUBJECTS);
    oa_survey_free(survey);
}

/* Whatever is damaged, the counts add up: what was written is pending, settled or missing. */
static void survives_every_damaged_byte(void **state) {
    (void)state;
    enum { DECISIONS = 40 };
    page one = begin();
    char user[20];
    uint32_t on = add_variant(&one, "checkout", "on", true);
    for (int i = 0; i < DECISIONS; i++) {
        snprintf(user, sizeof(user), "user-%d", i);
        add_decision(&one, on, user, i);
    }
    const size_t end = one.segment.at;
    char *copy = must(malloc(SIZE));
    for (size_t at = 0; at < end; at++) {
        memcpy(copy, one.bytes, SIZE);
        copy[at] = (char)~copy[at];
        oa_survey *survey = new_survey("checkout", 10);
        oa_segment_state is;
        oa_segment_head head;
        oa_survey_counts counts = {0};
        assert_int_equal(oa_survey_read(survey, copy, SIZE, &is, &head, &counts), OA_OK);
        const uint64_t all = counts.decisions + counts.settled + counts.missing;
        if (at < 88) /* of the head */
            assert_true(is != OA_SEGMENT_READABLE || all == DECISIONS);
        else /* the last one has none behind it that would tell that it is missing */
            assert_true(all >= DECISIONS - 1 && all <= DECISIONS + 1);
        oa_survey_free(survey);
    }
    /* And wherever it ends. */
    for (size_t size = 0; size < end; size++) {
        char *cut = must(malloc(size + 1)); /* of its own size, for AddressSanitizer */
        memcpy(cut, one.bytes, size);
        oa_survey *survey = new_survey("checkout", 10);
        oa_segment_state is;
        oa_segment_head head;
        oa_survey_counts counts = {0};
        assert_int_equal(oa_survey_read(survey, cut, size, &is, &head, &counts), OA_OK);
        assert_true(counts.decisions <= DECISIONS);
        oa_survey_free(survey);
        free(cut);
    }
    free(copy);
    free(one.bytes);
}

static void tells_other_files(void **state) {
    (void)state;
    page one = begin();
    oa_survey *survey = new_survey(NULL, 0);
    oa_segment_state is;
    oa_segment_head head;
    oa_survey_counts counts;
    one.bytes[12]++; /* the version */
    assert_int_equal(oa_survey_read(survey, one.bytes, SIZE, &is, &head, &counts), OA_OK);
    assert_int_equal(is, OA_SEGMENT_OTHER_VERSION);
    memcpy(one.bytes + 8, "\1\2\3\4", 4);
    assert_int_equal(oa_survey_read(survey, one.bytes, SIZE, &is, &head, &counts), OA_OK);
    assert_int_equal(is, OA_SEGMENT_OTHER_ORDER);
    oa_survey_free(survey);
    free(one.bytes);
}

static int allocations_left;

static bool allow(size_t size) {
    (void)size;
    return allocations_left-- > 0;
}

static void runs_out_of_memory(void **state) {
    (void)state;
    page one = begin();
    char user[20];
    const uint32_t on = add_variant(&one, "checkout", "on", true);
    for (int i = 0; i < 100; i++) {
        snprintf(user, sizeof(user), "user-%d", i);
        add_decision(&one, on, user, i);
    }
    oa_status status = OA_NOMEM;
    int tries = 0;
    for (; status != OA_OK; tries++) {
        allocations_left = tries;
        oa_mem_set_gate(allow);
        oa_survey *survey = NULL;
        status = oa_survey_new(str("checkout"), 50, &survey);
        oa_segment_state is;
        oa_segment_head head;
        oa_survey_counts counts;
        if (status == OA_OK)
            status = oa_survey_read(survey, one.bytes, SIZE, &is, &head, &counts);
        oa_mem_set_gate(NULL);
        if (status == OA_OK && result_of(survey).is_at_least)
            status = OA_NOMEM; /* users are not told apart without memory, and it says so */
        oa_survey_free(survey);
    }
    assert_true(tries > 50);
    free(one.bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_is_pending),
        cmocka_unit_test(lists_the_users_of_a_flag),
        cmocka_unit_test(tells_events_by_their_type),
        cmocka_unit_test(counts_repeats_apart),
        cmocka_unit_test(has_bounds),
        cmocka_unit_test(survives_every_damaged_byte),
        cmocka_unit_test(tells_other_files),
        cmocka_unit_test(runs_out_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
