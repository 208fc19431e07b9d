#!/usr/bin/perl

# Private XML storage: XEP-0049.  alice has a session on each host.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, domains => [ qw/ localhost second.test
                                                     third.test / ],
                        users => [ qw/ alice bob dora /,
                                   [ 'erin', 'third.test', 'erin-secret' ] ]);

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_redis_timeout  1s;
    xmpp_private_size   1000;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
        xmpp_private_size    128k;
    }

    xmpp_host second.test {
        ssl_certificate      %%TESTDIR%%/second.test.pem;
        ssl_certificate_key  %%TESTDIR%%/second.test.key;
    }

    xmpp_host third.test {
        ssl_certificate      %%TESTDIR%%/third.test.pem;
        ssl_certificate_key  %%TESTDIR%%/third.test.key;
        xmpp_private         off;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOC

$t->run();

my ($domain, $peer) = ($t->domain(), $t->peer());
my $ns = 'jabber:iq:private';
my $info = "<query xmlns='$Test::XMPP::Client::NS{info}'/>";
my $feature = "info:query/info:feature[\@var = '$ns']";

my $alice = $t->client('alice', resource => 'a', on => 0)->login();
my $alice2 = $t->client('alice', resource => 'b', on => 1)->login();
my $bob = $t->client('bob', on => 1)->login();


sub query { "<query xmlns='$ns'>" . ($_[0] // '') . '</query>' }

# What is said to a set of these elements

sub set {
    my ($client, $elements, $to) = @_;

    return $client->query('set', $to, query($elements));
}

# What is stored: the trees of the elements in the answer

sub get {
    my ($client, $element, $to) = @_;

    my $answer = $client->query('get', $to, query($element));

    return $answer->error() if $answer->attr('type') eq 'error';
    return [ map { Test::XMPP::Stanza::tree($_) }
                 $answer->find("*[local-name() = 'query' and "
                               . "namespace-uri() = '$ns']/node()") ];
}

sub trees { [ map { Test::XMPP::Stanza::tree($_) } @_ ] }

sub is_stored {
    my ($name, $client, $element, @wanted) = @_;

    is_deeply(get($client, $element), trees(@wanted), "XEP-0049, 2.3: $name");
}


###############################################################################
# Stored, and retrieved on another host

my $exodus = "<exodus xmlns='exodus:prefs'>"
             . "<defaultnick>Hamlet</defaultnick></exodus>";
my $storage = "<storage xmlns='storage:bookmarks'><conference name='a room' "
              . "autojoin='true' jid='room\@rooms.$domain'>"
              . "<nick>Puck</nick></conference></storage>";

ok($alice->query('get', $domain, $info)->test($feature), 'a feature of disco')
    if $peer ne 'ejabberd';

is_stored('nothing was stored: an empty element', $alice2,
          "<exodus xmlns='exodus:prefs'/>", "<exodus xmlns='exodus:prefs'/>");

my $answer = set($alice, $exodus);

is($answer->mismatch(type => 'result', to => $alice->jid(),
                     xpath => 'not(*)'), '', 'XEP-0049, 2.3: stored');
is_stored('retrieved on another host', $alice2,
          "<exodus xmlns='exodus:prefs'/>", $exodus);
is_stored('another namespace has nothing', $alice2,
          "<storage xmlns='storage:bookmarks'/>",
          "<storage xmlns='storage:bookmarks'/>");

set($alice2, $storage);
is_stored('a second one', $alice, "<storage xmlns='storage:bookmarks'/>",
          $storage);
is_stored('does not touch the first', $alice2,
          "<exodus xmlns='exodus:prefs'/>", $exodus);

$exodus =~ s/Hamlet/Macbeth/;
is(set($alice2, $exodus, $alice->bare())->attr('type'), 'result',
   'to the own bare JID');
is_deeply(get($alice, "<exodus xmlns='exodus:prefs'/>", $alice->bare()),
          trees($exodus), 'the same, which has taken its place');

set($alice, "<exodus xmlns='exodus:prefs'/>");
is_stored('an empty element leaves nothing', $alice2,
          "<exodus xmlns='exodus:prefs'/>", "<exodus xmlns='exodus:prefs'/>");
is_stored('and the other is there', $alice,
          "<storage xmlns='storage:bookmarks'/>", $storage);


###############################################################################
# What is refused

my %wrong = (
    'no element'             => '',
    'text alone'             => 'exodus',
);

# the peers do not look

%wrong = (%wrong,
    'none of its own'        => '<exodus/>',
    'no namespace'           => "<exodus xmlns=''/>",
    'one, and none'          => "<x xmlns='urn:x'/><y xmlns=''/>",
    'one, and that of query' => "<x xmlns='urn:x'/><y/>",
    'two namespaces'         => "<x xmlns='urn:x'/><y xmlns='urn:y'/>")
    if $t->ours();

for my $name (sort keys %wrong) {
    for my $type (qw/ get set /) {
        my $error = $alice->query($type, undef, query($wrong{$name}))->error();

        # Prosody's bad-format is none of RFC 6120

        $t->ours() ? is($error, 'modify not-acceptable',
                        "XEP-0049, 2.3: $type: $name")
                   : like($error, qr/^modify /, "$type: $name");
    }
}

for my $type (qw/ get set /) {
    for my $to ($alice->bare(), "nobody\@$domain") {
        my $error = $bob->query($type, $to, query($storage))->error();

        $t->ours() ? is($error, 'auth forbidden',
                        "XEP-0049, 2.3: $type of another: $to")
                   : like($error, qr/ (?:forbidden|service-unavailable)$/,
                          "$type of another: $to");
    }
}

is_stored('nothing of it was written', $alice,
          "<storage xmlns='storage:bookmarks'/>", $storage);


###############################################################################
# What is stored is given back as the same tree

my $deep = join('', map { "<d$_>" } 1 .. 50) . 'x'
           . join('', map { "</d$_>" } reverse 1 .. 50);
my %odd = (
    'prefixes' => "<p:a xmlns:p='urn:p' xmlns:q='urn:q' b='1' p:b='2' "
                  . "q:b='3' xml:lang='de'><q:c p:d='4'/><p:a/><e xmlns='"
                  . "urn:e'><f q:b='5'/></e></p:a>",
    'stanzas' => "<a xmlns='urn:a'><iq xmlns='jabber:client' type='result'>"
                 . "<query xmlns='$ns'/></iq><stream:error xmlns:stream='"
                 . "http://etherx.jabber.org/streams'/></a>",
    'escapes' => "<a xmlns='urn:a' b='&amp;&lt;&gt;&quot;&apos;&#9;&#10;&#13;'>"
                 . "&amp;&lt;&gt;&quot;&apos;&#9;&#10;&#13; ]]&gt; &#65;"
                 . "<![CDATA[<b>&amp;</b>]]></a>",
    'white space' => "<a xmlns='urn:a'> \n\t<b> </b>\n</a>",
    'unicode' => "<ä xmlns='urn:a' ö='ü'>"
                 . "\x{20AC}\x{1F600}\x{FFFD}e\x{301}</ä>",
    'commands' => "<a xmlns='urn:a' b='&#13;&#10;*1&#13;&#10;\$8&#13;&#10;"
                  . "FLUSHALL&#13;&#10;'>%d %s %% ^(.-)\$ {} \\0 \$1</a>",
    'depth' => "<a xmlns='urn:a'>$deep</a>",
    'an attribute' => "<a xmlns='urn:a' b='" . "&apos;x" x 8000 . "'/>",
    'attributes' => "<a xmlns='urn:a'" . join('', map { " a$_='$_'" } 1 .. 60)
                    . '/>',
    'a text' => "<a xmlns='urn:a'>" . 'x&amp;' x 20000 . '</a>',
    'elements' => "<a xmlns='urn:a'>" . '<b/><c/>' x 2000 . '</a>',
    'only an attribute' => "<a xmlns='urn:a' b='c'/>",
    'only white space' => "<a xmlns='urn:a'> </a>",
    'the field of the bytes' => "<b xmlns='b'>b</b>",
    'the letter of the fields' => "<x xmlns='x'>x</x>",
    'a long namespace' => "<a xmlns='" . 'u' x 2000 . "'>a</a>",
    'braces in a namespace' => "<a xmlns='urn:%7B%7D:(.-)*'>a</a>",
);

# not empty, and Prosody forgets it

delete @odd{'only an attribute', 'an attribute', 'attributes'}
    if $peer eq 'prosody';

# the peers write white space so that it is not read again

s/&#(?:9|10|13);//g for values %{ $t->ours() ? {} : \%odd };

# the peers write what is in no namespace into that around it, or are stricter

$odd{'no namespace'} = "<a xmlns='urn:a'><b xmlns='' c='d'><e/></b></a>"
    if $t->ours();

for my $name (sort keys %odd) {
    my ($tag) = $odd{$name} =~ /^<([^ ]+)/;
    my ($xmlns) = $odd{$name} =~ /xmlns(?::p)?='([^']+)'/;
    my $empty = '<' . ($tag =~ s/^p://r) . " xmlns='$xmlns'/>";

    is(set($alice, $odd{$name})->attr('type'), 'result', "$name: stored");
    is_stored("$name: the same", $alice2, $empty, $odd{$name});
    set($alice2, $empty);
    is_stored("$name: gone", $alice, $empty, $empty);
}

is_stored('no other was touched', $alice,
          "<storage xmlns='storage:bookmarks'/>", $storage);

# RFC 6120, 11.1: what ends the stream is not stored

{
    my $eve = $t->client('alice', resource => 'e')->login();

    $eve->iq('set', undef, query("<storage xmlns='storage:bookmarks'>"
                                 . '&x;</storage>'));
    ok($eve->expect_stream_error(qr/^(?:restricted-xml|not-well-formed)$/),
       'an entity of its own');
    is_stored('was not written', $alice,
              "<storage xmlns='storage:bookmarks'/>", $storage);
}

ours() if $t->ours();

$t->done();


###############################################################################
# What the peers do otherwise, or cannot be asked to do

sub ours {
    my $redis = $t->redis();
    my $key = "xmpp:{alice\@$domain}:private";

    # several elements of a namespace

    my @both = ("<x xmlns='urn:x'>1</x>", "<y xmlns='urn:x'/>");

    is(set($alice, " @both ")->attr('type'), 'result',
       'XEP-0049, 2.3: several elements of one namespace');
    is_stored('are all given back', $alice2, "<z xmlns='urn:x'/>", @both);

    set($alice, "<z xmlns='urn:x'>2</z>");
    is_stored('and replaced together', $alice2, "<x xmlns='urn:x'/>",
              "<z xmlns='urn:x'>2</z>");
    set($alice, "<z xmlns='urn:x'/>");
    is_stored('each is empty', $alice2, "<x xmlns='urn:x'/><y xmlns='urn:x'/>",
              "<x xmlns='urn:x'/>", "<y xmlns='urn:x'/>");

    # the last one takes the key along

    set($alice2, "<storage xmlns='storage:bookmarks'/>");
    is($redis->command('EXISTS', $key), 0, 'nothing is left in Redis');

    quota();
    trouble($redis);

    # off

    my $erin = $t->client('erin', domain => 'third.test')->login();

    is(get($erin, $storage), 'cancel service-unavailable', 'off: get');
    is(set($erin, $storage)->error(), 'cancel service-unavailable', 'off: set');
    is($alice->query('get', $erin->bare(), query($storage))->error(),
       'cancel service-unavailable', 'off: of another');
    ok(!$erin->query('get', 'third.test', $info)->test($feature),
       'off: no feature');

    # the account goes

    set($alice, $storage);
    is($redis->command('EXISTS', $key), 1, 'something is stored');
    is(($t->xmppctl(undef, 'deluser', "alice\@$domain"))[0], 0,
       'the account is removed');
    is($redis->command('EXISTS', $key), 0, 'with what it has stored');
}


# xmpp_private_size: 1000 bytes, on whatever host and in whatever namespace

sub quota {
    my $domain2 = $t->domain2();
    my @dora = map { $t->client('dora', domain => $domain2, resource => "d$_",
                                on => $_)->login() } 0, 1;
    my $empty = "<a xmlns='urn:q'/>";

    # so many bytes, with the namespace and one more

    my $sized = sub {
        my ($size, $xmlns) = @_;

        my $begin = "<a xmlns='$xmlns'>";

        return $begin . 'x' x ($size - length("x$xmlns$begin</a>")) . '</a>';
    };

    my $refused = sub {
        my ($name, $client, $element) = @_;

        my $answer = set($client, $element);

        is($answer->error(), 'modify policy-violation', "$name: refused");
        like($answer->find('c:error/stanzas:text[@xml:lang = "en"]'),
             qr/\b1000 bytes\b.*\bempty element\b/,
             'with what may be done: RFC 6120, 8.3.2');
    };

    is(set($dora[0], $sized->(1000, 'urn:q'))->attr('type'), 'result',
       'all of the quota');
    $refused->('one byte more', $dora[0], $sized->(1001, 'urn:q'));
    $refused->('far too much', $dora[1], $sized->(100_000, 'urn:q'));
    $refused->('another namespace', $dora[1], "<b xmlns='u'>x</b>");
    is_stored('it is what it was', $dora[1], $empty,
              $sized->(1000, 'urn:q'));
    is_stored('nothing is there', $dora[1], "<b xmlns='u'/>",
              "<b xmlns='u'/>");

    # what escaping adds counts

    $refused->('escapes', $dora[0],
               "<a xmlns='urn:q'>" . "\r&gt;" x 220 . '</a>');

    is(set($dora[1], $sized->(600, 'urn:q'))->attr('type'), 'result', 'less');
    $refused->('one too much beside it', $dora[1], $sized->(401, 'urn:r'));
    is(set($dora[1], $sized->(400, 'urn:r'))->attr('type'), 'result',
       'the rest of it');
    set($dora[0], $empty);
    set($dora[0], "<a xmlns='urn:r'/>");

    # two hosts at once: one of them

    my %outcomes;

    for my $n (1 .. 30) {
        my @ids = map { $dora[$_]->iq('set', undef,
                            query($sized->(501, "urn:$_"))) } 0, 1;
        my @answers = map { $dora[$_]->answer($ids[$_])->attr('type') } 0, 1;

        $outcomes{ join ' ', sort @answers }++;
        set($dora[0], "<a xmlns='urn:$_'/>") for 0, 1;
    }

    is_deeply(\%outcomes, { 'error result' => 30 },
              'of two hosts at once one has the room');
}


# Redis is full, slow, away, or has lost the record

sub trouble {
    my ($redis) = @_;

    my ($exodus, $empty) = ("<e xmlns='urn:e'>e</e>", "<e xmlns='urn:e'/>");

    set($alice, $storage);
    set($alice, $exodus);

    $redis->command('CONFIG', 'SET', 'maxmemory', '1');
    is(set($alice, "<e xmlns='urn:e'>f</e>")->error(),
       'wait resource-constraint', 'Redis is full: wait');
    is_stored('what is there is given', $alice2, $empty, $exodus);
    is(set($alice2, $empty)->attr('type'), 'result',
       'cluster.md, 17: what needs no memory is done');
    $redis->command('CONFIG', 'SET', 'maxmemory', '0');
    is_stored('it is gone', $alice, $empty, $empty);

    $redis->pause();
    is(set($alice, $exodus)->error(), 'wait resource-constraint',
       'Redis is silent: a set: wait');
    is(get($alice2, $empty), 'wait resource-constraint', 'and a get');
    ok($_->sync(), 'all else is answered') for $alice, $alice2;

    # it goes, and another has the answer; the worker lives

    my $gone = $t->client('alice', resource => 'g', on => 1);

    $redis->resume();
    $gone->login();
    $redis->pause();
    $gone->iq('get', undef, query($storage));
    $gone->iq('set', undef, query($exodus));
    $gone->drop();
    $redis->resume();

    ok(Test::XMPP::Process::await(sub {
           set($alice2, $exodus)->attr('type') eq 'result' }),
       'Redis is back, and so is private storage');
    is_stored('what was stored before', $alice,
              "<storage xmlns='storage:bookmarks'/>", $storage);
    is_stored('and what since', $alice, $empty, $exodus);

    # another session's record: it is put back, and the next one is stored

    $redis->command('HDEL', "xmpp:{alice\@$domain}:sessions", 'rb');
    is(set($alice2, $empty)->error(), 'wait resource-constraint',
       'cluster.md, 4: no record');
    ok(Test::XMPP::Process::await(sub {
           set($alice2, $empty)->attr('type') eq 'result' }),
       'it is put back');
}
