#include "survey.h"

#include <string.h>

#include "hash.h"
#include "mem.h"

enum { FIRST_SLOTS = 64, NO_VARIANT = 0, UNLISTED = UINT16_MAX };

/* Numbers by the hashes that they were put under: where the hash says, or behind it. */
typedef struct lookup {
    uint64_t *hashes;  /* 0: free */
    uint32_t *numbers; /* NULL: none are kept, it is a set */
    size_t cap;        /* a power of two */
    size_t count;
} lookup;

struct oa_survey {
    oa_crc32 crc;
    oa_hash_key hash_key;
    bool has_hash_key;
    char *flag; /* whose users are listed */
    size_t flag_len;
    size_t most_users;

    oa_survey_subject *subjects;
    oa_survey_variation *variations;
    oa_survey_user *users;
    size_t subject_count;
    size_t variation_count;
    size_t user_count;
    lookup subjects_by_name;
    lookup variations_by_key;
    lookup users_by_id;
    lookup pairs; /* of a subject and a user */
    size_t text_bytes;
    uint64_t others;
    bool is_at_least;

    /* Of the segment that is read: of each entry that is a variant, the number of its variation,
     * and one more; NO_VARIANT, UNLISTED. */
    uint16_t variants[OA_SEGMENT_MAX_ENTRIES];
};

_Static_assert(OA_SURVEY_MOST_VARIATIONS + 1 < UNLISTED, "a number of a variation has 16 bits");

/* ---- Look-ups ---- */

static void clear_lookup(lookup *table) {
    oa_mem_free(table->hashes);
    oa_mem_free(table->numbers);
}

/* A hash that stands for itself: 0 is none. */
static uint64_t taken(uint64_t hash) { return hash == 0 ? 1 : hash; }

static size_t slot_of(const lookup *table, uint64_t hash) {
    size_t at = hash & (table->cap - 1);
    while (table->hashes[at] != 0 && table->hashes[at] != hash)
        at = (at + 1) & (table->cap - 1);
    return at;
}

static bool grow(lookup *table, bool keeps_numbers) {
    lookup grown = {.cap = table->cap == 0 ? FIRST_SLOTS : table->cap * 2};
    grown.hashes = oa_mem_calloc(grown.cap, sizeof(*grown.hashes));
    if (keeps_numbers)
        grown.numbers = oa_mem_calloc(grown.cap, sizeof(*grown.numbers));
    if (grown.hashes == NULL || (keeps_numbers && grown.numbers == NULL)) {
        clear_lookup(&grown);
        return false;
    }
    for (size_t i = 0; i < table->cap; i++) {
        if (table->hashes[i] == 0)
            continue;
        const size_t at = slot_of(&grown, table->hashes[i]);
        grown.hashes[at] = table->hashes[i];
        if (keeps_numbers)
            grown.numbers[at] = table->numbers[i];
    }
    grown.count = table->count;
    clear_lookup(table);
    *table = grown;
    return true;
}

/* Look a hash up. Returns whether it is there, and *number, if they are kept. */
static bool find(const lookup *table, uint64_t hash, uint32_t *number) {
    const size_t at = table->cap == 0 ? 0 : slot_of(table, taken(hash));
    if (table->cap == 0 || table->hashes[at] == 0)
        return false;
    if (number != NULL)
        *number = table->numbers[at];
    return true;
}

/* Put a hash that is not there. Returns false without memory. */
static bool put(lookup *table, uint64_t hash, const uint32_t *number) {
    if (table->count >= table->cap / 4 * 3 && !grow(table, number != NULL))
        return false;
    const size_t at = slot_of(table, taken(hash));
    table->hashes[at] = taken(hash);
    if (number != NULL)
        table->numbers[at] = *number;
    table->count++;
    return true;
}

/* ---- A survey ---- */

oa_status oa_survey_new(oa_str flag, size_t most_users, oa_survey **out) {
    oa_survey *survey = oa_mem_calloc(1, sizeof(*survey));
    if (survey == NULL)
        return OA_NOMEM;
    oa_crc32_init(&survey->crc);
    survey->most_users = most_users < OA_SURVEY_MOST_USERS ? most_users : OA_SURVEY_MOST_USERS;
    survey->subjects = oa_mem_calloc(OA_SURVEY_MOST_SUBJECTS, sizeof(*survey->subjects));
    survey->variations = oa_mem_calloc(OA_SURVEY_MOST_VARIATIONS, sizeof(*survey->variations));
    bool has_all = survey->subjects != NULL && survey->variations != NULL;
    if (flag.data != NULL && has_all) {
        survey->flag_len = flag.len;
        survey->flag = oa_mem_alloc(flag.len + 1);
        survey->users = oa_mem_calloc(survey->most_users + 1, sizeof(*survey->users));
        has_all = survey->flag != NULL && survey->users != NULL;
        if (has_all && flag.len > 0)
            memcpy(survey->flag, flag.data, flag.len);
    }
    if (!has_all) {
        oa_survey_free(survey);
        return OA_NOMEM;
    }
    *out = survey;
    return OA_OK;
}

static void free_text(oa_str text) { oa_mem_free((void *)(uintptr_t)text.data); }

void oa_survey_free(oa_survey *survey) {
    if (survey == NULL)
        return;
    for (size_t i = 0; i < survey->subject_count; i++)
        free_text(survey->subjects[i].name);
    for (size_t i = 0; i < survey->variation_count; i++)
        free_text(survey->variations[i].key);
    for (size_t i = 0; i < survey->user_count; i++) {
        free_text(survey->users[i].user_id);
        free_text(survey->users[i].device_id);
    }
    oa_mem_free(survey->subjects);
    oa_mem_free(survey->variations);
    oa_mem_free(survey->users);
    oa_mem_free(survey->flag);
    clear_lookup(&survey->subjects_by_name);
    clear_lookup(&survey->variations_by_key);
    clear_lookup(&survey->users_by_id);
    clear_lookup(&survey->pairs);
    oa_mem_free(survey);
}

/* Copy a text. Errors: OA_TOO_LARGE: there is enough of it; OA_NOMEM. */
static oa_status copy(oa_survey *survey, oa_str text, oa_str *out) {
    *out = (oa_str){NULL, 0};
    if (text.data == NULL)
        return OA_OK;
    if (text.len > OA_SURVEY_MOST_TEXT_BYTES - survey->text_bytes)
        return OA_TOO_LARGE;
    char *copied = oa_mem_alloc(text.len + 1);
    if (copied == NULL)
        return OA_NOMEM;
    memcpy(copied, text.data, text.len);
    survey->text_bytes += text.len;
    *out = (oa_str){copied, text.len};
    return OA_OK;
}

static uint64_t mix(uint64_t hash, uint64_t more) {
    return (hash ^ more) * UINT64_C(0x9E3779B97F4A7C15) ^ hash >> 32;
}

static uint64_t hash_of(const oa_survey *survey, oa_str text) {
    return text.data == NULL ? 1 : oa_hash_bytes(&survey->hash_key, text.data, text.len).low;
}

/* Find the row of a flag, or of a type of events. Errors: OA_TOO_LARGE: it has none; OA_NOMEM. */
static oa_status subject_of(oa_survey *survey, oa_str name, bool is_tracked, uint32_t *out) {
    const uint64_t hash = mix(hash_of(survey, name), is_tracked);
    if (find(&survey->subjects_by_name, hash, out))
        return OA_OK;
    if (survey->subject_count == OA_SURVEY_MOST_SUBJECTS)
        return OA_TOO_LARGE;
    oa_str copied;
    const oa_status status = copy(survey, name, &copied);
    if (status != OA_OK)
        return status;
    *out = (uint32_t)survey->subject_count;
    survey->subjects[survey->subject_count++] =
        (oa_survey_subject){.name = copied, .is_tracked = is_tracked};
    return put(&survey->subjects_by_name, hash, out) ? OA_OK : OA_NOMEM;
}

/* The same of a variation. */
static oa_status variation_of(oa_survey *survey, const oa_entry *variant, uint32_t *out) {
    uint32_t subject = 0;
    oa_status status = subject_of(survey, variant->strings[OA_ENTRY_FLAG_KEY], false, &subject);
    if (status != OA_OK)
        return status;
    const oa_str key = variant->strings[OA_ENTRY_VARIATION_KEY];
    const uint64_t hash = mix(mix(hash_of(survey, key), subject), variant->enabled);
    if (find(&survey->variations_by_key, hash, out))
        return OA_OK;
    if (survey->variation_count == OA_SURVEY_MOST_VARIATIONS)
        return OA_TOO_LARGE;
    oa_str copied;
    status = copy(survey, key, &copied);
    if (status != OA_OK)
        return status;
    *out = (uint32_t)survey->variation_count;
    survey->variations[survey->variation_count++] =
        (oa_survey_variation){.subject = subject, .key = copied, .enabled = variant->enabled};
    return put(&survey->variations_by_key, hash, out) ? OA_OK : OA_NOMEM;
}

/* ---- Users ---- */

static uint64_t identity_of(const oa_survey *survey, const oa_entry *entry) {
    return oa_hash_identity(&survey->hash_key, entry->strings[OA_ENTRY_USER_ID],
                            entry->strings[OA_ENTRY_DEVICE_ID])
        .low;
}

/* Count a pending entry of a subject, and its user if that one is new. */
static void count_in(oa_survey *survey, size_t subject, uint64_t identity) {
    oa_survey_subject *row = &survey->subjects[subject];
    const uint64_t pair = mix(identity, subject);
    row->pending++;
    if (find(&survey->pairs, pair, NULL))
        return;
    if (survey->pairs.count < OA_SURVEY_MOST_PAIRS && put(&survey->pairs, pair, NULL))
        row->users++;
    else
        survey->is_at_least = true;
}

/* Errors: OA_TOO_LARGE: enough are listed; OA_NOMEM. */
static oa_status list_user(oa_survey *survey, const oa_entry *entry, uint64_t identity,
                           uint32_t *out) {
    if (find(&survey->users_by_id, identity, out))
        return OA_OK;
    if (survey->user_count == survey->most_users)
        return OA_TOO_LARGE;
    oa_survey_user *user = &survey->users[survey->user_count];
    *user = (oa_survey_user){.time_ms = INT64_MIN};
    oa_status status = copy(survey, entry->strings[OA_ENTRY_USER_ID], &user->user_id);
    if (status == OA_OK)
        status = copy(survey, entry->strings[OA_ENTRY_DEVICE_ID], &user->device_id);
    if (status != OA_OK) {
        free_text(user->user_id);
        return status;
    }
    *out = (uint32_t)survey->user_count++;
    return put(&survey->users_by_id, identity, out) ? OA_OK : OA_NOMEM;
}

/* ---- Entries ---- */

static void note_time(oa_survey_counts *counts, int64_t time_ms) {
    const bool is_first = counts->decisions + counts->tracked == 1;
    if (is_first || time_ms < counts->oldest_ms)
        counts->oldest_ms = time_ms;
    if (is_first || time_ms > counts->newest_ms)
        counts->newest_ms = time_ms;
}

static bool is_flag(const oa_survey *survey, size_t subject) {
    const oa_survey_subject *row = &survey->subjects[subject];
    return survey->flag != NULL && row->name.data != NULL && row->name.len == survey->flag_len &&
           memcmp(row->name.data, survey->flag, survey->flag_len) == 0;
}

static oa_status read_decision(oa_survey *survey, const oa_entry *entry, size_t number) {
    oa_survey_variation *variation = &survey->variations[number];
    const uint64_t identity = identity_of(survey, entry);
    count_in(survey, variation->subject, identity);
    variation->pending++;
    if (!is_flag(survey, variation->subject))
        return OA_OK;
    uint32_t listed = 0;
    const oa_status status = list_user(survey, entry, identity, &listed);
    if (status != OA_OK)
        return status == OA_TOO_LARGE ? OA_OK : status;
    oa_survey_user *user = &survey->users[listed];
    user->pending++;
    if (entry->time_ms >= user->time_ms) {
        user->time_ms = entry->time_ms;
        user->variation = number;
    }
    return OA_OK;
}

/* Return where a string of JSON that begins at `at`, behind its quotation mark, ends. */
static size_t string_end(oa_str json, size_t at) {
    while (at < json.len && json.data[at] != '"')
        at += json.data[at] == '\\' ? 2 : 1;
    return at < json.len ? at : json.len;
}

/* Return the type of an event out of its members, without quotation marks. */
static oa_str event_type(oa_str members) {
    static const char name[] = "event_type\":\"";
    const size_t name_len = sizeof(name) - 1;
    int depth = 0;
    for (size_t at = 0; at < members.len; at++) {
        const char c = members.data[at];
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        if (c != '"')
            continue;
        const size_t from = at + 1;
        if (depth == 0 && members.len - from > name_len &&
            memcmp(members.data + from, name, name_len) == 0) {
            const size_t begin = from + name_len;
            return (oa_str){members.data + begin, string_end(members, begin) - begin};
        }
        at = string_end(members, from);
    }
    return (oa_str){"", 0};
}

static oa_status read_tracked(oa_survey *survey, const oa_entry *entry) {
    const oa_str members = entry->strings[OA_ENTRY_EVENT_PROPERTIES];
    uint32_t subject = 0;
    const oa_status status =
        subject_of(survey, members.data == NULL ? members : event_type(members), true, &subject);
    if (status == OA_TOO_LARGE)
        survey->others++;
    if (status == OA_OK)
        count_in(survey, subject, identity_of(survey, entry));
    return status == OA_TOO_LARGE ? OA_OK : status;
}

static oa_status read_variant(oa_survey *survey, const oa_entry *entry) {
    uint32_t number = 0;
    const oa_status status = variation_of(survey, entry, &number);
    if (status == OA_OK)
        survey->variants[entry->index] = (uint16_t)(number + 1);
    if (status == OA_TOO_LARGE)
        survey->variants[entry->index] = UNLISTED;
    return status == OA_TOO_LARGE ? OA_OK : status;
}

/* Read an entry that is pending. */
static oa_status read_pending(oa_survey *survey, const oa_entry *entry, oa_survey_counts *counts) {
    const bool is_tracked = entry->kind == OA_ENTRY_TRACKED;
    const uint16_t variant = is_tracked || entry->variant >= OA_SEGMENT_MAX_ENTRIES
                                 ? 0
                                 : survey->variants[entry->variant];
    if (!is_tracked && variant == NO_VARIANT) {
        counts->missing++;
        return OA_OK;
    }
    if (entry->recheck) {
        counts->repeats++;
        return OA_OK;
    }
    (*(is_tracked ? &counts->tracked : &counts->decisions))++;
    note_time(counts, entry->time_ms);
    if (is_tracked)
        return read_tracked(survey, entry);
    if (variant != UNLISTED)
        return read_decision(survey, entry, variant - 1u);
    survey->others++;
    return OA_OK;
}

oa_status oa_survey_read(oa_survey *survey, const char *bytes, size_t size, oa_segment_state *state,
                         oa_segment_head *head, oa_survey_counts *counts) {
    oa_segment_reader reader;
    oa_status status = OA_OK;
    *state = oa_segment_open(&reader, &survey->crc, bytes, size, head);
    if (*state != OA_SEGMENT_READABLE)
        return OA_OK;
    if (!survey->has_hash_key) {
        /* Random, so that nobody can choose ids that are slow to tell apart. */
        oa_hash_key_init(&survey->hash_key,
                         (oa_str){(const char *)&head->salt, sizeof(head->salt)});
        survey->has_hash_key = true;
    }
    *counts = (oa_survey_counts){0};
    memset(survey->variants, 0, sizeof(survey->variants));
    for (oa_entry entry; status == OA_OK && oa_segment_next(&reader, &entry);) {
        if (entry.kind == OA_ENTRY_VARIANT)
            status = read_variant(survey, &entry);
        else if (oa_segment_is_settled(&reader, entry.index))
            counts->settled++;
        else
            status = read_pending(survey, &entry, counts);
    }
    counts->missing += reader.missing;
    return status;
}

void oa_survey_result_get(const oa_survey *survey, oa_survey_result *out) {
    *out = (oa_survey_result){
        .subjects = survey->subjects,
        .subject_count = survey->subject_count,
        .variations = survey->variations,
        .variation_count = survey->variation_count,
        .users = survey->users,
        .user_count = survey->user_count,
        .others = survey->others,
        .is_at_least = survey->is_at_least,
    };
}
