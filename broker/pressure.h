/* SPDX-License-Identifier: MIT */
#pragma once

/* Tells that memory is short: processes wait for it. */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

typedef struct Pressure Pressure;
typedef void (*PressureHandler)(void *userdata);

/* What the kernel cannot tell is not told: without any of its files nothing is ever heard. */
int pressure_new(sd_event *event, PressureHandler handler, void *userdata, Pressure **ret);
Pressure *pressure_free(Pressure *pressure);

/* Whether anybody wants to hear of it just now. Only then, and only on kernels that do not tell by themselves, it is looked
 * at time and again. */
void pressure_listen(Pressure *pressure, bool listen);

/* Of the text of such a file: for how many microseconds some process has waited so far. -EBADMSG. */
int pressure_parse(const char *text, uint64_t *ret_usec);
