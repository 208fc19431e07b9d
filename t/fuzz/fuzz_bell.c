/*
 * Fuzzing of the messages on an account's channel (docs/redis-schema.md): what
 * is taken for a bell has its targets and its body within the message, one
 * behind the other.
 */


#include "fuzz.h"
#include <ngx_xmpp_store_private.h>


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                 *last;
    ngx_str_t               message;
    ngx_pool_t             *pool;
    ngx_xmpp_store_bell_t   bell;

    pool = ngx_create_pool(4096, NULL);
    fuzz_check(pool != NULL);

    message = fuzz_copy(pool, data, size);
    last = message.data + message.len;

    if (ngx_xmpp_store_bell_parse(&message, &bell) == NGX_OK) {
        fuzz_check(message.data[0] == '1'
                   && bell.targets.data > message.data
                   && bell.targets.data + bell.targets.len + 1
                      <= bell.body.data
                   && bell.stanzas > 0 && bell.stanzas <= size
                   && bell.body.data + bell.body.len == last
                   && bell.body.data[-1] == '\n');
    }

    ngx_destroy_pool(pool);

    return 0;
}
