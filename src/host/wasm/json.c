#include "json.h"

#include <stdlib.h>
#include <string.h>

enum {
    FIRST_BYTES = 4096, /* static, so that the end of a flush is told even without memory */
    MAX_DIGITS = 20,
};

static char first[FIRST_BYTES];
static char *text = first;
static size_t text_len;
static size_t text_cap = FIRST_BYTES;
static bool has_failed;
static bool needs_comma;

static char *reserve(size_t size) {
    if (size > text_cap - text_len) {
        size_t cap = text_cap * 2;
        while (cap - text_len < size)
            cap *= 2;
        char *longer = malloc(cap);
        if (longer == NULL) {
            has_failed = true;
            return NULL;
        }
        memcpy(longer, text, text_len);
        if (text != first)
            free(text);
        text = longer;
        text_cap = cap;
    }
    char *at = text + text_len;
    text_len += size;
    return at;
}

static void add(const char *bytes, size_t len) {
    char *to = reserve(len);
    if (to != NULL)
        memcpy(to, bytes, len);
}

static void begin_value(void) {
    if (needs_comma)
        add(",", 1);
    needs_comma = true;
}

void oa_json_begin(void) {
    if (text != first) {
        free(text);
        text = first;
        text_cap = FIRST_BYTES;
    }
    text_len = 0;
    has_failed = needs_comma = false;
}

size_t oa_json_end(void) { return has_failed ? 0 : text_len; }

const char *oa_json_text(void) { return text; }

void oa_json_open(char bracket) {
    begin_value();
    add(&bracket, 1);
    needs_comma = false;
}

void oa_json_close(char bracket) {
    add(&bracket, 1);
    needs_comma = true;
}

void oa_json_key(const char *key) {
    oa_json_name(key);
    add(":", 1);
    needs_comma = false;
}

void oa_json_string(oa_str value) {
    static const char digits[] = "0123456789abcdef";
    if (value.data == NULL) {
        oa_json_null();
        return;
    }
    begin_value();
    add("\"", 1);
    size_t from = 0;
    for (size_t i = 0; i < value.len; i++) {
        const unsigned char c = (unsigned char)value.data[i];
        if (c >= ' ' && c != '"' && c != '\\')
            continue;
        const char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        add(value.data + from, i - from);
        add(escape, sizeof(escape));
        from = i + 1;
    }
    add(value.data + from, value.len - from);
    add("\"", 1);
}

void oa_json_name(const char *value) { oa_json_string((oa_str){value, strlen(value)}); }

void oa_json_number(uint64_t value) {
    char digits[MAX_DIGITS];
    size_t at = MAX_DIGITS;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    begin_value();
    add(digits + at, MAX_DIGITS - at);
}

void oa_json_time(int64_t value) { oa_json_number(value > 0 ? (uint64_t)value : 0); }

void oa_json_bool(bool value) {
    begin_value();
    add(value ? "true" : "false", value ? 4 : 5);
}

void oa_json_null(void) {
    begin_value();
    add("null", 4);
}
