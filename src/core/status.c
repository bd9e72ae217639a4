/* status.c: the names behind oa.h's lists. */
#include "oa.h"

const char *oa_status_name(oa_status status) {
    static const char *const names[] = {
#define OA_STATUS_NAME(name, text, message) text,
        OA_STATUS_MAP(OA_STATUS_NAME)
#undef OA_STATUS_NAME
    };
    return (unsigned)status < OA_STATUS_COUNT ? names[status] : "unknown";
}

const char *oa_status_message(oa_status status) {
    static const char *const messages[] = {
#define OA_STATUS_MESSAGE(name, text, message) message,
        OA_STATUS_MAP(OA_STATUS_MESSAGE)
#undef OA_STATUS_MESSAGE
    };
    return (unsigned)status < OA_STATUS_COUNT ? messages[status] : "unknown status";
}

const char *oa_drop_name(oa_drop_reason reason) {
    static const char *const names[] = {
#define OA_DROP_NAME(name, text) text,
        OA_DROP_MAP(OA_DROP_NAME)
#undef OA_DROP_NAME
    };
    return (unsigned)reason < OA_DROP_COUNT ? names[reason] : "unknown";
}

const char *oa_health_name(oa_health_state state) {
    static const char *const names[] = {
#define OA_HEALTH_NAME(name, text) text,
        OA_HEALTH_MAP(OA_HEALTH_NAME)
#undef OA_HEALTH_NAME
    };
    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}
