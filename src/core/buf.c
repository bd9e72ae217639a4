#include "buf.h"

#include <string.h>

#include "mem.h"

enum { FIRST_CAPACITY = 256 };

void oa_buf_init(oa_buf *buf, size_t max) {
    memset(buf, 0, sizeof(*buf));
    buf->max = max;
}

void oa_buf_clear(oa_buf *buf) {
    oa_mem_free(buf->data);
    oa_buf_init(buf, buf->max);
}

void oa_buf_reset(oa_buf *buf) {
    buf->len = 0;
    buf->status = OA_OK;
}

void oa_buf_truncate(oa_buf *buf, size_t len) {
    buf->len = len;
    buf->status = OA_OK;
}

void oa_buf_shrink(oa_buf *buf, size_t keep) {
    if (buf->cap > keep)
        oa_buf_clear(buf);
    else
        oa_buf_reset(buf);
}

bool oa_buf_grow(oa_buf *buf, size_t extra) {
    if (extra > buf->max - buf->len) {
        buf->status = OA_TOO_LARGE;
        return false;
    }
    const size_t need = buf->len + extra;
    size_t cap = buf->cap > 0 ? buf->cap : FIRST_CAPACITY;
    while (cap < need)
        cap = cap > buf->max / 2 ? buf->max : cap * 2;
    if (cap > buf->max)
        cap = buf->max;
    char *data = oa_mem_realloc(buf->data, cap);
    if (data == NULL) {
        buf->status = OA_NOMEM;
        return false;
    }
    buf->data = data;
    buf->cap = cap;
    return true;
}

void oa_buf_repeat(oa_buf *buf, size_t from, size_t len) {
    char *to = oa_buf_reserve(buf, len);
    if (to == NULL)
        return;
    memcpy(to, buf->data + from, len);
    buf->len += len;
}

/* 0: as it is; 1: \u00XX; otherwise the letter after the backslash. */
/* clang-format off */
static const char ESCAPES[256] = {
    1,   1, 1, 1, 1, 1, 1, 1, 'b', 't', 'n', 1, 'f', 'r', 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1,   1, 1, 1, 1, 0, 0, '"', ['\\'] = '\\',
};
/* clang-format on */

static const char HEX[] = "0123456789abcdef";

/* Return how many bytes there are, in steps of eight, before one that may have to be escaped. */
static size_t length_of_plain(oa_str str) {
    const uint64_t each = UINT64_C(0x0101010101010101);
    size_t at = 0;
    for (; str.len - at >= 8; at += 8) {
        uint64_t eight;
        memcpy(&eight, str.data + at, sizeof(eight));
        /* The highest bit of a byte that is below a space, or 0 after its difference; and
         * perhaps of one above such a byte. Those from 128 on are none. */
        const uint64_t quote = eight ^ each * '"';
        const uint64_t slash = eight ^ each * '\\';
        const uint64_t low =
            ((eight - each * ' ') & ~eight) | ((quote - each) & ~quote) | ((slash - each) & ~slash);
        if ((low & each * 0x80) != 0)
            break;
    }
    return at;
}

void oa_buf_append_json_inner(oa_buf *buf, oa_str str) {
    if (str.len == 0)
        return; /* data may be NULL */
    size_t from = 0;
    for (size_t i = length_of_plain(str); i < str.len; i++) {
        const unsigned char c = (unsigned char)str.data[i];
        const char escape = ESCAPES[c];
        if (escape == 0)
            continue;
        oa_buf_append(buf, str.data + from, i - from);
        from = i + 1;
        if (escape == 1) {
            const char unicode[6] = {'\\', 'u', '0', '0', HEX[c >> 4], HEX[c & 15]};
            oa_buf_append(buf, unicode, sizeof(unicode));
        } else {
            const char two[2] = {'\\', escape};
            oa_buf_append(buf, two, sizeof(two));
        }
    }
    oa_buf_append(buf, str.data + from, str.len - from);
}

void oa_buf_append_json(oa_buf *buf, oa_str str) {
    OA_BUF_LITERAL(buf, "\"");
    oa_buf_append_json_inner(buf, str);
    OA_BUF_LITERAL(buf, "\"");
}

size_t oa_buf_format_int(int64_t value, char out[OA_BUF_INT_BYTES]) {
    static const char two[] = "00010203040506070809101112131415161718192021222324"
                              "25262728293031323334353637383940414243444546474849"
                              "50515253545556575859606162636465666768697071727374"
                              "75767778798081828384858687888990919293949596979899";
    char digits[2 * OA_BUF_INT_BYTES]; /* twice, so that the length of the copy is constant */
    size_t at = OA_BUF_INT_BYTES;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    for (; rest >= 100; rest /= 100)
        memcpy(digits + (at -= 2), two + 2 * (rest % 100), 2);
    if (rest >= 10)
        memcpy(digits + (at -= 2), two + 2 * rest, 2);
    else
        digits[--at] = (char)('0' + rest);
    if (value < 0)
        digits[--at] = '-';
    memcpy(out, digits + at, OA_BUF_INT_BYTES);
    return OA_BUF_INT_BYTES - at;
}

void oa_buf_append_int(oa_buf *buf, int64_t value) {
    char *to = oa_buf_reserve(buf, OA_BUF_INT_BYTES);
    if (to != NULL)
        buf->len += oa_buf_format_int(value, to);
}
