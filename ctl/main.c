/* SPDX-License-Identifier: MIT */

/* daxbrokerctl, the administrator's and the shell script's way to the daxbroker service. */

#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <string.h>
#include <unistd.h>

/* Started without standard descriptors, the first ones to be opened would be taken for them: a connection
 * for standard output, or an allocation, that messages are then written to. */
static int standard_descriptors_open(void) {
        int fd;

        do {
                fd = open("/dev/null", O_RDWR);
                if (fd < 0)
                        return -errno;
        } while (fd <= STDERR_FILENO);

        close(fd);
        return 0;
}

static Status run(int argc, char *argv[]) {
        Options options;
        int r;

        r = options_parse(argc, argv, &options);
        if (r < 0)
                return STATUS_USAGE;

        if (options.given & OPTION_HELP) {
                help_print(options.command, stdout);
                return STATUS_OK;
        }
        if (options.given & OPTION_VERSION) {
                puts("daxbrokerctl " PACKAGE_VERSION);
                return STATUS_OK;
        }

        return options.command->run(&options);
}

int main(int argc, char *argv[]) {
        Status status;
        int r;

        r = standard_descriptors_open();
        if (r < 0 || argc < 1)
                return STATUS_USAGE;
        setlocale(LC_CTYPE, "");

        status = run(argc, argv);

        /* a full disk must not look like success */
        if ((fflush(stdout) != 0 || ferror(stdout)) && status == STATUS_OK) {
                complain("cannot write: %s", strerror(errno));
                return STATUS_REFUSED;
        }
        return status;
}
