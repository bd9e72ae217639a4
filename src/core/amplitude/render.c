#include "amplitude/render.h"

#include <string.h>

#include "mem.h"

enum { KEEP_BODY_BYTES = 1 << 20 }; /* a larger buffer is freed when nothing is pending */

struct oa_frame {
    oa_hash_key hash_key;
    uint64_t nonce;
    bool has_event;
    uint64_t event_kind;    /* hash of the event type: goes into insert_ids */
    oa_buf head;            /* {"api_key":"...","events":[ */
    oa_buf tail;            /* ],"options":{...}} */
    oa_buf identify_middle; /* ","library":"...","user_properties":{"$set":{ */
    oa_buf event_head;      /* {"event_type":"Experiment Viewed" */
    oa_buf event_middle;    /* ","library":"...","groups":{...},"event_properties":{ */
};

static void render_constants(oa_frame *frame, const oa_config *config) {
    oa_buf *head = &frame->head;
    OA_BUF_LITERAL(head, "{\"api_key\":");
    oa_buf_append_json(head, config->api_key);
    OA_BUF_LITERAL(head, ",\"events\":[");

    oa_buf *tail = &frame->tail;
    OA_BUF_LITERAL(tail, "],\"options\":{\"min_id_length\":");
    oa_buf_append_int(tail, config->min_id_length);
    OA_BUF_LITERAL(tail, "}}");

    oa_buf *identify = &frame->identify_middle;
    OA_BUF_LITERAL(identify, "\",\"library\":");
    oa_buf_append_json(identify, config->library);
    OA_BUF_LITERAL(identify, ",\"user_properties\":{\"$set\":{");

    frame->has_event = config->event_type.data != NULL;
    oa_buf *event_head = &frame->event_head;
    OA_BUF_LITERAL(event_head, "{\"event_type\":");
    oa_buf_append_json(event_head, config->event_type);

    oa_buf *event = &frame->event_middle;
    OA_BUF_LITERAL(event, "\",\"library\":");
    oa_buf_append_json(event, config->library);
    if (config->groups_json.data != NULL) {
        OA_BUF_LITERAL(event, ",\"groups\":");
        oa_buf_append_str(event, config->groups_json);
    }
    OA_BUF_LITERAL(event, ",\"event_properties\":{");
}

oa_status oa_frame_new(const oa_config *config, const oa_hash_key *hash_key, uint64_t nonce,
                       oa_frame **out) {
    oa_frame *frame = oa_mem_calloc(1, sizeof(*frame));
    if (frame == NULL)
        return OA_NOMEM;
    frame->hash_key = *hash_key;
    frame->nonce = nonce;
    frame->event_kind =
        oa_hash_bytes(hash_key, config->event_type.data, config->event_type.len).low;
    oa_buf *const bufs[] = {&frame->head, &frame->tail, &frame->identify_middle, &frame->event_head,
                            &frame->event_middle};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
        oa_buf_init(bufs[i], SIZE_MAX / 2);
    render_constants(frame, config);
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++) {
        if (oa_buf_status(bufs[i]) != OA_OK) {
            oa_frame_free(frame);
            return OA_NOMEM;
        }
    }
    *out = frame;
    return OA_OK;
}

void oa_frame_free(oa_frame *frame) {
    if (frame == NULL)
        return;
    oa_buf_clear(&frame->head);
    oa_buf_clear(&frame->tail);
    oa_buf_clear(&frame->identify_middle);
    oa_buf_clear(&frame->event_head);
    oa_buf_clear(&frame->event_middle);
    oa_mem_free(frame);
}

void oa_body_init(oa_body *body) {
    memset(body, 0, sizeof(*body));
    oa_buf_init(&body->text, SIZE_MAX / 2);
}

void oa_body_clear(oa_body *body) { oa_buf_clear(&body->text); }

void oa_body_trim(oa_body *body) { oa_buf_shrink(&body->text, KEEP_BODY_BYTES); }

/* What an insert_id is a hash of. No padding, so that its bytes are defined. */
typedef struct oa_id_input {
    oa_hash identity;
    oa_hash content;
    uint64_t nonce;
    uint32_t window;
    uint32_t turn;
    uint64_t kind; /* of event: see event_id() and identify_id() */
    int64_t time_ms;
} oa_id_input;

/* The id of an exposure: it covers no time, so every process that sees the exposure sends it. */
static oa_hash event_id(const oa_frame *frame, oa_hash identity, const oa_variant *variant,
                        oa_occurrence occurrence) {
    const oa_id_input input = {
        .identity = identity,
        .content = variant->content,
        .nonce = frame->nonce,
        .window = occurrence.window,
        .turn = occurrence.turn,
        .kind = frame->event_kind,
    };
    return oa_hash_bytes(&frame->hash_key, &input, sizeof(input));
}

/*
 * The id of a decision's part of a $identify: it covers what is set and when, so it repeats when it
 * is sent again and never otherwise. Were it that of the exposure, a user who is at A in one
 * process, at B in another and at A in a third would stay at B.
 *
 * A batch that was split sends different $identify events, and Amplitude may already have the
 * earlier ones (if an answer was lost). If only some of them had new ids, an old value would be set
 * again, and the newer one after it would be skipped as a repeat. So all of them get new ids.
 */
static oa_hash identify_id(const oa_frame *frame, oa_hash identity, const oa_record *record) {
    const oa_id_input input = {
        .identity = identity,
        .content = record->variant->set_hash,
        .nonce = frame->nonce,
        .window = record->occurrence.window,
        .turn = record->occurrence.turn, /* changes within a millisecond */
        .kind = 'i' | (uint64_t)record->regrouped << 8,
        .time_ms = record->time_ms,
    };
    return oa_hash_bytes(&frame->hash_key, &input, sizeof(input));
}

static oa_hash combine(const oa_frame *frame, oa_hash a, oa_hash b) {
    const oa_hash pair[2] = {a, b};
    return oa_hash_bytes(&frame->hash_key, pair, sizeof(pair));
}

/* The id of the $identify that `records` share. */
static oa_hash shared_id(const oa_frame *frame, oa_hash identity, oa_record *const *records,
                         size_t count) {
    oa_hash id = identify_id(frame, identity, records[0]);
    for (size_t i = 1; i < count; i++)
        id = combine(frame, id, identify_id(frame, identity, records[i]));
    const oa_str added = oa_record_user_properties(records[0]);
    if (added.len > 0)
        id = combine(frame, id, oa_hash_bytes(&frame->hash_key, added.data, added.len));
    return id;
}

void oa_render_insert_id(const oa_frame *frame, oa_hash identity, const oa_variant *variant,
                         oa_occurrence occurrence, char out[33]) {
    oa_hash_hex(event_id(frame, identity, variant, occurrence), out);
    out[OA_HASH_HEX_BYTES] = '\0';
}

static void append_id(oa_buf *text, oa_hash hash) {
    char *to = oa_buf_reserve(text, OA_HASH_HEX_BYTES);
    if (to == NULL)
        return;
    oa_hash_hex(hash, to);
    text->len += OA_HASH_HEX_BYTES;
}

/* Append `,"user_id":"...","device_id":"...","time":...,"insert_id":"`. */
static void append_origin(oa_body *body, const oa_record *record) {
    oa_buf *text = &body->text;
    if (record->user_id_len > 0) {
        OA_BUF_LITERAL(text, ",\"user_id\":");
        oa_buf_append_json(text, oa_record_user_id(record));
    }
    if (record->device_id_len > 0) {
        OA_BUF_LITERAL(text, ",\"device_id\":");
        oa_buf_append_json(text, oa_record_device_id(record));
    }
    OA_BUF_LITERAL(text, ",\"time\":");
    if (record->time_ms != body->time_ms || body->time_len == 0) {
        body->time_len = oa_buf_format_int(record->time_ms, body->time);
        body->time_ms = record->time_ms;
    }
    oa_buf_append(text, body->time, body->time_len);
    OA_BUF_LITERAL(text, ",\"insert_id\":\"");
}

/* User and time as already rendered: most events of a run share them. */
typedef struct origin {
    size_t from; /* in the body */
    size_t len;
    int64_t time_ms;
} origin;

/* Returns where its origin is in the body. */
static origin append_identify(const oa_frame *frame, oa_body *body, oa_record *const *records,
                              size_t count, oa_hash identity) {
    oa_buf *text = &body->text;
    OA_BUF_LITERAL(text, "{\"event_type\":\"$identify\"");
    const size_t from = text->len;
    append_origin(body, records[0]);
    const origin common = {from, text->len - from, records[0]->time_ms};
    append_id(text, shared_id(frame, identity, records, count));
    oa_buf_append(text, frame->identify_middle.data, frame->identify_middle.len);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            OA_BUF_LITERAL(text, ",");
        oa_buf_append_str(text, records[i]->variant->set_json);
    }
    if (records[0]->user_properties_len > 0) {
        OA_BUF_LITERAL(text, ",");
        oa_buf_append_str(text, oa_record_user_properties(records[0]));
    }
    OA_BUF_LITERAL(text, "}}}");
    return common;
}

static void append_event(const oa_frame *frame, oa_body *body, const oa_record *record,
                         oa_hash identity, origin common) {
    oa_buf *text = &body->text;
    OA_BUF_LITERAL(text, ",");
    oa_buf_append(text, frame->event_head.data, frame->event_head.len);
    if (record->time_ms == common.time_ms)
        oa_buf_repeat(text, common.from, common.len);
    else
        append_origin(body, record);
    append_id(text, event_id(frame, identity, record->variant, record->occurrence));
    oa_buf_append(text, frame->event_middle.data, frame->event_middle.len);
    oa_buf_append_str(text, record->variant->event_json);
    if (record->event_properties_len > 0) {
        OA_BUF_LITERAL(text, ",");
        oa_buf_append_str(text, oa_record_event_properties(record));
    }
    OA_BUF_LITERAL(text, "}}");
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
        if (records[i]->variant->flag_hash == record->variant->flag_hash)
            return false;
    return true;
}

/* Return how many records from records[0] on share one $identify. */
static size_t run_length(oa_record *const *records, size_t count) {
    size_t length = 1;
    while (length < count && length < OA_SET_MAX_KEYS &&
           can_share(records, length, records[length]))
        length++;
    return length;
}

/* Render a run of records of one user: a $identify and an event for each. */
static void append_run(const oa_frame *frame, oa_body *body, oa_record *const *records,
                       size_t count) {
    const oa_hash identity = oa_record_identity(records[0], &frame->hash_key);
    const origin common = append_identify(frame, body, records, count, identity);
    if (frame->has_event)
        for (size_t i = 0; i < count; i++)
            append_event(frame, body, records[i], identity, common);
}

static void own_run(const oa_frame *frame, oa_body *body, size_t count) {
    const uint16_t first = (uint16_t)body->carried;
    body->owners[body->event_count++] = (oa_event_owner){first, (uint16_t)count};
    if (frame->has_event)
        for (size_t i = 0; i < count; i++)
            body->owners[body->event_count++] = (oa_event_owner){(uint16_t)(first + i), 1};
    body->carried += count;
}

/* Return how many records of a run fit into the events that the request has left. */
static size_t fit_events(const oa_frame *frame, size_t event_count, size_t run) {
    const size_t left = OA_REQUEST_MAX_EVENTS - event_count;
    if (left == 0)
        return 0;
    if (!frame->has_event)
        return run;
    return run < left ? run : left - 1;
}

oa_status oa_render(const oa_frame *frame, const oa_batch *batch, size_t max_bytes, oa_body *body) {
    oa_buf *text = &body->text;
    body->carried = body->event_count = 0;
    oa_buf_reset(text);
    oa_buf_append(text, frame->head.data, frame->head.len);
    while (body->carried < batch->count) {
        oa_record *const *records = batch->records + body->carried;
        size_t run = run_length(records, batch->count - body->carried);
        run = fit_events(frame, body->event_count, run);
        if (run == 0)
            break;
        if (body->carried > 0)
            OA_BUF_LITERAL(text, ",");
        const size_t before = text->len;
        append_run(frame, body, records, run);
        /* Checked before a truncation, which would clear it. */
        if (oa_buf_status(text) != OA_OK)
            return OA_NOMEM;
        while (run > 1 && text->len + frame->tail.len > max_bytes) {
            run /= 2;
            oa_buf_truncate(text, before);
            append_run(frame, body, records, run);
        }
        if (body->carried > 0 && text->len + frame->tail.len > max_bytes) {
            oa_buf_truncate(text, before - 1);
            break;
        }
        own_run(frame, body, run);
    }
    oa_buf_append(text, frame->tail.data, frame->tail.len);
    return oa_buf_status(text) == OA_OK ? OA_OK : OA_NOMEM;
}
