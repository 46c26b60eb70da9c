/* SPDX-License-Identifier: MIT */

/* The order of things at start: privileges, the files within reach, log, configuration, regions, the name on the bus, what
 * an earlier broker handed out, the system call filter, and only then "ready". At the end the reverse; nothing is revoked by
 * it, the next broker goes on. */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "cleanup.h"
#include "clock.h"
#include "huge-pages.h"
#include "log.h"
#include "recovery.h"
#include "sandbox.h"
#include "server-bus.h"
#include "service.h"
#include "size.h"

typedef struct Service {
        sd_event *event;
        Manager *manager;
        Server *server;
        Waiter reload;     /* waits for a reload that a signal asked for */
        Waiter configured; /* waits for any reload, always */
} Service;

static void notify_reloading(void) {
        (void) sd_notifyf(false, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_usec());
}

/* How it stands, and first, what else there is to say. */
static void notify_status(const Service *service, const char *more) {
        const Manager *manager = service->manager;
        size_t n = 0, n_usable = 0;
        const Region *region;

        DL_FOREACH(manager->regions, region) {
                n++;
                n_usable += region->reason ? 0 : 1;
        }

        (void) sd_notifyf(false, "%sSTATUS=%zu of %zu regions usable, default region '%s'", more, n_usable, n,
                          manager->config->default_region);
}

static void on_reloaded(Waiter *waiter) {
        notify_status((Service *) (void *) ((char *) waiter - offsetof(Service, reload)), "READY=1\n");
}

static void on_configured(Waiter *waiter) {
        Service *service = (Service *) (void *) ((char *) waiter - offsetof(Service, configured));

        waiter_add(&service->manager->waiting_for_reload, waiter);
        notify_status(service, "");
}

static int on_hang_up(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
        Service *service = userdata;

        (void) source;
        (void) info;
        notify_reloading();
        /* A reload that is running may have read what has changed since, so it is the next one that counts. */
        waiter_remove(&service->reload);
        manager_reload(service->manager, &service->reload);
        return 0;
}

static int service_watch_signals(Service *service) {
        sigset_t signals;
        int r;

        (void) sigemptyset(&signals);
        (void) sigaddset(&signals, SIGTERM);
        (void) sigaddset(&signals, SIGINT);
        (void) sigaddset(&signals, SIGHUP);
        (void) sigaddset(&signals, SIGPIPE);
        /* before any thread is made, so that all of them have them blocked */
        r = pthread_sigmask(SIG_BLOCK, &signals, NULL);
        if (r != 0)
                return -r;

        r = sd_event_add_signal(service->event, NULL, SIGTERM, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(service->event, NULL, SIGINT, NULL, NULL);
        if (r >= 0)
                r = sd_event_add_signal(service->event, NULL, SIGHUP, on_hang_up, service);
        return r;
}

static int service_start(Service *service) {
        Config *config;
        int landlock, r;

        r = sandbox_restrict_files(&landlock);
        if (r < 0) {
                log_error("cannot restrict which files can be opened: %s", strerror(-r));
                return r;
        }
        r = log_start();
        if (r < 0)
                return r;
        if (landlock > 0)
                log_debug("only the broker's own files can be opened (Landlock %d)", landlock);
        else
                log_notice("this kernel has no Landlock: which files can be opened is up to the unit and their modes");
        huge_pages_begin();
        r = config_load(&config);
        if (r < 0)
                return r;
        r = manager_new(service->event, config, &service->manager);
        if (r < 0) {
                config_free(config);
                return r;
        }
        /* The name first: a second broker, started by mistake, must not take the first one's records for leftovers. Calls
         * wait in the connection until the loop runs. */
        r = server_new(service->manager, &service->server);
        if (r < 0)
                return r;
        r = recovery_run(service->manager);
        if (r < 0)
                return r;
        r = manager_start(service->manager);
        if (r < 0)
                return r;
        peers_listen_consume_fd(service->server, TAKE_FD(service->manager->listener));
        r = sandbox_filter(service->manager->config->filter);
        if (r < 0) {
                log_error("cannot install the system call filter: %s", strerror(-r));
                return r;
        }
        if (!getenv("NOTIFY_SOCKET"))
                log_warning("there is no service manager to keep descriptors: a restart leaves the memory with its holders, "
                            "counted, but it can then neither be opened again nor revoked");

        (void) sd_event_set_watchdog(service->event, true);
        service->reload.wake = on_reloaded;
        service->configured.wake = on_configured;
        waiter_add(&service->manager->waiting_for_reload, &service->configured);
        notify_status(service, "READY=1\n");
        return 0;
}

/* False if something could not be stopped, and must not be freed. */
static bool service_stop(Service *service) {
        bool drained = true;

        (void) sd_notify(false, "STOPPING=1\nSTATUS=Stopping");
        if (service->manager)
                drained = manager_drain(service->manager);
        waiter_remove(&service->reload);
        waiter_remove(&service->configured);
        service->server = server_free(service->server);
        if (drained)
                service->manager = manager_free(service->manager);
        return drained;
}

int service_run(void) {
        Service service = { 0 };
        bool stopped;
        int r;

        r = sandbox_drop_privileges();
        if (r >= 0)
                r = sd_event_default(&service.event);
        if (r >= 0)
                r = service_watch_signals(&service);
        if (r >= 0)
                r = service_start(&service);
        if (r >= 0)
                r = sd_event_loop(service.event);
        if (r < 0)
                log_error("daxbrokerd ends: %s", strerror(-r));
        else if (r > 0)
                log_error("daxbrokerd ends: it is no longer connected to the bus");

        stopped = service_stop(&service);
        log_stop();
        if (!stopped)
                _exit(EXIT_FAILURE);
        sd_event_unref(service.event);
        return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
