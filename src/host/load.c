#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "gunzip.h"
#include "stat.h"

enum { FILE_PIECE_BYTES = 256 * 1024 };

/* One body, on its way into a build. */
typedef struct body {
    oa_load_report *report;
    oa_cohort_build *build;
    oa_gunzip *gunzip;
    oa_status status; /* of the bytes so far */
} body;

const char *oa_load_end_name(oa_load_end end) {
    static const char *const names[] = {
#define NAME(name, text) text,
        OA_LOAD_END_MAP(NAME)
#undef NAME
    };
    return names[end];
}

void oa_load_say(oa_load_report *report, oa_load_end end, const char *message) {
    report->end = end;
    snprintf(report->message, sizeof(report->message), "%s", message);
}

static oa_status on_text(void *data, oa_str text) {
    return oa_cohort_build_feed(((body *)data)->build, text);
}

static bool on_bytes(void *data, const char *bytes, size_t len) {
    body *b = data;
    b->report->wire_bytes += len;
    b->status = oa_gunzip_push(b->gunzip, (oa_str){bytes, len});
    /* Nor may compressed bytes go on forever of which nothing comes. */
    if (b->status == OA_OK && b->report->wire_bytes > oa_cohort_build_max_bytes(b->build))
        b->status = OA_MALFORMED;
    return b->status == OA_OK;
}

/* ---- From a server ---- */

/* GET the body; true when all of it came, or enough to know that it is wrong. */
static bool fetch(const oa_load *load, oa_curl *curl, body *b) {
    const oa_get get = {load->url, load->headers, load->header_count, on_bytes, b, load->follows};
    oa_answer answer;
    oa_curl_begin_get(curl, oa_clock_now(), &get);
    oa_curl_run(curl, UINT64_MAX);
    oa_curl_end(curl, oa_clock_now(), &answer);
    b->report->status_code = answer.status_code;
    b->report->retry_after_seconds = answer.retry_after_seconds;
    if (b->status != OA_OK)
        return true;
    if (answer.aborted)
        oa_load_say(b->report, OA_LOAD_CANCELLED, "");
    else if (answer.status_code == 0)
        oa_load_say(b->report, OA_LOAD_FAILED, answer.error.data);
    else if (answer.status_code != 200)
        oa_load_say(b->report, OA_LOAD_ANSWERED, "");
    else
        return true;
    return false;
}

/* ---- From a file ---- */

/* Read a file that is open; true when it was read to its end, or is wrong. */
static bool read_pieces(int fd, char *piece, const atomic_bool *cancelled, body *b) {
    for (;;) {
        if (atomic_load(cancelled)) {
            oa_load_say(b->report, OA_LOAD_CANCELLED, "");
            return false;
        }
        const ssize_t got = read(fd, piece, FILE_PIECE_BYTES);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            oa_load_say(b->report, OA_LOAD_FAILED, strerror(errno));
            return false;
        }
        if (got == 0 || !on_bytes(b, piece, (size_t)got))
            return true;
    }
}

/* Whether a file has the length that was read, and was not written to meanwhile: a cut in the last
 * line goes unseen otherwise. */
static bool is_whole(int fd, const uv_stat_t *before, const body *b) {
    uv_stat_t after;
    return oa_stat(fd, &after) == 0 && after.st_size == b->report->wire_bytes &&
           before->st_size == after.st_size && before->st_mtim.tv_sec == after.st_mtim.tv_sec;
}

static bool read_open(int fd, const atomic_bool *cancelled, body *b) {
    uv_stat_t before;
    const int error = oa_stat(fd, &before);
    if (error != 0) {
        oa_load_say(b->report, OA_LOAD_FAILED, strerror(error));
        return false;
    }
    if (!S_ISREG(before.st_mode)) {
        oa_load_say(b->report, OA_LOAD_FAILED, "it is not a file");
        return false;
    }
    char *piece = malloc(FILE_PIECE_BYTES);
    if (piece == NULL) {
        oa_load_say(b->report, OA_LOAD_FAILED, oa_status_message(OA_NOMEM));
        return false;
    }
    const bool is_read = read_pieces(fd, piece, cancelled, b);
    free(piece);
    if (!is_read || b->status != OA_OK || is_whole(fd, &before, b))
        return is_read;
    oa_load_say(b->report, OA_LOAD_FAILED, "it was written to while it was read");
    return false;
}

static bool read_file(oa_str name, const atomic_bool *cancelled, body *b) {
    char *path = strndup(name.data, name.len);
    /* A pipe is no file: it must not be waited for. */
    const int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is_read = false;
    if (fd >= 0) {
        is_read = read_open(fd, cancelled, b);
        close(fd);
    } else {
        oa_load_say(b->report, OA_LOAD_FAILED,
                    path == NULL ? oa_status_message(OA_NOMEM) : strerror(errno));
    }
    free(path);
    return is_read;
}

/* ---- What it was ---- */

/* Why the bytes are not a cohort. */
static void refuse(const body *b) {
    const char *problem = b->build == NULL ? NULL : oa_cohort_build_problem(b->build);
    if (b->status == OA_TOO_LARGE)
        oa_load_say(b->report, OA_LOAD_TOO_MANY, "");
    else if (b->status != OA_MALFORMED)
        oa_load_say(b->report, OA_LOAD_FAILED, oa_status_message(b->status));
    else
        oa_load_say(b->report, OA_LOAD_MALFORMED,
                    problem != NULL ? problem : "its compression is broken, or it was cut off");
}

/* Whether the body says that it is something else than what was asked for. */
static bool is_another(const oa_load *load, const oa_cohort_plan *plan, const body *b) {
    const oa_cohort_meta *meta = &b->report->meta;
    const oa_str name = plan->names[load->cohort];
    if (meta->group_type[0] != '\0' && strcmp(meta->group_type, "User") != 0) {
        oa_load_say(b->report, OA_LOAD_MALFORMED, "its members are groups, not users");
        return true;
    }
    if (load->url.data != NULL && meta->cohort_id[0] != '\0' &&
        (strlen(meta->cohort_id) != name.len ||
         memcmp(meta->cohort_id, name.data, name.len) != 0)) {
        oa_load_say(b->report, OA_LOAD_MALFORMED, "it is another cohort");
        return true;
    }
    return false;
}

/* The bytes have ended: see whether they are complete. */
static void end(body *b) {
    if (b->status == OA_OK)
        b->status = oa_gunzip_end(b->gunzip);
    if (b->status == OA_OK)
        b->status = oa_cohort_build_end(b->build);
}

/* Read a body from the URL, or from a part, and return a build that is complete, owned; or NULL. */
static oa_cohort_build *read_body(const oa_load *load, const oa_load_part *part,
                                  const oa_cohort_plan *plan, oa_curl *curl,
                                  const atomic_bool *cancelled, oa_load_report *report) {
    const uint64_t bytes_before = report->wire_bytes;
    const uint64_t no_ids_before = report->meta.no_ids;
    body b = {.report = report};
    bool is_read = true;
    report->wire_bytes = 0;
    b.gunzip = oa_gunzip_new(on_text, &b);
    b.status = b.gunzip == NULL ? OA_NOMEM : oa_cohort_build_new(plan, &b.build);
    if (b.status == OA_OK)
        is_read = part == NULL ? fetch(load, curl, &b) : read_file(part->path, cancelled, &b);
    if (is_read)
        end(&b);
    if (b.build != NULL)
        report->meta = *oa_cohort_build_meta(b.build);
    report->meta.no_ids += no_ids_before;
    report->wire_bytes += bytes_before;
    if (is_read && b.status != OA_OK)
        refuse(&b);
    oa_gunzip_free(b.gunzip);
    if (is_read && b.status == OA_OK && !is_another(load, plan, &b))
        return b.build;
    oa_cohort_build_free(b.build);
    return NULL;
}

/* Make the next table out of a build that is taken, and add up what has changed. */
static oa_cohort_table *finish(const oa_load *load, const oa_cohort_table *present,
                               oa_cohort_build *build, int64_t read_ms, oa_load_report *report) {
    oa_cohort_table *table = NULL;
    oa_cohort_delta delta;
    const oa_status status = oa_cohort_build_finish(
        build, present, NULL, load->as_of_ms != 0 ? load->as_of_ms : read_ms, &delta, &table);
    oa_cohort_build_free(build);
    if (status != OA_OK) {
        oa_load_say(report, OA_LOAD_FAILED, oa_status_message(status));
        return NULL;
    }
    delta.entered += report->delta.entered;
    delta.left += report->delta.left;
    report->delta = delta;
    return table;
}

/* Fetch a text. */
static void fetch_text(const oa_load *load, oa_curl *curl, oa_load_report *report) {
    const oa_get get = {load->url, load->headers, load->header_count, NULL, NULL, false};
    oa_answer answer;
    oa_curl_begin_get(curl, oa_clock_now(), &get);
    oa_curl_run(curl, UINT64_MAX);
    oa_curl_end(curl, oa_clock_now(), &answer);
    report->status_code = answer.status_code;
    report->retry_after_seconds = answer.retry_after_seconds;
    report->wire_bytes = answer.body.len;
    if (answer.aborted) {
        oa_load_say(report, OA_LOAD_CANCELLED, "");
    } else if (answer.status_code == 0) {
        oa_load_say(report, OA_LOAD_FAILED, answer.error.data);
    } else {
        oa_load_say(report, OA_LOAD_ANSWERED, "");
        snprintf(report->text, sizeof(report->text), "%.*s", (int)answer.body.len,
                 answer.body.len == 0 ? "" : answer.body.data);
    }
}

oa_cohort_table *oa_load_table(const oa_load *load, const oa_cohort_plan *plan,
                               const oa_cohort_table *present, oa_curl *curl,
                               const atomic_bool *cancelled, oa_load_report *report) {
    const int64_t read_ms = oa_clock_wall_ms();
    const size_t count = load->url.data != NULL ? 1 : load->part_count;
    uint64_t before = 0;
    oa_cohort_table *table = NULL;
    if (load->is_text) {
        fetch_text(load, curl, report);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        const oa_load_part *part = load->url.data != NULL ? NULL : &load->parts[i];
        oa_cohort_plan next = *plan;
        next.change = part == NULL ? OA_COHORT_REPLACE : part->change;
        oa_cohort_build *build = read_body(load, part, &next, curl, cancelled, report);
        oa_cohort_table *last = table;
        table = build == NULL ? NULL
                              : finish(load, last == NULL ? present : last, build, read_ms, report);
        oa_cohort_table_free(last);
        if (table == NULL)
            return NULL;
        if (i == 0)
            before = report->delta.before;
    }
    report->delta.before = before;
    if (plan->max_members > 0 && report->delta.members > plan->max_members)
        oa_load_say(report, OA_LOAD_TOO_MANY, "");
    else if (report->delta.members < load->min_members)
        oa_load_say(report, OA_LOAD_HELD, "");
    else
        return table;
    oa_cohort_table_free(table);
    return NULL;
}
