/*
 * curl.c fetches: a body goes to a sink as it comes, that of a 200 and no other, and one that breaks
 * off is a failure.
 */
#include "../../src/host/curl.h"
#include "support_peer.h"

typedef struct client {
    oa_now now;
    char url[128];
    oa_curl *curl;
    oa_answer answer;
    bool follows;
    size_t wanted; /* the sink refuses more */
    char body[4096];
    size_t len;      /* of all that came; the first bytes are in `body` */
    atomic_bool saw; /* a byte */
} client;

static bool take(void *data, const char *bytes, size_t len) {
    client *c = data;
    for (size_t i = 0; i < len && c->len + i < sizeof(c->body); i++)
        c->body[c->len + i] = bytes[i];
    c->len += len;
    atomic_store(&c->saw, true);
    return c->len <= c->wanted;
}

static void client_start(client *c, uint16_t port, uint64_t silence_ms) {
    memset(c, 0, sizeof(*c));
    c->now = (oa_now){1800000000000, 86400000};
    c->wanted = SIZE_MAX;
    snprintf(c->url, sizeof(c->url), "http://127.0.0.1:%d/sdk/v1/cohort/abc", port);
    const oa_curl_config config = {.server_url = str("http://127.0.0.1/"),
                                   .user_agent = str("optimizely-amplitude/0"),
                                   .request_timeout_ms = silence_ms};
    assert_int_equal(oa_curl_new(&config, &c->curl), OA_OK);
}

static const oa_answer *get(client *c) {
    static const char *const headers[] = {"Authorization: Basic a2V5OnNlY3JldA==",
                                          "Accept-Encoding: gzip"};
    c->len = 0;
    oa_curl_begin_get(c->curl, c->now, &(oa_get){str(c->url), headers, 2, take, c, c->follows});
    assert_true(oa_curl_run(c->curl, UINT64_MAX));
    oa_curl_end(c->curl, c->now, &c->answer);
    return &c->answer;
}

static void a_body_goes_to_the_sink(void **state) {
    (void)state;
    enum { PADDING = 3 << 20 };
    peer *p =
        PEER({.text = "HTTP/1.1 200 OK\r\nContent-Length: 3145730\r\n\r\n{}", .padding = PADDING},
             {.text = "HTTP/1.1 204 No Content\r\n\r\n"},
             {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"});
    client c;
    client_start(&c, p->port, 60000);
    assert_int_equal(get(&c)->status_code, 200);
    assert_int_equal(c.len, PADDING + 2);
    assert_memory_equal(c.body, "{}", 2);
    assert_int_equal(c.answer.body.len, 0);
    assert_int_equal(get(&c)->status_code, 204);
    assert_int_equal(c.len, 0);
    assert_int_equal(get(&c)->status_code, 200);
    assert_int_equal(c.len, 2);
    peer_join(p);
    assert_int_equal(p->connections, 1);
    assert_memory_equal(p->request, "GET /sdk/v1/cohort/abc HTTP/1.1\r\n", 33);
    assert_non_null(strstr(p->request, "\r\nAuthorization: Basic a2V5OnNlY3JldA==\r\n"));
    assert_non_null(strstr(p->request, "\r\nAccept-Encoding: gzip\r\n"));
    assert_non_null(strstr(p->request, "\r\nUser-Agent: optimizely-amplitude/0\r\n"));
    assert_null(strstr(p->request, "Content-Type"));
    oa_curl_free(c.curl);
    peer_free(p);
}

static void only_what_was_asked_for_goes_to_the_sink(void **state) {
    (void)state;
    peer *p = PEER({.text = "HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\n{}"},
                   {.text = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 2\r\n\r\n{}"},
                   {.text = "HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\n{}"});
    client c;
    client_start(&c, p->port, 60000);
    assert_int_equal(get(&c)->status_code, 413);
    assert_int_equal(get(&c)->status_code, 302);
    assert_int_equal(get(&c)->status_code, 429);
    assert_int_equal(c.answer.retry_after_seconds, 7);
    assert_false(atomic_load(&c.saw));
    peer_join(p);
    oa_curl_free(c.curl);
    peer_free(p);
}

static void one_redirect_is_followed(void **state) {
    (void)state;
    char redirect[128];
    peer *other = PEER({.text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"},
                       {.text = "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"});
    snprintf(
        redirect, sizeof(redirect),
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/file\r\nContent-Length: 1\r\n\r\nx",
        other->port);
    peer *p = PEER({.text = redirect}, {.text = redirect});
    client c;
    client_start(&c, p->port, 60000);
    c.follows = true;
    assert_int_equal(get(&c)->status_code, 200);
    assert_int_equal(c.len, 2);
    assert_non_null(strstr(other->request, "GET /file "));
    assert_null(strstr(other->request, "Authorization"));
    assert_int_equal(get(&c)->status_code, 0); /* not a second one */
    peer_join(p);
    peer_join(other);
    oa_curl_free(c.curl);
    peer_free(p);
    peer_free(other);
}

static void without_a_sink_any_body_is_in_the_answer(void **state) {
    (void)state;
    peer *p = PEER({.text = "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"});
    client c;
    client_start(&c, p->port, 60000);
    oa_curl_begin_get(c.curl, c.now, &(oa_get){.url = str(c.url)});
    assert_true(oa_curl_run(c.curl, UINT64_MAX));
    oa_curl_end(c.curl, c.now, &c.answer);
    assert_int_equal(c.answer.status_code, 202);
    assert_int_equal(c.answer.body.len, 2);
    assert_memory_equal(c.answer.body.data, "{}", 2);
    peer_join(p);
    oa_curl_free(c.curl);
    peer_free(p);
}

static void a_body_that_breaks_off_is_a_failure(void **state) {
    (void)state;
    peer *p = PEER(
        {.text = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", .closes = true},
        {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}", .closes = true},
        {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
         .closes = true});
    client c;
    client_start(&c, p->port, 60000);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(get(&c)->status_code, 0);
        assert_true(c.answer.error.len > 0);
        assert_false(c.answer.aborted);
        assert_int_equal(c.len, 2);
    }
    peer_join(p);
    oa_curl_free(c.curl);
    peer_free(p);
}

static void a_sink_ends_it(void **state) {
    (void)state;
    peer *p = PEER({.text = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"},
                   {.text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"});
    client c;
    client_start(&c, p->port, 60000);
    c.wanted = 1;
    assert_int_equal(get(&c)->status_code, 0);
    assert_false(c.answer.aborted);
    c.wanted = SIZE_MAX;
    assert_int_equal(get(&c)->status_code, 200); /* over a new connection */
    peer_join(p);
    assert_int_equal(p->connections, 2);
    oa_curl_free(c.curl);
    peer_free(p);
}

static void a_silence_ends_it(void **state) {
    (void)state;
    peer *p = PEER({.silent = true}, {.text = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"},
                   {.text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"});
    client c;
    client_start(&c, p->port, 1000);
    assert_int_equal(get(&c)->status_code, 0); /* before the headers */
    assert_false(c.answer.aborted);
    assert_int_equal(get(&c)->status_code, 0); /* in the body */
    assert_int_equal(c.len, 2);
    assert_false(c.answer.aborted);
    assert_int_equal(get(&c)->status_code, 200);
    peer_join(p);
    oa_curl_free(c.curl);
    peer_free(p);
}

static void cancel_when_it_came(void *data) {
    client *c = data;
    while (!atomic_load(&c->saw))
        uv_sleep(1);
    oa_curl_cancel(c->curl);
}

static void a_cancel_ends_it(void **state) {
    (void)state;
    peer *p = PEER({.text = "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"},
                   {.text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"});
    client c;
    client_start(&c, p->port, 60000);
    uv_thread_t thread;
    assert_int_equal(uv_thread_create(&thread, cancel_when_it_came, &c), 0);
    assert_true(get(&c)->aborted);
    uv_thread_join(&thread);
    assert_true(get(&c)->aborted); /* until it is rearmed */
    oa_curl_rearm(c.curl);
    assert_int_equal(get(&c)->status_code, 200);
    peer_join(p);
    oa_curl_free(c.curl);
    peer_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_goes_to_the_sink),
        cmocka_unit_test(only_what_was_asked_for_goes_to_the_sink),
        cmocka_unit_test(one_redirect_is_followed),
        cmocka_unit_test(without_a_sink_any_body_is_in_the_answer),
        cmocka_unit_test(a_body_that_breaks_off_is_a_failure),
        cmocka_unit_test(a_sink_ends_it),
        cmocka_unit_test(a_silence_ends_it),
        cmocka_unit_test(a_cancel_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
