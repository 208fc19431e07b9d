
/*
 * xmppctl, the administrator's tool: accounts in Redis.  A plain program that
 * shares util/ with the module and blocks where it likes to.
 *
 *   ngx_xmpp_ctl.c           arguments, commands, help
 *   ngx_xmpp_ctl_conf.c      what nginx.conf tells: Redis, prefix, domains
 *   ngx_xmpp_ctl_conf_redis.c  of it, the directives of Redis
 *   ngx_xmpp_ctl_redis.c     connection, commands, keys
 *   ngx_xmpp_ctl_sentinel.c  where the master is, as sentinels say
 *   ngx_xmpp_ctl_tls.c       the same by TLS
 *   ngx_xmpp_ctl_account.c   adduser, passwd, disable, enable
 *   ngx_xmpp_ctl_remove.c    deluser
 *   ngx_xmpp_ctl_list.c      users; which accounts a command is about
 *   ngx_xmpp_ctl_session.c   sessions, kick, announce, stats
 *   ngx_xmpp_ctl_failures.c  failures, unblock
 *   ngx_xmpp_ctl_ping.c      ping
 *   ngx_xmpp_ctl_password.c  prompt or stdin
 *   ngx_xmpp_ctl_nginx.c     nginx's core in small
 *
 * Everything lives in one pool and for one command.  A function that fails
 * has said why on stderr.
 */


#ifndef _NGX_XMPP_CTL_H_INCLUDED_
#define _NGX_XMPP_CTL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <hiredis/hiredis.h>
#include "ngx_xmpp_jid.h"


/* the exit status */
#define NGX_XMPP_CTL_OK        0
#define NGX_XMPP_CTL_REFUSED   1     /* account, domain, password, health */
#define NGX_XMPP_CTL_USAGE     2
#define NGX_XMPP_CTL_REDIS     3     /* not reached, or answered an error */
#define NGX_XMPP_CTL_CONF      4     /* nginx.conf cannot be read */

/* octets of a password, before SASLprep */
#define NGX_XMPP_CTL_PASSWORD  1024


typedef struct ngx_xmpp_ctl_host_s  ngx_xmpp_ctl_host_t;
typedef struct ngx_xmpp_ctl_tls_s   ngx_xmpp_ctl_tls_t;

/* a domain that nginx.conf serves, in the order of the file */
struct ngx_xmpp_ctl_host_s {
    ngx_str_t              name;           /* prepared */
    ngx_xmpp_ctl_host_t   *next;
};


typedef struct {
    ngx_pool_t            *pool;

    /* of the command line; NULL or 0: not given */
    const char            *conf;
    const char            *url;
    const char            *prefix_option;
    const char            *user_option;
    const char            *password_option;
    const char            *cacert_option;
    ngx_uint_t             db_given;
    ngx_uint_t             db_option;
    ngx_uint_t             iterations;
    ngx_uint_t             digest;         /* the secret of DIGEST-MD5 */

    /* of nginx.conf, or of the options above */
    ngx_uint_t             iterations_conf;
    ngx_str_t              redis_url;
    ngx_str_t              redis_user;
    const char            *password_file;
    ngx_str_t              sentinel_user;
    const char            *sentinel_password_file;
    ngx_uint_t             tls;            /* of the URL */
    ngx_uint_t             insecure;       /* xmpp_redis_ssl_verify off */
    const char            *ssl_name;       /* NULL: the host of the URL */
    const char            *ssl_trusted;
    const char            *ssl_certificate;
    const char            *ssl_key;
    ngx_str_t              prefix;
    ngx_uint_t             db;
    ngx_uint_t             db_set;         /* the URL's does not count */
    ngx_uint_t             hosts_known;    /* no other domain is served */
    ngx_xmpp_ctl_host_t   *hosts;

    redisContext          *redis;
    ngx_xmpp_ctl_tls_t    *secure;         /* NULL: no TLS */
} ngx_xmpp_ctl_t;


/* an address of Redis, as it is written */
typedef struct {
    ngx_str_t              path;           /* a unix socket, or: */
    ngx_str_t              host;
    int                    port;
    ngx_str_t              sentinels;      /* "host:port,host:port", or: none */
    ngx_str_t              master;         /* the name that they know */

    ngx_str_t              user;
    ngx_str_t              password;
} ngx_xmpp_ctl_url_t;


/* strings in growing arrays of the pool */
typedef struct {
    ngx_str_t             *elts;
    size_t                 n;
    size_t                 nalloc;
} ngx_xmpp_ctl_list_t;


/* says "xmppctl: ..." on stderr, and returns status */
int ngx_xmpp_ctl_fail(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* the same, for memory that ran out */
int ngx_xmpp_ctl_no_memory(void);


/*
 * Reads the file: redis_url, db and prefix, where it has them, and hosts.
 * An exit status.
 */
int ngx_xmpp_ctl_conf_read(ngx_xmpp_ctl_t *ctl, const char *name);


/*
 * Takes a directive of stream{}, if it is one of Redis; dir is the folder of
 * nginx.conf, with a slash.  NULL, or what is wrong.
 */
const char *ngx_xmpp_ctl_conf_redis(ngx_xmpp_ctl_t *ctl, ngx_uint_t nwords,
    ngx_str_t *words, const char *dir);

/* the one line of a file, in ctl->pool; an exit status */
int ngx_xmpp_ctl_password_file(ngx_xmpp_ctl_t *ctl, const char *name,
    ngx_str_t *password);


/* connects to redis_url and selects the database; an exit status */
int ngx_xmpp_ctl_connect(ngx_xmpp_ctl_t *ctl);

/*
 * Asks url->sentinels for url->master, and sets url->host and port; an exit
 * status.
 */
int ngx_xmpp_ctl_sentinel(ngx_xmpp_ctl_t *ctl, ngx_xmpp_ctl_url_t *url);

/* host[:port] or [IPv6 address][:port]; NULL, or what is wrong */
const char *ngx_xmpp_ctl_url_host(ngx_xmpp_ctl_t *ctl, ngx_str_t *rest,
    int port, ngx_xmpp_ctl_url_t *url);

/* AUTH, if there is a password; an exit status */
int ngx_xmpp_ctl_auth(ngx_xmpp_ctl_t *ctl, ngx_str_t *user,
    ngx_str_t *password);

/*
 * Sends a command and waits.  The reply is the caller's, to be freed with
 * freeReplyObject(); an error reply is a reply.  NULL: the connection broke.
 */
redisReply *ngx_xmpp_ctl_command(ngx_xmpp_ctl_t *ctl, ngx_uint_t argc,
    ngx_str_t *argv);

/*
 * TLS on ctl->redis, which is connected: the handshake with the server, whose
 * host is as given; an exit status.  Then commands go that way.
 */
int ngx_xmpp_ctl_tls_start(ngx_xmpp_ctl_t *ctl, const char *host);
redisReply *ngx_xmpp_ctl_tls_command(ngx_xmpp_ctl_t *ctl, int argc,
    const char **argv, size_t *lens);
void ngx_xmpp_ctl_tls_end(ngx_xmpp_ctl_t *ctl);

/* 1 when no worker has loaded the Functions: then there are no sessions */
ngx_uint_t ngx_xmpp_ctl_no_function(redisReply *reply);

/* says what an unexpected reply is, frees it, returns the exit status */
int ngx_xmpp_ctl_bad_reply(redisReply *reply);

/*
 * Put "PREFIX:{JID}:SUFFIX", "PREFIX:accounts:DOMAIN", "PREFIX:failures" and
 * "PREFIX/DB:{JID}" together; NGX_OK or NGX_ERROR (no memory).
 */
ngx_int_t ngx_xmpp_ctl_key(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    const char *suffix, ngx_str_t *key);
ngx_int_t ngx_xmpp_ctl_list_key(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain,
    ngx_str_t *key);
ngx_int_t ngx_xmpp_ctl_failures_key(ngx_xmpp_ctl_t *ctl, ngx_str_t *key);
ngx_int_t ngx_xmpp_ctl_channel(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_str_t *channel);


/*
 * Asks for a password, twice, or reads a line; *password is SASLprepped, in
 * ctl->pool, and the caller wipes it.  An exit status.
 */
int ngx_xmpp_ctl_password(ngx_xmpp_ctl_t *ctl, ngx_str_t *bare,
    ngx_str_t *password);


/*
 * Reads arg as an account's address, prepared, of a domain that is served;
 * an exit status.
 */
int ngx_xmpp_ctl_jid(ngx_xmpp_ctl_t *ctl, char *arg, ngx_xmpp_jid_t *jid);

/* the same for one that may have a resource */
int ngx_xmpp_ctl_full_jid(ngx_xmpp_ctl_t *ctl, char *arg, ngx_xmpp_jid_t *jid);

/* prepares *domain and checks that it is served; an exit status */
int ngx_xmpp_ctl_domain(ngx_xmpp_ctl_t *ctl, ngx_str_t *domain);

/*
 * Connects and reads the accounts of the domain arg, or, when that is NULL, of
 * all in nginx.conf: sorted, each once.  An exit status.
 */
int ngx_xmpp_ctl_accounts(ngx_xmpp_ctl_t *ctl, char *arg,
    ngx_xmpp_ctl_list_t *list);


/* SADD or SREM of the JID in its domain's list; an exit status */
int ngx_xmpp_ctl_member(ngx_xmpp_ctl_t *ctl, const char *command,
    ngx_xmpp_jid_t *jid);

/* write to p, which has room, text, or *s as XML; the end */
u_char *ngx_xmpp_ctl_text(u_char *p, const char *text);
u_char *ngx_xmpp_ctl_escape(u_char *p, ngx_str_t *s);


/* the commands; argv[0] is the first operand; an exit status */
int ngx_xmpp_ctl_adduser(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_passwd(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_deluser(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_disable(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_enable(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_users(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_sessions(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_kick(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_announce(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_stats(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_ping(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_failures(ngx_xmpp_ctl_t *ctl, int argc, char **argv);
int ngx_xmpp_ctl_unblock(ngx_xmpp_ctl_t *ctl, int argc, char **argv);


#endif /* _NGX_XMPP_CTL_H_INCLUDED_ */
