/* SPDX-License-Identifier: MIT */

/* A slot that is free is all zeros. A few of the free ones keep their pages, since one that is freed is mostly taken again
 * at once; the others are holes in the file, which take no room. The file is never mapped: when there is no room left, a
 * write fails, where memory would be a SIGBUS.
 *
 * The mutex is about which slots are free, and no system call is made with it held. */

#include "record-slots.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"

/* Far more than there can be allocations: a file that is longer is none of ours. */
#define SLOTS_MAX (UINT32_C(1) << 20)

int record_slots_open(RecordSlots *slots, int dir_fd, const char *name) {
        _cleanup_close_ int fd = -EBADF;
        struct stat st;
        off_t size, n;

        fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        size = sysconf(_SC_PAGESIZE) > SLOT_USED ? sysconf(_SC_PAGESIZE) : SLOT_USED;
        n = st.st_size / size + (st.st_size % size > 0);
        if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1 || n > SLOTS_MAX)
                return -EBADF;

        *slots = (RecordSlots){ .size = size, .n = (uint32_t) n, .max_holes = (size_t) n };
        slots->holes = calloc(slots->max_holes + 1, sizeof(*slots->holes));
        if (!slots->holes)
                return -ENOMEM;
        slots->fd = TAKE_FD(fd);
        (void) pthread_mutex_init(&slots->mutex, NULL);
        return 0;
}

void record_slots_close(RecordSlots *slots) {
        slots->fd = safe_close(slots->fd);
        (void) pthread_mutex_destroy(&slots->mutex);
        free(slots->holes);
        slots->holes = NULL;
}

void record_slots_found_empty(RecordSlots *slots, uint32_t slot) {
        slots->holes[slots->n_holes++] = slot;
}

int record_slots_cut(RecordSlots *slots) {
        while (slots->n_holes > 0 && slots->holes[slots->n_holes - 1] == slots->n - 1) {
                slots->n_holes--;
                slots->n--;
        }
        return ftruncate(slots->fd, slots->size * slots->n) < 0 ? -errno : 0;
}

/* One behind all others. There is room to give it back then, which must not fail. */
static int take_new(RecordSlots *slots, uint32_t *ret) {
        uint32_t *holes;
        size_t max;

        if (slots->n == SLOTS_MAX)
                return -ENOSPC;
        if (slots->n == slots->max_holes) {
                max = slots->max_holes > 0 ? 2 * slots->max_holes : 64;
                holes = reallocarray(slots->holes, max, sizeof(*holes));
                if (!holes)
                        return -ENOMEM;
                slots->holes = holes;
                slots->max_holes = max;
        }

        *ret = slots->n++;
        return 0;
}

int record_slots_take(RecordSlots *slots, uint32_t *ret) {
        int r = 0;

        (void) pthread_mutex_lock(&slots->mutex);
        if (slots->n_ready > 0)
                *ret = slots->ready[--slots->n_ready];
        else if (slots->n_holes > 0)
                *ret = slots->holes[--slots->n_holes];
        else
                r = take_new(slots, ret);
        (void) pthread_mutex_unlock(&slots->mutex);
        return r;
}

int record_slots_give_back(RecordSlots *slots, uint32_t slot) {
        static const char zeros[SLOT_USED];
        bool keep;
        int r;

        (void) pthread_mutex_lock(&slots->mutex);
        keep = slots->n_ready < SLOTS_READY_MAX;
        (void) pthread_mutex_unlock(&slots->mutex);

        /* zeros first, for not every file system has holes; and one that could not be written has no page for them */
        r = record_slots_write(slots, slot, 0, zeros, sizeof(zeros));
        if ((r < 0 || !keep) && fallocate(slots->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, slots->size * slot,
                                          slots->size) < 0 && r < 0)
                return r;

        (void) pthread_mutex_lock(&slots->mutex);
        if (keep && r >= 0 && slots->n_ready < SLOTS_READY_MAX)
                slots->ready[slots->n_ready++] = slot;
        else
                slots->holes[slots->n_holes++] = slot;
        (void) pthread_mutex_unlock(&slots->mutex);
        return 0;
}

int record_slots_read(const RecordSlots *slots, uint32_t slot, Slot *ret) {
        ssize_t n;

        do
                n = pread(slots->fd, ret->bytes, SLOT_USED, slots->size * slot);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;

        memset(ret->bytes + n, 0, sizeof(ret->bytes) - (size_t) n); /* the last one can be cut off */
        return 0;
}

int record_slots_write(const RecordSlots *slots, uint32_t slot, size_t at, const char *bytes, size_t size) {
        ssize_t n;

        do
                n = pwrite(slots->fd, bytes, size, slots->size * slot + (off_t) at);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;

        return n == (ssize_t) size ? 0 : -ENOSPC;
}
