/* SPDX-License-Identifier: MIT */

/* Tells what changes, over the bus and to who is connected directly. Signals reach everybody who listens, so those about
 * allocations name objects and properties only; who may see the values asks for them.
 *
 * A signal is as much work for the bus as a call, and much memory is had for less than a millisecond. So that memory has
 * come is told up to ARRIVAL_USEC later, and if whoever asked for it gives it back before that, nothing is told at all.
 * Nobody misses anything by this: whoever else is to be shown it, in a list or because he names its object, hears first
 * that it has come, and then everything; and so does everybody before anything but its end is told. What others can find by
 * a name, or what ends slowly, is told at once. */

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "cleanup.h"
#include "names.h"
#include "server-bus.h"

#define OBJECT_MANAGER_INTERFACE "org.freedesktop.DBus.ObjectManager"

#define ARRIVAL_USEC (10 * UINT64_C(1000))

/* Something that is to be told. */
typedef struct News {
        const Allocation *allocation; /* these are NULL if it is for everybody */
        const Grant *grant;
        const char *path, *interface;
        const char *what; /* a signal's name and arguments, or a property */
        const char *types;
} News;

typedef int (*Teller)(sd_bus *bus, const News *news);

/* On the system bus everybody hears it; the values are for whom may ask for them. On a direct connection it is for who wants
 * to hear it, and may see what it is about. */
static bool news_are_for(const News *news, const Peer *peer) {
        if (news->allocation)
                return peer->sees_all || allocation_is_visible(news->allocation, peer->caller);

        return !news->grant || peer->sees_all || grant_is_visible(news->grant, peer->caller);
}

static void server_tell(Server *server, Teller tell, const News *news) {
        Peer *peer;

        (void) tell(server->bus, news);
        DL_FOREACH2(server->peers.listening, peer, listen_next)
                if (news_are_for(news, peer)) {
                        (void) tell(peer->bus, news);
                        peer_has_been_told(peer);
                }
}

/* An object has come or gone: what types says, the path and the name of the interface in it. */
static int tell_object(sd_bus *bus, const News *news) {
        sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(bus, &m, DAXBROKER_ROOT_PATH, OBJECT_MANAGER_INTERFACE, news->what);
        if (r >= 0) /* the last argument is the number of properties, where there is such a thing */
                r = sd_bus_message_append(m, news->types, news->path, 1, news->interface, 0);
        if (r >= 0)
                r = sd_bus_send(bus, m, NULL);
        sd_bus_message_unref(m);
        return r;
}

/* What sd_bus_emit_properties_changed() would tell of a property that is invalidated, at half the price: it looks the
 * property up again, for each of two signals that every allocation sends. */
static int tell_allocation(sd_bus *bus, const News *news) {
        sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(bus, &m, news->path, "org.freedesktop.DBus.Properties", "PropertiesChanged");
        if (r >= 0)
                r = sd_bus_message_append(m, "sa{sv}as", news->interface, 0, 1, news->what);
        if (r >= 0)
                r = sd_bus_send(bus, m, NULL);
        sd_bus_message_unref(m);
        return r;
}

static int tell_region_added(sd_bus *bus, const News *news) {
        return sd_bus_emit_interfaces_added(bus, news->path, DAXBROKER_REGION_INTERFACE, NULL);
}

static int tell_region(sd_bus *bus, const News *news) {
        return sd_bus_emit_properties_changed(bus, news->path, DAXBROKER_REGION_INTERFACE, "Available", "LargestAvailable",
                                              "Granted", "Quarantined", "Warm", "WarmAvailable", "WarmLength", "WarmHits",
                                              "WarmMisses", "Size", "Granularity", "Alignments", "NumaNode", "TargetNode",
                                              "ReadBandwidth", "WriteBandwidth", "ReadLatency", "WriteLatency", "Clean",
                                              "Recycle", "Persistent", "State", "Reason", NULL);
}

static int tell_manager(sd_bus *bus, const News *news) {
        return sd_bus_emit_properties_changed(bus, news->path, DAXBROKER_MANAGER_INTERFACE, news->what, NULL);
}

static void tell_of_allocation(Server *server, const Allocation *allocation, Teller tell, const char *what,
                               const char *types) {
        char path[ALLOCATION_PATH_MAX];
        const News news = { .allocation = allocation, .path = allocation_path(allocation, path),
                            .interface = DAXBROKER_ALLOCATION_INTERFACE, .what = what, .types = types };

        server_tell(server, tell, &news);
}

static void tell_of_grant(Server *server, const Grant *grant, const char *what, const char *types) {
        char path[GRANT_PATH_MAX];
        const News news = { .grant = grant, .path = grant_path(grant, path), .interface = DAXBROKER_GRANT_INTERFACE,
                            .what = what, .types = types };

        server_tell(server, tell_object, &news);
}

static void tell_of_region(Server *server, const Region *region, Teller tell) {
        _cleanup_free_ char *path = NULL;

        if (region_path(region, &path) >= 0)
                server_tell(server, tell, &(const News){ .path = path });
}

/* ---- Allocations that have come, which is not told yet ---- */

typedef struct Arrival {
        char id[17];
        bool returned; /* by the process that asked for it */
        UT_hash_handle hh;
} Arrival;

static Arrival *arrival_find(const Server *server, const char *id) {
        Arrival *arrival;

        HASH_FIND_STR(server->arrivals, id, arrival);
        return arrival;
}

static void arrival_forget(Server *server, Arrival *arrival) {
        HASH_DEL(server->arrivals, arrival);
        free(arrival);
}

/* False if there is no memory for that, or no event loop any more: then it has to be told at once. */
static bool arrival_hold(Server *server, const Allocation *allocation) {
        int enabled = SD_EVENT_OFF;
        Arrival *arrival;

        (void) sd_event_source_get_enabled(server->arrival_timer, &enabled);
        if (enabled == SD_EVENT_OFF &&
            (sd_event_source_set_time_relative(server->arrival_timer, ARRIVAL_USEC) < 0 ||
             sd_event_source_set_enabled(server->arrival_timer, SD_EVENT_ONESHOT) < 0))
                return false;

        arrival = calloc(1, sizeof(*arrival));
        if (!arrival)
                return false;
        memcpy(arrival->id, allocation->id, sizeof(arrival->id));
        HASH_ADD_STR(server->arrivals, id, arrival);
        return true;
}

static void tell_of_arrival(Server *server, const Allocation *allocation) {
        tell_of_allocation(server, allocation, tell_object, "InterfacesAdded", "oa{sa{sv}}");
}

static void arrival_tell(Server *server, Arrival *arrival) {
        const Allocation *allocation = manager_find_allocation(server->manager, arrival->id);

        arrival_forget(server, arrival);
        if (allocation)
                tell_of_arrival(server, allocation);
}

static void arrivals_tell(Server *server) {
        Arrival *arrival, *next;

        HASH_ITER(hh, server->arrivals, arrival, next)
                arrival_tell(server, arrival);
}

static int on_arrival_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        (void) source;
        (void) usec;
        arrivals_tell(userdata);
        return 0;
}

void news_show(Server *server, const Allocation *allocation) {
        Arrival *arrival = arrival_find(server, allocation->id);

        if (arrival)
                arrival_tell(server, arrival);
}

void news_return(Server *server, const Allocation *allocation) {
        Arrival *arrival = arrival_find(server, allocation->id);

        if (arrival)
                arrival->returned = true;
}

/* ---- What the logic tells ---- */

static void on_allocation_added(Allocation *allocation, void *userdata) {
        bool brief = allocation->state == ALLOCATION_LIVE && !allocation->name && !allocation->persistent &&
                     !allocation->provider->drains;

        if (!brief || !arrival_hold(userdata, allocation))
                tell_of_arrival(userdata, allocation);
}

static void on_allocation_removed(Allocation *allocation, void *userdata) {
        Arrival *arrival = arrival_find(userdata, allocation->id);
        bool returned = arrival && arrival->returned;

        if (arrival)
                arrival_forget(userdata, arrival);
        if (!returned)
                tell_of_allocation(userdata, allocation, tell_object, "InterfacesRemoved", "oas");
}

/* Its last holder has let go, or it is revoked: what was held back is about to end, which is told then. */
static bool is_vanishing(const Allocation *allocation) {
        return allocation->state == ALLOCATION_REVOKING || (allocation->state == ALLOCATION_LIVE && !allocation->in_use);
}

static void on_allocation_changed(Allocation *allocation, const char *property, void *userdata) {
        if (arrival_find(userdata, allocation->id)) {
                if (is_vanishing(allocation))
                        return;
                news_show(userdata, allocation);
        }
        tell_of_allocation(userdata, allocation, tell_allocation, property, NULL);
}

static void on_grant_added(Grant *grant, void *userdata) {
        tell_of_grant(userdata, grant, "InterfacesAdded", "oa{sa{sv}}");
}

static void on_grant_removed(Grant *grant, void *userdata) {
        tell_of_grant(userdata, grant, "InterfacesRemoved", "oas");
}

static void on_region_added(Region *region, void *userdata) {
        tell_of_region(userdata, region, tell_region_added);
}

static void on_region_changed(Region *region, void *userdata) {
        tell_of_region(userdata, region, tell_region);
}

static void on_config_changed(void *userdata) {
        Server *server = userdata;

        decisions_drop(&server->authority.decisions);
        server_tell(server, tell_manager, &(const News){ .path = DAXBROKER_ROOT_PATH, .what = "DefaultRegion" });
}

/* ---- Beginning and end ---- */

int news_begin(Server *server) {
        int r;

        server->observer = (Observer){
                .allocation_added = on_allocation_added,
                .allocation_removed = on_allocation_removed,
                .allocation_changed = on_allocation_changed,
                .grant_added = on_grant_added,
                .grant_removed = on_grant_removed,
                .region_added = on_region_added,
                .region_changed = on_region_changed,
                .config_changed = on_config_changed,
                .userdata = server,
        };
        r = sd_event_add_time_relative(server->manager->event, &server->arrival_timer, CLOCK_MONOTONIC, ARRIVAL_USEC, 1,
                                       on_arrival_timer, server);
        return r < 0 ? r : sd_event_source_set_enabled(server->arrival_timer, SD_EVENT_OFF);
}

void news_end(Server *server) {
        arrivals_tell(server);
        server->arrival_timer = sd_event_source_disable_unref(server->arrival_timer);
}
