# Sourced by the scripts here.

set -u

: "${NGINX_BIN:=nginx}"

# where nginx is, for people without it in their path
PATH=$PATH:/usr/sbin:/usr/local/sbin

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# nested makes are on their own, whatever started this script
unset MAKEFLAGS MFLAGS MAKELEVEL


say() {
    printf '%s\n' "$*"
}


# die SENTENCE [HINT]...: what is wrong, and the way out of it

die() {
    {
        printf '\n%s\n' "$1"
        shift
        [ $# = 0 ] || printf '    %s\n' "$@"
        echo
    } >&2

    exit 1
}


# the configure arguments of an nginx binary, one in a line

nginx_arguments() {
    local -a args

    eval "args=( $("$1" -V 2>&1 | sed -n 's/^configure arguments: //p') )"
    printf '%s\n' "${args[@]}"
}


nginx_version() {
    "$1" -v 2>&1 | sed -n 's|^nginx version: [^/]*/\([0-9.]*\).*|\1|p'
}


# nginx_option BINARY NAME DEFAULT: what it was built with as --NAME=value

nginx_option() {
    local value

    value=$(nginx_arguments "$1" | sed -n "s|^--$2=||p" | tail -n 1)
    printf '%s\n' "${value:-$3}"
}
