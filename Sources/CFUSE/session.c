#define _GNU_SOURCE
#include "CFUSE.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

// Defined in passthrough.c.
int cfuse_negotiate_passthrough(struct fuse_conn_info *connection);

struct fuse_session *cfuse_session_new(const char *options, const struct fuse_lowlevel_ops *operations, void *user) {
  char *arguments[] = {"weightfs", "-o", (char *)options, NULL};
  struct fuse_args args = FUSE_ARGS_INIT(3, arguments);
  struct fuse_session *session = fuse_session_new(&args, operations, sizeof(*operations), user);
  fuse_opt_free_args(&args);
  return session;
}

int cfuse_session_loop(struct fuse_session *session, unsigned max_threads) {
  struct fuse_loop_config *config = fuse_loop_cfg_create();
  if (config == NULL) return -ENOMEM;
  fuse_loop_cfg_set_clone_fd(config, 1);
  fuse_loop_cfg_set_max_threads(config, max_threads);
  fuse_loop_cfg_set_idle_threads(config, max_threads);
  int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  return result;
}

// Each thread that answers reads keeps a buffer, which the destructor of a pthread key frees when the thread
// ends.
static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static size_t buffer_size;

static void make_buffer_key(void) {
  // Large enough for every READ: the kernel requests at most 256 pages.
  buffer_size = 256 * (size_t)sysconf(_SC_PAGESIZE);
  pthread_key_create(&buffer_key, free);
}

static char *thread_buffer(void) {
  pthread_once(&buffer_once, make_buffer_key);
  void *buffer = pthread_getspecific(buffer_key);
  if (buffer != NULL) return buffer;
  if (posix_memalign(&buffer, 4096, buffer_size) != 0) return NULL;
  if (pthread_setspecific(buffer_key, buffer) != 0) {
    free(buffer);
    return NULL;
  }
  return buffer;
}

// <linux/fs.h> since 6.14 (RWF_DONTCACHE): drop the pages that the read brings into the page cache.
#define DONTCACHE 0x00000080

static ssize_t read_part(int descriptor, char *buffer, size_t count, int64_t offset, int keep_pages) {
  // If the kernel or the file system does not support the flag, it is not tried again.
  static _Atomic int is_refused;
  if (!keep_pages && !is_refused) {
    struct iovec part = {.iov_base = buffer, .iov_len = count};
    ssize_t got = preadv2(descriptor, &part, 1, (off_t)offset, DONTCACHE);
    if (got >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)) return got;
    is_refused = 1;
  }
  return pread(descriptor, buffer, count, (off_t)offset);
}

void cfuse_reply_file(fuse_req_t request, int descriptor, int64_t offset, size_t count, int keep_pages) {
  char *buffer = thread_buffer();
  if (buffer == NULL) {
    fuse_reply_err(request, ENOMEM);
    return;
  }
  if (count > buffer_size) count = buffer_size;
  size_t done = 0;
  while (done < count) {
    ssize_t got = read_part(descriptor, buffer + done, count - done, offset + (int64_t)done, keep_pages);
    if (got < 0 && errno == EINTR) continue;
    // The caller guarantees that the bytes are present: a shorter file was truncated by another program.
    if (got <= 0) {
      fuse_reply_err(request, EIO);
      return;
    }
    done += (size_t)got;
  }
  fuse_reply_buf(request, buffer, done);
}

int cfuse_configure(struct fuse_conn_info *connection, unsigned max_background) {
  connection->max_background = max_background;
  connection->congestion_threshold = max_background * 3 / 4;
  connection->want |= connection->capable
                      & (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS
                         | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_CACHE_SYMLINKS);
  // At these sizes, copying from a thread's buffer is faster than splice.
  connection->want &= ~(unsigned)(FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_SPLICE_READ);
  return cfuse_negotiate_passthrough(connection);
}
