/* SPDX-License-Identifier: MIT */

/* The account of a region that is a directory: how much of its file system is ours, free, or somebody else's, and what a
 * request would become. All of it is the event loop's; what a look at the directory has found comes from worker threads. */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "clock.h"
#include "fsdax.h"
#include "name.h"
#include "size.h"

/* So old may be what is known of the room when a request is refused for want of it. */
#define STALE_USEC (UINT64_C(1000) * 1000)

FsdaxFacts fsdax_facts(Fsdax *fsdax) {
        FsdaxFacts facts;

        pthread_mutex_lock(&fsdax->mutex);
        facts = fsdax->facts;
        pthread_mutex_unlock(&fsdax->mutex);
        return facts;
}

/* ---- The region ---- */

static Fsdax *all;

/* What lies in it can be one region's only. */
static const Fsdax *find_twin(const Fsdax *fsdax, const FsdaxFacts *facts) {
        Fsdax *other;

        for (other = all; facts->known && other && other != fsdax; other = other->next) {
                FsdaxFacts others = fsdax_facts(other);

                if (others.known && others.device == facts->device && others.inode == facts->inode)
                        return other;
        }
        return NULL;
}

void fsdax_forget(Region *region) {
        Fsdax *fsdax = region->state;

        if (!fsdax)
                return;

        region->state = NULL;
        region->foreign = 0;
        DL_DELETE(all, fsdax);
        fsdax_watch_free(fsdax->watch);
        fsdax_leftovers_forget(fsdax);
        fsdax_holds_forget(fsdax);
        throttle_free(fsdax->throttle);
        pthread_mutex_destroy(&fsdax->mutex);
        pthread_mutex_destroy(&fsdax->holding);
        free(fsdax->path);
        free(fsdax);
}

static int fsdax_make(Region *region, const char *path) {
        Fsdax *fsdax;
        int r;

        fsdax = calloc(1, sizeof(*fsdax));
        if (!fsdax)
                return -ENOMEM;

        region->state = fsdax;
        fsdax->region = region;
        DL_APPEND(all, fsdax);
        pthread_mutex_init(&fsdax->mutex, NULL);
        pthread_mutex_init(&fsdax->holding, NULL);
        fsdax->path = strdup(path);
        r = fsdax->path ? throttle_new(&fsdax->throttle) : -ENOMEM;
        if (r < 0)
                fsdax_forget(region);
        return r;
}

/* What our files do not have of the region, and cannot get either, is somebody else's. What was measured may be from before
 * a file got its room, or from after it gave it back, while the other is counted: then less seems to be somebody else's than
 * is, and it is the file system that says so. What is used and has no room yet, because it is kept for a grant, is not there
 * for others. */
void fsdax_account(Region *region, uint64_t used) {
        FsdaxFacts facts = fsdax_facts(region->state);
        uint64_t owed = fsdax_holds_owed(region->state), accounted, foreign;

        if (!facts.known ||
            __builtin_add_overflow(used, facts.available > owed ? facts.available - owed : 0, &accounted))
                return;
        foreign = region->size > accounted ? region->size - accounted : 0;
        region->changed = region->changed || foreign != region->foreign;
        region->foreign = foreign;
}

static int probe_path(Region *region, const RegionConfig *config, Failure *failure) {
        const Fsdax *fsdax = region->state;

        if (!config->path)
                return failure_set(failure, REFUSAL_RegionUnusable,
                                   "the configuration has no Path= for it, which is the directory of its files");
        if (fsdax && strcmp(fsdax->path, config->path) != 0) {
                if (region->n_reservations > 0 || region->listing || region->replenishing)
                        return failure_set(failure, REFUSAL_RegionUnusable,
                                           "Path=%s: what it has lies in %s; another directory takes a restart",
                                           config->path, fsdax->path);
                fsdax_forget(region);
                region->listed = false;
        }
        if (!region->state && fsdax_make(region, config->path) < 0)
                return failure_set_errno(failure, -ENOMEM, "cannot keep an account of it");
        return 0;
}

int fsdax_probe(Region *region, const RegionConfig *config, Failure *failure) {
        const Fsdax *twin;
        FsdaxFacts facts;
        Fsdax *fsdax;
        uint64_t size;
        int r;

        r = probe_path(region, config, failure);
        if (r < 0)
                return r;

        fsdax = region->state;
        if (fsdax->sync != (int) config->sync) {
                fsdax->sync = (int) config->sync;
                region->listed = false;
        }
        fsdax->growth = (int) config->growth;
        throttle_set(fsdax->throttle, config->clean_bandwidth);

        facts = fsdax_facts(fsdax);
        twin = find_twin(fsdax, &facts);
        pthread_mutex_lock(&fsdax->mutex);
        fsdax->sole = facts.known && !twin && facts.device == fsdax->facts.device && facts.inode == fsdax->facts.inode;
        pthread_mutex_unlock(&fsdax->mutex);
        if (twin)
                return failure_set(failure, REFUSAL_RegionUnusable, "Path=%s: that is the directory of region '%s'",
                                   config->path, twin->region->name);
        size = facts.total;
        if (config->size && (size_parse_part(config->size, facts.total, &size) < 0 || size == SIZE_INFINITE))
                return failure_set(failure, REFUSAL_RegionUnusable, "Size=%s is no size that a region can have",
                                   config->size);
        if (size > facts.total)
                size = facts.total;
        region->size = size - size % FSDAX_PAGE;
        region->granularity = FSDAX_PAGE;
        region->numa_node = config->numa_node >= 0 ? config->numa_node : facts.known ? facts.numa_node : -1;
        dax_read_performance(region->numa_node, &region->performance);
        region->n_alignments = 3;
        region->alignments[0] = FSDAX_PAGE;
        region->alignments[1] = FSDAX_HUGE_PAGE;
        region->alignments[2] = GIB;
        fsdax_account(region, region->used);
        return 0;
}

/* Others use the file system, too, and say nothing of it. */
bool fsdax_is_stale(const Region *region) {
        return region->state && region->listed && fsdax_facts(region->state).measured + STALE_USEC < now_usec();
}

bool fsdax_is_low(const Region *region) {
        Fsdax *fsdax = region->state;

        return fsdax && !fsdax->stopping &&
               (fsdax->leftovers_changed || fsdax->holds_changed || (fsdax->holds_stray && fsdax->sole) || fsdax->read_only);
}

void fsdax_replenished(Region *region) {
        Fsdax *fsdax = region->state;

        if (!fsdax)
                return;
        fsdax_account(region, region->used);
        region->outdated = region->outdated || atomic_exchange(&fsdax->leftovers_filled, false);
        if (fsdax->watch && (fsdax_leftovers_exist(fsdax) || fsdax_holds_lack(fsdax)))
                fsdax_watch_again(fsdax->watch);
}

int fsdax_watch(Region *region, sd_event *event, PieceHandler handler, void *userdata) {
        Fsdax *fsdax = region->state;

        return fsdax && !fsdax->watch ? fsdax_watch_new(region, event, handler, userdata, &fsdax->watch) : 0;
}

/* ---- Requests ---- */

static int plan_page_size(const Region *region, const Request *request, Piece *piece, Failure *failure) {
        const Fsdax *fsdax = region->state;
        bool huge = fsdax->sync == SYNC_DAX;

        piece->page_size = huge && request->alignment >= FSDAX_HUGE_PAGE ? FSDAX_HUGE_PAGE : FSDAX_PAGE;
        if (!request->page_size_set)
                return 0;

        if (request->page_size != FSDAX_PAGE && (!huge || request->page_size != FSDAX_HUGE_PAGE))
                return failure_set(failure, REFUSAL_BadOption,
                                   "option page-size: files of region '%s' have pages of %" PRIu64 "%s", region->name,
                                   FSDAX_PAGE, huge ? " or 2097152 bytes" : " bytes only (Sync=none)");
        piece->page_size = request->page_size;
        piece->page_size_demanded = true;
        return 0;
}

int fsdax_plan(const Region *region, const Request *request, Piece *piece, Failure *failure) {
        int r;

        *piece = (Piece){
                .alignment = request->alignment,
                .contiguous = request->contiguous,
                .numa_node = region->numa_node,
                .prefault = true,
                .fd = -EBADF,
                .fd_read_only = -EBADF,
        };

        if (request->numa_node_set && (int64_t) request->numa_node != region->numa_node)
                return failure_set(failure, REFUSAL_BadOption, "option numa-node: region '%s' lies on node %d", region->name,
                                   region->numa_node);

        r = plan_page_size(region, request, piece, failure);
        if (r < 0)
                return r;

        return piece_round_up(piece, request->size, failure);
}

int fsdax_reserve(Region *region, Piece *piece, Failure *failure) {
        (void) failure;
        piece->state = region->state;
        piece->hold_number = fsdax_hold_number(piece->hold);
        fsdax_account(region, region->used + (piece->hold ? 0 : piece->length)); /* as it is about to be */
        return 0;
}

int fsdax_claim(Region *region, Piece *piece, Failure *failure) {
        Fsdax *fsdax;
        int r;

        if (!region->state)
                return failure_set(failure, REFUSAL_RegionUnusable, "its directory is not there: %s",
                                   region->reason ? region->reason : "");
        if (!piece->handle || !is_id(piece->handle))
                return failure_set(failure, REFUSAL_Failed, "its record does not say which file it is");

        /* more than that only DAX can have */
        fsdax = region->state;
        if (fsdax->sync != SYNC_DAX)
                piece->seen_page_size = FSDAX_PAGE;
        r = fsdax_reserve(region, piece, failure);
        if (r >= 0 && piece->hold_number != 0) {
                fsdax_hold_count(piece, piece->length);
                fsdax->holds_changed = true; /* its hold may have got that, too, since */
        }
        return r;
}

void fsdax_release(Piece *piece) {
        Fsdax *fsdax = piece->state;
        uint64_t used = fsdax->region->used;

        /* as long as it was an allocation, nobody has looked at it */
        if (piece->handle)
                fsdax_leftover_released(fsdax, piece->handle);
        fsdax_hold_expect(piece, 0);
        fsdax_hold_return(piece, 0, true);
        fsdax_account(fsdax->region, used > piece->length ? used - piece->length : 0);
        piece->state = NULL;
}
