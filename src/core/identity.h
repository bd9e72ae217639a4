/*
 * identity.h: which ids Amplitude takes. Pure.  [any thread]
 */
#ifndef OA_IDENTITY_H
#define OA_IDENTITY_H

#include "oa.h"

/* Longest id in characters. Source: Amplitude's limit for string values, 1024 characters. */
enum { OA_IDENTITY_MAX_CHARACTERS = 1024 };

/*
 * Check a user id or device id that is present.
 * Returns OA_OK, OA_ID_TOO_SHORT, OA_ID_TOO_LONG or OA_ID_FORBIDDEN (Amplitude's list of invalid ids).
 */
oa_status oa_identity_check(oa_str id, uint32_t min_characters);

#endif
