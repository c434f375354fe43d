// Reads files as benchmarks do, and prints seconds.
//
//   reader seq PATH [OFFSET COUNT]   reads in pieces of 1 MiB
//   reader pread PATH SEED COUNT     reads of 4 KiB at random
//   reader fault PATH SEED COUNT     touches of a mapping at random, timed from when it is there
//   reader map PATH                  touches every page of a mapping, in order
//   reader maprandom PATH            the same with MADV_RANDOM
//   reader stride PATH ROWS RANK     reads the part of one rank of eight in each row, in pieces of 1 MiB
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;

static uint64_t next_random(void) {
  uint64_t value = (state += 0x9e3779b97f4a7c15ull);
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
  return value ^ (value >> 31);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

int main(int count, char **words) {
  if (count < 3) return 64;
  const char *mode = words[1];
  double start = now();
  int file = open(words[2], O_RDONLY);
  if (file < 0) fail(words[2]);
  struct stat status;
  if (fstat(file, &status) != 0) fail(words[2]);
  int64_t size = status.st_size;
  unsigned sum = 0;
  if (strcmp(mode, "seq") == 0) {
    int64_t position = count > 3 ? atoll(words[3]) : 0;
    int64_t end = count > 4 ? position + atoll(words[4]) : size;
    char *buffer = malloc(1 << 20);
    while (position < end) {
      ssize_t got = pread(file, buffer, 1 << 20, position);
      if (got <= 0) fail("pread");
      position += got;
      sum += (unsigned char)buffer[0];
    }
  } else if (strcmp(mode, "stride") == 0 && count > 4) {
    int64_t row = size / atoll(words[3]), part = row / 8;
    char *buffer = malloc(1 << 20);
    for (int64_t first = part * atoll(words[4]); first + part <= size; first += row) {
      for (int64_t position = first; position < first + part;) {
        int64_t left = first + part - position;
        ssize_t got = pread(file, buffer, left < 1 << 20 ? (size_t)left : 1 << 20, position);
        if (got <= 0) fail("pread");
        position += got;
        sum += (unsigned char)buffer[0];
      }
    }
  } else if (strcmp(mode, "pread") == 0 && count > 4) {
    state = strtoull(words[3], NULL, 10);
    char buffer[4096];
    for (int left = atoi(words[4]); left > 0; left--) {
      if (pread(file, buffer, sizeof buffer, (int64_t)(next_random() % (uint64_t)(size / 4096)) * 4096) <= 0) fail("pread");
      sum += (unsigned char)buffer[0];
    }
  } else {
    volatile unsigned char *map = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) fail("mmap");
    start = now();
    if (strcmp(mode, "fault") == 0 && count > 4) {
      madvise((void *)map, (size_t)size, MADV_NORMAL);
      state = strtoull(words[3], NULL, 10);
      for (int left = atoi(words[4]); left > 0; left--) sum += map[next_random() % (uint64_t)(size / 4096) * 4096];
    } else {
      if (strcmp(mode, "maprandom") == 0) madvise((void *)map, (size_t)size, MADV_RANDOM);
      for (int64_t at = 0; at < size; at += 4096) sum += map[at];
    }
  }
  printf("%.6f %u\n", now() - start, sum);
  return 0;
}
