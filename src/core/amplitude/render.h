/*
 * render.h: a batch -> the request body of Amplitude's HTTP V2 API.
 *
 * What a run of records of one user becomes depends on the format, see oa_config:
 *
 *     sends_identify         one $identify for all of them, before everything
 *     sends_exposure         a $exposure for each
 *     event_type             an event for each, behind its $exposure
 *     event_sets_property    ... or before it, with the user property
 *
 * A record that is `property_only` has no event; where that would set the property, it has a
 * $identify of its own.
 *
 * No tree is built: a body is the constant parts of the frame and of the variants, and the id, time
 * and insert_id of each record, appended to one buffer.
 *
 * Thread: a frame never changes, so any thread may read it; a body belongs to the thread that
 * renders it.
 */
#ifndef OA_RENDER_H
#define OA_RENDER_H

#include "amplitude/body.h"
#include "batch.h"
#include "oa.h"

/* The constant parts of all bodies of a dispatcher. */
typedef struct oa_frame oa_frame;

/*
 * Create a frame. `nonce` goes into every insert_id.
 * Ownership: copies what it needs of `config`; returns *out owned. Errors: OA_NOMEM.
 */
oa_status oa_frame_new(const oa_config *config, const oa_hash_key *hash_key, uint64_t nonce,
                       oa_frame **out) __attribute__((warn_unused_result));

/* Take the frame. NULL is fine. */
void oa_frame_free(oa_frame *frame);

/* How many events a decision adds to a body. */
typedef struct oa_event_counts {
    uint8_t first; /* behind one of another user */
    uint8_t next;  /* behind one of the same user, whose $identify it shares */
} oa_event_counts;

oa_event_counts oa_frame_event_counts(const oa_frame *frame);

/* Whether a decision that comes rendered, see oa_decision, is at least one event. */
bool oa_frame_sends_rendered(const oa_frame *frame, const oa_decision *decision);

/* How many events a record that came rendered adds to a body. */
uint8_t oa_frame_count_rendered(const oa_frame *frame, const oa_record *record);

/*
 * Render as many records of the batch as fit into `max_bytes` before compression, at least one.
 * With `gzip`, compress the text if that pays, and if there is memory for it.
 * Errors: OA_NOMEM.
 */
oa_status oa_render(const oa_frame *frame, const oa_batch *batch, size_t max_bytes, bool gzip,
                    oa_body *body) __attribute__((warn_unused_result));

/*
 * Write the 32 hexadecimal digits and a NUL of the insert_id of a decision's event, or of its
 * $exposure in a format without events.
 */
void oa_render_insert_id(const oa_frame *frame, oa_hash identity, const oa_variant *variant,
                         oa_occurrence occurrence, char out[33]);

#endif
