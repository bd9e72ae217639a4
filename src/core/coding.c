#include "coding.h"

/* Whether compression may be why the server refuses. */
static bool is_doubtful(oa_coding coding, int status_code) {
    /* It was out when another one was refused: it says no more than that one. */
    if (!oa_coding_is_gzip(coding))
        return status_code == 400 || status_code == 415;
    if (status_code == 415)
        return coding == OA_CODING_GZIP || coding == OA_CODING_PROVEN;
    return status_code == 400 && coding == OA_CODING_GZIP;
}

static oa_coding_verdict judge_gzip(oa_coding *coding, bool was_read, int status_code) {
    if (was_read) {
        *coding = OA_CODING_PROVEN;
    } else if (is_doubtful(*coding, status_code)) {
        if (*coding != OA_CODING_PLAIN)
            *coding = OA_CODING_DOUBTED;
        return OA_CODING_COMPARE;
    }
    return OA_CODING_STAYS;
}

oa_coding_verdict oa_coding_judge(oa_coding *coding, bool was_gzip, bool was_read,
                                  int status_code) {
    if (was_gzip)
        return judge_gzip(coding, was_read, status_code);
    if (*coding != OA_CODING_DOUBTED)
        return OA_CODING_STAYS;
    if (was_read) {
        *coding = OA_CODING_PLAIN;
        return OA_CODING_ENDS;
    }
    if (status_code == 400 || status_code == 415)
        *coding = OA_CODING_COMPARED;
    return OA_CODING_STAYS;
}
