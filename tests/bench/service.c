/* SPDX-License-Identifier: MIT */

/* Memory from the broker, and from the floor that it is compared with: the same calls in the same words, by a client that
 * does nothing but sd-bus. What is measured is the way to the memory. It is given back off the clock, and the broker has
 * it back before the next one is asked for. */

#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "names.h"

#define HUGE_PAGE (UINT64_C(2) << 20)
#define DIRECT_SOCKET "/run/daxbroker/bus"
#define HELD_MAX 4096
#define WARM_PATIENCE 60e6 /* microseconds */
#define BUDGET (UINT64_C(1200) << 20) /* 2 MiB for each of two calls of 256 clients, and some more */

#define BROKER .destination = DAXBROKER_BUS_NAME, .root = DAXBROKER_ROOT_PATH, .interface = DAXBROKER_MANAGER_INTERFACE, \
               .is_broker = true
#define FLOOR .destination = FLOOR_NAME, .root = FLOOR_PATH, .interface = FLOOR_NAME

static Target targets[] = {
        { .name = "broker@bus", BROKER },
        { .name = "broker@direct", BROKER, .is_direct = true },
        { .name = "granted@bus", BROKER, .is_granted = true },
        { .name = "granted@direct", BROKER, .is_granted = true, .is_direct = true },
        { .name = "floor@bus", FLOOR },
        { .name = "floor@direct", FLOOR, .is_direct = true },
};

/* ---- Connections ------------------------------------------------------------------------------------------------------ */

static int connect_directly(const char *path, sd_bus **ret) {
        char address[256];
        sd_bus *bus;
        int r;

        if (!path || access(path, F_OK) < 0)
                return cannot("there is no socket %s", path ? path : "of the floor");

        snprintf(address, sizeof(address), "unix:path=%s", path);
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, 1);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return failed("%s: %s", path, strerror(-r));
        *ret = bus;
        return 0;
}

int target_connect(const Target *target, sd_bus **ret) {
        int r;

        if (target->is_direct)
                return connect_directly(target->is_broker ? DIRECT_SOCKET : getenv("BENCH_FLOOR"), ret);
        r = sd_bus_open_system(ret);
        if (r < 0)
                return failed("cannot connect to the bus: %s", strerror(-r));
        return 0;
}

static int target_reserve(Target *target) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call_method(target->bus, target->destination, target->root, target->interface, "Reserve", &error,
                               &target->budget, "ta{sv}", BUDGET, 1, "alignment", "t", HUGE_PAGE);
        if (r >= 0)
                r = sd_bus_message_read(target->budget, "o", &target->grant);
        if (r < 0)
                return failed("Reserve: %s", error.message ? error.message : strerror(-r));
        return 0;
}

int target_get(const char *name, Target **ret) {
        for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
                Target *target = &targets[i];

                if (strcmp(target->name, name) != 0)
                        continue;
                if (target->is_direct)
                        target->destination = NULL; /* there are no names without a bus */
                if (!target->bus && target_connect(target, &target->bus) < 0)
                        return -1;
                if (target->is_granted && !target->grant && target_reserve(target) < 0)
                        return -1;
                *ret = target;
                return 0;
        }
        return failed("nobody is called %s", name);
}

int target_get_region(const Target *target, const char *property, uint64_t *ret) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_get_property_trivial(target->bus, target->destination, DAXBROKER_REGION_PATH "/dram",
                                        DAXBROKER_REGION_INTERFACE, property, &error, 't', ret);
        if (r < 0)
                return failed("%s: %s", property, error.message);
        return 0;
}

/* ---- Memory ----------------------------------------------------------------------------------------------------------- */

int target_request(const Target *target, sd_bus *bus, uint64_t size, const char *name, sd_bus_message **ret) {
        sd_bus_message *m;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, target->destination, target->root, target->interface, "Allocate");
        if (r < 0)
                return failed("Allocate: %s", strerror(-r));
        r = sd_bus_message_append(m, "tt", size, size >= HUGE_PAGE ? HUGE_PAGE : UINT64_C(4096));
        if (r >= 0)
                r = name ? sd_bus_message_append(m, "a{sv}", 1, "name", "s", name) :
                        target->grant ? sd_bus_message_append(m, "a{sv}", 1, "grant", "o", target->grant) :
                        sd_bus_message_append(m, "a{sv}", 0);
        if (r < 0) {
                sd_bus_message_unref(m);
                return failed("Allocate: %s", strerror(-r));
        }
        *ret = m;
        return 0;
}

int hold_take(Hold *hold, sd_bus_message *reply) {
        const sd_bus_error *error = sd_bus_message_get_error(reply);
        uint64_t offset;
        int r;

        if (error)
                return failed("%s: %s", error->name, error->message);
        r = sd_bus_message_read(reply, "ohhtt", &hold->object, &hold->memory_fd, &hold->lease_fd, &offset, &hold->length);
        if (r < 0)
                return failed("the reply: %s", strerror(-r));
        hold->reply = sd_bus_message_ref(reply);
        hold->memory = NULL;
        return 0;
}

/* Aligned, as huge pages need it. */
int hold_map(Hold *hold) {
        uint64_t room = hold->length + (hold->length >= HUGE_PAGE ? HUGE_PAGE : 0);
        char *base, *memory = NULL;

        if (room > hold->length) {
                base = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
                if (base == MAP_FAILED)
                        return failed("mmap: %s", strerror(errno));
                memory = base + -(uintptr_t) base % HUGE_PAGE;
                if (memory > base)
                        (void) munmap(base, (size_t) (memory - base));
                (void) munmap(memory + hold->length, (size_t) (base + room - memory - hold->length));
        }
        memory = mmap(memory, hold->length, PROT_READ | PROT_WRITE, MAP_SHARED | (memory ? MAP_FIXED : 0),
                      hold->memory_fd, 0);
        if (memory == MAP_FAILED)
                return failed("mmap: %s", strerror(errno));
        hold->memory = memory;
        return 0;
}

static int hold_ask(const Target *target, sd_bus *bus, uint64_t size, const char *name, Hold *ret) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL, *reply;
        int r;

        r = target_request(target, bus, size, name, &m);
        if (r < 0)
                return r;
        r = sd_bus_call(bus, m, 0, &error, &reply);
        sd_bus_message_unref(m);
        if (r < 0) {
                failed("%s: %s", error.name, error.message);
                sd_bus_error_free(&error);
                return -1;
        }
        r = hold_take(ret, reply);
        sd_bus_message_unref(reply);
        return r;
}

int hold_new(const Target *target, sd_bus *bus, uint64_t size, const char *name, Hold *ret) {
        if (hold_ask(target, bus, size, name, ret) < 0)
                return -1;
        return hold_map(ret);
}

void hold_release(const Target *target, sd_bus *bus, Hold *hold) {
        if (hold->memory)
                (void) munmap(hold->memory, hold->length);
        if (target->is_broker)
                (void) sd_bus_call_method(bus, target->destination, hold->object, DAXBROKER_ALLOCATION_INTERFACE, "Free",
                                          NULL, NULL, NULL);
        sd_bus_message_unref(hold->reply);
}

/* A first call that does not count: others had the caches meanwhile, and what was decided before may have expired. */
int target_warm_up(const Target *target) {
        Hold hold;

        if (hold_new(target, target->bus, 4096, NULL, &hold) < 0)
                return -1;
        hold_release(target, target->bus, &hold);
        return 0;
}

/* ---- One after the other ---------------------------------------------------------------------------------------------- */

/* allocate TARGET SIZE reply|map|touch COUNT */
static int allocate(char **words) {
        bool maps = strcmp(words[2], "reply") != 0, touches = strcmp(words[2], "touch") == 0;
        uint64_t size = parse_size(words[1]);
        int count = atoi(words[3]);
        Target *target;

        if (target_get(words[0], &target) < 0 || target_warm_up(target) < 0)
                return -1;
        for (int i = 0; i < count; i++) {
                double start = now();
                Hold hold;

                if (hold_ask(target, target->bus, size, NULL, &hold) < 0 || (maps && hold_map(&hold) < 0))
                        return -1;
                if (touches)
                        touch(hold.memory, size);
                sample_add(now() - start);
                hold_release(target, target->bus, &hold);
        }
        return 0;
}

/* warm TARGET SIZE COUNT: the same of memory that was made ahead, and touched; it is waited for first */
static int warm(char **words) {
        char *touched[] = { words[0], words[1], (char[]){ "touch" }, words[2] };
        uint64_t wanted = parse_size(words[1]) * (uint64_t) atoi(words[2]), ready = 0, before, hits;
        double start = now();
        Target *target;

        if (target_get(words[0], &target) < 0)
                return -1;
        while (ready < wanted) {
                if (target_get_region(target, "WarmAvailable", &ready) < 0)
                        return -1;
                if (now() - start > WARM_PATIENCE)
                        return cannot("no processor is ever idle, so nothing is made ahead");
                (void) usleep(10000);
        }
        if (target_get_region(target, "WarmHits", &before) < 0 || allocate(touched) < 0 ||
            target_get_region(target, "WarmHits", &hits) < 0)
                return -1;
        /* memory may have become short meanwhile */
        return hits - before == (uint64_t) atoi(words[2]) ? 0 : cannot("what was ready was given back");
}

/* ---- New processes ---------------------------------------------------------------------------------------------------- */

/* Of which nothing but the first call is measured; "nobody" is not asked, to tell what a process is. */
int service_once(const char *target_name, const char *size) {
        Target *target;
        Hold hold;

        if (strcmp(target_name, "nobody") == 0)
                return 0;
        if (target_get(target_name, &target) < 0 || hold_new(target, target->bus, parse_size(size), NULL, &hold) < 0)
                return -1;
        sd_bus_message_unref(hold.reply);
        return 0;
}

/* cold TARGET SIZE COUNT: what it takes from before the process is made until it has ended */
static int cold(char **words) {
        char name[] = "bench-client", once[] = "--once", *const argv[] = { name, once, words[0], words[1], NULL };
        int count = atoi(words[2]);
        Target *target;

        /* so that it is known whether it is there */
        if (strcmp(words[0], "nobody") != 0 && target_get(words[0], &target) < 0)
                return -1;
        for (int i = 0; i < count; i++) {
                double start = now();
                int status, r;
                pid_t pid;

                r = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ);
                if (r != 0)
                        return failed("cannot start a process: %s", strerror(r));
                if (waitpid(pid, &status, 0) < 0 || status != 0)
                        return failed("a new process could not allocate");
                sample_add(now() - start);
        }
        return 0;
}

/* ---- Many at a time --------------------------------------------------------------------------------------------------- */

typedef struct Pipeline {
        Hold holds[HELD_MAX];
        int n_taken, n_failed;
} Pipeline;

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Pipeline *pipeline = userdata;

        (void) error;
        if (hold_take(&pipeline->holds[pipeline->n_taken], reply) < 0)
                pipeline->n_failed++;
        else
                pipeline->n_taken++;
        return 0;
}

/* pipeline TARGET SIZE OUTSTANDING COUNT: one connection that does not wait for an answer before it asks again; the sample
 * is the time for each call */
static int pipeline(char **words) {
        int outstanding = atoi(words[2]), count = atoi(words[3]), n_asked = 0, n, r = 0;
        static Pipeline line;
        Target *target;
        double start;

        if (count > HELD_MAX)
                return failed("at most %d", HELD_MAX);
        if (target_get(words[0], &target) < 0 || target_warm_up(target) < 0)
                return -1;

        line.n_taken = line.n_failed = 0;
        start = now();
        while (r >= 0 && (n = line.n_taken + line.n_failed) < count) {
                while (r >= 0 && n_asked < count && n_asked - n < outstanding) {
                        sd_bus_message *m = NULL;

                        r = target_request(target, target->bus, parse_size(words[1]), NULL, &m);
                        if (r < 0)
                                break;
                        r = sd_bus_call_async(target->bus, NULL, m, on_reply, &line, 0);
                        sd_bus_message_unref(m);
                        n_asked++;
                }
                if (r >= 0)
                        r = sd_bus_process(target->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(target->bus, UINT64_MAX);
        }
        if (r >= 0 && line.n_failed == 0)
                sample_add((now() - start) / count);

        for (int i = 0; i < line.n_taken; i++)
                hold_release(target, target->bus, &line.holds[i]);
        if (r < 0)
                return failed("pipeline: %s", strerror(-r));
        return line.n_failed == 0 ? 0 : -1;
}

/* In a process of its own: gets ready, waits, asks, waits. Says after each step whether it went well. */
static _Noreturn void be_client(const Target *target, uint64_t size, int count, int ready, int go, int done, int end) {
        Hold *holds = calloc((size_t) count, sizeof(Hold));
        int n_held = 0;
        sd_bus *bus;
        Hold first;
        char fine;

        fine = holds && target_connect(target, &bus) >= 0 && hold_new(target, bus, size, NULL, &first) >= 0;
        if (fine)
                hold_release(target, bus, &first);
        if (write(ready, &fine, 1) != 1 || read(go, &(char){ 0 }, 1) < 0)
                _exit(EXIT_FAILURE);

        while (fine && n_held < count) {
                fine = hold_ask(target, bus, size, NULL, &holds[n_held]) >= 0;
                n_held += fine;
        }
        if (write(done, &fine, 1) != 1 || read(end, &(char){ 0 }, 1) < 0)
                _exit(EXIT_FAILURE);
        for (int i = 0; i < n_held; i++)
                hold_release(target, bus, &holds[i]);
        _exit(EXIT_SUCCESS);
}

static bool all_fine(int fd, int n) {
        bool fine = true;
        char byte;

        while (n-- > 0)
                fine = read(fd, &byte, 1) == 1 && byte && fine;
        return fine;
}

/* clients TARGET SIZE CLIENTS COUNT: as many processes, each with a connection; the sample is the time for each call */
static int clients(char **words) {
        int n = atoi(words[2]), count = atoi(words[3]), n_forked, pipes[4][2], status;
        bool fine = true;
        Target *target;
        double start;

        if (target_get(words[0], &target) < 0)
                return -1;
        for (int i = 0; i < 4; i++)
                if (pipe2(pipes[i], O_CLOEXEC) < 0)
                        return failed("pipe: %s", strerror(errno));

        for (n_forked = 0; n_forked < n; n_forked++) {
                pid_t pid = fork();

                if (pid < 0)
                        break;
                if (pid == 0) {
                        close(pipes[1][1]);
                        close(pipes[3][1]);
                        be_client(target, parse_size(words[1]), count, pipes[0][1], pipes[1][0], pipes[2][1], pipes[3][0]);
                }
        }
        for (int i = 0; i < 4; i++)
                close(pipes[i][i % 2 == 0 ? 1 : 0]);

        fine = all_fine(pipes[0][0], n_forked) && n_forked == n;
        start = now();
        close(pipes[1][1]); /* they all read its end */
        fine = all_fine(pipes[2][0], n_forked) && fine;
        start = now() - start;
        close(pipes[3][1]);
        close(pipes[0][0]);
        close(pipes[2][0]);
        for (int i = 0; i < n_forked; i++)
                fine = wait(&status) > 0 && status == 0 && fine;
        if (!fine)
                return failed("not all of %d clients were served", n);
        sample_add(start / n / count);
        return 0;
}

const Command service_commands[] = {
        { "allocate", 4, allocate },
        { "warm", 3, warm },
        { "cold", 3, cold },
        { "pipeline", 4, pipeline },
        { "clients", 4, clients },
        { NULL, 0, NULL },
};
