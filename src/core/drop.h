/*
 * drop.h: decisions that end without being delivered, each of them once: counted, settled, told.
 * Also their age, which is one reason. [externally synchronised]
 */
#ifndef OA_DROP_H
#define OA_DROP_H

#include "oa.h"
#include "record.h"

/*
 * Drop a decision. Its exposure counts as unsent, unless the decision was judged: the next one like
 * it goes out. Ownership: takes the record. Copies `message`.
 */
void oa_drop(oa_dispatcher *dispatcher, oa_record *record, oa_drop_reason reason, int status_code,
             const char *message);

/*
 * Take a decision back that turns out to be a repeat: it counts as if it had been one on arrival.
 * Ownership: takes the record.
 */
void oa_drop_repeat(oa_dispatcher *dispatcher, oa_record *record);

/* Log how many were dropped for a reason since there were `before`, if any: as an error, unless the
 * application asked for it. */
void oa_drop_log(oa_dispatcher *dispatcher, oa_drop_reason reason, uint64_t before,
                 const char *message);

/* Drop a decision that was taken off its queue, for lack of memory to go on with it. */
void oa_drop_for_memory(oa_dispatcher *dispatcher, oa_record *record);

/* Return the age of the oldest decision that is pending, in ms; 0 when there is none. */
uint64_t oa_drop_oldest_ms(const oa_dispatcher *dispatcher, oa_now now);

/* Return the monotonic moment at which the next decision is too old; UINT64_MAX when none waits. */
uint64_t oa_drop_expiry_ms(const oa_dispatcher *dispatcher, oa_now now);

/* Drop what is too old to be sent. Returns false when there is more of it than one step may
 * take. */
bool oa_drop_expired(oa_dispatcher *dispatcher, oa_now now);

/*
 * Drop what is queued, ready or parked, some thousands at a time; no attempt is out. Returns
 * whether that was all.
 */
bool oa_drop_some(oa_dispatcher *dispatcher, oa_drop_reason reason, const char *message);

/* The same at the end, as OA_DROP_CLOSED; but what stands in the journal stays there. */
bool oa_drop_rest(oa_dispatcher *dispatcher, const char *message);

/* Free everything that is queued, ready or parked, uncounted and untold. */
void oa_drop_silently(oa_dispatcher *dispatcher);

#endif
