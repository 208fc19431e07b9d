/*
 * Data forms (XEP-0004), as far as the server has some: it asks by a form, is
 * answered by one that was submitted, and tells by one of type result.
 *
 *     asks --asking--> <x type='form'/>     <x type='submit'/> --parse--> form
 *                                  form --result--> <x type='result'/>
 *
 * What was asked decides what is read of an answer: the type that a client
 * writes on a field means nothing (3.2), fields that nobody asked for are left
 * out (3.1), and a stranger's form is bounded in fields and values; its bytes
 * are those of a stanza.  All of it lives in the caller's pool.
 */


#include "ngx_xmpp.h"


/* a form that is read */
typedef struct {
    ngx_pool_t           *pool;
    ngx_xmpp_form_t      *form;
    ngx_uint_t            values;        /* of all fields */
    const char           *wrong;
} ngx_xmpp_form_reader_t;


static ngx_xmpp_xml_t *ngx_xmpp_form_create(ngx_pool_t *pool, ngx_str_t *kind);
static ngx_int_t ngx_xmpp_form_type(ngx_pool_t *pool, ngx_xmpp_xml_t *x,
    ngx_str_t *type);
static ngx_int_t ngx_xmpp_form_text(ngx_pool_t *pool, ngx_xmpp_xml_t *parent,
    ngx_str_t *name, ngx_str_t *text);
static ngx_xmpp_xml_t *ngx_xmpp_form_field(ngx_pool_t *pool,
    ngx_xmpp_xml_t *x, ngx_str_t *var);
static ngx_int_t ngx_xmpp_form_asked(ngx_pool_t *pool, ngx_xmpp_xml_t *x,
    ngx_xmpp_form_ask_t *ask);
static ngx_int_t ngx_xmpp_form_read(ngx_xmpp_form_reader_t *r,
    ngx_xmpp_xml_t *e, ngx_str_t *var);
static ngx_int_t ngx_xmpp_form_check(ngx_xmpp_form_reader_t *r,
    ngx_str_t *type, ngx_xmpp_form_ask_t *asks);
static ngx_int_t ngx_xmpp_form_check_field(ngx_xmpp_form_reader_t *r,
    ngx_xmpp_form_ask_t *ask);
static ngx_xmpp_form_field_t *ngx_xmpp_form_find(ngx_xmpp_form_t *form,
    ngx_str_t *var);


ngx_str_t  ngx_xmpp_form_ns = ngx_string("jabber:x:data");

static ngx_str_t  ngx_xmpp_form_x = ngx_string("x");
static ngx_str_t  ngx_xmpp_form_name = ngx_string("field");
static ngx_str_t  ngx_xmpp_form_value = ngx_string("value");
static ngx_str_t  ngx_xmpp_form_option = ngx_string("option");
static ngx_str_t  ngx_xmpp_form_required = ngx_string("required");
static ngx_str_t  ngx_xmpp_form_title = ngx_string("title");
static ngx_str_t  ngx_xmpp_form_instructions = ngx_string("instructions");
static ngx_str_t  ngx_xmpp_form_hidden = ngx_string("hidden");
static ngx_str_t  ngx_xmpp_form_form_type = ngx_string("FORM_TYPE");


ngx_xmpp_xml_t *
ngx_xmpp_form_asking(ngx_pool_t *pool, ngx_str_t *type, ngx_str_t *title,
    ngx_str_t *instructions, ngx_xmpp_form_ask_t *asks)
{
    ngx_xmpp_xml_t       *x;
    ngx_xmpp_form_ask_t  *ask;

    static ngx_str_t  kind = ngx_string("form");

    x = ngx_xmpp_form_create(pool, &kind);

    if (x == NULL
        || ngx_xmpp_form_text(pool, x, &ngx_xmpp_form_title, title) != NGX_OK
        || ngx_xmpp_form_text(pool, x, &ngx_xmpp_form_instructions,
                              instructions)
           != NGX_OK
        || ngx_xmpp_form_type(pool, x, type) != NGX_OK)
    {
        return NULL;
    }

    for (ask = asks; ask->var.len; ask++) {
        if (ngx_xmpp_form_asked(pool, x, ask) != NGX_OK) {
            return NULL;
        }
    }

    return x;
}


ngx_xmpp_xml_t *
ngx_xmpp_form_result(ngx_pool_t *pool, ngx_xmpp_form_t *form)
{
    ngx_str_t              *value;
    ngx_uint_t              i, n;
    ngx_xmpp_xml_t         *x, *e;
    ngx_xmpp_form_field_t  *field;

    static ngx_str_t  kind = ngx_string("result");

    x = ngx_xmpp_form_create(pool, &kind);

    if (x == NULL || ngx_xmpp_form_type(pool, x, &form->type) != NGX_OK) {
        return NULL;
    }

    field = form->fields.elts;

    for (i = 0; i < form->fields.nelts; i++) {

        e = ngx_xmpp_form_field(pool, x, &field[i].var);
        if (e == NULL) {
            return NULL;
        }

        value = field[i].values.elts;

        for (n = 0; n < field[i].values.nelts; n++) {
            if (ngx_xmpp_form_text(pool, e, &ngx_xmpp_form_value, &value[n])
                != NGX_OK)
            {
                return NULL;
            }
        }
    }

    return x;
}


static ngx_xmpp_xml_t *
ngx_xmpp_form_create(ngx_pool_t *pool, ngx_str_t *kind)
{
    ngx_xmpp_xml_t  *x;

    x = ngx_xmpp_xml_create(pool, &ngx_xmpp_form_x, &ngx_xmpp_form_ns);

    if (x == NULL || ngx_xmpp_xml_set(pool, x, "type", kind) != NGX_OK) {
        return NULL;
    }

    return x;
}


/* XEP-0068, 3: which fields these are */

static ngx_int_t
ngx_xmpp_form_type(ngx_pool_t *pool, ngx_xmpp_xml_t *x, ngx_str_t *type)
{
    ngx_xmpp_xml_t  *e;

    if (type->len == 0) {
        return NGX_OK;
    }

    e = ngx_xmpp_form_field(pool, x, &ngx_xmpp_form_form_type);

    if (e == NULL
        || ngx_xmpp_xml_set(pool, e, "type", &ngx_xmpp_form_hidden) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_xmpp_form_text(pool, e, &ngx_xmpp_form_value, type);
}


/* a child element with text */

static ngx_int_t
ngx_xmpp_form_text(ngx_pool_t *pool, ngx_xmpp_xml_t *parent, ngx_str_t *name,
    ngx_str_t *text)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_add(pool, parent, name, NULL);

    if (e == NULL || ngx_xmpp_xml_add_text(pool, e, text) == NULL) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_xmpp_xml_t *
ngx_xmpp_form_field(ngx_pool_t *pool, ngx_xmpp_xml_t *x, ngx_str_t *var)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_add(pool, x, &ngx_xmpp_form_name, NULL);

    if (e == NULL || ngx_xmpp_xml_set(pool, e, "var", var) != NGX_OK) {
        return NULL;
    }

    return e;
}


static ngx_int_t
ngx_xmpp_form_asked(ngx_pool_t *pool, ngx_xmpp_xml_t *x,
    ngx_xmpp_form_ask_t *ask)
{
    ngx_str_t       *option;
    ngx_xmpp_xml_t  *e, *o;

    e = ngx_xmpp_form_field(pool, x, &ask->var);

    if (e == NULL
        || ngx_xmpp_xml_set(pool, e, "type", &ask->type) != NGX_OK
        || ngx_xmpp_xml_set(pool, e, "label", &ask->label) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ask->required
        && ngx_xmpp_xml_add(pool, e, &ngx_xmpp_form_required, NULL) == NULL)
    {
        return NGX_ERROR;
    }

    for (option = ask->options; option && option->len; option++) {

        o = ngx_xmpp_xml_add(pool, e, &ngx_xmpp_form_option, NULL);

        if (o == NULL
            || ngx_xmpp_xml_set(pool, o, "label", option) != NGX_OK
            || ngx_xmpp_form_text(pool, o, &ngx_xmpp_form_value, option)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_xmpp_form_parse(ngx_pool_t *pool, ngx_xmpp_xml_t *x, ngx_str_t *type,
    ngx_xmpp_form_ask_t *asks, ngx_xmpp_form_t *form, const char **wrong)
{
    ngx_int_t                rc;
    ngx_str_t               *var;
    ngx_uint_t               n;
    ngx_xmpp_xml_t          *e;
    ngx_xmpp_form_ask_t     *ask;
    ngx_xmpp_form_reader_t   r;

    r.pool = pool;
    r.form = form;
    r.values = 0;
    r.wrong = "the form has too many fields or values";

    rc = ngx_xmpp_form_init(pool, form, type);

    for (e = ngx_xmpp_xml_child(x, "field", &ngx_xmpp_form_ns), n = 0;
         e && rc == NGX_OK;
         e = ngx_xmpp_xml_next(e))
    {
        if (!ngx_xmpp_xml_is(e, "field", &ngx_xmpp_form_ns)) {
            continue;
        }

        if (++n > NGX_XMPP_FORM_FIELDS) {
            rc = NGX_DECLINED;
            break;
        }

        var = ngx_xmpp_xml_attr(e, "var");

        if (var == NULL) {
            continue;
        }

        /* 3.1: those that are not understood MUST be ignored */

        for (ask = asks; ask->var.len; ask++) {
            if (ngx_xmpp_str_eq(&ask->var, var)) {
                break;
            }
        }

        if (ask->var.len || ngx_xmpp_str_eq(var, &ngx_xmpp_form_form_type)) {
            rc = ngx_xmpp_form_read(&r, e, var);
        }
    }

    if (rc == NGX_OK) {
        rc = ngx_xmpp_form_check(&r, type, asks);
    }

    *wrong = r.wrong;

    return rc;
}


static ngx_int_t
ngx_xmpp_form_read(ngx_xmpp_form_reader_t *r, ngx_xmpp_xml_t *e,
    ngx_str_t *var)
{
    ngx_str_t               text;
    ngx_xmpp_xml_t         *v;
    ngx_xmpp_form_field_t  *field;

    if (ngx_xmpp_form_find(r->form, var)) {
        r->wrong = "a field is in the form twice";
        return NGX_DECLINED;
    }

    field = ngx_xmpp_form_add(r->form, var);
    if (field == NULL) {
        return NGX_ERROR;
    }

    for (v = ngx_xmpp_xml_child(e, "value", &ngx_xmpp_form_ns);
         v;
         v = ngx_xmpp_xml_next(v))
    {
        if (!ngx_xmpp_xml_is(v, "value", &ngx_xmpp_form_ns)) {
            continue;
        }

        if (++r->values > NGX_XMPP_FORM_VALUES) {
            return NGX_DECLINED;
        }

        if (ngx_xmpp_xml_text(r->pool, v, &text) != NGX_OK
            || ngx_xmpp_form_add_value(field, &text) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_form_check(ngx_xmpp_form_reader_t *r, ngx_str_t *type,
    ngx_xmpp_form_ask_t *asks)
{
    ngx_int_t             rc;
    ngx_str_t            *value;
    ngx_uint_t            n;
    ngx_xmpp_form_ask_t  *ask;

    /* who leaves it out means the form that he was given */

    value = ngx_xmpp_form_values(r->form, "FORM_TYPE", &n);

    if (value && (n != 1 || !ngx_xmpp_str_eq(value, type))) {
        r->wrong = "the form has another FORM_TYPE than the one to fill in";
        return NGX_DECLINED;
    }

    for (ask = asks; ask->var.len; ask++) {

        rc = ngx_xmpp_form_check_field(r, ask);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_xmpp_form_check_field(ngx_xmpp_form_reader_t *r, ngx_xmpp_form_ask_t *ask)
{
    u_char     *p;
    ngx_str_t  *value, *option;
    ngx_uint_t  n;

    value = ngx_xmpp_form_values(r->form, (char *) ask->var.data, &n);

    if (ask->required && (n == 0 || (n == 1 && value->len == 0))) {

        p = ngx_pnalloc(r->pool, sizeof("the field  is required")
                                 + ask->var.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        r->wrong = (char *) p;
        (void) ngx_sprintf(p, "the field %V is required%Z", &ask->var);

        return NGX_DECLINED;
    }

    /* 3.2: of these types a field MUST NOT have more than one */

    if (n > 1 && ngx_strstr(ask->type.data, "-multi") == NULL) {
        r->wrong = "a field has more than one value";
        return NGX_DECLINED;
    }

    if (n == 0 || ask->options == NULL) {
        return NGX_OK;
    }

    for (option = ask->options; option->len; option++) {
        if (ngx_xmpp_str_eq(option, value)) {
            return NGX_OK;
        }
    }

    r->wrong = "a field has a value that is none of its options";

    return NGX_DECLINED;
}


ngx_int_t
ngx_xmpp_form_init(ngx_pool_t *pool, ngx_xmpp_form_t *form, ngx_str_t *type)
{
    form->type = *type;

    return ngx_array_init(&form->fields, pool, 4,
                          sizeof(ngx_xmpp_form_field_t));
}


ngx_xmpp_form_field_t *
ngx_xmpp_form_add(ngx_xmpp_form_t *form, ngx_str_t *var)
{
    ngx_xmpp_form_field_t  *field;

    field = ngx_array_push(&form->fields);

    if (field == NULL
        || ngx_array_init(&field->values, form->fields.pool, 1,
                          sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NULL;
    }

    field->var = *var;

    return field;
}


ngx_int_t
ngx_xmpp_form_add_value(ngx_xmpp_form_field_t *field, ngx_str_t *value)
{
    ngx_str_t  *v;

    v = ngx_array_push(&field->values);
    if (v == NULL) {
        return NGX_ERROR;
    }

    *v = *value;

    return NGX_OK;
}


static ngx_xmpp_form_field_t *
ngx_xmpp_form_find(ngx_xmpp_form_t *form, ngx_str_t *var)
{
    ngx_uint_t              i;
    ngx_xmpp_form_field_t  *field;

    field = form->fields.elts;

    for (i = 0; i < form->fields.nelts; i++) {
        if (ngx_xmpp_str_eq(&field[i].var, var)) {
            return &field[i];
        }
    }

    return NULL;
}


ngx_str_t *
ngx_xmpp_form_values(ngx_xmpp_form_t *form, const char *var, ngx_uint_t *n)
{
    ngx_str_t               name;
    ngx_xmpp_form_field_t  *field;

    name.data = (u_char *) var;
    name.len = ngx_strlen(var);

    field = ngx_xmpp_form_find(form, &name);

    if (field == NULL) {
        *n = 0;
        return NULL;
    }

    *n = field->values.nelts;

    return field->values.elts;
}
