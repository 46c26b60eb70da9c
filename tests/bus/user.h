/* SPDX-License-Identifier: MIT */
#pragma once

/* One process of an ordinary user, which does what the test tells it to. It is a fork of the test, so that any function
 * of the test can run there, one after the other; static variables are its own and keep their values between calls.
 * It dies with the test. calls.h has the usual functions. */

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

#define USER_FDS_MAX 16
#define USER_DATA_MAX 65536

/* What such a function gets, and what it returns besides its result. */
typedef struct UserCall {
        /* in */
        const void *data;
        size_t size;
        int fds[USER_FDS_MAX]; /* its own now; as many as the caller passed */
        unsigned n_fds;
        /* out */
        void *answer; /* USER_DATA_MAX bytes of room */
        size_t answer_size;
        int answer_fds[USER_FDS_MAX]; /* copies are passed, these are left as they are */
        unsigned n_answer_fds;
} UserCall;

typedef int64_t (*UserFunction)(UserCall *call);

typedef struct User {
        pid_t pid;
        int socket;
        char *name;
        bool busy; /* between user_begin() and user_end() */
} User;

/* "alice", "bob", "carol", "root", "daxbroker". A second one of the same name is another process. */
User *user_new(const char *name);
/* Lets it exit by itself, which has to work. */
User *user_free(User *user);
/* SIGKILL; user_free() then only frees. */
void user_kill(User *user);
void user_stop(User *user);     /* SIGSTOP */
void user_continue(User *user); /* SIGCONT */

/* Has the function run in its process and waits for the result. data and answer may be NULL. */
int64_t user_call(User *user, UserFunction function, const void *data, size_t size, void *answer, size_t answer_size);

/* The same in two halves, to do something else meanwhile. fds are copied to the user; answer_fds belong to the caller
 * afterwards. The number of descriptors that came is returned through n_answer_fds. */
void user_begin(User *user, UserFunction function, const void *data, size_t size, const int *fds, unsigned n_fds);
int64_t user_end(User *user, void *answer, size_t answer_size, int *answer_fds, unsigned *n_answer_fds);
/* Whether the result is there, so that user_end() would not wait. */
bool user_is_done(User *user);

/* In the user's process: its connection to the bus, made when first needed. */
sd_bus *user_bus(void);

/* Runs a program as that user, to its end; returns its exit status (128 + signal if killed) and what it printed on
 * standard output and standard error together. g_free() the output. argv ends with NULL. */
int user_run(const char *name, const char *const *argv, char **ret_output);
