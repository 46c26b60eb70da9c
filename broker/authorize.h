/* SPDX-License-Identifier: MIT */
#pragma once

/* Asks polkit. */

#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

typedef struct Call Call;
typedef struct Server Server;
typedef struct Question Question;

#define DETAILS_MAX 16
#define DETAIL_TEXT_MAX 256

/* What polkit rules see of the request. */
typedef struct Details {
        /* what a yes would be used for; later questions of this user count it as held */
        uint64_t wanted_bytes, wanted_count;
        unsigned n;
        struct Detail {
                const char *key; /* static */
                bool fleeting;   /* may have changed when the answer comes */
                char value[DETAIL_TEXT_MAX];
        } items[DETAILS_MAX];
} Details;

void details_add(Details *details, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
void details_add_fleeting(Details *details, const char *key, const char *format, ...)
                __attribute__((format(printf, 3, 4)));

/* Whether the caller may do this, according to polkit. CALL_WAITS if it is being asked: the handler then runs again and
 * calls this with the same arguments. CALL_DONE for yes. A negative value for no, or if polkit cannot say. Nobody is
 * exempt. interactive: whether polkit may ask the user for a password, if the message allows it, too. */
int authorize(Call *call, const char *action, const Details *details, bool interactive, Failure *failure);

Question *question_free(Question *question);

/* The questions of one server. */
typedef struct Authority {
        Question *waiting[2]; /* to be put, plain ones and those that may take a dialog; users take turns */
        struct Inquiry *inquiries; /* put to polkit and not answered, those that nobody waits for any more included */
        unsigned n_asked[2];       /* how many these are */
        uint64_t next_id;          /* to cancel by */
} Authority;

/* Puts to polkit what there is room for; to be called when calls with questions were dropped. */
void authority_ask_next(Server *server);

/* Forgets what was asked; no question is left. */
void authority_done(Authority *authority);
