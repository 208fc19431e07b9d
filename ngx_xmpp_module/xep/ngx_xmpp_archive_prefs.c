/*
 * What a user wants to be archived (XEP-0441): by default, and of whom always
 * or never.
 *
 *     get --Function--> answered
 *     set --JIDs prepared, counted--> Function --> answered with what is so now
 *
 * They hold for what comes from then on.  The Functions that archive look at
 * them; this worker keeps nothing.  An iq waits parked for its one request, and
 * all of it lies in the stanza's pool.
 */


#include "ngx_xmpp_archive.h"


/* JIDs in both lists, at most */
#define NGX_XMPP_ARCHIVE_JIDS         1000


typedef struct {
    ngx_xmpp_stanza_t           *stanza;
    ngx_xmpp_store_session_t     record;
    ngx_xmpp_store_archiving_t   store;
    ngx_uint_t                   n;             /* JIDs in both lists */
} ngx_xmpp_archive_prefs_t;


static void ngx_xmpp_archive_prefs_got(void *data,
    ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_archive_prefs_default(ngx_xmpp_archive_prefs_t *ap);
static ngx_int_t ngx_xmpp_archive_prefs_jids(ngx_xmpp_archive_prefs_t *ap,
    const char *name, ngx_str_t *lines);
static void ngx_xmpp_archive_prefs_stored(void *data,
    ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_archive_prefs_answer(ngx_xmpp_archive_prefs_t *ap);
static ngx_int_t ngx_xmpp_archive_prefs_list(ngx_pool_t *pool,
    ngx_xmpp_xml_t *prefs, const char *name, ngx_str_t *lines);


/* in the order of their letters */
static ngx_str_t  ngx_xmpp_archive_prefs_defaults[] = {
    ngx_string("always"),
    ngx_string("never"),
    ngx_string("roster"),
    ngx_null_string
};


ngx_int_t
ngx_xmpp_archive_prefs_get(ngx_xmpp_stanza_t *stz)
{
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_archive_prefs_t  *ap;

    xs = stz->session;

    ap = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_archive_prefs_t));
    if (ap == NULL) {
        return NGX_ERROR;
    }

    ap->stanza = stz;

    ngx_xmpp_session_record(xs, &ap->record);

    if (ngx_xmpp_store_archiving_get(xs->worker->store, stz->pool,
                                     &ap->record, ngx_xmpp_archive_prefs_got,
                                     ap)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


static void
ngx_xmpp_archive_prefs_got(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_archive_prefs_t *ap = data;

    ngx_int_t    rc;
    ngx_str_t   *value[3];
    redisReply  *r;
    ngx_uint_t   i;

    rc = ngx_xmpp_reply_stored(ap->stanza, res);

    value[0] = &ap->store.standard;
    value[1] = &ap->store.always;
    value[2] = &ap->store.never;

    for (i = 0; rc == NGX_OK && i < 3; i++) {
        r = (res->reply->elements > 3 + i) ? res->reply->element[3 + i] : NULL;

        if (r == NULL || r->type != REDIS_REPLY_STRING) {
            rc = NGX_ERROR;
            break;
        }

        value[i]->data = (u_char *) r->str;
        value[i]->len = r->len;
    }

    if (rc == NGX_OK) {
        rc = ngx_xmpp_archive_prefs_answer(ap);
    }

    ngx_xmpp_stanza_resume(ap->stanza, rc);
}


ngx_int_t
ngx_xmpp_archive_prefs_set(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t                  rc;
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_archive_prefs_t  *ap;

    xs = stz->session;

    ap = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_archive_prefs_t));
    if (ap == NULL) {
        return NGX_ERROR;
    }

    ap->stanza = stz;

    rc = ngx_xmpp_archive_prefs_default(ap);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_archive_prefs_jids(ap, "always", &ap->store.always);
    }

    if (rc == NGX_OK) {
        rc = ngx_xmpp_archive_prefs_jids(ap, "never", &ap->store.never);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_xmpp_session_record(xs, &ap->record);

    if (ngx_xmpp_store_archiving_set(xs->worker->store, stz->pool,
                                     &ap->record, &ap->store,
                                     ngx_xmpp_archive_prefs_stored, ap)
        == NULL)
    {
        return NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    return NGX_AGAIN;
}


/* 2.1.1: one of three */

static ngx_int_t
ngx_xmpp_archive_prefs_default(ngx_xmpp_archive_prefs_t *ap)
{
    ngx_str_t  *value, *name;

    value = ngx_xmpp_xml_attr(ngx_xmpp_stanza_payload(ap->stanza), "default");

    for (name = ngx_xmpp_archive_prefs_defaults; value && name->len; name++) {
        if (ngx_xmpp_str_eq(value, name)) {
            ap->store.standard.data = name->data;
            ap->store.standard.len = 1;

            return NGX_OK;
        }
    }

    return ngx_xmpp_refuse(ap->stanza, NGX_XMPP_E_BAD_REQUEST,
                           "The default is always, never or roster.");
}


/* 2.1.2, 2.1.3: prepared JIDs as lines; without the list it is empty */

static ngx_int_t
ngx_xmpp_archive_prefs_jids(ngx_xmpp_archive_prefs_t *ap, const char *name,
    ngx_str_t *lines)
{
    u_char             *p;
    ngx_int_t           rc;
    ngx_str_t           text;
    ngx_array_t         jids;
    ngx_uint_t          i;
    ngx_xmpp_jid_t     *jid;
    ngx_xmpp_xml_t     *list, *e;
    ngx_xmpp_stanza_t  *stz;

    stz = ap->stanza;
    list = ngx_xmpp_xml_child(ngx_xmpp_stanza_payload(stz), name,
                              &ngx_xmpp_archive_ns);

    if (list == NULL) {
        return NGX_OK;
    }

    if (ngx_array_init(&jids, stz->pool, 8, sizeof(ngx_xmpp_jid_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (e = ngx_xmpp_xml_child(list, NULL, NULL);
         e;
         e = ngx_xmpp_xml_next(e))
    {
        if (!ngx_xmpp_xml_is(e, "jid", &ngx_xmpp_archive_ns)) {
            continue;
        }

        if (++ap->n > NGX_XMPP_ARCHIVE_JIDS) {
            return ngx_xmpp_refuse(stz, NGX_XMPP_E_POLICY_VIOLATION,
                                   "There may be %d addresses in both lists.",
                                   NGX_XMPP_ARCHIVE_JIDS);
        }

        jid = ngx_array_push(&jids);

        if (jid == NULL || ngx_xmpp_xml_text(stz->pool, e, &text) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = ngx_xmpp_jid_parse(stz->pool, &text, jid);

        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_XMPP_E_JID_MALFORMED : NGX_ERROR;
        }

        lines->len += jid->full.len + 1;
    }

    p = ngx_pnalloc(stz->pool, lines->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    lines->data = p;
    jid = jids.elts;

    for (i = 0; i < jids.nelts; i++) {
        p = ngx_cpymem(p, jid[i].full.data, jid[i].full.len);
        *p++ = LF;
    }

    return NGX_OK;
}


static void
ngx_xmpp_archive_prefs_stored(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_archive_prefs_t *ap = data;

    ngx_int_t  rc;

    rc = ngx_xmpp_reply_stored(ap->stanza, res);

    /* 2.1: with what is so now */

    if (rc == NGX_OK) {
        rc = ngx_xmpp_archive_prefs_answer(ap);
    }

    ngx_xmpp_stanza_resume(ap->stanza, rc);
}


static ngx_int_t
ngx_xmpp_archive_prefs_answer(ngx_xmpp_archive_prefs_t *ap)
{
    ngx_str_t       *name;
    ngx_pool_t      *pool;
    ngx_xmpp_xml_t  *prefs;

    static ngx_str_t  prefs_name = ngx_string("prefs");

    pool = ap->stanza->pool;

    for (name = ngx_xmpp_archive_prefs_defaults; name->len; name++) {
        if (ap->store.standard.len == 1
            && ap->store.standard.data[0] == name->data[0])
        {
            break;
        }
    }

    prefs = ngx_xmpp_xml_create(pool, &prefs_name, &ngx_xmpp_archive_ns);

    if (prefs == NULL || name->len == 0
        || ngx_xmpp_xml_set(pool, prefs, "default", name) != NGX_OK
        || ngx_xmpp_archive_prefs_list(pool, prefs, "always",
                                       &ap->store.always)
           != NGX_OK
        || ngx_xmpp_archive_prefs_list(pool, prefs, "never", &ap->store.never)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_reply(ap->stanza, prefs);
}


static ngx_int_t
ngx_xmpp_archive_prefs_list(ngx_pool_t *pool, ngx_xmpp_xml_t *prefs,
    const char *name, ngx_str_t *lines)
{
    u_char          *p, *end, *last;
    ngx_str_t        text, *jid;
    ngx_xmpp_xml_t  *list, *e;

    static ngx_str_t  jid_name = ngx_string("jid");

    text.data = (u_char *) name;
    text.len = ngx_strlen(name);

    list = ngx_xmpp_xml_add(pool, prefs, &text, NULL);
    if (list == NULL) {
        return NGX_ERROR;
    }

    last = lines->data + lines->len;

    for (p = lines->data; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, LF);
        end = end ? end : last;

        jid = ngx_palloc(pool, sizeof(ngx_str_t));
        e = ngx_xmpp_xml_add(pool, list, &jid_name, NULL);

        if (jid == NULL || e == NULL) {
            return NGX_ERROR;
        }

        jid->data = p;
        jid->len = end - p;

        if (ngx_xmpp_xml_add_text(pool, e, jid) == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
