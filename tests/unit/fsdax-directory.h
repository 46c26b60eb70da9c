/* SPDX-License-Identifier: MIT */
#pragma once

/* A region that is a directory of this machine, for a test; on a file system that keeps what that takes. */

#include <stdbool.h>
#include <stdint.h>

#include "fsdax.h"

#define ID "0123456789abcdef"
#define OTHER "fedcba9876543210"
#define ATTRIBUTE "user.daxbroker.record"
#define TEXT "a record\n"
#define NOBODY 65534

typedef struct Directory {
        char *path;
        RegionConfig config;
        Region *region; /* NULL if there can be none here: then the test is skipped, and not called */
        Inventory found;
        Failure failure;
} Directory;

/* A test with such a directory, which has been listed. */
void directory_add_test(const char *path, void (*test)(Directory *directory));

char *directory_file(const Directory *directory, const char *name);

/* Lists what is there into found. */
int directory_list(Directory *directory);

/* Applies the configuration, and lists what is there; the region has to be usable then. */
void directory_look(Directory *directory);

/* A piece in it, with its record or before that is written. */
void directory_plan(Directory *directory, uint64_t size, Piece *piece);
void directory_carve(Directory *directory, const char *id, uint64_t size, Piece *piece);
void piece_release(Piece *piece);
void piece_revoke(Piece *piece);

int holder_open(Piece *piece, bool read_only);
bool is_zero(int fd, uint64_t start, uint64_t end);
uint64_t size_of(int fd);
