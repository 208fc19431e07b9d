
/*
 * The command line, the accounts and the targets.
 */


#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "traffic.h"


static void tr_defaults(tr_options_t *opt);
static int tr_option(tr_options_t *opt, int ch);
static int tr_option_scenario(tr_options_t *opt, int ch);
static int tr_option_number(tr_options_t *opt, int ch);
static void tr_usage(void);
static void tr_load_account(tr_run_t *run, char *line);


enum {
    tr_op_target = 1,
    tr_op_accounts,
    tr_op_clients,
    tr_op_tls,
    tr_op_ca,
    tr_op_mechanism,
    tr_op_resource,
    tr_op_messages,
    tr_op_window,
    tr_op_iq,
    tr_op_presence,
    tr_op_full,
    tr_op_size,
    tr_op_seed,
    tr_op_logins,
    tr_op_stall,
    tr_op_progress,
    tr_op_reconnect,
    tr_op_round,
    tr_op_hold,
    tr_op_control,
    tr_op_pairs,
    tr_op_rate,
    tr_op_relogin,
    tr_op_storm,
    tr_op_group,
    tr_op_tickets,
    tr_op_websocket,
    tr_op_sm,
    tr_op_nopresence,
    tr_op_from,
    tr_op_help
};


static const struct option  tr_long_options[] = {
    { "target",    required_argument, NULL, tr_op_target },
    { "accounts",  required_argument, NULL, tr_op_accounts },
    { "clients",   required_argument, NULL, tr_op_clients },
    { "tls",       required_argument, NULL, tr_op_tls },
    { "ca",        required_argument, NULL, tr_op_ca },
    { "mechanism", required_argument, NULL, tr_op_mechanism },
    { "resource",  required_argument, NULL, tr_op_resource },
    { "messages",  required_argument, NULL, tr_op_messages },
    { "window",    required_argument, NULL, tr_op_window },
    { "iq",        required_argument, NULL, tr_op_iq },
    { "presence",  required_argument, NULL, tr_op_presence },
    { "full",      required_argument, NULL, tr_op_full },
    { "size",      required_argument, NULL, tr_op_size },
    { "seed",      required_argument, NULL, tr_op_seed },
    { "logins",    required_argument, NULL, tr_op_logins },
    { "stall",     required_argument, NULL, tr_op_stall },
    { "progress",  required_argument, NULL, tr_op_progress },
    { "reconnect", no_argument,       NULL, tr_op_reconnect },
    { "round",     no_argument,       NULL, tr_op_round },
    { "hold",      no_argument,       NULL, tr_op_hold },
    { "control",   no_argument,       NULL, tr_op_control },
    { "pairs",     no_argument,       NULL, tr_op_pairs },
    { "rate",      required_argument, NULL, tr_op_rate },
    { "relogin",   required_argument, NULL, tr_op_relogin },
    { "storm",     required_argument, NULL, tr_op_storm },
    { "group",     required_argument, NULL, tr_op_group },
    { "tickets",   no_argument,       NULL, tr_op_tickets },
    { "sm",        no_argument,       NULL, tr_op_sm },
    { "websocket", no_argument,       NULL, tr_op_websocket },
    { "nopresence", no_argument,      NULL, tr_op_nopresence },
    { "from",      no_argument,       NULL, tr_op_from },
    { "help",      no_argument,       NULL, tr_op_help },
    { NULL, 0, NULL, 0 }
};


static void
tr_defaults(tr_options_t *opt)
{
    opt->resource = "traffic";
    opt->messages = 1000;
    opt->progress = 1000;
    opt->seed = 1;
    opt->window = 200;
    opt->full = 50;
    opt->size = 60;
    opt->logins = 50;
    opt->stall = 20;
}


/* tr_options() reads the command line, or prints what may be on it */

int
tr_options(tr_options_t *opt, int argc, char *const *argv)
{
    int  ch;

    tr_defaults(opt);

    while ((ch = getopt_long(argc, argv, "", tr_long_options, NULL)) != -1) {
        if (tr_option(opt, ch) != TR_OK) {
            tr_usage();
            return TR_ERROR;
        }
    }

    /* those of a pair have to be there all the time */

    if (opt->sm && !opt->pairs) {
        opt->reconnect = 1;
    }

    if (optind != argc || opt->ntargets == 0 || opt->accounts == NULL
        || opt->iq + opt->presence > 99 || opt->full > 100
        || opt->size > TR_SIZE_MAX || opt->window == 0 || opt->logins == 0
        || (opt->messages == 0 && !opt->control)
        || (opt->hold && !opt->control)
        || (opt->relogin && opt->storm)
        || (opt->reconnect && (opt->relogin || opt->storm || opt->pairs))
        || (opt->round && (opt->relogin || opt->storm))
        || (opt->group && (opt->group < 2 || opt->reconnect || opt->pairs
                           || opt->rate || opt->round)))
    {
        tr_usage();
        return TR_ERROR;
    }

    return TR_OK;
}


static int
tr_option(tr_options_t *opt, int ch)
{
    if (ch == '?' || ch == tr_op_help) {
        return TR_ERROR;
    }

    switch (ch) {

    case tr_op_target:
        if (opt->ntargets == TR_TARGETS) {
            return TR_ERROR;
        }

        opt->targets[opt->ntargets++] = optarg;
        break;

    case tr_op_tls:
        if (strcmp(optarg, "starttls") == 0) {
            opt->tls = tr_tls_starttls;

        } else if (strcmp(optarg, "direct") == 0) {
            opt->tls = tr_tls_direct;

        } else if (strcmp(optarg, "plain") == 0) {
            opt->tls = tr_tls_plain;

        } else {
            return TR_ERROR;
        }

        break;

    case tr_op_accounts:
        opt->accounts = optarg;
        break;

    case tr_op_ca:
        opt->ca = optarg;
        break;

    case tr_op_mechanism:
        opt->mechanism = optarg;
        break;

    case tr_op_resource:
        opt->resource = optarg;
        break;

    case tr_op_reconnect:
        opt->reconnect = 1;
        break;

    case tr_op_round:
        opt->round = 1;
        break;

    case tr_op_hold:
        opt->hold = 1;
        break;

    case tr_op_control:
        opt->control = 1;
        break;

    default:
        return tr_option_scenario(opt, ch);
    }

    return TR_OK;
}


static int
tr_option_scenario(tr_options_t *opt, int ch)
{
    switch (ch) {

    case tr_op_pairs:
        opt->pairs = 1;
        break;

    case tr_op_sm:
        opt->sm = 1;
        break;

    case tr_op_websocket:
        opt->websocket = 1;
        break;

    case tr_op_tickets:
        opt->tickets = 1;
        break;

    case tr_op_nopresence:
        opt->nopresence = 1;
        break;

    case tr_op_from:
        opt->from = 1;
        break;

    default:
        return tr_option_number(opt, ch);
    }

    return TR_OK;
}


static int
tr_option_number(tr_options_t *opt, int ch)
{
    char      *end;
    uint32_t   n;

    n = strtoul(optarg, &end, 10);

    if (end == optarg || *end != '\0') {
        return TR_ERROR;
    }

    switch (ch) {

    case tr_op_clients:
        opt->clients = n;
        break;

    case tr_op_messages:
        opt->messages = n;
        break;

    case tr_op_window:
        opt->window = n;
        break;

    case tr_op_iq:
        opt->iq = n;
        break;

    case tr_op_presence:
        opt->presence = n;
        break;

    case tr_op_full:
        opt->full = n;
        break;

    case tr_op_size:
        opt->size = n;
        break;

    case tr_op_seed:
        opt->seed = n;
        break;

    case tr_op_logins:
        opt->logins = n;
        break;

    case tr_op_stall:
        opt->stall = n;
        break;

    case tr_op_progress:
        opt->progress = n;
        break;

    case tr_op_rate:
        opt->rate = n;
        break;

    case tr_op_relogin:
        opt->relogin = n;
        break;

    case tr_op_storm:
        opt->storm = n;
        break;

    case tr_op_group:
        opt->group = n;
        break;

    default:
        return TR_ERROR;
    }

    return TR_OK;
}


static void
tr_usage(void)
{
    fputs("traffic: many XMPP clients, numbered stanzas\n"
          "  --target HOST:PORT   server, may be repeated: clients in turn\n"
          "  --accounts FILE      lines of \"JID PASSWORD\"\n"
          "  --clients N          so many of them\n"
          "  --tls MODE           starttls, direct or plain\n"
          "  --ca FILE            verify the certificate\n"
          "  --mechanism NAME     of SASL; default: the best offered\n"
          "  --resource NAME      default: traffic\n"
          "  --messages N         default 1000; 0: until \"finish\"\n"
          "  --window N           so many stanzas in flight, default 200\n"
          "  --iq, --presence N   percent of all stanzas, default 0\n"
          "  --full N             percent of messages to full JIDs, "
          "default 50\n"
          "  --size N             bytes of a body, default 60\n"
          "  --seed N             of the random choices\n"
          "  --logins N           so many at once, default 50\n"
          "  --stall SECONDS      without any arrival is the end, "
          "default 20\n"
          "  --progress N         a line per so many messages\n"
          "  --reconnect          clients that are cut off come back\n"
          "  --round              at the end a message from each to each\n"
          "  --hold               wait for \"go\" when all are online\n"
          "  --control            lines on stdin: go, again N, finish, "
          "forget, resumes, quit\n"
          "  --pairs              the first and the second send to each "
          "other, and so\n"
          "                       on; the window is that of each client; "
          "1: in turn\n"
          "  --rate N             stanzas a second in all, whatever is in "
          "flight\n"
          "  --relogin N          no traffic: so many logins, each leaves at "
          "once\n"
          "  --storm N            no traffic: so often all are cut off and "
          "come back\n"
          "  --group N            changes of presence, to so many who are all "
          "contacts\n"
          "                       of each other\n"
          "  --tickets            TLS sessions are resumed\n"
          "  --websocket          as frames, at /xmpp-websocket\n"
          "  --sm                 XEP-0198: who is cut off resumes\n"
          "  --nopresence         no initial presence\n"
          "  --from               stanzas have a \"from\" already\n",
          stderr);
}


/* tr_load() makes the clients from the file of accounts */

void
tr_load(tr_run_t *run)
{
    char       line[512];
    FILE      *fp;
    uint32_t   i;

    fp = fopen(run->opt.accounts, "r");

    if (fp == NULL) {
        tr_die(run->opt.accounts, strerror(errno));
    }

    while (fgets(line, sizeof(line), fp) != NULL
           && (run->opt.clients == 0 || run->nclients < run->opt.clients))
    {
        tr_load_account(run, line);
    }

    fclose(fp);

    if (run->nclients < 2 || run->nclients < run->opt.clients
        || (run->opt.pairs && run->nclients % 2 != 0))
    {
        tr_die(run->opt.accounts, "too few accounts, or no pairs");
    }

    for (i = 0; i < run->nclients; i++) {
        run->clients[i].index = i;
        run->clients[i].target = i % run->opt.ntargets;
        run->clients[i].fd = -1;
        tr_queue_push(run, &run->queue, i);
    }

    run->online = tr_alloc(run->nclients * sizeof(uint32_t));
    run->dirty = tr_alloc(run->nclients * sizeof(uint32_t));
}


static void
tr_load_account(tr_run_t *run, char *line)
{
    char         *at, *space;
    tr_client_t  *cl;

    line[strcspn(line, "\n")] = '\0';
    at = strchr(line, '@');
    space = strchr(line, ' ');

    if (at == NULL || space == NULL || space < at) {
        tr_die(run->opt.accounts, "a line is not \"JID PASSWORD\"");
    }

    if ((run->nclients & (run->nclients - 1)) == 0) {
        run->clients = tr_realloc(run->clients, sizeof(tr_client_t)
                           * (run->nclients ? 2 * run->nclients : 1));
    }

    cl = &run->clients[run->nclients++];
    memset(cl, 0, sizeof(tr_client_t));

    *at = '\0';
    *space = '\0';

    cl->user = strdup(line);
    cl->domain = strdup(at + 1);
    cl->password = strdup(space + 1);

    if (cl->user == NULL || cl->domain == NULL || cl->password == NULL) {
        tr_die("strdup", strerror(errno));
    }
}


/* tr_resolve() finds the addresses of the targets */

void
tr_resolve(tr_run_t *run)
{
    int               rc;
    char             *host, *port;
    uint32_t          i;
    struct addrinfo   hints, *res;

    for (i = 0; i < run->opt.ntargets; i++) {
        host = strdup(run->opt.targets[i]);
        port = (host != NULL) ? strrchr(host, ':') : NULL;

        if (port == NULL) {
            tr_die(run->opt.targets[i], "is not HOST:PORT");
        }

        *port++ = '\0';

        memset(&hints, 0, sizeof(hints));
        hints.ai_socktype = SOCK_STREAM;

        rc = getaddrinfo(host, port, &hints, &res);

        if (rc != 0) {
            tr_die(run->opt.targets[i], gai_strerror(rc));
        }

        memcpy(&run->addrs[i], res->ai_addr, res->ai_addrlen);
        run->addr_lens[i] = res->ai_addrlen;

        freeaddrinfo(res);
        free(host);
    }
}
