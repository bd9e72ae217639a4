/*
 * pages.h: gives long queues pages of their own, and finds those at the end of the memory that
 * nothing uses any more. A memory of WebAssembly cannot become smaller, but an instance with a
 * smaller one can take its place: what is in use lies below, at the same addresses.
 * [the only thread]
 */
#ifndef OA_HOST_WASM_PAGES_H
#define OA_HOST_WASM_PAGES_H

#include <stddef.h>

/* Have the core use them. Call it once, before it is used. */
void oa_wasm_pages_use(void);

/* Return the number of pages, from the first one, that are in use or have one in use behind them.
 * Units: pages of 64 KiB. */
size_t oa_wasm_pages_needed(void);

/* Forget the pages from number `count` on: they are about to be gone. */
void oa_wasm_pages_cut(size_t count);

#endif
