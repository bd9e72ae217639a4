/*
 * Included first in every source file of a prebuilt addon for musl. The C++ headers of the compiler are configured for
 * glibc: they ask for its version, use its name of a type, and take functions for granted that musl does not have.
 */
#ifdef __cplusplus
#define __GLIBC_PREREQ(major, minor) 1
#define __locale_t locale_t
#include <bits/c++config.h>
#undef _GLIBCXX_USE_PTHREAD_COND_CLOCKWAIT
#undef _GLIBCXX_USE_PTHREAD_MUTEX_CLOCKLOCK
#endif
