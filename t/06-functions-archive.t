#!/usr/bin/perl

# The Functions of the archive: what is archived, once and under which id; what
# a page has, against a plain list; what goes when there is too much.
# XEP-0313, XEP-0441; cluster.md, rules 2, 7, 11.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;
use Test::XMPP::Functions;

my $f = Test::XMPP::Functions->new();
my $redis = $f->redis();
my $serial = 0;
my $limit = '1000000 1000000000 0';
my $bob = 'bob@localhost/b';


sub fresh {
    my $a = $f->account('u' . ++$serial . '@localhost', @_);

    $a->{keep} = '100 100000';
    $a->{archive} = $limit;

    return $a;
}

sub stanza {
    my ($from, $to, $body) = @_;

    return "<message xmlns='jabber:client' from='$from' to='$to'><body>$body"
           . '</body></message>';
}

# what the archive holds, [ id, stanza ] each

sub all {
    my ($a) = @_;

    return map { [ $_->[0], $_->[1][1] ] }
               @{ $redis->command('XRANGE', $a->key('archive'), '-', '+') };
}

sub bodies { join ' ', map { $_->[1] =~ /<body>(.*?)</ ? $1 : '?' } @_ }

sub meta { split / /, $redis->command('HGET', $_[0]->key('archived'), 'm') }

sub count { $redis->command('XLEN', $_[0]->key('archive')) }

# from bob, with that body

sub say {
    my ($a, $n, @bodies) = @_;

    return $a->route_from($bob, 'w1.b', $n, 'c', '',
                          map { stanza($bob, "$a->{tag}/d", $_) } @bodies);
}


# a page: { outcome, complete, on, count, list }

sub page {
    my ($a, %q) = @_;

    my $got = $redis->command('FCALL', 'xmpp1_archive', 3,
        (map { $a->key($_) } qw/ sessions archive archived /),
        @{ $q{session} // $a->{session} }, $q{there} // '', $q{low} // '0-0',
        $q{high} // '9007199254740991-255', $q{back} ? 'b' : 'f',
        $q{max} // 10, $q{bytes} // 1000000, $q{with} // '', $q{full} // '',
        $q{ids} // '', $q{count} // 0, $q{seconds} // 0);

    my ($outcome, undef, undef, $complete, $on, $count, @list) = @$got;
    my @entries;

    push @entries, [ splice @list, 0, 2 ] while @list;

    return { outcome => $outcome, complete => $complete, on => $on,
             count => $count, list => \@entries };
}

sub watch {
    my ($a) = @_;

    my $epoch = $a->session('desk', "w1.$serial", 0);
    $a->{session} = [ 'desk', "w1.$serial", $epoch ];

    return $a;
}


###############################################################################
# What is archived for the recipient

{
    my $a = watch(fresh());
    my $bells = $a->listen();

    my ($ok, $number) = @{ say($a, 1, 'one') };
    my ($bell) = $bells->rung();

    is($ok, 'ok', 'a message for somebody');
    is(bodies(all($a)), 'one', 'XEP-0313, 5.1.1: is archived');
    is((all($a))[0][0], "$number-0", 'under the number of the bell');
    is($bell->{epoch}, '1', 'which says so');

    $number = say($a, 2, 'two', 'three')->[1];
    is(join(' ', map { $_->[0] } (all($a))[1, 2]), "$number-0 $number-1",
       'a batch: one number, and counted');

    $a->route_again($bob, 'w1.b', 2, 'c', '',
                    map { stanza($bob, $a->{tag}, $_) } qw/ two three /);
    is(bodies(all($a)), 'one two three', 'cluster.md, 2: a repeat is not');

    $a->route_again($bob, 'w1.b', 3, 'c', '',
                    map { stanza($bob, $a->{tag}, $_) } qw/ three four /);
    is(bodies(all($a)), 'one two three four',
       'cluster.md, 2: nor what of it has run');

    $bells->rung();
    local $a->{archive} = '';
    say($a, 5, 'unseen');
    ($bell) = $bells->rung();
    is(bodies(all($a)), 'one two three four', 'none, if it is not asked for');
    is($bell->{epoch}, '0', 'and the bell does not say so');

    # cluster.md, 7: the clock went back, or what was last was lost

    my $far = $f->clock() + 3_600_000_000;
    $redis->command('XADD', $a->key('archive'), "$far-3", 'm',
                    stanza($bob, $a->{tag}, 'far'));
    $redis->command('HSET', $a->key('archived'), 'm', "1 1 $far");

    $a->{archive} = $limit;
    is(say($a, 6, 'late')->[1], sprintf('%.0f', $far + 1),
       'cluster.md, 7: beyond the last one that there is');
    is((all($a))[-1][0], sprintf('%.0f-0', $far + 1), 'and so is the entry');
    is((all($a))[-1][0],
       $redis->command('XREVRANGE', $a->key('inbox'), '+', '-', 'COUNT', 1)
             ->[0][0], 'the same as in the inbox');
}

{
    my $a = watch(fresh());

    $redis->command('SADD', $a->key('blocked'), 'bob@localhost');
    $redis->command('HSET', $a->key('sessions'), 'b', 1);
    is(say($a, 1, 'blocked')->[0], 'none', 'who is blocked');
    is(count($a), 0, 'XEP-0313, 5.1: what is rejected is not archived');

    $a->route('w1.x', 1, 'c', 'desk', stanza("$a->{tag}/x", "$a->{tag}/desk",
                                             'self'));
    is(bodies(all($a)), 'self', 'to oneself: once');
    is(page($a, with => $a->{tag})->{list}[0][1], (all($a))[0][1],
       'XEP-0313, 4.1.1: with oneself');
}

{
    my $a = fresh();

    is(say($a, 1, 'away')->[0], 'ok', 'nobody is there');
    is(bodies(all($a)), 'away', 'what is kept is archived');

    my $kept = $redis->command('XRANGE', $a->key('inbox'), '-', '+')->[0];
    is($kept->[0], (all($a))[0][0], 'under the same id');
    is($kept->[1][2], 'M', 'and the inbox knows');

    my $epoch = $a->session('desk', 'w1.d', 0);
    my $page = $redis->command('FCALL', 'xmpp1_inbox', 2,
        (map { $a->key($_) } qw/ sessions inbox /), 'desk', 'w1.d', $epoch,
        '', 1000, 0);
    is($page->[3], "$kept->[0]+", 'and tells who takes it');

    $a->{keep} = '';
    $a->leave('desk', 'w1.d', $epoch);
    is(say($a, 2, 'refused')->[0], 'none', 'nobody is there, and not kept');
    is(bodies(all($a)), 'away', 'XEP-0313, 5.1: what comes back is not');

    my $nobody = fresh(0);
    is(say($nobody, 3, 'nobody')->[0], 'none', 'no such account');
    is($redis->command('EXISTS', $nobody->key('archive'),
                       $nobody->key('archived')), 0, 'and no archive');
}

{
    my $a = watch(fresh());

    $a->{keep} = '';
    is(say($a, 1, 'busy')->[0], 'busy', 'a record, and nobody listens');
    is(count($a), 0, 'what is tried again is not archived yet');

    my $bells = $a->listen();
    is(say($a, 1, 'busy')->[0], 'ok', 'then somebody does');
    is(bodies(all($a)), 'busy', 'and it is, once');
}


###############################################################################
# What is archived for the sender

{
    my $a = watch(fresh());
    my $bells = $a->listen();
    my @args = ('w1.s', 1, stanza("$a->{tag}/desk", $bob, 'sent'));

    $a->{to} = $bob;

    my $answer = $a->copy(0, @args);
    is($answer->[0], 'none', 'nobody gets a carbon');
    is(bodies(all($a)), 'sent', 'XEP-0313, 5.1.1: it is archived');
    is(scalar $bells->rung(), 0, 'and nothing rings');
    $a->copy(1, @args);
    is(bodies(all($a)), 'sent', 'cluster.md, 2: a repeat is not');

    is(bodies(@{ page($a, with => 'bob@localhost')->{list} }), 'sent',
       'with whom it was sent to');

    my $epoch = $a->bind('two', 'w2.2', boot => 'w2', state => 0,
                         flags => 'c')->[2];
    $bells->rung();

    $answer = $a->copy(0, 'w1.s', 2, stanza("$a->{tag}/desk", $bob, 'more'));
    my ($bell) = $bells->rung();
    is_deeply($bell->{targets}, [ "w2.2:${epoch}s" ], 'a carbon');
    is((all($a))[-1][0], "$bell->{number}-0", 'under its number');
    is($bell->{epoch}, 1, 'which says so');
    is($answer->[1], $bell->{number}, 'and so does the answer');

    local $a->{quiet} = 1;
    $answer = $a->copy(0, 'w1.s', 3, stanza("$a->{tag}/desk", $bob, 'quiet'));
    is(scalar $bells->rung(), 0, 'XEP-0280, 9: not for carbons');
    is(bodies(all($a)), 'sent more quiet', 'but archived');
    is(scalar @$answer, 2, 'who has asked for carbons is not told');

    local $a->{archive} = '';
    $a->copy(0, 'w1.s', 4, stanza("$a->{tag}/desk", $bob, 'no'));
    is(bodies(all($a)), 'sent more quiet', 'none, if it is not asked for');
}


###############################################################################
# Pages, against a list

sub random_page {
    my ($a, $model, $peers) = @_;
    my %q = (back => int rand 2, max => int rand 30);
    my @match = @$model;

    if (rand() < 0.7) {
        $q{with} = $peers->[int rand @$peers];
        @match = grep { $_->{peer} eq $q{with} } @match;

        if (rand() < 0.3) {
            $q{full} = "$q{with}/r" . int rand 3;
            @match = grep { $_->{full} eq $q{full} } @match;
        }
    }

    for my $bound (qw/ low high /) {
        next if rand() < 0.4;

        my $id = $model->[int rand @$model]{id};
        my ($n, $i) = split /-/, $id;

        $i += int(rand 3) - 1;
        $i = 0 if $i < 0;
        $q{$bound} = "$n-$i";
        @match = grep {
            my ($m, $j) = split /-/, $_->{id};
            my $order = $m <=> $n || $j <=> $i;
            $bound eq 'low' ? $order >= 0 : $order <= 0;
        } @match;
    }

    my $got = page($a, %q);
    my @want = @match > $q{max}
               ? $q{back} ? @match[@match - $q{max} .. $#match]
                          : @match[0 .. $q{max} - 1]
               : @match;
    my $what = join ' ', map { "$_=$q{$_}" } sort keys %q;

    # a full JID may be looked for in steps

    my @list = @{ $got->{list} };

    for (my %next = %q; $got->{on} ne '' && !@list; ) {
        my ($n, $i) = split /-/, $got->{on};
        $next{$q{back} ? 'high' : 'low'} =
            $q{back} ? ($i ? sprintf('%s-%d', $n, $i - 1)
                           : sprintf('%.0f-255', $n - 1))
                     : sprintf('%s-%d', $n, $i + 1);
        $got = page($a, %next);
        @list = @{ $got->{list} };
    }

    my $got_ids = join ' ', map { $_->[0] } @list;
    my $want_ids = join ' ', map { $_->{id} } @want;

    # a step may end within a page

    if ($got->{on} ne '' && @list) {
        my $k = @list;
        @want = $q{back} ? @want[@want - $k .. $#want] : @want[0 .. $k - 1];
        $want_ids = join ' ', map { $_->{id} } @want;
        return $got_ids eq $want_ids ? undef : "$what: $got_ids ($want_ids)";
    }

    return "$what: $got_ids ($want_ids)" if $got_ids ne $want_ids;
    return "$what: complete $got->{complete}"
        if $got->{complete} != (@match <= $q{max});
    return undef;
}

{
    my $a = watch(fresh());
    my @peers = map { "p$_\@localhost" } 1 .. 5;
    my @model;

    srand(7);

    for my $n (1 .. 1500) {
        my $peer = $peers[int @peers * rand() ** 3];
        my $full = "$peer/r" . int rand 3;
        my $k = rand() < 0.1 ? 1 + int rand 16 : 1;
        my @stanzas = map { stanza($full, "$a->{tag}/d", $_) } 1 .. $k;
        my $in = rand() < 0.5;

        if ($in) {
            $a->route_from($full, 'w1.b', $n * 100, 'c', '', @stanzas);
        } else {
            $a->{to} = $full;
            @stanzas = map { stanza("$a->{tag}/desk", $full, $_) } 1 .. $k;
            $a->copy(0, 'w1.s', $n * 100, @stanzas);
        }

        $redis->command('DEL', $a->key('inbox'));
        $redis->command('HDEL', $a->key('sessions'), 'i');

        push @model, { peer => $peer, full => $full, stanza => $_ }
            for @stanzas;
    }

    my @all = all($a);
    is(scalar @all, scalar @model, 'all are archived');
    is(join("\n", map { $_->[1] } @all), join("\n", map { $_->{stanza} }
                                                    @model), 'in their order');
    $model[$_]{id} = $all[$_][0] for 0 .. $#model;

    my @wrong;

    for (1 .. 1500) {
        my $wrong = random_page($a, \@model, [ @peers, 'none@localhost' ]);
        push @wrong, $wrong if defined $wrong;
    }

    is(join("\n", @wrong), '', 'XEP-0313, 4: pages are those of a plain list');

    # counts

    for my $peer (@peers, 'none@localhost') {
        is(page($a, with => $peer, count => 1, max => 0)->{count},
           scalar(grep { $_->{peer} eq $peer } @model),
           'XEP-0059, 2.7: how many with one peer');
    }

    is(page($a, count => 1, max => 0)->{count}, scalar @model, 'and in all');
    is(page($a, max => 0)->{complete}, '0', 'none was asked for');
    is(page($a, max => 0, with => 'none@localhost')->{complete}, '1',
       'and there is none');
    is(page($a)->{count}, '', 'only when it is asked for');

    # by id

    my @ids = map { $model[$_]{id} } 700, 3, 3, 90;
    my $got = page($a, ids => "@ids");
    is(join(' ', map { $_->[0] } @{ $got->{list} }), "@ids[1, 3, 0]",
       'XEP-0313, 4.1.3: ids, in order, each once');
    is($got->{complete}, 1, 'and all');
    is(join(' ', map { $_->[0] } @{ page($a, ids => "@ids", max => 2,
                                         back => 1)->{list} }),
       "@ids[3, 0]", 'the last two of them');
    is(page($a, ids => "@ids", max => 2)->{complete}, 0, 'are not all');
    is(page($a, ids => "@ids 5-0")->{outcome}, 'missing',
       'XEP-0313, 4.1.3: one that is not there');
    is(page($a, there => "$ids[0] 5-0")->{outcome}, 'missing',
       'XEP-0313, 4.3.2: one to go on from that is not');
    is(page($a, there => "$ids[0] $ids[1]")->{outcome}, 'ok', 'they are');

    my $with = $model[90]{peer};
    is(join(' ', map { $_->[0] }
                 @{ page($a, ids => "@ids", with => $with)->{list} }),
       join(' ', map { $_->{id} } grep { $_->{peer} eq $with }
                                  @model[3, 90, 700]),
       'ids with one peer');

    # bounded by bytes, at least one

    is(scalar @{ page($a, bytes => 1)->{list} }, 1, 'bytes: one in any case');
    my $some = @{ page($a, bytes => 5000, max => 100)->{list} };
    ok($some > 4 && $some < 10, "bytes: some, $some");
    is(page($a, bytes => 5000, max => 100)->{complete}, 0, 'are not all');

    is(page($a, session => [ 'desk', 'w1.other', 1 ])->{outcome}, 'conflict',
       'who has no record gets nothing');

    # what it begins and ends with

    my $ends = sub {
        $redis->command('FCALL', 'xmpp1_archive_ends', 2,
            (map { $_[0]->key($_) } qw/ sessions archive /),
            @{ $_[0]{session} }, $_[1] // 0);
    };

    is_deeply($ends->($a), [ 'ok', 0, 0, $model[0]{id}, $model[-1]{id} ],
              'XEP-0313, 5: the first and the last');
    is_deeply($ends->(watch(fresh())), [ 'ok', 0, 0 ], 'none, when empty');
}


###############################################################################
# What goes

for my $case ([ count => '64 1000000 0', 300 ],
              [ bytes => '100000 6800 0', 300 ],
              [ chunks => '400 1000000 0', 900 ])
{
    my ($name, $limits, $sent) = @$case;
    my $a = watch(fresh());
    my $max = 0;

    $a->{keep} = '';
    $a->{archive} = $limits;
    my $bells = $a->listen();

    for my $n (1 .. $sent) {
        my $from = 'p' . ($n % 7 ? $n % 3 : 9) . '@localhost/r';
        $a->route_from($from, 'w1.b', $n, 'c', '',
                       stanza($from, $a->{tag}, sprintf '%04d', $n));
        $max = count($a) if count($a) > $max;
    }

    my @all = all($a);
    my @meta = meta($a);

    is($max, 64, "$name: so many are there at most") if $name eq 'count';
    my ($least, $most) = $name eq 'chunks' ? (390, 400) : (50, 70);

    ok(@all > $least && @all <= $most, "$name: so many, " . @all);
    is(bodies(@all), join(' ', map { sprintf '%04d', $_ }
                                   $sent + 1 - @all .. $sent),
       "XEP-0313, 3.2: $name: the oldest go, without holes");
    is($meta[0], length(join '', map { $_->[1] } @all), "$name: bytes");
    ok($meta[0] <= (split / /, $limits)[1], "$name: and not too many");
    is("$meta[1]-0 $meta[2]-0", "$all[0][0] $all[-1][0]",
       "$name: first and last");

    for my $peer (0 .. 2, 9) {
        my @want = map { $_->[0] }
                   grep { $_->[1] =~ / from='p$peer\@/ } @all;

        for my $back (0, 1) {
            is(join(' ', map { $_->[0] }
                         @{ page($a, with => "p$peer\@localhost",
                                 max => 1000, back => $back)->{list} }),
               "@want", "$name: pages with one, back $back");
        }

        is(page($a, with => "p$peer\@localhost", count => 1)->{count},
           scalar @want, "$name: how many with one");
    }

    my $bytes = length join '', %{ $a->hash('archived') };
    ok($bytes < 2000 + 10 * @all,
       "$name: the index has not all of them: $bytes bytes");

    # a peer who says nothing any more

    for my $n ($sent + 1 .. $sent + 500) {
        my $from = 'only@localhost/r';
        $a->route_from($from, 'w1.b', $n, 'c', '',
                       stanza($from, $a->{tag}, sprintf '%04d', $n));
    }

    is(join(' ', grep { !/only/ } grep { /^[ic]/ }
                 keys %{ $a->hash('archived') }), '',
       "$name: nothing is left of who is not in it any more");
}

{
    my $a = watch(fresh());
    my $now = $f->clock();

    # as of a while ago

    for my $age (5000, 4000, 300, 200) {
        $redis->command('XADD', $a->key('archive'),
                        sprintf('%.0f-0', $now - $age * 1_000_000), 'm',
                        stanza($bob, $a->{tag}, $age));
    }

    my @old = all($a);
    $redis->command('HSET', $a->key('archived'), 'm',
                    join ' ', length(join '', map { $_->[1] } @old),
                              $old[0][0] =~ s/-0//r,
                              sprintf('%.0f', $now - 86_400_000_000));

    is(bodies(@{ page($a, seconds => 1000)->{list} }), '300 200',
       'what is too old is not shown');
    is($redis->command('FCALL', 'xmpp1_archive_ends', 2,
           (map { $a->key($_) } qw/ sessions archive /), @{ $a->{session} },
           1000)->[3], $old[2][0], 'nor told to be the first');

    $a->{archive} = '1000 100000 1000';
    say($a, 1, 'new');
    is(bodies(all($a)), '300 200 new', 'and goes with the next one');
    ok($redis->command('TTL', $a->key($_)) > 1000, "$_ ends, too")
        for qw/ archive archived /;

    # without an age it stays; looked at when another day begins

    $a->{archive} = '1000 100000 0';
    my @meta = meta($a);
    $redis->command('HSET', $a->key('archived'), 'm',
                    "$meta[0] $meta[1] " . ($meta[2] - 86_400_000_000));
    say($a, 2, 'newer');
    is($redis->command('TTL', $a->key($_)), -1, "without an age $_ stays")
        for qw/ archive archived /;
}

{
    # of an anonymous user

    my $a = fresh(0);
    my $epoch = $redis->command('FCALL', 'xmpp1_bind', 4,
        (map { $a->key($_) } qw/ account sessions presence roster /),
        $a->channel(), 'desk', 'w1.d', 'w1', 0, 0, 32, '', 7200, '-', 0)->[2];

    $a->{session} = [ 'desk', 'w1.d', $epoch ];
    say($a, 1, 'one');
    is($redis->command('EXISTS', map { $a->key($_) } qw/ archive archived /),
       0, 'somebody without an account: nothing is archived');
}


###############################################################################
# XEP-0441: what the user wants

{
    my $a = watch(fresh());
    my $bells = $a->listen();
    my $n = 0;

    my $set = sub {
        my ($default, $always, $never) = @_;

        return $redis->command('FCALL', 'xmpp1_archiving_set', 3,
            (map { $a->key($_) } qw/ sessions archived archiving /),
            @{ $a->{session} }, $default, join("\n", @$always),
            join("\n", @$never));
    };
    my $get = sub {
        return $redis->command('FCALL', 'xmpp1_archiving', 2,
            (map { $a->key($_) } qw/ sessions archiving /),
            @{ $a->{session} });
    };
    my $archived = sub {
        my ($jid) = @_;
        my $before = count($a);

        $a->route_from($jid, 'w1.b', ++$n, 'c', '',
                       stanza($jid, $a->{tag}, $n));
        $a->{to} = $jid;
        $a->copy(0, 'w1.s', $n, stanza("$a->{tag}/desk", $jid, $n));

        return count($a) - $before;
    };

    is_deeply($get->(), [ 'ok', 0, 0, 'a', '', '' ], 'at first: always');

    for my $lost (0, 1) {
        is_deeply($set->('n', [ 'b@x', 'a@x' ], []), [ 'ok', 0 ], 'never');
        is_deeply($get->(), [ 'ok', 0, 0, 'n', "a\@x\nb\@x", '' ], 'is told');
        $redis->command('DEL', $a->key('archived')) if $lost;
        is($archived->('c@x/r'), 0, 'XEP-0441, 2.1.1: never, by default');
        is($archived->('a@x/r'), 2, 'XEP-0441, 2.1.2: always, of one');

        $set->('a', [ 'd@x/1' ], [ 'a@x', 'b@x/1', 'd@x' ]);
        $redis->command('DEL', $a->key('archived')) if $lost;
        is($archived->('a@x/r'), 0, 'XEP-0441, 2.1.3: never, of one');
        is($archived->('b@x/1'), 0, 'XEP-0441, 2.3.1: of a full JID');
        is($archived->('b@x/2'), 2, 'XEP-0441, 2.3.1: not of another');
        is($archived->('d@x/1'), 2, 'a full JID decides');
        is($archived->('d@x/2'), 0, 'before the bare one');
        is($archived->('c@x/r'), 2, 'XEP-0441, 2.1.1: always, by default');

        $set->('r', [], []);
        $redis->command('DEL', $a->key('archived')) if $lost;
        $a->item('c@x', 'lt');
        $a->item('a@x', 'i');
        is($archived->('c@x/r'), 2, 'XEP-0441, 2.1.1: who is in the roster');
        is($archived->('a@x/r'), 0, 'and who only wants to be');
        is($archived->('d@x/r'), 0, 'and who is not');

        $set->('a', [], []);
        is_deeply($get->(), [ 'ok', 0, 0, 'a', '', '' ], 'as at first');
        is($redis->command('EXISTS', $a->key('archiving')), 0,
           'nothing is kept of it');
        is($redis->command('HEXISTS', $a->key('archived'), 'd'), 0,
           'nor there');
        is($archived->('d@x/r'), 2, 'and all are archived');
        $redis->command('DEL', $a->key($_)) for qw/ archive archived /;
    }

    local $a->{session} = [ 'desk', 'w1.other', 1 ];
    is($set->('n', [], [])->[0], 'conflict', 'not by who has no record');
    is($get->()->[0], 'conflict', 'nor for him');
}


###############################################################################
# The end

{
    my $a = watch(fresh());

    say($a, 1, 'one');
    $redis->command('HSET', $a->key('archiving'), 'd', 'a');
    $a->remove();
    is($redis->command('EXISTS', map { $a->key($_) }
                                 qw/ archive archived archiving /), 0,
       'with the account its archive goes');
}

done_testing();
