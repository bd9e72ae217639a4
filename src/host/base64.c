#include "base64.h"

#include <stdint.h>

enum { DIGIT_BITS = 6, BAD = 64 };

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void oa_base64_write(oa_str bytes, char *out) {
    const uint8_t *at = (const uint8_t *)bytes.data;
    size_t left = bytes.len;
    for (; left >= 3; left -= 3, at += 3) {
        const uint32_t three = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        *out++ = DIGITS[three >> 18];
        *out++ = DIGITS[three >> 12 & 63];
        *out++ = DIGITS[three >> 6 & 63];
        *out++ = DIGITS[three & 63];
    }
    if (left > 0) {
        const uint32_t rest = (uint32_t)at[0] << 16 | (left == 2 ? (uint32_t)at[1] << 8 : 0);
        *out++ = DIGITS[rest >> 18];
        *out++ = DIGITS[rest >> 12 & 63];
        *out++ = left == 2 ? DIGITS[rest >> 6 & 63] : '=';
        *out++ = '=';
    }
}

static uint32_t value_of(char digit) {
    if (digit >= 'A' && digit <= 'Z')
        return (uint32_t)(digit - 'A');
    if (digit >= 'a' && digit <= 'z')
        return (uint32_t)(digit - 'a') + 26;
    if (digit >= '0' && digit <= '9')
        return (uint32_t)(digit - '0') + 52;
    return digit == '+' ? 62 : digit == '/' ? 63 : BAD;
}

/* The values of all characters; what is no digit has a value of more than six bits. */
typedef struct values {
    uint8_t of[256];
} values;

static void make_values(values *out) {
    for (int i = 0; i < 256; i++)
        out->of[i] = (uint8_t)value_of((char)i);
}

bool oa_base64_read(oa_str text, void *out, size_t max, size_t *len) {
    const uint8_t *at = (const uint8_t *)text.data;
    uint8_t *to = out;
    if (text.len % 4 != 0)
        return false;
    size_t padding = 0;
    while (padding < 2 && padding < text.len && at[text.len - 1 - padding] == '=')
        padding++;
    *len = text.len / 4 * 3 - padding;
    if (*len > max)
        return false;
    values value;
    make_values(&value);
    uint32_t seen = 0; /* all values, one over another */
    const size_t whole = (text.len - (padding > 0 ? 4 : 0)) / 4;
    for (size_t i = 0; i < whole; i++, at += 4, to += 3) {
        const uint32_t a = value.of[at[0]], b = value.of[at[1]];
        const uint32_t c = value.of[at[2]], d = value.of[at[3]];
        const uint32_t three = a << 18 | b << 12 | c << 6 | d;
        seen |= a | b | c | d;
        to[0] = (uint8_t)(three >> 16);
        to[1] = (uint8_t)(three >> 8);
        to[2] = (uint8_t)three;
    }
    if (padding > 0) {
        const uint32_t a = value.of[at[0]], b = value.of[at[1]];
        const uint32_t c = padding == 1 ? value.of[at[2]] : 0;
        const uint32_t three = a << 18 | b << 12 | c << DIGIT_BITS;
        seen |= a | b | c;
        to[0] = (uint8_t)(three >> 16);
        if (padding == 1)
            to[1] = (uint8_t)(three >> 8);
        /* The bits behind the last byte are 0, so that each text has one meaning. */
        seen |= (three & (padding == 1 ? 0xFFU : 0xFFFFU)) != 0 ? BAD : 0;
    }
    return seen < BAD;
}
