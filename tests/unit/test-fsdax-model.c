/* SPDX-License-Identifier: MIT */

/* What grants on a file system are promised, whatever they, others and strangers do there in whichever order: who has lost
 * nothing can have all that is his at any time. A file system of a certain size is pretended, in which only lengths count,
 * and some thousand steps are made at random. A stranger fills it whenever he can. Only who has just given something back,
 * and has not got it again, can lose by that; he says so, and it is made up for when there is room. */

#include "fsdax-directory.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cleanup.h"
#include "size.h"

#define CAPACITY (16 * MIB)
#define OVERSTATED (64 * KIB) /* so much more it says that is free than is */
#define GRANTS 4
#define GRANT_MAX (3 * MIB)
#define MEMBERS 4
#define STEPS 1000
#define ALIEN ".alien"

typedef struct Member {
        bool exists;
        Piece piece;
} Member;

typedef struct Tenant {
        bool exists;    /* the grant does; members can outlive it */
        bool returning; /* it has given something back, and nobody has seen to that yet */
        bool at_risk;   /* somebody else has taken room then, and it may lack some since */
        Hold *hold;
        char *handle;
        uint64_t size, taken;
        unsigned n;
        Member members[MEMBERS];
} Tenant;

static GRand *dice;
static bool uncertain; /* somebody has lost something, and nobody has seen whose it was */
static const char *path;
static Tenant tenants[GRANTS];
static Member plain; /* of no grant */
static uint64_t next_id = 1;

/* ---- The file system ---- */

/* Of one without a name, or nothing. */
static uint64_t nameless(int fd) {
        struct stat st;

        return fstat(fd, &st) < 0 || st.st_nlink > 0 ? 0 : (uint64_t) st.st_size;
}

/* What the files have, and one that has no name yet. */
static uint64_t used(int fd) {
        g_autoptr(GDir) directory = path ? g_dir_open(path, 0, NULL) : NULL;
        uint64_t sum = nameless(fd);
        const char *name;

        while (directory && (name = g_dir_read_name(directory))) {
                g_autofree char *file = g_build_filename(path, name, NULL);
                struct stat st;

                g_assert_cmpint(stat(file, &st), ==, 0);
                sum += (uint64_t) st.st_size;
        }
        return sum;
}

int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length) {
        struct stat st;

        g_assert_cmpint(fstat(fd, &st), ==, 0);
        if (offset + length > st.st_size && used(fd) + (uint64_t) (offset + length - st.st_size) > CAPACITY) {
                errno = ENOSPC;
                return -1;
        }
        return __real_fallocate64(fd, mode, offset, length);
}

int __real_fstatvfs64(int fd, struct statvfs *vfs);
int __wrap_fstatvfs64(int fd, struct statvfs *vfs);

int __wrap_fstatvfs64(int fd, struct statvfs *vfs) {
        int r = __real_fstatvfs64(fd, vfs);

        vfs->f_blocks = CAPACITY / vfs->f_frsize;
        vfs->f_bfree = vfs->f_bavail = (CAPACITY - used(-EBADF) + OVERSTATED) / vfs->f_frsize;
        return r;
}

/* ---- Its tenants ---- */

static uint64_t pages(uint64_t most) {
        return most / FSDAX_PAGE == 0 ? 0 : (uint64_t) g_rand_int_range(dice, 1, (gint32) (most / FSDAX_PAGE) + 1) * FSDAX_PAGE;
}

/* What is promised anybody else. */
static uint64_t spare(Directory *directory) {
        _cleanup_close_ int dir_fd = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        Fsdax *fsdax = directory->region->state;
        uint64_t owed;

        fsdax_measure(fsdax, dir_fd);
        owed = fsdax_holds_owed(fsdax) + OVERSTATED;
        return fsdax->facts.available > owed ? fsdax->facts.available - owed : 0;
}

static uint64_t left(const Tenant *tenant) {
        return tenant->size - tenant->taken;
}

static void count(Tenant *tenant) {
        provider_fsdax.hold_resize(tenant->hold, left(tenant), tenant->size, tenant->n);
}

static void plan(Directory *directory, Hold *hold, uint64_t size, Piece *ret) {
        Request request = { .size = size, .alignment = 1 };
        Failure failure = { 0 };

        g_assert_cmpint(provider_fsdax.plan(directory->region, &request, ret, &failure), ==, 0);
        ret->hold = hold;
        g_assert_cmpint(provider_fsdax.reserve(directory->region, ret, &failure), ==, 0);
}

/* Only who is at risk may hear so late that there is no room. */
static int assert_had(const Tenant *tenant, int r, const Failure *failure) {
        if (r < 0 && (!tenant || !tenant->at_risk || failure->refusal != REFUSAL_NoSpace))
                g_error("what was promised cannot be had: %s", failure->text);
        return r;
}

static void carve(const Tenant *tenant, Member *member) {
        Failure failure = { 0 };
        char id[17];
        int r;

        g_snprintf(id, sizeof(id), "%016" G_GINT64_MODIFIER "x", next_id++);
        r = provider_fsdax.carve(&member->piece, id, &failure);
        if (r >= 0)
                r = provider_fsdax.write_record(&member->piece, id, TEXT, &failure);
        member->exists = assert_had(tenant, r, &failure) >= 0;
}

/* Somebody has seen to what was given back. */
static void settled(void) {
        for (unsigned i = 0; i < GRANTS; i++)
                tenants[i].returning = false;
        uncertain = false;
}

/* Who has given something back when that is lost, or while nobody knows who has lost some, can lose it. */
static void give_back(Tenant *tenant) {
        tenant->returning = true;
        tenant->at_risk = tenant->at_risk || uncertain;
}

static void lose(void) {
        for (unsigned i = 0; i < GRANTS; i++)
                if (tenants[i].exists && tenants[i].returning)
                        tenants[i].at_risk = uncertain = true;
}

static void assert_kept(void) {
        for (unsigned i = 0; i < GRANTS; i++) {
                Tenant *tenant = &tenants[i];

                if (!tenant->exists || tenant->returning)
                        continue;
                if (!tenant->at_risk)
                        g_assert_cmpuint(provider_fsdax.hold_largest(tenant->hold), ==, left(tenant));
                else if (provider_fsdax.hold_largest(tenant->hold) == left(tenant))
                        tenant->at_risk = false;
        }
}

static void replenish(Directory *directory) {
        Failure failure = { 0 };

        g_assert_cmpint(provider_fsdax.replenish(directory->region, &failure), ==, 0);
        provider_fsdax.replenished(directory->region);
        settled();
}

static void begin(Directory *directory, Tenant *tenant) {
        uint64_t most = spare(directory), size = pages(MIN(most, GRANT_MAX));
        Failure failure = { 0 };
        Piece piece;

        for (unsigned i = 0; i < MEMBERS; i++)
                if (tenant->members[i].exists)
                        return;
        if (size == 0)
                return;
        plan(directory, NULL, size, &piece);
        g_assert_cmpint(provider_fsdax.hold(directory->region, &piece, &tenant->hold, &tenant->handle, &failure), ==, 0);
        if (provider_fsdax.hold_make(tenant->hold, &failure) < 0)
                g_error("what is free cannot be kept: %s", failure.text);
        settled();
        tenant->exists = true;
        tenant->returning = tenant->at_risk = false;
        tenant->size = piece.length;
        tenant->taken = tenant->n = 0;
}

static void end(Directory *directory, Tenant *tenant) {
        for (unsigned i = 0; i < MEMBERS; i++)
                tenant->members[i].piece.hold = NULL;
        provider_fsdax.hold_end(directory->region, tenant->hold);
        g_clear_pointer(&tenant->handle, g_free);
        tenant->exists = false;
}

static void forget(Tenant *tenant, Member *member) {
        uint64_t length = member->piece.length;

        member->exists = false;
        if (!tenant || !tenant->exists)
                return;
        tenant->taken -= length;
        tenant->n--;
        give_back(tenant);
        count(tenant);
}

static void take(Directory *directory, Tenant *tenant, Member *member) {
        uint64_t size = pages(MIN(provider_fsdax.hold_largest(tenant->hold), left(tenant)));

        if (size == 0)
                return;
        plan(directory, tenant->hold, size, &member->piece);
        tenant->taken += size;
        tenant->n++;
        count(tenant);
        carve(tenant, member);
        if (!member->exists)
                forget(tenant, member);
}

static void drop(Tenant *tenant, Member *member) {
        piece_revoke(&member->piece);
        forget(tenant, member);
}

static void resize(Tenant *tenant, Member *member) {
        uint64_t before = member->piece.length, length;
        bool grows = g_rand_boolean(dice);
        Failure failure = { 0 };
        int r;

        length = grows ? before + pages(MIN(provider_fsdax.hold_largest(tenant->hold), left(tenant))) : pages(before);
        if (length == before)
                return;
        if (grows) {
                tenant->taken += length - before;
                count(tenant);
        }
        r = assert_had(tenant, provider_fsdax.resize(&member->piece, length, &failure), &failure);
        if (r >= 0)
                member->piece.length = length;
        if (r < 0 || !grows) {
                tenant->taken -= grows ? length - before : before - length;
                give_back(tenant);
                count(tenant);
        }
}

/* ---- Others ---- */

static void carve_plain(Directory *directory) {
        uint64_t size;

        if (plain.exists) {
                drop(NULL, &plain);
                return;
        }
        size = pages(MIN(spare(directory), MIB));
        if (size == 0)
                return;
        plan(directory, NULL, size, &plain.piece);
        carve(NULL, &plain);
        settled();
}

/* Who has nothing to do with us takes all that is free, or some of it, or gives it back. */
static void intrude(Directory *directory) {
        g_autofree char *file = directory_file(directory, ALIEN);
        _cleanup_close_ int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        uint64_t more, length = size_of(fd);

        if (g_rand_int_range(dice, 0, 8) == 0) {
                g_assert_cmpint(ftruncate(fd, (off_t) (length - pages(length))), ==, 0);
                return;
        }
        more = CAPACITY - used(-EBADF);
        more = g_rand_int_range(dice, 0, 4) > 0 ? more : pages(more);
        g_assert_cmpint(ftruncate(fd, (off_t) (length + more)), ==, 0);
        if (more > 0)
                lose();
}

static void leave(Directory *directory) {
        g_autofree char *file = directory_file(directory, ALIEN);

        (void) g_unlink(file);
}

/* ---- A broker that begins where another one was killed ---- */

static void claim(Directory *directory, Member *member, Hold *hold) {
        Failure failure = { 0 };

        member->piece.hold = hold;
        member->piece.counted = 0;
        g_assert_cmpint(provider_fsdax.claim(directory->region, &member->piece, &failure), ==, 0);
}

static void restart(Directory *directory) {
        Failure failure = { 0 };

        region_free(directory->region);
        g_assert_cmpint(region_new(&directory->config, NULL, -EBADF, &directory->region), ==, 0);
        for (unsigned i = 0; i < GRANTS; i++) {
                Tenant *tenant = &tenants[i];

                if (tenant->exists) /* what was being given back, nobody can tell from what it lacks */
                        g_assert_cmpint(provider_fsdax.hold_again(directory->region, tenant->handle, tenant->size,
                                                                  &tenant->hold, &failure),
                                        ==, 0);
                for (unsigned m = 0; m < MEMBERS; m++)
                        if (tenant->members[m].exists)
                                claim(directory, &tenant->members[m], tenant->exists ? tenant->hold : NULL);
                if (tenant->exists)
                        count(tenant);
                tenant->returning = tenant->returning || tenant->at_risk;
        }
        if (plain.exists)
                claim(directory, &plain, NULL);
        directory_look(directory);
        lose();
        if (g_rand_boolean(dice))
                replenish(directory);
}

/* ---- All of it ---- */

static void step(Directory *directory) {
        Tenant *tenant = &tenants[g_rand_int_range(dice, 0, GRANTS)];
        Member *member = &tenant->members[g_rand_int_range(dice, 0, MEMBERS)];
        int what = g_rand_int_range(dice, 0, 100);

        if (what < 15)
                intrude(directory);
        else if (what < 30)
                replenish(directory);
        else if (what < 32)
                restart(directory);
        else if (what < 35)
                carve_plain(directory);
        else if (what < 36 && tenant->exists)
                end(directory, tenant);
        else if (!tenant->exists && !member->exists)
                begin(directory, tenant);
        else if (!member->exists)
                take(directory, tenant, member);
        else if (what < 60 && tenant->exists)
                resize(tenant, member);
        else
                drop(tenant, member);
        assert_kept();
}

static void run(Directory *directory, uint32_t seed) {
        dice = g_rand_new_with_seed(seed);
        for (unsigned i = 0; i < STEPS; i++) {
                step(directory);
                if (i % 100 == 99) { /* when there is room, nobody lacks anything */
                        leave(directory);
                        replenish(directory);
                        replenish(directory);
                        g_assert_false(fsdax_holds_lack(directory->region->state));
                        assert_kept();
                        for (unsigned g = 0; g < GRANTS; g++)
                                g_assert_false(tenants[g].at_risk && tenants[g].exists);
                }
        }

        for (unsigned i = 0; i < GRANTS; i++) {
                for (unsigned m = 0; m < MEMBERS; m++)
                        if (tenants[i].members[m].exists)
                                drop(&tenants[i], &tenants[i].members[m]);
                if (tenants[i].exists)
                        end(directory, &tenants[i]);
        }
        if (plain.exists)
                drop(NULL, &plain);
        leave(directory);
        replenish(directory);
        g_assert_cmpuint(used(-EBADF), ==, 0); /* nothing is kept for nobody */
        g_clear_pointer(&dice, g_rand_free);
}

/* The same each time, so that what fails can be looked at; DAXBROKER_TEST_SEED=N for others. */
static void test_model(Directory *directory) {
        const char *seed = g_getenv("DAXBROKER_TEST_SEED");

        path = directory->path;
        if (seed) {
                run(directory, (uint32_t) g_ascii_strtoull(seed, NULL, 10));
                return;
        }
        run(directory, 1);
        run(directory, 2);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        directory_add_test("/fsdax-model/promises", test_model);
        return g_test_run();
}
