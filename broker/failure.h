/* SPDX-License-Identifier: MIT */
#pragma once

/* Why a request was refused, on its way from the place that knows to the client that asked. */

#include "error-names.h"

#define FAILURE_TEXT_MAX 512

typedef struct Failure {
        Refusal refusal;
        char text[FAILURE_TEXT_MAX]; /* a sentence for people: which limit, and what would do */
} Failure;

/* Fills failure and returns the refusal's errno, negated. */
int failure_set(Failure *failure, Refusal refusal, const char *format, ...)
                __attribute__((format(printf, 3, 4)));

/* The same for a system call that failed: maps errors that mean a limit of the broker itself to NoResources, everything
 * else to Failed, and appends the error's words. error is a negative errno, and is what is returned. */
int failure_set_errno(Failure *failure, int error, const char *format, ...)
                __attribute__((format(printf, 3, 4)));
