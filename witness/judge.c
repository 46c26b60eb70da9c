/* SPDX-License-Identifier: MIT */

/* What the counts mean. How many references an idle page has is not written down here but learnt, for each page size, from
 * memory of which the broker says that nobody has it: bound just now, and not handed out yet. It is the same for all pages
 * of a kernel, so a lesson counts only if all pages in it agree. If two lessons do not, the lower count is right: who has
 * been taught too high a count calls idle what is not, who has been taught too low a one merely never clears anything.
 *
 * A page with fewer references than an idle one has been through an accident, of which the kernel warns: a reference from
 * before its struct was set up anew was dropped later. How many of the others are real nobody can tell then. */

#include "judge.h"

#include <stdio.h>

#include "request.h"

#define BASE_PAGE_SHIFT 12

typedef struct Tally {
        uint64_t n_above, n_below, n_pinned;
} Tally;

void judge_init(Judge *judge, LookFunction look, void *context) {
        *judge = (Judge){ .look = look, .context = context };
        for (size_t i = 0; i < N_PAGE_SIZES; i++)
                judge->idle[i] = IDLE_UNKNOWN;
}

static void reply_make(WitnessReply *ret, WitnessWireVerdict verdict, uint64_t count, const char *why) {
        *ret = (WitnessReply){ .version = WITNESS_WIRE_VERSION, .verdict = verdict, .count = count };
        (void) snprintf(ret->reason, sizeof(ret->reason), "%s", why);
}

void reply_unknown(WitnessReply *ret, const char *why) {
        reply_make(ret, WITNESS_WIRE_UNKNOWN, 0, why);
}

static PageSize page_size_of(const WitnessRequest *request) {
        switch (page_size_order(request->page_size)) {
        case 0:
                return PAGE_SIZE_4K;
        case 9:
                return PAGE_SIZE_2M;
        default:
                return PAGE_SIZE_1G;
        }
}

/* Why such an outcome is no answer; NULL if it is one. */
static const char *outcome_explain(uint64_t outcome) {
        switch (outcome) {
        case LOOK_DONE:
                return NULL;
        case LOOK_NOT_DAX:
                return "this is not memory of a dax device that is bound";
        case LOOK_OTHER_PAGE_SIZE:
                return "the device is bound with another page size";
        case LOOK_OUTSIDE:
                return "a range is not all of one dax device";
        case LOOK_CHANGED:
                return "the device was changed meanwhile";
        default:
                return "the kernel has no pages there that can be looked at";
        }
}

/* Looks at so many pages from there, and adds to the tally. Returns why it cannot, or NULL. */
static const char *look_at(const Judge *judge, Look *look, Tally *tally) {
        const char *why;
        int r;

        r = judge->look(judge->context, look);
        if (r < 0)
                return "the kernel did not run the program that looks";
        why = outcome_explain(look->outcome);
        if (why)
                return why;

        tally->n_above += look->n_above;
        tally->n_below += look->n_below;
        tally->n_pinned += look->n_pinned;
        return NULL;
}

/* Compares all pages with that count. */
static const char *scan(const Judge *judge, const WitnessRequest *request, int64_t idle, Tally *ret) {
        uint64_t order = (uint64_t) page_size_order(request->page_size);
        Tally tally = { 0 };

        for (size_t i = 0; i < request->n_ranges; i++) {
                uint64_t first = request->ranges[i].start >> BASE_PAGE_SHIFT;
                uint64_t left = request->ranges[i].length >> BASE_PAGE_SHIFT >> order;

                while (left > 0) {
                        uint64_t n = left < LOOK_PAGES_MAX ? left : LOOK_PAGES_MAX;
                        Look look = { .first = first, .count = n, .order = order, .idle = idle };
                        const char *why = look_at(judge, &look, &tally);

                        if (why)
                                return why;
                        first += n << order;
                        left -= n;
                }
        }

        *ret = tally;
        return NULL;
}

/* Learns from memory that nobody has. Returns why it cannot, or NULL. */
static const char *learn(Judge *judge, const WitnessRequest *request) {
        Look one = { .first = request->ranges[0].start >> BASE_PAGE_SHIFT, .count = 1,
                     .order = (uint64_t) page_size_order(request->page_size) };
        int64_t *idle = &judge->idle[page_size_of(request)];
        Tally tally = { 0 };
        const char *why;

        why = look_at(judge, &one, &tally);
        if (!why)
                why = scan(judge, request, one.references, &tally);
        if (why)
                return why;

        if (tally.n_above > 0 || tally.n_below > 0 || tally.n_pinned > 0 || one.references < 0)
                return "the pages are not alike, and nothing is learnt from them";
        if (*idle == IDLE_UNKNOWN || one.references < *idle)
                *idle = one.references;
        return NULL;
}

void judge_answer(Judge *judge, const WitnessRequest *request, WitnessReply *ret) {
        int64_t *idle = &judge->idle[page_size_of(request)];
        const char *why = judge->blind;
        Tally tally;

        if (!why && request->kind == WITNESS_KIND_TEACH) {
                why = learn(judge, request);
                if (why && *idle != IDLE_UNKNOWN)
                        why = NULL; /* it is known already: say what there is */
        }
        if (!why && *idle == IDLE_UNKNOWN)
                why = "nobody has shown yet what idle pages of this size look like";
        if (!why)
                why = scan(judge, request, *idle, &tally);
        if (why) {
                reply_unknown(ret, why);
                return;
        }

        if (tally.n_above > 0 || tally.n_pinned > 0)
                reply_make(ret, WITNESS_WIRE_REFERENCED, tally.n_above > tally.n_pinned ? tally.n_above : tally.n_pinned,
                           "pages are mapped, or in use by the kernel for somebody");
        else if (tally.n_below > 0)
                reply_unknown(ret, "the kernel has lost count of references to some pages");
        else
                reply_make(ret, WITNESS_WIRE_IDLE, 0, "");
}
