
/*
 * Ids of archived messages: there and back, and what is none.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include "ngx_xmpp_entry_id.h"
#include "tap.h"


#define TEST_IDS  256


static void test_back(void);
static void test_foreign(void);
static void test_refused(void);
static ngx_str_t *test_write(uint32_t archive, uint64_t number,
    ngx_uint_t index);
static ngx_uint_t test_digits(ngx_str_t *id);


static ngx_xmpp_entry_key_t  test_key;


int
main(void)
{
    ngx_str_t  secret;

    tap_plan(3 + 5 + 7);

    ngx_str_set(&secret, "0123456789abcdef0123456789abcdef");

    if (ngx_xmpp_entry_key(&test_key, &secret) != NGX_OK) {
        return 1;
    }

    test_back();
    test_foreign();
    test_refused();

    ngx_xmpp_entry_key_free(&test_key);

    return tap_end();
}


static void
test_back(void)
{
    uint64_t                  number;
    ngx_str_t                *id, *ids[TEST_IDS];
    ngx_uint_t                i, j, same, back, digits;
    ngx_xmpp_entry_t  entry;

    same = 0;
    back = 0;
    digits = 0;
    number = 1764135683123456;

    for (i = 0; i < TEST_IDS; i++) {
        id = test_write(7, number + i / 16, i % 16);

        back += (ngx_xmpp_entry_id_read(&test_key, 7, id, &entry) == NGX_OK
                 && entry.number == number + i / 16 && entry.index == i % 16);
        digits += test_digits(id);
        ids[i] = id;

        /* XEP-0359, 6: one tells nothing of another */

        for (j = 0; j < i; j++) {
            same += (ngx_memcmp(ids[j]->data, id->data, 8) == 0);
        }
    }

    tap_ok(back == TEST_IDS, "each is read as it was written");
    tap_ok(digits == TEST_IDS, "32 hexadecimal digits");
    tap_ok(same == 0, "of two of them not even the beginnings are alike");
}


/* XEP-0313, 4.1.3: what is not of this archive is not found */

static void
test_foreign(void)
{
    ngx_str_t                *id, secret;
    ngx_xmpp_entry_key_t    other;
    ngx_xmpp_entry_t  entry;

    id = test_write(7, 1764135683123456, 0);

    tap_ok(ngx_xmpp_entry_id_read(&test_key, 8, id, &entry) == NGX_DECLINED,
           "of another archive");

    ngx_memzero(&other, sizeof(ngx_xmpp_entry_key_t));
    ngx_str_set(&secret, "0123456789abcdef0123456789abcdee");

    tap_ok(ngx_xmpp_entry_key(&other, &secret) == NGX_OK, "another key");
    tap_ok(ngx_xmpp_entry_id_read(&other, 7, id, &entry) == NGX_DECLINED,
           "of another deployment");

    ngx_str_set(&secret, "0123456789abcdef0123456789abcdef");

    tap_ok(ngx_xmpp_entry_key(&other, &secret) == NGX_OK
           && ngx_xmpp_entry_id_read(&other, 7, id, &entry) == NGX_OK,
           "of another worker with the same secret");

    ngx_xmpp_entry_key_free(&other);

    id = test_write(7, NGX_XMPP_ENTRY_NUMBER_MAX + 1, 0);

    tap_ok(ngx_xmpp_entry_id_read(&test_key, 7, id, &entry) == NGX_DECLINED,
           "of no time");
}


static void
test_refused(void)
{
    ngx_str_t                *id;
    ngx_uint_t                i;
    ngx_xmpp_entry_t  entry;

    static const char  *bad[] = {
        "", "1764135683123456-0", "0123456789abcdef0123456789abcde",
        "0123456789abcdef0123456789abcdef0", "0123456789abcdef0123456789abcdeg",
        "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcdef"
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        id = tap_copy(tap_pool(), bad[i], ngx_strlen(bad[i]));

        tap_ok(ngx_xmpp_entry_id_read(&test_key, 7, id, &entry)
               == NGX_DECLINED, bad[i]);
    }
}


static ngx_str_t *
test_write(uint32_t archive, uint64_t number, ngx_uint_t index)
{
    u_char                    buf[NGX_XMPP_ENTRY_ID_LEN];
    ngx_xmpp_entry_t  entry;

    entry.number = number;
    entry.index = index;

    (void) ngx_xmpp_entry_id_write(buf, &test_key, archive, &entry);

    return tap_copy(tap_pool(), (char *) buf, sizeof(buf));
}


static ngx_uint_t
test_digits(ngx_str_t *id)
{
    size_t  i;

    for (i = 0; i < id->len; i++) {
        if (!(id->data[i] >= '0' && id->data[i] <= '9')
            && !(id->data[i] >= 'a' && id->data[i] <= 'f'))
        {
            return 0;
        }
    }

    return id->len == NGX_XMPP_ENTRY_ID_LEN;
}
