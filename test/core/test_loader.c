/*
 * loader.c: a load ends with one report, and the table answers for the loop at any moment; whatever
 * is cancelled, aborted or destroyed meanwhile.
 */
#include <unistd.h>

#include "../../src/host/node/loader.h"
#include "support_peer.h"

#define ID "7khm89cz"
#define BODY(members)                                                                              \
    "{\"cohortId\":\"" ID "\",\"groupType\":\"User\",\"lastModified\":17,\"memberIds\":[" members  \
    "]}"
#define ANSWER(length, members)                                                                    \
    "HTTP/1.1 200 OK\r\nContent-Length: " length "\r\n\r\n" BODY(members)

/* A loader of two cohorts on a loop of its own. */
typedef struct fixture {
    uv_loop_t loop;
    oa_loader *loader;
    oa_load_report report;
    void *handle;
    int reports;
    bool is_destroyed;
    char url[128];
} fixture;

static void on_loaded(void *data, void *handle, const oa_load_report *report) {
    fixture *f = data;
    f->report = *report;
    f->handle = handle;
    f->reports++;
}

static void on_destroyed(void *data) { ((fixture *)data)->is_destroyed = true; }

static void start_with(fixture *f, uint16_t port, const char *key, oa_str snapshot) {
    memset(f, 0, sizeof(*f));
    assert_int_equal(uv_loop_init(&f->loop), 0);
    snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%d/sdk/v1/cohort/" ID, port);
    const oa_str names[] = {str("other"), str(ID)};
    const oa_loader_config config = {
        .key_text = str(key),
        .names = names,
        .name_count = 2,
        .snapshot_path = snapshot,
        .curl = {.server_url = str(f->url), .user_agent = str("test"), .request_timeout_ms = 60000},
    };
    const oa_loader_handlers handlers = {f, on_loaded, on_destroyed};
    assert_int_equal(oa_loader_new(&f->loop, &config, handlers, &f->loader), OA_OK);
    assert_false(oa_loader_needs_trust(f->loader));
}

static void start(fixture *f, uint16_t port) { start_with(f, port, "a secret", (oa_str){NULL, 0}); }

static void begin(fixture *f, oa_load load) {
    static const char *const headers[] = {"Authorization: Basic a2V5"};
    load.cohort = 1;
    if (load.part_count == 0)
        load.url = str(f->url);
    load.headers = headers;
    load.header_count = 1;
    assert_int_equal(oa_loader_start(f->loader, &load, &f->url), OA_OK);
    assert_int_equal(oa_loader_start(f->loader, &load, NULL), OA_CLOSED); /* one is under way */
    oa_loader_ref(f->loader, true);
}

/* Run the loop until the load that is under way has ended; return how. */
static oa_load_end await_end(fixture *f) {
    const int before = f->reports;
    while (f->reports == before)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->reports, before + 1);
    assert_ptr_equal(f->handle, &f->url);
    return f->report.end;
}

static oa_load_end load(fixture *f, oa_load request) {
    begin(f, request);
    return await_end(f);
}

static bool has(const fixture *f, const char *user) {
    oa_cohort_set set;
    oa_loader_find(f->loader, str(user), &set);
    assert_false(oa_cohort_set_has(&set, 0));
    return oa_cohort_set_has(&set, 1);
}

static void end(fixture *f) {
    oa_loader_destroy(f->loader);
    while (!f->is_destroyed)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(uv_loop_close(&f->loop), 0);
}

static void a_table_follows_another(void **state) {
    (void)state;
    peer *p =
        PEER({.text = ANSWER("86", "\"ann\",\"bob\"")}, {.text = "HTTP/1.1 204 No Content\r\n\r\n"},
             {.text = ANSWER("86", "\"bob\",\"cat\"")}, {.text = ANSWER("75", "")});
    fixture f;
    start(&f, p->port);
    assert_false(has(&f, "ann"));
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_LOADED);
    assert_true(has(&f, "ann") && has(&f, "bob") && !has(&f, "cat"));
    assert_int_equal(f.report.delta.members, 2);
    assert_int_equal(f.report.meta.last_modified, 17);
    assert_int_equal(f.report.wire_bytes, 86);
    assert_int_equal(oa_loader_users(f.loader), 2);
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_ANSWERED);
    assert_int_equal(f.report.status_code, 204);
    assert_true(has(&f, "ann"));
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_LOADED);
    assert_true(!has(&f, "ann") && has(&f, "bob") && has(&f, "cat"));
    assert_int_equal(f.report.delta.entered, 1);
    assert_int_equal(f.report.delta.left, 1);
    assert_int_equal(load(&f, (oa_load){.min_members = 1}), OA_LOAD_HELD);
    assert_true(has(&f, "cat"));
    oa_loader_clear(f.loader);
    assert_false(has(&f, "cat"));
    assert_int_equal(oa_loader_users(f.loader), 0);
    end(&f);
    peer_join(p);
    peer_free(p);
}

static void a_bad_body_changes_nothing(void **state) {
    (void)state;
    peer *p = PEER({.text = ANSWER("86", "\"ann\",\"bob\"")},
                   {.text = ANSWER("82", "\"bob\",\"cat\""), .closes = true},
                   {.text = ANSWER("86", "\"bob\",\"cat\"")});
    fixture f;
    start(&f, p->port);
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_LOADED);
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_MALFORMED);
    assert_true(f.report.message[0] != '\0');
    assert_int_equal(load(&f, (oa_load){.max_members = 1}), OA_LOAD_TOO_MANY);
    assert_true(has(&f, "ann") && !has(&f, "cat"));
    end(&f);
    peer_join(p);
    peer_free(p);
}

static void a_file_is_read(void **state) {
    (void)state;
    char path[] = "/tmp/oa-loader-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "ann\nbob\n", 8), 8);
    close(fd);
    fixture f;
    start(&f, 1);
    const oa_load_part part = {str(path), OA_COHORT_REPLACE};
    const oa_load_part folder = {str("/tmp"), OA_COHORT_REPLACE};
    const oa_load file = {.parts = &part, .part_count = 1, .format = OA_COHORT_LINES};
    assert_int_equal(load(&f, file), OA_LOAD_LOADED);
    assert_true(has(&f, "ann") && has(&f, "bob") && !has(&f, "ann\n"));
    unlink(path);
    assert_int_equal(load(&f, file), OA_LOAD_FAILED);
    assert_string_equal(f.report.message, "No such file or directory");
    assert_int_equal(load(&f, (oa_load){.parts = &folder, .part_count = 1}), OA_LOAD_FAILED);
    assert_true(has(&f, "ann"));
    end(&f);
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void files_are_put_together(void **state) {
    (void)state;
    char folder[] = "/tmp/oa-loader-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char paths[3][64];
    static const char *const texts[] = {"ann\nbob\n", "cat\n\nann\n", "bob\nnobody\n"};
    const oa_cohort_change changes[] = {OA_COHORT_REPLACE, OA_COHORT_ENTER, OA_COHORT_LEAVE};
    oa_load_part parts[3];
    for (size_t i = 0; i < 3; i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s/%zu", folder, i);
        write_file(paths[i], texts[i]);
        parts[i] = (oa_load_part){str(paths[i]), changes[i]};
    }
    fixture f;
    start(&f, 1);
    const oa_load all = {.parts = parts, .part_count = 3, .format = OA_COHORT_LINES};
    assert_int_equal(load(&f, all), OA_LOAD_LOADED);
    assert_true(has(&f, "ann") && !has(&f, "bob") && has(&f, "cat") && !has(&f, "nobody"));
    assert_int_equal(f.report.delta.before, 0);
    assert_int_equal(f.report.delta.members, 2);
    assert_int_equal(f.report.wire_bytes, 8 + 9 + 11);
    assert_int_equal(oa_loader_users(f.loader), 2);
    write_file(paths[0], "dan\n");
    assert_int_equal(load(&f, all), OA_LOAD_LOADED);
    assert_true(has(&f, "ann") && has(&f, "cat") && has(&f, "dan"));
    assert_int_equal(f.report.delta.before, 2);
    assert_int_equal(f.report.delta.members, 3);
    oa_load few = all;
    few.min_members = 4;
    assert_int_equal(load(&f, few), OA_LOAD_HELD);
    few.max_members = 2; /* of each file, and of all */
    assert_int_equal(load(&f, few), OA_LOAD_TOO_MANY);
    unlink(paths[2]);
    assert_int_equal(load(&f, all), OA_LOAD_FAILED);
    assert_true(has(&f, "dan") && oa_loader_users(f.loader) == 3);
    unlink(paths[0]);
    unlink(paths[1]);
    assert_int_equal(rmdir(folder), 0);
    end(&f);
}

static void a_text_is_no_cohort(void **state) {
    (void)state;
    peer *p = PEER({.text = "HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"},
                   {.text = "HTTP/1.1 200 OK\r\nContent-Length: 2002\r\n\r\n{}", .padding = 2000},
                   {.silent = true});
    fixture f;
    start(&f, p->port);
    const oa_load text = {.is_text = true};
    assert_int_equal(load(&f, text), OA_LOAD_ANSWERED);
    assert_int_equal(f.report.status_code, 202);
    assert_string_equal(f.report.text, "{}");
    assert_int_equal(load(&f, text), OA_LOAD_ANSWERED);
    assert_int_equal(f.report.wire_bytes, 2002); /* more than has room */
    begin(&f, text);
    while (atomic_load(&p->requests) < 3)
        uv_sleep(1);
    oa_loader_cancel(f.loader);
    assert_int_equal(await_end(&f), OA_LOAD_CANCELLED);
    assert_int_equal(oa_loader_users(f.loader), 0);
    end(&f);
    peer_join(p);
    peer_free(p);
}

static void a_snapshot_is_there_for_the_next_one(void **state) {
    (void)state;
    char folder[] = "/tmp/oa-loader-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char path[64];
    snprintf(path, sizeof(path), "%s/cohorts", folder);
    peer *p =
        PEER({.text = ANSWER("86", "\"ann\",\"bob\"")}, {.text = ANSWER("86", "\"bob\",\"cat\"")});
    fixture f;
    start_with(&f, p->port, "a secret", str(path));
    assert_int_equal(oa_loader_restore(f.loader), OA_UNAVAILABLE); /* there is none yet */
    assert_null(oa_loader_info(f.loader, 1));
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_LOADED);
    assert_string_equal(f.report.snapshot_error, "");
    assert_int_equal(oa_loader_restore(f.loader), OA_CLOSED);
    end(&f);
    start_with(&f, p->port, "another secret", str(path));
    assert_int_equal(oa_loader_restore(f.loader), OA_FOREIGN);
    end(&f);
    start_with(&f, p->port, "a secret", str(path));
    assert_int_equal(oa_loader_restore(f.loader), OA_OK);
    assert_true(has(&f, "ann") && has(&f, "bob") && !has(&f, "cat"));
    assert_false(oa_loader_info(f.loader, 0)->is_loaded);
    assert_int_equal(oa_loader_info(f.loader, 1)->members, 2);
    assert_int_equal(oa_loader_info(f.loader, 1)->modified_ms, 17);
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_LOADED); /* in place of what is mapped */
    assert_true(!has(&f, "ann") && has(&f, "cat"));
    end(&f);
    start_with(&f, p->port, "a secret", str(path));
    assert_int_equal(oa_loader_restore(f.loader), OA_OK);
    assert_true(!has(&f, "ann") && has(&f, "cat"));
    oa_loader_clear(f.loader);
    assert_false(has(&f, "cat"));
    end(&f);
    peer_join(p);
    peer_free(p);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left there */
}

/* Wait until the peer has the request. */
static void await_request(const peer *p, size_t count) {
    while (atomic_load(&p->requests) < count)
        uv_sleep(1);
}

static void a_silent_load_is_cancelled(void **state) {
    (void)state;
    peer *p = PEER({.silent = true}, {.text = ANSWER("86", "\"ann\",\"bob\"")});
    fixture f;
    start(&f, p->port);
    oa_loader_cancel(f.loader); /* none is under way */
    begin(&f, (oa_load){0});
    await_request(p, 1);
    assert_int_equal(oa_loader_set_trust(f.loader, &(oa_trust_source){.pem = str("pem")}),
                     OA_CLOSED);
    oa_loader_cancel(f.loader);
    assert_int_equal(await_end(&f), OA_LOAD_CANCELLED);
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_LOADED);
    end(&f);
    peer_join(p);
    peer_free(p);
}

static void a_loader_is_destroyed_at_any_moment(void **state) {
    (void)state;
    for (int round = 0; round < 12; round++) {
        peer *p = PEER({.silent = round % 3 == 0, .text = ANSWER("86", "\"ann\",\"bob\"")});
        fixture f;
        start(&f, p->port);
        begin(&f, (oa_load){0});
        if (round % 3 != 1)
            await_request(p, 1);
        if (round % 2 == 0)
            uv_run(&f.loop, UV_RUN_NOWAIT);
        if (round > 5)
            oa_loader_abort(f.loader);
        end(&f);
        if (atomic_load(&p->requests) == 0) { /* so that it ends */
            const oa_curl_config config = {.server_url = str(f.url), .request_timeout_ms = 1000};
            oa_curl *curl;
            oa_answer last;
            assert_int_equal(oa_curl_new(&config, &curl), OA_OK);
            oa_curl_begin(curl, (oa_now){1, 1}, str(""), false);
            oa_curl_run(curl, 300);
            oa_curl_end(curl, (oa_now){2, 2}, &last);
            oa_curl_free(curl);
        }
        peer_join(p);
        peer_free(p);
    }
}

static void a_process_exits_during_a_load(void **state) {
    (void)state;
    peer *p = PEER({.silent = true});
    fixture f;
    start(&f, p->port);
    begin(&f, (oa_load){0});
    await_request(p, 1);
    oa_loader_abort(f.loader);
    oa_loader_abort(f.loader);
    assert_int_equal(oa_loader_start(f.loader, &(oa_load){.url = str(f.url)}, NULL), OA_CLOSED);
    assert_int_equal(f.reports, 0);
    end(&f);
    peer_join(p);
    peer_free(p);
}

static void loads_take_turns(void **state) {
    (void)state;
    peer *p = PEER({.silent = true}, {.text = ANSWER("86", "\"ann\",\"bob\"")});
    fixture first;
    fixture second;
    start_with(&first, p->port, "one", (oa_str){NULL, 0});
    start_with(&second, p->port, "two", (oa_str){NULL, 0});
    begin(&first, (oa_load){0});
    await_request(p, 1);
    begin(&second, (oa_load){0});
    oa_loader_cancel(second.loader); /* while it waits */
    assert_int_equal(await_end(&second), OA_LOAD_CANCELLED);
    begin(&second, (oa_load){0});
    uv_sleep(20);
    assert_int_equal(atomic_load(&p->requests), 1);
    oa_loader_cancel(first.loader);
    assert_int_equal(await_end(&first), OA_LOAD_CANCELLED);
    assert_int_equal(await_end(&second), OA_LOAD_LOADED);
    assert_true(has(&second, "ann") && !has(&first, "ann"));
    end(&first);
    end(&second);
    peer_join(p);
    peer_free(p);
}

/* Have a user enter, or leave; returns the status. */
static oa_status move_user(const fixture *f, const char *user, bool is_in, int64_t time_ms,
                           oa_cohort_moved *moved) {
    const uint64_t print = oa_cohort_print(oa_loader_key(f->loader), str(user));
    const oa_cohort_move move = {1, is_in, time_ms, &print, 1};
    return oa_loader_change(f->loader, &move, moved);
}

static void changes_lie_in_front_of_a_table(void **state) {
    (void)state;
    peer *p =
        PEER({.text = ANSWER("86", "\"ann\",\"bob\"")}, {.text = ANSWER("86", "\"ann\",\"cat\"")},
             {.text = ANSWER("86", "\"ann\",\"eve\"")});
    fixture f;
    oa_cohort_moved moved;
    start(&f, p->port);
    assert_int_equal(move_user(&f, "dan", true, 1, &moved), OA_CLOSED);
    assert_int_equal(oa_loader_merge(f.loader, NULL), OA_CLOSED);
    assert_int_equal(oa_loader_take_changes(f.loader), OA_OK);
    assert_int_equal(move_user(&f, "dan", true, 18000, &moved), OA_OK);
    assert_false(has(&f, "dan"));                             /* no list is there */
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_LOADED); /* of second 17 */
    assert_int_equal(f.report.surviving, 1);
    assert_true(f.report.is_all && has(&f, "dan") && has(&f, "bob"));
    assert_int_equal(move_user(&f, "bob", false, 16000, &moved), OA_OK);
    assert_int_equal(moved.late, 1);
    assert_int_equal(move_user(&f, "bob", false, 18000, &moved), OA_OK);
    assert_int_equal(moved.left, 1);
    assert_false(has(&f, "bob"));
    assert_int_equal(oa_loader_changes(f.loader), 2);
    /* A merge changes no answer, and what comes meanwhile is kept. */
    assert_int_equal(oa_loader_merge(f.loader, &f.url), OA_OK);
    assert_int_equal(oa_loader_merge(f.loader, NULL), OA_CLOSED);
    oa_loader_ref(f.loader, true);
    assert_int_equal(move_user(&f, "fay", true, 19000, &moved), OA_OK);
    assert_int_equal(await_end(&f), OA_LOAD_LOADED);
    assert_true(f.report.is_all && has(&f, "dan") && has(&f, "fay") && !has(&f, "bob"));
    assert_int_equal(oa_loader_info(f.loader, 1)->members, 2); /* ann and dan */
    assert_int_equal(oa_loader_changes(f.loader), 1);
    /* What a list puts out of the table again is still in front of it. */
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_LOADED);
    assert_int_equal(f.report.surviving, 2);
    assert_true(has(&f, "cat") && has(&f, "dan") && has(&f, "fay") && !has(&f, "bob"));
    for (int round = 0; round < 3; round++) {
        assert_int_equal(oa_loader_merge(f.loader, &f.url), OA_OK);
        assert_int_equal(await_end(&f), OA_LOAD_LOADED);
        assert_int_equal(f.report.is_all, round > 0);
    }
    assert_int_equal(oa_loader_info(f.loader, 1)->members, 4);
    /* They are given up one by one, so a list from before them is not taken. */
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_OUTDATED);
    assert_true(has(&f, "dan") && !has(&f, "eve"));
    oa_loader_clear(f.loader);
    assert_int_equal(move_user(&f, "dan", true, 20000, &moved), OA_CLOSED);
    end(&f);
    peer_join(p);
    peer_free(p);
}

static void changes_of_a_table_that_is_there(void **state) {
    (void)state;
    peer *p =
        PEER({.text = ANSWER("86", "\"ann\",\"bob\"")}, {.text = ANSWER("86", "\"ann\",\"cat\"")});
    fixture f;
    oa_cohort_moved moved;
    start(&f, p->port);
    assert_int_equal(load(&f, (oa_load){0}), OA_LOAD_LOADED);
    assert_int_equal(oa_loader_take_changes(f.loader), OA_OK);
    assert_int_equal(oa_loader_take_changes(f.loader), OA_OK);
    assert_int_equal(move_user(&f, "ann", false, 17000, &moved), OA_OK);
    assert_int_equal(moved.late, 1); /* the list knew it */
    assert_true(has(&f, "ann"));
    /* A user enters after the next list is in use, and before that is reported. */
    begin(&f, (oa_load){0});
    while (!has(&f, "cat"))
        uv_run(&f.loop, UV_RUN_ONCE);
    assert_int_equal(f.reports, 1);
    assert_int_equal(move_user(&f, "dan", true, 18000, &moved), OA_OK);
    assert_int_equal(await_end(&f), OA_LOAD_LOADED);
    assert_int_equal(f.report.surviving, 1);
    assert_int_equal(oa_loader_merge(f.loader, &f.url), OA_OK); /* and it goes on */
    end(&f);
    peer_join(p);
    peer_free(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_follows_another),
        cmocka_unit_test(a_bad_body_changes_nothing),
        cmocka_unit_test(a_file_is_read),
        cmocka_unit_test(files_are_put_together),
        cmocka_unit_test(a_text_is_no_cohort),
        cmocka_unit_test(a_snapshot_is_there_for_the_next_one),
        cmocka_unit_test(a_silent_load_is_cancelled),
        cmocka_unit_test(a_loader_is_destroyed_at_any_moment),
        cmocka_unit_test(a_process_exits_during_a_load),
        cmocka_unit_test(loads_take_turns),
        cmocka_unit_test(changes_lie_in_front_of_a_table),
        cmocka_unit_test(changes_of_a_table_that_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
