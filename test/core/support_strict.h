/*
 * support_strict.h: a server with rules, as Amplitude has them.
 *
 * It refuses decisions with a variation that begins with "bad", bodies that are too large, and
 * users who are throttled or over their quota; nothing of a refused request is accepted. The test
 * chooses how much of what it refuses it lists.
 */
#ifndef SUPPORT_STRICT_H
#define SUPPORT_STRICT_H

#include "support.h"

enum { STRICT_USERS = 8 };

typedef enum strict_list { LIST_ALL, LIST_FIRST, LIST_NONE } strict_list;

typedef enum strict_parts { BAD_BOTH, BAD_IDENTIFY, BAD_EVENT } strict_parts;

typedef struct strict {
    world *world;
    strict_list list;
    strict_parts parts;                  /* of a bad decision, which are refused */
    int refusal;                         /* the status for bad decisions: 400, 403, ... */
    size_t max_body_bytes;               /* 0: any */
    const char *throttled[STRICT_USERS]; /* NULL: none */
    uint64_t throttled_until_ms[STRICT_USERS];
    const char *over_quota[STRICT_USERS];
    bool throttles_devices; /* the names are those of devices */
    char text[1 << 17];
} strict;

/* Make the world's server strict; the caller keeps the memory until the world ends. */
void strict_rule(strict *rules, world *w);

/* The responder; others may call it for requests that they do not answer themselves. */
void strict_respond(void *data, const arrival *request, answer *out);

/* Whether the server would refuse this event for what it says. */
bool strict_is_bad(const strict *rules, const cJSON *event);

/* Record decisions f=a of u0, u1, ..., but f=bad of those whose numbers are in `bad`. */
void decide_many(world *w, int count, const int *bad, size_t bad_count);

#endif
