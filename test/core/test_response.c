/* response.c: what each answer of Amplitude, or of a proxy before it, does to a request. */
#include "amplitude/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>
#include <pthread.h>

#include "mem.h"
#include "queue.h"

/* A request under test: its records, and the events that stand for them. */
typedef struct request {
    oa_arena arena;
    oa_queue queue;
    oa_variant *variant;
    oa_batch *batch;
    size_t carried;
    size_t event_count;
    oa_event_owner owners[4096];
    oa_outcome outcome;
    char message[OA_RESPONSE_MESSAGE_BYTES];
} request;

static oa_str str(const char *text) {
    return text == NULL ? (oa_str){NULL, 0} : (oa_str){text, strlen(text)};
}

static void add_record(request *r, oa_str user_id, oa_str device_id) {
    const oa_decision decision = {.user_id = user_id, .device_id = device_id};
    oa_record *record = NULL;
    assert_int_equal(oa_queue_append(&r->queue, r->variant, &decision, &record), OA_OK);
    oa_batch_add(r->batch, oa_queue_take(&r->queue));
    r->carried++;
}

/* An event for records [first, first + count). */
static void add_event(request *r, size_t first, size_t count) {
    r->owners[r->event_count++] = (oa_event_owner){(uint16_t)first, (uint16_t)count};
}

/* A decision of its own: a $identify and an event. */
static void add(request *r, const char *user_id, const char *device_id) {
    add_record(r, str(user_id), str(device_id));
    add_event(r, r->carried - 1, 1);
    add_event(r, r->carried - 1, 1);
}

static request *request_new(void) {
    request *r = calloc(1, sizeof(*r));
    assert_non_null(r);
    oa_hash_key key;
    oa_hash_key_init(&key, str("key"));
    const oa_variant_style style = {&key, str("[Optimizely] "), false};
    oa_arena_init(&r->arena, 16 << 20);
    r->arena.chunk_bytes = 1024; /* each record is taken at once, and so has a chunk of its own */
    oa_queue_init(&r->queue, &r->arena);
    assert_int_equal(oa_variant_new(&style, str("flag"), str("on"), str("rule"), true, &r->variant),
                     OA_OK);
    assert_int_equal(oa_batch_new(4096, &r->batch), OA_OK);
    return r;
}

static void request_free(request *r) {
    for (size_t i = 0; i < r->batch->count; i++)
        oa_record_release(&r->arena, r->batch->records[i]);
    oa_batch_free(r->batch);
    oa_variant_unref(r->variant);
    oa_arena_clear(&r->arena);
    free(r);
}

/*
 * Five decisions. Events: 0 the $identify shared by records 0 and 1 (anna), 1 and 2 theirs; 3 and 4
 * of record 2 (bernd on phone), 5 and 6 of record 3 (tablet, no user), 7 and 8 of record 4 (anna
 * again).
 */
static request *usual(void) {
    request *r = request_new();
    add_record(r, str("anna@example.com"), str(NULL));
    add_record(r, str("anna@example.com"), str(NULL));
    add_event(r, 0, 2);
    add_event(r, 0, 1);
    add_event(r, 1, 1);
    add(r, "bernd", "phone");
    add(r, NULL, "tablet");
    add(r, "anna@example.com", NULL);
    return r;
}

static oa_outcome answer_bytes(request *r, int status, oa_str body) {
    /* The body in memory of its own size, so that a sanitizer sees what is read behind it. */
    char *exact = malloc(body.len > 0 ? body.len : 1);
    assert_non_null(exact);
    if (body.len > 0)
        memcpy(exact, body.data, body.len);
    memset(r->batch->marks, 0xee, r->batch->cap);
    r->owners[r->event_count] = (oa_event_owner){0, 1}; /* behind the end */
    memset(r->message, 0xee, sizeof(r->message));
    r->outcome = oa_response_read(status, (oa_str){exact, body.len}, false, r->batch, r->carried,
                                  r->owners, r->event_count, r->message);
    free(exact);
    const size_t len = strnlen(r->message, sizeof(r->message));
    assert_true(len < sizeof(r->message));
    for (size_t i = 0; i < len; i++)
        assert_in_range(r->message[i], ' ', '~');
    for (size_t i = 0; r->outcome != OA_OUTCOME_LISTED && i < r->batch->count; i++)
        assert_int_equal(r->batch->marks[i], OA_MARK_KEEP);
    return r->outcome;
}

static oa_outcome answer(request *r, int status, const char *body) {
    return answer_bytes(r, status, str(body));
}

/* The marks as letters: Keep, Invalid, Quota, Throttled, Alone; others are none of an answer's. */
static const char *marks(const request *r) {
    static char letters[64];
    for (size_t i = 0; i < r->batch->count; i++) {
        assert_in_range(r->batch->marks[i], OA_MARK_KEEP, OA_MARK_ALONE);
        letters[i] = "KIQT???A"[r->batch->marks[i]];
    }
    letters[r->batch->count] = '\0';
    return letters;
}

/* One answer to the usual request: its outcome, and its marks where it lists something. */
static void expect(int status, const char *body, oa_outcome outcome, const char *letters) {
    request *r = usual();
    assert_int_equal(answer(r, status, body), outcome);
    assert_string_equal(marks(r), letters);
    request_free(r);
}

static void expect_listed(int status, const char *body, const char *letters) {
    expect(status, body, OA_OUTCOME_LISTED, letters);
}

static void expect_message(int status, const char *body, const char *message) {
    request *r = usual();
    (void)answer(r, status, body);
    assert_string_equal(r->message, message);
    request_free(r);
}

#define KEPT "KKKKK"
#define LISTING "{\"events_with_invalid_fields\":{\"time\":[3]}}"

static void a_2xx_is_accepted_unless_it_says_otherwise(void **state) {
    (void)state;
    static const char *const BODIES[] = {
        "",  "{\"code\":200,\"events_ingested\":9}", LISTING, "rubbish",
        "{", "{\"error\":\"Invalid API key\"}",      "null",  "{\"code\":\"500\"}"};
    for (int status = 200; status < 300; status++)
        for (size_t i = 0; i < sizeof(BODIES) / sizeof(BODIES[0]); i++)
            expect(status, BODIES[i], OA_OUTCOME_ACCEPTED, KEPT);
    /* A captive portal, and a gateway that has its own code. */
    expect(200, "<html>Please log in</html>", OA_OUTCOME_OUTAGE, KEPT);
    expect(200, " \r\n<!DOCTYPE html>", OA_OUTCOME_OUTAGE, KEPT);
    expect(200, "{\"code\":500}", OA_OUTCOME_OUTAGE, KEPT);
    expect(200, "{\"code\":503,\"error\":\"x\"}", OA_OUTCOME_OUTAGE, KEPT);
    expect(200, "{\"code\":404}", OA_OUTCOME_BAD_REQUEST, KEPT);
    expect(200, "{\"code\":413}", OA_OUTCOME_OUTAGE, KEPT);
    expect(200, "{\"code\":400}", OA_OUTCOME_OUTAGE, KEPT);
    expect(200, "{\"code\":422,\"error\":\"x\"}", OA_OUTCOME_OUTAGE, KEPT);
    expect(200, "{\"code\":400,\"error\":\"Invalid API key\"}", OA_OUTCOME_BAD_API_KEY, KEPT);
    expect(200, "{\"code\":400,\"events_with_invalid_fields\":{\"time\":[3]}}", OA_OUTCOME_LISTED,
           "KKIKK");
}

static void amplitude_says_that_it_accepts(void **state) {
    (void)state;
    static const struct {
        const char *body;
        oa_outcome outcome;
    } CASES[] = {
        {"{\"code\":200,\"events_ingested\":9}", OA_OUTCOME_ACCEPTED},
        {"{\"code\":200}", OA_OUTCOME_ACCEPTED},
        {"", OA_OUTCOME_OUTAGE},
        {"{}", OA_OUTCOME_OUTAGE},
        {"rubbish", OA_OUTCOME_OUTAGE},
        {"{\"code\":\"200\"}", OA_OUTCOME_OUTAGE},
        {"{\"code\":201}", OA_OUTCOME_OUTAGE},
        {"{\"code\":200", OA_OUTCOME_OUTAGE},
        {"<html>", OA_OUTCOME_OUTAGE},
        {"{\"code\":400}", OA_OUTCOME_OUTAGE},
    };
    request *r = usual();
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++)
        assert_int_equal(oa_response_read(200, str(CASES[i].body), true, r->batch, r->carried,
                                          r->owners, r->event_count, r->message),
                         CASES[i].outcome);
    request_free(r);
}

static void a_413_is_too_large_whatever_it_says(void **state) {
    (void)state;
    expect(413, "{\"code\":413,\"error\":\"Payload too large\"}", OA_OUTCOME_TOO_LARGE, KEPT);
    expect(413, "<html><h1>413 Request Entity Too Large</h1></html>", OA_OUTCOME_TOO_LARGE, KEPT);
    expect(413, "", OA_OUTCOME_TOO_LARGE, KEPT);
    expect(413, LISTING, OA_OUTCOME_TOO_LARGE, KEPT);
    expect(413, "{\"error\":\"Invalid API key\"}", OA_OUTCOME_TOO_LARGE, KEPT);
}

static void servers_in_trouble_are_an_outage(void **state) {
    (void)state;
    static const int STATUSES[] = {-1,  0,   100, 101, 199, 408, 500, 501,
                                   502, 503, 504, 511, 599, 600, 999, 65536};
    static const char *const BODIES[] = {"", "{}", LISTING, "<html>",
                                         "{\"error\":\"Invalid API key\"}"};
    for (size_t i = 0; i < sizeof(STATUSES) / sizeof(STATUSES[0]); i++)
        for (size_t j = 0; j < sizeof(BODIES) / sizeof(BODIES[0]); j++)
            expect(STATUSES[i], BODIES[j], OA_OUTCOME_OUTAGE, KEPT);
}

static void some_statuses_are_about_the_request_whatever_they_say(void **state) {
    (void)state;
    static const int STATUSES[] = {300, 301, 302, 307, 308, 399, 401,
                                   403, 404, 405, 407, 410, 415, 451};
    static const char *const BODIES[] = {"", "{}", LISTING, "<html>",
                                         "{\"error\":\"Invalid API key\"}"};
    for (size_t i = 0; i < sizeof(STATUSES) / sizeof(STATUSES[0]); i++)
        for (size_t j = 0; j < sizeof(BODIES) / sizeof(BODIES[0]); j++)
            expect(STATUSES[i], BODIES[j], OA_OUTCOME_BAD_REQUEST, KEPT);
}

static void a_bad_api_key_is_known_by_text_or_field(void **state) {
    (void)state;
    expect(400, "{\"code\":400,\"error\":\"Invalid API key\"}", OA_OUTCOME_BAD_API_KEY, KEPT);
    expect(400, "{\"error\":\"Invalid API key: 0123\"}", OA_OUTCOME_BAD_API_KEY, KEPT);
    expect(400, "{\"error\":\"Request missing required field\",\"missing_field\":\"api_key\"}",
           OA_OUTCOME_BAD_API_KEY, KEPT);
    /* Before any list. */
    expect(400, "{\"events_with_missing_fields\":{\"user_id\":[1]},\"missing_field\":\"api_key\"}",
           OA_OUTCOME_BAD_API_KEY, KEPT);
    expect(400, "{\"error\":\"x\",\"error\":\"Invalid API key\"}", OA_OUTCOME_BAD_API_KEY, KEPT);
    expect(400, "{\"error\":\"Invalid API key\",\"error\":\"x\"}", OA_OUTCOME_BAD_API_KEY, KEPT);
    /* Not quite. */
    expect(400, "{\"error\":\"An Invalid API key\"}", OA_OUTCOME_REFUSED, KEPT);
    expect(400, "{\"error\":\"invalid api key\"}", OA_OUTCOME_REFUSED, KEPT);
    expect(400, "{\"Error\":\"Invalid API key\"}", OA_OUTCOME_REFUSED, KEPT);
    expect(400, "{\"missing_field\":\"api_keys\"}", OA_OUTCOME_REFUSED, KEPT);
    expect(400, "{\"missing_field\":[\"api_key\"]}", OA_OUTCOME_REFUSED, KEPT);
    expect(400, "{\"a\":{\"missing_field\":\"api_key\"}}", OA_OUTCOME_REFUSED, KEPT);
    expect(429, "{\"error\":\"Invalid API key\"}", OA_OUTCOME_OUTAGE, KEPT);
}

static void a_400_lists_events_by_field(void **state) {
    (void)state;
    expect_listed(400,
                  "{\"code\":400,\"error\":\"Invalid field values on some events\","
                  "\"events_with_invalid_fields\":{\"time\":[3]}}",
                  "KKIKK");
    expect_listed(400, "{\"events_with_missing_fields\":{\"event_type\":[6]}}", "KKKIK");
    expect_listed(400, "{\"events_with_invalid_id_lengths\":{\"user_id\":[8]}}", "KKKKI");
    expect_listed(400,
                  "{\"events_with_invalid_fields\":{\"time\":[1,3],\"ip\":[],\"x\":[7,1]},"
                  "\"events_with_missing_fields\":{\"event_type\":[5]}}",
                  "IKIII");
    expect_listed(400, "{\"events_with_invalid_fields\":[2]}", "KIKKK");
    /* Other refusals that list are obeyed alike. */
    expect_listed(402, LISTING, "KKIKK");
    expect_listed(422, LISTING, "KKIKK");
    expect_listed(422, LISTING, "KKIKK");
    expect_listed(429, LISTING, "KKIKK");
}

static void a_400_lists_what_was_silenced(void **state) {
    (void)state;
    expect_listed(400,
                  "{\"code\":400,\"eps_threshold\":100,\"error\":\"Events silenced for device_id\","
                  "\"exceeded_daily_quota_devices\":{},\"silenced_devices\":[\"tablet\"],"
                  "\"silenced_events\":[3,99],\"throttled_devices\":{\"d1\":0,\"d2\":100},"
                  "\"throttled_events\":[]}",
                  "KKIIK");
    expect_listed(400, "{\"silenced_devices\":{\"phone\":1}}", "KKIKK");
    expect(400, "{\"silenced_devices\":[\"bernd\"]}", OA_OUTCOME_REFUSED, KEPT);
}

static void a_shared_identify_that_is_listed_sends_its_records_alone(void **state) {
    (void)state;
    expect_listed(400, "{\"events_with_invalid_fields\":{\"user_properties\":[0]}}", "AAKKK");
    expect_listed(400, "{\"events_with_invalid_fields\":{\"user_properties\":[0,1]}}", "IAKKK");
    expect_listed(400, "{\"events_with_invalid_fields\":{\"user_properties\":[2,0]}}", "AIKKK");
    expect_listed(400, "{\"silenced_events\":[0]}", "AAKKK");
    /* Not shared: its record is to blame. */
    expect_listed(400, "{\"events_with_invalid_fields\":{\"user_properties\":[3]}}", "KKIKK");
    /* Its user has to wait: all of it waits. */
    expect_listed(429, "{\"throttled_events\":[0]}", "TTKKT");
}

static void a_429_lists_users_and_devices(void **state) {
    (void)state;
    expect_listed(429,
                  "{\"code\":429,\"error\":\"Too many requests for some devices and users\","
                  "\"eps_threshold\":30,\"throttled_devices\":{\"tablet\":31},"
                  "\"throttled_users\":{\"anna@example.com\":32},\"throttled_events\":[]}",
                  "TTKTT");
    expect_listed(429, "{\"throttled_users\":[\"bernd\",\"nobody\"]}", "KKTKK");
    expect_listed(429, "{\"throttled_devices\":[\"phone\"]}", "KKTKK");
    expect_listed(429, "{\"throttled_devices\":{\"tablet\":0}}", "KKKTK");
    expect_listed(429, "{\"throttled_users\":{\"bernd\":null},\"throttled_users\":[\"bernd\"]}",
                  "KKTKK");
    /* A name is looked up where it belongs. */
    expect(429, "{\"throttled_devices\":{\"bernd\":31,\"anna@example.com\":1}}", OA_OUTCOME_OUTAGE,
           KEPT);
    expect(429, "{\"throttled_users\":{\"phone\":31,\"tablet\":1}}", OA_OUTCOME_OUTAGE, KEPT);
    expect_listed(400, "{\"throttled_users\":{\"bernd\":31}}", "KKTKK");
}

static void a_throttled_event_holds_all_of_its_user_back(void **state) {
    (void)state;
    expect_listed(429, "{\"throttled_events\":[8]}", "TTKKT");
    expect_listed(429, "{\"throttled_events\":[2]}", "TTKKT");
    expect_listed(429, "{\"throttled_events\":[6]}", "KKKTK");
    /* What is refused for good does not have to wait. */
    expect_listed(429, "{\"throttled_events\":[7],\"events_with_invalid_fields\":{\"time\":[1]}}",
                  "ITKKT");
    expect_listed(429, "{\"throttled_events\":[7],\"events_with_invalid_fields\":{\"time\":[0]}}",
                  "TTKKT");

    /* One user is one user id, whatever the devices; or one device, if there is no user id. */
    request *r = request_new();
    add(r, "anna", "phone");
    add(r, "anna", "tablet");
    add(r, NULL, "phone");
    add(r, "bernd", "phone");
    add(r, NULL, "phone");
    add(r, "phone", NULL);
    assert_int_equal(answer(r, 429, "{\"throttled_events\":[0]}"), OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "TTKKKK");
    assert_int_equal(answer(r, 429, "{\"throttled_events\":[4]}"), OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "KKTKTK");
    assert_int_equal(answer(r, 429, "{\"throttled_events\":[10]}"), OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "KKKKKT");
    assert_int_equal(answer(r, 429, "{\"throttled_devices\":{\"tablet\":1}}"), OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "TTKKKK");
    assert_int_equal(answer(r, 429, "{\"throttled_devices\":{\"phone\":1}}"), OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "TTTTTK");
    request_free(r);
}

static void the_daily_quota_comes_before_all(void **state) {
    (void)state;
    expect_listed(429, "{\"exceeded_daily_quota_users\":{\"anna@example.com\":500200}}", "QQKKQ");
    expect_listed(429, "{\"exceeded_daily_quota_devices\":{\"phone\":500900}}", "KKQKK");
    expect_listed(429, "{\"exceeded_daily_quota_devices\":[\"tablet\"]}", "KKKQK");
    expect_listed(429,
                  "{\"throttled_events\":[0,3,5],\"throttled_users\":{\"anna@example.com\":1},"
                  "\"exceeded_daily_quota_users\":{\"anna@example.com\":500200}}",
                  "QQTTQ");
    expect_listed(
        429,
        "{\"exceeded_daily_quota_users\":{\"bernd\":1},\"throttled_devices\":{\"phone\":1},"
        "\"events_with_invalid_fields\":{\"a\":[0,3,4,5]}}",
        "AAQIK");
    expect_listed(429,
                  "{\"exceeded_daily_quota_users\":{\"bernd\":1},\"silenced_devices\":[\"phone\"]}",
                  "KKQKK");
    expect_listed(429,
                  "{\"exceeded_daily_quota_users\":[\"bernd\"],\"throttled_users\":[\"bernd\"]}",
                  "KKQKK");
}

/* Whichever list comes first. */
static void the_worst_mark_of_a_record_counts(void **state) {
    (void)state;
    static const char *const lists[] = {"\"throttled_events\":[3]",
                                        "\"events_with_invalid_fields\":{\"time\":[3]}",
                                        "\"exceeded_daily_quota_users\":[\"bernd\"]"};
    static const char *const listed[] = {"KKTKK", "KKIKK", "KKQKK"};
    for (size_t first = 0; first < 3; first++)
        for (size_t second = 0; second < 3; second++) {
            char body[128];
            snprintf(body, sizeof(body), "{%s,%s}", lists[first], lists[second]);
            expect_listed(429, body, listed[first > second ? first : second]);
        }
    /* A part in a shared $identify that is refused is the least of them. */
    expect_listed(
        429,
        "{\"events_with_invalid_fields\":{\"a\":[0]},\"throttled_users\":[\"anna@example.com\"]}",
        "TTKKT");
    expect_listed(
        429,
        "{\"throttled_users\":[\"anna@example.com\"],\"events_with_invalid_fields\":{\"a\":[0]}}",
        "TTKKT");
}

static void a_list_that_hits_nothing_is_no_list(void **state) {
    (void)state;
    static const char *const BODIES[] = {
        "{}",
        "{\"code\":429,\"error\":\"Too many requests\"}",
        "{\"events_with_invalid_fields\":{}}",
        "{\"events_with_invalid_fields\":{\"time\":[]}}",
        "{\"events_with_invalid_fields\":{\"time\":[9]}}",
        "{\"events_with_invalid_fields\":{\"time\":[-1]}}",
        "{\"events_with_invalid_fields\":{\"time\":[3.5,2.0000001,0.1]}}",
        "{\"events_with_invalid_fields\":{\"time\":[1e300,-1e300,1e999,-1e999,1e-300]}}",
        "{\"events_with_invalid_fields\":{\"time\":[2147483647,2147483648,4294967296]}}",
        "{\"events_with_invalid_fields\":{\"time\":[18446744073709551616,9007199254740993]}}",
        "{\"events_with_invalid_fields\":{\"time\":[\"3\",true,false,null,{},[]]}}",
        "{\"events_with_invalid_fields\":{\"time\":[[3],{\"a\":3}]}}",
        "{\"events_with_invalid_fields\":3}",
        "{\"events_with_invalid_fields\":\"3\"}",
        "{\"Events_With_Invalid_Fields\":{\"time\":[3]}}",
        "{\"events_with_invalid_fields\\u0000\":1,\"events\":{\"time\":[3]}}",
        "{\"nested\":{\"events_with_invalid_fields\":{\"time\":[3]}}}",
        "{\"throttled_users\":{}}",
        "{\"throttled_users\":{\"nobody\":31}}",
        "{\"throttled_users\":{\"\":31},\"throttled_devices\":[\"\"]}",
        "{\"throttled_users\":{\"bern\":31,\"berndt\":1,\"Bernd\":1,\"BERND\":1,\" bernd\":1}}",
        "{\"throttled_users\":[1,null,[\"bernd\"],{\"bernd\":1}]}",
        "{\"throttled_users\":\"bernd\"}",
        "{\"throttled_users\":{\"users\":{\"bernd\":1}}}",
        "{\"Throttled_Users\":{\"bernd\":1}}",
    };
    for (size_t i = 0; i < sizeof(BODIES) / sizeof(BODIES[0]); i++) {
        expect(400, BODIES[i], OA_OUTCOME_REFUSED, KEPT);
        expect(402, BODIES[i], OA_OUTCOME_REFUSED, KEPT);
        expect(422, BODIES[i], OA_OUTCOME_REFUSED, KEPT);
        expect(429, BODIES[i], OA_OUTCOME_OUTAGE, KEPT);
    }
}

static void numbers_may_be_written_in_any_way(void **state) {
    (void)state;
    expect_listed(400, "{\"silenced_events\":[3.0]}", "KKIKK");
    expect_listed(400, "{\"silenced_events\":[30e-1]}", "KKIKK");
    expect_listed(400, "{\"silenced_events\":[0.3e1]}", "KKIKK");
    expect_listed(400, "{\"silenced_events\":[-0]}", "AAKKK");
    expect_listed(400, "{\"silenced_events\":[99,-3,\"x\",3]}", "KKIKK");
}

static void a_page_that_is_not_a_json_object_is_an_outage(void **state) {
    (void)state;
    static const char *const PAGES[] = {
        "",
        " ",
        "\r\n",
        "<html><body>403 Forbidden</body></html>",
        "Forbidden",
        "null",
        "true",
        "3",
        "\"Invalid API key\"",
        "[]",
        "[3]",
        "[{\"silenced_events\":[3]}]",
        "{",
        "}",
        "{\"a\"",
        "{\"silenced_events\":[3]",
        "{\"silenced_events\":[3]}x",
        "{\"silenced_events\":[3]}{}",
        "{\"silenced_events\":[3],}",
        "{silenced_events:[3]}",
        "{'silenced_events':[3]}",
        "{\"error\":\"\\ud800\",\"silenced_events\":[3]}",
        "{\"error\":\"\\x\"}",
        "{\"silenced_events\":[NaN]}",
        "{\"silenced_events\":[Infinity]}",
        "{\\u0000}",
        "\\u0000",
        "\\",
        "{\"a\":\"\\",
        "{\"a\":\"\\u",
        "{\"a\":\"\\u0",
        "{\"a\":\"\\u0000",
        "{\"a\":\"\\\\u0000",
        "\xef\xbb\xbf",
    };
    static const int STATUSES[] = {400, 402, 406, 409, 418, 421, 422, 429, 499};
    for (size_t i = 0; i < sizeof(PAGES) / sizeof(PAGES[0]); i++)
        for (size_t j = 0; j < sizeof(STATUSES) / sizeof(STATUSES[0]); j++)
            expect(STATUSES[j], PAGES[i], OA_OUTCOME_OUTAGE, KEPT);
    /* Bytes that are not text at all. */
    request *r = usual();
    static const char NUL_BEHIND[] = "{\"silenced_events\":[3]}";
    assert_int_equal(answer_bytes(r, 400, (oa_str){NUL_BEHIND, sizeof(NUL_BEHIND)}),
                     OA_OUTCOME_OUTAGE);
    static const char NUL_WITHIN[] = "{\"throttled_users\":{\"bernd\0x\":1}}";
    assert_int_equal(answer_bytes(r, 429, (oa_str){NUL_WITHIN, sizeof(NUL_WITHIN) - 1}),
                     OA_OUTCOME_OUTAGE);
    assert_int_equal(answer_bytes(r, 429, (oa_str){NULL, 0}), OA_OUTCOME_OUTAGE);
    request_free(r);
    /* What may surround an object. */
    expect_listed(400, " \t\r\n{\"silenced_events\":[3]}\r\n ", "KKIKK");
    expect_listed(400, "\xef\xbb\xbf{\"silenced_events\":[3]}", "KKIKK");
}

static void every_prefix_of_an_answer_is_an_outage(void **state) {
    (void)state;
    static const char BODY[] =
        "{\"code\":429,\"error\":\"Too many \\u00e4 \\ud83d\\ude00 requests\",\"eps_threshold\":30,"
        "\"throttled_devices\":{\"tablet\":31},\"throttled_users\":{\"ber\\u006ed\":32},"
        "\"throttled_events\":[3,4,-7.5e1]}";
    request *r = usual();
    for (size_t len = 0; len < sizeof(BODY) - 1; len++)
        assert_int_equal(answer_bytes(r, 429, (oa_str){BODY, len}), OA_OUTCOME_OUTAGE);
    assert_int_equal(answer(r, 429, BODY), OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "KKTTK");
    request_free(r);
}

static void depth_is_bounded(void **state) {
    (void)state;
    enum { DEPTH = 100000 };
    static const char BEFORE[] = "{\"silenced_events\":[3],\"a\":";
    static const char *const OPEN[] = {"[", "{\"a\":"};
    static const char *const CLOSE[] = {"]", "}"};
    char *body = malloc(sizeof(BEFORE) + DEPTH * 6 + 8);
    assert_non_null(body);
    for (int kind = 0; kind < 2; kind++) {
        char *at = stpcpy(body, BEFORE);
        for (int i = 0; i < DEPTH; i++)
            at = stpcpy(at, OPEN[kind]);
        at = stpcpy(at, "1");
        for (int i = 0; i < DEPTH; i++)
            at = stpcpy(at, CLOSE[kind]);
        strcpy(at, "}");
        expect(400, body, OA_OUTCOME_OUTAGE, KEPT);
    }
    free(body);
}

static void ids_match_byte_by_byte(void **state) {
    (void)state;
    request *r = request_new();
    add_record(r, (oa_str){"ann\0e", 5}, str(NULL));
    add_record(r, str("ann"), str(NULL));
    add_record(r, str("j\xc3\xbcrgen \"x\" \\"), str(NULL));
    add_record(r, str("\xf0\x9f\x98\x80"), str(NULL));
    add_record(r, str("ann\\u0000e"), str(NULL));
    assert_int_equal(answer(r, 429, "{\"throttled_users\":[\"ann\\u0000e\"]}"), OA_OUTCOME_OUTAGE);
    assert_int_equal(answer(r, 429, "{\"throttled_users\":{\"ann\\u0000\":1,\"\\u0000\":1}}"),
                     OA_OUTCOME_OUTAGE);
    assert_int_equal(answer(r, 429, "{\"throttled_users\":[\"ann\"]}"), OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "KTKKK");
    assert_int_equal(answer(r, 429, "{\"throttled_users\":[\"j\\u00fcrgen \\\"x\\\" \\\\\"]}"),
                     OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "KKTKK");
    assert_int_equal(answer(r, 429, "{\"throttled_users\":[\"\\ud83d\\ude00\"]}"),
                     OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "KKKTK");
    assert_int_equal(answer(r, 429, "{\"throttled_users\":[\"ann\\\\u0000e\"]}"),
                     OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "KKKKT");
    assert_int_equal(answer(r, 429, "{\"throttled_users\":[\"ann\\\\\\u0000e\"]}"),
                     OA_OUTCOME_OUTAGE);
    request_free(r);
}

static void only_what_was_carried_is_marked(void **state) {
    (void)state;
    request *r = usual();
    r->carried = 3; /* the last two did not fit */
    r->event_count = 5;
    assert_int_equal(answer(r, 429,
                            "{\"throttled_users\":[\"anna@example.com\"],"
                            "\"throttled_devices\":[\"tablet\"],\"silenced_events\":[4,5,6,7]}"),
                     OA_OUTCOME_LISTED);
    assert_string_equal(marks(r), "TTIKK");
    assert_int_equal(answer(r, 429, "{\"throttled_devices\":[\"tablet\"]}"), OA_OUTCOME_OUTAGE);
    request_free(r);
}

static void messages_say_what_happened_in_one_line(void **state) {
    (void)state;
    expect_message(400, "{\"code\":400,\"error\":\"Invalid event JSON\"}",
                   "400: Invalid event JSON");
    expect_message(403, "{\"message\":\"Forbidden\"}", "403: Forbidden");
    expect_message(403, "{\"message\":\"x\",\"error\":\"y\",\"message\":\"z\"}", "403: y");
    expect_message(503, "{\"code\":503,\"error\":\"Service unavailable\"}",
                   "503: Service unavailable");
    expect_message(200, "{\"code\":500,\"error\":\"Service unavailable\"}",
                   "200: Service unavailable");
    expect_message(200, "{\"code\":400}",
                   "200: no \"code\":200 in it, so it is not Amplitude's answer");
    expect_message(413, "{\"error\":\"Payload too large\"}", "413: Payload too large");
    expect_message(429, "{\"throttled_users\":{\"bernd\":31}}", "429: no error text");
    expect_message(403, "{\"error\":{\"http_code\":403}}", "403: no error text");
    expect_message(502, "\r\n <html>\r\n\t<title>502 Bad\x01Gateway</title>\n",
                   "502: <html> <title>502 Bad Gateway</title>");
    expect_message(503,
                   "Gr\xc3\xbc\xc3\x9f"
                   "e\x7f\n",
                   "503: Gr????e?");
    expect_message(400, "{\"error\":\"a\\nb\\u0007c\\u00e9 \\u0000d\"}", "400: a b c?? ??????d");
    expect_message(500, "", "500: empty answer");
    expect_message(500, " \n", "500: empty answer");
    expect_message(429, "{\"throttled_users\":{\"bernd\":31", "429: unreadable JSON");
    expect_message(429, "[\"bernd\"]", "429: unreadable JSON");
    expect_message(0, "", "0: empty answer");
    static const int REDIRECTS[] = {300, 301, 302, 303, 304, 307, 308};
    for (size_t i = 0; i < sizeof(REDIRECTS) / sizeof(REDIRECTS[0]); i++) {
        char message[100];
        (void)snprintf(message, sizeof(message), "%d: redirects are not followed", REDIRECTS[i]);
        expect_message(REDIRECTS[i], "<a href=\"https://example.com/?k=1\">Moved</a>", message);
    }
}

static void messages_are_bounded(void **state) {
    (void)state;
    char body[5000];
    memset(body, 'x', sizeof(body));
    request *r = usual();
    assert_int_equal(answer_bytes(r, 502, (oa_str){body, sizeof(body)}), OA_OUTCOME_OUTAGE);
    assert_int_equal(strlen(r->message), sizeof(r->message) - 1);
    memset(body, ' ', sizeof(body));
    body[sizeof(body) - 1] = 'x';
    assert_int_equal(answer_bytes(r, -2147483647, (oa_str){body, sizeof(body)}), OA_OUTCOME_OUTAGE);
    assert_string_equal(r->message, "-2147483647: x");
    request_free(r);
}

static void messages_hold_nothing_of_the_request(void **state) {
    (void)state;
    expect_message(400, "{\"error\":\"Invalid API key: swordfish\"}",
                   "400: Invalid or missing API key");
    expect_message(200, "{\"code\":500,\"error\":\"Invalid API key: swordfish\"}",
                   "200: no \"code\":200 in it, so it is not Amplitude's answer");
    expect_message(400,
                   "{\"error\":\"Request missing required field\",\"missing_field\":\"api_key\"}",
                   "400: Invalid or missing API key");
    expect_message(403, "blocked: anna@example.com on phone",
                   "403: blocked: **************** on *****");
    expect_message(400, "{\"error\":\"bad user bernd.\"}", "400: bad user *****.");
    expect_message(500, "key=0123456789abcdef0123456789ABCDEF&x",
                   "500: key=*****"
                   "***************************&x");
    expect_message(500, "ray=0123456789abcdef0123456789ABCDE",
                   "500: ray=0123456789abcdef0123456789ABCDE");

    expect_message(500, "0123456789abcdef0123456789abcdef0123",
                   "500: ************************************");

    /* Ids that overlap, that are short, and that end where the message does. */
    request *r = request_new();
    add(r, "annaann", "on");
    add(r, "annaannanna", NULL);
    char long_id[401];
    memset(long_id, 'y', sizeof(long_id) - 1);
    long_id[sizeof(long_id) - 1] = '\0';
    add(r, long_id, NULL);
    assert_int_equal(answer(r, 500, "error on annaannannaannann annx annaan"), OA_OUTCOME_OUTAGE);
    assert_string_equal(r->message, "500: error on **************ann annx ******");
    char body[1000];
    (void)snprintf(body, sizeof(body), "%150s %s", "x", long_id);
    assert_int_equal(answer(r, 500, body), OA_OUTCOME_OUTAGE);
    assert_null(strchr(r->message, 'y'));
    for (int pad = 0; pad < 300; pad++) {
        memset(body, '-', (size_t)pad);
        strcpy(body + pad, "0123456789abcdef0123456789abcdef annaannanna");
        assert_int_equal(answer(r, 500, body), OA_OUTCOME_OUTAGE);
        assert_null(strstr(r->message, "01"));
        assert_null(strchr(r->message, 'n'));
    }
    request_free(r);
}

/* Two thousand listed users of 1024 bytes, every other one of which has a record. */
static void the_longest_lists_are_read(void **state) {
    (void)state;
    enum { LISTED = 2000, ID_BYTES = 1024 };
    request *r = request_new();
    char id[ID_BYTES + 1];
    char *body = malloc(OA_ANSWER_MAX_BYTES);
    assert_non_null(body);
    char *at = body + sprintf(body, "{\"error\":\"Too many\",\"throttled_users\":{");
    for (int i = 0; i < LISTED; i++) {
        (void)snprintf(id, sizeof(id), "%0*d", ID_BYTES, i);
        at += sprintf(at, "%s\"%s\":31", i > 0 ? "," : "", id);
        if (i % 2 == 0)
            add_record(r, str(id), str(NULL));
    }
    (void)snprintf(id, sizeof(id), "%0*d", ID_BYTES, LISTED);
    add_record(r, str(id), str(NULL));
    strcpy(at, "}}");
    assert_true(strlen(body) < OA_ANSWER_MAX_BYTES);
    assert_int_equal(answer(r, 429, body), OA_OUTCOME_LISTED);
    for (size_t i = 0; i < LISTED / 2; i++)
        assert_int_equal(r->batch->marks[i], OA_MARK_THROTTLED);
    assert_int_equal(r->batch->marks[LISTED / 2], OA_MARK_KEEP);
    free(body);
    request_free(r);
}

static size_t allocated; /* by cJSON, and by the core */

static bool count_bytes(size_t size) {
    allocated += size;
    return true;
}

static void *count_tree(size_t size) {
    allocated += size;
    return malloc(size);
}

/* Hostile answers: as many values as fit. They may be refused, but must not cost unbounded memory
 * or time. */
static void the_worst_bodies_are_bounded(void **state) {
    (void)state;
    static const char *const UNITS[] = {"1,", "[],", "0,0,0,", "\"bernd\","};
    char *body = malloc(OA_ANSWER_MAX_BYTES + 1);
    assert_non_null(body);
    request *r = request_new();
    for (int i = 0; i < 1999; i++)
        add_record(r, str("bernd"), str("phone"));
    for (int i = 0; i < 1999; i++)
        add_event(r, (size_t)i, 1);
    for (size_t unit = 0; unit < sizeof(UNITS) / sizeof(UNITS[0]); unit++) {
        char *at = body + sprintf(body, "{\"throttled_users\":[");
        const size_t len = strlen(UNITS[unit]);
        while ((size_t)(at - body) + len + 10 < OA_ANSWER_MAX_BYTES) {
            memcpy(at, UNITS[unit], len);
            at += len;
        }
        strcpy(at, "1]}");
        allocated = 0;
        oa_mem_set_gate(count_bytes);
        cJSON_InitHooks(&(cJSON_Hooks){count_tree, free});
        assert_int_equal(answer(r, 429, body), OA_OUTCOME_OUTAGE);
        cJSON_InitHooks(NULL);
        oa_mem_set_gate(NULL);
        assert_true(allocated < 16 << 20);
    }
    free(body);
    request_free(r);
}

static int allowed;

static bool allow_some(size_t size) {
    (void)size;
    return allowed-- > 0;
}

/* Without memory an answer is an outage; as soon as there is enough, it is what it is. */
static void every_failing_allocation_is_an_outage(void **state) {
    (void)state;
    static const struct {
        int status;
        const char *body;
        oa_outcome outcome;
    } CASES[] = {
        {200, "{}", OA_OUTCOME_ACCEPTED},
        {413, "{\"error\":\"Payload too large\"}", OA_OUTCOME_TOO_LARGE},
        {400, "{\"error\":\"Invalid API key\"}", OA_OUTCOME_BAD_API_KEY},
        {400, "{\"error\":\"Invalid event JSON\"}", OA_OUTCOME_REFUSED},
        {400, LISTING, OA_OUTCOME_LISTED},
        {429, "{\"throttled_users\":{\"bernd\":1},\"error\":\"x\"}", OA_OUTCOME_LISTED},
        {500, "<html>", OA_OUTCOME_OUTAGE},
    };
    request *r = usual();
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        bool done = false;
        for (int upto = 0; !done; upto++) {
            assert_true(upto < 30);
            allowed = upto;
            oa_mem_set_gate(allow_some);
            const oa_outcome outcome = answer(r, CASES[i].status, CASES[i].body);
            oa_mem_set_gate(NULL);
            done = outcome == CASES[i].outcome;
            assert_true(done || outcome == OA_OUTCOME_OUTAGE);
        }
    }
    request_free(r);
}

static void *read_many(void *data) {
    request *r = data;
    for (int i = 0; i < 300; i++) {
        r->outcome = oa_response_read(429, str("{\"throttled_users\":{\"bernd\":1}}"), false,
                                      r->batch, r->carried, r->owners, r->event_count, r->message);
        if (r->outcome != OA_OUTCOME_LISTED || r->batch->marks[2] != OA_MARK_THROTTLED)
            abort();
        r->outcome = oa_response_read(400, str("{\"throttled_users\":{\"bernd\":1}"), false,
                                      r->batch, r->carried, r->owners, r->event_count, r->message);
        if (r->outcome != OA_OUTCOME_OUTAGE)
            abort();
    }
    return NULL;
}

static void threads_read_at_the_same_time(void **state) {
    (void)state;
    pthread_t threads[4];
    request *requests[4];
    for (int i = 0; i < 4; i++) {
        requests[i] = usual();
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, requests[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        request_free(requests[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_2xx_is_accepted_unless_it_says_otherwise),
        cmocka_unit_test(amplitude_says_that_it_accepts),
        cmocka_unit_test(a_413_is_too_large_whatever_it_says),
        cmocka_unit_test(servers_in_trouble_are_an_outage),
        cmocka_unit_test(some_statuses_are_about_the_request_whatever_they_say),
        cmocka_unit_test(a_bad_api_key_is_known_by_text_or_field),
        cmocka_unit_test(a_400_lists_events_by_field),
        cmocka_unit_test(a_400_lists_what_was_silenced),
        cmocka_unit_test(a_shared_identify_that_is_listed_sends_its_records_alone),
        cmocka_unit_test(a_429_lists_users_and_devices),
        cmocka_unit_test(a_throttled_event_holds_all_of_its_user_back),
        cmocka_unit_test(the_daily_quota_comes_before_all),
        cmocka_unit_test(the_worst_mark_of_a_record_counts),
        cmocka_unit_test(a_list_that_hits_nothing_is_no_list),
        cmocka_unit_test(numbers_may_be_written_in_any_way),
        cmocka_unit_test(a_page_that_is_not_a_json_object_is_an_outage),
        cmocka_unit_test(every_prefix_of_an_answer_is_an_outage),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(ids_match_byte_by_byte),
        cmocka_unit_test(only_what_was_carried_is_marked),
        cmocka_unit_test(messages_say_what_happened_in_one_line),
        cmocka_unit_test(messages_are_bounded),
        cmocka_unit_test(messages_hold_nothing_of_the_request),
        cmocka_unit_test(the_longest_lists_are_read),
        cmocka_unit_test(the_worst_bodies_are_bounded),
        cmocka_unit_test(every_failing_allocation_is_an_outage),
        cmocka_unit_test(threads_read_at_the_same_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
