/* SPDX-License-Identifier: MIT */
#pragma once

/* The direct socket: hands over those who connect. */

#include <stdbool.h>
#include <systemd/sd-event.h>

/* What the service manager calls it, and what it is called below RUNTIME_DIRECTORY where there is none. */
#define LISTENER_SOCKET "bus"

typedef struct Listener Listener;

/* Gets each connection, and owns it then. Non-blocking, closed on exec. */
typedef void (*ListenerHandler)(int fd, void *userdata);

/* fd is the listening socket that the service manager has made, or negative: then one is made below RUNTIME_DIRECTORY. It is
 * taken over in any case. */
int listener_new_consume_fd(sd_event *event, int fd, ListenerHandler handler, void *userdata, Listener **ret);
/* Whether those who connect are to wait in the kernel. */
void listener_set_closed(Listener *listener, bool closed);
Listener *listener_free(Listener *listener);
