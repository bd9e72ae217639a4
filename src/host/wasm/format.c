/*
 * format.c: snprintf() and vsnprintf() for the formats of the core and of cJSON: strings, and
 * integers without a width. Those of the C library bring floating point, and files that the module
 * would have to import. Anything else stops the module; a test reads the formats of the core.
 * [the only thread]
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { MAX_DIGITS = 20 };

/* Where the text goes, and how long it would be. */
typedef struct sink {
    char *to;
    size_t cap;
    size_t len;
} sink;

static void put(sink *out, const char *bytes, size_t len) {
    const size_t room = out->len < out->cap ? out->cap - out->len : 0;
    if (room > 0)
        memcpy(out->to + out->len, bytes, len < room ? len : room);
    out->len += len;
}

static void put_number(sink *out, uint64_t value) {
    char digits[MAX_DIGITS];
    size_t at = MAX_DIGITS;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put(out, digits + at, MAX_DIGITS - at);
}

/* An integer argument of a conversion, `d`, `i` or `u`, with the length modifier before it. */
static int64_t next_integer(va_list *arguments, const char *length, char conversion) {
    const bool is_signed = conversion != 'u';
    if (length[0] == 'l') /* `ll`; a `long` is not one of the core's */
        return va_arg(*arguments, long long);
    if (length[0] == 'z')
        return (int64_t)va_arg(*arguments, size_t);
    return is_signed ? va_arg(*arguments, int) : (int64_t)va_arg(*arguments, unsigned);
}

/* Put the conversion that begins behind its `%`; returns where it ends. */
static const char *convert(sink *out, const char *at, va_list *arguments) {
    const bool has_precision = strncmp(at, ".*", 2) == 0;
    const size_t max = has_precision ? (size_t)va_arg(*arguments, int) : SIZE_MAX;
    if (has_precision)
        at += 2;
    if (*at == 's') {
        const char *text = va_arg(*arguments, const char *);
        const char *end = has_precision ? memchr(text, '\0', max) : text + strlen(text);
        put(out, text, end == NULL ? max : (size_t)(end - text));
        return at + 1;
    }
    const char *length = at;
    at += strspn(at, "lz");
    if (*at != 'd' && *at != 'i' && *at != 'u')
        __builtin_trap();
    const int64_t value = next_integer(arguments, length, *at);
    const bool is_negative = value < 0 && *at != 'u';
    if (is_negative)
        put(out, "-", 1);
    put_number(out, is_negative ? -(uint64_t)value : (uint64_t)value);
    return at + 1;
}

int vsnprintf(char *restrict to, size_t size, const char *restrict format, va_list arguments) {
    sink out = {to, size > 0 ? size - 1 : 0, 0};
    va_list left;
    va_copy(left, arguments);
    for (const char *at = format; *at != '\0';) {
        const size_t plain = strcspn(at, "%");
        put(&out, at, plain);
        at += plain;
        if (*at == '%')
            at = convert(&out, at + 1, &left);
    }
    va_end(left);
    if (size > 0)
        to[out.len < out.cap ? out.len : out.cap] = '\0';
    return (int)out.len;
}

int snprintf(char *restrict to, size_t size, const char *restrict format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int len = vsnprintf(to, size, format, arguments);
    va_end(arguments);
    return len;
}
