#include "carrier.h"

bool oa_carrier_give(oa_carrier *carrier, const oa_journal_item *item) {
    oa_journal_file *file = item->file;
    char *bytes = file->storage.bytes;
    const size_t size = file->storage.size;
    if (item->kind == OA_JOURNAL_LOADED) {
        oa_spool_loaded(carrier->spool, file);
        return true;
    }
    if (file->storage.kind->is_copied && !carrier->has_copies) {
        carrier->has_copies = true;
        oa_spool_use_copies(carrier->spool);
    }
    if (item->kind == OA_JOURNAL_FOUND)
        return oa_spool_find(carrier->spool, file, bytes, size) == OA_OK;
    if (oa_spool_give(carrier->spool, file, bytes, size, &file->head) == OA_OK)
        return true;
    oa_journal_done(carrier->journal, file);
    return false;
}

void oa_carrier_save(oa_carrier *carrier) {
    oa_spool_range range;
    bool fails = false;
    if (!carrier->has_copies)
        return;
    while (!fails && oa_spool_next_unsaved(carrier->spool, &range)) {
        fails = !oa_journal_save(carrier->journal, range.handle, range.from, range.to);
        if (!fails)
            oa_spool_saved(carrier->spool);
    }
    oa_spool_pause(carrier->spool, fails);
}

void oa_carrier_follow(oa_carrier *carrier) {
    void *handle;
    oa_carrier_save(carrier);
    while ((handle = oa_spool_next_done(carrier->spool)) != NULL)
        oa_journal_done(carrier->journal, handle);
    while ((handle = oa_spool_next_idle(carrier->spool)) != NULL)
        oa_journal_let_go(carrier->journal, handle);
    const oa_spool_position where = oa_spool_where(carrier->spool);
    const oa_journal_position position = {where.end, where.end_at, where.reading};
    oa_journal_note(carrier->journal, position, oa_spool_wants(carrier->spool));
}
