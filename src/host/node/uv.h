/*
 * uv.h: the host of the addon: a dispatcher on a libuv loop. A timer calls the core when something
 * is due, a thread of libuv's pool performs the attempts, libcurl sends them.
 *
 * Thread: every function is called on the loop's thread; handlers are called there, too, from the
 * loop and never from inside a call, except for notices of refused decisions when their memory
 * fills in oa_uv_record().
 */
#ifndef OA_HOST_UV_H
#define OA_HOST_UV_H

#include <uv.h>

#include "../curl.h"
#include "../spool/spooling.h"
#include "oa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A question to the store, or something to be written to it; see oa_attempt_ask() and _write(). */
typedef struct oa_uv_store_call {
    uint32_t id; /* for oa_uv_answer_store() */
    bool writes;
    const oa_store_part *parts; /* lent for the call */
    size_t count;
} oa_uv_store_call;

/* What the host reports to its owner. `data` is passed back; all of them are required, the two for
 * a store only with one. */
typedef struct oa_uv_handlers {
    void *data;
    void (*notice)(void *data, const oa_notice *notice); /* any but CANCEL */
    void (*trust_needed)(void *data); /* once, before the first https POST: oa_uv_set_trust() now */
    void (*busy)(void *data, bool busy); /* it has something to do from now on, or nothing left */
    void (*destroyed)(void *data);       /* the end of oa_uv_destroy() */
    bool (*store_ready)(void *data);     /* may it be called now? */
    /* Begin a call, and return whether an answer is to come: never from inside, and soon, since the
     * attempt waits for it. It may be cancelled meanwhile: a late answer has no effect. */
    bool (*store)(void *data, const oa_uv_store_call *call);
} oa_uv_handlers;

typedef struct oa_uv oa_uv;

/*
 * Create a dispatcher on `loop`.
 * Ownership: borrows the loop until it is destroyed; copies all else; returns *out owned, for
 * oa_uv_destroy(). Errors: OA_NOMEM, OA_UNAVAILABLE (libcurl).
 */
oa_status oa_uv_new(uv_loop_t *loop, const oa_config *config, const oa_curl_config *curl_config,
                    oa_uv_handlers handlers, oa_uv **out) __attribute__((warn_unused_result));

/*
 * Open the journal of a dispatcher with oa_config.spool: call it once, before all else. Errors: as
 * oa_spooling_open(); what is new is in memory only then.
 */
oa_status oa_uv_open_spool(oa_uv *uv, const oa_spooling_config *config,
                           char message[OA_SPOOLING_MESSAGE_BYTES])
    __attribute__((warn_unused_result));

/* Lend the journal; NULL: there is none. */
oa_spooling *oa_uv_spooling(const oa_uv *uv);

/* oa_dispatcher_purge(), soon. */
void oa_uv_purge(oa_uv *uv);

/*
 * Take the host: cancel what is in progress, free everything, call `destroyed`, and no other
 * handler. The loop must keep running until then.
 */
void oa_uv_destroy(oa_uv *uv);

/* Lend the core, for what needs no I/O: variants, opting out, counters. */
oa_dispatcher *oa_uv_core(oa_uv *uv);

/* oa_dispatcher_record(), now. */
oa_status oa_uv_record(oa_uv *uv, oa_decision *decision) __attribute__((warn_unused_result));

/* oa_dispatcher_track(), now. */
oa_status oa_uv_track(oa_uv *uv, oa_tracked *tracked) __attribute__((warn_unused_result));

/* oa_dispatcher_flush(), now. The loop is kept alive until the notice with `ticket`. */
oa_status oa_uv_flush(oa_uv *uv, uint64_t timeout_ms, bool abort, void *ticket)
    __attribute__((warn_unused_result));

/* oa_dispatcher_close(), now; the connection goes with it. The loop is kept alive likewise. */
oa_status oa_uv_close(oa_uv *uv, uint64_t timeout_ms, void *ticket)
    __attribute__((warn_unused_result));

/*
 * Cancel what is in progress within a millisecond and start nothing from now on: the process is
 * exiting. Return the number of decisions that are lost by it.
 */
uint64_t oa_uv_abort(oa_uv *uv);

/* oa_dispatcher_stats(), now. */
void oa_uv_stats(const oa_uv *uv, oa_stats *out);

/* Answer a call to the store; see oa_dispatcher_learn() and oa_attempt_confirm(). Borrows. */
void oa_uv_answer_store(oa_uv *uv, uint32_t id, const int32_t *answers, size_t count);

/* Set the CA certificates to trust; see oa_curl_trust(). Errors: also OA_CLOSED. */
oa_status oa_uv_set_trust(oa_uv *uv, const oa_trust_source *source)
    __attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif

#endif
