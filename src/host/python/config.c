/*
 * config.c: a core from the dict that options.py makes.  [with the GIL]
 */
#include <sys/random.h>
#include <unistd.h>

#include "../clock.h"
#include "core.h"

PyObject *oa_py_raise(oa_status status) {
    if (status == OA_NOMEM)
        return PyErr_NoMemory();
    PyErr_SetString(PyExc_RuntimeError, oa_status_message(status));
    return NULL;
}

/* Reads what oa.h lists of a dict; a key that is missing is a bug of the package. */
typedef struct config_reader {
    PyObject *dict;  /* borrowed */
    PyObject *texts; /* a list, which keeps them until they are copied */
    bool has_failed; /* with an exception */
} config_reader;

static PyObject *config_get(config_reader *reader, const char *name) {
    PyObject *value = PyDict_GetItemString(reader->dict, name);
    if (value == NULL && !reader->has_failed) {
        PyErr_SetString(PyExc_KeyError, name);
        reader->has_failed = true;
    }
    return reader->has_failed ? Py_None : value;
}

static oa_str config_text(config_reader *reader, const char *name) {
    PyObject *value = config_get(reader, name);
    oa_str text = {NULL, 0};
    if (value == Py_None)
        return text;
    PyObject *bytes = PyUnicode_AsUTF8String(value);
    char *data = NULL;
    Py_ssize_t len = 0;
    if (bytes == NULL || PyList_Append(reader->texts, bytes) < 0 ||
        PyBytes_AsStringAndSize(bytes, &data, &len) < 0)
        reader->has_failed = true;
    else
        text = (oa_str){data, (size_t)len};
    Py_XDECREF(bytes);
    return text;
}

static bool config_flag(config_reader *reader, const char *name) {
    return PyObject_IsTrue(config_get(reader, name)) == 1;
}

static uint64_t config_number(config_reader *reader, const char *name) {
    PyObject *value = config_get(reader, name);
    if (value == Py_None)
        return 0;
    const uint64_t number = PyLong_AsUnsignedLongLong(value);
    reader->has_failed = reader->has_failed || PyErr_Occurred() != NULL;
    return number;
}

#define READ_TEXT(member, key) config.member = config_text(&reader, #member);
#define READ_FLAG(member, key) config.member = config_flag(&reader, #member);
#define READ_NUMBER(type, member, key)                                                             \
    {                                                                                              \
        const uint64_t number = config_number(&reader, #member);                                   \
        config.member = number > (type)-1 ? (type)-1 : (type)number;                               \
    }

oa_dispatcher *oa_py_make_core(core_object *self) {
    config_reader reader = {self->config, PyList_New(0), false};
    if (reader.texts == NULL)
        return NULL;
    oa_config config = {0};
    OA_CONFIG_MAP(READ_TEXT, READ_FLAG, READ_NUMBER)
    if (getentropy(&config.seed, sizeof(config.seed)) != 0)
        config.seed = oa_clock_now().monotonic_ms ^ (uint64_t)getpid() << 32;
    oa_dispatcher *core = NULL;
    if (!reader.has_failed) {
        const oa_status status = oa_dispatcher_new(&config, &core);
        if (status != OA_OK)
            oa_py_raise(status);
    }
    Py_DECREF(reader.texts);
    return core;
}
