/*
 * cohort_runs.c: runs of 131,072 sorted prints, as Elias-Fano codes.  [one owner]
 *
 * The upper 17 bits of a print are its bucket, and are not stored. A run has a one for each print,
 * and a zero behind each bucket; so print n of bucket b is at bit n + b:
 *
 *   prints   a of bucket 0      b, c of bucket 2
 *   bits     1 0 0 1 1 0 ...    2 bits a print in a full run
 *   rests    aaaaa bbbbb ccccc  the lower 40 bits, in 5 bytes
 *
 * Both are kept in chunks of 16 KB, which are freed as soon as they are read. All runs are read
 * side by side, some buckets at a time (a range), into the buffer, which is sorted and given out.
 */
#include "cohort_runs.h"

#include <string.h>

#include "mem.h"

enum {
    PRINT_BITS = 57,
    BUCKET_BITS = 17,
    BUCKETS = 1 << BUCKET_BITS,
    RUN_PRINTS = 1 << 17,
    REST_BITS = PRINT_BITS - BUCKET_BITS,
    REST_BYTES = REST_BITS / 8,
    CHUNK_BYTES = 16384,
    CHUNK_BITS = CHUNK_BYTES * 8,
    WORD_BITS = 64,
    CHUNK_RESTS = CHUNK_BYTES / REST_BYTES,
    BIT_CHUNKS = (RUN_PRINTS + BUCKETS) / CHUNK_BITS,
    REST_CHUNKS = (RUN_PRINTS + CHUNK_RESTS - 1) / CHUNK_RESTS,
    RANGE_PRINTS = RUN_PRINTS / 4, /* in a range, on average, at most */
    MAX_RUNS = 1 << 15,
    FIRST_BITS = 9, /* of the first pass of a sort; the second takes 8 */
    SECOND_BITS = BUCKET_BITS - FIRST_BITS,
};

typedef struct run {
    uint64_t *bits[BIT_CHUNKS];
    uint8_t *rests[REST_CHUNKS];
    uint32_t count;
    uint32_t bit_at; /* what is read next */
    uint32_t rest_at;
} run;

struct oa_cohort_runs {
    uint64_t *prints; /* the buffer, with room for the mark behind the last one */
    uint64_t *spare;  /* of the same size, for sorting */
    size_t room;
    size_t count;
    run **list;
    size_t run_count;
    size_t run_room;
    uint64_t total;
    uint32_t bucket;     /* the first one that was not read */
    uint32_t range_bits; /* a range is chosen by that many of the upper bits */
};

static oa_status resize(oa_cohort_runs *runs, size_t room) {
    uint64_t *prints = oa_mem_realloc(runs->prints, (room + 1) * sizeof(*prints));
    if (prints != NULL)
        runs->prints = prints;
    uint64_t *spare = oa_mem_realloc(runs->spare, room * sizeof(*spare));
    if (spare != NULL)
        runs->spare = spare;
    if (prints == NULL || spare == NULL)
        return OA_NOMEM;
    runs->room = room;
    return OA_OK;
}

oa_status oa_cohort_runs_new(oa_cohort_runs **out) {
    oa_cohort_runs *runs = oa_mem_calloc(1, sizeof(*runs));
    if (runs == NULL)
        return OA_NOMEM;
    if (resize(runs, RUN_PRINTS) != OA_OK) {
        oa_cohort_runs_free(runs);
        return OA_NOMEM;
    }
    *out = runs;
    return OA_OK;
}

/* Free the first chunks of a run, and no others. */
static void free_chunks(run *r, uint32_t bit_chunks, uint32_t rest_chunks) {
    for (uint32_t i = 0; i < bit_chunks; i++) {
        if (r->bits[i] != NULL)
            oa_mem_free_pages(r->bits[i], CHUNK_BYTES);
        r->bits[i] = NULL;
    }
    for (uint32_t i = 0; i < rest_chunks; i++) {
        if (r->rests[i] != NULL)
            oa_mem_free_pages(r->rests[i], CHUNK_BYTES);
        r->rests[i] = NULL;
    }
}

static void run_free(run *r) {
    if (r != NULL)
        free_chunks(r, BIT_CHUNKS, REST_CHUNKS);
    oa_mem_free(r);
}

void oa_cohort_runs_free(oa_cohort_runs *runs) {
    if (runs == NULL)
        return;
    for (size_t i = 0; i < runs->run_count; i++)
        run_free(runs->list[i]);
    oa_mem_free(runs->list);
    oa_mem_free(runs->prints);
    oa_mem_free(runs->spare);
    oa_mem_free(runs);
}

/* ---- Sorting ---- */

/* Sort by the `bits` bits from `shift` on, from one array to the other. */
static void distribute(const uint64_t *from, uint64_t *to, size_t count, uint32_t shift,
                       uint32_t bits, uint32_t *ends) {
    const uint32_t parts = UINT32_C(1) << bits;
    const uint64_t mask = parts - 1;
    memset(ends, 0, parts * sizeof(*ends));
    for (size_t i = 0; i < count; i++)
        ends[from[i] >> shift & mask]++;
    uint32_t sum = 0;
    for (uint32_t part = 0; part < parts; part++) {
        const uint32_t size = ends[part];
        ends[part] = sum;
        sum += size;
    }
    for (size_t i = 0; i < count; i++)
        to[ends[from[i] >> shift & mask]++] = from[i];
}

/* Sort what differs below bit `top` only, drop repeats, and return how many are left. */
static size_t sort(uint64_t *prints, uint64_t *spare, size_t count, uint32_t top) {
    uint32_t firsts[1 << FIRST_BITS], seconds[1 << SECOND_BITS];
    distribute(prints, spare, count, top - FIRST_BITS, FIRST_BITS, firsts);
    uint32_t begin = 0;
    for (size_t part = 0; part < 1 << FIRST_BITS; begin = firsts[part++]) {
        distribute(spare + begin, prints + begin, firsts[part] - begin, top - BUCKET_BITS,
                   SECOND_BITS, seconds);
    }
    /* Nearly sorted now: what differs in no bit that was looked at is next to each other. */
    for (size_t i = 1; i < count; i++) {
        const uint64_t print = prints[i];
        size_t at = i;
        for (; at > 0 && prints[at - 1] > print; at--)
            prints[at] = prints[at - 1];
        prints[at] = print;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || prints[kept - 1] != prints[i])
            prints[kept++] = prints[i];
    }
    return kept;
}

/* ---- Writing a run ---- */

/* Return a run with room for `count` prints; NULL: memory ran out. */
static run *run_new(size_t count) {
    run *r = oa_mem_calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->count = (uint32_t)count;
    bool is_there = true;
    for (size_t i = 0; i * CHUNK_BITS < count + BUCKETS && is_there; i++) {
        r->bits[i] = oa_mem_alloc_pages(CHUNK_BYTES);
        is_there = r->bits[i] != NULL;
        if (is_there)
            memset(r->bits[i], 0, CHUNK_BYTES);
    }
    for (size_t i = 0; i * CHUNK_RESTS < count && is_there; i++) {
        r->rests[i] = oa_mem_alloc_pages(CHUNK_BYTES);
        is_there = r->rests[i] != NULL;
    }
    if (is_there)
        return r;
    run_free(r);
    return NULL;
}

/* Encode sorted prints, each once. */
static void encode(run *r, const uint64_t *prints) {
    for (uint32_t i = 0; i < r->count; i++) {
        const uint64_t print = prints[i];
        const uint32_t bit = (uint32_t)(print >> REST_BITS) + i;
        r->bits[bit / CHUNK_BITS][bit % CHUNK_BITS / WORD_BITS] |= UINT64_C(1) << bit % WORD_BITS;
        uint8_t *rest = r->rests[i / CHUNK_RESTS] + i % CHUNK_RESTS * REST_BYTES;
        rest[0] = (uint8_t)print;
        rest[1] = (uint8_t)(print >> 8);
        rest[2] = (uint8_t)(print >> 16);
        rest[3] = (uint8_t)(print >> 24);
        rest[4] = (uint8_t)(print >> 32);
    }
}

static bool list_has_room(oa_cohort_runs *runs) {
    if (runs->run_count < runs->run_room)
        return true;
    const size_t room = runs->run_room == 0 ? 16 : runs->run_room * 2;
    run **list = room > MAX_RUNS ? NULL : oa_mem_realloc(runs->list, room * sizeof(*list));
    if (list == NULL)
        return false;
    runs->list = list;
    runs->run_room = room;
    return true;
}

/* Make a run of the buffer, and empty it. */
static oa_status flush(oa_cohort_runs *runs) {
    const size_t count = sort(runs->prints, runs->spare, runs->count, PRINT_BITS);
    runs->count = count; /* if it fails, nothing but repeats is lost */
    run *r = list_has_room(runs) ? run_new(count) : NULL;
    if (r == NULL)
        return OA_NOMEM;
    encode(r, runs->prints);
    runs->list[runs->run_count++] = r;
    runs->total += count;
    runs->count = 0;
    return OA_OK;
}

oa_status oa_cohort_runs_add(oa_cohort_runs *runs, uint64_t print) {
    if (runs->count == RUN_PRINTS) {
        const oa_status status = flush(runs);
        if (status != OA_OK)
            return status;
    }
    runs->prints[runs->count++] = print;
    return OA_OK;
}

uint64_t oa_cohort_runs_count(const oa_cohort_runs *runs) { return runs->total + runs->count; }

/* ---- Reading ---- */

oa_status oa_cohort_runs_end(oa_cohort_runs *runs) {
    const oa_status status = runs->count == 0 ? OA_OK : flush(runs);
    while (runs->range_bits < BUCKET_BITS && runs->total >> runs->range_bits > RANGE_PRINTS)
        runs->range_bits++;
    return status;
}

/* The lower bits of print `at`. */
static inline uint64_t rest_of(const run *r, uint32_t at) {
    const uint8_t *rest = r->rests[at / CHUNK_RESTS] + at % CHUNK_RESTS * REST_BYTES;
    return (uint64_t)rest[0] | (uint64_t)rest[1] << 8 | (uint64_t)rest[2] << 16 |
           (uint64_t)rest[3] << 24 | (uint64_t)rest[4] << 32;
}

/* Append a run's prints of the buckets below `end`, which were not read yet. */
static oa_status decode(oa_cohort_runs *runs, run *r, uint32_t end) {
    while (r->rest_at < r->count) {
        const uint64_t *words = r->bits[r->bit_at / CHUNK_BITS];
        const uint64_t word = words[r->bit_at % CHUNK_BITS / WORD_BITS] >> r->bit_at % WORD_BITS;
        if (word == 0) {
            r->bit_at = (r->bit_at / WORD_BITS + 1) * WORD_BITS;
            continue;
        }
        r->bit_at += (uint32_t)__builtin_ctzll(word);
        const uint64_t bucket = r->bit_at - r->rest_at;
        if (bucket >= end)
            break;
        if (runs->count == runs->room) {
            const oa_status status = resize(runs, runs->room * 2);
            if (status != OA_OK)
                return status;
        }
        runs->prints[runs->count++] = bucket << REST_BITS | rest_of(r, r->rest_at++);
        r->bit_at++;
    }
    free_chunks(r, r->bit_at / CHUNK_BITS, r->rest_at / CHUNK_RESTS);
    return OA_OK;
}

oa_status oa_cohort_runs_next(oa_cohort_runs *runs, const uint64_t **out, size_t *count) {
    const uint32_t range = UINT32_C(1) << (BUCKET_BITS - runs->range_bits);
    runs->count = 0;
    while (runs->count == 0 && runs->bucket < BUCKETS) {
        for (size_t i = 0; i < runs->run_count; i++) {
            const oa_status status = decode(runs, runs->list[i], runs->bucket + range);
            if (status != OA_OK)
                return status;
        }
        runs->bucket += range;
    }
    *count = sort(runs->prints, runs->spare, runs->count, PRINT_BITS - runs->range_bits);
    runs->prints[*count] = UINT64_MAX;
    *out = runs->prints;
    return OA_OK;
}
