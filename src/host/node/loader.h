/*
 * loader.h: the table of cohorts that an environment of Node looks users up in, and the thread that
 * makes the next one.
 *
 * A load downloads or reads the members of one cohort, which may take minutes, so it has a thread
 * of its own and not one of libuv's pool. The loop only takes the finished table: one pointer
 * changes. In the whole process one load is under way at a time, whoever asks for it, so that the
 * memory that loads need on top of the tables is bounded; the others wait on their threads.
 *
 * Thread: every function is called on the loop's thread, and handlers are called there, from the
 * loop and never from inside a call.
 */
#ifndef OA_HOST_LOADER_H
#define OA_HOST_LOADER_H

#include <uv.h>

#include "../load.h"
#include "../transfer.h"
#include "cohort.h"
#include "oa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a loader is made from. */
typedef struct oa_loader_config {
    oa_str key_text;     /* see oa_cohort_key_init() */
    const oa_str *names; /* of the cohorts, in order */
    size_t name_count;
    oa_str snapshot_path; /* where the table is kept for the next process; absent: nowhere */
    oa_curl_config curl;  /* request_timeout_ms bounds a silence */
} oa_loader_config;

typedef struct oa_loader_handlers {
    void *data;                                                             /* passed back */
    void (*loaded)(void *data, void *ticket, const oa_load_report *report); /* borrows */
    void (*destroyed)(void *data); /* the end of oa_loader_destroy() */
} oa_loader_handlers;

typedef struct oa_loader oa_loader;

/*
 * Create a loader whose cohorts are not loaded yet.
 * Ownership: borrows the loop until it is destroyed; copies the config; returns *out owned. Errors:
 * OA_NOMEM, OA_TOO_LARGE (see oa_cohort_build_new()).
 */
oa_status oa_loader_new(uv_loop_t *loop, const oa_loader_config *config,
                        oa_loader_handlers handlers, oa_loader **out)
    __attribute__((warn_unused_result));

/*
 * Take the loader: cancel what is under way, free everything, call `destroyed`, and no other
 * handler. The loop must keep running until then.
 */
void oa_loader_destroy(oa_loader *loader);

/* Set *out to the cohorts that a user is in, as far as they are loaded. Borrows the id. The hot
 * call. */
void oa_loader_find(const oa_loader *loader, oa_str user_id, oa_cohort_set *out);

/*
 * Have changes in front of the table from now on. Nothing happens if it has. Errors: OA_NOMEM;
 * OA_CLOSED: the loader ends.
 */
oa_status oa_loader_take_changes(oa_loader *loader) __attribute__((warn_unused_result));

/* See oa_cohort_changes_put(). Borrows. Errors: also OA_CLOSED: it takes no changes. */
oa_status oa_loader_change(oa_loader *loader, const oa_cohort_move *move, oa_cohort_moved *moved)
    __attribute__((warn_unused_result));

/* Return the number of changes that no merge has begun to take. */
size_t oa_loader_changes(const oa_loader *loader);

/*
 * Write the changes as bytes, for the next process. Sets *len, and *out, owned, to be freed; NULL
 * where none are taken. Errors: OA_NOMEM. Cost: 5 ns a change.
 */
oa_status oa_loader_save(const oa_loader *loader, char **out, size_t *len)
    __attribute__((warn_unused_result));

/*
 * Go on with the changes of a process before, in addition to what there is. Borrows. Errors: those
 * of oa_cohort_changes_open() and oa_cohort_changes_add(); OA_CLOSED: it takes no changes.
 */
oa_status oa_loader_resume(oa_loader *loader, oa_str bytes) __attribute__((warn_unused_result));

/* Set growth[n] to by how many the changes make cohort n larger than it is in the table. */
void oa_loader_growth(const oa_loader *loader, int64_t growth[OA_COHORT_MAX]);

/* Lend the key of its prints. */
const oa_hash_key *oa_loader_key(const oa_loader *loader);

/* Start to merge the changes into the next table, as oa_loader_start() starts a load. */
oa_status oa_loader_merge(oa_loader *loader, void *ticket) __attribute__((warn_unused_result));

/*
 * Start to use what another process has, in place of everything here, as oa_loader_start() starts a
 * load. Takes the transfer, also on an error. Errors: as oa_loader_start().
 */
oa_status oa_loader_adopt(oa_loader *loader, oa_transfer *transfer, void *ticket)
    __attribute__((warn_unused_result));

/*
 * Start to use the snapshot that another process has written, as oa_loader_start() starts a load.
 * It ends as FAILED when that cannot be used, or has other cohorts, and as OUTDATED when messages
 * told what is later and is not kept one by one any more. Errors: as oa_loader_start().
 */
oa_status oa_loader_map(oa_loader *loader, void *ticket) __attribute__((warn_unused_result));

/*
 * Keep what is known now for other processes: the table, and a copy of the changes in front of it.
 * Sets how many bytes each has; 0 changes where none are taken. It lasts until the table is
 * replaced, or it is released. Errors: OA_UNAVAILABLE: nothing is known; OA_NOMEM. Cost: 5 ns a
 * change.
 */
oa_status oa_loader_capture(oa_loader *loader, size_t *table_bytes, size_t *changes_bytes)
    __attribute__((warn_unused_result));

/* Copy bytes [from, from + len) of it to `out`. Errors: OA_CLOSED: it is gone, or has fewer. */
oa_status oa_loader_captured(const oa_loader *loader, size_t from, size_t len, char *out)
    __attribute__((warn_unused_result));

/* Give it up. */
void oa_loader_release(oa_loader *loader);

/*
 * Start a load; `loaded` is called once, at its end, with `ticket`. Copies. Errors: OA_CLOSED: one
 * is under way, or the loader was aborted; OA_NOMEM; OA_UNAVAILABLE: libcurl, or no thread.
 */
oa_status oa_loader_start(oa_loader *loader, const oa_load *load, void *ticket)
    __attribute__((warn_unused_result));

/* Have the load that is under way end within milliseconds, unless its table is being made. */
void oa_loader_cancel(oa_loader *loader);

/* Cancel it and wait for its thread, without a report: the process is exiting. */
void oa_loader_abort(oa_loader *loader);

/*
 * Start with the members of the snapshot: what it has of cohorts with the same names is loaded
 * then. Errors: OA_UNAVAILABLE: there is none; OA_CLOSED: a load was started; and those of
 * oa_cohort_table_open(). Cost: reads all of it, and when the cohorts are others, makes another
 * table.
 */
oa_status oa_loader_restore(oa_loader *loader) __attribute__((warn_unused_result));

/* Lend what the table in use has of a cohort; NULL where there is none. */
const oa_cohort_info *oa_loader_info(const oa_loader *loader, size_t cohort);

/* Free the table, when no load is under way: nothing is known then. */
void oa_loader_clear(oa_loader *loader);

/* Whether the load that is under way keeps the loop alive; it does not before this is called. */
void oa_loader_ref(oa_loader *loader, bool is_ref);

/* Whether oa_loader_set_trust() is to be called before the first load. */
bool oa_loader_needs_trust(const oa_loader *loader);

/* Set the CA certificates to trust; see oa_curl_trust(). Errors: also OA_CLOSED: a load is under
 * way. */
oa_status oa_loader_set_trust(oa_loader *loader, const oa_trust_source *source)
    __attribute__((warn_unused_result));

/* Return the distinct users, and the bytes, of the table in use; 0 where there is none. */
uint64_t oa_loader_users(const oa_loader *loader);
uint64_t oa_loader_bytes(const oa_loader *loader);

#ifdef __cplusplus
}
#endif

#endif
