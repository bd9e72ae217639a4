/*
 * response.h: Amplitude's answer -> outcome and marks. The only user of cJSON.  [any thread]
 *
 * Reads untrusted bytes: nothing in an answer can make it fail, only make it less informed.
 */
#ifndef OA_RESPONSE_H
#define OA_RESPONSE_H

#include "batch.h"
#include "oa.h"

/* How an attempt ended, as far as the whole of it is concerned; what concerns a record is in its
 * mark. */
typedef enum oa_outcome {
    OA_OUTCOME_ACCEPTED,    /* 2xx, with "code":200 on Amplitude's own hosts */
    OA_OUTCOME_LISTED,      /* 400 or 429 that names events, users or devices: see the marks */
    OA_OUTCOME_BAD_API_KEY, /* 400 Invalid API key, or api_key missing */
    OA_OUTCOME_REFUSED,     /* other 4xx that names nothing: something in it is bad */
    OA_OUTCOME_TOO_LARGE,   /* 413 */
    OA_OUTCOME_OUTAGE,      /* 408, 429 without a list, 5xx, a page, no answer */
    OA_OUTCOME_BAD_REQUEST, /* 401, 403, 404 and others of the URL, a proxy or a firewall */
    OA_OUTCOME_ABORTED,     /* we ended it ourselves */
    OA_OUTCOME_NOMEM,       /* it could not be rendered */
} oa_outcome;

/* Which records an event of a request stands for. */
typedef struct oa_event_owner {
    uint16_t first; /* index of a record in the batch */
    uint16_t count; /* records behind it: 1, or more for a $identify that they share */
} oa_event_owner;

/* One line of printable ASCII for logs and lastError, NUL-terminated: `400: Invalid event JSON`. */
enum { OA_RESPONSE_MESSAGE_BYTES = 200 };

/*
 * Judge the answer to a request that carried batch->records[0..carried), and write their marks;
 * those of the others, and all of them unless the outcome is LISTED, become OA_MARK_KEEP.
 *
 * `status_code` is the HTTP status of a complete answer; `owners` tells for each of `event_count`
 * events which records it stands for. Lists of indexes outside the request are ignored; a list that
 * matches no record counts as none. A listed $identify that several records share marks them
 * OA_MARK_ALONE, since it does not tell which of them is to blame. A throttled record throttles all
 * records of its user that were carried. Without memory to read it, a refusal is an outage. In the
 * message, ids of the request's users and runs of 32 hexadecimal digits that a server echoes are
 * masked. Ownership: borrows everything; writes batch->marks and `message`.
 */
oa_outcome oa_response_read(int status_code, oa_str body, bool is_amplitude, oa_batch *batch,
                            size_t carried, const oa_event_owner *owners, size_t event_count,
                            char message[OA_RESPONSE_MESSAGE_BYTES]);

#endif
