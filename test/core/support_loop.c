#include "support_loop.h"

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
    if (notice->kind == OA_NOTICE_DROP) {
        o->drops += notice->about.drop.count;
        uv_sleep(o->drop_takes_ms);
    }
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

static void on_busy(void *data, bool busy) {
    owner *o = data;
    assert_false(o->destroyed);
    assert_int_not_equal(o->busy, busy);
    o->busy = busy;
}

static bool on_store_ready(void *data) {
    owner *o = data;
    assert_false(o->destroyed);
    if (o->destroy_at == AT_STORE_READY)
        oa_uv_destroy(o->uv);
    return !o->is_store_down;
}

static bool on_store(void *data, const oa_uv_store_call *call) {
    owner *o = data;
    o->store_calls++;
    o->store_id = call->id;
    o->store_writes = call->writes;
    o->store_pairs = 0;
    for (size_t i = 0; i < call->count; i++)
        o->store_pairs += call->parts[i].pair_count;
    if (o->destroy_at == AT_STORE)
        oa_uv_destroy(o->uv);
    return true;
}

void answer_store(owner *o, int32_t said) { oa_uv_answer_store(o->uv, o->store_id, &said, 1); }

static void on_destroyed(void *data) { ((owner *)data)->destroyed = true; }

owner *owner_new(const peer *p) {
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

owner *owner_start(owner *o) {
    const oa_uv_handlers handlers = {
        o, on_notice, on_trust_needed, on_busy, on_destroyed, on_store_ready, on_store};
    assert_int_equal(oa_uv_new(&o->loop, &o->config, &o->curl_config, handlers, &o->uv), OA_OK);
    assert_int_equal(oa_dispatcher_add_variant(oa_uv_core(o->uv), str("f"), str("a"), str("r"),
                                               true, &o->variant),
                     OA_OK);
    return o;
}

void owner_end(owner *o) {
    if (!o->destroyed)
        oa_uv_destroy(o->uv);
    uv_close((uv_handle_t *)&o->alive, NULL);
    uv_run(&o->loop, UV_RUN_DEFAULT);
    assert_true(o->destroyed);
    assert_int_equal(uv_loop_close(&o->loop), 0);
    free(o);
}

oa_status say(owner *o, const char *user) {
    oa_decision decision = {.variant_id = o->variant, .user_id = str(user)};
    return oa_uv_record(o->uv, &decision);
}

oa_stats counters(const owner *o) {
    oa_stats stats;
    oa_uv_stats(o->uv, &stats);
    return stats;
}

void expect_flush(owner *o, uint64_t delivered) {
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, PATIENCE_MS, false, &w), OA_OK);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.delivered, delivered);
    assert_int_equal(w.report.pending, 0);
}

static void keep_busy(uv_work_t *work) {
    hog *h = work->data;
    uv_sem_post(&h->begun);
    uv_sem_wait(&h->ends);
}

static void after_work(uv_work_t *work, int status) {
    assert_int_equal(status, 0);
    ((hog *)work->data)->done = true;
}

void hog_start(hog *h, owner *o) {
    memset(h, 0, sizeof(*h));
    h->work.data = h;
    assert_int_equal(uv_sem_init(&h->begun, 0), 0);
    assert_int_equal(uv_sem_init(&h->ends, 0), 0);
    assert_int_equal(uv_queue_work(&o->loop, &h->work, keep_busy, after_work), 0);
    uv_sem_wait(&h->begun);
}

void hog_end(hog *h, owner *o) {
    uv_sem_post(&h->ends);
    RUN_UNTIL(o, h->done);
    uv_sem_destroy(&h->begun);
    uv_sem_destroy(&h->ends);
}
