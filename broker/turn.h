/* SPDX-License-Identifier: MIT */
#pragma once

/* Work of the event loop that is done bit by bit, and takes turns with everything else. */

#include <stdbool.h>
#include <systemd/sd-event.h>

typedef struct Turn {
        sd_event_source *source; /* NULL if there is none */
        bool enabled;
        void (*take)(void *userdata);
        void *userdata;
} Turn;

/* It stays where it is. Off at first. */
int turn_begin(Turn *turn, sd_event *event, void (*take)(void *userdata), void *userdata);
void turn_end(Turn *turn);

/* Whether there is something to do. One turn is taken, and then it is off, unless it is set again. */
void turn_set(Turn *turn, bool enabled);
