#include "deflate.h"

#include <string.h>

#include "bits.h"
#include "buf.h"
#include "crc32.h"
#include "deflate_block.h"
#include "mem.h"

enum {
    WORTH_COPY = 5,       /* a shorter copy takes about as many bits as its bytes */
    KEEP_BYTES = 1 << 20, /* a larger buffer is freed when nothing is pending */
};

struct oa_deflate {
    oa_buf out;
    oa_crc32 crc;
    oa_deflate_block block;
};

oa_deflate *oa_deflate_new(void) {
    oa_deflate *deflate = oa_mem_calloc(1, sizeof(*deflate));
    if (deflate == NULL)
        return NULL;
    oa_crc32_init(&deflate->crc);
    oa_deflate_block_init(&deflate->block);
    oa_buf_init(&deflate->out, SIZE_MAX / 2);
    return deflate;
}

void oa_deflate_free(oa_deflate *deflate) {
    if (deflate == NULL)
        return;
    oa_buf_clear(&deflate->out);
    oa_mem_free(deflate);
}

void oa_deflate_trim(oa_deflate *deflate) { oa_buf_shrink(&deflate->out, KEEP_BYTES); }

/* Return where the text from `at` on, before `len`, ends to be the same as `distance` before. */
static inline size_t end_of_same(const unsigned char *text, size_t len, size_t at,
                                 size_t distance) {
    for (; len - at >= 8; at += 8) {
        const uint64_t differs = oa_bits_load_64(text + at) ^ oa_bits_load_64(text + at - distance);
        if (differs != 0)
            return at + (size_t)__builtin_ctzll(differs) / 8;
    }
    while (at < len && text[at] == text[at - distance])
        at++;
    return at;
}

/* Return how much of `left` bytes one copy takes. What it leaves is not too short for another. */
static size_t part_of(size_t left) {
    if (left <= OA_DEFLATE_MAX_COPY)
        return left;
    return left - OA_DEFLATE_MAX_COPY >= OA_DEFLATE_MIN_COPY ? OA_DEFLATE_MAX_COPY
                                                             : left - OA_DEFLATE_MIN_COPY;
}

/* Where the writing of blocks is. */
typedef struct progress {
    oa_deflate_block *block;
    const unsigned char *text;
    size_t len;
    size_t done;     /* all before is in blocks */
    size_t distance; /* of the last copy */
    size_t digits_at;
    size_t digits_end; /* of the last digits */
    oa_bits *bits;
} progress;

/* Return how many of the bytes before `at` are digits. */
static inline size_t digits_before(const progress *p, size_t at) {
    if (p->digits_end != at)
        return 0;
    const size_t count = at - (p->digits_at > p->done ? p->digits_at : p->done);
    return count < OA_DEFLATE_MOST_DIGITS ? count : OA_DEFLATE_MOST_DIGITS;
}

/* Return from where on, of what is new before `at`, the text is the same as `distance` before. */
static inline size_t start_of_same(const progress *p, size_t at, size_t distance) {
    while (at > p->done && at > distance && p->text[at - 1] == p->text[at - 1 - distance])
        at--;
    return at;
}

/* Add the bytes up to `end`, from `at` on as copies, if that pays. False without memory. */
static inline bool put_copy(progress *p, size_t at, size_t end, size_t distance) {
    if (at < p->done)
        at = p->done;
    else if (at != p->digits_end) /* one digit less saves nothing: pairs are put by the eight */
        at = start_of_same(p, at, distance);
    if (end < at + WORTH_COPY)
        return true;
    p->distance = distance;
    for (size_t part; at < end; at += part, p->done = at) {
        part = part_of(end - at);
        if (oa_deflate_block_is_full(p->block)) {
            if (!oa_deflate_block_end(p->block, p->done, false, p->bits))
                return false;
            oa_deflate_block_begin(p->block, p->text, p->done);
        }
        const size_t digits = digits_before(p, at);
        oa_deflate_block_add(p->block, at - p->done - digits, digits, part, (uint32_t)distance);
    }
    return true;
}

/* Return where the next quotation mark is from `at` on, or `end`. */
static size_t next_mark(const unsigned char *text, size_t at, size_t end) {
    const unsigned char *mark = at < end ? memchr(text + at, '"', end - at) : NULL;
    return mark == NULL ? end : (size_t)(mark - text);
}

static bool put_guess(progress *p, const oa_copy *guess) {
    const size_t end = guess->at + guess->len < p->len ? guess->at + guess->len : p->len;
    const size_t from_end = guess->at - guess->distance + guess->resembled;
    size_t at = guess->at;
    size_t from = at - guess->distance;
    while (at < end && from < from_end) {
        const size_t same_end = end_of_same(p->text, p->len, at, at - from);
        if (at - from <= OA_COPIES_WINDOW && !put_copy(p, at, same_end, at - from))
            return false;
        from = next_mark(p->text, from + (same_end - at) + 1, from_end);
        at = next_mark(p->text, same_end + 1, end);
    }
    return true;
}

/* Write the text as blocks. False without memory. */
static bool put_blocks(oa_deflate_block *block, const unsigned char *text, size_t len,
                       const oa_copies *copies, oa_bits *bits) {
    progress p = {.block = block, .text = text, .len = len, .bits = bits};
    oa_deflate_block_begin(p.block, text, 0);
    const oa_copy *copy = copies->items;
    for (size_t left = copies->count; left > 0 && copy->at < len; left--, copy++) {
        size_t end = (size_t)copy->at + copy->len;
        if (end > len)
            end = len;
        if (copy->distance == 0) {
            p.digits_at = copy->at;
            p.digits_end = end;
        } else if (copy->resembled > 0) {
            if (!put_guess(&p, copy))
                return false;
        } else if (end > p.done || copy->distance != p.distance) { /* not in the last one already */
            end = end_of_same(text, len, end, copy->distance);
            if (!put_copy(&p, copy->at, end, copy->distance))
                return false;
        }
    }
    return oa_deflate_block_end(p.block, len, true, bits);
}

oa_str oa_deflate_gzip(oa_deflate *deflate, oa_str text, const oa_copies *copies) {
    /* Deflated; no name, no time; of no operating system. */
    static const unsigned char head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    const oa_str absent = {NULL, 0};
    if (text.len > OA_COPIES_MAX_TEXT)
        return absent;
    oa_bits bits;
    oa_buf_reset(&deflate->out);
    oa_buf_append(&deflate->out, (const char *)head, sizeof(head));
    if (oa_buf_status(&deflate->out) != OA_OK)
        return absent;
    oa_bits_begin(&bits, &deflate->out);
    if (!put_blocks(&deflate->block, (const unsigned char *)text.data, text.len, copies, &bits) ||
        !oa_bits_reserve(&bits, 8 + 2 * 32))
        return absent;
    oa_bits_align(&bits);
    oa_bits_put_32(&bits, oa_crc32_add(&deflate->crc, 0, text.data, text.len));
    oa_bits_put_32(&bits, (uint32_t)text.len);
    oa_bits_end(&bits);
    return (oa_str){deflate->out.data, deflate->out.len};
}
