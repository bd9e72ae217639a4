/*
 * support_store.h: a store of exposures in memory, as scripts in Redis keep it, and shared by
 * several worlds. It can be down, full, lose its memory, and carry out a write after it was given
 * up.
 */
#ifndef SUPPORT_STORE_H
#define SUPPORT_STORE_H

#include "support.h"

typedef struct stored {
    char key[OA_STORE_KEY_DIGITS + 12 + 1]; /* and the field */
    char value[13];
    int32_t version;
    int64_t expires_ms;
} stored;

typedef struct store {
    bool is_down;     /* answers nothing */
    bool is_full;     /* answers questions, and refuses writes */
    bool is_late;     /* writes are carried out by store_catch_up(), and not answered */
    size_t questions; /* calls that were answered */
    size_t pairs;     /* in them */
    size_t writes;
    stored *entries;
    size_t count;
    char *late[256]; /* key, text and expiry of writes to be carried out */
    size_t late_count;
} store;

store *store_new(void);

void store_end(store *s);

/* Forget everything, as after a restart without persistence. */
void store_forget(store *s);

/* Carry the late writes out. */
void store_catch_up(store *s);

/* Answer a question, or carry a write out, as the host of oa.h does it. Returns how many answers. */
size_t store_ask(store *s, const oa_store_part *parts, size_t count, int32_t *answers);
size_t store_write(store *s, const oa_store_part *parts, size_t count, int32_t *answers);

/* Return the entry of the only user whose flag has a value, or NULL. */
const stored *store_find(const store *s, const char *key_and_field);

#endif
