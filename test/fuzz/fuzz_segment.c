/*
 * fuzz_segment.c: files that may be segments of a journal.
 *
 * The input is what stands behind a head; its first two bytes say where the head is damaged. It is
 * read as it is, and once more with the checksums made right, as a bug of ours would. Whatever it
 * is, reading stays within it, ends, and gives entries in ascending order; a survey counts the same.
 */
#include <stdlib.h>
#include <string.h>

#include "segment.h"
#include "survey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SALT = 5, AT_SUM = 4, SUM_FROM = 8, FIXED_BYTES = 36 };

static oa_crc32 crc;

static void check(bool condition) {
    if (!condition)
        abort();
}

/* Have a survey read the same; returns how many entries it saw that are no variants. */
static uint64_t survey_all(const char *bytes, size_t size, uint32_t *missing) {
    oa_survey *survey = NULL;
    oa_survey_counts counts;
    oa_survey_result result;
    oa_segment_state state;
    oa_segment_head head;
    check(oa_survey_new((oa_str){"flag", 4}, 8, &survey) == OA_OK);
    check(oa_survey_read(survey, bytes, size, &state, &head, &counts) == OA_OK);
    check(state == OA_SEGMENT_READABLE);
    oa_survey_result_get(survey, &result);
    uint64_t listed = result.others;
    for (size_t i = 0; i < result.subject_count; i++)
        listed += result.subjects[i].pending;
    check(listed == counts.decisions + counts.tracked);
    *missing = (uint32_t)counts.missing;
    oa_survey_free(survey);
    return counts.decisions + counts.tracked + counts.repeats + counts.settled;
}

static void read_all(const char *bytes, size_t size) {
    oa_segment_reader reader;
    oa_segment_head head;
    if (oa_segment_open(&reader, &crc, bytes, size, &head) != OA_SEGMENT_READABLE)
        return;
    oa_entry entry;
    uint64_t sum = 0;
    uint32_t before = 0, count = 0, variants = 0, missing = 0;
    while (oa_segment_next(&reader, &entry)) {
        check(count == 0 || entry.index > before);
        before = entry.index;
        count++;
        variants += entry.kind == OA_ENTRY_VARIANT;
        oa_segment_is_settled(&reader, entry.index);
        for (size_t i = 0; i < OA_ENTRY_STRINGS; i++)
            for (size_t at = 0; at < entry.strings[i].len; at++)
                sum += (unsigned char)entry.strings[i].data[at];
    }
    check(count + reader.missing == reader.next_index);
    const uint64_t seen = survey_all(bytes, size, &missing);
    check(seen + variants + missing == reader.next_index); /* without its variant, one is missing */
    check(sum < UINT64_MAX);
}

static void make_sums_right(char *bytes, size_t size) {
    const uint64_t salt = SALT;
    for (size_t at = OA_SEGMENT_HEAD_BYTES; at + FIXED_BYTES <= size;) {
        uint32_t length;
        memcpy(&length, bytes + at, sizeof(length));
        if (length < FIXED_BYTES || length > size - at)
            return;
        uint32_t sum = oa_crc32_add(&crc, 0, &salt, sizeof(salt));
        sum = oa_crc32_add(&crc, sum, bytes + at + SUM_FROM, length - SUM_FROM);
        memcpy(bytes + at + AT_SUM, &sum, sizeof(sum));
        at += (length + 7) & ~(size_t)7;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (crc.table[0][1] == 0)
        oa_crc32_init(&crc);
    if (size < 2)
        return 0;
    const size_t total = OA_SEGMENT_HEAD_BYTES + size - 2;
    char *bytes = calloc(1, total); /* of its own size, for AddressSanitizer */
    check(bytes != NULL);
    oa_segment segment;
    const oa_segment_head head = {.number = 1, .salt = SALT};
    oa_segment_begin(&segment, &crc, bytes, total, &head);
    memcpy(bytes + OA_SEGMENT_HEAD_BYTES, data + 2, size - 2);
    bytes[data[0]] = (char)(bytes[data[0]] ^ data[1]);
    read_all(bytes, total);
    make_sums_right(bytes, total);
    read_all(bytes, total);
    free(bytes);
    return 0;
}
