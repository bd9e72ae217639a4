/*
 * deflate.c: what the compression of a decision costs, as the core does it while it renders, beside
 * zlib's fastest level on what it renders.
 *
 *   deflate [DECISIONS-IN-BODY] [ROUNDS]
 *
 * Two dispatchers get the same decisions, of as many users, and render one body of them: one is to
 * compress it, the other is not. The best of the rounds counts; all ways take turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <zlib.h>

#include "oa.h"

enum { PLAIN, GZIP, ZLIB, WAYS, A_MINUTE_MS = 60000 };

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

static oa_str str(const char *text) { return (oa_str){text, strlen(text)}; }

static void expect(bool is_so, const char *what) {
    if (is_so)
        return;
    fprintf(stderr, "deflate: %s\n", what);
    exit(1);
}

/* ---- Dispatchers ---- */

static oa_now now = {1764150000000, 1000};

static oa_dispatcher *dispatcher_new(bool compression, uint32_t *variant) {
    const oa_config config = {
        .api_key = str("0123456789abcdef0123456789abcdef"),
        .library = str("optimizely-amplitude/0.2.0"),
        .event_type = str("Experiment Viewed"),
        .property_prefix = str("[Optimizely] "),
        .server_name = str("https://api2.amplitude.com/2/httpapi"),
        .sends_identify = true,
        .compression = compression,
        .min_id_length = 5,
        .flush_queue_size = 200,
        .flush_max_retries = 12,
        .max_age_ms = 24 * 60 * A_MINUTE_MS,
        .max_queue_bytes = (size_t)64 << 20,
        .max_body_bytes = (1 << 20) - 1,
    };
    oa_dispatcher *dispatcher = NULL;
    expect(oa_dispatcher_new(&config, &dispatcher) == OA_OK &&
               oa_dispatcher_add_variant(dispatcher, str("checkout_redesign"), str("treatment"),
                                         str("checkout_experiment"), true, variant) == OA_OK,
           "no memory");
    return dispatcher;
}

static void record(oa_dispatcher *dispatcher, uint32_t variant, size_t count, uint64_t seed) {
    for (size_t i = 0; i < count; i++) {
        char user[32];
        const uint64_t number = (seed + i * 7919 * 7919) % 10000000;
        oa_decision decision = {.variant_id = variant};
        decision.user_id = (oa_str){
            user, (size_t)snprintf(user, sizeof(user), "user-%07llu", (unsigned long long)number)};
        const oa_now then = {now.wall_ms + (int64_t)i / 3, now.monotonic_ms};
        oa_wake wake;
        expect(oa_dispatcher_record(dispatcher, then, &decision, &wake) == OA_OK, "not recorded");
    }
}

/* Render one body, and take the time of that. The body is lent until end_attempt(). */
static oa_attempt *render(oa_dispatcher *dispatcher, double *ns) {
    oa_attempt *attempt = oa_dispatcher_take_attempt(dispatcher, now);
    expect(attempt != NULL, "there is no attempt");
    const double start = now_ns();
    expect(oa_attempt_render(attempt) == OA_OK, "no memory");
    *ns = now_ns() - start;
    return attempt;
}

static void end_attempt(oa_dispatcher *dispatcher, oa_attempt *attempt) {
    const oa_answer answer = {.status_code = 200, .body = str("{\"code\":200}"), .sent_bytes = 1};
    oa_notice notice;
    oa_attempt_answer(attempt, &answer);
    oa_dispatcher_give_back(dispatcher, now, attempt);
    while (oa_dispatcher_next_notice(dispatcher, &notice))
        continue;
}

/* ---- zlib ---- */

static double zlib_ns(z_stream *zip, oa_str text, size_t *len) {
    static unsigned char packed[2 << 20];
    zip->next_in = (Bytef *)(uintptr_t)text.data;
    zip->avail_in = (uInt)text.len;
    zip->next_out = packed;
    zip->avail_out = sizeof(packed);
    const double start = now_ns();
    expect(deflate(zip, Z_FINISH) == Z_STREAM_END, "zlib refuses");
    *len = zip->total_out;
    deflateReset(zip);
    return now_ns() - start;
}

static void check(oa_str zipped, oa_str text) {
    static unsigned char again[2 << 20];
    z_stream zip = {.next_in = (Bytef *)(uintptr_t)zipped.data,
                    .avail_in = (uInt)zipped.len,
                    .next_out = again,
                    .avail_out = sizeof(again)};
    inflateInit2(&zip, 15 + 16);
    expect(inflate(&zip, Z_FINISH) == Z_STREAM_END && zip.total_out == text.len &&
               memcmp(again, text.data, text.len) == 0,
           "the body is not what it was");
    inflateEnd(&zip);
}

int main(int argc, char **argv) {
    const size_t decisions = argc > 1 ? strtoul(argv[1], NULL, 10) : 999;
    const size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 200;
    uint32_t variant = 0;
    oa_dispatcher *plain = dispatcher_new(false, &variant);
    oa_dispatcher *compressing = dispatcher_new(true, &variant);
    z_stream zip = {0};
    expect(deflateInit2(&zip, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK, "no zlib");

    double best[WAYS] = {1e18, 1e18, 1e18};
    size_t size[WAYS] = {0};
    for (size_t round = 0; round < rounds; round++) {
        const uint64_t seed = draw();
        double ns[WAYS];
        record(plain, variant, decisions, seed);
        record(compressing, variant, decisions, seed);
        now.wall_ms += A_MINUTE_MS;
        now.monotonic_ms += A_MINUTE_MS;
        oa_attempt *texts = render(plain, &ns[PLAIN]);
        oa_attempt *zipped = render(compressing, &ns[GZIP]);
        const oa_str text = oa_attempt_body(texts);
        size[PLAIN] = text.len;
        size[GZIP] = oa_attempt_body(zipped).len;
        check(oa_attempt_body(zipped), text);
        ns[ZLIB] = zlib_ns(&zip, text, &size[ZLIB]);
        end_attempt(plain, texts);
        end_attempt(compressing, zipped);
        for (int way = 0; way < WAYS; way++)
            best[way] = ns[way] < best[way] ? ns[way] : best[way];
    }
    const double count = (double)decisions;
    static const char *const names[WAYS] = {"rendered", "compressed", "by zlib"};
    best[GZIP] -= best[PLAIN];
    for (int way = 0; way < WAYS; way++)
        printf("%-12s %8.1f bytes %8.0f ns a decision\n", names[way], (double)size[way] / count,
               best[way] / count);
    deflateEnd(&zip);
    oa_dispatcher_free(plain);
    oa_dispatcher_free(compressing);
    return 0;
}
