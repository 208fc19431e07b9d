
/*
 * What nginx.conf tells xmppctl: xmpp_redis, what goes with it, the names of
 * xmpp_host, and the rounds of PBKDF2, all of them children of stream{}.
 *
 * The file is read by nginx's own lexical rules - quotes, backslashes,
 * comments, "${", nested blocks - and includes are followed where they may
 * matter: in the main block and in stream{}.  No directive is checked, that
 * is for "nginx -t"; of what is not ours only the braces count.  Lua blocks
 * have rules of their own for them.
 *
 *   main --- stream { --- xmpp_host NAME { ... }
 *        \            \__ xmpp_redis...;         ngx_xmpp_ctl_conf_redis.c
 *         \           \__ xmpp_sasl_iterations N;
 *         \__ other { ... }                       skipped, depth is counted
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <glob.h>
#include "ngx_xmpp_ctl.h"
#include "ngx_xmpp_scram.h"


#define NGX_XMPP_CTL_CONF_MAX      (16 * 1024 * 1024)
#define NGX_XMPP_CTL_CONF_INCLUDE  16        /* files within files */
#define NGX_XMPP_CTL_CONF_WORDS    5         /* kept of a directive */

#define ngx_xmpp_ctl_conf_space(c)                                            \
    ((c) == ' ' || (c) == '\t' || (c) == '\r' || (c) == '\n')


typedef enum {
    ngx_xmpp_ctl_conf_word = 0,
    ngx_xmpp_ctl_conf_semicolon,
    ngx_xmpp_ctl_conf_open,
    ngx_xmpp_ctl_conf_close,
    ngx_xmpp_ctl_conf_end,
    ngx_xmpp_ctl_conf_error
} ngx_xmpp_ctl_conf_token_e;


/* one file */
typedef struct {
    ngx_xmpp_ctl_t          *ctl;
    const char              *dir;            /* of nginx.conf, with a slash */
    const char              *name;
    u_char                  *pos;
    u_char                  *last;
    ngx_uint_t               line;

    ngx_uint_t               stream;         /* inside of stream{} */
    ngx_uint_t               opened;         /* by this very file */
    ngx_uint_t               depth;          /* of blocks that are skipped */
    ngx_uint_t               level;          /* of includes */

    ngx_uint_t               nwords;
    ngx_str_t                words[NGX_XMPP_CTL_CONF_WORDS];
} ngx_xmpp_ctl_conf_t;


/* a block of Lua */
typedef struct {
    enum {
        sw_code = 0,
        sw_short,
        sw_long,
        sw_comment
    }                        state;
    u_char                   quote;          /* of a short string */
    ngx_uint_t               depth;
} ngx_xmpp_ctl_lua_t;


static int ngx_xmpp_ctl_conf_file(ngx_xmpp_ctl_conf_t *parent,
    const char *name);
static int ngx_xmpp_ctl_conf_load(ngx_xmpp_ctl_conf_t *cf);
static int ngx_xmpp_ctl_conf_parse(ngx_xmpp_ctl_conf_t *cf);
static int ngx_xmpp_ctl_conf_directive(ngx_xmpp_ctl_conf_t *cf);
static int ngx_xmpp_ctl_conf_iterations(ngx_xmpp_ctl_conf_t *cf);
static int ngx_xmpp_ctl_conf_block(ngx_xmpp_ctl_conf_t *cf);
static int ngx_xmpp_ctl_conf_block_end(ngx_xmpp_ctl_conf_t *cf);
static int ngx_xmpp_ctl_conf_include(ngx_xmpp_ctl_conf_t *cf);
static int ngx_xmpp_ctl_conf_host(ngx_xmpp_ctl_conf_t *cf);
static int ngx_xmpp_ctl_conf_lua(ngx_xmpp_ctl_conf_t *cf);
static void ngx_xmpp_ctl_conf_lua_code(ngx_xmpp_ctl_conf_t *cf,
    ngx_xmpp_ctl_lua_t *lua);
static ngx_xmpp_ctl_conf_token_e ngx_xmpp_ctl_conf_next(
    ngx_xmpp_ctl_conf_t *cf, ngx_str_t *word);
static ngx_xmpp_ctl_conf_token_e ngx_xmpp_ctl_conf_quoted(
    ngx_xmpp_ctl_conf_t *cf, ngx_str_t *word);
static ngx_xmpp_ctl_conf_token_e ngx_xmpp_ctl_conf_bare(
    ngx_xmpp_ctl_conf_t *cf, ngx_str_t *word);
static u_char *ngx_xmpp_ctl_conf_unescape(u_char *dst, u_char *src);
static ngx_uint_t ngx_xmpp_ctl_conf_is(ngx_str_t *word, const char *name);
static int ngx_xmpp_ctl_conf_fail(ngx_xmpp_ctl_conf_t *cf, const char *what);


/* reads nginx.conf and what it includes; see ngx_xmpp_ctl.h */

int
ngx_xmpp_ctl_conf_read(ngx_xmpp_ctl_t *ctl, const char *name)
{
    char                 *dir;
    const char           *slash;
    ngx_xmpp_ctl_conf_t   cf;

    ngx_memzero(&cf, sizeof(ngx_xmpp_ctl_conf_t));

    /* includes are relative to the folder of nginx.conf */

    slash = strrchr(name, '/');
    slash = slash ? slash + 1 : name;

    dir = ngx_pnalloc(ctl->pool, slash - name + 1);
    if (dir == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    ngx_memcpy(dir, name, slash - name);
    dir[slash - name] = '\0';

    cf.ctl = ctl;
    cf.dir = dir;

    return ngx_xmpp_ctl_conf_file(&cf, name);
}


static int
ngx_xmpp_ctl_conf_file(ngx_xmpp_ctl_conf_t *parent, const char *name)
{
    int                   status;
    ngx_xmpp_ctl_conf_t   cf;

    ngx_memzero(&cf, sizeof(ngx_xmpp_ctl_conf_t));

    cf.ctl = parent->ctl;
    cf.dir = parent->dir;
    cf.stream = parent->stream;
    cf.level = parent->level + 1;
    cf.name = name;
    cf.line = 1;

    if (cf.level > NGX_XMPP_CTL_CONF_INCLUDE) {
        return ngx_xmpp_ctl_conf_fail(&cf, "too many includes inside of"
                                           " each other");
    }

    status = ngx_xmpp_ctl_conf_load(&cf);

    return (status == NGX_XMPP_CTL_OK) ? ngx_xmpp_ctl_conf_parse(&cf) : status;
}


/* the whole file into memory */

static int
ngx_xmpp_ctl_conf_load(ngx_xmpp_ctl_conf_t *cf)
{
    int           fd;
    size_t        size;
    ssize_t       n;
    struct stat   st;

    fd = open(cf->name, O_RDONLY|O_CLOEXEC);

    if (fd == -1 || fstat(fd, &st) == -1) {
        goto failed;
    }

    if (st.st_size > NGX_XMPP_CTL_CONF_MAX) {
        errno = EFBIG;
        goto failed;
    }

    size = st.st_size;

    cf->pos = ngx_pnalloc(cf->ctl->pool, size + 1);
    if (cf->pos == NULL) {
        (void) close(fd);
        return ngx_xmpp_ctl_no_memory();
    }

    cf->last = cf->pos;

    while ((size_t) (cf->last - cf->pos) < size) {

        n = read(fd, cf->last, size - (cf->last - cf->pos));

        if (n == -1) {
            goto failed;
        }

        if (n == 0) {
            break;
        }

        cf->last += n;
    }

    (void) close(fd);

    return NGX_XMPP_CTL_OK;

failed:

    (void) ngx_xmpp_ctl_fail(NGX_XMPP_CTL_CONF, "cannot read %s: %s",
                             cf->name, strerror(errno));

    if (fd != -1) {
        (void) close(fd);
    }

    return NGX_XMPP_CTL_CONF;
}


static int
ngx_xmpp_ctl_conf_parse(ngx_xmpp_ctl_conf_t *cf)
{
    int                         status;
    ngx_str_t                   word;
    ngx_xmpp_ctl_conf_token_e   token;

    for ( ;; ) {
        status = NGX_XMPP_CTL_OK;

        token = ngx_xmpp_ctl_conf_next(cf, &word);

        switch (token) {

        case ngx_xmpp_ctl_conf_word:

            if (cf->nwords < NGX_XMPP_CTL_CONF_WORDS) {
                cf->words[cf->nwords++] = word;
            }

            continue;

        case ngx_xmpp_ctl_conf_semicolon:
            status = ngx_xmpp_ctl_conf_directive(cf);
            break;

        case ngx_xmpp_ctl_conf_open:
            status = ngx_xmpp_ctl_conf_block(cf);
            break;

        case ngx_xmpp_ctl_conf_close:
            status = ngx_xmpp_ctl_conf_block_end(cf);
            break;

        case ngx_xmpp_ctl_conf_end:

            if (cf->nwords || cf->depth || cf->opened) {
                return ngx_xmpp_ctl_conf_fail(cf, "the file ends too early");
            }

            return NGX_XMPP_CTL_OK;

        case ngx_xmpp_ctl_conf_error:
            return NGX_XMPP_CTL_CONF;
        }

        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }

        cf->nwords = 0;
    }
}


/* a directive that ends with a semicolon */

static int
ngx_xmpp_ctl_conf_directive(ngx_xmpp_ctl_conf_t *cf)
{
    const char  *err;

    if (cf->nwords == 0) {
        return ngx_xmpp_ctl_conf_fail(cf, "unexpected \";\"");
    }

    if (cf->depth || cf->nwords < 2) {
        return NGX_XMPP_CTL_OK;
    }

    if (ngx_xmpp_ctl_conf_is(&cf->words[0], "include")) {
        return ngx_xmpp_ctl_conf_include(cf);
    }

    if (!cf->stream) {
        return NGX_XMPP_CTL_OK;
    }

    if (ngx_xmpp_ctl_conf_is(&cf->words[0], "xmpp_sasl_iterations")) {
        return ngx_xmpp_ctl_conf_iterations(cf);
    }

    err = ngx_xmpp_ctl_conf_redis(cf->ctl, cf->nwords, cf->words, cf->dir);

    return err ? ngx_xmpp_ctl_conf_fail(cf, err) : NGX_XMPP_CTL_OK;
}


/* xmpp_sasl_iterations NUMBER */

static int
ngx_xmpp_ctl_conf_iterations(ngx_xmpp_ctl_conf_t *cf)
{
    size_t       i;
    ngx_str_t   *word;
    ngx_uint_t   n;

    word = &cf->words[1];
    n = 0;

    for (i = 0; i < word->len && n <= NGX_XMPP_SCRAM_ITERATIONS_MAX; i++) {

        if (word->data[i] < '0' || word->data[i] > '9') {
            n = 0;
            break;
        }

        n = n * 10 + (word->data[i] - '0');
    }

    if (n < NGX_XMPP_SCRAM_ITERATIONS_MIN || n > NGX_XMPP_SCRAM_ITERATIONS_MAX)
    {
        return ngx_xmpp_ctl_conf_fail(cf, "invalid \"xmpp_sasl_iterations\"");
    }

    cf->ctl->iterations_conf = n;

    return NGX_XMPP_CTL_OK;
}


/* the beginning of a block */

static int
ngx_xmpp_ctl_conf_block(ngx_xmpp_ctl_conf_t *cf)
{
    ngx_str_t  *name;

    if (cf->nwords == 0) {
        return ngx_xmpp_ctl_conf_fail(cf, "unexpected \"{\"");
    }

    name = &cf->words[0];

    if (name->len > sizeof("_by_lua_block") - 1
        && ngx_memcmp(name->data + name->len - (sizeof("_by_lua_block") - 1),
                      "_by_lua_block", sizeof("_by_lua_block") - 1)
           == 0)
    {
        return ngx_xmpp_ctl_conf_lua(cf);
    }

    if (cf->depth == 0 && !cf->stream && ngx_xmpp_ctl_conf_is(name, "stream"))
    {
        cf->stream = 1;
        cf->opened = 1;

        return NGX_XMPP_CTL_OK;
    }

    if (cf->depth++ == 0 && cf->stream && cf->nwords > 1
        && ngx_xmpp_ctl_conf_is(name, "xmpp_host"))
    {
        return ngx_xmpp_ctl_conf_host(cf);
    }

    return NGX_XMPP_CTL_OK;
}


static int
ngx_xmpp_ctl_conf_block_end(ngx_xmpp_ctl_conf_t *cf)
{
    if (cf->nwords || (cf->depth == 0 && !cf->opened)) {
        return ngx_xmpp_ctl_conf_fail(cf, "unexpected \"}\"");
    }

    if (cf->depth) {
        cf->depth--;

    } else {
        cf->opened = 0;
        cf->stream = 0;
    }

    return NGX_XMPP_CTL_OK;
}


/* a pattern may match nothing, a plain name must be there, as in nginx */

static int
ngx_xmpp_ctl_conf_include(ngx_xmpp_ctl_conf_t *cf)
{
    int      rc, status;
    char    *path;
    glob_t   g;
    size_t   i, len;

    len = (cf->words[1].len && cf->words[1].data[0] == '/')
          ? 0 : ngx_strlen(cf->dir);

    path = ngx_pnalloc(cf->ctl->pool, len + cf->words[1].len + 1);
    if (path == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    ngx_memcpy(path, cf->dir, len);
    ngx_memcpy(path + len, cf->words[1].data, cf->words[1].len);
    path[len + cf->words[1].len] = '\0';

    if (strpbrk(path, "*?[") == NULL) {
        return ngx_xmpp_ctl_conf_file(cf, path);
    }

    ngx_memzero(&g, sizeof(glob_t));

    rc = glob(path, 0, NULL, &g);

    if (rc != 0 && rc != GLOB_NOMATCH) {
        return ngx_xmpp_ctl_conf_fail(cf, "the include cannot be read");
    }

    status = NGX_XMPP_CTL_OK;

    for (i = 0; i < g.gl_pathc && status == NGX_XMPP_CTL_OK; i++) {
        status = ngx_xmpp_ctl_conf_file(cf, g.gl_pathv[i]);
    }

    globfree(&g);

    return status;
}


/* xmpp_host NAME { */

static int
ngx_xmpp_ctl_conf_host(ngx_xmpp_ctl_conf_t *cf)
{
    ngx_int_t             rc;
    ngx_xmpp_ctl_host_t  *host, **last;

    host = ngx_palloc(cf->ctl->pool, sizeof(ngx_xmpp_ctl_host_t));
    if (host == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    rc = ngx_xmpp_jid_prep_domain(cf->ctl->pool, &cf->words[1], &host->name);

    if (rc == NGX_ERROR) {
        return ngx_xmpp_ctl_no_memory();
    }

    if (rc == NGX_DECLINED) {
        return ngx_xmpp_ctl_conf_fail(cf, "the name of xmpp_host is not a"
                                          " domain");
    }

    host->next = NULL;

    for (last = &cf->ctl->hosts; *last; last = &(*last)->next) {
        /* void */
    }

    *last = host;

    return NGX_XMPP_CTL_OK;
}


/*
 * Skips a block of Lua: braces count, but for those in short strings, in
 * "[[ ]]" and in comments.
 */
static int
ngx_xmpp_ctl_conf_lua(ngx_xmpp_ctl_conf_t *cf)
{
    u_char              c;
    ngx_xmpp_ctl_lua_t  lua;

    lua.state = sw_code;
    lua.quote = 0;
    lua.depth = 1;

    for ( /* void */ ; cf->pos < cf->last; cf->pos++) {

        c = *cf->pos;

        if (c == '\n') {
            cf->line++;
        }

        switch (lua.state) {

        case sw_code:
            ngx_xmpp_ctl_conf_lua_code(cf, &lua);

            if (lua.depth == 0) {
                cf->pos++;
                return NGX_XMPP_CTL_OK;
            }

            break;

        case sw_short:

            if (c == '\\' && cf->last - cf->pos > 1 && cf->pos[1] != '\n') {
                cf->pos++;

            } else if (c == lua.quote || c == '\n') {
                lua.state = sw_code;
            }

            break;

        case sw_long:

            if (c == ']' && cf->pos[-1] == ']') {
                lua.state = sw_code;
            }

            break;

        case sw_comment:

            if (c == '\n') {
                lua.state = sw_code;
            }

            break;
        }
    }

    return ngx_xmpp_ctl_conf_fail(cf, "the file ends inside of a block of"
                                      " Lua");
}


/* what begins or ends at cf->pos, outside of strings and comments */

static void
ngx_xmpp_ctl_conf_lua_code(ngx_xmpp_ctl_conf_t *cf, ngx_xmpp_ctl_lua_t *lua)
{
    u_char  *p;
    size_t   rest;

    p = cf->pos;
    rest = cf->last - p;

    switch (*p) {

    case '"':
    case '\'':
        lua->quote = *p;
        lua->state = sw_short;
        break;

    case '[':

        if (rest > 1 && p[1] == '[') {
            lua->state = sw_long;
        }

        break;

    case '-':

        if (rest > 3 && p[1] == '-' && p[2] == '[' && p[3] == '[') {
            lua->state = sw_long;

        } else if (rest > 1 && p[1] == '-') {
            lua->state = sw_comment;
        }

        break;

    case '{':
        lua->depth++;
        break;

    case '}':
        lua->depth--;
        break;
    }
}


/* the next token; a word is a slice of the file, unescaped in place */

static ngx_xmpp_ctl_conf_token_e
ngx_xmpp_ctl_conf_next(ngx_xmpp_ctl_conf_t *cf, ngx_str_t *word)
{
    while (cf->pos < cf->last) {

        switch (*cf->pos) {

        case '\n':
            cf->line++;
            cf->pos++;
            continue;

        case ' ':
        case '\t':
        case '\r':
            cf->pos++;
            continue;

        case '#':

            while (cf->pos < cf->last && *cf->pos != '\n') {
                cf->pos++;
            }

            continue;

        case ';':
            cf->pos++;
            return ngx_xmpp_ctl_conf_semicolon;

        case '{':
            cf->pos++;
            return ngx_xmpp_ctl_conf_open;

        case '}':
            cf->pos++;
            return ngx_xmpp_ctl_conf_close;

        case '"':
        case '\'':
            return ngx_xmpp_ctl_conf_quoted(cf, word);

        default:
            return ngx_xmpp_ctl_conf_bare(cf, word);
        }
    }

    return ngx_xmpp_ctl_conf_end;
}


static ngx_xmpp_ctl_conf_token_e
ngx_xmpp_ctl_conf_quoted(ngx_xmpp_ctl_conf_t *cf, ngx_str_t *word)
{
    u_char  c, quote, *dst;

    quote = *cf->pos++;

    word->data = cf->pos;
    dst = cf->pos;

    for ( /* void */ ; cf->pos < cf->last; cf->pos++) {

        c = *cf->pos;

        if (c == '\n') {
            cf->line++;
        }

        if (c == quote) {
            word->len = dst - word->data;
            cf->pos++;

            if (cf->pos < cf->last && !ngx_xmpp_ctl_conf_space(*cf->pos)
                && *cf->pos != ';' && *cf->pos != '{' && *cf->pos != ')')
            {
                (void) ngx_xmpp_ctl_conf_fail(cf, "a space is missing after"
                                                  " the quote");
                return ngx_xmpp_ctl_conf_error;
            }

            return ngx_xmpp_ctl_conf_word;
        }

        if (c == '\\' && cf->last - cf->pos > 1) {
            dst = ngx_xmpp_ctl_conf_unescape(dst, cf->pos);
            cf->pos++;
            continue;
        }

        *dst++ = c;
    }

    (void) ngx_xmpp_ctl_conf_fail(cf, "the file ends inside of quotes");

    return ngx_xmpp_ctl_conf_error;
}


static ngx_xmpp_ctl_conf_token_e
ngx_xmpp_ctl_conf_bare(ngx_xmpp_ctl_conf_t *cf, ngx_str_t *word)
{
    u_char  c, *dst;

    word->data = cf->pos;
    dst = cf->pos;

    for ( /* void */ ; cf->pos < cf->last; cf->pos++) {

        c = *cf->pos;

        if (ngx_xmpp_ctl_conf_space(c) || c == ';') {
            break;
        }

        /* "${name}" is a variable, any other brace begins a block */

        if (c == '{' && !(dst > word->data && dst[-1] == '$')) {
            break;
        }

        if (c == '\\' && cf->last - cf->pos > 1) {
            dst = ngx_xmpp_ctl_conf_unescape(dst, cf->pos);
            cf->pos++;
            continue;
        }

        *dst++ = c;
    }

    word->len = dst - word->data;

    return ngx_xmpp_ctl_conf_word;
}


/* backslash and what it stands for, as in nginx: it stays before others */

static u_char *
ngx_xmpp_ctl_conf_unescape(u_char *dst, u_char *src)
{
    switch (src[1]) {

    case '"':
    case '\'':
    case '\\':
        *dst++ = src[1];
        break;

    case 't':
        *dst++ = '\t';
        break;

    case 'r':
        *dst++ = '\r';
        break;

    case 'n':
        *dst++ = '\n';
        break;

    default:
        *dst++ = '\\';
        *dst++ = src[1];
    }

    return dst;
}


static ngx_uint_t
ngx_xmpp_ctl_conf_is(ngx_str_t *word, const char *name)
{
    return word->len == ngx_strlen(name)
           && ngx_memcmp(word->data, name, word->len) == 0;
}


static int
ngx_xmpp_ctl_conf_fail(ngx_xmpp_ctl_conf_t *cf, const char *what)
{
    return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_CONF, "%s in %s:%d", what, cf->name,
                             (int) cf->line);
}
