/* SPDX-License-Identifier: MIT */
#pragma once

#include "manager.h"

/* Finds again what an earlier broker handed out: compares the records, the descriptors that the service manager kept and
 * the leases, and finishes or undoes each. To be called once, before anybody can ask for anything. */
int recovery_run(Manager *manager);
