/* deflate.c: zlib and gzip read whatever is compressed, at each limit of the format. */
#include "deflate.h"

#include <zlib.h>

#include "support.h"
#include "support_gzip.h"

/* ---- a text, and its compression ---- */

static char *text;
static size_t len;
static size_t cap;
static oa_deflate *deflater;
static oa_copies copies;

static void need(size_t more) {
    if (len + more <= cap)
        return;
    cap = 2 * (len + more);
    text = must(realloc(text, cap));
}

static size_t at_most_32k(size_t distance) { return distance < 32768 ? distance : 32768; }

static int start(void **state) {
    (void)state;
    len = 0;
    need(1);
    deflater = must(oa_deflate_new());
    oa_copies_init(&copies);
    return 0;
}

static int stop(void **state) {
    (void)state;
    oa_deflate_free(deflater);
    oa_copies_clear(&copies);
    return 0;
}

static void add(const void *data, size_t count) {
    need(count);
    memcpy(text + len, data, count);
    len += count;
}

static void add_text(const char *data) { add(data, strlen(data)); }

/* Bytes of which no three repeat soon: a text that cannot be mistaken for a copy. */
static void add_noise(uint64_t *seed, size_t count, unsigned kinds) {
    need(count);
    for (size_t i = 0; i < count; i++)
        text[len++] = (char)('!' + draw_below(seed, kinds));
}

/* Append what stands `distance` bytes back, and say so. */
static void add_copy(size_t distance, size_t count) {
    need(count);
    oa_copies_add(&copies, len, len - distance, count);
    for (size_t i = 0; i < count; i++, len++)
        text[len] = text[len - distance];
}

/* Append digits, and say that they are some. */
static void add_digits(uint64_t *seed, size_t count, unsigned kinds) {
    static const char hex[] = "0123456789abcdef";
    need(count);
    oa_copies_add_digits(&copies, len, count);
    for (size_t i = 0; i < count; i++)
        text[len++] = hex[draw_below(seed, kinds)];
}

static oa_str pack(void) {
    const oa_str packed = oa_deflate_gzip(deflater, (oa_str){text, len}, &copies);
    assert_non_null(packed.data);
    expect_gzip(packed, (oa_str){text, len});
    return packed;
}

/* How the first block is written. */
enum { STORED, STATIC, DYNAMIC };

static int first_block(oa_str packed) { return packed.data[10] >> 1 & 3; }

static bool first_is_last(oa_str packed) { return (packed.data[10] & 1) != 0; }

/* Walk all blocks as a reader that remembers where each begins, and return how many there are. */
static int count_blocks(oa_str packed) {
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)packed.data, .avail_in = (uInt)packed.len};
    static unsigned char part[1 << 16];
    int blocks = 0;
    int status = Z_OK;
    assert_int_equal(inflateInit2(&zip, 15 + 16), Z_OK);
    while (status == Z_OK) {
        zip.next_out = part;
        zip.avail_out = sizeof(part);
        status = inflate(&zip, Z_BLOCK);
        /* Bit 7: it stopped at the end of a block, or of the header before the first. */
        blocks += status == Z_OK && (zip.data_type & 128) != 0;
    }
    assert_int_equal(status, Z_STREAM_END);
    inflateEnd(&zip);
    return blocks - 1;
}

/* ---- the smallest ---- */

static void an_empty_text(void **state) {
    (void)state;
    const oa_str packed = pack();
    assert_int_equal(packed.len, 10 + 2 + 8); /* a static block of one code of 7 bits */
    assert_int_equal(first_block(packed), STATIC);
    assert_true(first_is_last(packed));
    assert_non_null(oa_deflate_gzip(deflater, (oa_str){NULL, 0}, &copies).data);
}

static void every_single_byte(void **state) {
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        len = 0;
        copies.count = 0;
        add(&(char){(char)byte}, 1);
        pack();
    }
}

/* ---- the header and the end of gzip ---- */

static void the_frame_is_that_of_the_rfc(void **state) {
    (void)state;
    add_text("hello");
    const oa_str packed = pack();
    static const unsigned char head[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    assert_memory_equal(packed.data, head, 10);
    const unsigned char *tail = (const unsigned char *)packed.data + packed.len - 8;
    const uint32_t sum = (uint32_t)crc32(0, (const Bytef *)text, 5);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(tail[i], sum >> 8 * i & 0xff);
        assert_int_equal(tail[4 + i], 5u >> 8 * i & 0xff);
    }
}

/* ---- lengths ---- */

static void every_length_of_a_copy(void **state) {
    (void)state;
    for (size_t count = 1; count <= 1100; count++) {
        uint64_t seed = count;
        len = 0;
        copies.count = 0;
        add_noise(&seed, 1200, 90);
        add_copy(1200, count);
        add_text("\x01");
        add_noise(&seed, 5, 90);
        const oa_str packed = pack();
        if (count >= 100)
            assert_true(packed.len < 1300);
    }
}

/* 258 has a code without extra bits; 284's reach 258, too, but must not be used for it. */
static void the_longest_copy(void **state) {
    (void)state;
    uint64_t seed = 1;
    add_noise(&seed, 300, 90);
    add_copy(300, 258);
    add_text("\x01");
    pack();
}

/* A copy that reaches into itself, as runs do. */
static void a_run(void **state) {
    (void)state;
    for (size_t distance = 1; distance < 20; distance++) {
        uint64_t seed = distance;
        len = 0;
        copies.count = 0;
        add_noise(&seed, distance, 90);
        add_copy(distance, 100000);
        assert_true(pack().len < 600);
    }
}

/* ---- distances ---- */

static void every_class_of_distances(void **state) {
    (void)state;
    for (unsigned bit = 0; bit <= 15; bit++) {
        for (int off = -1; off <= 1; off++) {
            const long distance = (1L << bit) + off;
            if (distance < 1 || distance > 32768)
                continue;
            uint64_t seed = bit;
            len = 0;
            copies.count = 0;
            add_noise(&seed, 33000, 90);
            add_copy((size_t)distance, 200);
            add_text("\x01");
            pack();
        }
    }
}

static void the_window_ends_at_32768(void **state) {
    (void)state;
    size_t size[2];
    for (size_t i = 0; i < 2; i++) {
        uint64_t seed = 9;
        len = 0;
        copies.count = 0;
        add_noise(&seed, 40000, 90);
        add_copy(32768 + i, 4000);
        size[i] = pack().len;
    }
    assert_true(size[0] + 3000 < size[1]); /* beyond it they are literals again */
}

/* ---- codes ---- */

static void no_copy_at_all(void **state) {
    (void)state;
    uint64_t seed = 2;
    add_noise(&seed, 5000, 20);
    const oa_str packed = pack();
    assert_int_equal(first_block(packed), DYNAMIC);
    assert_true(packed.len < 5000 * 5 / 8);
}

static void one_distance_only(void **state) {
    (void)state;
    uint64_t seed = 3;
    add_noise(&seed, 2000, 20);
    add_copy(1024, 500);
    assert_int_equal(first_block(pack()), DYNAMIC);
}

static void one_byte_only(void **state) {
    (void)state;
    for (int i = 0; i < 5000; i++)
        add_text("a");
    const oa_str packed = pack(); /* no copy was noted: a bit for each */
    assert_int_equal(first_block(packed), DYNAMIC);
    assert_true(packed.len < 5000 / 8 + 50);
}

static void all_bytes_alike(void **state) {
    (void)state;
    for (int i = 0; i < 256 * 40; i++)
        add(&(char){(char)(i * 7)}, 1);
    pack();
}

/* Fibonacci's counts: without a limit, the rarest byte would have a code of 27 bits. */
static void a_tree_deeper_than_the_limit(void **state) {
    (void)state;
    size_t count = 1;
    size_t next = 1;
    for (char byte = 'a'; byte < 'a' + 28; byte++) {
        need(count);
        memset(text + len, byte, count);
        len += count;
        const size_t sum = count + next;
        count = next;
        next = sum;
    }
    const oa_str packed = pack();
    assert_int_equal(first_block(packed), DYNAMIC);
    assert_true(packed.len < len * 3 / 8);
}

/* ---- blocks ---- */

static void noise_is_stored(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 100, 65534, 65535, 65536, 2 * 65535, 2 * 65535 + 1, 300000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t seed = i;
        len = 0;
        copies.count = 0;
        need(sizes[i]);
        while (len < sizes[i])
            text[len++] = (char)draw(&seed);
        const oa_str packed = pack();
        if (sizes[i] > 1)
            assert_int_equal(first_block(packed), STORED);
        assert_true(packed.len <= sizes[i] + 18 + 5 * (1 + sizes[i] / 65535) + 1);
    }
}

static void a_short_text_is_static(void **state) {
    (void)state;
    add_text("{\"api_key\":\"0123\",\"events\":[]}");
    assert_int_equal(first_block(pack()), STATIC);
}

/* Blocks of 4096 copies; the last may be full, have one, or none. */
static void many_blocks(void **state) {
    (void)state;
    static const int counts[] = {4095, 4096, 4097, 8192, 8193, 20000};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        uint64_t seed = i;
        len = 0;
        copies.count = 0;
        add_noise(&seed, 1000, 90);
        for (int n = 0; n < counts[i]; n++) {
            const size_t distance = 500 + (size_t)n % 300;
            add_copy(distance, 12);
            /* The copy ends here. */
            add_text(text[len - distance] == '\x01' ? "\x02" : "\x01");
        }
        assert_int_equal(count_blocks(pack()), (counts[i] + 4095) / 4096);
    }
}

/* A coded block, whose end is no whole byte, then stored ones, then a coded one. */
static void blocks_of_all_kinds(void **state) {
    (void)state;
    uint64_t seed = 12;
    for (int round = 0; round < 4; round++) {
        add_noise(&seed, 777, 5);
        for (int n = 0; n < 4096; n++) {
            add_copy(100, 10);
            if (round % 2 == 1)
                for (int i = 0; i < 40; i++)
                    add(&(char){(char)draw(&seed)}, 1);
            else
                add_noise(&seed, 2, 3);
        }
    }
    assert_true(count_blocks(pack()) >= 4);
}

/* ---- what a careless renderer may say ---- */

static void copies_that_are_none_are_left_out(void **state) {
    (void)state;
    uint64_t seed = 13;
    add_noise(&seed, 1000, 90);
    oa_copies_add(&copies, 500, 500, 100); /* not before */
    oa_copies_add(&copies, 500, 600, 100);
    oa_copies_add(&copies, SIZE_MAX, SIZE_MAX - 1, 100); /* beyond everything */
    oa_copies_add(&copies, 900, 800, SIZE_MAX);
    oa_copies_add(&copies, 900, 800, 0);
    oa_copies_add(&copies, 2000, 1500, 100); /* behind the end */
    pack();
}

/* Wrong ones: nothing is read or written where it must not be, and the text fails its checksum. */
static void a_wrong_copy_is_found_by_the_reader(void **state) {
    (void)state;
    uint64_t seed = 14;
    add_noise(&seed, 1000, 90);
    oa_copies_add(&copies, 700, 300, 100);
    const oa_str packed = oa_deflate_gzip(deflater, (oa_str){text, len}, &copies);
    char again[1001];
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)packed.data,
                    .avail_in = (uInt)packed.len,
                    .next_out = (Bytef *)again,
                    .avail_out = sizeof(again)};
    assert_int_equal(inflateInit2(&zip, 15 + 16), Z_OK);
    assert_int_equal(inflate(&zip, Z_FINISH), Z_DATA_ERROR);
    inflateEnd(&zip);
}

static void any_nonsense_is_safe(void **state) {
    (void)state;
    uint64_t seed = 15;
    for (int round = 0; round < 2000; round++) {
        len = 0;
        copies.count = 0;
        add_noise(&seed, 1 + draw_below(&seed, 2000), 4);
        for (size_t i = draw_below(&seed, 50); i > 0; i--)
            oa_copies_add(&copies, draw_below(&seed, 2 * len), draw_below(&seed, len),
                          draw_below(&seed, 2 * len));
        assert_non_null(oa_deflate_gzip(deflater, (oa_str){text, len}, &copies).data);
    }
}

/* ---- digits ---- */

/* Of every length, in front of a copy and behind one, as in a body; digits are 4 bits at least. */
static void digits_are_read_back(void **state) {
    (void)state;
    for (size_t count = 0; count < 100; count++) {
        uint64_t seed = count;
        len = 0;
        copies.count = 0;
        for (int n = 0; n < 300; n++) {
            add_text(n == 0 ? ",\"insert_id\":\"" : "");
            if (n > 0)
                add_copy(14 + count, 14);
            add_digits(&seed, count, 16);
        }
        add_text("\"");
        assert_true(pack().len < 300 * (count * 9 / 16 + 4) + 150);
    }
}

/* They are taken to be as likely as each other, and may not be: there is room for them anyway, also
 * where the buffer is full to its end. */
static void digits_may_be_alike(void **state) {
    (void)state;
    for (int decisions = 500; decisions < 1100; decisions += 20) {
        uint64_t seed = 19;
        len = 0;
        copies.count = 0;
        oa_deflate_free(deflater);
        deflater = must(oa_deflate_new());
        add_noise(&seed, 40, 90);
        for (int n = 0; n < decisions; n++) {
            add_noise(&seed, 8, 8); /* so frequent that the first digits have longer codes */
            add_copy(40, 8);
            add_digits(&seed, 32, 4);
            add_copy(40, 8);
        }
        pack();
    }
}

/* Where other bytes are much more frequent, the codes of digits are too long for pairs. */
static void digits_may_be_rare(void **state) {
    (void)state;
    uint64_t seed = 20;
    add_noise(&seed, 30000, 4);
    add_copy(30000, 10);
    add_digits(&seed, 32, 16);
    add_copy(20000, 300);
    assert_int_equal(first_block(pack()), DYNAMIC);
}

/* Other bytes, and places that are none: the text fails its checksum, and nothing else happens. */
static void digits_that_are_none_are_safe(void **state) {
    (void)state;
    uint64_t seed = 21;
    for (int round = 0; round < 2000; round++) {
        len = 0;
        copies.count = 0;
        need(1 + 50 * 100);
        while (len < 50 * 100) {
            add_digits(&seed, draw_below(&seed, 70), 16);
            if (len > 20)
                add_copy(1 + draw_below(&seed, 20), draw_below(&seed, 30));
        }
        for (size_t i = draw_below(&seed, 100); i > 0; i--)
            text[draw_below(&seed, len)] = (char)draw(&seed);
        for (size_t i = 0; i < copies.count; i++)
            if (copies.items[i].distance == 0 && draw_below(&seed, 5) == 0)
                copies.items[i].at = (uint32_t)draw_below(&seed, 2 * len);
        assert_non_null(oa_deflate_gzip(deflater, (oa_str){text, len}, &copies).data);
    }
}

/* ---- what belongs to copies ---- */

/* What is before a copy, and the same, belongs to it, up to the copy before. */
static void a_copy_begins_where_the_text_is_the_same(void **state) {
    (void)state;
    size_t size[2];
    for (size_t i = 0; i < 2; i++) {
        uint64_t seed = 22;
        len = 0;
        copies.count = 0;
        add_noise(&seed, 700, 90);
        add_copy(700, 20);
        add_text("\x01");
        add(text + 21, 100 * i); /* of which nothing is said */
        add_copy(700, 20 + 100 * (1 - i));
        size[i] = pack().len;
    }
    assert_int_equal(size[0], size[1]);
}

/* A block ends when there are too many different copies for another one. */
static void many_different_copies(void **state) {
    (void)state;
    uint64_t seed = 23;
    add_noise(&seed, 10000, 90);
    for (size_t n = 0; n < 3000; n++) {
        const size_t distance = 5000 + 3 * n;
        add_copy(distance, 12);
        add_text(text[len - distance] == '\x01' ? "\x02" : "\x01");
    }
    assert_int_equal(count_blocks(pack()), 2);
}

static void neighbours_are_one_copy(void **state) {
    (void)state;
    uint64_t seed = 16;
    size_t size[2];
    for (size_t i = 0; i < 2; i++) {
        len = 0;
        copies.count = 0;
        seed = 16;
        add_noise(&seed, 300, 90);
        if (i == 0)
            add_copy(300, 240);
        for (int n = 0; i == 1 && n < 20; n++)
            add_copy(300, 12);
        add_text("\x01");
        size[i] = pack().len;
    }
    assert_int_equal(size[0], size[1]);
}

/* What follows a copy and is the same belongs to it, however long, up to the end of the text. */
static void a_copy_goes_on_as_far_as_the_text_is_the_same(void **state) {
    (void)state;
    for (size_t more = 0; more < 600; more++) {
        uint64_t seed = 17;
        len = 0;
        copies.count = 0;
        add_noise(&seed, 700, 90);
        add_copy(700, 20);
        add(text + 20, more);
        assert_true(pack().len < 700 + 40);
    }
}

static void a_copy_that_another_took_is_shortened(void **state) {
    (void)state;
    uint64_t seed = 18;
    for (size_t overlap = 0; overlap <= 40; overlap++) {
        len = 0;
        copies.count = 0;
        add_noise(&seed, 400, 90);
        add_copy(400, 100);
        /* What follows the first is the same as 400 bytes before, and as 200: it takes that. */
        add(text + 100, overlap);
        memcpy(text + len - 200, text + 100 + overlap, 60);
        add_copy(200, 60);
        add_noise(&seed, 20, 90);
        pack();
    }
}

/* Values that differ, in length too, between members that are the same. */
static void a_guess_is_compared_from_mark_to_mark(void **state) {
    (void)state;
    uint64_t seed = 23;
    oa_span last = {0, 0};
    for (int n = 0; n < 300; n++) {
        char part[300];
        snprintf(part, sizeof(part),
                 "\"plan\":\"%s\",\"seats\":%u,\"region\":\"eu-west-%u\",\"is_customer\":true,"
                 "\"referrer\":\"https://example.test/%u\",\"flag_of_the_experiment\":null",
                 n % 3 == 0 ? "pro" : "enterprise", (unsigned)draw_below(&seed, 3000),
                 (unsigned)draw_below(&seed, 12), (unsigned)draw_below(&seed, 5));
        const oa_span span = {len, strlen(part)};
        if (n > 0)
            oa_copies_guess(&copies, span, last);
        add_text(part);
        add_noise(&seed, 3, 90);
        last = span;
    }
    assert_true(pack().len < len / 7);
}

/* Whatever is said to resemble what, the text is the text. */
static void any_guess_is_right(void **state) {
    (void)state;
    uint64_t seed = 24;
    for (int round = 0; round < 2000; round++) {
        len = 0;
        copies.count = 0;
        add_noise(&seed, 1 + draw_below(&seed, 3000), 3); /* '!', a quotation mark and '#' */
        for (size_t at = 0; at < 2 * len; at += draw_below(&seed, 300)) {
            const oa_span span = {at, draw_below(&seed, 200)};
            const oa_span before = {draw_below(&seed, len), draw_below(&seed, 200)};
            oa_copies_guess(&copies, span, before);
        }
        pack();
    }
}

static void a_text_that_is_cut_back(void **state) {
    (void)state;
    uint64_t seed = 19;
    for (size_t cut = 1000; cut <= 1300; cut++) {
        len = 0;
        copies.count = 0;
        add_noise(&seed, 1000, 90);
        add_copy(800, 100);
        add_noise(&seed, 50, 90);
        add_copy(700, 150);
        len = cut;
        oa_copies_cut(&copies, len);
        add_noise(&seed, 40, 90);
        add_copy(300, 90);
        pack();
    }
}

/* ---- memory ---- */

static void a_compressor_is_used_again(void **state) {
    (void)state;
    static const size_t sizes[] = {100, 3 << 20, 0, 700, 1 << 20};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint64_t seed = i;
        len = 0;
        copies.count = 0;
        add_noise(&seed, sizes[i] / 2, 90);
        while (len < sizes[i])
            add_copy(at_most_32k(len), 300);
        pack();
        oa_deflate_trim(deflater);
    }
}

static void without_memory_there_is_no_result(void **state) {
    (void)state;
    memory_fail(1);
    assert_null(oa_deflate_new());
    oa_deflate_free(NULL);
    uint64_t seed = 20;
    add_noise(&seed, 3000, 90);
    for (int n = 0; n < 300; n++) {
        add_copy(1500, 20);
        add_text("\x01");
    }
    const size_t whole = pack().len;
    bool failed = true;
    for (size_t nth = 1; failed; nth++) {
        /* A copy that there is no memory for is no more than literals. */
        oa_deflate *other = must(oa_deflate_new());
        oa_copies others;
        oa_copies_init(&others);
        memory_fail(nth);
        for (size_t n = 0; n < 300; n++)
            oa_copies_add(&others, 3000 + 21 * n, 1500 + 21 * n, 20);
        const oa_str packed = oa_deflate_gzip(other, (oa_str){text, len}, &others);
        failed = memory_refusals() > 0;
        memory_fail(0);
        assert_true(failed || packed.len == whole);
        oa_deflate_free(other);
        oa_copies_clear(&others);
    }
}

/* ---- other readers ---- */

/* What zlib's inflate accepts, gzip must, too. */
static void gzip_reads_it(void **state) {
    (void)state;
    uint64_t seed = 21;
    for (int round = 0; round < 3; round++) {
        add_noise(&seed, 3000, round == 1 ? 3 : 90);
        for (int n = 0; n < 3000 * round; n++) {
            add_copy(1000 + (size_t)n % 77, 30);
            add_noise(&seed, 4, 16);
        }
        const oa_str packed = pack();
        FILE *gzip = popen("gzip -t", "w");
        assert_non_null(gzip);
        assert_int_equal(fwrite(packed.data, 1, packed.len, gzip), packed.len);
        assert_int_equal(pclose(gzip), 0);
    }
}

/* Random texts of random copies of random lengths: literals of all kinds between them. */
static void any_text(void **state) {
    (void)state;
    uint64_t seed = 22;
    for (int round = 0; round < 500; round++) {
        len = 0;
        copies.count = 0;
        const unsigned kinds = 1 + (unsigned)draw_below(&seed, 90);
        const size_t most = 1 + draw_below(&seed, 400);
        add_noise(&seed, 1 + draw_below(&seed, 50), kinds);
        for (size_t n = draw_below(&seed, 3000); n > 0; n--) {
            if (draw_below(&seed, 2) == 0)
                add_noise(&seed, draw_below(&seed, most), kinds);
            add_copy(1 + draw_below(&seed, at_most_32k(len)), draw_below(&seed, most));
        }
        pack();
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_empty_text),
        TEST(every_single_byte),
        TEST(the_frame_is_that_of_the_rfc),
        TEST(every_length_of_a_copy),
        TEST(the_longest_copy),
        TEST(a_run),
        TEST(every_class_of_distances),
        TEST(the_window_ends_at_32768),
        TEST(no_copy_at_all),
        TEST(one_distance_only),
        TEST(one_byte_only),
        TEST(all_bytes_alike),
        TEST(a_tree_deeper_than_the_limit),
        TEST(noise_is_stored),
        TEST(a_short_text_is_static),
        TEST(many_blocks),
        TEST(blocks_of_all_kinds),
        TEST(copies_that_are_none_are_left_out),
        TEST(a_wrong_copy_is_found_by_the_reader),
        TEST(any_nonsense_is_safe),
        TEST(digits_are_read_back),
        TEST(digits_may_be_alike),
        TEST(digits_may_be_rare),
        TEST(digits_that_are_none_are_safe),
        TEST(a_copy_begins_where_the_text_is_the_same),
        TEST(many_different_copies),
        TEST(neighbours_are_one_copy),
        TEST(a_copy_goes_on_as_far_as_the_text_is_the_same),
        TEST(a_copy_that_another_took_is_shortened),
        TEST(a_guess_is_compared_from_mark_to_mark),
        TEST(any_guess_is_right),
        TEST(a_text_that_is_cut_back),
        TEST(a_compressor_is_used_again),
        TEST(without_memory_there_is_no_result),
        TEST(gzip_reads_it),
        TEST(any_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
