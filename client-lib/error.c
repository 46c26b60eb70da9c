/* SPDX-License-Identifier: MIT */

/* Errors.
 *
 * Each thread has one sentence, that of its last failed call into the library. It is kept in a fixed
 * buffer: an error about lack of memory must not need memory.
 *
 * An error reply of the service is turned into a number with the table in protocol/; the names that the
 * bus and sd-bus use for their own troubles are listed here. They fall into three kinds, because a call
 * may be made again only if nobody has acted on it, or if acting twice does no harm. */

#include "error.h"

#include "daxbroker.h"
#include "error-names.h"
#include "util.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char sentence[1024];

#define NOT_RUNNING "the daxbroker service is not running"

static const struct {
        const char *name;
        int number;
        Fate fate;
        const char *sentence; /* instead of the bus's own, which may not speak of the matter */
} bus_errors[] = {
        { SD_BUS_ERROR_SERVICE_UNKNOWN, EHOSTDOWN, FATE_UNDELIVERED, NOT_RUNNING },
        { SD_BUS_ERROR_NAME_HAS_NO_OWNER, EHOSTDOWN, FATE_UNDELIVERED, NOT_RUNNING },
        { SD_BUS_ERROR_NO_REPLY, EHOSTDOWN, FATE_LOST, "the service went away before it answered" },
        { SD_BUS_ERROR_DISCONNECTED, EHOSTDOWN, FATE_LOST, "the bus went away before there was an answer" },
        { SD_BUS_ERROR_NO_SERVER, EHOSTDOWN, FATE_UNDELIVERED, NULL },
        { SD_BUS_ERROR_TIMEOUT, ETIMEDOUT, FATE_ANSWERED, "the daxbroker service did not answer in time" },
        { "org.freedesktop.DBus.Error.TimedOut", ETIMEDOUT, FATE_ANSWERED, NULL },
        { SD_BUS_ERROR_ACCESS_DENIED, EACCES, FATE_ANSWERED, NULL },
        { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, ENOKEY, FATE_ANSWERED, NULL },
        { SD_BUS_ERROR_LIMITS_EXCEEDED, EBUSY, FATE_ANSWERED, NULL },
        { SD_BUS_ERROR_NO_MEMORY, ENOMEM, FATE_ANSWERED, NULL },
        { SD_BUS_ERROR_INVALID_ARGS, EINVAL, FATE_ANSWERED, NULL },
        { SD_BUS_ERROR_UNKNOWN_OBJECT, ENOENT, FATE_ANSWERED, "there is no such object, or it has ended" },
        { SD_BUS_ERROR_UNKNOWN_INTERFACE, EOPNOTSUPP, FATE_ANSWERED, NULL },
        { SD_BUS_ERROR_UNKNOWN_METHOD, EOPNOTSUPP, FATE_ANSWERED, NULL },
        { SD_BUS_ERROR_UNKNOWN_PROPERTY, EOPNOTSUPP, FATE_ANSWERED, NULL },
};

_public_ const char *daxbroker_last_error(void) {
        return sentence;
}

int error_set(int error, const char *format, ...) {
        va_list arguments;

        va_start(arguments, format);
        (void) vsnprintf(sentence, sizeof(sentence), format, arguments);
        va_end(arguments);

        return error;
}

int error_set_errno(int error, const char *what) {
        char text[256];

        /* The GNU variant, which may return a string of its own instead of filling the buffer. */
        return error_set(error, "%s: %s", what, strerror_r(-error, text, sizeof(text)));
}

static int bus_errors_find(const char *name) {
        for (size_t i = 0; name && i < sizeof(bus_errors) / sizeof(bus_errors[0]); i++)
                if (strcmp(bus_errors[i].name, name) == 0)
                        return (int) i;

        return -1;
}

static bool error_is_disconnect(int local) {
        return local == -ENOTCONN || local == -ECONNRESET || local == -EPIPE || local == -ESHUTDOWN ||
               local == -ECHILD;
}

int error_number(const char *name, int local) {
        Refusal refusal = refusal_from_bus_name(name);
        int known;

        if (refusal != REFUSAL_NONE)
                return -refusal_to_errno(refusal);

        known = bus_errors_find(name);
        if (known >= 0)
                return -bus_errors[known].number;

        /* The bus tried to start the service and could not. */
        if (name && strncmp(name, "org.freedesktop.DBus.Error.Spawn.", 33) == 0)
                return -EHOSTDOWN;

        if (error_is_disconnect(local))
                return -EHOSTDOWN;

        return local < 0 && local != -EBADMSG ? local : -EIO;
}

bool error_is_refusal(const char *name) {
        return name && strncmp(name, DAXBROKER_ERROR_PREFIX, strlen(DAXBROKER_ERROR_PREFIX)) == 0;
}

Fate error_fate(const char *name, int local) {
        int known;

        /* The service says so of calls that it has not begun. */
        if (refusal_from_bus_name(name) == REFUSAL_ShuttingDown)
                return FATE_UNDELIVERED;

        known = bus_errors_find(name);
        if (known >= 0)
                return bus_errors[known].fate;

        return error_is_disconnect(local) ? FATE_LOST : FATE_ANSWERED;
}

int error_set_bus(const sd_bus_error *bus_error, int local) {
        int number = error_number(bus_error->name, local);
        int known = bus_errors_find(bus_error->name);
        const char *text = NULL;

        if (known >= 0)
                text = bus_errors[known].sentence;
        if (!text && bus_error->message && bus_error->message[0] != '\0')
                text = bus_error->message;
        if (!text)
                text = refusal_to_meaning(refusal_from_bus_name(bus_error->name));
        if (!text && bus_error->name)
                text = bus_error->name;

        if (!text)
                return error_set_errno(number, "the call to the daxbroker service failed");

        return error_set(number, "%s", text);
}
