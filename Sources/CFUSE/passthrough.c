// Passthrough (FUSE_PASSTHROUGH, Linux 6.9): the kernel reads a registered file without the daemon.
//
// libfuse supports it since 3.17. Earlier versions have only 32 flag bits, so the answer to INIT is completed
// before
// it is written, and the answer to OPEN is encoded here (linux/fuse.h, struct fuse_init_out, fuse_open_out).
#define _GNU_SOURCE
#include "CFUSE.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <fcntl.h>
#include <unistd.h>

struct backing_map {
  int32_t descriptor;
  uint32_t flags;
  uint64_t padding;
};

#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

int cfuse_backing_open(struct fuse_session *session, int descriptor) {
  struct backing_map map = {.descriptor = descriptor};
  int backing = ioctl(fuse_session_fd(session), BACKING_OPEN, &map);
  if (backing < 0) return -errno;
  // In an answer to OPEN, 0 means no backing file.
  return backing > 0 ? backing : -EBADF;
}

void cfuse_backing_close(struct fuse_session *session, int backing) {
  uint32_t number = (uint32_t)backing;
  ioctl(fuse_session_fd(session), BACKING_CLOSE, &number);
}

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)

int cfuse_session_prepare(struct fuse_session *session) {
  (void)session;
  return 0;
}

int cfuse_negotiate_passthrough(struct fuse_conn_info *connection) {
  if (!fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH)) return 0;
  connection->max_backing_stack_depth = 1;
  return 1;
}

int cfuse_reply_open(fuse_req_t request, uint64_t handle, int keep_cache, int backing) {
  struct fuse_file_info information = {0};
  information.fh = handle;
  information.keep_cache = backing == 0 && keep_cache;
  information.backing_id = backing;
  return fuse_reply_open(request, &information);
}

#else

enum {
  opcode_init = 26,
  init_ext = 1 << 30,
  init2_passthrough = 1 << 5,
  open_keep_cache = 1 << 1,
  open_passthrough = 1 << 7,
};

struct in_header {
  uint32_t length;
  uint32_t opcode;
  uint64_t unique;
  uint64_t node;
  uint32_t caller[3];
  uint32_t extensions;
};

struct init_in {
  uint32_t version[2];
  uint32_t readahead;
  uint32_t flags;
  uint32_t flags2;
};

struct out_header {
  uint32_t length;
  int32_t error;
  uint64_t unique;
};

struct init_out {
  uint32_t version[2];
  uint32_t readahead;
  uint32_t flags;
  uint16_t background[2];
  uint32_t write;
  uint32_t granularity;
  uint16_t pages[2];
  uint32_t flags2;
  uint32_t stack_depth;
  uint32_t unused[6];
};

struct open_out {
  uint64_t handle;
  uint32_t flags;
  int32_t backing;
};

// INIT is read, handled and answered on the same thread.
static _Thread_local struct {
  uint64_t unique;
  int is_offered;
  int is_wanted;
} init;

static ssize_t io_read(int descriptor, void *buffer, size_t count, void *user) {
  (void)user;
  ssize_t got = read(descriptor, buffer, count);
  struct in_header header;
  if (got < (ssize_t)sizeof(header)) return got;
  memcpy(&header, buffer, sizeof(header));
  if (header.opcode != opcode_init) return got;
  struct init_in in = {0};
  if (got >= (ssize_t)(sizeof(header) + sizeof(in))) memcpy(&in, (char *)buffer + sizeof(header), sizeof(in));
  init.unique = header.unique;
  init.is_wanted = 0;
  init.is_offered = (in.flags & init_ext) != 0 && (in.flags2 & init2_passthrough) != 0;
  return got;
}

static ssize_t io_writev(int descriptor, struct iovec *parts, int count, void *user) {
  (void)user;
  if (!init.is_wanted || count < 2 || parts[0].iov_len != sizeof(struct out_header))
    return writev(descriptor, parts, count);
  struct out_header header;
  memcpy(&header, parts[0].iov_base, sizeof(header));
  if (header.unique != init.unique || header.error != 0 || parts[1].iov_len != sizeof(struct init_out))
    return writev(descriptor, parts, count);
  init.is_wanted = 0;
  struct init_out out;
  memcpy(&out, parts[1].iov_base, sizeof(out));
  out.flags |= init_ext;
  out.flags2 |= init2_passthrough;
  out.stack_depth = 1;
  struct iovec patched[2] = {parts[0], {.iov_base = &out, .iov_len = sizeof(out)}};
  return writev(descriptor, patched, 2);
}

static ssize_t io_splice_receive(
  int in, off_t *in_offset, int out, off_t *out_offset, size_t count, unsigned flags, void *user
) {
  (void)user;
  return splice(in, in_offset, out, out_offset, count, flags);
}

static ssize_t io_splice_send(
  int in, off_t *in_offset, int out, off_t *out_offset, size_t count, unsigned flags, void *user
) {
  (void)user;
  return splice(in, in_offset, out, out_offset, count, flags);
}

int cfuse_session_prepare(struct fuse_session *session) {
  static const struct fuse_custom_io io = {
    .writev = io_writev, .read = io_read, .splice_receive = io_splice_receive, .splice_send = io_splice_send
  };
  return fuse_session_custom_io(session, &io, fuse_session_fd(session));
}

int cfuse_negotiate_passthrough(struct fuse_conn_info *connection) {
  (void)connection;
  init.is_wanted = init.is_offered;
  return init.is_wanted;
}

int cfuse_reply_open(fuse_req_t request, uint64_t handle, int keep_cache, int backing) {
  if (backing == 0) {
    struct fuse_file_info information = {0};
    information.fh = handle;
    information.keep_cache = keep_cache != 0;
    return fuse_reply_open(request, &information);
  }
  // Not combined with KEEP_CACHE, as the pages are those of the backing file.
  struct open_out out = {.handle = handle, .flags = open_passthrough, .backing = backing};
  return fuse_reply_buf(request, (const char *)&out, sizeof(out));
}

#endif
