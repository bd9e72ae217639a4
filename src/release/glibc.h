/*
 * Included first in every source file of a prebuilt addon, or wheel. glibc 2.34 gave these functions a new
 * symbol version without a new behaviour; the old version keeps the addon loadable wherever Node
 * runs (Node 18 to 26 need glibc 2.28).
 */
#if defined(__x86_64__)
#define OA_GLIBC "GLIBC_2.2.5"
#define OA_GLIBC_CLOCKS "GLIBC_2.3.3"
#elif defined(__aarch64__)
#define OA_GLIBC "GLIBC_2.17"
#define OA_GLIBC_CLOCKS OA_GLIBC
#endif

#ifdef OA_GLIBC
__asm__(".symver pthread_create,pthread_create@" OA_GLIBC);
__asm__(".symver pthread_join,pthread_join@" OA_GLIBC);
__asm__(".symver pthread_detach,pthread_detach@" OA_GLIBC);
__asm__(".symver pthread_once,pthread_once@" OA_GLIBC);
__asm__(".symver pthread_condattr_setclock,pthread_condattr_setclock@" OA_GLIBC_CLOCKS);
#endif
