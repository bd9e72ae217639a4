/*
 * cohorts.h: what cohorts.cc gives to the addon.  [loop]
 */
#ifndef OA_HOST_COHORTS_H
#define OA_HOST_COHORTS_H

#include <napi.h>

namespace oa {

/* Return the class Cohorts, as JavaScript sees it. */
Napi::Function DefineCohorts(Napi::Env env);

} // namespace oa

#endif
