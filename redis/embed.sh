#!/bin/sh
#
# embed.sh NAME FILE ... - writes the files, one after the other, as a C source
# that defines them as one string:
#
#     const ngx_str_t  NAME;
#
# Needs sh, od and awk.

set -e

name=$1
shift

if [ ! -f "$1" ]; then
    echo "embed.sh: no such file: $1" >&2
    exit 1
fi

cat "$@" | od -An -v -tu1 | awk -v name="$name" '
    BEGIN {
        print "/* made by redis/embed.sh */"
        print ""
        print "#include <ngx_config.h>"
        print "#include <ngx_core.h>"
        print ""
        print ""
        print "static const u_char  " name "_bytes[] = {"
    }

    {
        line = "   "

        for (i = 1; i <= NF; i++) {
            line = line " " $i ","
        }

        print line
        total += NF
    }

    END {
        # a C array may not be empty: the closing zero is not counted
        print "    0"
        print "};"
        print ""
        print ""
        print "extern const ngx_str_t  " name ";"
        print ""
        print "const ngx_str_t  " name " = {"
        print "    " total + 0 ","
        print "    (u_char *) " name "_bytes"
        print "};"
    }'
