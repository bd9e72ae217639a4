#include "pages.h"

#include <stdint.h>
#include <stdlib.h>

#include "oa.h"

enum {
    PAGE_BYTES = 64 * 1024,
    MAX_PAGES = 64 * 1024,
    PAGES_OF_WORD = 64,
};

static uint64_t free_pages[MAX_PAGES / PAGES_OF_WORD]; /* a bit for each page that is given back */

static bool is_free(size_t page) {
    return (free_pages[page / PAGES_OF_WORD] >> page % PAGES_OF_WORD & 1) != 0;
}

static void flip(size_t page) {
    free_pages[page / PAGES_OF_WORD] ^= UINT64_C(1) << page % PAGES_OF_WORD;
}

/* The lowest one goes first, so that the highest ones come free. */
static void *alloc_page(size_t size) {
    if (size != PAGE_BYTES)
        return malloc(size);
    for (size_t i = 0; i < MAX_PAGES / PAGES_OF_WORD; i++)
        if (free_pages[i] != 0) {
            const size_t page = i * PAGES_OF_WORD + (size_t)__builtin_ctzll(free_pages[i]);
            flip(page);
            return (void *)(page * PAGE_BYTES);
        }
    const size_t page = __builtin_wasm_memory_grow(0, 1);
    return page == SIZE_MAX ? NULL : (void *)(page * PAGE_BYTES);
}

static void free_page(void *pointer, size_t size) {
    if (size != PAGE_BYTES)
        free(pointer);
    else
        flip((size_t)pointer / PAGE_BYTES);
}

void oa_wasm_pages_use(void) { oa_set_pages((oa_pages){alloc_page, free_page}); }

size_t oa_wasm_pages_needed(void) {
    size_t count = __builtin_wasm_memory_size(0);
    while (count > 0 && is_free(count - 1))
        count--;
    return count;
}

void oa_wasm_pages_cut(size_t count) {
    for (size_t page = count; page < MAX_PAGES && is_free(page); page++)
        flip(page);
}
