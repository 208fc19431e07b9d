#!/usr/bin/perl

# How the sources look, and whether they hold together: layout, layers, and
# the rule of one word.  Looks at the files alone, and builds nothing.
#
# A line that breaks a rule is named as file:line, with what is wrong.

use strict;
use warnings;

use Cwd qw/ abs_path /;
use File::Basename qw/ basename dirname /;
use File::Find;
use Test::More;

my $WIDTH = 80;
my $FILE_LINES = 800;
my $FUNCTION_LINES = 90;

# What a file in each folder may include, beside headers of its own folder.
# Folders of one line are at the same height: their shared headers are for
# each other, those of a feature are not.

my @upper = qw/ stream transport im xep muc mam pubsub /;
my @lower = qw/ util xml redis store core . /;

my %below = (
    util  => [],
    xml   => [ 'util' ],
    redis => [ 'util' ],
    store => [ qw/ util redis / ],
    core  => [ qw/ util xml redis store . / ],
    '.'   => [ @lower, @upper ],
    ctl   => [ qw/ util / ],
    admin => [ @lower, @upper ],
    map { $_ => [ @lower, @upper ] } @upper,
);

# headers of features that are a service to others
my %service = map { $_ => 1 } qw/ roster pubsub inbox websocket /;

my @top_level = qw/ ngx_xmpp_module config t docs redis README.md Makefile
                    LICENSE /;

# On what comes from outside these go wrong: no bound, no pool, no end.
my @banned = qw/ sprintf vsprintf strcpy strcat strncpy strncat strlen strtok
                 sscanf gets atoi atol strtol alloca malloc calloc realloc free
                 strdup assert abort setjmp longjmp system popen sleep usleep /;

# nginx's allocator written anew for plain programs, and their main loop
my %allowed = (
    'ctl/ngx_xmpp_ctl_nginx.c' => { map { $_ => 1 } qw/ malloc free / },
);


my $top = abs_path(dirname(__FILE__) . '/..');
my $mod = 'ngx_xmpp_module';
chdir $top or die "$top: $!\n";

my (%text, %code, @files);
my @problems;

find({ no_chdir => 1, wanted => \&wanted }, '.');
@files = sort @files;

my @c = grep { /\.[ch]$/ } @files;
my @module_c = grep { m{^$mod/.*\.[ch]$} } @files;

$code{$_} = blank_comments($text{$_}) for @c;

my ($sources, $features) = read_config();

rule('only what belongs to the top level is there', \&check_top_level);
rule('no generated and no binary files', \&check_binary);
rule("$WIDTH columns, no tabs, no trailing blanks", \&check_lines);
rule('no // comments, no marks of unfinished work', \&check_comments);
rule('each file starts with what it is', \&check_heads);
rule("files up to $FILE_LINES lines, functions up to $FUNCTION_LINES",
     \&check_sizes);
rule('layout of nginx', \&check_layout);
rule('no banned functions, no mutable static locals', \&check_banned);
rule('includes point down, and to no other feature', \&check_layers);
rule('config lists all sources, once', \&check_config);
rule('one word: module, directive, manual page, test', \&check_words);
rule('each directive has its manual', \&check_directives);

done_testing();


sub wanted {
    my $name = $_ =~ s{^\./}{}r;

    if (-d $_) {
        $File::Find::prune = 1
            if $name =~ m{^(?:\.git|\.run|build[^/]*)$};
        return;
    }

    # a source is text that a person wrote, wherever it lies
    return if !-f $_ || $name eq '.git';

    open my $fh, '<', $_ or die "$_: $!\n";
    local $/;

    push @files, $name;
    $text{$name} = <$fh> // '';
}


sub rule {
    my ($name, $check) = @_;

    @problems = ();
    $check->();

    ok(!@problems, $name);

    my $more = @problems - 20;
    diag("  $_") for splice @problems, 0, 20;
    diag("  and $more more") if $more > 0;
}


sub bad { push @problems, join ': ', @_ }


# calls $sub->(line number, line) for each line

sub each_line {
    my ($text, $sub) = @_;
    my $n = 0;

    $sub->(++$n, $_) for split /\n/, $text;
}


# The code with comments and the inside of strings blanked, lines kept.

sub blank_comments {
    my ($text) = @_;

    $text =~ s{
        ( "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' )
        | ( /\*.*?\*/ )
    }{
        defined $1 ? substr($1, 0, 1) . ('x' x (length($1) - 2))
                     . substr($1, 0, 1)
                   : $2 =~ s/[^\n]/ /gr
    }gsex;

    return $text;
}


# What the addon file lists: sources with their folder, and folder => words

sub read_config {
    my (@sources, %features);
    my $config = $text{config} // '';

    push @sources, 'ngx_xmpp_module.c';

    while ($config =~ /^ngx_xmpp_([a-z]+)="([^"]*)"/mg) {
        my ($folder, $words) = ($1, $2);
        push @sources, map { "$folder/ngx_xmpp_$_.c" } split ' ', $words;
    }

    while ($config =~ /^ngx_xmpp_([a-z]+)_features="([^"]*)"/mg) {
        my ($folder, $words) = ($1, $2);
        push @sources, map { "$folder/ngx_xmpp_${_}_module.c" }
                       split ' ', $words;
        $features{$folder} = [ split ' ', $words ];
    }

    return (\@sources, \%features);
}


sub feature_of {
    my ($header) = @_;
    my ($name) = basename($header) =~ /^ngx_xmpp_(\w+?)(?:_module)?\.h$/
        or return;

    for my $word (map { @$_ } values %$features) {
        return $word if $name eq $word || $name =~ /^\Q$word\E_/;
    }

    return;
}


sub check_top_level {
    my %allowed = map { $_ => 1 } @top_level;
    my %seen;

    for my $name (map { (split m{/}, $_)[0] } @files) {
        next if $seen{$name}++;
        bad($name, 'does not belong here')
            unless $allowed{$name} || $name =~ /^\./;
    }
}


sub check_binary {
    for my $file (@files) {
        bad($file, 'holds a zero byte') if $text{$file} =~ /\0/;
        bad($file, 'is generated, or left over')
            if $file =~ /\.(?:o|a|so|pyc|orig|rej|swp|log|core|gcda)$|~$/;
    }
}


sub check_lines {
    for my $file (@files) {
        my $tabs = $file =~ m{(?:^|/)Makefile$|\.make$|\.corpus/};
        my $markdown = $file =~ /\.md$/;

        next if $file =~ m{^t/fuzz/corpus-|^docs/.*\.svg$
                           |^docs/admin/grafana\.json$}x;

        bad($file, 'does not end with one newline')
            if length $text{$file} && $text{$file} !~ /[^\n]\n\z/;

        each_line($text{$file}, sub {
            my ($n, $line) = @_;
            my $length = length($line =~ s/[\x80-\xbf]//gr);

            # a table or a link cannot be broken
            $length = 0 if $markdown && $line =~ m{^\s*\||\S{60}};

            bad("$file:$n", "$length columns") if $length > $WIDTH;
            bad("$file:$n", 'trailing blanks') if $line =~ /\s$/;
            bad("$file:$n", 'a tab') if !$tabs && $line =~ /\t/;
        });
    }
}


sub check_comments {
    for my $file (@c) {
        each_line($code{$file}, sub {
            my ($n, $line) = @_;
            bad("$file:$n", 'a // comment') if $line =~ m{//};
        });
    }

    for my $file (grep { $_ ne 't/00-style.t' } @files) {
        next if $file =~ /\.md$/;

        each_line($text{$file}, sub {
            my ($n, $line) = @_;
            bad("$file:$n", "\"$1\"")
                if $line =~ /\b(TODO|FIXME|XXX|HACK)\b(?!X)/
                   && $line !~ /TODO:\s*\{|local \$TODO/;
        });
    }
}


sub check_heads {
    for my $file (@c) {
        bad($file, 'no head comment')
            unless $text{$file} =~ m{\A\n?/\*\n \*};
    }

    for my $file (grep { /\.(?:t|pm|pl)$/ } @files) {
        my @first = grep { defined } (split /\n/, $text{$file})[0 .. 12];
        bad($file, 'no head comment') unless grep { /^# \S/ } @first;
    }
}


sub check_sizes {
    for my $file (@files) {
        my $lines = $text{$file} =~ tr/\n//;

        bad($file, "$lines lines")
            if $lines > $FILE_LINES && $file =~ /\.(?:c|h|pm|t|pl|lua|py)$/;
    }

    for my $file (grep { /\.c$/ } @module_c) {
        my ($name, $start);

        each_line($code{$file}, sub {
            my ($n, $line) = @_;

            $name = $1 if $line =~ /^(\w+)\(/;
            $start = $n if $line =~ /^\{/;

            if ($line =~ /^\}$/ && $start) {
                my $length = $n - $start - 1;
                bad("$file:$start", "$name() has $length lines")
                    if $length > $FUNCTION_LINES;
                $start = undef;
            }
        });
    }
}


sub check_layout {
    for my $file (@module_c) {
        bad($file, 'more than two blank lines')
            if $text{$file} =~ /\n\n\n\n/;

        bad($file, 'a function without two blank lines before it')
            if $code{$file} =~ /^\}\n(?:\n)?(?=\S)(?!\n)(?![\s\}#\w]+;)\w+/m;

        each_line($code{$file}, sub {
            my ($n, $line) = @_;

            bad("$file:$n", "\"$1(\"")
                if $line =~ /\b(if|for|while|switch|return)\(/;
            bad("$file:$n", 'no blank before {') if $line =~ /\)\{/;
            bad("$file:$n", 'else on a line of its own')
                if $line =~ /^\s*else\b/;
            bad("$file:$n", 'a body on the line of its if')
                if $line =~ /^\s*if \(.*\)\s+(?!\{|\/)[^()]+;$/;
            bad("$file:$n", 'an odd indent')
                if $line =~ /^( +)(?:return|break|continue|goto)\b/
                   && length($1) % 4;
        });
    }
}


sub check_banned {
    my $banned = join '|', @banned;

    for my $file (@module_c) {
        my ($short) = $file =~ m{^$mod/(.*)};

        each_line($code{$file}, sub {
            my ($n, $line) = @_;

            while ($line =~ /(?<![\w.>])($banned)\s*\(/g) {
                bad("$file:$n", "$1()")
                    unless $allowed{$short} && $allowed{$short}{$1};
            }

            bad("$file:$n", 'a mutable static local')
                if $line =~ /^\s+static\s+(?!const\b)(?!.*\()\w/;
        });
    }
}


sub check_layers {
    my %folder = map { basename($_) => (m{^$mod/([^/]+)/} ? $1 : '.') }
                 grep { /\.h$/ } @module_c;

    for my $file (@module_c) {
        my $own = $file =~ m{^$mod/([^/]+)/} ? $1 : '.';
        my ($word) = basename($file) =~ /^ngx_xmpp_(\w+)\.[ch]$/;
        my %may = map { $_ => 1 } $own, @{ $below{$own} // [] };

        bad($file, "the folder $own has no place in the layers")
            unless $below{$own};

        each_line($text{$file}, sub {
            my ($n, $line) = @_;
            my ($header) = $line =~ /^\s*#\s*include\s+["<](ngx_xmpp\w*\.h)[">]/
                or return;

            my $there = $folder{$header}
                or return bad("$file:$n", "there is no $header");

            bad("$file:$n", "$own/ includes $header of $there/")
                unless $may{$there};

            my $feature = feature_of($header);

            bad("$file:$n", "includes $header of the feature $feature")
                if $feature && !$service{$feature}
                   && $word !~ /^\Q$feature\E(?:_|$)/;
        });
    }
}


sub check_config {
    my %listed;

    $listed{"$mod/$_"}++ for @$sources;

    for my $file (grep { /\.c$/ && !m{^$mod/ctl/} } @module_c) {
        my $times = delete $listed{$file} // 0;
        bad($file, "is $times times in config") if $times != 1;
    }

    bad("config lists $_", 'there is no such file') for sort keys %listed;
}


# What carries the word of a feature.  Those in stream/ are the negotiation
# itself, and not all of them can be turned off; a transport is tested by all.

sub check_words {
    for my $folder (sort keys %$features) {
        for my $word (@{ $features->{$folder} }) {
            my $file = "$mod/$folder/ngx_xmpp_${word}_module.c";

            bad($word, "$file has no ngx_xmpp_${word}_module")
                if ($code{$file} // '')
                   !~ /^ngx_module_t\s+ngx_xmpp_${word}_module\b/m;

            bad($word, "no docs/modules/$word.md")
                unless exists $text{"docs/modules/$word.md"};

            bad($word, "no t/NN-$word.t")
                unless $folder eq 'transport'
                       || grep { m{^t/\d+-\Q$word\E\.t$} } @files;

            next if $folder eq 'stream';

            bad($word, "no directive xmpp_$word")
                unless ($text{$file} // '') =~ /ngx_string\("xmpp_$word"\)/;
        }
    }
}


sub check_directives {
    my $manual = join '', @text{ grep { m{^docs/modules/.*\.md$} } @files };

    for my $file (grep { /\.c$/ } @module_c) {
        while ($text{$file} =~ /\{ ngx_string\("(xmpp_\w+)"\),/g) {
            bad($file, "$1 is in no page of docs/modules/")
                unless $manual =~ /\b$1\b/;
        }
    }
}
