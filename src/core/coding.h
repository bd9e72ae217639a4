/*
 * coding.h: whether request bodies are compressed; not every server takes that. Pure. [any thread]
 *
 * No server says what it takes before it is asked. So a refusal that may be due to the compression
 * is compared with the same request uncompressed:
 *
 *     GZIP --400, 415--> DOUBTED: the same again --read--> PLAIN, for good
 *       |                ^                   |
 *     read           415 |                refused, too: something else is wrong
 *       +-----> PROVEN --+                   v
 *                 ^-----------read------- COMPARED
 */
#ifndef OA_CODING_H
#define OA_CODING_H

#include "oa.h"

typedef enum oa_coding {
    OA_CODING_PLAIN,
    OA_CODING_GZIP,
    OA_CODING_DOUBTED, /* uncompressed, for now */
    OA_CODING_COMPARED,
    OA_CODING_PROVEN,
} oa_coding;

/* What the answer to a request means for the next. */
typedef enum oa_coding_verdict {
    OA_CODING_STAYS,
    OA_CODING_COMPARE, /* send the same again, uncompressed; this answer says nothing else */
    OA_CODING_ENDS,    /* nothing is compressed any more */
} oa_coding_verdict;

static inline bool oa_coding_is_gzip(oa_coding coding) {
    return coding != OA_CODING_PLAIN && coding != OA_CODING_DOUBTED;
}

/*
 * Judge an answer. `was_gzip`: the body was compressed. `was_read`: the answer shows that the
 * server read the body, whatever it thinks of it.
 */
oa_coding_verdict oa_coding_judge(oa_coding *coding, bool was_gzip, bool was_read, int status_code);

#endif
