#include "gzip.h"

#include <stdlib.h>

#include <zlib.h>

enum {
    LEVEL = 1,             /* bodies are repetitive: level 1 already shrinks them about tenfold */
    WINDOW_BITS = 15 + 16, /* zlib's way to ask for a gzip header */
    MEM_LEVEL = 8,
    KEEP_BYTES = 1 << 20,
};

struct oa_gzip {
    z_stream zip;
    bool is_ready; /* 256 KB of state, allocated for the first body */
    char *data;
    size_t cap;
};

oa_gzip *oa_gzip_new(void) { return calloc(1, sizeof(oa_gzip)); }

void oa_gzip_free(oa_gzip *gzip) {
    if (gzip == NULL)
        return;
    if (gzip->is_ready)
        deflateEnd(&gzip->zip);
    free(gzip->data);
    free(gzip);
}

static bool make_ready(oa_gzip *gzip) {
    if (!gzip->is_ready)
        gzip->is_ready = deflateInit2(&gzip->zip, LEVEL, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL,
                                      Z_DEFAULT_STRATEGY) == Z_OK;
    return gzip->is_ready;
}

/* Make room for `cap` bytes; what was there is lost. */
static bool make_room(oa_gzip *gzip, size_t cap) {
    if (cap <= gzip->cap)
        return true;
    free(gzip->data);
    gzip->data = malloc(cap);
    gzip->cap = gzip->data == NULL ? 0 : cap;
    return gzip->data != NULL;
}

oa_str oa_gzip_pack(oa_gzip *gzip, oa_str text) {
    z_stream *zip = &gzip->zip;
    const oa_str absent = {NULL, 0};
    if (!make_ready(gzip))
        return absent;
    const size_t bound = deflateBound(zip, text.len);
    if (bound > UINT32_MAX || !make_room(gzip, bound))
        return absent;
    zip->next_in = (Bytef *)(uintptr_t)text.data;
    zip->avail_in = (uInt)text.len;
    zip->next_out = (Bytef *)(void *)gzip->data;
    zip->avail_out = (uInt)bound;
    const bool done = deflate(zip, Z_FINISH) == Z_STREAM_END;
    const size_t len = bound - zip->avail_out;
    deflateReset(zip);
    return done ? (oa_str){gzip->data, len} : absent;
}

void oa_gzip_trim(oa_gzip *gzip) {
    if (gzip->cap <= KEEP_BYTES)
        return;
    free(gzip->data);
    gzip->data = NULL;
    gzip->cap = 0;
}
