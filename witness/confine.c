/* SPDX-License-Identifier: MIT */

/* CAP_BPF and CAP_PERFMON are needed to load a program into the kernel, and not to run one that is loaded. So they are
 * gone, and most system calls with them, before the first request is read. */

#include "confine.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *const allowed[] = {
        "poll", "ppoll", "restart_syscall", "accept4", "getsockopt", "recvfrom", "sendto", "close", /* serving */
        "pwrite64", "write", "writev",                                                              /* lessons, the log */
        "brk", "mmap", "munmap", "mremap", "madvise", "futex",                                      /* the C library's */
        "clock_gettime", "rt_sigreturn", "rt_sigprocmask", "exit", "exit_group", "newfstatat", "fstat",
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
        "ptrace", "wait4", "kill", "tkill", "tgkill", "process_vm_readv", "personality", "getdents", "getdents64", "pipe2",
        "open", "openat", "read", "stat", "lstat", "dup", "dup2", "clone", "clone3", "prctl", "getpid", "gettid", "getppid",
        "mprotect", "sched_yield", "rt_sigaction", "sigaltstack", "readlink", "getrlimit", "prlimit64", "set_robust_list",
        "lseek", "sched_getaffinity",
#endif
        NULL,
};

int confine_begin(void) {
        if (getuid() == 0 || geteuid() == 0)
                return -EPERM;

        return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static int drop_capabilities(void) {
        struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
        struct __user_cap_data_struct none[2] = { 0 };

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

static int filter_load(void) {
        scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
        int r;

        if (!filter)
                return -ENOMEM;

        r = filter_allow(filter, allowed, sizeof(allowed) / sizeof(allowed[0]));
        if (r >= 0)
                r = filter_allow(filter, allowed_sanitized, sizeof(allowed_sanitized) / sizeof(allowed_sanitized[0]));
        if (r >= 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(bpf), 1, SCMP_A0(SCMP_CMP_EQ, BPF_PROG_TEST_RUN, 0));
        if (r >= 0)
                r = seccomp_load(filter);
        seccomp_release(filter);
        return r;
}

int confine_finish(void) {
        int r;

        r = drop_capabilities();
        if (r < 0)
                return r;

        return filter_load();
}
