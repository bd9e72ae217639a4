#include "support_cohort.h"

oa_cohort_plan plan_of(size_t cohorts, size_t cohort) {
    static char texts[OA_COHORT_MAX][8];
    static oa_str names[OA_COHORT_MAX];
    for (size_t i = 0; i < OA_COHORT_MAX; i++) {
        snprintf(texts[i], sizeof(texts[i]), "c%zu", i);
        names[i] = str(texts[i]);
    }
    return (oa_cohort_plan){.key = cohort_key(),
                            .names = names,
                            .name_count = cohorts,
                            .cohort = cohort,
                            .format = OA_COHORT_LINES};
}

const oa_hash_key *cohort_key(void) {
    static oa_hash_key key;
    oa_cohort_key_init(&key, str("a secret"));
    return &key;
}

static oa_str id_of(uint64_t user) {
    static char text[32];
    snprintf(text, sizeof(text), "user-%llu", (unsigned long long)user);
    return str(text);
}

uint64_t print_of(uint64_t user) {
    static oa_hash_key key;
    static bool has_key;
    if (!has_key)
        key = *cohort_key();
    has_key = true;
    return oa_cohort_print(&key, id_of(user));
}

oa_status feed_users(oa_cohort_build *build, uint64_t first, uint64_t end, uint64_t step) {
    oa_status status = OA_OK;
    for (uint64_t user = first; user < end && status == OA_OK; user += step) {
        status = oa_cohort_build_feed(build, id_of(user));
        if (status == OA_OK)
            status = oa_cohort_build_feed(build, str("\n"));
    }
    return status;
}

oa_cohort_table *table_with(const oa_cohort_plan *plan, const oa_cohort_table *present,
                            const oa_cohort_overlay *overlay, uint64_t first, uint64_t end,
                            uint64_t step, oa_cohort_delta *delta) {
    oa_cohort_build *build = NULL;
    oa_cohort_table *table = NULL;
    oa_cohort_delta ignored;
    assert_int_equal(oa_cohort_build_new(plan, &build), OA_OK);
    assert_int_equal(feed_users(build, first, end, step), OA_OK);
    assert_int_equal(oa_cohort_build_end(build), OA_OK);
    assert_int_equal(oa_cohort_build_finish(build, present, overlay, 1000,
                                            delta == NULL ? &ignored : delta, &table),
                     OA_OK);
    oa_cohort_build_free(build);
    return table;
}

uint64_t cohorts_of(const oa_cohort_table *table, uint64_t user) {
    oa_cohort_set set;
    oa_cohort_table_find(table, print_of(user), &set);
    return set.words[0];
}
