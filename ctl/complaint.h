/* SPDX-License-Identifier: MIT */
#pragma once

/* What the tool's exit status means, unless it is that of a command it ran. */
typedef enum Status {
        STATUS_OK = 0,
        STATUS_REFUSED = 1,     /* the answer is no */
        STATUS_USAGE = 2,       /* the command line makes no sense */
        STATUS_UNREACHABLE = 3, /* there is nobody to ask */
        STATUS_CANNOT_EXECUTE = 126,
        STATUS_NOT_FOUND = 127,
} Status;

/* One line on standard error, "daxbrokerctl: …". Keeps errno. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
