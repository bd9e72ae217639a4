#include "fit.h"

void oa_fit_init(oa_fit *fit, size_t max_bytes) {
    *fit = (oa_fit){.max_bytes = max_bytes, .bytes = max_bytes};
}

void oa_fit_refused(oa_fit *fit, size_t body_bytes) {
    /* One decision may be larger than what is tried; its refusal says little of smaller bodies. */
    if (body_bytes / 2 < fit->bytes)
        fit->bytes = body_bytes / 2;
    if (fit->bytes < OA_FIT_MIN_BYTES)
        fit->bytes = fit->max_bytes < OA_FIT_MIN_BYTES ? fit->max_bytes : OA_FIT_MIN_BYTES;
    fit->accepted = 0;
}

void oa_fit_lost(oa_fit *fit, size_t body_bytes) {
    if (body_bytes <= fit->proven)
        fit->proven /= 2; /* links change: if it goes on, that was long ago */
    else
        oa_fit_refused(fit, body_bytes);
}

void oa_fit_accepted(oa_fit *fit, size_t body_bytes, bool full) {
    if (body_bytes > fit->proven)
        fit->proven = body_bytes;
    if (!full || fit->bytes == fit->max_bytes || ++fit->accepted < OA_FIT_PATIENCE)
        return;
    fit->bytes = fit->bytes > fit->max_bytes / 2 ? fit->max_bytes : fit->bytes * 2;
    fit->accepted = 0;
}
