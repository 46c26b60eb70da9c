/* SPDX-License-Identifier: MIT */

/* One connection to the service.
 *
 * This is the only place that knows how it is reached: directly, through its own socket, or where that does
 * not work, over the system bus. DAXBROKER_BUS can say which. Both look the same from here: on the other side
 * of the socket there is a bus with nobody on it but the service. A connection is used by one thread at a
 * time, which who takes it out of a client's pool sees to, and it belongs to the process that made it.
 * sd-bus refuses to work in a forked child, rightly, and it also refuses to free the object there; so a
 * child closes its copy of the socket, which nobody else notices, and leaves the rest lying in the list of
 * all connections. */

#include "connection.h"

#include "lock.h"
#include "names.h"
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

/* A service that does not greet is busy or stopped; who has another way to it does not wait for long. */
#define GREETING_USEC (25 * USEC_PER_SEC)
#define GREETING_SHORT_USEC (1 * USEC_PER_SEC)

/* From here on, a call that fails has failed after it was sent. */
static int connection_await_greeting(sd_bus *bus, uint64_t usec) {
        uint64_t end = now_usec() + usec;

        while (sd_bus_is_ready(bus) <= 0) {
                uint64_t now = now_usec();
                int r;

                r = sd_bus_process(bus, NULL);
                if (r == 0 && now >= end)
                        r = -ETIMEDOUT;
                if (r == 0)
                        r = sd_bus_wait(bus, end - now);
                if (r < 0 && r != -EINTR)
                        return r;
        }

        return 0;
}

static int connection_open_address(const char *address, uint64_t usec, sd_bus **ret) {
        sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r < 0)
                return r;

        r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = connection_await_greeting(bus, usec);
        if (r < 0) {
                sd_bus_close_unref(bus);
                return r;
        }

        *ret = bus;
        return 0;
}

static int connection_open_system(sd_bus **ret) {
        sd_bus *bus = NULL;
        int r;

        r = sd_bus_open_system(&bus);
        if (r < 0)
                return r;

        r = connection_await_greeting(bus, GREETING_USEC);
        if (r < 0) {
                sd_bus_close_unref(bus);
                return r;
        }

        *ret = bus;
        return 0;
}

/* These are about this process and not about who is to be reached. */
static bool is_about_us(int r) {
        return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

static int connection_open_any(Connection *connection, const char **ret_what) {
        const char *where = secure_getenv("DAXBROKER_BUS");
        bool any = !where || where[0] == '\0';
        int r;

        if (any || strcmp(where, "direct") == 0) {
                *ret_what = "the daxbroker service";
                r = connection_open_address("unix:path=" DAXBROKER_DIRECT_SOCKET,
                                            any ? GREETING_SHORT_USEC : GREETING_USEC, &connection->bus);
                connection->direct = r >= 0;
                if (r >= 0 || !any || is_about_us(r))
                        return r;
        }

        if (any || strcmp(where, "system") == 0) {
                *ret_what = "the system bus";
                connection->second_best = any;
                return connection_open_system(&connection->bus);
        }

        if (!strchr(where, ':')) {
                *ret_what = "what DAXBROKER_BUS says, which is neither direct nor system nor a D-Bus address";
                return -EINVAL;
        }
        *ret_what = where;
        return connection_open_address(where, GREETING_USEC, &connection->bus);
}

int connection_open(Connection **ret, sd_bus_error *error) {
        Connection *connection;
        const char *what;
        int r;

        connection = calloc(1, sizeof(*connection));
        if (!connection)
                return sd_bus_error_set_errnof(error, -ENOMEM, "out of memory");

        r = connection_open_any(connection, &what);
        if (r < 0) {
                free(connection);

                if (r == -ETIMEDOUT)
                        return sd_bus_error_setf(error, SD_BUS_ERROR_TIMEOUT, "%s did not answer in time", what);
                if (is_about_us(r))
                        return sd_bus_error_set_errnof(error, r, "cannot connect to %s: %m", what);

                (void) sd_bus_error_setf(error, SD_BUS_ERROR_NO_SERVER, "cannot connect to %s: %s", what,
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
