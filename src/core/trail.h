/*
 * trail.h: where the parts of a text stood last, so that it is compressed without a search.
 * [one owner]
 *
 * A text is written part by part. Parts that are the same whenever they occur, *constants*, are
 * known by their address: no look at their bytes is needed to say that they are a copy. Of other
 * parts it is known what they resemble: the last one in the same *role*.
 */
#ifndef OA_TRAIL_H
#define OA_TRAIL_H

#include "oa.h"

/* What a part is in its text. */
typedef enum oa_role {
    OA_ROLE_HEAD, /* of an event */
    OA_ROLE_FIELDS,
    OA_ROLE_TIME,
    OA_ROLE_ID,
    OA_ROLE_EVENT_ID,
    OA_ROLE_MIDDLE,
    OA_ROLE_SET,
    OA_ROLE_USER_PROPERTIES,
    OA_ROLE_VARIANT,
    OA_ROLE_EVENT_PROPERTIES,
    OA_ROLE_IDENTIFY, /* and the others: a whole event */
    OA_ROLE_EXPOSURE,
    OA_ROLE_EVENT,
    OA_ROLE_COUNT
} oa_role;

typedef struct oa_trail oa_trail;

/* Return a trail owned, of about 80 KB, or NULL without memory. */
oa_trail *oa_trail_new(void);

/* Take the trail. NULL is fine. */
void oa_trail_free(oa_trail *trail);

/* Begin a new text. */
void oa_trail_begin(oa_trail *trail);

/*
 * Note that the text goes on at byte `at` with the `len` bytes of `constant`. These must not change
 * before the text is compressed, nor their memory be used for others.
 */
void oa_trail_constant(oa_trail *trail, oa_role role, const char *constant, size_t len, size_t at);

/* Note a part of `len` bytes from `at` on, which probably resembles the last one in its role. */
void oa_trail_like(oa_trail *trail, oa_role role, size_t at, size_t len);

/* Note that the `len` bytes from `at` on are those from `from` on. */
void oa_trail_repeat(oa_trail *trail, size_t at, size_t from, size_t len);

/* Note that the `len` bytes from `at` on are hexadecimal digits in lower case, as of a hash: they
 * stood nowhere before. */
void oa_trail_digits(oa_trail *trail, size_t at, size_t len);

/* Forget what was noted from byte `at` on: the text was cut back to there. */
void oa_trail_cut(oa_trail *trail, size_t at);

/* Compress the whole text, and lend it as gzip until the next call; absent without memory. */
oa_str oa_trail_gzip(oa_trail *trail, oa_str text);

/* Give back the memory of an unusually large text; what was lent is gone. */
void oa_trail_trim(oa_trail *trail);

#endif
