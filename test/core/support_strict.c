#include "support_strict.h"

void strict_rule(strict *rules, world *w) {
    rules->world = w;
    if (rules->refusal == 0)
        rules->refusal = 400;
    w->server.respond = strict_respond;
    w->server.data = rules;
}

static bool has_bad_value(const cJSON *object) {
    for (const cJSON *item = object == NULL ? NULL : object->child; item != NULL;
         item = item->next) {
        const char *value = cJSON_GetStringValue(item);
        if (value != NULL && strncmp(value, "bad", 3) == 0)
            return true;
    }
    return false;
}

bool strict_is_bad(const strict *rules, const cJSON *event) {
    return (rules->parts != BAD_EVENT && has_bad_value(user_properties_of(event))) ||
           (rules->parts != BAD_IDENTIFY &&
            has_bad_value(cJSON_GetObjectItemCaseSensitive(event, "event_properties")));
}

__attribute__((format(printf, 2, 3))) static void say(strict *rules, const char *format, ...) {
    const size_t len = strlen(rules->text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rules->text + len, sizeof(rules->text) - len, format, arguments);
    va_end(arguments);
}

static const char *name_of(const strict *rules, const cJSON *event) {
    return text_of(event, rules->throttles_devices ? "device_id" : "user_id");
}

static bool is_throttled(const strict *rules, const char *name) {
    const uint64_t now_ms = rules->world->now.monotonic_ms;
    for (size_t i = 0; i < STRICT_USERS; i++)
        if (rules->throttled[i] != NULL && strcmp(rules->throttled[i], name) == 0 &&
            now_ms < rules->throttled_until_ms[i])
            return true;
    return false;
}

static bool is_over_quota(const strict *rules, const char *name) {
    for (size_t i = 0; i < STRICT_USERS; i++)
        if (rules->over_quota[i] != NULL && strcmp(rules->over_quota[i], name) == 0)
            return true;
    return false;
}

static const cJSON *first_event(const arrival *request) {
    const cJSON *events = cJSON_GetObjectItemCaseSensitive(request->body, "events");
    return events == NULL ? NULL : events->child;
}

static size_t count_bad(const strict *rules, const arrival *request) {
    size_t count = 0;
    for (const cJSON *event = first_event(request); event != NULL; event = event->next)
        count += strict_is_bad(rules, event);
    return count;
}

static void refuse_bad(strict *rules, const arrival *request, answer *out) {
    out->status = rules->refusal;
    rules->text[0] = '\0';
    say(rules, "{\"code\":%d,\"error\":\"Invalid field values on some events\"", rules->refusal);
    if (rules->list != LIST_NONE) {
        say(rules, ",\"events_with_invalid_fields\":{\"event_properties\":[");
        int index = 0;
        const char *comma = "";
        for (const cJSON *event = first_event(request); event != NULL;
             event = event->next, index++) {
            if (!strict_is_bad(rules, event))
                continue;
            say(rules, "%s%d", comma, index);
            comma = ",";
            if (rules->list == LIST_FIRST)
                break;
        }
        say(rules, "]}");
    }
    say(rules, "}");
    out->body = rules->text;
}

/* The users of a list; duplicates do no harm. */
static void list_users(strict *rules, const arrival *request, const char *title,
                       bool (*is_listed)(const strict *rules, const char *name)) {
    const char *comma = "";
    say(rules, ",\"%s_%s\":{", title, rules->throttles_devices ? "devices" : "users");
    for (const cJSON *event = first_event(request); event != NULL; event = event->next) {
        if (!is_listed(rules, name_of(rules, event)))
            continue;
        say(rules, "%s\"%s\":31", comma, name_of(rules, event));
        comma = ",";
    }
    say(rules, "}");
}

static bool has_users(const strict *rules, const arrival *request) {
    for (const cJSON *event = first_event(request); event != NULL; event = event->next)
        if (is_throttled(rules, name_of(rules, event)) ||
            is_over_quota(rules, name_of(rules, event)))
            return true;
    return false;
}

static void throttle(strict *rules, const arrival *request, answer *out) {
    out->status = 429;
    rules->text[0] = '\0';
    say(rules, "{\"code\":429,\"error\":\"Too many requests for some devices and users\","
               "\"eps_threshold\":30");
    list_users(rules, request, "throttled", is_throttled);
    list_users(rules, request, "exceeded_daily_quota", is_over_quota);
    say(rules, "}");
    out->body = rules->text;
}

void strict_respond(void *data, const arrival *request, answer *out) {
    strict *rules = data;
    memset(out, 0, sizeof(*out));
    out->status = 200;
    if (rules->max_body_bytes > 0 && request->body_bytes > rules->max_body_bytes)
        *out = (answer){.status = 413, .body = "{\"code\":413,\"error\":\"Payload too large\"}"};
    else if (request->body == NULL)
        out->status = 400;
    else if (count_bad(rules, request) > 0)
        refuse_bad(rules, request, out);
    else if (has_users(rules, request))
        throttle(rules, request, out);
}

void decide_many(world *w, int count, const int *bad, size_t bad_count) {
    char user[16];
    for (int n = 0; n < count; n++) {
        const char *variation = "a";
        for (size_t i = 0; i < bad_count; i++)
            if (bad[i] == n)
                variation = "bad";
        snprintf(user, sizeof(user), "u%d", n);
        decide(w, user, "f", variation);
    }
}
