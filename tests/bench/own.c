/* SPDX-License-Identifier: MIT */

/* What a program can do without a broker, until it has memory that it has written to; and what
 * everything else is made of, a message to another process and back. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define HUGE_PAGE (UINT64_C(2) << 20)
#define PING_SIZE 64

static void *map_memfd(uint64_t size, unsigned flags) {
        void *memory;
        int fd;

        fd = memfd_create("own", MFD_CLOEXEC | flags);
        if (fd < 0)
                return MAP_FAILED;
        memory = ftruncate(fd, (off_t) size) < 0 ?
                MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        return memory;
}

/* Huge pages need an aligned address: there is a page of room before or behind. */
static void *map_anonymous(uint64_t size, uint64_t room, char **ret_base) {
        char *memory, *base;

        base = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (base == MAP_FAILED)
                return base;

        memory = room > size ? base + -(uintptr_t) base % HUGE_PAGE : base;
        (void) madvise(memory, size, MADV_HUGEPAGE);
        *ret_base = base;
        return memory;
}

/* own memfd|anonymous|calloc|hugetlb SIZE COUNT */
static int own(char **words) {
        bool is_calloc = strcmp(words[0], "calloc") == 0, is_anonymous = strcmp(words[0], "anonymous") == 0,
             is_hugetlb = strcmp(words[0], "hugetlb") == 0;
        uint64_t size = parse_size(words[1]), room = size;
        int count = atoi(words[2]);

        if (is_anonymous && size >= HUGE_PAGE)
                room += HUGE_PAGE;
        if (is_hugetlb)
                room = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;

        for (int i = 0; i < count; i++) {
                char *memory, *base = NULL;
                double start = now();

                if (is_calloc)
                        memory = calloc(1, size);
                else if (is_anonymous)
                        memory = map_anonymous(size, room, &base);
                else
                        memory = base = map_memfd(room, is_hugetlb ? MFD_HUGETLB : 0);
                if (memory == MAP_FAILED && is_hugetlb)
                        return cannot("no huge pages: %s", strerror(errno));
                if (!memory || memory == MAP_FAILED)
                        return failed("%s: %s", words[0], strerror(errno));
                touch(memory, size);
                sample_add(now() - start);

                if (is_calloc)
                        free(memory);
                else
                        (void) munmap(base, room);
        }
        return 0;
}

static int ping_peer(void) {
        static int peer = -EBADF;
        int pair[2];
        pid_t pid;

        if (peer >= 0)
                return peer;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return failed("socketpair: %s", strerror(errno));
        pid = fork();
        if (pid < 0)
                return failed("fork: %s", strerror(errno));
        if (pid == 0) {
                char message[PING_SIZE];

                close(pair[0]);
                while (recv(pair[1], message, sizeof(message), 0) > 0)
                        if (send(pair[1], message, sizeof(message), MSG_NOSIGNAL) < 0)
                                break;
                _exit(EXIT_SUCCESS);
        }
        close(pair[1]);
        return peer = pair[0];
}

/* ping COUNT: a message to another process and back */
static int ping(char **words) {
        char message[PING_SIZE] = { 0 };
        int count = atoi(words[0]), peer = ping_peer();

        if (peer < 0)
                return peer;
        for (int i = 0; i < count; i++) {
                double start = now();

                if (send(peer, message, sizeof(message), MSG_NOSIGNAL) < 0 || recv(peer, message, sizeof(message), 0) < 0)
                        return failed("ping: %s", strerror(errno));
                sample_add(now() - start);
        }
        return 0;
}

const Command own_commands[] = {
        { "own", 3, own },
        { "ping", 1, ping },
        { NULL, 0, NULL },
};
