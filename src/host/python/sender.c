/*
 * sender.c: what the sender does: it waits, and performs one attempt at a time.  [the sender's
 * thread; step(), next_notice() and wake() any one]
 *
 * An attempt that is out is worked on without the mutex. `is_touched` tells a forked child whether
 * the sender was doing so: then the attempt is not to be touched there.
 */
#include <stdlib.h>

#include "../cond.h"
#include "core.h"

enum { LONGEST_WAIT_MS = 60 * 60 * 1000 };

/* When something is due by the core, but not too far ahead. */
static uint64_t next_due_ms(core_object *self, oa_now now) {
    oa_py_lock(self);
    const uint64_t due_ms = oa_dispatcher_next_due(self->core, now);
    oa_py_unlock(self);
    const uint64_t latest_ms = now.monotonic_ms + LONGEST_WAIT_MS;
    return due_ms < latest_ms ? due_ms : latest_ms;
}

/* Wait until `due_ms`, or to be woken; returns whether that is over. What changes when something is
 * due wakes the sender, too. */
static bool wait_until(core_object *self, uint64_t due_ms) {
    pthread_mutex_lock(&self->wake_mutex);
    if (!self->is_woken)
        oa_cond_wait_until(&self->woken, &self->wake_mutex, due_ms);
    const bool is_woken = self->is_woken;
    self->is_woken = false;
    pthread_mutex_unlock(&self->wake_mutex);
    return is_woken;
}

PyObject *oa_py_wait(core_object *self, PyObject *unused) {
    (void)unused;
    Py_BEGIN_ALLOW_THREADS;
    for (bool is_over = false; !is_over;) {
        const oa_now now = oa_clock_now();
        const uint64_t due_ms = next_due_ms(self, now);
        is_over = due_ms <= now.monotonic_ms || wait_until(self, due_ms);
    }
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyObject *oa_py_wake(core_object *self, PyObject *unused) {
    (void)unused;
    oa_py_signal(self);
    Py_RETURN_NONE;
}

PyObject *oa_py_step(core_object *self, PyObject *unused) {
    (void)unused;
    Py_BEGIN_ALLOW_THREADS;
    oa_py_lock(self);
    oa_spooling_turn(self->spooling);
    oa_dispatcher_step(self->core, oa_clock_now());
    oa_py_unlock(self);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

/* Take the next notice, with the mutex. The report of a flush may have to wait for the disk. */
static bool next_notice(core_object *self, oa_notice *out) {
    while (oa_dispatcher_next_notice(self->core, out))
        if (out->kind != OA_NOTICE_FLUSH || self->spooling == NULL ||
            !oa_spooling_keep_flush(self->spooling, &out->about.flush))
            return true;
    return oa_py_spool_notice(self, out);
}

PyObject *oa_py_next_notice(core_object *self, PyObject *unused) {
    (void)unused;
    oa_notice notice;
    oa_py_lock(self);
    const bool has_one = next_notice(self, &notice);
    oa_py_unlock(self);
    if (!has_one)
        Py_RETURN_NONE;
    return oa_py_notice(&notice); /* lent until the next call of this function */
}

PyObject *oa_py_take(core_object *self, PyObject *unused) {
    (void)unused;
    Py_BEGIN_ALLOW_THREADS;
    oa_py_lock(self);
    self->attempt = oa_dispatcher_take_attempt(self->core, oa_clock_now());
    oa_py_unlock(self);
    Py_END_ALLOW_THREADS;
    return PyBool_FromLong(self->attempt != NULL);
}

/* The sender works on its attempt from here on, or no longer: a forked child needs to know. */
static void touch(core_object *self, bool is_touched) {
    oa_py_lock(self);
    self->is_touched = is_touched;
    oa_py_unlock(self);
}

PyObject *oa_py_ask(core_object *self, PyObject *unused) {
    (void)unused;
    size_t count = 0;
    touch(self, true);
    const oa_store_part *parts = oa_attempt_ask(self->attempt, &count);
    touch(self, false);
    return oa_py_store_parts(parts, count);
}

/* Read a list of answers into malloc'ed memory. */
static int32_t *read_answers(PyObject *list, size_t *count) {
    const Py_ssize_t len = PyList_Size(list);
    if (len < 0)
        return NULL;
    int32_t *answers = malloc(((size_t)len + 1) * sizeof(*answers));
    if (answers == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < len; i++)
        answers[i] = (int32_t)PyLong_AsLong(PyList_GetItem(list, i));
    if (PyErr_Occurred() != NULL) {
        free(answers);
        return NULL;
    }
    *count = (size_t)len;
    return answers;
}

PyObject *oa_py_learn(core_object *self, PyObject *list) {
    size_t count = 0;
    int32_t *answers = read_answers(list, &count);
    if (answers == NULL)
        return NULL;
    oa_py_lock(self);
    const bool is_left = oa_dispatcher_learn(self->core, self->attempt, answers, count);
    oa_py_unlock(self);
    free(answers);
    return PyBool_FromLong(is_left);
}

PyObject *oa_py_render(core_object *self, PyObject *unused) {
    (void)unused;
    oa_status status;
    Py_BEGIN_ALLOW_THREADS;
    touch(self, true);
    status = oa_attempt_render(self->attempt);
    touch(self, false);
    Py_END_ALLOW_THREADS;
    if (status != OA_OK)
        Py_RETURN_NONE;
    const oa_str body = oa_attempt_body(self->attempt);
    return Py_BuildValue("(y#N)", body.data, (Py_ssize_t)body.len,
                         PyBool_FromLong(oa_attempt_is_gzip(self->attempt)));
}

static oa_str text_of(const char *data, Py_ssize_t len) { return (oa_str){data, (size_t)len}; }

PyObject *oa_py_answer(core_object *self, PyObject *args) {
    oa_answer answer = {0};
    int aborted = 0;
    unsigned long long duration_ms = 0;
    Py_ssize_t sent = 0;
    unsigned int retry_after = 0;
    const char *texts[3] = {NULL, NULL, NULL};
    Py_ssize_t lens[3] = {0, 0, 0};
    if (!PyArg_ParseTuple(args, "ipnKIz#z#z#:answer", &answer.status_code, &aborted, &sent,
                          &duration_ms, &retry_after, &texts[0], &lens[0], &texts[1], &lens[1],
                          &texts[2], &lens[2]))
        return NULL;
    answer.aborted = aborted != 0;
    answer.sent_bytes = (size_t)sent;
    answer.duration_ms = duration_ms;
    answer.retry_after_seconds = retry_after;
    answer.body = text_of(texts[0], lens[0]);
    answer.error = text_of(texts[1], lens[1]);
    answer.location = text_of(texts[2], lens[2]);
    Py_BEGIN_ALLOW_THREADS;
    touch(self, true);
    oa_attempt_answer(self->attempt, &answer);
    touch(self, false);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

PyObject *oa_py_writes(core_object *self, PyObject *unused) {
    (void)unused;
    size_t count = 0;
    touch(self, true);
    const oa_store_part *parts = oa_attempt_write(self->attempt, &count);
    touch(self, false);
    return oa_py_store_parts(parts, count);
}

PyObject *oa_py_confirm(core_object *self, PyObject *list) {
    size_t count = 0;
    int32_t *answers = read_answers(list, &count);
    if (answers == NULL)
        return NULL;
    touch(self, true);
    oa_attempt_confirm(self->attempt, answers, count);
    touch(self, false);
    free(answers);
    Py_RETURN_NONE;
}

PyObject *oa_py_give_back(core_object *self, PyObject *unused) {
    (void)unused;
    Py_BEGIN_ALLOW_THREADS;
    oa_py_lock(self);
    oa_attempt *attempt = self->attempt;
    self->attempt = NULL;
    if (attempt != NULL)
        oa_dispatcher_give_back(self->core, oa_clock_now(), attempt);
    oa_py_unlock(self);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}
