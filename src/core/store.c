#include "store.h"

#include <string.h>

#include "buf.h"
#include "exposure.h"
#include "mem.h"

enum {
    DIGITS = 12,              /* of a field and of a value: 48 bits */
    EXPIRY_MARGIN_MS = 60000, /* for a clock that is behind */
    KEEP_PAIRS = 256,
};

/* The chain of a record that is no exposure. */
static const uint32_t NO_CHAIN = UINT32_MAX;

static const uint64_t DIGITS_MASK = (UINT64_C(1) << 4 * DIGITS) - 1;

typedef struct pair {
    oa_hash user; /* what the store keys its user and window by */
    uint64_t field;
    uint64_t value;
    int64_t window_end_ms;
    uint32_t chain; /* the index of the first pair of its kind, before any was left out */
    uint32_t turn;  /* if it is news */
    bool is_news;   /* to be written once it is delivered */
} pair;

/* What is known of a chain. */
typedef struct chain {
    int32_t base;    /* the version that the store had */
    int32_t version; /* the version that comes of what was judged so far */
    uint64_t value;  /* likewise; of no value: UINT64_MAX */
} chain;

/* No two configurations share: what one of them sends is new to another. */
typedef struct user_input {
    oa_hash identity;
    uint64_t kind;
    uint64_t window_ms;
    uint64_t window;
} user_input;

struct oa_store {
    const oa_hash_key *hash_key;
    uint64_t kind; /* hash of the options that decide what an exposure sends */
    uint64_t window_ms;
    size_t count; /* of pairs */
    size_t cap;   /* of pairs, chains and parts */
    pair *pairs;
    chain *chains; /* by the index of their first pairs */
    oa_store_part *parts;
    uint32_t *written; /* the pairs that were written, in order */
    size_t written_count;
    uint16_t *slots; /* of a table: index + 1 of the first pair of a chain */
    size_t slot_cap;
    oa_buf text;
};

static uint64_t hash_kind(const oa_config *config, const oa_hash_key *hash_key, bool *is_ok) {
    oa_buf kind;
    oa_buf_init(&kind, SIZE_MAX / 2);
    oa_buf_append_json(&kind, config->event_type);
    oa_buf_append_json(&kind, config->property_prefix);
    oa_buf_append_int(&kind, config->disabled_value_is_variation | config->sends_identify << 1 |
                                 config->event_sets_property << 2 | config->sends_exposure << 3);
    const uint64_t hash = oa_hash_bytes(hash_key, kind.data, kind.len).low;
    *is_ok = oa_buf_status(&kind) == OA_OK;
    oa_buf_clear(&kind);
    return hash;
}

oa_status oa_store_new(const oa_config *config, const oa_hash_key *hash_key, oa_store **out) {
    oa_store *store = oa_mem_calloc(1, sizeof(*store));
    if (store == NULL)
        return OA_NOMEM;
    bool is_ok = false;
    store->hash_key = hash_key;
    store->kind = hash_kind(config, hash_key, &is_ok);
    store->window_ms = config->dedupe_window_ms;
    oa_buf_init(&store->text, SIZE_MAX / 2);
    if (!is_ok) {
        oa_store_free(store);
        return OA_NOMEM;
    }
    *out = store;
    return OA_OK;
}

static void free_arrays(oa_store *store) {
    oa_mem_free(store->pairs);
    oa_mem_free(store->chains);
    oa_mem_free(store->parts);
    oa_mem_free(store->written);
    oa_mem_free(store->slots);
    store->pairs = NULL;
    store->chains = NULL;
    store->parts = NULL;
    store->written = NULL;
    store->slots = NULL;
    store->count = store->cap = store->written_count = 0;
}

void oa_store_free(oa_store *store) {
    if (store == NULL)
        return;
    free_arrays(store);
    oa_buf_clear(&store->text);
    oa_mem_free(store);
}

void oa_store_reset(oa_store *store) { store->count = store->written_count = 0; }

void oa_store_trim(oa_store *store) {
    if (store->cap > KEEP_PAIRS) {
        free_arrays(store);
        oa_buf_clear(&store->text);
        oa_buf_init(&store->text, SIZE_MAX / 2);
    }
}

static bool grow(oa_store *store, size_t count) {
    if (count <= store->cap)
        return true;
    free_arrays(store);
    size_t cap = KEEP_PAIRS;
    while (cap < count)
        cap *= 2;
    store->slot_cap = 2 * cap;
    store->pairs = oa_mem_alloc(cap * sizeof(*store->pairs));
    store->chains = oa_mem_alloc(cap * sizeof(*store->chains));
    store->parts = oa_mem_alloc(cap * sizeof(*store->parts));
    store->written = oa_mem_alloc(cap * sizeof(*store->written));
    store->slots = oa_mem_alloc(store->slot_cap * sizeof(*store->slots));
    if (store->pairs == NULL || store->chains == NULL || store->parts == NULL ||
        store->written == NULL || store->slots == NULL) {
        free_arrays(store);
        return false;
    }
    store->cap = cap;
    return true;
}

static pair pair_of(const oa_store *store, const oa_record *record) {
    const oa_hash identity = oa_record_identity(record, store->hash_key);
    const oa_variant *variant = record->variant;
    const user_input input = {identity, store->kind, store->window_ms, record->occurrence.window};
    return (pair){
        .user = oa_hash_bytes(store->hash_key, &input, sizeof(input)),
        .field = variant->flag_hash & DIGITS_MASK,
        .value = variant->content.low & DIGITS_MASK,
        .window_end_ms =
            oa_exposure_window_end(store->window_ms, identity, record->occurrence.window),
    };
}

static bool same_chain(const pair *a, const pair *b) {
    return a->user.low == b->user.low && a->user.high == b->user.high && a->field == b->field;
}

/* Note which chain the last pair belongs to. */
static void link_pair(oa_store *store, uint32_t index) {
    pair *last = &store->pairs[index];
    size_t at = (last->user.low ^ last->field) & (store->slot_cap - 1);
    for (; store->slots[at] != 0; at = (at + 1) & (store->slot_cap - 1)) {
        last->chain = (uint32_t)store->slots[at] - 1;
        if (same_chain(&store->pairs[last->chain], last))
            return;
    }
    store->slots[at] = (uint16_t)(index + 1);
    last->chain = index;
    store->chains[index] =
        (chain){.base = OA_STORE_UNKNOWN, .version = OA_STORE_UNKNOWN, .value = UINT64_MAX};
}

/* Append hexadecimal digits. */
static void append_digits(oa_buf *text, uint64_t bits) {
    char *to = oa_buf_reserve(text, DIGITS);
    if (to == NULL)
        return;
    for (int i = 0; i < DIGITS; i++)
        to[i] = "0123456789abcdef"[bits >> 4 * (DIGITS - 1 - i) & 15];
    text->len += DIGITS;
}

/* Return the part that a pair goes into: the last one, or a new one behind it. */
static oa_store_part *part_of(oa_store *store, size_t *count, const pair *of) {
    char digits[OA_HASH_HEX_BYTES];
    oa_hash_hex(of->user, digits);
    oa_store_part *part = *count > 0 ? &store->parts[*count - 1] : NULL;
    if (part != NULL && memcmp(part->key, digits, OA_STORE_KEY_DIGITS) == 0)
        return part;
    part = &store->parts[(*count)++];
    *part = (oa_store_part){
        .bucket = (uint32_t)of->user.high,
        .expires_ms = of->window_end_ms < INT64_MAX - EXPIRY_MARGIN_MS
                          ? of->window_end_ms + EXPIRY_MARGIN_MS
                          : INT64_MAX,
    };
    memcpy(part->key, digits, OA_STORE_KEY_DIGITS);
    return part;
}

/* Give the parts their texts, which follow each other. Returns how many there are: none without
 * memory. */
static size_t finish_parts(oa_store *store, size_t count) {
    if (oa_buf_status(&store->text) != OA_OK)
        return 0;
    const char *at = store->text.data;
    for (size_t i = 0; i < count; i++) {
        store->parts[i].text.data = at;
        at += store->parts[i].text.len;
    }
    return count;
}

const oa_store_part *oa_store_ask(oa_store *store, const oa_batch *batch, size_t *count) {
    oa_store_reset(store);
    *count = 0;
    if (!grow(store, batch->count))
        return NULL;
    memset(store->slots, 0, store->slot_cap * sizeof(*store->slots));
    oa_buf_reset(&store->text);
    for (; store->count < batch->count; store->count++) {
        const uint32_t index = (uint32_t)store->count;
        pair *added = &store->pairs[index];
        if (oa_record_is_tracked(batch->records[index])) {
            *added = (pair){.chain = NO_CHAIN};
            continue;
        }
        *added = pair_of(store, batch->records[index]);
        link_pair(store, index);
        if (added->chain != index)
            continue;
        oa_store_part *part = part_of(store, count, added);
        append_digits(&store->text, added->field);
        append_digits(&store->text, added->value);
        part->text.len += 2 * DIGITS;
        part->pair_count++;
    }
    *count = finish_parts(store, *count);
    return store->parts;
}

void oa_store_learn(oa_store *store, const int32_t *answers, size_t count) {
    size_t at = 0;
    for (size_t i = 0; i < store->count && at < count; i++) {
        if (store->pairs[i].chain != i)
            continue;
        const int32_t answer = answers[at++];
        chain *of = &store->chains[i];
        if (answer < OA_STORE_ABSENT)
            continue;
        of->base = of->version = answer == OA_STORE_ABSENT ? answer : answer / 2;
        if (answer >= 0 && answer % 2 == 1)
            of->value = store->pairs[i].value;
    }
}

/*
 * Judge a repeat of what this process sent, and the store does not have: a write failed, or the
 * store forgot. What the process knows holds then, as without a store. It is not sent for that;
 * where its property is due anyway, the store gets it again, too.
 */
static oa_mark judge_own(pair *judged, chain *of, oa_record *record) {
    of->value = judged->value;
    of->version = (int32_t)record->occurrence.turn;
    judged->turn = record->occurrence.turn;
    judged->is_news = record->property_only;
    return record->property_only ? OA_MARK_KEEP : OA_MARK_REPEAT;
}

oa_mark oa_store_judge(oa_store *store, size_t index, oa_record *record) {
    pair *judged = index < store->count ? &store->pairs[index] : NULL;
    const bool has_chain = judged != NULL && judged->chain != NO_CHAIN;
    chain *of = has_chain ? &store->chains[judged->chain] : NULL;
    if (of == NULL || of->base == OA_STORE_UNKNOWN)
        return record->recheck && !record->property_only ? OA_MARK_REPEAT : OA_MARK_KEEP;
    /* The version rises with every change that a process notes, or the store has lost some. */
    const int32_t turn = (int32_t)record->occurrence.turn;
    const bool is_behind = of->version < turn;
    if (is_behind && record->recheck)
        return judge_own(judged, of, record);
    if (of->value == judged->value && !is_behind) {
        record->occurrence.turn = (uint32_t)of->version;
        if (record->resent)
            return OA_MARK_DELIVERED;
        return record->property_only ? OA_MARK_KEEP : OA_MARK_REPEAT;
    }
    of->value = judged->value;
    of->version = is_behind ? turn : of->version + 1;
    judged->turn = record->occurrence.turn = (uint32_t)of->version;
    judged->is_news = true;
    record->recheck = false;
    record->property_only = record->resent;
    return OA_MARK_KEEP;
}

void oa_store_compact(oa_store *store, const uint8_t *marks) {
    size_t kept = 0;
    for (size_t i = 0; i < store->count; i++)
        if (marks[i] == OA_MARK_KEEP)
            store->pairs[kept++] = store->pairs[i];
    store->count = kept;
}

/* Append `turn:base,` of a pair. */
static void append_versions(oa_buf *text, const pair *of, int32_t base) {
    oa_buf_append_int(text, of->turn);
    OA_BUF_LITERAL(text, ":");
    if (base != OA_STORE_ABSENT)
        oa_buf_append_int(text, base);
    OA_BUF_LITERAL(text, ",");
}

const oa_store_part *oa_store_write(oa_store *store, size_t carried, size_t *count) {
    *count = store->written_count = 0;
    oa_buf_reset(&store->text);
    if (carried > store->count)
        carried = store->count;
    /* The last one of each chain, from the end: `value` tells which chains have theirs. */
    for (size_t i = 0; i < carried; i++)
        if (store->pairs[i].is_news)
            store->chains[store->pairs[i].chain].value = UINT64_MAX;
    for (size_t i = carried; i-- > 0;) {
        pair *at = &store->pairs[i];
        if (!at->is_news)
            continue;
        chain *of = &store->chains[at->chain];
        if (of->value == UINT64_MAX)
            of->value = at->value;
        else
            at->is_news = false; /* a later one is */
    }
    for (size_t i = 0; i < carried; i++) {
        const pair *at = &store->pairs[i];
        if (!at->is_news)
            continue;
        oa_store_part *part = part_of(store, count, at);
        const size_t before = store->text.len;
        append_digits(&store->text, at->field);
        append_digits(&store->text, at->value);
        append_versions(&store->text, at, store->chains[at->chain].base);
        part->text.len += store->text.len - before;
        part->pair_count++;
        store->written[store->written_count++] = (uint32_t)i;
    }
    *count = finish_parts(store, *count);
    return store->parts;
}

void oa_store_confirm(oa_store *store, oa_batch *batch, const int32_t *answers, size_t count) {
    for (size_t i = 0; i < store->written_count && i < count; i++)
        if (answers[i] >= 0)
            batch->marks[store->written[i]] = OA_MARK_AGAIN;
    store->written_count = 0;
}
