#include "segment.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "hash.h"

/* The byte order shows in it, and that it is ours. */
static const char MAGIC[8] = {'O', 'A', 's', 'p', 'o', 'o', 'l', '\n'};
enum { ORDER = 0x01020304, OTHER_ORDER = 0x04030201 };

/* The first bytes of a file. No padding: the members are in an order that needs none. */
typedef struct file_head {
    char magic[sizeof(MAGIC)];
    uint32_t order;
    uint32_t version;
    oa_segment_head head;
    _Atomic uint32_t sum; /* of all above; stored last */
    uint32_t zero;
} file_head;

/* The first bytes of an entry; its strings follow. */
typedef struct entry_head {
    _Atomic uint32_t length; /* of the entry, without what fills up to eight bytes */
    uint32_t sum;            /* of what follows */
    uint32_t index;
    uint8_t kind;
    uint8_t flags;
    uint8_t present; /* a bit for each string that is there */
    uint8_t zero;
    int64_t time_ms;
    uint32_t variant;
    uint32_t window;
    uint32_t turn;
    uint32_t lengths[]; /* of the strings that are there */
} entry_head;

_Static_assert(sizeof(file_head) == 88, "the head has no padding");
_Static_assert(offsetof(entry_head, lengths) == 36, "the head of an entry has no padding");

enum {
    SUM_FROM = offsetof(entry_head, index),
    FIXED_BYTES = offsetof(entry_head, lengths),
    ALIGN = 8,
    FLAG_ENABLED = 1,
    FLAG_RENDERED = 2,
    FLAG_PROPERTY_ONLY = 4,
    FLAG_RECHECK = 8,
};

static size_t aligned(size_t size) { return (size + (ALIGN - 1)) & ~(size_t)(ALIGN - 1); }

static size_t page_end(size_t at) {
    return (at / OA_SEGMENT_PAGE_BYTES + 1) * OA_SEGMENT_PAGE_BYTES;
}

uint64_t oa_segment_key_mark(oa_str api_key) {
    oa_hash_key key;
    oa_hash_key_init(&key, api_key);
    return oa_hash_bytes(&key, MAGIC, sizeof(MAGIC)).low;
}

static uint32_t sum_of(const oa_crc32 *crc, uint64_t salt, const void *data, size_t len) {
    return oa_crc32_add(crc, oa_crc32_add(crc, 0, &salt, sizeof(salt)), data, len);
}

void oa_segment_begin(oa_segment *segment, const oa_crc32 *crc, char *bytes, size_t size,
                      const oa_segment_head *head) {
    file_head *file = (file_head *)(void *)bytes;
    /* While bits and head are not of one use, the file is nobody's. */
    atomic_fetch_xor_explicit(&file->sum, UINT32_MAX, memory_order_release);
    memset(bytes + oa_segment_settled_at(), 0, OA_SEGMENT_PAGE_BYTES);
    file_head made = {.order = ORDER, .version = OA_SEGMENT_VERSION, .head = *head};
    memcpy(made.magic, MAGIC, sizeof(MAGIC));
    made.sum = sum_of(crc, 0, &made, offsetof(file_head, sum));
    memcpy(file, &made, offsetof(file_head, sum));
    atomic_store_explicit(&file->sum, made.sum, memory_order_release);
    *segment = (oa_segment){bytes, size, head->salt, OA_SEGMENT_HEAD_BYTES, 0};
}

size_t oa_segment_size_for(size_t string_bytes) {
    const size_t longest = FIXED_BYTES + OA_ENTRY_STRINGS * sizeof(uint32_t) + string_bytes;
    return OA_SEGMENT_HEAD_BYTES + page_end(longest);
}

/* Return where an entry of `length` bytes goes; `size` of the segment or more: nowhere. */
static size_t place(const oa_segment *segment, size_t length) {
    const bool fits = segment->at + length <= page_end(segment->at);
    const bool begins = segment->at % OA_SEGMENT_PAGE_BYTES == 0;
    const size_t at = fits || begins ? segment->at : page_end(segment->at);
    return at < segment->size && length <= segment->size - at ? at : segment->size;
}

static uint8_t flags_of(const oa_entry *entry) {
    return (uint8_t)((entry->enabled ? FLAG_ENABLED : 0) | (entry->rendered ? FLAG_RENDERED : 0) |
                     (entry->property_only ? FLAG_PROPERTY_ONLY : 0) |
                     (entry->recheck ? FLAG_RECHECK : 0));
}

oa_status oa_segment_append(oa_segment *segment, const oa_crc32 *crc, oa_entry *entry) {
    size_t length = FIXED_BYTES;
    for (size_t i = 0; i < OA_ENTRY_STRINGS; i++)
        if (entry->strings[i].data != NULL)
            length += sizeof(uint32_t) + entry->strings[i].len;
    const size_t at = place(segment, length);
    if (at == segment->size || segment->count == OA_SEGMENT_MAX_ENTRIES || length > UINT32_MAX)
        return OA_TOO_LARGE;

    entry_head *head = (entry_head *)(void *)(segment->bytes + at);
    head->index = entry->index = segment->count;
    head->kind = (uint8_t)entry->kind;
    head->flags = flags_of(entry);
    head->present = 0;
    head->zero = 0;
    head->time_ms = entry->time_ms;
    head->variant = entry->variant;
    head->window = entry->occurrence.window;
    head->turn = entry->occurrence.turn;
    uint32_t *lengths = head->lengths;
    for (size_t i = 0; i < OA_ENTRY_STRINGS; i++) {
        if (entry->strings[i].data == NULL)
            continue;
        head->present |= (uint8_t)(1U << i);
        *lengths++ = (uint32_t)entry->strings[i].len;
    }
    char *to = (char *)lengths;
    for (size_t i = 0; i < OA_ENTRY_STRINGS; i++) {
        if (entry->strings[i].data == NULL)
            continue;
        memcpy(to, entry->strings[i].data, entry->strings[i].len);
        to += entry->strings[i].len;
    }
    head->sum = sum_of(crc, segment->salt, &head->index, length - SUM_FROM);
    atomic_store_explicit(&head->length, (uint32_t)length, memory_order_release);
    segment->at = at + aligned(length);
    segment->count++;
    return OA_OK;
}

oa_segment_state oa_segment_open(oa_segment_reader *reader, const oa_crc32 *crc, const char *bytes,
                                 size_t size, oa_segment_head *head) {
    const file_head *file = (const file_head *)(const void *)bytes;
    if (size < OA_SEGMENT_HEAD_BYTES || memcmp(file->magic, MAGIC, sizeof(MAGIC)) != 0)
        return OA_SEGMENT_FOREIGN;
    if (file->order != ORDER)
        return file->order == OTHER_ORDER ? OA_SEGMENT_OTHER_ORDER : OA_SEGMENT_FOREIGN;
    if (file->version != OA_SEGMENT_VERSION)
        return OA_SEGMENT_OTHER_VERSION;
    if (atomic_load_explicit(&file->sum, memory_order_acquire) !=
        sum_of(crc, 0, file, offsetof(file_head, sum)))
        return OA_SEGMENT_FOREIGN;
    *head = file->head;
    *reader = (oa_segment_reader){
        .crc = crc,
        .bytes = bytes,
        .size = size,
        .salt = file->head.salt,
        .at = OA_SEGMENT_HEAD_BYTES,
    };
    return OA_SEGMENT_READABLE;
}

/* Whether a whole entry stands at `at`, which is aligned and has room for a head behind it. */
static bool is_whole(const oa_segment_reader *reader, size_t at) {
    const entry_head *head = (const entry_head *)(const void *)(reader->bytes + at);
    const size_t length = atomic_load_explicit(&head->length, memory_order_acquire);
    if (length < FIXED_BYTES || length > reader->size - at)
        return false;
    if (at + length > page_end(at) && at % OA_SEGMENT_PAGE_BYTES != 0)
        return false;
    return head->sum == sum_of(reader->crc, reader->salt, &head->index, length - SUM_FROM);
}

/* Take an entry apart; false: it does not hang together, though its sum is right. */
static bool take_apart(const oa_segment_reader *reader, oa_entry *out) {
    const entry_head *head = (const entry_head *)(const void *)(reader->bytes + reader->at);
    const size_t length = head->length;
    *out = (oa_entry){
        .kind = (oa_entry_kind)head->kind,
        .index = head->index,
        .enabled = (head->flags & FLAG_ENABLED) != 0,
        .rendered = (head->flags & FLAG_RENDERED) != 0,
        .property_only = (head->flags & FLAG_PROPERTY_ONLY) != 0,
        .recheck = (head->flags & FLAG_RECHECK) != 0,
        .variant = head->variant,
        .occurrence = {head->window, head->turn},
        .time_ms = head->time_ms,
    };
    size_t at = FIXED_BYTES;
    for (unsigned present = head->present; present != 0; present &= present - 1)
        at += sizeof(uint32_t);
    if (head->kind < OA_ENTRY_VARIANT || head->kind > OA_ENTRY_TRACKED ||
        head->present >> OA_ENTRY_STRINGS != 0 || at > length ||
        head->index >= OA_SEGMENT_MAX_ENTRIES || head->index < reader->next_index)
        return false;
    const uint32_t *lengths = head->lengths;
    for (size_t i = 0; i < OA_ENTRY_STRINGS; i++) {
        if ((head->present >> i & 1) == 0)
            continue;
        const size_t len = *lengths++;
        if (len > length - at)
            return false;
        out->strings[i] = (oa_str){reader->bytes + reader->at + at, len};
        at += len;
    }
    return at == length;
}

bool oa_segment_next(oa_segment_reader *reader, oa_entry *out) {
    bool is_searching = false; /* for the next entry behind a damaged one */
    while (reader->at + FIXED_BYTES <= reader->size) {
        const entry_head *head = (const entry_head *)(const void *)(reader->bytes + reader->at);
        if (is_whole(reader, reader->at) && take_apart(reader, out)) {
            reader->missing += out->index - reader->next_index;
            reader->next_index = out->index + 1;
            reader->at += aligned(head->length);
            return true;
        }
        /* Nothing was written here: the rest of the page is empty, or never reached the disk. */
        const bool is_empty = head->length == 0 && head->sum == 0 && !is_searching;
        reader->at = is_empty ? page_end(reader->at) : reader->at + ALIGN;
        is_searching = !is_empty && reader->at % OA_SEGMENT_PAGE_BYTES != 0;
    }
    return false;
}

bool oa_segment_is_settled(const oa_segment_reader *reader, uint32_t index) {
    const unsigned char *bits = (const unsigned char *)(reader->bytes + oa_segment_settled_at());
    return index < OA_SEGMENT_MAX_ENTRIES && oa_segment_bit(bits, index);
}
