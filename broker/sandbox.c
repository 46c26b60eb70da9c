/* SPDX-License-Identifier: MIT */

/* The broker locks itself in, whatever its unit does besides. It has no capability and cannot gain one, but for that of
 * making files immutable, which a unit may have been given for regions that are directories. It can open files in those
 * places only where it has any business (Landlock), and write to still fewer. And once it runs, a system call that
 * it has no business to make ends it: a restart loses nothing. That list is what the code here and the libraries below it
 * use, with room for what the C library chooses between.
 *
 * What Landlock allows is decided before the configuration is read for good, so that no thread is older than it; only the
 * directories of regions are looked for before. Where it must not be, the unit can tell the kernel's calls to say so:
 * SystemCallFilter=~landlock_create_ruleset:ENOSYS */

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "log.h"

/* Later than the oldest headers that this is built with. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#ifndef LANDLOCK_ACCESS_FS_IOCTL_DEV
#define LANDLOCK_ACCESS_FS_IOCTL_DEV (1ULL << 15)
#endif

static const char *const allowed[] = {
        /* memory, of our own and for others */
        "brk", "mmap", "munmap", "mprotect", "mremap", "madvise", "memfd_create", "ftruncate", "fallocate", "mbind",
        "set_mempolicy", "get_mempolicy",
        /* files: configuration, records, leases, sysfs, procfs, user database */
        "openat", "close", "read", "pread64", "write", "writev", "lseek", "fstat", "newfstatat", "statx", "fstatfs",
        "statfs", "faccessat", "faccessat2", "access", "readlinkat", "readlink", "getdents64", "mknodat", "unlinkat",
        "renameat", "renameat2", "fchmod", "fcntl", "flock", "fsync",
        /* files that are regions' memory, and what keeps their holders from truncating them */
        "linkat", "fsetxattr", "fgetxattr", "fremovexattr", "landlock_create_ruleset", "landlock_restrict_self",
        "timer_create", "timer_settime", "timer_delete",
        /* devices and their attributes: written, and watched */
        "pwrite64", "inotify_init1", "inotify_add_watch", "inotify_rm_watch",
        /* the event loop and the bus; sockets below */
        "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll", "eventfd2",
        "timerfd_create", "timerfd_settime", "timerfd_gettime", "signalfd4", "connect", "sendmsg", "recvmsg", "sendto",
        "recvfrom", "accept4", "socketpair", "dup3", "pidfd_open", "getsockopt", "setsockopt", "getsockname", "getpeername",
        "shutdown", "ioctl",
        /* threads, signals, time */
        "clone", "clone3", "futex", "set_robust_list", "rseq", "exit", "exit_group", "rt_sigaction", "rt_sigprocmask",
        "rt_sigreturn", "rt_sigtimedwait", "sigaltstack", "tgkill", "sched_yield", "sched_getaffinity", "restart_syscall",
        "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time",
        /* about ourselves */
        "getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getgroups", "getresuid", "getresgid",
        "getrandom", "getrlimit", "prlimit64", "prctl", "uname", "sysinfo", "getcpu", "membarrier", "getrusage", "capget",
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

/* What the sanitizers need to look at a process that is ending. */
static const char *const allowed_sanitized[] = {
#ifdef SANITIZED
        "ptrace", "wait4", "kill", "tkill", "process_vm_readv", "personality", "getdents", "pipe2", "open", "stat", "lstat",
        "dup", "dup2", "unlink", "rename",
#endif
        NULL,
};

int sandbox_drop_privileges(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct keep[2] = { 0 };
        uint32_t immutable = UINT32_C(1) << CAP_LINUX_IMMUTABLE;

        if (geteuid() == 0 || getuid() == 0) {
                log_error("daxbrokerd does not run as root; the unit has a user of its own for it");
                return -EPERM;
        }
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        (void) prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

        if (syscall(SYS_capget, &header, keep) < 0)
                return -errno;
        keep[0].permitted &= immutable;
        keep[0].effective = keep[0].permitted;
        keep[0].inheritable = 0;
        keep[1] = (struct __user_cap_data_struct){ 0 };
        return syscall(SYS_capset, &header, keep) < 0 ? -errno : 0;
}

/* ---- Files ---- */

#define MAY_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* What is there; nothing can be made or removed. */
#define MAY_WRITE (MAY_READ | LANDLOCK_ACCESS_FS_WRITE_FILE)
#define MAY_KEEP                                                                                                       \
        (MAY_WRITE | LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |    \
         LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_FIFO)

/* All that this kernel can forbid. From version 9 on it could also keep us from sockets, and those are how we talk. */
static uint64_t landlock_rights(long version) {
        uint64_t rights = MAY_KEEP | LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
                          LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_SYM |
                          LANDLOCK_ACCESS_FS_REFER | LANDLOCK_ACCESS_FS_IOCTL_DEV;

        if (version < 2)
                rights &= ~LANDLOCK_ACCESS_FS_REFER;
        if (version < 3)
                rights &= ~LANDLOCK_ACCESS_FS_TRUNCATE;
        if (version < 5)
                rights &= ~LANDLOCK_ACCESS_FS_IOCTL_DEV;
        return rights;
}

static int landlock_allow_opened(int ruleset, const char *path, int flags, uint64_t rights) {
        struct landlock_path_beneath_attr rule = { .allowed_access = rights };
        _cleanup_close_ int fd = -EBADF;

        fd = open(path, O_PATH | O_CLOEXEC | flags);
        if (fd < 0) /* there is nothing to allow, then */
                return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;

        rule.parent_fd = fd;
        return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

static int landlock_allow(int ruleset, const char *path, uint64_t rights) {
        return landlock_allow_opened(ruleset, path, O_DIRECTORY, rights);
}

/* The file that the service manager has memory pressure told by, if any. */
static int landlock_allow_pressure(int ruleset) {
        const uint64_t rights = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE;
        const char *path = getenv("MEMORY_PRESSURE_WATCH");

        return path && path[0] == '/' ? landlock_allow_opened(ruleset, path, 0, rights) : 0;
}

/* The folders that the service manager has for us. */
static int landlock_allow_listed(int ruleset, const char *variable, uint64_t rights) {
        _cleanup_free_ char *paths = NULL;
        const char *value = getenv(variable);
        char *path, *next;
        int r = 0;

        if (!value)
                return 0;
        paths = strdup(value);
        if (!paths)
                return -ENOMEM;

        next = paths;
        while (r >= 0 && (path = strsep(&next, ":")))
                if (path[0] == '/')
                        r = landlock_allow(ruleset, path, rights);
        return r;
}

typedef struct PathRule {
        int ruleset;
        uint64_t rights;
} PathRule;

static int landlock_allow_path(const char *path, void *userdata) {
        const PathRule *rule = userdata;

        return landlock_allow(rule->ruleset, path, rule->rights);
}

static int landlock_allow_all(int ruleset, uint64_t handled) {
        PathRule regions = { .ruleset = ruleset, .rights = MAY_KEEP & handled };
        static const struct {
                const char *path;
                uint64_t rights;
        } places[] = {
                /* configuration, user databases and the libraries that read them, which may keep caches */
                { "/etc", MAY_READ },
                { "/usr", MAY_READ },
                { "/lib", MAY_READ },
                { "/lib64", MAY_READ },
                { "/nix/store", MAY_READ },
                { "/gnu/store", MAY_READ },
                { "/run", MAY_READ },
                { "/var/lib", MAY_READ },
                { "/proc", MAY_READ },
                { "/proc/pressure", MAY_WRITE }, /* when to tell that memory is short */
                { "/sys", MAY_READ },
                /* Regions come and go, and so do devices in them: all dynamic ones have a parent among the platform's, and
                 * NVDIMMs one there or among ACPI's. The modes of the files there say which are ours to write, see
                 * policy/README.md. */
                { "/sys/devices/platform", MAY_WRITE },
                { "/sys/devices/LNXSYSTM:00", MAY_WRITE },
                { "/sys/bus", MAY_WRITE }, /* that of NVDIMMs may come later than we */
                { "/dev", MAY_WRITE },
                /* regions that are directories, also on what is mounted later; others are in the configuration */
                { SANDBOX_FILES, MAY_KEEP },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < sizeof(places) / sizeof(places[0]); i++)
                r = landlock_allow(ruleset, places[i].path, places[i].rights & handled);
        if (r >= 0)
                r = landlock_allow_listed(ruleset, "CONFIGURATION_DIRECTORY", MAY_READ);
        if (r >= 0)
                r = landlock_allow_listed(ruleset, "RUNTIME_DIRECTORY", (MAY_KEEP | LANDLOCK_ACCESS_FS_MAKE_SOCK) & handled);
        if (r >= 0)
                r = landlock_allow_listed(ruleset, "STATE_DIRECTORY", MAY_KEEP & handled);
        if (r >= 0)
                r = landlock_allow_pressure(ruleset);
        if (r >= 0)
                r = config_each_path(landlock_allow_path, &regions);
        return r;
}

int sandbox_restrict_files(int *ret_version) {
        struct landlock_ruleset_attr attr = { 0 };
        _cleanup_close_ int ruleset = -EBADF;
        long version;
        int r;

        version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
        if (version < 0) {
                *ret_version = 0;
                return 0;
        }

        attr.handled_access_fs = landlock_rights(version);
        ruleset = (int) syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
        if (ruleset < 0)
                return -errno;
        r = landlock_allow_all(ruleset, attr.handled_access_fs);
        if (r < 0)
                return r;
        if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
                return -errno;

        *ret_version = (int) version;
        return 0;
}

/* ---- System calls ---- */

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

        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
        if (r < 0)
                return r;
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
        if (r < 0)
                return r;

        return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0));
}

/* Threads may become less important, and nothing else. */
static int filter_allow_idling(scmp_filter_ctx filter) {
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(sched_setscheduler), 2, SCMP_A0(SCMP_CMP_EQ, 0, 0),
                                SCMP_A1(SCMP_CMP_EQ, SCHED_IDLE, 0));
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
                r = filter_allow_idling(filter);
        if (r >= 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
        if (r >= 0)
                r = seccomp_load(filter);
        seccomp_release(filter);
        return r;
}
