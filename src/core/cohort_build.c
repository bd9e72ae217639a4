/*
 * cohort_build.c: from the bytes of a body to the next table.  [one owner]
 *
 * A reader finds ids, an id becomes a print, prints are kept in runs, and in the end a merge makes
 * a table of them. An id exists only between the first two of these.
 */
#include <string.h>

#include "cohort.h"
#include "cohort_merge.h"
#include "cohort_read.h"
#include "cohort_runs.h"
#include "mem.h"

/* Far more than an API sends around the ids, or an export in the other columns of a line. */
enum { FREE_BYTES = 16 * 1024 * 1024, FREE_BYTES_OF_ID = 4096 };

struct oa_cohort_build {
    oa_cohort_plan plan; /* with names of our own */
    oa_hash_key key;
    oa_str names[OA_COHORT_MAX];
    char name_bytes[OA_COHORT_MAX][OA_COHORT_NAME_BYTES];
    oa_cohort_meta meta;
    oa_cohort_runs *runs;
    oa_status status; /* what went wrong; final */
    bool is_endless;  /* more bytes came than its ids can need */
    bool has_ended;
    union {
        oa_cohort_json json;
        oa_cohort_csv csv;
    } reader;
};

void oa_cohort_key_init(oa_hash_key *key, oa_str text) {
    /* Not the key of insert_ids, which leave the process, even when it is made from the same text.
     */
    oa_hash_key outer;
    oa_hash_key_init(&outer, (oa_str){"users of cohorts", 16});
    const oa_hash hash = oa_hash_bytes(&outer, text.data, text.len);
    char hex[OA_HASH_HEX_BYTES];
    oa_hash_hex(hash, hex);
    oa_hash_key_init(key, (oa_str){hex, sizeof(hex)});
}

uint64_t oa_cohort_print(const oa_hash_key *key, oa_str user_id) {
    return oa_hash_bytes(key, user_id.data, user_id.len).low >> (64 - OA_COHORT_PRINT_BITS);
}

static void copy_plan(oa_cohort_build *build, const oa_cohort_plan *plan) {
    build->plan = *plan;
    build->key = *plan->key;
    build->plan.key = &build->key;
    build->plan.names = build->names;
    if (plan->max_members == 0 || plan->max_members > INT32_MAX)
        build->plan.max_members = INT32_MAX;
    for (size_t i = 0; i < plan->name_count; i++) {
        memcpy(build->name_bytes[i], plan->names[i].data, plan->names[i].len);
        build->names[i] = (oa_str){build->name_bytes[i], plan->names[i].len};
    }
}

oa_status oa_cohort_build_new(const oa_cohort_plan *plan, oa_cohort_build **out) {
    oa_status status = oa_cohort_plan_check(plan);
    if (status != OA_OK)
        return status;
    oa_cohort_build *build = oa_mem_calloc(1, sizeof(*build));
    if (build == NULL)
        return OA_NOMEM;
    status = oa_cohort_runs_new(&build->runs);
    if (status != OA_OK) {
        oa_cohort_build_free(build);
        return status;
    }
    copy_plan(build, plan);
    if (plan->format == OA_COHORT_JSON)
        oa_cohort_json_init(&build->reader.json, &build->meta);
    else
        oa_cohort_csv_init(&build->reader.csv, plan->format == OA_COHORT_LINES);
    build->meta.size = -1;
    *out = build;
    return OA_OK;
}

void oa_cohort_build_free(oa_cohort_build *build) {
    if (build == NULL)
        return;
    oa_cohort_runs_free(build->runs);
    oa_mem_free(build);
}

uint64_t oa_cohort_build_max_bytes(const oa_cohort_build *build) {
    return FREE_BYTES + FREE_BYTES_OF_ID * (build->meta.ids + build->meta.no_ids);
}

const char *oa_cohort_build_problem(const oa_cohort_build *build) {
    if (build->is_endless)
        return "it has too many bytes for its ids";
    return build->plan.format == OA_COHORT_JSON ? build->reader.json.problem
                                                : build->reader.csv.problem;
}

const oa_cohort_meta *oa_cohort_build_meta(const oa_cohort_build *build) { return &build->meta; }

static oa_cohort_step next(oa_cohort_build *build, oa_str *bytes, oa_str *id) {
    return build->plan.format == OA_COHORT_JSON
               ? oa_cohort_json_next(&build->reader.json, bytes, id)
               : oa_cohort_csv_next(&build->reader.csv, bytes, id);
}

/* Keep what a reader found, unless it found that all is read. */
static oa_status take(oa_cohort_build *build, oa_cohort_step step, oa_str id) {
    if (step == OA_COHORT_WRONG)
        return OA_MALFORMED;
    if (step == OA_COHORT_NO_ID)
        return ++build->meta.no_ids > INT32_MAX ? OA_TOO_LARGE : OA_OK;
    if (step != OA_COHORT_AN_ID)
        return OA_OK;
    if (oa_cohort_runs_count(build->runs) >= build->plan.max_members)
        return OA_TOO_LARGE;
    build->meta.ids++;
    return oa_cohort_runs_add(build->runs, oa_cohort_print(&build->key, id));
}

oa_status oa_cohort_build_feed(oa_cohort_build *build, oa_str bytes) {
    const size_t len = bytes.len;
    oa_cohort_step step = OA_COHORT_AN_ID;
    while (build->status == OA_OK && step != OA_COHORT_MORE) {
        oa_str id = {NULL, 0};
        step = next(build, &bytes, &id);
        build->status = take(build, step, id);
    }
    build->meta.bytes += len - bytes.len;
    if (build->status == OA_OK && build->meta.bytes > oa_cohort_build_max_bytes(build)) {
        build->is_endless = true;
        build->status = OA_MALFORMED;
    }
    return build->status;
}

oa_status oa_cohort_build_end(oa_cohort_build *build) {
    oa_cohort_step step = OA_COHORT_AN_ID;
    while (build->status == OA_OK && step != OA_COHORT_MORE) {
        oa_str id = {NULL, 0};
        step = build->plan.format == OA_COHORT_JSON ? oa_cohort_json_end(&build->reader.json)
                                                    : oa_cohort_csv_end(&build->reader.csv, &id);
        build->status = take(build, step, id);
    }
    if (build->status == OA_OK)
        build->status = oa_cohort_runs_end(build->runs);
    build->has_ended = true;
    return build->status;
}

oa_status oa_cohort_build_finish(oa_cohort_build *build, const oa_cohort_table *present,
                                 const oa_cohort_overlay *overlay, int64_t fetched_ms,
                                 oa_cohort_delta *delta, oa_cohort_table **out) {
    if (build->status != OA_OK || !build->has_ended)
        return build->status != OA_OK ? build->status : OA_MALFORMED;
    const oa_cohort_input input = {build->runs, &build->meta, fetched_ms};
    const oa_status status =
        oa_cohort_merge_input(&build->plan, present, overlay, &input, delta, out);
    build->status = status == OA_OK ? OA_CLOSED : status; /* the runs are used up */
    return status;
}
