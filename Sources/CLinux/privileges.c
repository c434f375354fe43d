#define _GNU_SOURCE
#include "CLinux.h"

#include <dirent.h>
#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

const uint64_t clinux_cap_sys_admin = 1ULL << CAP_SYS_ADMIN;
const uint64_t clinux_cap_dac_override = 1ULL << CAP_DAC_OVERRIDE;
const uint64_t clinux_cap_dac_read_search = 1ULL << CAP_DAC_READ_SEARCH;
const uint64_t clinux_cap_fowner = 1ULL << CAP_FOWNER;
const uint64_t clinux_cap_chown = 1ULL << CAP_CHOWN;

// Capabilities belong to threads, so each thread drops its own: it runs a handler of a signal that Dispatch
// does not
// block in its threads.
static const int limiting_signal = SIGSYS;
static _Atomic uint64_t wanted;
static atomic_int answered;
static atomic_int failure;

static void limit_thread(void) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2];
  uint64_t keep = atomic_load(&wanted);
  if (syscall(SYS_capget, &header, data) != 0) {
    atomic_store(&failure, errno);
    return;
  }
  for (int index = 0; index < 2; index++) {
    uint32_t part = (uint32_t)(keep >> (32 * index));
    data[index].permitted &= part;
    data[index].effective = data[index].permitted;
    data[index].inheritable = 0;
  }
  if (syscall(SYS_capset, &header, data) != 0) atomic_store(&failure, errno);
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) atomic_store(&failure, errno);
}

static void limit_on_signal(int number) {
  (void)number;
  int error = errno;
  limit_thread();
  atomic_fetch_add(&answered, 1);
  errno = error;
}

static int is_known(const pid_t *known, size_t count, pid_t thread) {
  for (size_t index = 0; index < count; index++) {
    if (known[index] == thread) return 1;
  }
  return 0;
}

// Signals each thread that was not signalled before. Returns the number of these threads, or a negative
// errno.
static int reach_threads(pid_t **known, size_t *count) {
  DIR *folder = opendir("/proc/self/task");
  if (!folder) return -errno;
  int reached = 0;
  struct dirent *entry;
  while ((entry = readdir(folder))) {
    pid_t thread = (pid_t)atoi(entry->d_name);
    if (thread <= 0 || is_known(*known, *count, thread)) continue;
    pid_t *grown = realloc(*known, (*count + 1) * sizeof **known);
    if (!grown) {
      closedir(folder);
      return -ENOMEM;
    }
    *known = grown;
    grown[(*count)++] = thread;
    reached++;
    if (thread == (pid_t)syscall(SYS_gettid)) {
      limit_thread();
      continue;
    }
    int before = atomic_load(&answered);
    if (syscall(SYS_tgkill, getpid(), thread, limiting_signal) != 0) continue;  // it has ended
    // The signal interrupts a thread in a system call; two seconds are sufficient on a busy machine.
    int tries = 0;
    while (atomic_load(&answered) == before) {
      if (++tries > 2000) {
        if (syscall(SYS_tgkill, getpid(), thread, 0) != 0) break;
        closedir(folder);
        return -ETIMEDOUT;
      }
      struct timespec pause = {.tv_sec = 0, .tv_nsec = 1000000};
      nanosleep(&pause, NULL);
    }
  }
  closedir(folder);
  return reached;
}

int clinux_limit_privileges(uint64_t keep) {
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
  // ThreadSanitizer has its own thread, in which the signal would end the process.
  (void)keep;
  return 0;
#endif
#endif
  struct rlimit none = {0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return -errno;
  struct sigaction action, before;
  memset(&action, 0, sizeof action);
  action.sa_handler = limit_on_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  if (sigaction(limiting_signal, &action, &before) != 0) return -errno;
  atomic_store(&wanted, keep);
  atomic_store(&failure, 0);
  pid_t *known = NULL;
  size_t count = 0;
  int reached;
  // A thread that was not reached yet may create another one: repeat until a pass finds no new thread.
  do {
    reached = reach_threads(&known, &count);
  } while (reached > 0);
  free(known);
  sigaction(limiting_signal, &before, NULL);
  if (reached < 0) return reached;
  return -atomic_load(&failure);
}
