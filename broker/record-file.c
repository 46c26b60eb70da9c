/* SPDX-License-Identifier: MIT */

/* A file for each record would take ten times as long to make and to remove, and an inode. So each has a slot of one file
 * (record-slots.c), which begins with two lines of ours, and has zeros behind the record:
 *
 *      id=0123456789abcdef
 *      sequence=000000000000002a
 *      daxbroker-record=3
 *      ...
 *
 * If we are killed while a slot is written, it has the beginning of a record, which is none. What changes is written into
 * another slot before the old one is cleared; should both be there, that of the higher sequence counts if it is whole.
 *
 * Which slot is whose is known in memory, below the mutex, with which held no system call is made. Two who write records of
 * one id at once leave one of them.
 *
 * A slot that does not say whose it is may have been anybody's. It is kept until recovery.c says that nothing is left that
 * it could be about. */

#include "record-file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>
#include <utlist.h>

#include "cleanup.h"
#include "log.h"
#include "name.h"
#include "record-slots.h"
#include "record.h"

#define ID_KEY "id="
#define SEQUENCE_KEY "\nsequence="
#define HEADER_SIZE (sizeof(ID_KEY) - 1 + 16 + sizeof(SEQUENCE_KEY) - 1 + 16 + 1)

typedef struct Entry {
        char id[17];
        uint32_t slot;
        uint64_t sequence;
        struct Entry *next; /* of damaged ones */
        UT_hash_handle hh;
} Entry;

struct RecordFile {
        RecordSlots slots;
        pthread_mutex_t mutex;
        uint64_t sequence; /* the highest so far */
        Entry *entries;    /* by id */
        Entry *damaged;    /* utlist: without one */
};

/* ---- What is in a slot ---- */

static bool slot_is_empty(const Slot *slot) {
        return slot->bytes[0] == '\0' && memcmp(slot->bytes, slot->bytes + 1, SLOT_USED - 1) == 0;
}

/* Whose it is; false if it is not known. */
static bool slot_parse(const Slot *slot, char ret_id[static 17], uint64_t *ret_sequence) {
        const char *sequence = slot->bytes + strlen(ID_KEY) + 16;

        (void) snprintf(ret_id, 17, "%.16s", slot->bytes + strlen(ID_KEY));
        if (strncmp(slot->bytes, ID_KEY, strlen(ID_KEY)) != 0 || !is_id(ret_id))
                return false;

        *ret_sequence = strncmp(sequence, SEQUENCE_KEY, strlen(SEQUENCE_KEY)) == 0
                                ? strtoull(sequence + strlen(SEQUENCE_KEY), NULL, 16)
                                : 0;
        return true;
}

/* The record in it; if something follows what should be its end, it is none. */
static const char *slot_text(const Slot *slot) {
        size_t size = strlen(slot->bytes);
        const char *rest = slot->bytes + size;

        if (size < HEADER_SIZE || memcmp(rest, rest + 1, SLOT_USED - size) != 0)
                return "";
        return slot->bytes + HEADER_SIZE;
}

/* ---- What is there ---- */

/* The other one was written just before somebody was killed, or just after. */
static int load_twin(RecordFile *file, Entry *entry, uint32_t slot, uint64_t sequence) {
        uint32_t later = sequence > entry->sequence ? slot : entry->slot;
        Slot content;
        int r;

        r = record_slots_read(&file->slots, later, &content);
        if (r < 0)
                return r;
        if (record_is_whole(slot_text(&content)) == (later == slot)) {
                /* this is the one */
                uint32_t other = entry->slot;

                entry->slot = slot;
                entry->sequence = sequence;
                slot = other;
        }
        return record_slots_give_back(&file->slots, slot);
}

static Entry *entry_new(const char *id, uint32_t slot, uint64_t sequence) {
        Entry *entry;

        entry = calloc(1, sizeof(*entry));
        if (!entry)
                return NULL;

        (void) snprintf(entry->id, sizeof(entry->id), "%s", id);
        entry->slot = slot;
        entry->sequence = sequence;
        return entry;
}

static int load_slot(RecordFile *file, uint32_t slot) {
        uint64_t sequence = 0;
        Entry *entry = NULL;
        Slot content;
        char id[17];
        bool known;
        int r;

        r = record_slots_read(&file->slots, slot, &content);
        if (r < 0)
                return r;
        if (slot_is_empty(&content)) {
                record_slots_found_empty(&file->slots, slot);
                return 0;
        }

        known = slot_parse(&content, id, &sequence);
        if (sequence > file->sequence)
                file->sequence = sequence;
        if (known)
                HASH_FIND_STR(file->entries, id, entry);
        if (entry)
                return load_twin(file, entry, slot, sequence);

        entry = entry_new(known ? id : "", slot, sequence);
        if (!entry)
                return -ENOMEM;
        if (known)
                HASH_ADD_STR(file->entries, id, entry);
        else {
                log_error("slot %" PRIu32 " of the file of records holds what does not say what it is about", slot);
                LL_PREPEND(file->damaged, entry);
        }
        return 0;
}

/* ---- Records ---- */

/* Writes it into a slot that nobody else knows of. */
static int write_entry(RecordFile *file, const Entry *entry, const char *text) {
        _cleanup_free_ char *bytes = NULL;
        int size;

        size = asprintf(&bytes, ID_KEY "%s" SEQUENCE_KEY "%016" PRIx64 "\n%s", entry->id, entry->sequence, text);
        if (size < 0) {
                bytes = NULL;
                return -ENOMEM;
        }

        return record_slots_write(&file->slots, entry->slot, 0, bytes, (size_t) size);
}

int record_file_write(RecordFile *file, const char *id, const char *text) {
        Entry *entry, *old;
        uint32_t slot;
        int r;

        if (strlen(text) > SLOT_USED - HEADER_SIZE)
                return -E2BIG;
        r = record_slots_take(&file->slots, &slot);
        if (r < 0)
                return r;

        (void) pthread_mutex_lock(&file->mutex);
        entry = entry_new(id, slot, ++file->sequence);
        (void) pthread_mutex_unlock(&file->mutex);
        r = entry ? write_entry(file, entry, text) : -ENOMEM;
        if (r < 0) {
                free(entry);
                (void) record_slots_give_back(&file->slots, slot);
                return r;
        }

        (void) pthread_mutex_lock(&file->mutex);
        HASH_REPLACE_STR(file->entries, id, entry, old);
        (void) pthread_mutex_unlock(&file->mutex);
        r = old ? record_slots_give_back(&file->slots, old->slot) : 0;
        free(old);
        return r;
}

int record_file_remove(RecordFile *file, const char *id) {
        uint32_t slot;
        Entry *entry;

        (void) pthread_mutex_lock(&file->mutex);
        HASH_FIND_STR(file->entries, id, entry);
        if (entry)
                HASH_DEL(file->entries, entry);
        (void) pthread_mutex_unlock(&file->mutex);
        if (!entry)
                return -ENOENT;

        slot = entry->slot;
        free(entry);
        return record_slots_give_back(&file->slots, slot);
}

static bool record_find(RecordFile *file, const char *id, uint32_t *ret_slot) {
        Entry *entry;

        (void) pthread_mutex_lock(&file->mutex);
        HASH_FIND_STR(file->entries, id, entry);
        if (entry)
                *ret_slot = entry->slot;
        (void) pthread_mutex_unlock(&file->mutex);
        return entry;
}

bool record_file_has(RecordFile *file, const char *id) {
        uint32_t slot;

        return record_find(file, id, &slot);
}

/* In its place: its few bytes are copied at once. */
int record_file_rename(RecordFile *file, const char *id, const char *new_id) {
        uint32_t slot;
        Entry *entry;
        int r;

        if (!record_find(file, id, &slot))
                return -ENOENT;
        r = record_slots_write(&file->slots, slot, strlen(ID_KEY), new_id, strlen(new_id));
        if (r < 0)
                return r;

        (void) pthread_mutex_lock(&file->mutex);
        HASH_FIND_STR(file->entries, id, entry);
        if (entry) {
                HASH_DEL(file->entries, entry);
                (void) snprintf(entry->id, sizeof(entry->id), "%s", new_id);
                HASH_ADD_STR(file->entries, id, entry);
        }
        (void) pthread_mutex_unlock(&file->mutex);
        return 0;
}

int record_file_each(RecordFile *file, int (*handle)(const char *id, const char *text, void *userdata), void *userdata) {
        uint32_t *slots;
        const Entry *entry;
        uint64_t sequence;
        size_t n = 0;
        Slot content;
        char id[17];
        int r = 0;

        (void) pthread_mutex_lock(&file->mutex);
        slots = calloc(HASH_COUNT(file->entries) + 1, sizeof(*slots));
        for (entry = file->entries; slots && entry; entry = entry->hh.next)
                slots[n++] = entry->slot;
        (void) pthread_mutex_unlock(&file->mutex);
        if (!slots)
                return -ENOMEM;

        for (size_t i = 0; r >= 0 && i < n; i++) {
                r = record_slots_read(&file->slots, slots[i], &content);
                if (r >= 0 && slot_parse(&content, id, &sequence))
                        r = handle(id, slot_text(&content), userdata);
        }
        free(slots);
        return r;
}

/* ---- Earlier brokers ---- */

/* They had a directory of our name with a file for each record. Now that it is a file they would not start, and with that
 * take no memory for nobody's. An unreadable record stays one. */
static int take_over_record(RecordFile *file, int dir_fd, const char *id) {
        char text[SLOT_USED - HEADER_SIZE + 1] = "";
        _cleanup_close_ int fd = -EBADF;
        ssize_t n;
        int r;

        if (!record_file_has(file, id)) { /* or somebody died after that */
                fd = openat(dir_fd, id, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
                if (fd < 0 && errno != ELOOP)
                        return -errno;
                n = read(fd, text, sizeof(text));
                if (n < 0 || n == (ssize_t) sizeof(text) || memchr(text, '\0', (size_t) n))
                        n = 0;
                text[n] = '\0';
                r = record_file_write(file, id, text);
                if (r < 0)
                        return r;
        }

        (void) unlinkat(dir_fd, id, 0);
        return 0;
}

static int take_over_directory(RecordFile *file, int dir_fd, const char *name) {
        _cleanup_closedir_ DIR *dir = NULL;
        const struct dirent *entry;
        int fd, r = 0;

        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        dir = fdopendir(fd);
        if (!dir) {
                safe_close(fd);
                return -ENOMEM;
        }

        while (r >= 0 && (errno = 0, entry = readdir(dir))) {
                const char *end = strrchr(entry->d_name, '.');

                if (is_id(entry->d_name))
                        r = take_over_record(file, fd, entry->d_name);
                else if (end && strcmp(end, ".tmp") == 0)
                        (void) unlinkat(fd, entry->d_name, 0); /* somebody died writing it */
        }
        if (r >= 0 && errno > 0)
                r = -errno;
        if (r >= 0)
                (void) unlinkat(dir_fd, name, AT_REMOVEDIR);
        return r;
}

static bool is_directory(int dir_fd, const char *name) {
        struct stat st;

        return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) >= 0 && S_ISDIR(st.st_mode);
}

/* ---- All of them ---- */

static int file_load(RecordFile *file, int dir_fd, const char *old_name) {
        int r = 0;

        for (uint32_t slot = 0, n = file->slots.n; r >= 0 && slot < n; slot++)
                r = load_slot(file, slot);
        if (r >= 0)
                r = record_slots_cut(&file->slots);
        return r < 0 ? r : take_over_directory(file, dir_fd, old_name);
}

int record_file_new(int dir_fd, const char *name, RecordFile **ret) {
        RecordFile *file;
        char old_name[64];
        int r;

        (void) snprintf(old_name, sizeof(old_name), "%s.old", name);
        if (is_directory(dir_fd, name) && renameat(dir_fd, name, dir_fd, old_name) < 0)
                return -errno;

        file = calloc(1, sizeof(*file));
        if (!file)
                return -ENOMEM;
        r = record_slots_open(&file->slots, dir_fd, name);
        if (r < 0) {
                free(file);
                return r;
        }

        (void) pthread_mutex_init(&file->mutex, NULL);
        r = file_load(file, dir_fd, old_name);
        if (r < 0) {
                record_file_free(file);
                return r;
        }

        *ret = file;
        return 0;
}

RecordFile *record_file_free(RecordFile *file) {
        Entry *entry, *next;

        if (!file)
                return NULL;

        HASH_ITER(hh, file->entries, entry, next) {
                HASH_DEL(file->entries, entry);
                free(entry);
        }
        LL_FOREACH_SAFE(file->damaged, entry, next)
                free(entry);
        record_slots_close(&file->slots);
        (void) pthread_mutex_destroy(&file->mutex);
        free(file);
        return NULL;
}

bool record_file_is_damaged(const RecordFile *file) {
        return file->damaged;
}

int record_file_mend(RecordFile *file) {
        Entry *entry, *next;
        int r = 0;

        LL_FOREACH_SAFE(file->damaged, entry, next) {
                r = record_slots_give_back(&file->slots, entry->slot);
                if (r < 0)
                        break;
                LL_DELETE(file->damaged, entry);
                free(entry);
        }
        return r;
}
