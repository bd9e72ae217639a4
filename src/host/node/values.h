/*
 * values.h: what the core reports, as values of JavaScript, and what to trust, from them. For the
 * addon's C++ files.  [loop]
 */
#ifndef OA_HOST_VALUES_H
#define OA_HOST_VALUES_H

#include <string>

#include <napi.h>

#include "oa.h"
#include "uv.h"

/* A string, in `memory`; absent for anything else. */
inline oa_str ToStr(const Napi::Value &value, std::string *memory) {
    if (!value.IsString())
        return {nullptr, 0};
    *memory = value.As<Napi::String>().Utf8Value();
    return {memory->data(), memory->size()};
}

/* The arguments of setTrust(): pem, extraFile, hasOpenssl, opensslFile, opensslFolders. */
class TrustArguments {
  public:
    explicit TrustArguments(const Napi::CallbackInfo &info) {
        source_.pem = ToStr(info[0], &texts_[0]);
        source_.extra_file = ToStr(info[1], &texts_[1]);
        source_.has_openssl = info[2].ToBoolean();
        source_.openssl_file = ToStr(info[3], &texts_[2]);
        source_.openssl_dirs = ToStr(info[4], &texts_[3]);
    }
    /* Lent by this object. */
    const oa_trust_source *source() const { return &source_; }

  private:
    oa_trust_source source_ = {};
    std::string texts_[4];
};

inline napi_value ToString(napi_env env, oa_str str) {
    napi_value value = nullptr;
    if (str.data == nullptr)
        napi_get_null(env, &value);
    else
        napi_create_string_utf8(env, str.data, str.len, &value);
    return value;
}

inline Napi::Object ToDropped(Napi::Env env, const oa_dropped &decision) {
    Napi::Object object = Napi::Object::New(env);
    if (decision.user_id.data != nullptr)
        object.Set("userId", ToString(env, decision.user_id));
    if (decision.device_id.data != nullptr)
        object.Set("deviceId", ToString(env, decision.device_id));
    object.Set("time", static_cast<double>(decision.time_ms));
    if (decision.event.data != nullptr) {
        object.Set("event", ToString(env, decision.event));
        return object;
    }
    object.Set("flagKey", ToString(env, decision.flag_key));
    object.Set("variationKey", ToString(env, decision.variation_key));
    object.Set("ruleKey", ToString(env, decision.rule_key));
    object.Set("enabled", decision.enabled);
    object.Set("insertId", decision.insert_id);
    return object;
}

inline Napi::Object ToAttempt(Napi::Env env, const oa_attempt_notice &attempt) {
    const auto number = [env](double value) { return Napi::Number::New(env, value); };
    Napi::Object object = Napi::Object::New(env);
    object.Set("number", number(static_cast<double>(attempt.number)));
    object.Set("decisions", number(static_cast<double>(attempt.decision_count)));
    object.Set("events", number(static_cast<double>(attempt.event_count)));
    object.Set("bytes", number(static_cast<double>(attempt.body_bytes)));
    object.Set("compressed", attempt.gzip);
    object.Set("retry", attempt.again);
    object.Set("statusCode", attempt.status_code);
    object.Set("durationMillis", number(static_cast<double>(attempt.duration_ms)));
    object.Set("message", ToString(env, attempt.message));
    return object;
}

inline Napi::Object ToReasons(Napi::Env env, const uint64_t (&dropped)[OA_DROP_COUNT]) {
    Napi::Object object = Napi::Object::New(env);
    for (int i = 0; i < OA_DROP_COUNT; i++)
        object.Set(oa_drop_name(static_cast<oa_drop_reason>(i)), static_cast<double>(dropped[i]));
    return object;
}

inline Napi::Object ToCounts(Napi::Env env, const oa_counts &counts) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("accepted", static_cast<double>(counts.accepted));
    object.Set("delivered", static_cast<double>(counts.delivered));
    object.Set("pending", static_cast<double>(counts.pending));
    object.Set("dropped", ToReasons(env, counts.dropped));
    return object;
}

inline Napi::Object ToStats(Napi::Env env, const oa_stats &stats) {
    Napi::Object object = Napi::Object::New(env);
    const auto set = [&](const char *name, uint64_t value) {
        object.Set(name, static_cast<double>(value));
    };
    set("accepted", stats.accepted);
    set("deduplicated", stats.deduplicated);
    set("delivered", stats.delivered);
    set("pending", stats.pending);
    object.Set("tracked", ToCounts(env, stats.tracked));
    set("lateRepeats", stats.late_repeats);
    set("storeConflicts", stats.store_conflicts);
    set("requestsSent", stats.requests_sent);
    set("requestsRetried", stats.requests_retried);
    set("requestsFailed", stats.requests_failed);
    set("requestBytes", stats.request_bytes);
    set("eventsSent", stats.events_sent);
    set("queueBytes", stats.queue_bytes);
    set("queueHighWaterBytes", stats.queue_high_water_bytes);
    object.Set("health", oa_health_name(stats.health));
    set("failuresInARow", stats.failures_in_a_row);
    set("oldestPendingMillis", stats.oldest_pending_ms);
    if (stats.failing_since_ms != 0)
        object.Set("failingSince", static_cast<double>(stats.failing_since_ms));
    else
        object.Set("failingSince", env.Null());
    object.Set("dropped", ToReasons(env, stats.dropped));
    if (stats.has_error) {
        Napi::Object error = Napi::Object::New(env);
        error.Set("message", stats.error_message);
        error.Set("statusCode", stats.error_status_code);
        error.Set("time", static_cast<double>(stats.error_time_ms));
        object.Set("lastError", error);
    } else {
        object.Set("lastError", env.Null());
    }
    return object;
}

/* The figures of a journal, with why it takes no more, or NULL. */
inline Napi::Object ToSpool(Napi::Env env, const oa_spool_stats &stats, const char *error) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("bytes", static_cast<double>(stats.bytes));
    object.Set("segments", static_cast<double>(stats.segments));
    object.Set("found", static_cast<double>(stats.found));
    object.Set("missing", static_cast<double>(stats.missing));
    object.Set("unwritten", static_cast<double>(stats.unwritten));
    object.Set("diskOnly", static_cast<double>(stats.disk_only));
    object.Set("error",
               error == nullptr ? env.Null() : Napi::String::New(env, error).As<Napi::Value>());
    return object;
}

inline Napi::Object ToReport(Napi::Env env, const oa_flush_report &report) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("delivered", static_cast<double>(report.delivered));
    object.Set("dropped", static_cast<double>(report.dropped));
    object.Set("pending", static_cast<double>(report.pending));
    object.Set("durationMillis", static_cast<double>(report.duration_ms));
    return object;
}

/* What `text` says of each status, in their order. */
inline Napi::Array ToStatuses(Napi::Env env, const char *(*text)(oa_status)) {
    Napi::Array array = Napi::Array::New(env, OA_STATUS_COUNT);
    for (uint32_t i = 0; i < OA_STATUS_COUNT; i++)
        array.Set(i, text(static_cast<oa_status>(i)));
    return array;
}

/* A call to the store: the last five members have an item for each part. */
inline Napi::Object ToStoreCall(Napi::Env env, const oa_uv_store_call &call) {
    Napi::Array keys = Napi::Array::New(env, call.count);
    Napi::Array buckets = Napi::Array::New(env, call.count);
    Napi::Array texts = Napi::Array::New(env, call.count);
    Napi::Array counts = Napi::Array::New(env, call.count);
    Napi::Array expiries = Napi::Array::New(env, call.count);
    for (uint32_t i = 0; i < call.count; i++) {
        Napi::HandleScope scope(env);
        const oa_store_part &part = call.parts[i];
        keys.Set(i, ToString(env, {part.key, sizeof(part.key)}));
        buckets.Set(i, part.bucket);
        texts.Set(i, ToString(env, part.text));
        counts.Set(i, static_cast<double>(part.pair_count));
        expiries.Set(i, static_cast<double>(part.expires_ms));
    }
    Napi::Object object = Napi::Object::New(env);
    object.Set("id", call.id);
    object.Set("writes", call.writes);
    object.Set("keys", keys);
    object.Set("buckets", buckets);
    object.Set("texts", texts);
    object.Set("counts", counts);
    object.Set("expiries", expiries);
    return object;
}

inline void ThrowStatus(Napi::Env env, oa_status status) {
    Napi::Error error = Napi::Error::New(env, oa_status_message(status));
    error.Set("code", Napi::String::New(env, "ERR_OA_NATIVE"));
    error.ThrowAsJavaScriptException();
}

#endif
