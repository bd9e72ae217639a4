/* uv.c: a dispatcher on a real loop, with the real thread pool and libcurl, and a server on
 * loopback. */
#include "support_loop.h"

enum { POOL = 7 };

static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
static const char BUSY[] = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
static const char BAD[] = "HTTP/1.1 400 Bad\r\nContent-Length: 34\r\n\r\n"
                          "{\"events_with_invalid_fields\":[1]}";

static void say_many(owner *o, int count) {
    char user[16];
    for (int n = 0; n < count; n++) {
        snprintf(user, sizeof(user), "u%d", n);
        assert_int_equal(say(o, user), OA_OK);
    }
}

static void it_delivers_over_a_connection_that_is_kept(void **state) {
    (void)state;
    peer *p = PEER({.text = OK}, {.text = BUSY}, {.text = OK}, {.text = OK});
    owner *o = owner_start(owner_new(p));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(say(o, "ann"), OA_OK);
        expect_flush(o, 1);
    }
    peer_join(p);
    assert_int_equal(p->connections, 2); /* another one after the failure */
    assert_int_equal(counters(o).requests_sent, 4);
    assert_int_equal(counters(o).requests_retried, 1);
    assert_int_equal(o->attempts, 4);
    assert_int_equal(o->trust_questions, 0);
    wait closed = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_set_trust(o->uv, &(oa_trust_source){.pem = str("PEM")}), OA_OK);
    assert_int_equal(oa_uv_close(o->uv, 1000, &closed), OA_OK);
    RUN_UNTIL(o, closed.done);
    assert_int_equal(oa_uv_set_trust(o->uv, &(oa_trust_source){.pem = str("PEM")}),
                     OA_CLOSED); /* the connection is gone */
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
        o->config.compression = compression;
        owner_start(o);
        say_many(o, 50);
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
    wait begun = {false, {0, 0, 0, 0}};
    wait w = begun;
    assert_int_equal(oa_uv_flush(o->uv, 0, false, &begun), OA_OK);
    RUN_UNTIL(o, atomic_load(&p->holds)); /* the silence is for this request, however slow we are */
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

static void its_owner_is_told_when_it_is_busy(void **state) {
    (void)state;
    peer *p = PEER({.text = BUSY}, {.text = OK});
    owner *o = owner_new(p);
    o->config.report_drops = true;
    owner_start(o);
    assert_false(o->busy);
    assert_int_equal(say(o, "ann"), OA_OK);
    assert_true(o->busy);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, PATIENCE_MS, false, &w), OA_OK);
    RUN_UNTIL(o, o->attempts == 1);
    assert_true(o->busy); /* backing off */
    RUN_UNTIL(o, w.done);
    RUN_UNTIL(o, !o->busy);
    peer_join(p);
    wait closed = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_close(o->uv, PATIENCE_MS, &closed), OA_OK);
    RUN_UNTIL(o, closed.done);
    RUN_UNTIL(o, !o->busy);
    assert_int_equal(say(o, "ann"), OA_CLOSED);
    assert_true(o->busy); /* until that is told */
    RUN_UNTIL(o, !o->busy);
    assert_int_equal(o->drops, 1);
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

static void an_attempt_that_no_thread_has_begun_is_put_back(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    owner *o = owner_start(owner_new(p));
    hog hogs[POOL];
    for (int i = 0; i < POOL; i++)
        hog_start(&hogs[i], o);
    assert_int_equal(say(o, "ann"), OA_OK);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 20, true, &w), OA_OK);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.pending, 1);
    assert_int_equal(counters(o).requests_sent, 0);
    for (int i = 0; i < POOL; i++)
        hog_end(&hogs[i], o);
    expect_flush(o, 1);
    assert_int_equal(counters(o).requests_retried, 0);
    peer_join(p);
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

static void count_tick(uv_timer_t *timer) { ++*(uint64_t *)timer->data; }

static void drops_are_told_in_several_turns(void **state) {
    (void)state;
    enum { COUNT = 200000, PARTS = 48 };
    owner *o = owner_new(NULL);
    o->config.report_drops = true;
    o->config.max_queue_bytes = SIZE_MAX;
    owner_start(o);
    say_many(o, COUNT);
    uv_timer_t timer;
    uint64_t ticks = 0;
    uint64_t ticks_before = 0;
    timer.data = &ticks;
    assert_int_equal(uv_timer_init(&o->loop, &timer), 0);
    assert_int_equal(uv_timer_start(&timer, count_tick, 1, 1), 0);
    uv_unref((uv_handle_t *)&timer);
    uv_unref((uv_handle_t *)&o->alive);

    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_close(o->uv, 0, &w), OA_OK);
    size_t turns = 0;
    while (!w.done) {
        const uint64_t before = o->drops;
        assert_true(uv_loop_alive(&o->loop));
        uv_run(&o->loop, UV_RUN_NOWAIT); /* UV_RUN_ONCE looks at timers twice */
        /* From the timer, and from an attempt that comes back in the same turn. */
        assert_true(o->drops - before <= 2 * (COUNT / PARTS));
        turns += o->drops > before;
        if (before == 0)
            ticks_before = ticks;
    }
    assert_int_equal(o->drops, COUNT); /* all of them before the close is over */
    assert_int_equal(w.report.dropped, COUNT);
    assert_true(turns >= PARTS / 2);
    assert_true(ticks - ticks_before >= PARTS / 2);
    assert_false(uv_loop_alive(&o->loop));
    uv_close((uv_handle_t *)&timer, NULL);
    uv_ref((uv_handle_t *)&o->alive);
    owner_end(o);
}

static void drops_that_are_told_slowly_keep_the_loop_alive(void **state) {
    (void)state;
    enum { COUNT = 4 * OA_DROPS_AT_ONCE };
    static char bad[16 * COUNT];
    char list[12 * COUNT] = "0";
    for (size_t i = 1, len = 1; i < 2 * COUNT; i++)
        len += (size_t)snprintf(list + len, sizeof(list) - len, ",%zu", i);
    snprintf(bad, sizeof(bad),
             "HTTP/1.1 400 Bad\r\nContent-Length: %zu\r\n\r\n{\"events_with_invalid_fields\":[%s]}",
             strlen(list) + 33, list);
    peer *p = PEER({.text = bad});
    owner *o = owner_new(p);
    o->config.report_drops = true;
    o->config.flush_queue_size = 2 * COUNT;
    o->drop_takes_ms = 6;
    owner_start(o);
    say_many(o, COUNT);
    RUN_UNTIL(o, o->drops > 0);
    assert_int_equal(o->drops, OA_DROPS_AT_ONCE);
    uv_unref((uv_handle_t *)&o->alive);
    uv_run(&o->loop, UV_RUN_DEFAULT);
    assert_int_equal(o->drops, COUNT);
    uv_ref((uv_handle_t *)&o->alive);
    peer_join(p);
    owner_end(o);
    peer_free(p);
}

static void it_may_be_destroyed_while_drops_are_told(void **state) {
    (void)state;
    owner *o = owner_new(NULL);
    o->config.report_drops = true;
    owner_start(o);
    say_many(o, 10000);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_close(o->uv, 0, &w), OA_OK);
    RUN_UNTIL(o, o->drops > 0);
    assert_false(w.done);
    owner_end(o);
}

/* ---- a store of exposures ---- */

/* A server that is never asked is NULL. */
static owner *owner_with_store(const peer *p) {
    owner *o = owner_new(p);
    o->config.dedupe = o->config.store = true;
    return owner_start(o);
}

static void end_both(owner *o, peer *p) {
    owner_end(o);
    if (p == NULL)
        return;
    peer_join(p);
    peer_free(p);
}

/* Wait for the next call to the store. */
static void await_store(owner *o, uint32_t number, bool writes) {
    RUN_UNTIL(o, o->store_calls == number);
    assert_int_equal(o->store_writes, writes);
    assert_int_equal(o->store_pairs, 1);
}

static void a_store_is_asked_before_and_written_to_after_a_request(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    owner *o = owner_with_store(p);
    assert_int_equal(say(o, "ann"), OA_OK);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, PATIENCE_MS, false, &w), OA_OK);
    await_store(o, 1, false);
    assert_int_equal(atomic_load(&p->requests), 0);
    answer_store(o, OA_STORE_ABSENT);
    await_store(o, 2, true);
    assert_false(w.done); /* nor is it delivered before it is written */
    assert_int_equal(counters(o).delivered, 0);
    answer_store(o, OA_STORE_ABSENT);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.delivered, 1);
    /* A repeat is no request, and nothing to write. */
    assert_int_equal(say(o, "ann"), OA_OK);
    wait again = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, PATIENCE_MS, false, &again), OA_OK);
    await_store(o, 3, false);
    answer_store(o, 1);
    RUN_UNTIL(o, again.done);
    assert_int_equal(again.report.delivered + again.report.pending, 0);
    assert_int_equal(counters(o).late_repeats, 1);
    assert_int_equal(counters(o).requests_sent, 1);
    end_both(o, p);
}

static void a_conflict_sends_the_property_again(void **state) {
    (void)state;
    peer *p = PEER({.text = OK}, {.text = OK});
    owner *o = owner_with_store(p);
    assert_int_equal(say(o, "ann"), OA_OK);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, PATIENCE_MS, false, &w), OA_OK);
    await_store(o, 1, false);
    answer_store(o, OA_STORE_ABSENT);
    await_store(o, 2, true);
    answer_store(o, 0); /* another value is there */
    await_store(o, 3, false);
    answer_store(o, 0);
    await_store(o, 4, true);
    answer_store(o, OA_STORE_ABSENT);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.delivered, 1);
    assert_int_equal(counters(o).store_conflicts, 1);
    assert_int_equal(counters(o).events_sent, 3);
    end_both(o, p);
}

static void a_store_that_is_not_ready_is_done_without(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    owner *o = owner_with_store(p);
    o->is_store_down = true;
    assert_int_equal(say(o, "ann"), OA_OK);
    expect_flush(o, 1);
    assert_int_equal(say(o, "ann"), OA_OK); /* a repeat, as without a store */
    expect_flush(o, 0);
    assert_int_equal(counters(o).deduplicated, 1);
    assert_int_equal(o->store_calls, 0);
    end_both(o, p);
}

static void a_flush_with_abort_waits_for_no_store(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    owner *o = owner_with_store(p);
    assert_int_equal(say(o, "ann"), OA_OK);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 20, true, &w), OA_OK);
    await_store(o, 1, false);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.pending, 1);
    answer_store(o, 1); /* of a call that is over */
    assert_int_equal(counters(o).pending, 1);
    assert_int_equal(o->store_calls, 1); /* nor is it asked again before the next flush */
    wait next = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 2000, true, &next), OA_OK);
    await_store(o, 2, false);
    answer_store(o, OA_STORE_ABSENT);
    await_store(o, 3, true);
    RUN_UNTIL(o, next.done); /* what is not written is delivered nevertheless */
    assert_int_equal(next.report.delivered, 1);
    answer_store(o, 5); /* no conflict any more */
    assert_int_equal(counters(o).store_conflicts, 0);
    end_both(o, p);
}

static void it_goes_while_a_store_is_silent(void **state) {
    (void)state;
    enum { DESTROY, CLOSE, ABORT, WAYS };
    for (int way = 0; way < WAYS; way++) {
        for (int writing = 0; writing < 2; writing++) {
            peer *p = writing ? PEER({.text = OK}) : NULL;
            owner *o = owner_with_store(p);
            assert_int_equal(say(o, "ann"), OA_OK);
            wait w = {false, {0, 0, 0, 0}};
            if (way == CLOSE)
                assert_int_equal(oa_uv_close(o->uv, writing ? 2000 : 20, &w), OA_OK);
            else
                assert_int_equal(oa_uv_flush(o->uv, 60000, false, &w), OA_OK);
            await_store(o, 1, false);
            if (writing) {
                answer_store(o, OA_STORE_ABSENT);
                await_store(o, 2, true);
            }
            if (way == CLOSE) {
                RUN_UNTIL(o, w.done);
                assert_int_equal(w.report.delivered, writing);
                assert_int_equal(w.report.dropped, !writing);
            }
            if (way == ABORT)
                assert_int_equal(oa_uv_abort(o->uv), !writing);
            answer_store(o, OA_STORE_ABSENT);
            end_both(o, p);
        }
    }
}

static void it_may_be_destroyed_in_a_call_to_the_store(void **state) {
    (void)state;
    static const int PLACES[] = {AT_STORE_READY, AT_STORE};
    for (int writing = 0; writing < 2; writing++) {
        for (int i = 0; i < 2; i++) {
            peer *p = writing ? PEER({.text = OK}) : NULL;
            owner *o = owner_with_store(p);
            assert_int_equal(say(o, "ann"), OA_OK);
            wait w = {false, {0, 0, 0, 0}};
            o->destroy_at = writing ? NEVER : PLACES[i];
            assert_int_equal(oa_uv_flush(o->uv, 60000, false, &w), OA_OK);
            if (writing) {
                await_store(o, 1, false);
                o->destroy_at = PLACES[i];
                answer_store(o, OA_STORE_ABSENT);
            }
            RUN_UNTIL(o, o->destroyed);
            assert_false(w.done);
            end_both(o, p);
        }
    }
}

/* ---- lanes ---- */

static void several_requests_go_on_together(void **state) {
    (void)state;
    enum { USERS = 64, LANES = 4 };
    peer *p = PEER({.text = OK}, {.text = OK}, {.text = BUSY}, {.text = OK}, {.text = OK});
    owner *o = owner_new(p);
    o->config.max_concurrent = LANES;
    owner_start(o);
    say_many(o, USERS);
    expect_flush(o, USERS);
    peer_join(p);
    assert_true(p->connections >= LANES); /* and one more where the 503 came */
    assert_int_equal(counters(o).requests_sent, LANES + 1);
    owner_end(o);
    peer_free(p);
}

static void lanes_are_cancelled_together(void **state) {
    (void)state;
    enum { USERS = 64 };
    for (int destroys = 0; destroys < 2; destroys++) {
        peer *p = PEER({.silent = true});
        owner *o = owner_new(p);
        o->config.max_concurrent = 8;
        owner_start(o);
        say_many(o, USERS);
        wait w = {false, {0, 0, 0, 0}};
        assert_int_equal(oa_uv_flush(o->uv, destroys ? 60000 : 300, true, &w), OA_OK);
        RUN_UNTIL(o, atomic_load(&p->holds));
        if (!destroys) {
            RUN_UNTIL(o, w.done);
            assert_int_equal(w.report.pending, USERS);
        }
        owner_end(o);
        peer_join(p);
        peer_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_delivers_over_a_connection_that_is_kept),
        cmocka_unit_test(the_interval_sends_by_itself),
        cmocka_unit_test(large_bodies_are_compressed),
        cmocka_unit_test(a_flush_with_abort_leaves_a_silent_server),
        cmocka_unit_test(it_goes_while_a_server_is_silent),
        cmocka_unit_test(an_abort_ends_a_silent_request),
        cmocka_unit_test(its_owner_is_told_when_it_is_busy),
        cmocka_unit_test(it_may_be_destroyed_from_any_handler),
        cmocka_unit_test(it_may_be_destroyed_when_asked_for_certificates),
        cmocka_unit_test(only_a_flush_keeps_the_loop_alive),
        cmocka_unit_test(dispatchers_take_turns),
        cmocka_unit_test(an_attempt_that_no_thread_has_begun_is_put_back),
        cmocka_unit_test(refusals_are_reported_however_many_come_in_one_turn),
        cmocka_unit_test(drops_are_told_in_several_turns),
        cmocka_unit_test(drops_that_are_told_slowly_keep_the_loop_alive),
        cmocka_unit_test(it_may_be_destroyed_while_drops_are_told),
        cmocka_unit_test(a_store_is_asked_before_and_written_to_after_a_request),
        cmocka_unit_test(a_conflict_sends_the_property_again),
        cmocka_unit_test(a_store_that_is_not_ready_is_done_without),
        cmocka_unit_test(a_flush_with_abort_waits_for_no_store),
        cmocka_unit_test(it_goes_while_a_store_is_silent),
        cmocka_unit_test(it_may_be_destroyed_in_a_call_to_the_store),
        cmocka_unit_test(several_requests_go_on_together),
        cmocka_unit_test(lanes_are_cancelled_together),
    };
    char size[4];
    snprintf(size, sizeof(size), "%d", POOL);
    if (setenv("UV_THREADPOOL_SIZE", size, 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
