/*
 * load.h: reads the members of one cohort from a server, or from files, and makes the next table.
 *
 * Blocks until it is over: minutes for a large cohort. Thread: any; the connection is used by one
 * load at a time.
 */
#ifndef OA_HOST_LOAD_H
#define OA_HOST_LOAD_H

#include "cohort.h"
#include "curl.h"
#include "oa.h"

#ifdef __cplusplus
extern "C" {
#else
#include <stdatomic.h>
#endif

/* How a load came to its end. */
#define OA_LOAD_END_MAP(X)                                                                         \
    X(LOADED, "loaded")     /* the new members are in use */                                       \
    X(ANSWERED, "answered") /* the server answered something else than 200, or a text */           \
    X(OUTDATED, "outdated") /* messages told what is later, and is not kept one by one any more */ \
    X(HELD, "held")         /* fewer members than min_members: the present ones are kept */        \
    X(TOO_MANY, "too_many") /* more members than max_members */                                    \
    X(MALFORMED, "malformed") /* the body is not a cohort, or was cut off */                       \
    X(FAILED, "failed")       /* there was no answer, or no file, or no memory */                  \
    X(CANCELLED, "cancelled")

typedef enum oa_load_end {
#define OA_LOAD_END_ENUM(name, text) OA_LOAD_##name,
    OA_LOAD_END_MAP(OA_LOAD_END_ENUM)
#undef OA_LOAD_END_ENUM
} oa_load_end;

/* Return its name for JavaScript. Static storage. */
const char *oa_load_end_name(oa_load_end end);

enum { OA_LOAD_MAX_PARTS = 64, OA_LOAD_TEXT_BYTES = 1024 };

/* A file, and what the ids in it do to the cohort. */
typedef struct oa_load_part {
    oa_str path;
    oa_cohort_change change;
} oa_load_part;

/* One load: from a URL, or where there is none, from files in their order. */
typedef struct oa_load {
    size_t cohort;
    oa_cohort_format format;
    oa_str url;
    const char *const *headers; /* lines */
    size_t header_count;
    bool follows; /* one redirect; see oa_get */
    bool is_text; /* the answer has no members: it is wanted as a text */
    const oa_load_part *parts;
    size_t part_count; /* at most OA_LOAD_MAX_PARTS; the first one replaces the members */
    uint64_t max_members;
    uint64_t min_members;
    int64_t as_of_ms; /* the time of the members, unless the body says it; 0: now */
} oa_load;

typedef struct oa_load_report {
    oa_load_end end;
    char message[512];             /* why it is not LOADED; empty for ANSWERED */
    int status_code;               /* 0: there was no answer */
    char text[OA_LOAD_TEXT_BYTES]; /* of an answer to `is_text`, as far as it has room */
    uint32_t retry_after_seconds;
    oa_cohort_meta meta; /* what was read until then; `bytes` are those of the text */
    oa_cohort_delta delta;
    int64_t surviving; /* members more by messages that are later than the list */
    bool is_all;       /* those are all; of a merge: it has all changes up to its begin */
    uint64_t members[OA_COHORT_MAX]; /* of a transfer: of each cohort, with all changes */
    size_t said;                     /* of a transfer: its messages that are in it */
    uint64_t wire_bytes;             /* as they came, compressed or not */
    uint64_t duration_ms;
    char snapshot_error
        [128]; /* why the new table was not written; empty: it was, or was not to be */
} oa_load_report;

#ifndef __cplusplus
/*
 * Read the members that `load` asks for, and return the table that follows `present`, owned; or
 * NULL, and say why in *report: also for a load of a text. It ends within milliseconds once
 * *cancelled is set, and oa_curl_cancel() was called, unless the table is being made. Borrows all;
 * `curl` may be NULL for files. Memory: with more than one file, one more table.
 */
oa_cohort_table *oa_load_table(const oa_load *load, const oa_cohort_plan *plan,
                               const oa_cohort_table *present, oa_curl *curl,
                               const atomic_bool *cancelled, oa_load_report *report);

/* End a report with a message. Copies. */
void oa_load_say(oa_load_report *report, oa_load_end end, const char *message);
#endif

#ifdef __cplusplus
}
#endif

#endif
