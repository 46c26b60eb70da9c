/* SPDX-License-Identifier: MIT */

/* The account of what is ready. It only says what is to be made and what is to be given back; warming.c does it. Bytes that
 * are ready here are not taken from the region: as soon as anybody takes them, there is less room here.
 *
 * What was made first goes first. When another class is asked for most, what is of the one before stands in front, and goes
 * before anything new is made; so it is enough to look at the first piece, however many there are. */

#include "warm.h"

#include <utlist.h>

SizeClass size_class_of(const Piece *plan) {
        return (SizeClass){
                .length = plan->length,
                .page_size = plan->page_size,
                .numa_node = plan->numa_node,
                .page_size_demanded = plan->page_size_demanded,
        };
}

void warm_set_limit(Warm *warm, uint64_t limit, const SizeClass *guess) {
        if (warm->demand.n == 0 || !size_class_equal(&warm->guess, guess))
                demand_init(&warm->demand, guess); /* what was learnt may be impossible now */
        warm->guess = *guess;
        warm->limit = limit;
}

static uint64_t warm_room(const Warm *warm, uint64_t available) {
        return available < warm->limit ? available : warm->limit;
}

unsigned warm_missing(const Warm *warm, uint64_t available) {
        const SizeClass *class = demand_class(&warm->demand);
        uint64_t room = warm_room(warm, available), n;

        if (warm->limit == 0 || warm->bytes >= room || warm->n >= warm->max)
                return 0;

        n = (room - warm->bytes) / class->length;
        return n < warm->max - warm->n ? (unsigned) n : warm->max - warm->n;
}

WarmPiece *warm_take(Warm *warm, WarmPiece *piece) {
        DL_DELETE(warm->pieces, piece);
        warm->bytes -= piece->piece.length;
        warm->n--;
        return piece;
}

WarmPiece *warm_take_any(Warm *warm) {
        return warm->pieces ? warm_take(warm, warm->pieces) : NULL;
}

WarmPiece *warm_take_excess(Warm *warm, uint64_t available) {
        bool is_wrong = warm->pieces && !size_class_equal(&warm->pieces->class, demand_class(&warm->demand));

        return is_wrong || warm->bytes > warm_room(warm, available) || warm->n > warm->max ? warm_take_any(warm) : NULL;
}

void warm_add(Warm *warm, WarmPiece *piece) {
        DL_APPEND(warm->pieces, piece);
        warm->bytes += piece->piece.length;
        warm->n++;
}

WarmPiece *warm_find(const Warm *warm, const Piece *plan) {
        SizeClass class = size_class_of(plan);

        if (warm->limit == 0 || plan->hold) /* the memory of a hold lies elsewhere */
                return NULL;

        return warm->pieces && size_class_equal(&warm->pieces->class, &class) ? warm->pieces : NULL;
}

void warm_count(Warm *warm, const Piece *plan, WarmPiece *hit) {
        if (plan->hold)
                return;
        if (hit) {
                warm->n_hits++;
                (void) warm_take(warm, hit);
        } else
                warm->n_misses++;
}

void warm_learn(Warm *warm, const SizeClass *class) {
        if (class->length <= warm->limit)
                demand_note(&warm->demand, class);
}
