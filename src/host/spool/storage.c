#include "storage.h"

#include <errno.h>

/* Whether the file system is none for a mapping: ext2 and ext3 name themselves as ext4 does. */
static bool is_unfit(const oa_storage *storage, int error) {
    return !storage->kind->is_copied && (error == EOPNOTSUPP || error == ENODEV || error == ENOSYS);
}

int oa_storage_create(const oa_storage_kind *kind, int directory, const char *name, size_t size,
                      oa_storage *out) {
    *out = (oa_storage){.kind = kind, .directory = directory, .name = name, .fd = -1};
    const int error = kind->create(out, size);
    if (!is_unfit(out, error))
        return error;
    out->kind = &oa_storage_copied;
    return out->kind->create(out, size);
}

int oa_storage_open(const oa_storage_kind *kind, int directory, const char *name, oa_storage *out) {
    *out = (oa_storage){.kind = kind, .directory = directory, .name = name, .fd = -1};
    const int error = kind->open(out);
    if (!is_unfit(out, error))
        return error;
    out->kind = &oa_storage_copied;
    return out->kind->open(out);
}

void oa_storage_close(oa_storage *storage) {
    if (storage->bytes != NULL)
        storage->kind->close(storage);
    storage->bytes = NULL;
}
