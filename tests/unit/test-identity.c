/* SPDX-License-Identifier: MIT */

/* Who has a uid: what the user database says becomes known, when it has said it, and errors and silence are told apart from
 * an answer. The database is the one below. */

#include "clock.h"
#include "user.h"

#include <errno.h>
#include <glib.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <string.h>

#define UID 4711

static struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        const char *name; /* NULL if there is none */
        size_t size;      /* of the buffer that it wants */
        int error;
        unsigned n_groups;
        bool hangs;
        unsigned n_asked, n_groups_asked;
} database = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

int __wrap_getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **ret);
int __wrap_getgrouplist(const char *name, gid_t group, gid_t *groups, int *n);

int __wrap_getpwuid_r(uid_t uid, struct passwd *entry, char *buffer, size_t size, struct passwd **ret) {
        int error;

        g_assert_cmpuint(uid, ==, UID);
        pthread_mutex_lock(&database.mutex);
        database.n_asked++;
        while (database.hangs)
                pthread_cond_wait(&database.changed, &database.mutex);
        error = database.error;
        *ret = NULL;
        if (error == 0 && size < database.size)
                error = ERANGE;
        if (error == 0 && database.name) {
                g_strlcpy(buffer, database.name, size);
                *entry = (struct passwd) { .pw_name = buffer, .pw_uid = uid, .pw_gid = 1 };
                *ret = entry;
        }
        pthread_mutex_unlock(&database.mutex);
        return error;
}

int __wrap_getgrouplist(const char *name, gid_t group, gid_t *groups, int *n) {
        int room = *n;

        g_assert_cmpstr(name, ==, database.name);
        database.n_groups_asked++;
        *n = (int) database.n_groups;
        if (room < *n)
                return -1;
        for (int i = 0; i < *n; i++)
                groups[i] = group + (gid_t) i;
        return *n;
}

typedef struct World {
        sd_event *event;
        WorkerPool *pool;
        UserTable table;
        User *user;
        unsigned n_renamed, n_woken;
        Waiter waiter;
} World;

static World *current;

static void on_renamed(User *user, void *userdata) {
        World *world = userdata;

        g_assert_true(user == world->user);
        world->n_renamed++;
}

static void on_wake(Waiter *waiter) {
        (void) waiter;
        current->n_woken++;
}

static void set_up(World *world, const void *unused) {
        (void) unused;
        current = world;
        database.name = "alice";
        database.size = 0;
        database.error = 0;
        database.n_groups = 3;
        database.hangs = false;
        database.n_asked = database.n_groups_asked = 0;
        g_assert_cmpint(sd_event_new(&world->event), >=, 0);
        g_assert_cmpint(worker_pool_new(world->event, &world->pool), ==, 0);
        world->table = (UserTable) {
                .event = world->event, .pool = world->pool, .renamed = on_renamed, .userdata = world,
        };
        g_assert_cmpint(user_get(&world->table, UID, &world->user), ==, 0);
        world->waiter.wake = on_wake;
}

static void tear_down(World *world, const void *unused) {
        (void) unused;
        g_assert_true(worker_pool_drain(world->pool, G_USEC_PER_SEC));
        user_unref(world->user);
        g_assert_null(world->table.users);
        worker_pool_free(world->pool);
        sd_event_unref(world->event);
}

static void wait_for(World *world, unsigned n_woken) {
        while (world->n_woken < n_woken)
                g_assert_cmpint(sd_event_run(world->event, 20 * G_USEC_PER_SEC), >, 0);
}

/* Until who waits is woken. */
static void look_up(World *world, bool with_groups) {
        unsigned n = world->n_woken;

        g_assert_cmpint(identity_look_up(world->user, with_groups), ==, 0);
        waiter_add(&world->user->identity.waiters, &world->waiter);
        wait_for(world, n + 1);
}

static void test_known(World *world, const void *unused) {
        uint64_t before = now_usec();

        (void) unused;
        g_assert_false(identity_is_known(world->user, 0, false));
        g_assert_true(identity_is(world->user, "bob")); /* as far as is known */
        look_up(world, false);
        g_assert_cmpstr(world->user->identity.name, ==, "alice");
        g_assert_cmpint(world->user->identity.error, ==, 0);
        g_assert_true(identity_is(world->user, "alice"));
        g_assert_true(identity_is(world->user, NULL));
        g_assert_false(identity_is(world->user, "bob"));
        g_assert_false(identity_is(world->user, IDENTITY_NOBODY));

        /* as of then, and not as of now; and nobody has asked for groups */
        g_assert_true(identity_is_known(world->user, before - 1, false));
        g_assert_false(identity_is_known(world->user, before - 1, true));
        g_assert_false(identity_is_known(world->user, now_usec(), false));
        g_assert_cmpuint(database.n_groups_asked, ==, 0);
        g_assert_cmpuint(world->n_renamed, ==, 0);
}

static void test_groups(World *world, const void *unused) {
        (void) unused;
        look_up(world, true);
        g_assert_cmpuint(world->user->identity.n_groups, ==, 3);
        g_assert_cmpuint(world->user->identity.groups[2], ==, 3);
        g_assert_true(identity_is_known(world->user, 0, true));

        database.n_groups = 5000;
        look_up(world, true);
        g_assert_cmpuint(world->user->identity.n_groups, ==, 5000);
        g_assert_cmpuint(world->user->identity.groups[4999], ==, 5000);

        /* they stay if nobody asks for them */
        database.n_groups = 1;
        look_up(world, false);
        g_assert_cmpuint(world->user->identity.n_groups, ==, 5000);

        database.n_groups = 100000;
        look_up(world, true);
        g_assert_cmpint(world->user->identity.error, ==, -E2BIG);
}

static void test_nobody(World *world, const void *unused) {
        static const int errors[] = { 0, ENOENT, ESRCH };

        (void) unused;
        database.name = NULL;
        for (size_t i = 0; i < G_N_ELEMENTS(errors); i++) {
                database.error = errors[i];
                look_up(world, true);
                g_assert_cmpint(world->user->identity.error, ==, 0);
                g_assert_cmpstr(world->user->identity.name, ==, IDENTITY_NOBODY);
                g_assert_false(identity_is(world->user, "alice"));
                g_assert_true(identity_is(world->user, IDENTITY_NOBODY));
        }
        g_assert_cmpuint(database.n_groups_asked, ==, 0);
}

/* What was known is not known any more, and is not forgotten. */
static void test_error(World *world, const void *unused) {
        uint64_t before;

        (void) unused;
        look_up(world, false);
        before = now_usec();
        database.error = EIO;
        look_up(world, false);
        g_assert_cmpint(world->user->identity.error, ==, -EIO);
        g_assert_cmpstr(world->user->identity.name, ==, "alice");
        g_assert_true(identity_is_known(world->user, before - 1, false));
        g_assert_true(identity_was_told(world->user, 0, false));
        g_assert_false(identity_was_told(world->user, before, false));

        database.error = 0;
        look_up(world, false);
        g_assert_cmpint(world->user->identity.error, ==, 0);
        g_assert_true(identity_was_told(world->user, before - 1, false));
        g_assert_false(identity_was_told(world->user, before, true));
        g_assert_cmpuint(world->n_renamed, ==, 0);
}

static void test_renamed(World *world, const void *unused) {
        static const char *const names[] = { "mallory", NULL, "alice" };

        (void) unused;
        look_up(world, false);
        for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
                database.name = names[i];
                look_up(world, false);
                g_assert_cmpuint(world->n_renamed, ==, i + 1);
        }
        look_up(world, false);
        g_assert_cmpuint(world->n_renamed, ==, G_N_ELEMENTS(names));
}

/* A record is a line of ASCII, and so is a name in it; different ones stay different. */
static void test_escape(World *world, const void *unused) {
        static const struct {
                const char *name, *escaped;
        } cases[] = {
                { "j\xc3\xb6rg", "j%C3%B6rg" }, { "a b", "a%20b" },    { "a\nb", "a%0Ab" },
                { "100%", "100%25" },           { "CORP\\eve", "CORP\\eve" }, { "a.b-c_d$", "a.b-c_d$" },
                { IDENTITY_NOBODY, "%2D" },
        };
        g_autofree char *longest = g_strnfill(IDENTITY_NAME_MAX - 4, 'x'), *longer = g_strnfill(IDENTITY_NAME_MAX, 'x');

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                database.name = cases[i].name;
                look_up(world, false);
                g_assert_cmpstr(world->user->identity.name, ==, cases[i].escaped);
        }

        database.name = longest;
        look_up(world, false);
        g_assert_cmpstr(world->user->identity.name, ==, longest);
        database.name = longer;
        look_up(world, false);
        g_assert_cmpint(world->user->identity.error, ==, -ENAMETOOLONG);
}

static void test_large_entry(World *world, const void *unused) {
        (void) unused;
        database.size = 100000;
        look_up(world, false);
        g_assert_cmpstr(world->user->identity.name, ==, "alice");

        database.size = SIZE_MAX;
        look_up(world, false);
        g_assert_cmpint(world->user->identity.error, ==, -ERANGE);
}

/* One question at a time. */
static void test_asked_once(World *world, const void *unused) {
        Waiter second = { .wake = on_wake };

        (void) unused;
        g_assert_cmpint(identity_look_up(world->user, false), ==, 0);
        g_assert_cmpint(identity_look_up(world->user, false), ==, 0);
        waiter_add(&world->user->identity.waiters, &world->waiter);
        waiter_add(&world->user->identity.waiters, &second);
        wait_for(world, 2);
        g_assert_cmpuint(database.n_asked, ==, 1);
}

/* Who waits is told after some seconds that there is no answer; who comes later waits for as long. */
static void test_silence(World *world, const void *unused) {
        uint64_t before;

        (void) unused;
        look_up(world, true);
        database.n_asked = 0;
        database.hangs = true;
        before = now_usec();
        look_up(world, false);
        g_assert_cmpuint(now_usec() - before, >=, 4 * G_USEC_PER_SEC);
        g_assert_cmpint(world->user->identity.error, ==, -ETIMEDOUT);
        g_assert_true(identity_is_known(world->user, before - 1, true));
        g_assert_false(identity_is_known(world->user, now_usec(), false));
        /* what was told before was told */
        g_assert_true(identity_was_told(world->user, 0, true));
        g_assert_false(identity_was_told(world->user, before, true));

        before = now_usec();
        g_assert_cmpint(identity_look_up(world->user, true), ==, 0);
        waiter_add(&world->user->identity.waiters, &world->waiter);
        pthread_mutex_lock(&database.mutex);
        g_assert_cmpuint(database.n_asked, ==, 1);
        database.hangs = false;
        pthread_cond_broadcast(&database.changed);
        pthread_mutex_unlock(&database.mutex);
        wait_for(world, 3);
        g_assert_cmpint(world->user->identity.error, ==, 0);
        g_assert_cmpstr(world->user->identity.name, ==, "alice");
        /* that was the answer to the first question */
        g_assert_false(identity_is_known(world->user, before, false));
        look_up(world, false);
        g_assert_true(identity_is_known(world->user, before, false));
}

/* The user is needed by nobody but the question. */
static void test_alone(World *world, const void *unused) {
        (void) unused;
        g_assert_cmpint(identity_look_up(world->user, true), ==, 0);
        waiter_add(&world->user->identity.waiters, &world->waiter);
        world->user = user_unref(world->user);
        g_assert_nonnull(world->table.users);
        wait_for(world, 1);
        g_assert_null(world->table.users);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
#define add(name, function) g_test_add("/identity/" name, World, NULL, set_up, function, tear_down)
        add("known", test_known);
        add("groups", test_groups);
        add("nobody", test_nobody);
        add("error", test_error);
        add("renamed", test_renamed);
        add("escape", test_escape);
        add("large-entry", test_large_entry);
        add("asked-once", test_asked_once);
        add("silence", test_silence);
        add("alone", test_alone);
        return g_test_run();
}
