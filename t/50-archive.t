#!/usr/bin/perl

# Archives of accounts: XEP-0313, XEP-0059, XEP-0359, XEP-0441.  alice is on
# host 0, with a second session on host 1; bob is on host 1.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP;
use Test::XMPP::Process;

my $t = Test::XMPP->new(hosts => 2, users => [ qw/ alice bob carol dave dora /,
                                               [ 'erin', 'third.test', 'e' ] ],
                        domains => [ qw/ localhost second.test third.test / ]);

$t->config(<<'EOC');
%%GLOBALS%%
events {
    worker_connections  1024;
}

stream {
    xmpp_redis  unix:%%REDIS%%;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    xmpp_host second.test {
        ssl_certificate        %%TESTDIR%%/second.test.pem;
        ssl_certificate_key    %%TESTDIR%%/second.test.key;
        xmpp_archive_messages  3;
        xmpp_archive_page      2;
    }

    xmpp_host third.test {
        ssl_certificate      %%TESTDIR%%/third.test.pem;
        ssl_certificate_key  %%TESTDIR%%/third.test.key;
        xmpp_archive         off;
    }

    server {
        listen  127.0.0.1:%%PORT_0%% sndbuf=16k;
        xmpp_c2s;
    }
}
EOC

$t->run();

my ($domain, $domain2, $ours) = ($t->domain(), $t->domain2(), $t->ours());
my $prosody = $t->peer() eq 'prosody';
my $mam = 'urn:xmpp:mam:2';
my $date = qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/;

my $a = $t->online('alice', resource => 'a', on => 0);
my $bob = $t->online('bob', resource => 'b', on => 1);
my $carol = $t->online('carol', resource => "c'&<", on => 0);

$t->settle($a, $bob, $carol);


# a query: { iq, results, ids, bodies, complete, first, last, count }

sub query {
    my ($client, %q) = @_;
    my %field = %{ $q{field} // {} };
    my $form = '';

    for my $var (sort keys %field) {
        my @values = ref $field{$var} ? @{ $field{$var} } : $field{$var};
        $form .= "<field var='$var'>"
                 . join('', map { '<value>' . Test::XMPP::Client::xml_escape($_)
                                  . '</value>' } @values) . '</field>';
    }

    $form = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' "
            . "type='hidden'><value>$mam</value></field>$form</x>"
        if $form ne '' || $q{form};

    my $set = defined $q{set}
              ? "<set xmlns='http://jabber.org/protocol/rsm'>$q{set}</set>"
              : '';
    my $queryid = defined $q{id} ? " queryid='$q{id}'" : '';
    my $id = $client->iq('set', $q{to}, "<query xmlns='$mam'$queryid>$form$set"
                                        . ($q{more} // '') . '</query>');
    my (@results, $iq);

    while ($iq = $client->recv_stanza()) {
        last if $iq->is('iq') && ($iq->attr('id') // '') eq $id;
        push @results, $iq if $iq->is('message');
    }

    my $inner = "*[local-name() = 'result' and namespace-uri() = '$mam']";
    my $fin = "*[local-name() = 'fin' and namespace-uri() = '$mam']";
    my $text = sub {
        my ($e) = $iq->find("$fin/*/*[local-name() = '$_[0]']");
        return $e ? $e->textContent() : undef;
    };
    my ($complete) = $iq->find("$fin/\@complete");

    return {
        iq => $iq, results => \@results,
        ids => [ map { ($_->find("$inner/\@id"))[0]->value() } @results ],
        bodies => join(' ', map { my ($b) = $_->find('.//c:body');
                                  $b ? $b->textContent() : '-' } @results),
        complete => $complete ? $complete->value() eq 'true' ? 1 : 0 : 0,
        map { $_ => $text->($_) } qw/ first last count /,
    };
}

sub page { my ($set, %q) = @_; return query($a, set => $set, %q) }

sub error { return query(@_)->{iq}->error() }

# another session of alice's

sub leaves {
    my ($client) = @_;

    $client->close();
    ok($a->expect('presence', type => 'unavailable', from => $client->jid()),
       'it leaves');
}

sub stanza_id {
    my ($stanza, $by) = @_;

    my ($id) = $stanza->find(".//*[local-name() = 'stanza-id' and "
                             . "namespace-uri() = 'urn:xmpp:sid:0' and "
                             . "\@by = '$by']/\@id");

    return $id ? $id->value() : undef;
}


###############################################################################
# 7: what an account can do; XEP-0359, 5

{
    my $info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    my $answer = $a->query('get', $a->bare(), $info);

    ok($answer->test("info:query/info:feature/\@var = '$_'"),
       "XEP-0313, 7: $_")
        for $mam, "$mam#extended", 'urn:xmpp:sid:0';

    if ($ours) {
        ok($answer->test("info:query/info:feature/\@var = "
                         . "'$mam#groupchat-field'"), 'and its field');
        ok(!$a->query('get', $domain, $info)
              ->test("info:query/info:feature/\@var = '$mam'"),
           'the host has no archive');

        my $erin = $t->online('erin', domain => 'third.test', password => 'e');
        ok(!$erin->query('get', $erin->bare(), $info)
              ->test("info:query/info:feature/\@var = '$mam'"),
           'none, when it is off');
        is(error($erin), 'cancel service-unavailable', 'nor a query');
        is($erin->query('get', undef, "<prefs xmlns='$mam'/>")->error(),
           'cancel service-unavailable', 'nor preferences');

        $bob->message($erin->jid(), 'off', type => 'chat');
        my $off = $erin->expect('message', body => 'off');
        is(stanza_id($off, $erin->bare()), undef, 'and no id');
        is(query($bob, field => { with => $erin->bare() })->{bodies}, 'off',
           'who sent it has it');
        $erin->message($bob->jid(), 'off2', type => 'chat');
        ok(stanza_id($bob->expect('message', body => 'off2'), $bob->bare()),
           'and what comes from there');
    }
}


###############################################################################
# 3.5, XEP-0359: ids of what is received

my @sent;

{
    $bob->message($a->jid(), 'm1', type => 'chat', id => 'one');
    my $m = $a->expect('message', body => 'm1');
    my $id = stanza_id($m, $a->bare());

    ok($id, 'XEP-0313, 3.5: with an id');
    ok(length $id >= 22, 'that cannot be guessed');

    my $got = query($a, field => { with => $bob->bare() });
    is($got->{ids}[0], $id, 'which is that of the archive');

    my ($result) = @{ $got->{results} };
    my $inner = "*[local-name() = 'result' and namespace-uri() = '$mam']"
                . "/*[local-name() = 'forwarded' and namespace-uri() = "
                . "'urn:xmpp:forward:0']";

    is($result->mismatch(to => $a->jid(), xpath => [
           "count($inner/c:message) = 1",
           "$inner/c:message/\@from = '" . $bob->jid() . "'",
           "$inner/c:message/\@to = '" . $a->jid() . "'",
           "$inner/c:message/\@type = 'chat'",
           "$inner/c:message/\@id = 'one'" ]), '',
       'XEP-0313, 4.2: the stanza as it was');
    like(($result->find("$inner/*[local-name() = 'delay' and namespace-uri() "
                        . "= 'urn:xmpp:delay']/\@stamp"))[0]->value(), $date,
         'XEP-0313, 4.2: with its time');
    ok(!$result->test("*/\@queryid"), 'no queryid, as none was given');
    is($got->{complete}, 1, 'XEP-0313, 4.3.2: complete');
    is($got->{first}, $id, 'XEP-0059, 2.2: first');
    is($got->{last}, $id, 'XEP-0059, 2.2: last');

    ok(query($a, id => "q'1" =~ s/'/&apos;/r)->{results}[0]
          ->test('*/@queryid = "q\'1"'), 'XEP-0313, 4.2: queryid')
        if $ours;

    # the sender's copy has another id

    my $own = query($bob, field => { with => $a->bare() });
    is($own->{bodies}, 'm1', 'XEP-0313, 3: the sender has it, too');
    isnt($own->{ids}[0], $id, 'under an id of his own');
    is(stanza_id($m, $bob->bare()), undef,
       'XEP-0313, 3.5: which is not told to others');

    # to the bare JID, to two sessions, and in carbons

    my $a2 = $t->online('alice', resource => 'a2', on => 1);
    $a->query('set', undef, "<enable xmlns='urn:xmpp:carbons:2'/>");
    $a2->query('set', undef, "<enable xmlns='urn:xmpp:carbons:2'/>");
    $t->settle($a, $a2, $bob);

    $bob->message($a->bare(), 'm2', type => 'chat');
    my @ids = map { stanza_id($_->expect('message', body => 'm2'), $a->bare()) }
                  $a, $a2;
    ok($ids[0], 'to the bare JID: an id');
    is($ids[0], $ids[1], 'XEP-0359, 3: the same for both');

    $bob->message($a->jid(), 'm3', type => 'chat');
    @ids = (stanza_id($a->expect('message', body => 'm3'), $a->bare()),
            stanza_id($a2->expect('message', xpath => "*[local-name() = "
                                             . "'received']"), $a->bare()));
    is($ids[0], $ids[1], 'XEP-0313, 3.5: the same in a carbon');

    $a->message($bob->jid(), 'm4', type => 'chat');
    my $carbon = $a2->expect('message', xpath => "*[local-name() = 'sent']");
    my $theirs = $bob->expect('message', body => 'm4');
    is(stanza_id($theirs, $a->bare()), undef,
       "XEP-0313, 3.5: the sender's is not told");
    my $m4 = query($a, set => '<max>1</max><before/>');
    is($m4->{bodies}, 'm4', 'XEP-0313, 3: what was sent');
    is(stanza_id($carbon, $a->bare()), $m4->{ids}[0],
       'XEP-0313, 3.5: its id in a carbon') if $ours;

    # a batch

    $bob->send(join '', map { "<message to='" . $a->bare() . "' type='chat'>"
                              . "<body>n$_</body></message>" } 1 .. 20);
    my (@live, @live2);

    for (1 .. 20) {
        push @live, stanza_id($a->expect('message', body => "n$_"),
                              $a->bare());
        push @live2, stanza_id($a2->expect('message', body => "n$_"),
                               $a->bare());
    }

    is("@live", "@live2", 'a batch: the same for both');
    my $last = query($a, set => '<max>20</max><before/>');
    is("@live", "@{ $last->{ids} }", 'and in the archive');
    is($last->{bodies}, join(' ', map { "n$_" } 1 .. 20),
       'XEP-0313, 3.1: in order');
    my %seen = map { $_ => 1 } @live;
    is(scalar keys %seen, 20, 'each its own');

    leaves($a2);
}


###############################################################################
# XEP-0359, 3: forged ids

if ($ours) {
    my $sid = sub { "<stanza-id xmlns='urn:xmpp:sid:0' id='f' by='$_[0]'/>" };

    $bob->message($a->jid(), undef, type => 'chat', xml =>
        $sid->($a->bare()) . $sid->(uc $a->bare()) . $sid->($bob->bare())
        . '<body>forged</body>' . $sid->('room@rooms.example')
        . "<origin-id xmlns='urn:xmpp:sid:0' id='o'/>");
    my $m = $a->expect('message', body => 'forged');

    is(join(' ', map { $_->value() }
                 $m->find("*[local-name() = 'stanza-id']/\@by")),
       'room@rooms.example ' . $a->bare(),
       'XEP-0359, 3: those of the two accounts go, another stays');
    isnt(stanza_id($m, $a->bare()), 'f', 'ours is the one');
    ok($m->test("*[local-name() = 'origin-id']/\@id = 'o'"),
       'XEP-0359, 2.2: origin-id stays');
    ok(!query($a, set => '<max>1</max><before/>')->{results}[0]
           ->test(".//*[local-name() = 'stanza-id' and \@id = 'f' and "
                  . "\@by != 'room\@rooms.example']"), 'nor in the archive');
}


###############################################################################
# 6.1.1: what is archived

if ($ours) {
    my $hints = 'urn:xmpp:hints';
    my @cases = (
        [ 'chat', '<body>b</body>', 1 ],
        [ 'normal', '<body>b</body>', 1 ],
        [ 'headline', '<body>b</body>', 0 ],
        [ 'groupchat', '<body>b</body>', 0 ],
        [ 'error', "<body>b</body><error type='cancel'><gone xmlns='urn:ietf:"
                   . "params:xml:ns:xmpp-stanzas'/></error>", 0 ],
        [ 'chat', "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
          0 ],
        [ 'chat', "<body>b</body><no-store xmlns='$hints'/>", 0 ],
        [ 'chat', "<body>b</body><no-permanent-store xmlns='$hints'/>", 0 ],
        [ 'chat', "<x xmlns='y'/><store xmlns='$hints'/>", 1 ],
        [ 'chat', "<encrypted xmlns='eu.siacs.conversations.axolotl'/>", 1 ],
        [ 'chat', "<received xmlns='urn:xmpp:receipts' id='i'/>", 1 ],
        [ 'chat', "<displayed xmlns='urn:xmpp:chat-markers:0' id='i'/>", 1 ],
        [ 'chat', "<reactions xmlns='urn:xmpp:reactions:0' id='i'/>", 1 ],
        [ 'chat', "<retract xmlns='urn:xmpp:message-retract:1' id='i'/>", 1 ],
        [ 'chat', "<propose xmlns='urn:xmpp:jingle-message:0' id='i'/>", 1 ],
        [ 'chat', "<invite xmlns='urn:xmpp:call-invites:0'/>", 1 ],
        [ 'chat', "<x xmlns='y'/>", 0 ],
    );
    my $n = 0;

    for my $case (@cases) {
        my ($type, $xml, $archived) = @$case;
        my $mark = 'mark' . ++$n;
        my $what = ($archived ? '' : 'not ') . "archived: $type, $xml";

        $bob->message($a->jid(), undef, type => $type, id => $mark,
                      xml => $xml);
        my $m = $a->expect('message', id => $mark);
        is(defined stanza_id($m, $a->bare()) ? 1 : 0, $archived, $what);

        for my $client ($a, $bob) {
            my $last = query($client, set => '<max>1</max><before/>');
            is(($last->{results}[0]->find('.//c:message/@id'))[0]->value()
               eq $mark ? 1 : 0, $archived, "$what: " . $client->who());
        }
    }

    # to oneself, once

    my $a2 = $t->online('alice', resource => 'a2', on => 1);
    $t->settle($a, $a2);
    $a->message($a2->jid(), 'self', type => 'chat');
    ok(stanza_id($a2->expect('message', body => 'self'), $a->bare()),
       'to oneself: an id');
    is(query($a, field => { with => $a->bare() })->{bodies}, 'self',
       'XEP-0313, 4.1.1: with oneself, once');
    leaves($a2);

    # who is blocked, or not there

    $bob->query('set', undef, "<block xmlns='urn:xmpp:blocking'><item jid='"
                              . $carol->bare() . "'/></block>");
    $carol->message($bob->jid(), 'blocked', type => 'chat');
    $carol->message("nobody\@$domain", 'nobody', type => 'chat');
    $carol->sync();
    is(scalar(grep { defined $_->error() && $_->error() ne '' }
              $carol->drain()), 2, 'they come back');
    is(query($carol)->{bodies}, '', 'XEP-0313, 6.1: what came back is not');
    is(query($bob, field => { with => $carol->bare() })->{bodies}, '',
       'nor by who did not get it');
    $bob->query('set', undef, "<unblock xmlns='urn:xmpp:blocking'/>");
    $t->settle($bob);
}


###############################################################################
# For who is away

if ($ours) {
    $bob->message("dora\@$domain2", "d$_", type => 'chat') for 1 .. 5;
    $bob->sync();

    my $dora = $t->online('dora', domain => $domain2, resource => 'd', on => 0);
    my @ids = map { stanza_id($dora->expect('message', body => "d$_"),
                              $dora->bare()) } 1 .. 5;

    is(scalar(grep { defined } @ids), 5, 'kept for one who is away: ids');

    my $got = query($dora);
    is($got->{bodies}, 'd3 d4', 'xmpp_archive_messages, xmpp_archive_page');
    is("@{ $got->{ids} }", "@ids[2, 3]", 'under the ids that were told');
    is($got->{complete}, 0, 'XEP-0313, 4.3.2: not complete');
    is($got->{count}, 3, 'XEP-0059, 2.7: how many there are');
    is(query($dora, set => "<after>$ids[3]</after>")->{bodies}, 'd5', 'and on');
    is(error($dora, set => "<after>$ids[0]</after>"), 'cancel item-not-found',
       'XEP-0313, 4.3.2: one that went is not there');
    $dora->close();
}


###############################################################################
# 4: pages

my @ids;

{
    $carol->message($a->bare(), "p$_", type => 'chat') for 1 .. 3;
    $a->expect('message', body => "p$_") for 1 .. 3;
    $a->message($_ % 2 ? $carol->jid() : $carol->bare(), "p$_", type => 'chat')
        for 4 .. 10;
    $carol->expect('message', body => "p$_") for 4 .. 10;
    $a->sync();

    my %with = (field => { with => $carol->bare() });
    my $all = query($a, %with);
    my @p = map { "p$_" } 0 .. 10;

    is($all->{bodies}, "@p[1 .. 10]", 'XEP-0313, 4.1.1: with a bare JID');
    @ids = ('', @{ $all->{ids} });
    is($all->{complete}, 1, 'all of them');
    is($all->{first}, $ids[1], 'first');
    is($all->{last}, $ids[10], 'last');

    my $got = page('<max>4</max>', %with);
    is($got->{bodies}, "@p[1 .. 4]", 'XEP-0059, 2.1: max');
    is($got->{complete}, 0, 'not complete');
    is($got->{count}, 10, 'XEP-0059, 2.2: how many') if $ours;

    $got = page("<max>4</max><after>$got->{last}</after>", %with);
    is($got->{bodies}, "@p[5 .. 8]", 'XEP-0059, 2.2: the next page');
    $got = page("<max>4</max><after>$got->{last}</after>", %with);
    is($got->{bodies}, "@p[9, 10]", 'the last one');
    is($got->{complete}, 1, 'XEP-0313, 4.3.2: which is complete');
    $got = page("<max>4</max><after>$got->{last}</after>", %with);
    is($got->{bodies}, '', 'then there is none');
    is($got->{complete}, 1, 'which is complete, too');
    is($got->{first}, undef, 'XEP-0059, 2.2: no first');

    $got = page('<max>4</max><before/>', %with);
    is($got->{bodies}, "@p[7 .. 10]", 'XEP-0059, 2.5: the last page, in order');
    is($got->{complete}, 0, 'not complete');
    ok($got->{iq}->test(".//*[local-name() = 'first']/\@index = '6'"),
       'XEP-0059, 2.2: where it begins') if $ours;
    $got = page("<max>4</max><before>$got->{first}</before>", %with);
    is($got->{bodies}, "@p[3 .. 6]", 'XEP-0059, 2.3: the one before');
    $got = page("<max>4</max><before>$got->{first}</before>", %with);
    is($got->{bodies}, "@p[1, 2]", 'the first one');
    is($got->{complete}, 1, 'is complete');

    if ($ours) {
        $got = page('<max>0</max>', %with);
        is($got->{bodies}, '', 'XEP-0059, 2.7: none');
        is($got->{count}, 10, 'XEP-0059, 2.7: but how many there are');
    }

    # 4.1.1: a full JID

    # Prosody matches all resources

    if (!$prosody) {
        is(query($a, field => { with => $carol->jid() })->{bodies},
           'p1 p2 p3 p5 p7 p9', 'XEP-0313, 4.1.1: with a full JID');
        is(query($a, field => { with => $carol->bare() . '/none' })->{bodies},
           '', 'and another one');
    }

    is(query($a, field => { with => 'nobody@' . $domain })->{bodies}, '',
       'and with nobody');

    # 4.1.3, extended

    is(query($a, field => { %{ $with{field} }, 'after-id' => $ids[3] })
           ->{bodies}, "@p[4 .. 10]", 'XEP-0313, 4.1.3: after-id');
    is(query($a, field => { %{ $with{field} }, 'before-id' => $ids[3] })
           ->{bodies}, "@p[1, 2]", 'XEP-0313, 4.1.3: before-id');
    is(query($a, field => { %{ $with{field} }, 'after-id' => $ids[3],
                            'before-id' => $ids[7] }, set => '<max>2</max>')
           ->{bodies}, "@p[4, 5]", 'XEP-0313, 4.1.3: between two');
    is(query($a, field => { %{ $with{field} }, 'after-id' => $ids[3],
                            'before-id' => $ids[7] },
             set => '<max>2</max><before/>')->{bodies}, "@p[5, 6]",
       'the last of those') if !$prosody;

    my $by_id = query($a, field => { ids => [ @ids[7, 2, 9] ] });
    is($by_id->{bodies}, 'p2 p7 p9', 'XEP-0313, 4.1.3: ids');

    # 4.3.4

    $got = query($a, %with, set => '<max>4</max>', more => '<flip-page/>');
    is($got->{bodies}, 'p4 p3 p2 p1', 'XEP-0313, 4.3.4: flipped');
    $got = query($a, %with, set => '<max>4</max><before/>',
                 more => '<flip-page/>');
    is($got->{bodies}, 'p10 p9 p8 p7', 'XEP-0313, 4.3.4: the last ones');

    # 5

    my $answer = $a->query('get', undef, "<metadata xmlns='$mam'/>");
    my $whole = query($a, set => '<max>1</max>');
    my $last = query($a, set => '<max>1</max><before/>');
    is(($answer->find("*/*[local-name() = 'start']/\@id"))[0]->value(),
       $whole->{first}, 'XEP-0313, 5: the first');
    is(($answer->find("*/*[local-name() = 'end']/\@id"))[0]->value(),
       $last->{last}, 'XEP-0313, 5: the last');
    like($_->value(), $date, 'XEP-0313, 5: with a time')
        for $answer->find('*/*/@timestamp');

    my $new = $t->online('dave', on => 1, resource => 'n');
    is($new->query('get', undef, "<metadata xmlns='$mam'/>")
           ->mismatch(type => 'result', xpath => 'count(*/*) = 0'), '',
       'XEP-0313, 5: an empty one') if $ours;
    is(query($new)->{complete}, 1, 'XEP-0313, 4.1: nothing is no error');
    $new->close();
}


###############################################################################
# 4.1.2: time

{
    my %with = (with => $carol->bare());
    my @stamps = map { ($_->find(".//*[local-name() = 'delay']/\@stamp"))[0]
                           ->value() }
                     @{ query($a, field => \%with)->{results} };

    if ($ours) {
        like($_, qr/\.\d{6}Z$/, 'to the microsecond') for $stamps[0];
        is(query($a, field => { %with, start => $stamps[3] })->{bodies},
           join(' ', map { "p$_" } 4 .. 10),
           'XEP-0313, 4.1.2: start, inclusive');
        is(query($a, field => { %with, end => $stamps[3] })->{bodies},
           join(' ', map { "p$_" } 1 .. 4), 'XEP-0313, 4.1.2: end, inclusive');
        is(query($a, field => { %with, start => $stamps[3],
                                end => $stamps[3] })->{bodies}, 'p4', 'both');
        is(query($a, field => { %with, start => $stamps[5],
                                end => $stamps[3] })->{bodies}, '',
           'and the wrong way around');
    }

    is(query($a, field => { %with, start => '2001-01-01T00:00:00Z' })
           ->{bodies}, join(' ', map { "p$_" } 1 .. 10), 'all since then');
    is(query($a, field => { %with, end => '2001-01-01T00:00:00Z' })->{bodies},
       '', 'none until then');
}


###############################################################################
# What is wrong, and what is not allowed

{
    my $unknown = '0' x 32;

    # Prosody has another type

    like(error($a, set => "<$_>$unknown</$_>"),
         $prosody ? qr/ item-not-found$/ : qr/^cancel item-not-found$/,
         "XEP-0313, 4.3.2: $_ what is not there") for qw/ after before /;

    for my $field ($ours ? qw/ after-id before-id ids / : ()) {
        is(error($a, field => { $field => $_ }), 'cancel item-not-found',
           "XEP-0313, 4.1.3: $field, not there: $_")
            for $unknown, 'x', '1-0', query($bob)->{ids}[0];
    }

    if ($ours) {
        is(error($a, field => { ids => [ $ids[1], query($bob)->{ids}[0] ] }),
           'cancel item-not-found', 'one of them is not there');
        is(error($a, field => { nonsense => 'x' }),
           'cancel feature-not-implemented', 'XEP-0313, 4.1.5: no such field');
        is(error($a, field => { with => '@' }), 'modify jid-malformed',
           'no JID');
        is(error($a, field => { $_ => 'yesterday' }), 'modify bad-request',
           "no time: $_") for qw/ start end /;
        is(error($a, set => '<max>many</max>'), 'modify bad-request',
           'no number');
        is(error($a, set => '<index>3</index>'),
           'cancel feature-not-implemented', 'XEP-0059, 2.6: by index');
        is(error($a, field => { ids => [ ($ids[1]) x 257 ] }),
           'modify not-acceptable', 'too many ids');
        is(query($a, field => { with => $carol->bare(),
                                'include-groupchat' => 'true' })
               ->{complete}, 1, 'XEP-0313, 4.1.4: include-groupchat');
    }

    for my $to ("bob\@$domain", "nobody\@$domain") {
        next if !$ours;
        is(error($a, to => $to), 'auth forbidden',
           "XEP-0313, 8.1: another's archive: $to");
        is($a->query('get', $to, "<$_ xmlns='$mam'/>")->error(),
           'auth forbidden', "XEP-0313, 8.1: $_ of $to")
            for qw/ query metadata prefs /;
    }

    my $form = $a->query('get', undef, "<query xmlns='$mam'/>");
    is($form->mismatch(type => 'result', xpath => [
           "*/data:x/\@type = 'form'",
           map { "*/data:x/data:field[\@var = '$_->[0]']/\@type = '$_->[1]'" }
               ([ FORM_TYPE => 'hidden' ], [ with => 'jid-single' ],
                [ start => 'text-single' ], [ end => 'text-single' ],
                $ours ? ([ ids => 'list-multi' ]) : ()) ]), '',
       'XEP-0313, 4.1.5: the form');
    ok($form->test("*/data:x/data:field[\@var = 'ids']/*[local-name() = "
                   . "'validate']/*[local-name() = 'open']"),
       'XEP-0313, 4.1.5: ids are open') if $ours;
}


###############################################################################
# XEP-0441

{
    my $prefs = sub {
        my ($default, $always, $never) = @_;

        return "<prefs xmlns='$mam' default='$default'><always>"
               . join('', map { "<jid>$_</jid>" } @$always) . '</always><never>'
               . join('', map { "<jid>$_</jid>" } @$never) . '</never></prefs>';
    };
    my $is = sub {
        my ($answer, $default, $always, $never, $why) = @_;
        my $list = sub { join ' ', sort map { $_->textContent() }
                             $answer->find("*/*[local-name() = '$_[0]']/*") };

        is($answer->attr('type'), 'result', $why);
        is(($answer->find('*/@default'))[0]->value(), $default,
           "$why: default");
        is($list->('always'), "@$always", "$why: always");
        is($list->('never'), "@$never", "$why: never");
    };
    my $get = "<prefs xmlns='$mam'/>";

    $is->($carol->query('get', undef, $get), 'always', [], [],
          'XEP-0441, 2.1: at first') if $ours;
    $is->($carol->query('set', undef,
                        $prefs->('never', [ "alice\@$domain" ],
                                 [ "bob\@$domain" ])),
          'never', [ "alice\@$domain" ], [ "bob\@$domain" ],
          'XEP-0441, 2.1: set');
    $is->($carol->query('get', undef, $get), 'never', [ "alice\@$domain" ],
          [ "bob\@$domain" ], 'XEP-0441, 2.1: kept');

    $_->message($carol->bare(), 'pref', type => 'chat') for $a, $bob;
    my @got = map { $carol->expect('message', body => 'pref') } 1, 2;
    my %id = map { $_->attr('from') =~ m{^(\w+)} => stanza_id($_,
                                                     $carol->bare()) } @got;
    ok($id{alice}, 'XEP-0441, 2.1.2: always');
    is($id{bob}, undef, 'XEP-0441, 2.1.3: never');
    is(query($carol, field => { with => $bob->bare() })->{bodies}, '',
       'nothing of him');

    $carol->message($bob->bare(), 'pref2', type => 'chat');
    $bob->expect('message', body => 'pref2');
    $carol->sync();
    is(query($carol, field => { with => $bob->bare() })->{bodies}, '',
       'XEP-0441, 2.3.2: nor of what is sent to him');
    is(query($bob, field => { with => $carol->bare() },
             set => '<max>1</max><before/>')->{bodies}, 'pref2',
       'what he wants is his');

    if ($ours) {
        is($carol->query('set', undef, "<prefs xmlns='$mam' default='x'/>")
               ->error(), 'modify bad-request', 'XEP-0441, 2.1.1: no default');
        is($carol->query('set', undef, "<prefs xmlns='$mam'/>")->error(),
           'modify bad-request', 'XEP-0441, 2.1.1: none');
        is($carol->query('set', undef, $prefs->('always', [ '@' ], []))
               ->error(), 'modify jid-malformed', 'no JID');
        is($carol->query('set', undef,
                         $prefs->('always', [ ('a@b.example') x 600 ],
                                  [ ('c@d.example') x 600 ]))->error(),
           'modify policy-violation', 'too many');
        $is->($carol->query('set', undef, "<prefs xmlns='$mam' "
                                          . "default='roster'/>"),
              'roster', [], [], 'XEP-0441, 2.1.2: without lists');
        $is->($carol->query('set', undef, $prefs->('always',
                                [ uc("bob\@$domain") ], [])),
              'always', [ "bob\@$domain" ], [], 'JIDs are prepared');
    }
}


###############################################################################
# Much at once, for one who reads slowly; and one who goes meanwhile

if ($ours) {
    my $slow = $t->online('bob', resource => 'slow', on => 1, rcvbuf => 16384);
    my $body = 'x' x 10000;

    $t->settle($slow);
    $slow->send(join '', map { "<message to='$_' type='chat'><body>$body"
                               . '</body></message>' }
                             ($slow->bare()) x 30);

    my $n = 0;
    while ($n < 60) {
        my $m = $bob->recv_stanza() or last;
        $n++ if $m->is('message');
        last if $n == 30;
    }

    my $got = query($bob, field => { with => $bob->bare() });
    ok(@{ $got->{results} } > 1 && @{ $got->{results} } < 30,
       'a page has so many bytes: ' . @{ $got->{results} });
    is($got->{complete}, 0, 'and is not complete');

    my $all = 0;
    for (my $set = ''; ; $set = "<after>$got->{last}</after>") {
        $got = query($bob, field => { with => $bob->bare() }, set => $set);
        $all += @{ $got->{results} };
        last if $got->{complete} || !@{ $got->{results} };
    }
    is($all, 30, 'one page after another: all of them');

    # several queries in one piece, before anything is read

    $slow->drain();
    my $query = "<query xmlns='$mam'><x xmlns='jabber:x:data' type='submit'>"
                . "<field var='FORM_TYPE'><value>$mam</value></field><field "
                . "var='with'><value>" . $bob->bare() . '</value></field></x>'
                . '</query>';
    $slow->send(join '', map { "<iq type='set' id='s$_'>$query</iq>" }
                             1 .. 6);

    my @fins;
    while (@fins < 6) {
        my $m = $slow->recv_stanza() or last;
        push @fins, $m->attr('id') if $m->is('iq')
                                      && $m->attr('id') =~ /^s\d/;
    }
    is("@fins", join(' ', map { "s$_" } 1 .. 6),
       'a client that reads slowly gets all of them');

    $slow->send(join '', map { "<iq type='set' id='t$_'>$query</iq>" }
                             1 .. 6);
    $slow->close();
    ok($bob->sync(), 'one that goes meanwhile takes nobody along');
}

$t->done();
