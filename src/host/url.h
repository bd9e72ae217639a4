/*
 * url.h: what messages tell of a URL, which may hold secrets: its host, and a path.
 *
 * Thread: any. Pure.
 */
#ifndef OA_HOST_URL_H
#define OA_HOST_URL_H

#include "oa.h"

enum { OA_URL_HOST_BYTES = 128 };

/* Write host and port of `url`, up to the next '/', '?' or '#', to `out`, cut to its size. */
void oa_url_host(oa_str url, char *out, size_t size);

/* Write the URL of a redirect to `out`, cut to its size: without user name and query, nor one that
 * is quoted in the path, as login pages have it. */
void oa_url_tell(const char *url, char *out, size_t size);

/* Cut `host`, of oa_url_host(), out of a text of libcurl, since the message begins with it. */
void oa_url_cut_host(char *text, const char *host);

/* Replace what is not printable ASCII by spaces. */
void oa_url_make_printable(char *text);

#endif
