/*
 * support_loop.h: a dispatcher on a real loop, with the real thread pool and libcurl, and its
 * owner, which counts what it is told.
 */
#ifndef SUPPORT_LOOP_H
#define SUPPORT_LOOP_H

#include "../../src/host/node/uv.h"
#include "support_peer.h"

/* A wait of more than this has failed. */
enum { PATIENCE_MS = 30000 };

/* When it is destroyed, besides at a kind of notice: in a handler. */
enum { AT_TRUST = -1, NEVER = -2, AT_STORE_READY = -3, AT_STORE = -4 };

/* A flush that is awaited. */
typedef struct wait {
    bool done;
    oa_flush_report report;
} wait;

typedef struct owner {
    uv_loop_t loop;
    uv_async_t alive; /* keeps the loop alive, since a dispatcher does not */
    oa_config config;
    oa_curl_config curl_config;
    char url[64];
    oa_uv *uv;
    uint32_t variant;
    uint64_t attempts;
    uint64_t drops;
    unsigned drop_takes_ms; /* to be told in a notice */
    uint64_t untold;        /* lines that say that a drop is not described */
    uint64_t trust_questions;
    bool busy; /* as it is told */
    bool destroyed;
    int destroy_at; /* a kind of notice, or one of the above */
    bool is_store_down;
    uint32_t store_calls; /* that are to be answered by answer_store() */
    uint32_t store_id;    /* of the last one */
    bool store_writes;    /* likewise */
    size_t store_pairs;
} owner;

/* Return an owner of nothing yet, whose dispatcher is to post to a peer; edit the configs, then
 * start. */
owner *owner_new(const peer *p);

/* Create the dispatcher. Returns the owner. */
owner *owner_start(owner *o);

/* End what is left, and check that nothing keeps the loop. */
void owner_end(owner *o);

/* Turn the loop until `condition`. */
#define RUN_UNTIL(o, condition)                                                                    \
    for (uint64_t since = uv_hrtime(); !(condition); uv_run(&(o)->loop, UV_RUN_NOWAIT))            \
    assert_true(uv_hrtime() - since < PATIENCE_MS * UINT64_C(1000000))

/* Record a decision of a user; return what the dispatcher says. */
oa_status say(owner *o, const char *user);

/* Answer the last call to the store, for its only pair. */
void answer_store(owner *o, int32_t said);

oa_stats counters(const owner *o);

/* Flush, and assert that so many are delivered and nothing is left. */
void expect_flush(owner *o, uint64_t delivered);

/* Work that keeps a thread of the pool until it is told to end. */
typedef struct hog {
    uv_work_t work;
    uv_sem_t begun;
    uv_sem_t ends;
    bool done;
} hog;

/* Return when a thread has begun it; the loop does not turn meanwhile. */
void hog_start(hog *h, owner *o);

/* Let the thread go, and turn the loop until it is back. */
void hog_end(hog *h, owner *o);

#endif
