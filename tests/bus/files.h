/* SPDX-License-Identifier: MIT */
#pragma once

/* A region beside dram that keeps what it holds: files of a directory of the world, in region "files". */

#include "scene.h"

#define FILES_PATH "/run/daxbroker-world/files"
/* To be appended to a configuration. */
#define FILES_REGION "[Region files]\nProvider=fsdax\nPath=" FILES_PATH "\nSync=none\nSize=64M\n"

/* Whether there can be one: files of tmpfs have attributes from Linux 6.6 on. */
bool files_are_possible(void);

/* The record of such a file, g_free() it; and one that is written to a file, which is made if it is not there, with another
 * line in the place of one. */
char *files_get_record(const char *path);
void files_put_record(const char *path, const char *record, const char *line, const char *replacement);

/* Everybody may have what lasts. */
void files_allow_everybody(Scene *scene);

/* With the scene, in which everybody may have what lasts. At its end nothing may be left of it. */
void files_set_up(Scene *scene, gconstpointer configuration);
void files_tear_down(Scene *scene, gconstpointer configuration);

/* A test with it, where there can be one. */
#define files_add(path, configuration, function)                                                                        \
        do {                                                                                                            \
                if (files_are_possible())                                                                               \
                        g_test_add(path, Scene, configuration FILES_REGION, files_set_up, function, files_tear_down);   \
        } while (false)
