/* SPDX-License-Identifier: MIT */
#pragma once

/* A file that is divided into slots of one size, for record-file.c. Safe to use from several threads: who has taken a slot
 * has it for himself. */

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

/* What of a slot is used; where the kernel's pages are larger, one has a page all the same. */
#define SLOT_USED 4096
/* That many free ones keep their pages. */
#define SLOTS_READY_MAX 64

typedef struct RecordSlots {
        int fd;
        off_t size; /* of each */
        pthread_mutex_t mutex;
        uint32_t n;      /* whatever is behind them has never been taken */
        uint32_t *holes; /* free ones; there is room for all */
        size_t n_holes, max_holes;
        uint32_t ready[SLOTS_READY_MAX]; /* more of them, which have a page */
        unsigned n_ready;
} RecordSlots;

/* The contents of one, with a zero behind it. */
typedef struct Slot {
        char bytes[SLOT_USED + 1];
} Slot;

/* Opens the file below a directory, or makes it. Its slots count as taken until it was said which of them are empty. -EBADF
 * if what is there is no file of ours. */
int record_slots_open(RecordSlots *slots, int dir_fd, const char *name);
void record_slots_close(RecordSlots *slots);

/* To be called in their order; then those at the end of the file are cut off. */
void record_slots_found_empty(RecordSlots *slots, uint32_t slot);
int record_slots_cut(RecordSlots *slots);

/* One that is all zeros. */
int record_slots_take(RecordSlots *slots, uint32_t *ret);

/* Clears it for the next one. If that fails, it stays as it is, and is nobody's. */
int record_slots_give_back(RecordSlots *slots, uint32_t slot);

int record_slots_read(const RecordSlots *slots, uint32_t slot, Slot *ret);
int record_slots_write(const RecordSlots *slots, uint32_t slot, size_t at, const char *bytes, size_t size);
