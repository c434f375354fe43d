#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// Calls and constants of Linux that <fcntl.h> and others show only with _GNU_SOURCE, which Swift's module of the C
// library is not made with. The values come from the system's own headers (linux.c).

// lseek(2): the next bytes that are stored, and the next hole.
extern const int clinux_seek_data;
extern const int clinux_seek_hole;
// open(2): a file without a name; a descriptor that only stands for a path.
extern const int clinux_o_tmpfile;
extern const int clinux_o_path;
// fcntl(2): locks of an open file description.
extern const int clinux_ofd_get_lock;
extern const int clinux_ofd_set_lock;
extern const int clinux_ofd_set_lock_wait;
// ioctl_ficlonerange(2).
extern const unsigned long clinux_ficlone;

// Shares a range of `source` with the start of `target`. Returns 0, or -1 with errno.
int clinux_clone_range(int target, int source, uint64_t offset, uint64_t count);

// openat2(2): no component may be a symbolic link, and none may lead above the directory.
extern const uint64_t clinux_resolve_no_symlinks;
extern const uint64_t clinux_resolve_beneath;

// Returns a descriptor, or a negative errno.
int clinux_openat2(int directory, const char *path, int flags, mode_t mode, uint64_t resolve);

// Asks for dirty pages of a range to be written, without waiting.
int clinux_start_writeback(int descriptor, int64_t offset, int64_t count);

// A file in memory, closed on exec. Returns a descriptor, or a negative errno.
int clinux_memory_file(const char *name);

// Runs `program argument` of the PATH with `input` as its standard input, its error output thrown away, and collects
// its standard output. Waits `milliseconds` at most and kills the program then. Returns its exit status (128 and its
// signal where one ended it), or a negative errno: ETIMEDOUT, EMSGSIZE where it writes more than `capacity` bytes.
int clinux_run(const char *program, const char *argument, const char *input, unsigned char *output, size_t capacity,
               size_t *count, int milliseconds);

// Capabilities of capabilities(7), as bits of `clinux_limit_privileges`.
extern const uint64_t clinux_cap_sys_admin;
extern const uint64_t clinux_cap_dac_override;
extern const uint64_t clinux_cap_dac_read_search;
extern const uint64_t clinux_cap_fowner;
extern const uint64_t clinux_cap_chown;

// Gives up every capability but those of `keep`, in every thread of the process, and sets no_new_privs; no core file is
// written from now on. Returns 0, or a negative errno where a thread could not be reached.
int clinux_limit_privileges(uint64_t keep);

// Makes malloc(3) return large freed blocks to the kernel and share one heap among several threads. Without it the size
// from which a block has a mapping of its own grows with each block that is freed, up to 32 MiB, and a long-lived daemon
// keeps what one large artifact took. Heaps that threads have already stay: call it before most threads start.
void clinux_limit_heap(void);

// Processors that this process may use, by sched_getaffinity(2); at least 1.
int clinux_processor_count(void);
