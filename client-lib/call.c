/* SPDX-License-Identifier: MIT */

/* One method call, made by a thread that waits for the answer.
 *
 * The service may be restarted at any time, and nobody should notice. So a call that fails because the
 * service or the bus is away is made again for a few seconds, under two conditions: the service must have
 * been seen before (where there is none, the caller wants to know at once), and the call must either
 * surely have had no effect, or be one that can be made twice. */

#include "call.h"

#include "client.h"
#include "names.h"
#include "util.h"

#include <stdlib.h>
#include <string.h>

#define CALL_TIMEOUT_USEC (25 * USEC_PER_SEC)
#define CALL_SLOW_TIMEOUT_USEC (600 * USEC_PER_SEC)

uint64_t call_pause(unsigned attempt) {
        return attempt < 5 ? (10 * USEC_PER_MSEC) << attempt : 250 * USEC_PER_MSEC;
}

uint64_t call_timeout(const Call *call) {
        return call->interactive || call->slow ? CALL_SLOW_TIMEOUT_USEC : CALL_TIMEOUT_USEC;
}

bool call_is_repeatable(const Call *call, Fate fate, int local, bool service_was_seen) {
        switch (fate) {
        case FATE_ANSWERED:
                return false;
        case FATE_LOST:
                /* That it could get lost says that somebody was there. */
                return !call->once;
        case FATE_UNDELIVERED:
                /* EAGAIN: so many connect to the bus at this moment that its backlog is full. */
                return service_was_seen || local == -EAGAIN;
        }

        return false;
}

int call_fail(const Call *call, Fate fate, const sd_bus_error *error, int local) {
        if (call->once && fate == FATE_LOST)
                return error_set(error_number(error->name, local),
                                 "the daxbroker service went away before it answered, "
                                 "perhaps after it did its work");

        return error_set_bus(error, local);
}

int call_process(sd_bus *bus) {
        int r;

        r = sd_bus_process(bus, NULL);
        return r == -EXFULL ? -EMFILE : r;
}

int call_new_message(const Call *call, sd_bus *bus, sd_bus_message **ret, sd_bus_error *error) {
        sd_bus_message *message = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &message, DAXBROKER_BUS_NAME, call->path, call->interface,
                                           call->member);
        if (r >= 0 && call->append)
                r = call->append(message, call->arguments);
        if (r >= 0 && call->interactive)
                r = sd_bus_message_set_allow_interactive_authorization(message, 1);
        if (r < 0) {
                sd_bus_message_unref(message);
                return sd_bus_error_set_errnof(error, r,
                                               r == -EINVAL ? "an argument is not valid UTF-8" :
                                                              "cannot put the call together");
        }

        *ret = message;
        return 0;
}

const sd_bus_error *call_get_error(sd_bus_message *reply, uint64_t answer_by) {
        static const sd_bus_error timed_out = SD_BUS_ERROR_MAKE_CONST(SD_BUS_ERROR_TIMEOUT, NULL);
        const sd_bus_error *error = sd_bus_message_get_error(reply);

        if (error && sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) && now_usec() >= answer_by)
                return &timed_out;

        return error;
}

static int call_keep_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        sd_bus_message **kept = userdata;

        (void) ret_error;

        *kept = sd_bus_message_ref(reply);
        return 1;
}

/* sd_bus_call() gives up when a signal arrives, and leaves it open whether the call will be acted on. So
 * we wait by ourselves. The reply can be one that sd-bus has made up, if there will be none. */
static int call_wait(sd_bus *bus, sd_bus_message *message, uint64_t timeout, sd_bus_message **ret) {
        sd_bus_message *reply = NULL;
        sd_bus_slot *slot;
        int r;

        r = sd_bus_call_async(bus, &slot, message, call_keep_reply, &reply, timeout);
        if (r < 0)
                return r;

        while (!reply) {
                r = call_process(bus);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
                if (r < 0 && r != -EINTR)
                        break;
        }

        sd_bus_slot_unref(slot);
        if (!reply)
                return r;

        *ret = reply;
        return 0;
}

/* Makes the call on this connection. */
static int call_exchange(const Call *call, sd_bus *bus, sd_bus_error *error, Fate *ret_fate) {
        uint64_t timeout = call_timeout(call), answer_by;
        sd_bus_message *message, *reply = NULL;
        const sd_bus_error *refusal;
        int r;

        r = call_new_message(call, bus, &message, error);
        if (r < 0) {
                *ret_fate = FATE_ANSWERED;
                return r;
        }

        answer_by = now_usec() + timeout;
        r = call_wait(bus, message, timeout, &reply);
        sd_bus_message_unref(message);
        if (r < 0) {
                *ret_fate = error_fate(NULL, r);
                return sd_bus_error_set_errnof(error, r, "the call to the daxbroker service failed: %m");
        }

        refusal = call_get_error(reply, answer_by);
        if (refusal) {
                (void) sd_bus_error_copy(error, refusal);
                *ret_fate = error_fate(error->name, 0);
                r = -EIO;
        } else if (call->parse)
                r = call->parse(reply, call->arguments, call->result);

        sd_bus_message_unref(reply);
        return r;
}

/* One attempt. A connection goes back into the pool only if it is known to be in order and to owe us
 * nothing: an answer that comes too late would otherwise lie in the socket, with the lease inside, and
 * keep memory alive. */
static int call_attempt(const Call *call, daxbroker_client *client, sd_bus_error *error, Fate *ret_fate) {
        Connection *connection;
        bool answered;
        int r;

        r = client_take(client, &connection, error);
        if (r < 0) {
                *ret_fate = error_fate(error->name, r);
                return r;
        }

        r = call_exchange(call, connection->bus, error, ret_fate);
        answered = !sd_bus_error_is_set(error) || error_is_refusal(error->name);
        if (answered)
                atomic_store(&client->answered, true);

        if (answered || (*ret_fate == FATE_UNDELIVERED && !connection->second_best))
                client_give(client, connection);
        else
                connection_free(connection);

        return r;
}

static void call_nap(uint64_t usec) {
        struct timespec span = {
                .tv_sec = (time_t) (usec / USEC_PER_SEC),
                .tv_nsec = (long) (usec % USEC_PER_SEC * NSEC_PER_USEC),
        };

        /* A signal may cut it short; then the next attempt comes a little sooner. */
        (void) nanosleep(&span, NULL);
}

int call_run(daxbroker_client *client, const Call *call, bool *ret_acted) {
        uint64_t give_up = 0;
        bool acted = false;
        int r;

        client = client_or_default(client);

        for (unsigned attempt = 0;; attempt++) {
                sd_bus_error error = SD_BUS_ERROR_NULL;
                Fate fate = FATE_ANSWERED;

                r = call_attempt(call, client, &error, &fate);
                if (r >= 0 || !sd_bus_error_is_set(&error)) {
                        sd_bus_error_free(&error);
                        break;
                }

                if (fate == FATE_LOST) {
                        acted = true;
                        atomic_store(&client->answered, true);
                }
                if (give_up == 0)
                        give_up = now_usec() + CALL_PATIENCE_USEC;
                if (now_usec() >= give_up ||
                    !call_is_repeatable(call, fate, r, atomic_load(&client->answered))) {
                        r = call_fail(call, fate, &error, r);
                        sd_bus_error_free(&error);
                        break;
                }

                sd_bus_error_free(&error);
                call_nap(call_pause(attempt));
        }

        if (ret_acted)
                *ret_acted = acted;
        return r < 0 ? r : 0;
}

int call_append_string(sd_bus_message *message, const void *arguments) {
        return sd_bus_message_append(message, "s", (const char *) arguments);
}

int call_parse_string(sd_bus_message *reply, const void *arguments, void *result) {
        const char *text;
        char *copy;
        int r;

        (void) arguments;

        /* A string and an object path look the same from here. */
        r = sd_bus_message_read_basic(reply, sd_bus_message_has_signature(reply, "o") ? 'o' : 's', &text);
        if (r <= 0)
                return error_set(-EPROTO, "the service's answer is not what its interface says");

        copy = strdup(text);
        if (!copy)
                return error_set(-ENOMEM, "out of memory");

        *(char **) result = copy;
        return 0;
}
