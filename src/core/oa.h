/*
 * oa.h: the public surface of the core, and the only header binding.cc includes.
 *
 * A dispatcher takes decisions of Optimizely on an event loop, and delivers each one to Amplitude
 * as an `$identify` and an `Experiment Viewed` event. The caller records; batching, rendering,
 * compression, HTTP, retries and accounting happen here.
 *
 * Thread: every function must be called on the thread that runs the dispatcher's loop; callbacks
 * come on that thread too, and never from inside the call that caused them, except `dropped` for
 * a decision that oa_dispatcher_record() itself refuses to store, and the flushes that
 * oa_dispatcher_destroy() ends.
 *
 * Ownership words, here and in every header: a function *borrows* a pointer for the call, *copies*
 * what it points to, *takes* it (frees it, also on failure), *returns* it *owned* by the caller,
 * or *lends* it until the next call that changes the object.
 */
#ifndef OA_H
#define OA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What a call can say. `name` is what JavaScript sees; the text is for people. */
#define OA_STATUS_MAP(X)                                                                           \
    X(OK, "ok", "done")                                                                            \
    X(REPEAT, "repeat", "the same exposure was sent in this window already")                       \
    X(ID_MISSING, "id_missing", "there is neither a user id nor a device id")                      \
    X(ID_TOO_SHORT, "id_too_short", "the id is shorter than minIdLength")                          \
    X(ID_TOO_LONG, "id_too_long", "the id is longer than 1024 characters")                         \
    X(ID_FORBIDDEN, "id_forbidden", "the id is on Amplitude's list of invalid ids")                \
    X(ID_MALFORMED, "id_malformed", "the id has half of a surrogate pair in it")                   \
    X(OPTED_OUT, "opted_out", "the dispatcher is opted out")                                       \
    X(QUEUE_FULL, "queue_full", "the queue holds maxQueueBytes, or memory ran out")                \
    X(CLOSED, "closed", "the dispatcher is closed")                                                \
    X(NOMEM, "no_memory", "memory ran out")                                                        \
    X(TOO_LARGE, "too_large", "larger than its bound")                                             \
    X(MALFORMED, "malformed", "not what the format asks for")                                      \
    X(UNAVAILABLE, "unavailable", "a library refused to start")

typedef enum oa_status {
#define OA_STATUS_ENUM(name, text, message) OA_##name,
    OA_STATUS_MAP(OA_STATUS_ENUM)
#undef OA_STATUS_ENUM
        OA_STATUS_COUNT
} oa_status;

/* Return the stable name of a status ("queue_full"). Static storage. */
const char *oa_status_name(oa_status status);

/* Return the sentence for a status. Static storage. */
const char *oa_status_message(oa_status status);

/* Why a decision that was accepted did not arrive. */
#define OA_DROP_MAP(X)                                                                             \
    X(INVALID_EVENT, "invalid_event")                                                              \
    X(INVALID_API_KEY, "invalid_api_key")                                                          \
    X(PAYLOAD_TOO_LARGE, "payload_too_large")                                                      \
    X(QUOTA_EXCEEDED, "quota_exceeded")                                                            \
    X(RETRIES_EXHAUSTED, "retries_exhausted")                                                      \
    X(QUEUE_FULL, "queue_full")                                                                    \
    X(OPTED_OUT, "opted_out")                                                                      \
    X(CLOSED, "closed")

typedef enum oa_drop_reason {
#define OA_DROP_ENUM(name, text) OA_DROP_##name,
    OA_DROP_MAP(OA_DROP_ENUM)
#undef OA_DROP_ENUM
        OA_DROP_COUNT
} oa_drop_reason;

/* Return the contract's name of a reason ("invalid_event"). Static storage. */
const char *oa_drop_name(oa_drop_reason reason);

typedef enum oa_log_level { OA_LOG_DEBUG, OA_LOG_INFO, OA_LOG_WARN, OA_LOG_ERROR } oa_log_level;

/* A run of UTF-8 bytes; not NUL-terminated. `data` NULL means absent (JSON null). */
typedef struct oa_str {
    const char *data;
    size_t len;
} oa_str;

/* A decision that was dropped, as a `dropped` callback sees it. Strings are lent for the callback. */
typedef struct oa_dropped {
    oa_str user_id;
    oa_str device_id;
    oa_str flag_key;
    oa_str variation_key;
    oa_str rule_key;
    bool enabled;
    int64_t time_ms;
    char insert_id[33]; /* "" for a decision that was refused before it had one */
} oa_dropped;

/* A request that came to its end, for those who watch. */
typedef struct oa_attempt {
    uint64_t number; /* of this dispatcher's, from 1 */
    size_t decision_count;
    size_t event_count;
    size_t body_bytes; /* as sent */
    bool gzip;
    bool again;      /* an earlier one carried (some of) it */
    int status_code; /* 0: no answer */
    uint64_t duration_ms;
    oa_str message; /* what went wrong, in one line. Lent. */
} oa_attempt;

/* What the dispatcher tells its host. Each member may be NULL. `data` is passed back. */
typedef struct oa_callbacks {
    void *data;
    /* `topic` is a stable word for what the message is about, to rate-limit by. Static storage. */
    void (*log)(void *data, oa_log_level level, const char *topic, oa_str message);
    /* Called with at most 64 decisions at a time, for one reason and one answer. */
    void (*dropped)(void *data, oa_drop_reason reason, int status_code, oa_str message,
                    const oa_dropped *decisions, size_t count);
    /* Called when a request came to its end, before what follows from it. */
    void (*requested)(void *data, const oa_attempt *request);
    /* Called once, before the first https request: the time to call oa_dispatcher_set_trust(). */
    void (*trust_needed)(void *data);
} oa_callbacks;

/* Where time and chance come from. NULL members mean the system's; tests plug their own in. */
typedef struct oa_clock {
    void *data;
    int64_t (*wall_ms)(void *data);
    uint64_t (*monotonic_ms)(void *data);
    uint64_t (*random)(void *data);
} oa_clock;

struct oa_transport;

/* Everything a dispatcher is made from. All strings are copied. */
typedef struct oa_config {
    oa_str api_key;
    oa_str server_url; /* whole URL, query included */
    oa_str library;    /* "optimizely-amplitude/0.1.0" */
    oa_str event_type; /* absent: only the user property is sent */
    oa_str property_prefix;
    oa_str groups_json; /* a JSON object, or absent */
    oa_str proxy;       /* absent: no proxy */
    oa_str no_proxy;    /* absent: none */
    oa_str ca_file;     /* absent: oa_dispatcher_set_trust() */
    bool disabled_value_is_variation;
    bool compression;
    bool opt_out;
    bool debug; /* whether OA_LOG_DEBUG messages are wanted */
    bool dedupe;
    uint32_t min_id_length;     /* characters */
    uint32_t flush_queue_size;  /* events */
    uint32_t flush_max_retries; /* attempts */
    uint64_t flush_interval_ms;
    uint64_t request_timeout_ms;
    uint64_t throttle_ms; /* how long a throttled user waits */
    size_t max_queue_bytes;
    size_t max_body_bytes; /* uncompressed request body */
    uint64_t dedupe_window_ms;
    size_t dedupe_max_entries;
    oa_callbacks callbacks;
    oa_clock clock;
    struct oa_transport *transport; /* taken; NULL: libcurl */
} oa_config;

typedef struct oa_dispatcher oa_dispatcher;

/*
 * Create a dispatcher on `loop`.
 *
 * Ownership: borrows loop until the dispatcher is destroyed; copies config; takes
 * config->transport, also on failure; returns *out owned, for oa_dispatcher_destroy().
 * Errors: OA_NOMEM, OA_UNAVAILABLE (libcurl).
 */
oa_status oa_dispatcher_new(uv_loop_t *loop, const oa_config *config, oa_dispatcher **out)
    __attribute__((warn_unused_result));

/*
 * End a dispatcher: abort what is in flight, drop what is queued without a word, free everything.
 *
 * `done` is called on the loop, once its handles are closed and the memory is free. The loop must
 * go on turning until then.
 */
void oa_dispatcher_destroy(oa_dispatcher *dispatcher, void (*done)(void *data), void *data);

/*
 * Make the constant part of a decision known, and return its id for oa_dispatcher_record().
 *
 * Ownership: copies the strings. An id is valid until oa_dispatcher_forget_templates().
 * Errors: OA_NOMEM. The caller keeps (flag, variation, rule, enabled) -> id; nothing is looked up here.
 */
oa_status oa_dispatcher_add_template(oa_dispatcher *dispatcher, oa_str flag_key,
                                     oa_str variation_key, oa_str rule_key, bool enabled,
                                     uint32_t *out) __attribute__((warn_unused_result));

/* Make every template id invalid; what queued decisions need of them is kept. */
void oa_dispatcher_forget_templates(oa_dispatcher *dispatcher);

/* One decision. All strings are copied by oa_dispatcher_record(). */
typedef struct oa_decision {
    uint32_t template_id;
    oa_str user_id;   /* absent or of 1 to 1024 characters */
    oa_str device_id; /* likewise; one of the two is there */
    oa_str
        event_properties; /* `"a":1,"b":2`: members of a JSON object without its braces, or absent */
    oa_str user_properties; /* likewise, added to the $set */
} oa_decision;

/*
 * Accept one decision, stamped with the time of the call.
 *
 * Errors: OA_REPEAT and OA_ID_*: not accepted, counted by the caller (OA_REPEAT by stats, too).
 * OA_OPTED_OUT, OA_QUEUE_FULL, OA_CLOSED: accepted and dropped at once, counted.
 * Cost: one hash of the id, one table look-up, one copy; no allocation but a chunk in a thousand calls.
 */
oa_status oa_dispatcher_record(oa_dispatcher *dispatcher, const oa_decision *decision)
    __attribute__((warn_unused_result));

/* What became of the decisions that were undelivered when a flush began. */
typedef struct oa_flush_report {
    uint64_t delivered;
    uint64_t dropped;
    uint64_t pending;
    uint64_t duration_ms;
} oa_flush_report;

/* `report` is lent; NULL when the dispatcher is destroyed before the flush is over. */
typedef void (*oa_flush_done)(void *data, const oa_flush_report *report);

/*
 * Send what is waiting at once, and call `done` when every decision accepted so far is settled, or
 * after `timeout_ms` with the rest in `pending`. Ends a back-off wait, but not a Retry-After.
 *
 * With `abort`, a request in flight at the deadline is aborted, and its decisions are put back
 * without counting an attempt. The loop is kept alive until `done`.
 * Errors: OA_NOMEM; `done` is not called then.
 */
oa_status oa_dispatcher_flush(oa_dispatcher *dispatcher, uint64_t timeout_ms, bool abort,
                              oa_flush_done done, void *data) __attribute__((warn_unused_result));

/*
 * Refuse new decisions, flush, drop what is left at the deadline as OA_DROP_CLOSED, release the
 * queue and the connection, then call `done`. Call it once. The struct itself lives on, for
 * oa_dispatcher_stats(), until oa_dispatcher_destroy().
 */
oa_status oa_dispatcher_close(oa_dispatcher *dispatcher, uint64_t timeout_ms, oa_flush_done done,
                              void *data) __attribute__((warn_unused_result));

/*
 * Abort the request in flight within a millisecond and start no other: the process is exiting.
 * Return the number of decisions that are lost by it.
 */
uint64_t oa_dispatcher_abort(oa_dispatcher *dispatcher);

void oa_dispatcher_set_opt_out(oa_dispatcher *dispatcher, bool opt_out);

/* Set the CA certificates (PEM, concatenated) to trust. Copies. Errors: OA_NOMEM. */
oa_status oa_dispatcher_set_trust(oa_dispatcher *dispatcher, oa_str pem)
    __attribute__((warn_unused_result));

typedef struct oa_stats {
    uint64_t accepted;
    uint64_t deduplicated;
    uint64_t delivered;
    uint64_t pending;
    uint64_t dropped[OA_DROP_COUNT];
    uint64_t requests_sent;
    uint64_t requests_retried; /* sent again because an earlier attempt failed */
    uint64_t requests_failed;  /* answered by anything but 200, or not at all */
    uint64_t request_bytes;    /* bodies, as sent (compressed) */
    uint64_t events_sent;      /* in requests that were answered by 200 */
    uint64_t queue_bytes;
    uint64_t queue_high_water_bytes;
    bool has_error;
    int error_status_code; /* 0: no answer */
    int64_t error_time_ms; /* since the epoch */
    char error_message[400];
} oa_stats;

/* Copy the counters. `accepted = delivered + dropped + pending` holds at every moment. */
void oa_dispatcher_stats(const oa_dispatcher *dispatcher, oa_stats *out);

/* Versions of the libraries that are linked, or included. Static storage. */
const char *oa_curl_version(void); /* with its own: "libcurl/7.88.1 OpenSSL/3.0.15 zlib/1.2.13" */
const char *oa_cjson_version(void);
const char *oa_xxhash_version(void);

#ifdef __cplusplus
}
#endif

#endif
