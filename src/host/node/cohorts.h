/*
 * cohorts.h: what cohorts.cc gives to the addon.  [loop]
 */
#ifndef OA_HOST_COHORTS_H
#define OA_HOST_COHORTS_H

#include <napi.h>

namespace oa {

/* Add the classes Cohorts and CohortMessage to the exports. */
void DefineCohorts(Napi::Env env, Napi::Object exports);

} // namespace oa

#endif
