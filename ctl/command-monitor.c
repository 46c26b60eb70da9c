/* SPDX-License-Identifier: MIT */

/* daxbrokerctl monitor: a line for each thing that comes, changes or goes, as it happens. With JSON, each
 * line is an object of its own. It ends by a signal, or when nobody reads it any more. */

#include "cleanup.h"
#include "command.h"
#include "moment.h"
#include "output.h"
#include "refusal.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <time.h>

typedef struct Monitor {
        const Options *options;
        Status status;
} Monitor;

/* "State,InUse" as an array. NULL if out of memory. */
static json_t *properties_to_json(const char *properties) {
        json_t *array = json_array();

        while (*properties) {
                size_t length = strcspn(properties, ",");
                char *property = strndup(properties, length);
                int r = property ? json_array_append_new(array, output_string(property)) : -1;

                free(property);
                if (r < 0) {
                        json_decref(array);
                        return NULL;
                }
                properties += length + (properties[length] == ',');
        }
        return array;
}

static Status event_print_json(const char *event, const char *object, const char *properties) {
        _cleanup_(json_decrefp) json_t *value = json_pack("{s:o, s:o, s:o, s:o}",
                                                          "time", output_moment(moment_now()),
                                                          "event", output_string(event),
                                                          "object", output_string(object),
                                                          "properties", properties_to_json(properties));

        return output_json(value, JSON_SHORT);
}

static void event_print(const char *event, const char *object, const char *properties) {
        char clock[MOMENT_TEXT_MAX];

        moment_format_clock(moment_now(), clock);
        if (*object)
                printf("%s %-7s %s%s%s\n", clock, event, object, *properties ? " " : "", properties);
        else
                printf("%s %s\n", clock, event);
}

static void on_event(const char *event, const char *object, const char *properties, void *userdata) {
        Monitor *monitor = userdata;

        if (monitor->options->json != JSON_OFF)
                monitor->status = event_print_json(event, object, properties);
        else
                event_print(event, object, properties);

        if (fflush(stdout) != 0 && monitor->status == STATUS_OK) {
                complain("cannot write: %s", strerror(errno));
                monitor->status = STATUS_REFUSED;
        }
}

/* From a moment on the monotonic clock to poll()'s milliseconds, rounded up lest it wakes up early and
 * often. */
static int timeout_from_usec(uint64_t until) {
        struct timespec now;
        uint64_t usec, milliseconds;

        if (until == UINT64_MAX)
                return -1;

        clock_gettime(CLOCK_MONOTONIC, &now);
        usec = (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
        if (until <= usec)
                return 0;
        milliseconds = (until - usec) / 1000 + 1;
        return milliseconds < INT_MAX ? (int) milliseconds : INT_MAX;
}

static int client_wait(daxbroker_client *client) {
        struct pollfd pollfd = {};
        uint64_t until;
        int r;

        pollfd.fd = daxbroker_client_get_fd(client);
        if (pollfd.fd < 0)
                return pollfd.fd;
        r = daxbroker_client_get_events(client);
        if (r < 0)
                return r;
        pollfd.events = (short) r;
        r = daxbroker_client_get_timeout(client, &until);
        if (r < 0)
                return r;

        r = poll(&pollfd, 1, timeout_from_usec(until));
        return r < 0 && errno != EINTR ? -errno : 0;
}

Status command_monitor(const Options *options) {
        _cleanup_(daxbroker_client_freep) daxbroker_client *client = NULL;
        Monitor monitor = { .options = options };
        int r;

        r = daxbroker_client_new(&client);
        if (r >= 0)
                r = daxbroker_watch(client, on_event, &monitor);

        while (r >= 0 && monitor.status == STATUS_OK) {
                r = daxbroker_client_process(client);
                if (r == 0)
                        r = client_wait(client);
        }

        return r < 0 ? refusal_tell(r, "watch the service") : monitor.status;
}
