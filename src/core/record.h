/*
 * record.h: one undelivered decision, or event of the application's own ("tracked"): a small header
 * and the bytes of its ids and members, in one piece.
 *
 * Written once, by the queue that it is appended to, and never moved; only counters of its attempts
 * change, while no attempt that carries it is out.  [externally synchronised]
 */
#ifndef OA_RECORD_H
#define OA_RECORD_H

#include "exposure.h"
#include "hash.h"
#include "oa.h"
#include "variant.h"

typedef struct oa_record {
    oa_variant *variant; /* counted reference; NULL: a tracked event, in event_properties */
    int64_t time_ms;     /* of the decision, since the epoch */
    union {
        uint64_t seq;           /* order of acceptance; what flushes wait for */
        struct oa_record *next; /* once it is dropped: the next one to be reported */
    };
    oa_occurrence occurrence;
    uint32_t offset; /* from the head of its chunk */
    uint32_t fields_len;
    uint32_t event_properties_len;
    uint32_t user_properties_len;
    uint16_t user_id_len; /* 0: absent */
    uint16_t device_id_len;
    uint16_t regrouped; /* how often it may have changed the $identify that it has a part in */
    uint8_t events; /* what it adds to a request: an estimate, the renderer has the exact number */
    bool alone : 1; /* never shares a $identify: Amplitude refused one that it had a part in */
    bool refused : 1;       /* never queued: kept only to be reported */
    bool has_id : 1;        /* it has an insert_id */
    bool property_only : 1; /* sets the property again, without an event that is counted */
    bool rendered : 1;      /* its events come whole: see oa_decision */
    bool recheck : 1;       /* a repeat, unless the store of the fleet knows another value */
    bool resent : 1; /* delivered; the property is set again, since another one may be the last */
    char bytes[];    /* user id, device id, fields, event properties, user properties */
} oa_record;

static inline bool oa_record_is_tracked(const oa_record *record) { return record->variant == NULL; }

static inline oa_str oa_record_user_id(const oa_record *record) {
    return (oa_str){record->user_id_len > 0 ? record->bytes : NULL, record->user_id_len};
}

static inline oa_str oa_record_device_id(const oa_record *record) {
    const char *at = record->bytes + record->user_id_len;
    return (oa_str){record->device_id_len > 0 ? at : NULL, record->device_id_len};
}

static inline oa_str oa_record_fields(const oa_record *record) {
    const char *at = record->bytes + record->user_id_len + record->device_id_len;
    return (oa_str){at, record->fields_len};
}

static inline oa_str oa_record_event_properties(const oa_record *record) {
    const oa_str before = oa_record_fields(record);
    return (oa_str){before.data + before.len, record->event_properties_len};
}

static inline oa_str oa_record_user_properties(const oa_record *record) {
    const oa_str before = oa_record_event_properties(record);
    return (oa_str){before.data + before.len, record->user_properties_len};
}

/* Whether two records are of one user: the same user id and the same device id. */
bool oa_record_same_user(const oa_record *a, const oa_record *b);

/* Hash of the record's identity; see oa_hash_identity(). */
oa_hash oa_record_identity(const oa_record *record, const oa_hash_key *key);

#endif
