/* SPDX-License-Identifier: MIT */

#include "records.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "provider.h"
#include "world.h"

#define ATTRIBUTE_MAX 4096

static const char *id_of(const Reply *reply) {
        return strrchr(reply->object, '/') + 1;
}

/* Of the file that has the record, or is what it is about. */
static char *path_of(Broker *broker, const Reply *reply) {
        if (provider_is_files())
                return g_build_filename(broker->files, id_of(reply), NULL);
        return g_build_filename(provider_is_nvdimm() ? broker->state : broker->runtime, "allocations", id_of(reply), NULL);
}

char *broker_get_record(Broker *broker, const Reply *reply) {
        g_autofree char *path = path_of(broker, reply);
        char *text = NULL;

        if (provider_is_files()) {
                text = g_malloc0(ATTRIBUTE_MAX + 1);
                g_assert_cmpint(getxattr(path, RECORD_ATTRIBUTE, text, ATTRIBUTE_MAX), >, 0);
        } else
                g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return text;
}

void broker_set_record(Broker *broker, const Reply *reply, const char *text, size_t length) {
        g_autofree char *path = path_of(broker, reply);
        uid_t uid = world_get_uid("daxbroker");

        if (provider_is_files()) {
                g_assert_cmpint(setxattr(path, RECORD_ATTRIBUTE, text, length, 0), ==, 0);
                return;
        }
        g_assert_true(g_file_set_contents(path, text, (gssize) length, NULL));
        g_assert_cmpint(chown(path, uid, uid), ==, 0);
        g_assert_cmpint(chmod(path, 0600), ==, 0);
}
