/* SPDX-License-Identifier: MIT */

/* Where the test is. Whatever fails here is no result of a test: it aborts. */

#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "names.h"

void world_init(int *argc, char ***argv) {
        struct rlimit files;
        bool only_lists = *argc == 2 && g_str_equal((*argv)[1], "-l");

        g_test_init(argc, argv, NULL);
        if (only_lists)
                return;
        g_assert_true(g_setenv("DAXBROKER_BUS", world_is_direct() ? "direct" : "system", true));
        if (!g_getenv("DAXBROKER_WORLD") || geteuid() != 0) {
                g_print("1..0 # SKIP has to be started through tests/world/world\n");
                exit(EXIT_SUCCESS);
        }

        /* for hundreds of clients, and for a service manager that keeps what they hold */
        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &files), ==, 0);
        files.rlim_cur = files.rlim_max;
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &files), ==, 0);
}

const char *world_get_path(void) {
        const char *path = g_getenv("DAXBROKER_WORLD");

        g_assert_nonnull(path);
        return path;
}

uid_t world_get_uid(const char *user) {
        const struct passwd *entry = getpwnam(user);

        if (!entry)
                g_error("There is no user %s in this world", user);
        return entry->pw_uid;
}

void world_become(const char *user) {
        const struct passwd *entry = getpwnam(user);

        g_assert_nonnull(entry);
        g_assert_cmpint(initgroups(user, entry->pw_gid), ==, 0);
        g_assert_cmpint(setresgid(entry->pw_gid, entry->pw_gid, entry->pw_gid), ==, 0);
        g_assert_cmpint(setresuid(entry->pw_uid, entry->pw_uid, entry->pw_uid), ==, 0);
        g_assert_cmpint(setenv("HOME", entry->pw_dir, 1), ==, 0);
        g_assert_cmpint(setenv("USER", user, 1), ==, 0);
}

static GMutex fork_lock;

void world_lock_fork(void) {
        g_mutex_lock(&fork_lock);
}

void world_unlock_fork(void) {
        g_mutex_unlock(&fork_lock);
}

pid_t world_fork(void) {
        pid_t pid;

        world_lock_fork();
        pid = fork();
        world_unlock_fork();
        return pid;
}

void world_run(const char *tool) {
        g_autofree char *path = g_build_filename(g_getenv("DAXBROKER_WORLD_TOOLS"), tool, NULL);
        g_autoptr(GError) error = NULL;
        char *argv[] = { path, NULL };
        int status;

        if (!g_spawn_sync(NULL, argv, NULL, G_SPAWN_CHILD_INHERITS_STDIN, NULL, NULL, NULL, NULL, &status, &error) ||
            !g_spawn_check_wait_status(status, &error))
                g_error("%s: %s", tool, error->message);
}

pid_t world_read_pid(const char *file) {
        g_autofree char *path = g_build_filename(world_get_path(), file, NULL), *text = NULL;
        pid_t pid;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        pid = (pid_t) g_ascii_strtoll(text, NULL, 10);
        g_assert_cmpint(pid, >, 1);
        return pid;
}

/* A zombie counts as gone: its parent may be busy. */
bool process_is_alive(pid_t pid) {
        g_autofree char *path = g_strdup_printf("/proc/%d/stat", pid), *text = NULL;
        const char *after_name;

        if (!g_file_get_contents(path, &text, NULL, NULL))
                return false;
        after_name = strrchr(text, ')');
        return after_name && after_name[1] == ' ' && !strchr("ZX", after_name[2]);
}

void process_kill(pid_t pid) {
        if (kill(pid, SIGKILL) < 0)
                g_assert_cmpint(errno, ==, ESRCH);
        g_assert_true(wait_until(20, !process_is_alive(pid)));
}

bool world_is_direct(void) {
        return g_getenv("DAXBROKER_TEST_DIRECT");
}

int world_connect(sd_bus **ret) {
        sd_bus *bus = NULL;
        int r;

        if (!world_is_direct())
                return sd_bus_open_system(ret);

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, "unix:path=" DAXBROKER_DIRECT_SOCKET);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0) {
                sd_bus_unref(bus);
                return r;
        }

        *ret = bus;
        return 0;
}

bool bus_wait_name(const char *name, bool owned, unsigned seconds) {
        sd_bus *bus = NULL;
        bool is_so;

        g_assert_cmpint(sd_bus_open_system(&bus), >=, 0);
        is_so = wait_until(seconds, (sd_bus_get_name_creds(bus, name, 0, NULL) >= 0) == owned);
        sd_bus_flush_close_unref(bus);
        return is_so;
}

void bus_kill(void) {
        pid_t polkitd = world_read_pid("polkitd.pid");

        process_kill(world_read_pid("bus.pid"));
        process_kill(polkitd);
}

void bus_start(void) {
        world_run("start-bus");
        world_run("start-polkitd");
}
