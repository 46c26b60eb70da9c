/* SPDX-License-Identifier: MIT */

/* Each question belongs to a call and is asked for it once. polkit is asked asynchronously, so that one client's dialog or
 * a rule that takes its time delays nobody else's memory, only, at worst, other decisions.
 *
 * Questions are queued here and put to polkit a limited number at a time: the bus allows a connection only so many calls
 * without an answer. Those that may take a dialog have a queue and a limit of their own, because people are slow. In a
 * queue users take turns: one of them with a thousand questions does not delay another's first.
 *
 * Everything but a plain yes is a no: an error, a time-out, a challenge that nobody may answer. There is no exception for
 * uid 0 or our own uid. The subject is the caller's unique name on the bus. Who is connected directly has none; then it is
 * his process, and as that is known to polkit by its pid, it has to be there before the question and after the answer.
 *
 * Every question is first asked without a dialog, also where there may be one; then again, with it, if that is what polkit
 * wants. So a yes to the first is known to be that of the rules, and is kept for a while (decision.h). A yes that came by a
 * dialog, or rests on one that polkit remembers, is not: whoever typed the password has said how often it counts. All that
 * was kept is dropped when polkit says that something has changed, when it comes or goes, and when the configuration is read
 * again; also what was asked before and is answered afterwards. */

#include "authorize.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-bus.h>
#include <utlist.h>

#include "call-bus.h"
#include "clock.h"
#include "log.h"
#include "server-bus.h"

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"
#define ALLOW_USER_INTERACTION UINT32_C(1)

/* A person needs time to find the password. */
#define DIALOG_USEC (300 * UINT64_C(1000000))

/* Together well below the 128 that dbus-daemon allows. */
static const unsigned asked_max[2] = { 64, 32 };
static const unsigned asked_per_user_max[2] = { 64, 4 };

typedef enum QuestionState {
        QUESTION_QUEUED,
        QUESTION_ASKED,
        QUESTION_ANSWERED,
} QuestionState;

/* A question as polkit and the bus have it. It outlives one that nobody waits for any more: until polkit has answered, the
 * bus counts it among our calls without an answer, and so must we. */
typedef struct Inquiry {
        Server *server;
        Question *question; /* NULL if nobody waits for it */
        User *user;         /* owned reference */
        unsigned interactive;
        sd_bus_slot *slot;
        struct Inquiry *prev, *next;
} Inquiry;

struct Question {
        Call *call;
        QuestionState state;
        bool may_dialog;      /* if polkit wants one */
        unsigned interactive; /* it was wanted, and: which of the two queues */
        unsigned rank;        /* how many of its user's questions were there before */
        uint64_t id;
        char *action;
        Details details;
        char cancel_id[32];
        Inquiry *inquiry; /* while it is asked */
        uint64_t asked, generation; /* when, of the clock and of what is kept */
        sd_event_source *deadline;
        int answer; /* 0 for yes */
        Failure failure;
        Question *prev, *next;
};

static Inquiry *inquiry_free(Inquiry *inquiry) {
        Authority *authority = &inquiry->server->authority;

        DL_DELETE(authority->inquiries, inquiry);
        authority->n_asked[inquiry->interactive]--;
        inquiry->user->n_asked[inquiry->interactive]--;
        user_unref(inquiry->user);
        sd_bus_slot_unref(inquiry->slot);
        free(inquiry);
        return NULL;
}

static void inquiry_cancel(const Inquiry *inquiry, const char *cancel_id) {
        sd_bus_message *m = NULL;

        if (sd_bus_message_new_method_call(inquiry->server->bus, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                           "CancelCheckAuthorization") >= 0 &&
            sd_bus_message_set_expect_reply(m, false) >= 0 && sd_bus_message_set_auto_start(m, false) >= 0 &&
            sd_bus_message_append(m, "s", cancel_id) >= 0)
                (void) sd_bus_send(NULL, m, NULL);
        sd_bus_message_unref(m);
}

/* Takes a question out of the queue, or from what was asked; then it has an answer, or needs none. */
static void question_withdraw(Question *question) {
        Authority *authority = &question->call->server->authority;
        User *user = question->call->caller->user;

        if (question->state == QUESTION_ANSWERED)
                return;
        if (question->state == QUESTION_QUEUED)
                DL_DELETE(authority->waiting[question->interactive], question);
        if (question->inquiry) {
                inquiry_cancel(question->inquiry, question->cancel_id);
                question->inquiry->question = NULL;
                question->inquiry = NULL;
        }
        user->n_questions[question->interactive]--;
        question->deadline = sd_event_source_disable_unref(question->deadline);
        question->state = QUESTION_ANSWERED;
}

Question *question_free(Question *question) {
        User *user;

        if (!question)
                return NULL;

        user = question->call->caller->user;

        question_withdraw(question);
        user->wanted_bytes -= question->details.wanted_bytes;
        user->wanted_count -= question->details.wanted_count;
        free(question->action);
        free(question);
        return NULL;
}

static void question_answer(Question *question, int answer) {
        question_withdraw(question);
        question->answer = answer;
        call_again(question->call);
}

static bool details_have(const Details *details, const char *key) {
        for (unsigned i = 0; i < details->n; i++)
                if (strcmp(details->items[i].key, key) == 0)
                        return true;

        return false;
}

/* Beside a yes polkit repeats what it was told, and says if somebody has typed a password for it, now or earlier. */
static bool is_plain(sd_bus_message *m, const Details *told) {
        const char *key, *value;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{ss}");
        while (r >= 0 && (r = sd_bus_message_read(m, "{ss}", &key, &value)) > 0)
                if (strncmp(key, "polkit.", strlen("polkit.")) == 0 && !details_have(told, key))
                        return false;

        return r >= 0;
}

static void question_keep(const Question *question, const char *polkit) {
        const Call *call = question->call;
        Authority *authority = &call->server->authority;
        char key[DETAILS_KEY_MAX];
        size_t size;

        size = details_key(&question->details, question->action, key);
        if (size == 0 || !polkit)
                return;

        (void) snprintf(authority->polkit, sizeof(authority->polkit), "%s", polkit);
        decisions_keep(&authority->decisions, (DecisionSubject){ call->caller, call->caller->user->uid }, key, size,
                       question->asked, question->generation, now_boottime(),
                       call->server->manager->config->decision_lifetime);
}

/* What polkit says, as 0 or a refusal. 1: it wants a dialog, which there may be. */
static int read_answer(Question *question, sd_bus_message *m) {
        const sd_bus_error *error = sd_bus_message_get_error(m);
        int authorized, challenge, r;

        if (error)
                return failure_set(&question->failure, REFUSAL_AuthorityUnavailable, "polkit could not be asked for %s: %s",
                                   question->action, error->message ? error->message : error->name);

        r = sd_bus_message_enter_container(m, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(m, "bb", &authorized, &challenge);
        if (r < 0)
                return failure_set(&question->failure, REFUSAL_AuthorityUnavailable,
                                   "polkit's answer about %s cannot be understood", question->action);

        if (authorized) {
                if (!challenge && !question->interactive && is_plain(m, &question->details))
                        question_keep(question, sd_bus_message_get_sender(m));
                return 0;
        }
        if (challenge && question->may_dialog && !question->interactive)
                return 1;
        if (challenge)
                return failure_set(&question->failure, REFUSAL_AuthenticationRequired,
                                   question->interactive
                                                   ? "polkit wants a password for %s, and there is nobody to ask for it"
                                                   : "polkit wants a password for %s; allow interactive authorization",
                                   question->action);
        return failure_set(&question->failure, REFUSAL_NotAuthorized,
                           "polkit does not allow %s to user %" PRIu32 "; an administrator can, with a rule",
                           question->action, (uint32_t) question->call->caller->user->uid);
}

static int question_compare(const Question *a, const Question *b) {
        if (a->rank != b->rank)
                return a->rank < b->rank ? -1 : 1;
        return a->id < b->id ? -1 : a->id > b->id;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        Question *question = userdata;

        (void) source;
        (void) usec;
        question_answer(question, failure_set(&question->failure, REFUSAL_AuthorityUnavailable,
                                              "polkit has not answered about %s in time", question->action));
        return 0;
}

/* Into the queue. */
static int question_enqueue(Question *question) {
        Server *server = question->call->server;
        unsigned interactive = question->interactive;
        int r;

        r = sd_event_add_time_relative(server->manager->event, &question->deadline, CLOCK_MONOTONIC,
                                       interactive ? DIALOG_USEC : server->manager->config->polkit_timeout, 0, on_deadline,
                                       question);
        if (r < 0)
                return r;

        question->state = QUESTION_QUEUED;
        /* a user's second question stands behind everybody's first */
        question->rank = question->call->caller->user->n_questions[interactive]++;
        DL_INSERT_INORDER(server->authority.waiting[interactive], question, question_compare);
        return 0;
}

static void question_ask_with_dialog(Question *question) {
        int r;

        question_withdraw(question);
        question->interactive = true;
        r = question_enqueue(question);
        if (r < 0)
                question_answer(question, failure_set_errno(&question->failure, r, "cannot ask polkit"));
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        Inquiry *inquiry = userdata;
        Question *question = inquiry->question;
        Server *server = inquiry->server;

        (void) ret_error;
        /* Without the bus this broker ends, and who is connected directly asks the next one. */
        if (sd_bus_is_open(server->bus) <= 0)
                return 0;

        inquiry_free(inquiry);
        if (question) {
                int answer;

                question->inquiry = NULL;
                answer = caller_identify(question->call->caller, &question->failure);
                if (answer >= 0)
                        answer = read_answer(question, m);
                log_debug("polkit says about %s for %s: %s", question->action, question->call->caller->name,
                          answer < 0   ? question->failure.text
                          : answer > 0 ? "it takes a dialog"
                                       : "yes");
                if (answer > 0)
                        question_ask_with_dialog(question);
                else
                        question_answer(question, answer);
        }

        authority_ask_next(server);
        return 0;
}

static int question_put(Question *question, Inquiry *inquiry) {
        Server *server = inquiry->server;
        sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(server->bus, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                           "CheckAuthorization");
        if (r >= 0)
                r = caller_append_subject(question->call->caller, m);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", question->action);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{ss}");
        for (unsigned i = 0; r >= 0 && i < question->details.n; i++)
                r = sd_bus_message_append(m, "{ss}", question->details.items[i].key, question->details.items[i].value);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "us", question->interactive ? ALLOW_USER_INTERACTION : 0, question->cancel_id);
        log_debug("asking polkit about %s for %s", question->action, question->call->caller->name);
        question->asked = now_boottime();
        question->generation = server->authority.decisions.generation;
        if (r >= 0) /* the deadline is ours */
                r = sd_bus_call_async(server->bus, &inquiry->slot, m, on_answer, inquiry, UINT64_MAX);
        sd_bus_message_unref(m);
        return r;
}

static int question_ask(Question *question) {
        Server *server = question->call->server;
        User *user = question->call->caller->user;
        Inquiry *inquiry;
        int r;

        inquiry = calloc(1, sizeof(*inquiry));
        if (!inquiry)
                return -ENOMEM;

        inquiry->server = server;
        inquiry->user = user_ref(user);
        inquiry->interactive = question->interactive;
        DL_APPEND(server->authority.inquiries, inquiry);
        server->authority.n_asked[question->interactive]++;
        user->n_asked[question->interactive]++;

        r = question_put(question, inquiry);
        if (r < 0) {
                inquiry_free(inquiry);
                return r;
        }

        inquiry->question = question;
        question->inquiry = inquiry;
        return 0;
}

/* The first question whose user has room. */
static Question *authority_find_next(const Authority *authority, unsigned interactive) {
        Question *question;

        DL_FOREACH(authority->waiting[interactive], question)
                if (question->call->caller->user->n_asked[interactive] < asked_per_user_max[interactive])
                        return question;

        return NULL;
}

/* Puts questions to polkit as long as there is room. */
void authority_ask_next(Server *server) {
        Authority *authority = &server->authority;
        Question *question;

        if (server->stopping || sd_bus_is_open(server->bus) <= 0)
                return;

        for (unsigned interactive = 0; interactive < 2; interactive++)
                while (authority->n_asked[interactive] < asked_max[interactive] &&
                       (question = authority_find_next(authority, interactive))) {
                        int r;

                        DL_DELETE(authority->waiting[interactive], question);
                        question->state = QUESTION_ASKED;
                        r = question_ask(question);
                        if (r < 0)
                                question_answer(question, failure_set_errno(&question->failure, r, "cannot ask polkit"));
                }
}

void authority_done(Authority *authority) {
        while (authority->inquiries)
                inquiry_free(authority->inquiries);
        decisions_drop(&authority->decisions);
}

/* Anybody may send signals. What is kept was said by this one, so that nobody else's word can change it. */
static int on_polkit_changed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *sender = sd_bus_message_get_sender(m);
        Server *server = userdata;

        (void) ret_error;
        if (sender && (server->authority.polkit[0] == '\0' || strcmp(sender, server->authority.polkit) == 0))
                decisions_drop(&server->authority.decisions);
        return 0;
}

static int on_polkit_owner(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *sender = sd_bus_message_get_sender(m);
        Server *server = userdata;

        (void) ret_error;
        if (!sender || strcmp(sender, "org.freedesktop.DBus") != 0)
                return 0;

        server->authority.polkit[0] = '\0';
        decisions_drop(&server->authority.decisions);
        return 0;
}

int authority_watch(Server *server) {
        static const struct {
                const char *rule;
                sd_bus_message_handler_t handler;
        } matches[] = {
                { "type='signal',sender='" POLKIT_NAME "',path='" POLKIT_PATH "',interface='" POLKIT_INTERFACE
                  "',member='Changed'", on_polkit_changed },
                { "type='signal',sender='org.freedesktop.DBus',path='/org/freedesktop/DBus',"
                  "interface='org.freedesktop.DBus',member='NameOwnerChanged',arg0='" POLKIT_NAME "'", on_polkit_owner },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < sizeof(matches) / sizeof(matches[0]); i++)
                r = sd_bus_add_match(server->bus, NULL, matches[i].rule, matches[i].handler, server);
        return r;
}

/* Whether polkit has said yes to the same question a moment ago. */
static bool is_decided(const Call *call, const char *action, const Details *details) {
        const Server *server = call->server;
        char key[DETAILS_KEY_MAX];
        size_t size;

        if (server->manager->config->decision_lifetime == 0)
                return false;

        size = details_key(details, action, key);
        return size > 0 && decisions_have(&server->authority.decisions, call->caller, key, size, now_boottime(),
                                          server->manager->config->decision_lifetime);
}

static int question_new(Call *call, const char *action, const Details *details, bool interactive) {
        Server *server = call->server;
        Authority *authority = &server->authority;
        User *user = call->caller->user;
        Question *question;
        int r;

        question = calloc(1, sizeof(*question));
        if (!question)
                return -ENOMEM;

        question->call = call;
        question->action = strdup(action);
        question->details = *details;
        question->may_dialog = interactive;
        question->id = authority->next_id++;
        (void) snprintf(question->cancel_id, sizeof(question->cancel_id), "daxbroker-%" PRIu64, question->id);
        r = question->action ? question_enqueue(question) : -ENOMEM;
        if (r < 0) {
                free(question->action);
                free(question);
                return r;
        }

        user->wanted_bytes += details->wanted_bytes;
        user->wanted_count += details->wanted_count;
        call->question = question;
        authority_ask_next(server);
        return 0;
}

int authorize(Call *call, const char *action, const Details *details, bool interactive, Failure *failure) {
        Question *question = call->question;
        int r;

        interactive = interactive && sd_bus_message_get_allow_interactive_authorization(call->message) > 0;

        if (question && (strcmp(question->action, action) != 0 || !details_equal(&question->details, details)))
                /* the world has changed while polkit was thinking: this is another question */
                question = call->question = question_free(question);

        if (!question) {
                r = caller_identify(call->caller, failure);
                if (r >= 0 && is_decided(call, action, details))
                        return CALL_DONE;
                if (r >= 0)
                        r = call_count(call, failure);
                if (r < 0)
                        return r;
                r = question_new(call, action, details, interactive);
                if (r < 0)
                        return failure_set_errno(failure, r, "cannot ask polkit");
                return CALL_WAITS;
        }

        if (question->state != QUESTION_ANSWERED)
                return CALL_WAITS;
        if (question->answer < 0) {
                *failure = question->failure;
                return question->answer;
        }

        return CALL_DONE;
}
