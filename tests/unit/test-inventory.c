/* SPDX-License-Identifier: MIT */

/* What a medium holds, and the records that are kept elsewhere. */

#include "inventory.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "record.h"
#include "size.h"

#define LIST(...) ((const char *[]) { __VA_ARGS__, NULL })

static char here[] = "here", elsewhere[] = "elsewhere", label[] = "label", other[] = "other";

/* ---- A medium ---- */

static const char *const *handles; /* what it holds */
static int list_error;

static int label_list(Region *region, Inventory *ret, Failure *failure) {
        g_assert_cmpstr(region->name, ==, here);
        if (list_error < 0)
                return failure_set_errno(failure, list_error, "cannot read the labels");

        for (size_t i = 0; handles[i]; i++) {
                ret->finds = g_realloc_n(ret->finds, i + 1, sizeof(*ret->finds));
                ret->finds[i] = (Find) { .handle = g_strdup(handles[i]), .length = MIB };
                (void) g_snprintf(ret->finds[i].id, sizeof(ret->finds[i].id), "%016zx", i);
                ret->n_finds = i + 1;
        }
        return 0;
}

static int medium_write(Piece *piece, const char *id, const char *text, Failure *failure) {
        (void) piece, (void) id, (void) text, (void) failure;
        return 0;
}

static const Provider provider_label = { .name = label, .list = label_list };
static const Provider provider_with_records = { .name = label, .list = label_list, .write_record = medium_write };

/* ---- Records ---- */

typedef struct Directory {
        char *path;
        int fd;
} Directory;

static Directory directory_new(void) {
        Directory directory = { .path = g_dir_make_tmp("daxbroker-inventory-XXXXXX", NULL) };

        g_assert_nonnull(directory.path);
        directory.fd = open(directory.path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
        g_assert_cmpint(directory.fd, >=, 0);
        return directory;
}

static void directory_done(Directory *directory, const char *const *names) {
        for (; names && *names; names++)
                g_assert_cmpint(unlinkat(directory->fd, *names, 0), ==, 0);
        close(directory->fd);
        g_assert_cmpint(g_rmdir(directory->path), ==, 0);
        g_free(directory->path);
}

static void put(const Directory *directory, const char *id, char *region, char *provider, char *handle) {
        Record record = {
                .region = region, .provider = provider, .handle = handle, .length = MIB, .alignment = 1, .page_size = 4096,
        };

        g_assert_cmpint(record_write(directory->fd, id, &record), ==, 0);
}

static int read_inventory(const Provider *provider, const char *const *held, int records_dir, Inventory *ret) {
        Region region = { .name = here, .provider = provider };
        Failure failure = { 0 };
        int r;

        handles = held;
        r = inventory_read(&region, records_dir, ret, &failure);
        g_assert_true((r < 0) == (failure.refusal != REFUSAL_NONE));
        return r;
}

static bool has(const Inventory *inventory, const char *id) {
        for (size_t i = 0; i < inventory->n_finds; i++)
                if (g_str_equal(inventory->finds[i].id, id))
                        return true;

        return false;
}

/* The one with this id, which must be there. */
static const Find *find(const Inventory *inventory, const char *id) {
        size_t i;

        for (i = 0; i < inventory->n_finds; i++)
                if (g_str_equal(inventory->finds[i].id, id))
                        break;
        if (i == inventory->n_finds)
                g_error("there is no %s", id);

        return &inventory->finds[i];
}

/* ---- Tests ---- */

static void test_attach(void) {
        Directory directory = directory_new();
        Inventory inventory = { 0 };
        static char one[] = "uuid-1";
        const Find *found;

        put(&directory, "00000000000000aa", here, label, one);
        g_assert_cmpint(read_inventory(&provider_label, LIST("uuid-0", one), directory.fd, &inventory), ==, 0);
        g_assert_cmpuint(inventory.n_finds, ==, 2);
        found = find(&inventory, "00000000000000aa");
        g_assert_cmpstr(found->handle, ==, one);
        g_assert_false(found->absent);
        g_assert_nonnull(strstr(found->record, "handle=uuid-1\n"));
        found = find(&inventory, "0000000000000000");
        g_assert_null(found->record);
        inventory_done(&inventory);
        g_assert_cmpuint(inventory.n_finds, ==, 0);
        directory_done(&directory, LIST("00000000000000aa"));
}

/* A label says that it is what somebody else has. */
static void test_impostor(void) {
        static char one[] = "uuid-1", another[] = "uuid-9";
        Directory directory = directory_new();
        Inventory inventory = { 0 };
        char id[17];

        /* the media calls these two 0 and 1 */
        put(&directory, "0000000000000000", here, label, one);
        put(&directory, "0000000000000001", here, other, another);
        g_assert_cmpint(read_inventory(&provider_label, LIST("uuid-0", one), directory.fd, &inventory), ==, 0);
        g_assert_cmpuint(inventory.n_finds, ==, 2);
        g_assert_cmpstr(find(&inventory, "0000000000000000")->handle, ==, one);
        g_assert_false(has(&inventory, "0000000000000001"));
        for (size_t i = 0; i < 2; i++)
                if (g_str_equal(inventory.finds[i].handle, "uuid-0")) {
                        g_assert_null(inventory.finds[i].record);
                        (void) g_strlcpy(id, inventory.finds[i].id, sizeof(id));
                }
        g_assert_cmpuint(strspn(id, "0123456789abcdef"), ==, 16);
        inventory_done(&inventory);

        /* and so it is called from now on */
        g_assert_cmpint(read_inventory(&provider_label, LIST("uuid-0", one), directory.fd, &inventory), ==, 0);
        g_assert_cmpstr(find(&inventory, id)->handle, ==, "uuid-0");
        inventory_done(&inventory);
        directory_done(&directory, LIST("0000000000000000", "0000000000000001"));
}

/* A record of something that is not there any more; and one of another region or provider, whose business it is not. */
static void test_absent(void) {
        Directory directory = directory_new();
        Inventory inventory = { 0 };
        static char gone[] = "uuid-9";

        put(&directory, "00000000000000aa", here, label, gone);
        put(&directory, "00000000000000bb", elsewhere, label, gone);
        put(&directory, "00000000000000cc", here, other, gone);
        put(&directory, "00000000000000dd", here, label, NULL);
        g_assert_cmpint(read_inventory(&provider_label, LIST("uuid-0"), directory.fd, &inventory), ==, 0);
        g_assert_cmpuint(inventory.n_finds, ==, 3);
        g_assert_true(find(&inventory, "00000000000000aa")->absent);
        g_assert_true(find(&inventory, "00000000000000dd")->absent);
        g_assert_false(has(&inventory, "00000000000000bb"));
        g_assert_false(has(&inventory, "00000000000000cc"));
        inventory_done(&inventory);
        directory_done(&directory, LIST("00000000000000aa", "00000000000000bb", "00000000000000cc", "00000000000000dd"));
}

/* What was there under another name of the region is still what the record is of. */
static void test_moved(void) {
        Directory directory = directory_new();
        Inventory inventory = { 0 };
        static char one[] = "uuid-1";

        put(&directory, "00000000000000aa", elsewhere, label, one);
        g_assert_cmpint(read_inventory(&provider_label, LIST(one), directory.fd, &inventory), ==, 0);
        g_assert_cmpuint(inventory.n_finds, ==, 1);
        g_assert_nonnull(find(&inventory, "00000000000000aa")->record);
        inventory_done(&inventory);
        directory_done(&directory, LIST("00000000000000aa"));
}

/* The first one that is read counts; which one that is, the directory says. */
static void test_two_records(void) {
        Directory directory = directory_new();
        Inventory inventory = { 0 };
        static char one[] = "uuid-1";

        put(&directory, "00000000000000aa", here, label, one);
        put(&directory, "00000000000000bb", here, label, one);
        g_assert_cmpint(read_inventory(&provider_label, LIST(one), directory.fd, &inventory), ==, 0);
        g_assert_cmpuint(inventory.n_finds, ==, 1);
        g_assert_true(has(&inventory, "00000000000000aa") != has(&inventory, "00000000000000bb"));
        inventory_done(&inventory);
        directory_done(&directory, LIST("00000000000000aa", "00000000000000bb"));
}

/* Whatever cannot be read costs nobody else his memory, and what it is of has no owner. */
static void test_unreadable(void) {
        static const char *const texts[] = { "", "daxbroker-record=1\n", "daxbroker-record=2\ncomplete=yes\n", "\xff\n" };
        Directory directory = directory_new();
        Inventory inventory = { 0 };
        static char one[] = "uuid-1";

        put(&directory, "00000000000000aa", here, label, one);
        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autofree char *path = g_build_filename(directory.path, "00000000000000bb", NULL);

                g_assert_true(g_file_set_contents(path, texts[i], -1, NULL));
                g_assert_cmpint(read_inventory(&provider_label, LIST("uuid-0", one), directory.fd, &inventory), ==, 0);
                g_assert_cmpuint(inventory.n_finds, ==, 2);
                g_assert_nonnull(find(&inventory, "00000000000000aa")->record);
                inventory_done(&inventory);
        }
        directory_done(&directory, LIST("00000000000000aa", "00000000000000bb"));
}

/* Files that only lie there: half written records, and what has another kind of name. */
static void test_other_files(void) {
        static const char *const names[] = { "00000000000000aa.tmp", "00000000000000AA", "notes", NULL };
        Directory directory = directory_new();
        Inventory inventory = { 0 };
        static char one[] = "uuid-1";

        for (size_t i = 0; names[i]; i++)
                put(&directory, names[i], here, label, one);
        g_assert_cmpint(read_inventory(&provider_label, LIST(one), directory.fd, &inventory), ==, 0);
        g_assert_cmpuint(inventory.n_finds, ==, 1);
        g_assert_null(inventory.finds[0].record);
        inventory_done(&inventory);
        directory_done(&directory, names);
}

static void test_errors(void) {
        Directory directory = directory_new();
        Inventory inventory = { 0 };

        g_assert_cmpint(read_inventory(&provider_label, LIST("uuid-0"), -EBADF, &inventory), ==, -ENOENT);
        g_assert_cmpuint(inventory.n_finds, ==, 0);
        list_error = -EIO;
        g_assert_cmpint(read_inventory(&provider_label, (const char *[]) { NULL }, directory.fd, &inventory), ==, -EIO);
        list_error = 0;
        directory_done(&directory, NULL);
}

/* Where the medium keeps them, nothing else is looked at. */
static void test_own_records(void) {
        Directory directory = directory_new();
        Inventory inventory = { 0 };
        static char one[] = "uuid-1";

        put(&directory, "00000000000000aa", here, label, one);
        g_assert_cmpint(read_inventory(&provider_with_records, LIST(one), -EBADF, &inventory), ==, 0);
        g_assert_cmpuint(inventory.n_finds, ==, 1);
        g_assert_null(inventory.finds[0].record);
        inventory_done(&inventory);
        directory_done(&directory, LIST("00000000000000aa"));
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/inventory/attach", test_attach);
        g_test_add_func("/inventory/impostor", test_impostor);
        g_test_add_func("/inventory/absent", test_absent);
        g_test_add_func("/inventory/moved", test_moved);
        g_test_add_func("/inventory/two-records", test_two_records);
        g_test_add_func("/inventory/unreadable", test_unreadable);
        g_test_add_func("/inventory/other-files", test_other_files);
        g_test_add_func("/inventory/errors", test_errors);
        g_test_add_func("/inventory/own-records", test_own_records);
        return g_test_run();
}
