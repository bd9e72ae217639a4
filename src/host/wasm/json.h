/*
 * json.h: writes what the core reports as a JSON text, for JavaScript to parse. There is one text,
 * which the next one replaces.  [the only thread]
 */
#ifndef OA_HOST_JSON_H
#define OA_HOST_JSON_H

#include "oa.h"

/* Begin a text. */
void oa_json_begin(void);

/* Return the length of the text, which oa_json_text() lends; 0 when memory ran out for it. */
size_t oa_json_end(void);
const char *oa_json_text(void);

/* Begin and end an object or array: one of the characters `{ } [ ]`. */
void oa_json_open(char bracket);
void oa_json_close(char bracket);

/* Write the key of the next value. Borrows. */
void oa_json_key(const char *key);

/* Write a value. Borrows; an absent string is null. */
void oa_json_string(oa_str value);
void oa_json_name(const char *value); /* NUL-terminated */
void oa_json_number(uint64_t value);
void oa_json_time(int64_t value); /* ms since the epoch */
void oa_json_bool(bool value);
void oa_json_null(void);

#endif
