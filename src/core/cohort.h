/*
 * cohort.h: which users are in which cohorts: the second public surface of the core, for hosts.
 *
 * A table is immutable and answers for all cohorts at once. A build reads the members of one cohort
 * from bytes that a host received, and makes the next table out of them and the present one. An
 * overlay holds changes of single users in front of a table, until a build merges them.
 *
 *     bytes -> build_feed ... build_end -> build_finish(present table, overlay) -> next table
 *     message of a webhook -> oa_cohort_message -> changes_put -> two overlays
 *     user id -> oa_cohort_print -> table_find -> changes_apply -> a set of cohorts
 *     table_image -> (a file, chunks in a store) -> table_open
 *     changes_write -> (the same) -> changes_open
 *
 * Cohorts are numbered from 0, in the order in which the application lists them. A user is known
 * by a *print*: 57 bits of a keyed hash of the id. So a table holds no ids, and a look-up of a user
 * that is in no cohort is answered wrongly once in 2^57 / users: 1.4e10 for 10 million users.
 *
 * The key is derived from a text. A fleet that shares images gives the same text in each process:
 * the secret key of the Amplitude project, or where there is none, the API key. Prints that were
 * made with the secret key cannot be turned into ids by trying ids.
 *
 * Thread: a table may be read by many threads at once. A build and an overlay are used by one at a
 * time, on any thread; a build is independent of what else happens until build_finish(). No
 * function blocks or calls back.
 */
#ifndef OA_COHORT_H
#define OA_COHORT_H

#include "hash.h"
#include "oa.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    OA_COHORT_MAX = 128,       /* cohorts in a table; Optimizely has 100 attributes in a project */
    OA_COHORT_NAME_BYTES = 64, /* the longest id of a cohort */
    OA_COHORT_ID_BYTES = 4096, /* the longest id of a user: 1024 characters */
    OA_COHORT_MESSAGE_ID_BYTES = 256,
    OA_COHORT_PRINT_BITS = 57,
};

/* ---- Users and sets of cohorts ---- */

/* A set of cohorts: bit n of word n / 64 is cohort n. */
typedef struct oa_cohort_set {
    uint64_t words[OA_COHORT_MAX / 64];
} oa_cohort_set;

static inline bool oa_cohort_set_has(const oa_cohort_set *set, size_t cohort) {
    return (set->words[cohort / 64] >> cohort % 64 & 1) != 0;
}

static inline void oa_cohort_set_put(oa_cohort_set *set, size_t cohort, bool is_in) {
    const uint64_t bit = UINT64_C(1) << cohort % 64;
    set->words[cohort / 64] = (set->words[cohort / 64] & ~bit) | (is_in ? bit : 0);
}

/* Derive the key of all prints from `text`. Borrows. */
void oa_cohort_key_init(oa_hash_key *key, oa_str text);

/* Return the print of a user id in UTF-8. Borrows. Cost: one hash. */
uint64_t oa_cohort_print(const oa_hash_key *key, oa_str user_id);

/* ---- A table ---- */

typedef struct oa_cohort_table oa_cohort_table;

/*
 * Set *out to the cohorts that a user is in, as far as they are loaded; empty for an unknown user.
 * Cost: two cache misses, whatever the number of cohorts.
 */
void oa_cohort_table_find(const oa_cohort_table *table, uint64_t print, oa_cohort_set *out);

/* What a table has of one cohort. */
typedef struct oa_cohort_info {
    oa_str name;         /* Amplitude's id of the cohort; lent by the table */
    bool is_loaded;      /* false: nothing is known, and a user without it is not "not a member" */
    uint64_t members;    /* distinct; 0 is a valid answer of a cohort that is loaded */
    int64_t modified_ms; /* lastModified and lastComputed, as received; 0: not given */
    int64_t computed_ms;
    int64_t fetched_ms; /* when its members were read, by the host's clock */
} oa_cohort_info;

/* Return the number of cohorts of a table. */
size_t oa_cohort_table_cohorts(const oa_cohort_table *table);

/* Lend what the table has of cohort `cohort`, until the table is freed. */
const oa_cohort_info *oa_cohort_table_info(const oa_cohort_table *table, size_t cohort);

/* Return the cohorts that are loaded. */
oa_cohort_set oa_cohort_table_loaded(const oa_cohort_table *table);

/* Return the number of distinct users. */
uint64_t oa_cohort_table_users(const oa_cohort_table *table);

/* Take a table. Bytes that it was opened on stay. NULL is fine. */
void oa_cohort_table_free(oa_cohort_table *table);

/*
 * Lend the bytes of a table: one contiguous image, which may be written anywhere, in pieces, and be
 * opened on any machine. It holds no ids. Valid until the table is freed.
 */
oa_str oa_cohort_table_image(const oa_cohort_table *table);

/*
 * Check an image, and return a table that reads it where it is.
 *
 * Ownership: borrows the key for the call, and `image` until the table is freed; returns *out
 * owned. Errors: OA_MALFORMED: no image, or a damaged one; OA_FOREIGN: one that another key or
 * another version made; OA_NOMEM. Whatever happens to the bytes later, a look-up reads none outside
 * of them. Cost: reads all of it, 3 ms for 10 million members that are in memory.
 */
oa_status oa_cohort_table_open(const oa_hash_key *key, oa_str image, oa_cohort_table **out)
    __attribute__((warn_unused_result));

/* ---- Changes of single users ---- */

typedef struct oa_cohort_overlay oa_cohort_overlay;

/* Create an overlay for at most `max_changes`. Returns *out owned. Errors: OA_NOMEM. */
oa_status oa_cohort_overlay_new(size_t max_changes, oa_cohort_overlay **out)
    __attribute__((warn_unused_result));

/* Take an overlay. NULL is fine. */
void oa_cohort_overlay_free(oa_cohort_overlay *overlay);

/*
 * Note that a user enters or leaves a cohort, according to a message of `time` (its computed_time).
 *
 * Messages may come late: of the same user and cohort, the latest time counts. Errors: OA_REPEAT:
 * a later one is known, nothing has changed; OA_TOO_LARGE: full, merge it first, or no cohort has
 * this number; OA_NOMEM.
 */
oa_status oa_cohort_overlay_put(oa_cohort_overlay *overlay, uint64_t print, size_t cohort,
                                bool is_in, int64_t time) __attribute__((warn_unused_result));

/* Change *set, which a table gave for this user, to what it is with the changes. */
void oa_cohort_overlay_apply(const oa_cohort_overlay *overlay, uint64_t print, oa_cohort_set *set);

/*
 * Forget the changes of a cohort up to and including `time`.
 *
 * A merge leaves the overlay as it is: with or without the merged changes in front of the new
 * table, answers are the same. Those that are kept go on to reject late messages. Forget by age, or
 * up to the moment at which a whole cohort was computed, once its members are in the table.
 */
void oa_cohort_overlay_forget(oa_cohort_overlay *overlay, size_t cohort, int64_t time);

/* Return the number of changes. */
size_t oa_cohort_overlay_count(const oa_cohort_overlay *overlay);

/* Copy an overlay, for a build on another thread. Borrows; returns *out owned. Errors: OA_NOMEM. */
oa_status oa_cohort_overlay_copy(const oa_cohort_overlay *overlay, oa_cohort_overlay **out)
    __attribute__((warn_unused_result));

/* ---- The next table ---- */

/* How the bytes of a build are to be read. */
typedef enum oa_cohort_format {
    OA_COHORT_JSON,  /* {"cohortId": ..., "memberIds": ["...", ...]}, or an array of ids */
    OA_COHORT_CSV,   /* a header line with a column user_id, RFC 4180 */
    OA_COHORT_LINES, /* an id on each line */
} oa_cohort_format;

/* What the ids of a build do to the cohort. */
typedef enum oa_cohort_change {
    OA_COHORT_REPLACE, /* they are its members, and nobody else */
    OA_COHORT_ENTER,   /* they are added */
    OA_COHORT_LEAVE,   /* they are removed */
} oa_cohort_change;

/* The next table: which cohorts it has, and which of them is read now. Everything is borrowed. */
typedef struct oa_cohort_plan {
    const oa_hash_key *key;
    const oa_str *names; /* of all cohorts, in order, 1 to OA_COHORT_MAX, all different */
    size_t name_count;
    oa_cohort_set loaded; /* count as loaded from now on, even if no members were read yet */
    size_t cohort;        /* the one that is read */
    oa_cohort_change change;
    oa_cohort_format format;
    uint64_t max_members; /* ids of a body; 0: as many as fit, 2^31 */
} oa_cohort_plan;

typedef struct oa_cohort_build oa_cohort_build;

/*
 * Begin to read the members of one cohort.
 *
 * Ownership: copies the plan; returns *out owned. Errors: OA_NOMEM, OA_TOO_LARGE (too many cohorts,
 * a name that is too long).
 */
oa_status oa_cohort_build_new(const oa_cohort_plan *plan, oa_cohort_build **out)
    __attribute__((warn_unused_result));

/* Take a build. NULL is fine. */
void oa_cohort_build_free(oa_cohort_build *build);

/*
 * Read more bytes, cut anywhere.
 *
 * Borrows. Errors: OA_MALFORMED, see oa_cohort_build_problem(), also for more bytes than
 * oa_cohort_build_max_bytes(); OA_TOO_LARGE: more than max_members; OA_NOMEM. All are final: the
 * same status comes again. Cost: 40 ns an id. Memory: 5.3 bytes an id, and 2.2 MB.
 */
oa_status oa_cohort_build_feed(oa_cohort_build *build, oa_str bytes)
    __attribute__((warn_unused_result));

/*
 * The body is complete. Errors: OA_MALFORMED: it was cut off, or is no cohort, and as for feed. A
 * body without a field memberIds, or with null, is an empty cohort if it has a cohortId and the
 * size 0. Of CSV and lines, a cut within the last line may go unseen: compare the length.
 */
oa_status oa_cohort_build_end(oa_cohort_build *build) __attribute__((warn_unused_result));

/*
 * Return how many bytes a body may have by now: 16 MiB, and 4 KiB for each id that was found. So a
 * body that never ends, such as white space behind a bracket, is not read forever.
 */
uint64_t oa_cohort_build_max_bytes(const oa_cohort_build *build);

/* What is wrong with the bytes, for people; static storage; NULL: nothing. */
const char *oa_cohort_build_problem(const oa_cohort_build *build);

/* What a build has read so far. */
typedef struct oa_cohort_meta {
    char cohort_id[OA_COHORT_NAME_BYTES + 1];  /* empty: absent, or too long to be one */
    char group_type[OA_COHORT_NAME_BYTES + 1]; /* "User"; empty: absent */
    int64_t last_modified;                     /* 0: absent */
    int64_t last_computed;
    int64_t size; /* as announced, often before the members; -1: absent */
    uint64_t bytes;
    uint64_t ids;    /* repeats included */
    uint64_t no_ids; /* empty ones and those of more than OA_COHORT_ID_BYTES: left out */
} oa_cohort_meta;

/* Lend what a build has read so far, until it is freed. Empty members for CSV and lines. */
const oa_cohort_meta *oa_cohort_build_meta(const oa_cohort_build *build);

/* What a build changes in its cohort. before = stayed + left; members = stayed + entered. */
typedef struct oa_cohort_delta {
    uint64_t before; /* members in the present table with its overlay */
    uint64_t members;
    uint64_t entered;
    uint64_t stayed;
    uint64_t left; /* a share of `before` that is suspicious is a reason to drop the new table */
} oa_cohort_delta;

/*
 * Make the next table: the present one, with the overlay merged into it, then with the ids that
 * were read. Call it once, after build_end. The present table may be read meanwhile.
 *
 * Ownership: borrows `present` and `overlay` (NULL: none); takes what the build has read; returns
 * *out owned, of which every cohort that `present` has under the same name is kept. Writes *delta.
 * Errors: OA_NOMEM, OA_TOO_LARGE (more than 2^31 users). Cost: 30 ns an id, and 5 for each user of
 * `present`. Memory: the new table, what is not yet merged of the ids, and 0.3 bytes an id.
 */
oa_status oa_cohort_build_finish(oa_cohort_build *build, const oa_cohort_table *present,
                                 const oa_cohort_overlay *overlay, int64_t fetched_ms,
                                 oa_cohort_delta *delta, oa_cohort_table **out)
    __attribute__((warn_unused_result));

/*
 * Make the next table without reading anything: merge an overlay, or add and remove cohorts. Of the
 * plan, key, names and loaded are looked at. Otherwise as oa_cohort_build_finish().
 */
oa_status oa_cohort_merge(const oa_cohort_plan *plan, const oa_cohort_table *present,
                          const oa_cohort_overlay *overlay, oa_cohort_table **out)
    __attribute__((warn_unused_result));

/* ---- Messages of a webhook ---- */

/* The fields of a message: who it is about is in its prints. */
typedef struct oa_cohort_head {
    char cohort_id[OA_COHORT_NAME_BYTES + 1];
    char message_id[OA_COHORT_MESSAGE_ID_BYTES + 1]; /* empty: absent, or too long */
    int8_t in_cohort;                                /* 1: users enter; 0: they leave */
    int64_t computed_time;                           /* as received, in seconds */
    uint64_t no_ids; /* users without an id, or with one that is too long: left out */
} oa_cohort_head;

typedef struct oa_cohort_message oa_cohort_message;

/*
 * Begin to read a message of at most `max_ids` users: Amplitude's default payload of a cohort
 * webhook. Copies the key; returns *out owned. Errors: OA_NOMEM.
 */
oa_status oa_cohort_message_new(const oa_hash_key *key, size_t max_ids, oa_cohort_message **out)
    __attribute__((warn_unused_result));

/* Take a message. NULL is fine. */
void oa_cohort_message_free(oa_cohort_message *message);

/*
 * Read more bytes, cut anywhere. Borrows. Errors: OA_MALFORMED, see oa_cohort_message_problem();
 * OA_TOO_LARGE: more than max_ids; OA_NOMEM. All are final. Memory: 8 bytes a user.
 */
oa_status oa_cohort_message_feed(oa_cohort_message *message, oa_str bytes)
    __attribute__((warn_unused_result));

/* The message is complete. Errors: OA_MALFORMED: it was cut off, or a field is missing. */
oa_status oa_cohort_message_end(oa_cohort_message *message) __attribute__((warn_unused_result));

/* What is wrong with the bytes, for people; static storage; NULL: nothing. */
const char *oa_cohort_message_problem(const oa_cohort_message *message);

/* Lend the fields, until the message is freed; all are there once it has ended. */
const oa_cohort_head *oa_cohort_message_head(const oa_cohort_message *message);

/* Lend the users, in the order in which they came, until the message changes or is freed. */
const uint64_t *oa_cohort_message_prints(const oa_cohort_message *message, size_t *count);

/*
 * What messages have changed, in front of a table: two overlays. One takes changes; the other is
 * being merged into the next table, or was, and still tells which messages are late. At the next
 * merge it is given up.
 *
 * Of a user and a cohort the latest time counts. A list of all members, as of a time, replaces what
 * was told up to then; what is later survives it. What was given up, or replaced, is remembered as
 * one time for each cohort: a message from before it is late as a whole, and a list from before it
 * must not be taken, since it would bring back what a message had changed.
 */
typedef struct oa_cohort_changes oa_cohort_changes;

/* One message, by the users that it names. */
typedef struct oa_cohort_move {
    size_t cohort;
    bool is_in;
    int64_t time_ms;
    const uint64_t *prints; /* borrowed */
    size_t count;
} oa_cohort_move;

typedef struct oa_cohort_moved {
    size_t done; /* of the users; the rest is to be put again, once there is room */
    uint64_t entered;
    uint64_t left;
    uint64_t late; /* something later is known of them */
} oa_cohort_moved;

/* Create them, for at most `max_changes` in an overlay. Returns *out owned. Errors: OA_NOMEM. */
oa_status oa_cohort_changes_new(size_t max_changes, oa_cohort_changes **out)
    __attribute__((warn_unused_result));

/* Take them. NULL is fine. */
void oa_cohort_changes_free(oa_cohort_changes *changes);

/* Change *set, which a table gave for this user, to what it is with the changes. */
void oa_cohort_changes_apply(const oa_cohort_changes *changes, uint64_t print, oa_cohort_set *set);

/*
 * Note that users enter or leave a cohort. `table` is what is behind the changes; NULL: none.
 * Borrows. Writes *moved, also on an error. Errors: OA_TOO_LARGE: there is no room before a merge;
 * OA_NOMEM. Cost: two look-ups a user.
 */
oa_status oa_cohort_changes_put(oa_cohort_changes *changes, const oa_cohort_table *table,
                                const oa_cohort_move *move, oa_cohort_moved *moved)
    __attribute__((warn_unused_result));

/* Whether a list of the members as of `time_ms` may replace those of a cohort. */
bool oa_cohort_changes_allow(const oa_cohort_changes *changes, size_t cohort, int64_t time_ms);

/*
 * Such a list is in `table` now, which is in use: forget what it replaces. Sets *growth to by how
 * many the changes that survive make the cohort larger. Returns false when they are more than some
 * thousand, and were not counted: then a merge tells the size.
 */
bool oa_cohort_changes_listed(oa_cohort_changes *changes, const oa_cohort_table *table,
                              size_t cohort, int64_t time_ms, int64_t *growth);

/*
 * Lend what is to be merged into the next table, until oa_cohort_changes_end_merge(). Meanwhile it
 * may be read by another thread, and no list may come. Sets *is_all: all changes are in it. Errors:
 * OA_NOMEM.
 */
oa_status oa_cohort_changes_begin_merge(oa_cohort_changes *changes, bool *is_all,
                                        const oa_cohort_overlay **out)
    __attribute__((warn_unused_result));

/* The merge is over; `is_done`: the table that has it is in use. */
void oa_cohort_changes_end_merge(oa_cohort_changes *changes, bool is_done);

/* Return the number of changes that no merge has begun to take. */
size_t oa_cohort_changes_count(const oa_cohort_changes *changes);

/*
 * Set growth[n] to by how many all changes make cohort n larger than it is in `table`. Borrows.
 * Cost: a look-up for each change.
 */
void oa_cohort_changes_growth(const oa_cohort_changes *changes, const oa_cohort_table *table,
                              int64_t growth[OA_COHORT_MAX]);

/*
 * Changes as bytes, for another process that has the same table. They hold prints and no ids.
 * `cohorts` is the number of cohorts of the table. Return how many bytes it takes.
 */
size_t oa_cohort_changes_bytes(const oa_cohort_changes *changes, size_t cohorts);

/* Write them to `out`, which has room for them. Borrows. Cost: 5 ns a change. */
void oa_cohort_changes_write(const oa_cohort_changes *changes, const oa_hash_key *key,
                             size_t cohorts, void *out);

/*
 * Make changes of such bytes. A merge is not known to have taken any of them. Borrows; returns *out
 * owned. Errors: OA_MALFORMED: they are none of this key, or damaged, or of another number of
 * cohorts; OA_NOMEM.
 */
oa_status oa_cohort_changes_open(const oa_hash_key *key, oa_str bytes, size_t cohorts,
                                 size_t max_changes, oa_cohort_changes **out)
    __attribute__((warn_unused_result));

/*
 * Put what `other` has of single users, too, and know of lists that are too old what it knows.
 * `table` is what is behind the changes; NULL: none. Borrows. Errors: OA_TOO_LARGE: there is no
 * room for some of them; OA_NOMEM.
 */
oa_status oa_cohort_changes_add(oa_cohort_changes *changes, const oa_cohort_table *table,
                                const oa_cohort_changes *other) __attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif

#endif
