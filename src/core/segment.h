/*
 * segment.h: one segment of a journal: decisions in memory that outlives the process.  [externally
 * synchronised]
 *
 * A segment is the bytes of a file that its host has mapped, or a copy of them that it saves. What
 * is stored there, and saved, is the kernel's: a process that is killed has lost nothing of it.
 * Entries are appended, and never changed; that one is settled is a bit in the head. Whoever finds
 * the file reads what is whole, whatever happened to the rest:
 *
 *     0       the head: what it is, whose, its salt, a checksum
 *     4096    a bit for each entry: it is settled, nobody needs it again
 *     8192    entries
 *
 *     length  sum  index kind flags ...  the strings, one behind the other, up to eight bytes
 *     |       |
 *     |       of all that follows, begun with the salt: no entry of an earlier use of the file,
 *     |       and no text of a user's, passes for one
 *     stored last, with release order: 0 until the entry is whole
 *
 * No entry crosses the end of a page, but one that is longer than a page begins one. So a page that
 * never reached the disk before the power failed costs its own entries, and none behind it. A
 * reader that finds bytes that are none goes on eight bytes further: one flipped bit costs one
 * entry, and the indexes say how many are missing.
 *
 * Byte order and alignment are the machine's; the head tells another one's.
 */
#ifndef OA_SEGMENT_H
#define OA_SEGMENT_H

#include "crc32.h"
#include "exposure.h"
#include "oa.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    OA_SEGMENT_PAGE_BYTES = 4096,
    OA_SEGMENT_HEAD_BYTES = 2 * OA_SEGMENT_PAGE_BYTES,
    OA_SEGMENT_MAX_ENTRIES = OA_SEGMENT_PAGE_BYTES * 8,
    OA_SEGMENT_BYTES = 1024 * 1024, /* of one with entries of usual size: 12,000 decisions */
    OA_SEGMENT_VERSION = 1,
    OA_SEGMENT_ID_BYTES = 16,
};

/* What a segment says of itself. */
typedef struct oa_segment_head {
    char owner
        [OA_SEGMENT_ID_BYTES]; /* of the journal: random, one for each process and dispatcher */
    char boot[OA_SEGMENT_ID_BYTES]; /* of the system, as the kernel names it */
    uint64_t number;                /* in its journal, from 1 */
    uint64_t key_mark;              /* of the API key: see oa_segment_key_mark() */
    uint64_t salt;                  /* random, another one for each use of a file */
    int64_t created_ms;             /* since the epoch */
} oa_segment_head;

typedef enum oa_entry_kind {
    OA_ENTRY_VARIANT = 1, /* the constant part of the decisions that follow; stands before them */
    OA_ENTRY_DECISION,
    OA_ENTRY_TRACKED,
} oa_entry_kind;

/* Strings of an entry: of a decision, and of a tracked event, those of oa_decision. */
enum {
    OA_ENTRY_USER_ID,
    OA_ENTRY_DEVICE_ID,
    OA_ENTRY_FIELDS,
    OA_ENTRY_EVENT_PROPERTIES,
    OA_ENTRY_USER_PROPERTIES,
    OA_ENTRY_STRINGS,
    OA_ENTRY_FLAG_KEY = 0, /* of a variant */
    OA_ENTRY_VARIATION_KEY,
    OA_ENTRY_RULE_KEY,
};

typedef struct oa_entry {
    oa_entry_kind kind;
    uint32_t index; /* in the segment, from 0; written by oa_segment_append() */
    bool enabled;   /* of a variant */
    bool rendered;  /* of a decision, as in oa_record */
    bool property_only;
    bool recheck;
    uint32_t variant; /* of a decision: the index of its variant's entry */
    oa_occurrence occurrence;
    int64_t time_ms;
    oa_str strings[OA_ENTRY_STRINGS]; /* data == NULL: absent */
} oa_entry;

/* Where entries are appended. */
typedef struct oa_segment {
    char *bytes;
    size_t size;
    uint64_t salt;
    size_t at;      /* of the next entry */
    uint32_t count; /* of entries */
} oa_segment;

/* Return what stands for an API key in a head. It does not reveal the key. Borrows. */
uint64_t oa_segment_key_mark(oa_str api_key);

/*
 * Begin a segment in `bytes`, aligned to a page, which are zero or of an earlier use. `size` is a
 * multiple of OA_SEGMENT_PAGE_BYTES, and more than OA_SEGMENT_HEAD_BYTES. Ownership: lends itself
 * the bytes until the segment is not used any more.
 */
void oa_segment_begin(oa_segment *segment, const oa_crc32 *crc, char *bytes, size_t size,
                      const oa_segment_head *head);

/* Return the size of a segment that surely takes an entry with strings of so many bytes in all. */
size_t oa_segment_size_for(size_t string_bytes);

/*
 * Append an entry, whole or not at all, and write its index into it. Copies. Errors: OA_TOO_LARGE
 * when no room is left; the segment is as before. Cost: a copy and a checksum, about 20 ns.
 */
oa_status oa_segment_append(oa_segment *segment, const oa_crc32 *crc, oa_entry *entry)
    __attribute__((warn_unused_result));

/* Where the settled bits of a segment lie in its bytes: OA_SEGMENT_PAGE_BYTES from here on. */
static inline size_t oa_segment_settled_at(void) { return OA_SEGMENT_PAGE_BYTES; }

static inline bool oa_segment_bit(const unsigned char *bits, uint32_t index) {
    return (bits[index / 8] >> index % 8 & 1) != 0;
}

static inline void oa_segment_set_bit(unsigned char *bits, uint32_t index) {
    bits[index / 8] |= (unsigned char)(1U << index % 8);
}

/* What a reader takes bytes for. */
typedef enum oa_segment_state {
    OA_SEGMENT_READABLE,
    OA_SEGMENT_FOREIGN, /* no segment, or its head is damaged, or it was begun and never finished */
    OA_SEGMENT_OTHER_VERSION,
    OA_SEGMENT_OTHER_ORDER, /* of bytes: another kind of machine wrote it */
} oa_segment_state;

/* Reads entries in order. */
typedef struct oa_segment_reader {
    const oa_crc32 *crc;
    const char *bytes;
    size_t size;
    uint64_t salt;
    size_t at;
    uint32_t next_index;
    uint32_t missing; /* entries that were there and are not whole, as far as it was read */
} oa_segment_reader;

/*
 * Look at the head of `size` bytes, aligned to eight. Writes *head only when it is readable.
 * Ownership: lends itself bytes and `crc` until the reader is not used any more; another process
 * may append to them meanwhile. Errors: none; whatever the bytes are, nothing else is read.
 */
oa_segment_state oa_segment_open(oa_segment_reader *reader, const oa_crc32 *crc, const char *bytes,
                                 size_t size, oa_segment_head *head);

/*
 * Read the next entry that is whole; false: there is none. Ownership: lends the strings for as long
 * as the bytes are there. Cost: a checksum; where bytes are damaged, one for each eight of them.
 */
bool oa_segment_next(oa_segment_reader *reader, oa_entry *out);

/* Whether an entry is settled, and not to be sent again. */
bool oa_segment_is_settled(const oa_segment_reader *reader, uint32_t index);

#ifdef __cplusplus
}
#endif

#endif
