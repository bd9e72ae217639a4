/*
 * Included first in every source file of a prebuilt addon. glibc 2.34 gave these functions a new
 * symbol version without a new behaviour; the old version keeps the addon loadable wherever Node
 * runs (Node 18 to 26 need glibc 2.28).
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
