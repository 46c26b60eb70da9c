/* SPDX-License-Identifier: MIT */
#pragma once

/* Something that has polkit's name instead of polkitd, for answers that take a person, and to count the questions. To
 * inspect-other it always says yes, and does not count it: tests look at what is there all the time. */

#include <stdbool.h>

typedef enum FakeAnswer {
        FAKE_YES,
        FAKE_NO,
        FAKE_CHALLENGE, /* without a dialog; with one, yes */
        FAKE_TEMPORARY, /* yes, as polkitd says it of an authorization that it remembers */
        FAKE_RETAINED,  /* the same, as it was just given */
        FAKE_ERROR,
} FakeAnswer;

/* Takes the place of polkitd, which runs, and gives it back. */
void fake_polkit_start(void);
void fake_polkit_stop(void);

void fake_polkit_set_answer(FakeAnswer answer);

/* Questions it gets are kept without an answer until this is over; it waits for as many to be there. */
void fake_polkit_hold(void);
void fake_polkit_wait_held(unsigned n);
void fake_polkit_release(void);

/* The signal Changed; has been sent when this returns. */
void fake_polkit_change(void);

/* How many questions came since the last time; and of these, how many that allow a dialog. */
unsigned fake_polkit_take_questions(void);
unsigned fake_polkit_take_dialogs(void);
