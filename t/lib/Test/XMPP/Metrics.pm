package Test::XMPP::Metrics;

# Asks a host's http{} for what its workers have counted, by plain HTTP.

use strict;
use warnings;

use HTTP::Tiny;

use Test::XMPP::Process;

our $CONFIG = <<'EOT';
%%GLOBALS%%
events {
    worker_connections  1024;
}

http {
    %%HTTP%%

    server {
        listen  127.0.0.1:%%PORT_2%%;

        location = /metrics {
            xmpp_metrics;
        }
%%LOCATIONS%%
    }
}

stream {
    xmpp_redis  unix:%%REDIS%%;
    %%STREAM%%

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%% reuseport;
        xmpp_c2s;
    }
}
EOT


# The configuration of one host, with more lines of stream{} and of server{}

sub config {
    my (%more) = @_;

    return $CONFIG =~ s/%%STREAM%%/$more{stream} \/\/ ''/er
                   =~ s/%%LOCATIONS%%/$more{locations} \/\/ ''/er;
}


# request($t, method, path, header => value, ...): HTTP::Tiny's answer

sub request {
    my ($t, $method, $path, %headers) = @_;
    my $on = delete $headers{on} // 0;

    return HTTP::Tiny->new(timeout => 20)->request($method,
        'http://127.0.0.1:' . $t->port(2, $on) . $path,
        { headers => \%headers });
}


# All figures of a host: "stanzas_total{...}" => value, without the prefix

sub read {
    my ($t, %opt) = @_;
    my $answer = request($t, 'GET', '/metrics', %opt);

    die "$answer->{status} $answer->{content}\n" unless $answer->{success};

    return { $answer->{content} =~ /^ngx_xmpp_(\S+) (\S+)$/mg };
}


# Waits until $sub->(the figures) is true; returns them, or undef

sub await {
    my ($t, $sub) = @_;
    my $now;

    Test::XMPP::Process::await(sub {
        $sub->($now = Test::XMPP::Metrics::read($t));
    })
        or return;

    return $now;
}


1;
