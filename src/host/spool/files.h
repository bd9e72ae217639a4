/*
 * files.h: the files of journals: names, owners, and what they are to the journal that has them.
 *
 *     <key>-<id>.lock              locked by its owner, until that ends, however it ends
 *     <key>-<id>-<number>.journal  a segment: see segment.h
 *
 * `key` is the mark of the API key, `id` a journal's own random number.  [one owner]
 */
#ifndef OA_HOST_SPOOL_FILES_H
#define OA_HOST_SPOOL_FILES_H

#include <stdatomic.h>

#include "directory.h"
#include "segment.h"
#include "storage.h"

enum {
    OA_JOURNAL_NAME_BYTES = 96,
    OA_JOURNAL_MARK_BYTES = 16, /* of the API key's mark, which names begin with */
};

#define OA_JOURNAL_LOCK_SUFFIX ".lock"
#define OA_JOURNAL_FILE_SUFFIX ".journal"

/* A journal of another process that is ours now. */
typedef struct oa_adopted {
    struct oa_adopted *next;
    int lock;
    size_t files;                     /* that are not deleted yet */
    bool is_littered;                 /* there are others, which need the lock: for a later scan */
    char name[OA_JOURNAL_NAME_BYTES]; /* what the names of its files begin with */
} oa_adopted;

typedef struct oa_journal_file {
    struct oa_journal_file *next;  /* in its list */
    struct oa_journal_file *later; /* of all files, in the order in which they were made or found */
    oa_adopted *from;              /* NULL: our own */
    oa_storage storage;
    size_t synced_to;    /* of our own */
    bool is_loaded;      /* its bytes may be in memory */
    atomic_bool is_away; /* of a copy: the owner, which writes it, needs nothing but its head */
    oa_segment_head head;
    char name[OA_JOURNAL_NAME_BYTES];
} oa_journal_file;

/* A list in order. */
typedef struct oa_journal_list {
    oa_journal_file *first;
    oa_journal_file **last;
} oa_journal_list;

static inline void oa_journal_list_init(oa_journal_list *list) {
    list->first = NULL;
    list->last = &list->first;
}

/* Takes the file. */
static inline void oa_journal_list_push(oa_journal_list *list, oa_journal_file *file) {
    file->next = NULL;
    *list->last = file;
    list->last = &file->next;
}

/* Returns the first file owned, or NULL. */
static inline oa_journal_file *oa_journal_list_pop(oa_journal_list *list) {
    oa_journal_file *file = list->first;
    if (file == NULL)
        return NULL;
    list->first = file->next;
    if (list->first == NULL)
        list->last = &list->first;
    return file;
}

#endif
