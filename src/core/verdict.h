/*
 * verdict.h: what becomes of the decisions of a batch once its attempt is over.
 * [externally synchronised]
 *
 * Every decision ends exactly once: delivered, or dropped (drop.h). Until then it goes back to the
 * front of `ready`, or waits in the park with its user. No wait and no splitting loses the order.
 *
 * A failure is the server's, until there is reason to think that it is the batch's: others were
 * accepted since the same records failed before. The server's failures are kept by the dispatcher
 * (health.h) and drop nothing but by age; the batch's own are kept with it (batch.h), and it is
 * halved until what is bad stands alone and is dropped. A batch that was to blame before says
 * little of the server: when it fails again, others are tried before the server is taken for down.
 */
#ifndef OA_VERDICT_H
#define OA_VERDICT_H

#include "lane.h"
#include "oa.h"

/* Settle, park or put back the records of the batch of a lane's attempt; the batch is gone
 * afterwards. */
void oa_verdict_apply(oa_dispatcher *dispatcher, oa_lane *lane, oa_now now);

#endif
