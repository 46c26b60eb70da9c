/* SPDX-License-Identifier: MIT */
#pragma once

#include "fd-store.h"
#include "manager.h"

/* Finds again what an earlier broker handed out: compares the records, the descriptors that the service manager kept and
 * the leases, and finishes or undoes each. To be called once, before anybody can ask for anything. */
int recovery_run(Manager *manager);

/* The region that a record names. If the configuration has none of that name any more, or one of another kind, an
 * unusable one keeps the account. -ENOMEM. */
int recovery_region(Manager *manager, const char *name, const Provider *provider, Region **ret);

/* An allocation as the record says, not linked and without anything of its own yet. */
int recovery_make(Manager *manager, const char *id, const Record *record, Allocation **ret);

/* ---- For intake.c ---- */

typedef struct Recovery {
        Manager *manager;
        StoredFd *store;
        bool unlisted; /* there are regions of which it is not known yet what they hold */
        unsigned n_live, n_ending, n_detached, n_quarantined, n_gone, n_orphans, n_ownerless, n_grants;
} Recovery;

/* Finds the allocation again that this record is of, or what is left of it. */
int recovery_allocation(Recovery *recovery, const char *id, Record *record);

/* Takes the shares, makes it known and watches its lease. The allocation is the manager's, or freed. */
int recovery_link(Recovery *recovery, Allocation *allocation, Region *region);

/* Whether all that anybody has can be counted with so much more. */
bool recovery_is_countable(const Manager *manager, uint64_t length);

/* What there is of it beside its medium: its descriptors, its lease, and its record. */
void recovery_remove_traces_but_record(Manager *manager, const char *id);
void recovery_remove_traces(Manager *manager, const Provider *provider, const char *id);
