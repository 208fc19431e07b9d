
/*
 * The floor of SCRAM-SHA-256: what the server has to compute for one login
 * with the keys that it keeps (RFC 5802, 3), and nothing else.
 *
 *     ClientSignature = HMAC(StoredKey, AuthMessage)
 *     ClientKey       = ClientProof XOR ClientSignature
 *     H(ClientKey) is StoredKey
 *     ServerSignature = HMAC(ServerKey, AuthMessage)
 *
 * and the base64 of the messages.  Prints the CPU of one, in microseconds.
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>


#define FL_KEY   32
#define FL_RUNS  200000


static void fl_login(int n);
static void fl_mac(const u_char *key, const char *text, size_t len,
    u_char *out);
static double fl_cpu(void);


static u_char  fl_client[FL_KEY];
static u_char  fl_stored[FL_KEY];
static u_char  fl_server[FL_KEY];


int
main(void)
{
    int     i;
    double  start;

    memset(fl_client, 'c', FL_KEY);
    memset(fl_server, 's', FL_KEY);
    (void) EVP_Digest(fl_client, FL_KEY, fl_stored, NULL, EVP_sha256(), NULL);

    for (i = 0; i < FL_RUNS / 10; i++) {
        fl_login(i);
    }

    start = fl_cpu();

    for (i = 0; i < FL_RUNS; i++) {
        fl_login(i);
    }

    printf("%.3f\n", (fl_cpu() - start) / FL_RUNS);

    return 0;
}


/* the proof comes from the other end: one that is right, not paid for here */

static void
fl_login(int n)
{
    int          i, len;
    char         message[512], proof[64];
    u_char       raw[64], signature[FL_KEY], found[FL_KEY], out[64];
    static char  good[64];

    len = snprintf(message, sizeof(message), "n=load%d,r=%032d,"
                   "r=%032d%032d,s=QSXCR+Q6sek8bf92QSXCRw==,i=4096,"
                   "c=biws,r=%032d%032d", 0, 0, 0, 0, 0, 0);

    fl_mac(fl_stored, message, len, signature);

    if (good[0] == '\0') {
        for (i = 0; i < FL_KEY; i++) {
            raw[i] = signature[i] ^ fl_client[i];
        }

        (void) EVP_EncodeBlock((u_char *) good, raw, FL_KEY);
    }

    memcpy(proof, good, sizeof(proof));
    (void) EVP_DecodeBlock(raw, (u_char *) proof, (int) strlen(proof));

    for (i = 0; i < FL_KEY; i++) {
        raw[i] ^= signature[i];
    }

    (void) EVP_Digest(raw, FL_KEY, found, NULL, EVP_sha256(), NULL);

    if (CRYPTO_memcmp(found, fl_stored, FL_KEY) != 0) {
        fprintf(stderr, "floor_scram: login %d has failed\n", n);
        exit(1);
    }

    fl_mac(fl_server, message, len, signature);
    (void) EVP_EncodeBlock(out, signature, FL_KEY);
}


static void
fl_mac(const u_char *key, const char *text, size_t len, u_char *out)
{
    unsigned  n;

    (void) HMAC(EVP_sha256(), key, FL_KEY, (const u_char *) text, len, out,
                &n);
}


static double
fl_cpu(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}
