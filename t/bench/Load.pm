package Load;

# The traffic generator with its sessions logged in at one server, for one
# measurement after the other.
#
#   my $load = Load->new($server, 'tls', clients => 200, pairs => 1, ...);
#   my $sample = $load->work(20_000);    { n, cpu, seconds, lost, ... }
#   $load->finish();
#   $load->sent();                       messages, in all that work
#
# n are messages; with relogin => 1 logins, with storm => 1 storms.

use strict;
use warnings;

use Time::HiRes qw/ time /;

use Traffic;

# what is kept of a result; the first must not happen to a message
our @FAULTS = qw/ lost doubled reordered corrupt stray returned /;

my @kept = (@FAULTS, qw/ messages logins refused resumed p50 p90 p99 p999 max
                         cpu_us storm_ms storm_max_ms bytes_sent
                         bytes_received /);


sub new {
    my ($class, $server, $kind, %opt) = @_;

    my @range = @{ delete $opt{range} // [] };

    return bless { server => $server,
                   options => { $server->targets($kind, @range), %opt } },
                 $class;
}


# login(n): all are there, and do nothing; n is of the first work

sub login {
    my ($self, $n) = @_;

    my $options = $self->{options};
    my ($what) = grep { $options->{$_} } qw/ relogin storm /;

    my $traffic = $self->{traffic} = Traffic->start(
        %$options, ($what // 'messages') => $n // 1, hold => 1, control => 1);

    $traffic->wait(qr/^(ready):/, 300)
        or die $self->{server}->name(), ": nobody logs in\n",
               map { "$_\n" } $traffic->said();

    return $self;
}


# work(n): so much; what that cost the server

sub work {
    my ($self, $n) = @_;
    my ($server, $order) = ($self->{server}, "again $n");

    if (!$self->{traffic}) {
        $self->login($n);
        $order = 'go';
    }

    my $traffic = $self->{traffic};
    my ($cpu, $start) = ($server->cpu(), time());

    $traffic->tell($order);

    # when something is lost, the result comes at once
    my ($first) = $traffic->wait(qr/^(traffic: done|result: .*)/, 300);

    my ($cpu_end, $end) = ($server->cpu(), time());
    my ($result) = ($first // '') =~ /^result: (.*)/;

    ($result) = $traffic->wait(qr/^result: (.*)/, 60) unless $result;

    die $server->name(), ": no result\n", map { "$_\n" } $traffic->said()
        if !$result || $result =~ /early=/;

    my %result = map { split /=/, $_, 2 } split ' ', $result;

    $self->{sent} += $result{messages};

    return { n => $n, cpu => $cpu_end - $cpu, seconds => $end - $start,
             map { $_ => $result{$_} + 0 } grep { exists $result{$_} } @kept };
}


sub sent { $_[0]{sent} }


# what came behind the last result is an error, too

sub finish {
    my ($self) = @_;
    my $traffic = delete $self->{traffic} or return;

    $traffic->tell('quit');

    my $status = $traffic->quit(60);

    die $self->{server}->name(), ": the generator ended with $status\n",
        ($traffic->said())[-1], "\n" if $status > 1 || $status < 0;
}


1;
