/* SPDX-License-Identifier: MIT */

/* A service with the signature of Allocate and nothing behind it: no policy, no quota, no record, no lease, no log. It
 * makes a sealed memfd of the wanted size and sends it, twice because the signature has two descriptors. What the broker
 * takes longer than this is the broker's own. */

#include "bench-floor.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sys/mman.h>
#include <unistd.h>

static int on_allocate(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        uint64_t size, alignment;
        int fd, r;

        (void) userdata;
        (void) error;
        r = sd_bus_message_read(m, "tt", &size, &alignment);
        if (r >= 0)
                r = sd_bus_message_skip(m, "a{sv}");
        if (r < 0)
                return r;

        fd = memfd_create("floor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t) size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL) < 0)
                r = -errno;
        else
                r = sd_bus_reply_method_return(m, "ohhtt", FLOOR_PATH, fd, fd, (uint64_t) 0, size);
        close(fd);
        return r;
}

static const sd_bus_vtable floor_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Allocate", "tta{sv}", "ohhtt", on_allocate, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

int64_t floor_serve(UserCall *call) {
        sd_bus *bus = user_bus();
        int r;

        (void) call;
        r = sd_bus_add_object_vtable(bus, NULL, FLOOR_PATH, FLOOR_NAME, floor_vtable, NULL);
        if (r >= 0)
                r = sd_bus_request_name(bus, FLOOR_NAME, 0);
        while (r >= 0) {
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, UINT64_MAX);
        }
        g_error("The floor breaks: %s", g_strerror(-r));
}
