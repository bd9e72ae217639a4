/*
 * module.c: the module `_native`: its types and constants. Multi-phase, with no state of its own,
 * so several interpreters of a process may import it.
 */
#include "../pages.h"
#include "native.h"

/* Add a tuple of texts, one for each status. */
static int add_statuses(PyObject *module, const char *name, const char *(*text)(oa_status)) {
    PyObject *tuple = PyTuple_New(OA_STATUS_COUNT);
    if (tuple == NULL)
        return -1;
    for (int status = 0; status < OA_STATUS_COUNT; status++) {
        PyObject *value = PyUnicode_FromString(text((oa_status)status));
        if (value == NULL || PyTuple_SetItem(tuple, status, value) < 0) {
            Py_DECREF(tuple);
            return -1;
        }
    }
    if (PyModule_AddObject(module, name, tuple) < 0) {
        Py_DECREF(tuple);
        return -1;
    }
    return 0;
}

static int execute(PyObject *module) {
    oa_pages_use();
    if (oa_py_add_core(module) < 0 || oa_py_add_cohorts(module) < 0 ||
        add_statuses(module, "STATUS_NAMES", oa_status_name) < 0 ||
        add_statuses(module, "STATUS_MESSAGES", oa_status_message) < 0 ||
        PyModule_AddIntConstant(module, "ANSWER_MAX_BYTES", OA_ANSWER_MAX_BYTES) < 0 ||
        PyModule_AddStringConstant(module, "VERSION", OA_VERSION) < 0)
        return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#ifndef Py_LIMITED_API /* older interpreters refuse slots that they do not know */
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "optimizely_amplitude._native",
    .m_doc = PyDoc_STR("The core, which delivers decisions. Private to optimizely_amplitude."),
    .m_size = 0,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
