/*
 * sink.c: the server of the benchmarks. It reads requests, throws them away, and answers 200.
 *
 *   sink [--port N] [--delay-ms N] [--closes 1] [--cert FILE --key FILE]
 *
 * With a certificate it speaks TLS. `--closes` ends each connection after its answer.
 *
 * One thread, epoll, HTTP/1.1 on loopback, bodies with a Content-Length only. It must never be what
 * a benchmark waits for, so it does not copy what it reads out of the kernel. `GET /stats` reports
 * the number of requests and the bytes of their bodies. It ends with its standard input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

enum { HEAD_BYTES = 16 * 1024, EVENTS_AT_ONCE = 64, READ_BYTES = 1 << 20 };

static const char ACCEPTED[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Content-Length: 12\r\n\r\n{\"code\":200}";

typedef struct connection {
    struct connection *next; /* among those whose answer is delayed, oldest first */
    int fd;
    SSL *ssl; /* NULL: no TLS */
    size_t head_len;
    uint64_t body_left;
    uint64_t due_ms; /* of the answer; 0: there is none to give */
    bool close_after;
    bool wants_stats;
    bool closed; /* by the client, while its answer is delayed */
    char head[HEAD_BYTES];
} connection;

static int epoll_fd;
static uint64_t delay_ms;
static bool closes;
static SSL_CTX *tls; /* NULL: no TLS */
static uint64_t request_count;
static uint64_t body_bytes;
static connection *delayed;
static connection **delayed_end = &delayed;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void drop(connection *c) {
    SSL_free(c->ssl);
    c->ssl = NULL;
    close(c->fd);
    if (c->due_ms != 0)
        c->closed = true; /* freed when its turn comes */
    else
        free(c);
}

/* Read, or with `to` NULL throw away: TCP discards without copying. */
static ssize_t take(connection *c, char *to, size_t most) {
    static char nowhere[READ_BYTES];
    if (c->ssl == NULL)
        return recv(c->fd, to, most, to == NULL ? MSG_TRUNC : 0);
    return SSL_read(c->ssl, to == NULL ? nowhere : to, (int)most);
}

static ssize_t give(connection *c, const char *text, size_t len) {
    return c->ssl == NULL ? write(c->fd, text, len) : SSL_write(c->ssl, text, (int)len);
}

static void answer(connection *c) {
    char text[256];
    const char *reply = ACCEPTED;
    size_t len = sizeof(ACCEPTED) - 1;
    if (c->wants_stats) {
        char body[96];
        const int body_len = snprintf(body, sizeof(body), "{\"requests\":%llu,\"bytes\":%llu}",
                                      (unsigned long long)request_count,
                                      (unsigned long long)body_bytes);
        len = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s",
                               body_len, body);
        reply = text;
    } else {
        request_count++;
    }
    c->due_ms = 0;
    c->head_len = 0;
    const bool is_given = give(c, reply, len) == (ssize_t)len;
    if (!is_given || c->close_after || closes)
        drop(c);
}

static void finish(connection *c) {
    if (delay_ms == 0 || c->wants_stats) {
        answer(c);
        return;
    }
    c->due_ms = now_ms() + delay_ms;
    c->next = NULL;
    *delayed_end = c;
    delayed_end = &c->next;
}

/* Send the answers that are due; return how long until the next, -1 without any. */
static int answer_delayed(void) {
    while (delayed != NULL) {
        connection *c = delayed;
        const uint64_t now = now_ms();
        if (c->due_ms > now)
            return (int)(c->due_ms - now);
        delayed = c->next;
        if (delayed == NULL)
            delayed_end = &delayed;
        if (c->closed)
            free(c);
        else
            answer(c);
    }
    return -1;
}

static const char *header(const char *head, const char *name) {
    const size_t len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, len) == 0)
            return line + 2 + len;
    return NULL;
}

/* Look for the end of the head, and read what it says. Returns false when the connection is to
 * end. */
static bool read_head(connection *c) {
    c->head[c->head_len] = '\0';
    char *end = strstr(c->head, "\r\n\r\n");
    if (end == NULL)
        return c->head_len < HEAD_BYTES - 1;
    end[2] = '\0';
    const char *length = header(c->head, "content-length:");
    const char *close_header = header(c->head, "connection: close");
    const size_t behind = c->head_len - (size_t)(end + 4 - c->head);
    const uint64_t body_len = length != NULL ? strtoull(length, NULL, 10) : 0;
    c->wants_stats = strncmp(c->head, "GET /stats", 10) == 0;
    c->close_after = close_header != NULL;
    if (behind > body_len)
        return false; /* pipelining, which no client here uses */
    body_bytes += body_len;
    c->body_left = body_len - behind;
    if (c->body_left == 0)
        finish(c);
    else
        c->head_len = HEAD_BYTES; /* reading the body */
    return true;
}

static void read_some(connection *c) {
    if (c->head_len < HEAD_BYTES) {
        const ssize_t got = take(c, c->head + c->head_len, HEAD_BYTES - 1 - c->head_len);
        if (got <= 0) {
            drop(c);
            return;
        }
        c->head_len += (size_t)got;
        if (!read_head(c))
            drop(c);
        return;
    }
    const size_t most = c->body_left < READ_BYTES ? (size_t)c->body_left : READ_BYTES;
    const ssize_t got = take(c, NULL, most);
    if (got <= 0) {
        drop(c);
        return;
    }
    c->body_left -= (uint64_t)got;
    if (c->body_left == 0)
        finish(c);
}

static void on_readable(connection *c) {
    SSL *ssl = c->ssl;
    if (ssl != NULL)
        SSL_up_ref(ssl);
    do /* what TLS has read ahead, no poll tells */
        read_some(c);
    while (ssl != NULL && SSL_pending(ssl) > 0);
    SSL_free(ssl);
}

static void watch(int fd, void *data) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.ptr = data}};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
}

static void on_connection(int listener) {
    const int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return;
    const int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    connection *c = calloc(1, sizeof(*c));
    if (c == NULL)
        fail("calloc");
    c->fd = fd;
    if (tls != NULL) {
        c->ssl = SSL_new(tls);
        if (c->ssl == NULL || SSL_set_fd(c->ssl, fd) != 1 || SSL_accept(c->ssl) != 1) {
            drop(c);
            return;
        }
    }
    watch(fd, c);
}

static int listen_on(uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    const int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(address);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 128) != 0)
        fail("listen");
    getsockname(fd, (struct sockaddr *)&address, &len);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static SSL_CTX *make_tls(const char *cert, const char *key) {
    SSL_CTX *made = SSL_CTX_new(TLS_server_method());
    if (made == NULL || SSL_CTX_use_certificate_chain_file(made, cert) != 1 ||
        SSL_CTX_use_PrivateKey_file(made, key, SSL_FILETYPE_PEM) != 1) {
        fprintf(stderr, "sink: the certificate\n");
        exit(1);
    }
    return made;
}

int main(int argc, char **argv) {
    uint16_t port = 0;
    const char *cert = NULL;
    const char *key = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            port = (uint16_t)atoi(argv[i + 1]);
        else if (strcmp(argv[i], "--delay-ms") == 0)
            delay_ms = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--closes") == 0)
            closes = true;
        else if (strcmp(argv[i], "--cert") == 0)
            cert = argv[i + 1];
        else if (strcmp(argv[i], "--key") == 0)
            key = argv[i + 1];
    }
    if (cert != NULL)
        tls = make_tls(cert, key);
    static char is_listener, is_parent;
    epoll_fd = epoll_create1(0);
    const int listener = listen_on(port);
    watch(listener, &is_listener);
    watch(STDIN_FILENO, &is_parent);
    for (;;) {
        struct epoll_event events[EVENTS_AT_ONCE];
        const int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, answer_delayed());
        for (int i = 0; i < count; i++) {
            void *data = events[i].data.ptr;
            if (data == &is_parent)
                return 0;
            if (data == &is_listener)
                on_connection(listener);
            else
                on_readable(data);
        }
    }
}
