#ifndef WEIGHTFS_CZLIB_H
#define WEIGHTFS_CZLIB_H

#include <zlib.h>

// inflateInit2 is a macro with a cast of a size, which Swift does not import.
static inline int czlib_inflate_init(z_stream *stream, int window_bits) {
  return inflateInit2(stream, window_bits);
}

#endif
