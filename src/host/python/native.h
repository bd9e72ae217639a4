/*
 * native.h: the extension module of the Python package, `optimizely_amplitude._native`.
 *
 * It translates between Python and oa.h, and decides nothing: threads, requests and what the
 * application is told are Python (lib/python). One wheel serves all versions of CPython from 3.9
 * on, so only the limited API of that version is used; a free-threaded interpreter has none yet,
 * and gets a build of its own.
 *
 * Thread: a Core has one mutex, around every call of oa_dispatcher_*(). No Python object is touched
 * while it is held, and whoever holds it never waits for the GIL; so it may be waited for with the
 * GIL held, as a decision does.
 */
#ifndef OA_HOST_PYTHON_NATIVE_H
#define OA_HOST_PYTHON_NATIVE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "oa.h"

/* A part of a method table. The cast goes through void (*)(void), as CPython's own does. */
#define OA_METHOD(name, function, flags, doc)                                                      \
    { name, (PyCFunction)(void (*)(void))(function), flags, doc }

/* ---- What the core says, as Python objects (notices.c) ---- */

/* Return a new reference to a str, or to None for an absent one. */
PyObject *oa_py_text(oa_str text);

/* Return a new reference to a notice: a tuple that begins with its kind. */
PyObject *oa_py_notice(const oa_notice *notice);

enum { OA_PY_ERROR_BYTES = 512 };

/* Return a new reference to the counters, as a dict; `spool_error` is "" for none. */
PyObject *oa_py_stats(const oa_stats *stats, const char *spool_error);

/* Return a new reference to what a store is asked, or told: a list of tuples (key, bucket, text,
 * number of pairs, expiry in ms). */
PyObject *oa_py_store_parts(const oa_store_part *parts, size_t count);

/* ---- Types (core.c, cohorts.c) ---- */

/* Add a type to the module. Returns -1 with an exception. */
int oa_py_add_core(PyObject *module);
int oa_py_add_cohorts(PyObject *module);

#endif
