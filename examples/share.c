/* SPDX-License-Identifier: MIT */

/* Two processes that share a named allocation. The parent makes it and writes; the child knows nothing but
 * the name, opens it, reads, and answers in the same memory. Any other process of the same user could do
 * what the child does; others could if the mode allowed it, see daxbroker_request_set_mode(). */

#include <daxbroker.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 4096

static int fail(const char *who, const char *what) {
        fprintf(stderr, "share: %s %s: %s\n", who, what, daxbroker_last_error());
        return EXIT_FAILURE;
}

static int child(const char *name) {
        daxbroker_allocation *allocation;
        void *address;

        /* The library notices that it has been forked, and makes a connection of its own. */
        if (daxbroker_open(NULL, name, 0, &allocation) < 0)
                return fail("child", "cannot open it");

        if (daxbroker_allocation_map(allocation, &address) < 0)
                return fail("child", "cannot map it");

        printf("child: found \"%s\"\n", (char *) address);
        strcpy(address, "hello, parent");

        daxbroker_allocation_close(allocation);
        return EXIT_SUCCESS;
}

static int parent(daxbroker_allocation *allocation, const char *name) {
        void *address;
        int status;
        pid_t pid;

        if (daxbroker_allocation_map(allocation, &address) < 0)
                return fail("parent", "cannot map it");

        strcpy(address, "hello, child");
        fflush(stdout);

        pid = fork();
        if (pid < 0) {
                perror("share: fork");
                return EXIT_FAILURE;
        }
        if (pid == 0)
                exit(child(name));

        if (waitpid(pid, &status, 0) < 0 || status != 0)
                return EXIT_FAILURE;

        printf("parent: found \"%s\"\n", (char *) address);
        return strcmp(address, "hello, parent") == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(void) {
        daxbroker_allocation *allocation;
        daxbroker_request *request;
        char name[64];
        int r, status;

        /* Names are the same for all users of the machine, so it should be one that nobody else has. */
        snprintf(name, sizeof(name), "share-example-%d", (int) getpid());

        if (daxbroker_request_new(SIZE, SIZE, &request) < 0)
                return fail("parent", "cannot make a request");

        r = daxbroker_request_set_name(request, name);
        if (r >= 0)
                r = daxbroker_allocate(NULL, request, &allocation);
        daxbroker_request_free(request);
        if (r < 0)
                return fail("parent", "got no memory");

        status = parent(allocation, name);
        daxbroker_allocation_close(allocation);

        /* A named allocation stays when its holders are gone, until somebody ends it. */
        if (daxbroker_end_allocation(NULL, name) < 0)
                return fail("parent", "cannot end it");

        return status;
}
