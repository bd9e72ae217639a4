/*
 * store.h: a batch as the fleet's store sees it: what to ask, what the answers mean, what to write.
 * [one owner]
 *
 * A store is a memory of exposures that many processes share, such as Redis. It keeps, for each
 * user and window, the last value of each flag that Amplitude has, and its version, which counts
 * the changes: it is the turn of the exposure's insert_id. So
 *
 *   - before a batch is sent, its exposures are compared with the store, and what the fleet has
 *     sent already is left out;
 *   - once Amplitude has the batch, what is new is written, each value only if the version is still
 *     the one that was compared. If it is not, another process sent another value meanwhile, and
 *     nobody knows which one Amplitude has heard last: the property is sent again, and then written
 *     by the same rule. So what the store says last is what Amplitude heard last.
 *
 * Nothing is written before it is delivered: a mark that is set first would lose what a crash
 * takes. What the store does not answer counts as not known, and is sent, as is what it does not
 * have. But a store can lose what it had, and refuse to be written to. So its version is compared
 * with the turn that this process counted for itself: where it is behind that, the process goes by
 * what it knows, as without a store, until a write succeeds.
 *
 * A *pair* is an exposure of a batch; pairs of one user, flag and window are a chain, of which the
 * first is asked about and the last is written. The store sees keyed hashes only.
 */
#ifndef OA_STORE_H
#define OA_STORE_H

#include "batch.h"
#include "oa.h"

typedef struct oa_store oa_store;

/* Create one. Ownership: lends hash_key for life; returns *out owned. Errors: OA_NOMEM. */
oa_status oa_store_new(const oa_config *config, const oa_hash_key *hash_key, oa_store **out)
    __attribute__((warn_unused_result));

/* Take it. NULL is fine. */
void oa_store_free(oa_store *store);

/* Know nothing of any batch. */
void oa_store_reset(oa_store *store);

/* Give back the memory of a large batch. */
void oa_store_trim(oa_store *store);

/*
 * Begin with a batch, and return the question about it, with the number of its parts in *count: 0
 * without memory, too, and then nothing is known of the batch. Ownership: lends the parts until the
 * next call of this module.
 */
const oa_store_part *oa_store_ask(oa_store *store, const oa_batch *batch, size_t *count);

/* Take the answers to the pairs of the question, in order; any that are missing are unknown. */
void oa_store_learn(oa_store *store, const int32_t *answers, size_t count);

/*
 * Judge the record at `index` of the batch, once for each, in order: it is sent (OA_MARK_KEEP), all
 * of it or only its property, a repeat, or delivered. Writes what is to be sent into the record.
 */
oa_mark oa_store_judge(oa_store *store, size_t index, oa_record *record);

/* Leave the pairs of records that are not sent out, as the batch does: `marks` has one of each. */
void oa_store_compact(oa_store *store, const uint8_t *marks);

/*
 * Return what to write of the first `carried` records, which Amplitude has, with the number of
 * parts in *count; 0 without memory, too. Ownership: as above.
 */
const oa_store_part *oa_store_write(oa_store *store, size_t carried, size_t *count);

/* Take the answers to what was written, and mark those of the batch that met another value. */
void oa_store_confirm(oa_store *store, oa_batch *batch, const int32_t *answers, size_t count);

#endif
