/*
 * What the directives in http{} share (admin/ngx_xmpp_http.c).
 */


#ifndef _NGX_XMPP_HTTP_H_INCLUDED_
#define _NGX_XMPP_HTTP_H_INCLUDED_


#include "ngx_xmpp.h"
#include <ngx_http.h>


/* of a location that answers with statistics */
typedef struct {
    ngx_shm_zone_t             *zone;           /* NULL: it does not */
} ngx_xmpp_http_conf_t;


/* a header that goes with an answer */
typedef struct {
    ngx_str_t                   name;
    ngx_str_t                   value;
} ngx_xmpp_http_header_t;


/* "Cache-Control: no-store", and no other header */
extern ngx_xmpp_http_header_t  ngx_xmpp_http_fresh[];

void *ngx_xmpp_http_create_conf(ngx_conf_t *cf);
char *ngx_xmpp_http_merge_conf(ngx_conf_t *cf, void *parent, void *child);

/*
 * The setter of a directive without arguments, whose location is answered by
 * handler, from now on: one line in the function of ngx_command_t.
 */
char *ngx_xmpp_http_set(ngx_conf_t *cf, ngx_xmpp_http_conf_t *conf,
    ngx_http_handler_pt handler);

/*
 * Whether it is a request for this very location, by GET or HEAD: NGX_OK, or
 * what the handler returns.  The body, if any, is read and dropped.
 */
ngx_int_t ngx_xmpp_http_request(ngx_http_request_t *r);

/* the request's header of that name, in lower case; NULL: there is none */
ngx_str_t *ngx_xmpp_http_header(ngx_http_request_t *r, ngx_str_t *name);

/*
 * Answers 200 with body, of r->pool, of that type; headers ends with a name of
 * no bytes.  What the handler returns.
 */
ngx_int_t ngx_xmpp_http_send(ngx_http_request_t *r, ngx_str_t *type,
    ngx_xmpp_http_header_t *headers, ngx_str_t *body);

/*
 * Of a process: its resident memory in bytes, and the processor time that it
 * has taken in milliseconds.  0: unknown.
 */
void ngx_xmpp_http_process(ngx_pid_t pid, size_t *memory, uint64_t *time);


#endif /* _NGX_XMPP_HTTP_H_INCLUDED_ */
