/*
 * journal.h: the files of a spool (spool.h), and the thread that looks after them: it makes
 * segments, writes them to the disk, adopts what other processes left, and deletes what is settled.
 *
 * Thread: the owner's. No function here waits for a disk, except for oa_journal_close(), and
 * for oa_journal_await() as long as it is told.
 */
#ifndef OA_HOST_SPOOL_JOURNAL_H
#define OA_HOST_SPOOL_JOURNAL_H

#include "files.h"

typedef struct oa_journal oa_journal;

typedef struct oa_journal_options {
    const char *directory; /* see oa_directory_open() */
    uint64_t key_mark;
    uint64_t max_bytes; /* of segments, those that are adopted included */
    uint64_t
        sync_interval_ms; /* after which what was written survives the machine, too; 0: never */
    uint64_t scan_interval_ms;  /* after which journals without an owner are looked for again */
    uint64_t retry_interval_ms; /* after which it is tried again, when something failed */
    void *context;
    void (*changed)(void *context); /* take items soon; called on any thread */
} oa_journal_options;

enum { OA_JOURNAL_MESSAGE_BYTES = OA_DIRECTORY_MESSAGE_BYTES };

/*
 * Open a journal in a directory, and begin to make its first segment and to look for others.
 *
 * Ownership: copies the options; returns *out owned. Errors: OA_NOMEM; OA_UNAVAILABLE, with a line
 * in `message` that says why and what to do. What is only found out by writing is OA_JOURNAL_FAILED
 * later. Cost: a thread, and some calls that wait for no disk.
 */
oa_status oa_journal_open(const oa_journal_options *options, oa_journal **out,
                          char message[OA_JOURNAL_MESSAGE_BYTES])
    __attribute__((warn_unused_result));

/*
 * Take the journal. Segments that were written and are not done stay, for whoever adopts them.
 * Cost: a write to the disk, if there is a sync interval.
 */
void oa_journal_close(oa_journal *journal);

/* Whether there are journals of other processes, alive or not: until OA_JOURNAL_SCANNED, what they
 * hold may come before all else. */
bool oa_journal_sees_others(const oa_journal *journal);

typedef enum oa_journal_kind {
    OA_JOURNAL_FRESH,   /* a segment to be written */
    OA_JOURNAL_FOUND,   /* a segment that was adopted, in order */
    OA_JOURNAL_LOADED,  /* what is read back is in memory again */
    OA_JOURNAL_SCANNED, /* there are no more, of those that were there at the beginning */
    OA_JOURNAL_STRANGE, /* a file was left alone: see `message` */
    OA_JOURNAL_FAILED,  /* no segment can be made, saved, or written to the disk: see `message` */
    OA_JOURNAL_WORKS,   /* it can again */
} oa_journal_kind;

typedef struct oa_journal_item {
    oa_journal_kind kind;
    oa_journal_file *file; /* with its bytes and head; lent until oa_journal_done() or _close() */
    char message[OA_JOURNAL_MESSAGE_BYTES];
} oa_journal_item;

/* Take what the journal's thread has to tell; false: nothing. */
bool oa_journal_take(oa_journal *journal, oa_journal_item *out);

/*
 * Wait until there is a segment to be taken, but no longer than `most_ms`, and not while none can
 * be made. Returns whether there is one. For an owner that would have to go on without: the thread
 * may be waiting for a disk, or for a processor.
 */
bool oa_journal_await(oa_journal *journal, uint64_t most_ms);

/*
 * Have what was stored to a segment be the kernel's: see storage.h. Returns whether it is. If not,
 * that is told as OA_JOURNAL_FAILED, and it is tried again when this is called after the interval;
 * `changed` is then called, too. Cost: none for a segment that is mapped, a system call for a copy.
 */
bool oa_journal_save(oa_journal *journal, oa_journal_file *file, size_t from, size_t to);

/* Nobody reads a segment for now: have its memory freed, but for the head, until it is loaded. */
void oa_journal_let_go(oa_journal *journal, oa_journal_file *file);

/* Where the owner is: what is around there is kept in memory, and ready to be written. */
typedef struct oa_journal_position {
    oa_journal_file *end; /* entries are appended there; NULL: nowhere */
    size_t end_at;
    oa_journal_file *reading; /* is read back; NULL: none is */
} oa_journal_position;

/* Tell the position, and ask for a segment of `wanted` bytes, or for none (0). Once in a turn of
 * the owner is enough. Cost: a mutex that nobody holds for long. */
void oa_journal_note(oa_journal *journal, oa_journal_position position, size_t wanted);

/* Ask for what was written before the position that was noted last to be on the disk soon. Returns
 * a number: it is when oa_journal_synced() is as large. */
uint64_t oa_journal_sync(oa_journal *journal);
uint64_t oa_journal_synced(oa_journal *journal);

/* Everything in a segment is settled: have its file deleted. */
void oa_journal_done(oa_journal *journal, oa_journal_file *file);

#endif
