/*
 * limits.h: the limits of Amplitude's HTTP V2 and Batch APIs.
 */
#ifndef OA_LIMITS_H
#define OA_LIMITS_H

enum {
    /* Events in one request. Amplitude's page says "fewer than 2000" in one version and "up to
     * 2,000" in the next (HTTP V2, request limits), so 1999 is right for both. A decision is
     * three events at most. */
    OA_REQUEST_MAX_EVENTS = 1999,
    /* Keys in one $set. Source: MAX_PROPERTY_KEYS of Amplitude's JavaScript SDK. */
    OA_SET_MAX_KEYS = 1000,
    /* Longest id. Source: Amplitude's limit for string values, 1024 characters. */
    OA_ID_MAX_CHARACTERS = 1024,
};

#endif
