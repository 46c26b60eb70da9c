/* SPDX-License-Identifier: MIT */

#include "huge-pages.h"

#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define POOL "/sys/kernel/mm/hugepages/hugepages-2048kB/"

static char before[32];
static pid_t owner; /* whose business the restoring is: not that of the users' processes */

static uint64_t read_number(const char *path) {
        g_autofree char *text = NULL;

        return g_file_get_contents(path, &text, NULL, NULL) ? g_ascii_strtoull(text, NULL, 10) : 0;
}

/* Called from signal handlers as well. */
static void pool_set(const char *number) {
        int fd = open(POOL "nr_hugepages", O_WRONLY | O_CLOEXEC);

        if (fd < 0)
                return;
        (void) !write(fd, number, strlen(number));
        close(fd);
}

uint64_t huge_pages_count_free(void) {
        return read_number(POOL "free_hugepages");
}

void huge_pages_restore(void) {
        if (owner == getpid())
                pool_set(before);
        owner = 0;
}

static void on_failure(int signal) {
        huge_pages_restore();
        (void) raise(signal); /* SA_RESETHAND: this time it is fatal */
}

bool huge_pages_reserve(unsigned n) {
        static const int fatal[] = { SIGABRT, SIGTRAP, SIGTERM, SIGINT };
        struct sigaction action = { .sa_handler = on_failure, .sa_flags = SA_RESETHAND };
        uint64_t reserved = read_number(POOL "nr_hugepages");
        char more[32];

        g_assert_cmpint(owner, ==, 0);
        (void) snprintf(before, sizeof(before), "%" G_GUINT64_FORMAT, reserved);
        (void) snprintf(more, sizeof(more), "%" G_GUINT64_FORMAT, reserved + n);
        owner = getpid();
        for (size_t i = 0; i < G_N_ELEMENTS(fatal); i++)
                g_assert_cmpint(sigaction(fatal[i], &action, NULL), ==, 0);

        pool_set(more);
        return huge_pages_count_free() >= n;
}
