
/*
 * Shared by the files of ngx_xmpp_archive_module.
 */


#ifndef _NGX_XMPP_ARCHIVE_H_INCLUDED_
#define _NGX_XMPP_ARCHIVE_H_INCLUDED_


#include "ngx_xmpp.h"


typedef struct {
    ngx_flag_t                  enable;         /* the core looks at it */
    ngx_int_t                   messages;       /* of an account */
    size_t                      size;           /* bytes of them all */
    ngx_msec_t                  time;           /* 0: any age */
    ngx_int_t                   page;           /* messages in an answer */
} ngx_xmpp_archive_conf_t;


extern ngx_module_t         ngx_xmpp_archive_module;

extern ngx_str_t            ngx_xmpp_archive_ns;    /* urn:xmpp:mam:2 */
extern ngx_xmpp_form_ask_t  ngx_xmpp_archive_fields[];


/* "number-index" of the store; NGX_OK or NGX_ERROR: it is none */
ngx_int_t ngx_xmpp_archive_entry(redisReply *id,
    ngx_xmpp_entry_t *entry);


/* an entry as text */
#define NGX_XMPP_ARCHIVE_ENTRY_LEN    (NGX_INT64_LEN + 1 + NGX_INT_T_LEN)

/* what was asked for; of the stanza's pool */
typedef struct {
    ngx_xmpp_stanza_t          *stanza;
    ngx_xmpp_store_session_t    record;
    ngx_xmpp_store_archive_t    store;
    ngx_xmpp_entry_t    low;            /* the first that may be */
    ngx_xmpp_entry_t    high;           /* in it, and the last */
    ngx_xmpp_rsm_t              rsm;
    ngx_str_t                   id;             /* queryid; len 0: none */
    u_char                     *text;           /* of low and high */
    unsigned                    flip:1;
} ngx_xmpp_archive_query_t;


/* ngx_xmpp_archive_query.c */

ngx_int_t ngx_xmpp_archive_query(ngx_xmpp_stanza_t *stz);

/* neither that entry, nor what is behind it, or before it */
void ngx_xmpp_archive_query_past(ngx_xmpp_archive_query_t *q,
    ngx_xmpp_entry_t *entry, ngx_uint_t before);

/*
 * ngx_xmpp_archive_page.c: answers a query; NGX_AGAIN, or a condition: nothing
 * was sent to Redis.
 */
ngx_int_t ngx_xmpp_archive_page(ngx_xmpp_archive_query_t *q);

/* ngx_xmpp_archive_prefs.c: whose messages are archived (XEP-0441) */
ngx_int_t ngx_xmpp_archive_prefs_get(ngx_xmpp_stanza_t *stz);
ngx_int_t ngx_xmpp_archive_prefs_set(ngx_xmpp_stanza_t *stz);


#endif /* _NGX_XMPP_ARCHIVE_H_INCLUDED_ */
