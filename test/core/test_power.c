/*
 * host/spool when the power fails: the disk has what was synced, and of what was stored since then
 * any sectors, each as it was at some moment.
 *
 * Whatever the journal has written to the disk is told by support_disk.c. What is there after the
 * power failed is put together by chance: each sector as it was when it was synced last, or later; and
 * names that were not synced may be there or not. An heir reads that.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "support_disk.h"
#include "support_journal.h"

enum {
    ROUNDS = 60,
    STEPS = 25,
    MOST_FILES = 64,
    MOST_COUNT = (STEPS + 1) * 6000, /* decisions of a round */
    SECTOR_BYTES = 512,
    SECTORS = OA_SEGMENT_BYTES / SECTOR_BYTES,
};

/* A file of the journal, on the disk. */
typedef struct image {
    char name[OA_JOURNAL_NAME_BYTES];
    bool is_named; /* its name was synced */
    bool is_synced;
    char *synced;  /* for sure */
    char *written; /* what the kernel has written, at some moment since */
} image;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static image images[MOST_FILES];
static size_t image_count;
static uint64_t dice;

static image *image_of(const char *name) {
    for (size_t i = 0; i < image_count; i++)
        if (strcmp(images[i].name, name) == 0)
            return &images[i];
    assert_true(image_count < MOST_FILES);
    image *made = &images[image_count++];
    *made = (image){.synced = must(calloc(1, OA_SEGMENT_BYTES)),
                    .written = must(calloc(1, OA_SEGMENT_BYTES))};
    snprintf(made->name, sizeof(made->name), "%.95s", name);
    return made;
}

static void forget_images(void) {
    for (; image_count > 0; image_count--) {
        free(images[image_count - 1].synced);
        free(images[image_count - 1].written);
    }
}

/* Call `each` with the files of segments that are there, and their bytes. */
static void each_file(void (*each)(image *of, const char *bytes)) {
    static char bytes[OA_SEGMENT_BYTES];
    DIR *listing = must(opendir(journal_directory));
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (strstr(entry->d_name, ".journal") == NULL)
            continue;
        const int fd = openat(dirfd(listing), entry->d_name, O_RDONLY);
        if (fd < 0)
            continue; /* it was deleted meanwhile */
        memset(bytes, 0, sizeof(bytes));
        assert_true(read(fd, bytes, sizeof(bytes)) >= 0);
        close(fd);
        each(image_of(entry->d_name), bytes);
    }
    closedir(listing);
}

/* Note that bytes of an open file were synced. It is read, as the kernel does: another thread may
 * be storing into it. */
static void note_synced(image *of, int fd, size_t at, size_t len) {
    of->is_synced = true;
    const ssize_t count = pread(fd, of->synced + at, len, (off_t)at);
    assert_true(count >= 0);
    memcpy(of->written + at, of->synced + at, (size_t)count);
}

/* Write the name of the file that is mapped at an address. Returns where the address is in it. */
static size_t find_mapped(const char *bytes, char name[OA_JOURNAL_NAME_BYTES]) {
    char text[400];
    unsigned long at = 0, from = 0, to = 0, offset = 0;
    memcpy(&at, &bytes, sizeof(at));
    FILE *maps = must(fopen("/proc/self/maps", "r"));
    while (at < from || at >= to) {
        must(fgets(text, sizeof(text), maps));
        assert_int_equal(sscanf(text, "%lx-%lx %*s %lx", &from, &to, &offset), 3);
    }
    fclose(maps);
    snprintf(name, OA_JOURNAL_NAME_BYTES, "%.95s", (char *)must(strrchr(text, '/')) + 1);
    name[strcspn(name, "\n")] = '\0';
    return at - from + offset;
}

/* On the journal's thread, as the next. */
static void bytes_synced(const char *bytes, size_t len) {
    char name[OA_JOURNAL_NAME_BYTES], path[sizeof(name) + sizeof(journal_directory)];
    pthread_mutex_lock(&mutex);
    const size_t at = find_mapped(bytes, name);
    snprintf(path, sizeof(path), "%s/%s", journal_directory, name);
    const int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    note_synced(image_of(name), fd, at, len);
    close(fd);
    pthread_mutex_unlock(&mutex);
}

static void name_file(image *of, const char *bytes) {
    (void)bytes;
    of->is_named = true;
}

static void file_synced(int fd) {
    char link[40], name[400] = "";
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    assert_true(readlink(link, name, sizeof(name) - 1) > 0);
    pthread_mutex_lock(&mutex);
    if (strstr(name, ".journal") == NULL)
        each_file(name_file);
    else
        note_synced(image_of(strrchr(name, '/') + 1), fd, 0, OA_SEGMENT_BYTES);
    pthread_mutex_unlock(&mutex);
}

static void write_sectors(image *of, const char *bytes) {
    for (size_t at = 0; at < OA_SEGMENT_BYTES; at += SECTOR_BYTES)
        if (draw_below(&dice, 3) == 0)
            memcpy(of->written + at, bytes + at, SECTOR_BYTES);
}

/* The kernel writes some sectors. */
static void write_some(void) {
    pthread_mutex_lock(&mutex);
    each_file(write_sectors);
    pthread_mutex_unlock(&mutex);
}

/* Put together what is on the disk, in a directory. */
static void fail_power(const char *to) {
    static char bytes[OA_SEGMENT_BYTES];
    const int directory = open(to, O_RDONLY | O_DIRECTORY);
    assert_true(directory >= 0);
    DIR *listing = must(opendir(journal_directory));
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        if (strstr(entry->d_name, ".lock") != NULL)
            close(openat(directory, entry->d_name, O_CREAT | O_RDWR, 0600));
    closedir(listing);
    for (size_t i = 0; i < image_count; i++) {
        const image *of = &images[i];
        if (!of->is_named && draw_below(&dice, 3) > 0)
            continue;
        const int fd = openat(directory, of->name, O_CREAT | O_RDWR, 0600);
        assert_true(fd >= 0);
        const size_t sectors = of->is_synced ? SECTORS : draw_below(&dice, SECTORS + 1);
        for (size_t at = 0; at < sectors * SECTOR_BYTES; at += SECTOR_BYTES)
            memcpy(bytes + at, (draw_below(&dice, 2) == 0 ? of->synced : of->written) + at,
                   SECTOR_BYTES);
        assert_int_equal(write(fd, bytes, sectors * SECTOR_BYTES), sectors * SECTOR_BYTES);
        close(fd);
    }
    close(directory);
}

static process *process_that_syncs(void) {
    process *p = must(calloc(1, sizeof(*p)));
    oa_journal_options options = options_of(p);
    options.sync_interval_ms = 3600 * 1000; /* when it is asked to, but for the first time */
    return process_with(&options, p);
}

/* What a process has written, and settled. */
typedef struct history {
    oa_entry_place places[MOST_COUNT];
    bool is_settled[MOST_COUNT];
    uint64_t count;
    uint64_t settled_to; /* most of those before are */
    bool leaves_some;
} history;

static history *past;

static void write_many(process *p, uint64_t count) {
    for (; count > 0; count--, past->count++) {
        if (past->count % 100 == 0)
            host_turn(p);
        while (write_one(p, past->count, true, &past->places[past->count]) != OA_OK)
            host_turn(p);
    }
}

static void settle_some(process *p) {
    const uint64_t to = past->settled_to + draw_below(&dice, past->count - past->settled_to + 1);
    for (; past->settled_to < to; past->settled_to++) {
        if (past->leaves_some && draw_below(&dice, 2000) == 0)
            continue; /* its segment stays; others are used again */
        past->is_settled[past->settled_to] = true;
        oa_spool_settle(p->carrier.spool, past->places[past->settled_to]);
    }
    host_turn(p);
}

static void sync_now(process *p) {
    host_turn(p);
    const uint64_t number = oa_journal_sync(p->carrier.journal);
    while (oa_journal_synced(p->carrier.journal) < number)
        usleep(100);
}

/* Have an heir read what is in the directory. What was synced and is not settled is there; what is
 * there is in order, and was written. */
static void expect_synced(uint64_t synced_to) {
    process *heir = process_new();
    until_scanned(heir);
    uint64_t next = 0, read = 0, lost = 0;
    for (uint64_t number; (number = read_one(heir)) != UINT64_MAX; next = number + 1, read++) {
        assert_in_range(number, next, past->count - 1);
        const oa_spool_segment *before = next == 0 ? NULL : past->places[next - 1].segment;
        const bool is_counted = before == past->places[number].segment;
        for (; next < number; next++) {
            assert_true(past->is_settled[next] || next >= synced_to);
            lost += is_counted && !past->is_settled[next];
        }
    }
    for (; next < synced_to; next++)
        assert_true(past->is_settled[next]);
    oa_spool_stats stats;
    oa_spool_stats_get(heir->carrier.spool, &stats);
    assert_int_equal(stats.found, read);
    assert_true(stats.missing >= lost); /* but for the end of a segment, which nobody knows of */
    assert_string_equal(heir->strange, "");
    process_end(heir);
    assert_int_equal(files_there("-"), 0);
}

/* What a power failure leaves, from here on in place of what is there. */
static void go_on_with_the_disk(process *p, void **state, const char *to) {
    disk_on_sync(NULL, NULL);
    process_end(p);
    remove_directory(state);
    memcpy(journal_directory, to, sizeof(journal_directory));
}

static void live_until_the_power_fails(void **state) {
    char disk[sizeof(journal_directory)];
    forget_images();
    memset(past, 0, sizeof(*past));
    disk_on_sync(bytes_synced, file_synced);
    past->leaves_some = draw_below(&dice, 2) == 0;
    process *p = process_that_syncs();
    until_scanned(p);
    uint64_t synced_to = 0;
    for (int steps = 1 + (int)draw_below(&dice, STEPS); steps > 0; steps--) {
        write_many(p, draw_below(&dice, 6000));
        settle_some(p);
        if (draw_below(&dice, 3) == 0) {
            sync_now(p);
            synced_to = past->count;
        }
        if (draw_below(&dice, 2) == 0)
            write_some();
    }
    write_many(p, draw_below(&dice, 1000));
    write_some();
    assert_true(make_another(disk));
    fail_power(disk);
    go_on_with_the_disk(p, state, disk);
    expect_synced(synced_to);
}

static void what_was_synced_survives_a_power_failure(void **state) {
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        dice = seed;
        live_until_the_power_fails(state);
    }
}

static void an_end_writes_all_to_the_disk(void **state) {
    char disk[sizeof(journal_directory)];
    for (uint64_t seed = 1; seed <= 10; seed++) {
        dice = seed;
        forget_images();
        memset(past, 0, sizeof(*past));
        disk_on_sync(bytes_synced, file_synced);
        process *p = process_that_syncs();
        until_scanned(p);
        for (int steps = 0; steps < 6; steps++) {
            write_many(p, draw_below(&dice, 6000));
            settle_some(p);
        }
        oa_spool_end(p->carrier.spool);
        host_turn(p);
        assert_true(make_another(disk));
        oa_journal_close(p->carrier.journal);
        fail_power(disk);
        process_forget(p);
        disk_on_sync(NULL, NULL);
        remove_directory(state);
        memcpy(journal_directory, disk, sizeof(journal_directory));
        expect_synced(past->count);
    }
}

static int make_all(void **state) {
    past = must(calloc(1, sizeof(*past)));
    return make_directory(state);
}

static int remove_all(void **state) {
    forget_images();
    free(past);
    return remove_directory(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_synced_survives_a_power_failure, make_all,
                                        remove_all),
        cmocka_unit_test_setup_teardown(an_end_writes_all_to_the_disk, make_all, remove_all),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + cmocka_run_group_tests_name("copies", tests, use_copies, NULL);
}
