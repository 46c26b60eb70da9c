/* SPDX-License-Identifier: MIT */
#pragma once

/* The broker's face on one bus. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "authorize.h"
#include "call-bus.h"
#include "caller.h"
#include "manager.h"

/* Refusals that were to be logged lately, see call-bus.c. */
#define REFUSAL_COUNTS 64
typedef struct RefusalCount {
        uint64_t since; /* CLOCK_MONOTONIC, microseconds */
        unsigned n;
} RefusalCount;

struct Server {
        sd_bus *bus;
        Manager *manager;
        Observer observer;
        Caller *callers;
        Call *calls; /* those that wait */
        Authority authority;
        bool stopping;             /* nothing new is begun */
        sd_event_source *doubt;    /* runs after descriptors were sent, until the bus has shown that it still listens */
        sd_bus_slot *reassurance;
        RefusalCount refusals[REFUSAL_COUNTS];
        sd_bus_slot *slots[16];
        unsigned n_slots;

        /* What the sender of the message that is just being processed may see of allocations. */
        sd_bus_message *viewed; /* that message; not a reference, only ever compared */
        Caller *viewer;         /* borrowed, valid as long as that is the current message */
        bool sees_all;
};

/* Connects, puts the objects on the bus and takes the name. Blocks until that is done. */
int server_new(Manager *manager, Server **ret);

/* Drops the calls that wait; their senders get an error when the connection closes. */
Server *server_free(Server *server);

/* Each adds its objects to the bus. */
int server_add_manager(Server *server);
int server_add_regions(Server *server);
int server_add_allocations(Server *server);
int server_add_slot(Server *server, sd_bus_slot *slot);

/* To be called when descriptors were sent: makes sure, a little later, that the bus still takes what we say. */
void server_doubt(Server *server);

/* Appends the properties of an object as a{sv}, for the lists. */
int append_properties(Server *server, sd_bus_message *reply, const char *path, const char *interface,
                      const sd_bus_vtable *vtable);

extern const sd_bus_vtable region_vtable[];
extern const sd_bus_vtable allocation_vtable[];

/* region-bus.c */
int region_path(const Region *region, char **ret);

/* allocation-bus.c */
#define ALLOCATION_PATH_MAX 64
char *allocation_path(const Allocation *allocation, char buffer[static ALLOCATION_PATH_MAX]);
Allocation *allocation_from_path(const Server *server, const char *path);
bool allocation_is_visible(const Allocation *allocation, const Caller *caller);
void call_set_about(Call *call, const Allocation *allocation);
int allocation_open_for(Call *call, Allocation *allocation, Failure *failure);

/* Who hears of an allocation that is being made or opened; userdata of reply_with_memory(). NULL if out of memory. */
typedef struct MemoryReply MemoryReply;
MemoryReply *memory_reply_new(Call *call, bool created);
MemoryReply *memory_reply_free(MemoryReply *reply);
void reply_with_memory(Allocation *allocation, int r, const Failure *failure, int memory, int lease, void *userdata);

/* visibility-bus.c: decides what the sender of each message may see, before the message is processed. */
int server_add_visibility(Server *server);
int call_sees_all(Call *call, Failure *failure);
