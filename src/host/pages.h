/*
 * pages.h: memory for what is large, from the system and back to it at once: long queues, tables of
 * cohorts. A heap keeps much of what is freed.  [any thread]
 */
#ifndef OA_HOST_PAGES_H
#define OA_HOST_PAGES_H

/* Have the core use such pages. To be called before the first dispatcher or build is made; further
 * calls do nothing. */
void oa_pages_use(void);

#endif
