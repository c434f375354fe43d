// The least that a FUSE file system can cost: one file, `file`, which the kernel reads itself (passthrough).
//
//   floor BACKING MOUNTPOINT      serves in the foreground until it is unmounted
//
// Built with Sources/CFUSE, which knows how passthrough is spoken on older libfuse.
#define _GNU_SOURCE
#include "CFUSE.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct fuse_session *session;
static int backing_file;
static int backing;
static struct stat backing_status;

static void fill(fuse_ino_t node, struct stat *status) {
  memset(status, 0, sizeof *status);
  status->st_ino = node;
  status->st_nlink = 1;
  status->st_mode = node == FUSE_ROOT_ID ? S_IFDIR | 0555 : S_IFREG | 0444;
  if (node != FUSE_ROOT_ID) status->st_size = backing_status.st_size;
}

static void started(void *user, struct fuse_conn_info *connection) {
  (void)user;
  cfuse_configure(connection, 64);
}

static void look_up(fuse_req_t request, fuse_ino_t parent, const char *name) {
  struct fuse_entry_param entry = {.ino = 2, .attr_timeout = 3600, .entry_timeout = 3600};
  if (parent != FUSE_ROOT_ID || strcmp(name, "file") != 0) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fill(2, &entry.attr);
  fuse_reply_entry(request, &entry);
}

static void get_attributes(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file) {
  (void)file;
  struct stat status;
  fill(node, &status);
  fuse_reply_attr(request, &status, 3600);
}

static void open_file(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file) {
  (void)node;
  (void)file;
  if (backing == 0) backing = cfuse_backing_open(session, backing_file);
  if (backing < 0) {
    fuse_reply_err(request, -backing);
    return;
  }
  cfuse_reply_open(request, 1, 0, backing);
}

int main(int count, char **words) {
  if (count != 3) return 64;
  backing_file = open(words[1], O_RDONLY);
  if (backing_file < 0 || fstat(backing_file, &backing_status) != 0) {
    perror(words[1]);
    return 1;
  }
  struct fuse_lowlevel_ops operations = {
    .init = started, .lookup = look_up, .getattr = get_attributes, .open = open_file
  };
  session = cfuse_session_new("ro,fsname=floor", &operations, NULL);
  if (session == NULL || fuse_session_mount(session, words[2]) != 0) return 1;
  cfuse_session_prepare(session);
  printf("ready\n");
  fflush(stdout);
  int result = cfuse_session_loop(session, 4);
  fuse_session_unmount(session);
  return result == 0 ? 0 : 1;
}
