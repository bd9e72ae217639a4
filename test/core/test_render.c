/* render.c and variant.c: bodies, the records and events in them, and who owns which event. */
#include "amplitude/render.h"

#include "mem.h"
#include "support.h"
#include "support_gzip.h"

typedef struct fixture {
    oa_hash_key key;
    oa_config config;
    oa_variant_style style;
    oa_variant *variants[3];
    oa_arena arena;
    oa_queue queue;
    oa_batch *batch;
    oa_frame *frame;
    oa_body body;
} fixture;

static void make_frame(fixture *f) {
    oa_frame_free(f->frame);
    f->frame = NULL;
    assert_int_equal(oa_frame_new(&f->config, &f->key, 0, &f->frame), OA_OK);
}

/* What a format sends: 'i' the $identify, 'e' the event, 'm' the event with its property, 'x' the
 * $exposure. */
static const char *const FORMATS[] = {"ie", "m", "x", "i", "ix", "iex", "mx"};
enum { FORMAT_COUNT = sizeof(FORMATS) / sizeof(FORMATS[0]) };

static void choose_format(fixture *f, const char *format) {
    f->config.sends_identify = strchr(format, 'i') != NULL;
    f->config.sends_exposure = strchr(format, 'x') != NULL;
    f->config.event_sets_property = strchr(format, 'm') != NULL;
    f->config.event_type = str(strpbrk(format, "em") == NULL ? NULL : "Viewed");
    make_frame(f);
}

static int set_up(void **state) {
    memory_deny(false);
    memory_fail(0);
    fixture *f = calloc(1, sizeof(*f));
    f->config = (oa_config){.api_key = str("k\"ey"),
                            .library = str("lib"),
                            .event_type = str("Viewed"),
                            .sends_identify = true,
                            .min_id_length = 1};
    oa_hash_key_init(&f->key, f->config.api_key);
    f->style = (oa_variant_style){&f->key, str("p."), false};
    static const char *const flags[] = {"f", "g", "h"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(
            oa_variant_new(&f->style, str(flags[i]), str("a"), str(NULL), true, &f->variants[i]),
            OA_OK);
    oa_arena_init(&f->arena, 64 << 20);
    f->arena.chunk_bytes = 1024; /* each record is taken at once, and so has a chunk of its own */
    oa_queue_init(&f->queue, &f->arena);
    assert_int_equal(oa_batch_new(OA_BATCH_MAX_RECORDS, &f->batch), OA_OK);
    oa_body_init(&f->body);
    make_frame(f);
    *state = f;
    return 0;
}

static void empty(fixture *f) {
    for (size_t i = 0; i < f->batch->count; i++)
        oa_record_release(&f->arena, f->batch->records[i]);
    f->batch->count = 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    memory_deny(false);
    memory_fail(0);
    empty(f);
    oa_batch_free(f->batch);
    oa_body_clear(&f->body);
    oa_frame_free(f->frame);
    oa_frame_free(NULL);
    assert_int_equal(f->arena.bytes, 0);
    oa_arena_clear(&f->arena);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(f->variants[i]->references, 1);
        oa_variant_unref(f->variants[i]);
    }
    oa_variant_unref(NULL);
    free(f);
    return 0;
}

static oa_record *add(fixture *f, const char *user, size_t flag) {
    const oa_decision decision = {.user_id = str(user)};
    oa_record *record = NULL;
    assert_int_equal(oa_queue_append(&f->queue, f->variants[flag], &decision, &record), OA_OK);
    oa_batch_add(f->batch, oa_queue_take(&f->queue));
    return record;
}

/* Render, and check that owners and events agree with the body. Returns it parsed. */
static cJSON *render(fixture *f, size_t max_body_bytes) {
    assert_int_equal(oa_render(f->frame, f->batch, max_body_bytes, true, &f->body), OA_OK);
    const oa_body *r = &f->body;
    if (r->packed.data != NULL)
        expect_gzip(r->packed, (oa_str){r->text.data, r->text.len});
    cJSON *body = cJSON_ParseWithLength(r->text.data, r->text.len);
    assert_non_null(body);
    assert_string_equal(cJSON_GetObjectItem(body, "api_key")->valuestring, "k\"ey");
    const cJSON *events = cJSON_GetObjectItem(body, "events");
    assert_int_equal(cJSON_GetArraySize(events), r->event_count);
    size_t next = 0; /* record whose event comes next */
    size_t end = 0;  /* of the run */
    size_t i = 0;
    for (const cJSON *event = events->child; event != NULL; event = event->next, i++) {
        const oa_event_owner owner = r->owners[i];
        const oa_record *record = f->batch->records[owner.first];
        assert_string_equal(text_of(event, "user_id"),
                            oa_record_user_id(record).len == 3 ? "ann" : "bo");
        if (is_identify(event)) {
            assert_int_equal(owner.first, end);
            next = end;
            end += owner.count;
            const cJSON *set =
                cJSON_GetObjectItem(cJSON_GetObjectItem(event, "user_properties"), "$set");
            assert_int_equal(cJSON_GetArraySize(set), owner.count);
        } else {
            assert_int_equal(owner.first, next++);
            assert_int_equal(owner.count, 1);
            char flag[2] = {record->variant->flag_key.data[0], '\0'};
            assert_string_equal(text_of(cJSON_GetObjectItem(event, "event_properties"), "flag_key"),
                                flag);
        }
    }
    assert_int_equal(r->carried, end);
    return body;
}

static void runs_share_their_identify(void **state) {
    fixture *f = *state;
    /* ann: f g; then f again, which ends the run; bo: f; ann: h, alone */
    add(f, "ann", 0);
    add(f, "ann", 1);
    add(f, "ann", 0);
    add(f, "bo", 0);
    add(f, "ann", 2)->alone = true;
    add(f, "ann", 1);
    cJSON *body = render(f, 1 << 20);
    static const size_t counts[] = {2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    assert_int_equal(f->body.carried, 6);
    assert_int_equal(f->body.event_count, 11);
    for (size_t i = 0; i < 11; i++)
        assert_int_equal(f->body.owners[i].count, counts[i]);
    cJSON_Delete(body);
}

static void a_time_of_its_own_is_kept(void **state) {
    fixture *f = *state;
    static const int64_t times[] = {1000, 1000, 2000};
    for (size_t i = 0; i < 3; i++)
        add(f, "ann", i)->time_ms = times[i];
    cJSON *body = render(f, 1 << 20);
    static const int expected[] = {1000, 1000, 1000, 2000};
    int i = 0;
    for (const cJSON *e = cJSON_GetObjectItem(body, "events")->child; e != NULL; e = e->next)
        assert_int_equal(cJSON_GetObjectItem(e, "time")->valueint, expected[i++]);
    cJSON_Delete(body);
}

static void the_limit_cuts_where_it_must(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < 12; i++)
        add(f, i < 6 ? "ann" : "bo", i % 3);
    cJSON_Delete(render(f, 1 << 20));
    const size_t whole = f->body.text.len;
    assert_int_equal(f->body.carried, 12);
    size_t before = 0;
    for (size_t limit = 1; limit <= whole; limit++) {
        cJSON_Delete(render(f, limit));
        assert_true(f->body.carried >= 1);
        assert_true(f->body.carried >= before);
        if (f->body.carried > 1)
            assert_true(f->body.text.len <= limit);
        before = f->body.carried;
    }
    assert_int_equal(before, 12);
    cJSON_Delete(render(f, whole - 1));
    assert_true(f->body.carried < 12);
}

/* Render without the checks of render(); returns the body parsed. */
static cJSON *render_as_it_is(fixture *f, size_t max_body_bytes) {
    assert_int_equal(oa_render(f->frame, f->batch, max_body_bytes, true, &f->body), OA_OK);
    cJSON *body = cJSON_ParseWithLength(f->body.text.data, f->body.text.len);
    assert_non_null(body);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(body, "events")), f->body.event_count);
    return body;
}

static void each_format_has_its_events(void **state) {
    fixture *f = *state;
    static const char *const expected[FORMAT_COUNT][2] = {
        {"ann{p.f=a,p.g=a,p.h=a} ann:f=a ann:g=a bo{p.f=a} bo:f=a", "0+3 0+1 1+1 3+1 3+1 "},
        {"ann:f=a{p.f=a} ann:g=a{p.g=a} ann{p.h=a} bo:f=a{p.f=a}", "0+1 1+1 2+1 3+1 "},
        {"ann^f=a ann^g=a ann^h=a bo^f=a", "0+1 1+1 2+1 3+1 "},
        {"ann{p.f=a,p.g=a,p.h=a} bo{p.f=a}", "0+3 3+1 "},
        {"ann{p.f=a,p.g=a,p.h=a} ann^f=a ann^g=a ann^h=a bo{p.f=a} bo^f=a",
         "0+3 0+1 1+1 2+1 3+1 3+1 "},
        {"ann{p.f=a,p.g=a,p.h=a} ann^f=a ann:f=a ann^g=a ann:g=a ann^h=a bo{p.f=a} bo^f=a bo:f=a",
         "0+3 0+1 0+1 1+1 1+1 2+1 3+1 3+1 3+1 "},
        {"ann:f=a{p.f=a} ann^f=a ann:g=a{p.g=a} ann^g=a ann{p.h=a} ann^h=a bo:f=a{p.f=a} bo^f=a",
         "0+1 0+1 1+1 1+1 2+1 2+1 3+1 3+1 "},
    };
    add(f, "ann", 0);
    add(f, "ann", 1);
    add(f, "ann", 2)->property_only = true;
    add(f, "bo", 0);
    for (size_t i = 0; i < FORMAT_COUNT; i++) {
        choose_format(f, FORMATS[i]);
        const arrival request = {.body = render_as_it_is(f, 1 << 20)};
        assert_string_equal(arrival_text(&request), expected[i][0]);
        char *owners = text_new();
        for (size_t event = 0; event < f->body.event_count; event++)
            text_add(owners, "%d+%d ", f->body.owners[event].first, f->body.owners[event].count);
        assert_string_equal(owners, expected[i][1]);
        cJSON_Delete(request.body);
    }
}

/* A $identify that is sent again under another id would set an old value after an event, which
 * keeps its id and is skipped as a repeat. */
static void where_events_set_properties_no_identify_is_shared_or_changes(void **state) {
    fixture *f = *state;
    choose_format(f, "m");
    for (size_t i = 0; i < 3; i++)
        add(f, "ann", i)->property_only = true;
    cJSON *first = render_as_it_is(f, 1 << 20);
    assert_int_equal(f->body.event_count, 3);
    oa_batch_regroup(f->batch, 3);
    cJSON *again = render_as_it_is(f, 1 << 20);
    assert_true(cJSON_Compare(first, again, true));
    cJSON_Delete(first);
    cJSON_Delete(again);
}

static void the_number_of_events_is_limited(void **state) {
    fixture *f = *state;
    static const size_t carried[FORMAT_COUNT] = {999, 1999, 1999, 1999, 999, 666, 999};
    for (size_t format = 0; format < FORMAT_COUNT; format++) {
        choose_format(f, FORMATS[format]);
        for (size_t i = 0; i < OA_BATCH_MAX_RECORDS; i++)
            add(f, i % 2 == 0 ? "ann" : "bo", 0); /* nothing is shared */
        cJSON_Delete(render_as_it_is(f, 1 << 24));
        assert_int_equal(f->body.carried, carried[format]);
        const oa_event_counts counts = oa_frame_event_counts(f->frame);
        assert_int_equal(f->body.event_count, carried[format] * counts.first);
        empty(f);
        /* Runs of three: what is left of the limit cuts one. */
        for (size_t i = 0; i < OA_BATCH_MAX_RECORDS; i++)
            add(f, i / 3 % 2 == 0 ? "ann" : "bo", i % 3);
        cJSON_Delete(render_as_it_is(f, 1 << 24));
        assert_in_range(f->body.event_count,
                        f->body.carried == OA_BATCH_MAX_RECORDS ? 1 : 1999 - counts.first, 1999);
        empty(f);
    }
}

static void a_lack_of_memory_is_reported(void **state) {
    fixture *f = *state;
    for (size_t i = 0; i < 200; i++)
        add(f, "ann", i % 3);
    size_t nth = 1;
    for (;; nth++) {
        oa_body_clear(&f->body);
        memory_fail(nth);
        const oa_status status = oa_render(f->frame, f->batch, 1 << 20, true, &f->body);
        const bool failed = memory_refusals() > 0;
        memory_fail(0);
        if (!failed)
            break;
        /* What only the compression needs is done without. */
        assert_true(status == OA_NOMEM || status == OA_OK);
        cJSON_Delete(render(f, 1 << 20)); /* and the next time it works */
        assert_int_equal(f->body.carried, 200);
    }
    assert_in_range(nth, 5, 20);
}

static void a_frame_is_made_whole_or_not_at_all(void **state) {
    fixture *f = *state;
    for (size_t nth = 1;; nth++) {
        oa_frame *frame = NULL;
        memory_fail(nth);
        const oa_status status = oa_frame_new(&f->config, &f->key, 0, &frame);
        memory_fail(0);
        oa_frame_free(frame);
        if (status == OA_OK)
            return;
        assert_null(frame);
    }
}

static void insert_ids_tell_decisions_apart(void **state) {
    fixture *f = *state;
    char ids[8][33];
    const oa_hash ann = oa_hash_identity(&f->key, str("ann"), str(NULL));
    const oa_hash bob = oa_hash_identity(&f->key, str("bob"), str(NULL));
    size_t count = 0;
    oa_render_insert_id(f->frame, ann, f->variants[0], (oa_occurrence){1, 0}, ids[count++]);
    oa_render_insert_id(f->frame, ann, f->variants[0], (oa_occurrence){1, 1}, ids[count++]);
    oa_render_insert_id(f->frame, ann, f->variants[0], (oa_occurrence){2, 0}, ids[count++]);
    oa_render_insert_id(f->frame, ann, f->variants[1], (oa_occurrence){1, 0}, ids[count++]);
    oa_render_insert_id(f->frame, bob, f->variants[0], (oa_occurrence){1, 0}, ids[count++]);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(strspn(ids[i], "0123456789abcdef"), 32);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(ids[i], ids[j]);
    }
    char again[33];
    oa_render_insert_id(f->frame, ann, f->variants[0], (oa_occurrence){1, 0}, again);
    assert_string_equal(again, ids[0]);

    /* And the event carries it. */
    add(f, "ann", 0)->occurrence = (oa_occurrence){1, 1};
    cJSON *body = render(f, 1 << 20);
    const cJSON *event = cJSON_GetArrayItem(cJSON_GetObjectItem(body, "events"), 1);
    assert_string_equal(text_of(event, "insert_id"), ids[1]);
    cJSON_Delete(body);
}

/* Render the batch and copy the ids of its events. */
static size_t copy_ids(fixture *f, char ids[][33]) {
    cJSON *body = render_as_it_is(f, 1 << 20);
    size_t count = 0;
    for (const cJSON *e = cJSON_GetObjectItem(body, "events")->child; e != NULL; e = e->next)
        snprintf(ids[count++], 33, "%s", text_of(e, "insert_id"));
    cJSON_Delete(body);
    return count;
}

/* Give the fixture another style and event type, with one decision of ann. */
static void restyle(fixture *f, const char *prefix, const char *event_type, const char *plan) {
    f->config.event_type = str(event_type);
    f->config.property_prefix = f->style.property_prefix = str(prefix);
    make_frame(f);
    empty(f);
    oa_variant_unref(f->variants[0]);
    assert_int_equal(
        oa_variant_new(&f->style, str("f"), str("a"), str(NULL), true, &f->variants[0]), OA_OK);
    const oa_decision decision = {.user_id = str("ann"), .user_properties = str(plan)};
    oa_record *record = NULL;
    assert_int_equal(oa_queue_append(&f->queue, f->variants[0], &decision, &record), OA_OK);
    oa_batch_add(f->batch, oa_queue_take(&f->queue));
}

static void a_body_is_compressed_from_256_bytes_on(void **state) {
    fixture *f = *state;
    char library[128];
    size_t least = SIZE_MAX;
    size_t most = 0;
    memset(library, 'x', sizeof(library));
    add(f, "ann", 0);
    for (size_t len = 0; len < sizeof(library); len++) {
        f->config.library = (oa_str){library, len};
        choose_format(f, "i");
        cJSON_Delete(render(f, 1 << 20));
        const size_t size = f->body.text.len;
        assert_int_equal(f->body.packed.data != NULL, size >= 256);
        least = size < least ? size : least;
        most = size > most ? size : most;
    }
    assert_true(least < 255 && most > 256);
}

static void an_insert_id_covers_what_its_event_says(void **state) {
    fixture *f = *state;
    char was[3][33];
    char is[3][33];
    /* Which of the ids differ: the first, the second, ... */
    enum { NONE = 0, I = 1, E = 2, X = 2, M = 1 };
    static const struct {
        const char *prefix, *event_type, *plan;
        int64_t time_ms;
        uint32_t turn;
        uint16_t regrouped;
        int differ_ie, differ_ix, differ_m;
    } cases[] = {
        {"p.", "Viewed", NULL, 0, 0, 0, NONE, NONE, NONE},
        {"q.", "Viewed", NULL, 0, 0, 0, I, I, M},
        {"p.", "Seen", NULL, 0, 0, 0, I | E, NONE, M}, /* half of an I is of its E */
        {"p.", "Viewed", "\"plan\":1", 0, 0, 0, I, I, NONE},
        {"p.", "Viewed", NULL, 1, 0, 0, I, I, NONE}, /* in another process */
        {"p.", "Viewed", NULL, 0, 1, 0, I | E, I | X, M},
        {"p.", "Viewed", NULL, 0, 0, 1, I, I, NONE},
    };
    static const char *const formats[] = {"ie", "ix", "m"};
    for (size_t format = 0; format < 3; format++) {
        choose_format(f, formats[format]);
        const bool has_event = f->config.event_type.data != NULL;
        restyle(f, "p.", has_event ? "Viewed" : NULL, NULL);
        const size_t count = copy_ids(f, was);
        assert_int_equal(count, format == 2 ? 1 : 2);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            restyle(f, cases[i].prefix, has_event ? cases[i].event_type : NULL, cases[i].plan);
            f->batch->records[0]->time_ms = cases[i].time_ms;
            f->batch->records[0]->occurrence.turn = cases[i].turn;
            f->batch->records[0]->regrouped = cases[i].regrouped & 1;
            assert_int_equal(copy_ids(f, is), count);
            int differ = 0;
            for (size_t id = 0; id < count; id++)
                differ |= (strcmp(is[id], was[id]) != 0) << id;
            assert_int_equal(differ, format == 0   ? cases[i].differ_ie
                                     : format == 1 ? cases[i].differ_ix
                                                   : cases[i].differ_m);
        }
    }
}

/* The half that they share is compressed; the other one is theirs alone. */
static void a_set_shares_half_of_its_id_with_the_event_after_it(void **state) {
    fixture *f = *state;
    static const char *const formats[] = {"ie", "ix", "iex"};
    for (size_t format = 0; format < sizeof(formats) / sizeof(formats[0]); format++) {
        char ids[3][33];
        choose_format(f, formats[format]);
        restyle(f, "p.", f->config.event_type.data != NULL ? "Viewed" : NULL, NULL);
        const size_t count = copy_ids(f, ids);
        assert_int_equal(count, strlen(formats[format]));
        assert_memory_equal(ids[0], ids[1], 16);
        for (size_t i = 1; i < count; i++)
            assert_memory_not_equal(ids[i] + 16, ids[i - 1] + 16, 16);
        if (count > 2)
            assert_memory_not_equal(ids[1], ids[2], 16);
    }
}

static void what_sets_a_property_again_has_an_id_of_its_time(void **state) {
    fixture *f = *state;
    char exposure[33];
    char ids[3][33];
    char later[3][33];
    for (size_t format = 0; format < FORMAT_COUNT; format++) {
        choose_format(f, FORMATS[format]);
        oa_record *record = add(f, "ann", 0);
        oa_render_insert_id(f->frame, oa_record_identity(record, &f->key), record->variant,
                            record->occurrence, exposure);
        size_t count = copy_ids(f, ids);
        const size_t own = f->config.event_type.data != NULL || f->config.sends_exposure;
        if (own) /* a drop is reported with the id of the event, or of the $exposure */
            assert_string_equal(ids[f->config.event_sets_property ? 0 : count - 1], exposure);
        record->property_only = true;
        record->time_ms = 1;
        count = copy_ids(f, ids);
        record->time_ms = 2;
        assert_int_equal(copy_ids(f, later), count);
        for (size_t i = 0; i < count; i++) {
            assert_string_not_equal(ids[i], exposure);
            assert_string_not_equal(ids[i], later[i]);
        }
        empty(f);
    }
}

static void a_variant_holds_all_of_a_decision(void **state) {
    fixture *f = *state;
    static const struct {
        const char *flag, *variation, *rule;
        bool enabled, by_variation;
        const char *set, *event, *exposure;
    } cases[] = {
        {"f", "a", "r", true, false, "\"p.f\":\"a\"",
         "\"flag_key\":\"f\",\"variation_key\":\"a\",\"rule_key\":\"r\",\"enabled\":true",
         "\"flag_key\":\"f\",\"variant\":\"a\",\"experiment_key\":\"r\""},
        {"f", "a", NULL, false, false, "\"p.f\":\"off\"",
         "\"flag_key\":\"f\",\"variation_key\":\"a\",\"rule_key\":null,\"enabled\":false",
         "\"flag_key\":\"f\",\"variant\":\"a\""},
        {"f", "a", "r", false, true, "\"p.f\":\"a\"",
         "\"flag_key\":\"f\",\"variation_key\":\"a\",\"rule_key\":\"r\",\"enabled\":false",
         "\"flag_key\":\"f\",\"variant\":\"a\",\"experiment_key\":\"r\""},
        {"f", NULL, "", false, true, "\"p.f\":\"off\"",
         "\"flag_key\":\"f\",\"variation_key\":null,\"rule_key\":\"\",\"enabled\":false",
         "\"flag_key\":\"f\",\"experiment_key\":\"\""},
        {"", "\"\n", "\\", true, false, "\"p.\":\"\\\"\\n\"",
         "\"flag_key\":\"\",\"variation_key\":\"\\\"\\n\",\"rule_key\":\"\\\\\",\"enabled\":true",
         "\"flag_key\":\"\",\"variant\":\"\\\"\\n\",\"experiment_key\":\"\\\\\""},
    };
    enum { COUNT = sizeof(cases) / sizeof(cases[0]) };
    oa_variant *made[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        f->style.disabled_value_is_variation = cases[i].by_variation;
        assert_int_equal(oa_variant_new(&f->style, str(cases[i].flag), str(cases[i].variation),
                                        str(cases[i].rule), cases[i].enabled, &made[i]),
                         OA_OK);
        assert_int_equal(made[i]->set_json.len, strlen(cases[i].set));
        assert_memory_equal(made[i]->set_json.data, cases[i].set, made[i]->set_json.len);
        assert_int_equal(made[i]->event_json.len, strlen(cases[i].event));
        assert_memory_equal(made[i]->event_json.data, cases[i].event, made[i]->event_json.len);
        assert_int_equal(made[i]->exposure_json.len, strlen(cases[i].exposure));
        assert_memory_equal(made[i]->exposure_json.data, cases[i].exposure,
                            made[i]->exposure_json.len);
        assert_int_equal(made[i]->variation_key.data == NULL, cases[i].variation == NULL);
        assert_int_equal(made[i]->rule_key.data == NULL, cases[i].rule == NULL);
        assert_int_equal(made[i]->flag_key.len, strlen(cases[i].flag));
        for (size_t j = 0; j < i; j++)
            assert_true(made[i]->content.low != made[j]->content.low);
    }
    assert_true(made[0]->flag_hash == made[1]->flag_hash);
    assert_true(made[0]->flag_hash != made[4]->flag_hash);
    assert_int_equal(oa_variant_ref(made[0])->references, 2);
    oa_variant_unref(made[0]);
    for (size_t i = 0; i < COUNT; i++)
        oa_variant_unref(made[i]);

    static char large[300000];
    memset(large, '\n', sizeof(large) - 1); /* six times that, escaped */
    assert_int_equal(oa_variant_new(&f->style, str(large), str("a"), str(NULL), true, &made[0]),
                     OA_TOO_LARGE);
    for (size_t nth = 1; nth <= 2; nth++) {
        memory_fail(nth);
        assert_int_equal(oa_variant_new(&f->style, str("f"), str("a"), str(NULL), true, &made[0]),
                         OA_NOMEM);
        memory_fail(0);
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(runs_share_their_identify),
        TEST(a_time_of_its_own_is_kept),
        TEST(the_limit_cuts_where_it_must),
        TEST(the_number_of_events_is_limited),
        TEST(a_lack_of_memory_is_reported),
        TEST(a_frame_is_made_whole_or_not_at_all),
        TEST(each_format_has_its_events),
        TEST(where_events_set_properties_no_identify_is_shared_or_changes),
        TEST(what_sets_a_property_again_has_an_id_of_its_time),
        TEST(insert_ids_tell_decisions_apart),
        TEST(a_body_is_compressed_from_256_bytes_on),
        TEST(an_insert_id_covers_what_its_event_says),
        TEST(a_set_shares_half_of_its_id_with_the_event_after_it),
        TEST(a_variant_holds_all_of_a_decision),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
