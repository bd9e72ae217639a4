#include "amplitude/body.h"

#include <string.h>

enum { KEEP_BYTES = 1 << 20 }; /* a larger buffer is freed when nothing is pending */

static const oa_str absent = {NULL, 0};

void oa_body_init(oa_body *body) {
    memset(body, 0, sizeof(*body));
    oa_buf_init(&body->text, SIZE_MAX / 2);
}

void oa_body_clear(oa_body *body) {
    oa_buf_clear(&body->text);
    oa_trail_free(body->trail);
    body->trail = NULL;
    body->packed = absent;
}

void oa_body_trim(oa_body *body) {
    body->packed = absent;
    oa_buf_shrink(&body->text, KEEP_BYTES);
    if (body->trail != NULL)
        oa_trail_trim(body->trail);
}

void oa_body_begin(oa_body *body, bool gzip) {
    body->carried = body->event_count = 0;
    body->packed = absent;
    oa_buf_reset(&body->text);
    if (gzip && body->trail == NULL)
        body->trail = oa_trail_new();
    body->is_tracked = gzip && body->trail != NULL;
    if (body->is_tracked)
        oa_trail_begin(body->trail);
}

void oa_body_end(oa_body *body) {
    const oa_buf *text = &body->text;
    if (body->is_tracked && oa_buf_status(text) == OA_OK && text->len >= OA_GZIP_MIN_BYTES)
        body->packed = oa_trail_gzip(body->trail, (oa_str){text->data, text->len});
}

void oa_body_append_like(oa_body *body, oa_role role, oa_str part) {
    if (body->is_tracked)
        oa_trail_like(body->trail, role, body->text.len, part.len);
    oa_buf_append_str(&body->text, part);
}

void oa_body_append_hash(oa_body *body, oa_hash hash) {
    oa_buf *text = &body->text;
    char *to = oa_buf_reserve(text, OA_HASH_HEX_BYTES);
    if (to == NULL)
        return;
    oa_hash_hex(hash, to);
    if (body->is_tracked)
        oa_trail_digits(body->trail, text->len, OA_HASH_HEX_BYTES);
    text->len += OA_HASH_HEX_BYTES;
}

void oa_body_repeat(oa_body *body, size_t from, size_t len) {
    if (body->is_tracked)
        oa_trail_repeat(body->trail, body->text.len, from, len);
    oa_buf_repeat(&body->text, from, len);
}

void oa_body_cut(oa_body *body, size_t len, size_t event_count) {
    oa_buf_truncate(&body->text, len);
    body->event_count = event_count;
    if (body->is_tracked)
        oa_trail_cut(body->trail, len);
}
