/*
 * variant.h: the constant part of a decision, rendered once.  [externally synchronised]
 *
 * An application makes thousands of decisions a second, with a few hundred different (flag,
 * variation, rule, enabled). Each of these becomes a variant when it is first seen: the JSON of its
 * user property and of its events' properties, its hashes, and the keys themselves for reports.
 * Records point to it.
 *
 * A variant is immutable except for its reference count, and its place in the journal, which an
 * attempt that is out never touches: it reads the variants of its records on any thread, and the
 * records keep them alive.
 */
#ifndef OA_VARIANT_H
#define OA_VARIANT_H

#include "hash.h"
#include "oa.h"

typedef struct oa_variant {
    size_t references;
    oa_hash content;    /* of flag, variation, rule and enabled: goes into insert_ids */
    oa_hash set_hash;   /* of set_json: goes into those of a $identify */
    uint64_t flag_hash; /* of the flag alone: the exposure table's key */
    oa_str flag_key;
    oa_str variation_key; /* absent: null */
    oa_str rule_key;      /* absent: null */
    bool enabled;
    oa_str set_json;   /* "[Optimizely] checkout":"one_page" */
    oa_str event_json; /* "flag_key":"checkout","variation_key":...,"rule_key":...,"enabled":true */
    uint64_t spooled_in;  /* the segment of the journal that it stands in; 0: in none */
    uint32_t spooled_at;  /* and there */
    oa_str exposure_json; /* "flag_key":"checkout","variant":"one_page","experiment_key":"ab" */
} oa_variant;

/* What a variant needs to know of the dispatcher's options. Strings are lent. */
typedef struct oa_variant_style {
    const oa_hash_key *hash_key;
    oa_str property_prefix;
    bool disabled_value_is_variation;
} oa_variant_style;

/*
 * Render a variant.
 * Ownership: copies the strings; returns *out owned, with one reference. Errors: OA_NOMEM.
 */
oa_status oa_variant_new(const oa_variant_style *style, oa_str flag_key, oa_str variation_key,
                         oa_str rule_key, bool enabled, oa_variant **out)
    __attribute__((warn_unused_result));

/* Take a reference. NULL is fine. */
static inline oa_variant *oa_variant_ref(oa_variant *variant) {
    if (variant != NULL)
        variant->references++;
    return variant;
}

/* Give one reference back; the last one frees. NULL is fine. */
void oa_variant_unref(oa_variant *variant);

#endif
