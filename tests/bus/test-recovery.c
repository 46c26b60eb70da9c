/* SPDX-License-Identifier: MIT */

/* What a broker finds when it starts need not be what the last one left: nothing is forgotten that somebody has, nothing
 * is kept that nobody has, and what cannot be understood is nobody's until somebody has looked at it. */

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "records.h"
#include "scene.h"
#include "world.h"

#define CONFIGURATION                                                                                                  \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

static const char *id_of(const Reply *reply) {
        return strrchr(reply->object, '/') + 1;
}

static char *path_of(Scene *scene, const char *folder, const Reply *reply) {
        return g_build_filename(scene->broker->runtime, folder, id_of(reply), NULL);
}

static void chown_to_broker(const char *path) {
        uid_t uid = world_get_uid("daxbroker");

        g_assert_cmpint(chown(path, uid, uid), ==, 0);
}

static void write_as_broker(const char *path, const char *text) {
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        chown_to_broker(path);
        g_assert_cmpint(chmod(path, 0600), ==, 0);
}

/* Replaces a line of a record: "mode=999" for the one that begins with "mode=". */
static void edit_record(Scene *scene, const Reply *reply, const char *new_line) {
        g_autofree char *text = broker_get_record(scene->broker, reply), *key = NULL, *edited = NULL;
        g_autoptr(GRegex) regex = NULL;

        key = g_strdup_printf("^%.*s=.*$", (int) strcspn(new_line, "="), new_line);
        regex = g_regex_new(key, G_REGEX_MULTILINE, 0, NULL);
        edited = g_regex_replace_literal(regex, text, -1, 0, new_line, 0, NULL);
        g_assert_cmpstr(edited, !=, text);
        broker_set_record(scene->broker, reply, edited, strlen(edited));
}

/* What is added is zero, and ends with something. */
static void resize_record(Scene *scene, const Reply *reply, size_t length) {
        g_autofree char *text = broker_get_record(scene->broker, reply), *resized = g_malloc0(length + 1);

        memcpy(resized, text, MIN(length, strlen(text)));
        if (length > strlen(text))
                resized[length - 1] = 'x';
        broker_set_record(scene->broker, reply, resized, length);
}

/* Detached: counted and listed, beyond revoking, and over with the last holder. */
static void assert_detached(Scene *scene, User *user, const Reply *reply, uint8_t value) {
        scene_assert_state(scene, reply, "detached");
        g_assert_cmpint(user_is_filled(user, reply->slot, value), ==, 1);
        reply_assert(user_release(user, reply->object), "Busy");
        reply_assert(user_release(scene->root, reply->object), "Busy");
        reply_assert(user_open_object(user, reply->object, NULL), "Busy");
        g_assert_cmpint(user_is_filled(user, reply->slot, value), ==, 1);
        footprint_assert_sums(scene->root);
}

/* ---- Tests -------------------------------------------------------------------------------------------------------- */

/* The service manager has not kept a descriptor. */
static void test_record_without_fd(Scene *scene, const void *unused) {
        Reply held = user_take(scene->alice, UNIT, "name=held", 1);
        Reply kept = user_take(scene->alice, UNIT, "name=kept", 2), gone;
        User *guest;
        size_t mark;

        (void) unused;
        skip_on_files("files are found again without a descriptor");
        guest = user_new("bob");
        user_drop(scene->alice, kept.slot);
        gone = user_take(guest, UNIT, NULL, 3);
        broker_kill(scene->broker);
        service_manager_drop_fds(scene->broker->manager, NULL);
        user_kill(guest);
        mark = broker_mark_log(scene->broker);
        broker_start(scene->broker);

        if (provider_is_device()) {
                scene_revoke(scene, &kept);
                scene_revoke(scene, &gone);
        } else
                g_assert_true(broker_wait_log(scene->broker, mark, "'kept'.* is lost"));
        g_assert_false(scene_is_listed(scene, &kept));
        g_assert_false(scene_is_listed(scene, &gone));
        assert_detached(scene, scene->alice, &held, 1);
        user_close_lease(scene->alice, held.slot);
        user_let_go(scene->alice, held.slot);
        g_assert_true(allocation_wait_gone(scene->root, held.object));
        user_free(guest);
}

/* It died between storing the descriptor and writing the record, or between removing both: nobody was ever told. */
static void test_fd_without_record(Scene *scene, const void *unused) {
        Reply reply = user_take(scene->alice, UNIT, "name=scratch", 1);

        (void) unused;
        skip_on_files("a file has its record in an attribute of its own");
        skip_on_devices("a device without a record is not touched, as it may be an admin's");
        broker_kill(scene->broker);
        broker_remove_record(scene->broker, &reply);
        broker_start(scene->broker);
        g_assert_false(scene_is_listed(scene, &reply));
        g_assert_true(wait_until(20, user_peek(scene->alice, reply.slot, 0) == -EFAULT));
        g_assert_true(wait_until(20, service_manager_count_fds(scene->broker->manager, NULL) == 0));
        footprint_assert_back(scene->broker, &scene->before);
}

/* Half a record, or a record that means nothing: what there is of it is kept from everybody, until somebody who may has
 * looked at it, however often the broker starts again. */
static void test_unreadable_record(Scene *scene, const void *unused) {
        static const char *const edits[] = {
                "mode=999", "mode=8", "mode=-1", "mode=", "mode= 384", "owner=4294967296", "owner=alice",
                        "length=0",
                "length=18446744073709551615", "offset=9223372036854775807", "name=two words",
                        "name=../../etc",
                "alignment=3", "page-size=0", "persistent=maybe", "region=", "complete=no",
                        "daxbroker-record=4",
        };
        const size_t lengths[] = { 100, 0, 2048 };

        (void) unused;
        skip_on_devices("a device without a record is not touched, as it may be an admin's");
        for (size_t i = 0; i < G_N_ELEMENTS(edits) + G_N_ELEMENTS(lengths); i++) {
                Reply reply = user_take(scene->alice, UNIT, "name=scratch mode=0666", 1);

                broker_kill(scene->broker);
                if (i < G_N_ELEMENTS(edits))
                        edit_record(scene, &reply, edits[i]);
                else
                        resize_record(scene, &reply, lengths[i - G_N_ELEMENTS(edits)]);

                for (unsigned round = 0; round < 2; round++) {
                        size_t mark = broker_mark_log(scene->broker);

                        broker_start(scene->broker);
                        g_assert_true(broker_wait_log(scene->broker, mark, id_of(&reply)));
                        scene_assert_state(scene, &reply, provider_is_files() ? "orphan" : "quarantined");
                        g_assert_cmpuint(region_get("dram", "Available"), ==,
                                         scene->before.available - provider_taken(UNIT));
                        footprint_assert_sums(scene->root);
                        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
                        reply_assert(user_open(scene->alice, "scratch", NULL), "NoSuchAllocation");
                        reply_assert(user_open_object(scene->root, reply.object, NULL), "Busy");
                        reply_assert(user_release(scene->alice, reply.object), "AuthenticationRequired");
                        if (round == 0)
                                broker_stop(scene->broker);
                }

                user_give_back(scene->root, &reply);
                user_let_go(scene->alice, reply.slot);
                g_assert_cmpint(user_peek(scene->alice, reply.slot, 0), ==, -EFAULT);
                user_drop_all(scene->alice);
                footprint_assert_back(scene->broker, &scene->before);
        }
}

/* With nothing in it: it died while it wrote that, before the service manager had the descriptor. */
static void test_unreadable_without_fd(Scene *scene, const void *unused) {
        static const size_t lengths[] = { 100, 0 };

        (void) unused;
        skip_on_files("files are found again without a descriptor");
        skip_on_devices("a device without a record is not touched, as it may be an admin's");
        for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
                Reply reply = user_take(scene->alice, UNIT, lengths[i] > 0 ? "name=scratch" : NULL, 1);

                broker_kill(scene->broker);
                user_drop_all(scene->alice);
                resize_record(scene, &reply, lengths[i]);
                service_manager_drop_fds(scene->broker->manager, NULL);
                broker_start(scene->broker);
                g_assert_false(scene_is_listed(scene, &reply));
                footprint_assert_back(scene->broker, &scene->before);
        }
}

/* A record that does not even say what it is about may be about anything that has none: nobody's memory is taken away for
 * that, and when an admin has seen to it, or there is nothing left that it could be about, the broker forgets it. */
static void test_damaged_record(Scene *scene, const void *unused) {
        Reply reply = user_take(scene->alice, UNIT, "name=scratch", 1), other = user_take(scene->alice, UNIT, NULL, 2);
        unsigned n = broker_count_slots(scene->broker);
        size_t mark;

        (void) unused;
        skip_on_files("a file has its record in an attribute of its own");
        skip_on_devices("a device without a record is not touched, as it may be an admin's");
        broker_kill(scene->broker);
        broker_damage_record(scene->broker, &reply);
        for (unsigned round = 0; round < 2; round++) {
                mark = broker_mark_log(scene->broker);
                broker_start(scene->broker);
                g_assert_true(broker_wait_log(scene->broker, mark, "does not say what it is about"));
                scene_assert_state(scene, &reply, "quarantined");
                scene_assert_state(scene, &other, "live");
                g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - 2 * provider_taken(UNIT));
                footprint_assert_sums(scene->root);
                g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
                g_assert_cmpint(user_is_filled(scene->alice, other.slot, 2), ==, 1);
                reply_assert(user_open(scene->alice, "scratch", NULL), "NoSuchAllocation");
                g_assert_cmpuint(broker_count_slots(scene->broker), ==, n);
                broker_stop(scene->broker);
        }

        broker_start(scene->broker);
        user_give_back(scene->root, &reply);
        g_assert_cmpint(user_peek(scene->alice, reply.slot, 0), ==, -EFAULT);
        g_assert_cmpuint(broker_count_slots(scene->broker), ==, n);
        scene_restart(scene);
        g_assert_cmpuint(broker_count_slots(scene->broker), ==, n - 1);
        scene_assert_state(scene, &other, "live");
        user_drop_all(scene->alice);
        g_assert_true(allocation_wait_gone(scene->root, other.object));
        footprint_assert_back(scene->broker, &scene->before);
}

/* Of a file of records that is not ours nothing is believed, and nothing is done to it. */
static void test_foreign_records(Scene *scene, const void *unused) {
        g_autofree char *path = g_build_filename(scene->broker->runtime, "allocations", NULL), *saved = NULL;
        Reply reply = user_take(scene->alice, UNIT, "name=scratch", 1);

        (void) unused;
        saved = g_strconcat(path, ".saved", NULL);
        broker_kill(scene->broker);
        g_assert_cmpint(rename(path, saved), ==, 0);
        for (unsigned i = 0; i < 4; i++) {
                size_t mark = broker_mark_log(scene->broker);

                switch (i) {
                case 0:
                        g_assert_cmpint(symlink(saved, path), ==, 0);
                        break;
                case 1:
                        g_assert_true(g_file_set_contents(path, "", 0, NULL)); /* root's */
                        break;
                case 2:
                        g_assert_cmpint(link(saved, path), ==, 0);
                        break;
                case 3:
                        g_assert_cmpint(mkfifo(path, 0600), ==, 0);
                        chown_to_broker(path);
                        break;
                }
                g_assert_cmpint(broker_start_failing(scene->broker), ==, 1);
                g_assert_cmpuint(broker_count_log(scene->broker, mark, "cannot use the file 'allocations' below /"), ==, 1);
                g_assert_cmpint(remove(path), ==, 0);
        }

        g_assert_cmpint(rename(saved, path), ==, 0);
        broker_start(scene->broker);
        scene_assert_state(scene, &reply, "live");
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
        user_give_back(scene->alice, &reply);
        footprint_assert_back(scene->broker, &scene->before);
}

/* The last broker was one that had a file for each record; or one that died while it took these over. */
static void test_earlier_layout(Scene *scene, const void *unused) {
        g_autofree char *path = g_build_filename(scene->broker->runtime, "allocations", NULL);
        g_autofree char *old = g_strconcat(path, ".old", NULL), *saved = g_strconcat(path, ".saved", NULL);

        (void) unused;
        skip_on_media("records of what may last are not in RUNTIME_DIRECTORY");
        for (unsigned died = 0; died < 2; died++) {
                Reply replies[] = { user_take(scene->alice, UNIT, "name=scratch", 1),
                                    user_take(scene->alice, UNIT, NULL, 2), user_take(scene->alice, UNIT, "name=torn", 3) };

                broker_kill(scene->broker);
                g_assert_cmpint(mkdir(old, 0700), ==, 0);
                chown_to_broker(old);
                for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
                        g_autofree char *file = g_build_filename(old, id_of(&replies[i]), NULL);
                        g_autofree char *text = broker_get_record(scene->broker, &replies[i]);

                        write_as_broker(file, i < 2 || provider_is_device() ? text : "daxbroker-record=3\n");
                        if (i != 1)
                                broker_remove_record(scene->broker, &replies[i]);
                }
                if (!died) {
                        g_assert_cmpint(rename(path, saved), ==, 0);
                        g_assert_cmpint(rename(old, path), ==, 0);
                        g_assert_cmpint(g_unlink(saved), ==, 0);
                }
                broker_start(scene->broker);
                g_assert_false(g_file_test(old, G_FILE_TEST_EXISTS));
                for (unsigned round = 0; round < 2; round++) {
                        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
                                scene_assert_state(scene, &replies[i],
                                                   i < 2 || provider_is_device() ? "live" : "quarantined");
                                g_assert_cmpint(user_is_filled(scene->alice, replies[i].slot, (uint8_t) (i + 1)), ==, 1);
                        }
                        scene_restart(scene);
                }
                for (size_t i = 0; i < G_N_ELEMENTS(replies); i++)
                        user_give_back(i < 2 ? scene->alice : scene->root, &replies[i]);
                user_drop_all(scene->alice);
                footprint_assert_back(scene->broker, &scene->before);
        }
}

/* Two of one name: one has it, the other one, which is returned, is kept from everybody. */
static Reply make_name_twice(Scene *scene, const Reply *one, const Reply *two) {
        Reply again;
        bool first;

        broker_kill(scene->broker);
        edit_record(scene, two, "name=one");
        broker_start(scene->broker);
        footprint_assert_sums(scene->root);
        g_assert_cmpint(user_is_filled(scene->alice, one->slot, 1), ==, 1);
        g_assert_cmpint(user_is_filled(scene->alice, two->slot, 2), ==, 1);

        again = user_open(scene->alice, "one", NULL);
        reply_assert(again, "");
        first = g_str_equal(again.object, one->object);
        if (!first)
                g_assert_cmpstr(again.object, ==, two->object);
        scene_assert_state(scene, first ? one : two, "live");
        scene_assert_state(scene, first ? two : one, "quarantined");
        reply_assert(user_open(scene->alice, "two", NULL), "NoSuchAllocation");
        user_give_back(scene->alice, first ? one : two);
        return first ? *two : *one;
}

static void test_name_twice(Scene *scene, const void *unused) {
        Reply one = user_take(scene->alice, UNIT, "name=one", 1), two = user_take(scene->alice, UNIT, "name=two", 2), left;

        (void) unused;
        left = make_name_twice(scene, &one, &two);
        /* of a device that nobody knows the holders of, root has to say that there are none */
        if (provider_is_device()) {
                user_let_go(scene->alice, -1);
                reply_assert(user_revoke(scene->root, left.object, NULL), "");
        } else
                user_give_back(scene->alice, &left);
        g_assert_cmpint(user_peek(scene->alice, one.slot, 0), ==, -EFAULT);
        g_assert_cmpint(user_peek(scene->alice, two.slot, 0), ==, -EFAULT);
}

/* What Free takes from whoever has it needs no force, whatever has become of it. */
static void test_revoke_quarantined(Scene *scene, const void *unused) {
        Reply one = user_take(scene->alice, UNIT, "name=one", 1), two = user_take(scene->alice, UNIT, "name=two", 2), left,
              refused;

        (void) unused;
        skip_on_devices("it takes force");
        left = make_name_twice(scene, &one, &two);
        refused = user_revoke(scene->root, left.object, NULL);
        reply_assert(refused, "Busy");
        assert_says(refused.message, "it is quarantined; Free takes it from whoever has it");
        reply_assert(user_revoke(scene->root, left.object, "despite-references=1"), "Busy");
        g_assert_cmpint(user_peek(scene->alice, left.slot, 0), ==, (int) (left.slot == one.slot ? 1 : 2));
        reply_assert(user_release(scene->root, left.object), "");
        g_assert_cmpint(user_peek(scene->alice, left.slot, 0), ==, -EFAULT);
}

static void test_unknown_region(Scene *scene, const void *unused) {
        Reply reply = user_take(scene->alice, UNIT, "name=scratch", 1), again;
        g_autofree char *state = NULL;

        (void) unused;
        skip_on_files("a file belongs to the region whose directory it is in, whatever its record says");
        skip_on_devices("a device lies where it lies, whatever a record says");
        broker_kill(scene->broker);
        edit_record(scene, &reply, "region=elsewhere");
        broker_start(scene->broker);
        g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available);
        state = region_get_string("elsewhere", "State");
        g_assert_cmpstr(state, ==, "unusable");
        reply_assert(user_allocate(scene->alice, 1, 1, "region=elsewhere"), "RegionUnusable");

        again = user_open(scene->alice, "scratch", NULL);
        reply_assert(again, "");
        g_assert_cmpint(user_map(scene->alice, again.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->alice, again.slot, 1), ==, 1);
        user_give_back(scene->alice, &reply);
}

/* Made by a provider that this broker has not got: it knows nothing of it and lets it be. */
static void test_unknown_provider(Scene *scene, const void *unused) {
        Reply reply = user_take(scene->alice, UNIT, "name=scratch", 1);
        g_autofree char *provider = g_strdup_printf("provider=%s", provider_name());
        size_t mark;

        (void) unused;
        skip_on_files("a file is a file, whatever its record says");
        skip_on_nvdimm("a namespace is found without a record, too, and is nobody's then");
        broker_kill(scene->broker);
        edit_record(scene, &reply, "provider=elsewhere");
        mark = broker_mark_log(scene->broker);
        broker_start(scene->broker);
        g_assert_true(broker_wait_log(scene->broker, mark, "left alone"));
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
        g_assert_cmpuint(service_manager_count_fds(scene->broker->manager, NULL), ==,
                         scene->before.stored + provider_stored_fds(1));

        broker_stop(scene->broker);
        edit_record(scene, &reply, provider);
        broker_start(scene->broker);
        scene_assert_state(scene, &reply, "live");
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
        user_give_back(scene->alice, &reply);
        g_assert_cmpint(user_peek(scene->alice, reply.slot, 0), ==, -EFAULT);
}

/* The lease is gone, or is none: without a name it ends, with one it gets a new lease. */
static void test_lease_taken(Scene *scene, const void *unused) {
        (void) unused;
        skip_on_media("without its lease, it is taken for one from before a reboot");
        for (unsigned i = 0; i < 4; i++) {
                Reply named = user_take(scene->alice, UNIT, "name=scratch", 1);
                Reply unnamed = user_take(scene->alice, UNIT, NULL, 2);
                Reply again;
                const Reply *both[] = { &named, &unnamed };

                broker_kill(scene->broker);
                for (size_t k = 0; k < G_N_ELEMENTS(both); k++) {
                        g_autofree char *path = path_of(scene, "leases", both[k]);

                        g_assert_cmpint(g_unlink(path), ==, 0);
                        switch (i) {
                        case 1:
                                write_as_broker(path, "not a lease");
                                break;
                        case 2:
                                g_assert_cmpint(symlink("/dev/null", path), ==, 0);
                                break;
                        case 3:
                                g_assert_cmpint(mkdir(path, 0755), ==, 0);
                                break;
                        }
                }
                broker_start(scene->broker);

                user_let_go(scene->alice, unnamed.slot);
                g_assert_true(allocation_wait_gone(scene->root, unnamed.object));
                g_assert_cmpint(user_peek(scene->alice, unnamed.slot, 0), ==, -EFAULT);
                scene_assert_state(scene, &named, "live");
                g_assert_cmpint(user_is_filled(scene->alice, named.slot, 1), ==, 1);
                again = user_open(scene->alice, "scratch", NULL);
                reply_assert(again, "");
                g_assert_cmpuint(allocation_get(scene->alice, named.object, "InUse"), ==, 1);
                user_drop(scene->alice, again.slot);
                g_assert_true(wait_until(20, allocation_get(scene->alice, named.object, "InUse") == 0));
                user_give_back(scene->alice, &named);
                g_assert_cmpint(user_peek(scene->alice, named.slot, 0), ==, -EFAULT);
                user_drop_all(scene->alice);
                footprint_assert_back(scene->broker, &scene->before);
        }
}

/* What nobody of us put there. */
static void test_rubbish(Scene *scene, const void *unused) {
        static const char *const names[] = {
                "leases/0123456789abcdef", "leases/rubbish", "allocations.old/0123456789abcdef.tmp",
        };
        g_autofree char *folder = g_build_filename(scene->broker->runtime, "allocations.old", NULL);
        Reply reply = user_take(scene->alice, UNIT, "name=scratch", 1);

        (void) unused;
        broker_kill(scene->broker);
        g_assert_cmpint(mkdir(folder, 0700), ==, 0);
        chown_to_broker(folder);
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
                g_autofree char *path = g_build_filename(scene->broker->runtime, names[i], NULL);

                write_as_broker(path, "rubbish");
        }
        broker_start(scene->broker);
        scene_assert_state(scene, &reply, "live");
        g_assert_cmpint(user_is_filled(scene->alice, reply.slot, 1), ==, 1);
        user_give_back(scene->alice, &reply);
        footprint_assert_back(scene->broker, &scene->before);
}

/* It keeps fewer descriptors than it is given: those of two devices, or not even the one of all ordinary memory. */
static void test_small_store(Scene *scene, const void *unused) {
        unsigned n_live = 0, n_kept = provider_is_device() ? 2 : 0;
        Reply replies[6];

        (void) unused;
        skip_on_files("the service manager keeps no descriptors of files");
        /* that has room for all of them; another broker has none */
        if (service_manager_count_empty(scene->broker->manager) > 0) {
                broker_stop(scene->broker);
                broker_start(scene->broker);
        }
        service_manager_set_fd_max(scene->broker->manager, scene->before.stored + provider_stored_fds(n_kept));
        for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
                g_autofree char *options = g_strdup_printf("name=scratch-%u", i);

                replies[i] = user_take(scene->alice, UNIT, i % 2 == 0 ? options : NULL, (uint8_t) (i + 1));
        }
        broker_kill(scene->broker);
        broker_start(scene->broker);

        g_assert_cmpuint(region_get("dram", "Available"), ==, scene->before.available - 6 * provider_taken(UNIT));
        for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
                g_autofree char *state = allocation_get_string(scene->root, replies[i].object, "State");

                if (g_str_equal(state, "live")) {
                        n_live++;
                        user_give_back(scene->alice, &replies[i]);
                } else
                        assert_detached(scene, scene->alice, &replies[i], (uint8_t) (i + 1));
        }
        g_assert_cmpuint(n_live, ==, n_kept);
        user_drop_all(scene->alice);
        g_assert_cmpuint(region_wait("dram", "Available", scene->before.available), ==,
                         scene->before.available);
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

int main(int argc, char **argv) {
        static const struct {
                const char *name;
                void (*test)(Scene *scene, const void *unused);
        } tests[] = {
                { "/recovery/record-without-fd", test_record_without_fd },
                { "/recovery/fd-without-record", test_fd_without_record },
                { "/recovery/unreadable-record", test_unreadable_record },
                { "/recovery/unreadable-without-fd", test_unreadable_without_fd },
                { "/recovery/damaged-record", test_damaged_record },
                { "/recovery/foreign-records", test_foreign_records },
                { "/recovery/earlier-layout", test_earlier_layout },
                { "/recovery/name-twice", test_name_twice },
                { "/recovery/revoke-quarantined", test_revoke_quarantined },
                { "/recovery/unknown-region", test_unknown_region },
                { "/recovery/unknown-provider", test_unknown_provider },
                { "/recovery/lease-taken", test_lease_taken },
                { "/recovery/rubbish", test_rubbish },
                { "/recovery/small-store", test_small_store },
        };

        world_init(&argc, &argv);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add(tests[i].name, Scene, CONFIGURATION, set_up, tests[i].test, scene_tear_down);
        return g_test_run();
}
