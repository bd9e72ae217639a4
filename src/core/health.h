/*
 * health.h: the state of the server, as far as attempts tell it. [externally synchronised]
 *
 * It belongs to the dispatcher and not to a batch: whichever records happen to be sent while the
 * server is down are not to blame. A failure counts towards it, and lengthens the back-off, unless
 * it is the batch's own (see oa_suspicion in batch.h); the first success ends it.
 */
#ifndef OA_HEALTH_H
#define OA_HEALTH_H

#include "oa.h"

/* What is wrong. While it is not NONE, one small probe is sent at a time. */
typedef enum oa_trouble {
    OA_TROUBLE_NONE,
    OA_TROUBLE_OUTAGE,  /* no answer, or one that says so: it will pass */
    OA_TROUBLE_REQUEST, /* the URL, a proxy, a firewall: someone has to fix it */
    OA_TROUBLE_API_KEY, /* likewise the API key */
} oa_trouble;

typedef struct oa_health {
    oa_trouble trouble;
    uint32_t failures;     /* in a row */
    uint32_t witnesses;    /* of them, those of batches that had not failed before */
    uint32_t probe_halved; /* how often a probe's size is halved; see oa_health_probe_size() */
    uint32_t silences;     /* requests in a row that a flush ended after a long wait */
    int64_t since_ms;      /* wall clock; when the first of them came */
    uint64_t began_at_ms;  /* monotonic; likewise */
    uint64_t failed_at_ms; /* monotonic; when the last of them came */
    uint64_t backoff_ms;   /* the wait that followed it */
    uint64_t accepted;     /* attempts that the server took, ever */
} oa_health;

/* Note a failure, and return the wait in ms before the next attempt. `random` is 64 random bits. */
uint64_t oa_health_failed(oa_health *health, oa_now now, oa_trouble trouble, uint64_t random);

/* Note that the server took or judged so many records: it does its work. Returns whether that ended
 * a trouble. */
bool oa_health_recovered(oa_health *health, size_t records);

/* Note that the batch that failed had not failed before. */
void oa_health_add_witness(oa_health *health);

/*
 * Return the moment from which a decision that no failed attempt carried may be tried, which does
 * not wait the back-off out: while few batches failed, it may be they and not the server. A moment
 * that never comes once enough have failed.
 */
uint64_t oa_health_fresh_at_ms(const oa_health *health);

/*
 * Return the moment from which a flush may try again, which does not wait the back-off out: an
 * application may flush at each request. Once in a second, or in an eighth of the back-off.
 */
uint64_t oa_health_flush_at_ms(const oa_health *health);

/*
 * Return how many records the next attempt may carry; SIZE_MAX while all is well. Where many
 * decisions are bad, each probe has one of them: from the third failure in a row on, the next one
 * is half as large, and that is remembered until larger requests are accepted.
 */
size_t oa_health_probe_size(const oa_health *health);

#endif
