/* SPDX-License-Identifier: MIT */

/* Handlers are written as if everything they need to know could be asked for at once. Where it cannot (who the caller is,
 * what polkit says, whether memory on its way back suffices), the handler returns CALL_WAITS, and when the answer is there
 * the message is queued again and the handler runs from the top: it reads, validates and looks up anew, so that it never
 * works with what has changed meanwhile. The call object keeps the answers between the runs, and is found by its message.
 *
 * A call exists from its first run to the end of the last, or until its caller leaves the bus. */

#include "call-bus.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "authorize.h"
#include "clock.h"
#include "peer-bus.h"
#include "server-bus.h"

/* Calls of one connection that may wait for the bus to say whose they are: more than anybody sends at once who means well,
 * for that takes the bus no time unless something is wrong with it. */
#define CALLS_UNKNOWN_MAX 4096U

/* Of a call that waits. None of ours has nearly that much. */
#define ARGUMENTS_MAX ((size_t) 16 * 1024)

#define REFUSALS_LOGGED 100U
#define REFUSAL_WINDOW_USEC (10 * UINT64_C(1000000))

/* Large memory takes a while to be cleaned. Callers of D-Bus give up after 25 seconds. */
#define SPACE_USEC (15 * UINT64_C(1000000))
#define MEDIA_USEC (5 * UINT64_C(1000000))

Call *call_from_waiter(Waiter *waiter) {
        return (Call *) (void *) ((char *) waiter - offsetof(Call, waiter));
}

/* With him a thousand others of his may have been woken, to find that there still is nothing for them. */
static void on_wake(Waiter *waiter) {
        (void) call_yield(call_from_waiter(waiter));
}

static int call_new(Server *server, sd_bus_message *message, Call **ret) {
        Caller *caller;
        Call *call;
        int r;

        r = caller_get(server, message, &caller);
        if (r < 0)
                return r;

        call = calloc(1, sizeof(*call));
        if (!call)
                return -ENOMEM;

        call->server = server;
        call->message = sd_bus_message_ref(message);
        call->caller = caller;
        call->began = now_usec();
        call->waiter.wake = on_wake;
        DL_APPEND(caller->calls, call);
        caller->n_calls++;
        HASH_ADD_PTR(server->calls, message, call);
        *ret = call;
        return 0;
}

Call *call_free(Call *call) {
        if (!call)
                return NULL;

        waiter_remove(&call->waiter);
        call_end_list(call);
        question_free(call->question);
        sd_event_source_disable_unref(call->patience);
        user_unref(call->subject);
        if (call->counted)
                call->caller->user->n_pending--;
        if (call->again)
                DL_DELETE2(call->caller->peer->again, call, again_prev, again_next);
        DL_DELETE(call->caller->calls, call);
        call->caller->n_calls--;
        HASH_DEL(call->server->calls, call);
        sd_bus_message_unref(call->message);
        free(call);
        return NULL;
}

int call_count(Call *call, Failure *failure) {
        User *user = call->caller->user;
        uint64_t max = call->server->manager->config->max_pending_per_user;

        if (call->counted)
                return 0;
        if (user->n_pending >= max)
                return failure_set(failure, REFUSAL_TooManyRequests,
                                   "user %" PRIu32 " has as many requests waiting as MaxPendingPerUser= allows, %" PRIu64,
                                   (uint32_t) user->uid, user->n_pending);

        user->n_pending++;
        call->counted = true;
        return 0;
}

int call_wait(Call *call, Waiter **list, Failure *failure) {
        int r;

        r = call_count(call, failure);
        if (r < 0)
                return r;

        waiter_remove(&call->waiter);
        waiter_add(list, &call->waiter);
        return CALL_WAITS;
}

int call_yield(Call *call) {
        User *user = call->caller->user;

        waiter_remove(&call->waiter);
        waiter_add(&user->waiting_for_turn, &call->waiter);
        server_give_turn(call->server, user);
        return CALL_WAITS;
}

static int on_impatient(sd_event_source *source, uint64_t usec, void *userdata) {
        Call *call = userdata;

        (void) source;
        (void) usec;
        call->impatient = true;
        if (call->waiter.list) {
                waiter_remove(&call->waiter);
                call_again(call);
        }
        return 0;
}

static int wait_for(Call *call, uint64_t usec, int r, Failure *failure) {
        Manager *manager = call->server->manager;

        if (call->impatient)
                return r;
        if (!call->patience && sd_event_add_time_relative(manager->event, &call->patience, CLOCK_MONOTONIC, usec, 0,
                                                          on_impatient, call) < 0)
                return r;

        return call_wait(call, &manager->waiting_for_space, failure);
}

int call_wait_for_space(Call *call, int r, Failure *failure) {
        return wait_for(call, SPACE_USEC, r, failure);
}

int call_wait_for_media(Call *call, int r, Failure *failure) {
        return wait_for(call, MEDIA_USEC, r, failure);
}

/* Adds up what is to be read; what is not, is refused by whoever reads it. 0 when there is nothing more. */
static int measure(sd_bus_message *m, size_t *left) {
        const char *contents;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(m, &type, &contents)) > 0) {
                union {
                        const char *text;
                        uint64_t number;
                } value = { 0 };
                size_t size = sizeof(value);

                if (contents)
                        r = sd_bus_message_enter_container(m, type, contents);
                else
                        r = sd_bus_message_read_basic(m, type, &value);
                if (r < 0)
                        return r;

                if (type == SD_BUS_TYPE_STRING || type == SD_BUS_TYPE_OBJECT_PATH || type == SD_BUS_TYPE_SIGNATURE)
                        size += strlen(value.text);
                if (size > *left)
                        return -EMSGSIZE;
                *left -= size;

                if (contents) {
                        r = measure(m, left);
                        if (r >= 0)
                                r = sd_bus_message_exit_container(m);
                        if (r < 0)
                                return r;
                }
        }
        return r;
}

/* What waits is kept, and the bus lets a message have 32 MiB. */
static int call_check_size(Call *call, Failure *failure) {
        size_t left = ARGUMENTS_MAX;
        int r;

        if (call->measured || call->caller->peer)
                return 0;

        (void) sd_bus_message_rewind(call->message, true);
        r = measure(call->message, &left);
        if (r < 0)
                return failure_set(failure, REFUSAL_BadOption, "the call cannot be read: %s",
                                   r == -EMSGSIZE ? "its arguments are too long" : strerror(-r));
        call->measured = true;
        return 0;
}

void call_again(Call *call) {
        int r;

        if (call->caller->peer) {
                peer_run_again(call->caller->peer, call);
                return;
        }

        /* This fails if we are off the bus, or out of memory: nothing that a restart would not cure. */
        r = sd_bus_enqueue_for_read(call->server->bus, call->message);
        if (r < 0) {
                log_error("cannot process a call again: %s", strerror(-r));
                (void) sd_event_exit(call->server->manager->event, EXIT_FAILURE);
        }
}

void reply_refusal(sd_bus_message *message, int r, const Failure *failure) {
        const char *name = refusal_to_bus_name(failure->refusal);

        if (!name)
                r = sd_bus_reply_method_errnof(message, r, "%s", strerror(-r));
        else
                r = sd_bus_reply_method_errorf(message, name, "%s", failure->text);
        if (r < 0)
                log_debug("cannot answer %s: %s", sd_bus_message_get_sender(message), strerror(-r));
}

/* Refusals cost their caller nothing, so he could fill the log with them and push out what others need to see. Users share
 * a few counters by uid; grants and ends, which are limited by quotas, are always logged. */
static bool refusal_is_logged(Server *server, uid_t uid) {
        RefusalCount *count = &server->refusals[uid % REFUSAL_COUNTS];
        uint64_t now = 0;

        (void) sd_event_now(server->manager->event, CLOCK_MONOTONIC, &now);
        if (now - count->since >= REFUSAL_WINDOW_USEC) {
                if (count->n > REFUSALS_LOGGED)
                        log_notice("refusals of user %u, or of others with him, that were not logged: %u", (unsigned) uid,
                                   count->n - REFUSALS_LOGGED);
                *count = (RefusalCount){ .since = now };
        }

        return count->n++ < REFUSALS_LOGGED;
}

static void log_refusal(const Call *call, const Failure *failure) {
        const Caller *caller = call->caller;
        LogFields fields = call->about;

        if (!refusal_is_logged(call->server, caller->user->uid))
                return;

        fields.event = "refusal";
        fields.uid = &caller->user->uid;
        fields.unit = caller->unit;
        fields.decision = refusal_to_bus_name(failure->refusal);
        log_record(LOG_INFO, &fields, "%s refused: %s", sd_bus_message_get_member(call->message), failure->text);
}

int call_run(Server *server, sd_bus_message *message, CallHandler handler) {
        Failure failure = { 0 };
        Call *call;
        int r;

        HASH_FIND_PTR(server->calls, &message, call);
        if (!call) {
                r = call_new(server, message, &call);
                if (r < 0) {
                        (void) failure_set_errno(&failure, r, "cannot process the call");
                        reply_refusal(message, r, &failure);
                        return 1;
                }
        }

        if (!call->caller->user) {
                if (call->caller->n_calls > CALLS_UNKNOWN_MAX) {
                        r = failure_set(&failure, REFUSAL_TooManyRequests,
                                        "%u calls came before it was known who you are; wait for an answer to the first",
                                        CALLS_UNKNOWN_MAX);
                        reply_refusal(message, r, &failure);
                        call_free(call);
                        return 1;
                }
                waiter_remove(&call->waiter);
                waiter_add(&call->caller->waiters, &call->waiter);
                return 1;
        }

        call->about = (LogFields){ 0 };
        r = handler(call, &failure);
        if (r == CALL_WAITS)
                r = call_check_size(call, &failure);
        if (r == CALL_WAITS)
                return 1;
        if (r < 0) {
                if (failure.refusal == REFUSAL_NONE)
                        (void) failure_set_errno(&failure, r, "cannot process the call");
                log_refusal(call, &failure);
                reply_refusal(message, r, &failure);
        }

        call_free(call);
        return r == CALL_PASS ? 0 : 1;
}

int call_dispatch_among(Server *server, sd_bus_message *message, const Method *methods, size_t n_methods) {
        const char *member = sd_bus_message_get_member(message);

        for (size_t i = 0; i < n_methods; i++)
                if (strcmp(methods[i].member, member) == 0)
                        return call_run(server, message, methods[i].handler);

        return -ENOSYS;
}
