/* SPDX-License-Identifier: MIT */
#pragma once

/* What the broker writes down about an allocation, so that its successor knows it. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* No record is longer; a file that is, is not one. */
#define RECORD_SIZE_MAX 4096

/* How far the life of an allocation had come when the record was written: each is written before what it announces. */
typedef enum RecordStage {
        RECORD_CARVING, /* nobody has seen it yet, or will any more; what there is of it is to be undone */
        RECORD_LIVE,
        RECORD_ENDING,  /* somebody was told that it ends, or it has lapsed; holders may still have it */
        RECORD_DRAINED, /* nobody has a descriptor or a mapping of it any more */
        N_RECORD_STAGES,
} RecordStage;

typedef struct Record {
        char *name; /* NULL if it has none */
        char *region, *provider;
        char *unit;   /* of the process that asked; NULL if unknown */
        char *handle; /* the provider's, NULL if it has none */
        uint32_t owner, group, mode, pid;
        uint64_t offset, length, alignment, page_size, created;
        bool persistent;
        bool shared;    /* somebody else than its owner has opened it */
        bool read_only; /* somebody has got a descriptor for reading only */
        char *owner_name; /* of the owner when it became his, as in identity.h; NULL if that does not matter */
        bool reserve;   /* its place is kept over a reboot */
        char *grant;    /* the id of the grant that it was taken from, NULL if from none */
        char *marks;    /* that tell which ends have come, see end-marks.h; NULL if none do */
        RecordStage stage;
} Record;

/* Writes the record of this id below dir_fd in one step: after a crash or an error the old one is there, or the new one.
 * Blocks on the file system. */
int record_write(int dir_fd, const char *id, const Record *record);

/* Reads one. -ENOENT; -EBADMSG if it is not wholly as record_write() would have written it, with *ret_problem (static)
 * saying what is wrong. */
int record_read(int dir_fd, const char *id, Record *ret, const char **ret_problem);

int record_remove(int dir_fd, const char *id);
void record_done(Record *record);

/* The text of a record, and back. */
int record_format(const Record *record, char **ret);
int record_parse(const char *text, Record *ret, const char **ret_problem);

/* Whether all of it was written, as its end says. */
bool record_is_whole(const char *text);
