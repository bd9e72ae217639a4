#include "notices.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "state.h"

enum {
    MAX_LINE_BYTES = 640,
    MAX_LINES_BYTES = 1 << 20, /* the decisions of a request, one line each, when debugging */
    KEEP_LINES_BYTES = 4096,
    MAX_REFUSED_BYTES = 1 << 20, /* some 10,000 decisions */
    REFUSED_CHUNK_BYTES = 4096,  /* one that is told slowly holds few others */
};

typedef struct line_header {
    const char *topic;
    size_t len;
    oa_log_level level;
} line_header;

void oa_notices_init(oa_notices *notices, const oa_config *config) {
    memset(notices, 0, sizeof(*notices));
    notices->debug = config->debug;
    notices->report_drops = config->report_drops;
    oa_buf_init(&notices->lines, MAX_LINES_BYTES);
    oa_arena_init(&notices->refused_arena, MAX_REFUSED_BYTES);
    notices->refused_arena.chunk_bytes = REFUSED_CHUNK_BYTES;
    oa_queue_init(&notices->refused, &notices->refused_arena);
}

/* Refused records stay in their queue until they are handed out: while it holds the last of them,
 * the next one goes into the same chunk. */
static void take_refused(oa_notices *notices) {
    while (notices->refused.count > 0)
        oa_queue_take(&notices->refused);
}

/* Release a record that was reported, or never will be. */
static void release(oa_notices *notices, oa_arena *arena, oa_record *record) {
    oa_record_release(record->refused ? &notices->refused_arena : arena, record);
}

/* Release the records that the last notice lent. */
static void take_back(oa_notices *notices, oa_arena *arena) {
    for (size_t i = 0; i < notices->lent_count; i++)
        release(notices, arena, notices->lent_records[i]);
    notices->lent_count = 0;
}

static void release_all(oa_notices *notices, oa_arena *arena, oa_drops *drops) {
    while (drops->first != NULL) {
        oa_record *record = drops->first;
        drops->first = record->next;
        release(notices, arena, record);
    }
}

void oa_notices_clear(oa_notices *notices, oa_arena *arena) {
    take_back(notices, arena);
    take_refused(notices);
    for (size_t reason = 0; reason < OA_DROP_COUNT; reason++) {
        release_all(notices, arena, &notices->drops[false][reason]);
        release_all(notices, arena, &notices->drops[true][reason]);
    }
    oa_arena_clear(&notices->refused_arena);
    oa_buf_clear(&notices->lines);
}

void oa_notices_log(oa_notices *notices, oa_log_level level, const char *topic, const char *format,
                    ...) {
    if (level == OA_LOG_DEBUG && !notices->debug)
        return;
    char text[MAX_LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    const int len = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (len < 0)
        return;
    const size_t cut = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
    const line_header header = {topic, cut, level};
    const size_t before = notices->lines.len;
    oa_buf_append(&notices->lines, (const char *)&header, sizeof(header));
    oa_buf_append(&notices->lines, text, cut);
    if (oa_buf_status(&notices->lines) != OA_OK)
        oa_buf_truncate(&notices->lines, before);
}

static void link_drop(oa_notices *notices, oa_record *record, oa_drop_reason reason,
                      int status_code, const char *message) {
    oa_drops *drops = &notices->drops[record->refused][reason];
    record->next = NULL;
    if (drops->first == NULL)
        drops->first = record;
    else
        drops->last->next = record;
    drops->last = record;
    drops->status_code = status_code;
    if (strcmp(drops->message, message) != 0)
        snprintf(drops->message, sizeof(drops->message), "%s", message);
}

void oa_notices_drop(oa_notices *notices, oa_arena *arena, oa_record *record, oa_drop_reason reason,
                     int status_code, const char *message) {
    if (notices->report_drops)
        link_drop(notices, record, reason, status_code, message);
    else
        oa_record_release(arena, record);
}

bool oa_notices_refuse(oa_notices *notices, oa_variant *variant, const oa_decision *decision,
                       int64_t time_ms, const oa_occurrence *occurrence, oa_status status,
                       oa_drop_reason reason) {
    if (!notices->report_drops)
        return false;
    oa_decision bare = *decision;
    if (variant != NULL) /* fields and properties are not part of a report */
        bare.fields = bare.event_properties = bare.user_properties = (oa_str){NULL, 0};
    oa_record *record = NULL;
    if (oa_queue_append(&notices->refused, variant, &bare, &record) != OA_OK) {
        notices->untold++;
        return true;
    }
    record->time_ms = time_ms;
    record->refused = true;
    record->has_id = occurrence != NULL;
    if (occurrence != NULL)
        record->occurrence = *occurrence;
    link_drop(notices, record, reason, 0, oa_status_message(status));
    return notices->refused_arena.bytes > MAX_REFUSED_BYTES / 2;
}

/* ---- Handing out ---- */

static oa_str text_of(const char *text) { return (oa_str){text, strlen(text)}; }

static bool next_line(oa_notices *notices, oa_notice *out) {
    oa_buf *lines = &notices->lines;
    if (notices->lines_at == lines->len) {
        oa_buf_reset(lines);
        oa_buf_shrink(lines, KEEP_LINES_BYTES);
        notices->lines_at = 0;
        return false;
    }
    line_header header;
    memcpy(&header, lines->data + notices->lines_at, sizeof(header));
    const char *text = lines->data + notices->lines_at + sizeof(header);
    notices->lines_at += sizeof(header) + header.len;
    out->kind = OA_NOTICE_LOG;
    out->about.log = (oa_log_notice){header.level, header.topic, {text, header.len}};
    return true;
}

static void describe(const oa_dispatcher *d, const oa_record *record, oa_dropped *out) {
    const oa_variant *variant = record->variant;
    if (variant == NULL) {
        *out = (oa_dropped){
            .user_id = oa_record_user_id(record),
            .device_id = oa_record_device_id(record),
            .event = oa_record_event_properties(record),
            .time_ms = record->time_ms,
        };
        return;
    }
    *out = (oa_dropped){
        .user_id = oa_record_user_id(record),
        .device_id = oa_record_device_id(record),
        .flag_key = variant->flag_key,
        .variation_key = variant->variation_key,
        .rule_key = variant->rule_key,
        .enabled = variant->enabled,
        .time_ms = record->time_ms,
    };
    if (record->has_id)
        oa_render_insert_id(d->frame, oa_record_identity(record, &d->hash_key), variant,
                            record->occurrence, out->insert_id);
}

/* Lend the first of the drops of one reason. False when there are none. */
static bool lend_drops(oa_dispatcher *d, oa_drops *drops, oa_drop_reason reason, oa_notice *out) {
    oa_notices *notices = &d->notices;
    size_t count = 0;
    for (; drops->first != NULL && count < OA_DROPS_AT_ONCE; count++) {
        oa_record *record = drops->first;
        drops->first = record->next;
        notices->lent_records[count] = record;
        describe(d, record, &notices->lent[count]);
    }
    if (count == 0)
        return false;
    notices->lent_count = count;
    out->kind = OA_NOTICE_DROP;
    out->about.drop =
        (oa_drop_notice){reason, drops->status_code, text_of(drops->message), notices->lent, count};
    return true;
}

static bool next_drops(oa_dispatcher *d, oa_notice *out) {
    take_refused(&d->notices);
    for (size_t refused = 0; refused < 2; refused++)
        for (size_t reason = 0; reason < OA_DROP_COUNT; reason++)
            if (lend_drops(d, &d->notices.drops[refused][reason], (oa_drop_reason)reason, out))
                return true;
    return false;
}

static bool next_flush(oa_dispatcher *d, oa_notice *out) {
    oa_waiter waiter;
    if (!oa_flushes_next(&d->flushes, &waiter))
        return false;
    out->kind = OA_NOTICE_FLUSH;
    out->about.flush = (oa_flush_notice){waiter.ticket, waiter.report};
    return true;
}

static bool next_attempt(oa_dispatcher *d, oa_notice *out) {
    oa_lane *first = NULL;
    OA_EACH_LANE (lane, &d->lanes)
        if (lane->has_notice && (first == NULL || lane->notice.number < first->notice.number))
            first = lane;
    if (first == NULL)
        return false;
    first->has_notice = false;
    out->kind = OA_NOTICE_ATTEMPT;
    out->about.attempt = first->notice;
    return true;
}

bool oa_dispatcher_next_notice(oa_dispatcher *d, oa_notice *out) {
    oa_notices *notices = &d->notices;
    take_back(notices, &d->arena);
    if (d->phase >= OA_PHASE_CLOSED)
        oa_arena_clear(&d->arena);
    if (notices->cancel) {
        notices->cancel = false;
        out->kind = OA_NOTICE_CANCEL;
        return true;
    }
    if (next_attempt(d, out))
        return true;
    if (notices->untold > 0) {
        oa_notices_log(notices, OA_LOG_WARN, "untold",
                       "%" PRIu64 " records were refused too fast to be reported to onDrop",
                       notices->untold);
        notices->untold = 0;
    }
    return next_line(notices, out) || next_drops(d, out) || next_flush(d, out);
}
