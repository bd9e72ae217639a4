/*
 * transport.h: how a body gets to the server; tests plug a fake in.
 *
 * One exchange at a time. Thread: perform on a pool thread; wake on any; everything else on the loop
 * while no exchange is under way.
 */
#ifndef OA_TRANSPORT_H
#define OA_TRANSPORT_H

#include "buf.h"
#include "oa.h"

typedef struct oa_request {
    oa_str body; /* lent for the exchange */
    bool gzip;
    bool fresh_connection; /* do not trust what is left of an earlier one */
} oa_request;

typedef struct oa_exchange {
    int status;           /* HTTP status of a complete answer; 0: none came */
    bool aborted;         /* oa_transport_wake() ended it */
    oa_buf body;          /* of the answer, at most OA_RESPONSE_MAX_BYTES */
    char retry_after[64]; /* header value, or "" */
    char error[400];      /* why status is 0: one line, with the host and never a secret */
} oa_exchange;

typedef struct oa_transport oa_transport;

typedef struct oa_transport_ops {
    /* Perform one exchange, blocking; fill *out. [pool] */
    void (*perform)(oa_transport *transport, const oa_request *request, oa_exchange *out);
    /* End the exchange under way, or the one about to start, within a millisecond. [any thread] */
    void (*wake)(oa_transport *transport);
    /* Forget an earlier wake: an exchange is about to be handed to the pool. [loop] */
    void (*arm)(oa_transport *transport);
    /* Set the PEM to trust; copies. [loop] */
    oa_status (*trust)(oa_transport *transport, oa_str pem);
    /* Close the connection and take the transport. [loop] */
    void (*close)(oa_transport *transport);
} oa_transport_ops;

struct oa_transport {
    const oa_transport_ops *ops;
};

/*
 * Create the libcurl transport: HTTP/1.1, one warm connection, verified TLS, no redirects.
 * Ownership: copies the config's strings; returns *out owned, for ops->close.
 * Errors: OA_NOMEM, OA_UNAVAILABLE.
 */
oa_status oa_transport_curl_new(const oa_config *config, oa_transport **out)
    __attribute__((warn_unused_result));

#endif
