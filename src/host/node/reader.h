/*
 * reader.h: options that the shim has checked, as C reads them.  [loop]
 */
#ifndef OA_HOST_READER_H
#define OA_HOST_READER_H

#include <string>
#include <vector>

#include "cohort.h"
#include "cohorts.h"

namespace oa {

/* Reads an object of the shim, and keeps its strings until they are copied. */
class Reader {
  public:
    explicit Reader(Napi::Object object) : object_(object) { texts_.reserve(kMostTexts); }

    oa_str Text(const char *key) { return Text(object_.Get(key)); }

    oa_str Text(const Napi::Value &value) {
        if (!value.IsString() || texts_.size() == kMostTexts)
            return {nullptr, 0};
        texts_.push_back(value.As<Napi::String>().Utf8Value());
        return {texts_.back().data(), texts_.back().size()};
    }

    /* A whole number from 0, validated by the shim. */
    uint64_t Number(const char *key) {
        const double value = object_.Get(key).ToNumber().DoubleValue();
        return value > 0 ? static_cast<uint64_t>(value) : 0;
    }

    bool Flag(const char *key) { return object_.Get(key).ToBoolean(); }

    std::vector<oa_str> Texts(const char *key) {
        std::vector<oa_str> list;
        Napi::Value value = object_.Get(key);
        if (!value.IsArray())
            return list;
        Napi::Array array = value.As<Napi::Array>();
        for (uint32_t i = 0; i < array.Length(); i++)
            list.push_back(Text(array.Get(i)));
        return list;
    }

  private:
    static constexpr size_t kMostTexts = OA_COHORT_MAX + 16; /* so that none of them moves */
    Napi::Object object_;
    std::vector<std::string> texts_;
};

} // namespace oa

#endif
