/*
 * host/spool on a disk that fails: whichever call it is, and however long it lasts, decisions go on,
 * one line says why, none is lost that was written, and it works again afterwards.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_disk.h"
#include "support_journal.h"

enum {
    COUNT = 40000, /* decisions: more than two segments */
    MOST = 120000,
    IN_TURN = 200,
    RETRY_MS = 5,
};

static const uint64_t FOREVER = UINT64_MAX;

/* What becomes of each decision of a process that is killed. */
typedef enum fate { UNDECIDED, IN_MEMORY, WRITTEN, SETTLED } fate;

static _Atomic unsigned char *fates; /* shared with children */

static int make_all(void **state) {
    fates = mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return fates == MAP_FAILED || make_directory(state);
}

static int remove_all(void **state) {
    disk_works();
    munmap((void *)fates, MOST);
    return remove_directory(state);
}

static process *process_that_retries(void) {
    char message[OA_JOURNAL_MESSAGE_BYTES] = "";
    process *p = must(calloc(1, sizeof(*p)));
    oa_journal_options options = options_of(p);
    options.sync_interval_ms = 1;
    options.retry_interval_ms = RETRY_MS;
    options.scan_interval_ms = RETRY_MS;
    p = process_try(&options, p, message);
    if (p == NULL && message[0] == '\0')
        fail_msg("a directory that cannot be used is not told");
    return p;
}

/* Decide from one number up to another; each other one is settled a hundred later. */
static void decide_from(process *p, uint64_t from, uint64_t to) {
    enum { BEHIND = 100 };
    static oa_entry_place places[BEHIND];
    for (uint64_t number = from; number < to; number++) {
        if (number % IN_TURN == 0)
            host_turn(p);
        oa_entry_place place = {NULL, 0};
        /* As spooling.c does. */
        if (oa_spool_is_short(p->carrier.spool)) {
            host_turn(p);
            if (oa_spool_is_short(p->carrier.spool) && oa_journal_await(p->carrier.journal, 1000))
                host_turn(p);
        }
        const bool is_written = write_one(p, number, true, &place) == OA_OK;
        atomic_store(&fates[number], is_written ? WRITTEN : IN_MEMORY);
        const oa_entry_place old = places[number % BEHIND];
        if (number >= from + BEHIND && number % 2 == 0 && old.segment != NULL) {
            atomic_store(&fates[number - BEHIND], SETTLED);
            oa_spool_settle(p->carrier.spool, old);
        }
        places[number % BEHIND] = place;
    }
    host_turn(p);
}

/* Wait until decisions are written again. Returns the number of the next one. */
static uint64_t until_it_works(process *p, uint64_t number) {
    for (int waits = 0;; number++) {
        decide_from(p, number, number + 1);
        if (atomic_load(&fates[number]) == WRITTEN && p->works == p->failures)
            return number + 1;
        if (++waits == 5000)
            _exit(3);
        usleep(1000);
    }
}

/* Exit codes of a child, besides being killed. */
enum { TOO_MANY_LINES = 2, NEVER_WORKS = 3, UNTOLD = 4 };

/* Be a process whose calls of a kind fail, and be killed when it works again. */
static void live_and_be_killed(disk_call call, uint64_t first, uint64_t count, int error,
                               _Atomic uint64_t *calls) {
    disk_fails(call, first, count, error);
    process *p = process_that_retries();
    if (p == NULL) {
        atomic_store(calls, disk_works());
        p = must(process_that_retries());
    }
    decide_from(p, 0, COUNT / 2);
    atomic_store(calls, disk_works());
    if (p->failures > p->works + 1)
        _exit(TOO_MANY_LINES);
    const uint64_t next = until_it_works(p, COUNT / 2);
    decide_from(p, next, next + COUNT / 4);
    kill(getpid(), SIGKILL);
}

/* Read what is there; it has to be all that was written and is not settled. */
static void expect_all(process *p) {
    uint64_t expected = 0;
    for (uint64_t number; (number = read_one(p)) != UINT64_MAX; expected = number + 1) {
        for (; expected < number; expected++)
            assert_int_not_equal(atomic_load(&fates[expected]), WRITTEN);
        atomic_store(&fates[number], SETTLED);
    }
    for (; expected < COUNT; expected++)
        assert_int_not_equal(atomic_load(&fates[expected]), WRITTEN);
}

static void heir_reads_all(void) {
    process *p = process_new();
    until_scanned(p);
    expect_all(p);
    process_end(p);
}

#ifdef __SANITIZE_THREAD__
enum { MOST_CALLS = 2 }; /* for each there are processes, and they take twenty times as long */
#else
enum { MOST_CALLS = 12 };
#endif

enum { ERRORS = 4 };

/* Calls, and how they fail: the n-th one with the n-th error, in turns. */
static const struct {
    disk_call call;
    int errors[ERRORS];
} FAULTS[] = {
    {DISK_OPEN, {EIO, ENOSPC, EMFILE, EROFS}},      {DISK_RESERVE, {EIO, ENOSPC, ENOSPC, EIO}},
    {DISK_READY, {EFAULT, EFAULT, EFAULT, ENOMEM}}, {DISK_SYNC, {EIO, ENOSPC, ENOSPC, EIO}},
    {DISK_WRITE, {ENOSPC, EIO, EIO, ENOSPC}},       {DISK_DELETE, {EIO, EROFS, EROFS, EIO}},
};

enum { FAULT_COUNT = sizeof(FAULTS) / sizeof(FAULTS[0]) };

static int error_of(size_t fault, uint64_t n) { return FAULTS[fault].errors[(n - 1) % ERRORS]; }

/* Run a fault from the n-th call on, for each n; `count` calls of it. */
static void each_call_fails(uint64_t count) {
    _Atomic uint64_t *calls =
        mmap(NULL, sizeof(*calls), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        for (uint64_t n = 1; n <= MOST_CALLS; n++) {
            for (uint64_t number = 0; number < COUNT; number++)
                atomic_store(&fates[number], UNDECIDED);
            const pid_t child = fork();
            if (child == 0)
                live_and_be_killed(FAULTS[i].call, n, count, error_of(i, n), calls);
            int how = 0;
            assert_int_equal(waitpid(child, &how, 0), child);
            if (!WIFSIGNALED(how) || WTERMSIG(how) != SIGKILL)
                fail_msg("call %d, the %dth, error %d: it ended with %d", FAULTS[i].call, (int)n,
                         error_of(i, n), how);
            heir_reads_all();
            assert_int_equal(files_there("-"), 0);
            if (atomic_load(calls) < n)
                break;
        }
    }
    munmap((void *)calls, sizeof(*calls));
}

static void a_call_may_fail_once(void **state) {
    (void)state;
    each_call_fails(1);
}

static void a_call_may_fail_for_long(void **state) {
    (void)state;
    each_call_fails(FOREVER);
}

/* Leave decisions in several files, and be killed. */
static void leave(void) {
    for (uint64_t number = 0; number < COUNT; number++)
        atomic_store(&fates[number], UNDECIDED);
    const pid_t child = fork();
    if (child == 0) {
        process *p = must(process_that_retries());
        decide_from(p, 0, COUNT);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, NULL, 0), child);
}

/* What cannot be read now is read by whoever comes later. */
static void adopting_may_fail(void **state) {
    (void)state;
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        for (uint64_t n = 1; n <= MOST_CALLS; n++) {
            leave();
            disk_fails(FAULTS[i].call, n, 1, error_of(i, n));
            process *p = process_that_retries();
            if (p == NULL)
                p = must(process_that_retries());
            until_scanned(p);
            for (uint64_t number; (number = read_one(p)) != UINT64_MAX;)
                atomic_store(&fates[number], SETTLED);
            process_end(p);
            const uint64_t calls = disk_works();
            heir_reads_all();
            assert_int_equal(files_there(".journal"), 0);
            if (calls < n)
                break;
        }
    }
}

/* It goes on by itself, when the fault has ended. */
static void what_could_not_be_adopted_is_adopted_later(void **state) {
    (void)state;
    for (uint64_t n = 4; n <= 4 + MOST_CALLS / 2; n++) {
        leave();
        disk_fails(DISK_OPEN, n, 1, EIO);
        process *p = must(process_that_retries());
        until_scanned(p);
        assert_int_not_equal(disk_works(), 0);
        for (int waits = 0; files_there("-") > files_there(".lock") + 2 && waits < 5000; waits++) {
            host_turn(p);
            for (uint64_t number; (number = read_one(p)) != UINT64_MAX;)
                atomic_store(&fates[number], SETTLED);
            usleep(1000);
        }
        expect_all(p);
        process_end(p);
        assert_int_equal(files_there("-"), 0);
    }
}

/* A sync that failed is no reason to keep a processor busy, nor to make no files. */
static void a_sync_that_failed_costs_no_processor(void **state) {
    (void)state;
    disk_fails(DISK_SYNC, 1, 1, EIO);
    process *p = must(process_that_retries());
    until_scanned(p);
    decide_from(p, 0, 1000);
    for (int waits = 0; p->failures == 0 && waits < 5000; waits++, usleep(1000))
        host_turn(p);
    assert_int_equal(p->failures, 1);
    assert_non_null(strstr(p->failure, "Input/output error"));
    decide_from(p, 1000, 1001); /* the next sync works */
    for (int waits = 0; p->works == 0 && waits < 5000; waits++, usleep(1000))
        host_turn(p);
    assert_int_equal(p->works, 1);
    /* For a tenth of a second it is idle: it may wake up for each scan, and no more. */
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    usleep(100 * 1000);
    getrusage(RUSAGE_SELF, &after);
    const long switches = after.ru_nvcsw - before.ru_nvcsw;
    const long micros = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 +
                        after.ru_utime.tv_usec - before.ru_utime.tv_usec;
    assert_true(micros < 50 * 1000 && switches < 1000);
    process_end(p);
}

/* Read what a process left whose first files are gone: what it wrote last is there. */
static void heir_reads_some(uint64_t last) {
    process *heir = process_new();
    until_scanned(heir);
    uint64_t read = UINT64_MAX;
    for (uint64_t number; (number = read_one(heir)) != UINT64_MAX;)
        read = number;
    assert_int_equal(read, last);
    process_end(heir);
}

/* The directory is deleted while it is in use, or all that is in it: that is told, and once it is
 * there again, new files are made in it. */
static void what_is_deleted_is_told_and_made_again(void **state) {
    (void)state;
    for (int with_directory = 0; with_directory < 2; with_directory++) {
        process *p = must(process_that_retries());
        until_scanned(p);
        decide_from(p, 0, 1000);
        remove_directory(state);
        if (with_directory == 0)
            assert_int_equal(mkdir(journal_directory, 0700), 0);
        for (int waits = 0; p->failures == 0 && waits < 5000; waits++, usleep(1000))
            host_turn(p);
        assert_int_equal(p->failures, 1);
        assert_non_null(strstr(p->failure, "were deleted"));
        decide_from(p, 1000, 20000); /* no crash: as long as files are open, they are used */
        if (with_directory == 1)
            assert_int_equal(mkdir(journal_directory, 0700), 0);
        for (int waits = 0; p->works == 0 && waits < 5000; waits++, usleep(1000))
            host_turn(p);
        assert_int_equal(p->works, 1);
        decide_from(p, 20000, MOST); /* more than the files that were open take */
        assert_true(files_there(".journal") > 0);
        assert_int_equal(files_there(".lock"), 1);
        process_end(p);
        heir_reads_some(MOST - 1);
        assert_int_equal(files_there("-"), 0);
    }
}

int main(void) {
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_all, remove_all)
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(a_call_may_fail_once),
        IN_DIRECTORY(a_call_may_fail_for_long),
        IN_DIRECTORY(adopting_may_fail),
        IN_DIRECTORY(what_could_not_be_adopted_is_adopted_later),
        IN_DIRECTORY(a_sync_that_failed_costs_no_processor),
        IN_DIRECTORY(what_is_deleted_is_told_and_made_again),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + cmocka_run_group_tests_name("copies", tests, use_copies, NULL);
}
