/*
 * cohort_read.h: the ids in a body that arrives in pieces.  [one owner]
 *
 * A reader is given bytes, cut anywhere, and is asked for one id after another until it needs more
 * bytes. It keeps what is cut, at most OA_COHORT_ID_BYTES, and nothing else.
 */
#ifndef OA_COHORT_READ_H
#define OA_COHORT_READ_H

#include <string.h>

#include "cohort.h"

typedef enum oa_cohort_step {
    OA_COHORT_AN_ID,
    OA_COHORT_NO_ID, /* an empty one, or one that is too long */
    OA_COHORT_MORE,  /* all bytes are read */
    OA_COHORT_WRONG, /* see `problem`; final */
} oa_cohort_step;

/* A text that is not there as a whole, or not as it is in the body. */
typedef struct oa_cohort_text {
    size_t len; /* above OA_COHORT_ID_BYTES: too long, the bytes are of no use */
    char bytes[OA_COHORT_ID_BYTES];
} oa_cohort_text;

static inline void oa_cohort_text_add(oa_cohort_text *text, const char *bytes, size_t len) {
    const size_t room = text->len < OA_COHORT_ID_BYTES ? OA_COHORT_ID_BYTES - text->len : 0;
    if (len <= room)
        memcpy(text->bytes + text->len, bytes, len);
    text->len = len <= room ? text->len + len : OA_COHORT_ID_BYTES + 1;
}

/* Return what an id of `len` bytes is. */
static inline oa_cohort_step oa_cohort_step_of(size_t len) {
    return len > 0 && len <= OA_COHORT_ID_BYTES ? OA_COHORT_AN_ID : OA_COHORT_NO_ID;
}

/* ---- JSON ---- */

typedef struct oa_cohort_json {
    const char *problem;  /* static; NULL: none */
    oa_cohort_meta *meta; /* of a cohort */
    oa_cohort_head *head; /* of a message; NULL: the body is a cohort */
    uint8_t token;        /* within which token the next byte is, */
    uint8_t expect;       /* or else, which one may follow */
    uint8_t role;         /* what the present string is for */
    uint8_t field;        /* of the body that has its value next */
    uint8_t depth;        /* of nested arrays and objects */
    uint8_t ids_depth;    /* of the array of ids while it is open, otherwise 0 */
    uint8_t hex_digits;   /* of \uXXXX that were read */
    bool has_ids;         /* there was such an array */
    bool has_user_id;     /* the present user of a message has one, if only null */
    bool ids_are_null;
    uint16_t unit;   /* \uXXXX */
    uint16_t high;   /* a high surrogate that waits for a low one; 0: none */
    uint64_t arrays; /* bit n: what is open at depth n + 1 is an array */
    oa_cohort_text text;
} oa_cohort_json;

/* Start at the first byte. `meta` is filled with the fields that are known. Borrows it. */
void oa_cohort_json_init(oa_cohort_json *json, oa_cohort_meta *meta);

/* Start at the first byte of a message. `head` is filled with its fields. Borrows it. */
void oa_cohort_json_init_message(oa_cohort_json *json, oa_cohort_head *head);

/* Read on in *bytes, of which what was read is cut off. Lends *id until the next call. */
oa_cohort_step oa_cohort_json_next(oa_cohort_json *json, oa_str *bytes, oa_str *id);

/* The body ends here. Returns OA_COHORT_MORE: it is complete, or OA_COHORT_WRONG. */
oa_cohort_step oa_cohort_json_end(oa_cohort_json *json);

/* ---- CSV and lines ---- */

typedef struct oa_cohort_csv {
    const char *problem; /* static; NULL: none */
    bool is_lines;       /* a line is an id: no header, no column, no quote */
    bool has_header;     /* it was read */
    uint8_t mark;        /* bytes of a byte order mark that were read; 3: or there is none */
    uint8_t place;       /* in the present field */
    uint32_t column;     /* of the present field */
    uint32_t columns;    /* of the header */
    uint32_t id_column;  /* UINT32_MAX: not found yet */
    oa_cohort_text text;
} oa_cohort_csv;

/* Start at the first byte. */
void oa_cohort_csv_init(oa_cohort_csv *csv, bool is_lines);

/* Read on in *bytes, of which what was read is cut off. Lends *id until the next call. */
oa_cohort_step oa_cohort_csv_next(oa_cohort_csv *csv, oa_str *bytes, oa_str *id);

/* The body ends here. May return a last id once; then OA_COHORT_MORE or OA_COHORT_WRONG. */
oa_cohort_step oa_cohort_csv_end(oa_cohort_csv *csv, oa_str *id);

#endif
