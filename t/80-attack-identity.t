#!/usr/bin/perl

# Identity: who logged in is who knows the password, whatever else the client
# says of itself on the way.  All mechanisms that are offered, and those that
# are not.  RFC 6120, 6.3.7, 6.3.8, 6.4.6; RFC 4616, 2; RFC 5802, 5.1 and 9.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw/ encode_base64 decode_base64 /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

# passwords that are names, and names that could be read as another

my $t = Test::XMPP->new(users => [ 'alice', 'bob',
                                   [ 'alice', 'second.test', 'other' ],
                                   [ 'admin', 'localhost', 'bob' ],
                                   [ 'n=bob', 'localhost', 'eq' ],
                                   [ 'a,b', 'localhost', 'comma' ],
                                   [ '=2c', 'localhost', 'escape' ] ])
                  ->only_ours();

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis     unix:%%REDIS%%;
    xmpp_starttls  on;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen  127.0.0.1:%%PORT_1%% ssl;
        xmpp_c2s;
    }
}
EOF

$t->run();

my %NS = %Test::XMPP::Client::NS;
my $c = $t->client('alice');

$c->secure();

my @offered = $c->mechanisms();
my @scram = grep { /^SCRAM-SHA-\d+$/ } @offered;

cmp_ok(@scram, '>', 0, 'SCRAM is offered');


sub secure {
    my $c = $t->client('alice', @_);

    $c->secure();

    return $c;
}


###############################################################################
# The authorization identity: oneself or nobody

my @own = ('alice@localhost', 'ALICE@LocalHost', "\x{FF41}lice\@localhost",
           'alice@localhost.');
my @foreign = ('bob@localhost', 'bob', 'alice', 'alice@second.test',
               'alice@localhost/r', 'localhost', '@localhost', 'alice@',
               'alice@localhost@second.test',
               'alice@localhost,n=bob', 'аlice@localhost', ' alice@localhost',
               "bob\@localhost/alice\@localhost", '*', 'x' x 3000);

for my $mechanism ('PLAIN', @scram) {
    for my $authzid (@own) {
        my $c = secure();

        $c->auth(mechanism => $mechanism, authzid => $authzid);
        like($c->bind(), qr{^alice\@localhost/}, "$mechanism: as $authzid");
        $c->drop();
    }

    for my $authzid (@foreign) {
        my $c = secure();
        my $outcome = $c->authenticate(mechanism => $mechanism,
                                       authzid => $authzid);

        like($outcome && $outcome->error(),
             qr/^(?:invalid-authzid|malformed-request)$/,
             "RFC 6120, 6.5.6: $mechanism: not as "
             . substr $authzid =~ s/[^ -~]/?/gr, 0, 40);
        $c->drop();
    }
}


###############################################################################
# The name: what is escaped is one name, and what is odd is nobody

for my $user ('n=bob', 'a,b', '=2c') {
    for my $mechanism ('PLAIN', @scram) {
        my $c = $t->client($user, mechanism => $mechanism);

        is(eval { $c->login()->bare() }, "$user\@localhost",
           "$mechanism: '$user' is $user") or diag $@;
        $c->drop();
    }
}

for my $case ([ 'PLAIN', "\0alice\0alice-secret\0bob" ],
              [ 'PLAIN', "alice\0bob\0alice-secret" ],
              [ 'PLAIN', "\0alice\@localhost\0alice-secret" ],
              [ 'PLAIN', "\0alice\@second.test\0other" ],
              [ 'PLAIN', "\0\0alice\0alice-secret" ],
              [ 'PLAIN', "\0alice\0" ], [ 'PLAIN', "alice\0alice-secret" ],
              [ 'PLAIN', "\0admin\0alice-secret" ],
              [ 'PLAIN', "bob\@localhost\0alice\0alice-secret" ],
              map({ [ $_, "n,,n=alice\@localhost,r=x" ],
                    [ $_, "n,,n=alice,n=bob,r=x" ],
                    [ $_, "n,a=bob\@localhost,n=alice,r=x" ],
                    [ $_, "n,a=alice\@localhost,a=bob\@localhost,n=alice,r=x" ],
                    [ $_, "n,n=bob,n=alice,r=x" ],
                    [ $_, "n,,n=alice=2,r=x" ], [ $_, "n,,n=ali=00ce,r=x" ],
                    [ $_, "n,,n=,r=x" ], [ $_, "n,,r=x,n=alice" ] } @scram))
{
    my ($mechanism, $data) = @$case;
    my $c = secure();

    $c->send_auth($mechanism, $data);

    my $answer = $c->recv_stanza();

    # at most one learns that nobody of that name has this password
    if ($answer->is('challenge')) {
        $c->send_response('c=biws,r=' . decode_base64($answer->find('.'))
                                        =~ s/^r=([^,]*).*/$1/sr
                          . ',p=' . encode_base64('x' x 20, ''));
        $answer = $c->recv_stanza();
    }

    like($answer->error() // $answer->name(),
         qr/^(?:not-authorized|malformed-request|invalid-authzid)$/,
         "$mechanism: '" . $data =~ s/\0/\\0/gr . "'");
    $c->drop();
}


###############################################################################
# A proof is good once, for one mechanism and one exchange

for my $mechanism (@scram) {
    my $c = secure();
    my $sasl = $c->sasl(mechanism => $mechanism);

    $c->send_auth($mechanism, $sasl->first());

    my $proof = $sasl->final($c->recv_challenge());

    # in another exchange with the same nonce of the client

    my $d = secure();
    my $again = $d->sasl(mechanism => $mechanism, nonce => $sasl->{nonce});

    $d->send_auth($mechanism, $again->first());
    $d->recv_challenge();
    $d->send_response($proof);
    is($d->recv_stanza()->error(), 'not-authorized',
       "$mechanism: replayed in another exchange");

    $c->send_response($proof);
    ok($c->expect('success'), "$mechanism: good in its own");
    $c->open_stream();
    $c->send_response($proof);
    ok($c->recv_stanza()->name() =~ /^(?:failure|error)$/,
       "$mechanism: and not again");

    # of another user

    $d = secure();
    $again = $d->sasl(mechanism => $mechanism, user => 'bob');
    $d->send_auth($mechanism, $again->first());
    $again->{bare} =~ s/n=bob/n=alice/;
    $d->send_response($again->final($d->recv_challenge()));
    is($d->recv_stanza()->error(), 'not-authorized',
       "$mechanism: alice's for bob");

    # of another mechanism

    for my $other (grep { $_ ne $mechanism } @scram) {
        $d = secure();
        $again = $d->sasl(mechanism => $other);
        $d->send_auth($mechanism, $again->first());
        $d->send_response($again->final($d->recv_challenge()));
        like($d->recv_stanza()->error(),
             qr/^(?:not-authorized|malformed-request)$/,
             "$mechanism: a proof by $other");
        $d->drop();
    }
}


###############################################################################
# What is not offered is not to be had

my %offered = map { $_ => 1 } @offered;

my @others = (qw/ ANONYMOUS EXTERNAL CRAM-MD5 DIGEST-MD5 LOGIN GSSAPI GS2-KRB5
                  GSS-SPNEGO NTLM OTP SKEY SECURID OAUTHBEARER X-OAUTH2
                  OPENID20 SAML20 X-MESSENGER-OAUTH2 SCRAM-MD5 SCRAM-SHA-224
                  SCRAM-SHA-384 HT-SHA-256-NONE KERBEROS_V4 PASSDSS-3DES-1
                  plain Plain PLAIN-PLUS scram-sha-1 SCRAM-SHA-1- /,
              '', ' PLAIN', 'PLAIN ', 'SCRAM-SHA-1 PLAIN');

for my $mechanism (grep { !$offered{$_} } @others) {
    my $c = secure();

    $c->send_auth($mechanism, "\0alice\0alice-secret");
    is($c->recv_stanza()->error(), 'invalid-mechanism',
       "RFC 6120, 6.5.7: '$mechanism'");
    $c->drop();
}

# nor is what is nothing but a success of one's own

for my $xml ("<success xmlns='$NS{sasl}'/>",
             "<challenge xmlns='$NS{sasl}'/>",
             "<auth xmlns='$NS{sasl}'/>",
             "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>",
             "<iq type='set' id='1'><query xmlns='jabber:iq:auth'>"
             . '<username>alice</username><password>alice-secret</password>'
             . '<resource>r</resource></query></iq>',
             "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>")
{
    my $c = secure();

    $c->send($xml);
    my $answer = $c->recv_stanza();

    ok($answer->name() =~ /^(?:failure|error)$/ || length $answer->error(),
       "refused: $xml");
    $c->drop();
}

###############################################################################
# A name that has another owner by now: whoever has proved to be the first one
# is nobody to the second one's account, before binding and after it

sub owner {
    my ($verb, $password) = @_;

    is(($t->xmppctl($password, $verb, 'alice@second.test'))[0], 0,
       "xmppctl $verb");
}

sub secret { return $t->client('alice', domain => 'second.test', @_) }

{
    my $early = secret(password => 'other');

    $early->secure();
    $early->authenticate();
    $early->open_stream();

    owner(deluser => undef);

    # the dates of accounts have seconds

    my $now = time();
    Test::XMPP::Process::await(sub { time() > $now });

    owner(adduser => 'new owner');

    $early->iq('set', undef,
               "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>", id => 'b');
    ok($early->expect_stream_error('not-authorized'),
       'nobody binds to the account of another of the same name');

    my $owner = secret(password => 'new owner')->login();
    ok($owner->sync(), 'but its owner');
    $owner->close();
}

$t->done();
