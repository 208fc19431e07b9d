#!/usr/bin/perl

# A real Prometheus scrapes a host: it reads what xmpp_metrics tells, as
# OpenMetrics, what the dashboard and the alerts of the manual ask is there, and
# promtool has nothing to say against the names.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use HTTP::Tiny;
use JSON::PP qw/ decode_json /;
use Test::More;
use Test::XMPP;
use Test::XMPP::Metrics;
use Test::XMPP::Process;

*await = \&Test::XMPP::Process::await;
*slurp = \&Test::XMPP::Process::slurp;

my $MESSAGES = 40;

plan(skip_all => 'prometheus is needed: make interop installs it')
    if grep { !-x "/usr/bin/$_" } qw/ prometheus promtool /;

my $t = Test::XMPP->new(users => [ qw/ alice bob / ]);

$t->config(Test::XMPP::Metrics::config(stream => 'xmpp_heartbeat 100ms;'));
$t->run();

my $dir = $t->testdir();
my $docs = "$FindBin::Bin/../docs/admin";
my $port = Test::XMPP::Process::free_port();

# the alerts of the manual

my ($rules) = slurp("$docs/monitoring.md")
              =~ /^```yaml\n(groups:\n.*?)^```$/ms;

$t->write_file('rules.yml', $rules);
$t->write_file('prometheus.yml', <<"EOT");
global:
  scrape_interval: 500ms
  scrape_timeout: 400ms
  evaluation_interval: 500ms

rule_files: [ rules.yml ]

scrape_configs:
  - job_name: xmpp
    static_configs:
      - targets: [ "127.0.0.1:@{[ $t->port(2) ]}" ]
EOT

for my $kind (qw/ config rules /) {
    my $file = $kind eq 'config' ? 'prometheus' : $kind;
    my $output = `promtool check $kind \Q$dir\E/$file.yml 2>&1`;

    is($?, 0, "promtool: nothing is wrong with the $kind") or diag($output);
}

$t->write_file('metrics',
               Test::XMPP::Metrics::request($t, 'GET', '/metrics')->{content});

my $said = `promtool check metrics < \Q$dir\E/metrics 2>&1`;

is($?, 0, 'promtool: the metrics are good');
is($said, '', 'and have good names');

my $prometheus = Test::XMPP::Process->start("$dir/prometheus.log",
    '/usr/bin/prometheus', "--config.file=$dir/prometheus.yml",
    "--storage.tsdb.path=$dir/prometheus",
    "--web.listen-address=127.0.0.1:$port");


sub ask {
    my ($path, %query) = @_;
    my $http = HTTP::Tiny->new(timeout => 10);
    my $answer = $http->get("http://127.0.0.1:$port/api/v1/$path?"
                            . $http->www_form_urlencode(\%query));

    return $answer->{content} =~ /^\{/ ? decode_json($answer->{content}) : {};
}

# the values of an expression, or undef and why

sub value {
    my ($expr) = @_;
    my $answer = ask('query', query => $expr);

    return (undef, $answer->{error} // 'no answer')
        if ($answer->{status} // '') ne 'success';

    return map { $_->{value}[1] } @{ $answer->{data}{result} };
}

sub becomes {
    my ($expr, $wanted, $name) = @_;
    my $value;

    ok(await(sub { ($value) = value($expr); defined $value
                                            && $value == $wanted }), $name)
        or diag("$expr: " . ($value // 'nothing'));
}


becomes('up{job="xmpp"}', 1, 'it is scraped');

my $alice = $t->client('alice', resource => 'a')->login();
my $bob = $t->client('bob', resource => 'b')->login();

$alice->message($bob->jid(), "m$_", type => 'headline') for 1 .. $MESSAGES;
$bob->pick('message', body => "m$MESSAGES");

becomes('sum(ngx_xmpp_sessions)', 2, 'sessions');
becomes('sum(ngx_xmpp_stanzas_total{kind="message",direction="received"})',
        $MESSAGES, 'messages');
becomes('sum(ngx_xmpp_stanzas_routed_total)', $MESSAGES, 'where they went');
becomes('ngx_xmpp_cluster_workers', 2, 'workers');
becomes('sum(ngx_xmpp_logins_total{outcome="success"})', 2, 'logins');

my ($target) = @{ ask('targets')->{data}{activeTargets} };

is($target->{lastError}, '', 'nothing is wrong with what it reads');

my %unit = map { $_->{metric} => $_->{unit} }
           @{ ask('targets/metadata', match_target => '{job="xmpp"}')
              ->{data} };

is($unit{ngx_xmpp_redis_request_duration_seconds}, 'seconds',
   'which is OpenMetrics: it knows the units');

# all that the dashboard shows

my $dashboard = decode_json(slurp("$docs/grafana.json"));
my (@wrong, @empty, $asked);

for my $panel (@{ $dashboard->{panels} }) {
    for my $target (@{ $panel->{targets} }) {
        my $expr = $target->{expr} =~ s/\$instance/.*/gr
                   =~ s/\$__(?:rate_interval|range)/1m/gr;
        my @values = value($expr);

        $asked++;
        push @wrong, "$expr: $values[1]" if @values && !defined $values[0];
        push @empty, $expr if !@values;
    }
}

cmp_ok($asked, '>', 30, 'the dashboard asks for much');
is("@wrong", '', 'which Prometheus understands');

# what never was has no series
is(join("\n", grep { !/stanza_errors/ } @empty), '', 'and has');

my @rules = map { @{ $_->{rules} } } @{ ask('rules')->{data}{groups} };

await(sub {
    @rules = map { @{ $_->{rules} } } @{ ask('rules')->{data}{groups} };
    return !grep { $_->{health} eq 'unknown' } @rules;
});

cmp_ok(@rules, '>=', 7, 'there are alerts');
is(join(' ', map { $_->{name} } grep { $_->{health} ne 'ok' } @rules), '',
   'which Prometheus understands');
is(join(' ', map { $_->{name} } grep { $_->{state} ne 'inactive' } @rules), '',
   'and none is raised');

# one that is: Redis goes

$t->redis()->stop();

ok(await(sub {
    @rules = map { @{ $_->{rules} } } @{ ask('rules')->{data}{groups} };
    return grep { $_->{name} eq 'XmppWithoutRedis'
                  && $_->{state} eq 'pending' } @rules;
}), 'until Redis goes');

ok($prometheus->stop(), 'Prometheus stops');
$t->done();
