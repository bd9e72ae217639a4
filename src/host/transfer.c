#include "transfer.h"

#include <stdlib.h>
#include <string.h>

#include "base64.h"

/* Times below this one are in seconds: in milliseconds it is a day of 1973. */
static const int64_t FIRST_MS = INT64_C(100000000000);

typedef struct saying {
    struct saying *next;
    oa_cohort_move move;
    uint64_t prints[];
} saying;

struct oa_transfer {
    oa_snapshot bytes;
    size_t table_bytes;
    size_t filled;
    saying *first;
    saying **last;
};

oa_status oa_transfer_new(size_t table_bytes, size_t changes_bytes, oa_transfer **out) {
    if (table_bytes == 0 || changes_bytes > SIZE_MAX - table_bytes)
        return OA_NOMEM;
    oa_transfer *transfer = calloc(1, sizeof(*transfer));
    if (transfer == NULL)
        return OA_NOMEM;
    if (oa_snapshot_reserve(table_bytes + changes_bytes, &transfer->bytes) != OA_OK) {
        free(transfer);
        return OA_NOMEM;
    }
    transfer->table_bytes = table_bytes;
    transfer->last = &transfer->first;
    *out = transfer;
    return OA_OK;
}

void oa_transfer_free(oa_transfer *transfer) {
    if (transfer == NULL)
        return;
    for (saying *next, *each = transfer->first; each != NULL; each = next) {
        next = each->next;
        free(each);
    }
    oa_snapshot_close(&transfer->bytes);
    free(transfer);
}

oa_status oa_transfer_put(oa_transfer *transfer, oa_str text) {
    size_t len = 0;
    char *to = (char *)transfer->bytes.bytes + transfer->filled;
    if (!oa_base64_read(text, to, transfer->bytes.size - transfer->filled, &len))
        return OA_MALFORMED;
    transfer->filled += len;
    return OA_OK;
}

oa_status oa_transfer_say(oa_transfer *transfer, const oa_cohort_move *move) {
    saying *each = malloc(sizeof(*each) + move->count * sizeof(each->prints[0]));
    if (each == NULL)
        return OA_NOMEM;
    each->next = NULL;
    each->move = *move;
    if (move->count > 0)
        memcpy(each->prints, move->prints, move->count * sizeof(each->prints[0]));
    each->move.prints = each->prints;
    *transfer->last = each;
    transfer->last = &each->next;
    return OA_OK;
}

int64_t oa_table_time(const oa_cohort_table *table, size_t cohort) {
    const oa_cohort_info *info = oa_cohort_table_info(table, cohort);
    const int64_t time = info->computed_ms > 0   ? info->computed_ms
                         : info->modified_ms > 0 ? info->modified_ms
                                                 : info->fetched_ms;
    return time < FIRST_MS ? time * 1000 : time;
}

bool oa_table_has_names(const oa_cohort_table *table, const oa_str *names, size_t count) {
    bool is_same = oa_cohort_table_cohorts(table) == count;
    for (size_t i = 0; is_same && i < count; i++) {
        const oa_str name = oa_cohort_table_info(table, i)->name;
        is_same = name.len == names[i].len && memcmp(name.data, names[i].data, name.len) == 0;
    }
    return is_same;
}

bool oa_table_is_allowed(const oa_cohort_table *table, const oa_cohort_changes *changes) {
    bool is_allowed = true;
    for (size_t i = 0; i < oa_cohort_table_cohorts(table); i++)
        is_allowed = is_allowed && (!oa_cohort_table_info(table, i)->is_loaded ||
                                    oa_cohort_changes_allow(changes, i, oa_table_time(table, i)));
    return is_allowed;
}

void oa_table_listed(const oa_cohort_table *table, oa_cohort_changes *changes) {
    for (size_t i = 0; i < oa_cohort_table_cohorts(table); i++) {
        int64_t none;
        if (oa_cohort_table_info(table, i)->is_loaded)
            (void)oa_cohort_changes_listed(changes, table, i, oa_table_time(table, i), &none);
    }
}

oa_status oa_table_changes(const oa_cohort_table *table, size_t max_changes,
                           oa_cohort_changes **out) {
    const oa_status status = oa_cohort_changes_new(max_changes, out);
    if (status == OA_OK && table != NULL)
        oa_table_listed(table, *out);
    return status;
}

/* Open the changes that came, or make new ones. */
static oa_status open_changes(const oa_transfer *transfer, const oa_hash_key *key,
                              size_t max_changes, oa_transferred *out) {
    const oa_str bytes = {(const char *)transfer->bytes.bytes + transfer->table_bytes,
                          transfer->bytes.size - transfer->table_bytes};
    if (bytes.len == 0)
        return oa_table_changes(out->table, max_changes, &out->changes);
    return oa_cohort_changes_open(key, bytes, oa_cohort_table_cohorts(out->table), max_changes,
                                  &out->changes);
}

/* Put the messages, until there is no room. */
static oa_status say_all(const oa_transfer *transfer, oa_transferred *out) {
    for (const saying *each = transfer->first; each != NULL; each = each->next) {
        oa_cohort_moved moved;
        const oa_status status =
            oa_cohort_changes_put(out->changes, out->table, &each->move, &moved);
        if (status != OA_OK)
            return status == OA_TOO_LARGE ? OA_OK : status;
        out->said++;
    }
    return OA_OK;
}

static void count_members(oa_transferred *out) {
    int64_t growth[OA_COHORT_MAX];
    oa_cohort_changes_growth(out->changes, out->table, growth);
    for (size_t i = 0; i < oa_cohort_table_cohorts(out->table); i++)
        out->members[i] =
            (uint64_t)((int64_t)oa_cohort_table_info(out->table, i)->members + growth[i]);
}

oa_status oa_transfer_open(oa_transfer *transfer, const oa_hash_key *key, const oa_str *names,
                           size_t name_count, size_t max_changes, oa_transferred *out) {
    *out = (oa_transferred){0};
    if (transfer->filled != transfer->bytes.size)
        return OA_MALFORMED;
    const oa_str image = {transfer->bytes.bytes, transfer->table_bytes};
    oa_status status = oa_cohort_table_open(key, image, &out->table);
    if (status != OA_OK)
        return status;
    status = oa_table_has_names(out->table, names, name_count)
                 ? open_changes(transfer, key, max_changes, out)
                 : OA_MALFORMED;
    if (status == OA_OK)
        status = say_all(transfer, out);
    if (status != OA_OK) {
        oa_transferred_clear(out);
        return status;
    }
    count_members(out);
    out->bytes = transfer->bytes;
    transfer->bytes = (oa_snapshot){0};
    return OA_OK;
}

void oa_transferred_clear(oa_transferred *transferred) {
    oa_cohort_table_free(transferred->table);
    oa_cohort_changes_free(transferred->changes);
    oa_snapshot_close(&transferred->bytes);
    *transferred = (oa_transferred){0};
}

/* ---- The other end ---- */

oa_status oa_changes_save(const oa_cohort_changes *changes, const oa_hash_key *key, size_t cohorts,
                          char **out, size_t *len) {
    *out = NULL;
    *len = 0;
    if (changes == NULL)
        return OA_OK;
    *len = oa_cohort_changes_bytes(changes, cohorts);
    *out = malloc(*len);
    if (*out == NULL)
        return OA_NOMEM;
    oa_cohort_changes_write(changes, key, cohorts, *out);
    return OA_OK;
}

oa_status oa_captured_init(oa_captured *captured, const oa_hash_key *key,
                           const oa_cohort_table *table, const oa_cohort_changes *changes) {
    *captured = (oa_captured){0};
    captured->table = oa_cohort_table_image(table);
    return oa_changes_save(changes, key, oa_cohort_table_cohorts(table), &captured->changes,
                           &captured->changes_bytes);
}

oa_status oa_captured_read(const oa_captured *captured, size_t from, size_t len, char *out) {
    const oa_str table = captured->table;
    const size_t all = table.len + captured->changes_bytes;
    if (table.data == NULL || from > all || len > all - from)
        return OA_CLOSED;
    const size_t rest = from < table.len ? table.len - from : 0;
    const size_t of_table = len < rest ? len : rest;
    if (of_table > 0)
        memcpy(out, table.data + from, of_table);
    if (len > of_table)
        memcpy(out + of_table, captured->changes + (from + of_table - table.len), len - of_table);
    return OA_OK;
}

void oa_captured_clear(oa_captured *captured) {
    free(captured->changes);
    *captured = (oa_captured){0};
}
