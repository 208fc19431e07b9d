/*
 * What a session's client has asked for that concerns routing, as letters in
 * its record: whoever sends to the account decides by them in the recipient's
 * slot (cluster.md, "What an account has in Redis").  docs/redis-schema.md has
 * the list of letters.
 *
 *     not set --ask--> under way --ok--> set, and the iq is answered
 *                          |
 *                          '-- Redis is away, fenced --> error wait, not set
 *
 * The session keeps a copy, from which the record is put back when Redis lost
 * it.  The iq that asks is parked meanwhile, so there is one change at a time;
 * a client that goes takes nothing away, since the stanza keeps the session.
 */


#include "ngx_xmpp.h"


typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_session_t    record;
    ngx_str_t                   flags;          /* as they will be */
    u_char                      flag;
    u_char                      data[NGX_XMPP_STORE_FLAGS];
    unsigned                    on:1;
} ngx_xmpp_session_flag_ctx_t;


static void ngx_xmpp_session_flag_change(ngx_str_t *flags, u_char flag,
    ngx_uint_t on);
static void ngx_xmpp_session_flag_done(void *data,
    ngx_xmpp_store_result_t *res);


/* 1 when it is set */

ngx_uint_t
ngx_xmpp_session_flag(ngx_xmpp_session_t *xs, u_char flag)
{
    return ngx_strlchr(xs->flags.data, xs->flags.data + xs->flags.len, flag)
           != NULL;
}


/*
 * Notes in the session what a Function has already written to its record.
 */

void
ngx_xmpp_session_set_flag(ngx_xmpp_session_t *xs, u_char flag, ngx_uint_t on)
{
    ngx_xmpp_session_flag_change(&xs->flags, flag, on);
}


/*
 * The whole of an iq that asks for it, a handler's return value: one Function
 * sets it or takes it away in the record, then an empty result is sent.  When
 * it is so already, it is answered at once.
 */

ngx_int_t
ngx_xmpp_session_ask_flag(ngx_xmpp_stanza_t *stz, u_char flag, ngx_uint_t on)
{
    ngx_xmpp_session_t           *xs;
    ngx_xmpp_session_flag_ctx_t  *ctx;

    xs = stz->session;

    if (ngx_xmpp_session_flag(xs, flag) == on) {
        return ngx_xmpp_reply(stz, NULL);
    }

    ctx = ngx_palloc(stz->pool, sizeof(ngx_xmpp_session_flag_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->stanza = stz;
    ctx->flag = flag;
    ctx->on = on;

    ctx->flags.len = xs->flags.len;
    ctx->flags.data = ctx->data;
    ngx_memcpy(ctx->data, xs->flags.data, xs->flags.len);

    ngx_xmpp_session_flag_change(&ctx->flags, flag, on);

    ngx_xmpp_session_record(xs, &ctx->record);
    ctx->record.flags = &ctx->flags;

    if (ngx_xmpp_store_flags(xs->worker->store, stz->pool, &ctx->record,
                             ngx_xmpp_session_flag_done, ctx)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_session_flag_change(ngx_str_t *flags, u_char flag, ngx_uint_t on)
{
    u_char  *p;

    p = ngx_strlchr(flags->data, flags->data + flags->len, flag);

    if (on && p == NULL && flags->len < NGX_XMPP_STORE_FLAGS) {
        flags->data[flags->len++] = flag;

    } else if (!on && p) {
        *p = flags->data[--flags->len];
    }
}


static void
ngx_xmpp_session_flag_done(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_session_flag_ctx_t *ctx = data;

    ngx_xmpp_stanza_t   *stz;
    ngx_xmpp_session_t  *xs;

    stz = ctx->stanza;
    xs = stz->session;

    if (res->rc == NGX_DECLINED) {

        /* the record is another's by now, or was lost: that decides */

        ngx_xmpp_session_reassert(xs);
    }

    /* asked again it does no harm, so what is unknown may be told */

    if (res->rc != NGX_OK) {
        ngx_xmpp_stanza_resume(stz, NGX_XMPP_E_RESOURCE_CONSTRAINT);
        return;
    }

    ngx_xmpp_session_set_flag(xs, ctx->flag, ctx->on);
    ngx_xmpp_stanza_resume(stz, ngx_xmpp_reply(stz, NULL));
}
