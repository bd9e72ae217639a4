/*
 * notices.c: what the core says, as Python objects.  [with the GIL]
 */
#include "native.h"

PyObject *oa_py_text(oa_str text) {
    if (text.data == NULL)
        Py_RETURN_NONE;
    return PyUnicode_DecodeUTF8(text.data, (Py_ssize_t)text.len, "replace");
}

/* Set a member of a dict, and take the value; NULL: it could not be made. */
static bool put(PyObject *dict, const char *name, PyObject *value) {
    const bool done = value != NULL && PyDict_SetItemString(dict, name, value) == 0;
    Py_XDECREF(value);
    return done;
}

static PyObject *whole(uint64_t value) { return PyLong_FromUnsignedLongLong(value); }

/* ---- Notices ---- */

static PyObject *dropped(const oa_dropped *record) {
    PyObject *dict = PyDict_New();
    if (dict == NULL)
        return NULL;
    bool done = put(dict, "user_id", oa_py_text(record->user_id)) &&
                put(dict, "device_id", oa_py_text(record->device_id));
    if (record->event.data != NULL)
        done = done && put(dict, "event", oa_py_text(record->event));
    else
        done = done && put(dict, "flag_key", oa_py_text(record->flag_key)) &&
               put(dict, "variation_key", oa_py_text(record->variation_key)) &&
               put(dict, "rule_key", oa_py_text(record->rule_key)) &&
               put(dict, "enabled", PyBool_FromLong(record->enabled)) &&
               put(dict, "time", PyLong_FromLongLong(record->time_ms)) &&
               put(dict, "insert_id", PyUnicode_FromString(record->insert_id));
    if (!done)
        Py_CLEAR(dict);
    return dict;
}

static PyObject *drop_notice(const oa_drop_notice *drop) {
    PyObject *list = PyList_New((Py_ssize_t)drop->count);
    for (size_t i = 0; list != NULL && i < drop->count; i++) {
        PyObject *record = dropped(&drop->decisions[i]);
        if (record == NULL || PyList_SetItem(list, (Py_ssize_t)i, record) < 0)
            Py_CLEAR(list);
    }
    if (list == NULL)
        return NULL;
    return Py_BuildValue("(ssNiN)", "drop", oa_drop_name(drop->reason), oa_py_text(drop->message),
                         drop->status_code, list);
}

PyObject *oa_py_notice(const oa_notice *notice) {
    const oa_log_notice *log = &notice->about.log;
    const oa_flush_notice *flush = &notice->about.flush;
    switch (notice->kind) {
    case OA_NOTICE_CANCEL:
        return Py_BuildValue("(s)", "cancel");
    case OA_NOTICE_ATTEMPT: /* the log has what an application needs of it */
        return Py_BuildValue("(s)", "attempt");
    case OA_NOTICE_LOG:
        return Py_BuildValue("(sisN)", "log", (int)log->level, log->topic,
                             oa_py_text(log->message));
    case OA_NOTICE_DROP:
        return drop_notice(&notice->about.drop);
    case OA_NOTICE_FLUSH:
        return Py_BuildValue("(snKKKK)", "flush", (Py_ssize_t)(intptr_t)flush->ticket,
                             (unsigned long long)flush->report.delivered,
                             (unsigned long long)flush->report.dropped,
                             (unsigned long long)flush->report.pending,
                             (unsigned long long)flush->report.duration_ms);
    }
    Py_RETURN_NONE;
}

/* ---- Counters ---- */

static PyObject *reasons(const uint64_t counts[OA_DROP_COUNT]) {
    PyObject *dict = PyDict_New();
    for (int reason = 0; dict != NULL && reason < OA_DROP_COUNT; reason++)
        if (!put(dict, oa_drop_name((oa_drop_reason)reason), whole(counts[reason])))
            Py_CLEAR(dict);
    return dict;
}

static PyObject *tracked(const oa_counts *counts) {
    PyObject *dict = PyDict_New();
    if (dict != NULL && !(put(dict, "accepted", whole(counts->accepted)) &&
                          put(dict, "delivered", whole(counts->delivered)) &&
                          put(dict, "pending", whole(counts->pending)) &&
                          put(dict, "dropped", reasons(counts->dropped))))
        Py_CLEAR(dict);
    return dict;
}

static PyObject *last_error(const oa_stats *stats) {
    if (!stats->has_error)
        Py_RETURN_NONE;
    return Py_BuildValue("{s:N,s:i,s:L}", "message",
                         PyUnicode_DecodeUTF8(stats->error_message,
                                              (Py_ssize_t)strlen(stats->error_message), "replace"),
                         "status_code", stats->error_status_code, "time",
                         (long long)stats->error_time_ms);
}

static PyObject *failing_since(const oa_stats *stats) {
    if (stats->failing_since_ms == 0)
        Py_RETURN_NONE;
    return PyLong_FromLongLong(stats->failing_since_ms);
}

static PyObject *spool(const oa_spool_stats *stats, const char *error) {
    PyObject *dict = PyDict_New();
    const oa_str text = {error[0] == '\0' ? NULL : error, strlen(error)};
    if (dict != NULL &&
        !(put(dict, "bytes", whole(stats->bytes)) &&
          put(dict, "segments", whole(stats->segments)) &&
          put(dict, "found", whole(stats->found)) && put(dict, "missing", whole(stats->missing)) &&
          put(dict, "unwritten", whole(stats->unwritten)) &&
          put(dict, "disk_only", whole(stats->disk_only)) && put(dict, "error", oa_py_text(text))))
        Py_CLEAR(dict);
    return dict;
}

PyObject *oa_py_stats(const oa_stats *stats, const char *spool_error) {
    PyObject *dict = PyDict_New();
    if (dict != NULL &&
        !(put(dict, "accepted", whole(stats->accepted)) &&
          put(dict, "deduplicated", whole(stats->deduplicated)) &&
          put(dict, "delivered", whole(stats->delivered)) &&
          put(dict, "pending", whole(stats->pending)) &&
          put(dict, "dropped", reasons(stats->dropped)) &&
          put(dict, "tracked", tracked(&stats->tracked)) &&
          put(dict, "spool", spool(&stats->spool, spool_error)) &&
          put(dict, "requests_sent", whole(stats->requests_sent)) &&
          put(dict, "requests_retried", whole(stats->requests_retried)) &&
          put(dict, "requests_failed", whole(stats->requests_failed)) &&
          put(dict, "request_bytes", whole(stats->request_bytes)) &&
          put(dict, "late_repeats", whole(stats->late_repeats)) &&
          put(dict, "store_conflicts", whole(stats->store_conflicts)) &&
          put(dict, "events_sent", whole(stats->events_sent)) &&
          put(dict, "queue_bytes", whole(stats->queue_bytes)) &&
          put(dict, "queue_high_water_bytes", whole(stats->queue_high_water_bytes)) &&
          put(dict, "health", PyUnicode_FromString(oa_health_name(stats->health))) &&
          put(dict, "failures_in_a_row", whole(stats->failures_in_a_row)) &&
          put(dict, "failing_since", failing_since(stats)) &&
          put(dict, "oldest_pending_millis", whole(stats->oldest_pending_ms)) &&
          put(dict, "last_error", last_error(stats))))
        Py_CLEAR(dict);
    return dict;
}

/* ---- The store ---- */

PyObject *oa_py_store_parts(const oa_store_part *parts, size_t count) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list != NULL && i < count; i++) {
        const oa_store_part *part = &parts[i];
        const oa_str key = {part->key, OA_STORE_KEY_DIGITS};
        PyObject *tuple = Py_BuildValue("(NINnL)", oa_py_text(key), (unsigned int)part->bucket,
                                        oa_py_text(part->text), (Py_ssize_t)part->pair_count,
                                        (long long)part->expires_ms);
        if (tuple == NULL || PyList_SetItem(list, (Py_ssize_t)i, tuple) < 0)
            Py_CLEAR(list);
    }
    return list;
}
