/*
 * transfer.c, base64.c, and loader.c: what one process knows, another one takes in place of what it
 * has, with its changes and the messages that came since; and what is no such thing changes nothing.
 */
#include <unistd.h>

#include "../../src/host/base64.h"
#include "../../src/host/node/loader.h"
#include "support.h"

enum { PIECE = 50 };

/* A loader of two cohorts on a loop of its own. */
typedef struct process {
    uv_loop_t loop;
    oa_loader *loader;
    oa_load_report report;
    int reports;
} process;

static void on_loaded(void *data, void *handle, const oa_load_report *report) {
    (void)handle;
    process *p = data;
    p->report = *report;
    p->reports++;
}

static void on_destroyed(void *data) { ((process *)data)->loader = NULL; }

static void start(process *p, const char *key, const char *second) {
    memset(p, 0, sizeof(*p));
    assert_int_equal(uv_loop_init(&p->loop), 0);
    const oa_str names[] = {str("first"), str(second)};
    const oa_loader_config config = {.key_text = str(key), .names = names, .name_count = 2};
    const oa_loader_handlers handlers = {p, on_loaded, on_destroyed};
    assert_int_equal(oa_loader_new(&p->loop, &config, handlers, &p->loader), OA_OK);
    assert_int_equal(oa_loader_take_changes(p->loader), OA_OK);
}

static void stop(process *p) {
    oa_loader_destroy(p->loader);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    assert_null(p->loader);
    assert_int_equal(uv_loop_close(&p->loop), 0);
}

static oa_load_end await_end(process *p) {
    const int before = p->reports;
    oa_loader_ref(p->loader, true);
    while (p->reports == before)
        uv_run(&p->loop, UV_RUN_ONCE);
    oa_loader_ref(p->loader, false);
    return p->report.end;
}

/* Load cohort 1 from a file of ids, as of second 17. */
static void load(process *p, const char *ids) {
    char path[] = "/tmp/oa-transfer-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, ids, strlen(ids)) == (ssize_t)strlen(ids));
    close(fd);
    const oa_load_part part = {str(path), OA_COHORT_REPLACE};
    const oa_load load = {
        .cohort = 1, .format = OA_COHORT_LINES, .parts = &part, .part_count = 1, .as_of_ms = 17};
    assert_int_equal(oa_loader_start(p->loader, &load, NULL), OA_OK);
    assert_int_equal(await_end(p), OA_LOAD_LOADED);
    unlink(path);
}

static void say(const process *p, const char *user, bool is_in, int64_t time_ms) {
    const uint64_t print = oa_cohort_print(oa_loader_key(p->loader), str(user));
    const oa_cohort_move move = {1, is_in, time_ms, &print, 1};
    oa_cohort_moved moved;
    assert_int_equal(oa_loader_change(p->loader, &move, &moved), OA_OK);
}

static bool has(const process *p, const char *user) {
    oa_cohort_set set;
    oa_loader_find(p->loader, str(user), &set);
    return oa_cohort_set_has(&set, 1);
}

/* What one process knows, as the text of its pieces; `damage` is the number of a byte, or none. */
static oa_transfer *transfer_of(const process *from, size_t pieces, size_t damage) {
    size_t table = 0, changes = 0;
    assert_int_equal(oa_loader_capture(from->loader, &table, &changes), OA_OK);
    oa_transfer *transfer = NULL;
    assert_int_equal(oa_transfer_new(table, changes, &transfer), OA_OK);
    for (size_t at = 0, n = 0; at < table + changes && n < pieces; at += PIECE, n++) {
        char bytes[PIECE], text[2 * PIECE];
        const size_t len = table + changes - at < PIECE ? table + changes - at : PIECE;
        assert_int_equal(oa_loader_captured(from->loader, at, len, bytes), OA_OK);
        if (damage >= at && damage < at + len)
            bytes[damage - at] ^= 4;
        oa_base64_write((oa_str){bytes, len}, text);
        assert_int_equal(oa_transfer_put(transfer, (oa_str){text, oa_base64_chars(len)}), OA_OK);
    }
    char more[PIECE];
    assert_int_equal(oa_loader_captured(from->loader, table + changes, 1, more), OA_CLOSED);
    oa_loader_release(from->loader);
    assert_int_equal(oa_loader_captured(from->loader, 0, 1, more), OA_CLOSED);
    return transfer;
}

static oa_load_end adopt(process *to, oa_transfer *transfer) {
    assert_int_equal(oa_loader_adopt(to->loader, transfer, NULL), OA_OK);
    return await_end(to);
}

static void a_process_takes_what_another_one_has(void **state) {
    (void)state;
    process a, b;
    start(&a, "a secret", "second");
    start(&b, "a secret", "second");
    size_t none = 0;
    assert_int_equal(oa_loader_capture(a.loader, &none, &none), OA_UNAVAILABLE);
    load(&a, "ann\nbob\ncat\n");
    say(&a, "ann", false, 20000);
    say(&a, "dan", true, 30000);
    load(&b, "zoe\n");
    say(&b, "yan", true, 90000);
    oa_transfer *transfer = transfer_of(&a, SIZE_MAX, SIZE_MAX);
    const uint64_t late[] = {oa_cohort_print(oa_loader_key(a.loader), str("eve")),
                             oa_cohort_print(oa_loader_key(a.loader), str("dan"))};
    const oa_cohort_move moves[] = {{1, true, 40000, late, 1}, {1, false, 25000, late + 1, 1}};
    assert_int_equal(oa_transfer_say(transfer, &moves[0]), OA_OK);
    assert_int_equal(oa_transfer_say(transfer, &moves[1]), OA_OK);
    assert_int_equal(adopt(&b, transfer), OA_LOAD_LOADED);
    assert_true(!has(&b, "ann") && has(&b, "bob") && has(&b, "cat"));
    assert_true(has(&b, "dan")); /* what left before it entered */
    assert_true(has(&b, "eve"));
    assert_true(!has(&b, "zoe") && !has(&b, "yan"));
    assert_int_equal(b.report.said, 2);
    assert_int_equal(b.report.members[1], 4);
    assert_false(oa_loader_info(b.loader, 0)->is_loaded);
    /* And it goes on: with what is late, with a merge, and as the one that others take it from. */
    say(&b, "ann", true, 19000);
    assert_false(has(&b, "ann"));
    assert_int_equal(oa_loader_merge(b.loader, NULL), OA_OK);
    assert_int_equal(await_end(&b), OA_LOAD_LOADED);
    assert_int_equal(oa_loader_info(b.loader, 1)->members, 4);
    say(&b, "fay", true, 50000);
    assert_int_equal(adopt(&a, transfer_of(&b, SIZE_MAX, SIZE_MAX)), OA_LOAD_LOADED);
    assert_true(has(&a, "fay") && has(&a, "eve") && !has(&a, "ann"));
    assert_int_equal(a.report.members[1], 5);
    stop(&a);
    stop(&b);
}

static void what_is_none_changes_nothing(void **state) {
    (void)state;
    process a, b, other_key, other_names;
    start(&a, "a secret", "second");
    start(&b, "a secret", "second");
    start(&other_key, "another secret", "second");
    start(&other_names, "a secret", "third");
    load(&a, "ann\n");
    load(&b, "zoe\n");
    say(&a, "bob", true, 20000);
    size_t table = 0, changes = 0;
    assert_int_equal(oa_loader_capture(a.loader, &table, &changes), OA_OK);
    for (size_t at = 0; at < table + changes; at += 3) {
        assert_int_equal(adopt(&b, transfer_of(&a, SIZE_MAX, at)), OA_LOAD_MALFORMED);
        assert_true(has(&b, "zoe") && !has(&b, "ann"));
    }
    assert_int_equal(adopt(&b, transfer_of(&a, 2, SIZE_MAX)), OA_LOAD_MALFORMED);
    assert_int_equal(adopt(&other_key, transfer_of(&a, SIZE_MAX, SIZE_MAX)), OA_LOAD_MALFORMED);
    assert_int_equal(adopt(&other_names, transfer_of(&a, SIZE_MAX, SIZE_MAX)), OA_LOAD_MALFORMED);
    assert_null(oa_loader_info(other_names.loader, 0));
    assert_true(has(&b, "zoe"));
    oa_transfer *transfer = NULL;
    assert_int_equal(oa_transfer_new(0, 5, &transfer), OA_NOMEM);
    assert_int_equal(oa_transfer_new(4, SIZE_MAX, &transfer), OA_NOMEM);
    assert_int_equal(oa_transfer_new(3, 2, &transfer), OA_OK);
    assert_int_equal(oa_transfer_put(transfer, str("AAA")), OA_MALFORMED);
    assert_int_equal(oa_transfer_put(transfer, str("AA*A")), OA_MALFORMED);
    assert_int_equal(oa_transfer_put(transfer, str("AAAAAAAA")), OA_MALFORMED); /* too long */
    assert_int_equal(oa_transfer_put(transfer, str("AAAA")), OA_OK);
    oa_transfer_free(transfer);
    stop(&a);
    stop(&b);
    stop(&other_key);
    stop(&other_names);
}

static void a_table_that_is_replaced_ends_its_capture(void **state) {
    (void)state;
    process a;
    start(&a, "a secret", "second");
    load(&a, "ann\n");
    size_t table = 0, changes = 0;
    assert_int_equal(oa_loader_capture(a.loader, &table, &changes), OA_OK);
    char byte;
    assert_int_equal(oa_loader_captured(a.loader, 0, 1, &byte), OA_OK);
    load(&a, "bob\n");
    assert_int_equal(oa_loader_captured(a.loader, 0, 1, &byte), OA_CLOSED);
    stop(&a);
}

/* Look users up while tables are taken over, cancelled and given up at any moment. */
static void a_process_ends_at_any_moment(void **state) {
    (void)state;
    process a;
    start(&a, "a secret", "second");
    load(&a, "ann\nbob\n");
    for (int round = 0; round < 40; round++) {
        process b;
        start(&b, "a secret", "second");
        assert_int_equal(oa_loader_adopt(b.loader, transfer_of(&a, SIZE_MAX, SIZE_MAX), NULL),
                         OA_OK);
        /* One is under way, and the transfer is freed nevertheless. */
        assert_int_equal(oa_loader_adopt(b.loader, transfer_of(&a, SIZE_MAX, SIZE_MAX), NULL),
                         OA_CLOSED);
        for (int turn = 0; turn < round % 8; turn++) {
            assert_true(has(&b, "ann") == has(&b, "bob"));
            uv_run(&b.loop, UV_RUN_NOWAIT);
        }
        if (round % 3 == 0)
            oa_loader_cancel(b.loader);
        if (round % 5 == 0)
            oa_loader_abort(b.loader);
        stop(&b);
    }
    stop(&a);
}

static void base64_is_that_of_the_rfc(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    char out[64];
    size_t len = 0;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        const oa_str bytes = str(pairs[i][0]), text = str(pairs[i][1]);
        assert_int_equal(oa_base64_chars(bytes.len), text.len);
        oa_base64_write(bytes, out);
        assert_memory_equal(out, text.data, text.len);
        assert_true(oa_base64_read(text, out, bytes.len, &len));
        assert_int_equal(len, bytes.len);
        assert_memory_equal(out, bytes.data, len);
        assert_true(bytes.len == 0 || !oa_base64_read(text, out, bytes.len - 1, &len));
    }
    static const char *const bad[] = {"Z",        "Zg",   "Zg=",      "Z===",   "====",
                                      "Zg==Zg==", "Zh==", "Zm9=",     "Zm9\n",  "Zm-v",
                                      "Zm_v",     "=Zm9", "Zm9v====", "\x80m9v"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(oa_base64_read(str(bad[i]), out, sizeof(out), &len));
    unsigned char all[256], back[256];
    char text[344];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (unsigned char)i;
    oa_base64_write((oa_str){(const char *)all, sizeof(all)}, text);
    assert_true(oa_base64_read((oa_str){text, sizeof(text)}, back, sizeof(back), &len));
    assert_int_equal(len, sizeof(all));
    assert_memory_equal(all, back, sizeof(all));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_takes_what_another_one_has),
        cmocka_unit_test(what_is_none_changes_nothing),
        cmocka_unit_test(a_table_that_is_replaced_ends_its_capture),
        cmocka_unit_test(a_process_ends_at_any_moment),
        cmocka_unit_test(base64_is_that_of_the_rfc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
