/* SPDX-License-Identifier: MIT */

/* When is it time to look for regions? Messages come through a socket as those of udev do; the looking itself is left out,
 * and takes as long as the test says, whatever else the machine has to do. */

#include "discovery.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <systemd/sd-device.h>
#include <time.h>
#include <unistd.h>

#include "open-fds.h"

#define MSEC G_TIME_SPAN_MILLISECOND

/* What has not begun by then will not: a pause, and as much as an event loop may be late to save wakeups. */
#define QUIET_MSEC 400

static sd_event *event;
static WorkerPool *pool;
static Discovery *discovery;
static int line; /* our end of the socket */
static unsigned n_seen;

/* The looking, when it began and ended last, and how long it takes by the broker's clock */
static gint n_scans, n_running;
static gint64 began, ended;
static unsigned scan_msec;
static gint held; /* it does not end before the test says so */
static int scan_result;
static _Thread_local struct timespec looked_at; /* the clock */
static _Thread_local bool after_scan;

/* What is wrong with the next messages */
static const int *receive_errors;

static sd_device_monitor_handler_t monitor_handler;
static void *monitor_userdata;
static const char *devpath; /* of all devices */

int __wrap_dax_scan(DaxRegion **ret);
int __wrap_dax_scan(DaxRegion **ret) {
        g_assert_cmpint(g_atomic_int_add(&n_running, 1), ==, 0);
        began = g_get_monotonic_time();
        g_atomic_int_inc(&n_scans);
        g_usleep(scan_msec * MSEC);
        while (g_atomic_int_get(&held))
                g_usleep(100);
        after_scan = true;
        if (scan_result >= 0)
                *ret = calloc(1, sizeof(**ret));
        ended = g_get_monotonic_time();
        (void) g_atomic_int_add(&n_running, -1);
        return scan_result;
}

int __real_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret) {
        if (after_scan) {
                looked_at.tv_nsec += scan_msec * 1000000;
                looked_at.tv_sec += looked_at.tv_nsec / 1000000000;
                looked_at.tv_nsec %= 1000000000;
                after_scan = false;
        } else
                g_assert_no_errno(__real_clock_gettime(id, &looked_at));
        *ret = looked_at;
        return 0;
}

ssize_t __real_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int flags) {
        if (receive_errors && *receive_errors != 0) {
                errno = *receive_errors++;
                return -1;
        }
        return __real_recv(fd, buffer, size, flags);
}

int __wrap_sd_device_monitor_start(sd_device_monitor *monitor, sd_device_monitor_handler_t handler, void *userdata);
int __wrap_sd_device_monitor_start(sd_device_monitor *monitor, sd_device_monitor_handler_t handler, void *userdata) {
        (void) monitor;
        monitor_handler = handler;
        monitor_userdata = userdata;
        return 0;
}

int __wrap_sd_device_get_devpath(sd_device *device, const char **ret);
int __wrap_sd_device_get_devpath(sd_device *device, const char **ret) {
        (void) device;
        if (!devpath)
                return -ENOENT;
        *ret = devpath;
        return 0;
}

static void on_regions(DaxRegion *regions, void *userdata) {
        g_assert_true(userdata == &n_seen);
        g_assert_nonnull(regions);
        dax_regions_free(regions);
        n_seen++;
}

static void run_for(unsigned msec) {
        gint64 end = g_get_monotonic_time() + msec * MSEC, left;

        while ((left = end - g_get_monotonic_time()) > 0)
                g_assert_cmpint(sd_event_run(event, (uint64_t) left), >=, 0);
}

/* Until so many results have come; they may take their time on a machine that is busy. */
static void run_until(unsigned n) {
        gint64 end = g_get_monotonic_time() + 20 * G_TIME_SPAN_SECOND;

        while (n_seen < n) {
                g_assert_cmpint(g_get_monotonic_time(), <, end);
                g_assert_cmpint(sd_event_run(event, 100 * MSEC), >=, 0);
        }
}

static void say(const char *text, size_t size) {
        g_assert_cmpint(send(line, text, size, 0), ==, (ssize_t) size);
}
#define say(text) say(text, sizeof(text))

static void set_up(bool with_socket) {
        int fds[2] = { -EBADF, -EBADF };

        n_seen = 0;
        n_scans = 0;
        scan_msec = 0;
        scan_result = 0;
        receive_errors = NULL;
        line = -EBADF;
        if (with_socket) {
                g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), ==, 0);
                line = fds[1];
        }
        g_assert_cmpint(sd_event_new(&event), ==, 0);
        g_assert_cmpint(worker_pool_new(event, &pool), ==, 0);
        g_assert_cmpint(discovery_new(event, pool, fds[0], on_regions, &n_seen, &discovery), ==, 0);
}

static void tear_down(void) {
        g_assert_true(worker_pool_drain(pool, 10 * G_USEC_PER_SEC));
        g_assert_null(discovery_free(discovery));
        pool = worker_pool_free(pool);
        event = sd_event_unref(event);
        if (line >= 0)
                g_assert_cmpint(close(line), ==, 0);
}

/* ---- What it is told ---- */

static void test_not_by_itself(void) {
        run_for(QUIET_MSEC);
        g_assert_cmpint(n_scans, ==, 0);
        g_assert_null(discovery_free(NULL));
}

/* All that has come until then is one reason. */
static void test_messages(void) {
        static const char add[] = "libudev\0add@/devices/x\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=dax";

        say(add);
        say(add);
        say("SUBSYSTEM=block");
        run_until(1);
        g_assert_cmpint(n_scans, ==, 1);
        run_for(QUIET_MSEC);
        g_assert_cmpint(n_scans, ==, 1);

        say("ACTION=bind\0DEVPATH=/bus/dax/drivers/device_dax\0SUBSYSTEM=drivers");
        run_until(2);
        say("SUBSYSTEM=dax\0ACTION=remove");
        run_until(3);
        run_for(QUIET_MSEC);
        g_assert_cmpint(n_scans, ==, 3);
}

static void test_messages_of_others(void) {
        say("ACTION=add\0SUBSYSTEM=block\0DEVPATH=/devices/dax");
        say("SUBSYSTEM=daxophone");
        say("SUBSYSTEM=da\0x");
        say("ACTION=bind\0DEVPATH=/bus/pci/drivers/dax\0SUBSYSTEM=drivers");
        say("DEVPATH=/bus/dax/driver");
        say("DEVPATH=/bus/dax/drivers_of_others");
        say("");
        run_for(QUIET_MSEC);
        g_assert_cmpint(n_scans, ==, 0);
        g_assert_cmpint(sd_event_run(event, 0), ==, 0); /* and all of them have been read */
}

/* Messages that were lost may have been about anything. */
static void test_lost_messages(void) {
        static const int lost[] = { EINTR, ENOBUFS, EINTR, 0 }, interrupted[] = { EINTR, 0 };

        receive_errors = interrupted;
        say("SUBSYSTEM=block");
        run_for(QUIET_MSEC);
        g_assert_cmpint(n_scans, ==, 0);
        g_assert_cmpint(*receive_errors, ==, 0);

        receive_errors = lost;
        say("SUBSYSTEM=block");
        run_until(1);
        g_assert_cmpint(*receive_errors, ==, 0);
        g_assert_cmpint(n_scans, ==, 1);
}

/* ---- When it looks ---- */

/* The first time at once. Then there is a pause, in which all changes are one. On a machine that is busy it can be over
 * before all of them have been told: then they are told once more, when there is nothing left to look for. */
static void test_gather(void) {
        gint64 begin, told;
        gint before;

        discovery_scan(discovery);
        run_until(1);
        do {
                before = g_atomic_int_get(&n_scans);
                begin = g_get_monotonic_time();
                g_assert_cmpint(sd_event_run(event, 0), >=, 0); /* so that the event loop's time is no earlier one */
                discovery_scan(discovery);
                run_for(20);
                discovery_scan(discovery);
                discovery_scan(discovery);
                told = g_get_monotonic_time();
                run_until((unsigned) before + 1);
                g_assert_cmpint(began - begin, >=, 50 * MSEC);
                run_for(told - begin < 50 * MSEC ? QUIET_MSEC : 2 * QUIET_MSEC);
        } while (told - begin >= 50 * MSEC);
        g_assert_cmpint(n_scans, ==, before + 1);
}

/* Between a scan that takes so long and the next one, though it is wanted at once. */
static gint64 pause_after(unsigned msec) {
        gint64 before;

        scan_msec = msec;
        discovery_scan(discovery);
        run_until(1);
        before = ended;
        discovery_scan(discovery);
        run_until(2);
        return began - before;
}

/* A pause is long compared to the scan before it. */
static void test_slow(void) {
        g_assert_cmpint(pause_after(40), >=, 20 * 40 * MSEC);
}

/* But not longer than two seconds: perhaps it was others that made the scan slow. */
static void test_very_slow(void) {
        gint64 pause = pause_after(400);

        g_assert_cmpint(pause, >=, 2000 * MSEC);
        g_assert_cmpint(pause, <, 400 * 20 * MSEC);
}

/* For what nobody says there is time, but what somebody says is looked at soon, and only once. */
static void test_later(void) {
        gint64 before;

        discovery_scan(discovery);
        run_until(1);
        before = ended;
        discovery_scan_later(discovery);
        discovery_scan_later(discovery);
        run_for(QUIET_MSEC);
        g_assert_cmpint(n_scans, ==, 1);
        discovery_scan(discovery);
        discovery_scan_later(discovery);
        run_until(2);
        g_assert_cmpint(began - before, <, 9900 * MSEC);
        run_for(QUIET_MSEC);
        g_assert_cmpint(n_scans, ==, 2);

        before = ended;
        discovery_scan_later(discovery);
        run_until(3);
        g_assert_cmpint(began - before, >=, 9900 * MSEC);
}

/* What changes during a scan is seen by the next one; nobody has to say it again. */
static void test_again(void) {
        gint64 before;

        scan_msec = 20;
        g_atomic_int_set(&held, 1);
        discovery_scan(discovery);
        while (g_atomic_int_get(&n_scans) == 0)
                g_assert_cmpint(sd_event_run(event, MSEC), >=, 0);
        g_assert_cmpuint(n_seen, ==, 0);
        discovery_scan(discovery);
        discovery_scan(discovery);
        g_atomic_int_set(&held, 0);
        run_until(1);
        before = ended;
        g_assert_cmpint(n_scans, ==, 1);
        scan_msec = 0;
        run_until(2);
        g_assert_cmpint(began - before, >=, 20 * 20 * MSEC);
        run_for(QUIET_MSEC);
        g_assert_cmpint(n_scans, ==, 2);
}

/* It is tried again, and nobody is told that there is nothing. */
static void test_failure(void) {
        gint64 first;

        scan_result = -EMFILE;
        discovery_scan(discovery);
        while (g_atomic_int_get(&n_scans) == 0)
                g_assert_cmpint(sd_event_run(event, MSEC), >=, 0);
        first = began;
        run_for(300);
        g_assert_cmpuint(n_seen, ==, 0);
        g_assert_cmpint(n_scans, ==, 1);
        scan_result = 0;
        discovery_scan(discovery); /* makes it no sooner */
        run_until(1);
        g_assert_cmpint(n_scans, ==, 2);
        g_assert_cmpint(began - first, >=, 2000 * MSEC);
}

/* The end while there is a scan: its result is still taken by somebody. */
static void test_end(void) {
        scan_msec = 50;
        discovery_scan(discovery);
        while (g_atomic_int_get(&n_scans) == 0)
                g_assert_cmpint(sd_event_run(event, MSEC), >=, 0);
}

/* ---- Without a socket ---- */

static bool tell(const char *syspath, const char *said) {
        sd_device *device;

        if (!monitor_handler || sd_device_new_from_syspath(&device, syspath) < 0)
                return false;
        devpath = said;
        g_assert_cmpint(monitor_handler(NULL, device, monitor_userdata), ==, 0);
        sd_device_unref(device);
        return true;
}

/* Of drivers, those of the bus; of what else there is, only what is of the bus is told. */
static void test_monitor(void) {
        g_autoptr(GDir) drivers = g_dir_open("/sys/bus/platform/drivers", 0, NULL);
        g_autofree char *driver = NULL;

        discovery_scan(discovery);
        run_until(1);
        if (drivers)
                driver = g_build_filename("/sys/bus/platform/drivers", g_dir_read_name(drivers), NULL);
        if (!driver || !tell(driver, "/bus/platform/drivers/dax")) {
                g_test_skip("there are no uevents here");
                return;
        }
        g_assert_true(tell(driver, "/bus/daxophone/drivers/x"));
        g_assert_true(tell(driver, NULL));
        run_for(QUIET_MSEC);
        g_assert_cmpint(n_scans, ==, 1);
        g_assert_true(tell(driver, "/bus/dax/drivers/kmem"));
        run_until(2);
        g_assert_true(tell("/sys/class/mem/null", "/devices/virtual/mem/null"));
        run_until(3);
}

static const struct Test {
        const char *path;
        void (*function)(void);
        bool without_socket;
} tests[] = {
        { "/discovery/not-by-itself", test_not_by_itself, false },
        { "/discovery/messages", test_messages, false },
        { "/discovery/messages-of-others", test_messages_of_others, false },
        { "/discovery/lost-messages", test_lost_messages, false },
        { "/discovery/gather", test_gather, false },
        { "/discovery/slow", test_slow, false },
                { "/discovery/very-slow", test_very_slow, false },
                { "/discovery/later", test_later, false },
        { "/discovery/again", test_again, false },
        { "/discovery/failure", test_failure, false },
        { "/discovery/end", test_end, false },
        { "/discovery/monitor", test_monitor, true },
};

static void run(gconstpointer data) {
        const struct Test *test = data;
        unsigned n_fds = open_fds_count();

        set_up(!test->without_socket);
        test->function();
        tear_down();
        g_assert_cmpuint(open_fds_count(), ==, n_fds);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(tests); i++)
                g_test_add_data_func(tests[i].path, &tests[i], run);
        return g_test_run();
}
