/* SPDX-License-Identifier: MIT */

/* The shortest program: a megabyte of the machine's reserved memory, in two lines.
 *
 *         cc hello.c -o hello $(pkg-config --cflags --libs daxbroker) && ./hello
 *
 * DAXBROKER_REGION=NAME in the environment takes it from another region than the default one. */

#include <daxbroker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
        /* A megabyte, at an address that is a multiple of 4096. It is all zeros, and ours alone. */
        char *memory = daxbroker_alloc(1 << 20, 4096);

        if (!memory) {
                /* The service says what is in the way: no permission, no space, a quota ... */
                fprintf(stderr, "hello: no memory: %s\n", daxbroker_last_error());
                return EXIT_FAILURE;
        }

        strcpy(memory, "hello");
        printf("%s from %p\n", memory, (void *) memory);

        /* Not needed at the end of a program: when it is gone, so is its hold on the memory. */
        daxbroker_free(memory);
        return EXIT_SUCCESS;
}
