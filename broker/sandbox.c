/* SPDX-License-Identifier: MIT */

/* The broker locks itself in, whatever its unit does besides. It has no capability and cannot gain one, and once it runs, a
 * system call that it has no business to make ends it: a restart loses nothing. The list is what the code here and the
 * libraries below it use, with room for what the C library chooses between. */

#include "sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

static const char *const allowed[] = {
        /* memory, of our own and for others */
        "brk", "mmap", "munmap", "mprotect", "mremap", "madvise", "memfd_create", "ftruncate", "fallocate", "mbind",
        "set_mempolicy", "get_mempolicy",
        /* files: configuration, records, leases, sysfs, procfs, user database */
        "openat", "close", "read", "pread64", "write", "writev", "lseek", "fstat", "newfstatat", "statx", "fstatfs",
        "statfs", "faccessat", "faccessat2", "access", "readlinkat", "readlink", "getdents64", "mknodat", "unlinkat",
        "renameat", "renameat2", "fchmod", "fcntl", "flock", "fsync",
        /* the event loop and the bus; sockets below */
        "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "eventfd2",
        "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4", "connect", "sendmsg", "recvmsg", "sendto",
        "recvfrom", "getsockopt", "setsockopt", "getsockname", "getpeername", "shutdown", "ioctl",
        /* threads, signals, time */
        "clone", "clone3", "futex", "set_robust_list", "rseq", "exit", "exit_group", "rt_sigaction", "rt_sigprocmask",
        "rt_sigreturn", "rt_sigtimedwait", "sigaltstack", "tgkill", "sched_yield", "sched_getaffinity", "restart_syscall",
        "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
        /* about ourselves */
        "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getresuid", "getresgid",
        "getrandom", "getrlimit", "prlimit64", "prctl", "uname", "sysinfo", "getcpu", "membarrier", "getrusage", "capget",
};

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

/* What the sanitizers need to look at a process that is ending. */
static const char *const allowed_sanitized[] = {
#ifdef SANITIZED
        "ptrace", "wait4", "kill", "tkill", "process_vm_readv", "personality", "getdents", "pipe2", "open", "stat", "lstat",
        "dup", "dup2", "unlink", "rename", "socketpair",
#endif
        NULL,
};

int sandbox_drop_privileges(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[2] = { 0 };

        if (geteuid() == 0 || getuid() == 0) {
                log_error("daxbrokerd does not run as root; the unit has a user of its own for it");
                return -EPERM;
        }
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

        return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static int filter_allow(scmp_filter_ctx filter, const char *const *names, size_t n) {
        for (size_t i = 0; i < n && names[i]; i++) {
                int number = seccomp_syscall_resolve_name(names[i]);
                int r;

                if (number == __NR_SCMP_ERROR)
                        continue; /* not on this architecture */
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
                if (r < 0)
                        return r;
        }

        return 0;
}

/* The bus, the log and the user database are local sockets; a name service that wants the network is told there is none. */
static int filter_allow_sockets(scmp_filter_ctx filter) {
        int r;

        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
        if (r < 0)
                return r;

        return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0));
}

int sandbox_filter(FilterMode mode) {
        scmp_filter_ctx filter;
        int r;

        if (mode == FILTER_OFF) {
                log_warning("SystemCallFilter=off: the broker runs without a system call filter");
                return 0;
        }

        filter = seccomp_init(mode == FILTER_KILL ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_LOG);
        if (!filter)
                return -ENOMEM;

        r = filter_allow(filter, allowed, sizeof(allowed) / sizeof(allowed[0]));
        if (r >= 0)
                r = filter_allow(filter, allowed_sanitized, sizeof(allowed_sanitized) / sizeof(allowed_sanitized[0]));
        if (r >= 0)
                r = filter_allow_sockets(filter);
        if (r >= 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
        if (r >= 0)
                r = seccomp_load(filter);
        seccomp_release(filter);
        return r;
}
