/*
 * hash.h: the keyed 128-bit hash behind the exposure table and every insert_id.  [any thread]
 *
 * xxHash's XXH3 with a secret made from the API key: the same key gives the same hashes in every
 * process and on every machine, and without the key nobody can craft two users that collide.
 * The secret is spelled out from seeded hashes, since XXH3_generateSecret() differs between
 * releases of the library and insert_ids must not.
 */
#ifndef OA_HASH_H
#define OA_HASH_H

#include "oa.h"

typedef struct oa_hash {
    uint64_t low;
    uint64_t high;
} oa_hash;

enum { OA_HASH_SECRET_BYTES = 192, OA_HASH_HEX_BYTES = 32 };

typedef struct oa_hash_key {
    unsigned char secret[OA_HASH_SECRET_BYTES];
} oa_hash_key;

/* Derive the key from the bytes of `text`. Borrows. */
void oa_hash_key_init(oa_hash_key *key, oa_str text);

/* Hash `len` bytes. Borrows. */
oa_hash oa_hash_bytes(const oa_hash_key *key, const void *data, size_t len);

/* Hash an identity: the user id, or the device id where there is no user id. Borrows. */
oa_hash oa_hash_identity(const oa_hash_key *key, oa_str user_id, oa_str device_id);

/* Write the 32 lower-case hexadecimal digits of a hash, without a NUL. */
void oa_hash_hex(oa_hash hash, char out[OA_HASH_HEX_BYTES]);

#endif
