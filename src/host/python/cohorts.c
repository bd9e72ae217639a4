/*
 * cohorts.c: the type Cohorts: which users are in which cohorts, by the tables of cohort.h.
 *
 * One thread loads; any thread looks up. A table is immutable: a load makes the next one beside it,
 * without the GIL, and only the exchange of the two is under the mutex. Whoever holds the mutex has
 * the GIL, so a forked child finds it free.
 *
 * Messages of the webhook come on any thread, and are changes in front of the table, until the
 * thread that loads merges them.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "../clock.h"
#include "../transfer.h"
#include "cohort.h"
#include "native.h"

enum {
    MAX_CHANGES = 128 * 1024,
    MAX_USERS = 1000 * 1000, /* of a message: 8 MB */
    SLICE_USERS = 4096,      /* that are changed at once: a millisecond or two */
    MAX_AHEAD_MS = 24 * 60 * 60 * 1000,
};

/* Times below are in seconds, times above in milliseconds. */
static const int64_t FIRST_MS = INT64_C(100000000000);

typedef struct cohorts_object {
    PyObject ob_base;
    pthread_mutex_t mutex; /* for the table; nothing waits while it is held */
    bool has_mutex;
    oa_cohort_table *table;     /* NULL before the first load */
    oa_cohort_changes *changes; /* NULL: no messages come */
    bool is_merging;
    oa_hash_key key;
    PyObject *texts; /* a list of bytes, which the names point into */
    oa_str names[OA_COHORT_MAX];
    size_t count;
    oa_cohort_set loaded; /* by the thread that loads alone */
} cohorts_object;

static const char *const formats[] = {"json", "csv", "lines"};

static PyObject *set_object(const oa_cohort_set *set) {
    return Py_BuildValue("(KK)", (unsigned long long)set->words[0],
                         (unsigned long long)set->words[1]);
}

PyDoc_STRVAR(find_doc, "find(user_id)\n--\n\n"
                       "Return the sets of cohorts that a user is in, and that are loaded, each as "
                       "two ints of 64 bits.");

static PyObject *cohorts_find(cohorts_object *self, PyObject *user_id) {
    PyObject *bytes = PyUnicode_AsUTF8String(user_id);
    if (bytes == NULL && PyErr_ExceptionMatches(PyExc_UnicodeEncodeError)) {
        PyErr_Clear(); /* a lone surrogate: in no cohort */
        bytes = PyUnicode_AsEncodedString(user_id, "utf-8", "surrogatepass");
    }
    char *data = NULL;
    Py_ssize_t len = 0;
    if (bytes == NULL || PyBytes_AsStringAndSize(bytes, &data, &len) < 0) {
        Py_XDECREF(bytes);
        return NULL;
    }
    const uint64_t print = oa_cohort_print(&self->key, (oa_str){data, (size_t)len});
    Py_DECREF(bytes);
    oa_cohort_set found = {{0, 0}};
    oa_cohort_set loaded = {{0, 0}};
    pthread_mutex_lock(&self->mutex);
    if (self->table != NULL) {
        oa_cohort_table_find(self->table, print, &found);
        if (self->changes != NULL)
            oa_cohort_changes_apply(self->changes, print, &found);
        loaded = oa_cohort_table_loaded(self->table);
    }
    pthread_mutex_unlock(&self->mutex);
    return Py_BuildValue("(NN)", set_object(&found), set_object(&loaded));
}

static PyObject *raise_problem(oa_status status, const char *problem) {
    if (status == OA_NOMEM)
        return PyErr_NoMemory();
    PyErr_SetString(PyExc_ValueError, problem != NULL ? problem : oa_status_message(status));
    return NULL;
}

/* Feed what an iterator gives, which is bytes. Returns false with an exception. */
static bool feed_all(oa_cohort_build *build, PyObject *iterator) {
    PyObject *chunk;
    while ((chunk = PyIter_Next(iterator)) != NULL) {
        char *data = NULL;
        Py_ssize_t len = 0;
        if (PyBytes_AsStringAndSize(chunk, &data, &len) < 0) {
            Py_DECREF(chunk);
            return false;
        }
        oa_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = oa_cohort_build_feed(build, (oa_str){data, (size_t)len});
        Py_END_ALLOW_THREADS;
        Py_DECREF(chunk);
        if (status != OA_OK) {
            raise_problem(status, oa_cohort_build_problem(build));
            return false;
        }
    }
    return PyErr_Occurred() == NULL;
}

static void swap_table(cohorts_object *self, oa_cohort_table *table) {
    pthread_mutex_lock(&self->mutex);
    oa_cohort_table *old = self->table;
    self->table = table;
    pthread_mutex_unlock(&self->mutex);
    oa_cohort_table_free(old);
}

/* Use a table with a new list of a cohort, unless messages that are merged already have told
 * something later: which users they named is not known any more. Takes the table. */
static bool swap_list(cohorts_object *self, oa_cohort_table *table, size_t cohort) {
    const int64_t time_ms = oa_table_time(table, cohort);
    int64_t growth;
    pthread_mutex_lock(&self->mutex);
    const bool is_allowed =
        self->changes == NULL || oa_cohort_changes_allow(self->changes, cohort, time_ms);
    oa_cohort_table *old = is_allowed ? self->table : table;
    if (is_allowed)
        self->table = table;
    if (is_allowed && self->changes != NULL)
        (void)oa_cohort_changes_listed(self->changes, table, cohort, time_ms, &growth);
    pthread_mutex_unlock(&self->mutex);
    oa_cohort_table_free(old);
    return is_allowed;
}

PyDoc_STRVAR(load_doc,
             "load(cohort, format, chunks, max_members, fetched_ms)\n--\n\n"
             "Read the members of a cohort, by its number, from an iterator of bytes, and "
             "use the table that has them. Return what was read. One thread at a time.");

static PyObject *cohorts_load(cohorts_object *self, PyObject *args) {
    Py_ssize_t cohort = 0;
    const char *format = NULL;
    PyObject *chunks = NULL;
    unsigned long long max_members = 0;
    long long fetched_ms = 0;
    if (!PyArg_ParseTuple(args, "nsOKL:load", &cohort, &format, &chunks, &max_members, &fetched_ms))
        return NULL;
    oa_cohort_plan plan = {.key = &self->key,
                           .names = self->names,
                           .name_count = self->count,
                           .loaded = self->loaded,
                           .cohort = (size_t)cohort,
                           .change = OA_COHORT_REPLACE,
                           .max_members = max_members};
    oa_cohort_set_put(&plan.loaded, (size_t)cohort, true);
    for (int i = 0; i < 3; i++)
        if (strcmp(format, formats[i]) == 0)
            plan.format = (oa_cohort_format)i;
    oa_cohort_build *build = NULL;
    oa_cohort_table *table = NULL;
    oa_cohort_delta delta = {0};
    PyObject *result = NULL;
    PyObject *iterator = PyObject_GetIter(chunks);
    if (iterator == NULL)
        return NULL;
    oa_status status = oa_cohort_build_new(&plan, &build);
    if (status != OA_OK) {
        raise_problem(status, NULL);
        goto out;
    }
    if (!feed_all(build, iterator))
        goto out;
    status = oa_cohort_build_end(build);
    if (status != OA_OK) {
        raise_problem(status, oa_cohort_build_problem(build));
        goto out;
    }
    const oa_cohort_meta meta = *oa_cohort_build_meta(build);
    Py_BEGIN_ALLOW_THREADS;
    status = oa_cohort_build_finish(build, self->table, NULL, fetched_ms, &delta, &table);
    Py_END_ALLOW_THREADS;
    if (status != OA_OK) {
        raise_problem(status, NULL);
        goto out;
    }
    if (!swap_list(self, table, (size_t)cohort)) {
        PyErr_SetString(PyExc_ValueError, "it is older than what the webhook has told");
        goto out;
    }
    self->loaded = plan.loaded;
    result = Py_BuildValue(
        "{s:K,s:K,s:K,s:K,s:K,s:L}", "members", (unsigned long long)delta.members, "entered",
        (unsigned long long)delta.entered, "left", (unsigned long long)delta.left, "bytes",
        (unsigned long long)meta.bytes, "skipped", (unsigned long long)meta.no_ids, "last_modified",
        (long long)meta.last_modified);
out:
    oa_cohort_build_free(build);
    Py_DECREF(iterator);
    return result;
}

/* ---- Messages ---- */

PyDoc_STRVAR(members_doc,
             "members()\n--\n\n"
             "Return how many members each cohort has, with what messages have changed; "
             "0 for one that is not loaded.");

static PyObject *cohorts_members(cohorts_object *self, PyObject *unused) {
    (void)unused;
    int64_t members[OA_COHORT_MAX] = {0};
    pthread_mutex_lock(&self->mutex);
    if (self->table != NULL && self->changes != NULL)
        oa_cohort_changes_growth(self->changes, self->table, members);
    for (size_t i = 0; i < self->count; i++) {
        const oa_cohort_info *info =
            self->table == NULL ? NULL : oa_cohort_table_info(self->table, i);
        members[i] = info != NULL && info->is_loaded ? members[i] + (int64_t)info->members : 0;
    }
    pthread_mutex_unlock(&self->mutex);
    PyObject *list = PyList_New((Py_ssize_t)self->count);
    for (size_t i = 0; list != NULL && i < self->count; i++) {
        PyObject *item = PyLong_FromLongLong(members[i]);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

PyDoc_STRVAR(take_messages_doc, "take_messages()\n--\n\nMessages will come.");

static PyObject *cohorts_take_messages(cohorts_object *self, PyObject *unused) {
    (void)unused;
    oa_status status = OA_OK;
    pthread_mutex_lock(&self->mutex);
    if (self->changes == NULL)
        status = oa_table_changes(self->table, MAX_CHANGES, &self->changes);
    pthread_mutex_unlock(&self->mutex);
    if (status != OA_OK)
        return raise_problem(status, NULL);
    Py_RETURN_NONE;
}

/* Change the users of a message, some at a time: look-ups go on meanwhile. Returns the status of
 * the last ones. */
static oa_status put_all(cohorts_object *self, oa_cohort_move move, oa_cohort_moved *sum) {
    const size_t count = move.count;
    const uint64_t *prints = move.prints;
    oa_status status = OA_OK;
    while (status == OA_OK && sum->done < count) {
        oa_cohort_moved moved = {0};
        move.prints = prints + sum->done;
        move.count = count - sum->done < SLICE_USERS ? count - sum->done : SLICE_USERS;
        pthread_mutex_lock(&self->mutex);
        status = oa_cohort_changes_put(self->changes, self->table, &move, &moved);
        pthread_mutex_unlock(&self->mutex);
        sum->done += moved.done;
        sum->late += moved.late;
        Py_BEGIN_ALLOW_THREADS;
        Py_END_ALLOW_THREADS;
    }
    return status;
}

/* Apply a message that was read. Returns a new reference to what receive() returns. */
static PyObject *apply(cohorts_object *self, const oa_cohort_message *message, PyObject *slots) {
    const oa_cohort_head *head = oa_cohort_message_head(message);
    oa_cohort_move move = {
        .is_in = head->in_cohort == 1,
        .time_ms =
            head->computed_time < FIRST_MS ? head->computed_time * 1000 : head->computed_time,
    };
    oa_cohort_moved moved = {0};
    move.prints = oa_cohort_message_prints(message, &move.count);
    if (move.time_ms > oa_clock_wall_ms() + MAX_AHEAD_MS)
        return Py_BuildValue("(ssn)", "malformed", "computed_time is more than a day ahead",
                             (Py_ssize_t)-1);
    PyObject *slot = PyDict_GetItemString(slots, head->cohort_id);
    if (slot == NULL)
        return Py_BuildValue("(ssn)", "other", head->cohort_id, (Py_ssize_t)-1);
    move.cohort = PyLong_AsSize_t(slot);
    const oa_status status = put_all(self, move, &moved);
    return Py_BuildValue("(ssnLKKK)", oa_status_name(status), "", (Py_ssize_t)move.cohort,
                         (long long)move.time_ms, (unsigned long long)moved.done,
                         (unsigned long long)moved.late, (unsigned long long)move.count);
}

PyDoc_STRVAR(receive_doc,
             "receive(body, slots)\n--\n\n"
             "Apply a message; `slots` has the number of each cohort by its id. Return its status, "
             "what is wrong with it, and its cohort; of one that was applied also its time, by how "
             "many the cohort grows, and how many users were done, were late, and are in it.");

static PyObject *cohorts_receive(cohorts_object *self, PyObject *args) {
    char *data = NULL;
    Py_ssize_t len = 0;
    PyObject *slots = NULL;
    oa_cohort_message *message = NULL;
    PyObject *result = NULL;
    oa_status status;
    if (!PyArg_ParseTuple(args, "y#O!:receive", &data, &len, &PyDict_Type, &slots))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = oa_cohort_message_new(&self->key, MAX_USERS, &message);
    if (status == OA_OK)
        status = oa_cohort_message_feed(message, (oa_str){data, (size_t)len});
    if (status == OA_OK)
        status = oa_cohort_message_end(message);
    Py_END_ALLOW_THREADS;
    if (status == OA_OK) {
        result = apply(self, message, slots);
    } else {
        const char *problem = message == NULL ? NULL : oa_cohort_message_problem(message);
        result =
            Py_BuildValue("(ssn)", oa_status_name(status),
                          problem != NULL ? problem : oa_status_message(status), (Py_ssize_t)-1);
    }
    oa_cohort_message_free(message);
    return result;
}

PyDoc_STRVAR(changes_doc, "changes()\n--\n\nReturn how many changes are not merged.");

static PyObject *cohorts_changes(cohorts_object *self, PyObject *unused) {
    (void)unused;
    pthread_mutex_lock(&self->mutex);
    const size_t count = self->changes == NULL ? 0 : oa_cohort_changes_count(self->changes);
    pthread_mutex_unlock(&self->mutex);
    return PyLong_FromSize_t(count);
}

PyDoc_STRVAR(merge_doc,
             "merge()\n--\n\n"
             "Merge what messages have changed into the next table, and use that. Return "
             "what it has, as restore() does. On the thread that loads.");

static PyObject *cohorts_merge(cohorts_object *self, PyObject *unused) {
    (void)unused;
    const oa_cohort_overlay *overlay = NULL;
    oa_cohort_table *table = NULL;
    const oa_cohort_plan plan = {
        .key = &self->key, .names = self->names, .name_count = self->count, .loaded = self->loaded};
    bool is_all = false;
    oa_status status;
    pthread_mutex_lock(&self->mutex);
    if (self->is_merging) /* of a thread that a forked child has no more */
        oa_cohort_changes_end_merge(self->changes, false);
    status = oa_cohort_changes_begin_merge(self->changes, &is_all, &overlay);
    self->is_merging = status == OA_OK;
    pthread_mutex_unlock(&self->mutex);
    if (status != OA_OK)
        return raise_problem(status, NULL);
    Py_BEGIN_ALLOW_THREADS;
    status = oa_cohort_merge(&plan, self->table, overlay, &table);
    Py_END_ALLOW_THREADS;
    pthread_mutex_lock(&self->mutex);
    oa_cohort_table *old = table;
    if (status == OA_OK) {
        old = self->table;
        self->table = table;
    }
    oa_cohort_changes_end_merge(self->changes, status == OA_OK);
    self->is_merging = false;
    pthread_mutex_unlock(&self->mutex);
    oa_cohort_table_free(old);
    if (status != OA_OK)
        return raise_problem(status, NULL);
    Py_RETURN_NONE;
}

/* ---- Snapshots ---- */

/* Make a table of our cohorts, in our order, of a file. It is read here, and not kept open. */
static oa_status open_table(const cohorts_object *self, oa_str path, oa_cohort_table **out) {
    const oa_cohort_plan plan = {
        .key = &self->key, .names = self->names, .name_count = self->count};
    oa_snapshot mapped = {0};
    oa_cohort_table *table = NULL;
    oa_status status = oa_snapshot_open(path, &self->key, &mapped, &table);
    if (status == OA_OK)
        status = oa_cohort_merge(&plan, table, NULL, out);
    oa_cohort_table_free(table);
    oa_snapshot_close(&mapped);
    return status;
}

/* What the table has of each cohort: (last modified, fetched), or None. */
static PyObject *loaded_list(const cohorts_object *self) {
    PyObject *list = PyList_New((Py_ssize_t)self->count);
    for (size_t i = 0; list != NULL && i < self->count; i++) {
        const oa_cohort_info *info = oa_cohort_table_info(self->table, i);
        PyObject *item = Py_None;
        if (info->is_loaded)
            item = Py_BuildValue("(LL)", (long long)info->modified_ms, (long long)info->fetched_ms);
        else
            Py_INCREF(item);
        if (item == NULL || PyList_SetItem(list, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(list);
    }
    return list;
}

PyDoc_STRVAR(restore_doc, "restore(path)\n--\n\n"
                          "Use a snapshot, before anything is loaded. Return what it has of each "
                          "cohort, or the name of the status when it cannot be used.");

static PyObject *cohorts_restore(cohorts_object *self, PyObject *path) {
    char *data = NULL;
    Py_ssize_t len = 0;
    oa_cohort_table *table = NULL;
    oa_status status;
    if (PyBytes_AsStringAndSize(path, &data, &len) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = open_table(self, (oa_str){data, (size_t)len}, &table);
    Py_END_ALLOW_THREADS;
    if (status != OA_OK)
        return PyUnicode_FromString(oa_status_name(status));
    self->loaded = oa_cohort_table_loaded(table);
    swap_table(self, table);
    return loaded_list(self);
}

PyDoc_STRVAR(save_doc, "save(path)\n--\n\n"
                       "Write the table to a file, at once. Return why that fails, or None. On the "
                       "thread that loads.");

static PyObject *cohorts_save(cohorts_object *self, PyObject *path) {
    static const atomic_bool never = false;
    char *data = NULL;
    Py_ssize_t len = 0;
    oa_status status;
    int error;
    if (PyBytes_AsStringAndSize(path, &data, &len) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status =
        oa_snapshot_write((oa_str){data, (size_t)len}, oa_cohort_table_image(self->table), &never);
    error = errno;
    Py_END_ALLOW_THREADS;
    if (status == OA_OK)
        Py_RETURN_NONE;
    return PyUnicode_FromString(strerror(error));
}

/* ---- The type ---- */

static int cohorts_init(cohorts_object *self, PyObject *args, PyObject *unused) {
    (void)unused;
    const char *secret = NULL;
    Py_ssize_t len = 0;
    PyObject *names = NULL;
    if (!PyArg_ParseTuple(args, "s#O!:Cohorts", &secret, &len, &PyList_Type, &names))
        return -1;
    const Py_ssize_t count = PyList_Size(names);
    if (self->has_mutex || count > OA_COHORT_MAX) {
        PyErr_SetString(PyExc_ValueError, "a Cohorts is made once, of few cohorts");
        return -1;
    }
    pthread_mutex_init(&self->mutex, NULL);
    self->has_mutex = true;
    oa_cohort_key_init(&self->key, (oa_str){secret, (size_t)len});
    self->texts = PyList_New(0);
    if (self->texts == NULL)
        return -1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *bytes = PyUnicode_AsUTF8String(PyList_GetItem(names, i));
        char *data = NULL;
        Py_ssize_t size = 0;
        const bool done = bytes != NULL && PyList_Append(self->texts, bytes) == 0 &&
                          PyBytes_AsStringAndSize(bytes, &data, &size) == 0;
        Py_XDECREF(bytes);
        if (!done)
            return -1;
        self->names[self->count++] = (oa_str){data, (size_t)size};
    }
    return 0;
}

static void cohorts_dealloc(cohorts_object *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    oa_cohort_table_free(self->table);
    oa_cohort_changes_free(self->changes);
    Py_XDECREF(self->texts);
    if (self->has_mutex)
        pthread_mutex_destroy(&self->mutex);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    OA_METHOD("find", cohorts_find, METH_O, find_doc),
    OA_METHOD("load", cohorts_load, METH_VARARGS, load_doc),
    OA_METHOD("members", cohorts_members, METH_NOARGS, members_doc),
    OA_METHOD("take_messages", cohorts_take_messages, METH_NOARGS, take_messages_doc),
    OA_METHOD("receive", cohorts_receive, METH_VARARGS, receive_doc),
    OA_METHOD("changes", cohorts_changes, METH_NOARGS, changes_doc),
    OA_METHOD("merge", cohorts_merge, METH_NOARGS, merge_doc),
    OA_METHOD("restore", cohorts_restore, METH_O, restore_doc),
    OA_METHOD("save", cohorts_save, METH_O, save_doc),
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Cohorts(secret, names): which users are in which cohorts.")},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_init, cohorts_init},
    {Py_tp_dealloc, cohorts_dealloc},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "optimizely_amplitude._native.Cohorts",
    .basicsize = sizeof(cohorts_object),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = slots,
};

int oa_py_add_cohorts(PyObject *module) {
    PyObject *type = PyType_FromSpec(&spec);
    if (type == NULL || PyModule_AddObject(module, "Cohorts", type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    return 0;
}
