/* SPDX-License-Identifier: MIT */
#pragma once

#include "judge.h"

/* The file in this folder where lessons are kept, made if it is not there. */
int lessons_open(const char *folder, int *ret_fd);

/* What is written there is taken over if it makes sense, and forgotten if it does not. */
void lessons_read(int fd, Judge *judge);
int lessons_write(int fd, const Judge *judge);
