#include "gunzip.h"

#include <stdlib.h>
#include <string.h>

#include <zlib.h>

enum {
    WINDOW_BITS = 15 + 16, /* zlib's way to ask for a gzip header */
    TEXT_BYTES = 64 * 1024,
    MAGIC_BYTES = 2,
};

static const char MAGIC[MAGIC_BYTES] = {'\x1f', '\x8b'};

struct oa_gunzip {
    oa_gunzip_sink sink;
    void *data;
    z_stream zip;
    bool is_ready;
    bool is_plain;
    bool is_between; /* a member has ended, and another may follow, as in concatenated files */
    char head[MAGIC_BYTES]; /* what came before it is known which kind it is */
    size_t head_len;
    char text[TEXT_BYTES];
};

oa_gunzip *oa_gunzip_new(oa_gunzip_sink sink, void *data) {
    oa_gunzip *gunzip = malloc(sizeof(*gunzip));
    if (gunzip == NULL)
        return NULL;
    memset(gunzip, 0, offsetof(oa_gunzip, text));
    gunzip->sink = sink;
    gunzip->data = data;
    return gunzip;
}

void oa_gunzip_free(oa_gunzip *gunzip) {
    if (gunzip == NULL)
        return;
    if (gunzip->is_ready)
        inflateEnd(&gunzip->zip);
    free(gunzip);
}

/* Inflate `bytes`, which are a part of a gzip stream. */
static oa_status push_zipped(oa_gunzip *gunzip, oa_str bytes) {
    z_stream *zip = &gunzip->zip;
    zip->next_in = (Bytef *)(uintptr_t)bytes.data;
    zip->avail_in = (uInt)bytes.len;
    for (;;) {
        if (gunzip->is_between && zip->avail_in > 0) {
            if (inflateReset(zip) != Z_OK)
                return OA_MALFORMED;
            gunzip->is_between = false;
        }
        if (gunzip->is_between)
            return OA_OK;
        zip->next_out = (Bytef *)(void *)gunzip->text;
        zip->avail_out = TEXT_BYTES;
        const int code = inflate(zip, Z_NO_FLUSH);
        if (code == Z_MEM_ERROR)
            return OA_NOMEM;
        if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
            return OA_MALFORMED;
        const oa_str text = {gunzip->text, TEXT_BYTES - zip->avail_out};
        const oa_status status = text.len > 0 ? gunzip->sink(gunzip->data, text) : OA_OK;
        if (status != OA_OK)
            return status;
        gunzip->is_between = code == Z_STREAM_END;
        if (!gunzip->is_between && zip->avail_in == 0 && zip->avail_out > 0)
            return OA_OK;
    }
}

/* Which kind it is, by its first two bytes; `is_end`: no more will come. */
static oa_status decide(oa_gunzip *gunzip, bool is_end) {
    const oa_str head = {gunzip->head, gunzip->head_len};
    if (memcmp(head.data, MAGIC, head.len) != 0 || (is_end && head.len < MAGIC_BYTES)) {
        gunzip->is_plain = true;
        return head.len > 0 ? gunzip->sink(gunzip->data, head) : OA_OK;
    }
    if (head.len < MAGIC_BYTES)
        return OA_OK;
    if (inflateInit2(&gunzip->zip, WINDOW_BITS) != Z_OK)
        return OA_NOMEM;
    gunzip->is_ready = true;
    return push_zipped(gunzip, head);
}

oa_status oa_gunzip_push(oa_gunzip *gunzip, oa_str bytes) {
    while (!gunzip->is_plain && !gunzip->is_ready && bytes.len > 0) {
        gunzip->head[gunzip->head_len++] = *bytes.data;
        bytes = (oa_str){bytes.data + 1, bytes.len - 1};
        const oa_status status = decide(gunzip, false);
        if (status != OA_OK)
            return status;
    }
    if (bytes.len == 0)
        return OA_OK;
    return gunzip->is_plain ? gunzip->sink(gunzip->data, bytes) : push_zipped(gunzip, bytes);
}

oa_status oa_gunzip_end(oa_gunzip *gunzip) {
    if (!gunzip->is_plain && !gunzip->is_ready)
        return decide(gunzip, true);
    return gunzip->is_plain || gunzip->is_between ? OA_OK : OA_MALFORMED;
}
