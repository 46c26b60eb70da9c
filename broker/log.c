/* SPDX-License-Identifier: MIT */

/* The log must never hold up the event loop: a journald that has stopped, or a full pipe behind standard error, would
 * block a writer for as long as it likes. So records are queued, and a thread of their own writes them. The queue is
 * bounded; what does not fit is counted, and the count is logged as soon as there is room.
 *
 * There is one log per process. Records go to the journal if standard error is connected to it, which is how a service
 * manager starts us; else they are lines on standard error. */

#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>
#include <time.h>
#include <unistd.h>

#include "file.h"

#define QUEUE_MAX 4096
#define FIELDS_MAX 10
#define MESSAGE_MAX 1024

/* A record owns its fields, each "NAME=value", the message first, the priority second. */
typedef struct LogEntry {
        struct LogEntry *next;
        int priority;
        unsigned n_fields;
        char *fields[FIELDS_MAX];
} LogEntry;

static struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        pthread_t thread;
        LogEntry *first, **last;
        unsigned length;
        unsigned long lost;
        bool running, stopping, to_journal;
        int level;
} log_state = {
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
        .level = LOG_INFO,
};

static LogEntry *log_entry_free(LogEntry *entry) {
        if (!entry)
                return NULL;

        for (unsigned i = 0; i < entry->n_fields; i++)
                free(entry->fields[i]);
        free(entry);
        return NULL;
}

/* Line breaks would let a value forge a record of its own on standard error. */
static void log_entry_add(LogEntry *entry, const char *name, const char *value) {
        char *field;

        if (!value || entry->n_fields >= FIELDS_MAX || asprintf(&field, "%s=%s", name, value) < 0)
                return;

        for (char *c = field; *c; c++)
                if ((unsigned char) *c < ' ')
                        *c = ' ';
        entry->fields[entry->n_fields++] = field;
}

static void log_entry_write(const LogEntry *entry) {
        static const char *const levels[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" };
        struct iovec iov[FIELDS_MAX];
        char *line = NULL;
        size_t size;
        FILE *file;

        if (log_state.to_journal) {
                for (unsigned i = 0; i < entry->n_fields; i++)
                        iov[i] = (struct iovec){ entry->fields[i], strlen(entry->fields[i]) };
                if (sd_journal_sendv(iov, (int) entry->n_fields) >= 0)
                        return;
        }

        /* in one piece, because others may write to the same place */
        file = open_memstream(&line, &size);
        if (!file)
                return;
        fprintf(file, "%s: %s", levels[entry->priority & 7], entry->fields[0] + strlen("MESSAGE="));
        for (unsigned i = 2; i < entry->n_fields; i++)
                fprintf(file, " %s", entry->fields[i]);
        fputc('\n', file);
        if (fclose(file) == 0)
                (void) fd_write_all(STDERR_FILENO, line, size);
        free(line);
}

static LogEntry *log_entry_new(int priority, const char *message) {
        LogEntry *entry;
        char level[2] = { (char) ('0' + (priority & 7)), '\0' };

        entry = calloc(1, sizeof(*entry));
        if (!entry)
                return NULL;

        entry->priority = priority;
        log_entry_add(entry, "MESSAGE", message);
        log_entry_add(entry, "PRIORITY", level);
        return entry->n_fields == 2 ? entry : log_entry_free(entry);
}

static void *log_thread(void *userdata) {
        (void) userdata;

        pthread_mutex_lock(&log_state.mutex);
        for (;;) {
                LogEntry *entry = log_state.first;
                unsigned long lost = log_state.lost;

                if (!entry) {
                        if (log_state.stopping)
                                break;
                        pthread_cond_wait(&log_state.changed, &log_state.mutex);
                        continue;
                }

                log_state.first = entry->next;
                if (!log_state.first)
                        log_state.last = &log_state.first;
                log_state.length--;
                log_state.lost = 0;
                pthread_mutex_unlock(&log_state.mutex);

                log_entry_write(entry);
                log_entry_free(entry);
                if (lost > 0)
                        log_warning("%lu log records were lost, the log was too slow to take them", lost);

                pthread_mutex_lock(&log_state.mutex);
        }
        log_state.running = false;
        pthread_cond_broadcast(&log_state.changed);
        pthread_mutex_unlock(&log_state.mutex);

        return NULL;
}

static bool stderr_is_journal(void) {
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) >= 0 &&
               st.st_dev == device && st.st_ino == inode;
}

static int level_from_environment(void) {
        static const struct {
                const char *name;
                int level;
        } names[] = { { "debug", LOG_DEBUG }, { "info", LOG_INFO }, { "notice", LOG_NOTICE },
                      { "warning", LOG_WARNING }, { "err", LOG_ERR } };
        const char *wanted = getenv("DAXBROKER_LOG");

        for (size_t i = 0; wanted && i < sizeof(names) / sizeof(names[0]); i++)
                if (strcmp(names[i].name, wanted) == 0)
                        return names[i].level;

        return LOG_INFO;
}

int log_start(void) {
        int r;

        log_state.to_journal = stderr_is_journal();
        log_state.level = level_from_environment();
        log_state.last = &log_state.first;
        log_state.stopping = false;

        r = pthread_create(&log_state.thread, NULL, log_thread, NULL);
        if (r != 0)
                return -r;

        log_state.running = true;
        return 0;
}

void log_stop(void) {
        struct timespec deadline;
        bool stuck;

        if (!log_state.running)
                return;

        (void) clock_gettime(CLOCK_REALTIME, &deadline);
        deadline.tv_sec += 1;

        pthread_mutex_lock(&log_state.mutex);
        log_state.stopping = true;
        pthread_cond_broadcast(&log_state.changed);
        while (log_state.running)
                if (pthread_cond_timedwait(&log_state.changed, &log_state.mutex, &deadline) == ETIMEDOUT)
                        break;
        stuck = log_state.running;
        pthread_mutex_unlock(&log_state.mutex);

        if (!stuck)
                pthread_join(log_state.thread, NULL);
}

static void log_entry_submit(LogEntry *entry) {
        bool queued = false, full = false;

        pthread_mutex_lock(&log_state.mutex);
        if (log_state.running && !log_state.stopping) {
                full = log_state.length >= QUEUE_MAX;
                if (full)
                        log_state.lost++;
                else {
                        *log_state.last = entry;
                        log_state.last = &entry->next;
                        log_state.length++;
                        queued = true;
                }
        }
        pthread_mutex_unlock(&log_state.mutex);

        if (queued) {
                pthread_cond_signal(&log_state.changed);
                return;
        }
        if (!full)
                log_entry_write(entry);
        log_entry_free(entry);
}

void log_message(int priority, const char *format, ...) {
        char text[MESSAGE_MAX];
        LogEntry *entry;
        va_list ap;

        if (priority > log_state.level)
                return;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        entry = log_entry_new(priority, text);
        if (entry)
                log_entry_submit(entry);
}

void log_record(int priority, const LogFields *fields, const char *format, ...) {
        char text[MESSAGE_MAX], number[24];
        LogEntry *entry;
        va_list ap;

        if (priority > log_state.level)
                return;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);

        entry = log_entry_new(priority, text);
        if (!entry)
                return;

        log_entry_add(entry, "DAXBROKER_EVENT", fields->event);
        if (fields->uid) {
                (void) snprintf(number, sizeof(number), "%" PRIu32, (uint32_t) *fields->uid);
                log_entry_add(entry, "DAXBROKER_UID", number);
        }
        log_entry_add(entry, "DAXBROKER_UNIT", fields->unit);
        log_entry_add(entry, "DAXBROKER_REGION", fields->region);
        log_entry_add(entry, "DAXBROKER_ALLOCATION", fields->allocation);
        log_entry_add(entry, "DAXBROKER_GRANT", fields->grant);
        log_entry_add(entry, "DAXBROKER_DECISION", fields->decision);
        if (fields->length > 0) {
                (void) snprintf(number, sizeof(number), "%" PRIu64, fields->length);
                log_entry_add(entry, "DAXBROKER_LENGTH", number);
        }
        log_entry_submit(entry);
}
