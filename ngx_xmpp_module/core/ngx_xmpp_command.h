/*
 * Ad-hoc commands of a host (XEP-0050; ngx_xmpp_command.c).  Included by
 * ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_COMMAND_H_INCLUDED_
#define _NGX_XMPP_COMMAND_H_INCLUDED_


#define NGX_XMPP_COMMAND_NS     "http://jabber.org/protocol/commands"


/*
 * What a command does, as the handler of an iq: answers by
 * ngx_xmpp_command_done(), or parks (NGX_AGAIN), or refuses.  form is what was
 * submitted, of the stanza's pool and checked against fields; NULL: the
 * command has none.
 */
typedef ngx_int_t (*ngx_xmpp_command_pt)(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *form);


/* who may see and execute it, and where */
#define NGX_XMPP_COMMAND_ADMIN  0x01    /* the host's administrators */
#define NGX_XMPP_COMMAND_TLS    0x02    /* has a password in its form */


/* a row; a table of them ends with a null one */
typedef struct {
    ngx_str_t               node;
    ngx_str_t               name;           /* for people */
    ngx_str_t               instructions;   /* of the form */
    ngx_uint_t              flags;          /* NGX_XMPP_COMMAND_* */
    ngx_str_t               form_type;
    ngx_xmpp_form_ask_t    *fields;         /* NULL: it asks for nothing */
    ngx_xmpp_command_pt     handler;
} ngx_xmpp_command_t;

#define ngx_xmpp_null_command                                                 \
    { ngx_null_string, ngx_null_string, ngx_null_string, 0, ngx_null_string,  \
      NULL, NULL }


extern ngx_str_t  ngx_xmpp_command_ns;

/*
 * For prepare of a feature whose word in "config" stands behind "commands":
 * the host has these commands, and says in disco that it has some.  Where
 * xmpp_commands is off nothing happens.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_xmpp_command_add(ngx_xmpp_host_t *h, ngx_xmpp_command_t *table);

/* the command of a node, or NULL */
ngx_xmpp_command_t *ngx_xmpp_command_find(ngx_xmpp_host_t *h,
    ngx_str_t *node);

/* 1 when the stanza's sender may see and execute it; asks nobody */
ngx_uint_t ngx_xmpp_command_allowed(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_command_t *cmd);

/*
 * XEP-0050, 3.3: a new session of the command, of the stanza's pool, or
 * whether one that the sender names is his, and of this command.  check:
 * NGX_OK, NGX_XMPP_E_BAD_SESSIONID, _SESSION_EXPIRED, _RESOURCE_CONSTRAINT:
 * the cluster's secret is not known yet; create: NGX_OK, that, or NGX_ERROR.
 */
ngx_int_t ngx_xmpp_command_session_create(ngx_xmpp_stanza_t *stz,
    ngx_str_t *node, ngx_str_t *sessionid);
ngx_int_t ngx_xmpp_command_session_check(ngx_xmpp_stanza_t *stz,
    ngx_str_t *node, ngx_str_t *sessionid);

/*
 * <command/> as the answer to the stanza, which has one, with its session or,
 * when it names none, a new one.  NULL: no memory, or no secret.
 */
ngx_xmpp_xml_t *ngx_xmpp_command_element(ngx_xmpp_stanza_t *stz,
    const char *status);

/*
 * Answers that it is completed, with a form and a note, each may be NULL; type
 * of the note: "info", "warn" or "error".  As ngx_xmpp_reply().
 */
ngx_int_t ngx_xmpp_command_done(ngx_xmpp_stanza_t *stz,
    ngx_xmpp_form_t *result, const char *type, ngx_str_t *note);


#endif /* _NGX_XMPP_COMMAND_H_INCLUDED_ */
