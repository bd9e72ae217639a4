#include "support_gzip.h"

#include <zlib.h>

#include "support.h"

void expect_gzip(oa_str packed, oa_str text) {
    char *again = must(malloc(text.len + 1));
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)packed.data,
                    .avail_in = (uInt)packed.len,
                    .next_out = (Bytef *)again,
                    .avail_out = (uInt)text.len + 1};
    assert_int_equal(inflateInit2(&zip, 15 + 16), Z_OK); /* with a gzip header, and no other */
    assert_int_equal(inflate(&zip, Z_FINISH), Z_STREAM_END);
    assert_int_equal(zip.total_out, text.len);
    assert_int_equal(zip.avail_in, 0);
    if (text.len > 0)
        assert_memory_equal(again, text.data, text.len);
    inflateEnd(&zip);
    free(again);
}
