
/*
 * Cuts an XML stream into its header and its stanzas (RFC 6120, 4.2) by
 * counting tags, and finds attributes and texts in one stanza.
 *
 * It believes what a server sends to be well-formed: a server's own tests are
 * elsewhere.  A prefix of an element's name is passed over.
 */


#include <string.h>

#include "traffic.h"


static tr_scan_e tr_scan_gt(tr_scan_t *sc);
static int tr_scan_past(tr_scan_t *sc, const char *data, size_t len, char ch);
static size_t tr_scan_skip(const char *data, size_t pos, size_t len, char ch);
static tr_str_t *tr_scan_known(tr_start_t *start, const char *name,
    size_t len);
static int tr_scan_space(char ch);


/*
 * tr_scan() looks at data[sc->pos .. len) and stops behind the next header,
 * stanza or end of the stream.  A header or stanza is data[sc->start ..
 * sc->pos).
 */

tr_scan_e
tr_scan(tr_scan_t *sc, const char *data, size_t len)
{
    char       ch, quote;
    tr_scan_e  rc;
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
            if (ch != '<' && !tr_scan_past(sc, data, len, '<')) {
                break;
            }

            if (sc->depth <= 1) {
                sc->start = sc->pos - 1;
            }

            state = sw_lt;
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

                rc = tr_scan_gt(sc);

                if (rc != tr_scan_again) {
                    return rc;
                }

                break;
            }

            sc->slash = (ch == '/');
            break;

        case sw_single:
        case sw_double:
            quote = (state == sw_single) ? '\'' : '"';

            if (ch != quote && !tr_scan_past(sc, data, len, quote)) {
                break;
            }

            state = sw_tag;
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


/* '>' ends a tag: what is complete by that, or tr_scan_again */

static tr_scan_e
tr_scan_gt(tr_scan_t *sc)
{
    if (sc->closing) {

        if (sc->depth == 0 || --sc->depth == 0) {
            return tr_scan_end;
        }

        return (sc->depth == 1) ? tr_scan_stanza : tr_scan_again;
    }

    if (sc->slash) {
        return (sc->depth == 1) ? tr_scan_stanza : tr_scan_again;
    }

    return (++sc->depth == 1) ? tr_scan_header : tr_scan_again;
}


/* moves behind the next such character; 0: to the end, there is none */

static int
tr_scan_past(tr_scan_t *sc, const char *data, size_t len, char ch)
{
    sc->pos = tr_scan_skip(data, sc->pos, len, ch);

    if (sc->pos == len) {
        return 0;
    }

    sc->pos++;

    return 1;
}


/* the place of the next such character, or the end */

static size_t
tr_scan_skip(const char *data, size_t pos, size_t len, char ch)
{
    const char  *p;

    p = memchr(data + pos, ch, len - pos);

    return (p != NULL) ? (size_t) (p - data) : len;
}


/*
 * tr_scan_start() reads a start tag in one go; what the element does not have
 * is empty
 */

int
tr_scan_start(tr_str_t *el, tr_start_t *start)
{
    char         quote;
    tr_str_t    *known;
    const char  *p, *end, *name;

    memset(start, 0, sizeof(tr_start_t));

    p = el->data + 1;
    end = el->data + el->len;

    for (name = p; p < end && !tr_scan_space(*p) && *p != '/' && *p != '>';
         p++)
    {
        if (*p == ':') {
            name = p + 1;
        }
    }

    start->name.data = name;
    start->name.len = p - name;

    for ( ;; ) {
        while (p < end && tr_scan_space(*p)) {
            p++;
        }

        name = p;

        while (p < end && *p != '=' && *p != '/' && *p != '>') {
            p++;
        }

        if (end - p < 2) {
            start->rest.data = p;
            start->rest.len = end - p;
            return (p < end && *p == '>') ? TR_OK : TR_ERROR;
        }

        if (*p != '=') {
            start->rest.data = p + 1;
            start->rest.len = end - start->rest.data;
            return TR_OK;
        }

        known = tr_scan_known(start, name, p - name);
        quote = p[1];
        name = p + 2;
        p = memchr(name, quote, end - name);

        if (p == NULL) {
            return TR_ERROR;
        }

        if (known != NULL) {
            known->data = name;
            known->len = p - name;
        }

        p++;
    }
}


static tr_str_t *
tr_scan_known(tr_start_t *start, const char *name, size_t len)
{
    if (len == 4 && memcmp(name, "from", 4) == 0) {
        return &start->from;
    }

    if (len == 4 && memcmp(name, "type", 4) == 0) {
        return &start->type;
    }

    if (len == 2 && memcmp(name, "id", 2) == 0) {
        return &start->id;
    }

    return NULL;
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
