/*
 * XML writer: a tree becomes canonical bytes, always the same for a tree.
 *
 *  - an element in another namespace than its parent declares it as default
 *    namespace, so no element has a prefix;
 *  - attributes in the order of the tree, in single quotes; those of the xml
 *    namespace as xml:name, those of another as nsN:name, with the prefix
 *    declared at the same element;
 *  - in text &, < and > are escaped, and CR, which parsing would turn into LF;
 *    in attributes quotes, TAB and LF too, which it would turn into spaces;
 *  - an element without children is an empty tag.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_xmpp_xml.h>


/* all that is escaped is below 64 */
#define ngx_xmpp_xml_bit(ch)  ((uint64_t) 1 << (ch))

#define NGX_XMPP_XML_TEXT                                                     \
    (ngx_xmpp_xml_bit('&') | ngx_xmpp_xml_bit('<') | ngx_xmpp_xml_bit('>')    \
     | ngx_xmpp_xml_bit('\r'))

#define NGX_XMPP_XML_ATTR                                                     \
    (NGX_XMPP_XML_TEXT | ngx_xmpp_xml_bit('"') | ngx_xmpp_xml_bit('\'')       \
     | ngx_xmpp_xml_bit('\t') | ngx_xmpp_xml_bit('\n'))

/*
 * Sixteen bytes at once where all processors of a kind can, else eight: the
 * bits that are set in _like() stand for the bytes of n that are equal to ch
 * but for the bits in "bits".  Ignoring one to three bits, three comparisons
 * find all that is ever escaped, and a few others.
 */

#if (__SSE2__)

#include <emmintrin.h>

typedef __m128i                 ngx_xmpp_xml_bytes_t;

#define ngx_xmpp_xml_load(n, p)                                               \
    n = _mm_loadu_si128((const __m128i *) (p))
#define ngx_xmpp_xml_like(n, bits, ch)                                        \
    (uint64_t) _mm_movemask_epi8(_mm_cmpeq_epi8(                              \
        _mm_or_si128(n, _mm_set1_epi8(bits)), _mm_set1_epi8(ch)))
#define ngx_xmpp_xml_place(bits)  __builtin_ctzll(bits)

#else

typedef uint64_t                ngx_xmpp_xml_bytes_t;

/* the high bit of a byte is set if it is zero in n; exact up to the first */
#define ngx_xmpp_xml_all(ch)   ((ch) * 0x0101010101010101ULL)
#define ngx_xmpp_xml_zero(n)                                                  \
    (((n) - ngx_xmpp_xml_all(1)) & ~(n) & ngx_xmpp_xml_all(0x80))

#define ngx_xmpp_xml_load(n, p)  ngx_memcpy(&(n), p, 8)
#define ngx_xmpp_xml_like(n, bits, ch)                                        \
    ngx_xmpp_xml_zero(((n) | ngx_xmpp_xml_all(bits)) ^ ngx_xmpp_xml_all(ch))

#if (NGX_HAVE_LITTLE_ENDIAN)
#define ngx_xmpp_xml_place(bits)  (__builtin_ctzll(bits) / 8)
#else
#define ngx_xmpp_xml_place(bits)  0
#endif

#endif


static size_t ngx_xmpp_xml_start_size(ngx_xmpp_xml_t *e, ngx_str_t *scope);
static u_char *ngx_xmpp_xml_start_write(u_char *p, ngx_xmpp_xml_t *e,
    ngx_str_t *scope);
static ngx_uint_t ngx_xmpp_xml_prefix(ngx_xmpp_xml_t *e,
    ngx_xmpp_xml_attr_t *attr, ngx_uint_t *first);
static u_char *ngx_xmpp_xml_prefix_write(u_char *p, ngx_uint_t n);
static size_t ngx_xmpp_xml_size_of(ngx_str_t *s, uint64_t mask);
static u_char *ngx_xmpp_xml_copy(u_char *p, ngx_str_t *s, uint64_t mask);
static u_char *ngx_xmpp_xml_special(u_char *pos, u_char *last, uint64_t mask);
static ngx_str_t *ngx_xmpp_xml_entity(u_char ch);


static ngx_str_t  ngx_xmpp_xml_no_scope = ngx_null_string;


/* The exact number of bytes that ngx_xmpp_xml_write() will write. */

size_t
ngx_xmpp_xml_size(ngx_xmpp_xml_t *e, ngx_str_t *scope)
{
    size_t           size;
    ngx_xmpp_xml_t  *root;

    size = 0;
    root = e;
    scope = scope ? scope : &ngx_xmpp_xml_no_scope;

    for ( ;; ) {

        if (e->name.len == 0) {
            size += ngx_xmpp_xml_size_of(&e->text, NGX_XMPP_XML_TEXT);

        } else {
            size += ngx_xmpp_xml_start_size(e, (e == root) ? scope
                                                           : &e->parent->ns);

            if (e->children) {
                size += sizeof("</>") - 1 + e->name.len;
                e = e->children;
                continue;
            }
        }

        while (e != root && e->next == NULL) {
            e = e->parent;
        }

        if (e == root) {
            return size;
        }

        e = e->next;
    }
}


/* Writes e to p, where ngx_xmpp_xml_size() bytes are free; returns the end. */

u_char *
ngx_xmpp_xml_write(u_char *p, ngx_xmpp_xml_t *e, ngx_str_t *scope)
{
    ngx_xmpp_xml_t  *root;

    root = e;
    scope = scope ? scope : &ngx_xmpp_xml_no_scope;

    for ( ;; ) {

        if (e->name.len == 0) {
            p = ngx_xmpp_xml_copy(p, &e->text, NGX_XMPP_XML_TEXT);

        } else {
            p = ngx_xmpp_xml_start_write(p, e, (e == root) ? scope
                                                           : &e->parent->ns);

            if (e->children) {
                e = e->children;
                continue;
            }
        }

        while (e != root && e->next == NULL) {
            e = e->parent;

            *p++ = '<';
            *p++ = '/';
            p = ngx_cpymem(p, e->name.data, e->name.len);
            *p++ = '>';
        }

        if (e == root) {
            return p;
        }

        e = e->next;
    }
}


static size_t
ngx_xmpp_xml_start_size(ngx_xmpp_xml_t *e, ngx_str_t *scope)
{
    size_t                size;
    ngx_uint_t            n, first;
    ngx_xmpp_xml_attr_t  *attr;

    size = e->name.len + (e->children ? sizeof("<>") : sizeof("</>")) - 1;

    if (!ngx_xmpp_xml_same(&e->ns, scope)) {
        size += sizeof(" xmlns=''") - 1
                + ngx_xmpp_xml_size_of(&e->ns, NGX_XMPP_XML_ATTR);
    }

    for (attr = e->attrs; attr; attr = attr->next) {

        size += sizeof(" =''") - 1 + attr->name.len
                + ngx_xmpp_xml_size_of(&attr->value, NGX_XMPP_XML_ATTR);

        if (attr->ns.len == 0) {
            continue;
        }

        if (ngx_xmpp_xml_same(&attr->ns, &ngx_xmpp_ns_xml)) {
            size += sizeof("xml:") - 1;
            continue;
        }

        n = ngx_xmpp_xml_prefix(e, attr, &first);

        size += sizeof("ns0:") - 1;

        if (first) {
            size += sizeof(" xmlns:ns0=''") - 1
                    + ngx_xmpp_xml_size_of(&attr->ns, NGX_XMPP_XML_ATTR);
        }

        for ( /* void */ ; n > 9; n /= 10) {
            size += first ? 2 : 1;
        }
    }

    return size;
}


static u_char *
ngx_xmpp_xml_start_write(u_char *p, ngx_xmpp_xml_t *e, ngx_str_t *scope)
{
    ngx_uint_t            n, first;
    ngx_xmpp_xml_attr_t  *attr;

    *p++ = '<';
    p = ngx_cpymem(p, e->name.data, e->name.len);

    if (!ngx_xmpp_xml_same(&e->ns, scope)) {
        p = ngx_cpymem(p, " xmlns='", sizeof(" xmlns='") - 1);
        p = ngx_xmpp_xml_copy(p, &e->ns, NGX_XMPP_XML_ATTR);
        *p++ = '\'';
    }

    for (attr = e->attrs; attr; attr = attr->next) {

        if (attr->ns.len == 0) {
            *p++ = ' ';

        } else if (ngx_xmpp_xml_same(&attr->ns, &ngx_xmpp_ns_xml)) {
            p = ngx_cpymem(p, " xml:", sizeof(" xml:") - 1);

        } else {
            n = ngx_xmpp_xml_prefix(e, attr, &first);

            if (first) {
                p = ngx_cpymem(p, " xmlns:", sizeof(" xmlns:") - 1);
                p = ngx_xmpp_xml_prefix_write(p, n);
                *p++ = '=';
                *p++ = '\'';
                p = ngx_xmpp_xml_copy(p, &attr->ns, NGX_XMPP_XML_ATTR);
                *p++ = '\'';
            }

            *p++ = ' ';
            p = ngx_xmpp_xml_prefix_write(p, n);
            *p++ = ':';
        }

        p = ngx_cpymem(p, attr->name.data, attr->name.len);
        *p++ = '=';
        *p++ = '\'';
        p = ngx_xmpp_xml_copy(p, &attr->value, NGX_XMPP_XML_ATTR);
        *p++ = '\'';
    }

    if (e->children == NULL) {
        *p++ = '/';
    }

    *p++ = '>';

    return p;
}


/*
 * The number in the prefix of attr's namespace: the place of e's first
 * attribute in that namespace.  *first tells whether attr is that one, which
 * declares the prefix.
 */

static ngx_uint_t
ngx_xmpp_xml_prefix(ngx_xmpp_xml_t *e, ngx_xmpp_xml_attr_t *attr,
    ngx_uint_t *first)
{
    ngx_uint_t            n;
    ngx_xmpp_xml_attr_t  *a;

    n = 0;

    for (a = e->attrs; !ngx_xmpp_xml_same(&a->ns, &attr->ns); a = a->next) {
        n++;
    }

    *first = (a == attr);

    return n;
}


static u_char *
ngx_xmpp_xml_prefix_write(u_char *p, ngx_uint_t n)
{
    u_char      *last;
    ngx_uint_t   rest;

    *p++ = 'n';
    *p++ = 's';

    for (rest = n; rest > 9; rest /= 10) {
        p++;
    }

    last = p + 1;

    do {
        *p-- = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    return last;
}


/* As for an attribute in either quotes, which does for text as well. */

size_t
ngx_xmpp_xml_escape_size(ngx_str_t *s)
{
    return ngx_xmpp_xml_size_of(s, NGX_XMPP_XML_ATTR);
}


/* Returns the end; there is room for ngx_xmpp_xml_escape_size() bytes at p. */

u_char *
ngx_xmpp_xml_escape(u_char *p, ngx_str_t *s)
{
    return ngx_xmpp_xml_copy(p, s, NGX_XMPP_XML_ATTR);
}


static size_t
ngx_xmpp_xml_size_of(ngx_str_t *s, uint64_t mask)
{
    size_t   size;
    u_char  *pos, *last;

    size = s->len;
    last = s->data + s->len;

    for (pos = ngx_xmpp_xml_special(s->data, last, mask);
         pos < last;
         pos = ngx_xmpp_xml_special(pos + 1, last, mask))
    {
        size += ngx_xmpp_xml_entity(*pos)->len - 1;
    }

    return size;
}


static u_char *
ngx_xmpp_xml_copy(u_char *p, ngx_str_t *s, uint64_t mask)
{
    u_char     *pos, *last, *run;
    ngx_str_t  *entity;

    run = s->data;
    last = s->data + s->len;

    while (run < last) {
        pos = ngx_xmpp_xml_special(run, last, mask);
        p = ngx_cpymem(p, run, pos - run);

        if (pos == last) {
            break;
        }

        entity = ngx_xmpp_xml_entity(*pos);
        p = ngx_cpymem(p, entity->data, entity->len);

        run = pos + 1;
    }

    return p;
}


/* the first byte to be escaped in [pos, last), or last */

static u_char *
ngx_xmpp_xml_special(u_char *pos, u_char *last, uint64_t mask)
{
    u_char                *end;
    uint64_t               found;
    ngx_xmpp_xml_bytes_t   n;

    while (last - pos >= (ssize_t) sizeof(n)) {

        ngx_xmpp_xml_load(n, pos);

        found = ngx_xmpp_xml_like(n, 0x02, 0x3e)            /* < > */
                | ngx_xmpp_xml_like(n, 0x05, 0x27)          /* & ' " */
                | ngx_xmpp_xml_like(n, 0x07, 0x0f);         /* TAB LF CR */

        end = pos + sizeof(n);

        if (found == 0) {
            pos = end;
            continue;
        }

        for (pos += ngx_xmpp_xml_place(found); pos < end; pos++) {
            if (*pos <= '>' && (mask & ngx_xmpp_xml_bit(*pos))) {
                return pos;
            }
        }
    }

    for ( /* void */ ; pos < last; pos++) {
        if (*pos <= '>' && (mask & ngx_xmpp_xml_bit(*pos))) {
            return pos;
        }
    }

    return last;
}


static ngx_str_t *
ngx_xmpp_xml_entity(u_char ch)
{
    static ngx_str_t  amp = ngx_string("&amp;");
    static ngx_str_t  lt = ngx_string("&lt;");
    static ngx_str_t  gt = ngx_string("&gt;");
    static ngx_str_t  quot = ngx_string("&quot;");
    static ngx_str_t  apos = ngx_string("&apos;");
    static ngx_str_t  tab = ngx_string("&#9;");
    static ngx_str_t  lf = ngx_string("&#10;");
    static ngx_str_t  cr = ngx_string("&#13;");

    switch (ch) {

    case '&':
        return &amp;

    case '<':
        return &lt;

    case '>':
        return &gt;

    case '"':
        return &quot;

    case '\'':
        return &apos;

    case '\t':
        return &tab;

    case '\n':
        return &lf;

    default: /* '\r' */
        return &cr;
    }
}
