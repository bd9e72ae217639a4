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
    return b->status == OA_OK;
}

/* ---- From a server ---- */

/* GET the body; true when all of it came, or enough to know that it is wrong. */
static bool fetch(const oa_load *load, oa_curl *curl, body *b) {
    const oa_get get = {load->url, load->headers, load->header_count, on_bytes, b};
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

static bool read_file(const oa_load *load, const atomic_bool *cancelled, body *b) {
    char *path = strndup(load->path.data, load->path.len);
    const int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
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

oa_cohort_build *oa_load_read(const oa_load *load, const oa_cohort_plan *plan, oa_curl *curl,
                              const atomic_bool *cancelled, oa_load_report *report) {
    body b = {.report = report};
    bool is_read = true;
    b.gunzip = oa_gunzip_new(on_text, &b);
    b.status = b.gunzip == NULL ? OA_NOMEM : oa_cohort_build_new(plan, &b.build);
    if (b.status == OA_OK)
        is_read = load->url.data != NULL ? fetch(load, curl, &b) : read_file(load, cancelled, &b);
    if (is_read)
        end(&b);
    if (b.build != NULL)
        report->meta = *oa_cohort_build_meta(b.build);
    if (is_read && b.status != OA_OK)
        refuse(&b);
    oa_gunzip_free(b.gunzip);
    if (is_read && b.status == OA_OK && !is_another(load, plan, &b))
        return b.build;
    oa_cohort_build_free(b.build);
    return NULL;
}
