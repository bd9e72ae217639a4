#include "park.h"

#include <string.h>

#include "mem.h"

enum { FIRST_SLOTS = 16, MEMORY_PAUSE_MS = 1000 };

struct oa_park_group {
    oa_park_group *next;
    uint64_t until_at_ms;
    oa_queue queue;
};

typedef struct oa_park_slot {
    oa_hash identity;
    oa_park_group *group; /* NULL: free; &GONE: a user was here */
} oa_park_slot;

/* Keeps the probe sequences that run through a freed user's slot intact. */
static oa_park_group GONE;

void oa_park_init(oa_park *park, oa_arena *arena, const oa_hash_key *hash_key) {
    memset(park, 0, sizeof(*park));
    park->arena = arena;
    park->hash_key = hash_key;
}

void oa_park_clear(oa_park *park) {
    while (park->groups != NULL) {
        oa_park_group *group = park->groups;
        park->groups = group->next;
        oa_mem_free(group);
    }
    oa_mem_free(park->slots);
    oa_park_init(park, park->arena, park->hash_key);
}

oa_status oa_park_open(oa_park *park, uint64_t until_ms, oa_park_group **out) {
    oa_park_group *group = oa_mem_calloc(1, sizeof(*group));
    if (group == NULL)
        return OA_NOMEM;
    group->until_at_ms = until_ms;
    oa_queue_init(&group->queue, park->arena);
    group->next = park->groups;
    park->groups = group;
    *out = group;
    return OA_OK;
}

/* Return the slot of `identity`, or the free one where it would go. There is always a free one. */
static oa_park_slot *find_slot(const oa_park *park, oa_hash identity) {
    const size_t mask = park->slot_cap - 1;
    size_t at = identity.low & mask;
    while (park->slots[at].group != NULL) {
        const oa_park_slot *slot = &park->slots[at];
        if (slot->group != &GONE && slot->identity.low == identity.low &&
            slot->identity.high == identity.high)
            break;
        at = (at + 1) & mask;
    }
    return &park->slots[at];
}

/* Make room for one user more, and drop the slots of those that are gone. */
static oa_status grow(oa_park *park) {
    if (park->slot_cap > 0 && park->slots_used * 2 < park->slot_cap)
        return OA_OK;
    size_t cap = FIRST_SLOTS;
    while (cap < park->user_count * 4)
        cap *= 2;
    oa_park_slot *old = park->slots;
    const size_t old_cap = park->slot_cap;
    oa_park_slot *slots = oa_mem_calloc(cap, sizeof(*slots));
    if (slots == NULL)
        return OA_NOMEM;
    park->slots = slots;
    park->slot_cap = cap;
    park->slots_used = park->user_count;
    for (size_t i = 0; i < old_cap; i++)
        if (old[i].group != NULL && old[i].group != &GONE)
            *find_slot(park, old[i].identity) = old[i];
    oa_mem_free(old);
    return OA_OK;
}

oa_status oa_park_add(oa_park *park, oa_park_group *group, oa_record *record) {
    if (grow(park) != OA_OK)
        return OA_NOMEM;
    const oa_hash identity = oa_record_identity(record, park->hash_key);
    oa_park_slot *slot = find_slot(park, identity);
    if (oa_queue_move(&group->queue, record) != OA_OK)
        return OA_NOMEM;
    park->record_count++;
    if (slot->group == NULL) {
        *slot = (oa_park_slot){identity, group};
        park->slots_used++;
        park->user_count++;
    }
    return OA_OK;
}

oa_park_group *oa_park_find(const oa_park *park, const oa_record *record) {
    if (park->user_count == 0)
        return NULL;
    return find_slot(park, oa_record_identity(record, park->hash_key))->group;
}

uint64_t oa_park_due_ms(const oa_park *park) {
    uint64_t due = UINT64_MAX;
    for (const oa_park_group *group = park->groups; group != NULL; group = group->next)
        if (group->until_at_ms < due)
            due = group->until_at_ms;
    return due;
}

static void free_users(oa_park *park, const oa_park_group *group) {
    for (size_t i = 0; i < park->slot_cap; i++) {
        if (park->slots[i].group != group)
            continue;
        park->slots[i].group = &GONE;
        park->user_count--;
    }
}

/* Make empty batches with room for `count` records together. On failure there are none. */
static oa_status make_batches(size_t count, oa_batch_list *out) {
    while (count > 0) {
        oa_batch *batch = NULL;
        const size_t cap = count < OA_BATCH_MAX_RECORDS ? count : OA_BATCH_MAX_RECORDS;
        if (oa_batch_new(cap, &batch) != OA_OK) {
            while ((batch = oa_batch_list_pop(out)) != NULL)
                oa_batch_free(batch);
            return OA_NOMEM;
        }
        oa_batch_list_push_back(out, batch);
        count -= cap;
    }
    return OA_OK;
}

/* Move the records of a group into batches; all or, without memory, none: its users are in one
 * place. */
static oa_status empty_group(oa_park *park, oa_park_group *group, oa_batch_list *out) {
    oa_batch_list made = {NULL, NULL, 0};
    if (make_batches(group->queue.count, &made) != OA_OK)
        return OA_NOMEM;
    oa_batch *batch = NULL;
    while ((batch = oa_batch_list_pop(&made)) != NULL) {
        while (batch->count < batch->cap)
            oa_batch_add(batch, oa_queue_take(&group->queue));
        park->record_count -= batch->count;
        oa_batch_list_push_back(out, batch);
    }
    return OA_OK;
}

void oa_park_release(oa_park *park, uint64_t now_ms, oa_batch_list *out) {
    oa_park_group **link = &park->groups;
    while (*link != NULL) {
        oa_park_group *group = *link;
        if (group->until_at_ms > now_ms) {
            link = &group->next;
        } else if (empty_group(park, group, out) != OA_OK) {
            group->until_at_ms = now_ms + MEMORY_PAUSE_MS;
            link = &group->next;
        } else {
            free_users(park, group);
            *link = group->next;
            oa_mem_free(group);
        }
    }
}

oa_record *oa_park_take_any(oa_park *park) {
    for (oa_park_group *group = park->groups; group != NULL; group = group->next) {
        oa_record *record = oa_queue_take(&group->queue);
        if (record == NULL)
            continue;
        park->record_count--;
        return record;
    }
    return NULL;
}
