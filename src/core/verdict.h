/*
 * verdict.h: what becomes of the decisions of a batch once its attempt is over. [externally
 * synchronised]
 *
 * Every decision ends exactly once: delivered or dropped (settled). Until then it goes back to the
 * front of `ready`, or is parked with its user. Back-off and splitting never lose the order.
 */
#ifndef OA_VERDICT_H
#define OA_VERDICT_H

#include "oa.h"
#include "record.h"

/* Settle, park or put back the records of the attempt's batch; the batch is gone afterwards. */
void oa_verdict_apply(oa_dispatcher *dispatcher, oa_now now);

/* Drop everything that is queued, ready or parked. No attempt is out. */
void oa_verdict_drop_all(oa_dispatcher *dispatcher, oa_drop_reason reason, const char *message);

/* Drop a decision that was taken off its queue, for lack of memory to go on with it. */
void oa_verdict_drop_record(oa_dispatcher *dispatcher, oa_record *record);

/* Free everything that is queued, ready or parked, without reporting it. */
void oa_verdict_discard_all(oa_dispatcher *dispatcher);

#endif
