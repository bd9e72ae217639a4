/*
 * directory.h: a directory of journals: whether one can be kept there, what is in it, and locks
 * that the kernel frees with the process.  [any thread]
 */
#ifndef OA_HOST_SPOOL_DIRECTORY_H
#define OA_HOST_SPOOL_DIRECTORY_H

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage.h"

enum { OA_DIRECTORY_MESSAGE_BYTES = 320 };

/*
 * Open a directory that is private to the user, on a file system of this machine. Returns a file
 * descriptor, and the kind of its files; or -1, and in `message` why not, and what to do.
 */
int oa_directory_open(const char *path, const oa_storage_kind **kind,
                      char message[OA_DIRECTORY_MESSAGE_BYTES]);

/* Open a directory once more, under the descriptor that it has: another one may be there now.
 * Returns whether there is one of this kind. */
bool oa_directory_open_again(int directory, const char *path, const oa_storage_kind *kind);

/* Whether a lock's file was deleted. */
bool oa_directory_is_deleted(int fd);

/* Have the names of new files on the disk, and wait for it. Returns 0, or an error as errno has
 * it. */
int oa_directory_sync(int directory);

/* Close a directory, or a lock: so it is given back. A forked child has none of them. */
void oa_directory_close(int fd);

/* Whether `size` more bytes leave the disk a twentieth of itself. */
bool oa_directory_has_room(int directory, size_t size);

/* List the directory as it is now. Returns NULL, or a listing for closedir(). */
DIR *oa_directory_list(int directory);

/* Create a file, and lock it for as long as it stays open. Returns its descriptor, or -1 and
 * errno; EAGAIN: before that, another process took it for one without an owner, and deletes it. */
int oa_directory_create_lock(int directory, const char *name);

/* The same with a file that is there, if nobody holds its lock. A file that was deleted
 * meanwhile is none. */
int oa_directory_take_lock(int directory, const char *name);

#endif
