
/*
 * Cuts an XML stream into its header and its stanzas (RFC 6120, 4.2) by
 * counting tags, and finds attributes and texts in one stanza.
 *
 * It believes what a server sends to be well-formed: a server's own tests are
 * elsewhere.  A prefix of an element's name is passed over.
 */


#include <string.h>

#include "traffic.h"


static int tr_scan_space(char ch);


/*
 * tr_scan() looks at data[sc->pos .. len) and stops behind the next header,
 * stanza or end of the stream.  A header or stanza is data[sc->start ..
 * sc->pos).
 */

tr_scan_e
tr_scan(tr_scan_t *sc, const char *data, size_t len)
{
    char  ch;
    enum {
        sw_text = 0,
        sw_lt,
        sw_tag,
        sw_single,
        sw_double,
        sw_pi
    } state;

    state = sc->state;

    while (sc->pos < len) {
        ch = data[sc->pos++];

        switch (state) {

        case sw_text:
            if (ch == '<') {
                if (sc->depth <= 1) {
                    sc->start = sc->pos - 1;
                }

                state = sw_lt;
            }

            break;

        case sw_lt:
            if (ch == '!') {
                return tr_scan_bad;
            }

            sc->closing = (ch == '/');
            sc->slash = 0;
            state = (ch == '?') ? sw_pi : sw_tag;
            break;

        case sw_tag:
            if (ch == '\'') {
                state = sw_single;

            } else if (ch == '"') {
                state = sw_double;

            } else if (ch == '>') {
                state = sw_text;
                sc->state = state;

                if (sc->closing) {
                    if (sc->depth == 0 || --sc->depth == 0) {
                        return tr_scan_end;
                    }

                    if (sc->depth == 1) {
                        return tr_scan_stanza;
                    }

                } else if (sc->slash) {
                    if (sc->depth == 1) {
                        return tr_scan_stanza;
                    }

                } else if (++sc->depth == 1) {
                    return tr_scan_header;
                }

                break;
            }

            sc->slash = (ch == '/');
            break;

        case sw_single:
            if (ch == '\'') {
                state = sw_tag;
            }

            break;

        case sw_double:
            if (ch == '"') {
                state = sw_tag;
            }

            break;

        case sw_pi:
            if (ch == '>') {
                state = sw_text;
            }

            break;
        }
    }

    sc->state = state;

    return tr_scan_again;
}


/* tr_scan_is() tells whether the element has this local name */

int
tr_scan_is(tr_str_t *el, const char *name)
{
    size_t       len;
    const char  *p, *end, *start;

    len = strlen(name);
    end = el->data + el->len;
    start = el->data + 1;

    for (p = start; p < end; p++) {
        if (*p == ':') {
            start = p + 1;

        } else if (tr_scan_space(*p) || *p == '/' || *p == '>') {
            break;
        }
    }

    return (size_t) (p - start) == len && memcmp(start, name, len) == 0;
}


/* tr_scan_attr() finds an attribute of the outermost element */

int
tr_scan_attr(tr_str_t *el, const char *name, tr_str_t *value)
{
    char         quote;
    size_t       len, found;
    const char  *p, *end, *start;

    len = strlen(name);
    p = el->data + 1;
    end = el->data + el->len;

    while (p < end && !tr_scan_space(*p) && *p != '/' && *p != '>') {
        p++;
    }

    for ( ;; ) {
        while (p < end && tr_scan_space(*p)) {
            p++;
        }

        start = p;

        while (p < end && *p != '=' && *p != '/' && *p != '>') {
            p++;
        }

        if (p == end || *p != '=') {
            return TR_ERROR;
        }

        found = p - start;

        while (p < end && *p != '\'' && *p != '"') {
            p++;
        }

        if (p == end) {
            return TR_ERROR;
        }

        quote = *p++;
        value->data = p;
        p = memchr(p, quote, end - p);

        if (p == NULL) {
            return TR_ERROR;
        }

        value->len = p - value->data;
        p++;

        if (found == len && memcmp(start, name, len) == 0) {
            return TR_OK;
        }
    }
}


/*
 * tr_scan_child() finds the text of the first element of this name, however
 * deep, that holds nothing but text; the name has no prefix
 */

int
tr_scan_child(tr_str_t *el, const char *name, tr_str_t *text)
{
    size_t       len;
    const char  *p, *end;

    len = strlen(name);
    p = el->data;
    end = el->data + el->len;

    while ((p = memchr(p, '<', end - p)) != NULL) {
        p++;

        if ((size_t) (end - p) <= len || memcmp(p, name, len) != 0
            || (p[len] != '>' && !tr_scan_space(p[len])))
        {
            continue;
        }

        p = memchr(p, '>', end - p);

        if (p == NULL) {
            return TR_ERROR;
        }

        if (p[-1] == '/') {
            continue;
        }

        text->data = ++p;
        p = memchr(p, '<', end - p);

        if (p == NULL) {
            return TR_ERROR;
        }

        text->len = p - text->data;

        return TR_OK;
    }

    return TR_ERROR;
}


/* tr_scan_find() finds a text anywhere; the rest is what comes behind it */

int
tr_scan_find(tr_str_t *el, const char *text, tr_str_t *rest)
{
    size_t       len;
    const char  *p;

    len = strlen(text);
    p = memmem(el->data, el->len, text, len);

    if (p == NULL) {
        return TR_ERROR;
    }

    rest->data = p + len;
    rest->len = el->data + el->len - rest->data;

    return TR_OK;
}


static int
tr_scan_space(char ch)
{
    return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n';
}
