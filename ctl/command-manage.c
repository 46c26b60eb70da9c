/* SPDX-License-Identifier: MIT */

/* daxbrokerctl free, set-mode and reload: what changes something and has nothing to show for it. */

#include "cleanup.h"
#include "command.h"
#include "refusal.h"

Status command_free(const Options *options) {
        Status status = STATUS_OK;

        /* one that cannot be freed is no reason to keep the others */
        for (int i = 0; i < options->n_arguments; i++) {
                const char *which = options->arguments[i];
                int r = daxbroker_end_allocation(NULL, which);

                if (r < 0) {
                        Status worse = refusal_tell(r, "free '%s'", which);

                        if (worse > status)
                                status = worse;
                }
        }
        return status;
}

Status command_set_mode(const Options *options) {
        const char *which = options->arguments[0], *text = options->arguments[1];
        mode_t mode;
        int r;

        r = mode_parse(text, &mode);
        if (r < 0) {
                complain("'%s' is not a mode; write it like 0640", text);
                return STATUS_USAGE;
        }

        r = daxbroker_set_mode(NULL, which, mode);
        if (r < 0)
                return refusal_tell(r, "change the mode of '%s'", which);
        return STATUS_OK;
}

Status command_reload(const Options *options) {
        int r;

        (void) options;

        r = daxbroker_reload(NULL);
        if (r < 0)
                return refusal_tell(r, "make the service reload its configuration");
        return STATUS_OK;
}
