/*
 * buf.h: a growing byte buffer with a maximum, and what JSON needs written into it.  [one owner]
 *
 * Failure is sticky: once the buffer is full or memory ran out, every later append is a no-op, and
 * oa_buf_status() returns the error. So code that writes a body appends freely and checks once, at
 * the end.
 */
#ifndef OA_BUF_H
#define OA_BUF_H

#include <string.h>

#include "oa.h"

typedef struct oa_buf {
    char *data;
    size_t len;
    size_t cap;
    size_t max;
    oa_status status;
} oa_buf;

/* Start empty, without allocating; the buffer never grows beyond `max` bytes. */
void oa_buf_init(oa_buf *buf, size_t max);

/* Free the bytes. */
void oa_buf_clear(oa_buf *buf);

/* Forget the contents and a failure, keep the memory. */
void oa_buf_reset(oa_buf *buf);

/* Cut back to `len` bytes, at most the present length; a failure since then is forgotten. */
void oa_buf_truncate(oa_buf *buf, size_t len);

/* Give memory beyond `keep` bytes back; the contents are lost. */
void oa_buf_shrink(oa_buf *buf, size_t keep);

/* Return OA_OK, OA_NOMEM or OA_TOO_LARGE. */
static inline oa_status oa_buf_status(const oa_buf *buf) { return buf->status; }

/* Grow, so that `extra` more bytes fit; false, and a status, when that fails. */
bool oa_buf_grow(oa_buf *buf, size_t extra);

/* Make room for `extra` more bytes (at least 1), and return where they go; NULL when that fails. */
static inline char *oa_buf_reserve(oa_buf *buf, size_t extra) {
    if (buf->status != OA_OK || (extra > buf->cap - buf->len && !oa_buf_grow(buf, extra)))
        return NULL;
    return buf->data + buf->len;
}

/* Append `len` bytes as they are. Copies. Inline, so that a literal is a few moves. */
static inline void oa_buf_append(oa_buf *buf, const char *data, size_t len) {
    char *to = len > 0 ? oa_buf_reserve(buf, len) : NULL;
    if (to == NULL)
        return;
    memcpy(to, data, len);
    buf->len += len;
}

/* Append `len` bytes of the buffer itself, from byte `from` on. */
void oa_buf_repeat(oa_buf *buf, size_t from, size_t len);

/* Append a string literal. */
#define OA_BUF_LITERAL(buf, literal) oa_buf_append((buf), "" literal, sizeof(literal) - 1)

static inline void oa_buf_append_str(oa_buf *buf, oa_str str) {
    oa_buf_append(buf, str.data, str.len);
}

/* Append `str` as a JSON string with its quotes, escaped as RFC 8259 section 7 requires. UTF-8 in,
 * UTF-8 out. */
void oa_buf_append_json(oa_buf *buf, oa_str str);

/* Append the inside of a JSON string, without quotes. */
void oa_buf_append_json_inner(oa_buf *buf, oa_str str);

enum { OA_BUF_INT_BYTES = 20 }; /* "-9223372036854775808" */

/* Write a number in decimal, without a NUL, and return its length. What is behind it has no
 * meaning. */
size_t oa_buf_format_int(int64_t value, char out[OA_BUF_INT_BYTES]);

/* Append a number in decimal, if there is room for any. */
void oa_buf_append_int(oa_buf *buf, int64_t value);

#endif
