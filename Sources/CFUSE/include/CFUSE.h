#pragma once
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <stdint.h>

// Creates a session from mount options in the syntax of FUSE ("ro,allow_other"). Returns NULL if libfuse
// rejects them;
// libfuse prints the reason to standard error.
struct fuse_session *cfuse_session_new(const char *options, const struct fuse_lowlevel_ops *operations, void *user);

// Prepares the session for negotiating passthrough. Must be called after the mount and before the loop.
// Returns 0, or
// a negative errno if this libfuse does not support it.
int cfuse_session_prepare(struct fuse_session *session);

// Serves requests on several threads, each with its own channel, until the session ends.
int cfuse_session_loop(struct fuse_session *session, unsigned max_threads);

// Answers a read with a range of a file, copied through a buffer of the thread. If `keep_pages` is 0, the
// pages of the
// file are dropped from the page cache afterwards, if the kernel supports it: the reader's own cache has the
// bytes.
void cfuse_reply_file(fuse_req_t request, int descriptor, int64_t offset, size_t count, int keep_pages);

// Requests connection settings that are bit-fields or differ between versions of libfuse. Called from `init`.
// Returns 1
// if the kernel supports passthrough, else 0.
int cfuse_configure(struct fuse_conn_info *connection, unsigned max_background);

// Registers a backing file. Returns its number, or a negative errno.
int cfuse_backing_open(struct fuse_session *session, int descriptor);
void cfuse_backing_close(struct fuse_session *session, int backing);

// Answers an open; `backing` is 0 if the daemon serves the reads. Returns a nonzero value if the kernel has
// dropped the
// request, so that no release will follow.
int cfuse_reply_open(fuse_req_t request, uint64_t handle, int keep_cache, int backing);
