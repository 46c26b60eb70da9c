/* SPDX-License-Identifier: MIT */

/* Puts the broker on the system bus: the connection, the name, and all objects. */

#include "server-bus.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cleanup.h"
#include "log.h"
#include "names.h"

/* dbus-daemon stops reading from a connection that has more than a certain number of descriptors (64) on their way to
 * others, and one client that does not read its replies is enough for that: then nobody hears of us any more. So after
 * descriptors were sent the bus is asked for a sign of life, on the same way. If there is none, a new connection is the
 * cure, and ending is the way to get it: nothing is lost by a restart. */

#define DOUBT_USEC (2 * UINT64_C(1000000))
#define REASSURANCE_USEC (5 * UINT64_C(1000000))

/* Whether the bus reads what we write. It can be slow to, so we keep still for up to a second and see whether everything
 * gets read. That its answers are late says nothing: they may stand behind thousands of calls that we have not read. */
static bool server_is_heard(const Server *server) {
        for (unsigned i = 0; i < 100; i++) {
                int unread;

                if (ioctl(sd_bus_get_fd(server->bus), SIOCOUTQ, &unread) < 0)
                        return false;
                if (unread == 0)
                        return true;
                (void) poll(NULL, 0, 10);
        }

        return false;
}

static int on_reassurance(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Server *server = userdata;
        const Caller *caller, *next, *most = NULL;

        (void) ret_error;
        server->reassurance = sd_bus_slot_unref(server->reassurance);
        if (!sd_bus_message_is_method_error(m, SD_BUS_ERROR_NO_REPLY))
                return 0; /* whatever it says, it has read what we said */
        if (server_is_heard(server)) {
                server_doubt(server);
                return 0;
        }

        HASH_ITER(hh, server->callers, caller, next)
                if (caller->user && (!most || caller->n_sent > most->n_sent))
                        most = caller;
        log_error("the bus has stopped to take our messages; somebody does not read the descriptors he asked for%s%s",
                  most ? ", most of them went to " : "", most ? most->name : "");
        if (most)
                log_error("%s is user %u, unit %s; answers with descriptors that it was sent: %u", most->name,
                          (unsigned) most->user->uid, most->unit ? most->unit : "unknown", most->n_sent);
        return sd_event_exit(server->manager->event, EXIT_FAILURE);
}

static int on_doubt(sd_event_source *source, uint64_t usec, void *userdata) {
        Server *server = userdata;
        sd_bus_message *m = NULL;
        int r;

        (void) source;
        (void) usec;
        if (server->reassurance) {
                /* that was asked before the latest descriptors were sent */
                server_doubt(server);
                return 0;
        }

        r = sd_bus_message_new_method_call(server->bus, &m, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                           "org.freedesktop.DBus", "GetId");
        if (r >= 0)
                r = sd_bus_call_async(server->bus, &server->reassurance, m, on_reassurance, server, REASSURANCE_USEC);
        sd_bus_message_unref(m);
        if (r < 0)
                log_warning("cannot ask the bus for a sign of life: %s", strerror(-r));
        return 0;
}

void server_doubt(Server *server) {
        int enabled = SD_EVENT_OFF;

        (void) sd_event_source_get_enabled(server->doubt, &enabled);
        if (enabled != SD_EVENT_OFF || server->stopping)
                return;

        (void) sd_event_source_set_time_relative(server->doubt, DOUBT_USEC);
        (void) sd_event_source_set_enabled(server->doubt, SD_EVENT_ONESHOT);
}

void server_give_turn(Server *server, User *user) {
        if (!user->has_turn) {
                user_ref(user);
                user->has_turn = true;
                DL_APPEND2(server->turns, user, turn_prev, turn_next);
        }
        turn_set(&server->turn, true);
}

static void server_end_turn(Server *server, User *user) {
        DL_DELETE2(server->turns, user, turn_prev, turn_next);
        user->has_turn = false;
        user_unref(user);
}

/* sd-bus reads nothing from the bus as long as something is to be run again; so that is done, and then there is a new one. */
static void server_read_one(Server *server) {
        uint64_t n = 0;

        (void) sd_bus_get_n_queued_read(server->bus, &n);
        for (; n > 0; n--)
                (void) sd_bus_process(server->bus, NULL);
        (void) sd_bus_process(server->bus, NULL);
}

/* One call of one user goes on. */
static void on_turn(void *userdata) {
        Server *server = userdata;
        Waiter *waiter;
        User *user;

        if (server->turns)
                server_read_one(server);
        user = server->turns;
        if (!user)
                return;

        waiter = user->waiting_for_turn; /* none if he has gone meanwhile */
        if (waiter) {
                waiter_remove(waiter);
                call_again(call_from_waiter(waiter));
        }
        user_ref(user);
        server_end_turn(server, user);
        if (user->waiting_for_turn)
                server_give_turn(server, user);
        user_unref(user);
        turn_set(&server->turn, server->turns);
}

/* ---- The name ---- */

/* A broker without its name is of no use, and somebody else has it. */
static int on_own_name_lost(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *sender = sd_bus_message_get_sender(m);
        Server *server = userdata;

        (void) ret_error;
        if (!sender || strcmp(sender, "org.freedesktop.DBus") != 0)
                return 0;

        log_error("somebody else has taken the name " DAXBROKER_BUS_NAME);
        return sd_event_exit(server->manager->event, EXIT_FAILURE);
}

/* Takes it from whoever has it: our directories are locked, so that is a predecessor who is gone. A bus that has stopped
 * to read what he says does not notice that either. */
static int server_take_name(Server *server) {
        int r;

        r = sd_bus_add_match(server->bus, NULL,
                             "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                             "interface='org.freedesktop.DBus',member='NameLost',arg0='" DAXBROKER_BUS_NAME "'",
                             on_own_name_lost, server);
        if (r >= 0)
                r = sd_bus_request_name(server->bus, DAXBROKER_BUS_NAME,
                                        SD_BUS_NAME_ALLOW_REPLACEMENT | SD_BUS_NAME_REPLACE_EXISTING);
        if (r < 0)
                log_error("cannot take the name " DAXBROKER_BUS_NAME ": %s",
                          r == -EEXIST ? "somebody has it and does not let go" : strerror(-r));
        return r;
}

static int server_connect(Server *server) {
        int r;

        r = sd_bus_open_system(&server->bus);
        if (r < 0) {
                log_error("cannot connect to the system bus: %s", strerror(-r));
                return r;
        }

        /* Whatever takes us off the bus, a new start sets right; nothing is lost by it. */
        r = sd_bus_set_exit_on_disconnect(server->bus, true);
        /* and when the loop ends, what is still being done shall be answered: server_free() closes it */
        if (r >= 0)
                r = sd_bus_set_close_on_exit(server->bus, false);
        if (r >= 0)
                r = sd_bus_attach_event(server->bus, server->manager->event, SD_EVENT_PRIORITY_NORMAL);
        return r;
}

int server_add_objects(Server *server, sd_bus *bus) {
        int r;

        r = server_add_visibility(server, bus);
        if (r >= 0)
                r = server_add_manager(server, bus);
        if (r >= 0)
                r = server_add_regions(server, bus);
        if (r >= 0)
                r = server_add_allocations(server, bus);
        if (r >= 0)
                r = server_add_grants(server, bus);
        return r < 0 ? r : sd_bus_add_object_manager(bus, NULL, DAXBROKER_ROOT_PATH);
}

int server_new(Manager *manager, Server **ret) {
        Server *server;
        int r;

        server = calloc(1, sizeof(*server));
        if (!server)
                return -ENOMEM;

        server->manager = manager;
        r = server_connect(server);
        if (r < 0)
                goto fail;
        r = sd_event_add_time_relative(manager->event, &server->doubt, CLOCK_MONOTONIC, DOUBT_USEC, 0, on_doubt, server);
        if (r < 0)
                goto fail;
        r = turn_begin(&server->turn, manager->event, on_turn, server);
        if (r >= 0)
                r = news_begin(server);
        if (r < 0)
                goto fail;
        r = callers_watch(server);
        if (r >= 0)
                r = authority_watch(server);
        if (r >= 0)
                r = server_add_objects(server, server->bus);
        if (r < 0) {
                log_error("cannot put objects on the bus: %s", strerror(-r));
                goto fail;
        }

        r = server_take_name(server);
        if (r < 0)
                goto fail;

        manager->observer = &server->observer;
        *ret = server;
        return 0;

fail:
        server_free(server);
        return r;
}

Server *server_free(Server *server) {
        if (!server)
                return NULL;

        server->manager->observer = NULL;
        server->stopping = true;
        news_end(server);
        /* who is told that nothing was done asks again at once, and that must not come to us any more */
        if (server->bus)
                (void) sd_bus_release_name_async(server->bus, NULL, DAXBROKER_BUS_NAME, NULL, NULL);
        callers_free(server);
        peers_free(server);
        while (server->turns)
                server_end_turn(server, server->turns);
        authority_done(&server->authority);
        names_free(server->viewed_names);
        sd_event_source_disable_unref(server->doubt);
        turn_end(&server->turn);
        sd_bus_slot_unref(server->reassurance);
        /* to flush to a bus that does not listen would take for ever */
        if (server_is_heard(server))
                sd_bus_flush_close_unref(server->bus);
        else
                sd_bus_close_unref(server->bus);
        free(server);
        return NULL;
}
