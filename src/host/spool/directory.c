#include "directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../stat.h"
#include "forks.h"

enum { FREE_PERCENT = 5 };

/* Have no file mapped: for tests. */
#define APPENDS_VARIABLE "OA_SPOOL_APPENDS"

/*
 * Whether blocks that are reserved stay so, for sure: then a file may be mapped. overlayfs has
 * files of another file system, and names neither it nor that. Where a page is written to another
 * place each time, there is no number of files (btrfs), or a block is not the unit (ZFS).
 */
static bool reserves(const struct statfs *disk) {
    switch ((uint32_t)disk->f_type) {
    case 0xEF53:     /* ext4; ext2 and ext3, where nothing can be reserved */
    case 0x58465342: /* XFS */
    case 0x01021994: /* tmpfs */
        return true;
    case 0x794c7630: /* overlayfs */
        return disk->f_files > 0 && disk->f_frsize == disk->f_bsize;
    default:
        return false;
    }
}

/* Whether another machine, or process, may change files, or be gone, without the kernel: locks do
 * not hold there. Numbers: statfs(2). */
static bool is_remote(const struct statfs *disk) {
    static const uint32_t remote[] = {
        0x6969,     0x517B,     0xFE534D42, 0xFF534D42, /* NFS; SMB, in three versions */
        0x65735546, 0x01021997, 0x00C36400, 0x0BD00BD0, /* FUSE, 9P, Ceph, Lustre */
        0x5346414F, 0x6B414653, 0x73757245, 0x47504653, /* AFS, twice; Coda, GPFS */
        0x01161970, 0x7461636F, 0x786F4256, 0xBACBACBC, /* GFS2, OCFS2; of VirtualBox, VMware */
    };
    for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
        if ((uint32_t)disk->f_type == remote[i])
            return true;
    return false;
}

/* Return what is wrong with the file system, or NULL, and what its files are. */
static const char *file_system_trouble(int directory, const oa_storage_kind **kind) {
    struct statfs disk;
    if (fstatfs(directory, &disk) != 0)
        return strerror(errno);
    if (is_remote(&disk))
        return "it is on a network file system, or one of FUSE, which cannot be relied on: use a "
               "local disk, or memory, such as /dev/shm";
    const bool maps = reserves(&disk) && getenv(APPENDS_VARIABLE) == NULL;
    *kind = maps ? &oa_storage_mapped : &oa_storage_copied;
    return NULL;
}

/* Have a forked child close it, too. Returns -1 if there is no memory for that. Held. */
static int list_open(int fd) {
    if (fd < 0 || oa_forks_add(fd, NULL, 0))
        return fd;
    close(fd);
    errno = ENOMEM;
    return -1;
}

static int open_listed(const char *path) {
    oa_forks_hold();
    const int fd = list_open(open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    oa_forks_release();
    return fd;
}

void oa_directory_close(int fd) {
    if (fd < 0)
        return;
    oa_forks_hold();
    oa_forks_remove(fd, NULL);
    close(fd);
    oa_forks_release();
}

int oa_directory_open(const char *path, const oa_storage_kind **kind,
                      char message[OA_DIRECTORY_MESSAGE_BYTES]) {
    oa_file_stat stat;
    const char *trouble = NULL;
    const int fd = open_listed(path);
    if (fd < 0 || oa_stat(fd, &stat) != 0)
        trouble = strerror(errno);
    else if (stat.st_uid != geteuid())
        trouble = "it belongs to another user: name a directory in it that does not exist yet";
    else if ((stat.st_mode & 077) != 0)
        trouble =
            "others have access to it: run chmod 700, or name a directory in it that does not "
            "exist yet";
    else
        trouble = file_system_trouble(fd, kind);
    if (trouble == NULL)
        return fd;
    snprintf(message, OA_DIRECTORY_MESSAGE_BYTES, "the directory %.100s cannot be a spool: %s",
             path, trouble);
    oa_directory_close(fd);
    return -1;
}

bool oa_directory_open_again(int directory, const char *path, const oa_storage_kind *kind) {
    char message[OA_DIRECTORY_MESSAGE_BYTES];
    const oa_storage_kind *kind_now = NULL;
    const int fd = oa_directory_open(path, &kind_now, message);
    const bool opens = fd >= 0 && kind_now == kind && dup3(fd, directory, O_CLOEXEC) >= 0;
    oa_directory_close(fd);
    return opens;
}

bool oa_directory_is_deleted(int fd) {
    oa_file_stat stat;
    return oa_stat(fd, &stat) == 0 && stat.st_nlink == 0;
}

int oa_directory_sync(int directory) { return fsync(directory) == 0 ? 0 : errno; }

bool oa_directory_has_room(int directory, size_t size) {
    struct statvfs disk;
    if (fstatvfs(directory, &disk) != 0)
        return true; /* to create a file will say what is wrong */
    const uint64_t all = (uint64_t)disk.f_blocks * disk.f_frsize;
    const uint64_t available = (uint64_t)disk.f_bavail * disk.f_frsize;
    return available >= size && available - size >= all / 100 * FREE_PERCENT;
}

DIR *oa_directory_list(int directory) {
    /* A descriptor that stays open may have an old listing, in overlayfs. */
    const int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (listing == NULL && fd >= 0)
        close(fd);
    return listing;
}

/* A lock of the open file, not of the process: Workers are others, and a fork has none of its
 * own. */
static bool lock(int fd) {
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    return fcntl(fd, F_OFD_SETLK, &whole) == 0;
}

/* Lock a file, unless it was deleted meanwhile. */
static bool lock_named(int fd) {
    oa_file_stat stat;
    return lock(fd) && oa_stat(fd, &stat) == 0 && stat.st_nlink > 0;
}

/* Open a file and lock it. Returns -1 if that fails: with errno, or with EAGAIN if it is not
 * ours. */
static int open_locked(int directory, const char *name, int flags) {
    oa_forks_hold();
    int fd = openat(directory, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
    if (fd >= 0 && !lock_named(fd)) {
        close(fd);
        errno = EAGAIN;
        fd = -1;
    }
    fd = list_open(fd);
    oa_forks_release();
    return fd;
}

int oa_directory_create_lock(int directory, const char *name) {
    return open_locked(directory, name, O_CREAT | O_EXCL);
}

int oa_directory_take_lock(int directory, const char *name) {
    return open_locked(directory, name, 0);
}
