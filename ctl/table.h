/* SPDX-License-Identifier: MIT */
#pragma once

#include "terminal.h"

#include <stdio.h>

typedef enum Colour {
        COLOUR_PLAIN,
        COLOUR_GOOD,
        COLOUR_WARNING,
        COLOUR_BAD,
} Colour;

typedef struct TableColumn {
        const char *title;
        bool right;         /* numbers line up at their end */
        unsigned shortened; /* who gives way when the terminal is too narrow: the highest first, 0 never */
        size_t minimum;     /* columns that are left to it then */
} TableColumn;

typedef struct Table Table;

/* A table without rows; the columns are borrowed. NULL if out of memory. */
Table *table_new(const TableColumn *columns, size_t n_columns);
Table *table_free(Table *table);

/* Adds the next cell, row by row. A NULL table is fine; running out of memory is remembered for
 * table_print(). */
void table_add(Table *table, Colour colour, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Adds a line that follows the row just completed. */
void table_add_note(Table *table, const char *note);

size_t table_get_rows(const Table *table);

/* Errors: ENOMEM, now or earlier. */
int table_print(const Table *table, const Terminal *terminal, bool legend, FILE *file);
