/*
 * multi.h: transfers of libcurl that go on together, on one multi handle. Its poll can be woken
 * from another thread within a millisecond, which no callback of the easy interface can, and it
 * keeps connections warm between transfers: as many as there are transfers, and which of them one
 * gets is up to libcurl.
 *
 * Thread: one call at a time, on any thread; but oa_multi_cancel() and oa_multi_recall(), which may
 * come at any time.
 */
#ifndef OA_HOST_MULTI_H
#define OA_HOST_MULTI_H

#include <stdatomic.h>

#include <curl/curl.h>

#include "oa.h"

/* An easy handle, for one transfer after another. */
typedef struct oa_transfer {
    CURL *easy; /* lent by who joined it */
    struct oa_transfer *next;
    bool is_added; /* it has begun, and not ended */
    bool is_over;  /* likewise, and libcurl has nothing more to do for it */
    CURLcode code; /* what it comes to if it ends now */
} oa_transfer;

typedef struct oa_multi {
    CURLM *handle;
    oa_transfer *first; /* a list */
    size_t count;       /* of that list */
    size_t over_count;  /* likewise, of those that are over */
    oa_now used;        /* when the last one ended; 0 before the first */
    uint32_t stale;     /* how often all connections were found to be stale */
    /* Written by cancel and recall (any thread) and rearm (before a hand-over); read by the thread
     * that runs the transfers, which takes a recall back. They carry no other data, so sequential
     * consistency is more than enough. */
    atomic_bool cancelled;
    atomic_bool recalled;
} oa_multi;

/* Return an empty one, which the first that joins owns with all others; NULL without memory. */
oa_multi *oa_multi_new(void);

/* Free one that none has joined. NULL is fine. */
void oa_multi_free(oa_multi *multi);

/* Take a transfer up. Ownership: lends it until it leaves. */
void oa_multi_join(oa_multi *multi, oa_transfer *transfer);

/* Remove a transfer that has ended; the last one takes the multi with it. */
void oa_multi_leave(oa_multi *multi, oa_transfer *transfer);

/* Begin a transfer whose options are set; with a `code` that is no CURLE_OK it is over at once. */
void oa_multi_begin(oa_multi *multi, oa_transfer *transfer, CURLcode code);

/* Go on with all transfers for `slice_ms` at most. Return whether one is over; all that are
 * cancelled are. */
bool oa_multi_run(oa_multi *multi, uint64_t slice_ms);

/* End a transfer, which is aborted if it is not over. */
void oa_multi_end(oa_multi *multi, oa_transfer *transfer, oa_now now);

/* End oa_multi_run(), or its next call, within a millisecond: with all transfers over, or to have
 * another one begin. Thread: any. */
void oa_multi_cancel(oa_multi *multi);
void oa_multi_recall(oa_multi *multi);

/* Forget both. */
void oa_multi_rearm(oa_multi *multi);

#endif
