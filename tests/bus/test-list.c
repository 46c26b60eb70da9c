/* SPDX-License-Identifier: MIT */

/* Lists that are longer than a page, or than an answer. */

#include <glib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "names.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define CONFIGURATION "[Quota]\nMaxAllocations=10000\n[Region dram]\nSize=256M\n"
#define OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"

#define PAGE 256  /* as documented */
#define WHOLE 4096
#define SOME (2 * PAGE + 88)

/* ---- In the process of somebody who has many ---------------------------------------------------------------------- */

typedef struct Piece {
        char *object;
        int lease;
} Piece;

static GArray *pieces;

static void take(const char *grant) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        const char *object;
        int memory, lease;
        Piece piece;

        if (sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE, "Allocate",
                               &error, &reply, "tta{sv}", UINT64_C(4096), UINT64_C(1), 1, "grant", "o", grant) < 0)
                g_error("Allocate: %s", error.message);
        g_assert_cmpint(sd_bus_message_read(reply, "ohh", &object, &memory, &lease), >=, 0);
        piece = (Piece){ .object = g_strdup(object), .lease = dup(lease) };
        g_assert_cmpint(piece.lease, >=, 0);
        g_array_append_val(pieces, piece);
        sd_bus_message_unref(reply);
}

static void drop(unsigned i) {
        Piece *piece = &g_array_index(pieces, Piece, i);
        sd_bus_message *reply = NULL;

        (void) sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, piece->object, DAXBROKER_ALLOCATION_INTERFACE, "Free",
                                  NULL, &reply, NULL);
        sd_bus_message_unref(reply);
        close(piece->lease);
        g_free(piece->object);
        g_array_remove_index_fast(pieces, i);
}

static sd_bus_message *grant_reply; /* has the lease of the grant */
static const char *the_grant;

/* data is how many. From a grant, so that nobody is asked about each. */
static int64_t do_take(UserCall *call) {
        const unsigned *n = call->data;

        g_assert_cmpint(sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE,
                                           "Reserve", NULL, &grant_reply, "ta{sv}", UINT64_C(64) << 20, 0), >=, 0);
        g_assert_cmpint(sd_bus_message_read(grant_reply, "o", &the_grant), >=, 0);
        pieces = g_array_new(FALSE, FALSE, sizeof(Piece));
        for (unsigned i = 0; i < *n; i++)
                take(the_grant);
        return 0;
}

static int64_t do_drop_all(UserCall *call) {
        (void) call;
        while (pieces->len > 0)
                drop(pieces->len - 1);
        g_array_unref(pieces);
        grant_reply = sd_bus_message_unref(grant_reply);
        return 0;
}

/* What alice sees while she has so many. */
static void check_with(Scene *scene, unsigned n, UserFunction check) {
        user_call(scene->alice, do_take, &n, sizeof(n), NULL, 0);
        user_call(scene->alice, check, NULL, 0, NULL, 0);
        user_call(scene->alice, do_drop_all, NULL, 0, NULL, 0);
}

static int compare_objects(const void *a, const void *b) {
        return strcmp(((const Piece *) a)->object, ((const Piece *) b)->object);
}

/* ---- Pages -------------------------------------------------------------------------------------------------------- */

typedef struct Page {
        GPtrArray *objects;
        bool more;
} Page;

static void page_clear(Page *page) {
        g_ptr_array_unref(page->objects);
}

/* after is NULL for the first one, limit 0 for as many as there are in a page. */
static Page page_get_of(const char *method, const char *after, uint32_t limit) {
        Page page = { .objects = g_ptr_array_new_with_free_func(g_free) };
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL, *reply = NULL;
        const char *name, *object;
        int more;

        g_assert_cmpint(sd_bus_message_new_method_call(user_bus(), &m, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                                       DAXBROKER_MANAGER_INTERFACE, method), >=, 0);
        g_assert_cmpint(sd_bus_message_open_container(m, 'a', "{sv}"), >=, 0);
        if (after)
                g_assert_cmpint(sd_bus_message_append(m, "{sv}", "after", "o", after), >=, 0);
        if (limit > 0)
                g_assert_cmpint(sd_bus_message_append(m, "{sv}", "limit", "u", limit), >=, 0);
        g_assert_cmpint(sd_bus_message_close_container(m), >=, 0);
        if (sd_bus_call(user_bus(), m, 0, &error, &reply) < 0)
                g_error("%s: %s", method, error.message);
        sd_bus_message_unref(m);

        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(soa{sv})"), >, 0);
        while (sd_bus_message_enter_container(reply, 'r', "soa{sv}") > 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "so", &name, &object), >, 0);
                g_assert_cmpint(sd_bus_message_skip(reply, "a{sv}"), >, 0);
                g_assert_cmpint(sd_bus_message_exit_container(reply), >=, 0);
                g_ptr_array_add(page.objects, g_strdup(object));
        }
        g_assert_cmpint(sd_bus_message_exit_container(reply), >=, 0);
        g_assert_cmpint(sd_bus_message_read(reply, "b", &more), >, 0);
        page.more = more;
        sd_bus_message_unref(reply);
        return page;
}

static Page page_get(const char *after, uint32_t limit) {
        return page_get_of("ListAllocationsPaged", after, limit);
}

/* All of them, page by page; each is full but for the last. */
static GPtrArray *pages_get(uint32_t limit, void (*between)(const char *last)) {
        GPtrArray *all = g_ptr_array_new_with_free_func(g_free);
        unsigned size = limit > 0 && limit < PAGE ? limit : PAGE;
        Page page;

        do {
                page = page_get(all->len > 0 ? all->pdata[all->len - 1] : NULL, limit);
                g_assert_cmpuint(page.objects->len, <=, size);
                g_assert_true(!page.more || page.objects->len == size);
                for (unsigned i = 0; i < page.objects->len; i++) {
                        if (all->len > 0)
                                g_assert_cmpstr(page.objects->pdata[i], >, all->pdata[all->len - 1]);
                        g_ptr_array_add(all, g_strdup(page.objects->pdata[i]));
                }
                page_clear(&page);
                if (page.more && between)
                        between(all->pdata[all->len - 1]);
        } while (page.more);
        return all;
}

static int64_t do_check_pages(UserCall *call) {
        static const uint32_t limits[] = { 0, 1, 7, PAGE - 1, PAGE, PAGE + 1, SOME, UINT32_MAX };

        (void) call;
        g_array_sort(pieces, compare_objects);
        for (size_t i = 0; i < G_N_ELEMENTS(limits); i++) {
                g_autoptr(GPtrArray) all = pages_get(limits[i], NULL);

                g_assert_cmpuint(all->len, ==, pieces->len);
                for (unsigned j = 0; j < all->len; j++)
                        g_assert_cmpstr(all->pdata[j], ==, g_array_index(pieces, Piece, j).object);
        }
        return 0;
}

/* Nobody sees anything of others in them, nor that there are more. */
static int64_t do_check_none(UserCall *call) {
        Page page = page_get(NULL, 0);

        (void) call;
        g_assert_cmpuint(page.objects->len, ==, 0);
        g_assert_false(page.more);
        page_clear(&page);
        return 0;
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

static void test_pages(Scene *scene, const void *unused) {
        unsigned n = SOME;

        (void) unused;
        user_call(scene->bob, do_check_none, NULL, 0, NULL, 0);
        user_call(scene->alice, do_take, &n, sizeof(n), NULL, 0);
        user_call(scene->alice, do_check_pages, NULL, 0, NULL, 0);
        user_call(scene->bob, do_check_none, NULL, 0, NULL, 0);
        user_call(scene->alice, do_drop_all, NULL, 0, NULL, 0);
}

/* ---- What comes and goes between pages ---------------------------------------------------------------------------- */

static unsigned n_dropped;

/* The one that the next page begins behind, and some more; and others come. */
static void come_and_go(const char *last) {
        unsigned i;

        for (i = 0; i < pieces->len && !g_str_equal(g_array_index(pieces, Piece, i).object, last); i++)
                ;
        g_assert_cmpuint(i, <, pieces->len);
        drop(i);
        for (n_dropped = 1; n_dropped < 20; n_dropped++)
                drop((unsigned) g_random_int_range(0, (int) pieces->len / 2));
        for (unsigned n = 0; n < 20; n++)
                take(the_grant);
}

/* data is not used. What was there all the time is listed, once; pages_get() sees to the latter. */
static int64_t do_check_changes(UserCall *call) {
        g_autoptr(GHashTable) before = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        g_autoptr(GPtrArray) all = NULL;

        (void) call;
        for (unsigned i = 0; i < pieces->len; i++)
                g_hash_table_add(before, g_strdup(g_array_index(pieces, Piece, i).object));
        all = pages_get(40, come_and_go);
        for (unsigned i = 0; i < pieces->len; i++) {
                const char *object = g_array_index(pieces, Piece, i).object;

                if (g_hash_table_contains(before, object))
                        g_assert_true(g_ptr_array_find_with_equal_func(all, object, g_str_equal, NULL));
        }
        return 0;
}

static void test_changes(Scene *scene, const void *unused) {
        (void) unused;
        check_with(scene, SOME, do_check_changes);
}

/* ---- Options ------------------------------------------------------------------------------------------------------ */

#define assert_bad(member, says, ...)                                                                                  \
        do {                                                                                                           \
                sd_bus_error _error = SD_BUS_ERROR_NULL;                                                               \
                                                                                                                       \
                g_assert_cmpint(sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,                \
                                                   DAXBROKER_MANAGER_INTERFACE, member, &_error, NULL, __VA_ARGS__),   \
                                <, 0);                                                                                 \
                g_assert_cmpstr(_error.name, ==, "org.daxbroker1.Error.BadOption");                                    \
                assert_says(_error.message, says);                                                                     \
                sd_bus_error_free(&_error);                                                                            \
        } while (false)

static int64_t do_hostile(UserCall *call) {
        static const char *const methods[] = { "ListAllocationsPaged", "ListGrantsPaged" };
        g_autofree char *longest = g_strnfill(10000, 'z'), *path = g_strconcat(DAXBROKER_ALLOCATION_PATH "/", longest, NULL);
        Page page;

        (void) call;
        for (size_t i = 0; i < G_N_ELEMENTS(methods); i++) {
                assert_bad(methods[i], "limit", "a{sv}", 1, "limit", "u", 0);
                assert_bad(methods[i], "limit", "a{sv}", 1, "limit", "t", UINT64_C(1));
                assert_bad(methods[i], "limit", "a{sv}", 2, "limit", "u", 1, "limit", "u", 1);
                assert_bad(methods[i], "after", "a{sv}", 1, "after", "s", "0");
                assert_bad(methods[i], "after", "a{sv}", 1, "after", "o", "/");
                assert_bad(methods[i], "after", "a{sv}", 1, "after", "o", DAXBROKER_REGION_PATH "/dram");
                assert_bad(methods[i], "after, limit", "a{sv}", 1, "from", "u", 1);
        }
        assert_bad("ListAllocationsPaged", "after", "a{sv}", 1, "after", "o", DAXBROKER_ALLOCATION_PATH);
        assert_bad("ListAllocationsPaged", "after", "a{sv}", 1, "after", "o", DAXBROKER_GRANT_PATH "/0");
        assert_bad("ListGrantsPaged", "after", "a{sv}", 1, "after", "o", DAXBROKER_ALLOCATION_PATH "/0");

        /* of what was never there, only the order matters */
        page = page_get(DAXBROKER_ALLOCATION_PATH "/0", 0);
        g_assert_cmpuint(page.objects->len, ==, pieces->len);
        page_clear(&page);
        page = page_get(path, 0);
        g_assert_cmpuint(page.objects->len, ==, 0);
        g_assert_false(page.more);
        page_clear(&page);
        return 0;
}

static void test_hostile(Scene *scene, const void *unused) {
        (void) unused;
        check_with(scene, 3, do_hostile);
}

/* ---- Grants ------------------------------------------------------------------------------------------------------- */

static int64_t do_check_grants(UserCall *call) {
        Page first = page_get_of("ListGrantsPaged", NULL, 1), second, all;

        (void) call;
        g_assert_cmpuint(first.objects->len, ==, 1);
        g_assert_true(first.more);
        second = page_get_of("ListGrantsPaged", first.objects->pdata[0], 1);
        g_assert_cmpuint(second.objects->len, ==, 1);
        g_assert_false(second.more);
        all = page_get_of("ListGrantsPaged", NULL, 0);
        g_assert_cmpuint(all.objects->len, ==, 2);
        g_assert_cmpstr(all.objects->pdata[0], ==, first.objects->pdata[0]);
        g_assert_cmpstr(all.objects->pdata[1], ==, second.objects->pdata[0]);
        page_clear(&first);
        page_clear(&second);
        page_clear(&all);
        return 0;
}

static void test_grants(Scene *scene, const void *unused) {
        (void) unused;
        reply_assert(user_reserve(scene->alice, MIB, NULL), "");
        reply_assert(user_reserve(scene->alice, MIB, NULL), "");
        reply_assert(user_reserve(scene->bob, MIB, NULL), "");
        user_call(scene->alice, do_check_grants, NULL, 0, NULL, 0);
        user_drop_all(scene->alice);
        user_drop_all(scene->bob);
}

/* ---- Too many for one answer -------------------------------------------------------------------------------------- */

static int keep_reply(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error) {
        sd_bus_message **kept = userdata;

        (void) ret_error;
        *kept = sd_bus_message_ref(reply);
        return 1;
}

static void get_version(sd_bus *bus) {
        char *version;

        g_assert_cmpint(sd_bus_get_property_string(bus, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE,
                                                   "Version", NULL, &version), >=, 0);
        free(version);
}

/* Whether another connection gets an answer while there is none to this call yet, which takes long and is then refused: a
 * long answer would be on its way for a while. */
static bool others_are_answered(const char *interface, const char *member) {
        sd_bus_message *reply = NULL;
        sd_bus_slot *slot = NULL;
        sd_bus *other = NULL;
        bool answered;

        g_assert_cmpint(world_connect(&other), >=, 0);
        /* who he is shall be known */
        get_version(other);
        g_assert_cmpint(sd_bus_call_method_async(user_bus(), &slot, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, interface,
                                                 member, keep_reply, &reply, NULL), >=, 0);
        g_assert_cmpint(sd_bus_flush(user_bus()), >=, 0);
        get_version(other);
        while (sd_bus_process(user_bus(), NULL) > 0)
                ;
        answered = !reply;
        while (!reply) {
                g_assert_cmpint(sd_bus_process(user_bus(), NULL), >=, 0);
                g_assert_cmpint(sd_bus_wait(user_bus(), 100000), >=, 0);
        }
        g_assert_true(sd_bus_message_is_method_error(reply, "org.daxbroker1.Error.TooLarge"));

        sd_bus_message_unref(reply);
        sd_bus_slot_unref(slot);
        sd_bus_flush_close_unref(other);
        return answered;
}

/* The other's call may come late, on a machine that is busy; but not each time. */
static void assert_others_are_answered(const char *interface, const char *member) {
        for (unsigned i = 0; i < 50; i++)
                if (others_are_answered(interface, member))
                        return;

        g_error("nobody is answered during %s", member);
}

static void assert_answered(const char *interface, const char *member) {
        sd_bus_message *reply = NULL;

        g_assert_cmpint(sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, interface, member, NULL,
                                           &reply, NULL), >=, 0);
        sd_bus_message_unref(reply);
}

static void assert_too_large(const char *interface, const char *member, const char *says) {
        sd_bus_error error = SD_BUS_ERROR_NULL;

        g_assert_cmpint(sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, interface, member, &error,
                                           NULL, NULL), <, 0);
        g_assert_cmpstr(error.name, ==, "org.daxbroker1.Error.TooLarge");
        assert_says(error.message, says);
        sd_bus_error_free(&error);
}

static int64_t do_check_large(UserCall *call) {
        sd_bus_message *reply = NULL;
        const char *xml;

        (void) call;
        /* just fits, with the grant */
        g_assert_cmpuint(pieces->len, ==, WHOLE - 1);
        assert_answered(DAXBROKER_MANAGER_INTERFACE, "ListAllocations");
        assert_answered(OBJECT_MANAGER, "GetManagedObjects");

        take(the_grant);
        assert_too_large(OBJECT_MANAGER, "GetManagedObjects", "ListAllocationsPaged");
        take(the_grant);
        assert_too_large(DAXBROKER_MANAGER_INTERFACE, "ListAllocations", "ListAllocationsPaged");
        assert_too_large(OBJECT_MANAGER, "GetManagedObjects", "ListAllocationsPaged");
        assert_others_are_answered(DAXBROKER_MANAGER_INTERFACE, "ListAllocations");
        assert_others_are_answered(OBJECT_MANAGER, "GetManagedObjects");
        (void) do_check_pages(call);

        /* and the names of as many as there is room for are introspected */
        g_assert_cmpint(sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, DAXBROKER_ALLOCATION_PATH,
                                           "org.freedesktop.DBus.Introspectable", "Introspect", NULL, &reply, NULL), >=, 0);
        g_assert_cmpint(sd_bus_message_read(reply, "s", &xml), >, 0);
        g_assert_nonnull(strstr(xml, strrchr(g_array_index(pieces, Piece, WHOLE - 1).object, '/') + 1));
        g_assert_null(strstr(xml, strrchr(g_array_index(pieces, Piece, WHOLE).object, '/') + 1));
        sd_bus_message_unref(reply);
        return 0;
}

static void test_large(Scene *scene, const void *unused) {
        (void) unused;
        check_with(scene, WHOLE - 1, do_check_large);
}

/* ---- Many lists at once ------------------------------------------------------------------------------------------- */

/* Each is answered, also if they wait for each other, and if a connection that has some is closed meanwhile. */
static int64_t do_check_crowd(UserCall *call) {
        sd_bus_message *replies[100] = { NULL };
        sd_bus_slot *slots[100];
        sd_bus *gone = NULL;

        (void) call;
        g_assert_cmpint(world_connect(&gone), >=, 0);
        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
                g_assert_cmpint(sd_bus_call_method_async(gone, NULL, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, OBJECT_MANAGER,
                                                         "GetManagedObjects", NULL, NULL, NULL), >=, 0);
                g_assert_cmpint(sd_bus_call_method_async(user_bus(), &slots[i], DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                                         DAXBROKER_MANAGER_INTERFACE,
                                                         i % 2 ? "ListAllocations" : "ListGrants", keep_reply, &replies[i],
                                                         NULL), >=, 0);
        }
        g_assert_cmpint(sd_bus_flush(gone), >=, 0);
        g_assert_cmpint(sd_bus_flush(user_bus()), >=, 0);
        sd_bus_close_unref(gone);

        for (size_t i = 0; i < G_N_ELEMENTS(replies); i++) {
                while (!replies[i]) {
                        g_assert_cmpint(sd_bus_process(user_bus(), NULL), >=, 0);
                        g_assert_cmpint(sd_bus_wait(user_bus(), 100000), >=, 0);
                }
                g_assert_false(sd_bus_message_is_method_error(replies[i], NULL));
                sd_bus_message_unref(replies[i]);
                sd_bus_slot_unref(slots[i]);
        }
        return 0;
}

static void test_crowd(Scene *scene, const void *unused) {
        (void) unused;
        check_with(scene, SOME, do_check_crowd);
}

/* ---- Lists that nobody reads -------------------------------------------------------------------------------------- */

#define DEAF 64
#define BEHIND 16 /* connections of a user that may have answers in the broker's memory when another list is begun */

static sd_bus *deaf[DEAF];
static sd_bus_message *deaf_replies[DEAF];

static int64_t do_ask_only(UserCall *call) {
        (void) call;
        for (size_t i = 0; i < DEAF; i++) {
                g_assert_cmpint(world_connect(&deaf[i]), >=, 0);
                get_version(deaf[i]);
                g_assert_cmpint(sd_bus_call_method_async(deaf[i], NULL, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                                         DAXBROKER_MANAGER_INTERFACE, "ListAllocations", keep_reply,
                                                         &deaf_replies[i], NULL), >=, 0);
                g_assert_cmpint(sd_bus_flush(deaf[i]), >=, 0);
        }
        return 0;
}

/* How many of them there is something to read on. */
static int64_t do_count_answered(UserCall *call) {
        unsigned n = 0;

        (void) call;
        for (size_t i = 0; i < DEAF; i++) {
                struct pollfd polled = { .fd = sd_bus_get_fd(deaf[i]), .events = POLLIN };

                n += poll(&polled, 1, 0) == 1;
        }
        return n;
}

/* Some are closed unread; then all others are answered. */
static int64_t do_read_at_last(UserCall *call) {
        unsigned n_left = DEAF;

        (void) call;
        for (size_t i = 0; i < DEAF; i += 4) {
                deaf[i] = sd_bus_close_unref(deaf[i]);
                n_left--;
        }
        while (n_left > 0)
                for (size_t i = 0; i < DEAF; i++) {
                        if (!deaf[i])
                                continue;
                        g_assert_cmpint(sd_bus_process(deaf[i], NULL), >=, 0);
                        if (!deaf_replies[i])
                                continue;
                        g_assert_false(sd_bus_message_is_method_error(deaf_replies[i], NULL));
                        sd_bus_message_unref(deaf_replies[i]);
                        deaf[i] = sd_bus_close_unref(deaf[i]);
                        n_left--;
                }
        return 0;
}

static int64_t do_get_version(UserCall *call) {
        (void) call;
        get_version(user_bus());
        return 0;
}

/* Who asks for many directly and reads none does not fill the broker's memory with them, and keeps nobody else from his. */
static void test_unread(Scene *scene, const void *unused) {
        unsigned n = SOME;

        (void) unused;
        if (!world_is_direct()) {
                g_test_skip("the bus has a limit of its own");
                return;
        }

        user_call(scene->alice, do_take, &n, sizeof(n), NULL, 0);
        user_call(scene->alice, do_ask_only, NULL, 0, NULL, 0);
        while (user_call(scene->alice, do_count_answered, NULL, 0, NULL, 0) < BEHIND)
                g_usleep(10000);
        g_usleep(200000);
        g_assert_cmpint(user_call(scene->alice, do_count_answered, NULL, 0, NULL, 0), ==, BEHIND);
        user_call(scene->bob, do_check_none, NULL, 0, NULL, 0);
        user_call(scene->alice, do_get_version, NULL, 0, NULL, 0);
        user_call(scene->alice, do_read_at_last, NULL, 0, NULL, 0);
        user_call(scene->alice, do_drop_all, NULL, 0, NULL, 0);
}

/* Two on one connection, of which none is read, are not in the way of a third on another. */
static int64_t do_check_pair(UserCall *call) {
        struct pollfd polled = { .events = POLLIN };
        sd_bus_message *never = NULL;
        sd_bus *bus = NULL;

        (void) call;
        g_assert_cmpint(world_connect(&bus), >=, 0);
        get_version(bus);
        for (unsigned i = 0; i < 2; i++)
                g_assert_cmpint(sd_bus_call_method_async(bus, NULL, DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                                                         DAXBROKER_MANAGER_INTERFACE, "ListAllocations", keep_reply,
                                                         &never, NULL), >=, 0);
        g_assert_cmpint(sd_bus_flush(bus), >=, 0);
        polled.fd = sd_bus_get_fd(bus);
        g_assert_cmpint(poll(&polled, 1, 20000), ==, 1);
        assert_answered(DAXBROKER_MANAGER_INTERFACE, "ListAllocations");
        g_assert_null(never);
        sd_bus_close_unref(bus);
        assert_answered(DAXBROKER_MANAGER_INTERFACE, "ListAllocations");
        return 0;
}

static void test_pair(Scene *scene, const void *unused) {
        (void) unused;
        check_with(scene, SOME, do_check_pair);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        g_test_add("/list/pages", Scene, CONFIGURATION, set_up, test_pages, scene_tear_down);
        g_test_add("/list/changes", Scene, CONFIGURATION, set_up, test_changes, scene_tear_down);
        g_test_add("/list/hostile", Scene, CONFIGURATION, set_up, test_hostile, scene_tear_down);
        g_test_add("/list/grants", Scene, CONFIGURATION, set_up, test_grants, scene_tear_down);
        g_test_add("/list/crowd", Scene, CONFIGURATION, set_up, test_crowd, scene_tear_down);
        g_test_add("/list/unread", Scene, CONFIGURATION, set_up, test_unread, scene_tear_down);
        g_test_add("/list/pair", Scene, CONFIGURATION, set_up, test_pair, scene_tear_down);
        g_test_add("/list/large", Scene, CONFIGURATION, set_up, test_large, scene_tear_down);
        return g_test_run();
}
