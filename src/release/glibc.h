/*
 * Included before everything that a prebuilt addon is compiled from: takes the functions that glibc
 * 2.34 gave a new version, and no new meaning, in their old version, so that the addon runs wherever
 * Node does (Node 18 to 26 need glibc 2.28).
 */
#if defined(__x86_64__)
#define OA_GLIBC "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define OA_GLIBC "GLIBC_2.17"
#endif

#ifdef OA_GLIBC
__asm__(".symver pthread_create,pthread_create@" OA_GLIBC);
__asm__(".symver pthread_join,pthread_join@" OA_GLIBC);
__asm__(".symver pthread_detach,pthread_detach@" OA_GLIBC);
#endif
