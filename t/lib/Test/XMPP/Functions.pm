package Test::XMPP::Functions;

# Calls the Functions of redis/*.lua on a private Redis, as the workers do,
# and listens to the bells.  Nothing of the module takes part.
#
#   my $f = Test::XMPP::Functions->new();
#   my $a = $f->account('alice@localhost');
#   my $bells = $a->listen();
#   my ($ok, $number, $epoch) = @{ $a->bind('desk', 'sid1') };
#   my @rung = $bells->rung();      # { kind, number, previous, ... }
#
# Answers are references to arrays, as the Functions return them.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use File::Temp qw/ tempdir /;

use Test::XMPP::Process;
use Test::XMPP::Redis;

# What nobody should take for anything else: resources, or stanzas, of bytes
# that mean something in a record, a bell, a key or a command of Redis

our %ODD = (
    'CRLF'                 => "a\r\nb",
    'LF first'             => "\n",
    'CRLF of a command'    => "x\r\n*1\r\n\$8\r\nFLUSHALL\r\n",
    'NUL'                  => "a\0b",
    'NUL alone'            => "\0",
    'spaces'               => ' a  b ',
    'a record'             => '99999999999999999 s1 boot0 127',
    'a bell'               => "1m 9 8 0 s1:1\n<m/>",
    'a target'             => 's1:1,s2:2',
    'colons'               => ':a:b:',
    'commas'               => ',a,b,',
    'braces'               => '{a}{b}',
    'half a brace'         => '}',
    'percent'              => '%7b%00%',
    'a pattern of Lua'     => '^(%d+) (.-)$',
    'the epoch\'s field'   => 'e',
    'the number\'s field'  => 'n',
    'the mark of a record' => 'r',
    'nothing but a minus'  => '-',
    'a number'             => '0',
    'slashes'              => 'a/b@c/d',
    'quotes'               => q{'"\\},
    'all bytes'            => join('', map { chr } 0 .. 255),
    '1023 bytes'           => 'x' x 1023,
    '1023 bytes of spaces' => ' ' x 1023,
    '1023 bytes of UTF-8'  => "\xC3\xA9" x 511 . 'x',
);

my $root = abs_path(dirname(__FILE__) . '/../../../..');


sub new {
    my ($class) = @_;

    my $self = bless {
        dir => tempdir('xmpp-functions-XXXXXXXX', TMPDIR => 1, CLEANUP => 1),
    }, $class;

    $self->{redis} = Test::XMPP::Redis->new($self->{dir});
    $self->load();

    return $self;
}


sub redis { $_[0]{redis} }

sub load {
    my ($self) = @_;

    return $self->{redis}->command('FUNCTION', 'LOAD', 'REPLACE', library());
}


# The library, as the build makes it of its files

sub library {
    return join '', map { Test::XMPP::Process::slurp($_) }
                        sort glob "$root/redis/*.lua";
}


# The clock of Redis in microseconds

sub clock {
    my ($self) = @_;

    my ($s, $us) = @{ $self->{redis}->command('TIME') };

    return $s * 1_000_000 + $us;
}


# An account that exists; with the second argument 0 only its keys.

sub account {
    my ($self, $tag, $exists) = @_;

    my $account = Test::XMPP::Functions::Account->new($self->{redis}, $tag);

    $account->create() if $exists // 1;

    return $account;
}


sub stop {
    my ($self) = @_;

    return $self->{redis}->stop();
}


###############################################################################

package Test::XMPP::Functions::Account;

sub new {
    my ($class, $redis, $tag) = @_;

    return bless { redis => $redis, tag => $tag, period => 7 }, $class;
}


sub key     { "xmpp:{$_[0]{tag}}:$_[1]" }
sub channel { "xmpp/0:{$_[0]{tag}}" }
sub redis   { $_[0]{redis} }

sub create {
    my ($self) = @_;

    $self->redis()->command('HSET', $self->key('account'), 'created', 1);

    return $self;
}


# the period of time that the identities of stanzas are kept under

sub period {
    my ($self, $period) = @_;

    $self->{period} = $period if defined $period;

    return $self->{period};
}


sub _call {
    my ($self, $name, @arguments) = @_;

    return $self->redis()->command('FCALL', "xmpp1_$name", 5,
        (map { $self->key($_) }
             qw/ account sessions presence roster requests /),
        $self->channel(), @arguments);
}


sub gone { "<presence type='unavailable' from='$_[0]{tag}/$_[1]'/>" }


# bind($resource, $sid [, epoch =>, state =>, max =>, boot =>, created =>])

sub bind {
    my ($self, $resource, $sid, %opt) = @_;

    return $self->_call('bind', $resource, $sid, $opt{boot} // 'boot0',
                        $opt{epoch} // 0, $opt{state} // '-',
                        $opt{max} // 32, $self->gone($resource), 0,
                        $opt{flags} // '-', $opt{created} // 0);
}


# flags($resource, $sid, $epoch, $flags)

sub flags {
    my ($self, @arguments) = @_;

    return $self->redis()->command('FCALL', 'xmpp1_flags', 1,
                                   $self->key('sessions'), @arguments,
                                   $self->channel());
}


# presence($resource, $sid, $epoch, $state, $stanza [, $initial]); but for
# whether there is something in the inbox, which presence_inbox() returns

sub presence {
    my ($self, @arguments) = @_;

    my $answer = $self->_presence(@arguments);

    splice @$answer, 4, 1 if @$answer > 4;

    return $answer;
}

sub presence_inbox { my $self = shift; return $self->_presence(@_)->[4] }

sub _presence {
    my ($self, $resource, $sid, $epoch, $state, $stanza, $initial) = @_;

    return $self->_call('presence', $resource, $sid, $epoch, $state, $stanza,
                        $initial ? 1 : 0);
}


# The two steps of the end, and what comes between them for a session that
# goes on

sub ends {
    my ($self, $resource, $sid, $epoch, $held) = @_;

    return $self->_call('gone', $resource, $sid, $epoch,
                        $self->gone($resource), $held ? 1 : 0);
}

sub told   { my $self = shift; return $self->_call('told', @_) }
sub unbind { my $self = shift; return $self->_call('unbind', @_) }


# Both, as a worker does them when there is nobody to tell; the outcome

sub leave {
    my ($self, $resource, $sid, $epoch) = @_;

    my ($outcome, undef, $known, $contacts) =
        @{ $self->ends($resource, $sid, $epoch) };

    $self->unbind($resource, $sid, $known) if length($contacts // '');

    return [ $outcome ];
}


# item($bare, $state [, $rest]): an item of the roster; without a state it goes

sub item {
    my ($self, $bare, $state, $rest) = @_;

    return $self->redis()->command('HDEL', $self->key('roster'), "i$bare")
        unless defined $state;

    return $self->redis()->command('HSET', $self->key('roster'), "i$bare",
                                   "1 $state 0 " . ($rest // ''));
}


# contact($user, $what [, $stanza, $resource]), in this account's slot

sub contact {
    my ($self, $user, $what, $stanza, $resource) = @_;

    return $self->redis()->command('FCALL', 'xmpp1_contact', 3,
        (map { $self->key($_) } qw/ sessions presence roster /),
        $self->channel(), $user, $what, $stanza // '', $resource // '');
}


# A session: bound, and available unless the state is '-'; returns its epoch.

sub session {
    my ($self, $resource, $sid, $state) = @_;

    my $answer = $self->bind($resource, $sid);
    die "bind: @$answer\n" unless $answer->[0] eq 'ok';

    $self->presence($resource, $sid, $answer->[2], $state,
                    "<presence from='$self->{tag}/$resource'/>", 1)
        if defined $state && $state ne '-';

    return $answer->[2];
}


# route($sid, $counter, $kind, $resource ('': bare JID), $stanza, ...), as a
# command that may have run before; the counters of more stanzas follow the
# first.  route_first() is the same for one that has not, and route_from() for
# one of a full JID, the first argument, that may be blocked.

sub route       { my $self = shift; return $self->_route('1', '', @_) }
sub route_first { my $self = shift; return $self->_route('0', '', @_) }
sub route_from  { my $self = shift; return $self->_route('0', @_) }
sub route_again { my $self = shift; return $self->_route('1', @_) }

# only what a repeat of the command answers, too: outcome and number

sub _route {
    my $self = shift;
    my $answer = $self->route_carbons(@_);

    return [ @$answer[0, 1] ];
}

# The whole answer: the arguments are whether it may have run before, the
# sender's full JID, sid, counter, kind, resource and the stanzas.

sub route_carbons {
    my ($self, $again, $from, $sid, $counter, $kind, $resource, @stanzas) = @_;

    return $self->redis()->command('FCALL', 'xmpp1_route', 3,
        $self->key('sessions'),
        $self->key('seen:' . $self->{period}),
        $self->key('seen:' . ($self->{period} - 1)),
        $self->channel(), $sid, $kind, $resource, $from, $self->{keep} // '',
        $self->{archive} // '', (map { ($counter++, $_) } @stanzas), $again);
}


# copy($again, $sid, $counter, $stanza, ...): carbons of what was sent, and what
# is archived of it; to $self->{to}, and no carbons if $self->{quiet}

sub copy {
    my ($self, $again, $sid, $counter, @stanzas) = @_;

    return $self->redis()->command('FCALL', 'xmpp1_copy', 3,
        $self->key('sessions'),
        $self->key('seen:' . $self->{period}),
        $self->key('seen:' . ($self->{period} - 1)),
        $self->channel(), $sid, $self->{to} // 'to@localhost/r',
        $self->{quiet} ? 0 : 1, $self->{archive} // '',
        (map { ($counter++, $_) } @stanzas), $again);
}


sub remove {
    my ($self, @created) = @_;

    return $self->redis()->command('FCALL', 'xmpp1_remove', 1,
                                   $self->key('account'), $self->channel(),
                                   @created);
}


sub record {
    my ($self, $resource) = @_;

    return $self->redis()->command('HGET', $self->key('sessions'),
                                   "r$resource");
}


# A hash of Redis as one of Perl; kept() is all that the account has there.

sub hash {
    my ($self, $name) = @_;

    return { @{ $self->redis()->command('HGETALL', $self->key($name)) } };
}


sub kept {
    my ($self) = @_;

    return { map { $_ => $self->hash($_) } qw/ account sessions presence / };
}


sub listen {
    my ($self) = @_;

    return Test::XMPP::Functions::Bells->new($self);
}


###############################################################################

package Test::XMPP::Functions::Bells;

use IO::Socket::UNIX;

my $marks = 0;


# Subscribed when this returns

sub new {
    my ($class, $account) = @_;

    my $fh = IO::Socket::UNIX->new(Peer => $account->redis()->socket())
        or die "Redis: $!\n";
    my $self = bless { account => $account, fh => $fh }, $class;
    my $channel = $account->channel();

    print $fh "*2\r\n\$10\r\nSSUBSCRIBE\r\n\$", length($channel),
              "\r\n$channel\r\n";
    $fh->flush();

    my $answer = Test::XMPP::Redis::_reply($fh);
    die "SSUBSCRIBE: @$answer\n" unless $answer->[0] eq 'ssubscribe';

    return $self;
}


# What rang since the last call, in order: up to a mark that is rung now.

sub rung {
    my ($self) = @_;

    my $account = $self->{account};
    my $mark = 'mark ' . ++$marks;
    my @bells;

    $account->redis()->command('SPUBLISH', $account->channel(), $mark);

    for ( ;; ) {
        my $push = Test::XMPP::Redis::_reply($self->{fh});

        return @bells if $push->[2] eq $mark;
        push @bells, _parse($push->[2]);
    }
}


sub close {
    my ($self) = @_;

    my $fh = delete $self->{fh};
    my $account = $self->{account};

    close $fh;

    # Redis knows of it when nobody hears a mark any more

    Test::XMPP::Process::await(sub {
        !$account->redis()->command('SPUBLISH', $account->channel(), 'mark');
    }) or die "the channel still has a subscriber\n";
}


# The bell as redis/10-base.lua describes it

sub _parse {
    my ($text) = @_;

    my ($kind, $number, $previous, $epoch, $targets, $lengths, $body) =
        $text =~ /\A1([miokxebcphs])\ (\d+)\ (\d+)\ (\d+)\ ([^\n ]*)
                  (?:\ ([\d,]+))?\n(.*)\z/xs
        or die "not a bell: $text\n";

    return { kind => $kind, number => $number, previous => $previous,
             epoch => $epoch, targets => [ sort split /,/, $targets ],
             defined $lengths ? (lengths => [ split /,/, $lengths ]) : (),
             body => $body };
}


1;
