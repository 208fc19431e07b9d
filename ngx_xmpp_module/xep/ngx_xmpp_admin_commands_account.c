/*
 * Accounts, passwords and sessions of service administration (XEP-0133, 4.1 to
 * 4.7).
 *
 *     form --> addresses, all of them of this domain --> one after the other:
 *              a request of the store --> a line of the log --> the next
 *          --> completed, or the error of the first that could not be done;
 *              those before it are done, and the text says so
 *
 * A new password takes a way of its own: it is free, or there --> keys, in a
 * thread --> the list of accounts --> the account.
 *
 * The stanza is parked meanwhile, and the job is in its pool.  What has begun
 * is done also when the administrator has gone.
 */


#include "ngx_xmpp_admin_commands.h"


/* addresses of one form */
#define NGX_XMPP_ADMIN_COMMANDS_JIDS    100

typedef struct ngx_xmpp_admin_commands_job_s  ngx_xmpp_admin_commands_job_t;

/* sends the request for job->jid; NGX_OK, or NGX_ERROR: nothing was sent */
typedef ngx_int_t (*ngx_xmpp_admin_commands_pt)(
    ngx_xmpp_admin_commands_job_t *job);

struct ngx_xmpp_admin_commands_job_s {
    ngx_xmpp_stanza_t           *stanza;
    ngx_xmpp_admin_commands_pt   act;
    ngx_array_t                  jids;      /* of ngx_xmpp_jid_t */
    ngx_xmpp_jid_t              *jid;       /* of these, the one in hand */
    ngx_uint_t                   done;
    ngx_str_t                    tag;       /* of its account */
    ngx_str_t                    date;
    ngx_str_t                    password;  /* prepared */
    ngx_str_t                   *keys;
    const char                  *none;      /* what there may not be */
};


static ngx_xmpp_admin_commands_job_t *ngx_xmpp_admin_commands_job(
    ngx_xmpp_stanza_t *stz, ngx_xmpp_admin_commands_pt act);
static ngx_int_t ngx_xmpp_admin_commands_each(
    ngx_xmpp_admin_commands_job_t *job, ngx_xmpp_form_t *form,
    ngx_uint_t full);
static ngx_int_t ngx_xmpp_admin_commands_jid(
    ngx_xmpp_admin_commands_job_t *job, ngx_str_t *text, ngx_uint_t full);
static ngx_int_t ngx_xmpp_admin_commands_next(
    ngx_xmpp_admin_commands_job_t *job);
static ngx_int_t ngx_xmpp_admin_commands_act_delete(
    ngx_xmpp_admin_commands_job_t *job);
static ngx_int_t ngx_xmpp_admin_commands_act_disable(
    ngx_xmpp_admin_commands_job_t *job);
static ngx_int_t ngx_xmpp_admin_commands_act_end(
    ngx_xmpp_admin_commands_job_t *job);
static void ngx_xmpp_admin_commands_acted(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_admin_commands_removed(void *data, ngx_int_t rc);
static ngx_int_t ngx_xmpp_admin_commands_failed(
    ngx_xmpp_admin_commands_job_t *job, ngx_int_t rc);
static ngx_int_t ngx_xmpp_admin_commands_password(
    ngx_xmpp_admin_commands_job_t *job, ngx_xmpp_form_t *form);
static void ngx_xmpp_admin_commands_checked(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_admin_commands_made(void *data, ngx_str_t *keys);
static void ngx_xmpp_admin_commands_named(void *data,
    ngx_xmpp_store_result_t *res);
static void ngx_xmpp_admin_commands_stored(void *data,
    ngx_xmpp_store_result_t *res);
static ngx_int_t ngx_xmpp_admin_commands_taken(
    ngx_xmpp_admin_commands_job_t *job, ngx_int_t rc);


/* 4.2 */

ngx_int_t
ngx_xmpp_admin_commands_delete(ngx_xmpp_stanza_t *stz, ngx_xmpp_form_t *form)
{
    ngx_xmpp_admin_commands_job_t  *job;

    job = ngx_xmpp_admin_commands_job(stz, ngx_xmpp_admin_commands_act_delete);

    return job ? ngx_xmpp_admin_commands_each(job, form, 0) : NGX_ERROR;
}


/* 4.3 */

ngx_int_t
ngx_xmpp_admin_commands_disable(ngx_xmpp_stanza_t *stz, ngx_xmpp_form_t *form)
{
    ngx_xmpp_admin_commands_job_t  *job;

    job = ngx_xmpp_admin_commands_job(stz,
                                      ngx_xmpp_admin_commands_act_disable);

    return job ? ngx_xmpp_admin_commands_each(job, form, 0) : NGX_ERROR;
}


/* 4.4 */

ngx_int_t
ngx_xmpp_admin_commands_reenable(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form)
{
    ngx_xmpp_admin_commands_job_t  *job;

    job = ngx_xmpp_admin_commands_job(stz,
                                      ngx_xmpp_admin_commands_act_disable);
    if (job == NULL) {
        return NGX_ERROR;
    }

    job->date.len = 0;

    return ngx_xmpp_admin_commands_each(job, form, 0);
}


/* 4.5: of one resource, or all of them */

ngx_int_t
ngx_xmpp_admin_commands_end(ngx_xmpp_stanza_t *stz, ngx_xmpp_form_t *form)
{
    ngx_xmpp_admin_commands_job_t  *job;

    job = ngx_xmpp_admin_commands_job(stz, ngx_xmpp_admin_commands_act_end);
    if (job == NULL) {
        return NGX_ERROR;
    }

    job->none = "there is no session of";

    return ngx_xmpp_admin_commands_each(job, form, 1);
}


/* NULL: no memory */

static ngx_xmpp_admin_commands_job_t *
ngx_xmpp_admin_commands_job(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_admin_commands_pt act)
{
    ngx_xmpp_admin_commands_job_t  *job;

    job = ngx_pcalloc(stz->pool, sizeof(ngx_xmpp_admin_commands_job_t));

    if (job == NULL
        || ngx_array_init(&job->jids, stz->pool, 4, sizeof(ngx_xmpp_jid_t))
           != NGX_OK)
    {
        return NULL;
    }

    job->date.data = ngx_pnalloc(stz->pool, sizeof("1970-09-28T12:00:00Z"));
    if (job->date.data == NULL) {
        return NULL;
    }

    job->date.len = ngx_xmpp_datetime(job->date.data, ngx_time())
                    - job->date.data;

    job->stanza = stz;
    job->act = act;
    job->none = "there is no account";

    return job;
}


/*
 * Reads all addresses before anything is done, and begins with the first;
 * full: they may be of sessions.  Returns what a handler does.
 */

static ngx_int_t
ngx_xmpp_admin_commands_each(ngx_xmpp_admin_commands_job_t *job,
    ngx_xmpp_form_t *form, ngx_uint_t full)
{
    ngx_int_t   rc;
    ngx_str_t  *text;
    ngx_uint_t  i, n;

    text = ngx_xmpp_form_values(form, "accountjids", &n);

    if (n > NGX_XMPP_ADMIN_COMMANDS_JIDS) {
        return ngx_xmpp_refuse(job->stanza, NGX_XMPP_E_BAD_PAYLOAD,
                               "more than %d addresses at once",
                               NGX_XMPP_ADMIN_COMMANDS_JIDS);
    }

    for (i = 0; i < n; i++) {

        /* a client may send an empty line of its window, too */

        if (text[i].len == 0) {
            continue;
        }

        rc = ngx_xmpp_admin_commands_jid(job, &text[i], full);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (job->jids.nelts == 0) {
        return ngx_xmpp_refuse(job->stanza, NGX_XMPP_E_BAD_PAYLOAD,
                               "the field accountjids is required");
    }

    return ngx_xmpp_admin_commands_next(job);
}


/* one address of this very domain; NGX_OK, a condition or NGX_ERROR */

static ngx_int_t
ngx_xmpp_admin_commands_jid(ngx_xmpp_admin_commands_job_t *job,
    ngx_str_t *text, ngx_uint_t full)
{
    ngx_int_t           rc;
    ngx_uint_t          i;
    ngx_xmpp_jid_t     *known, *jid;
    ngx_xmpp_stanza_t  *stz;

    stz = job->stanza;

    jid = ngx_palloc(stz->pool, sizeof(ngx_xmpp_jid_t));
    if (jid == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_xmpp_jid_parse(stz->pool, text, jid);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED || jid->local.len == 0
        || (jid->resource.len && !full))
    {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_BAD_PAYLOAD,
                               "\"%V\" is not the address of %s", text,
                               full ? "an account or a session"
                                    : "an account: that is user@domain");
    }

    if (!ngx_xmpp_str_eq(&jid->domain, &stz->host->name)) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_BAD_PAYLOAD,
                               "\"%V\" is not of the domain %V; ask its own "
                               "server", text, &stz->host->name);
    }

    /* XEP-0004, 3.3: duplicates MUST be ignored */

    known = job->jids.elts;

    for (i = 0; i < job->jids.nelts; i++) {
        if (ngx_xmpp_str_eq(&known[i].full, &jid->full)) {
            return NGX_OK;
        }
    }

    known = ngx_array_push(&job->jids);
    if (known == NULL) {
        return NGX_ERROR;
    }

    *known = *jid;

    return NGX_OK;
}


/* returns what a handler does, and what ngx_xmpp_stanza_resume() takes */

static ngx_int_t
ngx_xmpp_admin_commands_next(ngx_xmpp_admin_commands_job_t *job)
{
    ngx_xmpp_jid_t  *jid;

    if (job->done == job->jids.nelts) {
        return ngx_xmpp_command_done(job->stanza, NULL, NULL, NULL);
    }

    jid = job->jids.elts;
    job->jid = &jid[job->done];

    if (ngx_xmpp_store_tag(job->stanza->pool, &job->jid->bare, &job->tag)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return (job->act(job) == NGX_OK)
           ? NGX_AGAIN : ngx_xmpp_admin_commands_failed(job, NGX_AGAIN);
}


static ngx_int_t
ngx_xmpp_admin_commands_act_delete(ngx_xmpp_admin_commands_job_t *job)
{
    return ngx_xmpp_remove(job->stanza->session->worker, &job->jid->bare, 0,
                           ngx_xmpp_admin_commands_removed, job);
}


static ngx_int_t
ngx_xmpp_admin_commands_act_disable(ngx_xmpp_admin_commands_job_t *job)
{
    return ngx_xmpp_store_disable(job->stanza->session->worker->store,
                                  job->stanza->pool, &job->tag, &job->date,
                                  ngx_xmpp_admin_commands_acted, job)
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_xmpp_admin_commands_act_end(ngx_xmpp_admin_commands_job_t *job)
{
    return ngx_xmpp_store_kick(job->stanza->session->worker->store,
                               job->stanza->pool, &job->tag,
                               &job->jid->resource,
                               ngx_xmpp_admin_commands_acted, job)
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_xmpp_admin_commands_acted(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_admin_commands_removed(data, res->rc);
}


/* one is done, or not */

static void
ngx_xmpp_admin_commands_removed(void *data, ngx_int_t rc)
{
    ngx_xmpp_admin_commands_job_t *job = data;

    if (rc == NGX_OK) {
        ngx_xmpp_admin_commands_log(job->stanza, &job->jid->full);

        job->done++;
        rc = ngx_xmpp_admin_commands_next(job);

    } else {
        rc = ngx_xmpp_admin_commands_failed(job, rc);
    }

    if (rc != NGX_AGAIN) {
        ngx_xmpp_stanza_resume(job->stanza, rc);
    }
}


/* the condition for the outcome of a request; those before it are done */

static ngx_int_t
ngx_xmpp_admin_commands_failed(ngx_xmpp_admin_commands_job_t *job,
    ngx_int_t rc)
{
    u_char  before[sizeof("; the  addresses before it are done")
                   + NGX_INT_T_LEN];

    before[0] = '\0';

    if (job->done) {
        (void) ngx_sprintf(before, "; the %ui address%s before it %s done%Z",
                           job->done, job->done == 1 ? "" : "es",
                           job->done == 1 ? "is" : "are");
    }

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_refuse(job->stanza, NGX_XMPP_E_ITEM_NOT_FOUND,
                               "%s %V%s", job->none, &job->jid->full, before);
    }

    return ngx_xmpp_refuse(job->stanza, NGX_XMPP_E_RESOURCE_CONSTRAINT,
                           "%s: the database %s%s",
                           rc == NGX_AGAIN ? "not done" : "it may be done",
                           rc == NGX_AGAIN ? "is away" : "has not answered",
                           before);
}


/* 4.1; what it asks for beside has no place here */

ngx_int_t
ngx_xmpp_admin_commands_add(ngx_xmpp_stanza_t *stz, ngx_xmpp_form_t *form)
{
    ngx_str_t                      *one, *two;
    ngx_uint_t                      n;
    ngx_xmpp_admin_commands_job_t  *job;

    one = ngx_xmpp_form_values(form, "password", &n);
    two = ngx_xmpp_form_values(form, "password-verify", &n);

    if (!ngx_xmpp_str_eq(one, two)) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_BAD_PAYLOAD,
                               "the two passwords differ");
    }

    job = ngx_xmpp_admin_commands_job(stz, NULL);

    return job ? ngx_xmpp_admin_commands_password(job, form) : NGX_ERROR;
}


/* 4.7 */

ngx_int_t
ngx_xmpp_admin_commands_change(ngx_xmpp_stanza_t *stz, ngx_xmpp_form_t *form)
{
    ngx_xmpp_admin_commands_job_t  *job;

    job = ngx_xmpp_admin_commands_job(stz, NULL);
    if (job == NULL) {
        return NGX_ERROR;
    }

    job->date.len = 0;

    return ngx_xmpp_admin_commands_password(job, form);
}


/* of a new account, or, date.len 0, of one that is there */

static ngx_int_t
ngx_xmpp_admin_commands_password(ngx_xmpp_admin_commands_job_t *job,
    ngx_xmpp_form_t *form)
{
    ngx_int_t           rc;
    ngx_str_t          *text;
    ngx_uint_t          n;
    ngx_xmpp_stanza_t  *stz;

    stz = job->stanza;

    text = ngx_xmpp_form_values(form, "accountjid", &n);

    rc = ngx_xmpp_admin_commands_jid(job, text, 0);

    if (rc != NGX_OK) {
        return rc;
    }

    job->jid = job->jids.elts;

    text = ngx_xmpp_form_values(form, "password", &n);

    rc = ngx_xmpp_keys_password(stz->pool, text, &job->password);

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_refuse(stz, NGX_XMPP_E_BAD_PAYLOAD,
                               "the password is too long, or has characters "
                               "that no password may have");
    }

    if (rc != NGX_OK
        || ngx_xmpp_store_tag(stz->pool, &job->jid->bare, &job->tag)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_store_account(stz->session->worker->store, stz->pool,
                                  &job->tag, &job->date, NULL,
                                  ngx_xmpp_admin_commands_checked, job)
           ? NGX_AGAIN : ngx_xmpp_admin_commands_taken(job, NGX_AGAIN);
}


static void
ngx_xmpp_admin_commands_checked(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_admin_commands_job_t *job = data;

    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *stz;

    stz = job->stanza;

    rc = (res->rc == NGX_OK)
         ? ngx_xmpp_keys_make(stz->session->worker, stz->pool, &job->password,
                              stz->host->iterations,
                              ngx_xmpp_admin_commands_made, job)
         : ngx_xmpp_admin_commands_taken(job, res->rc);

    if (rc != NGX_AGAIN) {
        ngx_xmpp_stanza_resume(stz, rc);
    }
}


static void
ngx_xmpp_admin_commands_made(void *data, ngx_str_t *keys)
{
    ngx_xmpp_admin_commands_job_t *job = data;

    ngx_xmpp_stanza_t        *stz;
    ngx_xmpp_store_result_t   res;

    stz = job->stanza;

    if (keys == NULL) {
        ngx_xmpp_stanza_resume(stz, NGX_ERROR);
        return;
    }

    job->keys = keys;

    ngx_memzero(&res, sizeof(ngx_xmpp_store_result_t));

    if (job->date.len == 0) {
        ngx_xmpp_admin_commands_named(job, &res);
        return;
    }

    /* a list has a name too many after a crash, never one too few */

    if (ngx_xmpp_store_named(stz->session->worker->store, stz->pool,
                             &stz->host->name, &job->jid->bare, 1,
                             ngx_xmpp_admin_commands_named, job)
        == NULL)
    {
        ngx_xmpp_stanza_resume(stz, ngx_xmpp_admin_commands_taken(job,
                                                                  NGX_AGAIN));
    }
}


static void
ngx_xmpp_admin_commands_named(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_admin_commands_job_t *job = data;

    ngx_int_t           rc;
    ngx_xmpp_stanza_t  *stz;

    stz = job->stanza;

    /* DECLINED: it was there before */

    rc = (res->rc == NGX_DECLINED) ? NGX_OK : res->rc;

    if (rc == NGX_OK
        && ngx_xmpp_store_account(stz->session->worker->store, stz->pool,
                                  &job->tag, &job->date, job->keys,
                                  ngx_xmpp_admin_commands_stored, job)
           == NULL)
    {
        rc = NGX_AGAIN;
    }

    if (rc != NGX_OK) {
        ngx_xmpp_stanza_resume(stz, ngx_xmpp_admin_commands_taken(job, rc));
    }
}


static void
ngx_xmpp_admin_commands_stored(void *data, ngx_xmpp_store_result_t *res)
{
    ngx_xmpp_admin_commands_job_t *job = data;

    ngx_int_t  rc;

    if (res->rc == NGX_OK) {
        ngx_xmpp_admin_commands_log(job->stanza, &job->jid->bare);

        rc = ngx_xmpp_command_done(job->stanza, NULL, NULL, NULL);

    } else {
        rc = ngx_xmpp_admin_commands_taken(job, res->rc);
    }

    ngx_xmpp_stanza_resume(job->stanza, rc);
}


/* section 5: conflict, where such an account exists */

static ngx_int_t
ngx_xmpp_admin_commands_taken(ngx_xmpp_admin_commands_job_t *job,
    ngx_int_t rc)
{
    if (rc == NGX_BUSY) {
        return ngx_xmpp_refuse(job->stanza, NGX_XMPP_E_CONFLICT,
                               "the removal of an account %V is not complete "
                               "yet", &job->jid->bare);
    }

    if (rc == NGX_DECLINED && job->date.len) {
        return ngx_xmpp_refuse(job->stanza, NGX_XMPP_E_CONFLICT,
                               "the account %V exists already",
                               &job->jid->bare);
    }

    return ngx_xmpp_admin_commands_failed(job, rc);
}
