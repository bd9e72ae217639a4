#include "support_crowd.h"

#include <inttypes.h>

enum { GROUPS_A_SECOND = 100, FIRST_DECISIONS = 1024 };

static const char NUMBER[] = "\"number\":";

world *crowd_world(uint64_t seed) {
    world *w = world_new();
    w->runs_free = true;
    w->random = seed;
    w->server.skims = true;
    w->config.max_queue_bytes = 64 << 20;
    return w;
}

/* ---- the server ---- */

/* Return the next decision's number at or behind *at, which moves on; UINT64_MAX: there is none. */
static uint64_t next_number(oa_str text, const char **at) {
    const char *end = text.data + text.len;
    const char *found = memmem(*at, (size_t)(end - *at), NUMBER, sizeof(NUMBER) - 1);
    if (found == NULL)
        return UINT64_MAX;
    uint64_t number = 0;
    for (found += sizeof(NUMBER) - 1; found < end && *found >= '0' && *found <= '9'; found++)
        number = number * 10 + (uint64_t)(*found - '0');
    *at = found;
    return number;
}

bool crowd_has_decision(const arrival *request, uint64_t number) {
    const char *at = request->text.data;
    for (uint64_t n; (n = next_number(request->text, &at)) != UINT64_MAX;)
        if (n == number)
            return true;
    return false;
}

uint64_t crowd_count(const arrival *request) {
    const char *at = request->text.data;
    uint64_t count = 0;
    while (next_number(request->text, &at) != UINT64_MAX)
        count++;
    return count;
}

bool crowd_has_user(const arrival *request, uint64_t user) {
    char name[48];
    const int len = snprintf(name, sizeof(name), "\"user_id\":\"u%" PRIu64 "\"", user);
    return memmem(request->text.data, request->text.len, name, (size_t)len) != NULL;
}

static void take(crowd *c, uint64_t number) {
    assert_true(number < c->count);
    assert_false(c->has_arrived[number]);
    const uint64_t user = number % c->users;
    const uint64_t took_ms = c->world->now.monotonic_ms - c->decided_at_ms[number];
    assert_true(number >= c->last[user]); /* in the order of the decisions */
    c->last[user] = number + 1;
    c->has_arrived[number] = true;
    c->arrived++;
    if (took_ms > c->slowest_ms[user])
        c->slowest_ms[user] = took_ms;
}

static void respond(void *data, const arrival *request, answer *out) {
    crowd *c = data;
    *out = (answer){.status = 200};
    if (c->judge != NULL)
        c->judge(c, request, out);
    if (out->status != 200 || out->body != NULL)
        return;
    const char *at = request->text.data;
    for (uint64_t number; (number = next_number(request->text, &at)) != UINT64_MAX;)
        take(c, number);
}

void crowd_down(crowd *c, const arrival *request, answer *out) {
    (void)c;
    (void)request;
    out->status = 503;
}

/* ---- the users ---- */

void crowd_begin(crowd *c, world *w, uint64_t users) {
    *c = (crowd){.world = w, .users = users, .variation = "a"};
    c->last = must(calloc(users, sizeof(*c->last)));
    c->slowest_ms = must(calloc(users, sizeof(*c->slowest_ms)));
    w->server.respond = respond;
    w->server.data = c;
}

void crowd_end(crowd *c) {
    world_end(c->world);
    free(c->decided_at_ms);
    free(c->has_arrived);
    free(c->last);
    free(c->slowest_ms);
}

static void grow(crowd *c) {
    if (c->count < c->cap)
        return;
    c->cap = c->cap > 0 ? c->cap * 2 : FIRST_DECISIONS;
    c->decided_at_ms = must(realloc(c->decided_at_ms, c->cap * sizeof(*c->decided_at_ms)));
    c->has_arrived = must(realloc(c->has_arrived, c->cap * sizeof(*c->has_arrived)));
}

oa_status crowd_decide(crowd *c) {
    grow(c);
    const uint64_t number = c->count++;
    c->decided_at_ms[number] = c->world->now.monotonic_ms;
    c->has_arrived[number] = false;
    char name[24];
    char properties[48];
    snprintf(name, sizeof(name), "u%" PRIu64, number % c->users);
    snprintf(properties, sizeof(properties), "%s%" PRIu64, NUMBER, number);
    oa_decision decision = {.user_id = str(name), .event_properties = str(properties)};
    return decide_fast(c->world, &decision, "f", c->variation, true);
}

void crowd_decide_many(crowd *c, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(crowd_decide(c), OA_OK);
}

/* Move the clock on to `until_ms`, and stop at each moment at which something is due. */
static void sleep_until(world *w, uint64_t until_ms) {
    for (;;) {
        uint64_t due_ms = oa_dispatcher_next_due(w->dispatcher, w->now);
        if (due_ms <= w->now.monotonic_ms) {
            settle(w);
            due_ms = oa_dispatcher_next_due(w->dispatcher, w->now);
        }
        const uint64_t to_ms = due_ms < until_ms ? due_ms : until_ms;
        if (w->now.monotonic_ms >= until_ms)
            return;
        assert_true(to_ms > w->now.monotonic_ms); /* it has settled */
        w->now.wall_ms += (int64_t)(to_ms - w->now.monotonic_ms);
        w->now.monotonic_ms = to_ms;
    }
}

void crowd_live(crowd *c, uint64_t ms, uint64_t per_second) {
    const uint64_t start_ms = c->world->now.monotonic_ms;
    const uint64_t a_second = per_second < GROUPS_A_SECOND ? per_second : GROUPS_A_SECOND;
    const uint64_t groups = ms * a_second / ONE_SECOND_MS;
    for (uint64_t i = 0; i < groups; i++) {
        sleep_until(c->world, start_ms + i * ONE_SECOND_MS / a_second);
        for (uint64_t n = 0; n < per_second / a_second; n++)
            crowd_decide(c);
    }
    sleep_until(c->world, start_ms + ms);
}

/* ---- what became of them ---- */

size_t crowd_requests(const crowd *c) { return c->world->server.count; }

void crowd_expect_all(const crowd *c, uint64_t dropped) {
    const oa_stats stats = stats_of(c->world);
    assert_int_equal(stats.pending, 0);
    assert_int_equal(dropped_of(c->world), dropped);
    assert_int_equal(stats.delivered, stats.accepted - dropped);
    assert_int_equal(c->arrived, stats.delivered);
}

uint64_t crowd_slowest_ms(const crowd *c, uint64_t but) {
    uint64_t slowest_ms = 0;
    for (uint64_t user = 0; user < c->users; user++)
        if (user != but && c->slowest_ms[user] > slowest_ms)
            slowest_ms = c->slowest_ms[user];
    return slowest_ms;
}

void crowd_say(const char *format, ...) {
    if (getenv("OA_SAY") == NULL)
        return;
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}
