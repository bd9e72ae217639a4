/*
 * fleet.c: what a store of the fleet says of the batch of an attempt. store.c knows what to ask and
 * what the answers mean; here decisions are settled by them. [externally synchronised]
 */
#include <string.h>

#include "drop.h"
#include "intake.h"
#include "state.h"

const oa_store_part *oa_attempt_ask(oa_attempt *attempt, size_t *count) {
    *count = 0;
    return attempt->store == NULL ? NULL : oa_store_ask(attempt->store, attempt->batch, count);
}

/* Have the table know the turn that the fleet gave an exposure. */
static void correct_turn(oa_dispatcher *d, const oa_record *record, oa_occurrence before) {
    const oa_variant *variant = record->variant;
    if (d->exposure != NULL && record->occurrence.turn != before.turn) /* so it is an exposure */
        oa_exposure_set_turn(d->exposure, oa_record_identity(record, &d->hash_key),
                             variant->flag_hash, (uint32_t)variant->content.low, before,
                             record->occurrence.turn);
}

/* Take a record out of the batch that is not sent. */
static bool settle(void *context, oa_record *record, oa_mark mark) {
    oa_dispatcher *d = context;
    if (mark == OA_MARK_KEEP)
        return false;
    if (mark == OA_MARK_REPEAT) {
        oa_drop_repeat(d, record);
        return true;
    }
    d->stats.delivered++;
    d->stats.pending--;
    oa_flushes_settle(&d->flushes, record->seq, true);
    oa_intake_settle(d, record);
    oa_record_release(&d->arena, record);
    return true;
}

bool oa_dispatcher_learn(oa_dispatcher *d, oa_attempt *attempt, const int32_t *said, size_t count) {
    oa_batch *batch = attempt->batch;
    if (attempt->store == NULL)
        return true;
    oa_store_learn(attempt->store, said, count);
    for (size_t i = 0; i < batch->count; i++) {
        oa_record *record = batch->records[i];
        const oa_occurrence before = record->occurrence;
        batch->marks[i] = (uint8_t)oa_store_judge(attempt->store, i, record);
        /* Amplitude may have it, and another process may have sent another value since: under the
         * same id it would be a repeat, and the property would stay at that value. */
        if (batch->again)
            record->regrouped++;
        correct_turn(d, record, before);
    }
    oa_store_compact(attempt->store, batch->marks);
    oa_batch_filter(batch, batch->count, settle, d);
    memset(batch->marks, OA_MARK_KEEP, batch->count);
    return batch->count > 0;
}

const oa_store_part *oa_attempt_write(oa_attempt *attempt, size_t *count) {
    *count = 0;
    if (attempt->store == NULL || attempt->outcome != OA_OUTCOME_ACCEPTED)
        return NULL;
    return oa_store_write(attempt->store, attempt->body.carried, count);
}

void oa_attempt_confirm(oa_attempt *attempt, const int32_t *answers, size_t count) {
    if (attempt->store != NULL && attempt->outcome == OA_OUTCOME_ACCEPTED)
        oa_store_confirm(attempt->store, attempt->batch, answers, count);
}
