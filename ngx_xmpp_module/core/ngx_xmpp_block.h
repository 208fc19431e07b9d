/*
 * The block list of an account (XEP-0191), as a worker that has sessions of it
 * knows it.  Part of ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_BLOCK_H_INCLUDED_
#define _NGX_XMPP_BLOCK_H_INCLUDED_


/* ---- the copy (core/ngx_xmpp_block.c), one block of the heap ---- */

struct ngx_xmpp_block_s {
    ngx_uint_t                  n;
    ngx_str_t                  *items;          /* prepared JIDs, sorted */
};

/* 1 when the account has blocked jid; own resources are the caller's concern */
#define ngx_xmpp_blocked(a, jid)                                              \
    ((a)->block != NULL && ngx_xmpp_block_match((a)->block, jid))

ngx_uint_t ngx_xmpp_block_match(ngx_xmpp_block_t *block, ngx_xmpp_jid_t *jid);

/* the list as of a bell, JIDs as lines; an older one changes nothing */
void ngx_xmpp_block_update(ngx_xmpp_account_t *a, uint64_t number,
    ngx_str_t *list);

/* the same from the answer to bind */
void ngx_xmpp_block_bound(ngx_xmpp_account_t *a,
    ngx_xmpp_store_result_t *res);

/* a session that asked for the list is sent payload (XEP-0191, 3.3 to 3.5) */
void ngx_xmpp_block_push(ngx_xmpp_session_t *xs, uint64_t number,
    ngx_str_t *payload);

void ngx_xmpp_block_free(ngx_xmpp_block_t *block);


/* ---- presence after a change, or a grant (core/ngx_xmpp_block_tell.c) ---- */

void ngx_xmpp_block_tell(ngx_xmpp_account_t *a, ngx_xmpp_block_t *old);
void ngx_xmpp_block_grant(ngx_xmpp_session_t *xs, ngx_str_t *contact);
void ngx_xmpp_block_answer(ngx_xmpp_stanza_t *stz);
void ngx_xmpp_block_left(ngx_xmpp_session_t *xs);
void ngx_xmpp_block_exit(ngx_xmpp_worker_t *w);


#endif /* _NGX_XMPP_BLOCK_H_INCLUDED_ */
