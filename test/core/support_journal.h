/*
 * support_journal.h: a host with a journal in real files, as uv.c is one, and a directory for it.
 */
#ifndef SUPPORT_JOURNAL_H
#define SUPPORT_JOURNAL_H

#include <uv.h>

#include "../../src/host/spool/carrier.h"
#include "support.h"

enum { JOURNAL_FLAGS = 5, JOURNAL_MARK = 77 };

extern char journal_directory[64];

/* Set up, and tear down, a directory with nothing in it. */
int make_directory(void **state);
int remove_directory(void **state);

/* For a group of tests: have no file mapped. */
int use_copies(void **state);

/* Have the journals of this process be of the other kind. */
void use_other_kind(void);
/* Make another directory, and write its path. Returns whether it is there. */
bool make_another(char path[sizeof(journal_directory)]);

/* Return how many files there are whose names contain `part`. */
int files_there(const char *part);

typedef struct process {
    oa_carrier carrier;
    oa_hash_key key;
    oa_variant_style style;
    oa_variant *variants[JOURNAL_FLAGS];
    uv_sem_t changed;
    size_t found;
    bool is_scanned;
    char failure[OA_JOURNAL_MESSAGE_BYTES];
    char strange[OA_JOURNAL_MESSAGE_BYTES];
    int failures;
    int works;
} process;

oa_journal_options options_of(process *p);

/* Return a process with these options; or NULL, and why. */
process *process_try(const oa_journal_options *options, process *p,
                     char message[OA_JOURNAL_MESSAGE_BYTES]);

/* The same, which has to work. Takes `p`, of zeros. */
process *process_with(const oa_journal_options *options, process *p);
process *process_new(void);

/* As at a close(): what is not settled stays. */
void process_end(process *p);

/* The same when its journal is closed already. */
void process_forget(process *p);

/* A turn of the loop. */
void host_turn(process *p);

void until_scanned(process *p);

/* Write the decision of this number; OA_QUEUE_FULL: no file has room. */
oa_status write_one(process *p, uint64_t number, bool in_memory, oa_entry_place *place);

/* Read the next one; settles it. Returns its number, or UINT64_MAX when all is read. */
uint64_t read_one(process *p);

#endif
