/* SPDX-License-Identifier: MIT */

/* What an allocation costs, compared with the same call of a service that does nothing but make a memfd.
 *
 *     bench-allocate [--rounds=N] [--json | --tap]
 *
 * Everything is measured in one run, in the same world: the same dbus-daemon, the same client, the real polkitd. The rows
 * take turns, a few calls at a time, so that whatever the machine does meanwhile meets all of them. The client is pinned to
 * one CPU, everybody who serves it to another. Times are those of a blocking call as the client sees it. */

#include <errno.h>
#include <glib.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bench-floor.h"
#include "broker.h"
#include "names.h"
#include "user.h"
#include "world.h"

#define SIZE 65536
#define ALIGNMENT 4096
#define BURST 8
#define ROUNDS_DEFAULT 4000
#define WARM_UP_PART 8 /* an eighth of the rounds comes first and does not count */

typedef enum Row {
        ROW_FLOOR,
        ROW_PROPERTY,
        ROW_ALLOCATE,
        ROW_FREE,
        ROW_DECISION,
        _ROW_MAX,
} Row;

static const struct {
        const char *name, *what;
} rows[_ROW_MAX] = {
        [ROW_FLOOR] = { "floor", "the call of Allocate, at a service that only makes a sealed memfd" },
        [ROW_PROPERTY] = { "property", "the broker's property Version" },
        [ROW_ALLOCATE] = { "allocate", "Allocate, with polkit's decision" },
        [ROW_FREE] = { "free", "Free, by the owner, until the memory is free again" },
        [ROW_DECISION] = { "decision", "polkit's decision alone, with the details of Allocate" },
};

static GArray *samples[_ROW_MAX]; /* of double, microseconds */

/* ---- In the users' processes: BURST calls, their times as the answer ------------------------------------------------- */

static double now_usec(void) {
        struct timespec now;

        g_assert_cmpint(clock_gettime(CLOCK_MONOTONIC, &now), ==, 0);
        return (double) now.tv_sec * 1e6 + (double) now.tv_nsec / 1e3;
}

static double timed_call(sd_bus_message *m, sd_bus_message **ret_reply) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        double start;
        int r;

        start = now_usec();
        r = sd_bus_call(user_bus(), m, 0, &error, ret_reply);
        start = now_usec() - start;
        if (r < 0)
                g_error("%s: %s", sd_bus_message_get_member(m), error.message);
        sd_bus_message_unref(m);
        return start;
}

static sd_bus_message *message_new(const char *name, const char *path, const char *interface, const char *member) {
        sd_bus_message *m;

        g_assert_cmpint(sd_bus_message_new_method_call(user_bus(), &m, name, path, interface, member), >=, 0);
        return m;
}

static sd_bus_message *allocate_new(const char *name, const char *path, const char *interface) {
        sd_bus_message *m = message_new(name, path, interface, "Allocate");

        g_assert_cmpint(sd_bus_message_append(m, "tta{sv}", (uint64_t) SIZE, (uint64_t) ALIGNMENT, 0), >=, 0);
        return m;
}

static int64_t measure_floor(UserCall *call) {
        double *times = call->answer;

        for (unsigned i = 0; i < BURST; i++) {
                sd_bus_message *reply;

                times[i] = timed_call(allocate_new(FLOOR_NAME, FLOOR_PATH, FLOOR_NAME), &reply);
                sd_bus_message_unref(reply);
        }
        call->answer_size = BURST * sizeof(double);
        return BURST;
}

static int64_t measure_property(UserCall *call) {
        double *times = call->answer;

        for (unsigned i = 0; i < BURST; i++) {
                sd_bus_message *reply, *m = message_new(DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                                        "org.freedesktop.DBus.Properties", "Get");

                g_assert_cmpint(sd_bus_message_append(m, "ss", DAXBROKER_MANAGER_INTERFACE, "Version"), >=, 0);
                times[i] = timed_call(m, &reply);
                sd_bus_message_unref(reply);
        }
        call->answer_size = BURST * sizeof(double);
        return BURST;
}

/* First those of Allocate, then those of Free. */
static int64_t measure_allocate(UserCall *call) {
        double *times = call->answer;

        for (unsigned i = 0; i < BURST; i++) {
                sd_bus_message *memory, *reply;
                const char *object;

                times[i] = timed_call(allocate_new(DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE),
                                      &memory);
                g_assert_cmpint(sd_bus_message_read(memory, "o", &object), >, 0);
                times[BURST + i] = timed_call(message_new(DAXBROKER_BUS_NAME, object, DAXBROKER_ALLOCATION_INTERFACE,
                                                          "Free"), &reply);
                sd_bus_message_unref(reply);
                sd_bus_message_unref(memory);
        }
        call->answer_size = 2 * BURST * sizeof(double);
        return BURST;
}

/* As the broker asks, about the client whose name is the argument. */
static int64_t measure_decision(UserCall *call) {
        const char *subject = call->data;
        double *times = call->answer;

        for (unsigned i = 0; i < BURST; i++) {
                sd_bus_message *reply, *m = message_new("org.freedesktop.PolicyKit1",
                                                        "/org/freedesktop/PolicyKit1/Authority",
                                                        "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization");
                int authorized = 0;

                g_assert_cmpint(sd_bus_message_append(m, "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s", subject,
                                                      "org.daxbroker1.allocate", 12,
                                                      "region", "dram", "provider", "memfd",
                                                      "size", "65536", "size-mib", "1", "alignment", "4096",
                                                      "name", "", "persistent", "false", "numa-node", "any",
                                                      "held", "0", "held-mib", "0", "held-count", "0",
                                                      "polkit.message",
                                                      "Authentication is required to take 64 KiB of memory from region dram",
                                                      (uint32_t) 0, "bench"), >=, 0);
                times[i] = timed_call(m, &reply);
                g_assert_cmpint(sd_bus_message_enter_container(reply, 'r', "bba{ss}"), >, 0);
                g_assert_cmpint(sd_bus_message_read(reply, "b", &authorized), >, 0);
                g_assert_true(authorized);
                sd_bus_message_unref(reply);
        }
        call->answer_size = BURST * sizeof(double);
        return BURST;
}

static int64_t get_unique_name(UserCall *call) {
        const char *name;

        g_assert_cmpint(sd_bus_get_unique_name(user_bus(), &name), >=, 0);
        call->answer_size = strlen(name) + 1;
        memcpy(call->answer, name, call->answer_size);
        return 0;
}

/* ---- The run ---------------------------------------------------------------------------------------------------------- */

/* The nth of the CPUs we may use, or any if there is but one. All threads that exist are moved, later ones follow. */
static void pin(pid_t pid, unsigned nth) {
        g_autofree char *path = g_strdup_printf("/proc/%d/task", pid);
        g_autoptr(GDir) tasks = g_dir_open(path, 0, NULL);
        static cpu_set_t usable;
        static bool known;
        const char *task;
        cpu_set_t one;

        if (!known) /* before the first one narrows it */
                g_assert_cmpint(sched_getaffinity(0, sizeof(usable), &usable), ==, 0);
        known = true;
        if (CPU_COUNT(&usable) < 2)
                return;

        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
                if (CPU_ISSET(cpu, &usable) && nth-- == 0) {
                        CPU_ZERO(&one);
                        CPU_SET(cpu, &one);
                        break;
                }
        g_assert_nonnull(tasks);
        while ((task = g_dir_read_name(tasks)))
                g_assert_cmpint(sched_setaffinity((pid_t) g_ascii_strtoll(task, NULL, 10), sizeof(one), &one), ==, 0);
}

static void measure(User *user, UserFunction function, const char *data, bool counts, Row first, Row second) {
        double times[2 * BURST];
        const Row targets[] = { first, second };

        g_assert_cmpint(user_call(user, function, data, data ? strlen(data) + 1 : 0, times, sizeof(times)), ==, BURST);
        for (unsigned i = 0; counts && i < G_N_ELEMENTS(targets) && targets[i] < _ROW_MAX; i++)
                g_array_append_vals(samples[targets[i]], times + i * BURST, BURST);
}

static void measure_all(unsigned rounds) {
        Broker *broker = broker_new("[Region dram]\nSize=64M\n");
        User *alice, *decider, *server;
        unsigned warm_up = rounds / WARM_UP_PART / BURST + 1, n = rounds / BURST + 1;
        char name[256];

        broker_start(broker);
        alice = user_new("alice");
        decider = user_new("daxbroker");
        server = user_new("daxbroker");
        user_begin(server, floor_serve, NULL, 0, NULL, 0);
        g_assert_true(bus_wait_name(FLOOR_NAME, true, 20));
        user_call(alice, get_unique_name, NULL, 0, name, sizeof(name));

        pin(getpid(), 0);
        pin(alice->pid, 0);
        pin(decider->pid, 0);
        pin(server->pid, 1);
        pin(broker->pid, 1);
        pin(world_read_pid("bus.pid"), 1);
        pin(world_read_pid("polkitd.pid"), 1);

        for (unsigned i = 0; i < warm_up + n; i++)
                for (unsigned j = 0; j < 4; j++)
                        switch ((i + j) % 4) { /* nobody is always after the same one */
                        case 0:
                                measure(alice, measure_floor, NULL, i >= warm_up, ROW_FLOOR, _ROW_MAX);
                                break;
                        case 1:
                                measure(alice, measure_property, NULL, i >= warm_up, ROW_PROPERTY, _ROW_MAX);
                                break;
                        case 2:
                                measure(alice, measure_allocate, NULL, i >= warm_up, ROW_ALLOCATE, ROW_FREE);
                                break;
                        case 3:
                                measure(decider, measure_decision, name, i >= warm_up, ROW_DECISION, _ROW_MAX);
                        }

        user_kill(server);
        user_free(server);
        user_free(decider);
        user_free(alice);
        broker_free(broker);
}

/* ---- The report ------------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static double quantile(Row row, double q) {
        return g_array_index(samples[row], double, (guint) (q * (samples[row]->len - 1)));
}

/* What the broker adds to the floor, polkit's part left out or not. */
static double ratio(bool with_decision) {
        double allocate = quantile(ROW_ALLOCATE, 0.5);

        return (with_decision ? allocate : allocate - quantile(ROW_DECISION, 0.5)) / quantile(ROW_FLOOR, 0.5);
}

static void print_table(void) {
        printf("%-10s %10s %10s   microseconds, %u calls each\n", "", "median", "p99", samples[0]->len);
        for (Row row = 0; row < _ROW_MAX; row++)
                printf("%-10s %10.1f %10.1f   %s\n", rows[row].name, quantile(row, 0.5), quantile(row, 0.99),
                       rows[row].what);
        printf("\nallocate / floor               %6.2f\n", ratio(true));
        printf("(allocate - decision) / floor  %6.2f\n", ratio(false));
}

static void print_json(void) {
        printf("{\"calls\":%u,\"unit\":\"us\",\"rows\":{", samples[0]->len);
        for (Row row = 0; row < _ROW_MAX; row++)
                printf("%s\"%s\":{\"median\":%.2f,\"p99\":%.2f}", row > 0 ? "," : "", rows[row].name,
                       quantile(row, 0.5), quantile(row, 0.99));
        printf("},\"ratios\":{\"allocate\":%.3f,\"allocate-without-decision\":%.3f}}\n", ratio(true), ratio(false));
}

/* No time is asserted: a test machine may be as slow as it likes. */
static void print_tap(unsigned rounds) {
        printf("1..%u\n", (unsigned) _ROW_MAX);
        for (Row row = 0; row < _ROW_MAX; row++)
                printf("%sok %u %s\n", samples[row]->len >= rounds && quantile(row, 0) > 0 ? "" : "not ", (unsigned) row + 1,
                       rows[row].name);
}

int main(int argc, char **argv) {
        bool json = false, tap = false;
        unsigned rounds = ROUNDS_DEFAULT;

        for (int i = 1; i < argc; i++)
                if (strcmp(argv[i], "--json") == 0)
                        json = true;
                else if (strcmp(argv[i], "--tap") == 0)
                        tap = true;
                else if (g_str_has_prefix(argv[i], "--rounds="))
                        rounds = (unsigned) strtoul(argv[i] + strlen("--rounds="), NULL, 10);
                else {
                        fprintf(stderr, "usage: %s [--rounds=N] [--json | --tap]\n", argv[0]);
                        return EXIT_FAILURE;
                }

        if (!g_getenv("DAXBROKER_WORLD") || geteuid() != 0) {
                fprintf(stderr, "%s: has to be started through tests/world/world; see tests/bench/run\n", argv[0]);
                return EXIT_FAILURE;
        }
        g_setenv("DAXBROKER_LOG", "info", FALSE); /* as a service logs */
        for (Row row = 0; row < _ROW_MAX; row++)
                samples[row] = g_array_new(FALSE, FALSE, sizeof(double));

        measure_all(rounds);
        for (Row row = 0; row < _ROW_MAX; row++)
                g_array_sort(samples[row], compare);
        if (tap)
                print_tap(rounds);
        else if (json)
                print_json();
        else
                print_table();

        for (Row row = 0; row < _ROW_MAX; row++)
                g_array_unref(samples[row]);
        return EXIT_SUCCESS;
}
