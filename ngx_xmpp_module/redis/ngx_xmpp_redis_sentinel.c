/*
 * Where the master is: Redis Sentinel, as its guidelines for clients say
 * (redis.io, "Guidelines for Redis clients with support for Redis Sentinel").
 *
 * With "sentinel:" the addresses of the configuration are those of sentinels,
 * and the client has a third connection, to one of them.  Each connect to
 * Redis begins with a question there:
 *
 *   idle --> asking --an answer--> connecting --> setup: ROLE --> ready
 *     ^        |                                   |                |
 *     |        '-- for as long as none answers     | a replica      |
 *     '--------------- back-off -------------------'-- lost, moved -'
 *
 * The third connection says all it has to in its setup and then listens:
 *
 *   AUTH [user] password               of the sentinels, if there is one
 *   SENTINEL GET-MASTER-ADDR-BY-NAME   the answer goes to who waits for it
 *   SUBSCRIBE +switch-master           and from now on it is told
 *
 * A subscriber cannot ask again, so another question is a new connection.
 * When the master is another one, by an answer or by a message, connections
 * to the old one are given up even if they stand: it may be stopped, cut off
 * or demoted, and what is written there is lost.  Commands without a reply
 * are repeated at the new one, with their identity.
 *
 * A sentinel that does not answer in its share of the connect timeout, or does
 * not know the master, is followed by the next; when all were asked there is
 * a back-off.  The one that answered stays the first.  What a sentinel says is
 * an address: names (resolve-hostnames, announce-hostnames) cannot be looked
 * up here, for that would take a resolver.
 */


#include "ngx_xmpp_redis_private.h"


#define NGX_XMPP_REDIS_SENTINEL_TIME  100    /* ms for each, at least */


static ngx_int_t ngx_xmpp_redis_sentinel_addr(ngx_str_t *ip, ngx_str_t *port,
    ngx_sockaddr_t *sa, socklen_t *len);
static ngx_int_t ngx_xmpp_redis_sentinel_master(ngx_xmpp_redis_t *r,
    ngx_str_t *ip, ngx_str_t *port);


static ngx_str_t  ngx_xmpp_redis_sentinel = ngx_string("SENTINEL");
static ngx_str_t  ngx_xmpp_redis_get = ngx_string("GET-MASTER-ADDR-BY-NAME");
static ngx_str_t  ngx_xmpp_redis_subscribe_to = ngx_string("SUBSCRIBE");
static ngx_str_t  ngx_xmpp_redis_switch = ngx_string("+switch-master");


/*
 * A connection in the state "asking" wants to know: it hears when the sentinel
 * connection becomes ready, which this begins unless it is on its way.
 */
void
ngx_xmpp_redis_sentinel_ask(ngx_xmpp_redis_t *r)
{
    ngx_xmpp_redis_conn_t  *conn;

    conn = &r->conn[2];

    if (conn->state == ngx_xmpp_redis_st_ready) {

        /* what it has said is old */

        ngx_xmpp_redis_disconnect(conn);
        conn->state = ngx_xmpp_redis_st_idle;
        ngx_xmpp_redis_reqs_lost(conn, 1);
    }

    if (conn->state == ngx_xmpp_redis_st_idle
        && !conn->timer.timer_set && !conn->timer.posted)
    {
        ngx_xmpp_redis_conn_start(conn);
    }
}


/* ms in which a sentinel has to answer: all of them share one timeout */
ngx_msec_t
ngx_xmpp_redis_sentinel_time(ngx_xmpp_redis_t *r)
{
    return ngx_max(r->conf.connect_timeout / r->conf.naddrs,
                   NGX_XMPP_REDIS_SENTINEL_TIME);
}


/* queues what is said to a sentinel; NGX_ERROR: no memory */
ngx_int_t
ngx_xmpp_redis_sentinel_setup(ngx_xmpp_redis_conn_t *conn)
{
    ngx_str_t               argv[3];
    ngx_xmpp_redis_conf_t  *conf;

    conf = &conn->client->conf;

    if (ngx_xmpp_redis_setup_auth(conn, &conf->sentinel_user,
                                  &conf->sentinel_password)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    argv[0] = ngx_xmpp_redis_sentinel;
    argv[1] = ngx_xmpp_redis_get;
    argv[2] = conf->master;

    if (ngx_xmpp_redis_setup_step(conn, ngx_xmpp_redis_req_setup_master, 3,
                                  argv)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    argv[0] = ngx_xmpp_redis_subscribe_to;
    argv[1] = ngx_xmpp_redis_switch;

    return ngx_xmpp_redis_setup_step(conn, ngx_xmpp_redis_req_setup_switch, 2,
                                     argv);
}


/*
 * The reply to the question, which is the caller's.  NGX_ERROR: it is of no
 * use, the connection is gone.
 */
ngx_int_t
ngx_xmpp_redis_sentinel_reply(ngx_xmpp_redis_conn_t *conn, redisReply *reply)
{
    ngx_str_t     ip, port;
    redisReply  **element;

    if (reply->type == REDIS_REPLY_NIL) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_master, 0,
                                 &conn->client->conf.master);
        return NGX_ERROR;
    }

    element = reply->element;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2
        || element[0]->type != REDIS_REPLY_STRING
        || element[1]->type != REDIS_REPLY_STRING)
    {
        ngx_str_set(&ip, "not an answer to SENTINEL");
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_protocol, 0, &ip);
        return NGX_ERROR;
    }

    ip.data = (u_char *) element[0]->str;
    ip.len = element[0]->len;

    port.data = (u_char *) element[1]->str;
    port.len = element[1]->len;

    if (ngx_xmpp_redis_sentinel_master(conn->client, &ip, &port) != NGX_OK) {
        ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_no_address, 0, &ip);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the sentinel has answered, and is subscribed to: who waits may connect */
void
ngx_xmpp_redis_sentinel_ready(ngx_xmpp_redis_t *r)
{
    ngx_uint_t  i;

    ngx_add_timer(&r->conn[2].timer, r->conf.ping);

    for (i = 0; i < 2; i++) {
        if (r->conn[i].state == ngx_xmpp_redis_st_asking) {
            ngx_xmpp_redis_conn_connect(&r->conn[i], &r->master.addr);
        }
    }
}


/*
 * "name old-ip old-port new-ip new-port", of any master that this sentinel
 * watches; called from within the parser of its connection.
 */
void
ngx_xmpp_redis_sentinel_heard(ngx_xmpp_redis_t *r, ngx_str_t *message)
{
    u_char      *p, *last;
    ngx_str_t    word[5];
    ngx_uint_t   i;

    p = message->data;
    last = p + message->len;

    for (i = 0; i < 5; i++) {
        word[i].data = p;

        while (p < last && *p != ' ') {
            p++;
        }

        word[i].len = p - word[i].data;

        if (p < last) {
            p++;
        }
    }

    if (word[0].len != r->conf.master.len
        || ngx_strncasecmp(word[0].data, r->conf.master.data, word[0].len)
           != 0)
    {
        return;
    }

    if (ngx_xmpp_redis_sentinel_master(r, &word[3], &word[4]) != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, r->log, 0,
                      "xmpp redis \"%V\": cannot read \"+switch-master\" of a "
                      "sentinel, \"%V\"", &r->conf.url, message);
    }
}


/* the timer of a sentinel connection that is ready: does it live? */
void
ngx_xmpp_redis_sentinel_tick(ngx_xmpp_redis_conn_t *conn)
{
    ngx_add_timer(&conn->timer, conn->client->conf.ping);

    ngx_xmpp_redis_pubsub_ping(conn);
}


/*
 * The master is there; if that is news, connections to the old one are given
 * up.  NGX_DECLINED: that is no address.
 */

static ngx_int_t
ngx_xmpp_redis_sentinel_master(ngx_xmpp_redis_t *r, ngx_str_t *ip,
    ngx_str_t *port)
{
    u_char                    text[NGX_SOCKADDR_STRLEN];
    socklen_t                 len;
    ngx_str_t                 name;
    ngx_uint_t                i, level;
    ngx_sockaddr_t            sa;
    ngx_xmpp_redis_conn_t    *conn;
    ngx_xmpp_redis_master_t  *m;

    m = &r->master;

    if (ngx_xmpp_redis_sentinel_addr(ip, port, &sa, &len) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (m->addr.socklen
        && ngx_cmp_sockaddr(&sa.sockaddr, len, m->addr.sockaddr,
                            m->addr.socklen, 1)
           == NGX_OK)
    {
        return NGX_OK;
    }

    name.data = text;
    name.len = ngx_sock_ntop(&sa.sockaddr, len, text, NGX_SOCKADDR_STRLEN, 1);

    for (i = 0; i < 2; i++) {
        conn = &r->conn[i];

        if (conn->connection) {
            ngx_xmpp_redis_conn_lost(conn, ngx_xmpp_redis_moved, 0, &name);
        }
    }

    level = m->addr.socklen ? NGX_LOG_NOTICE : NGX_LOG_INFO;

    ngx_log_error(level, r->log, 0,
                  "xmpp redis \"%V\": the master \"%V\" is at %V",
                  &r->conf.url, &r->conf.master, &name);

    m->sockaddr = sa;
    m->addr.sockaddr = &m->sockaddr.sockaddr;
    m->addr.socklen = len;

    ngx_memcpy(m->name, text, name.len);
    m->addr.name.data = m->name;
    m->addr.name.len = name.len;

    return NGX_OK;
}


/* NGX_DECLINED: ip is no address, or port no port */

static ngx_int_t
ngx_xmpp_redis_sentinel_addr(ngx_str_t *ip, ngx_str_t *port,
    ngx_sockaddr_t *sa, socklen_t *len)
{
    ngx_int_t  n;
    in_addr_t  addr;

    n = ngx_atoi(port->data, port->len);

    if (n < 1 || n > 65535) {
        return NGX_DECLINED;
    }

    ngx_memzero(sa, sizeof(ngx_sockaddr_t));

    addr = ngx_inet_addr(ip->data, ip->len);

    if (addr != INADDR_NONE) {
        sa->sockaddr_in.sin_family = AF_INET;
        sa->sockaddr_in.sin_addr.s_addr = addr;
        sa->sockaddr_in.sin_port = htons((in_port_t) n);
        *len = sizeof(struct sockaddr_in);

        return NGX_OK;
    }

#if (NGX_HAVE_INET6)

    if (ngx_inet6_addr(ip->data, ip->len,
                       sa->sockaddr_in6.sin6_addr.s6_addr)
        == NGX_OK)
    {
        sa->sockaddr_in6.sin6_family = AF_INET6;
        sa->sockaddr_in6.sin6_port = htons((in_port_t) n);
        *len = sizeof(struct sockaddr_in6);

        return NGX_OK;
    }

#endif

    return NGX_DECLINED;
}
