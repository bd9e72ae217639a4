/*
 * binding.cc: the only file with Node-API or C++. It translates between JavaScript and core/oa.h, and
 * decides nothing.  [loop]
 *
 * Lifetimes. A Host owns a core dispatcher and what ties it to its environment. It ends when its
 * JavaScript object is collected or its environment is torn down, whichever comes first; the core may
 * need some turns of the loop for that (a request in the thread pool has to come back), so an async
 * cleanup hook keeps the environment until it has. Without the hook Node aborts the process:
 * "uv_loop_close() while having open handles".
 *
 * The hot call (record) is raw Node-API and takes flat arguments; everything else reads comfortably.
 */
#include <cstdlib>
#include <cstring>
#include <string>

#include <napi.h>

#include "oa.h"

namespace {

/* An id has 1024 characters at most, three bytes each; what fills this buffer is too long anyway. */
constexpr size_t kIdBytes = 4096;

class Dispatcher;

struct Host {
    explicit Host(napi_env e) : env(e), context(e, "optimizely-amplitude") {}

    Napi::Env env;
    Napi::AsyncContext context;
    oa_dispatcher *core = nullptr;
    napi_async_cleanup_hook_handle hook = nullptr;
    Napi::ObjectReference handlers; /* { log, dropped, trustNeeded } */
    Dispatcher *wrapper = nullptr;  /* until it is collected */
    bool ending = false;
};

napi_value ToString(napi_env env, oa_str str) {
    napi_value value = nullptr;
    if (str.data == nullptr)
        napi_get_null(env, &value);
    else
        napi_create_string_utf8(env, str.data, str.len, &value);
    return value;
}

/* Call a handler of the shim. Its handlers do not throw; should one, the exception ends here. */
void CallHandler(Host *host, const char *name, size_t argc, const napi_value *argv) {
    napi_value object = host->handlers.Value();
    napi_value function = nullptr;
    napi_value result = nullptr;
    if (napi_get_named_property(host->env, object, name, &function) == napi_ok)
        napi_make_callback(host->env, host->context, object, function, argc, argv, &result);
    bool pending = false;
    if (napi_is_exception_pending(host->env, &pending) == napi_ok && pending)
        napi_get_and_clear_last_exception(host->env, &result);
}

/* ---- What the core tells the host: callbacks on the loop ---- */

void OnLog(void *data, oa_log_level level, const char *topic, oa_str message) {
    Host *host = static_cast<Host *>(data);
    Napi::HandleScope scope(host->env);
    const napi_value argv[] = {
        Napi::Number::New(host->env, level),
        Napi::String::New(host->env, topic),
        ToString(host->env, message),
    };
    CallHandler(host, "log", 3, argv);
}

Napi::Object ToDropped(Napi::Env env, const oa_dropped &decision) {
    Napi::Object object = Napi::Object::New(env);
    if (decision.user_id.data != nullptr)
        object.Set("userId", ToString(env, decision.user_id));
    if (decision.device_id.data != nullptr)
        object.Set("deviceId", ToString(env, decision.device_id));
    object.Set("flagKey", ToString(env, decision.flag_key));
    object.Set("variationKey", ToString(env, decision.variation_key));
    object.Set("ruleKey", ToString(env, decision.rule_key));
    object.Set("enabled", decision.enabled);
    object.Set("time", static_cast<double>(decision.time_ms));
    object.Set("insertId", decision.insert_id);
    return object;
}

void OnDropped(void *data, oa_drop_reason reason, int status_code, oa_str message,
               const oa_dropped *decisions, size_t count) {
    Host *host = static_cast<Host *>(data);
    Napi::HandleScope scope(host->env);
    Napi::Array list = Napi::Array::New(host->env, count);
    for (size_t i = 0; i < count; i++)
        list.Set(static_cast<uint32_t>(i), ToDropped(host->env, decisions[i]));
    const napi_value argv[] = {
        Napi::String::New(host->env, oa_drop_name(reason)),
        ToString(host->env, message),
        Napi::Number::New(host->env, status_code),
        list,
    };
    CallHandler(host, "dropped", 4, argv);
}

void OnRequested(void *data, const oa_attempt *request) {
    Host *host = static_cast<Host *>(data);
    Napi::HandleScope scope(host->env);
    const auto number = [host](double value) { return Napi::Number::New(host->env, value); };
    Napi::Object object = Napi::Object::New(host->env);
    object.Set("number", number(static_cast<double>(request->number)));
    object.Set("decisions", number(static_cast<double>(request->decision_count)));
    object.Set("events", number(static_cast<double>(request->event_count)));
    object.Set("bytes", number(static_cast<double>(request->body_bytes)));
    object.Set("compressed", request->gzip);
    object.Set("retry", request->again);
    object.Set("statusCode", request->status_code);
    object.Set("durationMillis", number(static_cast<double>(request->duration_ms)));
    object.Set("message", ToString(host->env, request->message));
    const napi_value argv[] = {object};
    CallHandler(host, "requested", 1, argv);
}

void OnTrustNeeded(void *data) {
    Host *host = static_cast<Host *>(data);
    Napi::HandleScope scope(host->env);
    CallHandler(host, "trustNeeded", 0, nullptr);
}

/* ---- The end of a host ---- */

void OnDestroyed(void *data);

void End(Host *host) {
    if (host->ending)
        return;
    host->ending = true;
    host->handlers.Reset();
    oa_dispatcher_destroy(host->core, OnDestroyed, host);
}

/* ---- A dispatcher, as JavaScript sees it ---- */

struct FlushCall {
    Host *host;
    Napi::Promise::Deferred deferred;
};

class Dispatcher : public Napi::ObjectWrap<Dispatcher> {
  public:
    static Napi::Function Define(Napi::Env env) {
        return DefineClass(env, "Dispatcher",
                           {
                               InstanceMethod<&Dispatcher::AddTemplate>("addVariant"),
                               InstanceMethod<&Dispatcher::ForgetTemplates>("forgetVariants"),
                               InstanceMethod<&Dispatcher::Flush>("flush"),
                               InstanceMethod<&Dispatcher::Close>("close"),
                               InstanceMethod<&Dispatcher::Abort>("abort"),
                               InstanceMethod<&Dispatcher::SetOptOut>("setOptOut"),
                               InstanceMethod<&Dispatcher::SetTrust>("setTrust"),
                               InstanceMethod<&Dispatcher::Stats>("stats"),
                           });
    }

    explicit Dispatcher(const Napi::CallbackInfo &info);
    ~Dispatcher() override;

    static void OnFlushed(void *data, const oa_flush_report *report);

    /* The environment ends before this object is collected. */
    void Forget() { host_ = nullptr; }

  private:
    Napi::Value AddTemplate(const Napi::CallbackInfo &info);
    void ForgetTemplates(const Napi::CallbackInfo &info);
    Napi::Value Flush(const Napi::CallbackInfo &info);
    Napi::Value Close(const Napi::CallbackInfo &info);
    Napi::Value Abort(const Napi::CallbackInfo &info);
    void SetOptOut(const Napi::CallbackInfo &info);
    Napi::Value SetTrust(const Napi::CallbackInfo &info);
    Napi::Value Stats(const Napi::CallbackInfo &info);
    Napi::Value Wait(const Napi::CallbackInfo &info, bool close);

    Host *host_ = nullptr;
};

void OnDestroyed(void *data) {
    Host *host = static_cast<Host *>(data);
    if (host->wrapper != nullptr)
        host->wrapper->Forget();
    napi_remove_async_cleanup_hook(host->hook);
    delete host;
}

/* Reads members of the options object, and keeps the strings alive until the core has copied them. */
class ConfigReader {
  public:
    explicit ConfigReader(Napi::Object object) : object_(object) {}

    oa_str Text(const char *name) {
        Napi::Value value = object_.Get(name);
        if (!value.IsString())
            return {nullptr, 0};
        std::string &text = texts_[count_++];
        text = value.As<Napi::String>().Utf8Value();
        return {text.data(), text.size()};
    }

    bool Flag(const char *name) { return object_.Get(name).ToBoolean(); }

    /* A whole number, validated by the shim; what does not fit is cut to `max`. */
    uint64_t Number(const char *name, uint64_t max = UINT64_MAX) {
        const double value = object_.Get(name).ToNumber().DoubleValue();
        if (!(value > 0))
            return 0;
        return value < 9007199254740992.0 && static_cast<uint64_t>(value) < max
                   ? static_cast<uint64_t>(value)
                   : max;
    }

  private:
    Napi::Object object_;
    std::string texts_[12];
    size_t count_ = 0;
};

oa_config ReadConfig(ConfigReader &options, Host *host) {
    oa_config config;
    std::memset(&config, 0, sizeof(config));
    config.api_key = options.Text("apiKey");
    config.server_url = options.Text("serverUrl");
    config.library = options.Text("library");
    config.event_type = options.Text("eventType");
    config.property_prefix = options.Text("propertyPrefix");
    config.groups_json = options.Text("groupsJson");
    config.proxy = options.Text("proxy");
    config.no_proxy = options.Text("noProxy");
    config.ca_file = options.Text("caFile");
    config.disabled_value_is_variation = options.Flag("disabledValueIsVariation");
    config.compression = options.Flag("compression");
    config.opt_out = options.Flag("optOut");
    config.debug = options.Flag("debug");
    config.dedupe = options.Flag("dedupe");
    config.min_id_length = static_cast<uint32_t>(options.Number("minIdLength", UINT32_MAX));
    config.flush_queue_size = static_cast<uint32_t>(options.Number("flushQueueSize", UINT32_MAX));
    config.flush_max_retries = static_cast<uint32_t>(options.Number("flushMaxRetries", UINT32_MAX));
    config.flush_interval_ms = options.Number("flushIntervalMillis");
    config.request_timeout_ms = options.Number("requestTimeoutMillis");
    config.throttle_ms = options.Number("throttleMillis");
    config.max_queue_bytes = options.Number("maxQueueBytes");
    config.max_body_bytes = options.Number("maxBodyBytes");
    config.dedupe_window_ms = options.Number("dedupeWindowMillis");
    config.dedupe_max_entries = options.Number("dedupeMaxEntries");
    config.callbacks.data = host;
    config.callbacks.log = OnLog;
    config.callbacks.dropped = options.Flag("reportDrops") ? OnDropped : nullptr;
    config.callbacks.requested = OnRequested;
    config.callbacks.trust_needed = OnTrustNeeded;
    return config;
}

/* Copy an id into `buffer`. Absent for anything but a string. Returns false for half a surrogate pair,
 * which UTF-8 cannot hold: Node-API would quietly make it U+FFFD, and two users one. */
bool ReadId(napi_env env, napi_value value, char *buffer, oa_str *out) {
    size_t len = 0;
    if (napi_get_value_string_utf8(env, value, buffer, kIdBytes, &len) != napi_ok)
        return true;
    *out = {buffer, len};
    if (std::memchr(buffer, 0xEF, len) == nullptr)
        return true;
    char16_t units[kIdBytes];
    size_t count = 0;
    napi_get_value_string_utf16(env, value, units, kIdBytes, &count);
    for (size_t i = 0; i < count; i++) {
        const bool high = units[i] >= 0xD800 && units[i] < 0xDC00;
        const bool low = units[i] >= 0xDC00 && units[i] < 0xE000;
        if (low || (high && (i + 1 == count || units[i + 1] < 0xDC00 || units[i + 1] >= 0xE000)))
            return false;
        i += high;
    }
    return true;
}

/* Read a string of any length into malloc'ed memory. Absent for anything but a string. */
bool ReadText(napi_env env, napi_value value, char **memory, oa_str *out) {
    size_t len = 0;
    if (napi_get_value_string_utf8(env, value, nullptr, 0, &len) != napi_ok)
        return true;
    *memory = static_cast<char *>(std::malloc(len + 1));
    if (*memory == nullptr)
        return false;
    napi_get_value_string_utf8(env, value, *memory, len + 1, &len);
    *out = {*memory, len};
    return true;
}

/* record(templateId, userId, deviceId?, eventProperties?, userProperties?) -> status. The hot call. */
napi_value Record(napi_env env, napi_callback_info info) {
    napi_value argv[5];
    size_t argc = 5;
    void *data = nullptr;
    napi_get_cb_info(env, info, &argc, argv, nullptr, &data);
    Host *host = static_cast<Host *>(data);
    oa_decision decision = {};
    char user_id[kIdBytes];
    char device_id[kIdBytes];
    char *texts[2] = {nullptr, nullptr};
    oa_status status = OA_OK;
    napi_get_value_uint32(env, argv[0], &decision.template_id);
    if (!ReadId(env, argv[1], user_id, &decision.user_id))
        status = OA_ID_MALFORMED;
    if (argc > 2 && !ReadId(env, argv[2], device_id, &decision.device_id))
        status = OA_ID_MALFORMED;
    if (argc > 3 && (!ReadText(env, argv[3], &texts[0], &decision.event_properties) ||
                     !ReadText(env, argv[4], &texts[1], &decision.user_properties)))
        status = OA_NOMEM;
    if (status == OA_OK)
        status = oa_dispatcher_record(host->core, &decision);
    std::free(texts[0]);
    std::free(texts[1]);
    napi_value result = nullptr;
    napi_create_uint32(env, status, &result);
    return result;
}

void ThrowStatus(Napi::Env env, oa_status status) {
    Napi::Error error = Napi::Error::New(env, oa_status_message(status));
    error.Set("code", Napi::String::New(env, "ERR_OA_NATIVE"));
    error.ThrowAsJavaScriptException();
}

Dispatcher::Dispatcher(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Dispatcher>(info) {
    Napi::Env env = info.Env();
    uv_loop_t *loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    Host *host = new Host(env);
    ConfigReader options(info[0].As<Napi::Object>());
    const oa_config config = ReadConfig(options, host);
    const oa_status status = oa_dispatcher_new(loop, &config, &host->core);
    if (status != OA_OK) {
        delete host;
        ThrowStatus(env, status);
        return;
    }
    host_ = host;
    host->wrapper = this;
    host->handlers = Napi::Persistent(info[1].As<Napi::Object>());
    napi_add_async_cleanup_hook(
        env,
        [](napi_async_cleanup_hook_handle, void *arg) {
            Host *ending = static_cast<Host *>(arg);
            End(ending);
        },
        host, &host->hook);
    napi_value record = nullptr;
    napi_create_function(env, "record", NAPI_AUTO_LENGTH, Record, host, &record);
    Value().Set("record", record);
}

Dispatcher::~Dispatcher() {
    if (host_ == nullptr)
        return;
    host_->wrapper = nullptr;
    End(host_);
}

oa_str ToStr(const Napi::Value &value, std::string *memory) {
    if (!value.IsString())
        return {nullptr, 0};
    *memory = value.As<Napi::String>().Utf8Value();
    return {memory->data(), memory->size()};
}

Napi::Value Dispatcher::AddTemplate(const Napi::CallbackInfo &info) {
    std::string texts[3];
    uint32_t id = 0;
    const oa_status status = oa_dispatcher_add_template(
        host_->core, ToStr(info[0], &texts[0]), ToStr(info[1], &texts[1]),
        ToStr(info[2], &texts[2]), info[3].ToBoolean(), &id);
    if (status != OA_OK) {
        ThrowStatus(info.Env(), status);
        return info.Env().Undefined();
    }
    return Napi::Number::New(info.Env(), id);
}

void Dispatcher::ForgetTemplates(const Napi::CallbackInfo &) {
    oa_dispatcher_forget_templates(host_->core);
}

void Dispatcher::OnFlushed(void *data, const oa_flush_report *report) {
    FlushCall *call = static_cast<FlushCall *>(data);
    if (report == nullptr) { /* the environment ends, and with it whoever awaits this */
        delete call;
        return;
    }
    Host *host = call->host;
    Napi::Env env = host->env;
    Napi::HandleScope handles(env);
    {
        /* Node 26 runs an await's continuation only when a callback scope closes. */
        Napi::CallbackScope scope(env, host->context);
        Napi::Object object = Napi::Object::New(env);
        object.Set("delivered", static_cast<double>(report->delivered));
        object.Set("dropped", static_cast<double>(report->dropped));
        object.Set("pending", static_cast<double>(report->pending));
        object.Set("durationMillis", static_cast<double>(report->duration_ms));
        call->deferred.Resolve(object);
    }
    if (host->wrapper != nullptr)
        host->wrapper->Unref();
    delete call;
}

/* Both waits: flush(timeoutMillis, abort) and close(timeoutMillis), as a promise of a report. */
Napi::Value Dispatcher::Wait(const Napi::CallbackInfo &info, bool close) {
    Napi::Env env = info.Env();
    FlushCall *call = new FlushCall{host_, Napi::Promise::Deferred::New(env)};
    Napi::Promise promise = call->deferred.Promise();
    const uint64_t timeout_ms = static_cast<uint64_t>(info[0].ToNumber().Int64Value());
    const oa_status status =
        close ? oa_dispatcher_close(host_->core, timeout_ms, OnFlushed, call)
              : oa_dispatcher_flush(host_->core, timeout_ms, info[1].ToBoolean(), OnFlushed, call);
    if (status == OA_OK) {
        Ref(); /* whoever awaits a report keeps the dispatcher */
    } else {
        call->deferred.Reject(Napi::Error::New(env, oa_status_message(status)).Value());
        delete call;
    }
    return promise;
}

Napi::Value Dispatcher::Flush(const Napi::CallbackInfo &info) { return Wait(info, false); }

Napi::Value Dispatcher::Close(const Napi::CallbackInfo &info) { return Wait(info, true); }

Napi::Value Dispatcher::Abort(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), static_cast<double>(oa_dispatcher_abort(host_->core)));
}

void Dispatcher::SetOptOut(const Napi::CallbackInfo &info) {
    oa_dispatcher_set_opt_out(host_->core, info[0].ToBoolean());
}

Napi::Value Dispatcher::SetTrust(const Napi::CallbackInfo &info) {
    std::string pem;
    const oa_status status = oa_dispatcher_set_trust(host_->core, ToStr(info[0], &pem));
    return Napi::String::New(info.Env(), oa_status_name(status));
}

Napi::Value Dispatcher::Stats(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    oa_stats stats;
    oa_dispatcher_stats(host_->core, &stats);
    Napi::Object object = Napi::Object::New(env);
    const auto set = [&](const char *name, uint64_t value) {
        object.Set(name, static_cast<double>(value));
    };
    set("accepted", stats.accepted);
    set("deduplicated", stats.deduplicated);
    set("delivered", stats.delivered);
    set("pending", stats.pending);
    set("requestsSent", stats.requests_sent);
    set("requestsRetried", stats.requests_retried);
    set("requestsFailed", stats.requests_failed);
    set("requestBytes", stats.request_bytes);
    set("eventsSent", stats.events_sent);
    set("queueBytes", stats.queue_bytes);
    set("queueHighWaterBytes", stats.queue_high_water_bytes);
    Napi::Object dropped = Napi::Object::New(env);
    for (int i = 0; i < OA_DROP_COUNT; i++)
        dropped.Set(oa_drop_name(static_cast<oa_drop_reason>(i)),
                    static_cast<double>(stats.dropped[i]));
    object.Set("dropped", dropped);
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

Napi::Object Init(Napi::Env env, Napi::Object exports) {
    exports.Set("Dispatcher", Dispatcher::Define(env));
    Napi::Array names = Napi::Array::New(env, OA_STATUS_COUNT);
    Napi::Array messages = Napi::Array::New(env, OA_STATUS_COUNT);
    for (uint32_t i = 0; i < OA_STATUS_COUNT; i++) {
        names.Set(i, oa_status_name(static_cast<oa_status>(i)));
        messages.Set(i, oa_status_message(static_cast<oa_status>(i)));
    }
    exports.Set("statusNames", names);
    exports.Set("statusMessages", messages);
    Napi::Object versions = Napi::Object::New(env);
    versions.Set("curl", oa_curl_version());
    versions.Set("cjson", oa_cjson_version());
    versions.Set("xxhash", oa_xxhash_version());
    exports.Set("versions", versions);
    return exports;
}

} // namespace

NODE_API_MODULE(optimizely_amplitude, Init)
