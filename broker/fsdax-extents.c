/* SPDX-License-Identifier: MIT */

/* Where the bytes of a file lie on its device. A fault can map a huge page only if one lies there, in one piece and at a
 * multiple of its size, just where one would lie in the file. File systems take what is free, and know nothing of that
 * wish, or little: so a file is given more than it needs, what lies wrongly is cut out of it (which moves what follows
 * closer), and this is done again for what is missing. What it comes to is then read, not believed. */

#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fsdax.h"
#include "size.h"

#define BATCH 64
/* Rounds of taking more than is needed, and cutting; and cuts in a round, beyond which there is no whole to be had. */
#define ROUNDS 4
#define CUTS_MAX 64

/* Where such bytes are, if they are anywhere, is not where they could be mapped. */
#define ELSEWHERE                                                                                                      \
        (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_NOT_ALIGNED |          \
         FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_SHARED)

void fsdax_extents_done(FsdaxExtents *extents) {
        free(extents->extents);
        *extents = (FsdaxExtents){ 0 };
}

static int extents_append(FsdaxExtents *extents, FsdaxExtent extent) {
        FsdaxExtent *last = extents->n_extents > 0 ? &extents->extents[extents->n_extents - 1] : NULL, *grown;

        if (last && last->logical + last->length == extent.logical && last->physical + last->length == extent.physical) {
                last->length += extent.length;
                return 0;
        }

        grown = reallocarray(extents->extents, extents->n_extents + 1, sizeof(*grown));
        if (!grown)
                return -ENOMEM;
        extents->extents = grown;
        extents->extents[extents->n_extents++] = extent;
        return 0;
}

/* One batch. *ret_next is where the next one begins, or length. */
static int extents_read_some(int fd, uint64_t start, uint64_t length, FsdaxExtents *extents, uint64_t *ret_next) {
        union {
                struct fiemap map;
                char space[sizeof(struct fiemap) + BATCH * sizeof(struct fiemap_extent)];
        } batch = { .map = { .fm_start = start, .fm_length = length - start, .fm_extent_count = BATCH,
                             .fm_flags = FIEMAP_FLAG_SYNC } };
        int r = 0;

        if (ioctl(fd, FS_IOC_FIEMAP, &batch.map) < 0)
                return -errno;

        *ret_next = length;
        for (unsigned i = 0; r >= 0 && i < batch.map.fm_mapped_extents; i++) {
                const struct fiemap_extent *found = &batch.map.fm_extents[i];
                FsdaxExtent extent = { found->fe_logical, found->fe_physical, found->fe_length };

                if (extent.logical < start) {
                        uint64_t before = start - extent.logical;

                        if (before >= extent.length)
                                continue;
                        extent = (FsdaxExtent){ start, extent.physical + before, extent.length - before };
                }
                if (extent.logical >= length)
                        return 0;
                if (extent.length > length - extent.logical)
                        extent.length = length - extent.logical;

                if (extent.logical != start || extent.length == 0 || (found->fe_flags & ELSEWHERE))
                        extents->known = false;
                r = extents_append(extents, extent);
                start = extent.logical + extent.length;
                if (found->fe_flags & FIEMAP_EXTENT_LAST)
                        return r;
        }

        if (r >= 0 && batch.map.fm_mapped_extents > 0)
                *ret_next = start;
        return r;
}

int fsdax_extents_read(int fd, uint64_t length, FsdaxExtents *ret) {
        FsdaxExtents extents = { .known = true };
        const FsdaxExtent *last;
        uint64_t next = 0;
        int r = 0;

        while (r >= 0 && next < length)
                r = extents_read_some(fd, next, length, &extents, &next);
        if (r < 0) {
                fsdax_extents_done(&extents);
                return r;
        }

        last = extents.n_extents > 0 ? &extents.extents[extents.n_extents - 1] : NULL;
        if (!last || last->logical + last->length < length)
                extents.known = false;
        *ret = extents;
        return 0;
}

bool fsdax_extents_are_huge(const FsdaxExtents *extents, uint64_t length, uint64_t skew) {
        if (!extents->known || length % FSDAX_HUGE_PAGE != 0)
                return false;

        for (size_t i = 0; i < extents->n_extents; i++) {
                const FsdaxExtent *extent = &extents->extents[i];

                if (extent->logical % FSDAX_HUGE_PAGE != 0 || extent->length % FSDAX_HUGE_PAGE != 0 ||
                    (extent->physical + skew) % FSDAX_HUGE_PAGE != 0)
                        return false;
        }

        return true;
}

int fsdax_extents_beyond(int fd, uint64_t length) {
        struct fiemap map = { .fm_start = length, .fm_length = UINT64_MAX - length };

        /* it is asked for their number alone */
        if (ioctl(fd, FS_IOC_FIEMAP, &map) < 0)
                return -errno;
        return map.fm_mapped_extents > 0;
}

static int cut_add(FsdaxExtents *cuts, uint64_t start, uint64_t length) {
        return length > 0 ? extents_append(cuts, (FsdaxExtent){ .logical = start, .length = length }) : 0;
}

int fsdax_extents_misplaced(const FsdaxExtents *extents, uint64_t from, uint64_t skew, FsdaxExtents *ret,
                            uint64_t *ret_left) {
        FsdaxExtents cuts = { .known = true };
        uint64_t left = from;
        int r = 0;

        for (size_t i = extents->n_extents; r >= 0 && i > 0; i--) {
                FsdaxExtent extent = extents->extents[i - 1];
                uint64_t before, whole;

                if (extent.logical + extent.length <= from)
                        break;
                if (extent.logical < from) {
                        extent.physical += from - extent.logical;
                        extent.length -= from - extent.logical;
                        extent.logical = from;
                }

                before = (FSDAX_HUGE_PAGE - (extent.physical + skew) % FSDAX_HUGE_PAGE) % FSDAX_HUGE_PAGE;
                if (before > extent.length)
                        before = extent.length;
                whole = (extent.length - before) / FSDAX_HUGE_PAGE * FSDAX_HUGE_PAGE;
                if (whole == 0)
                        before = extent.length;
                r = cut_add(&cuts, extent.logical + before + whole, extent.length - before - whole);
                if (r >= 0)
                        r = cut_add(&cuts, extent.logical, before);
                left += whole;
        }
        if (r < 0) {
                fsdax_extents_done(&cuts);
                return r;
        }

        *ret = cuts;
        *ret_left = left;
        return 0;
}

static int allocate(int fd, uint64_t from, uint64_t length) {
        int r;

        do
                r = fallocate(fd, 0, (off_t) from, (off_t) (length - from)) < 0 ? -errno : 0;
        while (r == -EINTR);
        return r;
}

/* Cuts out what lies wrongly of a file this long. */
static int cut_misplaced(int fd, uint64_t from, uint64_t length, uint64_t skew, uint64_t *ret_left) {
        FsdaxExtents extents, cuts = { 0 };
        uint64_t end = length;
        int r;

        r = fsdax_extents_read(fd, length, &extents);
        if (r < 0)
                return r;
        r = extents.known ? fsdax_extents_misplaced(&extents, from, skew, &cuts, ret_left) : -EOPNOTSUPP;
        fsdax_extents_done(&extents);
        if (r >= 0 && cuts.n_extents > CUTS_MAX)
                r = -ENOSPC;

        for (size_t i = 0; r >= 0 && i < cuts.n_extents; i++) {
                const FsdaxExtent *cut = &cuts.extents[i];

                if (cut->logical + cut->length == end) {
                        r = fsdax_file_truncate(fd, cut->logical, 0);
                        end = cut->logical;
                } else {
                        r = fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, (off_t) cut->logical, (off_t) cut->length);
                        if (r < 0)
                                r = -errno;
                        end -= cut->length;
                }
        }

        fsdax_extents_done(&cuts);
        return r;
}

/* XFS takes a hint; others say no, which is fine. */
static void hint_huge(int fd) {
        struct fsxattr attributes;

        if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0)
                return;
        attributes.fsx_xflags |= FS_XFLAG_EXTSIZE;
        attributes.fsx_extsize = (uint32_t) FSDAX_HUGE_PAGE;
        (void) ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

static void allocate_huge(int fd, uint64_t from, uint64_t length, uint64_t skew) {
        uint64_t left = from, more;
        int r = 0;

        if (from == 0)
                hint_huge(fd);
        for (unsigned i = 0; r >= 0 && left < length && i < ROUNDS; i++) {
                /* an extent loses less than a huge page at its beginning, and the file is cut back at its end */
                if (__builtin_add_overflow(length, i * FSDAX_HUGE_PAGE, &more) || more > INT64_MAX)
                        return;
                r = allocate(fd, left, more);
                if (r >= 0)
                        r = cut_misplaced(fd, left, more, skew, &left);
        }
}

int fsdax_extents_allocate(int fd, uint64_t from, uint64_t length, bool huge, uint64_t skew) {
        int r;

        if (huge && from % FSDAX_HUGE_PAGE == 0 && length % FSDAX_HUGE_PAGE == 0)
                allocate_huge(fd, from, length, skew);

        r = allocate(fd, from, length);
        return r < 0 ? r : fsdax_file_truncate(fd, length, FSDAX_PATIENCE_USEC);
}
