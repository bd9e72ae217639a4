#include "amplitude/render.h"

#include <string.h>

#include "mem.h"

struct oa_frame {
    oa_hash_key hash_key;
    uint64_t nonce;
    bool sends_identify;
    bool identifies_again; /* a $identify sets the property again */
    bool sends_exposure;
    bool sends_event;
    bool event_sets_property;
    uint64_t event_kind;    /* hash of the event type: goes into insert_ids */
    oa_buf head;            /* {"api_key":"...","events":[ */
    oa_buf tail;            /* ],"options":{...}} */
    oa_buf identify_head;   /* {"event_type":"$identify" */
    oa_buf identify_middle; /* ,"library":"...","user_properties":{"$set":{ */
    oa_buf exposure_head;   /* {"event_type":"$exposure" */
    oa_buf event_head;      /* {"event_type":"Experiment Viewed" */
    oa_buf event_middle;    /* ,"library":"...","groups":{...},"event_properties":{ */
    oa_buf bare_middle;     /* the same without groups, for records that have their own */
};

enum { FRAME_BUFS = 8 };

static void list_bufs(oa_frame *frame, oa_buf *bufs[FRAME_BUFS]) {
    oa_buf *const all[FRAME_BUFS] = {
        &frame->head,          &frame->tail,       &frame->identify_head, &frame->identify_middle,
        &frame->exposure_head, &frame->event_head, &frame->event_middle,  &frame->bare_middle};
    memcpy(bufs, all, sizeof(all));
}

/* Append further members of an object, if there are any. */
static void append_members(oa_buf *text, oa_str members) {
    if (members.len == 0)
        return;
    OA_BUF_LITERAL(text, ",");
    oa_buf_append_str(text, members);
}

/* What is the same in every event, behind its insert_id. */
static void render_library(oa_buf *middle, const oa_config *config) {
    OA_BUF_LITERAL(middle, ",\"library\":");
    oa_buf_append_json(middle, config->library);
    append_members(middle, config->constants_json);
}

static void render_event_middle(oa_buf *middle, const oa_config *config, oa_str groups_json) {
    render_library(middle, config);
    if (groups_json.data != NULL) {
        OA_BUF_LITERAL(middle, ",\"groups\":");
        oa_buf_append_str(middle, groups_json);
    }
    OA_BUF_LITERAL(middle, ",\"event_properties\":{");
}

static void render_constants(oa_frame *frame, const oa_config *config) {
    oa_buf *head = &frame->head;
    OA_BUF_LITERAL(head, "{\"api_key\":");
    oa_buf_append_json(head, config->api_key);
    OA_BUF_LITERAL(head, ",\"events\":[");

    oa_buf *tail = &frame->tail;
    OA_BUF_LITERAL(tail, "],\"options\":{\"min_id_length\":");
    oa_buf_append_int(tail, config->min_id_length);
    OA_BUF_LITERAL(tail, "}}");

    OA_BUF_LITERAL(&frame->identify_head, "{\"event_type\":\"$identify\"");
    oa_buf *identify = &frame->identify_middle;
    render_library(identify, config);
    OA_BUF_LITERAL(identify, ",\"user_properties\":{\"$set\":{");

    OA_BUF_LITERAL(&frame->exposure_head, "{\"event_type\":\"$exposure\"");
    oa_buf *event_head = &frame->event_head;
    OA_BUF_LITERAL(event_head, "{\"event_type\":");
    oa_buf_append_json(event_head, config->event_type);

    render_event_middle(&frame->event_middle, config, config->groups_json);
    render_event_middle(&frame->bare_middle, config, (oa_str){NULL, 0});
}

/* Hash what events of the dispatcher have in common and an insert_id has to cover: their type, and
 * what decides on the property if they set it. Errors: OA_NOMEM. */
static oa_status hash_event_kind(oa_frame *frame, const oa_config *config) {
    oa_buf kind;
    oa_buf_init(&kind, SIZE_MAX / 2);
    oa_buf_append_json(&kind, config->event_type);
    if (config->event_sets_property) {
        oa_buf_append_json(&kind, config->property_prefix);
        oa_buf_append_int(&kind, config->disabled_value_is_variation);
    }
    const oa_status status = oa_buf_status(&kind);
    if (status == OA_OK)
        frame->event_kind = oa_hash_bytes(&frame->hash_key, kind.data, kind.len).low;
    oa_buf_clear(&kind);
    return status;
}

oa_status oa_frame_new(const oa_config *config, const oa_hash_key *hash_key, uint64_t nonce,
                       oa_frame **out) {
    oa_frame *frame = oa_mem_calloc(1, sizeof(*frame));
    if (frame == NULL)
        return OA_NOMEM;
    frame->hash_key = *hash_key;
    frame->nonce = nonce;
    frame->sends_exposure = config->sends_exposure;
    frame->sends_event = config->event_type.data != NULL;
    frame->event_sets_property = config->event_sets_property;
    /* A decision is one event at least, and so is one that sets its property again. */
    frame->sends_identify =
        config->sends_identify || !(frame->sends_event || frame->sends_exposure);
    frame->identifies_again =
        frame->sends_identify || frame->event_sets_property || !frame->sends_exposure;
    oa_buf *bufs[FRAME_BUFS];
    list_bufs(frame, bufs);
    for (size_t i = 0; i < FRAME_BUFS; i++)
        oa_buf_init(bufs[i], SIZE_MAX / 2);
    render_constants(frame, config);
    oa_status status = hash_event_kind(frame, config);
    for (size_t i = 0; i < FRAME_BUFS; i++)
        if (oa_buf_status(bufs[i]) != OA_OK)
            status = OA_NOMEM;
    if (status == OA_OK)
        *out = frame;
    else
        oa_frame_free(frame);
    return status;
}

void oa_frame_free(oa_frame *frame) {
    if (frame == NULL)
        return;
    oa_buf *bufs[FRAME_BUFS];
    list_bufs(frame, bufs);
    for (size_t i = 0; i < FRAME_BUFS; i++)
        oa_buf_clear(bufs[i]);
    oa_mem_free(frame);
}

oa_event_counts oa_frame_event_counts(const oa_frame *frame) {
    const uint8_t next = (uint8_t)(frame->sends_exposure + frame->sends_event);
    return (oa_event_counts){(uint8_t)(frame->sends_identify + next), next};
}

/* Events that are not of the configured type, which has a hash in frame->event_kind. */
enum { KIND_IDENTIFY = 'i', KIND_EXPOSURE = 'x' };

/* What an insert_id is a hash of. No padding, so that its bytes are defined. */
typedef struct oa_id_input {
    oa_hash identity;
    oa_hash content;
    uint64_t nonce;
    uint32_t window;
    uint32_t turn;
    uint64_t kind; /* of event */
    int64_t time_ms;
} oa_id_input;

/* `time_ms` is 0 in an id that every process gives the same exposure. */
static oa_hash insert_id(const oa_frame *frame, oa_hash identity, oa_hash content,
                         oa_occurrence occurrence, uint64_t kind, int64_t time_ms) {
    const oa_id_input input = {
        .identity = identity,
        .content = content,
        .nonce = frame->nonce,
        .window = occurrence.window,
        .turn = occurrence.turn,
        .kind = kind,
        .time_ms = time_ms,
    };
    return oa_hash_bytes(&frame->hash_key, &input, sizeof(input));
}

static oa_hash event_id(const oa_frame *frame, oa_hash identity, const oa_record *record) {
    return insert_id(frame, identity, record->variant->content, record->occurrence,
                     frame->event_kind, 0);
}

/* The id of a $exposure; one that only sets the property again is another each time. */
static oa_hash exposure_id(const oa_frame *frame, oa_hash identity, const oa_record *record) {
    return insert_id(frame, identity, record->variant->content, record->occurrence, KIND_EXPOSURE,
                     record->property_only ? record->time_ms : 0);
}

/*
 * The id of a decision's part of a $identify: it covers what is set and when, so it repeats when it
 * is sent again and never otherwise. Were it that of the exposure, a user who is at A in one
 * process, at B in another and at A in a third would stay at B.
 *
 * A batch that was split sends different $identify events, and Amplitude may already have the
 * earlier ones (if an answer was lost). If only some of them had new ids, an old value would be set
 * again, and the newer one after it would be skipped as a repeat. So all of them get new ids; where
 * the newer one may be an event's, whose id cannot change, nothing is shared and no id changes.
 */
static oa_hash identify_id(const oa_frame *frame, oa_hash identity, const oa_record *record) {
    const uint64_t regrouped = frame->sends_identify ? record->regrouped : 0;
    return insert_id(frame, identity, record->variant->set_hash, record->occurrence,
                     KIND_IDENTIFY | regrouped << 8, record->time_ms);
}

static oa_hash combine(const oa_frame *frame, oa_hash a, oa_hash b) {
    const oa_hash pair[2] = {a, b};
    return oa_hash_bytes(&frame->hash_key, pair, sizeof(pair));
}

/* The id of the $identify that `records` share. It has its first half from `follows`, the id of the
 * event that comes next, or NULL: that compresses. The other half, 64 bits, is its own. */
static oa_hash shared_id(const oa_frame *frame, oa_hash identity, oa_record *const *records,
                         size_t count, const oa_hash *follows) {
    oa_hash id = identify_id(frame, identity, records[0]);
    for (size_t i = 1; i < count; i++)
        id = combine(frame, id, identify_id(frame, identity, records[i]));
    const oa_str shared[] = {oa_record_user_properties(records[0]), oa_record_fields(records[0])};
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
        if (shared[i].len > 0)
            id = combine(frame, id, oa_hash_bytes(&frame->hash_key, shared[i].data, shared[i].len));
    if (follows != NULL)
        id.high = follows->high;
    return id;
}

void oa_render_insert_id(const oa_frame *frame, oa_hash identity, const oa_variant *variant,
                         oa_occurrence occurrence, char out[33]) {
    const uint64_t kind =
        frame->sends_exposure && !frame->sends_event ? (uint64_t)KIND_EXPOSURE : frame->event_kind;
    oa_hash_hex(insert_id(frame, identity, variant->content, occurrence, kind, 0), out);
    out[OA_HASH_HEX_BYTES] = '\0';
}

/* The events of a record, in the order in which they are sent: what sets the properties comes
 * first. */
typedef enum event_rank {
    RANK_IDENTIFY,
    RANK_EXPOSURE,
    RANK_EVENT,
    RANK_EXPOSURE_AFTER, /* an event that sets the property */
    RANKS,
} event_rank;

static event_rank rank_of_exposure(const oa_frame *frame) {
    return frame->event_sets_property ? RANK_EXPOSURE_AFTER : RANK_EXPOSURE;
}

/* Append the event_id: it orders the events of a user in one millisecond, and has 31 bits. */
static void append_event_id(oa_buf *text, const oa_record *record, event_rank rank) {
    oa_buf_append_int(text, (int64_t)((record->seq * RANKS + rank) & INT32_MAX));
}

/* Append the rest of an insert_id, and what follows it. */
static void append_id(oa_body *body, oa_hash hash, const oa_record *record, event_rank rank) {
    oa_body_append_hash(body, hash);
    OA_BODY_LITERAL(body, OA_ROLE_EVENT_ID, "\",\"event_id\":");
    append_event_id(&body->text, record, rank);
}

static void append_part(oa_body *body, oa_role role, const oa_buf *part) {
    oa_body_append_constant(body, role, (oa_str){part->data, part->len});
}

/* Append further members of an object, if there are any. */
static void append_more(oa_body *body, oa_role role, oa_str members) {
    if (members.len == 0)
        return;
    OA_BUF_LITERAL(&body->text, ",");
    oa_body_append_like(body, role, members);
}

/* Append `,"user_id":"...","device_id":"..."`. */
static void append_ids(oa_buf *text, const oa_record *record) {
    if (record->user_id_len > 0) {
        OA_BUF_LITERAL(text, ",\"user_id\":");
        oa_buf_append_json(text, oa_record_user_id(record));
    }
    if (record->device_id_len > 0) {
        OA_BUF_LITERAL(text, ",\"device_id\":");
        oa_buf_append_json(text, oa_record_device_id(record));
    }
}

/* Append `,"user_id":"...","device_id":"...",<fields>,"time":...,"insert_id":"`. */
static void append_origin(oa_body *body, const oa_record *record) {
    oa_buf *text = &body->text;
    append_ids(text, record);
    append_more(body, OA_ROLE_FIELDS, oa_record_fields(record));
    OA_BODY_LITERAL(body, OA_ROLE_TIME, ",\"time\":");
    if (record->time_ms != body->time_ms || body->time_len == 0) {
        body->time_len = oa_buf_format_int(record->time_ms, body->time);
        body->time_ms = record->time_ms;
    }
    oa_buf_append(text, body->time, body->time_len);
    OA_BODY_LITERAL(body, OA_ROLE_ID, ",\"insert_id\":\"");
}

/* Records of one user that are rendered together. */
typedef struct run {
    const oa_frame *frame;
    oa_body *body;
    oa_record *const *records;
    size_t first; /* of them, in the batch */
    size_t count;
    oa_hash identity;
    /* User and time as rendered in the body: most events of a run share them. */
    size_t origin_at;
    size_t origin_len;
    int64_t origin_ms;
    /* Of the first record, if it has them. */
    oa_hash event_id;
    oa_hash exposure_id;
} run;

/* Whether a record has a part in a $identify. */
static bool has_identify(const oa_frame *frame, const oa_record *record) {
    if (record->rendered)
        return oa_record_user_properties(record).len > 0 &&
               (record->property_only || frame->sends_identify);
    return record->property_only ? frame->identifies_again : frame->sends_identify;
}

static bool has_exposure(const oa_frame *frame, const oa_record *record) {
    return record->rendered ? oa_record_fields(record).len > 0 : frame->sends_exposure;
}

static bool has_event(const oa_frame *frame, const oa_record *record) {
    if (record->rendered) /* what is without a $identify is sent as it was */
        return oa_record_event_properties(record).len > 0 &&
               !(record->property_only && oa_record_user_properties(record).len > 0);
    return frame->sends_event && !record->property_only;
}

bool oa_frame_sends_rendered(const oa_frame *frame, const oa_decision *decision) {
    return (decision->user_properties.len > 0 && frame->sends_identify) ||
           decision->fields.len > 0 || decision->event_properties.len > 0;
}

uint8_t oa_frame_count_rendered(const oa_frame *frame, const oa_record *record) {
    return (uint8_t)(has_identify(frame, record) + has_exposure(frame, record) +
                     has_event(frame, record));
}

/* Note that the event that is appended next stands for `count` records from `at` of the run on. */
static void own_event(run *r, size_t at, size_t count) {
    oa_body *body = r->body;
    body->owners[body->event_count++] =
        (oa_event_owner){(uint16_t)(r->first + at), (uint16_t)count};
}

/* Append an event that came rendered; `id` is that of a decision. */
static void append_rendered(run *r, oa_str members, const oa_hash *id, event_rank rank) {
    static const oa_role roles[RANKS] = {
        [RANK_IDENTIFY] = OA_ROLE_IDENTIFY,
        [RANK_EXPOSURE] = OA_ROLE_EXPOSURE,
        [RANK_EVENT] = OA_ROLE_EVENT,
        [RANK_EXPOSURE_AFTER] = OA_ROLE_EXPOSURE,
    };
    oa_buf *text = &r->body->text;
    const oa_record *record = r->records[0];
    own_event(r, 0, 1);
    OA_BUF_LITERAL(text, "{");
    oa_body_append_like(r->body, roles[rank], members);
    append_ids(text, record);
    if (id == NULL) {
        OA_BODY_LITERAL(r->body, OA_ROLE_EVENT_ID, ",\"event_id\":");
        append_event_id(text, record, rank);
    } else {
        OA_BODY_LITERAL(r->body, OA_ROLE_ID, ",\"insert_id\":\"");
        append_id(r->body, *id, record, rank);
    }
    OA_BUF_LITERAL(text, "},");
}

/* Return the id of the event that follows the $identify of a run, or NULL. */
static const oa_hash *first_id(const run *r) {
    const bool has_one = has_event(r->frame, r->records[0]);
    if (has_exposure(r->frame, r->records[0]) && !(has_one && r->frame->event_sets_property))
        return &r->exposure_id;
    return has_one ? &r->event_id : NULL;
}

/* Render the events of a record that came rendered, which is a run by itself. */
static void append_all_rendered(run *r) {
    const oa_frame *frame = r->frame;
    const oa_record *record = r->records[0];
    if (oa_record_is_tracked(record)) {
        append_rendered(r, oa_record_event_properties(record), NULL, RANK_EVENT);
        return;
    }
    if (has_identify(frame, record)) {
        const oa_hash id = shared_id(frame, r->identity, r->records, 1, first_id(r));
        append_rendered(r, oa_record_user_properties(record), &id, RANK_IDENTIFY);
    }
    const bool sends_event = has_event(frame, record);
    if (sends_event && frame->event_sets_property)
        append_rendered(r, oa_record_event_properties(record), &r->event_id, RANK_EVENT);
    if (has_exposure(frame, record))
        append_rendered(r, oa_record_fields(record), &r->exposure_id, rank_of_exposure(frame));
    if (sends_event && !frame->event_sets_property)
        append_rendered(r, oa_record_event_properties(record), &r->event_id, RANK_EVENT);
}

/* Append the beginning of an event of record `at` of the run, and note that it stands for `count`
 * records. Every event ends with a comma. */
static void start_event(run *r, const oa_buf *head, size_t at, size_t count) {
    oa_body *body = r->body;
    const oa_record *record = r->records[at];
    own_event(r, at, count);
    append_part(body, OA_ROLE_HEAD, head);
    if (r->origin_len > 0 && record->time_ms == r->origin_ms) {
        oa_body_repeat(body, r->origin_at, r->origin_len);
        return;
    }
    r->origin_at = body->text.len;
    append_origin(body, record);
    r->origin_len = body->text.len - r->origin_at;
    r->origin_ms = record->time_ms;
}

static void append_identify(run *r) {
    const oa_frame *frame = r->frame;
    oa_buf *text = &r->body->text;
    start_event(r, &frame->identify_head, 0, r->count);
    append_id(r->body, shared_id(frame, r->identity, r->records, r->count, first_id(r)),
              r->records[0], RANK_IDENTIFY);
    append_part(r->body, OA_ROLE_MIDDLE, &frame->identify_middle);
    for (size_t i = 0; i < r->count; i++) {
        if (i > 0)
            OA_BUF_LITERAL(text, ",");
        oa_body_append_constant(r->body, OA_ROLE_SET, r->records[i]->variant->set_json);
    }
    append_more(r->body, OA_ROLE_USER_PROPERTIES, oa_record_user_properties(r->records[0]));
    OA_BUF_LITERAL(text, "}}},");
}

static bool has_groups(const oa_record *record) {
    static const char key[] = "\"groups\":";
    const oa_str fields = oa_record_fields(record);
    return fields.len >= sizeof(key) && memcmp(fields.data, key, sizeof(key) - 1) == 0;
}

static void append_middle(run *r, const oa_record *record) {
    const oa_frame *frame = r->frame;
    const oa_buf *middle = has_groups(record) ? &frame->bare_middle : &frame->event_middle;
    append_part(r->body, OA_ROLE_MIDDLE, middle);
}

static void append_exposure(run *r, size_t at) {
    const oa_frame *frame = r->frame;
    const oa_record *record = r->records[at];
    oa_buf *text = &r->body->text;
    start_event(r, &frame->exposure_head, at, 1);
    append_id(r->body, at == 0 ? r->exposure_id : exposure_id(frame, r->identity, record), record,
              rank_of_exposure(frame));
    append_middle(r, record);
    oa_body_append_constant(r->body, OA_ROLE_VARIANT, record->variant->exposure_json);
    append_more(r->body, OA_ROLE_EVENT_PROPERTIES, oa_record_event_properties(record));
    OA_BUF_LITERAL(text, "}},");
}

static void append_event(run *r, size_t at) {
    const oa_frame *frame = r->frame;
    const oa_record *record = r->records[at];
    const oa_variant *variant = record->variant;
    oa_buf *text = &r->body->text;
    start_event(r, &frame->event_head, at, 1);
    append_id(r->body, at == 0 ? r->event_id : event_id(frame, r->identity, record), record,
              RANK_EVENT);
    append_middle(r, record);
    oa_body_append_constant(r->body, OA_ROLE_VARIANT, variant->event_json);
    append_more(r->body, OA_ROLE_EVENT_PROPERTIES, oa_record_event_properties(record));
    if (frame->event_sets_property) {
        OA_BUF_LITERAL(text, "},\"user_properties\":{");
        oa_body_append_constant(r->body, OA_ROLE_SET, variant->set_json);
        append_more(r->body, OA_ROLE_USER_PROPERTIES, oa_record_user_properties(record));
    }
    OA_BUF_LITERAL(text, "}},");
}

static bool is_equal(oa_str a, oa_str b) {
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

/* Whether `record` can follow `records[0..count)` in a run: a $identify that not all records have
 * is not shared, see identify_id(), and no $set may have a key twice. */
static bool can_follow(const oa_frame *frame, oa_record *const *records, size_t count,
                       const oa_record *record) {
    const oa_record *first = records[0];
    if (first->alone || record->alone || !oa_record_same_user(first, record) ||
        has_identify(frame, first) != frame->sends_identify ||
        has_identify(frame, record) != frame->sends_identify)
        return false;
    if (!is_equal(oa_record_user_properties(first), oa_record_user_properties(record)) ||
        !is_equal(oa_record_fields(first), oa_record_fields(record)))
        return false;
    for (size_t i = 0; i < count; i++)
        if (records[i]->variant->flag_hash == record->variant->flag_hash)
            return false;
    return true;
}

/* Return how many records from records[0] on make a run of at most `most_events` events. */
static size_t run_length(const oa_frame *frame, oa_record *const *records, size_t count,
                         size_t most_events) {
    size_t events = has_identify(frame, records[0]);
    size_t length = 0;
    while (length < count && length < OA_SET_MAX_KEYS &&
           (length == 0 || can_follow(frame, records, length, records[length]))) {
        events += has_exposure(frame, records[length]) + has_event(frame, records[length]);
        if (events > most_events)
            break;
        length++;
    }
    return length;
}

/* Render a run: an event gets the properties that its user has then, so what sets them comes first;
 * a $exposure sets Amplitude Experiment's. */
static void append_run(const oa_frame *frame, oa_record *const *records, size_t count,
                       oa_body *body) {
    run r = {
        .frame = frame,
        .body = body,
        .records = records,
        .first = body->carried,
        .count = count,
        .identity = oa_record_identity(records[0], &frame->hash_key),
    };
    const bool is_decision = !oa_record_is_tracked(records[0]);
    if (is_decision && has_event(frame, records[0]))
        r.event_id = event_id(frame, r.identity, records[0]);
    if (is_decision && has_exposure(frame, records[0]))
        r.exposure_id = exposure_id(frame, r.identity, records[0]);
    if (records[0]->rendered) {
        append_all_rendered(&r);
        return;
    }
    if (has_identify(frame, records[0]))
        append_identify(&r);
    for (size_t i = 0; i < count; i++) {
        const bool sends_event = has_event(frame, records[i]);
        if (sends_event && frame->event_sets_property)
            append_event(&r, i);
        if (frame->sends_exposure)
            append_exposure(&r, i);
        if (sends_event && !frame->event_sets_property)
            append_event(&r, i);
    }
}

/* Whether a body whose last event ends with a comma is too large with its tail. */
static bool is_over(const oa_frame *frame, const oa_buf *text, size_t max_bytes) {
    return text->len - 1 + frame->tail.len > max_bytes;
}

static oa_status render_text(const oa_frame *frame, const oa_batch *batch, size_t max_bytes,
                             oa_body *body) {
    oa_buf *text = &body->text;
    oa_buf_append(text, frame->head.data, frame->head.len);
    while (body->carried < batch->count) {
        oa_record *const *records = batch->records + body->carried;
        const size_t len_before = text->len;
        const size_t events_before = body->event_count;
        size_t length = run_length(frame, records, batch->count - body->carried,
                                   OA_REQUEST_MAX_EVENTS - events_before);
        if (length == 0)
            break;
        append_run(frame, records, length, body);
        /* Checked before a truncation, which would clear it. */
        if (oa_buf_status(text) != OA_OK)
            return OA_NOMEM;
        while (is_over(frame, text, max_bytes) && length > 1) {
            length /= 2;
            oa_body_cut(body, len_before, events_before);
            append_run(frame, records, length, body);
        }
        if (is_over(frame, text, max_bytes) && body->carried > 0) {
            oa_body_cut(body, len_before, events_before);
            break;
        }
        body->carried += length;
    }
    oa_buf_truncate(text, text->len - 1); /* the last comma */
    oa_buf_append(text, frame->tail.data, frame->tail.len);
    return oa_buf_status(text) == OA_OK ? OA_OK : OA_NOMEM;
}

oa_status oa_render(const oa_frame *frame, const oa_batch *batch, size_t max_bytes, bool gzip,
                    oa_body *body) {
    oa_body_begin(body, gzip);
    const oa_status status = render_text(frame, batch, max_bytes, body);
    if (status == OA_OK)
        oa_body_end(body);
    return status;
}
