/* SPDX-License-Identifier: MIT */

/* daxbroker-witness: tells the broker whether anybody, the kernel included, still has a reference to pages of dax memory.
 * Nothing else can tell: not the references that a file keeps, and not what a process has mapped.
 *
 * The order matters. The unit gives us two capabilities, the socket, and /proc/kallsyms as standard input, which whoever
 * opens it needs CAP_SYSLOG for, and not who reads it. With them we find out where the kernel keeps its pages and load
 * one small program into it. Then everything is given up but the means to run this program and to talk about it, and only
 * then is anything read that somebody else has written. Where the kernel does not let us look, we stay and say so. */

#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include "confine.h"
#include "layout.h"
#include "lessons.h"
#include "program.h"
#include "server.h"

#define IDLE_SECONDS 60
#define SILENCE_SECONDS 20

/* The lowest address that the kernel's own memory can have, and what its map of pages is aligned to. */
#define KERNEL_ADDRESS_MIN UINT64_C(0xff00000000000000)
#define BASE_PAGE_SIZE 4096

typedef struct Options {
        const char *broker;
        int idle_seconds;
} Options;

/* 0 to go on, 1 if that was all, -EINVAL if it is not understood. */
static int options_parse(int argc, char **argv, Options *ret) {
        static const struct option known[] = {
                { "broker", required_argument, NULL, 'b' }, { "idle", required_argument, NULL, 'i' },
                { "help", no_argument, NULL, 'h' },         { "version", no_argument, NULL, 'v' },
                { NULL, 0, NULL, 0 },
        };
        Options options = { .idle_seconds = IDLE_SECONDS };
        int c;

        while ((c = getopt_long(argc, argv, "h", known, NULL)) >= 0)
                switch (c) {
                case 'b':
                        options.broker = optarg;
                        break;
                case 'i':
                        options.idle_seconds = atoi(optarg);
                        break;
                case 'h':
                        printf("Usage: %s --broker=USER [--idle=SECONDS]\n"
                               "To be started by its socket unit. Answers USER alone whether dax memory is in use.\n",
                               program_invocation_short_name);
                        return 1;
                case 'v':
                        puts("daxbroker-witness " PACKAGE_VERSION);
                        return 1;
                default:
                        return -EINVAL;
                }
        if (optind != argc || !options.broker || options.idle_seconds < 1 || options.idle_seconds > 86400) {
                fprintf(stderr, "%s: --broker=USER is needed, nothing else is but options\n", program_invocation_short_name);
                return -EINVAL;
        }

        *ret = options;
        return 0;
}

static int user_find(const char *name, uid_t *ret) {
        const struct passwd *user;

        errno = 0;
        user = getpwnam(name);
        if (!user)
                return errno > 0 ? -errno : -ESRCH;

        *ret = user->pw_uid;
        return 0;
}

static int find_layout(Layout *ret, const char **ret_why) {
        struct btf *btf = btf__load_vmlinux_btf();
        int r;

        if (!btf) {
                *ret_why = "the kernel does not describe its types (no BTF)";
                return -errno;
        }
        r = layout_find(btf, ret, ret_why);
        btf__free(btf);
        return r;
}

/* Where the kernel has the array of all struct pages. */
static int find_pages(uint64_t *ret, const char **ret_why) {
        uint64_t variable, pages;
        int r;

        r = symbol_find(stdin, "vmemmap_base", &variable);
        if (r < 0) {
                *ret_why = r == -EACCES ? "the kernel hides its symbols (kernel.kptr_restrict?)"
                                        : "the kernel has no symbol vmemmap_base";
                return r;
        }
        r = program_peek(variable, &pages);
        if (r < 0 || pages < KERNEL_ADDRESS_MIN || pages % BASE_PAGE_SIZE != 0) {
                *ret_why = r < 0 ? "the kernel lets no program read its memory (lockdown?)"
                                 : "the kernel's map of pages is not where it was expected";
                return r < 0 ? r : -ERANGE;
        }

        *ret = pages;
        return 0;
}

/* The descriptor of the program that looks; or why there can be none. */
static int set_up(const char **ret_why) {
        uint64_t pages;
        Layout layout;
        int r;

        r = find_layout(&layout, ret_why);
        if (r < 0)
                return r;
        r = find_pages(&pages, ret_why);
        if (r < 0)
                return r;
        r = program_load(&layout, pages);
        if (r < 0)
                *ret_why = "the kernel does not accept the program that looks";
        return r;
}

static int look(void *context, Look *look_) {
        const int *fd = context;

        return program_look(*fd, look_);
}

static int fail(const char *what, int r) {
        fprintf(stderr, SD_ERR "%s: %s\n", what, strerror(-r));
        return EXIT_FAILURE;
}

static int say_nothing(enum libbpf_print_level level, const char *format, va_list arguments) {
        (void) level;
        (void) format;
        (void) arguments;
        return 0;
}

static void remember(Judge *judge, int *ret_fd) {
        const char *folder = getenv("RUNTIME_DIRECTORY");
        int r;

        if (!folder)
                return;
        r = lessons_open(folder, ret_fd);
        if (r < 0)
                fprintf(stderr, SD_WARNING "What is learnt will not be kept: %s: %s\n", folder, strerror(-r));
        else
                lessons_read(*ret_fd, judge);
}

int main(int argc, char **argv) {
        Server server = { .listener = SD_LISTEN_FDS_START, .lessons = -EBADF, .silence_seconds = SILENCE_SECONDS };
        Options options;
        int program, r;
        Judge judge;

        r = options_parse(argc, argv, &options);
        if (r != 0)
                return r > 0 ? EXIT_SUCCESS : 2;
        r = confine_begin();
        if (r < 0)
                return fail("This does not run as root, or with privileges to gain", r);
        if (sd_listen_fds(true) != 1 || sd_is_socket(server.listener, AF_UNIX, SOCK_SEQPACKET, true) <= 0)
                return fail("This is started by its socket unit", -EINVAL);
        r = user_find(options.broker, &server.broker);
        if (r < 0)
                return fail(options.broker, r);
        (void) fcntl(server.listener, F_SETFL, O_NONBLOCK);

        (void) libbpf_set_print(say_nothing);
        judge_init(&judge, look, &program);
        program = set_up(&judge.blind);
        if (program < 0)
                fprintf(stderr, SD_WARNING "Nothing can be looked at: %s: %s\n", judge.blind, strerror(-program));
        else
                remember(&judge, &server.lessons);

        /* The number stays taken, so that it is nobody's by accident. */
        if (!freopen("/dev/null", "re", stdin))
                return fail("/dev/null", -errno);
        r = confine_finish();
        if (r < 0)
                return fail("Cannot give up privileges", r);

        server.judge = &judge;
        server.idle_seconds = options.idle_seconds;
        r = server_run(&server);
        return r < 0 ? fail("Cannot serve", r) : EXIT_SUCCESS;
}
