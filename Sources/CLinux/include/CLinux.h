#pragma once
#include <sys/xattr.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Calls and constants of Linux that <fcntl.h> and other headers declare only with _GNU_SOURCE, which is not
// set for
// Swift's module of the C library. The values come from the system's headers (linux.c).

// lseek(2): the next data, and the next hole.
extern const int clinux_seek_data;
extern const int clinux_seek_hole;
// open(2): a file without a name; a descriptor that only refers to a path.
extern const int clinux_o_tmpfile;
extern const int clinux_o_path;
// fcntl(2): locks of an open file description.
extern const int clinux_ofd_get_lock;
extern const int clinux_ofd_set_lock;
extern const int clinux_ofd_set_lock_wait;
// ioctl_ficlonerange(2).
extern const unsigned long clinux_ficlone;

// Shares a range of `source` with the start of `target`. Returns 0, or -1 with errno set.
int clinux_clone_range(int target, int source, uint64_t offset, uint64_t count);

// openat2(2): no component may be a symbolic link, and the path must stay below the directory.
extern const uint64_t clinux_resolve_no_symlinks;
extern const uint64_t clinux_resolve_beneath;

// Returns a descriptor, or a negative errno.
int clinux_openat2(int directory, const char *path, int flags, mode_t mode, uint64_t resolve);

// Starts writeback of the dirty pages of a range, without waiting.
int clinux_start_writeback(int descriptor, int64_t offset, int64_t count);

// Creates a file in memory, closed on exec. Returns a descriptor, or a negative errno.
int clinux_memory_file(const char *name);

// Runs `program argument` from PATH with `input` as its standard input, discards its standard error, and
// collects its
// standard output. Kills the program after `milliseconds`. Returns its exit status (128 plus the signal
// number if a
// signal ended it), or a negative errno: ETIMEDOUT, or EMSGSIZE if it writes more than `capacity` bytes.
int clinux_run(const char *program, const char *argument, const char *input, unsigned char *output, size_t capacity,
               size_t *count, int milliseconds);

// Capabilities (capabilities(7)), as bits for `clinux_limit_privileges`.
extern const uint64_t clinux_cap_sys_admin;
extern const uint64_t clinux_cap_dac_override;
extern const uint64_t clinux_cap_dac_read_search;
extern const uint64_t clinux_cap_fowner;
extern const uint64_t clinux_cap_chown;

// Drops every capability not in `keep`, in every thread of the process, sets no_new_privs, and disables core
// files.
// Returns 0, or a negative errno if a thread could not be changed.
int clinux_limit_privileges(uint64_t keep);

// Makes malloc(3) return large freed blocks to the kernel, and share one heap among several threads. By
// default the
// size above which a block has its own mapping grows with each freed block, up to 32 MiB, so that a
// long-lived daemon
// keeps the memory of one large artifact. Existing heaps are not affected: call it before most threads start.
void clinux_limit_heap(void);

// Returns the number of processors that this process may use (sched_getaffinity(2)); at least 1.
int clinux_processor_count(void);
