/* SPDX-License-Identifier: MIT */

/* The watch: what comes, changes and goes.
 *
 * Anybody on the bus can send a signal that looks like the service's, so the sender is compared with the
 * owner of the service's name, which the bus itself vouches for. On a new connection the owner is asked
 * for last: when the answer is there, all matches are in force, and what they have brought meanwhile waits
 * until it can be judged. */

#include "call.h"
#include "client.h"
#include "error.h"
#include "names.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWNER_MATCH                                                                                     \
        "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"                     \
        "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" DAXBROKER_BUS_NAME "'"
#define OBJECTS_MATCH                                                                                   \
        "type='signal',sender='" DAXBROKER_BUS_NAME "',path='" DAXBROKER_ROOT_PATH "',"                 \
        "interface='org.freedesktop.DBus.ObjectManager'"
#define PROPERTIES_MATCH                                                                                \
        "type='signal',sender='" DAXBROKER_BUS_NAME "',path_namespace='" DAXBROKER_ROOT_PATH "',"       \
        "interface='org.freedesktop.DBus.Properties',member='PropertiesChanged'"

void watch_tell(daxbroker_client *client, const char *event, const char *object, const char *properties) {
        Loop *loop = &client->loop;

        if (loop->watch)
                loop->watch(event, object, properties, loop->watch_userdata);
}

/* "" for nobody. */
static int watch_set_owner(daxbroker_client *client, const char *owner) {
        char *copy = NULL;

        if (owner[0] != '\0') {
                copy = strdup(owner);
                if (!copy)
                        return -ENOMEM;
        }

        free(client->loop.owner);
        client->loop.owner = copy;
        return 0;
}

static int watch_on_owner(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        const char *sender = sd_bus_message_get_sender(message), *name, *old, *new;
        daxbroker_client *client = userdata;
        int r;

        (void) ret_error;

        /* anybody may send signals, and sd-bus does not compare the sender with a well-known name */
        if (!sender || strcmp(sender, "org.freedesktop.DBus") != 0)
                return 0;

        r = sd_bus_message_read(message, "sss", &name, &old, &new);
        if (r <= 0)
                return 0;

        /* Without memory for its name, its signals are ignored: as if it were away. */
        if (watch_set_owner(client, new) >= 0 && new[0] != '\0')
                watch_tell(client, "reset", "", "");

        return 0;
}

static bool watch_trusts(daxbroker_client *client, sd_bus_message *message) {
        const char *sender = sd_bus_message_get_sender(message);

        return sender && client->loop.owner && strcmp(sender, client->loop.owner) == 0;
}

static int watch_on_objects(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        daxbroker_client *client = userdata;
        const char *object, *event;
        int r;

        (void) ret_error;

        if (!watch_trusts(client, message))
                return 0;

        if (sd_bus_message_is_signal(message, NULL, "InterfacesAdded"))
                event = "added";
        else if (sd_bus_message_is_signal(message, NULL, "InterfacesRemoved"))
                event = "removed";
        else
                return 0;

        r = sd_bus_message_read(message, "o", &object);
        if (r > 0)
                watch_tell(client, event, object, "");

        return 0;
}

/* The names in "a{sv}as", the values skipped. */
static int watch_write_names(FILE *stream, sd_bus_message *message) {
        const char *name, *comma = "";
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sv}");
        if (r < 0)
                return r;

        for (;;) {
                r = sd_bus_message_enter_container(message, 'e', "sv");
                if (r < 0)
                        return r;
                if (r == 0)
                        break;

                r = sd_bus_message_read(message, "s", &name);
                if (r < 0)
                        return r;

                (void) fprintf(stream, "%s%s", comma, name);
                comma = ",";

                r = sd_bus_message_skip(message, "v");
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }

        r = sd_bus_message_exit_container(message);
        if (r < 0)
                return r;

        r = sd_bus_message_enter_container(message, 'a', "s");
        if (r < 0)
                return r;

        for (;;) {
                r = sd_bus_message_read(message, "s", &name);
                if (r <= 0)
                        return r;

                (void) fprintf(stream, "%s%s", comma, name);
                comma = ",";
        }
}

static int watch_on_properties(sd_bus_message *message, void *userdata, sd_bus_error *ret_error) {
        _cleanup_(freep) char *names = NULL;
        daxbroker_client *client = userdata;
        const char *interface;
        size_t length;
        FILE *stream;
        int r;

        (void) ret_error;

        if (!watch_trusts(client, message))
                return 0;

        r = sd_bus_message_read(message, "s", &interface);
        if (r <= 0)
                return 0;

        stream = open_memstream(&names, &length);
        if (!stream)
                return 0;

        r = watch_write_names(stream, message);
        if (fclose(stream) == 0 && r >= 0)
                watch_tell(client, "changed", sd_bus_message_get_path(message), names);

        return 0;
}

static int watch_find_owner(daxbroker_client *client, sd_bus *bus) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        const char *owner;
        int r;

        /* A signal can interrupt it, and asking twice does no harm. */
        do {
                sd_bus_error_free(&error);
                r = sd_bus_call_method(bus, "org.freedesktop.DBus", "/org/freedesktop/DBus",
                                       "org.freedesktop.DBus", "GetNameOwner", &error, &reply, "s",
                                       DAXBROKER_BUS_NAME);
        } while (r == -EINTR);

        if (r < 0 && sd_bus_error_has_name(&error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                r = watch_set_owner(client, "");
        else if (r >= 0) {
                r = sd_bus_message_read(reply, "s", &owner);
                if (r >= 0)
                        r = watch_set_owner(client, owner);
        }

        sd_bus_error_free(&error);
        sd_bus_message_unref(reply);
        return r;
}

int watch_install(daxbroker_client *client) {
        static const struct {
                const char *match;
                sd_bus_message_handler_t handler;
        } matches[] = {
                { OWNER_MATCH, watch_on_owner },
                { OBJECTS_MATCH, watch_on_objects },
                { PROPERTIES_MATCH, watch_on_properties },
        };
        sd_bus *bus = client->loop.connection->bus;
        int r;

        for (size_t i = 0; i < sizeof(matches) / sizeof(matches[0]); i++) {
                r = sd_bus_add_match_async(bus, NULL, matches[i].match, matches[i].handler, NULL, client);
                if (r < 0)
                        return r;
        }

        /* Directly it is nobody else, and is not to be waited for. */
        if (client->loop.connection->direct)
                return watch_set_owner(client, DAXBROKER_DIRECT_NAME);
        return watch_find_owner(client, bus);
}

_public_ int daxbroker_watch(daxbroker_client *client, daxbroker_watch_callback callback, void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        bool watching;
        int r;

        if (!client)
                return error_set(-EINVAL, "only a client of one's own can be used in an event loop");
        if (!callback)
                return error_set(-EINVAL, "there is no callback");

        watching = client->loop.watch;
        if (!watching) {
                r = loop_connect(client, &error);
                if (r >= 0)
                        r = watch_install(client);
                if (r < 0) {
                        if (!sd_bus_error_is_set(&error))
                                (void) sd_bus_error_set_errnof(&error, r, "cannot watch the daxbroker service");
                        r = error_set_bus(&error, r);
                        sd_bus_error_free(&error);
                        return r;
                }
        }

        client->loop.watch = callback;
        client->loop.watch_userdata = userdata;
        return 0;
}
