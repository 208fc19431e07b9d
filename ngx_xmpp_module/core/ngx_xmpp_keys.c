/*
 * A password becomes the keys of SCRAM that are stored of it (RFC 5802, 3;
 * RFC 7677).
 *
 *     make --thread pool--> derived --> handler
 *       |                      |
 *       '--- the owner's pool ends: forgotten; nobody is told
 *
 * That takes tens of milliseconds and runs in a thread, as at a login by PLAIN.
 * The task has a pool of its own, which its completion frees: who has asked for
 * it only lets go of it.  Passwords are wiped wherever one has been.
 */


#include "ngx_xmpp.h"
#include "ngx_xmpp_precis.h"
#include <openssl/crypto.h>
#include <openssl/rand.h>


#define NGX_XMPP_KEYS_POOL            2048


typedef struct {
    ngx_pool_t              *pool;
    ngx_pool_t              *owner;
    ngx_pool_cleanup_t      *cleanup;         /* of the owner; NULL: it ended */
    ngx_xmpp_keys_pt         handler;
    void                    *data;
    ngx_str_t                password;
    ngx_xmpp_scram_keys_t    keys[NGX_XMPP_SCRAM_HASHES];
    ngx_int_t                rc;
} ngx_xmpp_keys_task_t;


static ngx_int_t ngx_xmpp_keys_wipe(ngx_pool_t *pool, ngx_str_t *secret);
static ngx_int_t ngx_xmpp_keys_fill(ngx_xmpp_keys_task_t *t,
    ngx_str_t *password, ngx_uint_t iterations);
static void ngx_xmpp_keys_thread(void *data, ngx_log_t *log);
static void ngx_xmpp_keys_completed(ngx_event_t *ev);
static ngx_str_t *ngx_xmpp_keys_text(ngx_xmpp_keys_task_t *t);
static void ngx_xmpp_keys_forget(void *data);
static void ngx_xmpp_keys_cleanse(void *data);


ngx_int_t
ngx_xmpp_keys_password(ngx_pool_t *pool, ngx_str_t *text, ngx_str_t *password)
{
    ngx_int_t  rc;

    ngx_str_null(password);

    if (ngx_xmpp_keys_wipe(pool, text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text->len == 0 || text->len > NGX_XMPP_PASSWORD_MAX) {
        return NGX_DECLINED;
    }

    rc = ngx_xmpp_saslprep(pool, text, password);

    if (rc != NGX_OK) {
        ngx_str_null(password);
        return rc;
    }

    if (ngx_xmpp_keys_wipe(pool, password) != NGX_OK) {
        return NGX_ERROR;
    }

    return password->len ? NGX_OK : NGX_DECLINED;
}


/* when pool ends */

static ngx_int_t
ngx_xmpp_keys_wipe(ngx_pool_t *pool, ngx_str_t *secret)
{
    ngx_str_t           *s;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_str_t));

    if (cln == NULL) {
        ngx_xmpp_keys_cleanse(secret);
        return NGX_ERROR;
    }

    s = cln->data;
    *s = *secret;

    cln->handler = ngx_xmpp_keys_cleanse;

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_keys_make(ngx_xmpp_worker_t *w, ngx_pool_t *pool, ngx_str_t *password,
    ngx_uint_t iterations, ngx_xmpp_keys_pt handler, void *data)
{
    ngx_pool_t            *own;
    ngx_thread_task_t     *task;
    ngx_pool_cleanup_t    *cln;
    ngx_xmpp_main_conf_t  *xmcf;
    ngx_xmpp_keys_task_t  *t;

    xmcf = ngx_stream_cycle_get_module_main_conf(w->cycle, ngx_xmpp_module);

    cln = ngx_pool_cleanup_add(pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    own = ngx_create_pool(NGX_XMPP_KEYS_POOL, w->log);
    if (own == NULL) {
        return NGX_ERROR;
    }

    task = ngx_thread_task_alloc(own, sizeof(ngx_xmpp_keys_task_t));
    if (task == NULL) {
        goto failed;
    }

    t = task->ctx;
    t->pool = own;
    t->owner = pool;
    t->cleanup = cln;
    t->handler = handler;
    t->data = data;
    t->rc = NGX_ERROR;

    if (ngx_xmpp_keys_fill(t, password, iterations) != NGX_OK) {
        goto failed;
    }

    task->handler = ngx_xmpp_keys_thread;
    task->event.handler = ngx_xmpp_keys_completed;
    task->event.data = t;
    task->event.log = w->log;

    if (ngx_thread_task_post(xmcf->thread_pool, task) != NGX_OK) {
        ngx_xmpp_keys_cleanse(&t->password);
        goto failed;
    }

    cln->handler = ngx_xmpp_keys_forget;
    cln->data = t;

    return NGX_AGAIN;

failed:

    ngx_destroy_pool(own);

    return NGX_ERROR;
}


/* what the derivation starts from */

static ngx_int_t
ngx_xmpp_keys_fill(ngx_xmpp_keys_task_t *t, ngx_str_t *password,
    ngx_uint_t iterations)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_XMPP_SCRAM_HASHES; i++) {

        t->keys[i].iterations = iterations;
        t->keys[i].salt_len = NGX_XMPP_SCRAM_SALT;

        if (RAND_bytes(t->keys[i].salt, NGX_XMPP_SCRAM_SALT) != 1) {
            return NGX_ERROR;
        }
    }

    t->password.len = password->len;
    t->password.data = ngx_pstrdup(t->pool, password);

    return t->password.data ? NGX_OK : NGX_ERROR;
}


/* in a thread: touches the task only */

static void
ngx_xmpp_keys_thread(void *data, ngx_log_t *log)
{
    ngx_xmpp_keys_task_t *t = data;

    ngx_uint_t  i;

    t->rc = NGX_OK;

    for (i = 0; i < NGX_XMPP_SCRAM_HASHES && t->rc == NGX_OK; i++) {

        /* nobody waits any more, or nginx stops and waits for its threads */

        if (t->cleanup == NULL || ngx_terminate) {
            t->rc = NGX_ERROR;
            break;
        }

        t->rc = ngx_xmpp_scram_derive(i, t->password.data, t->password.len,
                                      &t->keys[i]);
    }

    /* as in ngx_xmpp_sasl_plain.c: exit() may free first what this looks at */

    OPENSSL_thread_stop();
}


/* in the event loop again */

static void
ngx_xmpp_keys_completed(ngx_event_t *ev)
{
    void                  *data;
    ngx_str_t             *keys;
    ngx_xmpp_keys_pt       handler;
    ngx_xmpp_keys_task_t  *t;

    t = ev->data;
    handler = NULL;
    keys = NULL;
    data = NULL;

    if (t->cleanup) {
        t->cleanup->handler = NULL;

        handler = t->handler;
        data = t->data;

        if (t->rc == NGX_OK) {
            keys = ngx_xmpp_keys_text(t);
        }
    }

    OPENSSL_cleanse(t->keys, sizeof(t->keys));
    ngx_xmpp_keys_cleanse(&t->password);
    ngx_destroy_pool(t->pool);

    if (handler) {
        handler(data, keys);
    }
}


/* from the owner's pool; NULL: no memory */

static ngx_str_t *
ngx_xmpp_keys_text(ngx_xmpp_keys_task_t *t)
{
    ngx_str_t   *keys;
    ngx_uint_t   i;

    keys = ngx_palloc(t->owner, NGX_XMPP_SCRAM_HASHES * sizeof(ngx_str_t));
    if (keys == NULL) {
        return NULL;
    }

    for (i = 0; i < NGX_XMPP_SCRAM_HASHES; i++) {
        if (ngx_xmpp_scram_keys_format(t->owner, &t->keys[i], &keys[i])
            != NGX_OK)
        {
            return NULL;
        }
    }

    return keys;
}


/* the owner's pool ends while the thread works, or before it begins */

static void
ngx_xmpp_keys_forget(void *data)
{
    ngx_xmpp_keys_task_t *t = data;

    t->cleanup = NULL;
}


static void
ngx_xmpp_keys_cleanse(void *data)
{
    ngx_str_t *secret = data;

    if (secret->len) {
        OPENSSL_cleanse(secret->data, secret->len);
    }
}
