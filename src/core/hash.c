#include "hash.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define OA_TEXT(token) #token
#define OA_TEXT_OF(macro) OA_TEXT(macro)

const char *oa_xxhash_version(void) {
    return OA_TEXT_OF(XXH_VERSION_MAJOR) "." OA_TEXT_OF(XXH_VERSION_MINOR) "." OA_TEXT_OF(
        XXH_VERSION_RELEASE);
}

void oa_hash_key_init(oa_hash_key *key, oa_str text) {
    for (size_t at = 0; at < sizeof(key->secret); at += sizeof(XXH128_canonical_t)) {
        XXH128_canonical_t bytes;
        XXH128_canonicalFromHash(&bytes, XXH3_128bits_withSeed(text.data, text.len, at));
        memcpy(key->secret + at, &bytes, sizeof(bytes));
    }
}

oa_hash oa_hash_bytes(const oa_hash_key *key, const void *data, size_t len) {
    const XXH128_hash_t hash = XXH3_128bits_withSecret(data, len, key->secret, sizeof(key->secret));
    return (oa_hash){hash.low64, hash.high64};
}

oa_hash oa_hash_identity(const oa_hash_key *key, oa_str user_id, oa_str device_id) {
    if (user_id.len > 0)
        return oa_hash_bytes(key, user_id.data, user_id.len);
    oa_hash hash = oa_hash_bytes(key, device_id.data, device_id.len);
    hash.low = ~hash.low; /* a device and a user with the same id are two identities */
    return hash;
}

void oa_hash_hex(oa_hash hash, char out[OA_HASH_HEX_BYTES]) {
    /* In steps that a compiler turns into a few vector instructions: each event has an
     * insert_id. */
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, (XXH128_hash_t){hash.low, hash.high});
    unsigned char nibbles[OA_HASH_HEX_BYTES];
    for (int i = 0; i < 16; i++) {
        nibbles[2 * i] = bytes.digest[i] >> 4;
        nibbles[2 * i + 1] = bytes.digest[i] & 15;
    }
    for (int i = 0; i < OA_HASH_HEX_BYTES; i++)
        out[i] = (char)(nibbles[i] + (nibbles[i] < 10 ? '0' : 'a' - 10));
}
