/* SPDX-License-Identifier: MIT */
#ifndef DAXBROKER_H
#define DAXBROKER_H

/* libdaxbroker: memory from the daxbroker service, without the protocol.
 *
 * The two-line way:
 *
 *         void *p = daxbroker_alloc(size, align);
 *         daxbroker_free(p);
 *
 * and the full way: a request says what is wanted, an allocation is what one got, a client is the
 * connection to the service (NULL, everywhere, means a hidden one that is made when first needed).
 *
 * Errors: functions that return int return 0 or more on success and a negative errno otherwise;
 * daxbroker_last_error() has the sentence that goes with it. Sizes, lengths and offsets are bytes.
 *
 * Threads: every function may be called from any thread at any time, but one object that is being freed
 * must not be in use elsewhere, a request must not be changed while it is used, and the functions of
 * "Event loops" belong to one thread at a time.
 *
 * Fork: a child keeps what it inherited: its copy of the mapping stays valid and keeps the allocation
 * alive until the child frees it or exits, whatever the parent does, short of ending the allocation for
 * everybody. A child may make requests of its own. Descriptors are close-on-exec.
 *
 * Link with `pkg-config --libs daxbroker`. */

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- The two-line way --------------------------------------------------------------------------------- */

/* Allocates size bytes (1 or more) at an address that is a multiple of align (a power of two, up to 1
 * GiB), all zero, mapped for reading and writing and shared with children. From the region that the
 * environment variable DAXBROKER_REGION names, else from the service's default region. Never shows a
 * password dialog. Returns NULL and sets errno; daxbroker_last_error() says more. Free it with
 * daxbroker_free(). */
void *daxbroker_alloc(size_t size, size_t align);

/* Unmaps what daxbroker_alloc() returned and lets it go; the memory returns to the region when no child
 * still has it. NULL is fine, any other foreign address is ignored. Keeps errno. */
void daxbroker_free(void *memory);

/* The sentence behind this thread's last failed call into this library, such as "region 'dram' has 64 MiB
 * free, 128 MiB were asked for". "" if there was none. Valid until the thread's next failing call; do not
 * free it. */
const char *daxbroker_last_error(void);

/* ---- Clients ----------------------------------------------------------------------------------------- */

/* A way to the service. It connects when first used and again whenever the service or the bus was
 * restarted. */
typedef struct daxbroker_client daxbroker_client;

/* Makes a client. Does not connect yet. Errors: ENOMEM. */
int daxbroker_client_new(daxbroker_client **ret);

/* Closes the connections. Allocations live on. Callbacks that were pending are not called. Returns NULL;
 * NULL is fine. */
daxbroker_client *daxbroker_client_free(daxbroker_client *client);

/* The version of the running service, such as "0.1.0"; free() it. */
int daxbroker_get_version(daxbroker_client *client, char **ret);

/* ---- Requests ---------------------------------------------------------------------------------------- */

typedef struct daxbroker_request daxbroker_request;

/* Starts a request for size bytes aligned to alignment. The values are judged by the service, not here.
 * Errors: ENOMEM. */
int daxbroker_request_new(uint64_t size, uint64_t alignment, daxbroker_request **ret);
daxbroker_request *daxbroker_request_free(daxbroker_request *request);

/* The region to take it from; NULL for the service's default. Strings are copied. */
int daxbroker_request_set_region(daxbroker_request *request, const char *region);
/* Gives it a name (1 to 63 characters A-Z a-z 0-9 . _ -): it then stays after its holders are gone, until
 * it is freed. */
int daxbroker_request_set_name(daxbroker_request *request, const char *name);
/* Who may open it by name: permission bits, 0 to 0666; 0600 if not set. */
int daxbroker_request_set_mode(daxbroker_request *request, mode_t mode);
/* The group that the mode's group bits mean, now and when the mode is changed; the caller's effective one
 * if not set. The caller must be a member. */
int daxbroker_request_set_group(daxbroker_request *request, gid_t group);
/* Instead of naming a region, take the one that is best at something: "bandwidth" or "latency", as the
 * kernel publishes them, or "capacity", what is available. NULL for no preference. */
int daxbroker_request_set_prefer(daxbroker_request *request, const char *what);
/* Have it in one range of physical addresses or fail (ENOSPC). */
int daxbroker_request_set_contiguous(daxbroker_request *request, int contiguous);
/* Take it from this NUMA node. */
int daxbroker_request_set_numa_node(daxbroker_request *request, unsigned node);
/* Have pages of exactly this many bytes or fail. */
int daxbroker_request_set_page_size(daxbroker_request *request, uint64_t page_size);
/* Have all of the memory present when the call returns, instead of when it is first touched. */
int daxbroker_request_set_prefault(daxbroker_request *request, int prefault);
/* Contents must survive a reboot. */
int daxbroker_request_set_persistent(daxbroker_request *request, int persistent);
/* Have the place of a named allocation kept over a reboot: it is there again then, and empty. */
int daxbroker_request_set_reserve(daxbroker_request *request, int reserve);
/* Take it from this grant (see below): its object, or the last part of that; NULL for none. polkit is not asked
 * then, and nobody else can have taken the memory. Errors: ENOENT (no such thing). */
int daxbroker_request_set_grant(daxbroker_request *request, const char *which);
/* Allow polkit to ask the user for a password; the call then takes as long as that takes. */
int daxbroker_request_set_interactive(daxbroker_request *request, int interactive);

/* ---- Allocations ------------------------------------------------------------------------------------- */

/* A hold on a piece of memory: its descriptor, its lease, and its mapping in this process if there is
 * one. */
typedef struct daxbroker_allocation daxbroker_allocation;

/* For daxbroker_open(). */
#define DAXBROKER_READ_ONLY UINT64_C(1)   /* a descriptor with which writing is impossible */
#define DAXBROKER_INTERACTIVE UINT64_C(2) /* allow polkit to ask the user for a password */

/* Asks for memory and waits for the answer. It is not mapped yet. Errors are those of the service, see
 * daxbroker_last_error(): EINVAL (a size, alignment, name or option), ENODEV (no such region), ENXIO
 * (region unusable), ENOSPC, EDQUOT, EEXIST (name taken), EACCES (not authorized), ENOKEY (needs a
 * password), EAGAIN (polkit or the service is not there just now), EBUSY (too many requests waiting),
 * EHOSTDOWN (no service, or no bus), ETIMEDOUT.
 *
 * While the service or the bus is being restarted, calls are made again for up to five seconds, if it has
 * been seen before and if that is safe. It is safe for a persistent one, which yields the same allocation if
 * it is made twice, by the same user and for the same. It is not for another request with a name that may have
 * been met already: then the error is EHOSTDOWN, and the name tells whether it was. */
int daxbroker_allocate(daxbroker_client *client, const daxbroker_request *request,
                       daxbroker_allocation **ret);

/* Opens a named allocation. Errors: as above, ENOENT (no allocation of this name). Flags: see above. */
int daxbroker_open(daxbroker_client *client, const char *name, uint64_t flags, daxbroker_allocation **ret);

/* Takes over a hold from elsewhere: descriptors that were inherited or received. length may be 0 if the
 * memory descriptor has a size. lease may be -1. On success the descriptors belong to the allocation.
 * Errors: EBADF, EINVAL. */
int daxbroker_adopt_fds(int memory, int lease, uint64_t offset, uint64_t length, daxbroker_allocation **ret);

/* The same for what `daxbrokerctl run` passes on: DAXBROKER_FD, DAXBROKER_LEASE_FD, DAXBROKER_OFFSET and
 * DAXBROKER_LENGTH in the environment. Makes the descriptors close-on-exec. Errors: ENXIO (no such
 * variables, or meant for a parent, or adopted already), EINVAL (no numbers). */
int daxbroker_adopt_environment(daxbroker_allocation **ret);

/* Lets go: unmaps, closes descriptor and lease, in this order. An allocation without a name ends when
 * nobody else holds it; a named one stays. Returns NULL; NULL is fine. */
daxbroker_allocation *daxbroker_allocation_close(daxbroker_allocation *allocation);

/* Memory that is a DAX device (the property Device of its allocation is not empty) has rules of its own for
 * who maps it himself: MAP_SHARED only; offset, length and address in whole pages of the device (2 MiB, or 1
 * GiB: the property PageSize), also for munmap(2) and mprotect(2) of a part; no size in fstat(2), no
 * read(2), no msync(2); and no MADV_NOHUGEPAGE nor PR_SET_THP_DISABLE, after which touching it is SIGBUS.
 * daxbroker_allocation_map() keeps to all that. */

/* Maps the whole allocation at an address aligned as was asked for, shared; readable, and writable unless
 * it was opened read-only. Where it is not known what was asked for (opened, adopted), the address is a
 * multiple of 1 GiB, which every alignment divides. A second call returns the same address. The mapping
 * belongs to the allocation. Errors: those of mmap(2). */
int daxbroker_allocation_map(daxbroker_allocation *allocation, void **ret);

/* The length that a hold was got with is what its mapping has, whatever becomes of the allocation. After
 * daxbroker_resize(), by whomever, this makes it another one: length bytes, or with 0 as many as there are by
 * now. The mapping is made anew where it has to be, so nobody may be using it meanwhile, and *ret tells where it
 * is; what has the same length stays. Errors: ERANGE (there is not that much), EOPNOTSUPP (a device, whose
 * length cannot change), those of mmap(2), after which all is as before. */
int daxbroker_allocation_remap(daxbroker_allocation *allocation, uint64_t length, void **ret);

/* Descriptors: borrowed, valid until the allocation is closed. dup(2) to keep one longer. The lease is -1
 * if unknown. */
int daxbroker_allocation_get_fd(const daxbroker_allocation *allocation);
int daxbroker_allocation_get_lease_fd(const daxbroker_allocation *allocation);
uint64_t daxbroker_allocation_get_offset(const daxbroker_allocation *allocation);
uint64_t daxbroker_allocation_get_length(const daxbroker_allocation *allocation);
/* NULL as long as it is not mapped. */
void *daxbroker_allocation_get_address(const daxbroker_allocation *allocation);
/* The object on the bus, "/org/daxbroker1/allocation/…"; "" if unknown (adopted). Owned by the
 * allocation. */
const char *daxbroker_allocation_get_object(const daxbroker_allocation *allocation);

/* The size of the largest pages with which the kernel maps all of it here and now, as it says itself;
 * untouched memory counts as small pages. Errors: ENODATA if it is not mapped. */
int daxbroker_allocation_get_page_size(daxbroker_allocation *allocation, uint64_t *ret);

/* ---- Grants ------------------------------------------------------------------------------------------ */

/* A hold on memory that is kept free for this user: polkit is asked once, and what is then taken from it with
 * daxbroker_request_set_grant() is there, whatever others take. */
typedef struct daxbroker_grant daxbroker_grant;

/* Has as much memory reserved as the request says, where it says; it may have no name and nothing else that is
 * about an allocation, but whether such may be persistent. Errors: as of daxbroker_allocate(), and EOPNOTSUPP (a
 * region of which nothing can be promised). */
int daxbroker_reserve(daxbroker_client *client, const daxbroker_request *request, daxbroker_grant **ret);

/* Lets go: when nobody has the lease any more, what was not taken is free for everybody. Allocations that were
 * taken live on. Returns NULL; NULL is fine. */
daxbroker_grant *daxbroker_grant_close(daxbroker_grant *grant);

/* The object on the bus, "/org/daxbroker1/grant/…". What has it can be used by every process of this user, as
 * long as one has the lease. Owned by the grant. */
const char *daxbroker_grant_get_object(const daxbroker_grant *grant);
/* Borrowed, valid until the grant is closed. */
int daxbroker_grant_get_lease_fd(const daxbroker_grant *grant);
uint64_t daxbroker_grant_get_size(const daxbroker_grant *grant);

/* ---- Persistence (libpmem2). address and length lie within the mapping, else EINVAL. ----------------- */

/* These make stores durable as far as the memory is: on memory that does not outlive the power they succeed,
 * as on any file in RAM. The property Persistent of the allocation tells. What was stored before is durable
 * when a call has returned 0, but the order in which it became so is anybody's guess: what must be durable
 * first has to be persisted first. See daxbroker-persistence(7). */

/* Makes stores durable: flush, then drain. Errors: those of msync(2), of which EIO means that what was stored
 * since the last success may be lost. */
int daxbroker_persist(daxbroker_allocation *allocation, const void *address, size_t length);
/* Starts that. Nothing is durable before daxbroker_drain(), in the same thread. Errors: the same. */
int daxbroker_flush(daxbroker_allocation *allocation, const void *address, size_t length);
/* Waits until what this thread has flushed is durable. Errors: ENODATA (not mapped). */
int daxbroker_drain(daxbroker_allocation *allocation);
/* As daxbroker_persist(), and past the buffers that the platform writes back when the power goes: for what shall
 * outlive a failure of that, too. Errors, besides: EACCES, if the memory is an NVDIMM's device and the caller may
 * not write to its region's attribute deep_flush; the stores are durable as after daxbroker_persist() then. */
int daxbroker_deep_flush(daxbroker_allocation *allocation, const void *address, size_t length);
/* What a store must be flushed in: 1 (nothing to flush), the cache line's size, or the page's (msync(2), so a
 * system call). Errors: ENODATA (not mapped: it depends on how). */
int daxbroker_get_store_granularity(daxbroker_allocation *allocation, uint64_t *ret);

/* ---- What is there ----------------------------------------------------------------------------------- */

/* The properties of one region, allocation or grant, as the service's interfaces document them, by name. Three have
 * a form of their own: Holder is "HolderUnit" (a string) and "HolderPid", Alignments is a string such as
 * "4096 2097152", and Ranges one of offsets and lengths such as "0+2097152 8388608+4194304". What a newer
 * service adds can be read if it is a string or a number.
 *
 * State of an allocation is "live", or one of its end: "draining" (somebody still has it), "cleaning" (it is
 * being zeroed, Cleaned bytes of Length so far), "revoking"; or "detached" or "quarantined", and Reason says
 * why; or "orphan", found where memory outlives the machine's power, with nothing that says whose it is. OwnerName
 * is empty where the user that Owner means is gone, or another one has his uid. */
typedef struct daxbroker_info daxbroker_info;
daxbroker_info *daxbroker_info_free(daxbroker_info *info);
/* The object on the bus; owned by the info. */
const char *daxbroker_info_get_object(const daxbroker_info *info);
/* One property. Integers of any width and booleans (0 or 1) can be read either way, as far as the value
 * fits. The string is owned by the info. Errors: ENOENT (no such property), EINVAL (of another type). */
int daxbroker_info_get_string(const daxbroker_info *info, const char *property, const char **ret);
int daxbroker_info_get_uint64(const daxbroker_info *info, const char *property, uint64_t *ret);
int daxbroker_info_get_int64(const daxbroker_info *info, const char *property, int64_t *ret);

typedef struct daxbroker_list daxbroker_list;
daxbroker_list *daxbroker_list_free(daxbroker_list *list);
size_t daxbroker_list_get_size(const daxbroker_list *list);
/* Owned by the list. NULL past the end. */
const daxbroker_info *daxbroker_list_get(const daxbroker_list *list, size_t index);

int daxbroker_list_regions(daxbroker_client *client, daxbroker_list **ret);
/* What the caller may see: its own, what modes allow, everything where polkit grants inspect-other. */
int daxbroker_list_allocations(daxbroker_client *client, daxbroker_list **ret);
/* One allocation, by name, by object, or by the last part of its object ("which" in what follows, too). */
int daxbroker_get_allocation(daxbroker_client *client, const char *which, daxbroker_info **ret);

/* Grants: the caller's own, everything where polkit grants inspect-other; one, by object or the last part of it. */
int daxbroker_list_grants(daxbroker_client *client, daxbroker_list **ret);
int daxbroker_get_grant(daxbroker_client *client, const char *which, daxbroker_info **ret);
/* Ends one, whoever has its lease. Errors: ENOENT, EACCES. */
int daxbroker_release_grant(daxbroker_client *client, const char *which);

/* Ends an allocation for everybody who holds it: mappings get SIGBUS. Errors: ENOENT, EACCES, EBUSY (a
 * holder keeps it from being revoked; it ends as soon as that is over).
 *
 * Memory that is a DAX device is not taken from who has it: nobody can open it any more, and it is free when
 * all have let go of it. So close your own hold first, daxbroker_allocation_close(), and end it then. */
int daxbroker_end_allocation(daxbroker_client *client, const char *which);

/* For daxbroker_revoke_allocation(). */
#define DAXBROKER_DESPITE_REFERENCES UINT64_C(1) /* also if the kernel refers to its pages, or may do so */

/* For admins: takes memory that has ended from holders who do not let go: mappings get SIGBUS, descriptors
 * are dead. Errors: ENOENT, EACCES, EBUSY: it has not ended, or the kernel may still refer to its pages (a
 * registered buffer, a transfer under way), and would then read and write the next owner's bytes, or crash.
 * The sentence tells which. */
int daxbroker_revoke_allocation(daxbroker_client *client, const char *which, uint64_t flags);
/* Changes who may open it from now on. */
int daxbroker_set_mode(daxbroker_client *client, const char *which, mode_t mode);
/* Gives it another name. Errors: EEXIST (name taken), EINVAL. */
int daxbroker_rename(daxbroker_client *client, const char *which, const char *name);
/* Makes it longer, with zeros at its end, or shorter, for everybody who has it; ret_length (may be NULL) is what
 * it has now, rounded up. Mappings keep the length they have: what was cut off is SIGBUS in them, and what was
 * added is beyond them, see daxbroker_allocation_remap(). Errors: ENOSPC, EDQUOT, EOPNOTSUPP (memory of a kind
 * that keeps its length). */
int daxbroker_resize(daxbroker_client *client, const char *which, uint64_t size, uint64_t *ret_length);
/* For admins: gives it to another user, who is charged for it from now on; and a name, if that is not NULL.
 * What nobody owns (State "orphan") is adopted so. With the uid it has already, it is his who has that uid
 * today. Errors: EACCES, EDQUOT (his quota), EEXIST. */
int daxbroker_set_owner(daxbroker_client *client, const char *which, uid_t owner, const char *name);

/* Would this succeed for the caller now? Returns 0 if so, else the error it would fail with,
 * daxbroker_last_error() having the reason. ret_length may be NULL: the bytes it would get. Nothing is
 * reserved, nobody is asked. */
int daxbroker_check(daxbroker_client *client, const daxbroker_request *request, uint64_t *ret_length);

/* Makes the service read its configuration again. Errors: EACCES. */
int daxbroker_reload(daxbroker_client *client);

/* ---- Event loops: asynchronous use of a client of one's own (not NULL) ------------------------------- */

/* Poll the descriptor for the events, or until the time, then call process() until it returns 0. The
 * descriptor can change when the connection is made anew: ask for all three before each poll. Connecting
 * waits for the bus, and for the service a second at most, before it takes the bus instead; with
 * DAXBROKER_BUS=direct, 25 seconds. A callback may call anything here but process(), and may free the client;
 * process() then returns 0 and the client must not be used any more. */
int daxbroker_client_get_fd(daxbroker_client *client);
int daxbroker_client_get_events(daxbroker_client *client);
/* CLOCK_MONOTONIC microseconds; UINT64_MAX for never. */
int daxbroker_client_get_timeout(daxbroker_client *client, uint64_t *ret_usec);
/* Does what is due; calls callbacks. Returns 1 if there was something to do, 0 if not. */
int daxbroker_client_process(daxbroker_client *client);

/* error is 0 or a negative errno, message its sentence; allocation belongs to the callee, NULL on error. */
typedef void (*daxbroker_allocation_callback)(daxbroker_allocation *allocation, int error,
                                              const char *message, void *userdata);
int daxbroker_allocate_async(daxbroker_client *client, const daxbroker_request *request,
                             daxbroker_allocation_callback callback, void *userdata);
int daxbroker_open_async(daxbroker_client *client, const char *name, uint64_t flags,
                         daxbroker_allocation_callback callback, void *userdata);

/* Tells what comes, changes and goes: event is "added", "removed" or "changed", object the path;
 * properties a comma-separated list of what changed ("" otherwise). Values are read with
 * daxbroker_get_allocation(). When the service comes (back) or the bus was restarted, event is "reset",
 * object is "", and everything should be listed anew. One watch per client; a second call replaces the
 * callback. What happens after daxbroker_watch() has returned is not missed, but for allocations that a
 * process frees within milliseconds, before anybody else was shown them. Of allocations that one may not see
 * only a watch over the system bus hears (DAXBROKER_BUS=system). */
typedef void (*daxbroker_watch_callback)(const char *event, const char *object, const char *properties,
                                         void *userdata);
int daxbroker_watch(daxbroker_client *client, daxbroker_watch_callback callback, void *userdata);

#ifdef __cplusplus
}
#endif

#endif
