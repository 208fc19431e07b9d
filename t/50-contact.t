#!/usr/bin/perl

# Contact addresses of the service: XEP-0157, XEP-0128.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ]);

sub config {
    my ($stream, $host) = @_;

    return <<"EOT";
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis           unix:%%REDIS%%;
    ssl_certificate      %%TESTDIR%%/localhost.pem;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;
    $stream

    xmpp_host localhost { $host }
    xmpp_host second.test { }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOT
}

# the peers are told the same by t/peers/

$t->config(config('xmpp_contact security https://example.org/security;', <<'E'))
xmpp_contact abuse mailto:abuse@localhost xmpp:abuse@localhost;
xmpp_contact admin xmpp:admin@localhost;
xmpp_contact admin mailto:admin@localhost;
E
    if $t->ours();

$t->run();

my $alice = $t->client('alice')->login();
my $form = '*[local-name() = "x" and namespace-uri() = "jabber:x:data"]';
my $value = '*[local-name() = "value"]';


sub info {
    my ($host) = @_;

    return $alice->query('get', $host,
                         "<query xmlns='$Test::XMPP::Client::NS{info}'/>");
}


# the values of a field

sub field {
    my ($answer, $var) = @_;

    return join ' ', sort map { $_->textContent() }
        $answer->find("info:query/$form/*[local-name() = 'field' "
                      . "and \@var = '$var']/$value");
}


my $answer = info($t->domain());

is(scalar(() = $answer->find("info:query/$form")), 1, 'XEP-0128, 3: a form');
ok($answer->test("info:query/$form/\@type = 'result'"),
   'XEP-0128, 3: of type result');
is(field($answer, 'FORM_TYPE'), 'http://jabber.org/network/serverinfo',
   'XEP-0157, 3: FORM_TYPE');
ok($answer->test("info:query/$form/*[\@var = 'FORM_TYPE']/\@type = 'hidden'"),
   'XEP-0128, 3: it is hidden');
is(field($answer, 'abuse-addresses'),
   'mailto:abuse@localhost xmpp:abuse@localhost', 'XEP-0157, 3: of one type');
is(field($answer, 'admin-addresses'),
   'mailto:admin@localhost xmpp:admin@localhost', 'XEP-0157, 3: of another');

$t->done() and exit unless $t->ours();

is(field($answer, 'security-addresses'), '', 'those of stream are replaced');
is(field(info('second.test'), 'security-addresses'),
   'https://example.org/security', 'or taken where there are no others');

ok(!$alice->query('get', $alice->bare(),
                  "<query xmlns='$Test::XMPP::Client::NS{info}'/>")
          ->test("info:query/$form"), 'accounts have none');


###############################################################################
# What the configuration may say

my $nginx = $t->start_host(idle => 1);

$nginx->expect_log(qr/\[emerg\]/);

for my $good (map({ "$_ xmpp:a" } qw/ abuse admin feedback sales security
                                      status support /),
              'abuse mailto:a%40b@c?subject=x', 'abuse tel:+49-30-1',
              'abuse https://[2001:db8::1]/a#b')
{
    my ($status, $output) = $nginx->test_config(
        config('', "xmpp_contact $good;"));

    is($status, 0, "taken: $good") or diag($output);
}

for my $case ([ 'abused xmpp:a', qr/unknown type "abused" .*"abuse", "admin"/ ],
              [ 'abus xmpp:a', qr/unknown type "abus" / ],
              [ '"" xmpp:a', qr/unknown type "" / ],
              [ 'Abuse xmpp:a', qr/unknown type "Abuse" / ],
              [ 'abuse', qr/invalid number of arguments/ ],
              [ 'abuse a@b', qr/"a\@b" .* no URI: .* with a scheme/ ],
              [ 'abuse :a', qr/with a scheme/ ],
              [ 'abuse 1a:b', qr/with a scheme/ ],
              [ 'abuse ""', qr/with a scheme/ ],
              [ 'abuse mailto:', qr/nothing behind its scheme/ ],
              [ 'abuse xmpp:a mailto:', qr/"mailto:" .* nothing behind/ ],
              [ 'abuse "mailto:a b"', qr/percent-encoded/ ],
              [ 'abuse mailto:<a>', qr/percent-encoded/ ],
              [ "abuse mailto:\x{E4}", qr/percent-encoded/ ],
              [ 'abuse mailto:a%4', qr/two hexadecimal digits/ ],
              [ 'abuse mailto:a%4g', qr/two hexadecimal digits/ ])
{
    my ($bad, $message) = @$case;
    my ($status, $output) = $nginx->test_config(
        config('', "xmpp_contact $bad;"));

    isnt($status, 0, "refused: $bad");
    like($output, qr/$message.* in \S+:\d+$/m, 'and told why');
}

my ($status, $output) = $nginx->test_config(
    config('', '') =~ s/xmpp_c2s;/$& xmpp_contact abuse xmpp:a;/r);

like($output, qr/"xmpp_contact" directive is not allowed in a server/,
     'not in a server');

$t->done();
