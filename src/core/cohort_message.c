/*
 * cohort_message.c: a message of a webhook, from bytes to prints.  [one owner]
 *
 * As of a cohort, no id is kept: a message of 10,000 users takes 80 KB until it is put.
 */
#include <string.h>

#include "cohort.h"
#include "cohort_read.h"
#include "mem.h"

enum { FIRST_PRINTS = 1024 };

struct oa_cohort_message {
    oa_hash_key key;
    oa_cohort_head head;
    uint64_t *prints;
    size_t count;
    size_t room;
    size_t max_ids;
    oa_status status; /* what went wrong; final */
    oa_cohort_json reader;
};

oa_status oa_cohort_message_new(const oa_hash_key *key, size_t max_ids, oa_cohort_message **out) {
    oa_cohort_message *message = oa_mem_calloc(1, sizeof(*message));
    if (message == NULL)
        return OA_NOMEM;
    message->key = *key;
    message->max_ids = max_ids;
    oa_cohort_json_init_message(&message->reader, &message->head);
    *out = message;
    return OA_OK;
}

void oa_cohort_message_free(oa_cohort_message *message) {
    if (message == NULL)
        return;
    oa_mem_free(message->prints);
    oa_mem_free(message);
}

static oa_status add(oa_cohort_message *message, oa_str id) {
    if (message->count >= message->max_ids)
        return OA_TOO_LARGE;
    if (message->count == message->room) {
        const size_t room = message->room == 0 ? FIRST_PRINTS : 2 * message->room;
        uint64_t *prints = oa_mem_realloc(message->prints, room * sizeof(*prints));
        if (prints == NULL)
            return OA_NOMEM;
        message->prints = prints;
        message->room = room;
    }
    message->prints[message->count++] = oa_cohort_print(&message->key, id);
    return OA_OK;
}

oa_status oa_cohort_message_feed(oa_cohort_message *message, oa_str bytes) {
    oa_cohort_step step = OA_COHORT_AN_ID;
    while (message->status == OA_OK && step != OA_COHORT_MORE) {
        oa_str id = {NULL, 0};
        step = oa_cohort_json_next(&message->reader, &bytes, &id);
        message->head.no_ids += step == OA_COHORT_NO_ID;
        if (step == OA_COHORT_AN_ID)
            message->status = add(message, id);
        else if (step == OA_COHORT_WRONG)
            message->status = OA_MALFORMED;
    }
    return message->status;
}

oa_status oa_cohort_message_end(oa_cohort_message *message) {
    if (message->status == OA_OK && oa_cohort_json_end(&message->reader) == OA_COHORT_WRONG)
        message->status = OA_MALFORMED;
    return message->status;
}

const char *oa_cohort_message_problem(const oa_cohort_message *message) {
    return message->reader.problem;
}

const oa_cohort_head *oa_cohort_message_head(const oa_cohort_message *message) {
    return &message->head;
}

const uint64_t *oa_cohort_message_prints(const oa_cohort_message *message, size_t *count) {
    *count = message->count;
    return message->prints;
}
