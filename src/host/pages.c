#include "pages.h"

#include <pthread.h>
#include <sys/mman.h>

#include "oa.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *map_pages(size_t size) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static void unmap_pages(void *pointer, size_t size) { munmap(pointer, size); }

static void set_pages(void) {
#ifndef OA_HEAP_ONLY /* sanitizers check only the heap */
    oa_set_pages((oa_pages){map_pages, unmap_pages});
#else
    (void)map_pages;
    (void)unmap_pages;
#endif
}

void oa_pages_use(void) { pthread_once(&once, set_pages); }
