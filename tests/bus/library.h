/* SPDX-License-Identifier: MIT */
#pragma once

/* For tests of the library: they run in the process of a user, which has a library of its own. */

#include <daxbroker.h>
#include <errno.h>
#include <glib.h>
#include <stdbool.h>

#include "scene.h"
#include "user.h"

/* A test that consists of one function, static int64_t do_NAME(UserCall *), which is called in that user's process. */
#define TEST_AS(who, name)                                                                              \
        static void test_##name(Scene *scene, const void *unused) {                                     \
                (void) unused;                                                                          \
                as(scene->who, do_##name);                                                              \
        }

/* Calls it there and has it return 0. What it leaves unreachable in its memory fails the test, too, where the program was
 * built to notice. */
void as(User *user, UserFunction function);
/* The same in two halves. */
void as_begin(User *user, UserFunction function);
void as_end(User *user);

/* In the user's process: a call into the library goes well, or fails with that errno and a sentence that has these words. */
#define assert_works(call)                                                                              \
        ({                                                                                              \
                int _r = (call);                                                                        \
                                                                                                        \
                if (_r < 0)                                                                             \
                        g_error("%s:%d: %s: %s: %s", __FILE__, __LINE__, #call, g_strerror(-_r),        \
                                daxbroker_last_error());                                                \
                _r;                                                                                     \
        })
#define assert_fails(call, number, words)                                                               \
        ({                                                                                              \
                int _r = (call);                                                                        \
                                                                                                        \
                if (_r != -(number))                                                                    \
                        g_error("%s:%d: %s: %d (%s), expected %d (%s): %s", __FILE__, __LINE__, #call,  \
                                -_r, g_strerror(-_r), number, g_strerror(number),                       \
                                daxbroker_last_error());                                                \
                assert_says(daxbroker_last_error(), words);                                             \
        })

/* Without options, or with a name; NULL for none. */
daxbroker_request *request_make(uint64_t size, uint64_t alignment, const char *name);
daxbroker_allocation *allocation_make(daxbroker_client *client, uint64_t size, const char *name);
/* Mapped. */
void *allocation_address(daxbroker_allocation *allocation);

/* Properties that are there. */
uint64_t info_number(const daxbroker_info *info, const char *property);
const char *info_text(const daxbroker_info *info, const char *property);

bool is_filled(const void *memory, uint8_t value, size_t size);
/* What happens to a process that reads or writes there: 0 if nothing, else the signal. */
int signal_of_reading(const volatile uint8_t *address);
int signal_of_writing(volatile uint8_t *address);
/* What those get whose memory has ended: a device is theirs until they let go. */
int signal_of_ended(void);

unsigned count_own_fds(void);
uint64_t now_msec(void);
