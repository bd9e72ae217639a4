/*
 * fuzz_gunzip.c: bodies that are compressed, or are not, cut into pieces.
 *
 * The first byte chooses the pieces. However a body is cut, it is complete or not, and when it is, its
 * text is the same. The rest of the input is such a body; and it is the text of one: compressed, it
 * comes back, also behind another member, and is not complete before its last byte.
 */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "../../src/host/gunzip.h"
#include "hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_TEXT_BYTES = 1 << 24 };

typedef struct result {
    uint64_t text; /* a hash of it */
    uint64_t bytes;
    oa_status status;
} result;

static void check(bool condition) {
    if (!condition)
        abort();
}

static oa_status add(void *data, oa_str text) {
    result *r = data;
    check(text.len > 0);
    r->bytes += text.len;
    for (size_t i = 0; i < text.len; i++)
        r->text = r->text * 31 + (unsigned char)text.data[i];
    return r->bytes > MAX_TEXT_BYTES ? OA_TOO_LARGE : OA_OK;
}

static result inflate_body(const uint8_t *data, size_t size, uint8_t seed) {
    result r = {0};
    oa_gunzip *gunzip = oa_gunzip_new(add, &r);
    check(gunzip != NULL);
    for (size_t at = 0, len; at < size && r.status == OA_OK; at += len) {
        len = seed == 0 ? size : 1 + seed * (at + 7) % 13;
        len = len < size - at ? len : size - at;
        char *piece = malloc(len); /* of its own size, for AddressSanitizer */
        check(piece != NULL);
        memcpy(piece, data + at, len);
        r.status = oa_gunzip_push(gunzip, (oa_str){piece, len});
        free(piece);
    }
    if (r.status == OA_OK)
        r.status = oa_gunzip_end(gunzip);
    oa_gunzip_free(gunzip);
    return r;
}

/* Append `data` as a member of gzip; return the new length. */
static size_t compress_to(uint8_t *to, size_t len, size_t room, const uint8_t *data, size_t size) {
    z_stream zip = {0};
    check(deflateInit2(&zip, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
    zip.next_in = (Bytef *)(uintptr_t)data;
    zip.avail_in = (uInt)size;
    zip.next_out = to + len;
    zip.avail_out = (uInt)(room - len);
    check(deflate(&zip, Z_FINISH) == Z_STREAM_END);
    len += zip.total_out;
    deflateEnd(&zip);
    return len;
}

static void there_and_back(const uint8_t *data, size_t size, uint8_t seed) {
    const size_t room = 2 * size + 256;
    uint8_t *zipped = malloc(room);
    check(zipped != NULL);
    const size_t first = compress_to(zipped, 0, room, (const uint8_t *)"a", 1);
    const size_t len = compress_to(zipped, first, room, data, size);
    result text = {.text = 'a', .bytes = 1};
    if (size > 0)
        (void)add(&text, (oa_str){(const char *)data, size});
    const result back = inflate_body(zipped, len, seed);
    check(back.status == OA_OK && back.text == text.text && back.bytes == text.bytes);
    check(inflate_body(zipped, len - 1, seed).status == OA_MALFORMED);
    free(zipped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    const uint8_t seed = data[0] | 1;
    const result whole = inflate_body(data + 1, size - 1, 0);
    const result cut = inflate_body(data + 1, size - 1, seed);
    check(whole.status == cut.status);
    check(whole.status != OA_OK || (whole.text == cut.text && whole.bytes == cut.bytes));
    there_and_back(data + 1, size - 1, seed);
    return 0;
}
