package Test::XMPP::CA;

# A private authority and the certificates of the test domains, in one folder:
# ca.pem, DOMAIN.pem (with the CA behind it) and DOMAIN.key.

use strict;
use warnings;

use IO::Socket::SSL::Utils;
use Net::SSLeay;


sub new {
    my ($class, $dir) = @_;

    my $self = bless { dir => $dir }, $class;

    @$self{qw/ cert key /} = CERT_create(
        CA      => 1,
        subject => { commonName => 'XMPP test CA' },
        key     => KEY_create_ec('prime256v1'),
        not_before => time() - 86400,
    );

    PEM_cert2file($self->{cert}, $self->file());

    return $self;
}


sub file { "$_[0]{dir}/ca.pem" }


# issue($domain, @more_names): names with dots and colons only are addresses.

sub issue {
    my ($self, $domain, @names) = @_;

    my ($cert, $key) = CERT_create(
        subject    => { commonName => $domain },
        key        => KEY_create_ec('prime256v1'),
        issuer     => [ @$self{qw/ cert key /} ],
        purpose    => 'server',
        not_before => time() - 86400,
        subjectAltNames => [
            map { [ /^[\d.]+$|:/ ? 'IP' : 'DNS', $_ ] } $domain, @names
        ],
    );

    my $base = "$self->{dir}/$domain";

    PEM_key2file($key, "$base.key");
    chmod 0600, "$base.key";

    open my $fh, '>', "$base.pem" or die "$base.pem: $!\n";
    print $fh PEM_cert2string($cert), PEM_cert2string($self->{cert});
    close $fh;

    CERT_free($cert);
    KEY_free($key);

    return ("$base.pem", "$base.key");
}


1;
