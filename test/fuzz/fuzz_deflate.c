/*
 * Compression of any text with any copies in it: the input is a program that writes one. Whatever
 * it writes, zlib reads it back; copies that are wrong on purpose fail the checksum, and no more.
 */
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

#include "deflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST = 1 << 18 };

static char text[MOST];
static char again[MOST + 1];
static size_t len;
static oa_deflate *deflater;
static oa_copies copies;

static void check(bool condition) {
    if (!condition)
        abort();
}

static size_t at_most(size_t value, size_t most) { return value < most ? value : most; }

static void add_literals(const uint8_t *bytes, size_t count) {
    count = at_most(count, MOST - len);
    memcpy(text + len, bytes, count);
    len += count;
}

static void add_copy(size_t distance, size_t count) {
    if (distance == 0 || distance > len)
        return;
    count = at_most(count, MOST - len);
    oa_copies_add(&copies, len, len - distance, count);
    for (size_t i = 0; i < count; i++, len++)
        text[len] = text[len - distance];
}

static void add_digits(const uint8_t *bytes, size_t count) {
    count = at_most(count, MOST - len);
    oa_copies_add_digits(&copies, len, count);
    for (size_t i = 0; i < count; i++)
        text[len++] = "0123456789abcdef"[bytes[i] & 15];
}

static int read_back(oa_str packed) {
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)packed.data,
                    .avail_in = (uInt)packed.len,
                    .next_out = (Bytef *)again,
                    .avail_out = (uInt)len + 1};
    check(inflateInit2(&zip, 15 + 16) == Z_OK);
    const int status = inflate(&zip, Z_FINISH);
    if (status == Z_STREAM_END)
        check(zip.total_out == len && zip.avail_in == 0 && memcmp(again, text, len) == 0);
    inflateEnd(&zip);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (deflater == NULL)
        check((deflater = oa_deflate_new()) != NULL);
    copies.count = 0;
    len = 0;
    bool wrong = false;
    while (size >= 4) {
        const size_t a = data[1] | (size_t)data[2] << 8;
        const size_t b = data[3];
        const uint8_t kind = data[0] & 15;
        data += 4;
        size -= 4;
        if (kind < 6) {
            const size_t count = at_most(b, size);
            if ((data[-4] & 16) != 0)
                add_digits(data, count);
            else
                add_literals(data, count);
            data += count;
            size -= count;
        } else if (kind < 11) {
            add_copy(a, kind < 10 ? b : b * 37);
        } else if (kind == 11) {
            const size_t count = at_most(b, size);
            oa_copies_guess(&copies, (oa_span){len, count}, (oa_span){a, data[-4]});
            add_literals(data, count);
            data += count;
            size -= count;
        } else if (kind == 12) {
            len = at_most(len, 3 * a);
            oa_copies_cut(&copies, len);
        } else if (kind == 13) {
            for (size_t i = 0; i < 4 * b; i++)
                add_copy(at_most(a, len), i % 40);
        } else if (kind == 14) {
            add_literals(data, size);
        } else {
            wrong = true;
            if ((data[-4] & 16) != 0)
                oa_copies_add_digits(&copies, a, b);
            else
                oa_copies_add(&copies, a, b, len);
        }
    }
    const oa_str packed = oa_deflate_gzip(deflater, (oa_str){text, len}, &copies);
    check(packed.data != NULL);
    const int status = read_back(packed);
    check(status == Z_STREAM_END || wrong);
    oa_deflate_trim(deflater);
    return 0;
}
