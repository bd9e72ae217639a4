/*
 * gunzip.h: a body that may be compressed, inflated as it comes. A gzip stream says so by its first
 * two bytes, with which no text begins, so no header has to be believed.  [one owner]
 */
#ifndef OA_HOST_GUNZIP_H
#define OA_HOST_GUNZIP_H

#include "oa.h"

/* Takes text as it comes, in pieces of at most 64 KiB when it was compressed. Returns what
 * oa_gunzip_push() returns then. Borrows. */
typedef oa_status (*oa_gunzip_sink)(void *data, oa_str text);

typedef struct oa_gunzip oa_gunzip;

/* Return a stream owned, or NULL without memory. `data` is the first argument of the sink. */
oa_gunzip *oa_gunzip_new(oa_gunzip_sink sink, void *data);

/* Take the stream. NULL is fine. */
void oa_gunzip_free(oa_gunzip *gunzip);

/*
 * Give bytes in, and the text that they hold to the sink. Borrows. Errors: OA_MALFORMED (broken
 * gzip), OA_NOMEM, and those of the sink; the stream is of no use then.
 */
oa_status oa_gunzip_push(oa_gunzip *gunzip, oa_str bytes) __attribute__((warn_unused_result));

/* Return OA_OK when the stream may end here, and OA_MALFORMED when it is cut off. */
oa_status oa_gunzip_end(oa_gunzip *gunzip) __attribute__((warn_unused_result));

#endif
