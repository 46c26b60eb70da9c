/* SPDX-License-Identifier: MIT */

/* sd-event has that come first which has been pending for longest, and counts a deferred source as pending since it was made,
 * however often it is enabled anew. One that is enabled again and again would let nothing else of its priority happen. So
 * there is a new one for each turn. */

#include "turn.h"

static int on_turn(sd_event_source *source, void *userdata) {
        Turn *turn = userdata;

        (void) source;
        turn->enabled = false;
        turn->take(turn->userdata);
        return 0;
}

int turn_begin(Turn *turn, sd_event *event, void (*take)(void *userdata), void *userdata) {
        int r;

        *turn = (Turn){ .take = take, .userdata = userdata };
        r = sd_event_add_defer(event, &turn->source, on_turn, turn);
        return r < 0 ? r : sd_event_source_set_enabled(turn->source, SD_EVENT_OFF);
}

void turn_end(Turn *turn) {
        turn->source = sd_event_source_disable_unref(turn->source);
}

void turn_set(Turn *turn, bool enabled) {
        sd_event_source *fresh;

        if (!turn->source || turn->enabled == enabled)
                return;

        turn->enabled = enabled;
        if (!enabled)
                (void) sd_event_source_set_enabled(turn->source, SD_EVENT_OFF);
        else if (sd_event_add_defer(sd_event_source_get_event(turn->source), &fresh, on_turn, turn) >= 0) {
                (void) sd_event_source_disable_unref(turn->source);
                turn->source = fresh;
        } else /* without memory it is the old one, which comes too soon */
                (void) sd_event_source_set_enabled(turn->source, SD_EVENT_ONESHOT);
}
