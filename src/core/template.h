/*
 * template.h: the constant part of a decision, rendered once.  [written by the loop; read by any]
 *
 * An application has thousands of decisions a second and a few hundred different (flag, variation,
 * rule, enabled). Each is made into a template when it is first seen: the JSON of its user property
 * and of its event properties, its hashes, and the keys themselves for reports. Records point to it.
 *
 * A template is immutable but for its count of references, which only the loop touches; so the pool
 * thread reads it without a lock while the record that it sends keeps it alive.
 */
#ifndef OA_TEMPLATE_H
#define OA_TEMPLATE_H

#include "hash.h"
#include "oa.h"

typedef struct oa_template {
    size_t references;
    oa_hash content;    /* of all of it: goes into insert_ids */
    uint64_t flag_hash; /* of the flag alone: the exposure table's key */
    oa_str flag_key;
    oa_str variation_key; /* absent: null */
    oa_str rule_key;      /* absent: null */
    bool enabled;
    oa_str set_json;   /* "[Optimizely] checkout":"one_page" */
    oa_str event_json; /* "flag_key":"checkout","variation_key":...,"rule_key":...,"enabled":true */
} oa_template;

/* What a template needs to know of the dispatcher's options. Strings are lent. */
typedef struct oa_template_style {
    const oa_hash_key *hash_key;
    oa_str property_prefix;
    bool disabled_value_is_variation;
} oa_template_style;

/*
 * Render a template.
 * Ownership: copies the strings; returns *out owned, with one reference. Errors: OA_NOMEM.
 */
oa_status oa_template_new(const oa_template_style *style, oa_str flag_key, oa_str variation_key,
                          oa_str rule_key, bool enabled, oa_template **out)
    __attribute__((warn_unused_result));

static inline oa_template *oa_template_ref(oa_template *template) {
    template->references++;
    return template;
}

/* Give one reference back; the last one frees. NULL is fine. */
void oa_template_unref(oa_template *template);

#endif
