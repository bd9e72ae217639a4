/*
 * fuzz_cohort_changes.c: saved changes from anywhere.
 *
 * The input is opened as it is, and once more with its checksum and its numbers made right, as
 * somebody would who has the key, and with users and cohorts of which there are few. What is accepted answers, takes messages, lists and merges, and
 * comes back from its own bytes with the same answers.
 */
#include <stdlib.h>
#include <string.h>

#include "cohort.h"
#include "hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    COHORTS = 2,
    MAX_CHANGES = 64,
    USERS = 64,
    WORD = 8,
    AT_MAGIC = 0,
    AT_CHECKSUM = 8,
    AT_COHORTS = 16,
    AT_OLD = 24,
    AT_YOUNG = 32,
    HEAD_BYTES = 40,
    TIMES_BYTES = COHORTS * 32,
    NOTE_BYTES = 16,
};

static oa_hash_key key;

static void check(bool condition) {
    if (!condition)
        abort();
}

static void store(char *at, uint64_t value) {
    for (int i = 0; i < WORD; i++)
        at[i] = (char)(value >> 8 * i);
}

static oa_cohort_plan plan_of(const oa_str names[COHORTS]) {
    return (oa_cohort_plan){.key = &key,
                            .names = names,
                            .name_count = COHORTS,
                            .format = OA_COHORT_LINES,
                            .max_members = USERS};
}

static oa_cohort_table *table_of(const oa_cohort_plan *plan, oa_str lines) {
    oa_cohort_build *build = NULL;
    oa_cohort_table *table = NULL;
    oa_cohort_delta delta;
    check(oa_cohort_build_new(plan, &build) == OA_OK);
    check(oa_cohort_build_feed(build, lines) == OA_OK);
    check(oa_cohort_build_end(build) == OA_OK);
    check(oa_cohort_build_finish(build, NULL, NULL, 1, &delta, &table) == OA_OK);
    oa_cohort_build_free(build);
    return table;
}

/* The cohorts of a user: of the table, and of what is in front of it. */
static uint64_t find(const oa_cohort_changes *changes, const oa_cohort_table *table,
                     uint64_t print) {
    oa_cohort_set set = {{0}};
    oa_cohort_table_find(table, print, &set);
    oa_cohort_changes_apply(changes, print, &set);
    return set.words[0];
}

static void answer(const oa_cohort_changes *changes, const oa_cohort_table *table,
                   uint64_t out[USERS]) {
    for (uint64_t print = 0; print < USERS; print++) {
        out[print] = find(changes, table, print);
        check(out[print] < 1 << COHORTS);
    }
}

/* By how much each cohort grows is what the answers say; the table has none of these users. */
static void check_growth(const oa_cohort_changes *changes, const oa_cohort_table *table) {
    int64_t growth[OA_COHORT_MAX];
    uint64_t found[USERS];
    oa_cohort_changes_growth(changes, table, growth);
    answer(changes, table, found);
    for (size_t cohort = 0; cohort < COHORTS; cohort++) {
        for (size_t user = 0; user < USERS; user++)
            growth[cohort] -= (int64_t)(found[user] >> cohort & 1);
        check(growth[cohort] == 0);
    }
}

/* Write changes, and open what was written: it answers alike. */
static void copy(const oa_cohort_changes *changes, const oa_cohort_table *table) {
    uint64_t before[USERS], after[USERS];
    const size_t len = oa_cohort_changes_bytes(changes, COHORTS);
    char *bytes = malloc(len);
    oa_cohort_changes *other = NULL;
    check(bytes != NULL);
    oa_cohort_changes_write(changes, &key, COHORTS, bytes);
    check(oa_cohort_changes_open(&key, (oa_str){bytes, len}, COHORTS, MAX_CHANGES, &other) ==
          OA_OK);
    answer(changes, table, before);
    answer(other, table, after);
    check(memcmp(before, after, sizeof(after)) == 0);
    check(oa_cohort_changes_bytes(other, COHORTS) == len);
    oa_cohort_changes_free(other);
    free(bytes);
}

/* Have a host's life go on: a message, a merge, a list. No answer changes by a merge. */
static void use(oa_cohort_changes *changes) {
    const oa_str names[] = {{"a", 1}, {"b", 1}};
    const oa_cohort_plan plan = plan_of(names);
    const uint64_t prints[] = {1, 2, USERS - 1};
    const oa_cohort_move move = {1, true, 1000, prints, sizeof(prints) / sizeof(prints[0])};
    const oa_cohort_overlay *overlay = NULL;
    uint64_t before[USERS], after[USERS];
    int64_t growth;
    oa_cohort_moved moved;
    bool is_all = false;
    oa_cohort_table *next = NULL, *table = table_of(&plan, (oa_str){"ann\nbob\n", 8});
    copy(changes, table);
    const oa_status status = oa_cohort_changes_put(changes, table, &move, &moved);
    check(status == OA_OK || status == OA_TOO_LARGE);
    check(moved.done <= move.count && moved.late <= moved.done);
    check_growth(changes, table);
    answer(changes, table, before);
    check(oa_cohort_changes_begin_merge(changes, &is_all, &overlay) == OA_OK);
    check(oa_cohort_merge(&plan, table, overlay, &next) == OA_OK);
    oa_cohort_changes_end_merge(changes, true);
    answer(changes, next, after);
    check(memcmp(before, after, sizeof(after)) == 0);
    for (size_t cohort = 0; cohort < COHORTS; cohort++)
        (void)oa_cohort_changes_listed(changes, next, cohort, 500, &growth);
    copy(changes, next);
    oa_cohort_table_free(next);
    oa_cohort_table_free(table);
}

static void open_and_use(oa_str bytes) {
    oa_cohort_changes *changes = NULL;
    if (oa_cohort_changes_open(&key, bytes, COHORTS, MAX_CHANGES, &changes) != OA_OK)
        return;
    use(changes);
    oa_cohort_changes_free(changes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    oa_cohort_key_init(&key, (oa_str){"key", 3});
    char *bytes = malloc(size > 0 ? size : 1); /* of its own size, for AddressSanitizer */
    check(bytes != NULL);
    if (size > 0)
        memcpy(bytes, data, size);
    open_and_use((oa_str){bytes, size});
    if (size >= HEAD_BYTES + TIMES_BYTES) {
        const uint64_t count = (size - HEAD_BYTES - TIMES_BYTES) / NOTE_BYTES;
        const uint64_t old_count = (uint8_t)bytes[AT_OLD] % (count + 1);
        store(bytes + AT_MAGIC, UINT64_C(0x3167686363616f));
        store(bytes + AT_COHORTS, COHORTS);
        store(bytes + AT_OLD, old_count);
        store(bytes + AT_YOUNG, count - old_count);
        const size_t len = HEAD_BYTES + TIMES_BYTES + NOTE_BYTES * (size_t)count;
        for (size_t at = HEAD_BYTES + TIMES_BYTES; at < len; at += NOTE_BYTES)
            store(bytes + at, (uint64_t)((uint8_t)bytes[at] % USERS) << 7 | (bytes[at + 1] & 1));
        store(bytes + AT_CHECKSUM, oa_hash_bytes(&key, bytes + AT_COHORTS, len - AT_COHORTS).low);
        open_and_use((oa_str){bytes, len});
    }
    free(bytes);
    return 0;
}
