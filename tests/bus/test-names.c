/* SPDX-License-Identifier: MIT */

/* Names and owners: both can be changed, by whom that is up to, and an owner is more than a uid. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "files.h"
#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "records.h"
#include "scene.h"
#include "signals.h"
#include "world.h"

#define CONFIGURATION "[Region dram]\nSize=256M\n"
/* Carol is an admin of the broker, in part. */
#define CAROL_MAY(what)                                                                         \
        "polkit.addRule(function(action, subject) {\n"                                          \
        "    if (subject.user == 'carol' && action.id == 'org.daxbroker1." what "')\n"          \
        "        return polkit.Result.YES;\n"                                                   \
        "});\n"

static uid_t uid(const char *user) {
        return world_get_uid(user);
}

static void restart(Scene *scene) {
        broker_kill(scene->broker);
        broker_start(scene->broker);
}

static void assert_owner(Scene *scene, const char *object, const char *name) {
        g_autofree char *owner_name = allocation_get_string(scene->root, object, "OwnerName");

        g_assert_cmpstr(owner_name, ==, name);
        if (name[0] != '\0')
                g_assert_cmpuint(allocation_get(scene->root, object, "Owner"), ==, uid(name));
}

static void assert_named(Scene *scene, const char *object, const char *name) {
        g_autofree char *found = allocation_get_string(scene->root, object, "Name");

        g_assert_cmpstr(found, ==, name);
}

/* ---- Names ----------------------------------------------------------------------------------------------------- */

static void test_rename(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data mode=0600"), again;

        (void) unused;
        user_listen(scene_listener(scene));
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 5, 42), ==, 0);

        reply_assert(user_rename(scene->alice, data.object, "results"), "");
        user_assert_hears(scene_listener(scene), "changed %s org.daxbroker1.Allocation -Name", data.object);
        assert_named(scene, data.object, "results");
        reply_assert(user_open(scene->alice, "data", NULL), "NoSuchAllocation");
        again = user_open(scene->alice, "results", NULL);
        reply_assert(again, "");
        g_assert_cmpstr(again.object, ==, data.object);
        g_assert_cmpint(user_map(scene->alice, again.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, again.slot, 5), ==, 42);

        /* the name is free, and the new one is not */
        (void) user_get(scene->alice, MIB, "name=data");
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=results"), "NameExists");

        /* it is on record */
        restart(scene);
        assert_named(scene, data.object, "results");
        reply_assert(user_open(scene->alice, "results", NULL), "");

        /* the one it has */
        reply_assert(user_rename(scene->alice, data.object, "results"), "");
        assert_named(scene, data.object, "results");
}

static void test_rename_refused(Scene *scene, gconstpointer unused) {
        static const char *const bad[] = { "", "a/b", "a b", "*" };
        Reply data = user_get(scene->alice, MIB, "name=data mode=0666"), unnamed = user_get(scene->alice, MIB, NULL), reply;
        g_autofree char *long_name = g_strnfill(64, 'x');

        (void) unused;
        (void) user_get(scene->root, MIB, "name=taken");
        for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
                reply_assert(user_rename(scene->alice, data.object, bad[i]), "BadName");
        reply_assert(user_rename(scene->alice, data.object, long_name), "BadName");
        reply = user_rename(scene->alice, data.object, "taken");
        reply_assert(reply, "NameExists");
        assert_says(reply.message, "'taken'");
        reply = user_rename(scene->alice, unnamed.object, "name");
        reply_assert(reply, "BadName");
        assert_says(reply.message, "has no name");

        /* who may write to it, may not do that */
        reply_assert(user_rename(scene->bob, data.object, "mine"), "AuthenticationRequired");
        assert_named(scene, data.object, "data");
        scene_set_rules(scene, CAROL_MAY("manage"));
        reply_assert(user_rename(scene->carol, data.object, "theirs"), "");
        assert_named(scene, data.object, "theirs");
        reply_assert(user_rename(scene->bob, data.object, "mine"), "AuthenticationRequired");

        reply_assert(user_release(scene->alice, data.object), "");
        reply_assert(user_rename(scene->alice, data.object, "late"), "NoSuchAllocation");
}

/* Each name is one's at any time, however many want it at once. */
static void test_rename_race(Scene *scene, gconstpointer unused) {
        Reply one = user_get(scene->alice, MIB, "name=one"), two = user_get(scene->root, MIB, "name=two"), replies[3];

        (void) unused;
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
        for (unsigned i = 0; i < 50; i++) {
                g_autofree char *name = g_strdup_printf("wanted-%u", i), *options = g_strconcat("name=", name, NULL);
                User *third = scene->carol;
                unsigned n = 0;

                user_begin_rename(scene->alice, one.object, name);
                user_begin_rename(scene->root, two.object, name);
                user_begin_allocate(third, MIB, 1, options);
                replies[0] = user_end_reply(scene->alice);
                replies[1] = user_end_reply(scene->root);
                replies[2] = user_end_reply(third);
                for (size_t j = 0; j < G_N_ELEMENTS(replies); j++) {
                        if (replies[j].error[0] != '\0')
                                reply_assert(replies[j], "NameExists");
                        else
                                n++;
                }
                g_assert_cmpuint(n, ==, 1);
                if (replies[2].error[0] == '\0')
                        reply_assert(user_release(third, replies[2].object), "");
                user_drop_all(third);
        }
        restart(scene);
        reply_assert(user_release(scene->alice, one.object), "");
        reply_assert(user_release(scene->root, two.object), "");
}

/* Whatever cannot be written down has not happened. */
static void test_rename_unwritable(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data"), reply;
        const char *folder = provider_is_nvdimm() ? scene->broker->state : scene->broker->runtime;
        g_autofree char *temporary = g_strdup_printf("%s/allocations/%s.tmp", folder, strrchr(data.object, '/') + 1);

        (void) unused;
        skip_on_files("a record that is an attribute takes no file of its own");
        g_assert_cmpint(mkdir(temporary, 0700), ==, 0);
        reply = user_rename(scene->alice, data.object, "other");
        g_assert_cmpstr(reply.error, !=, "");
        assert_says(reply.message, "record");
        reply = user_set_owner(scene->root, data.object, uid("bob"), "name=other");
        g_assert_cmpstr(reply.error, !=, "");
        reply = user_set_mode(scene->alice, data.object, 0644);
        g_assert_cmpstr(reply.error, !=, "");
        assert_named(scene, data.object, "data");
        assert_owner(scene, data.object, "alice");
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Mode"), ==, 0600);

        /* the name was not lost with that */
        g_assert_cmpint(rmdir(temporary), ==, 0);
        reply = user_get(scene->alice, MIB, "name=other");
        reply_assert(user_release(scene->alice, reply.object), "");
        reply_assert(user_rename(scene->alice, data.object, "other"), "");
        reply_assert(user_open(scene->alice, "other", NULL), "");
}

/* ---- Owners ---------------------------------------------------------------------------------------------------- */

static void test_set_owner(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data"), open;

        (void) unused;
        user_listen(scene->bob);
        assert_owner(scene, data.object, "alice");
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 0, 7), ==, 0);

        /* it is not for owners to get rid of what they are charged for */
        reply_assert(user_set_owner(scene->bob, data.object, uid("bob"), NULL), "AuthenticationRequired");
        reply_assert(user_set_owner(scene->alice, data.object, uid("bob"), NULL), "AuthenticationRequired");
        assert_owner(scene, data.object, "alice");

        scene_set_rules(scene, CAROL_MAY("manage"));
        reply_assert(user_set_owner(scene->carol, data.object, uid("bob"), NULL), "");
        user_assert_hears(scene->bob, "changed %s org.daxbroker1.Allocation -Owner", data.object);
        user_assert_hears(scene->bob, "changed %s org.daxbroker1.Allocation -OwnerName", data.object);
        assert_owner(scene, data.object, "bob");
        g_assert_cmpuint(allocation_get(scene->bob, data.object, "Mode"), ==, 0600);

        /* what is open stays open, and nothing else */
        g_assert_cmpint(user_peek(scene->alice, data.slot, 0), ==, 7);
        reply_assert(user_open(scene->alice, "data", NULL), "AuthenticationRequired");
        reply_assert(user_set_mode(scene->alice, data.object, 0666), "AuthenticationRequired");
        open = user_open(scene->bob, "data", NULL);
        reply_assert(open, "");
        g_assert_cmpint(user_map(scene->bob, open.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->bob, open.slot, 0), ==, 7);

        restart(scene);
        assert_owner(scene, data.object, "bob");
        reply_assert(user_open(scene->alice, "data", NULL), "AuthenticationRequired");
        reply_assert(user_release(scene->alice, data.object), "AuthenticationRequired");
        reply_assert(user_open(scene->bob, "data", NULL), "");
        reply_assert(user_release(scene->bob, data.object), "");
        g_assert_cmpint(user_peek(scene->alice, data.slot, 0), ==, -EFAULT);
}

static void test_set_owner_name(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data"), unnamed = user_get(scene->alice, MIB, NULL), reply;

        (void) unused;
        (void) user_get(scene->alice, MIB, "name=taken");
        reply_assert(user_set_owner(scene->root, data.object, uid("bob"), "name=a/b"), "BadName");
        reply_assert(user_set_owner(scene->root, data.object, uid("bob"), "name=taken"), "NameExists");
        reply_assert(user_set_owner(scene->root, data.object, uid("bob"), "name/u=5"), "BadOption");
        reply = user_set_owner(scene->root, data.object, uid("bob"), "mode=0600");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "there are: name");
        reply_assert(user_set_owner(scene->root, data.object, UINT32_MAX, NULL), "BadOption");
        reply_assert(user_set_owner(scene->root, unnamed.object, uid("bob"), "name=new"), "BadOption");
        assert_owner(scene, data.object, "alice");
        assert_named(scene, data.object, "data");

        reply_assert(user_set_owner(scene->root, data.object, uid("bob"), "name=of-bob"), "");
        assert_owner(scene, data.object, "bob");
        assert_named(scene, data.object, "of-bob");
        reply_assert(user_open(scene->bob, "of-bob", NULL), "");

        reply_assert(user_set_owner(scene->root, unnamed.object, uid("bob"), NULL), "");
        assert_owner(scene, unnamed.object, "bob");
        /* its lease keeps it, whose ever it is */
        user_drop(scene->alice, unnamed.slot);
        g_assert_true(allocation_wait_gone(scene->root, unnamed.object));
}

#define QUOTAS                                                                                   \
        CONFIGURATION "[Quota user:bob]\nMaxBytes=4M\nMaxAllocations=2\n[Quota user:carol]\nMaxBytes=2M\n" \
                      "[Quota group:dax]\nMaxBytes=3M\n"

/* He who has it is charged, and has to have room for it. */
static void test_set_owner_quota(Scene *scene, gconstpointer unused) {
        Reply small = user_get(scene->root, MIB, "name=small"), large = user_get(scene->root, 8 * MIB, "name=large");
        Reply third = user_get(scene->root, MIB, "name=third"), reply;

        (void) unused;
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
        reply = user_set_owner(scene->root, large.object, uid("bob"), NULL);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "[Quota user:bob] MaxBytes");
        assert_owner(scene, large.object, "root");
        reply_assert(user_set_owner(scene->root, small.object, uid("bob"), NULL), "");
        reply_assert(user_set_owner(scene->root, third.object, uid("bob"), NULL), "");

        reply = user_allocate(scene->bob, MIB, 1, NULL);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "MaxAllocations");
        reply = user_get(scene->root, MIB, "name=fourth");
        reply_assert(user_set_owner(scene->root, reply.object, uid("bob"), NULL), "QuotaExceeded");

        /* and comes back to who had it */
        reply_assert(user_set_owner(scene->root, third.object, uid("root"), NULL), "");
        reply_assert(user_allocate(scene->bob, 3 * MIB, 1, NULL), "");

        /* groups count, also of somebody who has never been here; his own rule goes first */
        reply_assert(user_set_owner(scene->root, large.object, uid("alice"), NULL), "QuotaExceeded");
        reply = user_set_owner(scene->root, large.object, uid("alice"), NULL);
        assert_says(reply.message, "[Quota group:dax] MaxBytes");
        reply_assert(user_set_owner(scene->root, third.object, uid("alice"), NULL), "");
        footprint_assert_sums(scene->root);
        /* to himself it costs nothing */
        reply_assert(user_set_owner(scene->root, small.object, uid("bob"), NULL), "");
}

/* What rules see of it. */
static void test_details(Scene *scene, gconstpointer unused) {
        g_autofree char *rules = g_strdup_printf(
                        "polkit.addRule(function(action, subject) {\n"
                        "    function is(key, value) { return action.lookup(key) == value; }\n"
                        "    if (subject.user != 'carol' || action.id != 'org.daxbroker1.manage')\n"
                        "        return polkit.Result.NOT_HANDLED;\n"
                        "    if (!is('region', 'dram') || !is('size', '1048576') || !is('owner', '%u'))\n"
                        "        return polkit.Result.NO;\n"
                        "    if (is('method', 'SetOwner') && is('new-owner', '%u') && is('name', 'data') && (!action.lookup('new-name') || is('new-name', 'given')))\n"
                        "        return polkit.Result.YES;\n"
                        "    if (is('method', 'Rename') && is('new-name', 'other') && is('name', 'data'))\n"
                        "        return polkit.Result.YES;\n"
                        "    if (is('method', 'SetMode') && is('mode', '0644'))\n"
                        "        return polkit.Result.YES;\n"
                        "    return polkit.Result.NO;\n"
                        "});\n",
                        uid("alice"), uid("bob"));
        Reply data = user_get(scene->alice, MIB, "name=data");

        (void) unused;
        scene_set_rules(scene, rules);
        reply_assert(user_set_owner(scene->carol, data.object, uid("carol"), NULL), "NotAuthorized");
        reply_assert(user_set_mode(scene->carol, data.object, 0600), "NotAuthorized");
        reply_assert(user_set_mode(scene->carol, data.object, 0644), "");
        reply_assert(user_rename(scene->carol, data.object, "another"), "NotAuthorized");
        reply_assert(user_rename(scene->carol, data.object, "other"), "");
        reply_assert(user_set_owner(scene->carol, data.object, uid("bob"), NULL), "NotAuthorized");
        reply_assert(user_rename(scene->alice, data.object, "data"), "");
        reply_assert(user_set_owner(scene->carol, data.object, uid("bob"), "name=stolen"), "NotAuthorized");
        reply_assert(user_set_owner(scene->carol, data.object, uid("bob"), "name=given"), "");
}

static void test_log(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data");
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        reply_assert(user_rename(scene->alice, data.object, "other"), "");
        reply_assert(user_set_mode(scene->alice, data.object, 0644), "");
        reply_assert(user_set_owner(scene->root, data.object, uid("bob"), NULL), "");
        g_assert_true(broker_wait_log(scene->broker, mark, "'other': 1 MiB renamed; it was called 'data'"));
        g_assert_true(broker_wait_log(scene->broker, mark, "'other': 1 MiB has mode 0644"));
        g_assert_true(broker_wait_log(scene->broker, mark, "'other': 1 MiB given to user [0-9]+; it was user [0-9]+'s"));
}

/* ---- Lengths --------------------------------------------------------------------------------------------------- */

/* This memory has the length it was made with, and says so; nothing else is tried before. */
static void test_resize_not(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data mode=0666"), reply;

        (void) unused;
        skip_on_files("files have the length that is asked for");
        reply = user_resize(scene->alice, data.object, 2 * MIB);
        reply_assert(reply, "NotSupported");
        assert_says(reply.message, provider_name());
        reply_assert(user_resize(scene->alice, data.object, 0), "BadSize");
        reply_assert(user_resize(scene->alice, data.object, UINT64_MAX), "BadSize");
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Length"), ==, MIB);
}

/* ---- Reservations over a reboot -------------------------------------------------------------------------------- */

static void test_reserve(Scene *scene, gconstpointer unused) {
        Reply reply;

        (void) unused;
        reply = user_allocate(scene->alice, MIB, 1, "reserve=1");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "needs a name");
        reply_assert(user_allocate(scene->alice, MIB, 1, "reserve=1 persistent=1 name=data"), "BadOption");
        reply_assert(user_allocate(scene->alice, MIB, 1, "reserve/s=yes name=data"), "BadOption");
        reply = user_allocate(scene->alice, MIB, 1, "reserve=1 name=data");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, provider_is_medium() ? "with persistent" : "does not place memory");
        reply = user_get(scene->alice, MIB, "reserve=0 name=data");
        g_assert_cmpuint(allocation_get(scene->alice, reply.object, "Reserve"), ==, 0);
}

/* ---- A uid becomes another user's ------------------------------------------------------------------------------ */

/* Another process of a user, which is not on the bus yet. */
static User *process_of(const char *name) {
        User *user = user_new(name);

        user_drop_all(user); /* by now it is that user's */
        return user;
}

/* In place, for the file is mounted. An empty name takes the user out. */
static void rename_user(const char *from, const char *to) {
        g_autofree char *path = g_build_filename(world_get_path(), "etc", "passwd", NULL), *text = NULL, *changed = NULL;
        g_autofree char *pattern = g_strdup_printf(to[0] ? "^%s:" : "^%s:.*\n", from);
        g_autofree char *replacement = g_strdup_printf(to[0] ? "%s:" : "%s", to);
        g_autoptr(GRegex) regex = g_regex_new(pattern, G_REGEX_MULTILINE, 0, NULL);
        int fd;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        changed = g_regex_replace_literal(regex, text, -1, 0, replacement, 0, NULL);
        g_assert_cmpstr(changed, !=, text);
        fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write(fd, changed, strlen(changed)), ==, (ssize_t) strlen(changed));
        close(fd);
}

static void restore_users(const char *text) {
        g_autofree char *path = g_build_filename(world_get_path(), "etc", "passwd", NULL);
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write(fd, text, strlen(text)), ==, (ssize_t) strlen(text));
        close(fd);
}

static char *save_users(void) {
        g_autofree char *path = g_build_filename(world_get_path(), "etc", "passwd", NULL);
        char *text;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return text;
}

static void assert_stranger(Reply reply, const char *was, const char *is) {
        reply_assert(reply, "NotAuthorized");
        assert_says(reply.message, was);
        assert_says(reply.message, is);
        assert_says(reply.message, "administrator");
}

static void assert_refused_everything(User *user, const Reply *reply, const char *name, const char *is) {
        g_autofree char *list = user_list(user);

        g_assert_null(strstr(list, reply->object));
        assert_stranger(user_open(user, name, NULL), "'alice'", is);
        assert_stranger(user_open(user, name, "read-only=1"), "'alice'", is);
        assert_stranger(user_open_object(user, reply->object, NULL), "'alice'", is);
        assert_stranger(user_get_allocation(user, name), "'alice'", is);
        assert_stranger(user_set_mode(user, reply->object, 0666), "'alice'", is);
        assert_stranger(user_rename(user, reply->object, "mine"), "'alice'", is);
        assert_stranger(user_set_owner(user, reply->object, uid("bob"), NULL), "'alice'", is);
        assert_stranger(user_release(user, reply->object), "'alice'", is);
}

static void test_recycled(Scene *scene, gconstpointer unused) {
        g_autofree char *users = save_users(), *list = NULL;
        Reply secret = user_get(scene->alice, MIB, "name=secret");
        Reply unnamed = user_get(scene->alice, MIB, NULL), reply;
        User *mallory = process_of("alice"), *later = process_of("alice");

        (void) unused;
        (void) user_get(scene->alice, MIB, "name=shared mode=0604");
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
        assert_owner(scene, secret.object, "alice");
        user_listen(scene_listener(scene));

        /* who connects from now on is somebody else */
        rename_user("alice", "mallory");
        assert_refused_everything(mallory, &secret, "secret", "'mallory' today");
        user_assert_hears(scene_listener(scene), "changed %s org.daxbroker1.Allocation -OwnerName", secret.object);
        assert_owner(scene, secret.object, "");
        g_assert_cmpuint(allocation_get(scene->root, secret.object, "Owner"), ==, uid("mallory"));
        /* no less than anybody else */
        reply_assert(user_open(mallory, "shared", "read-only=1"), "");
        assert_stranger(user_open(mallory, "shared", NULL), "'alice'", "'mallory'");
        reply_assert(user_allocate(mallory, MIB, 1, "name=secret"), "NameExists");
        reply = user_get(mallory, MIB, "name=own");
        assert_owner(scene, reply.object, "mallory");
        reply_assert(user_rename(mallory, reply.object, "own-2"), "");
        reply_assert(user_release(mallory, reply.object), "");
        user_drop_all(mallory);

        restart(scene);
        assert_refused_everything(mallory, &secret, "secret", "'mallory' today");
        assert_owner(scene, secret.object, "");
        list = user_list(scene->root);
        g_assert_nonnull(strstr(list, secret.object));

        /* the user comes back */
        restore_users(users);
        reply_assert(user_open(later, "secret", NULL), "");
        reply_assert(user_set_mode(later, secret.object, 0640 & 0604), "");
        assert_owner(scene, unnamed.object, "alice");
        user_drop_all(later);
        user_free(mallory);
        user_free(later);
}

/* What is shown may be some seconds old. */
static bool has_no_owner(Scene *scene, const char *object) {
        g_autofree char *owner_name = allocation_get_string(scene->root, object, "OwnerName");

        return owner_name[0] == '\0';
}

static void test_recycled_admin(Scene *scene, gconstpointer unused) {
        g_autofree char *users = save_users();
        Reply data = user_get(scene->alice, MIB, "name=data"), other = user_get(scene->alice, MIB, "name=other"), open;
        User *mallory = process_of("alice");

        (void) unused;
        rename_user("alice", "mallory");
        assert_stranger(user_open(mallory, "data", NULL), "'alice'", "'mallory'");
        /* the right that polkit gives is as good as anybody's */
        scene_set_rules(scene, "polkit.addRule(function(action, subject) {\n"
                               "    if (action.lookup('owner-gone') == 'true' && (action.id == 'org.daxbroker1.open-other' ||\n"
                               "                    action.id == 'org.daxbroker1.free-other'))\n"
                               "        return polkit.Result.YES;\n"
                               "});\n" CAROL_MAY("manage"));
        open = user_open(mallory, "data", NULL);
        reply_assert(open, "");
        assert_stranger(user_set_mode(mallory, data.object, 0666), "'alice'", "'mallory'");
        reply_assert(user_open(scene->bob, "data", NULL), "");
        reply_assert(user_release(mallory, other.object), "");

        /* to whom the uid belongs today */
        reply_assert(user_set_owner(scene->carol, data.object, uid("mallory"), NULL), "");
        scene_set_rules(scene, CAROL_MAY("manage"));
        assert_owner(scene, data.object, "mallory");
        restart(scene);
        assert_owner(scene, data.object, "mallory");
        reply_assert(user_open(mallory, "data", NULL), "");
        reply_assert(user_set_mode(mallory, data.object, 0640 & 0600), "");

        /* and to nobody, when the user is gone */
        rename_user("mallory", "");
        g_assert_true(wait_until(20, has_no_owner(scene, data.object)));
        restore_users(users);
        user_drop_all(mallory);
        user_free(mallory);
}

/* A record from before names were noted: its owner is the uid, as it was. */
static void test_old_record(Scene *scene, gconstpointer unused) {
        g_autofree char *users = save_users(), *text = NULL, *old = NULL;
        Reply data = user_get(scene->alice, MIB, "name=data");
        g_autoptr(GRegex) since = g_regex_new("^(owner-name|reserve|grant)=.*\n", G_REGEX_MULTILINE, 0, NULL);
        g_autoptr(GRegex) version = g_regex_new("^daxbroker-record=3$", G_REGEX_MULTILINE, 0, NULL);
        g_autofree char *shorter = NULL;
        User *later = process_of("alice");

        (void) unused;
        broker_kill(scene->broker);
        text = broker_get_record(scene->broker, &data);
        shorter = g_regex_replace_literal(since, text, -1, 0, "", 0, NULL);
        old = g_regex_replace_literal(version, shorter, -1, 0, "daxbroker-record=1", 0, NULL);
        g_assert_nonnull(strstr(old, "daxbroker-record=1\n"));
        broker_set_record(scene->broker, &data, old, strlen(old));
        broker_start(scene->broker);

        rename_user("alice", "mallory");
        assert_owner(scene, data.object, "mallory");
        reply_assert(user_open(later, "data", NULL), "");
        restore_users(users);
        user_drop_all(later);
        user_free(later);
}

static void open_and_change(User *user, const Reply *data, unsigned round) {
        reply_assert(user_open(user, "data", NULL), "");
        reply_assert(user_set_mode(user, data->object, round % 2 ? 0600 : 0604), "");
        user_drop_all(user);
}

/* A user database that does not answer: who has to be known is refused after some seconds, and nobody else waits. */
static void test_silent_database(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data"), reply;
        g_autofree char *fifo = g_build_filename(world_get_path(), "silence", NULL), *list = NULL;
        gint64 begin, waited, quickest = G_MAXINT64;
        User *later = process_of("alice");
        int fd;

        (void) unused;
        g_assert_cmpint(mkfifo(fifo, 0644), ==, 0);
        g_assert_cmpint(mount(fifo, "/etc/passwd", NULL, MS_BIND, NULL), ==, 0);

        begin = g_get_monotonic_time();
        user_begin_open_object(later, data.object, NULL);
        /* who was known before is known, and polkit, which needs the database, too, is not needed; whoever waits for it
         * waits five seconds */
        for (unsigned i = 0; i < 20; i++) {
                gint64 round = g_get_monotonic_time();

                open_and_change(scene->alice, &data, i);
                quickest = MIN(quickest, g_get_monotonic_time() - round);
        }
        g_assert_cmpint(quickest, <, 3 * G_USEC_PER_SEC);
        waited = g_get_monotonic_time();
        reply = user_end_reply(later);
        reply_assert(reply, "AuthorityUnavailable");
        assert_says(reply.message, "user database");
        g_assert_cmpint(g_get_monotonic_time() - begin, >, 4 * G_USEC_PER_SEC);
        g_assert_cmpint(g_get_monotonic_time() - waited, <, 20 * G_USEC_PER_SEC);
        /* also when it is known that the database does not answer */
        open_and_change(scene->alice, &data, 0);
        /* what is only shown is shown */
        list = user_list(scene->alice);
        g_assert_nonnull(strstr(list, data.object));

        g_assert_cmpint(umount2("/etc/passwd", MNT_DETACH), ==, 0);
        fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0); /* somebody reads it */
        close(fd);
        g_assert_true(wait_until(20, user_open(later, "data", NULL).error[0] == '\0'));
        user_drop_all(later);
        user_free(later);
        g_assert_cmpint(unlink(fifo), ==, 0);
}

/* ---- What outlives a reboot: files of a directory -------------------------------------------------------------- */

static uint64_t file_size(const Reply *reply) {
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(reply->object, '/') + 1, NULL);
        struct stat st;

        g_assert_cmpint(stat(path, &st), ==, 0);
        return (uint64_t) st.st_size;
}

/* Whoever holds it: it is there, zeroed, and counted, and what is cut off is neither. */
static void test_resize(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, 2 * MIB, "name=data region=files persistent=1 mode=0604"), again, reply;

        (void) unused;
        user_listen(scene_listener(scene));
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_fill(scene->alice, data.slot, 7), ==, 0);
        g_assert_cmpuint(region_wait("files", "Available", 62 * MIB), ==, 62 * MIB);

        reply = user_resize(scene->alice, data.object, 5 * MIB - 1);
        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, 5 * MIB);
        user_assert_hears(scene_listener(scene), "changed %s org.daxbroker1.Allocation -Length", data.object);
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Length"), ==, 5 * MIB);
        g_assert_cmpuint(file_size(&data), ==, 5 * MIB);
        g_assert_cmpuint(region_wait("files", "Available", 59 * MIB), ==, 59 * MIB);
        /* the old mapping is as it was, a new one has all of it */
        g_assert_cmpint(user_is_filled(scene->alice, data.slot, 7), ==, 1);
        again = user_open(scene->alice, "data", NULL);
        g_assert_cmpuint(again.length, ==, 5 * MIB);
        g_assert_cmpint(user_map(scene->alice, again.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, again.slot, 2 * MIB - 1), ==, 7);
        g_assert_cmpint(user_peek(scene->alice, again.slot, 2 * MIB), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, again.slot, 5 * MIB - 1, 9), ==, 0);

        restart(scene);
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Length"), ==, 5 * MIB);
        g_assert_cmpint(user_peek(scene->alice, again.slot, 5 * MIB - 1), ==, 9);

        /* the length it has */
        reply = user_resize(scene->alice, data.object, 5 * MIB);
        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, 5 * MIB);

        reply = user_resize(scene->alice, data.object, MIB);
        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, MIB);
        g_assert_cmpuint(file_size(&data), ==, MIB);
        g_assert_cmpuint(region_wait("files", "Available", 63 * MIB), ==, 63 * MIB);
        g_assert_cmpint(user_peek(scene->alice, again.slot, MIB - 1), ==, 7);
        g_assert_cmpint(user_peek(scene->alice, again.slot, MIB), ==, -EFAULT);

        /* what was cut off does not come back */
        reply_assert(user_resize(scene->alice, data.object, 5 * MIB), "");
        g_assert_cmpint(user_peek(scene->alice, again.slot, 5 * MIB - 1), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, again.slot, MIB), ==, 0);
        restart(scene);
        reply_assert(user_open(scene->alice, "data", NULL), "");
}

/* What is on its way back is waited for, as by Allocate. */
static void test_resize_waits(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, 2 * MIB, "name=data region=files persistent=1");

        (void) unused;
        for (unsigned i = 0; i < 20; i++) {
                (void) user_get(scene->bob, 60 * MIB, "region=files");
                user_drop_all(scene->bob);
                reply_assert(user_resize(scene->alice, data.object, 63 * MIB), "");
                reply_assert(user_resize(scene->alice, data.object, 2 * MIB), "");
        }
}

static void test_resize_refused(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, 2 * MIB, "name=data region=files persistent=1 mode=0666"), reply;
        Reply other = user_get(scene->root, MIB, "name=other region=files persistent=1");

        (void) unused;
        reply = user_resize(scene->alice, data.object, 64 * MIB);
        reply_assert(reply, "NoSpace");
        assert_says(reply.message, "'files'");
        reply_assert(user_resize(scene->alice, data.object, 0), "BadSize");
        reply_assert(user_resize(scene->alice, data.object, UINT64_MAX), "BadSize");
        reply_assert(user_resize(scene->bob, data.object, 3 * MIB), "AuthenticationRequired");
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "Length"), ==, 2 * MIB);
        g_assert_cmpuint(region_wait("files", "Available", 61 * MIB), ==, 61 * MIB);
        /* one more byte than there is */
        reply_assert(user_resize(scene->alice, data.object, 63 * MIB), "");
        reply_assert(user_resize(scene->root, other.object, MIB + 1), "NoSpace");
        reply_assert(user_release(scene->alice, data.object), "");
        reply_assert(user_resize(scene->alice, data.object, MIB), "NoSuchAllocation");
}

/* It is the owner's quota, whoever makes it grow. */
static void test_resize_quota(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->bob, 2 * MIB, "name=data region=files persistent=1"), reply;

        (void) unused;
        reply = user_resize(scene->bob, data.object, 5 * MIB);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "MaxBytes");
        reply_assert(user_resize(scene->root, data.object, 5 * MIB), "QuotaExceeded");
        /* the number of allocations does not change by it */
        (void) user_get(scene->bob, MIB, "name=second region=files persistent=1");
        reply_assert(user_resize(scene->bob, data.object, 3 * MIB), "");
        reply_assert(user_resize(scene->bob, data.object, 3 * MIB + 1), "QuotaExceeded");
        reply_assert(user_resize(scene->root, data.object, 3 * MIB + 1), "QuotaExceeded");
        reply_assert(user_resize(scene->root, data.object, MIB), "");
        reply_assert(user_resize(scene->root, data.object, 2 * MIB), "");
        g_assert_cmpuint(region_wait("files", "Available", 61 * MIB), ==, 61 * MIB);
}

/* What a region holds may not be known yet: then nobody is told that there is nothing of that name, and nobody else gets the
 * name. */
static void test_not_known_yet(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1 mode=0666"), opened, reply;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 5, 42), ==, 0);
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        g_assert_cmpint(chmod(FILES_PATH, 0777), ==, 0); /* it is no region so */
        broker_start(scene->broker);

        user_begin_open(scene->bob, "data", NULL);
        user_begin_allocate(scene->root, MIB, 1, "name=data region=dram");
        user_begin_allocate(scene->alice, MIB, 1, "region=dram"); /* which has nothing to do with it */
        reply_assert(user_end_reply(scene->alice), "");
        /* nobody knows how soon, and nobody waits for ever */
        opened = user_end_reply(scene->bob);
        reply_assert(opened, "Busy");
        assert_says(opened.message, "'files'");
        reply = user_end_reply(scene->root);
        reply_assert(reply, "Busy");
        assert_says(reply.message, "'data'");

        user_begin_open(scene->bob, "data", NULL);
        user_begin_allocate(scene->root, MIB, 1, "name=data region=dram");
        reply_assert(user_open(scene->alice, "a name", NULL), "BadName");
        g_assert_cmpint(chmod(FILES_PATH, 0700), ==, 0);
        broker_reload(scene->broker);
        opened = user_end_reply(scene->bob);
        reply_assert(opened, "");
        g_assert_cmpstr(opened.object, ==, data.object);
        g_assert_cmpint(user_map(scene->bob, opened.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->bob, opened.slot, 5), ==, 42);
        reply_assert(user_end_reply(scene->root), "NameExists");
        reply_assert(user_open(scene->bob, "nothing", NULL), "NoSuchAllocation");
}

static bool user_tries(User *user, const char *name, const char *error) {
        Reply reply = user_open(user, name, NULL);

        return g_str_has_suffix(reply.error, error);
}

static bool is_there(User *user, const char *object) {
        return user_open_object(user, object, NULL).error[0] == '\0';
}

/* What is not there and will not be there soon keeps nobody waiting, and is not forgotten. */
static void test_not_known(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1"), reply;
        g_autofree char *reason = NULL;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 5, 42), ==, 0);
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        g_assert_cmpint(chmod(FILES_PATH, 0777), ==, 0); /* it is no region so */
        broker_start(scene->broker);
        g_assert_true(wait_until(20, user_tries(scene->bob, "data", "NoSuchAllocation")));
        reply = user_open(scene->bob, "data", NULL);
        reply_assert(reply, "NoSuchAllocation");
        assert_says(reply.message, "'files'");
        reply_assert(user_allocate(scene->root, MIB, 1, "name=data region=dram"), "");
        g_assert_cmpint(chmod(FILES_PATH, 0700), ==, 0);
        broker_reload(scene->broker);

        /* whoever has taken the name has taken nothing else */
        g_assert_true(wait_until(20, is_there(scene->alice, data.object)));
        assert_named(scene, data.object, "");
        reason = allocation_get_string(scene->alice, data.object, "Reason");
        assert_says(reason, "'data'");
        reply = user_open_object(scene->alice, data.object, NULL);
        reply_assert(reply, "");
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->alice, reply.slot, 5), ==, 42);
        reply_assert(user_rename(scene->alice, data.object, "data"), "NameExists");
        user_drop_all(scene->alice);
        reply_assert(user_rename(scene->alice, data.object, "mine"), "");
        restart(scene);
        assert_named(scene, data.object, "mine");
        reply_assert(user_open(scene->alice, "mine", NULL), "");
}

/* As its own user, who may: RLIMIT_NOFILE of the broker, 0 for as many as it can have. */
static void limit_fds(const Broker *broker, rlim_t n) {
        pid_t child = world_fork();
        int status;

        if (child == 0) {
                struct rlimit limit;

                world_become("daxbroker");
                if (prlimit(broker->pid, RLIMIT_NOFILE, NULL, &limit) < 0)
                        _exit(1);
                limit.rlim_cur = n > 0 ? n : limit.rlim_max;
                _exit(prlimit(broker->pid, RLIMIT_NOFILE, &limit, NULL) < 0 ? 2 : 0);
        }
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        g_assert_true(WIFEXITED(status));
        g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

/* A broker that is short of descriptors cannot look, and forgets nothing for that. */
static void test_not_seen(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1"), found;
        g_autofree char *folder = g_build_filename(world_get_path(), "mounted", NULL), *state = NULL;
        size_t mark;

        (void) unused;
        user_drop_all(scene->alice);
        mark = broker_mark_log(scene->broker);
        g_assert_cmpint(mkdir(folder, 0700), ==, 0);
        limit_fds(scene->broker, 3);
        g_assert_cmpint(mount("none", folder, "tmpfs", 0, NULL), ==, 0);
        g_assert_cmpint(umount2(folder, 0), ==, 0);
        g_assert_true(broker_wait_log(scene->broker, mark, "'files': cannot look at what it holds: Too many open files"));
        found = user_get_allocation(scene->alice, "data");
        reply_assert(found, "");
        g_assert_cmpstr(found.object, ==, data.object);
        state = allocation_get_string(scene->alice, data.object, "State");
        g_assert_cmpstr(state, ==, "live");

        /* and looks again */
        mark = broker_mark_log(scene->broker);
        g_assert_true(broker_wait_log(scene->broker, mark, "'files': cannot look at what it holds: Too many open files"));
        limit_fds(scene->broker, 0);
        reply_assert(user_open(scene->alice, "data", NULL), "");
        g_assert_cmpint(rmdir(folder), ==, 0);
}

#define SAME "name=data region=files persistent=1 mode=0640"

static void test_exactly_once(Scene *scene, gconstpointer unused) {
        g_autofree char *options = g_strdup_printf(SAME " group=%u", uid("alice")), *list = NULL;
        Reply first = user_get(scene->alice, MIB, options), again;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, first.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, first.slot, 5, 42), ==, 0);

        /* once, twice, from elsewhere, and after a restart */
        for (unsigned i = 0; i < 4; i++) {
                User *user = i == 2 ? user_new("alice") : scene->alice;

                reply_assert(user_check(user, MIB - 5, 1, options), "");
                again = user_allocate(user, MIB - 5, 1, options);
                reply_assert(again, "");
                g_assert_cmpstr(again.object, ==, first.object);
                g_assert_cmpuint(again.length, ==, MIB);
                g_assert_cmpint(user_map(user, again.slot), ==, 0);
                g_assert_cmpint(user_peek(user, again.slot, 5), ==, 42);
                user_drop_all(user);
                if (user != scene->alice)
                        user_free(user);
                if (i == 2)
                        restart(scene);
        }
        g_assert_cmpuint(region_wait("files", "Available", 63 * MIB), ==, 63 * MIB);
        list = user_list(scene->alice);
        g_assert_true(strstr(list, first.object) == g_strrstr(list, first.object));
}

static void assert_differs(User *user, uint64_t size, uint64_t alignment, const char *options, const char *says) {
        Reply reply = user_allocate(user, size, alignment, options);

        reply_assert(reply, "NameExists");
        assert_says(reply.message, says);
        reply = user_check(user, size, alignment, options);
        reply_assert(reply, "NameExists");
}

static void test_not_the_same(Scene *scene, gconstpointer unused) {
        g_autofree char *options = g_strdup_printf(SAME " group=%u", uid("alice"));
        g_autofree char *other_group = g_strdup_printf(SAME " group=%u", getgrnam("dax")->gr_gid);
        Reply first = user_get(scene->alice, MIB, options);

        (void) unused;
        assert_differs(scene->alice, MIB + 1, 1, options, "length 1 MiB (not 1028 KiB)");
        assert_differs(scene->alice, MIB, 4096, options, "alignment 1 (not 4096)");
        assert_differs(scene->alice, MIB, 1, "name=data region=files persistent=1 mode=0644", "mode 0640 (not 0644), group");
        assert_differs(scene->alice, 2 * MIB, 1, "name=data region=files persistent=1", "length 1 MiB (not 2 MiB), mode");
        assert_differs(scene->alice, MIB, 1, other_group, "has group ");
        /* of another kind, or another's */
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=data"), "NameExists");
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=data region=files"), "NameExists");
        g_assert_cmpstr(user_allocate(scene->bob, MIB, 1, "name=data region=files persistent=1").error, ==,
                        "org.daxbroker1.Error.NameExists");
        (void) user_get(scene->alice, MIB, "name=volatile region=files");
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=volatile region=files"), "NameExists");
        reply_assert(user_allocate(scene->alice, MIB, 1, "name=volatile region=files persistent=1"), "NameExists");

        /* as it is today */
        reply_assert(user_resize(scene->alice, first.object, 2 * MIB), "");
        assert_differs(scene->alice, MIB, 1, options, "length 2 MiB (not 1 MiB)");
        reply_assert(user_allocate(scene->alice, 2 * MIB, 1, options), "");
        reply_assert(user_set_mode(scene->alice, first.object, 0600), "");
        assert_differs(scene->alice, 2 * MIB, 1, options, "mode 0600 (not 0640)");
        reply_assert(user_rename(scene->alice, first.object, "elsewhere"), "");
        reply_assert(user_allocate(scene->alice, MIB, 1, options), "");
        reply_assert(user_set_owner(scene->root, first.object, uid("bob"), NULL), "");
        reply_assert(user_allocate(scene->alice, 2 * MIB, 1, "name=elsewhere region=files persistent=1 mode=0600"),
                     "NameExists");
        reply_assert(user_allocate(scene->bob, 2 * MIB, 1, "name=elsewhere region=files persistent=1 mode=0600"), "NameExists");
}

/* All that come while it is made wait, and get the one that is. */
static void test_at_once(Scene *scene, gconstpointer unused) {
        User *users[8];

        (void) unused;
        for (unsigned i = 0; i < G_N_ELEMENTS(users); i++)
                users[i] = user_new("alice");
        for (unsigned round = 0; round < 10; round++) {
                Reply first = {};

                for (unsigned i = 0; i < G_N_ELEMENTS(users); i++)
                        user_begin_allocate(users[i], 8 * MIB, 1, "name=data region=files persistent=1");
                for (unsigned i = 0; i < G_N_ELEMENTS(users); i++) {
                        Reply reply = user_end_reply(users[i]);

                        reply_assert(reply, "");
                        if (i == 0)
                                first = reply;
                        g_assert_cmpstr(reply.object, ==, first.object);
                }
                g_assert_cmpuint(region_wait("files", "Available", 56 * MIB), ==, 56 * MIB);
                reply_assert(user_release(scene->alice, first.object), "");
                for (unsigned i = 0; i < G_N_ELEMENTS(users); i++)
                        user_drop_all(users[i]);
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(users); i++)
                user_free(users[i]);
}

/* A region that is said, and one that is not: it is not asked which one would be chosen today. */
static void test_once_anywhere(Scene *scene, gconstpointer unused) {
        Reply first, again;

        (void) unused;
        broker_configure(scene->broker, "[Broker]\nDefaultRegion=files\n" CONFIGURATION FILES_REGION);
        broker_reload(scene->broker);
        first = user_get(scene->alice, 40 * MIB, "name=data persistent=1");
        broker_configure(scene->broker, CONFIGURATION FILES_REGION);
        broker_reload(scene->broker);
        again = user_get(scene->alice, 40 * MIB, "name=data persistent=1");
        g_assert_cmpstr(first.object, ==, again.object);
        again = user_get(scene->alice, 40 * MIB, "name=data persistent=1 prefer=capacity");
        g_assert_cmpstr(first.object, ==, again.object);
        again = user_get(scene->alice, 40 * MIB, "name=data persistent=1 region=files");
        g_assert_cmpstr(first.object, ==, again.object);
}

#define RECORD "user.daxbroker.record"

/* The record of a file, g_free() it. */
static char *record_get(const char *path) {
        char text[4096];
        ssize_t n = getxattr(path, RECORD, text, sizeof(text));

        g_assert_cmpint(n, >, 0);
        return g_strndup(text, (gsize) n);
}

/* Writes it to a file, with another line in the place of one; which is made if it is not there. */
static void record_put(const char *path, const char *record, const char *line, const char *replacement) {
        g_autoptr(GString) text = g_string_new(record);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpuint(g_string_replace(text, line, replacement, 1), ==, 1);
        g_assert_cmpint(fchown(fd, uid("daxbroker"), uid("daxbroker")), ==, 0);
        g_assert_cmpint(fsetxattr(fd, RECORD, text->str, text->len, 0), ==, 0);
        close(fd);
}

/* It stays a multiple of the pages that it was made with, also if it was copied to where it cannot have these. */
static void test_resize_pages(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, 2 * MIB, "name=data region=files persistent=1"), reply;
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(data.object, '/') + 1, NULL), *record = NULL;

        (void) unused;
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        record = record_get(path);
        record_put(path, record, "page-size=4096", "page-size=2097152");
        broker_start(scene->broker);
        g_assert_cmpuint(allocation_get(scene->alice, data.object, "PageSize"), ==, 4096);

        reply = user_resize(scene->alice, data.object, 2 * MIB + 1);
        reply_assert(reply, "");
        g_assert_cmpuint(reply.length, ==, 4 * MIB);
        reply_assert(user_resize(scene->alice, data.object, INT64_MAX), "BadSize");
        reply = user_allocate(scene->alice, 4 * MIB, 1, "name=data region=files persistent=1 page-size=4096");
        reply_assert(reply, "NameExists");
        assert_says(reply.message, "pages of 2097152 (not 4096)");
}

/* What a record says can be more than there is, and more than can be counted. */
static void test_beyond_medium(Scene *scene, gconstpointer unused) {
        static const char *const names[] = { FILES_PATH "/00000000000000aa", FILES_PATH "/00000000000000bb" };
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1");
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(data.object, '/') + 1, NULL), *record = NULL;

        (void) unused;
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        record = record_get(path);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *name = g_strdup_printf("name=data%zu\n", i);
                g_autoptr(GString) text = g_string_new(record);

                g_string_replace(text, "name=data\n", name, 1);
                record_put(names[i], text->str, "length=1048576", "length=9223372036854771712");
                g_assert_cmpint(truncate(names[i], 4096), ==, 0);
        }
        broker_start(scene->broker);

        reply_assert(user_open(scene->alice, "data0", NULL), "NoSuchAllocation");
        g_assert_cmpuint(region_wait("files", "Available", 63 * MIB - 8192), ==, 63 * MIB - 8192);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *object = g_strdup_printf("/org/daxbroker1/allocation/%s", strrchr(names[i], '/') + 1);
                g_autofree char *state = allocation_get_string(scene->root, object, "State");

                g_assert_cmpstr(state, ==, "orphan");
                reply_assert(user_release(scene->root, object), "");
        }
        reply_assert(user_open(scene->alice, "data", NULL), "");
}

/* What an administrator finds that is nobody's, and what becomes of it. */
static void test_adopt(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1 mode=0644"), reply;
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(data.object, '/') + 1, NULL), *state = NULL;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 7, 77), ==, 0);
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        g_assert_cmpint(removexattr(path, RECORD), ==, 0);
        broker_start(scene->broker);

        state = allocation_get_string(scene->root, data.object, "State");
        g_assert_cmpstr(state, ==, "orphan");
        g_assert_cmpuint(allocation_get(scene->root, data.object, "Owner"), ==, UINT32_MAX);
        reply_assert(user_open_object(scene->alice, data.object, NULL), "AuthenticationRequired");
        reply_assert(user_release(scene->alice, data.object), "AuthenticationRequired");
        reply_assert(user_open_object(scene->root, data.object, NULL), "Busy");
        reply_assert(user_rename(scene->root, data.object, "data"), "Busy");
        reply_assert(user_set_mode(scene->root, data.object, 0644), "Busy");
        reply_assert(user_set_owner(scene->alice, data.object, uid("alice"), "name=data"), "AuthenticationRequired");

        reply = user_set_owner(scene->root, data.object, uid("bob"), NULL);
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "needs a name");
        user_listen(scene_listener(scene));
        reply_assert(user_set_owner(scene->root, data.object, uid("bob"), "name=found"), "");
        user_assert_hears(scene_listener(scene), "changed %s org.daxbroker1.Allocation -State", data.object);
        assert_owner(scene, data.object, "bob");
        assert_named(scene, data.object, "found");
        g_assert_cmpuint(allocation_get(scene->bob, data.object, "Mode"), ==, 0600);
        g_assert_cmpuint(allocation_get(scene->bob, data.object, "Persistent"), ==, 1);
        reply_assert(user_open(scene->alice, "found", NULL), "AuthenticationRequired");
        for (unsigned i = 0; i < 2; i++) {
                reply = user_open(scene->bob, "found", NULL);
                reply_assert(reply, "");
                g_assert_cmpint(user_map(scene->bob, reply.slot), ==, 0);
                g_assert_cmpint(user_peek(scene->bob, reply.slot, 7), ==, 77);
                user_drop_all(scene->bob);
                restart(scene);
        }
        assert_owner(scene, data.object, "bob");
}

/* Or it is freed, and what it held with it; its holders, if there are any, are nobody's either. */
static void test_free_orphan(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1");
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(data.object, '/') + 1, NULL), *list = NULL;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        broker_stop(scene->broker);
        g_assert_cmpint(removexattr(path, RECORD), ==, 0);
        broker_start(scene->broker);
        g_assert_cmpuint(region_wait("files", "Available", 63 * MIB), ==, 63 * MIB);
        list = user_list(scene->alice);
        g_assert_cmpstr(list, ==, "");
        g_assert_cmpint(user_peek(scene->alice, data.slot, 0), ==, 0);
        reply_assert(user_release(scene->root, data.object), "");
        g_assert_cmpint(user_peek(scene->alice, data.slot, 0), ==, -EFAULT);
        g_assert_cmpuint(region_wait("files", "Available", 64 * MIB), ==, 64 * MIB);
        g_assert_cmpint(access(path, F_OK), <, 0);
}

/* All of it outlives the broker, and the machine: there the directory is all that is left. */
static void test_lasting(Scene *scene, gconstpointer unused) {
        g_autofree char *users = save_users();
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1");
        Reply other = user_get(scene->alice, MIB, "name=other region=files persistent=1");
        User *mallory = process_of("alice");

        (void) unused;
        reply_assert(user_rename(scene->alice, data.object, "renamed"), "");
        reply_assert(user_set_mode(scene->alice, data.object, 0604), "");
        reply_assert(user_set_owner(scene->root, other.object, uid("bob"), NULL), "");
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        rename_user("alice", "mallory");
        broker_start(scene->broker);
        assert_named(scene, data.object, "renamed");
        assert_owner(scene, data.object, "");
        assert_owner(scene, other.object, "bob");
        reply_assert(user_open(mallory, "renamed", "read-only=1"), "");
        assert_stranger(user_open(mallory, "renamed", NULL), "'alice'", "'mallory'");
        assert_stranger(user_release(mallory, data.object), "'alice'", "'mallory'");
        assert_stranger(user_resize(mallory, data.object, 2 * MIB), "'alice'", "'mallory'");
        reply_assert(user_allocate(mallory, MIB, 1, "name=renamed region=files persistent=1 mode=0604"), "NameExists");
        user_drop_all(mallory);
        restore_users(users);
        user_free(mallory);
}

/* What is found without its name, since that is another's, keeps it on record, whatever else is changed. */
static void test_name_on_record(Scene *scene, gconstpointer unused) {
        Reply one = user_get(scene->alice, MIB, "name=one region=files persistent=1");
        Reply two = user_get(scene->alice, MIB, "name=two region=files persistent=1");
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(two.object, '/') + 1, NULL);
        g_autofree char *record = NULL, *name = NULL;
        const Reply *named = &one, *nameless = &two;

        (void) unused;
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        record = record_get(path);
        record_put(path, record, "name=two\n", "name=one\n");
        broker_start(scene->broker);

        name = allocation_get_string(scene->alice, two.object, "Name");
        if (name[0] != '\0') { /* whichever was found first */
                named = &two;
                nameless = &one;
        }
        assert_named(scene, named->object, "one");
        assert_named(scene, nameless->object, "");
        reply_assert(user_set_mode(scene->alice, nameless->object, 0604), "");
        reply_assert(user_resize(scene->alice, nameless->object, 2 * MIB), "");
        reply_assert(user_set_owner(scene->root, nameless->object, uid("bob"), NULL), "");
        reply_assert(user_release(scene->alice, named->object), "");
        restart(scene);
        assert_named(scene, nameless->object, "one");
        assert_owner(scene, nameless->object, "bob");
        g_assert_cmpuint(allocation_get(scene->bob, nameless->object, "Mode"), ==, 0604);

        reply_assert(user_rename(scene->bob, nameless->object, "three"), "");
        restart(scene);
        assert_named(scene, nameless->object, "three");
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/names/rename", CONFIGURATION, test_rename);
        scene_add("/names/rename-refused", CONFIGURATION, test_rename_refused);
        scene_add("/names/rename-race", CONFIGURATION, test_rename_race);
        scene_add("/names/rename-unwritable", CONFIGURATION, test_rename_unwritable);
        scene_add("/names/set-owner", CONFIGURATION, test_set_owner);
        scene_add("/names/set-owner-name", CONFIGURATION, test_set_owner_name);
        scene_add("/names/set-owner-quota", QUOTAS, test_set_owner_quota);
        scene_add("/names/details", CONFIGURATION, test_details);
        scene_add("/names/log", CONFIGURATION, test_log);
        scene_add("/names/resize-not", CONFIGURATION, test_resize_not);
        scene_add("/names/reserve", CONFIGURATION, test_reserve);
        scene_add("/names/recycled", CONFIGURATION, test_recycled);
        scene_add("/names/recycled-admin", CONFIGURATION, test_recycled_admin);
        scene_add("/names/old-record", CONFIGURATION, test_old_record);
        scene_add("/names/silent-database", CONFIGURATION, test_silent_database);
        if (files_are_possible()) {
                files_add("/names/resize", CONFIGURATION, test_resize);
                files_add("/names/resize-pages", CONFIGURATION, test_resize_pages);
                files_add("/names/beyond-medium", CONFIGURATION, test_beyond_medium);
                files_add("/names/resize-waits", CONFIGURATION, test_resize_waits);
                files_add("/names/resize-refused", CONFIGURATION, test_resize_refused);
                files_add("/names/resize-quota", CONFIGURATION "[Quota user:bob]\nMaxBytes=4M\nMaxAllocations=2\n",
                          test_resize_quota);
                files_add("/names/not-known-yet", CONFIGURATION, test_not_known_yet);
                files_add("/names/not-seen", CONFIGURATION, test_not_seen);
                files_add("/names/not-known", CONFIGURATION, test_not_known);
                files_add("/names/exactly-once", CONFIGURATION, test_exactly_once);
                files_add("/names/not-the-same", CONFIGURATION, test_not_the_same);
                files_add("/names/at-once", CONFIGURATION, test_at_once);
                files_add("/names/once-anywhere", CONFIGURATION, test_once_anywhere);
                files_add("/names/adopt", CONFIGURATION, test_adopt);
                files_add("/names/free-orphan", CONFIGURATION, test_free_orphan);
                files_add("/names/name-on-record", CONFIGURATION, test_name_on_record);
                files_add("/names/lasting", CONFIGURATION, test_lasting);
        }
        return g_test_run();
}
