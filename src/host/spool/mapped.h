/*
 * mapped.h: a file whose bytes are memory: what is stored there is the kernel's at once, and stays
 * when the process ends, however it ends.
 *
 * Thread: one owner; oa_mapped_make_ready() on any thread.
 *
 * Its blocks are reserved when it is created, so that no store meets a full disk. Functions return
 * 0, or an error as errno has it.
 */
#ifndef OA_HOST_SPOOL_MAPPED_H
#define OA_HOST_SPOOL_MAPPED_H

#include <stddef.h>

typedef struct oa_mapped {
    char *bytes;
    size_t size; /* a multiple of a page */
} oa_mapped;

/* Create a file of zeros that only this user can read. */
int oa_mapped_create(int directory, const char *name, size_t size, oa_mapped *out);

/* Open a file that is there: all whole pages of it. */
int oa_mapped_open(int directory, const char *name, oa_mapped *out);

void oa_mapped_close(oa_mapped *mapped);

/*
 * Have the bytes from `from` to `to`, both multiples of a page, written to without waiting: without
 * it the first store to each page may wait for the disk. Their contents stay, whoever writes to
 * them meanwhile. It lasts until the kernel writes the pages to the disk.
 */
int oa_mapped_make_ready(const oa_mapped *mapped, size_t from, size_t to);

/* Read the file into memory. */
int oa_mapped_load(const oa_mapped *mapped);

/* Have it count as none of the process's memory; what was stored stays. */
void oa_mapped_let_go(const oa_mapped *mapped);

/* Write the bytes from `from`, a multiple of a page, to `to` to the disk, and wait for it. */
int oa_mapped_sync(const oa_mapped *mapped, size_t from, size_t to);

#endif
