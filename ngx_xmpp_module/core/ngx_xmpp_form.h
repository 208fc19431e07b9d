/*
 * Data forms (XEP-0004; ngx_xmpp_form.c).  Included by ngx_xmpp.h.
 */


#ifndef _NGX_XMPP_FORM_H_INCLUDED_
#define _NGX_XMPP_FORM_H_INCLUDED_


/* of a form that a client submits */
#define NGX_XMPP_FORM_FIELDS            32
#define NGX_XMPP_FORM_VALUES            1000    /* of all fields together */


/* what a form says: a result, or what was submitted */
typedef struct {
    ngx_str_t                   type;           /* FORM_TYPE, len 0: none */
    ngx_array_t                 fields;         /* of ngx_xmpp_form_field_t */
} ngx_xmpp_form_t;

typedef struct {
    ngx_str_t                   var;
    ngx_array_t                 values;         /* of ngx_str_t */
} ngx_xmpp_form_field_t;


/* a field that a form asks for; a table of them ends with a null one */
typedef struct {
    ngx_str_t                   var;
    ngx_str_t                   type;           /* "jid-single" ... */
    ngx_str_t                   label;
    ngx_uint_t                  required;       /* unsigned  required:1; */
    ngx_str_t                  *options;        /* of list-single, or NULL */
} ngx_xmpp_form_ask_t;

#define ngx_xmpp_null_form_ask                                                \
    { ngx_null_string, ngx_null_string, ngx_null_string, 0, NULL }


extern ngx_str_t  ngx_xmpp_form_ns;             /* jabber:x:data */

/*
 * An element of pool, detached: a form of type "form".  title and instructions
 * are not copied, nor is what asks has.  NULL: no memory.
 */
ngx_xmpp_xml_t *ngx_xmpp_form_asking(ngx_pool_t *pool, ngx_str_t *type,
    ngx_str_t *title, ngx_str_t *instructions, ngx_xmpp_form_ask_t *asks);

/* the same: a form of type "result" */
ngx_xmpp_xml_t *ngx_xmpp_form_result(ngx_pool_t *pool, ngx_xmpp_form_t *form);

/*
 * Reads x, a form that was submitted, by what was asked (3.2): the fields that
 * were asked for, by their var; others are left out.  NGX_OK; NGX_DECLINED:
 * too many fields or values, a field twice, one that is required is missing or
 * has no value, more than one where one was asked for, none of the options, or
 * of another FORM_TYPE than type; then *wrong is what a person can be told.
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_xmpp_form_parse(ngx_pool_t *pool, ngx_xmpp_xml_t *x,
    ngx_str_t *type, ngx_xmpp_form_ask_t *asks, ngx_xmpp_form_t *form,
    const char **wrong);

/* makes an empty one of pool; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_form_init(ngx_pool_t *pool, ngx_xmpp_form_t *form,
    ngx_str_t *type);

/* adds a field without values of the form's pool; NULL: no memory */
ngx_xmpp_form_field_t *ngx_xmpp_form_add(ngx_xmpp_form_t *form,
    ngx_str_t *var);
ngx_int_t ngx_xmpp_form_add_value(ngx_xmpp_form_field_t *field,
    ngx_str_t *value);

/* the values of a field; *n is 0 when there is none, and so is NULL's */
ngx_str_t *ngx_xmpp_form_values(ngx_xmpp_form_t *form, const char *var,
    ngx_uint_t *n);


#endif /* _NGX_XMPP_FORM_H_INCLUDED_ */
