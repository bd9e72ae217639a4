#include "mem.h"

#include <stdint.h>
#include <stdlib.h>

#include "oa.h"

static bool (*gate)(size_t size);

void oa_mem_set_gate(bool (*allow)(size_t size)) { gate = allow; }

void *oa_mem_alloc(size_t size) {
    if (gate != NULL && !gate(size))
        return NULL;
    return malloc(size > 0 ? size : 1);
}

void *oa_mem_calloc(size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    if (gate != NULL && !gate(count * size))
        return NULL;
    return calloc(count > 0 ? count : 1, size > 0 ? size : 1);
}

void *oa_mem_realloc(void *pointer, size_t size) {
    if (gate != NULL && !gate(size))
        return NULL;
    return realloc(pointer, size > 0 ? size : 1);
}

void oa_mem_free(void *pointer) { free(pointer); }

static oa_pages system_pages;

void oa_set_pages(oa_pages pages) { system_pages = pages; }

void *oa_mem_alloc_pages(size_t size) {
    if (system_pages.alloc == NULL)
        return oa_mem_alloc(size);
    return gate == NULL || gate(size) ? system_pages.alloc(size) : NULL;
}

void oa_mem_free_pages(void *pointer, size_t size) {
    if (system_pages.free == NULL)
        oa_mem_free(pointer);
    else
        system_pages.free(pointer, size);
}
