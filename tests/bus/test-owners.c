/* SPDX-License-Identifier: MIT */

/* Owners: who has something can be changed by whom that is up to, and an owner is more than a uid. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "files.h"
#include "memory.h"
#include "polkit.h"
#include "records.h"
#include "scene.h"
#include "signals.h"
#include "world.h"

#define CONFIGURATION "[Region dram]\nSize=256M\n"

static void test_set_owner(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data"), open;

        (void) unused;
        user_listen(scene->bob);
        scene_assert_owner(scene, data.object, "alice");
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 0, 7), ==, 0);

        /* it is not for owners to get rid of what they are charged for */
        reply_assert(user_set_owner(scene->bob, data.object, world_get_uid("bob"), NULL), "AuthenticationRequired");
        reply_assert(user_set_owner(scene->alice, data.object, world_get_uid("bob"), NULL), "AuthenticationRequired");
        scene_assert_owner(scene, data.object, "alice");

        scene_set_rules(scene, POLKIT_CAROL_MAY("manage"));
        reply_assert(user_set_owner(scene->carol, data.object, world_get_uid("bob"), NULL), "");
        user_assert_hears(scene->bob, "changed %s org.daxbroker1.Allocation -Owner", data.object);
        user_assert_hears(scene->bob, "changed %s org.daxbroker1.Allocation -OwnerName", data.object);
        scene_assert_owner(scene, data.object, "bob");
        g_assert_cmpuint(allocation_get(scene->bob, data.object, "Mode"), ==, 0600);

        /* what is open stays open, and nothing else */
        g_assert_cmpint(user_peek(scene->alice, data.slot, 0), ==, 7);
        reply_assert(user_open(scene->alice, "data", NULL), "AuthenticationRequired");
        reply_assert(user_set_mode(scene->alice, data.object, 0666), "AuthenticationRequired");
        open = user_open(scene->bob, "data", NULL);
        reply_assert(open, "");
        g_assert_cmpint(user_map(scene->bob, open.slot), ==, 0);
        g_assert_cmpint(user_peek(scene->bob, open.slot, 0), ==, 7);

        scene_restart(scene);
        scene_assert_owner(scene, data.object, "bob");
        reply_assert(user_open(scene->alice, "data", NULL), "AuthenticationRequired");
        reply_assert(user_release(scene->alice, data.object), "AuthenticationRequired");
        reply_assert(user_open(scene->bob, "data", NULL), "");
        reply_assert(user_release(scene->bob, data.object), "");
        /* a device is not taken from its holders */
        if (provider_is_device())
                g_assert_cmpint(user_peek(scene->alice, data.slot, 0), ==, 7);
        user_let_go(scene->alice, data.slot);
        user_let_go(scene->bob, -1);
        g_assert_cmpint(user_peek(scene->alice, data.slot, 0), ==, -EFAULT);
        scene_assert_gone(scene, &data);
}

static void test_set_owner_name(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data"), unnamed = user_get(scene->alice, MIB, NULL), reply;

        (void) unused;
        (void) user_get(scene->alice, MIB, "name=taken");
        reply_assert(user_set_owner(scene->root, data.object, world_get_uid("bob"), "name=a/b"), "BadName");
        reply_assert(user_set_owner(scene->root, data.object, world_get_uid("bob"), "name=taken"), "NameExists");
        reply_assert(user_set_owner(scene->root, data.object, world_get_uid("bob"), "name/u=5"), "BadOption");
        reply = user_set_owner(scene->root, data.object, world_get_uid("bob"), "mode=0600");
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "there are: name");
        reply_assert(user_set_owner(scene->root, data.object, UINT32_MAX, NULL), "BadOption");
        reply_assert(user_set_owner(scene->root, unnamed.object, world_get_uid("bob"), "name=new"), "BadOption");
        scene_assert_owner(scene, data.object, "alice");
        scene_assert_named(scene, data.object, "data");

        reply_assert(user_set_owner(scene->root, data.object, world_get_uid("bob"), "name=of-bob"), "");
        scene_assert_owner(scene, data.object, "bob");
        scene_assert_named(scene, data.object, "of-bob");
        reply_assert(user_open(scene->bob, "of-bob", NULL), "");

        reply_assert(user_set_owner(scene->root, unnamed.object, world_get_uid("bob"), NULL), "");
        scene_assert_owner(scene, unnamed.object, "bob");
        /* its lease keeps it, whose ever it is */
        user_drop(scene->alice, unnamed.slot);
        g_assert_true(allocation_wait_gone(scene->root, unnamed.object));
}

/* He who has it is charged, and has to have room for it: bob for one and three, alice for three. */
static void test_set_owner_quota(Scene *scene, gconstpointer unused) {
        const uint64_t one = provider_length(MIB), three = provider_length(3 * one);
        g_autofree char *quotas = g_strdup_printf(CONFIGURATION
                                                  "[Quota user:bob]\nMaxBytes=%" G_GUINT64_FORMAT "\nMaxAllocations=2\n"
                                                  "[Quota user:carol]\nMaxBytes=%" G_GUINT64_FORMAT "\n"
                                                  "[Quota group:dax]\nMaxBytes=%" G_GUINT64_FORMAT "\n",
                                                  one + three, 2 * one, three);
        Reply small, large, third, reply;

        (void) unused;
        broker_configure(scene->broker, quotas);
        broker_reload(scene->broker);
        small = user_get(scene->root, one, "name=small");
        large = user_get(scene->root, 8 * one, "name=large");
        third = user_get(scene->root, one, "name=third");
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
        reply = user_set_owner(scene->root, large.object, world_get_uid("bob"), NULL);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "[Quota user:bob] MaxBytes");
        scene_assert_owner(scene, large.object, "root");
        reply_assert(user_set_owner(scene->root, small.object, world_get_uid("bob"), NULL), "");
        reply_assert(user_set_owner(scene->root, third.object, world_get_uid("bob"), NULL), "");

        reply = user_allocate(scene->bob, one, 1, NULL);
        reply_assert(reply, "QuotaExceeded");
        assert_says(reply.message, "MaxAllocations");
        reply = user_get(scene->root, one, "name=fourth");
        reply_assert(user_set_owner(scene->root, reply.object, world_get_uid("bob"), NULL), "QuotaExceeded");

        /* and comes back to who had it */
        reply_assert(user_set_owner(scene->root, third.object, world_get_uid("root"), NULL), "");
        reply_assert(user_allocate(scene->bob, three, 1, NULL), "");

        /* groups count, also of somebody who has never been here; his own rule goes first */
        reply_assert(user_set_owner(scene->root, large.object, world_get_uid("alice"), NULL), "QuotaExceeded");
        reply = user_set_owner(scene->root, large.object, world_get_uid("alice"), NULL);
        assert_says(reply.message, "[Quota group:dax] MaxBytes");
        reply_assert(user_set_owner(scene->root, third.object, world_get_uid("alice"), NULL), "");
        footprint_assert_sums(scene->root);
        /* to himself it costs nothing */
        reply_assert(user_set_owner(scene->root, small.object, world_get_uid("bob"), NULL), "");
}

/* What rules see of it. */
static void test_details(Scene *scene, gconstpointer unused) {
        g_autofree char *rules = g_strdup_printf(
                        "polkit.addRule(function(action, subject) {\n"
                        "    function is(key, value) { return action.lookup(key) == value; }\n"
                        "    if (subject.user != 'carol' || action.id != 'org.daxbroker1.manage')\n"
                        "        return polkit.Result.NOT_HANDLED;\n"
                        "    if (!is('region', 'dram') || !is('size', '%" G_GUINT64_FORMAT "') || !is('owner', '%u'))\n"
                        "        return polkit.Result.NO;\n"
                        "    if (is('method', 'SetOwner') && is('new-owner', '%u') && is('name', 'data') &&\n"
                        "        (!action.lookup('new-name') || is('new-name', 'given')))\n"
                        "        return polkit.Result.YES;\n"
                        "    if (is('method', 'Rename') && is('new-name', 'other') && is('name', 'data'))\n"
                        "        return polkit.Result.YES;\n"
                        "    if (is('method', 'SetMode') && is('mode', '0644'))\n"
                        "        return polkit.Result.YES;\n"
                        "    return polkit.Result.NO;\n"
                        "});\n",
                        provider_length(MIB), world_get_uid("alice"), world_get_uid("bob"));
        Reply data = user_get(scene->alice, MIB, "name=data");

        (void) unused;
        scene_set_rules(scene, rules);
        reply_assert(user_set_owner(scene->carol, data.object, world_get_uid("carol"), NULL), "NotAuthorized");
        reply_assert(user_set_mode(scene->carol, data.object, 0600), "NotAuthorized");
        reply_assert(user_set_mode(scene->carol, data.object, 0644), "");
        reply_assert(user_rename(scene->carol, data.object, "another"), "NotAuthorized");
        reply_assert(user_rename(scene->carol, data.object, "other"), "");
        reply_assert(user_set_owner(scene->carol, data.object, world_get_uid("bob"), NULL), "NotAuthorized");
        reply_assert(user_rename(scene->alice, data.object, "data"), "");
        reply_assert(user_set_owner(scene->carol, data.object, world_get_uid("bob"), "name=stolen"), "NotAuthorized");
        reply_assert(user_set_owner(scene->carol, data.object, world_get_uid("bob"), "name=given"), "");
}

static void assert_logged(Scene *scene, size_t mark, const char *what) {
        const uint64_t length = provider_length(MIB) / MIB;
        g_autofree char *pattern = g_strdup_printf("'other': %" G_GUINT64_FORMAT " MiB %s", length, what);

        g_assert_true(broker_wait_log(scene->broker, mark, pattern));
}

static void test_log(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data");
        size_t mark = broker_mark_log(scene->broker);

        (void) unused;
        reply_assert(user_rename(scene->alice, data.object, "other"), "");
        reply_assert(user_set_mode(scene->alice, data.object, 0644), "");
        reply_assert(user_set_owner(scene->root, data.object, world_get_uid("bob"), NULL), "");
        assert_logged(scene, mark, "renamed; it was called 'data'");
        assert_logged(scene, mark, "has mode 0644");
        assert_logged(scene, mark, "given to user [0-9]+; it was user [0-9]+'s");
}

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
        assert_stranger(user_set_owner(user, reply->object, world_get_uid("bob"), NULL), "'alice'", is);
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
        scene_assert_owner(scene, secret.object, "alice");
        user_listen(scene_listener(scene));

        /* who connects from now on is somebody else */
        rename_user("alice", "mallory");
        assert_refused_everything(mallory, &secret, "secret", "'mallory' today");
        user_assert_hears(scene_listener(scene), "changed %s org.daxbroker1.Allocation -OwnerName", secret.object);
        scene_assert_owner(scene, secret.object, "");
        g_assert_cmpuint(allocation_get(scene->root, secret.object, "Owner"), ==, world_get_uid("mallory"));
        /* no less than anybody else */
        reply_assert(user_open(mallory, "shared", "read-only=1"), "");
        assert_stranger(user_open(mallory, "shared", NULL), "'alice'", "'mallory'");
        reply_assert(user_allocate(mallory, MIB, 1, "name=secret"), "NameExists");
        reply = user_get(mallory, MIB, "name=own");
        scene_assert_owner(scene, reply.object, "mallory");
        reply_assert(user_rename(mallory, reply.object, "own-2"), "");
        reply_assert(user_release(mallory, reply.object), "");
        user_drop_all(mallory);

        scene_restart(scene);
        assert_refused_everything(mallory, &secret, "secret", "'mallory' today");
        scene_assert_owner(scene, secret.object, "");
        list = user_list(scene->root);
        g_assert_nonnull(strstr(list, secret.object));

        /* the user comes back */
        restore_users(users);
        reply_assert(user_open(later, "secret", NULL), "");
        reply_assert(user_set_mode(later, secret.object, 0640 & 0604), "");
        scene_assert_owner(scene, unnamed.object, "alice");
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
                               "    if (action.lookup('owner-gone') == 'true' &&\n"
                               "        (action.id == 'org.daxbroker1.open-other' ||\n"
                               "         action.id == 'org.daxbroker1.free-other'))\n"
                               "        return polkit.Result.YES;\n"
                               "});\n" POLKIT_CAROL_MAY("manage"));
        open = user_open(mallory, "data", NULL);
        reply_assert(open, "");
        assert_stranger(user_set_mode(mallory, data.object, 0666), "'alice'", "'mallory'");
        reply_assert(user_open(scene->bob, "data", NULL), "");
        reply_assert(user_release(mallory, other.object), "");

        /* to whom the uid belongs today */
        reply_assert(user_set_owner(scene->carol, data.object, world_get_uid("mallory"), NULL), "");
        scene_set_rules(scene, POLKIT_CAROL_MAY("manage"));
        scene_assert_owner(scene, data.object, "mallory");
        scene_restart(scene);
        scene_assert_owner(scene, data.object, "mallory");
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
        scene_assert_owner(scene, data.object, "mallory");
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

/* What an administrator finds that is nobody's, and what becomes of it. */
static void test_adopt(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1 mode=0644"), reply;
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(data.object, '/') + 1, NULL), *state = NULL;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, data.slot, 7, 77), ==, 0);
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        g_assert_cmpint(removexattr(path, RECORD_ATTRIBUTE), ==, 0);
        broker_start(scene->broker);

        state = allocation_get_string(scene->root, data.object, "State");
        g_assert_cmpstr(state, ==, "orphan");
        g_assert_cmpuint(allocation_get(scene->root, data.object, "Owner"), ==, UINT32_MAX);
        reply_assert(user_open_object(scene->alice, data.object, NULL), "AuthenticationRequired");
        reply_assert(user_release(scene->alice, data.object), "AuthenticationRequired");
        reply_assert(user_open_object(scene->root, data.object, NULL), "Busy");
        reply_assert(user_rename(scene->root, data.object, "data"), "Busy");
        reply_assert(user_set_mode(scene->root, data.object, 0644), "Busy");
        reply_assert(user_set_owner(scene->alice, data.object, world_get_uid("alice"), "name=data"),
                     "AuthenticationRequired");

        reply = user_set_owner(scene->root, data.object, world_get_uid("bob"), NULL);
        reply_assert(reply, "BadOption");
        assert_says(reply.message, "needs a name");
        user_listen(scene_listener(scene));
        reply_assert(user_set_owner(scene->root, data.object, world_get_uid("bob"), "name=found"), "");
        user_assert_hears(scene_listener(scene), "changed %s org.daxbroker1.Allocation -State", data.object);
        scene_assert_owner(scene, data.object, "bob");
        scene_assert_named(scene, data.object, "found");
        g_assert_cmpuint(allocation_get(scene->bob, data.object, "Mode"), ==, 0600);
        g_assert_cmpuint(allocation_get(scene->bob, data.object, "Persistent"), ==, 1);
        reply_assert(user_open(scene->alice, "found", NULL), "AuthenticationRequired");
        for (unsigned i = 0; i < 2; i++) {
                reply = user_open(scene->bob, "found", NULL);
                reply_assert(reply, "");
                g_assert_cmpint(user_map(scene->bob, reply.slot), ==, 0);
                g_assert_cmpint(user_peek(scene->bob, reply.slot, 7), ==, 77);
                user_drop_all(scene->bob);
                scene_restart(scene);
        }
        scene_assert_owner(scene, data.object, "bob");
}

/* Or it is freed, and what it held with it; its holders, if there are any, are nobody's either. */
static void test_free_orphan(Scene *scene, gconstpointer unused) {
        Reply data = user_get(scene->alice, MIB, "name=data region=files persistent=1");
        g_autofree char *path = g_build_filename(FILES_PATH, strrchr(data.object, '/') + 1, NULL), *list = NULL;

        (void) unused;
        g_assert_cmpint(user_map(scene->alice, data.slot), ==, 0);
        broker_stop(scene->broker);
        g_assert_cmpint(removexattr(path, RECORD_ATTRIBUTE), ==, 0);
        broker_start(scene->broker);
        g_assert_cmpuint(region_wait("files", "Available", 63 * MIB), ==, 63 * MIB);
        list = user_list(scene->alice);
        g_assert_cmpstr(list, ==, "");
        g_assert_cmpint(user_peek(scene->alice, data.slot, 0), ==, 0);
        reply_assert(user_release(scene->root, data.object), "");
        g_assert_cmpint(user_peek(scene->alice, data.slot, 0), ==, -EFAULT);
        g_assert_cmpuint(region_wait("files", "Available", 64 * MIB), ==, 64 * MIB);
        user_drop_all(scene->alice);
        g_assert_true(wait_until(20, access(path, F_OK) < 0));
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
        reply_assert(user_set_owner(scene->root, other.object, world_get_uid("bob"), NULL), "");
        user_drop_all(scene->alice);
        broker_stop(scene->broker);
        rename_user("alice", "mallory");
        broker_start(scene->broker);
        scene_assert_named(scene, data.object, "renamed");
        scene_assert_owner(scene, data.object, "");
        scene_assert_owner(scene, other.object, "bob");
        reply_assert(user_open(mallory, "renamed", "read-only=1"), "");
        assert_stranger(user_open(mallory, "renamed", NULL), "'alice'", "'mallory'");
        assert_stranger(user_release(mallory, data.object), "'alice'", "'mallory'");
        assert_stranger(user_resize(mallory, data.object, 2 * MIB), "'alice'", "'mallory'");
        reply_assert(user_allocate(mallory, MIB, 1, "name=renamed region=files persistent=1 mode=0604"), "NameExists");
        user_drop_all(mallory);
        restore_users(users);
        user_free(mallory);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        scene_add("/owners/set-owner", CONFIGURATION, test_set_owner);
        scene_add("/owners/set-owner-name", CONFIGURATION, test_set_owner_name);
        scene_add("/owners/set-owner-quota", CONFIGURATION, test_set_owner_quota);
        scene_add("/owners/details", CONFIGURATION, test_details);
        scene_add("/owners/log", CONFIGURATION, test_log);
        scene_add("/owners/recycled", CONFIGURATION, test_recycled);
        scene_add("/owners/recycled-admin", CONFIGURATION, test_recycled_admin);
        scene_add("/owners/old-record", CONFIGURATION, test_old_record);
        scene_add("/owners/silent-database", CONFIGURATION, test_silent_database);
        files_add("/owners/adopt", CONFIGURATION, test_adopt);
        files_add("/owners/free-orphan", CONFIGURATION, test_free_orphan);
        files_add("/owners/lasting", CONFIGURATION, test_lasting);
        return g_test_run();
}
