/*
 * fuzz_split.c: batches of any shape, bodies of any limit, splits anywhere.
 *
 * The input is read as a limit for bodies, a format, and a list of decisions: whose, which flag, how
 * long its properties are, whether it stands alone or sets its property again. Whatever the shape,
 * rendering carries a prefix that is not empty and fits, every event belongs to records of that
 * prefix, and splitting loses and reorders nothing.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amplitude/render.h"
#include "batch.h"
#include "queue.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

enum { FLAGS = 8, MAX_RECORDS = 300, BYTES_OF_RECORD = 3, FORMATS = 8 };

static oa_variant *variants[FLAGS];
static oa_frame *frames[FORMATS];
static oa_arena arena;
static oa_body body;

static oa_str str(const char *text) { return (oa_str){text, strlen(text)}; }

static void set_up(void) {
    static oa_hash_key key;
    oa_hash_key_init(&key, str("key"));
    const oa_variant_style style = {&key, str("[Optimizely] "), false};
    for (size_t i = 0; i < FLAGS; i++) {
        const char flag[2] = {(char)('a' + i), '\0'};
        CHECK(oa_variant_new(&style, str(flag), str("on"), str("rule"), true, &variants[i]) ==
              OA_OK);
    }
    for (size_t i = 0; i < FORMATS; i++) {
        oa_config config;
        memset(&config, 0, sizeof(config));
        config.api_key = str("key");
        config.library = str("library");
        config.min_id_length = 5;
        config.sends_identify = (i & 4) == 0;
        config.sends_exposure = (i & 2) != 0;
        config.event_sets_property = (i & 4) != 0;
        if ((i & 1) != 0)
            config.event_type = str("Experiment Viewed");
        CHECK(oa_frame_new(&config, &key, 0, &frames[i]) == OA_OK);
    }
    oa_arena_init(&arena, SIZE_MAX / 4);
    oa_body_init(&body);
}

static oa_record *make_record(oa_queue *queue, const uint8_t *bytes, uint64_t seq) {
    static const char text[] =
        "\"p\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"";
    const char user[6] = {'u', 's', 'e', 'r', (char)('0' + (bytes[0] & 7)), '\0'};
    oa_decision decision;
    memset(&decision, 0, sizeof(decision));
    decision.user_id = str(user);
    if (bytes[2] & 1)
        decision.event_properties = str(text);
    if (bytes[2] & 2)
        decision.user_properties = str("\"plan\":\"free\"");
    oa_record *record = NULL;
    CHECK(oa_queue_append(queue, variants[bytes[1] % FLAGS], &decision, &record) == OA_OK);
    record->seq = seq;
    record->alone = (bytes[2] & 4) != 0;
    record->property_only = (bytes[2] & 8) != 0;
    return record;
}

static void check_body(const oa_batch *batch, size_t limit) {
    CHECK(body.carried >= 1 && body.carried <= batch->count);
    CHECK(body.text.len <= limit || body.carried == 1);
    CHECK(body.event_count >= 1 && body.event_count <= OA_REQUEST_MAX_EVENTS);
    for (size_t i = 0; i < body.event_count; i++) {
        const oa_event_owner owner = body.owners[i];
        CHECK(owner.count >= 1 && (size_t)owner.first + owner.count <= body.carried);
    }
}

/* Send the batch as the dispatcher would: what does not fit, or was halved, comes in later
 * rounds. */
static void send_all(oa_frame *frame, oa_batch *batch, size_t limit, uint8_t halve_each) {
    oa_batch_list ready = {NULL, NULL, 0};
    oa_batch_list_push_front(&ready, batch);
    uint64_t next_seq = 0;
    while ((batch = oa_batch_list_pop(&ready)) != NULL) {
        CHECK(oa_render(frame, batch, limit, false, &body) == OA_OK);
        check_body(batch, limit);
        size_t at = body.carried;
        if (halve_each > 0 && batch->count > 1 && next_seq % halve_each == 0)
            at = (body.carried + 1) / 2;
        oa_batch *rest = NULL;
        if (at < batch->count) {
            CHECK(oa_batch_split(batch, at, &rest) == OA_OK);
            oa_batch_list_push_front(&ready, rest);
        }
        for (size_t i = 0; i < batch->count; i++) {
            CHECK(batch->records[i]->seq == next_seq++);
            oa_record_release(&arena, batch->records[i]);
        }
        oa_batch_free(batch);
    }
    CHECK(ready.record_count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (variants[0] == NULL)
        set_up();
    if (size < 4 + BYTES_OF_RECORD)
        return 0;
    const size_t limit = (size_t)data[0] << 8 | data[1];
    size_t count = (size - 4) / BYTES_OF_RECORD;
    if (count > MAX_RECORDS)
        count = MAX_RECORDS;
    oa_queue queue;
    oa_queue_init(&queue, &arena);
    oa_batch *batch = NULL;
    CHECK(oa_batch_new(count, &batch) == OA_OK);
    for (size_t i = 0; i < count; i++) {
        make_record(&queue, data + 4 + i * BYTES_OF_RECORD, i);
        oa_batch_add(batch, oa_queue_take(&queue));
    }
    send_all(frames[data[2] % FORMATS], batch, limit, data[3]);
    CHECK(arena.bytes == 0);
    return 0;
}
