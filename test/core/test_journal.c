/*
 * host/spool: journals in real files, of processes that are killed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_journal.h"

/* What stays on disk is read in order, and memory holds no more of it than is written and read. */
static void many_segments_are_read_back(void **state) {
    (void)state;
    enum { COUNT = 60000 };
    process *p = process_new();
    until_scanned(p);
    oa_entry_place place;
    for (uint64_t number = 0; number < COUNT; number++)
        while (write_one(p, number, false, &place) != OA_OK)
            host_turn(p);
    for (uint64_t number = 0; number < COUNT; number++) {
        assert_int_equal(read_one(p), number);
        if (number % 100 == 0)
            host_turn(p);
    }
    assert_int_equal(read_one(p), UINT64_MAX);
    process_end(p);
    assert_int_equal(files_there("-"), 0);
}

static void an_end_with_nothing_left_leaves_nothing(void **state) {
    (void)state;
    process *p = process_new();
    until_scanned(p);
    assert_int_equal(files_there(".lock"), 1);
    oa_entry_place place;
    for (uint64_t number = 0; number < 50000; number++) {
        while (write_one(p, number, true, &place) != OA_OK)
            host_turn(p); /* the thread makes more */
        oa_spool_settle(p->carrier.spool, place);
    }
    process_end(p);
    assert_int_equal(files_there("-"), 0);
}

static void files_are_private(void **state) {
    (void)state;
    process *p = process_new();
    until_scanned(p);
    DIR *listing = must(opendir(journal_directory));
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        struct stat found;
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(fstatat(dirfd(listing), entry->d_name, &found, 0), 0);
        assert_int_equal(found.st_mode & 0777, 0600);
    }
    closedir(listing);
    process_end(p);
}

static void a_directory_that_cannot_be_a_spool_is_told(void **state) {
    (void)state;
    char message[OA_JOURNAL_MESSAGE_BYTES] = "";
    oa_journal *journal = NULL;
    process p;
    oa_journal_options options = options_of(&p);
    assert_int_equal(chmod(journal_directory, 0755), 0);
    assert_int_equal(oa_journal_open(&options, &journal, message), OA_UNAVAILABLE);
    assert_non_null(strstr(message, "chmod 700"));
    assert_int_equal(chmod(journal_directory, 0700), 0);
    options.directory = "/proc/self";
    assert_int_equal(oa_journal_open(&options, &journal, message), OA_UNAVAILABLE);
    options.directory = "/nowhere";
    assert_int_equal(oa_journal_open(&options, &journal, message), OA_UNAVAILABLE);
    assert_non_null(strstr(message, "No such file"));
    options.directory = journal_directory;
    options.max_bytes = 1000;
    assert_int_equal(oa_journal_open(&options, &journal, message), OA_UNAVAILABLE);
    assert_non_null(strstr(message, "maxBytes"));
    assert_int_equal(files_there("-"), 0);
}

static void a_full_spool_is_told_once_and_works_again(void **state) {
    (void)state;
    process *p = must(calloc(1, sizeof(*p)));
    oa_journal_options options = options_of(p);
    options.max_bytes = 2 * OA_SEGMENT_BYTES;
    process_with(&options, p);
    until_scanned(p);
    oa_entry_place place;
    uint64_t count = 0;
    while (p->failure[0] == '\0') {
        if (write_one(p, count, false, &place) == OA_OK)
            count++;
        else
            host_turn(p);
    }
    assert_non_null(strstr(p->failure, "maxBytes"));
    for (uint64_t number = 0; number < count; number++)
        assert_int_equal(read_one(p), number);
    assert_int_equal(read_one(p), UINT64_MAX);
    assert_int_equal(p->works, 0); /* it is tried again in ten seconds */
    process_end(p);
    assert_int_equal(files_there("-"), 0);
}

/* What a child that is killed has done. */
typedef struct progress {
    _Atomic uint64_t written;
    _Atomic uint64_t settled;
} progress;

/* Write, settle what is a hundred behind, and be killed. */
static void be_killed(progress *shared, uint64_t from) {
    process *p = process_new();
    enum { BEHIND = 100 };
    static oa_entry_place places[BEHIND];
    /* What was found is read first, so that all are in order. */
    until_scanned(p);
    uint64_t number = from;
    for (;; number++) {
        host_turn(p);
        const bool in_memory = !oa_spool_is_behind(p->carrier.spool);
        oa_entry_place place;
        while (write_one(p, number, in_memory, &place) != OA_OK)
            host_turn(p);
        atomic_store(&shared->written, number + 1);
        if (!in_memory)
            continue;
        if (places[number % BEHIND].segment != NULL) {
            atomic_store(&shared->settled, number - BEHIND + 1);
            oa_spool_settle(p->carrier.spool, places[number % BEHIND]);
        }
        places[number % BEHIND] = place;
    }
}

static void what_was_written_survives_a_kill(void **state) {
    (void)state;
    progress *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    uint64_t dice = 11, total = 0;
    for (int round = 0; round < 40; round++) {
        atomic_store(&shared->written, 0);
        atomic_store(&shared->settled, 0);
        const pid_t child = fork();
        if (child == 0) {
            if (round % 2 == 1)
                use_other_kind();
            be_killed(shared, 0);
        }
        while (atomic_load(&shared->written) == 0)
            usleep(100);
        usleep((useconds_t)draw_below(&dice, 20000));
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, NULL, 0), child);

        process *p = process_new();
        until_scanned(p);
        assert_true(p->found > 0);
        const uint64_t written = atomic_load(&shared->written);
        const uint64_t settled = atomic_load(&shared->settled);
        uint64_t first = read_one(p);
        assert_true(first == settled || first + 1 == settled); /* the last one may not be marked */
        uint64_t next = first + 1;
        for (uint64_t number; (number = read_one(p)) != UINT64_MAX; next++)
            assert_int_equal(number, next);
        assert_true(next >= written && next <= written + 1); /* or written, and not counted */
        total += next;
        oa_spool_stats stats;
        oa_spool_stats_get(p->carrier.spool, &stats);
        assert_int_equal(stats.missing, 0);
        process_end(p);
        assert_int_equal(files_there("-"), 0);
    }
    assert_true(total > 10000);
    munmap(shared, sizeof(*shared));
}

static void adopt_and_be_killed(int ready) {
    process *p = process_new();
    until_scanned(p);
    const char found = p->found > 0 ? 'f' : 'n';
    if (found == 'f')
        for (int i = 0; i < 10; i++)
            read_one(p);
    host_turn(p); /* what is settled is noted at the end of a turn */
    if (write(ready, &found, 1) == 1)
        pause();
    _exit(1);
}

/* Of eight processes one adopts, and when it is killed, too, the next one goes on. */
static void one_process_adopts_and_may_be_killed_too(void **state) {
    (void)state;
    enum { CHILDREN = 8, COUNT = 1000 };
    oa_entry_place place;
    const pid_t first = fork();
    if (first == 0) {
        process *child = process_new();
        until_scanned(child);
        for (uint64_t number = 0; number < COUNT; number++)
            if (write_one(child, number, true, &place) != OA_OK)
                _exit(2);
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(first, NULL, 0), first);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++)
        if ((children[i] = fork()) == 0)
            adopt_and_be_killed(pipes[1]);
    int adopters = 0;
    for (int i = 0; i < CHILDREN; i++) {
        char found;
        assert_int_equal(read(pipes[0], &found, 1), 1);
        adopters += found == 'f';
    }
    assert_int_equal(adopters, 1);
    for (int i = 0; i < CHILDREN; i++) {
        kill(children[i], SIGKILL);
        assert_int_equal(waitpid(children[i], NULL, 0), children[i]);
    }
    process *heir = process_new();
    until_scanned(heir);
    for (uint64_t number = 10; number < COUNT; number++)
        assert_int_equal(read_one(heir), number);
    assert_int_equal(read_one(heir), UINT64_MAX);
    process_end(heir);
    assert_int_equal(files_there("-"), 0);
    close(pipes[0]);
    close(pipes[1]);
}

static void write_file(const char *name, const char *bytes, size_t size) {
    char path[200];
    snprintf(path, sizeof(path), "%s/%s", journal_directory, name);
    const int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

/* Leave the same decision as many processes that have ended. */
static void be_many(int processes) {
    enum { BYTES = OA_SEGMENT_HEAD_BYTES + OA_SEGMENT_PAGE_BYTES };
    static char bytes[BYTES];
    char name[160];
    process *p = process_new();
    oa_entry_place place;
    until_scanned(p);
    assert_int_equal(write_one(p, 7, true, &place), OA_OK);
    const oa_journal_file *file = oa_spool_where(p->carrier.spool).end;
    memcpy(bytes, file->storage.bytes, BYTES);
    oa_spool_settle(p->carrier.spool, place);
    process_end(p);
    for (int i = 0; i < processes; i++) {
        const int len = snprintf(name, sizeof(name), "%016x-%032x.lock", JOURNAL_MARK, i);
        write_file(name, "", 0);
        snprintf(name + len - 5, sizeof(name) - (size_t)len, "-00000001.journal");
        write_file(name, bytes, BYTES);
    }
}

/* The descriptors of a process are not all for locks. */
static void many_journals_are_taken_over_one_part_after_the_other(void **state) {
    (void)state;
    enum { PROCESSES = 300, MOST = 128 };
    be_many(PROCESSES);
    process *p = process_new();
    until_scanned(p);
    assert_int_equal(p->found, MOST);
    for (size_t read = 0; read < PROCESSES; read++) {
        uint64_t number;
        for (host_turn(p); (number = read_one(p)) == UINT64_MAX; host_turn(p)) {
            host_turn(p); /* what was read last is done */
            uv_sem_wait(&p->changed);
        }
        assert_int_equal(number, 7);
        assert_true(p->found <= read / MOST * MOST + MOST);
    }
    assert_int_equal(read_one(p), UINT64_MAX);
    assert_int_equal(p->found, PROCESSES);
    process_end(p);
    assert_int_equal(files_there("-"), 0);
}

static void what_is_strange_is_left_alone(void **state) {
    (void)state;
    char name[160];
    const char *const id = "000000000000004d-0123456789abcdef0123456789abcdef";
    static char page[3 * OA_SEGMENT_PAGE_BYTES] = "rubbish";
    snprintf(name, sizeof(name), "%s/%s.lock", journal_directory, id);
    int fd = open(name, O_CREAT | O_RDWR, 0600);
    assert_true(fd >= 0);
    close(fd);
    snprintf(name, sizeof(name), "%s/%s-00000001.journal", journal_directory, id);
    fd = open(name, O_CREAT | O_RDWR, 0600);
    assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
    close(fd);
    snprintf(name, sizeof(name), "%s/%s-00000002.journal", journal_directory,
             id); /* was being made */
    fd = open(name, O_CREAT | O_RDWR, 0600);
    close(fd);
    process *p = process_new();
    until_scanned(p);
    assert_non_null(strstr(p->strange, "00000001.journal was left alone"));
    assert_int_equal(p->found, 0);
    process_end(p);
    assert_int_equal(files_there("00000001.journal"), 1);
    assert_int_equal(files_there("00000002.journal"), 0);
    assert_int_equal(files_there(".lock"), 1);
}

int main(void) {
#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(an_end_with_nothing_left_leaves_nothing),
        IN_DIRECTORY(many_segments_are_read_back),
        IN_DIRECTORY(files_are_private),
        IN_DIRECTORY(a_directory_that_cannot_be_a_spool_is_told),
        IN_DIRECTORY(a_full_spool_is_told_once_and_works_again),
        IN_DIRECTORY(what_was_written_survives_a_kill),
        IN_DIRECTORY(one_process_adopts_and_may_be_killed_too),
        IN_DIRECTORY(many_journals_are_taken_over_one_part_after_the_other),
        IN_DIRECTORY(what_is_strange_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) +
           cmocka_run_group_tests_name("of copies", tests, use_copies, NULL);
}
