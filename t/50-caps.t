#!/usr/bin/perl

# Entity capabilities of the server: XEP-0115.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::SHA qw/ sha1_base64 /;
use Test::More;
use Test::XMPP;

my $t = Test::XMPP->new(users => [ qw/ alice dora / ]);

my $config = <<'EOT';
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
        FIRST
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
        SECOND
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOT

my %contact = (FIRST => 'xmpp_contact support xmpp:b@localhost mailto:b@a; '
                        . 'xmpp_contact abuse mailto:a@localhost;',
               SECOND => 'xmpp_version off;');

$t->config($config =~ s/FIRST|SECOND/$contact{$&}/gr) if $t->ours();
$t->run();

my $ns = 'http://jabber.org/protocol/caps';
my $c = "*[local-name() = 'c' and namespace-uri() = '$ns']";
my $data = "*[local-name() = 'x' and namespace-uri() = 'jabber:x:data']";


sub info {
    my ($client, $node) = @_;

    $node = defined $node ? " node='$node'" : '';

    return $client->query('get', $client->{domain},
        "<query xmlns='$Test::XMPP::Client::NS{info}'$node/>");
}


# the children of an answer with that name

sub named {
    my ($from, $name) = @_;
    return grep { ($_->localname() // '') eq $name } $from->childNodes();
}


# the verification string by XEP-0115, 5.1, from what the server answers

sub verification {
    my ($answer) = @_;
    my ($query) = $answer->find('info:query');
    my (@identities, %forms);

    for my $id (named($query, 'identity')) {
        push @identities, [ map { $id->getAttribute($_) // '' }
                            qw/ category type xml:lang name / ];
    }

    @identities = sort { "@$a" cmp "@$b" } @identities;

    my @features = map { $_->getAttribute('var') } named($query, 'feature');

    for my $x (named($query, 'x')) {
        my %fields = map {
            $_->getAttribute('var')
                => [ sort map { $_->textContent() } named($_, 'value') ]
        } named($x, 'field');
        my $type = delete $fields{FORM_TYPE};

        $forms{ $type->[0] } = join '', map { "$_<" }
            map { ($_, @{ $fields{$_} }) } sort keys %fields;
    }

    my $s = join '', (map { join('/', @$_) . '<' } @identities),
                     (map { "$_<" } sort { $a cmp $b } @features),
                     (map { "$_<$forms{$_}" } sort keys %forms);
    utf8::encode($s);

    return sha1_base64($s) . '=';
}


my %ver;

for my $case ([ 'alice', $t->domain() ], [ 'dora', $t->domain2() ]) {
    my ($user, $domain) = @$case;
    my $client = $t->client($user, domain => $domain);
    my $before = $client->secure();

    ok(!$before->test($c), 'not before authentication')
        if $t->ours();

    my $features = $client->auth();
    $client->bind();

    is(scalar(() = $features->find($c)), 1, 'XEP-0115, 6.3: a stream feature');

    my %said = map { $_ => scalar $features->find("$c/\@$_") }
               qw/ hash node ver /;

    is($said{hash}, 'sha-1', 'XEP-0115, 4: hash');
    like($said{node}, qr/^[a-z][a-z0-9+.-]*:[!-~]+$/,
         'XEP-0115, 4: node is a URI');

    my $plain = info($client);

    ok($plain->test("info:query/info:feature[\@var = '$ns']"),
       'XEP-0115, 7: a feature of disco') unless $t->peer();
    is($said{ver}, verification($plain), 'XEP-0115, 5.1: ver');
    $ver{$domain} = $said{ver};

    my $named = info($client, "$said{node}#$said{ver}");

    is(scalar $named->find('info:query/@node'), "$said{node}#$said{ver}",
       'XEP-0115, 6.2: the node is told back');
    is(verification($named), $said{ver},
       'XEP-0115, 6.2: the same by node#ver');

    next unless $t->ours();

    is(info($client, $_)->error(), 'cancel item-not-found',
       "XEP-0030, 7: no node \"$_\"")
        for '', $said{node}, "$said{node}#", "$said{node}#x", $said{ver};

    is($client->query('get', $client->bare(),
           "<query xmlns='$Test::XMPP::Client::NS{info}' "
           . "node='$said{node}#$said{ver}'/>")->error(),
       'cancel item-not-found', 'it is no node of an account');
}

$t->done() and exit unless $t->ours();


###############################################################################
# Another set of features has another ver

isnt($ver{localhost}, $ver{'second.test'}, 'by host');

sub reconfigured {
    my ($first) = @_;

    $t->host()->reload($config =~ s/FIRST/$first/r =~ s/SECOND//r);

    my $client = $t->client('alice');
    $client->secure();

    return $client->auth();
}

my %seen = map { $_ => 1 } values %ver;

for my $first ('', 'xmpp_ping off;', 'xmpp_contact abuse mailto:a@localhost;',
               'xmpp_contact abuse mailto:b@localhost;',
               'xmpp_contact admin mailto:b@localhost;')
{
    my $ver = reconfigured($first)->find("$c/\@ver");

    ok(defined $ver && !$seen{$ver}++, "XEP-0115, 5.1: another ver: $first");
}

ok(!reconfigured($_)->test($c), "nothing: $_")
    for 'xmpp_caps off;', 'xmpp_disco off;';

$t->done();
