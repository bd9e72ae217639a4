/*
 * transport_curl.c: the transport over libcurl, whose only user this is.
 *
 * One easy handle on one multi handle: the multi's poll can be woken from another thread within a
 * millisecond, which no callback of the easy interface can, and it keeps the connection warm
 * between exchanges. A handle may move between threads but be used by one at a time; only
 * curl_multi_wakeup() is made for another thread, and `aborted` is the only other thing shared.
 *
 * libcurl must not read the environment (a pool thread would race with writes to process.env), so
 * proxies are always set, be it to "".
 */
#include "transport.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "mem.h"
#include "response.h"

#if LIBCURL_VERSION_NUM < 0x074400
#error "libcurl 7.68 or later is needed (curl_multi_wakeup)"
#endif

enum {
    POLL_MS = 1000,
    /* Load balancers close idle connections after a minute or so; ours are not kept that long. */
    MAX_IDLE_SECONDS = 30,
    UPLOAD_BUFFER_BYTES = 512 * 1024,
};

typedef struct oa_curl {
    oa_transport base;
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *gzip_headers;
    oa_exchange *exchange; /* the one under way */
    bool headers_ended;    /* of its answer: libcurl takes half of them for all */
    /* Written by wake (any thread) and arm (loop, before the hand-over); read by perform (pool). It
     * carries no other data, so sequential consistency is more than enough. */
    atomic_bool aborted;
    char host[128]; /* for messages: a URL may hold secrets, a host does not */
    char error[CURL_ERROR_SIZE];
} oa_curl;

static uv_once_t once = UV_ONCE_INIT;
static bool curl_is_ready;

/* Never undone: another thread or copy of this addon may be using libcurl. */
static void start_curl(void) { curl_is_ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK; }

const char *oa_curl_version(void) { return curl_version(); }

static size_t on_body(char *data, size_t size, size_t count, void *user) {
    (void)size; /* always 1 */
    oa_curl *curl = user;
    oa_buf_append(&curl->exchange->body, data, count);
    return oa_buf_status(&curl->exchange->body) == OA_OK ? count : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *user) {
    static const char name[] = "retry-after:";
    (void)size;
    oa_curl *curl = user;
    char *value = curl->exchange->retry_after;
    if (count >= 5 && memcmp(data, "HTTP/", 5) == 0) {
        value[0] = '\0'; /* the final answer begins, after an interim one */
        curl->headers_ended = false;
        return count;
    }
    if (count > 0 && (data[0] == '\r' || data[0] == '\n'))
        curl->headers_ended = true;
    if (count < sizeof(name) || strncasecmp(data, name, sizeof(name) - 1) != 0)
        return count;
    size_t from = sizeof(name) - 1;
    size_t to = count;
    while (from < to && (data[from] == ' ' || data[from] == '\t'))
        from++;
    while (to > from && (data[to - 1] == '\r' || data[to - 1] == '\n' || data[to - 1] == ' '))
        to--;
    if (to - from >= sizeof(curl->exchange->retry_after))
        return count;
    memcpy(value, data + from, to - from);
    value[to - from] = '\0';
    return count;
}

/* Fill in exchange->error: what failed and for which host, in one line. */
static void explain(oa_curl *curl, CURLcode code) {
    oa_exchange *exchange = curl->exchange;
    const char *text = curl->error;
    /* It may quote the URL of a proxy, with credentials. */
    if (text[0] == '\0' || strchr(text, '@') != NULL)
        text = curl_easy_strerror(code);
    if (code == CURLE_WRITE_ERROR && oa_buf_status(&exchange->body) == OA_TOO_LARGE)
        text = "the answer is unreasonably large";
    else if (code == CURLE_WRITE_ERROR)
        text = "out of memory for the answer";
    snprintf(exchange->error, sizeof(exchange->error), "%s: %s", curl->host, text);
    for (char *c = exchange->error; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = ' ';
}

static void set_request(oa_curl *curl, const oa_request *request) {
    CURL *easy = curl->easy;
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.data);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->gzip ? curl->gzip_headers : curl->headers);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, request->fresh_connection ? 1L : 0L);
    curl->error[0] = '\0';
}

/* Turn the multi handle until the exchange is over or woken. Returns the exchange's code. */
static CURLcode run(oa_curl *curl) {
    int running = 1;
    for (;;) {
        if (atomic_load(&curl->aborted))
            return CURLE_ABORTED_BY_CALLBACK;
        if (curl_multi_perform(curl->multi, &running) != CURLM_OK)
            return CURLE_FAILED_INIT;
        if (running == 0)
            break;
        if (curl_multi_poll(curl->multi, NULL, 0, POLL_MS, NULL) != CURLM_OK)
            return CURLE_FAILED_INIT;
    }
    int left = 0;
    const CURLMsg *message = curl_multi_info_read(curl->multi, &left);
    return message != NULL && message->msg == CURLMSG_DONE ? message->data.result
                                                           : CURLE_FAILED_INIT;
}

static void perform(oa_transport *transport, const oa_request *request, oa_exchange *out) {
    oa_curl *curl = (oa_curl *)transport;
    curl->exchange = out;
    curl->headers_ended = false;
    set_request(curl, request);
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (curl_multi_add_handle(curl->multi, curl->easy) == CURLM_OK) {
        code = run(curl);
        if (code == CURLE_OK && !curl->headers_ended)
            code = CURLE_RECV_ERROR;
        if (code == CURLE_OK) {
            long status = 0;
            curl_easy_getinfo(curl->easy, CURLINFO_RESPONSE_CODE, &status);
            out->status = (int)status;
        }
        curl_multi_remove_handle(curl->multi, curl->easy);
    }
    if (code != CURLE_OK)
        explain(curl, code);
    out->aborted = code == CURLE_ABORTED_BY_CALLBACK;
    curl->exchange = NULL;
}

static void wake(oa_transport *transport) {
    oa_curl *curl = (oa_curl *)transport;
    atomic_store(&curl->aborted, true);
    curl_multi_wakeup(curl->multi);
}

static void arm(oa_transport *transport) {
    oa_curl *curl = (oa_curl *)transport;
    atomic_store(&curl->aborted, false);
}

static oa_status trust(oa_transport *transport, oa_str pem) {
    oa_curl *curl = (oa_curl *)transport;
#if LIBCURL_VERSION_NUM >= 0x074d00
    struct curl_blob blob = {(void *)(uintptr_t)pem.data, pem.len, CURL_BLOB_COPY};
    const CURLcode code = curl_easy_setopt(curl->easy, CURLOPT_CAINFO_BLOB, &blob);
    if (code == CURLE_OUT_OF_MEMORY)
        return OA_NOMEM;
    if (code == CURLE_OK) {
        /* Node's list is the whole list: the directory that libcurl was built with is not added. */
        curl_easy_setopt(curl->easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(curl->easy, CURLOPT_PROXY_CAINFO_BLOB, &blob);
        curl_easy_setopt(curl->easy, CURLOPT_PROXY_CAPATH, NULL);
        return OA_OK;
    }
#else
    (void)curl;
    (void)pem;
#endif
    return OA_UNAVAILABLE;
}

static void close_transport(oa_transport *transport) {
    oa_curl *curl = (oa_curl *)transport;
    if (curl->easy != NULL)
        curl_easy_cleanup(curl->easy);
    if (curl->multi != NULL)
        curl_multi_cleanup(curl->multi);
    curl_slist_free_all(curl->headers);
    curl_slist_free_all(curl->gzip_headers);
    oa_mem_free(curl);
}

static const oa_transport_ops OPS = {
    .perform = perform,
    .wake = wake,
    .arm = arm,
    .trust = trust,
    .close = close_transport,
};

static bool add_header(struct curl_slist **list, const char *header) {
    struct curl_slist *longer = curl_slist_append(*list, header);
    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

static bool make_headers(oa_curl *curl) {
    /* "Expect:" switches 100-continue off: it costs a round trip, or a second where it is not known. */
    return add_header(&curl->headers, "Content-Type: application/json") &&
           add_header(&curl->headers, "Accept: */*") && add_header(&curl->headers, "Expect:") &&
           add_header(&curl->gzip_headers, "Content-Type: application/json") &&
           add_header(&curl->gzip_headers, "Accept: */*") &&
           add_header(&curl->gzip_headers, "Expect:") &&
           add_header(&curl->gzip_headers, "Content-Encoding: gzip");
}

/* Set an option to a string that is not NUL-terminated; an absent one gives `fallback`. */
static CURLcode set_string(CURL *easy, CURLoption option, oa_str value, const char *fallback) {
    if (value.data == NULL)
        return curl_easy_setopt(easy, option, fallback);
    char *text = oa_mem_alloc(value.len + 1);
    if (text == NULL)
        return CURLE_OUT_OF_MEMORY;
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    const CURLcode code = curl_easy_setopt(easy, option, text);
    oa_mem_free(text);
    return code;
}

static CURLcode set_protocol(CURL *easy) {
#if LIBCURL_VERSION_NUM >= 0x075500
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    return curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
}

static CURLcode set_trust_file(CURL *easy, oa_str ca_file) {
    if (ca_file.data == NULL)
        return CURLE_OK;
    CURLcode code = set_string(easy, CURLOPT_CAINFO, ca_file, NULL);
    if (code == CURLE_OK)
        code = set_string(easy, CURLOPT_PROXY_CAINFO, ca_file, NULL);
    if (code == CURLE_OK) {
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL);
    }
    return code;
}

static CURLcode set_options(oa_curl *curl, const oa_config *config) {
    CURL *easy = curl->easy;
    CURLcode code = CURLE_OK;
#define SET(call)                                                                                  \
    if (code == CURLE_OK)                                                                          \
    code = (call)
    SET(set_string(easy, CURLOPT_URL, config->server_url, NULL));
    SET(set_protocol(easy));
    SET(set_string(easy, CURLOPT_USERAGENT, config->library, NULL));
    SET(set_string(easy, CURLOPT_PROXY, config->proxy, ""));
    SET(set_string(easy, CURLOPT_NOPROXY, config->no_proxy, ""));
    SET(set_trust_file(easy, config->ca_file));
    SET(curl_easy_setopt(easy, CURLOPT_POST, 1L));
    SET(curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1));
    SET(curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L));
    SET(curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L));
    SET(curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L));
    SET(curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L));
    SET(curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)config->request_timeout_ms));
    SET(curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)config->request_timeout_ms));
    SET(curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)MAX_IDLE_SECONDS));
    SET(curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER_BYTES));
    SET(curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, curl->error));
    SET(curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body));
    SET(curl_easy_setopt(easy, CURLOPT_WRITEDATA, curl));
    SET(curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header));
    SET(curl_easy_setopt(easy, CURLOPT_HEADERDATA, curl));
#undef SET
#if LIBCURL_VERSION_NUM >= 0x075700
    /* An abort does not wait for a resolver that hangs. */
    if (code == CURLE_OK)
        curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    return code;
}

/* Copy scheme-less host and port of `url`: the part between "//" and the next '/', '?' or '#'. */
static void copy_host(oa_curl *curl, oa_str url) {
    size_t from = 0;
    while (from + 1 < url.len && !(url.data[from] == '/' && url.data[from + 1] == '/'))
        from++;
    from = from + 2 <= url.len ? from + 2 : url.len;
    size_t to = from;
    while (to < url.len && strchr("/?#", url.data[to]) == NULL) {
        if (url.data[to] == '@')
            from = to + 1;
        to++;
    }
    size_t len = to - from;
    if (len >= sizeof(curl->host))
        len = sizeof(curl->host) - 1;
    memcpy(curl->host, url.data + from, len);
    curl->host[len] = '\0';
}

oa_status oa_transport_curl_new(const oa_config *config, oa_transport **out) {
    uv_once(&once, start_curl);
    if (!curl_is_ready)
        return OA_UNAVAILABLE;
    oa_curl *curl = oa_mem_calloc(1, sizeof(*curl));
    if (curl == NULL)
        return OA_NOMEM;
    curl->base.ops = &OPS;
    atomic_init(&curl->aborted, false);
    copy_host(curl, config->server_url);
    curl->multi = curl_multi_init();
    curl->easy = curl_easy_init();
    if (curl->multi == NULL || curl->easy == NULL || !make_headers(curl)) {
        close_transport(&curl->base);
        return OA_NOMEM;
    }
    const CURLcode code = set_options(curl, config);
    if (code != CURLE_OK) {
        close_transport(&curl->base);
        return code == CURLE_OUT_OF_MEMORY ? OA_NOMEM : OA_UNAVAILABLE;
    }
    *out = &curl->base;
    return OA_OK;
}
