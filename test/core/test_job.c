/* job.c: one attempt, and the places in the thread pool. */
#include "job.h"
#include "support.h"

enum { POOL = 7 }; /* threads */

static void half_of_the_pool_is_ours_at_most(void **state) {
    (void)state;
    oa_job jobs[4];
    memset(jobs, 0, sizeof(jobs));
    assert_true(oa_job_acquire_place(&jobs[0])); /* three are half of seven */
    assert_true(oa_job_acquire_place(&jobs[1]));
    assert_true(oa_job_acquire_place(&jobs[2]));
    assert_false(oa_job_acquire_place(&jobs[3]));
    assert_false(oa_job_acquire_place(&jobs[3]));
    oa_job_release_place();
    assert_true(oa_job_acquire_place(&jobs[3]));
    for (int i = 0; i < 3; i++)
        oa_job_release_place();
}

static void who_waits_goes_first(void **state) {
    (void)state;
    oa_job jobs[5];
    memset(jobs, 0, sizeof(jobs));
    for (int i = 0; i < 3; i++)
        assert_true(oa_job_acquire_place(&jobs[i]));
    assert_false(oa_job_acquire_place(&jobs[3]));
    oa_job_release_place();
    assert_false(oa_job_acquire_place(&jobs[0])); /* had one just now; waits from here on */
    assert_true(oa_job_acquire_place(&jobs[3]));
    oa_job_release_place();
    oa_job_forgo_place(&jobs[0]);
    oa_job_forgo_place(&jobs[0]);
    assert_true(oa_job_acquire_place(&jobs[4])); /* nobody waits any more */
    for (int i = 0; i < 3; i++)
        oa_job_release_place();
}

/* Dispatchers of one process share the places; the others wait, and come in turn. */
static void dispatchers_take_turns(void **state) {
    (void)state;
    enum { COUNT = 6 };
    world *worlds[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        worlds[i] = world_start(world_new());
        PLAN(worlds[i], .status = 200, .silent = true);
        decide(worlds[i], "ann", "f", "a");
        flush(worlds[i], 60000);
        turn(worlds[i]);
    }
    size_t in_flight = 0;
    for (size_t i = 0; i < COUNT; i++)
        in_flight += worlds[i]->dispatcher->in_flight;
    assert_int_equal(in_flight, 3);
    size_t left = COUNT;
    for (int round = 0; left > 0; round++) {
        assert_true(round < 10);
        left = 0;
        for (size_t i = 0; i < COUNT; i++) {
            if (worlds[i]->dispatcher->in_flight) {
                server_speak(worlds[i]);
                TURN_UNTIL(worlds[i], worlds[i]->tickets[0]->done);
            } else if (!worlds[i]->tickets[0]->done) {
                atomic_fetch_add(&worlds[i]->monotonic_ms, 5);
                oa_deliver_step(worlds[i]->dispatcher);
            }
            left += !worlds[i]->tickets[0]->done;
        }
    }
    for (size_t i = 0; i < COUNT; i++)
        world_end(worlds[i]);
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
    world *w = world_start(world_new());
    uv_work_t busy[POOL];
    int done = 0;
    assert_int_equal(uv_sem_init(&started, 0), 0);
    assert_int_equal(uv_sem_init(&ended, 0), 0);
    for (int i = 0; i < POOL; i++) {
        busy[i].data = &done;
        assert_int_equal(uv_queue_work(&w->loop, &busy[i], keep_busy, after_work), 0);
    }
    for (int i = 0; i < POOL; i++)
        uv_sem_wait(&started);
    decide(w, "ann", "f", "a");
    const ticket *t = flush_abort(w, 1000);
    TURN_UNTIL(w, w->dispatcher->in_flight); /* it waits for a thread */
    atomic_fetch_add(&w->monotonic_ms, 1000);
    oa_deliver_step(w->dispatcher);
    TURN_UNTIL(w, t->done);
    EXPECT_REPORT(t, 0, 0, 1);
    assert_int_equal(w->server.count, 0);
    for (int i = 0; i < POOL; i++)
        uv_sem_post(&ended);
    TURN_UNTIL(w, done == POOL);
    flush_now(w, 1, 0, 0);
    uv_sem_destroy(&started);
    uv_sem_destroy(&ended);
    world_end(w);
}

/* ---- one attempt ---- */

static void an_attempt_tells_what_became_of_it(void **state) {
    (void)state;
    static const struct {
        answer said;
        oa_outcome outcome;
        uint64_t retry_after_ms;
        const char *message;
    } cases[] = {
        {{.status = 200}, OA_OUTCOME_ACCEPTED, 0, "200: accepted"},
        {{.status = 0}, OA_OUTCOME_OUTAGE, 0, "no answer: server.test: nobody is there"},
        {{.status = 503, .retry_after = "7"}, OA_OUTCOME_OUTAGE, 7000, "503: empty answer"},
        {{.status = 413}, OA_OUTCOME_TOO_LARGE, 0, "413: empty answer"},
        {{.status = 400}, OA_OUTCOME_REFUSED, 0, "400: Invalid event JSON"},
    };
    world *w = world_start(world_new()); /* its parts; the job is run on this thread */
    oa_dispatcher *d = w->dispatcher;
    oa_batch *batch = NULL;
    assert_int_equal(oa_batch_new(1, &batch), OA_OK);
    decide(w, "ann", "f", "a");
    oa_batch_add(batch, oa_queue_take(&d->queue));
    d->job.batch = batch;
    d->job.max_body_bytes = 1000;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        server_plan(w, cases[i].said);
        oa_job_run(&d->job);
        assert_true(d->job.sent);
        assert_int_equal(d->job.outcome, cases[i].outcome);
        assert_int_equal(d->job.status_code, cases[i].said.status);
        assert_int_equal(d->job.retry_after_ms, cases[i].retry_after_ms);
        assert_string_equal(d->job.message, cases[i].message);
        assert_int_equal(d->job.rendering.carried, 1);
    }
    w->server.base.ops->wake(&w->server.base);
    oa_job_run(&d->job);
    assert_int_equal(d->job.outcome, OA_OUTCOME_ABORTED);
    oa_renderer_free(d->job.renderer);
    assert_int_equal(oa_renderer_new(&w->config, &d->hash_key, 0, &d->job.renderer), OA_OK);
    memory_deny(true);
    oa_job_run(&d->job);
    memory_deny(false);
    assert_int_equal(d->job.outcome, OA_OUTCOME_NOMEM);
    assert_false(d->job.sent);
    d->job.batch = NULL;
    oa_batch_list_push_back(&d->ready, batch);
    d->queue_events = 0;
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_of_the_pool_is_ours_at_most),
        cmocka_unit_test(who_waits_goes_first),
        cmocka_unit_test(dispatchers_take_turns),
        cmocka_unit_test(an_attempt_that_no_thread_has_begun_is_put_back),
        cmocka_unit_test(an_attempt_tells_what_became_of_it),
    };
    char size[4];
    snprintf(size, sizeof(size), "%d", POOL);
    if (setenv("UV_THREADPOOL_SIZE", size, 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
