#ifndef WEIGHTFS_CZSTD_H
#define WEIGHTFS_CZSTD_H

#include <zstd.h>
#include <zstd_errors.h>

#endif
