/*
 * WebSocket frames (RFC 6455, 5): heads in any pieces, what no client may send,
 * masks at any place, and heads of our own.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_frame.h"
#include "tap.h"


/* a head, and what is read of it: the length; -1, it is refused */
typedef struct {
    const char  *name;
    ngx_str_t    head;
    int64_t      left;
} test_head_t;


static void test_heads(void);
static int64_t test_read(ngx_str_t *head, size_t piece);
static void test_masks(void);
static void test_own(void);


static test_head_t  test_table[] = {
    { "RFC 6455, 5.7: Hello", ngx_string("\x81\x85mask"), 5 },
    { "nothing", ngx_string("\x81\x80mask"), 0 },
    { "125", ngx_string("\x81\xfdmask"), 125 },
    { "126", ngx_string("\x81\xfe\x00\x7emask"), 126 },
    { "65535", ngx_string("\x81\xfe\xff\xffmask"), 65535 },
    { "65536", ngx_string("\x81\xff\0\0\0\0\0\1\0\0mask"), 65536 },
    { "the longest", ngx_string("\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffmask"),
      INT64_MAX },
    { "a fragment", ngx_string("\x01\x81mask"), 1 },
    { "a continuation", ngx_string("\x80\x81mask"), 1 },
    { "binary", ngx_string("\x82\x81mask"), 1 },
    { "a Ping", ngx_string("\x89\xfdmask"), 125 },
    { "a Pong", ngx_string("\x8a\x80mask"), 0 },
    { "a Close", ngx_string("\x88\x82mask"), 2 },

    { "no mask", ngx_string("\x81\x05"), -1 },
    { "RSV1", ngx_string("\xc1\x85"), -1 },
    { "RSV2", ngx_string("\xa1\x85"), -1 },
    { "RSV3", ngx_string("\x91\x85"), -1 },
    { "opcode 3", ngx_string("\x83\x85"), -1 },
    { "opcode 7", ngx_string("\x87\x85"), -1 },
    { "opcode 11", ngx_string("\x8b\x85"), -1 },
    { "opcode 15", ngx_string("\x8f\x85"), -1 },
    { "a Ping in fragments", ngx_string("\x09\x80"), -1 },
    { "a long Close", ngx_string("\x88\xfe"), -1 },
    { "125 in two bytes", ngx_string("\x81\xfe\x00\x7dmask"), -1 },
    { "65535 in eight", ngx_string("\x81\xff\0\0\0\0\0\0\xff\xffmask"), -1 },
    { "negative", ngx_string("\x81\xff\x80\0\0\0\0\0\0\0mask"), -1 }
};


int
main(void)
{
    tap_plan(2 * sizeof(test_table) / sizeof(test_head_t) + 1 + 8);

    test_heads();
    test_masks();
    test_own();

    return tap_end();
}


static void
test_heads(void)
{
    ngx_uint_t  i;

    for (i = 0; i < sizeof(test_table) / sizeof(test_head_t); i++) {
        tap_ok(test_read(&test_table[i].head, 64) == test_table[i].left,
               "%s", test_table[i].name);
        tap_ok(test_read(&test_table[i].head, 1) == test_table[i].left,
               "%s, byte by byte", test_table[i].name);
    }
}


/* -2: something is wrong with what was taken, or said */

static int64_t
test_read(ngx_str_t *head, size_t piece)
{
    u_char            *pos, *end, *last;
    ngx_int_t          rc;
    const char        *reason;
    ngx_xmpp_frame_t   f;

    ngx_memzero(&f, sizeof(ngx_xmpp_frame_t));

    pos = head->data;
    last = pos + head->len;
    reason = NULL;

    do {
        end = ngx_min(pos + piece, last);
        rc = ngx_xmpp_frame_read(&f, &pos, end, &reason);

        if (rc == NGX_AGAIN && pos != end) {
            return -2;
        }

    } while (rc == NGX_AGAIN && pos < last);

    if (rc == NGX_ERROR) {
        return reason ? -1 : -2;
    }

    return (rc == NGX_OK && pos == last && f.open
            && ngx_memcmp(f.mask, "mask", 4) == 0)
           ? (int64_t) f.left : -2;
}


/* a payload of 100 bytes in two pieces, cut at each place */

static void
test_masks(void)
{
    u_char            *pos, bytes[6 + 100];
    ngx_uint_t         i, cut, good;
    const char        *reason;
    ngx_xmpp_frame_t   f;

    good = 0;

    for (cut = 0; cut <= 100; cut++) {

        ngx_memcpy(bytes, "\x81\xe4mask", 6);

        for (i = 0; i < 100; i++) {
            bytes[6 + i] = (u_char) (i ^ (u_char) "mask"[i % 4]);
        }

        ngx_memzero(&f, sizeof(ngx_xmpp_frame_t));
        pos = bytes;

        if (ngx_xmpp_frame_read(&f, &pos, bytes + sizeof(bytes), &reason)
            != NGX_OK)
        {
            continue;
        }

        ngx_xmpp_frame_unmask(&f, pos, cut);
        ngx_xmpp_frame_unmask(&f, pos + cut, 100 - cut);

        for (i = 0; i < 100 && pos[i] == i; i++) {
            /* void */
        }

        good += (i == 100 && f.left == 0);
    }

    tap_ok(good == 101, "5.3: the mask goes on in the next piece");
}


static void
test_own(void)
{
    u_char      head[NGX_XMPP_FRAME_HEAD];
    size_t      size;
    ngx_uint_t  i;

    static struct {
        uint64_t   len;
        ngx_str_t  head;
    } own[] = {
        { 0, ngx_string("\x81\x00") },
        { 125, ngx_string("\x81\x7d") },
        { 126, ngx_string("\x81\x7e\x00\x7e") },
        { 65535, ngx_string("\x81\x7e\xff\xff") },
        { 65536, ngx_string("\x81\x7f\0\0\0\0\0\1\0\0") },
        { 0x0102030405060708, ngx_string("\x81\x7f\1\2\3\4\5\6\7\10") }
    };

    for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        size = ngx_xmpp_frame_head(head, NGX_XMPP_FRAME_TEXT, own[i].len)
               - head;

        tap_ok(size == own[i].head.len
               && size == ngx_xmpp_frame_head_size(own[i].len)
               && ngx_memcmp(head, own[i].head.data, size) == 0,
               "5.2: a head for %llu bytes", (unsigned long long) own[i].len);
    }

    (void) ngx_xmpp_frame_head(head, NGX_XMPP_FRAME_PONG, 0);
    tap_ok(head[0] == 0x8a, "a Pong");
    (void) ngx_xmpp_frame_head(head, NGX_XMPP_FRAME_CLOSE, 2);
    tap_ok(head[0] == 0x88 && head[1] == 2, "a Close");
}
