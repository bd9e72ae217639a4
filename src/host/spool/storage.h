/*
 * storage.h: the bytes of a file, in memory. What is stored there, and saved, is the kernel's, and
 * stays when the process ends, however it ends. There are two kinds, which read each other's files:
 *
 *     mapped  The bytes are the file's own. Its blocks are reserved when it is created, so that no
 *             store meets a full disk, which would kill the process.
 *     copied  The bytes are a copy, and to save them is a system call. For file systems where no
 *             block can be reserved for sure. Memory is needed for what is written, or read; of
 *             other files only the first OA_SEGMENT_HEAD_BYTES are kept.
 *
 * Thread: one owner, but make_ready() and sync() on any; load() and let_go() as long as the owner
 * does not look behind the head. Functions return 0, or an error as errno has it.
 */
#ifndef OA_HOST_SPOOL_STORAGE_H
#define OA_HOST_SPOOL_STORAGE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct oa_storage_kind oa_storage_kind;

typedef struct oa_storage {
    const oa_storage_kind *kind;
    char *bytes; /* NULL: it is closed */
    size_t size; /* a multiple of a page */
    int directory;
    const char *name;
    int fd; /* of a copy that is written to, the owner's; or -1 */
} oa_storage;

struct oa_storage_kind {
    bool is_copied;
    bool is_worth_keeping; /* a file that is done, instead of making another one */

    /* Create a file of zeros that only this user can read; open one that is there, all whole pages
     * of it. */
    int (*create)(oa_storage *storage, size_t size);
    int (*open)(oa_storage *storage);
    void (*close)(oa_storage *storage);

    /*
     * Have the bytes from `from` to `to`, both multiples of a page, written to without waiting:
     * otherwise the first store to each page may wait for the disk. Their contents stay, whoever
     * writes to them meanwhile. It lasts until the kernel writes the pages to the disk.
     */
    int (*make_ready)(const oa_storage *storage, size_t from, size_t to);

    /* Have what was stored be the kernel's. */
    int (*save)(oa_storage *storage, size_t from, size_t to);

    /* Nothing is saved for now but what is settled. The owner's. */
    void (*rest)(oa_storage *storage);

    /* Read the file into memory. Where a block cannot be read, the bytes of a copy are zero;
     * *again: none was read, for lack of a descriptor, say, and it is to be tried again. */
    int (*load)(const oa_storage *storage, bool *again);

    /* Have it count as none of the process's memory, but for the head. */
    void (*let_go)(const oa_storage *storage);

    /* Write the bytes from `from`, a multiple of a page, to `to` to the disk, and wait for it. */
    int (*sync)(const oa_storage *storage, size_t from, size_t to);
};

extern const oa_storage_kind oa_storage_mapped, oa_storage_copied;

/*
 * Create a file, or open one, as this kind, or as a copy if it turns out that nothing can be
 * reserved here. Ownership: borrows the name, and the directory, for life.
 */
int oa_storage_create(const oa_storage_kind *kind, int directory, const char *name, size_t size,
                      oa_storage *out);
int oa_storage_open(const oa_storage_kind *kind, int directory, const char *name, oa_storage *out);

/* Close it, if it is open. */
void oa_storage_close(oa_storage *storage);

#endif
