/*
 * response.c: Amplitude's answer -> outcome, marks and a one-line message.  [any thread]
 *
 * A body is parsed by cJSON, if it looks like JSON, and walked once; whatever is unknown, of the
 * wrong type or out of range is passed over. Lists name events by index, or users and devices by
 * id. Ids are looked up by binary search in the ids of the records that were carried, so an answer
 * costs (records + list) * log(records), whatever it says.
 *
 * cJSON is used as it comes. Its allocator is the process's and stays so, since the library may be
 * shared with others; the memory that parsing can take is bounded by scanning the text first.
 */
#include "amplitude/response.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"

const char *oa_cjson_version(void) { return cJSON_Version(); }

/*
 * The most that an answer may contain, since a tree takes 64 bytes or more for each value.
 * Amplitude's longest list, of 1999 indexes in each of a dozen fields, stays far below.
 */
enum { MAX_VALUES = 64 * 1024, MAX_DEPTH = 32 };

static bool is_blank(char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

/* Whether a JSON text is small enough to be parsed: each value but the first has a mark before
 * it. */
static bool is_bounded(oa_str text) {
    size_t values = 1;
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        const char byte = text.data[i];
        if (quoted) {
            i += byte == '\\'; /* whatever is escaped, a quote too */
            quoted = byte != '"';
        } else if (byte == '"') {
            quoted = true;
        } else if (byte == '[' || byte == '{') {
            values++;
            if (++depth > MAX_DEPTH)
                return false;
        } else if (byte == ']' || byte == '}') {
            depth -= depth > 0;
        } else {
            values += byte == ',';
        }
    }
    return values <= MAX_VALUES;
}

/*
 * Return an owned copy of a JSON text in which `\u0000` is replaced by something that no id can
 * contain, or NULL. cJSON's strings end at a NUL, so the id "ann\u0000e" would be taken for the
 * user "ann"; six bytes of 0xff are not UTF-8, and match nothing.
 */
static char *without_nul_escapes(oa_str text) {
    char *copy = oa_mem_alloc(text.len + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0'; /* a fence: the parser also gets the length */
    for (size_t i = 0; i + 6 <= text.len; i++) {
        if (copy[i] != '\\')
            continue;
        if (memcmp(copy + i + 1, "u0000", 5) == 0)
            memset(copy + i, 0xff, 6);
        else
            i++; /* whatever is escaped, a backslash too */
    }
    return copy;
}

/* Parse a whole text that is a JSON object. Returns it owned; NULL for anything else. */
static cJSON *parse_object(oa_str text) {
    if (text.len == 0 || memchr(text.data, '\0', text.len) != NULL || !is_bounded(text))
        return NULL;
    char *copy = without_nul_escapes(text);
    if (copy == NULL)
        return NULL;
    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(copy, text.len, &end, false);
    bool whole = root != NULL && cJSON_IsObject(root);
    for (; whole && end < copy + text.len; end++)
        whole = is_blank(*end);
    oa_mem_free(copy);
    if (whole)
        return root;
    cJSON_Delete(root);
    return NULL;
}

/* An id of a record. A directory is sorted, so that the records of one id are neighbours. */
typedef struct id_entry {
    oa_str id;
    uint32_t record;
    uint8_t mark; /* of the first entry of an id: what a list says of all its records */
} id_entry;

typedef struct id_directory {
    id_entry *entries;
    size_t count;
} id_directory;

typedef struct reader {
    oa_batch *batch;
    size_t carried;
    const oa_event_owner *owners;
    size_t event_count;
    id_directory users;
    id_directory devices;
    bool is_amplitude;
    bool bad_api_key;
    const char *text; /* lent by the tree: what went wrong, in words */
} reader;

/* Whether `mark` wins when a record is given both. */
static bool is_worse(uint8_t mark, uint8_t than) {
    static const uint8_t RANK[] = {[OA_MARK_KEEP] = 0,
                                   [OA_MARK_ALONE] = 1,
                                   [OA_MARK_THROTTLED] = 2,
                                   [OA_MARK_INVALID] = 3,
                                   [OA_MARK_QUOTA] = 4};
    return RANK[mark] > RANK[than];
}

static void mark_record(reader *r, size_t record, uint8_t mark) {
    if (is_worse(mark, r->batch->marks[record]))
        r->batch->marks[record] = mark;
}

static void mark_event(reader *r, double index, uint8_t mark) {
    /* NaN and infinities fail the first test, fractions the second. */
    if (!(index >= 0 && index < (double)r->event_count) || index != (double)(size_t)index)
        return;
    const oa_event_owner owner = r->owners[(size_t)index];
    if (mark == OA_MARK_INVALID && owner.count > 1)
        mark = OA_MARK_ALONE;
    for (size_t i = 0; i < owner.count; i++)
        mark_record(r, (size_t)owner.first + i, mark);
}

/* Mark the events of `[3,4]`, or of `{"time":[3,4],"user_id":[5]}`. */
static void mark_events(reader *r, const cJSON *list, uint8_t mark) {
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        if (cJSON_IsNumber(item))
            mark_event(r, item->valuedouble, mark);
        for (const cJSON *index = item->child; index != NULL; index = index->next) {
            if (cJSON_IsNumber(index))
                mark_event(r, index->valuedouble, mark);
        }
    }
}

static int compare_ids(oa_str a, oa_str b) {
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return memcmp(a.data, b.data, a.len);
}

static int compare_entries(const void *left, const void *right) {
    return compare_ids(((const id_entry *)left)->id, ((const id_entry *)right)->id);
}

/* Sort the user ids, or the device ids, of the carried records. Returns false without memory. */
static bool directory_fill(id_directory *directory, const reader *r,
                           oa_str (*id_of)(const oa_record *record)) {
    directory->entries = oa_mem_calloc(r->carried, sizeof(*directory->entries));
    if (directory->entries == NULL)
        return false;
    for (size_t i = 0; i < r->carried; i++) {
        const oa_str id = id_of(r->batch->records[i]);
        if (id.len > 0)
            directory->entries[directory->count++] = (id_entry){.id = id, .record = (uint32_t)i};
    }
    qsort(directory->entries, directory->count, sizeof(*directory->entries), compare_entries);
    return true;
}

/* Return the index of the first entry that is not before `id`. */
static size_t directory_find(const id_directory *directory, oa_str id) {
    size_t low = 0;
    size_t high = directory->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (compare_ids(directory->entries[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Return the index behind the last entry that has the id of entry `first`. */
static size_t directory_end_of(const id_directory *directory, size_t first) {
    size_t end = first + 1;
    while (end < directory->count &&
           compare_ids(directory->entries[first].id, directory->entries[end].id) == 0)
        end++;
    return end;
}

/* Note the mark at the ids of `{"ann":31}`, or of `["ann"]`. */
static void mark_ids(id_directory *directory, const cJSON *list, uint8_t mark) {
    for (const cJSON *item = list->child; item != NULL; item = item->next) {
        const char *name = cJSON_IsObject(list) ? item->string : cJSON_GetStringValue(item);
        if (name == NULL)
            continue;
        const oa_str id = {name, strlen(name)};
        const size_t at = directory_find(directory, id);
        if (at == directory->count || compare_ids(directory->entries[at].id, id) != 0)
            continue;
        id_entry *entry = &directory->entries[at];
        if (is_worse(mark, entry->mark))
            entry->mark = mark;
    }
}

/* Copy the marks of ids to their records. */
static void mark_listed(reader *r, const id_directory *directory) {
    for (size_t first = 0, end = 0; first < directory->count; first = end) {
        end = directory_end_of(directory, first);
        for (size_t i = first; i < end; i++)
            mark_record(r, directory->entries[i].record, directory->entries[first].mark);
    }
}

/*
 * Make all records of a user wait with the throttled one, so that they stay in order. A user is
 * what oa_hash_identity() identifies: by the user id, or by the device id without one.
 */
static void spread_throttling(reader *r, const id_directory *directory, bool without_user_only) {
    for (size_t first = 0, end = 0; first < directory->count; first = end) {
        end = directory_end_of(directory, first);
        for (int pass = 0, throttled = 0; pass < 2; pass++) {
            for (size_t i = first; i < end; i++) {
                const size_t record = directory->entries[i].record;
                if (without_user_only && r->batch->records[record]->user_id_len > 0)
                    continue;
                if (pass == 0)
                    throttled |= r->batch->marks[record] == OA_MARK_THROTTLED;
                else if (throttled)
                    mark_record(r, record, OA_MARK_THROTTLED);
            }
        }
    }
}

typedef enum list_kind { LIST_EVENTS, LIST_USERS, LIST_DEVICES } list_kind;

/* What a 400 and a 429 list. Source: "Responses" of the HTTP V2 and Batch APIs, and the SDKs. */
static const struct {
    const char *name;
    list_kind kind;
    uint8_t mark;
} LISTS[] = {
    {"events_with_invalid_fields", LIST_EVENTS, OA_MARK_INVALID},
    {"events_with_missing_fields", LIST_EVENTS, OA_MARK_INVALID},
    {"events_with_invalid_id_lengths", LIST_EVENTS, OA_MARK_INVALID},
    {"silenced_events", LIST_EVENTS, OA_MARK_INVALID},
    {"silenced_devices", LIST_DEVICES, OA_MARK_INVALID},
    {"throttled_events", LIST_EVENTS, OA_MARK_THROTTLED},
    {"throttled_users", LIST_USERS, OA_MARK_THROTTLED},
    {"throttled_devices", LIST_DEVICES, OA_MARK_THROTTLED},
    {"exceeded_daily_quota_users", LIST_USERS, OA_MARK_QUOTA},
    {"exceeded_daily_quota_devices", LIST_DEVICES, OA_MARK_QUOTA},
};

static void read_list(reader *r, const cJSON *list) {
    for (size_t i = 0; i < sizeof(LISTS) / sizeof(LISTS[0]); i++) {
        if (strcmp(list->string, LISTS[i].name) != 0)
            continue;
        if (LISTS[i].kind == LIST_EVENTS)
            mark_events(r, list, LISTS[i].mark);
        else
            mark_ids(LISTS[i].kind == LIST_USERS ? &r->users : &r->devices, list, LISTS[i].mark);
        return;
    }
}

/* Read all lists into marks; the outcome depends on whether any record is marked. */
static oa_outcome read_lists(reader *r, int status, const cJSON *root) {
    bool hit = false;
    if (!directory_fill(&r->users, r, oa_record_user_id) ||
        !directory_fill(&r->devices, r, oa_record_device_id))
        return OA_OUTCOME_OUTAGE;
    /* Every member is looked at, so a key that comes twice counts twice. */
    for (const cJSON *item = root->child; item != NULL; item = item->next) {
        if (cJSON_IsObject(item) || cJSON_IsArray(item))
            read_list(r, item);
    }
    mark_listed(r, &r->users);
    mark_listed(r, &r->devices);
    spread_throttling(r, &r->users, false);
    spread_throttling(r, &r->devices, true);
    for (size_t i = 0; i < r->carried; i++)
        hit |= r->batch->marks[i] != OA_MARK_KEEP;
    if (hit)
        return OA_OUTCOME_LISTED;
    return status == 429 ? OA_OUTCOME_OUTAGE : OA_OUTCOME_REFUSED;
}

/* Read the error text of the answer. */
static void read_text(reader *r, const cJSON *root) {
    static const char BAD_API_KEY[] = "Invalid API key";
    for (const cJSON *item = root->child; item != NULL; item = item->next) {
        const char *value = cJSON_GetStringValue(item);
        if (value == NULL)
            continue;
        if (strcmp(item->string, "error") == 0) {
            r->bad_api_key |= strncmp(value, BAD_API_KEY, sizeof(BAD_API_KEY) - 1) == 0;
            r->text = value;
        } else if (strcmp(item->string, "missing_field") == 0) {
            r->bad_api_key |= strcmp(value, "api_key") == 0;
        } else if (strcmp(item->string, "message") == 0 && r->text == NULL) {
            r->text = value; /* API gateways */
        }
    }
}

/* Statuses that are about the request as a whole, whatever its events are; a redirect is one. */
static bool is_about_request(int status) {
    static const int STATUSES[] = {401, 403, 404, 405, 407, 410, 415, 451};
    for (size_t i = 0; i < sizeof(STATUSES) / sizeof(STATUSES[0]); i++)
        if (status == STATUSES[i])
            return true;
    return status >= 300 && status < 400;
}

static oa_outcome judge(reader *r, int status, const cJSON *root) {
    if (status == 413)
        return OA_OUTCOME_TOO_LARGE;
    if (is_about_request(status))
        return OA_OUTCOME_BAD_REQUEST;
    /* Amplitude refuses in JSON; what is something else comes from what stands before it. */
    if (root == NULL || status < 400 || status >= 500 || status == 408)
        return OA_OUTCOME_OUTAGE;
    if (status == 400 && r->bad_api_key)
        return OA_OUTCOME_BAD_API_KEY;
    return read_lists(r, status, root);
}

static bool is_page(oa_str body) {
    size_t at = 0;
    while (at < body.len && is_blank(body.data[at]))
        at++;
    return at < body.len && body.data[at] == '<';
}

/*
 * Judge a 2xx. A captive portal answers 200 with a page, and a gateway with an error in JSON; on
 * Amplitude's own hosts a success says so. Elsewhere any other body will do. An error that says
 * nothing of single events is an outage, for which nothing is dropped.
 */
static oa_outcome judge_success(reader *r, oa_str body, const cJSON *root) {
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(root, "code");
    const double value = cJSON_IsNumber(code) ? code->valuedouble : 0;
    if (is_page(body))
        return OA_OUTCOME_OUTAGE;
    if (value >= 400 && value < 600) {
        const oa_outcome outcome = judge(r, (int)value, root);
        const bool is_vague = outcome == OA_OUTCOME_REFUSED || outcome == OA_OUTCOME_TOO_LARGE;
        return is_vague ? OA_OUTCOME_OUTAGE : outcome;
    }
    return r->is_amplitude && value != 200 ? OA_OUTCOME_OUTAGE : OA_OUTCOME_ACCEPTED;
}

/* A message shows less than this of a text, so that what it masks is whole or at least 5 bytes. */
enum { WINDOW_BYTES = 256, MIN_MASKED_BYTES = 5, KEY_DIGITS = 32 };

/* Copy the beginning of a text, with each run of white space and control bytes as one space. */
static size_t open_window(oa_str text, char window[WINDOW_BYTES]) {
    size_t len = 0;
    for (size_t i = 0; i < text.len && len < WINDOW_BYTES; i++) {
        if ((unsigned char)text.data[i] > ' ')
            window[len++] = text.data[i];
        else if (len > 0 && window[len - 1] != ' ')
            window[len++] = ' ';
    }
    return len > 0 && window[len - 1] == ' ' ? len - 1 : len;
}

/* Mask each occurrence of an id. Shorter ones than Amplitude's default minimum could be any word.
 */
static void mask_id(const char *window, size_t len, oa_str id, bool *masked) {
    for (size_t at = 0; id.len >= MIN_MASKED_BYTES && at + MIN_MASKED_BYTES <= len; at++) {
        const size_t shown = id.len < len - at ? id.len : len - at;
        if (window[at] == id.data[0] && memcmp(window + at, id.data, shown) == 0)
            memset(masked + at, true, shown);
    }
}

/* Mask runs of 32 and more hexadecimal digits: API keys and insert_ids. */
static void mask_keys(const char *window, size_t len, bool *masked) {
    size_t run = 0;
    for (size_t at = 0; at < len; at++) {
        run = strchr("0123456789abcdefABCDEF", window[at]) != NULL ? run + 1 : 0;
        if (run == KEY_DIGITS)
            memset(masked + at + 1 - run, true, run);
        else if (run > KEY_DIGITS)
            masked[at] = true;
    }
}

/* Mask the queries of URLs, which hold tokens. */
static void mask_queries(const char *window, size_t len, bool *masked) {
    for (size_t at = 0; at < len; at++) {
        if (window[at] != '?')
            continue;
        const size_t from = at + 1;
        while (at + 1 < len && strchr(" \"'<>", window[at + 1]) == NULL)
            at++;
        if (memchr(window + from, '=', at + 1 - from) != NULL)
            memset(masked + from, true, at + 1 - from);
    }
}

/* Choose the text of the message. */
static oa_str choose_text(const reader *r, int status, oa_str body, bool is_object,
                          oa_outcome outcome) {
#define TEXT(literal) ((oa_str){"" literal, sizeof(literal) - 1})
    if (outcome == OA_OUTCOME_ACCEPTED)
        return TEXT("accepted");
    if (status >= 200 && status < 300 && outcome == OA_OUTCOME_OUTAGE && !is_page(body) &&
        (r->text == NULL || r->bad_api_key))
        return TEXT("no \"code\":200 in it, so it is not Amplitude's answer");
    if (status >= 300 && status < 400)
        return TEXT("redirects are not followed");
    if (outcome == OA_OUTCOME_BAD_API_KEY) /* Amplitude's own text may go on with the key */
        return TEXT("Invalid or missing API key");
    if (is_object)
        return r->text != NULL ? (oa_str){r->text, strlen(r->text)} : TEXT("no error text");
    while (body.len > 0 && is_blank(body.data[0])) {
        body.data++;
        body.len--;
    }
    if (body.len == 0)
        return TEXT("empty answer");
    if (body.data[0] == '{' || body.data[0] == '[') /* it may list ids */
        return TEXT("unreadable JSON");
    return body;
#undef TEXT
}

/* Write `<status>: <text>`, without what a server may echo of the request. */
static void write_message(const reader *r, int status, oa_str text,
                          char message[OA_RESPONSE_MESSAGE_BYTES]) {
    char window[WINDOW_BYTES];
    bool masked[WINDOW_BYTES] = {false};
    const size_t len = open_window(text, window);
    mask_keys(window, len, masked);
    mask_queries(window, len, masked);
    for (size_t i = 0; i < r->carried; i++) {
        mask_id(window, len, oa_record_user_id(r->batch->records[i]), masked);
        mask_id(window, len, oa_record_device_id(r->batch->records[i]), masked);
    }
    size_t at = (size_t)snprintf(message, OA_RESPONSE_MESSAGE_BYTES, "%d: ", status);
    for (size_t i = 0; i < len && at + 1 < OA_RESPONSE_MESSAGE_BYTES; i++) {
        const bool printable = window[i] >= ' ' && window[i] <= '~';
        message[at++] = masked[i] ? '*' : printable ? window[i] : '?';
    }
    message[at] = '\0';
}

oa_outcome oa_response_read(int status_code, oa_str body, bool is_amplitude, oa_batch *batch,
                            size_t carried, const oa_event_owner *owners, size_t event_count,
                            char message[OA_RESPONSE_MESSAGE_BYTES]) {
    reader r = {
        .batch = batch,
        .carried = carried,
        .owners = owners,
        .event_count = event_count,
        .is_amplitude = is_amplitude,
    };
    if (batch->count > 0)
        memset(batch->marks, OA_MARK_KEEP, batch->count);
    cJSON *root = parse_object(body);
    if (root != NULL)
        read_text(&r, root);
    const bool is_success = status_code >= 200 && status_code < 300;
    const oa_outcome outcome =
        is_success ? judge_success(&r, body, root) : judge(&r, status_code, root);
    const oa_str text = choose_text(&r, status_code, body, root != NULL, outcome);
    write_message(&r, status_code, text, message);
    oa_mem_free(r.users.entries);
    oa_mem_free(r.devices.entries);
    cJSON_Delete(root);
    return outcome;
}
