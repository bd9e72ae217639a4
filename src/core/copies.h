/*
 * copies.h: what of a text stood in it before, in the order of the text.  [one owner]
 *
 * Left out, which costs bytes of the compressed text and nothing else, is what stood further back
 * than DEFLATE reaches, and what there is no memory for.
 */
#ifndef OA_COPIES_H
#define OA_COPIES_H

#include "oa.h"

enum {
    OA_COPIES_WINDOW = 32768,     /* as far back as a copy may be */
    OA_COPIES_MAX_TEXT = 1 << 26, /* what is new before a copy is counted in 26 bits */
};

/* Bytes of a text that are those `distance` bytes before; or a guess: that resemble them; or digits
 * that stood nowhere. */
typedef struct oa_copy {
    uint32_t at;
    uint32_t len;
    uint32_t distance;  /* 0: they are digits */
    uint32_t resembled; /* length of what is resembled; 0: it is a copy */
} oa_copy;

typedef struct oa_copies {
    oa_copy *items;
    size_t count;
    size_t cap;
} oa_copies;

/* Bytes `from` to `from + len` of a text. */
typedef struct oa_span {
    size_t from;
    size_t len;
} oa_span;

/* Start empty, without allocating. */
void oa_copies_init(oa_copies *copies);

/* Free the memory. */
void oa_copies_clear(oa_copies *copies);

/* Append one where there is no room, if there is memory. */
void oa_copies_append_grown(oa_copies *copies, oa_copy item);

/* Append one. The rare case comes last, so that a caller may end with it. */
static inline void oa_copies_append(oa_copies *copies, oa_copy item) {
    if (copies->count < copies->cap)
        copies->items[copies->count++] = item;
    else
        oa_copies_append_grown(copies, item);
}

/*
 * Note that the `len` bytes from `at` on are those from `from` on, which is before `at`. What
 * follows a copy is compared when the text is compressed, and so is what is new before it: both
 * belong to it as far as they are the same.
 */
static inline void oa_copies_add(oa_copies *copies, size_t at, size_t from, size_t len) {
    const size_t distance = at - from; /* huge where `from` is not before `at` */
    if (distance - 1 >= OA_COPIES_WINDOW || (at | len) >= OA_COPIES_MAX_TEXT)
        return;
    if (copies->count > 0) {
        oa_copy *last = &copies->items[copies->count - 1];
        if (last->distance == distance && last->at + last->len == at && last->resembled == 0) {
            last->len += (uint32_t)len;
            return;
        }
    }
    oa_copies_append(copies, (oa_copy){(uint32_t)at, (uint32_t)len, (uint32_t)distance, 0});
}

/* Note that the `len` bytes from `at` on are hexadecimal digits in lower case, all as likely. */
static inline void oa_copies_add_digits(oa_copies *copies, size_t at, size_t len) {
    if ((at | len) < OA_COPIES_MAX_TEXT)
        oa_copies_append(copies, (oa_copy){(uint32_t)at, (uint32_t)len, 0, 0});
}

/*
 * Note that a span of JSON resembles one before it: they are compared, and after each difference
 * again from the next quotation mark on.
 */
void oa_copies_guess(oa_copies *copies, oa_span span, oa_span before);

/* Forget what was noted from byte `at` on: the text was cut back to there. */
void oa_copies_cut(oa_copies *copies, size_t at);

#endif
