/*
 * trust.c: what a list of certificates verifies, without a connection. The certificates are made
 * here, and verified by OpenSSL with the store that a connection would get.
 */
#include <stdio.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <uv.h>

#include "../../src/host/trust.h"
#include "support.h"

enum { MANY = 200, THREADS = 4 };

/* A certificate and its key. */
typedef struct identity {
    X509 *certificate;
    EVP_PKEY *key;
} identity;

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
    X509V3_CTX about;
    X509V3_set_ctx(&about, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &about, nid, value);
    assert_non_null(extension);
    assert_true(X509_add_ext(certificate, extension, -1));
    X509_EXTENSION_free(extension);
}

/* Make a certificate that is signed by `issuer`, or by itself. */
static identity issue(const char *name, const identity *issuer, bool is_ca) {
    static long serial;
    identity made = {X509_new(), EVP_EC_gen("P-256")};
    const identity *by = issuer != NULL ? issuer : &made;
    X509_NAME *subject = X509_get_subject_name(made.certificate);
    assert_true(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name,
                                           -1, -1, 0));
    X509_set_version(made.certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(made.certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.certificate), 3600);
    X509_set_pubkey(made.certificate, made.key);
    X509_set_issuer_name(made.certificate, X509_get_subject_name(by->certificate));
    X509 *signer = by->certificate;
    add_extension(made.certificate, signer, NID_basic_constraints,
                  is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    add_extension(made.certificate, signer, NID_subject_key_identifier, "hash");
    add_extension(made.certificate, signer, NID_authority_key_identifier, "keyid");
    assert_true(X509_sign(made.certificate, by->key, EVP_sha256()));
    return made;
}

static void forget(identity *id) {
    X509_free(id->certificate);
    EVP_PKEY_free(id->key);
}

/* Append certificates, or keys, to a text in PEM. */
static void append(BIO *pem, const identity *id) {
    assert_true(PEM_write_bio_X509(pem, id->certificate));
}

static oa_str contents(BIO *pem) {
    char *data = NULL;
    const long len = BIO_get_mem_data(pem, &data);
    return (oa_str){data, (size_t)len};
}

static void write_file(const char *path, oa_str text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
}

static oa_trust *acquire(const oa_trust_source *source) {
    oa_trust *trust = NULL;
    assert_int_equal(oa_trust_acquire(source, &trust), OA_OK);
    return trust;
}

/* Return 0 when a certificate is trusted, or OpenSSL's reason why it is not. */
static int verify_with(SSL_CTX *context, const identity *leaf, const identity *between) {
    X509_STORE *store = NULL;
    assert_true(SSL_CTX_get0_verify_cert_store(context, &store));
    assert_non_null(store);
    STACK_OF(X509) *others = sk_X509_new_null();
    if (between != NULL)
        sk_X509_push(others, between->certificate);
    X509_STORE_CTX *verification = X509_STORE_CTX_new();
    assert_true(X509_STORE_CTX_init(verification, store, leaf->certificate, others));
    const int result =
        X509_verify_cert(verification) == 1 ? 0 : X509_STORE_CTX_get_error(verification);
    X509_STORE_CTX_free(verification);
    sk_X509_free(others);
    return result;
}

static int verify(oa_trust *trust, const identity *leaf, const identity *between) {
    char problem[256] = "";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_true(oa_trust_use(trust, context, problem, sizeof(problem)));
    assert_string_equal(problem, "");
    const int result = verify_with(context, leaf, between);
    SSL_CTX_free(context);
    return result;
}

static void expect_problem(const oa_trust_source *source, const char *expected) {
    char problem[256] = "";
    oa_trust *trust = acquire(source);
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_false(oa_trust_use(trust, context, problem, sizeof(problem)));
    assert_string_equal(problem, expected);
    SSL_CTX_free(context);
    oa_trust_release(trust);
}

/* A folder, and a path in it; both are removed by clean_up(). */
static char folder[64];
static char path[128];

static void make_folder(const char *name) {
    snprintf(folder, sizeof(folder), "/tmp/oa-trust-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/%s", folder, name);
}

static void clean_up(void) {
    unlink(path);
    assert_int_equal(rmdir(folder), 0);
}

static void the_library_is_the_same_if_its_version_is(void **state) {
    (void)state;
    char name[64];
    snprintf(name, sizeof(name), "OpenSSL/%s", OpenSSL_version(OPENSSL_VERSION_STRING));
    assert_true(oa_trust_fits(name));
    assert_false(oa_trust_fits("OpenSSL/1.1.1"));
    assert_false(oa_trust_fits("(SecureTransport) LibreSSL/3.3.6"));
    assert_false(oa_trust_fits("GnuTLS/3.7.9"));
    assert_false(oa_trust_fits(NULL));
}

static void a_list_exists_once(void **state) {
    (void)state;
    const oa_trust_source one = {.pem = str("a"), .openssl_dirs = str("")};
    const oa_trust_source copy = {.pem = str("a"), .openssl_dirs = str("")};
    const oa_trust_source others[] = {
        {.pem = str("b"), .openssl_dirs = str("")},
        {.pem = str("a")},
        {.pem = str("a"), .openssl_dirs = str(""), .has_openssl = true},
        {.ca_file = str("a"), .openssl_dirs = str("")},
        {.extra_file = str("a"), .openssl_dirs = str("")},
    };
    oa_trust *first = acquire(&one);
    oa_trust *second = acquire(&copy);
    assert_ptr_equal(first, second);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        oa_trust *other = acquire(&others[i]);
        assert_ptr_not_equal(first, other);
        oa_trust_release(other);
    }
    oa_trust_release(first);
    assert_ptr_equal(acquire(&one), second); /* still there */
    oa_trust_release(second);
    oa_trust_release(second);
}

static void a_certificate_is_found_among_many(void **state) {
    (void)state;
    identity root = issue("root", NULL, true);
    identity between = issue("between", &root, true);
    identity leaf = issue("leaf", &between, false);
    identity stranger = issue("stranger", NULL, true);
    identity strange_leaf = issue("leaf", &stranger, false);
    BIO *pem = BIO_new(BIO_s_mem());
    for (int i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof(name), "another %d", i);
        identity other = issue(name, NULL, true);
        append(pem, &other);
        if (i == MANY / 2) { /* what else such files have */
            BIO_puts(pem, "\n# root\nsubject=CN = root\n\n");
            assert_true(PEM_write_bio_PrivateKey(pem, other.key, NULL, NULL, 0, NULL, NULL));
            append(pem, &root);
        }
        forget(&other);
    }
    oa_trust *trust = acquire(&(oa_trust_source){.pem = contents(pem)});
    for (int i = 0; i < 3; i++) { /* at first it is decoded */
        assert_int_equal(verify(trust, &leaf, &between), 0);
        assert_int_equal(verify(trust, &root, NULL), 0);
        assert_int_equal(verify(trust, &leaf, NULL), X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
        assert_int_equal(verify(trust, &strange_leaf, &stranger),
                         X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
    }
    oa_trust_release(trust);
    BIO_free(pem);
    forget(&root);
    forget(&between);
    forget(&leaf);
    forget(&stranger);
    forget(&strange_leaf);
}

static void an_intermediate_may_be_trusted_alone(void **state) {
    (void)state;
    identity root = issue("root", NULL, true);
    identity between = issue("between", &root, true);
    identity leaf = issue("leaf", &between, false);
    BIO *pem = BIO_new(BIO_s_mem());
    append(pem, &between);
    oa_trust *trust = acquire(&(oa_trust_source){.pem = contents(pem)});
    assert_int_equal(verify(trust, &leaf, NULL), 0);
    oa_trust_release(trust);
    BIO_free(pem);
    forget(&root);
    forget(&between);
    forget(&leaf);
}

/* A CA that was renewed with another key: both of its certificates are good. */
static void certificates_with_one_subject_are_told_apart(void **state) {
    (void)state;
    identity old = issue("root", NULL, true);
    identity now = issue("root", NULL, true);
    identity old_leaf = issue("old leaf", &old, false);
    identity new_leaf = issue("new leaf", &now, false);
    BIO *pem = BIO_new(BIO_s_mem());
    append(pem, &old);
    append(pem, &now);
    oa_trust *trust = acquire(&(oa_trust_source){.pem = contents(pem)});
    assert_int_equal(verify(trust, &new_leaf, NULL), 0);
    assert_int_equal(verify(trust, &old_leaf, NULL), 0);
    oa_trust_release(trust);
    BIO_free(pem);
    forget(&old);
    forget(&now);
    forget(&old_leaf);
    forget(&new_leaf);
}

static void a_file_is_read_again_when_it_changes(void **state) {
    (void)state;
    identity roots[2] = {issue("first", NULL, true), issue("second", NULL, true)};
    identity leaves[2] = {issue("leaf", &roots[0], false), issue("leaf", &roots[1], false)};
    BIO *pems[2] = {BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem())};
    append(pems[0], &roots[0]);
    append(pems[1], &roots[1]);
    append(pems[1], &roots[1]); /* another size, where clocks are coarse */
    make_folder("ca.pem");
    const oa_trust_source source = {.ca_file = str(path)};
    char problem[256];
    snprintf(problem, sizeof(problem), "caFile %s cannot be read: No such file or directory", path);
    expect_problem(&source, problem);
    write_file(path, str("no PEM at all"));
    snprintf(problem, sizeof(problem), "caFile %s has no certificate (PEM)", path);
    expect_problem(&source, problem);

    write_file(path, contents(pems[0]));
    oa_trust *trust = acquire(&source);
    assert_int_equal(verify(trust, &leaves[0], NULL), 0);
    assert_int_not_equal(verify(trust, &leaves[1], NULL), 0);
    assert_false(oa_trust_has_changed(trust));
    write_file(path, contents(pems[1]));
    assert_true(oa_trust_has_changed(trust)); /* before a handshake has read it */
    assert_int_equal(verify(trust, &leaves[1], NULL), 0);
    assert_int_not_equal(verify(trust, &leaves[0], NULL), 0);
    write_file(path, str("no PEM at all"));
    assert_int_equal(verify(trust, &leaves[1], NULL), 0);
    unlink(path);
    assert_int_equal(verify(trust, &leaves[1], NULL), 0);
    oa_trust_release(trust);
    clean_up();
    for (int i = 0; i < 2; i++) {
        forget(&roots[i]);
        forget(&leaves[i]);
        BIO_free(pems[i]);
    }
}

static void what_openssl_finds_is_trusted_if_it_is_said(void **state) {
    (void)state;
    identity root = issue("root", NULL, true);
    identity leaf = issue("leaf", &root, false);
    BIO *pem = BIO_new(BIO_s_mem());
    append(pem, &root);
    char name[32];
    snprintf(name, sizeof(name), "%08lx.0",
             X509_NAME_hash_ex(X509_get_subject_name(root.certificate), NULL, NULL, NULL));
    make_folder(name);
    write_file(path, contents(pem));
    char dirs[128];
    snprintf(dirs, sizeof(dirs), "/nowhere:%s", folder);
    const oa_str none = str("");
    const struct {
        oa_trust_source source;
        bool is_trusted;
    } cases[] = {
        {{.has_openssl = true, .openssl_file = str(path), .openssl_dirs = none}, true},
        {{.has_openssl = true, .openssl_file = none, .openssl_dirs = str(dirs)}, true},
        {{.extra_file = str(path)}, true},
        {{.extra_file = str("/nowhere"), .pem = contents(pem)}, true},
        {{.has_openssl = true, .openssl_file = none, .openssl_dirs = str("/nowhere")}, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        oa_trust *trust = acquire(&cases[i].source);
        assert_int_equal(verify(trust, &leaf, NULL) == 0, cases[i].is_trusted);
        oa_trust_release(trust);
    }
    static const char nothing[] = "Node.js trusts no CA: name one in caFile";
    expect_problem(
        &(oa_trust_source){.has_openssl = true, .openssl_file = none, .openssl_dirs = none},
        nothing);
    expect_problem(&(oa_trust_source){.openssl_file = str(path), .openssl_dirs = str(dirs)},
                   nothing);
    clean_up();
    BIO_free(pem);
    forget(&root);
    forget(&leaf);
}

/* A connection goes on with what it has. */
static void a_store_outlives_its_list(void **state) {
    (void)state;
    identity root = issue("root", NULL, true);
    identity leaf = issue("leaf", &root, false);
    BIO *pem = BIO_new(BIO_s_mem());
    append(pem, &root);
    char problem[256];
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    oa_trust *trust = acquire(&(oa_trust_source){.pem = contents(pem)});
    assert_true(oa_trust_use(trust, context, problem, sizeof(problem)));
    oa_trust_release(trust);
    BIO_free(pem);
    assert_int_equal(verify_with(context, &leaf, NULL), 0);
    SSL_CTX_free(context);
    forget(&root);
    forget(&leaf);
}

static void a_broken_certificate_is_passed_over(void **state) {
    (void)state;
    identity root = issue("root", NULL, true);
    identity leaf = issue("leaf", &root, false);
    identity other = issue("other", NULL, true);
    unsigned char *der = NULL;
    const int len = i2d_X509(other.certificate, &der);
    uint64_t seed = 1;
    for (int round = 0; round < 3000; round++) {
        BIO *pem = BIO_new(BIO_s_mem());
        unsigned char broken[2048];
        assert_in_range(len, 1, sizeof(broken));
        memcpy(broken, der, (size_t)len);
        const size_t first = draw(&seed) % 300; /* the subject is among them */
        broken[first] ^= (unsigned char)(1 + draw(&seed) % 255);
        const long cut = round % 3 == 0 ? (long)(1 + draw(&seed) % (uint64_t)len) : len;
        assert_true(PEM_write_bio(pem, "CERTIFICATE", "", broken, cut));
        append(pem, &root);
        oa_trust *trust = acquire(&(oa_trust_source){.pem = contents(pem)});
        assert_int_equal(verify(trust, &leaf, NULL), 0);
        oa_trust_release(trust);
        BIO_free(pem);
    }
    OPENSSL_free(der);
    forget(&other);
    forget(&root);
    forget(&leaf);
}

/* ---- Threads ---- */

typedef struct worker {
    uv_thread_t thread;
    const oa_trust_source *source;
    const identity *leaves;
} worker;

static void work(void *data) {
    const worker *w = data;
    for (int i = 0; i < 20; i++) {
        oa_trust *trust = acquire(w->source);
        assert_int_equal(verify(trust, &w->leaves[i % 8], NULL), 0);
        oa_trust_release(trust);
    }
}

static void threads_share_a_list(void **state) {
    (void)state;
    identity roots[8];
    identity leaves[8];
    BIO *pem = BIO_new(BIO_s_mem());
    for (int i = 0; i < 8; i++) {
        char name[32];
        snprintf(name, sizeof(name), "root %d", i);
        roots[i] = issue(name, NULL, true);
        leaves[i] = issue("leaf", &roots[i], false);
        append(pem, &roots[i]);
    }
    const oa_trust_source source = {.pem = contents(pem)};
    worker workers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){.source = &source, .leaves = leaves};
        assert_int_equal(uv_thread_create(&workers[i].thread, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        uv_thread_join(&workers[i].thread);
    BIO_free(pem);
    for (int i = 0; i < 8; i++) {
        forget(&roots[i]);
        forget(&leaves[i]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_library_is_the_same_if_its_version_is),
        cmocka_unit_test(a_list_exists_once),
        cmocka_unit_test(a_certificate_is_found_among_many),
        cmocka_unit_test(an_intermediate_may_be_trusted_alone),
        cmocka_unit_test(certificates_with_one_subject_are_told_apart),
        cmocka_unit_test(a_file_is_read_again_when_it_changes),
        cmocka_unit_test(what_openssl_finds_is_trusted_if_it_is_said),
        cmocka_unit_test(a_store_outlives_its_list),
        cmocka_unit_test(a_broken_certificate_is_passed_over),
        cmocka_unit_test(threads_share_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
