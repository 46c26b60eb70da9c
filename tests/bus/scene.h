/* SPDX-License-Identifier: MIT */
#pragma once

/* What most tests begin and end with: a running broker and people who use it, under the policy that is shipped. At the
 * end everybody lets go, root frees what is still there, and the broker must have what it had in the beginning: no more
 * bytes, descriptors and files in use. */

#include <glib.h>

#include "broker.h"
#include "calls.h"
#include "footprint.h"
#include "provider.h"
#include "user.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* What no provider has to round up: 2 MiB, but for namespaces. */
#define UNIT provider_length(2 * MIB)

typedef struct Scene {
        Broker *broker;
        User *alice, *bob, *carol, *root; /* alice is in group dax and may allocate */
        Footprint before;
        bool has_rules;
} Scene;

/* configuration is a text; the region dram, which it may speak of, has to be usable. */
#define scene_add(path, configuration, function) \
        g_test_add(path, Scene, configuration, scene_set_up, function, scene_tear_down)

void scene_set_up(Scene *scene, gconstpointer configuration);
void scene_tear_down(Scene *scene, gconstpointer configuration);

/* The broker dies, and another one is started. */
void scene_restart(Scene *scene);

/* What root sees of an allocation; an empty name: it has none. */
void scene_assert_owner(Scene *scene, const char *object, const char *name);
void scene_assert_named(Scene *scene, const char *object, const char *name);
void scene_assert_state(Scene *scene, const Reply *reply, const char *state);
bool scene_is_listed(Scene *scene, const Reply *reply);

/* polkit_set_rules() until the end of the test. */
void scene_set_rules(Scene *scene, const char *javascript);

/* Everything goes, and it is waited for. */
void scene_clear(Scene *scene);

/* What was freed, and let go of, is gone: at once, or if it is a device as soon as it is clean. */
void scene_assert_gone(Scene *scene, const Reply *reply);

/* Of a device without its descriptor nobody can tell any more whether it is held: root decides that it is not. */
void scene_revoke(Scene *scene, const Reply *reply);

/* A limit of the running broker, such as RLIMIT_NOFILE; at most what it was started with. */
void scene_limit_broker(const Scene *scene, int resource, uint64_t value);

/* Somebody who hears of everybody's allocations: over the bus that is anybody, directly whom polkit lets see them. */
User *scene_listener(const Scene *scene);

/* What a user gets, which has to go well. */
Reply user_get(User *user, uint64_t size, const char *options);
/* What he gets, or why not, of a grant; with more options, or NULL. */
Reply user_allocate_from(User *user, const Reply *grant, uint64_t size, const char *more);
/* As user_get(), mapped, and filled with a value. */
Reply user_take(User *user, uint64_t size, const char *options, uint8_t value);
/* It is freed, and its descriptors are let go of; the mapping stays. */
void user_give_back(User *user, const Reply *reply);

/* Fails the test unless the text is part of the message. */
#define assert_says(message, text) assert_says_at(message, text, __FILE__, __LINE__)
void assert_says_at(const char *message, const char *text, const char *file, int line);

/* Whatever somebody else is doing: memory comes and goes for this user as it always does. */
void assert_others_go_on(User *user);
