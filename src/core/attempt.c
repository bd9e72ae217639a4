#include "attempt.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void oa_attempt_init(oa_attempt *attempt, const oa_frame *frame, bool is_amplitude) {
    memset(attempt, 0, sizeof(*attempt));
    attempt->frame = frame;
    attempt->is_amplitude = is_amplitude;
    oa_body_init(&attempt->body);
}

void oa_attempt_clear(oa_attempt *attempt) { oa_body_clear(&attempt->body); }

void oa_attempt_begin(oa_attempt *attempt, oa_batch *batch, size_t max_body_bytes, bool gzip) {
    attempt->batch = batch;
    attempt->max_body_bytes = max_body_bytes;
    attempt->gzip = gzip;
    attempt->body.carried = attempt->body.event_count = 0;
    attempt->outcome = OA_OUTCOME_ABORTED;
    attempt->sent = false;
    attempt->status_code = 0;
    attempt->message[0] = '\0';
    attempt->retry_after_seconds = 0;
    memset(batch->marks, OA_MARK_KEEP, batch->count);
    if (attempt->store != NULL)
        oa_store_reset(attempt->store);
}

oa_status oa_attempt_render(oa_attempt *attempt) {
    const oa_status status = oa_render(attempt->frame, attempt->batch, attempt->max_body_bytes,
                                       attempt->gzip, &attempt->body);
    if (status == OA_OK)
        return OA_OK;
    attempt->outcome = OA_OUTCOME_NOMEM;
    snprintf(attempt->message, sizeof(attempt->message), "out of memory for a request body");
    return status;
}

bool oa_attempt_is_gzip(const oa_attempt *attempt) { return attempt->body.packed.data != NULL; }

oa_str oa_attempt_body(const oa_attempt *attempt) {
    const oa_body *body = &attempt->body;
    return oa_attempt_is_gzip(attempt) ? body->packed : (oa_str){body->text.data, body->text.len};
}

void oa_attempt_answer(oa_attempt *attempt, const oa_answer *answer) {
    const oa_body *body = &attempt->body;
    attempt->sent = true;
    attempt->sent_bytes = answer->sent_bytes;
    attempt->duration_ms = answer->duration_ms;
    if (answer->aborted) {
        snprintf(attempt->message, sizeof(attempt->message),
                 "no answer within %" PRIu64 " ms, when a flush ended the request",
                 answer->duration_ms);
        return;
    }
    attempt->status_code = answer->status_code;
    attempt->retry_after_seconds = answer->retry_after_seconds;
    if (answer->status_code == 0) {
        attempt->outcome = OA_OUTCOME_OUTAGE;
        snprintf(attempt->message, sizeof(attempt->message), "no answer: %.*s",
                 (int)(answer->error.len < 380 ? answer->error.len : 380), answer->error.data);
        return;
    }
    attempt->outcome =
        oa_response_read(answer->status_code, answer->body, attempt->is_amplitude, attempt->batch,
                         body->carried, body->owners, body->event_count, attempt->message);
    const size_t len = strlen(attempt->message);
    if (answer->status_code / 100 == 3 && answer->location.len > 0)
        snprintf(attempt->message + len, sizeof(attempt->message) - len, "; this one leads to %.*s",
                 (int)answer->location.len, answer->location.data);
}
