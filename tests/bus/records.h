/* SPDX-License-Identifier: MIT */
#pragma once

/* The record of an allocation, wherever the provider that is tested keeps it: with all others in a file below the broker's
 * runtime directory, in one of its own below the state directory, or in an attribute of the memory itself. */

#include "broker.h"
#include "calls.h"

/* Of a file that is an allocation. */
#define RECORD_ATTRIBUTE "user.daxbroker.record"

/* g_free() it. */
char *broker_get_record(Broker *broker, const Reply *reply);
/* As the broker would have written it, of so many bytes. */
void broker_set_record(Broker *broker, const Reply *reply, const char *text, size_t length);

/* Of those in the file of all: as if there had been none, and so that it does not even say what it is about. */
void broker_remove_record(Broker *broker, const Reply *reply);
void broker_damage_record(Broker *broker, const Reply *reply);
/* How many slots hold anything. */
unsigned broker_count_slots(Broker *broker);
