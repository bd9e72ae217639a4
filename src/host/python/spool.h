/*
 * spool.h: the journal of a Core, where there can be one: on Linux.
 *
 * Thread: under the lock of the Core, unless spooling.h says otherwise.
 */
#ifndef OA_HOST_PYTHON_SPOOL_H
#define OA_HOST_PYTHON_SPOOL_H

#ifdef __linux__

#include "../spool/forks.h"
#include "../spool/spooling.h"

#else

#include "oa.h"

typedef struct oa_spooling oa_spooling;

static inline void oa_forks_hold(void) {}
static inline void oa_forks_release(void) {}
static inline void oa_forks_leave(void) {}
static inline void oa_spooling_begin(oa_spooling *spooling) { (void)spooling; }
static inline void oa_spooling_count(oa_spooling *spooling) { (void)spooling; }
static inline void oa_spooling_turn(oa_spooling *spooling) { (void)spooling; }
static inline void oa_spooling_end(oa_spooling *spooling) { (void)spooling; }
static inline void oa_spooling_disown(oa_spooling *spooling) { (void)spooling; }
static inline void oa_spooling_close(oa_spooling *spooling) { (void)spooling; }

static inline const char *oa_spooling_error(const oa_spooling *spooling) {
    (void)spooling;
    return NULL;
}

static inline bool oa_spooling_keep_flush(oa_spooling *spooling, const oa_flush_notice *flush) {
    (void)spooling;
    (void)flush;
    return false;
}

static inline bool oa_spooling_next_flush(oa_spooling *spooling, oa_flush_notice *out) {
    (void)spooling;
    (void)out;
    return false;
}

static inline bool oa_spooling_next_line(oa_spooling *spooling, oa_log_notice *out) {
    (void)spooling;
    (void)out;
    return false;
}

#endif

#endif
