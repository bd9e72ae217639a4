/*
 * deflate.c: what the compression of a decision costs, beside zlib's fastest level.
 *
 *   deflate [DECISIONS-IN-BODY] [ROUNDS]
 *
 * The body is like that of the renderer: two events for each decision, with a user id and two
 * insert_ids that repeat nothing. The best of the rounds counts; both ways take turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <zlib.h>

#include "deflate.h"

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return 1e9 * (double)time.tv_sec + (double)time.tv_nsec;
}

static uint64_t draw(void) {
    static uint64_t state = 42;
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/* ---- a body ---- */

enum { PLACES = 7 };

static char *text;
static size_t len;
static oa_deflate *deflater;
static oa_copies copies;
static size_t before[PLACES]; /* where a part stood last */

static void part(size_t place, const char *constant) {
    const size_t part_len = strlen(constant);
    if (before[place] > 0)
        oa_copies_add(&copies, len, before[place], part_len);
    before[place] = len;
    memcpy(text + len, constant, part_len);
    len += part_len;
}

static void new_id(void) {
    len += (size_t)sprintf(text + len, "%016llx%016llx", (unsigned long long)draw(),
                           (unsigned long long)draw());
}

static void decision(size_t number) {
    part(0, ",{\"event_type\":\"$identify\",\"user_id\":\"");
    const size_t origin = len - 12;
    len += (size_t)sprintf(text + len, "user-%07llu", (unsigned long long)(draw() % 10000000));
    part(1, "\",\"time\":");
    len += (size_t)sprintf(text + len, "%llu", 1764150000000ull + number / 3);
    part(2, ",\"insert_id\":\"");
    const size_t origin_end = len;
    new_id();
    part(3, "\",\"library\":\"optimizely-amplitude/0.2.0\",\"user_properties\":{\"$set\":{"
            "\"[Optimizely] checkout_redesign\":\"treatment\"}}}"
            ",{\"event_type\":\"Experiment Viewed\"");
    oa_copies_add(&copies, len, origin, origin_end - origin);
    memcpy(text + len, text + origin, origin_end - origin);
    len += origin_end - origin;
    new_id();
    part(4, "\",\"library\":\"optimizely-amplitude/0.2.0\",\"event_properties\":{"
            "\"flag_key\":\"checkout_redesign\",\"variation_key\":\"treatment\","
            "\"rule_key\":\"checkout_experiment\",\"enabled\":true}}");
}

static void render(size_t decisions) {
    len = 0;
    memset(before, 0, sizeof(before));
    copies.count = 0;
    part(5, "{\"api_key\":\"0123456789abcdef0123456789abcdef\",\"events\":[");
    for (size_t i = 0; i < decisions; i++)
        decision(i);
    part(6, "],\"options\":{\"min_id_length\":5}}");
}

/* ---- the two ways ---- */

static unsigned char *packed;
static size_t packed_cap;

static size_t with_zlib(z_stream *zip) {
    zip->next_in = (Bytef *)text;
    zip->avail_in = (uInt)len;
    zip->next_out = packed;
    zip->avail_out = (uInt)packed_cap;
    if (deflate(zip, Z_FINISH) != Z_STREAM_END)
        exit(1);
    const size_t total = zip->total_out;
    deflateReset(zip);
    return total;
}

static void check(oa_str zipped) {
    unsigned char *again = malloc(len + 1);
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)zipped.data,
                    .avail_in = (uInt)zipped.len,
                    .next_out = again,
                    .avail_out = (uInt)len + 1};
    inflateInit2(&zip, 15 + 16);
    if (inflate(&zip, Z_FINISH) != Z_STREAM_END || zip.total_out != len ||
        memcmp(again, text, len) != 0) {
        fprintf(stderr, "deflate: the body is not what it was\n");
        exit(1);
    }
    inflateEnd(&zip);
    free(again);
}

int main(int argc, char **argv) {
    const size_t decisions = argc > 1 ? strtoul(argv[1], NULL, 10) : 999;
    const size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 50;
    const size_t repeats = 1 + 1000 / decisions;
    text = malloc(1000 * (decisions + 1));
    packed_cap = 1000 * (decisions + 1);
    packed = malloc(packed_cap);
    deflater = oa_deflate_new();
    z_stream zip = {0};
    if (deflateInit2(&zip, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return 1;
    render(decisions);
    check(oa_deflate_gzip(deflater, (oa_str){text, len}, &copies));

    double best[2] = {1e18, 1e18};
    size_t size[2] = {0, 0};
    for (size_t round = 0; round < rounds; round++) {
        const double start = now_ns();
        for (size_t i = 0; i < repeats; i++)
            size[0] = with_zlib(&zip);
        const double middle = now_ns();
        for (size_t i = 0; i < repeats; i++)
            size[1] = oa_deflate_gzip(deflater, (oa_str){text, len}, &copies).len;
        const double end = now_ns();
        best[0] = middle - start < best[0] ? middle - start : best[0];
        best[1] = end - middle < best[1] ? end - middle : best[1];
    }
    const double count = (double)decisions;
    printf("%zu decisions in a body, %.0f bytes each\n", decisions, (double)len / count);
    static const char *const names[2] = {"zlib, level 1", "deflate.c"};
    for (int way = 0; way < 2; way++)
        printf("%-14s %8.1f bytes %8.0f ns a decision\n", names[way], (double)size[way] / count,
               best[way] / count / (double)repeats);
    return 0;
}
