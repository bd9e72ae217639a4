/*
 * Retry-After from a hostile server. Whatever the bytes, the wait is bounded; and a date that libc
 * can read as well is the same moment for both.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "retry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition) {
    if (!condition)
        abort();
}

static void compare(const char *text, const char *format) {
    struct tm fields = {0};
    const char *end = strptime(text, format, &fields);
    if (end == NULL || *end != '\0')
        return;
    const int64_t then_ms = (int64_t)timegm(&fields) * 1000;
    const uint64_t wait = oa_retry_after_ms((oa_str){text, strlen(text)}, then_ms - 1234);
    /* 0: strptime is more liberal. */
    check(wait == 0 || wait == 1234);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int64_t CLOCKS[] = {
        INT64_MIN, -1, 0, INT64_C(784111776000), INT64_C(1800000000000), INT64_MAX};
    const oa_str value = {(const char *)data, size};
    for (size_t i = 0; i < sizeof(CLOCKS) / sizeof(CLOCKS[0]); i++)
        check(oa_retry_after_ms(value, CLOCKS[i]) <= OA_RETRY_AFTER_MAX_MS);

    char text[64];
    if (size >= sizeof(text) || size == 0 || (data[0] >= '0' && data[0] <= '9'))
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    if (strlen(text) != size || strchr(" \t", text[0]) != NULL || text[size - 1] == ' ')
        return 0;
    compare(text, "%a, %d %b %Y %H:%M:%S GMT");
    compare(text, "%a %b %e %H:%M:%S %Y");
    return 0;
}
