/*
 * WebSocket frames (RFC 6455, 5.2): reading those of a client, writing ours.
 */


#ifndef _NGX_XMPP_FRAME_H_INCLUDED_
#define _NGX_XMPP_FRAME_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_XMPP_FRAME_CONTINUATION   0x0
#define NGX_XMPP_FRAME_TEXT           0x1
#define NGX_XMPP_FRAME_BINARY         0x2
#define NGX_XMPP_FRAME_CLOSE          0x8
#define NGX_XMPP_FRAME_PING           0x9
#define NGX_XMPP_FRAME_PONG           0xa

/* the longest head of a frame of ours, which has no mask, and of a client's */
#define NGX_XMPP_FRAME_HEAD           10
#define NGX_XMPP_FRAME_CLIENT_HEAD    14

/* of a control frame's payload (RFC 6455, 5.5) */
#define NGX_XMPP_FRAME_CONTROL        125


/* a frame that is being read; all zero before the first */
typedef struct {
    uint64_t                    left;           /* of the payload */
    u_char                      head[NGX_XMPP_FRAME_CLIENT_HEAD];
    u_char                      have;           /* bytes in head */
    u_char                      at;             /* place in the mask */
    u_char                      mask[4];
    u_char                      opcode;
    unsigned                    fin:1;
    unsigned                    open:1;         /* its head is complete */
} ngx_xmpp_frame_t;


#define ngx_xmpp_frame_is_control(f)    ((f)->opcode & 0x8)

/*
 * Takes the head of a frame from [*pos, last).  NGX_OK: it is complete, and
 * f->left bytes of payload follow; NGX_AGAIN: all was taken, more is needed;
 * NGX_ERROR: no frame that a client may send, *reason (static) says why.
 */
ngx_int_t ngx_xmpp_frame_read(ngx_xmpp_frame_t *f, u_char **pos, u_char *last,
    const char **reason);

/* takes the mask off n bytes of the payload, where they are */
void ngx_xmpp_frame_unmask(ngx_xmpp_frame_t *f, u_char *p, size_t n);

/* the head of a whole, unmasked frame: its size; its bytes, returns the end */
size_t ngx_xmpp_frame_head_size(uint64_t len);
u_char *ngx_xmpp_frame_head(u_char *p, ngx_uint_t opcode, uint64_t len);


#endif /* _NGX_XMPP_FRAME_H_INCLUDED_ */
