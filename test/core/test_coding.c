/* coding.c: what is compressed, and how a server that does not take it is found out. */
#include "coding.h"

#include "support.h"

/* ---- the rules ---- */

static void expect(oa_coding before, bool was_gzip, bool was_read, int status,
                   oa_coding_verdict verdict, oa_coding after) {
    oa_coding coding = before;
    assert_int_equal(oa_coding_judge(&coding, was_gzip, was_read, status), verdict);
    assert_int_equal(coding, after);
}

static void a_body_that_is_read_proves_it(void **state) {
    (void)state;
    expect(OA_CODING_GZIP, true, true, 200, OA_CODING_STAYS, OA_CODING_PROVEN);
    expect(OA_CODING_GZIP, true, true, 400, OA_CODING_STAYS, OA_CODING_PROVEN);
    expect(OA_CODING_COMPARED, true, true, 200, OA_CODING_STAYS, OA_CODING_PROVEN);
}

static void a_first_400_or_any_415_is_doubted(void **state) {
    (void)state;
    expect(OA_CODING_GZIP, true, false, 400, OA_CODING_COMPARE, OA_CODING_DOUBTED);
    expect(OA_CODING_GZIP, true, false, 415, OA_CODING_COMPARE, OA_CODING_DOUBTED);
    expect(OA_CODING_PROVEN, true, false, 415, OA_CODING_COMPARE, OA_CODING_DOUBTED);
    expect(OA_CODING_PROVEN, true, false, 400, OA_CODING_STAYS, OA_CODING_PROVEN);
    expect(OA_CODING_COMPARED, true, false, 415, OA_CODING_STAYS, OA_CODING_COMPARED);
}

static void nothing_else_is(void **state) {
    (void)state;
    static const int others[] = {0, 401, 403, 404, 408, 413, 422, 429, 500, 503};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        expect(OA_CODING_GZIP, true, false, others[i], OA_CODING_STAYS, OA_CODING_GZIP);
        expect(OA_CODING_DOUBTED, false, false, others[i], OA_CODING_STAYS, OA_CODING_DOUBTED);
    }
}

static void the_comparison_decides(void **state) {
    (void)state;
    expect(OA_CODING_DOUBTED, false, true, 200, OA_CODING_ENDS, OA_CODING_PLAIN);
    expect(OA_CODING_DOUBTED, false, true, 400, OA_CODING_ENDS, OA_CODING_PLAIN);
    expect(OA_CODING_DOUBTED, false, false, 400, OA_CODING_STAYS, OA_CODING_COMPARED);
    expect(OA_CODING_DOUBTED, false, false, 415, OA_CODING_STAYS, OA_CODING_COMPARED);
}

static void what_is_plain_stays_plain(void **state) {
    (void)state;
    static const int all[] = {0, 200, 400, 415, 500};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        expect(OA_CODING_PLAIN, false, all[i] == 200, all[i], OA_CODING_STAYS, OA_CODING_PLAIN);
}

/* ---- a dispatcher, and a server that takes gzip or not ---- */

/* What the server said to requests, and whether they were compressed: "z415 p200". */
static char exchanges[256];
static int refusal; /* of compressed requests; 0: it takes them */
static int otherwise;

static void respond(void *data, const arrival *request, answer *out) {
    const world *w = data;
    (void)request;
    const bool gzip = oa_attempt_is_gzip(w->attempt);
    out->status = gzip && refusal != 0 ? refusal : otherwise;
    const size_t len = strlen(exchanges);
    snprintf(exchanges + len, sizeof(exchanges) - len, "%s%c%d", len > 0 ? " " : "",
             gzip ? 'z' : 'p', out->status);
}

static world *begin(bool compression, int refuses, int says) {
    world *w = world_new();
    exchanges[0] = '\0';
    refusal = refuses;
    otherwise = says;
    w->server.respond = respond;
    w->server.data = w;
    w->config.compression = compression;
    world_start(w);
    if (compression)
        w->dispatcher->coding = OA_CODING_GZIP; /* as it begins */
    return w;
}

static void deliver(world *w, const char *user) {
    decide(w, user, "f", "a");
    flush(w, 60000);
    settle(w);
}

static size_t count_logs(const world *w) {
    size_t count = 0;
    for (size_t i = 0; i < w->line_count; i++)
        count += strcmp(w->lines[i].topic, "compression") == 0;
    return count;
}

static void a_server_that_takes_it(void **state) {
    (void)state;
    world *w = begin(true, 0, 200);
    deliver(w, "ann");
    deliver(w, "bob");
    assert_string_equal(exchanges, "z200 z200");
    world_end(w);
}

static void a_server_that_does_not(void **state) {
    (void)state;
    static const int refusals[] = {415, 400};
    for (size_t i = 0; i < 2; i++) {
        world *w = begin(true, refusals[i], 200);
        deliver(w, "ann");
        deliver(w, "bob");
        char expected[64];
        snprintf(expected, sizeof(expected), "z%d p200 p200", refusals[i]);
        assert_string_equal(exchanges, expected);
        assert_int_equal(stats_of(w).delivered, 2);
        assert_int_equal(count_logs(w), 1);
        world_end(w);
    }
}

static void without_compression_nothing_is_tried(void **state) {
    (void)state;
    world *w = begin(false, 415, 200);
    deliver(w, "ann");
    assert_string_equal(exchanges, "p200");
    world_end(w);
}

/* A server that was updated no longer takes what it took. */
static void a_server_that_does_no_longer(void **state) {
    (void)state;
    world *w = begin(true, 0, 200);
    deliver(w, "ann");
    refusal = 415;
    deliver(w, "bob");
    deliver(w, "eve");
    assert_string_equal(exchanges, "z200 z415 p200 p200");
    assert_int_equal(count_logs(w), 1);
    world_end(w);
}

/* It refuses either: that is not due to the compression, which goes on once it takes requests. */
static void a_server_that_refuses_everything(void **state) {
    (void)state;
    world *w = begin(true, 415, 415);
    deliver(w, "ann");
    assert_string_equal(exchanges, "z415 p415 z415"); /* compared once */
    refusal = 0;
    otherwise = 200;
    advance(w, 10 * 60 * 1000);
    assert_int_equal(stats_of(w).delivered, 1);
    assert_non_null(strstr(exchanges, "z200"));
    assert_int_equal(count_logs(w), 0);
    world_end(w);
}

/* The comparison is no failure of the decisions: one alone would be dropped for its second 400. */
static void a_doubt_blames_no_decision(void **state) {
    (void)state;
    world *w = begin(true, 400, 503);
    deliver(w, "ann");
    assert_int_equal(stats_of(w).pending, 1);
    otherwise = 200;
    advance(w, 10 * 60 * 1000);
    assert_int_equal(stats_of(w).delivered, 1);
    assert_int_equal(w->drop_count, 0);
    world_end(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_body_that_is_read_proves_it),
        cmocka_unit_test(a_first_400_or_any_415_is_doubted),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(the_comparison_decides),
        cmocka_unit_test(what_is_plain_stays_plain),
        cmocka_unit_test(a_server_that_takes_it),
        cmocka_unit_test(a_server_that_does_not),
        cmocka_unit_test(without_compression_nothing_is_tried),
        cmocka_unit_test(a_server_that_does_no_longer),
        cmocka_unit_test(a_server_that_refuses_everything),
        cmocka_unit_test(a_doubt_blames_no_decision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
