#include "mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

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

#ifdef OA_MEM_HEAP_ONLY /* sanitizers see no further than the heap */

void *oa_mem_alloc_pages(size_t size) { return oa_mem_alloc(size); }

void oa_mem_free_pages(void *pointer, size_t size) {
    (void)size;
    oa_mem_free(pointer);
}

#else

void *oa_mem_alloc_pages(size_t size) {
    if (gate != NULL && !gate(size))
        return NULL;
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void oa_mem_free_pages(void *pointer, size_t size) { munmap(pointer, size); }

#endif
