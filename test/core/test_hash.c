/*
 * hash.c: fixed vectors. A change here changes every insert_id: what a process of the old version
 * sent and one of the new version sends again would be counted twice.
 */
#include "hash.h"
#include "support.h"

static const char API_KEY[] = "0123456789abcdef0123456789abcdef";

static const char *hex(oa_hash hash) {
    static char texts[4][33];
    static size_t at;
    char *text = texts[at++ % 4];
    oa_hash_hex(hash, text);
    text[32] = '\0';
    return text;
}

static void the_key_is_what_it_always_was(void **state) {
    (void)state;
    oa_hash_key key;
    oa_hash_key_init(&key, str(API_KEY));
    assert_memory_equal(key.secret,
                        "\xcc\x9c\x4d\x55\x12\xa0\x5c\x72\xfe\x5f\x63\x78\xa7\x82\x5d\xff", 16);
    for (size_t at = 16; at < sizeof(key.secret); at += 16) /* each part is another one */
        assert_memory_not_equal(key.secret, key.secret + at, 16);
}

static void hashes_are_what_they_always_were(void **state) {
    (void)state;
    oa_hash_key key;
    oa_hash_key_init(&key, str(API_KEY));
    static const char *const vectors[][2] = {
        {"", "39a700528f781dfa3a2b276ed77f154d"},
        {"a", "892bb38ddd4c7ceeaf73ca21920f1d70"},
        {"user-1", "bf406f475a3b3b0d4ecdbf6188388148"},
        {"a user id that is longer than sixteen bytes", "ca50a72a7b296e741b8d754865a84774"},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        assert_string_equal(hex(oa_hash_bytes(&key, vectors[i][0], strlen(vectors[i][0]))),
                            vectors[i][1]);
    char large[1000];
    memset(large, 'z', sizeof(large));
    assert_string_equal(hex(oa_hash_bytes(&key, large, sizeof(large))),
                        "46aaef29cf781cd49d26b66e1b02e973");
    oa_hash_key other;
    oa_hash_key_init(&other, str("another key"));
    assert_string_not_equal(hex(oa_hash_bytes(&other, "a", 1)), hex(oa_hash_bytes(&key, "a", 1)));
}

static void identities_are_what_they_always_were(void **state) {
    (void)state;
    oa_hash_key key;
    oa_hash_key_init(&key, str(API_KEY));
    const oa_str none = str(NULL);
    assert_string_equal(hex(oa_hash_identity(&key, str("user-1"), none)),
                        "bf406f475a3b3b0d4ecdbf6188388148");
    /* With a user id, the device id does not count. */
    assert_string_equal(hex(oa_hash_identity(&key, str("user-1"), str("device"))),
                        "bf406f475a3b3b0d4ecdbf6188388148");
    assert_string_equal(hex(oa_hash_identity(&key, none, str("user-1"))),
                        "bf406f475a3b3b0db132409e77c77eb7");
}

static void digits_are_in_order(void **state) {
    (void)state;
    const oa_hash hash = {UINT64_C(0xfedcba9876543210), UINT64_C(0x0123456789abcdef)};
    assert_string_equal(hex(hash), "0123456789abcdeffedcba9876543210");
    assert_string_equal(hex((oa_hash){0, 0}), "00000000000000000000000000000000");
}

/* The insert_ids of a request, from an API key and decisions to the wire: another release, or
 * another machine, sends the same, or Amplitude counts exposures twice. */
static void expect_ids(bool merged, const char *const *ids, size_t count) {
    world *w = world_new();
    w->config.dedupe = true;
    w->config.sends_identify = !merged;
    w->config.event_sets_property = w->config.sends_exposure = merged;
    world_start(w);
    decide(w, "user-1", "flag", "on");
    assert_int_equal(try_decide(w, "user-1", NULL, "other", NULL, false), OA_OK);
    assert_int_equal(try_decide(w, NULL, "device-1", "flag", "on", true), OA_OK);
    flush_now(w, 3, 0, 0);
    const arrival *request = &w->server.arrivals[0];
    assert_int_equal(arrival_count(request), count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(text_of(arrival_event(request, i), "insert_id"), ids[i]);
    world_end(w);
}

static void insert_ids_are_what_they_always_were(void **state) {
    (void)state;
    static const char *const ids[] = {
        "819016c5cff444ea5e7c70332651e997", "819016c5cff444eaa4271ccb50d8ae10",
        "8ae32f60213582e0f29fe8d85c054907", "79e37bbbebf0aa0f1f138f4340969fe1",
        "79e37bbbebf0aa0f55a38f8796cb3c44",
    };
    static const char *const others[] = {
        "abeff24a334eae7bc75c4c4d67d71e94", "dc4d40e4a952415b465298cbb8cbc419",
        "1e8eb24c12a46251586de61d1eb8ef2b", "1faed38d6e9fc1d6bc0449109ff7c5c9",
        "5cf7b02fcdce7116d1903c38c3fb8b61", "92625d00de72688354c24ed1c596b86f",
    };
    expect_ids(false, ids, 5);
    expect_ids(true, others, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_key_is_what_it_always_was),
        cmocka_unit_test(hashes_are_what_they_always_were),
        cmocka_unit_test(identities_are_what_they_always_were),
        cmocka_unit_test(digits_are_in_order),
        cmocka_unit_test(insert_ids_are_what_they_always_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
