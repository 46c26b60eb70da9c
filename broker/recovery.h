/* SPDX-License-Identifier: MIT */
#pragma once

#include "manager.h"

/* Finds again what an earlier broker handed out: compares the records, the descriptors that the service manager kept and
 * the leases, and finishes or undoes each. To be called once, before anybody can ask for anything. */
int recovery_run(Manager *manager);

/* The region that a record names. If the configuration has none of that name any more, or one of another kind, an unusable one
 * keeps the account. -ENOMEM. */
int recovery_region(Manager *manager, const char *name, const Provider *provider, Region **ret);

/* An allocation as the record says, not linked and without anything of its own yet. */
int recovery_make(Manager *manager, const char *id, const Record *record, Allocation **ret);

/* Before a region's medium is looked at: notes what is known to be there. */
void recovery_look_for(Manager *manager, Region *region);

/* Afterwards: takes in what was found, which is the region's inventory, and what was not. listed < 0: the look has failed,
 * and what was there cannot be reached; its list_failure says why. */
void recovery_take_in(Manager *manager, Region *region, int listed);

/* The last holder has let go of what is detached and keeps its contents. */
void recovery_on_released(Allocation *allocation);
