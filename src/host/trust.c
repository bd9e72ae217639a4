/*
 * trust.c: a registry of lists, each with an X509_STORE.
 *
 *     SSL_CTX --> X509_STORE      what was decoded so far
 *                     |           asks for a subject that it does not have
 *                     v
 *                 X509_LOOKUP --> anchors: subject -> certificate in DER
 *                     |           of the texts and files, complete, never changed
 *                     v
 *                 X509_LOOKUP     OpenSSL's own, of directories
 *
 * A store is counted by OpenSSL, and owns its anchors: a connection may be verified with it while
 * the list is released, or read again. What it decodes stays in it, under its own lock.
 */
#include "trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <uv.h>

#include "stat.h"

enum { MAX_FILE_BYTES = 16 * 1024 * 1024, SOURCE_TEXTS = 5 };

/* A certificate that is not decoded. */
typedef struct anchor {
    X509_NAME *subject;
    unsigned char *der; /* of OpenSSL's heap */
    long der_len;
} anchor;

typedef struct anchors {
    anchor *items;
    size_t count;
    size_t cap;
} anchors;

/* What tells whether a file is another than when it was read. */
typedef struct file_stamp {
    uint64_t device, inode, size;
    uv_timespec_t modified, changed;
} file_stamp;

struct oa_trust {
    oa_trust *next;         /* in the registry */
    size_t users;           /* likewise guarded by its mutex */
    uv_mutex_t mutex;       /* guards the members that follow */
    X509_STORE *store;      /* NULL: not read yet */
    file_stamp stamp;       /* of ca_file, when it was read */
    bool has_changed;       /* it is not what was read first */
    oa_trust_source source; /* never changed; its strings are in `memory` */
    char memory[];
};

static uv_once_t once = UV_ONCE_INIT;
static X509_LOOKUP_METHOD *method; /* how a store looks into anchors; NULL: out of memory */
static uv_mutex_t registry_mutex;  /* guards the registry */
static oa_trust *registry;

bool oa_trust_fits(const char *tls_library) {
    static const char prefix[] = "OpenSSL/";
    return tls_library != NULL && strncmp(tls_library, prefix, sizeof(prefix) - 1) == 0 &&
           strcmp(tls_library + sizeof(prefix) - 1, OpenSSL_version(OPENSSL_VERSION_STRING)) == 0;
}

/* ---- Anchors ---- */

static void free_anchors(anchors *all) {
    if (all == NULL)
        return;
    for (size_t i = 0; i < all->count; i++) {
        X509_NAME_free(all->items[i].subject);
        OPENSSL_free(all->items[i].der);
    }
    free(all->items);
    free(all);
}

/* Step over one element of DER, or into it. Returns its tag, or -1 when it is none. */
static int step(const unsigned char **at, const unsigned char *end, bool into) {
    const unsigned char *content = *at;
    long len = 0;
    int tag = 0;
    int class = 0;
    if (ASN1_get_object(&content, &len, &tag, &class, end - *at) & 0x80)
        return -1;
    *at = into ? content : content + len;
    return class == V_ASN1_CONTEXT_SPECIFIC ? V_ASN1_CONTEXT_SPECIFIC | tag : tag;
}

/*
 * Return the subject of a certificate in DER, owned, or NULL. Source: RFC 5280, 4.1:
 *     SEQUENCE { SEQUENCE { [0] version?, serial, signature, issuer, validity, subject, ...
 */
static X509_NAME *read_subject(const unsigned char *der, long len) {
    const unsigned char *at = der;
    const unsigned char *end = der + len;
    if (step(&at, end, true) != V_ASN1_SEQUENCE || step(&at, end, true) != V_ASN1_SEQUENCE)
        return NULL;
    if (step(&at, end, false) == V_ASN1_CONTEXT_SPECIFIC && step(&at, end, false) < 0)
        return NULL;
    for (int i = 0; i < 3; i++) /* signature, issuer, validity */
        if (step(&at, end, false) != V_ASN1_SEQUENCE)
            return NULL;
    return d2i_X509_NAME(NULL, &at, end - at);
}

/* Add a certificate. Takes `der`. */
static bool add_anchor(anchors *all, unsigned char *der, long len) {
    X509_NAME *subject = read_subject(der, len);
    if (subject == NULL) { /* it would not be decoded either */
        OPENSSL_free(der);
        return true;
    }
    if (all->count == all->cap) {
        const size_t cap = all->cap > 0 ? all->cap * 2 : 256;
        anchor *items = realloc(all->items, cap * sizeof(*items));
        if (items == NULL) {
            X509_NAME_free(subject);
            OPENSSL_free(der);
            return false;
        }
        all->items = items;
        all->cap = cap;
    }
    all->items[all->count++] = (anchor){subject, der, len};
    return true;
}

/* Add the certificates of a text in PEM. Returns false when memory ran out. */
static bool add_text(anchors *all, oa_str pem) {
    BIO *text = pem.len == 0 ? NULL : BIO_new_mem_buf(pem.data, (int)pem.len);
    bool is_added = pem.len == 0 || text != NULL;
    char *name = NULL;
    char *header = NULL;
    unsigned char *der = NULL;
    long len = 0;
    while (text != NULL && is_added && PEM_read_bio(text, &name, &header, &der, &len)) {
        if (strcmp(name, PEM_STRING_X509) == 0 || strcmp(name, PEM_STRING_X509_OLD) == 0 ||
            strcmp(name, PEM_STRING_X509_TRUSTED) == 0)
            is_added = add_anchor(all, der, len);
        else /* a key, say */
            OPENSSL_free(der);
        OPENSSL_free(name);
        OPENSSL_free(header);
    }
    BIO_free(text);
    return is_added;
}

/* ---- Anchors as a store sees them ---- */

/* Return the certificate with the subject that is in the store, lent; NULL when none is. */
static X509 *find_decoded(X509_STORE *store, const X509_NAME *subject) {
    X509_STORE_lock(store);
    X509_OBJECT *found =
        X509_OBJECT_retrieve_by_subject(X509_STORE_get0_objects(store), X509_LU_X509, subject);
    X509_STORE_unlock(store);
    return found == NULL ? NULL : X509_OBJECT_get0_X509(found);
}

/*
 * Decode all certificates with the subject into the store, and lend the first one in *out. OpenSSL
 * expects one that the store counts, and counts it itself; X509_OBJECT_set1_X509() is the only way
 * to set it, and counts it as well.
 */
static int look_up(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type, const X509_NAME *subject,
                   X509_OBJECT *out) {
    const anchors *all = X509_LOOKUP_get_method_data(lookup);
    X509_STORE *store = X509_LOOKUP_get_store(lookup);
    for (size_t i = 0; type == X509_LU_X509 && i < all->count; i++) {
        const anchor *item = &all->items[i];
        if (X509_NAME_cmp(item->subject, subject) != 0)
            continue;
        const unsigned char *der = item->der;
        X509 *certificate = d2i_X509_AUX(NULL, &der, item->der_len);
        if (certificate != NULL)
            X509_STORE_add_cert(store, certificate);
        X509_free(certificate);
    }
    X509 *found = type == X509_LU_X509 ? find_decoded(store, subject) : NULL;
    if (found == NULL || !X509_OBJECT_set1_X509(out, found))
        return 0;
    X509_free(found);
    return 1;
}

static void end_lookup(X509_LOOKUP *lookup) { free_anchors(X509_LOOKUP_get_method_data(lookup)); }

static void prepare(void) {
    uv_mutex_init(&registry_mutex);
    method = X509_LOOKUP_meth_new("optimizely-amplitude");
    if (method == NULL)
        return;
    X509_LOOKUP_meth_set_get_by_subject(method, look_up);
    X509_LOOKUP_meth_set_free(method, end_lookup);
}

/* ---- Reading a list ---- */

static bool read_all(int fd, char *text, size_t len) {
    size_t had = 0;
    while (had < len) {
        const ssize_t got = read(fd, text + had, len - had);
        if (got > 0)
            had += (size_t)got;
        else if (got == 0 || errno != EINTR)
            break;
    }
    return had == len;
}

/* Add the certificates of a file. Returns 0, or an error as errno has it. */
static int add_file(anchors *all, const char *path) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    uv_stat_t stat;
    int error = oa_stat(fd, &stat);
    if (error == 0 && stat.st_size > MAX_FILE_BYTES)
        error = EFBIG;
    char *text = error == 0 ? malloc(stat.st_size + 1) : NULL;
    if (text == NULL)
        error = error == 0 ? ENOMEM : error;
    else if (!read_all(fd, text, stat.st_size))
        error = EIO;
    else if (!add_text(all, (oa_str){text, stat.st_size}))
        error = ENOMEM;
    free(text);
    close(fd);
    return error;
}

/* Read everything but `ca_file`; *dirs: where OpenSSL looks as well. Returns 0, or ENOMEM. */
static int read_others(const oa_trust_source *source, anchors *all, const char **dirs) {
    const char *extra = source->extra_file.data;
    if (!add_text(all, source->pem) || (extra != NULL && add_file(all, extra) == ENOMEM))
        return ENOMEM;
    if (!source->has_openssl)
        return 0;
    const char *file = source->openssl_file.data;
    *dirs = source->openssl_dirs.data;
    if (*dirs == NULL)
        *dirs = X509_get_default_cert_dir();
    if (file == NULL)
        file = X509_get_default_cert_file();
    return add_file(all, file) == ENOMEM ? ENOMEM : 0;
}

/* Make a store that finds the anchors, and then what is in `dirs`. Takes `all`. NULL: no memory. */
static X509_STORE *make_store(anchors *all, const char *dirs) {
    X509_STORE *store = method == NULL ? NULL : X509_STORE_new();
    X509_LOOKUP *lookup = store == NULL ? NULL : X509_STORE_add_lookup(store, method);
    if (lookup == NULL) {
        free_anchors(all);
        X509_STORE_free(store);
        return NULL;
    }
    X509_LOOKUP_set_method_data(lookup, all);
    /* As libcurl sets them: an intermediate CA may be trusted without its root. */
    X509_STORE_set_flags(store, X509_V_FLAG_TRUSTED_FIRST | X509_V_FLAG_PARTIAL_CHAIN);
    lookup = dirs[0] == '\0' ? NULL : X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());
    if (lookup != NULL)
        X509_LOOKUP_add_dir(lookup, dirs, X509_FILETYPE_PEM);
    return store;
}

/* Write why there is nothing to verify with: an error as errno has it, or 0 for no certificate. */
static void explain(const oa_trust_source *source, int error, char *problem, size_t size) {
    const char *file = source->ca_file.data;
    if (file == NULL)
        snprintf(problem, size, "%s",
                 error != 0 ? strerror(error) : "Node.js trusts no CA: name one in caFile");
    else if (error != 0)
        snprintf(problem, size, "caFile %s cannot be read: %s", file, strerror(error));
    else
        snprintf(problem, size, "caFile %s has no certificate (PEM)", file);
}

/* Read the list; NULL, with a text of why, when there is nothing to verify with. */
static X509_STORE *read_list(const oa_trust_source *source, char *problem, size_t size) {
    const char *dirs = "";
    int error = ENOMEM;
    X509_STORE *store = NULL;
    ERR_set_mark();
    anchors *all = calloc(1, sizeof(*all));
    if (all != NULL)
        error = source->ca_file.data != NULL ? add_file(all, source->ca_file.data)
                                             : read_others(source, all, &dirs);
    if (error == 0 && (all->count > 0 || dirs[0] != '\0')) {
        store = make_store(all, dirs);
        error = ENOMEM;
    } else {
        free_anchors(all);
    }
    ERR_pop_to_mark(); /* OpenSSL reports the end of a text as an error */
    if (store == NULL)
        explain(source, error, problem, size);
    return store;
}

/* ---- The registry ---- */

static bool is_same(oa_str a, oa_str b) {
    return (a.data == NULL) == (b.data == NULL) && a.len == b.len &&
           (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static bool is_same_source(const oa_trust_source *a, const oa_trust_source *b) {
    return is_same(a->ca_file, b->ca_file) && is_same(a->pem, b->pem) &&
           is_same(a->extra_file, b->extra_file) && a->has_openssl == b->has_openssl &&
           is_same(a->openssl_file, b->openssl_file) && is_same(a->openssl_dirs, b->openssl_dirs);
}

/* Move a text to *memory, with a NUL behind it. */
static void keep(oa_str *text, char **memory) {
    if (text->data == NULL)
        return;
    memcpy(*memory, text->data, text->len);
    (*memory)[text->len] = '\0';
    text->data = *memory;
    *memory += text->len + 1;
}

static oa_trust *make_trust(const oa_trust_source *source) {
    const size_t bytes = source->ca_file.len + source->pem.len + source->extra_file.len +
                         source->openssl_file.len + source->openssl_dirs.len + SOURCE_TEXTS;
    oa_trust *trust = calloc(1, sizeof(*trust) + bytes);
    if (trust == NULL)
        return NULL;
    if (uv_mutex_init(&trust->mutex) != 0) {
        free(trust);
        return NULL;
    }
    char *memory = trust->memory;
    trust->source = *source;
    keep(&trust->source.ca_file, &memory);
    keep(&trust->source.pem, &memory);
    keep(&trust->source.extra_file, &memory);
    keep(&trust->source.openssl_file, &memory);
    keep(&trust->source.openssl_dirs, &memory);
    return trust;
}

oa_status oa_trust_acquire(const oa_trust_source *source, oa_trust **out) {
    uv_once(&once, prepare);
    uv_mutex_lock(&registry_mutex);
    oa_trust *trust = registry;
    while (trust != NULL && !is_same_source(&trust->source, source))
        trust = trust->next;
    if (trust == NULL && (trust = make_trust(source)) != NULL) {
        trust->next = registry;
        registry = trust;
    }
    if (trust != NULL) {
        trust->users++;
        *out = trust;
    }
    uv_mutex_unlock(&registry_mutex);
    return trust != NULL ? OA_OK : OA_NOMEM;
}

void oa_trust_release(oa_trust *trust) {
    if (trust == NULL)
        return;
    uv_mutex_lock(&registry_mutex);
    const bool is_last = --trust->users == 0;
    oa_trust **at = &registry;
    while (is_last && *at != trust)
        at = &(*at)->next;
    if (is_last)
        *at = trust->next;
    uv_mutex_unlock(&registry_mutex);
    if (!is_last)
        return;
    X509_STORE_free(trust->store);
    uv_mutex_destroy(&trust->mutex);
    free(trust);
}

/* ---- A connection ---- */

/* When a file was changed; zeros when that cannot be said. */
static file_stamp stamp_of(const char *path) {
    file_stamp stamp = {0};
    uv_fs_t request;
    if (uv_fs_stat(NULL, &request, path, NULL) == 0)
        stamp =
            (file_stamp){request.statbuf.st_dev, request.statbuf.st_ino, request.statbuf.st_size,
                         request.statbuf.st_mtim, request.statbuf.st_ctim};
    uv_fs_req_cleanup(&request);
    return stamp;
}

/* Read the list if that was not done, or again if its file is another. What was read stays when
 * the other one is no good. */
static void refresh(oa_trust *trust, char *problem, size_t size) {
    file_stamp stamp = {0};
    if (trust->source.ca_file.data != NULL)
        stamp = stamp_of(trust->source.ca_file.data); /* before it is read */
    if (trust->store != NULL && memcmp(&stamp, &trust->stamp, sizeof(stamp)) == 0)
        return;
    X509_STORE *store = read_list(&trust->source, problem, size);
    if (store == NULL)
        return;
    trust->has_changed |= trust->store != NULL;
    X509_STORE_free(trust->store);
    trust->store = store;
    trust->stamp = stamp;
}

bool oa_trust_use(oa_trust *trust, void *ssl_context, char *problem, size_t problem_size) {
    uv_mutex_lock(&trust->mutex);
    refresh(trust, problem, problem_size);
    /* libcurl makes a store for each SSL_CTX, and may fill it later: that one stays unused. */
    const bool is_used = trust->store != NULL &&
                         SSL_CTX_set1_verify_cert_store((SSL_CTX *)ssl_context, trust->store) == 1;
    uv_mutex_unlock(&trust->mutex);
    if (is_used)
        problem[0] = '\0';
    return is_used;
}

bool oa_trust_has_changed(oa_trust *trust) {
    char problem[256]; /* the next handshake has it, too */
    uv_mutex_lock(&trust->mutex);
    if (trust->store != NULL)
        refresh(trust, problem, sizeof(problem));
    const bool has_changed = trust->has_changed;
    uv_mutex_unlock(&trust->mutex);
    return has_changed;
}
