/*
 * A password becomes the keys that are stored of it.
 */


#ifndef _NGX_XMPP_KEYS_H_INCLUDED_
#define _NGX_XMPP_KEYS_H_INCLUDED_


/* of a password, in bytes, as xmppctl takes it */
#define NGX_XMPP_PASSWORD_MAX         1024


/*
 * keys: one text for each hash of SCRAM, in the order of ngx_xmpp_scram_hash_e,
 * as ngx_xmpp_scram_fields are stored, from the pool that was given; NULL: they
 * could not be made.
 */
typedef void (*ngx_xmpp_keys_pt)(void *data, ngx_str_t *keys);


/*
 * Prepares a password, text of any bytes, as at a login (RFC 4013).  Both, text
 * and *password, which is from pool, are wiped when pool ends.  NGX_OK;
 * NGX_DECLINED: it is empty, too long, or cannot be prepared; NGX_ERROR: no
 * memory.
 */
ngx_int_t ngx_xmpp_keys_password(ngx_pool_t *pool, ngx_str_t *text,
    ngx_str_t *password);

/*
 * Makes keys of a prepared password, which is copied, with new salts and so
 * many iterations: tens of milliseconds of CPU, in a thread.  Parks: NGX_AGAIN,
 * handler(data, keys) is called later, once, unless pool ends before: that
 * cancels it.  The handler may end pool.  NGX_ERROR: it is not called.
 */
ngx_int_t ngx_xmpp_keys_make(ngx_xmpp_worker_t *w, ngx_pool_t *pool,
    ngx_str_t *password, ngx_uint_t iterations, ngx_xmpp_keys_pt handler,
    void *data);


#endif /* _NGX_XMPP_KEYS_H_INCLUDED_ */
