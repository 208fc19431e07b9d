
/*
 * nginx's core in small: pools and a few string functions.
 *
 * The sources in util/ and xml/ see nginx's headers only.  nginx itself is a
 * program and cannot be linked to, so its functions are written anew here,
 * with the same contracts.  A pool is two lists:
 *
 *   pool->large     one node for each allocation, which is one malloc(): the
 *                   address sanitizer sees the exact bounds of everything
 *   pool->cleanup   as in nginx
 *
 * and nothing is ever carved out of a bigger block.  ngx_xmpp_ctl_allocs
 * makes memory run out where a test wants it to.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_ctl_nginx.h"


static void *ngx_xmpp_ctl_malloc(size_t size);
static void ngx_xmpp_ctl_free_all(ngx_pool_t *pool);


ngx_int_t  ngx_xmpp_ctl_allocs = -1;

ngx_uint_t  ngx_pagesize = 4096;


/* an empty pool; size is not needed; NULL: no memory */

ngx_pool_t *
ngx_create_pool(size_t size, ngx_log_t *log)
{
    ngx_pool_t  *pool;

    pool = ngx_xmpp_ctl_malloc(sizeof(ngx_pool_t));
    if (pool == NULL) {
        return NULL;
    }

    ngx_memzero(pool, sizeof(ngx_pool_t));

    pool->log = log;

    return pool;
}


/* from the heap, freed by ngx_free(); NULL: no memory */

void *
ngx_alloc(size_t size, ngx_log_t *log)
{
    return ngx_xmpp_ctl_malloc(size);
}


/* runs the cleanups, the last one first, and frees everything */

void
ngx_destroy_pool(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t  *c;

    for (c = pool->cleanup; c; c = c->next) {
        if (c->handler) {
            c->handler(c->data);
        }
    }

    ngx_xmpp_ctl_free_all(pool);

    free(pool);
}


/* frees all allocations; as in nginx, cleanups do not run */

void
ngx_reset_pool(ngx_pool_t *pool)
{
    ngx_xmpp_ctl_free_all(pool);

    pool->cleanup = NULL;
}


/* size octets, aligned for every type; NULL: no memory */

void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    ngx_pool_large_t  *node;

    node = ngx_xmpp_ctl_malloc(sizeof(ngx_pool_large_t));
    if (node == NULL) {
        return NULL;
    }

    node->alloc = malloc(size ? size : 1);
    if (node->alloc == NULL) {
        free(node);
        return NULL;
    }

    node->next = pool->large;
    pool->large = node;

    return node->alloc;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    p = ngx_palloc(pool, size);

    if (p) {
        ngx_memzero(p, size);
    }

    return p;
}


/* frees one allocation of the pool; NGX_DECLINED: p is none */

ngx_int_t
ngx_pfree(ngx_pool_t *pool, void *p)
{
    ngx_pool_large_t  *node, **last;

    for (last = &pool->large; *last; last = &(*last)->next) {

        node = *last;

        if (node->alloc == p) {
            *last = node->next;

            free(node->alloc);
            free(node);

            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* a cleanup with size octets of data, its handler to be set by the caller */

ngx_pool_cleanup_t *
ngx_pool_cleanup_add(ngx_pool_t *pool, size_t size)
{
    ngx_pool_cleanup_t  *c;

    c = ngx_palloc(pool, sizeof(ngx_pool_cleanup_t));
    if (c == NULL) {
        return NULL;
    }

    c->data = NULL;

    if (size) {
        c->data = ngx_palloc(pool, size);
        if (c->data == NULL) {
            return NULL;
        }
    }

    c->handler = NULL;
    c->next = pool->cleanup;

    pool->cleanup = c;

    return c;
}


/* copies n octets in lower case; src and dst may be the same */

void
ngx_strlow(u_char *dst, u_char *src, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        dst[i] = ngx_tolower(src[i]);
    }
}


/* copies at most n - 1 octets of a string and ends it; returns its end */

u_char *
ngx_cpystrn(u_char *dst, u_char *src, size_t n)
{
    if (n == 0) {
        return dst;
    }

    for ( /* void */ ; n > 1 && *src; n--) {
        *dst++ = *src++;
    }

    *dst = '\0';

    return dst;
}


static void *
ngx_xmpp_ctl_malloc(size_t size)
{
    if (ngx_xmpp_ctl_allocs == 0) {
        return NULL;
    }

    if (ngx_xmpp_ctl_allocs > 0) {
        ngx_xmpp_ctl_allocs--;
    }

    return malloc(size);
}


static void
ngx_xmpp_ctl_free_all(ngx_pool_t *pool)
{
    ngx_pool_large_t  *node, *next;

    for (node = pool->large; node; node = next) {
        next = node->next;

        free(node->alloc);
        free(node);
    }

    pool->large = NULL;
}
