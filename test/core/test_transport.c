/*
 * transport_curl.c against a server that says what it is told to. Timeouts are far away unless a test is
 * about one: what ends an exchange is the outcome.
 */
#include <unistd.h>

#include "response.h"
#include "support_peer.h"

/* A transport under test and its last exchange. */
typedef struct client {
    oa_config config;
    char url[128];
    oa_transport *transport;
    oa_exchange exchange;
} client;

static void client_init(client *c, uint16_t port) {
    memset(c, 0, sizeof(*c));
    snprintf(c->url, sizeof(c->url), "http://127.0.0.1:%d/2/httpapi?key=secret", port);
    c->config = (oa_config){.server_url = str(c->url),
                            .library = str("optimizely-amplitude/0"),
                            .request_timeout_ms = 60000};
    oa_buf_init(&c->exchange.body, OA_RESPONSE_MAX_BYTES);
}

static void client_start(client *c) {
    assert_int_equal(oa_transport_curl_new(&c->config, &c->transport), OA_OK);
}

static void client_end(client *c) {
    oa_buf_clear(&c->exchange.body);
    if (c->transport != NULL)
        c->transport->ops->close(c->transport);
}

/* Perform an exchange, without forgetting an earlier wake. */
static const oa_exchange *exchange_unarmed(client *c, oa_str body, bool gzip, bool fresh) {
    const oa_request request = {body, gzip, fresh};
    oa_buf_clear(&c->exchange.body);
    memset(&c->exchange, 0, sizeof(c->exchange));
    oa_buf_init(&c->exchange.body, OA_RESPONSE_MAX_BYTES);
    c->transport->ops->perform(c->transport, &request, &c->exchange);
    return &c->exchange;
}

static const oa_exchange *exchange(client *c, const char *body) {
    c->transport->ops->arm(c->transport);
    return exchange_unarmed(c, str(body), false, false);
}

static void expect_body(const oa_exchange *e, const char *text) {
    assert_int_equal(e->body.len, strlen(text));
    if (e->body.len > 0)
        assert_memory_equal(e->body.data, text, e->body.len);
}

/* No answer, and a reason that names the host but holds no secret. */
static void expect_failure(const oa_exchange *e, const char *reason) {
    assert_int_equal(e->status, 0);
    assert_false(e->aborted);
    assert_true(strlen(e->error) > 0);
    assert_null(strstr(e->error, "secret"));
    if (strstr(e->error, reason) == NULL)
        fail_msg("`%s` does not say `%s`", e->error, reason);
}

static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

static void a_connection_is_kept(void **state) {
    (void)state;
    peer *p = PEER({.text = OK}, {.text = OK}, {.text = OK, .closes = true}, {.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    for (int i = 0; i < 4; i++) { /* the last time over a new one */
        assert_int_equal(exchange(&c, "{\"a\":1}")->status, 200);
        assert_string_equal(c.exchange.error, "");
        expect_body(&c.exchange, "{}");
    }
    peer_join(p);
    assert_int_equal(p->connections, 2);
    assert_int_equal(p->requests, 4);
    client_end(&c);
    peer_free(p);
}

static void a_fresh_connection_is_a_new_one(void **state) {
    (void)state;
    peer *p = PEER({.text = OK, .closes = true}, {.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    assert_int_equal(exchange(&c, "{}")->status, 200);
    assert_int_equal(exchange_unarmed(&c, str("{}"), false, true)->status, 200);
    peer_join(p);
    assert_int_equal(p->connections, 2);
    client_end(&c);
    peer_free(p);
}

static void a_request_is_as_it_should_be(void **state) {
    (void)state;
    for (int gzip = 0; gzip < 2; gzip++) {
        peer *p = PEER({.text = OK});
        client c;
        client_init(&c, p->port);
        client_start(&c);
        c.transport->ops->arm(c.transport);
        assert_int_equal(exchange_unarmed(&c, (oa_str){"{\"a\0\":1}", 8}, gzip, false)->status,
                         200);
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
    assert_int_equal(exchange(&c, body)->status, 200);
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
        const char *retry_after;
        const char *body;
    } cases[] = {
        {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", ""},
        {"HTTP/1.1 503 Busy\r\nRetry-After: 17\r\nContent-Length: 4\r\n\r\nbusy", 503, "17",
         "busy"},
        {"HTTP/1.1 429 Slow\r\nretry-after:   Fri, 15 Jan 2027 12:00:07 GMT  \r\n"
         "Content-Length: 0\r\n\r\n",
         429, "Fri, 15 Jan 2027 12:00:07 GMT", ""},
        {"HTTP/1.1 503 Busy\r\nRetry-After:\r\nContent-Length: 0\r\n\r\n", 503, "", ""},
        {"HTTP/1.1 503 Busy\r\nRetry-After: 7777777777777777777777777777777777777777777777777777777"
         "77777777\r\nX-Retry-After: 5\r\nContent-Length: 0\r\n\r\n",
         503, "777777777777777777777777777777777777777777777777777777777777777", ""},
        {"HTTP/1.1 503 Busy\r\nRetry-After: "
         "77777777777777777777777777777777777777777777777777777777"
         "77777777\r\nContent-Length: 0\r\n\r\n",
         503, "", ""}, /* one digit more than there is room for */
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, "",
         "{}"},
        {"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n"
         "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
         500, "", ""}, /* the interim answer's is not the answer's */
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n3\r\nabc\r\n0\r\n\r\n",
         200, "", "{}abc"},
        {"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 302, "", ""},
        {"HTTP/1.1 307 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", 307, "", ""},
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
        assert_int_equal(exchange(&c, "{}")->status, cases[i].status);
        assert_string_equal(c.exchange.retry_after, cases[i].retry_after);
        expect_body(&c.exchange, cases[i].body);
    }
    peer_join(p);
    assert_int_equal(p->requests, COUNT); /* no redirect was followed */
    assert_int_equal(p->connections, 1);
    client_end(&c);
    peer_free(p);
}

static void answers_that_break_off_are_none(void **state) {
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
        expect_failure(exchange(&c, "{}"), "127.0.0.1:");
        assert_int_equal(exchange(&c, "{}")->status, 200); /* and nothing of it is left over */
        expect_body(&c.exchange, "{}");
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
    assert_int_equal(exchange(&c, "{}")->status, 500);
    expect_body(&c.exchange, "an old server");
    peer_join(p);
    client_end(&c);
    peer_free(p);
}

static void an_answer_has_a_limit(void **state) {
    (void)state;
    static char at_limit[64];
    snprintf(at_limit, sizeof(at_limit), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n",
             OA_RESPONSE_MAX_BYTES);
    peer *p = PEER(
        {.text = "HTTP/1.1 200 OK\r\n\r\n", .padding = OA_RESPONSE_MAX_BYTES + 1, .closes = true},
        {.text = at_limit, .padding = OA_RESPONSE_MAX_BYTES});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    expect_failure(exchange(&c, "{}"), "unreasonably large");
    assert_int_equal(exchange(&c, "{}")->status, 200);
    assert_int_equal(c.exchange.body.len, OA_RESPONSE_MAX_BYTES);
    peer_join(p);
    client_end(&c);
    peer_free(p);
}

static void no_memory_for_an_answer_is_no_answer(void **state) {
    (void)state;
    peer *p = PEER({.text = OK, .closes = true}, {.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    memory_deny(true);
    const oa_exchange *e = exchange(&c, "{}");
    memory_deny(false);
    expect_failure(e, "out of memory");
    assert_int_equal(exchange(&c, "{}")->status, 200);
    peer_join(p);
    client_end(&c);
    peer_free(p);
}

typedef struct waker {
    peer *p;
    client *c;
} waker;

static void wake_when_it_holds(void *data) {
    const waker *w = data;
    while (!atomic_load(&w->p->holds))
        uv_sleep(0);
    w->c->transport->ops->wake(w->c->transport);
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
        waker w = {p, &c};
        uv_thread_t thread;
        assert_int_equal(uv_thread_create(&thread, wake_when_it_holds, &w), 0);
        const oa_exchange *e = exchange(&c, "{}");
        assert_true(e->aborted);
        assert_int_equal(e->status, 0);
        assert_int_equal(uv_thread_join(&thread), 0);
        assert_int_equal(exchange(&c, "{}")->status, 200); /* armed again, over a new connection */
    }
    /* It looks around once a second even if nobody wakes it; that would add up. */
    assert_true(uv_hrtime() - began < COUNT * UINT64_C(500000000));
    peer_join(p);
    assert_int_equal(p->connections, COUNT + 1);
    client_end(&c);
    peer_free(p);
}

static void a_wake_before_the_exchange_ends_it(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    c.transport->ops->arm(c.transport);
    c.transport->ops->wake(c.transport);
    assert_true(exchange_unarmed(&c, str("{}"), false, false)->aborted);
    assert_true(exchange_unarmed(&c, str("{}"), false, false)->aborted); /* until it is armed */
    assert_int_equal(exchange(&c, "{}")->status, 200);
    assert_false(c.exchange.aborted);
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
    expect_failure(exchange(&c, "{}"), "timed out");
    peer_join(p);
    client_end(&c);
    peer_free(p);
}

static void nobody_there_is_told_with_the_host(void **state) {
    (void)state;
    uint16_t port = 0;
    close(listen_anywhere(&port));
    client c;
    client_init(&c, port);
    snprintf(c.url, sizeof(c.url), "http://user:secret@127.0.0.1:%d/secret?secret#secret", port);
    c.config.server_url = str(c.url);
    client_start(&c);
    char host[32];
    snprintf(host, sizeof(host), "127.0.0.1:%d: ", port);
    expect_failure(exchange(&c, "{}"), host);
    client_end(&c);
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
        expect_failure(exchange(&c, "{}"), "");
        client_end(&c);
    }
}

static void a_peer_that_speaks_no_tls_is_told(void **state) {
    (void)state;
    peer *p = PEER({.text = OK, .blind = true, .closes = true});
    client c;
    client_init(&c, p->port);
    snprintf(c.url, sizeof(c.url), "https://127.0.0.1:%d/", p->port);
    c.config.server_url = str(c.url);
    client_start(&c);
    expect_failure(exchange(&c, "{}"), "127.0.0.1:");
    client_end(&c);
    peer_join(p);
    peer_free(p);
}

static void a_trust_that_is_none_is_told(void **state) {
    (void)state;
    uint16_t port = 0;
    const int fd = listen_anywhere(&port);
    client c;
    client_init(&c, port);
    snprintf(c.url, sizeof(c.url), "https://127.0.0.1:%d/", port);
    c.config.server_url = str(c.url);
    client_start(&c);
    assert_int_equal(c.transport->ops->trust(c.transport, str("no PEM at all")), OA_OK);
    expect_failure(exchange(&c, "{}"), "127.0.0.1:");
    client_end(&c);
    close(fd);
}

static void a_proxy_is_used_when_it_is_set(void **state) {
    (void)state;
    /* The environment is none of libcurl's business. */
    static const char *const names[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(setenv(names[i], "http://127.0.0.1:1", 1), 0);
    peer *p = PEER({.text = OK}, {.text = OK}, {.text = OK});
    client c;
    client_init(&c, p->port);
    client_start(&c);
    assert_int_equal(exchange(&c, "{}")->status, 200);
    client_end(&c);

    char proxy[64];
    client_init(&c, 1);
    snprintf(proxy, sizeof(proxy), "http://user:secret@127.0.0.1:%d", p->port);
    c.config.proxy = str(proxy);
    c.config.server_url = str("http://amplitude.invalid/batch");
    client_start(&c);
    assert_int_equal(exchange(&c, "{}")->status, 200);
    client_end(&c);

    client_init(&c, p->port);
    c.config.proxy = str("http://127.0.0.1:1");
    c.config.no_proxy = str("localhost,127.0.0.1");
    client_start(&c);
    assert_int_equal(exchange(&c, "{}")->status, 200);
    client_end(&c);
    peer_join(p);
    assert_memory_equal(p->request, "POST /2/httpapi", 15);
    for (size_t i = 0; i < 4; i++)
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
    assert_int_equal(exchange(&c, "{}")->status, 200);
    peer_join(p);
    assert_memory_equal(p->request, "POST http://amplitude.invalid/batch HTTP/1.1\r\n", 46);
    assert_non_null(strstr(p->request, "\r\nProxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n"));
    client_end(&c);
    peer_free(p);
}

static void a_transport_is_made_or_not(void **state) {
    (void)state;
    memory_deny(false);
    for (size_t nth = 1;; nth++) {
        client c;
        client_init(&c, 1);
        c.config.ca_file = str("/nowhere.pem");
        c.config.proxy = str("http://127.0.0.1:1");
        c.config.no_proxy = str("localhost");
        memory_fail(nth);
        const oa_status status = oa_transport_curl_new(&c.config, &c.transport);
        memory_fail(0);
        assert_int_equal(c.transport != NULL, status == OA_OK);
        client_end(&c);
        if (status == OA_OK)
            break;
        assert_int_equal(status, OA_NOMEM);
        assert_in_range(nth, 1, 20);
    }
    assert_non_null(strstr(oa_curl_version(), "libcurl/"));
}

/* ---- with a dispatcher and the thread pool ---- */

static world *world_of(peer *p, char url[64]) {
    world *w = world_new();
    snprintf(url, 64, "http://127.0.0.1:%d/2/httpapi", p->port);
    w->config.server_url = str(url);
    w->config.transport = NULL;
    w->config.request_timeout_ms = 60000;
    return world_start(w);
}

static void a_dispatcher_delivers_over_one_connection(void **state) {
    (void)state;
    peer *p = PEER({.text = OK}, {.text = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"},
                   {.text = OK}, {.text = OK});
    char url[64];
    world *w = world_of(p, url);
    for (int i = 0; i < 3; i++) {
        decide(w, "ann", "f", "a");
        flush_now(w, 1, 0, 0);
    }
    peer_join(p);
    assert_int_equal(p->connections, 1);
    assert_int_equal(stats_of(w).requests_sent, 4);
    assert_int_equal(stats_of(w).requests_retried, 1);
    const ticket *t = close_world(w, 1000);
    settle(w);
    assert_true(t->done);
    world_end(w);
    peer_free(p);
}

static void a_flush_with_abort_leaves_a_silent_server(void **state) {
    (void)state;
    peer *p = PEER({.silent = true}, {.text = OK});
    char url[64];
    world *w = world_of(p, url);
    decide(w, "ann", "f", "a");
    const ticket *t = flush_abort(w, 1000);
    TURN_UNTIL(w, atomic_load(&p->holds));
    atomic_fetch_add(&w->monotonic_ms, 1000);
    oa_deliver_step(w->dispatcher);
    TURN_UNTIL(w, t->done);
    EXPECT_REPORT(t, 0, 0, 1);
    flush_now(w, 1, 0, 0);
    peer_join(p);
    world_end(w);
    peer_free(p);
}

static void a_dispatcher_goes_while_a_server_is_silent(void **state) {
    (void)state;
    for (int closing = 0; closing < 2; closing++) {
        peer *p = PEER({.silent = true});
        char url[64];
        world *w = world_of(p, url);
        decide(w, "ann", "f", "a");
        if (closing)
            close_world(w, 60000);
        else
            flush(w, 60000);
        TURN_UNTIL(w, atomic_load(&p->holds));
        world_end(w);
        peer_join(p);
        peer_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_is_kept),
        cmocka_unit_test(a_fresh_connection_is_a_new_one),
        cmocka_unit_test(a_request_is_as_it_should_be),
        cmocka_unit_test(a_large_body_goes_without_asking_first),
        cmocka_unit_test(answers_are_read),
        cmocka_unit_test(answers_that_break_off_are_none),
        cmocka_unit_test(an_answer_without_a_length_ends_with_its_connection),
        cmocka_unit_test(an_answer_has_a_limit),
        cmocka_unit_test(no_memory_for_an_answer_is_no_answer),
        cmocka_unit_test(a_silent_server_is_left_at_once),
        cmocka_unit_test(a_wake_before_the_exchange_ends_it),
        cmocka_unit_test(a_silent_server_runs_into_the_timeout),
        cmocka_unit_test(nobody_there_is_told_with_the_host),
        cmocka_unit_test(only_http_is_spoken),
        cmocka_unit_test(a_peer_that_speaks_no_tls_is_told),
        cmocka_unit_test(a_trust_that_is_none_is_told),
        cmocka_unit_test(a_proxy_is_used_when_it_is_set),
        cmocka_unit_test(a_proxy_is_asked_for_the_whole_url),
        cmocka_unit_test(a_transport_is_made_or_not),
        cmocka_unit_test(a_dispatcher_delivers_over_one_connection),
        cmocka_unit_test(a_flush_with_abort_leaves_a_silent_server),
        cmocka_unit_test(a_dispatcher_goes_while_a_server_is_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
