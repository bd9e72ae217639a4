#include "origin.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "../clock.h"

void oa_origin_random(void *bytes, size_t len) {
    if (getrandom(bytes, len, GRND_NONBLOCK) == (ssize_t)len)
        return;
    /* None is there yet, early after the start of a machine: to differ is enough. */
    const uint64_t parts[2] = {oa_clock_now().monotonic_ms,
                               (uint64_t)getpid() << 32 ^ (uintptr_t)bytes};
    memcpy(bytes, parts, len < sizeof(parts) ? len : sizeof(parts));
}

void oa_origin_boot(char boot[OA_SEGMENT_ID_BYTES]) {
    char text[40] = {0};
    const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    const ssize_t len = read(fd, text, sizeof(text) - 1);
    close(fd);
    static const char digits[] = "0123456789abcdef";
    size_t count = 0;
    for (ssize_t i = 0; i < len && count < 2 * OA_SEGMENT_ID_BYTES; i++) {
        const char *digit = memchr(digits, text[i], sizeof(digits) - 1);
        if (digit == NULL)
            continue;
        char *byte = &boot[count++ / 2];
        *byte = (char)((unsigned char)*byte << 4 | (digit - digits));
    }
}
