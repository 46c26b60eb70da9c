/* SPDX-License-Identifier: MIT */

/* Starts and stops the broker as the unit does: its user, its folders, its limits, no capabilities. Whatever makes it
 * leave with anything but status 0, be it a leak that the address sanitizer found, fails the test and shows its log. */

#include "broker.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provider.h"
#include "world.h"

/* Sanitizers and valgrind on a busy machine take their time. */
#define PATIENCE_SEC 60
#define UNIT_MAX_FDS 524288

static char *make_directory(Broker *broker, const char *name) {
        char *path = g_build_filename(broker->directory, name, NULL);

        g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
        g_assert_cmpint(chown(path, world_get_uid("daxbroker"), world_get_uid("daxbroker")), ==, 0);
        return path;
}

/* As daxbroker.socket does: it is there while the broker is not. */
static int make_socket(const Broker *broker) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        g_autofree char *path = g_build_filename(broker->runtime, "bus", NULL);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        g_assert_cmpint(fd, >=, 0);
        (void) unlink(path);
        g_assert_cmpuint(g_strlcpy(address.sun_path, path, sizeof(address.sun_path)), <, sizeof(address.sun_path));
        g_assert_cmpint(bind(fd, (struct sockaddr *) &address, sizeof(address)), ==, 0);
        g_assert_cmpint(chmod(path, 0666), ==, 0);
        g_assert_cmpint(listen(fd, 4096), ==, 0);

        (void) unlink("/run/daxbroker");
        g_assert_cmpint(symlink(broker->runtime, "/run/daxbroker"), ==, 0);
        return fd;
}

/* The service manager keeps it beside what the broker stores there. */
static void inherit_socket(const Broker *broker, Inheritance *inheritance) {
        g_autofree char *names = inheritance->names;

        inheritance->fds = g_renew(int, inheritance->fds, inheritance->n + 1);
        inheritance->fds[inheritance->n] = fcntl(broker->socket, F_DUPFD_CLOEXEC, 0);
        g_assert_cmpint(inheritance->fds[inheritance->n], >=, 0);
        inheritance->names = g_strdup_printf("%s%sbus", names, inheritance->n > 0 ? ":" : "");
        inheritance->n++;
}

static void close_socket(Broker *broker) {
        if (broker->socket >= 0)
                close(broker->socket);
        broker->socket = -1;
}

Broker *broker_new(const char *configuration) {
        Broker *broker = g_new0(Broker, 1);
        g_autofree char *drop_ins = NULL;

        broker->directory = g_build_filename(world_get_path(), "broker-XXXXXX", NULL);
        g_assert_nonnull(g_mkdtemp_full(broker->directory, 0755));
        broker->configuration = make_directory(broker, "configuration");
        broker->runtime = make_directory(broker, "runtime");
        broker->state = make_directory(broker, "state");
        broker->log = g_build_filename(broker->directory, "log", NULL);
        broker->files = provider_make_folder(world_get_uid("daxbroker"));
        broker->manager = service_manager_new();
        broker->has_manager = true;
        broker->socket = world_is_direct() ? make_socket(broker) : -1;

        drop_ins = g_build_filename(broker->configuration, "daxbroker.conf.d", NULL);
        g_assert_cmpint(g_mkdir(drop_ins, 0755), ==, 0);
        g_assert_cmpint(chmod(broker->configuration, 0755), ==, 0);
        g_assert_cmpint(chmod(broker->runtime, 0711), ==, 0);
        broker_configure(broker, configuration);
        return broker;
}

static void remove_tree(const char *path) {
        g_autoptr(GDir) directory = NULL;
        const char *name;

        if (!g_file_test(path, G_FILE_TEST_IS_SYMLINK))
                directory = g_dir_open(path, 0, NULL);
        while (directory && (name = g_dir_read_name(directory))) {
                g_autofree char *child = g_build_filename(path, name, NULL);

                remove_tree(child);
        }
        (void) g_remove(path);
}

Broker *broker_free(Broker *broker) {
        if (!broker)
                return NULL;

        if (broker->pid > 0)
                broker_stop(broker);
        service_manager_free(broker->manager);
        close_socket(broker);
        (void) umount2(broker->runtime, MNT_DETACH);
        remove_tree(broker->directory);
        if (broker->files)
                remove_tree(broker->files);
        g_free(broker->files);
        g_free(broker->directory);
        g_free(broker->configuration);
        g_free(broker->runtime);
        g_free(broker->state);
        g_free(broker->log);
        g_free(broker);
        return NULL;
}

void broker_configure(Broker *broker, const char *configuration) {
        g_autofree char *path = g_build_filename(broker->configuration, "daxbroker.conf.d", "test.conf", NULL);
        g_autofree char *text = provider_configuration(configuration, broker->files);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        g_assert_cmpint(chmod(path, 0644), ==, 0);
}

void broker_limit_runtime(Broker *broker, const char *options) {
        g_autofree char *all = NULL;
        uid_t uid = world_get_uid("daxbroker");
        struct stat here, above;

        g_assert_cmpint(stat(broker->runtime, &here), ==, 0);
        g_assert_cmpint(stat(broker->directory, &above), ==, 0);
        if (!options) {
                g_assert_cmpint(umount2(broker->runtime, MNT_DETACH), ==, 0);
                return;
        }

        all = g_strdup_printf("%s,mode=711,uid=%u,gid=%u", options, uid, uid);
        g_assert_cmpint(mount("tmpfs", broker->runtime, "tmpfs",
                              MS_NOSUID | MS_NODEV | (here.st_dev != above.st_dev ? MS_REMOUNT : 0), all), ==, 0);
}

static char *path_of_filler(const Broker *broker) {
        return g_build_filename(broker->runtime, "filler", NULL);
}

void broker_fill_runtime(Broker *broker) {
        g_autofree char *path = path_of_filler(broker);
        static const char rubbish[4096] = { 1 };
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
        while (write(fd, rubbish, sizeof(rubbish)) > 0)
                ;
        g_assert_cmpint(errno, ==, ENOSPC);
        close(fd);
}

void broker_unfill_runtime(Broker *broker) {
        g_autofree char *path = path_of_filler(broker);

        g_assert_cmpint(unlink(path), ==, 0);
}

static void limit_fds(const Broker *broker) {
        struct rlimit limit;

        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &limit), ==, 0);
        limit.rlim_cur = limit.rlim_max = MIN(limit.rlim_max, broker->max_fds > 0 ? broker->max_fds : UNIT_MAX_FDS);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &limit), ==, 0);
}

/* In the child: becomes the broker. */
static void execute(const Broker *broker, const Inheritance *inheritance) {
        const char *program = g_getenv("DAXBROKERD");
        int null = open("/dev/null", O_RDWR), log = open(broker->log, O_WRONLY | O_CREAT | O_APPEND, 0644);

        g_assert_nonnull(program);
        dup2(null, STDIN_FILENO);
        dup2(log, STDOUT_FILENO);
        dup2(log, STDERR_FILENO);

        /* Not even root's test may be outlived. */
        g_assert_cmpint(prctl(PR_SET_PDEATHSIG, SIGKILL), ==, 0);
        signal(SIGPIPE, SIG_DFL);
        umask(0077);

        /* What the test itself has open is not the broker's business. */
        if (broker->has_manager)
                inheritance_apply(inheritance, service_manager_get_socket(broker->manager));
        g_assert_cmpint(close_range(broker->has_manager ? 3 + inheritance->n : 3, ~0U, CLOSE_RANGE_CLOEXEC), ==, 0);

        g_assert_cmpint(setenv("RUNTIME_DIRECTORY", broker->runtime, 1), ==, 0);
        g_assert_cmpint(setenv("STATE_DIRECTORY", broker->state, 1), ==, 0);
        g_assert_cmpint(setenv("CONFIGURATION_DIRECTORY", broker->configuration, 1), ==, 0);
        g_assert_cmpint(setenv("DAXBROKER_LOG", "debug", 0), ==, 0);
        if (broker->watchdog_usec > 0) {
                g_autofree char *usec = g_strdup_printf("%" G_GUINT64_FORMAT, broker->watchdog_usec);
                g_autofree char *pid = g_strdup_printf("%d", getpid());

                g_assert_cmpint(setenv("WATCHDOG_USEC", usec, 1), ==, 0);
                g_assert_cmpint(setenv("WATCHDOG_PID", pid, 1), ==, 0);
        }
        for (char **variable = broker->environment; variable && *variable; variable++)
                putenv(*variable);

        limit_fds(broker);
        world_become("daxbroker");
        g_assert_cmpint(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), ==, 0);
        g_assert_cmpint(prctl(PR_SET_PDEATHSIG, SIGKILL), ==, 0);

        execl(program, "daxbrokerd", NULL);
        g_error("%s: %s", program, g_strerror(errno));
}

void broker_launch(Broker *broker) {
        Inheritance inheritance = {};
        int gate[2];
        char byte = 0;
        pid_t pid;

        g_assert_cmpint(broker->pid, ==, 0);
        service_manager_prepare(broker->manager, &inheritance);
        if (world_is_direct() && broker->has_manager) {
                if (broker->socket < 0) /* the last one has put its own in the place of ours */
                        broker->socket = make_socket(broker);
                inherit_socket(broker, &inheritance);
        } else
                close_socket(broker); /* nobody is to wait there while the broker makes its own */

        /* It must not speak before the service manager knows whom to listen to. */
        g_assert_cmpint(pipe2(gate, O_CLOEXEC), ==, 0);
        pid = world_fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                close(gate[1]);
                g_assert_cmpint(read(gate[0], &byte, 1), ==, 1);
                execute(broker, &inheritance);
        }

        broker->pid = pid;
        service_manager_set_main(broker->manager, pid);
        g_assert_cmpint(write(gate[1], &byte, 1), ==, 1);
        close(gate[0]);
        close(gate[1]);
        inheritance_clear(&inheritance);
}

/* Waits for its end; the wait(2) status. */
static int reap(Broker *broker) {
        int status = 0;

        if (!wait_until(PATIENCE_SEC, waitpid(broker->pid, &status, WNOHANG) == broker->pid)) {
                broker_print_log(broker);
                g_error("The broker does not end");
        }
        broker->pid = 0;
        return status;
}

/* Where nobody listens for the broker, it begins to do so itself a moment after it has its name. */
static bool can_connect(void) {
        sd_bus *bus;

        if (world_connect(&bus) < 0)
                return false;
        sd_bus_close_unref(bus);
        return true;
}

void broker_start(Broker *broker) {
        bool is_ready;

        /* the bus takes a moment to notice that the last one has gone, whose name would be taken for this one's */
        if (!broker->has_manager)
                g_assert_true(bus_wait_name("org.daxbroker1", false, PATIENCE_SEC));
        broker_launch(broker);
        is_ready = broker->has_manager ? service_manager_wait_ready(broker->manager, 1, PATIENCE_SEC)
                                       : bus_wait_name("org.daxbroker1", true, PATIENCE_SEC) &&
                                                 wait_until(PATIENCE_SEC, can_connect());
        if (!is_ready) {
                broker_print_log(broker);
                g_error("The broker does not become ready");
        }
}

int broker_start_failing(Broker *broker) {
        int status;

        broker_launch(broker);
        status = reap(broker);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), !=, 0);
        return WEXITSTATUS(status);
}

void broker_stop(Broker *broker) {
        int status;

        g_assert_cmpint(broker->pid, >, 0);
        g_assert_cmpint(kill(broker->pid, SIGTERM), ==, 0);
        status = reap(broker);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
                broker_print_log(broker);
                g_error("The broker ended with %s %d", WIFEXITED(status) ? "status" : "signal",
                        WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        }
}

void broker_kill(Broker *broker) {
        int status;

        g_assert_cmpint(broker->pid, >, 0);
        g_assert_cmpint(kill(broker->pid, SIGKILL), ==, 0);
        status = reap(broker);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
                broker_print_log(broker);
                g_error("The broker had ended before it was killed");
        }
}

void broker_restart(Broker *broker) {
        broker_stop(broker);
        broker_start(broker);
}

void broker_reload(Broker *broker) {
        unsigned ready = service_manager_count_ready(broker->manager);

        g_assert_true(broker->has_manager);
        g_assert_cmpint(kill(broker->pid, SIGHUP), ==, 0);
        if (!service_manager_wait_ready(broker->manager, ready + 1, PATIENCE_SEC)) {
                broker_print_log(broker);
                g_error("The broker does not say that it has reloaded");
        }
}

bool broker_is_running(Broker *broker) {
        if (broker->pid > 0 && process_is_alive(broker->pid))
                return true;

        broker_print_log(broker);
        return false;
}

unsigned broker_count_fds(Broker *broker) {
        unsigned n_empty = service_manager_count_empty(broker->manager);
        g_autofree char *path = g_strdup_printf("/proc/%d/fd", broker->pid);
        g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
        const char *name;
        unsigned n = 0;

        g_assert_nonnull(directory);
        while ((name = g_dir_read_name(directory))) {
                g_autofree char *entry = g_build_filename(path, name, NULL), *file = g_file_read_link(entry, NULL);

                /* users stay connected, and that is two: the socket, and the process at its other end */
                if (!file || !world_is_direct() || (!g_str_has_prefix(file, "socket:") && !strstr(file, "pidfd")))
                        n++;
        }

        /* the bundle that waits for descriptors is two, its ends */
        g_assert_cmpuint(n_empty, <=, 1);
        return world_is_direct() ? n : n - 2 * n_empty;
}

uint64_t broker_get_rss(Broker *broker) {
        g_autofree char *path = g_strdup_printf("/proc/%d/status", broker->pid), *text = NULL;
        const char *line;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        line = strstr(text, "\nRssAnon:");
        g_assert_nonnull(line);
        return g_ascii_strtoull(line + strlen("\nRssAnon:"), NULL, 10) * 1024;
}

static unsigned walk_files(const char *path, bool print) {
        g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
        const char *name;
        unsigned n = 0;

        while (directory && (name = g_dir_read_name(directory))) {
                g_autofree char *child = g_build_filename(path, name, NULL);
                bool is_folder = g_file_test(child, G_FILE_TEST_IS_DIR);

                if (print && !is_folder)
                        g_printerr("%s\n", child);
                n += is_folder ? walk_files(child, print) : 1;
        }
        return n;
}

unsigned broker_count_runtime_files(Broker *broker) {
        return walk_files(broker->runtime, false);
}

void broker_print_runtime_files(Broker *broker) {
        (void) walk_files(broker->runtime, true);
}

char *broker_get_log(Broker *broker) {
        char *text = NULL;

        if (!g_file_get_contents(broker->log, &text, NULL, NULL))
                return g_strdup("");
        return text;
}

size_t broker_mark_log(Broker *broker) {
        g_autofree char *text = broker_get_log(broker);

        return strlen(text);
}

unsigned broker_count_log(Broker *broker, size_t mark, const char *regex) {
        g_autofree char *text = broker_get_log(broker);
        g_auto(GStrv) lines = NULL;
        unsigned n = 0;

        g_assert_cmpuint(mark, <=, strlen(text));
        lines = g_strsplit(text + mark, "\n", -1);
        for (char **line = lines; *line; line++)
                n += g_regex_match_simple(regex, *line, 0, 0);
        return n;
}

bool broker_wait_log(Broker *broker, size_t mark, const char *regex) {
        return wait_until(10, broker_count_log(broker, mark, regex) > 0);
}

void broker_print_log(Broker *broker) {
        g_autofree char *text = broker_get_log(broker);
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

        for (char **line = lines; *line; line++)
                g_printerr("# broker: %s\n", *line);
}
