/* SPDX-License-Identifier: MIT */
#pragma once

/* What the broker tells the admin: journal records with fields, or lines on standard error where there is no journal. */

#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

/* Starts the writer. Before this and after log_stop() records go out directly. Takes the level from DAXBROKER_LOG. */
int log_start(void);

/* Writes what is still queued, for at most a second, and stops the writer. */
void log_stop(void);

/* A record without fields. */
void log_message(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_debug(...) log_message(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) log_message(LOG_INFO, __VA_ARGS__)
#define log_notice(...) log_message(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...) log_message(LOG_WARNING, __VA_ARGS__)
#define log_error(...) log_message(LOG_ERR, __VA_ARGS__)

/* What a record about one decision or one allocation says besides its message; NULL and 0 for what does not apply. */
typedef struct LogFields {
        const char *event; /* "grant", "refusal", "open", "end", "unusable"; of a grant "reserve", "release" */
        const uid_t *uid;  /* pointer, because 0 is a uid */
        const char *unit;
        const char *region;
        const char *allocation;
        const char *grant;
        const char *decision; /* how it was authorized: an action and its answer, "owner", "mode" */
        uint64_t length;
} LogFields;

void log_record(int priority, const LogFields *fields, const char *format, ...)
                __attribute__((format(printf, 3, 4)));
