#pragma once
#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <stdint.h>

// Makes a session from mount options in fuse's own spelling ("ro,allow_other"). NULL where they are not understood;
// libfuse says why on standard error.
struct fuse_session *cfuse_session_new(const char *options, const struct fuse_lowlevel_ops *operations, void *user);

// Serves requests on several threads, each with a channel of its own, until the session ends.
int cfuse_session_loop(struct fuse_session *session, unsigned max_threads);

// Answers a read with a range of a file, copied through a buffer that the thread keeps.
void cfuse_reply_file(fuse_req_t request, int descriptor, int64_t offset, size_t count);

// Asks for connection settings that are bit-fields or shared by versions of libfuse.
void cfuse_configure(struct fuse_conn_info *connection, unsigned max_background);
