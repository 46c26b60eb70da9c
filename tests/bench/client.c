/* SPDX-License-Identifier: MIT */

/* The program that measures. It reads a command a line and answers each with a line:
 *
 *     ok NUMBER…       a sample for each time it was done; less is better
 *     skip SENTENCE    this machine, or this broker, has not what is needed
 *     error SENTENCE
 *
 * It stays, so that connections stay warm and nothing starts while others measure. Commands are in service.c and life.c (the
 * broker, and the floor it is compared with), own.c (what a program can do without either) and mapped.c (memory in use). */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench.h"

#define WORDS_MAX 8
#define SAMPLES_MAX 65536

static double samples[SAMPLES_MAX];
static size_t n_samples;
static char sentence[512];
static bool is_lacking;

double now(void) {
        struct timespec time;

        clock_gettime(CLOCK_MONOTONIC, &time);
        return (double) time.tv_sec * 1e6 + (double) time.tv_nsec / 1e3;
}

void sample_add(double value) {
        if (n_samples < SAMPLES_MAX)
                samples[n_samples++] = value;
}

__attribute__((format(printf, 1, 0))) static void say(const char *format, va_list ap) {
        vsnprintf(sentence, sizeof(sentence), format, ap);
        for (char *p = sentence; *p; p++)
                if (*p == '\n')
                        *p = ' ';
}

int failed(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        say(format, ap);
        va_end(ap);
        is_lacking = false;
        return -1;
}

int cannot(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        say(format, ap);
        va_end(ap);
        is_lacking = true;
        return -1;
}

uint64_t parse_size(const char *word) {
        char *end;
        uint64_t size = strtoull(word, &end, 10);

        switch (*end) {
        case 'K':
                return size << 10;
        case 'M':
                return size << 20;
        case 'G':
                return size << 30;
        default:
                return size;
        }
}

void touch(void *memory, uint64_t size) {
        volatile char *bytes = memory;

        for (uint64_t i = 0; i < size; i += 4096)
                bytes[i] = 1;
}

static const Command *command_find(const char *name, unsigned n_words) {
        const Command *const tables[] = { service_commands, life_commands, own_commands, mapped_commands };

        for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
                for (const Command *command = tables[i]; command->name; command++)
                        if (strcmp(command->name, name) == 0 && command->n_words == n_words)
                                return command;
        return NULL;
}

static void answer(char *line) {
        char *words[WORDS_MAX] = { NULL };
        const Command *command;
        unsigned n = 0;

        for (char *word = strtok(line, " \n"); word && n < WORDS_MAX; word = strtok(NULL, " \n"))
                words[n++] = word;

        n_samples = 0;
        command = n > 0 ? command_find(words[0], n - 1) : NULL;
        if (!command)
                printf("error no such command\n");
        else if (command->run(words + 1) < 0)
                printf("%s %s\n", is_lacking ? "skip" : "error", sentence);
        else {
                printf("ok");
                for (size_t i = 0; i < n_samples; i++)
                        printf(" %.4f", samples[i]);
                printf("\n");
        }
        fflush(stdout);
}

int main(int argc, char **argv) {
        char *line = NULL;
        size_t room = 0;

        if (argc == 4 && strcmp(argv[1], "--once") == 0) {
                if (service_once(argv[2], argv[3]) < 0) {
                        fprintf(stderr, "%s\n", sentence);
                        return EXIT_FAILURE;
                }
                return EXIT_SUCCESS;
        }

        while (getline(&line, &room, stdin) > 0)
                answer(line);
        free(line);
        return EXIT_SUCCESS;
}
