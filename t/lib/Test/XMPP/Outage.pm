package Test::XMPP::Outage;

# A bad day of Redis, as the users see it: what a login, a message, a ping
# become meanwhile, and that all is as before afterwards, with the same
# connections.
#
#   my $o = Test::XMPP::Outage->new($t, 'loading');   # alice, bob, two hosts
#   $o->begin(sub { ... });                           # the bad day
#   $o->refuses_logins();
#   $o->says_wait();
#   $o->end(sub { ... });                             # and its end

use strict;
use warnings;

use Test::More;
use Test::XMPP::Process;
use Time::HiRes qw/ time /;



# the configuration of each host: Redis is given up soon

our $CONFIG = <<'EOT';
%%GLOBALS%%
events {
    worker_connections  256;
}

stream {
    xmpp_redis          unix:%%REDIS%%;
    xmpp_redis_timeout  1s;

    xmpp_host localhost {
        ssl_certificate      %%TESTDIR%%/localhost.pem;
        ssl_certificate_key  %%TESTDIR%%/localhost.key;
    }

    server {
        listen  127.0.0.1:%%PORT_0%%;
        xmpp_c2s;
    }
}
EOT


# new($t, $name, @hosts): two users online, one on each host, who are in touch;
# the hosts are 0 and 1 unless they are given

sub new {
    my ($class, $t, $name, @hosts) = @_;

    @hosts = (0, 1) unless @hosts;

    my $self = bless { t => $t, name => $name, n => 0, hosts => \@hosts },
                     $class;

    $self->{alice} = $self->come('alice', $hosts[0]);
    $self->{bob} = $self->come('bob', $hosts[1]);
    $self->talk('before');

    return $self;
}


sub alice { $_[0]{alice} }
sub bob   { $_[0]{bob} }


# Tries until the workers have found Redis

sub come {
    my ($self, $user, $host) = @_;
    my $client;

    Test::XMPP::Process::await(sub {
        $client = eval { $self->{t}->online($user, on => $host) };
    }) or diag($@);

    return $client;
}


sub begin {
    my ($self, $what) = @_;

    $_->sync(), $_->drain() for $self->alice(), $self->bob();
    $what->();
}


# RFC 6120, 6.5.9; within the timeouts

sub refuses_logins {
    my ($self, $wanted) = @_;

    $wanted //= 'temporary-auth-failure';

    for my $host (@{ $self->{hosts} }) {
        my $client = $self->{t}->client('alice', on => $host);
        my $start = time();

        $client->secure();

        my $outcome = $client->authenticate();

        is($outcome && ($outcome->is('success') ? 'success'
                                                : $outcome->error()),
           $wanted, "$self->{name}: host $host: a login: $wanted");
        cmp_ok(time() - $start, '<', 10, 'soon');
        $client->drop();
    }
}


# A stanza that certainly did not run comes back, to be sent again later:
# RFC 6120, 8.3.2.  From both: each worker finds out for itself.

sub says_wait {
    my ($self) = @_;

    for ([ $self->alice(), $self->bob() ], [ $self->bob(), $self->alice() ]) {
        my ($from, $to) = @$_;
        my $id = $from->message($to->jid(), 'not now',
                                id => 'wait-' . ++$self->{n});
        my $error = $from->pick('message', id => $id, type => 'error');

        like($error && $error->error(), qr/^wait /,
             "$self->{name}: a message that did not run: wait");
    }
}


# A worker that waits for Redis goes on with all else.

sub answers {
    my ($self) = @_;

    for my $client ($self->alice(), $self->bob()) {
        my $start = time();

        ok($client->sync(), "$self->{name}: " . $client->who()
                            . ' is answered all the same');
        cmp_ok(time() - $start, '<', 2, 'at once');
    }
}


# One that may have run, or not: it comes once at most, and is not returned.
# The hash may say that it has to come.

sub unknown {
    my ($self) = @_;

    return $self->{unknown}
        = $self->alice()->message($self->bob()->jid(),
                                  'perhaps ' . ++$self->{n});
}


# The end of it; everybody is still there and in touch both ways, logins work.

sub end {
    my ($self, $what) = @_;

    $what->();

    my $client = $self->come('carol', $self->{hosts}[1]);

    ok($client, "$self->{name}: logins work again");
    $client->close() if $client;

    $self->talk('afterwards');

    for my $client ($self->alice(), $self->bob()) {
        ok(!defined $client->{eof},
           "$self->{name}: " . $client->who() . ' was there all the time');
    }
}


sub close {
    my ($self) = @_;

    $_->close() for $self->alice(), $self->bob();
}


# Both ways: the first message is tried until it arrives, since a worker may
# not be back yet and says so; those that follow come each once and in order.

sub talk {
    my ($self, $when) = @_;

    my ($alice, $bob, $name) = @$self{qw/ alice bob name /};

    for ([ $alice, $bob ], [ $bob, $alice ]) {
        my ($from, $to) = @$_;
        my $try = 0;

        ok(Test::XMPP::Process::await(sub {
               $from->message($to->jid(), "$name: $when: " . ++$try);
               $from->sync();
               $_->fill() for $from, $to;
               return grep { $_->[0] eq 'stanza'
                             && ($_->[1]->body() // '') =~ /: \Q$when\E: / }
                      @{ $to->{events} };
           }), "$name: $when: " . $from->who() . ' reaches ' . $to->who());

        # behind all tries: Redis answers who sent one before it rings for it

        my $mark = 'mark-' . $from->id();

        $from->message($to->jid(), $mark, type => 'headline');
        ok($to->pick('message', body => $mark), 'and nothing is on its way');
        $from->sync();
        $self->{returned}{ $_->[1]->attr('id') // '' }++
            for grep { $_->[0] eq 'stanza'
                       && ($_->[1]->attr('type') // '') eq 'error' }
                @{ $from->{events} };
        $self->{got}{ $_->[1]->body() // '' }++
            for grep { $_->[0] eq 'stanza' } @{ $to->{events} };
        $_->drain() for $from, $to;

        $from->message($to->jid(), "$when $_") for 1 .. 20;
        is_deeply([ map { my $m = $to->pick('message'); $m && $m->body() }
                    1 .. 20 ], [ map { "$when $_" } 1 .. 20 ],
                  "$name: $when: each once and in order");
        ok($to->expect_nothing(from => $from), 'and no more');
    }

    if (my $id = delete $self->{unknown}) {
        my ($body) = grep { /^perhaps $self->{n}$/ }
                     keys %{ $self->{got} // {} };

        ok(!$self->{returned}{$id},
           "$name: what may have run is not returned");
        cmp_ok($body ? $self->{got}{$body} : 0, '<=', 1,
               'and comes once at most');
    }
}


1;
