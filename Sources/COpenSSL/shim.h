#pragma once
// Only the functions of one algorithm give access to the state of a digest between blocks, and OpenSSL 3
// marks these as
// deprecated (docs/decisions/0013).
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>
