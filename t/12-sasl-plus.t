#!/usr/bin/perl

# Channel binding: the -PLUS mechanisms (RFC 5802, 6), the types of RFC 5929
# and RFC 9266, what is told of them (XEP-0440), and what must not pass.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::SSL;
use Test::More;
use Test::XMPP;

# a certificate each, and the hash that its signature says

my %certificates = (
    'rsa.test' => [ 'SHA384', '-newkey rsa:2048 -sha384' ],
    'old.test' => [ 'SHA256', '-newkey rsa:2048 -sha1' ],
    'pss.test' => [ 'SHA512', '-newkey rsa:2048 -sha512 '
                              . '-sigopt rsa_padding_mode:pss' ],
    'ec.test'  => [ 'SHA512', '-newkey ec -pkeyopt ec_paramgen_curve:P-384 '
                              . '-sha512' ],
    'ed.test'  => [ undef, '-newkey ed25519' ],
);

my @hosts = ('off.test', 'pair.test', sort keys %certificates);

my $t = Test::XMPP->new(users => [ qw/ alice bob jürgen /,
                                   map { [ 'alice', $_, 'x' ] } @hosts ],
                        domains => [ qw/ localhost off.test pair.test / ]);

$t->config(<<"EOF");
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    xmpp_redis         unix:%%REDIS%%;
    ssl_session_cache  shared:binding:1m;

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_2%%;
        xmpp_c2s;
        xmpp_starttls  on;
    }

    @{[ join '', map { <<"END" } 'localhost', @hosts ]}
    xmpp_host $_ {
        ssl_certificate      %%TESTDIR%%/$_.pem;
        ssl_certificate_key  %%TESTDIR%%/$_.key;
        xmpp_sasl_channel_binding  @{[ /^off/ ? 'off' : 'on' ]};
        @{[ /^pair/ ? 'ssl_certificate      %%TESTDIR%%/rsa.test.pem;
                       ssl_certificate_key  %%TESTDIR%%/rsa.test.key;' : '' ]}
    }
END
}
EOF

if ($t->ours()) {
    my $dir = $t->testdir();

    for my $name (sort keys %certificates) {
        my $how = $certificates{$name}[1];
        my $output = `openssl req -x509 -nodes -batch -days 2 \\
                      -subj /CN=$name -addext subjectAltName=DNS:$name \\
                      $how -keyout $dir/$name.key -out $dir/$name.pem 2>&1`;

        die "openssl: $output" if $?;
    }
}

$t->run();

my @plus = map { "$_-PLUS" } grep { /SCRAM/ } @Test::XMPP::SASL::MECHANISMS;

# what holds for a version of TLS, in the order in which it is told

my %types = (
    TLSv1_3 => [ qw/ tls-exporter tls-server-end-point / ],
    TLSv1_2 => [ qw/ tls-exporter tls-server-end-point tls-unique / ],
);


# A client before SASL

sub fresh {
    my ($user, %opt) = @_;

    my $c = $t->client($user, %opt);

    $c->secure();

    return $c;
}


# A cache with a session that may be resumed, while its connection is open

my @open;

sub cache {
    my ($user, %opt) = @_;

    my $cache = IO::Socket::SSL::Session_Cache->new(8);
    my $c = fresh($user, %opt, tls_sessions => $cache);

    $c->auth();
    push @open, [ $c, $cache ];

    return $cache;
}


# The name of the failure, or "success"; the hash goes to SASL, with the right
# bytes of the type unless there are others.

sub outcome {
    my ($c, %opt) = @_;

    my $hash = delete $opt{hash};

    $opt{mechanism} //= 'SCRAM-SHA-256-PLUS';
    $opt{bytes} //= $c->binding($opt{binding}, $hash)
        if defined $opt{binding};

    my $outcome = $c->authenticate(%opt) // return 'nothing';

    return $outcome->is('success') ? 'success' : $outcome->error();
}


###############################################################################
# Each type, version, way to TLS and mechanism

for my $tls (qw/ starttls direct /) {
    for my $version (sort keys %types) {
        my @opt = (tls => $tls, tls_version => $version);
        my $c = fresh('alice', @opt);

        is($c->tls_version(), $version, "$tls $version");

        my %offered = map { $_ => 1 } $c->mechanisms();
        my @those = grep { $offered{$_} } @plus;
        my @bindings = $c->bindings();

        if ($t->ours()) {
            is_deeply(\@bindings, $types{$version},
                      "$tls $version: XEP-0440: what holds for it");
            is_deeply(\@those, \@plus, "$tls $version: @plus");

        } elsif (@those && !@bindings) {
            @bindings = 'tls-unique';
        }

        for my $type (@bindings) {
            for my $mechanism (@those) {
                my $c = fresh('alice', @opt);

                is(outcome($c, mechanism => $mechanism, binding => $type),
                   'success', "$tls $version: $mechanism by $type");
                ok(eval { $c->open_stream(); $c->bind() },
                   'which is worth a login');

                $c = fresh('alice', @opt);
                isnt(outcome($c, mechanism => $mechanism, binding => $type,
                             bytes => 'x' x 32), 'success',
                     "$tls $version: $mechanism by other bytes");
            }
        }
    }
}

if (!$t->ours()) {
    $t->done();
    exit;
}

for my $mechanism (@plus) {
    my @bind = (mechanism => $mechanism, binding => 'tls-exporter');

    is(outcome(fresh('jürgen'), @bind), 'success',
       "RFC 4013: $mechanism: a name and a password in Unicode");
    is(outcome(fresh('alice'), @bind, authzid => 'alice@localhost'),
       'success', "$mechanism: own authzid");
    is(outcome(fresh('alice'), @bind, authzid => 'bob@localhost'),
       'invalid-authzid', "RFC 6120, 6.3.8: $mechanism: another's authzid");
    is(outcome(fresh('alice'), @bind, @$_), 'not-authorized',
       "$mechanism: bad $_->[0]")
        for [ password => 'wrong' ], [ user => 'nobody' ];
}


###############################################################################
# Resumed sessions

for my $tls (qw/ starttls direct /) {
    for my $version (sort keys %types) {
        my @opt = (tls => $tls, tls_version => $version);

        for my $type (@{ $types{$version} }) {
            my $c = fresh('alice', @opt,
                          tls_sessions => cache('alice', @opt));

            ok($c->tls_resumed(), "$tls $version: resumed");
            is_deeply([ $c->bindings() ], $types{$version}, 'and offered');
            is(outcome($c, binding => $type), 'success',
               "$tls $version: resumed: $type");
        }
    }
}


###############################################################################
# What must not pass

for my $version (sort keys %types) {
    my @opt = (tls_version => $version);
    my @types = @{ $types{$version} };
    my $other = fresh('alice', @opt);

    for my $type (@types) {

        # the certificate is the same on all connections

        is(outcome(fresh('alice', @opt), binding => $type,
                   bytes => $other->binding($type)),
           'not-authorized', "$version: $type of another connection")
            unless $type eq 'tls-server-end-point';

        is(outcome(fresh('alice', @opt), binding => $type, bytes => ''),
           'not-authorized', "$version: $type without bytes");

        for my $wrong (grep { $_ ne $type } @types) {
            my $c = fresh('alice', @opt);

            is(outcome($c, binding => $type, bytes => $c->binding($wrong)),
               'not-authorized', "$version: $type with bytes of $wrong");
        }

        for my $change (sub { substr($_[0], 0, -1) }, sub { "$_[0]x" },
                        sub { $_[0] ^ "\x01" }, sub { scalar reverse $_[0] })
        {
            my $c = fresh('alice', @opt);

            is(outcome($c, binding => $type,
                       bytes => $change->($c->binding($type))),
               'not-authorized', "$version: $type with changed bytes");
        }

        is(outcome(fresh('alice', @opt), mechanism => 'SCRAM-SHA-256',
                   binding => $type), 'malformed-request',
           "RFC 5802, 6: $version: p=$type without -PLUS");
    }

    for my $flag ('n', 'y', '', 'p', 'p=', 'p=tls-exporte', 'p=tls-exporter2',
                  'p=TLS-EXPORTER', 'p=tls-server-end-point-x', 'z')
    {
        is(outcome(fresh('alice', @opt), gs2 => "$flag,,"),
           'malformed-request', "RFC 5802, 6: $version: -PLUS with '$flag'");
    }

    is(outcome(fresh('alice', @opt), mechanism => 'SCRAM-SHA-256',
               gs2 => 'y,,'), 'malformed-request',
       "RFC 5802, 6: $version: y although -PLUS is offered: a downgrade");
    is(outcome(fresh('alice', @opt), mechanism => 'SCRAM-SHA-256'),
       'success', "$version: n: who cannot bind may log in");
}

# the flag of the first message is bound, too: RFC 5802, 5.1

for my $flag ('n', 'y', 'p=tls-server-end-point') {
    my $c = fresh('alice');
    my $sasl = $c->sasl(mechanism => 'SCRAM-SHA-256-PLUS',
                        binding => 'tls-exporter',
                        bytes => $c->binding('tls-exporter'));

    $c->send_auth($sasl->{mechanism}, $sasl->first());
    my $challenge = $c->recv_challenge();
    $sasl->{gs2} = "$flag,,";
    $c->send_response($sasl->final($challenge));
    is($c->recv_stanza()->error(), 'not-authorized',
       "another GS2 header at the end: $flag");
}

# attempts count as all others do

{
    my $c = fresh('alice');

    is(outcome($c, binding => 'tls-exporter', bytes => 'x' x 32),
       'not-authorized', "attempt $_") for 1 .. 2;
    is(outcome($c, mechanism => 'SCRAM-SHA-1', gs2 => 'y,,'),
       'malformed-request', 'the last one');
    ok($c->expect_stream_error('policy-violation'),
       'RFC 6120, 6.4.5: and the stream ends');
}

# but who only learns that it cannot bind here has not tried a password

{
    my $c = fresh('alice');

    for my $mechanism (@plus) {
        is(outcome($c, mechanism => $mechanism, gs2 => "$_,,"),
           'malformed-request', "$mechanism with '$_'") for 'n', 'p=other';
    }

    is(outcome($c, mechanism => 'SCRAM-SHA-512'), 'success',
       'and may do without');
}

ok($t->await_log(qr/client has seen no -PLUS mechanism, which was offered/),
   'a downgrade is told in the log');


###############################################################################
# TLS 1.3 has no tls-unique: it is not offered, but who sends it is held to it

for my $how ('not resumed', 'resumed') {
    my @opt = (tls_version => 'TLSv1_3');
    my $resumed = $how eq 'resumed';

    my $c = fresh('alice', @opt,
                  $resumed ? (tls_sessions => cache('alice', @opt)) : ());
    my $other = fresh('alice', @opt);

    is($c->tls_resumed(), $resumed ? 1 : 0, $how);
    is(outcome($c, binding => 'tls-unique',
               bytes => $other->binding('tls-unique')), 'not-authorized',
       "TLS 1.3, $how: the Finished of another connection");
    is(outcome($c, binding => 'tls-unique'), 'success',
       "TLS 1.3, $how: the true Finished");
}


###############################################################################
# TLS 1.2 without the extended master secret: RFC 9266, 3; RFC 7627

{
    # SSL_OP_NO_EXTENDED_MASTER_SECRET
    my @opt = (tls_version => 'TLSv1_2', tls_options => 1);
    my $c = fresh('alice', @opt);

    is_deeply([ $c->bindings() ], [ 'tls-server-end-point' ],
              'without extended master secret: the certificate alone');
    is(outcome($c, binding => 'tls-server-end-point'), 'success',
       'which binds');

    for my $type (qw/ tls-exporter tls-unique /) {
        is(outcome(fresh('alice', @opt), binding => $type),
           'malformed-request', "without extended master secret: no $type");
    }
}


###############################################################################
# The hash of the certificate: RFC 5929, 4.1

for my $name (sort keys %certificates) {
    my $hash = $certificates{$name}[0];

    for my $tls (qw/ starttls direct /) {
        my @opt = (domain => $name, verify => 0, tls => $tls);
        my $c = fresh('alice', @opt);

        if (!$hash) {
            is_deeply([ $c->bindings() ], [ 'tls-exporter' ],
                      "$tls: $name: a signature without a hash: undefined");
            is(outcome($c, binding => 'tls-server-end-point'),
               'malformed-request', "$tls: $name: and refused");
            next;
        }

        is(outcome($c, binding => 'tls-server-end-point', hash => $hash),
           'success', "$tls: $name: $hash");

        my ($wrong) = grep { $_ ne $hash } qw/ SHA256 SHA512 /;

        is(outcome(fresh('alice', @opt), binding => 'tls-server-end-point',
                   hash => $wrong), 'not-authorized',
           "$tls: $name: not $wrong");
    }
}


# two certificates: the one that was shown; a resumed session shows none

for my $case ([ 'ECDHE-ECDSA-AES128-GCM-SHA256', 'SHA256' ],
              [ 'ECDHE-RSA-AES128-GCM-SHA256', 'SHA384' ])
{
    my ($cipher, $hash) = @$case;
    my @opt = (domain => 'pair.test', verify => 0, ciphers => $cipher,
               tls_version => 'TLSv1_2');

    is(outcome(fresh('alice', @opt), binding => 'tls-server-end-point',
               hash => $hash), 'success', "one of two: $cipher");

    my $c = fresh('alice', @opt, tls_sessions => cache('alice', @opt));

    ok($c->tls_resumed(), 'resumed');
    is_deeply([ $c->bindings() ], [ qw/ tls-exporter tls-unique / ],
              'nobody knows which it was');
}


###############################################################################
# Where it cannot be, or shall not be

for my $case ([ 'without TLS', tls => 'none', port_number => 2 ],
              [ 'switched off', domain => 'off.test' ],
              [ 'switched off, direct TLS', domain => 'off.test',
                tls => 'direct' ])
{
    my ($name, @opt) = @$case;
    my $c = fresh('alice', @opt);

    is_deeply([ grep { /PLUS/ } $c->mechanisms() ], [], "$name: no -PLUS");
    is_deeply([ $c->bindings() ], [], "$name: no XEP-0440");
    is(outcome($c, gs2 => 'p=tls-exporter,,'),
       $name =~ /without/ ? 'encryption-required' : 'invalid-mechanism',
       "RFC 6120, 6.5: $name: -PLUS is refused");
    is(outcome(fresh('alice', @opt), mechanism => 'SCRAM-SHA-256',
               gs2 => 'y,,'), 'success', "RFC 5802, 6: $name: y is true");
}

# the connections first: they take their sessions out of the caches

shift(@$_)->close() for @open;

$t->done();
