/* SPDX-License-Identifier: MIT */

/* What is ready belongs to the broker alone, and nobody has ever had it: it is made as for a request, by the provider, and
 * goes to the first one that it suits, or back where it came from. Nothing of it is on record or in the service manager's
 * hands before it is handed out. What would be left of it when the broker dies is noted by the provider, and undone by the
 * next one.
 *
 * It is made in batches by a thread that only runs when no processor has anything better to do, or by a worker if the
 * provider needs locks for that, and given back in worker threads. It goes back when others need the bytes of its region or
 * its place, when a request would fail for want of memory or get smaller pages than there could be, and when the kernel says
 * that processes wait for memory; then nothing is made for a while. */

#include "warming.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "clock.h"
#include "idler.h"
#include "log.h"
#include "pressure.h"
#include "regions.h"
#include "size.h"

/* After the first request that has taken something: others are likely to follow. */
#define SOON_USEC (UINT64_C(10) * 1000)
/* After memory was needed elsewhere, and after processes had to wait for it. */
#define PAUSE_USEC (UINT64_C(5) * 1000000)
#define LONG_PAUSE_USEC (UINT64_C(30) * 1000000)

/* How much is made before it can be taken: little, as it may take long where there is no idle processor. */
#define BATCH_PIECES 8
#define BATCH_BYTES (16 * MIB)

/* Each has a descriptor. Allocations are counted as if they had a third more than they have, see manager.c. */
#define PIECES_MAX 512
#define PIECES_PART 16

#define AWAIT_USEC (UINT64_C(2) * 1000000)
#define DRAIN_USEC (UINT64_C(1) * 1000000)
#define LOOK_NSEC 1000000

/* No user has this uid, so nobody's jobs are in its way. */
#define LANE_WARMING ((uid_t) -4)

struct Warming {
        Manager *manager;
        Idler *idler;
        Pressure *pressure;
        sd_event_source *timer;
        uint64_t paused_until;
        unsigned max;             /* pieces of a region */
        Region *region;           /* for which a batch is being made, or NULL */
        Region *latest;           /* for which one was made last */
        WarmPiece *batch;         /* the thread's until it is done */
        Job job;                  /* makes it, if that is for a worker */
        uint64_t made_page_size;  /* of what was made last */
        atomic_bool stop;         /* what is being made is given up */
        atomic_bool making;
        atomic_bool over;         /* the broker is being stopped */
        atomic_uint n_giving_back; /* jobs */
};

static WarmPiece *warm_piece_free(WarmPiece *piece) {
        Warming *warming = piece->warming;
        Region *region = piece->region;

        if (region)
                piece->provider->release(&piece->piece);
        piece_done(&piece->piece);
        free(piece);
        if (region && --region->n_ahead == 0 && region->configure_again && !atomic_load(&warming->over))
                regions_configure_again(warming->manager, region);
        return NULL;
}

/* ---- Given back ---- */

static void warm_piece_revoke(WarmPiece *piece) {
        Failure failure = { 0 };

        if (piece->provider->revoke(&piece->piece, &failure) >= 0)
                return;

        if (piece->region) {
                log_warning("region '%s': what was made ahead cannot be given back: %s", piece->region->name, failure.text);
                piece->piece.foreign = true; /* whoever is in the way has it */
        }
        piece_close(&piece->piece); /* otherwise the kernel has it back, as soon as it can */
}

static int give_back_work(Job *job) {
        WarmPiece *list = (WarmPiece *) (void *) ((char *) job - offsetof(WarmPiece, job)), *piece;
        Warming *warming = list->warming;

        DL_FOREACH(list, piece)
                if (!piece->region || !atomic_load(&warming->over))
                        warm_piece_revoke(piece); /* else the provider undoes them, as many as there is time for */
        atomic_fetch_sub(&warming->n_giving_back, 1);
        return 0;
}

static void give_back_done(Job *job, int r) {
        WarmPiece *list = (WarmPiece *) (void *) ((char *) job - offsetof(WarmPiece, job)), *piece, *next;

        (void) r;
        if (list->region)
                manager_settle(list->warming->manager); /* somebody may wait for its place */
        DL_FOREACH_SAFE(list, piece, next)
                warm_piece_free(piece);
}

static void give_back(Warming *warming, WarmPiece *list) {
        list->job = (Job){ .work = give_back_work, .done = give_back_done };
        atomic_fetch_add(&warming->n_giving_back, 1);
        worker_pool_submit(warming->manager->pool, &list->job, LANE_WARMING);
}

static void warming_pause(Warming *warming, uint64_t usec) {
        uint64_t until = now_usec() + usec;

        if (until > warming->paused_until)
                warming->paused_until = until;
}

/* It is others' turn meanwhile. */
static void region_pause(Region *region) {
        region->warm.paused_until = now_usec() + PAUSE_USEC;
}

static void cede_region(Warming *warming, Region *region) {
        WarmPiece *list = NULL, *piece;

        if (warming->region == region)
                atomic_store(&warming->stop, true);
        while ((piece = warm_take_any(&region->warm)))
                DL_APPEND(list, piece);
        if (!list)
                return;
        give_back(warming, list);
        region->changed = true;
}

void warming_cede(Manager *manager, const Provider *provider) {
        Warming *warming = manager->warming;
        Region *region;

        if (!warming)
                return;

        warming_pause(warming, PAUSE_USEC);
        DL_FOREACH(manager->regions, region)
                if (!provider || region->provider == provider)
                        cede_region(warming, region);
        manager_settle(manager);
}

int warming_make_way(Manager *manager, Region *region, const Piece *plan, Failure *failure) {
        if (!region->provider->crowded || !region->provider->crowded(region, plan))
                return 0;

        if (manager->warming) {
                warming_pause(manager->warming, PAUSE_USEC);
                cede_region(manager->warming, region);
        }
        return failure_set(failure, REFUSAL_NoSpace,
                           "what was made ready ahead of requests in region '%s' is still being given back; try again",
                           region->name);
}

void warming_await(Warming *warming) {
        const struct timespec moment = { .tv_nsec = LOOK_NSEC };
        uint64_t deadline = now_usec() + AWAIT_USEC;

        while (warming && now_usec() < deadline &&
               (atomic_load(&warming->n_giving_back) > 0 ||
                (atomic_load(&warming->making) && atomic_load(&warming->stop))))
                (void) clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
}

static void on_pressure(void *userdata) {
        Warming *warming = userdata;
        const Region *region;
        uint64_t bytes = 0;

        DL_FOREACH(warming->manager->regions, region)
                bytes += region->warm.bytes;
        if (bytes > 0)
                log_notice("memory is short: giving back %s that nobody has yet", SIZE_TEXT(bytes));
        warming_cede(warming->manager, NULL);
        warming_pause(warming, LONG_PAUSE_USEC);
}

/* What is gone is given back. What is disabled or changed stays where it is, and is not handed out: whoever did that may not
 * be done with it, and two who work on one device can have the kernel hang. */
static void find_losses(Warming *warming, Region *region) {
        WarmPiece *list = NULL, *piece, *next;

        DL_FOREACH_SAFE(region->warm.pieces, piece, next) {
                if (!region->provider->misses(region, &piece->piece))
                        continue;
                if (!piece->piece.disturbed)
                        log_notice("region '%s': somebody has destroyed or changed %s, which was made ahead of requests",
                                   region->name, piece->piece.device);
                piece->piece.disturbed = true;
                if (!region->dax || !dax_region_find(region->dax, piece->piece.device)) {
                        (void) warm_take(&region->warm, piece);
                        DL_APPEND(list, piece);
                }
        }
        if (!list)
                return;

        give_back(warming, list);
        region->changed = true;
        manager_settle(warming->manager);
}

void warming_find_losses(Manager *manager) {
        Region *region;

        if (manager->warming)
                DL_FOREACH(manager->regions, region)
                        if (region->provider && region->provider->misses)
                                find_losses(manager->warming, region);
}

/* ---- Made ---- */

/* In the thread. Either all is kept that could be made, or nothing is left; or, where that takes locks, or all is complete
 * when it is given up, it is given back when this is done. */
static void make_work(void *userdata) {
        Warming *warming = userdata;
        WarmPiece *piece;

        DL_FOREACH(warming->batch, piece) {
                piece->result = piece->provider->carve_ahead(&piece->piece, piece->id, &warming->stop, &piece->failure);
                if (piece->result < 0)
                        break;
        }
        if (atomic_load(&warming->stop))
                DL_FOREACH(warming->batch, piece)
                        if (piece->result >= 0 && !piece->provider->takes_locks) {
                                warm_piece_revoke(piece);
                                piece->result = -ECANCELED;
                        }
}

static void make_done(void *userdata) {
        Warming *warming = userdata;
        Region *region = warming->region;
        bool unwanted = atomic_load(&warming->stop) && !atomic_load(&warming->over);
        WarmPiece *piece, *next, *list = NULL;

        DL_FOREACH_SAFE(warming->batch, piece, next) {
                DL_DELETE(warming->batch, piece);
                if (piece->result >= 0 && unwanted) {
                        DL_APPEND(list, piece);
                        continue;
                }
                if (piece->result >= 0) {
                        warming->made_page_size = piece->piece.page_size;
                        warm_add(&region->warm, piece);
                        region->changed = true;
                        continue;
                }
                if (piece->result != -ECANCELED) {
                        log_debug("region '%s': nothing can be made ahead just now: %s", region->name, piece->failure.text);
                        region_pause(region);
                }
                piece->piece.foreign |= piece->piece.stuck;
                warm_piece_free(piece);
        }
        warming->region = NULL;
        if (list)
                give_back(warming, list);
        atomic_store(&warming->making, false); /* who waits for it waits for what is given back */
        manager_settle(warming->manager);
}

static int make_job_work(Job *job) {
        make_work((char *) job - offsetof(Warming, job));
        return 0;
}

static void make_job_done(Job *job, int r) {
        (void) r;
        make_done((char *) job - offsetof(Warming, job));
}

/* NULL also if there is no place for it. */
static WarmPiece *warm_piece_new(Warming *warming, Region *region) {
        const SizeClass *class = demand_class(&region->warm.demand);
        const Provider *provider = region->provider;
        Failure failure = { 0 };
        WarmPiece *piece;

        piece = calloc(1, sizeof(*piece));
        if (!piece)
                return NULL;

        if (manager_make_id(warming->manager, piece->id) < 0) {
                free(piece);
                return NULL;
        }
        piece->class = *class;
        piece->provider = provider;
        piece->warming = warming;
        piece->result = -ECANCELED;
        piece->piece = (Piece){
                .length = class->length,
                .alignment = class->page_size,
                .page_size = class->page_size,
                .page_size_demanded = class->page_size_demanded,
                .numa_node = class->numa_node,
                .prefault = true,
                .contiguous = true,
                .ahead = provider->reserve,
                .fd = -EBADF,
                .fd_read_only = -EBADF,
        };
        if (!provider->reserve)
                return piece;

        if (provider->reserve(region, &piece->piece, &failure) < 0) {
                free(piece);
                return NULL;
        }
        piece->region = region;
        region->n_ahead++;
        return piece;
}

static void make_for(Warming *warming, Region *region, unsigned n) {
        const IdleWork work = { .work = make_work, .done = make_done, .userdata = warming };
        uint64_t bytes = 0;

        for (unsigned i = 0; i < n && i < BATCH_PIECES && (i == 0 || bytes < BATCH_BYTES); i++) {
                WarmPiece *piece = warm_piece_new(warming, region);

                if (!piece)
                        break;
                DL_APPEND(warming->batch, piece);
                bytes += piece->piece.length;
        }

        warming->region = warming->latest = region;
        atomic_store(&warming->stop, false);
        atomic_store(&warming->making, true);
        if (warming->batch && region->provider->takes_locks) {
                warming->job = (Job){ .work = make_job_work, .done = make_job_done };
                worker_pool_submit(warming->manager->pool, &warming->job, LANE_WARMING);
        } else if (!warming->batch || idler_start(warming->idler, &work) < 0) {
                region_pause(region);
                make_done(warming);
        }
}

static unsigned missing(const Region *region) {
        return region->provider && region->provider->carve_ahead ? warm_missing(&region->warm, region_available(region)) : 0;
}

/* Something is to be made for this region, as soon as may be. */
static void warming_plan(Warming *warming, const Region *region) {
        uint64_t at = now_usec() + SOON_USEC, planned = 0;
        int enabled = SD_EVENT_OFF;

        if (at < warming->paused_until)
                at = warming->paused_until;
        if (at < region->warm.paused_until)
                at = region->warm.paused_until;
        (void) sd_event_source_get_enabled(warming->timer, &enabled);
        (void) sd_event_source_get_time(warming->timer, &planned);
        if (enabled != SD_EVENT_OFF && planned <= at)
                return;

        (void) sd_event_source_set_time(warming->timer, at);
        (void) sd_event_source_set_enabled(warming->timer, SD_EVENT_ONESHOT);
}

/* Regions take turns, for one may be short of what others are not. */
static Region *warming_choose(const Warming *warming) {
        uint64_t now = now_usec();
        Region *region, *first = NULL;
        bool is_behind = false;

        DL_FOREACH(warming->manager->regions, region) {
                if (missing(region) > 0 && region->warm.paused_until <= now) {
                        if (is_behind)
                                return region;
                        if (!first)
                                first = region;
                }
                is_behind = is_behind || region == warming->latest;
        }
        return first;
}

static int on_time(sd_event_source *source, uint64_t usec, void *userdata) {
        Warming *warming = userdata;
        Region *region;

        (void) source;
        (void) usec;
        if (warming->region)
                return 0; /* it comes back to this */

        region = now_usec() < warming->paused_until ? NULL : warming_choose(warming);
        if (region) {
                make_for(warming, region, missing(region));
                return 0;
        }
        DL_FOREACH(warming->manager->regions, region)
                if (missing(region) > 0)
                        warming_plan(warming, region);
        return 0;
}

/* ---- Tended ---- */

static int warming_new(Manager *manager) {
        struct rlimit limit;
        Warming *warming;
        int r;

        warming = calloc(1, sizeof(*warming));
        if (!warming)
                return -ENOMEM;

        warming->manager = manager;
        warming->max = PIECES_MAX;
        if (getrlimit(RLIMIT_NOFILE, &limit) >= 0 && limit.rlim_cur / PIECES_PART < warming->max)
                warming->max = (unsigned) (limit.rlim_cur / PIECES_PART);
        manager->warming = warming;
        r = idler_new(manager->event, &warming->idler);
        if (r >= 0)
                r = sd_event_add_time_relative(manager->event, &warming->timer, CLOCK_MONOTONIC, 0, 0, on_time, warming);
        if (r >= 0)
                r = sd_event_source_set_enabled(warming->timer, SD_EVENT_OFF);
        if (r >= 0)
                r = pressure_new(manager->event, on_pressure, warming, &warming->pressure);
        if (r < 0) {
                warming_free(manager);
                return r;
        }
        return 0;
}

static void listen_to_pressure(const Warming *warming) {
        const Region *region;
        bool any = warming->region;

        DL_FOREACH(warming->manager->regions, region)
                any = any || region->warm.n > 0;
        pressure_listen(warming->pressure, any);
}

void warming_tend(Manager *manager, Region *region) {
        WarmPiece *list = NULL, *piece;
        Warming *warming;

        if (!manager->started || (!manager->warming && region->warm.limit == 0))
                return;
        if (!manager->warming && warming_new(manager) < 0) {
                log_warning("region '%s': nothing can be made ahead: the broker is short of memory or descriptors",
                            region->name);
                return;
        }

        warming = manager->warming;
        region->warm.max = warming->max;
        while ((piece = warm_take_excess(&region->warm, region_available(region))))
                DL_APPEND(list, piece);
        if (list) {
                give_back(warming, list);
                region->changed = true;
                manager_settle(manager);
        }
        if (missing(region) > 0)
                warming_plan(warming, region);
        else if (warming->region == region)
                atomic_store(&warming->stop, true);
        listen_to_pressure(warming);
}

void warming_take(Region *region, const Piece *plan, WarmPiece *chosen, Piece *ret) {
        if (region->warm.limit == 0)
                return;

        warm_count(&region->warm, plan, chosen);
        region->changed = true;
        if (!chosen)
                return;

        if (chosen->region) {
                region->provider->hand_out(&chosen->piece);
                region->n_ahead--;
        }
        *ret = chosen->piece;
        ret->alignment = plan->alignment;
        ret->prefault = plan->prefault;
        free(chosen);
}

void warming_learn(Region *region, const Piece *piece, uint64_t page_size) {
        SizeClass class = size_class_of(piece);

        if (region->warm.limit == 0 || page_size == 0)
                return;

        class.page_size = page_size;
        warm_learn(&region->warm, &class);
        region->changed = true;
}

bool warming_may_help(const Manager *manager, const Region *region) {
        const Region *other;

        if (!manager->warming)
                return false;
        if (manager->warming->region && manager->warming->region->provider == region->provider)
                return true;

        DL_FOREACH(manager->regions, other)
                if (other->provider == region->provider && other->warm.n > 0)
                        return true;
        return false;
}

bool warming_has_pages(const Manager *manager, const Region *region, const Piece *plan) {
        const Warming *warming = manager->warming;
        const Region *other;
        const WarmPiece *piece;

        if (!warming || plan->page_size <= region->granularity)
                return false;
        if (warming->region && warming->region->provider == region->provider && warming->made_page_size == plan->page_size)
                return true;

        DL_FOREACH(manager->regions, other)
                DL_FOREACH(other->warm.pieces, piece)
                        if (piece->provider == region->provider && piece->piece.page_size == plan->page_size)
                                return true;
        return false;
}

/* ---- The end ---- */

void warming_drain(Manager *manager) {
        Warming *warming = manager->warming;

        if (!warming)
                return;

        atomic_store(&warming->over, true);
        atomic_store(&warming->stop, true);
        warming->paused_until = UINT64_MAX;
        (void) idler_drain(warming->idler, DRAIN_USEC);
}

void warming_free(Manager *manager) {
        Warming *warming = manager->warming;
        WarmPiece *piece;
        Region *region;
        bool is_over;

        if (!warming)
                return;

        DL_FOREACH(manager->regions, region)
                while ((piece = warm_take_any(&region->warm)))
                        warm_piece_free(piece);
        sd_event_source_disable_unref(warming->timer);
        pressure_free(warming->pressure);
        /* Where no processor is idle it may still be at work. What it has is gone with the process, and so is this. */
        is_over = !warming->idler || !idler_is_busy(warming->idler);
        idler_free(warming->idler);
        if (is_over)
                free(warming);
        manager->warming = NULL;
}
