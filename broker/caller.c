/* SPDX-License-Identifier: MIT */

/* Callers are asked about once: the bus tells uid, groups and pid of a connection, which cannot change while it exists.
 * The question is asynchronous, as everything here; the calls that need the answer wait and run again. When a connection
 * leaves the bus, its calls that wait are dropped, so that nothing is carved for somebody who has gone. Of a direct
 * connection the kernel has told all that at once.
 *
 * The uid and the groups are what decisions rest on. The pid, and the unit found through it, may be another process's by
 * the time they are looked at: they are for people to read. Where polkit needs a pid, it is made sure of (credentials.c). */

#include "caller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-login.h>

#include "call-bus.h"
#include "cleanup.h"
#include "clock.h"
#include "peer-bus.h"
#include "server-bus.h"

static Caller *caller_free(Caller *caller) {
        if (!caller)
                return NULL;

        sd_bus_slot_unref(caller->slot);
        user_unref(caller->user);
        if (caller->peer)
                credentials_clear(&caller->credentials);
        else
                free(caller->groups);
        free(caller->name);
        free(caller->unit);
        free(caller);
        return NULL;
}

void caller_gone(Caller *caller) {
        Server *server = caller->server;
        Call *call;

        /* what one of them gives up is for others' */
        DL_FOREACH(caller->calls, call)
                waiter_remove(&call->waiter);
        while (caller->calls)
                call_free(caller->calls);
        decisions_drop_connection(&server->authority.decisions, caller);
        HASH_DEL(server->callers, caller);
        caller_free(caller);
        authority_ask_next(server); /* its questions may have been in the way of others' */
}

static int read_groups(sd_bus_message *m, Caller *caller) {
        const void *groups;
        size_t size;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "au");
        if (r < 0)
                return r;
        r = sd_bus_message_read_array(m, 'u', &groups, &size);
        if (r < 0)
                return r;

        free(caller->groups);
        caller->n_groups = 0;
        caller->groups = malloc(size > 0 ? size : 1);
        if (!caller->groups)
                return -ENOMEM;
        if (size > 0)
                memcpy(caller->groups, groups, size);
        caller->n_groups = size / sizeof(gid_t);
        return sd_bus_message_exit_container(m);
}

/* The reply to GetConnectionCredentials. A uid must be in it, the rest may be missing. */
static int read_credentials(sd_bus_message *m, Caller *caller, uid_t *ret_uid) {
        uint32_t uid = UINT32_MAX, pid = 0;
        const char *key;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read(m, "s", &key);
                if (r < 0)
                        return r;

                if (strcmp(key, "UnixUserID") == 0)
                        r = sd_bus_message_read(m, "v", "u", &uid);
                else if (strcmp(key, "ProcessID") == 0)
                        r = sd_bus_message_read(m, "v", "u", &pid);
                else if (strcmp(key, "UnixGroupIDs") == 0)
                        r = read_groups(m, caller);
                else
                        r = sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        if (r < 0)
                return r;
        if (uid == UINT32_MAX)
                return -EBADMSG;

        caller->pid = (pid_t) pid;
        *ret_uid = uid;
        return 0;
}

static int on_credentials(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Caller *caller = userdata;
        uid_t uid = (uid_t) -1;
        int r;

        (void) ret_error;
        caller->slot = sd_bus_slot_unref(caller->slot);
        r = sd_bus_message_is_method_error(m, NULL) ? -sd_bus_message_get_errno(m) : read_credentials(m, caller, &uid);
        if (r >= 0)
                r = user_get(&caller->server->manager->users, uid, &caller->user);
        if (r < 0) {
                Failure failure;
                Call *call;

                (void) failure_set_errno(&failure, r, "the bus does not tell who is calling");
                DL_FOREACH(caller->calls, call)
                        reply_refusal(call->message, r, &failure);
                caller_gone(caller);
                return 0;
        }

        if (caller->pid > 0)
                (void) sd_pid_get_unit(caller->pid, &caller->unit);
        waiters_wake(&caller->waiters);
        return 0;
}

/* Nobody but a bus says the truth about senders. */
Caller *caller_find(Server *server, sd_bus_message *message) {
        const char *name = sd_bus_message_get_sender(message);
        Caller *caller = NULL;

        if (sd_bus_message_get_bus(message) != server->bus) {
                Peer *peer = peer_find(server, sd_bus_message_get_bus(message));

                return peer ? peer->caller : NULL;
        }

        if (name)
                HASH_FIND_STR(server->callers, name, caller);
        return caller;
}

static int caller_new(Server *server, const char *name, Caller **ret) {
        Caller *caller;

        caller = calloc(1, sizeof(*caller));
        if (!caller)
                return -ENOMEM;

        caller->server = server;
        caller->since = now_usec();
        caller->name = strdup(name);
        if (!caller->name) {
                caller_free(caller);
                return -ENOMEM;
        }

        *ret = caller;
        return 0;
}

static void caller_link(Caller *caller) {
        HASH_ADD_KEYPTR(hh, caller->server->callers, caller->name, strlen(caller->name), caller);
}

int caller_new_direct(Server *server, const char *name, Peer *peer, const Credentials *credentials, Caller **ret) {
        Caller *caller;
        int r;

        r = caller_new(server, name, &caller);
        if (r < 0)
                return r;
        r = user_get(&server->manager->users, credentials->uid, &caller->user);
        if (r < 0) {
                caller_free(caller);
                return r;
        }

        caller->peer = peer;
        caller->credentials = *credentials;
        caller->groups = credentials->groups;
        caller->n_groups = credentials->n_groups;
        caller->pid = credentials->pid;
        if (caller->pid > 0)
                (void) sd_pid_get_unit(caller->pid, &caller->unit);
        caller_link(caller);
        *ret = caller;
        return 0;
}

int caller_get(Server *server, sd_bus_message *message, Caller **ret) {
        const char *name = sd_bus_message_get_sender(message);
        Caller *caller;
        int r;

        caller = caller_find(server, message);
        if (caller) {
                *ret = caller;
                return 0;
        }
        if (!name || sd_bus_message_get_bus(message) != server->bus)
                return -EBADMSG;

        r = caller_new(server, name, &caller);
        if (r < 0)
                return r;

        r = sd_bus_call_method_async(server->bus, &caller->slot, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                     "org.freedesktop.DBus", "GetConnectionCredentials", on_credentials, caller, "s", name);
        if (r < 0) {
                caller_free(caller);
                return r;
        }

        caller_link(caller);
        *ret = caller;
        return 0;
}

int caller_identify(Caller *caller, Failure *failure) {
        return caller->peer ? credentials_identify(&caller->credentials, failure) : 0;
}

int caller_append_subject(const Caller *caller, sd_bus_message *m) {
        const Credentials *credentials = &caller->credentials;

        if (!caller->peer)
                return sd_bus_message_append(m, "(sa{sv})", "system-bus-name", 1, "name", "s", caller->name);

        /* all of it: which of these polkit goes by depends on how old it is */
        return sd_bus_message_append(m, "(sa{sv})", "unix-process", 4, "pid", "u", (uint32_t) credentials->pid, "start-time",
                                     "t", credentials->start_time, "uid", "i", (int32_t) credentials->uid, "pidfd", "h",
                                     credentials->pidfd);
}

static int on_name_lost(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *sender = sd_bus_message_get_sender(m), *name;
        Server *server = userdata;
        Caller *caller;

        (void) ret_error;
        /* anybody may send signals, and sd-bus does not compare the sender with a well-known name */
        if (!sender || strcmp(sender, "org.freedesktop.DBus") != 0 || sd_bus_message_read(m, "s", &name) < 0)
                return 0;

        HASH_FIND_STR(server->callers, name, caller);
        if (caller)
                caller_gone(caller);
        return 0;
}

int callers_watch(Server *server) {
        return sd_bus_add_match(server->bus, NULL,
                                "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                                "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''",
                                on_name_lost, server);
}

void callers_free(Server *server) {
        Caller *caller, *next;
        Failure failure;
        Call *call;
        int r;

        r = failure_set(&failure, REFUSAL_ShuttingDown,
                        "the broker was stopped before anything was done; the call may be repeated");
        HASH_ITER(hh, server->callers, caller, next) {
                DL_FOREACH(caller->calls, call)
                        reply_refusal(call->message, r, &failure);
                if (!caller->peer) /* else it goes with its connection */
                        caller_gone(caller);
        }
}
