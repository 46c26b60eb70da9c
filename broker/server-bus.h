/* SPDX-License-Identifier: MIT */
#pragma once

/* The broker's face on the bus, and on direct connections. */

#include <stdbool.h>
#include <systemd/sd-bus.h>

#include "authorize.h"
#include "call-bus.h"
#include "caller.h"
#include "manager.h"
#include "peer-bus.h"

/* Refusals that were to be logged lately, see call-bus.c. */
#define REFUSAL_COUNTS 64
typedef struct RefusalCount {
        uint64_t since; /* CLOCK_MONOTONIC, microseconds */
        unsigned n;
} RefusalCount;

struct Server {
        sd_bus *bus; /* the system's */
        Peers peers;
        Manager *manager;
        Observer observer;
        struct Arrival *arrivals;  /* uthash: what has come, and is to be told a moment later; see news-bus.c */
        sd_event_source *arrival_timer;
        Caller *callers;
        Call *calls; /* those that wait */
        Authority authority;
        bool stopping;             /* nothing new is begun */
        sd_event_source *doubt;    /* runs after descriptors were sent, until the bus has shown that it still listens */
        sd_bus_slot *reassurance;
        RefusalCount refusals[REFUSAL_COUNTS];

        /* Users with calls that can go on; each is in there once, and referenced. */
        User *turns;
        Turn turn;

        /* What the sender of the message that is just being processed may see of allocations, or of grants. */
        sd_bus_message *viewed; /* that message; not a reference, only ever compared */
        char **viewed_names;
};

/* Connects, puts the objects on the bus and takes the name. Blocks until that is done. */
int server_new(Manager *manager, Server **ret);

/* Drops the calls that wait; their senders get an error when the connection closes. */
Server *server_free(Server *server);

/* Each adds its objects to a bus or a direct connection; the first one all of them. */
int server_add_objects(Server *server, sd_bus *bus);
int server_add_manager(Server *server, sd_bus *bus);
int server_add_regions(Server *server, sd_bus *bus);
int server_add_allocations(Server *server, sd_bus *bus);
int server_add_grants(Server *server, sd_bus *bus);

/* To be called when a call of this user can go on: they do so one by one, and users take turns, also with what is new. */
void server_give_turn(Server *server, User *user);

/* To be called when descriptors were sent: makes sure, a little later, that the bus still takes what we say. */
void server_doubt(Server *server);

/* Appends the properties of an object as a{sv}, for the lists. */
int append_properties(Server *server, sd_bus_message *reply, const char *path, const char *interface,
                      const sd_bus_vtable *vtable);

extern const sd_bus_vtable region_vtable[];
extern const sd_bus_vtable allocation_vtable[];
extern const sd_bus_vtable grant_vtable[];

/* news-bus.c: sets the observer up, without giving it to the manager; and tells what has not been told. */
int news_begin(Server *server);
void news_end(Server *server);

/* To be called before anybody is shown an allocation: tells first that it has come, if that has not been told yet. */
void news_show(Server *server, const Allocation *allocation);

/* To be called before the process that has asked for one ends it: then nobody else needs to know. */
void news_return(Server *server, const Allocation *allocation);

/* region-bus.c */
int region_path(const Region *region, char **ret);

/* allocation-bus.c */
#define ALLOCATION_PATH_MAX 64
char *allocation_path(const Allocation *allocation, char buffer[static ALLOCATION_PATH_MAX]);
Allocation *allocation_from_path(const Server *server, const char *path);
bool allocation_is_visible(const Allocation *allocation, const Caller *caller);
void call_set_about(Call *call, const Allocation *allocation);
int allocation_open_for(Call *call, Allocation *allocation, Failure *failure);

/* fd-reply-bus.c: for the caller, once there is something to answer. NULL if out of memory. Exactly one of send and refuse is
 * called, with as many descriptors as were said, which stay the caller's; false if nobody has got them. */
typedef struct FdReply FdReply;
FdReply *fd_reply_new(Call *call, unsigned n_fds);
FdReply *fd_reply_free(FdReply *reply);
bool fd_reply_send(FdReply *reply, const char *types, ...);
void fd_reply_refuse(FdReply *reply, int r, const Failure *failure);

/* grant-bus.c. The second is NULL if there is none, or none yet. */
#define GRANT_PATH_MAX 64
char *grant_path(const Grant *grant, char buffer[static GRANT_PATH_MAX]);
Grant *grant_from_path(const Server *server, const char *path);
bool grant_is_visible(const Grant *grant, const Caller *caller);
int do_reserve(Call *call, Failure *failure);

/* The grant that a caller wants to take from. NULL, and the refusal, if there is none, or if it is not his. */
Grant *call_grant_to_use(Call *call, const char *path, Failure *failure);

/* Details that decisions about new memory are made with: what is asked for, and what the user holds already. */
void details_add_request(Details *details, const Region *region, const Piece *plan, const Request *request, bool grant);
void details_add_held(Details *details, uint64_t bytes, uint64_t count);

/* The memory and its lease, for who has asked for it with an FdReply of so many; the second ends what nobody has got. */
#define MEMORY_REPLY_FDS 2
void reply_with_memory(Allocation *allocation, int r, const Failure *failure, int memory, int lease, void *userdata);
void reply_with_new_memory(Allocation *allocation, int r, const Failure *failure, int memory, int lease, void *userdata);

/* Why nothing can be done to it, by its state. */
bool allocation_is_ending(const Allocation *allocation);
int refuse_state(const Allocation *allocation, Failure *failure);

/* Details that decisions about an allocation that exists are made with. */
void details_add_allocation(Details *details, const Allocation *allocation);

/* The allocation a call is about; NULL, and the refusal, if there is none. */
Allocation *call_allocation(Call *call, Failure *failure);

/* change-bus.c: the methods that change one. */
int do_set_mode(Call *call, Failure *failure);
int do_set_owner(Call *call, Failure *failure);
int do_rename(Call *call, Failure *failure);
int do_resize(Call *call, Failure *failure);

/* owner-bus.c: who has the uid of an owner today. All of these return CALL_WAITS until that is known.
 *
 * Asks about a user. Refuses if the user database does not tell. */
int call_look_up(Call *call, User *user, bool with_groups, Failure *failure);

/* The same about the caller, if he has the uid of the owner and that matters: then allocation_is_owned_by() is right. */
int call_knows_owner(Call *call, const Allocation *allocation, Failure *failure);

/* Well enough to show it; never refuses. */
int call_knows_owner_to_show(Call *call, const Allocation *allocation);

/* Puts a refusal of somebody who has the uid of the owner, and is not he, into better words. */
int call_refuse_stranger(const Call *call, const Allocation *allocation, int r, Failure *failure);

/* visibility-bus.c: decides what the sender of each message may see, before the message is processed. */
int server_add_visibility(Server *server, sd_bus *bus);

/* Whether polkit lets the caller see what others have, without a dialog. */
int call_sees_all(Call *call, Failure *failure);

/* list-bus.c */
int do_list_regions(Call *call, Failure *failure);
int do_list_allocations(Call *call, Failure *failure);
int do_list_allocations_paged(Call *call, Failure *failure);
int do_list_grants(Call *call, Failure *failure);
int do_list_grants_paged(Call *call, Failure *failure);
int do_get_managed_objects(Call *call, Failure *failure);

/* Filters for Introspect; what they have found is for the enumerator. */
int do_introspect_allocations(Call *call, Failure *failure);
int do_introspect_grants(Call *call, Failure *failure);
int names_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_names, sd_bus_error *ret_error);
char **names_free(char **names);

/* Drops what a call has of a list, if it has; another one of its user may begin then. */
void call_end_list(Call *call);

/* To be called when one of a user's direct connections is not behind any more, for lists that have waited for that. */
void lists_go_on(Server *server, User *user);
