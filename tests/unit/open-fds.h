/* SPDX-License-Identifier: MIT */
#pragma once

/* How many descriptors this process has: what a test opened it has to have closed at its end, too. */

#include <glib.h>

static inline unsigned open_fds_count(void) {
        g_autoptr(GDir) fds = g_dir_open("/proc/self/fd", 0, NULL);
        unsigned n = 0;

        g_assert_nonnull(fds);
        while (g_dir_read_name(fds))
                n++;
        return n;
}
