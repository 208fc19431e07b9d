# Sourced: need_packages NAME... installs what is missing of them.
#
# No service is started by that: while apt works, policy-rc.d says no, which
# is how Debian's packages are asked to leave services alone.  Nothing that is
# installed is ever removed for it.

policy=/usr/sbin/policy-rc.d
policy_mark='made by ngx_xmpp_module: no service is started now'


# the policy of before; also after a run that was killed in between

restore_policy() {
    if grep -qs "$policy_mark" $policy; then
        rm -f $policy
    fi

    if [ -e $policy.xmpp ]; then
        mv -f $policy.xmpp $policy
    fi
}


no_services() {
    restore_policy

    if [ -e $policy ]; then
        mv $policy $policy.xmpp || return 1
    fi

    printf '#!/bin/sh\n# %s\nexit 101\n' "$policy_mark" > $policy \
        && chmod 755 $policy
}


need_packages() {
    local -a missing=()
    local package log status

    # elsewhere it is for who builds to know the names
    command -v dpkg-query > /dev/null || return 0

    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" \
            = installed ] || missing+=( "$package" )
    done

    [ ${#missing[@]} != 0 ] || return 0

    if [ "$(id -u)" != 0 ]; then
        die "These Debian packages are missing: ${missing[*]}" \
            "sudo make $goal         installs them," \
            "or install them yourself, and make $goal needs no rights."
    fi

    say "installing ${missing[*]}"

    log=$(mktemp)
    trap restore_policy EXIT
    trap 'exit 130' INT TERM HUP
    no_services || die "Cannot write $policy, which keeps services stopped."

    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update > "$log" 2>&1 \
        && apt-get -q -y --no-install-recommends --no-remove \
            -o DPkg::Lock::Timeout=120 install "${missing[@]}" > "$log" 2>&1
    status=$?

    restore_policy
    trap - EXIT INT TERM HUP

    if [ $status != 0 ]; then
        grep -E '^(E|W|Err)[: ]' "$log" | tail -n 5 >&2

        if grep -qE 'need to be removed|unmet dependencies' "$log"; then
            rm -f "$log"
            die "They do not go together with what is here; nothing was done." \
                "Where nginx is not Debian's own, build by its sources:" \
                "make $goal NGX_SRC=/path/nginx-1.x.y"
        fi

        rm -f "$log"
        die "apt-get could not install them: ${missing[*]}"
    fi

    rm -f "$log"
}


# What is made in a checkout belongs to who owns it: root is needed for apt
# alone.  as_owner COMMAND... runs one as that user.

owner=$(stat -c %U "$top")
other=()

case $(id -u),$owner in
    0,root | 0,UNKNOWN | [!0]*) ;;

    *) other=( setpriv --reuid "$owner" --regid "$(stat -c %g "$top")"
                       --init-groups
               env HOME="$(getent passwd "$owner" | cut -d: -f6)" ) ;;
esac

as_owner() {
    "${other[@]}" "$@"
}


# Runs the script again as that user, with the settings it was given.

leave_root() {
    [ ${#other[@]} = 0 ] || exec "${other[@]}" "$0" "$@"
}


build_packages=( gcc libc6-dev make
                 libhiredis-dev libxml2-dev libicu-dev libssl-dev )

run_packages=( redis-server openssl )
test_packages=( clang perl libio-socket-ssl-perl libxml-libxml-perl
                iproute2 libpcre2-dev zlib1g-dev python3-slixmpp python3-nbxmpp
                python3-gi gir1.2-soup-3.0 glib-networking libstrophe-dev
                go-sendxmpp profanity tmux testssl.sh socat coturn )
bench_packages=( perl libio-socket-ssl-perl prosody ejabberd gnuplot-nox )

# an nginx that is there, with its sources, needs none of Debian's
if [ -z "${NGX_SRC-}" ] || ! command -v "$NGINX_BIN" > /dev/null; then
    build_packages+=( nginx libnginx-mod-stream nginx-dev )
    test_packages+=( libnginx-mod-nchan )
fi

# libFuzzer, of the clang that is there
clang_version=$(clang -dumpversion 2>/dev/null)
fuzz_packages=( "libclang-rt-${clang_version%%.*}-dev" )
