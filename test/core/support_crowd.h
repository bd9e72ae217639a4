/*
 * support_crowd.h: many users who decide all the time, and a server that skims what arrives.
 *
 * Decision n is of user n % users ("u0", "u1", ...), and carries its number. The server checks that
 * none arrives twice, and that those of a user arrive in order; it notes how long each one took.
 * The clock goes from one moment at which something is due to the next, as it does for a host, and
 * the core draws its random numbers as it does in a process.
 */
#ifndef SUPPORT_CROWD_H
#define SUPPORT_CROWD_H

#include "support.h"

enum { ONE_SECOND_MS = 1000, ONE_MINUTE_MS = 60 * 1000, ONE_HOUR_MS = 3600 * 1000 };

typedef struct crowd crowd;

/* Decide what to answer; *out is 200 before. */
typedef void (*crowd_judge)(crowd *c, const arrival *request, answer *out);

struct crowd {
    world *world;
    uint64_t users;
    crowd_judge judge;     /* NULL: everything is accepted */
    const char *variation; /* of the next decisions: "a" at first */
    uint64_t bad;          /* the test's own: a user, or a decision */

    uint64_t count; /* decisions so far */
    uint64_t arrived;
    uint64_t *decided_at_ms; /* of each decision */
    uint8_t *has_arrived;
    uint64_t cap;
    uint64_t *last;       /* of each user: number of the last that arrived, plus one */
    uint64_t *slowest_ms; /* of each user */
};

/* Return a world with the options' defaults, whose core draws from `seed`; edit it, then start. */
world *crowd_world(uint64_t seed);

/* Begin with a world that is started; crowd_end() ends that, too. */
void crowd_begin(crowd *c, world *w, uint64_t users);
void crowd_end(crowd *c);

/* Have the next user decide; return the dispatcher's status. */
oa_status crowd_decide(crowd *c);

/* Have `count` of them decide now, and assert that they are accepted. */
void crowd_decide_many(crowd *c, uint64_t count);

/* Let time pass, with so many decisions in a second, in groups of at most a hundred in a second. */
void crowd_live(crowd *c, uint64_t ms, uint64_t per_second);

/* Whether a request carries a decision of this user; or this decision. */
bool crowd_has_user(const arrival *request, uint64_t user);
bool crowd_has_decision(const arrival *request, uint64_t number);

/* How many decisions a request carries. */
uint64_t crowd_count(const arrival *request);

/* Requests so far. */
size_t crowd_requests(const crowd *c);

/* Assert that every decision arrived but those that were dropped, and that nothing is pending. */
void crowd_expect_all(const crowd *c, uint64_t dropped);

/* Return how long the slowest decision took of all users but one; `but` of UINT64_MAX: of all. */
uint64_t crowd_slowest_ms(const crowd *c, uint64_t but);

/* Print what was measured, if OA_SAY is set. */
void crowd_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Judges. */
void crowd_down(crowd *c, const arrival *request, answer *out); /* 503 */

#endif
