/* SPDX-License-Identifier: MIT */

/* The running broker against the documents in protocol/: neither may have anything that the other has not. */

#include <errno.h>
#include <gio/gio.h>
#include <glib.h>
#include <string.h>

#include "error-names.h"
#include "names.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define CONFIGURATION "[Region dram]\nSize=256M\n[Region broken]\nProvider=magnetic-drum\nSize=1G\n"
#define EMITS_CHANGED "org.freedesktop.DBus.Property.EmitsChangedSignal"

/* ---- What is documented, what is there ------------------------------------------------------------------------- */

static GDBusNodeInfo *parse(const char *xml) {
        g_autoptr(GError) error = NULL;
        GDBusNodeInfo *info = g_dbus_node_info_new_for_xml(xml, &error);

        if (!info)
                g_error("%s:\n%s", error->message, xml);
        return info;
}

static GDBusNodeInfo *read_document(const char *interface) {
        g_autofree char *name = g_strconcat(interface, ".xml", NULL);
        g_autofree char *path = g_build_filename(g_getenv("DAXBROKER_PROTOCOL"), name, NULL), *text = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return parse(text);
}

static int64_t do_introspect(UserCall *call) {
        sd_bus_message *m = NULL;
        const char *xml;

        g_assert_cmpint(sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, call->data,
                                           "org.freedesktop.DBus.Introspectable", "Introspect", NULL, &m,
                                           NULL),
                        >=, 0);
        g_assert_cmpint(sd_bus_message_read(m, "s", &xml), >, 0);
        g_assert_cmpuint(strlen(xml), <, USER_DATA_MAX);
        call->answer_size = strlen(xml) + 1;
        memcpy(call->answer, xml, call->answer_size);
        sd_bus_message_unref(m);
        return 0;
}

static GDBusNodeInfo *introspect(User *user, const char *path) {
        g_autofree char *xml = g_malloc(USER_DATA_MAX);

        user_call(user, do_introspect, path, strlen(path) + 1, xml, USER_DATA_MAX);
        return parse(xml);
}

/* ---- Interfaces as text, a line for each fact ------------------------------------------------------------------ */

static void describe_arguments(GString *line, const char *direction, GDBusArgInfo **arguments) {
        for (; arguments && *arguments; arguments++)
                g_string_append_printf(line, " %s %s %s", direction, (*arguments)->signature,
                                       (*arguments)->name);
}

static void describe_annotations(GString *line, GDBusAnnotationInfo **annotations) {
        for (; annotations && *annotations; annotations++)
                if (!g_str_equal((*annotations)->key, EMITS_CHANGED))
                        g_string_append_printf(line, " @%s=%s", (*annotations)->key, (*annotations)->value);
}

static char *describe_method(const GDBusMethodInfo *method) {
        GString *line = g_string_new(NULL);

        g_string_printf(line, "method %s", method->name);
        describe_arguments(line, "in", method->in_args);
        describe_arguments(line, "out", method->out_args);
        describe_annotations(line, method->annotations);
        return g_string_free(line, FALSE);
}

static char *describe_property(const GDBusPropertyInfo *property) {
        const char *emits = g_dbus_annotation_info_lookup(property->annotations, EMITS_CHANGED);
        GString *line = g_string_new(NULL);

        g_string_printf(line, "property %s %s %s%s emits %s", property->signature, property->name,
                        property->flags & G_DBUS_PROPERTY_INFO_FLAGS_READABLE ? "read" : "",
                        property->flags & G_DBUS_PROPERTY_INFO_FLAGS_WRITABLE ? "write" : "",
                        emits ? emits : "true");
        describe_annotations(line, property->annotations);
        return g_string_free(line, FALSE);
}

static GPtrArray *describe(const GDBusInterfaceInfo *interface) {
        GPtrArray *lines = g_ptr_array_new_with_free_func(g_free);

        for (GDBusMethodInfo **method = interface->methods; method && *method; method++)
                g_ptr_array_add(lines, describe_method(*method));
        for (GDBusPropertyInfo **property = interface->properties; property && *property; property++)
                g_ptr_array_add(lines, describe_property(*property));
        for (GDBusSignalInfo **signal = interface->signals; signal && *signal; signal++)
                g_ptr_array_add(lines, g_strdup_printf("signal %s", (*signal)->name));
        return lines;
}

/* How many of the first are missing from the second; says which. */
static unsigned count_missing(GPtrArray *lines, GPtrArray *others, const char *where) {
        unsigned n = 0;

        for (unsigned i = 0; i < lines->len; i++)
                if (!g_ptr_array_find_with_equal_func(others, lines->pdata[i], g_str_equal, NULL)) {
                        g_printerr("# not %s: %s\n", where, (const char *) lines->pdata[i]);
                        n++;
                }
        return n;
}

static void assert_as_documented(User *user, const char *path, const char *interface) {
        g_autoptr(GDBusNodeInfo) document = read_document(interface), object = introspect(user, path);
        GDBusInterfaceInfo *documented = g_dbus_node_info_lookup_interface(document, interface);
        GDBusInterfaceInfo *running = g_dbus_node_info_lookup_interface(object, interface);
        g_autoptr(GPtrArray) expected = NULL, found = NULL;
        unsigned n;

        g_assert_nonnull(documented);
        g_assert_nonnull(running);
        g_assert_null(document->interfaces[1]);
        for (GDBusInterfaceInfo **other = object->interfaces; *other; other++)
                g_assert_true(*other == running || !g_str_has_prefix((*other)->name, DAXBROKER_BUS_NAME));

        expected = describe(documented);
        found = describe(running);
        g_assert_cmpuint(expected->len, >, 0);
        n = count_missing(expected, found, "in the broker, but documented");
        n += count_missing(found, expected, "documented, but in the broker");
        g_assert_cmpuint(n, ==, 0);
}

static void test_documents(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, MIB, "name=example mode=0604"), grant = user_reserve(scene->alice, MIB, NULL);
        g_autofree char *region = provider_text(DAXBROKER_REGION_PATH "/dram");

        (void) unused;
        if (!provider_is_medium())
                assert_as_documented(scene->alice, grant.object, DAXBROKER_GRANT_INTERFACE);
        assert_as_documented(scene->bob, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE);
        assert_as_documented(scene->bob, region, DAXBROKER_REGION_INTERFACE);
        assert_as_documented(scene->bob, DAXBROKER_REGION_PATH "/broken", DAXBROKER_REGION_INTERFACE);
        assert_as_documented(scene->bob, reply.object, DAXBROKER_ALLOCATION_INTERFACE);
}

/* The documents have a paragraph for each member, as "Name:". */
static void test_documented_in_words(void) {
        static const char *const interfaces[] = { DAXBROKER_MANAGER_INTERFACE, DAXBROKER_REGION_INTERFACE,
                                                  DAXBROKER_ALLOCATION_INTERFACE, DAXBROKER_GRANT_INTERFACE };

        for (size_t i = 0; i < G_N_ELEMENTS(interfaces); i++) {
                g_autofree char *file = g_strconcat(interfaces[i], ".xml", NULL);
                g_autofree char *path = g_build_filename(g_getenv("DAXBROKER_PROTOCOL"), file, NULL),
                                *text = NULL;
                g_autoptr(GDBusNodeInfo) document = read_document(interfaces[i]);
                const GDBusInterfaceInfo *interface = document->interfaces[0];

                g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
                for (GDBusMethodInfo **method = interface->methods; method && *method; method++) {
                        g_autofree char *heading = g_strdup_printf("%s:\n", (*method)->name);

                        assert_says(text, heading);
                        for (GDBusArgInfo **argument = (*method)->in_args; argument && *argument;
                             argument++) {
                                g_autofree char *mention = g_strdup_printf("@%s:", (*argument)->name);

                                assert_says(text, mention);
                        }
                }
                for (GDBusPropertyInfo **property = interface->properties; property && *property;
                     property++) {
                        g_autoptr(GRegex) regex = NULL;
                        g_autofree char *heading = g_strdup_printf("(<!--|\n) *%s: ", (*property)->name);

                        regex = g_regex_new(heading, 0, 0, NULL);
                        if (!g_regex_match(regex, text, 0, NULL))
                                g_error("%s says nothing about %s", file, (*property)->name);
                }
        }
}

/* The objects there are, and that root has the object manager. */
static void test_tree(Scene *scene, gconstpointer unused) {
        g_autoptr(GDBusNodeInfo) root = introspect(scene->bob, DAXBROKER_ROOT_PATH);
        g_autoptr(GDBusNodeInfo) regions = introspect(scene->bob, DAXBROKER_REGION_PATH);
        g_autofree char *region = provider_text(DAXBROKER_REGION_PATH "/dram");
        unsigned n = 0;

        (void) unused;
        g_assert_nonnull(g_dbus_node_info_lookup_interface(root, "org.freedesktop.DBus.ObjectManager"));
        g_assert_nonnull(g_dbus_node_info_lookup_interface(root, "org.freedesktop.DBus.Properties"));
        for (GDBusNodeInfo **node = regions->nodes; node && *node; node++) {
                const char *path = (*node)->path;

                g_assert_true(g_str_equal(path, strrchr(region, '/') + 1) || g_str_equal(path, "broken") ||
                              (provider_regions(0) > 0 && g_str_equal(path, "dram")));
                n++;
        }
        g_assert_cmpuint(n, ==, provider_regions(2));
}

/* ---- Everybody may call everything, and gets an answer from the table ------------------------------------------ */

typedef struct Call {
        char path[128], interface[64], member[32], signature[32];
        bool extreme;
} Call;

static void append_extreme(sd_bus_message *m, char type, bool extreme) {
        const char *text = extreme ? "\xc3\xa9\xc3\xa9/%n%s" : "";
        uint64_t number = extreme ? UINT64_MAX : 0;

        g_assert_cmpint(sd_bus_message_append_basic(m, type, type == 's' ? (const void *) text : &number),
                        >=, 0);
}

static int64_t do_call(UserCall *user_call) {
        const Call *call = user_call->data;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL;
        int r;

        g_assert_cmpint(sd_bus_message_new_method_call(user_bus(), &m, DAXBROKER_BUS_NAME, call->path,
                                                       call->interface, call->member),
                        >=, 0);
        for (const char *c = call->signature; *c != '\0'; c++) {
                if (*c != 'a') {
                        append_extreme(m, *c, call->extreme);
                        continue;
                }
                g_assert_true(g_str_has_prefix(c, "a{sv}"));
                r = call->extreme ? sd_bus_message_append(m, "a{sv}", 1, "x", "s", "x")
                                  : sd_bus_message_append(m, "a{sv}", 0);
                g_assert_cmpint(r, >=, 0);
                c += strlen("a{sv}") - 1;
        }

        r = sd_bus_call(user_bus(), m, 0, &error, NULL);
        g_strlcpy(user_call->answer, r < 0 ? error.name : "", 128);
        user_call->answer_size = 128;
        sd_bus_error_free(&error);
        sd_bus_message_unref(m);
        return 0;
}

static void call_method(User *user, const char *path, const char *interface, const GDBusMethodInfo *method,
                        bool extreme) {
        Call call = { .extreme = extreme };
        char error[128];

        g_strlcpy(call.path, path, sizeof(call.path));
        g_strlcpy(call.interface, interface, sizeof(call.interface));
        g_strlcpy(call.member, method->name, sizeof(call.member));
        for (GDBusArgInfo **argument = method->in_args; argument && *argument; argument++)
                g_strlcat(call.signature, (*argument)->signature, sizeof(call.signature));

        user_call(user, do_call, &call, sizeof(call), error, sizeof(error));
        g_test_message("%s: %s%s: %s", user->name, method->name, extreme ? " with extreme arguments" : "",
                       error[0] != '\0' ? error : "went well");
        if (error[0] != '\0' && refusal_from_bus_name(error) == REFUSAL_NONE)
                g_error("%s is not in the table", error);
}

static void call_all(User *user, const char *path, const char *interface) {
        g_autoptr(GDBusNodeInfo) document = read_document(interface);

        for (GDBusMethodInfo **method = document->interfaces[0]->methods; method && *method; method++) {
                call_method(user, path, interface, *method, false);
                call_method(user, path, interface, *method, true);
        }
}

static void test_calls(Scene *scene, gconstpointer unused) {
        User *const users[] = { scene->bob, scene->alice, scene->root };
        Reply reply = user_get(scene->alice, MIB, "name=example mode=0604"), grant = user_reserve(scene->alice, MIB, NULL);

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
                call_all(users[i], DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE);
                call_all(users[i], reply.object, DAXBROKER_ALLOCATION_INTERFACE);
                call_all(users[i], DAXBROKER_ALLOCATION_PATH "/0123456789abcdef",
                         DAXBROKER_ALLOCATION_INTERFACE);
                if (!provider_is_medium())
                        call_all(users[i], grant.object, DAXBROKER_GRANT_INTERFACE);
                call_all(users[i], DAXBROKER_GRANT_PATH "/0123456789abcdef", DAXBROKER_GRANT_INTERFACE);
        }
}

/* ---- As others see it ------------------------------------------------------------------------------------------ */

static void test_busctl(Scene *scene, gconstpointer unused) {
        Reply reply = user_get(scene->alice, MIB, "name=example mode=0604");
        const char *const paths[] = { DAXBROKER_ROOT_PATH, DAXBROKER_REGION_PATH "/dram", reply.object };

        (void) unused;
        for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
                const char *argv[] = { "busctl", "introspect", DAXBROKER_BUS_NAME, paths[i], NULL };
                g_autofree char *output = NULL;

                g_assert_cmpint(user_run("bob", argv, &output), ==, 0);
                g_assert_nonnull(strstr(output, DAXBROKER_BUS_NAME "."));
        }
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        g_test_add_func("/introspection/in-words", test_documented_in_words);
        scene_add("/introspection/documents", CONFIGURATION, test_documents);
        scene_add("/introspection/tree", CONFIGURATION, test_tree);
        scene_add("/introspection/calls", CONFIGURATION, test_calls);
        scene_add("/introspection/busctl", CONFIGURATION, test_busctl);
        return g_test_run();
}
