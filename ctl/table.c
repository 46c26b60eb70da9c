/* SPDX-License-Identifier: MIT */

/* A table of texts that fits the terminal. Cells are collected first, since a column is as wide as its
 * widest cell; when the sum is too wide, columns give way in the order their owner stated, down to a
 * minimum, and show an ellipsis. A table whose minimum is still too wide is printed as it is: the
 * terminal will break the lines, nothing is lost. */

#include "table.h"
#include "text.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef struct Cell {
        char *text;
        Colour colour;
        char *note; /* only in a row's last cell */
} Cell;

struct Table {
        const TableColumn *columns;
        size_t n_columns;
        Cell *cells;
        size_t n_cells, n_allocated;
        bool failed;
};

static const char *const colours[] = {
        [COLOUR_PLAIN] = "",
        [COLOUR_GOOD] = "\033[32m",
        [COLOUR_WARNING] = "\033[33m",
        [COLOUR_BAD] = "\033[31m",
};

#define COLOUR_TITLE "\033[4m"
#define COLOUR_RESET "\033[0m"

Table *table_new(const TableColumn *columns, size_t n_columns) {
        Table *table = calloc(1, sizeof *table);

        assert(n_columns > 0);

        if (!table)
                return NULL;
        table->columns = columns;
        table->n_columns = n_columns;
        return table;
}

Table *table_free(Table *table) {
        if (!table)
                return NULL;

        for (size_t i = 0; i < table->n_cells; i++) {
                free(table->cells[i].text);
                free(table->cells[i].note);
        }
        free(table->cells);
        free(table);
        return NULL;
}

static bool table_grow(Table *table) {
        size_t n = table->n_allocated ? table->n_allocated * 2 : 64;
        Cell *cells;

        if (table->n_cells < table->n_allocated)
                return true;

        cells = reallocarray(table->cells, n, sizeof *cells);
        if (!cells)
                return false;
        table->cells = cells;
        table->n_allocated = n;
        return true;
}

void table_add(Table *table, Colour colour, const char *format, ...) {
        char *text = NULL;
        va_list arguments;
        int r;

        if (!table || table->failed)
                return;

        va_start(arguments, format);
        r = vasprintf(&text, format, arguments);
        va_end(arguments);

        if (r < 0 || !table_grow(table)) {
                if (r >= 0)
                        free(text);
                table->failed = true;
                return;
        }
        table->cells[table->n_cells++] = (Cell) { .text = text, .colour = colour };
}

void table_add_note(Table *table, const char *note) {
        Cell *last;

        if (!table || table->failed)
                return;
        assert(table->n_cells > 0 && table->n_cells % table->n_columns == 0);

        last = &table->cells[table->n_cells - 1];
        free(last->note);
        last->note = strdup(note);
        table->failed = !last->note;
}

size_t table_get_rows(const Table *table) {
        return table ? table->n_cells / table->n_columns : 0;
}

/* How wide each column would like to be. */
static int widths_measure(const Table *table, bool utf8, bool legend, size_t widths[]) {
        for (size_t i = 0; i < table->n_columns; i++)
                widths[i] = legend ? strlen(table->columns[i].title) : 0;

        for (size_t i = 0; i < table->n_cells; i++) {
                char *printable = text_to_printable(table->cells[i].text, utf8);
                size_t width;

                if (!printable)
                        return -ENOMEM;
                width = text_width(printable);
                free(printable);
                if (width > widths[i % table->n_columns])
                        widths[i % table->n_columns] = width;
        }
        return 0;
}

/* Takes away what is too much, from the columns that give way first. */
static void widths_fit(const Table *table, size_t available, size_t widths[]) {
        size_t sum = table->n_columns - 1;
        unsigned rank = 0;

        for (size_t i = 0; i < table->n_columns; i++) {
                sum += widths[i];
                if (table->columns[i].shortened > rank)
                        rank = table->columns[i].shortened;
        }

        for (; rank > 0 && sum > available; rank--)
                for (size_t i = 0; i < table->n_columns && sum > available; i++) {
                        size_t minimum = table->columns[i].minimum, spare;

                        if (table->columns[i].shortened != rank || widths[i] <= minimum)
                                continue;
                        spare = widths[i] - minimum;
                        if (spare > sum - available)
                                spare = sum - available;
                        widths[i] -= spare;
                        sum -= spare;
                }
}

static void padding_print(FILE *file, size_t columns) {
        fprintf(file, "%*s", (int) columns, "");
}

/* One cell; no blanks trail the last one of a line. */
static int cell_print(FILE *file, const char *text, const char *colour, const TableColumn *column,
                      size_t width, const Terminal *terminal, bool last) {
        char *printable, *shortened;
        size_t padding;

        printable = text_to_printable(text, terminal->utf8);
        if (!printable)
                return -ENOMEM;
        shortened = text_shorten(printable, width, terminal->utf8);
        free(printable);
        if (!shortened)
                return -ENOMEM;

        padding = width - text_width(shortened);
        if (column->right)
                padding_print(file, padding);
        if (terminal->colour && *colour)
                fprintf(file, "%s%s" COLOUR_RESET, colour, shortened);
        else
                fputs(shortened, file);
        if (!column->right && !last)
                padding_print(file, padding);
        fputc(last ? '\n' : ' ', file);

        free(shortened);
        return 0;
}

/* A note is never cut: it says what to do. */
static int note_print(FILE *file, const char *note, bool utf8) {
        char *printable = text_to_printable(note, utf8);

        if (!printable)
                return -ENOMEM;
        fprintf(file, "  %s %s\n", utf8 ? "\u2514\u2500" : "`-", printable);
        free(printable);
        return 0;
}

static int rows_print(const Table *table, const size_t widths[], const Terminal *terminal, FILE *file) {
        int r;

        for (size_t i = 0; i < table->n_cells; i++) {
                const Cell *cell = &table->cells[i];
                size_t column = i % table->n_columns;

                r = cell_print(file, cell->text, colours[cell->colour], &table->columns[column],
                               widths[column], terminal, column + 1 == table->n_columns);
                if (r < 0)
                        return r;
                if (cell->note) {
                        r = note_print(file, cell->note, terminal->utf8);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

int table_print(const Table *table, const Terminal *terminal, bool legend, FILE *file) {
        size_t *widths;
        int r;

        if (!table || table->failed)
                return -ENOMEM;
        assert(table->n_cells % table->n_columns == 0);

        widths = calloc(table->n_columns, sizeof *widths);
        if (!widths)
                return -ENOMEM;

        r = widths_measure(table, terminal->utf8, legend, widths);
        if (r == 0 && terminal->columns > 0)
                widths_fit(table, terminal->columns, widths);
        for (size_t i = 0; r == 0 && legend && i < table->n_columns; i++)
                r = cell_print(file, table->columns[i].title, COLOUR_TITLE, &table->columns[i], widths[i],
                               terminal, i + 1 == table->n_columns);
        if (r == 0)
                r = rows_print(table, widths, terminal, file);

        free(widths);
        return r;
}
