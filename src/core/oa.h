/*
 * oa.h: the public surface of the core. A host includes this, and cohort.h.
 *
 * A dispatcher takes decisions of Optimizely and delivers each one to Amplitude: as a `$identify`
 * and an `Experiment Viewed` event, or in another format. It is a state machine that performs no
 * I/O: it has no clock, no thread and no connection. A host gives it the time, asks what is due,
 * and performs the attempts:
 *
 *     record, flush, close, ...           what the application does
 *     next_due -> step                    at that moment, or at any earlier one
 *     take_attempt -> attempt_render -> (POST the body) -> attempt_answer -> give_back
 *     next_notice, until there is none    after every call that can change the state
 *
 * Thread: a dispatcher is externally synchronised: one call at a time, on any thread. An attempt
 * that is out (taken and not given back) belongs to its taker, and is rendered and answered on any
 * thread, while the dispatcher goes on. No function blocks or calls back.
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

#ifdef __cplusplus
extern "C" {
#endif

/* What a call can return. `name` is what JavaScript sees; the text is for people. */
#define OA_STATUS_MAP(X)                                                                           \
    X(OK, "ok", "done")                                                                            \
    X(REPEAT, "repeat", "the same exposure was sent in this window already")                       \
    X(ID_MISSING, "id_missing", "there is neither a user id nor a device id")                      \
    X(ID_TOO_SHORT, "id_too_short", "the id is shorter than minIdLength")                          \
    X(ID_TOO_LONG, "id_too_long", "the id is longer than 1024 characters")                         \
    X(ID_FORBIDDEN, "id_forbidden", "the id is on Amplitude's list of invalid ids")                \
    X(ID_MALFORMED, "id_malformed", "the id contains a lone surrogate")                            \
    X(OPTED_OUT, "opted_out", "the dispatcher is opted out")                                       \
    X(QUEUE_FULL, "queue_full", "the queue holds maxQueueBytes, or memory ran out")                \
    X(CLOSED, "closed", "the dispatcher is closed")                                                \
    X(NOMEM, "no_memory", "memory ran out")                                                        \
    X(TOO_LARGE, "too_large", "larger than its bound")                                             \
    X(MALFORMED, "malformed", "not in the expected format")                                        \
    X(FOREIGN, "foreign", "made with another key, or by another version")                          \
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
    X(EXPIRED, "expired")                                                                          \
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

/* The moment of a call, by the host's two clocks. */
typedef struct oa_now {
    int64_t wall_ms;       /* since the epoch; may jump */
    uint64_t monotonic_ms; /* since some moment in the past; never goes back */
} oa_now;

/*
 * Everything that a dispatcher is made from: one list, which makes the struct below and the code of
 * each host that reads it. The name in quotes is the key under which JavaScript passes the value.
 *
 *     TEXT(member, key)           a string, or absent
 *     FLAG(member, key)
 *     NUMBER(type, member, key)   a whole number, clamped to the maximum of its type
 */
#define OA_CONFIG_MAP(TEXT, FLAG, NUMBER)                                                          \
    TEXT(api_key, "apiKey")                                                                        \
    TEXT(library, "library")      /* "optimizely-amplitude/0.1.0" */                               \
    TEXT(event_type, "eventType") /* of the event of a decision; absent: none is sent */           \
    TEXT(property_prefix, "propertyPrefix")                                                        \
    TEXT(groups_json, "groupsJson")       /* a JSON object, or absent */                           \
    TEXT(constants_json, "constantsJson") /* members of every event, or absent */                  \
    TEXT(server_name, "serverName")       /* the URL without secrets, for messages */              \
    FLAG(is_amplitude,                                                                             \
         "isAmplitude") /* one of Amplitude's hosts: a success says so in its body */              \
    FLAG(sends_identify, "sendsIdentify")          /* a $identify sets the user property */        \
    FLAG(event_sets_property, "eventSetsProperty") /* the event sets it by itself */               \
    FLAG(sends_exposure, "sendsExposure")          /* a $exposure, Amplitude Experiment's */       \
    FLAG(disabled_value_is_variation, "disabledValueIsVariation")                                  \
    FLAG(opt_out, "optOut")                                                                        \
    FLAG(debug, "debug")              /* whether debug lines are wanted */                         \
    FLAG(report_drops, "reportDrops") /* whether dropped decisions are described in notices */     \
    FLAG(compression, "compression")  /* of request bodies, where the server takes it */           \
    FLAG(dedupe, "dedupe")                                                                         \
    FLAG(store, "store") /* whether the host has a store of exposures: see below */                \
    FLAG(spool, "spool") /* whether the host has a journal: see oa_dispatcher_spool() */           \
    NUMBER(uint32_t, min_id_length, "minIdLength")         /* characters */                        \
    NUMBER(uint32_t, flush_queue_size, "flushQueueSize")   /* events */                            \
    NUMBER(uint32_t, flush_max_retries, "flushMaxRetries") /* failures that blame a decision */    \
    NUMBER(uint32_t, max_concurrent, "maxConcurrent")      /* lanes; 0 is 1 */                     \
    NUMBER(uint64_t, flush_interval_ms, "flushIntervalMillis")                                     \
    NUMBER(uint64_t, max_age_ms, "maxAgeMillis")    /* how long a decision is kept */              \
    NUMBER(uint64_t, throttle_ms, "throttleMillis") /* how long a throttled user waits */          \
    NUMBER(size_t, max_queue_bytes, "maxQueueBytes")                                               \
    NUMBER(size_t, max_body_bytes, "maxBodyBytes") /* of a request, uncompressed */                \
    NUMBER(uint64_t, dedupe_window_ms, "dedupeWindowMillis")                                       \
    NUMBER(uint64_t, dedupe_refresh_ms, "dedupeRefreshMillis") /* sets the property again */       \
    NUMBER(size_t, dedupe_max_entries, "dedupeMaxEntries")

/* The largest oa_config.max_concurrent; more counts as this. */
enum { OA_MAX_CONCURRENT = 8 };

typedef struct oa_config {
#define OA_CONFIG_TEXT(member, key) oa_str member;
#define OA_CONFIG_FLAG(member, key) bool member;
#define OA_CONFIG_NUMBER(type, member, key) type member;
    OA_CONFIG_MAP(OA_CONFIG_TEXT, OA_CONFIG_FLAG, OA_CONFIG_NUMBER)
    uint64_t
        seed; /* 64 random bits, for jitter, and for ids that are unique without de-duplication */
} oa_config;

typedef struct oa_dispatcher oa_dispatcher;

/*
 * Create a dispatcher.
 * Ownership: copies config; returns *out owned, for oa_dispatcher_free(). Errors: OA_NOMEM.
 */
oa_status oa_dispatcher_new(const oa_config *config, oa_dispatcher **out)
    __attribute__((warn_unused_result));

/*
 * Free a dispatcher with everything that it still holds; nothing more is dropped or reported. No
 * attempt may be out. Ownership: takes the dispatcher; NULL is fine.
 */
void oa_dispatcher_free(oa_dispatcher *dispatcher);

/*
 * Register the constant part of a decision, and return its id for oa_dispatcher_record().
 *
 * Ownership: copies the strings. An id is valid until oa_dispatcher_forget_variants(). Errors:
 * OA_NOMEM. The caller keeps (flag, variation, rule, enabled) -> id; nothing is looked up here.
 */
oa_status oa_dispatcher_add_variant(oa_dispatcher *dispatcher, oa_str flag_key,
                                    oa_str variation_key, oa_str rule_key, bool enabled,
                                    uint32_t *out) __attribute__((warn_unused_result));

/* Make every variant's id invalid; what queued decisions need of them is kept. */
void oa_dispatcher_forget_variants(oa_dispatcher *dispatcher);

/* One decision. */
typedef struct oa_decision {
    uint32_t variant_id;
    oa_str user_id;          /* absent, empty, or of 1 to 1024 characters */
    oa_str device_id;        /* likewise; one of the two is there */
    oa_str fields;           /* of the events: members of a JSON object without its braces, or
                                absent; `groups`, which replaces the configuration's, comes first */
    oa_str event_properties; /* likewise, added to the event's own */
    oa_str user_properties;  /* likewise, added to the $set */
    bool rendered;           /* the caller has rendered the events: see below */
    oa_status left_out;      /* written: why one of the ids was made absent; OA_OK: none was */
} oa_decision;

/*
 * Events that come rendered are given by all of their members but `user_id`, `device_id`,
 * `insert_id` and `event_id`, without braces: the `$exposure` in `fields`, the event in
 * `event_properties`, the $identify in `user_properties`. One that is absent is not sent. Where the
 * event sets the property by itself, the $identify is for setting it again.
 */

/* What oa_dispatcher_record() asks of its host. */
typedef enum oa_wake {
    OA_WAKE_NOT,
    OA_WAKE_TIMER,   /* oa_dispatcher_next_due() came closer */
    OA_WAKE_COLLECT, /* and reports of refused decisions fill their memory: collect notices now */
} oa_wake;

/*
 * Accept one decision, made at now.wall_ms.
 *
 * An id that Amplitude would refuse, beside one that it accepts, is made absent in `decision`;
 * `left_out` says why.
 *
 * Ownership: copies all strings. Writes *wake. Errors: OA_REPEAT and OA_ID_*: not accepted, counted
 * by the caller (OA_REPEAT by stats, too). OA_OPTED_OUT, OA_QUEUE_FULL, OA_CLOSED: accepted and
 * dropped at once, counted, and reported in a notice. Cost: one hash of the id, one table look-up,
 * one copy; no allocation except for a chunk in a thousand calls.
 */
oa_status oa_dispatcher_record(oa_dispatcher *dispatcher, oa_now now, oa_decision *decision,
                               oa_wake *wake) __attribute__((warn_unused_result));

/* An event of the application's own. */
typedef struct oa_tracked {
    oa_str user_id; /* as in oa_decision */
    oa_str device_id;
    oa_str event; /* its members but for the ids and `event_id`, without braces */
    oa_status left_out;
} oa_tracked;

/*
 * Accept an event of the application's own, as oa_dispatcher_record() does a decision: it goes the
 * same way, in the order of its user.
 */
oa_status oa_dispatcher_track(oa_dispatcher *dispatcher, oa_now now, oa_tracked *tracked,
                              oa_wake *wake) __attribute__((warn_unused_result));

/* What became of the decisions, and tracked events, that were undelivered when a flush began. */
typedef struct oa_flush_report {
    uint64_t delivered;
    uint64_t dropped;
    uint64_t pending;
    uint64_t duration_ms;
} oa_flush_report;

/*
 * Send what is waiting at once. A notice with `ticket` comes when every decision accepted so far is
 * settled; or, with the rest in `pending`, after `timeout_ms`, or as soon as nothing more can
 * happen before that. It does not wait a back-off out, but a server that is down is not tried more
 * often than once in a second or an eighth of the back-off; it does not end a Retry-After.
 *
 * With `abort`, what is out at the deadline is to be cancelled, and its decisions are put back
 * without counting it. Errors: OA_NOMEM; no notice comes then.
 */
oa_status oa_dispatcher_flush(oa_dispatcher *dispatcher, oa_now now, uint64_t timeout_ms,
                              bool abort, void *ticket) __attribute__((warn_unused_result));

/*
 * Refuse new decisions, flush, drop what is left at the deadline as OA_DROP_CLOSED, unless it
 * stands in a journal, and give the memory back; the notice with `ticket` comes then. Call it once.
 * Errors: OA_NOMEM; nothing has changed then.
 */
oa_status oa_dispatcher_close(oa_dispatcher *dispatcher, oa_now now, uint64_t timeout_ms,
                              void *ticket) __attribute__((warn_unused_result));

/*
 * Start nothing from now on: the process is exiting. The host cancels what is out by itself. Return
 * the number of decisions that are lost by it: what is in a journal is not.
 */
uint64_t oa_dispatcher_abort(oa_dispatcher *dispatcher);

void oa_dispatcher_set_opt_out(oa_dispatcher *dispatcher, bool opt_out);

/* Drop what is pending as OA_DROP_OPTED_OUT, as soon as what is out has come back, and what the
 * journal holds. Without effect unless it is opted out, and ends when it is not any more. */
void oa_dispatcher_purge(oa_dispatcher *dispatcher);

/* ---- A journal, which outlives the process ---- */

/*
 * With oa_config.spool each decision stands in a journal when oa_dispatcher_record() returns, and
 * until it is settled. Memory is a window on it: where max_queue_bytes are held, decisions stay on
 * disk only, and are read back. Closing drops nothing that stands there, and reports it as pending:
 * it is for the process that finds it.
 *
 * The host provides the segments: see spool.h, whose functions it calls on what is lent here (NULL:
 * there is no journal) until the dispatcher is freed.
 */
struct oa_spool *oa_dispatcher_spool(oa_dispatcher *dispatcher);

/* Have what is new stay on disk only, or read it back: what another process left, and is still to
 * be found, goes first. */
void oa_dispatcher_hold(oa_dispatcher *dispatcher, bool is_held);

/* Figures of a journal. */
typedef struct oa_spool_stats {
    uint64_t segments;
    uint64_t bytes;     /* of segments, spare ones included */
    uint64_t found;     /* entries of other processes, of those read so far */
    uint64_t missing;   /* entries that were damaged */
    uint64_t unwritten; /* decisions that were in memory only, since no segment had room */
    uint64_t disk_only; /* entries to be read back, without those of segments that were found */
} oa_spool_stats;

/* ---- What is due ---- */

/* Return the monotonic moment in ms at which to call oa_dispatcher_step(); UINT64_MAX: none is
 * known. */
uint64_t oa_dispatcher_next_due(const oa_dispatcher *dispatcher, oa_now now);

/* Do what is due: end flushes, release parked users, close. It starts no attempt; see below. */
void oa_dispatcher_step(oa_dispatcher *dispatcher, oa_now now);

/* ---- One attempt to deliver one batch ---- */

typedef struct oa_attempt oa_attempt;

/* Whether oa_dispatcher_take_attempt() has one to give: something is to be sent now. */
bool oa_dispatcher_has_attempt(const oa_dispatcher *dispatcher, oa_now now);

/*
 * Cut the next batch, and return an attempt to deliver it; NULL when nothing is due. As many as
 * oa_config.max_concurrent are out at a time, of different users each; one while the server is in
 * trouble. Ownership: lends it, whole, until oa_dispatcher_give_back().
 */
oa_attempt *oa_dispatcher_take_attempt(oa_dispatcher *dispatcher, oa_now now);

/* ---- A store of exposures, which the processes of a fleet share ---- */

/*
 * With oa_config.store an attempt is compared with a store before it is rendered, and what was
 * accepted is written there before the attempt is given back:
 *
 *     take_attempt -> attempt_ask -> (ask the store) -> dispatcher_learn -> render, POST, answer
 *                  -> attempt_write -> (write to the store) -> attempt_confirm -> give_back
 *
 * A store keeps a hash for each key, with fields and values as below. Its host may give up at any
 * moment: what it does not know is sent, and what is not written may be sent again elsewhere.
 */
enum { OA_STORE_KEY_DIGITS = 24 };

/*
 * A part of a question, or of what is to be written: pairs of one user in one window, one after the
 * other in `text`.
 *
 *     asked     field and value, of 12 hexadecimal digits each
 *     written   the same; then the new version, ':', the version that must be there or nothing for
 *               none, and ','
 */
typedef struct oa_store_part {
    char key[OA_STORE_KEY_DIGITS]; /* hexadecimal digits, not terminated */
    uint32_t bucket;               /* evenly spread, to choose a server by */
    oa_str text;
    size_t pair_count;
    int64_t expires_ms; /* since the epoch: what is kept under the key is of no use afterwards */
} oa_store_part;

/* Answers to a pair that was asked: these, or twice the version, and 1 more if the value is the
 * same. To one that was written: OA_STORE_ABSENT when it was, or the version that is there instead,
 * with another value. */
enum { OA_STORE_UNKNOWN = -2, OA_STORE_ABSENT = -1 };

/*
 * Return what to ask of the store, with the number of parts in *count; 0: nothing. Call it once.
 * Ownership: lends the parts until the next call that concerns the attempt.
 */
const oa_store_part *oa_attempt_ask(oa_attempt *attempt, size_t *count);

/*
 * Take the answers to all pairs in order (any that are missing are unknown), and leave out what the
 * fleet has sent. Call it before rendering if there is a store, also when it cannot be asked.
 * Returns whether anything is left; if not, give the attempt back.
 */
bool oa_dispatcher_learn(oa_dispatcher *dispatcher, oa_attempt *attempt, const int32_t *answers,
                         size_t count);

/*
 * Return what to write to the store after an answer, with the number of parts in *count: 0 unless
 * the request was accepted. Ownership: as above.
 */
const oa_store_part *oa_attempt_write(oa_attempt *attempt, size_t *count);

/* Take the answers to what was written, in order; any that are missing are unknown. */
void oa_attempt_confirm(oa_attempt *attempt, const int32_t *answers, size_t count);

/*
 * Render the body. Thread: any. Errors: OA_NOMEM; give the attempt back then, without an answer.
 * Cost: about half a microsecond for a decision.
 */
oa_status oa_attempt_render(oa_attempt *attempt) __attribute__((warn_unused_result));

/*
 * Lend the rendered body, a JSON text or the gzip of one, until the attempt is given back. Thread:
 * any.
 */
oa_str oa_attempt_body(const oa_attempt *attempt);

/* Whether the rendered body is compressed: `Content-Encoding: gzip`. Thread: any. */
bool oa_attempt_is_gzip(const oa_attempt *attempt);

/* The longest answer that is read; a list of 2000 throttled users of 1024 characters fits. */
enum { OA_ANSWER_MAX_BYTES = 4 * 1024 * 1024 };

/* The result of sending a body. Everything is borrowed. */
typedef struct oa_answer {
    int status_code;      /* HTTP status of a complete answer; 0: none came */
    bool aborted;         /* the host ended the request by itself; the rest is not looked at */
    size_t sent_bytes;    /* the body, as sent */
    uint64_t duration_ms; /* of the request */
    uint32_t retry_after_seconds; /* of the header, whichever form it had; 0: absent */
    oa_str body;                  /* at most OA_ANSWER_MAX_BYTES */
    oa_str error;                 /* why none came: one line, with the host and never a secret */
    oa_str location; /* of a redirect, if known: in one line, without user name and query */
} oa_answer;

/* Pass in the answer to a rendered body, once, and judge it. Thread: any. Borrows `answer`. */
void oa_attempt_answer(oa_attempt *attempt, const oa_answer *answer);

/*
 * Hand an attempt back, and settle, drop, park or keep its decisions. Without an answer it counts
 * for nothing: it was cancelled before its body was sent, or could not be rendered.
 */
void oa_dispatcher_give_back(oa_dispatcher *dispatcher, oa_now now, oa_attempt *attempt);

/* ---- What the core reports to its host ---- */

/* An attempt whose body was sent is over. */
typedef struct oa_attempt_notice {
    uint64_t number; /* of this dispatcher's, from 1 */
    size_t decision_count;
    size_t event_count;
    size_t body_bytes; /* as sent */
    bool gzip;
    bool again;      /* an earlier one carried (some of) it */
    int status_code; /* 0: no answer */
    uint64_t duration_ms;
    oa_str message; /* what went wrong, in one line */
} oa_attempt_notice;

/* A line for the log. `topic` is a stable word for what it is about, to rate-limit by. Static
 * storage. */
typedef struct oa_log_notice {
    oa_log_level level;
    const char *topic;
    oa_str message;
} oa_log_notice;

/* A decision, or a tracked event, that was dropped. */
typedef struct oa_dropped {
    oa_str user_id;
    oa_str device_id;
    oa_str event; /* of a tracked event: what was given; absent for a decision */
    oa_str flag_key;
    oa_str variation_key;
    oa_str rule_key;
    bool enabled;
    int64_t time_ms;
    char insert_id[33]; /* "" for a decision that was refused before it had one */
} oa_dropped;

/* Decisions were dropped, for one reason and one answer. */
enum { OA_DROPS_AT_ONCE = 64 };

typedef struct oa_drop_notice {
    oa_drop_reason reason;
    int status_code;
    oa_str message;
    const oa_dropped *decisions;
    size_t count; /* at most OA_DROPS_AT_ONCE */
} oa_drop_notice;

/* A flush or close is over. */
typedef struct oa_flush_notice {
    void *ticket;
    oa_flush_report report;
} oa_flush_notice;

typedef enum oa_notice_kind {
    OA_NOTICE_CANCEL, /* end what is out, soon; it comes back anyway */
    OA_NOTICE_ATTEMPT,
    OA_NOTICE_LOG,
    OA_NOTICE_DROP,
    OA_NOTICE_FLUSH,
} oa_notice_kind;

typedef struct oa_notice {
    oa_notice_kind kind;
    union {
        oa_attempt_notice attempt;
        oa_log_notice log;
        oa_drop_notice drop;
        oa_flush_notice flush;
    } about;
} oa_notice;

/*
 * Take the next notice, in the order of the kinds above; false when there is none. Ownership: lends
 * what *out points to until the next call of this function, whatever else is called.
 */
bool oa_dispatcher_next_notice(oa_dispatcher *dispatcher, oa_notice *out);

/* ---- Counters ---- */

/* How the server is, as far as attempts tell. */
#define OA_HEALTH_MAP(X) X(OK, "ok") X(RETRYING, "retrying") X(CONFIGURATION, "configuration")

typedef enum oa_health_state {
#define OA_HEALTH_ENUM(name, text) OA_HEALTH_##name,
    OA_HEALTH_MAP(OA_HEALTH_ENUM)
#undef OA_HEALTH_ENUM
} oa_health_state;

/* Return the contract's name of a state ("retrying"). Static storage. */
const char *oa_health_name(oa_health_state state);

/* What became of a kind of records. `accepted = delivered + dropped + pending`. */
typedef struct oa_counts {
    uint64_t accepted;
    uint64_t delivered;
    uint64_t pending;
    uint64_t dropped[OA_DROP_COUNT];
} oa_counts;

/* The first five count decisions and tracked events together; of them, `tracked` are the latter. */
typedef struct oa_stats {
    uint64_t accepted;
    uint64_t deduplicated; /* grows also when an accepted one turns out to be a repeat, see below */
    uint64_t delivered;
    uint64_t pending;
    uint64_t dropped[OA_DROP_COUNT];
    oa_counts tracked;
    uint64_t requests_sent;
    uint64_t requests_retried; /* sent again because an earlier attempt failed */
    uint64_t requests_failed;  /* answered with anything but 2xx, or not at all */
    uint64_t request_bytes;    /* bodies, as sent (compressed) */
    uint64_t late_repeats;     /* accepted, and then found to be repeats: they lower `accepted` */
    uint64_t store_conflicts;  /* properties sent again, since another process sent another value */
    uint64_t events_sent;      /* in requests that were answered with 2xx */
    uint64_t queue_bytes;
    uint64_t queue_high_water_bytes;
    oa_health_state health;
    uint32_t failures_in_a_row;
    int64_t failing_since_ms;   /* since the epoch; 0 while there is no failure */
    uint64_t oldest_pending_ms; /* the age of the oldest decision that is pending; 0 for none */
    oa_spool_stats spool;       /* all zero without a journal */
    bool has_error;
    int error_status_code; /* 0: no answer */
    int64_t error_time_ms; /* since the epoch */
    char error_message[400];
} oa_stats;

/* Copy the counters. `accepted = delivered + dropped + pending` holds at every moment. */
void oa_dispatcher_stats(const oa_dispatcher *dispatcher, oa_now now, oa_stats *out);

/* ---- The process ---- */

/* How a host gets pages of memory from the system, and gives them back. */
typedef struct oa_pages {
    void *(*alloc)(size_t size); /* NULL: none are left */
    void (*free)(void *pointer, size_t size);
} oa_pages;

/* Keep long queues on such pages instead of the heap. Call it before the first dispatcher is
 * created. */
void oa_set_pages(oa_pages pages);

/* Give memory back that is kept for later decisions, where a host needs it at once. */
void oa_dispatcher_trim(oa_dispatcher *dispatcher);

/* Versions of the libraries that are linked, or included. Static storage. */
const char *oa_cjson_version(void);
const char *oa_xxhash_version(void);

#ifdef __cplusplus
}
#endif

#endif
