#include "directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../stat.h"

enum { FREE_PERCENT = 5, CREATE_TRIES = 100, CREATE_PAUSE_US = 1000 };

/*
 * Where blocks that are reserved stay so, and a page that is stored to is the kernel's. On others a
 * full disk, or a server that is gone, kills the process by SIGBUS. Numbers: statfs(2).
 */
static const char *file_system_trouble(int directory) {
    struct statfs disk;
    if (fstatfs(directory, &disk) != 0)
        return strerror(errno);
    switch ((uint32_t)disk.f_type) {
    case 0xEF53:     /* ext4, and before it ext2 and ext3 */
    case 0x58465342: /* XFS */
    case 0x01021994: /* tmpfs */
    case 0x794c7630: /* overlayfs, where the first file shows how it is */
        return NULL;
    case 0x6969: /* NFS */
    case 0x517B: /* SMB, in three versions */
    case 0xFE534D42:
    case 0xFF534D42:
    case 0x65735546: /* FUSE */
    case 0x01021997: /* 9P */
        return "it is on a network file system, or one of FUSE, which cannot be relied on: use a "
               "local disk, or memory, such as /dev/shm";
    default:
        return "its file system is none of ext4, XFS, tmpfs and overlayfs: use a directory on one "
               "of "
               "these, such as /dev/shm";
    }
}

int oa_directory_open(const char *path, char message[OA_DIRECTORY_MESSAGE_BYTES]) {
    uv_stat_t stat;
    const char *trouble = NULL;
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || oa_stat(fd, &stat) != 0)
        trouble = strerror(errno);
    else if (stat.st_uid != geteuid())
        trouble = "it belongs to another user: name a directory in it that does not exist yet";
    else if ((stat.st_mode & 077) != 0)
        trouble =
            "others have access to it: run chmod 700, or name a directory in it that does not "
            "exist yet";
    else
        trouble = file_system_trouble(fd);
    if (trouble == NULL)
        return fd;
    snprintf(message, OA_DIRECTORY_MESSAGE_BYTES, "the directory %.100s cannot be a spool: %s",
             path, trouble);
    if (fd >= 0)
        close(fd);
    return -1;
}

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
    uv_stat_t stat;
    return lock(fd) && oa_stat(fd, &stat) == 0 && stat.st_nlink > 0;
}

int oa_directory_create_lock(int directory, const char *name) {
    /* Before it is locked, an adopter may take it for one without an owner, and delete it. */
    for (int tries = 0;; tries++) {
        const int fd =
            openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && (errno != EEXIST || tries == 0 || tries == CREATE_TRIES))
            return fd;
        if (fd >= 0 && lock_named(fd))
            return fd;
        if (fd >= 0)
            close(fd);
        usleep(CREATE_PAUSE_US);
    }
}

int oa_directory_take_lock(int directory, const char *name) {
    const int fd = openat(directory, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || lock_named(fd))
        return fd;
    close(fd);
    return -1;
}
