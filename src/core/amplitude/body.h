/*
 * body.h: a request body while it is rendered, and then compressed.  [one owner]
 *
 * It is appended to part by part. A trail follows, if it is to be compressed, so that what repeats
 * is known without a search: see trail.h, and the picture of one decision in deflate.h.
 */
#ifndef OA_BODY_H
#define OA_BODY_H

#include "amplitude/limits.h"
#include "amplitude/response.h"
#include "buf.h"
#include "hash.h"
#include "oa.h"
#include "trail.h"

/* Smaller bodies are not compressed: they fit into a packet as they are. */
enum { OA_GZIP_MIN_BYTES = 256 };

/* A rendered body, and what is in it. The next one reuses its memory. */
typedef struct oa_body {
    oa_buf text;
    oa_str packed;   /* the text as gzip, lent by the trail; absent: it is not compressed */
    bool is_tracked; /* whether the trail follows the text that is being rendered */
    oa_trail *trail; /* NULL until it is needed */
    size_t carried;  /* records of the batch that it holds, from the first on */
    size_t event_count;
    oa_event_owner owners[OA_REQUEST_MAX_EVENTS];
    char time[OA_BUF_INT_BYTES]; /* the last one, as text: many decisions share a millisecond */
    size_t time_len;
    int64_t time_ms;
} oa_body;

void oa_body_init(oa_body *body);

void oa_body_clear(oa_body *body);

/* Give back the memory of an unusually large body. */
void oa_body_trim(oa_body *body);

/* Empty the body for a new text, which is compressed at the end if there is memory for that. */
void oa_body_begin(oa_body *body, bool gzip);

/* End the text: compress it, if that is wanted and pays. */
void oa_body_end(oa_body *body);

/* Append a part whose address stands for its bytes: see oa_trail_constant(). */
static inline void oa_body_append_constant(oa_body *body, oa_role role, oa_str constant) {
    if (body->is_tracked)
        oa_trail_constant(body->trail, role, constant.data, constant.len, body->text.len);
    oa_buf_append_str(&body->text, constant);
}

#define OA_BODY_LITERAL(body, role, literal)                                                       \
    oa_body_append_constant((body), (role), (oa_str){"" literal, sizeof(literal) - 1})

/* Append a part that resembles the last one in its role. */
void oa_body_append_like(oa_body *body, oa_role role, oa_str part);

/* Append a hash as hexadecimal digits. */
void oa_body_append_hash(oa_body *body, oa_hash hash);

/* Append `len` bytes of the body again, from byte `from` on. */
void oa_body_repeat(oa_body *body, size_t from, size_t len);

/* Cut the text back to `len` bytes and so many events. */
void oa_body_cut(oa_body *body, size_t len, size_t event_count);

#endif
