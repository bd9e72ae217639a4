/*
 * spooling.h: the journal of a dispatcher, for a host: it carries segments between the core and the
 * thread that looks after files.
 *
 * Thread: that of the core. No function waits for a disk, except for the end; and, when the thread
 * is behind, for five seconds oa_spooling_begin() and for a quarter of one oa_spooling_count(). To
 * begin, to count, to take a turn, to end, to abort and to close are nothing for NULL, which is no
 * journal.
 */
#ifndef OA_HOST_SPOOL_SPOOLING_H
#define OA_HOST_SPOOL_SPOOLING_H

#include "directory.h"
#include "oa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a journal is made from, as OA_CONFIG_MAP has it in oa.h. */
#define OA_SPOOLING_CONFIG_MAP(TEXT, FLAG, NUMBER)                                                 \
    TEXT(directory, "spoolDirectory")            /* private to the user; absent: no journal */     \
    FLAG(syncs_flushes, "spoolSyncsFlushes")     /* a flush ends once all is on the disk */        \
    NUMBER(uint64_t, max_bytes, "spoolMaxBytes") /* of files, those that are found included */     \
    NUMBER(uint64_t, sync_interval_ms, "spoolSyncIntervalMillis") /* 0: the kernel decides */

typedef struct oa_spooling_config {
#define OA_CONFIG_TEXT(member, key) oa_str member;
#define OA_CONFIG_FLAG(member, key) bool member;
#define OA_CONFIG_NUMBER(type, member, key) type member;
    OA_SPOOLING_CONFIG_MAP(OA_CONFIG_TEXT, OA_CONFIG_FLAG, OA_CONFIG_NUMBER)
#undef OA_CONFIG_NUMBER
#undef OA_CONFIG_FLAG
#undef OA_CONFIG_TEXT
    oa_str api_key;
} oa_spooling_config;

enum { OA_SPOOLING_MESSAGE_BYTES = OA_DIRECTORY_MESSAGE_BYTES };

typedef struct oa_spooling oa_spooling;

/*
 * Open a journal for `core`, which has oa_config.spool. `changed` is called on the journal's thread
 * when there is something new: the core's is to take a turn soon.
 *
 * Ownership: borrows the core for life; copies the rest; returns *out owned, for
 * oa_spooling_close(). Errors: OA_NOMEM; OA_UNAVAILABLE, with a line in `message`.
 */
oa_status oa_spooling_open(oa_dispatcher *core, const oa_spooling_config *config,
                           void (*changed)(void *context), void *context, oa_spooling **out,
                           char message[OA_SPOOLING_MESSAGE_BYTES])
    __attribute__((warn_unused_result));

/* What the next two do when there is a journal. */
void oa_spooling_await_first(oa_spooling *spooling);
void oa_spooling_note(oa_spooling *spooling);

/* A decision is to come: the first one waits for the first file, which the journal's thread makes
 * while the application starts. */
static inline void oa_spooling_begin(oa_spooling *spooling) {
    if (spooling != NULL)
        oa_spooling_await_first(spooling);
}

/* A decision was accepted: every few hundred of them, see to segments. */
static inline void oa_spooling_count(oa_spooling *spooling) {
    if (spooling != NULL)
        oa_spooling_note(spooling);
}

/* Give the core what is new, take what is done, and tell where it is. Once before and after a step
 * is enough. */
void oa_spooling_turn(oa_spooling *spooling);

/* Take the next line for the log; false: there is none. Lends it until the next call. */
bool oa_spooling_next_line(oa_spooling *spooling, oa_log_notice *out);

/* Keep the report of a flush until what it says is on the disk, if the configuration asks for it;
 * false: it need not wait. Copies. */
bool oa_spooling_keep_flush(oa_spooling *spooling, const oa_flush_notice *flush);

/* Take a report that waited for long enough; false: there is none. */
bool oa_spooling_next_flush(oa_spooling *spooling, oa_flush_notice *out);

/* Whether a report still waits; also without a journal (NULL), which a handler destroyed. */
bool oa_spooling_keeps_flush(const oa_spooling *spooling);

/* Lend why no segment can be made, or NULL; also without a journal (NULL). */
const char *oa_spooling_error(const oa_spooling *spooling);

/* Nothing is written, read or settled any more: give the files up, for others to find what is
 * left. Cost: a write to the disk, if there is a sync interval. */
void oa_spooling_end(oa_spooling *spooling);

/* The process exits: files that hold nothing go; with others nothing is done, which would take
 * time. */
void oa_spooling_abort(oa_spooling *spooling);

/* In a forked child: the journal is the parent's, and nothing is done with it any more. What it is
 * made of stays in memory. */
void oa_spooling_disown(oa_spooling *spooling);

/* End, and take it. */
void oa_spooling_close(oa_spooling *spooling);

#ifdef __cplusplus
}
#endif

#endif
