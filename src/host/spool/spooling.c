#include "spooling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carrier.h"

enum {
    COUNT_PER_TURN = 256, /* decisions: far fewer than fit into what is ready ahead */
    SCAN_INTERVAL_MS = 60 * 1000,
    RETRY_INTERVAL_MS = 10 * 1000,
    MOST_LINES = 4,
    MOST_WAIT_MS = 250,        /* of a decision, for a file */
    MOST_FIRST_WAIT_MS = 5000, /* of the first one, which would have to wait for it at the start */
};

/* The report of a flush that waits for a sync. */
typedef struct kept_flush {
    struct kept_flush *next;
    oa_flush_notice flush;
    uint64_t until; /* oa_journal_synced() is this */
} kept_flush;

typedef struct line {
    oa_log_level level;
    char text[OA_JOURNAL_MESSAGE_BYTES + 120];
} line;

struct oa_spooling {
    oa_dispatcher *core;
    oa_carrier carrier; /* journal == NULL: it has ended */
    bool syncs_flushes;
    bool has_begun;   /* there was a decision */
    uint32_t count;   /* of decisions since the last turn */
    bool is_unserved; /* it was waited for a file, and none came */
    size_t found;     /* segments, not told yet */
    char error[OA_JOURNAL_MESSAGE_BYTES];
    line lines[MOST_LINES]; /* to be told */
    size_t line_count;
    size_t lines_told;
    kept_flush *kept;
};

/* ---- From the journal ---- */

static void add_line(oa_spooling *spooling, oa_log_level level, const char *before,
                     const char *text, const char *behind) {
    if (spooling->line_count == MOST_LINES)
        return;
    line *added = &spooling->lines[spooling->line_count++];
    added->level = level;
    snprintf(added->text, sizeof(added->text), "%s%s%s", before, text, behind);
}

static void tell_found(oa_spooling *spooling) {
    char count[40];
    if (spooling->found == 0)
        return;
    snprintf(count, sizeof(count), "%zu file%s", spooling->found, spooling->found == 1 ? "" : "s");
    add_line(spooling, OA_LOG_INFO, "the spool has ", count,
             " of processes that have ended: what they did not deliver goes first");
    spooling->found = 0;
}

static void take_item(oa_spooling *spooling, const oa_journal_item *item) {
    switch (item->kind) {
    case OA_JOURNAL_FRESH:
        spooling->is_unserved = !oa_carrier_give(&spooling->carrier, item) && spooling->is_unserved;
        break;
    case OA_JOURNAL_FOUND:
        spooling->found += oa_carrier_give(&spooling->carrier, item);
        break;
    case OA_JOURNAL_LOADED:
        oa_carrier_give(&spooling->carrier, item);
        break;
    case OA_JOURNAL_SCANNED:
        oa_dispatcher_hold(spooling->core, false);
        break;
    case OA_JOURNAL_STRANGE:
        add_line(spooling, OA_LOG_WARN, "a file of the spool: ", item->message, "");
        break;
    case OA_JOURNAL_FAILED:
        memcpy(spooling->error, item->message, sizeof(spooling->error));
        add_line(spooling, OA_LOG_ERROR, "the spool takes no more: ", item->message,
                 "; decisions are kept in memory until it does");
        break;
    case OA_JOURNAL_WORKS:
        spooling->error[0] = '\0';
        add_line(spooling, OA_LOG_INFO, "the spool works again", "", "");
        break;
    }
}

static void take_items(oa_spooling *spooling) {
    oa_journal_item item;
    while (oa_journal_take(spooling->carrier.journal, &item))
        take_item(spooling, &item);
}

void oa_spooling_turn(oa_spooling *spooling) {
    if (spooling == NULL || spooling->carrier.journal == NULL)
        return;
    spooling->count = 0;
    take_items(spooling);
    oa_carrier_follow(&spooling->carrier);
}

/* Without a file, what follows would be lost in a kill: that is worth a wait, once. */
static void await_file(oa_spooling *spooling) {
    const uint64_t most_ms = spooling->has_begun ? MOST_WAIT_MS : MOST_FIRST_WAIT_MS;
    spooling->is_unserved = !oa_journal_await(spooling->carrier.journal, most_ms);
    take_items(spooling);
    oa_carrier_follow(&spooling->carrier);
}

/* Take a turn, and wait for a file if there is none to go on in. */
static void see_to_files(oa_spooling *spooling) {
    const bool is_short = !spooling->is_unserved && oa_spool_is_short(spooling->carrier.spool);
    if (spooling->count < COUNT_PER_TURN && !is_short)
        return;
    oa_spooling_turn(spooling);
    if (is_short && spooling->carrier.journal != NULL && oa_spool_is_short(spooling->carrier.spool))
        await_file(spooling);
}

void oa_spooling_await_first(oa_spooling *spooling) {
    if (!spooling->has_begun)
        see_to_files(spooling);
    spooling->has_begun = true;
}

void oa_spooling_note(oa_spooling *spooling) {
    if (spooling->carrier.journal != NULL)
        oa_carrier_save(&spooling->carrier);
    spooling->count++;
    see_to_files(spooling);
}

bool oa_spooling_next_line(oa_spooling *spooling, oa_log_notice *out) {
    tell_found(spooling);
    if (spooling->lines_told == spooling->line_count) {
        spooling->lines_told = spooling->line_count = 0;
        return false;
    }
    const line *next = &spooling->lines[spooling->lines_told++];
    *out = (oa_log_notice){next->level, "spool", {next->text, strlen(next->text)}};
    return true;
}

const char *oa_spooling_error(const oa_spooling *spooling) {
    return spooling == NULL || spooling->error[0] == '\0' ? NULL : spooling->error;
}

/* ---- Flushes ---- */

bool oa_spooling_keep_flush(oa_spooling *spooling, const oa_flush_notice *flush) {
    if (!spooling->syncs_flushes || spooling->carrier.journal == NULL || flush->report.pending == 0)
        return false;
    kept_flush *kept = calloc(1, sizeof(*kept));
    if (kept == NULL)
        return false;
    oa_spooling_turn(spooling); /* which notes how much is to be synced */
    kept->flush = *flush;
    kept->until = oa_journal_sync(spooling->carrier.journal);
    kept_flush **last = &spooling->kept;
    while (*last != NULL)
        last = &(*last)->next;
    *last = kept;
    return true;
}

bool oa_spooling_next_flush(oa_spooling *spooling, oa_flush_notice *out) {
    kept_flush *first = spooling->kept;
    if (first == NULL || (spooling->carrier.journal != NULL &&
                          oa_journal_synced(spooling->carrier.journal) < first->until))
        return false;
    *out = first->flush;
    spooling->kept = first->next;
    free(first);
    return true;
}

bool oa_spooling_keeps_flush(const oa_spooling *spooling) {
    return spooling != NULL && spooling->kept != NULL;
}

/* ---- Life ---- */

oa_status oa_spooling_open(oa_dispatcher *core, const oa_spooling_config *config,
                           void (*changed)(void *context), void *context, oa_spooling **out,
                           char message[OA_SPOOLING_MESSAGE_BYTES]) {
    oa_spooling *spooling = calloc(1, sizeof(*spooling));
    if (spooling == NULL)
        return OA_NOMEM;
    spooling->core = core;
    spooling->carrier.spool = oa_dispatcher_spool(core);
    spooling->syncs_flushes = config->syncs_flushes;
    const oa_journal_options options = {
        .directory = config->directory.data,
        .key_mark = oa_segment_key_mark(config->api_key),
        .max_bytes = config->max_bytes,
        .sync_interval_ms = config->sync_interval_ms,
        .scan_interval_ms = SCAN_INTERVAL_MS,
        .retry_interval_ms = RETRY_INTERVAL_MS,
        .context = context,
        .changed = changed,
    };
    const oa_status status = oa_journal_open(&options, &spooling->carrier.journal, message);
    if (status != OA_OK) {
        free(spooling);
        return status;
    }
    /* What others left goes first: until it is found, what is new stays on disk. */
    oa_dispatcher_hold(core, oa_journal_sees_others(spooling->carrier.journal));
    oa_spooling_turn(spooling);
    *out = spooling;
    return OA_OK;
}

void oa_spooling_end(oa_spooling *spooling) {
    if (spooling == NULL || spooling->carrier.journal == NULL)
        return;
    oa_spool_end(spooling->carrier.spool);
    oa_spooling_turn(spooling);
    oa_journal_close(spooling->carrier.journal);
    spooling->carrier.journal = NULL;
}

void oa_spooling_abort(oa_spooling *spooling) {
    oa_stats stats;
    if (spooling == NULL)
        return;
    oa_dispatcher_stats(spooling->core, (oa_now){0, 0}, &stats);
    if (stats.pending == 0)
        oa_spooling_end(spooling);
}

void oa_spooling_disown(oa_spooling *spooling) { spooling->carrier.journal = NULL; }

void oa_spooling_close(oa_spooling *spooling) {
    if (spooling == NULL)
        return;
    oa_spooling_end(spooling);
    while (spooling->kept != NULL) {
        kept_flush *kept = spooling->kept;
        spooling->kept = kept->next;
        free(kept);
    }
    free(spooling);
}
