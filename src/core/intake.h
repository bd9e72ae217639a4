/*
 * intake.h: decisions on their way into a lane: from the application, or from the journal, where
 * they stand on disk, too, until they are settled.  [externally synchronised]
 *
 * Without a journal a decision goes into memory, or is refused. With one it is written there, too,
 * as long as a segment has room; and where memory has none, or others wait on disk only, it stays
 * there alone until its turn comes. So the order in which decisions were accepted is that in which
 * they reach their lanes.
 */
#ifndef OA_INTAKE_H
#define OA_INTAKE_H

#include "exposure.h"
#include "lane.h"
#include "oa.h"
#include "record.h"

/* A decision, or a tracked event, that is to be accepted. Borrowed. */
typedef struct oa_arrival {
    oa_variant *variant; /* NULL: a tracked event */
    const oa_decision *decision;
    int64_t time_ms;
    oa_occurrence occurrence;
    bool property_only;
    bool recheck;
} oa_arrival;

/*
 * Accept a decision, and count it. Writes to *comes_closer whether oa_dispatcher_next_due() may be
 * closer. Copies. Errors: OA_QUEUE_FULL; nothing has changed.
 */
oa_status oa_intake_accept(oa_dispatcher *dispatcher, oa_now now, oa_hash identity,
                           const oa_arrival *arrival, bool *comes_closer)
    __attribute__((warn_unused_result));

/* Note in the journal that a decision is settled. Call it before the record is released. */
void oa_intake_settle(oa_dispatcher *dispatcher, const oa_record *record);

/* Whether something can be read back, once the host has loaded it. */
bool oa_intake_awaits_load(const oa_dispatcher *dispatcher);

/* When there is something to read back, and memory for it: now at the earliest; or UINT64_MAX. */
uint64_t oa_intake_due_ms(const oa_dispatcher *dispatcher, oa_now now);

/* Whether decisions that were accepted wait on disk only, or for what another process left. */
bool oa_intake_is_behind(const oa_dispatcher *dispatcher);

/* Return the sequence number of what was accepted first and is on disk only; UINT64_MAX: nothing
 * is. */
uint64_t oa_intake_first_seq(const oa_dispatcher *dispatcher);

/* Read back what there is memory for, some thousands at a time. */
void oa_intake_read(oa_dispatcher *dispatcher, oa_now now);

#endif
