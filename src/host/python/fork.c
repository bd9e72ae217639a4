/*
 * fork.c: the forking thread holds the mutexes, so a child finds each core between two calls. There
 * a new core takes its place, since everything undelivered is the parent's; and so is the journal.
 */
#include "../cond.h"
#include "core.h"

/*
 * All Cores of the process, whichever interpreter they belong to. The handlers below run inside of
 * fork(): between a hook of Python and fork() other threads run Python, and may decide.
 */
static pthread_mutex_t cores_mutex = PTHREAD_MUTEX_INITIALIZER;
static core_object *cores;
static pthread_once_t handlers_once = PTHREAD_ONCE_INIT;

static void before_fork(void) {
    pthread_mutex_lock(&cores_mutex);
    for (core_object *each = cores; each != NULL; each = each->next)
        oa_py_lock(each);
    oa_forks_hold();
}

static void after_fork_in_parent(void) {
    oa_forks_release();
    for (core_object *each = cores; each != NULL; each = each->next)
        oa_py_unlock(each);
    pthread_mutex_unlock(&cores_mutex);
}

static void make_locks(core_object *self) {
    oa_cond_init(&self->woken);
    pthread_mutex_init(&self->wake_mutex, NULL);
    pthread_mutex_init(&self->mutex, NULL);
}

/* Threads that are no more may have waited for what is made anew here. */
static void after_fork_in_child(void) {
    oa_forks_leave();
    pthread_mutex_init(&cores_mutex, NULL);
    for (core_object *each = cores; each != NULL; each = each->next) {
        make_locks(each);
        each->is_usual = false;
        each->is_woken = false;
        if (each->spooling != NULL)
            oa_spooling_disown(each->spooling);
    }
}

static void handle_forks(void) {
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void oa_py_link_core(core_object *self) {
    pthread_once(&handlers_once, handle_forks);
    make_locks(self);
    pthread_mutex_lock(&cores_mutex);
    self->next = cores;
    cores = self;
    pthread_mutex_unlock(&cores_mutex);
    self->is_linked = true;
}

void oa_py_unlink_core(core_object *self) {
    pthread_mutex_lock(&cores_mutex);
    core_object **link = &cores;
    while (*link != self)
        link = &(*link)->next;
    *link = self->next;
    pthread_mutex_unlock(&cores_mutex);
    pthread_cond_destroy(&self->woken);
    pthread_mutex_destroy(&self->wake_mutex);
    pthread_mutex_destroy(&self->mutex);
}

void oa_py_free_core(core_object *self) {
    if (self->core == NULL)
        return;
    if (self->attempt != NULL)
        oa_dispatcher_give_back(self->core, oa_clock_now(), self->attempt);
    oa_spooling_close(self->spooling);
    oa_dispatcher_free(self->core);
}

PyObject *oa_py_renew(core_object *self, PyObject *unused) {
    (void)unused;
    oa_dispatcher *core = oa_py_make_core(self);
    if (core == NULL) {
        oa_dispatcher_abort(self->core); /* what is in it must not be sent twice */
        return NULL;
    }
    if (!self->is_touched) /* otherwise a thread that is no more was changing the attempt */
        oa_py_free_core(self);
    self->core = core;
    self->spooling = NULL; /* until the child decides */
    self->is_first = false;
    self->attempt = NULL;
    self->is_touched = false;
    self->variant_count = 0;
    self->epoch++;
    PyDict_Clear(self->variants);
    oa_dispatcher_set_opt_out(core, self->is_opted_out);
    Py_RETURN_NONE;
}
