/*
 * Answers of a hostile server: three bytes of status, and a body. Whatever they are, the outcome
 * and the marks agree with each other, and the message is one short line that names nobody.
 */
#include <stdlib.h>
#include <string.h>

#include "response.h"

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

static void add(oa_template *template, const char *user_id, const char *device_id) {
    const oa_decision decision = {.user_id = {user_id, strlen(user_id)},
                                  .device_id = {device_id, strlen(device_id)}};
    oa_record *record = NULL;
    check(oa_queue_append(&queue, template, &decision, &record) == OA_OK);
}

/* The request, once: 0 and 1 share a $identify, and the last record was not carried. */
static void start(void) {
    oa_hash_key key;
    oa_hash_key_init(&key, (oa_str){"key", 3});
    const oa_template_style style = {.hash_key = &key, .property_prefix = {"", 0}};
    oa_template *template = NULL;
    check(oa_template_new(&style, (oa_str){"flag", 4}, (oa_str){NULL, 0}, (oa_str){NULL, 0}, true,
                          &template) == OA_OK);
    oa_arena_init(&arena, 1 << 20);
    oa_queue_init(&queue, &arena);
    check(oa_batch_new(RECORDS, &batch) == OA_OK);
    add(template, "user_anna", "");
    add(template, "user_anna", "");
    add(template, "user_b\xc3\xb6rn", "phone");
    add(template, "", "tablet");
    add(template, "user_anna", "phone");
    add(template, "user_left_behind", "phone");
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
    oa_reply reply;
    memset(&reply, 0xee, sizeof(reply));
    memset(batch->marks, 0xee, RECORDS);
    oa_response_read(status, body, batch, CARRIED, owners, EVENTS, &reply);

    bool marked = false;
    for (int i = 0; i < RECORDS; i++) {
        check(batch->marks[i] <= OA_MARK_ALONE);
        check(i < CARRIED || batch->marks[i] == OA_MARK_KEEP);
        marked |= batch->marks[i] != OA_MARK_KEEP;
    }
    check(marked == (reply.outcome == OA_OUTCOME_LISTED));
    check((reply.outcome == OA_OUTCOME_ACCEPTED) == (status >= 200 && status < 300));
    check((reply.outcome == OA_OUTCOME_TOO_LARGE) == (status == 413));
    check(reply.outcome == OA_OUTCOME_OUTAGE || (status >= 200 && status < 500));
    /* A user's decisions stay in order: none goes ahead of one that is throttled. */
    const bool waits = batch->marks[0] == OA_MARK_THROTTLED ||
                       batch->marks[1] == OA_MARK_THROTTLED || batch->marks[4] == OA_MARK_THROTTLED;
    for (int i = 0; waits && i < CARRIED; i += i == 1 ? 3 : 1)
        check(batch->marks[i] != OA_MARK_KEEP && batch->marks[i] != OA_MARK_ALONE);

    const char *end = memchr(reply.message, '\0', sizeof(reply.message));
    check(end != NULL);
    for (const char *at = reply.message; at < end; at++)
        check(*at >= ' ' && *at <= '~');
    check(strstr(reply.message, "user_anna") == NULL && strstr(reply.message, "tablet") == NULL);
    return 0;
}
