/* SPDX-License-Identifier: MIT */

/* daxbrokerd: see service-bus.c. */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "service.h"

static const char help[] =
        "daxbrokerd [--help] [--version]\n"
        "\n"
        "Hands out memory on the system bus, and directly. Started by the service manager, which sets\n"
        "RUNTIME_DIRECTORY; configured by daxbroker.conf(5). DAXBROKER_LOG=debug|info|notice|warning|err\n"
        "sets what is logged. See daxbrokerd(8).\n";

int main(int argc, char *argv[]) {
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, 'v' },
                { 0 },
        };

        switch (getopt_long(argc, argv, "h", options, NULL)) {
        case 'h':
                return fputs(help, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        case 'v':
                return puts("daxbrokerd " PACKAGE_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        case -1:
                break;
        default:
                return 2;
        }
        if (optind < argc) {
                fprintf(stderr, "daxbrokerd: takes no arguments; see daxbrokerd --help\n");
                return 2;
        }

        return service_run();
}
