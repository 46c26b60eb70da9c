/* SPDX-License-Identifier: MIT */

/* A client in somebody's event loop.
 *
 * It has one connection, beside those for synchronous calls, which is made when first needed and made
 * again when it is lost: for calls that wait to be repeated by these themselves, for the watch by a timer.
 * Connecting and installing the watch wait for the bus, never for the service.
 *
 * Callbacks may do what they like, freeing the client included. So nothing of the client is touched after
 * a callback without looking whether it is still there, and the memory of a client that was freed by one
 * is given back by daxbroker_client_process(). */

#include "loop.h"

#include "call.h"
#include "client.h"
#include "error.h"
#include "operation.h"
#include "util.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>

/* In a child: the connection and the calls on it are the parent's. The watch is inherited. */
static void loop_leave_parent(daxbroker_client *client) {
        Loop *loop = &client->loop;

        if (!loop->connection || connection_is_ours(loop->connection))
                return;

        operation_forget_all(client);
        loop->connection = connection_free(loop->connection);
        if (loop->watch)
                loop->connect_at = 0;
}

int loop_connect(daxbroker_client *client, sd_bus_error *error) {
        Loop *loop = &client->loop;
        int r;

        loop_leave_parent(client);
        if (loop->connection)
                return 0;

        r = connection_open(&loop->connection, error);
        if (r < 0)
                return r;

        if (loop->watch) {
                r = watch_install(client);
                if (r < 0) {
                        loop->connection = connection_free(loop->connection);
                        return sd_bus_error_set_errnof(error, r, "cannot watch the daxbroker service");
                }

                loop->reset_due = true;
        }

        loop->connect_at = UINT64_MAX;
        loop->attempt = 0;
        return 0;
}

void loop_clear(daxbroker_client *client) {
        Loop *loop = &client->loop;

        loop_leave_parent(client);
        operation_forget_all(client);
        loop->connection = connection_free(loop->connection);
        loop->idle_fd = fd_close(loop->idle_fd);
        loop->watch = NULL;
        loop->connect_at = UINT64_MAX;
        loop->reset_due = false;
        free(loop->owner);
        loop->owner = NULL;
}

/* Connects again for the watch's sake. */
static void loop_reconnect(daxbroker_client *client) {
        Loop *loop = &client->loop;
        sd_bus_error error = SD_BUS_ERROR_NULL;

        if (loop_connect(client, &error) < 0)
                loop->connect_at = now_usec() + call_pause(loop->attempt++);

        sd_bus_error_free(&error);
}

/* error says why, 0 if it just went away. */
static void loop_lose_connection(daxbroker_client *client, int error) {
        Loop *loop = &client->loop;

        if (loop->watch)
                loop->connect_at = now_usec();

        operation_lose_all(client, error == -EMFILE ? error : -ECONNRESET);
        loop->connection = connection_free(loop->connection);
}

/* One step. Returns whether there was anything to do. */
static bool loop_step(daxbroker_client *client) {
        Loop *loop = &client->loop;
        bool busy = false;

        if (!loop->connection && now_usec() >= loop->connect_at) {
                loop_reconnect(client);
                busy = true;
        }

        if (loop->reset_due) {
                loop->reset_due = false;
                watch_tell(client, "reset", "", "");
                return true;
        }

        if (loop->connection) {
                int r = call_process(loop->connection->bus);

                /* The callback of what was processed may have closed it all. */
                if (loop->connection && (r < 0 || sd_bus_is_open(loop->connection->bus) <= 0)) {
                        loop_lose_connection(client, r);
                        busy = true;
                } else if (r > 0)
                        return true;
        }

        return operation_run_due(client) || busy;
}

_public_ int daxbroker_client_process(daxbroker_client *client) {
        bool busy;

        if (!client)
                return error_set(-EINVAL, "only a client of one's own can be used in an event loop");

        if (client->loop.processing)
                return error_set(-EBUSY, "the client is being processed already");

        loop_leave_parent(client);

        client->loop.processing = true;
        busy = loop_step(client);
        client->loop.processing = false;

        if (client->loop.orphaned) {
                loop_clear(client);
                free(client);
                return 0;
        }

        return busy;
}

_public_ int daxbroker_client_get_fd(daxbroker_client *client) {
        Loop *loop;

        if (!client)
                return error_set(-EINVAL, "only a client of one's own can be used in an event loop");

        loop_leave_parent(client);

        loop = &client->loop;
        if (loop->connection)
                return loop->connection->fd;

        if (loop->idle_fd < 0) {
                loop->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                if (loop->idle_fd < 0) {
                        loop->idle_fd = -EBADF;
                        return error_set_errno(-errno, "cannot create a descriptor");
                }
        }

        return loop->idle_fd;
}

_public_ int daxbroker_client_get_events(daxbroker_client *client) {
        int r;

        if (!client)
                return error_set(-EINVAL, "only a client of one's own can be used in an event loop");

        loop_leave_parent(client);
        if (!client->loop.connection)
                return POLLIN;

        /* Where the connection has just been lost there is nothing to wait for; the time-out is 0 then. */
        r = sd_bus_get_events(client->loop.connection->bus);
        return r < 0 ? POLLIN : r;
}

_public_ int daxbroker_client_get_timeout(daxbroker_client *client, uint64_t *ret_usec) {
        uint64_t usec, bus_usec;
        Loop *loop;

        if (!client)
                return error_set(-EINVAL, "only a client of one's own can be used in an event loop");

        loop_leave_parent(client);

        loop = &client->loop;
        usec = operation_next_due(client);
        if (loop->reset_due)
                usec = 0;
        if (loop->connection) {
                if (sd_bus_get_timeout(loop->connection->bus, &bus_usec) < 0)
                        bus_usec = 0;
                if (bus_usec < usec)
                        usec = bus_usec;
        } else if (loop->connect_at < usec)
                usec = loop->connect_at;

        *ret_usec = usec;
        return 0;
}
