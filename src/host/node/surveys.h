/*
 * surveys.h: what is in a spool, for the command line.  [loop]
 */
#ifndef OA_HOST_SURVEYS_H
#define OA_HOST_SURVEYS_H

#include <napi.h>

namespace oa {

/* Add the class SpoolSurvey to the exports. */
void DefineSurveys(Napi::Env env, Napi::Object exports);

} // namespace oa

#endif
