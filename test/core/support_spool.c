#include "support_spool.h"

#include "spool.h"

bool disks_keep_copies;

struct file {
    struct file *next;
    char *bytes;
    char *saved; /* NULL: the bytes are the file's own */
    size_t size;
    bool is_lent; /* to the world that runs */
    bool is_away; /* its copy is not whole */
};

/* Have nothing behind the head of a copy: bytes that are no entries, so that to read them is seen. */
static void let_go(struct file *file) {
    memset(file->bytes + OA_SEGMENT_HEAD_BYTES, 0xEE, file->size - OA_SEGMENT_HEAD_BYTES);
    file->is_away = true;
}

static void load(struct file *file, oa_spool *spool) {
    memcpy(file->bytes + OA_SEGMENT_HEAD_BYTES, file->saved + OA_SEGMENT_HEAD_BYTES,
           file->size - OA_SEGMENT_HEAD_BYTES);
    file->is_away = false;
    oa_spool_loaded(spool, file);
}

void disk_save(world *w) {
    oa_spool *spool = oa_dispatcher_spool(w->dispatcher);
    oa_spool_range range;
    while (oa_spool_next_unsaved(spool, &range)) {
        const struct file *file = range.handle;
        assert_true(range.from < range.to && range.to <= file->size);
        memcpy(file->saved + range.from, file->bytes + range.from, range.to - range.from);
        oa_spool_saved(spool);
    }
}

disk *disk_new(size_t pages) {
    disk *made = must(calloc(1, sizeof(*made)));
    made->segment_bytes = OA_SEGMENT_HEAD_BYTES + pages * OA_SEGMENT_PAGE_BYTES;
    made->most_segments = SIZE_MAX;
    return made;
}

static void remove_file(disk *kept, struct file *file) {
    struct file **link = &kept->files;
    while (*link != file)
        link = &(*link)->next;
    *link = file->next;
    kept->count--;
    free(file->bytes);
    free(file->saved);
    free(file);
}

void disk_free(disk *kept) {
    while (kept->files != NULL)
        remove_file(kept, kept->files);
    free(kept);
}

void disk_find(disk *kept, world *w) {
    oa_spool *spool = oa_dispatcher_spool(w->dispatcher);
    for (struct file *file = kept->files; file != NULL; file = file->next) {
        if (file->is_lent)
            continue;
        if (file->saved != NULL)
            let_go(file);
        if (oa_spool_find(spool, file, file->bytes, file->size) != OA_OK)
            return; /* without memory: later */
        file->is_lent = true;
    }
    oa_dispatcher_hold(w->dispatcher, false);
}

static void give(disk *kept, oa_spool *spool) {
    struct file *file = must(calloc(1, sizeof(*file)));
    file->size = kept->segment_bytes;
    file->bytes = must(aligned_alloc(OA_SEGMENT_PAGE_BYTES, file->size));
    memset(file->bytes, 0, file->size);
    if (disks_keep_copies)
        file->saved = must(calloc(1, file->size));
    file->is_lent = true;
    struct file **last = &kept->files;
    while (*last != NULL)
        last = &(*last)->next;
    *last = file;
    kept->count++;
    const oa_segment_head head = {.salt = ++kept->salt, .created_ms = 1};
    if (oa_spool_give(spool, file, file->bytes, file->size, &head) != OA_OK)
        remove_file(kept, file);
}

void disk_serve(disk *kept, world *w) {
    oa_spool *spool = oa_dispatcher_spool(w->dispatcher);
    disk_save(w);
    for (void *done; (done = oa_spool_next_done(spool)) != NULL;)
        remove_file(kept, done);
    for (void *idle; (idle = oa_spool_next_idle(spool)) != NULL;)
        let_go(idle);
    struct file *reading = oa_spool_where(spool).reading;
    if (reading != NULL && reading->is_away)
        load(reading, spool);
    for (int n = 0; n < 2; n++)
        if (oa_spool_wants(spool) > 0 && kept->count < kept->most_segments)
            give(kept, spool);
}

void disk_begin(disk *kept, world *w) {
    if (disks_keep_copies)
        oa_spool_use_copies(oa_dispatcher_spool(w->dispatcher));
    oa_dispatcher_hold(w->dispatcher, kept->count > 0);
    if (!kept->finds_late)
        disk_find(kept, w);
    disk_serve(kept, w);
}

void disk_end(disk *kept) {
    for (struct file *file = kept->files, *next; file != NULL; file = next) {
        next = file->next;
        file->is_lent = file->is_away = false;
        if (file->saved != NULL)
            memcpy(file->bytes, file->saved, file->size); /* what was not saved is lost */
        oa_segment_reader reader;
        oa_segment_head head;
        oa_crc32 crc;
        oa_crc32_init(&crc);
        if (oa_segment_open(&reader, &crc, file->bytes, file->size, &head) != OA_SEGMENT_READABLE)
            remove_file(kept, file); /* it was spare */
    }
}
