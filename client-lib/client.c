/* SPDX-License-Identifier: MIT */

/* A client.
 *
 * A synchronous call takes an idle connection out of the pool, or opens one if there is none, and puts it
 * back when it has its answer. So threads never wait for each other: one that waits for a password dialog
 * has its connection to itself. A few idle ones are kept, more are closed.
 *
 * The hidden client behind NULL is a plain variable. It is emptied when the library is unloaded or the
 * program ends. */

#include "client.h"

#include "error.h"
#include "lock.h"
#include "util.h"

#include <stdlib.h>

static daxbroker_client default_client = { .loop = LOOP_NONE };

daxbroker_client *client_or_default(daxbroker_client *client) {
        return client ?: &default_client;
}

static Connection *client_take_idle(daxbroker_client *client) {
        Connection *connection = NULL;

        library_lock();
        if (client->n_idle > 0)
                connection = client->idle[--client->n_idle];
        library_unlock();

        return connection;
}

int client_take(daxbroker_client *client, Connection **ret, sd_bus_error *error) {
        for (;;) {
                Connection *connection = client_take_idle(client);

                if (!connection)
                        return connection_open(ret, error);

                if (connection_is_usable(connection)) {
                        *ret = connection;
                        return 0;
                }

                connection_free(connection);
        }
}

void client_give(daxbroker_client *client, Connection *connection) {
        library_lock();
        if (client->n_idle < CLIENT_IDLE_MAX) {
                client->idle[client->n_idle++] = connection;
                connection = NULL;
        }
        library_unlock();

        connection_free(connection);
}

static void client_drain(daxbroker_client *client) {
        for (;;) {
                Connection *connection = client_take_idle(client);

                if (!connection)
                        return;

                connection_free(connection);
        }
}

_public_ int daxbroker_client_new(daxbroker_client **ret) {
        daxbroker_client *client;

        client = calloc(1, sizeof(*client));
        if (!client)
                return error_set(-ENOMEM, "out of memory");

        client->loop = (Loop) LOOP_NONE;

        *ret = client;
        return 0;
}

_public_ daxbroker_client *daxbroker_client_free(daxbroker_client *client) {
        if (!client)
                return NULL;

        client_drain(client);
        loop_clear(client);

        /* In a callback: who called it frees the rest. */
        if (client->loop.processing)
                client->loop.orphaned = true;
        else
                free(client);

        return NULL;
}

__attribute__((destructor)) static void client_drain_default(void) {
        client_drain(&default_client);
}
