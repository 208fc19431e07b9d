/*
 * What the error replies of Redis mean, and the way out: one table for the
 * log lines of the client and of the store.
 *
 * The first word of an error reply is its kind.  Those of the table come
 * before anything of the command ran: memory, state and rights are looked at
 * first, and a Function that is not there runs nothing.
 */


#include "ngx_xmpp_redis_private.h"


typedef struct {
    ngx_str_t   prefix;
    char       *advice;
} ngx_xmpp_redis_error_t;


static ngx_xmpp_redis_error_t  ngx_xmpp_redis_errors[] = {

    { ngx_string("NOPERM "),
      "give its user the rights in docs/redis-schema.md with ACL SETUSER" },

    { ngx_string("NOAUTH "),
      "give user and password in \"xmpp_redis\" and "
      "\"xmpp_redis_password_file\"" },

    { ngx_string("WRONGPASS "),
      "check address, user, password in \"xmpp_redis\" and "
      "\"xmpp_redis_password_file\"" },

    { ngx_string("BUSY "),
      "a script of somebody keeps the server busy, end it with SCRIPT KILL or "
      "FUNCTION KILL" },

    { ngx_string("MISCONF "),
      "the server cannot save its data, see its log and its disk" },

    { ngx_string("OOM "),
      "the server is full, raise its maxmemory" },

    { ngx_string("NOREPLICAS "),
      "the master misses its replicas, see min-replicas-to-write" },

    { ngx_string("READONLY "),
      "\"xmpp_redis\" has to name the master" },

    { ngx_string("MASTERDOWN "),
      "\"xmpp_redis\" has to name the master" },

    { ngx_string("LOADING "),
      "the server is loading its data, wait" },

    { ngx_string("ERR Function not found"),
      "the xmpp Functions could not be loaded, see above; let the user run "
      "FUNCTION LOAD" },

    { ngx_string("ERR max number of clients"),
      "raise maxclients of the server" },

    { ngx_string("ERR DB index"),
      "raise databases of the server, or name another one in \"xmpp_redis\"" },

    { ngx_null_string, NULL }
};


/*
 * The way out of an error reply, for the log; NULL: it is none of the above,
 * and the command may have run in part.
 */
char *
ngx_xmpp_redis_advice(ngx_str_t *text)
{
    ngx_xmpp_redis_error_t  *error;

    for (error = ngx_xmpp_redis_errors; error->advice; error++) {
        if (text->len >= error->prefix.len
            && ngx_strncmp(text->data, error->prefix.data, error->prefix.len)
               == 0)
        {
            return error->advice;
        }
    }

    return NULL;
}
