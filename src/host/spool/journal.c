/*
 * journal.c: the owner's thread and the journal's share lists of files, under a mutex that is held
 * for a few instructions. A file is on one list at a time: `ready`, on its way to the owner; the
 * owner's; `done`, on its way back.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../cond.h"
#include "adopt.h"
#include "maker.h"

enum {
    AHEAD_BYTES = 256 * 1024,      /* behind the end, that are ready: 4,000 decisions */
    FIRST_AHEAD_BYTES = 16 * 1024, /* at the start: a decision may wait for it */
};

struct oa_journal {
    oa_journal_options options; /* without the directory */
    int directory;
    bool sees_others;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_cond_t served; /* a segment is there, or none can be made */

    /* Shared, under the mutex. */
    oa_journal_list ready;
    oa_journal_list done;
    size_t wanted;
    oa_journal_position position;
    size_t ready_to;      /* pages of position.end are ready up to here */
    uint64_t sync_wanted; /* the number of the last request */
    uint64_t synced;
    oa_journal_file *loaded; /* to be told; NULL: none is */
    bool is_failing;         /* no segment can be made; written by the thread */
    bool is_sync_failing;    /* likewise */
    bool is_save_failing;    /* written by the owner */
    bool is_save_due;        /* it is to be tried again */
    uint64_t save_at_ms;     /* when it will be; 0: never */
    bool is_closing;
    bool is_idle; /* the thread waits, and everything is on the disk */
    bool tells_scanned;
    bool tells_works;
    char failure[OA_JOURNAL_MESSAGE_BYTES]; /* to be told; "": none is */
    char strange[OA_JOURNAL_MESSAGE_BYTES];

    /* The thread's own. */
    oa_adopter adopter;
    oa_maker maker;
    bool has_news; /* for the owner */
    uint64_t retry_at_ms;
    uint64_t load_at_ms; /* when it is tried again; UINT64_MAX: never */
    uint64_t sync_at_ms;
    uint64_t scan_at_ms;
    oa_journal_position seen; /* that was looked after */
};

static uint64_t now_ms(void) { return oa_clock_now().monotonic_ms; }

/* ---- What fails ---- */

static bool fails(const oa_journal *journal) {
    return journal->is_failing || journal->is_sync_failing || journal->is_save_failing;
}

/* Note why one thing fails, or that it works (NULL). The first failure is told, and when everything
 * works again. Returns whether there is something to tell. Under the mutex. */
static bool note(oa_journal *journal, bool *is_failing, const char *why) {
    const bool had_failed = fails(journal);
    *is_failing = why != NULL;
    if (!had_failed && why != NULL) {
        snprintf(journal->failure, sizeof(journal->failure), "%s", why);
        journal->tells_works = false;
    } else if (had_failed && !fails(journal)) {
        journal->tells_works = true;
    }
    pthread_cond_signal(&journal->served);
    return had_failed != fails(journal);
}

/* ---- The thread: making segments ---- */

static void note_on_thread(oa_journal *journal, bool *is_failing, const char *why) {
    pthread_mutex_lock(&journal->mutex);
    journal->has_news = note(journal, is_failing, why) || journal->has_news;
    pthread_mutex_unlock(&journal->mutex);
}

static void note_making_fails(oa_journal *journal, const char *why) {
    journal->retry_at_ms = now_ms() + journal->options.retry_interval_ms;
    note_on_thread(journal, &journal->is_failing, why);
}

/* Make the segment that is wanted. */
static void make_wanted(oa_journal *journal) {
    pthread_mutex_lock(&journal->mutex);
    const size_t size = journal->wanted;
    pthread_mutex_unlock(&journal->mutex);
    if (journal->is_failing ? now_ms() < journal->retry_at_ms : size == 0)
        return;
    oa_journal_file *file = NULL;
    const size_t ahead = journal->maker.made == 0 ? FIRST_AHEAD_BYTES : AHEAD_BYTES;
    const char *why = oa_maker_hold(&journal->maker, journal->is_failing);
    if (why == NULL && size > 0)
        file = oa_maker_get(&journal->maker, size, ahead, &why);
    if (why != NULL) {
        note_making_fails(journal, why);
        return;
    }
    note_on_thread(journal, &journal->is_failing, NULL);
    if (file == NULL)
        return;
    pthread_mutex_lock(&journal->mutex);
    journal->wanted = 0;
    oa_journal_list_push(&journal->ready, file);
    pthread_cond_signal(&journal->served);
    pthread_mutex_unlock(&journal->mutex);
    journal->has_news = true;
}

/* ---- The thread: adopting ---- */

/* Look for journals without an owner, and whether our own files are there. */
static void look_around(oa_journal *journal, bool is_first) {
    oa_adopter *adopter = &journal->adopter;
    oa_journal_list found = oa_adopter_scan(adopter);
    if (is_first || found.first != NULL || adopter->strange[0] != '\0')
        journal->has_news = true;
    for (oa_journal_file *file = found.first; file != NULL; file = file->next)
        oa_maker_add(&journal->maker, file);
    pthread_mutex_lock(&journal->mutex);
    for (oa_journal_file *file; (file = oa_journal_list_pop(&found)) != NULL;)
        oa_journal_list_push(&journal->ready, file);
    memcpy(journal->strange, adopter->strange, sizeof(journal->strange));
    journal->tells_scanned = journal->tells_scanned || is_first;
    pthread_mutex_unlock(&journal->mutex);
    journal->scan_at_ms = now_ms() + journal->options.scan_interval_ms;
    const char *why = journal->is_failing ? NULL : oa_maker_hold(&journal->maker, false);
    if (why != NULL)
        note_making_fails(journal, why);
}

/* ---- The thread: files that are there ---- */

static void leave_position(oa_journal *journal, const oa_journal_file *file) {
    if (journal->seen.end == file)
        journal->seen.end = NULL;
    if (journal->seen.reading == file)
        journal->seen.reading = NULL;
}

static void delete_done(oa_journal *journal, bool is_closing) {
    for (;;) {
        pthread_mutex_lock(&journal->mutex);
        oa_journal_file *file = oa_journal_list_pop(&journal->done);
        pthread_mutex_unlock(&journal->mutex);
        if (file == NULL)
            return;
        leave_position(journal, file);
        if (file->from != NULL) {
            oa_maker_remove(&journal->maker, file);
            oa_adopter_delete(&journal->adopter, file);
            if (journal->adopter.leaves_some && journal->adopter.count == 0)
                journal->scan_at_ms = 0; /* for the next ones */
        } else if (is_closing || !oa_maker_keep(&journal->maker, file)) {
            oa_maker_delete(&journal->maker, file);
        }
    }
}

/* Free the memory of a file, unless the owner may look at a copy that is there. */
static void let_go(oa_journal_file *file) {
    if (file == NULL || !file->is_loaded)
        return;
    if (file->storage.kind->is_copied && !atomic_load(&file->is_away))
        return;
    file->storage.kind->let_go(&file->storage);
    file->is_loaded = false;
}

static void load(oa_journal *journal, oa_journal_file *file) {
    if (file == NULL || file->is_loaded)
        return;
    bool again = false;
    const int error = file->storage.kind->load(&file->storage, &again);
    if (error != 0) { /* what is not read ahead now is when it is needed, but for a copy */
        pthread_mutex_lock(&journal->mutex);
        snprintf(journal->strange, sizeof(journal->strange), "%s cannot be read: %s", file->name,
                 strerror(error));
        pthread_mutex_unlock(&journal->mutex);
        journal->has_news = true;
    }
    file->is_loaded = !again;
    if (again)
        journal->load_at_ms = now_ms() + journal->options.retry_interval_ms;
}

/* Have it told that a file is loaded, or nothing (NULL): the owner may be done with it by now. */
static void note_loaded(oa_journal *journal, oa_journal_file *file) {
    pthread_mutex_lock(&journal->mutex);
    journal->loaded = file == journal->position.reading ? file : NULL;
    pthread_mutex_unlock(&journal->mutex);
}

/* Have what is read back be in memory, and what comes next. */
static void follow_reading(oa_journal *journal, oa_journal_file *reading) {
    journal->load_at_ms = UINT64_MAX;
    note_loaded(journal, NULL); /* what the owner did not take may be let go again */
    oa_journal_file *next = reading == NULL ? NULL : reading->later;
    load(journal, reading);
    load(journal, next);
    for (oa_journal_file *file = journal->maker.all; file != NULL; file = file->later)
        if (file != reading && file != next && atomic_load(&file->is_away))
            let_go(file);
    if (reading == NULL || !reading->is_loaded || !atomic_load(&reading->is_away))
        return;
    note_loaded(journal, reading);
    journal->options.changed(journal->options.context);
}

/* Free the memory of all files before one, but for what is read: the owner may have filled several
 * since it was looked. */
static void let_go_until(oa_journal *journal, const oa_journal_file *end,
                         const oa_journal_file *reading) {
    const oa_journal_file *next = reading == NULL ? NULL : reading->later;
    for (oa_journal_file *file = journal->maker.all; file != end; file = file->later)
        if (file != reading && file != next)
            let_go(file);
}

/* Look after the bytes around the position. */
static void follow(oa_journal *journal) {
    pthread_mutex_lock(&journal->mutex);
    const oa_journal_position now = journal->position;
    const size_t ready_to = journal->ready_to;
    pthread_mutex_unlock(&journal->mutex);
    const oa_journal_position before = journal->seen;
    journal->seen = now;
    if (now.reading != before.reading || now.end != before.end || now_ms() >= journal->load_at_ms)
        follow_reading(journal, now.reading);
    if (now.reading != before.reading && before.reading != now.end)
        let_go(before.reading);
    if (now.end == NULL)
        return;
    if (now.end != before.end)
        let_go_until(journal, now.end, now.reading);
    now.end->is_loaded = true;
    const oa_storage *end = &now.end->storage;
    const size_t page = now.end_at / OA_SEGMENT_PAGE_BYTES * OA_SEGMENT_PAGE_BYTES;
    const size_t from = ready_to > page ? ready_to : page;
    const size_t to = page + AHEAD_BYTES < end->size ? page + AHEAD_BYTES : end->size;
    if (from >= to || end->kind->make_ready(end, from, to) != 0)
        return;
    pthread_mutex_lock(&journal->mutex);
    if (journal->position.end == now.end)
        journal->ready_to = to;
    pthread_mutex_unlock(&journal->mutex);
}

/* Write a file to the disk, up to `to`. Returns 0, or an error as errno has it. */
static int sync_file(const oa_journal *journal, oa_journal_file *file, size_t to) {
    const oa_storage *storage = &file->storage;
    const size_t from = file->synced_to / OA_SEGMENT_PAGE_BYTES * OA_SEGMENT_PAGE_BYTES;
    int error = 0;
    /* To the kernel, what it failed to write is written: to be tried again, it is to be new. */
    if (journal->is_sync_failing)
        error = storage->kind->make_ready(storage, from, storage->size);
    if (error == 0)
        error = storage->kind->sync(storage, from, to);
    if (error == 0 && file->synced_to == 0) /* its name, too */
        error = oa_directory_sync(journal->directory);
    if (error == 0)
        file->synced_to = to;
    return error;
}

/* Write to the disk what was written to our files since the last time; at the end, when the
 * position is none, to all of them. */
static void sync_files(oa_journal *journal, bool is_closing) {
    const oa_journal_position *seen = &journal->seen;
    bool is_end = seen->end == NULL && !is_closing;
    int error = 0;
    for (oa_journal_file *file = journal->maker.all; !is_end && file != NULL; file = file->later) {
        is_end = file == seen->end;
        const size_t to = is_end ? seen->end_at : file->storage.size;
        if (file->from != NULL || to <= file->synced_to || error != 0)
            continue;
        error = sync_file(journal, file, to);
        if (!is_closing)
            make_wanted(journal); /* a disk that is slow may take a second for many files */
    }
    note_on_thread(journal, &journal->is_sync_failing, error == 0 ? NULL : strerror(error));
    journal->sync_at_ms = now_ms() + journal->options.sync_interval_ms;
}

/* Do what oa_journal_sync() asks for. */
static void sync_as_wanted(oa_journal *journal) {
    pthread_mutex_lock(&journal->mutex);
    const uint64_t wanted = journal->sync_wanted;
    const bool is_wanted = wanted > journal->synced;
    pthread_mutex_unlock(&journal->mutex);
    if (!is_wanted)
        return;
    follow(journal); /* to the position that was noted before */
    sync_files(journal, false);
    pthread_mutex_lock(&journal->mutex);
    journal->synced = wanted;
    pthread_mutex_unlock(&journal->mutex);
    journal->has_news = true;
}

/* When it is time, have what could not be saved be tried again. */
static void save_again(oa_journal *journal) {
    pthread_mutex_lock(&journal->mutex);
    const bool is_due = journal->save_at_ms > 0 && now_ms() >= journal->save_at_ms;
    if (is_due) {
        journal->save_at_ms = 0;
        journal->is_save_due = true;
    }
    pthread_mutex_unlock(&journal->mutex);
    journal->has_news = journal->has_news || is_due;
}

/* ---- The thread ---- */

static uint64_t least(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Whether something was written that is not on the disk yet, and is to be. */
static bool is_unsynced(const oa_journal *journal) {
    const oa_journal_position *seen = &journal->seen;
    return journal->options.sync_interval_ms > 0 &&
           (journal->is_sync_failing || (seen->end != NULL && seen->end->synced_to < seen->end_at));
}

/* When to look again, if nobody wakes the thread. Under the mutex. */
static uint64_t next_ms(const oa_journal *journal) {
    uint64_t next = journal->is_failing ? least(journal->scan_at_ms, journal->retry_at_ms)
                                        : journal->scan_at_ms;
    next = least(next, journal->load_at_ms);
    if (journal->save_at_ms > 0)
        next = least(next, journal->save_at_ms);
    return is_unsynced(journal) ? least(next, journal->sync_at_ms) : next;
}

/* Whether there is something to do at once. Under the mutex. */
static bool has_work(const oa_journal *journal) {
    const oa_journal_position *now = &journal->position, *seen = &journal->seen;
    return journal->done.first != NULL || journal->sync_wanted > journal->synced ||
           (journal->wanted > 0 && !journal->is_failing) || now->reading != seen->reading ||
           now->end != seen->end || now->end_at != seen->end_at;
}

static void *run(void *arg) {
    oa_journal *journal = arg;
    bool is_closing = false;
    for (bool is_first = true; !is_closing; is_first = false) {
        delete_done(journal, false);
        make_wanted(journal); /* the first one before all: a decision may wait for it */
        if (is_first || now_ms() >= journal->scan_at_ms)
            look_around(journal, is_first);
        follow(journal);
        sync_as_wanted(journal);
        save_again(journal);
        if (is_unsynced(journal) && now_ms() >= journal->sync_at_ms)
            sync_files(journal, false);
        if (journal->has_news)
            journal->options.changed(journal->options.context);
        journal->has_news = false;
        pthread_mutex_lock(&journal->mutex);
        const uint64_t now = now_ms(), next = next_ms(journal);
        journal->is_idle = !is_unsynced(journal);
        if (!journal->is_closing && !has_work(journal) && next > now)
            oa_cond_wait_until(&journal->wake, &journal->mutex, next);
        is_closing = journal->is_closing;
        pthread_mutex_unlock(&journal->mutex);
    }
    delete_done(journal, true);
    follow(journal);
    if (journal->options.sync_interval_ms > 0)
        sync_files(journal, true);
    return NULL;
}

/* ---- The owner ---- */

/* Close everything, and give the locks back. Segments that nobody wrote to go, and our lock with
 * the last file. Takes the journal. */
static void give_up(oa_journal *journal) {
    oa_maker_end(&journal->maker);
    oa_adopter_clear(&journal->adopter);
    oa_directory_close(journal->directory);
    free(journal);
}

/* Return why no journal can be begun, as far as that is known without writing: or NULL. */
static const char *trouble(const oa_journal *journal) {
    if (faccessat(journal->directory, ".", W_OK | X_OK, AT_EACCESS) != 0)
        return strerror(errno);
    /* What others left is delivered even if there is no room: that makes some. */
    return journal->sees_others ? NULL : oa_maker_trouble(&journal->maker, OA_SEGMENT_BYTES);
}

oa_status oa_journal_open(const oa_journal_options *options, oa_journal **out,
                          char message[OA_JOURNAL_MESSAGE_BYTES]) {
    oa_journal *journal = calloc(1, sizeof(*journal));
    if (journal == NULL)
        return OA_NOMEM;
    journal->options = *options;
    journal->options.directory = NULL;
    journal->load_at_ms = UINT64_MAX;
    oa_journal_list_init(&journal->ready);
    oa_journal_list_init(&journal->done);
    const oa_storage_kind *kind = NULL;
    journal->directory = oa_directory_open(options->directory, &kind, message);
    if (journal->directory < 0) {
        free(journal);
        return OA_UNAVAILABLE;
    }
    oa_maker_init(&journal->maker, options->directory, journal->directory, kind, options->key_mark,
                  options->max_bytes);
    oa_adopter_init(&journal->adopter, journal->directory, kind, journal->maker.name);
    journal->sees_others = oa_adopter_sees_others(&journal->adopter);
    journal->wanted = OA_SEGMENT_BYTES;
    const char *why = trouble(journal);
    if (why == NULL) {
        pthread_mutex_init(&journal->mutex, NULL);
        oa_cond_init(&journal->wake);
        oa_cond_init(&journal->served);
        if (pthread_create(&journal->thread, NULL, run, journal) == 0) {
            *out = journal;
            return OA_OK;
        }
        why = "no thread can be started";
        pthread_cond_destroy(&journal->served);
        pthread_cond_destroy(&journal->wake);
        pthread_mutex_destroy(&journal->mutex);
    }
    snprintf(message, OA_JOURNAL_MESSAGE_BYTES, "no spool can be kept in %.100s: %s",
             options->directory, why);
    give_up(journal);
    return OA_UNAVAILABLE;
}

void oa_journal_close(oa_journal *journal) {
    pthread_mutex_lock(&journal->mutex);
    journal->is_closing = true;
    pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->mutex);
    pthread_join(journal->thread, NULL);
    pthread_cond_destroy(&journal->served);
    pthread_cond_destroy(&journal->wake);
    pthread_mutex_destroy(&journal->mutex);
    give_up(journal);
}

bool oa_journal_sees_others(const oa_journal *journal) { return journal->sees_others; }

/* Move a line that is to be told. */
static bool take_line(oa_journal_item *out, oa_journal_kind kind, char *line) {
    if (line[0] == '\0')
        return false;
    out->kind = kind;
    snprintf(out->message, sizeof(out->message), "%s", line);
    line[0] = '\0';
    return true;
}

static bool take_flag(oa_journal_item *out, oa_journal_kind kind, bool *flag) {
    const bool takes = *flag;
    if (takes)
        out->kind = kind;
    *flag = false;
    return takes;
}

static bool take_loaded(oa_journal *journal, oa_journal_item *out) {
    if (journal->loaded == NULL)
        return false;
    out->kind = OA_JOURNAL_LOADED;
    out->file = journal->loaded;
    atomic_store(&out->file->is_away, false);
    journal->loaded = NULL;
    return true;
}

bool oa_journal_take(oa_journal *journal, oa_journal_item *out) {
    pthread_mutex_lock(&journal->mutex);
    oa_journal_file *file = oa_journal_list_pop(&journal->ready);
    out->file = file;
    if (file != NULL)
        out->kind = file->from == NULL ? OA_JOURNAL_FRESH : OA_JOURNAL_FOUND;
    const bool takes = file != NULL || take_loaded(journal, out) ||
                       take_line(out, OA_JOURNAL_STRANGE, journal->strange) ||
                       take_flag(out, OA_JOURNAL_SCANNED, &journal->tells_scanned) ||
                       take_line(out, OA_JOURNAL_FAILED, journal->failure) ||
                       take_flag(out, OA_JOURNAL_WORKS, &journal->tells_works);
    pthread_mutex_unlock(&journal->mutex);
    return takes;
}

bool oa_journal_await(oa_journal *journal, uint64_t most_ms) {
    const uint64_t until_ms = now_ms() + most_ms;
    pthread_mutex_lock(&journal->mutex);
    while (journal->ready.first == NULL && !journal->is_failing && now_ms() < until_ms)
        oa_cond_wait_until(&journal->served, &journal->mutex, until_ms);
    const bool is_there = journal->ready.first != NULL;
    pthread_mutex_unlock(&journal->mutex);
    return is_there;
}

void oa_journal_note(oa_journal *journal, oa_journal_position position, size_t wanted) {
    pthread_mutex_lock(&journal->mutex);
    const oa_journal_position *before = &journal->position;
    const bool moves = position.end != before->end || position.reading != before->reading;
    if (position.end != before->end)
        journal->ready_to = 0;
    const bool nears = position.end != NULL &&
                       position.end_at + AHEAD_BYTES / 2 > journal->ready_to &&
                       journal->ready_to < position.end->storage.size;
    const bool wants = wanted != journal->wanted && wanted > 0;
    const bool begins = journal->is_idle && position.end_at != before->end_at;
    journal->position = position;
    journal->wanted = wanted;
    if (moves || nears || wants || begins)
        pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->mutex);
}

uint64_t oa_journal_sync(oa_journal *journal) {
    pthread_mutex_lock(&journal->mutex);
    const uint64_t number = ++journal->sync_wanted;
    pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->mutex);
    return number;
}

uint64_t oa_journal_synced(oa_journal *journal) {
    pthread_mutex_lock(&journal->mutex);
    const uint64_t number = journal->synced;
    pthread_mutex_unlock(&journal->mutex);
    return number;
}

/* Note what became of a save, that fails or failed before. */
static void note_save(oa_journal *journal, int error) {
    pthread_mutex_lock(&journal->mutex);
    note(journal, &journal->is_save_failing, error == 0 ? NULL : strerror(error));
    journal->is_save_due = false;
    journal->save_at_ms = error == 0 ? 0 : now_ms() + journal->options.retry_interval_ms;
    pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->mutex);
    journal->options.changed(journal->options.context);
}

/* Whether it is tried to save. */
static bool may_save(oa_journal *journal) {
    pthread_mutex_lock(&journal->mutex);
    const bool may = journal->is_save_due;
    pthread_mutex_unlock(&journal->mutex);
    return may;
}

bool oa_journal_save(oa_journal *journal, oa_journal_file *file, size_t from, size_t to) {
    const bool was_failing = journal->is_save_failing; /* nobody else writes it */
    if (was_failing && !may_save(journal))
        return false;
    const int error = file->storage.kind->save(&file->storage, from, to);
    if (error != 0 || was_failing)
        note_save(journal, error);
    return error == 0;
}

void oa_journal_let_go(oa_journal *journal, oa_journal_file *file) {
    (void)journal; /* its thread sees to it when the position moves, as it does now */
    file->storage.kind->rest(&file->storage);
    atomic_store(&file->is_away, file->storage.kind->is_copied);
}

void oa_journal_done(oa_journal *journal, oa_journal_file *file) {
    pthread_mutex_lock(&journal->mutex);
    if (journal->position.end == file)
        journal->position.end = NULL;
    if (journal->position.reading == file)
        journal->position.reading = NULL;
    if (journal->loaded == file)
        journal->loaded = NULL;
    oa_journal_list_push(&journal->done, file);
    pthread_cond_signal(&journal->wake);
    pthread_mutex_unlock(&journal->mutex);
}
