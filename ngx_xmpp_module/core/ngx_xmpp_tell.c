/*
 * Presence to contacts (RFC 6121, 4.2 to 4.5): one command to the slot of
 * each, all of them in one write.
 *
 *     started --> waiting --its turn--> window --answers--> next window
 *                                         |                     |
 *                         all are written: sent()    the last answer: done()
 *
 * A window is so many contacts, and so many bytes, that a roster of thousands
 * neither fills the queue to Redis nor memory: most rosters are one.  What is
 * to be told waits in the order in which it was started, in all of the worker:
 * that somebody has gone is never overtaken by that he came back.  A later
 * one is sent when all of the earlier is; answers of several may be under way.
 *
 * The lines of the contacts and the stanza are the caller's; what a window
 * needs has a pool of its own until its last answer.
 *
 * Redis goes meanwhile: the commands are repeated on the next connection
 * (their repeat is harmless), for xmpp_redis_timeout.  Then the rest is given
 * up, with a line in the log: who did not hear it hears the next.  What tells
 * an end is given up at once: whether it is still true has to be asked first.
 * The session lost its resource meanwhile: the rest is given up, its winner
 * tells them.
 */


#include "ngx_xmpp.h"


#define NGX_XMPP_TELL_WINDOW          1000        /* contacts */
#define NGX_XMPP_TELL_SIZE            (1024 * 1024) /* bytes of it */
#define NGX_XMPP_TELL_FLIGHT          2000        /* of all, in this worker */
#define NGX_XMPP_TELL_POOL            16384


typedef struct {
    ngx_xmpp_tell_t            *tell;
    ngx_xmpp_store_contact_t    contact;
    ngx_str_t                   tag;
    ngx_str_t                   jid;            /* of the list */
} ngx_xmpp_tell_one_t;


static void ngx_xmpp_tell_run(ngx_xmpp_worker_t *w);
static void ngx_xmpp_tell_window(ngx_xmpp_tell_t *t);
static ngx_int_t ngx_xmpp_tell_send(ngx_xmpp_tell_t *t, u_char what,
    ngx_str_t *jid, size_t *size);
static ngx_int_t ngx_xmpp_tell_remote(ngx_xmpp_tell_t *t, ngx_str_t *jid);
static void ngx_xmpp_tell_absent(ngx_xmpp_session_t *xs, ngx_str_t *jid);
static void ngx_xmpp_tell_answer(void *data, ngx_xmpp_store_result_t *res);
static void ngx_xmpp_tell_done(ngx_xmpp_tell_t *t);
static void ngx_xmpp_tell_mark(ngx_str_t *contacts, ngx_queue_t *directed);
static void ngx_xmpp_tell_known(ngx_str_t *jid, ngx_queue_t *directed);


/*
 * Tells t->contacts t->stanza, whose address is changed for each; those who
 * are asked, too, answer to t->session.  All that t points to, and t itself,
 * have to live until done(data, rc): NGX_OK; NGX_ERROR: some may not have
 * heard it.  sent(data), if any, is called as soon as all are written, so that
 * what it asks Redis for goes along; not when it is given up.  Both may be
 * called from within.  Returns NGX_OK: there was nobody to tell, neither is
 * called; NGX_AGAIN; NGX_ERROR: the stanza has no address.
 */

ngx_int_t
ngx_xmpp_tell_start(ngx_xmpp_tell_t *t)
{
    if (t->contacts.len == 0) {
        return NGX_OK;
    }

    if (ngx_xmpp_packet_split(&t->stanza, &t->before, &t->after) != NGX_OK) {
        return NGX_ERROR;
    }

    t->pool = NULL;
    t->flight = 0;
    t->lost = 0;
    t->given_up = 0;
    t->written = 0;

    ngx_queue_insert_tail(&t->worker->tells, &t->queue);

    ngx_xmpp_tell_run(t->worker);

    return NGX_AGAIN;
}


/*
 * The n-th element of a Function's answer, the contacts, copied to pool for
 * t->contacts.  NGX_OK, also when there is none; NGX_ERROR: no memory.
 */

ngx_int_t
ngx_xmpp_tell_contacts(ngx_pool_t *pool, redisReply *reply, size_t n,
    ngx_str_t *contacts)
{
    ngx_str_t    s;
    redisReply  *r;

    ngx_str_null(contacts);

    if (reply->elements <= n || reply->element[n]->type != REDIS_REPLY_STRING
        || reply->element[n]->len == 0)
    {
        return NGX_OK;
    }

    r = reply->element[n];

    s.data = (u_char *) r->str;
    s.len = r->len;

    contacts->data = ngx_pstrdup(pool, &s);
    if (contacts->data == NULL) {
        return NGX_ERROR;
    }

    contacts->len = s.len;

    return NGX_OK;
}


static void
ngx_xmpp_tell_run(ngx_xmpp_worker_t *w)
{
    ngx_queue_t      *q;
    ngx_xmpp_tell_t  *t;

    while (!ngx_queue_empty(&w->tells) && w->telling < NGX_XMPP_TELL_FLIGHT) {

        q = ngx_queue_head(&w->tells);
        t = ngx_queue_data(q, ngx_xmpp_tell_t, queue);

        if (t->flight) {
            return;
        }

        ngx_xmpp_tell_window(t);

        if (t->contacts.len) {

            /* the rest when this window is answered, if it has anybody */

            if (t->flight) {
                return;
            }

            continue;
        }

        ngx_queue_remove(&t->queue);
        t->written = 1;

        if (!t->given_up && t->sent) {
            t->sent(t->data);
        }

        if (t->flight == 0) {
            ngx_xmpp_tell_done(t);
        }
    }
}


static void
ngx_xmpp_tell_window(ngx_xmpp_tell_t *t)
{
    size_t       size;
    u_char       what;
    ngx_str_t    jid;
    ngx_uint_t   n;

    /* cluster.md, rule 4: the loser announces nothing */

    if (t->session && t->session->displaced) {
        t->given_up = 1;
        t->contacts.len = 0;
        return;
    }

    t->pool = ngx_create_pool(NGX_XMPP_TELL_POOL, t->worker->log);
    if (t->pool == NULL) {
        goto failed;
    }

    size = 0;

    for (n = 0; n < NGX_XMPP_TELL_WINDOW && size < NGX_XMPP_TELL_SIZE; n++) {

        if (ngx_xmpp_store_contact_next(&t->contacts, &what, &jid) != NGX_OK) {
            break;
        }

        if (ngx_xmpp_tell_send(t, what, &jid, &size) == NGX_ERROR) {
            goto failed;
        }
    }

    if (t->flight == 0) {
        ngx_destroy_pool(t->pool);
        t->pool = NULL;
    }

    return;

failed:

    ngx_log_error(NGX_LOG_ERR, t->worker->log, 0,
                  "xmpp could not send Redis the presence of \"%V\" for all "
                  "contacts", &t->user);

    t->lost++;
    t->given_up = 1;
    t->contacts.len = 0;

    if (t->pool && t->flight == 0) {
        ngx_destroy_pool(t->pool);
        t->pool = NULL;
    }
}


/* NGX_OK, NGX_DECLINED: nobody is to be told, or not here, NGX_ERROR */

static ngx_int_t
ngx_xmpp_tell_send(ngx_xmpp_tell_t *t, u_char what, ngx_str_t *jid,
    size_t *size)
{
    u_char               *p;
    ngx_str_t             domain;
    ngx_xmpp_tell_one_t  *one;

    /* the account's own resources were told with the first step */

    if (ngx_xmpp_str_eq(jid, &t->user)) {
        return NGX_DECLINED;
    }

    p = ngx_strlchr(jid->data, jid->data + jid->len, '@');

    if (p == NULL) {
        return ngx_xmpp_tell_remote(t, jid);
    }

    domain.data = p + 1;
    domain.len = jid->data + jid->len - domain.data;

    if (ngx_xmpp_host_find(ngx_stream_cycle_get_module_main_conf(
                               t->worker->cycle, ngx_xmpp_module), &domain)
        == NULL)
    {
        return ngx_xmpp_tell_remote(t, jid);
    }

    one = ngx_pcalloc(t->pool, sizeof(ngx_xmpp_tell_one_t));
    if (one == NULL) {
        return NGX_ERROR;
    }

    if (ngx_xmpp_store_tag(t->pool, jid, &one->tag) != NGX_OK) {
        return NGX_ERROR;
    }

    one->tell = t;
    one->jid = *jid;
    one->contact.tag = &one->tag;
    one->contact.what = what;
    one->contact.user = t->from;
    one->contact.once = t->once;

    if (what != NGX_XMPP_CONTACT_ASK) {
        if (ngx_xmpp_packet_join(t->pool, &t->before, jid, &t->after,
                                 &one->contact.stanza)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        *size += one->contact.stanza.len;
    }

    if (ngx_xmpp_store_contact(t->worker->store, t->pool, &one->contact,
                               ngx_xmpp_tell_answer, one)
        == NULL)
    {
        return NGX_ERROR;
    }

    t->flight++;
    t->worker->telling++;

    return NGX_OK;
}


/*
 * A contact whose host is not one of ours: this is where federation sends
 * presence and probes.  Until then nobody there has a subscription.
 */

static ngx_int_t
ngx_xmpp_tell_remote(ngx_xmpp_tell_t *t, ngx_str_t *jid)
{
    ngx_log_debug2(NGX_LOG_DEBUG_STREAM, t->worker->log, 0,
                   "xmpp presence of \"%V\" for \"%V\" of another server",
                   &t->user, jid);

    return NGX_DECLINED;
}


static void
ngx_xmpp_tell_answer(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_tell_one_t *one = data;

    ngx_xmpp_tell_t    *t;
    ngx_xmpp_worker_t  *w;

    t = one->tell;
    w = t->worker;

    t->flight--;
    w->telling--;

    if (res->rc == NGX_OK) {

        if (res->number) {
            ngx_xmpp_registry_rung(w, &one->tag, res->number);
        }

        if (t->session) {
            ngx_xmpp_tell_give(t->session, res->reply);

            if (t->absent && res->reply->elements == 2) {
                ngx_xmpp_tell_absent(t->session, &one->jid);
            }
        }

    } else {
        t->lost++;

        /* no answer at all: it would be the same with all others */

        if (res->reply == NULL) {
            t->given_up = 1;
            t->contacts.len = 0;
        }
    }

    if (t->flight == 0) {
        ngx_destroy_pool(t->pool);
        t->pool = NULL;

        if (t->written) {
            ngx_xmpp_tell_done(t);
        }
    }

    ngx_xmpp_tell_run(w);
}


/* t may be gone afterwards; it is in no queue */

static void
ngx_xmpp_tell_done(ngx_xmpp_tell_t *t)
{
    /* what is not repeated is begun again */

    if (t->lost && !t->once) {
        ngx_log_error(NGX_LOG_WARN, t->worker->log, 0,
                      "xmpp could not tell all contacts the presence of "
                      "\"%V\": Redis did not answer for %ui of them",
                      &t->user, t->lost);
    }

    t->done(t->data, t->lost || t->given_up ? NGX_ERROR : NGX_OK);
}


/*
 * Presence of a contact, the answer of ngx_xmpp_store_contact(), to a session
 * that asked for it (RFC 6121, 4.3.2): "to" becomes its bare JID.  What does
 * not find room is left out.
 */

void
ngx_xmpp_tell_give(ngx_xmpp_session_t *xs, redisReply *reply)
{
    size_t              i;
    ngx_str_t           stanza, before, after;
    ngx_xmpp_packet_t  *pkt;

    for (i = 2; i < reply->elements; i++) {

        if (reply->element[i]->type != REDIS_REPLY_STRING) {
            continue;
        }

        stanza.data = (u_char *) reply->element[i]->str;
        stanza.len = reply->element[i]->len;

        if (ngx_xmpp_packet_split(&stanza, &before, &after) != NGX_OK
            || !ngx_xmpp_session_room(xs, stanza.len))
        {
            continue;
        }

        pkt = ngx_xmpp_packet_to(xs->worker->log, &before, &xs->jid.bare,
                                 &after);
        if (pkt == NULL) {
            return;
        }

        ngx_xmpp_session_output(xs, pkt);
        ngx_xmpp_packet_release(pkt);
    }
}


/* RFC 6121, 4.3.2: who is asked and has no available resource */

static void
ngx_xmpp_tell_absent(ngx_xmpp_session_t *xs, ngx_str_t *jid)
{
    ngx_xmpp_packet_t  *pkt;

    pkt = ngx_xmpp_packet_unavailable(xs->worker->log, jid, &xs->jid.bare);
    if (pkt == NULL) {
        return;
    }

    if (ngx_xmpp_session_room(xs, pkt->len)) {
        ngx_xmpp_session_output(xs, pkt);
    }

    ngx_xmpp_packet_release(pkt);
}


/*
 * Who got directed presence hears the end of it (RFC 6121, 4.6.3), unless he
 * is among t->contacts and hears it anyhow; so does, with own, the user's
 * account.  Nobody waits for it: these go out with what is written in this
 * turn.  t is not started yet; sid and counter are the sender's identity;
 * stanza has an address to be changed.  Frees the nodes of directed, which is
 * empty afterwards.
 */

void
ngx_xmpp_tell_directed(ngx_xmpp_tell_t *t, ngx_queue_t *directed,
    ngx_uint_t own, ngx_str_t *stanza, ngx_str_t *sid, uint64_t *counter)
{
    ngx_str_t                 before, after, bare, resource, to, tag;
    ngx_pool_t               *pool;
    ngx_queue_t              *q;
    ngx_xmpp_worker_t        *w;
    ngx_xmpp_directed_t      *d;
    ngx_xmpp_store_route_t    r;
    ngx_xmpp_store_stanza_t   one;

    w = t->worker;

    if (ngx_queue_empty(directed)) {
        return;
    }

    ngx_xmpp_tell_mark(&t->contacts, directed);

    if (own) {
        ngx_xmpp_tell_known(&t->user, directed);
    }

    while (!ngx_queue_empty(directed)) {
        q = ngx_queue_head(directed);
        d = ngx_queue_data(q, ngx_xmpp_directed_t, queue);

        ngx_queue_remove(q);

        to.data = d->data;
        to.len = d->len;

        bare.data = d->data;
        bare.len = d->bare;

        resource.data = d->data + d->bare + 1;
        resource.len = (d->len > d->bare) ? d->len - d->bare - 1 : 0;

        pool = d->known ? NULL : ngx_xmpp_worker_pool(w);

        if (pool) {
            if (ngx_xmpp_packet_split(stanza, &before, &after) == NGX_OK
                && ngx_xmpp_packet_join(pool, &before, &to, &after, &one.bytes)
                   == NGX_OK
                && ngx_xmpp_store_tag(pool, &bare, &tag) == NGX_OK)
            {
                ngx_memzero(&r, sizeof(ngx_xmpp_store_route_t));

                one.counter = ++*counter;

                r.tag = &tag;
                r.resource = resource.len ? &resource : NULL;
                r.sid = sid;
                r.from = ngx_xmpp_str_eq(&bare, &t->user) ? NULL : &t->from;
                r.kind = NGX_XMPP_STORE_PRESENCE;
                r.n = 1;
                r.stanzas = &one;

                ngx_xmpp_store_send(w->store, &r);
            }

            ngx_xmpp_worker_pool_done(w, pool);
        }

        ngx_free(d);
    }
}


/* which of them are contacts that are told */

static void
ngx_xmpp_tell_mark(ngx_str_t *contacts, ngx_queue_t *directed)
{
    u_char     what;
    ngx_str_t  list, jid;

    list = *contacts;

    while (ngx_xmpp_store_contact_next(&list, &what, &jid) == NGX_OK) {
        ngx_xmpp_tell_known(&jid, directed);
    }
}


static void
ngx_xmpp_tell_known(ngx_str_t *jid, ngx_queue_t *directed)
{
    uint32_t              hash;
    ngx_queue_t          *q;
    ngx_xmpp_directed_t  *d;

    hash = ngx_crc32_short(jid->data, jid->len);

    for (q = ngx_queue_head(directed);
         q != ngx_queue_sentinel(directed);
         q = ngx_queue_next(q))
    {
        d = ngx_queue_data(q, ngx_xmpp_directed_t, queue);

        if (d->hash == hash && d->bare == jid->len
            && ngx_memcmp(d->data, jid->data, jid->len) == 0)
        {
            d->known = 1;
        }
    }
}
