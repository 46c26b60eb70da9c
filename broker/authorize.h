/* SPDX-License-Identifier: MIT */
#pragma once

/* Asks polkit. */

#include <stdbool.h>
#include <stdint.h>

#include "decision.h"
#include "details.h"
#include "failure.h"

typedef struct Call Call;
typedef struct Server Server;
typedef struct Question Question;

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
        DecisionCache decisions;   /* by callers */
        char polkit[256];          /* whose these are: its unique name; "" as long as there are none */
} Authority;

/* Starts to notice when decisions may have become others. */
int authority_watch(Server *server);

/* Puts to polkit what there is room for; to be called when calls with questions were dropped. */
void authority_ask_next(Server *server);

/* Forgets what was asked; no question is left. */
void authority_done(Authority *authority);
