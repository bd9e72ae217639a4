/*
 * trust.h: the CA certificates that TLS connections are verified with. The only user of OpenSSL.
 *
 * Each list exists once in the process, however many dispatchers and Workers have it, and is read
 * by the first connection that needs it, not on the loop. Of its certificates only the subjects are
 * read then, in 2 ms; one is decoded when a server's certificate leads to it. OpenSSL needs 15 to
 * 30 ms to decode the 144 of Node.js 20, and libcurl had it do so for each connection.
 *
 * Thread: any.
 */
#ifndef OA_HOST_TRUST_H
#define OA_HOST_TRUST_H

#include "oa.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where the certificates are: in `ca_file`, or, without one, in all the others. */
typedef struct oa_trust_source {
    oa_str ca_file;    /* a file (PEM), with one certificate at least; read again when it changes */
    oa_str pem;        /* texts in PEM, one after the other */
    oa_str extra_file; /* a file (PEM); passed over when it cannot be read, as Node.js does */
    bool has_openssl;  /* what OpenSSL finds is trusted, too: */
    oa_str openssl_file; /* the value of SSL_CERT_FILE; absent: OpenSSL's own */
    oa_str openssl_dirs; /* the value of SSL_CERT_DIR; absent: OpenSSL's own */
} oa_trust_source;

typedef struct oa_trust oa_trust;

/* Whether a TLS library, named as libcurl does ("OpenSSL/3.0.15"), is the one used here, so that it
 * can take what is trusted. */
bool oa_trust_fits(const char *tls_library);

/*
 * Find the list from a source, or make it. Nothing is read yet.
 * Ownership: copies the source; returns *out owned, for oa_trust_release(). Errors: OA_NOMEM.
 */
oa_status oa_trust_acquire(const oa_trust_source *source, oa_trust **out)
    __attribute__((warn_unused_result));

/* Take it. Its memory is freed with the last connection that uses it. NULL is fine. */
void oa_trust_release(oa_trust *trust);

/*
 * Have connections from an SSL_CTX verified with the list, which is read if it was not yet. Returns
 * false, with a text of why in `problem`, when nothing can be verified with it.
 * Cost: waits for a file, or for another thread that reads the same list; not on the loop.
 */
bool oa_trust_use(oa_trust *trust, void *ssl_context, char *problem, size_t problem_size)
    __attribute__((warn_unused_result));

/*
 * Whether the list is another than the first that was read from its file. A session of before must
 * not be resumed then: the certificate of a server is not verified again when one is.
 * Cost: as of oa_trust_use().
 */
bool oa_trust_has_changed(oa_trust *trust);

#ifdef __cplusplus
}
#endif

#endif
