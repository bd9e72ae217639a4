/*
 * uv.c in a pool of one thread: a request holds it in slices, and comes to the same end. A hog is
 * other work that holds the thread.
 */
#include "support_loop.h"

static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

/* Let other work come and go, one piece after the other. */
static void work_beside(owner *o, int count) {
    for (int i = 0; i < count; i++) {
        hog h;
        hog_start(&h, o);
        hog_end(&h, o);
    }
}

static void other_work_gets_its_turn(void **state) {
    (void)state;
    peer *p = PEER({.text = OK, .held = true}, {.text = OK});
    owner *o = owner_start(owner_new(p));
    assert_int_equal(say(o, "ann"), OA_OK);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 60000, false, &w), OA_OK);
    RUN_UNTIL(o, atomic_load(&p->holds));
    work_beside(o, 20);
    assert_true(atomic_load(&p->holds)); /* the first request, still */
    assert_int_equal(o->attempts, 0);
    peer_speak(p);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.delivered, 1);
    assert_int_equal(say(o, "bob"), OA_OK);
    expect_flush(o, 1);
    peer_join(p);
    assert_int_equal(p->connections, 1);
    assert_int_equal(counters(o).requests_sent, 2);
    owner_end(o);
    peer_free(p);
}

/* One that does not fit into the buffers of two sockets, so that it is sent in slices, too. */
static void a_large_body_arrives_whole(void **state) {
    (void)state;
    enum { COUNT = 200, PROPERTY_BYTES = 20000 };
    static char properties[PROPERTY_BYTES + 1];
    const int head = snprintf(properties, sizeof(properties), "\"p\":\"");
    memset(properties + head, 'x', (size_t)(PROPERTY_BYTES - head - 1));
    properties[PROPERTY_BYTES - 1] = '"';
    peer *p = PEER({.text = OK, .held = true});
    owner *o = owner_new(p);
    o->config.max_body_bytes = MOST_REQUEST_BYTES - 4096;
    o->config.max_queue_bytes = 4 * MOST_REQUEST_BYTES;
    o->config.compression = false;
    o->config.flush_queue_size = 2 * COUNT;
    owner_start(o);
    char user[16];
    for (int n = 0; n < COUNT; n++) {
        snprintf(user, sizeof(user), "user%d", n);
        oa_decision decision = {
            .variant_id = o->variant, .user_id = str(user), .event_properties = str(properties)};
        assert_int_equal(oa_uv_record(o->uv, &decision), OA_OK);
    }
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 60000, false, &w), OA_OK);
    RUN_UNTIL(o, atomic_load(&p->holds));
    work_beside(o, 5);
    peer_speak(p);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.delivered, COUNT);
    peer_join(p);
    assert_true(p->request_len > COUNT * PROPERTY_BYTES);
    cJSON *body = cJSON_Parse(strstr(p->request, "\r\n\r\n") + 4);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(body, "events")), 2 * COUNT);
    cJSON_Delete(body);
    owner_end(o);
    peer_free(p);
}

/* Whether the first slice is over, and not queued again, or the next one is queued. */
static void a_slice_that_waits_for_its_turn_is_cancelled(void **state) {
    (void)state;
    for (int queued = 0; queued < 2; queued++) {
        peer *p = PEER({.silent = true}, {.text = OK, .held = true});
        owner *o = owner_start(owner_new(p));
        assert_int_equal(say(o, "ann"), OA_OK);
        wait first = {false, {0, 0, 0, 0}};
        assert_int_equal(oa_uv_flush(o->uv, 60000, false, &first), OA_OK);
        RUN_UNTIL(o, atomic_load(&p->holds));
        hog h;
        hog_start(&h, o);
        if (queued)
            uv_run(&o->loop, UV_RUN_NOWAIT);
        wait w = {false, {0, 0, 0, 0}};
        assert_int_equal(oa_uv_flush(o->uv, 0, true, &w), OA_OK);
        RUN_UNTIL(o, w.done); /* although the thread is not free */
        assert_false(h.done);
        assert_int_equal(w.report.pending, 1);
        assert_int_equal(counters(o).requests_sent, 1);
        hog_end(&h, o);
        RUN_UNTIL(o, p->requests == 1 && atomic_load(&p->holds));
        work_beside(o, 5); /* the next attempt has slices, too */
        peer_speak(p);
        RUN_UNTIL(o, first.done);
        assert_int_equal(first.report.delivered, 1);
        peer_join(p);
        assert_int_equal(p->connections, 2);
        owner_end(o);
        peer_free(p);
    }
}

static void it_goes_while_a_slice_waits_for_its_turn(void **state) {
    (void)state;
    for (int turns = 0; turns < 2; turns++) { /* it is over, and not queued again; it is queued */
        peer *p = PEER({.silent = true});
        owner *o = owner_start(owner_new(p));
        assert_int_equal(say(o, "ann"), OA_OK);
        wait w = {false, {0, 0, 0, 0}};
        assert_int_equal(oa_uv_close(o->uv, 60000, &w), OA_OK);
        RUN_UNTIL(o, atomic_load(&p->holds));
        hog h;
        hog_start(&h, o);
        for (int i = 0; i < turns; i++)
            uv_run(&o->loop, UV_RUN_NOWAIT);
        assert_false(o->destroyed);
        oa_uv_destroy(o->uv);
        RUN_UNTIL(o, o->destroyed);
        assert_false(h.done);
        assert_false(w.done);
        hog_end(&h, o);
        peer_join(p);
        owner_end(o);
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

static void a_silent_server_runs_into_the_timeout(void **state) {
    (void)state;
    peer *p = PEER({.silent = true}, {.text = OK});
    owner *o = owner_new(p);
    o->curl_config.request_timeout_ms = 100;
    owner_start(o);
    assert_int_equal(say(o, "ann"), OA_OK);
    expect_flush(o, 1);
    assert_int_equal(counters(o).requests_retried, 1);
    peer_join(p);
    owner_end(o);
    peer_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_work_gets_its_turn),
        cmocka_unit_test(a_large_body_arrives_whole),
        cmocka_unit_test(a_slice_that_waits_for_its_turn_is_cancelled),
        cmocka_unit_test(it_goes_while_a_slice_waits_for_its_turn),
        cmocka_unit_test(an_abort_ends_a_silent_request),
        cmocka_unit_test(a_silent_server_runs_into_the_timeout),
    };
    if (setenv("UV_THREADPOOL_SIZE", "1", 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
