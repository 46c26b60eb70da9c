/* SPDX-License-Identifier: MIT */

/* Pressure stall information. Two files are watched: that of the whole machine, and that of our control group, which the
 * service manager names (MEMORY_PRESSURE_WATCH=, MEMORY_PRESSURE_WRITE=; systemd since version 254). If what it names is no
 * such file, it is what an admin wants to be listened to instead: a FIFO, or nothing (/dev/null).
 *
 * What is written to such a file says when to wake us: processes have waited for a tenth of two seconds. Kernels before 6.4
 * let only the privileged write; there we read it every two seconds, and do the sum ourselves. */

#include "pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "file.h"
#include "log.h"

#define MACHINE "/proc/pressure/memory"
#define STALL_USEC UINT64_C(200000)
#define WINDOW_USEC UINT64_C(2000000)
#define TRIGGER "some 200000 2000000"

#define TRIGGER_MAX 256

struct Pressure {
        PressureHandler handler;
        void *userdata;
        sd_event_source *machine, *named;
        sd_event_source *look; /* where the kernel does not tell */
        uint64_t waited;       /* as of the last look */
};

int pressure_parse(const char *text, uint64_t *ret_usec) {
        const char *total;
        char *end;
        uint64_t usec;

        if (strncmp(text, "some ", 5) != 0)
                return -EBADMSG;
        total = strstr(text, " total=");
        if (!total || total[7] < '0' || total[7] > '9' || memchr(text, '\n', (size_t) (total - text)))
                return -EBADMSG;

        errno = 0;
        usec = strtoull(total + 7, &end, 10);
        if (errno != 0 || (*end != '\n' && *end != '\0'))
                return -EBADMSG;
        *ret_usec = usec;
        return 0;
}

/* ---- Told by the kernel ---- */

static int on_pressure(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Pressure *pressure = userdata;
        char buffer[256];

        if (revents & EPOLLERR) /* the control group is gone, which the kernel tells as if memory were short, for ever */
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);
        if (revents & EPOLLIN) /* a FIFO; what it says does not matter */
                (void) !read(fd, buffer, sizeof(buffer));

        pressure->handler(pressure->userdata);
        return 0;
}

/* 1 if it is one of the kernel's files, 0 if it is something else. */
static int watch(Pressure *pressure, sd_event *event, const char *path, const void *trigger, size_t size,
                 sd_event_source **ret) {
        _cleanup_close_ int fd = -EBADF;
        sd_event_source *source;
        struct stat st;
        int r;

        fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (S_ISREG(st.st_mode) && write(fd, trigger, size) < 0)
                return -errno;

        r = sd_event_add_io(event, &source, fd, S_ISREG(st.st_mode) ? EPOLLPRI : EPOLLIN, on_pressure, pressure);
        if (r < 0)
                return r;
        (void) sd_event_source_set_io_fd_own(source, true);
        TAKE_FD(fd);
        *ret = source;
        return S_ISREG(st.st_mode);
}

/* Base64, as the service manager has it. */
static int decode(const char *text, uint8_t *ret, size_t *ret_size) {
        static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        uint32_t bits = 0;
        unsigned n_bits = 0;
        size_t n = 0;

        for (; *text != '\0' && *text != '='; text++) {
                const char *letter = strchr(letters, *text);

                if (!letter)
                        return -EBADMSG;
                bits = bits << 6 | (uint32_t) (letter - letters);
                n_bits += 6;
                if (n_bits < 8)
                        continue;
                if (n >= TRIGGER_MAX)
                        return -E2BIG;
                n_bits -= 8;
                ret[n++] = (uint8_t) (bits >> n_bits);
        }

        *ret_size = n;
        return 0;
}

/* Whether that is all that is to be watched. */
static bool watch_named(Pressure *pressure, sd_event *event) {
        const char *path = getenv("MEMORY_PRESSURE_WATCH"), *encoded = getenv("MEMORY_PRESSURE_WRITE");
        uint8_t trigger[TRIGGER_MAX] = TRIGGER;
        size_t size = sizeof(TRIGGER);
        int r;

        if (!path || path[0] != '/')
                return false;
        if (strcmp(path, "/dev/null") == 0)
                return true;

        r = encoded ? decode(encoded, trigger, &size) : 0;
        if (r >= 0)
                r = watch(pressure, event, path, trigger, size, &pressure->named);
        if (r < 0)
                log_warning("cannot watch MEMORY_PRESSURE_WATCH=%s: %s", path, strerror(-r));
        return r == 0;
}

/* ---- Looked for by us ---- */

static int read_waited(uint64_t *ret) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = file_read(AT_FDCWD, MACHINE, 1024, &text);
        return r < 0 ? r : pressure_parse(text, ret);
}

static int on_look(sd_event_source *source, uint64_t usec, void *userdata) {
        Pressure *pressure = userdata;
        uint64_t waited = pressure->waited;
        bool is_short;

        (void) usec;
        if (read_waited(&waited) < 0)
                return 0;
        is_short = waited - pressure->waited >= STALL_USEC;
        pressure->waited = waited;
        (void) sd_event_source_set_time_relative(source, WINDOW_USEC);
        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        if (is_short)
                pressure->handler(pressure->userdata);
        return 0;
}

void pressure_listen(Pressure *pressure, bool listen) {
        int enabled = SD_EVENT_OFF;

        if (!pressure->look)
                return;

        (void) sd_event_source_get_enabled(pressure->look, &enabled);
        if (!listen)
                (void) sd_event_source_set_enabled(pressure->look, SD_EVENT_OFF);
        else if (enabled == SD_EVENT_OFF && read_waited(&pressure->waited) >= 0) {
                (void) sd_event_source_set_time_relative(pressure->look, WINDOW_USEC);
                (void) sd_event_source_set_enabled(pressure->look, SD_EVENT_ONESHOT);
        }
}

int pressure_new(sd_event *event, PressureHandler handler, void *userdata, Pressure **ret) {
        Pressure *pressure;
        int r;

        pressure = calloc(1, sizeof(*pressure));
        if (!pressure)
                return -ENOMEM;
        pressure->handler = handler;
        pressure->userdata = userdata;

        r = watch_named(pressure, event) ? 0 : watch(pressure, event, MACHINE, TRIGGER, sizeof(TRIGGER), &pressure->machine);
        if (r < 0) {
                log_debug("the kernel does not tell by itself that memory is short: %s", strerror(-r));
                r = sd_event_add_time_relative(event, &pressure->look, CLOCK_MONOTONIC, WINDOW_USEC, 0, on_look, pressure);
                if (r >= 0)
                        r = sd_event_source_set_enabled(pressure->look, SD_EVENT_OFF);
        }
        if (r < 0) {
                pressure_free(pressure);
                return r;
        }

        *ret = pressure;
        return 0;
}

Pressure *pressure_free(Pressure *pressure) {
        if (!pressure)
                return NULL;

        sd_event_source_disable_unref(pressure->machine);
        sd_event_source_disable_unref(pressure->named);
        sd_event_source_disable_unref(pressure->look);
        free(pressure);
        return NULL;
}
