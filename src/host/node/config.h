/*
 * config.h: what the shim passes as the options of a dispatcher, read into the structs of the core,
 * of curl.h and of spooling.h. [loop]
 */
#ifndef OA_HOST_CONFIG_H
#define OA_HOST_CONFIG_H

#include <limits>
#include <string>

#include <napi.h>
#include <uv.h>

#include "../curl.h"
#include "../spool/spooling.h"
#include "oa.h"

namespace {

/*
 * Reads what oa.h, curl.h and spooling.h list of the options object, and keeps the strings alive
 * until they are copied. A missing key is a bug of the shim, so it is an error.
 */
class ConfigReader {
  public:
    explicit ConfigReader(Napi::Object object) : object_(object) {}

    const std::string &Missing() const { return missing_; }

    Napi::Value Get(const char *key) {
        if (!object_.HasOwnProperty(key))
            missing_ = key;
        return object_.Get(key);
    }

    oa_str Text(const char *key) {
        Napi::Value value = Get(key);
        if (!value.IsString())
            return {nullptr, 0};
        std::string &text = texts_[count_++];
        text = value.As<Napi::String>().Utf8Value();
        return {text.data(), text.size()};
    }

    bool Flag(const char *key) { return Get(key).ToBoolean(); }

    /* A whole number, validated by the shim, clamped to the maximum of its type. */
    template <typename T> T Number(const char *key) {
        const double value = Get(key).ToNumber().DoubleValue();
        if (!(value > 0))
            return 0;
        const T max = std::numeric_limits<T>::max();
        return value < static_cast<double>(max) ? static_cast<T>(value) : max;
    }

  private:
    Napi::Object object_;
    std::string missing_;
#define ONE(...) +1
#define NONE(...)
    std::string texts_[0 OA_CONFIG_MAP(ONE, NONE, NONE) OA_CURL_CONFIG_MAP(ONE, NONE, NONE)
                           OA_SPOOLING_CONFIG_MAP(ONE, NONE, NONE)];
#undef NONE
#undef ONE
    size_t count_ = 0;
};

#define READ_TEXT(member, key) config.member = options.Text(key);
#define READ_FLAG(member, key) config.member = options.Flag(key);
#define READ_NUMBER(type, member, key) config.member = options.Number<type>(key);

inline oa_config ReadConfig(ConfigReader &options, uv_loop_t *loop) {
    oa_config config = {};
    OA_CONFIG_MAP(READ_TEXT, READ_FLAG, READ_NUMBER)
    if (uv_random(loop, nullptr, &config.seed, sizeof(config.seed), 0, nullptr) != 0)
        config.seed = uv_hrtime();
    return config;
}

inline oa_curl_config ReadCurlConfig(ConfigReader &options, oa_str user_agent) {
    oa_curl_config config = {};
    OA_CURL_CONFIG_MAP(READ_TEXT, READ_FLAG, READ_NUMBER)
    config.user_agent = user_agent;
    return config;
}

inline oa_spooling_config ReadSpoolingConfig(ConfigReader &options, oa_str api_key) {
    oa_spooling_config config = {};
    OA_SPOOLING_CONFIG_MAP(READ_TEXT, READ_FLAG, READ_NUMBER)
    config.api_key = api_key;
    return config;
}

/* The keys that are read, so that a test can compare them with those that are given. */
inline Napi::Array ConfigKeys(Napi::Env env) {
    const char *const keys[] = {
#define KEY(member, key) key,
#define NUMBER_KEY(type, member, key) key,
        OA_CONFIG_MAP(KEY, KEY, NUMBER_KEY) OA_CURL_CONFIG_MAP(KEY, KEY, NUMBER_KEY)
            OA_SPOOLING_CONFIG_MAP(KEY, KEY, NUMBER_KEY)
#undef NUMBER_KEY
#undef KEY
    };
    Napi::Array array = Napi::Array::New(env);
    for (const char *key : keys)
        array.Set(array.Length(), key);
    return array;
}

} // namespace

#endif
