#include "amplitude/ids.h"

#include <string.h>

#include "amplitude/limits.h"

/*
 * Source: "Device IDs and User IDs minimum length" of the HTTP V2 page, the values answered by 400.
 * Whether others are refused, such as `Anonymous`, is documented nowhere: they are sent, and
 * Amplitude's answer decides.
 */
static const char *const FORBIDDEN[] = {
    "anonymous",
    "nil",
    "none",
    "null",
    "n/a",
    "na",
    "undefined",
    "unknown",
    "{}",
    "lmy47d",
    "0",
    "-1",
    "00000000-0000-0000-0000-000000000000",
};

enum { LONGEST_FORBIDDEN = 36 };

static bool is_forbidden(oa_str id) {
    if (id.len > LONGEST_FORBIDDEN)
        return false;
    for (size_t i = 0; i < sizeof(FORBIDDEN) / sizeof(FORBIDDEN[0]); i++)
        if (FORBIDDEN[i][0] == id.data[0] && strlen(FORBIDDEN[i]) == id.len &&
            memcmp(FORBIDDEN[i], id.data, id.len) == 0)
            return true;
    return false;
}

/* UTF-16 code units, which is what JavaScript and Amplitude's servers call characters. */
static size_t count_characters(oa_str id) {
    size_t count = 0;
    for (size_t i = 0; i < id.len; i++) {
        const unsigned char byte = (unsigned char)id.data[i];
        count += (byte & 0xC0) != 0x80; /* not a continuation */
        count += byte >= 0xF0;          /* a surrogate pair */
    }
    return count;
}

oa_status oa_ids_check(oa_str id, uint32_t min_characters) {
    if (id.len == 0)
        return OA_ID_MISSING;
    /* A character is three bytes at most, so most ids are judged by their length alone. */
    if (id.len < (size_t)min_characters * 3 && count_characters(id) < min_characters)
        return OA_ID_TOO_SHORT;
    if (id.len > OA_ID_MAX_CHARACTERS &&
        (id.len > OA_ID_MAX_CHARACTERS * 3 || count_characters(id) > OA_ID_MAX_CHARACTERS))
        return OA_ID_TOO_LONG;
    return is_forbidden(id) ? OA_ID_FORBIDDEN : OA_OK;
}
