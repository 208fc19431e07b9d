#!/bin/sh
#
# embed.sh FILE ... - writes the files, one after the other, as a C source that
# defines them as one string:
#
#     const ngx_str_t  ngx_xmpp_functions_lua;
#
# Needs sh, od and awk.

set -e

if [ ! -f "$1" ]; then
    echo "embed.sh: no such file: $1" >&2
    exit 1
fi

cat "$@" | od -An -v -tu1 | awk '
    BEGIN {
        print "/* made by redis/embed.sh */"
        print ""
        print "#include <ngx_config.h>"
        print "#include <ngx_core.h>"
        print ""
        print ""
        print "static const u_char  ngx_xmpp_functions_bytes[] = {"
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
        print "extern const ngx_str_t  ngx_xmpp_functions_lua;"
        print ""
        print "const ngx_str_t  ngx_xmpp_functions_lua = {"
        print "    " total + 0 ","
        print "    (u_char *) ngx_xmpp_functions_bytes"
        print "};"
    }'
