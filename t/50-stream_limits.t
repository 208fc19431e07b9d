#!/usr/bin/perl

# Stream limits: XEP-0478.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ 'alice' ])
                  ->only_ours('has limits of its own');

# %%PORT_0%% the defaults, %%PORT_1%% others, %%PORT_2%% a small stanza

$t->config(<<'EOT');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis           unix:%%REDIS%%;
    xmpp_starttls        on;
    ssl_certificate      %%TESTDIR%%/localhost.pem;
    ssl_certificate_key  %%TESTDIR%%/localhost.key;

    xmpp_host localhost { }
    xmpp_host second.test { xmpp_stream_limits off; }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }

    server {
        listen              127.0.0.1:%%PORT_1%%;
        xmpp_c2s;
        xmpp_preauth_bytes  3000;
        xmpp_max_stanza     20000;
        xmpp_idle_timeout   90500ms;
    }

    server {
        listen             127.0.0.1:%%PORT_2%%;
        xmpp_c2s;
        xmpp_max_stanza    10000;
        xmpp_preauth_bytes 20000;
        xmpp_idle_timeout  0;
    }
}
EOT

$t->run();

my $limits = '*[local-name() = "limits" '
             . 'and namespace-uri() = "urn:xmpp:stream-limits:0"]';


sub limit {
    my ($features, $name) = @_;

    return scalar $features->find("$limits/*[local-name() = '$name' and "
        . "namespace-uri() = 'urn:xmpp:stream-limits:0']");
}


# an element of so many bytes that SASL refuses

sub element {
    my ($size) = @_;

    my $frame = "<auth xmlns='$Test::XMPP::Client::NS{sasl}' "
                . "mechanism='none'></auth>";

    return $frame =~ s/></'>' . 'A' x ($size - length $frame) . '<'/er;
}


###############################################################################
# Before authentication: what the listener still takes then

for my $case ([ 'the default', 0, 8192 ], [ 'less', 1, 3000 ]) {
    my ($name, $port, $bound) = @$case;

    for my $more (0, 1) {
        my $c = $t->client('alice', port_number => $port)->connect();
        my $features = $c->open_stream();
        my $bytes = limit($features, 'max-bytes');

        is(scalar(() = $features->find($limits)), 1,
           "XEP-0478, 3.1: $name: told once") or next;
        is($bytes, $bound - length $c->header(),
           "XEP-0478, 3.1: $name: what is left of $bound bytes");
        is(scalar(() = $features->find("$limits/*")), 1,
           "XEP-0478, 3.1: $name: it is not idle before authentication");

        $c->send(element($bytes + $more));

        if ($more) {
            $c->expect_stream_error('policy-violation');
        } else {
            ok($c->expect(name => 'failure',
                          ns => $Test::XMPP::Client::NS{sasl}),
               "XEP-0478, 3.1: $name: so many bytes are taken");
        }
    }
}

{
    my $c = $t->client('alice', port_number => 2)->connect();

    is(limit($c->open_stream(), 'max-bytes'), 10000,
       'XEP-0478, 3.1: never more than a stanza may have');

    my $left = limit($c->starttls(), 'max-bytes');

    is($left, 10000, 'XEP-0478, 3.1: nor behind STARTTLS');
}


###############################################################################
# After it

for my $case ([ 0, 262144, 600 ], [ 1, 20000, 90 ], [ 2, 10000, undef ]) {
    my ($port, $bytes, $idle) = @$case;

    for my $more (0, 1) {
        my $c = $t->client('alice', port_number => $port)->login();

        is(limit($c->{features}, 'max-bytes'), $bytes,
           'XEP-0478, 4: max-bytes after authentication');
        is(limit($c->{features}, 'idle-seconds'), $idle,
           'XEP-0478, 3.1: idle-seconds, or none');

        my $id = $c->id();
        my $ping = "<iq type='get' id='$id'><ping xmlns='urn:xmpp:ping'/>";
        my $pad = $bytes + $more - length "$ping</iq>";

        $c->send($ping . ' ' x $pad . '</iq>');

        if ($more) {
            $c->expect_stream_error('policy-violation');
        } else {
            is($c->answer($id)->attr('type'), 'result',
               'XEP-0478, 3.1: a stanza of so many bytes is taken');
        }
    }
}


###############################################################################
# Where it is off

my $c = $t->client('alice', domain => 'second.test')->connect();

ok(!$c->open_stream()->test($limits), 'off: nothing is told');

$t->done();
