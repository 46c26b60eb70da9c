/* SPDX-License-Identifier: MIT */

/* daxbrokerctl's command line. */

#include "command.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where the words of all lines live until the test ends: Options borrows them, getopt_long() moves them
 * about. */
static GPtrArray *lines_in_use;

static int parse(const char *line, Options *ret) {
        char **words = g_strsplit(line, " ", -1);

        for (char **word = words; *word; word++)
                g_ptr_array_add(lines_in_use, *word);
        g_ptr_array_add(lines_in_use, words);
        return options_parse((int) g_strv_length(words), words, ret);
}

static Options assert_valid(const char *line) {
        Options options;

        g_assert_cmpint(parse(line, &options), ==, 0);
        return options;
}

static void test_request(void) {
        Options o = assert_valid("ctl alloc --size 1.5G --align=2M --region dram --name db --mode 640 "
                                 "--group 0 --numa-node 1 --page-size 2MiB --prefault --persistent "
                                 "--prefer bandwidth --contiguous --reserve --grant g "
                                 "--no-ask-password --json=short");

        g_assert_cmpstr(o.command->name, ==, "alloc");
        g_assert_cmpuint(o.size, ==, UINT64_C(3) << 29);
        g_assert_cmpuint(o.alignment, ==, 2 << 20);
        g_assert_cmpuint(o.page_size, ==, 2 << 20);
        g_assert_cmpstr(o.region, ==, "dram");
        g_assert_cmpstr(o.name, ==, "db");
        g_assert_cmpstr(o.prefer, ==, "bandwidth");
        g_assert_cmpstr(o.grant, ==, "g");
        g_assert_cmpuint(o.mode, ==, 0640);
        g_assert_cmpuint(o.group, ==, 0);
        g_assert_cmpuint(o.numa_node, ==, 1);
        g_assert_false(o.interactive);
        g_assert_cmpint(o.json, ==, JSON_SHORT);
        g_assert_cmpuint(o.given & OPTIONS_REQUEST, ==, OPTIONS_REQUEST);
        g_assert_null(o.program);
}

static void test_defaults(void) {
        Options o = assert_valid("ctl alloc --size 1");

        g_assert_cmpuint(o.alignment, ==, (uint64_t) sysconf(_SC_PAGESIZE));
        g_assert_cmpuint(o.given, ==, OPTION_SIZE);
        g_assert_cmpint(o.json, ==, JSON_OFF);
}

static void test_force(void) {
        g_assert_cmpuint(assert_valid("ctl free x").force, ==, 0);
        g_assert_cmpuint(assert_valid("ctl free --force x").force, ==, 1);
        g_assert_cmpuint(assert_valid("ctl free --force x --force y").force, ==, 2);
}

static void test_options_before_command(void) {
        Options o = assert_valid("ctl --json=pretty --no-legend list");

        g_assert_cmpstr(o.command->name, ==, "list");
        g_assert_cmpint(o.json, ==, JSON_PRETTY);
}

static void test_program(void) {
        Options o = assert_valid("ctl run --size 1M -- ls --size -l");

        g_assert_cmpstr(o.program[0], ==, "ls");
        g_assert_cmpstr(o.program[1], ==, "--size");
        g_assert_cmpstr(o.program[2], ==, "-l");
        g_assert_null(o.program[3]);

        /* without "--", the command begins at the first word that is no option */
        o = assert_valid("ctl run --size 1M ls --size -l");
        g_assert_cmpstr(o.program[0], ==, "ls");
        g_assert_cmpstr(o.program[1], ==, "--size");

        o = assert_valid("ctl open db --read-only -- ls db");
        g_assert_cmpint(o.n_arguments, ==, 1);
        g_assert_cmpstr(o.arguments[0], ==, "db");
        g_assert_cmpstr(o.program[0], ==, "ls");
        g_assert_cmpstr(o.program[1], ==, "db");
        g_assert_true(o.given & OPTION_READ_ONLY);

        o = assert_valid("ctl open db");
        g_assert_null(o.program);
}

static void test_arguments(void) {
        Options o = assert_valid("ctl free a -- -b --json");

        g_assert_cmpint(o.n_arguments, ==, 3);
        g_assert_cmpstr(o.arguments[1], ==, "-b");
        g_assert_cmpstr(o.arguments[2], ==, "--json");
}

static void test_help_needs_nothing_else(void) {
        g_assert_null(assert_valid("ctl --help").command);
        g_assert_null(assert_valid("ctl --version").command);
        g_assert_cmpstr(assert_valid("ctl run -h").command->name, ==, "run");
        g_assert_cmpstr(assert_valid("ctl --help free").command->name, ==, "free");
}

static void test_nonsense(void) {
        static const char *const lines[] = {
                "ctl", "ctl frobnicate", "ctl --frobnicate", "ctl list --frobnicate", "ctl list x",
                "ctl list --size 1M", "ctl alloc", "ctl alloc --size", "ctl alloc --size x",
                "ctl alloc --size -1", "ctl alloc --size 16E", "ctl alloc --size 1 x",
                "ctl alloc --size 1 --align 2X", "ctl alloc --size 1 --mode 8",
                "ctl alloc --size 1 --mode 1000", "ctl alloc --size 1 --mode rw",
                "ctl alloc --size 1 --mode -1", "ctl alloc --size 1 --numa-node -1",
                "ctl alloc --size 1 --numa-node 4294967296", "ctl alloc --size 1 --numa-node 1x",
                "ctl alloc --size 1 --group no.such.group", "ctl alloc --size 1 --group 4294967295",
                "ctl alloc --size 1 --no-hold", "ctl alloc --size 1 --json=maybe",
                "ctl alloc --size 1 -- ls", "ctl run --size 1", "ctl run --size 1 --", "ctl run ls",
                "ctl run --size 1 --json ls", "ctl open", "ctl open a b", "ctl open a --", "ctl open -- ls",
                "ctl open a --json -- ls", "ctl show", "ctl show a b", "ctl free", "ctl set-mode a",
                "ctl set-mode a 0600 b", "ctl rename a", "ctl rename a b c", "ctl resize a",
                "ctl resize a 1 b", "ctl set-owner a", "ctl set-owner a b c", "ctl set-owner a --owner b c",
                "ctl adopt a", "ctl adopt --owner b", "ctl adopt a b --owner c", "ctl free --owner a b",
                "ctl check-policy", "ctl reload x", "ctl monitor --no-legend",
        };
        int saved = dup(STDERR_FILENO);

        g_assert_nonnull(freopen("/dev/null", "w", stderr));
        for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
                Options options = { .numa_node = 77 };
                int r = parse(lines[i], &options);

                if (r != -EINVAL)
                        g_test_message("accepted: %s", lines[i]);
                g_assert_cmpint(r, ==, -EINVAL);
                g_assert_cmpuint(options.numa_node, ==, 77);
        }
        dup2(saved, STDERR_FILENO);
        close(saved);
}

static void test_mode(void) {
        mode_t mode = 1;

        g_assert_cmpint(mode_parse("0", &mode), ==, 0);
        g_assert_cmpuint(mode, ==, 0);
        g_assert_cmpint(mode_parse("0777", &mode), ==, 0);
        g_assert_cmpuint(mode, ==, 0777);
        g_assert_cmpint(mode_parse("", &mode), ==, -EINVAL);
        g_assert_cmpint(mode_parse("0888", &mode), ==, -EINVAL);
        g_assert_cmpint(mode_parse("01777", &mode), ==, -EINVAL);
        g_assert_cmpint(mode_parse("77777777777777777777777777", &mode), ==, -EINVAL);
        g_assert_cmpuint(mode, ==, 0777);
}

/* Each command has a help text that names every option it takes. */
static void test_help_texts(void) {
        for (const Command *command = commands; command->name; command++) {
                char *text = NULL;
                size_t length;
                FILE *file = open_memstream(&text, &length);

                help_print(command, file);
                fclose(file);
                g_assert_nonnull(strstr(text, command->name));
                for (const OptionHelp *help = option_help; help->text; help++)
                        g_assert_cmpint(strstr(text, help->text) != NULL, ==,
                                        ((command->options | OPTIONS_ALWAYS) & help->option) != 0);
                free(text);
        }
}

/* What the tool takes is in its man page and in the completion. */
static void test_documented(void) {
        static const char *const files[] = { "docs/daxbrokerctl.1.scd", "ctl/completion/daxbrokerctl" };
        const char *root = g_getenv("DAXBROKER_SOURCE_ROOT");

        if (!root) {
                g_test_skip("DAXBROKER_SOURCE_ROOT is not set");
                return;
        }

        for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
                g_autofree char *path = g_build_filename(root, files[i], NULL), *text = NULL;

                g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
                for (const Command *command = commands; command->name; command++)
                        g_assert_nonnull(strstr(text, command->name));
                for (const OptionHelp *help = option_help; help->text; help++) {
                        const char *name = strstr(help->text, "--");
                        g_autofree char *option = g_strndup(name, strcspn(name, "=["));

                        g_assert_nonnull(strstr(text, option));
                }
        }
}

int main(int argc, char *argv[]) {
        int r;

        g_test_init(&argc, &argv, NULL);
        lines_in_use = g_ptr_array_new_with_free_func(g_free);
        g_test_add_func("/ctl/options/request", test_request);
        g_test_add_func("/ctl/options/defaults", test_defaults);
        g_test_add_func("/ctl/options/force", test_force);
        g_test_add_func("/ctl/options/before-command", test_options_before_command);
        g_test_add_func("/ctl/options/program", test_program);
        g_test_add_func("/ctl/options/arguments", test_arguments);
        g_test_add_func("/ctl/options/help-needs-nothing-else", test_help_needs_nothing_else);
        g_test_add_func("/ctl/options/nonsense", test_nonsense);
        g_test_add_func("/ctl/options/mode", test_mode);
        g_test_add_func("/ctl/options/help-texts", test_help_texts);
        g_test_add_func("/ctl/options/documented", test_documented);
        r = g_test_run();
        g_ptr_array_unref(lines_in_use);
        return r;
}
