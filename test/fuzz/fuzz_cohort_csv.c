/*
 * fuzz_cohort_csv.c: CSV files and lists, cut into pieces.
 *
 * The first byte chooses the pieces, and whether it is a list. However a body is cut, the same ids
 * are found, and the same problem; no id is empty or too long; in a list no id has a line feed.
 */
#include <stdlib.h>
#include <string.h>

#include "cohort_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct result {
    uint64_t ids; /* a hash of them, in order */
    uint64_t count;
    uint64_t left_out;
    const char *problem;
} result;

static oa_hash_key key;

static void check(bool condition) {
    if (!condition)
        abort();
}

static bool add(result *r, const oa_cohort_csv *csv, oa_cohort_step step, oa_str id) {
    check((step == OA_COHORT_WRONG) == (csv->problem != NULL));
    r->left_out += step == OA_COHORT_NO_ID;
    if (step == OA_COHORT_AN_ID) {
        check(id.len > 0 && id.len <= OA_COHORT_ID_BYTES);
        check(!csv->is_lines || memchr(id.data, '\n', id.len) == NULL);
        r->ids = r->ids * 31 + oa_hash_bytes(&key, id.data, id.len).low;
        r->count++;
    }
    return step == OA_COHORT_NO_ID || step == OA_COHORT_AN_ID;
}

static result read_body(const uint8_t *data, size_t size, bool is_lines, uint8_t seed) {
    static oa_cohort_csv csv;
    result r = {0};
    oa_cohort_step step;
    oa_str id = {NULL, 0};
    oa_cohort_csv_init(&csv, is_lines);
    for (size_t at = 0, len; at < size && csv.problem == NULL; at += len) {
        len = seed == 0 ? size : 1 + seed * (at + 7) % 13;
        len = len < size - at ? len : size - at;
        char *piece = malloc(len); /* of its own size, for AddressSanitizer */
        check(piece != NULL);
        memcpy(piece, data + at, len);
        oa_str rest = {piece, len};
        do {
            step = oa_cohort_csv_next(&csv, &rest, &id);
        } while (add(&r, &csv, step, id));
        check(step != OA_COHORT_MORE || rest.len == 0);
        free(piece);
    }
    do {
        step = oa_cohort_csv_end(&csv, &id);
    } while (add(&r, &csv, step, id));
    r.problem = csv.problem;
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    oa_hash_key_init(&key, (oa_str){"key", 3});
    if (size < 1)
        return 0;
    const bool is_lines = data[0] % 2 == 1;
    const result whole = read_body(data + 1, size - 1, is_lines, 0);
    const result cut = read_body(data + 1, size - 1, is_lines, data[0] | 1);
    check(memcmp(&whole, &cut, sizeof(cut)) == 0);
    return 0;
}
