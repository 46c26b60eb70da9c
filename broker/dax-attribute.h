/* SPDX-License-Identifier: MIT */
#pragma once

/* What dax.c and dax-region.c share: names, folders and files below /sys, read strictly. The kernel is believed to write
 * what it documents and nothing else; anything else is -EUCLEAN. -ENOENT: what is asked for is not there, or went. */

#include <stdint.h>
#include <sys/types.h>

/* Where /sys and /dev are, see dax_set_roots(). */
const char *dax_sys_root(void);
const char *dax_dev_root(void);

/* "dax3.14" is the device 14 of the region 3. -EINVAL. */
int dax_name_parse(const char *name, unsigned *ret_region, unsigned *ret_number);

/* Opens the folder name (NULL: none) below path, to reach what is in it (O_PATH). A name is not followed if it is a link. */
int dax_open_folder(const char *path, const char *name, int *ret_fd);

/* That of the driver device_dax. -ENODEV: it is not loaded. */
int dax_open_driver(int *ret_fd);

/* One line, without its end. */
int dax_read_text(int folder, const char *attribute, char *ret_text, size_t size);

/* A decimal number, or a hexadecimal one that begins with 0x. */
int dax_read_number(int folder, const char *attribute, uint64_t *ret);

/* The number of a NUMA node; -1 if it says so, or if there is no such file. */
int dax_read_node(int folder, const char *attribute, int *ret);

/* Writes in one piece. Errors are those that the kernel answers with. */
int dax_write_text(int folder, const char *attribute, const char *text);

/* Parts of the above for tests. */
int dax_number_parse(const char *text, uint64_t *ret);
int dax_node_parse(const char *text, dev_t *ret);
