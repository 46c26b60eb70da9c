/* SPDX-License-Identifier: MIT */

/* kill -9 of the broker at random moments, again and again, while several users' actors do all that can be done. After each
 * time everything is held against what the actors know: what was acknowledged is there and has its contents, what has
 * ended is gone, every byte is accounted for, and nobody reads what somebody else has written.
 *
 * DAXBROKER_TEST_SEED repeats a run, as far as the machine does; DAXBROKER_TEST_ROUNDS makes it shorter or longer. */

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "memory.h"
#include "names.h"
#include "polkit.h"
#include "provider.h"
#include "scene.h"
#include "world.h"

#define ROUNDS 200
#define PIECES_MAX 24
#define GRAIN (provider_is_device() ? UNIT : 16 * KIB)
#define GRAINS_MAX (provider_is_device() ? 2U : 16U)

#define CONFIGURATION                                                                                                  \
        "[Region dram]\n"                                                                                              \
        "Size=256M\n"

/* ---- An actor: in a user's process -------------------------------------------------------------------------------- */

typedef struct Piece {
        char object[64];
        char name[32];    /* "" if it has none */
        uint64_t token;   /* what its contents are made of */
        uint64_t length;
        uint64_t *words;  /* NULL unless held */
        int lease;
        bool unsure;      /* its allocation was not answered */
        bool ending;      /* its end was not answered */
} Piece;

/* The static variables are each actor's own. */
static GRand *chance;
static unsigned actor;
static Piece pieces[PIECES_MAX];
static unsigned n_pieces, n_named;

/* Shared by all. */
static volatile struct Stage {
        bool over;
} *stage;

typedef struct Tally {
        unsigned acts, outages, pieces;
} Tally;

static Tally tally;

static unsigned pick(unsigned n) {
        return (unsigned) g_rand_int_range(chance, 0, (gint32) n);
}

/* The broker is not there, or went away in the middle. Everything else that a call can fail with is a mistake. */
static bool is_outage(const sd_bus_error *error) {
        if (!sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_SERVICE_UNKNOWN,
                                    SD_BUS_ERROR_NAME_HAS_NO_OWNER, SD_BUS_ERROR_DISCONNECTED,
                                    "System.Error.ENOTCONN"))
                return false;
        tally.outages++;
        g_usleep(1000);
        return true;
}

static bool is_missing(const sd_bus_error *error) {
        return sd_bus_error_has_name(error, DAXBROKER_BUS_NAME ".Error.NoSuchAllocation");
}

/* What a device is whose end has begun, until its holder lets go. */
static bool is_busy(const sd_bus_error *error) {
        return sd_bus_error_has_name(error, DAXBROKER_BUS_NAME ".Error.Busy");
}

static void fail(const Piece *piece, const char *what, const sd_bus_error *error) {
        g_error("actor %u, %s '%s' %s%s%s", actor, piece->object, piece->name, what, error ? ": " : "",
                error ? error->message : "");
}

static void piece_write(const Piece *piece) {
        for (uint64_t i = 0; i < piece->length / sizeof(uint64_t); i++)
                piece->words[i] = piece->token ^ i;
}

static void piece_verify(const Piece *piece) {
        for (uint64_t i = 0; piece->words && !piece->ending && i < piece->length / sizeof(uint64_t); i++)
                if (piece->words[i] != (piece->token ^ i))
                        fail(piece, "has other contents than were written", NULL);
}

static void piece_let_go(Piece *piece) {
        if (!piece->words)
                return;
        g_assert_cmpint(munmap(piece->words, piece->length), ==, 0);
        close(piece->lease);
        piece->words = NULL;
}

static void piece_forget(unsigned i) {
        piece_let_go(&pieces[i]);
        pieces[i] = pieces[--n_pieces];
}

/* Takes what Allocate and Open return. The memory descriptor is not needed any more once it is mapped. */
static void piece_take(Piece *piece, sd_bus_message *reply) {
        const char *object;
        uint64_t offset;
        int memory, lease;
        void *address;

        g_assert_cmpint(sd_bus_message_read(reply, "ohhtt", &object, &memory, &lease, &offset,
                                            &piece->length), >, 0);
        g_strlcpy(piece->object, object, sizeof(piece->object));
        address = mmap(NULL, piece->length, PROT_READ | PROT_WRITE, MAP_SHARED, memory, (off_t) offset);
        g_assert_true(address != MAP_FAILED);
        piece->words = address;
        piece->lease = fcntl(lease, F_DUPFD_CLOEXEC, 3);
        g_assert_cmpint(piece->lease, >=, 0);
}

static int call(const char *object, const char *interface, const char *member, sd_bus_error *error,
                sd_bus_message **reply, const char *types, const char *name) {
        return sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, object, interface, member, error, reply,
                                  types, name, 0);
}

/* A namespace needs room in one piece, which the others may have left none of. */
static bool is_scattered(const sd_bus_error *error) {
        return provider_is_nvdimm() && sd_bus_error_has_name(error, DAXBROKER_BUS_NAME ".Error.NoSpace");
}

static void act_allocate(bool named) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        uint64_t size = GRAIN * (1 + pick(GRAINS_MAX));
        Piece piece = {};
        int r;

        if (n_pieces == (provider_is_device() ? PIECES_MAX / 3 : PIECES_MAX))
                return;
        piece.token = (uint64_t) g_rand_int(chance) << 32 | g_rand_int(chance);
        if (named)
                (void) snprintf(piece.name, sizeof(piece.name), "actor-%u-%u", actor, n_named++);

        r = sd_bus_call_method(user_bus(), DAXBROKER_BUS_NAME, DAXBROKER_ROOT_PATH,
                               DAXBROKER_MANAGER_INTERFACE, "Allocate", &error, &reply, "tta{sv}", size,
                               UINT64_C(1), named ? 2 : 1, "prefault", "b", (int) (pick(4) == 0), "name",
                               "s", piece.name);
        if (r >= 0) {
                piece_take(&piece, reply);
                for (uint64_t i = 0; i < piece.length / sizeof(uint64_t); i++)
                        if (piece.words[i] != 0)
                                fail(&piece, "is new and not empty", NULL);
                piece_write(&piece);
                pieces[n_pieces++] = piece;
        } else if (!is_outage(&error) && !is_scattered(&error))
                fail(&piece, "was refused", &error);
        else if (named) {
                piece.unsure = true;
                pieces[n_pieces++] = piece;
        }
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
}

static void act_open(Piece *piece) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;

        if (piece->words || piece->unsure || piece->ending)
                return;
        if (call(DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE, "Open", &error, &reply, "sa{sv}",
                 piece->name) >= 0) {
                piece_take(piece, reply);
                piece_verify(piece);
        } else if (!is_outage(&error))
                fail(piece, "cannot be opened", &error);
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
}

static sigjmp_buf fault;

static void on_fault(int signal) {
        (void) signal;
        siglongjmp(fault, 1);
}

static bool is_dead(const Piece *piece) {
        struct sigaction action = { .sa_handler = on_fault };

        g_assert_cmpint(sigaction(SIGBUS, &action, NULL), ==, 0);
        if (sigsetjmp(fault, 1) != 0)
                return true;
        (void) *(volatile uint64_t *) piece->words;
        return false;
}

static void act_free(unsigned i) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        Piece *piece = &pieces[i];

        if (piece->unsure)
                return;
        if (call(piece->object, DAXBROKER_ALLOCATION_INTERFACE, "Free", &error, NULL, NULL, NULL) >= 0) {
                if (piece->words && !provider_is_device() && !is_dead(piece))
                        fail(piece, "was freed and can still be read", NULL);
                piece_forget(i);
        } else if (is_missing(&error) || (provider_is_device() && is_busy(&error))) {
                if (!piece->ending)
                        fail(piece, "was lost", &error);
                piece_forget(i);
        } else if (is_outage(&error))
                piece->ending = true;
        else
                fail(piece, "cannot be freed", &error);
        sd_bus_error_free(&error);
}

/* Its allocation was not answered; the name tells whether it exists. */
static void act_find_out(unsigned i) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        Piece *piece = &pieces[i];
        const char *object;

        if (call(DAXBROKER_ROOT_PATH, DAXBROKER_MANAGER_INTERFACE, "GetAllocation", &error, &reply, "s",
                 piece->name) >= 0) {
                g_assert_cmpint(sd_bus_message_read(reply, "o", &object), >, 0);
                g_strlcpy(piece->object, object, sizeof(piece->object));
                piece->unsure = false;
                piece->ending = true; /* nobody has written to it */
        } else if (is_missing(&error))
                piece_forget(i);
        else if (!is_outage(&error))
                fail(piece, "cannot be found out about", &error);
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
}

static void act(void) {
        unsigned what = pick(100), i;

        tally.acts++;
        if (what < 30 || n_pieces == 0) {
                act_allocate(false);
                return;
        }
        if (what < 50) {
                act_allocate(true);
                return;
        }

        i = pick(n_pieces);
        if (pieces[i].unsure)
                act_find_out(i);
        else if (pieces[i].ending || what < 65)
                act_free(i);
        else if (what < 80 && pieces[i].name[0] == '\0')
                piece_forget(i); /* its lease ends it */
        else if (what < 80)
                piece_let_go(&pieces[i]);
        else if (what < 90)
                act_open(&pieces[i]);
        else
                piece_verify(&pieces[i]);
}

static int64_t do_begin(UserCall *user_call) {
        const uint32_t *numbers = user_call->data;

        actor = numbers[0];
        chance = g_rand_new_with_seed(numbers[1] + actor);
        return 0;
}

/* Until the stage says that it is over. */
static int64_t do_act(UserCall *user_call) {
        (void) user_call;
        while (!stage->over)
                act();
        return 0;
}

/* Everything that is in doubt is settled, everything else looked at. The broker is there. */
static int64_t do_settle(UserCall *user_call) {
        for (unsigned i = 0; i < n_pieces;) {
                Piece piece = pieces[i];

                if (piece.unsure)
                        act_find_out(i);
                else if (piece.ending)
                        act_free(i);
                else {
                        bool held = piece.words;

                        if (!held)
                                act_open(&pieces[i]);
                        piece_verify(&pieces[i]);
                        if (!held)
                                piece_let_go(&pieces[i]);
                        i++;
                }
        }
        tally.pieces = n_pieces;
        memcpy(user_call->answer, &tally, sizeof(tally));
        user_call->answer_size = sizeof(tally);
        return 0;
}

static int64_t do_clear(UserCall *user_call) {
        (void) user_call;
        while (n_pieces > 0)
                act_free(0);
        return 0;
}

/* ---- The test ------------------------------------------------------------------------------------------------------ */

typedef struct Play {
        User *actors[6];
        GRand *random;
        Reply unnamed, named; /* alice's, all the time; carol reads the second */
        int reader, received; /* and bob has got the first from her */
} Play;

static void play_begin(Play *play, Scene *scene, uint32_t seed) {
        static const char *const names[] = { "alice", "alice", "bob", "bob", "carol", "carol" };
        Reply reply;

        play->random = g_rand_new_with_seed(seed);
        for (uint32_t i = 0; i < G_N_ELEMENTS(names); i++) {
                uint32_t numbers[] = { i, seed };

                play->actors[i] = user_new(names[i]);
                user_call(play->actors[i], do_begin, numbers, sizeof(numbers), NULL, 0);
        }

        play->unnamed = user_get(scene->alice, UNIT, NULL);
        play->named = user_get(scene->alice, UNIT, "name=bystander mode=0644");
        play->received = user_give(scene->alice, play->unnamed.slot, scene->bob);
        reply = user_open(scene->carol, "bystander", "read-only=1");
        reply_assert(reply, "");
        play->reader = reply.slot;
        g_assert_cmpint(user_map(scene->alice, play->unnamed.slot), ==, 0);
        g_assert_cmpint(user_map(scene->alice, play->named.slot), ==, 0);
        g_assert_cmpint(user_map(scene->bob, play->received), ==, 0);
        g_assert_cmpint(user_map_read_only(scene->carol, play->reader), ==, 0);
        g_assert_cmpint(user_fill(scene->alice, play->unnamed.slot, 0x11), ==, 0);
        g_assert_cmpint(user_fill(scene->alice, play->named.slot, 0x22), ==, 0);
}

/* The broker is killed at a random moment, every fourth time once more while it starts. */
static void kill_and_start(Play *play, Broker *broker) {
        g_usleep((gulong) g_rand_int_range(play->random, 0, 400000));
        broker_kill(broker);
        while (g_rand_int_range(play->random, 0, 4) == 0) {
                broker_launch(broker);
                g_usleep((gulong) g_rand_int_range(play->random, 0, 100000));
                broker_kill(broker);
        }
        broker_start(broker);
}

/* Free and handed out bytes are all there are, and nothing is handed out but what the actors and the bystanders have. */
static bool is_balanced(User *root, uint64_t size, unsigned n_expected, bool *ret_sums_hold) {
        uint64_t before = region_get("dram", "Available"), sum;
        unsigned n;

        sum = user_sum(root, &n);
        /* something ended in between: look again */
        if (region_get("dram", "Available") != before)
                return false;
        *ret_sums_hold = *ret_sums_hold && before + sum == size;
        return before + sum == size && n == n_expected;
}

static void look(Play *play, Scene *scene, Tally *total) {
        uint64_t size = region_get("dram", "Size");
        bool sums_hold = true;
        unsigned n = 2, n_ignored;

        *total = (Tally) {};
        for (size_t i = 0; i < G_N_ELEMENTS(play->actors); i++) {
                Tally one;

                user_call(play->actors[i], do_settle, NULL, 0, &one, sizeof(one));
                n += one.pieces;
                total->acts += one.acts;
                total->outages += one.outages;
        }
        total->pieces = n;

        g_assert_cmpint(user_is_filled(scene->alice, play->unnamed.slot, 0x11), ==, 1);
        g_assert_cmpint(user_is_filled(scene->bob, play->received, 0x11), ==, 1);
        g_assert_cmpint(user_is_filled(scene->alice, play->named.slot, 0x22), ==, 1);
        g_assert_cmpint(user_is_filled(scene->carol, play->reader, 0x22), ==, 1);

        if (!wait_until(20, is_balanced(scene->root, size, n, &sums_hold)) || !sums_hold) {
                uint64_t sum = user_sum(scene->root, &n_ignored);

                broker_print_log(scene->broker);
                g_error("%" G_GUINT64_FORMAT " bytes free + %" G_GUINT64_FORMAT " in %u allocations of "
                        "%" G_GUINT64_FORMAT ", %u allocations expected",
                        region_get("dram", "Available"), sum, n_ignored, size, n);
        }
}

static void play_end(Play *play, Scene *scene) {
        for (size_t i = 0; i < G_N_ELEMENTS(play->actors); i++) {
                user_call(play->actors[i], do_clear, NULL, 0, NULL, 0);
                user_free(play->actors[i]);
        }
        reply_assert(user_release(scene->alice, play->named.object), "");
        user_drop_all(scene->alice);
        user_drop_all(scene->bob);
        user_drop_all(scene->carol);
        g_rand_free(play->random);
        footprint_assert_back(scene->broker, &scene->before);
        g_assert_cmpuint(service_manager_count_fds(scene->broker->manager, NULL), ==, scene->before.stored);
}

static uint32_t number_from(const char *variable, uint32_t otherwise) {
        const char *text = g_getenv(variable);

        return text ? (uint32_t) g_ascii_strtoull(text, NULL, 0) : otherwise;
}

static void test_kill(Scene *scene, const void *unused) {
        uint32_t seed = number_from("DAXBROKER_TEST_SEED", (uint32_t) g_get_real_time());
        uint32_t rounds = number_from("DAXBROKER_TEST_ROUNDS", provider_rounds(ROUNDS));
        Play play = {};
        Tally total = {};

        (void) unused;
        g_test_message("DAXBROKER_TEST_SEED=%u", seed);
        play_begin(&play, scene, seed);

        for (uint32_t round = 0; round < rounds; round++) {
                stage->over = false;
                for (size_t i = 0; i < G_N_ELEMENTS(play.actors); i++)
                        user_begin(play.actors[i], do_act, NULL, 0, NULL, 0);
                kill_and_start(&play, scene->broker);
                if (round % 4 == 0) /* and on with a broker that has just come back */
                        g_usleep((gulong) g_rand_int_range(play.random, 0, 50000));
                stage->over = true;
                for (size_t i = 0; i < G_N_ELEMENTS(play.actors); i++)
                        user_end(play.actors[i], NULL, 0, NULL, NULL);
                look(&play, scene, &total);
        }

        g_test_message("%u rounds, %u acts, %u of them met no broker, %u allocations at the end", rounds,
                       total.acts, total.outages, total.pieces);
        g_assert_cmpuint(total.acts, >=, rounds);
        play_end(&play, scene);
}

static void set_up(Scene *scene, const void *configuration) {
        stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        g_assert_true(stage != MAP_FAILED);
        scene_set_up(scene, configuration);
        scene_set_rules(scene, POLKIT_EVERYBODY_ALLOCATES);
}

int main(int argc, char **argv) {
        world_init(&argc, &argv);
        g_test_add("/kill/random", Scene, CONFIGURATION, set_up, test_kill, scene_tear_down);
        return g_test_run();
}
