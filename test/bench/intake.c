/*
 * intake.c: what the core does with a decision while the listener is called, without Node.js.
 *
 *   intake [NEW] [TIMES-REPEATED]
 *
 * Users decide once each, and then again. Instructions are counted from outside:
 *
 *   valgrind --tool=callgrind build/bench/intake 200000
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oa.h"

enum { DAY_MS = 24 * 60 * 60 * 1000, HOUR_MS = 60 * 60 * 1000, IN_A_MILLISECOND = 16 };

static oa_str str(const char *text) { return (oa_str){text, strlen(text)}; }

static oa_dispatcher *dispatcher_new(uint32_t *variant) {
    const oa_config config = {
        .api_key = str("0123456789abcdef0123456789abcdef"),
        .library = str("optimizely-amplitude/0.2.0"),
        .event_type = str("Experiment Viewed"),
        .property_prefix = str("[Optimizely] "),
        .server_name = str("https://api2.amplitude.com/2/httpapi"),
        .sends_identify = true,
        .compression = true,
        .min_id_length = 5,
        .flush_queue_size = 200,
        .flush_interval_ms = 10000,
        .flush_max_retries = 12,
        .max_age_ms = DAY_MS,
        .max_queue_bytes = (size_t)1 << 30,
        .max_body_bytes = (1 << 20) - 1,
        .dedupe = true,
        .dedupe_window_ms = DAY_MS,
        .dedupe_refresh_ms = HOUR_MS,
        .dedupe_max_entries = 1000000,
    };
    oa_dispatcher *dispatcher = NULL;
    if (oa_dispatcher_new(&config, &dispatcher) != OA_OK ||
        oa_dispatcher_add_variant(dispatcher, str("checkout_redesign"), str("treatment"),
                                  str("checkout_experiment"), true, variant) != OA_OK) {
        fprintf(stderr, "intake: no memory\n");
        exit(1);
    }
    return dispatcher;
}

/* "user-0000042"; snprintf() would take as long as what is measured. */
static void name_user(char user[12], size_t number) {
    memcpy(user, "user-", 5);
    for (int at = 11; at >= 5; at--, number /= 10)
        user[at] = (char)('0' + number % 10);
}

int main(int argc, char **argv) {
    const size_t users = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;
    const size_t repeated = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    uint32_t variant = 0;
    oa_dispatcher *dispatcher = dispatcher_new(&variant);
    oa_now now = {1764150000000, 1000};
    size_t accepted = 0;
    for (size_t i = 0; i < users * (1 + repeated); i++) {
        char user[12];
        name_user(user, i % users);
        oa_decision decision = {.variant_id = variant, .user_id = {user, sizeof(user)}};
        oa_wake wake;
        now.wall_ms += i % IN_A_MILLISECOND == 0;
        accepted += oa_dispatcher_record(dispatcher, now, &decision, &wake) == OA_OK;
    }
    printf("%zu of %zu decisions are accepted\n", accepted, users * (1 + repeated));
    oa_dispatcher_free(dispatcher);
    return 0;
}
