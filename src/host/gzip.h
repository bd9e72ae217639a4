/*
 * gzip.h: request bodies, compressed by zlib. The only user of zlib.  [one owner]
 */
#ifndef OA_HOST_GZIP_H
#define OA_HOST_GZIP_H

#include "oa.h"

/* Smaller bodies are not worth it. Source: MIN_GZIP_UPLOAD_BODY_SIZE_BYTES of Amplitude's SDKs. */
enum { OA_GZIP_MIN_BYTES = 2048 };

typedef struct oa_gzip oa_gzip;

/* Return a compressor owned, or NULL without memory. */
oa_gzip *oa_gzip_new(void);

/* Take the compressor. NULL is fine. */
void oa_gzip_free(oa_gzip *gzip);

/* Compress `text`, and lend the result until the next call; absent without memory. Borrows. */
oa_str oa_gzip_pack(oa_gzip *gzip, oa_str text);

/* Give back the memory of an unusually large body. */
void oa_gzip_trim(oa_gzip *gzip);

#endif
