/*
 * trouble.h: what an attempt means for the server's health, and what the log says of it: a trouble
 * begins, goes on, and is over. [externally synchronised]
 */
#ifndef OA_TROUBLE_H
#define OA_TROUBLE_H

#include "health.h"
#include "lane.h"
#include "oa.h"

/* Note the error of the lane's attempt that is over, for stats. */
void oa_trouble_note_error(oa_dispatcher *d, const oa_lane *lane, oa_now now);

/* Note that the lane's attempt failed because of the server, and put the next attempt off.
 * Attempts that were out together fail together: that is one failure. */
void oa_trouble_fail(oa_dispatcher *d, const oa_lane *lane, oa_now now, oa_trouble trouble);

/*
 * Note that the server took or judged an attempt with so many records: it does its work, and what
 * stepped aside is tried again.
 */
void oa_trouble_end(oa_dispatcher *d, oa_now now, size_t records);

/*
 * Note that a flush ended the lane's attempt. That says nothing against its decisions, and little
 * of the server; but where each invocation of a function ends like this, no request lives until its
 * own timeout, and the log has to say so.
 */
void oa_trouble_note_silence(oa_dispatcher *d, const oa_lane *lane, oa_now now);

#endif
