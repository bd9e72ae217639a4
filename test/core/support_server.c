#include "support.h"

enum { TEXT_BYTES = 256 * 1024, TEXTS = 4 };

/* ---- reading requests ---- */

size_t arrival_count(const arrival *request) {
    return (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(request->body, "events"));
}

const cJSON *arrival_event(const arrival *request, size_t index) {
    return cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(request->body, "events"),
                              (int)index);
}

const char *text_of(const cJSON *object, const char *name) {
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
    return text == NULL ? "" : text;
}

bool is_identify(const cJSON *event) {
    return strcmp(text_of(event, "event_type"), "$identify") == 0;
}

char *text_new(void) {
    static char texts[TEXTS][TEXT_BYTES];
    static size_t at;
    char *text = texts[at++ % TEXTS];
    text[0] = '\0';
    return text;
}

void text_add(char *text, const char *format, ...) {
    const size_t len = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text + len, TEXT_BYTES - len, format, arguments);
    va_end(arguments);
}

static void add_identity(char *text, const char *user, const char *device) {
    text_add(text, "%s", user);
    if (device[0] != '\0')
        text_add(text, "@%s", device);
}

bool is_tracked(const cJSON *event) {
    return strcmp(text_of(event, "event_type"), "Purchase") == 0;
}

bool is_exposure(const cJSON *event) {
    return strcmp(text_of(event, "event_type"), "$exposure") == 0;
}

const cJSON *user_properties_of(const cJSON *event) {
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(event, "user_properties");
    return is_identify(event) ? cJSON_GetObjectItemCaseSensitive(properties, "$set") : properties;
}

static void add_properties(char *text, const cJSON *properties) {
    text_add(text, "{");
    for (const cJSON *item = properties->child; item != NULL; item = item->next)
        text_add(text, "%s=%s%s", item->string, cJSON_GetStringValue(item),
                 item->next == NULL ? "" : ",");
    text_add(text, "}");
}

static void add_event_text(char *text, const cJSON *event) {
    if (text[0] != '\0')
        text_add(text, " ");
    add_identity(text, text_of(event, "user_id"), text_of(event, "device_id"));
    const cJSON *set = user_properties_of(event);
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(event, "event_properties");
    const char *name = is_exposure(event) ? "variant" : "variation_key";
    const char *variation =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(properties, name));
    if (variation == NULL)
        variation = "null";
    if (is_exposure(event))
        text_add(text, "^%s=%s", text_of(properties, "flag_key"), variation);
    else if (!is_identify(event))
        text_add(text, is_tracked(event) ? "+%s=%s%s" : ":%s=%s%s", text_of(properties, "flag_key"),
                 variation,
                 cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(properties, "enabled")) ? "" : "!");
    if (set != NULL)
        add_properties(text, set);
}

const char *arrival_text(const arrival *request) {
    char *text = text_new();
    const cJSON *events = cJSON_GetObjectItemCaseSensitive(request->body, "events");
    for (const cJSON *event = events == NULL ? NULL : events->child; event != NULL;
         event = event->next)
        add_event_text(text, event);
    return text;
}

const char *delivered_text(const world *w) {
    char *text = text_new();
    for (size_t i = 0; i < w->server.count; i++) {
        const cJSON *events =
            cJSON_GetObjectItemCaseSensitive(w->server.arrivals[i].body, "events");
        if (w->server.arrivals[i].status != 200 || events == NULL)
            continue;
        for (const cJSON *event = events->child; event != NULL; event = event->next)
            if (!is_identify(event))
                add_event_text(text, event);
    }
    return text;
}

/* ---- the server ---- */

static bool is_utf8(const char *text, size_t len) {
    for (size_t i = 0; i < len;) {
        const unsigned char byte = (unsigned char)text[i];
        const size_t more = byte < 0x80             ? 0
                            : (byte & 0xE0) == 0xC0 ? 1
                            : (byte & 0xF0) == 0xE0 ? 2
                            : (byte & 0xF8) == 0xF0 ? 3
                                                    : 9;
        if (byte < 0x20 || byte == 0xC0 || byte == 0xC1 || more == 9 || more >= len - i)
            return false;
        for (size_t j = 1; j <= more; j++)
            if ((text[i + j] & 0xC0) != 0x80)
                return false;
        i += more + 1;
    }
    return true;
}

static cJSON *parse(oa_str text) {
    const char *end = NULL;
    cJSON *body = is_utf8(text.data, text.len)
                      ? cJSON_ParseWithLengthOpts(text.data, text.len, &end, false)
                      : NULL;
    if (body != NULL && end == text.data + text.len)
        return body;
    cJSON_Delete(body);
    return NULL;
}

static answer choose(server *s, const arrival *seen) {
    answer chosen = s->otherwise;
    if (s->script_at < s->script_count)
        chosen = s->script[s->script_at++];
    else if (s->respond != NULL)
        s->respond(s->data, seen, &chosen);
    if (chosen.body == NULL && chosen.status == 200)
        chosen.body = "{\"code\":200,\"events_ingested\":50}";
    if (chosen.body == NULL && chosen.status == 400)
        chosen.body = "{\"code\":400,\"error\":\"Invalid event JSON\"}";
    if (chosen.body == NULL)
        chosen.body = "";
    return chosen;
}

bool server_receive(world *w, oa_str body, answer *out) {
    server *s = &w->server;
    if (s->count == s->cap) {
        s->cap = s->cap > 0 ? s->cap * 2 : 16;
        s->arrivals = must(realloc(s->arrivals, s->cap * sizeof(*s->arrivals)));
    }
    arrival *seen = &s->arrivals[s->count++];
    memset(seen, 0, sizeof(*seen));
    seen->body_bytes = body.len;
    seen->at = w->now;
    seen->text = body;
    seen->body = s->skims ? NULL : parse(body);
    *out = choose(s, seen);
    seen->text = (oa_str){NULL, 0};
    const bool is_silent = out->silent && !s->speaking;
    s->speaking &= !out->silent;
    return is_silent;
}

bool server_holds(const world *w) { return w->held_count > 0; }

void server_plan(world *w, answer next) {
    assert_true(w->server.script_count < sizeof(w->server.script) / sizeof(answer));
    w->server.script[w->server.script_count++] = next;
}

void server_speak(world *w) {
    w->server.speaking = !server_holds(w);
    if (server_holds(w))
        server_speak_to(w, 0);
}

void server_speak_to(world *w, size_t index) {
    assert_true(index < w->held_count);
    const exchange request = w->held[index];
    w->held_count--;
    memmove(w->held + index, w->held + index + 1, (w->held_count - index) * sizeof(*w->held));
    server_answer(w, &request);
}
