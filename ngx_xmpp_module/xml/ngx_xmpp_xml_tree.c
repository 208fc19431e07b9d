/*
 * XML tree: elements with attributes, runs of text, in a pool.
 *
 * Strings are referred to, not copied: what is put into a tree has to live
 * as long as the tree.  Nothing is freed singly, and no walk recurses.
 *
 *     element --attrs--> attribute --next--> attribute
 *       |  ^
 *       |  '-- parent of both
 *       '-children--> text --next--> element (also "last")
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_xmpp_xml.h>


static ngx_xmpp_xml_attr_t *ngx_xmpp_xml_find_attr(ngx_xmpp_xml_t *e,
    ngx_str_t *ns, const char *name);


static ngx_str_t  ngx_xmpp_xml_no_ns = ngx_string("");


/* A detached element; ns NULL: in no namespace. */

ngx_xmpp_xml_t *
ngx_xmpp_xml_create(ngx_pool_t *pool, ngx_str_t *name, ngx_str_t *ns)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_pcalloc(pool, sizeof(ngx_xmpp_xml_t));
    if (e == NULL) {
        return NULL;
    }

    e->name = *name;
    e->ns = ns ? *ns : ngx_xmpp_xml_no_ns;

    return e;
}


/* A new last child of parent; ns NULL: in the parent's namespace. */

ngx_xmpp_xml_t *
ngx_xmpp_xml_add(ngx_pool_t *pool, ngx_xmpp_xml_t *parent, ngx_str_t *name,
    ngx_str_t *ns)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_create(pool, name, ns ? ns : &parent->ns);
    if (e == NULL) {
        return NULL;
    }

    ngx_xmpp_xml_append(parent, e);

    return e;
}


ngx_xmpp_xml_t *
ngx_xmpp_xml_add_text(ngx_pool_t *pool, ngx_xmpp_xml_t *parent,
    ngx_str_t *text)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_pcalloc(pool, sizeof(ngx_xmpp_xml_t));
    if (e == NULL) {
        return NULL;
    }

    e->text = *text;

    ngx_xmpp_xml_append(parent, e);

    return e;
}


/* child must be detached: taken out of another tree, or never in one */

void
ngx_xmpp_xml_append(ngx_xmpp_xml_t *parent, ngx_xmpp_xml_t *child)
{
    child->parent = parent;
    child->next = NULL;

    if (parent->last) {
        parent->last->next = child;

    } else {
        parent->children = child;
    }

    parent->last = child;
}


/* Detaches e, which may be put elsewhere then; no-op for a root. */

void
ngx_xmpp_xml_remove(ngx_xmpp_xml_t *e)
{
    ngx_xmpp_xml_t  *parent, *prev, **pe;

    parent = e->parent;

    if (parent == NULL) {
        return;
    }

    prev = NULL;

    for (pe = &parent->children; *pe != e; pe = &prev->next) {
        prev = *pe;
    }

    *pe = e->next;

    if (parent->last == e) {
        parent->last = prev;
    }

    e->parent = NULL;
    e->next = NULL;
}


static ngx_xmpp_xml_attr_t *
ngx_xmpp_xml_find_attr(ngx_xmpp_xml_t *e, ngx_str_t *ns, const char *name)
{
    size_t                len;
    ngx_xmpp_xml_attr_t  *attr;

    len = ngx_strlen(name);

    for (attr = e->attrs; attr; attr = attr->next) {
        if (attr->name.len == len
            && ngx_memcmp(attr->name.data, name, len) == 0
            && ngx_xmpp_xml_same(&attr->ns, ns))
        {
            return attr;
        }
    }

    return NULL;
}


/* Whether two names or namespaces are the same; data may be NULL if len is 0 */

ngx_uint_t
ngx_xmpp_xml_same(ngx_str_t *a, ngx_str_t *b)
{
    return (a->len == b->len
            && (a->len == 0 || ngx_memcmp(a->data, b->data, a->len) == 0));
}


/* The value is the tree's own, not a copy. */

ngx_str_t *
ngx_xmpp_xml_attr(ngx_xmpp_xml_t *e, const char *name)
{
    return ngx_xmpp_xml_attr_ns(e, &ngx_xmpp_xml_no_ns, name);
}


ngx_str_t *
ngx_xmpp_xml_attr_ns(ngx_xmpp_xml_t *e, ngx_str_t *ns, const char *name)
{
    ngx_xmpp_xml_attr_t  *attr;

    attr = ngx_xmpp_xml_find_attr(e, ns, name);

    return attr ? &attr->value : NULL;
}


/* name is not copied either: a string constant, or as long-lived as e */

ngx_int_t
ngx_xmpp_xml_set(ngx_pool_t *pool, ngx_xmpp_xml_t *e, const char *name,
    ngx_str_t *value)
{
    return ngx_xmpp_xml_set_ns(pool, e, &ngx_xmpp_xml_no_ns, name, value);
}


ngx_int_t
ngx_xmpp_xml_set_ns(ngx_pool_t *pool, ngx_xmpp_xml_t *e, ngx_str_t *ns,
    const char *name, ngx_str_t *value)
{
    ngx_xmpp_xml_attr_t  *attr, **pattr;

    attr = ngx_xmpp_xml_find_attr(e, ns, name);

    if (attr == NULL) {

        attr = ngx_palloc(pool, sizeof(ngx_xmpp_xml_attr_t));
        if (attr == NULL) {
            return NGX_ERROR;
        }

        attr->name.len = ngx_strlen(name);
        attr->name.data = (u_char *) name;
        attr->ns = *ns;
        attr->next = NULL;

        for (pattr = &e->attrs; *pattr; pattr = &(*pattr)->next) {
            /* void */
        }

        *pattr = attr;
    }

    attr->value = *value;

    return NGX_OK;
}


void
ngx_xmpp_xml_unset(ngx_xmpp_xml_t *e, const char *name)
{
    ngx_xmpp_xml_attr_t  *attr, **pattr;

    attr = ngx_xmpp_xml_find_attr(e, &ngx_xmpp_xml_no_ns, name);

    if (attr == NULL) {
        return;
    }

    for (pattr = &e->attrs; *pattr != attr; pattr = &(*pattr)->next) {
        /* void */
    }

    *pattr = attr->next;
}


ngx_xmpp_xml_t *
ngx_xmpp_xml_child(ngx_xmpp_xml_t *e, const char *name, ngx_str_t *ns)
{
    size_t           len;
    ngx_xmpp_xml_t  *child;

    len = name ? ngx_strlen(name) : 0;

    for (child = e->children; child; child = child->next) {

        if (child->name.len == 0) {
            continue;
        }

        if (name && (child->name.len != len
                     || ngx_memcmp(child->name.data, name, len) != 0))
        {
            continue;
        }

        if (ns == NULL || ngx_xmpp_xml_same(&child->ns, ns)) {
            return child;
        }
    }

    return NULL;
}


ngx_xmpp_xml_t *
ngx_xmpp_xml_next(ngx_xmpp_xml_t *e)
{
    do {
        e = e->next;
    } while (e && e->name.len == 0);

    return e;
}


ngx_uint_t
ngx_xmpp_xml_elements(ngx_xmpp_xml_t *e)
{
    ngx_uint_t       n;
    ngx_xmpp_xml_t  *child;

    n = 0;

    for (child = e->children; child; child = child->next) {
        if (child->name.len) {
            n++;
        }
    }

    return n;
}


/* A single text is not copied, more of them are joined in the pool. */

ngx_int_t
ngx_xmpp_xml_text(ngx_pool_t *pool, ngx_xmpp_xml_t *e, ngx_str_t *text)
{
    size_t           len;
    u_char          *p;
    ngx_uint_t       n;
    ngx_xmpp_xml_t  *child;

    n = 0;
    len = 0;

    ngx_str_set(text, "");

    for (child = e->children; child; child = child->next) {
        if (child->name.len == 0) {
            n++;
            len += child->text.len;
            *text = child->text;
        }
    }

    if (n <= 1) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->len = len;
    text->data = p;

    for (child = e->children; child; child = child->next) {
        if (child->name.len == 0) {
            p = ngx_cpymem(p, child->text.data, child->text.len);
        }
    }

    return NGX_OK;
}
