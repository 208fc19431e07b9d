/*
 * Queries of an archive (XEP-0313, 4; XEP-0059): what is asked for.
 *
 *     query --read--> the first and the last entry that may be in the page, and
 *                     filters --> ngx_xmpp_archive_page.c
 *
 * Ids are turned into entries here, without a look at the archive; an id that
 * is none of it is not found.  Whether the entry is there yet, the Function
 * sees that gives the page.  Nothing waits here.
 */


#include "ngx_xmpp_archive.h"


#define NGX_XMPP_ARCHIVE_IDS          256       /* in field ids, at most */
#define NGX_XMPP_ARCHIVE_BYTES        131072    /* of a page, about */


static ngx_int_t ngx_xmpp_archive_query_read(ngx_xmpp_archive_query_t *q);
static ngx_int_t ngx_xmpp_archive_query_known(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_xml_t *x);
static ngx_int_t ngx_xmpp_archive_query_fields(ngx_xmpp_archive_query_t *q,
    ngx_xmpp_form_t *form);
static ngx_int_t ngx_xmpp_archive_query_with(ngx_xmpp_archive_query_t *q,
    ngx_str_t *with);
static ngx_int_t ngx_xmpp_archive_query_time(ngx_xmpp_archive_query_t *q,
    ngx_str_t *text, ngx_uint_t end);
static ngx_int_t ngx_xmpp_archive_query_ids(ngx_xmpp_archive_query_t *q,
    ngx_str_t *ids, ngx_uint_t n);
static ngx_int_t ngx_xmpp_archive_query_behind(ngx_xmpp_archive_query_t *q,
    ngx_str_t *id, ngx_uint_t before);
static void ngx_xmpp_archive_query_low(ngx_xmpp_archive_query_t *q,
    uint64_t number, ngx_uint_t index);
static void ngx_xmpp_archive_query_high(ngx_xmpp_archive_query_t *q,
    uint64_t number, ngx_uint_t index);


ngx_int_t
ngx_xmpp_archive_query(ngx_xmpp_stanza_t *stz)
{
    ngx_int_t                  rc;
    ngx_xmpp_srv_conf_t       *xscf;
    ngx_xmpp_archive_conf_t   *conf;
    ngx_xmpp_archive_query_t  *q;

    q = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_archive_query_t));
    if (q == NULL) {
        return NGX_ERROR;
    }

    q->stanza = stz;
    q->high.number = NGX_XMPP_ENTRY_NUMBER_MAX;
    q->high.index = NGX_XMPP_ENTRY_INDEX_MAX;
    q->store.count = 1;

    q->text = ngx_pnalloc(stz->pool, 2 * NGX_XMPP_ARCHIVE_ENTRY_LEN);
    if (q->text == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_xmpp_archive_query_read(q);

    if (rc != NGX_OK) {
        return rc;
    }

    conf = ngx_xmpp_host_conf(stz->session->host, ngx_xmpp_archive_module);
    xscf = ngx_xmpp_host_conf(stz->session->host, ngx_xmpp_module);

    q->store.max = conf->page;
    q->store.age = conf->time / 1000;
    q->store.bytes = ngx_min(NGX_XMPP_ARCHIVE_BYTES, xscf->output_queue / 4);
    q->store.back = q->rsm.back;

    if (q->rsm.has_max) {
        q->store.max = ngx_min(q->store.max, q->rsm.max);
    }

    ngx_xmpp_session_record(stz->session, &q->record);

    return ngx_xmpp_archive_page(q);
}


/* what was asked for; NGX_OK, NGX_ERROR or a condition */

static ngx_int_t
ngx_xmpp_archive_query_read(ngx_xmpp_archive_query_t *q)
{
    ngx_int_t           rc;
    ngx_str_t          *id;
    const char         *wrong;
    ngx_xmpp_xml_t     *query, *x;
    ngx_xmpp_form_t     form;
    ngx_xmpp_stanza_t  *stz;

    stz = q->stanza;
    query = ngx_xmpp_stanza_payload(stz);

    id = ngx_xmpp_xml_attr(query, "queryid");

    if (id) {
        q->id = *id;
    }

    q->flip = (ngx_xmpp_xml_child(query, "flip-page", &ngx_xmpp_archive_ns)
               != NULL);

    rc = ngx_xmpp_rsm_parse(stz->pool, query, &q->rsm);

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_BAD_REQUEST,
                               "The number of messages is none.");
    }

    if (rc == NGX_OK && q->rsm.by_index) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_FEATURE_NOT_IMPLEMENTED,
                               "There are no pages by index, only before or "
                               "after a message.");
    }

    x = ngx_xmpp_xml_child(query, "x", &ngx_xmpp_form_ns);

    if (rc == NGX_OK && x) {
        rc = ngx_xmpp_archive_query_known(stz, x);

        if (rc == NGX_OK) {
            rc = ngx_xmpp_form_parse(stz->pool, x, &ngx_xmpp_archive_ns,
                                     ngx_xmpp_archive_fields, &form, &wrong);

            if (rc == NGX_DECLINED) {
                return ngx_xmpp_refuse(stz, NGX_XMPP_E_BAD_REQUEST, "%s.",
                                       wrong);
            }
        }

        if (rc == NGX_OK) {
            rc = ngx_xmpp_archive_query_fields(q, &form);
        }
    }

    /* XEP-0059, 2.2 and 2.3; they narrow the page, not what is counted */

    if (rc == NGX_OK && q->rsm.after.len) {
        rc = ngx_xmpp_archive_query_behind(q, &q->rsm.after, 0);
    }

    if (rc == NGX_OK && q->rsm.before.len) {
        rc = ngx_xmpp_archive_query_behind(q, &q->rsm.before, 1);
    }

    return rc;
}


/* 4.1.5: a field that we do not know is refused */

static ngx_int_t
ngx_xmpp_archive_query_known(ngx_xmpp_stanza_t *stz, ngx_xmpp_xml_t *x)
{
    ngx_str_t            *var;
    ngx_xmpp_xml_t       *e;
    ngx_xmpp_form_ask_t  *ask;

    static ngx_str_t  type = ngx_string("FORM_TYPE");

    for (e = ngx_xmpp_xml_child(x, "field", &ngx_xmpp_form_ns);
         e;
         e = ngx_xmpp_xml_next(e))
    {
        var = ngx_xmpp_xml_attr(e, "var");

        if (var == NULL || ngx_xmpp_str_eq(var, &type)) {
            continue;
        }

        for (ask = ngx_xmpp_archive_fields; ask->var.len; ask++) {
            if (ngx_xmpp_str_eq(&ask->var, var)) {
                break;
            }
        }

        if (ask->var.len == 0) {
            return ngx_xmpp_refuse(stz, NGX_XMPP_E_FEATURE_NOT_IMPLEMENTED,
                                   "There is no field \"%V\".", var);
        }
    }

    return NGX_OK;
}


/* 4.1.1 to 4.1.3; one without a value is not there */

static ngx_int_t
ngx_xmpp_archive_query_fields(ngx_xmpp_archive_query_t *q,
    ngx_xmpp_form_t *form)
{
    ngx_int_t    rc;
    ngx_str_t   *value;
    ngx_uint_t   n;

    rc = NGX_OK;

    value = ngx_xmpp_form_values(form, "with", &n);

    if (n && value->len) {
        rc = ngx_xmpp_archive_query_with(q, value);
    }

    value = ngx_xmpp_form_values(form, "start", &n);

    if (rc == NGX_OK && n && value->len) {
        rc = ngx_xmpp_archive_query_time(q, value, 0);
    }

    value = ngx_xmpp_form_values(form, "end", &n);

    if (rc == NGX_OK && n && value->len) {
        rc = ngx_xmpp_archive_query_time(q, value, 1);
    }

    value = ngx_xmpp_form_values(form, "after-id", &n);

    if (rc == NGX_OK && n && value->len) {
        q->store.count = 0;
        rc = ngx_xmpp_archive_query_behind(q, value, 0);
    }

    value = ngx_xmpp_form_values(form, "before-id", &n);

    if (rc == NGX_OK && n && value->len) {
        q->store.count = 0;
        rc = ngx_xmpp_archive_query_behind(q, value, 1);
    }

    value = ngx_xmpp_form_values(form, "ids", &n);

    if (rc == NGX_OK && n) {
        rc = ngx_xmpp_archive_query_ids(q, value, n);
    }

    return rc;
}


/* 4.1.1: a full JID matches itself alone, a bare one all of its resources */

static ngx_int_t
ngx_xmpp_archive_query_with(ngx_xmpp_archive_query_t *q, ngx_str_t *with)
{
    ngx_int_t           rc;
    ngx_xmpp_jid_t      jid;
    ngx_xmpp_stanza_t  *stz;

    stz = q->stanza;
    rc = ngx_xmpp_jid_parse(stz->pool, with, &jid);

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_JID_MALFORMED,
                               "The field \"with\" has no address.");
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    q->store.with = jid.bare;

    if (jid.resource.len == 0) {
        return NGX_OK;
    }

    q->store.count = 0;

    q->store.full.len = ngx_xmpp_xml_escape_size(&jid.full);
    q->store.full.data = ngx_pnalloc(stz->pool, q->store.full.len);

    if (q->store.full.data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_xmpp_xml_escape(q->store.full.data, &jid.full);

    return NGX_OK;
}


/* 4.1.2: what came at that very time is in it */

static ngx_int_t
ngx_xmpp_archive_query_time(ngx_xmpp_archive_query_t *q, ngx_str_t *text,
    ngx_uint_t end)
{
    uint64_t  usec;

    if (ngx_xmpp_datetime_parse(text, &usec) != NGX_OK) {
        return ngx_xmpp_refuse(q->stanza, NGX_XMPP_E_BAD_REQUEST,
                               "The field \"%s\" has no time as in "
                               "XEP-0082.", end ? "end" : "start");
    }

    q->store.count = 0;

    if (end) {
        ngx_xmpp_archive_query_high(q, usec, NGX_XMPP_ENTRY_INDEX_MAX);

    } else {
        ngx_xmpp_archive_query_low(q,
                                   ngx_min(usec, NGX_XMPP_ENTRY_NUMBER_MAX),
                                   0);
    }

    return NGX_OK;
}


/* 4.1.3: these alone, all of which have to be there */

static ngx_int_t
ngx_xmpp_archive_query_ids(ngx_xmpp_archive_query_t *q, ngx_str_t *ids,
    ngx_uint_t n)
{
    u_char                    *p;
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_entry_t   entry;

    xs = q->stanza->session;

    if (n > NGX_XMPP_ARCHIVE_IDS) {
        return ngx_xmpp_refuse(q->stanza, NGX_XMPP_E_NOT_ACCEPTABLE,
                               "There may be %d ids in a query. Ask for the "
                               "others by another one.", NGX_XMPP_ARCHIVE_IDS);
    }

    p = ngx_pnalloc(q->stanza->pool, n * (NGX_XMPP_ARCHIVE_ENTRY_LEN + 1));
    if (p == NULL) {
        return NGX_ERROR;
    }

    q->store.count = 0;
    q->store.ids.data = p;

    for (i = 0; i < n; i++) {
        rc = ngx_xmpp_stanza_id_read(xs->worker, &xs->jid.bare, &ids[i],
                                     &entry);

        if (rc != NGX_OK) {
            return (rc == NGX_DECLINED) ? NGX_XMPP_E_ITEM_NOT_FOUND
                                        : NGX_XMPP_E_RESOURCE_CONSTRAINT;
        }

        p = ngx_sprintf(p, "%uL-%ui ", entry.number, entry.index);
    }

    q->store.ids.len = p - q->store.ids.data;

    return NGX_OK;
}


/* 4.1.3, 4.3.2: behind that message, or before it, which has to be there */

static ngx_int_t
ngx_xmpp_archive_query_behind(ngx_xmpp_archive_query_t *q, ngx_str_t *id,
    ngx_uint_t before)
{
    u_char                    *p;
    ngx_int_t                  rc;
    ngx_str_t                 *there;
    ngx_xmpp_session_t        *xs;
    ngx_xmpp_entry_t   entry;

    xs = q->stanza->session;
    there = &q->store.there;

    rc = ngx_xmpp_stanza_id_read(xs->worker, &xs->jid.bare, id, &entry);

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_XMPP_E_ITEM_NOT_FOUND
                                    : NGX_XMPP_E_RESOURCE_CONSTRAINT;
    }

    p = ngx_pnalloc(q->stanza->pool, there->len + NGX_XMPP_ARCHIVE_ENTRY_LEN
                                     + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    there->len = ngx_sprintf(p, "%V%uL-%ui ", there, entry.number, entry.index)
                 - p;
    there->data = p;

    ngx_xmpp_archive_query_past(q, &entry, before);

    return NGX_OK;
}


/* the first that may be in it is not before that */

static void
ngx_xmpp_archive_query_low(ngx_xmpp_archive_query_t *q, uint64_t number,
    ngx_uint_t index)
{
    if (number > q->low.number
        || (number == q->low.number && index > q->low.index))
    {
        q->low.number = number;
        q->low.index = index;
    }
}


static void
ngx_xmpp_archive_query_high(ngx_xmpp_archive_query_t *q, uint64_t number,
    ngx_uint_t index)
{
    if (number < q->high.number
        || (number == q->high.number && index < q->high.index))
    {
        q->high.number = number;
        q->high.index = index;
    }
}


void
ngx_xmpp_archive_query_past(ngx_xmpp_archive_query_t *q,
    ngx_xmpp_entry_t *entry, ngx_uint_t before)
{
    if (!before) {
        ngx_xmpp_archive_query_low(q, entry->number, entry->index + 1);

    } else if (entry->index) {
        ngx_xmpp_archive_query_high(q, entry->number, entry->index - 1);

    } else {
        ngx_xmpp_archive_query_high(q, entry->number - 1,
                                    NGX_XMPP_ENTRY_INDEX_MAX);
    }
}
