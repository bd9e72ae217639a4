/*
 * mem.h: the only access to the heap, so that tests can fail the n-th allocation.  [any thread]
 *
 * Out of memory is an ordinary error everywhere in this core: callers get NULL, drop and count.
 */
#ifndef OA_MEM_H
#define OA_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* Return `size` bytes owned by the caller, or NULL. */
void *oa_mem_alloc(size_t size);

/* Return `count * size` zeroed bytes owned by the caller, or NULL (also when the product
 * overflows). */
void *oa_mem_calloc(size_t count, size_t size);

/* Grow or shrink: takes `pointer` on success, leaves it alone on failure (NULL). */
void *oa_mem_realloc(void *pointer, size_t size);

/* Take `pointer`. NULL is fine. */
void oa_mem_free(void *pointer);

/*
 * Return `size` bytes owned by the caller, or NULL; to be given back with oa_mem_free_pages().
 * Where the host gave pages (oa_set_pages), they come from the system and go back to it at once.
 * The heap could keep the size that it reached in an outage. Cost: a system call each way, and a
 * page fault for every 4 KB that is written.
 */
void *oa_mem_alloc_pages(size_t size);

/* Take `pointer`, of `size` bytes. */
void oa_mem_free_pages(void *pointer, size_t size);

/*
 * Ask `allow` before every allocation from now on; NULL removes the gate. For tests.
 * Thread: set before any other thread allocates; `allow` itself may be called on any thread.
 */
void oa_mem_set_gate(bool (*allow)(size_t size));

#endif
