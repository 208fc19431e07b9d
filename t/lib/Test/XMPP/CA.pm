package Test::XMPP::CA;

# A private authority and the certificates of the test domains, in one folder:
# ca.pem, DOMAIN.pem (with the CA behind it) and DOMAIN.key; and certificates
# of clients, whose names may be anything that ASN.1 can say.

use strict;
use warnings;

use Encode qw/ encode /;
use IO::Socket::SSL::Utils;
use Net::SSLeay;

# id-on-xmppAddr, 1.3.6.1.5.5.7.8.5: RFC 6120, 13.7.1.4
our $XMPP_ADDR = "\x06\x08\x2B\x06\x01\x05\x05\x07\x08\x05";

our %TAG = (UTF8 => 0x0C, OCTET => 0x04, PRINTABLE => 0x13, IA5 => 0x16,
            BMP => 0x1E, SEQUENCE => 0x30);

my $serial = 1000;


# new($dir [, file => 'ca', name => 'XMPP test CA'])

sub new {
    my ($class, $dir, %opt) = @_;

    my $self = bless { dir => $dir, file => 'ca', name => 'XMPP test CA',
                       %opt }, $class;

    @$self{qw/ cert key /} = CERT_create(
        CA      => 1,
        purpose => { ca => 1, cRLSign => 1 },
        subject => { commonName => $self->{name} },
        key     => KEY_create_ec('prime256v1'),
        not_before => time() - 86400,
    );

    PEM_cert2file($self->{cert}, $self->file());

    return $self;
}


sub file { "$_[0]{dir}/$_[0]{file}.pem" }


# issue($domain, @more_names): names with dots and colons only are addresses.
# issue_rsa() writes DOMAIN-rsa.pem and DOMAIN-rsa.key: RSA where EC was.

sub issue {
    my ($self, @names) = @_;

    return $self->_issue($names[0], KEY_create_ec('prime256v1'), @names);
}


sub issue_rsa {
    my ($self, @names) = @_;

    return $self->_issue("$names[0]-rsa", KEY_create_rsa(2048), @names);
}


sub _issue {
    my ($self, $file, $pair, @names) = @_;

    my ($cert, $key) = CERT_create(
        subject    => { commonName => $names[0] },
        key        => $pair,
        issuer     => [ @$self{qw/ cert key /} ],
        purpose    => 'server',
        not_before => time() - 86400,
        subjectAltNames => [
            map { [ /^[\d.]+$|:/ ? 'IP' : 'DNS', $_ ] } @names
        ],
    );

    my $base = "$self->{dir}/$file";

    PEM_key2file($key, "$base.key");
    chmod 0600, "$base.key";

    open my $fh, '>', "$base.pem" or die "$base.pem: $!\n";
    print $fh PEM_cert2string($cert), PEM_cert2string($self->{cert});
    close $fh;

    CERT_free($cert);
    KEY_free($key);

    return ("$base.pem", "$base.key");
}


# A certificate of a client; returns its path without .pem and .key.  Names
# are pairs: xmpp => JID, email => address, dns => name, or raw => DER of a
# GeneralName.  Options: cn, not_before, not_after, purpose.

sub client {
    my ($self, $file, $names, %opt) = @_;

    my @names = @$names;
    my $der = '';

    while (my ($type, $value) = splice @names, 0, 2) {
        $der .= $type eq 'raw' ? $value : general_name($type, $value);
    }

    my ($cert, $key) = CERT_create(
        subject    => { commonName => $opt{cn} // $file },
        key        => KEY_create_ec('prime256v1'),
        issuer     => [ @$self{qw/ cert key /} ],
        purpose    => $opt{purpose} // 'client',
        serial     => $opt{serial} // ++$serial,
        not_before => $opt{not_before} // time() - 86400,
        not_after  => $opt{not_after} // time() + 86400,
        $der eq '' ? ()
            : (ext => [ { sn => 'subjectAltName',
                          data => 'DER:' . unpack 'H*',
                                  der($TAG{SEQUENCE}, $der) } ]),
    );

    my $base = "$self->{dir}/$file";

    PEM_cert2file($cert, "$base.pem");
    PEM_key2file($key, "$base.key");

    CERT_free($cert);
    KEY_free($key);

    return $base;
}


# Writes crl.pem, the list of these revoked serial numbers (hexadecimal)

sub revoke {
    my ($self, @serials) = @_;

    my $dir = $self->{dir};
    my $base = "$dir/$self->{file}-crl";

    PEM_key2file($self->{key}, "$base.key");

    _write("$base.txt", map { "R\t491231235959Z\t200101000000Z\t$_\tunknown"
                              . "\t/CN=revoked\n" } @serials);
    _write("$base.cnf", "[ca]\ndefault_ca = d\n[d]\ndatabase = $base.txt\n"
                        . "default_md = sha256\ndefault_crl_days = 1\n");

    system('openssl', 'ca', '-gencrl', -config => "$base.cnf",
           -keyfile => "$base.key", -cert => $self->file(),
           -out => "$dir/crl.pem") == 0
        or die "openssl ca: $?\n";
}


sub _write {
    my ($file, @lines) = @_;

    open my $fh, '>', $file or die "$file: $!\n";
    print $fh @lines;
    close $fh or die "$file: $!\n";
}


# X.690, 8.1: tag, length, contents

sub der {
    my ($tag, $contents) = @_;

    my $n = length $contents;
    my $length = $n < 0x80 ? pack('C', $n)
                 : $n < 0x100 ? pack('CC', 0x81, $n) : pack('Cn', 0x82, $n);

    return pack('C', $tag) . $length . $contents;
}


# RFC 5280, 4.2.1.6

sub general_name {
    my ($type, $value) = @_;

    return other_name(UTF8 => encode('UTF-8', $value)) if $type eq 'xmpp';
    return der({ email => 0x81, dns => 0x82, uri => 0x86 }->{$type},
               encode('UTF-8', $value));
}


# other_name($type, $bytes [, $oid]): an otherName, as DER

sub other_name {
    my ($type, $bytes, $oid) = @_;

    return der(0xA0, ($oid // $XMPP_ADDR)
                     . der(0xA0, der($TAG{$type} // $type, $bytes)));
}


1;
