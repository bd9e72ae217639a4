#include "spool.h"

#include <string.h>

#include "mem.h"

/* Spare segments that are kept: what is written while the host makes more. */
enum {
    SPARE = 2,
    FIRST_VARIANTS = 8,
    MOST_ID_BYTES = 4 * 1024, /* 1024 characters */
    SHORT_BYTES = 64 * 1024,
};

/* A variant that stands in a segment. */
typedef struct seen_variant {
    uint32_t index;
    oa_variant *variant; /* counted reference */
} seen_variant;

struct oa_spool_segment {
    oa_spool_segment *next;
    void *handle;
    uint64_t serial; /* of this spool; what oa_variant.spooled_in refers to */
    char *bytes;
    size_t size;
    bool is_found;
    bool is_away;         /* its copy is not whole */
    bool tells_idle;      /* which the host does not know yet */
    bool is_ended;        /* nothing is appended any more, and of one that was found all is read */
    uint32_t unsettled;   /* entries: of one that was found, as far as it was read */
    oa_segment_head head; /* of a spare one */
    oa_segment writer;
    oa_segment_reader reader; /* up to here entries are in memory, or settled */
    seen_variant *variants;   /* in ascending order of their indexes */
    uint32_t variant_count;
    uint32_t variant_cap;
    oa_spool_segment *next_unsaved;
    bool is_unsaved;             /* it is on the list */
    size_t saved_to;             /* of what was appended */
    size_t marks_from, marks_to; /* settled bits that are not saved */
};

struct oa_spool {
    oa_crc32 crc;
    oa_spool_segment *first; /* in the order in which they are read */
    oa_spool_segment *spare; /* given, and not written yet */
    oa_spool_segment *end;   /* is written; NULL: none is */
    oa_spool_segment *at;    /* is read; NULL: nothing is on disk only */
    oa_spool_segment *done;
    oa_spool_segment *unsaved;
    size_t idle_count; /* of which the host does not know yet */
    bool uses_copies;
    bool is_paused;
    uint64_t next_serial;
    uint64_t next_number;
    size_t spare_count;
    size_t wanted_bytes;     /* of the next segment, since an entry did not fit; 0: the usual */
    oa_segment_reader ahead; /* behind the entry that was looked at */
    oa_spool_stats stats;
};

oa_status oa_spool_new(oa_spool **out) {
    oa_spool *spool = oa_mem_calloc(1, sizeof(*spool));
    if (spool == NULL)
        return OA_NOMEM;
    oa_crc32_init(&spool->crc);
    *out = spool;
    return OA_OK;
}

static void free_segment(oa_spool_segment *segment) {
    for (uint32_t i = 0; i < segment->variant_count; i++)
        oa_variant_unref(segment->variants[i].variant);
    oa_mem_free(segment->variants);
    oa_mem_free(segment);
}

static void free_list(oa_spool_segment *segment) {
    while (segment != NULL) {
        oa_spool_segment *next = segment->next;
        free_segment(segment);
        segment = next;
    }
}

void oa_spool_free(oa_spool *spool) {
    if (spool == NULL)
        return;
    free_list(spool->first);
    free_list(spool->spare);
    free_list(spool->done);
    oa_mem_free(spool);
}

size_t oa_spool_wants(const oa_spool *spool) {
    if (spool->wanted_bytes == 0 && spool->spare_count >= SPARE)
        return 0;
    return spool->wanted_bytes > OA_SEGMENT_BYTES ? spool->wanted_bytes : OA_SEGMENT_BYTES;
}

bool oa_spool_is_short(const oa_spool *spool) {
    const oa_spool_segment *end = spool->end;
    return spool->spare == NULL && (end == NULL || end->size - end->writer.at < SHORT_BYTES);
}

static oa_status new_segment(oa_spool *spool, void *handle, char *bytes, size_t size,
                             oa_spool_segment **out) {
    oa_spool_segment *segment = oa_mem_calloc(1, sizeof(*segment));
    if (segment == NULL)
        return OA_NOMEM;
    segment->handle = handle;
    segment->serial = ++spool->next_serial;
    segment->bytes = bytes;
    segment->size = size;
    *out = segment;
    return OA_OK;
}

static void count_in(oa_spool *spool, const oa_spool_segment *segment) {
    spool->stats.segments++;
    spool->stats.bytes += segment->size;
}

oa_status oa_spool_give(oa_spool *spool, void *handle, char *bytes, size_t size,
                        const oa_segment_head *head) {
    oa_spool_segment *segment = NULL;
    const oa_status status = new_segment(spool, handle, bytes, size, &segment);
    if (status != OA_OK)
        return status;
    segment->head = *head;
    oa_spool_segment **last = &spool->spare;
    while (*last != NULL)
        last = &(*last)->next;
    *last = segment;
    spool->spare_count++;
    if (size >= spool->wanted_bytes)
        spool->wanted_bytes = 0;
    count_in(spool, segment);
    return OA_OK;
}

oa_status oa_spool_find(oa_spool *spool, void *handle, char *bytes, size_t size) {
    oa_spool_segment *segment = NULL;
    oa_segment_reader reader;
    oa_segment_head head;
    if (oa_segment_open(&reader, &spool->crc, bytes, size, &head) != OA_SEGMENT_READABLE)
        return OA_FOREIGN;
    const oa_status status = new_segment(spool, handle, bytes, size, &segment);
    if (status != OA_OK)
        return status;
    segment->is_found = true;
    segment->is_away = spool->uses_copies;
    segment->reader = reader;
    oa_spool_segment **link = &spool->first;
    while (*link != NULL && (*link)->is_found)
        link = &(*link)->next;
    segment->next = *link;
    *link = segment;
    if (spool->at == NULL || !spool->at->is_found)
        spool->at = segment;
    count_in(spool, segment);
    return OA_OK;
}

/* ---- Copies ---- */

void oa_spool_use_copies(oa_spool *spool) { spool->uses_copies = true; }

static void note_unsaved(oa_spool *spool, oa_spool_segment *segment) {
    if (!spool->uses_copies || segment->is_unsaved)
        return;
    segment->is_unsaved = true;
    segment->next_unsaved = spool->unsaved;
    spool->unsaved = segment;
}

static void note_mark(oa_spool *spool, oa_spool_segment *segment, uint32_t index) {
    if (!spool->uses_copies)
        return;
    const size_t at = oa_segment_settled_at() + index / 8;
    const bool is_first = segment->marks_from == segment->marks_to;
    segment->marks_from = is_first || at < segment->marks_from ? at : segment->marks_from;
    segment->marks_to = is_first || at >= segment->marks_to ? at + 1 : segment->marks_to;
    note_unsaved(spool, segment);
}

bool oa_spool_next_unsaved(oa_spool *spool, oa_spool_range *out) {
    const oa_spool_segment *segment = spool->unsaved;
    if (segment == NULL)
        return false;
    *out = segment->saved_to < segment->writer.at
               ? (oa_spool_range){segment->handle, segment->saved_to, segment->writer.at}
               : (oa_spool_range){segment->handle, segment->marks_from, segment->marks_to};
    return true;
}

void oa_spool_saved(oa_spool *spool) {
    oa_spool_segment *segment = spool->unsaved;
    if (segment->saved_to < segment->writer.at)
        segment->saved_to = segment->writer.at;
    else
        segment->marks_from = segment->marks_to = 0;
    if (segment->marks_from != segment->marks_to)
        return;
    spool->unsaved = segment->next_unsaved;
    segment->is_unsaved = false;
}

void oa_spool_pause(oa_spool *spool, bool is_paused) {
    const oa_spool_segment *end = spool->end;
    if (is_paused && !spool->is_paused && end != NULL && end->saved_to < end->writer.at)
        spool->stats.unwritten++; /* the decision that could not be saved */
    spool->is_paused = is_paused;
}

/* The segment is neither written nor read any more, or not yet. */
static void note_idle(oa_spool *spool, oa_spool_segment *segment) {
    if (!spool->uses_copies || segment == spool->end || segment == spool->at || segment->is_away)
        return;
    segment->is_away = segment->tells_idle = true;
    spool->idle_count++;
}

void *oa_spool_next_idle(oa_spool *spool) {
    oa_spool_segment *segment = spool->idle_count > 0 ? spool->first : NULL;
    while (segment != NULL && !segment->tells_idle)
        segment = segment->next;
    if (segment == NULL)
        return NULL;
    segment->tells_idle = false;
    spool->idle_count--;
    return segment->handle;
}

void oa_spool_loaded(oa_spool *spool, const void *handle) {
    for (oa_spool_segment *segment = spool->first; segment != NULL; segment = segment->next)
        if (segment->handle == handle)
            segment->is_away = false;
}

/* Nobody needs a segment again, and so nothing of it is saved. */
static void forget_copy(oa_spool *spool, oa_spool_segment *segment) {
    spool->idle_count -= segment->tells_idle;
    segment->tells_idle = false;
    oa_spool_segment **link = &spool->unsaved;
    while (segment->is_unsaved && *link != segment)
        link = &(*link)->next_unsaved;
    if (segment->is_unsaved)
        *link = segment->next_unsaved;
    segment->is_unsaved = false;
}

/* ---- The end of a segment ---- */

/* Take a segment out of the list if nobody needs it again. */
static void end_if_done(oa_spool *spool, oa_spool_segment *segment) {
    if (!segment->is_ended || segment->unsettled > 0)
        return;
    oa_spool_segment **link = &spool->first;
    while (*link != segment)
        link = &(*link)->next;
    if (spool->at == segment)
        spool->at = segment->next;
    *link = segment->next;
    segment->next = spool->done;
    spool->done = segment;
    forget_copy(spool, segment);
}

static void give_spare_back(oa_spool *spool) {
    oa_spool_segment *segment = spool->spare;
    spool->spare = segment->next;
    segment->next = spool->done;
    spool->done = segment;
}

void oa_spool_end(oa_spool *spool) {
    while (spool->spare != NULL)
        give_spare_back(spool);
    spool->spare_count = SPARE; /* no more are wanted */
    spool->wanted_bytes = 0;
    if (spool->end != NULL) {
        spool->end->is_ended = true;
        end_if_done(spool, spool->end);
        spool->end = NULL;
    }
}

oa_spool_position oa_spool_where(const oa_spool *spool) {
    return (oa_spool_position){
        .end = spool->end == NULL ? NULL : spool->end->handle,
        .end_at = spool->end == NULL ? 0 : spool->end->writer.at,
        .reading = spool->at == NULL ? NULL : spool->at->handle,
    };
}

void *oa_spool_next_done(oa_spool *spool) {
    oa_spool_segment *segment = spool->done;
    if (segment == NULL)
        return NULL;
    void *handle = segment->handle;
    spool->done = segment->next;
    spool->stats.segments--;
    spool->stats.bytes -= segment->size;
    free_segment(segment);
    return handle;
}

/* ---- Writing ---- */

/* Return a spare segment of at least `size` bytes, or NULL. Those before it are given back: the
 * host has its files in the order in which they are written. */
static oa_spool_segment *take_spare(oa_spool *spool, size_t size) {
    oa_spool_segment *found = spool->spare;
    while (found != NULL && found->size < size)
        found = found->next;
    while (found != NULL && spool->spare != found) {
        give_spare_back(spool);
        spool->spare_count--;
    }
    if (found == NULL)
        return NULL;
    spool->spare = found->next;
    spool->spare_count--;
    found->next = NULL;
    return found;
}

/* Go on in a spare segment of at least `size` bytes; false: there is none. */
static bool begin_next(oa_spool *spool, size_t size) {
    oa_spool_segment *next = take_spare(spool, size), *ended = spool->end;
    if (next == NULL) {
        spool->wanted_bytes = size;
        return false;
    }
    oa_spool_segment **last = &spool->first;
    while (*last != NULL)
        last = &(*last)->next;
    *last = next;
    spool->end = next;
    next->head.number = ++spool->next_number; /* in the order in which they are written */
    oa_segment_begin(&next->writer, &spool->crc, next->bytes, next->size, &next->head);
    oa_segment_open(&next->reader, &spool->crc, next->bytes, next->size, &next->head);
    if (ended != NULL) {
        ended->is_ended = true;
        ended->saved_to = ended->writer.at; /* what is behind is a variant that nothing follows */
        note_idle(spool, ended);
        end_if_done(spool, ended);
    }
    return true;
}

/* Remember that a variant stands at `index`. Takes a reference on success. */
static bool note_variant(oa_spool_segment *segment, uint32_t index, oa_variant *variant) {
    if (segment->variant_count == segment->variant_cap) {
        const uint32_t cap = segment->variant_cap > 0 ? segment->variant_cap * 2 : FIRST_VARIANTS;
        seen_variant *grown = oa_mem_realloc(segment->variants, cap * sizeof(*grown));
        if (grown == NULL)
            return false;
        segment->variants = grown;
        segment->variant_cap = cap;
    }
    segment->variants[segment->variant_count++] = (seen_variant){index, oa_variant_ref(variant)};
    return true;
}

/* Have a variant stand in the segment, and return its index in *out. Errors: OA_TOO_LARGE,
 * OA_NOMEM. */
static oa_status write_variant(oa_spool *spool, oa_spool_segment *segment, oa_variant *variant,
                               uint32_t *out) {
    if (variant->spooled_in != segment->serial) {
        oa_entry entry = {
            .kind = OA_ENTRY_VARIANT,
            .enabled = variant->enabled,
            .strings = {variant->flag_key, variant->variation_key, variant->rule_key},
        };
        if (!note_variant(segment, segment->writer.count, variant))
            return OA_NOMEM;
        const oa_status status = oa_segment_append(&segment->writer, &spool->crc, &entry);
        if (status != OA_OK) {
            oa_variant_unref(segment->variants[--segment->variant_count].variant);
            return status;
        }
        variant->spooled_in = segment->serial;
        variant->spooled_at = entry.index;
    }
    *out = variant->spooled_at;
    return OA_OK;
}

static oa_status write_entry(oa_spool *spool, oa_variant *variant, oa_entry *entry) {
    oa_spool_segment *segment = spool->end;
    if (segment == NULL)
        return OA_TOO_LARGE;
    const oa_status status =
        variant == NULL ? OA_OK : write_variant(spool, segment, variant, &entry->variant);
    return status == OA_OK ? oa_segment_append(&segment->writer, &spool->crc, entry) : status;
}

static size_t string_bytes(const oa_entry *entry, const oa_variant *variant) {
    size_t bytes = 0;
    for (size_t i = 0; i < OA_ENTRY_STRINGS; i++)
        bytes += entry->strings[i].len;
    if (variant != NULL)
        bytes += variant->flag_key.len + variant->variation_key.len + variant->rule_key.len;
    return bytes;
}

oa_status oa_spool_write(oa_spool *spool, oa_variant *variant, const oa_entry *entry,
                         bool in_memory, oa_entry_place *place) {
    oa_entry written = *entry;
    written.kind = variant == NULL ? OA_ENTRY_TRACKED : OA_ENTRY_DECISION;
    oa_status status = spool->is_paused ? OA_QUEUE_FULL : write_entry(spool, variant, &written);
    if (status == OA_TOO_LARGE &&
        begin_next(spool, oa_segment_size_for(string_bytes(entry, variant))))
        status = write_entry(spool, variant, &written);
    if (status != OA_OK) {
        spool->stats.unwritten += in_memory;
        return OA_QUEUE_FULL;
    }
    oa_spool_segment *segment = spool->end;
    segment->unsettled++;
    note_unsaved(spool, segment);
    if (in_memory) {
        segment->reader.at = segment->writer.at;
        segment->reader.next_index = segment->writer.count;
    } else {
        spool->stats.disk_only++;
        if (spool->at == NULL)
            spool->at = segment;
    }
    *place = (oa_entry_place){segment, written.index};
    return OA_OK;
}

void oa_spool_settle(oa_spool *spool, oa_entry_place place) {
    oa_spool_segment *segment = place.segment;
    if (segment == NULL)
        return;
    oa_segment_set_bit((unsigned char *)segment->bytes + oa_segment_settled_at(), place.index);
    note_mark(spool, segment, place.index);
    segment->unsettled--;
    end_if_done(spool, segment);
}

/* ---- Reading back ---- */

bool oa_spool_is_behind(const oa_spool *spool) { return spool->at != NULL; }

bool oa_spool_awaits_load(const oa_spool *spool) { return spool->at != NULL && spool->at->is_away; }

static oa_variant *find_variant(const oa_spool_segment *segment, uint32_t index) {
    uint32_t from = 0, to = segment->variant_count;
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (segment->variants[middle].index < index)
            from = middle + 1;
        else
            to = middle;
    }
    const bool is_it = from < segment->variant_count && segment->variants[from].index == index;
    return is_it ? segment->variants[from].variant : NULL;
}

/* Make a variant of its entry, unless it is known, as all of one's own are. Errors: OA_NOMEM. */
static oa_status read_variant(oa_spool_segment *segment, const oa_variant_style *style,
                              const oa_entry *entry) {
    if (!segment->is_found)
        return OA_OK;
    oa_variant *variant = NULL;
    const oa_str *keys = entry->strings;
    oa_status status = oa_variant_new(style, keys[OA_ENTRY_FLAG_KEY], keys[OA_ENTRY_VARIATION_KEY],
                                      keys[OA_ENTRY_RULE_KEY], entry->enabled, &variant);
    if (status == OA_OK && !note_variant(segment, entry->index, variant))
        status = OA_NOMEM;
    oa_variant_unref(variant); /* the segment has its own reference */
    return status;
}

/* Go on with the next segment. */
static void end_reading(oa_spool *spool) {
    oa_spool_segment *segment = spool->at;
    spool->at = segment->next;
    note_idle(spool, segment);
    if (!segment->is_found)
        return;
    spool->stats.missing += segment->reader.missing;
    segment->is_ended = true;
    end_if_done(spool, segment);
}

/* Whether an entry can be a record. */
static bool is_sound(const oa_entry *entry, const oa_variant *variant) {
    const oa_str *ids = entry->strings;
    return ids[OA_ENTRY_USER_ID].len <= MOST_ID_BYTES &&
           ids[OA_ENTRY_DEVICE_ID].len <= MOST_ID_BYTES &&
           (entry->kind == OA_ENTRY_TRACKED || variant != NULL);
}

bool oa_spool_peek(oa_spool *spool, const oa_variant_style *style, oa_spool_entry *out,
                   oa_status *status) {
    *status = OA_OK;
    while (spool->at != NULL) {
        oa_spool_segment *segment = spool->at;
        oa_segment_reader ahead = segment->reader;
        oa_entry entry;
        if (segment->is_away)
            return false;
        /* Where nothing was written yet, a reader would go on with the next page. */
        const bool is_all = !segment->is_found && ahead.at >= segment->writer.at;
        if (is_all || !oa_segment_next(&ahead, &entry)) {
            segment->reader.missing = ahead.missing;
            end_reading(spool);
            continue;
        }
        if (entry.kind == OA_ENTRY_VARIANT) {
            *status = read_variant(segment, style, &entry);
            if (*status != OA_OK)
                return true;
            segment->reader = ahead;
            continue;
        }
        oa_variant *variant =
            entry.kind == OA_ENTRY_TRACKED ? NULL : find_variant(segment, entry.variant);
        if (segment->is_found && oa_segment_is_settled(&segment->reader, entry.index)) {
            segment->reader = ahead;
            continue;
        }
        if (!is_sound(&entry, variant)) {
            segment->reader = ahead;
            segment->reader.missing++;
            continue;
        }
        spool->ahead = ahead;
        *out = (oa_spool_entry){entry, variant, {segment, entry.index}, segment->is_found};
        return true;
    }
    return false;
}

void oa_spool_advance(oa_spool *spool) {
    oa_spool_segment *segment = spool->at;
    segment->reader = spool->ahead;
    if (segment->is_found) {
        segment->unsettled++;
        spool->stats.found++;
    } else {
        spool->stats.disk_only--;
    }
}

void oa_spool_stats_get(const oa_spool *spool, oa_spool_stats *out) { *out = spool->stats; }
