/* SPDX-License-Identifier: MIT */

/* The library in a poll() loop: requests whose answers come as callbacks, while the program goes on doing
 * other things (here, a clock that ticks). Any other event loop works alike: it needs a descriptor, the
 * events to wait for, and the time by which to come back. */

#include <daxbroker.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define REQUESTS 3

typedef struct State {
        unsigned answered, failed;
} State;

static void on_allocation(daxbroker_allocation *allocation, int error, const char *message, void *userdata) {
        State *state = userdata;
        void *address;

        state->answered++;
        if (error < 0) {
                fprintf(stderr, "event-loop: got no memory: %s\n", message);
                state->failed++;
                return;
        }

        if (daxbroker_allocation_map(allocation, &address) < 0) {
                fprintf(stderr, "event-loop: cannot map it: %s\n", daxbroker_last_error());
                state->failed++;
        } else
                printf("%s is at %p\n", daxbroker_allocation_get_object(allocation), address);

        /* It belongs to us from here on. A real program would keep it. */
        daxbroker_allocation_close(allocation);
}

/* The library tells an absolute time, poll() wants to know how long from now. */
static int milliseconds_until(uint64_t usec) {
        struct timespec now;
        uint64_t now_usec, left;

        if (usec == UINT64_MAX)
                return -1;

        clock_gettime(CLOCK_MONOTONIC, &now);
        now_usec = (uint64_t) now.tv_sec * 1000000 + (uint64_t) now.tv_nsec / 1000;
        if (usec <= now_usec)
                return 0;

        /* Rounded up, or the loop would spin for the last millisecond. */
        left = (usec - now_usec + 999) / 1000;
        return left < 60000 ? (int) left : 60000;
}

static int run(daxbroker_client *client, int clock_fd, const State *state) {
        while (state->answered < REQUESTS) {
                struct pollfd fds[2] = {
                        { .fd = clock_fd, .events = POLLIN },
                        { .fd = daxbroker_client_get_fd(client),
                          .events = (short) daxbroker_client_get_events(client) },
                };
                uint64_t due, ticks;
                int r;

                r = daxbroker_client_get_timeout(client, &due);
                if (r < 0 || fds[1].fd < 0)
                        return -1;

                /* What poll() says does not matter to the library: it looks for itself. */
                (void) poll(fds, 2, milliseconds_until(due));

                if ((fds[0].revents & POLLIN) && read(clock_fd, &ticks, sizeof(ticks)) > 0)
                        printf("tick\n");

                do
                        r = daxbroker_client_process(client);
                while (r > 0);
                if (r < 0)
                        return -1;
        }

        return 0;
}

/* Sends them all at once; the answers come in any order. */
static bool ask(daxbroker_client *client, State *state) {
        daxbroker_request *request;
        int r;

        for (unsigned i = 0; i < REQUESTS; i++) {
                r = daxbroker_request_new(UINT64_C(1) << 20, 4096, &request);
                if (r < 0)
                        return false;

                r = daxbroker_allocate_async(client, request, on_allocation, state);
                daxbroker_request_free(request);
                if (r < 0)
                        return false;
        }

        return true;
}

int main(void) {
        const struct itimerspec interval = { .it_interval.tv_nsec = 1000000, .it_value.tv_nsec = 1 };
        daxbroker_client *client;
        State state = { 0 };
        int clock_fd, status = EXIT_FAILURE;

        clock_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (clock_fd < 0 || timerfd_settime(clock_fd, 0, &interval, NULL) < 0) {
                perror("event-loop: timerfd");
                return EXIT_FAILURE;
        }

        /* An event loop needs a client of its own. */
        if (daxbroker_client_new(&client) >= 0) {
                if (!ask(client, &state) || run(client, clock_fd, &state) < 0)
                        fprintf(stderr, "event-loop: %s\n", daxbroker_last_error());
                else if (state.failed == 0)
                        status = EXIT_SUCCESS;

                daxbroker_client_free(client);
        }

        close(clock_fd);
        return status;
}
