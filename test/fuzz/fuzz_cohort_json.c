/*
 * fuzz_cohort_json.c: bodies of a cohort API, cut into pieces.
 *
 * The first byte chooses the pieces. However a body is cut, the same ids are found, the same fields
 * and the same problem; no id is empty or too long; and what is accepted as a whole is JSON to
 * cJSON, too, with the same ids.
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "cohort_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct result {
    uint64_t ids; /* a hash of them, in order */
    uint64_t count;
    uint64_t left_out;
    const char *problem;
    oa_cohort_meta meta;
} result;

static oa_hash_key key;

static void check(bool condition) {
    if (!condition)
        abort();
}

static void add(result *r, const char *id, size_t len) {
    r->ids = r->ids * 31 + oa_hash_bytes(&key, id, len).low;
    r->count++;
}

/* Read a body in pieces of which the lengths follow from `seed`; 0: as a whole. */
static void read_body(const uint8_t *data, size_t size, uint8_t seed, result *r) {
    static oa_cohort_json json;
    memset(r, 0, sizeof(*r));
    oa_cohort_json_init(&json, &r->meta);
    for (size_t at = 0, len; at < size && json.problem == NULL; at += len) {
        len = seed == 0 ? size : 1 + seed * (at + 7) % 13;
        len = len < size - at ? len : size - at;
        char *piece = malloc(len); /* of its own size, for AddressSanitizer */
        check(piece != NULL);
        memcpy(piece, data + at, len);
        oa_str rest = {piece, len}, id = {NULL, 0};
        for (oa_cohort_step step = OA_COHORT_NO_ID;
             step == OA_COHORT_NO_ID || step == OA_COHORT_AN_ID;) {
            step = oa_cohort_json_next(&json, &rest, &id);
            r->left_out += step == OA_COHORT_NO_ID;
            if (step == OA_COHORT_AN_ID) {
                check(id.len > 0 && id.len <= OA_COHORT_ID_BYTES);
                add(r, id.data, id.len);
            }
            check((step == OA_COHORT_WRONG) == (json.problem != NULL));
            check(step != OA_COHORT_MORE || rest.len == 0);
        }
        free(piece);
    }
    (void)oa_cohort_json_end(&json);
    r->problem = json.problem;
}

/* What cJSON finds. It keeps no NUL of a string, so bodies with one are left out. */
static void compare(const uint8_t *data, size_t size, const result *r) {
    for (size_t i = 0; i + 6 <= size; i++) {
        if (memcmp(data + i, "\\u0000", 6) == 0 || memcmp(data + i, "\\uD", 3) == 0 ||
            memcmp(data + i, "\\ud", 3) == 0) /* it refuses lone surrogates */
            return;
    }
    cJSON *body = cJSON_ParseWithLength((const char *)data, size);
    check(body != NULL);
    const cJSON *ids =
        cJSON_IsArray(body) ? body : cJSON_GetObjectItemCaseSensitive(body, "memberIds");
    result other = {0};
    const cJSON *id = NULL;
    cJSON_ArrayForEach(id, ids) {
        check(cJSON_IsString(id));
        const size_t len = strlen(id->valuestring);
        if (len == 0 || len > OA_COHORT_ID_BYTES)
            other.left_out++;
        else
            add(&other, id->valuestring, len);
    }
    check(other.ids == r->ids && other.count == r->count && other.left_out == r->left_out);
    cJSON_Delete(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static result whole, cut;
    oa_hash_key_init(&key, (oa_str){"key", 3});
    if (size < 1)
        return 0;
    read_body(data + 1, size - 1, 0, &whole);
    read_body(data + 1, size - 1, data[0] | 1, &cut);
    check(whole.ids == cut.ids && whole.count == cut.count && whole.left_out == cut.left_out);
    check(whole.problem == cut.problem);
    check(memcmp(&whole.meta, &cut.meta, sizeof(cut.meta)) == 0);
    if (whole.problem == NULL)
        compare(data + 1, size - 1, &whole);
    return 0;
}
