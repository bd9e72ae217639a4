/*
 * ids.h: which user ids and device ids Amplitude accepts. Pure.  [any thread]
 */
#ifndef OA_IDS_H
#define OA_IDS_H

#include "oa.h"

/*
 * Check a user id or device id. Borrows. Returns OA_OK, OA_ID_MISSING (absent or empty),
 * OA_ID_TOO_SHORT, OA_ID_TOO_LONG or OA_ID_FORBIDDEN (Amplitude's list of invalid ids).
 */
oa_status oa_ids_check(oa_str id, uint32_t min_characters);

#endif
