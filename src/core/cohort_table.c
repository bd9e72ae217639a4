/*
 * cohort_table.c: one sorted array of users for all cohorts, in buckets.
 *
 * The upper bits of a print choose its bucket and are not stored. What remains of the 57 bits, and
 * the set of cohorts, are stored in as many bytes as they need:
 *
 *   print, 57 bits     0110 1...0 | 0111010...01        20 bits of it for 10 million users
 *                          |            |
 *   offsets, 4 bytes       v            |
 *   +----+----+----+----+----+-----     |
 *   |  0 |  9 | 21 | 28 | 40 |          |               8 to 16 users in a bucket
 *   +----+----+----+----+----+-----     |
 *          |                            v
 *          v   +-----------+-----+-----------+-----+-----
 *   users      | remainder | set | remainder | set |    sorted; 5 bytes, and 1 for 2 to 8 cohorts;
 *              +-----------+-----+-----------+-----+-----     of a single cohort no set is stored
 *
 * So 10 million members of one cohort take 5.4 bytes each, and 6.4 in 8 cohorts. A look-up reads
 * an offset and then a bucket. A table for each cohort takes less for users that are in one of
 * them, but three times as much for users that are in four of eight, and more than twice the time.
 *
 * Larger buckets, in which a user is looked for where it would be if prints were exactly evenly
 * spread, save 0.4 bytes and are not faster: the place that is read depends on more.
 *
 * All 57 bits can be told from an entry and its place. So tables of any size are merged exactly,
 * and a wrong answer stays as improbable after any number of merges.
 *
 * The image, in which every number is little-endian, and which is read byte by byte, so that it may
 * begin anywhere and be read on any machine:
 *
 *   0 magic  8 checksum of all that follows  16 mark of the key  24 version  28 length of the head
 *   32 length  40 users  48 bits of a bucket, bytes of a remainder, of a set, number of cohorts
 *   56 for each cohort: members, modified, computed, fetched, flags and length of the name, name
 *   head  offsets, one more than there are buckets;  users;  8 zeros, so that a user can be read in
 *         words
 *
 * The checksum is keyed, which tells damaged images; not malicious ones. For these, and for files
 * that are damaged while they are mapped, a look-up stays within the users, whatever an offset is.
 */
#include "cohort_table.h"

#include <string.h>

#include "mem.h"

enum {
    VERSION = 1,
    AT_MAGIC = 0,
    AT_CHECKSUM = 8,
    AT_KEY = 16,
    AT_VERSION = 24,
    AT_HEAD_BYTES = 28,
    AT_LENGTH = 32,
    AT_USERS = 40,
    AT_SHAPE = 48,
    AT_COHORTS = 56,
    COHORT_BYTES = 5 * 8, /* and its name, up to a multiple of 8 */
    PADDING_BYTES = 8,
    MIN_BUCKET_BITS = 1,
    MAX_BUCKET_BITS = 28,
    USERS_OF_A_BUCKET = 8, /* at least; up to twice as many */
};

static const char MAGIC[8] = "OACOHORT";

struct oa_cohort_table {
    const uint8_t *offsets;
    const uint8_t *users;
    uint64_t user_count;
    uint64_t rest_mask; /* of a word that begins with a remainder */
    uint64_t set_masks[OA_COHORT_MAX / 64];
    uint32_t rest_bits; /* of a print, below those of the bucket */
    uint32_t bucket_bits;
    uint32_t rest_bytes;
    uint32_t set_bytes;
    uint32_t stride;
    oa_cohort_set loaded;
    oa_str image;
    uint8_t *memory; /* that of the image; NULL: it is not ours */
    size_t memory_bytes;
    uint64_t open_bucket; /* while it is written: offsets before this one are there */
    size_t cohort_count;
    oa_cohort_info cohorts[];
};

/* Compilers make one instruction of each of these. */

static inline uint64_t load64(const uint8_t *at) {
    return (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24 |
           (uint64_t)at[4] << 32 | (uint64_t)at[5] << 40 | (uint64_t)at[6] << 48 |
           (uint64_t)at[7] << 56;
}

static inline uint32_t load32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void store32(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
}

static inline void store64(uint8_t *at, uint64_t value) {
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
    at[2] = (uint8_t)(value >> 16);
    at[3] = (uint8_t)(value >> 24);
    at[4] = (uint8_t)(value >> 32);
    at[5] = (uint8_t)(value >> 40);
    at[6] = (uint8_t)(value >> 48);
    at[7] = (uint8_t)(value >> 56);
}

static inline uint64_t low_bits(uint32_t count) {
    return count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
}

/* ---- The shape of a table, and the places in its image ---- */

static size_t head_bytes(const oa_cohort_info *infos, size_t count) {
    size_t bytes = AT_COHORTS;
    for (size_t i = 0; i < count; i++)
        bytes += COHORT_BYTES + (infos[i].name.len + 7) / 8 * 8;
    return bytes;
}

static uint64_t offsets_bytes(uint32_t bucket_bits) {
    return 4 * ((UINT64_C(1) << bucket_bits) + 1);
}

/* Derive everything from the number of cohorts and of the bits of a bucket. */
static void shape(oa_cohort_table *table, uint32_t bucket_bits) {
    const uint32_t cohorts = (uint32_t)table->cohort_count;
    table->bucket_bits = bucket_bits;
    table->rest_bits = OA_COHORT_PRINT_BITS - bucket_bits;
    table->rest_bytes = (table->rest_bits + 7) / 8;
    table->set_bytes = cohorts == 1 ? 0 : (cohorts + 7) / 8;
    table->stride = table->rest_bytes + table->set_bytes;
    table->rest_mask = low_bits(8 * table->rest_bytes);
    table->set_masks[0] = low_bits(cohorts);
    table->set_masks[1] = cohorts > 64 ? low_bits(cohorts - 64) : 0;
}

static void place(oa_cohort_table *table, const uint8_t *image, size_t head) {
    table->offsets = image + head;
    table->users = table->offsets + offsets_bytes(table->bucket_bits);
}

static void find_loaded(oa_cohort_table *table) {
    table->loaded = (oa_cohort_set){{0}};
    for (size_t i = 0; i < table->cohort_count; i++)
        oa_cohort_set_put(&table->loaded, i, table->cohorts[i].is_loaded);
}

static oa_cohort_table *table_new(size_t cohort_count) {
    oa_cohort_table *table =
        oa_mem_calloc(1, sizeof(*table) + cohort_count * sizeof(table->cohorts[0]));
    if (table != NULL)
        table->cohort_count = cohort_count;
    return table;
}

void oa_cohort_table_free(oa_cohort_table *table) {
    if (table == NULL)
        return;
    if (table->memory != NULL)
        oa_mem_free_pages(table->memory, table->memory_bytes);
    oa_mem_free(table);
}

/* ---- Look-ups ---- */

static inline oa_cohort_set read_set(const oa_cohort_table *table, const uint8_t *user) {
    if (table->set_bytes == 0)
        return (oa_cohort_set){{1}};
    const uint8_t *at = user + table->rest_bytes;
    oa_cohort_set set = {{load64(at) & table->set_masks[0]}};
    if (table->set_bytes > 8)
        set.words[1] = load64(at + 8) & table->set_masks[1];
    return set;
}

/* The users of a bucket: from *begin to *end, within the table even if an offset is damaged. */
static inline void bucket_bounds(const oa_cohort_table *table, uint64_t bucket, uint64_t *begin,
                                 uint64_t *end) {
    const uint8_t *at = table->offsets + 4 * bucket;
    *begin = load32(at);
    *end = load32(at + 4);
    if (*end > table->user_count)
        *end = table->user_count;
}

void oa_cohort_table_find(const oa_cohort_table *table, uint64_t print, oa_cohort_set *out) {
    *out = (oa_cohort_set){{0}};
    const uint64_t rest = print & low_bits(table->rest_bits);
    uint64_t begin, end;
    bucket_bounds(table, print >> table->rest_bits, &begin, &end);
    if (begin >= end)
        return;
    const uint8_t *user = table->users + begin * table->stride;
    for (; begin < end; begin++, user += table->stride) {
        const uint64_t found = load64(user) & table->rest_mask;
        if (found < rest)
            continue;
        if (found == rest) {
            *out = read_set(table, user);
            out->words[0] &= table->loaded.words[0];
            out->words[1] &= table->loaded.words[1];
        }
        return;
    }
}

size_t oa_cohort_table_cohorts(const oa_cohort_table *table) { return table->cohort_count; }

const oa_cohort_info *oa_cohort_table_info(const oa_cohort_table *table, size_t cohort) {
    return &table->cohorts[cohort];
}

oa_cohort_set oa_cohort_table_loaded(const oa_cohort_table *table) { return table->loaded; }

uint64_t oa_cohort_table_users(const oa_cohort_table *table) { return table->user_count; }

oa_str oa_cohort_table_image(const oa_cohort_table *table) { return table->image; }

/* ---- In order ---- */

/* No offset decides how many users there are, so that a damaged one cannot add any. */

static void read_user(oa_cohort_cursor *cursor) {
    const oa_cohort_table *table = cursor->table;
    cursor->print = UINT64_MAX;
    while (cursor->at >= cursor->end) {
        if (++cursor->bucket >> table->bucket_bits != 0)
            return;
        uint64_t begin;
        bucket_bounds(table, cursor->bucket, &begin, &cursor->end);
    }
    const uint8_t *user = table->users + cursor->at * table->stride;
    cursor->print =
        cursor->bucket << table->rest_bits | (load64(user) & low_bits(table->rest_bits));
    cursor->set = read_set(table, user);
}

void oa_cohort_cursor_init(oa_cohort_cursor *cursor, const oa_cohort_table *table) {
    *cursor = (oa_cohort_cursor){.table = table, .print = UINT64_MAX};
    if (table == NULL)
        return;
    bucket_bounds(table, 0, &cursor->at, &cursor->end);
    cursor->at = 0;
    read_user(cursor);
}

void oa_cohort_cursor_step(oa_cohort_cursor *cursor) {
    cursor->at++;
    read_user(cursor);
}

/* ---- Writing ---- */

static uint32_t bucket_bits_for(uint64_t users) {
    uint32_t bits = MIN_BUCKET_BITS;
    while (bits < MAX_BUCKET_BITS && users >> (bits + 1) >= USERS_OF_A_BUCKET)
        bits++;
    return bits;
}

static void copy_infos(oa_cohort_table *table, const oa_cohort_info *infos, uint8_t *image) {
    size_t at = AT_COHORTS + COHORT_BYTES;
    for (size_t i = 0; i < table->cohort_count; i++) {
        oa_cohort_info *info = &table->cohorts[i];
        *info = infos[i];
        info->members = 0;
        memcpy(image + at, info->name.data, info->name.len);
        info->name.data = (const char *)image + at;
        at += COHORT_BYTES + (info->name.len + 7) / 8 * 8;
    }
}

oa_status oa_cohort_table_begin(const oa_cohort_info *infos, size_t count, uint64_t max_users,
                                uint64_t likely_users, oa_cohort_table **out) {
    oa_cohort_table *table = table_new(count);
    if (table == NULL)
        return OA_NOMEM;
    shape(table, bucket_bits_for(likely_users));
    const size_t head = head_bytes(infos, count);
    const uint64_t bytes =
        head + offsets_bytes(table->bucket_bits) + max_users * table->stride + PADDING_BYTES;
    oa_status status =
        max_users > OA_COHORT_MAX_USERS || bytes > SIZE_MAX / 2 ? OA_TOO_LARGE : OA_OK;
    if (status == OA_OK) {
        table->memory_bytes = (size_t)bytes;
        table->memory = oa_mem_alloc_pages(table->memory_bytes);
        status = table->memory == NULL ? OA_NOMEM : OA_OK;
    }
    if (status != OA_OK) {
        oa_cohort_table_free(table);
        return status;
    }
    memset(table->memory, 0, head);
    copy_infos(table, infos, table->memory);
    find_loaded(table);
    place(table, table->memory, head);
    *out = table;
    return OA_OK;
}

/* Write the offsets up to that of `bucket`: the users that are added next are in it. */
static void open_bucket(oa_cohort_table *table, uint64_t bucket) {
    uint8_t *offsets = table->memory + (table->offsets - table->memory);
    for (; table->open_bucket <= bucket; table->open_bucket++)
        store32(offsets + 4 * table->open_bucket, (uint32_t)table->user_count);
}

static void count_members(oa_cohort_table *table, const oa_cohort_set *set) {
    for (size_t word = 0; word < OA_COHORT_MAX / 64; word++) {
        for (uint64_t bits = set->words[word]; bits != 0; bits &= bits - 1)
            table->cohorts[64 * word + (size_t)__builtin_ctzll(bits)].members++;
    }
}

void oa_cohort_table_add(oa_cohort_table *table, uint64_t print, const oa_cohort_set *set) {
    open_bucket(table, print >> table->rest_bits);
    uint8_t *user =
        table->memory + (table->users - table->memory) + table->user_count * table->stride;
    /* In whole words: what is too much is written over by the next user, or by the padding. */
    store64(user, print & low_bits(table->rest_bits));
    if (table->set_bytes > 0)
        store64(user + table->rest_bytes, set->words[0]);
    if (table->set_bytes > 8)
        store64(user + table->rest_bytes + 8, set->words[1]);
    count_members(table, set);
    table->user_count++;
}

/* What is the same in all images of a key. */
static uint64_t mark_of(const oa_hash_key *key) {
    return oa_hash_bytes(key, "image of a cohort table", 23).high;
}

static uint64_t checksum_of(const oa_hash_key *key, const uint8_t *image, size_t len) {
    return oa_hash_bytes(key, image + AT_KEY, len - AT_KEY).low;
}

static void write_head(const oa_cohort_table *table, const oa_hash_key *key, uint8_t *image) {
    memcpy(image + AT_MAGIC, MAGIC, sizeof(MAGIC));
    store64(image + AT_KEY, mark_of(key));
    store32(image + AT_VERSION, VERSION);
    store32(image + AT_HEAD_BYTES, (uint32_t)(table->offsets - image));
    store64(image + AT_LENGTH, table->image.len);
    store64(image + AT_USERS, table->user_count);
    image[AT_SHAPE] = (uint8_t)table->bucket_bits;
    image[AT_SHAPE + 1] = (uint8_t)table->rest_bytes;
    image[AT_SHAPE + 2] = (uint8_t)table->set_bytes;
    store32(image + AT_SHAPE + 4, (uint32_t)table->cohort_count);
    uint8_t *at = image + AT_COHORTS;
    for (size_t i = 0; i < table->cohort_count; i++) {
        const oa_cohort_info *info = &table->cohorts[i];
        store64(at, info->members);
        store64(at + 8, (uint64_t)info->modified_ms);
        store64(at + 16, (uint64_t)info->computed_ms);
        store64(at + 24, (uint64_t)info->fetched_ms);
        store32(at + 32, (uint32_t)info->is_loaded);
        store32(at + 36, (uint32_t)info->name.len);
        at += COHORT_BYTES + (info->name.len + 7) / 8 * 8;
    }
}

void oa_cohort_table_seal(oa_cohort_table *table, const oa_hash_key *key) {
    open_bucket(table, UINT64_C(1) << table->bucket_bits);
    uint8_t *image = table->memory;
    const size_t end = (size_t)(table->users - image) + (size_t)table->user_count * table->stride;
    memset(image + end, 0, PADDING_BYTES);
    table->image = (oa_str){(const char *)image, end + PADDING_BYTES};
    write_head(table, key, image);
    store64(image + AT_CHECKSUM, checksum_of(key, image, table->image.len));
}

/* ---- Opening an image ---- */

/* Read the cohorts; false if they do not fill the head. */
static bool read_infos(oa_cohort_table *table, const uint8_t *image, size_t head) {
    size_t at = AT_COHORTS;
    for (size_t i = 0; i < table->cohort_count; i++) {
        if (head - at < COHORT_BYTES)
            return false;
        oa_cohort_info *info = &table->cohorts[i];
        info->members = load64(image + at);
        info->modified_ms = (int64_t)load64(image + at + 8);
        info->computed_ms = (int64_t)load64(image + at + 16);
        info->fetched_ms = (int64_t)load64(image + at + 24);
        info->is_loaded = load32(image + at + 32) != 0;
        info->name.len = load32(image + at + 36);
        info->name.data = (const char *)image + at + COHORT_BYTES;
        if (info->name.len > OA_COHORT_NAME_BYTES)
            return false;
        at += COHORT_BYTES + (info->name.len + 7) / 8 * 8;
        if (at > head)
            return false;
    }
    return at == head;
}

/* Whether the numbers of the head fit each other and the length. */
static bool fits(const oa_cohort_table *table, const uint8_t *image, size_t len, size_t head) {
    const uint64_t rest = len - PADDING_BYTES - head; /* not negative, see below */
    const uint64_t offsets = offsets_bytes(table->bucket_bits);
    return image[AT_SHAPE + 1] == table->rest_bytes && image[AT_SHAPE + 2] == table->set_bytes &&
           table->user_count <= OA_COHORT_MAX_USERS && rest >= offsets &&
           rest - offsets == table->user_count * table->stride;
}

oa_status oa_cohort_table_open(const oa_hash_key *key, oa_str bytes, oa_cohort_table **out) {
    const uint8_t *image = (const uint8_t *)bytes.data;
    if (bytes.len < AT_COHORTS + PADDING_BYTES ||
        memcmp(image + AT_MAGIC, MAGIC, sizeof(MAGIC)) != 0)
        return OA_MALFORMED;
    if (load32(image + AT_VERSION) != VERSION || load64(image + AT_KEY) != mark_of(key))
        return OA_FOREIGN;
    const size_t head = load32(image + AT_HEAD_BYTES);
    const uint32_t bucket_bits = image[AT_SHAPE];
    const uint32_t cohort_count = load32(image + AT_SHAPE + 4);
    if (load64(image + AT_LENGTH) != bytes.len || head < AT_COHORTS ||
        head > bytes.len - PADDING_BYTES || bucket_bits < MIN_BUCKET_BITS ||
        bucket_bits > MAX_BUCKET_BITS || cohort_count < 1 || cohort_count > OA_COHORT_MAX ||
        load64(image + AT_CHECKSUM) != checksum_of(key, image, bytes.len))
        return OA_MALFORMED;
    oa_cohort_table *table = table_new(cohort_count);
    if (table == NULL)
        return OA_NOMEM;
    shape(table, bucket_bits);
    table->user_count = load64(image + AT_USERS);
    if (!fits(table, image, bytes.len, head) || !read_infos(table, image, head)) {
        oa_cohort_table_free(table);
        return OA_MALFORMED;
    }
    find_loaded(table);
    place(table, image, head);
    table->image = bytes;
    *out = table;
    return OA_OK;
}
