/*
 * Segments of a journal: what is read back, of any part of the bytes and of damaged ones.
 */
#include "segment.h"

#include <stdio.h>
#include <stdlib.h>

#include "support.h"

enum { SMALL_BYTES = OA_SEGMENT_HEAD_BYTES + 4 * OA_SEGMENT_PAGE_BYTES };

static oa_crc32 crc;

static const oa_segment_head HEAD = {
    .owner = "owner 4567890123",
    .boot = "boot 56789012345",
    .number = 7,
    .salt = 0x1122334455667788,
    .created_ms = 1000,
};

static int set_up(void **state) {
    (void)state;
    oa_crc32_init(&crc);
    return 0;
}

static char *new_bytes(size_t size) {
    char *bytes = aligned_alloc(OA_SEGMENT_PAGE_BYTES, size);
    assert_non_null(bytes);
    memset(bytes, 0, size);
    return bytes;
}

static char *begun(oa_segment *segment, size_t size) {
    char *bytes = new_bytes(size);
    oa_segment_begin(segment, &crc, bytes, size, &HEAD);
    return bytes;
}

/* An entry that `number` alone determines: its kind, which strings it has, how long they are. */
static oa_entry entry_of(uint32_t number, const char *text) {
    uint64_t seed = number;
    oa_entry entry = {
        .kind = (oa_entry_kind)(1 + draw_below(&seed, 3)),
        .enabled = draw_below(&seed, 2) == 1,
        .rendered = draw_below(&seed, 2) == 1,
        .property_only = draw_below(&seed, 2) == 1,
        .recheck = draw_below(&seed, 2) == 1,
        .variant = number / 2,
        .occurrence = {number + 1, number + 2},
        .time_ms = 1000 + number,
    };
    for (size_t i = 0; i < OA_ENTRY_STRINGS; i++) {
        if (draw_below(&seed, 2) == 1)
            continue;
        const size_t longest = draw_below(&seed, 40) == 0 ? 6000 : 40;
        entry.strings[i] = (oa_str){text, draw_below(&seed, longest)};
    }
    return entry;
}

static const char *long_text(void) {
    static char text[8192];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i % 26);
    return text;
}

static void assert_same_entry(const oa_entry *a, const oa_entry *b) {
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->index, b->index);
    assert_int_equal(a->enabled, b->enabled);
    assert_int_equal(a->rendered, b->rendered);
    assert_int_equal(a->property_only, b->property_only);
    assert_int_equal(a->recheck, b->recheck);
    assert_int_equal(a->variant, b->variant);
    assert_int_equal(a->occurrence.window, b->occurrence.window);
    assert_int_equal(a->occurrence.turn, b->occurrence.turn);
    assert_int_equal(a->time_ms, b->time_ms);
    for (size_t i = 0; i < OA_ENTRY_STRINGS; i++) {
        assert_int_equal(a->strings[i].data == NULL, b->strings[i].data == NULL);
        assert_int_equal(a->strings[i].len, b->strings[i].len);
        assert_true(a->strings[i].len == 0 ||
                    memcmp(a->strings[i].data, b->strings[i].data, a->strings[i].len) == 0);
    }
}

/* Append entries 0, 1, 2, ... until no room is left; return their number. */
static uint32_t fill(oa_segment *segment) {
    for (uint32_t number = 0;; number++) {
        oa_entry entry = entry_of(number, long_text());
        if (oa_segment_append(segment, &crc, &entry) != OA_OK)
            return number;
        assert_int_equal(entry.index, number);
    }
}

static oa_segment_reader reader_of(const char *bytes, size_t size) {
    oa_segment_reader reader;
    oa_segment_head head;
    assert_int_equal(oa_segment_open(&reader, &crc, bytes, size, &head), OA_SEGMENT_READABLE);
    assert_memory_equal(&head, &HEAD, sizeof(head));
    return reader;
}

/* Read all that is whole, compare it with what was written, and return how many there are. */
static uint32_t read_all(oa_segment_reader *reader) {
    uint32_t count = 0;
    oa_entry entry;
    while (oa_segment_next(reader, &entry)) {
        oa_entry written = entry_of(entry.index, long_text());
        written.index = entry.index;
        assert_same_entry(&entry, &written);
        count++;
    }
    return count;
}

static void what_is_appended_is_read(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, OA_SEGMENT_BYTES);
    const uint32_t count = fill(&segment);
    assert_true(count > 2000);
    oa_segment_reader reader = reader_of(bytes, OA_SEGMENT_BYTES);
    assert_int_equal(read_all(&reader), count);
    assert_int_equal(reader.missing, 0);
    free(bytes);
}

static void a_usual_decision_takes_64_bytes(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, OA_SEGMENT_BYTES);
    oa_entry entry = {.kind = OA_ENTRY_DECISION, .strings = {{"user-45678901234567", 19}}};
    uint32_t count = 0;
    while (oa_segment_append(&segment, &crc, &entry) == OA_OK)
        count++;
    assert_int_equal(count, (OA_SEGMENT_BYTES - OA_SEGMENT_HEAD_BYTES) / 64);
    free(bytes);
}

static void an_entry_of_any_length_has_a_segment(void **state) {
    (void)state;
    static const size_t lengths[] = {0, 1, 4000, 4096, 1000000, 1040384, 1048576, 3000000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        char *text = calloc(1, lengths[i] + 1);
        const size_t size = oa_segment_size_for(lengths[i]);
        assert_int_equal(size % OA_SEGMENT_PAGE_BYTES, 0);
        oa_segment segment;
        char *bytes = begun(&segment, size);
        oa_entry entry = {.kind = OA_ENTRY_TRACKED, .strings = {{text, lengths[i]}}}, out;
        assert_int_equal(oa_segment_append(&segment, &crc, &entry), OA_OK);
        oa_segment_reader reader = reader_of(bytes, size);
        assert_true(oa_segment_next(&reader, &out));
        assert_same_entry(&entry, &out);
        free(bytes);
        free(text);
    }
}

static void a_segment_of_tiny_entries_ends_with_its_bits(void **state) {
    (void)state;
    const size_t size = OA_SEGMENT_HEAD_BYTES + 64 * (OA_SEGMENT_MAX_ENTRIES + 1024);
    oa_segment segment;
    char *bytes = begun(&segment, size);
    oa_entry entry = {.kind = OA_ENTRY_DECISION};
    uint32_t count = 0;
    while (oa_segment_append(&segment, &crc, &entry) == OA_OK)
        count++;
    assert_int_equal(count, OA_SEGMENT_MAX_ENTRIES);
    free(bytes);
}

/* A process that is killed leaves its bytes as they were at some moment. */
static void every_prefix_is_read(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, SMALL_BYTES);
    const uint32_t count = fill(&segment);
    uint32_t before = 0;
    for (size_t len = 0; len <= SMALL_BYTES; len++) {
        char *part = new_bytes(SMALL_BYTES);
        memcpy(part, bytes, len);
        oa_segment_reader reader;
        oa_segment_head head;
        if (oa_segment_open(&reader, &crc, part, SMALL_BYTES, &head) == OA_SEGMENT_READABLE) {
            assert_true(len >= 84);
            const uint32_t whole = read_all(&reader);
            assert_true(whole == before || whole == before + 1);
            assert_int_equal(reader.missing, 0);
            before = whole;
        }
        free(part);
    }
    assert_int_equal(before, count);
    free(bytes);
}

/* The same, where the file itself is cut. */
static void every_shorter_file_is_read(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, SMALL_BYTES);
    fill(&segment);
    for (size_t size = 0; size <= SMALL_BYTES; size += 8) {
        char *part = malloc(size > 0 ? size : 1); /* of its own size, for AddressSanitizer */
        assert_non_null(part);
        memcpy(part, bytes, size);
        oa_segment_reader reader;
        oa_segment_head head;
        if (oa_segment_open(&reader, &crc, part, size, &head) == OA_SEGMENT_READABLE)
            read_all(&reader);
        else
            assert_true(size < OA_SEGMENT_HEAD_BYTES);
        free(part);
    }
    free(bytes);
}

static void every_damaged_byte_costs_one_entry(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, SMALL_BYTES);
    const uint32_t count = fill(&segment);
    uint32_t lost = 0;
    for (size_t at = OA_SEGMENT_HEAD_BYTES; at < SMALL_BYTES; at++) {
        static const unsigned char flips[] = {0xff, 0x01, 0x80};
        for (size_t i = 0; i < sizeof(flips); i++) {
            bytes[at] = (char)(bytes[at] ^ flips[i]);
            oa_segment_reader reader = reader_of(bytes, SMALL_BYTES);
            const uint32_t whole = read_all(&reader);
            assert_true(whole == count || whole == count - 1);
            /* The last one of all is missed by nobody. */
            assert_true(reader.missing == count - whole || reader.next_index == count - 1);
            lost += count - whole;
            bytes[at] = (char)(bytes[at] ^ flips[i]);
        }
    }
    assert_true(lost > SMALL_BYTES);
    free(bytes);
}

static void a_damaged_head_is_nobodys(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, SMALL_BYTES);
    for (size_t at = 0; at < 84; at++) {
        oa_segment_reader reader;
        oa_segment_head head;
        bytes[at] ^= 0x40;
        assert_int_not_equal(oa_segment_open(&reader, &crc, bytes, SMALL_BYTES, &head),
                             OA_SEGMENT_READABLE);
        bytes[at] ^= 0x40;
    }
    reader_of(bytes, SMALL_BYTES);
    free(bytes);
}

static void another_machine_and_another_version_are_told(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, SMALL_BYTES);
    oa_segment_reader reader;
    oa_segment_head head;
    uint32_t *order = (uint32_t *)(void *)(bytes + 8), *version = order + 1;
    *version += 1;
    assert_int_equal(oa_segment_open(&reader, &crc, bytes, SMALL_BYTES, &head),
                     OA_SEGMENT_OTHER_VERSION);
    *version -= 1;
    *order = __builtin_bswap32(*order);
    assert_int_equal(oa_segment_open(&reader, &crc, bytes, SMALL_BYTES, &head),
                     OA_SEGMENT_OTHER_ORDER);
    free(bytes);
}

/* After a power failure any page may be the one of before. */
static void every_page_may_be_missing(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, SMALL_BYTES);
    const uint32_t count = fill(&segment);
    uint32_t lost = 0;
    for (size_t at = OA_SEGMENT_HEAD_BYTES; at < SMALL_BYTES; at += OA_SEGMENT_PAGE_BYTES) {
        char *part = new_bytes(SMALL_BYTES);
        memcpy(part, bytes, SMALL_BYTES);
        memset(part + at, 0, OA_SEGMENT_PAGE_BYTES);
        oa_segment_reader reader = reader_of(part, SMALL_BYTES);
        const uint32_t whole = read_all(&reader);
        lost += count - whole;
        assert_int_equal(reader.next_index - reader.missing, whole);
        free(part);
    }
    assert_in_range(lost, count - 1, count); /* a page costs its own entries */
    free(bytes);
}

/* Entries of an earlier use of the file are whole, and have another salt. */
static void what_an_earlier_use_left_is_not_read(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, SMALL_BYTES);
    assert_true(fill(&segment) > 10);
    oa_segment_set_bit((unsigned char *)bytes + oa_segment_settled_at(), 2);
    oa_segment_head next = HEAD;
    next.number++;
    next.salt++;
    oa_segment_begin(&segment, &crc, bytes, SMALL_BYTES, &next);
    oa_segment_reader reader;
    oa_segment_head head;
    for (uint32_t count = 0; count < 3; count++) {
        assert_int_equal(oa_segment_open(&reader, &crc, bytes, SMALL_BYTES, &head),
                         OA_SEGMENT_READABLE);
        assert_false(oa_segment_is_settled(&reader, 2));
        assert_int_equal(read_all(&reader), count);
        assert_int_equal(reader.missing, 0);
        oa_entry entry = entry_of(count, long_text());
        assert_int_equal(oa_segment_append(&segment, &crc, &entry), OA_OK);
    }
    free(bytes);
}

/* A user cannot write an entry: the salt is not known outside. */
static void an_entry_within_a_string_is_none(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, SMALL_BYTES);
    oa_entry inner = {.kind = OA_ENTRY_DECISION, .strings = {{"mallory", 7}}};
    oa_segment other;
    char *forged = new_bytes(SMALL_BYTES);
    oa_segment_head head = HEAD;
    head.salt = 0; /* the best guess */
    oa_segment_begin(&other, &crc, forged, SMALL_BYTES, &head);
    for (int i = 0; i < 40; i++)
        assert_int_equal(oa_segment_append(&other, &crc, &inner), OA_OK);
    for (size_t shift = 0; shift < 8; shift++) {
        oa_entry entry = {.kind = OA_ENTRY_TRACKED,
                          .strings = {{forged + OA_SEGMENT_HEAD_BYTES - shift, 1600}}};
        assert_int_equal(oa_segment_append(&segment, &crc, &entry), OA_OK);
    }
    bytes[OA_SEGMENT_HEAD_BYTES] ^= 1; /* so that it is searched */
    oa_segment_reader reader = reader_of(bytes, SMALL_BYTES);
    oa_entry entry;
    for (uint32_t index = 1; index < 8; index++) {
        assert_true(oa_segment_next(&reader, &entry));
        assert_int_equal(entry.index, index);
    }
    assert_false(oa_segment_next(&reader, &entry));
    assert_int_equal(reader.missing, 1);
    free(forged);
    free(bytes);
}

static void a_settled_entry_is_known(void **state) {
    (void)state;
    oa_segment segment;
    char *bytes = begun(&segment, SMALL_BYTES);
    const uint32_t count = fill(&segment);
    for (uint32_t index = 0; index < count; index += 3)
        oa_segment_set_bit((unsigned char *)bytes + oa_segment_settled_at(), index);
    oa_segment_reader reader = reader_of(bytes, SMALL_BYTES);
    for (uint32_t index = 0; index < count; index++)
        assert_int_equal(oa_segment_is_settled(&reader, index), index % 3 == 0);
    assert_false(oa_segment_is_settled(&reader, UINT32_MAX));
    assert_int_equal(read_all(&reader), count);
    free(bytes);
}

static void the_mark_of_a_key_is_its_own(void **state) {
    (void)state;
    const uint64_t mark = oa_segment_key_mark((oa_str){"key", 3});
    assert_int_equal(mark, oa_segment_key_mark((oa_str){"key", 3}));
    assert_int_not_equal(mark, oa_segment_key_mark((oa_str){"kez", 3}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_is_read),
        cmocka_unit_test(a_usual_decision_takes_64_bytes),
        cmocka_unit_test(an_entry_of_any_length_has_a_segment),
        cmocka_unit_test(a_segment_of_tiny_entries_ends_with_its_bits),
        cmocka_unit_test(every_prefix_is_read),
        cmocka_unit_test(every_shorter_file_is_read),
        cmocka_unit_test(every_damaged_byte_costs_one_entry),
        cmocka_unit_test(a_damaged_head_is_nobodys),
        cmocka_unit_test(another_machine_and_another_version_are_told),
        cmocka_unit_test(every_page_may_be_missing),
        cmocka_unit_test(what_an_earlier_use_left_is_not_read),
        cmocka_unit_test(an_entry_within_a_string_is_none),
        cmocka_unit_test(a_settled_entry_is_known),
        cmocka_unit_test(the_mark_of_a_key_is_its_own),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
