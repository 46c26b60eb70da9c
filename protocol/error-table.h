/* SPDX-License-Identifier: MIT */
#pragma once

/* Every refusal a client can see, in one place: the last part of the D-Bus error name, the errno a C caller
 * gets, and what it means. Broker and library are built from this table. Entries are only ever added. */

#define DAXBROKER_ERROR_TABLE(X)                                                                               \
        X(BadSize, EINVAL, "the size is 0, or cannot be represented once rounded up")                          \
        X(BadAlignment, EINVAL, "the alignment is no power of two, or beyond what the region gives")           \
        X(BadName, EINVAL, "the name is empty, too long, or has a character that is not allowed")              \
        X(BadMode, EINVAL, "the mode has bits that mean nothing, or names a group without saying which")       \
        X(BadOption, EINVAL, "an option is unknown, of the wrong type, out of range, or given twice")          \
        X(NoSuchRegion, ENODEV, "there is no region of this name")                                             \
        X(RegionUnusable, ENXIO, "the region exists and cannot be used; the message says why")                 \
        X(NoSpace, ENOSPC, "the region has not got that much memory free")                                     \
        X(NoHugePages, ENOSPC, "pages of the demanded size are not to be had")                                 \
        X(QuotaExceeded, EDQUOT, "the user would hold more than the configuration allows")                     \
        X(NameExists, EEXIST, "an allocation of this name exists")                                             \
        X(NoSuchAllocation, ENOENT, "there is no such allocation, or it has ended")                            \
        X(NotAuthorized, EACCES, "polkit, or the allocation's mode, said no")                                  \
        X(AuthenticationRequired, ENOKEY, "polkit wants a password and the call did not allow asking for one") \
        X(AuthorityUnavailable, EAGAIN, "polkit is absent, died, or did not answer in time")                   \
        X(TooManyRequests, EBUSY, "the user has too many requests waiting for an answer")                      \
        X(NoResources, ENOMEM, "the broker ran into a limit of its own: descriptors, records, memory")         \
        X(Busy, EBUSY, "a holder keeps the memory from being revoked; it ends as soon as that is over")        \
        X(StillReferenced, EBUSY, "the kernel refers to pages of the memory, or may do so")                    \
        X(NotSupported, EOPNOTSUPP, "the memory is of a kind that this cannot be done to")                     \
        X(ShuttingDown, EAGAIN, "the broker was stopped before anything was done; the call may be repeated")            \
        X(Failed, EIO, "the kernel refused; the message has its words")                                        \
        X(NoSuchGrant, ENOENT, "there is no such grant, or it has ended")                                     \
        X(TooLarge, EMSGSIZE, "there is more than fits into one answer; another call gives it in pages")
