#include "support_store.h"

enum { DIGITS = 12, MOST_ANSWERS = 4096 };

store *store_new(void) { return must(calloc(1, sizeof(store))); }

void store_forget(store *s) {
    free(s->entries);
    s->entries = NULL;
    s->count = 0;
}

void store_end(store *s) {
    store_forget(s);
    for (size_t i = 0; i < s->late_count; i++)
        free(s->late[i]);
    free(s);
}

const stored *store_find(const store *s, const char *key_and_field) {
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->entries[i].key, key_and_field) == 0)
            return &s->entries[i];
    return NULL;
}

static const char *key_of(const char *key, const char *field) {
    char *text = text_new();
    text_add(text, "%.*s%.*s", OA_STORE_KEY_DIGITS, key, DIGITS, field);
    return text;
}

size_t store_ask(store *s, const oa_store_part *parts, size_t count, int32_t *answers) {
    size_t answered = 0;
    if (s->is_down)
        return 0;
    s->questions++;
    for (size_t i = 0; i < count; i++) {
        const char *at = parts[i].text.data;
        assert_int_equal(parts[i].text.len, parts[i].pair_count * 2 * DIGITS);
        for (size_t n = 0; n < parts[i].pair_count; n++, at += 2 * DIGITS) {
            const stored *found = store_find(s, key_of(parts[i].key, at));
            assert_true(answered < MOST_ANSWERS);
            answers[answered++] =
                found == NULL
                    ? OA_STORE_ABSENT
                    : 2 * found->version + (memcmp(found->value, at + DIGITS, DIGITS) == 0);
        }
    }
    s->pairs += answered;
    return answered;
}

/* Write one pair, by the rule of the script. */
static int32_t write_pair(store *s, const char *key, const char *value, int32_t turn,
                          const char *base, int64_t expires_ms) {
    stored *found = (stored *)store_find(s, key);
    if (found != NULL && memcmp(found->value, value, DIGITS) != 0 &&
        (*base == '\0' || atoi(base) != found->version))
        return found->version;
    if (found == NULL) {
        s->entries = must(realloc(s->entries, (s->count + 1) * sizeof(*s->entries)));
        found = &s->entries[s->count++];
        memset(found, 0, sizeof(*found));
        snprintf(found->key, sizeof(found->key), "%s", key);
        found->version = -1;
    }
    memcpy(found->value, value, DIGITS);
    if (turn > found->version)
        found->version = turn;
    found->expires_ms = expires_ms;
    return OA_STORE_ABSENT;
}

static size_t write_text(store *s, const char *key, const char *text, int64_t expires_ms,
                         int32_t *answers) {
    size_t written = 0;
    while (*text != '\0') {
        int turn = 0;
        int read = 0;
        char base[12] = "";
        const char *versions = text + 2 * DIGITS;
        assert_int_equal(sscanf(versions, "%d:%n", &turn, &read), 1);
        assert_true(read > 0);
        const size_t len = strcspn(versions + read, ",");
        assert_true(len < sizeof(base) && versions[read + (int)len] == ',');
        memcpy(base, versions + read, len);
        base[len] = '\0';
        const int32_t said =
            write_pair(s, key_of(key, text), text + DIGITS, turn, base, expires_ms);
        if (answers != NULL)
            answers[written] = said;
        written++;
        text = versions + read + len + 1;
    }
    return written;
}

size_t store_write(store *s, const oa_store_part *parts, size_t count, int32_t *answers) {
    size_t written = 0;
    if (s->is_down || s->is_full)
        return 0;
    s->writes++;
    for (size_t i = 0; i < count; i++) {
        char *text = must(strndup(parts[i].text.data, parts[i].text.len));
        if (s->is_late && s->late_count + 2 <= sizeof(s->late) / sizeof(s->late[0])) {
            s->late[s->late_count++] = must(strndup(parts[i].key, OA_STORE_KEY_DIGITS));
            s->late[s->late_count++] = text;
            continue;
        }
        const size_t pairs =
            write_text(s, parts[i].key, text, parts[i].expires_ms, answers + written);
        assert_int_equal(pairs, parts[i].pair_count);
        written += pairs;
        free(text);
    }
    return s->is_late ? 0 : written;
}

void store_catch_up(store *s) {
    for (size_t i = 0; i < s->late_count; i += 2) {
        write_text(s, s->late[i], s->late[i + 1], 0, NULL);
        free(s->late[i]);
        free(s->late[i + 1]);
    }
    s->late_count = 0;
}
