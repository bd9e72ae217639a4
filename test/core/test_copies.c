/*
 * host/spool where no file is mapped: what test_journal.c does not see, which runs with copies, too.
 * A limit of the system on the size of files makes writes short, and then fail.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_journal.h"

enum { RETRY_MS = 5, ENTRY_BYTES = 48 };

static struct rlimit usual;

/* Let no file be longer than this. */
static void limit_files(rlim_t bytes) {
    const struct rlimit limit = {bytes, usual.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static int make_all(void **state) {
    signal(SIGXFSZ, SIG_IGN);
    return getrlimit(RLIMIT_FSIZE, &usual) != 0 || make_directory(state) != 0;
}

static int remove_all(void **state) {
    setrlimit(RLIMIT_FSIZE, &usual);
    return remove_directory(state);
}

static process *process_that_retries(void) {
    process *p = must(calloc(1, sizeof(*p)));
    oa_journal_options options = options_of(p);
    options.retry_interval_ms = RETRY_MS;
    return process_with(&options, p);
}

/* Take turns until something is so. */
#define UNTIL(p, condition)                                                                        \
    for (host_turn(p); !(condition); host_turn(p))                                                 \
    uv_sem_wait(&(p)->changed)

static oa_spool_stats figures_of(const process *p) {
    oa_spool_stats stats;
    oa_spool_stats_get(p->carrier.spool, &stats);
    return stats;
}

/* In a child that is killed: decide, meet the limit, and go on once it is gone. */
static void meet_a_limit(int out) {
    process *p = process_that_retries();
    oa_entry_place place;
    uint64_t number = 0, refused = 0;
    UNTIL(p, p->is_scanned && oa_spool_wants(p->carrier.spool) == 0);
    for (; number < 100; number++)
        assert_int_equal(write_one(p, number, true, &place), OA_OK);
    limit_files(oa_spool_where(p->carrier.spool).end_at + 200); /* within an entry */
    while (write_one(p, number, true, &place) == OA_OK)
        number++;
    assert_int_equal(number, 100 + 200 / ENTRY_BYTES + 1); /* the last one is there in part */
    for (; refused < 50; refused++)
        assert_int_equal(write_one(p, number, true, &place), OA_QUEUE_FULL);
    UNTIL(p, p->failures == 1);
    assert_non_null(strstr(p->failure, "too large"));
    assert_int_equal(figures_of(p).unwritten, refused + 2);
    for (int retries = 0; retries < 3; retries++) /* it stays one line */
        UNTIL(p, uv_sem_trywait(&p->changed) == 0);
    assert_int_equal(p->failures, 1);
    assert_int_equal(p->works, 0);
    limit_files(usual.rlim_cur);
    UNTIL(p, p->works == 1);
    for (; number < 300; number++)
        assert_int_equal(write_one(p, number, true, &place), OA_OK);
    assert_int_equal(write(out, &number, sizeof(number)), sizeof(number));
    kill(getpid(), SIGKILL);
}

static void a_write_that_fails_is_told_once_and_made_up_for(void **state) {
    (void)state;
    int pipes[2];
    uint64_t count = 0;
    assert_int_equal(pipe(pipes), 0);
    const pid_t child = fork();
    if (child == 0)
        meet_a_limit(pipes[1]);
    close(pipes[1]);
    assert_int_equal(read(pipes[0], &count, sizeof(count)), sizeof(count));
    close(pipes[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
    process *p = process_new();
    until_scanned(p);
    for (uint64_t number = 0; number < count; number++)
        assert_int_equal(read_one(p), number);
    assert_int_equal(read_one(p), UINT64_MAX);
    assert_int_equal(figures_of(p).missing, 0);
    process_end(p);
    assert_int_equal(files_there("-"), 0);
}

/* Without a file nothing is written; then there is one. */
static void what_is_found_out_after_the_start_is_told(void **state) {
    (void)state;
    oa_entry_place place;
    limit_files(1000);
    process *p = process_that_retries();
    UNTIL(p, p->failures == 1);
    assert_int_equal(write_one(p, 0, true, &place), OA_QUEUE_FULL);
    limit_files(usual.rlim_cur);
    UNTIL(p, p->works == 1);
    assert_int_equal(write_one(p, 0, true, &place), OA_OK);
    oa_spool_settle(p->carrier.spool, place);
    process_end(p);
    assert_int_equal(files_there("-"), 0);
}

static size_t resident_bytes(void) {
    size_t pages = 0, resident = 0;
    FILE *file = must(fopen("/proc/self/statm", "r"));
    assert_int_equal(fscanf(file, "%zu %zu", &pages, &resident), 2);
    fclose(file);
    return resident * OA_SEGMENT_PAGE_BYTES;
}

static int open_files(void) {
    DIR *listing = must(opendir("/proc/self/fd"));
    int count = 0;
    while (readdir(listing) != NULL)
        count++;
    closedir(listing);
    return count;
}

/* However much waits on disk, neither memory nor descriptors hold it. */
static void what_waits_on_disk_is_not_in_memory(void **state) {
    (void)state;
    enum { SEGMENTS = 40 };
    process *p = process_new();
    until_scanned(p);
    const size_t bytes = resident_bytes();
    assert_true(bytes > 0);
    const int files = open_files();
    oa_entry_place place;
    uint64_t count = 0;
    for (; figures_of(p).segments < SEGMENTS; count++)
        while (write_one(p, count, false, &place) != OA_OK)
            host_turn(p);
    assert_true(open_files() <= files + 5);
    for (uint64_t number = 0; number < count / 2; number++)
        assert_int_equal(read_one(p), number);
#ifndef __SANITIZE_THREAD__ /* which keeps notes of its own on each byte */
    assert_true(resident_bytes() < bytes + SEGMENTS / 2 * OA_SEGMENT_BYTES);
#endif
    for (uint64_t number = count / 2; number < count; number++)
        assert_int_equal(read_one(p), number);
    host_turn(p);
    assert_int_equal(p->failures, 0);
    process_end(p);
    assert_int_equal(files_there("-"), 0);
}

/* Have the thread follow the owner, as if it read this now. */
static void until_followed(process *p, oa_journal_file *reading) {
    const oa_spool_position where = oa_spool_where(p->carrier.spool);
    const oa_journal_position position = {where.end, where.end_at, reading};
    oa_journal_note(p->carrier.journal, position, 0);
    const uint64_t number = oa_journal_sync(p->carrier.journal);
    while (oa_journal_synced(p->carrier.journal) < number)
        uv_sem_wait(&p->changed);
}

/* What another process left is read first, though something else was on its way already. */
static void what_was_loaded_too_early_is_loaded_again(void **state) {
    (void)state;
    enum { SEGMENTS = 7 };
    process *p = process_new();
    until_scanned(p);
    oa_entry_place place;
    uint64_t count = 0;
    for (; figures_of(p).segments < SEGMENTS; count++)
        while (write_one(p, count, false, &place) != OA_OK)
            host_turn(p);
    host_turn(p);
    const oa_journal_file *first = oa_spool_where(p->carrier.spool).reading;
    until_followed(p, first->later);
    until_followed(p, first->later->later);
    for (uint64_t number = 0; number < count; number++)
        assert_int_equal(read_one(p), number);
    process_end(p);
    assert_int_equal(files_there("-"), 0);
}

int main(void) {
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_all, remove_all)
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(a_write_that_fails_is_told_once_and_made_up_for),
        IN_DIRECTORY(what_is_found_out_after_the_start_is_told),
        IN_DIRECTORY(what_waits_on_disk_is_not_in_memory),
        IN_DIRECTORY(what_was_loaded_too_early_is_loaded_again),
    };
    return cmocka_run_group_tests(tests, use_copies, NULL);
}
