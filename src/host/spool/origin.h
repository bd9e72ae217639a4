/*
 * origin.h: what tells a journal, and its segments, from others.  [any thread]
 */
#ifndef OA_HOST_SPOOL_ORIGIN_H
#define OA_HOST_SPOOL_ORIGIN_H

#include <stddef.h>

#include "segment.h"

/* Fill in random bytes. */
void oa_origin_random(void *bytes, size_t len);

/* Fill in the random number that the kernel chose when the machine started; zero if it is not
 * told. */
void oa_origin_boot(char boot[OA_SEGMENT_ID_BYTES]);

#endif
