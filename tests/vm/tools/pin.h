/* SPDX-License-Identifier: MIT */
#pragma once

/* References to memory that a process can take without a privilege, and that outlive its mapping and its descriptors: the
 * kernel holds the pages for something that has yet to happen. What happens then reads or writes whoever owns them. */

#include <stdint.h>
#include <sys/types.h>

#define PIN_LENGTH 65536

typedef struct Pin Pin;

/* How often each value of a byte was seen. */
typedef struct Sight {
        size_t count[256];
} Sight;

typedef struct PinKind {
        const char *name;
        /* Takes PIN_LENGTH bytes there; negative errno, -EOPNOTSUPP if this kernel has no such thing. let_go() unmaps and
         * closes everything that leads to memory, in a process that has been forked for it. */
        int (*take)(Pin *pin, uint8_t *address, void (*let_go)(void));
        /* Looks through it. May be NULL, or work only once. */
        int (*look)(Pin *pin, Sight *sight);
        /* Writes this value through it, everywhere. May be NULL, or end the pin. */
        int (*write)(Pin *pin, uint8_t value);
        void (*drop)(Pin *pin);
} PinKind;

struct Pin {
        const PinKind *kind;
        int fds[4]; /* what they are is the kind's business */
        pid_t child;
        void *data;
};

extern const PinKind pin_pipe, pin_zerocopy, pin_uring, pin_fuse_read, pin_fuse_write;

void sight_add(Sight *sight, const uint8_t *bytes, size_t size);
