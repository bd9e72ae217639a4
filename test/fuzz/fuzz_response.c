/*
 * Answers of a hostile server: three bytes of status, and a body. Whatever they are, the outcome
 * and the marks agree with each other, and the message is one short line that holds no id.
 */
#include <stdlib.h>
#include <string.h>

#include "amplitude/response.h"
#include "queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS = 6, EVENTS = 9, CARRIED = 5 };

static oa_arena arena;
static oa_queue queue;
static oa_batch *batch;
static oa_event_owner owners[EVENTS];

static void check(bool condition) {
    if (!condition)
        abort();
}

static void add(oa_variant *variant, const char *user_id, const char *device_id) {
    const oa_decision decision = {.user_id = {user_id, strlen(user_id)},
                                  .device_id = {device_id, strlen(device_id)}};
    oa_record *record = NULL;
    check(oa_queue_append(&queue, variant, &decision, &record) == OA_OK);
}

/* The request, once: 0 and 1 share a $identify, and the last record was not carried. */
static void start(void) {
    oa_hash_key key;
    oa_hash_key_init(&key, (oa_str){"key", 3});
    const oa_variant_style style = {.hash_key = &key, .property_prefix = {"", 0}};
    oa_variant *variant = NULL;
    check(oa_variant_new(&style, (oa_str){"flag", 4}, (oa_str){NULL, 0}, (oa_str){NULL, 0}, true,
                         &variant) == OA_OK);
    oa_arena_init(&arena, 1 << 20);
    oa_queue_init(&queue, &arena);
    check(oa_batch_new(RECORDS, &batch) == OA_OK);
    add(variant, "user_anna", "");
    add(variant, "user_anna", "");
    add(variant, "user_b\xc3\xb6rn", "phone");
    add(variant, "", "tablet");
    add(variant, "user_anna", "phone");
    add(variant, "user_left_behind", "phone");
    for (int i = 0; i < RECORDS; i++)
        oa_batch_add(batch, oa_queue_take(&queue));
    owners[0] = (oa_event_owner){0, 2};
    for (uint16_t i = 1; i < EVENTS; i++)
        owners[i] = (oa_event_owner){(uint16_t)(i < 3 ? i - 1 : (i + 1) / 2), 1};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (batch == NULL)
        start();
    if (size < 3)
        return 0;
    const int status = (data[0] - '0') * 100 + (data[1] - '0') * 10 + (data[2] - '0');
    const oa_str body = {(const char *)data + 3, size - 3};
    char message[OA_RESPONSE_MESSAGE_BYTES];
    memset(message, 0xee, sizeof(message));
    memset(batch->marks, 0xee, RECORDS);
    const oa_outcome outcome =
        oa_response_read(status, body, size % 2 == 0, batch, CARRIED, owners, EVENTS, message);

    bool marked = false;
    for (int i = 0; i < RECORDS; i++) {
        check(batch->marks[i] <= OA_MARK_ALONE);
        check(i < CARRIED || batch->marks[i] == OA_MARK_KEEP);
        marked |= batch->marks[i] != OA_MARK_KEEP;
    }
    check(marked == (outcome == OA_OUTCOME_LISTED));
    const bool is_success = status >= 200 && status < 300;
    const bool is_page = body.len > 0 && body.data[0] == '<';
    check(outcome != OA_OUTCOME_ACCEPTED || is_success);
    check(!is_success || !is_page || outcome == OA_OUTCOME_OUTAGE);
    /* A success may hold another code. */
    check(status != 413 || outcome == OA_OUTCOME_TOO_LARGE);
    check(status == 413 || is_success || outcome != OA_OUTCOME_TOO_LARGE);
    check(outcome == OA_OUTCOME_OUTAGE || (status >= 200 && status < 500));
    /* A user's decisions stay in order: none goes ahead of one that is throttled. */
    const bool waits = batch->marks[0] == OA_MARK_THROTTLED ||
                       batch->marks[1] == OA_MARK_THROTTLED || batch->marks[4] == OA_MARK_THROTTLED;
    for (int i = 0; waits && i < CARRIED; i += i == 1 ? 3 : 1)
        check(batch->marks[i] != OA_MARK_KEEP && batch->marks[i] != OA_MARK_ALONE);

    const char *end = memchr(message, '\0', sizeof(message));
    check(end != NULL);
    for (const char *at = message; at < end; at++)
        check(*at >= ' ' && *at <= '~');
    check(strstr(message, "user_anna") == NULL && strstr(message, "tablet") == NULL);
    return 0;
}
