#include "messages.h"

#include <string>

#include "../base64.h"
#include "values.h"

using oa::Message;
using oa::Transfer;

namespace {

constexpr size_t kPrintBytes = 8;
constexpr size_t kMaxUsers = 1000 * 1000; /* of a message: 8 MB */

/* Prints as text: 8 bytes each, the least significant first, in base64. */
Napi::Value WritePrints(Napi::Env env, const uint64_t *prints, size_t count) {
    std::string bytes;
    bytes.reserve(count * kPrintBytes);
    for (size_t i = 0; i < count; i++) {
        for (size_t n = 0; n < kPrintBytes; n++)
            bytes.push_back(static_cast<char>(prints[i] >> 8 * n & 0xFF));
    }
    std::string text(oa_base64_chars(bytes.size()), '\0');
    oa_base64_write({bytes.data(), bytes.size()}, text.data());
    return Napi::String::New(env, text);
}

/* Read such a text; false for what is none. */
bool ReadPrints(const std::string &text, std::vector<uint64_t> *prints) {
    std::vector<uint8_t> bytes(text.size() / 4 * 3);
    size_t len = 0;
    if (!oa_base64_read({text.data(), text.size()}, bytes.data(), bytes.size(), &len) ||
        len % kPrintBytes != 0)
        return false;
    for (size_t at = 0; at < len; at += kPrintBytes) {
        uint64_t print = 0;
        for (size_t n = 0; n < kPrintBytes; n++)
            print |= static_cast<uint64_t>(bytes[at + n]) << 8 * n;
        if (print >> OA_COHORT_PRINT_BITS != 0)
            return false;
        prints->push_back(print);
    }
    return true;
}

} // namespace

bool oa::ReadMove(const Napi::CallbackInfo &info, std::vector<uint64_t> *prints,
                  oa_cohort_move *move) {
    if (!ReadPrints(info[3].As<Napi::String>().Utf8Value(), prints))
        return false;
    move->cohort = info[0].As<Napi::Number>().Uint32Value();
    move->is_in = info[1].ToBoolean();
    move->time_ms = info[2].As<Napi::Number>().Int64Value();
    move->prints = prints->data();
    move->count = prints->size();
    return true;
}

/* ---- A message ---- */

Napi::Function Message::Define(Napi::Env env) {
    return DefineClass(env, "CohortMessage",
                       {
                           InstanceMethod<&Message::Feed>("feed"),
                           InstanceMethod<&Message::EndOf>("end"),
                           InstanceMethod<&Message::Text>("text"),
                           InstanceMethod<&Message::Free>("free"),
                       });
}

/* new CohortMessage(cohorts) */
Message::Message(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Message>(info) {
    const oa_status status = oa_cohort_message_new(KeyOf(info[0]), kMaxUsers, &message_);
    if (status != OA_OK)
        ThrowStatus(info.Env(), status);
}

/* feed(bytes), end(): 'ok', or the name of what is wrong. */
Napi::Value Message::Feed(const Napi::CallbackInfo &info) {
    const Napi::Uint8Array bytes = info[0].As<Napi::Uint8Array>();
    const oa_str text = {static_cast<const char *>(static_cast<const void *>(bytes.Data())),
                         bytes.ByteLength()};
    const oa_status status =
        message_ == nullptr ? OA_CLOSED : oa_cohort_message_feed(message_, text);
    return Napi::String::New(info.Env(), oa_status_name(status));
}

/* end(): the fields, and in `status` and `problem` what is wrong. */
Napi::Value Message::EndOf(const Napi::CallbackInfo &info) {
    Napi::Object object = Napi::Object::New(info.Env());
    if (message_ == nullptr)
        return object;
    const oa_status status = oa_cohort_message_end(message_);
    const oa_cohort_head *head = oa_cohort_message_head(message_);
    const char *problem = oa_cohort_message_problem(message_);
    size_t users = 0;
    oa_cohort_message_prints(message_, &users);
    object.Set("status", oa_status_name(status));
    object.Set("problem", problem == nullptr ? oa_status_message(status) : problem);
    object.Set("cohortId", head->cohort_id);
    object.Set("messageId", head->message_id);
    object.Set("isIn", head->in_cohort == 1);
    object.Set("computedTime", static_cast<double>(head->computed_time));
    object.Set("users", static_cast<double>(users));
    object.Set("skipped", static_cast<double>(head->no_ids));
    return object;
}

/* text(from, count): the prints of these users, as text that say() takes. */
Napi::Value Message::Text(const Napi::CallbackInfo &info) {
    size_t users = 0;
    const uint64_t *prints =
        message_ == nullptr ? nullptr : oa_cohort_message_prints(message_, &users);
    const size_t from = info[0].As<Napi::Number>().Uint32Value();
    const size_t most = from < users ? users - from : 0;
    const size_t count = info[1].As<Napi::Number>().Uint32Value();
    return WritePrints(info.Env(), most == 0 ? nullptr : prints + from,
                       count < most ? count : most);
}

/* free(): it may be large, and the garbage collector does not know it. */
void Message::Free(const Napi::CallbackInfo &) {
    oa_cohort_message_free(message_);
    message_ = nullptr;
}

/* ---- What another process has ---- */

Napi::Function Transfer::Define(Napi::Env env) {
    return DefineClass(env, "CohortTransfer",
                       {
                           InstanceMethod<&Transfer::Put>("put"),
                           InstanceMethod<&Transfer::Say>("say"),
                           InstanceMethod<&Transfer::Free>("free"),
                       });
}

/* new CohortTransfer(tableBytes, changesBytes) */
Transfer::Transfer(const Napi::CallbackInfo &info) : Napi::ObjectWrap<Transfer>(info) {
    const oa_status status =
        oa_transfer_new(static_cast<size_t>(info[0].As<Napi::Number>().Int64Value()),
                        static_cast<size_t>(info[1].As<Napi::Number>().Int64Value()), &transfer_);
    if (status != OA_OK)
        ThrowStatus(info.Env(), status);
}

/* put(text): the next piece; 'ok', or the name of what is wrong. */
Napi::Value Transfer::Put(const Napi::CallbackInfo &info) {
    const std::string text = info[0].As<Napi::String>().Utf8Value();
    const oa_status status =
        transfer_ == nullptr ? OA_CLOSED : oa_transfer_put(transfer_, {text.data(), text.size()});
    return Napi::String::New(info.Env(), oa_status_name(status));
}

/* say(cohort, isIn, timeMillis, text): a message that came later. */
Napi::Value Transfer::Say(const Napi::CallbackInfo &info) {
    std::vector<uint64_t> prints;
    oa_cohort_move move = {};
    oa_status status = OA_MALFORMED;
    if (transfer_ == nullptr)
        status = OA_CLOSED;
    else if (ReadMove(info, &prints, &move))
        status = oa_transfer_say(transfer_, &move);
    return Napi::String::New(info.Env(), oa_status_name(status));
}

void Transfer::Free(const Napi::CallbackInfo &) { oa_transfer_free(Take()); }

void oa::DefineMessages(Napi::Env env, Napi::Object exports) {
    exports.Set("CohortMessage", Message::Define(env));
    exports.Set("CohortTransfer", Transfer::Define(env));
}
