/* SPDX-License-Identifier: MIT */

/* A pool of libpmemobj, of whose transactions a crash leaves all or nothing, in memory that was inherited:
 *
 *         daxbrokerctl run --name accounts --persistent --region pmem0 --size 16M -- ./object-pool
 *         daxbrokerctl open accounts -- ./object-pool
 *
 * libpmemobj takes a path and opens it itself. For ordinary memory /proc/self/fd/N would do. But the file of a
 * persistent allocation belongs to the service, and nobody else can open it, by whatever path: a descriptor is all that
 * anybody gets, and it tells what may be done with it. So here libpmemobj's calls of open() end up at ours, which knows
 * one path that is no path: it stands for the descriptor that we have. This works for all kinds of memory, and for all
 * libraries that call open() from outside of the C library. */

#include <daxbroker.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libpmemobj.h>
#include <libpmempool.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LAYOUT "daxbroker-example"

static char memory_path[64];
static int memory_fd = -1;

/* The symbol "open", whatever the name in C stands for. */
int open_by_name(const char *path, int flags, ...) __asm__("open") __attribute__((visibility("default")));

int open_by_name(const char *path, int flags, ...) {
        va_list arguments;
        mode_t mode = 0;
        int fd;

        if (flags & (O_CREAT | __O_TMPFILE)) {
                va_start(arguments, flags);
                mode = va_arg(arguments, mode_t);
                va_end(arguments);
        }

        if (memory_fd < 0 || strcmp(path, memory_path) != 0)
                return openat(AT_FDCWD, path, flags, mode);

        /* Copies have one position in the file, which begins anew for whoever believes to have opened it. */
        fd = fcntl(memory_fd, F_DUPFD_CLOEXEC, 3);
        if (fd >= 0)
                (void) lseek(fd, 0, SEEK_SET);
        return fd;
}

/* Two accounts, of which one has what the other has not. New memory in a pool is all zeros. */
typedef struct Accounts {
        int64_t here, there;
        uint64_t transfers;
} Accounts;

static int transfer(PMEMobjpool *pool, PMEMoid root) {
        Accounts *accounts = pmemobj_direct(root);
        int r;

        r = pmemobj_tx_begin(pool, NULL, TX_PARAM_NONE);
        if (r == 0) {
                r = pmemobj_tx_add_range(root, 0, sizeof(*accounts));
                if (r == 0) {
                        accounts->here--;
                        accounts->transfers++;
                        accounts->there++;
                        pmemobj_tx_commit();
                }
        }

        (void) pmemobj_tx_end();
        return r;
}

static int use(PMEMobjpool *pool, unsigned long n) {
        PMEMoid root = pmemobj_root(pool, sizeof(Accounts));
        const Accounts *accounts = pmemobj_direct(root);

        if (!accounts)
                return EXIT_FAILURE;

        printf("found %" PRIu64 " transfers\n", accounts->transfers);
        for (;;) {
                if (accounts->here + accounts->there != 0 || accounts->transfers != (uint64_t) accounts->there) {
                        fprintf(stderr, "object-pool: half of a transfer is lost\n");
                        return EXIT_FAILURE;
                }

                if (n-- == 0)
                        return EXIT_SUCCESS;

                if (transfer(pool, root) != 0)
                        return EXIT_FAILURE;

                printf("made transfer %" PRIu64 "\n", accounts->transfers);
                fflush(stdout);
        }
}

/* It makes a pool only where all is zero, so it destroys nothing; but if it is killed meanwhile, there is neither a pool
 * nor zeros.
 *
 * On NVDIMMs it would like to count the failures of power, and to look for broken memory whenever the pool is opened.
 * Both takes what only root may read, so a pool that is to be opened by anybody else must not want it. (The service
 * looks for broken memory itself.) Where the memory is a device it insists on looking once, so there it takes root to
 * make a pool, with "daxbrokerctl open". */
static PMEMobjpool *make(void) {
        PMEMobjpool *pool;
        int off = 0;

        (void) pmemobj_ctl_set(NULL, "sds.at_create", &off);
        pool = pmemobj_create(memory_path, LAYOUT, 0, 0600);
        if (!pool)
                return NULL;

        pmemobj_close(pool);
        if (pmempool_feature_disable(memory_path, PMEMPOOL_FEAT_CHECK_BAD_BLOCKS, 0) < 0)
                fprintf(stderr, "object-pool: %s\n", pmempool_errormsg());
        return pmemobj_open(memory_path, LAYOUT);
}

int main(int argc, char **argv) {
        unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
        daxbroker_allocation *allocation;
        PMEMobjpool *pool;
        int status;

        if (daxbroker_adopt_environment(&allocation) < 0) {
                fprintf(stderr, "object-pool: %s\n", daxbroker_last_error());
                return EXIT_FAILURE;
        }

        memory_fd = daxbroker_allocation_get_fd(allocation);
        snprintf(memory_path, sizeof(memory_path), "/proc/self/fd/%d", memory_fd);

        pool = pmemobj_open(memory_path, LAYOUT);
        if (!pool)
                pool = make();
        if (!pool) {
                fprintf(stderr, "object-pool: no pool: %s\n", pmemobj_errormsg());
                return EXIT_FAILURE;
        }

        status = use(pool, n);
        if (status != EXIT_SUCCESS)
                fprintf(stderr, "object-pool: %s\n", pmemobj_errormsg());

        pmemobj_close(pool);
        daxbroker_allocation_close(allocation);
        return status;
}
