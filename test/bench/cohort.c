/*
 * cohort.c: membership in numbers: memory, building, look-ups, wrong answers; without Node.
 *
 *     cohort [members in millions, 10] [wrong answers: look-ups in millions, 100]
 *     cohort snapshot <file> <secret key> <users in millions>
 *
 * The second form writes a snapshot of eight cohorts, each with every second user, and the ids of
 * a million of the users on a line each, to <file> and <file>.ids, for audiences.js.
 *
 * It prints a JSON object. Times are CPU. Ids have 20 bytes, in the body of a cohort API that is fed
 * in pieces of 64 KB. Memory is what the system counts for the process (VmRSS, VmHWM), on pages of
 * its own, as in the addon.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "cohort.h"

enum { PIECE_BYTES = 64 * 1024, ID_BYTES = 20, COHORTS = 8 };

static oa_hash_key key;
static char piece[PIECE_BYTES + 64];

static void *must(void *pointer) {
    if (pointer == NULL)
        abort();
    return pointer;
}

static void check(oa_status status) {
    if (status != OA_OK) {
        fprintf(stderr, "cohort: %s\n", oa_status_message(status));
        exit(1);
    }
}

static void *map_pages(size_t size) {
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static void unmap_pages(void *pointer, size_t size) { munmap(pointer, size); }

static double cpu_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A line of /proc/self/status, in bytes. */
static double memory(const char *name) {
    FILE *file = must(fopen("/proc/self/status", "r"));
    char line[200];
    double kb = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0)
            kb = strtod(line + strlen(name) + 1, NULL);
    }
    fclose(file);
    return kb * 1024;
}

/* Start VmHWM again. */
static void forget_peak(void) {
    FILE *file = must(fopen("/proc/self/clear_refs", "w"));
    fputs("5", file);
    fclose(file);
}

static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* Write the id of user `n`: 4 letters and 16 digits of a scrambled number. */
static void write_id(char *to, uint64_t n) {
    static const char DIGITS[] = "0123456789abcdef";
    const uint64_t x = mixed(n + 1);
    memcpy(to, "user", 4);
    for (int i = 0; i < 16; i++)
        to[4 + i] = DIGITS[x >> 4 * i & 15];
}

static uint64_t print_of(uint64_t n) {
    char id[ID_BYTES];
    write_id(id, n);
    return oa_cohort_print(&key, (oa_str){id, ID_BYTES});
}

typedef struct timing {
    double make_s; /* of the body, which is not ours */
    double read_s;
    double merge_s;
} timing;

/* Make the next table: every `step`-th of the users from `first` is in cohort `cohort`. */
static oa_cohort_table *build(oa_cohort_table *present, size_t cohorts, size_t cohort,
                              uint64_t first, uint64_t count, uint64_t step, timing *t) {
    static const char NAMES[COHORTS][2] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    oa_str names[COHORTS];
    for (size_t i = 0; i < COHORTS; i++)
        names[i] = (oa_str){NAMES[i], 1};
    const oa_cohort_plan plan = {
        .key = &key, .names = names, .name_count = cohorts, .cohort = cohort};
    oa_cohort_build *b = NULL;
    check(oa_cohort_build_new(&plan, &b));
    size_t len = (size_t)sprintf(
        piece, "{\"cohortId\":\"a\",\"lastModified\":1,\"size\":%llu,\"memberIds\":[",
        (unsigned long long)(count / step));
    *t = (timing){0, 0, 0};
    double at = cpu_s();
    for (uint64_t n = 0; n <= count; n += step) {
        if (len >= PIECE_BYTES - 64 || n + step > count) {
            if (n + step > count)
                len += (size_t)sprintf(piece + len, "\"\"]}");
            double now = cpu_s();
            t->make_s += now - at;
            check(oa_cohort_build_feed(b, (oa_str){piece, len}));
            at = cpu_s();
            t->read_s += at - now;
            len = 0;
        }
        piece[len] = '"';
        write_id(piece + len + 1, first + n);
        memcpy(piece + len + 1 + ID_BYTES, "\",", 2);
        len += ID_BYTES + 3;
    }
    const double now = cpu_s();
    check(oa_cohort_build_end(b));
    oa_cohort_delta delta;
    oa_cohort_table *table = NULL;
    check(oa_cohort_build_finish(b, present, NULL, 0, &delta, &table));
    t->merge_s = cpu_s() - now;
    oa_cohort_build_free(b);
    return table;
}

enum { PRINTS = 1 << 20 };

/* Prints of random users of [first, first + count). */
static uint64_t *some_prints(uint64_t first, uint64_t count) {
    uint64_t *prints = must(malloc(PRINTS * sizeof(*prints)));
    for (size_t i = 0; i < PRINTS; i++)
        prints[i] = print_of(first + mixed(i + 7 * first) % count);
    return prints;
}

static void tell(const char *name, double value) {
    static bool has_one;
    printf("%s\"%s\": %.6g", has_one ? ",\n  " : "{\n  ", name, value);
    has_one = true;
    fflush(stdout);
}

/* Look-ups one after the other: each waits for the answer of the one before. Tells ns of each. */
static void look_up(const char *name, oa_cohort_table *const *tables, size_t count, uint64_t first,
                    uint64_t users) {
    uint64_t *prints = some_prints(first, users);
    const double begin = cpu_s();
    for (size_t i = 0; i < PRINTS; i++) {
        uint64_t all = 0;
        for (size_t n = 0; n < count; n++) {
            oa_cohort_set set;
            oa_cohort_table_find(tables[n], prints[i], &set);
            all |= set.words[0] << n;
        }
        if (i + 1 < PRINTS)
            prints[i + 1] ^= all >> 63;
    }
    tell(name, (cpu_s() - begin) / PRINTS * 1e9);
    free(prints);
}

/* Wrong answers about members, and about prints that no member has. */
static void look_for_wrong_answers(const oa_cohort_table *table, uint64_t first, uint64_t members,
                                   uint64_t probes) {
    uint64_t missing = 0, wrong = 0;
    oa_cohort_set set;
    for (uint64_t n = 0; n < members; n++) {
        oa_cohort_table_find(table, print_of(first + n), &set);
        missing += set.words[0] != 1;
    }
    for (uint64_t n = 0; n < probes; n++) { /* as hashes of ids are, without ids */
        oa_cohort_table_find(table, mixed(n + (UINT64_C(1) << 50)) >> 7, &set);
        wrong += set.words[0] != 0;
    }
    tell("membersMissing", (double)missing);
    tell("probes", (double)probes);
    tell("wrongMembers", (double)wrong);
}

static void one_cohort(uint64_t members, uint64_t probes) {
    timing t;
    const double before = memory("VmRSS:");
    oa_cohort_table *table = build(NULL, 1, 0, 0, members, 1, &t);
    tell("members", (double)members);
    tell("bodyBytes", (double)members * (ID_BYTES + 3));
    tell("bytesPerMember", (memory("VmRSS:") - before) / (double)members);
    tell("imageBytesPerMember", (double)oa_cohort_table_image(table).len / (double)members);
    tell("loadSeconds", t.read_s + t.merge_s);

    forget_peak();
    oa_cohort_table *next = build(table, 1, 0, members / 20, members, 1, &t);
    tell("refreshReadSeconds", t.read_s);
    tell("refreshMergeSeconds", t.merge_s);
    tell("refreshPeakBytes", memory("VmHWM:") - memory("VmRSS:")); /* beyond both tables */
    oa_cohort_table_free(table);
    table = next;

    const double begin = cpu_s();
    oa_cohort_table *opened = NULL;
    check(oa_cohort_table_open(&key, oa_cohort_table_image(table), &opened));
    tell("openMillis", (cpu_s() - begin) * 1e3);
    oa_cohort_table_free(opened);

    look_up("memberNanos", &table, 1, members / 20, members);
    look_up("otherNanos", &table, 1, UINT64_C(1) << 40, members);
    look_for_wrong_answers(table, members / 20, members, probes);
    oa_cohort_table_free(table);
}

/* Eight cohorts in one table, each with every second user. */
static oa_cohort_table *build_eight(uint64_t users) {
    timing t;
    oa_cohort_table *one = NULL;
    for (size_t i = 0; i < COHORTS; i++) {
        oa_cohort_table *next = build(one, COHORTS, i, i % 2, users, 2, &t);
        oa_cohort_table_free(one);
        one = next;
    }
    return one;
}

/* The same in one table, and in a table for each. */
static void eight_cohorts(uint64_t users) {
    timing t;
    oa_cohort_table *each[COHORTS];
    double before = memory("VmRSS:");
    oa_cohort_table *one = build_eight(users);
    tell("eightBytesPerUser", (memory("VmRSS:") - before) / (double)users);
    before = memory("VmRSS:");
    for (size_t i = 0; i < COHORTS; i++)
        each[i] = build(NULL, 1, 0, i % 2, users, 2, &t);
    tell("eightTablesBytesPerUser", (memory("VmRSS:") - before) / (double)users);
    look_up("eightNanos", &one, 1, 0, users);
    look_up("eightTablesNanos", each, COHORTS, 0, users);
    oa_cohort_table_free(one);
    for (size_t i = 0; i < COHORTS; i++)
        oa_cohort_table_free(each[i]);
}

static void write_snapshot(const char *path, uint64_t users) {
    char ids[256];
    oa_cohort_table *table = build_eight(users);
    const oa_str image = oa_cohort_table_image(table);
    snprintf(ids, sizeof(ids), "%s.ids", path);
    FILE *file = must(fopen(path, "w")), *list = must(fopen(ids, "w"));
    if (fwrite(image.data, 1, image.len, file) != image.len)
        abort();
    for (uint64_t i = 0; i < 1000000; i++) {
        char line[ID_BYTES + 1];
        write_id(line, mixed(i) % users);
        line[ID_BYTES] = '\n';
        fwrite(line, 1, sizeof(line), list);
    }
    fclose(file);
    fclose(list);
    oa_cohort_table_free(table);
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "snapshot") == 0) {
        oa_set_pages((oa_pages){map_pages, unmap_pages});
        oa_cohort_key_init(&key, (oa_str){argv[3], strlen(argv[3])});
        write_snapshot(argv[2], strtoull(argv[4], NULL, 10) * 1000000);
        return 0;
    }
    const uint64_t millions = argc > 1 ? strtoull(argv[1], NULL, 10) : 10;
    const uint64_t probes = argc > 2 ? strtoull(argv[2], NULL, 10) : 100;
    oa_set_pages((oa_pages){map_pages, unmap_pages});
    oa_cohort_key_init(&key, (oa_str){"a secret key", 12});
    one_cohort(millions * 1000000, probes * 1000000);
    eight_cohorts(millions * 1000000);
    printf("\n}\n");
    return 0;
}
