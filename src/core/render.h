/*
 * render.h: a batch -> the request body of Amplitude's HTTP V2 API, compressed or not.  [pool]
 *
 * No tree is built: a body is the constant parts of config and templates, and the id, time and
 * insert_id of each record, appended to one buffer that libcurl then sends from.
 */
#ifndef OA_RENDER_H
#define OA_RENDER_H

#include "batch.h"
#include "buf.h"
#include "oa.h"
#include "response.h"

/* Bodies below this many bytes are not worth compressing. Source: MIN_GZIP_UPLOAD_BODY_SIZE_BYTES of Amplitude's SDKs. */
enum { OA_RENDER_GZIP_MIN_BYTES = 2048 };

typedef struct oa_renderer oa_renderer;

/* Create a renderer. Ownership: copies what it needs of `config`; returns *out owned. Errors: OA_NOMEM. */
oa_status oa_renderer_new(const oa_config *config, const oa_hash_key *hash_key, uint64_t nonce,
                          oa_renderer **out) __attribute__((warn_unused_result));

/* Take the renderer. NULL is fine. */
void oa_renderer_free(oa_renderer *renderer);

/* A rendered body. Lent until the next oa_render(). */
typedef struct oa_rendering {
    oa_str body; /* as sent */
    bool gzip;
    size_t body_bytes; /* before compression */
    size_t carried;    /* records of the batch that it holds, from the first on */
    size_t event_count;
    const oa_event_owner *owners;
} oa_rendering;

/*
 * Render as many records of the batch as fit into `max_body_bytes`, at least one.
 * Errors: OA_NOMEM.
 */
oa_status oa_render(oa_renderer *renderer, const oa_batch *batch, size_t max_body_bytes,
                    oa_rendering *out) __attribute__((warn_unused_result));

/* Give back the memory of an unusually large body. */
void oa_renderer_trim(oa_renderer *renderer);

/*
 * Write the 32 hexadecimal digits and a NUL of the insert_id of a decision's `Experiment Viewed` event.
 * Reads only what never changes, so it may run on the loop while another batch is rendered.
 */
void oa_render_insert_id(const oa_renderer *renderer, oa_hash identity, const oa_template *template,
                         oa_occurrence occurrence, char out[33]);

#endif
