/* SPDX-License-Identifier: MIT */

/* Lists of regions and allocations, as the service has them at one moment. */

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
                if (r <= 0)
                        return r;

                r = list_read_entry(list, message);
                if (r < 0)
                        return r;

                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
}

/* For Call.parse. */
static int list_parse(sd_bus_message *reply, const void *arguments, void *result) {
        daxbroker_list *list;
        int r;

        (void) arguments;

        list = calloc(1, sizeof(*list));
        if (!list)
                return error_set(-ENOMEM, "out of memory");

        r = list_read(list, reply);
        if (r < 0) {
                daxbroker_list_free(list);
                if (r == -ENOMEM)
                        return error_set(r, "out of memory");

                return error_set(-EPROTO, "the service's answer is not what its interface says");
        }

        *(daxbroker_list **) result = list;
        return 0;
}

int list_get(daxbroker_client *client, const char *method, daxbroker_list **ret) {
        daxbroker_list *list;
        Call call = {
                .path = DAXBROKER_ROOT_PATH,
                .interface = DAXBROKER_MANAGER_INTERFACE,
                .member = method,
                .parse = list_parse,
                .result = &list,
        };
        int r;

        r = call_run(client, &call, NULL);
        if (r < 0)
                return r;

        *ret = list;
        return 0;
}

_public_ int daxbroker_list_regions(daxbroker_client *client, daxbroker_list **ret) {
        return list_get(client, "ListRegions", ret);
}

_public_ int daxbroker_list_allocations(daxbroker_client *client, daxbroker_list **ret) {
        return list_get(client, "ListAllocations", ret);
}
