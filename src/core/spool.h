/*
 * spool.h: the journal of one dispatcher: its segments in order, what of them is settled, and what
 * is on disk only.  [externally synchronised]
 *
 *     found 1 | found 2 | own 1 | own 2 | own 3      spare
 *     ------------------|===================|
 *       in memory, or   |  on disk only     |
 *       settled         next to be read     end, where entries are appended
 *
 * Every decision is appended before the listener returns. One for which memory has no room stays on
 * disk only, and so does all that follows, until it was read back: order is kept. Segments that
 * were found were left by a process that has ended. What they hold is older, so they are read
 * first.
 *
 * Files are the host's: it gives segments to be written, and deletes those that are done. The bytes
 * of a segment are those of a file that is mapped. Where none can be, they are a copy of it: the
 * host saves what was stored to them, and has the memory of those that nobody reads back.
 */
#ifndef OA_SPOOL_H
#define OA_SPOOL_H

#include "oa.h"
#include "segment.h"
#include "variant.h"

typedef struct oa_spool oa_spool;
typedef struct oa_spool_segment oa_spool_segment;

/* Where an entry stands. All zero: nowhere, it is in memory only. */
typedef struct oa_entry_place {
    oa_spool_segment *segment;
    uint32_t index;
} oa_entry_place;

/* A journal without a segment. Ownership: returns *out owned. Errors: OA_NOMEM. */
oa_status oa_spool_new(oa_spool **out) __attribute__((warn_unused_result));

/* Take the journal; what its segments hold stays. NULL is fine. */
void oa_spool_free(oa_spool *spool);

/* Return the size of the segment that is to be given next, in bytes; 0: there are enough. */
size_t oa_spool_wants(const oa_spool *spool);

/* Whether it is high time: no segment is spare, and the one that is written is nearly full. */
bool oa_spool_is_short(const oa_spool *spool);

/*
 * Give a segment to be written. `bytes` is aligned to a page and zero, or of an earlier use; not
 * before the first entry is anything written to it. head->number is not looked at.
 * Ownership: lends itself the bytes until oa_spool_next_done() returns `handle`, or the journal is
 * freed. Errors: OA_NOMEM; nothing was lent then.
 */
oa_status oa_spool_give(oa_spool *spool, void *handle, char *bytes, size_t size,
                        const oa_segment_head *head) __attribute__((warn_unused_result));

/*
 * Have a segment read that another process left, before all that is on disk only now, but behind
 * those that were found earlier. Ownership and errors: as above; OA_FOREIGN: it cannot be read.
 */
oa_status oa_spool_find(oa_spool *spool, void *handle, char *bytes, size_t size)
    __attribute__((warn_unused_result));

/* Where entries are appended, and what is read back. NULL: nowhere, nothing. */
typedef struct oa_spool_position {
    void *end; /* handles */
    size_t end_at;
    void *reading;
} oa_spool_position;

oa_spool_position oa_spool_where(const oa_spool *spool);

/*
 * Have all bytes that are given from now on be copies of files. What is stored to them is to be
 * saved before the next call that may append. What is found is read once it was loaded. Nothing
 * else changes.
 */
void oa_spool_use_copies(oa_spool *spool);

/* What was stored and is not saved: some bytes of a segment. */
typedef struct oa_spool_range {
    void *handle;
    size_t from;
    size_t to;
} oa_spool_range;

/* Look at the first range that is to be saved; false: there is none. */
bool oa_spool_next_unsaved(oa_spool *spool, oa_spool_range *out);

/* The range that was looked at is in the file. */
void oa_spool_saved(oa_spool *spool);

/* What was stored cannot be saved: nothing is appended until it can. */
void oa_spool_pause(oa_spool *spool, bool is_paused);

/* Return the handle of a segment that nobody reads for now: of its copy no more is needed than the
 * first OA_SEGMENT_HEAD_BYTES, until it is oa_spool_position.reading. NULL: there is none. */
void *oa_spool_next_idle(oa_spool *spool);

/* The copy of a segment that was idle, or found, is whole: it may be read. */
void oa_spool_loaded(oa_spool *spool, const void *handle);

/* Nothing is appended any more: have spare segments, and those with nothing unsettled, be done. */
void oa_spool_end(oa_spool *spool);

/* Return the handle of a segment of which everything is settled, and forget it; NULL: there is
 * none. */
void *oa_spool_next_done(oa_spool *spool);

/*
 * Append a decision that is accepted, or a tracked event (variant == NULL, and its member
 * `event_properties`). Unless it is `in_memory`, it is to be read back.
 *
 * Writes *place, of what is in memory, for oa_spool_settle(). Copies. Errors: OA_QUEUE_FULL: no
 * segment has room, nothing was written. Cost: about 30 ns, and no system call.
 */
oa_status oa_spool_write(oa_spool *spool, oa_variant *variant, const oa_entry *entry,
                         bool in_memory, oa_entry_place *place) __attribute__((warn_unused_result));

/* Note that nobody needs an entry again. One that stands nowhere is ignored. */
void oa_spool_settle(oa_spool *spool, oa_entry_place place);

/* Whether anything is on disk only: what is new has to wait there, too. */
bool oa_spool_is_behind(const oa_spool *spool);

/* Whether what is read next has to be loaded before. */
bool oa_spool_awaits_load(const oa_spool *spool);

/* An entry that was on disk only. */
typedef struct oa_spool_entry {
    oa_entry entry;
    oa_variant *variant; /* lent; NULL: a tracked event */
    oa_entry_place place;
    bool is_found; /* another process wrote it */
} oa_spool_entry;

/*
 * Look at the first entry that is on disk only and not settled; false: nothing is, or it is not
 * loaded. Lends what *out points to until oa_spool_advance(). *status is OA_NOMEM when there is one
 * but no memory to read it.
 */
bool oa_spool_peek(oa_spool *spool, const oa_variant_style *style, oa_spool_entry *out,
                   oa_status *status);

/* The entry that was looked at is in memory now, or was settled. */
void oa_spool_advance(oa_spool *spool);

/* Copy the figures. */
void oa_spool_stats_get(const oa_spool *spool, oa_spool_stats *out);

#endif
