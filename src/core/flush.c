#include "flush.h"

#include <string.h>

#include "mem.h"

void oa_flushes_init(oa_flushes *flushes) { memset(flushes, 0, sizeof(*flushes)); }

void oa_flushes_clear(oa_flushes *flushes) {
    oa_mem_free(flushes->waiters);
    oa_mem_free(flushes->finished);
    oa_flushes_init(flushes);
}

static void pass_news_on(oa_flushes *flushes) {
    uint64_t delivered = 0;
    uint64_t dropped = 0;
    uint64_t taken_back = 0;
    uint64_t found = 0;
    for (size_t i = 0; i < flushes->count; i++) {
        oa_waiter *waiter = &flushes->waiters[i];
        delivered += waiter->news_delivered;
        dropped += waiter->news_dropped;
        taken_back += waiter->news_taken_back;
        found += waiter->news_found;
        waiter->news_delivered = waiter->news_dropped = 0;
        waiter->news_taken_back = waiter->news_found = 0;
        waiter->report.delivered += delivered;
        waiter->report.dropped += dropped;
        waiter->report.pending += found;
        waiter->report.pending -= delivered + dropped + taken_back;
    }
}

/* Make room for one waiter more, and for all of them to finish. */
static oa_status grow(oa_flushes *flushes) {
    if (flushes->count + flushes->finished_count < flushes->cap)
        return OA_OK;
    const size_t cap = flushes->cap > 0 ? flushes->cap * 2 : 4;
    oa_waiter *waiters = oa_mem_realloc(flushes->waiters, cap * sizeof(*waiters));
    if (waiters == NULL)
        return OA_NOMEM;
    flushes->waiters = waiters;
    oa_waiter *finished = oa_mem_realloc(flushes->finished, cap * sizeof(*finished));
    if (finished == NULL)
        return OA_NOMEM;
    flushes->finished = finished;
    flushes->cap = cap;
    return OA_OK;
}

oa_status oa_flushes_add(oa_flushes *flushes, const oa_waiter *waiter) {
    pass_news_on(flushes); /* none of it concerns the new waiter */
    if (grow(flushes) != OA_OK)
        return OA_NOMEM;
    flushes->waiters[flushes->count++] = *waiter;
    return OA_OK;
}

/* Lend the first waiter that covers seq, or NULL; later ones hear of it by pass_news_on(). */
static oa_waiter *first_that_covers(oa_flushes *flushes, uint64_t seq) {
    size_t low = 0;
    size_t high = flushes->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (flushes->waiters[middle].upto_seq > seq)
            high = middle;
        else
            low = middle + 1;
    }
    return low == flushes->count ? NULL : &flushes->waiters[low];
}

void oa_flushes_settle(oa_flushes *flushes, uint64_t seq, bool delivered) {
    oa_waiter *waiter = first_that_covers(flushes, seq);
    if (waiter == NULL)
        return;
    if (delivered)
        waiter->news_delivered++;
    else
        waiter->news_dropped++;
}

void oa_flushes_take_back(oa_flushes *flushes, uint64_t seq) {
    oa_waiter *waiter = first_that_covers(flushes, seq);
    if (waiter != NULL)
        waiter->news_taken_back++;
}

void oa_flushes_find(oa_flushes *flushes) {
    if (flushes->count > 0)
        flushes->waiters[0].news_found++;
}

void oa_flushes_expire(oa_flushes *flushes) {
    for (size_t i = 0; i < flushes->count; i++)
        flushes->waiters[i].deadline_ms = 0;
}

/* When something may happen to what a waiter waits for. */
static uint64_t next_chance_ms(const oa_waiter *waiter, const oa_prospect *prospect) {
    const bool is_parked = prospect->first_seq >= waiter->upto_seq;
    if (prospect->is_out)
        return prospect->now_ms;
    if (is_parked || prospect->parked_at_ms < prospect->send_at_ms)
        return prospect->parked_at_ms;
    return prospect->send_at_ms;
}

static bool is_finished(const oa_waiter *waiter, const oa_prospect *prospect) {
    if (waiter->report.pending == 0)
        return true;
    if (waiter->deadline_ms <= prospect->now_ms)
        return !(waiter->abort && prospect->is_out);
    return waiter->deadline_ms != UINT64_MAX &&
           next_chance_ms(waiter, prospect) >= waiter->deadline_ms;
}

bool oa_flushes_finish(oa_flushes *flushes, const oa_prospect *prospect) {
    pass_news_on(flushes);
    bool freezes = false;
    size_t kept = 0;
    for (size_t i = 0; i < flushes->count; i++) {
        oa_waiter waiter = flushes->waiters[i];
        if (!is_finished(&waiter, prospect)) {
            flushes->waiters[kept++] = waiter;
            continue;
        }
        waiter.report.duration_ms = prospect->now_ms - waiter.started_ms;
        freezes |= waiter.abort && waiter.report.pending > 0;
        flushes->finished[flushes->finished_count++] = waiter;
    }
    flushes->count = kept;
    return freezes;
}

bool oa_flushes_next(oa_flushes *flushes, oa_waiter *out) {
    if (flushes->finished_count == 0)
        return false;
    *out = flushes->finished[0];
    flushes->finished_count--;
    memmove(flushes->finished, flushes->finished + 1,
            flushes->finished_count * sizeof(*flushes->finished));
    return true;
}

bool oa_flushes_want_abort(const oa_flushes *flushes, uint64_t now_ms) {
    for (size_t i = 0; i < flushes->count; i++)
        if (flushes->waiters[i].abort && flushes->waiters[i].deadline_ms <= now_ms)
            return true;
    return false;
}

uint64_t oa_flushes_deadline(const oa_flushes *flushes) {
    uint64_t earliest = UINT64_MAX;
    for (size_t i = 0; i < flushes->count; i++)
        if (flushes->waiters[i].deadline_ms < earliest)
            earliest = flushes->waiters[i].deadline_ms;
    return earliest;
}
