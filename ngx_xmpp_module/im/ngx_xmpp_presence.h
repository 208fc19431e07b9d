/*
 * Shared by the files of presence.
 */


#ifndef _NGX_XMPP_PRESENCE_H_INCLUDED_
#define _NGX_XMPP_PRESENCE_H_INCLUDED_


#include "ngx_xmpp.h"


extern ngx_module_t  ngx_xmpp_presence_module;


/* handlers: directed presence, probes; what a session's end hands on */
ngx_int_t ngx_xmpp_presence_directed(ngx_xmpp_stanza_t *stz);
ngx_int_t ngx_xmpp_presence_probe(ngx_xmpp_stanza_t *stz);
void ngx_xmpp_presence_unbind(ngx_xmpp_session_t *xs);
void ngx_xmpp_presence_taken(ngx_xmpp_session_t *xs);
void ngx_xmpp_presence_block(ngx_xmpp_session_t *xs);

/*
 * The session is unavailable: whoever got directed presence and is not told
 * by t, which has not been started, is told by t's stanza.  Returns how many
 * there were, told or not.
 */
ngx_uint_t ngx_xmpp_presence_undirect(ngx_xmpp_session_t *xs,
    ngx_xmpp_tell_t *t);


#endif /* _NGX_XMPP_PRESENCE_H_INCLUDED_ */
