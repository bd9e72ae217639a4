/*
 * fuzz_cohort_message.c: messages of a cohort webhook, cut into pieces.
 *
 * The first byte chooses the pieces. However a message is cut, the same users are found, the same
 * fields and the same problem; and what is accepted as a whole is JSON to cJSON, too, with as many
 * users and the same direction.
 */
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "cohort.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition) {
    if (!condition)
        abort();
}

/* Read a message in pieces of which the lengths follow from `seed`; 0: as a whole. */
static oa_cohort_message *read_message(const oa_hash_key *key, const uint8_t *data, size_t size,
                                       uint8_t seed) {
    oa_cohort_message *message = NULL;
    check(oa_cohort_message_new(key, 1000, &message) == OA_OK);
    oa_status status = OA_OK;
    for (size_t at = 0, len; at < size && status == OA_OK; at += len) {
        len = seed == 0 ? size : 1 + seed * (at + 7) % 13;
        len = len < size - at ? len : size - at;
        char *piece = malloc(len); /* of its own size, for AddressSanitizer */
        check(piece != NULL);
        memcpy(piece, data + at, len);
        status = oa_cohort_message_feed(message, (oa_str){piece, len});
        free(piece);
    }
    check(status == OA_OK || oa_cohort_message_end(message) == status);
    return message;
}

/* What cJSON finds. It keeps no NUL of a string and refuses lone surrogates: those are left out. */
static void compare(const uint8_t *data, size_t size, const oa_cohort_message *message) {
    for (size_t i = 0; i + 6 <= size; i++) {
        if (memcmp(data + i, "\\u0000", 6) == 0 || memcmp(data + i, "\\uD", 3) == 0 ||
            memcmp(data + i, "\\ud", 3) == 0)
            return;
    }
    cJSON *body = cJSON_ParseWithLength((const char *)data, size);
    check(body != NULL);
    const cJSON *users = cJSON_GetObjectItemCaseSensitive(body, "users");
    check(cJSON_IsArray(users));
    size_t count = 0;
    oa_cohort_message_prints(message, &count);
    const oa_cohort_head *head = oa_cohort_message_head(message);
    check((size_t)cJSON_GetArraySize(users) == count + head->no_ids);
    size_t ids = 0;
    const cJSON *user = NULL;
    cJSON_ArrayForEach(user, users) {
        const cJSON *id = cJSON_GetObjectItemCaseSensitive(user, "user_id");
        check(cJSON_IsObject(user) && (id == NULL || cJSON_IsNull(id) || cJSON_IsString(id)));
        const size_t len = cJSON_IsString(id) ? strlen(id->valuestring) : 0;
        ids += len > 0 && len <= OA_COHORT_ID_BYTES;
    }
    check(ids == count);
    check(head->in_cohort == 0 || head->in_cohort == 1);
    check(head->computed_time >= 0 && head->cohort_id[0] != '\0');
    cJSON_Delete(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static oa_hash_key key;
    oa_hash_key_init(&key, (oa_str){"key", 3});
    if (size < 1)
        return 0;
    oa_cohort_message *whole = read_message(&key, data + 1, size - 1, 0);
    oa_cohort_message *cut = read_message(&key, data + 1, size - 1, data[0] | 1);
    const oa_status status = oa_cohort_message_end(whole);
    check(oa_cohort_message_end(cut) == status);
    check(oa_cohort_message_problem(whole) == oa_cohort_message_problem(cut));
    check(memcmp(oa_cohort_message_head(whole), oa_cohort_message_head(cut),
                 sizeof(oa_cohort_head)) == 0);
    size_t count = 0, other = 0;
    const uint64_t *prints = oa_cohort_message_prints(whole, &count);
    const uint64_t *others = oa_cohort_message_prints(cut, &other);
    check(count == other && (count == 0 || memcmp(prints, others, count * sizeof(*prints)) == 0));
    if (status == OA_OK)
        compare(data + 1, size - 1, whole);
    oa_cohort_message_free(whole);
    oa_cohort_message_free(cut);
    return 0;
}
