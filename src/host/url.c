#include "url.h"

#include <stdio.h>
#include <string.h>

/* Return where host and port of `url` begin: behind "//", or at 0 when it has no scheme. */
static size_t authority_of(oa_str url) {
    for (size_t at = 2; at <= url.len; at++)
        if (memcmp(url.data + at - 2, "//", 2) == 0)
            return at;
    return 0;
}

void oa_url_make_printable(char *text) {
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || (unsigned char)*c > '~')
            *c = ' ';
}

void oa_url_host(oa_str url, char *out, size_t size) {
    size_t from = authority_of(url);
    size_t to = from;
    while (to < url.len && strchr("/?#", url.data[to]) == NULL) {
        if (url.data[to] == '@')
            from = to + 1;
        to++;
    }
    size_t len = to - from;
    if (len >= size)
        len = size - 1;
    memcpy(out, url.data + from, len);
    out[len] = '\0';
}

void oa_url_tell(const char *url, char *out, size_t size) {
    snprintf(out, size, "%s", url);
    char *quoted = strcasestr(out, "%3f");
    if (quoted != NULL)
        *quoted = '\0';
    out[strcspn(out, "?#")] = '\0';
    char *host = out + authority_of((oa_str){out, strlen(out)});
    for (size_t len = strcspn(host, "/"); len > 0; len--)
        if (host[len - 1] == '@') {
            memmove(host, host + len, strlen(host + len) + 1);
            break;
        }
    oa_url_make_printable(out);
}

void oa_url_cut_host(char *text, const char *host) {
    char phrase[OA_URL_HOST_BYTES + 16];
    const bool is_v6 = host[0] == '[';
    const size_t len = strcspn(host + is_v6, is_v6 ? "]" : ":");
    const char *port = strchr(host + is_v6 + len, ':');
    snprintf(phrase, sizeof(phrase), " to %.*s port ", (int)len, host + is_v6);
    char *from = strstr(text, phrase);
    char *to = from == NULL ? NULL : from + strlen(phrase);
    if (to != NULL) {
        const size_t digits = strspn(to, "0123456789");
        if (port != NULL && (strlen(port + 1) != digits || memcmp(port + 1, to, digits) != 0))
            return; /* another one on that host: a proxy */
        to += digits;
    } else {
        snprintf(phrase, sizeof(phrase), "resolve host: %.*s", (int)len, host + is_v6);
        if ((from = strstr(text, phrase)) == NULL)
            return;
        to = from + strlen(phrase);
        from += strlen("resolve host");
    }
    memmove(from, to, strlen(to) + 1);
}
