/* SPDX-License-Identifier: MIT */

/* Zeros, a window of memory at a time: map, store, unmap.
 *
 * The stores are libpmem2's, which knows the best ones of this processor and leaves the caches to those who use them. It is
 * asked for them about a page of our own that says no more than how stores reach memory: asked about a device, it would read
 * attributes in /sys that only root may read. It opens no file and makes no system call, so it may be asked when the system
 * call filter is on.
 *
 * Memory of a device can go away at any time, by an admin's hand or because it breaks, and then a store is answered with
 * SIGBUS. The handler leaves the store by siglongjmp() if it is one of ours: made by this thread, in the window it cleans.
 * That is safe because the code that is left is a loop of stores, which has no lock and owns nothing. Every other SIGBUS is
 * for whoever had been there before, at last the kernel, which ends the process. */

#include "clean.h"

#include <assert.h>
#include <errno.h>
#include <libpmem2.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "size.h"

#define WINDOW_SIZE (256 * MIB)
#define CHUNK_SIZE (4 * MIB) /* between looks at stop, throttle and progress: a millisecond */

#define NSEC_PER_SEC UINT64_C(1000000000)
/* How long the end of a wait may come after stop. */
#define STOP_NSEC (NSEC_PER_SEC / 20)
/* Who was late, because he was not given the processor, may make up for so much. */
#define LATE_NSEC (NSEC_PER_SEC / 20)

struct Throttle {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        uint64_t bandwidth;
        uint64_t busy_until; /* at this pace, with all that has begun */
};

/* Where this thread may fault, and where it then goes on. */
typedef struct Guard {
        uintptr_t start;
        size_t length;
        sigjmp_buf resume;
} Guard;

static _Thread_local Guard *volatile thread_guard;

static pthread_mutex_t setup_mutex = PTHREAD_MUTEX_INITIALIZER;
static bool is_set_up;
static struct sigaction previous_action;
static pmem2_memset_fn store;
static pmem2_drain_fn drain;

/* ---- Limits ---------------------------------------------------------------------------------------------------------- */

int throttle_new(Throttle **ret) {
        pthread_condattr_t monotonic;
        Throttle *throttle;

        throttle = calloc(1, sizeof(*throttle));
        if (!throttle)
                return -ENOMEM;

        pthread_mutex_init(&throttle->mutex, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&throttle->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);

        *ret = throttle;
        return 0;
}

Throttle *throttle_free(Throttle *throttle) {
        if (!throttle)
                return NULL;

        pthread_cond_destroy(&throttle->changed);
        pthread_mutex_destroy(&throttle->mutex);
        free(throttle);
        return NULL;
}

void throttle_set(Throttle *throttle, uint64_t bandwidth) {
        pthread_mutex_lock(&throttle->mutex);
        if (throttle->bandwidth != bandwidth) {
                throttle->bandwidth = bandwidth;
                throttle->busy_until = 0;
                pthread_cond_broadcast(&throttle->changed);
        }
        pthread_mutex_unlock(&throttle->mutex);
}

static uint64_t now_nsec(void) {
        struct timespec now;

        (void) clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * NSEC_PER_SEC + (uint64_t) now.tv_nsec;
}

static bool is_stopped(const atomic_bool *stop) {
        return stop && atomic_load(stop);
}

int throttle_wait(Throttle *throttle, uint64_t bytes, const atomic_bool *stop) {
        int r = 0;

        if (!throttle)
                return 0;

        pthread_mutex_lock(&throttle->mutex);
        while (throttle->bandwidth > 0) {
                uint64_t now = now_nsec(), until = throttle->busy_until;
                struct timespec deadline;

                if (until <= now) {
                        uint64_t earliest = now > LATE_NSEC ? now - LATE_NSEC : 0;

                        throttle->busy_until = (until > earliest ? until : earliest) +
                                               bytes * NSEC_PER_SEC / throttle->bandwidth;
                        break;
                }
                if (is_stopped(stop)) {
                        r = -ECANCELED;
                        break;
                }

                if (until > now + STOP_NSEC)
                        until = now + STOP_NSEC;
                deadline.tv_sec = (time_t) (until / NSEC_PER_SEC);
                deadline.tv_nsec = (long) (until % NSEC_PER_SEC);
                (void) pthread_cond_timedwait(&throttle->changed, &throttle->mutex, &deadline);
        }
        pthread_mutex_unlock(&throttle->mutex);

        return r;
}

/* ---- Faults ---------------------------------------------------------------------------------------------------------- */

static void on_bus_error(int number, siginfo_t *info, void *context) {
        Guard *guard = thread_guard;

        /* the address is one only if the kernel sent it */
        if (guard && info->si_code > 0 && (uintptr_t) info->si_addr - guard->start < guard->length)
                siglongjmp(guard->resume, 1);

        if (previous_action.sa_flags & SA_SIGINFO)
                previous_action.sa_sigaction(number, info, context);
        else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN)
                previous_action.sa_handler(number);
        else if (previous_action.sa_handler == SIG_DFL || info->si_code > 0) { /* a fault cannot be ignored */
                (void) signal(number, SIG_DFL);
                (void) raise(number);
        }
}

static int handler_install(void) {
        struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART };

        /* asked for before, because the handler uses it as soon as it is there */
        if (sigaction(SIGBUS, NULL, &previous_action) < 0)
                return -errno;

        action.sa_mask = previous_action.sa_mask;
        return sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

/* ---- Stores ---------------------------------------------------------------------------------------------------------- */

/* libpmem2's functions are those of a mapping. It keeps ours, so the page must stay. */
static int stores_choose(void) {
        static _Alignas(4096) char page[4096];
        struct pmem2_source *source;
        struct pmem2_map *map;
        int r;

        r = pmem2_source_from_anon(&source, sizeof(page));
        if (r >= 0) {
                r = pmem2_map_from_existing(&map, source, page, sizeof(page), PMEM2_GRANULARITY_CACHE_LINE);
                (void) pmem2_source_delete(&source);
        }
        if (r < 0)
                return r > PMEM2_E_UNKNOWN ? r : -EIO; /* an errno, or a number of its own */

        store = pmem2_get_memset_fn(map);
        drain = pmem2_get_drain_fn(map);
        return 0;
}

static int set_up(void) {
        int r = 0;

        pthread_mutex_lock(&setup_mutex);
        if (!is_set_up) {
                r = stores_choose();
                if (r >= 0)
                        r = handler_install();
                is_set_up = r >= 0;
        }
        pthread_mutex_unlock(&setup_mutex);

        return r;
}

static int chunk_zero(Guard *guard, void *address, size_t length) {
        if (sigsetjmp(guard->resume, true) != 0) {
                thread_guard = NULL;
                return -EFAULT;
        }

        thread_guard = guard;
        (void) store(address, 0, length, PMEM2_F_MEM_NONTEMPORAL | PMEM2_F_MEM_NODRAIN);
        thread_guard = NULL;
        return 0;
}

static int window_zero(int fd, uint64_t offset, size_t length, Throttle *throttle, _Atomic uint64_t *progress,
                       const atomic_bool *stop) {
        Guard guard = { .length = length };
        char *window;
        int r = 0;

        window = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t) offset);
        if (window == MAP_FAILED)
                return -errno;
        guard.start = (uintptr_t) window;

        for (size_t done = 0, n; r >= 0 && done < length; done += n) {
                n = length - done < CHUNK_SIZE ? length - done : CHUNK_SIZE;

                r = is_stopped(stop) ? -ECANCELED : throttle_wait(throttle, n, stop);
                if (r >= 0)
                        r = chunk_zero(&guard, window + done, n);
                if (r >= 0 && progress)
                        atomic_store(progress, offset + done + n);
        }

        drain();
        (void) munmap(window, length);
        return r;
}

int clean_fd(int fd, uint64_t length, uint64_t alignment, Throttle *throttle, _Atomic uint64_t *progress,
             const atomic_bool *stop) {
        uint64_t window = alignment > WINDOW_SIZE ? alignment : WINDOW_SIZE;
        int r;

        assert(is_power_of_two(alignment));

        if (progress)
                atomic_store(progress, 0);
        r = set_up();

        for (uint64_t done = 0, n; r >= 0 && done < length; done += n) {
                n = length - done < window ? length - done : window;
                r = window_zero(fd, done, n, throttle, progress, stop);
        }

        return r;
}
