/* SPDX-License-Identifier: MIT */

/* Calls in an event loop: a call, its arguments, and a callback that is owed.
 *
 * An operation is either on its way, and then it has a slot of the bus, or it waits until it is due: to be
 * sent again after the service was away, or to report that its answer was lost. The rules for repeating
 * are those of synchronous calls. It is unlinked and freed before its callback is called, so the callback
 * can do whatever it wants. */

#include "operation.h"

#include "allocation.h"
#include "call.h"
#include "client.h"
#include "request.h"
#include "util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct Operation {
        Operation *next, *previous;
        daxbroker_client *client;

        Call call;
        daxbroker_request *request; /* the arguments of Allocate */
        OpenArguments open;         /* the arguments of Open */

        daxbroker_allocation_callback callback;
        void *userdata;

        sd_bus_slot *slot;  /* while it is on its way */
        uint64_t answer_by; /* then: when sd-bus gives up waiting */
        uint64_t due;       /* else: when to go on; UINT64_MAX while on its way */
        uint64_t give_up;   /* when to stop trying; 0 until something failed */
        unsigned attempt;
        int lost; /* why the connection was, while it was on its way; 0 if it was not */
};

static Operation *operation_free(Operation *operation) {
        if (!operation)
                return NULL;

        daxbroker_request_free(operation->request);
        free(operation->open.name);
        free(operation);
        return NULL;
}

static void operation_link(Operation *operation) {
        Operation **head = &operation->client->loop.operations;

        operation->next = *head;
        if (*head)
                (*head)->previous = operation;
        *head = operation;
}

static void operation_unlink(Operation *operation) {
        if (operation->previous)
                operation->previous->next = operation->next;
        else
                operation->client->loop.operations = operation->next;
        if (operation->next)
                operation->next->previous = operation->previous;
}

/* Pays what is owed. error is that of which this thread has the sentence. */
static void operation_finish(Operation *operation, daxbroker_allocation *allocation, int error) {
        daxbroker_allocation_callback callback = operation->callback;
        void *userdata = operation->userdata;
        char message[1024] = "";

        /* A copy, since the callback may fail at something else before it looks. */
        if (error < 0)
                (void) snprintf(message, sizeof(message), "%s", daxbroker_last_error());

        operation_unlink(operation);
        operation->slot = sd_bus_slot_unref(operation->slot);
        operation_free(operation);

        callback(allocation, error, message, userdata);
}

/* Whether it will be tried again; if so, it is put in line for that. */
static bool operation_retry(Operation *operation, Fate fate, int local) {
        uint64_t now = now_usec();

        if (fate == FATE_LOST)
                atomic_store(&operation->client->answered, true);
        if (operation->give_up == 0)
                operation->give_up = now + CALL_PATIENCE_USEC;
        if (now >= operation->give_up ||
            !call_is_repeatable(&operation->call, fate, local, atomic_load(&operation->client->answered)))
                return false;

        operation->slot = sd_bus_slot_unref(operation->slot);
        operation->due = now + call_pause(operation->attempt++);
        return true;
}

static int operation_on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        Operation *operation = userdata;
        daxbroker_allocation *allocation = NULL;
        const sd_bus_error *error;
        Fate fate;
        int r;

        (void) ret_error;

        error = call_get_error(reply, operation->answer_by);
        if (!error) {
                atomic_store(&operation->client->answered, true);
                r = operation->call.parse(reply, operation->call.arguments, &allocation);
                operation_finish(operation, r < 0 ? NULL : allocation, r);
                return 1;
        }

        fate = error_fate(error->name, 0);
        if (!operation_retry(operation, fate, 0))
                operation_finish(operation, NULL, call_fail(&operation->call, fate, error, 0));

        return 1;
}

/* On failure the error is filled in. */
static int operation_send(Operation *operation, sd_bus_error *error, Fate *ret_fate) {
        uint64_t timeout = call_timeout(&operation->call);
        sd_bus_message *message;
        sd_bus *bus;
        int r;

        r = loop_connect(operation->client, error);
        if (r < 0) {
                *ret_fate = error_fate(error->name, r);
                return r;
        }

        bus = operation->client->loop.connection->bus;
        r = call_new_message(&operation->call, bus, &message, error);
        if (r < 0) {
                *ret_fate = FATE_ANSWERED;
                return r;
        }

        operation->due = UINT64_MAX;
        operation->answer_by = now_usec() + timeout;
        r = sd_bus_call_async(bus, &operation->slot, message, operation_on_reply, operation, timeout);
        sd_bus_message_unref(message);
        if (r < 0) {
                /* Nothing was sent, so it can be sent again. */
                *ret_fate = error_fate(NULL, r) == FATE_LOST ? FATE_UNDELIVERED : FATE_ANSWERED;
                return sd_bus_error_set_errnof(error, r, "cannot call the daxbroker service");
        }

        return 0;
}

/* Returns 0 if it is on its way or waits, else its final error; it still is the caller's then. */
static int operation_try(Operation *operation) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        Fate fate = FATE_ANSWERED;
        int r;

        r = operation_send(operation, &error, &fate);
        if (r < 0)
                r = operation_retry(operation, fate, r) ? 0 : call_fail(&operation->call, fate, &error, r);

        sd_bus_error_free(&error);
        return r;
}

uint64_t operation_next_due(const daxbroker_client *client) {
        uint64_t due = UINT64_MAX;

        for (const Operation *operation = client->loop.operations; operation; operation = operation->next)
                if (operation->due < due)
                        due = operation->due;

        return due;
}

static void operation_go_on_after_loss(Operation *operation) {
        const sd_bus_error error = SD_BUS_ERROR_MAKE_CONST(SD_BUS_ERROR_DISCONNECTED, NULL);
        int lost = operation->lost;

        operation->lost = 0;
        if (lost == -EMFILE)
                operation_finish(operation, NULL, error_set_errno(lost, "the call to the daxbroker service failed"));
        else if (!operation_retry(operation, FATE_LOST, 0))
                operation_finish(operation, NULL, call_fail(&operation->call, FATE_LOST, &error, 0));
}

bool operation_run_due(daxbroker_client *client) {
        uint64_t now = now_usec();
        Operation *operation = client->loop.operations;
        int r;

        while (operation && operation->due > now)
                operation = operation->next;

        if (!operation)
                return false;

        if (operation->lost < 0) {
                operation_go_on_after_loss(operation);
                return true;
        }

        r = operation_try(operation);
        if (r < 0)
                operation_finish(operation, NULL, r);

        return true;
}

void operation_lose_all(daxbroker_client *client, int error) {
        for (Operation *operation = client->loop.operations; operation; operation = operation->next)
                if (operation->slot) {
                        operation->slot = sd_bus_slot_unref(operation->slot);
                        operation->lost = error;
                        operation->due = 0;
                }
}

void operation_forget_all(daxbroker_client *client) {
        Loop *loop = &client->loop;
        bool ours = loop->connection && connection_is_ours(loop->connection);

        while (loop->operations) {
                Operation *operation = loop->operations;

                operation_unlink(operation);
                /* Slots go with their bus, and in a child neither can be freed. */
                if (ours)
                        sd_bus_slot_unref(operation->slot);
                operation_free(operation);
        }
}

/* Takes over the operation, whose arguments are in place. */
static int operation_start(Operation *operation, daxbroker_client *client,
                           daxbroker_allocation_callback callback, void *userdata) {
        int r;

        operation->client = client;
        operation->callback = callback;
        operation->userdata = userdata;

        r = operation_try(operation);
        if (r < 0) {
                operation_free(operation);
                return r;
        }

        operation_link(operation);
        return 0;
}

_public_ int daxbroker_allocate_async(daxbroker_client *client, const daxbroker_request *request,
                                      daxbroker_allocation_callback callback, void *userdata) {
        Operation *operation;
        Call call;
        int r;

        if (!client || !callback)
                return error_set(-EINVAL, "an asynchronous call needs a client of one's own and a callback");

        r = allocation_call_allocate(request, &call);
        if (r < 0)
                return r;

        operation = calloc(1, sizeof(*operation));
        if (!operation)
                return error_set(-ENOMEM, "out of memory");

        r = request_copy(request, &operation->request);
        if (r < 0) {
                operation_free(operation);
                return r;
        }

        operation->call = call;
        operation->call.arguments = operation->request;
        return operation_start(operation, client, callback, userdata);
}

_public_ int daxbroker_open_async(daxbroker_client *client, const char *name, uint64_t flags,
                                  daxbroker_allocation_callback callback, void *userdata) {
        Operation *operation;
        int r;

        if (!client || !callback)
                return error_set(-EINVAL, "an asynchronous call needs a client of one's own and a callback");

        operation = calloc(1, sizeof(*operation));
        if (!operation)
                return error_set(-ENOMEM, "out of memory");

        operation->open.flags = flags;
        operation->open.name = name ? strdup(name) : NULL;
        if (name && !operation->open.name) {
                operation_free(operation);
                return error_set(-ENOMEM, "out of memory");
        }

        r = allocation_call_open(&operation->open, &operation->call);
        if (r < 0) {
                operation_free(operation);
                return r;
        }

        return operation_start(operation, client, callback, userdata);
}
