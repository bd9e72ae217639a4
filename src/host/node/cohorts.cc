/*
 * cohorts.cc: translates between JavaScript and loader.h, and decides nothing. [loop]
 *
 * Lifetimes are those of binding.cc: a Host owns a loader and what ties it to its environment. It
 * ends when its JavaScript object is collected or its environment is torn down; the thread of a
 * load has to end first, so an async cleanup hook keeps the environment until it has.
 *
 * The hot call (find) is raw Node-API. It writes the set into an Uint32Array of the caller, because
 * reading that costs JavaScript nothing, and returning a number of 64 bits would.
 */
#include "cohorts.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "../base64.h"
#include "../lock.h"
#include "loader.h"
#include "messages.h"
#include "reader.h"
#include "values.h"

using oa::Message;
using oa::Reader;
using oa::ReadMove;
using oa::Transfer;

namespace {

/* Of a string that does not fit, Node-API copies whole characters, of up to 4 bytes: so it fits, or
 * too much of it is there. */
constexpr size_t kIdBytes = OA_COHORT_ID_BYTES + 4;

constexpr size_t kLocks = 2; /* of an object */

class Cohorts;
struct LoadCall;

struct Host {
    explicit Host(napi_env e) : env(e), context(e, "optimizely-amplitude") {}

    Napi::Env env;
    Napi::AsyncContext context;
    oa_loader *loader = nullptr;
    napi_async_cleanup_hook_handle hook = nullptr;
    Napi::Reference<Napi::Uint32Array> array; /* keeps `words` */
    oa_cohort_set *words = nullptr;           /* where find() writes */
    Cohorts *wrapper = nullptr;               /* until it is collected */
    LoadCall *call = nullptr;                 /* the load that is under way */
    size_t cohorts = 0;
    int locks[kLocks] = {OA_LOCK_TAKEN, OA_LOCK_TAKEN};
    bool ending = false;
};

/* A promise of a report. */
struct LoadCall {
    explicit LoadCall(Napi::Env env) : deferred(env) {}
    Napi::Promise::Deferred deferred;
    bool is_adoption = false;
};

class Cohorts : public Napi::ObjectWrap<Cohorts> {
  public:
    static Napi::Function Define(Napi::Env env) {
        return DefineClass(env, "Cohorts",
                           {
                               InstanceMethod<&Cohorts::Load>("load"),
                               InstanceMethod<&Cohorts::Merge>("merge"),
                               InstanceMethod<&Cohorts::TakeChanges>("takeChanges"),
                               InstanceMethod<&Cohorts::Change>("change"),
                               InstanceMethod<&Cohorts::Say>("say"),
                               InstanceMethod<&Cohorts::Members>("members"),
                               InstanceMethod<&Cohorts::Capture>("capture"),
                               InstanceMethod<&Cohorts::Captured>("captured"),
                               InstanceMethod<&Cohorts::Release>("release"),
                               InstanceMethod<&Cohorts::Adopt>("adopt"),
                               InstanceMethod<&Cohorts::Save>("save"),
                               InstanceMethod<&Cohorts::Resume>("resume"),
                               InstanceMethod<&Cohorts::Growth>("growth"),
                               InstanceMethod<&Cohorts::Lock>("lock"),
                               InstanceMethod<&Cohorts::Map>("map"),
                               InstanceMethod<&Cohorts::Unlock>("unlock"),
                               InstanceMethod<&Cohorts::Cancel>("cancel"),
                               InstanceMethod<&Cohorts::Abort>("abort"),
                               InstanceMethod<&Cohorts::Clear>("clear"),
                               InstanceMethod<&Cohorts::Restore>("restore"),
                               InstanceMethod<&Cohorts::SetTrust>("setTrust"),
                               InstanceMethod<&Cohorts::Stats>("stats"),
                           });
    }

    explicit Cohorts(const Napi::CallbackInfo &info);
    ~Cohorts() override;

    /* The environment ends before this object is collected. */
    void Forget() { host_ = nullptr; }

    const oa_hash_key *Key() const { return oa_loader_key(host_->loader); }

  private:
    Napi::Value Load(const Napi::CallbackInfo &info);
    Napi::Value Merge(const Napi::CallbackInfo &info);
    Napi::Value TakeChanges(const Napi::CallbackInfo &info);
    Napi::Value Change(const Napi::CallbackInfo &info);
    Napi::Value Say(const Napi::CallbackInfo &info);
    Napi::Value Members(const Napi::CallbackInfo &info);
    Napi::Value Capture(const Napi::CallbackInfo &info);
    Napi::Value Captured(const Napi::CallbackInfo &info);
    void Release(const Napi::CallbackInfo &info);
    Napi::Value Adopt(const Napi::CallbackInfo &info);
    Napi::Value Save(const Napi::CallbackInfo &info);
    Napi::Value Resume(const Napi::CallbackInfo &info);
    Napi::Value Growth(const Napi::CallbackInfo &info);
    Napi::Value Lock(const Napi::CallbackInfo &info);
    Napi::Value Map(const Napi::CallbackInfo &info);
    void Unlock(const Napi::CallbackInfo &info);
    Napi::Value Await(Napi::Env env, oa_status status, LoadCall *call);
    void Cancel(const Napi::CallbackInfo &info);
    void Abort(const Napi::CallbackInfo &info);
    void Clear(const Napi::CallbackInfo &info);
    Napi::Value Restore(const Napi::CallbackInfo &info);
    Napi::Value SetTrust(const Napi::CallbackInfo &info);
    Napi::Value Stats(const Napi::CallbackInfo &info);

    Host *host_ = nullptr;
};

/* ---- The hot call ---- */

/* Whether a string has half of a surrogate pair, which UTF-8 cannot hold: Node-API replaces it by
 * U+FFFD, which would merge users. */
bool HasLoneSurrogate(napi_env env, napi_value value) {
    size_t count = 0;
    napi_get_value_string_utf16(env, value, nullptr, 0, &count);
    std::vector<char16_t> units(count + 1);
    napi_get_value_string_utf16(env, value, units.data(), units.size(), &count);
    for (size_t i = 0; i < count; i++) {
        const bool high = units[i] >= 0xD800 && units[i] < 0xDC00;
        const bool low = units[i] >= 0xDC00 && units[i] < 0xE000;
        if (low || (high && (i + 1 == count || units[i + 1] < 0xDC00 || units[i + 1] >= 0xE000)))
            return true;
        i += high;
    }
    return false;
}

/* find(userId): write the cohorts that a user is in, bit by bit. No cohort has an id that is too
 * long, or that UTF-8 cannot hold. */
napi_value Find(napi_env env, napi_callback_info info) {
    napi_value id = nullptr;
    size_t argc = 1;
    void *data = nullptr;
    napi_get_cb_info(env, info, &argc, &id, nullptr, &data);
    Host *host = static_cast<Host *>(data);
    char bytes[kIdBytes + 1];
    size_t len = 0;
    *host->words = {};
    if (napi_get_value_string_utf8(env, id, bytes, sizeof(bytes), &len) != napi_ok ||
        len > OA_COHORT_ID_BYTES)
        return nullptr;
    if (std::memchr(bytes, 0xEF, len) != nullptr && HasLoneSurrogate(env, id))
        return nullptr;
    oa_loader_find(host->loader, {bytes, len}, host->words);
    return nullptr;
}

/* ---- Loads ---- */

Napi::Object ToReport(Napi::Env env, const oa_load_report &report) {
    Napi::Object object = Napi::Object::New(env);
    const auto set = [&](const char *name, auto value) {
        object.Set(name, static_cast<double>(value));
    };
    object.Set("end", oa_load_end_name(report.end));
    object.Set("message", report.message);
    set("statusCode", report.status_code);
    set("retryAfterMillis", report.retry_after_seconds * 1000.0);
    set("lastModified", report.meta.last_modified);
    set("announced", report.meta.size);
    set("skipped", report.meta.no_ids);
    set("before", report.delta.before);
    set("size", report.delta.members);
    set("entered", report.delta.entered);
    set("left", report.delta.left);
    set("surviving", report.surviving);
    object.Set("isAll", report.is_all);
    set("bytes", report.wire_bytes);
    set("durationMillis", report.duration_ms);
    object.Set("text", report.text);
    object.Set("snapshotError", report.snapshot_error);
    set("said", report.said);
    return object;
}

/* The members of each cohort; null for one that is not loaded. */
Napi::Array ToMembers(const Host *host, const oa_load_report &report) {
    Napi::Array list = Napi::Array::New(host->env);
    for (uint32_t i = 0; i < host->cohorts; i++) {
        const oa_cohort_info *info = oa_loader_info(host->loader, i);
        if (info != nullptr && info->is_loaded)
            list.Set(i, static_cast<double>(report.members[i]));
        else
            list.Set(i, host->env.Null());
    }
    return list;
}

void OnLoaded(void *data, void *ticket, const oa_load_report *report) {
    Host *host = static_cast<Host *>(data);
    LoadCall *call = static_cast<LoadCall *>(ticket);
    Napi::Env env = host->env;
    Napi::HandleScope handles(env);
    host->call = nullptr;
    oa_loader_ref(host->loader, false);
    {
        /* Node 26 runs an await's continuation only when a callback scope closes. */
        Napi::CallbackScope scope(env, host->context);
        Napi::Object object = ToReport(env, *report);
        if (call->is_adoption)
            object.Set("members", ToMembers(host, *report));
        call->deferred.Resolve(object);
    }
    if (host->wrapper != nullptr)
        host->wrapper->Unref();
    delete call;
}

oa_cohort_change ToChange(oa_str name) {
    switch (name.data[0]) {
    case 'e':
        return OA_COHORT_ENTER;
    case 'l':
        return OA_COHORT_LEAVE;
    default:
        return OA_COHORT_REPLACE;
    }
}

/* load(request): a promise of a report. Of `files`, `changes` says for each whether its ids
 * replace the members, enter or leave. */
Napi::Value Cohorts::Load(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    Reader request(info[0].As<Napi::Object>());
    const std::vector<oa_str> headers = request.Texts("headers");
    std::vector<const char *> lines;
    for (const oa_str &header : headers)
        lines.push_back(header.data);
    oa_load load = {};
    load.cohort = static_cast<size_t>(request.Number("cohort"));
    load.format = static_cast<oa_cohort_format>(request.Number("format"));
    load.url = request.Text("url");
    load.follows = request.Flag("follows");
    load.is_text = request.Flag("isText");
    load.headers = lines.data();
    load.header_count = lines.size();
    const std::vector<oa_str> files = request.Texts("files");
    const std::vector<oa_str> changes = request.Texts("changes");
    std::vector<oa_load_part> parts;
    for (size_t i = 0; i < files.size(); i++)
        parts.push_back({files[i], ToChange(changes[i])});
    load.parts = parts.data();
    load.part_count = parts.size();
    load.max_members = request.Number("maxMembers");
    load.min_members = request.Number("minMembers");
    load.as_of_ms = static_cast<int64_t>(request.Number("asOfMillis"));
    LoadCall *call = new LoadCall(env);
    return Await(env, oa_loader_start(host_->loader, &load, call), call);
}

/* merge(): a promise of a report. */
Napi::Value Cohorts::Merge(const Napi::CallbackInfo &info) {
    LoadCall *call = new LoadCall(info.Env());
    return Await(info.Env(), oa_loader_merge(host_->loader, call), call);
}

/* The promise of a call that was started, or was not. */
Napi::Value Cohorts::Await(Napi::Env env, oa_status status, LoadCall *call) {
    Napi::Promise promise = call->deferred.Promise();
    if (status == OA_OK) {
        host_->call = call;
        Ref(); /* what awaits a report keeps this object */
    } else {
        call->deferred.Reject(Napi::Error::New(env, oa_status_message(status)).Value());
        delete call;
    }
    return promise;
}

/* cancel(): the load ends soon, and keeps the loop alive until then. */
void Cohorts::Cancel(const Napi::CallbackInfo &) {
    if (host_->call != nullptr)
        oa_loader_ref(host_->loader, true);
    oa_loader_cancel(host_->loader);
}

void Cohorts::Abort(const Napi::CallbackInfo &) { oa_loader_abort(host_->loader); }

void Cohorts::Clear(const Napi::CallbackInfo &) { oa_loader_clear(host_->loader); }

/* restore(count): an array with what the snapshot has of each cohort, null for one that it has not;
 * or the name of the status when it cannot be used. */
Napi::Value Cohorts::Restore(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const oa_status status = oa_loader_restore(host_->loader);
    if (status != OA_OK)
        return Napi::String::New(env, oa_status_name(status));
    Napi::Array list = Napi::Array::New(env);
    for (uint32_t i = 0; i < info[0].ToNumber().Uint32Value(); i++) {
        const oa_cohort_info *cohort = oa_loader_info(host_->loader, i);
        if (!cohort->is_loaded) {
            list.Set(i, env.Null());
            continue;
        }
        Napi::Object object = Napi::Object::New(env);
        object.Set("size", static_cast<double>(cohort->members));
        object.Set("lastModified", static_cast<double>(cohort->modified_ms));
        object.Set("confirmedAt", static_cast<double>(cohort->fetched_ms));
        list.Set(i, object);
    }
    return list;
}

Napi::Value Cohorts::SetTrust(const Napi::CallbackInfo &info) {
    const oa_status status = oa_loader_set_trust(host_->loader, TrustArguments(info).source());
    return Napi::String::New(info.Env(), oa_status_name(status));
}

Napi::Value Cohorts::Stats(const Napi::CallbackInfo &info) {
    Napi::Object object = Napi::Object::New(info.Env());
    object.Set("users", static_cast<double>(oa_loader_users(host_->loader)));
    object.Set("changes", static_cast<double>(oa_loader_changes(host_->loader)));
    object.Set("bytes", static_cast<double>(oa_loader_bytes(host_->loader)));
    object.Set("needsTrust", oa_loader_needs_trust(host_->loader));
    return object;
}

/* ---- What other processes know ---- */

/* adopt(transfer): a promise of a report, with the members of each cohort. */
Napi::Value Cohorts::Adopt(const Napi::CallbackInfo &info) {
    oa_transfer *transfer = Transfer::Unwrap(info[0].As<Napi::Object>())->Take();
    LoadCall *call = new LoadCall(info.Env());
    call->is_adoption = true;
    const oa_status status =
        transfer == nullptr ? OA_CLOSED : oa_loader_adopt(host_->loader, transfer, call);
    return Await(info.Env(), status, call);
}

/* capture(): [tableBytes, changesBytes] of what is known now; the name of the status otherwise. */
Napi::Value Cohorts::Capture(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    size_t table_bytes = 0;
    size_t changes_bytes = 0;
    const oa_status status = oa_loader_capture(host_->loader, &table_bytes, &changes_bytes);
    if (status != OA_OK)
        return Napi::String::New(env, oa_status_name(status));
    Napi::Array lengths = Napi::Array::New(env, 2);
    lengths.Set(0U, static_cast<double>(table_bytes));
    lengths.Set(1U, static_cast<double>(changes_bytes));
    return lengths;
}

/* captured(from, count): these bytes of it as text; null when it is gone. */
Napi::Value Cohorts::Captured(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    const size_t from = static_cast<size_t>(info[0].As<Napi::Number>().Int64Value());
    const size_t count = info[1].As<Napi::Number>().Uint32Value();
    std::vector<char> bytes(count);
    if (oa_loader_captured(host_->loader, from, count, bytes.data()) != OA_OK)
        return env.Null();
    std::string text(oa_base64_chars(count), '\0');
    oa_base64_write({bytes.data(), count}, text.data());
    return Napi::String::New(env, text);
}

void Cohorts::Release(const Napi::CallbackInfo &) { oa_loader_release(host_->loader); }

/* save(): the changes as bytes; null for none. */
Napi::Value Cohorts::Save(const Napi::CallbackInfo &info) {
    char *bytes = nullptr;
    size_t len = 0;
    const oa_status status = oa_loader_save(host_->loader, &bytes, &len);
    if (status != OA_OK)
        ThrowStatus(info.Env(), status);
    if (bytes == nullptr)
        return info.Env().Null();
    Napi::Value copy = Napi::Buffer<char>::Copy(info.Env(), bytes, len);
    std::free(bytes);
    return copy;
}

/* resume(bytes): go on with such changes; the name of the status. */
Napi::Value Cohorts::Resume(const Napi::CallbackInfo &info) {
    const Napi::Buffer<char> bytes = info[0].As<Napi::Buffer<char>>();
    const oa_status status = oa_loader_resume(host_->loader, {bytes.Data(), bytes.Length()});
    return Napi::String::New(info.Env(), oa_status_name(status));
}

/* growth(): by how many the changes make each cohort larger. */
Napi::Value Cohorts::Growth(const Napi::CallbackInfo &info) {
    int64_t growth[OA_COHORT_MAX];
    oa_loader_growth(host_->loader, growth);
    Napi::Array list = Napi::Array::New(info.Env());
    for (uint32_t i = 0; i < host_->cohorts; i++)
        list.Set(i, static_cast<double>(growth[i]));
    return list;
}

/* lock(which, path): 'mine' from now on, until unlock(which) or the end; 'taken', or 'none'. */
Napi::Value Cohorts::Lock(const Napi::CallbackInfo &info) {
    int &lock = host_->locks[info[0].As<Napi::Number>().Uint32Value() % kLocks];
    if (lock < 0)
        lock = oa_lock_take(info[1].As<Napi::String>().Utf8Value().c_str());
    const char *name = lock >= 0 ? "mine" : lock == OA_LOCK_TAKEN ? "taken" : "none";
    return Napi::String::New(info.Env(), name);
}

void Cohorts::Unlock(const Napi::CallbackInfo &info) {
    int &lock = host_->locks[info[0].As<Napi::Number>().Uint32Value() % kLocks];
    oa_lock_release(std::exchange(lock, OA_LOCK_TAKEN));
}

/* map(): as adopt(), but the members are those of the table. */
Napi::Value Cohorts::Map(const Napi::CallbackInfo &info) {
    LoadCall *call = new LoadCall(info.Env());
    call->is_adoption = true;
    return Await(info.Env(), oa_loader_map(host_->loader, call), call);
}

/* ---- Messages ---- */

Napi::Object ToMoved(Napi::Env env, oa_status status, const oa_cohort_moved &moved) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("status", oa_status_name(status));
    object.Set("done", static_cast<double>(moved.done));
    object.Set("entered", static_cast<double>(moved.entered));
    object.Set("left", static_cast<double>(moved.left));
    object.Set("late", static_cast<double>(moved.late));
    return object;
}

/* takeChanges(): have messages change the members from now on. */
Napi::Value Cohorts::TakeChanges(const Napi::CallbackInfo &info) {
    return Napi::String::New(info.Env(), oa_status_name(oa_loader_take_changes(host_->loader)));
}

/* change(message, cohort, isIn, timeMillis, from, count): what has changed for these users. */
Napi::Value Cohorts::Change(const Napi::CallbackInfo &info) {
    const oa_cohort_message *message = Message::Unwrap(info[0].As<Napi::Object>())->Get();
    size_t users = 0;
    const uint64_t *prints =
        message == nullptr ? nullptr : oa_cohort_message_prints(message, &users);
    const size_t from = info[4].As<Napi::Number>().Uint32Value();
    const size_t count = info[5].As<Napi::Number>().Uint32Value();
    oa_cohort_move move = {};
    move.cohort = info[1].As<Napi::Number>().Uint32Value();
    move.is_in = info[2].ToBoolean();
    move.time_ms = info[3].As<Napi::Number>().Int64Value();
    if (from < users) {
        move.prints = prints + from;
        move.count = count < users - from ? count : users - from;
    }
    oa_cohort_moved moved = {};
    const oa_status status = oa_loader_change(host_->loader, &move, &moved);
    return ToMoved(info.Env(), status, moved);
}

/* say(cohort, isIn, timeMillis, text): the same for a message that another process wrote. */
Napi::Value Cohorts::Say(const Napi::CallbackInfo &info) {
    std::vector<uint64_t> prints;
    oa_cohort_move move = {};
    oa_cohort_moved moved = {};
    oa_status status = OA_MALFORMED;
    if (ReadMove(info, &prints, &move))
        status = oa_loader_change(host_->loader, &move, &moved);
    return ToMoved(info.Env(), status, moved);
}

/* members(cohort): those in the table. */
Napi::Value Cohorts::Members(const Napi::CallbackInfo &info) {
    const size_t slot = info[0].As<Napi::Number>().Uint32Value();
    const oa_cohort_info *cohort = oa_loader_info(host_->loader, slot);
    return Napi::Number::New(info.Env(),
                             cohort == nullptr ? 0 : static_cast<double>(cohort->members));
}

/* ---- The beginning and the end ---- */

void End(Host *host) {
    if (host->ending)
        return;
    host->ending = true;
    delete host->call; /* whatever awaits it goes with the environment */
    host->call = nullptr;
    for (int &lock : host->locks)
        oa_lock_release(std::exchange(lock, OA_LOCK_TAKEN));
    oa_loader_destroy(host->loader);
}

void OnDestroyed(void *data) {
    Host *host = static_cast<Host *>(data);
    if (host->wrapper != nullptr)
        host->wrapper->Forget();
    napi_remove_async_cleanup_hook(host->hook);
    delete host;
}

Cohorts::Cohorts(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Cohorts>(info) {
    Napi::Env env = info.Env();
    uv_loop_t *loop = nullptr;
    napi_get_uv_event_loop(env, &loop);
    Reader options(info[0].As<Napi::Object>());
    const std::vector<oa_str> names = options.Texts("names");
    Napi::Uint32Array array = info[1].As<Napi::Uint32Array>();
    if (array.ByteLength() != sizeof(oa_cohort_set)) {
        Napi::TypeError::New(env, "the array has another size than a set of cohorts")
            .ThrowAsJavaScriptException();
        return;
    }
    oa_loader_config config = {};
    config.key_text = options.Text("keyText");
    config.names = names.data();
    config.name_count = names.size();
    config.snapshot_path = options.Text("snapshotPath");
    config.curl.server_url = options.Text("serverUrl");
    config.curl.proxy = options.Text("proxy");
    config.curl.ca_file = options.Text("caFile");
    config.curl.user_agent = options.Text("userAgent");
    config.curl.request_timeout_ms = options.Number("silenceMillis");
    Host *host = new Host(env);
    const oa_loader_handlers handlers = {host, OnLoaded, OnDestroyed};
    const oa_status status = oa_loader_new(loop, &config, handlers, &host->loader);
    if (status != OA_OK) {
        delete host;
        ThrowStatus(env, status);
        return;
    }
    host_ = host;
    host->cohorts = names.size();
    host->wrapper = this;
    host->array = Napi::Persistent(array);
    host->words = static_cast<oa_cohort_set *>(static_cast<void *>(array.Data()));
    napi_add_async_cleanup_hook(
        env, [](napi_async_cleanup_hook_handle, void *arg) { End(static_cast<Host *>(arg)); }, host,
        &host->hook);
    napi_value find = nullptr;
    napi_create_function(env, "find", NAPI_AUTO_LENGTH, Find, host, &find);
    Value().Set("find", find);
}

Cohorts::~Cohorts() {
    if (host_ == nullptr)
        return;
    host_->wrapper = nullptr;
    End(host_);
}

} // namespace

const oa_hash_key *oa::KeyOf(const Napi::Value &cohorts) {
    return Cohorts::Unwrap(cohorts.As<Napi::Object>())->Key();
}

void oa::DefineCohorts(Napi::Env env, Napi::Object exports) {
    exports.Set("Cohorts", Cohorts::Define(env));
    oa::DefineMessages(env, exports);
}
