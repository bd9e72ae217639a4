/*
 * curl.c: one easy handle, on a multi handle that others may be on. A handle may move between
 * threads but be used by one at a time; what may come from another thread is in multi.h.
 *
 * libcurl must not read the environment (a pool thread would race with writes to process.env), so
 * proxies are always set, to "" where there is none.
 */
#include "curl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <uv.h>

#include "multi.h"
#include "trust.h"
#include "url.h"

/* CURLOPT_CAINFO_BLOB and its like for proxies. */
#if LIBCURL_VERSION_NUM < 0x074d00
#error "libcurl 7.77 or later is needed"
#endif

enum {
    MAX_CONNECT_MS = 4 * 1000,
    /* Load balancers close idle connections after a minute or so; ours are not kept that long. */
    MAX_IDLE_SECONDS = 30,
    /* Balancers, and names that move, are looked at again after this time. */
    MIN_LIFE_MS = 4 * 60 * 1000,
    MAX_LIFE_MS = 5 * 60 * 1000,
    CLOCK_JUMP_MS = 5 * 1000, /* the clocks disagree by this much: the machine was frozen */
    UPLOAD_BUFFER_BYTES = 512 * 1024,
    MAX_LOCATION_BYTES = 200,
    DOWNLOAD_BUFFER_BYTES = 256 * 1024,
    LOW_SPEED_BYTES = 1024, /* a second; a GET that stays below it is a silence */
    FIRST_BODY_BYTES = 1024,
    KEEP_BODY_BYTES = 64 * 1024,
};

struct oa_curl {
    oa_multi *multi; /* owned with those that are joined */
    oa_transfer transfer;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *gzip_headers;
    struct curl_slist *get_headers; /* of the GET that is under way */
    oa_curl_sink sink;              /* likewise; NULL for a POST */
    void *sink_data;
    char *body; /* of the answer */
    size_t body_len;
    size_t body_cap;
    bool body_is_too_large;
    bool headers_ended;    /* of the answer: libcurl takes half of them for all */
    bool has_retry_after;  /* likewise: libcurl takes that of an interim answer for it */
    oa_answer answer;      /* of the POST that is under way */
    oa_now began;          /* likewise */
    uint64_t old_at_ms;    /* when the connection is to be replaced */
    bool is_suspect;       /* the last exchange speaks against its connection */
    uint32_t stale_before; /* see oa_multi; as often had it a new connection */
    uint64_t request_timeout_ms;
    bool has_ca_file;
    oa_trust *trust;              /* NULL: what libcurl trusts */
    char no_trust[256];           /* why nothing can be verified with it; "" when it can */
    char host[OA_URL_HOST_BYTES]; /* for messages */
    char reason[448];             /* why no answer came, or where a redirect leads */
    char error[CURL_ERROR_SIZE];
};

static uv_once_t once = UV_ONCE_INIT;
static bool curl_is_ready;

/* Never undone: another thread or copy of this addon may be using libcurl. */
static void start_curl(void) { curl_is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK; }

const char *oa_curl_version(void) { return curl_version(); }

/* ---- The answer ---- */

static bool grow_body(oa_curl *curl, size_t need) {
    curl->body_is_too_large = need > OA_ANSWER_MAX_BYTES;
    if (curl->body_is_too_large)
        return false;
    size_t cap = curl->body_cap > 0 ? curl->body_cap : FIRST_BODY_BYTES;
    while (cap < need)
        cap *= 2;
    char *body = realloc(curl->body, cap);
    if (body == NULL)
        return false;
    curl->body = body;
    curl->body_cap = cap;
    return true;
}

/* Only the body of a 200 is what was asked for. */
static size_t give_to_sink(oa_curl *curl, const char *data, size_t count) {
    long status = 0;
    curl_easy_getinfo(curl->easy, CURLINFO_RESPONSE_CODE, &status);
    return status != 200 || curl->sink(curl->sink_data, data, count) ? count : 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *user) {
    (void)size; /* always 1 */
    oa_curl *curl = user;
    if (curl->sink != NULL)
        return give_to_sink(curl, data, count);
    if (count > curl->body_cap - curl->body_len && !grow_body(curl, curl->body_len + count))
        return 0;
    memcpy(curl->body + curl->body_len, data, count);
    curl->body_len += count;
    return count;
}

/* Behind one address are many machines, and a broken one keeps its connections. */
static bool speaks_against_connection(long status) { return status == 408 || status >= 500; }

/* Have no exchange beside this one use its connection, if the answer speaks against that. */
static void close_if_suspect(oa_curl *curl) {
    long status = 0;
    curl_easy_getinfo(curl->easy, CURLINFO_RESPONSE_CODE, &status);
    if (curl->multi->count > 1 && speaks_against_connection(status))
        curl_easy_setopt(curl->easy, CURLOPT_FORBID_REUSE, 1L);
}

static size_t on_header(char *data, size_t size, size_t count, void *user) {
    static const char retry_after[] = "retry-after:";
    (void)size;
    oa_curl *curl = user;
    if (count >= 5 && memcmp(data, "HTTP/", 5) == 0) { /* after an interim answer, the final one */
        curl->headers_ended = curl->has_retry_after = false;
        close_if_suspect(curl);
    } else if (count > 0 && (data[0] == '\r' || data[0] == '\n'))
        curl->headers_ended = true;
    else if (count >= sizeof(retry_after) &&
             strncasecmp(data, retry_after, sizeof(retry_after) - 1) == 0)
        curl->has_retry_after = true;
    return count;
}

/* Forget the last answer. */
static void reset_answer(oa_curl *curl) {
    if (curl->body_cap > KEEP_BODY_BYTES) {
        free(curl->body);
        curl->body = NULL;
        curl->body_cap = 0;
    }
    curl->body_len = 0;
    curl->body_is_too_large = false;
    curl->headers_ended = curl->has_retry_after = false;
    curl->reason[0] = '\0';
    curl->error[0] = '\0';
    curl->no_trust[0] = '\0';
}

/* What helps when the CA of a certificate is not trusted; "" when something else is wrong. */
static const char *trust_advice(const oa_curl *curl, CURLcode code) {
    long result = 0;
    curl_easy_getinfo(curl->easy, CURLINFO_SSL_VERIFYRESULT, &result);
    if (result == 0)
        curl_easy_getinfo(curl->easy, CURLINFO_PROXY_SSL_VERIFYRESULT, &result);
    switch (code == CURLE_PEER_FAILED_VERIFICATION ? result : 0) {
    case 2:  /* OpenSSL's X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT */
    case 18: /* DEPTH_ZERO_SELF_SIGNED_CERT */
    case 19: /* SELF_SIGNED_CERT_IN_CHAIN */
    case 20: /* UNABLE_TO_GET_ISSUER_CERT_LOCALLY */
    case 21: /* UNABLE_TO_VERIFY_LEAF_SIGNATURE */
        return curl->has_ca_file ? "; caFile does not have its CA"
                                 : "; name its CA in caFile or NODE_EXTRA_CA_CERTS";
    default:
        return "";
    }
}

static CURLcode set_protocol(CURL *easy) {
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

/* Have one redirect of `url` followed, or none. */
static void set_redirects(CURL *easy, oa_str url, bool follows) {
    const bool is_https = url.len >= 6 && memcmp(url.data, "https:", 6) == 0;
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, follows ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, is_https ? "https" : "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS,
                     (long)(is_https ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

/* Fill in `reason`: what failed and for which host, in one line. */
static void explain(oa_curl *curl, CURLcode code) {
    oa_url_cut_host(curl->error, curl->host);
    const char *text = curl->error;
    /* It may quote the URL of a proxy, with credentials. */
    if (text[0] == '\0' || strchr(text, '@') != NULL)
        text = curl_easy_strerror(code);
    if (curl->no_trust[0] != '\0')
        text = curl->no_trust;
    else if (code == CURLE_WRITE_ERROR && curl->sink != NULL)
        text = "the answer is not wanted";
    else if (code == CURLE_WRITE_ERROR)
        text = curl->body_is_too_large ? "the answer is too large" : "out of memory for the answer";
    snprintf(curl->reason, sizeof(curl->reason), "%s: %s%s", curl->host, text,
             trust_advice(curl, code));
    oa_url_make_printable(curl->reason);
}

static void read_answer(oa_curl *curl, oa_answer *out) {
    long status = 0;
    curl_off_t seconds = 0;
    curl_easy_getinfo(curl->easy, CURLINFO_RESPONSE_CODE, &status);
    /* Seconds, or a date minus this machine's time: libcurl reads both forms. A past date is
     * negative. */
    curl_easy_getinfo(curl->easy, CURLINFO_RETRY_AFTER, &seconds);
    out->status_code = (int)status;
    if (curl->has_retry_after && seconds > 0)
        out->retry_after_seconds = seconds < UINT32_MAX ? (uint32_t)seconds : UINT32_MAX;
    out->body = (oa_str){curl->body, curl->body_len};
    const char *url = NULL;
    curl_easy_getinfo(curl->easy, CURLINFO_REDIRECT_URL, &url);
    if (url != NULL)
        oa_url_tell(url, curl->reason, MAX_LOCATION_BYTES);
}

/* ---- An exchange ---- */

bool oa_curl_is_stale(oa_now used, uint64_t old_at_ms, oa_now now) {
    const int64_t wall_ms = now.wall_ms - used.wall_ms;
    const int64_t idle_ms = (int64_t)(now.monotonic_ms - used.monotonic_ms);
    const int64_t gap_ms = wall_ms > idle_ms ? wall_ms - idle_ms : idle_ms - wall_ms;
    return used.monotonic_ms != 0 && (idle_ms > MAX_IDLE_SECONDS * 1000 || gap_ms > CLOCK_JUMP_MS ||
                                      now.monotonic_ms >= old_at_ms);
}

uint64_t oa_curl_life_ms(uint64_t random) {
    return MIN_LIFE_MS + random % (MAX_LIFE_MS - MIN_LIFE_MS + 1);
}

/* Note what the exchange, which ended with `code`, tells of the connection that it went over. */
static void judge_connection(oa_curl *curl, CURLcode code) {
    long opened_count = 0;
    curl_easy_getinfo(curl->easy, CURLINFO_NUM_CONNECTS, &opened_count);
    if (opened_count > 0) {
        uint64_t random = 0;
        if (uv_random(NULL, NULL, &random, sizeof(random), 0, NULL) != 0)
            random = uv_hrtime();
        curl->old_at_ms = curl->began.monotonic_ms + oa_curl_life_ms(random);
    }
    curl->is_suspect = code != CURLE_OK || speaks_against_connection(curl->answer.status_code);
}

static void set_request(oa_curl *curl, oa_str body, bool gzip) {
    CURL *easy = curl->easy;
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, gzip ? curl->gzip_headers : curl->headers);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 0L);
}

static bool add_header(struct curl_slist **list, const char *header) {
    struct curl_slist *longer = curl_slist_append(*list, header);
    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

/* Set an option to a string that is not NUL-terminated; an absent one gives `fallback`. */
static CURLcode set_string(CURL *easy, CURLoption option, oa_str value, const char *fallback) {
    if (value.data == NULL)
        return curl_easy_setopt(easy, option, fallback);
    char *text = malloc(value.len + 1);
    if (text == NULL)
        return CURLE_OUT_OF_MEMORY;
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    const CURLcode code = curl_easy_setopt(easy, option, text);
    free(text);
    return code;
}

/* Whether the next exchange needs a new connection. Where one is stale, all are: which of them an
 * exchange gets is up to libcurl. */
static bool wants_fresh(oa_curl *curl, oa_now now) {
    oa_multi *multi = curl->multi;
    if (oa_curl_is_stale(multi->used, curl->old_at_ms, now))
        multi->stale++;
    const bool is_stale = curl->stale_before != multi->stale;
    curl->stale_before = multi->stale;
    return curl->is_suspect || is_stale;
}

/* Set which connection the next exchange uses, and whether a new one may resume a TLS session. */
static void set_connection(oa_curl *curl, oa_now now) {
    const bool resumes = curl->trust == NULL || !oa_trust_has_changed(curl->trust);
    curl_easy_setopt(curl->easy, CURLOPT_SSL_SESSIONID_CACHE, resumes ? 1L : 0L);
    curl_easy_setopt(curl->easy, CURLOPT_FRESH_CONNECT, wants_fresh(curl, now) ? 1L : 0L);
}

void oa_curl_begin(oa_curl *curl, oa_now now, oa_str body, bool gzip) {
    reset_answer(curl);
    curl->answer = (oa_answer){.sent_bytes = body.len};
    set_request(curl, body, gzip);
    set_connection(curl, now);
    curl->began = now;
    oa_multi_begin(curl->multi, &curl->transfer, CURLE_OK);
}

static CURLcode set_get(oa_curl *curl, const oa_get *get, oa_now now) {
    CURL *easy = curl->easy;
    curl_slist_free_all(curl->get_headers);
    curl->get_headers = NULL;
    for (size_t i = 0; i < get->header_count; i++)
        if (!add_header(&curl->get_headers, get->headers[i]))
            return CURLE_OUT_OF_MEMORY;
    /* The whole may take minutes; what must not take long is a silence. */
    const long silence_s = (long)((curl->request_timeout_ms + 999) / 1000);
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, curl->get_headers);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 0L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, (long)LOW_SPEED_BYTES);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, silence_s);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)DOWNLOAD_BUFFER_BYTES);
    set_connection(curl, now);
    set_redirects(easy, get->url, get->follows);
    return set_string(easy, CURLOPT_URL, get->url, NULL);
}

void oa_curl_begin_get(oa_curl *curl, oa_now now, const oa_get *get) {
    reset_answer(curl);
    curl->answer = (oa_answer){0};
    curl->sink = get->sink;
    curl->sink_data = get->data;
    curl->began = now;
    oa_multi_begin(curl->multi, &curl->transfer, set_get(curl, get, now));
}

bool oa_curl_run(oa_curl *curl, uint64_t slice_ms) { return oa_multi_run(curl->multi, slice_ms); }

bool oa_curl_is_over(const oa_curl *curl) { return curl->transfer.is_over; }

void oa_curl_end(oa_curl *curl, oa_now now, oa_answer *out) {
    CURLcode code = curl->transfer.code;
    if (code == CURLE_OK && !curl->headers_ended)
        code = CURLE_RECV_ERROR;
    if (code == CURLE_OK)
        read_answer(curl, &curl->answer);
    else
        explain(curl, code);
    judge_connection(curl, code);
    oa_multi_end(curl->multi, &curl->transfer, now);
    *out = curl->answer;
    out->aborted = code == CURLE_ABORTED_BY_CALLBACK;
    *(code == CURLE_OK ? &out->location : &out->error) =
        (oa_str){curl->reason, strlen(curl->reason)};
    out->duration_ms = now.monotonic_ms - curl->began.monotonic_ms;
}

void oa_curl_cancel(oa_curl *curl) { oa_multi_cancel(curl->multi); }

void oa_curl_recall(oa_curl *curl) { oa_multi_recall(curl->multi); }

void oa_curl_rearm(oa_curl *curl) { oa_multi_rearm(curl->multi); }

/* ---- Creation ---- */

static bool is_https(oa_str url) { return url.len > 6 && memcmp(url.data, "https:", 6) == 0; }

bool oa_curl_needs_trust(const oa_curl_config *config) {
    return config->ca_file.data == NULL &&
           (is_https(config->server_url) || is_https(config->proxy));
}

/* libcurl calls this before each handshake, with a server or a proxy. */
static CURLcode on_ssl_context(CURL *easy, void *ssl_context, void *user) {
    (void)easy;
    oa_curl *curl = user;
    return oa_trust_use(curl->trust, ssl_context, curl->no_trust, sizeof(curl->no_trust))
               ? CURLE_OK
               : CURLE_SSL_CACERT_BADFILE;
}

/* Trust what is in a list, and nothing that libcurl would find by itself. */
static CURLcode set_shared_trust(oa_curl *curl, const oa_trust_source *source) {
    oa_trust *trust = NULL;
    if (oa_trust_acquire(source, &trust) != OA_OK)
        return CURLE_OUT_OF_MEMORY;
    oa_trust_release(curl->trust);
    curl->trust = trust;
    curl_easy_setopt(curl->easy, CURLOPT_CAINFO, NULL);
    curl_easy_setopt(curl->easy, CURLOPT_PROXY_CAINFO, NULL);
    curl_easy_setopt(curl->easy, CURLOPT_SSL_CTX_DATA, curl);
    return curl_easy_setopt(curl->easy, CURLOPT_SSL_CTX_FUNCTION, on_ssl_context);
}

/* The same for a TLS library that is not Node's, as on macOS: each connection reads it anew. */
static CURLcode set_own_trust(CURL *easy, const oa_trust_source *source) {
    struct curl_blob blob = {(void *)(uintptr_t)source->pem.data, source->pem.len, CURL_BLOB_COPY};
    CURLcode code = CURLE_OK;
    if (source->ca_file.data != NULL) {
        code = set_string(easy, CURLOPT_CAINFO, source->ca_file, NULL);
        return code != CURLE_OK ? code
                                : set_string(easy, CURLOPT_PROXY_CAINFO, source->ca_file, NULL);
    }
    code = curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
    return code != CURLE_OK ? code : curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO_BLOB, &blob);
}

static CURLcode set_trust(oa_curl *curl, const oa_trust_source *source) {
    /* A TLS library without directories refuses these two. */
    curl_easy_setopt(curl->easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(curl->easy, CURLOPT_PROXY_CAPATH, NULL);
    return oa_trust_fits(curl_version_info(CURLVERSION_NOW)->ssl_version)
               ? set_shared_trust(curl, source)
               : set_own_trust(curl->easy, source);
}

oa_status oa_curl_trust(oa_curl *curl, const oa_trust_source *source) {
    const CURLcode code = set_trust(curl, source);
    if (code == CURLE_OK)
        return OA_OK;
    return code == CURLE_OUT_OF_MEMORY ? OA_NOMEM : OA_UNAVAILABLE;
}

static bool make_headers(oa_curl *curl) {
    /* "Expect:" switches 100-continue off: it costs a round trip, or a second where it is not
     * known. */
    return add_header(&curl->headers, "Content-Type: application/json") &&
           add_header(&curl->headers, "Accept: */*") && add_header(&curl->headers, "Expect:") &&
           add_header(&curl->gzip_headers, "Content-Type: application/json") &&
           add_header(&curl->gzip_headers, "Accept: */*") &&
           add_header(&curl->gzip_headers, "Expect:") &&
           add_header(&curl->gzip_headers, "Content-Encoding: gzip");
}

static CURLcode set_options(oa_curl *curl, const oa_curl_config *config) {
    CURL *easy = curl->easy;
    const long connect_ms = config->request_timeout_ms < MAX_CONNECT_MS
                                ? (long)config->request_timeout_ms
                                : MAX_CONNECT_MS;
    CURLcode code = CURLE_OK;
#define SET(call)                                                                                  \
    if (code == CURLE_OK)                                                                          \
    code = (call)
    SET(set_string(easy, CURLOPT_URL, config->server_url, NULL));
    SET(set_protocol(easy));
    SET(set_string(easy, CURLOPT_USERAGENT, config->user_agent, NULL));
    SET(set_string(easy, CURLOPT_PROXY, config->proxy, ""));
    SET(curl_easy_setopt(easy, CURLOPT_NOPROXY, ""));
    if (config->ca_file.data != NULL)
        SET(set_trust(curl, &(oa_trust_source){.ca_file = config->ca_file}));
    SET(curl_easy_setopt(easy, CURLOPT_POST, 1L));
    SET(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
    SET(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));
    SET(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
    SET(curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L));
    SET(curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L));
    SET(curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)config->request_timeout_ms));
    SET(curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms));
    SET(curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)MAX_IDLE_SECONDS));
    SET(curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER_BYTES));
    SET(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, curl->error));
    SET(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body));
    SET(curl_easy_setopt(easy, CURLOPT_WRITEDATA, curl));
    SET(curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header));
    SET(curl_easy_setopt(easy, CURLOPT_HEADERDATA, curl));
#undef SET
#if LIBCURL_VERSION_NUM >= 0x075000
    /* Of exchanges that go on together, one may get the connection that another has opened. */
    curl_easy_setopt(easy, CURLOPT_MAXLIFETIME_CONN, (long)MAX_LIFE_MS / 1000);
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    /* An abort does not wait for a resolver that hangs. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    return code;
}

void oa_curl_free(oa_curl *curl) {
    if (curl == NULL)
        return;
    if (curl->easy != NULL)
        curl_easy_cleanup(curl->easy);
    oa_multi_leave(curl->multi, &curl->transfer);
    curl_slist_free_all(curl->headers);
    curl_slist_free_all(curl->gzip_headers);
    curl_slist_free_all(curl->get_headers);
    oa_trust_release(curl->trust);
    free(curl->body);
    free(curl);
}

/* Ownership: takes a multi that none has joined. */
static oa_status create(const oa_curl_config *config, oa_multi *multi, oa_curl **out) {
    oa_curl *curl = calloc(1, sizeof(*curl));
    if (curl == NULL) {
        if (multi->count == 0)
            oa_multi_free(multi);
        return OA_NOMEM;
    }
    curl->multi = multi;
    curl->easy = curl->transfer.easy = curl_easy_init();
    oa_multi_join(multi, &curl->transfer);
    curl->request_timeout_ms = config->request_timeout_ms;
    oa_url_host(config->server_url, curl->host, sizeof(curl->host));
    curl->has_ca_file = config->ca_file.data != NULL;
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (curl->easy != NULL && make_headers(curl))
        code = set_options(curl, config);
    if (code == CURLE_OK) {
        *out = curl;
        return OA_OK;
    }
    oa_curl_free(curl);
    return code == CURLE_OUT_OF_MEMORY ? OA_NOMEM : OA_UNAVAILABLE;
}

oa_status oa_curl_new(const oa_curl_config *config, oa_curl **out) {
    uv_once(&once, start_curl);
    if (!curl_is_ready)
        return OA_UNAVAILABLE;
    oa_multi *multi = oa_multi_new();
    if (multi == NULL)
        return OA_NOMEM;
    return create(config, multi, out);
}

oa_status oa_curl_join(const oa_curl_config *config, oa_curl *curl, oa_curl **out) {
    return create(config, curl->multi, out);
}
