/* SPDX-License-Identifier: MIT */

/* A watch of inotify that is good for one event is taken away by the kernel with that event, whether somebody reads it or
 * not. So a watch that was set and is not there any more is the end that it was set for. Each kind of event has an instance
 * of its own, which the service manager keeps, and from which nothing is ever read. */

#include "end-marks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/random.h>

#include "cleanup.h"

typedef enum Mark {
        MARK_WRITER,
        MARK_READER,
        MARK_OTHERS,
        N_MARKS,
} Mark;

static const struct {
        const char *prefix; /* of the name under which it is kept */
        uint32_t event;
} kinds[N_MARKS] = {
        [MARK_WRITER] = { "ends-w-", IN_CLOSE_WRITE },
        [MARK_READER] = { "ends-r-", IN_CLOSE_NOWRITE },
        [MARK_OTHERS] = { "ends-o-", IN_OPEN },
};

struct EndMarks {
        char name[17];
        int fds[N_MARKS];
};

static EndMarks *end_marks_alloc(const char *name) {
        EndMarks *marks;

        marks = calloc(1, sizeof(*marks));
        if (!marks)
                return NULL;

        (void) snprintf(marks->name, sizeof(marks->name), "%.16s", name);
        for (Mark i = 0; i < N_MARKS; i++)
                marks->fds[i] = -EBADF;
        return marks;
}

EndMarks *end_marks_free(EndMarks *marks) {
        if (!marks)
                return NULL;

        for (Mark i = 0; i < N_MARKS; i++)
                safe_close(marks->fds[i]);
        free(marks);
        return NULL;
}

const char *end_marks_name(const EndMarks *marks) {
        return marks->name;
}

int end_marks_new(EndMarks **ret) {
        char name[32];
        EndMarks *marks;
        uint64_t number;
        int r = 0;

        if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
                return -EAGAIN;
        (void) snprintf(name, sizeof(name), "%016" PRIx64, number);
        marks = end_marks_alloc(name);
        if (!marks)
                return -ENOMEM;

        for (Mark i = 0; r >= 0 && i < N_MARKS; i++) {
                marks->fds[i] = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
                if (marks->fds[i] < 0) {
                        r = -errno;
                        break;
                }
                (void) snprintf(name, sizeof(name), "%s%s", kinds[i].prefix, marks->name);
                r = fd_store_push(name, marks->fds[i]);
                if (r == 0)
                        r = -ENOTCONN;
        }
        if (r < 0) {
                end_marks_free(marks);
                return r;
        }

        *ret = marks;
        return 0;
}

int end_marks_recover(StoredFd *store, EndMarks **ret) {
        size_t n = strlen(kinds[0].prefix);
        StoredFd *stored, *next;

        HASH_ITER(hh, store, stored, next) {
                bool complete = true;
                EndMarks *marks;

                if (stored->fd < 0 || strncmp(stored->name, kinds[0].prefix, n) != 0 || strlen(stored->name) != n + 16)
                        continue;

                marks = end_marks_alloc(stored->name + n);
                if (!marks)
                        return -ENOMEM;
                for (Mark i = 0; i < N_MARKS; i++) {
                        char name[32];

                        (void) snprintf(name, sizeof(name), "%s%s", kinds[i].prefix, marks->name);
                        marks->fds[i] = fd_store_find(store, name);
                        complete = complete && marks->fds[i] >= 0;
                }
                if (complete) {
                        *ret = marks;
                        return 0;
                }
                end_marks_free(marks);
        }

        return -ENOENT;
}

int end_marks_set(EndMarks *marks, const char *path) {
        for (Mark i = 0; i < N_MARKS; i++)
                if (inotify_add_watch(marks->fds[i], path, kinds[i].event | IN_ONESHOT) < 0)
                        return -errno;

        return 0;
}

/* Whether it is not there any more. Setting it anew is the only way to ask, so it is taken away again. */
static int mark_is_gone(const EndMarks *marks, Mark mark, const char *path, bool *ret) {
        int wd;

        wd = inotify_add_watch(marks->fds[mark], path, kinds[mark].event | IN_ONESHOT | IN_MASK_CREATE);
        if (wd < 0 && errno != EEXIST)
                return -errno;
        if (wd >= 0)
                (void) inotify_rm_watch(marks->fds[mark], wd);

        *ret = wd >= 0;
        return 0;
}

int end_marks_look(EndMarks *marks, const char *path, bool *ret_writer_gone, bool *ret_reader_gone) {
        bool gone[N_MARKS] = { 0 };
        int r = 0;

        for (Mark i = 0; r >= 0 && i < N_MARKS; i++)
                r = mark_is_gone(marks, i, path, &gone[i]);
        if (r < 0)
                return r;
        if (gone[MARK_OTHERS])
                return -EUCLEAN;

        *ret_writer_gone = gone[MARK_WRITER];
        *ret_reader_gone = gone[MARK_READER];
        return 0;
}
