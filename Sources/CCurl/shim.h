#pragma once
// Declares handles as distinct opaque pointer types rather than void *.
#define CURL_STRICTER
#include <curl/curl.h>

// Swift cannot call variadic C functions, so there is one function for each type of argument. The parentheses
// around
// the names disable the type-checking macros of <curl/typecheck-gcc.h>.
static inline CURLcode ccurl_set_long(CURL *handle, CURLoption option, long value) {
  return (curl_easy_setopt)(handle, option, value);
}
static inline CURLcode ccurl_set_string(CURL *handle, CURLoption option, const char *value) {
  return (curl_easy_setopt)(handle, option, value);
}
static inline CURLcode ccurl_set_pointer(CURL *handle, CURLoption option, void *value) {
  return (curl_easy_setopt)(handle, option, value);
}
static inline CURLcode ccurl_set_list(CURL *handle, CURLoption option, struct curl_slist *value) {
  return (curl_easy_setopt)(handle, option, value);
}
static inline CURLcode ccurl_set_data_callback(CURL *handle, CURLoption option, curl_write_callback value) {
  return (curl_easy_setopt)(handle, option, value);
}
static inline CURLcode ccurl_set_prereq_callback(CURL *handle, curl_prereq_callback value) {
  return (curl_easy_setopt)(handle, CURLOPT_PREREQFUNCTION, value);
}
static inline CURLMcode ccurl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
  return (curl_multi_setopt)(multi, option, value);
}
static inline CURLcode ccurl_get_long(CURL *handle, CURLINFO key, long *value) {
  return (curl_easy_getinfo)(handle, key, value);
}
static inline CURLcode ccurl_get_pointer(CURL *handle, CURLINFO key, void **value) {
  return (curl_easy_getinfo)(handle, key, value);
}
