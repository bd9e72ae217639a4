/*
 * support.h: a dispatcher in a world that a test controls; the world is its host.
 *
 * The world has a clock that stands still until advance(), randomness that is a single number (or
 * runs free), a server with scripted answers, and memory that fails at the n-th allocation. Nothing
 * waits for time to pass: settle() does what is due until nothing is left to do at this moment of
 * the world's clock, or until a silent server holds the request.
 *
 * After every turn the world checks that the counts of decisions add up.
 *
 * Requests and decisions are compared as text (see arrival_text()):
 *
 *   ann{f=a,g=b} ann:f=a ann:g=b!      an $identify of f and g, and two events, one disabled
 *   ann^f=a ann:f=a{f=a}               a $exposure, and an event that sets its property
 */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "state.h"

static inline oa_str str(const char *text) {
    return text == NULL ? (oa_str){NULL, 0} : (oa_str){text, strlen(text)};
}

/* splitmix64: return the next number of a seeded sequence. */
uint64_t draw(uint64_t *state);

/* Return a number below `bound` of a seeded sequence. */
uint64_t draw_below(uint64_t *state, uint64_t bound);

/* Return `pointer`; end the process if it is NULL. */
void *must(void *pointer);

/* Return the next, emptied, of a few buffers that take turns. */
char *text_new(void);

/* Append to such a buffer. */
void text_add(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

enum { ONE_DAY_MS = 24 * 3600 * 1000 };

/* A wait of more turns than this has failed. */
enum { PATIENCE_TURNS = 100000 };

/* ---- memory ---- */

/* Fail the n-th allocation of the core from now on (from 1), once; 0: none. */
void memory_fail(size_t nth);

/* Fail every allocation from now on, or none. */
void memory_deny(bool deny);

/* Return how many allocations were refused since the last memory_fail(). */
size_t memory_refusals(void);

/* ---- the server ---- */

/* An answer of the server. */
typedef struct answer {
    int status; /* 0: no answer */
    const char
        *body; /* borrowed until the world ends, or the next answer; NULL: Amplitude's usual one */
    uint32_t retry_after; /* seconds */
    bool silent;          /* waits for server_speak(), or for a cancel, before it is sent */
} answer;

/* One request, as the server saw it. */
typedef struct arrival {
    cJSON *body; /* NULL: not JSON, or not in UTF-8, or the server skims */
    oa_str text; /* lent to the responder */
    size_t body_bytes;
    oa_now at;
    bool aborted;
    bool answered; /* or aborted */
    int status;    /* of the answer */
} arrival;

size_t arrival_count(const arrival *request);
const cJSON *arrival_event(const arrival *request, size_t index);
bool is_identify(const cJSON *event);
bool is_exposure(const cJSON *event);

/* Return the user properties that an event sets, or NULL. */
const cJSON *user_properties_of(const cJSON *event);

/* Return a string member, or "" where there is none. */
const char *text_of(const cJSON *object, const char *name);

/* Decide what to answer, to which request. */
typedef void (*responder)(void *data, const arrival *request, answer *out);

typedef struct server {
    bool skims;        /* parses and keeps no body: for decisions by the million */
    bool speaking;     /* the next silent answer is not */
    size_t cancels;    /* that the core asked for */
    responder respond; /* NULL: the script, then `otherwise` */
    void *data;
    answer otherwise;
    answer script[64];
    size_t script_count;
    size_t script_at;
    arrival *arrivals;
    size_t count;
    size_t cap;
} server;

/* ---- the world ---- */

/* A request that waits in a silent server. */
typedef struct exchange {
    oa_attempt *attempt;
    size_t arrival; /* its index */
    answer held;
    char *body; /* of that; owned */
} exchange;

typedef struct line {
    oa_log_level level;
    char topic[32];
    char text[700];
} line;

typedef struct drop {
    oa_drop_reason reason;
    int status_code;
    int64_t time_ms;
    char message[420];
    char insert_id[33];
    char *text; /* ann:f=a */
} drop;

typedef struct world world;

/* A flush or a close, and what became of it. */
typedef struct ticket {
    world *world;
    bool done;
    uint64_t undelivered; /* at the call */
    oa_flush_report report;
    void (*then)(struct ticket *ticket); /* NULL, or called when it is over */
} ticket;

struct world {
    oa_now now;
    uint64_t random; /* what every draw of the core gives, or the seed: */
    bool runs_free;  /* the core draws as it does in a process */
    oa_config config;
    server server;
    oa_dispatcher *dispatcher;
    oa_attempt *attempt;              /* that is performed, or answered, just now */
    exchange held[OA_MAX_CONCURRENT]; /* in order of arrival */
    size_t held_count;
    struct disk *disk;   /* NULL, or for its journal: see support_spool.h */
    struct store *store; /* NULL, or shared by worlds: see support_store.h */
    bool is_telling;     /* a test's handler runs */

    uint64_t accepted;
    uint64_t repeats;
    uint64_t tracked;  /* events of the application's own, accepted or not */
    uint64_t untold;   /* refused decisions that were counted and not described */
    uint64_t attempts; /* reported to the host */
    line *lines;
    size_t line_count;
    drop *drops;
    size_t drop_count;
    size_t largest_report; /* decisions in one call of `dropped` */
    ticket **tickets;
    size_t ticket_count;
    struct constant *constants;
    size_t constant_count;

    void (*on_drop)(world *w); /* called for each notice of its kind, when set */
    void (*on_log)(world *w);
    void *data; /* the test's own */
};

/* Return a world with a sane config and a server that accepts everything; edit both, then start. */
world *world_new(void);

/* Create the dispatcher; assert that it works. Returns the world. */
world *world_start(world *w);

/* Create the dispatcher, and return the status. */
oa_status world_try_start(world *w);

/* Free everything. A request that is held is cancelled. */
void world_end(world *w);

/* Answer the next requests by these, in order. */
void server_plan(world *w, answer next);
#define PLAN(w, ...) server_plan((w), (answer){__VA_ARGS__})

/* Take a request in, and decide what to answer. Returns whether the server is silent. */
bool server_receive(world *w, oa_str body, answer *out);

/* Answer a request, and give its attempt back. */
void server_answer(world *w, const exchange *request);

/* Whether a request waits in a silent server. */
bool server_holds(const world *w);

/* Let a silent server send its answer, now or when it has one: to the request that waits longest,
 * or to the one at `index` of those that wait. */
void server_speak(world *w);
void server_speak_to(world *w, size_t index);

/* The lane of a user. */
oa_lane *lane_of(const world *w, const char *user);

/* Record a decision of a known variant; return the dispatcher's status. */
oa_status record(world *w, oa_decision *decision);

/* Record a decision; return the dispatcher's status. variation NULL: null. The second checks
 * nothing, for decisions by the million. */
oa_status decide_with(world *w, const oa_decision *decision, const char *flag,
                      const char *variation, bool enabled);
oa_status decide_fast(world *w, const oa_decision *decision, const char *flag,
                      const char *variation, bool enabled);

/* Record an enabled decision of a user, and assert that it is accepted. */
void decide(world *w, const char *user, const char *flag, const char *variation);

/* The same, without asserting; absent ids as NULL. */
oa_status try_decide(world *w, const char *user, const char *device, const char *flag,
                     const char *variation, bool enabled);

/* Record an event of the application's own, a `Purchase` that looks like an enabled decision apart
 * from its type; return the dispatcher's status. */
oa_status try_track(world *w, const char *user, const char *device, const char *flag,
                    const char *variation);

/* Record an enabled decision whose events come rendered: a $identify and an `Experiment Viewed`. */
oa_status try_rendered(world *w, const char *user, const char *flag, const char *variation);

bool is_tracked(const cJSON *event);

/* Forget the variants, of the dispatcher and of the world. */
void forget_constants(world *w);

/* Do what is due now, and start or end one attempt. Returns whether there was anything to do. */
bool turn(world *w);

/* Turn until `condition`. */
#define TURN_UNTIL(w, condition)                                                                   \
    for (int turns = 0; !(condition); turn(w))                                                     \
    turn_guard(turns++, #condition, __FILE__, __LINE__)

void turn_guard(int turns, const char *condition, const char *file, int line);

/* Turn until nothing is left to do now, or the server holds a request. */
void settle(world *w);

/* Let time pass on both clocks, and do what is due then. */
void advance(world *w, uint64_t ms);

/* Begin a flush or a close; the ticket lives as long as the world. */
ticket *flush(world *w, uint64_t timeout_ms);
ticket *flush_abort(world *w, uint64_t timeout_ms);
ticket *close_world(world *w, uint64_t timeout_ms);

/* The same; NULL when memory ran out. */
ticket *try_flush(world *w, uint64_t timeout_ms, bool abort);
ticket *try_close(world *w, uint64_t timeout_ms);

/* Flush, settle, and assert that it is over with these numbers. */
void flush_now(world *w, uint64_t delivered, uint64_t dropped, uint64_t pending);

/* Assert that a ticket is done, with these numbers. */
#define EXPECT_REPORT(t, delivered_, dropped_, pending_)                                           \
    do {                                                                                           \
        assert_true((t)->done);                                                                    \
        assert_int_equal((t)->report.delivered, (delivered_));                                     \
        assert_int_equal((t)->report.dropped, (dropped_));                                         \
        assert_int_equal((t)->report.pending, (pending_));                                         \
    } while (0)

oa_stats stats_of(const world *w);
uint64_t dropped_of(const world *w);

/* Check that the counts add up. Called by everything above. */
void check_account(world *w);

/* Return the events of a request as text. Static storage, good for several calls. */
const char *arrival_text(const arrival *request);

/* Assert that request `index` arrived, and what was in it. */
#define EXPECT_ARRIVAL(w, index, text)                                                             \
    do {                                                                                           \
        assert_true((w)->server.count > (size_t)(index));                                          \
        assert_string_equal(arrival_text(&(w)->server.arrivals[index]), (text));                   \
    } while (0)

/* Return the events (no $identify) of all requests that were answered by 200, in order. Static
 * storage. */
const char *delivered_text(const world *w);

/* Assert the reason and the text of a drop. */
#define EXPECT_DROP(w, index, reason_, text_)                                                      \
    do {                                                                                           \
        assert_true((w)->drop_count > (size_t)(index));                                            \
        assert_string_equal(oa_drop_name((w)->drops[index].reason), oa_drop_name(reason_));        \
        assert_string_equal((w)->drops[index].text, (text_));                                      \
    } while (0)

/* Whether a line of the topic was logged. */
bool was_logged(const world *w, const char *topic);

#endif
