/* SPDX-License-Identifier: MIT */

/* A service with the signature of Allocate and nothing behind it: no policy, no quota, no record, no lease, no log. It
 * makes a sealed memfd of the wanted size and sends it, twice because the signature has two descriptors. What the broker
 * takes longer than this is the broker's own.
 *
 *     floor SOCKET
 *
 * It is on the system bus as org.daxbroker1.Floor, and serves everybody who connects to SOCKET without a bus between. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "bench.h"

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

static int serve_bus(sd_event *event) {
        sd_bus *bus;
        int r;

        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, FLOOR_PATH, FLOOR_NAME, floor_vtable, NULL);
        if (r >= 0)
                r = sd_bus_request_name(bus, FLOOR_NAME, 0);
        if (r >= 0)
                r = sd_bus_attach_event(bus, event, 0);
        return r;
}

static int on_gone(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        sd_bus *bus = sd_bus_message_get_bus(m);

        (void) userdata;
        (void) error;
        sd_bus_detach_event(bus);
        sd_bus_close(bus);
        sd_bus_unref(bus); /* the reference of on_peer() */
        return 0;
}

static int on_peer(sd_event_source *source, int listener, uint32_t events, void *userdata) {
        sd_id128_t id;
        sd_bus *bus;
        int fd, r;

        (void) events;
        (void) userdata;
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
                return 0;

        r = sd_id128_randomize(&id);
        if (r >= 0)
                r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_fd(bus, fd, fd);
        if (r >= 0)
                r = sd_bus_set_server(bus, 1, id);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, 1);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, FLOOR_PATH, FLOOR_NAME, floor_vtable, NULL);
        if (r >= 0)
                r = sd_bus_match_signal(bus, NULL, NULL, "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                        "Disconnected", on_gone, NULL);
        if (r >= 0)
                r = sd_bus_attach_event(bus, sd_event_source_get_event(source), 0);
        return r;
}

static int serve_socket(sd_event *event, const char *path) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;
        strcpy(address.sun_path, path);

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || chmod(path, 0666) < 0 ||
            listen(fd, 4096) < 0)
                return -errno;
        return sd_event_add_io(event, NULL, fd, EPOLLIN, on_peer, NULL);
}

int main(int argc, char **argv) {
        sd_event *event;
        int r;

        if (argc != 2) {
                fprintf(stderr, "usage: %s SOCKET\n", argv[0]);
                return EXIT_FAILURE;
        }

        r = sd_event_new(&event);
        if (r >= 0)
                r = serve_bus(event);
        if (r >= 0)
                r = serve_socket(event, argv[1]); /* comes last: it tells that all is there */
        if (r >= 0)
                r = sd_event_loop(event);
        fprintf(stderr, "floor: %s\n", strerror(-r));
        return EXIT_FAILURE;
}
