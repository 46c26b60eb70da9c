/* SPDX-License-Identifier: MIT */
#pragma once

/* A kernel in a folder: what its files do when they are written to is for others to say. Linked with --wrap=fd_write_all, it
 * sees what the broker writes. All it knows is in the folder, so a child process that dies leaves to its parent what a
 * broker leaves to the next. */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* What a write to a file below /sys does; 0 or a negative errno. */
typedef int (*FakeWrite)(const char *path, const char *text);

/* Makes the folder and has the broker look there. */
void fake_setup(FakeWrite handler);
void fake_teardown(void);

/* Below the folder: "sys/...", "dev/...". Freed by the caller. */
char *fake_path(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fake_write(const char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Files of a folder of its; NULL if there is none. */
void fake_set(const char *folder, const char *file, const char *format, ...) __attribute__((format(printf, 3, 4)));
char *fake_get(const char *folder, const char *file);
uint64_t fake_get_number(const char *folder, const char *file);
void fake_make_folder(const char *format, ...) __attribute__((format(printf, 1, 2)));
void fake_remove_tree(const char *path);
/* What the link of this name points to, the last part of it; NULL if there is none. */
char *fake_driver_of(const char *folder);

/* What happens at the broker's next writes: the one with this number, from 1 on, ... */
typedef enum FakeFault {
        FAKE_NONE,
        FAKE_ERROR,      /* fails with error, nothing done */
        FAKE_LIE,        /* succeeds, nothing done */
        FAKE_DIE_BEFORE, /* is never made, the process ends */
        FAKE_DIE_AFTER,  /* is made, and then the process ends */
} FakeFault;
void fake_inject(FakeFault fault, unsigned number, int error);
/* Since the last fake_inject(). */
unsigned fake_count_writes(void);
