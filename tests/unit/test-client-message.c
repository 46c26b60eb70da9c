/* SPDX-License-Identifier: MIT */

/* What the client library writes into messages, and how it reads the properties that it is sent. */

#include "daxbroker.h"
#include "info.h"
#include "request.h"

#include <errno.h>
#include <glib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection that leads nowhere; messages can be made for it. */
static sd_bus *open_nowhere(void) {
        sd_bus *bus = NULL;
        int ends[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), ==, 0);
        close(ends[1]);

        g_assert_cmpint(sd_bus_new(&bus), >=, 0);
        g_assert_cmpint(sd_bus_set_fd(bus, ends[0], ends[0]), >=, 0);
        (void) sd_bus_start(bus);
        return bus;
}

static sd_bus_message *new_message(sd_bus *bus) {
        sd_bus_message *message = NULL;

        g_assert_cmpint(sd_bus_message_new_method_call(bus, &message, "a.b", "/", "a.b", "C"), >=, 0);
        return message;
}

static void finish_message(sd_bus_message *message) {
        g_assert_cmpint(sd_bus_message_seal(message, 1, 0), >=, 0);
        g_assert_cmpint(sd_bus_message_rewind(message, 1), >=, 0);
}

/* "name=type" of each option, in order. */
static char *describe(const daxbroker_request *request, uint64_t *ret_size, uint64_t *ret_alignment) {
        GString *text = g_string_new("");
        sd_bus *bus = open_nowhere();
        sd_bus_message *message = new_message(bus);
        const char *name, *type;

        g_assert_cmpint(request_append(message, request), >=, 0);
        finish_message(message);
        g_assert_cmpstr(sd_bus_message_get_signature(message, 1), ==, "tta{sv}");
        g_assert_cmpint(sd_bus_message_read(message, "tt", ret_size, ret_alignment), >, 0);
        g_assert_cmpint(sd_bus_message_enter_container(message, 'a', "{sv}"), >, 0);
        while (sd_bus_message_enter_container(message, 'e', "sv") > 0) {
                g_assert_cmpint(sd_bus_message_read(message, "s", &name), >, 0);
                g_assert_cmpint(sd_bus_message_peek_type(message, NULL, &type), >, 0);
                g_string_append_printf(text, "%s=%s ", name, type);
                g_assert_cmpint(sd_bus_message_skip(message, "v"), >=, 0);
                g_assert_cmpint(sd_bus_message_exit_container(message), >=, 0);
        }

        sd_bus_message_unref(message);
        sd_bus_close_unref(bus);
        return g_string_free(text, FALSE);
}

static void assert_described(const daxbroker_request *request, const char *expected) {
        uint64_t size, alignment;
        g_autofree char *text = describe(request, &size, &alignment);

        g_assert_cmpstr(text, ==, expected);
        g_assert_cmpuint(size, ==, UINT64_MAX);
        g_assert_cmpuint(alignment, ==, 3);
}

static void test_request(void) {
        daxbroker_request *request, *copy;

        g_assert_cmpint(daxbroker_request_new(UINT64_MAX, 3, &request), ==, 0);
        assert_described(request, "");

        daxbroker_request_set_mode(request, 0644);
        assert_described(request, "mode=u ");
        daxbroker_request_set_group(request, 5);
        assert_described(request, "mode=u group=u ");

        daxbroker_request_set_region(request, "r");
        daxbroker_request_set_name(request, "n");
        daxbroker_request_set_numa_node(request, 0);
        daxbroker_request_set_page_size(request, 4096);
        daxbroker_request_set_prefer(request, "latency");
        daxbroker_request_set_contiguous(request, 1);
        daxbroker_request_set_prefault(request, 1);
        daxbroker_request_set_persistent(request, 7);
        daxbroker_request_set_interactive(request, 1);

        g_assert_cmpint(request_copy(request, &copy), ==, 0);
        daxbroker_request_free(request);
        assert_described(copy, "region=s name=s mode=u group=u numa-node=u page-size=t prefer=s contiguous=b "
                         "prefault=b persistent=b ");
        g_assert_true(copy->interactive);

        daxbroker_request_set_region(copy, NULL);
        daxbroker_request_set_prefer(copy, NULL);
        daxbroker_request_set_contiguous(copy, 0);
        daxbroker_request_set_prefault(copy, 0);
        assert_described(copy, "name=s mode=u group=u numa-node=u page-size=t persistent=b ");
        daxbroker_request_free(copy);
}

/* What has a name has a group. */
static void test_request_group(void) {
        daxbroker_request *request;

        g_assert_cmpint(daxbroker_request_new(UINT64_MAX, 3, &request), ==, 0);
        daxbroker_request_set_name(request, "n");
        assert_described(request, "name=s group=u ");
        daxbroker_request_set_mode(request, 0600);
        assert_described(request, "name=s mode=u group=u ");
        daxbroker_request_free(request);
}

static void test_bad_text(void) {
        sd_bus *bus = open_nowhere();
        sd_bus_message *message = new_message(bus);
        daxbroker_request *request;

        g_assert_cmpint(daxbroker_request_new(1, 1, &request), ==, 0);
        g_assert_cmpint(daxbroker_request_set_name(request, "\xff\xfe"), ==, 0);
        g_assert_cmpint(request_append(message, request), ==, -EINVAL);

        daxbroker_request_free(request);
        sd_bus_message_unref(message);
        sd_bus_close_unref(bus);
}

static daxbroker_info *read_properties(sd_bus_message *message) {
        daxbroker_info *info = NULL;

        finish_message(message);
        g_assert_cmpint(info_new("/a", &info), ==, 0);
        g_assert_cmpint(info_add_message(info, message), >=, 0);
        return info;
}

static void assert_string(const daxbroker_info *info, const char *name, const char *expected) {
        const char *value = NULL;

        g_assert_cmpint(daxbroker_info_get_string(info, name, &value), ==, 0);
        g_assert_cmpstr(value, ==, expected);
}

static void assert_number(const daxbroker_info *info, const char *name, int64_t expected) {
        uint64_t positive = 77;
        int64_t value = 77;

        g_assert_cmpint(daxbroker_info_get_int64(info, name, &value), ==, 0);
        g_assert_cmpint(value, ==, expected);

        if (expected >= 0) {
                g_assert_cmpint(daxbroker_info_get_uint64(info, name, &positive), ==, 0);
                g_assert_cmpuint(positive, ==, (uint64_t) expected);
        } else
                g_assert_cmpint(daxbroker_info_get_uint64(info, name, &positive), ==, -EINVAL);
}

static void test_properties(void) {
        sd_bus *bus = open_nowhere();
        sd_bus_message *message = new_message(bus);
        daxbroker_info *info;
        const char *text;
        int64_t number;

        g_assert_cmpint(sd_bus_message_append(
                                message, "a{sv}", 16, "Ranges", "a(tt)", 2, UINT64_C(0), UINT64_C(4096),
                                UINT64_C(8192), UINT64_MAX, "Nowhere", "a(tt)", 0, "String", "s", "hi", "Object", "o",
                                "/x", "Byte", "y", 200, "True", "b", 1, "Minus", "i", -1, "Unsigned", "u", UINT32_MAX,
                                "Big", "t", UINT64_MAX, "Small", "n", -7, "Holder", "(su)", "x.service", 5, "Alignments",
                                "at", 2, UINT64_C(4096), UINT64_C(2097152), "None", "at", 0, "Strange",
                                "a(sa{sv})", 0, "Double", "d", 1.5, "String", "s", "again"),
                        >=, 0);
        info = read_properties(message);

        g_assert_cmpstr(daxbroker_info_get_object(info), ==, "/a");
        assert_string(info, "String", "hi");
        assert_string(info, "Object", "/x");
        assert_string(info, "HolderUnit", "x.service");
        assert_string(info, "Alignments", "4096 2097152");
        assert_string(info, "None", "");
        assert_string(info, "Ranges", "0+4096 8192+18446744073709551615");
        assert_string(info, "Nowhere", "");
        assert_number(info, "HolderPid", 5);
        assert_number(info, "Byte", 200);
        assert_number(info, "True", 1);
        assert_number(info, "Minus", -1);
        assert_number(info, "Small", -7);
        assert_number(info, "Unsigned", UINT32_MAX);

        g_assert_cmpint(daxbroker_info_get_int64(info, "Big", &number), ==, -EINVAL);
        g_assert_cmpint(daxbroker_info_get_int64(info, "String", &number), ==, -EINVAL);
        g_assert_cmpint(daxbroker_info_get_string(info, "Byte", &text), ==, -EINVAL);
        g_assert_cmpint(daxbroker_info_get_string(info, "Strange", &text), ==, -ENOENT);
        g_assert_cmpint(daxbroker_info_get_string(info, "Double", &text), ==, -ENOENT);
        g_assert_cmpint(daxbroker_info_get_string(info, "Holder", &text), ==, -ENOENT);
        g_assert_cmpint(daxbroker_info_get_string(info, "", &text), ==, -ENOENT);

        g_assert_null(daxbroker_info_free(info));
        g_assert_null(daxbroker_info_free(NULL));
        sd_bus_message_unref(message);
        sd_bus_close_unref(bus);
}

static void test_many_properties(void) {
        daxbroker_info *info;

        g_assert_cmpint(info_new("/a", &info), ==, 0);
        for (unsigned i = 0; i < 100; i++) {
                g_autofree char *name = g_strdup_printf("P%u", i);

                g_assert_cmpint(info_add_uint64(info, name, i), ==, 1);
                g_assert_cmpint(info_add_string(info, name, "again"), ==, 0);
        }

        assert_number(info, "P0", 0);
        assert_number(info, "P99", 99);
        daxbroker_info_free(info);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/client/message/request", test_request);
        g_test_add_func("/client/message/request/group", test_request_group);
        g_test_add_func("/client/message/bad-text", test_bad_text);
        g_test_add_func("/client/message/properties", test_properties);
        g_test_add_func("/client/message/many-properties", test_many_properties);
        return g_test_run();
}
