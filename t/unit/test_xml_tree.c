/*
 * XML tree: building, finding, changing; memory running out.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_xmpp_xml.h>
#include "tap.h"


static void test_children(ngx_pool_t *pool);
static void test_attrs(ngx_pool_t *pool);
static void test_text(ngx_pool_t *pool);
static void test_no_memory(ngx_pool_t *pool);
static void test_is(ngx_xmpp_xml_t *e, const char *want, const char *name);


static ngx_str_t  test_ns = ngx_string("urn:x");


int
main(void)
{
    ngx_pool_t  *pool;

    tap_plan(54);

    pool = ngx_create_pool(4096, NULL);

    test_children(pool);
    test_attrs(pool);
    test_text(pool);
    test_no_memory(pool);

    ngx_destroy_pool(pool);

    return tap_end();
}


static void
test_children(ngx_pool_t *pool)
{
    ngx_xmpp_xml_t  *e, *a, *b, *c, *text;

    e = ngx_xmpp_xml_create(pool, tap_str("message"), &ngx_xmpp_ns_client);

    tap_ok(ngx_xmpp_xml_elements(e) == 0, "no elements");
    tap_ok(ngx_xmpp_xml_child(e, NULL, NULL) == NULL, "no child");

    a = ngx_xmpp_xml_add(pool, e, tap_str("a"), NULL);
    text = ngx_xmpp_xml_add_text(pool, e, tap_str("text"));
    b = ngx_xmpp_xml_add(pool, e, tap_str("a"), &test_ns);
    c = ngx_xmpp_xml_add(pool, e, tap_str("bc"), &test_ns);

    test_is(e, "<message xmlns='jabber:client'><a/>text<a xmlns='urn:x'/>"
               "<bc xmlns='urn:x'/></message>", "children in order");

    tap_ok(ngx_xmpp_xml_elements(e) == 3, "texts are no elements");
    tap_ok(ngx_xmpp_xml_child(e, NULL, NULL) == a, "first child");
    tap_ok(ngx_xmpp_xml_child(e, "a", &test_ns) == b, "by name, namespace");
    tap_ok(ngx_xmpp_xml_child(e, NULL, &test_ns) == b, "by namespace");
    tap_ok(ngx_xmpp_xml_child(e, "bc", NULL) == c, "by name");
    tap_ok(ngx_xmpp_xml_child(e, "b", NULL) == NULL, "not by half a name");
    tap_ok(ngx_xmpp_xml_child(e, "", NULL) == NULL, "not by no name");
    tap_ok(ngx_xmpp_xml_child(e, "bc", &ngx_xmpp_ns_client) == NULL,
           "not in another namespace");

    tap_ok(ngx_xmpp_xml_next(a) == b, "next element");
    tap_ok(ngx_xmpp_xml_next(text) == b, "next element of a text");
    tap_ok(ngx_xmpp_xml_next(c) == NULL, "last element");

    tap_ok(ngx_xmpp_xml_is(b, "a", &test_ns), "is");
    tap_ok(!ngx_xmpp_xml_is(b, "b", &test_ns), "is not by name");
    tap_ok(!ngx_xmpp_xml_is(b, "a", &ngx_xmpp_ns_client),
           "is not by namespace");

    ngx_xmpp_xml_remove(c);
    test_is(e, "<message xmlns='jabber:client'><a/>text<a xmlns='urn:x'/>"
               "</message>", "last removed");
    tap_ok(c->parent == NULL && c->next == NULL && e->last == b, "detached");

    ngx_xmpp_xml_append(b, c);
    test_is(e, "<message xmlns='jabber:client'><a/>text<a xmlns='urn:x'>"
               "<bc/></a></message>", "put elsewhere");

    ngx_xmpp_xml_remove(text);
    test_is(e, "<message xmlns='jabber:client'><a/><a xmlns='urn:x'><bc/></a>"
               "</message>", "removed from the midst");

    ngx_xmpp_xml_remove(a);
    test_is(e, "<message xmlns='jabber:client'><a xmlns='urn:x'><bc/></a>"
               "</message>", "first removed");

    ngx_xmpp_xml_remove(b);
    test_is(e, "<message xmlns='jabber:client'/>", "only one removed");
    tap_ok(e->children == NULL && e->last == NULL, "empty");

    ngx_xmpp_xml_remove(e);
    test_is(e, "<message xmlns='jabber:client'/>", "a root stays");

    ngx_xmpp_xml_append(e, a);
    test_is(e, "<message xmlns='jabber:client'><a/></message>", "put back");
}


static void
test_attrs(ngx_pool_t *pool)
{
    ngx_xmpp_xml_t  *e;

    e = ngx_xmpp_xml_create(pool, tap_str("a"), NULL);

    tap_is(ngx_xmpp_xml_attr(e, "id"), NULL, "no attribute");
    ngx_xmpp_xml_unset(e, "id");
    test_is(e, "<a/>", "nothing to unset");

    tap_ok(ngx_xmpp_xml_set(pool, e, "id", tap_str("1")) == NGX_OK, "set");
    ngx_xmpp_xml_set(pool, e, "to", tap_str("x"));
    ngx_xmpp_xml_set_ns(pool, e, &ngx_xmpp_ns_xml, "lang", tap_str("en"));
    ngx_xmpp_xml_set_ns(pool, e, &test_ns, "id", tap_str("2"));
    test_is(e, "<a id='1' to='x' xml:lang='en' xmlns:ns3='urn:x' ns3:id='2'/>",
            "in order");

    tap_is(ngx_xmpp_xml_attr(e, "id"), tap_str("1"), "without namespace");
    tap_is(ngx_xmpp_xml_attr_ns(e, &test_ns, "id"), tap_str("2"),
           "with namespace");
    tap_is(ngx_xmpp_xml_attr(e, "lang"), NULL, "not of another namespace");
    tap_is(ngx_xmpp_xml_attr(e, "i"), NULL, "not by half a name");
    tap_is(ngx_xmpp_xml_attr(e, "idx"), NULL, "not by more than the name");
    tap_is(ngx_xmpp_xml_attr_ns(e, &ngx_xmpp_ns_xml, "id"), NULL,
           "not in the xml namespace");

    ngx_xmpp_xml_set(pool, e, "id", tap_str("3"));
    ngx_xmpp_xml_set_ns(pool, e, &test_ns, "id", tap_str("4"));
    test_is(e, "<a id='3' to='x' xml:lang='en' xmlns:ns3='urn:x' ns3:id='4'/>",
            "replaced in place");

    ngx_xmpp_xml_unset(e, "to");
    test_is(e, "<a id='3' xml:lang='en' xmlns:ns2='urn:x' ns2:id='4'/>",
            "unset in the midst");
    ngx_xmpp_xml_unset(e, "id");
    ngx_xmpp_xml_unset(e, "id");
    test_is(e, "<a xml:lang='en' xmlns:ns1='urn:x' ns1:id='4'/>",
            "unset leaves namespaces alone");
    ngx_xmpp_xml_set(pool, e, "to", tap_str("y"));
    test_is(e, "<a xml:lang='en' xmlns:ns1='urn:x' ns1:id='4' to='y'/>",
            "set again comes last");
}


static void
test_text(ngx_pool_t *pool)
{
    ngx_str_t        text, *one;
    ngx_xmpp_xml_t  *e, *child;

    e = ngx_xmpp_xml_create(pool, tap_str("a"), NULL);

    tap_ok(ngx_xmpp_xml_text(pool, e, &text) == NGX_OK, "no text is no error");
    tap_ok(text.len == 0 && text.data != NULL, "and empty");

    one = tap_str("one");
    ngx_xmpp_xml_add_text(pool, e, one);
    ngx_xmpp_xml_text(pool, e, &text);
    tap_is(&text, one, "one text");
    tap_ok(text.data == one->data, "is not copied");

    child = ngx_xmpp_xml_add(pool, e, tap_str("b"), NULL);
    ngx_xmpp_xml_add_text(pool, child, tap_str("not this"));
    ngx_xmpp_xml_text(pool, e, &text);
    tap_ok(text.data == one->data, "one text and an element");

    ngx_xmpp_xml_add_text(pool, e, tap_str("two"));
    ngx_xmpp_xml_add_text(pool, e, tap_str(""));
    ngx_xmpp_xml_add_text(pool, e, tap_str("three"));
    tap_ok(ngx_xmpp_xml_text(pool, e, &text) == NGX_OK, "more texts");
    tap_is(&text, tap_str("onetwothree"), "are joined");

    ngx_xmpp_ctl_allocs = 0;
    tap_ok(ngx_xmpp_xml_text(pool, e, &text) == NGX_ERROR, "if memory lasts");
    ngx_xmpp_ctl_allocs = -1;
}


static void
test_no_memory(ngx_pool_t *pool)
{
    ngx_str_t        name, value;
    ngx_xmpp_xml_t  *e;

    ngx_str_set(&name, "a");
    ngx_str_set(&value, "b");

    e = ngx_xmpp_xml_create(pool, &name, NULL);

    ngx_xmpp_ctl_allocs = 0;

    tap_ok(ngx_xmpp_xml_create(pool, &name, NULL) == NULL, "no element");
    tap_ok(ngx_xmpp_xml_add(pool, e, &name, NULL) == NULL, "no child");
    tap_ok(ngx_xmpp_xml_add_text(pool, e, &value) == NULL, "no text");
    tap_ok(ngx_xmpp_xml_set(pool, e, "id", &value) == NGX_ERROR,
           "no attribute");
    tap_ok(e->children == NULL && e->attrs == NULL, "the tree is as it was");

    ngx_xmpp_ctl_allocs = -1;

    ngx_xmpp_xml_set(pool, e, "id", &name);

    ngx_xmpp_ctl_allocs = 0;
    tap_ok(ngx_xmpp_xml_set(pool, e, "id", &value) == NGX_OK,
           "replacing takes no memory");
    ngx_xmpp_ctl_allocs = -1;
}


static void
test_is(ngx_xmpp_xml_t *e, const char *want, const char *name)
{
    ngx_str_t  out;

    out.len = ngx_xmpp_xml_size(e, NULL);
    out.data = ngx_pnalloc(tap_pool(), out.len);

    if (ngx_xmpp_xml_write(out.data, e, NULL) != out.data + out.len) {
        tap_ok(0, "%s: size is exact", name);
        return;
    }

    tap_is(&out, tap_copy(tap_pool(), want, strlen(want)), name);
}
