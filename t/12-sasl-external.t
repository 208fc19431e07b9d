#!/usr/bin/perl

# SASL EXTERNAL: RFC 4422, appendix A; RFC 6120, 6.3.4, 13.7.1.4; XEP-0178.
# Who a client is by its certificate, what a certificate is not good for, and
# that what one host has seen is worth nothing at another.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::SSL;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(
    users => [ qw/ alice bob jürgen dora /,
               map { [ $_->[0], "$_->[1].test", 'x' ] }
                   [ 'alice', 'third' ], [ 'bob', 'mail' ],
                   [ 'alice', 'both' ], [ 'alice', 'none' ],
                   [ 'alice', 'idea' ], [ 'alice', 'off' ] ])
    ->only_ours('no EXTERNAL for clients in the peers');
my %NS = %Test::XMPP::Client::NS;

# All hosts have one certificate and authorities of one name, so that nothing
# but the module itself tells their TLS sessions apart.

my $config = <<'EOF';
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    ssl_certificate         %%TESTDIR%%/localhost.pem;
    ssl_certificate_key     %%TESTDIR%%/localhost.key;
    ssl_session_cache       shared:tls:1m;
    ## TICKETS
    ssl_client_certificate  %%TESTDIR%%/ca.pem;
    ssl_verify_client       optional;
    ssl_verify_depth        1;

    xmpp_host localhost {
        ssl_crl             %%TESTDIR%%/crl.pem;
    }

    xmpp_host second.test {
        ssl_verify_client   on;
    }

    xmpp_host third.test {
        ssl_client_certificate  %%TESTDIR%%/third.pem;
    }

    xmpp_host mail.test {
        xmpp_sasl_external  email;
    }

    xmpp_host both.test {
        xmpp_sasl_external  xmppaddr email;
    }

    xmpp_host none.test {
        xmpp_sasl_mechanisms  SCRAM-SHA-256 PLAIN;
    }

    xmpp_host idea.test {
        ssl_verify_client   optional_no_ca;
    }

    xmpp_host off.test {
        ssl_verify_client   off;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
        xmpp_auth_attempts  5;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
        xmpp_auth_attempts  5;
    }
}
EOF

my @tickets = ('ssl_session_ticket_key  %%TESTDIR%%/ticket.key;',
               'ssl_session_tickets     off;');

for my $host (0, 1) {
    $t->config($config =~ s/## TICKETS/$tickets[$host]/r, host => $host);
}

$t->{hosts} = 2;

# what nginx wants to read at its start

my $ca = $t->{ca} = Test::XMPP::CA->new($t->testdir());
my $third = Test::XMPP::CA->new($t->testdir(), file => 'third');
my $other = Test::XMPP::CA->new($t->testdir(), file => 'stranger',
                                name => 'another CA');

my $revoked = $ca->client('revoked', [ xmpp => 'alice@localhost' ],
                          serial => 0xDEAD);

$t->write_file('ticket.key', join '', 'a' .. 'z', 'A' .. 'Z', 'a' .. 'z', 1, 2);
$ca->revoke('DEAD');
$t->run();

my $n = 0;


# A certificate with these names

sub certificate { return $ca->client('client' . ++$n, [ @_ ]) }


# A client up to the features with this certificate; undef when the server
# would not have it at all.

sub features {
    my ($certificate, %opt) = @_;

    my $c = $t->client('alice', certificate => $certificate, on => 0,
                       verify_name => 'localhost', %opt);

    return eval { $c->secure(); 1 } ? $c : undef;
}


sub offers {
    my ($c) = @_;

    return $c && scalar grep { $_ eq 'EXTERNAL' } $c->mechanisms();
}


# The outcome of an exchange: the bare JID, or the condition of the failure

sub outcome {
    my ($c, $authzid) = @_;

    return 'no connection' unless $c;

    utf8::encode($authzid);
    $c->send_auth('EXTERNAL', $authzid);

    my $answer = $c->recv_stanza() or return 'nothing';

    return $answer->error() unless $answer->is('success', $NS{sasl});

    $c->open_stream();

    return $c->bind() =~ s{/.*}{}r;
}


# Logs in with a certificate, by both ways to TLS

sub is_outcome {
    my ($name, $certificate, $authzid, $wanted, %opt) = @_;

    for my $tls (qw/ starttls direct /) {
        my $c = features($certificate, tls => $tls, %opt);

        is($c && ($c->mechanisms())[0], 'EXTERNAL',
           "$name: offered before the others, $tls");
        is(outcome($c, $authzid), $wanted, "$name: $wanted");
    }
}


# The level of the log's last line about a login that failed

sub last_level {
    my @lines = grep { /login failed: .*, condition invalid-authzid, / }
                split /\n/, $t->read_log();

    return $lines[-1] =~ /\[(\w+)\]/ ? $1 : '';
}


# It must not be offered, and not work for who tries all the same

sub is_refused {
    my ($name, $certificate, %opt) = @_;

    for my $tls (qw/ starttls direct /) {
        my $c = features($certificate, %opt, tls => $tls);

        ok($c && !offers($c), "$name: not offered, $tls");
        is(outcome($c, $_), 'invalid-mechanism', "$name: nor usable, '$_'")
            for '', 'alice@localhost';
    }
}


###############################################################################
# One name

my $alice = certificate(xmpp => 'alice@localhost');

is_outcome('XEP-0178, 2: one xmppAddr', $alice, '', 'alice@localhost');
is_outcome('RFC 6120, 6.3.8: and its own authzid', $alice, 'alice@localhost',
           'alice@localhost');
is_outcome('RFC 7622: both prepared',
           certificate(xmpp => 'ALICE@LocalHost'), 'Alice@LOCALHOST',
           'alice@localhost');
is_outcome('a name that is not ASCII', certificate(xmpp => 'JÜRGEN@localhost'),
           'jürgen@localhost', 'jürgen@localhost');
is_outcome('a host that wants a certificate',
           certificate(xmpp => 'dora@second.test'), '', 'dora@second.test',
           domain => 'second.test');

for my $foreign ('bob@localhost', 'bob', 'alice', 'alice@second.test',
                 'alice@localhost/r', 'localhost', '@', 'alice@', 'é',
                 "alice\@localhost\0", "\0alice\@localhost")
{
    is_outcome("RFC 6120, 6.5.6: authzid '" . ($foreign =~ s/\0/\\0/gr) . "'",
               $alice, $foreign, 'invalid-authzid');
}

{
    my $c = features($alice);

    $c->send_auth('EXTERNAL', undef);
    is($c->recv_challenge(), '', 'RFC 6120, 6.4.2: asked with an empty one');
    $c->send_response('alice@localhost');
    ok($c->expect('success'), 'RFC 4422, A.1: authzid in the response');

    $c = features($alice);
    $c->send_auth('EXTERNAL', "al\xFFice\@localhost");
    is($c->recv_stanza()->error(), 'invalid-authzid', 'no UTF-8');

    $c = features($alice);
    $c->send_auth('EXTERNAL', 'a' x 2000 . '@localhost');
    is($c->recv_stanza()->error(), 'invalid-authzid', 'an over-long one');

    # a failure is no end: RFC 6120, 6.4.5

    is(outcome($c, ''), 'alice@localhost', 'and then the right one');
}

{
    my $c = features($alice, user => 'bob', password => 'bob-secret');

    ok(eval { $c->auth(mechanism => 'SCRAM-SHA-256'); $c->bind() },
       'a certificate forces nobody: another account by its password');
    like($c->jid(), qr/^bob\@localhost/, 'which is the one');
}


###############################################################################
# Several

my $two = certificate(dns => 'localhost', xmpp => 'alice@localhost',
                      email => 'carol@localhost', xmpp => 'bob@localhost',
                      xmpp => 'dora@second.test');

is_outcome('XEP-0178, 2: several, none asserted', $two, '',
           'invalid-authzid');
is(last_level(), 'info', 'which is no failed login');
is_outcome('XEP-0178, 2: the first', $two, 'alice@localhost',
           'alice@localhost');
is_outcome('XEP-0178, 2: the second', $two, 'bob@localhost', 'bob@localhost');
is_outcome('one of another host', $two, 'dora@second.test',
           'invalid-authzid');
is(last_level(), 'error', 'which is one');
is_outcome('the only one of that host', $two, '', 'dora@second.test',
           domain => 'second.test');
is_outcome('one name twice is one',
           certificate(xmpp => 'alice@localhost', xmpp => 'Alice@localhost'),
           '', 'alice@localhost');


###############################################################################
# Names that are no good

sub other { return Test::XMPP::CA::other_name(@_) }

my $srv = "\x06\x08\x2B\x06\x01\x05\x05\x07\x08\x07";     # id-on-dnsSRV
my $longer = "\x06\x09\x2B\x06\x01\x05\x05\x07\x08\x05\x01";

my %bad = (
    'no name'              => [],
    'another domain'       => [ xmpp => 'alice@elsewhere.test' ],
    'a domain that ends so' => [ xmpp => 'alice@not.localhost' ],
    'a resource'           => [ xmpp => 'alice@localhost/r' ],
    'a domain alone'       => [ xmpp => 'localhost' ],
    'a localpart alone'    => [ xmpp => 'alice' ],
    'nothing'              => [ xmpp => '' ],
    'white space'          => [ xmpp => ' alice@localhost' ],
    'a NUL at the end'     => [ xmpp => "alice\@localhost\0" ],
    'a NUL inside'         => [ xmpp => "alice\@localhost\0.evil.test" ],
    'a NUL before'         => [ xmpp => "\0alice\@localhost" ],
    'no UTF-8'             => [ raw => other(UTF8 => "\xFF\@localhost") ],
    'surrogates'           => [ raw => other(UTF8 =>
                                  "\xED\xA0\x80\xED\xB0\x80\@localhost") ],
    'an over-long form'    => [ raw => other(UTF8 =>
                                             "\xC1\xA1lice\@localhost") ],
    'too long a name'      => [ xmpp => 'a' x 1024 . '@localhost' ],
    'far too long a name'  => [ xmpp => 'a' x 6000 . '@localhost' ],
    'an IA5String'         => [ raw => other(IA5 => 'alice@localhost') ],
    'a PrintableString'    => [ raw => other(PRINTABLE => 'alice@localhost') ],
    'an OCTET STRING'      => [ raw => other(OCTET => 'alice@localhost') ],
    'a BMPString'          => [ raw => other(BMP =>
                                  pack 'n*', unpack 'C*', 'alice@localhost') ],
    'a SEQUENCE'           => [ raw => other(SEQUENCE =>
                              Test::XMPP::CA::der(0x0C, 'alice@localhost')) ],
    'a NULL'               => [ raw => other(0x05, '') ],
    'another otherName'    => [ raw => other(UTF8 => 'alice@localhost', $srv) ],
    'an OID that begins so' => [ raw => other(UTF8 => 'alice@localhost',
                                              $longer) ],
    'a mail address'       => [ email => 'alice@localhost' ],
    'a URI'                => [ uri => 'xmpp:alice@localhost' ],
    'a DNS name'           => [ dns => 'alice@localhost' ],
);

is_refused("$_, and CVE-2025-59154: a common name",
           $ca->client('bad' . ++$n, $bad{$_}, cn => 'alice@localhost'))
    for sort keys %bad;

is_outcome('a bad name spoils no good one',
           certificate(xmpp => "bob\@localhost\0", xmpp => 'bob@localhost/r',
                       xmpp => 'alice@localhost'), '', 'alice@localhost');

# an account that is not there is not made

my $nobody = certificate(xmpp => 'nobody@localhost');

is_outcome('no such account', $nobody, '', 'not-authorized');
is_outcome('nor when asserted', $nobody, 'nobody@localhost',
           'not-authorized');
is($t->redis()->command('EXISTS', 'xmpp:{nobody@localhost}:account'), 0,
   'it was not made');

$t->add_user('gone', 'localhost', 'x');

my $gone = certificate(xmpp => 'gone@localhost');

is_outcome('an account', $gone, '', 'gone@localhost');
$t->xmppctl(undef, 'deluser', 'gone@localhost');
is_outcome('that was removed', $gone, '', 'not-authorized');


###############################################################################
# Mail addresses, where they are wanted

my %mail = (domain => 'mail.test');

is_outcome('an rfc822Name', certificate(email => 'bob@mail.test'), '',
           'bob@mail.test', %mail);
is_refused("of another domain: $_", certificate(email => $_), %mail)
    for 'bob@localhost', 'bob@mail.test.evil';
is_refused('no address: ' . s/\0/\\0/gr, certificate(email => $_), %mail)
    for "bob\@mail.test\0", "bob\0\@mail.test", 'mail.test', 'bob',
        'bob@mail.test/r', '"bob"@mail.test', 'böb@mail.test';
is_refused('an xmppAddr, where they are not',
           certificate(xmpp => 'bob@mail.test'), %mail);
is_outcome('both, and one name', certificate(email => 'alice@both.test',
                                             xmpp => 'alice@both.test'),
           '', 'alice@both.test', domain => 'both.test');
is_outcome('both, and two', certificate(email => 'alice@both.test',
                                        xmpp => 'bob@both.test'),
           '', 'invalid-authzid', domain => 'both.test');


###############################################################################
# Certificates that nginx does not take, and hosts that do not ask

my @names = map { (xmpp => "alice\@$_") }
            qw/ localhost third.test none.test idea.test off.test /;
my $strange = $other->client('strange', \@names);
my $forged = $third->client('forged', \@names);
my $every = certificate(@names, xmpp => 'dora@second.test',
                        xmpp => 'alice@both.test');

my %refused = (
    'another authority'    => $strange,
    'one of the same name' => $forged,
    'revoked'              => $revoked,
    'expired'              => $ca->client('expired', \@names,
                                          not_before => time() - 86400,
                                          not_after => time() - 60),
    'not yet valid'        => $ca->client('early', \@names,
                                          not_before => time() + 3600),
    'for servers'          => $ca->client('server', \@names,
                                          purpose => 'server'),
);

for my $tls (qw/ starttls direct /) {
    for (sort keys %refused) {
        my $c = features($refused{$_}, tls => $tls);

        ok(!offers($c) && outcome($c, '') =~ /^(?:invalid-mech|no conn)/,
           "$_: refused, $tls");
    }
}

is_outcome('for the authority of that host', $forged, '', 'alice@third.test',
           domain => 'third.test');
is_refused('no certificate', undef);
is_refused('EXTERNAL is not among the mechanisms', $every,
           domain => 'none.test');
is_refused('ssl_verify_client optional_no_ca', $_, domain => 'idea.test')
    for $every, $strange;
is_refused('ssl_verify_client off', $every, domain => 'off.test');

{
    my $c = $t->client('alice', certificate => $alice, tls => 'none', on => 0);

    $c->connect();
    $c->open_stream();
    is(outcome($c, ''), 'encryption-required', 'not without TLS');
}


###############################################################################
# Direct TLS for one host, a stream for another

for my $sni (qw/ second.test both.test third.test off.test unknown.test /, '') {
    my $c = features($sni eq 'third.test' ? $forged : $every, tls => 'direct',
                     sni => $sni);

    ok($c && !offers($c), "direct TLS for '$sni': not offered");
    is(outcome($c, 'alice@localhost'), 'invalid-mechanism', 'nor usable');
}


###############################################################################
# TLS sessions: with tickets and without, of one host and at another

for my $on (0, 1) {
    for my $version (qw/ TLSv1_2 TLSv1_3 /) {
        my $name = "$version, tickets " . ($on ? 'off' : 'on');
        my @opt = (on => $on, tls_version => $version);

        for my $tls (qw/ starttls direct /) {
            for my $host (qw/ localhost second.test third.test both.test /) {
                resumed("$name, $tls", $tls, $host, $tls, $host, @opt);
            }

            for my $host (qw/ second.test third.test both.test off.test /) {
                resumed("$name, $tls", $tls, 'localhost', $tls, $host, @opt);
                resumed("$name, $tls", $tls, $host, $tls, 'localhost', @opt);
            }
        }

        for my $host (qw/ localhost second.test third.test both.test /) {
            resumed($name, 'starttls', 'localhost', 'direct', $host, @opt);
            resumed($name, 'direct', 'localhost', 'starttls', $host, @opt);
        }
    }
}


# A session with a certificate, then a connection that shows none.  It may go
# on at the same host, which then knows the certificate's names; at another
# one EXTERNAL must not be there.

sub resumed {
    my ($name, $from, $first, $to, $second, @opt) = @_;

    my $cache = IO::Socket::SSL::Session_Cache->new(10);

    push @opt, tls_sessions => $cache;
    $name .= ": $from at $first, $to at $second";

    my $c = features($first eq 'third.test' ? $forged : $every, @opt,
                     tls => $from, domain => $first);

    return fail("$name: the first session") unless $c;

    # the session leaves the cache with its connection
    my $before = $c;

    $c = features(undef, @opt, tls => $to, domain => $second);

    if ($from eq $to && $first eq $second) {
        ok($c && $c->tls_resumed(), "$name: goes on");
        is(outcome($c, ''), ($first eq 'second.test' ? 'dora' : 'alice')
           . "\@$second", "$name: with its certificate");
        $_->close() for $c, $before;
        return;
    }

    ok(!offers($c), "$name: not offered");

    for my $authzid ('', "alice\@$second", "alice\@$first") {
        last if !$c;
        is(outcome($c, $authzid), 'invalid-mechanism', "$name: nor usable");
    }

    $_->close() for grep { defined } $c, $before;
}


###############################################################################
# The manual's own commands make a certificate that does, and take it back

{
    my $manual = Test::XMPP::Process::slurp(
        Test::XMPP::Nginx::root() . '/docs/admin/client-certificates.md');
    my ($authority, $make, $pkcs12, $index, $revoke, $list, $until)
        = my @blocks = map { s/example\.org/localhost/gr }
                       $manual =~ /^```sh\n(.*?)^```/msg;
    my ($crl) = $manual =~ /^(ssl_crl .*)$/m;
    my $dir = $t->testdir() . '/manual';

    my $run = sub {
        my ($what, $commands) = @_;

        is(system("cd $dir && { $commands } >log 2>&1"), 0,
           "the manual: $what") or diag(Test::XMPP::Process::slurp("$dir/log"));
    };

    # with these of the manual's settings; from 1.27.4 on nginx takes over what
    # it has read of a file whose time, in seconds, is that of before

    my $written = time() - 100;

    my $reload = sub {
        my ($crl) = @_;

        utime $written, $written++, "$dir/clients.crl";

        $t->host(0)->reload($config
            =~ s/## TICKETS//r
            =~ s{%%TESTDIR%%/ca\.pem}{$dir/clients-ca.pem}r
            =~ s{ssl_crl .*}{$crl =~ s:/etc/ssl:$dir:r}er);
    };

    mkdir $dir;
    is(@blocks, 7, 'the manual has its commands');

    $run->('an authority', $authority);
    $run->('a certificate', $make);
    $run->('of another one', $make =~ s/alice/bob/gr);
    $run->('one file', $pkcs12);

    $reload->('');
    is_outcome("the manual's $_", "$dir/$_", '', "$_\@localhost")
        for qw/ alice bob /;

    $run->('an index', $index);
    $run->('revoked', $revoke);
    $run->('the list', $list);
    $run->('how long it will do', $until);
    like(Test::XMPP::Process::slurp("$dir/log"), qr/^nextUpdate=/, 'is told');

    $reload->($crl);
    is_taken_back('revoked', "$dir/alice", qr/certificate revoked/);
    is_outcome('not revoked', "$dir/bob", '', 'bob@localhost');

    # past its time

    $run->('an old list', $list =~ s/-crldays \d+/-crl_lastupdate 200101000000Z
                                      -crl_nextupdate 200102000000Z/r
                                =~ s/\n +-crl_n/ -crl_n/r);
    $reload->($crl);
    is_taken_back('an expired list', "$dir/bob", qr/CRL has expired/);

    $run->('a new list', $list);
    $reload->($crl);
    is_taken_back('a new list', "$dir/alice", qr/certificate revoked/);
    is_outcome('a new list', "$dir/bob", '', 'bob@localhost');
}


# As the manual says: whoever shows it is closed, and the log says why; whoever
# shows none has a password.

sub is_taken_back {
    my ($name, $certificate, $reason) = @_;

    for my $tls (qw/ starttls direct /) {
        my $from = length $t->host(0)->read_log();

        ok(!features($certificate, tls => $tls), "$name: closed, $tls");
        like(substr($t->host(0)->read_log(), $from), $reason, "$name: told");

        my $c = features(undef, tls => $tls);

        ok($c && !offers($c) && $c->auth(mechanism => 'SCRAM-SHA-256'),
           "$name: a password does without it, $tls");
    }
}

$t->done();
