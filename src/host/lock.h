/*
 * lock.h: a file that one process has at a time. The kernel frees it when that process is gone,
 * however it ended.  [any thread]
 */
#ifndef OA_HOST_LOCK_H
#define OA_HOST_LOCK_H

#ifdef __cplusplus
extern "C" {
#endif

enum { OA_LOCK_TAKEN = -1, OA_LOCK_NONE = -2 };

/*
 * Take the lock on a file, which is made if it is not there. Returns what oa_lock_release() takes;
 * OA_LOCK_TAKEN: another owner has it; OA_LOCK_NONE: there can be none. Never waits. Where two take
 * it in one process, one of them gets it.
 */
int oa_lock_take(const char *path);

/* Free it; the file stays. a negative one is fine. */
void oa_lock_release(int lock);

#ifdef __cplusplus
}
#endif

#endif
