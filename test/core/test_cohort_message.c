/*
 * cohort_message.c, and what cohort_json.c knows of messages: the users and the fields, cut into
 * pieces of any length, and what is no message.
 */
#include "support_cohort.h"

enum { MAX_IDS = 8 };

/* Read a body in pieces; returns a message that has ended, owned. */
static oa_cohort_message *read_in(const char *body, size_t piece, oa_status *status) {
    oa_cohort_message *message = NULL;
    assert_int_equal(oa_cohort_message_new(cohort_key(), MAX_IDS, &message), OA_OK);
    const size_t len = strlen(body);
    *status = OA_OK;
    for (size_t at = 0; at < len && *status == OA_OK; at += piece) {
        const size_t count = len - at < piece ? len - at : piece;
        char *copy = must(malloc(count)); /* of its own size, for a sanitizer */
        memcpy(copy, body + at, count);
        *status = oa_cohort_message_feed(message, (oa_str){copy, count});
        free(copy);
    }
    const oa_status end = oa_cohort_message_end(message);
    if (*status != OA_OK)
        assert_int_equal(end, *status);
    *status = end;
    return message;
}

static const char GOOD[] =
    "{\"cohort_name\":\"x\",\"cohort_id\":\"c\\u0031\",\"in_cohort\":true,"
    "\"computed_time\":\"1700000000\",\"message_id\":\"a::enter::0\",\"more\":{\"users\":[1]},"
    "\"users\":[{\"user_id\":\"user-1\",\"user_properties\":{\"user_id\":\"no\",\"a\":[1,null]}},"
    "{\"user_properties\":{}},{\"user_id\":null},{},{\"a\":1,\"user_id\":\"user-\\u0032\"},"
    "{\"user_id\":\"\"}]}";

static void test_a_message_in_pieces(void **state) {
    (void)state;
    for (size_t piece = 1; piece <= sizeof(GOOD); piece++) {
        oa_status status;
        oa_cohort_message *message = read_in(GOOD, piece, &status);
        assert_int_equal(status, OA_OK);
        assert_null(oa_cohort_message_problem(message));
        const oa_cohort_head *head = oa_cohort_message_head(message);
        assert_string_equal(head->cohort_id, "c1");
        assert_string_equal(head->message_id, "a::enter::0");
        assert_int_equal(head->in_cohort, 1);
        assert_int_equal(head->computed_time, 1700000000);
        assert_int_equal(head->no_ids, 4);
        size_t count = 0;
        const uint64_t *prints = oa_cohort_message_prints(message, &count);
        assert_int_equal(count, 2);
        assert_true(prints[0] == print_of(1) && prints[1] == print_of(2));
        oa_cohort_message_free(message);
    }
}

#define HEAD "\"cohort_id\":\"c\",\"in_cohort\":false,\"computed_time\":5,"

static void test_what_is_no_message(void **state) {
    (void)state;
    static const struct {
        const char *body;
        const char *problem; /* NULL: there is none */
    } cases[] = {
        {"{" HEAD "\"users\":[]}", NULL},
        {"{\"users\":[]," HEAD "\"message_id\":null}", NULL},
        {"", "the body ends early"},
        {"{}", "the body has no cohort_id"},
        {"[]", "it is an array; Amplitude's default payload is an object"},
        {"{\"cohort_id\":\"c\",\"users\":[]}", "the body has no in_cohort"},
        {"{\"cohort_id\":\"c\",\"in_cohort\":true,\"users\":[]}",
         "the body has no computed_time in seconds"},
        {"{" HEAD "\"a\":1}", "the body has no users"},
        {"{" HEAD "\"users\":null}", "users is no array"},
        {"{" HEAD "\"users\":\"a\"}", "users is no array"},
        {"{" HEAD "\"users\":{}}", "users is no array"},
        {"{" HEAD "\"users\":[],\"users\":[]}", "users is there twice"},
        {"{" HEAD "\"users\":[\"a\"]}", "a user that is no object"},
        {"{" HEAD "\"users\":[1]}", "a user that is no object"},
        {"{" HEAD "\"users\":[[]]}", "a user that is no object"},
        {"{" HEAD "\"users\":[{\"user_id\":1}]}", "a user_id that is no string"},
        {"{" HEAD "\"users\":[{\"user_id\":{}}]}", "a user_id that is no string"},
        {"{" HEAD "\"users\":[{\"user_id\":\"a\",\"user_id\":\"b\"}]}", "a user_id is there twice"},
        {"{\"in_cohort\":1}", "in_cohort is neither true nor false"},
        {"{\"in_cohort\":\"true\"}", "in_cohort is neither true nor false"},
        {"{\"in_cohort\":{}}", "in_cohort is neither true nor false"},
        {"{" HEAD "\"users\":[{\"user_id\":\"a\"}]", "the body ends early"},
        {"{" HEAD "\"users\":[{\"user_id\":\"a\"", "the body ends early"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t piece = 1; piece <= 64; piece *= 4) {
            oa_status status;
            oa_cohort_message *message = read_in(cases[i].body, piece, &status);
            assert_int_equal(status, cases[i].problem == NULL ? OA_OK : OA_MALFORMED);
            if (cases[i].problem == NULL)
                assert_null(oa_cohort_message_problem(message));
            else
                assert_string_equal(oa_cohort_message_problem(message), cases[i].problem);
            oa_cohort_message_free(message);
        }
    }
}

static void test_its_bounds(void **state) {
    (void)state;
    char body[1024] = "{" HEAD "\"message_id\":\"";
    memset(body + strlen(body), 'x', OA_COHORT_MESSAGE_ID_BYTES + 1);
    strcat(body, "\",\"users\":[{\"user_id\":\"0\"}");
    for (int i = 1; i < MAX_IDS; i++)
        strcat(body, ",{\"user_id\":\"0\"}");
    const size_t len = strlen(body);
    strcat(body, "]}");
    oa_status status;
    oa_cohort_message *message = read_in(body, 7, &status);
    assert_int_equal(status, OA_OK);
    assert_string_equal(oa_cohort_message_head(message)->message_id, ""); /* too long */
    oa_cohort_message_free(message);
    body[len] = '\0';
    strcat(body, ",{\"user_id\":\"0\"}]}");
    message = read_in(body, 7, &status);
    assert_int_equal(status, OA_TOO_LARGE);
    oa_cohort_message_free(message);
    oa_cohort_message_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_message_in_pieces),
        cmocka_unit_test(test_what_is_no_message),
        cmocka_unit_test(test_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
