#include "support_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 30000 };

/* Wait for something to read. The peer must not hang in a test that has failed. */
static bool wait_for(int fd) {
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, PATIENCE_MS) == 1;
}

/* Read one request into p->request. Returns false when the connection ends. */
static bool read_request(peer *p, int fd) {
    size_t need = SIZE_MAX;
    p->request_len = 0;
    while (p->request_len < need) {
        if (!wait_for(fd))
            return false;
        const ssize_t got =
            recv(fd, p->request + p->request_len, MOST_REQUEST_BYTES - p->request_len, 0);
        if (got <= 0)
            return false;
        p->request_len += (size_t)got;
        p->request[p->request_len] = '\0';
        const char *body = strstr(p->request, "\r\n\r\n");
        const char *length = strstr(p->request, "Content-Length: ");
        if (need == SIZE_MAX && body != NULL && length != NULL)
            need = (size_t)(body + 4 - p->request) + strtoul(length + 16, NULL, 10);
        else if (need == SIZE_MAX && body != NULL && memcmp(p->request, "GET ", 4) == 0)
            need = (size_t)(body + 4 - p->request);
    }
    return true;
}

static void send_all(int fd, const char *data, size_t len) {
    while (len > 0) {
        const ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the client has closed the connection */
        data += sent;
        len -= (size_t)sent;
    }
}

static void send_padding(int fd, size_t len) {
    static const char zeros[65536];
    while (len > 0) {
        const size_t part = len < sizeof(zeros) ? len : sizeof(zeros);
        send_all(fd, zeros, part);
        len -= part;
    }
}

static void hang_up(peer *p, size_t index) {
    close(p->open[index]);
    p->open[index] = -1;
}

/* Wait until a connection has something to read, and accept new ones meanwhile. The older ones
 * stay. Returns false when nothing comes. */
static bool next_connection(peer *p, size_t *index) {
    for (;;) {
        struct pollfd all[MOST_CONNECTIONS + 1];
        const size_t count = p->connections;
        for (size_t i = 0; i < count; i++)
            all[i] = (struct pollfd){.fd = p->open[i], .events = POLLIN};
        all[count] = (struct pollfd){.fd = p->listener, .events = POLLIN};
        if (poll(all, count + 1, PATIENCE_MS) <= 0)
            return false;
        for (*index = 0; *index < count; ++*index)
            if (all[*index].revents != 0)
                return true;
        if (count == MOST_CONNECTIONS || (p->open[count] = accept(p->listener, NULL, NULL)) < 0)
            return false;
        atomic_fetch_add(&p->connections, 1);
    }
}

/* Take one request as the reply wants it. Returns false when the connection ends before. */
static bool take_request(peer *p, const reply *said, int fd) {
    char byte;
    if (recv(fd, &byte, 1, MSG_PEEK) <= 0)
        return false;
    if (said->held) {
        atomic_store(&p->holds, true);
        uv_sem_wait(&p->speaks);
        atomic_store(&p->holds, false);
    }
    return said->blind ? recv(fd, &byte, 1, 0) > 0 : read_request(p, fd);
}

static void say(peer *p, const reply *said, int fd) {
    char byte;
    if (said->silent) {
        atomic_store(&p->holds, true);
        (void)(wait_for(fd) && recv(fd, &byte, 1, 0) > 0);
        atomic_store(&p->holds, false);
    } else {
        send_all(fd, said->text, strlen(said->text));
        send_padding(fd, said->padding);
    }
}

static void serve(void *data) {
    peer *p = data;
    size_t index = 0;
    for (size_t i = 0; i < p->count && next_connection(p, &index);) {
        const reply *said = &p->replies[i];
        if (!take_request(p, said, p->open[index])) {
            hang_up(p, index);
            continue;
        }
        p->came_over[i++] = index;
        atomic_fetch_add(&p->requests, 1);
        say(p, said, p->open[index]);
        if (said->silent || said->closes)
            hang_up(p, index);
    }
    for (index = 0; index < p->connections; index++)
        if (p->open[index] >= 0)
            hang_up(p, index);
}

int listen_anywhere(uint16_t *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(address);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

peer *peer_start(const reply *replies, size_t count) {
    memory_deny(false);
    memory_fail(0);
    peer *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->request = malloc(MOST_REQUEST_BYTES + 1);
    assert_non_null(p->request);
    assert_true(count <= MOST_REPLIES);
    memcpy(p->replies, replies, count * sizeof(*replies));
    p->count = count;
    p->listener = listen_anywhere(&p->port);
    assert_int_equal(uv_sem_init(&p->speaks, 0), 0);
    assert_int_equal(uv_thread_create(&p->thread, serve, p), 0);
    return p;
}

void peer_speak(peer *p) { uv_sem_post(&p->speaks); }

void peer_join(peer *p) { assert_int_equal(uv_thread_join(&p->thread), 0); }

void peer_free(peer *p) {
    uv_sem_destroy(&p->speaks);
    close(p->listener);
    free(p->request);
    free(p);
}
