/* SPDX-License-Identifier: MIT */
#pragma once

/* Places that are kept over a reboot (option reserve): the memory forgets, but whoever had it gets as much of it again, at
 * the same place, empty, before anybody else can have it. For that, a second record lies in STATE_DIRECTORY. */

#include "allocation.h"
#include "manager.h"

/* Keeps or removes that record, as the other one is written; removes it, at the end of what has been alive. In worker
 * threads. */
int reserve_note(const Allocation *allocation, const Record *record);
void reserve_remove(const Allocation *allocation);

/* Once, when the records of this boot are known: reads which places were kept. */
int reserves_read(Manager *manager);

/* Carves those whose regions can be used by now. */
void reserves_restore(Manager *manager);

void reserves_free(Manager *manager);
