/*
 * curl.c against a server with scripted answers. Timeouts are far away unless a test is
 * about one: what ends a POST is the outcome.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>
#include <uv.h>

#include "../../src/host/curl.h"
#include "support_peer.h"

/* A connection under test, the time, and its last answer. */
typedef struct client {
    oa_now now;
    oa_curl_config config;
    char url[128];
    oa_curl *curl;
    oa_answer answer;
} client;

static void client_init(client *c, uint16_t port) {
    memset(c, 0, sizeof(*c));
    c->now = (oa_now){1800000000000, 86400000};
    snprintf(c->url, sizeof(c->url), "http://127.0.0.1:%d/2/httpapi?key=secret", port);
    c->config = (oa_curl_config){.server_url = str(c->url),
                                 .user_agent = str("optimizely-amplitude/0"),
                                 .request_timeout_ms = 60000};
}

static void client_start(client *c) { assert_int_equal(oa_curl_new(&c->config, &c->curl), OA_OK); }

static void client_end(client *c) { oa_curl_free(c->curl); }

/* POST without forgetting an earlier cancel. */
static const oa_answer *post_unarmed(client *c, oa_str body, bool gzip) {
    oa_curl_begin(c->curl, c->now, body, gzip);
    assert_true(oa_curl_run(c->curl, UINT64_MAX));
    oa_curl_end(c->curl, c->now, &c->answer);
    assert_int_equal(c->answer.sent_bytes, body.len);
    return &c->answer;
}

static const oa_answer *post(client *c, const char *body) {
    oa_curl_rearm(c->curl);
    return post_unarmed(c, str(body), false);
}

static void expect_body(const oa_answer *a, const char *text) {
    assert_int_equal(a->body.len, strlen(text));
    if (a->body.len > 0)
        assert_memory_equal(a->body.data, text, a->body.len);
}

/* Let time pass on both clocks. */
static void pass(client *c, uint64_t ms) {
    c->now.wall_ms += (int64_t)ms;
    c->now.monotonic_ms += ms;
}

/* No answer, and a reason that names the host but holds no secret. */
static void expect_failure(const oa_answer *a, const char *reason) {
    assert_int_equal(a->status_code, 0);
    assert_false(a->aborted);
    assert_true(a->error.len > 0);
    assert_null(strstr(a->error.data, "secret"));
    if (strstr(a->error.data, reason) == NULL)
        fail_msg("`%s` does not say `%s`", a->error.data, reason);
}

/* Assert over which connection each request of the peer came: "001" for the first one twice. */
static void expect_connections(const peer *p, const char *expected) {
    char came[MOST_REPLIES + 1] = "";
    for (size_t i = 0; i < p->requests; i++)
        came[i] = (char)('0' + p->came_over[i]);
    assert_string_equal(came, expected);
}

static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

static void a_connection_is_kept(void **state) {
    (void)state;
    peer *p = PEER({.text = OK}, {.text = OK}, {.text = OK, .closes = true}, {.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    for (int i = 0; i < 4; i++) { /* the last time over a new one */
        assert_int_equal(post(&c, "{\"a\":1}")->status_code, 200);
        assert_int_equal(c.answer.error.len, 0);
        expect_body(&c.answer, "{}");
    }
    peer_join(p);
    expect_connections(p, "0001");
    client_end(&c);
    peer_free(p);
}

static void a_connection_is_trusted_for_thirty_seconds(void **state) {
    (void)state;
    static const struct {
        uint64_t idle_ms;
        int64_t jump_ms;
        bool stale;
    } cases[] = {{0, 0, false},    {100, 0, false},   {30000, 0, false},
                 {30001, 0, true}, {0, 4000, false},  {0, 6000, true},
                 {0, -6000, true}, {0, -4000, false}, {3600000, 0, true}};
    const oa_now used = {1800000000000, 86400000};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const oa_now now = {used.wall_ms + (int64_t)cases[i].idle_ms + cases[i].jump_ms,
                            used.monotonic_ms + cases[i].idle_ms};
        assert_int_equal(oa_curl_is_stale(used, UINT64_MAX, now), cases[i].stale);
    }
    assert_false(oa_curl_is_stale((oa_now){0, 0}, 0, used)); /* there was none */
}

static void a_connection_lives_four_to_five_minutes(void **state) {
    (void)state;
    const oa_now now = {1800000000000, 86400000};
    assert_false(oa_curl_is_stale(now, now.monotonic_ms + 1, now));
    assert_true(oa_curl_is_stale(now, now.monotonic_ms, now));
    uint64_t seed = 1;
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    for (int i = 0; i < 1000; i++) {
        const uint64_t life_ms = oa_curl_life_ms(draw(&seed));
        least = life_ms < least ? life_ms : least;
        most = life_ms > most ? life_ms : most;
    }
    assert_in_range(least, 240000, 241000);
    assert_in_range(most, 299000, 300000);
}

static void an_old_connection_is_replaced_once(void **state) {
    (void)state;
    enum { PAUSE_MS = 29000, COUNT = MOST_REPLIES };
    reply replies[COUNT];
    for (int i = 0; i < COUNT; i++)
        replies[i] = (reply){.text = OK};
    peer *p = peer_start(replies, COUNT);
    client c;
    client_init(&c, p->port);
    client_start(&c);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(post(&c, "{}")->status_code, 200);
        pass(&c, PAUSE_MS); /* never idle for long */
    }
    peer_join(p);
    assert_int_equal(p->connections, 2);
    assert_int_equal(p->came_over[240000 / PAUSE_MS], 0);
    for (int i = 300000 / PAUSE_MS + 1; i < COUNT; i++)
        assert_int_equal(p->came_over[i], 1);
    client_end(&c);
    peer_free(p);
}

static void a_fresh_connection_follows_what_speaks_against_one(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool replaces;
    } cases[] = {
        {"HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n", true},
        {"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", true},
        {"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n", true}, /* a failed exchange */
        {"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", false},
        {"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n", false},
        {"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        peer *p = PEER({.text = OK}, {.text = cases[i].text, .padding = i == 3 ? 5000000 : 0},
                       {.text = OK}, {.text = OK});
        client c;
        client_init(&c, p->port);
        client_start(&c);
        for (int n = 0; n < 4; n++)
            post(&c, "{}");
        peer_join(p);
        expect_connections(p, cases[i].replaces ? "0011" : "0000");
        client_end(&c);
        peer_free(p);
    }
}

/* A socket that is not accepted from, with so many connections waiting that no more are made. */
static void connecting_takes_four_seconds_at_most(void **state) {
    (void)state;
    enum { COUNT = 4 };
    uint16_t port = 0;
    const int listener = listen_anywhere(&port);
    assert_int_equal(listen(listener, 0), 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int waiting[COUNT];
    for (int i = 0; i < COUNT; i++) {
        waiting[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(waiting[i] >= 0);
        (void)connect(waiting[i], (const struct sockaddr *)&address, sizeof(address));
    }
    client c;
    client_init(&c, port);
    client_start(&c);
    const uint64_t began = uv_hrtime();
    expect_failure(post(&c, "{}"), "127.0.0.1:");
    assert_true(uv_hrtime() - began < UINT64_C(20000000000)); /* far below the request's timeout */
    client_end(&c);
    for (int i = 0; i < COUNT; i++)
        close(waiting[i]);
    close(listener);
}

static void a_post_goes_on_in_slices(void **state) {
    (void)state;
    enum { BYTES = 3 << 20, SLICES = 20 };
    peer *p = PEER({.text = OK, .held = true}, {.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    char *body = malloc(BYTES + 1);
    assert_non_null(body);
    memset(body, 'x', BYTES);
    body[BYTES] = '\0';
    oa_curl_begin(c.curl, c.now, str(body), false);
    const uint64_t began = uv_hrtime();
    for (uint64_t i = 0; i < SLICES || !atomic_load(&p->holds); i++)
        assert_false(oa_curl_run(c.curl, i % 2));
    assert_true(uv_hrtime() - began <
                SLICES * UINT64_C(250000000)); /* it looks around each second */
    peer_speak(p);
    while (!oa_curl_run(c.curl, 1))
        ;
    pass(&c, 7000);
    oa_curl_end(c.curl, c.now, &c.answer);
    assert_int_equal(c.answer.status_code, 200);
    assert_int_equal(c.answer.duration_ms, 7000);
    expect_body(&c.answer, "{}");
    assert_int_equal(post(&c, "{}")->status_code, 200);
    peer_join(p);
    expect_connections(p, "00");
    free(body);
    client_end(&c);
    peer_free(p);
}

static void a_post_may_end_between_two_slices(void **state) {
    (void)state;
    peer *p = PEER({.silent = true}, {.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    oa_curl_begin(c.curl, c.now, str("{}"), false);
    while (!atomic_load(&p->holds))
        assert_false(oa_curl_run(c.curl, 1));
    oa_curl_end(c.curl, c.now, &c.answer);
    assert_true(c.answer.aborted);
    assert_int_equal(c.answer.status_code, 0);
    assert_int_equal(post(&c, "{}")->status_code, 200);
    client_end(&c);
    peer_join(p);
    peer_free(p);
}

static void trust_is_needed_for_https(void **state) {
    (void)state;
    static const struct {
        const char *url;
        const char *proxy;
        const char *ca_file;
        bool needed;
    } cases[] = {{"http://server.test", NULL, NULL, false},
                 {"https://server.test", NULL, NULL, true},
                 {"http://server.test", "https://proxy.test", NULL, true},
                 {"https://server.test", NULL, "/ca.pem", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const oa_curl_config config = {.server_url = str(cases[i].url),
                                       .proxy = str(cases[i].proxy),
                                       .ca_file = str(cases[i].ca_file)};
        assert_int_equal(oa_curl_needs_trust(&config), cases[i].needed);
    }
}

static void a_request_is_as_it_should_be(void **state) {
    (void)state;
    for (int gzip = 0; gzip < 2; gzip++) {
        peer *p = PEER({.text = OK});
        client c;
        client_init(&c, p->port);
        client_start(&c);
        oa_curl_rearm(c.curl);
        assert_int_equal(post_unarmed(&c, (oa_str){"{\"a\0\":1}", 8}, gzip)->status_code, 200);
        peer_join(p);
        assert_memory_equal(p->request, "POST /2/httpapi?key=secret HTTP/1.1\r\n", 37);
        assert_non_null(strstr(p->request, "\r\nContent-Type: application/json\r\n"));
        assert_non_null(strstr(p->request, "\r\nUser-Agent: optimizely-amplitude/0\r\n"));
        assert_non_null(strstr(p->request, "\r\nContent-Length: 8\r\n"));
        assert_null(strcasestr(p->request, "expect:"));
        assert_null(strcasestr(p->request, "transfer-encoding"));
        assert_int_equal(strstr(p->request, "\r\nContent-Encoding: gzip\r\n") != NULL, gzip);
        assert_memory_equal(p->request + p->request_len - 8, "{\"a\0\":1}", 8);
        client_end(&c);
        peer_free(p);
    }
}

static void a_large_body_goes_without_asking_first(void **state) {
    (void)state;
    enum { BYTES = 3 << 20 };
    peer *p = PEER({.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    char *body = malloc(BYTES + 1);
    assert_non_null(body);
    for (size_t i = 0; i < BYTES; i++)
        body[i] = (char)('a' + i % 23);
    body[BYTES] = '\0';
    assert_int_equal(post(&c, body)->status_code, 200);
    peer_join(p);
    assert_memory_equal(p->request + p->request_len - BYTES, body, BYTES);
    assert_null(strcasestr(p->request, "expect:"));
    free(body);
    client_end(&c);
    peer_free(p);
}

static void answers_are_read(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
        uint32_t retry_after;
        const char *body;
    } cases[] = {
        {"HTTP/1.1 204 No Content\r\n\r\n", 204, 0, ""},
        {"HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nContent-Length: 4\r\n\r\nbusy", 503, 17, "busy"},
        {"HTTP/1.1 429 Slow\r\nretry-after:   7  \r\nContent-Length: 0\r\n\r\n", 429, 7, ""},
        {"HTTP/1.1 503 Busy\r\nRetry-After:\r\nContent-Length: 0\r\n\r\n", 503, 0, ""},
        {"HTTP/1.1 503 Busy\r\nRetry-After: soon\r\nContent-Length: 0\r\n\r\n", 503, 0, ""},
        {"HTTP/1.1 503 Busy\r\nRetry-After: -7\r\nContent-Length: 0\r\n\r\n", 503, 0, ""},
        {"HTTP/1.1 503 Busy\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
         "Content-Length: 0\r\n\r\n",
         503, 0, ""}, /* past */
        {"HTTP/1.1 503 Busy\r\nX-Retry-After: 5\r\nContent-Length: 0\r\n\r\n", 503, 0, ""},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, 0,
         "{}"},
        {"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n"
         "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
         500, 0, ""}, /* the interim answer's is not the answer's */
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n3\r\nabc\r\n0\r\n\r\n",
         200, 0, "{}abc"},
        {"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 302, 0, ""},
        {"HTTP/1.1 307 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 307, 0, ""},
    };
    enum { COUNT = sizeof(cases) / sizeof(cases[0]) };
    reply replies[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        replies[i] = (reply){.text = cases[i].text};
    peer *p = peer_start(replies, COUNT);
    client c;
    client_init(&c, p->port);
    client_start(&c);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(post(&c, "{}")->status_code, cases[i].status);
        assert_int_equal(c.answer.retry_after_seconds, cases[i].retry_after);
        expect_body(&c.answer, cases[i].body);
    }
    peer_join(p);
    assert_int_equal(p->requests, COUNT); /* no redirect was followed */
    client_end(&c);
    peer_free(p);
}

/* Without what may be secret: a user name, a query, and the query of what a login leads back to. */
static void a_redirect_is_told_with_where_it_leads(void **state) {
    (void)state;
    static const struct {
        const char *location;
        const char *told; /* NULL: relative to the host */
    } cases[] = {
        {"https://portal.test/login", "https://portal.test/login"},
        {"http://me:secret@portal.test:81/a@b/c?key=secret#secret", "http://portal.test:81/a@b/c"},
        {"https://portal.test/to/http%3A%2F%2Fx%2Fbatch%3Fkey%3Dsecret",
         "https://portal.test/to/http%3A%2F%2Fx%2Fbatch"},
        {"https://portal.test?key=secret", "https://portal.test/"},
        {"/elsewhere?key=secret", NULL},
    };
    enum { COUNT = sizeof(cases) / sizeof(cases[0]) };
    char texts[COUNT][256];
    reply replies[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof(texts[i]),
                 "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
                 cases[i].location);
        replies[i] = (reply){.text = texts[i]};
    }
    replies[COUNT] = (reply){.text = OK};
    peer *p = peer_start(replies, COUNT + 1);
    client c;
    client_init(&c, p->port);
    client_start(&c);
    for (size_t i = 0; i < COUNT; i++) {
        char told[64];
        snprintf(told, sizeof(told), "http://127.0.0.1:%d/elsewhere", p->port);
        assert_int_equal(post(&c, "{}")->status_code, 302);
        assert_string_equal(c.answer.location.data, cases[i].told == NULL ? told : cases[i].told);
        assert_int_equal(c.answer.location.len, strlen(c.answer.location.data));
        assert_int_equal(c.answer.error.len, 0);
    }
    assert_int_equal(post(&c, "{}")->status_code, 200);
    assert_int_equal(c.answer.location.len, 0);
    peer_join(p);
    client_end(&c);
    peer_free(p);
}

static void answers_that_break_off_do_not_count(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\":200",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "rubbish",
        "{\"code\":200}",
        "HTTP/7.3 200 OK\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        peer *p = PEER({.text = texts[i], .closes = true}, {.text = OK});
        client c;
        client_init(&c, p->port);
        client_start(&c);
        expect_failure(post(&c, "{}"), "127.0.0.1:");
        assert_int_equal(post(&c, "{}")->status_code, 200); /* and nothing of it is left over */
        expect_body(&c.answer, "{}");
        peer_join(p);
        client_end(&c);
        peer_free(p);
    }
}

static void an_answer_without_a_length_ends_with_its_connection(void **state) {
    (void)state;
    peer *p = PEER({.text = "HTTP/1.1 500 Oops\r\n\r\nan old server", .closes = true});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    assert_int_equal(post(&c, "{}")->status_code, 500);
    expect_body(&c.answer, "an old server");
    peer_join(p);
    client_end(&c);
    peer_free(p);
}

static void an_answer_has_a_limit(void **state) {
    (void)state;
    static char at_limit[64];
    snprintf(at_limit, sizeof(at_limit), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
             OA_ANSWER_MAX_BYTES);
    peer *p = PEER(
        {.text = "HTTP/1.1 200 OK\r\n\r\n", .padding = OA_ANSWER_MAX_BYTES + 1, .closes = true},
        {.text = at_limit, .padding = OA_ANSWER_MAX_BYTES});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    expect_failure(post(&c, "{}"), "too large");
    assert_int_equal(post(&c, "{}")->status_code, 200);
    assert_int_equal(c.answer.body.len, OA_ANSWER_MAX_BYTES);
    peer_join(p);
    client_end(&c);
    peer_free(p);
}

typedef struct canceller {
    peer *p;
    client *c;
} canceller;

static void cancel_when_it_holds(void *data) {
    const canceller *w = data;
    while (!atomic_load(&w->p->holds))
        uv_sleep(0);
    oa_curl_cancel(w->c->curl);
}

static void a_silent_server_is_left_at_once(void **state) {
    (void)state;
    enum { COUNT = 8 };
    reply replies[2 * COUNT];
    for (size_t i = 0; i < 2 * COUNT; i++)
        replies[i] = i % 2 == 0 ? (reply){.silent = true} : (reply){.text = OK};
    peer *p = peer_start(replies, 2 * COUNT);
    client c;
    client_init(&c, p->port);
    client_start(&c);
    const uint64_t began = uv_hrtime();
    for (int i = 0; i < COUNT; i++) {
        canceller w = {p, &c};
        uv_thread_t thread;
        assert_int_equal(uv_thread_create(&thread, cancel_when_it_holds, &w), 0);
        const oa_answer *a = post(&c, "{}");
        assert_true(a->aborted);
        assert_int_equal(a->status_code, 0);
        assert_int_equal(uv_thread_join(&thread), 0);
        assert_int_equal(post(&c, "{}")->status_code, 200); /* armed again, over a new connection */
    }
    /* It polls once a second even if nothing wakes it; that would add up. */
    assert_true(uv_hrtime() - began < COUNT * UINT64_C(500000000));
    peer_join(p);
    assert_int_equal(p->connections, COUNT + 1);
    client_end(&c);
    peer_free(p);
}

#if LIBCURL_VERSION_NUM >= 0x075700 /* CURLOPT_QUICK_EXIT */
/* A resolver that says nothing until it is told to; libcurl calls it in place of the C library's.
 * No other test has a name to resolve. */
static atomic_bool resolver_asked;
static atomic_bool resolver_answers;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out) {
    (void)name, (void)service, (void)hints, (void)out;
    atomic_store(&resolver_asked, true);
    while (!atomic_load(&resolver_answers))
        uv_sleep(1);
    return EAI_FAIL;
}

static void cancel_when_it_resolves(void *data) {
    const client *c = data;
    while (!atomic_load(&resolver_asked))
        uv_sleep(0);
    oa_curl_cancel(c->curl);
    /* So that a failing test ends. */
    for (int i = 0; i < 5000 && !atomic_load(&resolver_answers); i++)
        uv_sleep(1);
    atomic_store(&resolver_answers, true);
}

static void a_resolver_that_hangs_is_left_at_once(void **state) {
    (void)state;
    client c;
    client_init(&c, 1);
    c.config.server_url = str("http://amplitude.invalid/");
    client_start(&c);
    uv_thread_t thread;
    assert_int_equal(uv_thread_create(&thread, cancel_when_it_resolves, &c), 0);
    assert_true(post(&c, "{}")->aborted);
    client_end(&c);
    assert_false(atomic_exchange(&resolver_answers, true));
    assert_int_equal(uv_thread_join(&thread), 0);
}
#endif

static void a_cancel_before_the_post_ends_it(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    oa_curl_rearm(c.curl);
    oa_curl_cancel(c.curl);
    assert_true(post_unarmed(&c, str("{}"), false)->aborted);
    assert_true(post_unarmed(&c, str("{}"), false)->aborted); /* until it is armed */
    assert_int_equal(post(&c, "{}")->status_code, 200);
    assert_false(c.answer.aborted);
    peer_join(p);
    assert_int_equal(p->requests, 1);
    client_end(&c);
    peer_free(p);
}

static void a_silent_server_runs_into_the_timeout(void **state) {
    (void)state;
    peer *p = PEER({.silent = true});
    client c;
    client_init(&c, p->port);
    c.config.request_timeout_ms = 50;
    client_start(&c);
    expect_failure(post(&c, "{}"), "timed out");
    peer_join(p);
    client_end(&c);
    peer_free(p);
}

static void a_refusal_is_reported_with_the_host(void **state) {
    (void)state;
    uint16_t port = 0;
    close(listen_anywhere(&port));
    client c;
    client_init(&c, port);
    snprintf(c.url, sizeof(c.url), "http://user:secret@127.0.0.1:%d/secret?secret#secret", port);
    c.config.server_url = str(c.url);
    client_start(&c);
    char host[64];
    snprintf(host, sizeof(host), "127.0.0.1:%d: Failed to connect after ", port); /* named once */
    expect_failure(post(&c, "{}"), host);
    client_end(&c);
}

/* What lies behind the URL is not part of it. */
static void a_host_is_read_from_its_url_alone(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t len;
        const char *host;
    } cases[] = {{"127.0.0.1:1//elsewhere/", 12, "127.0.0.1:1: "},
                 {"//127.0.0.1:1", 13, "127.0.0.1:1: "},
                 {"http://127.0.0.1:1/23", 19, "127.0.0.1:1: "},
                 {"http://127.0.0.1:123", 18, "127.0.0.1:1: "},
                 {"http://127.0.0.1:1@elsewhere", 18, "127.0.0.1:1: "},
                 {"http://127.0.0.1:1?to=//elsewhere", 33, "127.0.0.1:1: "},
                 {"http://127.0.0.1:1", 7, ": "}, /* the slashes are its end */
                 {"http:/", 6, "http:: "}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        client c;
        client_init(&c, 1);
        c.config.server_url = (oa_str){cases[i].text, cases[i].len};
        client_start(&c);
        expect_failure(post(&c, "{}"), cases[i].host);
        assert_memory_equal(c.answer.error.data, cases[i].host, strlen(cases[i].host));
        client_end(&c);
    }
}

static void only_http_is_spoken(void **state) {
    (void)state;
    static const char *const urls[] = {"ftp://127.0.0.1/", "file:///etc/hostname",
                                       "gopher://127.0.0.1/", "nonsense://127.0.0.1/"};
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        client c;
        client_init(&c, 1);
        c.config.server_url = str(urls[i]);
        client_start(&c);
        expect_failure(post(&c, "{}"), "");
        client_end(&c);
    }
}

static void a_peer_without_tls_is_reported(void **state) {
    (void)state;
    peer *p = PEER({.text = OK, .blind = true, .closes = true});
    client c;
    client_init(&c, p->port);
    snprintf(c.url, sizeof(c.url), "https://127.0.0.1:%d/", p->port);
    c.config.server_url = str(c.url);
    client_start(&c);
    expect_failure(post(&c, "{}"), "127.0.0.1:");
    client_end(&c);
    peer_join(p);
    peer_free(p);
}

static void invalid_certificates_are_reported(void **state) {
    (void)state;
    for (int proxied = 0; proxied < 2; proxied++) {
        uint16_t port = 0;
        const int fd = listen_anywhere(&port);
        client c;
        client_init(&c, port);
        snprintf(c.url, sizeof(c.url), "https://127.0.0.1:%d/", port);
        c.config.server_url = str(proxied ? "http://amplitude.invalid/batch" : c.url);
        c.config.proxy = str(proxied ? c.url : NULL);
        c.config.request_timeout_ms = 10000; /* it fails before a byte is sent */
        client_start(&c);
        const oa_trust_source source = {.pem = str("no PEM at all")};
        assert_int_equal(oa_curl_trust(c.curl, &source), OA_OK);
        expect_failure(post(&c, "{}"), ": Node.js trusts no CA: name one in caFile");
        client_end(&c);
        close(fd);
    }
}

static void a_trust_file_is_for_the_server_and_for_the_proxy(void **state) {
    (void)state;
    for (int proxied = 0; proxied < 2; proxied++) {
        uint16_t port = 0;
        const int fd = listen_anywhere(&port);
        client c;
        client_init(&c, port);
        snprintf(c.url, sizeof(c.url), "https://127.0.0.1:%d/", port);
        c.config.server_url = str(proxied ? "http://amplitude.invalid/batch" : c.url);
        c.config.proxy = str(proxied ? c.url : NULL);
        c.config.ca_file = str("/nowhere/ca.pem");
        client_start(&c);
        expect_failure(post(&c, "{}"), ": caFile /nowhere/ca.pem cannot be read: No such file");
        client_end(&c);
        close(fd);
    }
}

static void a_proxy_is_used_when_it_is_set(void **state) {
    (void)state;
    /* libcurl must not read the environment. */
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "all_proxy",
                                        "ALL_PROXY",  "no_proxy",   "NO_PROXY"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(setenv(names[i], i < 4 ? "http://127.0.0.1:1" : "*", 1), 0);
    peer *p = PEER({.text = OK}, {.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    assert_int_equal(post(&c, "{}")->status_code, 200);
    client_end(&c);

    char proxy[64];
    client_init(&c, 1);
    snprintf(proxy, sizeof(proxy), "http://user:secret@127.0.0.1:%d", p->port);
    c.config.proxy = str(proxy);
    c.config.server_url = str("http://amplitude.invalid/batch");
    client_start(&c);
    assert_int_equal(post(&c, "{}")->status_code, 200);
    client_end(&c);

    peer_join(p);
    assert_memory_equal(p->request, "POST http://amplitude.invalid/batch", 35);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(unsetenv(names[i]), 0);
    peer_free(p);
}

static void a_proxy_is_asked_for_the_whole_url(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    client c;
    char proxy[64];
    client_init(&c, 1);
    snprintf(proxy, sizeof(proxy), "http://user:secret@127.0.0.1:%d", p->port);
    c.config.proxy = str(proxy);
    c.config.server_url = str("http://amplitude.invalid/batch");
    client_start(&c);
    assert_int_equal(post(&c, "{}")->status_code, 200);
    peer_join(p);
    assert_memory_equal(p->request, "POST http://amplitude.invalid/batch HTTP/1.1\r\n", 46);
    assert_non_null(strstr(p->request, "\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"));
    client_end(&c);
    peer_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_kept),
        cmocka_unit_test(a_connection_is_trusted_for_thirty_seconds),
        cmocka_unit_test(a_connection_lives_four_to_five_minutes),
        cmocka_unit_test(an_old_connection_is_replaced_once),
        cmocka_unit_test(a_fresh_connection_follows_what_speaks_against_one),
        cmocka_unit_test(connecting_takes_four_seconds_at_most),
        cmocka_unit_test(a_post_goes_on_in_slices),
        cmocka_unit_test(a_post_may_end_between_two_slices),
        cmocka_unit_test(trust_is_needed_for_https),
        cmocka_unit_test(a_request_is_as_it_should_be),
        cmocka_unit_test(a_large_body_goes_without_asking_first),
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(a_redirect_is_told_with_where_it_leads),
        cmocka_unit_test(answers_that_break_off_do_not_count),
        cmocka_unit_test(an_answer_without_a_length_ends_with_its_connection),
        cmocka_unit_test(an_answer_has_a_limit),
        cmocka_unit_test(a_silent_server_is_left_at_once),
#if LIBCURL_VERSION_NUM >= 0x075700
        cmocka_unit_test(a_resolver_that_hangs_is_left_at_once),
#endif
        cmocka_unit_test(a_cancel_before_the_post_ends_it),
        cmocka_unit_test(a_silent_server_runs_into_the_timeout),
        cmocka_unit_test(a_refusal_is_reported_with_the_host),
        cmocka_unit_test(a_host_is_read_from_its_url_alone),
        cmocka_unit_test(only_http_is_spoken),
        cmocka_unit_test(a_peer_without_tls_is_reported),
        cmocka_unit_test(invalid_certificates_are_reported),
        cmocka_unit_test(a_trust_file_is_for_the_server_and_for_the_proxy),
        cmocka_unit_test(a_proxy_is_used_when_it_is_set),
        cmocka_unit_test(a_proxy_is_asked_for_the_whole_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
