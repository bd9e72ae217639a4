/*
 * cohorts.h: what cohorts.cc gives to the addon.  [loop]
 */
#ifndef OA_HOST_COHORTS_H
#define OA_HOST_COHORTS_H

#include <napi.h>

#include "cohort.h"

namespace oa {

/* Lend the key of the prints of a Cohorts. */
const oa_hash_key *KeyOf(const Napi::Value &cohorts);

/* Add the classes Cohorts, CohortMessage and CohortTransfer to the exports. */
void DefineCohorts(Napi::Env env, Napi::Object exports);

} // namespace oa

#endif
