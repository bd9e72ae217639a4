/*
 * cohort_json.c and cohort_csv.c: which ids a body has, cut into pieces of any length. What is
 * found is compared as text: ids with a | behind each, - for one that is left out, and a problem
 * behind a !.
 */
#include "cohort_read.h"
#include "support_cohort.h"

typedef struct result {
    char text[32 * 1024];
    size_t len;
    oa_cohort_meta meta;
} result;

static void append(result *r, const char *bytes, size_t len) {
    assert_true(r->len + len < sizeof(r->text));
    memcpy(r->text + r->len, bytes, len);
    r->len += len;
    r->text[r->len] = '\0';
}

/* Note a step; false when nothing follows. */
static bool note(result *r, oa_cohort_step step, const oa_str *id, const char *const *problem) {
    if (step == OA_COHORT_AN_ID)
        append(r, id->data, id->len);
    if (step == OA_COHORT_NO_ID)
        append(r, "-", 1);
    if (step == OA_COHORT_AN_ID || step == OA_COHORT_NO_ID)
        append(r, "|", 1);
    if (step == OA_COHORT_WRONG) {
        append(r, "!", 1);
        append(r, *problem, strlen(*problem));
    }
    return step != OA_COHORT_WRONG && step != OA_COHORT_MORE;
}

static void read_json(oa_str body, size_t piece, result *r) {
    static oa_cohort_json json;
    memset(r, 0, sizeof(*r));
    oa_cohort_json_init(&json, &r->meta);
    oa_str id = str("");
    for (size_t at = 0; at < body.len && json.problem == NULL; at += piece) {
        /* A copy of its own size, so that a sanitizer sees what is read beyond it. */
        const size_t len = body.len - at < piece ? body.len - at : piece;
        char *copy = must(malloc(len));
        memcpy(copy, body.data + at, len);
        oa_str rest = {copy, len};
        while (note(r, oa_cohort_json_next(&json, &rest, &id), &id, &json.problem))
            ;
        assert_true(json.problem != NULL || rest.len == 0);
        free(copy);
    }
    if (json.problem == NULL)
        (void)note(r, oa_cohort_json_end(&json), &id, &json.problem);
}

static void read_csv(oa_str body, size_t piece, bool is_lines, result *r) {
    static oa_cohort_csv csv;
    memset(r, 0, sizeof(*r));
    oa_cohort_csv_init(&csv, is_lines);
    oa_str id = str("");
    for (size_t at = 0; at < body.len && csv.problem == NULL; at += piece) {
        const size_t len = body.len - at < piece ? body.len - at : piece;
        char *copy = must(malloc(len));
        memcpy(copy, body.data + at, len);
        oa_str rest = {copy, len};
        while (note(r, oa_cohort_csv_next(&csv, &rest, &id), &id, &csv.problem))
            ;
        free(copy);
    }
    while (csv.problem == NULL && note(r, oa_cohort_csv_end(&csv, &id), &id, &csv.problem))
        ;
}

/* The result must be the same for pieces of every length. */
static void check(oa_cohort_format format, oa_str body, const char *expected) {
    static result r;
    for (size_t piece = 1; piece <= body.len + 1; piece += piece < 40 ? 1 : piece) {
        if (format == OA_COHORT_JSON)
            read_json(body, piece, &r);
        else
            read_csv(body, piece, format == OA_COHORT_LINES, &r);
        if (strcmp(r.text, expected) != 0)
            print_message("in pieces of %zu: %.*s\n", piece, (int)body.len, body.data);
        assert_string_equal(r.text, expected);
    }
}

static void json(const char *body, const char *expected) {
    check(OA_COHORT_JSON, str(body), expected);
}

static void csv(const char *body, const char *expected) {
    check(OA_COHORT_CSV, str(body), expected);
}

static void lines(const char *body, const char *expected) {
    check(OA_COHORT_LINES, str(body), expected);
}

/* ---- JSON ---- */

static void the_ids_of_a_body_are_found(void **state) {
    (void)state;
    json("{\"cohortId\":\"c\",\"memberIds\":[\"ann\",\"bob\"],\"size\":2}", "ann|bob|");
    json(" { \"memberIds\" :\n[ \"ann\" ,\t\"bob\"\r] } ", "ann|bob|");
    json("[\"ann\",\"a user id that is longer than a word\"]",
         "ann|a user id that is longer than a word|");
    json("{\"memberIds\":[]}", "");
    json("[]", "");
    json("{\"memberIds\":[\"\",\"ann\",\"ann\"]}", "-|ann|ann|");
    json("{\"memberIds\":[\"bj\xc3\xb6rn\",\"{\\\"a\\\":[]}\",\"a,b\",\"x:y\"]}",
         "bj\xc3\xb6rn|{\"a\":[]}|a,b|x:y|");
}

static void other_fields_are_skipped(void **state) {
    (void)state;
    json("{\"a\":{\"memberIds\":[\"no\"],\"b\":[[],{},[{\"c\":null}]]},\"d\":[1,\"no\",true],"
         "\"memberIds\":[\"ann\"],\"e\":-1.5e+3,\"f\":\"\\ud83d\\ude00\\\"\",\"g\":false}",
         "ann|");
    json("{\"\":\"\",\"memberId\":[\"no\"],\"memberIdss\":[\"no\"],\"memberIds\":[\"ann\"]}",
         "ann|");
    json("{\"members\":[\"no\"],\"member\\u0049ds\":[\"ann\"]}", "ann|"); /* the same name */
}

static void escapes_are_what_json_has_them_be(void **state) {
    (void)state;
    json("[\"\\u0061\\u00e9\\u20AC\"]", "a\xc3\xa9\xe2\x82\xac|");
    json("[\"\\ud83d\\ude00\",\"x\\ud83d\\ude00y\"]", "\xf0\x9f\x98\x80|x\xf0\x9f\x98\x80y|");
    json("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "\"\\/\b\f\n\r\t|");
    /* A lone surrogate is U+FFFD, as in JavaScript's UTF-8. */
    json("[\"\\ud83d\"]", "\xef\xbf\xbd|");
    json("[\"\\ude00\"]", "\xef\xbf\xbd|");
    json("[\"\\ud83dx\",\"\\ud83d\\n\",\"\\ud83d\\ud83d\\ude00\",\"\\ude00\\ud83d\"]",
         "\xef\xbf\xbdx|\xef\xbf\xbd\n|\xef\xbf\xbd\xf0\x9f\x98\x80|"
         "\xef\xbf\xbd\xef\xbf\xbd|");
    json("[\"\\x\"]", "!an escape that is not JSON");
    json("[\"\\u00g0\"]", "!an escape that is not JSON");
    json("[\"a\nb\"]", "!a control character in a string");
    static const char WITH_NUL[] = "[\"a\\u0000b\"]";
    static result r;
    read_json(str(WITH_NUL), 3, &r);
    assert_memory_equal(r.text, "a\0b|", 5);
}

static void what_is_no_string_is_no_id(void **state) {
    (void)state;
    static const char *const values[] = {"1", "null", "true", "[\"ann\"]", "{}"};
    for (size_t i = 0; i < 5; i++) {
        char body[100];
        snprintf(body, sizeof(body), "{\"memberIds\":[\"ann\",%s]}", values[i]);
        json(body, "ann|!an id that is no string");
    }
    json("{\"memberIds\":{\"ann\":true}}", "!memberIds is no array");
    json("{\"memberIds\":\"ann\"}", "!memberIds is no array");
    json("{\"memberIds\":3}", "!memberIds is no array");
    json("{\"memberIds\":[\"ann\"],\"memberIds\":[]}", "ann|!memberIds is there twice");
    json("{\"memberIds\":null,\"memberIds\":[]}", "!memberIds is there twice");
}

static void a_body_that_is_cut_off_is_no_cohort(void **state) {
    (void)state;
    static const char BODY[] =
        " {\"cohortId\":\"c\",\"n\":-1.5,\"memberIds\":[\"ann\",\"b\\u00f6b\"],\"size\":2}";
    static result r;
    for (size_t len = 0; len < sizeof(BODY) - 1; len++) {
        read_json((oa_str){BODY, len}, 7, &r);
        assert_non_null(strchr(r.text, '!'));
    }
    read_json(str(BODY), 7, &r);
    assert_string_equal(r.text, "ann|b\xc3\xb6"
                                "b|");
}

static void what_is_not_json_is_refused(void **state) {
    (void)state;
    json("<html>", "!the body is not JSON");
    json("", "!the body ends early");
    static const char *const bodies[] = {
        "{\"memberIds\":[\"ann\" \"bob\"]}",
        "{\"memberIds\":[\"ann\",]}",
        "{\"memberIds\":[,\"ann\"]}",
        "{\"memberIds\":[\"ann\"}]",
        "{\"memberIds\":[\"ann\"]]",
        "{\"memberIds\":[\"ann\"],}",
        "{\"memberIds\" [\"ann\"]}",
        "{\"memberIds\":[\"ann\"]} x",
        "{\"memberIds\":[\"ann\"]}{}",
        "{memberIds:[\"ann\"]}",
        "{\"a\":tru,\"memberIds\":[]}",
        "{\"a\":01,\"memberIds\":[]}",
        "{\"a\":1.,\"memberIds\":[]}",
        "{\"a\":-,\"memberIds\":[]}",
        "{\"a\":1e,\"memberIds\":[]}",
        "{\"a\"::1,\"memberIds\":[]}",
        "{\"a\":1:2,\"memberIds\":[]}",
        "{,\"memberIds\":[]}",
        "{1:2,\"memberIds\":[]}",
        "]",
        "}",
        ",",
        "\xef\xbb\xbf[]",
    };
    static result r;
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        read_json(str(bodies[i]), 5, &r);
        if (strchr(r.text, '!') == NULL)
            print_message("accepted: %s\n", bodies[i]);
        assert_non_null(strchr(r.text, '!'));
    }
}

static void a_body_without_ids_is_a_cohort_only_if_it_says_so(void **state) {
    (void)state;
    json("{\"cohortId\":\"c\",\"size\":0}", "");
    json("{\"cohortId\":\"c\",\"memberIds\":null,\"size\":0}", "");
    json("{\"cohortId\":\"c\",\"memberIds\":null}", "!the body has no memberIds");
    json("{\"cohortId\":\"c\",\"error\":\"try later\"}", "!the body has no memberIds");
    json("{\"cohortId\":\"c\",\"size\":3}", "!the body has no memberIds");
    json("{\"cohortId\":\"c\",\"size\":3,\"memberIds\":null}", "!the body has no memberIds");
    json("{\"error\":\"no such cohort\"}", "!the body has no memberIds");
    json("\"ann\"", "!the body has no memberIds");
    json("null", "!the body has no memberIds");
}

static void nesting_has_an_end(void **state) {
    (void)state;
    char body[300] = "{\"a\":";
    for (int i = 0; i < 63; i++)
        strcat(body, "[");
    char deeper[310];
    snprintf(deeper, sizeof(deeper), "%s[", body);
    for (int i = 0; i < 63; i++)
        strcat(body, "]");
    strcat(body, ",\"memberIds\":[\"ann\"]}");
    json(body, "ann|");
    json(deeper, "!nested too deeply");
}

static void long_ids_are_left_out(void **state) {
    (void)state;
    static char body[3 * OA_COHORT_ID_BYTES];
    static result r;
    for (size_t len = OA_COHORT_ID_BYTES - 1; len <= OA_COHORT_ID_BYTES + 1; len++) {
        for (int is_escaped = 0; is_escaped < 2; is_escaped++) {
            const char *begin = is_escaped ? "[\"\\n" : "[\"x";
            size_t at = (size_t)sprintf(body, "%s", begin);
            memset(body + at, 'x', len - 1);
            strcpy(body + at + len - 1, "\",\"ann\"]");
            for (size_t piece = 1; piece < 10000; piece = piece * 7 + 1) {
                read_json(str(body), piece, &r);
                if (len > OA_COHORT_ID_BYTES)
                    assert_string_equal(r.text, "-|ann|");
                else
                    assert_int_equal(r.len, len + 5);
            }
        }
    }
    /* Long texts elsewhere do no harm. */
    size_t at = (size_t)sprintf(body, "{\"");
    memset(body + at, 'k', 5000);
    at += 5000;
    at += (size_t)sprintf(body + at, "\":\"");
    memset(body + at, 'v', 5000);
    strcpy(body + at + 5000, "\",\"memberIds\":[\"ann\"]}");
    json(body, "ann|");
}

static void the_fields_of_a_cohort_are_read(void **state) {
    (void)state;
    static const char BEFORE[] =
        "{\"cohortId\":\"7khm89cz\",\"groupType\":\"User\",\"groupTypeId\":0,"
        "\"lastComputed\":1740000000000,\"lastModified\":1740000000123,\"size\":2,"
        "\"memberIds\":[\"ann\",\"bob\"],\"x\":{\"size\":9,\"cohortId\":\"no\"}}";
    static const char AFTER[] =
        "{\"memberIds\":[\"ann\",\"bob\"],\"size\":2,\"lastModified\":1740000000123,"
        "\"lastComputed\":1740000000000.7,\"groupType\":\"User\",\"cohortId\":\"7khm89cz\"}";
    static result r;
    for (size_t piece = 1; piece < 300; piece++) {
        read_json(str(piece % 2 ? BEFORE : AFTER), piece, &r);
        assert_string_equal(r.meta.cohort_id, "7khm89cz");
        assert_string_equal(r.meta.group_type, "User");
        assert_int_equal(r.meta.last_computed, 1740000000000);
        assert_int_equal(r.meta.last_modified, 1740000000123);
        assert_int_equal(r.meta.size, 2);
    }
    read_json(str("{\"memberIds\":[],\"size\":\"2\",\"lastModified\":null,\"cohortId\":7}"), 9, &r);
    assert_int_equal(r.meta.size, -1);
    assert_int_equal(r.meta.last_modified, 0);
    assert_string_equal(r.meta.cohort_id, "");
    read_json(str("{\"memberIds\":[],\"size\":99999999999999999999,\"lastModified\":-5}"), 9, &r);
    assert_true(r.meta.size > INT64_C(1) << 60);
    assert_int_equal(r.meta.last_modified, -5);
}

/* ---- CSV and lines ---- */

static void the_column_of_ids_is_found(void **state) {
    (void)state;
    csv("user_id\nann\nbob\n", "ann|bob|");
    csv("amplitudeID,userID,a property\n1,ann,x\n", "ann|");
    csv("amplitude_id,user_id,plan\n1,ann,pro\n2,bob,free\n", "ann|bob|");
    csv("\"Amplitude ID\",\"User ID\"\r\n\"1\",\"ann\"\r\n\"2\",\"bob\"\r\n", "ann|bob|");
    csv("\xef\xbb\xbfuser_id,b\nann,\nbob,2", "ann|bob|");
    csv("user_id,b\n\n\r\nann,1\n\n", "ann|");
    csv("user_id,b\n,1\n\"\",2\nann,3", "-|-|ann|");
    csv("b,user_id\n1,ann", "ann|");
    csv("user_id\n", "");
    csv("b,user_id\n1,\n", "-|");
}

static void quoted_fields_are_what_rfc_4180_has_them_be(void **state) {
    (void)state;
    csv("user_id,b\n\"a,\"\"b\"\"\n\r\nc\",1\n\"d\"\"\",\"\"\n", "a,\"b\"\n\r\nc|d\"|");
    csv("user_id,b\na\"b,\"x,y\"\n", "a\"b|");
    csv("user_id\n\"ann\"x\n", "!text behind a quoted field");
    csv("user_id\n\"ann\"\rx\n", "!text behind a quoted field");
    csv("user_id\n\"ann", "!the body ends within quotes");
}

static void a_table_without_its_columns_is_refused(void **state) {
    (void)state;
    csv("", "!there is no header line with a column user_id");
    csv("\n\n", "!there is no header line with a column user_id");
    csv("id,name\n1,ann\n", "!the header has no column user_id");
    csv("ann\nbob\n", "!the header has no column user_id");
    csv("user_id,b\nann\n", "!a line with more or fewer fields");
    csv("user_id,b\nann,1\nbo", "ann|!a line with more or fewer fields");
    csv("user_id,b\nann,1,2\n", "ann|!a line with more or fewer fields");
}

static void each_line_is_an_id(void **state) {
    (void)state;
    lines("ann\nbob\n", "ann|bob|");
    lines("ann\r\nbob", "ann|bob|");
    lines("\xef\xbb\xbf"
          "ann\n\n\r\n\"bob\",x\n",
          "ann|\"bob\",x|");
    lines("", "");
    lines("\n", "");
    lines("\xef\xbb"
          "ann",
          "\xef\xbb"
          "ann|"); /* not a mark */
    static char body[2 * OA_COHORT_ID_BYTES];
    memset(body, 'x', OA_COHORT_ID_BYTES + 1);
    strcpy(body + OA_COHORT_ID_BYTES + 1, "\nann\n");
    lines(body, "-|ann|");
}

/* ---- A body that never ends ---- */

/* Feed `text` again and again, until the build has enough of it; return how many bytes that took. */
static uint64_t feed_for_ever(oa_cohort_format format, const char *begin, const char *text) {
    static char piece[64 * 1024];
    const size_t len = strlen(text), all = sizeof(piece) / len * len;
    for (size_t i = 0; i < all; i++)
        piece[i] = text[i % len];
    oa_cohort_plan plan = plan_of(1, 0);
    plan.format = format;
    plan.max_members = 100;
    oa_cohort_build *build = NULL;
    assert_int_equal(oa_cohort_build_new(&plan, &build), OA_OK);
    assert_int_equal(oa_cohort_build_feed(build, str(begin)), OA_OK);
    oa_status status = OA_OK;
    while (status == OA_OK)
        status = oa_cohort_build_feed(build, (oa_str){piece, all});
    assert_int_equal(status, OA_MALFORMED);
    assert_string_equal(oa_cohort_build_problem(build), "it has too many bytes for its ids");
    assert_int_equal(oa_cohort_build_end(build), OA_MALFORMED);
    const uint64_t bytes = oa_cohort_build_meta(build)->bytes;
    oa_cohort_build_free(build);
    return bytes;
}

static void a_body_without_an_end_is_refused(void **state) {
    (void)state;
    const struct {
        oa_cohort_format format;
        const char *begin, *text;
    } bodies[] = {
        {OA_COHORT_JSON, "", " \n"},
        {OA_COHORT_JSON, "[\"ann\"", "  "},
        {OA_COHORT_JSON, "{\"memberIds\":[\"ann\"]}", "\t"},
        {OA_COHORT_JSON, "{\"name\":\"", "aaa"},
        {OA_COHORT_JSON, "{\"more\":[0", ",0"},
        {OA_COHORT_JSON, "[\"", "a"},
        {OA_COHORT_CSV, "user_id\nann\n", "\r\n"},
        {OA_COHORT_CSV, "", "column,"},
        {OA_COHORT_CSV, "user_id\n\"", "a"},
        {OA_COHORT_LINES, "ann\n", "\n"},
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        const uint64_t bytes = feed_for_ever(bodies[i].format, bodies[i].begin, bodies[i].text);
        assert_in_range(bytes, 16 << 20, 17 << 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ids_of_a_body_are_found),
        cmocka_unit_test(other_fields_are_skipped),
        cmocka_unit_test(escapes_are_what_json_has_them_be),
        cmocka_unit_test(what_is_no_string_is_no_id),
        cmocka_unit_test(a_body_that_is_cut_off_is_no_cohort),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(a_body_without_ids_is_a_cohort_only_if_it_says_so),
        cmocka_unit_test(nesting_has_an_end),
        cmocka_unit_test(long_ids_are_left_out),
        cmocka_unit_test(the_fields_of_a_cohort_are_read),
        cmocka_unit_test(the_column_of_ids_is_found),
        cmocka_unit_test(quoted_fields_are_what_rfc_4180_has_them_be),
        cmocka_unit_test(a_table_without_its_columns_is_refused),
        cmocka_unit_test(each_line_is_an_id),
        cmocka_unit_test(a_body_without_an_end_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
