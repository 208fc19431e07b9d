package Test::XMPP::SASL;

# The client side of PLAIN (RFC 4616), SCRAM (RFC 5802, RFC 7677) and EXTERNAL
# (RFC 4422, appendix A), step by step, so that a test may change any step
# before it is sent.

use strict;
use warnings;

use Digest::SHA qw/ sha1 sha256 sha512 hmac_sha1 hmac_sha256 hmac_sha512 /;
use Encode qw/ encode /;
use MIME::Base64 qw/ encode_base64 decode_base64 /;
use Unicode::Normalize qw/ NFKC /;


our @MECHANISMS = qw/ SCRAM-SHA-512 SCRAM-SHA-256 SCRAM-SHA-1 PLAIN /;

my %hash = (
    'SCRAM-SHA-1'   => [ \&sha1, \&hmac_sha1 ],
    'SCRAM-SHA-256' => [ \&sha256, \&hmac_sha256 ],
    'SCRAM-SHA-512' => [ \&sha512, \&hmac_sha512 ],
);

my %salted;        # keys are slow to derive and tests log in often
my $counter = 0;


# new(mechanism, user, password [, authzid, nonce, gs2, binding, bytes])
#
# gs2 is the whole GS2 header ("n,,"), authzid and binding change its default;
# binding is the type, bytes are what the connection is bound by.

sub new {
    my ($class, %self) = @_;

    $self{nonce} //= sprintf 'n%d.%d.%s', $$, ++$counter, rand();
    $self{bytes} //= '';
    $self{gs2} //= (defined $self{binding} ? "p=$self{binding}," : 'n,')
                   . (defined $self{authzid}
                      ? 'a=' . escape(encode('UTF-8', $self{authzid})) : '')
                   . ',';

    return bless \%self, $class;
}


# The user name in a SCRAM message: RFC 5802, 5.1

sub escape {
    my ($name) = @_;

    $name =~ s/=/=3D/g;
    $name =~ s/,/=2C/g;

    return $name;
}


# RFC 4013 as far as the test passwords need it

sub saslprep {
    my ($password) = @_;

    $password =~ tr/\x{A0}\x{1680}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}/ /;
    $password =~ tr/\x{AD}\x{200B}-\x{200D}\x{2060}\x{FE00}-\x{FE0F}\x{FEFF}//d;

    return encode('UTF-8', NFKC($password));
}


# The first message of the client, as bytes

sub first {
    my ($self) = @_;

    return encode('UTF-8', $self->{authzid} // '')
        if $self->{mechanism} eq 'EXTERNAL';

    if ($self->{mechanism} eq 'PLAIN') {
        return join "\0", map { encode('UTF-8', $_) }
                          $self->{authzid} // '', $self->{user},
                          $self->{password};
    }

    $self->{bare} //= 'n=' . escape(encode('UTF-8', $self->{user}))
                      . ",r=$self->{nonce}";

    return $self->{gs2} . $self->{bare};
}


# Takes the first message of the server, returns the last one of the client.
# The hash overrides parts of it: c, r, p, extra.

sub final {
    my ($self, $server_first, %change) = @_;

    my ($r, $salt, $i) = $server_first =~ /^r=([^,]+),s=([^,]+),i=(\d+)/
        or die "bad server-first: $server_first\n";

    $self->{server_nonce} = $r;
    $self->{salt} = $salt;
    $self->{iterations} = $i;

    my ($h, $hmac) = @{ $self->hash() };
    my $salted = $self->salted_password(decode_base64($salt), $i);

    my $client_key = $hmac->('Client Key', $salted);
    my $server_key = $hmac->('Server Key', $salted);

    my $c = $change{c} // encode_base64($self->{gs2} . $self->{bytes}, '');
    my $nonce = $change{r} // $r;
    my $without = "c=$c,r=$nonce" . ($change{extra} // '');
    my $auth = "$self->{bare},$server_first,$without";

    my $proof = $client_key ^ $hmac->($auth, $h->($client_key));
    $self->{signature} = encode_base64($hmac->($auth, $server_key), '');

    return "$without,p=" . ($change{p} // encode_base64($proof, ''));
}


# True when the server has shown that it knows the keys: RFC 5802, 5

sub verify {
    my ($self, $server_final) = @_;

    return $self->single() ? $server_final eq ''
           : $server_final eq "v=$self->{signature}";
}


# The hash of the mechanism and its HMAC

sub hash { $hash{ $_[0]{mechanism} =~ s/-PLUS$//r } }


# True when the first message of the client is the only one

sub single {
    my ($self) = @_;

    return $self->{mechanism} =~ /^(?:PLAIN|EXTERNAL|ANONYMOUS)$/;
}


# Hi() of RFC 5802, 2.2

sub salted_password {
    my ($self, $salt, $iterations) = @_;

    my $password = saslprep($self->{password});
    my $hmac = $self->hash()->[1];

    return $salted{"$hmac $iterations $salt $password"} //= do {
        my $u = $hmac->($salt . "\0\0\0\1", $password);
        my $sum = $u;

        for (2 .. $iterations) {
            $u = $hmac->($u, $password);
            $sum ^= $u;
        }

        $sum;
    };
}


1;
