/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

#include "program.h"
#include "witness-wire.h"

/* Page sizes, by the order that page_size_order() says. */
typedef enum PageSize {
        PAGE_SIZE_4K,
        PAGE_SIZE_2M,
        PAGE_SIZE_1G,
        N_PAGE_SIZES,
} PageSize;

#define IDLE_UNKNOWN (-1)

/* 0 if the look could be taken, see program_look(). */
typedef int (*LookFunction)(void *context, Look *look);

typedef struct Judge {
        LookFunction look;
        void *context;
        const char *blind; /* why nothing can be looked at; NULL if it can */
        int64_t idle[N_PAGE_SIZES]; /* references of a page that nobody has, or IDLE_UNKNOWN */
} Judge;

void judge_init(Judge *judge, LookFunction look, void *context);

/* Answers a request that request_check() has let pass, and learns from it if it is a lesson. */
void judge_answer(Judge *judge, const WitnessRequest *request, WitnessReply *ret);

/* An answer that says nothing but why. */
void reply_unknown(WitnessReply *ret, const char *why);
