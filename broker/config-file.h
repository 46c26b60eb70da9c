/* SPDX-License-Identifier: MIT */
#pragma once

/* Finds the configuration files and reads them line by line. What the lines mean is config.c's. */

#include <stdbool.h>

/* One "key=value" below "[section]". Returns NULL, or what is wrong with the line, to be logged with file and line; the
 * sentence may live in a static buffer. */
typedef const char *(*ConfigLineHandler)(const char *section, const char *key, const char *value, void *userdata);

/* Reads NAME from the first of the directories that has it, then NAME.d/ *.conf of all of them, sorted by file name; a
 * file in an earlier directory hides one of the same name in a later one, and an empty file or a link to /dev/null hides
 * it with nothing. directories is colon-separated. Bad lines and unreadable files are skipped, and logged
 * unless quiet is set. */
int config_files_read(const char *directories, const char *name, bool quiet, ConfigLineHandler handler, void *userdata);
