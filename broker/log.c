/* SPDX-License-Identifier: MIT */

/* The log must never hold up the event loop: a journald that has stopped, or a full pipe behind standard error, would
 * block a writer for as long as it likes. So records are queued, and a thread of their own writes them. The queue is
 * bounded; what does not fit is counted, and the count is logged as soon as there is room.
 *
 * A line for each allocation would wake that thread for each, which takes a fifteenth of the time of one. So what is no more
 * than information is gathered for up to GATHER_USEC, or until something more important is to be written after it.
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
#define GATHER_USEC 5000
#define FIELDS_MAX 10
#define MESSAGE_MAX 1024
#define TEXT_MAX 4096 /* of all fields */

/* Fields are "NAME=value", the message first, the priority second, and lie one behind the other. */
typedef struct LogEntry {
        struct LogEntry *next;
        int priority;
        unsigned n_fields;
        struct iovec fields[FIELDS_MAX];
        char text[];
} LogEntry;

/* One that is being put together. */
typedef struct Draft {
        unsigned n_fields;
        size_t ends[FIELDS_MAX];
        char text[TEXT_MAX];
} Draft;

static struct {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        pthread_t thread;
        LogEntry *first, **last;
        unsigned length;
        unsigned long lost;
        bool running, stopping, to_journal;
        bool urgent; /* what is in the queue shall be written at once */
        int level;
} log_state = {
        .mutex = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
        .level = LOG_INFO,
};

/* What does not fit is cut off. Line breaks would let a value forge a record of its own on standard error. */
static void draft_add(Draft *draft, const char *name, const char *value) {
        size_t at = draft->n_fields > 0 ? draft->ends[draft->n_fields - 1] : 0, n = strlen(name);

        if (!value || draft->n_fields >= FIELDS_MAX || sizeof(draft->text) - at <= n)
                return;

        memcpy(draft->text + at, name, n);
        at += n;
        draft->text[at++] = '=';
        for (; *value && at < sizeof(draft->text); value++)
                draft->text[at++] = (unsigned char) *value < ' ' ? ' ' : *value;
        draft->ends[draft->n_fields++] = at;
}

static LogEntry *log_entry_new(int priority, const Draft *draft) {
        size_t size = draft->ends[draft->n_fields - 1], from = 0;
        LogEntry *entry;

        entry = malloc(sizeof(*entry) + size);
        if (!entry)
                return NULL;

        entry->next = NULL;
        entry->priority = priority;
        entry->n_fields = draft->n_fields;
        memcpy(entry->text, draft->text, size);
        for (unsigned i = 0; i < draft->n_fields; i++) {
                entry->fields[i] = (struct iovec){ entry->text + from, draft->ends[i] - from };
                from = draft->ends[i];
        }
        return entry;
}

/* "info: MESSAGE NAME=value …", in one piece, because others may write to the same place. */
static void log_entry_write_line(const LogEntry *entry) {
        static const char *const levels[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" };
        char line[TEXT_MAX + FIELDS_MAX + 16], *end;

        end = stpcpy(line, levels[entry->priority & 7]);
        *end++ = ':';
        for (unsigned i = 0; i < entry->n_fields; i++) {
                size_t skip = i == 0 ? strlen("MESSAGE=") : 0;

                if (i == 1) /* the priority, which is said already */
                        continue;
                *end++ = ' ';
                end = mempcpy(end, (const char *) entry->fields[i].iov_base + skip, entry->fields[i].iov_len - skip);
        }
        *end++ = '\n';
        (void) fd_write_all(STDERR_FILENO, line, (size_t) (end - line));
}

static void log_entry_write(const LogEntry *entry) {
        if (!log_state.to_journal || sd_journal_sendv(entry->fields, (int) entry->n_fields) < 0)
                log_entry_write_line(entry);
}

/* With the mutex held, which it gives up meanwhile. */
static void log_write_first(void) {
        LogEntry *entry = log_state.first;
        unsigned long lost = log_state.lost;

        log_state.first = entry->next;
        if (!log_state.first)
                log_state.last = &log_state.first;
        log_state.length--;
        log_state.lost = 0;
        pthread_mutex_unlock(&log_state.mutex);

        log_entry_write(entry);
        free(entry);
        if (lost > 0)
                log_warning("log records that were lost, as the log was too slow to take them: %lu", lost);

        pthread_mutex_lock(&log_state.mutex);
}

/* Waits for more to be written at the same time, unless something is in the queue that cannot wait. */
static void log_gather(void) {
        struct timespec deadline;

        (void) clock_gettime(CLOCK_MONOTONIC, &deadline);
        deadline.tv_nsec += GATHER_USEC * 1000;
        if (deadline.tv_nsec >= 1000000000) {
                deadline.tv_sec++;
                deadline.tv_nsec -= 1000000000;
        }

        while (!log_state.urgent && !log_state.stopping)
                if (pthread_cond_clockwait(&log_state.changed, &log_state.mutex, CLOCK_MONOTONIC, &deadline) == ETIMEDOUT)
                        break;
        log_state.urgent = false;
}

static void *log_thread(void *userdata) {
        (void) userdata;

        pthread_mutex_lock(&log_state.mutex);
        for (;;) {
                while (!log_state.first && !log_state.stopping)
                        pthread_cond_wait(&log_state.changed, &log_state.mutex);
                if (!log_state.first)
                        break;

                log_gather();
                while (log_state.first)
                        log_write_first();
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

static void log_submit(int priority, const Draft *draft) {
        LogEntry *entry = log_entry_new(priority, draft);
        bool queued = false, full = false, wake = false;

        if (!entry)
                return;

        pthread_mutex_lock(&log_state.mutex);
        if (log_state.running && !log_state.stopping) {
                full = log_state.length >= QUEUE_MAX;
                if (full)
                        log_state.lost++;
                else {
                        log_state.urgent = log_state.urgent || priority < LOG_INFO || log_state.length >= QUEUE_MAX / 2;
                        wake = log_state.urgent || !log_state.first;
                        *log_state.last = entry;
                        log_state.last = &entry->next;
                        log_state.length++;
                        queued = true;
                }
        }
        pthread_mutex_unlock(&log_state.mutex);

        if (wake)
                pthread_cond_signal(&log_state.changed);
        if (queued)
                return;
        if (!full)
                log_entry_write(entry);
        free(entry);
}

static void draft_begin(Draft *draft, int priority, const char *format, va_list ap) __attribute__((format(printf, 3, 0)));
static void draft_begin(Draft *draft, int priority, const char *format, va_list ap) {
        char text[MESSAGE_MAX], level[2] = { (char) ('0' + (priority & 7)), '\0' };

        (void) vsnprintf(text, sizeof(text), format, ap);
        draft->n_fields = 0;
        draft_add(draft, "MESSAGE", text);
        draft_add(draft, "PRIORITY", level);
}

void log_message(int priority, const char *format, ...) {
        Draft draft;
        va_list ap;

        if (priority > log_state.level)
                return;

        va_start(ap, format);
        draft_begin(&draft, priority, format, ap);
        va_end(ap);
        log_submit(priority, &draft);
}

void log_record(int priority, const LogFields *fields, const char *format, ...) {
        char number[24];
        Draft draft;
        va_list ap;

        if (priority > log_state.level)
                return;

        va_start(ap, format);
        draft_begin(&draft, priority, format, ap);
        va_end(ap);

        draft_add(&draft, "DAXBROKER_EVENT", fields->event);
        if (fields->uid) {
                (void) snprintf(number, sizeof(number), "%" PRIu32, (uint32_t) *fields->uid);
                draft_add(&draft, "DAXBROKER_UID", number);
        }
        draft_add(&draft, "DAXBROKER_UNIT", fields->unit);
        draft_add(&draft, "DAXBROKER_REGION", fields->region);
        draft_add(&draft, "DAXBROKER_ALLOCATION", fields->allocation);
        draft_add(&draft, "DAXBROKER_GRANT", fields->grant);
        draft_add(&draft, "DAXBROKER_DECISION", fields->decision);
        if (fields->length > 0) {
                (void) snprintf(number, sizeof(number), "%" PRIu64, fields->length);
                draft_add(&draft, "DAXBROKER_LENGTH", number);
        }
        log_submit(priority, &draft);
}
