/* SPDX-License-Identifier: MIT */
#pragma once

/* Connections that are being closed, which may take as long as those at the other end like. */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "user.h"

/* So many can take long; then nobody else should be let in. */
#define HANG_UPS_MAX 1024

typedef struct HangUps HangUps;

/* full() is called when there are that many, and when there are not any more. */
typedef void (*HangUpsHandler)(bool full, void *userdata);

int hang_ups_new(sd_event *event, HangUpsHandler full, void *userdata, HangUps **ret);
/* What is not closed by now is when the process ends. */
HangUps *hang_ups_free(HangUps *all);

/* How many there are. */
unsigned hang_ups_count(const HangUps *all);

/* To be called when a connection was accepted, before anything is read. */
void hang_up_prepare(int fd);

/* Ends the connection, the socket of which is nowhere else. One that takes long to close counts as its user's until then. */
void hang_up_consume_fd(HangUps *all, int fd, UserTable *users, uid_t uid);
