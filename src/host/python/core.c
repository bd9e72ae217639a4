/*
 * core.c: the type Core, a dispatcher for Python. Decisions come from any thread; one thread, the
 * sender, waits for what is due and performs the attempts.
 *
 * decide() is the listener that Optimizely's SDK calls. The usual decision ends in it: a flag's, of
 * a known variant, while nothing watches. Everything else goes to `unusual`, a function in Python.
 */
#include "core.h"
#include "../clock.h"

enum {
    /* More than any datafile has; bounds the memory when an application makes up keys. */
    MAX_VARIANTS = 10000,
    NOT_USUAL = -1,
    /* Above a status in a result: why an id was left out; whether it was the device's; whether
     * notices are to be collected now. */
    LEFT_OUT_SHIFT = 8,
    LEFT_OUT_DEVICE = 1 << 16,
    COLLECT_NOW = 1 << 17,
};

/* ---- Ids ---- */

/* The ids of a decision or an event, as the core reads them. */
typedef struct id_reader {
    PyObject *bytes[2];
    bool is_malformed;
} id_reader;

/* Absent for '', and for anything but a str. A lone surrogate is not in UTF-8. */
static oa_str read_id(id_reader *reader, int which, PyObject *value) {
    oa_str id = {NULL, 0};
    if (value == NULL || !PyUnicode_Check(value))
        return id;
    PyObject *bytes = reader->bytes[which] = PyUnicode_AsUTF8String(value);
    char *data = NULL;
    Py_ssize_t len = 0;
    if (bytes == NULL || PyBytes_AsStringAndSize(bytes, &data, &len) < 0) {
        PyErr_Clear();
        reader->is_malformed = true;
    } else if (len > 0) {
        id = (oa_str){data, (size_t)len};
    }
    return id;
}

/* A status with what is above it. */
static long conclude(id_reader *ids, oa_status status, oa_status left_out, bool has_device,
                     oa_wake asked) {
    Py_XDECREF(ids->bytes[0]);
    Py_XDECREF(ids->bytes[1]);
    const long collect = asked == OA_WAKE_COLLECT ? COLLECT_NOW : 0;
    if (ids->is_malformed)
        left_out = OA_ID_MALFORMED;
    if (status == OA_ID_MISSING && ids->is_malformed)
        return OA_ID_MALFORMED;
    if (status != OA_OK || left_out == OA_OK)
        return (long)status | collect;
    return (long)status | (long)left_out << LEFT_OUT_SHIFT | (has_device ? 0 : LEFT_OUT_DEVICE) |
           collect;
}

/* ---- Variants ---- */

/* Return a new reference to a member, or NULL: without a GIL another thread may take it away. */
static PyObject *member(PyObject *dict, PyObject *key) {
    PyObject *value = NULL;
#ifdef Py_GIL_DISABLED
    if (PyDict_GetItemRef(dict, key, &value) < 0)
        value = NULL;
#else
    value = PyDict_GetItemWithError(dict, key);
    Py_XINCREF(value);
#endif
    return value;
}

/* Return what variants has for a key, or -1. */
static long long known_variant(core_object *self, PyObject *key) {
    PyObject *value = member(self->variants, key);
    const long long variant = value == NULL ? -1 : PyLong_AsLongLong(value);
    Py_XDECREF(value);
    PyErr_Clear(); /* a key that cannot be hashed */
    return variant;
}

/* Read a key's text, which stays with `*bytes`. False with an exception. */
static bool key_text(PyObject *key, Py_ssize_t at, PyObject **bytes, oa_str *out) {
    PyObject *value = PyTuple_GetItem(key, at);
    if (value == NULL || value == Py_None)
        return value != NULL;
    char *data = NULL;
    Py_ssize_t len = 0;
    *bytes = PyUnicode_AsUTF8String(value);
    if (*bytes == NULL || PyBytes_AsStringAndSize(*bytes, &data, &len) < 0)
        return false;
    *out = (oa_str){data, (size_t)len};
    return true;
}

/* Add a variant; returns -1 with an exception. */
static long long add_variant(core_object *self, PyObject *key) {
    PyObject *bytes[3] = {NULL, NULL, NULL};
    oa_str texts[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}};
    long long variant = -1;
    bool is_forgotten = false;
    uint32_t id = 0;
    PyObject *value = NULL;
    oa_status status = OA_OK;
    for (Py_ssize_t i = 0; i < 3; i++)
        if (!key_text(key, i, &bytes[i], &texts[i]))
            goto out;
    const bool enabled = PyTuple_GetItem(key, 3) == Py_True;
    oa_py_lock(self);
    if (self->variant_count >= MAX_VARIANTS) {
        oa_dispatcher_forget_variants(self->core);
        self->variant_count = 0;
        self->epoch++;
        is_forgotten = true;
    }
    status = oa_dispatcher_add_variant(self->core, texts[0], texts[1], texts[2], enabled, &id);
    if (status == OA_OK)
        self->variant_count++;
    variant = (long long)((uint64_t)self->epoch << 32 | id);
    oa_py_unlock(self);
    if (is_forgotten)
        PyDict_Clear(self->variants);
    value = PyLong_FromLongLong(variant);
    if (status != OA_OK)
        oa_py_raise(status);
    if (status != OA_OK || value == NULL || PyDict_SetItem(self->variants, key, value) < 0)
        variant = -1;
out:
    Py_XDECREF(value);
    for (Py_ssize_t i = 0; i < 3; i++)
        Py_XDECREF(bytes[i]);
    return variant;
}

/* ---- What the application does ---- */

/* Record a decision of a variant; NOT_USUAL: another thread has made its id invalid. */
static long give(core_object *self, long long variant, PyObject *user_id, PyObject *device_id,
                 oa_decision *decision) {
    id_reader ids = {{NULL, NULL}, false};
    oa_wake asked = OA_WAKE_NOT;
    oa_status status = OA_OK;
    oa_py_begin_spool(self);
    decision->variant_id = (uint32_t)variant;
    decision->user_id = read_id(&ids, 0, user_id);
    decision->device_id = read_id(&ids, 1, device_id);
    oa_py_lock(self);
    const bool is_valid = self->epoch == (uint32_t)((uint64_t)variant >> 32);
    if (is_valid)
        status = oa_dispatcher_record(self->core, oa_clock_now(), decision, &asked);
    oa_spooling_count(self->spooling);
    if (asked != OA_WAKE_NOT)
        oa_py_signal(self);
    oa_py_unlock(self);
    const long result =
        conclude(&ids, status, decision->left_out, decision->device_id.data != NULL, asked);
    return is_valid ? result : NOT_USUAL;
}

/* Return the variant of a flag's decision if it is known, or -1. */
static long long usual_variant(core_object *self, PyObject *info) {
    PyObject *flag = member(info, self->flag_key);
    PyObject *variation = member(info, self->variation_key);
    PyObject *rule = member(info, self->rule_key);
    PyObject *enabled = member(info, self->enabled);
    long long variant = -1;
    if (flag != NULL && enabled != NULL && PyBool_Check(enabled)) {
        PyObject *key = PyTuple_Pack(4, flag, variation == NULL ? Py_None : variation,
                                     rule == NULL ? Py_None : rule, enabled);
        if (key != NULL)
            variant = known_variant(self, key);
        Py_XDECREF(key);
    }
    Py_XDECREF(flag);
    Py_XDECREF(variation);
    Py_XDECREF(rule);
    Py_XDECREF(enabled);
    return variant;
}

/* Take a decision if nothing about it is unusual. */
static long decide_usual(core_object *self, PyObject *args) {
    if (!self->is_usual || PyTuple_Size(args) != 4)
        return NOT_USUAL;
    PyObject *info = PyTuple_GetItem(args, 3);
    if (PyTuple_GetItem(args, 0) != self->flag || !PyDict_Check(info))
        return NOT_USUAL;
    const long long variant = usual_variant(self, info);
    if (variant < 0)
        return NOT_USUAL;
    oa_decision decision = {0};
    return give(self, variant, PyTuple_GetItem(args, 1), NULL, &decision);
}

PyDoc_STRVAR(decide_doc, "decide(type, user_id, attributes, decision_info)\n--\n\n"
                         "The listener. Raises nothing but what is no Exception, such as the "
                         "SystemExit of a signal's handler.");

static PyObject *core_decide(core_object *self, PyObject *args) {
    const long result = decide_usual(self, args);
    if (result != OA_OK && result != OA_REPEAT) {
        PyErr_Clear();
        PyObject *first = PyLong_FromLong(result);
        PyObject *told =
            first == NULL ? NULL : PyObject_CallFunctionObjArgs(self->unusual, first, args, NULL);
        Py_XDECREF(first);
        if (told == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_Exception))
                return NULL;
            PyErr_WriteUnraisable((PyObject *)self);
        }
        Py_XDECREF(told);
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(record_doc,
             "record(variant, user_id, device_id, event_properties, user_properties, fields, "
             "rendered)\n--\n\n"
             "Take a decision. `variant` is (flag, variation, rule, enabled); the three texts are "
             "members of JSON objects, or None. Return its status, and more above it.");

static PyObject *core_record(core_object *self, PyObject *args) {
    PyObject *key = NULL;
    PyObject *user_id = NULL;
    PyObject *device_id = NULL;
    const char *texts[3] = {NULL, NULL, NULL};
    Py_ssize_t lens[3] = {0, 0, 0};
    int rendered = 0;
    if (!PyArg_ParseTuple(args, "O!OOz#z#z#p:record", &PyTuple_Type, &key, &user_id, &device_id,
                          &texts[0], &lens[0], &texts[1], &lens[1], &texts[2], &lens[2], &rendered))
        return NULL;
    long result = NOT_USUAL;
    while (result == NOT_USUAL) {
        long long variant = known_variant(self, key);
        if (variant < 0)
            variant = add_variant(self, key);
        if (variant < 0)
            return NULL;
        oa_decision decision = {.event_properties = {texts[0], (size_t)lens[0]},
                                .user_properties = {texts[1], (size_t)lens[1]},
                                .fields = {texts[2], (size_t)lens[2]},
                                .rendered = rendered != 0};
        result = give(self, variant, user_id, device_id, &decision);
        if (result == NOT_USUAL)
            PyDict_DelItem(self->variants, key);
        PyErr_Clear();
    }
    return PyLong_FromLong(result);
}

PyDoc_STRVAR(track_doc, "track(user_id, device_id, event)\n--\n\n"
                        "Take an event of the application's own, the members of a JSON object. "
                        "Return its status, as record() does.");

static PyObject *core_track(core_object *self, PyObject *args) {
    PyObject *user_id = NULL;
    PyObject *device_id = NULL;
    const char *event = NULL;
    Py_ssize_t len = 0;
    if (!PyArg_ParseTuple(args, "OOs#:track", &user_id, &device_id, &event, &len))
        return NULL;
    id_reader ids = {{NULL, NULL}, false};
    oa_tracked tracked = {.event = {event, (size_t)len}};
    oa_py_begin_spool(self);
    tracked.user_id = read_id(&ids, 0, user_id);
    tracked.device_id = read_id(&ids, 1, device_id);
    oa_wake asked = OA_WAKE_NOT;
    oa_py_lock(self);
    const oa_status status = oa_dispatcher_track(self->core, oa_clock_now(), &tracked, &asked);
    oa_spooling_count(self->spooling);
    if (asked != OA_WAKE_NOT)
        oa_py_signal(self);
    oa_py_unlock(self);
    return PyLong_FromLong(
        conclude(&ids, status, tracked.left_out, tracked.device_id.data != NULL, asked));
}

PyDoc_STRVAR(flush_doc, "flush(timeout_ms, abort, ticket)\n--\n\n"
                        "Begin a flush; a notice with the ticket ends it.");

static PyObject *core_flush(core_object *self, PyObject *args) {
    unsigned long long timeout_ms = 0;
    int abort_late = 0;
    Py_ssize_t ticket = 0;
    if (!PyArg_ParseTuple(args, "Kpn:flush", &timeout_ms, &abort_late, &ticket))
        return NULL;
    oa_py_lock(self);
    const oa_status status = oa_dispatcher_flush(self->core, oa_clock_now(), timeout_ms,
                                                 abort_late != 0, (void *)(intptr_t)ticket);
    oa_py_signal(self);
    oa_py_unlock(self);
    if (status != OA_OK)
        return oa_py_raise(status);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(close_doc, "close(timeout_ms, ticket)\n--\n\nBegin to close, as flush() does.");

static PyObject *core_close(core_object *self, PyObject *args) {
    unsigned long long timeout_ms = 0;
    Py_ssize_t ticket = 0;
    if (!PyArg_ParseTuple(args, "Kn:close", &timeout_ms, &ticket))
        return NULL;
    oa_py_lock(self);
    const oa_status status =
        oa_dispatcher_close(self->core, oa_clock_now(), timeout_ms, (void *)(intptr_t)ticket);
    oa_py_signal(self);
    oa_py_unlock(self);
    if (status != OA_OK)
        return oa_py_raise(status);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(set_opt_out_doc, "set_opt_out(opt_out, purge)\n--\n\n"
                              "Stop or start to accept; and have what is pending dropped.");

static PyObject *core_set_opt_out(core_object *self, PyObject *args) {
    int is_opted_out = 0;
    int purge = 0;
    if (!PyArg_ParseTuple(args, "pp:set_opt_out", &is_opted_out, &purge))
        return NULL;
    oa_py_lock(self);
    self->is_opted_out = is_opted_out != 0;
    oa_dispatcher_set_opt_out(self->core, self->is_opted_out);
    if (purge != 0)
        oa_dispatcher_purge(self->core);
    oa_py_unlock(self);
    oa_py_signal(self);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(set_usual_doc, "set_usual(usual)\n--\n\n"
                            "Whether decide() may take a decision without calling `unusual`.");

static PyObject *core_set_usual(core_object *self, PyObject *usual) {
    self->is_usual = PyObject_IsTrue(usual) == 1;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(stats_doc, "stats()\n--\n\nReturn the counters.");

static PyObject *core_stats(core_object *self, PyObject *unused) {
    (void)unused;
    oa_stats stats;
    char spool_error[OA_PY_ERROR_BYTES] = "";
    oa_py_lock(self);
    oa_dispatcher_stats(self->core, oa_clock_now(), &stats);
    const char *error = oa_spooling_error(self->spooling);
    if (error != NULL)
        snprintf(spool_error, sizeof(spool_error), "%s", error);
    oa_py_unlock(self);
    return oa_py_stats(&stats, spool_error);
}

/* ---- The type ---- */

static bool intern(PyObject **out, const char *name) {
    *out = PyUnicode_InternFromString(name);
    return *out != NULL;
}

static int core_init(core_object *self, PyObject *args, PyObject *unused) {
    (void)unused;
    PyObject *config = NULL;
    PyObject *unusual = NULL;
    if (!PyArg_ParseTuple(args, "O!O:Core", &PyDict_Type, &config, &unusual))
        return -1;
    if (self->is_linked) {
        PyErr_SetString(PyExc_RuntimeError, "a Core is made once");
        return -1;
    }
    oa_py_link_core(self);
    Py_INCREF(config);
    self->config = config;
    Py_INCREF(unusual);
    self->unusual = unusual;
    self->variants = PyDict_New();
    if (self->variants == NULL || !intern(&self->flag, "flag") ||
        !intern(&self->flag_key, "flag_key") || !intern(&self->variation_key, "variation_key") ||
        !intern(&self->rule_key, "rule_key") || !intern(&self->enabled, "enabled"))
        return -1;
    self->core = oa_py_make_core(self);
    if (self->core == NULL)
        return -1;
    PyObject *opt_out = PyDict_GetItemString(config, "opt_out");
    self->is_opted_out = opt_out != NULL && PyObject_IsTrue(opt_out) == 1;
    return 0;
}

static int core_traverse(core_object *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->config);
    Py_VISIT(self->unusual);
    Py_VISIT(self->variants);
    return 0;
}

static int core_clear(core_object *self) {
    Py_CLEAR(self->config);
    Py_CLEAR(self->unusual);
    Py_CLEAR(self->variants);
    return 0;
}

static void core_dealloc(core_object *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    core_clear(self);
    Py_XDECREF(self->flag);
    Py_XDECREF(self->flag_key);
    Py_XDECREF(self->variation_key);
    Py_XDECREF(self->rule_key);
    Py_XDECREF(self->enabled);
    oa_py_free_core(self);
    if (self->is_linked)
        oa_py_unlink_core(self);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

PyDoc_STRVAR(wait_doc, "wait()\n--\n\nWait until something is due, or wake() is called.");

PyDoc_STRVAR(wake_doc, "wake()\n--\n\nEnd a wait().");

PyDoc_STRVAR(step_doc, "step()\n--\n\nDo what is due.");

PyDoc_STRVAR(next_notice_doc, "next_notice()\n--\n\n"
                              "Return the next notice, or None. One thread at a time.");

PyDoc_STRVAR(take_doc, "take()\n--\n\nTake an attempt that is due; return whether there was one.");

PyDoc_STRVAR(ask_doc, "ask()\n--\n\nReturn what to ask of the store about the attempt.");

PyDoc_STRVAR(learn_doc, "learn(answers)\n--\n\n"
                        "Leave out what the store knows; return whether anything is left.");

PyDoc_STRVAR(render_doc, "render()\n--\n\n"
                         "Return the body of the attempt, and whether it is gzip; None if there is "
                         "no memory for it.");

PyDoc_STRVAR(answer_doc,
             "answer(status_code, aborted, sent_bytes, duration_ms, retry_after_seconds, body, "
             "error, location)\n--\n\n"
             "Give in the answer to the rendered body; the last three are bytes or None.");

PyDoc_STRVAR(writes_doc, "writes()\n--\n\nReturn what to write to the store after an answer.");

PyDoc_STRVAR(confirm_doc, "confirm(answers)\n--\n\nTake the answers to what was written.");

PyDoc_STRVAR(give_back_doc, "give_back()\n--\n\nHand the attempt back.");

PyDoc_STRVAR(open_spool_doc,
             "open_spool(directory, api_key, max_bytes, sync_interval_ms, syncs_flushes)\n--\n\n"
             "Keep a journal in a directory, unless there is one; return why that fails, or None.");

PyDoc_STRVAR(end_spool_doc, "end_spool()\n--\n\n"
                            "Give the journal up, for others to find what is left.");

PyDoc_STRVAR(renew_doc, "renew()\n--\n\n"
                        "Begin anew in a forked child: all that is undelivered is the parent's.");

static PyMethodDef methods[] = {
    OA_METHOD("decide", core_decide, METH_VARARGS, decide_doc),
    OA_METHOD("record", core_record, METH_VARARGS, record_doc),
    OA_METHOD("track", core_track, METH_VARARGS, track_doc),
    OA_METHOD("flush", core_flush, METH_VARARGS, flush_doc),
    OA_METHOD("close", core_close, METH_VARARGS, close_doc),
    OA_METHOD("set_opt_out", core_set_opt_out, METH_VARARGS, set_opt_out_doc),
    OA_METHOD("set_usual", core_set_usual, METH_O, set_usual_doc),
    OA_METHOD("stats", core_stats, METH_NOARGS, stats_doc),
    OA_METHOD("wait", oa_py_wait, METH_NOARGS, wait_doc),
    OA_METHOD("wake", oa_py_wake, METH_NOARGS, wake_doc),
    OA_METHOD("step", oa_py_step, METH_NOARGS, step_doc),
    OA_METHOD("next_notice", oa_py_next_notice, METH_NOARGS, next_notice_doc),
    OA_METHOD("take", oa_py_take, METH_NOARGS, take_doc),
    OA_METHOD("ask", oa_py_ask, METH_NOARGS, ask_doc),
    OA_METHOD("learn", oa_py_learn, METH_O, learn_doc),
    OA_METHOD("render", oa_py_render, METH_NOARGS, render_doc),
    OA_METHOD("answer", oa_py_answer, METH_VARARGS, answer_doc),
    OA_METHOD("writes", oa_py_writes, METH_NOARGS, writes_doc),
    OA_METHOD("confirm", oa_py_confirm, METH_O, confirm_doc),
    OA_METHOD("give_back", oa_py_give_back, METH_NOARGS, give_back_doc),
    OA_METHOD("open_spool", oa_py_open_spool, METH_VARARGS, open_spool_doc),
    OA_METHOD("end_spool", oa_py_end_spool, METH_NOARGS, end_spool_doc),
    OA_METHOD("renew", oa_py_renew, METH_NOARGS, renew_doc),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Core(config, unusual): a dispatcher without its I/O.")},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, core_init},
    {Py_tp_traverse, core_traverse},
    {Py_tp_clear, core_clear},
    {Py_tp_dealloc, core_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "optimizely_amplitude._native.Core",
    .basicsize = sizeof(core_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = slots,
};

int oa_py_add_core(PyObject *module) {
    PyObject *type = PyType_FromSpec(&spec);
    if (type == NULL || PyModule_AddObject(module, "Core", type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    return 0;
}
