/*
 * spool.c: a journal of segments in memory, as a host would map them. What a process that was
 * killed leaves is a copy of their bytes.
 */
#include "spool.h"

#include "support.h"

enum { FLAGS = 5, DISK = 64, SMALL = OA_SEGMENT_HEAD_BYTES + 2 * OA_SEGMENT_PAGE_BYTES };

/* A file: bytes that outlive a process. */
typedef struct file {
    char *bytes;
    size_t size;
    bool is_there;
} file;

typedef struct disk {
    file files[DISK];
    size_t count;
} disk;

typedef struct process {
    oa_spool *spool;
    oa_hash_key key;
    oa_variant_style style;
    oa_variant *variants[FLAGS];
    disk *disk;
    uint64_t salt;
    size_t max_files; /* that may be there */
} process;

static process *process_new(disk *files, uint64_t salt) {
    process *p = must(calloc(1, sizeof(*p)));
    oa_hash_key_init(&p->key, str("key"));
    p->style = (oa_variant_style){&p->key, str(""), false};
    for (size_t i = 0; i < FLAGS; i++) {
        const char flag[] = {(char)('a' + i), '\0'};
        assert_int_equal(
            oa_variant_new(&p->style, str(flag), str("v"), str(NULL), true, &p->variants[i]),
            OA_OK);
    }
    assert_int_equal(oa_spool_new(&p->spool), OA_OK);
    p->disk = files;
    p->salt = salt;
    p->max_files = DISK;
    return p;
}

static void process_kill(process *p) {
    oa_spool_free(p->spool);
    for (size_t i = 0; i < FLAGS; i++) {
        assert_int_equal(p->variants[i]->references, 1);
        oa_variant_unref(p->variants[i]);
    }
    free(p);
}

static size_t files_there(const disk *files) {
    size_t count = 0;
    for (size_t i = 0; i < files->count; i++)
        count += files->files[i].is_there;
    return count;
}

/* What a host does in its turn: delete what is done, make what is wanted. */
static void host_turn(process *p) {
    for (void *done; (done = oa_spool_next_done(p->spool)) != NULL;) {
        file *gone = done;
        assert_true(gone->is_there);
        gone->is_there = false;
        free(gone->bytes);
    }
    size_t size;
    while ((size = oa_spool_wants(p->spool)) > 0 && files_there(p->disk) < p->max_files) {
        size = size == OA_SEGMENT_BYTES ? SMALL : size; /* so that there are many */
        assert_true(p->disk->count < DISK);
        file *made = &p->disk->files[p->disk->count++];
        *made = (file){must(aligned_alloc(OA_SEGMENT_PAGE_BYTES, size)), size, true};
        memset(made->bytes, 0, size);
        const oa_segment_head head = {.number = p->disk->count, .salt = p->salt++};
        assert_int_equal(oa_spool_give(p->spool, made, made->bytes, size, &head), OA_OK);
    }
}

/* Find all that is on a disk, in the order in which it was made; nobody wrote to spare ones. */
static void find_all(process *p) {
    for (size_t i = 0; i < p->disk->count; i++) {
        file *found = &p->disk->files[i];
        if (found->is_there && found->bytes[0] == 0) {
            found->is_there = false;
            free(found->bytes);
        } else if (found->is_there) {
            assert_int_equal(oa_spool_find(p->spool, found, found->bytes, found->size), OA_OK);
        }
    }
}

static void disk_free(disk *files) {
    for (size_t i = 0; i < files->count; i++)
        if (files->files[i].is_there)
            free(files->files[i].bytes);
    free(files);
}

static oa_status write_one(process *p, uint32_t number, bool in_memory, oa_entry_place *place) {
    char user[24];
    snprintf(user, sizeof(user), "user-%u", number);
    const oa_entry entry = {
        .time_ms = number,
        .occurrence = {number, number + 1},
        .strings = {str(user)},
    };
    return oa_spool_write(p->spool, number % 7 == 6 ? NULL : p->variants[number % FLAGS], &entry,
                          in_memory, place);
}

static void assert_is_number(const oa_spool_entry *read, uint32_t number) {
    char user[24];
    snprintf(user, sizeof(user), "user-%u", number);
    assert_int_equal(read->entry.time_ms, number);
    assert_int_equal(read->entry.occurrence.turn, number + 1);
    assert_int_equal(read->entry.strings[OA_ENTRY_USER_ID].len, strlen(user));
    assert_memory_equal(read->entry.strings[OA_ENTRY_USER_ID].data, user, strlen(user));
    if (number % 7 == 6)
        assert_null(read->variant);
    else
        assert_int_equal(read->variant->flag_key.data[0], 'a' + number % FLAGS);
}

/* Read the next one back, which is `number`; settle it, too, if asked. */
static void read_one(process *p, uint32_t number, bool settled) {
    oa_spool_entry read;
    oa_status status;
    assert_true(oa_spool_peek(p->spool, &p->style, &read, &status));
    assert_int_equal(status, OA_OK);
    assert_is_number(&read, number);
    oa_spool_advance(p->spool);
    if (settled)
        oa_spool_settle(p->spool, read.place);
}

static void assert_all_is_read(process *p) {
    oa_spool_entry read;
    oa_status status;
    assert_false(oa_spool_peek(p->spool, &p->style, &read, &status));
    assert_false(oa_spool_is_behind(p->spool));
}

static void what_is_settled_leaves_no_file(void **state) {
    (void)state;
    disk *files = must(calloc(1, sizeof(*files)));
    process *p = process_new(files, 1);
    host_turn(p);
    for (uint32_t number = 0; number < 2000; number++) {
        oa_entry_place place;
        assert_int_equal(write_one(p, number, true, &place), OA_OK);
        assert_false(oa_spool_is_behind(p->spool));
        oa_spool_settle(p->spool, place);
        host_turn(p);
        assert_int_equal(files_there(files), 3); /* one that is written, and two spare ones */
    }
    process_kill(p);
    p = process_new(files, 1000);
    find_all(p);
    assert_all_is_read(p);
    assert_non_null(oa_spool_next_done(p->spool));
    assert_null(oa_spool_next_done(p->spool));
    process_kill(p);
    disk_free(files);
}

static void what_has_no_room_is_read_back_in_order(void **state) {
    (void)state;
    disk *files = must(calloc(1, sizeof(*files)));
    process *p = process_new(files, 1);
    host_turn(p);
    oa_entry_place place;
    for (uint32_t number = 0; number < 500; number++) {
        assert_int_equal(write_one(p, number, number < 100, &place), OA_OK);
        assert_int_equal(oa_spool_is_behind(p->spool), number >= 100);
        host_turn(p);
    }
    for (uint32_t number = 100; number < 400; number++)
        read_one(p, number, false);
    for (uint32_t number = 500; number < 600; number++) {
        assert_int_equal(write_one(p, number, false, &place), OA_OK);
        host_turn(p);
    }
    oa_spool_stats stats;
    oa_spool_stats_get(p->spool, &stats);
    assert_int_equal(stats.disk_only, 200);
    for (uint32_t number = 400; number < 600; number++)
        read_one(p, number, false);
    assert_all_is_read(p);
    /* It is in memory again, and what follows may be, too. */
    assert_int_equal(write_one(p, 600, true, &place), OA_OK);
    assert_false(oa_spool_is_behind(p->spool));
    assert_int_equal(write_one(p, 601, false, &place), OA_OK);
    read_one(p, 601, false);
    assert_all_is_read(p);
    process_kill(p);
    disk_free(files);
}

static void what_was_left_is_read_first(void **state) {
    (void)state;
    disk *files = must(calloc(1, sizeof(*files)));
    process *p = process_new(files, 1);
    host_turn(p);
    oa_entry_place place;
    for (uint32_t number = 0; number < 300; number++) {
        assert_int_equal(write_one(p, number, true, &place), OA_OK);
        if (number % 3 == 0)
            oa_spool_settle(p->spool, place);
        host_turn(p);
    }
    process_kill(p);
    p = process_new(files, 1000);
    find_all(p);
    host_turn(p);
    assert_true(oa_spool_is_behind(p->spool));
    for (uint32_t number = 300; number < 330; number++)
        assert_int_equal(write_one(p, number, false, &place), OA_OK);
    for (uint32_t number = 0; number < 300; number++)
        if (number % 3 != 0)
            read_one(p, number, number % 2 == 0);
    for (uint32_t number = 300; number < 330; number++)
        read_one(p, number, true);
    assert_all_is_read(p);
    oa_spool_stats stats;
    oa_spool_stats_get(p->spool, &stats);
    assert_int_equal(stats.found, 200);
    assert_int_equal(stats.disk_only, 0);
    assert_int_equal(stats.missing, 0);
    process_kill(p);

    /* And killed again, it has lost nothing. */
    p = process_new(files, 2000);
    find_all(p);
    for (uint32_t number = 0; number < 300; number++)
        if (number % 3 != 0 && number % 2 != 0)
            read_one(p, number, true);
    assert_all_is_read(p);
    host_turn(p);
    assert_int_equal(files_there(files), 2); /* spare ones of its own */
    process_kill(p);
    disk_free(files);
}

static void a_full_disk_keeps_what_it_has(void **state) {
    (void)state;
    disk *files = must(calloc(1, sizeof(*files)));
    process *p = process_new(files, 1);
    p->max_files = 2;
    host_turn(p);
    oa_entry_place place = {NULL, 0}, first;
    assert_int_equal(write_one(p, 0, true, &first), OA_OK);
    uint32_t number = 1;
    while (write_one(p, number, false, &place) == OA_OK)
        number++;
    assert_true(number > 150);
    assert_int_equal(write_one(p, number, true, &place), OA_QUEUE_FULL);
    oa_spool_stats stats;
    oa_spool_stats_get(p->spool, &stats);
    assert_int_equal(stats.unwritten, 1);
    for (uint32_t n = 1; n < number; n++)
        read_one(p, n, true);
    assert_all_is_read(p);
    oa_spool_settle(p->spool, first); /* a segment is free again */
    host_turn(p);
    assert_int_equal(write_one(p, number, true, &place), OA_OK);
    process_kill(p);
    disk_free(files);
}

static void an_event_that_is_longer_than_a_segment_has_one(void **state) {
    (void)state;
    enum { LONG = 3000000 };
    disk *files = must(calloc(1, sizeof(*files)));
    process *p = process_new(files, 1);
    host_turn(p);
    char *text = must(calloc(1, LONG));
    oa_entry entry = {.time_ms = 5, .strings = {[OA_ENTRY_EVENT_PROPERTIES] = {text, LONG}}};
    oa_entry_place place;
    assert_int_equal(oa_spool_write(p->spool, NULL, &entry, false, &place), OA_QUEUE_FULL);
    assert_true(oa_spool_wants(p->spool) >= LONG);
    host_turn(p);
    assert_int_equal(oa_spool_write(p->spool, NULL, &entry, false, &place), OA_OK);
    for (int given = 0; given < 2; given++) /* before it, and never written */
        assert_non_null(oa_spool_next_done(p->spool));
    assert_null(oa_spool_next_done(p->spool));
    oa_spool_entry read;
    oa_status status;
    assert_true(oa_spool_peek(p->spool, &p->style, &read, &status));
    assert_int_equal(read.entry.strings[OA_ENTRY_EVENT_PROPERTIES].len, LONG);
    process_kill(p);
    disk_free(files);
    free(text);
}

/* Ranges are those of what was stored, pauses refuse, and what is done is in no list any more. */
static void a_copy_is_saved_until_it_is_done(void **state) {
    (void)state;
    disk *files = must(calloc(1, sizeof(*files)));
    process *p = process_new(files, 1);
    oa_entry_place first, second;
    oa_spool_range range;
    oa_spool_use_copies(p->spool);
    host_turn(p);
    assert_false(oa_spool_next_unsaved(p->spool, &range));
    assert_int_equal(write_one(p, 0, true, &first), OA_OK);
    assert_true(oa_spool_next_unsaved(p->spool, &range));
    assert_int_equal(range.from, 0); /* with the head */
    assert_true(range.to > OA_SEGMENT_HEAD_BYTES);
    oa_spool_saved(p->spool);
    assert_false(oa_spool_next_unsaved(p->spool, &range));
    const size_t end = range.to;
    assert_int_equal(write_one(p, 0, true, &second), OA_OK);
    assert_true(oa_spool_next_unsaved(p->spool, &range));
    assert_int_equal(range.from, end);
    oa_spool_pause(p->spool, true);
    assert_int_equal(write_one(p, 1, true, &second), OA_QUEUE_FULL);
    oa_spool_pause(p->spool, false);
    oa_spool_saved(p->spool);
    oa_spool_settle(p->spool, first);
    assert_true(oa_spool_next_unsaved(p->spool, &range));
    assert_int_equal(range.from, oa_segment_settled_at());
    assert_int_equal(range.to, range.from + 1);
    oa_spool_settle(p->spool, second);
    oa_spool_end(p->spool);
    assert_false(oa_spool_next_unsaved(p->spool, &range));
    host_turn(p);
    assert_int_equal(files_there(files), 0);
    process_kill(p);
    disk_free(files);
}

/* As at the end of a process that has time for it. */
static void an_end_leaves_what_is_not_settled(void **state) {
    (void)state;
    for (int settles = 0; settles < 2; settles++) {
        disk *files = must(calloc(1, sizeof(*files)));
        process *p = process_new(files, 1);
        host_turn(p);
        oa_entry_place place;
        assert_int_equal(write_one(p, 0, true, &place), OA_OK);
        if (settles)
            oa_spool_settle(p->spool, place);
        oa_spool_end(p->spool);
        assert_int_equal(oa_spool_wants(p->spool), 0);
        host_turn(p);
        assert_int_equal(files_there(files), settles ? 0 : 1);
        process_kill(p);
        disk_free(files);
    }
}

static void without_memory_nothing_is_lost(void **state) {
    (void)state;
    disk *files = must(calloc(1, sizeof(*files)));
    process *p = process_new(files, 1);
    host_turn(p);
    oa_entry_place place;
    memory_deny(true);
    assert_int_equal(write_one(p, 0, true, &place), OA_QUEUE_FULL);
    memory_deny(false);
    for (uint32_t number = 0; number < 10; number++)
        assert_int_equal(write_one(p, number, true, &place), OA_OK);
    process_kill(p);
    p = process_new(files, 1000);
    memory_deny(true);
    assert_int_equal(oa_spool_find(p->spool, &files->files[0], files->files[0].bytes, SMALL),
                     OA_NOMEM);
    memory_deny(false);
    find_all(p);
    oa_spool_entry read;
    oa_status status;
    memory_deny(true);
    assert_true(oa_spool_peek(p->spool, &p->style, &read, &status));
    assert_int_equal(status, OA_NOMEM);
    memory_deny(false);
    for (uint32_t number = 0; number < 10; number++)
        read_one(p, number, true);
    assert_all_is_read(p);
    process_kill(p);
    disk_free(files);
}

/* What a decision of a random history is. */
typedef enum fate { UNKNOWN, IN_MEMORY, ON_DISK, SETTLED } fate;

/*
 * A process writes, settles in any order, reads back, and is killed: again and again. Nothing that was
 * written and not settled is ever missing, and nothing that was settled comes back.
 */
static void nothing_is_lost_whatever_happens(void **state) {
    (void)state;
    enum { ROUNDS = 300, KILLS = 20, MOST = ROUNDS * KILLS };
    for (uint64_t seed = 1; seed <= 20; seed++) {
        uint64_t dice = seed;
        disk *files = must(calloc(1, sizeof(*files)));
        static fate fates[MOST];
        static oa_entry_place places[MOST];
        memset(fates, 0, sizeof(fates));
        uint32_t count = 0;
        for (int life = 0; life < KILLS && files->count < DISK / 2; life++) {
            process *p = process_new(files, seed * 1000000 + (uint64_t)life * 1000);
            find_all(p);
            for (uint32_t i = 0; i < count; i++)
                if (fates[i] != SETTLED)
                    fates[i] = ON_DISK;
            for (int round = 0; round < ROUNDS && files->count < DISK - 4; round++) {
                host_turn(p);
                const uint64_t what = draw_below(&dice, 10);
                if (what < 4) {
                    const bool in_memory =
                        !oa_spool_is_behind(p->spool) && draw_below(&dice, 4) > 0;
                    assert_int_equal(write_one(p, count, in_memory, &places[count]), OA_OK);
                    fates[count++] = in_memory ? IN_MEMORY : ON_DISK;
                } else if (what < 6) {
                    oa_spool_entry read;
                    oa_status status;
                    if (!oa_spool_peek(p->spool, &p->style, &read, &status))
                        continue;
                    uint32_t first = 0;
                    while (fates[first] != ON_DISK)
                        first++;
                    assert_is_number(&read, first);
                    oa_spool_advance(p->spool);
                    places[first] = read.place;
                    fates[first] = IN_MEMORY;
                } else if (count > 0) {
                    const uint32_t any = (uint32_t)draw_below(&dice, count);
                    if (fates[any] != IN_MEMORY)
                        continue;
                    oa_spool_settle(p->spool, places[any]);
                    fates[any] = SETTLED;
                }
            }
            process_kill(p);
        }
        process *last = process_new(files, 9);
        find_all(last);
        for (uint32_t i = 0; i < count; i++)
            if (fates[i] != SETTLED)
                read_one(last, i, true);
        assert_all_is_read(last);
        while (oa_spool_next_done(last->spool) != NULL)
            continue;
        oa_spool_stats stats;
        oa_spool_stats_get(last->spool, &stats);
        assert_int_equal(stats.segments, 0);
        assert_int_equal(stats.bytes, 0);
        process_kill(last);
        disk_free(files);
    }
}

static int allow_memory(void **state) {
    (void)state;
    memory_deny(false);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_settled_leaves_no_file),
        cmocka_unit_test(what_has_no_room_is_read_back_in_order),
        cmocka_unit_test(what_was_left_is_read_first),
        cmocka_unit_test(a_full_disk_keeps_what_it_has),
        cmocka_unit_test(an_event_that_is_longer_than_a_segment_has_one),
        cmocka_unit_test(a_copy_is_saved_until_it_is_done),
        cmocka_unit_test(an_end_leaves_what_is_not_settled),
        cmocka_unit_test(without_memory_nothing_is_lost),
        cmocka_unit_test(nothing_is_lost_whatever_happens),
    };
    return cmocka_run_group_tests(tests, allow_memory, NULL);
}
