#include "variant.h"

#include <stdint.h>
#include <string.h>

#include "buf.h"
#include "mem.h"

/* Four keys of at most 1024 characters, in three renderings, escaped at worst sixfold: far below
 * this. */
enum { MAX_VARIANT_BYTES = 1 << 20 };

static void append_key(oa_buf *buf, oa_str key) {
    if (key.data == NULL)
        OA_BUF_LITERAL(buf, "null");
    else
        oa_buf_append_json(buf, key);
}

static void append_set(oa_buf *buf, const oa_variant_style *style, oa_str flag_key,
                       oa_str variation_key, bool enabled) {
    OA_BUF_LITERAL(buf, "\"");
    oa_buf_append_json_inner(buf, style->property_prefix);
    oa_buf_append_json_inner(buf, flag_key);
    OA_BUF_LITERAL(buf, "\":");
    if (variation_key.data != NULL && (enabled || style->disabled_value_is_variation))
        oa_buf_append_json(buf, variation_key);
    else
        OA_BUF_LITERAL(buf, "\"off\"");
}

static void append_event(oa_buf *buf, oa_str flag_key, oa_str variation_key, oa_str rule_key,
                         bool enabled) {
    OA_BUF_LITERAL(buf, "\"flag_key\":");
    oa_buf_append_json(buf, flag_key);
    OA_BUF_LITERAL(buf, ",\"variation_key\":");
    append_key(buf, variation_key);
    OA_BUF_LITERAL(buf, ",\"rule_key\":");
    append_key(buf, rule_key);
    if (enabled)
        OA_BUF_LITERAL(buf, ",\"enabled\":true");
    else
        OA_BUF_LITERAL(buf, ",\"enabled\":false");
}

/*
 * Amplitude's `[Experiment] <flag>` becomes the variant; without one it is unset, and no exposure
 * is stored. A flag that is disabled keeps its variation: the flag of a control arm often is.
 * Source: "Event tracking" of Amplitude Experiment, and the type Exposure of its SDK.
 */
static void append_exposure(oa_buf *buf, oa_str flag_key, oa_str variation_key, oa_str rule_key) {
    OA_BUF_LITERAL(buf, "\"flag_key\":");
    oa_buf_append_json(buf, flag_key);
    if (variation_key.data != NULL) {
        OA_BUF_LITERAL(buf, ",\"variant\":");
        oa_buf_append_json(buf, variation_key);
    }
    if (rule_key.data != NULL) {
        OA_BUF_LITERAL(buf, ",\"experiment_key\":");
        oa_buf_append_json(buf, rule_key);
    }
}

/* Return the `len` bytes of `text` at *at, and step over them. */
static oa_str lend(const char *text, size_t *at, size_t len) {
    const oa_str piece = {text + *at, len};
    *at += len;
    return piece;
}

oa_status oa_variant_new(const oa_variant_style *style, oa_str flag_key, oa_str variation_key,
                         oa_str rule_key, bool enabled, oa_variant **out) {
    oa_status status = OA_OK;
    oa_variant *variant = NULL;
    oa_buf buf;
    oa_buf_init(&buf, MAX_VARIANT_BYTES);

    append_set(&buf, style, flag_key, variation_key, enabled);
    const size_t set_len = buf.len;
    append_event(&buf, flag_key, variation_key, rule_key, enabled);
    const size_t event_len = buf.len - set_len;
    append_exposure(&buf, flag_key, variation_key, rule_key);
    const size_t exposure_len = buf.len - set_len - event_len;
    oa_buf_append_str(&buf, flag_key);
    oa_buf_append_str(&buf, variation_key);
    oa_buf_append_str(&buf, rule_key);
    if ((status = oa_buf_status(&buf)) != OA_OK)
        goto out;

    variant = oa_mem_alloc(sizeof(*variant) + buf.len);
    if (variant == NULL) {
        status = OA_NOMEM;
        goto out;
    }
    memset(variant, 0, sizeof(*variant));
    char *text = (char *)(variant + 1);
    memcpy(text, buf.data, buf.len);
    size_t at = 0;
    variant->references = 1;
    variant->enabled = enabled;
    variant->set_json = lend(text, &at, set_len);
    variant->event_json = lend(text, &at, event_len);
    variant->exposure_json = lend(text, &at, exposure_len);
    variant->flag_key = lend(text, &at, flag_key.len);
    if (variation_key.data != NULL)
        variant->variation_key = lend(text, &at, variation_key.len);
    if (rule_key.data != NULL)
        variant->rule_key = lend(text, &at, rule_key.len);
    /* The event's JSON holds flag, variation, rule and enabled without ambiguity. */
    variant->content =
        oa_hash_bytes(style->hash_key, variant->event_json.data, variant->event_json.len);
    variant->set_hash =
        oa_hash_bytes(style->hash_key, variant->set_json.data, variant->set_json.len);
    variant->flag_hash = oa_hash_bytes(style->hash_key, flag_key.data, flag_key.len).low;
    *out = variant;

out:
    oa_buf_clear(&buf);
    return status;
}

void oa_variant_unref(oa_variant *variant) {
    if (variant != NULL && --variant->references == 0)
        oa_mem_free(variant);
}
