#include "support_journal.h"

#include <dirent.h>
#include <inttypes.h>
#include <unistd.h>

#define APPENDS "OA_SPOOL_APPENDS" /* see directory.c */

char journal_directory[64];

bool make_another(char path[sizeof(journal_directory)]) {
    const char *base = getenv("TMPDIR");
    snprintf(path, sizeof(journal_directory), "%s/oa-journal-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(path) != NULL;
}

int make_directory(void **state) {
    (void)state;
    return !make_another(journal_directory);
}

int use_copies(void **state) {
    (void)state;
    return setenv(APPENDS, "1", 1);
}

void use_other_kind(void) {
    if (getenv(APPENDS) != NULL)
        unsetenv(APPENDS);
    else
        setenv(APPENDS, "1", 1);
}

int files_there(const char *part) {
    DIR *listing = must(opendir(journal_directory));
    int count = 0;
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        count += strstr(entry->d_name, part) != NULL;
    closedir(listing);
    return count;
}

int remove_directory(void **state) {
    (void)state;
    DIR *listing = must(opendir(journal_directory));
    for (struct dirent *entry; (entry = readdir(listing)) != NULL;)
        unlinkat(dirfd(listing), entry->d_name, 0);
    closedir(listing);
    return rmdir(journal_directory);
}

static void on_changed(void *context) {
    process *p = context;
    uv_sem_post(&p->changed);
}

oa_journal_options options_of(process *p) {
    return (oa_journal_options){
        .directory = journal_directory,
        .key_mark = JOURNAL_MARK,
        .max_bytes = UINT64_C(1) << 30,
        .scan_interval_ms = 60 * 1000,
        .retry_interval_ms = 10 * 1000,
        .context = p,
        .changed = on_changed,
    };
}

static void take_items(process *p) {
    oa_journal_item item;
    while (oa_journal_take(p->carrier.journal, &item)) {
        switch (item.kind) {
        case OA_JOURNAL_FRESH:
        case OA_JOURNAL_FOUND:
        case OA_JOURNAL_LOADED:
            assert_true(oa_carrier_give(&p->carrier, &item));
            p->found += item.kind == OA_JOURNAL_FOUND;
            break;
        case OA_JOURNAL_SCANNED:
            p->is_scanned = true;
            break;
        case OA_JOURNAL_STRANGE:
            memcpy(p->strange, item.message, sizeof(p->strange));
            break;
        case OA_JOURNAL_FAILED:
            memcpy(p->failure, item.message, sizeof(p->failure));
            p->failures++;
            break;
        case OA_JOURNAL_WORKS:
            p->works++;
            break;
        }
    }
}

void host_turn(process *p) {
    take_items(p);
    oa_carrier_follow(&p->carrier);
}

void until_scanned(process *p) {
    for (host_turn(p); !p->is_scanned; host_turn(p))
        uv_sem_wait(&p->changed);
}

/* Wait for what is read next to be in memory. */
static void until_loaded(process *p) {
    for (host_turn(p); oa_spool_awaits_load(p->carrier.spool); host_turn(p))
        uv_sem_wait(&p->changed);
}

void process_forget(process *p) {
    oa_spool_free(p->carrier.spool);
    for (size_t i = 0; i < JOURNAL_FLAGS; i++)
        oa_variant_unref(p->variants[i]);
    uv_sem_destroy(&p->changed);
    free(p);
}

process *process_try(const oa_journal_options *options, process *p,
                     char message[OA_JOURNAL_MESSAGE_BYTES]) {
    oa_hash_key_init(&p->key, str("key"));
    p->style = (oa_variant_style){&p->key, str(""), false};
    for (size_t i = 0; i < JOURNAL_FLAGS; i++) {
        const char flag[] = {(char)('a' + i), '\0'};
        assert_int_equal(
            oa_variant_new(&p->style, str(flag), str("v"), str(NULL), true, &p->variants[i]),
            OA_OK);
    }
    uv_sem_init(&p->changed, 0);
    assert_int_equal(oa_spool_new(&p->carrier.spool), OA_OK);
    if (oa_journal_open(options, &p->carrier.journal, message) == OA_OK)
        return p;
    process_forget(p);
    return NULL;
}

process *process_with(const oa_journal_options *options, process *p) {
    char message[OA_JOURNAL_MESSAGE_BYTES] = "";
    process *made = process_try(options, p, message);
    if (made == NULL)
        fail_msg("%s", message);
    return made;
}

process *process_new(void) {
    process *p = must(calloc(1, sizeof(*p)));
    const oa_journal_options options = options_of(p);
    return process_with(&options, p);
}

void process_end(process *p) {
    oa_spool_end(p->carrier.spool);
    host_turn(p);
    oa_journal_close(p->carrier.journal);
    process_forget(p);
}

oa_status write_one(process *p, uint64_t number, bool in_memory, oa_entry_place *place) {
    char user[24];
    snprintf(user, sizeof(user), "user-%" PRIu64, number);
    const oa_entry entry = {.time_ms = (int64_t)number, .strings = {str(user)}};
    const oa_status status = oa_spool_write(p->carrier.spool, p->variants[number % JOURNAL_FLAGS],
                                            &entry, in_memory, place);
    oa_carrier_save(&p->carrier);
    return status;
}

uint64_t read_one(process *p) {
    oa_spool_entry read;
    oa_status status;
    while (!oa_spool_peek(p->carrier.spool, &p->style, &read, &status)) {
        if (!oa_spool_awaits_load(p->carrier.spool))
            return UINT64_MAX;
        until_loaded(p);
    }
    assert_int_equal(status, OA_OK);
    oa_spool_advance(p->carrier.spool);
    const uint64_t number = (uint64_t)read.entry.time_ms;
    char user[24];
    const int len = snprintf(user, sizeof(user), "user-%" PRIu64, number);
    assert_int_equal(read.entry.strings[OA_ENTRY_USER_ID].len, len);
    assert_memory_equal(read.entry.strings[OA_ENTRY_USER_ID].data, user, len);
    assert_int_equal(read.variant->flag_key.data[0], 'a' + (char)(number % JOURNAL_FLAGS));
    oa_spool_settle(p->carrier.spool, read.place);
    return number;
}
