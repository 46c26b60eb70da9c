/* SPDX-License-Identifier: MIT */
#pragma once

/* What the parts of the measuring program share. Each measuring function takes its arguments as words, and adds a sample
 * (sample_add()) for each time it did what it measures; or it returns how that went wrong (failed()). */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

#define FLOOR_NAME "org.daxbroker1.Floor"
#define FLOOR_PATH "/org/daxbroker1/Floor"

/* Microseconds of CLOCK_MONOTONIC. */
double now(void);
/* Less is better, whatever the unit. */
void sample_add(double value);
/* Keeps the sentence, and returns -1. */
__attribute__((format(printf, 1, 2))) int failed(const char *format, ...);
/* The same, where nothing is wrong but the machine lacks something. */
__attribute__((format(printf, 1, 2))) int cannot(const char *format, ...);

typedef struct Command {
        const char *name;
        unsigned n_words; /* that follow */
        int (*run)(char **words);
} Command;

/* Each ends with a nameless one. */
extern const Command service_commands[], life_commands[], own_commands[], mapped_commands[];

/* The start of a process that asks once for memory, maps it and ends. */
int service_once(const char *target, const char *size);

uint64_t parse_size(const char *word);
/* Writes to each page of 4 KiB. */
void touch(void *memory, uint64_t size);
