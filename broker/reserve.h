/* SPDX-License-Identifier: MIT */
#pragma once

/* Places that are kept over a reboot (option reserve): the memory forgets, but whoever had it gets as much of it again, at
 * the same place, empty, before anybody else can have it. For that, a second record lies in STATE_DIRECTORY. */

#include "allocation.h"
#include "manager.h"

/* Writes that record, if the other one, which is written, says that it is alive; removes it, when it is given up. In worker
 * threads. */
int reserve_note(const Allocation *allocation, const Record *record);
void reserve_remove(const Allocation *allocation);

/* Of an allocation that was found again with this record: makes that record be there, or not, whenever an earlier broker has
 * died. */
void reserve_recover(Allocation *allocation, const Record *record);

/* Once, when the records of this boot are known: reads which places were kept. */
int reserves_read(Manager *manager);

/* Carves those whose regions can be used by now, and of which nothing is left to be undone. */
void reserves_restore(Manager *manager);

void reserves_free(Manager *manager);
