/* SPDX-License-Identifier: MIT */

/* Lists of regions, allocations and grants. Of the last two there may be many, so the service gives them in pages; what
 * comes or goes between two of them is in the list or is not, and nothing is in it twice. */

#include "call.h"
#include "info.h"
#include "list.h"
#include "names.h"
#include "util.h"

#include <stdlib.h>

struct daxbroker_list {
        daxbroker_info **infos;
        size_t n_infos, n_room;
};

_public_ daxbroker_list *daxbroker_list_free(daxbroker_list *list) {
        if (!list)
                return NULL;

        for (size_t i = 0; i < list->n_infos; i++)
                daxbroker_info_free(list->infos[i]);

        free(list->infos);
        free(list);
        return NULL;
}

_public_ size_t daxbroker_list_get_size(const daxbroker_list *list) {
        return list->n_infos;
}

_public_ const daxbroker_info *daxbroker_list_get(const daxbroker_list *list, size_t index) {
        return index < list->n_infos ? list->infos[index] : NULL;
}

/* Takes over the info, on success only. */
static int list_add(daxbroker_list *list, daxbroker_info *info) {
        if (list->n_infos == list->n_room) {
                size_t room = list->n_room > 0 ? 2 * list->n_room : 16;
                daxbroker_info **infos = reallocarray(list->infos, room, sizeof(*infos));

                if (!infos)
                        return -ENOMEM;

                list->infos = infos;
                list->n_room = room;
        }

        list->infos[list->n_infos++] = info;
        return 0;
}

/* One (soa{sv}), entered already. */
static int list_read_entry(daxbroker_list *list, sd_bus_message *message) {
        const char *name, *object;
        daxbroker_info *info;
        int r;

        r = sd_bus_message_read(message, "so", &name, &object);
        if (r < 0)
                return r;

        r = info_new(object, &info);
        if (r < 0)
                return r;

        r = info_add_string(info, "Name", name);
        if (r >= 0)
                r = info_add_message(info, message);
        if (r >= 0)
                r = list_add(list, info);
        if (r < 0)
                daxbroker_info_free(info);

        return r;
}

static int list_read(daxbroker_list *list, sd_bus_message *message) {
        int r;

        r = sd_bus_message_enter_container(message, 'a', "(soa{sv})");
        if (r < 0)
                return r;

        for (;;) {
                r = sd_bus_message_enter_container(message, 'r', "soa{sv}");
                if (r < 0)
                        return r;
                if (r == 0)
                        return sd_bus_message_exit_container(message);

                r = list_read_entry(list, message);
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
}

static int list_parse_failed(int r) {
        if (r == -ENOMEM)
                return error_set(r, "out of memory");

        return error_set(-EPROTO, "the service's answer is not what its interface says");
}

/* For Call.parse: adds to a list. */
static int list_parse(sd_bus_message *reply, const void *arguments, void *result) {
        int r;

        (void) arguments;

        r = list_read(result, reply);
        return r < 0 ? list_parse_failed(r) : 0;
}

/* A list that is to be gone on with. */
typedef struct Page {
        daxbroker_list *list;
        bool more;
} Page;

/* For Call.append: it goes on behind the last one that there is. */
static int page_append(sd_bus_message *message, const void *arguments) {
        const daxbroker_list *list = ((const Page *) arguments)->list;

        if (list->n_infos == 0)
                return sd_bus_message_append(message, "a{sv}", 0);

        return sd_bus_message_append(message, "a{sv}", 1, "after", "o",
                                     daxbroker_info_get_object(list->infos[list->n_infos - 1]));
}

/* For Call.parse. */
static int page_parse(sd_bus_message *reply, const void *arguments, void *result) {
        Page *page = result;
        size_t n = page->list->n_infos;
        int more = false, r;

        (void) arguments;

        r = list_read(page->list, reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "b", &more);
        if (r >= 0 && more && page->list->n_infos == n)
                r = -EPROTO; /* it would never end */
        if (r < 0)
                return list_parse_failed(r);

        page->more = more;
        return 0;
}

static int list_new(daxbroker_list **ret) {
        *ret = calloc(1, sizeof(**ret));
        return *ret ? 0 : error_set(-ENOMEM, "out of memory");
}

int list_get_paged(daxbroker_client *client, const char *method, daxbroker_list **ret) {
        Page page = { 0 };
        Call call = {
                .path = DAXBROKER_ROOT_PATH,
                .interface = DAXBROKER_MANAGER_INTERFACE,
                .member = method,
                .append = page_append,
                .arguments = &page,
                .parse = page_parse,
                .result = &page,
        };
        int r;

        r = list_new(&page.list);
        if (r < 0)
                return r;

        do
                r = call_run(client, &call, NULL);
        while (r >= 0 && page.more);
        if (r < 0) {
                daxbroker_list_free(page.list);
                return r;
        }

        *ret = page.list;
        return 0;
}

_public_ int daxbroker_list_regions(daxbroker_client *client, daxbroker_list **ret) {
        daxbroker_list *list;
        Call call = {
                .path = DAXBROKER_ROOT_PATH,
                .interface = DAXBROKER_MANAGER_INTERFACE,
                .member = "ListRegions",
                .parse = list_parse,
        };
        int r;

        r = list_new(&list);
        if (r < 0)
                return r;

        call.result = list;
        r = call_run(client, &call, NULL);
        if (r < 0) {
                daxbroker_list_free(list);
                return r;
        }

        *ret = list;
        return 0;
}

_public_ int daxbroker_list_allocations(daxbroker_client *client, daxbroker_list **ret) {
        return list_get_paged(client, "ListAllocationsPaged", ret);
}
