#include "render.h"

#include <string.h>

#include <zlib.h>

#include "mem.h"

enum {
    GZIP_LEVEL = 1, /* bodies are repetitive: level 1 already shrinks them about tenfold */
    GZIP_WINDOW_BITS = 15 + 16, /* zlib's way to ask for a gzip header */
    GZIP_MEM_LEVEL = 8,
    /* Keys in one $set. Source: MAX_PROPERTY_KEYS of Amplitude's JavaScript SDK. */
    MAX_SHARED_RECORDS = 1000,
    KEEP_BODY_BYTES = 1 << 20, /* buffers above this are given back after a quiet spell */
};

struct oa_renderer {
    oa_hash_key hash_key;
    uint64_t nonce;
    bool compression;
    bool has_event;
    oa_buf head;            /* {"api_key":"...","events":[ */
    oa_buf tail;            /* ],"options":{...}} */
    oa_buf identify_middle; /* ","library":"...","user_properties":{"$set":{ */
    oa_buf event_head;      /* {"event_type":"Experiment Viewed" */
    oa_buf event_middle;    /* ","library":"...","groups":{...},"event_properties":{ */
    oa_buf body;
    oa_buf compressed;
    z_stream zip;
    bool zip_ready;
    char time[OA_BUF_INT_BYTES]; /* the last one, as text: many decisions share a millisecond */
    size_t time_len;
    int64_t time_ms;
    oa_event_owner owners[OA_BATCH_MAX_EVENTS];
};

static void *zip_alloc(void *opaque, unsigned count, unsigned size) {
    (void)opaque;
    return oa_mem_calloc(count, size);
}

static void zip_free(void *opaque, void *pointer) {
    (void)opaque;
    oa_mem_free(pointer);
}

static void render_constants(oa_renderer *renderer, const oa_config *config) {
    oa_buf *head = &renderer->head;
    OA_BUF_LITERAL(head, "{\"api_key\":");
    oa_buf_append_json(head, config->api_key);
    OA_BUF_LITERAL(head, ",\"events\":[");

    oa_buf *tail = &renderer->tail;
    OA_BUF_LITERAL(tail, "],\"options\":{\"min_id_length\":");
    oa_buf_append_int(tail, config->min_id_length);
    OA_BUF_LITERAL(tail, "}}");

    oa_buf *identify = &renderer->identify_middle;
    OA_BUF_LITERAL(identify, "\",\"library\":");
    oa_buf_append_json(identify, config->library);
    OA_BUF_LITERAL(identify, ",\"user_properties\":{\"$set\":{");

    renderer->has_event = config->event_type.data != NULL;
    oa_buf *event_head = &renderer->event_head;
    OA_BUF_LITERAL(event_head, "{\"event_type\":");
    oa_buf_append_json(event_head, config->event_type);

    oa_buf *event = &renderer->event_middle;
    OA_BUF_LITERAL(event, "\",\"library\":");
    oa_buf_append_json(event, config->library);
    if (config->groups_json.data != NULL) {
        OA_BUF_LITERAL(event, ",\"groups\":");
        oa_buf_append_str(event, config->groups_json);
    }
    OA_BUF_LITERAL(event, ",\"event_properties\":{");
}

oa_status oa_renderer_new(const oa_config *config, const oa_hash_key *hash_key, uint64_t nonce,
                          oa_renderer **out) {
    oa_renderer *renderer = oa_mem_calloc(1, sizeof(*renderer));
    if (renderer == NULL)
        return OA_NOMEM;
    renderer->hash_key = *hash_key;
    renderer->nonce = nonce;
    renderer->compression = config->compression;
    oa_buf *const bufs[] = {
        &renderer->head,         &renderer->tail, &renderer->identify_middle, &renderer->event_head,
        &renderer->event_middle, &renderer->body, &renderer->compressed};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
        oa_buf_init(bufs[i], SIZE_MAX / 2);
    render_constants(renderer, config);
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) {
        if (oa_buf_status(bufs[i]) != OA_OK) {
            oa_renderer_free(renderer);
            return OA_NOMEM;
        }
    }
    *out = renderer;
    return OA_OK;
}

void oa_renderer_free(oa_renderer *renderer) {
    if (renderer == NULL)
        return;
    if (renderer->zip_ready)
        deflateEnd(&renderer->zip);
    oa_buf_clear(&renderer->head);
    oa_buf_clear(&renderer->tail);
    oa_buf_clear(&renderer->identify_middle);
    oa_buf_clear(&renderer->event_head);
    oa_buf_clear(&renderer->event_middle);
    oa_buf_clear(&renderer->body);
    oa_buf_clear(&renderer->compressed);
    oa_mem_free(renderer);
}

void oa_renderer_trim(oa_renderer *renderer) {
    oa_buf_shrink(&renderer->body, KEEP_BODY_BYTES);
    oa_buf_shrink(&renderer->compressed, KEEP_BODY_BYTES);
}

/* What an insert_id is a hash of. No padding, so that its bytes are defined. */
typedef struct oa_id_input {
    oa_hash identity;
    oa_hash content;
    uint64_t nonce;
    uint32_t window;
    uint32_t turn;
    uint64_t kind; /* of event: see event_id() and identify_id() */
} oa_id_input;

static oa_hash insert_id(const oa_renderer *renderer, oa_hash identity, const oa_template *template,
                         oa_occurrence occurrence, uint64_t kind) {
    const oa_id_input input = {
        .identity = identity,
        .content = template->content,
        .nonce = renderer->nonce,
        .window = occurrence.window,
        .turn = occurrence.turn,
        .kind = kind,
    };
    return oa_hash_bytes(&renderer->hash_key, &input, sizeof(input));
}

static oa_hash event_id(const oa_renderer *renderer, const oa_record *record, oa_hash identity) {
    return insert_id(renderer, identity, record->template, record->occurrence, 'e');
}

/*
 * The id of a decision's part of a $identify.
 *
 * A batch that was taken apart sends other $identify events, and Amplitude may have the former ones (a
 * lost answer). Had only some of them new ids, then an old value would be set again, and the newer one
 * behind it passed over as a repeat. So all of them get new ids.
 */
static oa_hash identify_id(const oa_renderer *renderer, const oa_record *record, oa_hash identity) {
    const uint64_t kind = 'i' | (uint64_t)record->regrouped << 8;
    return insert_id(renderer, identity, record->template, record->occurrence, kind);
}

void oa_render_insert_id(const oa_renderer *renderer, oa_hash identity, const oa_template *template,
                         oa_occurrence occurrence, char out[33]) {
    oa_hash_hex(insert_id(renderer, identity, template, occurrence, 'e'), out);
    out[OA_HASH_HEX_BYTES] = '\0';
}

static void append_id(oa_buf *body, oa_hash hash) {
    char *to = oa_buf_reserve(body, OA_HASH_HEX_BYTES);
    if (to == NULL)
        return;
    oa_hash_hex(hash, to);
    body->len += OA_HASH_HEX_BYTES;
}

/* Append `,"user_id":"...","device_id":"...","time":...,"insert_id":"`. */
static void append_origin(oa_renderer *renderer, const oa_record *record) {
    oa_buf *body = &renderer->body;
    if (record->user_id_len > 0) {
        OA_BUF_LITERAL(body, ",\"user_id\":");
        oa_buf_append_json(body, oa_record_user_id(record));
    }
    if (record->device_id_len > 0) {
        OA_BUF_LITERAL(body, ",\"device_id\":");
        oa_buf_append_json(body, oa_record_device_id(record));
    }
    OA_BUF_LITERAL(body, ",\"time\":");
    if (record->time_ms != renderer->time_ms || renderer->time_len == 0) {
        renderer->time_len = oa_buf_format_int(record->time_ms, renderer->time);
        renderer->time_ms = record->time_ms;
    }
    oa_buf_append(body, renderer->time, renderer->time_len);
    OA_BUF_LITERAL(body, ",\"insert_id\":\"");
}

/* Who and when, as rendered already: most events of a run have it in common. */
typedef struct origin {
    size_t from; /* in the body */
    size_t len;
    int64_t time_ms;
} origin;

/* Returns where its origin is in the body. */
static origin append_identify(oa_renderer *renderer, oa_record *const *records, size_t count,
                              oa_hash identity) {
    oa_buf *body = &renderer->body;
    OA_BUF_LITERAL(body, "{\"event_type\":\"$identify\"");
    const size_t from = body->len;
    append_origin(renderer, records[0]);
    const origin common = {from, body->len - from, records[0]->time_ms};
    /* All of its decisions make the id: a retry without one of them is another event. */
    oa_hash id = identify_id(renderer, records[0], identity);
    for (size_t i = 1; i < count; i++) {
        const oa_hash pair[2] = {id, identify_id(renderer, records[i], identity)};
        id = oa_hash_bytes(&renderer->hash_key, pair, sizeof(pair));
    }
    append_id(body, id);
    oa_buf_append(body, renderer->identify_middle.data, renderer->identify_middle.len);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            OA_BUF_LITERAL(body, ",");
        oa_buf_append_str(body, records[i]->template->set_json);
    }
    if (records[0]->user_properties_len > 0) {
        OA_BUF_LITERAL(body, ",");
        oa_buf_append_str(body, oa_record_user_properties(records[0]));
    }
    OA_BUF_LITERAL(body, "}}}");
    return common;
}

static void append_event(oa_renderer *renderer, const oa_record *record, oa_hash identity,
                         origin common) {
    oa_buf *body = &renderer->body;
    OA_BUF_LITERAL(body, ",");
    oa_buf_append(body, renderer->event_head.data, renderer->event_head.len);
    if (record->time_ms == common.time_ms)
        oa_buf_repeat(body, common.from, common.len);
    else
        append_origin(renderer, record);
    append_id(body, event_id(renderer, record, identity));
    oa_buf_append(body, renderer->event_middle.data, renderer->event_middle.len);
    oa_buf_append_str(body, record->template->event_json);
    if (record->event_properties_len > 0) {
        OA_BUF_LITERAL(body, ",");
        oa_buf_append_str(body, oa_record_event_properties(record));
    }
    OA_BUF_LITERAL(body, "}}");
}

/* Whether `record` can share the $identify of `records[0..count)`, without a $set key twice. */
static bool can_share(oa_record *const *records, size_t count, const oa_record *record) {
    const oa_record *first = records[0];
    if (first->alone || record->alone || !oa_record_same_user(first, record))
        return false;
    const oa_str a = oa_record_user_properties(first);
    const oa_str b = oa_record_user_properties(record);
    if (a.len != b.len || memcmp(a.data, b.data, a.len) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (records[i]->template->flag_hash == record->template->flag_hash)
            return false;
    return true;
}

/* Return how many records from records[0] on share one $identify. */
static size_t run_length(oa_record *const *records, size_t count) {
    size_t length = 1;
    while (length < count && length < MAX_SHARED_RECORDS &&
           can_share(records, length, records[length]))
        length++;
    return length;
}

/* Render a run of records of one user: a $identify and an event for each. */
static void append_run(oa_renderer *renderer, oa_record *const *records, size_t count) {
    const oa_hash identity = oa_record_identity(records[0], &renderer->hash_key);
    const origin common = append_identify(renderer, records, count, identity);
    if (renderer->has_event)
        for (size_t i = 0; i < count; i++)
            append_event(renderer, records[i], identity, common);
}

static void own_run(oa_renderer *renderer, oa_rendering *out, size_t count) {
    const uint16_t first = (uint16_t)out->carried;
    renderer->owners[out->event_count++] = (oa_event_owner){first, (uint16_t)count};
    if (renderer->has_event)
        for (size_t i = 0; i < count; i++)
            renderer->owners[out->event_count++] = (oa_event_owner){(uint16_t)(first + i), 1};
    out->carried += count;
}

/* Return how many records of a run fit into the events that are left in the request. */
static size_t fit_events(const oa_renderer *renderer, size_t event_count, size_t run) {
    const size_t left = OA_BATCH_MAX_EVENTS - event_count;
    if (left == 0)
        return 0;
    if (!renderer->has_event)
        return run;
    return run < left ? run : left - 1;
}

static void compress_body(oa_renderer *renderer, oa_rendering *out) {
    oa_buf *to = &renderer->compressed;
    z_stream *zip = &renderer->zip;
    if (!renderer->zip_ready) {
        memset(zip, 0, sizeof(*zip));
        zip->zalloc = zip_alloc;
        zip->zfree = zip_free;
        if (deflateInit2(zip, GZIP_LEVEL, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEM_LEVEL,
                         Z_DEFAULT_STRATEGY) != Z_OK)
            return;
        renderer->zip_ready = true;
    }
    oa_buf_reset(to);
    const size_t bound = deflateBound(zip, renderer->body.len);
    if (bound > UINT32_MAX || oa_buf_reserve(to, bound) == NULL)
        return;
    zip->next_in = (Bytef *)(void *)renderer->body.data;
    zip->avail_in = (uInt)renderer->body.len;
    zip->next_out = (Bytef *)(void *)to->data;
    zip->avail_out = (uInt)bound;
    const bool done = deflate(zip, Z_FINISH) == Z_STREAM_END;
    to->len = bound - zip->avail_out;
    deflateReset(zip);
    if (!done)
        return;
    out->body = (oa_str){to->data, to->len};
    out->gzip = true;
}

oa_status oa_render(oa_renderer *renderer, const oa_batch *batch, size_t max_body_bytes,
                    oa_rendering *out) {
    oa_buf *body = &renderer->body;
    *out = (oa_rendering){.owners = renderer->owners};
    oa_buf_reset(body);
    oa_buf_append(body, renderer->head.data, renderer->head.len);
    while (out->carried < batch->count) {
        oa_record *const *records = batch->records + out->carried;
        size_t run = run_length(records, batch->count - out->carried);
        run = fit_events(renderer, out->event_count, run);
        if (run == 0)
            break;
        if (out->carried > 0)
            OA_BUF_LITERAL(body, ",");
        const size_t before = body->len;
        append_run(renderer, records, run);
        /* Before a truncation, which would forget it. */
        if (oa_buf_status(body) != OA_OK)
            return OA_NOMEM;
        while (run > 1 && body->len + renderer->tail.len > max_body_bytes) {
            run /= 2;
            oa_buf_truncate(body, before);
            append_run(renderer, records, run);
        }
        if (out->carried > 0 && body->len + renderer->tail.len > max_body_bytes) {
            oa_buf_truncate(body, before - 1);
            break;
        }
        own_run(renderer, out, run);
    }
    oa_buf_append(body, renderer->tail.data, renderer->tail.len);
    if (oa_buf_status(body) != OA_OK)
        return OA_NOMEM;
    out->body = (oa_str){body->data, body->len};
    out->body_bytes = body->len;
    /* Out of memory for compression is no reason not to send. */
    if (renderer->compression && body->len >= OA_RENDER_GZIP_MIN_BYTES)
        compress_body(renderer, out);
    return OA_OK;
}
