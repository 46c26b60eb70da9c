/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "layout.h"

/* So many pages are looked at in one run: a fraction of a millisecond's work. */
#define LOOK_PAGES_MAX 1024

typedef enum LookOutcome {
        LOOK_UNREADABLE = 0, /* there is no struct page for one of them, or not any more */
        LOOK_DONE,
        LOOK_NOT_DAX,
        LOOK_OTHER_PAGE_SIZE,
        LOOK_OUTSIDE, /* they are not all of one device */
        LOOK_CHANGED, /* the device went away meanwhile */
} LookOutcome;

/* What the program in the kernel is asked, and what it answers. All of 64 bits, to keep the program simple. */
typedef struct Look {
        uint64_t first; /* page frame number, in units of 4 KiB */
        uint64_t count; /* of pages, 1 to LOOK_PAGES_MAX */
        uint64_t order; /* each page is 4 KiB << order */
        int64_t idle;   /* what references are compared with */

        /* the answer */
        uint64_t outcome;
        int64_t references; /* of the first page */
        uint64_t n_above, n_below, n_pinned;
} Look;

/* Puts the program that looks into the kernel and returns its descriptor; needs CAP_BPF and CAP_PERFMON. From then on
 * none is needed. */
int program_load(const Layout *layout, uint64_t pages_address);

/* 0 if the program ran; ret->outcome tells how it ended. */
int program_look(int program_fd, Look *look);

/* The 64 bits at some address in the kernel; needs the same capabilities. */
int program_peek(uint64_t address, uint64_t *ret);
