/*
 * What the Redis client says first on each connection, pipelined in one
 * write, before any other request:
 *
 *   AUTH [user] password    if there is one
 *   PING                    finds out a missing password and a server that
 *                           is loading its data
 *   CLIENT SETNAME name     if there is one
 *   SELECT db               unless 0
 *   ROLE                    finds out a replica: nobody hears an SPUBLISH
 *                           there, and nothing can be written
 *
 * To a sentinel: AUTH, then what is in ngx_xmpp_redis_sentinel.c.
 *
 * A step that is refused ends the connection; it is made anew after the
 * back-off, for what refuses now (a server that is loading, a replica that is
 * about to be promoted) may not do so later.
 */


#include "ngx_xmpp_redis_private.h"


static ngx_int_t ngx_xmpp_redis_setup_role(ngx_xmpp_redis_conn_t *conn,
    redisReply *reply);
static ngx_uint_t ngx_xmpp_redis_setup_optional(ngx_uint_t kind,
    ngx_str_t *text);
static char *ngx_xmpp_redis_setup_name(ngx_uint_t kind);
static void ngx_xmpp_redis_setup_refused(ngx_xmpp_redis_conn_t *conn,
    ngx_uint_t kind, ngx_str_t *text);


static ngx_str_t  ngx_xmpp_redis_auth = ngx_string("AUTH");
static ngx_str_t  ngx_xmpp_redis_ping = ngx_string("PING");
static ngx_str_t  ngx_xmpp_redis_client = ngx_string("CLIENT");
static ngx_str_t  ngx_xmpp_redis_setname = ngx_string("SETNAME");
static ngx_str_t  ngx_xmpp_redis_select = ngx_string("SELECT");
static ngx_str_t  ngx_xmpp_redis_role = ngx_string("ROLE");


/*
 * Queues the steps of a connection that is in the state "setup".  NGX_ERROR:
 * no memory.
 */
ngx_int_t
ngx_xmpp_redis_setup(ngx_xmpp_redis_conn_t *conn)
{
    u_char                  db[NGX_INT_T_LEN];
    ngx_str_t               argv[3];
    ngx_xmpp_redis_conf_t  *conf;

    conf = &conn->client->conf;
    conn->steps = 0;

    if (conn->sentinel) {
        return ngx_xmpp_redis_sentinel_setup(conn);
    }

    if (ngx_xmpp_redis_setup_auth(conn, &conf->user, &conf->password)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_xmpp_redis_setup_step(conn, ngx_xmpp_redis_req_setup_ping, 1,
                                  &ngx_xmpp_redis_ping)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (conf->name.len) {
        argv[0] = ngx_xmpp_redis_client;
        argv[1] = ngx_xmpp_redis_setname;
        argv[2] = conf->name;

        if (ngx_xmpp_redis_setup_step(conn, ngx_xmpp_redis_req_setup_name, 3,
                                      argv)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (conf->db) {
        argv[0] = ngx_xmpp_redis_select;
        argv[1].data = db;
        argv[1].len = ngx_sprintf(db, "%ui", conf->db) - db;

        if (ngx_xmpp_redis_setup_step(conn, ngx_xmpp_redis_req_setup_select, 2,
                                      argv)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_xmpp_redis_setup_step(conn, ngx_xmpp_redis_req_setup_role, 1,
                                     &ngx_xmpp_redis_role);
}


/* AUTH, if there is a password; NGX_ERROR: no memory */
ngx_int_t
ngx_xmpp_redis_setup_auth(ngx_xmpp_redis_conn_t *conn, ngx_str_t *user,
    ngx_str_t *password)
{
    ngx_str_t   argv[3];
    ngx_uint_t  n;

    if (password->len == 0) {
        return NGX_OK;
    }

    n = 0;
    argv[n++] = ngx_xmpp_redis_auth;

    if (user->len) {
        argv[n++] = *user;
    }

    argv[n++] = *password;

    return ngx_xmpp_redis_setup_step(conn, ngx_xmpp_redis_req_setup_auth, n,
                                     argv);
}


/* queues a command whose reply goes to ngx_xmpp_redis_setup_reply() */
ngx_int_t
ngx_xmpp_redis_setup_step(ngx_xmpp_redis_conn_t *conn, ngx_uint_t kind,
    ngx_uint_t argc, ngx_str_t *argv)
{
    ngx_xmpp_redis_req_t  *req;

    req = ngx_xmpp_redis_req_create(conn->client, kind, argc, argv);
    if (req == NULL) {
        return NGX_ERROR;
    }

    ngx_queue_insert_tail(&conn->setup, &req->queue);
    conn->steps++;

    return NGX_OK;
}


/*
 * The reply to one of the steps; the last one makes the connection ready.
 * The reply is the caller's.  NGX_ERROR: the connection is gone.
 */
ngx_int_t
ngx_xmpp_redis_setup_reply(ngx_xmpp_redis_conn_t *conn, ngx_uint_t kind,
    redisReply *reply)
{
    ngx_int_t  rc;
    ngx_str_t  text;

    rc = NGX_OK;

    if (reply->type == REDIS_REPLY_ERROR) {
        text.len = reply->len;
        text.data = (u_char *) reply->str;

        if (!ngx_xmpp_redis_setup_optional(kind, &text)) {
            ngx_xmpp_redis_setup_refused(conn, kind, &text);
            return NGX_ERROR;
        }

        ngx_log_error(NGX_LOG_INFO, conn->client->log, 0,
                      "xmpp redis \"%V\": %s is not permitted: \"%V\"",
                      &conn->client->conf.url, ngx_xmpp_redis_setup_name(kind),
                      &text);

    } else if (kind == ngx_xmpp_redis_req_setup_role) {
        rc = ngx_xmpp_redis_setup_role(conn, reply);

    } else if (kind == ngx_xmpp_redis_req_setup_master) {
        rc = ngx_xmpp_redis_sentinel_reply(conn, reply);
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    if (--conn->steps) {
        return NGX_OK;
    }

    return ngx_xmpp_redis_conn_ready(conn);
}


/* NGX_ERROR: it is no master, the connection is gone */

static ngx_int_t
ngx_xmpp_redis_setup_role(ngx_xmpp_redis_conn_t *conn, redisReply *reply)
{
    ngx_str_t    text;
    redisReply  *role;

    role = (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0)
           ? reply->element[0] : NULL;

    if (role == NULL || role->type != REDIS_REPLY_STRING) {
        ngx_str_set(&text, "not an answer to ROLE");
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_protocol, 0, &text);
        return NGX_ERROR;
    }

    if (role->len != 6 || ngx_memcmp(role->str, "master", 6) != 0) {
        text.len = role->len;
        text.data = (u_char *) role->str;

        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_replica, 0, &text);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* a name is for the eyes; ROLE and SUBSCRIBE may be withheld by an ACL */

static ngx_uint_t
ngx_xmpp_redis_setup_optional(ngx_uint_t kind, ngx_str_t *text)
{
    if (kind == ngx_xmpp_redis_req_setup_name) {
        return 1;
    }

    return (kind == ngx_xmpp_redis_req_setup_role
            || kind == ngx_xmpp_redis_req_setup_switch)
           && text->len >= 7
           && ngx_memcmp(text->data, "NOPERM ", 7) == 0;
}


static char *
ngx_xmpp_redis_setup_name(ngx_uint_t kind)
{
    switch (kind) {

    case ngx_xmpp_redis_req_setup_name:
        return "CLIENT SETNAME";

    case ngx_xmpp_redis_req_setup_role:
        return "ROLE";

    default: /* ngx_xmpp_redis_req_setup_switch */
        return "SUBSCRIBE +switch-master";
    }
}


static void
ngx_xmpp_redis_setup_refused(ngx_xmpp_redis_conn_t *conn, ngx_uint_t kind,
    ngx_str_t *text)
{
    ngx_xmpp_redis_reason_e  reason;

    reason = ngx_xmpp_redis_refused;

    if (text->len >= 8 && ngx_memcmp(text->data, "LOADING ", 8) == 0) {
        reason = ngx_xmpp_redis_loading;

    } else if (text->len >= 11
               && ngx_memcmp(text->data, "MASTERDOWN ", 11) == 0)
    {
        reason = ngx_xmpp_redis_replica;

    } else if (kind == ngx_xmpp_redis_req_setup_master
               && text->len >= 11
               && ngx_memcmp(text->data, "ERR unknown", 11) == 0)
    {
        reason = ngx_xmpp_redis_no_sentinel;

    } else if (kind == ngx_xmpp_redis_req_setup_auth
               && text->len >= 11
               && ngx_memcmp(text->data, "ERR unknown", 11) == 0)
    {
        /* it goes on with the arguments, the password */
        text->len = 11;
    }

    ngx_xmpp_redis_conn_lost(conn, reason, 0, text);
}
