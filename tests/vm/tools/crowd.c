/* SPDX-License-Identifier: MIT */

/* Many users of the broker's direct socket, each a process of his own, who hold many small allocations; and who look on.
 *
 *      crowd hold UID USERS CONNECTIONS EACH    users from UID on, and what each has
 *      crowd probe UID                          somebody who asks for memory again and again
 *      crowd list                               all pages of a list: how many, a sum of their ids, the slowest page in ms
 *
 * The first two take commands from standard input and answer each with a line, "ok" and numbers:
 *
 *      hold    take     until everybody has what he is to have: how many
 *              check    everybody opens some of his anew, and finds what he has left there: how many
 *              kill     all of them at once
 *      probe   ask N    Allocate, N times: the median and the slowest answer in microseconds
 *              watch    the same until the next line comes: how often, and the slowest one; "watching" first
 *
 * Each user is asked about once: he has a grant. */

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#define ADDRESS "unix:path=/run/daxbroker/bus"
#define ROOT "/org/daxbroker1"
#define MANAGER "org.daxbroker1.Manager"
#define ALLOCATION "org.daxbroker1.Allocation"

#define SIZE UINT64_C(4096)
#define PATIENCE (UINT64_C(600) * 1000000) /* microseconds; emulated, with everybody asking at once */
#define AT_ONCE 16 /* users who are busy at a time */
#define STAMPED 16 /* one allocation out of so many has something written into it */
#define PROBED 16 /* what somebody may have who asks again and again */
#define PATH_SIZE 64

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        fprintf(stderr, "crowd: ");
        vfprintf(stderr, format, arguments);
        fputc('\n', stderr);
        va_end(arguments);
        exit(EXIT_FAILURE);
}

static unsigned number(const char *text) {
        char *end;
        unsigned long n = strtoul(text, &end, 10);

        if (*text == '\0' || *end != '\0' || n > INT32_MAX)
                die("'%s' is no number", text);
        return (unsigned) n;
}

static uint64_t now_usec(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
}

static void become(uid_t uid) {
        if (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0)
                die("cannot become user %u: %s", uid, strerror(errno));
}

/* ---- Calls ----------------------------------------------------------------------------------------------------------- */

static sd_bus *connect_directly(void) {
        sd_bus *bus;
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, ADDRESS);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, 1);
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(bus, PATIENCE);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                die("cannot connect: %s", strerror(-r));
        return bus;
}

static sd_bus_message *finish_call(sd_bus *bus, sd_bus_message *call) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply;
        int r;

        r = sd_bus_call(bus, call, PATIENCE, &error, &reply);
        if (r < 0)
                die("user %u: %s: %s: %s", getuid(), sd_bus_message_get_member(call), strerror(-r),
                    error.message ? error.message : "");
        sd_bus_message_unref(call);
        return reply;
}

static sd_bus_message *begin_call(sd_bus *bus, const char *path, const char *interface, const char *member) {
        sd_bus_message *call;

        if (sd_bus_message_new_method_call(bus, &call, NULL, path, interface, member) < 0)
                die("no memory");
        return call;
}

static int keep_fd(int fd) {
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                die("cannot keep a descriptor: %s", strerror(errno));
        return fd;
}

/* The path of a grant of so many bytes; its lease stays open. */
static void reserve(sd_bus *bus, uint64_t size, char ret[static PATH_SIZE]) {
        sd_bus_message *call = begin_call(bus, ROOT, MANAGER, "Reserve"), *reply;
        const char *grant;
        int lease;

        if (sd_bus_message_append(call, "ta{sv}", size, 0) < 0)
                die("no memory");
        reply = finish_call(bus, call);
        if (sd_bus_message_read(reply, "oh", &grant, &lease) < 0)
                die("Reserve has another answer");
        keep_fd(lease);
        snprintf(ret, PATH_SIZE, "%s", grant);
        sd_bus_message_unref(reply);
}

/* The lease of a new allocation, and its path; the stamp goes into its memory, if there is one. */
static int take(sd_bus *bus, const char *grant, char ret_path[static PATH_SIZE], const uint64_t *stamp) {
        sd_bus_message *call = begin_call(bus, ROOT, MANAGER, "Allocate"), *reply;
        const char *path;
        int memory, lease;

        if (sd_bus_message_append(call, "tta{sv}", SIZE, SIZE, 1, "grant", "o", grant) < 0)
                die("no memory");
        reply = finish_call(bus, call);
        if (sd_bus_message_read(reply, "ohh", &path, &memory, &lease) < 0)
                die("Allocate has another answer");
        if (stamp && pwrite(memory, stamp, sizeof(*stamp), 0) != sizeof(*stamp))
                die("cannot write: %s", strerror(errno));
        snprintf(ret_path, PATH_SIZE, "%s", path);
        lease = keep_fd(lease);
        sd_bus_message_unref(reply); /* and with it the memory */
        return lease;
}

static void stamp_check(sd_bus *bus, const char *path, uint64_t value) {
        sd_bus_message *call = begin_call(bus, path, ALLOCATION, "Open"), *reply;
        const char *opened;
        uint64_t found;
        int memory;

        if (sd_bus_message_append(call, "a{sv}", 0) < 0)
                die("no memory");
        reply = finish_call(bus, call);
        if (sd_bus_message_read(reply, "oh", &opened, &memory) < 0)
                die("Open has another answer");
        if (pread(memory, &found, sizeof(found), 0) != sizeof(found) || found != value)
                die("%s of user %u has not what he left there", path, getuid());
        sd_bus_message_unref(reply);
}

/* ---- One of those who hold ------------------------------------------------------------------------------------------- */

typedef struct Member {
        pid_t pid;
        int socket; /* the command, a byte, and how many it was done for */
} Member;

static uint64_t stamp_of(unsigned i) {
        return (uint64_t) getuid() << 32 | i;
}

/* Connections stay open as long as the process, as leases do. */
static sd_bus **connect_often(unsigned n) {
        sd_bus **buses = calloc(n, sizeof(*buses));

        if (!buses)
                die("no memory");
        for (unsigned i = 0; i < n; i++)
                buses[i] = connect_directly();
        return buses;
}

static uint32_t member_take(unsigned n_buses, unsigned each, char (*paths)[PATH_SIZE]) {
        sd_bus **buses = connect_often(n_buses);
        char grant[PATH_SIZE];

        reserve(buses[0], each * SIZE, grant);
        for (unsigned i = 0; i < each; i++) {
                uint64_t stamp = stamp_of(i);

                (void) take(buses[i % n_buses], grant, paths[i], i % STAMPED == 0 ? &stamp : NULL);
        }
        return each;
}

/* By as many connections, to the broker of now. */
static uint32_t member_check(unsigned n_buses, unsigned each, char (*paths)[PATH_SIZE]) {
        unsigned n = (each + STAMPED - 1) / STAMPED;
        sd_bus **buses = connect_often(n_buses);

        for (unsigned i = 0; i < n || i < n_buses; i++)
                stamp_check(buses[i % n_buses], paths[i % n * STAMPED], stamp_of(i % n * STAMPED));
        return n;
}

__attribute__((noreturn)) static void member_run(int socket, uid_t uid, unsigned n_buses, unsigned each) {
        char (*paths)[PATH_SIZE] = calloc(each, PATH_SIZE), command;
        uint32_t n;

        if (!paths)
                die("no memory");
        become(uid);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* lost with the change of user */
        while (read(socket, &command, 1) == 1) {
                n = command == 't' ? member_take(n_buses, each, paths) : member_check(n_buses, each, paths);
                if (write(socket, &n, sizeof(n)) != sizeof(n))
                        break;
        }
        exit(EXIT_SUCCESS);
}

/* ---- All of them ----------------------------------------------------------------------------------------------------- */

static void member_start(Member *member, uid_t uid, unsigned n_buses, unsigned each) {
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                die("no sockets: %s", strerror(errno));
        member->pid = fork();
        if (member->pid < 0)
                die("no more processes: %s", strerror(errno));
        if (member->pid == 0) {
                close(pair[0]);
                member_run(pair[1], uid, n_buses, each);
        }
        close(pair[1]);
        member->socket = pair[0];
}

/* Has everybody do it, some at a time; how many it was done for. */
static uint64_t members_tell(Member *members, unsigned n, char command) {
        uint64_t sum = 0;
        uint32_t done;

        for (unsigned i = 0; i < n + AT_ONCE; i++) {
                if (i >= AT_ONCE && i - AT_ONCE < n) {
                        if (read(members[i - AT_ONCE].socket, &done, sizeof(done)) != sizeof(done))
                                die("a user has ended");
                        sum += done;
                }
                if (i < n && write(members[i].socket, &command, 1) != 1)
                        die("a user has ended");
        }
        return sum;
}

static void members_kill(const Member *members, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                kill(members[i].pid, SIGKILL);
        for (unsigned i = 0; i < n; i++)
                waitpid(members[i].pid, NULL, 0);
}

static int hold(uid_t first, unsigned n, unsigned n_buses, unsigned each) {
        Member *members = calloc(n, sizeof(*members));
        char line[32];

        if (!members || n_buses == 0 || n_buses > each)
                die("each user needs a connection, and an allocation for each");
        for (unsigned i = 0; i < n; i++)
                member_start(&members[i], first + i, n_buses, each);
        printf("ok %u\n", n);

        while (fflush(stdout), fgets(line, sizeof(line), stdin)) {
                if (strcmp(line, "take\n") == 0)
                        printf("ok %" PRIu64 "\n", members_tell(members, n, 't'));
                else if (strcmp(line, "check\n") == 0)
                        printf("ok %" PRIu64 "\n", members_tell(members, n, 'c'));
                else if (strcmp(line, "kill\n") == 0) {
                        members_kill(members, n);
                        printf("ok %u\n", n);
                } else
                        die("there is no command %s", line);
        }
        return EXIT_SUCCESS;
}

/* ---- Who looks on ---------------------------------------------------------------------------------------------------- */

static int compare_times(const void *a, const void *b) {
        const uint64_t *x = a, *y = b;

        return (*x > *y) - (*x < *y);
}

/* How long an Allocate takes; its end is off the clock. Just to close it would have it wait behind all who died before. */
static uint64_t ask_once(sd_bus *bus, const char *grant) {
        char path[PATH_SIZE];
        uint64_t begin = now_usec(), time;
        int lease = take(bus, grant, path, NULL);

        time = now_usec() - begin;
        sd_bus_message_unref(finish_call(bus, begin_call(bus, path, ALLOCATION, "Free")));
        close(lease);
        return time;
}

static void ask(sd_bus *bus, const char *grant, unsigned n) {
        uint64_t *times = calloc(n, sizeof(*times));

        if (!times || n == 0)
                die("how often?");
        for (unsigned i = 0; i < n; i++)
                times[i] = ask_once(bus, grant);
        qsort(times, n, sizeof(*times), compare_times);
        printf("ok %" PRIu64 " %" PRIu64 "\n", times[n / 2], times[n - 1]);
        free(times);
}

static void watch(sd_bus *bus, const char *grant) {
        struct pollfd next = { .fd = STDIN_FILENO, .events = POLLIN };
        uint64_t time, slowest = 0;
        unsigned n = 0;

        puts("watching");
        for (; fflush(stdout), poll(&next, 1, 0) == 0; n++) {
                time = ask_once(bus, grant);
                slowest = time > slowest ? time : slowest;
        }
        printf("ok %u %" PRIu64 "\n", n, slowest);
}

static int probe(uid_t uid) {
        char grant[PATH_SIZE], line[32];
        sd_bus *bus;

        setvbuf(stdin, NULL, _IONBF, 0); /* watch() polls it */
        become(uid);
        bus = connect_directly();
        reserve(bus, PROBED * SIZE, grant);
        puts("ok");
        while (fflush(stdout), fgets(line, sizeof(line), stdin)) {
                line[strcspn(line, "\n")] = '\0';
                if (strcmp(line, "watch") == 0)
                        watch(bus, grant);
                else if (strncmp(line, "ask ", 4) == 0)
                        ask(bus, grant, number(line + 4));
        }
        return EXIT_SUCCESS;
}

/* What is behind this object, which becomes the last one of it; false if there is no more. */
static bool list_page(sd_bus *bus, char after[static PATH_SIZE], uint64_t *n, uint64_t *sum) {
        sd_bus_message *call = begin_call(bus, ROOT, MANAGER, "ListAllocationsPaged"), *reply;
        int more = 0, r;

        r = after[0] == '\0' ? sd_bus_message_append(call, "a{sv}", 0)
                             : sd_bus_message_append(call, "a{sv}", 1, "after", "o", after);
        if (r < 0)
                die("no memory");
        reply = finish_call(bus, call);
        r = sd_bus_message_enter_container(reply, 'a', "(soa{sv})");
        while (r >= 0 && !sd_bus_message_at_end(reply, false)) {
                const char *path;

                r = sd_bus_message_enter_container(reply, 'r', "soa{sv}");
                if (r >= 0)
                        r = sd_bus_message_read(reply, "so", NULL, &path);
                if (r < 0)
                        break;
                ++*n;
                *sum += strtoull(strrchr(path, '/') + 1, NULL, 16);
                snprintf(after, PATH_SIZE, "%s", path);
                r = sd_bus_message_skip(reply, "a{sv}");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "b", &more);
        if (r < 0)
                die("ListAllocationsPaged has another answer");
        sd_bus_message_unref(reply);
        return more;
}

static int list(void) {
        sd_bus *bus = connect_directly();
        uint64_t n = 0, sum = 0, slowest = 0, begin, time;
        char after[PATH_SIZE] = "";
        bool more;

        do {
                begin = now_usec();
                more = list_page(bus, after, &n, &sum);
                time = now_usec() - begin;
                slowest = time > slowest ? time : slowest;
        } while (more);
        printf("ok %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", n, sum, slowest / 1000);
        return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
        if (argc == 6 && strcmp(argv[1], "hold") == 0)
                return hold(number(argv[2]), number(argv[3]), number(argv[4]), number(argv[5]));
        if (argc == 3 && strcmp(argv[1], "probe") == 0)
                return probe(number(argv[2]));
        if (argc == 2 && strcmp(argv[1], "list") == 0)
                return list();
        die("usage: crowd hold UID USERS CONNECTIONS EACH | probe UID | list");
}
