/*
 * What the directives in http{} share: a location that is answered from this
 * process's memory and the shared statistics, at once.  Nothing waits, and
 * nothing outlives the request: all is in its pool.
 *
 * HEAD is answered as GET without the body (RFC 9110, 9.3.2), any other method
 * with 405.
 */


#include "ngx_xmpp_http.h"


static ngx_int_t ngx_xmpp_http_add(ngx_http_request_t *r,
    ngx_xmpp_http_header_t *header);
#if (NGX_LINUX)
static u_char *ngx_xmpp_http_proc(ngx_pid_t pid, const char *name, u_char *buf,
    size_t size);
static u_char *ngx_xmpp_http_number(u_char *p, uint64_t *n);
#endif


static ngx_xmpp_http_header_t  ngx_xmpp_http_allow = {
    ngx_string("Allow"), ngx_string("GET, HEAD")
};

ngx_xmpp_http_header_t  ngx_xmpp_http_fresh[] = {
    { ngx_string("Cache-Control"), ngx_string("no-store") },
    { ngx_null_string, ngx_null_string }
};


void *
ngx_xmpp_http_create_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_xmpp_http_conf_t));
}


/* for "if", whose block has the handler of the location around it */

char *
ngx_xmpp_http_merge_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_xmpp_http_conf_t *prev = parent;
    ngx_xmpp_http_conf_t *conf = child;

    if (conf->zone == NULL) {
        conf->zone = prev->zone;
    }

    return NGX_CONF_OK;
}


char *
ngx_xmpp_http_set(ngx_conf_t *cf, ngx_xmpp_http_conf_t *conf,
    ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (conf->zone) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "and another directive would both answer the location";
    }

    conf->zone = ngx_xmpp_stats_zone(cf);
    if (conf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_xmpp_stats_asked(conf->zone, cf);

    clcf->handler = handler;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_xmpp_http_request(ngx_http_request_t *r)
{
    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        /* RFC 9110, 15.5.6 */

        return (ngx_xmpp_http_add(r, &ngx_xmpp_http_allow) == NGX_OK)
               ? NGX_HTTP_NOT_ALLOWED : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_discard_request_body(r);
}


ngx_str_t *
ngx_xmpp_http_header(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == name->len
                && ngx_memcmp(h[i].lowcase_key, name->data, name->len) == 0)
            {
                return &h[i].value;
            }
        }
    }

    return NULL;
}


ngx_int_t
ngx_xmpp_http_send(ngx_http_request_t *r, ngx_str_t *type,
    ngx_xmpp_http_header_t *headers, ngx_str_t *body)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   out;

    b = ngx_calloc_buf(r->pool);

    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for ( /* void */ ; headers->name.len; headers++) {
        if (ngx_xmpp_http_add(r, headers) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = body->len;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = 1;
    b->last_buf = (r == r->main) ? 1 : 0;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_xmpp_http_add(ngx_http_request_t *r, ngx_xmpp_http_header_t *header)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key = header->name;
    h->value = header->value;

    return NGX_OK;
}


#if (NGX_LINUX)

void
ngx_xmpp_http_process(ngx_pid_t pid, size_t *memory, uint64_t *time)
{
    u_char      *p, buf[1024];
    uint64_t     n, user, system;
    ngx_uint_t   i;

    *memory = 0;
    *time = 0;

    /* proc(5): all pages, then the resident ones */

    p = ngx_xmpp_http_proc(pid, "statm", buf, sizeof(buf));

    if (p) {
        p = ngx_xmpp_http_number(p, &n);
        (void) ngx_xmpp_http_number(p, &n);
        *memory = (size_t) n * ngx_pagesize;
    }

    /* the name, in parentheses, may have anything in it */

    p = ngx_xmpp_http_proc(pid, "stat", buf, sizeof(buf));

    if (p == NULL) {
        return;
    }

    p = (u_char *) strrchr((char *) p, ')');

    if (p == NULL || p[1] != ' ') {
        return;
    }

    /* the state is the third field, the times are the next to the 13th */

    for (i = 2, p += 2; i < 13; i++) {
        p = (u_char *) strchr((char *) p, ' ');

        if (p == NULL) {
            return;
        }

        p++;
    }

    p = ngx_xmpp_http_number(p, &user);
    (void) ngx_xmpp_http_number(p, &system);

    *time = (user + system) * 1000 / sysconf(_SC_CLK_TCK);
}


/* the text of /proc/pid/name, with a zero behind it, in buf; NULL: none */

static u_char *
ngx_xmpp_http_proc(ngx_pid_t pid, const char *name, u_char *buf, size_t size)
{
    u_char    file[sizeof("/proc//statm") + NGX_INT64_LEN];
    ssize_t   n;
    ngx_fd_t  fd;

    ngx_sprintf(file, "/proc/%P/%s%Z", pid, name);

    fd = ngx_open_file(file, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return NULL;
    }

    n = ngx_read_fd(fd, buf, size - 1);
    (void) ngx_close_file(fd);

    if (n <= 0) {
        return NULL;
    }

    buf[n] = '\0';

    return buf;
}


static u_char *
ngx_xmpp_http_number(u_char *p, uint64_t *n)
{
    for (*n = 0; *p >= '0' && *p <= '9'; p++) {
        *n = *n * 10 + (*p - '0');
    }

    return (*p == ' ') ? p + 1 : p;
}

#else

void
ngx_xmpp_http_process(ngx_pid_t pid, size_t *memory, uint64_t *time)
{
    *memory = 0;
    *time = 0;
}

#endif
