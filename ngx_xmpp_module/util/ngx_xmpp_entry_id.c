
/*
 * The ids of messages in archives (XEP-0313, 3; XEP-0359, 3 and 6): unique,
 * unpredictable, and nothing can be read from one, neither when a message was
 * sent nor how many there are.
 *
 *     number (8 octets) index (4) archive (4)
 *         --one block of AES-128, the key being of the deployment--> 32 digits
 *
 * No table turns an id back into its entry.  What another archive has made, or
 * nobody, names another archive, or numbers that no entry has; what is left of
 * it by chance is not in the archive.
 */


#include <openssl/crypto.h>
#include "ngx_xmpp_entry_id.h"


#define NGX_XMPP_ENTRY_BLOCK        16


static EVP_CIPHER_CTX *ngx_xmpp_entry_key_make(u_char *key, int encrypt);
static void ngx_xmpp_entry_id_put(u_char *p, uint64_t n, size_t len);
static uint64_t ngx_xmpp_entry_id_get(u_char *p, size_t len);


ngx_int_t
ngx_xmpp_entry_key(ngx_xmpp_entry_key_t *key, ngx_str_t *secret)
{
    u_char        digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX   *md;
    ngx_uint_t    made;

    static ngx_str_t  purpose = ngx_string("archive ids ");

    ngx_xmpp_entry_key_free(key);

    /* the secret is for other things, too */

    md = EVP_MD_CTX_new();

    made = (md
            && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1
            && EVP_DigestUpdate(md, purpose.data, purpose.len) == 1
            && EVP_DigestUpdate(md, secret->data, secret->len) == 1
            && EVP_DigestFinal_ex(md, digest, NULL) == 1);

    EVP_MD_CTX_free(md);

    if (!made) {
        return NGX_ERROR;
    }

    key->to = ngx_xmpp_entry_key_make(digest, 1);
    key->from = ngx_xmpp_entry_key_make(digest, 0);

    OPENSSL_cleanse(digest, sizeof(digest));

    if (key->to == NULL || key->from == NULL) {
        ngx_xmpp_entry_key_free(key);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static EVP_CIPHER_CTX *
ngx_xmpp_entry_key_make(u_char *key, int encrypt)
{
    EVP_CIPHER_CTX  *ctx;

    ctx = EVP_CIPHER_CTX_new();

    if (ctx
        && EVP_CipherInit_ex(ctx, EVP_aes_128_ecb(), NULL, key, NULL, encrypt)
           == 1
        && EVP_CIPHER_CTX_set_padding(ctx, 0) == 1)
    {
        return ctx;
    }

    EVP_CIPHER_CTX_free(ctx);

    return NULL;
}


void
ngx_xmpp_entry_key_free(ngx_xmpp_entry_key_t *key)
{
    EVP_CIPHER_CTX_free(key->to);
    EVP_CIPHER_CTX_free(key->from);

    key->to = NULL;
    key->from = NULL;
}


u_char *
ngx_xmpp_entry_id_write(u_char *p, ngx_xmpp_entry_key_t *key,
    uint32_t archive, ngx_xmpp_entry_t *entry)
{
    int     n;
    u_char  block[NGX_XMPP_ENTRY_BLOCK], out[NGX_XMPP_ENTRY_BLOCK];
    size_t  i;

    static const u_char  hex[] = "0123456789abcdef";

    ngx_xmpp_entry_id_put(block, entry->number, 8);
    ngx_xmpp_entry_id_put(block + 8, entry->index, 4);
    ngx_xmpp_entry_id_put(block + 12, archive, 4);

    if (EVP_CipherUpdate(key->to, out, &n, block, sizeof(block)) != 1
        || n != sizeof(out))
    {
        return NULL;
    }

    for (i = 0; i < sizeof(out); i++) {
        *p++ = hex[out[i] >> 4];
        *p++ = hex[out[i] & 0x0f];
    }

    return p;
}


ngx_int_t
ngx_xmpp_entry_id_read(ngx_xmpp_entry_key_t *key, uint32_t archive,
    ngx_str_t *id, ngx_xmpp_entry_t *entry)
{
    int         n;
    u_char      block[NGX_XMPP_ENTRY_BLOCK], out[NGX_XMPP_ENTRY_BLOCK];
    u_char      c, *p;
    ngx_uint_t  i;

    if (id->len != NGX_XMPP_ENTRY_ID_LEN) {
        return NGX_DECLINED;
    }

    p = id->data;

    for (i = 0; i < id->len; i++) {
        c = p[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) {
            return NGX_DECLINED;
        }

        c = (c <= '9') ? c - '0' : c - 'a' + 10;
        block[i / 2] = (i % 2) ? (block[i / 2] | c) : (u_char) (c << 4);
    }

    if (EVP_CipherUpdate(key->from, out, &n, block, sizeof(block)) != 1
        || n != sizeof(out))
    {
        return NGX_DECLINED;
    }

    entry->number = ngx_xmpp_entry_id_get(out, 8);
    entry->index = ngx_xmpp_entry_id_get(out + 8, 4);

    if (entry->number > NGX_XMPP_ENTRY_NUMBER_MAX
        || entry->index > NGX_XMPP_ENTRY_INDEX_MAX
        || ngx_xmpp_entry_id_get(out + 12, 4) != archive)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_xmpp_entry_id_put(u_char *p, uint64_t n, size_t len)
{
    while (len--) {
        p[len] = (u_char) n;
        n >>= 8;
    }
}


static uint64_t
ngx_xmpp_entry_id_get(u_char *p, size_t len)
{
    size_t    i;
    uint64_t  n;

    for (n = 0, i = 0; i < len; i++) {
        n = n << 8 | p[i];
    }

    return n;
}
