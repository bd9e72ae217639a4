#include "record.h"

#include <string.h>

bool oa_record_same_user(const oa_record *a, const oa_record *b) {
    return a->user_id_len == b->user_id_len && a->device_id_len == b->device_id_len &&
           memcmp(oa_record_ids(a), oa_record_ids(b), a->user_id_len + a->device_id_len) == 0;
}

oa_hash oa_record_identity(const oa_record *record, const oa_hash_key *key) {
    return oa_hash_identity(key, oa_record_user_id(record), oa_record_device_id(record));
}
