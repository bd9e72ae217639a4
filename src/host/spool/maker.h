/*
 * maker.h: the files of a journal: makes new ones, keeps those that are done for their next use,
 * and knows all, those of others included.  [one owner]
 */
#ifndef OA_HOST_SPOOL_MAKER_H
#define OA_HOST_SPOOL_MAKER_H

#include "files.h"

typedef struct oa_maker {
    char *path; /* of the directory; NULL: there was no memory */
    int directory;
    int lock; /* -1: there is none yet */
    const oa_storage_kind *kind;
    uint64_t max_bytes;
    oa_segment_head head;             /* of the next file, without what differs */
    char name[OA_JOURNAL_NAME_BYTES]; /* what the names of our files begin with */
    oa_journal_file *all;             /* by `later` */
    uint64_t bytes;                   /* of all */
    uint64_t made;                    /* files so far */
    oa_journal_list clean;            /* of zeros, like new ones */
    size_t clean_count;
    bool is_littered; /* a file of ours could not be deleted */
} oa_maker;

/* Choose a name. Ownership: copies the path; borrows the directory for life. */
void oa_maker_init(oa_maker *maker, const char *path, int directory, const oa_storage_kind *kind,
                   uint64_t key_mark, uint64_t max_bytes);

/*
 * Have our lock. The directory, or all that is in it, may be deleted while it is used: then it is
 * opened again if that `is_known`. Returns why there is no lock, or NULL. To be called before files
 * are made.
 */
const char *oa_maker_hold(oa_maker *maker, bool is_known);

/* Return why no file of so many bytes can be made, as far as that is known before; or NULL. */
const char *oa_maker_trouble(const oa_maker *maker, size_t size);

/* Return a file for a segment of `size` bytes, the first `ahead` of which are ready; it is among
 * all. Or NULL, and why. */
oa_journal_file *oa_maker_get(oa_maker *maker, size_t size, size_t ahead, const char **why);

void oa_maker_add(oa_maker *maker, oa_journal_file *file);
void oa_maker_remove(oa_maker *maker, oa_journal_file *file);

/* Keep one of our files for the next segment, with zeros in it: to make one takes longer, and so
 * does to delete one. Returns whether it is kept. */
bool oa_maker_keep(oa_maker *maker, oa_journal_file *file);

/* Delete one of our files. Takes it. */
void oa_maker_delete(oa_maker *maker, oa_journal_file *file);

/* Close all files, and give our lock back. Those of ours that nobody wrote to go, and the lock with
 * the last one. */
void oa_maker_end(oa_maker *maker);

#endif
