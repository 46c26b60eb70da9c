/* SPDX-License-Identifier: MIT */

/* Clients on direct connections that a bus would keep from us: silent ones, greedy ones, some that talk nonsense and some
 * that never listen. Whatever they do, alice gets her memory, and nothing is left of them. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "names.h"
#include "polkit.h"
#include "scene.h"
#include "world.h"

#define CONNECTIONS_MAX 100
#define CONFIGURATION                                                                                                  \
        "[Broker]\nMaxConnectionsPerUser=100\nConnectionIdleSec=1\n"                                                   \
        "[Region dram]\nSize=256M\n"

/* Of those in test_crowd(). */
#define HANDSHAKES_MAX 8

#define HANDSHAKE "AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"

/* ---- In the client's process ------------------------------------------------------------------------------------- */

static int sockets[1000];
static unsigned n_sockets;

static int dial(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = DAXBROKER_DIRECT_SOCKET };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(connect(fd, (struct sockaddr *) &address, sizeof(address)), ==, 0);
        return fd;
}

/* Sends it; whether the other side still takes it. */
static bool say(int fd, const void *data, size_t size) {
        return send(fd, data, size, MSG_NOSIGNAL) == (ssize_t) size;
}

/* Reads until the other side hangs up; false if it does not. */
static bool is_hung_up_on(int fd) {
        struct pollfd polled = { .fd = fd, .events = POLLIN };
        char buffer[4096];

        for (;;) {
                ssize_t n;

                if (poll(&polled, 1, 20000) <= 0)
                        return false;
                n = recv(fd, buffer, sizeof(buffer), 0);
                if (n <= 0)
                        return n == 0 || errno == ECONNRESET;
        }
}

static bool is_closed(int fd) {
        struct pollfd polled = { .fd = fd, .events = 0 };

        return poll(&polled, 1, 0) > 0 && (polled.revents & POLLHUP);
}

/* -1 if the other side does not want to. */
static int shake_hands(void) {
        char buffer[256];
        size_t done = 0;
        int fd = dial();

        if (!say(fd, "\0" HANDSHAKE, sizeof(HANDSHAKE))) {
                close(fd);
                return -1;
        }
        do {
                ssize_t n = recv(fd, buffer + done, sizeof(buffer) - 1 - done, 0);

                if (n <= 0) {
                        close(fd);
                        return -1;
                }
                done += (size_t) n;
                buffer[done] = '\0';
        } while (!strstr(buffer, "AGREE_UNIX_FD\r\n"));
        return fd;
}

static sd_bus *bus_of(int fd) {
        sd_bus *bus;

        g_assert_cmpint(sd_bus_new(&bus), >=, 0);
        g_assert_cmpint(sd_bus_set_fd(bus, fd, fd), >=, 0);
        g_assert_cmpint(sd_bus_start(bus), >=, 0);
        return bus;
}

/* A call as it goes over the wire, without fields that need a bus: "ListRegions" of the manager. */
static GByteArray *raw_call(uint32_t serial) {
        static const struct {
                char code, type;
                const char *text;
        } fields[] = {
                { 1, 'o', DAXBROKER_ROOT_PATH }, { 2, 's', DAXBROKER_MANAGER_INTERFACE }, { 3, 's', "ListRegions" },
        };
        GByteArray *message = g_byte_array_new();
        uint32_t zero = 0, length;

        g_byte_array_append(message, (const uint8_t *) "l\1\0\1", 4);
        g_byte_array_append(message, (const uint8_t *) &zero, 4);
        g_byte_array_append(message, (const uint8_t *) &serial, 4);
        g_byte_array_append(message, (const uint8_t *) &zero, 4);
        for (size_t i = 0; i < G_N_ELEMENTS(fields); i++) {
                const char start[] = { fields[i].code, 1, fields[i].type, 0 };

                length = (uint32_t) strlen(fields[i].text);
                while (message->len % 8 != 0)
                        g_byte_array_append(message, (const uint8_t *) "", 1);
                g_byte_array_append(message, (const uint8_t *) start, 4);
                g_byte_array_append(message, (const uint8_t *) &length, 4);
                g_byte_array_append(message, (const uint8_t *) fields[i].text, length + 1);
        }
        length = message->len - 16;
        memcpy(message->data + 12, &length, 4);
        while (message->len % 8 != 0)
                g_byte_array_append(message, (const uint8_t *) "", 1);
        return message;
}

static int64_t do_hang_up(UserCall *call) {
        (void) call;
        while (n_sockets > 0)
                close(sockets[--n_sockets]);
        return 0;
}

/* ---- Silent ones ------------------------------------------------------------------------------------------------- */

static int64_t do_say_half(UserCall *call) {
        static const char *const halves[] = { "", "AUTH", "AUTH EXTERNAL\r\n", "AUTH EXTERNAL\r\nDATA\r\nBEGIN" };

        (void) call;
        for (unsigned i = 0; i < 40; i++) {
                sockets[i] = dial();
                if (i % 5 < 4)
                        g_assert_true(say(sockets[i], "", 1) && say(sockets[i], halves[i % 5], strlen(halves[i % 5])));
        }
        return 0;
}

static int64_t do_be_hung_up_on(UserCall *call) {
        (void) call;
        for (unsigned i = 0; i < 40; i++) {
                g_assert_true(is_hung_up_on(sockets[i]));
                close(sockets[i]);
        }
        return 0;
}

static void test_half_open(Scene *scene, const void *unused) {
        (void) unused;
        user_call(scene->bob, do_say_half, NULL, 0, NULL, 0);
        assert_others_go_on(scene->alice);
        user_call(scene->bob, do_be_hung_up_on, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

/* ---- Nonsense ---------------------------------------------------------------------------------------------------- */

static int64_t do_talk_nonsense(UserCall *call) {
        static const struct {
                const char *text;
                size_t size;
        } words[] = {
                { "GET / HTTP/1.1\r\n\r\n", 18 },
                { "\0BEGIN\r\n", 8 },
                { "\0AUTH EXTERNAL 39393939\r\nBEGIN\r\n", 33 }, /* somebody else's uid */
                { "\0AUTH ANONYMOUS\r\nBEGIN\r\n", 24 },
                { "\0AUTH EXTERNAL\r\nDATA \0\r\n", 25 },
        };
        g_autofree char *long_line = g_strnfill(5000, 'x');
        static const uint8_t headers[][16] = {
                { 'x', 1, 0, 1 },
                { 'l', 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0 }, /* 4 GiB */
                { 'l', 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff },
                { 'B', 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0 }, /* 64 KiB */
                { 'l', 1, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0 }, /* no fields */
                { 'l', 9, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 },
        };
        int fd;

        (void) call;
        for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
                fd = dial();
                g_assert_true(say(fd, words[i].text, words[i].size));
                g_assert_true(is_hung_up_on(fd));
                close(fd);
        }
        fd = dial();
        (void) say(fd, "", 1);
        (void) say(fd, long_line, 5000);
        g_assert_true(is_hung_up_on(fd));
        close(fd);
        for (size_t i = 0; i < G_N_ELEMENTS(headers); i++) {
                fd = shake_hands();
                g_assert_true(say(fd, headers[i], 16));
                /* what is short and means nothing is passed over */
                g_assert_true(i >= 4 || is_hung_up_on(fd));
                close(fd);
        }
        return 0;
}

static void test_nonsense(Scene *scene, const void *unused) {
        (void) unused;
        user_call(scene->bob, do_talk_nonsense, NULL, 0, NULL, 0);
        assert_others_go_on(scene->alice);
        footprint_assert_back(scene->broker, &scene->before);
}

/* A call that comes byte by byte is a call, and one in the same packet as the end of the handshake. */
static int64_t do_talk_slowly(UserCall *call) {
        static const char lines[] = "\0" HANDSHAKE;
        g_autoptr(GByteArray) message = raw_call(1);
        char buffer[1024];
        int fd = dial();

        (void) call;
        for (size_t i = 0; i < sizeof(lines) - 1; i++)
                g_assert_true(say(fd, lines + i, 1));
        for (unsigned i = 0; i < message->len; i++)
                g_assert_true(say(fd, message->data + i, 1));
        while (recv(fd, buffer, 1, 0) == 1 && buffer[0] != 'l')
                ; /* the lines of the handshake have none */
        g_assert_cmpint(recv(fd, buffer, 3, MSG_WAITALL), ==, 3);
        g_assert_cmpint(buffer[0], ==, 2); /* a reply */
        close(fd);
        return 0;
}

static void test_slow(Scene *scene, const void *unused) {
        (void) unused;
        user_call(scene->bob, do_talk_slowly, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

/* ---- Descriptors ------------------------------------------------------------------------------------------------- */

static int64_t do_send_fds(UserCall *call) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int) * 100)];
        } control = {};
        g_autoptr(GByteArray) message = raw_call(1);
        struct iovec iov = { .iov_base = message->data, .iov_len = message->len };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
        int pair[2], fd = shake_hands();
        char byte;

        (void) call;
        g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int) * 100);
        for (unsigned i = 0; i < 100; i++)
                memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &pair[1], sizeof(int));
        g_assert_cmpint(sendmsg(fd, &m, MSG_NOSIGNAL), >, 0);
        close(pair[1]);

        /* nobody has the other end of the pipe any more */
        g_assert_true(is_hung_up_on(fd));
        g_assert_cmpint(read(pair[0], &byte, 1), ==, 0);
        close(pair[0]);
        close(fd);
        return 0;
}

static void test_fds(Scene *scene, const void *unused) {
        (void) unused;
        user_call(scene->bob, do_send_fds, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

/* Closing such a descriptor for the last time takes as long as this. */
#define LINGER_SEC 60

/* A connection with more on its way than the other end takes, which is to be waited for when it is closed. */
static int slow_descriptor(void) {
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        const struct linger linger = { .l_onoff = 1, .l_linger = LINGER_SEC };
        int listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t size = sizeof(address);
        char buffer[4096] = "";

        g_assert_cmpint(bind(listening, (struct sockaddr *) &address, size), ==, 0);
        g_assert_cmpint(listen(listening, 1), ==, 0);
        g_assert_cmpint(getsockname(listening, (struct sockaddr *) &address, &size), ==, 0);
        g_assert_cmpint(connect(fd, (struct sockaddr *) &address, size), ==, 0);
        g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), ==, 0);
        while (send(fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
                ;
        sockets[n_sockets++] = accept(listening, NULL, NULL);
        close(listening);
        return fd;
}

/* Gives the descriptor away with these bytes. */
static void give_away(int fd, const void *data, size_t size, int flags, int given) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
        struct iovec iov = { .iov_base = (void *) (uintptr_t) data, .iov_len = size };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

        memcpy(CMSG_DATA(&control.header), &given, sizeof(int));
        g_assert_cmpint(sendmsg(fd, &m, MSG_NOSIGNAL | flags), ==, size);
        close(given);
}

static int64_t do_shake_hands(UserCall *call) {
        int fd = shake_hands();

        (void) call;
        if (fd < 0)
                return -ECONNRESET;
        sockets[n_sockets++] = fd;
        return 0;
}

/* In the handshake, behind it, and beside a message, where one who looks only at what is to be read next does not see it. */
static int64_t do_give_away_slow(UserCall *call) {
        g_autoptr(GByteArray) message = raw_call(1);
        int way = *(const int *) call->data, fd = way == 0 ? dial() : sockets[n_sockets - 1];

        if (way == 0)
                give_away(fd, "", 1, 0, slow_descriptor());
        else if (way == 1)
                give_away(fd, message->data, message->len, 0, slow_descriptor());
        else {
                give_away(fd, "", 1, MSG_OOB, slow_descriptor());
                g_assert_true(say(fd, message->data, message->len));
        }
        if (way == 0)
                sockets[n_sockets++] = fd;
        return 0;
}

/* The broker is to have the last copies, and so is stopped until bob has closed his. */
static void give_away_slow(Scene *scene, int way, unsigned n) {
        if (way > 0)
                user_call(scene->bob, do_shake_hands, NULL, 0, NULL, 0);
        g_assert_cmpint(kill(scene->broker->pid, SIGSTOP), ==, 0);
        for (unsigned i = 0; i < n; i++)
                user_call(scene->bob, do_give_away_slow, &way, sizeof(way), NULL, 0);
        g_assert_cmpint(kill(scene->broker->pid, SIGCONT), ==, 0);
}

static void test_slow_fds(Scene *scene, const void *unused) {
        (void) unused;
        for (int way = 0; way < 3; way++) {
                give_away_slow(scene, way, 1);
                assert_others_go_on(scene->alice);
        }
        user_call(scene->bob, do_hang_up, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

/* They count as his connections, and whom he has too many of to be let in can be as slow. */
static void test_many_slow_fds(Scene *scene, const void *unused) {
        (void) unused;
        give_away_slow(scene, 0, CONNECTIONS_MAX + 20);
        assert_others_go_on(scene->alice);
        g_assert_cmpint(user_call(scene->bob, do_shake_hands, NULL, 0, NULL, 0), <, 0);
        broker_restart(scene->broker);
        g_assert_cmpint(user_call(scene->bob, do_shake_hands, NULL, 0, NULL, 0), ==, 0);
        give_away_slow(scene, 0, CONNECTIONS_MAX + 20);
        assert_others_go_on(scene->alice);
        user_call(scene->bob, do_hang_up, NULL, 0, NULL, 0);
        g_assert_true(wait_until(20, user_call(scene->bob, do_shake_hands, NULL, 0, NULL, 0) == 0));
        user_call(scene->bob, do_hang_up, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

/* ---- Deaf ones --------------------------------------------------------------------------------------------------- */

/* Sends calls until nothing more is taken for half a second, and returns how many bytes that were. */
static int64_t do_never_read(UserCall *call) {
        int64_t sent = 0;
        int fd = shake_hands();

        (void) call;
        g_assert_cmpint(fcntl(fd, F_SETFL, O_NONBLOCK), ==, 0);
        for (uint32_t serial = 1;; serial++) {
                g_autoptr(GByteArray) message = raw_call(serial);
                struct pollfd polled = { .fd = fd, .events = POLLOUT };
                ssize_t n;

                if (poll(&polled, 1, 500) == 0)
                        break;
                n = send(fd, message->data, message->len, MSG_NOSIGNAL);
                if (n != (ssize_t) message->len)
                        break;
                sent += n;
                g_assert_cmpint(sent, <, 16 << 20);
        }
        sockets[n_sockets++] = fd;
        return sent;
}

static void test_never_reads(Scene *scene, const void *unused) {
        uint64_t before = broker_get_rss(scene->broker);

        (void) unused;
        for (unsigned i = 0; i < 8; i++)
                g_assert_cmpint(user_call(scene->bob, do_never_read, NULL, 0, NULL, 0), <, 2 << 20);
        g_assert_cmpuint(broker_get_rss(scene->broker), <, before + 32 * MIB);
        assert_others_go_on(scene->alice);
        user_call(scene->bob, do_hang_up, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

/* The same with replies that have descriptors in them, which are the broker's as long as they are on their way. */
static sd_bus *asking;

static int64_t do_ask_only(UserCall *call) {
        unsigned n = 0;

        (void) call;
        asking = bus_of(dial());
        for (; n < 1000; n++) {
                sd_bus_message *message = NULL;
                uint64_t cookie; /* who does not want to know it does not get an answer */

                g_assert_cmpint(sd_bus_message_new_method_call(asking, &message, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                                               DAXBROKER_MANAGER_INTERFACE, "Allocate"), >=, 0);
                g_assert_cmpint(sd_bus_message_append(message, "tta{sv}", UINT64_C(4096), UINT64_C(1), 0), >=, 0);
                g_assert_cmpint(sd_bus_send(asking, message, &cookie), >=, 0);
                sd_bus_message_unref(message);
        }
        while (sd_bus_is_ready(asking) <= 0)
                if (sd_bus_process(asking, NULL) == 0)
                        (void) sd_bus_wait(asking, 1000000);
        (void) sd_bus_process(asking, NULL);
        return 0;
}

static int64_t do_stop_asking(UserCall *call) {
        (void) call;
        asking = sd_bus_close_unref(asking);
        return 0;
}

static uint64_t count_taken(const Scene *scene) {
        return (scene->before.available - region_get("dram", "Available")) / 4096;
}

static void test_unread_fds(Scene *scene, const void *unused) {
        (void) unused;
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
        user_call(scene->bob, do_ask_only, NULL, 0, NULL, 0);
        /* 64 replies, with two descriptors each */
        for (unsigned i = 0; i < 3000 && count_taken(scene) < 60; i++)
                g_usleep(20000);
        for (unsigned i = 0; i < 50; i++) {
                g_assert_cmpuint(count_taken(scene), >=, 60);
                g_assert_cmpuint(count_taken(scene), <=, 64);
                g_usleep(20000);
        }
        user_call(scene->bob, do_stop_asking, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

/* Signals come unasked, and are not kept for ever. */
static int64_t do_listen_only(UserCall *call) {
        sd_bus *bus = bus_of(dial());

        (void) call;
        g_assert_cmpint(sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                           "AddMatch", NULL, NULL, "s", "type='signal'"), >=, 0);
        sockets[n_sockets++] = fcntl(sd_bus_get_fd(bus), F_DUPFD_CLOEXEC, 3);
        return 0;
}

static int64_t do_look_at_end(UserCall *call) {
        (void) call;
        return is_closed(sockets[0]);
}

/* How many there are until bob has lost one of so many connections. */
static unsigned count_signals(Scene *scene, const Reply *reply, unsigned n_listening) {
        unsigned n = 0;
        bool closed = false;

        for (unsigned i = 0; i < n_listening; i++)
                user_call(scene->bob, do_listen_only, NULL, 0, NULL, 0);
        while (n < 4000 && !closed) {
                reply_assert(user_set_mode(scene->alice, reply->object, n % 2 == 0 ? 0644 : 0604), "");
                if (++n % 100 == 0)
                        closed = user_call(scene->bob, do_look_at_end, NULL, 0, NULL, 0);
        }
        g_assert_true(closed);
        user_call(scene->bob, do_hang_up, NULL, 0, NULL, 0);
        return n;
}

static void test_unread_signals(Scene *scene, const void *unused) {
        Reply reply = user_get(scene->alice, UNIT, "name=loud mode=0604");
        unsigned n, each;

        (void) unused;
        n = count_signals(scene, &reply, 1);
        each = count_signals(scene, &reply, 32);
        g_test_message("%u signals to one connection that does not read, %u to each of 32", n, each);
        g_assert_cmpuint(n, >, 1024);
        g_assert_cmpuint(each + 500, <, n); /* beside what fits into their sockets */
}

/* ---- Many -------------------------------------------------------------------------------------------------------- */

static int64_t do_dial_often(UserCall *call) {
        unsigned n = *(const unsigned *) call->data;

        for (unsigned i = 0; i < n; i++) {
                int fd = shake_hands();

                if (fd >= 0)
                        sockets[n_sockets++] = fd;
        }
        return n_sockets;
}

static int64_t do_count_open(UserCall *call) {
        unsigned n = 0;

        (void) call;
        for (unsigned i = 0; i < n_sockets; i++)
                n += !is_closed(sockets[i]);
        return n;
}

static void test_many(Scene *scene, const void *unused) {
        unsigned n = 1000, one = 1;

        (void) unused;
        user_call(scene->carol, do_dial_often, &n, sizeof(n), NULL, 0);
        g_assert_cmpint(user_call(scene->carol, do_count_open, NULL, 0, NULL, 0), <=, CONNECTIONS_MAX);
        g_assert_cmpint(user_call(scene->carol, do_count_open, NULL, 0, NULL, 0), >=, CONNECTIONS_MAX - 1);
        assert_others_go_on(scene->alice);

        /* who has not used one for a while gives it for another */
        g_usleep(1200000);
        n = (unsigned) user_call(scene->carol, do_dial_often, &one, sizeof(one), NULL, 0);
        g_assert_cmpint(user_call(scene->carol, do_dial_often, &one, sizeof(one), NULL, 0), ==, n + 1);
        g_assert_cmpint(user_call(scene->carol, do_count_open, NULL, 0, NULL, 0), <=, CONNECTIONS_MAX);
        user_call(scene->carol, do_hang_up, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

static int64_t do_dial_only(UserCall *call) {
        unsigned n = *(const unsigned *) call->data;

        for (unsigned i = 0; i < n; i++)
                sockets[n_sockets++] = dial();
        return 0;
}

static unsigned count_open(User *user) {
        return (unsigned) user_call(user, do_count_open, NULL, 0, NULL, 0);
}

/* Who does not say who he is makes room at once: of his user's there are no more than a quarter of all that he may have,
 * and where there are too many in all it is one of these that goes. Nobody else has to, though he has been silent as well. */
static void test_crowd(Scene *scene, const void *unused) {
        unsigned silent = 30, several = 20, some = 15;

        (void) unused;
        g_assert_cmpint(user_call(scene->bob, do_dial_often, &several, sizeof(several), NULL, 0), ==, several);
        user_call(scene->bob, do_dial_only, &silent, sizeof(silent), NULL, 0);
        g_assert_true(wait_until(4, count_open(scene->bob) == several + HANDSHAKES_MAX));
        assert_others_go_on(scene->alice);
        g_assert_cmpint(user_call(scene->carol, do_dial_often, &some, sizeof(some), NULL, 0), ==, some);
        g_assert_cmpint(count_open(scene->carol), ==, some);
        g_assert_cmpint(count_open(scene->bob), <=, 40 - some);
        g_assert_cmpint(count_open(scene->bob), >=, several);
        assert_others_go_on(scene->alice);
        user_call(scene->bob, do_hang_up, NULL, 0, NULL, 0);
        user_call(scene->carol, do_hang_up, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

static uint64_t cpu_time(const Broker *broker) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", broker->pid), *text = NULL;
        unsigned long user, kernel;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        g_assert_cmpint(sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                               &kernel),
                        ==, 2);
        return (user + kernel) * 1000000 / (uint64_t) sysconf(_SC_CLK_TCK);
}

/* No descriptor is left to take a connection with: those who come wait, and the broker does not spin. */
static void test_no_fds(Scene *scene, const void *unused) {
        unsigned n = broker_count_fds(scene->broker), more = 50;
        size_t mark = broker_mark_log(scene->broker);
        uint64_t before;

        (void) unused;
        scene_limit_broker(scene, RLIMIT_NOFILE, n + 20);
        user_call(scene->carol, do_dial_only, &more, sizeof(more), NULL, 0);
        g_assert_true(broker_wait_log(scene->broker, mark, "cannot accept a connection"));

        before = cpu_time(scene->broker);
        g_usleep(1000000);
        g_assert_cmpuint(cpu_time(scene->broker) - before, <, 500000);
        user_call(scene->carol, do_hang_up, NULL, 0, NULL, 0);
        scene_limit_broker(scene, RLIMIT_NOFILE, UINT64_MAX);
        assert_others_go_on(scene->alice);
        footprint_assert_back(scene->broker, &scene->before);
}

/* ---- Those who go ------------------------------------------------------------------------------------------------ */

static void test_gone_in_question(Scene *scene, const void *unused) {
        User *guest = user_new("alice");
        Reply reply;

        (void) unused;
        reply_assert(user_get_allocation(guest, "nothing"), "NoSuchAllocation");
        polkit_freeze();
        user_begin_allocate(guest, UNIT, 1, NULL);
        g_assert_true(broker_wait_log(scene->broker, 0, "asking polkit about org.daxbroker1.allocate"));
        user_kill(guest);
        user_begin_allocate(scene->alice, UNIT, 1, NULL);
        g_usleep(100000);
        polkit_thaw();
        reply = user_end_reply(scene->alice);
        reply_assert(reply, "");
        g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - UNIT);
        user_drop_all(scene->alice);
        user_free(guest);
        footprint_assert_back(scene->broker, &scene->before);
}

/* Has a child connect and end, and uses what it has left. */
static int64_t do_inherit(UserCall *call) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status;
        struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = DAXBROKER_DIRECT_SOCKET };
        sd_bus *bus;
        pid_t pid = fork();

        (void) call;
        if (pid == 0)
                _exit(connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);

        bus = bus_of(fd);
        g_assert_cmpint(sd_bus_call_method(bus, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE,
                                           "ListRegions", &error, NULL, NULL), >=, 0);
        g_assert_cmpint(sd_bus_call_method(bus, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE,
                                           "Allocate", &error, NULL, "tta{sv}", UINT64_C(4096), UINT64_C(1), 0), <, 0);
        g_assert_cmpstr(error.name, ==, "org.daxbroker1.Error.NotAuthorized");
        assert_says(error.message, "has ended");
        sd_bus_error_free(&error);
        sd_bus_close_unref(bus);
        return 0;
}

static void test_process_gone(Scene *scene, const void *unused) {
        (void) unused;
        user_call(scene->alice, do_inherit, NULL, 0, NULL, 0);
        footprint_assert_back(scene->broker, &scene->before);
}

#define add(path, function) scene_add("/direct/" path, CONFIGURATION, function)

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        add("half-open", test_half_open);
        add("nonsense", test_nonsense);
        add("slow", test_slow);
        add("fds", test_fds);
        add("slow-fds", test_slow_fds);
        add("many-slow-fds", test_many_slow_fds);
        add("never-reads", test_never_reads);
        add("unread-fds", test_unread_fds);
        add("unread-signals", test_unread_signals);
        add("many", test_many);
        scene_add("/direct/crowd", "[Broker]\nMaxConnectionsPerUser=32\nMaxConnections=40\n[Region dram]\nSize=256M\n",
                  test_crowd);
        add("no-fds", test_no_fds);
        add("gone-in-question", test_gone_in_question);
        add("process-gone", test_process_gone);
        return g_test_run();
}
