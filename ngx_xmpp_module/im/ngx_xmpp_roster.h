/*
 * Shared by the files of the roster.
 */


#ifndef _NGX_XMPP_ROSTER_H_INCLUDED_
#define _NGX_XMPP_ROSTER_H_INCLUDED_


#include "ngx_xmpp.h"


typedef struct {
    ngx_xmpp_feature_conf_t     feature;
    ngx_uint_t                  max_items;
    size_t                      max_size;       /* bytes of all items */
} ngx_xmpp_roster_conf_t;


extern ngx_module_t  ngx_xmpp_roster_module;
extern ngx_str_t     ngx_xmpp_roster_ns;        /* jabber:iq:roster */


/* one party of a subscription and the other, while its steps are made */
typedef struct ngx_xmpp_subscription_s  ngx_xmpp_subscription_t;

struct ngx_xmpp_subscription_s {
    ngx_xmpp_stanza_t          *stanza;         /* that all of it is for */
    ngx_xmpp_type_e             type;
    ngx_str_t                   contact;        /* bare JID */
    ngx_xmpp_host_t            *host;           /* the contact's; NULL: none */
    ngx_str_t                   bytes;          /* as the contact gets it; len
                                                   0: nothing but its type */
    void                      (*done)(ngx_xmpp_subscription_t *s,
                                    ngx_int_t rc);

    /* of ngx_xmpp_roster_subscription.c */
    ngx_xmpp_store_item_t       user_side;
    ngx_xmpp_store_item_t       contact_side;
    ngx_str_t                   tag;            /* of the contact */
    ngx_array_t                 to_contact;     /* of ngx_str_t: unavailable */
    ngx_array_t                 to_user;
    unsigned                    grant_contact:1;    /* gets presence now */
    unsigned                    grant_user:1;
};


/* the items' handlers; what an iq handler returns */
ngx_int_t ngx_xmpp_roster_set(ngx_xmpp_stanza_t *stz);

/* the user's own stanza about a subscription: a hook of SEND */
ngx_int_t ngx_xmpp_roster_subscribe(ngx_xmpp_stanza_t *stz);

/*
 * Both steps of a subscription, for *s, which lives in its stanza's pool.
 * NGX_AGAIN: done(s, rc) is called later, once, with NGX_OK or the condition
 * to answer with.  Else that condition, or NGX_ERROR; nothing was sent then.
 */
ngx_int_t ngx_xmpp_roster_subscription(ngx_xmpp_subscription_t *s);

/* fills in whose roster it is, and its limits */
void ngx_xmpp_roster_item(ngx_xmpp_session_t *xs, ngx_str_t *contact,
    ngx_xmpp_store_item_t *it);


#endif /* _NGX_XMPP_ROSTER_H_INCLUDED_ */
