/* SPDX-License-Identifier: MIT */

/* Lists of what there is: whole or in pages, as objects for the standard interface, and as names for introspection.
 *
 * There may be a hundred thousand allocations. So a list is put together in runs of its handler that are short, and
 * between which others have their turn. Ids are gone through in their order: what comes or goes meanwhile is listed or
 * not, but nothing is listed twice. What does not fit into one answer is refused where there are pages, and left out of
 * introspection.
 *
 * Everybody sees his own and what its mode lets him read, and the rest if polkit grants inspect-other without a dialog.
 * It is asked when the first comes that is to be hidden otherwise, and so not for those who see everything anyway.
 *
 * Of each user one list at a time is being put together, and none while many that he has asked for directly lie in our
 * memory because he does not read them; the others wait. That bounds the memory they take. */

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "authorize.h"
#include "cleanup.h"
#include "names.h"
#include "options-bus.h"
#include "peer-bus.h"
#include "server-bus.h"

/* What one answer has at most. A property or two more or less, an entry is 800 bytes, and of the longest of their kind 3000;
 * dbus-daemon closes connections for messages of 32 MiB. */
#define WHOLE_MAX 4096U
#define PAGE_MAX 256U

/* Work of one run: entries looked at, and added. */
#define RUN_COST_MAX 4096U
#define ADD_COST 32U

/* Direct connections of a user that may have answers in our memory when another list is begun. */
#define BEHIND_MAX 16U

/* Owners that are looked up at the same time. */
#define LOOK_AHEAD 64U

typedef enum Form {
        FORM_WHOLE,
        FORM_PAGE,
        FORM_OBJECTS,
        FORM_NAMES,
} Form;

typedef enum Kind {
        KIND_REGION,
        KIND_ALLOCATION,
        KIND_GRANT,
} Kind;

struct Listing {
        Form form;
        Kind kind, last_kind;
        sd_bus_message *reply; /* what there is of it; NULL for names */
        char **names;
        char after[17]; /* the id that was looked at last */
        unsigned n, max;
        bool more;       /* than fits into a page */
        bool asked, all; /* polkit: whether it lets the caller see what others have */
};

/* One of those that are listed; of the two pointers one is NULL. */
typedef struct Entry {
        const Allocation *allocation;
        const Grant *grant;
        const char *id;
} Entry;

static bool entry_next(const Listing *listing, const Manager *manager, const char *after, Entry *ret) {
        bool grants = listing->kind == KIND_GRANT;
        const char *id = roll_next(grants ? &manager->grant_roll : &manager->allocation_roll, after);

        if (!id)
                return false;

        *ret = (Entry){ .id = id };
        if (grants)
                ret->grant = (const Grant *) (const void *) (id - offsetof(Grant, id));
        else
                ret->allocation = (const Allocation *) (const void *) (id - offsetof(Allocation, id));
        return true;
}

/* Whether there is such a thing yet. */
static bool entry_is_known(const Entry *entry) {
        return entry->grant ? !entry->grant->making : entry->allocation->state != ALLOCATION_CARVING;
}

static bool entry_is_visible(const Entry *entry, const Caller *caller) {
        return entry->grant ? grant_is_visible(entry->grant, caller) : allocation_is_visible(entry->allocation, caller);
}

/* Whether it is known who its owner is, as far as that decides who sees it, or is shown. */
static int entry_knows_owner(const Listing *listing, Call *call, const Entry *entry) {
        if (entry->grant || (!listing->all && entry->allocation->owner != call->caller->user->uid &&
                             !allocation_is_visible(entry->allocation, call->caller)))
                return CALL_DONE;

        return call_knows_owner_to_show(call, entry->allocation);
}

/* The owners of those that come next are asked about as well, lest they be waited for one after the other. */
static void look_ahead(const Listing *listing, Call *call, Entry entry) {
        for (unsigned i = 0; i < LOOK_AHEAD && entry_next(listing, call->server->manager, entry.id, &entry); i++)
                if (entry_is_known(&entry))
                        (void) entry_knows_owner(listing, call, &entry);
}

/* CALL_WAITS until it is known whether the caller sees it. */
static int entry_judge(Listing *listing, Call *call, const Entry *entry, bool *ret_visible) {
        Failure ignored = { 0 };
        int r;

        for (;;) {
                r = entry_knows_owner(listing, call, entry);
                if (r == CALL_WAITS) {
                        look_ahead(listing, call, *entry);
                        return r;
                }

                *ret_visible = listing->all || entry_is_visible(entry, call->caller);
                if (*ret_visible || listing->asked)
                        return CALL_DONE;

                r = call_sees_all(call, &ignored);
                if (r == CALL_WAITS)
                        return r;
                listing->asked = true;
                listing->all = r > 0;
                if (!listing->all)
                        return CALL_DONE;
        }
}

/* ---- What is answered ---- */

int append_properties(Server *server, sd_bus_message *reply, const char *path, const char *interface,
                      const sd_bus_vtable *vtable) {
        size_t step = vtable->x.start.element_size;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        for (; r >= 0 && vtable->type != _SD_BUS_VTABLE_END;
             vtable = (const sd_bus_vtable *) (const void *) ((const char *) vtable + step)) {
                const char *name = vtable->x.property.member;

                if (vtable->type != _SD_BUS_VTABLE_PROPERTY)
                        continue;

                r = sd_bus_message_open_container(reply, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append(reply, "s", name);
                if (r >= 0)
                        r = sd_bus_message_open_container(reply, 'v', vtable->x.property.signature);
                if (r >= 0)
                        r = vtable->x.property.get(server->bus, path, interface, name, reply, server, NULL);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
        }

        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_entry(Server *server, sd_bus_message *reply, const char *name, const char *path, const char *interface,
                        const sd_bus_vtable *vtable) {
        int r;

        r = sd_bus_message_open_container(reply, 'r', "soa{sv}");
        if (r >= 0)
                r = sd_bus_message_append(reply, "so", name, path);
        if (r >= 0)
                r = append_properties(server, reply, path, interface, vtable);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_object(Server *server, sd_bus_message *reply, const char *path, const char *interface,
                         const sd_bus_vtable *vtable) {
        int r;

        r = sd_bus_message_open_container(reply, 'e', "oa{sa{sv}}");
        if (r >= 0)
                r = sd_bus_message_append(reply, "o", path);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "{sa{sv}}");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'e', "sa{sv}");
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", interface);
        if (r >= 0)
                r = append_properties(server, reply, path, interface, vtable);
        for (unsigned i = 0; r >= 0 && i < 3; i++)
                r = sd_bus_message_close_container(reply);
        return r;
}

static int listing_add(Listing *listing, Server *server, const char *name, const char *path, const char *interface,
                       const sd_bus_vtable *vtable) {
        switch (listing->form) {
        case FORM_NAMES:
                listing->names[listing->n] = strdup(path);
                return listing->names[listing->n] ? 0 : -ENOMEM;
        case FORM_OBJECTS:
                return append_object(server, listing->reply, path, interface, vtable);
        default:
                return append_entry(server, listing->reply, name, path, interface, vtable);
        }
}

static int listing_add_entry(Listing *listing, Server *server, const Entry *entry) {
        char path[ALLOCATION_PATH_MAX > GRANT_PATH_MAX ? ALLOCATION_PATH_MAX : GRANT_PATH_MAX];

        if (entry->grant)
                return listing_add(listing, server, "", grant_path(entry->grant, path), DAXBROKER_GRANT_INTERFACE,
                                   grant_vtable);

        news_show(server, entry->allocation);
        return listing_add(listing, server, entry->allocation->name ? entry->allocation->name : "",
                           allocation_path(entry->allocation, path), DAXBROKER_ALLOCATION_INTERFACE, allocation_vtable);
}

/* There are few of them, and everybody sees them. */
static int listing_add_regions(Listing *listing, Server *server) {
        const Region *region;
        int r = 0;

        DL_FOREACH(server->manager->regions, region) {
                _cleanup_free_ char *path = NULL;

                r = region_path(region, &path);
                if (r >= 0)
                        r = listing_add(listing, server, region->name, path, DAXBROKER_REGION_INTERFACE, region_vtable);
                if (r < 0)
                        break;
        }

        return r < 0 ? r : CALL_DONE;
}

/* ---- Putting it together ---- */

/* There are more than fit. CALL_DONE if that is what the caller expects. */
static int listing_is_full(Listing *listing, Failure *failure) {
        listing->more = true;
        if (listing->form == FORM_PAGE || listing->form == FORM_NAMES)
                return CALL_DONE;

        return failure_set(failure, REFUSAL_TooLarge, "there are more than %u to be listed; %s in pages", listing->max,
                           listing->form == FORM_OBJECTS      ? "ListAllocationsPaged and ListGrantsPaged give them"
                           : listing->kind == KIND_ALLOCATION ? "ListAllocationsPaged gives them"
                                                              : "ListGrantsPaged gives them");
}

/* CALL_DONE when all of this kind is in it that fits, CALL_WAITS until it is to be gone on with. */
static int listing_go_on(Listing *listing, Call *call, Failure *failure) {
        unsigned cost = 0;
        Entry entry;
        int r;

        while (entry_next(listing, call->server->manager, listing->after, &entry)) {
                bool visible = false;

                if (cost++ >= RUN_COST_MAX)
                        return call_yield(call);

                r = entry_is_known(&entry) ? entry_judge(listing, call, &entry, &visible) : CALL_DONE;
                if (r == CALL_WAITS)
                        return r;
                if (visible) {
                        if (listing->n == listing->max)
                                return listing_is_full(listing, failure);
                        r = listing_add_entry(listing, call->server, &entry);
                        if (r < 0)
                                return r;
                        listing->n++;
                        cost += ADD_COST;
                }
                memcpy(listing->after, entry.id, sizeof(listing->after));
        }

        return CALL_DONE;
}

static int listing_run(Listing *listing, Call *call, Failure *failure) {
        int r;

        for (;;) {
                r = listing->kind == KIND_REGION ? listing_add_regions(listing, call->server)
                                                 : listing_go_on(listing, call, failure);
                if (r <= 0)
                        return r;
                if (listing->kind == listing->last_kind)
                        return CALL_DONE;
                listing->kind++;
                listing->after[0] = '\0';
        }
}

static int listing_send(const Listing *listing, const Call *call) {
        int r;

        r = sd_bus_message_close_container(listing->reply);
        if (r >= 0 && listing->form == FORM_PAGE)
                r = sd_bus_message_append(listing->reply, "b", listing->more);
        if (r >= 0)
                r = sd_bus_send(NULL, listing->reply, NULL);
        if (r >= 0 && call->caller->peer)
                peer_has_been_answered(call->caller->peer); /* before the next one begins */
        return r < 0 ? r : CALL_DONE;
}

char **names_free(char **names) {
        for (size_t i = 0; names && names[i]; i++)
                free(names[i]);
        free(names);
        return NULL;
}

static bool list_may_begin(const User *user) {
        return !user->lister && user->n_behind < BEHIND_MAX;
}

/* Has the call wait until no other list of its user is being put together, and until he has read some of those he got. */
static int wait_for_turn(Call *call, Failure *failure) {
        User *user = call->caller->user;

        if (list_may_begin(user))
                user->lister = call;
        return user->lister == call ? CALL_DONE : call_wait(call, &user->waiting_to_list, failure);
}

/* Not one whose connection is not listened to before it has read what it was sent: that one would keep the turn. */
static Waiter *find_next(const User *user) {
        Waiter *waiter;

        DL_FOREACH(user->waiting_to_list, waiter) {
                const Peer *peer = call_from_waiter(waiter)->caller->peer;

                if (!peer || !peer->behind)
                        return waiter;
        }
        return NULL;
}

void lists_go_on(Server *server, User *user) {
        Waiter *waiter = find_next(user);

        if (!waiter || server->stopping || !list_may_begin(user))
                return;
        user->lister = call_from_waiter(waiter);
        waiter_remove(waiter);
        waiter->wake(waiter);
}

void call_end_list(Call *call) {
        User *user = call->caller->user;
        Listing *listing = call->listing;

        if (listing) {
                sd_bus_message_unref(listing->reply);
                names_free(listing->names);
                free(listing);
                call->listing = NULL;
        }
        if (!user || user->lister != call)
                return;

        user->lister = NULL;
        lists_go_on(call->server, user);
}

/* The call's, also if it fails half-way. */
static int listing_new(Call *call, Form form, Kind kind, Kind last_kind, unsigned max) {
        Listing *listing;
        int r;

        listing = calloc(1, sizeof(*listing));
        if (!listing)
                return -ENOMEM;

        call->listing = listing;
        *listing = (Listing){ .form = form, .kind = kind, .last_kind = last_kind, .max = max };
        if (form == FORM_NAMES) {
                listing->names = calloc(max + 1, sizeof(*listing->names));
                return listing->names ? 0 : -ENOMEM;
        }

        r = sd_bus_message_new_method_return(call->message, &listing->reply);
        if (r >= 0)
                r = sd_bus_message_open_container(listing->reply, 'a', form == FORM_OBJECTS ? "{oa{sa{sv}}}" : "(soa{sv})");
        return r;
}

/* Begins it, or goes on with it. */
static int list(Call *call, Form form, Kind kind, Kind last_kind, const PageOptions *options, Failure *failure) {
        int r;

        /* a list is work, and a caller who does not want it could ask for a thousand */
        if (sd_bus_message_get_expect_reply(call->message) == 0)
                return CALL_DONE;

        if (!call->listing) {
                r = wait_for_turn(call, failure);
                if (r <= 0)
                        return r;
                r = listing_new(call, form, kind, last_kind, options ? options->limit : WHOLE_MAX);
                if (r < 0)
                        return r;
                if (options)
                        (void) snprintf(call->listing->after, sizeof(call->listing->after), "%.16s", options->after);
        }

        return listing_run(call->listing, call, failure);
}

static int answer(Call *call, Form form, Kind kind, Kind last_kind, const PageOptions *options, Failure *failure) {
        int r;

        r = list(call, form, kind, last_kind, options, failure);
        return r > 0 && call->listing ? listing_send(call->listing, call) : r;
}

int do_list_regions(Call *call, Failure *failure) {
        return answer(call, FORM_WHOLE, KIND_REGION, KIND_REGION, NULL, failure);
}

int do_list_allocations(Call *call, Failure *failure) {
        return answer(call, FORM_WHOLE, KIND_ALLOCATION, KIND_ALLOCATION, NULL, failure);
}

int do_list_grants(Call *call, Failure *failure) {
        return answer(call, FORM_WHOLE, KIND_GRANT, KIND_GRANT, NULL, failure);
}

static int do_list_page(Call *call, Kind kind, const char *parent, Failure *failure) {
        PageOptions options;
        int r;

        r = page_options_read(call->message, parent, PAGE_MAX, &options, failure);
        return r < 0 ? r : answer(call, FORM_PAGE, kind, kind, &options, failure);
}

int do_list_allocations_paged(Call *call, Failure *failure) {
        return do_list_page(call, KIND_ALLOCATION, DAXBROKER_ALLOCATION_PATH "/", failure);
}

int do_list_grants_paged(Call *call, Failure *failure) {
        return do_list_page(call, KIND_GRANT, DAXBROKER_GRANT_PATH "/", failure);
}

int do_get_managed_objects(Call *call, Failure *failure) {
        return answer(call, FORM_OBJECTS, KIND_REGION, KIND_GRANT, NULL, failure);
}

/* ---- Introspection ---- */

static int do_introspect(Call *call, Kind kind, Failure *failure) {
        Server *server = call->server;
        int r;

        r = list(call, FORM_NAMES, kind, kind, NULL, failure);
        if (r <= 0 || !call->listing)
                return r;

        server->viewed = call->message;
        server->viewed_names = TAKE_PTR(call->listing->names);
        return CALL_PASS;
}

int do_introspect_allocations(Call *call, Failure *failure) {
        return do_introspect(call, KIND_ALLOCATION, failure);
}

int do_introspect_grants(Call *call, Failure *failure) {
        return do_introspect(call, KIND_GRANT, failure);
}

/* What the handler has found that the sender of the current message may see. */
int names_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_names, sd_bus_error *ret_error) {
        Server *server = userdata;

        (void) prefix;
        (void) ret_error;
        *ret_names = NULL;
        if (server->viewed && server->viewed == sd_bus_get_current_message(bus))
                *ret_names = TAKE_PTR(server->viewed_names);
        return 1;
}
