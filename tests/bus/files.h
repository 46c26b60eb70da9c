/* SPDX-License-Identifier: MIT */
#pragma once

/* A region beside dram that keeps what it holds: files of a directory of the world, in region "files". */

#include "scene.h"

#define FILES_PATH "/run/daxbroker-world/files"
/* To be appended to a configuration. */
#define FILES_REGION "[Region files]\nProvider=fsdax\nPath=" FILES_PATH "\nSync=none\nSize=64M\n"

/* Whether there can be one: files of tmpfs have attributes from Linux 6.6 on. */
bool files_are_possible(void);

/* With the scene, in which everybody may have what lasts. At its end nothing may be left of it. */
void files_set_up(Scene *scene, gconstpointer configuration);
void files_tear_down(Scene *scene, gconstpointer configuration);

#define files_add(path, configuration, function) \
        g_test_add(path, Scene, configuration FILES_REGION, files_set_up, function, files_tear_down)
