/* SPDX-License-Identifier: MIT */

/* daxbrokerctl free, set-mode, rename, resize, set-owner, adopt and reload: what changes something and has little to show
 * for it. */

#include "cleanup.h"
#include "command.h"
#include "details.h"
#include "fields.h"
#include "refusal.h"
#include "size.h"
#include "user.h"

#include <errno.h>
#include <string.h>

static const char *get_object(const daxbroker_info *info, const char *which) {
        return info ? daxbroker_info_get_object(info) : which;
}

/* Whether more force would help: it has ended, and somebody or something has not let go of it. */
static bool is_stuck(const char *object) {
        _cleanup_(daxbroker_info_freep) daxbroker_info *info = NULL;
        const char *state;

        (void) daxbroker_get_allocation(NULL, object, &info);
        state = info_string(info, "State");
        return strcmp(state, "draining") == 0 || strcmp(state, "quarantined") == 0;
}

static Status force_tell(int error, const char *object, const char *which, unsigned force) {
        Status status = refusal_tell(error, "take '%s' from who has it", which);

        if (error == -EBUSY && force == 1 && is_stuck(object))
                complain("--force --force takes it nevertheless; if the kernel still refers to it, that lets "
                         "others read and write the next owner's memory, or crashes the machine");
        return status;
}

/* Ends it, and takes it from who does not let go. The object is looked up first: with the end the name becomes
 * free, and may be somebody else's at once. */
static Status free_by_force(const char *which, unsigned force) {
        _cleanup_(daxbroker_info_freep) daxbroker_info *info = NULL;
        const char *object;
        int r;

        (void) daxbroker_get_allocation(NULL, which, &info);
        object = get_object(info, which);

        r = daxbroker_end_allocation(NULL, object);
        if (r < 0 && r != -EBUSY)
                return refusal_tell(r, "free '%s'", which);

        r = daxbroker_revoke_allocation(NULL, object, force > 1 ? DAXBROKER_DESPITE_REFERENCES : 0);
        if (r < 0 && r != -ENOENT) /* that is what was wanted */
                return force_tell(r, object, which, force);
        return STATUS_OK;
}

static Status free_plainly(const char *which) {
        int r = daxbroker_end_allocation(NULL, which);

        return r < 0 ? refusal_tell(r, "free '%s'", which) : STATUS_OK;
}

Status command_free(const Options *options) {
        Status status = STATUS_OK;

        /* one that cannot be freed is no reason to keep the others */
        for (int i = 0; i < options->n_arguments; i++) {
                const char *which = options->arguments[i];
                Status worse = options->force > 0 ? free_by_force(which, options->force) : free_plainly(which);

                if (worse > status)
                        status = worse;
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

Status command_rename(const Options *options) {
        const char *which = options->arguments[0], *name = options->arguments[1];
        int r;

        r = daxbroker_rename(NULL, which, name);
        if (r < 0)
                return refusal_tell(r, "rename '%s'", which);
        return STATUS_OK;
}

/* The length can be more than was asked for, so it is told. */
Status command_resize(const Options *options) {
        const char *which = options->arguments[0], *text = options->arguments[1];
        uint64_t size, length;
        int r;

        r = size_parse(text, &size);
        if (r < 0) {
                complain(r == -ERANGE ? "'%s' is more than can be counted"
                                      : "'%s' is not a size; write it like " SIZE_FORMS, text);
                return STATUS_USAGE;
        }

        r = daxbroker_resize(NULL, which, size, &length);
        if (r < 0)
                return refusal_tell(r, "resize '%s'", which);

        field_print_size("Length", length);
        return STATUS_OK;
}

static Status give(const char *object, const char *which, const char *user, const char *name, const char *what) {
        uid_t uid;
        int r;

        r = user_to_uid(user, &uid);
        if (r < 0)
                return STATUS_USAGE;

        r = daxbroker_set_owner(NULL, object, uid, name);
        if (r < 0)
                return refusal_tell(r, "%s '%s'", what, which);
        return STATUS_OK;
}

Status command_set_owner(const Options *options) {
        const char *which = options->arguments[0];

        return give(which, which, options->arguments[1], NULL, "change the owner of");
}

/* What is somebody's already is not to be given away by a slip. */
Status command_adopt(const Options *options) {
        _cleanup_(daxbroker_info_freep) daxbroker_info *info = NULL;
        const char *which = options->arguments[0];
        int r;

        r = daxbroker_get_allocation(NULL, which, &info);
        if (r < 0)
                return refusal_tell(r, "adopt '%s'", which);
        if (strcmp(info_string(info, "State"), "orphan") != 0) {
                complain("'%s' is %s and somebody's; 'daxbrokerctl set-owner' would give it away", which,
                         info_string(info, "State"));
                return STATUS_REFUSED;
        }

        return give(daxbroker_info_get_object(info), which, options->owner, options->name, "adopt");
}

Status command_reload(const Options *options) {
        int r;

        (void) options;

        r = daxbroker_reload(NULL);
        if (r < 0)
                return refusal_tell(r, "make the service reload its configuration");
        return STATUS_OK;
}
