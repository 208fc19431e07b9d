package About;

# What a run was made with: machine, versions, the commit.

use strict;
use warnings;

use POSIX ();
use Text::Wrap qw/ wrap /;

use Test::XMPP::Nginx;
use Test::XMPP::Process;

*slurp = \&Test::XMPP::Process::slurp;


# about(): a hash of short texts

sub about {
    my ($cpu) = slurp('/proc/cpuinfo') =~ /^model name\s*:\s*(.+)/m;
    my $processors = () = slurp('/proc/cpuinfo') =~ /^processor\b/mg;
    my ($system) = slurp('/etc/os-release') =~ /^PRETTY_NAME="?([^"\n]+)/m;

    return {
        date       => POSIX::strftime('%Y-%m-%d', gmtime),
        commit     => output('git describe --always --dirty --exclude "*"'),
        processors => "$processors x " . ($cpu // 'unknown'),
        system     => $system // 'unknown',
        kernel     => output('uname -r') =~ s/-.*//r,
        nginx      => first(Test::XMPP::Nginx::binary() . ' -v',
                            qr{nginx/([\d.]+)}),
        redis      => first('redis-server --version', qr/v=([\d.]+)/),
        openssl    => first('openssl version', qr/OpenSSL ([\d.]+)/),
        ejabberd   => package_version('ejabberd'),
        prosody    => package_version('prosody'),
    };
}


sub output {
    my ($command) = @_;
    my $text = `$command 2>&1`;

    return '' if $?;
    chomp $text;
    return $text;
}


sub first {
    my ($command, $re) = @_;

    return output($command) =~ $re ? $1 : 'unknown';
}


# Debian's, without what Debian did to it

sub package_version {
    my ($name) = @_;

    return output("dpkg-query -W -f '\${Version}' $name") =~ s/-.*//r
           || 'unknown';
}


# sentence(about [, of what]): the same for a page

sub sentence {
    my ($it, $what) = @_;

    local $Text::Wrap::columns = 80;

    return wrap('', '', ($what ? "*$what*: measured" : 'Measured')
        . " by `make bench` on $it->{date}"
        . ($it->{commit} eq '' ? '' : " at commit $it->{commit}")
        . ", each figure $it->{repeats} times, memory once: "
        . "nginx $it->{nginx}, Redis $it->{redis}, OpenSSL $it->{openssl}, "
        . "ejabberd $it->{ejabberd} and Prosody $it->{prosody} "
        . "on $it->{system}, Linux $it->{kernel}, $it->{processors}.") . "\n";
}


1;
