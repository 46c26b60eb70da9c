/* SPDX-License-Identifier: MIT */

/* What clients ask a bus for, on connections where there is none: a name, to hear signals, and who has the broker's name.
 * So a library, or busctl, that knows nothing but buses can be pointed at the direct socket. It is a bus on which there is
 * nobody but the broker.
 *
 * Any match at all asks for signals; who wants to hear some of them only picks these himself. Those about allocations are
 * for whom may see them. Whether that is everybody's, polkit is asked when the first match is set, as for a list. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "names.h"
#include "peer-bus.h"
#include "server-bus.h"

#define DRIVER "org.freedesktop.DBus"
#define DRIVER_PATH "/org/freedesktop/DBus"

/* More than anybody needs. */
#define MATCHES_MAX 512

static int do_hello(Call *call, Failure *failure) {
        char name[32];
        int r;

        (void) failure;
        (void) snprintf(name, sizeof(name), ":1.%s", call->caller->name + strcspn(call->caller->name, "0123456789"));
        r = sd_bus_reply_method_return(call->message, "s", name);
        return r < 0 ? r : CALL_DONE;
}

/* What he may see for sure he hears from now on, and not only when polkit has answered about the rest. */
static int do_add_match(Call *call, Failure *failure) {
        Peer *peer = call->caller->peer;
        Details details = { 0 };
        int r;

        if (!call->question) { /* so it runs for the first time */
                if (peer->n_matches >= MATCHES_MAX)
                        return failure_set(failure, REFUSAL_TooManyRequests, "you have %u matches already",
                                           peer->n_matches);
                peer_add_match(peer);
        }

        if (!peer->judged) {
                details_add(&details, "polkit.message", "Authentication is required to hear of the memory of other users");
                r = authorize(call, "org.daxbroker1.inspect-other", &details, false, failure);
                if (r == CALL_WAITS)
                        return r;
                peer->sees_all = r > 0;
                peer->judged = true;
        }

        r = sd_bus_reply_method_return(call->message, NULL);
        return r < 0 ? r : CALL_DONE;
}

static int do_remove_match(Call *call, Failure *failure) {
        Peer *peer = call->caller->peer;
        int r;

        (void) failure;
        if (peer->n_matches > 0)
                peer_remove_match(peer);
        r = sd_bus_reply_method_return(call->message, NULL);
        return r < 0 ? r : CALL_DONE;
}

static const char *name_owner(const char *name) {
        if (strcmp(name, DAXBROKER_BUS_NAME) == 0 || strcmp(name, DAXBROKER_DIRECT_NAME) == 0)
                return DAXBROKER_DIRECT_NAME;
        return strcmp(name, DRIVER) == 0 ? DRIVER : NULL;
}

static int do_get_name_owner(Call *call, Failure *failure) {
        const char *name;
        int r;

        (void) failure;
        r = sd_bus_message_read(call->message, "s", &name);
        if (r >= 0)
                r = name_owner(name) ? sd_bus_reply_method_return(call->message, "s", name_owner(name))
                                     : sd_bus_reply_method_errorf(call->message, SD_BUS_ERROR_NAME_HAS_NO_OWNER,
                                                                  "there is nobody here but " DAXBROKER_BUS_NAME);
        return r < 0 ? r : CALL_DONE;
}

static int do_name_has_owner(Call *call, Failure *failure) {
        const char *name;
        int r;

        (void) failure;
        r = sd_bus_message_read(call->message, "s", &name);
        if (r >= 0)
                r = sd_bus_reply_method_return(call->message, "b", name_owner(name) != NULL);
        return r < 0 ? r : CALL_DONE;
}

static int method_run(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const Method methods[] = {
                { "Hello", do_hello },
                { "AddMatch", do_add_match },
                { "RemoveMatch", do_remove_match },
                { "GetNameOwner", do_get_name_owner },
                { "NameHasOwner", do_name_has_owner },
        };

        (void) error;
        return call_dispatch(userdata, message, methods);
}

static const sd_bus_vtable driver_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Hello", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", name), method_run, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("AddMatch", SD_BUS_ARGS("s", rule), SD_BUS_NO_RESULT, method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("RemoveMatch", SD_BUS_ARGS("s", rule), SD_BUS_NO_RESULT, method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetNameOwner", SD_BUS_ARGS("s", name), SD_BUS_RESULT("s", owner), method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("NameHasOwner", SD_BUS_ARGS("s", name), SD_BUS_RESULT("b", owned), method_run,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int server_add_driver(Server *server, sd_bus *bus) {
        return sd_bus_add_object_vtable(bus, NULL, DRIVER_PATH, DRIVER, driver_vtable, server);
}
