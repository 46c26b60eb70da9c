/* SPDX-License-Identifier: MIT */

/* Each function comes twice: do_...() runs in the user's process, user_...() has it run there. */

#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "provider.h"

#define SLOTS_MAX 8192

typedef struct Slot {
        int memory, lease;
        uint64_t offset, length;
        uint8_t *address; /* NULL if not mapped */
} Slot;

static Slot *slots[SLOTS_MAX];
static int n_slots;

int slot_add_consume_fds(int memory, int lease, uint64_t offset, uint64_t length) {
        Slot *slot = g_new(Slot, 1);

        g_assert_cmpint(n_slots, <, SLOTS_MAX);
        *slot = (Slot) { .memory = memory, .lease = lease, .offset = offset, .length = length };
        slots[n_slots] = slot;
        return n_slots++;
}

static Slot *slot_get(int number) {
        g_assert_cmpint(number, >=, 0);
        g_assert_cmpint(number, <, n_slots);
        g_assert_nonnull(slots[number]);
        return slots[number];
}

void slot_borrow(int slot, int *ret_memory, int *ret_lease, uint8_t **ret_address) {
        const Slot *borrowed = slot_get(slot);

        if (ret_memory)
                *ret_memory = borrowed->memory;
        if (ret_lease)
                *ret_lease = borrowed->lease;
        if (ret_address)
                *ret_address = borrowed->address;
}

static void close_if_open(int *fd) {
        if (*fd >= 0)
                close(*fd);
        *fd = -1;
}

static void slot_unmap(Slot *slot) {
        if (slot->address)
                g_assert_cmpint(munmap(slot->address, slot->length), ==, 0);
        slot->address = NULL;
}

/* ---- Memory ---------------------------------------------------------------------------------------------------- */

typedef struct MemoryRequest {
        int slot;
        int number; /* a mode, flags, seals, protection */
        uint64_t offset, length;
        uint8_t value;
} MemoryRequest;

static sigjmp_buf fault;

static void on_fault(int signal) {
        (void) signal;
        siglongjmp(fault, 1);
}

static void catch_faults(void) {
        struct sigaction action = { .sa_handler = on_fault };

        g_assert_cmpint(sigaction(SIGBUS, &action, NULL), ==, 0);
        g_assert_cmpint(sigaction(SIGSEGV, &action, NULL), ==, 0);
}

static int64_t memory_call(User *user, UserFunction function, const MemoryRequest *request) {
        return user_call(user, function, request, sizeof(*request), NULL, 0);
}

static int64_t result(int r) {
        return r < 0 ? -errno : r;
}

static int64_t do_map(UserCall *call) {
        const MemoryRequest *request = call->data;
        Slot *slot = slot_get(request->slot);
        void *address;

        g_assert_null(slot->address);
        address = mmap(NULL, slot->length, request->number, MAP_SHARED, slot->memory, (off_t) slot->offset);
        if (address == MAP_FAILED)
                return -errno;
        slot->address = address;
        return 0;
}

int user_map(User *user, int slot) {
        return (int) memory_call(user, do_map, &(MemoryRequest) { .slot = slot, .number = PROT_READ | PROT_WRITE });
}

int user_map_read_only(User *user, int slot) {
        return (int) memory_call(user, do_map, &(MemoryRequest) { .slot = slot, .number = PROT_READ });
}

static int64_t do_peek(UserCall *call) {
        const MemoryRequest *request = call->data;
        const Slot *slot = slot_get(request->slot);

        g_assert_nonnull(slot->address);
        catch_faults();
        if (sigsetjmp(fault, 1) != 0)
                return -EFAULT;
        return ((volatile uint8_t *) slot->address)[request->offset];
}

int user_peek(User *user, int slot, uint64_t offset) {
        return (int) memory_call(user, do_peek, &(MemoryRequest) { .slot = slot, .offset = offset });
}

static int64_t do_poke(UserCall *call) {
        const MemoryRequest *request = call->data;
        const Slot *slot = slot_get(request->slot);

        g_assert_nonnull(slot->address);
        catch_faults();
        if (sigsetjmp(fault, 1) != 0)
                return -EFAULT;
        ((volatile uint8_t *) slot->address)[request->offset] = request->value;
        return 0;
}

int user_poke(User *user, int slot, uint64_t offset, uint8_t value) {
        return (int) memory_call(user, do_poke, &(MemoryRequest) { .slot = slot, .offset = offset, .value = value });
}

static int64_t do_is_filled(UserCall *call) {
        const MemoryRequest *request = call->data;
        const Slot *slot = slot_get(request->slot);

        g_assert_nonnull(slot->address);
        catch_faults();
        if (sigsetjmp(fault, 1) != 0)
                return -EFAULT;
        /* all bytes are equal if the first is right and each equals the next */
        return slot->address[0] == request->value && memcmp(slot->address, slot->address + 1, slot->length - 1) == 0;
}

int user_is_filled(User *user, int slot, uint8_t value) {
        return (int) memory_call(user, do_is_filled, &(MemoryRequest) { .slot = slot, .value = value });
}

static int64_t do_fill(UserCall *call) {
        const MemoryRequest *request = call->data;
        const Slot *slot = slot_get(request->slot);

        g_assert_nonnull(slot->address);
        catch_faults();
        if (sigsetjmp(fault, 1) != 0)
                return -EFAULT;
        memset(slot->address, request->value, slot->length);
        return 0;
}

int user_fill(User *user, int slot, uint8_t value) {
        return (int) memory_call(user, do_fill, &(MemoryRequest) { .slot = slot, .value = value });
}

static int64_t do_truncate(UserCall *call) {
        const MemoryRequest *request = call->data;

        return result(ftruncate(slot_get(request->slot)->memory, (off_t) request->length));
}

int user_truncate(User *user, int slot, uint64_t size) {
        return (int) memory_call(user, do_truncate, &(MemoryRequest) { .slot = slot, .length = size });
}

static int64_t do_fallocate(UserCall *call) {
        const MemoryRequest *request = call->data;

        return result(fallocate(slot_get(request->slot)->memory, request->number, (off_t) request->offset,
                                (off_t) request->length));
}

int user_fallocate(User *user, int slot, int mode, uint64_t offset, uint64_t length) {
        return (int) memory_call(user, do_fallocate, &(MemoryRequest) {
                .slot = slot, .number = mode, .offset = offset, .length = length });
}

static int64_t do_add_seals(UserCall *call) {
        const MemoryRequest *request = call->data;

        return result(fcntl(slot_get(request->slot)->memory, F_ADD_SEALS, request->number));
}

int user_add_seals(User *user, int slot, unsigned seals) {
        return (int) memory_call(user, do_add_seals, &(MemoryRequest) { .slot = slot, .number = (int) seals });
}

static int64_t do_get_seals(UserCall *call) {
        const MemoryRequest *request = call->data;

        return result(fcntl(slot_get(request->slot)->memory, F_GET_SEALS));
}

int user_get_seals(User *user, int slot) {
        return (int) memory_call(user, do_get_seals, &(MemoryRequest) { .slot = slot });
}

static int64_t do_pwrite(UserCall *call) {
        const MemoryRequest *request = call->data;

        return result((int) pwrite(slot_get(request->slot)->memory, &request->value, 1, (off_t) request->offset));
}

int user_pwrite(User *user, int slot, uint64_t offset, uint8_t value) {
        return (int) memory_call(user, do_pwrite, &(MemoryRequest) { .slot = slot, .offset = offset, .value = value });
}

static int64_t do_reopen(UserCall *call) {
        const MemoryRequest *request = call->data;
        Slot *slot = slot_get(request->slot);
        g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", slot->memory);
        int fd;

        fd = open(path, request->number | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        close(slot->memory);
        slot->memory = fd;
        return 0;
}

int user_reopen(User *user, int slot, int flags) {
        return (int) memory_call(user, do_reopen, &(MemoryRequest) { .slot = slot, .number = flags });
}

/* ---- Letting go, passing on -------------------------------------------------------------------------------------- */

enum {
        DROP_MAPPING = 1,
        DROP_MEMORY = 2,
        DROP_LEASE = 4,
        DROP_ALL = 7,
};

static void slot_drop(Slot *slot, int what) {
        if (what & DROP_MAPPING)
                slot_unmap(slot);
        if (what & DROP_MEMORY)
                close_if_open(&slot->memory);
        if (what & DROP_LEASE)
                close_if_open(&slot->lease);
}

static int64_t do_drop(UserCall *call) {
        const MemoryRequest *request = call->data;

        for (int i = 0; i < n_slots; i++) {
                if (!slots[i] || (request->slot >= 0 && request->slot != i))
                        continue;
                slot_drop(slots[i], request->number);
                if (request->number == DROP_ALL) {
                        g_free(slots[i]);
                        slots[i] = NULL;
                }
        }
        return 0;
}

void user_unmap(User *user, int slot) {
        memory_call(user, do_drop, &(MemoryRequest) { .slot = slot, .number = DROP_MAPPING });
}

void user_close_memory(User *user, int slot) {
        memory_call(user, do_drop, &(MemoryRequest) { .slot = slot, .number = DROP_MEMORY });
}

void user_close_lease(User *user, int slot) {
        memory_call(user, do_drop, &(MemoryRequest) { .slot = slot, .number = DROP_LEASE });
}

void user_drop(User *user, int slot) {
        memory_call(user, do_drop, &(MemoryRequest) { .slot = slot, .number = DROP_ALL });
}

void user_drop_all(User *user) {
        memory_call(user, do_drop, &(MemoryRequest) { .slot = -1, .number = DROP_ALL });
}

static int64_t do_let_go(UserCall *call) {
        int wanted = *(const int *) call->data;

        for (int i = 0; i < n_slots; i++) {
                Slot *slot = slots[i];

                if (!slot || (wanted >= 0 && wanted != i))
                        continue;
                close_if_open(&slot->memory);
                if (slot->address)
                        g_assert_true(mmap(slot->address, slot->length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
                                           -1, 0) == slot->address);
        }
        return 0;
}

void user_let_go(User *user, int slot) {
        if (provider_is_device())
                user_call(user, do_let_go, &slot, sizeof(slot), NULL, 0);
}

static int64_t do_show(UserCall *call) {
        const MemoryRequest *request = call->data;
        const Slot *slot = slot_get(request->slot);
        MemoryRequest *answer = call->answer;

        *answer = (MemoryRequest) { .offset = slot->offset, .length = slot->length };
        call->answer_size = sizeof(*answer);
        call->answer_fds[call->n_answer_fds++] = slot->memory;
        if (slot->lease >= 0)
                call->answer_fds[call->n_answer_fds++] = slot->lease;
        return 0;
}

static int64_t do_take(UserCall *call) {
        const MemoryRequest *request = call->data;

        return slot_add_consume_fds(call->fds[0], call->n_fds > 1 ? call->fds[1] : -1, request->offset, request->length);
}

int user_give(User *from, int slot, User *to) {
        MemoryRequest request = { .slot = slot };
        int fds[USER_FDS_MAX], number;
        unsigned n_fds;

        user_begin(from, do_show, &request, sizeof(request), NULL, 0);
        user_end(from, &request, sizeof(request), fds, &n_fds);
        user_begin(to, do_take, &request, sizeof(request), fds, n_fds);
        number = (int) user_end(to, NULL, 0, NULL, NULL);

        for (unsigned i = 0; i < n_fds; i++)
                close(fds[i]);
        return number;
}

static pid_t children[64];
static size_t n_children;

static int64_t do_fork_child(UserCall *call) {
        pid_t pid;

        (void) call;
        g_assert_cmpuint(n_children, <, G_N_ELEMENTS(children));
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                /* It must not keep the test's socket, or the test would never see this user go. */
                close(3);
                for (;;)
                        pause();
        }

        children[n_children++] = pid;
        return pid;
}

pid_t user_fork_child(User *user) {
        return (pid_t) user_call(user, do_fork_child, NULL, 0, NULL, 0);
}

static int64_t do_end_children(UserCall *call) {
        (void) call;
        while (n_children > 0) {
                pid_t pid = children[--n_children];

                g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
                g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
        }
        return 0;
}

void user_end_children(User *user) {
        user_call(user, do_end_children, NULL, 0, NULL, 0);
}

static int64_t do_count_blocks(UserCall *call) {
        struct stat st;
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        g_assert_cmpint(fstat(memory, &st), ==, 0);
        return st.st_blocks;
}

uint64_t user_bytes_present(User *user, int slot) {
        return (uint64_t) user_call(user, do_count_blocks, &slot, sizeof(slot), NULL, 0) * 512;
}
