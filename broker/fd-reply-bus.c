/* SPDX-License-Identifier: MIT */

/* An answer with descriptors in it, to a call that has to wait for them. How many may be on their way to one caller is
 * limited: a direct one is promised them when his call is taken on, and everybody is said to have been sent them. */

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "peer-bus.h"
#include "server-bus.h"

struct FdReply {
        Server *server;
        sd_bus_message *message; /* owned reference */
        unsigned n_fds;
};

FdReply *fd_reply_new(Call *call, unsigned n_fds) {
        FdReply *reply;

        reply = calloc(1, sizeof(*reply));
        if (!reply)
                return NULL;

        reply->server = call->server;
        reply->message = sd_bus_message_ref(call->message);
        reply->n_fds = n_fds;
        if (call->caller->peer)
                peer_promise_fds(call->caller->peer, n_fds);
        return reply;
}

FdReply *fd_reply_free(FdReply *reply) {
        const Caller *caller = caller_find(reply->server, reply->message);

        if (caller && caller->peer)
                peer_end_promise(caller->peer, reply->n_fds);
        sd_bus_message_unref(reply->message);
        free(reply);
        return NULL;
}

void fd_reply_refuse(FdReply *reply, int r, const Failure *failure) {
        reply_refusal(reply->message, r, failure);
}

bool fd_reply_send(FdReply *reply, const char *types, ...) {
        Caller *caller = caller_find(reply->server, reply->message);
        Failure failure;
        va_list values;
        int r;

        if (!caller)
                return false;

        va_start(values, types);
        r = sd_bus_reply_method_returnv(reply->message, types, values);
        va_end(values);
        if (r < 0) {
                log_warning("cannot send user %u what he asked for: %s", (unsigned) caller->user->uid, strerror(-r));
                (void) failure_set_errno(&failure, r, "cannot send the descriptors");
                fd_reply_refuse(reply, r, &failure);
                return false;
        }

        if (caller->peer)
                peer_has_been_sent_fds(caller->peer, reply->n_fds);
        else {
                caller->n_sent++;
                server_doubt(reply->server);
        }
        return true;
}
