/*
 * curl.h: sends a body to the server. The only user of libcurl.
 *
 * HTTP/1.1, one warm connection, verified TLS, no redirects. One POST at a time. Thread:
 * oa_curl_post() on any one thread, oa_curl_cancel() on any; everything else while no POST is in
 * progress.
 */
#ifndef OA_HOST_CURL_H
#define OA_HOST_CURL_H

#include "oa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a connection is made from; see OA_CONFIG_MAP in oa.h. */
#define OA_CURL_CONFIG_MAP(TEXT, FLAG, NUMBER)                                                     \
    TEXT(server_url, "serverUrl") /* whole URL, query included */                                  \
    TEXT(proxy, "proxy")          /* absent: no proxy */                                           \
    TEXT(no_proxy, "noProxy")     /* absent: none */                                               \
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

/* Take it, and close the connection. NULL is fine. */
void oa_curl_free(oa_curl *curl);

/* Whether oa_curl_trust() is to be called before the first POST: for https, without a ca_file. */
bool oa_curl_needs_trust(const oa_curl_config *config);

/* Set the CA certificates (PEM, concatenated) to trust. Copies. Errors: OA_NOMEM,
 * OA_UNAVAILABLE. */
oa_status oa_curl_trust(oa_curl *curl, oa_str pem) __attribute__((warn_unused_result));

/*
 * POST a body, blocking, and fill in *out, which lends its strings until the next POST.
 * A connection that was idle for long, or across a freeze of the machine, is not used again.
 */
void oa_curl_post(oa_curl *curl, oa_str body, bool gzip, oa_answer *out);

/* End the POST that is in progress, or the next one, within a millisecond. Thread: any. */
void oa_curl_cancel(oa_curl *curl);

/* Forget an earlier cancel: a POST is about to be handed to another thread. */
void oa_curl_rearm(oa_curl *curl);

/* Whether a connection that was last used at `used` is not to be trusted at `now`. Pure. */
bool oa_curl_is_stale(oa_now used, oa_now now);

/* libcurl's version with those of its libraries: "libcurl/7.88.1 OpenSSL/3.0.15". Static
 * storage. */
const char *oa_curl_version(void);

#ifdef __cplusplus
}
#endif

#endif
