/* SPDX-License-Identifier: MIT */
#pragma once

/* What the broker and daxbroker-witness say to each other: packets of a fixed size over a local socket of type
 * SOCK_SEQPACKET, one reply for each request, in order, as many as one likes over one connection. Both ends are of one
 * machine and one build; the version is there to notice when they are not. */

#include <stdint.h>

#define WITNESS_SOCKET "/run/daxbroker-witness/socket"
#define WITNESS_WIRE_VERSION 1

/* The largest request. Pages are counted in units of the request's page size: some tens of milliseconds' work. */
#define WITNESS_WIRE_RANGES_MAX 64
#define WITNESS_WIRE_PAGES_MAX (UINT64_C(1) << 20)

/* Physical addresses are below this. */
#define WITNESS_WIRE_ADDRESS_MAX (UINT64_C(1) << 52)

typedef enum WitnessKind {
        WITNESS_KIND_ASK = 1,   /* is any page of these referenced? */
        WITNESS_KIND_TEACH = 2, /* the same, after having learnt from them what an idle page looks like */
} WitnessKind;

typedef struct WitnessWireRange {
        uint64_t start, length; /* bytes, multiples of the page size */
} WitnessWireRange;

typedef struct WitnessRequest {
        uint32_t version;
        uint32_t kind;
        uint32_t n_ranges;
        uint32_t zero;
        uint64_t page_size; /* the device's alignment: 4 KiB, 2 MiB or 1 GiB */
        WitnessWireRange ranges[WITNESS_WIRE_RANGES_MAX]; /* those beyond n_ranges are zero */
} WitnessRequest;

/* No verdict is 0, so that nothing that was merely forgotten passes for one. */
typedef enum WitnessWireVerdict {
        WITNESS_WIRE_IDLE = 1,
        WITNESS_WIRE_REFERENCED = 2,
        WITNESS_WIRE_UNKNOWN = 3,
} WitnessWireVerdict;

typedef struct WitnessReply {
        uint32_t version;
        uint32_t verdict;
        uint64_t count;   /* how many pages are referenced, if some are */
        char reason[112]; /* a sentence without its full stop, always terminated; empty if idle */
} WitnessReply;

_Static_assert(sizeof(WitnessRequest) == 24 + 16 * WITNESS_WIRE_RANGES_MAX, "there is no padding in a request");
_Static_assert(sizeof(WitnessReply) == 128, "there is no padding in a reply");
