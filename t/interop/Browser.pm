package Browser;

# A Chromium without a screen, by what W3C calls WebDriver: chromedriver takes
# JSON over HTTP.  Debian's chromium and chromium-driver.
#
#   my $browser = Browser->new(dir => $dir, width => 1200, height => 800);
#   $browser->go('http://localhost:8080/');
#   $browser->await('return document.title') or die;
#   $browser->type('#password', 'secret', Browser::ENTER);
#   $browser->shot('build/interop/login.png');
#   print map { "$_\n" } $browser->requests();
#
# Each object is a browser of its own, with its own profile, and a private
# chromedriver; both end with it.

use warnings;
use strict;

use Encode ();
use HTTP::Tiny;
use JSON::PP ();
use MIME::Base64 qw/ decode_base64 /;
use Scalar::Util qw/ looks_like_number /;

use Test::XMPP::Process;

use constant ENTER => "\x{E007}";

my $json = JSON::PP->new()->utf8()->allow_nonref();


# missing(): why there is none here, or undef

sub missing {
    for my $program (qw/ chromium chromedriver /) {
        return "$program is not installed"
            if system("command -v $program >/dev/null");
    }

    return undef;
}


sub new {
    my ($class, %opt) = @_;

    my $self = bless { http => HTTP::Tiny->new(timeout => 120,
                                               no_proxy => [ '127.0.0.1' ]),
                       requests => [], console => [], owner => $$ }, $class;
    my $port = Test::XMPP::Process::free_port();

    $self->{url} = "http://127.0.0.1:$port/session";
    $self->{process} = Test::XMPP::Process->start("$opt{dir}/browser.log",
                                                  'chromedriver',
                                                  "--port=$port");
    Test::XMPP::Process::await_port($port, $self->{process})
        or die "chromedriver does not listen\n";

    # Chromium asks its maker for nothing; the network of a container is small

    my @arguments = qw/ --headless=new --no-sandbox --no-first-run
        --disable-gpu --disable-dev-shm-usage --disable-background-networking
        --disable-component-update --disable-default-apps --disable-sync
        --no-proxy-server --lang=en /;

    my $answer = $self->post('', { capabilities => { alwaysMatch => {
        browserName => 'chrome',
        'goog:chromeOptions' => { args => \@arguments },
        'goog:loggingPrefs' => { browser => 'ALL', performance => 'ALL' },
    } } });

    $self->{url} .= "/$answer->{sessionId}";

    # a window may not be as narrow as a phone, its content may

    $self->devtools('Emulation.setDeviceMetricsOverride',
                    width => $opt{width}, height => $opt{height},
                    deviceScaleFactor => 1,
                    mobile => $opt{phone} ? JSON::PP::true : JSON::PP::false);

    return $self;
}


# The value of the answer; what is an error dies with its message.

sub post {
    my ($self, $path, $data) = @_;

    my $answer = $self->{http}->post($self->{url} . $path, {
        headers => { 'Content-Type' => 'application/json' },
        content => $json->encode($data),
    });

    my $value = eval { $json->decode($answer->{content})->{value} };

    die "$path: $answer->{status} " . ($value ? $value->{message}
                                              : $answer->{content}) . "\n"
        unless $answer->{success};

    return $value;
}


sub devtools {
    my ($self, $command, %parameters) = @_;

    for (grep { !ref && looks_like_number($_) } values %parameters) {
        $_ += 0;
    }

    return $self->post('/goog/cdp/execute',
                       { cmd => $command, params => \%parameters });
}


sub go {
    my ($self, $url) = @_;

    $self->post('/url', { url => $url });
}


sub reload { $_[0]->post('/refresh', {}) }

# js($code, @arguments): what it returns; arguments[0] is the first one

sub js {
    my ($self, $code, @arguments) = @_;

    return $self->post('/execute/sync', { script => $code,
                                          args => \@arguments });
}


# The same again until it returns what is true; undef after a minute.

sub await {
    my ($self, $code, @arguments) = @_;

    return Test::XMPP::Process::await(sub {
        # the page may be on its way to another one
        return eval { $self->js($code, @arguments) };
    }, 60);
}


sub type {
    my ($self, $css, @keys) = @_;

    $self->_element($css, 'value', { text => join '', @keys });
}


sub click { $_[0]->_element($_[1], 'click', {}) }


# It may not be there yet, or below what goes away.

sub _element {
    my ($self, $css, $command, $data) = @_;

    Test::XMPP::Process::await(sub {
        eval {
            my $element = $self->post('/element', { using => 'css selector',
                                                    value => $css });
            my ($id) = values %$element;

            $self->post("/element/$id/$command", $data);
            1;
        };
    }, 60) or die "$css: $@";
}


# A picture of the window, as PNG

sub shot {
    my ($self, $file) = @_;

    my $answer = $self->devtools('Page.captureScreenshot', format => 'png');

    open my $fh, '>:raw', $file or die "$file: $!\n";
    print $fh decode_base64($answer->{data});
    close $fh or die "$file: $!\n";
}


# All that was asked for since the start, WebSockets too, in order

sub requests {
    my ($self) = @_;

    for my $entry (@{ $self->post('/se/log', { type => 'performance' }) }) {
        my $message = $json->decode(
            Encode::encode_utf8($entry->{message}))->{message};
        my $parameters = $message->{params};

        push @{ $self->{requests} }, $parameters->{request}{url}
            if $message->{method} eq 'Network.requestWillBeSent';
        push @{ $self->{requests} }, $parameters->{url}
            if $message->{method} eq 'Network.webSocketCreated';
    }

    return @{ $self->{requests} };
}


# What the console says, one line each: "LEVEL message"

sub console {
    my ($self) = @_;

    push @{ $self->{console} }, map { "$_->{level} $_->{message}" }
         @{ $self->post('/se/log', { type => 'browser' }) };

    return @{ $self->{console} };
}


# A new tab, which has the commands from now on; tab($n) goes to another one.

sub new_tab {
    my ($self) = @_;

    my $tab = $self->post('/window/new', { type => 'tab' });

    $self->post('/window', { handle => $tab->{handle} });
}


sub tab {
    my ($self, $n) = @_;

    my $answer = $self->{http}->get("$self->{url}/window/handles");
    my $handles = $json->decode($answer->{content})->{value};

    $self->post('/window', { handle => $handles->[$n] });
}


sub quit {
    my ($self) = @_;

    return if $self->{owner} != $$ || !$self->{process};

    $self->{http}->delete($self->{url});
    $self->{process}->stop();
    $self->{process} = undef;
}


sub DESTROY {
    my ($self) = @_;
    local ($@, $!, $?);

    $self->quit();
}


1;
