#include "report.h"

#include "json.h"

static void put_number(const char *key, uint64_t value) {
    oa_json_key(key);
    oa_json_number(value);
}

static void put_string(const char *key, oa_str value) {
    oa_json_key(key);
    oa_json_string(value);
}

/* ---- The module ---- */

static void put_keys(void) {
#define TEXT_KEY(member, key) oa_json_name(key), oa_json_name("text");
#define FLAG_KEY(member, key) oa_json_name(key), oa_json_name("flag");
#define NUMBER_KEY(type, member, key) oa_json_name(key), oa_json_name("number");
    OA_CONFIG_MAP(TEXT_KEY, FLAG_KEY, NUMBER_KEY)
#undef NUMBER_KEY
#undef FLAG_KEY
#undef TEXT_KEY
}

static void put_statuses(const char *key, const char *(*text_of)(oa_status)) {
    oa_json_key(key);
    oa_json_open('[');
    for (int i = 0; i < OA_STATUS_COUNT; i++)
        oa_json_name(text_of((oa_status)i));
    oa_json_close(']');
}

void oa_report_module(void) {
    oa_json_open('{');
    oa_json_key("keys");
    oa_json_open('[');
    put_keys();
    oa_json_close(']');
    put_statuses("statusNames", oa_status_name);
    put_statuses("statusMessages", oa_status_message);
    oa_json_key("versions");
    oa_json_open('{');
    oa_json_key("cjson");
    oa_json_name(oa_cjson_version());
    oa_json_key("xxhash");
    oa_json_name(oa_xxhash_version());
    oa_json_close('}');
    oa_json_close('}');
}

/* ---- Counters ---- */

static void put_reasons(const uint64_t *dropped) {
    oa_json_key("dropped");
    oa_json_open('{');
    for (int i = 0; i < OA_DROP_COUNT; i++)
        put_number(oa_drop_name((oa_drop_reason)i), dropped[i]);
    oa_json_close('}');
}

static void put_error(const oa_stats *stats) {
    oa_json_key("lastError");
    if (!stats->has_error) {
        oa_json_null();
        return;
    }
    oa_json_open('{');
    oa_json_key("message");
    oa_json_name(stats->error_message);
    put_number("statusCode", (uint64_t)stats->error_status_code);
    oa_json_key("time");
    oa_json_time(stats->error_time_ms);
    oa_json_close('}');
}

void oa_report_stats(const oa_stats *stats) {
    oa_json_open('{');
    put_number("accepted", stats->accepted);
    put_number("deduplicated", stats->deduplicated);
    put_number("delivered", stats->delivered);
    put_number("pending", stats->pending);
    oa_json_key("tracked");
    oa_json_open('{');
    put_number("accepted", stats->tracked.accepted);
    put_number("delivered", stats->tracked.delivered);
    put_number("pending", stats->tracked.pending);
    put_reasons(stats->tracked.dropped);
    oa_json_close('}');
    put_number("lateRepeats", stats->late_repeats);
    put_number("storeConflicts", stats->store_conflicts);
    put_number("requestsSent", stats->requests_sent);
    put_number("requestsRetried", stats->requests_retried);
    put_number("requestsFailed", stats->requests_failed);
    put_number("requestBytes", stats->request_bytes);
    put_number("eventsSent", stats->events_sent);
    put_number("queueBytes", stats->queue_bytes);
    put_number("queueHighWaterBytes", stats->queue_high_water_bytes);
    oa_json_key("health");
    oa_json_name(oa_health_name(stats->health));
    put_number("failuresInARow", stats->failures_in_a_row);
    put_number("oldestPendingMillis", stats->oldest_pending_ms);
    oa_json_key("failingSince");
    if (stats->failing_since_ms != 0)
        oa_json_time(stats->failing_since_ms);
    else
        oa_json_null();
    put_reasons(stats->dropped);
    put_error(stats);
    oa_json_close('}');
}

/* ---- Notices ---- */

static void put_attempt(const oa_attempt_notice *attempt) {
    oa_json_open('{');
    put_number("number", attempt->number);
    put_number("decisions", attempt->decision_count);
    put_number("events", attempt->event_count);
    put_number("bytes", attempt->body_bytes);
    oa_json_key("compressed");
    oa_json_bool(attempt->gzip);
    oa_json_key("retry");
    oa_json_bool(attempt->again);
    put_number("statusCode", (uint64_t)attempt->status_code);
    put_number("durationMillis", attempt->duration_ms);
    put_string("message", attempt->message);
    oa_json_close('}');
}

static void put_dropped(const oa_dropped *decision) {
    oa_json_open('{');
    if (decision->user_id.data != NULL)
        put_string("userId", decision->user_id);
    if (decision->device_id.data != NULL)
        put_string("deviceId", decision->device_id);
    oa_json_key("time");
    oa_json_time(decision->time_ms);
    if (decision->event.data != NULL) {
        put_string("event", decision->event);
    } else {
        put_string("flagKey", decision->flag_key);
        put_string("variationKey", decision->variation_key);
        put_string("ruleKey", decision->rule_key);
        oa_json_key("enabled");
        oa_json_bool(decision->enabled);
        oa_json_key("insertId");
        oa_json_name(decision->insert_id);
    }
    oa_json_close('}');
}

static void put_drop(const oa_drop_notice *drop) {
    oa_json_name(oa_drop_name(drop->reason));
    oa_json_string(drop->message);
    oa_json_number((uint64_t)drop->status_code);
    oa_json_open('[');
    for (size_t i = 0; i < drop->count; i++)
        put_dropped(&drop->decisions[i]);
    oa_json_close(']');
}

static void put_flush(const oa_flush_notice *flush) {
    oa_json_number((uintptr_t)flush->ticket);
    oa_json_open('{');
    put_number("delivered", flush->report.delivered);
    put_number("dropped", flush->report.dropped);
    put_number("pending", flush->report.pending);
    put_number("durationMillis", flush->report.duration_ms);
    oa_json_close('}');
}

void oa_report_notice(const oa_notice *notice) {
    oa_json_open('[');
    switch (notice->kind) {
    case OA_NOTICE_CANCEL:
        break;
    case OA_NOTICE_ATTEMPT:
        put_attempt(&notice->about.attempt);
        break;
    case OA_NOTICE_LOG:
        oa_json_number((uint64_t)notice->about.log.level);
        oa_json_name(notice->about.log.topic);
        oa_json_string(notice->about.log.message);
        break;
    case OA_NOTICE_DROP:
        put_drop(&notice->about.drop);
        break;
    case OA_NOTICE_FLUSH:
        put_flush(&notice->about.flush);
        break;
    }
    oa_json_close(']');
}

/* ---- The store ---- */

void oa_report_store(const oa_store_part *parts, size_t count) {
    oa_json_open('[');
    for (size_t i = 0; i < count; i++) {
        oa_json_string((oa_str){parts[i].key, sizeof(parts[i].key)});
        oa_json_number(parts[i].bucket);
        oa_json_string(parts[i].text);
        oa_json_number(parts[i].pair_count);
        oa_json_time(parts[i].expires_ms);
    }
    oa_json_close(']');
}
