/*
 * forks.h: what a forked child has of its parent's journals: open locks, which would outlive the
 * parent there, and mappings, which the kernel leaves out (MADV_DONTFORK).
 *
 * All of a process are listed here, for a host whose process forks without exec. No fork comes
 * between oa_forks_hold() and oa_forks_release(): what is opened within them is listed.
 *
 * Thread: any.
 */
#ifndef OA_HOST_SPOOL_FORKS_H
#define OA_HOST_SPOOL_FORKS_H

#include <stdbool.h>
#include <stddef.h>

void oa_forks_hold(void);
void oa_forks_release(void);

/* List an open file, or a mapping (fd < 0). Held. Returns false if there is no memory. */
bool oa_forks_add(int fd, void *bytes, size_t size);

/* Take one from the list that is going to be closed, or unmapped. Held. */
void oa_forks_remove(int fd, const void *bytes);

/*
 * In a child whose parent held: close the files, and put memory of zeros in place of the mappings.
 * What was about them may be read and written, and nobody sees it. Releases.
 */
void oa_forks_leave(void);

#endif
