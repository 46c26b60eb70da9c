/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What standard output can show. */
typedef struct Terminal {
        size_t columns; /* 0: as many as it takes */
        bool utf8;
        bool colour;
} Terminal;

/* Asks the environment and the terminal, if standard output is one. */
Terminal terminal_look(void);
