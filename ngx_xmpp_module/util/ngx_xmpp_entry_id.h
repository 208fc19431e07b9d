
/*
 * The ids of messages in archives, as clients see them (XEP-0313, XEP-0359).
 * Pure: no sockets, no sessions.
 */


#ifndef _NGX_XMPP_ENTRY_ID_H_INCLUDED_
#define _NGX_XMPP_ENTRY_ID_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <openssl/evp.h>


#define NGX_XMPP_ENTRY_ID_LEN       32        /* octets of one */

/* the highest number and index that an id has room for */
#define NGX_XMPP_ENTRY_NUMBER_MAX   9007199254740991ULL
#define NGX_XMPP_ENTRY_INDEX_MAX    255


/* an entry of an archive */
typedef struct {
    uint64_t            number;                 /* microseconds of 1970 */
    ngx_uint_t          index;
} ngx_xmpp_entry_t;

/* what turns the one into the other */
typedef struct {
    EVP_CIPHER_CTX     *to;
    EVP_CIPHER_CTX     *from;
} ngx_xmpp_entry_key_t;


/*
 * Makes the key of a secret, which all workers that share archives have.  It
 * may be made again; zeroed at first.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_xmpp_entry_key(ngx_xmpp_entry_key_t *key, ngx_str_t *secret);
void ngx_xmpp_entry_key_free(ngx_xmpp_entry_key_t *key);

/*
 * Writes the id of an entry of an archive, which is told from others by a hash
 * of its address: NGX_XMPP_ENTRY_ID_LEN octets.  Returns the end, or NULL:
 * OpenSSL failed.
 */
u_char *ngx_xmpp_entry_id_write(u_char *p, ngx_xmpp_entry_key_t *key,
    uint32_t archive, ngx_xmpp_entry_t *entry);

/* the same back; NGX_DECLINED: it is no id of that archive */
ngx_int_t ngx_xmpp_entry_id_read(ngx_xmpp_entry_key_t *key,
    uint32_t archive, ngx_str_t *id, ngx_xmpp_entry_t *entry);


#endif /* _NGX_XMPP_ENTRY_ID_H_INCLUDED_ */
