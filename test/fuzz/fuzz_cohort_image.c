/*
 * fuzz_cohort_image.c: images of tables from anywhere.
 *
 * The input is an image. It is opened as it is, and once more with its length, the mark of the
 * key and the checksum made right, as somebody would who has the key. Whatever it is, look-ups and a merge stay
 * within it, and the merged table is sound.
 */
#include <stdlib.h>
#include <string.h>

#include "cohort_table.h"
#include "hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { AT_CHECKSUM = 8, AT_KEY = 16, AT_VERSION = 24, AT_LENGTH = 32, HEAD_BYTES = 64 };

static oa_hash_key key;

static void check(bool condition) {
    if (!condition)
        abort();
}

static void store(char *at, uint64_t value) {
    for (int i = 0; i < 8; i++)
        at[i] = (char)(value >> 8 * i);
}

static void look_up(const oa_cohort_table *table) {
    uint64_t print = 1;
    for (int i = 0; i < 64; i++, print = print * 3 + (uint64_t)i) {
        oa_cohort_set set;
        oa_cohort_table_find(table, print & ((UINT64_C(1) << OA_COHORT_PRINT_BITS) - 1), &set);
    }
    for (size_t i = 0; i < oa_cohort_table_cohorts(table); i++)
        check(oa_cohort_table_info(table, i)->name.len <= OA_COHORT_NAME_BYTES);
}

static void use(oa_str image) {
    oa_cohort_table *table = NULL, *merged = NULL, *opened = NULL;
    if (oa_cohort_table_open(&key, image, &table) != OA_OK)
        return;
    look_up(table);
    const oa_str names[] = {{"a", 1}, oa_cohort_table_info(table, 0)->name, {"b", 1}};
    const oa_cohort_plan plan = {.key = &key, .names = names, .name_count = 3};
    check(oa_cohort_merge(&plan, table, NULL, &merged) == OA_OK);
    look_up(merged);
    check(oa_cohort_table_users(merged) <= oa_cohort_table_users(table));
    check(oa_cohort_table_open(&key, oa_cohort_table_image(merged), &opened) == OA_OK);
    oa_cohort_table_free(opened);
    oa_cohort_table_free(merged);
    oa_cohort_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    oa_cohort_key_init(&key, (oa_str){"key", 3});
    char *image = malloc(size > 0 ? size : 1); /* of its own size, for AddressSanitizer */
    check(image != NULL);
    if (size > 0)
        memcpy(image, data, size);
    use((oa_str){image, size});
    if (size >= HEAD_BYTES) {
        store(image + AT_LENGTH, size);
        store(image + AT_KEY, oa_hash_bytes(&key, "image of a cohort table", 23).high);
        store(image + AT_CHECKSUM, oa_hash_bytes(&key, image + AT_KEY, size - AT_KEY).low);
        use((oa_str){image, size});
    }
    free(image);
    return 0;
}
