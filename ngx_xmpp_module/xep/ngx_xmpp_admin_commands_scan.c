/*
 * Who is online, and announcements (XEP-0133, 4.15, 4.20 and 4.23): what looks
 * at each account of a domain.
 *
 *     page of the list --> a request for each account of it --> all answered
 *       ^  SSCAN                                                  |
 *       '------------- the next one ------------------------------'
 *                                              '--> the end: answered
 *
 * One page is under way at a time, of about a hundred accounts, so neither
 * memory nor the queue to Redis grows with the domain; no command takes longer
 * than one for a page.  A page has a pool of its own.
 *
 * The iq waits for users online, and looks no further when the session ends.
 * An announcement is the worker's after the first pages: it is answered, and
 * goes on without its stanza, one in a worker at a time.  Each account is told
 * once at most; when the worker dies or Redis goes away meanwhile, the others
 * are not told, and in the second case the log says so.
 */


#include "ngx_xmpp_admin_commands.h"


#define NGX_XMPP_ADMIN_COMMANDS_PAGE    100     /* accounts, about */
#define NGX_XMPP_ADMIN_COMMANDS_WAIT    1000    /* those the iq waits for */
#define NGX_XMPP_ADMIN_COMMANDS_TEXT    32768   /* bytes of an announcement */
#define NGX_XMPP_ADMIN_COMMANDS_POOL    4096


struct ngx_xmpp_admin_commands_scan_s {
    ngx_xmpp_stanza_t          *stanza;         /* NULL: it is answered */
    ngx_xmpp_worker_t          *worker;
    ngx_xmpp_host_t            *host;
    ngx_pool_t                 *pool;           /* of an announcement */
    ngx_pool_t                 *page;           /* of requests, or NULL */
    ngx_str_t                   cursor;
    u_char                      text[NGX_INT64_LEN];
    ngx_uint_t                  flight;         /* answers to come */
    ngx_uint_t                  accounts;       /* that were looked at */
    ngx_uint_t                  found;          /* online, or told */
    ngx_int_t                   rc;             /* NGX_OK until one failed */

    ngx_xmpp_form_t             result;
    ngx_xmpp_form_field_t      *list;           /* in it; NULL: they count */
    ngx_uint_t                  max;            /* of the list */

    ngx_str_t                   admin;          /* of an announcement: who */
    ngx_str_t                   before;         /* the stanza up to "to" */
    ngx_str_t                   after;
    ngx_str_t                   sid;
};


/* an account that was asked for */
typedef struct {
    ngx_xmpp_admin_commands_scan_t  *scan;
    ngx_str_t                        bare;
    ngx_str_t                        tag;
    ngx_xmpp_store_stanza_t          stanza;
} ngx_xmpp_admin_commands_one_t;


static ngx_int_t ngx_xmpp_admin_commands_online(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_admin_commands_scan_t *sc, ngx_str_t *var);
static ngx_int_t ngx_xmpp_admin_commands_message(
    ngx_xmpp_admin_commands_scan_t *sc, ngx_str_t *line, ngx_uint_t n);
static ngx_int_t ngx_xmpp_admin_commands_page(
    ngx_xmpp_admin_commands_scan_t *sc);
static void ngx_xmpp_admin_commands_listed(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_admin_commands_ask(ngx_xmpp_admin_commands_scan_t *sc,
    redisReply *member);
static ngx_xmpp_store_req_t *ngx_xmpp_admin_commands_tell(
    ngx_xmpp_admin_commands_one_t *one);
static void ngx_xmpp_admin_commands_told(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_admin_commands_records(void *data,
    ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_admin_commands_found(
    ngx_xmpp_admin_commands_scan_t *sc, ngx_str_t *bare);
static void ngx_xmpp_admin_commands_answered(
    ngx_xmpp_admin_commands_scan_t *sc);
static void ngx_xmpp_admin_commands_end_page(
    ngx_xmpp_admin_commands_scan_t *sc);
static void ngx_xmpp_admin_commands_finish(
    ngx_xmpp_admin_commands_scan_t *sc);
static ngx_int_t ngx_xmpp_admin_commands_result(
    ngx_xmpp_admin_commands_scan_t *sc);
static ngx_int_t ngx_xmpp_admin_commands_note(
    ngx_xmpp_admin_commands_scan_t *sc, const char *more);
static void ngx_xmpp_admin_commands_announced(
    ngx_xmpp_admin_commands_scan_t *sc);


static ngx_str_t  ngx_xmpp_admin_commands_form_type =
    ngx_string("http://jabber.org/protocol/admin");


/* 4.15 */

ngx_int_t
ngx_xmpp_admin_commands_online_num(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form)
{
    ngx_xmpp_admin_commands_scan_t  *sc;

    static ngx_str_t  var = ngx_string("onlineusersnum");

    sc = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_admin_commands_scan_t));

    return sc ? ngx_xmpp_admin_commands_online(stz, sc, &var) : NGX_ERROR;
}


/* 4.20 */

ngx_int_t
ngx_xmpp_admin_commands_online_list(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form)
{
    ngx_str_t                       *value;
    ngx_uint_t                       n;
    ngx_xmpp_admin_commands_scan_t  *sc;

    static ngx_str_t  var = ngx_string("onlineuserjids");

    sc = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_admin_commands_scan_t));
    if (sc == NULL) {
        return NGX_ERROR;
    }

    value = ngx_xmpp_form_values(form, "max_items", &n);

    /* one of the options; "none" is no number */

    sc->max = n ? ngx_atoi(value->data, value->len) : NGX_ERROR;

    if (sc->max == (ngx_uint_t) NGX_ERROR) {
        sc->max = NGX_XMPP_ADMIN_COMMANDS_LIST;
    }

    return ngx_xmpp_admin_commands_online(stz, sc, &var);
}


static ngx_int_t
ngx_xmpp_admin_commands_online(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_admin_commands_scan_t *sc, ngx_str_t *var)
{
    ngx_xmpp_form_field_t  *field;

    sc->stanza = stz;
    sc->worker = stz->session->worker;
    sc->host = stz->host;

    if (ngx_xmpp_form_init(stz->pool, &sc->result,
                           &ngx_xmpp_admin_commands_form_type)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    field = ngx_xmpp_form_add(&sc->result, var);
    if (field == NULL) {
        return NGX_ERROR;
    }

    if (sc->max) {
        sc->list = field;
    }

    ngx_str_set(&sc->cursor, "0");

    return ngx_xmpp_admin_commands_page(sc);
}


/* 4.23: a pool of its own, since it may outlive the stanza */

ngx_int_t
ngx_xmpp_admin_commands_announce(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form)
{
    ngx_int_t                             rc;
    ngx_str_t                            *line;
    ngx_uint_t                            n;
    ngx_pool_t                           *pool;
    ngx_xmpp_worker_t                    *w;
    ngx_xmpp_admin_commands_scan_t       *sc;
    ngx_xmpp_admin_commands_main_conf_t  *amcf;

    w = stz->session->worker;
    amcf = ngx_stream_cycle_get_module_main_conf(w->cycle,
                                             ngx_xmpp_admin_commands_module);

    if (amcf->announce) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                               "another announcement is on its way; try "
                               "again later");
    }

    pool = ngx_create_pool(NGX_XMPP_ADMIN_COMMANDS_POOL, w->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    sc = ngx_pcalloc(pool, sizeof(ngx_xmpp_admin_commands_scan_t));
    if (sc == NULL) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    sc->pool = pool;
    sc->stanza = stz;
    sc->worker = w;
    sc->host = stz->host;

    ngx_str_set(&sc->cursor, "0");

    line = ngx_xmpp_form_values(form, "announcement", &n);

    rc = ngx_xmpp_admin_commands_message(sc, line, n);

    if (rc == NGX_OK) {
        rc = ngx_xmpp_admin_commands_page(sc);
    }

    if (rc != NGX_AGAIN) {
        ngx_destroy_pool(pool);
        return rc;
    }

    amcf->announce = sc;

    ngx_xmpp_admin_commands_log(stz, &stz->host->name);

    return NGX_AGAIN;
}


/*
 * The two halves of a headline from the host, as of xmppctl announce, and its
 * identity.  NGX_OK, a condition, or NGX_ERROR.
 */

static ngx_int_t
ngx_xmpp_admin_commands_message(ngx_xmpp_admin_commands_scan_t *sc,
    ngx_str_t *line, ngx_uint_t n)
{
    u_char      *p;
    size_t       len, size;
    ngx_uint_t   i;

    for (i = 0, len = 0, size = 0; i < n; i++) {
        len += line[i].len + 1;
        size += ngx_xmpp_xml_escape_size(&line[i]) + 1;
    }

    if (len > NGX_XMPP_ADMIN_COMMANDS_TEXT) {
        return ngx_xmpp_refuse(sc->stanza, NGX_XMPP_E_BAD_PAYLOAD,
                               "an announcement has up to %d bytes",
                               NGX_XMPP_ADMIN_COMMANDS_TEXT);
    }

    sc->before.data = ngx_pnalloc(sc->pool,
                          sizeof("<message xmlns='jabber:client' from='' "
                                 "type='headline' to='")
                          + ngx_xmpp_xml_escape_size(&sc->host->name));
    sc->after.data = ngx_pnalloc(sc->pool,
                                 sizeof("'><body></body></message>") + size);
    sc->sid.data = ngx_pnalloc(sc->pool, NGX_XMPP_SID_MAX);
    sc->admin.data = ngx_pstrdup(sc->pool, &sc->stanza->session->jid.full);

    if (sc->before.data == NULL || sc->after.data == NULL
        || sc->sid.data == NULL || sc->admin.data == NULL)
    {
        return NGX_ERROR;
    }

    sc->admin.len = sc->stanza->session->jid.full.len;

    p = ngx_cpymem(sc->before.data, "<message xmlns='jabber:client' from='",
                   sizeof("<message xmlns='jabber:client' from='") - 1);
    p = ngx_xmpp_xml_escape(p, &sc->host->name);
    p = ngx_cpymem(p, "' type='headline' to='",
                   sizeof("' type='headline' to='") - 1);

    sc->before.len = p - sc->before.data;

    p = ngx_cpymem(sc->after.data, "'><body>", sizeof("'><body>") - 1);

    /* XEP-0004, 3.3: of text-multi each value is a line */

    for (i = 0; i < n; i++) {
        if (i) {
            *p++ = LF;
        }

        p = ngx_xmpp_xml_escape(p, &line[i]);
    }

    p = ngx_cpymem(p, "</body></message>", sizeof("</body></message>") - 1);

    sc->after.len = p - sc->after.data;

    /* as that of a session, of which there will be none */

    p = ngx_sprintf(sc->sid.data, "%*s.%xL", sizeof(sc->worker->boot),
                    sc->worker->boot, ++sc->worker->sessions);

    sc->sid.len = p - sc->sid.data;

    return NGX_OK;
}


/* NGX_AGAIN, or a condition: nothing was sent */

static ngx_int_t
ngx_xmpp_admin_commands_page(ngx_xmpp_admin_commands_scan_t *sc)
{
    sc->page = ngx_create_pool(NGX_XMPP_ADMIN_COMMANDS_POOL, sc->worker->log);

    if (sc->page
        && ngx_xmpp_store_accounts(sc->worker->store, sc->page,
                                   &sc->host->name, &sc->cursor,
                                   NGX_XMPP_ADMIN_COMMANDS_PAGE,
                                   ngx_xmpp_admin_commands_listed, sc))
    {
        return NGX_AGAIN;
    }

    if (sc->page) {
        ngx_destroy_pool(sc->page);
        sc->page = NULL;
    }

    return NGX_XMPP_E_RESOURCE_CONSTRAINT;
}


/* a page has come; each of its accounts is asked for */

static void
ngx_xmpp_admin_commands_listed(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_admin_commands_scan_t *sc = data;

    size_t       i;
    redisReply  *next, *list;

    if (res->reply == NULL || res->reply->type != REDIS_REPLY_ARRAY
        || res->reply->elements != 2
        || res->reply->element[0]->type != REDIS_REPLY_STRING
        || res->reply->element[0]->len > sizeof(sc->text)
        || res->reply->element[1]->type != REDIS_REPLY_ARRAY)
    {
        sc->rc = NGX_ERROR;
        ngx_xmpp_admin_commands_end_page(sc);
        return;
    }

    next = res->reply->element[0];
    list = res->reply->element[1];

    ngx_memcpy(sc->text, next->str, next->len);

    sc->cursor.data = sc->text;
    sc->cursor.len = next->len;

    /* one more, so that the page does not end before all are sent */

    sc->flight = 1;

    for (i = 0; i < list->elements && sc->rc == NGX_OK; i++) {
        if (list->element[i]->type == REDIS_REPLY_STRING) {
            ngx_xmpp_admin_commands_ask(sc, list->element[i]);
        }
    }

    ngx_xmpp_admin_commands_answered(sc);
}


static void
ngx_xmpp_admin_commands_ask(ngx_xmpp_admin_commands_scan_t *sc,
    redisReply *member)
{
    ngx_str_t                       bare;
    ngx_xmpp_store_req_t           *req;
    ngx_xmpp_admin_commands_one_t  *one;

    bare.data = (u_char *) member->str;
    bare.len = member->len;

    one = ngx_pcalloc(sc->page, sizeof(ngx_xmpp_admin_commands_one_t));
    if (one == NULL) {
        sc->rc = NGX_ERROR;
        return;
    }

    one->scan = sc;
    one->bare.len = bare.len;
    one->bare.data = ngx_pstrdup(sc->page, &bare);

    if (one->bare.data == NULL
        || ngx_xmpp_store_tag(sc->page, &one->bare, &one->tag) != NGX_OK)
    {
        sc->rc = NGX_ERROR;
        return;
    }

    req = sc->pool ? ngx_xmpp_admin_commands_tell(one)
                   : ngx_xmpp_store_records(sc->worker->store, sc->page,
                                            &one->tag,
                                            ngx_xmpp_admin_commands_records,
                                            one);

    if (req == NULL) {
        sc->rc = NGX_ERROR;
        return;
    }

    sc->accounts++;
    sc->flight++;
}


static ngx_xmpp_store_req_t *
ngx_xmpp_admin_commands_tell(ngx_xmpp_admin_commands_one_t *one)
{
    u_char                          *p;
    ngx_xmpp_store_route_t           r;
    ngx_xmpp_admin_commands_scan_t  *sc;

    sc = one->scan;

    p = ngx_pnalloc(sc->page, sc->before.len + sc->after.len
                              + ngx_xmpp_xml_escape_size(&one->bare));
    if (p == NULL) {
        return NULL;
    }

    one->stanza.counter = 1;
    one->stanza.bytes.data = p;

    p = ngx_cpymem(p, sc->before.data, sc->before.len);
    p = ngx_xmpp_xml_escape(p, &one->bare);
    p = ngx_cpymem(p, sc->after.data, sc->after.len);

    one->stanza.bytes.len = p - one->stanza.bytes.data;

    ngx_memzero(&r, sizeof(ngx_xmpp_store_route_t));

    r.tag = &one->tag;
    r.sid = &sc->sid;
    r.kind = NGX_XMPP_STORE_HEADLINE;
    r.n = 1;
    r.stanzas = &one->stanza;

    return ngx_xmpp_store_route(sc->worker->store, sc->page, &r,
                                ngx_xmpp_admin_commands_told, one);
}


static void
ngx_xmpp_admin_commands_told(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_admin_commands_one_t *one = data;

    ngx_xmpp_admin_commands_scan_t  *sc;

    sc = one->scan;

    switch (res->rc) {

    case NGX_OK:
        sc->found++;
        break;

    case NGX_DECLINED:
    case NGX_BUSY:
        break;

    default:
        sc->rc = res->rc;
    }

    ngx_xmpp_admin_commands_answered(sc);
}


static void
ngx_xmpp_admin_commands_records(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_admin_commands_one_t *one = data;

    ngx_xmpp_admin_commands_scan_t  *sc;

    sc = one->scan;

    if (res->reply == NULL || res->reply->type != REDIS_REPLY_ARRAY) {
        sc->rc = (res->rc == NGX_AGAIN) ? NGX_AGAIN : NGX_ERROR;

    } else if (ngx_xmpp_store_online(res->reply)
               && ngx_xmpp_admin_commands_found(sc, &one->bare) != NGX_OK)
    {
        sc->rc = NGX_ERROR;
    }

    ngx_xmpp_admin_commands_answered(sc);
}


/* SSCAN may have given him before */

static ngx_int_t
ngx_xmpp_admin_commands_found(ngx_xmpp_admin_commands_scan_t *sc,
    ngx_str_t *bare)
{
    ngx_str_t   *value, copy;
    ngx_uint_t   i;

    if (sc->list == NULL) {
        sc->found++;
        return NGX_OK;
    }

    value = sc->list->values.elts;

    for (i = 0; i < sc->list->values.nelts; i++) {
        if (ngx_xmpp_str_eq(&value[i], bare)) {
            return NGX_OK;
        }
    }

    if (sc->found == sc->max) {
        return NGX_OK;
    }

    copy.len = bare->len;
    copy.data = ngx_pstrdup(sc->stanza->pool, bare);

    if (copy.data == NULL) {
        return NGX_ERROR;
    }

    sc->found++;

    return ngx_xmpp_form_add_value(sc->list, &copy);
}


static void
ngx_xmpp_admin_commands_answered(ngx_xmpp_admin_commands_scan_t *sc)
{
    if (--sc->flight == 0) {
        ngx_xmpp_admin_commands_end_page(sc);
    }
}


/* the next one, unless that was the last, or the last that is of use */

static void
ngx_xmpp_admin_commands_end_page(ngx_xmpp_admin_commands_scan_t *sc)
{
    ngx_int_t  rc;

    ngx_destroy_pool(sc->page);
    sc->page = NULL;

    if (sc->rc != NGX_OK
        || (sc->cursor.len == 1 && sc->cursor.data[0] == '0')
        || (sc->list && sc->found == sc->max)
        || (sc->pool == NULL && sc->stanza->session->stream == NULL))
    {
        ngx_xmpp_admin_commands_finish(sc);
        return;
    }

    if (sc->pool && sc->stanza && sc->accounts >= NGX_XMPP_ADMIN_COMMANDS_WAIT)
    {
        rc = ngx_xmpp_admin_commands_note(sc, "; it is on its way to more");

        ngx_xmpp_stanza_resume(sc->stanza, rc);
        sc->stanza = NULL;
    }

    if (ngx_xmpp_admin_commands_page(sc) != NGX_AGAIN) {
        sc->rc = NGX_ERROR;
        ngx_xmpp_admin_commands_finish(sc);
    }
}


static void
ngx_xmpp_admin_commands_finish(ngx_xmpp_admin_commands_scan_t *sc)
{
    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *stz;

    stz = sc->stanza;
    rc = NGX_OK;

    if (stz && sc->rc != NGX_OK) {
        rc = ngx_xmpp_refuse(stz, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                             "the database is away; %ui accounts were %s",
                             sc->accounts, sc->pool ? "told" : "looked at");

    } else if (stz) {
        rc = sc->pool ? ngx_xmpp_admin_commands_note(sc, "")
                      : ngx_xmpp_admin_commands_result(sc);
    }

    if (sc->pool) {
        ngx_xmpp_admin_commands_announced(sc);
    }

    /* sc is in one of the pools, which are gone behind here */

    if (stz) {
        ngx_xmpp_stanza_resume(stz, rc);
    }
}


static ngx_int_t
ngx_xmpp_admin_commands_result(ngx_xmpp_admin_commands_scan_t *sc)
{
    u_char                 *p;
    ngx_str_t               text;
    ngx_xmpp_stanza_t      *stz;
    ngx_xmpp_form_field_t  *field;

    stz = sc->stanza;

    p = ngx_pnalloc(stz->pool, 128);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = p;

    if (sc->list == NULL) {
        text.len = ngx_sprintf(p, "%ui", sc->found) - p;
        field = sc->result.fields.elts;

        if (ngx_xmpp_form_add_value(field, &text) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_xmpp_command_done(stz, &sc->result, NULL, NULL);
    }

    if (sc->found < sc->max) {
        return ngx_xmpp_command_done(stz, &sc->result, NULL, NULL);
    }

    text.len = ngx_sprintf(p, "The list ends after %ui users; there may be "
                           "more.", sc->max) - p;

    return ngx_xmpp_command_done(stz, &sc->result, "warn", &text);
}


/* answers how far an announcement has come */

static ngx_int_t
ngx_xmpp_admin_commands_note(ngx_xmpp_admin_commands_scan_t *sc,
    const char *more)
{
    u_char     *p;
    ngx_str_t   text;

    p = ngx_pnalloc(sc->stanza->pool, 128);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = p;
    text.len = ngx_sprintf(p, "%ui of %ui accounts told%s", sc->found,
                           sc->accounts, more) - p;

    return ngx_xmpp_command_done(sc->stanza, NULL, "info", &text);
}


/* it is over */

static void
ngx_xmpp_admin_commands_announced(ngx_xmpp_admin_commands_scan_t *sc)
{
    ngx_uint_t                            level;
    ngx_xmpp_admin_commands_main_conf_t  *amcf;

    amcf = ngx_stream_cycle_get_module_main_conf(sc->worker->cycle,
                                             ngx_xmpp_admin_commands_module);
    amcf->announce = NULL;

    level = (sc->rc == NGX_OK) ? NGX_LOG_NOTICE : NGX_LOG_ERR;

    ngx_log_error(level, sc->worker->log, 0,
                  "xmpp announcement of \"%V\" to \"%V\": %ui of %ui accounts "
                  "told%s", &sc->admin, &sc->host->name, sc->found,
                  sc->accounts,
                  (sc->rc == NGX_OK) ? "" : ", others are not: Redis is away");

    ngx_destroy_pool(sc->pool);
}


void
ngx_xmpp_admin_commands_scan_exit(ngx_xmpp_admin_commands_scan_t *sc)
{
    if (sc->page) {
        ngx_destroy_pool(sc->page);
    }

    ngx_destroy_pool(sc->pool);
}
