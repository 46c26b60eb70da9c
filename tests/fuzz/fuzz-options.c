/* SPDX-License-Identifier: MIT */

/* The arguments of Allocate and Open, as messages that a hostile client could send: well-formed D-Bus, anything inside.
 * The bytes say what the message consists of. */

#include "fuzz.h"

#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-bus.h>

#include "options-bus.h"

/* A bus that nobody is at the other end of: messages need one to be made. */
static sd_bus *bus(void) {
        static sd_bus *it;
        int ends[2];

        if (!it) {
                check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) >= 0);
                check(sd_bus_new(&it) >= 0);
                check(sd_bus_set_fd(it, ends[0], ends[0]) >= 0);
                check(sd_bus_start(it) >= 0);
        }
        return it;
}

/* A value of some type; what libsystemd does not let through is not to be had on a real bus either. */
static int append_variant(sd_bus_message *m, Input *input) {
        static const char *const types[] = { "s", "u", "t", "b", "s", "u", "t", "b", "y", "n", "q", "i", "x", "d", "g", "o",
                                             "as", "(su)", "v", "a{sv}", "ay" };
        const char *type = types[input_byte(input) % (sizeof(types) / sizeof(types[0]))];
        char *text = NULL;
        int r;

        switch (type[0]) {
        case 's':
        case 'g':
        case 'o':
                text = input_text(input);
                r = sd_bus_message_append(m, "v", type, text);
                free(text);
                return r;
        case 'u':
        case 'i':
                return sd_bus_message_append(m, "v", type, input_u32(input));
        case 't':
        case 'x':
                return sd_bus_message_append(m, "v", type, input_u64(input));
        case 'b':
        case 'y':
        case 'n':
        case 'q':
                return sd_bus_message_append(m, "v", type, (int) input_byte(input));
        case 'd':
                return sd_bus_message_append(m, "v", type, (double) input_byte(input));
        case '(':
                return sd_bus_message_append(m, "v", type, "x", input_u32(input));
        case 'v':
                return sd_bus_message_append(m, "v", "v", "u", input_u32(input));
        default:
                return sd_bus_message_append(m, "v", type, 0);
        }
}

static int append_options(sd_bus_message *m, Input *input) {
        static const char *const names[] = { "region", "name", "mode", "group", "numa-node", "page-size", "prefault",
                                             "persistent", "read-only", "", NULL, NULL, "prefer", "contiguous",
                                             "despite-references", "reserve" };
        unsigned n = input_byte(input) % 16;
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        for (unsigned i = 0; r >= 0 && i < n; i++) {
                unsigned which = input_byte(input) % 16;
                char *other = names[which] ? NULL : input_text(input);

                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r >= 0)
                        r = sd_bus_message_append(m, "s", other ? other : names[which]);
                if (r >= 0)
                        r = append_variant(m, input);
                if (r >= 0)
                        r = sd_bus_message_close_container(m);
                free(other);
        }
        return r >= 0 ? sd_bus_message_close_container(m) : r;
}

/* Also such as have not got the signature that is expected. */
static int append_arguments(sd_bus_message *m, Input *input, bool has_numbers, uint64_t *ret_size, uint64_t *ret_alignment) {
        uint8_t shape = input_byte(input);
        int r = 0;

        if (shape == 1)
                return 0;
        if (has_numbers) {
                *ret_size = input_u64(input);
                *ret_alignment = input_u64(input);
                r = sd_bus_message_append(m, shape == 2 ? "xx" : "tt", *ret_size, *ret_alignment);
        }
        if (r < 0 || shape == 3)
                return r;
        if (shape == 4)
                return sd_bus_message_append(m, "a{ss}", 1, "name", "x");
        if (shape == 5)
                return sd_bus_message_append(m, "v", "a{sv}", 0);

        return append_options(m, input);
}

static void check_outcome(int r, const Failure *failure) {
        if (r >= 0) {
                check(failure->refusal == REFUSAL_NONE);
                return;
        }
        check(failure->refusal == REFUSAL_BadOption);
        check(failure->text[0] != '\0' && text_is_printable(failure->text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Input input = { data, size };
        bool allocate = input_byte(&input) % 4 != 0, read_only = false;
        uint64_t wanted_size = 0, wanted_alignment = 0;
        Failure failure = { 0 };
        Request request;
        sd_bus_message *m;
        int r;

        memset(&request, 0xa5, sizeof(request));
        check(sd_bus_message_new_method_call(bus(), &m, "org.daxbroker1", "/org/daxbroker1", "org.daxbroker1.Manager",
                                             allocate ? "Allocate" : "Open") >= 0);
        if (append_arguments(m, &input, allocate, &wanted_size, &wanted_alignment) >= 0 &&
            sd_bus_message_seal(m, 1, 0) >= 0) {
                if (allocate)
                        r = request_read(m, &request, &failure);
                else
                        r = open_options_read(m, &read_only, &failure);
                check_outcome(r, &failure);

                if (allocate && r < 0)
                        check(((unsigned char *) &request)[0] == 0xa5);
                if (allocate && r >= 0) {
                        Failure why = { 0 };

                        check(request.size == wanted_size && request.alignment == wanted_alignment);
                        r = request_validate(&request, NULL, 0, &why);
                        check(r >= 0 || text_is_printable(why.text));
                }
        }
        sd_bus_message_unref(m);
        return 0;
}
