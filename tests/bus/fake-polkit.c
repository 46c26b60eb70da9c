/* SPDX-License-Identifier: MIT */

/* A process of its own, which shares a page with the test: what it is to do stands there, and what it has seen. */

#include "fake-polkit.h"

#include <errno.h>
#include <glib.h>
#include <linux/close_range.h>
#include <pwd.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "polkit.h"
#include "world.h"

#define BUS_NAME "org.freedesktop.PolicyKit1"
#define BUS_PATH "/org/freedesktop/PolicyKit1/Authority"
#define HELD_MAX 64

typedef struct Shared {
        atomic_int answer;
        atomic_bool holds;
        atomic_uint n_held, n_questions, n_dialogs, n_changes, n_changed;
} Shared;

static Shared *shared;
static pid_t fake;

/* ---- The process ---- */

static sd_bus_message *held[HELD_MAX];

static int answer(sd_bus_message *question) {
        uint32_t flags;
        bool yes = false, challenge = false;
        const char *key = NULL;

        switch ((FakeAnswer) shared->answer) {
        case FAKE_YES:
                yes = true;
                break;
        case FAKE_NO:
                break;
        case FAKE_CHALLENGE:
                g_assert_cmpint(sd_bus_message_rewind(question, 1), >=, 0);
                g_assert_cmpint(sd_bus_message_skip(question, "(sa{sv})sa{ss}"), >=, 0);
                g_assert_cmpint(sd_bus_message_read(question, "u", &flags), >=, 0);
                yes = flags & 1;
                challenge = !yes;
                break;
        case FAKE_TEMPORARY:
                yes = true;
                key = "polkit.temporary_authorization_id";
                break;
        case FAKE_RETAINED:
                yes = true;
                key = "polkit.retains_authorization_after_challenge";
                break;
        case FAKE_ERROR:
                return sd_bus_reply_method_errorf(question, BUS_NAME ".Error.Failed", "it has failed");
        }

        /* the first is one that it was told, which polkitd repeats */
        return key ? sd_bus_reply_method_return(question, "(bba{ss})", yes, challenge, 2, "polkit.message", "1", key, "1")
                   : sd_bus_reply_method_return(question, "(bba{ss})", yes, challenge, 1, "polkit.message", "1");
}

static int on_question(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *action;
        uint32_t flags;

        (void) userdata;
        (void) error;
        g_assert_cmpint(sd_bus_message_skip(message, "(sa{sv})"), >=, 0);
        g_assert_cmpint(sd_bus_message_read(message, "s", &action), >=, 0);
        if (g_str_equal(action, "org.daxbroker1.inspect-other"))
                return sd_bus_reply_method_return(message, "(bba{ss})", true, false, 0);
        g_assert_cmpint(sd_bus_message_skip(message, "a{ss}"), >=, 0);
        g_assert_cmpint(sd_bus_message_read(message, "u", &flags), >=, 0);
        if (flags & 1)
                shared->n_dialogs++;
        shared->n_questions++;
        if (!shared->holds)
                return answer(message);

        g_assert_cmpuint(shared->n_held, <, HELD_MAX);
        held[shared->n_held] = sd_bus_message_ref(message);
        shared->n_held++;
        return 1;
}

static int on_cancel(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        (void) userdata;
        (void) error;
        return sd_bus_reply_method_return(message, NULL);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", on_question, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("CancelCheckAuthorization", "s", NULL, on_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_SIGNAL("Changed", NULL, 0),
        SD_BUS_VTABLE_END,
};

static void do_as_told(sd_bus *bus) {
        if (shared->n_changed != shared->n_changes) {
                g_assert_cmpint(sd_bus_emit_signal(bus, BUS_PATH, BUS_NAME ".Authority", "Changed", NULL), >=, 0);
                g_assert_cmpint(sd_bus_flush(bus), >=, 0);
                shared->n_changed++;
        }
        if (!shared->holds)
                while (shared->n_held > 0) {
                        sd_bus_message *message = held[shared->n_held - 1];

                        g_assert_cmpint(answer(message), >=, 0);
                        sd_bus_message_unref(message);
                        shared->n_held--;
                }
}

/* Only this user may have the name; it was root once. */
static void become_polkitd(void) {
        const struct passwd *user = getpwnam("polkitd");

        if (!user)
                return;
        g_assert_cmpint(setresgid(user->pw_gid, user->pw_gid, user->pw_gid), ==, 0);
        g_assert_cmpint(setresuid(user->pw_uid, user->pw_uid, user->pw_uid), ==, 0);
}

static void fake_run(void) {
        sd_bus *bus = NULL;
        int r;

        g_assert_cmpint(close_range(3, ~0U, 0), ==, 0); /* among them what users wait for the end of */
        become_polkitd();
        g_assert_cmpint(prctl(PR_SET_PDEATHSIG, SIGKILL), ==, 0);
        g_assert_cmpint(sd_bus_open_system(&bus), >=, 0);
        g_assert_cmpint(sd_bus_add_object_vtable(bus, NULL, BUS_PATH, BUS_NAME ".Authority", vtable, NULL), >=, 0);
        g_assert_cmpint(sd_bus_request_name(bus, BUS_NAME, 0), >=, 0);
        for (;;) {
                do_as_told(bus);
                r = sd_bus_process(bus, NULL);
                g_assert_cmpint(r, >=, 0);
                if (r == 0)
                        (void) sd_bus_wait(bus, 2000);
        }
}

/* ---- The test ---- */

void fake_polkit_start(void) {
        polkit_kill();
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        g_assert_true(shared != MAP_FAILED);
        fake = world_fork();
        g_assert_cmpint(fake, >=, 0);
        if (fake == 0) {
                fake_run();
                _exit(EXIT_FAILURE);
        }
        g_assert_true(bus_wait_name(BUS_NAME, true, 20));
}

void fake_polkit_stop(void) {
        int status;

        g_assert_cmpint(kill(fake, SIGKILL), ==, 0);
        g_assert_cmpint(waitpid(fake, &status, 0), ==, fake);
        g_assert_true(bus_wait_name(BUS_NAME, false, 20));
        g_assert_cmpint(munmap(shared, sizeof(*shared)), ==, 0);
        polkit_start();
}

void fake_polkit_set_answer(FakeAnswer new_answer) {
        shared->answer = (int) new_answer;
}

void fake_polkit_hold(void) {
        shared->holds = true;
}

void fake_polkit_wait_held(unsigned n) {
        g_assert_true(wait_until(20, shared->n_held == n));
}

void fake_polkit_release(void) {
        shared->holds = false;
        g_assert_true(wait_until(20, shared->n_held == 0));
}

void fake_polkit_change(void) {
        unsigned n = ++shared->n_changes;

        g_assert_true(wait_until(20, shared->n_changed == n));
}

unsigned fake_polkit_take_questions(void) {
        return atomic_exchange(&shared->n_questions, 0);
}

unsigned fake_polkit_take_dialogs(void) {
        return atomic_exchange(&shared->n_dialogs, 0);
}
