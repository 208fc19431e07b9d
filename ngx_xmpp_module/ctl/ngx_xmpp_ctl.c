
/*
 * xmppctl: arguments, commands and help.
 *
 *     options --> command of the table --> settings --> its handler --> status
 *
 * Where Redis is comes from nginx.conf, so that the tool and the server never
 * mean different ones, or from -r.  Which domains there are comes from
 * nginx.conf alone; with -r and no -c, every domain is taken.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include "ngx_xmpp_ctl.h"
#include "ngx_xmpp_scram.h"


#define NGX_XMPP_CTL_DEFAULT_CONF  "/etc/nginx/nginx.conf"

#define NGX_XMPP_CTL_DB_MAX          1000000

#define NGX_XMPP_CTL_OPT_HELP        1
#define NGX_XMPP_CTL_OPT_ITERATIONS  2
#define NGX_XMPP_CTL_OPT_CACERT      3
#define NGX_XMPP_CTL_OPT_DIGEST      4


typedef int (*ngx_xmpp_ctl_command_pt)(ngx_xmpp_ctl_t *ctl, int argc,
    char **argv);


typedef struct {
    const char               *name;
    const char               *operands;
    int                       min;
    int                       max;
    ngx_uint_t                keys;           /* takes options for them */
    ngx_xmpp_ctl_command_pt   handler;
    const char               *line;           /* for the list of commands */
    const char               *text;           /* for its own help */
} ngx_xmpp_ctl_command_t;


static int ngx_xmpp_ctl_options(ngx_xmpp_ctl_t *ctl, int argc, char **argv,
    ngx_uint_t *help);
static int ngx_xmpp_ctl_number(const char *text, ngx_uint_t min,
    ngx_uint_t max, const char *option, ngx_uint_t *value);
static int ngx_xmpp_ctl_run(ngx_xmpp_ctl_t *ctl, ngx_uint_t help, int argc,
    char **argv);
static int ngx_xmpp_ctl_settings(ngx_xmpp_ctl_t *ctl);
static int ngx_xmpp_ctl_usage(const ngx_xmpp_ctl_command_t *cmd);
static int ngx_xmpp_ctl_help(const ngx_xmpp_ctl_command_t *cmd);


static const ngx_xmpp_ctl_command_t  ngx_xmpp_ctl_commands[] = {

    { "adduser", "JID", 1, 1, 1, ngx_xmpp_ctl_adduser,
      "create an account",
      "Creates the account JID (user@domain).  The password is asked for,\n"
      "twice; when stdin is no terminal, it is one line of stdin.  Keys for\n"
      "SCRAM-SHA-1, -256 and -512 are stored, never the password.\n" },

    { "passwd", "JID", 1, 1, 1, ngx_xmpp_ctl_passwd,
      "set an account's password",
      "Sets a new password, as adduser does.  Open sessions go on.  Without\n"
      "--digest-md5, a secret of DIGEST-MD5 is removed.\n" },

    { "deluser", "JID", 1, 1, 0, ngx_xmpp_ctl_deluser,
      "remove an account and end its sessions",
      "Removes the account JID and ends its sessions on every host.\n" },

    { "disable", "JID", 1, 1, 0, ngx_xmpp_ctl_disable,
      "let nobody log in to an account",
      "Refuses all logins to the account JID and ends its sessions on every\n"
      "host; all that it has stays.\n" },

    { "enable", "JID", 1, 1, 0, ngx_xmpp_ctl_enable,
      "let its user log in again",
      "Allows logins to the account JID again.\n" },

    { "users", "[DOMAIN]", 0, 1, 0, ngx_xmpp_ctl_users,
      "list accounts",
      "Lists the accounts of DOMAIN, or of all domains in nginx.conf, sorted,\n"
      "one in a line, with \"disabled\" behind those that are.\n" },

    { "sessions", "[JID|DOMAIN]", 0, 1, 0, ngx_xmpp_ctl_sessions,
      "list who is online",
      "Lists the sessions of an account, of a DOMAIN, or of all domains in\n"
      "nginx.conf, one in a line: since when it is bound, its priority (\"-\"\n"
      "when it is not available), its worker, and its address.\n" },

    { "kick", "JID", 1, 1, 0, ngx_xmpp_ctl_kick,
      "end sessions",
      "Ends the session user@domain/resource, or all of user@domain, on\n"
      "whatever host they are.  Clients may log in again at once: see passwd,\n"
      "disable and deluser.\n" },

    { "announce", "DOMAIN TEXT", 2, 2, 0, ngx_xmpp_ctl_announce,
      "tell everybody available",
      "Sends TEXT, as a headline from DOMAIN, to all its accounts that are\n"
      "available, with a priority of 0 or more; nobody else gets it later.\n" },

    { "stats", "[DOMAIN]", 0, 1, 0, ngx_xmpp_ctl_stats,
      "count accounts and sessions",
      "Counts the accounts of DOMAIN, or of all domains in nginx.conf, those\n"
      "of them that are online, their sessions, and how many of these are\n"
      "available.\n" },

    { "failures", "JID|ADDRESS", 1, 1, 0, ngx_xmpp_ctl_failures,
      "show how many logins have failed",
      "Shows how many logins have failed on all hosts: for the account JID,\n"
      "or from ADDRESS, of IPv4, or of IPv6 with the /64 around it.\n" },

    { "unblock", "JID|ADDRESS", 1, 1, 0, ngx_xmpp_ctl_unblock,
      "forget them",
      "Clears what failures shows.  Workers know within five seconds.\n" },

    { "ping", "", 0, 0, 0, ngx_xmpp_ctl_ping,
      "ask Redis whether it is well",
      "Tells how fast Redis answers and which version it is, and warns about\n"
      "settings that lose messages.  Fails when the server cannot work with\n"
      "this Redis.\n" },

    { NULL, NULL, 0, 0, 0, NULL, NULL, NULL }
};


static const char  ngx_xmpp_ctl_help_options[] =
    "\n"
    "Options:\n"
    "  -c FILE         the nginx.conf that tells where Redis is and which\n"
    "                  domains are served (" NGX_XMPP_CTL_DEFAULT_CONF ")\n"
    "  -r URL          Redis: unix:/path, redis:host[:port] or\n"
    "                  redis://[[user][:password]@]host[:port][/db], rediss\n"
    "                  for TLS; sentinel:host:port,host:port/name as in\n"
    "                  xmpp_redis;\n"
    "                  no nginx.conf is read unless -c is there, too\n"
    "  -u USER         of Redis, instead of the one of nginx.conf or the URL\n"
    "  -P FILE         with that user's password, as one line\n"
    "  --cacert FILE   who may have signed the certificate of rediss:, as\n"
    "                  xmpp_redis_ssl_trusted_certificate\n"
    "  -n N            the database, as db=N of xmpp_redis (0)\n"
    "  -p PREFIX       of all keys, as xmpp_redis_prefix (xmpp)\n";

static const char  ngx_xmpp_ctl_help_keys[] =
    "  --iterations N  PBKDF2 rounds, 4096 or more (xmpp_sasl_iterations,\n"
    "                  else 10000)\n"
    "  --digest-md5    store the secret of DIGEST-MD5, too, which is as good\n"
    "                  as the password: see xmpp_sasl_mechanisms\n";

static const char  ngx_xmpp_ctl_help_status[] =
    "  --help          this text\n"
    "\n"
    "Exit status: 0 done, 1 refused (the account exists, there is no such\n"
    "account, nobody serves that domain), 2 wrong usage, 3 Redis not reached\n"
    "or in error, 4 nginx.conf cannot be read.\n";


int
main(int argc, char **argv)
{
    int             status;
    ngx_uint_t      help;
    ngx_xmpp_ctl_t  ctl;

    ngx_memzero(&ctl, sizeof(ngx_xmpp_ctl_t));

    ctl.pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, NULL);
    if (ctl.pool == NULL) {
        return ngx_xmpp_ctl_no_memory();
    }

    (void) signal(SIGPIPE, SIG_IGN);

    status = ngx_xmpp_ctl_options(&ctl, argc, argv, &help);

    if (status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_run(&ctl, help, argc - optind, argv + optind);
    }

    ngx_xmpp_ctl_tls_end(&ctl);

    if (ctl.redis) {
        redisFree(ctl.redis);
    }

    ngx_destroy_pool(ctl.pool);

    if (fflush(stdout) != 0 && status == NGX_XMPP_CTL_OK) {
        status = ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED,
                                   "cannot write: %s", strerror(errno));
    }

    return status;
}


/* takes the options out of argv, wherever they stand; an exit status */

static int
ngx_xmpp_ctl_options(ngx_xmpp_ctl_t *ctl, int argc, char **argv,
    ngx_uint_t *help)
{
    int                         c, status;
    static const struct option  options[] = {
        { "cacert", required_argument, NULL, NGX_XMPP_CTL_OPT_CACERT },
        { "digest-md5", no_argument, NULL, NGX_XMPP_CTL_OPT_DIGEST },
        { "help", no_argument, NULL, NGX_XMPP_CTL_OPT_HELP },
        { "iterations", required_argument, NULL, NGX_XMPP_CTL_OPT_ITERATIONS },
        { NULL, 0, NULL, 0 }
    };

    *help = 0;
    status = NGX_XMPP_CTL_OK;

    while (status == NGX_XMPP_CTL_OK
           && (c = getopt_long(argc, argv, "c:r:n:p:u:P:h", options, NULL))
              != -1)
    {
        switch (c) {

        case 'c':
            ctl->conf = optarg;
            break;

        case 'r':
            ctl->url = optarg;
            break;

        case 'n':
            ctl->db_given = 1;
            status = ngx_xmpp_ctl_number(optarg, 0, NGX_XMPP_CTL_DB_MAX, "-n",
                                         &ctl->db_option);
            break;

        case 'p':
            ctl->prefix_option = optarg;
            break;

        case 'u':
            ctl->user_option = optarg;
            break;

        case 'P':
            ctl->password_option = optarg;
            break;

        case 'h':
        case NGX_XMPP_CTL_OPT_HELP:
            *help = 1;
            break;

        case NGX_XMPP_CTL_OPT_CACERT:
            ctl->cacert_option = optarg;
            break;

        case NGX_XMPP_CTL_OPT_DIGEST:
            ctl->digest = 1;
            break;

        case NGX_XMPP_CTL_OPT_ITERATIONS:
            status = ngx_xmpp_ctl_number(optarg, NGX_XMPP_SCRAM_ITERATIONS_MIN,
                                         NGX_XMPP_SCRAM_ITERATIONS_MAX,
                                         "--iterations", &ctl->iterations);
            break;

        default:
            status = ngx_xmpp_ctl_usage(NULL);
        }
    }

    return status;
}


static int
ngx_xmpp_ctl_number(const char *text, ngx_uint_t min, ngx_uint_t max,
    const char *option, ngx_uint_t *value)
{
    ngx_uint_t   n;
    const char  *p;

    n = 0;

    for (p = text; *p >= '0' && *p <= '9' && n <= max; p++) {
        n = n * 10 + (*p - '0');
    }

    if (p == text || *p != '\0' || n < min || n > max) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_USAGE,
                                 "%s must be a number from %lu to %lu, not"
                                 " \"%s\"", option, (unsigned long) min,
                                 (unsigned long) max, text);
    }

    *value = n;

    return NGX_XMPP_CTL_OK;
}


/* argv[0] is the command, if there is one */

static int
ngx_xmpp_ctl_run(ngx_xmpp_ctl_t *ctl, ngx_uint_t help, int argc, char **argv)
{
    int                            status;
    const ngx_xmpp_ctl_command_t  *cmd;

    if (argc == 0) {
        return help ? ngx_xmpp_ctl_help(NULL) : ngx_xmpp_ctl_usage(NULL);
    }

    for (cmd = ngx_xmpp_ctl_commands; cmd->name; cmd++) {
        if (ngx_strcmp(cmd->name, argv[0]) == 0) {
            break;
        }
    }

    if (cmd->name == NULL) {
        (void) ngx_xmpp_ctl_fail(NGX_XMPP_CTL_USAGE,
                                 "there is no command \"%s\"", argv[0]);
        return ngx_xmpp_ctl_usage(NULL);
    }

    if (help) {
        return ngx_xmpp_ctl_help(cmd);
    }

    argc--;
    argv++;

    if (argc < cmd->min || argc > cmd->max
        || ((ctl->iterations || ctl->digest) && !cmd->keys))
    {
        return ngx_xmpp_ctl_usage(cmd);
    }

    ctl->iterations_conf = NGX_XMPP_SCRAM_ITERATIONS;

    status = ngx_xmpp_ctl_settings(ctl);
    if (status != NGX_XMPP_CTL_OK) {
        return status;
    }

    if (ctl->iterations == 0) {
        ctl->iterations = ctl->iterations_conf;

    } else if (ctl->hosts_known && ctl->iterations != ctl->iterations_conf) {
        (void) fprintf(stderr, "xmppctl: warning: names without an account are"
                       " shown %lu rounds, so that one with %lu can be told"
                       " from them; see xmpp_sasl_iterations\n",
                       (unsigned long) ctl->iterations_conf,
                       (unsigned long) ctl->iterations);
    }

    return cmd->handler(ctl, argc, argv);
}


/* Redis and domains: of nginx.conf, options first; an exit status */

static int
ngx_xmpp_ctl_settings(ngx_xmpp_ctl_t *ctl)
{
    int          status;
    const char  *conf;

    ngx_str_set(&ctl->prefix, "xmpp");

    conf = ctl->conf;

    if (conf == NULL && ctl->url == NULL) {
        conf = NGX_XMPP_CTL_DEFAULT_CONF;
    }

    if (conf) {
        status = ngx_xmpp_ctl_conf_read(ctl, conf);
        if (status != NGX_XMPP_CTL_OK) {
            return status;
        }

        ctl->hosts_known = 1;
    }

    if (ctl->prefix_option) {
        ctl->prefix.data = (u_char *) ctl->prefix_option;
        ctl->prefix.len = ngx_strlen(ctl->prefix_option);
    }

    if (ctl->url) {
        ctl->redis_url.data = (u_char *) ctl->url;
        ctl->redis_url.len = ngx_strlen(ctl->url);
        ctl->db = 0;
        ctl->db_set = 0;
        ctl->redis_user.len = 0;
        ctl->password_file = NULL;
        ctl->sentinel_user.len = 0;
        ctl->sentinel_password_file = NULL;
    }

    /* a password of nginx.conf is that of the servers' user */

    if (ctl->user_option) {
        ctl->redis_user.data = (u_char *) ctl->user_option;
        ctl->redis_user.len = ngx_strlen(ctl->user_option);
        ctl->password_file = NULL;
    }

    if (ctl->cacert_option) {
        ctl->ssl_trusted = ctl->cacert_option;
    }

    if (ctl->password_option) {
        ctl->password_file = ctl->password_option;
    }

    if (ctl->db_given) {
        ctl->db = ctl->db_option;
        ctl->db_set = 1;
    }

    if (ctl->prefix.len == 0
        || ngx_strlchr(ctl->prefix.data, ctl->prefix.data + ctl->prefix.len,
                       '{'))
    {
        return ngx_xmpp_ctl_fail(ctl->prefix_option ? NGX_XMPP_CTL_USAGE
                                                    : NGX_XMPP_CTL_CONF,
                                 "the prefix of keys must not be empty nor"
                                 " hold a \"{\"");
    }

    if (ctl->url == NULL && ctl->redis_url.len == 0) {
        return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_CONF,
                                 "there is no xmpp_redis in the stream{} of"
                                 " %s: name Redis with -r, or another"
                                 " configuration with -c", conf);
    }

    return NGX_XMPP_CTL_OK;
}


static int
ngx_xmpp_ctl_usage(const ngx_xmpp_ctl_command_t *cmd)
{
    if (cmd) {
        (void) fprintf(stderr, "usage: xmppctl [options] %s%s%s%s\n"
                       "xmppctl %s --help tells more\n", cmd->name,
                       cmd->keys ? " [--iterations N] [--digest-md5]" : "",
                       *cmd->operands ? " " : "", cmd->operands, cmd->name);

    } else {
        (void) fprintf(stderr, "usage: xmppctl [-c nginx.conf | -r redis-url]"
                       " [-n db] [-p prefix] [-u user] [-P file]"
                       " command ...\n"
                       "xmppctl --help tells more\n");
    }

    return NGX_XMPP_CTL_USAGE;
}


/* help is what was asked for: on stdout, status 0 */

static int
ngx_xmpp_ctl_help(const ngx_xmpp_ctl_command_t *cmd)
{
    const ngx_xmpp_ctl_command_t  *c;

    if (cmd) {
        (void) printf("usage: xmppctl [options] %s%s%s\n\n%s%s%s%s", cmd->name,
                      *cmd->operands ? " " : "", cmd->operands, cmd->text,
                      ngx_xmpp_ctl_help_options,
                      cmd->keys ? ngx_xmpp_ctl_help_keys : "",
                      ngx_xmpp_ctl_help_status);

        return NGX_XMPP_CTL_OK;
    }

    (void) printf("usage: xmppctl [options] command ...\n\n"
                  "Manages the accounts of the XMPP server in nginx.\n\n"
                  "Commands:\n");

    for (c = ngx_xmpp_ctl_commands; c->name; c++) {
        (void) printf("  %-8s %-12s %s\n", c->name, c->operands, c->line);
    }

    (void) printf("%s%s%s", ngx_xmpp_ctl_help_options,
                  ngx_xmpp_ctl_help_keys, ngx_xmpp_ctl_help_status);

    return NGX_XMPP_CTL_OK;
}


/* says "xmppctl: ..." on stderr, and returns status */

int
ngx_xmpp_ctl_fail(int status, const char *fmt, ...)
{
    va_list  args;

    (void) fflush(stdout);
    (void) fprintf(stderr, "xmppctl: ");

    va_start(args, fmt);
    (void) vfprintf(stderr, fmt, args);
    va_end(args);

    (void) fprintf(stderr, "\n");

    return status;
}


int
ngx_xmpp_ctl_no_memory(void)
{
    return ngx_xmpp_ctl_fail(NGX_XMPP_CTL_REFUSED, "no memory");
}
