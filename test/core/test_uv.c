/* uv.c: a dispatcher on a real loop, with the real thread pool and libcurl, and a server on
 * loopback. */
#include "../../src/host/node/uv.h"

#include "support_peer.h"

enum { POOL = 7, PATIENCE_MS = 30000 };

static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
static const char BUSY[] = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
static const char BAD[] = "HTTP/1.1 400 Bad\r\nContent-Length: 34\r\n\r\n"
                          "{\"events_with_invalid_fields\":[1]}";

/* When it is destroyed, besides at a kind of notice. */
enum { AT_TRUST = -1, NEVER = -2 };

/* A flush that is awaited. */
typedef struct wait {
    bool done;
    oa_flush_report report;
} wait;

typedef struct owner {
    uv_loop_t loop;
    uv_async_t alive; /* keeps the loop alive, since a dispatcher does not */
    oa_config config;
    oa_curl_config curl_config;
    bool compression;
    char url[64];
    oa_uv *uv;
    uint32_t variant;
    uint64_t attempts;
    uint64_t drops;
    uint64_t untold; /* log lines about drops that are not described */
    uint64_t trust_questions;
    bool destroyed;
    int destroy_at; /* a kind of notice, AT_TRUST or NEVER */
} owner;

static void on_notice(void *data, const oa_notice *notice) {
    owner *o = data;
    assert_false(o->destroyed);
    if (notice->kind == OA_NOTICE_FLUSH) {
        wait *w = notice->about.flush.ticket;
        assert_false(w->done);
        w->done = true;
        w->report = notice->about.flush.report;
    }
    o->attempts += notice->kind == OA_NOTICE_ATTEMPT;
    if (notice->kind == OA_NOTICE_LOG)
        o->untold += strcmp(notice->about.log.topic, "untold") == 0;
    if (notice->kind == OA_NOTICE_DROP)
        o->drops += notice->about.drop.count;
    if (o->destroy_at == (int)notice->kind) {
        o->destroy_at = NEVER;
        oa_uv_destroy(o->uv);
    }
}

static void on_trust_needed(void *data) {
    owner *o = data;
    o->trust_questions++;
    if (o->destroy_at == AT_TRUST)
        oa_uv_destroy(o->uv);
}

static void on_destroyed(void *data) { ((owner *)data)->destroyed = true; }

static owner *owner_new(const peer *p) {
    owner *o = must(calloc(1, sizeof(*o)));
    assert_int_equal(uv_loop_init(&o->loop), 0);
    assert_int_equal(uv_async_init(&o->loop, &o->alive, NULL), 0);
    world *w = world_new(); /* for its sane config */
    o->config = w->config;
    world_end(w);
    o->config.seed = 1;
    snprintf(o->url, sizeof(o->url), "http://127.0.0.1:%d/2/httpapi", p == NULL ? 1 : p->port);
    o->curl_config = (oa_curl_config){.server_url = str(o->url),
                                      .user_agent = str("optimizely-amplitude/0"),
                                      .request_timeout_ms = 60000};
    o->destroy_at = NEVER;
    return o;
}

static owner *owner_start(owner *o) {
    const oa_uv_handlers handlers = {o, on_notice, on_trust_needed, on_destroyed};
    assert_int_equal(
        oa_uv_new(&o->loop, &o->config, &o->curl_config, o->compression, handlers, &o->uv), OA_OK);
    assert_int_equal(oa_dispatcher_add_variant(oa_uv_core(o->uv), str("f"), str("a"), str("r"),
                                               true, &o->variant),
                     OA_OK);
    return o;
}

/* End what is left, and check that nothing keeps the loop. */
static void owner_end(owner *o) {
    if (!o->destroyed)
        oa_uv_destroy(o->uv);
    uv_close((uv_handle_t *)&o->alive, NULL);
    uv_run(&o->loop, UV_RUN_DEFAULT);
    assert_true(o->destroyed);
    assert_int_equal(uv_loop_close(&o->loop), 0);
    free(o);
}

#define RUN_UNTIL(o, condition)                                                                    \
    for (uint64_t since = uv_hrtime(); !(condition); uv_run(&(o)->loop, UV_RUN_NOWAIT))            \
    assert_true(uv_hrtime() - since < PATIENCE_MS * UINT64_C(1000000))

static oa_status say(owner *o, const char *user) {
    const oa_decision decision = {.variant_id = o->variant, .user_id = str(user)};
    return oa_uv_record(o->uv, &decision);
}

static oa_stats counters(const owner *o) {
    oa_stats stats;
    oa_dispatcher_stats(oa_uv_core(o->uv), (oa_now){0, 0}, &stats);
    return stats;
}

static void expect_flush(owner *o, uint64_t delivered) {
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, PATIENCE_MS, false, &w), OA_OK);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.delivered, delivered);
    assert_int_equal(w.report.pending, 0);
}

static void it_delivers_over_one_connection(void **state) {
    (void)state;
    peer *p = PEER({.text = OK}, {.text = BUSY}, {.text = OK}, {.text = OK});
    owner *o = owner_start(owner_new(p));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(say(o, "ann"), OA_OK);
        expect_flush(o, 1);
    }
    peer_join(p);
    assert_int_equal(p->connections, 1);
    assert_int_equal(counters(o).requests_sent, 4);
    assert_int_equal(counters(o).requests_retried, 1);
    assert_int_equal(o->attempts, 4);
    assert_int_equal(o->trust_questions, 0);
    wait closed = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_set_trust(o->uv, str("PEM")), OA_OK);
    assert_int_equal(oa_uv_close(o->uv, 1000, &closed), OA_OK);
    RUN_UNTIL(o, closed.done);
    assert_int_equal(oa_uv_set_trust(o->uv, str("PEM")), OA_CLOSED); /* the connection is gone */
    assert_int_equal(say(o, "ann"), OA_CLOSED);
    RUN_UNTIL(o, o->drops == 1);
    owner_end(o);
    peer_free(p);
}

static void the_interval_sends_by_itself(void **state) {
    (void)state;
    peer *p = PEER({.text = OK}, {.text = OK});
    owner *o = owner_new(p);
    o->config.flush_interval_ms = 20;
    owner_start(o);
    for (uint64_t n = 1; n <= 2; n++) {
        assert_int_equal(say(o, "ann"), OA_OK);
        RUN_UNTIL(o, counters(o).delivered == n);
    }
    peer_join(p);
    owner_end(o);
    peer_free(p);
}

static void large_bodies_are_compressed(void **state) {
    (void)state;
    for (int compression = 0; compression < 2; compression++) {
        peer *p = PEER({.text = OK});
        owner *o = owner_new(p);
        o->compression = compression;
        owner_start(o);
        char user[16];
        for (int n = 0; n < 50; n++) {
            snprintf(user, sizeof(user), "u%d", n);
            assert_int_equal(say(o, user), OA_OK);
        }
        expect_flush(o, 50);
        peer_join(p);
        assert_int_equal(strstr(p->request, "\r\nContent-Encoding: gzip\r\n") != NULL, compression);
        const size_t body =
            p->request_len - (size_t)(strstr(p->request, "\r\n\r\n") + 4 - p->request);
        assert_int_equal(counters(o).request_bytes, body);
        assert_int_equal(body < 8192, compression);
        owner_end(o);
        peer_free(p);
    }
}

static void a_flush_with_abort_leaves_a_silent_server(void **state) {
    (void)state;
    peer *p = PEER({.silent = true}, {.text = OK});
    owner *o = owner_start(owner_new(p));
    assert_int_equal(say(o, "ann"), OA_OK);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 20, true, &w), OA_OK);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.pending, 1);
    expect_flush(o, 1);
    peer_join(p);
    owner_end(o);
    peer_free(p);
}

static void it_goes_while_a_server_is_silent(void **state) {
    (void)state;
    for (int closing = 0; closing < 2; closing++) {
        peer *p = PEER({.silent = true});
        owner *o = owner_start(owner_new(p));
        assert_int_equal(say(o, "ann"), OA_OK);
        wait w = {false, {0, 0, 0, 0}};
        if (closing)
            assert_int_equal(oa_uv_close(o->uv, 60000, &w), OA_OK);
        else
            assert_int_equal(oa_uv_flush(o->uv, 60000, false, &w), OA_OK);
        RUN_UNTIL(o, atomic_load(&p->holds));
        owner_end(o);
        assert_false(w.done); /* its owner gets no more notices */
        peer_join(p);
        peer_free(p);
    }
}

static void an_abort_ends_a_silent_request(void **state) {
    (void)state;
    peer *p = PEER({.silent = true});
    owner *o = owner_start(owner_new(p));
    assert_int_equal(say(o, "ann"), OA_OK);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 60000, false, &w), OA_OK);
    RUN_UNTIL(o, atomic_load(&p->holds));
    assert_int_equal(oa_uv_abort(o->uv), 1);
    RUN_UNTIL(o, o->attempts == 1);
    peer_join(p);
    owner_end(o);
    peer_free(p);
}

static void it_may_be_destroyed_from_any_handler(void **state) {
    (void)state;
    static const int kinds[] = {OA_NOTICE_ATTEMPT, OA_NOTICE_LOG, OA_NOTICE_DROP, OA_NOTICE_FLUSH};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const reply replies[] = {{.text = BAD}, {.text = OK}};
        peer *p = peer_start(replies, kinds[i] == OA_NOTICE_FLUSH ? 2 : 1);
        owner *o = owner_start(owner_new(p));
        o->destroy_at = kinds[i];
        assert_int_equal(say(o, "ann"), OA_OK);
        assert_int_equal(say(o, "bob"), OA_OK);
        wait w = {false, {0, 0, 0, 0}};
        assert_int_equal(oa_uv_flush(o->uv, PATIENCE_MS, false, &w), OA_OK);
        RUN_UNTIL(o, o->destroyed);
        owner_end(o);
        peer_join(p);
        peer_free(p);
    }
}

static void it_may_be_destroyed_when_asked_for_certificates(void **state) {
    (void)state;
    owner *o = owner_new(NULL);
    o->curl_config.server_url = str("https://127.0.0.1:1/");
    o->destroy_at = AT_TRUST;
    owner_start(o);
    assert_int_equal(say(o, "ann"), OA_OK);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, PATIENCE_MS, false, &w), OA_OK);
    RUN_UNTIL(o, o->destroyed);
    assert_int_equal(o->trust_questions, 1);
    assert_false(w.done);
    owner_end(o);
}

static void only_a_flush_keeps_the_loop_alive(void **state) {
    (void)state;
    peer *p = PEER({.text = BUSY}, {.text = OK});
    owner *o = owner_start(owner_new(p));
    uv_unref((uv_handle_t *)&o->alive);
    assert_int_equal(say(o, "ann"), OA_OK);
    assert_false(uv_loop_alive(&o->loop));
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, PATIENCE_MS, false, &w), OA_OK);
    assert_true(uv_loop_alive(&o->loop));
    RUN_UNTIL(o, o->attempts == 1);
    assert_true(uv_loop_alive(&o->loop)); /* backing off */
    RUN_UNTIL(o, w.done);
    assert_false(uv_loop_alive(&o->loop));
    uv_ref((uv_handle_t *)&o->alive);
    peer_join(p);
    owner_end(o);
    peer_free(p);
}

/* Dispatchers of one process share the places; the others wait, and come in turn. */
static void dispatchers_take_turns(void **state) {
    (void)state;
    enum { COUNT = 6 };
    peer *peers[COUNT];
    owner *owners[COUNT];
    wait waits[COUNT];
    memset(waits, 0, sizeof(waits));
    for (size_t i = 0; i < COUNT; i++) {
        peers[i] = PEER({.silent = true});
        owners[i] = owner_start(owner_new(peers[i]));
        assert_int_equal(say(owners[i], "ann"), OA_OK);
        assert_int_equal(oa_uv_flush(owners[i]->uv, 60000, false, &waits[i]), OA_OK);
        uv_run(&owners[i]->loop, UV_RUN_NOWAIT);
    }
    for (size_t left = COUNT; left > 0;) { /* three at a time, and all of them in the end */
        size_t held = 0;
        for (size_t i = 0; i < COUNT; i++) {
            if (owners[i] == NULL)
                continue;
            uv_run(&owners[i]->loop, UV_RUN_NOWAIT);
            held += atomic_load(&peers[i]->holds);
        }
        assert_true(held <= 3);
        if (held < (left < 3 ? left : 3))
            continue;
        for (size_t i = 0; i < COUNT; i++) {
            if (owners[i] == NULL || !atomic_load(&peers[i]->holds))
                continue;
            owner_end(owners[i]);
            peer_join(peers[i]);
            peer_free(peers[i]);
            owners[i] = NULL;
            left--;
        }
    }
}

/* Work that keeps a thread of the pool until it is told to end. */
static uv_sem_t started;
static uv_sem_t ended;

static void keep_busy(uv_work_t *work) {
    (void)work;
    uv_sem_post(&started);
    uv_sem_wait(&ended);
}

static void after_work(uv_work_t *work, int status) {
    assert_int_equal(status, 0);
    ++*(int *)work->data;
}

static void an_attempt_that_no_thread_has_begun_is_put_back(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    owner *o = owner_start(owner_new(p));
    uv_work_t busy[POOL];
    int done = 0;
    assert_int_equal(uv_sem_init(&started, 0), 0);
    assert_int_equal(uv_sem_init(&ended, 0), 0);
    for (int i = 0; i < POOL; i++) {
        busy[i].data = &done;
        assert_int_equal(uv_queue_work(&o->loop, &busy[i], keep_busy, after_work), 0);
    }
    for (int i = 0; i < POOL; i++)
        uv_sem_wait(&started);
    assert_int_equal(say(o, "ann"), OA_OK);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 20, true, &w), OA_OK);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.pending, 1);
    assert_int_equal(counters(o).requests_sent, 0);
    for (int i = 0; i < POOL; i++)
        uv_sem_post(&ended);
    RUN_UNTIL(o, done == POOL);
    expect_flush(o, 1);
    assert_int_equal(counters(o).requests_retried, 0);
    peer_join(p);
    uv_sem_destroy(&started);
    uv_sem_destroy(&ended);
    owner_end(o);
    peer_free(p);
}

static void refusals_are_reported_however_many_come_in_one_turn(void **state) {
    (void)state;
    enum { COUNT = 50000 }; /* far more than the memory for reports holds */
    owner *o = owner_new(NULL);
    o->config.max_queue_bytes = 8192;
    owner_start(o);
    uint64_t refused = 0;
    char user[16];
    for (int n = 0; n < COUNT; n++) {
        snprintf(user, sizeof(user), "u%d", n);
        refused += say(o, user) == OA_QUEUE_FULL;
    }
    assert_true(refused > COUNT - 200);
    RUN_UNTIL(o, o->drops == refused);
    assert_int_equal(o->untold, 0);
    owner_end(o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_delivers_over_one_connection),
        cmocka_unit_test(the_interval_sends_by_itself),
        cmocka_unit_test(large_bodies_are_compressed),
        cmocka_unit_test(a_flush_with_abort_leaves_a_silent_server),
        cmocka_unit_test(it_goes_while_a_server_is_silent),
        cmocka_unit_test(an_abort_ends_a_silent_request),
        cmocka_unit_test(it_may_be_destroyed_from_any_handler),
        cmocka_unit_test(it_may_be_destroyed_when_asked_for_certificates),
        cmocka_unit_test(only_a_flush_keeps_the_loop_alive),
        cmocka_unit_test(dispatchers_take_turns),
        cmocka_unit_test(an_attempt_that_no_thread_has_begun_is_put_back),
        cmocka_unit_test(refusals_are_reported_however_many_come_in_one_turn),
    };
    char size[4];
    snprintf(size, sizeof(size), "%d", POOL);
    if (setenv("UV_THREADPOOL_SIZE", size, 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
