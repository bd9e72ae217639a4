/*
 * inspect.h: looks at the files of journals without a lock, a mapping or a change, whoever has
 * them, and whatever they do to them meanwhile.  [any thread]
 *
 * Functions return 0, or an error as errno has it.
 */
#ifndef OA_HOST_SPOOL_INSPECT_H
#define OA_HOST_SPOOL_INSPECT_H

#include "survey.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { OA_INSPECT_MOST_BYTES = 32 * 1024 * 1024 }; /* a larger event could not be sent */

typedef struct oa_inspection {
    oa_segment_state state;
    bool is_blank; /* of OA_SEGMENT_FOREIGN: it is being made, or kept for later */
    oa_segment_head head;
    oa_survey_counts counts;
} oa_inspection;

/* Write whether a process holds the lock of an open file. */
int oa_inspect_lock(int fd, bool *is_held) __attribute__((warn_unused_result));

/* Read a file into a survey. Errors: EFBIG: no segment is so large; ENOMEM. */
int oa_inspect_file(int fd, oa_survey *survey, oa_inspection *out)
    __attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif

#endif
