/* SPDX-License-Identifier: MIT */
#pragma once

/* What a user hears from the broker, without having been told anything else. Each signal is one line:
 *
 *      added PATH INTERFACE(N) ...             N is how many values of properties came along
 *      removed PATH INTERFACE ...
 *      changed PATH INTERFACE PROPERTY=VALUE ... -PROPERTY ...
 *
 * The last form of a property is for those that have changed and whose value was not told; a VALUE that is neither a
 * number nor a string is "...". */

#include <systemd/sd-bus.h>

#include "user.h"

/* From now on. */
void user_listen(User *user);
/* Waits for a line like this; '*' stands for anything. Fails the test if it does not come within ten seconds. */
void user_assert_hears(User *user, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* All lines so far. g_free() it. */
char *user_get_heard(User *user);

/* How many values there are in the a{sv} that comes next in a message; it is skipped. */
unsigned message_skip_values(sd_bus_message *m);
