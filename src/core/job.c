#include "job.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Changed by the loops of all threads; they count, and order nothing else. */
static atomic_int places_taken;
static atomic_int jobs_waiting;
static int places;
static uv_once_t once = UV_ONCE_INIT;

/* Source: libuv's docs/src/threadpool.rst: 4 threads, or UV_THREADPOOL_SIZE, at most 1024. */
static void count_places(void) {
    char text[16];
    size_t size = sizeof(text);
    long threads = 4;
    if (uv_os_getenv("UV_THREADPOOL_SIZE", text, &size) == 0)
        threads = strtol(text, NULL, 10);
    if (threads > 1024)
        threads = 1024;
    places = threads >= 4 ? (int)threads / 2 : 1;
}

static bool take_place(void) {
    if (atomic_fetch_add(&places_taken, 1) < places)
        return true;
    atomic_fetch_sub(&places_taken, 1);
    return false;
}

bool oa_job_acquire_place(oa_job *job) {
    uv_once(&once, count_places);
    const bool others_wait = !job->waiting && atomic_load(&jobs_waiting) > 0;
    if (!others_wait && take_place()) {
        oa_job_forgo_place(job);
        return true;
    }
    if (!job->waiting) {
        job->waiting = true;
        atomic_fetch_add(&jobs_waiting, 1);
    }
    return false;
}

void oa_job_forgo_place(oa_job *job) {
    if (!job->waiting)
        return;
    job->waiting = false;
    atomic_fetch_sub(&jobs_waiting, 1);
}

void oa_job_release_place(void) { atomic_fetch_sub(&places_taken, 1); }

static void read_answer(oa_job *job, const oa_exchange *exchange) {
    oa_reply reply;
    const oa_str body = {exchange->body.data, exchange->body.len};
    oa_response_read(exchange->status, body, job->batch, job->rendering.carried,
                     job->rendering.owners, job->rendering.event_count, &reply);
    job->outcome = reply.outcome;
    snprintf(job->message, sizeof(job->message), "%s", reply.message);
    if (exchange->retry_after[0] != '\0') {
        const oa_str value = {exchange->retry_after, strlen(exchange->retry_after)};
        job->retry_after_ms = oa_retry_after_ms(value, oa_clock_wall_ms(job->clock));
    }
}

static void exchange_bodies(oa_job *job) {
    oa_exchange exchange;
    memset(&exchange, 0, sizeof(exchange));
    oa_buf_init(&exchange.body, OA_RESPONSE_MAX_BYTES);
    const oa_request request = {
        .body = job->rendering.body,
        .gzip = job->rendering.gzip,
        .fresh_connection = job->fresh_connection,
    };
    const uint64_t started_ms = oa_clock_monotonic_ms(job->clock);
    job->sent = true;
    job->transport->ops->perform(job->transport, &request, &exchange);
    job->duration_ms = oa_clock_monotonic_ms(job->clock) - started_ms;
    job->status_code = exchange.status;
    if (exchange.aborted) {
        job->outcome = OA_OUTCOME_ABORTED;
    } else if (exchange.status == 0) {
        job->outcome = OA_OUTCOME_OUTAGE;
        snprintf(job->message, sizeof(job->message), "no answer: %.380s", exchange.error);
    } else {
        read_answer(job, &exchange);
    }
    oa_buf_clear(&exchange.body);
}

void oa_job_run(oa_job *job) {
    job->sent = false;
    job->status_code = 0;
    job->message[0] = '\0';
    job->retry_after_ms = 0;
    job->duration_ms = 0;
    memset(job->batch->marks, OA_MARK_KEEP, job->batch->count);
    if (oa_render(job->renderer, job->batch, job->max_body_bytes, &job->rendering) != OA_OK) {
        job->outcome = OA_OUTCOME_NOMEM;
        snprintf(job->message, sizeof(job->message), "out of memory for a request body");
        return;
    }
    exchange_bodies(job);
}
