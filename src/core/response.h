/*
 * response.h: Amplitude's answer -> outcome and marks. The only user of cJSON.  [pool]
 *
 * Reads foreign bytes: nothing in an answer can make it fail, only make it less informed.
 */
#ifndef OA_RESPONSE_H
#define OA_RESPONSE_H

#include "batch.h"
#include "oa.h"
#include "retry.h"

/* Which records an event of a request stands for. */
typedef struct oa_event_owner {
    uint16_t first; /* index of a record in the batch */
    uint16_t count; /* records behind it: 1, or more for a $identify that they share */
} oa_event_owner;

/* The longest answer that is read; a list of 2000 throttled users of 1024 characters fits. */
enum { OA_RESPONSE_MAX_BYTES = 4 * 1024 * 1024 };

typedef struct oa_reply {
    oa_outcome outcome;
    /* For logs and lastError, NUL-terminated: one line of printable ASCII, `400: Invalid event JSON`. Ids
     * of the request's users and runs of 32 hexadecimal digits that a server echoes are masked. */
    char message[200];
} oa_reply;

/*
 * Judge the answer to a request that carried batch->records[0..carried), and write their marks; those
 * of the others, and all of them unless the outcome is LISTED, become OA_MARK_KEEP.
 *
 * `status` is the HTTP status of a complete answer; `owners` tells for each of `event_count` events
 * which records it stands for. Lists of indexes outside the request are ignored; a list that hits no
 * record of ours is as good as none. A listed $identify that several records share marks them
 * OA_MARK_ALONE, since it does not tell which of them is to blame. A throttled record throttles all
 * records of its user that were carried. Without memory to read it, a refusal is an outage.
 * Ownership: borrows everything; writes batch->marks and *out.
 */
void oa_response_read(int status, oa_str body, oa_batch *batch, size_t carried,
                      const oa_event_owner *owners, size_t event_count, oa_reply *out);

#endif
