/* SPDX-License-Identifier: MIT */

/* What else one does with an allocation than to get it, and the library's way of all that; polkit's decision alone; and a
 * broker with a great many allocations. */

#include <daxbroker.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "error-names.h"
#include "names.h"
#include "service.h"

#define LET_GO_PATIENCE 10e6 /* microseconds */
#define CLUSTER 64           /* calls without an answer, while a broker is filled */
#define DECIDED_SIZE (UINT64_C(2) << 20)

/* ---- The end ---------------------------------------------------------------------------------------------------------- */

/* free TARGET SIZE COUNT: Free, called by the owner, of memory that was written to, until the bytes are available again */
static int free_memory(char **words) {
        uint64_t size = parse_size(words[1]);
        int count = atoi(words[2]);
        Target *target;
        Hold hold;

        if (target_get(words[0], &target) < 0 || target_warm_up(target) < 0)
                return -1;
        for (int i = 0; i < count; i++) {
                double start;

                if (hold_new(target, target->bus, size, NULL, &hold) < 0)
                        return -1;
                touch(hold.memory, size);
                start = now();
                hold_release(target, target->bus, &hold);
                sample_add(now() - start);
        }
        return 0;
}

/* let-go TARGET SIZE COUNT: the descriptors are closed, and the region's account is read until it has the bytes again */
static int let_go(char **words) {
        uint64_t size = parse_size(words[1]), before, available = 0;
        int count = atoi(words[2]);
        Target *target;
        Hold hold;

        if (target_get(words[0], &target) < 0 || target_warm_up(target) < 0)
                return -1;
        for (int i = 0; i < count; i++) {
                double start;

                if (target_get_region(target, "Available", &before) < 0 ||
                    hold_new(target, target->bus, size, NULL, &hold) < 0)
                        return -1;
                touch(hold.memory, size);

                start = now();
                (void) munmap(hold.memory, hold.length);
                sd_bus_message_unref(hold.reply);
                do {
                        if (target_get_region(target, "Available", &available) < 0)
                                return -1;
                        if (now() - start > LET_GO_PATIENCE)
                                return failed("the bytes do not come back");
                } while (available < before);
                sample_add(now() - start);
        }
        return 0;
}

/* open TARGET SIZE COUNT: Open by name, and map */
static int open_named(char **words) {
        int count = atoi(words[2]), r = 0;
        Target *target;
        Hold named;

        if (target_get(words[0], &target) < 0 ||
            hold_new(target, target->bus, parse_size(words[1]), "bench", &named) < 0)
                return -1;

        for (int i = 0; r >= 0 && i < count; i++) {
                sd_bus_error error = SD_BUS_ERROR_NULL;
                double start = now();
                sd_bus_message *reply;
                Hold hold;

                r = sd_bus_call_method(target->bus, target->destination, target->root, target->interface, "Open", &error,
                                       &reply, "sa{sv}", "bench", 0);
                if (r < 0) {
                        failed("Open: %s", error.message);
                        break;
                }
                r = hold_take(&hold, reply);
                sd_bus_message_unref(reply);
                if (r >= 0)
                        r = hold_map(&hold);
                if (r >= 0) {
                        sample_add(now() - start);
                        (void) munmap(hold.memory, hold.length);
                        sd_bus_message_unref(hold.reply);
                }
        }
        hold_release(target, target->bus, &named);
        return r;
}

/* ---- The library ------------------------------------------------------------------------------------------------------ */

/* two-lines SIZE COUNT: daxbroker_alloc(), a write to each page, daxbroker_free() */
static int two_lines(char **words) {
        uint64_t size = parse_size(words[0]);
        int count = atoi(words[1]);

        for (int i = 0; i < count; i++) {
                double start = now();
                void *memory = daxbroker_alloc(size, 4096);

                if (!memory)
                        return failed("%s", daxbroker_last_error());
                touch(memory, size);
                daxbroker_free(memory);
                sample_add(now() - start);
        }
        return 0;
}

static int connect_library(void) {
        daxbroker_client *client;
        char *version;
        int r;

        r = daxbroker_client_new(&client);
        if (r < 0)
                return failed("%s", strerror(-r));
        r = daxbroker_get_version(client, &version);
        daxbroker_client_free(client);
        if (r < 0)
                return failed("%s", daxbroker_last_error());
        free(version);
        return 0;
}

static int connect_plainly(const Target *target) {
        sd_bus *bus;
        char *version;
        int r;

        if (target_connect(target, &bus) < 0)
                return -1;
        r = sd_bus_get_property_string(bus, target->destination, target->root, target->interface, "Version", NULL, &version);
        sd_bus_flush_close_unref(bus);
        if (r < 0)
                return failed("Version: %s", strerror(-r));
        free(version);
        return 0;
}

/* connect library|TARGET COUNT: a new connection, the broker's version, the connection's end */
static int connect_once(char **words) {
        bool by_library = strcmp(words[0], "library") == 0;
        int count = atoi(words[1]);
        Target *target = NULL;

        if (!by_library && target_get(words[0], &target) < 0)
                return -1;
        for (int i = 0; i < count; i++) {
                double start = now();

                if ((by_library ? connect_library() : connect_plainly(target)) < 0)
                        return -1;
                sample_add(now() - start);
        }
        return 0;
}

/* ---- polkit ----------------------------------------------------------------------------------------------------------- */

/* subject FILE: writes down who we are on the bus */
static int subject(char **words) {
        const char *name;
        Target *target;
        FILE *file;

        if (target_get("floor@bus", &target) < 0 || sd_bus_get_unique_name(target->bus, &name) < 0)
                return -1;
        file = fopen(words[0], "we");
        if (!file || fputs(name, file) < 0 || fclose(file) != 0)
                return failed("%s: %s", words[0], strerror(errno));
        return 0;
}

/* Asks about who is called so as the broker asks; only the broker's user may. */
static int ask_polkit(const Target *target, const char *name) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r, authorized = 0;
        sd_bus_message *reply;

        r = sd_bus_call_method(target->bus, "org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority",
                               "org.freedesktop.PolicyKit1.Authority", "CheckAuthorization", &error, &reply,
                               "(sa{sv})sa{ss}us", "system-bus-name", 1, "name", "s", name, "org.daxbroker1.allocate", 13,
                               "region", "dram", "provider", "memfd", "size", "2097152", "size-mib", "2", "alignment",
                               "2097152", "name", "", "persistent", "false", "grant", "false", "numa-node", "any", "held",
                               "0", "held-mib", "0", "held-count", "0", "polkit.message",
                               "Authentication is required to take 2 MiB of memory from region dram", (uint32_t) 0, "bench");
        if (r < 0)
                return failed("polkit: %s", error.message);
        r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r > 0)
                r = sd_bus_message_read(reply, "b", &authorized);
        sd_bus_message_unref(reply);
        return r < 0 || !authorized ? failed("polkit says no") : 0;
}

/* decision FILE only|floor COUNT: polkit is asked about the one in FILE; with floor, the bare service is then asked for 2 MiB,
 * which are mapped. That is more than the two of them alone, for little of it is in the caches by then. */
static int decision(char **words) {
        bool and_floor = strcmp(words[1], "floor") == 0;
        int count = atoi(words[2]);
        char name[64] = "";
        Target *target;
        FILE *file;

        file = fopen(words[0], "re");
        if (!file || !fgets(name, sizeof(name), file))
                return failed("%s: %s", words[0], strerror(errno));
        fclose(file);
        if (target_get("floor@bus", &target) < 0)
                return -1;

        for (int i = 0; i < count; i++) {
                double start = now();
                Hold hold;

                if (ask_polkit(target, name) < 0)
                        return -1;
                if (and_floor && hold_new(target, target->bus, DECIDED_SIZE, NULL, &hold) < 0)
                        return -1;
                sample_add(now() - start);
                if (and_floor)
                        hold_release(target, target->bus, &hold);
        }
        return 0;
}

/* ---- Many ------------------------------------------------------------------------------------------------------------- */

typedef struct Filling {
        int n_answered, n_failed;
} Filling;

/* Keeps the lease, which keeps the allocation. */
static int on_filled(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Filling *filling = userdata;
        Hold hold;

        (void) error;
        filling->n_answered++;
        if (sd_bus_message_is_method_error(reply, DAXBROKER_ERROR_PREFIX "NoResources"))
                filling->n_failed += cannot("%s", sd_bus_message_get_error(reply)->message) < 0;
        else if (hold_take(&hold, reply) < 0)
                filling->n_failed++;
        if (filling->n_failed > 0)
                return 0;
        if (fcntl(hold.lease_fd, F_DUPFD_CLOEXEC, 3) < 0)
                filling->n_failed += failed("descriptors: %s", strerror(errno)) < 0;
        sd_bus_message_unref(hold.reply);
        return 0;
}

/* fill TARGET SIZE COUNT: allocates, and stays the holder until its end; the sample is the time of all of it */
static int fill(char **words) {
        int count = atoi(words[2]), n_asked = 0, r = 0;
        Filling filling = { 0, 0 };
        double start = now();
        Target *target;

        if (target_get(words[0], &target) < 0)
                return -1;
        while (r >= 0 && filling.n_answered < (filling.n_failed > 0 ? n_asked : count)) {
                while (r >= 0 && filling.n_failed == 0 && n_asked < count && n_asked - filling.n_answered < CLUSTER) {
                        sd_bus_message *m = NULL;

                        r = target_request(target, target->bus, parse_size(words[1]), NULL, &m);
                        if (r < 0)
                                break;
                        r = sd_bus_call_async(target->bus, NULL, m, on_filled, &filling, 0);
                        sd_bus_message_unref(m);
                        n_asked++;
                }
                if (r >= 0)
                        r = sd_bus_process(target->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(target->bus, UINT64_MAX);
        }
        if (r < 0)
                return failed("after %d: %s", filling.n_answered, strerror(-r));
        if (filling.n_failed > 0)
                return -1;
        sample_add(now() - start);
        return 0;
}

/* One page; *after is the object that it begins behind, and then the last of it, or NULL if that was all. */
static int list_page(const Target *target, char **after) {
        sd_bus_message *m = NULL, *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *object = NULL;
        int more = false, r;

        r = sd_bus_message_new_method_call(target->bus, &m, target->destination, target->root, target->interface,
                                           "ListAllocationsPaged");
        if (r >= 0)
                r = *after ? sd_bus_message_append(m, "a{sv}", 1, "after", "o", *after)
                           : sd_bus_message_append(m, "a{sv}", 0);
        if (r >= 0)
                r = sd_bus_call(target->bus, m, 0, &error, &reply);
        sd_bus_message_unref(m);
        if (r >= 0)
                r = sd_bus_message_enter_container(reply, 'a', "(soa{sv})");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'r', "soa{sv}")) > 0) {
                r = sd_bus_message_read(reply, "so", NULL, &object);
                if (r >= 0)
                        r = sd_bus_message_skip(reply, "a{sv}");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "b", &more);
        free(*after);
        *after = r >= 0 && more && object ? strdup(object) : NULL;
        if (r < 0)
                (void) failed("%s", error.message ? error.message : strerror(-r));
        sd_bus_error_free(&error);
        sd_bus_message_unref(reply);
        return r;
}

/* list TARGET COUNT */
static int list(char **words) {
        int count = atoi(words[1]);
        Target *target;

        if (target_get(words[0], &target) < 0)
                return -1;
        for (int i = 0; i < count; i++) {
                double start = now();
                char *after = NULL;

                do
                        if (list_page(target, &after) < 0)
                                return -1;
                while (after);
                sample_add(now() - start);
        }
        return 0;
}

/* await TARGET: until the broker answers, after a restart */
static int await(char **words) {
        double start = now();
        Target *target;
        char *version;

        if (target_get(words[0], &target) < 0)
                return -1;
        while (sd_bus_get_property_string(target->bus, target->destination, target->root, target->interface, "Version", NULL,
                                          &version) < 0) {
                if (now() - start > 60e6)
                        return failed("there is no answer for a minute");
                (void) usleep(500);
        }
        free(version);
        sample_add(now() - start);
        return 0;
}

const Command life_commands[] = {
        { "free", 3, free_memory },
        { "let-go", 3, let_go },
        { "open", 3, open_named },
        { "two-lines", 2, two_lines },
        { "connect", 2, connect_once },
        { "subject", 1, subject },
        { "decision", 3, decision },
        { "fill", 3, fill },
        { "list", 2, list },
        { "await", 1, await },
        { NULL, 0, NULL },
};
