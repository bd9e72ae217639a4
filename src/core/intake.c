#include "intake.h"

#include <inttypes.h>

#include "backoff.h"
#include "state.h"

enum { READ_IN_STEP = 2048 }; /* about half a millisecond */

/* ---- Into memory ---- */

static uint8_t count_events(const oa_dispatcher *d, const oa_record *before,
                            const oa_record *record) {
    if (record->rendered)
        return oa_frame_count_rendered(d->frame, record);
    return before != NULL && oa_record_same_user(before, record) ? d->event_counts.next
                                                                 : d->event_counts.first;
}

/* Account for a record that was appended behind `before`. Returns whether the next due moment may
 * be closer. */
static bool stored(oa_dispatcher *d, oa_lane *lane, oa_now now, oa_record *record,
                   const oa_record *before) {
    if (!record->recheck)
        record->events = count_events(d, before, record) & 3u;
    const bool was_below = lane->queue_events < d->flush_queue_size;
    lane->queue_events += record->events;
    if (before == NULL) {
        lane->front_since_at_ms = now.monotonic_ms;
        lane->interval_ms = oa_backoff_spread_ms(d->flush_interval_ms, oa_chance_next(&d->chance));
    }
    if (d->created_at_ms == 0)
        d->created_at_ms = now.monotonic_ms;
    if (lane->is_out)
        return false; /* the step after the attempt looks at the queue anyway */
    /* It may be what is tried before the back-off ends: see deliver.c. */
    if (d->health.trouble != OA_TROUBLE_NONE && oa_lanes_parked_users(&d->lanes) > 0 &&
        oa_health_fresh_at_ms(&d->health) != UINT64_MAX)
        return true;
    return before == NULL || (was_below && lane->queue_events >= d->flush_queue_size);
}

/* Append a decision to its lane, under a sequence number. */
static oa_status append(oa_dispatcher *d, oa_now now, oa_lane *lane, const oa_arrival *arrival,
                        uint64_t seq, bool *comes_closer) {
    const oa_record *before = oa_queue_last(&lane->queue);
    oa_record *record = NULL;
    if (oa_queue_append(&lane->queue, arrival->variant, arrival->decision, &record) != OA_OK)
        return OA_QUEUE_FULL;
    record->seq = seq;
    record->time_ms = arrival->time_ms;
    record->occurrence = arrival->occurrence;
    record->property_only = arrival->property_only;
    record->recheck = arrival->recheck;
    *comes_closer = stored(d, lane, now, record, before);
    return OA_OK;
}

static void count_accepted(oa_dispatcher *d, const oa_variant *variant) {
    d->stats.accepted++;
    d->stats.pending++;
    if (variant == NULL) {
        d->stats.tracked.accepted++;
        d->stats.tracked.pending++;
    }
}

/* ---- Into the journal ---- */

static oa_status write(oa_dispatcher *d, const oa_arrival *arrival, bool in_memory,
                       oa_entry_place *place) {
    const oa_decision *decision = arrival->decision;
    const oa_entry entry = {
        .rendered = decision->rendered,
        .property_only = arrival->property_only,
        .recheck = arrival->recheck,
        .occurrence = arrival->occurrence,
        .time_ms = arrival->time_ms,
        .strings =
            {
                [OA_ENTRY_USER_ID] = decision->user_id,
                [OA_ENTRY_DEVICE_ID] = decision->device_id,
                [OA_ENTRY_FIELDS] = decision->fields,
                [OA_ENTRY_EVENT_PROPERTIES] = decision->event_properties,
                [OA_ENTRY_USER_PROPERTIES] = decision->user_properties,
            },
    };
    return oa_spool_write(d->spool, arrival->variant, &entry, in_memory, place);
}

/* Whether a decision may go into memory now: nothing that was accepted before waits on disk. */
static bool takes_into_memory(const oa_dispatcher *d) {
    return d->spool == NULL || (!d->is_held && !oa_spool_is_behind(d->spool));
}

/* Write what went into memory into the journal as well, if it has room. */
static void write_too(oa_dispatcher *d, oa_lane *lane, const oa_arrival *arrival) {
    oa_entry_place place = {NULL, 0};
    if (write(d, arrival, true, &place) != OA_OK)
        d->unwritten++;
    /* In any case: the memory may have been another record's. */
    oa_record_set_place(oa_queue_last(&lane->queue), place);
}

/* Accept what memory has no room for, or what has to wait behind others on disk. */
static oa_status accept_on_disk(oa_dispatcher *d, oa_now now, const oa_arrival *arrival,
                                bool *comes_closer) {
    oa_entry_place place = {NULL, 0};
    if (!oa_arena_could_take(&d->arena, arrival->decision))
        return OA_QUEUE_FULL;
    if (d->disk_count == 0)
        d->disk_seq = d->next_seq; /* all that follow have the next ones, until they are read */
    const oa_status status = write(d, arrival, false, &place);
    if (status != OA_OK)
        return status;
    d->disk_count++;
    d->next_seq++;
    count_accepted(d, arrival->variant);
    *comes_closer = oa_intake_due_ms(d, now) != UINT64_MAX;
    return OA_OK;
}

oa_status oa_intake_accept(oa_dispatcher *d, oa_now now, oa_hash identity,
                           const oa_arrival *arrival, bool *comes_closer) {
    *comes_closer = false;
    if (takes_into_memory(d)) {
        oa_lane *lane = oa_lanes_find(&d->lanes, identity);
        if (append(d, now, lane, arrival, d->next_seq, comes_closer) == OA_OK) {
            d->next_seq++;
            count_accepted(d, arrival->variant);
            if (d->spool != NULL)
                write_too(d, lane, arrival);
            return OA_OK;
        }
    }
    return d->spool == NULL ? OA_QUEUE_FULL : accept_on_disk(d, now, arrival, comes_closer);
}

void oa_intake_settle(oa_dispatcher *d, const oa_record *record) {
    if (d->spool == NULL)
        return;
    const oa_entry_place place = oa_record_place(record);
    if (place.segment == NULL)
        d->unwritten--;
    else
        oa_spool_settle(d->spool, place);
}

/* ---- Out of the journal ---- */

bool oa_intake_is_behind(const oa_dispatcher *d) {
    return d->spool != NULL && (d->is_held || oa_spool_is_behind(d->spool));
}

uint64_t oa_intake_first_seq(const oa_dispatcher *d) {
    return d->disk_count > 0 ? d->disk_seq : UINT64_MAX;
}

/* Whether there is something to read, and memory for it. */
static bool is_to_read(const oa_dispatcher *d) {
    return d->spool != NULL && !d->is_held && d->phase <= OA_PHASE_CLOSING &&
           oa_spool_is_behind(d->spool) && d->arena.bytes <= d->arena.max_bytes / 2;
}

bool oa_intake_awaits_load(const oa_dispatcher *d) {
    return is_to_read(d) && oa_spool_awaits_load(d->spool);
}

uint64_t oa_intake_due_ms(const oa_dispatcher *d, oa_now now) {
    if (!is_to_read(d) || oa_spool_awaits_load(d->spool))
        return UINT64_MAX;
    return d->read_not_before_ms > now.monotonic_ms ? d->read_not_before_ms : now.monotonic_ms;
}

/* Whether what another process left can be sent by this one, as it is configured. */
static bool can_be_sent(const oa_dispatcher *d, const oa_arrival *arrival) {
    const bool is_foreign = arrival->variant != NULL && arrival->decision->rendered &&
                            !oa_frame_sends_rendered(d->frame, arrival->decision);
    return !is_foreign && oa_arena_could_take(&d->arena, arrival->decision);
}

/* Settle what another process left, and is not going to be sent. */
static void discard(oa_dispatcher *d, const oa_arrival *arrival, oa_entry_place place) {
    oa_spool_advance(d->spool);
    oa_spool_settle(d->spool, place);
    if (arrival->recheck)
        return; /* a repeat, as far as that process knew; it asked a store that this one has not */
    d->stats.accepted++;
    d->stats.dropped[OA_DROP_INVALID_EVENT]++;
    if (arrival->variant == NULL) {
        d->stats.tracked.accepted++;
        d->stats.tracked.dropped[OA_DROP_INVALID_EVENT]++;
    }
}

/* Read one entry back. Returns whether another one may follow. */
static bool read_one(oa_dispatcher *d, oa_now now) {
    oa_spool_entry read;
    oa_status status = OA_OK;
    bool comes_closer = false;
    if (!oa_spool_peek(d->spool, &d->style, &read, &status))
        return false;
    if (status != OA_OK) {
        d->read_not_before_ms = oa_moment_after(now.monotonic_ms, OA_MEMORY_PAUSE_MS);
        return false;
    }
    const oa_str *strings = read.entry.strings;
    const oa_decision decision = {
        .user_id = strings[OA_ENTRY_USER_ID],
        .device_id = strings[OA_ENTRY_DEVICE_ID],
        .fields = strings[OA_ENTRY_FIELDS],
        .event_properties = strings[OA_ENTRY_EVENT_PROPERTIES],
        .user_properties = strings[OA_ENTRY_USER_PROPERTIES],
        .rendered = read.entry.rendered,
    };
    const oa_arrival arrival = {
        .variant = read.variant,
        .decision = &decision,
        .time_ms = read.entry.time_ms,
        .occurrence = read.entry.occurrence,
        .property_only = read.entry.property_only,
        .recheck = read.entry.recheck,
    };
    if (read.is_found && ((arrival.recheck && !d->has_store) || !can_be_sent(d, &arrival))) {
        discard(d, &arrival, read.place);
        return true;
    }
    const oa_hash identity = oa_hash_identity(&d->hash_key, decision.user_id, decision.device_id);
    oa_lane *lane = oa_lanes_find(&d->lanes, identity);
    const uint64_t seq = read.is_found ? d->found_seq : d->disk_seq;
    if (append(d, now, lane, &arrival, seq, &comes_closer) != OA_OK) {
        d->read_not_before_ms = oa_moment_after(now.monotonic_ms, OA_MEMORY_PAUSE_MS);
        return false;
    }
    oa_record_set_place(oa_queue_last(&lane->queue), read.place);
    if (read.is_found) {
        d->found_seq++;
        count_accepted(d, read.variant);
        oa_flushes_find(&d->flushes);
    } else {
        d->disk_seq++;
        d->disk_count--;
    }
    oa_spool_advance(d->spool);
    return true;
}

void oa_intake_read(oa_dispatcher *d, oa_now now) {
    const uint64_t before = d->stats.dropped[OA_DROP_INVALID_EVENT];
    int budget = READ_IN_STEP;
    while (budget > 0 && oa_intake_due_ms(d, now) <= now.monotonic_ms && read_one(d, now))
        budget--;
    const uint64_t dropped = d->stats.dropped[OA_DROP_INVALID_EVENT] - before;
    if (dropped > 0)
        oa_notices_log(&d->notices, OA_LOG_ERROR, "found",
                       "%" PRIu64 " %s that another process left are dropped (invalid_event): this "
                       "one is configured not to send such events",
                       dropped, oa_name_records(d, dropped));
}
