/* SPDX-License-Identifier: MIT */

/* The end of an allocation. Where memory can be taken from its holders:
 *
 *      live → revoking → gone
 *
 * Where it cannot, because what they have taken of it may outlive everything we can do, it is waited for:
 *
 *      live → draining → cleaning → revoking → gone
 *                  │          └───→ quarantined     somebody may refer to it still: it is zeroed where it is, and kept for
 *                  │                                its owner, who may have it again; and judged again later
 *                  └──────────────→ quarantined     a holder has not let go in time: nobody gets it; goes on when he does
 *
 * What somebody else has destroyed meanwhile (loss.c) is waited for by nobody, and there is nothing to judge or to clean.
 *
 * Each step is written into the record before it is taken, and each can be repeated, so that the next broker goes on where
 * this one stops. The bytes stay reserved and charged until the last one. If the kernel refuses something, the allocation is
 * quarantined: it stays, charged and visible. */

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "grant.h"
#include "intake.h"
#include "lesson.h"
#include "log.h"
#include "manager.h"
#include "regions.h"
#include "reserve.h"
#include "revival.h"

/* Calls of Free that can wait for the end of one allocation. */
#define ENDING_MAX 16

/* Whether somebody still refers to it is asked again after a second, then after twice as long, and so on up to this. */
#define JUDGE_AGAIN_USEC_MAX (UINT64_C(64) * 1000000)

#define PROGRESS_USEC (UINT64_C(500) * 1000)

static void allocation_log_end(const Allocation *allocation) {
        const char *cause = allocation->end_cause ? allocation->end_cause : "it had ended before";
        char message[128];

        if (allocation->end_decision)
                (void) snprintf(message, sizeof(message), "ended: %s by user %u", cause, (unsigned) allocation->end_uid);
        else
                (void) snprintf(message, sizeof(message), "ended: %s", cause);
        allocation_log(allocation, "end", allocation->owner, allocation->unit, allocation->end_decision, message);
}

/* While it is expected to be free soon, requests wait for it. */
static void allocation_set_ending(Allocation *allocation, bool ending) {
        grant_expect(allocation, ending);
        reservation_set_ending(&allocation->reservation, ending);
        charge_set_ending(&allocation->charge, ending);
}

static void allocation_set_reason(Allocation *allocation, const char *reason) {
        char *copy = reason ? strdup(reason) : NULL;

        free(allocation->reason);
        allocation->reason = copy;
        allocation_notify(allocation, "Reason");
}

bool allocation_is_taken_down(const Allocation *allocation) {
        return allocation->state == ALLOCATION_QUARANTINED && allocation->piece.disturbed && !allocation->node.letting_go;
}

/* Nobody has it, nor anything of it that would be of use. */
static bool is_out_of_reach(const Allocation *allocation) {
        return allocation->untouched || allocation->lost;
}

bool allocation_is_retained(const Allocation *allocation) {
        return allocation->state == ALLOCATION_QUARANTINED && allocation->drained && !allocation->shared &&
               !is_out_of_reach(allocation) && !allocation->piece.stuck && !allocation->piece.disturbed &&
               !allocation->operation.running && allocation->provider->reuse;
}

void allocation_quarantine(Allocation *allocation, const char *why) {
        bool known = allocation->reason && strcmp(allocation->reason, why) == 0;

        allocation_set_ending(allocation, false);
        reservation_set_quarantined(&allocation->reservation, true);
        allocation->end_late = false;
        if (!allocation->provider->drains)
                allocation->end_cause = NULL;
        if (known && allocation->state == ALLOCATION_QUARANTINED)
                return;
        if (!known)
                allocation_set_reason(allocation, why);
        allocation_set_state(allocation, ALLOCATION_QUARANTINED);
        /* what cannot be ended is tried again every minute, and not worth a word each time */
        if (!known)
                allocation_log_unusable(allocation);
        manager_settle(allocation->manager);
}

/* ---- Revoking ---- */

static int revoke_work(Allocation *allocation, Failure *failure) {
        const Provider *provider = allocation->provider;
        bool noted = provider->drains && !is_out_of_reach(allocation);
        int r = 0;

        if (noted)
                reserve_remove(allocation);
        /* What is no longer bound cannot be judged any more; so the next broker must not, but finish this. */
        if (noted && allocation_write_record(allocation, RECORD_CARVING) < 0)
                log_warning("cannot note that allocation %s is taken down", allocation->id);
        /* Nor may it come back after a power cut in the middle of its end. */
        if (provider->write_record && !allocation->untouched) {
                r = allocation_write_record(allocation, RECORD_ENDING);
                /* Somebody has removed it; or there is no room at all, and nothing but this can make some. */
                if (r < 0 && r != -ENOENT && r != -ENOSPC && r != -EDQUOT)
                        return failure_set_errno(failure, r, "cannot note on the medium that it ends");
        }

        /* without a place in its region it was never found again, and there is nothing to take */
        if (!allocation->lost && (!allocation->provider->claim || allocation->piece.state))
                r = allocation->provider->revoke(&allocation->piece, failure);
        if (r < 0) {
                if (noted)
                        (void) allocation_write_record(allocation, allocation->drained ? RECORD_DRAINED : RECORD_ENDING);
                return r;
        }

        /* The record first: should we die in between, a descriptor without a record is dropped by the next broker, while a
         * record without its descriptor would be taken for memory that its holders still have. */
        r = allocation_remove_record(allocation);
        if (r < 0 && r != -ENOENT)
                log_warning("cannot remove the record of %s: %s", allocation->id, strerror(-r));
        allocation_unstore_fds(allocation);
        return 0;
}

static void operation_ended(Allocation *allocation) {
        allocation->operation.running = false;
        allocation->end_timer = sd_event_source_disable_unref(allocation->end_timer);
}

static void allocation_judge_later(Allocation *allocation);

static void allocation_gone(Allocation *allocation) {
        Manager *manager = allocation->manager;
        Region *region = allocation->reservation.region;

        lease_end(&allocation->lease);
        if (allocation->owner == (uid_t) -1)
                (void) unlinkat(manager->leases_dir, allocation->id, 0); /* of an orphan, from when it was none */
        if (allocation->end_late) /* it may have been written when revoke_work() had removed it */
                (void) allocation_remove_record(allocation);
        allocation_log_end(allocation);
        if (manager->observer)
                manager->observer->allocation_removed(allocation, manager->observer->userdata);
        allocation_unlink(allocation);
        allocation_release(allocation);
        reserves_restore(manager); /* what was undone, before anybody else can have its place */
        manager_settle(manager);
        regions_replenish(manager, region); /* it may have been full */
        completions_run(&allocation->ending, allocation, 0, NULL, -EBADF, -EBADF);
        allocation_free(allocation);
}

static void revoke_done(Allocation *allocation, int r, Failure *failure) {
        operation_ended(allocation);
        if (r >= 0) {
                allocation_gone(allocation);
                return;
        }

        if (failure->refusal == REFUSAL_NONE)
                (void) failure_set_errno(failure, r, "cannot revoke it");
        allocation_quarantine(allocation, failure->text);
        if (allocation->provider->drains)
                allocation_judge_later(allocation);
        completions_run(&allocation->ending, allocation, r, failure, -EBADF, -EBADF);
        waiters_wake(&allocation->waiters);
}

static int on_end_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Allocation *allocation = userdata;
        Failure failure;
        int r;

        (void) source;
        (void) usec;
        r = failure_set(&failure, REFUSAL_Busy,
                        "a holder keeps the kernel from revoking %s; it ends, and is charged until then, when that is over",
                        allocation->id);
        log_warning("allocation %s: revoking it takes longer than RevokeTimeoutSec= allows, still trying", allocation->id);
        /* nobody should wait for these bytes any more, and no later broker take it for alive */
        allocation->end_late = true;
        if (!allocation->provider->write_record &&
            allocation_write_record(allocation, RECORD_ENDING) < 0)
                log_warning("cannot note that allocation %s is ending", allocation->id);
        allocation_set_ending(allocation, false);
        completions_run(&allocation->ending, allocation, r, &failure, -EBADF, -EBADF);
        return 0;
}

static void allocation_revoke(Allocation *allocation) {
        Manager *manager = allocation->manager;

        allocation->end_late = false;
        allocation->end_timer = sd_event_source_disable_unref(allocation->end_timer);
        allocation_set_ending(allocation, true);
        allocation_set_state(allocation, ALLOCATION_REVOKING);
        /* Without the timer those who wait just wait. */
        if (!allocation->provider->drains)
                (void) sd_event_add_time_relative(manager->event, &allocation->end_timer, CLOCK_MONOTONIC,
                                                  manager->config->revoke_timeout, 0, on_end_timeout, allocation);
        operation_start(allocation, revoke_work, revoke_done);
}

/* ---- Cleaning ---- */

/* For its owner, until it is known that nothing refers to it. */
static void allocation_keep(Allocation *allocation) {
        const char *why = allocation->reason_kept ? allocation->reason_kept : "the kernel may refer to its pages";
        Failure failure;
        int r;

        r = failure_set(&failure, REFUSAL_StillReferenced, "%s", why);
        allocation_quarantine(allocation, why);
        lesson_give(allocation);
        allocation_judge_later(allocation);
        completions_run(&allocation->ending, allocation, r, &failure, -EBADF, -EBADF);
        waiters_wake(&allocation->waiters);
}

/* Whether it was given up because the broker is being stopped: then it is left as its record says, and the next broker goes
 * on. */
static bool allocation_put_off(Allocation *allocation, int r, const Failure *failure) {
        if (r >= 0 || failure->refusal != REFUSAL_ShuttingDown)
                return false;

        completions_run(&allocation->ending, allocation, r, failure, -EBADF, -EBADF);
        waiters_wake(&allocation->waiters);
        return true;
}

static int clean_work(Allocation *allocation, Failure *failure) {
        return allocation->lost ? 0 : allocation->provider->clean(&allocation->piece, failure);
}

static int on_progress(sd_event_source *source, uint64_t usec, void *userdata) {
        Allocation *allocation = userdata;

        (void) usec;
        allocation_notify(allocation, "Cleaned");
        (void) sd_event_source_set_time_relative(source, PROGRESS_USEC);
        (void) sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
}

static void clean_done(Allocation *allocation, int r, Failure *failure) {
        operation_ended(allocation);
        if (allocation_put_off(allocation, r, failure))
                return;
        if (r < 0 && allocation->n_judged <= 1) /* whoever gets it next has it zeroed before */
                log_warning("allocation %s could not be zeroed: %s", allocation->id, failure->text);

        if (!allocation->referenced) {
                allocation_revoke(allocation);
                return;
        }

        allocation_keep(allocation);
}

static void allocation_clean(Allocation *allocation) {
        allocation->piece.cleaned = 0;
        allocation_set_state(allocation, ALLOCATION_CLEANING);
        (void) sd_event_add_time_relative(allocation->manager->event, &allocation->end_timer, CLOCK_MONOTONIC, PROGRESS_USEC,
                                          0, on_progress, allocation);
        operation_start_aside(allocation, clean_work, clean_done);
}

/* ---- Judging: does anybody still refer to what nobody has? ---- */

static int judge_work(Allocation *allocation, Failure *failure) {
        int r;

        if (is_out_of_reach(allocation))
                return 0;

        if (allocation->n_judged == 0) {
                r = allocation_write_record(allocation, RECORD_DRAINED);
                if (r < 0)
                        log_warning("cannot note that nobody has allocation %s any more: %s", allocation->id, strerror(-r));
        }

        return allocation->provider->judge(&allocation->piece, failure);
}

static void judge_done(Allocation *allocation, int r, Failure *failure) {
        bool first = allocation->n_judged++ == 0;

        operation_ended(allocation);
        if (allocation_put_off(allocation, r, failure))
                return;
        allocation->referenced = r < 0;
        free(allocation->reason_kept);
        if (r >= 0 || asprintf(&allocation->reason_kept, "%s%s", failure->text,
                               allocation->shared ? "; others have opened it, so it is kept from everybody"
                                                  : "; kept for its owner") < 0)
                allocation->reason_kept = NULL;
        if (r < 0 && !first) {
                allocation_keep(allocation);
                return;
        }

        /* What was zeroed while somebody referred to it may have been written to since. */
        if (r >= 0 && !first)
                allocation->piece.clean = false;
        allocation_set_ending(allocation, r >= 0);
        allocation_clean(allocation);
}

static void allocation_judge(Allocation *allocation) {
        operation_start_aside(allocation, judge_work, judge_done);
}

void allocation_judge_now(Allocation *allocation) {
        if (!allocation->provider->drains || !allocation->drained || allocation->state != ALLOCATION_QUARANTINED)
                return;

        /* if it is being judged by what was true before, it soon is once more */
        if (allocation->n_judged > 1)
                allocation->n_judged = 1;
        if (allocation->operation.running)
                return;
        allocation->end_timer = sd_event_source_disable_unref(allocation->end_timer);
        allocation_judge(allocation);
}

static int on_judge_again(sd_event_source *source, uint64_t usec, void *userdata) {
        Allocation *allocation = userdata;

        (void) source;
        (void) usec;
        allocation->end_timer = sd_event_source_disable_unref(allocation->end_timer);
        if (!allocation->operation.running)
                allocation_judge(allocation);
        return 0;
}

static void allocation_judge_later(Allocation *allocation) {
        uint64_t usec = JUDGE_AGAIN_USEC_MAX;

        if (allocation->n_judged < 7)
                usec = UINT64_C(1000000) << (allocation->n_judged > 0 ? allocation->n_judged - 1 : 0);
        allocation->end_timer = sd_event_source_disable_unref(allocation->end_timer);
        (void) sd_event_add_time_relative(allocation->manager->event, &allocation->end_timer, CLOCK_MONOTONIC, usec, 0,
                                          on_judge_again, allocation);
}

/* ---- Draining ---- */

void allocation_drained(Allocation *allocation) {
        allocation->drained = true;
        allocation->piece.held = false;
        allocation->end_timer = sd_event_source_disable_unref(allocation->end_timer);
        node_watch_remove(allocation->manager->nodes, &allocation->node);
        allocation_set_ending(allocation, true);
        allocation_judge(allocation);
}

static void on_node_changed(Node *node) {
        Allocation *allocation = (Allocation *) (void *) ((char *) node - offsetof(Allocation, node));

        /* looked at again when what is running is over */
        if (allocation->operation.running || allocation->drained || !node_is_drained(node))
                return;
        if (allocation->state == ALLOCATION_DRAINING || allocation->state == ALLOCATION_QUARANTINED)
                allocation_drained(allocation);
        else if (allocation->state == ALLOCATION_DETACHED && allocation->persistent)
                intake_on_released(allocation);
        else if (allocation->state == ALLOCATION_DETACHED)
                (void) allocation_end(allocation, "its last holder let go", NULL, NULL, NULL);
}

int allocation_watch_node(Allocation *allocation, const char *by_path) {
        Piece *piece = &allocation->piece;
        NodeWatch *nodes;
        int r;

        if (!allocation->provider->drains)
                return 0;
        r = manager_get_nodes(allocation->manager, &nodes);
        if (r < 0)
                return r;
        if (by_path)
                return node_watch_add_path(nodes, &allocation->node, by_path, allocation->read_only, on_node_changed);

        return node_watch_add(nodes, &allocation->node, piece->fd, piece->fd_read_only >= 0, on_node_changed);
}

static int on_drain_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Allocation *allocation = userdata;

        (void) source;
        (void) usec;
        allocation->end_timer = sd_event_source_disable_unref(allocation->end_timer);
        allocation_quarantine(allocation,
                              allocation->node.doubtful || allocation->node.n_others > 0
                                      ? "somebody else has opened its device, so that nobody can tell when its holders have "
                                        "let go; an admin can revoke it"
                                      : "a holder has ended it, and still has a descriptor or a mapping of it; it is kept, "
                                        "and charged, until he lets go or an admin revokes it");
        return 0;
}

/* Nobody is told the name any more, and the next may have it. */
static void allocation_drop_name(Allocation *allocation) {
        if (!allocation->name)
                return;

        HASH_DELETE(by_name, allocation->manager->by_name, allocation);
        free(allocation->name);
        allocation->name = NULL;
}

/* From here on only the holders can delay the end. */
static void allocation_drain(Allocation *allocation) {
        Manager *manager = allocation->manager;

        lease_end(&allocation->lease);
        if (allocation->in_use) {
                allocation->in_use = false;
                allocation_notify(allocation, "InUse");
        }
        allocation_set_ending(allocation, true);
        allocation_set_state(allocation, ALLOCATION_DRAINING);
        completions_run(&allocation->ending, allocation, 0, NULL, -EBADF, -EBADF);

        if (is_out_of_reach(allocation) || node_is_drained(&allocation->node)) {
                allocation_drained(allocation);
                return;
        }

        waiters_wake(&allocation->waiters);
        (void) sd_event_add_time_relative(manager->event, &allocation->end_timer, CLOCK_MONOTONIC,
                                          allocation->reservation.region->drain_timeout, 0, on_drain_timeout,
                                          allocation);
}

static int let_go_work(Allocation *allocation, Failure *failure) {
        int r;

        (void) failure;
        r = allocation_write_record(allocation, RECORD_ENDING);
        if (r < 0)
                log_warning("cannot note that allocation %s is ending: %s", allocation->id, strerror(-r));
        /* What was said to have ended must not be somebody's again after the next boot; so it is nobody's. */
        if (r < 0 && allocation->provider->list)
                (void) allocation_remove_record(allocation);
        piece_close(&allocation->piece);
        allocation_unstore_fds(allocation);
        return 0;
}

static void let_go_done(Allocation *allocation, int r, Failure *failure) {
        (void) r;
        (void) failure;
        operation_ended(allocation);
        allocation_drain(allocation);
}

static void allocation_let_go(Allocation *allocation) {
        EndMarks *marks = allocation->manager->marks;
        Node *node = &allocation->node;
        char path[64];

        allocation_drop_name(allocation);
        /* Of what is detached we have had no copies, so that this has begun already; it would tell us now that the last
         * holder has gone, and end it once more. */
        if (node->wd >= 0 && !node->letting_go)
                node_watch_let_go(allocation->manager->nodes, node);
        if (node->wd >= 0 && marks && allocation->piece.fd >= 0 && node->n_others == 0 && !node->doubtful) {
                (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", allocation->piece.fd);
                allocation->marked = end_marks_set(marks, path) >= 0;
        }
        node->letting_go = true;
        allocation_set_ending(allocation, true); /* who wants room waits from now on, also while that is noted */
        operation_start(allocation, let_go_work, let_go_done);
}

/* ---- From outside ---- */

static void end_orphan_done(Allocation *allocation, int r, Failure *failure) {
        operation_ended(allocation);
        if (r >= 0)
                r = revival_finish(allocation, failure);
        if (r >= 0) {
                allocation_let_go(allocation);
                return;
        }

        if (failure->refusal == REFUSAL_NONE)
                (void) failure_set_errno(failure, r, "cannot use it");
        allocation->end_cause = NULL;
        completions_run(&allocation->ending, allocation, r, failure, -EBADF, -EBADF);
        waiters_wake(&allocation->waiters);
}

/* Somebody may have had it before it was forgotten whose it is, so it is let go of like any other; as what it was. */
static void allocation_end_orphan(Allocation *allocation) {
        operation_start(allocation, revival_work, end_orphan_done);
}

void allocation_end_now(Allocation *allocation) {
        if (!allocation->provider->drains)
                allocation_revoke(allocation);
        else if (allocation->state == ALLOCATION_LIVE || allocation->state == ALLOCATION_DETACHED ||
                 allocation_is_taken_down(allocation))
                allocation_let_go(allocation);
        else if (allocation->state == ALLOCATION_ORPHAN)
                allocation_end_orphan(allocation);
        else if (allocation->state == ALLOCATION_QUARANTINED && allocation->drained)
                allocation_judge(allocation);
}

void allocation_catch_up(Allocation *allocation) {
        if (!allocation->operation.running && allocation->end_cause)
                allocation_end_now(allocation);
        if (!allocation->operation.running)
                on_node_changed(&allocation->node);
        if (!allocation->operation.running && allocation->lease.ours >= 0)
                (void) allocation_watch(allocation);
        waiters_wake(&allocation->waiters);
}

int allocation_resume_end(Allocation *allocation, RecordStage stage) {
        allocation_drop_name(allocation);
        lease_end(&allocation->lease);
        if (stage == RECORD_CARVING)
                allocation->untouched = allocation->drained = true;
        if (!allocation->provider->drains || stage == RECORD_CARVING) {
                allocation_revoke(allocation);
                return 0;
        }

        if (stage == RECORD_DRAINED) {
                allocation->state = ALLOCATION_QUARANTINED;
                allocation->drained = true;
                allocation_drained(allocation);
                return 0;
        }

        allocation->node.letting_go = true;
        allocation_drain(allocation);
        return 0;
}

int allocation_end(Allocation *allocation, const char *cause, const Ender *ender, AllocationHandler handler,
                   void *userdata) {
        const Completion *completion;
        /* It has ended before, and only its holders or an admin can do more. */
        bool over = allocation->provider->drains && !allocation->drained && !allocation_is_taken_down(allocation) &&
                    (allocation->state == ALLOCATION_DRAINING || allocation->state == ALLOCATION_QUARANTINED);
        unsigned n;
        int r;

        LL_COUNT(allocation->ending, completion, n);
        if (handler && (allocation->end_late || n >= ENDING_MAX || over))
                return -EBUSY;

        r = completion_add(&allocation->ending, handler, userdata);
        if (r < 0)
                return r;

        if (allocation->state == ALLOCATION_REVOKING)
                return 0;
        if (!allocation->end_cause) {
                allocation->end_cause = cause;
                allocation->end_decision = ender ? ender->decision : NULL;
                allocation->end_uid = ender ? ender->uid : 0;
        }
        if (!allocation->operation.running)
                allocation_end_now(allocation);
        else if (allocation->provider->inspect && !allocation->end_timer) /* also what is being done to it can hang */
                (void) sd_event_add_time_relative(allocation->manager->event, &allocation->end_timer, CLOCK_MONOTONIC,
                                                  allocation->manager->config->revoke_timeout, 0, on_end_timeout,
                                                  allocation);
        return 0;
}

/* ---- By force ---- */

static int force_work(Allocation *allocation, Failure *failure) {
        const char *reason = allocation->reason ? allocation->reason : "it was not found again";
        Failure verdict = { 0 };
        int r = 0;

        if (!allocation->piece.state)
                r = failure_set(&verdict, REFUSAL_StillReferenced, "nobody can tell who refers to it: %s", reason);
        else if (!allocation->lost)
                r = allocation->provider->judge(&allocation->piece, &verdict);
        if (r < 0 && !allocation->operation.despite_references)
                return failure_set(failure, REFUSAL_StillReferenced,
                                   "%s; revoked in spite of that, the next holder's bytes may be read or changed by whoever "
                                   "refers to it, and the kernel may crash when he lets go. Revoke with despite-references "
                                   "if that is better than waiting",
                                   verdict.text);

        r = revoke_work(allocation, failure);
        allocation->piece.clean = false; /* who had it may have written to it up to now */
        return r;
}

/* Only when it has worked is that why it ends: what was refused leaves it as it was, and it may not be ending at all. */
static void force_done(Allocation *allocation, int r, Failure *failure) {
        const Operation *operation = &allocation->operation;

        operation_ended(allocation);
        if (r >= 0) {
                allocation->end_cause = operation->despite_references ? "it was revoked in spite of references"
                                                                      : "it was revoked";
                allocation->end_decision = operation->decision;
                allocation->end_uid = operation->opener;
                completions_run(&allocation->operation.completion, allocation, 0, NULL, -EBADF, -EBADF);
                allocation_gone(allocation);
                return;
        }

        if (failure->refusal == REFUSAL_NONE)
                (void) failure_set_errno(failure, r, "cannot revoke it");
        completions_run(&allocation->operation.completion, allocation, r, failure, -EBADF, -EBADF);
        waiters_wake(&allocation->waiters);
        if (allocation->ending)
                allocation_end_now(allocation); /* who has asked for that meanwhile waits for it */
        else if (allocation->drained)
                allocation_judge_later(allocation);
        else if (node_is_drained(&allocation->node))
                allocation_drained(allocation);
        else
                allocation_quarantine(allocation, allocation->reason ? allocation->reason : "a holder still has it");
}

int allocation_force(Allocation *allocation, bool despite_references, const Ender *ender, AllocationHandler handler,
                     void *userdata, Failure *failure) {
        if (!allocation->provider->drains)
                return failure_set(failure, REFUSAL_Busy, "it is %s; Free takes it from whoever has it, so free it",
                                   allocation_state_to_string(allocation->state));
        if (allocation->operation.running)
                return failure_set(failure, REFUSAL_Busy, "something is being done to it just now (%s); try again",
                                   allocation_state_to_string(allocation->state));
        if (allocation->state != ALLOCATION_DRAINING && allocation->state != ALLOCATION_QUARANTINED)
                return failure_set(failure, REFUSAL_Busy, "it is %s; only what has ended and is still held can be revoked, "
                                                          "so free it first",
                                   allocation_state_to_string(allocation->state));
        if (completion_add(&allocation->operation.completion, handler, userdata) < 0)
                return -ENOMEM;

        allocation->end_timer = sd_event_source_disable_unref(allocation->end_timer);
        allocation->piece.held = !allocation->drained && !node_is_drained(&allocation->node);
        allocation->operation.despite_references = despite_references;
        allocation->operation.opener = ender->uid;
        allocation->operation.decision = ender->decision;
        operation_start(allocation, force_work, force_done);
        return 0;
}
