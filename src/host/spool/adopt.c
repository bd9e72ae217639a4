#include "adopt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FIRST_FILES = 16,
    MOST_ADOPTED = 128, /* a process may have as few as 1,024 descriptors, which are not ours */
};

void oa_adopter_init(oa_adopter *adopter, int directory, const oa_storage_kind *kind,
                     const char *own) {
    memset(adopter, 0, sizeof(*adopter));
    adopter->directory = directory;
    adopter->kind = kind;
    adopter->own = own;
    oa_crc32_init(&adopter->crc);
}

static bool ends_with(const char *name, const char *suffix) {
    const size_t len = strlen(name), end = strlen(suffix);
    return len >= end && strcmp(name + len - end, suffix) == 0;
}

/* Whether it is the lock of a journal of our API key, but not our own. */
static bool is_others_lock(const oa_adopter *adopter, const char *name) {
    const size_t len = strlen(adopter->own);
    return strlen(name) == len + strlen(OA_JOURNAL_LOCK_SUFFIX) &&
           ends_with(name, OA_JOURNAL_LOCK_SUFFIX) &&
           memcmp(name, adopter->own, OA_JOURNAL_MARK_BYTES + 1) == 0 &&
           memcmp(name, adopter->own, len) != 0;
}

bool oa_adopter_sees_others(const oa_adopter *adopter) {
    DIR *listing = oa_directory_list(adopter->directory);
    bool sees = false;
    if (listing == NULL)
        return false;
    for (struct dirent *entry; !sees && (entry = readdir(listing)) != NULL;)
        sees = is_others_lock(adopter, entry->d_name);
    closedir(listing);
    return sees;
}

/* ---- Files ---- */

static void note_strange(oa_adopter *adopter, const char *name, const char *why) {
    snprintf(adopter->strange, sizeof(adopter->strange), "%s was left alone: %s", name, why);
}

/* What is to be done with a file that is no segment to be read. */
typedef enum leftover { LEAVE, DELETE } leftover;

static leftover judge(oa_adopter *adopter, const char *name, oa_segment_state state,
                      const oa_storage *storage) {
    static const char nothing[OA_SEGMENT_PAGE_BYTES];
    switch (state) {
    case OA_SEGMENT_OTHER_VERSION:
        note_strange(adopter, name, "another version of this package wrote it");
        return LEAVE;
    case OA_SEGMENT_OTHER_ORDER:
        note_strange(adopter, name, "a machine with another byte order wrote it");
        return LEAVE;
    default:
        break;
    }
    const bool is_whole = storage->size > OA_SEGMENT_HEAD_BYTES;
    if (!is_whole || memcmp(storage->bytes, nothing, sizeof(nothing)) == 0)
        return DELETE; /* it was being made, or kept spare */
    note_strange(adopter, name, "its first bytes are damaged");
    return LEAVE;
}

static void close_file(oa_journal_file *file) {
    oa_storage_close(&file->storage);
    free(file);
}

/* Open a file of a journal that is ours now. Returns NULL, and what to do with it, if nothing
 * can be read. */
static oa_journal_file *open_file(oa_adopter *adopter, const char *name, leftover *rest) {
    oa_journal_file *file = calloc(1, sizeof(*file));
    *rest = LEAVE;
    if (file == NULL)
        return NULL;
    snprintf(file->name, sizeof(file->name), "%.95s", name);
    oa_storage *storage = &file->storage;
    int error = oa_storage_open(adopter->kind, adopter->directory, file->name, storage);
    /* Its settled bits are going to be written. */
    if (error == 0 && storage->size > OA_SEGMENT_HEAD_BYTES)
        error = storage->kind->make_ready(storage, 0, OA_SEGMENT_HEAD_BYTES);
    if (error != 0) {
        note_strange(adopter, name, strerror(error));
        close_file(file);
        return NULL;
    }
    oa_segment_reader reader;
    const oa_segment_state state =
        oa_segment_open(&reader, &adopter->crc, storage->bytes, storage->size, &file->head);
    atomic_init(&file->is_away, storage->kind->is_copied);
    if (state == OA_SEGMENT_READABLE)
        return file;
    *rest = judge(adopter, name, state, storage);
    close_file(file);
    return NULL;
}

/* ---- Journals ---- */

/* Files in any order. */
typedef struct finds {
    oa_journal_file **files;
    size_t count;
    size_t cap;
} finds;

static bool add(finds *found, oa_journal_file *file) {
    if (found->count == found->cap) {
        const size_t cap = found->cap > 0 ? found->cap * 2 : FIRST_FILES;
        oa_journal_file **files = realloc(found->files, cap * sizeof(*files));
        if (files == NULL)
            return false;
        found->files = files;
        found->cap = cap;
    }
    found->files[found->count++] = file;
    return true;
}

static int by_owner(const void *a, const void *b) {
    const oa_segment_head *one = &(*(oa_journal_file *const *)a)->head;
    const oa_segment_head *other = &(*(oa_journal_file *const *)b)->head;
    const int owner = memcmp(one->owner, other->owner, sizeof(one->owner));
    return owner != 0 ? owner : one->number < other->number ? -1 : one->number > other->number;
}

static int by_age(const void *a, const void *b) {
    const oa_segment_head *one = &(*(oa_journal_file *const *)a)->head;
    const oa_segment_head *other = &(*(oa_journal_file *const *)b)->head;
    if (one->created_ms != other->created_ms)
        return one->created_ms < other->created_ms ? -1 : 1;
    return by_owner(a, b);
}

/* Put segments in the order of their age, but those of one journal in their own, whatever the clock
 * did meanwhile. */
static void sort(finds *found) {
    if (found->count == 0)
        return;
    qsort(found->files, found->count, sizeof(*found->files), by_owner);
    for (size_t i = 1; i < found->count; i++) {
        const oa_segment_head *before = &found->files[i - 1]->head;
        oa_segment_head *head = &found->files[i]->head;
        if (memcmp(before->owner, head->owner, sizeof(head->owner)) == 0 &&
            head->created_ms < before->created_ms)
            head->created_ms = before->created_ms;
    }
    qsort(found->files, found->count, sizeof(*found->files), by_age);
}

static void end_journal(oa_adopter *adopter, oa_adopted *journal, bool keeps_lock) {
    char name[OA_JOURNAL_NAME_BYTES + sizeof(OA_JOURNAL_LOCK_SUFFIX)];
    snprintf(name, sizeof(name), "%s" OA_JOURNAL_LOCK_SUFFIX, journal->name);
    oa_adopted **link = &adopter->adopted;
    while (*link != journal)
        link = &(*link)->next;
    *link = journal->next;
    adopter->count--;
    if (!keeps_lock)
        unlinkat(adopter->directory, name, 0);
    oa_directory_close(journal->lock);
    free(journal);
}

void oa_adopter_clear(oa_adopter *adopter) {
    while (adopter->adopted != NULL)
        end_journal(adopter, adopter->adopted, true);
}

/* Open the files of a journal. Returns whether one stays that is not read. */
static bool open_files(oa_adopter *adopter, oa_adopted *journal, DIR *listing, finds *found) {
    const size_t len = strlen(journal->name);
    bool leaves = false;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (strncmp(entry->d_name, journal->name, len) != 0 ||
            strlen(entry->d_name) >= OA_JOURNAL_NAME_BYTES ||
            !ends_with(entry->d_name, OA_JOURNAL_FILE_SUFFIX))
            continue;
        leftover rest = LEAVE;
        oa_journal_file *file = open_file(adopter, entry->d_name, &rest);
        if (file != NULL && add(found, file)) {
            file->from = journal;
            journal->files++;
            continue;
        }
        if (file != NULL)
            close_file(file);
        const bool is_gone =
            file == NULL && rest == DELETE && unlinkat(adopter->directory, entry->d_name, 0) == 0;
        leaves = leaves || !is_gone;
    }
    return leaves;
}

/* Take over the journal whose lock we have. */
static void adopt(oa_adopter *adopter, int lock, const char *lock_name, finds *found) {
    oa_adopted *journal = calloc(1, sizeof(*journal));
    DIR *listing = oa_directory_list(adopter->directory);
    if (journal == NULL || listing == NULL) {
        free(journal);
        if (listing != NULL)
            closedir(listing);
        oa_directory_close(lock);
        return;
    }
    const size_t len = strlen(lock_name) - strlen(OA_JOURNAL_LOCK_SUFFIX);
    memcpy(journal->name, lock_name, len);
    journal->lock = lock;
    journal->next = adopter->adopted;
    adopter->adopted = journal;
    adopter->count++;
    journal->is_littered = open_files(adopter, journal, listing, found);
    closedir(listing);
    if (journal->files == 0)
        end_journal(adopter, journal, journal->is_littered);
}

oa_journal_list oa_adopter_scan(oa_adopter *adopter) {
    oa_journal_list list;
    oa_journal_list_init(&list);
    adopter->strange[0] = '\0';
    DIR *listing = oa_directory_list(adopter->directory);
    if (listing == NULL)
        return list;
    finds found = {NULL, 0, 0};
    adopter->leaves_some = false;
    for (struct dirent *entry; !adopter->leaves_some && (entry = readdir(listing)) != NULL;) {
        if (!is_others_lock(adopter, entry->d_name))
            continue;
        adopter->leaves_some = adopter->count == MOST_ADOPTED;
        const int lock =
            adopter->leaves_some ? -1 : oa_directory_take_lock(adopter->directory, entry->d_name);
        if (lock >= 0)
            adopt(adopter, lock, entry->d_name, &found);
    }
    closedir(listing);
    sort(&found);
    for (size_t i = 0; i < found.count; i++)
        oa_journal_list_push(&list, found.files[i]);
    free(found.files);
    return list;
}

void oa_adopter_delete(oa_adopter *adopter, oa_journal_file *file) {
    oa_adopted *journal = file->from;
    if (unlinkat(adopter->directory, file->name, 0) != 0 && errno != ENOENT)
        journal->is_littered = true;
    close_file(file);
    if (--journal->files == 0)
        end_journal(adopter, journal, journal->is_littered);
}
