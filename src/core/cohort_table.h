/*
 * cohort_table.h: how a table of cohorts is written, and read in order.
 *
 * Thread: one owner while it is written, then any number of readers.
 *
 * The rest of the interface, what a host may use, is in cohort.h.
 */
#ifndef OA_COHORT_TABLE_H
#define OA_COHORT_TABLE_H

#include "cohort.h"

enum { OA_COHORT_MAX_USERS = INT32_MAX };

/*
 * Begin a table. `infos` describes its cohorts, without their members, which are counted.
 *
 * `max_users` bounds how many are added, and `likely_users` chooses the number of buckets. Copies
 * infos; returns *out owned, to be sealed or freed. Errors: OA_NOMEM, OA_TOO_LARGE. Cost: memory
 * for max_users is asked for; pages that are not written to cost nothing.
 */
oa_status oa_cohort_table_begin(const oa_cohort_info *infos, size_t count, uint64_t max_users,
                                uint64_t likely_users, oa_cohort_table **out)
    __attribute__((warn_unused_result));

/* Add a user with a set that is not empty. Prints come in ascending order, each once. */
void oa_cohort_table_add(oa_cohort_table *table, uint64_t print, const oa_cohort_set *set);

/* Complete the image. From now on the table is immutable. Borrows the key. */
void oa_cohort_table_seal(oa_cohort_table *table, const oa_hash_key *key);

/* A position in a table. */
typedef struct oa_cohort_cursor {
    const oa_cohort_table *table; /* NULL: a table without users */
    uint64_t bucket;
    uint64_t at;       /* the number of the user */
    uint64_t end;      /* of its bucket */
    uint64_t print;    /* of the user at the cursor; UINT64_MAX: there are no more */
    oa_cohort_set set; /* all of it, cohorts that are not loaded, too */
} oa_cohort_cursor;

/* Start at the first user. Borrows the table until the cursor is given up. */
void oa_cohort_cursor_init(oa_cohort_cursor *cursor, const oa_cohort_table *table);

/* Go on to the next user. */
void oa_cohort_cursor_step(oa_cohort_cursor *cursor);

#endif
