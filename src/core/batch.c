#include "batch.h"

#include <string.h>

#include "mem.h"

oa_status oa_batch_new(size_t cap, oa_batch **out) {
    oa_batch *batch = oa_mem_calloc(1, sizeof(*batch));
    if (batch == NULL)
        return OA_NOMEM;
    batch->cap = cap;
    batch->records = oa_mem_calloc(cap, sizeof(*batch->records));
    batch->marks = oa_mem_calloc(cap, sizeof(*batch->marks));
    if (batch->records == NULL || batch->marks == NULL) {
        oa_batch_free(batch);
        return OA_NOMEM;
    }
    *out = batch;
    return OA_OK;
}

void oa_batch_free(oa_batch *batch) {
    if (batch == NULL)
        return;
    oa_mem_free(batch->records);
    oa_mem_free(batch->marks);
    oa_mem_free(batch);
}

oa_status oa_batch_split(oa_batch *batch, size_t at, oa_batch **rest) {
    const size_t count = batch->count - at;
    oa_batch *tail = NULL;
    if (oa_batch_new(count, &tail) != OA_OK)
        return OA_NOMEM;
    tail->again = batch->again;
    tail->slow_lists = batch->slow_lists;
    tail->share = batch->share;
    tail->suspicion = batch->suspicion;
    memcpy(tail->records, batch->records + at, count * sizeof(*tail->records));
    tail->count = count;
    batch->count = at;
    *rest = tail;
    return OA_OK;
}

/* Make room for `cap` records. */
static oa_status grow(oa_batch *batch, size_t cap) {
    if (cap <= batch->cap)
        return OA_OK;
    oa_record **records = oa_mem_realloc(batch->records, cap * sizeof(*records));
    if (records == NULL)
        return OA_NOMEM;
    batch->records = records;
    uint8_t *marks = oa_mem_realloc(batch->marks, cap);
    if (marks == NULL)
        return OA_NOMEM;
    batch->marks = marks;
    batch->cap = cap;
    return OA_OK;
}

oa_status oa_batch_join(oa_batch *batch, oa_batch *other) {
    if (grow(batch, batch->count + other->count) != OA_OK)
        return OA_NOMEM;
    memcpy(batch->records + batch->count, other->records, other->count * sizeof(*batch->records));
    batch->count += other->count;
    batch->again |= other->again;
    oa_suspicion *s = &batch->suspicion;
    const oa_suspicion *o = &other->suspicion;
    s->failures = o->failures > s->failures ? o->failures : s->failures;
    if (o->accepted_before > s->accepted_before)
        s->accepted_before = o->accepted_before;
    oa_batch_free(other);
    return OA_OK;
}

size_t oa_batch_filter(oa_batch *batch, size_t among, oa_batch_taker *takes, void *context) {
    size_t kept = 0;
    for (size_t i = 0; i < among; i++) {
        if (takes(context, batch->records[i], (oa_mark)batch->marks[i]))
            continue;
        batch->records[kept] = batch->records[i];
        batch->marks[kept++] = batch->marks[i];
    }
    const size_t behind = batch->count - among;
    memmove(batch->records + kept, batch->records + among, behind * sizeof(*batch->records));
    memmove(batch->marks + kept, batch->marks + among, behind);
    batch->count = kept + behind;
    return kept;
}

void oa_batch_list_push_front(oa_batch_list *list, oa_batch *batch) {
    batch->next = list->first;
    list->first = batch;
    if (list->last == NULL)
        list->last = batch;
    list->record_count += batch->count;
}

void oa_batch_list_push_back(oa_batch_list *list, oa_batch *batch) {
    batch->next = NULL;
    if (list->last != NULL)
        list->last->next = batch;
    else
        list->first = batch;
    list->last = batch;
    list->record_count += batch->count;
}

oa_batch *oa_batch_list_pop(oa_batch_list *list) {
    oa_batch *batch = list->first;
    if (batch == NULL)
        return NULL;
    list->first = batch->next;
    if (list->first == NULL)
        list->last = NULL;
    list->record_count -= batch->count;
    batch->next = NULL;
    return batch;
}
