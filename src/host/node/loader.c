/*
 * loader.c: a load is a thread that ends with it.
 *
 *     thread   wait for the turn -> read -> make the table -> PUBLISHED, wait
 *     loop                                           take it -> SWAPPED, or not -> REFUSED
 *     thread                                                      free the old table -> DONE
 *     loop                                                        join, report
 *
 * The thread frees the old table because giving back the memory of a large one takes milliseconds.
 * While it runs, it owns the job, the connection and what it builds; it reads the present table,
 * which only changes while it waits. `phase` says whose turn it is, and `cancelled` is the only
 * other thing that both touch. The overlay that a merge reads is not changed meanwhile; `surviving`
 * of the report is the loop's.
 *
 * A merge is a load that reads nothing but changes. A transfer replaces the table and the changes;
 * a snapshot of another process replaces the table, and later changes stay.
 */
#include "loader.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../clock.h"
#include "../pages.h"
#include "../snapshot.h"
#include "../turn.h"

enum { MAX_HEADERS = 8, MAX_CHANGES = 128 * 1024 };

enum { IDLE, RUNNING, PUBLISHED, SWAPPED, REFUSED, DONE };

/* What a thread works on. Its strings are its own. */
typedef struct load_job {
    oa_load load;
    const char *headers[MAX_HEADERS];
    oa_load_part parts[OA_LOAD_MAX_PARTS];
    const oa_cohort_overlay *overlay; /* of a merge; lent by the changes */
    oa_transfer *transfer;
    bool is_mapping;        /* the snapshot, which another process has written */
    oa_transferred arrived; /* PUBLISHED: what becomes of a transfer, without its table */
    void *ticket;
    oa_load_report report;
} load_job;

struct oa_loader {
    uv_loop_t *loop; /* borrowed */
    uv_async_t async;
    uv_thread_t thread;
    uv_sem_t swapped;
    oa_loader_handlers handlers;
    oa_hash_key key;
    oa_str *names; /* all in one piece of memory */
    size_t name_count;
    oa_curl *curl;
    bool needs_trust;
    bool is_ending;
    bool is_aborted;
    /* Written by the thread for PUBLISHED and DONE, and by the loop for all others; what was
     * written before it is seen by the other. */
    atomic_int phase;
    /* Written by the loop; read by the thread, which may see it late. */
    atomic_bool cancelled;
    oa_cohort_table *table;     /* in use; NULL: none yet */
    oa_snapshot mapped;         /* what it reads; empty: memory of its own */
    oa_snapshot old;            /* SWAPPED: what the old one reads */
    oa_str snapshot_path;       /* absent: none; owned */
    oa_cohort_table *next;      /* PUBLISHED: to be used; SWAPPED, REFUSED: to be freed */
    oa_cohort_changes *changes; /* in front of the table; NULL: no messages come */
    oa_captured captured;       /* of the table in use */
    load_job job;
};

/* ---- The thread ---- */

/* Keep the table for the next process. Without it, that has to download. */
static void keep(oa_loader *loader) {
    const oa_str image = oa_cohort_table_image(loader->table);
    oa_load_report *report = &loader->job.report;
    if (oa_snapshot_write(loader->snapshot_path, image, &loader->cancelled) != OA_OK)
        snprintf(report->snapshot_error, sizeof(report->snapshot_error), "%s", strerror(errno));
}

/* Have the loop take the table, free the one that it replaces, and keep it. */
static void publish(oa_loader *loader, oa_cohort_table *table) {
    loader->next = table;
    atomic_store(&loader->phase, PUBLISHED);
    uv_async_send(&loader->async);
    uv_sem_wait(&loader->swapped);
    const int phase = atomic_load(&loader->phase);
    if (phase == SWAPPED)
        loader->job.report.end = OA_LOAD_LOADED;
    else
        oa_load_say(&loader->job.report, phase == REFUSED ? OA_LOAD_OUTDATED : OA_LOAD_CANCELLED,
                    "");
    oa_cohort_table_free(loader->next);
    loader->next = NULL;
    oa_snapshot_close(&loader->old);
    oa_transferred_clear(&loader->job.arrived);
    if (phase == SWAPPED && loader->snapshot_path.data != NULL && !loader->job.is_mapping)
        keep(loader);
}

static void merge(oa_loader *loader, const oa_cohort_plan *plan) {
    oa_cohort_table *table = NULL;
    const oa_status status = oa_cohort_merge(plan, loader->table, loader->job.overlay, &table);
    if (status == OA_OK)
        publish(loader, table);
    else
        oa_load_say(&loader->job.report, OA_LOAD_FAILED, oa_status_message(status));
}

static void adopt(oa_loader *loader) {
    load_job *job = &loader->job;
    const oa_status status = oa_transfer_open(job->transfer, &loader->key, loader->names,
                                              loader->name_count, MAX_CHANGES, &job->arrived);
    if (status != OA_OK) {
        oa_load_say(&job->report, status == OA_NOMEM ? OA_LOAD_FAILED : OA_LOAD_MALFORMED,
                    oa_status_message(status));
        return;
    }
    memcpy(job->report.members, job->arrived.members, sizeof(job->report.members));
    job->report.said = job->arrived.said;
    oa_cohort_table *table = job->arrived.table;
    job->arrived.table = NULL;
    publish(loader, table);
}

static void map(oa_loader *loader) {
    load_job *job = &loader->job;
    oa_snapshot *bytes = &job->arrived.bytes;
    oa_cohort_table *table = NULL;
    oa_status status = oa_snapshot_open(loader->snapshot_path, &loader->key, bytes, &table);
    if (status == OA_OK && !oa_table_has_names(table, loader->names, loader->name_count)) {
        oa_cohort_table_free(table);
        oa_snapshot_close(bytes);
        status = OA_FOREIGN;
    }
    if (status != OA_OK) {
        oa_load_say(&job->report, OA_LOAD_FAILED, oa_status_message(status));
        return;
    }
    for (size_t i = 0; i < loader->name_count; i++)
        job->report.members[i] = oa_cohort_table_info(table, i)->members;
    publish(loader, table);
}

static void perform(oa_loader *loader) {
    const oa_load *load = &loader->job.load;
    const oa_cohort_plan plan = {
        .key = &loader->key,
        .names = loader->names,
        .name_count = loader->name_count,
        .cohort = load->cohort,
        .format = load->format,
        .max_members = load->max_members,
    };
    oa_cohort_table *table = NULL;
    if (loader->job.transfer != NULL)
        adopt(loader);
    else if (loader->job.is_mapping)
        map(loader);
    else if (loader->job.overlay != NULL)
        merge(loader, &plan);
    else
        table = oa_load_table(load, &plan, loader->table, loader->curl, &loader->cancelled,
                              &loader->job.report);
    if (table != NULL)
        publish(loader, table);
}

static void on_thread(void *data) {
    oa_loader *loader = data;
    oa_load_report *report = &loader->job.report;
    const uint64_t started_ms = oa_clock_now().monotonic_ms;
    oa_load_say(report, OA_LOAD_CANCELLED, "");
    if (oa_turn_take(&loader->cancelled)) {
        perform(loader);
        oa_turn_give();
    }
    report->duration_ms = oa_clock_now().monotonic_ms - started_ms;
    atomic_store(&loader->phase, DONE);
    uv_async_send(&loader->async);
}

/* ---- The loop ---- */

static void clear_job(load_job *job) {
    for (size_t i = 0; i < job->load.header_count; i++)
        free((void *)(uintptr_t)job->headers[i]);
    free((void *)(uintptr_t)job->load.url.data);
    oa_transfer_free(job->transfer);
    for (size_t i = 0; i < job->load.part_count; i++)
        free((void *)(uintptr_t)job->parts[i].path.data);
    memset(job, 0, sizeof(*job));
}

static void on_closed(uv_handle_t *handle) {
    oa_loader *loader = handle->data;
    const oa_loader_handlers handlers = loader->handlers;
    oa_cohort_table_free(loader->table);
    oa_snapshot_close(&loader->mapped);
    oa_cohort_changes_free(loader->changes);
    oa_captured_clear(&loader->captured);
    oa_curl_free(loader->curl);
    uv_sem_destroy(&loader->swapped);
    free(loader->names);
    free((void *)(uintptr_t)loader->snapshot_path.data);
    free(loader);
    handlers.destroyed(handlers.data);
}

static void finish(oa_loader *loader) {
    /* It ends by itself, and touches nothing more. To join it is to wait until it is scheduled,
     * which takes milliseconds on a busy machine. */
    pthread_detach(loader->thread);
    const oa_load_report report = loader->job.report;
    if (loader->job.overlay != NULL && loader->changes != NULL)
        oa_cohort_changes_end_merge(loader->changes, report.end == OA_LOAD_LOADED);
    void *ticket = loader->job.ticket;
    clear_job(&loader->job);
    atomic_store(&loader->phase, IDLE);
    if (loader->is_ending)
        uv_close((uv_handle_t *)&loader->async, on_closed);
    else
        loader->handlers.loaded(loader->handlers.data, ticket, &report);
}

/* Take the next table, unless it has a list that is older than what messages have told. */
static int take_next(oa_loader *loader) {
    const bool is_mapping = loader->job.is_mapping;
    const bool is_list = loader->job.overlay == NULL && loader->job.transfer == NULL && !is_mapping;
    const size_t cohort = loader->job.load.cohort;
    oa_cohort_changes *changes = loader->changes;
    if (changes != NULL && ((is_mapping && !oa_table_is_allowed(loader->next, changes)) ||
                            (is_list && !oa_cohort_changes_allow(
                                            changes, cohort, oa_table_time(loader->next, cohort)))))
        return REFUSED;
    oa_cohort_table *old = loader->table;
    loader->table = loader->next;
    loader->next = old;
    loader->old = loader->mapped;
    loader->mapped = loader->job.arrived.bytes;
    loader->job.arrived.bytes = (oa_snapshot){0};
    oa_captured_clear(&loader->captured);
    if (loader->job.transfer != NULL) {
        loader->changes = loader->job.arrived.changes;
        loader->job.arrived.changes = changes; /* to be freed on the thread */
    }
    if (is_mapping && changes != NULL)
        oa_table_listed(loader->table, changes);
    if (is_list)
        loader->job.report.is_all =
            changes == NULL || oa_cohort_changes_listed(changes, loader->table, cohort,
                                                        oa_table_time(loader->table, cohort),
                                                        &loader->job.report.surviving);
    return SWAPPED;
}

static void on_async(uv_async_t *async) {
    oa_loader *loader = async->data;
    if (loader->is_aborted)
        return;
    if (atomic_load(&loader->phase) == PUBLISHED) {
        atomic_store(&loader->phase, take_next(loader));
        uv_sem_post(&loader->swapped);
    } else if (atomic_load(&loader->phase) == DONE) {
        finish(loader);
    }
}

/* ---- What the owner calls ---- */

/* Put a copy in place of a string. */
static bool own(oa_str *text) {
    if (text->data != NULL)
        text->data = strndup(text->data, text->len);
    return text->data != NULL;
}

static oa_status copy_names(oa_loader *loader, const oa_loader_config *config) {
    size_t bytes = 0;
    for (size_t i = 0; i < config->name_count; i++)
        bytes += config->names[i].len;
    loader->names = malloc(config->name_count * sizeof(oa_str) + bytes);
    if (loader->names == NULL)
        return OA_NOMEM;
    char *at = (char *)(loader->names + config->name_count);
    for (size_t i = 0; i < config->name_count; i++) {
        const oa_str name = config->names[i];
        memcpy(at, name.data, name.len);
        loader->names[i] = (oa_str){at, name.len};
        at += name.len;
    }
    loader->name_count = config->name_count;
    return OA_OK;
}

oa_status oa_loader_new(uv_loop_t *loop, const oa_loader_config *config,
                        oa_loader_handlers handlers, oa_loader **out) {
    oa_pages_use();
    if (!oa_turn_begin())
        return OA_UNAVAILABLE;
    if (config->name_count > OA_COHORT_MAX)
        return OA_TOO_LARGE;
    oa_loader *loader = calloc(1, sizeof(*loader));
    if (loader == NULL)
        return OA_NOMEM;
    loader->loop = loop;
    loader->handlers = handlers;
    oa_cohort_key_init(&loader->key, config->key_text);
    atomic_init(&loader->phase, IDLE);
    atomic_init(&loader->cancelled, false);
    loader->needs_trust = oa_curl_needs_trust(&config->curl);
    oa_status status = copy_names(loader, config);
    loader->snapshot_path = config->snapshot_path;
    if (loader->snapshot_path.data != NULL && !own(&loader->snapshot_path))
        status = OA_NOMEM;
    if (status == OA_OK && config->curl.server_url.data != NULL)
        status = oa_curl_new(&config->curl, &loader->curl);
    if (status == OA_OK && uv_sem_init(&loader->swapped, 0) != 0)
        status = OA_UNAVAILABLE;
    if (status == OA_OK && uv_async_init(loop, &loader->async, on_async) != 0) {
        uv_sem_destroy(&loader->swapped);
        status = OA_UNAVAILABLE;
    }
    if (status != OA_OK) {
        oa_curl_free(loader->curl);
        free(loader->names);
        free((void *)(uintptr_t)loader->snapshot_path.data);
        free(loader);
        return status;
    }
    loader->async.data = loader;
    uv_unref((uv_handle_t *)&loader->async);
    *out = loader;
    return OA_OK;
}

static bool is_busy(const oa_loader *loader) { return atomic_load(&loader->phase) != IDLE; }

void oa_loader_cancel(oa_loader *loader) {
    if (!is_busy(loader))
        return;
    atomic_store(&loader->cancelled, true);
    if (loader->curl != NULL)
        oa_curl_cancel(loader->curl);
    oa_turn_wake();
}

void oa_loader_abort(oa_loader *loader) {
    if (loader->is_aborted)
        return;
    loader->is_aborted = true;
    if (!is_busy(loader))
        return;
    oa_loader_cancel(loader);
    uv_sem_post(&loader->swapped); /* whether it waits for the loop already or not */
    uv_thread_join(&loader->thread);
    clear_job(&loader->job);
    atomic_store(&loader->phase, IDLE);
}

void oa_loader_clear(oa_loader *loader) {
    if (is_busy(loader))
        return;
    oa_cohort_table_free(loader->table);
    loader->table = NULL;
    oa_snapshot_close(&loader->mapped);
    oa_cohort_changes_free(loader->changes);
    loader->changes = NULL;
    oa_captured_clear(&loader->captured);
}

oa_status oa_loader_restore(oa_loader *loader) {
    if (is_busy(loader) || loader->table != NULL)
        return OA_CLOSED;
    if (loader->snapshot_path.data == NULL)
        return OA_UNAVAILABLE;
    oa_snapshot mapped;
    oa_cohort_table *table = NULL;
    oa_status status = oa_snapshot_open(loader->snapshot_path, &loader->key, &mapped, &table);
    if (status != OA_OK)
        return status;
    if (!oa_table_has_names(table, loader->names, loader->name_count)) {
        const oa_cohort_plan plan = {
            .key = &loader->key, .names = loader->names, .name_count = loader->name_count};
        oa_cohort_table *other = NULL;
        status = oa_cohort_merge(&plan, table, NULL, &other);
        oa_cohort_table_free(table);
        oa_snapshot_close(&mapped);
        table = other;
    }
    loader->table = table;
    loader->mapped = mapped;
    return status;
}

const oa_cohort_info *oa_loader_info(const oa_loader *loader, size_t cohort) {
    return loader->table == NULL ? NULL : oa_cohort_table_info(loader->table, cohort);
}

void oa_loader_destroy(oa_loader *loader) {
    loader->is_ending = true;
    uv_ref((uv_handle_t *)&loader->async); /* so that the loop waits for it */
    if (is_busy(loader))
        oa_loader_cancel(loader); /* it comes to on_async() */
    else
        uv_close((uv_handle_t *)&loader->async, on_closed);
}

void oa_loader_find(const oa_loader *loader, oa_str user_id, oa_cohort_set *out) {
    *out = (oa_cohort_set){{0}};
    if (loader->table == NULL) /* nothing is known: changes alone tell nothing */
        return;
    const uint64_t print = oa_cohort_print(&loader->key, user_id);
    oa_cohort_table_find(loader->table, print, out);
    if (loader->changes != NULL)
        oa_cohort_changes_apply(loader->changes, print, out);
}

oa_status oa_loader_take_changes(oa_loader *loader) {
    if (loader->changes != NULL)
        return OA_OK;
    if (loader->is_ending || loader->is_aborted)
        return OA_CLOSED;
    return oa_table_changes(loader->table, MAX_CHANGES, &loader->changes);
}

oa_status oa_loader_change(oa_loader *loader, const oa_cohort_move *move, oa_cohort_moved *moved) {
    *moved = (oa_cohort_moved){0};
    if (loader->changes == NULL || move->cohort >= loader->name_count)
        return OA_CLOSED;
    const oa_status status = oa_cohort_changes_put(loader->changes, loader->table, move, moved);
    /* The list is in use, and its report is still to come. */
    const int phase = atomic_load(&loader->phase);
    if ((phase == SWAPPED || phase == DONE) && loader->job.overlay == NULL &&
        !loader->job.is_mapping && loader->job.transfer == NULL &&
        loader->job.load.cohort == move->cohort)
        loader->job.report.surviving += (int64_t)moved->entered - (int64_t)moved->left;
    return status;
}

size_t oa_loader_changes(const oa_loader *loader) {
    return loader->changes == NULL ? 0 : oa_cohort_changes_count(loader->changes);
}

oa_status oa_loader_save(const oa_loader *loader, char **out, size_t *len) {
    return oa_changes_save(loader->changes, &loader->key, loader->name_count, out, len);
}

oa_status oa_loader_resume(oa_loader *loader, oa_str bytes) {
    if (loader->changes == NULL)
        return OA_CLOSED;
    oa_cohort_changes *saved = NULL;
    oa_status status =
        oa_cohort_changes_open(&loader->key, bytes, loader->name_count, MAX_CHANGES, &saved);
    if (status == OA_OK)
        status = oa_cohort_changes_add(loader->changes, loader->table, saved);
    oa_cohort_changes_free(saved);
    return status;
}

void oa_loader_growth(const oa_loader *loader, int64_t growth[OA_COHORT_MAX]) {
    memset(growth, 0, OA_COHORT_MAX * sizeof(growth[0]));
    if (loader->changes != NULL && loader->table != NULL)
        oa_cohort_changes_growth(loader->changes, loader->table, growth);
}

const oa_hash_key *oa_loader_key(const oa_loader *loader) { return &loader->key; }

static oa_status copy_load(load_job *job, const oa_load *load) {
    if (load->header_count > MAX_HEADERS || load->part_count > OA_LOAD_MAX_PARTS)
        return OA_TOO_LARGE;
    job->load = *load;
    job->load.headers = job->headers;
    job->load.header_count = 0;
    job->load.parts = job->parts;
    job->load.part_count = 0;
    if (load->url.data != NULL && !own(&job->load.url))
        return OA_NOMEM;
    for (size_t i = 0; i < load->header_count; i++) {
        job->headers[i] = strdup(load->headers[i]);
        if (job->headers[i] == NULL)
            return OA_NOMEM;
        job->load.header_count++;
    }
    for (size_t i = 0; i < load->part_count; i++) {
        job->parts[i] = load->parts[i];
        if (!own(&job->parts[i].path))
            return OA_NOMEM;
        job->load.part_count++;
    }
    return OA_OK;
}

/* Start the thread with the job that was made. */
static oa_status launch(oa_loader *loader, void *ticket) {
    loader->job.ticket = ticket;
    atomic_store(&loader->cancelled, false);
    atomic_store(&loader->phase, RUNNING);
    if (uv_thread_create(&loader->thread, on_thread, loader) == 0)
        return OA_OK;
    atomic_store(&loader->phase, IDLE);
    clear_job(&loader->job);
    return OA_UNAVAILABLE;
}

static bool may_start(const oa_loader *loader) {
    return !is_busy(loader) && !loader->is_ending && !loader->is_aborted;
}

oa_status oa_loader_merge(oa_loader *loader, void *ticket) {
    if (!may_start(loader) || loader->changes == NULL)
        return OA_CLOSED;
    const oa_cohort_overlay *overlay = NULL;
    bool is_all = false;
    const oa_status status = oa_cohort_changes_begin_merge(loader->changes, &is_all, &overlay);
    if (status != OA_OK)
        return status;
    loader->job.overlay = overlay;
    loader->job.report.is_all = is_all;
    return launch(loader, ticket);
}

oa_status oa_loader_adopt(oa_loader *loader, oa_transfer *transfer, void *ticket) {
    if (!may_start(loader)) {
        oa_transfer_free(transfer);
        return OA_CLOSED;
    }
    loader->job.transfer = transfer;
    return launch(loader, ticket);
}

oa_status oa_loader_map(oa_loader *loader, void *ticket) {
    if (!may_start(loader) || loader->snapshot_path.data == NULL)
        return OA_CLOSED;
    loader->job.is_mapping = true;
    return launch(loader, ticket);
}

oa_status oa_loader_capture(oa_loader *loader, size_t *table_bytes, size_t *changes_bytes) {
    oa_captured_clear(&loader->captured);
    if (loader->table == NULL)
        return OA_UNAVAILABLE;
    const oa_status status =
        oa_captured_init(&loader->captured, &loader->key, loader->table, loader->changes);
    *table_bytes = loader->captured.table.len;
    *changes_bytes = loader->captured.changes_bytes;
    return status;
}

oa_status oa_loader_captured(const oa_loader *loader, size_t from, size_t len, char *out) {
    return oa_captured_read(&loader->captured, from, len, out);
}

void oa_loader_release(oa_loader *loader) { oa_captured_clear(&loader->captured); }

oa_status oa_loader_start(oa_loader *loader, const oa_load *load, void *ticket) {
    if (!may_start(loader))
        return OA_CLOSED;
    if (load->url.data != NULL && loader->curl == NULL)
        return OA_UNAVAILABLE;
    const oa_status status = copy_load(&loader->job, load);
    if (status != OA_OK) {
        clear_job(&loader->job);
        return status;
    }
    if (loader->curl != NULL)
        oa_curl_rearm(loader->curl);
    return launch(loader, ticket);
}

void oa_loader_ref(oa_loader *loader, bool is_ref) {
    if (is_ref)
        uv_ref((uv_handle_t *)&loader->async);
    else
        uv_unref((uv_handle_t *)&loader->async);
}

bool oa_loader_needs_trust(const oa_loader *loader) { return loader->needs_trust; }

oa_status oa_loader_set_trust(oa_loader *loader, const oa_trust_source *source) {
    if (loader->curl == NULL || is_busy(loader))
        return OA_CLOSED;
    const oa_status status = oa_curl_trust(loader->curl, source);
    loader->needs_trust = false;
    return status;
}

uint64_t oa_loader_users(const oa_loader *loader) {
    return loader->table == NULL ? 0 : oa_cohort_table_users(loader->table);
}

uint64_t oa_loader_bytes(const oa_loader *loader) {
    return loader->table == NULL ? 0 : oa_cohort_table_image(loader->table).len;
}
