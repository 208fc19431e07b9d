#!/usr/bin/perl

# The manuals against the sources: each directive with its real default and
# context, examples that load, generated pages that are up to date, the schema
# of Redis, names and links that exist.
#
# A page that is wrong is named, with what is wrong.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Cwd qw/ abs_path /;
use File::Basename qw/ basename dirname /;
use File::Find;
use Test::More;
use Test::XMPP;

my $top = abs_path("$FindBin::Bin/..");
my $mod = 'ngx_xmpp_module';
chdir $top or die "$top: $!\n";

my (%text, @problems);

find({ no_chdir => 1, wanted => sub {
    read_text($_) if -f && m{/(?:[^/]+\.(?:c|h|md|lua)|config)$};
} }, $mod, 'docs', 'redis');

read_text($_) for qw/ config README.md t\/README.md /;

my @c = grep { m{^$mod/} && /\.c$/ && !m{^$mod/ctl/} } sort keys %text;
my @pages = grep { m{^docs/modules/(?!README)} } sort keys %text;

my %directive = read_directives();
my %manual = read_manual();

cmp_ok(keys %directive, '>=', 24, 'the directives were found in the sources');

rule('each directive is on the page of its module', \&check_pages);
rule('syntax', \&check_syntax);
rule('context', \&check_context);
rule('default', \&check_default);
rule('each page names the documents of its feature', \&check_documents);
rule('figures', \&check_figures);
generated('docs/xep.md', 'xep');
generated('docs/modules/README.md', 'directives');
rule('each key, channel and field is in the schema', \&check_schema_names);
rule('each bell and kind is in the schema', \&check_schema_letters);
rule('each Function is in the schema', \&check_functions);
rule('what links point to is there', \&check_links);
rule('what pages name is there', \&check_names);
rule('each class of attacks has its test, or its time', \&check_attacks);
rule('what comments point to is there', \&check_comments);
check_examples();

done_testing();


sub read_text {
    my ($name) = @_;

    open my $fh, '<:utf8', $name or die "$name: $!\n";
    local $/;
    $text{$name} = <$fh>;
}


sub rule {
    my ($name, $check) = @_;

    @problems = ();
    $check->();

    ok(!@problems, $name);
    diag("  $_") for @problems;
}


sub bad { push @problems, join ': ', @_ }


###############################################################################
# Directives

# Those of the tables in C: flags, setter, field, table of values

sub read_directives {
    my %found;

    for my $file (@c) {
        my ($table) = $text{$file} =~ /^static ngx_command_t .*?\{(.*?)^\};/ms
            or next;
        my $page = basename($file) =~ /^ngx_xmpp_(\w+)_module\.c$/
                   ? $1 : 'core';

        while ($table =~ /\{\s*ngx_string\("(\w+)"\),\s*([\w|\s]+?),
                          \s*(\w+),\s*\w+,
                          \s*(?:offsetof\((\w+),\s*([\w.]+)\)|0),
                          \s*&?(\w+)\s*\}/gx)
        {
            my ($name, $flags, $setter) = ($1, $2, $3);

            $found{$name} = { file => $file, page => "docs/modules/$page.md",
                              type => $4 // '', field => $5 // '',
                              values => $6 };
            $found{$name}{setter} = $setter =~ s/^ngx_xmpp_conf_/ngx_conf_/r;
            $found{$name}{flags}{$_} = 1 for split /[|\s]+/, $flags;
        }
    }

    return %found;
}


# Those of the pages: syntax, default, context

sub read_manual {
    my %found;

    for my $page (@pages) {
        while ($text{$page} =~ /^### (\w+)\n\n(.*?)(?=^##|\z)/msg) {
            my ($name, $body) = ($1, $2);

            my %entry = (page => $page);
            $entry{lc $1} = $2 while $body =~ /^\| (\w+): \| (.*?) \|$/mg;
            $entry{text} = $body =~ s/^\|.*\n//mgr;

            push @{ $found{$name} }, \%entry;
        }
    }

    return %found;
}


sub check_pages {
    for my $name (sort keys %directive) {
        my @entries = @{ $manual{$name} // [] };

        bad($name, scalar @entries . ' times in docs/modules/')
            if @entries != 1;

        for my $entry (@entries) {
            bad($name, "in $entry->{page}, not in $directive{$name}{page}")
                if $entry->{page} ne $directive{$name}{page};
            bad($name, 'has no text') unless $entry->{text} =~ /\w{3}/;
        }
    }

    for my $name (sort keys %manual) {
        bad($manual{$name}[0]{page}, "there is no directive $name")
            unless $directive{$name};
    }
}


# calls $sub->(name, what the source has, what the page has)

sub each_directive {
    my ($sub) = @_;

    for my $name (sort keys %directive) {
        $sub->($name, $directive{$name}, $_) for @{ $manual{$name} // [] };
    }
}


# the names in a table of an enum or a bitmask, by their constant

sub values_of {
    my ($d) = @_;
    my ($table) = $text{ $d->{file} }
                  =~ /\b\Q$d->{values}\E\[\] = \{(.*?)^\};/ms or return;

    return $table =~ /\{ ngx_string\("([^"]+)"\), (\w+) \}/g;
}


sub check_syntax {
    each_directive(sub {
        my ($name, $d, $m) = @_;
        my $f = $d->{flags};
        my %names = values_of($d);

        my ($arguments) = ($m->{syntax} // '') =~ /^`\Q$name\E( .*\}|.*;)`$/
            or return bad($name, 'no syntax');

        $arguments =~ s/;$//;
        $arguments =~ s/\\\|/|/g;

        if ($d->{setter} eq 'ngx_conf_set_enum_slot') {
            is_same($name, 'syntax', join(' ', sort keys %names),
                    join(' ', sort split / \| |^ /, $arguments) =~ s/^ //r);

        } elsif ($d->{setter} eq 'ngx_conf_set_bitmask_slot') {
            for my $value (sort keys %names) {
                bad($name, "the text does not name $value")
                    unless $m->{text} =~ /`\Q$value\E`/;
            }
        }

        my $wanted = $f->{NGX_CONF_BLOCK}  ? qr/^ \w+ \{ \.\.\. \}$/
                   : $f->{NGX_CONF_FLAG}   ? qr/^ on \| off$/
                   : $f->{NGX_CONF_NOARGS} ? qr/^$/
                   : $f->{NGX_CONF_TAKE1234} ? qr/^ \w+( \[\w+=\w+\]){3}$/
                   : $f->{NGX_CONF_1MORE}  ? qr/^ \w+ \.\.\.$/
                 : $f->{NGX_CONF_2MORE}  ? qr/^ \w+ \w+ \.\.\.$/
                   : %names                ? qr/./
                   : qr/^ (?:string|file|time|size|number|address|uri)$/;

        bad($name, "syntax \"$arguments\"") unless $arguments =~ $wanted;
    });
}


# What is accepted where is told by the flags.  A directive of the core must
# be read where it stands: a stream has the configuration of its listener in
# st->conf.

sub check_context {
    each_directive(sub {
        my ($name, $d, $m) = @_;
        my $wanted = '';

        $wanted = 'stream' if $d->{flags}{NGX_STREAM_MAIN_CONF};

        for (qw/ NGX_STREAM_SRV_CONF NGX_XMPP_HOST_CONF NGX_HTTP_MAIN_CONF
                 NGX_HTTP_SRV_CONF NGX_HTTP_LOC_CONF /)
        {
            next unless $d->{flags}{$_};

            $wanted .= ', ' if $wanted;
            $wanted .= /HOST/ ? 'xmpp_host' : /LOC/ ? 'location'
                       : /MAIN/ ? 'http' : 'server';
        }

        bad($name, 'is read elsewhere')
            if $d->{page} eq 'docs/modules/core.md'
               && $wanted =~ /server|xmpp_host/
               && !!is_listeners($d) ne !!($wanted =~ /server/);

        is_same($name, 'context', $wanted, ($m->{context} // '') =~ tr/`//dr);
    });
}


sub is_listeners {
    my ($d) = @_;

    my ($member) = split /\./, $d->{field};

    return grep { $text{$_} =~ /\bst->conf->\Q$member\E\b/ } @c;
}


sub check_default {
    each_directive(sub {
        my ($name, $d, $m) = @_;

        my $wanted = default_of($d);
        my ($default) = ($m->{default} // '') =~ /^`\Q$name\E (.*);`$/;

        return bad($name, 'default: there is none')
            if !defined $wanted && ($m->{default} // '') ne "\x{2014}";
        return if !defined $wanted;

        if ($d->{setter} eq 'ngx_conf_set_msec_slot') {
            $default = milliseconds($default);
        } elsif ($d->{setter} eq 'ngx_conf_set_size_slot') {
            $default = bytes($default);
        }

        is_same($name, 'default', $wanted, $default);
    });
}


# The default in the functions that merge and initialize, undef for none

sub default_of {
    my ($d) = @_;
    my $source = $text{ $d->{file} };
    my $field = quotemeta $d->{field};
    my %names = reverse values_of($d);
    my $value;

    return undef if !$d->{field}
                    || $source =~ /\bconf->$field == NULL\b/;

    return 'on' if $d->{setter} eq 'ngx_conf_set_flag_slot'
                   && $source =~ /\bngx_xmpp_feature_merge_on\b/;

    if ($source =~ /ngx_conf_merge_(?:\w+_)?value\(conf->$field,
                    \s*prev->$field,
                    \s*([^;]+)\);/x
        || $source =~ /ngx_conf_init_(?:\w+_)?value\(\w+->$field,\s*(\w+)\)/
        || $source =~ /ngx_str_set\(&\w+->$field,\s*"([^"]*)"\)/)
    {
        $value = $1;
    }

    return $d->{setter} eq 'ngx_conf_set_str_slot' ? undef : 'unknown'
        unless defined $value && $value ne '""';
    return undef if $value eq 'NULL';

    ($value) = map { /^#define $value +(\d+)$/m } values %text
        if $value =~ /^NGX_XMPP_\w+$/ && !%names;

    return $value ? 'on' : 'off'
        if $d->{setter} eq 'ngx_conf_set_flag_slot';

    if (%names) {
        my @names = map { $names{$_} // () } $value =~ /\w+/g;
        return join ' ', @names;
    }

    return $value;
}


sub milliseconds {
    my ($n, $unit) = ($_[0] // '') =~ /^(\d+)(ms|s|m|h)$/ or return;
    return $n * { ms => 1, s => 1000, m => 60_000, h => 3_600_000 }->{$unit};
}


sub bytes {
    my ($n, $unit) = ($_[0] // '') =~ /^(\d+)([km]?)$/ or return;
    return $n * { '' => 1, k => 1024, m => 1024 ** 2 }->{$unit};
}


sub is_same {
    my ($name, $what, $wanted, $got) = @_;

    $got //= 'nothing';
    bad($name, "$what: \"$got\", it is \"$wanted\"") if $got ne $wanted;
}


###############################################################################
# Pages of features

sub check_documents {
    for my $file (@c) {
        my ($word) = basename($file) =~ /^ngx_xmpp_(\w+)_module\.c$/ or next;
        my $page = $text{"docs/modules/$word.md"}
            // bad("docs/modules/$word.md", 'is missing') && next;

        my ($table) = $text{$file}
                      =~ /\bngx_xmpp_${word}_xeps\[\] = \{(.*?)^\};/ms or next;

        my %in_table = map { ($_ > 999 ? "RFC $_"
                                       : sprintf 'XEP-%04d', $_) => 1 }
                       $table =~ /\{ (\d+), (?:NULL|")/g;
        my %on_page = map { $_ => 1 }
                      $page =~ /^- \[((?:RFC |XEP-)\d+)\]\(https:/mg;

        is_same($word, 'documents', join(', ', sort keys %in_table),
                join(', ', sort keys %on_page));
        bad($word, 'its table of documents was not understood')
            if !%in_table;

        for my $name (sort keys %in_table) {
            bad('docs/xep.md', "has no row of $name for $word")
                if $text{'docs/xep.md'}
                   !~ m{^\| \[\Q$name\E\].*\(modules/$word\.md\)}m;
        }
    }
}


# Constants that pages name: [ source, pattern, page, what it says ]

sub check_figures {
    my $redis = "$mod/redis/ngx_xmpp_redis_private.h";
    my $parser = "$mod/xml/ngx_xmpp_xml_parser.h";
    my $core = 'docs/modules/core.md';
    my $schema = 'docs/redis-schema.md';

    my @figures = (
        [ $redis, qr/_RETRY +(\d+)/, $core, qr/then after (\d+) ms/ ],
        [ $redis, qr/_RETRY_MAX +(\d+)000\b/, $core, qr/up to (\d+) s, / ],
        [ "$mod/ngx_xmpp_module.c", qr/max_queue = (\d+)/,
          $core, qr/At most ([\d,]+)\s+requests/ ],
        [ "$mod/im/ngx_xmpp_presence_directed.c", qr/_DIRECTED +(\d+)/,
          'docs/modules/presence.md', qr/remembers up to ([\d,]+)/ ],
        [ $parser, qr/_ROOT_MAX +(\d+)/, $core, qr/may take (\d+) bytes/ ],
        [ "$mod/ngx_xmpp_module.c", qr/ngx_min\(.*max_elements, (\d+)/,
          $core, qr/more than (\d+) elements/ ],
        [ "$mod/ngx_xmpp_module.c", qr/ngx_min\(.*max_depth, (\d+)/,
          $core, qr/be more than (\d+) deep/ ],
        [ $parser, qr/_LANG_MAX +(\d+)/, $core, qr/its `xml:lang` (\d+)/ ],
        [ "$mod/store/ngx_xmpp_store_login.c", qr/_TALLIES_MAX +"(\d+)"/,
          'docs/modules/login_limit.md', qr/At most ([\d,]+) counters/ ],
        [ "$mod/store/ngx_xmpp_store_login.c", qr/_KNOWN_DAYS +(\d+)/,
          'docs/modules/login_limit.md', qr/within the last (\d+) days/ ],
        [ 'redis/80-account.lua', qr/#list < (\d+)/,
          'docs/modules/login_limit.md', qr/up to (\d+) of them/ ],
        [ 'redis/29-seen.lua', qr/'EXPIRE', seen, (\d+)/,
          $schema, qr/:seen:PERIOD` .* (\d+) s / ],
        [ "$mod/store/ngx_xmpp_store_key.c", qr/_STORE_PERIOD +(\d+)/,
          $schema, qr/divided by (\d+)/ ],
    );

    for my $figure (@figures) {
        my ($source, $is, $page, $said) = @$figure;

        my ($wanted) = $text{$source} =~ $is;
        my ($got) = $text{$page} =~ $said;

        bad($source, "$is was not found") unless defined $wanted;
        is_same($page, $said, $wanted // '', $got && $got =~ tr/,//dr);
    }
}


sub generated {
    my ($file, $what) = @_;

    my $wanted = `.make/docs $what`;
    my $status = $?;
    utf8::decode($wanted);

    is($status, 0, ".make/docs $what");
    ok($wanted eq ($text{$file} // ''), "$file is up to date (make docs)");
}


# Each example configuration, with files and ports of the test's, loads.

sub check_examples {
    my $t = Test::XMPP->new(hosts => 0, users => [], redis => undef);
    my $n = 0;

    $t->run();

    for my $page (@pages, 'README.md', <docs/admin/*.md>) {
        my @blocks = ($text{$page} // '') =~ /^```nginx\n(.*?)^```$/msg;

        ok(scalar @blocks, "$page has an example") if $page =~ m{/modules/};

        # those in the pages of the administrator are often lines to be added
        for my $block (grep { /xmpp_host .*\{.*xmpp_c2s/s } @blocks) {
            my $port = 0;

            $block =~ s/^(?:load_module|\# \/etc).*\n//mg;
            $block =~ s/listen +\[::\]:\d+[^;]*;//g;
            $block =~ s/listen +(?:127\.0\.0\.1:)?\d+/"listen 127.0.0.1:"
                       . "%%PORT_" . $port++ . "%%"/ge;
            $block =~ s/^http \{\n/http {\n%%HTTP%%/m;
            $block =~ s{/var/log/nginx/}{%%PREFIX%%/}g;
            $block =~ s{/etc/ssl/\S+\.(pem|key);}{%%TESTDIR%%/localhost.$1;}g;
            $block =~ s{(ssl_certificate_key.*)\.pem;}{$1.key;}g;

            my $host = $t->start_host(idle => 1, config =>
                "%%GLOBALS%%events { worker_connections 64; }\n$block");
            my ($status, $output) = $host->test_config();

            is($status, 0, "$page: its example loads") or diag($output);
            $n++;
        }
    }

    cmp_ok($n, '>=', 16, 'examples were found');
    is(join("\n", $t->stop()), '', 'logs are clean');
}


###############################################################################
# The schema of Redis

sub schema { $text{'docs/redis-schema.md'} // '' }

# the library of Functions

sub functions {
    return join '', map { $text{$_} } grep { m{^redis/.*\.lua$} }
                                           sort keys %text;
}

# the section under a heading

sub section {
    my ($title) = @_;
    my ($section) = schema() =~ /^#+ \Q$title\E\n(.*?)(?=^#|\z)/ms;

    return $section // '';
}


sub check_schema_names {
    my $key = $text{"$mod/store/ngx_xmpp_store_key.c"};
    my $lua = functions();
    my @ctl = map { $text{$_} } grep { m{^$mod/ctl/.*\.c$} } keys %text;

    my ($suffixes) = $key =~ /ngx_xmpp_store_suffixes\[\] = \{(.*?)^\};/ms;
    my %suffixes = map { $_ => 1 } ($suffixes // '') =~ /ngx_string\("(\w+)/g;

    bad('suffixes', 'were not understood') if keys %suffixes < 4;

    for my $name (sort keys %suffixes) {
        bad($name, 'no such key') unless schema() =~ /`PREFIX:\{TAG\}:$name\b/;
        bad($name, 'no section') unless section($name);
    }

    # keys that are of no account

    for my $name (qw/ secret accounts failures /) {
        bad($name, 'is in no source')
            unless grep { /"%V:$name"|":$name:"/ }
                   @ctl, $key, $text{"$mod/store/ngx_xmpp_store.c"};
        bad($name, 'no such key') unless schema() =~ /`PREFIX:$name\b/;
        bad($name, 'no section') unless section($name);
    }

    # the names that xmppctl makes are those of the server

    # or those of the Functions alone

    for my $name (join('', @ctl) =~ /&jid->bare, "(\w+)"/g) {
        next if $suffixes{$name};

        bad($name, 'only xmppctl knows this key')
            unless $lua =~ /base \.\. '$name'/;
        bad($name, 'no such key') unless schema() =~ /`PREFIX:\{TAG\}:$name`/;
        bad($name, 'no section') unless section($name);
    }

    bad('channel', 'not described')
        unless $key =~ m{^ \* +PREFIX/DB:\{TAG\} }m
               && section('The channel and the bell')
                  =~ m{^    PREFIX/DB:\{TAG\}$}m;

    # fields of the records, and of an account

    my %fields = map { $_ => 1 }
        $lua =~ /'H(?:GET|SET|DEL|INCRBY)', [\w\[\]]+, '(\w)'(?! \.\.)/g,
        $lua =~ /raise\([\w\[\]]+, '(\w)'\)/g,
        $lua =~ /field = '(\w)' \.\./g;

    is_same('sessions and others', 'fields', join(' ', sort keys %fields),
            join(' ', sort keys %{ { map { $_ => 1 }
                                     map { section($_) =~ /^\| `(\w)`/mg }
                                         qw/ sessions roster private
                                             vcard / } }));

    my ($digest) = $text{"$mod/util/ngx_xmpp_digest.c"}
                   =~ /ngx_xmpp_digest_field = ngx_string\("([^"]+)"\)/;
    my ($scram) = $text{"$mod/util/ngx_xmpp_scram_keys.c"}
                  =~ /ngx_xmpp_scram_fields\[.*?\] = \{(.*?)\};/s;

    is_same('account', 'fields',
            join(' ', sort 'created', 'disabled', 'known', 'last',
                            $digest // '', ($scram // '') =~ /"([^"]+)"/g),
            join(' ', sort { $a cmp $b }
                           section('account') =~ /^\| `([\w-]+)`/mg));
}


sub check_schema_letters {
    my $header = $text{"$mod/store/ngx_xmpp_store.h"};
    my $lua = functions();
    my $bell = section('The channel and the bell');

    my %rung = map { $_ => 1 } $lua =~ /\bring\([^,]+, [^,]+, '(\w)'/g;
    $rung{$_} = 1 for $lua =~ /\bpublish\([^,]+, \w+ and '(\w)' or '(\w)'/g,
                      $lua =~ /\bpublish\([^,]+, '(\w)',/g;

    my $rung = join ' ', sort keys %rung;

    is_same('bells', 'in store.h', $rung,
            join(' ', sort $header =~ /define NGX_XMPP_BELL_\w+ +'(\w)'/g));
    is_same('bells', 'described', $rung,
            join(' ', sort $bell =~ /^\| `(\w)` \| [^|]+ \| [^|]+ \|/mg));

    my ($version) = $lua =~ /'(\d)' \.\. kind/;
    is_same('bells', 'version', $version, $bell =~ /`VERSION` \| `(\d)`/);

    is_same('kinds', 'described',
            join(' ', sort $header =~ /define NGX_XMPP_STORE_\w+ +'(\w)'/g),
            join(' ', sort { $a cmp $b } section('xmpp1_route')
                           =~ /(?<=[ ])`(\w)` \w+(?=[,\n])/g));
}


# Each Function with its number of keys and arguments, and all its answers

sub check_functions {
    my $lua = functions();
    my %functions = ($lua =~ /register_function\('(\w+)', (\w+)\)/g,
        $lua =~ /register_function\{\ function_name\ =\ '(\w+)',
                 \s+callback\ =\ (\w+)/gx);

    bad('redis', 'no Functions were found') if keys %functions < 5;

    for my $name (schema() =~ /^### (xmpp\d+_\w+)/mg) {
        bad($name, 'is no Function') unless $functions{$name};
    }

    for my $file (@c, grep { m{^$mod/ctl/} } keys %text) {
        for my $name ($text{$file} =~ /"(xmpp\d+_\w+)"/g) {
            bad($file, "there is no Function $name") unless $functions{$name};
        }
    }

    for my $name (sort keys %functions) {
        my $section = section($name);
        my ($comment, $body) = $lua =~ /^--\n((?:--[^\n]*\n)+)
            local\ function\ $functions{$name}\(keys,\ args\)\n(.*?)^end$/msx
            or bad($name, 'was not found') && next;

        my ($keys) = $comment =~ /^-- keys: (.*)$/m;
        my ($listed) = $section =~ /^Keys: (.*?)\.$/ms;

        is_same($name, 'keys', scalar split(/, /, $keys),
                scalar split(/,\s/, $listed // ''));

        my ($arguments) = sort { $b <=> $a } $body =~ /\bargs\[(\d+)\]/g;

        is_same($name, 'arguments', $arguments,
                scalar(() = $section =~ /^\d+\. /mg));

        my %answers = map { $_ => 1 }
            $body =~ /\breturn \{ '(\w+)'/g, $body =~ /\breply = \{ '(\w+)'/g;

        is_same($name, 'answers', join(' ', sort keys %answers),
                join(' ', sort $section =~ /^\| `([a-z]{2,})`/mg));
    }
}


###############################################################################
# What pages and comments point to

# the text without blocks of code

sub prose {
    my ($page) = @_;

    return $text{$page} =~ s/^```.*?^```$//msgr =~ s/^ {4}.*$//mgr;
}


# A row names a test, or says that it is for later; no test is left out.

sub check_attacks {
    my $page = 'docs/internals/attacks.md';
    my $rows = 0;

    for ($text{$page} =~ /^\| (?!class)(.*) \|$/mg) {
        my ($class, undef, $tests) = split /\s*\|\s*/;

        $rows++;
        bad($page, $class) unless $tests =~ m{/t/[\w/-]+\.\w+\)|^later: \w};
    }

    bad($page, "only $rows classes") if $rows < 31;

    for my $test (glob 't/80-attack-*.t') {
        bad($page, "$test is not there")
            unless $text{$page} =~ m{/\Q$test\E\)};
    }
}


sub check_links {
    for my $page (grep { /\.md$/ } sort keys %text) {
        my $prose = prose($page);
        my @targets = $prose =~ /\]\(([^)\s]+)\)/g;

        push @targets, $prose =~ /^\[\w+\]: (\S+)$/mg;

        for my $target (grep { !/^https?:/ } @targets) {
            my ($file, $anchor) = split /#/, $target, 2;

            my $path = length $file ? clean(dirname($page) . "/$file") : $page;

            if (!-e $path) {
                bad($page, "there is no $path");
                next;
            }

            next unless defined $anchor;

            my %anchors = map { anchor_of($_) => 1 }
                          ($text{$path} // '') =~ /^#+ (.*)$/mg;

            bad($page, "no heading for #$anchor in $path")
                unless $anchors{$anchor};
        }
    }
}


sub clean {
    my ($path) = @_;

    1 while $path =~ s{(?:^|/)\K[^/.]+/\.\./|^\./|/\K\./}{};
    return $path;
}


sub anchor_of { return lc($_[0]) =~ s/[^\w\s-]//gr =~ s/ /-/gr }


# Files, functions, types and constants named in prose exist; those of the
# example in adding-a-xep.md are the word it invents.

sub check_names {
    my $sources = join "\n", map { $text{$_} }
                  grep { /\.[ch]$|\.lua$/ } sort keys %text;
    my %word = map { $_ => 1 } $sources =~ /\b((?:ngx|NGX)_\w+)\b/g;

    # t/55-metrics.t compares these with what is told
    my %metric = map { $_ => 1 }
        $text{'docs/modules/metrics.md'} =~ /^\| `(ngx_\w+)` \|/mg;

    for my $page (grep { m{^docs/} } sort keys %text) {
        for my $code (prose($page) =~ /`([^`\n]+)`/g) {
            next if $page =~ /adding-a-xep/
                    && $code =~ /(?<![a-z])last(?![a-z])/;

            for my $name ($code =~ /\b((?:ngx|NGX)_xmpp_\w+[a-z0-9])\b/gi) {
                bad($page, "nothing is called $name")
                    unless $word{$name} || $metric{$name}
                           || grep { m{/\Q$name\E\.\w+$} } keys %text;
            }

            next unless $code =~ m{^[\w./-]+$} && $code !~ m{^/}
                        && $code =~ m{^[\w.-]+/|\.(?:c|h|lua|md|t)$};

            next if $code =~ m{^(?:PREFIX|nginx\.conf|build/)};

            bad($page, "there is no $code")
                unless grep { -e } $code, "$mod/$code", glob "$mod/*/$code";
        }
    }
}


sub check_comments {
    for my $file (sort keys %text) {
        for my $rule ($text{$file} =~ /cluster\.md,\s(?:[*-]+\s)?rules?
                                       \s(?:[*-]+\s)?(\d+)/gx)
        {
            bad($file, "there is no rule $rule")
                unless $text{'docs/internals/cluster.md'} =~ /^### $rule\. /m;
        }

        next if $file =~ /\.md$/;

        for my $path ($text{$file} =~ m{\b(docs/[\w/.-]+\.md)\b}g) {
            bad($file, "there is no $path") unless -e $path;
        }
    }

    my $folder = 'docs/internals/decisions';

    for my $page (grep { m{^$folder/\d} } sort keys %text) {
        my $name = basename($page);
        my ($number, $title) = $text{$page} =~ /\A# (\d+)\. (.*)$/m;

        bad($page, 'is not in the list of decisions')
            if $name !~ /^0*$number-/
               || index($text{"$folder/README.md"},
                        "\n$number. [$title]($name)\n") < 0;
    }
}
