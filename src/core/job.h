/*
 * job.h: one attempt to deliver one batch: render, compress, POST, read the answer.  [pool]
 *
 * The loop fills in the upper half, hands the job to the pool, and reads the lower half when it is
 * back. In between the job, its batch, the renderer and the transport belong to the pool thread.
 */
#ifndef OA_JOB_H
#define OA_JOB_H

#include "batch.h"
#include "clock.h"
#include "oa.h"
#include "render.h"
#include "response.h"
#include "transport.h"

typedef struct oa_job {
    /* Set by the loop. */
    const oa_clock *clock;
    oa_renderer *renderer;
    oa_transport *transport;
    oa_batch *batch;
    size_t max_body_bytes;
    bool fresh_connection;
    bool waiting; /* for a place in the pool */

    /* Set by the pool. */
    bool sent; /* an exchange was begun */
    oa_rendering rendering;
    oa_outcome outcome;
    int status_code;   /* 0: no answer */
    char message[400]; /* what went wrong, in one line */
    uint64_t retry_after_ms;
    uint64_t duration_ms;
} oa_job;

/* Make the attempt. Blocks; cut short by the transport's wake. Writes the batch's marks. [pool] */
void oa_job_run(oa_job *job);

/*
 * Take one of the process's places in the thread pool, or wait for one and return false: then ask again
 * soon. Half of the pool at most is ours, however many dispatchers there are: a slow server must not
 * starve fs and dns. Who waits goes before who had a place just now, so none starves another. [loop]
 */
bool oa_job_acquire_place(oa_job *job);

/* Give the place back. [loop] */
void oa_job_release_place(void);

/* Wait for a place no longer: there will be nothing to send. [loop] */
void oa_job_forgo_place(oa_job *job);

#endif
