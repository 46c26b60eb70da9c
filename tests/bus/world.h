/* SPDX-License-Identifier: MIT */
#pragma once

/* The private world the test runs in (tests/world/world), and small things that all of the fixture needs. */

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "provider.h"

/* First thing in main(). Exits (77, or a TAP skip) where the program was not started through tests/world/world. */
void world_init(int *argc, char ***argv);

/* A folder of this world that everybody may enter and only root may write to. */
const char *world_get_path(void);

/* uid, which is the gid, too, of one of the world's users. */
uid_t world_get_uid(const char *user);

/* Becomes that user for good, with all its groups and without any capability. */
void world_become(const char *user);

/* fork(), at a moment when no other thread is allocating memory. In the child of a program with threads the allocator may
 * be locked for ever otherwise, with sanitizers at least. Threads do such work between the other two only. */
pid_t world_fork(void);
void world_lock_fork(void);
void world_unlock_fork(void);

/* Runs a program of tests/world, such as "start-bus". It has to succeed. */
void world_run(const char *tool);

/* The process whose id tests/world wrote into that file, such as "polkitd.pid". */
pid_t world_read_pid(const char *file);

bool process_is_alive(pid_t pid);
/* Sends SIGKILL to a process that is not our child, and waits until it is gone. */
void process_kill(pid_t pid);

/* DAXBROKER_TEST_DIRECT=1 has the programs talk to the broker directly instead of over the bus. This is the one place where
 * that makes a difference: a new connection to the broker, by whichever way. DAXBROKER_BUS tells the library the same. */
bool world_is_direct(void);
int world_connect(sd_bus **ret);

/* For cases that are about the bus itself; to be followed by return. */
#define world_skips_direct(why) (world_is_direct() && (g_test_skip(why), true))

/* Whether somebody owns the name on the bus; waits for it to be so, for at most that many seconds. */
bool bus_wait_name(const char *name, bool owned, unsigned seconds);

/* Ends the bus as kill -9 would, and with it polkitd. */
void bus_kill(void);
/* Starts both again. */
void bus_start(void);

/* Tries until the condition holds, for at most that many seconds where machines are real; false if it never did. */
#define wait_until(seconds, condition)                                                                  \
        ({                                                                                              \
                gint64 _end = g_get_monotonic_time() + provider_patience(seconds);                       \
                bool _holds;                                                                            \
                                                                                                        \
                while (!(_holds = (condition)) && g_get_monotonic_time() < _end)                        \
                        g_usleep(provider_is_device() ? 50000 : 5000);                                  \
                _holds;                                                                                 \
        })
