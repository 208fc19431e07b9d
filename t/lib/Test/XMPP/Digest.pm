package Test::XMPP::Digest;

# The client side of DIGEST-MD5 (RFC 2831), step by step, so that a test may
# change any directive before it is sent.

use strict;
use warnings;

use Digest::MD5 qw/ md5 md5_hex /;
use Encode qw/ encode /;
use Test::XMPP::SASL;

my $counter = 0;


# new(user, password, host [, authzid])

sub new {
    my ($class, %self) = @_;

    $self{cnonce} //= sprintf 'c%d.%d.%s', $$, ++$counter, rand();

    return bless \%self, $class;
}


# RFC 2831, 2.1.2.1: ISO 8859-1 if that can write it, else UTF-8; of bytes of
# UTF-8

sub hashed {
    my ($bytes) = @_;

    my $text = Encode::decode('UTF-8', $bytes);

    return $text =~ /[^\x00-\xFF]/ ? $bytes : encode('ISO-8859-1', $text);
}


# The secret, as xmppctl stores it: name, realm and password in characters

sub secret {
    my ($user, $realm, $password) = @_;

    return join ':', hashed(encode('UTF-8', $user)), encode('UTF-8', $realm),
                     hashed(Test::XMPP::SASL::saslprep($password));
}


# The directives of a digest-challenge

sub parse {
    my ($text) = @_;

    return $text =~ /([\w-]+)=(?|"([^"]*)"|([^",]*))/g;
}


# Takes digest-challenge, returns digest-response, whose response is right for
# what it says.  %change has other values of directives, without => [ names ]
# leaves some out, extra => [ texts ] is appended.

sub response {
    my ($self, $challenge, %change) = @_;

    my %c = parse($challenge);
    my $uri = $change{'digest-uri'} // "xmpp/$self->{host}";
    my $nonce = $change{nonce} // $c{nonce};
    my $nc = $change{nc} // '00000001';
    my $qop = $change{qop} // 'auth';

    my $a1 = md5(secret($self->{user}, $change{realm} // $self->{host},
                        $self->{password}))
             . ":$nonce:" . ($change{cnonce} // $self->{cnonce});

    $a1 .= ':' . encode('UTF-8', $self->{authzid}) if defined $self->{authzid};

    my $hash = sub {
        md5_hex(join ':', md5_hex($a1), $nonce, $nc,
                $change{cnonce} // $self->{cnonce}, $qop, md5_hex($_[0]));
    };

    $self->{rspauth} = $hash->(":$uri");

    my @directives = (
        charset      => 'utf-8',
        username     => quote(encode('UTF-8', $self->{user})),
        realm        => quote(encode('UTF-8', $change{realm}
                                              // $self->{host})),
        nonce        => quote($nonce),
        nc           => $nc,
        cnonce       => quote($change{cnonce} // $self->{cnonce}),
        'digest-uri' => quote($uri),
        response     => $change{response} // $hash->("AUTHENTICATE:$uri"),
        qop          => $qop,
        defined $self->{authzid}
            ? (authzid => quote(encode('UTF-8', $self->{authzid}))) : (),
    );

    my @text;

    while (my ($name, $value) = splice @directives, 0, 2) {
        push @text, "$name=$value" unless grep { $_ eq $name }
                                               @{ $change{without} // [] };
    }

    return join ',', @text, @{ $change{extra} // [] };
}


# quoted-string, RFC 2831, 7.2

sub quote { '"' . $_[0] =~ s/(["\\])/\\$1/gr . '"' }


# True when the server has shown that it knows the secret: RFC 2831, 2.1.3

sub verify { $_[1] eq "rspauth=$_[0]{rspauth}" }


1;
