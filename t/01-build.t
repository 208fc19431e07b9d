#!/usr/bin/perl

# The module builds with gcc and clang, without a warning, shows nginx's three
# names and nothing else, brings its hiredis along, loads into the installed
# nginx, and is installed and taken out again.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use File::Find;
use File::Temp qw/ tempdir /;
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/..');
my $dir = tempdir('xmpp-build-XXXXXXXX', TMPDIR => 1, CLEANUP => 1);

# as from a shell: what "make test" was told is not for these builds, but that
# its own is one of them, when it is the module for the nginx that is installed

my %told = map { $_ => delete $ENV{$_} // '' }
           qw/ CC CFLAGS LDFLAGS BUILD NGX_SRC NGX_CONFIGURE STATIC FULL
               SANITIZE /;

delete @ENV{qw/ MAKEFLAGS MAKELEVEL MFLAGS DESTDIR PREFIX /};

my %build = map { $_ => [ "CC=$_", "BUILD=build/$_" ] } qw/ gcc clang /;

if (!grep { $told{$_} } qw/ NGX_SRC NGX_CONFIGURE STATIC FULL SANITIZE /) {
    $told{BUILD} ||= 'build';
    $told{CC} ||= 'cc';

    my $cc = `$told{CC} --version` =~ /clang/ ? 'clang' : 'gcc';

    $build{$cc} = [ map { "$_=$told{$_}" } grep { $told{$_} ne '' }
                    sort keys %told ];
}

my $nginx = $ENV{NGINX_BIN} || '/usr/sbin/nginx';
my $info = `$nginx -V 2>&1`;
my ($modules) = $info =~ /--modules-path=(\S+)/;


for my $cc (qw/ gcc clang /) {

    # kept, so that the next time only what has changed is built
    my $build = folder($cc);
    my $so = "$build/ngx_xmpp_module.so";

    my ($status, $output) = make(@{ $build{$cc} });
    is($status, 0, "$cc: is built") or diag($output);

    like(slurp("$build/objs/Makefile"), qr/^CFLAGS = .* -Wall .*-Werror/m,
         "$cc: with -Werror");

    ($status, $output) = make(@{ $build{$cc} });
    is("$status$output", '0', "$cc: nothing is done twice");

    my @names = map { (split)[-1] } `nm -D --defined-only $so`;
    is("@{[ sort @names ]}",
       'ngx_module_names ngx_module_order ngx_modules',
       "$cc: exports what nginx looks up");

    my $needed = `readelf -d $so`;
    like($needed, qr/NEEDED.*libxml2/, "$cc: libxml2 is shared");
    unlike($needed, qr/NEEDED.*hiredis/, "$cc: hiredis is not");

    ok(-x "$build/xmppctl", "$cc: xmppctl is there");

    like(load($so), qr/test is successful/, "$cc: nginx loads it");
}


# what is compiled in

my $gcc = folder('gcc');
my $source = slurp("$gcc/objs/ngx_xmpp/ngx_xmpp_functions.c");
my ($length) = $source =~ /ngx_xmpp_functions_lua = \{\s*(\d+),/;
my ($bytes) = $source =~ /_bytes\[\] = \{(.*?)\};/s;
my $lua = join '', map { slurp($_) } sort glob "$top/redis/*.lua";

is(substr(join('', map { chr } $bytes =~ /\d+/g), 0, $length), $lua,
   'the functions are compiled in');

my @order = slurp("$gcc/objs/ngx_xmpp_module_modules.c")
            =~ /ngx_module_order\[\] = \{(.*?)\};/s;
like($order[0], qr/\A\s*"ngx_xmpp_module",.*"ngx_stream_ssl_module",
                   \s*"ngx_xmpp_c2s_module",\s*NULL/sx,
     'comes before ngx_stream_ssl_module, c2s after it');


# a library is missing

my $fake = "$dir/cc";
open my $fh, '>', $fake or die "$fake: $!\n";
print $fh <<'EOT';
#!/bin/sh
case "$*" in *libhiredis.a*|*-licuuc*) echo "ld: cannot find it"; exit 1; esac
exec cc "$@"
EOT
close $fh;
chmod 0755, $fake;

my ($status, $output) = make("CC=$fake", "BUILD=$dir/none");
isnt($status, 0, 'no build without the libraries');
like($output, qr/error: .*\n.*apt-get install libhiredis-dev libicu-dev$/m,
     'the missing ones are named');

($status, $output) = make("NGX_SRC=$dir/nowhere", "BUILD=$dir/none");
like($output, qr/no nginx source tree in NGX_SRC=/, 'a wrong NGX_SRC');

($status, $output) = make('STATIC=1', "BUILD=$dir/none");
like($output, qr/built from its sources/, 'a static one takes sources');


# into a system and out of it

my $root = "$dir/root";
my @install = (@{ $build{gcc} }, "DESTDIR=$root", "NGINX_BIN=$nginx");

($status, $output) = make('install', 'PREFIX=/opt', @install);
is($status, 0, 'is installed') or diag($output);

my @expected = ("/opt/bin/xmppctl", "$modules/ngx_xmpp_module.so");

push @expected, '/etc/nginx/modules-enabled/70-mod-stream-xmpp.conf',
                '/usr/share/nginx/modules-available/mod-stream-xmpp.conf'
    if -d '/etc/nginx/modules-enabled';

is_deeply([ installed() ], [ sort @expected ], 'all files are there');

my $link = "$root/etc/nginx/modules-enabled/70-mod-stream-xmpp.conf";
is(readlink $link, '/usr/share/nginx/modules-available/mod-stream-xmpp.conf',
   'loaded after stream');
is(slurp("$root" . readlink $link), "load_module "
   . "$modules/ngx_xmpp_module.so;\n", 'by its path');

($status, $output) = make('uninstall', 'PREFIX=/opt', @install);
is($status, 0, 'is taken out') or diag($output);
is_deeply([ installed() ], [], 'no file is left');

done_testing();


sub folder {
    my ($build) = map { /^BUILD=(.*)/ } @{ $build{ $_[0] } };

    return $build =~ m{^/} ? $build : "$top/$build";
}


sub make {
    my $command = join ' ', map { quotemeta } 'make', '-C', $top,
                                '--no-print-directory', @_;
    my $output = `$command 2>&1`;

    return ($? >> 8, $output);
}


sub load {
    my ($so) = @_;
    my $stream = $info =~ /--with-stream=dynamic/
                 ? "load_module $modules/ngx_stream_module.so;" : '';
    my $conf = "$dir/nginx.conf";

    open my $fh, '>', $conf or die "$conf: $!\n";
    print $fh "$stream\nload_module $so;\npid $dir/pid;\nevents { }\n";
    close $fh;

    return `$nginx -t -p $dir -c $conf -e stderr 2>&1`;
}


sub installed {
    my @found;

    find({ no_chdir => 1, wanted => sub {
        push @found, s/^\Q$root\E//r if !-d $_ || -l $_;
    } }, $root);

    return sort @found;
}


sub slurp {
    my ($file) = @_;

    open my $fh, '<', $file or return '';
    local $/;

    return <$fh>;
}
