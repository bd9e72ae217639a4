#include "turn.h"

#include <uv.h>

static uv_once_t once = UV_ONCE_INIT;
static uv_mutex_t mutex; /* guards is_taken */
static uv_cond_t cond;
static bool is_taken;
static bool is_made; /* the two above could be made */

static void make(void) { is_made = uv_mutex_init(&mutex) == 0 && uv_cond_init(&cond) == 0; }

bool oa_turn_begin(void) {
    uv_once(&once, make);
    return is_made;
}

bool oa_turn_take(const atomic_bool *cancelled) {
    uv_mutex_lock(&mutex);
    while (is_taken && !atomic_load(cancelled))
        uv_cond_wait(&cond, &mutex);
    const bool is_mine = !atomic_load(cancelled);
    is_taken |= is_mine;
    uv_mutex_unlock(&mutex);
    return is_mine;
}

static void wake(bool gives) {
    uv_mutex_lock(&mutex);
    is_taken = is_taken && !gives;
    uv_cond_broadcast(&cond);
    uv_mutex_unlock(&mutex);
}

void oa_turn_give(void) { wake(true); }

void oa_turn_wake(void) { wake(false); }
