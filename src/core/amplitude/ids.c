#include "amplitude/ids.h"

#include <string.h>

#include "amplitude/limits.h"

#define IS(id, text) (memcmp((id).data, "" text, sizeof(text) - 1) == 0)

/*
 * Whether Amplitude refuses an id. By length, so that most ids are compared with nothing: this runs
 * for every decision.
 *
 * Source: "Device IDs and User IDs minimum length" of the HTTP V2 page, the values answered by 400.
 * Whether others are refused, such as `Anonymous`, is documented nowhere: they are sent, and
 * Amplitude's answer decides.
 */
static bool is_forbidden(oa_str id) {
    switch (id.len) {
    case 1:
        return IS(id, "0");
    case 2:
        return IS(id, "na") || IS(id, "{}") || IS(id, "-1");
    case 3:
        return IS(id, "nil") || IS(id, "n/a");
    case 4:
        return IS(id, "none") || IS(id, "null");
    case 6:
        return IS(id, "lmy47d");
    case 7:
        return IS(id, "unknown");
    case 9:
        return IS(id, "anonymous") || IS(id, "undefined");
    case 36:
        return IS(id, "00000000-0000-0000-0000-000000000000");
    default:
        return false;
    }
}

/* Whether an id has at least so many UTF-16 code units, which is what JavaScript and Amplitude call
 * characters: a character is three bytes at most, so most ids are not read for this. */
static bool has_characters(oa_str id, size_t least) {
    if (id.len < least || id.len >= least * 3)
        return id.len >= least;
    size_t count = 0;
    while (count < least && (unsigned char)id.data[count] < 0x80) /* most ids are ASCII */
        count++;
    for (size_t i = count; i < id.len && count < least; i++) {
        const unsigned char byte = (unsigned char)id.data[i];
        count += (byte & 0xC0) != 0x80; /* not a continuation */
        count += byte >= 0xF0;          /* a surrogate pair */
    }
    return count >= least;
}

oa_status oa_ids_check(oa_str id, uint32_t min_characters) {
    if (id.len == 0)
        return OA_ID_MISSING;
    if (!has_characters(id, min_characters))
        return OA_ID_TOO_SHORT;
    if (has_characters(id, OA_ID_MAX_CHARACTERS + 1))
        return OA_ID_TOO_LONG;
    return is_forbidden(id) ? OA_ID_FORBIDDEN : OA_OK;
}
