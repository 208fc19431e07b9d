/*
 * XML scanner: where may a slice end, and are its bytes text at all?
 *
 * libxml2 takes what it is given and cannot be stopped behind a stanza, so
 * the slices are cut before it sees them.  For that it suffices to know tags,
 * quotes and CDATA sections; whether the rest is XML is libxml2's business.
 * Should the two ever disagree about where an element ends, the parser says
 * not-well-formed, so nothing can slip through between them.
 *
 *     text --'<'--> lt --'/'--> end -----------'>'--> text, level - 1
 *                   |---name--> tag -----------'>'--> text, level + 1
 *                   |            |--'/'--> slash '>'--> text
 *                   |            '--'"'--> tag_quot --'"'--> tag
 *                   |--'?'--> decl ------------'>'--> text
 *                   |           '---'"'--> decl_quot --'"'--> decl
 *                   '--'!'--> bang --"[CDATA["--> cdata --"]]>"--> text
 *
 * Three things are refused here because libxml2 would do so late or at a
 * price: comments and DTDs (RFC 6120, 11.1), more attributes than allowed
 * (libxml2 2.9 compares each with each), and an encoding other than UTF-8 in
 * the XML declaration (RFC 6120, 11.6; libxml2 would look for a converter).
 *
 * The bytes are checked here too, since libxml2 2.9 lets overlong UTF-8 pass
 * in CDATA sections.
 */


#include <ngx_xmpp_xml_parser.h>


/* all that matters in a tag is below 64 */
#define ngx_xmpp_xml_bit(ch)  ((uint64_t) 1 << (ch))

#define NGX_XMPP_XML_TAG_MARKS                                                \
    (ngx_xmpp_xml_bit('"') | ngx_xmpp_xml_bit('\'') | ngx_xmpp_xml_bit('/')   \
     | ngx_xmpp_xml_bit('=') | ngx_xmpp_xml_bit('>'))

/* the high bit of each byte, and 0x20 in each byte */
#define NGX_XMPP_XML_HIGH     0x8080808080808080ULL
#define NGX_XMPP_XML_SPACES   0x2020202020202020ULL


enum {
    sw_text = 0,
    sw_lt,
    sw_tag,
    sw_tag_quot,
    sw_tag_apos,
    sw_slash,
    sw_end,
    sw_decl,
    sw_decl_quot,
    sw_decl_apos,
    sw_bang,
    sw_cdata,
    sw_cdata_bracket,
    sw_cdata_brackets
};


/* what has to follow in a UTF-8 sequence, RFC 3629, 4 */
enum {
    sw_utf8_char = 0,
    sw_utf8_1,                 /* one more byte, 80-BF */
    sw_utf8_2,
    sw_utf8_3,
    sw_utf8_e0,                /* A0-BF, then one: not overlong */
    sw_utf8_ed,                /* 80-9F, then one: no surrogate */
    sw_utf8_f0,                /* 90-BF, then two: not overlong */
    sw_utf8_f4,                /* 80-8F, then two: not above 10FFFF */
    sw_utf8_bad
};


static void ngx_xmpp_xml_scan_lt(ngx_xmpp_parser_t *p, u_char ch);
static u_char *ngx_xmpp_xml_scan_tag(ngx_xmpp_parser_t *p, u_char *pos,
    u_char *end);
static ngx_uint_t ngx_xmpp_xml_scan_gt(ngx_xmpp_parser_t *p);
static void ngx_xmpp_xml_scan_decl(ngx_xmpp_parser_t *p, u_char ch);
static void ngx_xmpp_xml_scan_value(ngx_xmpp_parser_t *p, u_char ch);
static void ngx_xmpp_xml_scan_bang(ngx_xmpp_parser_t *p, u_char ch);
static void ngx_xmpp_xml_scan_cdata(ngx_xmpp_parser_t *p, u_char ch);
static u_char ngx_xmpp_xml_utf8_lead(u_char ch);
static u_char ngx_xmpp_xml_utf8_next(u_char state, u_char ch);


static ngx_str_t  ngx_xmpp_xml_cdata = ngx_string("[CDATA[");
static ngx_str_t  ngx_xmpp_xml_utf8 = ngx_string("utf-8");
static ngx_str_t  ngx_xmpp_xml_version = ngx_string("1.0");


size_t
ngx_xmpp_xml_scan(ngx_xmpp_parser_t *p, u_char *start, u_char *end,
    ngx_uint_t *edge)
{
    u_char  ch, *pos;

    *edge = 0;
    pos = start;

    while (pos < end && p->err == NGX_XMPP_XML_ERR_NONE) {

        if (p->state == sw_text) {
            pos = memchr(pos, '<', end - pos);
            if (pos == NULL) {
                return end - start;
            }

            p->state = sw_lt;
            pos++;
            continue;
        }

        if (p->state >= sw_tag && p->state <= sw_tag_apos) {
            pos = ngx_xmpp_xml_scan_tag(p, pos, end);
            if (pos == end || *pos != '>' || p->state != sw_tag) {
                continue;
            }
        }

        ch = *pos++;

        if (ch == '>' && p->state >= sw_tag && p->state <= sw_decl) {
            if (ngx_xmpp_xml_scan_gt(p)) {
                *edge = 1;
                break;
            }

            continue;
        }

        switch (p->state) {

        case sw_lt:
            ngx_xmpp_xml_scan_lt(p, ch);
            break;

        case sw_slash:                          /* not before a '>' */
            p->state = sw_tag;
            pos--;
            break;

        case sw_decl:
            ngx_xmpp_xml_scan_decl(p, ch);
            break;

        case sw_decl_quot:
        case sw_decl_apos:
            ngx_xmpp_xml_scan_value(p, ch);
            break;

        case sw_bang:
            ngx_xmpp_xml_scan_bang(p, ch);
            break;

        case sw_cdata:
        case sw_cdata_bracket:
        case sw_cdata_brackets:
            ngx_xmpp_xml_scan_cdata(p, ch);
            break;

        default: /* sw_end */
            break;
        }
    }

    return pos - start;
}


static void
ngx_xmpp_xml_scan_lt(ngx_xmpp_parser_t *p, u_char ch)
{
    switch (ch) {

    case '/':
        p->state = sw_end;
        break;

    case '?':
        p->state = sw_decl;
        p->decl = 0;
        p->match = 0;
        break;

    case '!':
        p->state = sw_bang;
        p->match = 0;

        if (p->level == 0) {
            ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_RESTRICTED,
                                 "comment or DTD");
        }

        break;

    default:
        p->state = sw_tag;
        p->attrs = 0;
    }
}


/* runs through a start tag to its '>' or to a change of state */

static u_char *
ngx_xmpp_xml_scan_tag(ngx_xmpp_parser_t *p, u_char *pos, u_char *end)
{
    if (p->state != sw_tag) {
        pos = memchr(pos, (p->state == sw_tag_quot) ? '"' : '\'', end - pos);
        if (pos == NULL) {
            return end;
        }

        p->state = sw_tag;
        pos++;
    }

    for ( /* void */ ; pos < end; pos++) {

        if (*pos > '>'
            || !(NGX_XMPP_XML_TAG_MARKS & ngx_xmpp_xml_bit(*pos)))
        {
            continue;
        }

        switch (*pos) {

        case '=':
            if (++p->attrs > p->limits->max_attrs) {
                ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_ATTRS,
                                     "too many attributes");
                return pos;
            }

            continue;

        case '"':
            p->state = sw_tag_quot;
            return pos + 1;

        case '\'':
            p->state = sw_tag_apos;
            return pos + 1;

        case '/':
            p->state = sw_slash;
            return pos + 1;

        default: /* '>' */
            return pos;
        }
    }

    return pos;
}


/* '>' ends a tag; is it the end of a header, a stanza or the stream? */

static ngx_uint_t
ngx_xmpp_xml_scan_gt(ngx_xmpp_parser_t *p)
{
    u_char  state;

    state = p->state;
    p->state = sw_text;

    switch (state) {

    case sw_tag:
        return (++p->level == 1);

    case sw_slash:
        return (p->level <= 1);

    case sw_end:
        if (p->level) {
            p->level--;
        }

        return (p->level <= 1);

    default: /* sw_decl */
        return 0;
    }
}


/*
 * In an XML declaration outside of quotes.  The first letter tells version,
 * encoding and standalone apart; libxml2 sees to it that they are spelled so.
 */

static void
ngx_xmpp_xml_scan_decl(ngx_xmpp_parser_t *p, u_char ch)
{
    if (ch == '"' || ch == '\'') {
        p->state = (ch == '"') ? sw_decl_quot : sw_decl_apos;
        p->match = 0;
        return;
    }

    if (ch < 'a' || ch > 'z') {
        p->match = 0;

    } else if (p->match == 0) {
        p->match = 1;
        p->decl = ch;
    }
}


static void
ngx_xmpp_xml_scan_value(ngx_xmpp_parser_t *p, u_char ch)
{
    ngx_str_t  *value;

    value = (p->decl == 'e') ? &ngx_xmpp_xml_utf8
          : (p->decl == 'v') ? &ngx_xmpp_xml_version : NULL;

    if (p->level) {
        value = NULL;                           /* a second one is refused */
    }

    if (ch == ((p->state == sw_decl_quot) ? '"' : '\'')) {
        p->state = sw_decl;

        if (value == NULL || p->match == value->len) {
            p->match = 0;
            return;
        }

    } else if (value == NULL) {
        return;

    } else if (p->match < value->len
               && ngx_tolower(ch) == value->data[p->match])
    {
        p->match++;
        return;
    }

    if (p->decl == 'e') {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_ENCODING,
                             "encoding is not UTF-8");
    } else {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
                             "XML version is not 1.0");
    }
}


static void
ngx_xmpp_xml_scan_bang(ngx_xmpp_parser_t *p, u_char ch)
{
    if (ch != ngx_xmpp_xml_cdata.data[p->match]) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_RESTRICTED,
                             "comment or DTD");
        return;
    }

    if (p->level == 1) {
        ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_TEXT,
                             "text between stanzas");
        return;
    }

    if (++p->match == ngx_xmpp_xml_cdata.len) {
        p->state = sw_cdata;
    }
}


static void
ngx_xmpp_xml_scan_cdata(ngx_xmpp_parser_t *p, u_char ch)
{
    if (ch == ']') {
        p->state = (p->state == sw_cdata) ? sw_cdata_bracket
                                          : sw_cdata_brackets;

    } else if (ch == '>' && p->state == sw_cdata_brackets) {
        p->state = sw_text;

    } else {
        p->state = sw_cdata;
    }
}


/*
 * RFC 6120, 11.3 and 11.6: only UTF-8, and of the control characters only
 * those of XML.  Eight bytes at once as long as they are plain ASCII.
 */

void
ngx_xmpp_xml_check(ngx_xmpp_parser_t *p, u_char *start, u_char *end)
{
    u_char    ch, *pos, state;
    uint64_t  eight;

    state = p->utf8;

    for (pos = start; pos < end; pos++) {

        if (state == sw_utf8_char) {

            while (end - pos >= 8) {
                ngx_memcpy(&eight, pos, 8);

                if ((eight | (eight - NGX_XMPP_XML_SPACES))
                    & NGX_XMPP_XML_HIGH)
                {
                    break;
                }

                pos += 8;
            }

            if (pos == end) {
                break;
            }
        }

        ch = *pos;

        if (state != sw_utf8_char) {
            state = ngx_xmpp_xml_utf8_next(state, ch);

        } else if (ch >= 0x80) {
            state = ngx_xmpp_xml_utf8_lead(ch);

        } else if (ch < ' ' && ch != '\t' && ch != '\n' && ch != '\r') {
            state = sw_utf8_bad;
        }

        if (state == sw_utf8_bad) {

            /* a NUL before the header is somebody's UTF-16 or UTF-32 */

            if (ch == '\0' && p->level == 0) {
                ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_ENCODING,
                                     "encoding is not UTF-8");
            } else {
                ngx_xmpp_parser_fail(p, NGX_XMPP_XML_ERR_NOT_WELL_FORMED,
                                     "invalid UTF-8 or control character");
            }

            return;
        }
    }

    p->utf8 = state;
}


static u_char
ngx_xmpp_xml_utf8_lead(u_char ch)
{
    if (ch < 0xc2 || ch > 0xf4) {
        return sw_utf8_bad;
    }

    if (ch < 0xe0) {
        return sw_utf8_1;
    }

    if (ch < 0xf0) {
        return (ch == 0xe0) ? sw_utf8_e0
             : (ch == 0xed) ? sw_utf8_ed : sw_utf8_2;
    }

    return (ch == 0xf0) ? sw_utf8_f0
         : (ch == 0xf4) ? sw_utf8_f4 : sw_utf8_3;
}


static u_char
ngx_xmpp_xml_utf8_next(u_char state, u_char ch)
{
    u_char  low, high;

    low = (state == sw_utf8_e0) ? 0xa0 : (state == sw_utf8_f0) ? 0x90 : 0x80;
    high = (state == sw_utf8_ed) ? 0x9f : (state == sw_utf8_f4) ? 0x8f : 0xbf;

    if (ch < low || ch > high) {
        return sw_utf8_bad;
    }

    switch (state) {

    case sw_utf8_1:
        return sw_utf8_char;

    case sw_utf8_2:
    case sw_utf8_e0:
    case sw_utf8_ed:
        return sw_utf8_1;

    default: /* sw_utf8_3, sw_utf8_f0, sw_utf8_f4 */
        return sw_utf8_2;
    }
}
