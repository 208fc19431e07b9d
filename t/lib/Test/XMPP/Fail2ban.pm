package Test::XMPP::Fail2ban;

# fail2ban with our filter and jail, in a folder of its own.  Nothing of it is
# installed and no service runs: where there is no fail2ban, the package is
# unpacked beside what was built.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;

use Test::XMPP::Process;

my $root = abs_path(dirname(__FILE__) . '/../../../..');


# new($dir): a folder for its configuration

sub new {
    my ($class, $dir) = @_;

    my $self = bless { conf => "$dir/fail2ban" }, $class;

    my $from = _unpacked();

    system('cp', '-r', "$from/etc/fail2ban", $self->{conf}) == 0
        or die "$self->{conf}: cannot copy\n";

    my $ours = "$root/docs/admin/fail2ban";

    unlink glob "$self->{conf}/jail.d/*";
    system('cp', "$ours/ngx-xmpp.conf", "$self->{conf}/filter.d/");
    system('cp', "$ours/jail.conf", "$self->{conf}/jail.d/ngx-xmpp.conf");

    $self->{run} = "PYTHONPATH=\Q$from\E/usr/lib/python3/dist-packages"
                   . " python3 \Q$from\E/usr/bin";

    return $self;
}


sub _unpacked {
    return '' if -x '/usr/bin/fail2ban-regex';

    my $dir = "$root/build/fail2ban";

    return $dir if -x "$dir/usr/bin/fail2ban-regex";

    my $output = `mkdir -p \Q$dir\E && cd \Q$dir\E \\
                  && apt-get -qq download fail2ban 2>&1 \\
                  && dpkg-deb -x fail2ban_*.deb . && rm fail2ban_*.deb`;

    die "fail2ban is missing: $output" unless -x "$dir/usr/bin/fail2ban-regex";
    return $dir;
}


# The addresses of all lines of a log that the filter takes, in order

sub matches {
    my ($self, $log) = @_;

    my $output = `$self->{run}/fail2ban-regex -c \Q$self->{conf}\E \\
                  -o '<ip>' \Q$log\E ngx-xmpp 2>&1`;

    die "fail2ban-regex: $output" if $? & 127 || $output =~ /Traceback|ERROR/;

    return split /\n/, $output;
}


# What fail2ban says of the configuration

sub check {
    my ($self) = @_;

    my $jail = "$self->{conf}/jail.d/ngx-xmpp.conf";
    my $text = Test::XMPP::Process::slurp($jail)
               =~ s{/var/log/nginx/error\.log}{/dev/null}r;

    open my $fh, '>', $jail or die "$jail: $!\n";
    print $fh $text;
    close $fh or die "$jail: $!\n";

    return scalar `$self->{run}/fail2ban-client -c \Q$self->{conf}\E -t 2>&1`;
}


1;
