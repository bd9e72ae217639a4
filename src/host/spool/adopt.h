/*
 * adopt.h: journals without an owner, which a process left that was killed.  [one owner]
 *
 * Whoever gets the lock of one owns it: its segments are read and, once everything in them is
 * settled, deleted; the lock's file goes last. An adopter that is killed leaves the same to the
 * next.
 */
#ifndef OA_HOST_SPOOL_ADOPT_H
#define OA_HOST_SPOOL_ADOPT_H

#include "files.h"

/* Looks for journals. */
typedef struct oa_adopter {
    int directory; /* borrowed for life */
    const oa_storage_kind *kind;
    const char *own; /* what the names of our own files begin with; borrowed for life */
    oa_crc32 crc;
    oa_adopted *adopted;
    size_t count;                             /* of them: each has a descriptor */
    bool leaves_some;                         /* the last scan, since there were enough */
    char strange[OA_DIRECTORY_MESSAGE_BYTES]; /* about a file that was left alone; "": none was */
} oa_adopter;

void oa_adopter_init(oa_adopter *adopter, int directory, const oa_storage_kind *kind,
                     const char *own);

/* Give all locks back, with what is left of their journals. */
void oa_adopter_clear(oa_adopter *adopter);

/* Whether there are other journals of our API key, with an owner or without. */
bool oa_adopter_sees_others(const oa_adopter *adopter);

/* Take the locks that nobody has, as many as a process can hold, and return the segments, the
 * oldest first. */
oa_journal_list oa_adopter_scan(oa_adopter *adopter);

/* Delete a file that oa_adopter_scan() found. Takes it. */
void oa_adopter_delete(oa_adopter *adopter, oa_journal_file *file);

#endif
