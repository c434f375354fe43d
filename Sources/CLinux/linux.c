#define _GNU_SOURCE
#include "CLinux.h"

#include <sched.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <malloc.h>
#include <unistd.h>

const int clinux_seek_data = SEEK_DATA;
const int clinux_seek_hole = SEEK_HOLE;
const int clinux_o_tmpfile = O_TMPFILE;
const int clinux_o_path = O_PATH;
const int clinux_ofd_get_lock = F_OFD_GETLK;
const int clinux_ofd_set_lock = F_OFD_SETLK;
const int clinux_ofd_set_lock_wait = F_OFD_SETLKW;
const unsigned long clinux_ficlone = FICLONE;
const uint64_t clinux_resolve_no_symlinks = RESOLVE_NO_SYMLINKS;
const uint64_t clinux_resolve_beneath = RESOLVE_BENEATH;

int clinux_openat2(int directory, const char *path, int flags, mode_t mode, uint64_t resolve) {
  struct open_how how = {.flags = (uint64_t)(unsigned)flags, .mode = mode, .resolve = resolve};
  long result = syscall(SYS_openat2, directory, path, &how, sizeof how);
  return result < 0 ? -errno : (int)result;
}

int clinux_start_writeback(int descriptor, int64_t offset, int64_t count) {
  return sync_file_range(descriptor, offset, count, SYNC_FILE_RANGE_WRITE);
}

int clinux_memory_file(const char *name) {
  int result = memfd_create(name, MFD_CLOEXEC);
  return result < 0 ? -errno : result;
}

void clinux_limit_heap(void) {
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 1 << 20);
  mallopt(M_ARENA_MAX, 4);
}

int clinux_processor_count(void) {
  cpu_set_t set;
  // The call fails with more processors than a cpu_set_t holds (1024): then one processor is assumed.
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  int count = CPU_COUNT(&set);
  return count > 0 ? count : 1;
}

int clinux_clone_range(int target, int source, uint64_t offset, uint64_t count) {
  struct file_clone_range range = {.src_fd = source, .src_offset = offset, .src_length = count, .dest_offset = 0};
  return ioctl(target, FICLONERANGE, &range);
}
