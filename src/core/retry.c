/*
 * retry.c: back-off, Retry-After and the size that fits. Pure arithmetic and one small parser of
 * foreign bytes; nothing here depends on the locale or on the machine's time zone.  [any thread]
 */
#include "retry.h"

#include <string.h>

static const int64_t MS_PER_DAY = INT64_C(24) * 60 * 60 * 1000;
static const int64_t MS_PER_YEAR = INT64_C(31556952000); /* 365.2425 days, the mean */

uint64_t oa_retry_backoff_ms(uint32_t attempts, uint64_t random) {
    uint64_t limit = OA_BACKOFF_BASE_MS;
    for (uint32_t i = 1; i < attempts && limit < OA_BACKOFF_CAP_MS; i++)
        limit *= 2;
    if (limit > OA_BACKOFF_CAP_MS)
        limit = OA_BACKOFF_CAP_MS;
    return random % (limit + 1);
}

/* What a date was read into. All numbers are in their ranges, but for a day that its month lacks.
 */
typedef struct moment {
    int64_t year;
    int month; /* from 0 */
    int day;   /* from 1 */
    int hour;
    int minute;
    int second;
} moment;

static bool is_digit(char byte) { return byte >= '0' && byte <= '9'; }

/* Step over a literal. */
static bool skip(oa_str *text, const char *literal) {
    const size_t len = strlen(literal);
    if (text->len < len || memcmp(text->data, literal, len) != 0)
        return false;
    text->data += len;
    text->len -= len;
    return true;
}

/* Read exactly `width` digits into a number of at most `max`. */
static bool read_number(oa_str *text, size_t width, int max, int *out) {
    if (text->len < width)
        return false;
    int number = 0;
    for (size_t i = 0; i < width; i++) {
        if (!is_digit(text->data[i]))
            return false;
        number = number * 10 + (text->data[i] - '0');
    }
    text->data += width;
    text->len -= width;
    *out = number;
    return number <= max;
}

/* Read one of `count` names, and tell which. Names are case-sensitive: RFC 9110 section 5.6.7. */
static bool read_name(oa_str *text, const char *const *names, int count, int *out) {
    for (int i = 0; i < count; i++) {
        if (skip(text, names[i])) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* The year of two digits: the latest one that is at most 50 years ahead of `now_ms`. RFC
 * 9110 5.6.7. */
static int64_t full_year(int two_digits, int64_t now_ms) {
    int64_t latest = 1970 + now_ms / MS_PER_YEAR + 50;
    if (latest < 1970 || latest > 9999)
        latest = 9999; /* no such clock; any year will do that the arithmetic below can take */
    return latest - (latest - two_digits) % 100;
}

/* Read what `%<what>` stands for. The letters are strptime's; the names are always English. */
static bool read_field(oa_str *text, char what, int64_t now_ms, moment *out) {
    static const char *const SHORT_DAYS[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
    static const char *const LONG_DAYS[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                            "Friday", "Saturday", "Sunday"};
    static const char *const MONTHS[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int number = 0;
    switch (what) {
    case 'a': /* a day of the week that contradicts the date does no harm */
        return read_name(text, SHORT_DAYS, 7, &number);
    case 'A':
        return read_name(text, LONG_DAYS, 7, &number);
    case 'b':
        return read_name(text, MONTHS, 12, &out->month);
    case 'd':
        return read_number(text, 2, 31, &out->day);
    case 'e': /* two characters, the first of which may be a space */
        return read_number(text, skip(text, " ") ? 1 : 2, 31, &out->day);
    case 'H':
        return read_number(text, 2, 23, &out->hour);
    case 'M':
        return read_number(text, 2, 59, &out->minute);
    case 'S': /* 60: a leap second */
        return read_number(text, 2, 60, &out->second);
    case 'y':
        if (!read_number(text, 2, 99, &number))
            return false;
        out->year = full_year(number, now_ms);
        return true;
    default: /* 'Y' */
        if (!read_number(text, 4, 9999, &number))
            return false;
        out->year = number;
        return true;
    }
}

static bool read_date(oa_str text, const char *format, int64_t now_ms, moment *out) {
    for (const char *at = format; *at != '\0'; at++) {
        const char literal[2] = {*at, '\0'};
        if (*at == '%' ? !read_field(&text, *++at, now_ms, out) : !skip(&text, literal))
            return false;
    }
    return text.len == 0;
}

/* Days from 1970-01-01 to a date of the Gregorian calendar. `month` from 0, `year` from 0. */
static int64_t days_since_epoch(int64_t year, int month, int day) {
    /* Years are counted from March here, so that the leap day is the last of its year. */
    const int64_t y = month >= 2 ? year : year - 1;
    const int from_march = (month + 10) % 12;
    const int64_t day_of_year = (153 * from_march + 2) / 5 + day - 1;
    /* 400 years are added and taken away again, to keep the divisions off negative numbers. */
    const int64_t z = y + 400;
    return z * 365 + z / 4 - z / 100 + z / 400 + day_of_year - 719468 - 146097;
}

/* Whether the month has that day. */
static bool is_real(const moment *date) {
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const int64_t y = date->year;
    const bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return date->day >= 1 && date->day <= DAYS[date->month] + (leap && date->month == 1 ? 1 : 0);
}

static uint64_t wait_until(const moment *date, int64_t now_ms) {
    const int64_t days = days_since_epoch(date->year, date->month, date->day);
    const int64_t seconds = (date->hour * 60 + date->minute) * 60 + date->second;
    const int64_t then_ms = days * MS_PER_DAY + seconds * 1000;
    if (then_ms <= now_ms)
        return 0;
    /* Unsigned, since the difference of two int64_t may not fit into one. */
    const uint64_t wait = (uint64_t)then_ms - (uint64_t)now_ms;
    return wait < OA_RETRY_AFTER_MAX_MS ? wait : OA_RETRY_AFTER_MAX_MS;
}

static uint64_t wait_seconds(oa_str digits) {
    uint64_t seconds = 0;
    for (size_t i = 0; i < digits.len; i++) {
        if (!is_digit(digits.data[i]))
            return 0;
        if (seconds <= OA_RETRY_AFTER_MAX_MS / 1000)
            seconds = seconds * 10 + (uint64_t)(digits.data[i] - '0');
    }
    const uint64_t wait = seconds * 1000;
    return wait < OA_RETRY_AFTER_MAX_MS ? wait : OA_RETRY_AFTER_MAX_MS;
}

static bool is_blank(char byte) { return byte == ' ' || byte == '\t'; }

uint64_t oa_retry_after_ms(oa_str value, int64_t now_ms) {
    static const char *const FORMATS[] = {
        "%a, %d %b %Y %H:%M:%S GMT", /* IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT */
        "%A, %d-%b-%y %H:%M:%S GMT", /* RFC 850: Sunday, 06-Nov-94 08:49:37 GMT */
        "%a %b %e %H:%M:%S %Y",      /* asctime: Sun Nov  6 08:49:37 1994 */
    };
    while (value.len > 0 && is_blank(value.data[0])) {
        value.data++;
        value.len--;
    }
    while (value.len > 0 && is_blank(value.data[value.len - 1]))
        value.len--;
    if (value.len == 0)
        return 0;
    if (is_digit(value.data[0]))
        return wait_seconds(value);
    for (size_t i = 0; i < sizeof(FORMATS) / sizeof(FORMATS[0]); i++) {
        moment date = {0};
        if (read_date(value, FORMATS[i], now_ms, &date))
            return is_real(&date) ? wait_until(&date, now_ms) : 0;
    }
    return 0;
}

void oa_fit_init(oa_fit *fit, size_t max_bytes) {
    *fit = (oa_fit){.max_bytes = max_bytes, .bytes = max_bytes};
}

void oa_fit_refused(oa_fit *fit, size_t body_bytes) {
    /* One decision may be larger than what is tried; its refusal says little of smaller bodies. */
    if (body_bytes / 2 < fit->bytes)
        fit->bytes = body_bytes / 2;
    if (fit->bytes < OA_FIT_MIN_BYTES)
        fit->bytes = fit->max_bytes < OA_FIT_MIN_BYTES ? fit->max_bytes : OA_FIT_MIN_BYTES;
    fit->accepted = 0;
}

void oa_fit_accepted(oa_fit *fit, bool full) {
    if (!full || fit->bytes == fit->max_bytes || ++fit->accepted < OA_FIT_PATIENCE)
        return;
    fit->bytes = fit->bytes > fit->max_bytes / 2 ? fit->max_bytes : fit->bytes * 2;
    fit->accepted = 0;
}
