/*
 * curl.h: sends a body to the server, or fetches one. The only user of libcurl.
 *
 * HTTP/1.1, one warm connection, verified TLS, no redirects. One exchange at a time, in slices:
 *
 *     begin or begin_get -> run, until it is over or no longer wanted -> end
 *
 * Several may be joined: then their exchanges go on together, in one call of oa_curl_run(), over as
 * many connections.
 *
 * Thread: one call at a time, on any thread, for all that are joined; but oa_curl_cancel() and
 * oa_curl_recall(), which may come at any time.
 */
#ifndef OA_HOST_CURL_H
#define OA_HOST_CURL_H

#include "oa.h"
#include "trust.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a connection is made from; see OA_CONFIG_MAP in oa.h. */
#define OA_CURL_CONFIG_MAP(TEXT, FLAG, NUMBER)                                                     \
    TEXT(server_url, "serverUrl") /* whole URL, query included */                                  \
    TEXT(proxy, "proxy")          /* absent: no proxy */                                           \
    TEXT(ca_file, "caFile")       /* absent: oa_curl_trust() */                                    \
    NUMBER(uint64_t, request_timeout_ms, "requestTimeoutMillis")

typedef struct oa_curl_config {
    OA_CURL_CONFIG_MAP(OA_CONFIG_TEXT, OA_CONFIG_FLAG, OA_CONFIG_NUMBER)
    oa_str user_agent;
} oa_curl_config;

typedef struct oa_curl oa_curl;

/*
 * Create a connection; nothing is sent yet.
 * Ownership: copies the config's strings; returns *out owned. Errors: OA_NOMEM, OA_UNAVAILABLE.
 */
oa_status oa_curl_new(const oa_curl_config *config, oa_curl **out)
    __attribute__((warn_unused_result));

/*
 * Create one more, with the same config, whose exchanges go on together with those of `curl`.
 * Ownership: as above. Errors: as above.
 */
oa_status oa_curl_join(const oa_curl_config *config, oa_curl *curl, oa_curl **out)
    __attribute__((warn_unused_result));

/* Take it, and close the connection. NULL is fine. */
void oa_curl_free(oa_curl *curl);

/* Whether oa_curl_trust() is to be called before the first POST: for https, without a ca_file. */
bool oa_curl_needs_trust(const oa_curl_config *config);

/* Set the CA certificates to trust. Copies. Errors: OA_NOMEM, OA_UNAVAILABLE. */
oa_status oa_curl_trust(oa_curl *curl, const oa_trust_source *source)
    __attribute__((warn_unused_result));

/*
 * Begin to POST a body. A new connection replaces one that was idle for long or across a freeze of
 * the machine, that is some minutes old, or whose last exchange failed or was answered by 408 or
 * 5xx. Ownership: borrows `body` until oa_curl_end().
 */
void oa_curl_begin(oa_curl *curl, oa_now now, oa_str body, bool gzip);

/* Takes bytes of a body as they come. Returns whether more of it is wanted. Borrows. */
typedef bool (*oa_curl_sink)(void *data, const char *bytes, size_t len);

/* What a GET asks for. */
typedef struct oa_get {
    oa_str url;
    const char *const *headers; /* lines */
    size_t header_count;
    oa_curl_sink sink; /* gets the body of a 200 as it is on the wire, during oa_curl_run(); NULL:
                          the body of any answer is in oa_answer, as of a POST */
    void *data;        /* its first argument */
    bool follows;      /* one redirect, if it is no step back from https; another host does not get
                          the header Authorization */
} oa_get;

/*
 * Begin a GET, over a connection that is chosen likewise. A handle is used for POSTs or for GETs.
 * With a sink the answer has no body; `request_timeout_ms` bounds a silence of the server, not the
 * whole, which may take minutes. Ownership: copies the strings.
 */
void oa_curl_begin_get(oa_curl *curl, oa_now now, const oa_get *get);

/* Go on with the exchange, and those that are joined, for `slice_ms` at most. Return whether one is
 * over; all that are cancelled are. */
bool oa_curl_run(oa_curl *curl, uint64_t slice_ms);

/* Whether this one is over, and to be ended. */
bool oa_curl_is_over(const oa_curl *curl);

/*
 * End the POST, which is aborted if it is not over, and fill in *out, which lends its strings until
 * the next one. Cost: an abort while a name is resolved waits for the resolver in libcurl before
 * 7.87.
 */
void oa_curl_end(oa_curl *curl, oa_now now, oa_answer *out);

/* Wake the POST that is under way, or the next one, and have it over within a millisecond, with all
 * that are joined. Thread: any. */
void oa_curl_cancel(oa_curl *curl);

/* Have oa_curl_run(), or its next call, return within a millisecond, whatever is over: another
 * exchange is to begin. Thread: any. */
void oa_curl_recall(oa_curl *curl);

/* Forget an earlier cancel or recall: a POST is about to be handed to another thread. */
void oa_curl_rearm(oa_curl *curl);

/* Whether a connection that was last used at `used`, and is to be replaced from the monotonic
 * moment `old_at_ms` on, is not to be trusted at `now`. Pure. */
bool oa_curl_is_stale(oa_now used, uint64_t old_at_ms, oa_now now);

/* Return for how long a connection is used, by 64 random bits: 4 to 5 minutes, so that those of a
 * fleet that started together do not end together. Pure. Units: ms. */
uint64_t oa_curl_life_ms(uint64_t random);

/* libcurl's version with those of its libraries: "libcurl/7.88.1 OpenSSL/3.0.15". Static
 * storage. */
const char *oa_curl_version(void);

#ifdef __cplusplus
}
#endif

#endif
