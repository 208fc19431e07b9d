#!/usr/bin/perl

# Failed logins in the log: one line at "error" each, which nothing that a
# client sends can forge or break, and fail2ban's filter on that very log.
# RFC 6120, 6.5.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Encode qw/ encode /;
use MIME::Base64 qw/ encode_base64 /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Fail2ban;

my $t = Test::XMPP->new(users => [ qw/ alice jürgen / ]);

$t->only_ours('reads our log');

# the address is what the PROXY protocol tells (ngx_stream_realip_module)

$t->config(<<'EOF_CONF');
%%GLOBALS%%
events { worker_connections 1024; }
stream {
    xmpp_redis unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate     %%TESTDIR%%/localhost.pem;
        ssl_certificate_key %%TESTDIR%%/localhost.key;
    }

    server {
        listen 127.0.0.1:%%PORT_0%% proxy_protocol;
        set_real_ip_from 127.0.0.1;
        xmpp_c2s;
    }
}
EOF_CONF

$t->run();

my @mechanisms = @Test::XMPP::SASL::MECHANISMS;
my $serial = 0;
my %wanted;                        # address => number of lines


###############################################################################
# What is a failed login

for my $mechanism (@mechanisms) {
    for my $user ('alice', 'nobody', 'jürgen') {
        my $ip = address();

        failed($ip, 'not-authorized', mechanism => $mechanism, user => $user,
               password => 'wrong');
        line($ip, "mechanism $mechanism, condition not-authorized, "
                  . "jid \"$user\@localhost\"", "$mechanism: $user");
    }

    my $ip = address();

    failed($ip, 'invalid-authzid', mechanism => $mechanism,
           authzid => 'bob@localhost');
    line($ip, "mechanism $mechanism, condition invalid-authzid, "
              . 'jid "alice@localhost"', "$mechanism: as somebody else");
}

{
    my $ip = address();

    failed($ip, 'not-authorized', mechanism => 'PLAIN', user => 'ALICE',
           password => "no\x{E000}password");
    line($ip, 'mechanism PLAIN, condition not-authorized, '
              . 'jid "ALICE@localhost"',
         'RFC 4616, 2: a password that cannot be prepared');
}

# IPv6, and IPv4 within it

for my $ip ('2001:db8::7', '::ffff:198.51.100.7') {
    failed($ip, 'not-authorized', password => 'wrong');
    line($ip, 'mechanism SCRAM-SHA-512, condition not-authorized, '
              . 'jid "alice@localhost"', $ip);
}

# attempts that prove nothing are told at a lower level

{
    my $ip = address();
    my $c = from($ip);

    $c->send("<abort xmlns='$Test::XMPP::Client::NS{sasl}'/>");
    is($c->recv_stanza()->error(), 'aborted', 'RFC 6120, 6.5.1: aborted');
    $c->send_auth('NONE', 'x');
    is($c->recv_stanza()->error(), 'invalid-mechanism',
       'RFC 6120, 6.5.7: invalid-mechanism');

    $wanted{$ip} = 0;

    my $lines = () = $t->read_log() =~
        /\[info\] .*\d xmpp login failed: client \Q$ip\E, /g;
    is($lines, 2, 'what is no failed login is not at "error"');
}

# a login leaves none

{
    my $ip = address();
    my $c = from($ip);

    is($c->authenticate()->name(), 'success', 'a login');
    $wanted{$ip} = 0;
}


###############################################################################
# Names that would forge a line

my $victim = '203.0.113.9';
my $forged = "2026/11/25 10:00:00 [error] 7#7: *7 xmpp login failed: "
             . "client $victim, mechanism PLAIN, condition not-authorized, "
             . 'jid "x@localhost"';

my @names = (
    [ 'CR LF',            "a\r\n$forged" ],
    [ 'LF',               "a\n$forged\n" ],
    [ 'U+0085',           "a\x{85}$forged" ],
    [ 'U+2028',           "a\x{2028}$forged" ],
    [ 'VT and FF',        "a\x0B\x0C$forged" ],
    [ 'escape sequences', "\e[2J\e]0;x\a" ],
    [ 'a closed quote',   "a\", client: $victim, server: 0.0.0.0:5222" ],
    [ 'nginx\'s words',   "a,client:$victim,server:x" ],
    [ 'words of a line',  "xmpp login failed: client $victim, mechanism" ],
    [ 'backslashes',      'a\\x0a\\' ],
    [ 'no UTF-8',         "\xFF\xFE\x80" ],
    [ 'bidirectional',    "a\x{202E}b\x{2066}" ],
    [ '1023 octets',      'b' x 1023 ],
    [ '1024 octets',      'b' x 1024 ],
    [ '2,000 octets',     "c\n" x 1000 ],
    [ '1,022 octets of two each', 'ü' x 511 ],
);

for my $mechanism ('SCRAM-SHA-1', 'PLAIN') {
    for my $test (@names) {
        my ($what, $name) = @$test;
        my $ip = address();
        my $bytes = $what eq 'no UTF-8' ? $name : encode('UTF-8', $name);

        forge($ip, $mechanism, $bytes);
        line($ip, undef, "$mechanism: a name with $what");
    }
}

{
    my $log = $t->read_log();
    utf8::decode($log);

    my @lines = split /\n/, $log;

    is(scalar(grep { !m{^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] } } @lines), 0,
       'each line of the log is one of nginx');
    is(scalar(grep { /[^\x20-\x7E\x{A1}-\x{1FFF}]/ } @lines), 0,
       'without control characters');
    cmp_ok((sort { $b <=> $a } map { length } @lines)[0], '<', 1024,
           'and none is long');
    is(scalar(grep { /login failed: client \Q$victim\E/ }
              map { s/^.*?xmpp login failed/xmpp login failed/r }
              @lines), 0, 'nobody was accused');

    my ($line) = grep { /jid "a\\x0D\\x0A/ } @lines;
    ok($line, 'what was sent is shown escaped');
}


###############################################################################
# fail2ban

my $f = Test::XMPP::Fail2ban->new($t->testdir());
my $log = $t->host()->prefix() . '/error.log';
my %found;

$found{$_}++ for $f->matches($log);

for my $ip (sort keys %wanted) {
    my $shown = $ip =~ s/^::ffff://r;

    is($found{$shown} // 0, $wanted{$ip}, "fail2ban: $ip: $wanted{$ip}");
}

is(join(' ', grep { !exists $wanted{$_} && !exists $wanted{"::ffff:$_"} }
             sort keys %found), '', 'fail2ban: nobody else');

like($f->check(), qr/^OK: configuration test is successful/m,
     'fail2ban: the jail is well-formed');

$t->done();


###############################################################################

sub address { return '192.0.2.' . ++$serial }


# A client that the PROXY protocol says is at that address, under TLS

sub from {
    my ($ip, %opt) = @_;

    my $c = $t->client('alice', %opt);
    my ($family, $to) = $ip =~ /:/ ? ('TCP6', '::1') : ('TCP4', '127.0.0.1');

    $c->connect();
    $c->send("PROXY $family $ip $to 40000 5222\r\n");
    $c->open_stream();
    $c->starttls();

    return $c;
}


sub failed {
    my ($ip, $condition, %opt) = @_;

    my $outcome = from($ip)->authenticate(%opt);

    is($outcome && $outcome->error(), $condition, "$ip: $condition");
    $wanted{$ip}++;
}


# a name of any bytes; malformed requests (RFC 5802, 5.1) are no failed login

sub forge {
    my ($ip, $mechanism, $name) = @_;

    my $c = from($ip);
    my $refused = qr/^(?:not-authorized|malformed-request)$/;

    if ($mechanism eq 'PLAIN') {
        $c->send_auth('PLAIN', "\0$name\0x");

    } else {
        $name =~ s/=/=3D/g;
        $name =~ s/,/=2C/g;
        $c->send_auth($mechanism, "n,,n=$name,r=abcdefgh");

        my $stanza = $c->recv_stanza();

        if ($stanza->is('challenge')) {
            my ($r) = MIME::Base64::decode_base64($stanza->find('.'))
                      =~ /^(r=[^,]+),/;
            $c->send_response("c=biws,$r,p=" . encode_base64('x' x 20, ''));

        } else {
            like($stanza->error(), $refused, 'refused');
            $wanted{$ip} = $stanza->error() eq 'not-authorized' ? 1 : 0;
            return;
        }
    }

    my $error = $c->recv_stanza()->error();

    like($error, $refused, 'refused');
    $wanted{$ip} = $error eq 'not-authorized' ? 1 : 0;
}


# There is exactly one line, with this text

sub line {
    my ($ip, $text, $name) = @_;

    return unless $wanted{$ip};

    my $re = qr/\[error\] \d+#\d+: \*\d+ xmpp login failed: client \Q$ip\E, /;
    my $log = $t->read_log();
    utf8::decode($log);

    my @lines = grep { /$re/ } split /\n/, $log;

    is(scalar @lines, 1, "$name: one line");
    like($lines[0] // '', qr/$re\Q$text\E[^,]*, client: \Q$ip\E, server: /,
         "$name: $text") if defined $text;
}
