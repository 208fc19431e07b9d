#!/usr/bin/perl

# Discovery by the web server of a domain: XEP-0156, RFC 6415.  Both documents,
# what is in them for which name, and what becomes of all other requests.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use IO::Socket::SSL;
use JSON::PP qw/ decode_json /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Metrics;
use XML::LibXML;

my $XRD = 'http://docs.oasis-open.org/ns/xri/xrd-1.0';
my $REL = 'urn:xmpp:alt-connections:websocket';
my $STRANGE = q{wss://chat.test/a&b<c>'};

my $t = Test::XMPP->new(users => [ 'alice' ],
    domains => [ qw/ localhost second.test third.test bücher.test / ]);

$t->only_ours('its own web server');

# certificates are those of the first domain for all: Host is what counts here

my $tls = 'ssl_certificate %%TESTDIR%%/localhost.pem;
           ssl_certificate_key %%TESTDIR%%/localhost.key;';
my $hosts = join "\n", map { "xmpp_host $_ { $tls }" }
            qw/ localhost second.test third.test bücher.test off.test /;

my $config = <<"EOT";
%%GLOBALS%%
events { worker_connections 1024; }

http {
    %%HTTP%%
    $tls

    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        server_name localhost *.localhost xn--bcher-kva.test;
        xmpp_host_meta on;

        location = /ws { xmpp_websocket; }
        location "/a b&c" { xmpp_websocket; }
        location ~ ^/regex { xmpp_websocket; }
        location / { try_files \$uri \@other; }
        location \@other { xmpp_metrics; }
        location = /.well-known/host-meta.json { xmpp_metrics; }
    }

    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        server_name second.test;
        xmpp_host_meta on;
    }

    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        server_name third.test;
        xmpp_host_meta "$STRANGE" wss://other.test/;
    }

    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        server_name nobody.test;
        xmpp_host_meta on;
        location / { xmpp_metrics; }
    }

    server {
        listen 127.0.0.1:%%PORT_2%% ssl;
        server_name off.test;
    }

    server {
        listen 127.0.0.1:%%PORT_3%%;
        server_name localhost;
        xmpp_host_meta on;
        location = /plain { xmpp_websocket; }
        location = /.well-known/host-meta { deny all; }
    }
}

stream {
    xmpp_redis unix:%%REDIS%%;
    $hosts
    server { listen 127.0.0.1:%%PORT_0%%; xmpp_c2s; }
}
EOT

$t->config($config);
$t->run();

my $port = $t->port(2);


# request(host, path, [method, port without TLS]): (status, headers, body)

sub request {
    my ($host, $path, $method, $plain) = @_;
    my $sock = $plain
        ? IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $plain)
        : IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $port,
                               SSL_ca_file => $t->ca_file(),
                               SSL_verifycn_scheme => 'none');

    die "cannot connect: $!\n" unless $sock;

    print $sock "@{[ $method // 'GET' ]} $path HTTP/1.1\r\nHost: $host\r\n"
                . "Connection: close\r\n\r\n";

    my $answer = do { local $/; <$sock> };
    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    my ($status) = $head =~ /^HTTP\/1\.1 (\d+)/;

    return ($status, { map { lc } $head =~ /^([\w-]+): (.*?)\r?$/mg }, $body);
}

# the addresses in both documents of a name, as one string

sub links {
    my ($host, $plain) = @_;
    my (undef, undef, $xrd) = request($host, '/.well-known/host-meta', 'GET',
                                      $plain);
    my (undef, undef, $jrd) = request($host, '/.well-known/host-meta.json',
                                      'GET', $plain);

    my $xpath = XML::LibXML::XPathContext->new(
        XML::LibXML->load_xml(string => $xrd));

    $xpath->registerNs(x => $XRD);

    my @xrd = map { $_->getAttribute('href') }
              $xpath->findnodes("/x:XRD/x:Link[\@rel='$REL']");
    my @jrd = map { $_->{href} } grep { $_->{rel} eq $REL }
              @{ decode_json($jrd)->{links} };

    return "@xrd" eq "@jrd" ? "@xrd" : "XRD: @xrd, JRD: @jrd";
}


###############################################################################
# The documents

my ($status, $headers, $body) = request("localhost:$port",
                                        '/.well-known/host-meta');

is($status, 200, 'XEP-0156, 2.2: XRD');
is($headers->{'content-type'}, 'application/xrd+xml', 'RFC 6415, 2: its type');
is($headers->{'access-control-allow-origin'}, '*',
   'XEP-0156, 3: for scripts of any origin');
like($body, qr/^<\?xml version='1\.0' encoding='UTF-8'\?>\n<XRD /,
     'RFC 6415, 3.1: it is XML');

($status, $headers) = request("localhost:$port", '/.well-known/host-meta.json');

is($status, 200, 'XEP-0156, 2.2: JRD, whatever else has its location');
is($headers->{'content-type'}, 'application/json', 'RFC 6415, A: its type');
is($headers->{'access-control-allow-origin'}, '*', 'for any origin');


###############################################################################
# What is in them

my $ws = "wss://localhost:$port";

is(links("localhost:$port"), "$ws/ws $ws/a%20b&c",
   'XEP-0156, 2.3: what the server has, but a regular expression');
is(links("LOCALHOST:$port"), "$ws/ws $ws/a%20b&c", 'in lower case');
is(links('localhost'), 'wss://localhost/ws wss://localhost/a%20b&c',
   'at the port that was asked: 443, as the client knows it');
is(links('xn--bcher-kva.test'),
   'wss://xn--bcher-kva.test/ws wss://xn--bcher-kva.test/a%20b&c',
   'RFC 7622, 3.2: a name with other letters');
is(links("second.test:$port"),
   "$ws/ws $ws/a%20b&c wss://localhost/plain",
   'what others have, by their names and ports');
is(links("third.test:$port"), "$STRANGE wss://other.test/",
   'what was said instead');


# what is told answers, and is counted as what it is

my ($path) = links("localhost:$port") =~ m{^wss://[^/]+(\S+)};
my $alice = $t->client('alice', websocket => 1, path => $path)->login();

ok($alice->sync(), 'a client logs in there');
like((request('localhost', '/figures'))[2],
     qr/^ngx_xmpp_sessions\{transport="websocket"\} 1$/m,
     'and is a session of WebSocket, in the figures');


###############################################################################
# All other requests

my $meta = '/.well-known/host-meta';

($status, undef, $body) = request('nobody.test', $meta);
is($status, 200, 'a domain of nobody');
like($body, qr/^# TYPE/, 'is left to its location');
is((request('off.test', $meta))[0], 404, 'so it is without the directive');
is((request('localhost', "$meta.xml"))[2] =~ /^# TYPE/, 1,
   'and any other address');
is((request('localhost', "$meta?resource=x"))[0], 200, 'a query means nothing');

($status, $headers, $body) = request('localhost', $meta, 'HEAD');
is("$status $body", '200 ', 'RFC 9110, 9.3.2: HEAD');
ok($headers->{'content-length'} > 100, 'tells how long it is');

($status, $headers) = request('localhost', $meta, 'POST');
is($status, 405, 'RFC 9110, 15.5.6: POST');
is($headers->{allow}, 'get, head', 'and what is allowed');

is((request('localhost', $meta, 'GET', $t->port(3)))[0], 403,
   'rules of access are heeded');

($status, undef, $body) = request('localhost', "$meta.json", 'GET',
                                  $t->port(3));
is(decode_json($body)->{links}[0]{href}, 'wss://localhost/plain',
   'XEP-0156, 2.2: wss, also behind who ends TLS in front');


###############################################################################
# What is set up wrong

sub refused {
    my ($name, $line, $why) = @_;
    my $host = $t->start_host(idle => 1);
    my $wrong = $config =~ s/xmpp_host_meta on;/$line/r;
    my ($status, $output) = $host->test_config($wrong);

    $host->expect_log(qr/\[emerg\]/);
    isnt($status, 0, "$name is refused");
    like($output, $why, 'and told why');
}

refused('an address without TLS', 'xmpp_host_meta ws://x/;',
        qr/invalid value "ws:\/\/x\/".*begin with "wss:/);
refused('a word', 'xmpp_host_meta maybe;', qr/invalid value "maybe"/);
refused('twice', 'xmpp_host_meta on; xmpp_host_meta off;', qr/is duplicate/);

my $alone = $t->start_host(idle => 1);

$alone->expect_log(qr/\[emerg\]/);
($status, $body) = $alone->test_config(
    "%%GLOBALS%%\nevents { }\nhttp { %%HTTP%% xmpp_host_meta on; }\n");
isnt($status, 0, 'without an XMPP server it is refused');
like($body, qr/"xmpp_host_meta" in \S+:\d+ needs an XMPP server/, 'told why');

$t->done();
