/*
 * carrier.h: carries segments between a core and its journal, and what was stored to them to the
 * kernel.
 *
 * Thread: the owner's.
 */
#ifndef OA_HOST_SPOOL_CARRIER_H
#define OA_HOST_SPOOL_CARRIER_H

#include "journal.h"
#include "spool.h"

typedef struct oa_carrier {
    oa_spool *spool;
    oa_journal *journal;
    bool has_copies;
} oa_carrier;

/* Give the core a segment that the journal made, found or loaded. Returns whether it took it: one
 * that it has no memory for stays for the next process. */
bool oa_carrier_give(oa_carrier *carrier, const oa_journal_item *item);

/* Have what the core stored be the kernel's: before a listener returns. */
void oa_carrier_save(oa_carrier *carrier);

/* Do that, take what is done or idle, and tell the journal where the core is. */
void oa_carrier_follow(oa_carrier *carrier);

#endif
