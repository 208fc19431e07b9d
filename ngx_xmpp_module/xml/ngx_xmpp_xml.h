/*
 * XML: a push parser that stops at each stanza, a small tree, a writer.
 *
 * The parser wraps libxml2's SAX2 push interface and enforces what RFC 6120
 * section 11 asks for: no comment, PI, DTD or entity, UTF-8 only, limits on
 * size, depth, attributes and elements.  It is fed slices that end where a
 * depth-1 element can complete at the earliest, so it stops exactly behind
 * each stanza and the bytes after it stay with the caller: that is what the
 * session's back-pressure, the TLS switch and the SASL restart stand on.
 *
 * The tree of the stanza being read is allocated from a pool that the owner
 * gives on demand and takes away when the stanza is done.  Names and
 * namespaces are plain strings; a namespace that the library knows is shared
 * by pointer with ngx_xmpp_ns_*.
 *
 * Hibernation: at depth 1 with no stanza begun, the libxml2 context is freed
 * (13 kB) and made again, primed with a synthetic stream header carrying the
 * remembered prefixes and xml:lang, when the next byte comes.  Streams whose
 * headers declare what nearly all declare borrow the spare context of the
 * process instead, for one stanza at a time.
 */


#ifndef _NGX_XMPP_XML_H_INCLUDED_
#define _NGX_XMPP_XML_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_xmpp_xml_attr_s    ngx_xmpp_xml_attr_t;
typedef struct ngx_xmpp_xml_s         ngx_xmpp_xml_t;
typedef struct ngx_xmpp_parser_s      ngx_xmpp_parser_t;


struct ngx_xmpp_xml_attr_s {
    ngx_str_t               name;         /* local name */
    ngx_str_t               ns;           /* len 0: no namespace */
    ngx_str_t               value;        /* unescaped UTF-8 */
    ngx_xmpp_xml_attr_t    *next;
};


/* an element (name.len != 0) or a run of text (name.len == 0) */
struct ngx_xmpp_xml_s {
    ngx_str_t               name;
    ngx_str_t               ns;
    ngx_str_t               text;         /* of a text node, unescaped */
    ngx_xmpp_xml_attr_t    *attrs;        /* in document order */
    ngx_xmpp_xml_t         *parent;
    ngx_xmpp_xml_t         *children;
    ngx_xmpp_xml_t         *last;         /* last child */
    ngx_xmpp_xml_t         *next;         /* sibling */
};


extern ngx_str_t  ngx_xmpp_ns_client;     /* jabber:client */
extern ngx_str_t  ngx_xmpp_ns_server;     /* jabber:server */
extern ngx_str_t  ngx_xmpp_ns_streams;    /* http://etherx.jabber.org/streams */
extern ngx_str_t  ngx_xmpp_ns_stream_errors;
                                  /* urn:ietf:params:xml:ns:xmpp-streams */
extern ngx_str_t  ngx_xmpp_ns_stanzas;
                                  /* urn:ietf:params:xml:ns:xmpp-stanzas */
extern ngx_str_t  ngx_xmpp_ns_framing;
                                  /* urn:ietf:params:xml:ns:xmpp-framing */
extern ngx_str_t  ngx_xmpp_ns_tls;
extern ngx_str_t  ngx_xmpp_ns_sasl;
extern ngx_str_t  ngx_xmpp_ns_bind;
extern ngx_str_t  ngx_xmpp_ns_session;
extern ngx_str_t  ngx_xmpp_ns_xml;  /* http://www.w3.org/XML/1998/namespace */


/* ---- tree: no function recurses; NULL means no memory ---- */

ngx_xmpp_xml_t *ngx_xmpp_xml_create(ngx_pool_t *pool, ngx_str_t *name,
    ngx_str_t *ns);

/* appends a child element; ns NULL: the parent's; strings are not copied */
ngx_xmpp_xml_t *ngx_xmpp_xml_add(ngx_pool_t *pool, ngx_xmpp_xml_t *parent,
    ngx_str_t *name, ngx_str_t *ns);

/* appends text; returns the text node */
ngx_xmpp_xml_t *ngx_xmpp_xml_add_text(ngx_pool_t *pool,
    ngx_xmpp_xml_t *parent, ngx_str_t *text);

/* appends a detached element (parent == NULL) as last child */
void ngx_xmpp_xml_append(ngx_xmpp_xml_t *parent, ngx_xmpp_xml_t *child);

/* unlinks e from its parent */
void ngx_xmpp_xml_remove(ngx_xmpp_xml_t *e);

/* the value of an attribute without namespace, or NULL */
ngx_str_t *ngx_xmpp_xml_attr(ngx_xmpp_xml_t *e, const char *name);
ngx_str_t *ngx_xmpp_xml_attr_ns(ngx_xmpp_xml_t *e, ngx_str_t *ns,
    const char *name);

/* sets or replaces an attribute without namespace; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_xml_set(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    const char *name, ngx_str_t *value);
ngx_int_t ngx_xmpp_xml_set_ns(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_str_t *ns, const char *name, ngx_str_t *value);

/* removes an attribute without namespace, if there is one */
void ngx_xmpp_xml_unset(ngx_xmpp_xml_t *e, const char *name);

/* first child element with that name (NULL: any) and ns (NULL: any), or NULL */
ngx_xmpp_xml_t *ngx_xmpp_xml_child(ngx_xmpp_xml_t *e, const char *name,
    ngx_str_t *ns);

/* the next sibling element, or NULL */
ngx_xmpp_xml_t *ngx_xmpp_xml_next(ngx_xmpp_xml_t *e);

/* whether two names or two namespaces are equal */
ngx_uint_t ngx_xmpp_xml_same(ngx_str_t *a, ngx_str_t *b);

/* number of child elements */
ngx_uint_t ngx_xmpp_xml_elements(ngx_xmpp_xml_t *e);

/* concatenated text of the direct text children; NGX_OK or NGX_ERROR */
ngx_int_t ngx_xmpp_xml_text(ngx_pool_t *pool, ngx_xmpp_xml_t *e,
    ngx_str_t *text);

#define ngx_xmpp_xml_is(e, n, space)                                          \
    ((e)->name.len == sizeof(n) - 1                                           \
     && ngx_memcmp((e)->name.data, n, sizeof(n) - 1) == 0                     \
     && (e)->ns.len == (space)->len                                           \
     && ngx_memcmp((e)->ns.data, (space)->data, (space)->len) == 0)


/* ---- writer ---- */

/*
 * Serializes canonically: one xmlns where the namespace changes from the
 * parent's, generated prefixes for namespaced attributes, "xml:" for the xml
 * namespace, entities escaped, control characters impossible by parsing.
 * scope is the namespace in scope outside (NULL: none, so that the root
 * always writes its xmlns).  _size gives the exact length; _write returns the
 * end.  Both walk without recursion.
 */
size_t ngx_xmpp_xml_size(ngx_xmpp_xml_t *e, ngx_str_t *scope);
u_char *ngx_xmpp_xml_write(u_char *p, ngx_xmpp_xml_t *e, ngx_str_t *scope);

/* escaping of a bare string, as in text and in '...' attributes */
size_t ngx_xmpp_xml_escape_size(ngx_str_t *s);
u_char *ngx_xmpp_xml_escape(u_char *p, ngx_str_t *s);


/* ---- cursor ---- */

/* the tag at hand, in bytes that the writer has written */
typedef struct {
    u_char                 *pos;          /* behind it */
    u_char                 *last;
    ngx_str_t               name;
    ngx_str_t               attrs;        /* as written: " a='b' c='d'" */
    ngx_uint_t              depth;        /* of its element; the root's is 0 */
    ngx_uint_t              open;         /* elements behind it */
    unsigned                start:1;      /* and no end tag */
    unsigned                empty:1;      /* both in one */
} ngx_xmpp_xml_cursor_t;


/* before the first tag of the len bytes at p, which stay the caller's */
void ngx_xmpp_xml_cursor_init(ngx_xmpp_xml_cursor_t *c, u_char *p, size_t len);

/* the next tag: NGX_OK; NGX_DECLINED: there is none, or not as written here */
ngx_int_t ngx_xmpp_xml_cursor_next(ngx_xmpp_xml_cursor_t *c);

/*
 * An attribute of a start tag by its name as written, xmlns among them; its
 * value is a slice, escaped.  NGX_OK; NGX_DECLINED: it has none, value->len 0.
 */
ngx_int_t ngx_xmpp_xml_cursor_attr(ngx_xmpp_xml_cursor_t *c, const char *name,
    ngx_str_t *value);

/* whether a start tag has that name and that xmlns; ns "": none of its own */
ngx_uint_t ngx_xmpp_xml_cursor_is(ngx_xmpp_xml_cursor_t *c, const char *name,
    const char *ns);


/* ---- parser ---- */

typedef struct {
    size_t                  max_stanza;   /* bytes of a depth-1 element */
    ngx_uint_t              max_depth;    /* of elements in a stanza */
    ngx_uint_t              max_attrs;    /* of one element, xmlns included */
    ngx_uint_t              max_elements; /* in one stanza */
    ngx_uint_t              raw;          /* unsigned  raw:1; half a stanza is
                                             kept as bytes while idle */
} ngx_xmpp_xml_limits_t;


/* stream errors the parser can find, RFC 6120, 4.9.3 */
typedef enum {
    NGX_XMPP_XML_ERR_NONE = 0,
    NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
    NGX_XMPP_XML_ERR_BAD_PREFIX,          /* bad-namespace-prefix */
    NGX_XMPP_XML_ERR_RESTRICTED,          /* restricted-xml */
    NGX_XMPP_XML_ERR_ENCODING,            /* unsupported-encoding */
    NGX_XMPP_XML_ERR_TOO_BIG,             /* policy-violation */
    NGX_XMPP_XML_ERR_DEPTH,               /* policy-violation */
    NGX_XMPP_XML_ERR_ATTRS,               /* policy-violation */
    NGX_XMPP_XML_ERR_ELEMENTS,            /* policy-violation */
    NGX_XMPP_XML_ERR_NAME,                /* policy-violation */
    NGX_XMPP_XML_ERR_TEXT,                /* text at depth 1: bad-format */
    NGX_XMPP_XML_ERR_MEMORY               /* internal-server-error */
} ngx_xmpp_xml_err_e;


/* what _feed() met */
typedef enum {
    NGX_XMPP_XML_MORE = 0,    /* all bytes taken, nothing complete */
    NGX_XMPP_XML_OPEN,        /* the stream header: *e, no children, own pool */
    NGX_XMPP_XML_ELEMENT,     /* a complete depth-1 element: *e */
    NGX_XMPP_XML_CLOSE,       /* </stream:stream> */
    NGX_XMPP_XML_ERROR        /* see ngx_xmpp_parser_error() */
} ngx_xmpp_xml_event_e;


/*
 * A context between stanzas, primed with the usual header, for the next parser
 * that needs one.  One in a process, zeroed at first; ngx_xmpp_parser_spare()
 * frees what is in it.
 */
typedef struct {
    void                   *ctxt;         /* libxml2's, or NULL */
    size_t                  fed;          /* bytes it has read */
} ngx_xmpp_parser_spare_t;


/* gives the pool for the element that begins; NULL: no memory */
typedef ngx_pool_t *(*ngx_xmpp_parser_pool_pt)(void *data);


/*
 * Creates a parser; it lives in pool (a few hundred bytes), a cleanup of the
 * pool frees what libxml2 holds.  get_pool(data) is called once for the
 * header and once at the begin of each depth-1 element; the returned pool is
 * the caller's.  limits stay the caller's and may be changed (before and
 * after authentication) through ngx_xmpp_parser_limits().  spare (NULL: none)
 * is the caller's, too, and lives as long.
 */
ngx_xmpp_parser_t *ngx_xmpp_parser_create(ngx_pool_t *pool,
    ngx_xmpp_xml_limits_t *limits, ngx_xmpp_parser_spare_t *spare,
    ngx_xmpp_parser_pool_pt get_pool, void *data);

void ngx_xmpp_parser_limits(ngx_xmpp_parser_t *p,
    ngx_xmpp_xml_limits_t *limits);

/*
 * Each element is a document of its own, with no header around them and no
 * namespace in scope but what it declares itself (RFC 7395, 3.3): ELEMENT and
 * ERROR are all that _feed() meets.  For a new parser; a reset keeps it so.
 */
void ngx_xmpp_parser_frame(ngx_xmpp_parser_t *p);

/*
 * Sets what _lang() returns until a reset, to a copy.  NGX_OK; NGX_DECLINED:
 * more than 255 bytes; NGX_ERROR: no memory
 */
ngx_int_t ngx_xmpp_parser_set_lang(ngx_xmpp_parser_t *p, ngx_str_t *lang);

/*
 * Feeds [*pos, last); moves *pos behind what was taken.  Stops directly
 * behind a header, a depth-1 element or the stream's end and says so; *e is
 * the tree, valid as long as its pool.  A header that ends itself gives OPEN,
 * and CLOSE with the next call.  After ERROR and CLOSE feed no more but reset.
 * An element's inherited xml:lang of the header is NOT put on it:
 * see ngx_xmpp_parser_lang().
 */
ngx_xmpp_xml_event_e ngx_xmpp_parser_feed(ngx_xmpp_parser_t *p, u_char **pos,
    u_char *last, ngx_xmpp_xml_t **e);

/* the error, and a short English text for log and stream error */
ngx_xmpp_xml_err_e ngx_xmpp_parser_error(ngx_xmpp_parser_t *p, char **text);

/* xml:lang of the stream header, len 0 when there was none */
ngx_str_t *ngx_xmpp_parser_lang(ngx_xmpp_parser_t *p);

/*
 * What the stream layer checks of the header's namespaces: the default one
 * that it declared (len 0: none; RFC 6120, 4.8.2) and the prefix of the root
 * element (len 0: none; RFC 6120, 4.8.5).  Valid from OPEN until reset.
 */
ngx_str_t *ngx_xmpp_parser_default_ns(ngx_xmpp_parser_t *p);
ngx_str_t *ngx_xmpp_parser_prefix(ngx_xmpp_parser_t *p);

/* forgets the stream: a new header is expected (RFC 6120, 4.3.3) */
void ngx_xmpp_parser_reset(ngx_xmpp_parser_t *p);

/*
 * Gives back libxml2's context and, if an element is under way and limits->raw
 * is set, its tree: NGX_OK, the pool of that element is free.  NGX_DECLINED
 * when an element is under way (all stays).  Call when input went idle.
 */
ngx_int_t ngx_xmpp_parser_hibernate(ngx_xmpp_parser_t *p);

/* frees libxml2's context at once; the parser must not be fed any more */
void ngx_xmpp_parser_destroy(ngx_xmpp_parser_t *p);

/* frees the context in spare, if there is one */
void ngx_xmpp_parser_spare(ngx_xmpp_parser_spare_t *spare);


#endif /* _NGX_XMPP_XML_H_INCLUDED_ */
