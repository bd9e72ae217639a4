/*
 * base64.h: bytes as text (RFC 4648, with padding), because not every client of a store takes
 * bytes.  [any thread]
 */
#ifndef OA_HOST_BASE64_H
#define OA_HOST_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "oa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Return how many characters `len` bytes take. */
static inline size_t oa_base64_chars(size_t len) { return (len + 2) / 3 * 4; }

/* Write the text of some bytes to `out`, without a NUL. Borrows. Cost: 1 ns a byte. */
void oa_base64_write(oa_str bytes, char *out);

/*
 * Read a text into `out`, which has room for `max` bytes. Sets *len. Returns false for what is no
 * such text, or too long; some bytes are written then. Borrows. Cost: 1 ns a byte.
 */
bool oa_base64_read(oa_str text, void *out, size_t max, size_t *len);

#ifdef __cplusplus
}
#endif

#endif
