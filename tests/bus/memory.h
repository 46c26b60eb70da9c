/* SPDX-License-Identifier: MIT */
#pragma once

/* What a user holds, and what it can do with it. Memory descriptor, lease and, once it was mapped, mapping have one
 * number together, the slot. They are in the user's process; the test itself never holds any of it. */

#include <stdint.h>

#include "user.h"

/* In the user's process: takes over two descriptors; the slot. */
int slot_add_consume_fds(int memory, int lease, uint64_t offset, uint64_t length);
/* In the user's process: borrows what a slot has. Descriptors are -1 and the address NULL where there is none. */
void slot_borrow(int slot, int *ret_memory, int *ret_lease, uint8_t **ret_address);

/* In the test. All of them return a negative errno where the kernel says no. */
int user_map(User *user, int slot);           /* shared, readable and writable */
int user_map_read_only(User *user, int slot);
/* One byte, through the mapping: what is there, or 0; -EFAULT for SIGBUS or SIGSEGV. */
int user_peek(User *user, int slot, uint64_t offset);
int user_poke(User *user, int slot, uint64_t offset, uint8_t value);
/* 1 if every byte of the mapping has this value, 0 if not, -EFAULT for SIGBUS. */
int user_is_filled(User *user, int slot, uint8_t value);
int user_fill(User *user, int slot, uint8_t value);
/* On the memory descriptor: ftruncate, fallocate with a mode, F_ADD_SEALS, F_GET_SEALS, pwrite of one byte. */
int user_truncate(User *user, int slot, uint64_t size);
int user_fallocate(User *user, int slot, int mode, uint64_t offset, uint64_t length);
int user_add_seals(User *user, int slot, unsigned seals);
int user_get_seals(User *user, int slot);
int user_pwrite(User *user, int slot, uint64_t offset, uint8_t value);
/* How much of it has pages, as the kernel counts. */
uint64_t user_bytes_present(User *user, int slot);
/* Opens /proc/self/fd/N again with these flags; the new descriptor replaces the old one on success. */
int user_reopen(User *user, int slot, int flags);

/* Lets go: of the mapping, of the descriptors, of everything. */
void user_unmap(User *user, int slot);
void user_close_memory(User *user, int slot);
void user_close_lease(User *user, int slot);
void user_drop(User *user, int slot);
/* Of memory that has ended, or is about to: ordinary memory is taken from him, and he need not do anything. A device he has
 * to let go of; when he has, he finds what he would find in ordinary memory then. All he has with slot -1. */
void user_let_go(User *user, int slot);
void user_drop_all(User *user);

/* Hands copies of what one user holds to another; the slot it has there. */
int user_give(User *from, int slot, User *to);
/* Has the user fork a child that keeps everything until user_end_children(); its pid. */
pid_t user_fork_child(User *user);
void user_end_children(User *user);
