#include "maker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../clock.h"
#include "origin.h"

enum {
    MOST_CLEAN = 2, /* files that are kept for the next segments */
    NAME_TRIES = 100,
};

static void choose_name(oa_maker *maker) {
    oa_origin_random(maker->head.owner, sizeof(maker->head.owner));
    int len = snprintf(maker->name, sizeof(maker->name), "%016" PRIx64 "-", maker->head.key_mark);
    for (size_t i = 0; i < sizeof(maker->head.owner); i++)
        len += snprintf(maker->name + len, sizeof(maker->name) - (size_t)len, "%02x",
                        (unsigned char)maker->head.owner[i]);
}

void oa_maker_init(oa_maker *maker, const char *path, int directory, const oa_storage_kind *kind,
                   uint64_t key_mark, uint64_t max_bytes) {
    *maker = (oa_maker){
        .path = strdup(path),
        .directory = directory,
        .lock = -1,
        .kind = kind,
        .max_bytes = max_bytes,
    };
    oa_journal_list_init(&maker->clean);
    maker->head.key_mark = key_mark;
    oa_origin_boot(maker->head.boot);
    choose_name(maker);
}

/* ---- The lock ---- */

typedef char lock_name[OA_JOURNAL_NAME_BYTES + sizeof(OA_JOURNAL_LOCK_SUFFIX)];

static void name_lock(const oa_maker *maker, lock_name name) {
    snprintf(name, sizeof(lock_name), "%s" OA_JOURNAL_LOCK_SUFFIX, maker->name);
}

static int create_lock(const oa_maker *maker) {
    lock_name name;
    name_lock(maker, name);
    return oa_directory_create_lock(maker->directory, name);
}

static void drop_clean(oa_maker *maker) {
    for (oa_journal_file *file; (file = oa_journal_list_pop(&maker->clean)) != NULL;)
        oa_maker_delete(maker, file);
    maker->clean_count = 0;
}

const char *oa_maker_hold(oa_maker *maker, bool is_known) {
    const bool is_first = maker->lock < 0;
    if (!is_first && !oa_directory_is_deleted(maker->lock))
        return NULL;
    if (!is_first)
        drop_clean(maker);
    if (!is_first && (!is_known || maker->path == NULL ||
                      !oa_directory_open_again(maker->directory, maker->path, maker->kind)))
        return "its files, or its directory, were deleted";
    int lock = create_lock(maker);
    /* Before it was locked, an adopter took it for one without an owner, and deletes it. */
    for (int tries = 0; lock < 0 && errno == EAGAIN && is_first && tries < NAME_TRIES; tries++) {
        choose_name(maker);
        lock = create_lock(maker);
    }
    if (lock < 0)
        return strerror(errno);
    oa_directory_close(maker->lock);
    maker->lock = lock;
    return NULL;
}

static void give_lock_back(oa_maker *maker, bool is_empty) {
    lock_name name;
    name_lock(maker, name);
    if (maker->lock >= 0 && is_empty && !maker->is_littered)
        unlinkat(maker->directory, name, 0);
    oa_directory_close(maker->lock);
}

/* ---- Files ---- */

/* Delete one of our files by its name; if that fails, another process has to. */
static void delete_named(oa_maker *maker, const char *name) {
    if (unlinkat(maker->directory, name, 0) != 0 && errno != ENOENT)
        maker->is_littered = true;
}

/* Say what a segment that is going to be written is. */
static void fill_head(const oa_maker *maker, oa_segment_head *head) {
    *head = maker->head;
    head->created_ms = oa_clock_wall_ms();
    oa_origin_random(&head->salt, sizeof(head->salt));
}

const char *oa_maker_trouble(const oa_maker *maker, size_t size) {
    if (maker->bytes + size > maker->max_bytes)
        return "the spool holds maxBytes";
    if (!oa_directory_has_room(maker->directory, size))
        return "less than 5 % of the disk would be free";
    return NULL;
}

static oa_journal_file *make_file(oa_maker *maker, size_t size, size_t ahead, const char **why) {
    *why = oa_maker_trouble(maker, size);
    if (*why != NULL)
        return NULL;
    oa_journal_file *file = calloc(1, sizeof(*file));
    int error = ENOMEM;
    if (file != NULL) {
        fill_head(maker, &file->head);
        file->is_loaded = true;
        snprintf(file->name, sizeof(file->name), "%.60s-%08" PRIx64 OA_JOURNAL_FILE_SUFFIX,
                 maker->name, ++maker->made);
        error = oa_storage_create(maker->kind, maker->directory, file->name, size, &file->storage);
    }
    if (error == 0)
        error = file->storage.kind->make_ready(&file->storage, 0, size < ahead ? size : ahead);
    if (error == 0)
        return file;
    if (file != NULL) {
        oa_storage_close(&file->storage);
        delete_named(maker, file->name);
    }
    free(file);
    *why = strerror(error);
    return NULL;
}

void oa_maker_add(oa_maker *maker, oa_journal_file *file) {
    oa_journal_file **last = &maker->all;
    while (*last != NULL)
        last = &(*last)->later;
    *last = file;
    maker->bytes += file->storage.size;
}

void oa_maker_remove(oa_maker *maker, oa_journal_file *file) {
    oa_journal_file **link = &maker->all;
    while (*link != file)
        link = &(*link)->later;
    *link = file->later;
    file->later = NULL;
    maker->bytes -= file->storage.size;
}

bool oa_maker_keep(oa_maker *maker, oa_journal_file *file) {
    const oa_storage *storage = &file->storage;
    if (!storage->kind->is_worth_keeping || storage->size != OA_SEGMENT_BYTES ||
        maker->clean_count == MOST_CLEAN)
        return false;
    memset(storage->bytes, 0, OA_SEGMENT_PAGE_BYTES); /* so that it is nobody's from now on */
    memset(storage->bytes + OA_SEGMENT_PAGE_BYTES, 0, storage->size - OA_SEGMENT_PAGE_BYTES);
    file->synced_to = storage->size; /* nothing in it is worth it */
    oa_journal_list_push(&maker->clean, file);
    maker->clean_count++;
    return true;
}

oa_journal_file *oa_maker_get(oa_maker *maker, size_t size, size_t ahead, const char **why) {
    oa_journal_file *file = size > OA_SEGMENT_BYTES ? NULL : oa_journal_list_pop(&maker->clean);
    if (file != NULL) {
        maker->clean_count--;
        file->synced_to = 0;
        fill_head(maker, &file->head);
        oa_maker_remove(maker, file); /* they are in the order in which they are written */
    } else {
        file = make_file(maker, size, ahead, why);
    }
    if (file != NULL)
        oa_maker_add(maker, file);
    return file;
}

void oa_maker_delete(oa_maker *maker, oa_journal_file *file) {
    oa_maker_remove(maker, file);
    delete_named(maker, file->name);
    oa_storage_close(&file->storage);
    free(file);
}

void oa_maker_end(oa_maker *maker) {
    bool is_empty = true;
    while (maker->all != NULL) {
        oa_journal_file *file = maker->all;
        maker->all = file->later;
        const bool is_blank = file->from == NULL && file->storage.bytes[0] == '\0';
        is_empty = is_empty && (is_blank || file->from != NULL);
        if (is_blank)
            delete_named(maker, file->name);
        oa_storage_close(&file->storage);
        free(file);
    }
    give_lock_back(maker, is_empty);
    free(maker->path);
}
