/*
 * turn.h: one load at a time in the process, whoever asks for it.  [any thread]
 */
#ifndef OA_HOST_TURN_H
#define OA_HOST_TURN_H

#include <stdatomic.h>
#include <stdbool.h>

/* Make what turns need, once; false when that fails. */
bool oa_turn_begin(void);

/* Wait for the turn, and take it; false when *cancelled is set before. */
bool oa_turn_take(const atomic_bool *cancelled);

/* Give it to the next one. */
void oa_turn_give(void);

/* Have those that wait see that they are cancelled. */
void oa_turn_wake(void);

#endif
