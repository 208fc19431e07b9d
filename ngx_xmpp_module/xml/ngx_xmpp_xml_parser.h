/*
 * Inside of the parser, shared by its files:
 *
 *     ngx_xmpp_xml_scan.c     finds where a slice has to end, checks bytes
 *     ngx_xmpp_xml_sax.c      libxml2's callbacks: build the tree
 *     ngx_xmpp_xml_ns.c       known namespaces, those of the header
 *     ngx_xmpp_xml_parser.c   feeds, stops, hibernates
 *
 * Nobody else includes this.
 */


#ifndef _NGX_XMPP_XML_PARSER_H_INCLUDED_
#define _NGX_XMPP_XML_PARSER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_xmpp_xml.h>
#include <libxml/parser.h>
#include <libxml/xmlerror.h>


/* the longest slice given to libxml2: its buffer grows to that and stays */
#define NGX_XMPP_XML_SLICE      4096

/* a context that has read so much is made anew: names it interned stay in it */
#define NGX_XMPP_XML_CTXT_MAX   65536

/* what is remembered of a header while hibernated is at most that long */
#define NGX_XMPP_XML_ROOT_MAX   2048
#define NGX_XMPP_XML_LANG_MAX   255

/* namespaces of a stanza, written out: at most so many times what was read */
#define NGX_XMPP_XML_NS_TIMES   4
#define NGX_XMPP_XML_NS_MIN     16384


/* what has to be known to open the stream once more in a new context */
typedef struct {
    ngx_str_t                   tag;          /* a header to prime with */
    ngx_str_t                   prefix;       /* of the root element */
    ngx_str_t                   default_ns;
} ngx_xmpp_xml_root_t;


/* an element that has begun, as it was read; of limits->raw only */
typedef struct {
    size_t                      len;
    size_t                      size;         /* room in data */
    u_char                      data[1];
} ngx_xmpp_xml_half_t;


/*
 * One per session, so it is kept small.  Elements are counted twice: "level"
 * by the scanner before libxml2 sees the bytes, "depth" by its callbacks; at
 * the end of each depth-1 element they have to agree.
 */
struct ngx_xmpp_parser_s {
    xmlParserCtxtPtr            ctxt;         /* NULL while hibernated */
    ngx_xmpp_xml_limits_t      *limits;
    ngx_xmpp_parser_pool_pt     get_pool;
    void                       *data;
    ngx_xmpp_parser_spare_t    *spare;        /* of the process, or NULL */
    ngx_pool_t                 *owner;        /* the parser's own pool */

    ngx_xmpp_xml_root_t        *root;         /* NULL before the header */
    ngx_xmpp_xml_half_t        *half;         /* from the heap, or NULL */
    ngx_str_t                   lang;
    u_char                      lang_buf[8];

    ngx_pool_t                 *pool;         /* of the tree being built */
    ngx_xmpp_xml_t             *top;          /* its depth-1 element */
    ngx_xmpp_xml_t             *cur;          /* the innermost open element */
    ngx_xmpp_xml_t             *text;         /* text node that still grows */
    size_t                      text_size;    /* its room */

    size_t                      bytes;        /* since the last boundary */
    uint32_t                    fed;          /* to this context */
    uint32_t                    level;
    uint32_t                    depth;
    uint32_t                    elements;     /* of this stanza */
    uint32_t                    attrs;        /* of the tag being scanned */
    size_t                      spaces;       /* bytes of namespaces, repeated
                                                 wherever a prefix was used */

    u_char                      state;        /* of the scanner */
    u_char                      match;
    u_char                      decl;
    u_char                      utf8;

    u_char                      event;        /* met in this slice */
    u_char                      err;
    unsigned                    begun:1;      /* bytes since the boundary */
    unsigned                    folded:1;     /* half is all that there is */
    unsigned                    restarted:1;  /* not the first header */
    unsigned                    muted:1;      /* priming: not the peer's */
    unsigned                    primed:1;     /* ctxt has not read a header
                                                 of the peer's */
    unsigned                    closed:1;     /* the root has ended */
    unsigned                    cr:1;         /* CDATA ended with a CR */
    unsigned                    framed:1;     /* no header: see _frame() */

    char                       *err_text;
};


/* records the first error, later ones are its consequences */
void ngx_xmpp_parser_fail(ngx_xmpp_parser_t *p, ngx_xmpp_xml_err_e err,
    char *text);

/*
 * Length of the part of [start, end) that may be fed: up to the first place
 * where a header, a depth-1 element or the stream can end, else all of it.
 * *edge tells whether there is such a place.  Sets p->err for what is refused
 * unseen by libxml2.
 */
size_t ngx_xmpp_xml_scan(ngx_xmpp_parser_t *p, u_char *start, u_char *end,
    ngx_uint_t *edge);

/* checks the bytes of a slice: UTF-8, no control characters; sets p->err */
void ngx_xmpp_xml_check(ngx_xmpp_parser_t *p, u_char *start, u_char *end);

ngx_str_t *ngx_xmpp_xml_ns_find(const u_char *data, size_t len);

/* remembers a header in p->root; NGX_ERROR: no memory; may set p->err */
ngx_int_t ngx_xmpp_xml_ns_root(ngx_xmpp_parser_t *p, const xmlChar *name,
    const xmlChar *prefix, int n, const xmlChar **ns);

extern xmlSAXHandler  ngx_xmpp_xml_sax;

/* the header that nearly all clients send, and the one of who sends none */
extern ngx_xmpp_xml_root_t  ngx_xmpp_xml_root_client;
extern ngx_xmpp_xml_root_t  ngx_xmpp_xml_root_framed;


#endif /* _NGX_XMPP_XML_PARSER_H_INCLUDED_ */
