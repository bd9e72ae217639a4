#include "surveys.h"

#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>

#include "../spool/inspect.h"
#include "values.h"

namespace {

Napi::Value ThrowErrno(Napi::Env env, int error) {
    Napi::Error::New(env, std::strerror(error)).ThrowAsJavaScriptException();
    return env.Undefined();
}

const char *NameOf(const oa_inspection &file) {
    switch (file.state) {
    case OA_SEGMENT_READABLE:
        return "readable";
    case OA_SEGMENT_OTHER_VERSION:
        return "other version";
    case OA_SEGMENT_OTHER_ORDER:
        return "other order";
    case OA_SEGMENT_FOREIGN:
        break;
    }
    return file.is_blank ? "blank" : "damaged";
}

Napi::Object ToFile(Napi::Env env, const oa_inspection &file) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("state", NameOf(file));
    if (file.state != OA_SEGMENT_READABLE)
        return object;
    const oa_survey_counts &counts = file.counts;
    object.Set("decisions", static_cast<double>(counts.decisions));
    object.Set("tracked", static_cast<double>(counts.tracked));
    object.Set("repeats", static_cast<double>(counts.repeats));
    object.Set("settled", static_cast<double>(counts.settled));
    object.Set("missing", static_cast<double>(counts.missing));
    object.Set("oldest", static_cast<double>(counts.oldest_ms));
    object.Set("newest", static_cast<double>(counts.newest_ms));
    return object;
}

Napi::Object ToSubject(Napi::Env env, const oa_survey_subject &subject) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", ToString(env, subject.name));
    object.Set("isTracked", subject.is_tracked);
    object.Set("pending", static_cast<double>(subject.pending));
    object.Set("users", static_cast<double>(subject.users));
    return object;
}

Napi::Object ToVariation(Napi::Env env, const oa_survey_variation &variation) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("subject", static_cast<double>(variation.subject));
    object.Set("key", ToString(env, variation.key));
    object.Set("enabled", variation.enabled);
    object.Set("pending", static_cast<double>(variation.pending));
    return object;
}

Napi::Object ToUser(Napi::Env env, const oa_survey_user &user) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("userId", ToString(env, user.user_id));
    object.Set("deviceId", ToString(env, user.device_id));
    object.Set("variation", static_cast<double>(user.variation));
    object.Set("time", static_cast<double>(user.time_ms));
    object.Set("pending", static_cast<double>(user.pending));
    return object;
}

template <typename Row, typename To>
Napi::Array ToArray(Napi::Env env, const Row *rows, size_t count, To to) {
    Napi::Array array = Napi::Array::New(env, count);
    for (size_t i = 0; i < count; i++) {
        Napi::HandleScope scope(env);
        array.Set(static_cast<uint32_t>(i), to(env, rows[i]));
    }
    return array;
}

class Survey : public Napi::ObjectWrap<Survey> {
  public:
    static Napi::Function Define(Napi::Env env) {
        return DefineClass(env, "SpoolSurvey",
                           {
                               InstanceMethod<&Survey::Read>("read"),
                               InstanceMethod<&Survey::Result>("result"),
                               StaticMethod<&Survey::IsLocked>("isLocked"),
                               StaticMethod<&Survey::KeyMark>("keyMark"),
                           });
    }
    explicit Survey(const Napi::CallbackInfo &info);
    ~Survey() override { oa_survey_free(survey_); }

  private:
    static Napi::Value IsLocked(const Napi::CallbackInfo &info);
    static Napi::Value KeyMark(const Napi::CallbackInfo &info);
    Napi::Value Read(const Napi::CallbackInfo &info);
    Napi::Value Result(const Napi::CallbackInfo &info);

    oa_survey *survey_ = nullptr;
};

/* new SpoolSurvey(flag?, mostUsers) */
Survey::Survey(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Survey>(info) {
    std::string flag;
    const oa_status status = oa_survey_new(
        ToStr(info[0], &flag), static_cast<size_t>(info[1].ToNumber().Uint32Value()), &survey_);
    if (status != OA_OK)
        ThrowStatus(info.Env(), status);
}

/* read(fd): the state of a file, and if it is readable, what is in it. */
Napi::Value Survey::Read(const Napi::CallbackInfo &info) {
    oa_inspection file;
    const int error = oa_inspect_file(info[0].ToNumber().Int32Value(), survey_, &file);
    return error == 0 ? ToFile(info.Env(), file) : ThrowErrno(info.Env(), error);
}

/* result(): what the files that were read have in them, together. */
Napi::Value Survey::Result(const Napi::CallbackInfo &info) {
    Napi::Env env = info.Env();
    oa_survey_result result;
    oa_survey_result_get(survey_, &result);
    Napi::Object object = Napi::Object::New(env);
    object.Set("subjects", ToArray(env, result.subjects, result.subject_count, ToSubject));
    object.Set("variations", ToArray(env, result.variations, result.variation_count, ToVariation));
    object.Set("users", ToArray(env, result.users, result.user_count, ToUser));
    object.Set("others", static_cast<double>(result.others));
    object.Set("isAtLeast", result.is_at_least);
    return object;
}

/* isLocked(fd): whether a process holds the lock of an open file. */
Napi::Value Survey::IsLocked(const Napi::CallbackInfo &info) {
    bool is_held = false;
    const int error = oa_inspect_lock(info[0].ToNumber().Int32Value(), &is_held);
    return error == 0 ? Napi::Boolean::New(info.Env(), is_held) : ThrowErrno(info.Env(), error);
}

/* keyMark(apiKey): what stands for an API key in files, and in their names. */
Napi::Value Survey::KeyMark(const Napi::CallbackInfo &info) {
    std::string key;
    char text[17];
    std::snprintf(text, sizeof(text), "%016" PRIx64, oa_segment_key_mark(ToStr(info[0], &key)));
    return Napi::String::New(info.Env(), text);
}

} // namespace

void oa::DefineSurveys(Napi::Env env, Napi::Object exports) {
    exports.Set("SpoolSurvey", Survey::Define(env));
}
