#!/usr/bin/perl

# Amplification: what is small on the wire and large in memory, like prefixes
# that stand for long namespaces, elements before authentication, characters
# that are escaped; one stanza that becomes many; errors that answer errors.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ], workers => 1)
                  ->only_ours('has limits of its own');

$t->config(<<'EOF');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_starttls       on;
    xmpp_presence_size  256k;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOF

$t->run();

sub plain {
    my ($user, %opt) = @_;

    return $t->client($user, tls => 'none', mechanism => 'SCRAM-SHA-1', %opt);
}


###############################################################################
# Before authentication a connection has little

my %flood = (
    'elements' => '<x>' . '<a/>' x 100,
    'depth' => '<a>' x 10,
    'a long namespace' => "<x xmlns:p='urn:" . 'u' x 7000 . "'>"
                          . '<p:a/>' x 20,
);

for my $what (sort keys %flood) {
    my $c = plain('alice')->connect();

    $c->open_stream();
    $c->send($flood{$what});
    ok($c->expect_stream_error('policy-violation'),
       "before authentication: $what");
}


###############################################################################
# A prefix is no way to repeat a long namespace

my $bob = plain('bob', resource => 'b')->login();
my $to = $bob->jid();
my $p = "xmlns:p='urn:" . 'u' x 60_000 . "'";

my %long = (
    'of elements'   => "<x xmlns='urn:x' $p>" . '<p:a/>' x 100 . '</x>',
    'of attributes' => "<x $p>" . "<a p:a=''/>" x 100 . '</x>',
);

for my $what (sort keys %long) {
    my $alice = plain('alice')->login();

    $alice->send("<message to='$to'>$long{$what}</message>");
    ok($alice->expect_stream_error('policy-violation'),
       "a namespace too long and too often: $what");
}

ok($bob->sync(), 'nobody else notices');

my $alice = plain('alice')->login();

$alice->send("<message to='$to'><x xmlns='urn:x' xmlns:p='urn:"
             . 'u' x 100 . "'>" . '<p:a/>' x 100 . '</x></message>');
ok($bob->expect('message', xpath => "count(*/*) = 100"),
   'as it is used in practice, it is delivered');


###############################################################################
# Escaped, a stanza within the limit may be longer than xmpp_output_queue

for my $stanza ("<message to='$to'><x a='" . '"' x 250_000 . "'/></message>",
                "<message to='$to'><body>" . '>' x 250_000
                . '</body></message>')
{
    $alice->send($stanza) for 1, 2;

    for my $n (1, 2) {
        ok($bob->expect('message', xpath => 'string-length(*/@a) = 250000'
                                            . ' or string-length(c:body)'
                                            . ' = 250000'),
           "a stanza that grows is delivered: $n");
    }
}



###############################################################################
# One stanza that becomes many: who was sent directed presence is told of the
# end.  RFC 6121, 4.6.3

my ($pid) = $t->workers();
my $many = 1024;

$alice = plain('alice')->login();
$alice->presence(to => $to);
$alice->presence(to => "bob\@localhost/$_") for 2 .. $many;
$alice->presence(to => "bob\@localhost/more");
ok($alice->pick('presence', type => 'error'), 'so many, and no more');
$bob->expect('presence', from => $alice->jid(), type => undef);

# long addresses, of nobody, are fewer: the worker remembers them

{
    my $other = plain('alice')->login();

    $other->presence(to => sprintf('bob@localhost/%03d', $_) . 'r' x 1000)
        for 1 .. 200;
    $other->sync();

    my $refused = grep { $_->error() eq 'wait resource-constraint' }
                  $other->drain();

    is($refused, 200 - 128, 'long addresses: 128 kB of them, and no more');
    $other->close();
}

my $before = peak();

$alice->presence(type => 'unavailable', status => 'x' x 250_000);
ok($alice->sync(), 'a long presence that becomes many is handled');
ok($bob->expect('presence', from => $alice->jid(), type => 'unavailable'),
   'RFC 6121, 4.6.3: whoever was told is told of the end');
cmp_ok(peak() - $before, '<', 32 * 1024, 'kilobytes that it took');

$alice->presence(to => $to);
$bob->expect('presence', from => $alice->jid(), type => undef);
$alice->presence(type => 'unavailable', status => 'x' x 250_000);
ok($bob->expect('presence', from => $alice->jid(), type => 'unavailable',
                xpath => 'string-length(c:status) = 250000'),
   'to few it says all it has to say');


# the most memory that the worker ever had, in kB

sub peak {
    my ($kilobytes) = Test::XMPP::Process::slurp("/proc/$pid/status")
                      =~ /^VmHWM:\s+(\d+)/m;

    return $kilobytes;
}


###############################################################################
# Errors and results are never answered, so two that answer all they hear
# cannot keep each other busy: RFC 6120, 8.3.1

for my $to ($to, 'bob@localhost', 'bob@localhost/none', 'nobody@localhost',
            'localhost', 'nowhere.test', 'alice@localhost', '@')
{
    my $error = "<error type='cancel'><item-not-found "
                . "xmlns='$Test::XMPP::Client::NS{stanzas}'/></error>";

    $alice->message($to, undef, type => 'error', xml => $error);
    $alice->presence(to => $to, type => 'error', xml => $error);
    $alice->iq('error', $to, $error);
    $alice->iq('result', $to, '');
    ok($alice->expect_nothing(), "nothing comes back from '$to'");
}

$bob->sync();
is((grep { ($_->attr('type') // '') !~ /^(?:error|result)$/ } $bob->drain())
   + 0, 0, 'and nothing else goes there');

$t->done();
