#!/usr/bin/perl

# Limits, at their edge: what is just allowed works, one more is refused.
# RFC 6120, 13.12 asks for them; the conditions are those of 4.9.3.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Time::HiRes qw/ time /;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol / ])
                  ->only_ours();

# %%PORT_0%% small limits, %%PORT_1%% little time, %%PORT_2%% a small queue,
# %%PORT_3%% little time to send

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
        xmpp_max_sessions    4;
    }

    server {
        listen               127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
        xmpp_preauth_bytes   4k;
        xmpp_max_stanza      4096;
        xmpp_max_depth       8;
        xmpp_max_attributes  8;
        xmpp_max_elements    16;
        xmpp_auth_attempts   2;
    }

    server {
        listen               127.0.0.1:%%PORT_1%%;
        xmpp_c2s;
        xmpp_auth_timeout    1s;
    }

    server {
        listen               127.0.0.1:%%PORT_2%% sndbuf=32k;
        xmpp_c2s;
        xmpp_max_stanza      32k;
        xmpp_output_queue    128k;
    }

    server {
        listen               127.0.0.1:%%PORT_3%% sndbuf=32k;
        xmpp_c2s;
        xmpp_output_queue    64m;
        xmpp_send_timeout    1s;
    }

    server {
        listen               127.0.0.1:%%PORT_4%% ssl;
        xmpp_c2s;
        xmpp_auth_timeout    1s;
    }
}
EOF

$t->run();

sub plain {
    my ($user, %opt) = @_;

    return $t->client($user, tls => 'none', mechanism => 'SCRAM-SHA-1', %opt);
}

my $bob = plain('bob', port_number => 3, resource => 'b')->login();
my $to = $bob->jid();


###############################################################################
# The size of a stanza: RFC 6120, 13.12, 4; xmpp_max_stanza

sub sized {
    my ($size) = @_;

    my $empty = "<message to='$to'><body></body></message>";
    my $body = 'x' x ($size - length $empty);

    return $empty =~ s/<body>/<body>$body/r;
}

# two on one stream: the count starts anew, white space does not matter

my $alice = plain('alice')->login();

for my $n (1 .. 2) {
    $alice->send("\n " . sized(4096) . "\n");
    ok($bob->expect('message', from => $alice->jid(),
                    xpath => 'string-length(c:body) > 3900'),
       "xmpp_max_stanza: $n of exactly the limit");
}

$alice->send(sized(4097));
ok($alice->expect_stream_error('policy-violation'),
   'xmpp_max_stanza: one byte more');

my %endless = (
    'text'       => '<message><body>' . 'x' x 5000,
    'attribute'  => "<message to='" . 'x' x 5000,
    'name'       => '<' . 'x' x 5000,
    'CDATA'      => '<message><body><![CDATA[' . 'x' x 5000,
    'white space in a tag' => '<message' . ' ' x 5000,
    'small elements' => '<message>' . '<x></x>' x 10 . ' ' x 5000,
);

for my $what (sort keys %endless) {
    $alice = plain('alice')->login();
    $alice->send($endless{$what});
    ok($alice->expect_stream_error('policy-violation'),
       "xmpp_max_stanza: too much, and no end: $what");
}

# a flood is not read to its end

$alice = plain('alice')->login();
$alice->queue('<message><body>' . 'x' x 16_000_000);
$alice->wait(sub { defined $alice->{eof} || !$alice->wants_write() });
ok($alice->wait(sub { defined $alice->{eof} }), 'a flood is cut off');
cmp_ok($alice->{written}, '<', 16_000_000, 'not read to its end');
$alice->drop();


###############################################################################
# Depth, attributes, elements: the stanza itself counts

sub nested {
    my ($depth) = @_;

    return "<message to='$to'>" . '<x>' x ($depth - 1) . '</x>' x ($depth - 1)
           . '</message>';
}

sub attributes {
    my ($n) = @_;

    return "<message to='$to'><x " . join(' ', map { "a$_='1'" } 1 .. $n)
           . '/></message>';
}

sub elements {
    my ($n) = @_;

    return "<message to='$to'>" . '<x/>' x ($n - 1) . '</message>';
}

my %tls = (plain => [], TLS => [ tls => 'starttls' ]);

for my $tls (sort keys %tls) {
    edge("$tls: xmpp_max_stanza", 4096, \&sized, $tls);
    edge("$tls: xmpp_max_depth", 8, \&nested, $tls);
    edge("$tls: xmpp_max_attributes", 8, \&attributes, $tls);
    edge("$tls: xmpp_max_elements", 16, \&elements, $tls);
}

sub edge {
    my ($what, $limit, $make, $tls) = @_;

    my $c = plain('alice', @{ $tls{$tls} })->login();

    for (1 .. 2) {
        $c->send($make->($limit));
        ok($bob->expect('message', from => $c->jid()), "$what: the limit");
    }

    $c->send($make->($limit + 1));
    ok($c->expect_stream_error('policy-violation'), "$what: one more");
    ok($bob->expect_nothing(from => plain('carol')->login()),
       'which is not delivered');
}

# the namespaces that a header declares: 2048 bytes, xml:lang 255; a header
# has room for less than that where nobody is authenticated, so %%PORT_3%%

sub header {
    my (%opt) = @_;

    my $c = plain('alice', port_number => 3)->connect();
    my $lang = $opt{lang} ? " xml:lang='" . 'e' x $opt{lang} . "'" : '';

    # "<stream:stream", three declarations, " >", and the default one once
    # more; a place for a colon is reserved in each

    my $own = 1 + length("<stream:stream xmlns='jabber:client' xmlns:stream='"
                     . "http://etherx.jabber.org/streams' xmlns:a='' >"
                     . 'jabber:client');
    my $more = $opt{spaces} ? " xmlns:a='" . 'x' x ($opt{spaces} - $own) . "'"
                            : '';

    $c->send("<?xml version='1.0'?>"
             . "<stream:stream xmlns='jabber:client' xmlns:stream='http:"
             . "//etherx.jabber.org/streams'$more to='localhost' "
             . "version='1.0'$lang>");
    $c->recv_header();

    return $c;
}

for my $limit ([ spaces => 2048 ], [ lang => 255 ]) {
    my ($what, $n) = @$limit;

    ok(header($what => $n)->recv_features(), "header, $what: $n bytes");
    ok(header($what => $n + 1)->expect_stream_error('policy-violation'),
       "header, $what: one more");
}

# before authentication: 32 elements, 8 deep; then what is sent is not known

for my $limit ([ 'elements', 32, sub { '<x/>' x ($_[0] - 1) } ],
               [ 'depth', 8, sub { '<x>' x ($_[0] - 1)
                                   . '</x>' x ($_[0] - 1) } ])
{
    my ($what, $n, $make) = @$limit;

    for my $tls (sort keys %tls) {
        for my $more (0, 1) {
            my $c = plain('alice', port_number => 3, @{ $tls{$tls} });

            $c->secure();
            $c->send("<a xmlns='urn:x'>" . $make->($n + $more) . '</a>');
            ok($c->expect_stream_error($more ? 'policy-violation'
                                             : 'not-authorized'),
               "$tls: $what before authentication: $n and $more");
        }
    }
}

# deep and never closed: no recursion anywhere

my $deep = plain('alice')->login();
$deep->send('<message>' . '<a>' x 1000);
ok($deep->expect_stream_error('policy-violation'), 'depth of 1000');


###############################################################################
# Before authentication: bytes, attempts

my $c;

for my $tls (sort keys %tls) {
    my $needs = spent($tls, 0)->{spent};
    my $outcome;

    $c = spent($tls, 4096 - $needs, \$outcome);
    is($c->{spent}, 4096, "$tls: xmpp_preauth_bytes: the limit");
    is($outcome->name(), 'success', 'is enough');
    ok(eval { $c->open_stream(); $c->bind() }, 'to log in') or diag $@;
    $c->send(' ' x 5000);
    ok($c->sync(), 'and there is no such limit afterwards');

    spent($tls, 4097 - $needs, \$outcome);
    ok($outcome->is('error', $Test::XMPP::Client::NS{stream})
       && $outcome->error() eq 'policy-violation',
       "$tls: xmpp_preauth_bytes: one more");
}

# Authenticates, with so many blanks before; how many bytes of XML that took
# is in {spent}.

sub spent {
    my ($tls, $blanks, $outcome) = @_;

    my $c = bless plain('alice', @{ $tls{$tls} }), 'Counting';

    $c->secure();
    $c->send(' ' x $blanks);

    # a nonce of its own would not always be as long

    my $answer = $c->authenticate(nonce => 'n' x 24);
    $$outcome = $answer if $outcome;

    return $c;
}

for my $what (' ', "<auth xmlns='urn:x'>", 'x') {
    $c = plain('alice')->connect();
    $c->open_stream();
    $c->send($what eq 'x' ? "<auth xmlns='$Test::XMPP::Client::NS{sasl}' "
                            . "mechanism='PLAIN'>" . 'x' x 4096
                          : substr($what x 4096, 0, 4096));
    ok($c->expect_stream_error('policy-violation'),
       "xmpp_preauth_bytes: more: '$what'");
}

$c = plain('alice')->connect();
$c->send("<?xml version='1.0'?><stream:stream a='" . 'x' x 4096);
ok($c->recv_header() && $c->expect_stream_error('policy-violation'),
   'xmpp_preauth_bytes: a header without end');

# also behind TLS, and restarts do not start it anew

$c = $t->client('alice');
$c->secure();
$c->send(' ' x 4096);
ok($c->expect_stream_error('policy-violation'),
   'xmpp_preauth_bytes: behind TLS');

$c = plain('alice')->connect();
$c->open_stream();
is($c->authenticate(password => 'wrong')->error(), 'not-authorized',
   'xmpp_auth_attempts: the first of two');
my $outcome = $c->authenticate(password => 'wrong');
ok($outcome && ($outcome->is('error')
                || $outcome->error() eq 'not-authorized'
                   && $c->expect_stream_error('policy-violation')),
   'xmpp_auth_attempts: the second is the last');


###############################################################################
# Time: xmpp_auth_timeout

my $online = plain('alice', port_number => 1)->login();
my $begin = time();

my %late = (
    'nothing sent' => sub { },
    'half a header' => sub { $_[0]->send("<?xml version='1.0'?><stream:") },
    'header' => sub { $_[0]->open_stream() },
    'half an exchange' => sub {
        $_[0]->open_stream();
        $_[0]->send_auth('SCRAM-SHA-1', 'n,,n=alice,r=x');
        $_[0]->recv_challenge();
    },
    'no handshake' => sub {
        $_[0]->open_stream();
        $_[0]->send("<starttls xmlns='$Test::XMPP::Client::NS{tls}'/>");
        $_[0]->expect('proceed');
    },
    'drip' => sub { $_[0]->open_stream() },
);

my %clients;

for my $what (sort keys %late) {
    $clients{$what} = plain('alice', port_number => 1)->connect();
    $late{$what}->($clients{$what});
}

$clients{'direct TLS, no handshake'}
    = plain('alice', port_number => 4)->connect();

my $drip = $clients{drip};

# white space now and then does not help

while (!defined $drip->{eof} && time() - $begin < 20) {
    $drip->queue(' ');
    $drip->wait(sub { defined $drip->{eof} }, 0.1);
}

for my $what (sort keys %clients) {
    my $client = $clients{$what};

    ok($client->wait(sub { defined $client->{eof} }),
       "xmpp_auth_timeout: closed: $what");

    my ($error) = map { $_->[1]->error() }
                  grep { $_->[0] eq 'stanza'
                         && $_->[1]->is('error',
                                        $Test::XMPP::Client::NS{stream}) }
                  @{ $client->{events} };
    like($error // '', qr/^(?:connection-timeout|policy-violation)$/,
         'RFC 6120, 4.9.3.4: and told so') if $what =~ /header$|drip/;
}

my $took = time() - $begin;
cmp_ok($took, '<', 5, "in time: $took");
ok($online->sync(), 'who is logged in may be idle');
$online->close();


###############################################################################
# Sessions of an account: xmpp_max_sessions, on two hosts together.  The oldest
# gives way: a client that crashes and comes back under ever new names does not
# lock its user out.

my @sessions = map { plain('carol', port_number => 3, on => $_ % 2)
                         ->login()->available() } 1 .. 4;

$_->sync() && $_->drain() for @sessions;
ok($_->sync(), 'xmpp_max_sessions: as many as that') for @sessions;

for my $host (0, 1) {
    my $oldest = shift @sessions;

    push @sessions, plain('carol', port_number => 3, on => $host)
                        ->login()->available();

    ok($oldest->pick('error', ns => $Test::XMPP::Client::NS{stream},
                     error => 'conflict'),
       'RFC 6120, 4.9.3.3: xmpp_max_sessions: one more, the oldest goes');
    ok($_->pick('presence', from => $oldest->jid(), type => 'unavailable'),
       'RFC 6121, 4.5.2: and the others hear of it') for @sessions[0 .. 2];
    ok($_->sync(), 'they stay') for @sessions;
    $oldest->drop();
}

# replacing a resource needs no room

my $resource = $sessions[0]->jid() =~ s{^[^/]*/}{}r;
my $again = plain('carol', port_number => 3, resource => $resource)->login();

ok($sessions[0]->pick('error', ns => $Test::XMPP::Client::NS{stream},
                      error => 'conflict'), 'one is replaced');
ok($_->sync(), 'nobody else goes') for @sessions[1 .. 3], $again;
$_->drop() for shift @sessions;

# what a crash has left goes before those who live

$_->close() for @sessions;
ok($t->redis()->command('HSET', 'xmpp:{carol@localhost}:sessions',
                        map { ("rcrash$_", "$_ gone.$_ gone 0") } 1 .. 3),
   'records of a worker that was killed');
@sessions = ($again, map { plain('carol', port_number => 3, on => $_ % 2)
                               ->login() } 1 .. 3);
ok($_->sync(), 'xmpp_max_sessions: records without a session go first')
    for @sessions;
is_deeply([ sort grep { /^r/ }
            @{ $t->redis()->command('HKEYS',
                                    'xmpp:{carol@localhost}:sessions') } ],
          [ sort map { $_->jid() =~ s{^[^/]*/}{r}r } @sessions ],
          'none of them is left');
$_->close() for @sessions;


###############################################################################
# A reader that stops reading is closed, and harms nobody else

sub slow_reader {
    my ($what, $port, $pace) = @_;

    my $deaf = plain('bob', port_number => $port, resource => 'deaf',
                     rcvbuf => 4096)->login();
    my $other = plain('carol', resource => 'c')->login();
    my $sender = plain('alice', port_number => 3, resource => 's')->login();

    $deaf->{deaf} = 1;

    my ($sent, $gone) = (0, 0);
    my $stop = time() + 30;
    my $body = 'x' x 16000;

    # bob/deaf is no resource any more when this comes back as an error

    while (!$gone && time() < $stop) {
        $sender->message($deaf->jid(), $body, type => 'groupchat');
        $sender->message($other->jid(), ++$sent, type => 'headline');

        if ($sent % 16 == 0) {
            $sender->sync() or last;
            $gone = grep { $_->is('message')
                           && ($_->attr('type') // '') eq 'error' }
                    $sender->drain();
            $pace->($sent, $sender);
        }
    }

    ok($gone, "$what: closed after $sent messages");
    $sender->sync();

    is(join(' ', map { my $got = $other->recv_stanza();
                       $got ? $got->body() : '-' } 1 .. $sent),
       join(' ', 1 .. $sent), "$what: another session got all of its own");
    ok($_->sync(), 'and lives') for $other, $sender;

    $deaf->{deaf} = 0;
    ok($deaf->wait(sub { defined $deaf->{eof} }), "$what: the socket as well");
    $_->close() for $other, $sender;

    return $sent;
}

my $messages = slow_reader('xmpp_output_queue', 2, sub { });
cmp_ok($messages * 16000, '<', 4_000_000, 'soon after the limit');

# With a queue that takes everything the clock decides.  Between the messages
# wait a little for whatever comes, so that the second can pass.

$messages = slow_reader('xmpp_send_timeout', 3, sub {
    my ($sent, $sender) = @_;
    $sender->wait(sub { @{ $sender->{events} } }, 0.2) if $sent > 200;
});
cmp_ok($messages * 16000, '<', 32_000_000, 'long before the queue was full');

$t->done();


###############################################################################
# A client that counts what it sends, TLS or not

package Counting;

use parent -norequire, 'Test::XMPP::Client';

sub send {
    my ($self, $data) = @_;

    utf8::encode($data) if utf8::is_utf8($data);
    $self->{spent} += length $data;

    return $self->SUPER::send($data);
}
