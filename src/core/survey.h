/*
 * survey.h: what is in the segments of a spool, read without taking it over: counts, flags, users.
 * [externally synchronised]
 *
 * It reads bytes that are its caller's alone, and changes nothing. What it keeps is bounded,
 * whatever the bytes are: names and ids by OA_SURVEY_MOST_TEXT_BYTES, the table that tells users
 * apart by OA_SURVEY_MOST_PAIRS.
 */
#ifndef OA_SURVEY_H
#define OA_SURVEY_H

#include "oa.h"
#include "segment.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    OA_SURVEY_MOST_SUBJECTS = 4096,
    OA_SURVEY_MOST_VARIATIONS = 16 * 1024,
    OA_SURVEY_MOST_USERS = 1000 * 1000, /* that are listed */
    OA_SURVEY_MOST_TEXT_BYTES = 128 * 1024 * 1024,
    OA_SURVEY_MOST_PAIRS = 12 * 1024 * 1024, /* of a subject and a user: 128 MiB */
};

/* The entries of segments. What is not settled is pending. */
typedef struct oa_survey_counts {
    uint64_t decisions; /* pending */
    uint64_t tracked;   /* pending events of track() and identify() */
    uint64_t repeats;   /* pending, and sent only if the store of a fleet knows another value */
    uint64_t settled;
    uint64_t missing;  /* damaged, or without the variant that they name */
    int64_t oldest_ms; /* of decisions and tracked events that are pending; 0: there are none */
    int64_t newest_ms;
} oa_survey_counts;

/* A flag, or a type of tracked events. Perhaps nothing of it is pending. */
typedef struct oa_survey_subject {
    oa_str name; /* of a type, as JSON has it between quotation marks */
    bool is_tracked;
    uint64_t pending;
    uint64_t users; /* different ones */
} oa_survey_subject;

typedef struct oa_survey_variation {
    size_t subject; /* index */
    oa_str key;     /* absent: null */
    bool enabled;
    uint64_t pending;
} oa_survey_variation;

/* A user of the flag that is looked at. */
typedef struct oa_survey_user {
    oa_str user_id;
    oa_str device_id;
    size_t variation; /* of the latest decision: index */
    int64_t time_ms;  /* of it */
    uint64_t pending;
} oa_survey_user;

typedef struct oa_survey_result {
    const oa_survey_subject *subjects; /* in the order in which they were met, like the next two */
    size_t subject_count;
    const oa_survey_variation *variations;
    size_t variation_count;
    const oa_survey_user *users; /* of the flag, as many as were asked for */
    size_t user_count;
    uint64_t others;  /* pending decisions and events that have no row, since a bound was reached */
    bool is_at_least; /* there may be more users than are counted, for the same reason */
} oa_survey_result;

typedef struct oa_survey oa_survey;

/*
 * Begin a survey. Of `flag` up to `most_users` users are listed, and OA_SURVEY_MOST_USERS at most;
 * absent: of none. Ownership: copies; returns *out owned. Errors: OA_NOMEM.
 */
oa_status oa_survey_new(oa_str flag, size_t most_users, oa_survey **out)
    __attribute__((warn_unused_result));

/* Take the survey. NULL is fine. */
void oa_survey_free(oa_survey *survey);

/*
 * Read a segment: `size` bytes, aligned to eight. Writes *state, and *head and *counts if it is
 * OA_SEGMENT_READABLE. Ownership: borrows. Errors: OA_NOMEM; a part was counted then. Cost: 0.2 us
 * for a decision.
 */
oa_status oa_survey_read(oa_survey *survey, const char *bytes, size_t size, oa_segment_state *state,
                         oa_segment_head *head, oa_survey_counts *counts)
    __attribute__((warn_unused_result));

/* Write what was found. Lends it until the next call. */
void oa_survey_result_get(const oa_survey *survey, oa_survey_result *out);

#ifdef __cplusplus
}
#endif

#endif
