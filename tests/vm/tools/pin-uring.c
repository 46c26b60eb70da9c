/* SPDX-License-Identifier: MIT */

/* A buffer registered with io_uring: it can be read and written again and again, by its number alone. The system calls
 * are made by hand, since a library would be one more thing to have in the machine. */

#include "pin.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* fds: the ring, and a file that takes and gives the bytes. */
enum { RING, FILE_FD };

typedef struct Uring {
        struct io_uring_params params;
        uint8_t *rings; /* both queues */
        size_t rings_size;
        struct io_uring_sqe *entries;
        uint64_t address; /* by which the buffer is known */
} Uring;

static int uring_map(Pin *pin, Uring *uring) {
        const struct io_uring_params *params = &uring->params;
        size_t submissions = params->sq_off.array + params->sq_entries * sizeof(uint32_t),
               completions = params->cq_off.cqes + params->cq_entries * sizeof(struct io_uring_cqe);

        if (!(params->features & IORING_FEAT_SINGLE_MMAP))
                return -EOPNOTSUPP;
        uring->rings_size = submissions > completions ? submissions : completions;
        uring->rings = mmap(NULL, uring->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED, pin->fds[RING], IORING_OFF_SQ_RING);
        uring->entries = mmap(NULL, params->sq_entries * sizeof(*uring->entries), PROT_READ | PROT_WRITE, MAP_SHARED,
                              pin->fds[RING], IORING_OFF_SQES);
        return uring->rings == MAP_FAILED || uring->entries == MAP_FAILED ? -errno : 0;
}

static int uring_take(Pin *pin, uint8_t *address, void (*let_go)(void)) {
        Uring *uring = calloc(1, sizeof(*uring));
        struct iovec memory = { .iov_base = address, .iov_len = PIN_LENGTH };
        int r;

        (void) let_go;
        if (!uring)
                return -ENOMEM;
        pin->data = uring;
        uring->address = (uint64_t) (uintptr_t) address;

        pin->fds[RING] = (int) syscall(SYS_io_uring_setup, 1, &uring->params);
        if (pin->fds[RING] < 0)
                return errno == ENOSYS ? -EOPNOTSUPP : -errno;
        r = uring_map(pin, uring);
        if (r < 0)
                return r;
        pin->fds[FILE_FD] = memfd_create("pin", MFD_CLOEXEC);
        if (pin->fds[FILE_FD] < 0)
                return -errno;
        return syscall(SYS_io_uring_register, pin->fds[RING], IORING_REGISTER_BUFFERS, &memory, 1) < 0 ? -errno : 0;
}

/* One operation on the whole buffer, and its result. */
static int uring_do(Pin *pin, uint8_t opcode) {
        Uring *uring = pin->data;
        uint32_t *tail = (uint32_t *) (void *) (uring->rings + uring->params.sq_off.tail),
                 *array = (uint32_t *) (void *) (uring->rings + uring->params.sq_off.array),
                 *head = (uint32_t *) (void *) (uring->rings + uring->params.cq_off.head);
        const struct io_uring_cqe *results =
                (const struct io_uring_cqe *) (void *) (uring->rings + uring->params.cq_off.cqes);
        int result;

        memset(uring->entries, 0, sizeof(*uring->entries));
        uring->entries->opcode = opcode;
        uring->entries->fd = pin->fds[FILE_FD];
        uring->entries->addr = uring->address;
        uring->entries->len = PIN_LENGTH;
        array[*tail & (uring->params.sq_entries - 1)] = 0;
        __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
        if (syscall(SYS_io_uring_enter, pin->fds[RING], 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
                return -errno;

        result = results[*head & (uring->params.cq_entries - 1)].res;
        __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
        return result == PIN_LENGTH ? 0 : result < 0 ? result : -EIO;
}

static int uring_look(Pin *pin, Sight *sight) {
        static uint8_t buffer[PIN_LENGTH];
        int r = uring_do(pin, IORING_OP_WRITE_FIXED);

        if (r < 0)
                return r;
        if (pread(pin->fds[FILE_FD], buffer, PIN_LENGTH, 0) != PIN_LENGTH)
                return -EIO;
        sight_add(sight, buffer, PIN_LENGTH);
        return 0;
}

static int uring_write(Pin *pin, uint8_t value) {
        static uint8_t buffer[PIN_LENGTH];

        memset(buffer, value, sizeof(buffer));
        if (pwrite(pin->fds[FILE_FD], buffer, PIN_LENGTH, 0) != PIN_LENGTH)
                return -EIO;
        return uring_do(pin, IORING_OP_READ_FIXED);
}

static void uring_drop(Pin *pin) {
        Uring *uring = pin->data;

        if (!uring)
                return;
        if (uring->rings && uring->rings != MAP_FAILED)
                munmap(uring->rings, uring->rings_size);
        if (uring->entries && uring->entries != MAP_FAILED)
                munmap(uring->entries, uring->params.sq_entries * sizeof(*uring->entries));
        for (int i = RING; i <= FILE_FD; i++)
                if (pin->fds[i] >= 0)
                        close(pin->fds[i]);
        free(uring);
}

const PinKind pin_uring = {
        .name = "uring", .take = uring_take, .look = uring_look, .write = uring_write, .drop = uring_drop
};
