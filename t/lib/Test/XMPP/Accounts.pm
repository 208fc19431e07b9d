package Test::XMPP::Accounts;

# The accounts that the protocol tests use, the same on every server they run
# against.  Run as a script (perl Accounts.pm) it prints them, one a line:
# user, domain and password with a TAB between.

use strict;
use warnings;
use utf8;


our $DOMAIN  = 'localhost';
our $DOMAIN2 = 'second.test';

# [ user, domain, password ]; the user name as it is after preparation

our @ACCOUNTS = (
    [ 'alice',    $DOMAIN,  'alice-secret' ],
    [ 'bob',      $DOMAIN,  'bob-secret' ],
    [ 'carol',    $DOMAIN,  'carol-secret' ],
    [ 'dave',     $DOMAIN,  'dave-secret' ],
    [ 'eve',      $DOMAIN,  'eve-secret' ],
    [ 'o,k=x',    $DOMAIN,  'comma,equals=' ],
    [ 'jürgen',   $DOMAIN,  "gr\x{FC}n \x{20AC}5" ],
    [ 'uni',      $DOMAIN,  "I\x{AD}X\x{A0}\x{AA}" ],
    [ 'dora',     $DOMAIN2, 'dora-secret' ],
);


# password($user [, $domain]), or undef

sub password {
    my ($user, $domain) = @_;

    for my $account (@ACCOUNTS) {
        return $account->[2]
            if $account->[0] eq $user
               && (!defined $domain || $account->[1] eq $domain);
    }

    return undef;
}


unless (caller) {
    binmode STDOUT, ':encoding(UTF-8)';
    print join("\t", @$_), "\n" for @ACCOUNTS;
}


1;
