/* SPDX-License-Identifier: MIT */

/* A client that is connected to us directly can do what a bus would otherwise keep from us: be silent, stop in the middle
 * of a message, send descriptors or messages without end, and never read. So sd-bus gets to read only what was looked at
 * before (MSG_PEEK): whole messages of a reasonable size, without descriptors. The handshake before them is our own business
 * (handshake.c). Nothing is ever kept for a client but a message that is complete.
 *
 * Nothing waits for a client either. What it does not read stays in the socket, and when that is full, in a queue here; then
 * it is not listened to until it has read that. Signals come without having been asked for, so who lets too many pile up
 * loses the connection. Descriptors count by themselves, because the kernel counts all that are on their way as ours.
 *
 * Users who have something to say take turns, one message each, and so do the connections of each of them. The socket is
 * watched edge-triggered: with one that is not listened to just now there is nothing to be done in the event loop. */

#include "peer-bus.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"
#include "clock.h"
#include "log.h"
#include "names.h"
#include "server-bus.h"

/* A handshake takes no time unless somebody is in no hurry. */
#define HANDSHAKE_USEC (5 * UINT64_C(1000000))

/* So much of the connections that a user may have can be in the middle of one. */
#define HANDSHAKES_PART 4

/* No call of ours is nearly that long. */
#define MESSAGE_MAX (16 * 1024)
#define HEADER_SIZE 16

/* The kernel lets a user have as many descriptors on their way as he may open files, and what goes to all clients together
 * counts as the broker's: 4096 connections and 128 each are just the 524288 of the unit. */
#define FDS_UNREAD_MAX 128
/* Each takes a kilobyte and more. */
#define SIGNALS_MAX 1024
#define SIGNALS_MAX_PER_USER 4096

/* What a connection takes, some 20 KiB in small pieces, leaves the heap full of holes. When most of so many have gone, whole
 * pages of that go back to the kernel; a little later, when the rest of them have gone, too. */
#define TRIM_PEERS_MIN 64
#define TRIM_USEC (1 * UINT64_C(1000000))

/* Messages, of all connections, between two looks at what else there is to do; fewer if they take that long. */
#define STEPS 16
#define STEPS_USEC UINT64_C(1000)

static void peer_schedule(Peer *peer) {
        Peers *peers = &peer->server->peers;
        User *user = peer->caller->user;

        if (peer->scheduled)
                return;
        if (!user->scheduled)
                DL_APPEND2(peers->scheduled, user, run_prev, run_next);
        peer->scheduled = true;
        DL_APPEND2(user->scheduled, peer, run_prev, run_next);
        turn_set(&peers->run, true);
}

static void peer_unschedule(Peer *peer) {
        Peers *peers = &peer->server->peers;
        User *user = peer->caller->user;

        peer->scheduled = false;
        DL_DELETE2(user->scheduled, peer, run_prev, run_next);
        DL_DELETE2(peers->scheduled, user, run_prev, run_next);
        if (user->scheduled)
                DL_APPEND2(peers->scheduled, user, run_prev, run_next);
}

/* It may be in use just now. */
static void peer_doom(Peer *peer, const char *why) {
        if (!peer->doomed)
                log_debug("closing the direct connection %s: %s", peer->caller->name, why);
        peer->doomed = true;
        peer_schedule(peer);
}

void peer_add_match(Peer *peer) {
        if (peer->n_matches++ > 0)
                return;
        DL_APPEND2(peer->server->peers.listening, peer, listen_prev, listen_next);
        peer->caller->user->n_listening++;
}

void peer_remove_match(Peer *peer) {
        if (--peer->n_matches > 0)
                return;
        DL_DELETE2(peer->server->peers.listening, peer, listen_prev, listen_next);
        peer->caller->user->n_listening--;
}

static int on_trim(sd_event_source *source, uint64_t usec, void *userdata) {
        Peers *peers = userdata;

        (void) source;
        (void) usec;
        peers->peak = peers->n;
        (void) malloc_trim(0);
        return 0;
}

static void peers_count(Peers *peers, int change) {
        int enabled = SD_EVENT_OFF;

        peers->n += (unsigned) change;
        if (peers->n > peers->peak)
                peers->peak = peers->n;
        if (peers->peak < TRIM_PEERS_MIN || peers->n > peers->peak / 4)
                return;

        (void) sd_event_source_get_enabled(peers->trim, &enabled);
        if (enabled == SD_EVENT_OFF) {
                (void) sd_event_source_set_time_relative(peers->trim, TRIM_USEC);
                (void) sd_event_source_set_enabled(peers->trim, SD_EVENT_ONESHOT);
        }
}

static Peer *peer_free(Peer *peer) {
        User *user = user_ref(peer->caller->user);
        Server *server = peer->server;
        Peers *peers = &server->peers;

        if (peer->scheduled)
                peer_unschedule(peer);
        while (peer->n_matches > 0)
                peer_remove_match(peer);
        DL_DELETE(peers->all, peer);
        peers_count(peers, -1);
        user->n_peers--;
        user->n_handshakes -= peer->deadline ? 1 : 0;
        user->n_behind -= peer->behind;
        caller_gone(peer->caller);
        sd_event_source_disable_unref(peer->source);
        sd_event_source_disable_unref(peer->deadline);
        if (peer->bus) {
                HASH_DEL(peers->by_bus, peer);
                sd_bus_close_unref(peer->bus);
        }
        hang_up_consume_fd(peers->hang_ups, peer->fd, user->table, user->uid);
        free(peer);
        lists_go_on(server, user);
        user_unref(user);
        return NULL;
}

Peer *peer_find(Server *server, sd_bus *bus) {
        Peer *peer;

        HASH_FIND_PTR(server->peers.by_bus, &bus, peer);
        return peer;
}

/* ---- Looking at what there is to read ---- */

/* How much there is, up to size; 0 if there is nothing now. Negative if there will be nothing any more, or nothing that we
 * would want. */
static ssize_t peer_look(Peer *peer, void *buffer, size_t size) {
        struct iovec iov = { .iov_base = buffer, .iov_len = size };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
        ssize_t n;

        n = recvmsg(peer->fd, &m, MSG_PEEK | MSG_DONTWAIT);
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        if (n == 0)
                return -ECONNRESET;
        /* there is no room for descriptors, so the kernel has not given us any, but says so */
        if (m.msg_flags & MSG_CTRUNC)
                return -EBADMSG;

        peer->more = (size_t) n == size;
        return n;
}

static uint64_t get_uint32(const uint8_t *p, bool big_endian) {
        uint32_t value;

        memcpy(&value, p, sizeof(value));
        return big_endian ? be32toh(value) : le32toh(value);
}

/* How long the message is that begins here; 0 if it is none of ours. */
static uint64_t message_length(const uint8_t *header) {
        bool big_endian = header[0] == 'B';
        uint64_t body, fields;

        if (!big_endian && header[0] != 'l')
                return 0;

        body = get_uint32(header + 4, big_endian);
        fields = get_uint32(header + 12, big_endian);
        return HEADER_SIZE + ((fields + 7) & ~UINT64_C(7)) + body;
}

/* Counts the whole messages that can be read. */
static int peer_count_whole(Peer *peer) {
        uint8_t buffer[MESSAGE_MAX];
        ssize_t n, done = 0;

        n = peer_look(peer, buffer, sizeof(buffer));
        if (n < 0)
                return (int) n;

        while (n - done >= HEADER_SIZE) {
                uint64_t length = message_length(buffer + done);

                if (length == 0 || length > sizeof(buffer))
                        return -EBADMSG;
                if (length > (uint64_t) (n - done))
                        break;
                done += (ssize_t) length;
                peer->n_whole++;
        }

        return 0;
}

/* ---- The handshake ---- */

static int peer_add_objects(Peer *peer) {
        Server *server = peer->server;
        int r;

        r = server_add_driver(server, peer->bus);
        return r < 0 ? r : server_add_objects(server, peer->bus);
}

/* sd-bus insists on a handshake of its own, and would read beyond the end of the client's. So it gets one with us. */
static int peer_satisfy_bus(Peer *peer, int ours) {
        const char *lines = peer->handshake.fds ? "AUTH EXTERNAL\r\nDATA\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"
                                                : "AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";
        int r;

        if (send(ours, "", 1, MSG_NOSIGNAL) != 1 ||
            send(ours, lines, strlen(lines), MSG_NOSIGNAL) != (ssize_t) strlen(lines))
                return -EPROTO;

        r = sd_bus_start(peer->bus);
        while (r >= 0 && sd_bus_is_ready(peer->bus) <= 0) {
                r = sd_bus_process(peer->bus, NULL);
                if (r == 0)
                        r = -EPROTO;
        }
        return r < 0 ? r : 0;
}

/* Makes it. The client's socket takes the place of the one that sd-bus has seen so far. */
static int peer_start_bus(Peer *peer) {
        _cleanup_close_ int ours = -EBADF;
        int pair[2], r;

        r = sd_bus_new(&peer->bus);
        if (r < 0)
                return r;
        HASH_ADD_PTR(peer->server->peers.by_bus, bus, peer);

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
                return -errno;
        ours = pair[1];
        r = sd_bus_set_fd(peer->bus, pair[0], pair[0]);
        if (r < 0) {
                safe_close(pair[0]);
                return r;
        }

        r = sd_bus_set_server(peer->bus, true, SD_ID128_NULL);
        if (r >= 0)
                r = sd_bus_negotiate_fds(peer->bus, true);
        if (r >= 0)
                r = sd_bus_set_sender(peer->bus, DAXBROKER_DIRECT_NAME);
        if (r >= 0)
                r = peer_add_objects(peer);
        if (r >= 0)
                r = peer_satisfy_bus(peer, ours);
        if (r >= 0 && dup3(peer->fd, pair[0], O_CLOEXEC) < 0)
                r = -errno;
        return r < 0 ? r : 0;
}

static int peer_shake_hands(Peer *peer) {
        char text[HANDSHAKE_MAX], reply[HANDSHAKE_REPLY_MAX];
        size_t length;
        ssize_t n;

        n = peer_look(peer, text, sizeof(text));
        if (n <= 0)
                return (int) n;
        n = handshake_read(&peer->handshake, text, (size_t) n, reply);
        if (n < 0)
                return (int) n;
        if (n == 0)
                return peer->more ? -EPROTO : 0; /* the line is still to be completed, unless it is too long */

        if (recv(peer->fd, text, (size_t) n, MSG_DONTWAIT) != n)
                return -EPROTO;
        /* that little fits always, unless somebody does not read at all */
        length = strlen(reply);
        if (length > 0 && send(peer->fd, reply, length, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t) length)
                return -EPROTO;
        if (!peer->handshake.done)
                return 1;

        log_debug("direct connection %s: user %u, process %d", peer->caller->name, (unsigned) peer->caller->user->uid,
                  (int) peer->caller->pid);
        peer->deadline = sd_event_source_disable_unref(peer->deadline);
        peer->caller->user->n_handshakes--;
        peer->more = true;
        n = peer_start_bus(peer);
        return n < 0 ? (int) n : 1;
}

/* ---- Messages ---- */

static bool peer_has_queue(const Peer *peer) {
        uint64_t n = 0;

        (void) sd_bus_get_n_queued_write(peer->bus, &n);
        return n > 0;
}

void peer_has_been_answered(Peer *peer) {
        User *user = peer->caller->user;
        bool was_behind = peer->behind;

        peer->behind = peer_has_queue(peer);
        if (peer->behind == was_behind)
                return;
        if (peer->behind)
                user->n_behind++;
        else {
                user->n_behind--;
                lists_go_on(peer->server, user);
        }
}

/* On their way to it, or soon to be. */
static bool peer_has_many_fds(const Peer *peer) {
        return peer->n_fds + peer->n_promised >= FDS_UNREAD_MAX;
}

/* Whether it has to read before it is listened to again. */
static bool peer_is_behind(Peer *peer) {
        int unread;

        if (peer_has_queue(peer))
                return true;
        if (!peer_has_many_fds(peer))
                return false;
        if (peer->n_fds > 0 && ioctl(peer->fd, SIOCOUTQ, &unread) >= 0 && unread > 0)
                return true;
        peer->n_fds = 0;
        return peer_has_many_fds(peer);
}

/* sd-bus writes first what is queued, and reads if that did not work. A message to itself, which nobody hears, keeps it
 * from that; and must be gone afterwards, or it would be dispatched in place of what is to be next. */
static int peer_write(Peer *peer) {
        sd_bus_message *m = NULL;
        uint64_t n = 0;
        int r;

        peer->writable = false;
        r = sd_bus_message_new_signal(peer->bus, &m, "/", "org.daxbroker1.Direct", "Write");
        if (r >= 0)
                r = sd_bus_message_seal(m, UINT32_MAX, 0);
        if (r >= 0)
                r = sd_bus_enqueue_for_read(peer->bus, m);
        sd_bus_message_unref(m);
        while (r >= 0 && sd_bus_get_n_queued_read(peer->bus, &n) >= 0 && n > 0)
                r = sd_bus_process(peer->bus, NULL);
        return r;
}

/* Does one thing, if there is any; returns whether there was. */
static int peer_step(Peer *peer) {
        Call *call = peer->again;
        int r;

        if (peer->deadline)
                return peer_shake_hands(peer);

        if (peer_is_behind(peer)) {
                if (!peer->writable || !peer_has_queue(peer))
                        return 0;
                r = peer_write(peer);
                if (r < 0)
                        return r;
                peer_has_been_answered(peer); /* in full, perhaps */
                return 1;
        }

        if (call) {
                DL_DELETE2(peer->again, call, again_prev, again_next);
                call->again = false;
                r = sd_bus_enqueue_for_read(peer->bus, call->message);
                if (r < 0)
                        return r;
        } else {
                r = peer->n_whole == 0 && peer->more ? peer_count_whole(peer) : 0;
                if (r < 0 || peer->n_whole == 0)
                        return r;
                peer->n_whole--;
        }

        peer->active = now_usec();
        r = sd_bus_process(peer->bus, NULL);
        if (r < 0)
                return r;
        peer_has_been_answered(peer);
        return 1;
}

static void peer_run(Peer *peer) {
        int r;

        if (peer->doomed) {
                peer_free(peer);
                return;
        }

        r = peer_step(peer);
        if (r < 0 || (peer->bus && sd_bus_is_open(peer->bus) <= 0)) {
                log_debug("the direct connection %s has ended: %s", peer->caller->name, strerror(r < 0 ? -r : ECONNRESET));
                peer_free(peer);
        } else if (r > 0 || peer->doomed)
                peer_schedule(peer);
}

static void on_run(void *userdata) {
        uint64_t end = now_usec() + STEPS_USEC;
        Peers *peers = userdata;

        for (unsigned i = 0; i < STEPS && peers->scheduled; i++) {
                Peer *peer = peers->scheduled->scheduled;

                peer_unschedule(peer);
                peer_run(peer);
                if (now_usec() >= end)
                        break;
        }

        turn_set(&peers->run, peers->scheduled);
}

static int on_event(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Peer *peer = userdata;

        (void) source;
        (void) fd;
        peer->more = peer->more || (events & ~(uint32_t) EPOLLOUT);
        peer->writable = peer->writable || (events & ~(uint32_t) EPOLLIN);
        /* that there is room to write to a client matters only to one who was waited for */
        if (events != EPOLLOUT || (peer->bus && (peer_has_many_fds(peer) || peer_has_queue(peer))))
                peer_schedule(peer);
        return 0;
}

void peer_run_again(Peer *peer, Call *call) {
        if (!call->again) {
                call->again = true;
                DL_APPEND2(peer->again, call, again_prev, again_next);
        }
        peer_schedule(peer);
}

void peer_promise_fds(Peer *peer, unsigned n) {
        peer->n_promised += n;
}

void peer_has_been_sent_fds(Peer *peer, unsigned n) {
        peer->n_fds += n;
}

void peer_end_promise(Peer *peer, unsigned n) {
        if (peer_has_many_fds(peer))
                peer_schedule(peer);
        peer->n_promised -= n;
}

void peer_has_been_told(Peer *peer) {
        uint64_t n = 0;

        (void) sd_bus_get_n_queued_write(peer->bus, &n);
        if (n > SIGNALS_MAX || n * peer->caller->user->n_listening > SIGNALS_MAX_PER_USER)
                peer_doom(peer, "it does not read");
}

/* ---- Coming and going ---- */

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) source;
        (void) usec;
        peer_doom(userdata, "it does not say who it is");
        return 0;
}

static void hang_up_on(Server *server, int fd, uid_t uid) {
        hang_up_consume_fd(server->peers.hang_ups, fd, &server->manager->users, uid);
}

/* What the credentials own is taken over, too. */
static int peer_new_consume_fd(Server *server, int fd, Credentials *credentials, Peer **ret) {
        Peers *peers = &server->peers;
        char name[32];
        Peer *peer;
        int r;

        peer = calloc(1, sizeof(*peer));
        if (!peer) {
                r = -ENOMEM;
                goto fail;
        }

        peer->server = server;
        peer->fd = fd;
        peer->handshake = (Handshake){ .uid = credentials->uid, .id = peers->id };
        peer->active = now_usec();
        peer->more = true;
        (void) snprintf(name, sizeof(name), "direct-%" PRIu64, ++peers->last_number);
        r = caller_new_direct(server, name, peer, credentials, &peer->caller);
        if (r < 0)
                goto fail;

        peer->caller->user->n_peers++;
        peers_count(peers, 1);
        DL_APPEND(peers->all, peer);
        r = sd_event_add_io(server->manager->event, &peer->source, fd, EPOLLIN | EPOLLOUT | EPOLLET, on_event, peer);
        if (r >= 0)
                r = sd_event_add_time_relative(server->manager->event, &peer->deadline, CLOCK_MONOTONIC, HANDSHAKE_USEC, 0,
                                               on_deadline, peer);
        if (r < 0) {
                peer_free(peer);
                return r;
        }

        peer->caller->user->n_handshakes++;
        *ret = peer;
        return 0;

fail:
        hang_up_on(server, fd, credentials->uid);
        credentials_clear(credentials);
        free(peer);
        return r;
}

static uint64_t handshakes_max(const Config *config) {
        return (config->max_connections_per_user + HANDSHAKES_PART - 1) / HANDSHAKES_PART;
}

/* His oldest one that is still in the handshake; there is one. */
static Peer *peers_find_handshake(const Peers *peers, const User *user) {
        Peer *peer;

        DL_FOREACH(peers->all, peer)
                if (peer->caller->user == user && peer->deadline)
                        break;
        return peer;
}

/* Which of a user's was silent for longest, and for long; NULL if there is none. */
static Peer *peers_find_idle(const Server *server, const User *user) {
        uint64_t patience = server->manager->config->connection_idle, now = now_usec();
        Peer *peer, *oldest = NULL;

        DL_FOREACH(server->peers.all, peer)
                if (peer->caller->user == user && peer->caller->n_calls == 0 &&
                    (peer->deadline || peer->active + patience < now) && (!oldest || peer->active < oldest->active))
                        oldest = peer;
        return oldest;
}

/* Whoever has most of them has to give one. */
static const User *peers_find_greediest(const Peers *peers) {
        const User *user = NULL;
        const Peer *peer;

        DL_FOREACH(peers->all, peer)
                if (!user || peer->caller->user->n_peers > user->n_peers)
                        user = peer->caller->user;
        return user;
}

/* Closes a connection that nobody uses if there are too many. False if there is none. */
static bool peers_make_room(Server *server, const User *user) {
        Peers *peers = &server->peers;
        const Config *config = server->manager->config;
        Peer *idle = NULL;

        if (user && user->n_handshakes >= handshakes_max(config))
                idle = peers_find_handshake(peers, user);
        else if (user && user->n_peers >= config->max_connections_per_user)
                idle = peers_find_idle(server, user);
        else if (peers->n + hang_ups_count(peers->hang_ups) >= config->max_connections)
                idle = peers_find_idle(server, peers_find_greediest(peers));
        else
                return true;

        if (idle) {
                log_debug("the direct connection %s makes room for another", idle->caller->name);
                peer_free(idle);
        }
        return idle;
}

static void on_connection(int fd, void *userdata) {
        Server *server = userdata;
        Credentials credentials;
        const User *user;
        Peer *peer;
        int r;

        hang_up_prepare(fd);
        r = credentials_read(fd, &credentials);
        if (r < 0) {
                log_debug("cannot tell who connects: %s", strerror(-r));
                hang_up_on(server, fd, (uid_t) -1);
                return;
        }

        HASH_FIND(hh, server->manager->users.users, &credentials.uid, sizeof(uid_t), user);
        if (!peers_make_room(server, user)) {
                log_debug("user %u has too many direct connections", (unsigned) credentials.uid);
                credentials_clear(&credentials);
                hang_up_on(server, fd, credentials.uid);
                return;
        }

        r = peer_new_consume_fd(server, fd, &credentials, &peer);
        if (r < 0)
                log_notice("cannot serve a direct connection: %s", strerror(-r));
        else
                peer_schedule(peer); /* most have said something already */
}

static void on_hang_ups(bool full, void *userdata) {
        Peers *peers = userdata;

        if (full)
                log_notice("%u direct connections were hung up on and cannot be closed yet, because of descriptors that their "
                           "users have left in them; nobody can connect directly until one is",
                           hang_ups_count(peers->hang_ups));
        if (peers->listener)
                listener_set_closed(peers->listener, full);
}

void peers_listen_consume_fd(Server *server, int fd) {
        Peers *peers = &server->peers;
        sd_event *event = server->manager->event;
        sd_id128_t id;
        int r;

        r = sd_id128_randomize(&id);
        if (r >= 0) {
                (void) sd_id128_to_string(id, peers->id);
                r = turn_begin(&peers->run, event, on_run, peers);
        }
        if (r >= 0)
                r = sd_event_add_time_relative(event, &peers->trim, CLOCK_MONOTONIC, 0, 0, on_trim, peers);
        if (r >= 0)
                r = sd_event_source_set_enabled(peers->trim, SD_EVENT_OFF);
        if (r >= 0)
                r = hang_ups_new(event, on_hang_ups, peers, &peers->hang_ups);
        if (r >= 0)
                r = listener_new_consume_fd(event, fd, on_connection, server, &peers->listener);
        else
                safe_close(fd);
        if (r < 0)
                log_warning("nobody can connect directly, only over the bus: %s", strerror(-r));
}

void peers_free(Server *server) {
        Peers *peers = &server->peers;

        peers->listener = listener_free(peers->listener);
        while (peers->all)
                peer_free(peers->all);
        peers->hang_ups = hang_ups_free(peers->hang_ups);
        turn_end(&peers->run);
        peers->trim = sd_event_source_disable_unref(peers->trim);
}
