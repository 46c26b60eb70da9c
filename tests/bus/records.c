/* SPDX-License-Identifier: MIT */

#include "records.h"

#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "provider.h"
#include "world.h"

/* Of an attribute or a slot. */
#define SLOT_USED 4096

static const char *id_of(const Reply *reply) {
        return strrchr(reply->object, '/') + 1;
}

/* Of the file that has the record, or is what it is about. */
static char *path_of(Broker *broker, const Reply *reply) {
        if (provider_is_files())
                return g_build_filename(broker->files, id_of(reply), NULL);
        return g_build_filename(broker->state, "allocations", id_of(reply), NULL);
}

/* ---- Slots of the file that most have ---- */

static gsize slot_size(void) {
        return MAX((gsize) sysconf(_SC_PAGESIZE), SLOT_USED);
}

/* All of it; where in it the slot of this id begins, and where its record. */
static char *read_slots(Broker *broker, const Reply *reply, gsize *ret_slot, gsize *ret_record) {
        g_autofree char *path = g_build_filename(broker->runtime, "allocations", NULL);
        g_autofree char *start = g_strdup_printf("id=%s\nsequence=", id_of(reply));
        gsize size;
        char *slots;

        g_assert_true(g_file_get_contents(path, &slots, &size, NULL));
        for (*ret_slot = 0; *ret_slot < size; *ret_slot += slot_size())
                if (g_str_has_prefix(slots + *ret_slot, start)) {
                        *ret_record = *ret_slot + strlen(start) + 17;
                        return slots;
                }
        g_error("There is no record of %s", id_of(reply));
}

static void write_slots(Broker *broker, gsize at, const char *bytes, gsize size) {
        g_autofree char *path = g_build_filename(broker->runtime, "allocations", NULL);
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(pwrite(fd, bytes, size, (off_t) at), ==, size);
        close(fd);
}

void broker_remove_record(Broker *broker, const Reply *reply) {
        static const char zeros[SLOT_USED];
        gsize slot, record;

        g_free(read_slots(broker, reply, &slot, &record));
        write_slots(broker, slot, zeros, sizeof(zeros));
}

void broker_damage_record(Broker *broker, const Reply *reply) {
        gsize slot, record;

        g_free(read_slots(broker, reply, &slot, &record));
        write_slots(broker, slot, "damaged", strlen("damaged"));
}

unsigned broker_count_slots(Broker *broker) {
        g_autofree char *path = g_build_filename(broker->runtime, "allocations", NULL), *slots = NULL;
        unsigned n = 0;
        gsize size;

        g_assert_true(g_file_get_contents(path, &slots, &size, NULL));
        for (gsize at = 0; at < size; at += slot_size())
                n += slots[at] != '\0';
        return n;
}

/* ---- Records ---- */

char *broker_get_record(Broker *broker, const Reply *reply) {
        g_autofree char *path = path_of(broker, reply), *slots = NULL;
        gsize slot, record;
        char *text = NULL;

        if (provider_is_files()) {
                text = g_malloc0(SLOT_USED + 1);
                g_assert_cmpint(getxattr(path, RECORD_ATTRIBUTE, text, SLOT_USED), >, 0);
        } else if (provider_is_nvdimm())
                g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        else {
                slots = read_slots(broker, reply, &slot, &record);
                text = g_strndup(slots + record, slot + SLOT_USED - record);
        }
        return text;
}

void broker_set_record(Broker *broker, const Reply *reply, const char *text, size_t length) {
        g_autofree char *path = path_of(broker, reply);
        uid_t uid = world_get_uid("daxbroker");
        char bytes[SLOT_USED] = { 0 };
        gsize slot, record;

        if (provider_is_files()) {
                g_assert_cmpint(setxattr(path, RECORD_ATTRIBUTE, text, length, 0), ==, 0);
                return;
        }
        if (!provider_is_nvdimm()) {
                g_free(read_slots(broker, reply, &slot, &record));
                g_assert_cmpuint(length, <=, slot + SLOT_USED - record);
                memcpy(bytes, text, length);
                write_slots(broker, record, bytes, slot + SLOT_USED - record);
                return;
        }
        g_assert_true(g_file_set_contents(path, text, (gssize) length, NULL));
        g_assert_cmpint(chown(path, uid, uid), ==, 0);
        g_assert_cmpint(chmod(path, 0600), ==, 0);
}
