/* SPDX-License-Identifier: MIT */

/* One connection to the bus.
 *
 * This is the only place that knows how the service is reached. A connection is used by one thread at a
 * time, which who takes it out of a client's pool sees to, and it belongs to the process that made it.
 * sd-bus refuses to work in a forked child, rightly, and it also refuses to free the object there; so a
 * child closes its copy of the socket, which nobody else notices, and leaves the rest lying in the list of
 * all connections. */

#include "connection.h"

#include "lock.h"
#include "util.h"

#include <stdlib.h>

/* All connections of this process, and those inherited that cannot be freed. Guarded by the library's
 * lock. */
static Connection *connections;

static void connection_link(Connection *connection) {
        library_lock();
        connection->next = connections;
        if (connections)
                connections->previous = connection;
        connections = connection;
        library_unlock();
}

static void connection_unlink(Connection *connection) {
        library_lock();
        if (connection->previous)
                connection->previous->next = connection->next;
        else
                connections = connection->next;
        if (connection->next)
                connection->next->previous = connection->previous;
        library_unlock();
}

static int connection_open_bus(sd_bus **ret) {
        sd_bus *bus = NULL;
        const char *unique;
        int r;

        r = sd_bus_open_system(&bus);
        if (r < 0)
                return r;

        /* This waits for the bus's greeting. From here on, a call that fails has failed after it was
         * sent. */
        do
                r = sd_bus_get_unique_name(bus, &unique);
        while (r == -EINTR);
        if (r < 0) {
                sd_bus_close_unref(bus);
                return r;
        }

        *ret = bus;
        return 0;
}

int connection_open(Connection **ret, sd_bus_error *error) {
        Connection *connection;
        int r;

        connection = calloc(1, sizeof(*connection));
        if (!connection)
                return sd_bus_error_set_errnof(error, -ENOMEM, "out of memory");

        r = connection_open_bus(&connection->bus);
        if (r < 0) {
                free(connection);

                /* These are about this process and not about the bus. */
                if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
                        return sd_bus_error_set_errnof(error, r, "cannot connect to the system bus: %m");

                (void) sd_bus_error_setf(error, SD_BUS_ERROR_NO_SERVER,
                                         "cannot connect to the system bus: %s",
                                         strerrordesc_np(-r) ?: "unknown error");
                return r;
        }

        connection->fd = sd_bus_get_fd(connection->bus);
        connection->pid = getpid();
        connection_link(connection);

        *ret = connection;
        return 0;
}

Connection *connection_free(Connection *connection) {
        if (!connection)
                return NULL;

        if (!connection_is_ours(connection)) {
                /* Usually done already when the process was forked, but not after a bare clone(). */
                connection->fd = fd_close(connection->fd);
                return NULL;
        }

        connection_unlink(connection);
        sd_bus_close_unref(connection->bus);
        free(connection);
        return NULL;
}

bool connection_is_ours(const Connection *connection) {
        return connection->pid == getpid();
}

bool connection_is_usable(Connection *connection) {
        if (!connection_is_ours(connection))
                return false;

        /* Anybody can send us signals. Who sends more than this at a time costs us a new connection,
         * nothing else. */
        for (unsigned i = 0; i < 128; i++) {
                int r;

                r = sd_bus_process(connection->bus, NULL);
                if (r < 0)
                        return false;
                if (r == 0)
                        return sd_bus_is_open(connection->bus) > 0;
        }

        return false;
}

void connection_disown_all(void) {
        for (Connection *connection = connections; connection; connection = connection->next)
                connection->fd = fd_close(connection->fd);
}
