/*
 * core.h: the type Core, for the files that are it:
 *
 *   core.c     the type, and what an application does
 *   config.c   a core made from its configuration
 *   sender.c   what the thread that sends does
 *   spool.c    its journal
 *   fork.c     how a forked child begins anew
 *
 * Thread: any that holds the GIL. What sender.c does for long, it does without the GIL.
 */
#ifndef OA_HOST_PYTHON_CORE_H
#define OA_HOST_PYTHON_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "native.h"
#include "spool.h"

typedef struct core_object {
    PyObject ob_base;
    pthread_mutex_t
        wake_mutex; /* for is_woken; the innermost, since the journal's thread takes it */
    pthread_cond_t woken;
    bool is_woken;
    pthread_mutex_t mutex; /* for all below, up to the Python objects */
    bool is_linked;        /* among those that fork() concerns */
    struct core_object *next;
    bool is_opted_out;
    bool is_touched; /* the sender works on the attempt without the mutex */
    oa_dispatcher *core;
    oa_spooling *spooling; /* NULL: there is no journal */
    oa_attempt *attempt;   /* that is out; the sender's */
    uint32_t variant_count;
    uint32_t epoch;        /* of variant ids; those of an earlier one are invalid */
    _Atomic bool is_usual; /* decide() may end here; each decision reads it, without the mutex */
    _Atomic bool is_first; /* a journal was opened, and there was no decision yet; likewise */
    PyObject *config;
    PyObject *unusual;
    PyObject *variants; /* (flag, variation, rule, enabled) -> epoch << 32 | id */
    PyObject *flag;     /* interned names */
    PyObject *flag_key;
    PyObject *variation_key;
    PyObject *rule_key;
    PyObject *enabled;
} core_object;

static inline void oa_py_lock(core_object *self) { pthread_mutex_lock(&self->mutex); }

static inline void oa_py_unlock(core_object *self) { pthread_mutex_unlock(&self->mutex); }

/* End a wait(), or the next one. */
static inline void oa_py_signal(core_object *self) {
    pthread_mutex_lock(&self->wake_mutex);
    self->is_woken = true;
    pthread_cond_signal(&self->woken);
    pthread_mutex_unlock(&self->wake_mutex);
}

/* Raise what a status says. Returns NULL. */
PyObject *oa_py_raise(oa_status status);

/* Make a core from the configuration. Returns NULL with an exception. */
oa_dispatcher *oa_py_make_core(core_object *self);

/* Wait for the first file of a journal, which takes seconds on a disk that is overloaded. */
void oa_py_await_spool(core_object *self);

/* Before a decision, without the mutex. */
static inline void oa_py_begin_spool(core_object *self) {
    if (self->is_first)
        oa_py_await_spool(self);
}

/* Take the next thing that the journal tells, with the mutex; false: there is none. */
bool oa_py_spool_notice(core_object *self, oa_notice *out);

/* Free the core, with the attempt that is out, and its journal. */
void oa_py_free_core(core_object *self);

/* Make the locks, and have fork() respect them; the end of that. */
void oa_py_link_core(core_object *self);
void oa_py_unlink_core(core_object *self);

/* Methods: sender.c, spool.c, and renew() of fork.c. */
PyObject *oa_py_wait(core_object *self, PyObject *unused);
PyObject *oa_py_wake(core_object *self, PyObject *unused);
PyObject *oa_py_step(core_object *self, PyObject *unused);
PyObject *oa_py_next_notice(core_object *self, PyObject *unused);
PyObject *oa_py_take(core_object *self, PyObject *unused);
PyObject *oa_py_ask(core_object *self, PyObject *unused);
PyObject *oa_py_learn(core_object *self, PyObject *list);
PyObject *oa_py_render(core_object *self, PyObject *unused);
PyObject *oa_py_answer(core_object *self, PyObject *args);
PyObject *oa_py_writes(core_object *self, PyObject *unused);
PyObject *oa_py_confirm(core_object *self, PyObject *list);
PyObject *oa_py_give_back(core_object *self, PyObject *unused);
PyObject *oa_py_open_spool(core_object *self, PyObject *args);
PyObject *oa_py_end_spool(core_object *self, PyObject *unused);
PyObject *oa_py_renew(core_object *self, PyObject *unused);

#endif
