/*
 * support_spool.h: a disk for the journals of worlds: it outlives them, however they end.
 *
 * Set world.disk before the world starts. The disk gives a segment whenever one is wanted, unless
 * it is full, and has the next world find what the last one left.
 */
#ifndef SUPPORT_SPOOL_H
#define SUPPORT_SPOOL_H

#include "support.h"

typedef struct disk {
    size_t segment_bytes;
    size_t most_segments;
    bool finds_late;    /* the next world is held until disk_find() */
    struct file *files; /* in order */
    size_t count;
    uint64_t salt;
} disk;

/* Whether disks keep files of which worlds have copies. */
extern bool disks_keep_copies;

/* Return a disk with segments of `pages` of entries each. */
disk *disk_new(size_t pages);

void disk_free(disk *kept);

/* The start of a world, a turn of its host, and its end. */
void disk_begin(disk *kept, world *w);
void disk_serve(disk *kept, world *w);
void disk_end(disk *kept);

/* What a host does before a listener returns. */
void disk_save(world *w);

/* Have a world find what is there, and go on. */
void disk_find(disk *kept, world *w);

#endif
