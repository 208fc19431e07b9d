
/*
 * The client's side of SASL SCRAM (RFC 5802, 7677) and PLAIN (RFC 4616),
 * without channel binding, in the base64 that goes into XML.
 *
 * A salted password costs thousands of hashes, so each client keeps its keys
 * as real ones do (RFC 5802, 5.1): only its first login pays.  The last ones
 * are also tried for others: accounts made for a load may share password and
 * salt, and then only the first of all pays.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "traffic.h"


#define TR_SCRAM_KEPT   64
#define TR_SCRAM_TEXT   512


struct tr_scram_key_s {
    const EVP_MD  *md;
    const char    *password;
    u_char         salt[64];
    u_char         client[EVP_MAX_MD_SIZE];
    u_char         stored[EVP_MAX_MD_SIZE];
    u_char         server[EVP_MAX_MD_SIZE];
    int            salt_len;
    int            iterations;
};


static tr_scram_key_t *tr_scram_key(tr_scram_t *sc, tr_client_t *cl,
    u_char *salt, int salt_len, int iterations);
static tr_scram_key_t *tr_scram_derive(tr_scram_t *sc, tr_client_t *cl,
    u_char *salt, int salt_len, int iterations);
static int tr_scram_key_is(tr_scram_key_t *key, tr_scram_t *sc,
    tr_client_t *cl, u_char *salt, int salt_len, int iterations);
static void tr_scram_proof(tr_scram_t *sc, tr_scram_key_t *key,
    const char *message, char *proof);
static int tr_scram_attr(const char *text, char name, char *value,
    size_t size);
static void tr_scram_mac(const EVP_MD *md, const u_char *key,
    const char *text, size_t len, u_char *out);
static int tr_scram_encode(const char *text, size_t len, char *out,
    size_t size);
static int tr_scram_decode(const char *text, size_t len, u_char *out,
    size_t size);


static tr_scram_key_t  *tr_scram_keys[TR_SCRAM_KEPT];
static unsigned         tr_scram_next;


/* tr_scram_first() makes the client-first-message */

int
tr_scram_first(tr_scram_t *sc, const char *mechanism, const char *user,
    char *out, size_t size)
{
    int     n;
    char    text[TR_SCRAM_TEXT];
    u_char  raw[16];
    size_t  i;

    if (strcmp(mechanism, "SCRAM-SHA-512") == 0) {
        sc->md = EVP_sha512();

    } else if (strcmp(mechanism, "SCRAM-SHA-256") == 0) {
        sc->md = EVP_sha256();

    } else if (strcmp(mechanism, "SCRAM-SHA-1") == 0) {
        sc->md = EVP_sha1();

    } else {
        return TR_ERROR;
    }

    if (RAND_bytes(raw, sizeof(raw)) != 1) {
        return TR_ERROR;
    }

    for (i = 0; i < sizeof(raw); i++) {
        snprintf(sc->nonce + 2 * i, 3, "%02x", raw[i]);
    }

    snprintf(sc->bare, sizeof(sc->bare), "n=%s,r=%s", user, sc->nonce);
    n = snprintf(text, sizeof(text), "n,,%s", sc->bare);

    return tr_scram_encode(text, n, out, size);
}


/* tr_scram_final() makes the client-final-message from the challenge */

int
tr_scram_final(tr_scram_t *sc, tr_client_t *cl, tr_str_t *challenge,
    char *out, size_t size)
{
    int              n, salt_len;
    char             first[TR_SCRAM_TEXT], nonce[256], salt[128], count[16];
    char             message[3 * TR_SCRAM_TEXT], proof[128];
    char             text[TR_SCRAM_TEXT];
    u_char           raw[64];
    tr_scram_key_t  *key;

    n = tr_scram_decode(challenge->data, challenge->len, (u_char *) first,
                        sizeof(first) - 1);
    if (n < 0) {
        return TR_ERROR;
    }

    first[n] = '\0';

    if (tr_scram_attr(first, 'r', nonce, sizeof(nonce)) != TR_OK
        || tr_scram_attr(first, 's', salt, sizeof(salt)) != TR_OK
        || tr_scram_attr(first, 'i', count, sizeof(count)) != TR_OK
        || strncmp(nonce, sc->nonce, strlen(sc->nonce)) != 0)
    {
        return TR_ERROR;
    }

    salt_len = tr_scram_decode(salt, strlen(salt), raw, sizeof(raw));
    if (salt_len < 0) {
        return TR_ERROR;
    }

    key = tr_scram_key(sc, cl, raw, salt_len, atoi(count));
    if (key == NULL) {
        return TR_ERROR;
    }

    snprintf(message, sizeof(message), "%s,%s,c=biws,r=%s", sc->bare, first,
             nonce);

    tr_scram_proof(sc, key, message, proof);

    n = snprintf(text, sizeof(text), "c=biws,r=%s,p=%s", nonce, proof);

    return tr_scram_encode(text, n, out, size);
}


/* tr_scram_verify() compares the server's signature: RFC 5802, 5 */

int
tr_scram_verify(tr_scram_t *sc, tr_str_t *success)
{
    int   n;
    char  text[TR_SCRAM_TEXT], value[128];

    n = tr_scram_decode(success->data, success->len, (u_char *) text,
                        sizeof(text) - 1);
    if (n < 0) {
        return TR_ERROR;
    }

    text[n] = '\0';

    if (tr_scram_attr(text, 'v', value, sizeof(value)) != TR_OK) {
        return TR_ERROR;
    }

    return strcmp(value, sc->signature) == 0 ? TR_OK : TR_ERROR;
}


int
tr_scram_plain(const char *user, const char *password, char *out, size_t size)
{
    int   n;
    char  text[TR_SCRAM_TEXT];

    n = snprintf(text, sizeof(text), "%c%s%c%s", '\0', user, '\0', password);

    return tr_scram_encode(text, n, out, size);
}


static tr_scram_key_t *
tr_scram_key(tr_scram_t *sc, tr_client_t *cl, u_char *salt, int salt_len,
    int iterations)
{
    unsigned         i;
    tr_scram_key_t  *key;

    if (tr_scram_key_is(cl->key, sc, cl, salt, salt_len, iterations)) {
        return cl->key;
    }

    for (i = 0; i < TR_SCRAM_KEPT; i++) {
        key = tr_scram_keys[i];

        if (tr_scram_key_is(key, sc, cl, salt, salt_len, iterations)) {
            cl->key = key;
            return key;
        }
    }

    key = tr_scram_derive(sc, cl, salt, salt_len, iterations);

    cl->key = key;
    tr_scram_keys[tr_scram_next++ % TR_SCRAM_KEPT] = key;

    return key;
}


static int
tr_scram_key_is(tr_scram_key_t *key, tr_scram_t *sc, tr_client_t *cl,
    u_char *salt, int salt_len, int iterations)
{
    return key != NULL && key->md == sc->md && key->iterations == iterations
           && key->salt_len == salt_len
           && memcmp(key->salt, salt, salt_len) == 0
           && strcmp(key->password, cl->password) == 0;
}


/* ClientKey, StoredKey, ServerKey: RFC 5802, 3.  They are never freed. */

static tr_scram_key_t *
tr_scram_derive(tr_scram_t *sc, tr_client_t *cl, u_char *salt, int salt_len,
    int iterations)
{
    int              len;
    u_char           salted[EVP_MAX_MD_SIZE];
    tr_scram_key_t  *key;

    len = EVP_MD_get_size(sc->md);

    if (PKCS5_PBKDF2_HMAC(cl->password, -1, salt, salt_len, iterations,
                          sc->md, len, salted)
        != 1)
    {
        return NULL;
    }

    key = tr_alloc(sizeof(tr_scram_key_t));

    key->md = sc->md;
    key->password = cl->password;
    memcpy(key->salt, salt, salt_len);
    key->salt_len = salt_len;
    key->iterations = iterations;

    tr_scram_mac(sc->md, salted, "Client Key", 10, key->client);
    tr_scram_mac(sc->md, salted, "Server Key", 10, key->server);
    (void) EVP_Digest(key->client, len, key->stored, NULL, sc->md, NULL);

    return key;
}


/* ClientProof, and ServerSignature for later: RFC 5802, 3 */

static void
tr_scram_proof(tr_scram_t *sc, tr_scram_key_t *key, const char *message,
    char *proof)
{
    int     i, len;
    u_char  signature[EVP_MAX_MD_SIZE];

    len = EVP_MD_get_size(sc->md);

    tr_scram_mac(sc->md, key->stored, message, strlen(message), signature);

    for (i = 0; i < len; i++) {
        signature[i] ^= key->client[i];
    }

    EVP_EncodeBlock((u_char *) proof, signature, len);

    tr_scram_mac(sc->md, key->server, message, strlen(message), signature);

    EVP_EncodeBlock((u_char *) sc->signature, signature, len);
}


static int
tr_scram_attr(const char *text, char name, char *value, size_t size)
{
    size_t       len;
    const char  *p;

    for (p = text; p != NULL; p = strchr(p, ',')) {

        if (*p == ',') {
            p++;
        }

        if (p[0] == name && p[1] == '=') {
            p += 2;
            len = strcspn(p, ",");

            if (len >= size) {
                return TR_ERROR;
            }

            memcpy(value, p, len);
            value[len] = '\0';

            return TR_OK;
        }
    }

    return TR_ERROR;
}


static void
tr_scram_mac(const EVP_MD *md, const u_char *key, const char *text,
    size_t len, u_char *out)
{
    unsigned  n;

    (void) HMAC(md, key, EVP_MD_get_size(md), (const u_char *) text, len, out,
                &n);
}


static int
tr_scram_encode(const char *text, size_t len, char *out, size_t size)
{
    if (size < 4 * ((len + 2) / 3) + 1) {
        return TR_ERROR;
    }

    EVP_EncodeBlock((u_char *) out, (const u_char *) text, len);

    return TR_OK;
}


static int
tr_scram_decode(const char *text, size_t len, u_char *out, size_t size)
{
    int  n;

    if (len == 0 || len % 4 != 0 || len / 4 * 3 > size) {
        return TR_ERROR;
    }

    n = EVP_DecodeBlock(out, (const u_char *) text, len);

    if (n < 0) {
        return TR_ERROR;
    }

    if (text[len - 1] == '=') {
        n--;
    }

    if (text[len - 2] == '=') {
        n--;
    }

    return n;
}
