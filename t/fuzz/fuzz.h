/*
 * What the fuzzers share: memory that ends where a string ends, so that the
 * address sanitizer sees each byte read behind it, and a check that stops.
 */


#ifndef _FUZZ_H_INCLUDED_
#define _FUZZ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define fuzz_check(ok)                                                        \
    if (!(ok)) {                                                              \
        abort();                                                              \
    }


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* a copy in a piece of memory of its own */

static inline ngx_str_t
fuzz_copy(ngx_pool_t *pool, const uint8_t *data, size_t size)
{
    ngx_str_t  s;

    s.len = size;
    s.data = ngx_pnalloc(pool, size);

    fuzz_check(s.data != NULL);

    if (size) {
        ngx_memcpy(s.data, data, size);
    }

    return s;
}


static inline ngx_uint_t
fuzz_equal(ngx_str_t *a, ngx_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || ngx_memcmp(a->data, b->data, a->len) == 0);
}


#endif /* _FUZZ_H_INCLUDED_ */
