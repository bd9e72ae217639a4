/*
 * Images of tables: written by one process, read by others, and damaged on the way.
 */
#include "cohort_table.h"
#include "hash.h"
#include "support_cohort.h"

enum {
    AT_CHECKSUM = 8,
    AT_KEY = 16,
    AT_VERSION = 24,
    AT_USERS = 40,
    AT_SHAPE = 48,
    MAX_BYTES = 16384
};

static oa_cohort_table *small_table(size_t cohorts) {
    const oa_cohort_plan first = plan_of(cohorts, 0), last = plan_of(cohorts, cohorts - 1);
    oa_cohort_table *one = table_with(&first, NULL, NULL, 0, 60, 1, NULL);
    oa_cohort_table *table = table_with(&last, one, NULL, 0, 60, 2, NULL);
    oa_cohort_table_free(one);
    return table;
}

/* A copy of an image in memory of just its size, so that a sanitizer sees what is read beyond it. */
static oa_str copy_of(oa_str image) {
    char *bytes = must(malloc(image.len));
    memcpy(bytes, image.data, image.len);
    return (oa_str){bytes, image.len};
}

static void an_image_is_read_where_it_is(void **state) {
    (void)state;
    static const size_t counts[] = {1, 2, 8, 9, 70, OA_COHORT_MAX};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        oa_cohort_table *table = small_table(counts[i]), *opened = NULL;
        const oa_str image = oa_cohort_table_image(table);
        for (size_t shift = 0; shift < 8; shift++) { /* wherever it begins */
            char *bytes = must(malloc(image.len + shift));
            memcpy(bytes + shift, image.data, image.len);
            const oa_str moved = {bytes + shift, image.len};
            assert_int_equal(oa_cohort_table_open(cohort_key(), moved, &opened), OA_OK);
            assert_ptr_equal(oa_cohort_table_image(opened).data, moved.data);
            assert_int_equal(oa_cohort_table_users(opened), oa_cohort_table_users(table));
            assert_int_equal(oa_cohort_table_cohorts(opened), counts[i]);
            for (size_t c = 0; c < counts[i]; c++) {
                const oa_cohort_info *a = oa_cohort_table_info(table, c);
                const oa_cohort_info *b = oa_cohort_table_info(opened, c);
                assert_int_equal(a->members, b->members);
                assert_int_equal(a->fetched_ms, b->fetched_ms);
                assert_int_equal(a->is_loaded, b->is_loaded);
                assert_int_equal(a->name.len, b->name.len);
                assert_memory_equal(a->name.data, b->name.data, a->name.len);
            }
            for (uint64_t user = 0; user < 200; user++) {
                oa_cohort_set a, b;
                oa_cohort_table_find(table, print_of(user), &a);
                oa_cohort_table_find(opened, print_of(user), &b);
                assert_memory_equal(&a, &b, sizeof(a));
            }
            oa_cohort_table_free(opened);
            free(bytes);
        }
        oa_cohort_table_free(table);
    }
}

static void every_damage_is_noticed(void **state) {
    (void)state;
    oa_cohort_table *table = small_table(9), *opened = NULL;
    const oa_str image = oa_cohort_table_image(table);
    for (size_t len = 0; len < image.len; len++) {
        const oa_str cut = copy_of((oa_str){image.data, len});
        assert_int_equal(oa_cohort_table_open(cohort_key(), cut, &opened), OA_MALFORMED);
        free((char *)cut.data);
    }
    oa_str bytes = copy_of(image);
    for (size_t at = 0; at < image.len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            ((char *)bytes.data)[at] ^= (char)(1 << bit);
            const bool is_foreign = at >= AT_KEY && at < AT_VERSION + 4;
            assert_int_equal(oa_cohort_table_open(cohort_key(), bytes, &opened),
                             is_foreign ? OA_FOREIGN : OA_MALFORMED);
            ((char *)bytes.data)[at] ^= (char)(1 << bit);
        }
    }
    assert_int_equal(oa_cohort_table_open(cohort_key(), bytes, &opened), OA_OK);
    oa_cohort_table_free(opened);
    opened = NULL;
    char *longer = must(calloc(1, image.len + 1));
    memcpy(longer, image.data, image.len);
    assert_int_equal(oa_cohort_table_open(cohort_key(), (oa_str){longer, image.len + 1}, &opened),
                     OA_MALFORMED);
    assert_null(opened);
    free(longer);
    free((char *)bytes.data);
    oa_cohort_table_free(table);
}

static void the_image_of_another_key_is_refused(void **state) {
    (void)state;
    oa_hash_key other;
    oa_cohort_key_init(&other, str("another secret"));
    oa_cohort_table *table = small_table(2), *opened = NULL;
    assert_int_equal(oa_cohort_table_open(&other, oa_cohort_table_image(table), &opened),
                     OA_FOREIGN);
    assert_null(opened);
    oa_cohort_table_free(table);
}

/* Make the checksum right again. */
static void sign(char *image, size_t len) {
    const uint64_t sum = oa_hash_bytes(cohort_key(), image + AT_KEY, len - AT_KEY).low;
    for (int i = 0; i < 8; i++)
        image[AT_CHECKSUM + i] = (char)(sum >> 8 * i);
}

/*
 * Use a table as far as its image allows: look up, and merge. Any answer is fine, reading and
 * writing outside of it is not, which the sanitizers notice.
 */
static void use(oa_str image) {
    oa_cohort_table *table = NULL, *merged = NULL;
    if (oa_cohort_table_open(cohort_key(), image, &table) != OA_OK)
        return;
    oa_cohort_set set;
    for (uint64_t user = 0; user < 100; user++)
        oa_cohort_table_find(table, print_of(user), &set);
    oa_cohort_table_find(table, 0, &set);
    oa_cohort_table_find(table, (UINT64_C(1) << OA_COHORT_PRINT_BITS) - 1, &set);
    const oa_cohort_plan plan = plan_of(OA_COHORT_MAX, 0);
    assert_int_equal(oa_cohort_merge(&plan, table, NULL, &merged), OA_OK);
    oa_cohort_table_free(merged);
    oa_cohort_table_free(table);
}

static void a_forged_image_does_no_harm(void **state) {
    (void)state;
    static const size_t counts[] = {1, 9, 70};
    uint64_t seed = 11;
    for (size_t i = 0; i < 3; i++) {
        oa_cohort_table *table = small_table(counts[i]);
        const oa_str image = oa_cohort_table_image(table);
        for (size_t at = AT_VERSION; at < image.len; at++) {
            const oa_str bytes = copy_of(image);
            for (int value = 0; value < 4; value++) {
                static const unsigned char values[] = {0, 1, 0x7f, 0xff};
                ((char *)bytes.data)[at] = (char)values[value];
                sign((char *)bytes.data, image.len);
                use(bytes);
            }
            free((char *)bytes.data);
        }
        for (int round = 0; round < 2000; round++) {
            const oa_str bytes = copy_of(image);
            for (size_t n = draw_below(&seed, 20); n > 0; n--)
                ((char *)bytes.data)[draw_below(&seed, image.len)] = (char)draw(&seed);
            memcpy((char *)bytes.data, image.data, AT_VERSION + 4);
            sign((char *)bytes.data, image.len);
            use(bytes);
            free((char *)bytes.data);
        }
        oa_cohort_table_free(table);
    }
}

/* A file that another process damages while it is mapped. */
static void a_table_that_is_damaged_while_it_is_open_does_no_harm(void **state) {
    (void)state;
    oa_cohort_table *table = small_table(9);
    const oa_str image = oa_cohort_table_image(table);
    uint64_t seed = 13;
    for (int round = 0; round < 1000; round++) {
        const oa_str bytes = copy_of(image);
        oa_cohort_table *opened = NULL, *merged = NULL;
        assert_int_equal(oa_cohort_table_open(cohort_key(), bytes, &opened), OA_OK);
        const size_t from = draw_below(&seed, image.len);
        memset((char *)bytes.data + from, (int)draw_below(&seed, 256), image.len - from);
        oa_cohort_set set;
        for (uint64_t user = 0; user < 100; user++)
            oa_cohort_table_find(opened, print_of(user), &set);
        const oa_cohort_plan plan = plan_of(3, 0);
        assert_int_equal(oa_cohort_merge(&plan, opened, NULL, &merged), OA_OK);
        oa_cohort_table_free(merged);
        oa_cohort_table_free(opened);
        free((char *)bytes.data);
    }
    oa_cohort_table_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_read_where_it_is),
        cmocka_unit_test(every_damage_is_noticed),
        cmocka_unit_test(the_image_of_another_key_is_refused),
        cmocka_unit_test(a_forged_image_does_no_harm),
        cmocka_unit_test(a_table_that_is_damaged_while_it_is_open_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
