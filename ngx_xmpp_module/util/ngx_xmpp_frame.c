/*
 * WebSocket frames (RFC 6455, 5).
 *
 *     head, up to 14 bytes --checked--> open: left bytes of payload --> head
 *
 * Pure functions on bytes: a head may come in any pieces, the mask is taken
 * off where the payload was read, and nothing is allocated.  Which frames make
 * a message, and what is in it, is for ngx_xmpp_websocket.c to say.
 */


#include "ngx_xmpp_frame.h"


static size_t ngx_xmpp_frame_need(ngx_xmpp_frame_t *f);
static const char *ngx_xmpp_frame_check(ngx_xmpp_frame_t *f);


ngx_int_t
ngx_xmpp_frame_read(ngx_xmpp_frame_t *f, u_char **pos, u_char *last,
    const char **reason)
{
    u_char  *p;
    size_t   n, need;

    for ( ;; ) {

        need = ngx_xmpp_frame_need(f);

        if (f->have == need) {
            break;
        }

        if (*pos == last) {
            return NGX_AGAIN;
        }

        n = ngx_min(need - f->have, (size_t) (last - *pos));

        ngx_memcpy(f->head + f->have, *pos, n);
        f->have += n;
        *pos += n;

        /* as early as it is known */

        if (f->have == 2) {
            *reason = ngx_xmpp_frame_check(f);

            if (*reason) {
                return NGX_ERROR;
            }
        }
    }

    p = f->head + 2;

    f->left = f->head[1] & 0x7f;

    if (f->left >= 126) {
        n = (f->left == 126) ? 2 : 8;

        for (f->left = 0; n; n--) {
            f->left = f->left << 8 | *p++;
        }

        /* RFC 6455, 5.2: in as few bytes as possible, and the first bit is 0 */

        if (f->left < ((p - f->head == 4) ? 126 : 65536) || f->left >> 63) {
            *reason = "a frame whose length is not encoded as it has to be";
            return NGX_ERROR;
        }
    }

    ngx_memcpy(f->mask, p, 4);

    f->have = 0;
    f->at = 0;
    f->open = 1;

    return NGX_OK;
}


/* bytes of the head, as far as it is known */

static size_t
ngx_xmpp_frame_need(ngx_xmpp_frame_t *f)
{
    if (f->have < 2) {
        return 2;
    }

    switch (f->head[1] & 0x7f) {

    case 126:
        return 2 + 2 + 4;

    case 127:
        return 2 + 8 + 4;

    default:
        return 2 + 4;
    }
}


/* the first two bytes: NULL, or what is wrong with them */

static const char *
ngx_xmpp_frame_check(ngx_xmpp_frame_t *f)
{
    f->fin = f->head[0] >> 7;
    f->opcode = f->head[0] & 0x0f;

    /* RFC 6455, 5.2: no extension was negotiated that would use these bits */

    if (f->head[0] & 0x70) {
        return "a frame with reserved bits";
    }

    /* RFC 6455, 5.1 */

    if (!(f->head[1] & 0x80)) {
        return "a frame without a mask";
    }

    if (f->opcode > NGX_XMPP_FRAME_PONG
        || (f->opcode > NGX_XMPP_FRAME_BINARY
            && f->opcode < NGX_XMPP_FRAME_CLOSE))
    {
        return "a frame of an unknown kind";
    }

    /* RFC 6455, 5.5 */

    if (ngx_xmpp_frame_is_control(f)
        && (!f->fin || (f->head[1] & 0x7f) > NGX_XMPP_FRAME_CONTROL))
    {
        return "a control frame that is long or in fragments";
    }

    return NULL;
}


void
ngx_xmpp_frame_unmask(ngx_xmpp_frame_t *f, u_char *p, size_t n)
{
    u_char      mask[8];
    uint64_t    word, bytes;
    ngx_uint_t  i;

    for (i = 0; i < sizeof(mask); i++) {
        mask[i] = f->mask[(f->at + i) & 3];
    }

    f->at = (f->at + n) & 3;
    f->left -= n;

    ngx_memcpy(&word, mask, sizeof(mask));

    for ( /* void */ ; n >= sizeof(mask); n -= sizeof(mask)) {
        ngx_memcpy(&bytes, p, sizeof(mask));
        bytes ^= word;
        ngx_memcpy(p, &bytes, sizeof(mask));

        p += sizeof(mask);
    }

    for (i = 0; i < n; i++) {
        p[i] ^= mask[i];
    }
}


size_t
ngx_xmpp_frame_head_size(uint64_t len)
{
    return (len < 126) ? 2 : (len < 65536) ? 4 : 10;
}


u_char *
ngx_xmpp_frame_head(u_char *p, ngx_uint_t opcode, uint64_t len)
{
    ngx_uint_t  n;

    *p++ = 0x80 | opcode;

    if (len < 126) {
        *p++ = (u_char) len;
        return p;
    }

    n = (len < 65536) ? 2 : 8;
    *p++ = (n == 2) ? 126 : 127;

    while (n--) {
        *p++ = (u_char) (len >> 8 * n);
    }

    return p;
}
