/* SPDX-License-Identifier: MIT */

/* What lies unread in a socket can have descriptors with it, and closing the socket closes them. Where that is the last copy
 * it can take as long as the sender likes: a connection of his that is to linger (SO_LINGER), a file of a file system that he
 * serves himself. So who leaves descriptors is hung up on by a thread. These are not those that work for everybody: anybody
 * can connect, and few can make a thread hang in what they hold.
 *
 * The other end notices at once, and nothing can come after that; so what there is can be looked at. Urgent data, which
 * can have descriptors too and is not seen by looking, is made to be like any other. */

#include "hang-up.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <utlist.h>

#include "cleanup.h"
#include "worker.h"

/* As much as anybody leaves who means well. */
#define LOOK_MAX (16 * 1024)

/* For threads to end: those that may hang, and those that have nothing to do, however busy the machine is. */
#define GRACE_USEC (100 * UINT64_C(1000))
#define IDLE_GRACE_USEC (10 * UINT64_C(1000000))

typedef struct HangUp {
        Job job;
        HangUps *all;
        int fd;
        User *user; /* owned reference */
        struct HangUp *prev, *next;
} HangUp;

struct HangUps {
        WorkerPool *pool;
        HangUp *list;
        unsigned n;
        HangUpsHandler full;
        void *userdata;
};

int hang_ups_new(sd_event *event, HangUpsHandler full, void *userdata, HangUps **ret) {
        HangUps *all;
        int r;

        all = calloc(1, sizeof(*all));
        if (!all)
                return -ENOMEM;

        all->full = full;
        all->userdata = userdata;
        r = worker_pool_new(event, &all->pool);
        if (r < 0) {
                free(all);
                return r;
        }

        *ret = all;
        return 0;
}

static void hang_up_forget(HangUp *hang_up) {
        HangUps *all = hang_up->all;

        DL_DELETE(all->list, hang_up);
        hang_up->user->n_peers--;
        hang_up->user = user_unref(hang_up->user);
        all->n--;
}

HangUps *hang_ups_free(HangUps *all) {
        HangUp *hang_up, *next;

        if (!all)
                return NULL;

        if (worker_pool_drain(all->pool, all->n > 0 ? GRACE_USEC : IDLE_GRACE_USEC)) {
                all->pool = worker_pool_free(all->pool);
                free(all);
                return NULL;
        }

        /* a thread still has what it works at */
        DL_FOREACH_SAFE(all->list, hang_up, next)
                hang_up_forget(hang_up);
        return NULL;
}

unsigned hang_ups_count(const HangUps *all) {
        return all->n;
}

void hang_up_prepare(int fd) {
        const int yes = 1;

        (void) setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &yes, sizeof(yes));
}

/* Nobody can send any more. */
static bool may_have_descriptors(int fd) {
        char buffer[LOOK_MAX];
        struct iovec iov = { .iov_base = buffer, .iov_len = sizeof(buffer) };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
        int unread;

        if (ioctl(fd, SIOCINQ, &unread) < 0)
                return true;
        return unread > 0 && (recvmsg(fd, &m, MSG_PEEK | MSG_DONTWAIT) != unread || (m.msg_flags & MSG_CTRUNC));
}

static int hang_up_work(Job *job) {
        HangUp *hang_up = (HangUp *) (void *) job;

        hang_up->fd = safe_close(hang_up->fd);
        return 0;
}

static void hang_up_done(Job *job, int result) {
        HangUp *hang_up = (HangUp *) (void *) job;
        HangUps *all = hang_up->all;

        (void) result;
        hang_up_forget(hang_up);
        free(hang_up);
        if (all->n == HANG_UPS_MAX - 1)
                all->full(false, all->userdata);
}

void hang_up_consume_fd(HangUps *all, int fd, UserTable *users, uid_t uid) {
        HangUp *hang_up;

        (void) shutdown(fd, SHUT_RDWR);
        if (!may_have_descriptors(fd)) {
                safe_close(fd);
                return;
        }

        hang_up = calloc(1, sizeof(*hang_up));
        if (!hang_up || user_get(users, uid, &hang_up->user) < 0) {
                free(hang_up);
                safe_close(fd); /* whatever it takes */
                return;
        }

        hang_up->job = (Job){ .work = hang_up_work, .done = hang_up_done };
        hang_up->all = all;
        hang_up->fd = fd;
        hang_up->user->n_peers++;
        DL_APPEND(all->list, hang_up);
        if (++all->n == HANG_UPS_MAX)
                all->full(true, all->userdata);
        worker_pool_submit(all->pool, &hang_up->job, uid);
}
