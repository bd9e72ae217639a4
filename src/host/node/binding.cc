/*
 * binding.cc: the addon. It translates between JavaScript and uv.h, and decides nothing; what
 * concerns cohorts is in cohorts.cc, and what the command line looks at in surveys.cc. There is no
 * other C++. [loop]
 *
 * Lifetimes. A Host owns a dispatcher on the loop and what ties it to its environment. It ends when
 * its JavaScript object is collected or its environment is torn down, whichever comes first; an
 * attempt in the thread pool has to come back first, so an async cleanup hook keeps the environment
 * until it has. Without the hook Node aborts the process: "uv_loop_close() while having open
 * handles".
 *
 * The hot call (record) is raw Node-API and takes flat arguments; the rest uses node-addon-api.
 */
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>

#include "cohorts.h"
#include "config.h"
#include "oa.h"
#include "surveys.h"
#include "uv.h"
#include "values.h"

namespace {

/* An id has 1024 characters at most, of three bytes each; what fills this buffer is too long. */
constexpr size_t kIdBytes = 4096;

/* How tools call what our callbacks run in. */
constexpr char kResource[] = "optimizely-amplitude";

class Dispatcher;
struct FlushCall;

struct Host {
    explicit Host(napi_env e) : env(e) { context.emplace(e, kResource); }

    Napi::Env env;
    /* Until close() is over: test runners report what stays, as a handle that was left open. */
    std::optional<Napi::AsyncContext> context;
    oa_uv *uv = nullptr;
    napi_async_cleanup_hook_handle hook = nullptr;
    Napi::ObjectReference handlers; /* { log, dropped, requested, trustNeeded }; weak when idle */
    Dispatcher *wrapper = nullptr;  /* until it is collected */
    FlushCall *calls = nullptr;     /* those that wait */
    bool ending = false;
};

/* A promise of a report. Its address is the ticket of its flush. */
struct FlushCall {
    FlushCall(Host *h, Napi::Env env, bool is_close)
        : host(h), deferred(env), closes(is_close), next(h->calls) {
        h->calls = this;
    }

    /* Take it off the list of those that wait. */
    void Unlink() {
        FlushCall **link = &host->calls;
        while (*link != this)
            link = &(*link)->next;
        *link = next;
    }

    Host *host;
    Napi::Promise::Deferred deferred;
    bool closes;
    FlushCall *next;
};

/* What a call into JavaScript runs in: the host's context, or after close() one for this call. */
class CallContext {
  public:
    explicit CallContext(Host *host) {
        if (!host->context.has_value())
            late_.emplace(host->env, kResource);
        used_ = host->context.has_value() ? *host->context : *late_;
    }

    operator napi_async_context() const { return used_; }

  private:
    std::optional<Napi::AsyncContext> late_;
    napi_async_context used_;
};

/* Call a handler of the shim, unless they are collected. They do not throw; if one does, the
 * exception ends here. Returns whether its result is true. */
bool CallHandler(Host *host, const char *name, size_t argc, const napi_value *argv) {
    napi_value object = host->handlers.Value();
    napi_value function = nullptr;
    napi_value result = nullptr;
    bool is_true = false;
    const CallContext context(host);
    if (napi_get_named_property(host->env, object, name, &function) == napi_ok &&
        napi_make_callback(host->env, context, object, function, argc, argv, &result) == napi_ok)
        napi_get_value_bool(host->env, result, &is_true);
    bool pending = false;
    if (napi_is_exception_pending(host->env, &pending) == napi_ok && pending)
        napi_get_and_clear_last_exception(host->env, &result);
    return is_true;
}

/* ---- Notices ---- */

void OnLog(Host *host, const oa_log_notice &log) {
    const napi_value argv[] = {Napi::Number::New(host->env, log.level),
                               Napi::String::New(host->env, log.topic),
                               ToString(host->env, log.message)};
    CallHandler(host, "log", 3, argv);
}

void OnDrop(Host *host, const oa_drop_notice &drop) {
    Napi::Array list = Napi::Array::New(host->env, drop.count);
    for (size_t i = 0; i < drop.count; i++)
        list.Set(static_cast<uint32_t>(i), ToDropped(host->env, drop.decisions[i]));
    const napi_value argv[] = {Napi::String::New(host->env, oa_drop_name(drop.reason)),
                               ToString(host->env, drop.message),
                               Napi::Number::New(host->env, drop.status_code), list};
    CallHandler(host, "dropped", 4, argv);
}

void OnAttempt(Host *host, const oa_attempt_notice &attempt) {
    const napi_value argv[] = {ToAttempt(host->env, attempt)};
    CallHandler(host, "requested", 1, argv);
}

void OnFlush(Host *host, const oa_flush_notice &flush);

void OnNotice(void *data, const oa_notice *notice) {
    Host *host = static_cast<Host *>(data);
    Napi::HandleScope scope(host->env);
    switch (notice->kind) {
    case OA_NOTICE_CANCEL:
        break;
    case OA_NOTICE_ATTEMPT:
        OnAttempt(host, notice->about.attempt);
        break;
    case OA_NOTICE_LOG:
        OnLog(host, notice->about.log);
        break;
    case OA_NOTICE_DROP:
        OnDrop(host, notice->about.drop);
        break;
    case OA_NOTICE_FLUSH:
        OnFlush(host, notice->about.flush);
        break;
    }
}

void OnTrustNeeded(void *data) {
    Host *host = static_cast<Host *>(data);
    Napi::HandleScope scope(host->env);
    CallHandler(host, "trustNeeded", 0, nullptr);
}

/* Hold the handlers while there is something to deliver or to tell, and weakly otherwise: they may
 * close over the dispatcher, which then would never be collected. Fails when they are. */
void OnBusy(void *data, bool busy) {
    Host *host = static_cast<Host *>(data);
    (busy ? napi_reference_ref : napi_reference_unref)(host->env, host->handlers, nullptr);
}

/* ---- The store ---- */

bool OnStoreReady(void *data) {
    Host *host = static_cast<Host *>(data);
    Napi::HandleScope scope(host->env);
    return CallHandler(host, "storeReady", 0, nullptr);
}

bool OnStore(void *data, const oa_uv_store_call *call) {
    Host *host = static_cast<Host *>(data);
    Napi::HandleScope scope(host->env);
    const napi_value argv[] = {ToStoreCall(host->env, *call)};
    return CallHandler(host, "store", 1, argv);
}

/* ---- The end of a host ---- */

void End(Host *host) {
    if (host->ending)
        return;
    host->ending = true;
    host->handlers.Reset();
    while (host->calls != nullptr) { /* whatever awaits them goes with the environment */
        FlushCall *call = host->calls;
        call->Unlink();
        delete call;
    }
    oa_uv_destroy(host->uv);
}

/* ---- A dispatcher, as JavaScript sees it ---- */

class Dispatcher : public Napi::ObjectWrap<Dispatcher> {
  public:
    static Napi::Function Define(Napi::Env env) {
        return DefineClass(env, "Dispatcher",
                           {
                               InstanceMethod<&Dispatcher::AddVariant>("addVariant"),
                               InstanceMethod<&Dispatcher::ForgetVariants>("forgetVariants"),
                               InstanceMethod<&Dispatcher::Flush>("flush"),
                               InstanceMethod<&Dispatcher::Close>("close"),
                               InstanceMethod<&Dispatcher::Abort>("abort"),
                               InstanceMethod<&Dispatcher::SetOptOut>("setOptOut"),
                               InstanceMethod<&Dispatcher::SetTrust>("setTrust"),
                               InstanceMethod<&Dispatcher::AnswerStore>("answerStore"),
                               InstanceMethod<&Dispatcher::Stats>("stats"),
                           });
    }

    explicit Dispatcher(const Napi::CallbackInfo &info);
    ~Dispatcher() override;

    /* The environment ends before this object is collected. */
    void Forget() { host_ = nullptr; }

  private:
    Napi::Value AddVariant(const Napi::CallbackInfo &info);
    void ForgetVariants(const Napi::CallbackInfo &info);
    Napi::Value Flush(const Napi::CallbackInfo &info);
    Napi::Value Close(const Napi::CallbackInfo &info);
    Napi::Value Abort(const Napi::CallbackInfo &info);
    void SetOptOut(const Napi::CallbackInfo &info);
    Napi::Value SetTrust(const Napi::CallbackInfo &info);
    void AnswerStore(const Napi::CallbackInfo &info);
    Napi::Value Stats(const Napi::CallbackInfo &info);
    Napi::Value Wait(const Napi::CallbackInfo &info, bool close);

    Host *host_ = nullptr;
};

/* Copy an id into `buffer`. Absent for '', and for anything but a string. Returns false for a lone
 * surrogate, which UTF-8 cannot hold: Node-API would silently replace it by U+FFFD, and merge
 * users. */
bool ReadId(napi_env env, napi_value value, char *buffer, oa_str *out) {
    size_t len = 0;
    if (napi_get_value_string_utf8(env, value, buffer, kIdBytes, &len) != napi_ok)
        return true;
    if (len == 0)
        return true;
    if (std::memchr(buffer, 0xEF, len) == nullptr) {
        *out = {buffer, len};
        return true;
    }
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
    *out = {buffer, len};
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

/* Reads the two ids of a decision or an event, and keeps them until they are copied. */
class IdReader {
  public:
    IdReader(napi_env env, napi_value user_id, napi_value device_id, oa_str *user, oa_str *device)
        : malformed_(!ReadId(env, user_id, user_, user)) {
        if (device_id != nullptr && !ReadId(env, device_id, device_, device))
            malformed_ = true;
    }

    /* A status, with the reason why an id was left out above it, and if that was the device's. */
    uint32_t Result(oa_status status, oa_status left_out, bool has_device) const {
        constexpr uint32_t kLeftOutShift = 8;
        constexpr uint32_t kDevice = 1 << 16;
        if (malformed_)
            left_out = OA_ID_MALFORMED;
        if (status == OA_ID_MISSING && malformed_)
            return OA_ID_MALFORMED;
        if (status != OA_OK || left_out == OA_OK)
            return status;
        return status | static_cast<uint32_t>(left_out) << kLeftOutShift |
               (has_device ? 0 : kDevice);
    }

  private:
    bool malformed_;
    char user_[kIdBytes];
    char device_[kIdBytes];
};

/*
 * record(variantId, userId, deviceId?, eventProperties?, userProperties?, fields?, rendered?) ->
 * IdReader::Result(). The hot call.
 */
napi_value Record(napi_env env, napi_callback_info info) {
    napi_value argv[7];
    size_t argc = 7;
    void *data = nullptr;
    napi_get_cb_info(env, info, &argc, argv, nullptr, &data);
    Host *host = static_cast<Host *>(data);
    oa_decision decision = {};
    char *texts[3] = {nullptr, nullptr, nullptr};
    oa_status status = OA_OK;
    napi_get_value_uint32(env, argv[0], &decision.variant_id);
    const IdReader ids(env, argv[1], argc > 2 ? argv[2] : nullptr, &decision.user_id,
                       &decision.device_id);
    if (argc > 3) {
        if (!ReadText(env, argv[3], &texts[0], &decision.event_properties) ||
            !ReadText(env, argv[4], &texts[1], &decision.user_properties) ||
            !ReadText(env, argv[5], &texts[2], &decision.fields))
            status = OA_NOMEM;
        napi_get_value_bool(env, argv[6], &decision.rendered);
    }
    if (status == OA_OK)
        status = oa_uv_record(host->uv, &decision);
    for (char *text : texts)
        std::free(text);
    napi_value result = nullptr;
    napi_create_uint32(
        env, ids.Result(status, decision.left_out, decision.device_id.data != nullptr), &result);
    return result;
}

/* track(userId, deviceId, event) -> IdReader::Result(). */
napi_value Track(napi_env env, napi_callback_info info) {
    napi_value argv[3];
    size_t argc = 3;
    void *data = nullptr;
    napi_get_cb_info(env, info, &argc, argv, nullptr, &data);
    Host *host = static_cast<Host *>(data);
    oa_tracked tracked = {};
    char *text = nullptr;
    const IdReader ids(env, argv[0], argv[1], &tracked.user_id, &tracked.device_id);
    const oa_status status =
        ReadText(env, argv[2], &text, &tracked.event) ? oa_uv_track(host->uv, &tracked) : OA_NOMEM;
    std::free(text);
    napi_value result = nullptr;
    napi_create_uint32(env, ids.Result(status, tracked.left_out, tracked.device_id.data != nullptr),
                       &result);
    return result;
}

void OnDestroyed(void *data) {
    Host *host = static_cast<Host *>(data);
    if (host->wrapper != nullptr)
        host->wrapper->Forget();
    napi_remove_async_cleanup_hook(host->hook);
    delete host;
}

Dispatcher::Dispatcher(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Dispatcher>(info) {
    Napi::Env env = info.Env();
    uv_loop_t *loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    ConfigReader options(info[0].As<Napi::Object>());
    const oa_config config = ReadConfig(options, loop);
    const oa_curl_config curl_config = ReadCurlConfig(options, config.library);
    const oa_spooling_config spooling_config = ReadSpoolingConfig(options, config.api_key);
    if (!options.Missing().empty()) {
        Napi::TypeError::New(env, "the addon's options lack " + options.Missing())
            .ThrowAsJavaScriptException();
        return;
    }
    Host *host = new Host(env);
    const oa_uv_handlers handlers = {host,        OnNotice,     OnTrustNeeded, OnBusy,
                                     OnDestroyed, OnStoreReady, OnStore};
    const oa_status status = oa_uv_new(loop, &config, &curl_config, handlers, &host->uv);
    if (status != OA_OK) {
        delete host;
        ThrowStatus(env, status);
        return;
    }
    host_ = host;
    host->wrapper = this;
    host->handlers = Napi::Weak(info[1].As<Napi::Object>());
    napi_add_async_cleanup_hook(
        env, [](napi_async_cleanup_hook_handle, void *arg) { End(static_cast<Host *>(arg)); }, host,
        &host->hook);
    char message[OA_SPOOLING_MESSAGE_BYTES] = "";
    const oa_status opened =
        config.spool ? oa_uv_open_spool(host->uv, &spooling_config, message) : OA_OK;
    if (opened != OA_OK) {
        host_ = nullptr;
        host->wrapper = nullptr;
        End(host);
        Napi::Error::New(env, message[0] != '\0' ? message : oa_status_message(opened))
            .ThrowAsJavaScriptException();
        return;
    }
    const auto define = [&](const char *name, napi_callback call) {
        napi_value function = nullptr;
        napi_create_function(env, name, NAPI_AUTO_LENGTH, call, host, &function);
        Value().Set(name, function);
    };
    define("record", Record);
    define("track", Track);
}

Dispatcher::~Dispatcher() {
    if (host_ == nullptr)
        return;
    host_->wrapper = nullptr;
    End(host_);
}

Napi::Value Dispatcher::AddVariant(const Napi::CallbackInfo &info) {
    std::string texts[3];
    uint32_t id = 0;
    const oa_status status = oa_dispatcher_add_variant(
        oa_uv_core(host_->uv), ToStr(info[0], &texts[0]), ToStr(info[1], &texts[1]),
        ToStr(info[2], &texts[2]), info[3].ToBoolean(), &id);
    if (status != OA_OK) {
        ThrowStatus(info.Env(), status);
        return info.Env().Undefined();
    }
    return Napi::Number::New(info.Env(), id);
}

void Dispatcher::ForgetVariants(const Napi::CallbackInfo &) {
    oa_dispatcher_forget_variants(oa_uv_core(host_->uv));
}

/* Both waits: flush(timeoutMillis, abort) and close(timeoutMillis), as a promise of a report. */
Napi::Value Dispatcher::Wait(const Napi::CallbackInfo &info, bool close) {
    Napi::Env env = info.Env();
    FlushCall *call = new FlushCall(host_, env, close);
    Napi::Promise promise = call->deferred.Promise();
    const uint64_t timeout_ms = static_cast<uint64_t>(info[0].ToNumber().Int64Value());
    const oa_status status = close ? oa_uv_close(host_->uv, timeout_ms, call)
                                   : oa_uv_flush(host_->uv, timeout_ms, info[1].ToBoolean(), call);
    if (status == OA_OK) {
        Ref(); /* what awaits a report keeps the dispatcher */
    } else {
        call->deferred.Reject(Napi::Error::New(env, oa_status_message(status)).Value());
        call->Unlink();
        delete call;
    }
    return promise;
}

void OnFlush(Host *host, const oa_flush_notice &flush) {
    FlushCall *call = static_cast<FlushCall *>(flush.ticket);
    Napi::Env env = host->env;
    call->Unlink(); /* the scope below runs JavaScript */
    {
        /* Node 26 runs an await's continuation only when a callback scope closes. */
        const CallContext context(host);
        Napi::CallbackScope scope(env, context);
        call->deferred.Resolve(ToReport(env, flush.report));
    }
    if (call->closes)
        host->context.reset();
    if (host->wrapper != nullptr)
        host->wrapper->Unref();
    delete call;
}

Napi::Value Dispatcher::Flush(const Napi::CallbackInfo &info) { return Wait(info, false); }

Napi::Value Dispatcher::Close(const Napi::CallbackInfo &info) { return Wait(info, true); }

Napi::Value Dispatcher::Abort(const Napi::CallbackInfo &info) {
    return Napi::Number::New(info.Env(), static_cast<double>(oa_uv_abort(host_->uv)));
}

void Dispatcher::SetOptOut(const Napi::CallbackInfo &info) {
    oa_dispatcher_set_opt_out(oa_uv_core(host_->uv), info[0].ToBoolean());
    if (info[1].ToBoolean())
        oa_uv_purge(host_->uv);
}

Napi::Value Dispatcher::SetTrust(const Napi::CallbackInfo &info) {
    const oa_status status = oa_uv_set_trust(host_->uv, TrustArguments(info).source());
    return Napi::String::New(info.Env(), oa_status_name(status));
}

/* answerStore(id, answers): an Int32Array. */
void Dispatcher::AnswerStore(const Napi::CallbackInfo &info) {
    if (host_ == nullptr) /* the environment ends, and an answer is on its way */
        return;
    const Napi::Int32Array answers = info[1].As<Napi::Int32Array>();
    oa_uv_answer_store(host_->uv, info[0].ToNumber().Uint32Value(), answers.Data(),
                       answers.ElementLength());
}

Napi::Value Dispatcher::Stats(const Napi::CallbackInfo &info) {
    oa_stats stats;
    oa_uv_stats(host_->uv, &stats);
    Napi::Object object = ToStats(info.Env(), stats);
    object.Set("spool",
               ToSpool(info.Env(), stats.spool, oa_spooling_error(oa_uv_spooling(host_->uv))));
    return object;
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
    exports.Set("Dispatcher", Dispatcher::Define(env));
    oa::DefineCohorts(env, exports);
    oa::DefineSurveys(env, exports);
    exports.Set("configKeys", ConfigKeys(env));
    exports.Set("statusNames", ToStatuses(env, oa_status_name));
    exports.Set("statusMessages", ToStatuses(env, oa_status_message));
    Napi::Object versions = Napi::Object::New(env);
    versions.Set("curl", oa_curl_version());
    versions.Set("cjson", oa_cjson_version());
    versions.Set("xxhash", oa_xxhash_version());
    exports.Set("versions", versions);
    return exports;
}

} // namespace

NODE_API_MODULE(optimizely_amplitude, Init)
