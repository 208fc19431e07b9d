/*
 * PLAIN (RFC 4616): the password is put through the stored key's PBKDF2,
 * which takes milliseconds and so runs in an nginx thread pool; an unknown
 * user's costs the same.
 *
 * The task has its own pool: when the client goes meanwhile, the exchange
 * only lets go of it, and the completion frees it.
 */


#include "ngx_xmpp_sasl.h"
#include "ngx_xmpp_precis.h"
#include <openssl/crypto.h>


struct ngx_xmpp_sasl_task_s {
    ngx_pool_t             *pool;
    ngx_xmpp_sasl_t        *sasl;          /* NULL: nobody waits any more */
    ngx_str_t               password;
    ngx_xmpp_scram_hash_e   hash;
    ngx_xmpp_scram_keys_t   stored;
    ngx_xmpp_scram_keys_t   derived;
    ngx_int_t               rc;
};


static void ngx_xmpp_sasl_plain_thread(void *data, ngx_log_t *log);
static void ngx_xmpp_sasl_plain_completed(ngx_event_t *ev);
static void ngx_xmpp_sasl_plain_forget(void *data);
static void ngx_xmpp_sasl_plain_cleanse(void *data);


ngx_int_t
ngx_xmpp_sasl_plain_step(ngx_xmpp_sasl_t *sasl, ngx_str_t *data)
{
    u_char              *p, *last;
    ngx_int_t            rc;
    ngx_str_t            authzid, name, password;
    ngx_pool_cleanup_t  *cln;

    /* message = [authzid] NUL authcid NUL passwd */

    p = data->data;
    last = p + data->len;

    authzid.data = p;

    while (p < last && *p) { p++; }

    authzid.len = p - authzid.data;

    if (p == last) {
        return NGX_XMPP_SASL_MALFORMED_REQUEST;
    }

    name.data = ++p;

    while (p < last && *p) { p++; }

    name.len = p - name.data;

    if (p == last) {
        return NGX_XMPP_SASL_MALFORMED_REQUEST;
    }

    password.data = ++p;
    password.len = last - p;

    if (name.len == 0 || password.len == 0
        || ngx_strlchr(password.data, last, '\0'))
    {
        return NGX_XMPP_SASL_MALFORMED_REQUEST;
    }

    /* for the log, should the password be refused before the name is seen */

    sasl->user = name;
    sasl->unnamed = 1;

    rc = ngx_xmpp_saslprep(sasl->pool, &password, &sasl->password);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return NGX_XMPP_SASL_NOT_AUTHORIZED;
    }

    cln = ngx_pool_cleanup_add(sasl->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_xmpp_sasl_plain_cleanse;
    cln->data = &sasl->password;

    return ngx_xmpp_sasl_lookup(sasl, &name, &authzid,
                             &ngx_xmpp_scram_fields[sasl->mechanism->hash]);
}


ngx_int_t
ngx_xmpp_sasl_plain_keys(ngx_xmpp_sasl_t *sasl, ngx_str_t *stored)
{
    ngx_pool_t            *pool;
    ngx_thread_pool_t     *tp;
    ngx_thread_task_t     *task;
    ngx_pool_cleanup_t    *cln;
    ngx_xmpp_main_conf_t  *xmcf;
    ngx_xmpp_sasl_task_t  *t;

    if (ngx_xmpp_sasl_scram_stored(sasl, stored) != NGX_OK) {
        return NGX_ERROR;
    }

    xmcf = ngx_stream_cycle_get_module_main_conf(
               sasl->stream->worker->cycle, ngx_xmpp_module);
    tp = xmcf->thread_pool;

    pool = ngx_create_pool(2048, sasl->stream->worker->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    task = ngx_thread_task_alloc(pool, sizeof(ngx_xmpp_sasl_task_t));
    cln = ngx_pool_cleanup_add(sasl->pool, 0);

    if (task == NULL || cln == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    t = task->ctx;
    t->pool = pool;
    t->sasl = sasl;
    t->hash = sasl->mechanism->hash;
    t->stored = sasl->scram.keys;

    /* what the derivation starts from */

    t->derived.iterations = t->stored.iterations;
    t->derived.salt_len = t->stored.salt_len;
    ngx_memcpy(t->derived.salt, t->stored.salt, t->stored.salt_len);

    t->password.len = sasl->password.len;
    t->password.data = ngx_pstrdup(pool, &sasl->password);

    if (t->password.data == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    task->handler = ngx_xmpp_sasl_plain_thread;
    task->event.handler = ngx_xmpp_sasl_plain_completed;
    task->event.data = t;
    task->event.log = sasl->stream->worker->log;

    if (ngx_thread_task_post(tp, task) != NGX_OK) {
        ngx_xmpp_sasl_plain_cleanse(&t->password);
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    cln->handler = ngx_xmpp_sasl_plain_forget;
    cln->data = t;
    sasl->task = t;

    return NGX_AGAIN;
}


/* in a thread: touches the task only */

static void
ngx_xmpp_sasl_plain_thread(void *data, ngx_log_t *log)
{
    ngx_xmpp_sasl_task_t *t = data;

    /*
     * Nobody waits any more: the client has gone while others had the
     * threads, or nginx stops and waits for them.
     */

    if (t->sasl == NULL || ngx_terminate) {
        t->rc = NGX_ERROR;
        return;
    }

    t->rc = ngx_xmpp_scram_derive(t->hash, t->password.data, t->password.len,
                                  &t->derived);

    /*
     * What OpenSSL keeps for this thread goes now: nginx does not wait for the
     * end of its threads, and exit() may free first what that would look at.
     */

    OPENSSL_thread_stop();
}


/* in the event loop again */

static void
ngx_xmpp_sasl_plain_completed(ngx_event_t *ev)
{
    ngx_int_t              rc;
    ngx_xmpp_sasl_t       *sasl;
    ngx_xmpp_sasl_task_t  *t;

    t = ev->data;
    sasl = t->sasl;

    rc = t->rc;

    if (rc == NGX_OK) {
        rc = ngx_xmpp_scram_keys_equal(&t->stored, &t->derived)
             ? NGX_DONE : NGX_XMPP_SASL_NOT_AUTHORIZED;
    }

    if (sasl) {
        sasl->task = NULL;

        if (sasl->unknown && rc == NGX_DONE) {
            rc = NGX_XMPP_SASL_NOT_AUTHORIZED;
        }
    }

    OPENSSL_cleanse(&t->derived, sizeof(ngx_xmpp_scram_keys_t));
    ngx_xmpp_sasl_plain_cleanse(&t->password);

    if (sasl) {
        ngx_xmpp_sasl_done(sasl, rc);
    }

    /* after the exchange, whose cleanup still looks at the task */

    ngx_destroy_pool(t->pool);
}


/* the exchange ends while the thread works, or after it */

static void
ngx_xmpp_sasl_plain_forget(void *data)
{
    ngx_xmpp_sasl_task_t *t = data;

    t->sasl = NULL;
}


static void
ngx_xmpp_sasl_plain_cleanse(void *data)
{
    ngx_str_t *secret = data;

    OPENSSL_cleanse(secret->data, secret->len);
}
