#include "queue.h"

#include <string.h>

#include "mem.h"

enum {
    MIN_CHUNK_BYTES = 1024,
    MAX_CHUNK_BYTES = 64 * 1024,
    CHUNKS_AT_LIMIT = 16,
    MAX_SPARE_CHUNKS = 16, /* 1 MiB, about 17,000 decisions */
};

typedef struct oa_chunk {
    struct oa_chunk *next;
    oa_arena *arena;
    size_t cap;  /* of data */
    size_t used; /* of data */
    size_t last; /* offset of the last record in data */
    size_t live; /* records not released, plus one while a queue holds the chunk */
    char data[];
} oa_chunk;

static size_t bytes_of(const oa_record *record) {
    return oa_record_own_bytes(record) + (record->has_place ? sizeof(oa_entry_place) : 0);
}

void oa_arena_init(oa_arena *arena, size_t max_bytes) {
    memset(arena, 0, sizeof(*arena));
    arena->max_bytes = max_bytes;
    /* Small limits get small chunks, so that decisions reach the limit, not slack. */
    size_t chunk = max_bytes / CHUNKS_AT_LIMIT;
    if (chunk < MIN_CHUNK_BYTES)
        chunk = MIN_CHUNK_BYTES;
    if (chunk > MAX_CHUNK_BYTES)
        chunk = MAX_CHUNK_BYTES;
    arena->chunk_bytes = chunk;
}

static size_t size_of(const oa_chunk *chunk) { return chunk->cap + sizeof(*chunk); }

/* Full-sized chunks, of which there may be many, are pages of their own; the others lie on the
 * heap. */
static oa_chunk *allocate(size_t size) {
    return size == MAX_CHUNK_BYTES ? oa_mem_alloc_pages(size) : oa_mem_alloc(size);
}

static void release(oa_chunk *chunk) {
    if (size_of(chunk) == MAX_CHUNK_BYTES)
        oa_mem_free_pages(chunk, MAX_CHUNK_BYTES);
    else
        oa_mem_free(chunk);
}

void oa_arena_clear(oa_arena *arena) {
    while (arena->spare != NULL) {
        oa_chunk *chunk = arena->spare;
        arena->spare = chunk->next;
        release(chunk);
    }
    arena->spare_count = 0;
}

/* A chunk of `size` bytes, or of more if the record needs it. */
static oa_chunk *chunk_new(oa_arena *arena, size_t size, size_t record_bytes, bool limited) {
    if (record_bytes > size - sizeof(oa_chunk))
        size = record_bytes + sizeof(oa_chunk);
    if (limited && (arena->bytes > arena->max_bytes || size > arena->max_bytes - arena->bytes))
        return NULL;
    oa_chunk *chunk = NULL;
    if (arena->spare != NULL && size == arena->chunk_bytes) {
        chunk = arena->spare;
        arena->spare = chunk->next;
        arena->spare_count--;
    } else {
        chunk = allocate(size);
    }
    if (chunk == NULL)
        return NULL;
    memset(chunk, 0, sizeof(*chunk));
    chunk->arena = arena;
    chunk->cap = size - sizeof(*chunk);
    arena->bytes += size;
    if (arena->bytes > arena->high_water_bytes)
        arena->high_water_bytes = arena->bytes;
    return chunk;
}

static void chunk_unref(oa_arena *arena, oa_chunk *chunk) {
    if (--chunk->live > 0)
        return;
    const size_t size = size_of(chunk);
    arena->bytes -= size;
    const size_t kept = arena->bytes + arena->spare_count * arena->chunk_bytes;
    if (size != arena->chunk_bytes || arena->spare_count == MAX_SPARE_CHUNKS ||
        kept + size > arena->max_bytes) {
        release(chunk);
        return;
    }
    chunk->next = arena->spare;
    arena->spare = chunk;
    arena->spare_count++;
}

void oa_queue_init(oa_queue *queue, oa_arena *arena) {
    memset(queue, 0, sizeof(*queue));
    queue->arena = arena;
}

/*
 * The size of a queue's next chunk. Where records are moved to there may be many queues, most of
 * them short: their chunks begin small and double, since the arena's limit does not apply to them.
 */
static size_t next_chunk_bytes(const oa_queue *queue, bool limited) {
    const size_t full = queue->arena->chunk_bytes;
    if (limited)
        return full;
    if (queue->last == NULL)
        return MIN_CHUNK_BYTES;
    const size_t last = size_of(queue->last);
    return last < full / 2 ? last * 2 : full;
}

/* Add a chunk with room for a record of `len` bytes to the end of the queue. False without memory.
 * Not inline: one record of a thousand needs it, and the others would save registers for it. */
__attribute__((noinline)) static bool add_chunk(oa_queue *queue, size_t len, bool limited) {
    oa_chunk *chunk = chunk_new(queue->arena, next_chunk_bytes(queue, limited), len, limited);
    if (chunk == NULL)
        return false;
    chunk->live = 1;
    if (queue->last != NULL)
        queue->last->next = chunk;
    else
        queue->first = chunk;
    queue->last = chunk;
    return true;
}

/* Return room for a record of `len` bytes at the end of the queue, or NULL. */
static inline oa_record *extend(oa_queue *queue, size_t len, bool limited) {
    if ((queue->last == NULL || len > queue->last->cap - queue->last->used) &&
        !add_chunk(queue, len, limited))
        return NULL;
    oa_chunk *chunk = queue->last;
    oa_record *record = (oa_record *)(void *)(chunk->data + chunk->used);
    chunk->last = chunk->used;
    chunk->used += len;
    chunk->live++;
    queue->count++;
    return record;
}

/* Where a record is in its chunk. One that is larger than a chunk is alone in its own. */
static size_t offset_of(const oa_record *record) {
    return (size_t)record->offset_units * OA_RECORD_UNIT;
}

static void set_offset(oa_record *record, size_t offset) {
    record->offset_units = (offset / OA_RECORD_UNIT) & 0x1FFF;
}

/* The chunk that holds `record`. */
static oa_chunk *chunk_of(const oa_record *record) {
    return (oa_chunk *)((uintptr_t)record - offset_of(record) - offsetof(oa_chunk, data));
}

static char *put(char *to, oa_str str) {
    if (str.len > 0)
        memcpy(to, str.data, str.len);
    return to + str.len;
}

static char *put_lengths(char *to, const oa_decision *decision) {
    const oa_members members = {
        .fields_len = (uint32_t)decision->fields.len,
        .event_properties_len = (uint32_t)decision->event_properties.len,
        .user_properties_len = (uint32_t)decision->user_properties.len,
    };
    return put(to, (oa_str){(const char *)&members, sizeof(members)});
}

/* Return how many bytes a decision takes behind its ids, in a record; most take none. */
static size_t measure_members(const oa_decision *decision) {
    const size_t len =
        decision->fields.len + decision->event_properties.len + decision->user_properties.len;
    return len > 0 ? sizeof(oa_members) + len : 0;
}

/* Return how many bytes a decision takes as a record. */
static size_t measure(const oa_arena *arena, const oa_decision *decision) {
    const size_t len = sizeof(oa_record) + decision->user_id.len + decision->device_id.len +
                       measure_members(decision);
    return ((len + OA_RECORD_UNIT - 1) & ~(size_t)(OA_RECORD_UNIT - 1)) +
           (arena->keeps_places ? sizeof(oa_entry_place) : 0);
}

bool oa_arena_could_take(const oa_arena *arena, const oa_decision *decision) {
    return measure(arena, decision) + sizeof(oa_chunk) <= arena->max_bytes;
}

oa_status oa_queue_append(oa_queue *queue, oa_variant *variant, const oa_decision *decision,
                          oa_record **out) {
    const bool has_members = measure_members(decision) > 0;
    oa_record *record = extend(queue, measure(queue->arena, decision), true);
    if (record == NULL)
        return OA_QUEUE_FULL;
    *record = (oa_record){
        .variant = variant,
        .user_id_len = decision->user_id.len & 0x1FFF,
        .device_id_len = decision->device_id.len & 0x1FFF,
        .has_members = has_members,
        .has_id = variant != NULL,
        .offset_units = (queue->last->last / OA_RECORD_UNIT) & 0x1FFF,
        .alone = decision->rendered,
        .rendered = decision->rendered,
        .has_place = queue->arena->keeps_places,
    };
    oa_variant_ref(variant);
    char *to = record->bytes;
    if (has_members)
        to = put_lengths(to, decision);
    to = put(to, decision->user_id);
    to = put(to, decision->device_id);
    if (has_members) {
        to = put(to, decision->fields);
        to = put(to, decision->event_properties);
        put(to, decision->user_properties);
    }
    *out = record;
    return OA_OK;
}

oa_status oa_queue_move(oa_queue *queue, oa_record *record) {
    const size_t len = bytes_of(record);
    oa_record *copy = extend(queue, len, false);
    if (copy == NULL)
        return OA_NOMEM;
    memcpy(copy, record, len);
    set_offset(copy, queue->last->last);
    oa_variant_ref(copy->variant);
    oa_record_release(queue->arena, record);
    return OA_OK;
}

oa_record *oa_queue_peek(const oa_queue *queue) {
    if (queue->count == 0)
        return NULL;
    if (queue->at == queue->first->used)
        return (oa_record *)(void *)queue->first->next->data;
    return (oa_record *)(void *)(queue->first->data + queue->at);
}

oa_record *oa_queue_next(const oa_record *record) {
    const oa_chunk *chunk = chunk_of(record);
    const size_t at = offset_of(record) + bytes_of(record);
    if (at < chunk->used)
        return (oa_record *)((uintptr_t)chunk->data + at);
    return chunk->next == NULL ? NULL : (oa_record *)(void *)chunk->next->data;
}

oa_record *oa_queue_take(oa_queue *queue) {
    if (queue->count == 0)
        return NULL;
    if (queue->at == queue->first->used) {
        oa_chunk *done = queue->first;
        queue->first = done->next;
        queue->at = 0;
        chunk_unref(queue->arena, done);
    }
    oa_record *record = (oa_record *)(void *)(queue->first->data + queue->at);
    queue->at += bytes_of(record);
    queue->count--;
    if (queue->count == 0) {
        /* Release the last chunk as well, so that an empty queue holds no memory. */
        chunk_unref(queue->arena, queue->last);
        queue->first = queue->last = NULL;
        queue->at = 0;
    }
    return record;
}

oa_record *oa_queue_last(const oa_queue *queue) {
    if (queue->count == 0)
        return NULL;
    return (oa_record *)(void *)(queue->last->data + queue->last->last);
}

void oa_record_release(oa_arena *arena, oa_record *record) {
    oa_chunk *chunk = chunk_of(record);
    oa_variant_unref(record->variant);
    chunk_unref(arena, chunk);
}
