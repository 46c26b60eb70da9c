/* SPDX-License-Identifier: MIT */

/* Somebody who uses memory, well or badly, as a test tells him: he reads a command a line and answers with a line, "ok …",
 * "no …" where something is not as the command says, or "error …" with an errno's name or that of the broker's error. The
 * memory and what leads to it stay in this process, under a number.
 *
 * He speaks the protocol himself, so that he can ask for what no library would. The commands are in the table below. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#include "pin.h"

#define SLOTS_MAX 1024
#define PINS_MAX 16
#define WORDS_MAX 16

typedef struct Slot {
        int memory, lease;
        uint64_t offset, length;
        uint8_t *address; /* NULL if not mapped */
} Slot;

static Slot slots[SLOTS_MAX];
static size_t n_slots;
static Pin pins[PINS_MAX];
static size_t n_pins;
static sd_bus *bus;

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

static void answer_errno(int error) {
        const char *name = strerrorname_np(abs(error));

        printf("error %s\n", name ? name : "?");
}

static void answer(int r) {
        if (r < 0)
                answer_errno(r);
        else
                printf("ok\n");
}

/* The numbers of a command; the parent makes no mistakes that would need more than a look at the answer. */
static uint64_t number(const char *word) {
        return word ? strtoull(word, NULL, 0) : 0;
}

static Slot *slot_at(const char *word) {
        size_t i = number(word);

        if (i >= n_slots) {
                fprintf(stderr, "tenant: there is no slot %zu\n", i);
                exit(EXIT_FAILURE);
        }
        return &slots[i];
}

static void close_fd(int *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

static int slot_unmap(Slot *slot) {
        int r = slot->address ? munmap(slot->address, slot->length) : 0;

        slot->address = NULL;
        return r < 0 ? -errno : 0;
}

static void drop(Slot *slot) {
        (void) slot_unmap(slot);
        close_fd(&slot->memory);
        close_fd(&slot->lease);
}

/* ---- The broker ---------------------------------------------------------------------------------------------------- */

/* Options by their types; what is not listed is a string. */
static char option_type(const char *name) {
        static const struct { const char *name; char type; } types[] = {
                { "mode", 'u' }, { "group", 'u' }, { "numa-node", 'u' }, { "page-size", 't' },
                { "prefault", 'b' }, { "persistent", 'b' }, { "contiguous", 'b' }, { "read-only", 'b' }, { "reserve", 'b' },
        };

        for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
                if (strcmp(types[i].name, name) == 0)
                        return types[i].type;
        return 's';
}

/* Words of the form NAME=VALUE. */
static int append_options(sd_bus_message *call, char **words) {
        int r = sd_bus_message_open_container(call, 'a', "{sv}");

        for (; *words && r >= 0; words++) {
                char *value = strchr(*words, '='), type;

                if (!value)
                        return -EINVAL;
                *value++ = '\0';
                type = option_type(*words);
                if (type == 's')
                        r = sd_bus_message_append(call, "{sv}", *words, "s", value);
                else if (type == 't')
                        r = sd_bus_message_append(call, "{sv}", *words, "t", number(value));
                else
                        r = sd_bus_message_append(call, "{sv}", *words, type == 'b' ? "b" : "u", (uint32_t) number(value));
        }
        return r < 0 ? r : sd_bus_message_close_container(call);
}

static int connect_bus(void) {
        return bus ? 0 : sd_bus_open_system(&bus);
}

/* Sends and consumes the call. Where it fails it has been answered. */
static int make_call(sd_bus_message *call, sd_bus_message **ret) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r = sd_bus_call(bus, call, UINT64_C(120) * 1000 * 1000, &error, ret);

        sd_bus_message_unref(call);
        if (r < 0) {
                const char *name = error.name ? strrchr(error.name, '.') : NULL;

                printf("error %s %s\n", name ? name + 1 : "?", error.message ? error.message : "");
        }
        sd_bus_error_free(&error);
        return r;
}

static sd_bus_message *new_call(const char *object, const char *interface, const char *method) {
        sd_bus_message *call = NULL;
        int r = connect_bus();

        if (r >= 0)
                r = sd_bus_message_new_method_call(bus, &call, "org.daxbroker1", object, interface, method);
        if (r < 0) {
                fprintf(stderr, "tenant: no bus: %s\n", strerror(-r));
                exit(EXIT_FAILURE);
        }
        return call;
}

/* A new slot; the reply is the caller's then. */
static sd_bus_message *keep_what_comes(sd_bus_message *call, const char **ret_object) {
        sd_bus_message *reply = NULL;
        Slot *slot = &slots[n_slots];
        int memory, lease;

        if (make_call(call, &reply) < 0)
                return NULL;
        if (n_slots == SLOTS_MAX ||
            sd_bus_message_read(reply, "ohhtt", ret_object, &memory, &lease, &slot->offset, &slot->length) < 0) {
                answer_errno(ENOBUFS);
                return sd_bus_message_unref(reply);
        }
        slot->memory = fcntl(memory, F_DUPFD_CLOEXEC, 3);
        slot->lease = fcntl(lease, F_DUPFD_CLOEXEC, 3);
        slot->address = NULL;
        n_slots++;
        return reply;
}

static void keep_and_answer(sd_bus_message *call) {
        const char *object;
        sd_bus_message *reply = keep_what_comes(call, &object);

        if (reply)
                printf("ok %zu %s %" PRIu64 "\n", n_slots - 1, object, slots[n_slots - 1].length);
        sd_bus_message_unref(reply);
}

static sd_bus_message *new_request(char **words, const char *method) {
        sd_bus_message *call = new_call("/org/daxbroker1", "org.daxbroker1.Manager", method);

        if (sd_bus_message_append(call, "tt", number(words[0]), number(words[1])) < 0 || append_options(call, words + 2) < 0)
                exit(EXIT_FAILURE);
        return call;
}

static void do_alloc(char **words) {
        keep_and_answer(new_request(words, "Allocate"));
}

static double now(void) {
        struct timespec time;

        clock_gettime(CLOCK_MONOTONIC, &time);
        return (double) time.tv_sec * 1e3 + (double) time.tv_nsec / 1e6;
}

/* The same, mapped and written to; and the end of it, as far as the caller has to wait for it. */
static void do_time(char **words) {
        sd_bus_message *call = new_request(words, "Allocate"), *reply;
        const char *object;
        double begin = now(), usable;
        Slot *slot;

        reply = keep_what_comes(call, &object);
        if (!reply)
                return;
        slot = &slots[n_slots - 1];
        slot->address = mmap(NULL, slot->length, PROT_READ | PROT_WRITE, MAP_SHARED, slot->memory, (off_t) slot->offset);
        if (slot->address == MAP_FAILED) {
                slot->address = NULL;
                answer_errno(errno);
        } else {
                *(volatile uint8_t *) slot->address = 1;
                usable = now();
                drop(slot);
                printf("ok %.3f %.3f\n", usable - begin, now() - usable);
        }
        sd_bus_message_unref(reply);
}

/* What the same would be answered: all of it but the memory. */
static void do_ask(char **words) {
        sd_bus_message *call = new_request(words, "Check"), *reply;
        double begin = now();

        if (make_call(call, &reply) < 0)
                return;
        printf("ok %.3f\n", now() - begin);
        sd_bus_message_unref(reply);
}

static void do_open(char **words) {
        sd_bus_message *call = new_call("/org/daxbroker1", "org.daxbroker1.Manager", "Open");

        if (sd_bus_message_append(call, "s", words[0]) < 0 || append_options(call, words + 1) < 0)
                exit(EXIT_FAILURE);
        keep_and_answer(call);
}

static void do_free(char **words) {
        if (make_call(new_call(words[0], "org.daxbroker1.Allocation", "Free"), NULL) >= 0)
                answer(0);
}

/* What daxbrokerctl run has passed on. */
static void do_adopt(char **words) {
        Slot *slot = &slots[n_slots];

        (void) words;
        *slot = (Slot) {
                .memory = (int) number(getenv("DAXBROKER_FD")), .lease = (int) number(getenv("DAXBROKER_LEASE_FD")),
                .offset = number(getenv("DAXBROKER_OFFSET")), .length = number(getenv("DAXBROKER_LENGTH")),
        };
        printf("ok %zu - %" PRIu64 "\n", n_slots++, slot->length);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static sigjmp_buf fault;

static void on_fault(int signal) {
        (void) signal;
        siglongjmp(fault, 1);
}

/* A word that says where it is and whose it is. */
static uint64_t pattern(uint64_t seed, uint64_t i) {
        return (seed << 48) ^ (i * UINT64_C(0x9e3779b97f4a7c15)) ^ seed;
}

static void do_map(char **words) {
        Slot *slot = slot_at(words[0]);
        int protection = words[1] && strcmp(words[1], "read-only") == 0 ? PROT_READ : PROT_READ | PROT_WRITE;
        int flags = words[1] && strcmp(words[1], "sync") == 0 ? MAP_SHARED_VALIDATE | MAP_SYNC : MAP_SHARED;
        void *address = mmap(NULL, slot->length, protection, flags, slot->memory, (off_t) slot->offset);

        if (address != MAP_FAILED)
                slot->address = address;
        answer(address == MAP_FAILED ? -errno : 0);
}

static void do_fill(char **words) {
        const Slot *slot = slot_at(words[0]);
        uint64_t *memory = (uint64_t *) (void *) slot->address, seed = number(words[1]);

        if (sigsetjmp(fault, 1) != 0) {
                answer(-EFAULT);
                return;
        }
        for (uint64_t i = 0; i < slot->length / 8; i++)
                memory[i] = pattern(seed, i);
        answer(0);
}

/* Also answers where the first difference is, and what is there. */
static void compare(const Slot *slot, bool zeros, uint64_t seed) {
        const volatile uint64_t *memory = (const volatile uint64_t *) (void *) slot->address;

        if (sigsetjmp(fault, 1) != 0) {
                answer(-EFAULT);
                return;
        }
        for (uint64_t i = 0; i < slot->length / 8; i++) {
                uint64_t expected = zeros ? 0 : pattern(seed, i), found = memory[i];

                if (found != expected) {
                        printf("no at %" PRIu64 " is %#" PRIx64 " instead of %#" PRIx64 "\n", i * 8, found, expected);
                        return;
                }
        }
        answer(0);
}

static void do_verify(char **words) {
        compare(slot_at(words[0]), false, number(words[1]));
}

static void do_zero(char **words) {
        compare(slot_at(words[0]), true, 0);
}

static void do_set(char **words) {
        const Slot *slot = slot_at(words[0]);

        if (sigsetjmp(fault, 1) != 0) {
                answer(-EFAULT);
                return;
        }
        memset(slot->address, (int) number(words[1]), slot->length);
        answer(0);
}

/* All of it: out of the caches, and what a file system keeps about it. */
static void do_persist(char **words) {
        const Slot *slot = slot_at(words[0]);

        for (uint64_t at = 0; at < slot->length; at += 64)
                __builtin_ia32_clflush(slot->address + at);
        __builtin_ia32_sfence();
        answer(msync(slot->address, slot->length, MS_SYNC) < 0 && errno != EINVAL ? -errno : 0); /* EINVAL: a device */
}

/* One byte of each 4 KiB, of all that can be reached: how many of them have which value. */
static void do_probe(char **words) {
        const Slot *slot = slot_at(words[0]);
        static Sight sight;
        static volatile uint64_t offset;
        static volatile size_t faults;

        memset(&sight, 0, sizeof(sight));
        faults = 0;
        for (offset = 0; offset < slot->length; offset += 4096) {
                if (sigsetjmp(fault, 1) == 0)
                        sight.count[*(volatile uint8_t *) (slot->address + offset)]++;
                else
                        faults++;
        }
        printf("ok fault:%zu", faults);
        for (unsigned i = 0; i < 256; i++)
                if (sight.count[i] > 0)
                        printf(" %02x:%zu", i, sight.count[i]);
        printf("\n");
}

static void do_poke(char **words) {
        const Slot *slot = slot_at(words[0]);

        if (sigsetjmp(fault, 1) != 0) {
                answer(-EFAULT);
                return;
        }
        *(volatile uint8_t *) (slot->address + number(words[1])) = (uint8_t) number(words[2]);
        answer(0);
}

static void do_unmap(char **words) {
        answer(slot_unmap(slot_at(words[0])));
}

static void do_close_memory(char **words) {
        close_fd(&slot_at(words[0])->memory);
        answer(0);
}

static void do_close_lease(char **words) {
        close_fd(&slot_at(words[0])->lease);
        answer(0);
}

static void drop_all(void) {
        for (size_t i = 0; i < n_slots; i++)
                drop(&slots[i]);
}

static void do_drop(char **words) {
        if (words[0])
                drop(slot_at(words[0]));
        else
                drop_all();
        answer(0);
}

/* ---- Mischief ------------------------------------------------------------------------------------------------------ */

static void do_protect(char **words) {
        const Slot *slot = slot_at(words[0]);
        int protection = PROT_NONE;

        for (const char *letter = words[1]; *letter != '\0'; letter++)
                protection |= *letter == 'r' ? PROT_READ : *letter == 'w' ? PROT_WRITE : *letter == 'x' ? PROT_EXEC : 0;
        answer(mprotect(slot->address, slot->length, protection) < 0 ? -errno : 0);
}

/* Moves the mapping, or makes it longer than the memory is. */
static void do_remap(char **words) {
        Slot *slot = slot_at(words[0]);
        uint64_t length = number(words[1]);
        void *address = mremap(slot->address, slot->length, length, MREMAP_MAYMOVE);

        if (address == MAP_FAILED) {
                answer_errno(errno);
                return;
        }
        slot->address = address;
        slot->length = length;
        answer(0);
}

static void do_no_huge_pages(char **words) {
        const Slot *slot = slot_at(words[0]);
        int r = prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);

        if (r == 0 && slot->address)
                r = madvise(slot->address, slot->length, MADV_NOHUGEPAGE);
        answer(r < 0 ? -errno : 0);
}

static void do_reopen(char **words) {
        char path[32];
        int fd;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", slot_at(words[0])->memory);
        fd = open(path, O_RDWR | O_CLOEXEC);
        answer(fd < 0 ? -errno : 0);
        if (fd >= 0)
                close(fd);
}

static void do_truncate(char **words) {
        answer(ftruncate(slot_at(words[0])->memory, (off_t) number(words[1])) < 0 ? -errno : 0);
}

static void do_allocate(char **words) {
        answer(fallocate(slot_at(words[0])->memory, (int) number(words[1]), (off_t) number(words[2]),
                         (off_t) number(words[3])) < 0 ? -errno : 0);
}

static void do_extend(char **words) {
        answer(pwrite(slot_at(words[0])->memory, "x", 1, (off_t) number(words[1])) < 0 ? -errno : 0);
}

static void do_link(char **words) {
        char path[32];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", slot_at(words[0])->memory);
        answer(linkat(AT_FDCWD, path, AT_FDCWD, words[1], AT_SYMLINK_FOLLOW) < 0 ? -errno : 0);
}

static void do_label(char **words) {
        answer(fsetxattr(slot_at(words[0])->memory, words[1], "mine", 4, 0) < 0 ? -errno : 0);
}

/* A child that has all that we have, and does nothing. */
static void do_fork(char **words) {
        pid_t pid;

        (void) words;
        fflush(stdout);
        pid = fork();
        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;)
                        pause();
        }
        if (pid < 0)
                answer_errno(errno);
        else
                printf("ok %d\n", pid);
}

static void do_end_child(char **words) {
        pid_t pid = (pid_t) number(words[0]);

        answer(kill(pid, SIGKILL) < 0 || waitpid(pid, NULL, 0) < 0 ? -errno : 0);
}

/* ---- Pins ---------------------------------------------------------------------------------------------------------- */

static Pin *pin_at(const char *word) {
        size_t i = number(word);

        if (i >= n_pins || !pins[i].kind) {
                fprintf(stderr, "tenant: there is no pin %zu\n", i);
                exit(EXIT_FAILURE);
        }
        return &pins[i];
}

static void do_pin(char **words) {
        static const PinKind *const kinds[] = { &pin_pipe, &pin_zerocopy, &pin_uring, &pin_fuse_read, &pin_fuse_write };
        const Slot *slot = slot_at(words[1]);
        Pin *pin = &pins[n_pins];
        int r = -EINVAL;

        *pin = (Pin) { .fds = { -1, -1, -1, -1 } };
        for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
                if (n_pins < PINS_MAX && strcmp(kinds[i]->name, words[0]) == 0)
                        pin->kind = kinds[i];
        if (pin->kind) {
                fflush(stdout);
                r = pin->kind->take(pin, slot->address + number(words[2]), drop_all);
                if (r < 0)
                        pin->kind->drop(pin);
        }
        if (r < 0)
                answer_errno(r);
        else
                printf("ok %zu\n", n_pins++);
}

static void do_look(char **words) {
        Pin *pin = pin_at(words[0]);
        Sight sight = {};
        int r = pin->kind->look ? pin->kind->look(pin, &sight) : -ENOTSUP;

        if (r < 0) {
                answer_errno(r);
                return;
        }
        printf("ok");
        for (unsigned i = 0; i < 256; i++)
                if (sight.count[i] > 0)
                        printf(" %02x:%zu", i, sight.count[i]);
        printf("\n");
}

static void do_write(char **words) {
        Pin *pin = pin_at(words[0]);

        answer(pin->kind->write ? pin->kind->write(pin, (uint8_t) number(words[1])) : -ENOTSUP);
}

static void do_unpin(char **words) {
        Pin *pin = pin_at(words[0]);

        pin->kind->drop(pin);
        pin->kind = NULL;
        answer(0);
}

/* ---- Commands ------------------------------------------------------------------------------------------------------ */

static const struct {
        const char *name;
        unsigned least; /* words after it */
        void (*run)(char **words);
} commands[] = {
        { "alloc", 2, do_alloc },               /* SIZE ALIGNMENT [OPTION=VALUE]…: SLOT OBJECT LENGTH */
        { "time", 2, do_time },                 /* the same: MILLISECONDS until usable, and for the end of it */
        { "ask", 2, do_ask },                   /* the same: MILLISECONDS until it is known whether it would be granted */
        { "open", 1, do_open },                 /* NAME [OPTION=VALUE]…: the same */
        { "adopt", 0, do_adopt },               /* : the same */
        { "free", 1, do_free },                 /* OBJECT */
        { "map", 1, do_map },                   /* SLOT [read-only|sync] */
        { "fill", 2, do_fill },                 /* SLOT SEED: with a pattern */
        { "verify", 2, do_verify },             /* SLOT SEED: that pattern is there */
        { "zero", 1, do_zero },                 /* SLOT: nothing but zeros is there */
        { "set", 2, do_set },                   /* SLOT BYTE: everywhere */
        { "persist", 1, do_persist },           /* SLOT: what was stored outlives a power cut */
        { "probe", 1, do_probe },               /* SLOT: fault:COUNT [BYTE:COUNT]…, one byte of each 4 KiB */
        { "poke", 3, do_poke },                 /* SLOT OFFSET BYTE */
        { "unmap", 1, do_unmap },               /* SLOT */
        { "close-memory", 1, do_close_memory }, /* SLOT */
        { "close-lease", 1, do_close_lease },   /* SLOT */
        { "drop", 0, do_drop },                 /* [SLOT]: of it, or of all, everything */
        { "protect", 2, do_protect },           /* SLOT [r][w][x] or - */
        { "remap", 2, do_remap },               /* SLOT LENGTH */
        { "no-huge-pages", 1, do_no_huge_pages }, /* SLOT */
        { "reopen", 1, do_reopen },             /* SLOT: through /proc/self/fd */
        { "truncate", 2, do_truncate },         /* SLOT LENGTH */
        { "allocate", 4, do_allocate },         /* SLOT MODE OFFSET LENGTH: fallocate() */
        { "extend", 2, do_extend },             /* SLOT OFFSET: writes a byte there, but not through a mapping */
        { "link", 2, do_link },                 /* SLOT PATH: gives it another name */
        { "label", 2, do_label },               /* SLOT NAME: an attribute */
        { "fork", 0, do_fork },                 /* : PID */
        { "end-child", 1, do_end_child },       /* PID */
        { "pin", 3, do_pin },                   /* KIND SLOT OFFSET: PIN */
        { "look", 1, do_look },                 /* PIN: [BYTE:COUNT]… as seen through it */
        { "write", 2, do_write },               /* PIN BYTE: through it */
        { "unpin", 1, do_unpin },               /* PIN */
};

static void run_command(char *line) {
        char *words[WORDS_MAX + 1], *rest = NULL;
        unsigned n = 0;

        for (char *word = strtok_r(line, " \n", &rest); word && n < WORDS_MAX; word = strtok_r(NULL, " \n", &rest))
                words[n++] = word;
        words[n] = NULL;
        for (size_t i = 0; n > 0 && i < sizeof(commands) / sizeof(*commands); i++)
                if (strcmp(commands[i].name, words[0]) == 0 && n > commands[i].least) {
                        commands[i].run(words + 1);
                        return;
                }
        answer_errno(EINVAL);
}

int main(void) {
        struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_NODEFER };
        char *line = NULL;
        size_t room = 0;

        sigaction(SIGBUS, &action, NULL);
        sigaction(SIGSEGV, &action, NULL);
        signal(SIGPIPE, SIG_IGN);
        while (getline(&line, &room, stdin) >= 0) {
                run_command(line);
                fflush(stdout);
        }
        free(line);
        drop_all();
        sd_bus_unref(bus);
        return EXIT_SUCCESS;
}
