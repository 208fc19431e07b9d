
/*
 * TAP for the unit tests: each test program includes this once.
 *
 *   tap_plan(n)                       first of all
 *   tap_ok(cond, "name %d", ...)      one test point
 *   tap_is(got, want, "name", ...)    of ngx_str_t *, shown when they differ
 *   return tap_end();                 the exit status of main()
 *
 * tap_str("...") is a string in a block of its own, without a '\0' after it,
 * so that the sanitizers see a read beyond its end.
 */


#ifndef _NGX_XMPP_TAP_H_INCLUDED_
#define _NGX_XMPP_TAP_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <stdarg.h>
#include <stdio.h>
#include "ngx_xmpp_ctl_nginx.h"


#define tap_str(s)  tap_copy(tap_pool(), s, sizeof(s) - 1)


static ngx_uint_t   tap_planned, tap_done, tap_failed;
static ngx_pool_t  *tap_memory;


/* a pool for the strings of the test program; tap_end() frees it */

static ngx_inline ngx_pool_t *
tap_pool(void)
{
    if (tap_memory == NULL) {
        tap_memory = ngx_create_pool(0, NULL);
    }

    return tap_memory;
}


static ngx_inline ngx_str_t *
tap_copy(ngx_pool_t *pool, const char *s, size_t len)
{
    ngx_str_t  *str;

    str = ngx_palloc(pool, sizeof(ngx_str_t));
    str->data = ngx_pnalloc(pool, len);
    str->len = len;

    ngx_memcpy(str->data, s, len);

    return str;
}


static ngx_inline void
tap_plan(ngx_uint_t n)
{
    tap_planned = n;

    printf("1..%d\n", (int) n);
}


static ngx_inline ngx_uint_t
tap_ok(ngx_uint_t ok, const char *name, ...)
{
    va_list  args;

    printf("%sok %d - ", ok ? "" : "not ", (int) ++tap_done);

    va_start(args, name);
    vprintf(name, args);
    va_end(args);

    printf("\n");

    if (!ok) {
        tap_failed++;
    }

    fflush(stdout);

    return ok;
}


static ngx_inline void
tap_show(const char *what, ngx_str_t *s)
{
    size_t  i;

    printf("# %s \"", what);

    for (i = 0; s && i < s->len; i++) {
        printf(s->data[i] < 0x20 || s->data[i] > 0x7e ? "\\x%02x" : "%c",
               s->data[i]);
    }

    printf("\"\n");
}


/* NULL stands for "none": it equals NULL only */

static ngx_inline ngx_uint_t
tap_is(ngx_str_t *got, ngx_str_t *want, const char *name)
{
    ngx_uint_t  ok;

    ok = (got == NULL || want == NULL)
         ? got == want
         : got->len == want->len
           && ngx_memcmp(got->data, want->data, got->len) == 0;

    if (!tap_ok(ok, "%s", name)) {
        tap_show(got ? "got" : "got none", got);
        tap_show(want ? "want" : "want none", want);
    }

    return ok;
}


static ngx_inline int
tap_end(void)
{
    if (tap_memory) {
        ngx_destroy_pool(tap_memory);
    }

    return tap_failed || tap_done != tap_planned;
}


#endif /* _NGX_XMPP_TAP_H_INCLUDED_ */
