#include "copies.h"

#include "mem.h"

enum { FIRST_CAPACITY = 64, MAX_CAPACITY = 1 << 17 };

void oa_copies_init(oa_copies *copies) { *copies = (oa_copies){.items = NULL}; }

void oa_copies_clear(oa_copies *copies) {
    oa_mem_free(copies->items);
    oa_copies_init(copies);
}

void oa_copies_append_grown(oa_copies *copies, oa_copy item) {
    const size_t cap = copies->cap == 0 ? FIRST_CAPACITY : 2 * copies->cap;
    oa_copy *items =
        cap > MAX_CAPACITY ? NULL : oa_mem_realloc(copies->items, cap * sizeof(items[0]));
    if (items == NULL)
        return;
    copies->items = items;
    copies->cap = cap;
    items[copies->count++] = item;
}

void oa_copies_guess(oa_copies *copies, oa_span span, oa_span before) {
    const size_t distance = span.from - before.from;
    if (distance - 1 >= OA_COPIES_WINDOW || before.len == 0 || before.len > distance ||
        (span.from | span.len) >= OA_COPIES_MAX_TEXT)
        return;
    oa_copies_append(copies, (oa_copy){(uint32_t)span.from, (uint32_t)span.len, (uint32_t)distance,
                                       (uint32_t)before.len});
}

void oa_copies_cut(oa_copies *copies, size_t at) {
    for (; copies->count > 0; copies->count--) {
        oa_copy *last = &copies->items[copies->count - 1];
        if (last->at >= at)
            continue;
        if (last->len > at - last->at)
            last->len = (uint32_t)(at - last->at);
        break;
    }
}
