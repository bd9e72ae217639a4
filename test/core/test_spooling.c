/*
 * spooling.c: dispatchers on real loops, with journals in real files.
 */
#include <stdatomic.h>

#include "support_disk.h"
#include "support_journal.h"
#include "support_loop.h"

static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n{\"code\":200}";

static owner *owner_with_spool(const peer *p, bool syncs_flushes) {
    char message[OA_SPOOLING_MESSAGE_BYTES] = "";
    owner *o = owner_new(p);
    o->config.spool = true;
    o->config.flush_interval_ms = 1;
    owner_start(o);
    const oa_spooling_config config = {
        .directory = str(journal_directory),
        .api_key = o->config.api_key,
        .max_bytes = UINT64_C(1) << 30,
        .sync_interval_ms = 3600 * 1000, /* so that only a flush, and the first look, sync */
        .syncs_flushes = syncs_flushes,
    };
    if (oa_uv_open_spool(o->uv, &config, message) != OA_OK)
        fail_msg("%s", message);
    return o;
}

static void say_many(owner *o, int count) {
    char user[16];
    for (int n = 0; n < count; n++) {
        snprintf(user, sizeof(user), "user%d", n);
        assert_int_equal(say(o, user), OA_OK);
    }
}

/* End an owner, and a peer that is silent, once it has heard of it. */
static void end_both(owner *o, peer *p) {
    RUN_UNTIL(o, atomic_load(&p->requests) > 0);
    owner_end(o);
    peer_join(p);
    peer_free(p);
}

static void what_one_left_is_delivered_by_the_next(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    owner *o = owner_with_spool(p, false);
    say_many(o, 50);
    owner_end(o); /* before the loop has turned */
    assert_true(files_there("-") >= 2);
    o = owner_with_spool(p, false);
    RUN_UNTIL(o, counters(o).delivered == 50);
    assert_int_equal(counters(o).spool.found, 50);
    owner_end(o);
    assert_int_equal(files_there("-"), 0);
    peer_join(p);
    peer_free(p);
}

static void it_may_be_destroyed_when_it_tells_what_it_found(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    owner *o = owner_with_spool(p, false);
    say_many(o, 5);
    owner_end(o);
    o = owner_with_spool(p, false);
    o->destroy_at = OA_NOTICE_LOG;
    RUN_UNTIL(o, o->destroyed);
    owner_end(o);
    o = owner_with_spool(p, false);
    RUN_UNTIL(o, counters(o).delivered == 5);
    owner_end(o);
    assert_int_equal(files_there("-"), 0);
    peer_join(p);
    peer_free(p);
}

/* What is decided before the first scan waits for it, and goes behind. */
static void what_was_left_goes_first(void **state) {
    (void)state;
    peer *p = PEER({.text = OK});
    owner *o = owner_with_spool(p, false);
    say_many(o, 20);
    owner_end(o);
    o = owner_with_spool(p, false);
    say_many(o, 10);
    assert_int_equal(counters(o).spool.disk_only, 10);
    assert_int_equal(counters(o).pending, 10);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 20000, false, &w), OA_OK);
    RUN_UNTIL(o, w.done);
    assert_int_equal(w.report.delivered, 30);
    owner_end(o);
    peer_join(p);
    peer_free(p);
}

/* Segments go round, while none is delivered: in the listener, too, new ones are given in time. */
static void a_turn_of_the_loop_may_fill_many_segments(void **state) {
    (void)state;
    peer *p = PEER({.silent = true});
    owner *o = owner_with_spool(p, false);
    say_many(o, 60000);
    assert_int_equal(counters(o).spool.unwritten, 0);
    assert_true(counters(o).spool.segments >= 4);
    end_both(o, p);
    assert_true(files_there("-") >= 4);
}

static _Atomic bool is_synced;

static void on_bytes_synced(const char *bytes, size_t len) {
    (void)bytes;
    (void)len;
    atomic_store(&is_synced, true);
}

static void on_file_synced(int fd) {
    (void)fd;
    atomic_store(&is_synced, true);
}

static void a_flush_waits_for_the_disk(void **state) {
    (void)state;
    disk_on_sync(on_bytes_synced, on_file_synced);
    peer *p = PEER({.silent = true});
    owner *o = owner_with_spool(p, true);
    for (int count = 1000; count <= 3000; count += 1000) {
        say_many(o, 1000);
        atomic_store(&is_synced, false);
        wait w = {false, {0, 0, 0, 0}};
        assert_int_equal(oa_uv_flush(o->uv, 50, false, &w), OA_OK);
        RUN_UNTIL(o, w.done);
        assert_int_equal(w.report.pending, count);
        assert_true(atomic_load(&is_synced));
    }
    end_both(o, p);
    disk_on_sync(NULL, NULL);
}

/* Its owner ends while a report waits for the disk. */
static void an_end_may_come_before_the_disk(void **state) {
    (void)state;
    peer *p = PEER({.silent = true});
    owner *o = owner_with_spool(p, true);
    say_many(o, 1000);
    wait w = {false, {0, 0, 0, 0}};
    assert_int_equal(oa_uv_flush(o->uv, 0, false, &w), OA_OK);
    end_both(o, p);
}

int main(void) {
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(what_one_left_is_delivered_by_the_next),
        IN_DIRECTORY(it_may_be_destroyed_when_it_tells_what_it_found),
        IN_DIRECTORY(what_was_left_goes_first),
        IN_DIRECTORY(a_turn_of_the_loop_may_fill_many_segments),
        IN_DIRECTORY(a_flush_waits_for_the_disk),
        IN_DIRECTORY(an_end_may_come_before_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) +
           cmocka_run_group_tests_name("of copies", tests, use_copies, NULL);
}
