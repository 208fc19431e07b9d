package Archive;

# What the archives of a server have, by their own word: XEP-0313 with a page
# of no messages tells how many there are (XEP-0059, 2.7).

use strict;
use warnings;

use Test::XMPP::Client;

use Server;

my $query = "<query xmlns='urn:xmpp:mam:2'>"
            . "<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set>"
            . "</query>";


# count(server, n): in those of load0 and so many, together

sub count {
    my ($server, $n) = @_;
    my $sum = 0;

    my %target = $server->targets('plain');
    my ($host, $port) = $target{targets}[0] =~ /(.*):(\d+)/;

    for my $i (0 .. $n - 1) {
        my $client = Test::XMPP::Client->new(
            host => $host, port => $port, tls => 'none',
            domain => $Server::DOMAIN, user => "load$i",
            password => $Server::PASSWORD, mechanism => $Server::MECHANISM);

        $client->login();

        my $answer = $client->query('set', undef, $query);
        my ($count) = ($answer ? $answer->raw() : '')
                      =~ m{<count[^>]*>(\d+)</count>};

        die $server->name(), ": load$i has no archive\n"
            unless defined $count;

        $sum += $count;
        $client->close();
    }

    return $sum;
}


1;
