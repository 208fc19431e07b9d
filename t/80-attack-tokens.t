#!/usr/bin/perl

# What must not be guessed: ids of streams and nonces have 128 bits of OpenSSL's
# generator, resources of the server's choice 64; never one twice, whichever
# worker made them.  RFC 6120, 4.7.3, 13.9 and 7.6.1; RFC 5802, 5.1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use MIME::Base64 qw/ decode_base64 /;
use Test::More;
use Test::XMPP;

my $n = 300;
my $t = Test::XMPP->new(users => [ 'alice' ], workers => 3)->only_ours();

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

# half of them from workers of before a reload, half from those after it: what
# they took over by fork must not show

my (@streams, @nonces, @resources, %pids);

for my $half (0, 1) {
    $t->reload() if $half;

    for my $i (1 .. $n / 2) {
        my $c = $t->client('alice', tls => 'none',
                           mechanism => 'SCRAM-SHA-1')->connect();

        $c->open_stream();
        push @streams, $c->{stream}->attr('id');

        my $sasl = $c->sasl();

        $c->send_auth('SCRAM-SHA-1', $sasl->first());
        my ($nonce) = $c->recv_challenge() =~ /^r=\Q$sasl->{nonce}\E([^,]*),/;
        push @nonces, $nonce;
        next if $i > 40;

        $c->send("<abort xmlns='$Test::XMPP::Client::NS{sasl}'/>");
        $c->expect('failure');
        $c->auth();
        push @streams, $c->{stream}->attr('id');
        push @resources, $c->bind() =~ m{/(.*)};
    }
}

unguessable('stream ids', 32, @streams);
unguessable('nonces', 22, @nonces);
unguessable('resources', 16, @resources);


# No two alike, as long as they must be, and no place in them tells anything:
# of what is drawn from n characters each comes about equally often.

sub unguessable {
    my ($what, $length, @all) = @_;
    my (%seen, %shared, $short);

    for (@all) {
        $seen{$_}++;
        $short++ if length $_ < $length;

        for my $size (8, 12) {
            $shared{$size}{ substr $_, 0, $size }++;
            $shared{-$size}{ substr $_, -$size }++;
        }
    }

    is(keys %seen, @all, "$what: " . @all . ' different ones');
    ok(!$short, "$what: $length characters at least");

    for my $size (sort { $a <=> $b } keys %shared) {
        my @twice = grep { $shared{$size}{$_} > 1 } keys %{ $shared{$size} };

        is("@twice", '', "$what: no two have $size characters in common");
    }

    for my $at (0 .. $length - 1) {
        my %here;

        $here{ substr $_, $at, 1 }++ for @all;

        my ($most) = sort { $b <=> $a } values %here;

        # 16 characters or more: more than half is no accident
        ok($most < @all / 2, "$what: character $at varies");
    }
}


###############################################################################
# No other generator is used anywhere

my $root = "$FindBin::Bin/../ngx_xmpp_module";
my @weak;

for my $file (glob "$root/*.c $root/*/*.c") {
    my $text = Test::XMPP::Process::slurp($file);

    push @weak, "$file: $1"
        while $text =~ /\b((?:ngx_)?random|s?rand|d?rand48|RAND_pseudo_bytes)
                        \s*\(/gx;
}

is(join("\n", grep { !m{/redis/} } @weak), '',
   'no weak generator in the sources, but for the pace of reconnections');

$t->done();
