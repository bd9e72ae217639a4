#include "multi.h"

#include <stdlib.h>

#include <uv.h>

enum { POLL_MS = 1000 };

oa_multi *oa_multi_new(void) {
    oa_multi *multi = calloc(1, sizeof(*multi));
    if (multi == NULL)
        return NULL;
    atomic_init(&multi->cancelled, false);
    atomic_init(&multi->recalled, false);
    multi->handle = curl_multi_init();
    if (multi->handle != NULL)
        return multi;
    free(multi);
    return NULL;
}

void oa_multi_free(oa_multi *multi) {
    if (multi == NULL)
        return;
    curl_multi_cleanup(multi->handle);
    free(multi);
}

void oa_multi_join(oa_multi *multi, oa_transfer *transfer) {
    transfer->next = multi->first;
    multi->first = transfer;
    multi->count++;
    /* What a new connection has replaced is closed, and not used again after it. */
    curl_multi_setopt(multi->handle, CURLMOPT_MAXCONNECTS, (long)multi->count);
}

void oa_multi_leave(oa_multi *multi, oa_transfer *transfer) {
    oa_transfer **link = &multi->first;
    while (*link != transfer)
        link = &(*link)->next;
    *link = transfer->next;
    if (--multi->count == 0)
        oa_multi_free(multi);
}

static void note_over(oa_multi *multi, oa_transfer *transfer, CURLcode code) {
    multi->over_count += !transfer->is_over;
    transfer->is_over = true;
    transfer->code = code;
}

void oa_multi_begin(oa_multi *multi, oa_transfer *transfer, CURLcode code) {
    transfer->is_added =
        code == CURLE_OK && curl_multi_add_handle(multi->handle, transfer->easy) == CURLM_OK;
    transfer->is_over = false;
    transfer->code = CURLE_ABORTED_BY_CALLBACK;
    if (!transfer->is_added)
        note_over(multi, transfer, CURLE_OUT_OF_MEMORY);
}

/* Note which transfers libcurl has nothing more to do for. */
static void note_results(oa_multi *multi) {
    int left = 0;
    const CURLMsg *message = NULL;
    while ((message = curl_multi_info_read(multi->handle, &left)) != NULL)
        for (oa_transfer *each = multi->first; each != NULL; each = each->next)
            if (each->easy == message->easy_handle)
                note_over(multi, each, message->data.result);
}

/* Have all transfers be over: libcurl fails. */
static void note_failure(oa_multi *multi) {
    for (oa_transfer *each = multi->first; each != NULL; each = each->next)
        if (each->is_added)
            note_over(multi, each, CURLE_FAILED_INIT);
}

bool oa_multi_run(oa_multi *multi, uint64_t slice_ms) {
    const uint64_t started_ms = uv_hrtime() / 1000000;
    while (multi->over_count == 0 && !atomic_load(&multi->cancelled)) {
        int running = 0;
        const CURLMcode code = curl_multi_perform(multi->handle, &running);
        note_results(multi);
        if (code != CURLM_OK || (running == 0 && multi->over_count == 0))
            note_failure(multi);
        const uint64_t spent_ms = uv_hrtime() / 1000000 - started_ms;
        if (multi->over_count > 0 || spent_ms >= slice_ms ||
            atomic_exchange(&multi->recalled, false))
            break;
        const uint64_t left_ms = slice_ms - spent_ms;
        const int wait_ms = left_ms < POLL_MS ? (int)left_ms : POLL_MS;
        if (curl_multi_poll(multi->handle, NULL, 0, wait_ms, NULL) != CURLM_OK)
            note_failure(multi);
    }
    return multi->over_count > 0 || atomic_load(&multi->cancelled);
}

void oa_multi_end(oa_multi *multi, oa_transfer *transfer, oa_now now) {
    if (transfer->is_added)
        curl_multi_remove_handle(multi->handle, transfer->easy);
    multi->over_count -= transfer->is_over;
    transfer->is_added = transfer->is_over = false;
    multi->used = now;
}

void oa_multi_cancel(oa_multi *multi) {
    atomic_store(&multi->cancelled, true);
    curl_multi_wakeup(multi->handle);
}

void oa_multi_recall(oa_multi *multi) {
    atomic_store(&multi->recalled, true);
    curl_multi_wakeup(multi->handle);
}

void oa_multi_rearm(oa_multi *multi) {
    atomic_store(&multi->cancelled, false);
    atomic_store(&multi->recalled, false);
}
