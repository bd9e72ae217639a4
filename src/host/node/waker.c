#include "waker.h"

static void on_async(uv_async_t *async) {
    const oa_waker *waker = async->data;
    waker->woken(waker->data);
}

bool oa_waker_open(oa_waker *waker, uv_loop_t *loop, void (*woken)(void *data), void *data) {
    waker->woken = woken;
    waker->data = data;
    waker->async.data = waker;
    if (uv_async_init(loop, &waker->async, on_async) != 0)
        return false;
    uv_unref((uv_handle_t *)&waker->async);
    waker->is_open = true;
    return true;
}

void oa_waker_wake(void *waker) { uv_async_send(&((oa_waker *)waker)->async); }

void oa_waker_keep_alive(oa_waker *waker, bool keeps) {
    uv_handle_t *handle = (uv_handle_t *)&waker->async;
    if (keeps)
        uv_ref(handle);
    else
        uv_unref(handle);
}

static void on_closed(uv_handle_t *handle) {
    const oa_waker *waker = handle->data;
    waker->closed(waker->data);
}

void oa_waker_close(oa_waker *waker, void (*closed)(void *data), void *data) {
    if (!waker->is_open) {
        closed(data);
        return;
    }
    waker->closed = closed;
    waker->data = data;
    uv_close((uv_handle_t *)&waker->async, on_closed);
}
