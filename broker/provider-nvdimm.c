/* SPDX-License-Identifier: MIT */

/* Persistent memory whose DIMMs hold labels. Each allocation is a namespace of its own in device-dax mode: the kernel keeps
 * its holders within its bounds, and finds it again at each boot, on whatever machine the DIMMs are in by then.
 *
 * - A namespace is known by its uuid, which is chosen before there is one, so that a record says what is about to be made.
 *   Whose it is, no label can hold: records are kept by the broker, also of what is not to be persistent, because the
 *   namespace outlives the machine's power all the same and has to be found again to be ended.
 * - The name in the label is "daxbroker-", the allocation's id, and the name that it had when it was made: for ndctl, for
 *   who finds the DIMMs without the records, and for udev, which hands over what is called so and nothing else.
 * - Length is what can be used: the namespace is longer by its page map, and a multiple of the region's alignment.
 * - What holds of device-dax holds here: nothing is zeroed by the kernel, and memory is not taken from its holders. See
 *   provider-devdax.c. A device that is bound anew after its end is a new one here, so nothing comes back to life.
 * - Memory that the kernel knows to be broken is not handed out. */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "dax-attribute.h"
#include "file.h"
#include "log.h"
#include "name.h"
#include "nvdimm-account.h"
#include "size.h"

/* How long a namespace may take to become a device, after boot for example. */
#define READY_USEC (10 * UINT64_C(1000000))
#define READY_STEP_USEC (100 * UINT64_C(1000))

/* How often it is tried again while somebody else is making a namespace. */
#define MAKE_TRIES 20
#define MAKE_STEP_USEC (UINT64_C(100) * 1000)

/* ---- The device of a piece ---- */

/* -ENOENT: its namespace is gone; -EUCLEAN: it is no device, because somebody has disabled it, or is not as long as it
 * should be. */
static int nvdimm_inspect(Piece *piece, NvdimmNamespace *ret_space, DaxDevice *ret) {
        const Nvdimm *nvdimm = piece->state;
        NvdimmNamespace space;
        char parent[PATH_MAX];
        DaxDevice device;
        int r;

        r = nvdimm_find(nvdimm->path, piece->handle, &space);
        if (r < 0)
                return r;
        if (space.use != NVDIMM_DEVICE || space.device[0] == '\0')
                return -EUCLEAN;
        r = nvdimm_device_path(nvdimm->path, &space, parent, sizeof(parent));
        if (r >= 0)
                r = dax_inspect(parent, space.device, &device);
        if (r < 0)
                return r;
        if (device.size < piece->length || device.alignment != piece->page_size)
                return -EUCLEAN;

        (void) snprintf(piece->device, sizeof(piece->device), "%s", space.device);
        *ret_space = space;
        *ret = device;
        return 0;
}

static int nvdimm_open_own(Piece *piece, bool read_only, int *ret_fd) {
        const Nvdimm *nvdimm = piece->state;
        _cleanup_close_ int fd = -EBADF;
        NvdimmNamespace space;
        char parent[PATH_MAX];
        DaxDevice device;
        struct stat st;
        int r;

        r = nvdimm_inspect(piece, &space, &device);
        if (r >= 0)
                r = nvdimm_device_path(nvdimm->path, &space, parent, sizeof(parent));
        if (r >= 0)
                r = dax_open(parent, space.device, read_only, &fd);
        /* the name may be another's by now */
        if (r >= 0)
                r = nvdimm_inspect(piece, &space, &device);
        if (r < 0)
                return r;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_rdev != device.node)
                return -EUCLEAN;

        *ret_fd = TAKE_FD(fd);
        return 0;
}

/* ---- Whether anybody can have it ---- */

/* Nobody can have a device that is new: the machine was started anew, or an admin has disabled and enabled its namespace. So
 * it is noted, as long as the machine has power, which nodes were opened for holders. */
static int node_describe(const Piece *piece, char *ret, size_t size) {
        char path[PATH_MAX];
        struct stat st;

        (void) snprintf(path, sizeof(path), "%s/%s", dax_dev_root(), piece->device);
        if (stat(path, &st) < 0)
                return -errno;

        (void) snprintf(ret, size, "%s %ju\n", piece->device, (uintmax_t) st.st_ino);
        return 0;
}

static int nvdimm_note_held(const Piece *piece) {
        const Nvdimm *nvdimm = piece->state;
        char text[DAX_NAME_MAX + 32];
        int r;

        r = node_describe(piece, text, sizeof(text));
        return r < 0 ? r : file_replace(nvdimm->region->notes_dir, piece->handle, text);
}

static bool nvdimm_may_be_held(const Piece *piece) {
        const Nvdimm *nvdimm = piece->state;
        _cleanup_free_ char *noted = NULL;
        char text[DAX_NAME_MAX + 32];
        int r;

        r = file_read(nvdimm->region->notes_dir, piece->handle, sizeof(text), &noted);
        if (r == -ENOENT)
                return false;
        return r < 0 || node_describe(piece, text, sizeof(text)) < 0 || strcmp(noted, text) == 0;
}

static int nvdimm_open_files(Piece *piece, Failure *failure) {
        int r;

        r = nvdimm_open_own(piece, false, &piece->fd);
        if (r >= 0)
                r = nvdimm_open_own(piece, true, &piece->fd_read_only);
        if (r >= 0)
                r = nvdimm_note_held(piece);
        if (r == -EACCES)
                return failure_set(failure, REFUSAL_Failed,
                                   "no right to open /dev/%s: udev hands over what is called \"%s…\" in its label; for "
                                   "anything else, an admin can do \"chown\"",
                                   piece->device, NVDIMM_LABEL_OURS);
        return r < 0 ? failure_set_errno(failure, r, "cannot open the device of namespace %s", piece->handle) : 0;
}

/* Also what is left of a note whose writer died. */
static void nvdimm_gone(const Region *region, const char *handle) {
        char temporary[NVDIMM_UUID_SIZE + sizeof(".tmp")];

        if (!nvdimm_is_uuid(handle)) /* a record may say anything */
                return;

        (void) snprintf(temporary, sizeof(temporary), "%s.tmp", handle);
        (void) unlinkat(region->notes_dir, temporary, 0);
        (void) unlinkat(region->notes_dir, handle, 0);
}

/* ---- Carving ---- */

/* The handle was chosen when the account was made. */
static int nvdimm_prepare(Piece *piece, Failure *failure) {
        (void) piece;
        (void) failure;
        return 0;
}

static void nvdimm_prepared(Piece *piece, bool recorded) {
        (void) piece;
        (void) recorded;
}

static int nvdimm_revoke(Piece *piece, Failure *failure) {
        const Nvdimm *nvdimm = piece->state;
        int r;

        piece_close(piece);
        r = nvdimm_destroy(nvdimm->path, piece->handle);
        if (r == -EBUSY)
                return failure_set(failure, REFUSAL_Failed,
                                   "namespace %s is in use as a block device; \"ndctl disable-namespace\" ends that",
                                   piece->handle);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot destroy namespace %s", piece->handle);

        nvdimm_gone(nvdimm->region, piece->handle);
        return 0;
}

/* Cut where the label ends. */
static void nvdimm_label(char ret[static NVDIMM_LABEL_SIZE], const char *id, const char *name) {
        (void) snprintf(ret, NVDIMM_LABEL_SIZE, NVDIMM_LABEL_OURS "%.16s%s%.36s", id, name ? "-" : "", name ? name : "");
}

static int nvdimm_make_namespace(Piece *piece, const char *id, Failure *failure) {
        const Nvdimm *nvdimm = piece->state;
        char label[NVDIMM_LABEL_SIZE];
        NvdimmNamespace space;
        uint64_t size = 0;
        int r;

        r = nvdimm_size_for(piece->length, nvdimm->alignment, piece->page_size, &size);
        if (r < 0)
                return failure_set_errno(failure, r, "cannot say how long its namespace has to be");
        nvdimm_label(label, id, piece->name);

        r = -EAGAIN;
        for (unsigned i = 0; r == -EAGAIN && i < MAKE_TRIES && !nvdimm->recycling.stopping; i++) {
                if (i > 0)
                        (void) usleep(MAKE_STEP_USEC);
                r = nvdimm_make(nvdimm->path, piece->handle, label, size, piece->page_size, &space);
        }
        switch (r) {
        case 0:
                break;
        case -ETIMEDOUT:
        case -EACCES:
                return failure_set(failure, REFUSAL_Failed,
                                   "udev does not hand new namespaces over to us: is its rule for daxbroker installed?");
        case -ENOSPC:
                return failure_set(failure, REFUSAL_NoSpace,
                                   "the region has no free extent of %s, which is what it takes to use %s", SIZE_TEXT(size),
                                   SIZE_TEXT(piece->length));
        case -EIO:
                return failure_set(failure, REFUSAL_Failed,
                                   "where the kernel would put it, memory is broken: \"ndctl list -RM\" shows where, \"ndctl "
                                   "clear-errors\" may repair it");
        case -EAGAIN:
                if (nvdimm->recycling.stopping)
                        return failure_set(failure, REFUSAL_ShuttingDown,
                                           "the broker was stopped before it could make a namespace; ask again");
                return failure_set(failure, REFUSAL_Busy, "somebody else is making a namespace in this region; try again");
        default:
                return failure_set_errno(failure, r, "cannot make a namespace");
        }

        (void) snprintf(piece->device, sizeof(piece->device), "%s", space.device);
        if (space.usable < piece->length)
                return failure_set(failure, REFUSAL_Failed,
                                   "the kernel has made %s usable of a namespace of %s, %s were expected",
                                   SIZE_TEXT(space.usable), SIZE_TEXT(size), SIZE_TEXT(piece->length));
        return 0;
}

/* Where its data lie. */
static int nvdimm_range(Piece *piece, Range *ret) {
        NvdimmNamespace space;
        DaxDevice device;
        int r;

        r = nvdimm_inspect(piece, &space, &device);
        if (r < 0)
                return r;
        if (!device.ranges_known)
                return -EACCES;

        *ret = device.ranges[0];
        return 0;
}

static int nvdimm_carve(Piece *piece, const char *id, Failure *failure) {
        Nvdimm *nvdimm = piece->state;
        Failure undo = { 0 };
        Range range;
        int r;

        r = nvdimm_make_namespace(piece, id, failure);
        if (r >= 0)
                r = nvdimm_open_files(piece, failure);
        if (r >= 0 && nvdimm_range(piece, &range) >= 0)
                recycling_teach(&nvdimm->recycling, piece, range);
        if (r >= 0)
                r = recycling_zero(&nvdimm->recycling, piece, piece->fd, failure);
        /* from the moment somebody has it, nobody knows what is in it */
        piece->clean = false;
        if (r < 0 && nvdimm_revoke(piece, &undo) < 0) {
                piece->stuck = true;
                log_warning("carving failed (%s), and could not be undone: %s", failure->text, undo.text);
        }
        return r;
}

static int nvdimm_reuse(Piece *piece, Failure *failure) {
        Nvdimm *nvdimm = piece->state;
        int r;

        r = nvdimm_open_files(piece, failure);
        if (r >= 0 && (!piece->clean || nvdimm->recycling.clean != CLEAN_ON_FREE))
                r = recycling_zero(&nvdimm->recycling, piece, piece->fd, failure);
        /* it is not offered again */
        if (r < 0 && failure->refusal != REFUSAL_ShuttingDown)
                piece->stuck = true;
        piece->clean = false;
        return r;
}

/* ---- The end ---- */

static int nvdimm_judge(Piece *piece, Failure *failure) {
        Nvdimm *nvdimm = piece->state;
        Range range = { 0 };
        int r;

        r = nvdimm_range(piece, &range);
        return recycling_judge(&nvdimm->recycling, piece, &range, r >= 0, r == -ENOENT, failure);
}

static int nvdimm_clean(Piece *piece, Failure *failure) {
        Nvdimm *nvdimm = piece->state;
        _cleanup_close_ int fd = -EBADF;
        int r;

        if (piece->clean || nvdimm->recycling.clean == CLEAN_ON_ALLOC)
                return 0;

        r = nvdimm_open_own(piece, false, &fd);
        if (r == -ENOENT) /* there is nothing to do it with */
                return 0;
        if (r < 0)
                return failure_set_errno(failure, r, "cannot open /dev/%s", piece->device);

        return recycling_zero(&nvdimm->recycling, piece, fd, failure);
}

static int nvdimm_node(const Piece *piece, char *ret, size_t size) {
        const Nvdimm *nvdimm = piece->state;
        Piece found = { .handle = piece->handle, .state = piece->state };
        NvdimmNamespace space;
        int r;

        r = nvdimm_find(nvdimm->path, piece->handle, &space);
        if (r == -ENOENT || (r >= 0 && space.device[0] == '\0'))
                return -ENOENT;
        if (r < 0)
                return r;

        (void) snprintf(found.device, sizeof(found.device), "%s", space.device);
        if (!nvdimm_may_be_held(&found))
                return -ENOENT;
        return snprintf(ret, size, "/dev/%s", space.device) < (int) size ? 0 : -ENAMETOOLONG;
}

/* ---- What was there before ---- */

static int nvdimm_recover(Piece *piece, int stored_fds[static 2], Failure *failure) {
        const Nvdimm *nvdimm = piece->state;
        NvdimmNamespace space;
        DaxDevice device;
        struct stat st;
        int r;

        r = nvdimm_inspect(piece, &space, &device);
        if (r == -ENOENT) {
                nvdimm_gone(nvdimm->region, piece->handle);
                (void) failure_set(failure, REFUSAL_Failed, "namespace %s is no longer there", piece->handle);
                return -ESTALE;
        }
        if (r == -EUCLEAN) {
                (void) failure_set(failure, REFUSAL_Failed,
                                   "namespace %s is disabled, or not as it was left; \"ndctl list -Ni\" shows it, \"ndctl "
                                   "enable-namespace\" and a restart of the broker bring it back",
                                   piece->handle);
                return -EUCLEAN;
        }
        if (r < 0)
                return failure_set_errno(failure, r, "cannot look at namespace %s", piece->handle);

        if (piece->unheld || !nvdimm_may_be_held(piece)) {
                piece->unheld = true;
                r = nvdimm_open_files(piece, failure);
                if (r < 0)
                        piece_close(piece);
                return r < 0 ? -EUCLEAN : 0;
        }
        for (unsigned i = 0; i < 2; i++)
                if (stored_fds[i] < 0 || fstat(stored_fds[i], &st) < 0 || !S_ISCHR(st.st_mode) ||
                    st.st_rdev != device.node) {
                        (void) failure_set(failure, REFUSAL_Failed,
                                           "the broker has no descriptor of %s any more; its holders have", piece->device);
                        return -ENOENT;
                }

        piece->fd = TAKE_FD(stored_fds[0]);
        piece->fd_read_only = TAKE_FD(stored_fds[1]);
        return 0;
}

static bool is_ours(const NvdimmNamespace *space) {
        return strncmp(space->label, NVDIMM_LABEL_OURS, strlen(NVDIMM_LABEL_OURS)) == 0;
}

/* The kernel makes devices of namespaces, and udev hands them over, a while after a region has come. */
static bool is_ready(const char *path, const NvdimmNamespace *space) {
        return !is_ours(space) ||
               (space->use == NVDIMM_DEVICE && space->device[0] != '\0' && nvdimm_await_node(path, space, 0) >= 0);
}

/* That all of it was ready once is noted for as long as the machine has power: a broker that is started anew then need not
 * wait for what has become of it since, and finds the descriptors that the service manager has for it. */
static bool was_ready(const Region *region, bool now) {
        const Nvdimm *nvdimm = region->state;
        char note[NVDIMM_NAME_MAX];
        int fd;

        (void) snprintf(note, sizeof(note), "%.31s.ready", strrchr(nvdimm->path, '/') + 1);
        if (!now)
                return faccessat(region->notes_dir, note, F_OK, 0) >= 0;

        fd = openat(region->notes_dir, note, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        safe_close(fd);
        return fd >= 0;
}

static int nvdimm_list_ready(const Region *region, NvdimmNamespace **ret, size_t *ret_n, Failure *failure) {
        const Nvdimm *nvdimm = region->state;
        const NvdimmNamespace *unready = NULL;
        NvdimmNamespace *spaces;
        size_t n;
        int r;

        for (uint64_t waited = 0;; waited += READY_STEP_USEC) {
                r = nvdimm_list(nvdimm->path, &spaces, &n);
                if (r == -ENODEV)
                        return failure_set(failure, REFUSAL_RegionUnusable, "it is disabled, or not ready yet");
                if (r < 0)
                        return failure_set_errno(failure, r, "cannot look at its namespaces");
                unready = NULL;
                for (size_t i = 0; i < n; i++)
                        if (!unready && !is_ready(nvdimm->path, &spaces[i]))
                                unready = &spaces[i];
                if (!unready || (region->recovered && waited >= READY_USEC))
                        break;
                if (!region->recovered && was_ready(region, false))
                        break;
                if (!region->recovered) { /* the broker is just starting, and must not be kept from that */
                        (void) failure_set(failure, REFUSAL_RegionUnusable, "%s is not ready yet", unready->name);
                        free(spaces);
                        return -EAGAIN;
                }
                free(spaces);
                if (nvdimm->recycling.stopping)
                        return failure_set(failure, REFUSAL_ShuttingDown, "the broker is being stopped");
                (void) usleep(READY_STEP_USEC);
        }
        (void) was_ready(region, true);
        if (unready)
                log_warning("region '%s': %s ('%s') is called like one of ours, and is no device that we may open",
                            region->name, unready->name, unready->label);

        *ret = spaces;
        *ret_n = n;
        return 0;
}

/* The id that it was made under, or the beginning of its uuid. */
static void find_id(const NvdimmNamespace *space, char ret[static 17]) {
        const char *c = space->uuid;
        unsigned n = 0;

        if (is_ours(space)) {
                (void) snprintf(ret, 17, "%.16s", space->label + strlen(NVDIMM_LABEL_OURS));
                if (is_id(ret))
                        return;
        }
        for (; *c && n < 16; c++)
                if (*c != '-')
                        ret[n++] = *c;
        ret[n] = '\0';
}

static void free_spaces_p(NvdimmNamespace **spaces) {
        free(*spaces);
}

static int find_fill(const NvdimmNamespace *space, Find *ret) {
        Find find = { .length = space->usable > 0 ? space->usable : nvdimm_usable_of(space->size, DAX_GRANULARITY) };

        find_id(space, find.id);
        find.handle = strdup(space->uuid);
        find.name = space->label[0] != '\0' ? strdup(space->label) : NULL;
        if (!find.handle || (space->label[0] != '\0' && !find.name)) {
                free(find.handle);
                free(find.name);
                return -ENOMEM;
        }

        *ret = find;
        return 0;
}

/* What is neither ours nor a device is left out: nobody could have that as an allocation. */
static int nvdimm_list_finds(Region *region, Inventory *ret, Failure *failure) {
        _cleanup_(free_spaces_p) NvdimmNamespace *spaces = NULL;
        Inventory inventory = { 0 };
        size_t n = 0;
        int r;

        if (!region->state)
                return failure_set(failure, REFUSAL_RegionUnusable, "%s",
                                   region->reason ? region->reason : "there is no such region of persistent memory");
        r = nvdimm_list_ready(region, &spaces, &n, failure);
        if (r < 0)
                return r;

        inventory.finds = calloc(n > 0 ? n : 1, sizeof(*inventory.finds));
        if (!inventory.finds)
                return -ENOMEM;
        for (size_t i = 0; r >= 0 && i < n; i++)
                if (spaces[i].uuid[0] != '\0' &&
                    (is_ours(&spaces[i]) || (spaces[i].use == NVDIMM_DEVICE && spaces[i].device[0] != '\0'))) {
                        r = find_fill(&spaces[i], &inventory.finds[inventory.n_finds]);
                        inventory.n_finds += r >= 0;
                }
        if (r < 0) {
                inventory_done(&inventory);
                return r;
        }

        *ret = inventory;
        return 0;
}

/* ---- All of it ---- */

static void nvdimm_hurry(Region *region) {
        Nvdimm *nvdimm = region->state;

        if (nvdimm)
                nvdimm->recycling.stopping = true;
}

const Provider provider_nvdimm = {
        .name = "nvdimm",
        .isolation = "device",
        .persistent = true,
        .stores_fd = true,
        .discovered = true,
        .drains = true,
        .probe = nvdimm_probe,
        .plan = nvdimm_plan,
        .fits = nvdimm_fits,
        .reserve = nvdimm_reserve,
        .claim = nvdimm_claim,
        .release = nvdimm_release,
        .examine = nvdimm_examine,
        .forget = nvdimm_forget,
        .prepare = nvdimm_prepare,
        .prepared = nvdimm_prepared,
        .carve = nvdimm_carve,
        .reuse = nvdimm_reuse,
        .open = piece_copy_fd,
        .judge = nvdimm_judge,
        .clean = nvdimm_clean,
        .revoke = nvdimm_revoke,
        .node = nvdimm_node,
        .recover = nvdimm_recover,
        .list = nvdimm_list_finds,
        .gone = nvdimm_gone,
        .hurry = nvdimm_hurry,
};
