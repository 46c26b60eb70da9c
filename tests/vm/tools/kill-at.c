/* SPDX-License-Identifier: MIT */

/*     kill-at PID COUNT
 *
 * Kills a process as it is about to make its COUNTth system call, of all its threads together, from the line "go" on that
 * this reads after it has said "ready". Only calls that leave something behind are counted: between two of them nobody can
 * tell one moment from another. Says "killed CALL WHERE"; or, if it is told "stop" before, "counted NUMBER". */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)

static const struct {
        unsigned long number;
        const char *name;
        bool takes_fd; /* first, and it says where */
} calls[] = {
        { SYS_write, "write", true },           { SYS_pwrite64, "pwrite", true },     { SYS_writev, "writev", true },
        { SYS_sendmsg, "sendmsg", true },       { SYS_sendto, "sendto", true },       { SYS_close, "close", true },
        { SYS_ftruncate, "ftruncate", true },   { SYS_fallocate, "fallocate", true }, { SYS_fsync, "fsync", true },
        { SYS_munmap, "munmap", false },        { SYS_openat, "openat", false },      { SYS_unlink, "unlink", false },
        { SYS_unlinkat, "unlinkat", false },    { SYS_rename, "rename", false },      { SYS_renameat, "renameat", false },
        { SYS_renameat2, "renameat2", false },  { SYS_mkdir, "mkdir", false },        { SYS_mkdirat, "mkdirat", false },
        { SYS_mknod, "mknod", false },          { SYS_mknodat, "mknodat", false },    { SYS_fchmod, "fchmod", true },
        { SYS_inotify_add_watch, "inotify_add_watch", false }, { SYS_inotify_rm_watch, "inotify_rm_watch", false },
};

static pid_t pid;
static bool counting;
static unsigned long count, last;

static void attach(pid_t thread) {
        if (ptrace(PTRACE_SEIZE, thread, NULL, OPTIONS) == 0)
                ptrace(PTRACE_INTERRUPT, thread, NULL, NULL);
}

static void attach_all(void) {
        char path[64];
        struct dirent *entry;
        DIR *directory;

        snprintf(path, sizeof(path), "/proc/%d/task", pid);
        directory = opendir(path);
        if (!directory) {
                fprintf(stderr, "kill-at: there is no process %d\n", pid);
                exit(EXIT_FAILURE);
        }
        while ((entry = readdir(directory)))
                if (entry->d_name[0] != '.')
                        attach(atoi(entry->d_name));
        closedir(directory);
}

/* What a descriptor leads to; 0-terminated. */
static void look_up(unsigned long fd, char *ret, size_t room) {
        char path[64];
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/%d/fd/%lu", pid, fd);
        n = readlink(path, ret, room - 1);
        ret[n > 0 ? n : 0] = '\0';
}

/* To have looked at something leaves nothing behind. */
static bool only_looks(const struct ptrace_syscall_info *info, const char *target) {
        if (info->entry.nr == SYS_openat)
                return !(info->entry.args[2] & (O_CREAT | O_TRUNC));
        return info->entry.nr == SYS_close && (strncmp(target, "/sys/", 5) == 0 || strncmp(target, "/proc/", 6) == 0);
}

static void count_call(const struct ptrace_syscall_info *info, size_t i) {
        char target[256] = "";

        if (calls[i].takes_fd)
                look_up(info->entry.args[0], target, sizeof(target));
        if (only_looks(info, target) || ++count != last)
                return;
        kill(pid, SIGKILL);
        printf("killed %s %s\n", calls[i].name, target);
        exit(EXIT_SUCCESS);
}

static void on_call(pid_t thread) {
        struct ptrace_syscall_info info;

        if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) < 0 ||
            info.op != PTRACE_SYSCALL_INFO_ENTRY || !counting)
                return;
        for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
                if (calls[i].number == info.entry.nr)
                        count_call(&info, i);
}

/* Everything that has stopped goes on. */
static void serve_stops(void) {
        int status;
        pid_t thread;

        while ((thread = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
                int signal = 0;

                if (!WIFSTOPPED(status)) {
                        if (thread == pid) {
                                printf("counted %lu\n", count);
                                exit(EXIT_SUCCESS);
                        }
                        continue;
                }
                if (WSTOPSIG(status) == (SIGTRAP | 0x80))
                        on_call(thread);
                else if (status >> 16 == 0)
                        signal = WSTOPSIG(status);
                ptrace(PTRACE_SYSCALL, thread, NULL, signal);
        }
}

static void serve_orders(void) {
        char line[16];
        ssize_t n = read(STDIN_FILENO, line, sizeof(line));

        if (n >= 2 && memcmp(line, "go", 2) == 0) {
                counting = true;
                return;
        }
        printf("counted %lu\n", count);
        exit(EXIT_SUCCESS); /* which lets it go on */
}

int main(int argc, char **argv) {
        struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };
        struct signalfd_siginfo info;
        sigset_t set;

        if (argc != 3) {
                fprintf(stderr, "usage: kill-at PID COUNT\n");
                return 2;
        }
        pid = atoi(argv[1]);
        last = strtoul(argv[2], NULL, 10);
        setvbuf(stdout, NULL, _IOLBF, 0);
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);
        fds[1].fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);

        attach_all();
        printf("ready\n");
        for (;;) {
                if (poll(fds, 2, -1) < 0 && errno != EINTR)
                        return EXIT_FAILURE;
                if (fds[1].revents) {
                        while (read(fds[1].fd, &info, sizeof(info)) > 0)
                                ;
                        serve_stops();
                }
                if (fds[0].revents)
                        serve_orders();
        }
}
