/*
 * cohort_csv.c: the ids of a CSV file (RFC 4180), or of a list, an id on each line.  [one owner]
 *
 * A CSV file begins with a header line that has a column `user_id`; "User ID" and "userID" are the
 * same. Every line has as many fields as the header, which tells a file that was cut off in most
 * places. Empty lines are skipped. Lines end with LF or CR LF; a byte order mark is skipped.
 */
#include "cohort_read.h"

enum place { BEGIN, PLAIN, QUOTED, AFTER_QUOTE, AFTER_RETURN };

static const unsigned char MARK[3] = {0xef, 0xbb, 0xbf};

void oa_cohort_csv_init(oa_cohort_csv *csv, bool is_lines) {
    *csv = (oa_cohort_csv){.is_lines = is_lines, .id_column = is_lines ? 0 : UINT32_MAX};
}

static oa_cohort_step wrong(oa_cohort_csv *csv, const char *problem) {
    csv->problem = problem;
    return OA_COHORT_WRONG;
}

static bool is_id_column(oa_str name) {
    static const char NAME[] = "userid";
    enum { LEN = sizeof(NAME) - 1 };
    size_t at = 0;
    for (size_t i = 0; i < name.len; i++) {
        const char c = name.data[i];
        if (c == ' ' || c == '_')
            continue;
        if (at == LEN || (c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c) != NAME[at++])
            return false;
    }
    return at == LEN;
}

/* The present line is over; it is not empty. */
static oa_cohort_step end_line(oa_cohort_csv *csv, oa_cohort_step step) {
    const uint32_t columns = csv->column + 1;
    csv->column = 0;
    if (csv->is_lines)
        return step;
    if (!csv->has_header) {
        csv->has_header = true;
        csv->columns = columns;
        return csv->id_column == UINT32_MAX ? wrong(csv, "the header has no column user_id") : step;
    }
    return columns == csv->columns ? step : wrong(csv, "a line with more or fewer fields");
}

/* The present field is over. */
static oa_cohort_step end_field(oa_cohort_csv *csv, oa_str field, bool is_quoted, bool ends_line,
                                oa_str *id) {
    oa_cohort_step step = OA_COHORT_MORE;
    const bool is_header = !csv->is_lines && !csv->has_header;
    if (is_header && csv->id_column == UINT32_MAX && is_id_column(field))
        csv->id_column = csv->column;
    if (!is_header && csv->column == csv->id_column) {
        *id = field;
        step = oa_cohort_step_of(field.len);
    }
    csv->text.len = 0;
    csv->place = BEGIN;
    if (!ends_line) {
        csv->column++;
        return step;
    }
    const bool is_empty = csv->column == 0 && field.len == 0 && !is_quoted;
    return is_empty ? OA_COHORT_MORE : end_line(csv, step);
}

static size_t plain_len(const oa_cohort_csv *csv, oa_str bytes) {
    if (csv->is_lines) {
        const char *end = memchr(bytes.data, '\n', bytes.len);
        return end == NULL ? bytes.len : (size_t)(end - bytes.data);
    }
    size_t len = 0;
    while (len < bytes.len && bytes.data[len] != ',' && bytes.data[len] != '\n')
        len++;
    return len;
}

static oa_str without_return(oa_str field) {
    if (field.len > 0 && field.len <= OA_COHORT_ID_BYTES && field.data[field.len - 1] == '\r')
        field.len--;
    return field;
}

static oa_cohort_step in_plain(oa_cohort_csv *csv, oa_str *bytes, oa_str *id) {
    oa_str field = {bytes->data, plain_len(csv, *bytes)};
    const bool is_whole = csv->text.len == 0 && field.len < bytes->len;
    if (!is_whole) {
        oa_cohort_text_add(&csv->text, field.data, field.len);
        bytes->data += field.len;
        bytes->len -= field.len;
        field = (oa_str){csv->text.bytes, csv->text.len};
        if (bytes->len == 0)
            return OA_COHORT_MORE;
    } else {
        bytes->data += field.len;
        bytes->len -= field.len;
    }
    const bool ends_line = *bytes->data++ == '\n';
    bytes->len--;
    return end_field(csv, ends_line ? without_return(field) : field, false, ends_line, id);
}

static oa_cohort_step in_quoted(oa_cohort_csv *csv, oa_str *bytes) {
    const char *quote = memchr(bytes->data, '"', bytes->len);
    const size_t len = quote == NULL ? bytes->len : (size_t)(quote - bytes->data);
    oa_cohort_text_add(&csv->text, bytes->data, len);
    bytes->data += len;
    bytes->len -= len;
    if (quote != NULL) {
        csv->place = AFTER_QUOTE;
        bytes->data++;
        bytes->len--;
    }
    return OA_COHORT_MORE;
}

/* One byte behind a quote that may have ended a field. */
static oa_cohort_step after_quote(oa_cohort_csv *csv, char c, oa_str *id) {
    if (c == '"' && csv->place == AFTER_QUOTE) {
        oa_cohort_text_add(&csv->text, &c, 1);
        csv->place = QUOTED;
        return OA_COHORT_MORE;
    }
    if (c == '\r' && csv->place == AFTER_QUOTE) {
        csv->place = AFTER_RETURN;
        return OA_COHORT_MORE;
    }
    if (c != '\n' && (c != ',' || csv->place != AFTER_QUOTE))
        return wrong(csv, "text behind a quoted field");
    return end_field(csv, (oa_str){csv->text.bytes, csv->text.len}, true, c == '\n', id);
}

/* Skip a byte order mark; true while it goes on. */
static bool skip_mark(oa_cohort_csv *csv, oa_str *bytes) {
    if (csv->mark == sizeof(MARK))
        return false;
    if ((unsigned char)*bytes->data != MARK[csv->mark]) {
        csv->text.len = 0;
        oa_cohort_text_add(&csv->text, (const char *)MARK, csv->mark); /* it was none */
        csv->place = csv->mark > 0 ? PLAIN : BEGIN;
        csv->mark = sizeof(MARK);
        return false;
    }
    csv->mark++;
    bytes->data++;
    bytes->len--;
    return true;
}

oa_cohort_step oa_cohort_csv_next(oa_cohort_csv *csv, oa_str *bytes, oa_str *id) {
    oa_cohort_step step = csv->problem == NULL ? OA_COHORT_MORE : OA_COHORT_WRONG;
    while (step == OA_COHORT_MORE && bytes->len > 0) {
        if (skip_mark(csv, bytes))
            continue;
        const char c = *bytes->data;
        if (csv->place == BEGIN && (c != '"' || csv->is_lines))
            csv->place = PLAIN;
        if (csv->place == PLAIN) {
            step = in_plain(csv, bytes, id);
        } else if (csv->place == QUOTED) {
            step = in_quoted(csv, bytes);
        } else {
            if (csv->place == BEGIN)
                csv->place = QUOTED;
            else
                step = after_quote(csv, c, id);
            bytes->data++;
            bytes->len--;
        }
    }
    return step;
}

oa_cohort_step oa_cohort_csv_end(oa_cohort_csv *csv, oa_str *id) {
    if (csv->problem != NULL)
        return OA_COHORT_WRONG;
    if (csv->place == QUOTED)
        return wrong(csv, "the body ends within quotes");
    const bool is_quoted = csv->place == AFTER_QUOTE || csv->place == AFTER_RETURN;
    if (csv->column > 0 || csv->text.len > 0 || is_quoted) {
        const oa_str field = {csv->text.bytes, csv->text.len};
        const oa_cohort_step step =
            end_field(csv, is_quoted ? field : without_return(field), is_quoted, true, id);
        if (step != OA_COHORT_MORE)
            return step;
    }
    if (!csv->is_lines && !csv->has_header)
        return wrong(csv, "there is no header line with a column user_id");
    return OA_COHORT_MORE;
}
