/*
 * The life of a stanza, from top to bottom: the phases that it passes and,
 * within each, the order of the handlers.  A feature with a demand on order
 * adds one enumerator here; all others use NGX_XMPP_ORDER_ANY.
 */


#ifndef _NGX_XMPP_ORDER_H_INCLUDED_
#define _NGX_XMPP_ORDER_H_INCLUDED_


typedef enum {
    NGX_XMPP_RECV_PHASE = 0,     /* the client's stream: counts, wakes */
    NGX_XMPP_ACCESS_PHASE,       /* may the sender send this? */
    NGX_XMPP_SEND_PHASE,         /* on behalf of the sender's account */
    NGX_XMPP_ROUTE_PHASE,        /* the core: where does it go? */
    NGX_XMPP_DELIVER_PHASE,      /* on behalf of the recipient's account */
    NGX_XMPP_OFFLINE_PHASE,      /* nobody was there: keep, push, or error */
    NGX_XMPP_PHASES
} ngx_xmpp_phase_e;


/* within a phase; lower comes first */
typedef enum {
    NGX_XMPP_ORDER_FIRST = 0,

    /* SEND */
    NGX_XMPP_ORDER_SUBSCRIPTION,      /* so are the four about those */
    NGX_XMPP_ORDER_PRESENCE,          /* and own presence */

    NGX_XMPP_ORDER_ANY = 1000
} ngx_xmpp_order_e;


/* the order of stream features in <stream:features/> */
typedef enum {
    NGX_XMPP_FEATURE_STARTTLS = 0,    /* RFC 6120, 5.3.1: before SASL */
    NGX_XMPP_FEATURE_SASL,
    NGX_XMPP_FEATURE_BINDING,         /* XEP-0440 */
    NGX_XMPP_FEATURE_REGISTER,        /* XEP-0077 */
    NGX_XMPP_FEATURE_BIND,
    NGX_XMPP_FEATURE_SESSION
} ngx_xmpp_feature_order_e;


#endif /* _NGX_XMPP_ORDER_H_INCLUDED_ */
