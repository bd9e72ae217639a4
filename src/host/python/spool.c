/*
 * spool.c: a Core with a journal. Its thread, which looks after files, knows nothing of Python: it
 * wakes the sender, which takes a turn.
 *
 * A forked child opens a journal of its own when it decides for the first time: see fork.c.
 */
#include "core.h"

/* Without the GIL, and so do others that decide meanwhile: they wait for the mutex here. */
void oa_py_await_spool(core_object *self) {
    Py_BEGIN_ALLOW_THREADS;
    oa_py_lock(self);
    oa_spooling_begin(self->spooling);
    self->is_first = false;
    oa_py_unlock(self);
    Py_END_ALLOW_THREADS;
}

PyObject *oa_py_end_spool(core_object *self, PyObject *unused) {
    (void)unused;
    Py_BEGIN_ALLOW_THREADS;
    oa_py_lock(self);
    oa_spooling_end(self->spooling);
    oa_py_unlock(self);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

bool oa_py_spool_notice(core_object *self, oa_notice *out) {
    if (self->spooling == NULL)
        return false;
    oa_spooling_turn(self->spooling);
    out->kind = OA_NOTICE_LOG;
    if (oa_spooling_next_line(self->spooling, &out->about.log))
        return true;
    out->kind = OA_NOTICE_FLUSH;
    return oa_spooling_next_flush(self->spooling, &out->about.flush);
}

#ifdef __linux__

static void on_changed(void *self) { oa_py_signal(self); }

PyObject *oa_py_open_spool(core_object *self, PyObject *args) {
    oa_spooling_config config = {0};
    char message[OA_SPOOLING_MESSAGE_BYTES] = "";
    Py_ssize_t directory_len = 0;
    Py_ssize_t api_key_len = 0;
    unsigned long long max_bytes = 0;
    unsigned long long sync_interval_ms = 0;
    int syncs_flushes = 0;
    oa_status status = OA_OK;
    if (!PyArg_ParseTuple(args, "y#s#KKp:open_spool", &config.directory.data, &directory_len,
                          &config.api_key.data, &api_key_len, &max_bytes, &sync_interval_ms,
                          &syncs_flushes))
        return NULL;
    config.directory.len = (size_t)directory_len;
    config.api_key.len = (size_t)api_key_len;
    config.max_bytes = max_bytes;
    config.sync_interval_ms = sync_interval_ms;
    config.syncs_flushes = syncs_flushes != 0;
    Py_BEGIN_ALLOW_THREADS;
    oa_py_lock(self);
    const bool is_new = self->spooling == NULL;
    if (is_new)
        status = oa_spooling_open(self->core, &config, on_changed, self, &self->spooling, message);
    if (self->spooling != NULL && is_new)
        self->is_first = true;
    oa_py_unlock(self);
    Py_END_ALLOW_THREADS;
    if (status == OA_OK)
        Py_RETURN_NONE;
    if (message[0] == '\0')
        return PyUnicode_FromString(oa_status_message(status));
    return PyUnicode_DecodeFSDefault(message);
}

#else

PyObject *oa_py_open_spool(core_object *self, PyObject *args) {
    (void)self;
    (void)args;
    return PyUnicode_FromString("there is none but on Linux");
}

#endif
