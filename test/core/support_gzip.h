/* support_gzip.h: what a compressed body is, according to zlib. */
#ifndef SUPPORT_GZIP_H
#define SUPPORT_GZIP_H

#include "oa.h"

/* Whatever zlib makes of `packed` must be `text`, to the last byte. */
void expect_gzip(oa_str packed, oa_str text);

#endif
