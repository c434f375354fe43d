#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now_milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

// A file in memory as standard input: unlike a pipe it cannot fill up, or cause SIGPIPE if the program does
// not read it.
static int input_file(const char *input) {
  int file = memfd_create("weightfs-input", MFD_CLOEXEC);
  if (file < 0) return -errno;
  size_t length = strlen(input);
  if (write(file, input, length) != (ssize_t)length || lseek(file, 0, SEEK_SET) != 0) {
    close(file);
    return -EIO;
  }
  return file;
}

static int start(const char *program, const char *argument, int input, int output, pid_t *child) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawnattr_init(&attributes);
  // Threads may block signals and the daemon ignores some: the program gets the signal settings of a shell,
  // and its own
  // process group, so that its children end with it.
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  char *words[] = {(char *)program, (char *)argument, NULL};
  int result = posix_spawnp(child, program, &actions, &attributes, words, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  return -result;
}

// A program that is being replaced, or that a child of another thread still holds open for writing, is busy for a
// moment (execve(2), ETXTBSY).
static int start_when_free(const char *program, const char *argument, int input, int output, pid_t *child) {
  long long end = now_milliseconds() + 1000;
  int result;
  while ((result = start(program, argument, input, output, child)) == -ETXTBSY && now_milliseconds() < end)
    poll(NULL, 0, 20);
  return result;
}

// Reads until the end, the capacity or the deadline. Returns 0 or a negative errno.
static int collect(int file, unsigned char *output, size_t capacity, size_t *count, long long end) {
  for (;;) {
    long long left = end - now_milliseconds();
    if (left <= 0) return -ETIMEDOUT;
    struct pollfd entry = {.fd = file, .events = POLLIN};
    int ready = poll(&entry, 1, (int)left);
    if (ready < 0 && errno == EINTR) continue;
    if (ready < 0) return -errno;
    if (ready == 0) return -ETIMEDOUT;
    unsigned char surplus;
    int is_full = *count == capacity;
    ssize_t got = read(file, is_full ? &surplus : output + *count, is_full ? 1 : capacity - *count);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return -errno;
    if (got == 0) return 0;
    if (is_full) return -EMSGSIZE;
    *count += (size_t)got;
  }
}

// Waits for the end of a program that has closed its output, and kills it at the deadline.
static int wait_for(pid_t child, long long end) {
  int status = 0;
  for (;;) {
    pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child) return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (ended < 0 && errno != EINTR) return -errno;
    if (now_milliseconds() >= end) return -ETIMEDOUT;
    struct timespec pause = {.tv_sec = 0, .tv_nsec = 2000000};
    nanosleep(&pause, NULL);
  }
}

int clinux_run(const char *program, const char *argument, const char *input, unsigned char *output, size_t capacity,
               size_t *count, int milliseconds) {
  *count = 0;
  int file = input_file(input);
  if (file < 0) return file;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    int error = errno;
    close(file);
    return -error;
  }
  pid_t child = 0;
  int result = start_when_free(program, argument, file, ends[1], &child);
  close(file);
  close(ends[1]);
  if (result == 0) {
    long long end = now_milliseconds() + milliseconds;
    result = collect(ends[0], output, capacity, count, end);
    if (result == 0) result = wait_for(child, end);
    if (result == -ETIMEDOUT || result == -EMSGSIZE) {
      kill(-child, SIGKILL);
      waitpid(child, NULL, 0);
    } else if (result < 0) {
      kill(-child, SIGKILL);
      waitpid(child, NULL, WNOHANG);
    }
  }
  close(ends[0]);
  return result;
}
