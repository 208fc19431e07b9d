#!/usr/bin/perl

# What the workers of a host have counted, asked of one of them: xmpp_metrics.
# The figures after known traffic, after kill -9 of a worker and after a reload,
# and the two formats.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Metrics;
use Test::XMPP::Process;
use Test::XMPP::Resume;

my $CLIENTS = 30;                       # at most, until both workers have some
my $MESSAGES = 5;
my $OPEN = 'application/openmetrics-text;version=1.0.0;q=0.5,'
           . 'text/plain;version=0.0.4;q=0.3,*/*;q=0.2';

my $t = Test::XMPP->new(users => [ qw/ alice bob carol / ]);

$t->only_ours('its own figures');
$t->config(Test::XMPP::Metrics::config(
    stream    => 'xmpp_heartbeat 100ms; xmpp_drain_time 200ms;',
    locations => 'location = /if { xmpp_metrics;
                      if ($arg_other) { set $unused 1; } }'));
$t->run();

my $port = $t->port(2);
my $sm = Test::XMPP::Resume->new($t);

sub figures { Test::XMPP::Metrics::read($t) }
sub request { Test::XMPP::Metrics::request($t, @_) }

# waits for figures, and tests that they came

sub becomes {
    my ($name, %wanted) = @_;
    my $now;

    my $done = Test::XMPP::Metrics::await($t, sub {
        $now = shift;
        return !grep { ($now->{$_} // 'none') != $wanted{$_} } keys %wanted;
    });

    ok($done, $name)
        or diag(map { "$_: " . ($now->{$_} // 'none')
                      . ", not $wanted{$_}\n" } sort keys %wanted);
    return $now;
}


sub sum {
    my ($figures, $name) = @_;
    my $sum = 0;

    $sum += $figures->{$_} for grep { /^\Q$name\E(?:\{|$)/ } keys %$figures;
    return $sum;
}


sub slurp { Test::XMPP::Process::slurp("$FindBin::Bin/../$_[0]") }


# how many clients have logged in at each worker

sub logged_in {
    my %on;

    $on{$_}++ for $t->read_log() =~ /(\d+)#\d+: \*\d+ client logged in as/g;
    return %on;
}


# the counters that went back

sub smaller {
    my ($before, $after) = @_;

    return join ' ', grep { $after->{$_} < $before->{$_} }
                     grep { /_total\b|_(?:bucket|sum|count)\b/ }
                     keys %$before;
}


###############################################################################
# The formats

my $plain = request('GET', '/metrics');
my $open = request('GET', '/metrics', Accept => $OPEN);

is($plain->{headers}{'content-type'},
   'text/plain; version=0.0.4; charset=utf-8', 'Prometheus\'s own format');
like($plain->{content}, qr/^# TYPE ngx_xmpp_stanzas_total counter$/m,
     'a counter has its whole name there');
unlike($plain->{content}, qr/^# (?:EOF|UNIT)/m, 'and nothing of the other');

is($open->{headers}{'content-type'},
   'application/openmetrics-text; version=1.0.0; charset=utf-8',
   'OpenMetrics, for who accepts it');
like($open->{content}, qr/^# TYPE ngx_xmpp_stanzas counter$/m,
     'a counter is named without _total');
like($open->{content}, qr/^# UNIT ngx_xmpp_sent_bytes bytes$/m, 'with units');
like($open->{content}, qr/\n# EOF\n\z/, 'and an end');
is($open->{headers}{'cache-control'}, 'no-store', 'it is not to be kept');

my @names = $open->{content} =~ /^# TYPE (\S+)/mg;
my %seen;

is(join(' ', grep { $seen{$_}++ } @names), '', 'each family stands once');
is(join(' ', grep { !/^ngx_xmpp_[a-z_]+$/ } @names), '', 'names as others');

# the manual has them all, and others ask for nothing else

my %told = map { $_ => 1 }
           slurp('docs/modules/metrics.md') =~ /^\| `(ngx_\w+)` \|/mg;
my %type = $open->{content} =~ /^# TYPE (\S+) (\w+)$/mg;
my %is = map {
    $_ . ({ counter => '_total', info => '_info' }->{ $type{$_} } // '') => 1
} keys %type;

is(join(' ', sort keys %told), join(' ', sort keys %is), 'the manual');

for my $file ('docs/admin/monitoring.md', 'docs/admin/grafana.json') {
    my @asked = slurp($file) =~ /\b(ngx_xmpp_\w+)/g;

    cmp_ok(@asked, '>', 5, "$file asks for figures");
    is(join(' ', grep { !$is{ s/_(?:bucket|sum|count)$//r } } @asked), '',
       'that are there');
}

my @lines = $open->{content} =~ /^([^#].*)$/mg;

is(join("\n", grep { !/^ngx_xmpp_\w+(?:\{\w+="[^"{}]+"(?:,\w+="[^"]+")*\})?
                        \ \d+(?:\.\d+)?$/x } @lines), '',
   'each line is a figure');

my $head = request('HEAD', '/metrics');

is($head->{status}, 200, 'RFC 9110, 9.3.2: HEAD');
ok($head->{headers}{'content-length'} > 1000
   && !length($head->{content} // ''),
   'has no body');

my $post = request('POST', '/metrics');

is($post->{status}, 405, 'RFC 9110, 15.5.6: POST is not allowed');
is($post->{headers}{allow}, 'GET, HEAD', 'and told what is');
is(request('GET', '/if?other=1')->{status}, 200, 'in an "if" it answers, too');


###############################################################################
# Known traffic, on both workers

# the harness has looked whether the port is open

my $start = becomes('two workers', workers => 2, workers_draining => 0,
                    cluster_workers => 2, 'streams{transport="tcp"}' => 0,
                    'redis_connected_workers{connection="commands"}' => 2,
                    'redis_connected_workers{connection="subscriber"}' => 2);

cmp_ok($start->{resident_memory_bytes}, '>', 1024 ** 2, 'memory');
cmp_ok(abs($start->{start_time_seconds} - time), '<', 60, 'since now');
is($start->{'build_info{version="' . (split '"', $plain->{content})[1]
            . '",nginx="' . (split '"', $plain->{content})[3] . '"}'}, 1,
   'versions');

my $bob = $t->client('bob', resource => 'b')->login();
my @clients;

push @clients, $t->client('alice', resource => 'r' . @clients)->login()
    while @clients < 4 || @clients < $CLIENTS && keys %{ { logged_in() } } < 2;

my %on = logged_in();
my $n = @clients + 1;

cmp_ok(keys %on, '==', 2, 'both workers have clients');

for my $client (@clients) {
    $client->message($bob->jid(), "m$_", type => 'headline')
        for 1 .. $MESSAGES;
}

my $messages = @clients * $MESSAGES;

$bob->pick('message') for 1 .. $messages;
$_->sync() for @clients;

my ($used) = grep { /^logins_total/ && figures()->{$_} } keys %{ figures() };

my $now = becomes('known traffic',
    'sessions{transport="tcp"}'              => $n,
    'streams{transport="tcp"}'               => $n,
    'streams_opened_total{transport="tcp"}'
        => $start->{'streams_opened_total{transport="tcp"}'} + $n,
    sessions_bound_total                     => $n,
    $used                                    => $n,
    'stanzas_total{kind="message",direction="received"}' => $messages,
    'stanzas_total{kind="message",direction="sent"}'     => $messages,
    'stanzas_total{kind="presence",direction="sent"}' => 0,
    output_queue_bytes                       => 0,
    sessions_ending                          => 0);

like($used, qr/outcome="success"/, 'one mechanism was used');
is(sum($now, 'logins_total'), $n, 'once each');
is(sum($now, 'stanzas_routed_total'), $messages,
   'each stanza was routed once');
is($now->{'stanzas_routed_total{path="local"}'}
   + $now->{'stanzas_routed_total{path="redis"}'}, $messages,
   'straight, or through Redis');
is($now->{'stanzas_total{kind="iq",direction="received"}'},
   $now->{'stanzas_total{kind="iq",direction="sent"}'},
   'each iq was answered');
cmp_ok($now->{received_bytes_total}, '>', $messages * 60,
       'bytes received');
cmp_ok($now->{sent_bytes_total}, '>', $messages * 60,
       'bytes sent');

my $times = 'redis_request_duration_seconds';

is($now->{"${times}_bucket{le=\"+Inf\"}"}, $now->{"${times}_count"},
   'the histogram ends with all');
cmp_ok($now->{"${times}_count"}, '>', $n * 3, 'Redis has answered');
cmp_ok($now->{"${times}_sum"}, '>', 0, 'and took its time');

my @buckets = map { $now->{$_} }
    sort { ($a =~ /"([\d.]+)/)[0] <=> ($b =~ /"([\d.]+)/)[0] }
    grep { /^${times}_bucket\{le="\d/ } keys %$now;

is(join(' ', @buckets), join(' ', sort { $a <=> $b } @buckets),
   'buckets are cumulative');

# to nobody, kept, and what is refused

$bob->message('dave@' . $t->domain() . '/x', 'x', type => 'headline');
$bob->message('carol@' . $t->domain(), 'kept', type => 'chat');
$bob->query('get', undef, "<nothing xmlns='urn:x'/>");
$bob->sync();

becomes('what did not arrive',
    'stanzas_routed_total{path="nobody"}' => 1,
    'stanzas_routed_total{path="kept"}'   => 1,
    'stanza_errors_total{condition="service-unavailable"}' => 1);

my $wrong = $t->client('carol', password => 'wrong');

$wrong->secure();
$wrong->authenticate();
$wrong->close();

$now = becomes('a wrong password',
    'streams_opened_total{transport="tcp"}'
        => $start->{'streams_opened_total{transport="tcp"}'} + $n + 1,
    'streams{transport="tcp"}' => $n);
is(sum($now, 'streams_closed_total'), sum($start, 'streams_closed_total') + 1,
   'is one stream more that was closed');
is(sum($now, 'logins_total'), $n + 1, 'is one login more');
is((grep { /outcome="failed"/ && $now->{$_} == 1 } keys %$now) + 0, 1,
   'that failed');


###############################################################################
# Resumed

my $carol = $sm->resumable('carol', resource => 'c');

$sm->lose($carol);
becomes('a session without a stream', 'sessions{transport="none"}' => 1,
        'sessions{transport="tcp"}' => $n, sessions_detached_total => 1);

$carol = $sm->resumed($carol);
$now = becomes('is resumed', 'sessions{transport="none"}' => 0,
               'sessions{transport="tcp"}' => $n + 1);
is($now->{'session_resumes_total{found="worker"}'}
   + $now->{'session_resumes_total{found="cluster"}'}, 1, 'once');

$carol->send('</stream:stream>');
becomes('and ends', 'sessions{transport="tcp"}' => $n,
        'streams{transport="tcp"}' => $n, sessions_ending => 0);


###############################################################################
# A worker dies

my $before = figures();
my $killed = $t->kill_worker((sort keys %on)[0]);

$now = becomes('a worker was killed, and another one is there',
    workers => 2, reaped_workers_total => 1,
    'redis_connected_workers{connection="commands"}' => 2);
is(smaller($before, $now), '', 'no counter went back');

my $left = $n - $on{$killed};

becomes('sessions are those that are left',
    'streams{transport="tcp"}' => $left, 'sessions{transport="tcp"}' => $left,
    reaped_sessions_total => $on{$killed});

my $again = $t->client('alice', resource => 'again')->login();

$now = becomes('a login more',
    sessions_bound_total => $before->{sessions_bound_total} + 1);
is(smaller($before, $now), '', 'the new worker counts on');


###############################################################################
# A reload

$before = figures();
$t->reload();

my $last = $t->client('bob', resource => 'last')->login();

# the reason is counted when the stream has gone: after the drain

$now = becomes('a reload', workers => 2, workers_draining => 0,
    'sessions{transport="tcp"}' => 1, 'streams{transport="tcp"}' => 1,
    'redis_connected_workers{connection="commands"}' => 2);
is(smaller($before, $now), '', 'no counter went back');
is($now->{start_time_seconds}, $before->{start_time_seconds},
   'they are the same');
is($now->{'streams_closed_total{reason="system-shutdown"}'}, $left + 1,
   'and the old streams were closed');


###############################################################################
# Redis goes

$before = figures();
$t->redis()->stop();

$now = becomes('Redis is away',
    'redis_connected_workers{connection="commands"}' => 0,
    'redis_connected_workers{connection="subscriber"}' => 0);
is($now->{'redis_disconnects_total{connection="commands"}'},
   $before->{'redis_disconnects_total{connection="commands"}'} + 2,
   'both workers have lost it');

$t->redis()->start();

$now = becomes('and back',
    'redis_connected_workers{connection="commands"}' => 2,
    'redis_connected_workers{connection="subscriber"}' => 2);
is($now->{'redis_connects_total{connection="commands"}'},
   $before->{'redis_connects_total{connection="commands"}'} + 2,
   'by one connection each');


###############################################################################
# What is set up wrong

sub refused {
    my ($name, $config, $why) = @_;
    my $host = $t->start_host(idle => 1);
    my ($status, $output) = $host->test_config($config);

    $host->expect_log(qr/\[emerg\]/);
    isnt($status, 0, "$name is refused");
    like($output, $why, "and told why");
}

sub http {
    my ($lines) = @_;

    return "%%GLOBALS%%\nevents { }\nhttp { %%HTTP%%\nserver { "
           . "listen 127.0.0.1:%%PORT_2%%; location /m { $lines } } }\n";
}

refused('a location without an XMPP server', http('xmpp_metrics;'),
        qr/"xmpp_metrics" in \S+nginx\.conf:\d+ needs an XMPP server/);
refused('twice', http('xmpp_metrics; xmpp_metrics;'),
        qr/"xmpp_metrics" directive is duplicate/);
refused('two answers', http('stub_status; xmpp_metrics;'),
        qr/"xmpp_metrics" directive and another directive would both answer/)
    if `\Q@{[ Test::XMPP::Nginx::binary() ]}\E -V 2>&1` =~ /stub_status/;
refused('outside of a location',
        "%%GLOBALS%%\nevents { }\nhttp { %%HTTP%% xmpp_metrics; }\n",
        qr/"xmpp_metrics" directive is not allowed here/);

$t->done();
