#pragma once
// The state of a digest between two blocks is to be had from the functions of one algorithm alone, which OpenSSL 3 calls
// deprecated (docs/decisions/0013).
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
