/* SPDX-License-Identifier: MIT */

/* Each function comes twice: do_...() runs in the user's process, user_...() calls it there. Requests and replies are plain
 * structures, which both sides share because one is a fork of the other. */

#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "names.h"
#include "provider.h"
#include "world.h"

#define MANAGER DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE

/* ---- Calls ---------------------------------------------------------------------------------------------------- */

typedef enum Method {
        METHOD_ALLOCATE,
        METHOD_OPEN,
        METHOD_OPEN_OBJECT,
        METHOD_FREE,
        METHOD_REVOKE,
        METHOD_SET_MODE,
        METHOD_SET_OWNER,
        METHOD_RENAME,
        METHOD_RESIZE,
        METHOD_CHECK,
        METHOD_GET_ALLOCATION,
        METHOD_RELOAD,
        METHOD_RESERVE,
        METHOD_RELEASE,
} Method;

typedef struct Request {
        Method method;
        uint64_t size, alignment;
        uint32_t mode, uid;
        bool interactive;
        char name[512];
        char new_name[512];
        char options[512];
} Request;

static void copy(char *to, size_t size, const char *from) {
        g_assert_cmpuint(g_strlcpy(to, from ? from : "", size), <, size);
}

static char option_type(const char *name) {
        static const struct {
                const char *name;
                char type;
        } known[] = {
                { "mode", 'u' }, { "group", 'u' }, { "numa-node", 'u' }, { "page-size", 't' },
                { "grant", 'o' }, { "alignment", 't' },
                { "prefault", 'b' }, { "persistent", 'b' }, { "read-only", 'b' },
                { "contiguous", 'b' }, { "reserve", 'b' }, { "despite-references", 'b' },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
                if (g_str_equal(known[i].name, name))
                        return known[i].type;
        return 's';
}

static void append_variant(sd_bus_message *message, char type, const char *value) {
        const char signature[] = { type, '\0' };
        uint64_t number = g_ascii_strtoull(value, NULL, 0);
        int r = -EINVAL;

        switch (type) {
        case 's':
        case 'o':
                r = sd_bus_message_append(message, "v", signature, value);
                break;
        case 'u':
        case 'b':
                r = sd_bus_message_append(message, "v", signature, (uint32_t) number);
                break;
        case 'i':
                r = sd_bus_message_append(message, "v", signature, (int32_t) number);
                break;
        case 't':
        case 'x':
                r = sd_bus_message_append(message, "v", signature, number);
                break;
        }
        g_assert_cmpint(r, >=, 0);
}

static void append_options(sd_bus_message *message, const char *options) {
        g_auto(GStrv) words = g_strsplit_set(options, " ", -1);

        g_assert_cmpint(sd_bus_message_open_container(message, 'a', "{sv}"), >=, 0);
        for (char **word = words; *word; word++) {
                g_auto(GStrv) parts = g_strsplit(*word, "=", 2);
                char *name = parts[0], *slash, type;

                if (!name || name[0] == '\0')
                        continue;
                g_assert_nonnull(parts[1]);
                slash = strrchr(name, '/');
                type = slash ? slash[1] : option_type(name);
                if (slash)
                        *slash = '\0';

                g_assert_cmpint(sd_bus_message_open_container(message, 'e', "sv"), >=, 0);
                g_assert_cmpint(sd_bus_message_append(message, "s", name), >=, 0);
                append_variant(message, type, g_str_equal(name, "region") ? provider_region(parts[1]) : parts[1]);
                g_assert_cmpint(sd_bus_message_close_container(message), >=, 0);
        }
        g_assert_cmpint(sd_bus_message_close_container(message), >=, 0);
}

static sd_bus_message *build(sd_bus *bus, const Request *request) {
        static const char *const members[] = {
                [METHOD_ALLOCATE] = "Allocate", [METHOD_OPEN] = "Open", [METHOD_OPEN_OBJECT] = "Open",
                [METHOD_FREE] = "Free", [METHOD_REVOKE] = "Revoke", [METHOD_SET_MODE] = "SetMode",
                [METHOD_SET_OWNER] = "SetOwner", [METHOD_RENAME] = "Rename", [METHOD_RESIZE] = "Resize",
                [METHOD_CHECK] = "Check", [METHOD_GET_ALLOCATION] = "GetAllocation", [METHOD_RELOAD] = "Reload",
                [METHOD_RESERVE] = "Reserve", [METHOD_RELEASE] = "Release",
        };
        bool of_allocation = request->method >= METHOD_OPEN_OBJECT && request->method <= METHOD_RESIZE;
        bool of_grant = request->method == METHOD_RELEASE;
        sd_bus_message *message = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &message, DAXBROKER_BUS_NAME,
                                           of_allocation || of_grant ? request->name : DAXBROKER_ROOT_PATH,
                                           of_allocation ? DAXBROKER_ALLOCATION_INTERFACE
                                           : of_grant    ? DAXBROKER_GRANT_INTERFACE
                                                         : DAXBROKER_MANAGER_INTERFACE,
                                           members[request->method]);
        g_assert_cmpint(r, >=, 0);
        r = sd_bus_message_set_allow_interactive_authorization(message, request->interactive);
        g_assert_cmpint(r, >=, 0);

        switch (request->method) {
        case METHOD_ALLOCATE:
        case METHOD_CHECK:
                r = sd_bus_message_append(message, "tt", request->size, request->alignment);
                break;
        case METHOD_OPEN:
        case METHOD_GET_ALLOCATION:
                r = sd_bus_message_append(message, "s", request->name);
                break;
        case METHOD_SET_MODE:
                r = sd_bus_message_append(message, "u", request->mode);
                break;
        case METHOD_SET_OWNER:
                r = sd_bus_message_append(message, "u", request->uid);
                break;
        case METHOD_RENAME:
                r = sd_bus_message_append(message, "s", request->new_name);
                break;
        case METHOD_RESIZE:
        case METHOD_RESERVE:
                r = sd_bus_message_append(message, "t", request->size);
                break;
        case METHOD_OPEN_OBJECT:
        case METHOD_FREE:
        case METHOD_REVOKE:
        case METHOD_RELOAD:
        case METHOD_RELEASE:
                break;
        }
        g_assert_cmpint(r, >=, 0);

        if (request->method == METHOD_ALLOCATE || request->method == METHOD_OPEN || request->method == METHOD_CHECK ||
            request->method == METHOD_OPEN_OBJECT || request->method == METHOD_REVOKE ||
            request->method == METHOD_SET_OWNER || request->method == METHOD_RENAME || request->method == METHOD_RESIZE ||
            request->method == METHOD_RESERVE)
                append_options(message, request->options);
        return message;
}

static void read_grant(sd_bus_message *message, Reply *reply) {
        const char *object;
        int memory, lease;

        g_assert_cmpint(sd_bus_message_read(message, "ohhtt", &object, &memory, &lease, &reply->offset, &reply->length),
                        >, 0);
        copy(reply->object, sizeof(reply->object), object);

        /* the message closes its own */
        memory = fcntl(memory, F_DUPFD_CLOEXEC, 3);
        lease = fcntl(lease, F_DUPFD_CLOEXEC, 3);
        g_assert_cmpint(memory, >=, 0);
        g_assert_cmpint(lease, >=, 0);
        reply->slot = slot_add_consume_fds(memory, lease, reply->offset, reply->length);
}

static void read_reserved(sd_bus_message *message, Reply *reply) {
        const char *object;
        int memory, lease;

        g_assert_cmpint(sd_bus_message_read(message, "oht", &object, &lease, &reply->length), >, 0);
        copy(reply->object, sizeof(reply->object), object);
        memory = open("/dev/null", O_RDONLY | O_CLOEXEC); /* a slot has two that can be given away */
        lease = fcntl(lease, F_DUPFD_CLOEXEC, 3);
        g_assert_cmpint(memory, >=, 0);
        g_assert_cmpint(lease, >=, 0);
        reply->slot = slot_add_consume_fds(memory, lease, 0, reply->length);
}

static void read_reply(Method method, sd_bus_message *message, Reply *reply) {
        const char *one, *two;
        int allowed;

        switch (method) {
        case METHOD_ALLOCATE:
        case METHOD_OPEN:
        case METHOD_OPEN_OBJECT:
                read_grant(message, reply);
                break;
        case METHOD_RESERVE:
                read_reserved(message, reply);
                break;
        case METHOD_CHECK:
                g_assert_cmpint(sd_bus_message_read(message, "bsst", &allowed, &one, &two, &reply->length), >, 0);
                reply->allowed = allowed;
                copy(reply->error, sizeof(reply->error), one);
                copy(reply->message, sizeof(reply->message), two);
                break;
        case METHOD_GET_ALLOCATION:
                g_assert_cmpint(sd_bus_message_read(message, "o", &one), >, 0);
                copy(reply->object, sizeof(reply->object), one);
                break;
        case METHOD_RESIZE:
                g_assert_cmpint(sd_bus_message_read(message, "t", &reply->length), >, 0);
                break;
        case METHOD_FREE:
        case METHOD_REVOKE:
        case METHOD_SET_MODE:
        case METHOD_SET_OWNER:
        case METHOD_RENAME:
        case METHOD_RELOAD:
        case METHOD_RELEASE:
                g_assert_cmpint(sd_bus_message_at_end(message, true), >, 0);
                break;
        }
}

static int64_t do_request(UserCall *call) {
        const Request *request = call->data;
        Reply *reply = call->answer;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *message, *answer = NULL;
        sd_bus *bus = user_bus();
        int r;

        *reply = (Reply) { .slot = -1 };
        call->answer_size = sizeof(*reply);

        message = build(bus, request);
        r = sd_bus_call(bus, message, 0, &error, &answer);
        if (r < 0) {
                copy(reply->error, sizeof(reply->error), error.name ? error.name : g_strerror(-r));
                (void) g_strlcpy(reply->message, error.message ? error.message : "", sizeof(reply->message));
        } else
                read_reply(request->method, answer, reply);

        sd_bus_error_free(&error);
        sd_bus_message_unref(answer);
        sd_bus_message_unref(message);
        return 0;
}

static void begin(User *user, const Request *request) {
        user_begin(user, do_request, request, sizeof(*request), NULL, 0);
}

Reply user_end_reply(User *user) {
        Reply reply;

        user_end(user, &reply, sizeof(reply), NULL, NULL);
        return reply;
}

static Reply request_send(User *user, const Request *request) {
        begin(user, request);
        return user_end_reply(user);
}

static Request request_new(Method method, const char *name, const char *options) {
        Request request = { .method = method };

        copy(request.name, sizeof(request.name), name);
        copy(request.options, sizeof(request.options), options);
        return request;
}

static Request request_allocate(Method method, uint64_t size, uint64_t alignment, const char *options) {
        Request request = request_new(method, NULL, options);

        request.size = size;
        request.alignment = alignment;
        return request;
}

void user_begin_allocate(User *user, uint64_t size, uint64_t alignment, const char *options) {
        Request request = request_allocate(METHOD_ALLOCATE, size, alignment, options);

        begin(user, &request);
}

void user_begin_interactive_allocate(User *user, uint64_t size, uint64_t alignment, const char *options) {
        Request request = request_allocate(METHOD_ALLOCATE, size, alignment, options);

        request.interactive = true;
        begin(user, &request);
}

Reply user_allocate(User *user, uint64_t size, uint64_t alignment, const char *options) {
        user_begin_allocate(user, size, alignment, options);
        return user_end_reply(user);
}

Reply user_check(User *user, uint64_t size, uint64_t alignment, const char *options) {
        Request request = request_allocate(METHOD_CHECK, size, alignment, options);

        return request_send(user, &request);
}

Reply user_open(User *user, const char *name, const char *options) {
        Request request = request_new(METHOD_OPEN, name, options);

        return request_send(user, &request);
}

void user_begin_open(User *user, const char *name, const char *options) {
        Request request = request_new(METHOD_OPEN, name, options);

        begin(user, &request);
}

void user_begin_open_object(User *user, const char *object, const char *options) {
        Request request = request_new(METHOD_OPEN_OBJECT, object, options);

        begin(user, &request);
}

Reply user_open_object(User *user, const char *object, const char *options) {
        user_begin_open_object(user, object, options);
        return user_end_reply(user);
}

void user_begin_release(User *user, const char *object) {
        Request request = request_new(METHOD_FREE, object, NULL);

        begin(user, &request);
}

Reply user_release(User *user, const char *object) {
        user_begin_release(user, object);
        return user_end_reply(user);
}

Reply user_revoke(User *user, const char *object, const char *options) {
        Request request = request_new(METHOD_REVOKE, object, options);

        return request_send(user, &request);
}

Reply user_set_mode(User *user, const char *object, uint32_t mode) {
        Request request = request_new(METHOD_SET_MODE, object, NULL);

        request.mode = mode;
        return request_send(user, &request);
}

Reply user_set_owner(User *user, const char *object, uint32_t uid, const char *options) {
        Request request = request_new(METHOD_SET_OWNER, object, options);

        request.uid = uid;
        return request_send(user, &request);
}

void user_begin_rename(User *user, const char *object, const char *name) {
        Request request = request_new(METHOD_RENAME, object, NULL);

        copy(request.new_name, sizeof(request.new_name), name);
        begin(user, &request);
}

Reply user_rename(User *user, const char *object, const char *name) {
        user_begin_rename(user, object, name);
        return user_end_reply(user);
}

Reply user_resize(User *user, const char *object, uint64_t size) {
        Request request = request_new(METHOD_RESIZE, object, NULL);

        request.size = size;
        return request_send(user, &request);
}

void user_begin_reserve(User *user, uint64_t size, const char *options) {
        Request request = request_new(METHOD_RESERVE, NULL, options);

        request.size = size;
        begin(user, &request);
}

Reply user_reserve(User *user, uint64_t size, const char *options) {
        user_begin_reserve(user, size, options);
        return user_end_reply(user);
}

Reply user_release_grant(User *user, const char *object) {
        Request request = request_new(METHOD_RELEASE, object, NULL);

        return request_send(user, &request);
}

Reply user_get_allocation(User *user, const char *name) {
        Request request = request_new(METHOD_GET_ALLOCATION, name, NULL);

        return request_send(user, &request);
}

Reply user_reload(User *user) {
        Request request = request_new(METHOD_RELOAD, NULL, NULL);

        return request_send(user, &request);
}

void reply_assert_error(Reply reply, const char *name, const char *file, int line) {
        g_autofree char *full = name[0] == '\0' ? g_strdup("") : g_strdup_printf(DAXBROKER_BUS_NAME ".Error.%s", name);

        if (!g_str_equal(reply.error, full))
                g_error("%s:%d: expected \"%s\", got \"%s\" (%s)", file, line, full, reply.error, reply.message);
}

static int compare_lines(const void *a, const void *b) {
        const char *const *x = a, *const *y = b;

        return strcmp(*x, *y);
}

/* data is the method. */
static int64_t do_list(UserCall *call) {
        g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
        g_autofree char *text = NULL;
        sd_bus_message *reply = NULL;
        const char *name, *object;

        g_assert_cmpint(sd_bus_call_method(user_bus(), MANAGER, call->data, NULL, &reply, NULL), >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(soa{sv})"), >, 0);
        while (sd_bus_message_enter_container(reply, 'r', "soa{sv}") > 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "so", &name, &object), >, 0);
                g_ptr_array_add(lines, g_strdup_printf("%s %s", name, object));
                g_assert_cmpint(sd_bus_message_skip(reply, "a{sv}"), >, 0);
                g_assert_cmpint(sd_bus_message_exit_container(reply), >=, 0);
        }
        sd_bus_message_unref(reply);

        g_ptr_array_sort(lines, compare_lines);
        g_ptr_array_add(lines, NULL);
        text = g_strjoinv("\n", (char **) lines->pdata);
        copy(call->answer, USER_DATA_MAX, text);
        call->answer_size = strlen(text) + 1;
        return 0;
}

static char *list(User *user, const char *method) {
        char *text = g_malloc(USER_DATA_MAX);

        user_call(user, do_list, method, strlen(method) + 1, text, USER_DATA_MAX);
        return text;
}

char *user_list(User *user) {
        return list(user, "ListAllocations");
}

char *user_list_grants(User *user) {
        return list(user, "ListGrants");
}

/* Length of one of ListAllocations, whose properties come next. */
static uint64_t read_length(sd_bus_message *reply) {
        uint64_t length = 0;
        const char *key;

        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "{sv}"), >, 0);
        while (sd_bus_message_enter_container(reply, 'e', "sv") > 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "s", &key), >, 0);
                if (g_str_equal(key, "Length"))
                        g_assert_cmpint(sd_bus_message_read(reply, "v", "t", &length), >, 0);
                else
                        g_assert_cmpint(sd_bus_message_skip(reply, "v"), >, 0);
                g_assert_cmpint(sd_bus_message_exit_container(reply), >=, 0);
        }
        g_assert_cmpint(sd_bus_message_exit_container(reply), >=, 0);
        return length;
}

typedef struct Sum {
        uint64_t bytes;
        unsigned n;
} Sum;

static int64_t do_sum(UserCall *call) {
        Sum *sum = call->answer;
        sd_bus_message *reply = NULL;

        *sum = (Sum) {};
        g_assert_cmpint(sd_bus_call_method(user_bus(), MANAGER, "ListAllocations", NULL, &reply, NULL), >=, 0);
        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(soa{sv})"), >, 0);
        while (sd_bus_message_enter_container(reply, 'r', "soa{sv}") > 0) {
                g_assert_cmpint(sd_bus_message_skip(reply, "so"), >, 0);
                sum->bytes += provider_taken(read_length(reply));
                sum->n++;
                g_assert_cmpint(sd_bus_message_exit_container(reply), >=, 0);
        }
        sd_bus_message_unref(reply);
        call->answer_size = sizeof(*sum);
        return 0;
}

uint64_t user_sum(User *user, unsigned *ret_n) {
        Sum sum;

        user_call(user, do_sum, NULL, 0, &sum, sizeof(sum));
        if (ret_n)
                *ret_n = sum.n;
        return sum.bytes;
}

/* ---- Properties ---------------------------------------------------------------------------------------------------- */

typedef struct PropertyRequest {
        char path[256];
        char interface[64];
        char property[64];
} PropertyRequest;

typedef struct PropertyReply {
        uint64_t number;
        char text[512];
        char error[128];
} PropertyReply;

static void read_variant(sd_bus_message *message, PropertyReply *reply) {
        const char *contents, *text;
        union {
                uint32_t u;
                int32_t i;
                uint64_t t;
                int b;
        } value = {};
        char type;

        g_assert_cmpint(sd_bus_message_peek_type(message, &type, &contents), >, 0);
        g_assert_cmpint(sd_bus_message_enter_container(message, 'v', contents), >, 0);
        if (strchr("so", contents[0])) {
                g_assert_cmpint(sd_bus_message_read_basic(message, contents[0], &text), >, 0);
                copy(reply->text, sizeof(reply->text), text);
                return;
        }

        g_assert_cmpint(sd_bus_message_read_basic(message, contents[0], &value), >, 0);
        reply->number = strchr("tx", contents[0]) ? value.t : contents[0] == 'i' ? (uint64_t) (int64_t) value.i : value.u;
}

static void property_get(sd_bus *bus, const PropertyRequest *request, PropertyReply *reply) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *message = NULL;
        int r;

        *reply = (PropertyReply) {};
        r = sd_bus_call_method(bus, DAXBROKER_BUS_NAME, request->path, "org.freedesktop.DBus.Properties", "Get", &error,
                               &message, "ss", request->interface, request->property);
        if (r < 0)
                copy(reply->error, sizeof(reply->error), error.name ? error.name : g_strerror(-r));
        else
                read_variant(message, reply);
        sd_bus_error_free(&error);
        sd_bus_message_unref(message);
}

static PropertyReply region_property(const char *region, const char *property) {
        PropertyRequest request = { .interface = DAXBROKER_REGION_INTERFACE };
        PropertyReply reply;
        char *path = NULL;
        sd_bus *bus = NULL;

        g_assert_cmpint(sd_bus_path_encode(DAXBROKER_REGION_PATH, provider_region(region), &path), >=, 0);
        copy(request.path, sizeof(request.path), path);
        copy(request.property, sizeof(request.property), property);
        g_assert_cmpint(world_connect(&bus), >=, 0);
        property_get(bus, &request, &reply);
        sd_bus_flush_close_unref(bus);
        free(path);

        if (reply.error[0] != '\0')
                g_error("Property %s of region %s: %s", property, region, reply.error);
        return reply;
}

uint64_t region_get(const char *region, const char *property) {
        return region_property(region, property).number;
}

char *region_get_string(const char *region, const char *property) {
        return g_strdup(region_property(region, property).text);
}

uint64_t region_wait(const char *region, const char *property, uint64_t value) {
        uint64_t seen = 0;

        (void) wait_until(20, (seen = region_get(region, property)) == value);
        return seen;
}

static int64_t do_get_property(UserCall *call) {
        PropertyReply *reply = call->answer;

        property_get(user_bus(), call->data, reply);
        call->answer_size = sizeof(*reply);
        return 0;
}

static PropertyReply object_property(User *user, const char *interface, const char *object, const char *property) {
        PropertyRequest request = {};
        PropertyReply reply;

        copy(request.interface, sizeof(request.interface), interface);
        copy(request.path, sizeof(request.path), object);
        copy(request.property, sizeof(request.property), property);
        user_call(user, do_get_property, &request, sizeof(request), &reply, sizeof(reply));
        return reply;
}

static PropertyReply allocation_property(User *user, const char *object, const char *property) {
        return object_property(user, DAXBROKER_ALLOCATION_INTERFACE, object, property);
}

uint64_t grant_get(User *user, const char *object, const char *property) {
        PropertyReply reply = object_property(user, DAXBROKER_GRANT_INTERFACE, object, property);

        if (reply.error[0] != '\0')
                g_error("Property %s of %s: %s", property, object, reply.error);
        return reply.number;
}

char *grant_get_error(User *user, const char *object, const char *property) {
        return g_strdup(object_property(user, DAXBROKER_GRANT_INTERFACE, object, property).error);
}

uint64_t allocation_get(User *user, const char *object, const char *property) {
        PropertyReply reply = allocation_property(user, object, property);

        if (reply.error[0] != '\0')
                g_error("Property %s of %s: %s", property, object, reply.error);
        return reply.number;
}

char *allocation_get_string(User *user, const char *object, const char *property) {
        PropertyReply reply = allocation_property(user, object, property);

        if (reply.error[0] != '\0')
                g_error("Property %s of %s: %s", property, object, reply.error);
        return g_strdup(reply.text);
}

static bool is_gone(User *user, const char *object) {
        g_autofree char *list = user_list(user);

        return !strstr(list, object);
}

bool allocation_wait_gone(User *user, const char *object) {
        return wait_until(20, is_gone(user, object));
}
