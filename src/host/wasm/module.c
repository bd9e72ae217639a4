/*
 * module.c: what the module exports: one dispatcher, for a host in JavaScript that has the clocks,
 * the timers and the network. It imports nothing.
 *
 * Numbers are passed as doubles, since a 64-bit integer is a BigInt in JavaScript; the two clocks
 * come with each call that needs the time. A text is passed by its address and length; a negative
 * length means absent. What is reported is a JSON text: a function returns its length, and
 * report_text() its address. [the only thread]
 */
#include <math.h>
#include <stdlib.h>

#include "json.h"
#include "oa.h"
#include "pages.h"
#include "report.h"

#define EXPORT(name) __attribute__((export_name(name)))

/* An id has 1024 characters at most, of three bytes each; what fills this buffer is too long. */
enum { ID_BYTES = 4096 };

/* A length that stands for a string that UTF-8 cannot hold. */
enum { MALFORMED = -2 };

/* The first id of a decision, and behind it the second one. */
static char ids[2 * ID_BYTES];

static oa_config config;
static oa_dispatcher *dispatcher;

static oa_now now_of(double wall_ms, double monotonic_ms) {
    return (oa_now){(int64_t)wall_ms, (uint64_t)monotonic_ms};
}

static oa_str text_of(const char *data, int len) {
    return len < 0 ? (oa_str){NULL, 0} : (oa_str){data, (size_t)len};
}

/* ---- Memory ---- */

EXPORT("alloc") void *module_alloc(size_t size) { return malloc(size); }

EXPORT("free") void module_free(void *pointer) { free(pointer); }

EXPORT("ids") char *module_ids(void) { return ids; }

/* Give back what is kept for later, and return how many pages are needed then. */
EXPORT("pages_needed") size_t module_pages_needed(void) {
    oa_dispatcher_trim(dispatcher);
    return oa_wasm_pages_needed();
}

EXPORT("pages_cut") void module_pages_cut(size_t count) { oa_wasm_pages_cut(count); }

/* ---- Reports ---- */

EXPORT("report_text") const char *module_report_text(void) { return oa_json_text(); }

EXPORT("describe") size_t module_describe(void) {
    oa_json_begin();
    oa_report_module();
    return oa_json_end();
}

EXPORT("stats") size_t module_stats(double wall_ms, double monotonic_ms) {
    oa_stats stats;
    oa_dispatcher_stats(dispatcher, now_of(wall_ms, monotonic_ms), &stats);
    oa_json_begin();
    oa_report_stats(&stats);
    return oa_json_end();
}

/* Return the kind of the next notice, whose arguments are the report; -1: there is none. */
EXPORT("next_notice") int module_next_notice(void) {
    oa_notice notice;
    if (!oa_dispatcher_next_notice(dispatcher, &notice))
        return -1;
    oa_json_begin();
    oa_report_notice(&notice);
    return (int)notice.kind;
}

EXPORT("report_len") size_t module_report_len(void) { return oa_json_end(); }

/* ---- Creation ---- */

/* What configure() sets: number `key` in the order of OA_CONFIG_MAP. */
enum {
#define KEY(member, key) KEY_##member,
#define NUMBER_KEY(type, member, key) KEY_##member,
    OA_CONFIG_MAP(KEY, KEY, NUMBER_KEY)
#undef NUMBER_KEY
#undef KEY
};

/* Return a whole number, clamped to `max`. */
static uint64_t clamp(double value, uint64_t max) {
    if (!(value > 0))
        return 0;
    return value < (double)max ? (uint64_t)value : max;
}

/* Set one value of the configuration. Borrows a text until create(). */
EXPORT("configure") void module_configure(int key, const char *text, int len, double number) {
    switch (key) {
#define SET_TEXT(member, name)                                                                     \
    case KEY_##member:                                                                             \
        config.member = text_of(text, len);                                                        \
        break;
#define SET_FLAG(member, name)                                                                     \
    case KEY_##member:                                                                             \
        config.member = number != 0;                                                               \
        break;
#define SET_NUMBER(type, member, name)                                                             \
    case KEY_##member:                                                                             \
        config.member = (type)clamp(number, (type)-1);                                             \
        break;
        OA_CONFIG_MAP(SET_TEXT, SET_FLAG, SET_NUMBER)
#undef SET_NUMBER
#undef SET_FLAG
#undef SET_TEXT
    default:
        break;
    }
}

/* Create the dispatcher. `high` and `low` are 64 random bits. Returns an oa_status. */
EXPORT("create") int module_create(uint32_t high, uint32_t low) {
    oa_wasm_pages_use();
    config.seed = (uint64_t)high << 32 | low;
    const oa_status status = oa_dispatcher_new(&config, &dispatcher);
    config = (oa_config){0};
    return status;
}

/* Return the id of a variant, whose three strings are one text; -1: memory ran out. */
EXPORT("add_variant")
int module_add_variant(const char *text, int flag_len, int variation_len, int rule_len,
                       bool enabled) {
    const oa_str flag = text_of(text, flag_len);
    const oa_str variation = text_of(text + flag.len, variation_len);
    const oa_str rule = text_of(text + flag.len + variation.len, rule_len);
    uint32_t id = 0;
    const oa_status status =
        oa_dispatcher_add_variant(dispatcher, flag, variation, rule, enabled, &id);
    return status == OA_OK ? (int)id : -1;
}

EXPORT("forget_variants") void module_forget_variants(void) {
    oa_dispatcher_forget_variants(dispatcher);
}

/* ---- Decisions and events ---- */

/* Add to a status, above it: why an id was left out, whether that was the device's, and what the
 * host is to do. */
static uint32_t result_of(oa_status status, oa_status left_out, bool is_malformed, bool has_device,
                          oa_wake wake) {
    enum { LEFT_OUT_SHIFT = 8, DEVICE = 1 << 16, WAKE_SHIFT = 24 };
    const uint32_t woken = (uint32_t)wake << WAKE_SHIFT;
    if (is_malformed)
        left_out = OA_ID_MALFORMED;
    if (status == OA_ID_MISSING && is_malformed)
        return OA_ID_MALFORMED | woken;
    if (status != OA_OK || left_out == OA_OK)
        return status | woken;
    return status | (uint32_t)left_out << LEFT_OUT_SHIFT | (has_device ? 0 : DEVICE) | woken;
}

static oa_str id_of(int at, int len) { return text_of(ids + at, len > 0 ? len : -1); }

/* Accept a decision; its ids are in ids(), its three other texts in one. */
EXPORT("record")
uint32_t module_record(double wall_ms, double monotonic_ms, uint32_t variant_id, int user_len,
                       int device_len, const char *text, int event_len, int user_properties_len,
                       int fields_len, bool rendered) {
    oa_decision decision = {.variant_id = variant_id, .rendered = rendered};
    oa_wake wake = OA_WAKE_NOT;
    decision.user_id = id_of(0, user_len);
    decision.device_id = id_of(ID_BYTES, device_len);
    decision.event_properties = text_of(text, event_len);
    text += decision.event_properties.len;
    decision.user_properties = text_of(text, user_properties_len);
    text += decision.user_properties.len;
    decision.fields = text_of(text, fields_len);
    const oa_status status =
        oa_dispatcher_record(dispatcher, now_of(wall_ms, monotonic_ms), &decision, &wake);
    return result_of(status, decision.left_out, user_len == MALFORMED || device_len == MALFORMED,
                     decision.device_id.data != NULL, wake);
}

EXPORT("track")
uint32_t module_track(double wall_ms, double monotonic_ms, int user_len, int device_len,
                      const char *event, int event_len) {
    oa_tracked tracked = {.event = text_of(event, event_len)};
    oa_wake wake = OA_WAKE_NOT;
    tracked.user_id = id_of(0, user_len);
    tracked.device_id = id_of(ID_BYTES, device_len);
    const oa_status status =
        oa_dispatcher_track(dispatcher, now_of(wall_ms, monotonic_ms), &tracked, &wake);
    return result_of(status, tracked.left_out, user_len == MALFORMED || device_len == MALFORMED,
                     tracked.device_id.data != NULL, wake);
}

/* ---- Waiting and ending ---- */

/* A ticket is a number that JavaScript knows a promise by. */
static void *ticket_of(uint32_t number) { return (void *)(uintptr_t)number; }

EXPORT("flush")
int module_flush(double wall_ms, double monotonic_ms, double timeout_ms, bool abort,
                 uint32_t ticket) {
    return oa_dispatcher_flush(dispatcher, now_of(wall_ms, monotonic_ms),
                               clamp(timeout_ms, UINT64_MAX), abort, ticket_of(ticket));
}

EXPORT("close")
int module_close(double wall_ms, double monotonic_ms, double timeout_ms, uint32_t ticket) {
    return oa_dispatcher_close(dispatcher, now_of(wall_ms, monotonic_ms),
                               clamp(timeout_ms, UINT64_MAX), ticket_of(ticket));
}

EXPORT("abort") double module_abort(void) { return (double)oa_dispatcher_abort(dispatcher); }

EXPORT("purge") void module_purge(void) { oa_dispatcher_purge(dispatcher); }

EXPORT("set_opt_out") void module_set_opt_out(bool opt_out) {
    oa_dispatcher_set_opt_out(dispatcher, opt_out);
}

EXPORT("step") void module_step(double wall_ms, double monotonic_ms) {
    oa_dispatcher_step(dispatcher, now_of(wall_ms, monotonic_ms));
}

EXPORT("next_due") double module_next_due(double wall_ms, double monotonic_ms) {
    const uint64_t due_ms = oa_dispatcher_next_due(dispatcher, now_of(wall_ms, monotonic_ms));
    return due_ms == UINT64_MAX ? (double)INFINITY : (double)due_ms;
}

/* ---- Attempts ---- */

EXPORT("take_attempt") oa_attempt *module_take_attempt(double wall_ms, double monotonic_ms) {
    return oa_dispatcher_take_attempt(dispatcher, now_of(wall_ms, monotonic_ms));
}

/* What to ask of the store, or to write to it, as a report; 0: nothing. */
EXPORT("attempt_ask") size_t module_attempt_ask(oa_attempt *attempt) {
    size_t count = 0;
    const oa_store_part *parts = oa_attempt_ask(attempt, &count);
    oa_json_begin();
    if (count > 0)
        oa_report_store(parts, count);
    return oa_json_end();
}

EXPORT("attempt_write") size_t module_attempt_write(oa_attempt *attempt) {
    size_t count = 0;
    const oa_store_part *parts = oa_attempt_write(attempt, &count);
    oa_json_begin();
    if (count > 0)
        oa_report_store(parts, count);
    return oa_json_end();
}

EXPORT("attempt_learn")
bool module_attempt_learn(oa_attempt *attempt, const int32_t *answers, size_t count) {
    return oa_dispatcher_learn(dispatcher, attempt, answers, count);
}

EXPORT("attempt_confirm")
void module_attempt_confirm(oa_attempt *attempt, const int32_t *answers, size_t count) {
    oa_attempt_confirm(attempt, answers, count);
}

EXPORT("attempt_render") int module_attempt_render(oa_attempt *attempt) {
    return oa_attempt_render(attempt);
}

EXPORT("attempt_body") const char *module_attempt_body(const oa_attempt *attempt) {
    return oa_attempt_body(attempt).data;
}

EXPORT("attempt_body_len") size_t module_attempt_body_len(const oa_attempt *attempt) {
    return oa_attempt_body(attempt).len;
}

EXPORT("attempt_is_gzip") bool module_attempt_is_gzip(const oa_attempt *attempt) {
    return oa_attempt_is_gzip(attempt);
}

/* `text` is the body of an answer, and behind it where it redirects to; or why none came. */
EXPORT("attempt_answer")
void module_attempt_answer(oa_attempt *attempt, int status_code, bool aborted, size_t sent_bytes,
                           double duration_ms, double retry_after_seconds, const char *text,
                           int text_len, int location_len) {
    oa_answer answer = {
        .status_code = status_code,
        .aborted = aborted,
        .sent_bytes = sent_bytes,
        .duration_ms = clamp(duration_ms, UINT64_MAX),
        .retry_after_seconds = (uint32_t)clamp(retry_after_seconds, UINT32_MAX),
    };
    *(status_code != 0 ? &answer.body : &answer.error) = text_of(text, text_len);
    if (status_code != 0)
        answer.location = text_of(text + text_len, location_len);
    oa_attempt_answer(attempt, &answer);
}

EXPORT("give_back")
void module_give_back(double wall_ms, double monotonic_ms, oa_attempt *attempt) {
    oa_dispatcher_give_back(dispatcher, now_of(wall_ms, monotonic_ms), attempt);
}
