#include "storage.h"

#include <errno.h>
#include <unistd.h>

#include "forks.h"

/* Whether the file system is none for a mapping: ext2 and ext3 name themselves as ext4 does. */
static bool is_unfit(const oa_storage *storage, int error) {
    return !storage->kind->is_copied && (error == EOPNOTSUPP || error == ENODEV || error == ENOSYS);
}

/* Have a forked child have memory in its place. */
static int list(oa_storage *storage) {
    if (storage->bytes == NULL) /* an empty file */
        return 0;
    oa_forks_hold();
    const bool is_listed = oa_forks_add(-1, storage->bytes, storage->size);
    oa_forks_release();
    if (is_listed)
        return 0;
    storage->kind->close(storage);
    storage->bytes = NULL;
    return ENOMEM;
}

int oa_storage_create(const oa_storage_kind *kind, int directory, const char *name, size_t size,
                      oa_storage *out) {
    *out = (oa_storage){.kind = kind, .directory = directory, .name = name, .fd = -1};
    int error = kind->create(out, size);
    if (is_unfit(out, error)) {
        out->kind = &oa_storage_copied;
        error = out->kind->create(out, size);
    }
    if (error != 0)
        return error;
    error = list(out);
    if (error != 0)
        unlinkat(directory, name, 0);
    return error;
}

int oa_storage_open(const oa_storage_kind *kind, int directory, const char *name, oa_storage *out) {
    *out = (oa_storage){.kind = kind, .directory = directory, .name = name, .fd = -1};
    int error = kind->open(out);
    if (is_unfit(out, error)) {
        out->kind = &oa_storage_copied;
        error = out->kind->open(out);
    }
    return error != 0 ? error : list(out);
}

void oa_storage_close(oa_storage *storage) {
    if (storage->bytes == NULL)
        return;
    oa_forks_hold();
    oa_forks_remove(-1, storage->bytes);
    oa_forks_release();
    storage->kind->close(storage);
    storage->bytes = NULL;
}
