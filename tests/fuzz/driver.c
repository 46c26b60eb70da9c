/* SPDX-License-Identifier: MIT */

/* Runs a fuzz target where there is no libFuzzer: first every file of the corpus as it is, then a number of inputs made
 * from them by cutting, repeating, mixing and changing bytes. Which ones is decided by a seed, so that a run can be
 * repeated; an input that ends the program is printed.
 *
 *     fuzz-TARGET CORPUS [RUNS [SEED]] */

#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define INPUT_MAX 8192
#define SEEDS_MAX 256
#define RUNS_DEFAULT 50000
#define SEED_DEFAULT 20240229

typedef struct Seed {
        char *name;
        uint8_t *data;
        size_t size;
} Seed;

static Seed seeds[SEEDS_MAX];
static size_t n_seeds;
static uint8_t input[INPUT_MAX];
static size_t input_size;
static uint64_t random_state;

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* Whatever went wrong: only write(2) here. */
static void print_input(void) {
        static const char digits[] = "0123456789abcdef";
        static const char start[] = "# The input was, as a C string:\n# \"", end[] = "\"\n";
        static char text[4 * INPUT_MAX];
        size_t n = 0;

        for (size_t i = 0; i < input_size; i++) {
                text[n++] = '\\';
                text[n++] = 'x';
                text[n++] = digits[input[i] >> 4];
                text[n++] = digits[input[i] & 15];
        }
        (void) !write(STDERR_FILENO, start, sizeof(start) - 1);
        (void) !write(STDERR_FILENO, text, n);
        (void) !write(STDERR_FILENO, end, sizeof(end) - 1);
}

static void on_signal(int number) {
        print_input();
        (void) signal(number, SIG_DFL);
        (void) raise(number);
}

static uint64_t random_next(void) {
        random_state ^= random_state >> 12;
        random_state ^= random_state << 25;
        random_state ^= random_state >> 27;
        return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

static size_t random_below(size_t n) {
        return n > 0 ? (size_t) ((random_next() >> 16) % n) : 0;
}

static void input_insert(size_t at, const uint8_t *data, size_t size) {
        if (size > INPUT_MAX - input_size)
                size = INPUT_MAX - input_size;

        memmove(input + at + size, input + at, input_size - at);
        memcpy(input + at, data, size);
        input_size += size;
}

static void input_remove(size_t at, size_t size) {
        memmove(input + at, input + at + size, input_size - at - size);
        input_size -= size;
}

static void mutate(void) {
        static const uint8_t interesting[] = {0,   1,   '\n', ' ', '=',  '[',  ']',  ';',
                                              '%', '0', '9',  '-', 0x7f, 0x80, 0xc3, 0xff};
        uint8_t chunk[64];
        size_t at = random_below(input_size + 1), size = 1 + random_below(sizeof(chunk));
        const Seed *other = &seeds[random_below(n_seeds)];

        switch (random_below(7)) {
        case 0:
                if (at < input_size)
                        input[at] ^= (uint8_t) (1U << random_below(8));
                break;
        case 1:
                if (at < input_size)
                        input[at] = interesting[random_below(sizeof(interesting))];
                break;
        case 2:
                input_insert(at, &interesting[random_below(sizeof(interesting))], 1);
                break;
        case 3:
                input_remove(at, size < input_size - at ? size : input_size - at);
                break;
        case 4: /* again what is here */
                if (size > input_size - at)
                        size = input_size - at;
                memcpy(chunk, input + at, size);
                input_insert(at, chunk, size);
                break;
        case 5: { /* some of another one */
                size_t from = random_below(other->size);

                if (size > other->size - from)
                        size = other->size - from;
                input_insert(at, other->data + from, size);
                break;
        }
        case 6: /* torn */
                input_size = at;
                break;
        }
}

static void run(void) {
        /* of its own, so that reading past its end is seen */
        uint8_t *copy = malloc(input_size > 0 ? input_size : 1);

        check(copy);
        memcpy(copy, input, input_size);
        check(LLVMFuzzerTestOneInput(copy, input_size) == 0);
        free(copy);
}

static void input_load(const Seed *seed) {
        memcpy(input, seed->data, seed->size);
        input_size = seed->size;
}

static void seed_read(const char *directory, const char *name) {
        Seed *seed = &seeds[n_seeds];
        char *path;
        FILE *file;

        check(n_seeds < SEEDS_MAX);
        check(asprintf(&path, "%s/%s", directory, name) >= 0);
        file = fopen(path, "re");
        if (!file) {
                printf("Bail out! %s: %s\n", path, strerror(errno));
                exit(EXIT_FAILURE);
        }
        seed->name = strdup(name);
        seed->data = malloc(INPUT_MAX);
        check(seed->name && seed->data);
        seed->size = fread(seed->data, 1, INPUT_MAX, file);
        fclose(file);
        free(path);
        n_seeds++;
}

static int compare(const void *a, const void *b) {
        return strcmp(((const Seed *) a)->name, ((const Seed *) b)->name);
}

static void corpus_read(const char *directory) {
        struct dirent *entry;
        DIR *dir;

        dir = opendir(directory);
        if (!dir) {
                printf("Bail out! %s: %s\n", directory, strerror(errno));
                exit(EXIT_FAILURE);
        }
        while ((entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        seed_read(directory, entry->d_name);
        closedir(dir);
        qsort(seeds, n_seeds, sizeof(seeds[0]), compare);
}

int main(int argc, char **argv) {
        unsigned long runs = argc > 2 ? strtoul(argv[2], NULL, 10) : RUNS_DEFAULT;
        uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : SEED_DEFAULT;

        if (argc < 2) {
                fprintf(stderr, "usage: %s CORPUS [RUNS [SEED]]\n", argv[0]);
                return EXIT_FAILURE;
        }

        setlinebuf(stdout);
        corpus_read(argv[1]);
        printf("1..%zu\n", n_seeds + 1);
        if (__sanitizer_set_death_callback)
                __sanitizer_set_death_callback(print_input);
        (void) signal(SIGABRT, on_signal);

        for (size_t i = 0; i < n_seeds; i++) {
                input_load(&seeds[i]);
                run();
                printf("ok %zu %s\n", i + 1, seeds[i].name);
        }

        random_state = seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
        printf("# %lu runs, seed %" PRIu64 "\n", runs, seed);
        for (unsigned long i = 0; i < runs; i++) {
                input_load(&seeds[random_below(n_seeds)]);
                for (size_t n = 1 + random_below(6); n > 0; n--)
                        mutate();
                run();
        }
        printf("ok %zu mutations\n", n_seeds + 1);

        for (size_t i = 0; i < n_seeds; i++) {
                free(seeds[i].name);
                free(seeds[i].data);
        }
        return EXIT_SUCCESS;
}
