/* SPDX-License-Identifier: MIT */
#pragma once

#include "complaint.h"

/* Tells that the service could not or would not do `what` ("free 'db'"), why, and what may help. error is
 * the negative errno of the library's call just made. Returns the exit status that goes with it. */
Status refusal_tell(int error, const char *what, ...) __attribute__((format(printf, 2, 3)));

/* The exit status that goes with such an error. */
Status refusal_get_status(int error);
