#include "support.h"

#include <zlib.h>

#include "response.h"

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

static void add_event_text(char *text, const cJSON *event) {
    if (text[0] != '\0')
        text_add(text, " ");
    add_identity(text, text_of(event, "user_id"), text_of(event, "device_id"));
    if (is_identify(event)) {
        const cJSON *set = cJSON_GetObjectItemCaseSensitive(
            cJSON_GetObjectItemCaseSensitive(event, "user_properties"), "$set");
        text_add(text, "{");
        for (const cJSON *item = set == NULL ? NULL : set->child; item != NULL; item = item->next)
            text_add(text, "%s=%s%s", item->string, cJSON_GetStringValue(item),
                     item->next == NULL ? "" : ",");
        text_add(text, "}");
        return;
    }
    const cJSON *properties = cJSON_GetObjectItemCaseSensitive(event, "event_properties");
    const char *variation =
        cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(properties, "variation_key"));
    text_add(text, ":%s=%s%s", text_of(properties, "flag_key"),
             variation == NULL ? "null" : variation,
             cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(properties, "enabled")) ? "" : "!");
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

static uv_once_t parser_once = UV_ONCE_INIT;
static uv_mutex_t parser_mutex;

static void make_parser_mutex(void) {
    if (uv_mutex_init(&parser_mutex) != 0)
        abort();
}

static cJSON *parse(const char *text, size_t len) {
    uv_once(&parser_once, make_parser_mutex); /* servers of several worlds, on several threads */
    uv_mutex_lock(&parser_mutex);
    /* The core bounds what one answer may cost, by allocation; reading one starts the count anew. */
    oa_batch none;
    oa_reply reply;
    memset(&none, 0, sizeof(none));
    oa_response_read(400, str("{}"), &none, 0, NULL, 0, &reply);
    const char *end = NULL;
    cJSON *body = is_utf8(text, len) ? cJSON_ParseWithLengthOpts(text, len, &end, false) : NULL;
    uv_mutex_unlock(&parser_mutex);
    if (body != NULL && end == text + len)
        return body;
    cJSON_Delete(body);
    return NULL;
}

static char *inflate_body(oa_str body, size_t *len) {
    size_t cap = 1 << 20;
    char *text = must(malloc(cap));
    z_stream zip;
    memset(&zip, 0, sizeof(zip));
    if (inflateInit2(&zip, 15 + 16) != Z_OK)
        abort();
    zip.next_in = (Bytef *)(uintptr_t)body.data;
    zip.avail_in = (uInt)body.len;
    int code = Z_OK;
    while (code == Z_OK) {
        if (zip.total_out == cap)
            text = must(realloc(text, cap *= 2));
        zip.next_out = (Bytef *)text + zip.total_out;
        zip.avail_out = (uInt)(cap - zip.total_out);
        code = inflate(&zip, Z_NO_FLUSH);
    }
    *len = code == Z_STREAM_END && zip.avail_in == 0 ? zip.total_out : 0;
    inflateEnd(&zip);
    return text;
}

static arrival *receive(server *s, const oa_request *request) {
    if (s->count == s->cap) {
        s->cap = s->cap > 0 ? s->cap * 2 : 16;
        s->arrivals = must(realloc(s->arrivals, s->cap * sizeof(*s->arrivals)));
    }
    arrival *seen = &s->arrivals[s->count++];
    memset(seen, 0, sizeof(*seen));
    seen->bytes = seen->body_bytes = request->body.len;
    seen->gzip = request->gzip;
    seen->fresh = request->fresh_connection;
    memory_exempt(true);
    if (request->gzip) {
        char *text = inflate_body(request->body, &seen->body_bytes);
        seen->body = parse(text, seen->body_bytes);
        free(text);
    } else {
        seen->body = parse(request->body.data, request->body.len);
    }
    memory_exempt(false);
    return seen;
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

static void perform(oa_transport *transport, const oa_request *request, oa_exchange *out) {
    server *s = (server *)transport;
    arrival *seen = receive(s, request);
    const answer chosen = choose(s, seen);
    uv_mutex_lock(&s->lock);
    s->holds = chosen.silent;
    while (chosen.silent && !s->woken && !s->speaking)
        if (uv_cond_timedwait(&s->changed, &s->lock, PATIENCE_SECONDS * UINT64_C(2000000000)) != 0)
            break; /* the test has failed; let the process end */
    s->holds = false;
    s->speaking = false;
    seen->aborted = out->aborted = s->woken;
    uv_mutex_unlock(&s->lock);
    if (out->aborted)
        return;
    seen->status = out->status = chosen.status;
    snprintf(out->error, sizeof(out->error), "server.test: nobody is there");
    if (chosen.retry_after != NULL)
        snprintf(out->retry_after, sizeof(out->retry_after), "%s", chosen.retry_after);
    oa_buf_append(&out->body, chosen.body, strlen(chosen.body));
    if (oa_buf_status(&out->body) != OA_OK) /* what libcurl's transport makes of it */
        seen->status = out->status = 0;
}

static void wake(oa_transport *transport) {
    server *s = (server *)transport;
    uv_mutex_lock(&s->lock);
    s->woken = true;
    s->wakes++;
    uv_cond_signal(&s->changed);
    uv_mutex_unlock(&s->lock);
}

static void arm(oa_transport *transport) {
    server *s = (server *)transport;
    uv_mutex_lock(&s->lock);
    s->woken = false;
    s->arms++;
    uv_mutex_unlock(&s->lock);
}

static oa_status trust(oa_transport *transport, oa_str pem) {
    server *s = (server *)transport;
    snprintf(s->trust, sizeof(s->trust), "%.*s", (int)pem.len, pem.data);
    return OA_OK;
}

static void close_transport(oa_transport *transport) {
    server *s = (server *)transport;
    if (s->closed) /* twice */
        abort();
    s->closed = true;
}

const oa_transport_ops server_ops = {perform, wake, arm, trust, close_transport};

bool server_holds(world *w) {
    uv_mutex_lock(&w->server.lock);
    const bool holds = w->server.holds && !w->server.woken && !w->server.speaking;
    uv_mutex_unlock(&w->server.lock);
    return holds;
}

void server_plan(world *w, answer next) {
    assert_true(w->server.script_count < sizeof(w->server.script) / sizeof(answer));
    w->server.script[w->server.script_count++] = next;
}

void server_speak(world *w) {
    uv_mutex_lock(&w->server.lock);
    w->server.speaking = true;
    uv_cond_signal(&w->server.changed);
    uv_mutex_unlock(&w->server.lock);
}
