/*
 * support_disk.h: a disk that fails. What the hosts ask of the kernel for their files goes through
 * here, in the program of a test: the linker prefers its functions to those of the C library.
 *
 * Thread: any. Nothing fails, and nobody is told, unless a test asks for it.
 */
#ifndef SUPPORT_DISK_H
#define SUPPORT_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum disk_call {
    DISK_OPEN,
    DISK_RESERVE, /* fallocate */
    DISK_READY,   /* madvise that populates */
    DISK_SYNC,    /* msync, fdatasync, fsync */
    DISK_WRITE,   /* pwrite */
    DISK_DELETE,  /* unlinkat */
    DISK_CALLS,
} disk_call;

/* Have calls from the `first` one on, counted from 1 and from now, fail with an error, `count` of
 * them. */
void disk_fails(disk_call call, uint64_t first, uint64_t count, int error);

/* Nothing fails any more. Returns how many calls there were since disk_fails(). */
uint64_t disk_works(void);

/* Have each sync of mapped bytes told, and of an open file, when it has succeeded. */
void disk_on_sync(void (*bytes_synced)(const char *bytes, size_t len), void (*file_synced)(int fd));

#endif
