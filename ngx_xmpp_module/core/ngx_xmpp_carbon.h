/*
 * Carbons (XEP-0280): copies of messages for the other sessions of an account.
 */


#ifndef _NGX_XMPP_CARBON_H_INCLUDED_
#define _NGX_XMPP_CARBON_H_INCLUDED_


/* the letter of a record: its client has asked for carbons */
#define NGX_XMPP_CARBON_FLAG          'c'


/*
 * Sets stz->copy_sent and stz->copy_received of a stamped message: whether
 * there may be copies for the sender's and for the recipient's other sessions.
 */
void ngx_xmpp_carbon_prepare(ngx_xmpp_stanza_t *stz);

/*
 * 1 when a session of the account other than these two has asked for carbons,
 * as far as this worker knows; "sender" may be of another account.
 */
ngx_uint_t ngx_xmpp_carbon_others(ngx_xmpp_account_t *a,
    ngx_xmpp_session_t *xs, ngx_xmpp_session_t *sender);

/*
 * A Function has told, at the account's bell of that number, whether a session
 * in another worker has asked for carbons.
 */
void ngx_xmpp_carbon_known(ngx_xmpp_account_t *a, uint64_t number,
    ngx_uint_t elsewhere);

/*
 * Copies a message that was routed, or the batch of which it is the first, to
 * the sender's other sessions, and to the sender's archive if rc is NGX_OK:
 * NGX_AGAIN, ngx_xmpp_batch_done(stz, rc) is called later; NGX_DECLINED:
 * nothing is to be done.
 */
ngx_int_t ngx_xmpp_carbon_sent(ngx_xmpp_stanza_t *stz, ngx_int_t rc);

/* gives the stanzas of a bell to a session's client; mark: 's' or 'r' */
void ngx_xmpp_carbon_deliver(ngx_xmpp_session_t *xs,
    ngx_xmpp_store_bell_t *bell, u_char mark);


/* takes out what only a server says (core/ngx_xmpp_forged.c) */
void ngx_xmpp_forged_strip(ngx_xmpp_stanza_t *stz);


#endif /* _NGX_XMPP_CARBON_H_INCLUDED_ */
