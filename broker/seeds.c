/* SPDX-License-Identifier: MIT */

/* Devices made ahead, because udev takes its time to hand over a new one.
 *
 * What the note says is at any moment at least what is ours: a name is written down as soon as the kernel has said it, and
 * before the kernel is asked for a device, which names there are, so that one that was made but not written down is found
 * by not being among them. A broker that dies thus leaves nothing behind that its successor does not find, and a successor
 * finds nothing that is somebody else's, as long as nobody else makes devices in the same moment. What it finds it deletes
 * rather than uses: others may have had it meanwhile, and a device that was once bound must not be bound again.
 * The note also has devices with memory that nobody has been given. They are told by where they lie, as those of records.
 *
 * Others may use a device while we keep it: daxctl does not use the device that it makes but the one that the kernel calls
 * the seed, the oldest that is idle. Two who work on one device can have the kernel hang. So the first that is made is a
 * decoy, only there to be the seed for others; the rest is looked at before it is given out, and forgotten if it is no
 * longer idle. Whoever gets one checks after binding that it is as he made it.
 *
 * The mutex protects everything in the pool, and the note. It is never held while the kernel makes or deletes a device. */

#include "seeds.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "cleanup.h"
#include "clock.h"
#include "dax-attribute.h"
#include "log.h"
#include "seed-note.h"

/* How many are kept ready. */
#define READY_WANTED 2

/* How often daxctl may take the decoy while the next device is made. */
#define DECOY_TRIES 10

/* How long udev is given to hand a new device over. It may have much to do when it has just been started. */
#define RIGHTS_USEC (10 * UINT64_C(1000000))

typedef enum SeedState {
        SEED_BUSY,  /* in the hands of one thread: being made, looked at, deleted, or with a caller of seed_pool_take() */
        SEED_READY,
        SEED_DECOY, /* never given out */
        SEED_STRAY, /* could not be deleted; tried again when the pool is drained */
        SEED_KEPT,  /* has memory, or is about to, that is nobody's yet; in the hands of who made it */
        SEED_LEFT,  /* as that, by an earlier broker */
} SeedState;

typedef struct Seed {
        char name[DAX_NAME_MAX];
        SeedState state;
        Range range; /* of those that have memory */
        struct Seed *prev, *next;
} Seed;

struct SeedPool {
        char *path, *note_name;
        int notes_dir; /* not ours */
        pthread_mutex_t create_mutex; /* held around the making of one; taken before the other */
        pthread_mutex_t mutex;
        Seed *seeds;
        bool creating;
        DaxNames before;    /* while creating */
        DaxNames excepted;  /* from recovery */
        unsigned n_filling; /* that will be ready */
};

int seed_pool_new(const char *path, int notes_dir, const char *note, SeedPool **ret) {
        SeedPool *pool;

        pool = calloc(1, sizeof(*pool));
        if (!pool)
                return -ENOMEM;

        pthread_mutex_init(&pool->mutex, NULL);
        pthread_mutex_init(&pool->create_mutex, NULL);
        pool->notes_dir = notes_dir;
        pool->path = strdup(path);
        pool->note_name = strdup(note);
        if (!pool->path || !pool->note_name) {
                seed_pool_free(pool);
                return -ENOMEM;
        }

        *ret = pool;
        return 0;
}

SeedPool *seed_pool_free(SeedPool *pool) {
        Seed *seed, *next;

        if (!pool)
                return NULL;

        DL_FOREACH_SAFE(pool->seeds, seed, next)
                free(seed);
        dax_names_done(&pool->before);
        dax_names_done(&pool->excepted);
        pthread_mutex_destroy(&pool->create_mutex);
        pthread_mutex_destroy(&pool->mutex);
        free(pool->path);
        free(pool->note_name);
        free(pool);
        return NULL;
}

/* ---- With the mutex held ---- */

static int pool_write_note(SeedPool *pool) {
        SeedNote note = { .creating = pool->creating, .before = pool->before };
        const Seed *seed;
        int r = 0;

        DL_FOREACH(pool->seeds, seed) {
                r = seed->range.length > 0 ? seed_note_keep(&note, seed->name, seed->range)
                                           : dax_names_add(&note.ours, seed->name);
                if (r < 0)
                        break;
        }
        if (r >= 0)
                r = seed_note_write(pool->notes_dir, pool->note_name, &note);

        note.before = (DaxNames){ 0 }; /* the pool's */
        seed_note_done(&note);
        return r;
}

/* The youngest of this name: one whose device was just deleted may be there still. */
static Seed *pool_find(SeedPool *pool, const char *name) {
        Seed *seed, *found = NULL;

        DL_FOREACH(pool->seeds, seed)
                if (strcmp(seed->name, name) == 0)
                        found = seed;

        return found;
}

static unsigned pool_count_ready(const SeedPool *pool) {
        const Seed *seed;
        unsigned n = 0;

        DL_FOREACH(pool->seeds, seed)
                if (seed->state == SEED_READY)
                        n++;

        return n;
}

/* ---- Without it ---- */

static Seed *pool_take_one(SeedPool *pool, SeedState state) {
        Seed *seed;

        pthread_mutex_lock(&pool->mutex);
        DL_FOREACH(pool->seeds, seed)
                if (seed->state == state) {
                        seed->state = SEED_BUSY;
                        break;
                }
        pthread_mutex_unlock(&pool->mutex);
        return seed;
}

/* A note that still has the name does no harm: the device is gone, or is not idle. */
static int pool_forget(SeedPool *pool, Seed *seed) {
        int r;

        pthread_mutex_lock(&pool->mutex);
        DL_DELETE(pool->seeds, seed);
        r = pool_write_note(pool);
        pthread_mutex_unlock(&pool->mutex);

        free(seed);
        return r;
}

/* Deletes one that is in our hands. */
static void pool_discard(SeedPool *pool, Seed *seed) {
        int r;

        (void) dax_unclaim(seed->name);
        r = dax_delete(pool->path, seed->name);
        if (r >= 0 || r == -EBUSY) { /* busy: somebody uses it now */
                (void) pool_forget(pool, seed);
                return;
        }

        pthread_mutex_lock(&pool->mutex);
        seed->state = SEED_STRAY;
        DL_DELETE(pool->seeds, seed);
        DL_APPEND(pool->seeds, seed);
        pthread_mutex_unlock(&pool->mutex);
}

/* Those that cannot be deleted go to the end, so each is tried once. */
static void pool_discard_all(SeedPool *pool, SeedState state) {
        size_t n = 0;
        Seed *seed;

        pthread_mutex_lock(&pool->mutex);
        DL_FOREACH(pool->seeds, seed)
                n++;
        pthread_mutex_unlock(&pool->mutex);

        while (n-- > 0) {
                seed = pool_take_one(pool, state);
                if (!seed)
                        break;
                pool_discard(pool, seed);
        }
}

/* The devices that the region has. */
static int list_devices(const char *path, DaxNames *ret) {
        _cleanup_closedir_ DIR *folder = NULL;
        DaxNames names = { 0 };
        int r;

        folder = opendir(path);
        if (!folder)
                return -errno;

        for (;;) {
                const struct dirent *entry;
                unsigned region, number;

                errno = 0;
                entry = readdir(folder);
                if (!entry) {
                        r = -errno;
                        break;
                }
                if (dax_name_parse(entry->d_name, &region, &number) < 0)
                        continue;
                r = dax_names_add(&names, entry->d_name);
                if (r < 0)
                        break;
        }
        if (r < 0) {
                dax_names_done(&names);
                return r;
        }

        *ret = names;
        return 0;
}

/* Takes down one with memory that is in our hands. What is not as it was noted is somebody else's by now. */
static void pool_undo(SeedPool *pool, Seed *seed) {
        const Range *range = &seed->range;
        DaxDevice device;
        int r;

        (void) dax_unclaim(seed->name);
        r = dax_inspect(pool->path, seed->name, &device);
        if (r >= 0 && device.size > 0 &&
            (device.driver == DAX_DRIVER_OTHER || !device.ranges_known || device.n_ranges != 1 ||
             device.ranges[0].start != range->start || device.ranges[0].length != range->length)) {
                log_warning("%s was made ahead of requests, and is not ours any more: somebody else has changed it",
                            seed->name);
                r = -ENOENT;
        }
        if (r >= 0)
                r = dax_unbind(pool->path, seed->name);
        if (r >= 0)
                r = dax_delete(pool->path, seed->name);
        if (r >= 0 || r == -ENOENT) {
                (void) pool_forget(pool, seed);
                return;
        }

        log_warning("%s was made ahead of requests, and cannot be undone: %s; the next broker tries again", seed->name,
                    strerror(-r));
}

static void pool_undo_all(SeedPool *pool, SeedState state, uint64_t deadline) {
        Seed *seed;

        while (now_usec() < deadline) {
                seed = pool_take_one(pool, state);
                if (!seed)
                        break;
                pool_undo(pool, seed);
        }
}

/* ---- Making ---- */

static int pool_begin_creating(SeedPool *pool) {
        DaxNames before;
        int r;

        r = list_devices(pool->path, &before);
        if (r < 0)
                return r;

        pthread_mutex_lock(&pool->mutex);
        pool->before = before;
        pool->creating = true;
        r = pool_write_note(pool);
        pthread_mutex_unlock(&pool->mutex);
        return r;
}

/* The seed, if there is one, is the pool's from here on. */
static int pool_end_creating(SeedPool *pool, Seed *seed) {
        int r;

        pthread_mutex_lock(&pool->mutex);
        pool->creating = false;
        dax_names_done(&pool->before);
        if (seed)
                DL_APPEND(pool->seeds, seed);
        r = pool_write_note(pool);
        pthread_mutex_unlock(&pool->mutex);
        return r;
}

/* Has the kernel make one that is noted, and nothing more. */
static int pool_create(SeedPool *pool, Seed **ret) {
        Seed *seed;
        int r, s;

        seed = calloc(1, sizeof(*seed));
        if (!seed)
                return -ENOMEM;

        pthread_mutex_lock(&pool->create_mutex);
        r = pool_begin_creating(pool);
        if (r >= 0)
                r = dax_create(pool->path, seed->name);
        if (r < 0) {
                free(seed);
                seed = NULL;
        }
        s = pool_end_creating(pool, seed);
        pthread_mutex_unlock(&pool->create_mutex);

        if (r >= 0 && s < 0) {
                pool_discard(pool, seed);
                return s;
        }
        if (r < 0)
                return r;

        *ret = seed;
        return 0;
}

static bool is_seed(const SeedPool *pool, const char *name) {
        char seed[DAX_NAME_MAX];

        return dax_seed(pool->path, seed) >= 0 && strcmp(seed, name) == 0;
}

/* Instead of older ones, which others use by now. */
static void pool_add_decoy(SeedPool *pool, Seed *decoy) {
        Seed *seed, *next;

        pthread_mutex_lock(&pool->mutex);
        DL_FOREACH_SAFE(pool->seeds, seed, next)
                if (seed->state == SEED_DECOY) {
                        DL_DELETE(pool->seeds, seed);
                        free(seed);
                }
        decoy->state = SEED_DECOY;
        (void) pool_write_note(pool); /* has it already */
        pthread_mutex_unlock(&pool->mutex);
}

static int pool_create_hidden(SeedPool *pool, Seed **ret) {
        for (unsigned i = 0; i < DECOY_TRIES; i++) {
                Seed *seed;
                int r;

                r = pool_create(pool, &seed);
                if (r < 0)
                        return r;
                if (!is_seed(pool, seed->name)) {
                        *ret = seed;
                        return 0;
                }
                pool_add_decoy(pool, seed);
        }

        return -EAGAIN;
}

/* One that can be given out, in the caller's hands. */
static int pool_make(SeedPool *pool, Seed **ret) {
        Seed *seed;
        int r;

        r = pool_create_hidden(pool, &seed);
        if (r < 0)
                return r;
        r = dax_await_rights(pool->path, seed->name, RIGHTS_USEC);
        if (r >= 0)
                r = dax_claim(seed->name);
        if (r < 0) {
                pool_discard(pool, seed);
                return r;
        }

        *ret = seed;
        return 0;
}

/* ---- What an earlier broker left ---- */

static bool device_is_idle(const char *path, const char *name) {
        DaxDevice device;

        return dax_inspect(path, name, &device) >= 0 && device.size == 0 && device.driver == DAX_DRIVER_NONE;
}

/* Makes it ours again, as one that is to be deleted unless it is the decoy. */
static int pool_adopt(SeedPool *pool, const char *name) {
        Seed *seed;

        seed = calloc(1, sizeof(*seed));
        if (!seed)
                return -ENOMEM;
        memcpy(seed->name, name, strlen(name) + 1);
        seed->state = is_seed(pool, name) ? SEED_DECOY : SEED_STRAY;

        pthread_mutex_lock(&pool->mutex);
        DL_APPEND(pool->seeds, seed);
        pthread_mutex_unlock(&pool->mutex);
        return 0;
}

static bool pool_excepts(SeedPool *pool, const char *name) {
        bool excepted;

        pthread_mutex_lock(&pool->mutex);
        excepted = dax_names_have(&pool->excepted, name);
        pthread_mutex_unlock(&pool->mutex);
        return excepted;
}

/* The same of those that have memory. */
static int pool_adopt_kept(SeedPool *pool, const SeedNote *note) {
        for (size_t i = 0; i < note->n_kept; i++) {
                const KeptDevice *kept = &note->kept[i];
                Seed *seed;

                if (pool_excepts(pool, kept->name))
                        continue;
                seed = calloc(1, sizeof(*seed));
                if (!seed)
                        return -ENOMEM;
                memcpy(seed->name, kept->name, sizeof(seed->name));
                seed->range = kept->range;
                seed->state = SEED_LEFT;

                pthread_mutex_lock(&pool->mutex);
                DL_APPEND(pool->seeds, seed);
                pthread_mutex_unlock(&pool->mutex);
        }

        return 0;
}

static int pool_adopt_all(SeedPool *pool, const SeedNote *note) {
        DaxNames now;
        int r;

        r = list_devices(pool->path, &now);
        if (r < 0)
                return r;

        for (size_t i = 0; r >= 0 && i < now.n; i++) {
                const char *name = now.names[i];
                unsigned region, number;

                if (dax_name_parse(name, &region, &number) < 0 || number == 0)
                        continue;
                if (!dax_names_have(&note->ours, name) && !(note->creating && !dax_names_have(&note->before, name)))
                        continue;
                if (!pool_excepts(pool, name) && device_is_idle(pool->path, name))
                        r = pool_adopt(pool, name);
        }

        dax_names_done(&now);
        return r;
}

int seed_pool_except(SeedPool *pool, const char *name) {
        int r;

        pthread_mutex_lock(&pool->mutex);
        r = dax_names_add(&pool->excepted, name);
        pthread_mutex_unlock(&pool->mutex);
        return r;
}

int seed_pool_find_left(SeedPool *pool, Range **ret, size_t *ret_n) {
        Range *ranges = NULL;
        SeedNote note;
        size_t n = 0;
        int r;

        r = seed_note_read(pool->notes_dir, pool->note_name, &note);
        if (r == -ENOENT || (r >= 0 && note.n_kept == 0)) {
                if (r >= 0)
                        seed_note_done(&note);
                *ret = NULL;
                *ret_n = 0;
                return 0;
        }
        if (r < 0)
                return r;

        ranges = reallocarray(NULL, note.n_kept, sizeof(*ranges));
        for (size_t i = 0; ranges && i < note.n_kept; i++)
                if (!pool_excepts(pool, note.kept[i].name))
                        ranges[n++] = note.kept[i].range;
        seed_note_done(&note);
        if (!ranges)
                return -ENOMEM;
        *ret = ranges;
        *ret_n = n;
        return 0;
}

int seed_pool_recover(SeedPool *pool) {
        SeedNote note;
        int r;

        r = seed_note_read(pool->notes_dir, pool->note_name, &note);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        r = pool_adopt_all(pool, &note);
        if (r >= 0)
                r = pool_adopt_kept(pool, &note);
        seed_note_done(&note);
        if (r < 0)
                return r;

        /* before the first is deleted, because with that a note is written */
        pthread_mutex_lock(&pool->mutex);
        r = pool_write_note(pool);
        pthread_mutex_unlock(&pool->mutex);
        if (r >= 0) {
                pool_undo_all(pool, SEED_LEFT, UINT64_MAX);
                pool_discard_all(pool, SEED_STRAY);
        }
        return r;
}

/* ---- Giving out ---- */

int seed_pool_take(SeedPool *pool, char ret_name[static DAX_NAME_MAX]) {
        Seed *seed;
        int r;

        for (;;) {
                seed = pool_take_one(pool, SEED_READY);
                if (!seed)
                        break;
                if (device_is_idle(pool->path, seed->name) && dax_await_rights(pool->path, seed->name, 0) >= 0)
                        goto found;

                /* somebody uses it, or has deleted it and maybe made another one of this name */
                (void) dax_unclaim(seed->name);
                (void) pool_forget(pool, seed);
        }

        r = pool_make(pool, &seed);
        if (r < 0)
                return r;

found:
        memcpy(ret_name, seed->name, DAX_NAME_MAX);
        return 0;
}

int seed_pool_keep(SeedPool *pool, const char *name, Range range) {
        int r = -ENOENT;
        Seed *seed;

        pthread_mutex_lock(&pool->mutex);
        seed = pool_find(pool, name);
        if (seed) {
                seed->range = range;
                r = pool_write_note(pool);
                if (r >= 0)
                        seed->state = SEED_KEPT;
                else
                        seed->range = (Range){ 0 };
        }
        pthread_mutex_unlock(&pool->mutex);
        return r;
}

void seed_pool_undone(SeedPool *pool, const char *name) {
        Seed *seed;

        pthread_mutex_lock(&pool->mutex);
        DL_FOREACH(pool->seeds, seed) /* the eldest: its name may be another's by now */
                if (seed->state == SEED_KEPT && strcmp(seed->name, name) == 0)
                        break;
        pthread_mutex_unlock(&pool->mutex);

        if (seed)
                (void) pool_forget(pool, seed);
}

int seed_pool_taken(SeedPool *pool, const char *name) {
        Seed *seed;

        pthread_mutex_lock(&pool->mutex);
        seed = pool_find(pool, name);
        pthread_mutex_unlock(&pool->mutex);

        return seed ? pool_forget(pool, seed) : 0;
}

void seed_pool_return(SeedPool *pool, const char *name) {
        bool wanted = false;
        Seed *seed;

        pthread_mutex_lock(&pool->mutex);
        seed = pool_find(pool, name);
        if (seed && pool_count_ready(pool) < READY_WANTED) {
                seed->state = SEED_READY;
                wanted = true;
        }
        pthread_mutex_unlock(&pool->mutex);

        if (wanted)
                return;
        if (seed) {
                pool_discard(pool, seed);
                return;
        }
        (void) dax_unclaim(name);
        (void) dax_delete(pool->path, name);
}

bool seed_pool_is_low(SeedPool *pool) {
        bool low;

        pthread_mutex_lock(&pool->mutex);
        low = pool_count_ready(pool) + pool->n_filling < READY_WANTED;
        pthread_mutex_unlock(&pool->mutex);
        return low;
}

int seed_pool_fill(SeedPool *pool) {
        for (;;) {
                Seed *seed;
                bool low;
                int r;

                pthread_mutex_lock(&pool->mutex);
                low = pool_count_ready(pool) + pool->n_filling < READY_WANTED;
                if (low)
                        pool->n_filling++;
                pthread_mutex_unlock(&pool->mutex);
                if (!low)
                        return 0;

                r = pool_make(pool, &seed);

                pthread_mutex_lock(&pool->mutex);
                pool->n_filling--;
                if (r >= 0)
                        seed->state = SEED_READY;
                pthread_mutex_unlock(&pool->mutex);
                if (r < 0)
                        return r;
        }
}

void seed_pool_drain(SeedPool *pool, uint64_t deadline) {
        pool_undo_all(pool, SEED_KEPT, deadline);
        pool_discard_all(pool, SEED_READY);
        pool_discard_all(pool, SEED_STRAY);
        pool_discard_all(pool, SEED_DECOY);
}
