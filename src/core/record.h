/*
 * record.h: one undelivered decision, or event of the application's own ("tracked"): a small header
 * and the bytes of its ids and members, in one piece.
 *
 * Written once, by the queue that it is appended to, and never moved; only counters of its attempts
 * change, while no attempt that carries it is out.  [externally synchronised]
 */
#ifndef OA_RECORD_H
#define OA_RECORD_H

#include <string.h>

#include "exposure.h"
#include "hash.h"
#include "oa.h"
#include "spool.h"
#include "variant.h"

typedef struct oa_record {
    oa_variant *variant; /* counted reference; NULL: a tracked event, in event_properties */
    int64_t time_ms;     /* of the decision, since the epoch */
    union {
        uint64_t seq;           /* order of acceptance; what flushes wait for */
        struct oa_record *next; /* once it is dropped: the next one to be reported */
    };
    oa_occurrence occurrence;
    /* There may be a million of these: 8 bytes in all, so that a header has 40. An id has 1024
     * characters at most, of up to 4 bytes. */
    uint32_t user_id_len : 13; /* 0: absent */
    uint32_t device_id_len : 13;
    uint32_t events : 2; /* what it adds to a request; an estimate, the renderer has the number */
    uint32_t alone : 1;  /* never shares a $identify: Amplitude refused one that it had a part in */
    uint32_t refused : 1;       /* never queued: kept only to be reported */
    uint32_t has_id : 1;        /* it has an insert_id */
    uint32_t has_members : 1;   /* `bytes` begin with an oa_members */
    uint32_t offset_units : 13; /* from the head of its chunk, in units of OA_RECORD_UNIT bytes */
    uint32_t regrouped : 14; /* how often it may have changed the $identify that it has a part in */
    uint32_t property_only : 1; /* sets the property again, without an event that is counted */
    uint32_t rendered : 1;      /* its events come whole: see oa_decision */
    uint32_t recheck : 1;       /* a repeat, unless the store of the fleet knows another value */
    uint32_t has_place : 1;     /* in the journal, see oa_record_place() */
    uint32_t resent : 1; /* delivered; the property is set again, since another may be the last */
    char bytes[]; /* user id, device id, fields, event properties, user properties; a place */
} oa_record;

enum { OA_RECORD_UNIT = 8 };
_Static_assert(sizeof(oa_record) <= 40, "there may be a million of these");

/* How long the last three parts are; few records have any of them. */
typedef struct oa_members {
    uint32_t fields_len;
    uint32_t event_properties_len;
    uint32_t user_properties_len;
} oa_members;

static inline oa_members oa_record_members(const oa_record *record) {
    oa_members members = {0, 0, 0};
    if (record->has_members)
        memcpy(&members, record->bytes, sizeof(members));
    return members;
}

/* Lend the ids, one after the other, and what follows them. */
static inline const char *oa_record_ids(const oa_record *record) {
    return record->bytes + (record->has_members ? sizeof(oa_members) : 0);
}

static inline bool oa_record_is_tracked(const oa_record *record) { return record->variant == NULL; }

static inline oa_str oa_record_user_id(const oa_record *record) {
    return (oa_str){record->user_id_len > 0 ? oa_record_ids(record) : NULL, record->user_id_len};
}

static inline oa_str oa_record_device_id(const oa_record *record) {
    const char *at = oa_record_ids(record) + record->user_id_len;
    return (oa_str){record->device_id_len > 0 ? at : NULL, record->device_id_len};
}

static inline oa_str oa_record_fields(const oa_record *record) {
    const char *at = oa_record_ids(record) + record->user_id_len + record->device_id_len;
    return (oa_str){at, oa_record_members(record).fields_len};
}

static inline oa_str oa_record_event_properties(const oa_record *record) {
    const oa_str before = oa_record_fields(record);
    return (oa_str){before.data + before.len, oa_record_members(record).event_properties_len};
}

static inline oa_str oa_record_user_properties(const oa_record *record) {
    const oa_str before = oa_record_event_properties(record);
    return (oa_str){before.data + before.len, oa_record_members(record).user_properties_len};
}

/* Return the size of a record, with what follows its head, but for its place. */
static inline size_t oa_record_own_bytes(const oa_record *record) {
    size_t len = sizeof(*record) + record->user_id_len + record->device_id_len;
    if (record->has_members) {
        const oa_members members = oa_record_members(record);
        len += sizeof(members) + members.fields_len + members.event_properties_len +
               members.user_properties_len;
    }
    return (len + OA_RECORD_UNIT - 1) & ~(size_t)(OA_RECORD_UNIT - 1);
}

/* Return where a record stands in the journal; nowhere, if there is none. */
static inline oa_entry_place oa_record_place(const oa_record *record) {
    oa_entry_place place = {NULL, 0};
    if (record->has_place)
        memcpy(&place, (const char *)record + oa_record_own_bytes(record), sizeof(place));
    return place;
}

/* Set the place of a record that has one. */
static inline void oa_record_set_place(oa_record *record, oa_entry_place place) {
    memcpy((char *)record + oa_record_own_bytes(record), &place, sizeof(place));
}

/* Whether two records are of one user: the same user id and the same device id. */
bool oa_record_same_user(const oa_record *a, const oa_record *b);

/* Hash of the record's identity; see oa_hash_identity(). */
oa_hash oa_record_identity(const oa_record *record, const oa_hash_key *key);

#endif
