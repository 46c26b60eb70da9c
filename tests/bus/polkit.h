/* SPDX-License-Identifier: MIT */
#pragma once

/* This world's polkitd: its rules, and what happens when it does not answer. */

/* Puts this JavaScript (ES5) before all other rules, in place of what was put there earlier, and waits until it is in
 * force; NULL takes it away. */
void polkit_set_rules(const char *javascript);

/* Rules for those tests in which everybody may allocate, and nothing else is changed. */
#define POLKIT_EVERYBODY_ALLOCATES                                                                                     \
        "polkit.addRule(function(action, subject) {\n"                                                                 \
        "    if (action.id == 'org.daxbroker1.allocate')\n"                                                            \
        "        return polkit.Result.YES;\n"                                                                          \
        "});\n"

/* Carol is an admin of the broker, in part. */
#define POLKIT_CAROL_MAY(what)                                                                                         \
        "polkit.addRule(function(action, subject) {\n"                                                                 \
        "    if (subject.user == 'carol' && action.id == 'org.daxbroker1." what "')\n"                                 \
        "        return polkit.Result.YES;\n"                                                                          \
        "});\n"

/* SIGSTOP: it takes questions and answers none. */
void polkit_freeze(void);
void polkit_thaw(void);
/* SIGKILL; its name is gone from the bus afterwards. Frozen ones die, too. */
void polkit_kill(void);
/* After polkit_kill(). */
void polkit_start(void);
