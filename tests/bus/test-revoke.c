/* SPDX-License-Identifier: MIT */

/* When an allocation has ended, nobody reaches its memory any more, and the machine has it back. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "huge-pages.h"
#include "memory.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "service-manager.h"
#include "world.h"

#define CONFIGURATION                                                                                                  \
        "[Region dram]\n"                                                                                              \
        "Size=512M\n"

/* A line of /proc/meminfo, in bytes. */
static uint64_t meminfo(const char *key) {
        g_autofree char *text = NULL;
        const char *line;

        g_assert_true(g_file_get_contents("/proc/meminfo", &text, NULL, NULL));
        line = strstr(text, key);
        g_assert_nonnull(line);
        return g_ascii_strtoull(line + strlen(key), NULL, 10) * 1024;
}

/* ---- What else can be done with a slot, in the user's process ----------------------------------------------------- */

static pid_t writer, prober;
static int prober_gate[2];

/* In a child: closes all descriptors but one, leases included; mappings stay. */
static void keep_only(int fd) {
        g_assert_cmpint(dup2(fd >= 0 ? fd : STDERR_FILENO, 3), ==, 3);
        g_assert_cmpint(close_range(4, ~0U, 0), ==, 0);
}

/* A child that writes to the mapping until a signal ends it. */
static int64_t do_start_writer(UserCall *call) {
        volatile uint8_t *address;

        slot_borrow(*(const int *) call->data, NULL, NULL, (uint8_t **) (uintptr_t) &address);
        signal(SIGBUS, SIG_DFL);
        writer = fork();
        if (writer == 0) {
                keep_only(-1);
                for (unsigned i = 0;; i++)
                        address[i % 4096] = (uint8_t) i;
        }
        return 0;
}

static int64_t do_reap_writer(UserCall *call) {
        int status;

        (void) call;
        g_assert_cmpint(waitpid(writer, &status, 0), ==, writer);
        return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* A child that inherits the mapping and looks at it later. */
static int64_t do_start_prober(UserCall *call) {
        volatile uint8_t *address;
        char byte;

        slot_borrow(*(const int *) call->data, NULL, NULL, (uint8_t **) (uintptr_t) &address);
        signal(SIGBUS, SIG_DFL);
        g_assert_cmpint(pipe2(prober_gate, O_CLOEXEC), ==, 0);
        prober = fork();
        if (prober == 0) {
                keep_only(prober_gate[0]);
                (void) !read(3, &byte, 1);
                _exit(address[4095]);
        }
        return 0;
}

/* What it saw, or -EFAULT. */
static int64_t do_probe(UserCall *call) {
        int status;

        (void) call;
        g_assert_cmpint(write(prober_gate[1], "", 1), ==, 1);
        g_assert_cmpint(waitpid(prober, &status, 0), ==, prober);
        close(prober_gate[0]);
        close(prober_gate[1]);
        return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS ? -EFAULT : WEXITSTATUS(status);
}

/* Another mapping of the same memory, private and written to, so that the page is a copy. Not with huge pages, of which
 * it would take one more. */
static int64_t do_copy_private(UserCall *call) {
        uint8_t *address;
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        address = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, memory, 0);
        if (address == MAP_FAILED) {
                g_assert_true(errno == EINVAL || errno == ENOMEM);
                address = NULL;
        } else
                address[0] = 99;
        memcpy(call->answer, &address, sizeof(address));
        call->answer_size = sizeof(address);
        return 0;
}

static sigjmp_buf fault;

static void on_fault(int signal) {
        (void) signal;
        siglongjmp(fault, 1);
}

static int64_t do_peek_address(UserCall *call) {
        struct sigaction action = { .sa_handler = on_fault };
        volatile uint8_t *address;

        memcpy((void *) (uintptr_t) &address, call->data, sizeof(address));
        g_assert_cmpint(sigaction(SIGBUS, &action, NULL), ==, 0);
        return sigsetjmp(fault, 1) != 0 ? -EFAULT : address[0];
}

/* Nothing may be there. Mapping huge pages is the exception: that makes the kernel grow the file, whatever its seals say.
 * What comes then is what MAP_HUGETLB gives to everybody, fresh pages; never those that were here. */
static void assert_unmappable(int memory, bool writable, bool huge) {
        struct sigaction action = { .sa_handler = on_fault };
        volatile uint8_t *address;

        address = mmap(NULL, 2 << 20, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, memory, 0);
        if (address == MAP_FAILED)
                return;

        g_assert_cmpint(sigaction(SIGBUS, &action, NULL), ==, 0);
        if (sigsetjmp(fault, 1) == 0) {
                g_assert_cmpuint(address[0], ==, 0);
                g_assert_true(huge && writable);
        }
        if (!huge && writable && sigsetjmp(fault, 1) == 0) {
                address[0] = 1;
                g_assert_not_reached();
        }
        g_assert_cmpint(munmap((void *) (uintptr_t) address, 2 << 20), ==, 0);
        if (huge && writable)
                g_assert_cmpint(ftruncate(memory, 0), ==, 0);
}

/* Everything the descriptor could still be good for. */
static int64_t do_assert_useless(UserCall *call) {
        bool writable, huge;
        struct statfs fs;
        struct stat st;
        uint8_t byte = 1;
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        writable = (fcntl(memory, F_GETFL) & O_ACCMODE) == O_RDWR;
        g_assert_cmpint(fstat(memory, &st), ==, 0);
        g_assert_cmpint(fstatfs(memory, &fs), ==, 0);
        huge = fs.f_type == HUGETLBFS_MAGIC;
        g_assert_cmpint(st.st_size, ==, 0);
        g_assert_cmpint(st.st_blocks, ==, 0);
        g_assert_cmpint(pread(memory, &byte, 1, 0), ==, 0);

        /* a file can be put something into, and is emptied again */
        if (writable && !provider_is_files()) {
                g_assert_cmpint(ftruncate(memory, 4096), ==, -1);
                g_assert_cmpint(errno, ==, huge ? EINVAL : EPERM);
                g_assert_cmpint(ftruncate(memory, 2 << 20), ==, -1);
                g_assert_cmpint(errno, ==, EPERM);
                g_assert_cmpint(fallocate(memory, 0, 0, 2 << 20), ==, -1);
                g_assert_cmpint(errno, ==, EPERM);
                g_assert_cmpint(fallocate(memory, FALLOC_FL_KEEP_SIZE, 0, 2 << 20), ==, -1);
                g_assert_cmpint(errno, ==, EPERM);
                g_assert_cmpint(pwrite(memory, &byte, 1, 0), ==, -1);
        }
        assert_unmappable(memory, writable, huge);

        g_assert_cmpint(fstat(memory, &st), ==, 0);
        g_assert_cmpint(st.st_blocks, ==, 0);
        return 0;
}

static int64_t on_slot(User *user, UserFunction function, int slot) {
        return user_call(user, function, &slot, sizeof(slot), NULL, 0);
}

/* ---- Everybody who can hold a piece of it ------------------------------------------------------------------------- */

typedef struct Holders {
        Reply reply;
        int again;         /* alice's second slot, opened through /proc/self/fd */
        int bob;           /* received */
        int carol;         /* opened read-only, if it has a name */
        uint64_t private_page; /* an address of alice's, or 0 */
} Holders;

static Holders hold(Scene *scene, uint64_t size, uint64_t alignment, const char *options) {
        bool named = options && strstr(options, "name=");
        Holders holders = { .carol = -1 };

        holders.reply = user_allocate(scene->alice, size, alignment, options);
        reply_assert(holders.reply, "");
        g_assert_cmpint(user_map(scene->alice, holders.reply.slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->alice, holders.reply.slot, 0), ==, 1);
        g_assert_cmpint(user_fill(scene->alice, holders.reply.slot, 0xa5), ==, 0);

        holders.again = user_give(scene->alice, holders.reply.slot, scene->alice);
        g_assert_cmpint(user_reopen(scene->alice, holders.again, O_RDWR), ==, provider_reopened());
        g_assert_cmpint(user_map(scene->alice, holders.again), ==, 0);

        holders.bob = user_give(scene->alice, holders.reply.slot, scene->bob);
        g_assert_cmpint(user_map(scene->bob, holders.bob), ==, 0);
        g_assert_cmpint(user_peek(scene->bob, holders.bob, holders.reply.length - 1), ==, 0xa5);

        if (named) {
                Reply reply = user_open_object(scene->carol, holders.reply.object, "read-only=1");

                reply_assert(reply, "");
                holders.carol = reply.slot;
                g_assert_cmpint(user_map_read_only(scene->carol, holders.carol), ==, 0);
                g_assert_cmpint(user_peek(scene->carol, holders.carol, holders.reply.length - 1), ==, 0xa5);
        }

        on_slot(scene->alice, do_start_writer, holders.reply.slot);
        on_slot(scene->alice, do_start_prober, holders.reply.slot);
        on_slot(scene->bob, do_start_prober, holders.bob);
        g_assert_cmpint(on_slot(scene->bob, do_probe, holders.bob), >=, 0);
        on_slot(scene->bob, do_start_prober, holders.bob);
        user_call(scene->alice, do_copy_private, &holders.reply.slot, sizeof(int), &holders.private_page,
                  sizeof(holders.private_page));
        return holders;
}

static void assert_dead(Scene *scene, const Holders *holders) {
        User *const users[] = { scene->alice, scene->alice, scene->bob, scene->carol };
        const int slots[] = { holders->reply.slot, holders->again, holders->bob, holders->carol };
        uint64_t length = holders->reply.length;

        for (size_t i = 0; i < G_N_ELEMENTS(users); i++) {
                if (slots[i] < 0)
                        continue;
                g_assert_cmpint(user_peek(users[i], slots[i], 0), ==, -EFAULT);
                g_assert_cmpint(user_peek(users[i], slots[i], length / 2), ==, -EFAULT);
                g_assert_cmpint(user_peek(users[i], slots[i], length - 1), ==, -EFAULT);
                if (i != 3)
                        g_assert_cmpint(user_poke(users[i], slots[i], 4096 % length, 1), ==, -EFAULT);
                on_slot(users[i], do_assert_useless, slots[i]);
        }

        g_assert_cmpint(user_call(scene->alice, do_reap_writer, NULL, 0, NULL, 0), ==, SIGBUS);
        g_assert_cmpint(user_call(scene->alice, do_probe, NULL, 0, NULL, 0), ==, -EFAULT);
        g_assert_cmpint(user_call(scene->bob, do_probe, NULL, 0, NULL, 0), ==, -EFAULT);
        if (holders->private_page != 0)
                g_assert_cmpint(user_call(scene->alice, do_peek_address, &holders->private_page,
                                          sizeof(holders->private_page), NULL, 0), ==, -EFAULT);

        /* opened again it is no better */
        /* and nobody may write by that once one may only read */
        g_assert_cmpint(user_reopen(scene->bob, holders->bob, O_RDWR), ==,
                        holders->carol >= 0 ? -EACCES : provider_reopened());
        on_slot(scene->bob, do_assert_useless, holders->bob);
}

static void let_go(Scene *scene) {
        user_drop_all(scene->alice);
        user_drop_all(scene->bob);
        user_drop_all(scene->carol);
}

/* ---- Tests ---------------------------------------------------------------------------------------------------------- */

static const struct {
        uint64_t size, alignment;
        const char *options;
} kinds[] = {
        { 4 * KIB, 1, NULL },
        { 64 * MIB, 1, "prefault=1" },
        { 16 * MIB, 2 * MIB, "prefault=1" },
        { 1 * MIB, 4 * KIB, "name=shared mode=0644" },
        { 64 * MIB, 1, "name=shared mode=0644 prefault=1" },
};

static void test_free(Scene *scene, const void *configuration) {
        (void) configuration;
        skip_on_devices("the memory of a device is not taken from its holders");
        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
                uint64_t available = region_get("dram", "Available");
                Holders holders = hold(scene, kinds[i].size, kinds[i].alignment, kinds[i].options);
                Reply reply;

                g_assert_cmpuint(region_get("dram", "Available"), ==, available - holders.reply.length);
                reply_assert(user_release(scene->alice, holders.reply.object), "");
                g_assert_cmpuint(region_get("dram", "Available"), ==, available);
                assert_dead(scene, &holders);

                /* a second time, and by others */
                reply_assert(user_release(scene->alice, holders.reply.object), "NoSuchAllocation");
                reply_assert(user_release(scene->bob, holders.reply.object), "NoSuchAllocation");
                reply_assert(user_open_object(scene->alice, holders.reply.object, NULL), "NoSuchAllocation");
                reply_assert(user_set_mode(scene->alice, holders.reply.object, 0600), "NoSuchAllocation");

                /* whoever gets it next sees zeros, and those who had it still see nothing */
                reply = user_allocate(scene->carol, region_get("dram", "Available"), 1, NULL);
                reply_assert(reply, "");
                g_assert_cmpint(user_map(scene->carol, reply.slot), ==, 0);
                g_assert_cmpint(user_is_filled(scene->carol, reply.slot, 0), ==, 1);
                g_assert_cmpint(user_poke(scene->carol, reply.slot, 0, 1), ==, 0);
                g_assert_cmpint(user_peek(scene->alice, holders.reply.slot, 0), ==, -EFAULT);
                g_assert_cmpint(user_peek(scene->bob, holders.bob, 0), ==, -EFAULT);
                let_go(scene);
                g_assert_cmpuint(region_wait("dram", "Available", available), ==, available);
        }
}

/* The same when the last lease goes and mappings stay. */
static void test_lapse(Scene *scene, const void *configuration) {
        (void) configuration;
        skip_on_devices("the memory of a device is not taken from its holders");
        for (size_t i = 0; i < 3; i++) {
                Holders holders = hold(scene, kinds[i].size, kinds[i].alignment, kinds[i].options);

                user_close_lease(scene->alice, holders.reply.slot);
                user_close_lease(scene->bob, holders.bob);
                g_assert_cmpint(user_peek(scene->bob, holders.bob, holders.reply.length - 2), >=, 0);
                user_close_lease(scene->alice, holders.again);
                g_assert_true(allocation_wait_gone(scene->root, holders.reply.object));
                assert_dead(scene, &holders);
                let_go(scene);
        }
}

/* Somebody else's word, which polkit allows. */
static void test_free_other(Scene *scene, const void *configuration) {
        Holders holders;

        (void) configuration;
        skip_on_devices("the memory of a device is not taken from its holders");
        holders = hold(scene, MIB, 1, "name=shared mode=0644");
        reply_assert(user_release(scene->bob, holders.reply.object), "AuthenticationRequired");
        reply_assert(user_release(scene->carol, holders.reply.object), "AuthenticationRequired");
        g_assert_cmpint(user_peek(scene->bob, holders.bob, 0x8000), ==, 0xa5);
        reply_assert(user_release(scene->root, holders.reply.object), "");
        assert_dead(scene, &holders);
}

/* Two who free at once: both are told when it is over. A device is not until its holder has let go, which one of them is
 * told. */
static void test_free_twice(Scene *scene, const void *configuration) {
        const char *too_late = provider_is_device() ? "Busy" : "NoSuchAllocation";

        (void) configuration;
        for (unsigned i = 0; i < provider_rounds(50); i++) {
                User *twin = i % 2 == 0 ? scene->root : scene->alice;
                Reply reply = user_allocate(scene->alice, 16 * MIB, 1, "prefault=1"), first, second;

                reply_assert(reply, "");
                g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
                user_begin_release(scene->root, reply.object);
                if (twin == scene->alice) {
                        first = user_release(scene->alice, reply.object);
                        second = user_end_reply(scene->root);
                } else {
                        first = user_end_reply(scene->root);
                        second = user_release(scene->alice, reply.object);
                }
                user_let_go(scene->alice, reply.slot);
                g_assert_cmpint(user_peek(scene->alice, reply.slot, 0), ==, -EFAULT);
                if (!g_str_equal(first.error, ""))
                        reply_assert(first, too_late);
                if (!g_str_equal(second.error, ""))
                        reply_assert(second, too_late);
                g_assert_true(g_str_equal(first.error, "") || g_str_equal(second.error, ""));
                user_drop_all(scene->alice);
        }
}

/* The machine has it back, too. Others may use memory at the same time; not that much, and not for ever. */
static void test_machine(Scene *scene, const void *configuration) {
        uint64_t before = meminfo("Shmem:");
        Reply reply;
        int slot;

        (void) configuration;
        skip_on_files("files are not the memory of the machine");
        skip_on_devices("the memory of a device is not taken from its holders");
        reply = user_allocate(scene->alice, 384 * MIB, 1, "prefault=1");
        reply_assert(reply, "");
        g_assert_true(wait_until(20, meminfo("Shmem:") >= before + 192 * MIB));
        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        slot = user_give(scene->alice, reply.slot, scene->bob);
        g_assert_cmpint(user_map(scene->bob, slot), ==, 0);
        g_assert_cmpint(user_is_filled(scene->bob, slot, 0), ==, 1);

        reply_assert(user_release(scene->alice, reply.object), "");
        g_assert_true(wait_until(20, meminfo("Shmem:") < before + 192 * MIB));
        on_slot(scene->alice, do_assert_useless, reply.slot);
        on_slot(scene->bob, do_assert_useless, slot);
}

static void test_huge_pages(Scene *scene, const void *configuration) {
        (void) configuration;
        skip_on_files("files have none that could be missing");
        skip_on_devices("a dax region has no huge pages that could be missing");
        if (!huge_pages_reserve(8))
                g_test_skip("this machine has no 8 huge pages to spare");
        else {
                uint64_t before = huge_pages_count_free();
                Holders holders = hold(scene, 16 * MIB, 2 * MIB, "page-size=2097152 name=shared mode=0644");

                g_assert_cmpuint(allocation_get(scene->alice, holders.reply.object, "PageSize"), ==,
                                 2 * MIB);
                g_assert_cmpuint(huge_pages_count_free(), ==, before - 8);
                reply_assert(user_release(scene->alice, holders.reply.object), "");
                g_assert_cmpuint(huge_pages_count_free(), ==, before);
                assert_dead(scene, &holders);
                g_assert_cmpuint(huge_pages_count_free(), ==, before);
                let_go(scene);
        }
        huge_pages_restore();
}

/* Memory that is taken from its holders by Free needs no force; and who may use it is an admin. */
static void test_force(Scene *scene, const void *configuration) {
        Reply reply = user_get(scene->alice, MIB, "name=forced mode=0666"), refused;

        (void) configuration;
        reply_assert(user_revoke(scene->alice, reply.object, NULL), "AuthenticationRequired");
        reply_assert(user_revoke(scene->bob, reply.object, "despite-references=1"), "AuthenticationRequired");

        refused = user_revoke(scene->root, reply.object, NULL);
        reply_assert(refused, "Busy");
        assert_says(refused.message, "it is live; free it first");
        reply_assert(user_revoke(scene->root, reply.object, "despite-references=1"), "Busy");

        refused = user_revoke(scene->root, reply.object, "despite-everything=1");
        reply_assert(refused, "BadOption");
        assert_says(refused.message, "option despite-everything is unknown; there are: despite-references");
        reply_assert(user_revoke(scene->root, reply.object, "despite-references/u=1"), "BadOption");

        g_assert_cmpint(user_map(scene->alice, reply.slot), ==, 0);
        g_assert_cmpint(user_poke(scene->alice, reply.slot, 0, 1), ==, 0);
        reply_assert(user_release(scene->alice, reply.object), "");
        user_let_go(scene->alice, reply.slot);
        scene_assert_gone(scene, &reply);
        reply_assert(user_revoke(scene->root, reply.object, NULL), "NoSuchAllocation");
}

/* Nor does force help where the broker has no way to the memory any more. */
static void test_force_detached(Scene *scene, const void *configuration) {
        Reply reply = user_get(scene->alice, MIB, NULL), refused;
        g_autofree char *state = NULL;

        (void) configuration;
        skip_on_files("files are found again without a descriptor");
        broker_stop(scene->broker);
        service_manager_drop_fds(scene->broker->manager, NULL);
        broker_start(scene->broker);
        state = allocation_get_string(scene->alice, reply.object, "State");
        g_assert_cmpstr(state, ==, "detached");
        refused = user_revoke(scene->root, reply.object, NULL);
        reply_assert(refused, "Busy");
        assert_says(refused.message, "it ends when its last holder lets go");
        user_drop(scene->alice, reply.slot);
        g_assert_true(allocation_wait_gone(scene->alice, reply.object));
}

/* ---- Put into what is left --------------------------------------------------------------------------------------- */

static pid_t filler = -1;

static int64_t do_start_filler(UserCall *call) {
        const uint8_t byte = 1;
        int memory;

        slot_borrow(*(const int *) call->data, &memory, NULL, NULL);
        filler = fork();
        for (; filler == 0;)
                if (pwrite(memory, &byte, 1, 0) != 1)
                        _exit(1);
        return 0;
}

static int64_t do_stop_filler(UserCall *call) {
        int status;

        (void) call;
        g_assert_cmpint(kill(filler, SIGKILL), ==, 0);
        g_assert_cmpint(waitpid(filler, &status, 0), ==, filler);
        return WIFSIGNALED(status);
}

/* Who puts something into what is left of a file, again and again, has it taken away now and then; and fills no log. */
static void test_refill(Scene *scene, const void *configuration) {
        static const char says[] = "somebody has put them there since";
        Reply reply;
        size_t mark;

        (void) configuration;
        if (!provider_is_files()) {
                g_test_skip("that is possible with files only");
                return;
        }

        reply = user_get(scene->alice, 64 * KIB, NULL);
        mark = broker_mark_log(scene->broker);
        reply_assert(user_release(scene->alice, reply.object), "");
        on_slot(scene->alice, do_start_filler, reply.slot);
        g_assert_true(broker_wait_log(scene->broker, mark, says));
        mark = broker_mark_log(scene->broker);
        g_usleep(3000000);
        g_assert_cmpuint(broker_count_log(scene->broker, mark, says), <=, 10);
        g_assert_cmpint(user_call(scene->alice, do_stop_filler, NULL, 0, NULL, 0), ==, 1);
        user_drop(scene->alice, reply.slot);
        g_assert_cmpuint(region_wait("dram", "Available", scene->before.available), ==, scene->before.available);
}

static void set_up(Scene *scene, const void *configuration) {
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        g_test_add("/revoke/free", Scene, CONFIGURATION, set_up, test_free, scene_tear_down);
        g_test_add("/revoke/lapse", Scene, CONFIGURATION, set_up, test_lapse, scene_tear_down);
        g_test_add("/revoke/free-other", Scene, CONFIGURATION, set_up, test_free_other, scene_tear_down);
        g_test_add("/revoke/free-twice", Scene, CONFIGURATION, set_up, test_free_twice, scene_tear_down);
        g_test_add("/revoke/refill", Scene, CONFIGURATION, set_up, test_refill, scene_tear_down);
        g_test_add("/revoke/force", Scene, CONFIGURATION, set_up, test_force, scene_tear_down);
        g_test_add("/revoke/force-detached", Scene, CONFIGURATION, set_up, test_force_detached, scene_tear_down);
        g_test_add("/revoke/machine", Scene, CONFIGURATION, set_up, test_machine, scene_tear_down);
        g_test_add("/revoke/huge-pages", Scene, CONFIGURATION, set_up, test_huge_pages, scene_tear_down);
        return g_test_run();
}
