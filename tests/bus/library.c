/* SPDX-License-Identifier: MIT */

#include "library.h"

#include <dirent.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provider.h"

/* There if the program was built with the address sanitizer. */
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

typedef struct Job {
        UserFunction function;
} Job;

static bool has_leaks(void) {
        return __lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check() != 0;
}

/* The process is the fork of one with threads: what one of these was busy with at that moment seems to have leaked. */
static int64_t do_job(UserCall *call) {
        const Job *job = call->data;
        bool had_leaks = has_leaks();

        g_assert_cmpint(job->function(call), ==, 0);
        return !had_leaks && has_leaks();
}

void as_begin(User *user, UserFunction function) {
        const Job job = { function };

        user_begin(user, do_job, &job, sizeof(job), NULL, 0);
}

void as_end(User *user) {
        g_assert_cmpint(user_end(user, NULL, 0, NULL, NULL), ==, 0);
}

void as(User *user, UserFunction function) {
        as_begin(user, function);
        as_end(user);
}

daxbroker_request *request_make(uint64_t size, uint64_t alignment, const char *name) {
        daxbroker_request *request;

        assert_works(daxbroker_request_new(size, alignment, &request));
        assert_works(daxbroker_request_set_name(request, name));
        return request;
}

daxbroker_allocation *allocation_make(daxbroker_client *client, uint64_t size, const char *name) {
        daxbroker_request *request = request_make(size, 1, name);
        daxbroker_allocation *allocation;

        assert_works(daxbroker_allocate(client, request, &allocation));
        daxbroker_request_free(request);
        return allocation;
}

void *allocation_address(daxbroker_allocation *allocation) {
        void *address;

        assert_works(daxbroker_allocation_map(allocation, &address));
        return address;
}

uint64_t info_number(const daxbroker_info *info, const char *property) {
        uint64_t value;

        assert_works(daxbroker_info_get_uint64(info, property, &value));
        return value;
}

const char *info_text(const daxbroker_info *info, const char *property) {
        const char *value;

        assert_works(daxbroker_info_get_string(info, property, &value));
        return value;
}

bool is_filled(const void *memory, uint8_t value, size_t size) {
        const uint8_t *bytes = memory;

        return size == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, size - 1) == 0);
}

static int signal_of_access(volatile uint8_t *address, bool write) {
        int status;
        pid_t pid;

        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                uint8_t value;

                /* sanitizers would have much to say about it */
                signal(SIGBUS, SIG_DFL);
                signal(SIGSEGV, SIG_DFL);
                value = *address;
                if (write)
                        *address = value;
                _exit(0);
        }

        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(status == 0 || WIFSIGNALED(status));
        return status == 0 ? 0 : WTERMSIG(status);
}

int signal_of_reading(const volatile uint8_t *address) {
        return signal_of_access((volatile uint8_t *) (uintptr_t) address, false);
}

int signal_of_writing(volatile uint8_t *address) {
        return signal_of_access(address, true);
}

int signal_of_ended(void) {
        return provider_is_device() ? 0 : SIGBUS;
}

unsigned count_own_fds(void) {
        DIR *directory = opendir("/proc/self/fd");
        unsigned n = 0;

        g_assert_nonnull(directory);
        while (readdir(directory))
                n++;
        closedir(directory);
        return n;
}

uint64_t now_msec(void) {
        return (uint64_t) g_get_monotonic_time() / 1000;
}
