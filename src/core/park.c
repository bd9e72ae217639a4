#include "park.h"

#include <string.h>

#include "mem.h"

enum { FIRST_SLOTS = 16, MEMORY_PAUSE_MS = 1000 };

struct oa_park_group {
    oa_park_group *next;
    uint64_t until_at_ms; /* OA_PARK_ASIDE: it is in that list */
    oa_park_past past;
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

static void free_list(oa_park_group **list) {
    while (*list != NULL) {
        oa_park_group *group = *list;
        *list = group->next;
        oa_mem_free(group);
    }
}

void oa_park_clear(oa_park *park) {
    free_list(&park->timed);
    free_list(&park->aside);
    oa_mem_free(park->slots);
    oa_park_init(park, park->arena, park->hash_key);
}

oa_status oa_park_open(oa_park *park, uint64_t until_ms, oa_park_group **out) {
    oa_park_group *group = oa_mem_calloc(1, sizeof(*group));
    if (group == NULL)
        return OA_NOMEM;
    group->until_at_ms = until_ms;
    oa_queue_init(&group->queue, park->arena);
    oa_park_group **link = &park->timed;
    if (until_ms == OA_PARK_ASIDE) {
        park->aside_count++;
        for (link = &park->aside; *link != NULL;)
            link = &(*link)->next;
    }
    group->next = *link;
    *link = group;
    *out = group;
    return OA_OK;
}

oa_park_past *oa_park_past_of(oa_park_group *group) { return &group->past; }

/* Take a group off its list, and free it. */
static void remove_group(oa_park *park, oa_park_group *group) {
    const bool is_aside = group->until_at_ms == OA_PARK_ASIDE;
    oa_park_group **link = is_aside ? &park->aside : &park->timed;
    while (*link != group)
        link = &(*link)->next;
    *link = group->next;
    park->aside_count -= is_aside;
    oa_mem_free(group);
}

void oa_park_cancel(oa_park *park, oa_park_group *group) { remove_group(park, group); }

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
    for (const oa_park_group *group = park->timed; group != NULL; group = group->next)
        if (group->until_at_ms < due)
            due = group->until_at_ms;
    return due;
}

/* Free the user of a record that leaves its group, with the first of its records. */
static void free_user(oa_park *park, const oa_record *record) {
    oa_park_slot *slot = find_slot(park, oa_record_identity(record, park->hash_key));
    if (slot->group == NULL)
        return; /* an earlier record of the same user did it */
    slot->group = &GONE;
    park->user_count--;
}

/*
 * Return how many records the next batch of a group takes, of which `at` were taken and `left` are
 * left: the suspects are on their own, and throttled users get their share.
 */
static size_t cut(const oa_park_past *past, size_t at, size_t left) {
    size_t size = left < OA_BATCH_MAX_RECORDS ? left : OA_BATCH_MAX_RECORDS;
    if (at < past->suspects && size > past->suspects - at)
        size = past->suspects - at;
    if (past->share > 0 && size > past->share)
        size = past->share;
    return size;
}

/* What follows a suspect of the same user is one as well, from its first failure on. */
static void follow(oa_suspicion *suspicion) {
    suspicion->blames = 0;
    suspicion->refused_alone = 0;
    if (suspicion->failures > 2)
        suspicion->failures = 2;
}

/* Make empty batches with room for a group's records. On failure there are none. */
static oa_status make_batches(const oa_park_group *group, oa_batch_list *out) {
    for (size_t at = 0; at < group->queue.count;) {
        oa_batch *batch = NULL;
        const size_t cap = cut(&group->past, at, group->queue.count - at);
        if (oa_batch_new(cap, &batch) != OA_OK) {
            while ((batch = oa_batch_list_pop(out)) != NULL)
                oa_batch_free(batch);
            return OA_NOMEM;
        }
        batch->again = at < group->past.suspects || group->past.share > 0;
        batch->share = group->past.share;
        batch->suspicion = group->past.suspicion;
        if (at >= group->past.suspects)
            follow(&batch->suspicion);
        oa_batch_list_push_back(out, batch);
        at += cap;
    }
    return OA_OK;
}

/* Move the records of a group into batches; all or, without memory, none: its users are in one
 * place. */
static oa_status empty_group(oa_park *park, oa_park_group *group, oa_batch_list *out) {
    oa_batch_list made = {NULL, NULL, 0};
    if (make_batches(group, &made) != OA_OK)
        return OA_NOMEM;
    oa_batch *batch = NULL;
    while ((batch = oa_batch_list_pop(&made)) != NULL) {
        while (batch->count < batch->cap) {
            oa_record *record = oa_queue_take(&group->queue);
            free_user(park, record);
            oa_batch_add(batch, record);
        }
        park->record_count -= batch->count;
        oa_batch_list_push_back(out, batch);
    }
    return OA_OK;
}

/*
 * Throttled users come in groups of those that were in one request. Where two such groups are one
 * batch each, they are sent together, or a server that throttles everybody would get a request for
 * each. No user is in both. Returns whether `last` was joined to `before`, and is gone.
 */
static bool join_throttled(oa_batch *before, oa_batch *last) {
    if (before == NULL || before->share == 0 || last->share == 0)
        return false;
    const size_t share = before->share + last->share;
    if (before->count + last->count > OA_BATCH_MAX_RECORDS / 2 ||
        oa_batch_join(before, last) != OA_OK)
        return false;
    before->share = share;
    return true;
}

void oa_park_release(oa_park *park, uint64_t now_ms, oa_batch_list *out) {
    oa_batch *whole = NULL; /* the last one of `out`, where that is all of a group */
    oa_park_group **link = &park->timed;
    while (*link != NULL) {
        oa_park_group *group = *link;
        oa_batch_list made = {NULL, NULL, 0};
        if (group->until_at_ms > now_ms) {
            link = &group->next;
            continue;
        }
        if (empty_group(park, group, &made) != OA_OK) {
            group->until_at_ms = now_ms + MEMORY_PAUSE_MS;
            link = &group->next;
            continue;
        }
        *link = group->next;
        oa_mem_free(group);
        const bool is_whole = made.first != NULL && made.first == made.last;
        const size_t records = made.record_count;
        oa_batch *batch = is_whole ? oa_batch_list_pop(&made) : NULL;
        if (is_whole && join_throttled(whole, batch)) {
            out->record_count += records;
            continue;
        }
        if (is_whole)
            oa_batch_list_push_back(out, batch);
        whole = batch;
        while ((batch = oa_batch_list_pop(&made)) != NULL)
            oa_batch_list_push_back(out, batch);
    }
}

bool oa_park_release_aside(oa_park *park, oa_batch_list *out) {
    oa_park_group *group = park->aside;
    if (group == NULL || empty_group(park, group, out) != OA_OK)
        return false;
    remove_group(park, group);
    return true;
}

const oa_record *oa_park_peek_aside(const oa_park *park) {
    return park->aside == NULL ? NULL : oa_queue_peek(&park->aside->queue);
}

const oa_record *oa_park_oldest(const oa_park *park) {
    const oa_park_group *const lists[] = {park->timed, park->aside};
    const oa_record *oldest = NULL;
    for (size_t i = 0; i < 2; i++) {
        for (const oa_park_group *group = lists[i]; group != NULL; group = group->next) {
            const oa_record *front = oa_queue_peek(&group->queue);
            if (front != NULL && (oldest == NULL || front->time_ms < oldest->time_ms))
                oldest = front;
        }
    }
    return oldest;
}

oa_record *oa_park_take_any(oa_park *park) {
    while (park->timed != NULL || park->aside != NULL) {
        oa_park_group *group = park->timed != NULL ? park->timed : park->aside;
        oa_record *record = oa_queue_take(&group->queue);
        if (record != NULL) {
            park->record_count--;
            free_user(park, record);
            return record;
        }
        remove_group(park, group);
    }
    return NULL;
}
