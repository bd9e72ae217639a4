/*
 * limit.c: the least that the delivery of a decision can cost: libcurl sends prepared bytes.
 *
 *   limit URL BODY-FILE DECISIONS-IN-BODY DECISIONS [gzip [CA-FILE]]
 *
 * It posts the same finished body again and again, compressed each time if asked, and prints the
 * microseconds of CPU for one decision.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <curl/curl.h>
#include <zlib.h>

static void fail(const char *what) {
    fprintf(stderr, "limit: %s\n", what);
    exit(1);
}

static double cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1e6 * (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static char *read_file(const char *name, size_t *len) {
    FILE *file = fopen(name, "rb");
    if (file == NULL)
        fail(name);
    fseek(file, 0, SEEK_END);
    *len = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*len);
    if (data == NULL || fread(data, 1, *len, file) != *len)
        fail(name);
    fclose(file);
    return data;
}

static size_t ignore(char *data, size_t size, size_t count, void *user) {
    (void)data;
    (void)user;
    return size * count;
}

static CURL *open_connection(const char *url, const char *ca_file, struct curl_slist *headers) {
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    if (ca_file != NULL)
        curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
    return easy;
}

static void post(CURL *easy, const char *body, size_t len) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
    long status = 0;
    if (curl_easy_perform(easy) != CURLE_OK)
        fail("the request failed");
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        fail("the answer is not 200");
}

static size_t compress_body(z_stream *zip, char *body, size_t len, char *out, size_t bound) {
    zip->next_in = (Bytef *)body;
    zip->avail_in = (uInt)len;
    zip->next_out = (Bytef *)out;
    zip->avail_out = (uInt)bound;
    if (deflate(zip, Z_FINISH) != Z_STREAM_END)
        fail("deflate");
    deflateReset(zip);
    return bound - zip->avail_out;
}

int main(int argc, char **argv) {
    if (argc < 5)
        fail("usage: limit URL BODY-FILE DECISIONS-IN-BODY DECISIONS [gzip]");
    const double in_body = atof(argv[3]);
    const double decisions = atof(argv[4]);
    const int gzip = argc > 5 && strcmp(argv[5], "gzip") == 0;
    size_t len = 0;
    char *body = read_file(argv[2], &len);
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    if (gzip)
        headers = curl_slist_append(headers, "Content-Encoding: gzip");
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *easy = open_connection(argv[1], argc > 6 ? argv[6] : NULL, headers);
    z_stream zip;
    memset(&zip, 0, sizeof(zip));
    if (deflateInit2(&zip, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        fail("deflateInit2");
    const size_t bound = deflateBound(&zip, len);
    char *compressed = malloc(bound);
    post(easy, body, len); /* connects */
    const double before_us = cpu_us();
    double sent = 0;
    for (; sent < decisions; sent += in_body) {
        if (gzip)
            post(easy, compressed, compress_body(&zip, body, len, compressed, bound));
        else
            post(easy, body, len);
    }
    printf("%.4f\n", (cpu_us() - before_us) / sent);
    return 0;
}
