#pragma once
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <stdint.h>

// Makes a session from mount options in fuse's own spelling ("ro,allow_other"). NULL where they are not understood;
// libfuse says why on standard error.
struct fuse_session *cfuse_session_new(const char *options, const struct fuse_lowlevel_ops *operations, void *user);

// Makes the session able to negotiate passthrough. Called after the mount and before the loop. Returns 0, or a
// negative errno where this libfuse cannot.
int cfuse_session_prepare(struct fuse_session *session);

// Serves requests on several threads, each with a channel of its own, until the session ends.
int cfuse_session_loop(struct fuse_session *session, unsigned max_threads);

// Answers a read with a range of a file, copied through a buffer that the thread keeps. With `keep_pages` 0 the pages
// that are read in for it are let go of again, where the kernel can: the reader's own cache has them.
void cfuse_reply_file(fuse_req_t request, int descriptor, int64_t offset, size_t count, int keep_pages);

// Asks for connection settings that are bit-fields or shared by versions of libfuse. Called from `init`. Returns 1
// where the kernel reads backing files itself (passthrough), else 0.
int cfuse_configure(struct fuse_conn_info *connection, unsigned max_background);

// Registers a file that the kernel may read itself. Returns its number, or a negative errno.
int cfuse_backing_open(struct fuse_session *session, int descriptor);
void cfuse_backing_close(struct fuse_session *session, int backing);

// Answers an open; `backing` is 0 where reads come to the daemon. Not 0 where the kernel does not want the answer any
// more, so that no release will come.
int cfuse_reply_open(fuse_req_t request, uint64_t handle, int keep_cache, int backing);
