/*
 * messages.h: what JavaScript holds besides the table of cohorts: a message of the webhook, and
 * what another process has.  [loop]
 */
#ifndef OA_HOST_MESSAGES_H
#define OA_HOST_MESSAGES_H

#include <utility>
#include <vector>

#include "../transfer.h"
#include "cohort.h"
#include "cohorts.h"

namespace oa {

/* A message that is read in pieces, and then put into the changes, perhaps in pieces, too. */
class Message : public Napi::ObjectWrap<Message> {
  public:
    static Napi::Function Define(Napi::Env env);
    explicit Message(const Napi::CallbackInfo &info); /* new CohortMessage(cohorts) */
    ~Message() override { oa_cohort_message_free(message_); }
    const oa_cohort_message *Get() const { return message_; }

  private:
    Napi::Value Feed(const Napi::CallbackInfo &info);
    Napi::Value EndOf(const Napi::CallbackInfo &info);
    Napi::Value Text(const Napi::CallbackInfo &info);
    void Free(const Napi::CallbackInfo &info);

    oa_cohort_message *message_ = nullptr;
};

/* What another process has, as it comes, until it is adopted. */
class Transfer : public Napi::ObjectWrap<Transfer> {
  public:
    static Napi::Function Define(Napi::Env env);
    /* new CohortTransfer(tableBytes, changesBytes) */
    explicit Transfer(const Napi::CallbackInfo &info);
    ~Transfer() override { oa_transfer_free(transfer_); }
    oa_transfer *Take() { return std::exchange(transfer_, nullptr); }

  private:
    Napi::Value Put(const Napi::CallbackInfo &info);
    Napi::Value Say(const Napi::CallbackInfo &info);
    void Free(const Napi::CallbackInfo &info);

    oa_transfer *transfer_ = nullptr;
};

/*
 * Read a message that another process wrote: (cohort, isIn, timeMillis, text). *move borrows
 * *prints. Returns false for a text that is none.
 */
bool ReadMove(const Napi::CallbackInfo &info, std::vector<uint64_t> *prints, oa_cohort_move *move);

void DefineMessages(Napi::Env env, Napi::Object exports);

} // namespace oa

#endif
