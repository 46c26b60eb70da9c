/* SPDX-License-Identifier: MIT */

/* What the broker takes from itself, as the kernel sees it. Everything else is tested with all of it in force. */

#include <glib.h>
#include <glib/gstdio.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define REGION                                                                                                         \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

/* A line of /proc/PID/status of each of the broker's threads has to begin like this. */
static void assert_status(Scene *scene, const char *key, const char *value) {
        g_autofree char *tasks = g_strdup_printf("/proc/%d/task", scene->broker->pid);
        g_autoptr(GDir) directory = g_dir_open(tasks, 0, NULL);
        unsigned n = 0;
        const char *task;

        g_assert_nonnull(directory);
        while ((task = g_dir_read_name(directory))) {
                g_autofree char *path = g_build_filename(tasks, task, "status", NULL), *text = NULL;
                g_autofree char *line = g_strdup_printf("\n%s:\t%s\n", key, value);

                if (!g_file_get_contents(path, &text, NULL, NULL))
                        continue; /* a worker that has left */
                n++;
                if (!strstr(text, line))
                        g_error("%s of thread %s is not %s: %s", key, task, value, text);
        }
        g_assert_cmpuint(n, >=, 2); /* the loop, and at least one worker */
}

/* Every kind of work once, so that a system call that is not allowed would be met. */
static void work(Scene *scene) {
        static const char *const options[] = { NULL, "prefault=1", "name=scratch mode=0644",
                                               "numa-node=0 prefault=1" };

        for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
                Reply reply;

                /* files of which nobody knows where they lie */
                if (i == G_N_ELEMENTS(options) - 1 && provider_is_files() && (int64_t) region_get("dram", "NumaNode") < 0)
                        continue;
                reply = user_allocate(scene->alice, 4 * MIB, i % 2 == 0 ? 1 : 2 * MIB, options[i]);

                reply_assert(reply, "");
                g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
                g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 0), ==, 1);
                reply_assert(user_open_object(scene->alice, reply.object, "read-only=1"), "");
                reply_assert(user_set_mode(scene->alice, reply.object, 0600), "");
                broker_reload(scene->broker);
                reply_assert(user_release(scene->alice, reply.object), "");
                user_drop_all(scene->alice);
        }
        g_assert_true(broker_is_running(scene->broker));
}

static void assert_powerless(Scene *scene) {
        static const char *const sets[] = { "CapInh", "CapPrm", "CapEff", "CapAmb" };
        g_autofree char *uid = g_strdup_printf("%1$u\t%1$u\t%1$u\t%1$u", world_get_uid("daxbroker"));

        for (size_t i = 0; i < G_N_ELEMENTS(sets); i++)
                assert_status(scene, sets[i], "0000000000000000");
        assert_status(scene, "NoNewPrivs", "1");
        assert_status(scene, "Uid", uid);
        assert_status(scene, "Gid", uid);
}

static void test_kill(Scene *scene, const void *unused) {
        (void) unused;
        assert_powerless(scene);
        assert_status(scene, "Seccomp", "2");
        work(scene);
        assert_powerless(scene);
        assert_status(scene, "Seccomp", "2");
}

static void test_log(Scene *scene, const void *unused) {
        (void) unused;
        assert_powerless(scene);
        assert_status(scene, "Seccomp", "2");
        work(scene);
}

static void test_off(Scene *scene, const void *unused) {
        (void) unused;
        g_assert_true(broker_wait_log(scene->broker, 0, "SystemCallFilter=off"));
        assert_powerless(scene);
        assert_status(scene, "Seccomp", "0");
        work(scene);
}

/* A file that everybody may read, but that is none of the broker's business: a link from its configuration leads there. It
 * is the worker's thread that reads it. */
static void test_files(Scene *scene, const void *unused) {
        g_autofree char *folder = g_build_filename(scene->broker->configuration, "daxbroker.conf.d", NULL);
        g_autofree char *link = g_build_filename(folder, "99-elsewhere.conf", NULL);
        g_autofree char *elsewhere = g_strdup_printf("/tmp/test-sandbox-%d.conf", getpid());
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 0) {
                g_test_skip("this kernel has no Landlock");
                return;
        }

        g_assert_true(g_file_set_contents_full(elsewhere, "", 0, G_FILE_SET_CONTENTS_NONE, 0644, NULL));
        g_assert_cmpint(chmod(elsewhere, 0644), ==, 0);
        g_assert_cmpint(g_mkdir_with_parents(folder, 0755), ==, 0);
        g_assert_cmpint(symlink(elsewhere, link), ==, 0);
        broker_reload(scene->broker);
        g_assert_true(broker_wait_log(scene->broker, mark,
                                      "^warning: .*99-elsewhere.conf: cannot be read.*Permission denied"));
        g_assert_cmpint(unlink(link), ==, 0);
        g_assert_cmpint(unlink(elsewhere), ==, 0);
        work(scene);
}

/* ---- Started with more than it should have ------------------------------------------------------------------------ */

static void set_environment(Scene *scene) {
        g_assert_cmpint(setenv("RUNTIME_DIRECTORY", scene->broker->runtime, 1), ==, 0);
        g_assert_cmpint(setenv("CONFIGURATION_DIRECTORY", scene->broker->configuration, 1), ==, 0);
        g_assert_cmpint(unsetenv("NOTIFY_SOCKET"), ==, 0);
}

static void test_root(Scene *scene, const void *unused) {
        const char *argv[] = { g_getenv("DAXBROKERD"), NULL };
        g_autofree char *output = NULL;

        (void) unused;
        broker_stop(scene->broker);
        set_environment(scene);
        g_assert_cmpint(user_run("root", argv, &output), ==, 1);
        assert_says(output, "does not run as root");
        broker_start(scene->broker);
}

/* Somebody gives it capabilities: it gives them up. */
static void test_capabilities(Scene *scene, const void *unused) {
        pid_t pid;
        int status;

        (void) unused;
        broker_stop(scene->broker);
        pid = world_fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
                struct __user_cap_data_struct sets[2] = {};
                uint32_t few = 1U << CAP_NET_BIND_SERVICE | 1U << CAP_CHOWN;

                set_environment(scene);
                g_assert_cmpint(prctl(PR_SET_KEEPCAPS, 1), ==, 0);
                world_become("daxbroker");
                sets[0] = (struct __user_cap_data_struct) { .effective = few, .permitted = few,
                                                            .inheritable = few };
                g_assert_cmpint(syscall(SYS_capset, &header, sets), ==, 0);
                g_assert_cmpint(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0), ==,
                                0);
                g_assert_cmpint(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0), ==, 0);
                g_assert_cmpint(prctl(PR_SET_PDEATHSIG, SIGKILL), ==, 0);
                execl(g_getenv("DAXBROKERD"), "daxbrokerd", NULL);
                _exit(99);
        }

        g_assert_true(bus_wait_name("org.daxbroker1", true, 60));
        scene->broker->pid = pid;
        assert_powerless(scene);
        g_assert_cmpint(kill(pid, SIGTERM), ==, 0);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
        scene->broker->pid = 0;
        broker_start(scene->broker);
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        g_test_add("/sandbox/kill", Scene, REGION, set_up, test_kill, scene_tear_down);
        g_test_add("/sandbox/log", Scene, REGION "[Broker]\nSystemCallFilter=log\n", set_up, test_log,
                   scene_tear_down);
        g_test_add("/sandbox/off", Scene, REGION "[Broker]\nSystemCallFilter=off\n", set_up, test_off,
                   scene_tear_down);
        g_test_add("/sandbox/files", Scene, REGION, set_up, test_files, scene_tear_down);
        g_test_add("/sandbox/root", Scene, REGION, set_up, test_root, scene_tear_down);
        g_test_add("/sandbox/capabilities", Scene, REGION, set_up, test_capabilities, scene_tear_down);
        return g_test_run();
}
