/* SPDX-License-Identifier: MIT */
#pragma once

/* Small files of the kernel's and of our own. */

#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Reads at most max bytes of a file below dir_fd (AT_FDCWD for none) into a new string. -EFBIG if there is more, -EINVAL
 * if it holds NUL bytes. */
int file_read(int dir_fd, const char *path, size_t max, char **ret);

/* Reads as much of a file as fits, as a string. Takes nothing from the heap. */
int file_read_start(const char *path, char *buffer, size_t size);

/* Opens the directory once more, to read its entries from the first one on; the caller closes it. */
int directory_read(int dir_fd, DIR **ret);

/* Writes all of data. A short write on a full disk is -ENOSPC or whatever the kernel says, never a success. */
int fd_write_all(int fd, const char *data, size_t size);

/* Makes text the contents of a file below dir_fd, for us alone, in one step: after a crash, a power cut or an error the old
 * contents are there, or the new ones; the new ones once this has returned 0. What a crash may leave is called like the
 * file, with ".tmp" at its end. Blocks. */
int file_replace(int dir_fd, const char *name, const char *text);

/* Closes a stream that open_memstream() made of text, and takes that over. -ENOMEM: not all of it is there; -E2BIG: it is
 * longer than max. */
int text_stream_close(FILE *file, char **text, size_t max, char **ret);

/* Reads a file that holds one decimal number, from its beginning. */
int file_read_uint64(const char *path, uint64_t *ret);
int fd_read_uint64(int fd, uint64_t *ret);
