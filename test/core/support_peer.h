/*
 * support_peer.h: a small HTTP server on the loopback interface, on a thread of its own, with
 * scripted answers.
 */
#ifndef SUPPORT_PEER_H
#define SUPPORT_PEER_H

#include <stdatomic.h>

#include <uv.h>

#include "support.h"

enum { MOST_REPLIES = 16, MOST_CONNECTIONS = 16, MOST_REQUEST_BYTES = 4 << 20 };

/* What the peer does with one request. */
typedef struct reply {
    const char *text;
    size_t padding; /* bytes behind it */
    bool silent;    /* says nothing, until the client goes away */
    bool held;      /* reads nothing before peer_speak(), and then answers */
    bool closes;    /* the connection, afterwards */
    bool blind;     /* answers whatever comes first */
} reply;

typedef struct peer {
    int listener;
    uint16_t port;
    uv_thread_t thread;
    reply replies[MOST_REPLIES];
    size_t count;
    int open[MOST_CONNECTIONS]; /* sockets, by the order in which they came; -1: closed */
    _Atomic size_t connections;
    _Atomic size_t requests;
    size_t came_over[MOST_REPLIES]; /* request -> connection, from 0 */
    _Atomic bool holds;             /* a request, without an answer */
    uv_sem_t speaks;
    char *request; /* the last one, headers and body */
    size_t request_len;
} peer;

/* Start a peer that answers `count` requests, in order, and then ends. */
peer *peer_start(const reply *replies, size_t count);

#define PEER(...)                                                                                  \
    peer_start((const reply[]){__VA_ARGS__}, sizeof((const reply[]){__VA_ARGS__}) / sizeof(reply))

/* Let it read, and answer, the request that is held now, or the next one. */
void peer_speak(peer *p);

/* Wait until everything was said; the request can be read then. */
void peer_join(peer *p);

void peer_free(peer *p);

/* Return a socket that listens on a free port of the loopback interface. */
int listen_anywhere(uint16_t *port);

#endif
