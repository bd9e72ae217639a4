/*
 * host/spool/inspect: files of journals that others have, write and shorten meanwhile.
 */
#include "../../src/host/spool/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/host/spool/directory.h"
#include "support.h"

enum { SIZE = OA_SEGMENT_BYTES };

static oa_crc32 crc;
static char directory[64];
static int folder;

static int make_directory(void **state) {
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%s/oa-inspect-XXXXXX", base != NULL ? base : "/tmp");
    oa_crc32_init(&crc);
    if (mkdtemp(directory) == NULL)
        return -1;
    folder = open(directory, O_RDONLY | O_DIRECTORY);
    return folder < 0;
}

static int remove_directory(void **state) {
    (void)state;
    unlinkat(folder, "lock", 0);
    unlinkat(folder, "file", 0);
    close(folder);
    return rmdir(directory);
}

static int create_file(off_t size) {
    const int fd = openat(folder, "file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, size) == 0);
    return fd;
}

static char *map(int fd, size_t size) {
    char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(bytes != MAP_FAILED);
    return bytes;
}

static void begin(oa_segment *segment, char *bytes, size_t size) {
    oa_segment_begin(segment, &crc, bytes, size, &(oa_segment_head){.number = 1, .salt = 5});
}

static bool add(oa_segment *segment, oa_entry_kind kind) {
    oa_entry entry = {.kind = kind, .time_ms = 1, .strings = {str("user-1"), str("on")}};
    return oa_segment_append(segment, &crc, &entry) == OA_OK;
}

static oa_inspection inspect(int fd) {
    oa_survey *survey = NULL;
    oa_inspection found;
    assert_int_equal(oa_survey_new(str(NULL), 0, &survey), OA_OK);
    assert_int_equal(oa_inspect_file(fd, survey, &found), 0);
    oa_survey_free(survey);
    return found;
}

static void tells_whether_a_lock_is_held(void **state) {
    (void)state;
    bool is_held = false;
    const int lock = oa_directory_create_lock(folder, "lock");
    const int other = openat(folder, "lock", O_RDONLY);
    assert_true(lock >= 0 && other >= 0);
    assert_int_equal(oa_inspect_lock(other, &is_held), 0);
    assert_true(is_held);
    close(lock);
    assert_int_equal(oa_inspect_lock(other, &is_held), 0);
    assert_false(is_held);
    /* To look took nothing. */
    const int next = oa_directory_take_lock(folder, "lock");
    assert_true(next >= 0);
    close(next);
    close(other);
    assert_int_equal(oa_inspect_lock(-1, &is_held), EBADF);
}

static void tells_files_that_hold_nothing(void **state) {
    (void)state;
    for (off_t size = 0; size <= SIZE; size += SIZE / 4) {
        const int fd = create_file(size);
        const oa_inspection found = inspect(fd);
        assert_int_equal(found.state, OA_SEGMENT_FOREIGN);
        assert_true(found.is_blank);
        close(fd);
    }
    const int fd = create_file(SIZE);
    assert_int_equal(pwrite(fd, "x", 1, 7), 1);
    assert_false(inspect(fd).is_blank);
    assert_int_equal(ftruncate(fd, (off_t)OA_INSPECT_MOST_BYTES + 1), 0);
    oa_survey *survey = NULL;
    oa_inspection found;
    assert_int_equal(oa_survey_new(str(NULL), 0, &survey), OA_OK);
    assert_int_equal(oa_inspect_file(fd, survey, &found), EFBIG);
    assert_int_equal(oa_inspect_file(-1, survey, &found), EBADF);
    assert_int_equal(oa_inspect_file(folder, survey, &found), EISDIR);
    oa_survey_free(survey);
    close(fd);
}

/* Nothing seems to be damaged, and nothing that was there before is overlooked. */
static void reads_what_a_process_is_writing(void **state) {
    (void)state;
    const int fd = create_file(SIZE);
    char *bytes = map(fd, SIZE);
    _Atomic uint32_t *written = must((void *)mmap(
        NULL, OA_SEGMENT_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    for (int round = 0; round < 20; round++) {
        oa_segment segment;
        memset(bytes, 0, SIZE);
        atomic_store(written, 0);
        begin(&segment, bytes, SIZE);
        const pid_t writer = fork();
        if (writer == 0) {
            add(&segment, OA_ENTRY_VARIANT);
            while (add(&segment, OA_ENTRY_DECISION))
                atomic_fetch_add(written, 1);
            _exit(0);
        }
        int looks = 0;
        for (bool goes_on = true; goes_on; looks++) {
            goes_on = waitpid(writer, NULL, WNOHANG) == 0;
            const uint32_t before = atomic_load(written);
            const oa_inspection found = inspect(fd);
            assert_int_equal(found.state, OA_SEGMENT_READABLE);
            assert_int_equal(found.counts.missing, 0);
            assert_true(found.counts.decisions >= before);
        }
        assert_true(looks > 0);
    }
    munmap((void *)(uintptr_t)written, OA_SEGMENT_PAGE_BYTES);
    munmap(bytes, SIZE);
    close(fd);
}

/* A mapping would raise SIGBUS. */
static void reads_what_a_process_is_shortening(void **state) {
    (void)state;
    const int fd = create_file(SIZE);
    char *bytes = map(fd, SIZE);
    oa_segment segment;
    begin(&segment, bytes, SIZE);
    add(&segment, OA_ENTRY_VARIANT);
    while (add(&segment, OA_ENTRY_DECISION))
        ;
    char *kept = must(malloc(SIZE));
    memcpy(kept, bytes, SIZE);
    munmap(bytes, SIZE);
    const pid_t other = fork();
    while (other == 0) {
        if (ftruncate(fd, 3 * OA_SEGMENT_PAGE_BYTES) != 0 || pwrite(fd, kept, SIZE, 0) != SIZE)
            _exit(1);
    }
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 20000 && (i < 200 || least == most); i++) {
        const oa_inspection found = inspect(fd);
        assert_int_equal(found.state, OA_SEGMENT_READABLE);
        least = found.counts.decisions < least ? found.counts.decisions : least;
        most = found.counts.decisions > most ? found.counts.decisions : most;
    }
    assert_true(least < most);
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    free(kept);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_whether_a_lock_is_held),
        cmocka_unit_test(tells_files_that_hold_nothing),
        cmocka_unit_test(reads_what_a_process_is_writing),
        cmocka_unit_test(reads_what_a_process_is_shortening),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
